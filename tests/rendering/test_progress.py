"""What moves: nothing off a terminal; on one, a bar that leaves no trace."""

import contextlib
import io

import pytest

from fastmlp.rendering.output import Output
from fastmlp.rendering.progress import Display
from fastmlp.search.task import BankProgress
from fastmlp.training.history import Progress


class Terminal(io.StringIO):
    """Standard error that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes standard error a terminal; pytest puts its own in place after fixtures ran."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda: contextlib.redirect_stderr(Terminal())


HALF = Progress(epoch=2, epochs=5, rows_done=30_000, rows=60_000, seconds=0.5, loss=0.1234)


def test_bar_shows_epoch_share_speed_and_loss(terminal):
    with terminal() as shown, Display(Output()) as display:
        display.epoch(HALF)
        for words in ("epoch 2/5", " 50 %", "60,000 samples/s", "loss 0.1234"):
            assert words in shown.getvalue()


def test_bar_of_many_models_shows_their_share_and_number(terminal):
    with terminal() as shown, Display(Output()) as display:
        display.models(BankProgress(done=3, models=12, share=0.3, seconds=2.0))
        for words in (" 30 %", "3/12 models"):
            assert words in shown.getvalue()


def test_cursor_comes_back_after_an_error(terminal):
    def fail():
        with Display(Output()) as display:
            display.epoch(HALF)
            raise RuntimeError

    with terminal() as shown, pytest.raises(RuntimeError):
        fail()
    assert shown.getvalue().rindex("\x1b[?25h") > shown.getvalue().rindex("\x1b[?25l")


def test_results_are_not_caught_by_the_bar(terminal, capsys):
    with terminal(), Display(Output()) as display:
        display.epoch(HALF)
        Output().result("a result")
        display.compiling("relu", None)
        display.clear()
        Output().result("another")
    assert capsys.readouterr().out == "a result\nanother\n"


@pytest.mark.parametrize("output", [Output(quiet=True), Output()])
def test_dumb_terminal_and_quiet_show_no_bar(terminal, monkeypatch, output):
    if not output.quiet:
        monkeypatch.setenv("TERM", "dumb")
    with terminal() as shown, Display(output) as display:
        display.epoch(HALF)
    assert shown.getvalue() == ""


def test_pipe_shows_no_bar(capsys):
    with Display(Output()) as display:
        display.epoch(HALF)
    assert capsys.readouterr().err == ""


def test_compiler_is_told_in_two_lines(capsys):
    with Display(Output()) as display:
        display.compiling("outer", None)
        display.compiling("inner", None)
        display.compiling("inner", 1.0)
        display.compiling("outer", 3.0)
        display.compiling("next", None)
        display.compiling("next", 0.5)
        display.epoch(HALF)
        display.epoch(HALF)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "compiling (once) … outer and what comes after it"
    assert second.startswith("compiled 3 kernels in 3.5 s")


def test_compiler_is_told_by_name_on_a_terminal(terminal):
    with terminal() as shown, Display(Output()) as display:
        display.compiling("dense_forward", None)
        display.compiling("dense_forward", 2.0)
    assert "compiling (once) … dense_forward" in shown.getvalue()
    assert shown.getvalue().rstrip().endswith("compiled 1 kernel in 2.0 s; later starts find the code in the cache")


def test_quiet_says_nothing_of_the_compiler(capsys):
    with Display(Output(quiet=True)) as display:
        display.compiling("relu", None)
        display.compiling("relu", 2.0)
    assert capsys.readouterr() == ("", "")
