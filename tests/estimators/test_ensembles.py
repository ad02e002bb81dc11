"""n_estimators: several networks, trained at once, that answer together."""

import os
import pickle
import signal
import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification

from fastmlp import ConfigError, DataError, MLPClassifier, MLPRegressor, ModelFileError, Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x / 16, y


def ensemble(kind=MLPClassifier, **settings):
    return kind(**{"hidden_layer_sizes": (12,), "max_iter": 4, "random_state": 0, "n_estimators": 3, **settings})


def single(member, model):
    """Return an estimator that is to become what a member of an ensemble is."""
    return clone(model).set_params(n_estimators=1, random_state=member.random_state)


@pytest.mark.parametrize("task", ["several classes", "two classes", "several labels", "numbers"])
def test_each_network_has_the_bits_of_one_trained_alone_and_their_mean_answers(task, digits):
    x, y = {
        "several classes": digits, "two classes": (digits[0], digits[1] > 4),
        "several labels": make_multilabel_classification(300, random_state=0), "numbers": load_diabetes(return_X_y=True),
    }[task]  # fmt: skip
    model = ensemble(MLPRegressor if task == "numbers" else MLPClassifier, early_stopping=True).fit(x, y)
    alone = [single(member, model).fit(x, y) for member in model.estimators_]
    assert len({member.random_state for member in alone}) == len(model.networks_) == 3
    for one, network in zip(alone, model.networks_, strict=True):
        assert_array_equal(one.network_.parameters, network.parameters)
    assert model.loss_ == pytest.approx(np.mean([one.loss_ for one in alone]))
    if task == "numbers":
        assert_array_equal(model.predict(x), np.mean([one.predict(x) for one in alone], axis=0))
        return
    mean = np.mean([one.predict_proba(x) for one in alone], axis=0)
    assert_array_equal(model.predict_proba(x), mean)
    expected = mean > 0.5 if task == "several labels" else model.classes_[mean.argmax(axis=1)]
    assert_array_equal(model.predict(x), expected)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_files_and_pickles_hold_all_networks(kind, digits, tmp_path):
    x, y = digits
    model = ensemble(kind, class_weight={3: 2.0}) if kind is MLPClassifier else ensemble(kind)
    model.fit(x, y).save(tmp_path / "ensemble.safetensors")
    answers = model.predict_proba(x) if kind is MLPClassifier else model.predict(x)
    for again in (kind.load(tmp_path / "ensemble.safetensors"), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert_array_equal(again.predict_proba(x) if kind is MLPClassifier else again.predict(x), answers)
        assert again.get_params() == model.get_params()
        assert [one.random_state for one in again.estimators_] == [one.random_state for one in model.estimators_]
        assert again.estimators_[1].score(x, y) == model.estimators_[1].score(x, y)
        assert (again.n_iter_, again.loss_) == (model.n_iter_, model.loss_)
    with pytest.raises(ModelFileError, match="expected one network, got an ensemble; use load of"):
        Network.load(tmp_path / "ensemble.safetensors")


def test_training_goes_on_with_each_network_and_their_number_stays(digits):
    x, y = digits
    model = ensemble(shuffle=False).partial_fit(x, y, classes=np.unique(y)).partial_fit(x, y)
    for member in model.estimators_:
        alone = single(member, model).partial_fit(x, y, classes=np.unique(y)).partial_fit(x, y)
        assert_array_equal(alone.network_.parameters, member.network_.parameters)
    warm = ensemble(warm_start=True).fit(x, y).set_params(max_iter=2).fit(x, y)
    alone = single(warm.estimators_[2], warm).set_params(max_iter=4).fit(x, y).set_params(max_iter=2).fit(x, y)
    assert_array_equal(alone.network_.parameters, warm.networks_[2].parameters)
    before = warm.predict_proba(x)
    with pytest.raises(ConfigError, match="n_estimators: expected 3 as in the fit that this goes on from, got 2"):
        warm.set_params(n_estimators=2).fit(x, y)
    assert_array_equal(warm.predict_proba(x), before)
    with pytest.raises(AttributeError, match=r"coefs_: expected one network, got 3; see estimators_\[0\]"):
        _ = warm.coefs_
    one = warm.set_params(n_estimators=1, warm_start=False).fit(x, y)
    assert not hasattr(one, "estimators_")
    assert one.networks_ == [one.network_]


def test_networks_are_trained_in_threads_and_with_callbacks_in_that_of_the_caller(digits):
    seen = set()
    model = ensemble(callbacks=[lambda network, epoch: seen.add((threading.get_ident(), epoch.epoch))]).fit(*digits)
    assert seen == {(threading.get_ident(), epoch) for epoch in range(1, 5)}
    at_once = ensemble(threads=2).fit(*digits)
    for one, other in zip(model.networks_, at_once.networks_, strict=True):
        assert_array_equal(one.parameters, other.parameters)
    assert [one.get_params() for one in at_once.estimators_] == [single(one, at_once).get_params() for one in at_once.estimators_]


def test_an_ensemble_that_is_refused_or_fails_changes_nothing(digits):
    x, y = digits
    model = ensemble().fit(x, y)
    before = model.predict_proba(x)
    with pytest.raises(ConfigError, match="n_estimators: expected a whole number of at least 1, got 0"):
        model.set_params(n_estimators=0).fit(x, y)
    with pytest.raises(DataError, match="non-finite"):
        model.set_params(n_estimators=3, solver="sgd", learning_rate_init=1e30).fit(x, y)
    assert_array_equal(model.predict_proba(x), before)


@pytest.fixture
def interrupt():
    """Give a signal that interrupts as Ctrl-C does, also where the shell of the tests has switched that one off."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield signal.SIGALRM
    signal.signal(signal.SIGALRM, before)


def test_an_interrupt_ends_all_trainings_and_keeps_the_networks(digits, interrupt):
    model = ensemble(max_iter=10**9, n_iter_no_change=np.inf, tol=0.0, threads=3)
    threading.Timer(0.5, os.kill, (os.getpid(), interrupt)).start()
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(*digits)
    assert model.predict(digits[0]).shape == digits[1].shape
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastmlp-ensemble")]
