"""What scikit-learn asks of an estimator."""

import re
import subprocess
import sys

import numpy as np
import pytest
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import check_estimator

from fastmlp import MLPClassifier, MLPRegressor
from tests.structure.sources import ROOT

# How many checks there are, by the release of scikit-learn; a tag set wrongly cuts them to one.
CHECKS = {
    "1.6": {"MLPClassifier": 66, "MLPRegressor": 60},
    "1.7": {"MLPClassifier": 66, "MLPRegressor": 60},
    "1.9": {"MLPClassifier": 66, "MLPRegressor": 60},
}
WITHOUT = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sklearn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nothing())
import fastmlp
from fastmlp import *
print("MLPClassifier" in dir(fastmlp), "MLPClassifier" in globals(), hasattr(fastmlp, "MLPRegressor"))
try:
    fastmlp.MLPClassifier
except fastmlp.MissingName as error:
    print(error)
print("model_selection" in globals(), hasattr(fastmlp, "model_selection"))
try:
    from fastmlp.model_selection import GridSearchCV
except ImportError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_every_check_of_scikit_learn_passes(estimator):
    found = check_estimator(estimator(dtype="float64"), on_fail=None, on_skip=None)
    assert {one["check_name"]: str(one["exception"]) for one in found if one["status"] not in ("passed", "skipped")} == {}
    release = ".".join(sklearn.__version__.split(".")[:2])
    if release in CHECKS:
        without_pandas = sum("pandas is not installed" in str(one["exception"]) for one in found)
        assert sum(one["status"] == "passed" for one in found) + without_pandas == CHECKS[release][estimator.__name__]


def test_without_scikit_learn_the_names_are_told_and_say_what_to_install():
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "True False False"
    assert "pip install 'fastmlp[sklearn]'" in done.stdout.splitlines()[1]
    assert done.stdout.splitlines()[2] == "False False"
    assert re.fullmatch("MissingExtra .*: expected scikit-learn, .*pip install 'fastmlp.sklearn.'", done.stdout.splitlines()[3])


def test_one_row_and_many_give_the_same_bits():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 20)).astype(np.float32), rng.integers(0, 3, 300)
    model = MLPClassifier((64,), max_iter=2, n_iter_no_change=np.inf, tol=1.0, random_state=0, threads=2)
    with pytest.warns(ConvergenceWarning):
        model.fit(x, y)
    many = model.predict_proba(x)
    np.testing.assert_array_equal(many, np.concatenate([model.predict_proba(row[None]) for row in x]))
    np.testing.assert_array_equal(many[:17], model.predict_proba(x[:17]))
