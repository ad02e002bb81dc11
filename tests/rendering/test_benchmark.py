"""The tables of a benchmark: ratio beside target, and what is missing."""

import pytest

from fastmlp.benchmark.workloads import MULTIPLY_ADDS, PEAK, Limit, against
from fastmlp.rendering import benchmark
from tests.benchmark.measurements import measured, measurement

OURS = measurement("fastmlp", "auto", 2, 0.2)
UNSKIPPED = measurement("fastmlp", "off", 2, 0.4)
JAX = measurement("jax", "unroll 4", 2, 0.8)
MISSING = measurement("torch", "eager", 1, fault="not installed: torch")


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_ratio_stands_beside_its_target_and_the_amount_missed():
    title, _, heading, row = benchmark.ratios(measured(OURS, JAX, targets=(against("jax", 5.0),))).splitlines()
    assert title == "A  MNIST 784-300-10 sigmoid, batch 50, SGD: time per epoch"
    assert cells(heading) == ["ours", "on", "time", "theirs", "on", "time", "ratio", "best", "target"]
    assert cells(row) == ["fastmlp auto", "2", "200 ms", "JAX unroll 4", "2", "800 ms", "4.00", "4.00", "5.00", "missed by 20 %"]


def test_ratio_without_zero_skipping_has_a_column():
    *_, heading, row = benchmark.ratios(measured(OURS, UNSKIPPED, JAX, targets=(against("jax", 4.0),))).splitlines()
    assert cells(heading)[8:] == ["unskipped", "target"]
    assert cells(row)[8:] == ["2.00", "4.00", "reached"]


def test_ratio_at_the_peak_has_a_column():
    *_, heading, row = benchmark.ratios(
        measured(OURS, JAX, measurement(PEAK, MULTIPLY_ADDS, 2, 0.1), targets=(against("jax", 4.0),))
    ).splitlines()
    assert cells(heading)[8:] == ["at peak", "target"]
    assert cells(row)[8:] == ["8.00", "4.00", "reached"]


def test_other_instructions_are_told_in_the_title():
    title, *_ = benchmark.ratios(measured(OURS, JAX, targets=(against("jax", None),))._replace(instruction_set="avx2")).splitlines()
    assert title.endswith(": time per epoch, without AVX-512")


def test_missing_peer_is_a_row_that_says_so():
    *_, row = benchmark.ratios(measured(OURS, MISSING, targets=(against("torch", 8.0, "eager"),))).splitlines()
    assert cells(row) == ["fastmlp auto", "2", "200 ms", "PyTorch eager", "–", "–", "–", "8.00", "not installed: torch"]


@pytest.mark.parametrize(("seconds", "verdict"), [(0.1, "missed by 100 %"), (0.4, "reached")])
def test_our_own_aim_is_the_last_line(seconds, verdict):
    text = benchmark.ratios(measured(OURS, JAX, targets=(against("jax", 1.0),), limit=Limit("a second", seconds)))
    assert text.splitlines()[-1] == f"our aim a second: 200 ms of {benchmark.duration(seconds)}, {verdict}"


def test_times_show_every_configuration_and_its_fault():
    wrong = measurement("numpy", "plain", 1, 1.0, loss=0.6, fault="another loss: 0.6, not 0.5")
    heading, *rows = benchmark.times(measured(OURS, wrong)).splitlines()
    assert cells(heading) == ["native", "on", "median", "best", "first", "loss"]
    assert cells(rows[0]) == ["fastmlp auto", "2", "200 ms", "200 ms", "1.00 s", "0.5000"]
    assert cells(rows[1]) == ["NumPy plain", "1", "1.00 s", "1.00 s", "1.00 s", "0.6000", "another loss: 0.6, not 0.5"]


def test_times_of_a_peer_that_is_not_installed_are_one_line():
    absent = [measurement("torch", variant, 1, fault="not installed: torch") for variant in ("eager", "fused")]
    _, _, *rows = benchmark.times(measured(OURS, *absent)).splitlines()
    assert [cells(row)[0] for row in rows] == ["PyTorch"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (25238.0, "25,238 s"),
        (12.345, "12.3 s"),
        (1.0, "1.00 s"),
        (0.123, "123 ms"),
        (4.56e-6, "4.56 µs"),
        (50e-9, "50.0 ns"),
        (0.0, "0.00 ns"),
        (None, "–"),
    ],
)
def test_duration_has_three_digits(seconds, text):
    assert benchmark.duration(seconds) == text
