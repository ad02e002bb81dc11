"""A call that is refused changes nothing: not the network, not a training under way, not the data, bit for bit, whatever was called."""

import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import Network, OnlineTrainer
from fastmlp.preprocessing.inputs import InputScaling
from fastmlp.search.bank import train_bank
from fastmlp.search.task import Task
from fastmlp.settings import NetworkSettings, TrainingSettings

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((40, 6)) * 3 + 1
Y = GENERATOR.integers(0, 3, 40)
NAN = np.where(np.arange(240).reshape(40, 6) == 77, np.nan, X)
GIVEN = {"epochs": 2, "batch_size": 10, "optimizer": "adam", "learning_rate": 0.01}


@pytest.fixture
def trained():
    """A network with everything that a refused call might touch, and the state of its training."""
    net = Network([6, 5, 4, 3], "tanh", normalization="batch", seed=1)
    history = fastmlp.train(net, X, Y, normalize="standardize", validation=10, **GIVEN)
    return net, history.state


def seen(*objects):
    return [pickle.dumps(each) for each in objects]


def train(*arguments, **settings):
    return lambda net, state: fastmlp.train(net, *(arguments or (X, Y)), **GIVEN | settings)


def find(**settings):
    return lambda net, state: fastmlp.find_learning_rate(net, X, Y, **settings)


def resumed(**changed):
    return lambda net, state: fastmlp.train(net, X, Y, resume=state._replace(**changed), validation=10, **GIVEN | {"epochs": 5})


def assigned(name, value):
    return lambda net, state: setattr(net, name, value)


CALLS = {
    # train, by what is looked at first and last
    "rows": train(X[:, :5], Y),
    "NaN": train(NAN, Y),
    "labels": train(X, Y + 1),
    "few labels": train(X, Y[:9]),
    "no rows": train(X[:0], Y[:0]),
    "normalize": train(normalize="scale"),
    "per_feature": train(per_feature=False, normalize="standardize"),
    "all held out": train(validation=40),
    "a part of one": train(validation=1.0),
    "held-out NaN": train(validation=(NAN, Y)),
    "held-out labels": train(validation=(X, Y + 1)),
    "no held-out rows": train(validation=(X[:0], Y[:0])),
    "held-out widths": train(validation=(X[:, :2], Y)),
    "holdout": train(validation=9, holdout="first"),
    "sample_weight": train(sample_weight=np.full(40, -1.0)),
    "few weights": train(sample_weight=np.ones(7)),
    "class_weight": train(class_weight={7: 1.0}),
    "augmentation": train(augment_shift=1.0),
    "dropout": train(dropout=(0.1, 0.2, 0.3)),
    "patience": train(patience=2),
    "momentum of adam": train(momentum=0.9),
    "unknown": train(learning_rat=0.1),
    "loss": train(loss="mae"),
    "huge rate": train(learning_rate=1e300),
    "callbacks": train(callbacks=[3]),
    "full batch": train(optimizer="lbfgs"),
    "one row a batch": train(batch_size=1),
    "threads": train(threads=0),
    "clip": train(clip_norm=-1.0),
    "no network": lambda net, state: fastmlp.train(net.parameters, X, Y),
    # going on
    "counters": resumed(epoch=-1),
    "row": resumed(row=7),
    "steps": resumed(steps=1),
    "moments": resumed(m=np.zeros(3, np.float32)),
    "of nothing": lambda net, state: fastmlp.train(net, X, Y, resume={"epoch": 1}, **GIVEN),
    "of another network": lambda net, state: fastmlp.train(Network([6, 3]), X, Y, resume=state, **GIVEN),
    # the search for a rate
    "found rate": find(learning_rate=0.1),
    "lbfgs": find(optimizer="lbfgs"),
    "rates": find(lowest=1.0, highest=0.1),
    "one step": find(steps=1),
    # attributes
    "parameters": assigned("parameters", np.zeros(5, np.float32)),
    "parameters as text": assigned("parameters", "zero"),
    "NaN parameters": assigned("parameters", [np.nan]),
    "running_stats": assigned("running_stats", np.zeros(3)),
    "input_scaling": assigned("input_scaling", InputScaling("standardize", np.zeros(6), np.zeros(6))),
    "no scaling": assigned("input_scaling", 3),
    # row by row
    "no such optimizer": lambda net, state: OnlineTrainer(net, optimizer="lbfgs"),
    "online NaN": lambda net, state: OnlineTrainer(net, batch_size=40).step(NAN, Y),
    "online labels": lambda net, state: OnlineTrainer(net, batch_size=40).step(X, Y - 1),
    "too many rows": lambda net, state: OnlineTrainer(net, batch_size=8).step(X, Y),
    # what is none of what a call takes
    "plan of a mapping": lambda net, state: fastmlp.make_plan(net, X, Y, GIVEN),
    "trainer of nothing": lambda net, state: fastmlp.Trainer(None),
    "rows for a network": lambda net, state: OnlineTrainer(X),
    "no class weights": train(class_weight=False),
    "text for a weight": train(class_weight={0: np.str_("2")}),
    "bounds": find(lowest="1"),
    "record of settings": lambda net, state: net.save("never.safetensors", GIVEN),
    "kernels": lambda net, state: net.logits(X, "fast"),
    # questions
    "predict": lambda net, state: net.predict(NAN),
    "evaluate": lambda net, state: net.evaluate(X, Y + 1),
    "gradient": lambda net, state: net.gradient(X[:, :1], Y),
    "save": lambda net, state: net.save("/nowhere/at/all.safetensors"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_refused_call_changes_nothing(name, trained):
    net, state = trained
    buffer = net.parameters.ctypes.data
    before = seen(net, state, X, Y)
    with pytest.raises((fastmlp.FastmlpError, TypeError)) as raised:
        CALLS[name](net, state)
    assert "\n" not in str(raised.value)
    assert seen(net, state, X, Y) == before
    assert net.parameters.ctypes.data == buffer
    fastmlp.train(net, X, Y, resume=state, validation=10, **GIVEN | {"epochs": 3})  # and nothing stands in the way of going on


@pytest.mark.parametrize("settings", [{"dropout": (0.1, 0.2, 0.3)}, {"validation": 10**6}, {"loss": "mae"}, {"augment_shift": 1.0}])
def test_a_bank_with_a_task_that_is_refused_trains_none(settings):
    data = fastmlp.load_dataset("synthetic").first_rows(60, 10)
    before = seen(data.x_train, data.y_train)
    network = NetworkSettings(hidden=(3,))
    good = TrainingSettings(epochs=1)
    tasks = [Task("good", network, good), Task("bad", network, good.replace(**settings))]
    events = []
    with pytest.raises(fastmlp.FastmlpError):
        events.extend(train_bank(tasks, data, 1))
    assert events == []
    assert seen(data.x_train, data.y_train) == before
