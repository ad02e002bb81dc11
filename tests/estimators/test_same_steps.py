"""The oracle is scikit-learn itself: from the same random_state, in float64, its estimators and these take the same steps."""

import warnings

import numpy as np
import pytest
import sklearn.neural_network as theirs
from numpy.testing import assert_allclose
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler, scale

import fastmlp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def tables():
    """x, y by name: two classes, three classes, several labels, one number, two numbers, counts."""
    cancer, iris, diabetes = load_breast_cancer(), load_iris(), load_diabetes()
    of_cancer = StandardScaler().fit_transform(cancer.data)
    of_diabetes, y = StandardScaler().fit_transform(diabetes.data), scale(diabetes.target)
    return {
        "two": (of_cancer, np.array(["no", "yes"])[cancer.target]),
        "three": (StandardScaler().fit_transform(iris.data), iris.target),
        "labels": make_multilabel_classification(n_samples=150, random_state=0),
        "number": (of_diabetes, y),
        "numbers": (of_diabetes, np.column_stack((y, y**2))),
        "counts": (of_diabetes, np.floor(np.exp(y))),
    }


TABLES = tables()
SOLVERS = {
    "adam": {},
    "adam of another kind": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2, "learning_rate_init": 0.01, "batch_size": 32},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.01, "batch_size": 50},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.01, "alpha": 1.0},
    "plain": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05, "alpha": 0.0, "activation": "tanh"},
    "inverse scaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.1, "learning_rate_init": 0.05},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.02, "n_iter_no_change": 2, "learning_rate_init": 0.05},
    "heavy penalty": {"alpha": 3.0, "activation": "logistic", "hidden_layer_sizes": (12, 7)},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3, "tol": 0.01, "activation": "tanh"},
    "in order": {"shuffle": False, "batch_size": 64, "activation": "identity"},
    "no hidden layer": {"hidden_layer_sizes": (), "solver": "sgd", "learning_rate_init": 0.01},
}


def pair(table, **settings):
    """Return scikit-learn's estimator and this one for a table, alike."""
    kind = "MLPClassifier" if table in ("two", "three", "labels") else "MLPRegressor"
    if table == "counts":
        settings = {"loss": "poisson", **settings}
    settings = {"hidden_layer_sizes": (20,), "max_iter": 12, "random_state": 3, **settings}
    return getattr(theirs, kind)(**settings), getattr(fastmlp, kind)(dtype="float64", **settings)


def assert_same(wanted, found):
    for theirs_, ours in zip(wanted.coefs_ + wanted.intercepts_, [*found.coefs_, *found.intercepts_], strict=True):
        assert_allclose(ours, theirs_, rtol=1e-7, atol=1e-9)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(found, name) == getattr(wanted, name), name
    # the penalty is taken of the weights at both ends of an epoch, and in between as if it changed evenly
    assert_allclose(found.loss_curve_, wanted.loss_curve_, rtol=1e-4)
    if wanted.validation_scores_ is not None:
        assert_allclose(found.validation_scores_, wanted.validation_scores_, rtol=1e-9)
    for name in ("best_loss_", "best_validation_score_"):
        if getattr(wanted, name) is None:
            assert getattr(found, name) is None
        else:
            assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-4)


@pytest.mark.parametrize("name", SOLVERS)
def test_each_solver_takes_the_steps_of_scikit_learn(name):
    for table in ("two", "numbers"):
        wanted, found = pair(table, **SOLVERS[name])
        assert_same(wanted.fit(*TABLES[table]), found.fit(*TABLES[table]))


@pytest.mark.parametrize("table", TABLES)
def test_each_task_takes_the_steps_of_scikit_learn_and_gives_its_predictions(table):
    x, y = TABLES[table]
    wanted, found = (model.fit(x, y) for model in pair(table, batch_size=64))
    assert_same(wanted, found)
    assert_allclose(found.score(x, y), wanted.score(x, y))
    if hasattr(wanted, "predict_proba"):
        np.testing.assert_array_equal(found.predict(x), wanted.predict(x))
        assert_allclose(found.predict_proba(x), wanted.predict_proba(x), rtol=1e-6, atol=1e-12)
    else:
        assert_allclose(found.predict(x), wanted.predict(x), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("table", ["two", "counts"])
def test_weights_of_rows_count_as_in_scikit_learn(table):
    x, y = TABLES[table]
    weight = np.random.default_rng(0).uniform(0, 3, len(y))
    wanted, found = (model.fit(x, y, sample_weight=weight) for model in pair(table, batch_size=50, early_stopping=True))
    assert_same(wanted, found)


def test_partial_fit_and_warm_start_go_on_as_in_scikit_learn():
    x, y = TABLES["three"]
    wanted, found = pair("three", solver="sgd", batch_size=40, learning_rate="invscaling", warm_start=True)
    for model in (wanted, found):
        for part in (slice(0, 150, 2), slice(0, 150, 3), slice(0, 150)):
            model.partial_fit(x[part], y[part], classes=[0, 1, 2])
        model.fit(x, y).fit(x, y)
    assert_same(wanted, found)


def test_lbfgs_ends_in_the_minimum_that_scikit_learn_finds():
    x, y = TABLES["number"]
    wanted, found = (
        model.fit(x, y) for model in pair("number", solver="lbfgs", alpha=100.0, hidden_layer_sizes=(5,), max_iter=3000, tol=1e-8)
    )
    assert_allclose(found.loss_, wanted.loss_, rtol=1e-6)
    assert_allclose(found.predict(x), wanted.predict(x), rtol=1e-3, atol=1e-3)


def test_the_rule_of_stopping_ends_in_the_same_epoch_with_the_same_warnings():
    x, y = TABLES["two"]
    wanted, found = pair("two", max_iter=300, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found.fit(x, y).n_iter_ == wanted.fit(x, y).n_iter_ < 300
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
        found.set_params(max_iter=3).fit(x, y)
