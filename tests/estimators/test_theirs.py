"""scikit-learn's own tests of its MLP pass with fastmlp's estimators in place of it; each difference is a choice, with its reason."""

import pytest

from tests.estimators.theirs import run

pytestmark = pytest.mark.long

ALWAYS = {
    "test_gradient": "calls a private method with the arrays that it works in; tests/inspect and tests/kernels check gradients",
    "test_early_stopping_stratified": "asks for a message that calls a class 'True'; here it is called by its label",
}
IN_FLOAT32 = {
    "test_nonfinite_params": "X beyond float32 is refused before anything is trained, with what it is that is too large",
    "test_partial_fit_regression": "asks for seven digits after 100 epochs in two orders of rows",
    "test_mlp_param_dtypes[MLPClassifier-float64]": "parameters are float32 unless asked for",
    "test_mlp_param_dtypes[MLPRegressor-float64]": "parameters are float32 unless asked for",
}


@pytest.mark.parametrize(("dtype", "differences"), [(None, ALWAYS), ("float32", ALWAYS | IN_FLOAT32)])
def test_their_tests_pass(tmp_path, dtype, differences):
    outcomes = run(tmp_path, dtype)
    assert {name for name, outcome in outcomes.items() if outcome != "PASSED"} == set(differences)
    assert len(outcomes) >= 55
