"""Files of a run folder from anybody: nothing hangs, nothing is written elsewhere, nothing is believed that is not as it should be."""

import json
import os

import pytest

from fastmlp.errors import DataError, FastmlpError, InputNotFound, OutputError
from fastmlp.storage import records
from fastmlp.storage.json_text import MAX_DEPTH, MAX_DIGITS, parse
from fastmlp.storage.reading import HISTORY, read_epochs, read_models, read_run
from fastmlp.storage.records import FILES, FOLDERS, append_record, check_plain, drop_torn_line, read_metrics, read_object, read_plain, sync
from fastmlp.storage.runs import RunFolder, summarize

MANIFEST = {"settings": {"network": {}, "train": {}}, "data": {"name": "mnist", "files": {}}}


@pytest.fixture
def run(tmp_path):
    """The folder of a run that is over."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    return folder


@pytest.fixture
def victim(tmp_path):
    """A file of the user's that no run may touch."""
    path = tmp_path / "victim"
    path.write_text('{"mine": 1}\n')
    return path


INSIDE = [
    *FILES,
    *FOLDERS,
    "checkpoints/ckpt-000001.safetensors",
    "report-figures/learning.svg",
    "experiments/1",
    "experiments/1/models.jsonl",
]


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("name", INSIDE)
def test_no_command_goes_on_with_a_folder_that_leads_elsewhere(name, kind, run, victim):
    path = run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(victim) if kind == "link" else os.mkfifo(path)
    for action in (check_plain, read_run, RunFolder.reopen):
        with pytest.raises((DataError, InputNotFound)):
            action(run)
    assert summarize(run).outcome == "damaged"
    assert victim.read_text() == '{"mine": 1}\n'


def test_links_to_a_run_folder_are_followed(run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    assert read_run(tmp_path / "link").manifest == MANIFEST


HOSTILE = {
    "link": lambda path, victim: path.symlink_to(victim),
    "hard link": lambda path, victim: os.link(victim, path),
    "pipe": lambda path, victim: os.mkfifo(path),
    "device": lambda path, victim: path.symlink_to("/dev/zero"),
    "folder": lambda path, victim: path.mkdir(),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_appended_to_is_a_plain_file_of_one_name(kind, tmp_path, victim):
    path = tmp_path / "metrics.jsonl"
    HOSTILE[kind](path, victim)
    for write in (lambda: append_record(path, {"epoch": 1}), lambda: drop_torn_line(path), lambda: sync(path)):
        with pytest.raises((DataError, OutputError)):
            write()
    assert victim.read_text() == '{"mine": 1}\n'


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind != "hard link"])
def test_what_is_read_is_a_plain_file(kind, tmp_path, victim):
    path = tmp_path / "metrics.jsonl"
    HOSTILE[kind](path, victim)
    with pytest.raises(InputNotFound):
        read_plain(path, 1000)


def test_files_above_the_limit_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "file"
    for read, limit in ((read_object, "LARGEST_OBJECT"), (read_metrics, "LARGEST_LIST"), (drop_torn_line, "LARGEST_LIST")):
        os.truncate(path, 0) if path.exists() else path.touch()
        os.truncate(path, getattr(records, limit) + 1)  # with holes: it takes no room
        with pytest.raises(DataError, match="at most"):
            read(path)
    path.write_bytes(b'{"a": 1}')
    monkeypatch.setattr(records, "LARGEST_OBJECT", 8)
    assert read_object(path) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        "1e999",
        '{"a": 1, "a": 2}',
        '"\\ud800"',
        "9" * (MAX_DIGITS + 1),
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "{",
        "",
    ],
    ids=lambda text: text[:12],
)
def test_json_is_strict(text):
    with pytest.raises(ValueError):  # noqa: PT011  each says something else
        parse(text)


def test_json_as_deep_and_as_long_as_allowed_is_read():
    assert parse("9" * MAX_DIGITS) == int("9" * MAX_DIGITS)
    assert parse('["[[[", ' + "[" * (MAX_DEPTH - 1) + "]" * MAX_DEPTH)


MODEL = {
    "key": "a", "changed": {}, "seed": 1, "fold": None, "validation": {"loss": 1.0, "accuracy": None}, "test": None, "seconds": 1.0,
    "outcome": "done", "history": {field: [1.0] for field in HISTORY},
}  # fmt: skip


@pytest.mark.parametrize("field", MODEL)
def test_models_of_other_types_are_refused(field, tmp_path):
    (tmp_path / "models.jsonl").write_text(json.dumps(MODEL) + "\n")
    assert [model["key"] for model in read_models(tmp_path / "models.jsonl")] == ["a"]
    (tmp_path / "models.jsonl").write_text(json.dumps({**MODEL, field: [[]]}) + "\n")
    scores = "scores of numbers"
    what = {"history": "a history of numbers", "validation": scores, "test": scores}.get(field, f"the field {field}")
    with pytest.raises(DataError, match=rf"models.jsonl': expected {what} in line 1, found something else; the file is damaged$"):
        read_models(tmp_path / "models.jsonl")


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"settings": {"network": {}}}, "settings with the tables network and train"),
        ({"settings": []}, "settings with the tables network and train"),
        ({"data": {"name": 3}}, "data with a name and files"),
        ({"data": {"name": "mnist", "files": []}}, "data with a name and files"),
        ({"results": [1]}, "results to be an object"),
        ({"arguments": "all"}, "arguments to be an object"),
    ],
)
def test_a_manifest_without_what_every_run_has_says_what_it_lacks(run, changed, what):
    assert read_run(run).kind == "train"
    (run / "manifest.json").write_text(json.dumps({**MANIFEST, **changed}))
    with pytest.raises(DataError, match=rf"manifest.json': expected {what}, found something else; the file is damaged$"):
        read_run(run)


@pytest.mark.parametrize(("loss", "is_number"), [(9.9e299, True), (1e300, False), (-1e300, False)])
def test_numbers_end_below_1e300(run, loss, is_number):
    (run / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "validation_loss": loss}) + "\n")
    assert summarize(run).validation_loss == (loss if is_number else None)
    if is_number:
        assert read_run(run).history["validation_loss"] == [loss]
    else:
        with pytest.raises(DataError, match="expected numbers in line 1"):
            read_run(run)


def test_epochs_without_numbers_are_refused(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": "\\u001b[31m"}\n')
    with pytest.raises(FastmlpError, match="line 2"):
        read_epochs(tmp_path / "metrics.jsonl")
