"""Signals: each has its exit code, a training is saved first, and those that were switched off stay so."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time

import pytest

from fastmlp.callbacks import StopOnSignal
from fastmlp.cli import signals
from tests.cli.conftest import ROOT

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FETCHING = """
import signal, sys, time
from fastmlp.data import fetch
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # nohup around the tests would have switched it off in here

def fetch_dataset(*arguments, **options):
    print("fetching", flush=True)
    time.sleep(60)

fetch.fetch_dataset = fetch_dataset
sys.argv = ["fastmlp", "data", "fetch", "mnist", *sys.argv[1:]]
from fastmlp.cli import main
main()
"""


@pytest.mark.parametrize(
    ("number", "flags"), [(signal.SIGINT, ()), (signal.SIGTERM, ("--json",)), (signal.SIGHUP, ())], ids=["SIGINT", "SIGTERM", "SIGHUP"]
)
def test_outside_of_training_a_signal_ends_a_command_with_its_code(tmp_path, number, flags):
    line = [sys.executable, "-c", FETCHING, *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "fetching\n"
        process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    if flags:
        assert json.loads(out)["error"]["exit_code"] == 128 + number
    else:
        assert err.splitlines()[-1] == "error: interrupted"


def test_ctrl_c_while_kernels_are_compiled_ends_a_training_with_one_line(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FASTMLP_CACHE_DIR": str(tmp_path / "cache")}
    line = [sys.executable, "-m", "fastmlp", "train", "synthetic"]
    restored = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}  # nohup around the tests switches it off
    with subprocess.Popen(line, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, **restored) as process:
        said = [process.stderr.readline()]
        while not said[-1].startswith("compiling (once)"):
            assert said[-1], "".join(said)
            said.append(process.stderr.readline())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "error: interrupted"
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def handlers():
    """Signal handlers as they are in a process of its own; given back afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_patience_keeps_the_first_signal(handlers, number):
    with StopOnSignal(pytest.fail) as patience:
        assert patience.received is None
        os.kill(os.getpid(), number)
        assert patience.received == number


def test_patience_gives_the_handlers_back(handlers):
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopOnSignal(pytest.fail):
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_second_hang_up_is_not_impatience(handlers):
    with StopOnSignal(pytest.fail) as patience:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert patience.received == signal.SIGHUP


def test_the_second_signal_says_so_and_ends_the_process(tmp_path):
    code = """
import os, signal
from fastmlp.callbacks import StopOnSignal
signal.signal(signal.SIGINT, signal.default_int_handler)
with StopOnSignal(lambda number: print("at once", number, flush=True)):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    print("never")
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (143, "at once 15\n")


def test_the_second_signal_ends_the_process_even_if_it_cannot_say_so():
    code = """
import os, signal
from fastmlp.callbacks import StopOnSignal
signal.signal(signal.SIGINT, signal.default_int_handler)
with StopOnSignal(lambda number: 1 / 0):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 130


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_that_was_switched_off_stays_off(handlers, number):
    signal.signal(number, signal.SIG_IGN)  # as nohup does
    signals.listen()
    with StopOnSignal(pytest.fail) as patience:
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        assert patience.received is None
    assert signal.getsignal(number) == signal.SIG_IGN


def test_a_terminal_that_is_closed_loses_nothing(tmp_path):
    line = [sys.executable, "-m", "fastmlp", "train", "synthetic", "--batch-size", "50", "--epochs", "1000000", "--run-folder", "run"]

    def sit_at_the_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup around the tests would have switched it off in here

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=sit_at_the_terminal,
    )  # fmt: skip
    os.close(theirs)
    try:
        said = b""
        while b"samples/s" not in said or not (tmp_path / "run" / "metrics.jsonl").exists():
            said += os.read(ours, 4096)
    finally:
        os.close(ours)  # the system sends SIGHUP, and every further word is an error
    assert process.wait() == 129
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["outcome"] == "interrupted"
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) >= 1
