"""Run folders: one writer each, names that stay inside the root, files that read back as they were meant."""

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import tomllib
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp.errors import DataError, InputNotFound, OutputError, RunInUse, WriteError
from fastmlp.settings import NetworkSettings, TrainingSettings
from fastmlp.storage import records, runs
from fastmlp.storage.runs import RunFolder, create_run, read_metrics, to_toml

SETTINGS = {"network": NetworkSettings().to_dict(), "train": TrainingSettings(learning_rate=1e-5, validation=5000).to_dict()}
DATA = {"name": "mnist", "files": {"train-images-idx3-ubyte": "ab" * 32}}


def start(run):
    run.start(SETTINGS, seed=3, data=DATA, threads=2)


def read_json(path):
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_new_run_is_named_by_utc_time_and_name_below_the_root(tmp_path):
    with create_run(tmp_path / "new" / "runs", "mnist") as run:
        assert run.path.parent == tmp_path / "new" / "runs"
        assert run.path.is_dir()
    assert re.fullmatch(r"[0-9]{8}T[0-9]{6}Z-mnist-[0-9a-f]{6}", run.path.name)


class FrozenTime:
    @classmethod
    def now(cls, _):
        return datetime(2026, 1, 2)


def test_a_name_that_is_taken_is_drawn_again(tmp_path, monkeypatch):
    draws = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr(runs.secrets, "token_hex", lambda _: next(draws))
    monkeypatch.setattr(runs, "datetime", FrozenTime)
    with create_run(tmp_path, "mnist") as first, create_run(tmp_path, "mnist") as second:
        assert {first.path.name[-6:], second.path.name[-6:]} == {"aaaaaa", "bbbbbb"}


@pytest.mark.parametrize(
    "name",
    ["../..", "/etc/passwd", "..", ".", "", "a\nb", "nul\0inside", "n" * 255, "-rf", "a/../../b", "C:\\x", "zéro ✓", "~", "\ud800"],
)
def test_no_name_leaves_the_root(tmp_path, name):
    root = tmp_path / "runs"
    with create_run(root, name) as run:
        assert run.path.parent == root
        assert run.path.resolve().parent == root.resolve()
        assert re.fullmatch(r"[A-Za-z0-9._-]+", run.path.name)
        assert len(run.path.name) < 100
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert len(list(root.iterdir())) == 1


WAITING_RUN = """
import sys
import threading
from pathlib import Path
from fastmlp.storage.runs import create_run

print("ready", flush=True)
sys.stdin.readline()
with create_run(Path(sys.argv[1]), "mnist") as run:
    run.append_metrics({"epoch": 1})
"""


def test_eight_runs_at_once_get_eight_folders(tmp_path):
    command = [sys.executable, "-c", WAITING_RUN, str(tmp_path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(8)]
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 8
    folders = list(tmp_path.iterdir())
    assert len(folders) == 8
    assert all(read_metrics(folder / "metrics.jsonl") == [{"epoch": 1}] for folder in folders)


def test_a_root_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(OutputError):
        create_run(tmp_path / "runs", "mnist")


def test_a_chosen_folder_is_made_with_its_parents(tmp_path):
    with RunFolder.at(tmp_path / "a" / "b") as run:
        assert run.path == tmp_path / "a" / "b"
        assert run.path.is_dir()


def test_a_chosen_folder_may_be_there_if_it_is_empty(tmp_path):
    with RunFolder.at(tmp_path) as run:
        assert run.path == tmp_path


def test_a_chosen_folder_with_files_is_refused_and_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="empty or absent"):
        RunFolder.at(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_folder_of_a_finished_run_is_refused(tmp_path):
    with RunFolder.at(tmp_path) as run:
        start(run)
    with pytest.raises(OutputError, match="empty or absent"):
        RunFolder.at(tmp_path)


@pytest.mark.parametrize("name", ["file", "file/below", "nul\0inside"])
def test_a_chosen_folder_that_cannot_be_made_is_an_output_error(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        RunFolder.at(f"{tmp_path}/{name}")


def test_a_folder_in_use_is_refused_until_it_is_closed(tmp_path):
    with RunFolder.at(tmp_path):
        with pytest.raises(RunInUse) as caught:
            RunFolder.at(tmp_path)
    assert caught.value.exit_code == 75
    assert str(tmp_path) in str(caught.value)
    RunFolder.at(tmp_path).close()


def test_close_may_be_called_twice(tmp_path):
    run = RunFolder.at(tmp_path)
    run.close()
    run.close()
    RunFolder.at(tmp_path).close()


HOLDER = """
import sys
import threading
from fastmlp.storage.runs import RunFolder

run = RunFolder.at(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_folder_is_in_use_while_another_process_holds_it_and_free_once_that_is_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunInUse):
            RunFolder.at(tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        RunFolder.at(tmp_path).close()


def test_a_file_system_without_locks_does_not_stop_a_run(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOSYS, "no locks")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with RunFolder.at(tmp_path) as run:
        run.append_metrics({"epoch": 1})
    assert read_metrics(run.metrics_path) == [{"epoch": 1}]


def test_the_configuration_reads_back_as_the_settings_in_effect(tmp_path):
    with RunFolder.at(tmp_path) as run:
        start(run)
    tables = tomllib.loads((tmp_path / "config.toml").read_text())
    assert NetworkSettings.from_mapping(tables["network"]).to_dict() == SETTINGS["network"]
    assert TrainingSettings.from_mapping(tables["train"]).to_dict() == SETTINGS["train"]


def test_the_environment_names_versions_machine_and_threads(tmp_path):
    with RunFolder.at(tmp_path) as run:
        start(run)
    environment = read_json(tmp_path / "env.json")
    assert set(environment["versions"]) == {"fastmlp", "python", "numpy", "numba", "llvmlite"}
    assert all(environment["versions"].values())
    assert environment["machine"]["cpu"]
    assert environment["machine"]["cores"] >= 1
    assert environment["threads"] == 2


def test_the_manifest_says_what_went_in_and_that_the_run_has_not_ended(tmp_path):
    with RunFolder.at(tmp_path) as run:
        start(run)
        manifest = read_json(tmp_path / "manifest.json")
    assert (manifest["seed"], manifest["settings"], manifest["data"]) == (3, SETTINGS, DATA)
    assert manifest["versions"] == read_json(tmp_path / "env.json")["versions"]
    assert manifest["started"].endswith("+00:00")
    assert manifest["ended"] is None
    assert manifest["outcome"] is None


def test_the_manifest_is_completed_at_the_end(tmp_path):
    with RunFolder.at(tmp_path) as run:
        start(run)
        run.finish("done", {"test": {"accuracy": 0.975, "loss": float("inf")}})
    manifest = read_json(tmp_path / "manifest.json")
    assert manifest["seed"] == 3
    assert manifest["started"] <= manifest["ended"]
    assert manifest["outcome"] == "done"
    assert manifest["results"] == {"test": {"accuracy": 0.975, "loss": None}}


def test_each_epoch_is_in_the_file_as_soon_as_it_is_appended(tmp_path):
    with RunFolder.at(tmp_path) as run:
        for epoch in (1, 2, 3):
            run.append_metrics({"epoch": epoch, "train_loss": 0.1 / epoch, "validation_loss": None})
            assert [record["epoch"] for record in read_metrics(run.metrics_path)] == list(range(1, epoch + 1))
    assert read_metrics(run.metrics_path)[2]["train_loss"] == 0.1 / 3


def test_metrics_hold_null_where_json_has_no_number(tmp_path):
    with RunFolder.at(tmp_path) as run:
        run.append_metrics({"epoch": 1, "train_loss": float("nan"), "validation_loss": float("-inf")})
    assert read_json(run.metrics_path) == {"epoch": 1, "train_loss": None, "validation_loss": None}


def test_metrics_that_find_no_room_are_a_write_error(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_open_own", lambda path, flags: os.open("/dev/full", flags))
    with RunFolder.at(tmp_path) as run:
        with pytest.raises(WriteError, match="ENOSPC"):
            run.append_metrics({"epoch": 1})


def test_metrics_cut_anywhere_in_the_last_line_lose_that_line_only(tmp_path):
    with RunFolder.at(tmp_path) as run:
        for epoch in (1, 2, 3):
            run.append_metrics({"epoch": epoch, "train_loss": 0.25, "validation_loss": None, "seconds": 1.5})
    whole = run.metrics_path.read_bytes()
    records = read_metrics(run.metrics_path)
    last = whole.rstrip().rindex(b"\n") + 1
    for length in range(last, len(whole) - 1):
        os.truncate(run.metrics_path, length)
        assert read_metrics(run.metrics_path) == records[:2]
        run.metrics_path.write_bytes(whole)
    os.truncate(run.metrics_path, len(whole) - 1)  # the object is complete, its line end is missing
    assert read_metrics(run.metrics_path) == records


@pytest.mark.parametrize("line", [b"{", b"[1]", b"null", b"", b"\xff", b"[" * 100_000], ids=ascii)
def test_a_bad_line_before_the_last_is_a_data_error_with_its_number(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"epoch": 1}\n' + line + b'\n{"epoch": 3}\n')
    with pytest.raises(DataError, match="line 2"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_no_metrics_yet_are_no_records(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_missing_metrics_are_input_not_found(tmp_path):
    with pytest.raises(InputNotFound):
        read_metrics(tmp_path / "metrics.jsonl")


PLAIN = st.text() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), st.dictionaries(st.text(), PLAIN | st.lists(PLAIN, max_size=3), max_size=4), max_size=3))
def test_toml_reads_back_to_the_same_values(tables):
    assert tomllib.loads(to_toml(tables)) == tables


def test_toml_keeps_the_types_that_compare_equal():
    read = tomllib.loads(to_toml({"t": {"truth": True, "whole": 1, "real": 1.0}}))["t"]
    assert [type(value) for value in read.values()] == [bool, int, float]


def test_toml_leaves_out_what_is_not_set():
    assert to_toml({"train": {"threads": None, "seed": 0}}) == "[train]\nseed = 0\n"


@pytest.mark.parametrize("value", [{}, object(), [None], b"bytes"], ids=["table", "object", "null in a list", "bytes"])
def test_toml_refuses_what_it_has_no_form_for(value):
    with pytest.raises(TypeError):
        to_toml({"train": {"key": value}})


def test_run_folders_are_written_without_loading_numpy():
    code = "import sys, fastmlp.storage.runs; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_model_has_its_place_in_the_folder(tmp_path):
    with RunFolder.at(tmp_path) as run:
        assert run.model_path == Path(tmp_path / "model.safetensors")


# Going on with a run


def test_a_run_is_reopened_with_its_manifest_and_held(tmp_path):
    with RunFolder.at(tmp_path) as run:
        start(run)
    with RunFolder.reopen(tmp_path) as again:
        assert again.manifest["seed"] == 3
        with pytest.raises(RunInUse):
            RunFolder.reopen(tmp_path)


def test_reopening_removes_what_a_killed_process_left(tmp_path):
    with RunFolder.at(tmp_path) as run:
        start(run)
    (tmp_path / ".fastmlp-0011223344556677.tmp").write_bytes(b"half")
    RunFolder.reopen(tmp_path).close()
    assert not list(tmp_path.glob(".fastmlp-*"))


def test_a_folder_that_is_no_runs_is_not_reopened_and_gets_no_lock(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputNotFound):
        RunFolder.reopen(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def resume(run, earlier, epochs=2, threads=2):
    return run.resume(earlier, SETTINGS, threads=threads, out=None, at={"epoch": epochs + 1, "row": 50}, epochs=epochs)


def test_a_resumed_run_keeps_when_it_started_and_is_open_again(tmp_path):
    with RunFolder.at(tmp_path) as run:
        start(run)
        run.finish("interrupted", {"epochs": 2})
        earlier = dict(run.manifest)
    with RunFolder.reopen(tmp_path) as run:
        assert resume(run, earlier) == {}
    manifest = read_json(tmp_path / "manifest.json")
    assert manifest["started"] == earlier["started"]
    assert (manifest["ended"], manifest["outcome"], manifest["results"]) == (None, None, None)
    assert [(each["epoch"], each["row"]) for each in manifest["resumed"]] == [(3, 50)]


def test_what_changed_since_is_returned_and_recorded(tmp_path):
    with RunFolder.at(tmp_path) as run:
        start(run)
        earlier = json.loads(json.dumps(run.manifest))
    earlier["versions"]["numba"] = "0.1"
    earlier["cpu"] = "abacus"
    with RunFolder.reopen(tmp_path) as run:
        changed = resume(run, earlier, threads=1)
        assert set(changed) == {"numba", "cpu", "threads"}
        assert changed["numba"][0] == "0.1"
        assert changed["threads"] == [2, 1]
    assert read_json(tmp_path / "manifest.json")["resumed"][0]["changed"] == changed


@pytest.mark.parametrize(
    "go_on", [lambda run: resume(run, run.manifest), lambda run: run.resume_experiment()], ids=["training", "experiment"]
)
def test_every_resumption_stays_in_the_manifest(tmp_path, go_on):
    with RunFolder.at(tmp_path) as run:
        start(run)
    for number in (1, 2, 3):
        with RunFolder.reopen(tmp_path) as run:
            assert go_on(run) == {}
        times = [each["time"] for each in read_json(tmp_path / "manifest.json")["resumed"]]
        assert len(times) == number
        assert times == sorted(times)
    (tmp_path / "manifest.json").write_text(json.dumps({**read_json(tmp_path / "manifest.json"), "resumed": "often"}))
    with RunFolder.reopen(tmp_path) as run:
        go_on(run)
        assert len(run.manifest["resumed"]) == 1


@pytest.mark.parametrize("torn", [b"", b'{"epoch": 4, "tr', b'{"epoch": 4}'])
def test_metrics_go_on_after_the_epochs_that_are_done(tmp_path, torn):
    with RunFolder.at(tmp_path) as run:
        start(run)
        for epoch in (1, 2, 3):
            run.append_metrics({"epoch": epoch, "train_loss": 0.1})
        with open(run.metrics_path, "ab") as file:
            file.write(torn)
    with RunFolder.reopen(tmp_path) as run:
        resume(run, run.manifest, epochs=2)
        run.append_metrics({"epoch": 3})
        assert [record["epoch"] for record in read_metrics(run.metrics_path)] == [1, 2, 3]
        assert run.metrics_path.read_bytes().endswith(b'{"epoch": 3}\n')


def test_metrics_are_synced_on_request(tmp_path, monkeypatch):
    synced = []
    with RunFolder.at(tmp_path) as run:
        run.sync_metrics()  # before the first epoch there is nothing to sync
        assert not run.metrics_path.exists()
        run.append_metrics({"epoch": 1})
        monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
        run.sync_metrics()
    assert synced == [str(tmp_path.resolve() / "metrics.jsonl")]


def test_who_looks_whether_a_run_is_going_on_keeps_nobody_out(tmp_path):
    RunFolder.at(tmp_path).close()
    lock = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    threading.Timer(0.03, os.close, [lock]).start()  # as long as a look takes, and longer
    RunFolder.reopen(tmp_path).close()


def test_is_running_tells_whether_somebody_holds_the_lock(tmp_path):
    assert not runs.is_running(tmp_path)
    with RunFolder.at(tmp_path):
        assert runs.is_running(tmp_path)
    assert not runs.is_running(tmp_path)


def test_an_earlier_run_is_held_again_with_its_manifest(tmp_path):
    with create_run(tmp_path, "sweep") as run:
        run.start(SETTINGS, seed=3, data=DATA, threads=2, experiment={"kind": "sweep", "arguments": {"runs": 5}})
    with RunFolder.reopen(run.path) as again:
        assert (again.manifest["kind"], again.manifest["arguments"], again.manifest["seed"]) == ("sweep", {"runs": 5}, 3)
        with pytest.raises(RunInUse):
            RunFolder.reopen(run.path)
        again.finish("done", {"x": 1})
    manifest = read_json(run.path / "manifest.json")
    assert (manifest["kind"], manifest["outcome"], manifest["results"]) == ("sweep", "done", {"x": 1})


def test_a_folder_that_is_no_run_is_not_held_again(tmp_path):
    with pytest.raises(InputNotFound, match="expected the folder of a run"):
        RunFolder.reopen(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_manifest_is_bad_data(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match="expected one JSON object"):
        runs.read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("content", "kept"), [(b'{"a": 1}\n{"b"', b'{"a": 1}\n'), (b'{"a"', b""), (b'{"a": 1}\n', b'{"a": 1}\n'), (b"", b"")]
)
def test_a_torn_line_is_cut_off(tmp_path, content, kept):
    path = tmp_path / "models.jsonl"
    path.write_bytes(content)
    records.drop_torn_line(path)
    assert path.read_bytes() == kept


def test_no_file_has_no_torn_line(tmp_path):
    records.drop_torn_line(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
