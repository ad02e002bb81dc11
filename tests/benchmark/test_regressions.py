"""Two result files: what counts as slower, and what is no comparison at all."""

import json

import pytest

from fastmlp.benchmark import regressions
from fastmlp.benchmark.regressions import LEAST_NOISE, compare, read, spread
from fastmlp.errors import DataError, InputNotFound

MACHINE = {"cpu": "a processor", "cores": 2}


def a_row(median, best=None, spread=0.0, **facts):
    found = {"median": median, "best": best or median, "spread": spread, "fault": None, "operation": "", "title": "tiles"}
    return {**found, "threads": 1, "rows": 60, **facts}


def a_record(*rows, machine=MACHINE):
    return {"machine": machine, "ladders": [{"scene": "layer", "rows": list(rows)}]}


def test_time_beyond_the_noise_is_a_regression():
    (change,) = compare(a_record(a_row(1.0)), a_record(a_row(1.2)))
    assert change.is_regression
    assert change.slower_by == pytest.approx(0.2)


@pytest.mark.parametrize("now", [1.09, 1.0, 0.5])
def test_time_within_the_noise_or_better_is_none(now):
    (change,) = compare(a_record(a_row(1.0)), a_record(a_row(now)))
    assert not change.is_regression


def test_scattered_times_need_a_larger_difference():
    (change,) = compare(a_record(a_row(1.0, spread=0.1)), a_record(a_row(1.3, spread=0.1)))
    assert change.noise == pytest.approx(0.4)
    assert not change.is_regression


def test_median_alone_is_not_enough():
    (change,) = compare(a_record(a_row(1.0, best=0.9)), a_record(a_row(1.5, best=0.9)))
    assert not change.is_regression


def test_slowest_change_comes_first():
    before = a_record(a_row(1.0), a_row(1.0, title="njit"))
    after = a_record(a_row(1.1), a_row(2.0, title="njit"))
    assert [change.name.split()[1] for change in compare(before, after)] == ["njit", "tiles"]


def test_row_with_a_fault_is_not_compared():
    with pytest.raises(DataError, match="some of the rows"):
        compare(a_record(a_row(1.0)), a_record(a_row(2.0, fault="another loss")))


def test_other_numbers_of_rows_are_another_measurement():
    with pytest.raises(DataError, match="some of the rows"):
        compare(a_record(a_row(1.0)), a_record(a_row(1.0, rows=6)))


@pytest.mark.parametrize("fact", ["cpu", "cores"])
def test_times_of_another_machine_are_refused(fact):
    with pytest.raises(DataError, match="this machine"):
        compare(a_record(a_row(1.0), machine={**MACHINE, fact: 64}), a_record(a_row(1.0)))


def test_workloads_are_compared_by_implementation_and_threads():
    def record(seconds):
        times = {"peer": "jax", "variant": "jit", "threads": 2, "median": seconds, "best": seconds, "fault": None}
        return {"machine": MACHINE, "workloads": [{"name": "A", "instruction_set": "native", "rows": 700, "times": [times]}]}

    (change,) = compare(record(1.0), record(3.0))
    assert (change.name, change.is_regression) == ("A native jax jit on 2, 700 rows", True)


def test_spread_is_half_the_distance_of_the_quartiles():
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1 / 3)
    assert spread([1.0, 9.0]) == 0.0
    assert LEAST_NOISE > 0


def test_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputNotFound, match=r"none\.json"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"machine": 3}', "[" * 100_000])
def test_file_that_holds_something_else_is_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"other\.json"):
        read(path)


@pytest.mark.parametrize("ladders", [[3], [{"rows": 5}], {"x": 1}, [{"scene": "layer", "rows": [{}]}]])
def test_damaged_rows_are_an_error_in_one_line(tmp_path, ladders):
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps({"machine": MACHINE, "ladders": ladders}))
    with pytest.raises(DataError) as error:
        compare(regressions.read(path), a_record(a_row(1.0)))
    assert "\n" not in str(error.value)
