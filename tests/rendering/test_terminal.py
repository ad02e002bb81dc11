"""Curves as text: every value at its height, at most 78 columns, characters that the terminal has."""

import sys

import pytest

from fastmlp.errors import MissingExtra
from fastmlp.rendering import terminal
from fastmlp.training.history import Epoch


def epochs(train, validation, accuracy=True):
    """Epochs with these losses, and accuracies that add up to one with them."""

    def score(loss):
        return 1 - loss if accuracy and loss is not None else None

    made = enumerate(zip(train, validation, strict=True), start=1)
    return [Epoch(number, loss, score(loss), held_out, score(held_out), 0.1, 1.0, 9.0)._asdict() for number, (loss, held_out) in made]


FALLING = epochs([0.9, 0.5, 0.3, 0.2], [0.8, 0.6, 0.5, 0.4])


def test_both_panels_are_shown_and_fit_into_80_columns():
    lines = terminal.learning_curves(FALLING, "utf-8").splitlines()
    assert max(map(len, lines)) <= 78
    assert [line.strip() for line in lines if ":" in line] == ["loss: ⣀ training, o validation", "accuracy (%): ⣀ training, o validation"]


def test_validation_falls_from_the_upper_left_to_the_lower_right():
    panel = terminal.learning_curves(FALLING, "utf-8").partition("\n\n")[0].splitlines()
    places = [(row, line.index("o", 5), line.rindex("o")) for row, line in enumerate(panel[1:-2]) if "o" in line[5:]]
    first, last = places[0], places[-1]
    assert first[1] < 10
    assert last[2] > 65
    assert first[0] < last[0]


def test_regression_has_no_panel_of_accuracy():
    assert "accuracy" not in terminal.learning_curves(epochs([0.9, 0.5], [None, None], accuracy=False), "utf-8")


def test_training_alone_has_one_line():
    assert "validation" not in terminal.learning_curves(epochs([0.9, 0.5], [None, None]), "utf-8")


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_any_number_of_epochs_can_be_shown(count):
    text = terminal.learning_curves(epochs([1 / (n + 1) for n in range(count)], [None] * count), "utf-8")
    assert bool(text) == (count > 0)
    assert max(map(len, text.splitlines()), default=0) <= 78


def test_terminal_without_frames_gets_plain_characters():
    text = terminal.learning_curves(FALLING, "ascii")
    assert text.isascii()
    assert "." in text


def test_no_escape_code_is_in_the_text():
    assert "\x1b" not in terminal.learning_curves(FALLING, "utf-8")


def test_one_call_leaves_nothing_for_the_next():
    first = terminal.learning_curves(FALLING, "utf-8")
    terminal.learning_curves(epochs([5.0, 9.0], [1.0, 2.0]), "utf-8")
    assert terminal.learning_curves(FALLING, "utf-8") == first


def test_without_plotext_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotext", None)
    with pytest.raises(MissingExtra, match=r"fastmlp\[plots\]"):
        terminal.check_installed()


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.031, 0.42], ["0.1", "0.2", "0.3", "0.4"]),
        ([93.2, 98.9], ["94", "95", "96", "97", "98"]),
        ([0.0, 1.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([1234.0, 98765.0], ["20000", "40000", "60000", "80000"]),
        ([-0.002, 0.001], ["-0.002", "-0.001", "0.000", "0.001"]),
        ([0.5, 0.5], ["0.5"]),
    ],
)
def test_ticks_are_round_numbers(values, texts):
    ticks, found = terminal.round_ticks(values)
    assert found == texts
    assert ticks == pytest.approx([float(text) for text in texts])
