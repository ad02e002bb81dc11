"""Averaged weights: what they are, where they are seen, and that training goes on from the weights themselves."""

import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import Network, Trainer, TrainingSettings, make_plan
from tests.pairs import each_pair

GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.standard_normal((60, 4)), GENERATOR.integers(0, 3, 60)
SETTINGS = {"epochs": 5, "batch_size": 8, "learning_rate": 0.3, "validation": 12, "holdout": "last"}
STEPS = 6  # in an epoch
EMA = {"average": "ema", "average_decay": 0.7}
SWA = {"average": "swa", "average_start": 0.5}  # the ends of epochs 3, 4 and 5
each_average = pytest.mark.parametrize("average", [EMA, SWA], ids=["ema", "swa"])


def network(dtype="float64") -> Network:
    return Network([4, 9, 3], "tanh", dtype=dtype)


def trainer(net, resume=None, **changes) -> Trainer:
    return Trainer(make_plan(net, X, Y, TrainingSettings(**SETTINGS | changes), resume=resume))


def trajectory(**changes) -> list[np.ndarray]:
    """Return the weights before the first step and after each one, of a training without averages."""
    net = network()
    plain = trainer(net, **changes)
    weights = [net.parameters.copy()]
    for _ in range(plain.settings.epochs * STEPS):
        plain.step()
        weights.append(net.parameters.copy())
    return weights


def moving_average(weights, decay=0.7) -> np.ndarray:
    average = weights[0]
    for each in weights[1:]:
        average = decay * average + (1 - decay) * each
    return average


@pytest.mark.parametrize("kernels", ["auto", "scalar", "python"])
@pytest.mark.parametrize(
    "optimizer", [{}, {"optimizer": "adam", "learning_rate": 0.01}, {"clip_norm": 0.1}], ids=["sgd", "adam", "clipped"]
)
def test_ema_is_the_moving_average_of_the_weights_of_all_steps(kernels, optimizer):
    net = network()
    fastmlp.train(net, X, Y, **SETTINGS | EMA | optimizer, kernels=kernels)
    weights = trajectory(**optimizer)
    np.testing.assert_allclose(net.parameters, moving_average(weights), rtol=0, atol=1e-12)
    assert np.abs(net.parameters - weights[-1]).max() > 1e-3


@pytest.mark.parametrize(("start", "ends"), [(0.5, (3, 4, 5)), (0.75, (4, 5)), (0.0, (1, 2, 3, 4, 5)), (0.8, (5,)), (0.95, (5,))])
def test_swa_is_the_mean_of_the_weights_at_the_ends_of_the_last_epochs(start, ends):
    net = network()
    fastmlp.train(net, X, Y, **SETTINGS, average="swa", average_start=start)
    expected = np.mean([trajectory()[STEPS * end] for end in ends], axis=0)
    np.testing.assert_allclose(net.parameters, expected, rtol=0, atol=1e-12)


def test_swa_before_its_first_epoch_leaves_the_weights_as_they_are():
    net = network()
    averaging = trainer(net, **SWA)
    for _ in range(2 * STEPS):
        averaging.step()
    np.testing.assert_array_equal(net.parameters, trajectory()[2 * STEPS])


@each_average
def test_averaging_changes_no_step(average):
    averaging = trainer(network(), **average)
    for expected in trajectory()[1:]:
        averaging.step()
        np.testing.assert_array_equal(averaging.state().weights, expected)


@each_average
def test_validation_is_taken_with_what_the_network_holds_after_each_epoch(average):
    net, seen = network(), []
    history = fastmlp.train(net, X, Y, **SETTINGS | average, callbacks=[lambda net, epoch: seen.append(net.evaluate(X[48:], Y[48:]))])
    assert [epoch.validation_loss for epoch in history] == pytest.approx([scores["loss"] for scores in seen], rel=1e-12)
    np.testing.assert_allclose(history[-1].validation_loss, net.evaluate(X[48:], Y[48:])["loss"], rtol=1e-12)


@pytest.mark.parametrize("epochs", [3, 4])
def test_a_generator_that_is_closed_leaves_the_average_in_the_network(epochs):
    net = network()
    run = fastmlp.train_epochs(net, X, Y, **SETTINGS | EMA)
    for _ in range(epochs):
        next(run)
    run.close()
    np.testing.assert_allclose(net.parameters, moving_average(trajectory()[: epochs * STEPS + 1]), rtol=0, atol=1e-12)


def test_a_training_that_a_callback_stops_leaves_the_average_in_the_network():
    net = network()
    fastmlp.train(net, X, Y, **SETTINGS | SWA, callbacks=[lambda net, epoch: epoch.epoch == 4])
    expected = np.mean([trajectory()[STEPS * end] for end in (3, 4)], axis=0)
    np.testing.assert_allclose(net.parameters, expected, rtol=0, atol=1e-12)


@each_pair(average=[EMA, SWA], steps=[0, 1, STEPS, 2 * STEPS + 3, 4 * STEPS, 4 * STEPS + 1], dtype=["float32", "float64"])
def test_a_training_goes_on_from_the_weights_bit_for_bit(average, steps, dtype):
    whole, net = network(dtype), network(dtype)
    list(trainer(whole, **average).run())
    stopped = trainer(net, **average)
    for _ in range(steps):
        stopped.step()
    net, state = pickle.loads(pickle.dumps((net, stopped.state())))  # noqa: S301  our own bytes
    list(trainer(net, state, **average).run())
    assert net.parameters.tobytes() == whole.parameters.tobytes()


@each_average
def test_the_best_epochs_weights_are_the_average_that_it_was_judged_by(average):
    net, seen = network(), []
    settings = SETTINGS | average | {"epochs": 12, "learning_rate": 2.0, "restore_best": True}
    history = fastmlp.train(net, X, Y, **settings, callbacks=[lambda net, epoch: seen.append(net.parameters.copy())])
    assert history.best_epoch < 12
    np.testing.assert_array_equal(net.parameters, seen[history.best_epoch - 1])
    np.testing.assert_array_equal(history.state.weights, trajectory(epochs=12, learning_rate=2.0)[12 * STEPS])


@each_average
def test_a_finished_training_goes_on_without_averaging_from_the_weights_themselves(average):
    net = network()
    history = fastmlp.train(net, X, Y, **SETTINGS | average)
    fastmlp.train(net, X, Y, **SETTINGS | {"epochs": 6}, resume=history.state)
    whole = network()
    fastmlp.train(whole, X, Y, **SETTINGS | {"epochs": 6})
    np.testing.assert_array_equal(net.parameters, whole.parameters)


def test_a_finished_ema_goes_on_with_more_epochs_as_if_they_had_been_asked_for_at_once():
    net, whole = network(), network()
    first = fastmlp.train(net, X, Y, **SETTINGS | EMA | {"epochs": 2})
    fastmlp.train(net, X, Y, **SETTINGS | EMA, resume=first.state)
    fastmlp.train(whole, X, Y, **SETTINGS | EMA)
    assert net.parameters.tobytes() == whole.parameters.tobytes()


def test_an_epoch_whose_validation_is_interrupted_is_averaged_once(monkeypatch):
    def interrupted(*arguments, **named):
        raise KeyboardInterrupt

    net, whole = network(), network()
    fastmlp.train(whole, X, Y, **SETTINGS | SWA)
    averaging = trainer(net, **SWA)
    for _ in range(4 * STEPS):
        averaging.step()
    before = net.parameters.copy()  # the average of epoch 3: the fourth is not ended yet
    with monkeypatch.context() as patch:
        patch.setattr(Network, "evaluate_checked", interrupted)
        with pytest.raises(KeyboardInterrupt):
            averaging.end_epoch()
    np.testing.assert_array_equal(net.parameters, before)
    assert averaging.state().averaged == 1
    list(averaging.run())
    assert net.parameters.tobytes() == whole.parameters.tobytes()


def test_a_training_to_go_on_with_shows_the_average_with_the_running_statistics_of_the_last_step():
    def trained(**changes):
        net = Network([4, 9, 3], "tanh", normalization="batch", dtype="float64")
        return net, fastmlp.train(net, X, Y, **SETTINGS | EMA | changes)

    last, _ = trained()
    net, history = trained(restore_best=True)
    assert net.running_stats.tobytes() != last.running_stats.tobytes()  # those of the best epoch
    trainer(net, history.state, **EMA, restore_best=True)
    assert net.parameters.tobytes() == last.parameters.tobytes()
    assert net.running_stats.tobytes() == last.running_stats.tobytes()


def test_an_average_of_the_wrong_size_is_refused():
    state = trainer(network(), **EMA).state()._replace(average=np.zeros(3))
    with pytest.raises(fastmlp.ConfigError, match=r"resume: expected 'average' of shape \(75,\), one per parameter, got \(3,\)"):
        trainer(network(), state, **EMA)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_the_number_of_threads_changes_no_bit(threads, mnist):
    def trained(threads):
        net = Network([784, 64, 10])
        settings = {"clip_norm": 0.5, "l1": 1e-5, "optimizer": "nadam", "learning_rate": 0.002, **EMA}
        fastmlp.train(net, mnist.x_train[:500], mnist.y_train[:500], epochs=2, threads=threads, **settings)
        return net.parameters.tobytes()

    assert trained(threads) == trained(1)


def test_averaged_weights_of_a_noisy_training_on_digits_are_better(mnist):
    x, y = mnist.x_train[:5000], mnist.y_train[:5000]
    losses = {}
    for average, number in (("none", {}), ("ema", {"average_decay": 0.99}), ("swa", {"average_start": 0.3})):
        net = Network([784, 30, 10])
        history = fastmlp.train(net, x, y, validation=1000, epochs=6, batch_size=10, learning_rate=0.5, average=average, **number)
        losses[average] = history[-1].validation_loss
    assert losses["ema"] < losses["none"]
    assert losses["swa"] < losses["none"]
