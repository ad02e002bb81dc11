"""`fastmlp cv`: a row per fold, the mean over them, closed test rows."""

import json

import pytest

QUICK = ("cv", "synthetic", "--folds", "3", "--epochs", "1", "--batch-size", "100", "--learning-rate", "0.5")


def test_prints_a_row_per_fold_and_the_mean(command):
    result = command(*QUICK)
    assert result.code == 0
    heading, *folds, mean, folder = result.out.splitlines()
    assert heading.split() == ["fold", "seed", "accuracy", "loss"]
    assert [line.split()[0] for line in folds] == ["0", "1", "2"]
    assert mean.startswith("held out: accuracy ")
    assert "test" not in result.out + result.err


def test_folder_and_json_hold_each_fold(command, tmp_path):
    record = command(*QUICK, "--runs", "2", "--json").json
    folder = tmp_path / record["run_folder"]
    models = [json.loads(line) for line in (folder / "models.jsonl").read_text().splitlines()]
    assert sorted((model["fold"], model["seed"]) for model in models) == [(fold, seed) for fold in range(3) for seed in range(2)]
    accuracies = [model["validation"]["accuracy"] for model in models]
    assert abs(record["held_out"]["accuracy"]["mean"] - sum(accuracies) / 6) < 1e-12
    assert record["test_openings"] == []
    assert json.loads((folder / "manifest.json").read_text())["kind"] == "cv"


def test_final_model_meets_the_test_rows_once(command):
    record = command(*QUICK, "--test", "--json").json
    assert sorted(record["test_openings"]) == ["x_test", "y_test"]
    assert record["test"]["accuracy"]["n"] == 1


def test_going_on_trains_the_folds_that_are_missing(command, tmp_path):
    record = command(*QUICK, "--json").json
    path = tmp_path / record["run_folder"] / "models.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    again = command("cv", "--resume", record["run_folder"], "--json").json
    assert again["models"] == record["models"]


def test_epochs_are_judged_by_rows_beside_the_fold(command):
    result = command(*QUICK, "--patience", "1", "--validation", "100")
    assert result.code == 0
    assert "epochs were judged by other rows" in result.out + result.err


@pytest.mark.parametrize("option", [("--validation", "100"), ("--holdout", "last"), ("--split-seed", "1")])
def test_folds_are_the_validation(command, option):
    result = command(*QUICK, *option)
    assert result.code == 2
    assert "--folds" in result.err
    assert option[0] in result.err
