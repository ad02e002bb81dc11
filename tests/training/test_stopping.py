"""When training ends before its last epoch, with which weights, and that all of it survives a stop."""

import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, Epoch, Network, Trainer, TrainingSettings, make_plan
from fastmlp.storage.checkpoints import Checkpoints
from fastmlp.training import fit, stopping, trainer
from fastmlp.training.saving import pack, unpack
from fastmlp.training.state import Best

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((60, 4))
Y = (X[:, 0] + 1.5 * GENERATOR.standard_normal(60) > 0).astype(int)
# At this rate the network soon learns the noise of 40 rows by heart, so that held-out loss falls, then rises.
SETTINGS = {"epochs": 60, "batch_size": 8, "learning_rate": 0.5, "validation": 20, "holdout": "last", "seed": 2}


def network() -> Network:
    return Network([4, 30, 2], "tanh", seed=1)


def trained(net=None, **changes):
    net = net or network()
    return net, fastmlp.train(net, X, Y, **SETTINGS | changes)


@pytest.fixture(scope="module")
def unbroken():
    """All 60 epochs and the weights after each of them, by a training that stops for nothing."""
    weights = []
    net = network()
    history = fastmlp.train(net, X, Y, **SETTINGS, callbacks=[lambda net, epoch: weights.append(net.parameters.copy())])
    return history, weights


def first_stop(values, patience):
    """Return after which epoch (from 1) patience ends a training whose epochs give these losses."""
    best = 0
    for epoch, value in enumerate(values, start=1):
        if value < min(values[: epoch - 1], default=np.inf):
            best = epoch
        if epoch - best >= patience:
            return epoch, best
    raise AssertionError("these losses always improve")


def losses(history):
    return [epoch.validation_loss for epoch in history]


# Patience


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_patience_ends_training_after_so_many_epochs_without_a_better_loss(unbroken, patience):
    last, best = first_stop(losses(unbroken[0]), patience)
    assert last < 60
    net, history = trained(patience=patience)
    assert (len(history), history.stopped, history.best_epoch) == (last, "patience", best)
    assert net.parameters.tobytes() == unbroken[1][last - 1].tobytes()


def test_patience_can_go_by_accuracy(unbroken):
    last, best = first_stop([-epoch.validation_accuracy for epoch in unbroken[0]], 4)
    history = trained(patience=4, metric="accuracy")[1]
    assert (len(history), history.best_epoch) == (last, best)


def test_equal_values_are_no_improvement():
    best = stopping.better(Best(), 1, 0.5, "loss")
    assert stopping.better(best, 2, 0.5, "loss") == (1, 0.5)
    assert stopping.better(best, 2, 0.4, "loss") == (2, 0.4)
    assert stopping.better(best, 2, 0.6, "accuracy") == (2, 0.6)


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_value_that_is_no_number_is_never_the_best(value):
    assert stopping.better(Best(3, 0.5), 4, value, "loss") == (3, 0.5)
    assert stopping.better(Best(), 4, value, "accuracy") == (0, None)


def test_without_patience_all_epochs_are_done(unbroken):
    assert (unbroken[0].stopped, len(unbroken[0])) == ("epochs", 60)
    assert unbroken[0].best_epoch == 1 + int(np.argmin(losses(unbroken[0])))


# The weights of the best epoch


def test_restore_best_ends_with_the_weights_of_the_best_epoch(unbroken):
    net, history = trained(restore_best=True)
    assert history.best_epoch < 60
    assert net.parameters.tobytes() == unbroken[1][history.best_epoch - 1].tobytes()
    assert net.evaluate(X[40:], Y[40:])["loss"] == min(losses(history))


def test_restore_best_goes_by_the_metric(unbroken):
    net, history = trained(restore_best=True, metric="accuracy")
    best = int(np.argmax([epoch.validation_accuracy for epoch in unbroken[0]]))
    assert net.parameters.tobytes() == unbroken[1][best].tobytes()


def test_while_training_goes_on_the_network_holds_the_last_step(unbroken):
    seen = []
    trained(restore_best=True, callbacks=[lambda net, epoch: seen.append(net.parameters.tobytes())])
    assert seen == [weights.tobytes() for weights in unbroken[1]]


def leave_by_closing(net):
    epochs = fastmlp.train_epochs(net, X, Y, **SETTINGS, restore_best=True)
    for _ in range(50):
        next(epochs)
    epochs.close()


def leave_by_callback(net):
    fastmlp.train(net, X, Y, **SETTINGS, restore_best=True, callbacks=[lambda net, epoch: epoch.epoch == 50])


def leave_by_error(net):
    def fail(net, epoch):
        if epoch.epoch == 50:
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fastmlp.train(net, X, Y, **SETTINGS, restore_best=True, callbacks=[fail])


@pytest.mark.parametrize("leave", [leave_by_closing, leave_by_callback, leave_by_error])
def test_the_best_weights_are_there_however_training_is_left(unbroken, leave):
    net = network()
    leave(net)
    best = int(np.argmin(losses(unbroken[0])[:50]))
    assert net.parameters.tobytes() == unbroken[1][best].tobytes()


def test_a_network_that_diverges_ends_with_the_best_weights_there_were():
    net, history = network(), []

    def explode(net, epoch):
        history.append(net.parameters.copy())
        if epoch.epoch == 3:
            net.parameters[0] = np.nan

    with pytest.raises(fastmlp.TrainingError, match=r"; the network has the weights of epoch [123]$"):
        fastmlp.train(net, X, Y, **SETTINGS, restore_best=True, callbacks=[explode])
    assert any(net.parameters.tobytes() == weights.tobytes() for weights in history)


# A target


def test_a_target_ends_training_in_the_epoch_that_reaches_it(unbroken):
    accuracies = [epoch.validation_accuracy for epoch in unbroken[0]]
    target = sorted(set(accuracies))[-2]
    first = next(number for number, accuracy in enumerate(accuracies, start=1) if accuracy >= target)
    net, history = trained(target_accuracy=target)
    assert (len(history), history.stopped) == (first, "target_accuracy")
    assert net.parameters.tobytes() == unbroken[1][first - 1].tobytes()


def test_a_target_that_is_never_reached_does_not_end_training(unbroken):
    assert max(epoch.validation_accuracy for epoch in unbroken[0]) < 1
    assert trained(target_accuracy=1.0)[1].stopped == "epochs"


# A budget of time


class Clock:
    """A clock on which each look costs a millisecond."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 0.001
        return self.now

    def monotonic(self):
        return self.perf_counter()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (fit, trainer):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_training_ends_after_the_step_that_passes_the_budget(clock):
    net, stepped = network(), network()
    trainer = Trainer(make_plan(net, X, Y, TrainingSettings(**SETTINGS, time_budget=0.0215)))
    list(trainer.run())
    assert (trainer.stopped, trainer.state().seconds + trainer.state().earlier_seconds) == ("time_budget", pytest.approx(0.022))
    other = Trainer(make_plan(stepped, X, Y, TrainingSettings(**SETTINGS)))
    for _ in range(trainer.steps):
        other.step()
    assert net.parameters.tobytes() == stepped.parameters.tobytes()


def test_steps_become_single_ones_before_the_budget_is_passed(clock):
    trainer = Trainer(make_plan(network(), X, Y, TrainingSettings(**SETTINGS, time_budget=0.05)))
    before = []
    for _ in trainer.run():
        before.append(trainer.steps)
    assert before[-1] - before[-2] in (0, 1)  # 0: that of a finished epoch


@pytest.mark.parametrize("budget", [1e6, 1e308])
def test_a_budget_that_is_never_passed_changes_nothing(unbroken, budget):
    net, history = trained(time_budget=budget)
    assert net.parameters.tobytes() == unbroken[1][-1].tobytes()
    assert (losses(history), history.stopped) == (losses(unbroken[0]), "epochs")


def test_a_training_stopped_by_its_budget_goes_on_bit_for_bit(unbroken, clock):
    net, history = trained(time_budget=0.0205)
    assert history.stopped == "time_budget"
    assert len(history) < 60
    rest = trained(net, resume=history.state)[1]
    assert net.parameters.tobytes() == unbroken[1][-1].tobytes()
    assert losses(history) + losses(rest) == losses(unbroken[0])


def test_time_spent_before_a_stop_counts(clock):
    net, history = trained(time_budget=0.0205)
    assert trained(net, time_budget=0.0205, resume=history.state)[1] == []
    assert len(trained(net, time_budget=0.0405, resume=history.state)[1]) > 0


# All of it is part of the state


def stop_and_go_on(trainer, net, folder, how):
    """Return the network and the state as they come back from a file, another process, or the same one."""
    if how == "checkpoint":
        checkpoints = Checkpoints(folder)
        checkpoints.save(*pack(trainer.network, trainer.settings, trainer.state(), {}))
        saved = checkpoints.newest(unpack)
        return saved.network, saved.state
    return pickle.loads(pickle.dumps((net, trainer.state())))  # noqa: S301  our own bytes


@pytest.mark.parametrize("how", ["checkpoint", "pickle"])
@pytest.mark.parametrize("steps", [0, 3, 5, 17, 250])
def test_early_stopping_goes_on_bit_for_bit_from_any_step(tmp_path, steps, how):
    settings = TrainingSettings(**SETTINGS, patience=6, restore_best=True)
    whole, net = network(), network()
    expected = Trainer(make_plan(whole, X, Y, settings))
    all_epochs = [event for event in expected.run() if isinstance(event, Epoch)]
    assert expected.stopped == "patience"

    broken_off = Trainer(make_plan(net, X, Y, settings))
    for _ in range(min(steps, expected.steps)):
        broken_off.step()
    again, state = stop_and_go_on(broken_off, net, tmp_path, how)
    resumed = Trainer(make_plan(again, X, Y, settings, resume=state))
    rest = [event for event in resumed.run() if isinstance(event, Epoch)]
    assert again.parameters.tobytes() == whole.parameters.tobytes()
    assert losses(rest) == losses(all_epochs)[state.epoch :]
    assert (resumed.stopped, resumed.best, resumed.epoch) == (expected.stopped, expected.best, expected.epoch)


@pytest.mark.parametrize("how", ["checkpoint", "pickle"])
def test_a_finished_training_with_its_best_weights_goes_on_from_the_last_step(unbroken, tmp_path, how):
    net = network()
    first = Trainer(make_plan(net, X, Y, TrainingSettings(**SETTINGS, restore_best=True).replace(epochs=40)))
    list(first.run())
    again, state = stop_and_go_on(first, net, tmp_path, how)
    assert again.parameters.tobytes() == unbroken[1][first.best.epoch - 1].tobytes()
    list(Trainer(make_plan(again, X, Y, TrainingSettings(**SETTINGS), resume=state)).run())
    assert again.parameters.tobytes() == unbroken[1][-1].tobytes()


def test_the_same_trainer_goes_on_after_its_end(unbroken):
    net = network()
    trainer = Trainer(make_plan(net, X, Y, TrainingSettings(**SETTINGS, restore_best=True)))
    run = trainer.run()
    for event in run:
        if isinstance(event, Epoch) and event.epoch == 40:
            break
    run.close()
    trainer.step()
    for _ in range(19 * 5 + 4):
        trainer.step()
    assert net.parameters.tobytes() == unbroken[1][-1].tobytes()


@pytest.mark.parametrize("changes", [{"patience": 3}, {"patience": 3, "restore_best": True}, {"target_accuracy": 0.6}])
def test_nothing_is_left_to_do_where_a_training_has_stopped(changes):
    net, history = trained(**changes)
    assert len(history) < 60
    before = net.parameters.tobytes()
    again = trained(net, **changes, resume=history.state)[1]
    assert (again, again.stopped) == ([], history.stopped)
    assert net.parameters.tobytes() == before


def test_more_patience_goes_on(unbroken):
    net, history = trained(patience=2)
    longer = trained(net, patience=6, resume=history.state)[1]
    assert len(history) + len(longer) == first_stop(losses(unbroken[0]), 6)[0]


def test_a_state_without_the_best_weights_is_refused():
    net, history = trained(epochs=5)
    with pytest.raises(ConfigError, match="resume: expected a state that keeps the weights of its best epoch, .*train with restore_best"):
        trained(net, restore_best=True, resume=history.state)


def test_best_weights_of_another_network_are_refused():
    net, history = trained(epochs=2, restore_best=True)
    with pytest.raises(ConfigError, match=r"resume: expected 'weights' of shape \(10,\), one per parameter, got \(212,\)"):
        fastmlp.train(Network([4, 2]), X, Y, **SETTINGS, restore_best=True, resume=history.state)


# What cannot be


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patience": 3, "validation": 0}, "patience: expected held-out rows to judge an epoch by, got none; set validation"),
        ({"restore_best": True, "validation": None}, "restore_best: expected held-out rows"),
        ({"target_accuracy": 0.0, "validation": 0}, "target_accuracy: expected held-out rows"),
    ],
)
def test_what_needs_held_out_rows_says_so(changes, message):
    with pytest.raises(ConfigError, match=message):
        trained(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_accuracy": 0.9}, "target_accuracy: expected none for a network that predicts numbers, got 0.9; use patience"),
        ({"metric": "accuracy", "patience": 3}, "metric: expected one of loss, r2, rmse, mae, pinball for a network that predicts numbers"),
        ({"metric": "auc"}, "metric: expected one of loss, r2, rmse, mae, pinball for a network that predicts numbers"),
    ],
)
def test_numbers_have_no_accuracy_to_stop_at(changes, message):
    with pytest.raises(ConfigError, match=message):
        fastmlp.train(Network([4, 5, 1]), X, Y, **SETTINGS, **changes)


def test_regression_stops_by_its_loss():
    history = fastmlp.train(Network([4, 30, 1], "tanh"), X, Y, **SETTINGS | {"learning_rate": 0.1, "epochs": 200}, patience=3)
    assert history.stopped == "patience"
    assert history.best_epoch == len(history) - 3
