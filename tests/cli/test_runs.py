"""`fastmlp runs`: every run is listed, whatever has become of its folder."""

import json
import os

import pytest

from fastmlp.storage.records import append_record
from fastmlp.storage.runs import RunFolder, create_run
from tests.storage.test_records import MODEL


def make_run(root, name, outcome="done", epochs=2, **results):
    with create_run(root, name) as run:
        run.start({"network": {}, "train": {}}, seed=1, data={"name": name, "files": {}}, threads=1)
        for epoch in range(1, epochs + 1):
            run.append_metrics({"epoch": epoch, "validation_accuracy": 0.9 + epoch / 100, "validation_loss": 0.5})
        if outcome is not None:
            run.finish(outcome, results)
    return run.path


def by_name(record):
    return {run["name"]: run for run in record["runs"]}


def test_nothing_is_listed_where_nothing_was_trained(command):
    result = command("runs")
    assert (result.code, result.out) == (0, "")
    assert "fastmlp train mnist" in result.err
    assert command("runs", "--json").json["runs"] == []


def test_a_run_is_listed_with_what_it_was_and_how_it_ended(command, tmp_path):
    path = make_run(tmp_path / "runs", "mnist", test={"accuracy": 0.9817, "loss": 0.06})
    result = command("runs")
    heading, row = result.out.splitlines()
    assert heading.split()[-1] == "run"
    assert row.split() == ["done", "2", "epochs", "98.17", "%", path.name]
    record = by_name(command("runs", "--json").json)[path.name]
    assert (record["dataset"], record["outcome"], record["epochs"]) == ("mnist", "done", 2)
    assert (record["validation_accuracy"], record["test_accuracy"], record["test_loss"]) == (0.92, 0.9817, 0.06)
    assert record["started"].endswith("+00:00")


def test_without_test_rows_the_accuracy_on_held_out_rows_stands_in_brackets(command, tmp_path):
    make_run(tmp_path / "runs", "mnist", "interrupted")
    assert "(92.00 %)" in command("runs").out


def test_experiments_are_listed_with_their_models_within_80_columns(command, tmp_path):
    for kind in ("repeat", "cv", "sweep"):
        path = tmp_path / "runs" / f"20261129T231818Z-{kind}-fashion-mnist-a1b2c3"
        with RunFolder.at(path) as run:
            run.start(
                {"network": {}, "train": {}},
                seed=1,
                data={"name": "mnist", "files": {}},
                threads=1,
                experiment={"kind": kind, "arguments": {}},
            )
            for accuracy in (0.9, 0.92):
                append_record(path / "models.jsonl", {**MODEL, "validation": {"loss": 0.1, "accuracy": accuracy}})
            run.finish("interrupted")
    lines = command("runs").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[:5] for line in lines[1:3]] == [["interrupted", "2", "models", "(91.00", "%)"]] * 2
    assert lines[3].split()[:4] == ["interrupted", "2", "models", "–"]
    assert {run["kind"] for run in command("runs", "--json").json["runs"]} == {"repeat", "cv", "sweep"}


def test_runs_are_listed_by_time(command, tmp_path):
    for name in ("20260102T000000Z-b", "20260101T000000Z-a", "20260103T000000Z-c"):
        with RunFolder.at(tmp_path / "runs" / name) as run:
            run.finish("done")
    names = [run["name"] for run in command("runs", "--json").json["runs"]]
    assert names == sorted(names)


@pytest.mark.parametrize(("outcome", "shown"), [("interrupted", "interrupted"), ("diverged", "diverged"), (None, "killed")])
def test_other_outcomes_are_told_apart(command, tmp_path, outcome, shown):
    path = make_run(tmp_path / "runs", "mnist", outcome)
    assert by_name(command("runs", "--json").json)[path.name]["outcome"] == shown


def test_a_run_at_work_is_running_and_is_not_disturbed(command, tmp_path):
    with create_run(tmp_path / "runs", "mnist") as run:
        assert by_name(command("runs", "--json").json)[run.path.name]["outcome"] == "running"
        run.start({"network": {}, "train": {}}, seed=1, data={"name": "mnist", "files": {}}, threads=1)
        assert by_name(command("runs", "--json").json)[run.path.name]["outcome"] == "running"
        run.finish("done")


DAMAGES = {
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "empty manifest": lambda folder: (folder / "manifest.json").write_bytes(b""),
    "manifest cut off": lambda folder: os.truncate(folder / "manifest.json", 100),
    "manifest of another kind": lambda folder: (folder / "manifest.json").write_text("[1, 2]"),
    "manifest that is no text": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe"),
    "manifest nested without end": lambda folder: (folder / "manifest.json").write_text("[" * 100_000),
    "manifest without end": lambda folder: os.truncate(folder / "manifest.json", 1 << 40),
    "manifest that is a folder": lambda folder: ((folder / "manifest.json").unlink(), (folder / "manifest.json").mkdir()),
    "manifest that is a pipe": lambda folder: ((folder / "manifest.json").unlink(), os.mkfifo(folder / "manifest.json")),
    "manifest that links to nothing": lambda folder: (
        (folder / "manifest.json").unlink(),
        (folder / "manifest.json").symlink_to("nothing"),
    ),
    "metrics of something else": lambda folder: (folder / "metrics.jsonl").write_text("a\nb\n"),
    "metrics that are a pipe": lambda folder: ((folder / "metrics.jsonl").unlink(), os.mkfifo(folder / "metrics.jsonl")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_listed_as_damaged_with_the_reason(command, tmp_path, damage):
    sound, damaged = (make_run(tmp_path / "runs", "mnist") for _ in range(2))
    DAMAGES[damage](damaged)
    result = command("runs")
    assert result.code == 0
    assert len(result.out.splitlines()) == 3
    assert damaged.name in result.err
    found = by_name(command("runs", "--json").json)
    assert found[damaged.name]["outcome"] == "damaged"
    assert found[damaged.name]["problem"]
    assert found[sound.name]["outcome"] == "done"


ODD = {
    "started": [1, None, {}, "\x1b[31m"],
    "data": [None, "mnist", {"name": 3}, []],
    "outcome": [3, [], {}, False],
    "results": [None, 3, {"test": None}, {"test": {"accuracy": "high", "loss": 10**400}}],
}


@pytest.mark.parametrize("name", ODD)
def test_odd_values_in_a_manifest_are_not_known_values(command, tmp_path, name):
    for value in ODD[name]:
        path = make_run(tmp_path / "runs", "mnist")
        manifest = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps({**manifest, name: value}))
    result = command("runs")
    assert result.code == 0
    assert len(result.out.splitlines()) == 5
    assert "\x1b" not in result.out


def test_the_last_line_of_the_metrics_may_be_torn(command, tmp_path):
    path = make_run(tmp_path / "runs", "mnist", None, epochs=3)
    os.truncate(path / "metrics.jsonl", (path / "metrics.jsonl").stat().st_size - 5)
    assert by_name(command("runs", "--json").json)[path.name]["epochs"] == 2


def test_folders_that_are_no_runs_are_only_counted(command, tmp_path):
    make_run(tmp_path / "runs", "mnist")
    (tmp_path / "runs" / "thesis").mkdir()
    (tmp_path / "runs" / "notes.txt").touch()
    result = command("runs")
    assert len(result.out.splitlines()) == 2
    assert "1 other folder in runs" in result.err
    assert command("runs", "--json").json["other_folders"] == 1


def test_listing_changes_nothing(command, tmp_path):
    path = make_run(tmp_path / "runs", "mnist")
    (tmp_path / "runs" / "thesis").mkdir()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*")}
    command("runs")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*")} == before
    RunFolder.reopen(path).close()


@pytest.mark.parametrize("where", ["none", "file"])
def test_a_folder_that_is_not_there_is_not_found(command, tmp_path, where):
    (tmp_path / "file").touch()
    result = command("runs", where)
    assert result.code == 66
    assert where in result.err
