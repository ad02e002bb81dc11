"""scikit-learn's interface: MLPClassifier and MLPRegressor with its parameters, trained by fastmlp's kernels.

A training here draws its initial weights, its split and the order of its rows from NumPy's RandomState as scikit-learn's estimators do,
adds the same penalty and stops by the same rule: in float64 it takes the same steps.
"""

from fastmlp.errors import MissingName

try:
    import sklearn  # noqa: F401
except ImportError:
    raise MissingName("MLPClassifier, MLPRegressor: expected scikit-learn, found none; run: pip install 'fastmlp[sklearn]'") from None

from fastmlp.estimators.classifier import MLPClassifier
from fastmlp.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
