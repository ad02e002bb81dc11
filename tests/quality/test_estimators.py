"""Row U10 of the quality list: every check that scikit-learn has of an estimator."""

import pytest
from sklearn.utils.estimator_checks import check_estimator

from fastmlp import MLPClassifier, MLPRegressor
from tests.quality.counts import record

# Weights of rows beside rows removed or repeated: asked to seven digits, where float32 differs by up to 5e-7.
IN_FLOAT32 = {f"check_sample_weight_equivalence_on_{kind}_data" for kind in ("dense", "sparse")}
ESTIMATORS = {
    "classifier": (MLPClassifier(dtype="float64"), set()),
    "regressor": (MLPRegressor(dtype="float64"), set()),
    "classifier in float32": (MLPClassifier(), IN_FLOAT32),
    "regressor in float32": (MLPRegressor(), IN_FLOAT32),
}


@pytest.mark.filterwarnings("ignore")
def test_u10_every_check_of_scikit_learn_passes():
    tried, failures = 0, {}
    for name, (estimator, expected) in ESTIMATORS.items():
        found = [one for one in check_estimator(estimator, on_fail=None, on_skip=None) if one["status"] != "skipped"]
        failed = {one["check_name"]: str(one["exception"]) for one in found if one["status"] != "passed"}
        tried += len(found)
        failures |= {f"{name}: {check}": why for check, why in failed.items() if check not in expected}
    record("U10", tried, len(failures))
    assert failures == {}
    assert tried >= 4 * 55  # a tag set wrongly cuts them to one
