"""scikit-learn's callbacks, where it has them: what they are told of a fit, and what they may do."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler, scale

from fastmlp import MLPClassifier, MLPRegressor

callback = pytest.importorskip("sklearn.callback")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Recorder:
    """Keeps what it is told; stops after so many epochs."""

    def __init__(self, last=None):
        self.told, self.scores, self.last = [], [], last

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.told.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X, y))
        return context.task_name == "epoch" and context.task_id + 1 == self.last


def test_each_epoch_is_a_task_with_an_estimator_that_predicts_and_may_be_the_last():
    tables = [(MLPClassifier, *load_iris(return_X_y=True)), (MLPRegressor, *load_diabetes(return_X_y=True))]
    for kind, x, y in tables:
        recorder = Recorder(last=4)
        x, y = StandardScaler().fit_transform(x), scale(y) if kind is MLPRegressor else np.array(["a", "b", "c"])[y]
        model = kind(max_iter=9, random_state=0, learning_rate_init=0.01).set_callbacks(recorder).fit(x, y)
        assert recorder.told == ["setup", "begin fit", *["begin epoch", "end epoch"] * 4, "end fit", "teardown"]
        assert model.n_iter_ == 4
        assert recorder.scores[-2] == recorder.scores[-1] == model.score(x, y) > recorder.scores[0]
        alone = kind(max_iter=4, random_state=0, learning_rate_init=0.01).fit(x, y)
        np.testing.assert_array_equal(alone.coefs_[0], model.coefs_[0])
        assert clone(model)._skl_callbacks == [recorder] == model._skl_callbacks


def test_an_error_and_a_fit_without_epochs_end_the_callbacks_too():
    x, y = load_iris(return_X_y=True)
    recorder = Recorder()
    with pytest.raises(ValueError, match="sample_weight"):
        MLPClassifier(max_iter=3).set_callbacks(recorder).fit(x, y, sample_weight=np.zeros(len(y)))
    assert recorder.told == ["setup", "begin fit", "teardown"]
    for settings in ({"solver": "lbfgs"}, {"n_estimators": 2}):
        recorder = Recorder()
        MLPClassifier(max_iter=3, random_state=0, **settings).set_callbacks(recorder).fit(x, y)
        assert recorder.told == ["setup", "begin fit", "end fit", "teardown"]


def test_the_estimators_of_a_search_keep_their_scoring_monitor():
    x, y = load_iris(return_X_y=True)
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(max_iter=3, random_state=0).set_callbacks(monitor)
    GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=2, refit=False).fit(x, y)
    of_epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(of_epochs) == 2 * 2 * 3
    assert all(0 <= row["accuracy"] <= 1 for row in of_epochs)
