"""Callbacks that come with fastmlp: a training saved and stopped from Python goes on bit for bit, and says what it says where it should."""

import contextlib
import io
import os
import pickle
import re
import signal
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, MissingExtra, Network, OutputError
from fastmlp.callbacks import Checkpoint, EarlyStopping, Progress, StopOnSignal
from fastmlp.training.history import Epoch

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((230, 12))
Y = GENERATOR.integers(0, 3, 230)
SETTINGS = {"epochs": 4, "batch_size": 8, "seed": 2, "validation": 30}
KINDS = {
    "adam, best weights, dropout": {"optimizer": "adam", "restore_best": True, "dropout": 0.2},
    "momentum, mean of the last epochs": {"momentum": 0.9, "average": "swa", "average_start": 0.25},
    "lbfgs": {"optimizer": "lbfgs", "batch_size": None},
}


def network():
    return Network([12, 16, 3], seed=1)


class Kill:
    """Sends a signal to this process after so many blocks of steps."""

    def __init__(self, number, blocks):
        self.number, self.left = number, blocks

    def on_steps_end(self, network, progress):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_training_saved_and_stopped_by_a_signal_goes_on_bit_for_bit(tmp_path, kind, blocks):
    settings = SETTINGS | KINDS[kind]
    before = signal.getsignal(signal.SIGTERM)
    stop = StopOnSignal()
    first = fastmlp.train(network(), X, Y, **settings, callbacks=[Checkpoint(tmp_path, every=0), Kill(signal.SIGTERM, blocks), stop])
    assert (stop.received, first.stopped, first.state.epoch < 4) == (signal.SIGTERM, "callback", True)
    assert signal.getsignal(signal.SIGTERM) is before
    saved = Checkpoint(tmp_path).load()
    assert (saved.state.epoch, saved.state.row) == (first.state.epoch, first.state.row)
    rest = fastmlp.train(saved.network, X, Y, **settings, callbacks=[Checkpoint(tmp_path)], resume=saved.state)
    whole = network()
    history = fastmlp.train(whole, X, Y, **settings)
    assert saved.network.parameters.tobytes() == whole.parameters.tobytes()
    assert [*first, *rest][-1].train_loss == history[-1].train_loss
    assert Checkpoint(tmp_path).load().network.parameters.tobytes() == whole.parameters.tobytes()


def test_a_folder_with_checkpoints_takes_no_other_training(tmp_path):
    fastmlp.train(network(), X, Y, **SETTINGS, callbacks=[Checkpoint(tmp_path)])
    net, files = network(), sorted(tmp_path.iterdir())
    before = pickle.dumps(net)
    with pytest.raises(ConfigError, match=r"callbacks: expected no checkpoints of another training .* found some; go on from them"):
        fastmlp.train(net, X, Y, **SETTINGS, callbacks=[Checkpoint(tmp_path)])
    assert (pickle.dumps(net), sorted(tmp_path.iterdir())) == (before, files)
    with pytest.raises(OutputError):
        fastmlp.train(net, X, Y, **SETTINGS, callbacks=[Checkpoint(tmp_path / "nowhere" / "at all")])
    assert pickle.dumps(net) == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Checkpoint("here", every="often"), "every: expected a number of seconds"),
        (lambda: Checkpoint("here", about={"seed": 1}), "about: expected a function"),
        (lambda: StopOnSignal(3), "at_once: expected a function"),
        (lambda: Progress(True), "display: expected an object with clear, compiling"),
        (lambda: fastmlp.train(network(), X, Y, callbacks=[EarlyStopping(np.arange(3))]), "patience: expected a whole number"),
    ],
)
def test_what_makes_no_callback_is_refused_where_it_is_made(make, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        make()


def test_early_stopping_is_the_settings_of_its_names():
    trained = []
    for given in ({"patience": 2, "restore_best": True}, {"callbacks": [EarlyStopping(2, restore_best=True)]}):
        net = network()
        history = fastmlp.train(net, X, Y, **SETTINGS | {"epochs": 50, "learning_rate": 1.0}, **given)
        trained.append((len(history), history.stopped, history.best_epoch, net.parameters.tobytes()))
    assert trained[0] == trained[1]
    assert trained[0][1] == "patience"
    with pytest.raises(ConfigError, match="patience: expected it once, got 3 beside EarlyStopping"):
        fastmlp.train(network(), X, Y, **SETTINGS, patience=3, callbacks=[EarlyStopping(2)])


def test_a_hook_with_a_third_argument_gets_the_state_of_that_moment():
    states = []

    class Keeper:
        def on_steps_end(self, network, progress, state):
            if not states and progress.epoch == 2:
                states.append((network.copy(), state()))

    whole = network()
    fastmlp.train(whole, X, Y, **SETTINGS, optimizer="adam", callbacks=[Keeper()])
    ((net, state),) = states
    assert (state.epoch, state.row > 0) == (1, True)
    fastmlp.train(net, X, Y, **SETTINGS, optimizer="adam", resume=state)
    assert net.parameters.tobytes() == whole.parameters.tobytes()


def test_a_hook_of_validation_gets_what_the_held_out_rows_give():
    told = []

    class Listener:
        def on_validation_end(self, network, scores):
            told.append(scores)

    values = X[:, 0] + X[:, 1]
    net = Network([12, 4, 1], output="identity", seed=1)
    fastmlp.train(net, X[:200], values[:200], epochs=2, validation=(X[200:], values[200:]), callbacks=[Listener()])
    assert len(told) == 2
    assert told[-1] == net.evaluate(X[200:], values[200:])


def test_two_numbers_of_a_history_become_a_frame_or_the_extra_is_named(monkeypatch):
    history = fastmlp.train(network(), X, Y, **SETTINGS)

    class Library:
        DataFrame = staticmethod(dict)

    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "polars", Library)
    assert history.to_frame() == history.to_dict()
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtra, match=r"expected pandas or polars, found neither; run: pip install 'fastmlp\[tables\]'"):
        history.to_frame()


def test_curves_of_a_history_go_into_a_file_or_to_the_terminal(tmp_path, capsys):
    history = fastmlp.train(network(), X, Y, **SETTINGS)
    history.plot(tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_text().count("<svg") == 1
    history.plot()
    assert "validation" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"plot: expected a file that ends with \.png, \.svg, \.csv, got 'curves\.gif'"):
        history.plot("curves.gif")


# What a training shows


class Terminal(io.StringIO):
    def isatty(self):
        return True


SUMMARY = re.compile(r"4 epochs in \d+\.\d s: loss \S+, accuracy \S+ %, validation loss \S+, validation accuracy \S+ %\n")


def test_a_training_is_silent_where_nothing_moves_unless_it_is_asked(capsys):
    fastmlp.train(network(), X, Y, **SETTINGS)
    fastmlp.train(network(), X, Y, **SETTINGS, verbose=False)
    assert capsys.readouterr() == ("", "")
    fastmlp.train(network(), X, Y, **SETTINGS, verbose=True)
    told = capsys.readouterr()
    assert told.out == ""
    assert SUMMARY.fullmatch(told.err.splitlines(keepends=True)[-1])
    with pytest.raises(ConfigError, match="verbose: expected True, False or None, got 2"):
        fastmlp.train(network(), X, Y, **SETTINGS, verbose=2)


def test_on_a_terminal_a_line_moves_and_one_stays(monkeypatch):
    monkeypatch.setattr("fastmlp.rendering.library.PATIENCE", 0.0)
    for name, value in {"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    with contextlib.redirect_stderr(Terminal()) as shown:
        fastmlp.train(network(), X, Y, **SETTINGS)
    assert "epoch 2/4" in shown.getvalue()
    assert SUMMARY.search(shown.getvalue())


def epoch(number, seconds):
    return Epoch(number, 1.0, 0.5, None, None, 0.1, seconds, 100 / seconds)


def test_an_epoch_that_takes_twice_as_long_is_named_once(capsys):
    progress = Progress()
    for number, seconds in enumerate((2.0, 1.0, 1.9, 2.6, 3.0), start=1):
        progress.on_epoch_end(network(), epoch(number, seconds))
    told = capsys.readouterr().err
    assert told.startswith("epoch 4 took 2.6 times as long as epoch 2: other programs keep the processors busy")
    assert told.count("\n") == 1
