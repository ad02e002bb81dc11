"""What goes where: results to standard output, the rest to standard error; with JSON, one object and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastmlp.rendering.output import Output, json_text, printable
from fastmlp.training.history import Epoch


def say_everything(output):
    output.note("note")
    output.result("result")
    output.detail("detail")
    output.record({"a": 1})


@pytest.mark.parametrize(
    ("output", "stdout", "stderr"),
    [
        (Output(), "result\ndetail\n", "note\n"),
        (Output(quiet=True), "result\n", ""),
        (Output(json=True), '{"a": 1}\n', "note\n"),
        (Output(json=True, quiet=True), '{"a": 1}\n', ""),
    ],
)
def test_words_go_where_they_belong(capsys, output, stdout, stderr):
    say_everything(output)
    assert capsys.readouterr() == (stdout, stderr)


def test_error_is_a_line_on_standard_error(capsys):
    Output().error("DataError", "no good", 65)
    assert capsys.readouterr() == ("", "error: no good\n")


def test_error_as_json_is_an_object_on_standard_output(capsys):
    Output(json=True).error("DataError", "no good", 65)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": {"type": "DataError", "message": "no good", "exit_code": 65}}
    assert captured.err == ""


def test_json_holds_plain_values():
    record = {
        "path": Path("a/b"),
        "epoch": Epoch(1, 0.5, None, None, None, 0.1, 2.0, 3.0),
        "array": np.array([[1, 2]], np.int64),
        "number": np.float32(0.5),
        "flag": np.bool_(True),
        "sizes": (784, 10),
        "missing": [float("nan"), float("inf"), None],
        "text": "ü \ud800",
    }
    assert json.loads(json_text(record)) == {
        "path": "a/b",
        "epoch": {
            "epoch": 1,
            "train_loss": 0.5,
            "train_accuracy": None,
            "validation_loss": None,
            "validation_accuracy": None,
            "learning_rate": 0.1,
            "seconds": 2.0,
            "samples_per_second": 3.0,
            "validation_metric": None,
        },
        "array": [[1, 2]],
        "number": 0.5,
        "flag": True,
        "sizes": [784, 10],
        "missing": [None, None, None],
        "text": "ü \ud800",
    }


def test_json_is_ascii_on_one_line():
    text = json_text({"text": "ü\n☃"})
    assert text.isascii()
    assert "\n" not in text


def test_what_could_steer_a_terminal_is_escaped():
    assert printable("a\x1b[31mb\r\udcff\nc ü") == "a\\x1b[31mb\\r\\udcff\nc ü"
