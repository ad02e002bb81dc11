"""Scaling: power laws are found again, and so is the size from which on another one is faster."""

import numpy as np
import pytest

from fastmlp.benchmark import scaling
from fastmlp.benchmark.scaling import AXES, Point, Scaling, crossing, exponent, workload_at


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_exponent_of_a_power_law_is_found(power):
    assert exponent([(size, 3.0 * size**power) for size in (1, 10, 70, 1000)]) == pytest.approx(power, abs=1e-12)


def test_crossing_of_two_power_laws_is_found():
    # theirs 100 + n, ours 2 n: equal at 100; between two sizes the ratio is nearly a power law
    ratios = [(n, (100 + n) / (2 * n)) for n in (10, 90, 110, 1000)]
    assert crossing(ratios) == pytest.approx(100, rel=1e-2)


@pytest.mark.parametrize(
    ("ratios", "size"), [([(1, 5.0), (10, 1.0)], None), ([(1, 0.5), (10, 0.4)], 1.0), ([], None), ([(1, 0.5), (10, 2.0)], None)]
)
def test_crossing_at_the_ends(ratios, size):
    assert crossing(ratios) == size


def test_last_crossing_counts():
    assert crossing([(1, 0.5), (10, 2.0), (100, 0.5)]) == pytest.approx(10 * 10**0.5)


def points(**seconds):
    return [
        Point("width", size, "step", {name: found[index] for name, found in seconds.items()}, {}) for index, size in enumerate((10, 1000))
    ]


def test_what_follows_stands_by_implementation():
    found = Scaling(tuple(points(fastmlp=(1.0, 100.0), jax=(10.0, 10.0))), {})
    assert found.exponents("width") == {"fastmlp": pytest.approx(1.0), "jax": pytest.approx(0.0)}
    assert found.break_even("width") == {"jax": pytest.approx(100.0)}


def test_sizes_are_sorted():
    assert [point.size for point in Scaling(tuple(reversed(points(fastmlp=(1.0, 1.0)))), {}).of("width")] == [10, 1000]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("quick", [False, True])
def test_one_thing_changes_along_an_axis(axis, quick):
    small, large = (workload_at(axis, size, quick) for size in AXES[axis][quick][:2])
    assert small != large
    assert (small.batch_size != large.batch_size) == (axis == "batch")
    assert (small.sizes != large.sizes) == (axis in ("width", "depth"))
    if axis != "rows":
        assert small.rows % small.batch_size == 0  # whole batches: a step is a step


@pytest.mark.long  # a process for each point and each implementation
def test_points_are_measured_for_real(monkeypatch):
    process = scaling.Process
    monkeypatch.setattr(scaling, "Process", lambda *arguments, cache: process(*arguments))  # with the code that other tests compiled
    monkeypatch.setattr(scaling, "FRAMEWORKS", {"numpy": "plain"})
    monkeypatch.setitem(scaling.AXES, "rows", ((), (60, 120)))
    found = scaling.measure(1, quick=True, axes=("rows", "threads"))
    assert [point.faults for point in found.points] == [{}] * len(found.points)
    assert all(seconds > 0 for point in found.points for seconds in point.seconds.values())
    assert set(found.of("rows")[0].seconds) == {"fastmlp", "numpy"}
    assert [point.size for point in found.of("threads")] == list(range(1, len(found.of("threads")) + 1))
    assert {"numpy", "numba"} <= set(found.versions)


def test_another_loss_is_a_fault():
    assert list(scaling._wrong({"fastmlp": 0.5, "numpy": 0.5001, "jax": 0.6, "torch": np.nan})) == ["jax", "torch"]
