"""Training may stop anywhere, and goes on bit for bit."""

import pickle
import signal

import numpy as np
import pytest

import fastmlp
from fastmlp import Epoch, Network, Progress, Trainer, TrainingSettings, make_plan

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((50, 4))
Y = GENERATOR.integers(0, 3, 50)
EPOCHS, BATCH, STEPS = 3, 8, 7  # seven steps in an epoch, the last of two rows
SETTINGS = {"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": 0.1, "seed": 2}


def network() -> Network:
    return Network([4, 5, 3], "sigmoid")


def trainer(net: Network, resume=None, **changes) -> Trainer:
    return Trainer(make_plan(net, X, Y, TrainingSettings(**SETTINGS | changes), validation=None, resume=resume))


def without_times(history) -> list[Epoch]:
    return [epoch._replace(seconds=0.0, samples_per_second=0.0) for epoch in history]


@pytest.fixture(scope="module")
def unbroken():
    net = network()
    history = fastmlp.train(net, X, Y, **SETTINGS)
    return net.parameters.tobytes(), without_times(history)


@pytest.mark.parametrize("epochs", range(EPOCHS + 1))
def test_a_training_goes_on_from_its_historys_state_bit_for_bit(unbroken, epochs):
    net = network()
    first = fastmlp.train(net, X, Y, **{**SETTINGS, "epochs": epochs})
    second = fastmlp.train(net, X, Y, **SETTINGS, resume=first.state)
    assert (net.parameters.tobytes(), without_times([*first, *second])) == unbroken


def test_a_training_goes_on_after_any_step_bit_for_bit(unbroken, subtests):
    for steps in range(EPOCHS * STEPS + 1):
        with subtests.test(steps=steps):
            net = network()
            broken_off = trainer(net)
            for _ in range(steps):
                broken_off.step()
            finished_before = max(0, (steps - 1) // STEPS)  # an epoch is finished when the next step begins
            copy = pickle.loads(pickle.dumps((net, broken_off.state())))  # noqa: S301  our own bytes
            rest = [event for event in trainer(copy[0], resume=copy[1]).run() if isinstance(event, Epoch)]
            bits, epochs = unbroken
            assert copy[0].parameters.tobytes() == bits
            assert without_times(rest) == epochs[finished_before:]


# from other steps, and by way of files: tests/training/test_saving.py
@pytest.mark.parametrize(
    "optimizer",
    [
        {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"optimizer": "adam"}, {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "nadam"}, {"optimizer": "rmsprop"}, {"optimizer": "rmsprop", "momentum": 0.9}, {"optimizer": "adagrad"},
        {"optimizer": "lion", "learning_rate": 0.01}, {"optimizer": "adam", "clip_norm": 0.1, "l1": 0.01}, {"clip_value": 0.01},
    ],
    ids=str,
)  # fmt: skip
def test_what_an_optimizer_keeps_is_part_of_the_state(optimizer):
    net, whole = network(), network()
    broken_off = trainer(net, **optimizer)
    for _ in range(STEPS + 3):
        broken_off.step()
    state = pickle.loads(pickle.dumps(broken_off.state()))  # noqa: S301  our own bytes
    list(trainer(net, resume=state, **optimizer).run())
    list(trainer(whole, **optimizer).run())
    assert net.parameters.tobytes() == whole.parameters.tobytes()


@pytest.mark.parametrize("events", [1, 2, 3, 5])
def test_a_closed_run_goes_on_where_it_was_closed(unbroken, events):
    net = network()
    closed = trainer(net)
    run = closed.run()
    for _ in range(events):
        next(run)
    run.close()
    list(trainer(net, resume=closed.state()).run())
    assert net.parameters.tobytes() == unbroken[0]


def test_a_closed_run_holds_every_step_that_it_took():
    net, other = network(), network()
    closed = trainer(net)
    run = closed.run()
    next(run)
    run.close()
    stepped = trainer(other)
    while stepped.state().row < closed.state().row:
        stepped.step()
    assert closed.state().row > 0
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_the_trainer_may_be_resumed_with_more_epochs():
    net, other = network(), network()
    history = fastmlp.train(net, X, Y, **SETTINGS)
    fastmlp.train(net, X, Y, **{**SETTINGS, "epochs": EPOCHS + 2}, resume=history.state)
    fastmlp.train(other, X, Y, **{**SETTINGS, "epochs": EPOCHS + 2})
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_nothing_is_left_to_do_for_a_finished_training():
    net = network()
    history = fastmlp.train(net, X, Y, **SETTINGS)
    before = net.parameters.tobytes()
    assert fastmlp.train(net, X, Y, **SETTINGS, resume=history.state) == []
    assert net.parameters.tobytes() == before


def test_a_training_without_an_epoch_left_still_says_where_it_stands():
    net = network()
    history = fastmlp.train(net, X, Y, **SETTINGS)
    again = fastmlp.train(net, X, Y, **SETTINGS, resume=history.state)
    assert again.state == history.state


def test_a_plain_second_training_starts_at_epoch_1_from_the_weights_there_are(unbroken):
    net = network()
    fastmlp.train(net, X, Y, **SETTINGS)
    second = fastmlp.train(net, X, Y, **SETTINGS)
    assert [epoch.epoch for epoch in second] == [1, 2, 3]
    assert second[0].train_loss < unbroken[1][0].train_loss
    assert net.parameters.tobytes() != unbroken[0]


@pytest.mark.parametrize("epochs", range(EPOCHS + 1))
def test_train_epochs_may_be_left_after_any_epoch(epochs):
    net, other = network(), network()
    generator = fastmlp.train_epochs(net, X, Y, **SETTINGS)
    seen = [next(generator) for _ in range(epochs)]
    generator.close()
    history = fastmlp.train(other, X, Y, **{**SETTINGS, "epochs": epochs})
    assert without_times(seen) == without_times(history)
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_train_epochs_yields_what_train_returns(unbroken):
    assert without_times(fastmlp.train_epochs(network(), X, Y, **SETTINGS)) == unbroken[1]


def test_train_epochs_refuses_bad_settings_when_it_is_called():
    with pytest.raises(fastmlp.ConfigError):
        fastmlp.train_epochs(network(), X, Y, epochs=-1)


def test_a_run_reports_progress_that_grows_to_all_rows_and_one_epoch_each():
    events = list(trainer(network(), batch_size=1).run())
    epochs = [index for index, event in enumerate(events) if isinstance(event, Epoch)]
    assert [events[index].epoch for index in epochs] == [1, 2, 3]
    for number, (first, last) in enumerate(zip([0, *(index + 1 for index in epochs)], epochs, strict=False), start=1):
        progress = events[first:last]
        assert all(isinstance(event, Progress) for event in progress)
        assert {(event.epoch, event.epochs, event.rows) for event in progress} == {(number, EPOCHS, 50)}
        done = [event.rows_done for event in progress]
        assert done == sorted(set(done))
        assert done[-1] == 50
        assert progress[-1].loss == pytest.approx(events[last].train_loss, rel=1e-12)


def test_the_first_chunk_of_a_run_is_one_batch():
    # how fast this machine is, is not known before: a chunk that were too long would keep Ctrl-C waiting
    assert next(trainer(network()).run()).rows_done == BATCH


# Callbacks


def test_callbacks_get_the_network_and_each_epoch():
    net, seen = network(), []
    history = fastmlp.train(net, X, Y, **SETTINGS, callbacks=[lambda *arguments: seen.append(arguments)])
    assert [epoch for _, epoch in seen] == list(history)
    assert all(network is net for network, _ in seen)


def test_a_callback_sees_the_weights_of_its_epoch():
    seen = []
    fastmlp.train(network(), X, Y, **SETTINGS, callbacks=[lambda net, epoch: seen.append(net.parameters.tobytes())])
    expected = []
    for epochs in (1, 2, 3):
        net = network()
        fastmlp.train(net, X, Y, **{**SETTINGS, "epochs": epochs})
        expected.append(net.parameters.tobytes())
    assert seen == expected


@pytest.mark.parametrize("true", [True, np.True_])
def test_a_callback_that_returns_true_stops_the_training(true):
    net, other = network(), network()
    history = fastmlp.train(net, X, Y, **SETTINGS, callbacks=[lambda net, epoch: true if epoch.epoch == 2 else None])
    fastmlp.train(other, X, Y, **{**SETTINGS, "epochs": 2})
    assert [epoch.epoch for epoch in history] == [1, 2]
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_a_callback_that_returns_something_else_does_not_stop_the_training(subtests):
    for value in [None, False, 0, 1, "yes", 0.5]:
        with subtests.test(value=value):
            assert len(fastmlp.train(network(), X, Y, **SETTINGS, callbacks=[lambda net, epoch, value=value: value])) == EPOCHS


def test_every_callback_is_called_when_one_stops_the_training():
    seen = []
    fastmlp.train(network(), X, Y, **SETTINGS, callbacks=[lambda net, epoch: True, lambda net, epoch: seen.append(epoch.epoch)])
    assert seen == [1]


def test_a_stopped_training_goes_on_from_its_state(unbroken):
    net = network()
    first = fastmlp.train(net, X, Y, **SETTINGS, callbacks=[lambda net, epoch: True])
    second = fastmlp.train(net, X, Y, **SETTINGS, resume=first.state)
    assert (net.parameters.tobytes(), without_times([*first, *second])) == unbroken


# An interrupt


class Interrupts:
    """Raises KeyboardInterrupt where the program is after some seconds, as Ctrl-C does."""

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        return self

    def after(self, seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def __exit__(self, *error):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


LONG = {  # sizes, rows, batch size, threads: several tenths of a second of work
    "one thread": ([50, 40, 10], 20_000, 1, 1),
    "two threads": ([300, 300, 10], 8000, 20, 2),
}


def interrupted_training(sizes, x, y, settings, seconds: float) -> tuple[Network, Trainer]:
    """A network and its trainer, stopped within the training: sooner than ``seconds`` where the machine got faster."""
    while seconds > 1e-4:
        net = Network(sizes)
        trainer = Trainer(make_plan(net, x, y, settings))
        with Interrupts() as interrupts:
            interrupts.after(seconds)
            try:
                list(trainer.run())
            except KeyboardInterrupt:
                return net, trainer
        seconds /= 2
    raise AssertionError("no training was interrupted")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
@pytest.mark.parametrize("again", ["the same trainer", "another trainer"])
@pytest.mark.parametrize("kind", LONG)
def test_an_interrupted_training_goes_on_bit_for_bit(kind, again):
    sizes, n, batch_size, threads = LONG[kind]
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((n, sizes[0])), generator.integers(0, 10, n)
    settings = TrainingSettings(epochs=4, batch_size=batch_size, threads=threads, learning_rate=0.01)
    whole = Network(sizes)
    seconds = sum(event.seconds for event in Trainer(make_plan(whole, x, y, settings)).run() if isinstance(event, Epoch))

    net, interrupted = interrupted_training(sizes, x, y, settings, seconds / 2)
    goes_on = interrupted if again == "the same trainer" else Trainer(make_plan(net, x, y, settings, resume=interrupted.state()))
    list(goes_on.run())
    assert net.parameters.tobytes() == whole.parameters.tobytes()
