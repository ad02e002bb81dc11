"""Result files: a later run replaces what it measured anew, and keeps the rest."""

import json

import pytest

from fastmlp.benchmark import results
from fastmlp.benchmark.results import held, merged
from fastmlp.errors import DataError


def a_record(quick=False, cpu="a processor", **sections):
    return {"machine": {"cpu": cpu, "cores": 2}, "versions": {"numpy": "1"}, "quick": quick, "workloads": [], **sections}


def a_workload(name, value, instruction_set="native"):
    return {"name": name, "instruction_set": instruction_set, "value": value}


def test_new_entries_replace_old_ones_of_the_same_name():
    old = a_record(workloads=[a_workload("A", 1), a_workload("A", 2, "avx2"), a_workload("B", 3)])
    new = a_record(workloads=[a_workload("A", 9)])
    assert merged(old, new)["workloads"] == [a_workload("A", 9), a_workload("A", 2, "avx2"), a_workload("B", 3)]


def test_sections_that_were_not_measured_stay():
    old = a_record(ladders=[{"scene": "layer"}], startup=[{"what": "x"}])
    found = merged(old, a_record(scaling=[{"axis": "width"}]))
    assert (found["ladders"], found["startup"], found["scaling"]) == ([{"scene": "layer"}], [{"what": "x"}], [{"axis": "width"}])


def test_versions_are_those_of_both():
    new = {**a_record(), "versions": {"torch": "2"}}
    assert merged(a_record(), new)["versions"] == {"numpy": "1", "torch": "2"}


@pytest.fixture
def on_a_processor(monkeypatch):
    monkeypatch.setattr(results.machine, "cpu_name", lambda: "a processor")


@pytest.mark.parametrize("old", [a_record(cpu="another"), a_record(quick=True)])
def test_other_machines_and_quick_runs_do_not_mix(tmp_path, on_a_processor, old):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    with pytest.raises(DataError, match="save to another"):
        held(path, quick=False)


def test_file_of_the_same_kind_is_added_to(tmp_path, on_a_processor):
    path = tmp_path / "old.json"
    assert held(path, quick=False) is None
    path.write_text(json.dumps(a_record()))
    assert held(path, quick=False) == a_record()


@pytest.mark.parametrize("workloads", [[3], [{"name": "A"}], 7])
def test_file_of_something_else_is_not_added_to(tmp_path, on_a_processor, workloads):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({**a_record(), "workloads": workloads}))
    with pytest.raises(DataError, match=r"other\.json"):
        held(path, quick=False)


def test_content_of_a_file_can_be_read_again():
    assert json.loads(results.as_json(a_record())) == a_record()
