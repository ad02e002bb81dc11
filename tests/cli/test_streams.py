"""What a user sees: real processes with pipes, closed pipes, full disks, terminals."""

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.cli.conftest import ROOT

QUICK = ("train", "synthetic", "--epochs", "1", "--batch-size", "50", "--no-run-folder")
LINES = {  # tests/quality has every command
    "version": ("--version",),
    "train": ("train", "synthetic", "--epochs", "100000", "--no-run-folder"),
    "predict": ("predict", "DIGITS", "rows.npy"),
    "data list": ("data", "list"),
    "data list --json": ("data", "list", "--json"),
}


@pytest.fixture
def line(digits, mnist, tmp_path):
    import numpy as np

    np.save(tmp_path / "rows.npy", mnist.x_train[:2000])
    return lambda name: [sys.executable, "-m", "fastmlp", *(str(digits) if word == "DIGITS" else word for word in LINES[name])]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("name", ["version", "predict"])
def test_reader_that_leaves_causes_no_traceback(tmp_path, line, name):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(line(name), cwd=tmp_path, env=ENVIRONMENT, stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_training_whose_reader_left_is_saved(tmp_path, line):
    with subprocess.Popen(
        line("train"), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "Error" not in said
    assert "Exception ignored" not in said
    assert (tmp_path / "synthetic.safetensors").is_file()


@pytest.mark.parametrize("name", ["version", "data list --json"])
def test_full_disk_behind_standard_output_exits_with_74(tmp_path, line, name):
    with open("/dev/full", "w") as full:
        done = subprocess.run(line(name), cwd=tmp_path, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 74
    assert done.stderr.splitlines()[-1] == "error: standard output: No space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("json_flag", [(), ("--json",)], ids=["text", "json"])
def test_exit_code_tells_what_no_stream_can_tell(tmp_path, json_flag):
    line = [sys.executable, "-m", "fastmlp", "runs", "nowhere", *json_flag]
    with open("/dev/full", "w") as full:
        done = subprocess.run(line, cwd=tmp_path, env=ENVIRONMENT, stdout=full, stderr=full, timeout=60)
    assert done.returncode == 66


@pytest.mark.parametrize("stream", [1, 2])
def test_closed_stream_is_no_reason_to_fail(tmp_path, line, stream):
    done = subprocess.run(
        ["sh", "-c", f'"$@" {stream}>&-', "sh", *line("data list")], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_pipes_get_no_escape_codes_and_no_animation(process):
    result = process(*QUICK, environment={"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1"})  # others in tests/quality
    assert result.code == 0
    assert "\x1b" not in result.out + result.err
    assert "\r" not in result.out + result.err
    assert "test accuracy" in result.out


def test_json_alone_is_on_standard_output(process):
    result = process(*QUICK, "--json")
    assert json.loads(result.out)["command"] == "train"
    assert "rows to train on" in result.err


def on_terminal(line, folder, **variables):
    """Run a line with a terminal of 80 columns as standard error; return what it wrote there and to its standard output."""
    ours, theirs = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "80", **variables}
    with subprocess.Popen(line, cwd=folder, env=environment, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other side is gone
                break
            if not piece:
                break
            shown += piece
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    return shown.decode(), out.decode()


def test_terminal_shows_a_bar_standard_output_none_and_no_color_is_respected(tmp_path):
    # with colors, test_signals sees the bar
    shown, out = on_terminal([sys.executable, "-m", "fastmlp", *QUICK], tmp_path, NO_COLOR="1")
    assert "epoch 1/1" in shown
    assert "samples/s" in shown
    assert "\x1b[3" not in shown.replace("\x1b[?25", "")
    assert "\x1b" not in out
    assert out.splitlines()[0].startswith("epoch  train loss")


def test_dumb_terminal_shows_no_bar(tmp_path):
    shown, _ = on_terminal([sys.executable, "-m", "fastmlp", *QUICK], tmp_path, TERM="dumb")
    assert "\x1b" not in shown
    assert "epoch 1/1" not in shown


def test_json_error_without_a_reader_goes_to_standard_error(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-m", "fastmlp", "evaluate", "none", "synthetic", "--json"]
    try:
        done = subprocess.run(line, cwd=tmp_path, env=ENVIRONMENT, stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert done.returncode == 66
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_warning_of_the_library_is_one_line(tmp_path):
    code = """
import warnings
import fastmlp.cli
fastmlp.cli.run = lambda arguments: warnings.warn("careful", stacklevel=1) or 0
fastmlp.cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "warning: careful\n")
