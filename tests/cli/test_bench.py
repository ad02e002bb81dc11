"""`fastmlp bench peers`: one small workload for real."""

import json

import pytest

from fastmlp.benchmark.workloads import WORKLOADS


def test_workload_is_measured_printed_and_saved(command, tmp_path):
    result = command("bench", "peers", "--workload", "L", "--quick", "--save", "found.json")
    assert result.code == 0
    assert result.out.startswith(f"L  {WORKLOADS['L'].title}: time per call\n")
    record = json.loads((tmp_path / "found.json").read_text())
    assert {"cpu", "cores", "python"} <= set(record["machine"])
    assert {"fastmlp", "numpy", "numba"} <= set(record["versions"])
    (workload,) = record["workloads"]
    numpy = next(each for each in workload["times"] if each["peer"] == "numpy")
    assert 0 < numpy["best"] <= numpy["median"]
    assert numpy["fault"] is None
    ratio = next(each for each in workload["ratios"] if each["against"]["peer"] == "numpy")
    assert ratio["ratio"] > 0


@pytest.mark.parametrize("arguments", [("--workload", "Z"), ("--repeats", "0")])
def test_wrong_flag_is_a_usage_error(command, arguments):
    assert command("bench", "peers", *arguments).code == 2


def test_file_that_cannot_be_created_is_told_before_anything_is_measured(command):
    assert command("bench", "peers", "--workload", "L", "--save", "no/such/folder.json").code == 73
