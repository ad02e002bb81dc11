"""What is written to a network while it is trained counts: the same bits as without it, and training goes on from other values."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastmlp
from fastmlp import DataError, Network

GENERATOR = np.random.default_rng(0)
X = GENERATOR.random((300, 8)).astype(np.float32)
Y = (X[:, 0] * 3).astype(int)
# one of each engine, and of each way in which the network may hold other weights than those that steps are taken from
TRAININGS = {
    "tiles": {"batch_size": 50},
    "textbook loops": {"batch_size": 50, "kernels": "scalar"},
    "one row a step": {"batch_size": 1},
    "moving average": {"average": "ema"},
    "mean of last epochs": {"average": "swa", "average_start": 0.2},
    "best weights": {"validation": 60, "restore_best": True, "average": "ema", "average_decay": 0.9},
    "lbfgs": {"optimizer": "lbfgs"},
}
WITH_STATE = {"momentum": {"momentum": 0.9}, "adam": {"optimizer": "adam", "learning_rate": 0.01, "average": "ema"}}


def trained(callback=None, **settings):
    net = Network([8, 16, 3], seed=1, normalization=settings.pop("normalization", "none"))
    history = fastmlp.train(net, X, Y, epochs=6, callbacks=[callback] if callback else (), **{"optimizer": "sgd"} | settings)
    return net, history


def assign_the_same(net, epoch):
    net.parameters = net.parameters * 1.0
    net.weights = [weight.copy() for weight in net.weights]
    net.biases[0] = net.biases[0].tolist()
    net.running_stats = net.running_stats.astype(np.float64)


@pytest.mark.parametrize("settings", [*TRAININGS.values(), *WITH_STATE.values()], ids=[*TRAININGS, *WITH_STATE])
def test_assigning_the_same_values_changes_no_bit(settings):
    plain, first = trained(**settings)
    net, second = trained(assign_the_same, **settings)
    assert_array_equal(net.parameters, plain.parameters)
    assert [epoch.train_loss for epoch in first] == [epoch.train_loss for epoch in second]


@pytest.mark.parametrize("name", TRAININGS)
def test_training_goes_on_from_what_a_callback_assigned(name):
    """After zeros in all weights but the last biases, hidden units of relu stay dead: nothing else trains."""
    held = []

    def wipe(net, epoch):
        if epoch.epoch == 3:
            net.parameters = np.zeros(net.parameters.size)
        elif epoch.epoch > 3:
            held.append(np.concatenate([net.weights[0].ravel(), net.biases[0], net.weights[1].ravel()]))

    net, _ = trained(wipe, **TRAININGS[name])
    assert len(held) == 3 or name == "lbfgs"
    assert not np.any(held)
    if "restore_best" not in TRAININGS[name]:
        assert net.biases[1].any()
        assert not net.weights[0].any()


def test_a_state_noted_after_an_assignment_goes_on_from_it():
    net, history = trained(lambda net, epoch: setattr(net, "parameters", np.full(net.parameters.size, 0.25)), average="ema")
    assert_array_equal(net.parameters, np.float32(0.25))
    assert_array_equal(history.state.weights, np.float32(0.25))
    assert_array_equal(history.state.average, np.float32(0.25))


def test_weights_assigned_after_the_best_were_restored_are_those_that_steps_go_on_from():
    net = Network([8, 16, 3], seed=1)
    settings = fastmlp.TrainingSettings(epochs=2, learning_rate=2.0, restore_best=True)
    trainer = fastmlp.Trainer(fastmlp.make_plan(net, X, Y, settings, validation=60))
    list(trainer.run())
    net.parameters = np.zeros(net.parameters.size)
    assert trainer.state().weights is None
    trainer.step()
    assert not net.weights[0].any()


def test_running_statistics_assigned_by_a_callback_are_gone_on_with():
    def restart(net, epoch):
        net.running_means, net.running_variances = [np.full(16, 5.0)], [np.full(16, 2.0)]

    net, _ = trained(restart, normalization="batch", restore_best=False)
    assert_array_equal(net.running_stats, np.repeat(np.float32([5.0, 2.0]), 16))


def test_a_refused_assignment_in_a_callback_ends_the_training_and_changes_nothing():
    seen = []

    def wrong(net, epoch):
        seen.append(net.parameters.copy())
        net.parameters = net.parameters[:-1]

    net = Network([8, 16, 3], seed=1)
    with pytest.raises(DataError, match=r"parameters: expected shape \(195,\), got \(194,\)"):
        fastmlp.train(net, X, Y, callbacks=[wrong])
    assert_array_equal(net.parameters, seen[0])


def test_inputs_scaled_in_another_way_by_a_callback_are_refused():
    def scale(net, epoch):
        net.input_scaling = None

    with pytest.raises(fastmlp.ConfigError, match="input_scaling: expected to stay"):
        trained(scale)
