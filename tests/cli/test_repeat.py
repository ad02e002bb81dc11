"""`fastmlp repeat`: many seeds, a table per epoch, a folder to go on with; closed test rows."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.settings import NetworkSettings, TrainingSettings
from fastmlp.storage import runs
from fastmlp.storage.reading import Model
from fastmlp.storage.runs import RunFolder

ROOT = Path(__file__).parents[2]
QUICK = ("repeat", "synthetic", "--runs", "3", "--epochs", "2", "--batch-size", "100", "--learning-rate", "0.5")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_prints_a_row_per_epoch_then_the_folder(command):
    result = command(*QUICK)
    assert result.code == 0
    what, _, heading, first, second, folder = result.out.splitlines()
    assert what == "mean ± standard deviation and extremes of 3 runs on 5,000 validation rows"
    assert heading.split()[:4] == ["epoch", "accuracy", "%", "lowest"]
    assert [first.split()[0], second.split()[0]] == ["1", "2"]
    assert folder.startswith("results runs/")


def test_runs_that_stop_early_are_summed_up_at_their_ends(command):
    flags = ("--epochs", "50", "--learning-rate", "20", "--patience", "2", "--restore-best", "--run-folder")
    record = command(*QUICK, *flags, "one", "--json").json
    models = lines(Path(record["run_folder"]) / "models.jsonl")
    assert [model["validation"]["loss"] for model in models] == [min(model["history"]["validation_loss"]) for model in models]
    text = command(*QUICK, *flags, "two").out
    mean = np.mean([model["validation"]["accuracy"] for model in models])
    assert f"each at its end: validation accuracy {100 * mean:.2f} ± " in text


def test_runs_are_those_of_train_with_these_seeds(command, tmp_path):
    record = command(*QUICK, "--seed", "5", "--json").json
    data = fastmlp.load_dataset("synthetic")
    accuracies = []
    for seed in (5, 6, 7):
        network = fastmlp.Network([2, 3, 2], "sigmoid", seed=seed)
        settings = {"epochs": 2, "batch_size": 100, "learning_rate": 0.5, "seed": seed, "validation": 5000, "holdout": "last"}
        accuracies.append(fastmlp.train(network, data.x_train, data.y_train, **settings)[-1].validation_accuracy)
    found = record["epochs"][1]["validation_accuracy"]
    assert found["mean"] == pytest.approx(np.mean(accuracies))
    assert found["std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert (found["lowest"], found["highest"], found["n"]) == (min(accuracies), max(accuracies), 3)


def test_test_rows_stay_closed(command, tmp_path):
    record = command(*QUICK, "--json").json
    folder = tmp_path / record["run_folder"]
    assert record["test"] is None
    assert record["test_openings"] == []
    assert json.loads((folder / "manifest.json").read_text())["results"]["test_openings"] == []


def test_test_rows_are_opened_once_per_model_on_request(command):
    record = command(*QUICK, "--test", "--json").json
    assert record["test"]["accuracy"]["n"] == 3
    assert sorted(record["test_openings"]) == ["x_test"] * 3 + ["y_test"] * 3


def test_a_validation_score_is_never_called_test(command):
    result = command(*QUICK)
    assert "test" not in result.out + result.err


def test_folder_tells_what_was_done_and_what_came_out(command, tmp_path):
    record = command(*QUICK, "--json").json
    folder = tmp_path / record["run_folder"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["kind"], manifest["outcome"], manifest["seed"]) == ("repeat", "done", 0)
    assert manifest["arguments"] == {"runs": 3, "test": False}
    assert manifest["data"]["files"] == dict(fastmlp.load_dataset("synthetic").hashes)
    assert {"cpu", "versions", "started", "ended"} <= set(manifest)
    assert tomllib.loads((folder / "config.toml").read_text())["train"]["validation"] == 5000
    models = lines(folder / "models.jsonl")
    assert [tuple(model) for model in models] == [Model._fields] * 3
    assert sorted(model["seed"] for model in models) == [0, 1, 2]
    assert json.loads((folder / "result.json").read_text())["summary"] == record["epochs"]


def test_finished_runs_are_not_redone(command, tmp_path):
    record = command(*QUICK, "--json").json
    folder = tmp_path / record["run_folder"]
    whole = (folder / "models.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "models.jsonl").write_bytes(b"".join(whole[:2]) + whole[2][:40])  # killed while it wrote the third
    (folder / "result.json").unlink()
    again = command("repeat", "--resume", folder, "--json")
    assert again.code == 0
    assert again.json["epochs"] == record["epochs"]
    models = (folder / "models.jsonl").read_bytes().splitlines(keepends=True)
    assert models[:2] == whole[:2]
    assert json.loads(models[2])["key"] == json.loads(whole[2])["key"]
    assert (folder / "result.json").exists()


@pytest.mark.parametrize("option", [("synthetic",), ("--runs", "4"), ("--epochs", "3"), ("--test",)])
def test_nothing_can_be_changed_while_going_on(command, option):
    result = command("repeat", "--resume", "folder", *option)
    assert result.code == 2
    assert "expected it alone" in result.err


def test_going_on_with_another_kind_of_run_is_refused(command, tmp_path):
    folder = command(*QUICK, "--json").json["run_folder"]
    result = command("sweep", "--resume", folder)
    assert result.code == 78
    assert "go on with it: fastmlp repeat" in result.err


BEGUN = {
    "repeat": {"runs": 2, "test": False},
    "cv": {"folds": 2, "runs": 1, "test": False},
    "sweep": {"changes": [{"learning_rate": 0.1}, {"learning_rate": 0.2}], "runs": 2, "halving": False, "test": False},
    "reproduce": {"seeds": 2, "repeats": 2, "quick": True},
}


def begin(folder, kind, files, training):
    """Leave the folder of an experiment that was begun on data with these hashes, and killed before its first model was done."""
    settings = {"network": NetworkSettings(hidden=(3,)).to_dict(), "train": training.to_dict()}
    with RunFolder.at(folder) as run:
        data = {"name": "synthetic", "files": files}
        run.start(settings, seed=0, data=data, threads=1, experiment={"kind": kind, "arguments": BEGUN[kind]})


@pytest.mark.parametrize("kind", BEGUN)
def test_going_on_with_other_data_than_it_began_with_is_refused(command, tmp_path, kind):
    begin(tmp_path / "run", kind, {"synthetic": "0" * 64}, TrainingSettings(epochs=1, batch_size=200, validation=500))
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    result = command(kind, "--resume", "run")
    assert result.code == 78
    assert "expected the data that" in result.err
    assert "synthetic differ" in result.err
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_going_on_in_another_version_is_said_and_noted(command, tmp_path, monkeypatch):
    data = fastmlp.load_dataset("synthetic")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_versions", lambda: {"fastmlp": "0.0.9", "numba": "0.1"})
        begin(tmp_path / "run", "repeat", dict(data.hashes), TrainingSettings(epochs=1, batch_size=200, validation=500))
    result = command("repeat", "--resume", "run")
    assert result.code == 0
    assert "warning: begun with fastmlp 0.0.9, going on with " in result.err
    [again] = json.loads((tmp_path / "run" / "manifest.json").read_text())["resumed"]
    assert again["changed"]["fastmlp"][0] == "0.0.9"


def test_an_experiment_of_a_version_that_held_out_the_last_rows_goes_on_with_them(command, tmp_path):
    data = fastmlp.load_dataset("synthetic")
    training = TrainingSettings(epochs=1, batch_size=200, learning_rate=0.5, validation=500)
    begin(tmp_path / "run", "repeat", dict(data.hashes), training)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    for name in ("holdout", "split_seed"):
        del manifest["settings"]["train"][name]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    found = command("repeat", "--resume", "run", "--json").json["validation"]["loss"]["mean"]
    losses = []
    for seed in (0, 1):
        network = fastmlp.Network([2, 3, 2], seed=seed)
        fastmlp.train(network, data.x_train[:-500], data.y_train[:-500], epochs=1, batch_size=200, learning_rate=0.5, seed=seed)
        losses.append(network.evaluate(data.x_train[-500:], data.y_train[-500:])["loss"])
    assert found == pytest.approx(np.mean(losses))


def test_going_on_with_nothing_is_refused(command):
    result = command("repeat", "--resume", "nowhere")
    assert result.code == 66
    assert "'nowhere'" in result.err


def test_damaged_manifest_is_bad_data(command, tmp_path):
    folder = tmp_path / command(*QUICK, "--json").json["run_folder"]
    (folder / "manifest.json").write_text('{"kind": "repeat"}')
    assert command("repeat", "--resume", folder).code == 65


def test_data_set_is_required(command):
    result = command("repeat")
    assert result.code == 2
    assert "DATASET" in result.err


def test_failure_before_training_leaves_no_folder(command, tmp_path):
    assert command(*QUICK, "--loss", "mae").code == 78
    assert list(tmp_path.iterdir()) == []


def test_diverged_runs_are_counted_and_left_out(command):
    result = command("repeat", "synthetic", "--runs", "2", "--epochs", "1", "--activation", "relu", "--learning-rate", "1e30")
    assert result.code == 0
    assert "2 of 2 runs diverged" in result.out


def test_data_sets_without_a_word_on_validation_hold_out_a_twelfth(command):
    assert command(*QUICK, "--json").json["settings"]["train"]["validation"] == 5000
    assert command(*QUICK, "--validation", "100", "--json").json["settings"]["train"]["validation"] == 100


def test_interrupt_keeps_finished_models_and_says_how_to_go_on(tmp_path):
    line = [sys.executable, "-m", "fastmlp", "repeat", "synthetic", "--runs", "1000", "--epochs", "1", "--batch-size", "20"]
    with subprocess.Popen(
        [*line, "--run-folder", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # the shell of a test may have switched it off
    ) as process:
        models = tmp_path / "run" / "models.jsonl"
        while not (models.exists() and models.stat().st_size) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "fastmlp repeat --resume run" in err
    assert len(lines(models)) >= 1
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["outcome"] == "interrupted"
