"""A search gives what scikit-learn's gives around our estimators, trained as a bank or not."""

import pickle
import threading

import joblib
import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from scipy.stats import loguniform
from sklearn import model_selection as theirs
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp import model_selection as ours
from fastmlp.estimators import workers
from fastmlp.model_selection.once import Once

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True)


class Watched(StandardScaler):
    """A scaler that notes the threads in which it is fitted."""

    fits = []

    def fit(self, X, y=None, sample_weight=None):
        Watched.fits.append(threading.current_thread())
        return super().fit(X, y, sample_weight)


def pipeline(**settings):
    Watched.fits.clear()
    return make_pipeline(Watched(), MLPClassifier(**{"max_iter": 8, "random_state": 0, **settings}))


def both(kind, *given, data, fit=(), **settings):
    """Return the fitted searches of both, ours first."""
    searches = [getattr(of, kind)(*given, **settings) for of in (ours, theirs)]
    return [search.fit(*data, **dict(fit)) for search in searches]


def assert_same(ours_, theirs_):
    """Everything but the times is the same, to the bit."""
    assert list(ours_.cv_results_) == list(theirs_.cv_results_)
    for name, values in theirs_.cv_results_.items():
        if name == "params":
            assert ours_.cv_results_[name] == values
        elif not name.endswith("_time"):
            assert_array_equal(ours_.cv_results_[name], values)
    assert vars(ours_).keys() == vars(theirs_).keys()
    for name in ("best_index_", "best_params_", "best_score_", "n_splits_", "multimetric_"):
        assert getattr(ours_, name, None) == getattr(theirs_, name, None)
    if ours_.refit:
        assert str(ours_.best_estimator_.get_params()) == str(theirs_.best_estimator_.get_params())


def test_a_grid_of_a_pipeline_gives_scikit_learns_results_and_fits_the_scaler_once_per_fold(cancer):
    axes = {"hidden_layer_sizes": [(10,), (8, 4)], "alpha": [1e-4, 1.0], "learning_rate_init": [1e-3, 1e-2], "batch_size": [50, "auto"]}
    grid = {f"mlpclassifier__{name}": values for name, values in axes.items()}
    settings = {"scoring": ["accuracy", "roc_auc"], "refit": "roc_auc", "cv": 3, "return_train_score": True}
    mine, reference = both("GridSearchCV", pipeline(), grid, data=cancer, **settings)
    fits = len(Watched.fits)
    assert_same(mine, reference)
    assert_array_equal(mine.predict_proba(cancer[0]), reference.predict_proba(cancer[0]))
    assert fits == 3 + 1 + 16 * 3 + 1  # ours: once per fold and for the best on all rows; scikit-learn's: once per fit
    assert mine.estimator.memory is None
    restored = pickle.loads(pickle.dumps(mine))  # noqa: S301
    assert_array_equal(restored.predict(cancer[0]), mine.predict(cancer[0]))


def test_axes_of_a_step_early_stopping_and_lbfgs_are_trained_as_a_bank_too(cancer):
    model = make_pipeline(StandardScaler(), PCA(random_state=0), MLPClassifier((8,), max_iter=6, random_state=0))
    grids = [
        {"pca__n_components": [3, 10], "mlpclassifier__early_stopping": [False, True]},
        {"pca": ["passthrough"], "mlpclassifier__solver": ["lbfgs", "sgd"], "mlpclassifier__tol": [1e-4, 1.0]},
    ]
    cv = theirs.StratifiedShuffleSplit(2, random_state=1)
    assert_same(*both("GridSearchCV", model, grids, data=cancer, cv=cv))


def test_random_settings_weights_groups_and_a_refit_by_function_are_scikit_learns(cancer):
    x, y = cancer
    fit = {"mlpclassifier__sample_weight": np.linspace(0.5, 2.0, len(y)), "groups": np.arange(len(y)) // 7}
    drawn = {"mlpclassifier__alpha": loguniform(1e-5, 10), "mlpclassifier__batch_size": [32, 64, "auto"]}

    def second_best(results):
        return int(np.argsort(results["rank_test_score"], kind="stable")[1])

    settings = {"n_iter": 5, "random_state": 3, "cv": theirs.GroupKFold(2), "refit": second_best, "scoring": "neg_log_loss"}
    mine, reference = both("RandomizedSearchCV", pipeline(), drawn, data=cancer, fit=fit, **settings)
    assert_same(mine, reference)
    assert_array_equal(mine.best_estimator_[-1].coefs_[0], reference.best_estimator_[-1].coefs_[0])
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier((8,), max_iter=3, random_state=0)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        weight = {"sample_weight": fit["mlpclassifier__sample_weight"]}
        assert_same(*both("GridSearchCV", model, {"alpha": [0.1, 1.0]}, data=(x, y), fit=weight, cv=2))


def test_settings_that_fail_score_as_scikit_learn_says(cancer):
    with pytest.warns(sklearn.exceptions.FitFailedWarning):
        found = both("GridSearchCV", pipeline(n_estimators=2), {"mlpclassifier__alpha": [0.1, -1.0]}, data=cancer, cv=2, error_score=-7.0)
    assert_same(*found)
    pickle.dumps(found)  # nothing lent is left, in the networks of an ensemble neither
    search = ours.GridSearchCV(pipeline(), {"mlpclassifier__alpha": [-1.0]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="alpha: expected"):
        search.fit(*cancer)
    assert search.estimator.memory is None


def test_a_regressor_in_a_transformed_target_is_trained_as_a_bank():
    regressor = MLPRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0)
    model = TransformedTargetRegressor(make_pipeline(Watched(), regressor), transformer=StandardScaler())
    Watched.fits.clear()
    mine, reference = both("GridSearchCV", model, {"regressor__mlpregressor__alpha": [0.1, 1.0, 3.0]}, data=load_diabetes(return_X_y=True))
    assert_same(mine, reference)
    assert len(Watched.fits) == 5 + 1 + 3 * 5 + 1


@pytest.mark.parametrize(
    ("model", "grid", "reason"),
    [
        (GaussianNB(), {"var_smoothing": [1e-9, 1e-3]}, "estimator: expected MLPClassifier or MLPRegressor of fastmlp.*GaussianNB"),
        (pipeline(callbacks=[lambda network, epoch: None]), {"mlpclassifier__alpha": [1.0]}, "mlpclassifier__callbacks: "),
        (pipeline(), [{"mlpclassifier": [MLPClassifier((4,), max_iter=2, random_state=0), GaussianNB()]}], "mlpclassifier: an axis"),
    ],
)  # fmt: skip
def test_what_is_no_bank_is_trained_as_scikit_learn_does_it_and_said(cancer, model, grid, reason):
    x = StandardScaler().fit_transform(cancer[0])
    with pytest.warns(UserWarning, match=f"^GridSearchCV trains as scikit-learn's does, not as a bank: {reason}") as said:
        mine, reference = both("GridSearchCV", model, grid, data=(x, cancer[1]), cv=2)
    assert sum(one.category is UserWarning for one in said) == 1
    assert str(mine.cv_results_["params"]) == str(reference.cv_results_["params"])
    assert_array_equal(mine.cv_results_["mean_test_score"], reference.cv_results_["mean_test_score"])


GRID = {"mlpclassifier__alpha": [0.1, 1.0], "mlpclassifier__batch_size": [50, 100]}


def searched(data, **settings):
    """Return whether the scaler was fitted in the main thread, {True} or {False}, and the search."""
    search = ours.GridSearchCV(pipeline(), GRID, refit=False, cv=2, **settings).fit(*data)
    return {thread is threading.main_thread() for thread in Watched.fits}, search


def test_trainings_run_in_threads_within_the_limits(cancer):
    in_main, search = searched(cancer, n_jobs=2)
    assert in_main == {False}
    assert searched(cancer)[0] == {workers.threads(None) == 1}
    with threadpool_limits(1):
        assert searched(cancer)[0] == {True}
    pickle.dumps(search)  # nothing lent is left, in the scorer neither


@pytest.mark.long
def test_processes_of_joblib_train_where_they_are_asked_to(cancer):
    with joblib.parallel_config("loky", n_jobs=2):
        in_processes, elsewhere = searched(cancer)
    assert in_processes == set()
    assert_array_equal(elsewhere.cv_results_["mean_test_score"], searched(cancer)[1].cv_results_["mean_test_score"])


def test_an_interrupt_ends_the_trainings_that_run(cancer):
    started = threading.Event()

    def interrupting(estimator, x, y):
        started.set()
        raise KeyboardInterrupt

    model = MLPClassifier((8,), max_iter=10**9, n_iter_no_change=np.inf, tol=0.0, random_state=0)
    grid = {"max_iter": [2, 10**9]}
    with pytest.raises(KeyboardInterrupt):
        ours.GridSearchCV(model, grid, cv=2, n_jobs=4, scoring=interrupting).fit(*cancer)
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and thread.name.startswith("Thread-"):
            thread.join(20)
            assert not thread.is_alive()


def test_a_result_is_computed_once_copied_for_each_and_forgotten_where_there_is_no_room():
    calls = []

    def doubled(x, note=None):
        calls.append(note)
        return 2 * x, [x]

    x = np.arange(4.0)
    once = Once(most_bytes=None).cache(doubled, ignore=["note"])
    first, second = once(x, note=1), once(x.copy(), note=2)
    second[0][:] = 0
    assert_array_equal(once(x)[0], first[0])
    assert calls == [1]
    full = Once(most_bytes=31).cache(doubled)
    assert_array_equal(full(x)[0], full(x)[0])
    assert len(calls) == 3
