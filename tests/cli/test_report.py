"""`fastmlp report`: from a run folder to a page; what it looks at, what it leaves out, how it fails."""

import contextlib
import csv
import io
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import fastmlp
from fastmlp.cli import run
from fastmlp.cli.report import commands_of, setting_flags
from fastmlp.storage.reading import read_run
from tests.rendering.made_runs import model, write_reproduction, write_run

CURVES = {"curves", "boundary", "confusion", "classes"}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The run folder of a real training on the synthetic points."""
    folder = tmp_path_factory.mktemp("training") / "run"
    line = f"train synthetic --epochs 2 --validation 10000 --hidden 4 --hidden 3 --seed 5 --momentum 0.5 --quiet --run-folder {folder}"
    assert run(shlex.split(line)) == 0
    return folder


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of that folder, to be damaged."""
    return shutil.copytree(trained, tmp_path / "copy")


class Reported(NamedTuple):
    """What two reports of one folder said, as text and as JSON, and the page after each."""

    folder: Path
    out: str
    record: dict
    pages: list[bytes]


@pytest.fixture(scope="session")
def reported(trained, tmp_path_factory):
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("reported") / "run")
    said, pages = [], []
    for flags in ((), ("--json",)):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert run(["report", str(folder), *flags]) == 0
        said.append(out.getvalue())
        pages.append((folder / "report.html").read_bytes())
    return Reported(folder, said[0], json.loads(said[1]), pages)


def test_training_gets_a_page_and_figures_in_its_folder(reported):
    folder = reported.folder
    assert reported.out == f"page {folder / 'report.html'}\n4 figures in {folder / 'report-figures'}\n"
    assert {path.stem for path in (folder / "report-figures").iterdir()} == CURVES
    assert reported.pages[0].startswith(b"<!doctype html>")


def test_json_lists_the_files(reported):
    record = reported.record
    assert (record["kind"], record["page"]) == ("train", str(reported.folder / "report.html"))
    assert {figure["name"] for figure in record["figures"]} == CURVES
    assert all(len(figure["files"]) == 3 for figure in record["figures"])


def test_page_is_the_same_when_written_again(reported):
    assert reported.pages[0] == reported.pages[1]


def test_out_names_the_page_and_the_folder_of_figures(command, copied, tmp_path):
    (copied / "model.safetensors").unlink()  # fewer figures to draw
    assert command("report", copied, "--out", tmp_path / "digits.html").code == 0
    assert (tmp_path / "digits-figures" / "curves.csv").exists()
    assert not (copied / "report.html").exists()


def test_command_on_the_page_does_the_run_again_bit_for_bit(command, trained, tmp_path):
    (line,) = commands_of(read_run(trained))
    again = command(*shlex.split(line)[1:], "--run-folder", tmp_path / "again")
    assert again.code == 0, again.err
    networks = [fastmlp.Network.load(folder / "model.safetensors") for folder in (trained, tmp_path / "again")]
    np.testing.assert_array_equal(networks[0].parameters, networks[1].parameters)


def test_confusion_of_mnist_is_that_of_the_rows_held_out(command, mnist, tmp_path):
    folder = tmp_path / "run"
    assert command("train", "mnist", "--hidden", "10", "--epochs", "1", "--run-folder", folder, "--quiet").code == 0
    result = command("report", folder)
    assert result.code == 0, result.err
    network = fastmlp.Network.load(folder / "model.safetensors")
    said = network.predict(mnist.x_train[-5000:])
    expected = np.zeros((10, 10), int)
    for right, found in zip(mnist.y_train[-5000:], said, strict=True):
        expected[right, found] += 1
    with open(folder / "report-figures" / "confusion.csv") as file:
        rows = list(csv.reader(file))[1:]
    np.testing.assert_array_equal([[int(count) for count in row[1:]] for row in rows], expected)
    with open(folder / "report-figures" / "mistakes.csv") as file:
        mistakes = list(csv.DictReader(file))
    assert len(mistakes) == 12
    for mistake in mistakes:
        row = int(mistake["row"])
        assert mistake["true class"] == str(mnist.y_train[-5000:][row])
        assert mistake["predicted class"] == str(said[row])


def test_without_data_files_the_page_says_what_is_missing(command, copied, tmp_path, monkeypatch):
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"data": {"name": "mnist", "files": {}}}))
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.delenv("FASTMLP_DATA_DIR", raising=False)
    assert command("report", copied).code == 0
    assert "The data set could not be used here: figures that need it are left out." in (copied / "report.html").read_text()
    assert {path.stem for path in (copied / "report-figures").iterdir()} == {"curves"}


def test_other_data_of_the_same_name_are_not_used(command, copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"data": {"name": "synthetic", "files": {"synthetic": "00" * 32}}}))
    assert command("report", copied).code == 0
    assert "not the one of this run" in (copied / "report.html").read_text()


@pytest.mark.parametrize("content", [None, b"nothing"])
def test_without_a_model_the_page_says_what_is_missing(command, copied, content):
    path = copied / "model.safetensors"
    path.unlink()
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"results": {"model": str(path)}}))
    if content is not None:
        path.write_bytes(content)
    assert command("report", copied).code == 0
    assert "figures of what the network confuses are left out" in (copied / "report.html").read_text()


def test_hostile_names_in_a_run_folder_stay_text(command, tmp_path):
    hostile = "<script>alert(1)</script>"
    folder = write_reproduction(tmp_path / "run", note=hostile, name=hostile)
    result = command("report", folder, "--json")
    assert (result.code, result.json["kind"]) == (0, "reproduce")
    page = (folder / "report.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 5


def test_each_kind_of_experiment_gets_a_page(command, tmp_path):
    models = [model(seed, 0.9, 0.95, changed={"learning_rate": rate}) for rate in (0.01, 0.1) for seed in (0, 1)]
    folded = [model(0, 0.9, 0.95, fold=fold) for fold in range(3)]
    folders = {
        "repeat": write_run(tmp_path / "repeat", "repeat", models=models[:2]),
        "sweep": write_run(tmp_path / "sweep", "sweep", models=models),
        "cv": write_run(tmp_path / "cv", "cv", models=folded),
    }
    for kind, folder in folders.items():
        result = command("report", folder, "--json")
        assert (result.code, result.json["kind"]) == (0, kind)


def damage(folder, name, text):
    (folder / name).write_text(text)
    return folder


BAD_MODEL = json.dumps({"key": "a", "changed": {}, "seed": 0, "seconds": 1.0, "outcome": "done", "history": {}}) + "\n"
EDITS = {
    "manifest is no JSON": ("manifest.json", "{", "expected one JSON object"),
    "manifest is nested deeply": ("manifest.json", "[" * 100_000, "expected one JSON object"),
    "manifest is a list": ("manifest.json", "[]", "expected one JSON object"),
    "manifest without settings": ("manifest.json", "{}", "expected settings with the tables network and train"),
    "manifest of a kind to come": ("manifest.json", '{"kind": "<b>"}', "kind: expected one of train, repeat, sweep, cv, reproduce"),
    "model without a history": ("models.jsonl", BAD_MODEL, "expected a history of numbers in line 1"),
    "result is no JSON": ("result.json", "nothing", "expected one JSON object"),
}


@pytest.mark.parametrize("case", EDITS)
def test_damaged_folder_is_bad_data_in_one_line(command, tmp_path, case):
    name, text, said = EDITS[case]
    result = command("report", damage(write_run(tmp_path / "run", "repeat", models=[model(0, 0.9)]), name, text))
    assert result.code == 65
    assert said in result.err
    assert result.err.count("\n") == 1


def test_figure_with_other_data_than_its_kind_has_is_bad_data(command, tmp_path):
    folder = write_reproduction(tmp_path / "run")
    result = json.loads((folder / "result.json").read_text())
    result["figures"]["2"]["series"] = [{"name": "no numbers"}]
    said = command("report", damage(folder, "result.json", json.dumps(result)))
    assert said.code == 65
    assert "figure '2'" in said.err


def test_reproduction_that_was_cut_off_is_bad_data_and_says_how_to_go_on(command, tmp_path):
    folder = write_reproduction(tmp_path / "run")
    (folder / "result.json").unlink()
    result = command("report", folder)
    assert result.code == 65
    assert "fastmlp reproduce" in result.err


@pytest.mark.parametrize("name", ["absent", "file", "empty"])
def test_what_is_no_run_folder_is_not_found(command, tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    result = command("report", tmp_path / name)
    assert result.code == 66
    assert "expected the folder of a run" in result.err


def test_page_that_cannot_be_created_is_told_before_anything_is_drawn(command, copied, tmp_path):
    result = command("report", copied, "--out", tmp_path / "none" / "page.html")
    assert result.code == 73
    assert not (tmp_path / "none").exists()


SETTINGS = "--hidden 300 --activation sigmoid --epochs 2 --batch-size 32 --learning-rate 0.2 --optimizer sgd --normalize scale"


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("repeat", {"runs": 30, "test": False}, [f"fastmlp repeat mnist {SETTINGS} --validation 5000 --runs 30"]),
        ("cv", {"folds": 5, "runs": 2, "test": True}, [f"fastmlp cv mnist {SETTINGS} --runs 2 --folds 5 --test"]),
        ("reproduce", {"seeds": 5, "repeats": 30, "quick": False}, ["fastmlp reproduce --seeds 5 --repeats 30"]),
        (
            "sweep",
            {"changes": [{"hidden": [300], "momentum": 0.5}, {"hidden": [30, 10], "momentum": 0.5}], "runs": 5, "halving": True},
            [f"fastmlp sweep mnist {SETTINGS[13:]} --validation 5000 --hidden 300,30-10 --momentum 0.5 --runs 5 --halving"],
        ),
        (
            "sweep",  # drawn by chance: no grid has these two alone
            {"changes": [{"batch_size": 20, "momentum": 0.5}, {"batch_size": 30, "momentum": 0.9}], "runs": 3},
            [f"fastmlp repeat mnist {SETTINGS.replace('32', rows)} --validation 5000 --runs 3" for rows in ("20", "30")],
        ),
    ],
)
def test_command_of_an_experiment(tmp_path, kind, arguments, expected):
    found = commands_of(read_run(write_run(tmp_path / "run", kind, arguments=arguments)))
    assert [re.sub(r" --momentum 0\.[59](?= --normalize)", "", line) for line in found] == expected


def test_plot_shows_the_curves_after_training(command):
    result = command("train", "synthetic", "--epochs", "2", "--validation", "10000", "--plot", "--no-run-folder")
    assert result.code == 0
    assert "accuracy (%): ⣀ training, o validation" in result.out
    assert result.out.index("loss: ") < result.out.index("test accuracy")


def test_plot_stays_out_of_json(command):
    result = command("train", "synthetic", "--epochs", "1", "--plot", "--no-run-folder", "--json")
    assert result.json["command"] == "train"


def test_a_setting_that_is_off_is_given_by_its_negative_flag():
    settings = {"per_feature": False, "nesterov": True, "restore_best": False}
    assert set(setting_flags(settings, "train")) == {"--no-per-feature", "--nesterov"}
    assert set(setting_flags(settings, "sweep")) == {"--per-feature false", "--nesterov true"}


def test_setting_that_is_off_is_given_by_its_flag_with_no():
    assert setting_flags({"per_feature": False, "nesterov": True}, "train") == ["--nesterov", "--no-per-feature"]
