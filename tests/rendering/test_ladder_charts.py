"""Charts of a ladder: every row that counts is in them, at its place."""

import re

import pytest

from fastmlp.benchmark import ladder as rungs
from fastmlp.benchmark.ladder import SCENES, Ladder, Row
from fastmlp.benchmark.machine_peaks import Peaks
from fastmlp.benchmark.protocol import Configuration
from fastmlp.errors import MissingExtra
from fastmlp.rendering import ladder_charts

PEAKS = Peaks(2, 64, (100e9, 180e9), (50e9, 90e9), (10e9, 15e9))


def a_row(rung, seconds, threads=1, **facts):
    return Row("", rung, Configuration(rung.peer, rung.variant, threads), 60, (seconds,), **facts)


LADDER = Ladder(
    SCENES["mnist-step"],
    (
        a_row(rungs.LISTS, 1.0, extrapolated=True),
        a_row(rungs.NJIT, 1e-3),
        a_row(rungs.TILES, 1e-4, fault="another loss"),
        a_row(rungs.TEAM, 1e-4, threads=2),
        a_row(rungs.JAX, 5e-4, threads=2),
    ),
    PEAKS,
    {},
)


def test_bars_are_the_rows_that_count_in_the_order_of_the_ladder():
    assert [(bar.label, bar.seconds, bar.is_rung) for bar in ladder_charts.bars(LADDER, "")] == [
        ("pure Python, lists ≈", 1.0, True),
        ("kernels, @njit", 1e-3, True),
        ("tiles, in a team (2 threads)", 1e-4, True),
        ("JAX (2 threads)", 5e-4, False),
    ]


def test_svg_is_a_picture_with_every_label_and_roof():
    text = ladder_charts.picture([LADDER], ".svg").decode()
    assert text.startswith("<?xml")
    comments = set(re.findall(r"<!-- (.*?) -->", text))  # matplotlib draws letters as shapes, and says which in a comment
    assert {"kernels, @njit", "JAX (2 threads)", "multiply-adds, one core", "memory, 2 threads"} <= {c.strip() for c in comments}


def test_png_is_a_png():
    assert ladder_charts.picture([LADDER], ".png").startswith(b"\x89PNG\r\n")


def test_one_core_and_several_operations_can_be_drawn():
    rows = tuple(a_row(rungs.NJIT, 1e-3)._replace(operation=operation) for operation in ("forward", "update"))
    ladders = [Ladder(SCENES["layer"], rows, PEAKS._replace(threads=1), {}), LADDER]
    assert ladder_charts.picture(ladders, ".png").startswith(b"\x89PNG")


def test_terminal_shows_bars_whose_lengths_are_logarithms():
    title, *lines = ladder_charts.text([LADDER]).splitlines()
    assert title == "MNIST 784-300-10, a step of 50, time per step; 8 letters are a factor of ten"
    assert [line.count("█") for line in lines] == [33, 9, 1, 0]  # factors of 10,000, 10 and 1
    assert lines[-1].endswith(f" {'░' * 7} 500 µs")


def test_missing_library_is_told_with_the_extra_that_brings_it(monkeypatch):
    ladder_charts.require()
    monkeypatch.setattr(ladder_charts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'fastmlp\[plots\]'"):
        ladder_charts.require()
