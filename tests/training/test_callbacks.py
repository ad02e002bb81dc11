"""Callbacks as objects: which hook is called when, with what, and that the last one is called whatever happens."""

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, Epoch, History, Network, TrainingSettings

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((50, 4))
Y = GENERATOR.integers(0, 3, 50)
SETTINGS = {"epochs": 3, "batch_size": 8, "learning_rate": 0.1, "seed": 2}


class Recorder:
    """Takes down what it is told; `asks` names the hook that asks to stop, `fails` the one that fails."""

    def __init__(self, asks=None, fails=None, name="", log=None):
        self.asks, self.fails, self.name = asks, fails, name
        self.log = [] if log is None else log

    def take_down(self, hook, network, where):
        self.log.append((self.name + hook, where))
        self.network, self.weights = network, network.parameters.copy()
        if hook == self.fails:
            raise ArithmeticError(hook)
        return hook == self.asks

    def on_fit_begin(self, network, settings):
        return self.take_down("fit begins", network, settings)

    def on_epoch_begin(self, network, epoch):
        return self.take_down("epoch begins", network, epoch)

    def on_epoch_end(self, network, epoch):
        return self.take_down("epoch ends", network, epoch)

    def on_fit_end(self, network, history):
        return self.take_down("fit ends", network, history)

    @property
    def names(self):
        return [hook for hook, _ in self.log]


def train(*callbacks, net=None, **changes):
    return fastmlp.train(net or Network([4, 5, 3]), X, Y, **SETTINGS | changes, callbacks=callbacks)


def test_hooks_are_called_around_the_training_and_around_each_epoch():
    recorder = Recorder()
    history = train(recorder)
    assert recorder.names == ["fit begins", *["epoch begins", "epoch ends"] * 3, "fit ends"]
    told = [where for _, where in recorder.log]
    assert isinstance(told[0], TrainingSettings)
    assert (told[0].batch_size, told[0].loss) == (8, "cross_entropy")
    assert told[1:-1:2] == [1, 2, 3]
    assert told[2:-1:2] == list(history)
    assert told[-1] is history


def test_the_last_hook_finds_the_history_complete():
    seen = []

    class Last:
        def on_fit_end(self, network, history):
            seen.append((history.stopped, history.best_epoch, history.state.epoch, len(history)))

    history = train(Last(), validation=10)
    assert seen == [("epochs", history.best_epoch, 3, 3)]
    assert isinstance(history, History)


def test_the_last_hook_finds_the_weights_that_training_ends_with():
    recorder = Recorder()
    net = Network([4, 5, 3])
    train(recorder, net=net, validation=10, restore_best=True, learning_rate=5.0, epochs=20)
    assert recorder.weights.tobytes() == net.parameters.tobytes()


def test_an_object_needs_no_more_than_one_hook():
    class Counter:
        epochs = 0

        def on_epoch_end(self, network, epoch):
            assert isinstance(network, Network)
            assert isinstance(epoch, Epoch)
            self.epochs += 1

    counter = Counter()
    train(counter)
    assert counter.epochs == 3


@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ("fit begins", []),
        ("epoch begins", ["epoch begins"]),
        ("epoch ends", ["epoch begins", "epoch ends"]),
        ("fit ends", ["epoch begins", "epoch ends"] * 3),
    ],
)
def test_any_hook_may_ask_to_stop(asks, expected):
    recorder = Recorder(asks)
    net = Network([4, 5, 3])
    history = train(recorder, net=net)
    assert recorder.names == ["fit begins", *expected, "fit ends"]
    epochs = expected.count("epoch ends")
    assert (len(history), history.stopped) == (epochs, "epochs" if epochs == 3 else "callback")
    assert history.state.steps == 7 * epochs
    other = Network([4, 5, 3])
    train(net=other, epochs=epochs)
    assert net.parameters.tobytes() == other.parameters.tobytes()


@pytest.mark.parametrize("hook", ["fit begins", "epoch begins", "epoch ends"])
@pytest.mark.parametrize("asking", [0, 1])
def test_one_of_several_that_asks_to_stop_is_enough(hook, asking):
    callbacks = [Recorder(), Recorder()]
    callbacks[asking].asks = hook
    history = fastmlp.train(Network([4, 3]), X, Y, **SETTINGS, callbacks=callbacks)
    assert len(history) == (1 if hook == "epoch ends" else 0)
    assert callbacks[0].log == callbacks[1].log


def test_a_training_stopped_before_an_epoch_goes_on_from_its_state():
    class Second:
        def on_epoch_begin(self, network, epoch):
            return epoch == 2

    net, whole = Network([4, 5, 3]), Network([4, 5, 3])
    first = train(Second(), net=net)
    train(net=net, resume=first.state)
    train(net=whole)
    assert net.parameters.tobytes() == whole.parameters.tobytes()


@pytest.mark.parametrize("fails", ["epoch begins", "epoch ends"])
def test_after_an_error_in_a_hook_the_last_hooks_are_called_and_the_network_holds_its_steps(fails):
    failing, other = Recorder(fails=fails), Recorder()
    net, stepped = Network([4, 5, 3]), Network([4, 5, 3])
    with pytest.raises(ArithmeticError, match=fails):
        train(failing, other, net=net)
    assert (failing.names[-1], other.names[-1]) == ("fit ends", "fit ends")
    history = other.log[-1][1]
    assert history.stopped is None
    train(net=stepped, epochs=len(history))
    assert net.parameters.tobytes() == stepped.parameters.tobytes()
    train(net=net, resume=history.state)
    train(net=stepped, epochs=3, resume=None if not history else history.state)
    assert net.parameters.tobytes() == stepped.parameters.tobytes()


def test_after_an_error_in_its_first_hook_an_object_has_no_last_one_and_those_before_it_have():
    log = []
    with pytest.raises(ArithmeticError):
        train(Recorder(name="1 ", log=log), Recorder(name="2 ", fails="fit begins", log=log), Recorder(name="3 ", log=log))
    assert [hook for hook, _ in log] == ["1 fit begins", "2 fit begins", "1 fit ends"]


def test_an_error_in_a_last_hook_keeps_no_other_from_being_called():
    log = []
    with pytest.raises(ArithmeticError, match="fit ends"):
        train(Recorder(name="1 ", log=log), Recorder(name="2 ", fails="fit ends", log=log))
    assert [hook for hook, _ in log][-2:] == ["2 fit ends", "1 fit ends"]


def test_the_last_hook_is_called_after_an_interrupt_with_the_state_to_go_on_from():
    kept = {}

    class Keeper:
        def on_epoch_end(self, network, epoch):
            if epoch.epoch == 2:
                raise KeyboardInterrupt

        def on_fit_end(self, network, history):
            kept["state"] = history.state

    net, whole = Network([4, 5, 3]), Network([4, 5, 3])
    with pytest.raises(KeyboardInterrupt):
        train(Keeper(), net=net)
    train(net=net, resume=kept["state"])
    train(net=whole)
    assert net.parameters.tobytes() == whole.parameters.tobytes()


def test_functions_and_objects_may_be_mixed():
    seen, recorder = [], Recorder()
    train(lambda network, epoch: seen.append(epoch.epoch), recorder)
    assert seen == [1, 2, 3]
    assert recorder.names.count("epoch ends") == 3


# What is no callback


class Misspelt:
    def on_epoch_ended(self, network, epoch): ...


class OfBatches:
    def on_epoch_end(self, network, epoch): ...

    def on_batch_end(self, network, batch): ...


class TooFew:
    def on_fit_end(self, network): ...


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (Misspelt(), "expected hooks among .*, got Misspelt.on_epoch_ended; did you mean 'on_epoch_end'"),
        (OfBatches(), r"got OfBatches\.on_batch_end; for single batches use fastmlp\.Trainer\.step"),
        (TooFew(), r"TooFew\.on_fit_end: expected a function of two arguments, \(network, history\), or of three"),
        (lambda epoch: None, r"<lambda>: expected a function of two arguments, \(network, epoch\)"),
        (Recorder, r"expected functions f\(network, epoch\), or objects with .*, got the class Recorder; give an object of it$"),
        (3, r"expected functions f\(network, epoch\), or objects with .*, got 3"),
    ],
)
def test_what_is_no_callback_is_refused_before_anything_runs(callback, message):
    net = Network([4, 5, 3])
    before = net.parameters.tobytes()
    with pytest.raises(ConfigError, match="^callbacks: .*" + message):
        train(callback, net=net)
    assert net.parameters.tobytes() == before
    assert net.input_scaling is None


@pytest.mark.parametrize("callbacks", [print, "print", 3])
def test_what_is_no_list_is_refused(callbacks):
    with pytest.raises(ConfigError, match=r"callbacks: expected a list, such as callbacks=\[f\], got"):
        fastmlp.train(Network([4, 5, 3]), X, Y, callbacks=callbacks)


def test_none_is_no_callbacks():
    nets = Network([4, 5, 3]), Network([4, 5, 3])
    histories = [fastmlp.train(net, X, Y, **SETTINGS, callbacks=callbacks) for net, callbacks in zip(nets, (None, ()), strict=True)]
    assert len(histories[0]) == len(histories[1]) == SETTINGS["epochs"]
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def test_one_callback_that_stops_is_enough_whatever_those_after_it_say():
    calls = []
    callbacks = [lambda network, epoch: True, lambda network, epoch: calls.append(epoch.epoch)]
    history = fastmlp.train(Network([2, 3, 2], seed=0), np.eye(2, dtype=np.float32), [0, 1], epochs=4, callbacks=callbacks)
    assert len(history) == 1
    assert calls == [1]
