"""The tables of ladders, scaling, starts and changes."""

import pytest

from fastmlp.benchmark import ladder as rungs
from fastmlp.benchmark.ladder import SCENES, Ladder, Row
from fastmlp.benchmark.machine_peaks import Peaks
from fastmlp.benchmark.protocol import Configuration
from fastmlp.benchmark.regressions import Change, Timing
from fastmlp.benchmark.scaling import Point, Scaling
from fastmlp.benchmark.startup import Start
from fastmlp.rendering import ladder

PEAKS = Peaks(2, 64, (100e9, 180e9), (50e9, 90e9), (10e9, 15e9))
STEP = 50 * (2 * 784 * 300 * 2 + 2 * 300 * 10 * 3)


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def a_row(rung, *seconds, threads=1, **facts):
    found = {"error": 2e-7, "first_seconds": 1.5, **facts}
    return Row("", rung, Configuration(rung.peer, rung.variant, threads), 60, seconds, **found)


@pytest.fixture
def shown():
    """Return the lines of a ladder of four rows."""
    rows = (
        a_row(rungs.LISTS, 2.0, extrapolated=True),
        a_row(rungs.TILES, STEP / 50e9),
        a_row(rungs.SKIPPING, STEP / 360e9, threads=2),
        a_row(rungs.TORCH, fault="not installed: torch; pip install 'fastmlp[bench]'", error=None, first_seconds=None, threads=2),
    )
    return ladder.ladder(Ladder(SCENES["mnist-step"], rows, PEAKS, {})).splitlines()


def test_rung_stands_with_its_rates_and_speed_ups(shown):
    assert cells(shown[2]) == ["step", "on", "error", "best", "median", "GFLOP/s", "of peak", "GB/s", "× lists", "× last"]
    assert cells(shown[4])[:7] == ["tiles", "1", "2e-07", "959 µs", "959 µs", "50", "50 %"]
    assert cells(shown[4])[8:] == ["2,090", "2,090"]


def test_time_from_fewer_rows_is_marked_and_explained(shown):
    assert cells(shown[3])[3:5] == ["≈2.00 s", "≈2.00 s"]
    assert "≈ scaled up to 50 rows from 60" in shown


def test_skipped_products_are_marked_and_explained(shown):
    assert cells(shown[5])[5:7] == ["360*", "200 %*"]
    assert "* counted as if nothing had been skipped" in shown
    assert not [line for line in shown if line.startswith("void")]


def test_compilation_has_a_line_of_its_own(shown):
    assert "first run, with import and compilation: tiles 1.50 s · tiles, zeros skipped 1.50 s" in shown


def test_missing_framework_is_told_below(shown):
    assert shown[-1] == "not installed: PyTorch; pip install 'fastmlp[bench]'"
    assert not [line for line in shown if line.startswith("PyTorch")]


def test_peaks_stand_in_one_line(shown):
    assert shown[-2] == (
        "peaks of one core and 2 threads: multiply-adds 100 and 180 GFLOP/s (512-bit vectors); "
        "second-level cache 50 and 90 GB/s, memory 10 and 15 GB/s"
    )


def test_wrong_rung_says_so_in_place_of_its_time():
    wrong = a_row(rungs.NJIT, error=0.3, fault="computes something else: error 3.0e-01")
    lines = ladder.ladder(Ladder(SCENES["mnist-step"], (wrong,), PEAKS, {})).splitlines()
    assert cells(lines[3]) == ["kernels, @njit", "1", "3e-01", "computes something else: error 3.0e-01"]


def test_time_above_the_peak_voids_the_measurement():
    rows = (a_row(rungs.TILES, STEP / 120e9),)
    lines = ladder.ladder(Ladder(SCENES["mnist-step"], rows, PEAKS, {})).splitlines()
    assert [line for line in lines if line.startswith("void: tiles above")]


def test_operations_of_a_layer_stand_apart():
    rows = tuple(a_row(rungs.TILES, 1e-3)._replace(operation=operation) for operation in ("forward", "backward", "update"))
    lines = ladder.ladder(Ladder(SCENES["layer"], rows, PEAKS, {})).splitlines()
    assert [cells(line)[0] for line in lines if "median" in line] == ["forward", "backward", "update"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.084, "0.08"), (1.84, "1.8"), (42.3, "42"), (12_345.6, "12,300"), (999.6, "1,000"), (None, "–")]
)
def test_speed_up_has_two_or_three_digits(value, text):
    assert ladder.times(value) == text


def test_scaling_says_from_which_size_on_another_is_faster():
    points = (
        Point("width", 10, "step", {"fastmlp": 1e-6, "jax": 4e-6, "numpy": 8e-6}, {"torch": "not installed: torch"}),
        Point("width", 1000, "step", {"fastmlp": 1e-4, "jax": 0.5e-4, "numpy": 8e-4}, {}),
    )
    lines = ladder.scaling(Scaling(points, {})).splitlines()
    assert cells(lines[2]) == ["width", "fastmlp", "JAX unroll 1", "NumPy plain"]
    assert cells(lines[4]) == ["1,000", "100 µs", "50.0 µs (0.5×)", "800 µs (8.0×)"]
    assert "time grows with the width to the power of: fastmlp 1.00 · JAX unroll 1 0.55 · NumPy plain 1.00" in lines
    assert "JAX unroll 1 is faster from a width of about 215 on" in lines
    assert "NumPy plain is slower at the largest width measured, 1,000" in lines
    assert lines[-1] == "PyTorch in-place: not installed: torch"


def test_framework_that_is_always_faster_is_told():
    points = tuple(Point("batch", size, "step", {"fastmlp": 2.0, "jax": 1.0}, {}) for size in (1, 10))
    assert "JAX unroll 1 is faster at every batch measured" in ladder.scaling(Scaling(points, {}))


def test_starts_show_times_and_what_is_missing():
    _, first, second = ladder.starts([Start("import NumPy", (0.2, 0.1, 0.3)), Start("import JAX", fault="not installed: jax")]).splitlines()
    assert cells(first) == ["import NumPy", "100 ms", "200 ms"]
    assert cells(second) == ["import JAX", "–", "–", "not installed: jax"]


def test_slower_rows_are_told():
    slow = Change("layer forward tiles", Timing(1.0, 1.0, 0.0), Timing(1.5, 1.5, 0.0), 0.1)
    same = Change("layer update tiles", Timing(1.0, 1.0, 0.0), Timing(1.0, 1.0, 0.0), 0.1)
    _, first, second = ladder.changes([slow, same]).splitlines()
    assert cells(first) == ["layer forward tiles", "1.00 s", "1.50 s", "1.50", "10 %", "SLOWER"]
    assert cells(second)[-1] == "10 %"
