"""`fastmlp train`: what it prints, writes, promises and refuses."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest

import fastmlp
from fastmlp.network import Network
from fastmlp.rendering import tables
from fastmlp.settings import NetworkSettings, TrainingSettings
from fastmlp.storage.runs import read_metrics
from fastmlp.training.history import Epoch
from fastmlp.training.trainer import Trainer
from tests.cli.conftest import ROOT

QUICK = ("train", "synthetic", "--epochs", "2", "--batch-size", "50", "--learning-rate", "0.5")


def test_prints_a_row_per_epoch_then_the_test_accuracy_then_the_model(command):
    result = command(*QUICK, "--validation", "10000")
    heading, first, second, test, model = result.out.splitlines()
    assert result.code == 0
    assert heading.split()[0] == "epoch"
    assert [first.split()[0], second.split()[0]] == ["1", "2"]
    assert "–" not in first
    assert re.fullmatch(r"test accuracy \d\d\.\d\d %, loss 0\.\d{4}", test)
    assert re.fullmatch(r"model runs/\S+-synthetic-\w+/model\.safetensors", model)


def test_notes_go_to_standard_error(command):
    result = command(*QUICK)
    assert "synthetic: 60,000 rows to train on, 0 held out; network 2-3-2; 1 thread" in result.err
    assert "rows to train on" not in result.out


def test_what_validation_needs_is_compiled_before_the_heading(command, monkeypatch):
    printed = []
    evaluate = Network.evaluate_checked
    monkeypatch.setattr(Network, "evaluate_checked", lambda *given, **named: printed.append("evaluated") or evaluate(*given, **named))
    heading = tables.epoch_heading
    monkeypatch.setattr(tables, "epoch_heading", lambda *columns: printed.append("heading") or heading(*columns))
    command(*QUICK, "--validation", "10000")
    assert printed[:2] == ["evaluated", "heading"]


def test_without_epochs_it_is_said_once_that_the_network_stays(command):
    assert command(*QUICK, "--epochs", "0").err.count("no epoch is asked for") == 1


def test_without_validation_its_columns_are_empty(command):
    assert command(*QUICK).out.splitlines()[1].count("–") == 2


def test_quiet_leaves_the_result(command):
    result = command(*QUICK, "--quiet")
    assert [line.split()[0] for line in result.out.splitlines()] == ["test", "model"]
    assert result.err == ""


def test_json_is_one_object_with_everything(command, tmp_path):
    result = command(*QUICK, "--validation", "10000", "--threads", "1", "--json")
    record = result.json
    assert (record["command"], record["dataset"], record["sizes"], record["threads"]) == ("train", "synthetic", [2, 3, 2], 1)
    assert set(record["settings"]) == {"network", "train"}
    assert record["settings"]["network"]["output"] == "softmax"
    assert record["settings"]["train"]["loss"] == "cross_entropy"
    assert [set(epoch) for epoch in record["epochs"]] == [set(Epoch._fields)] * 2
    assert record["epochs"][1]["epoch"] == 2
    assert 0 < record["test"]["accuracy"] <= 1
    seconds = record["seconds"]
    assert set(seconds) == {"load", "compile", "train", "total"}
    assert seconds["load"] + seconds["compile"] + seconds["train"] <= seconds["total"]
    assert (tmp_path / record["model"]).is_file()
    assert (tmp_path / record["run_folder"]).is_dir()


def test_json_settings_hold_every_setting(command):
    settings = command(*QUICK, "--json").json["settings"]
    assert tuple(settings["network"]) == NetworkSettings.names()
    assert tuple(settings["train"]) == TrainingSettings.names()


def test_json_without_validation_holds_null(command):
    epoch = command(*QUICK, "--json").json["epochs"][0]
    assert epoch["validation_loss"] is epoch["validation_accuracy"] is None


def test_data_set_decides_what_nobody_else_did(command):
    settings = command("train", "synthetic", "--epochs", "0", "--json").json["settings"]
    data = fastmlp.load_dataset("synthetic")
    assert settings["train"]["batch_size"] == data.training_defaults["batch_size"]
    assert tuple(settings["network"]["hidden"]) == data.network_defaults["hidden"]


def test_images_hold_out_5000_rows_unless_told_otherwise(command):
    assert command("train", "mnist", "--epochs", "0", "--json").json["settings"]["train"]["validation"] == 5000
    assert command("train", "mnist", "--epochs", "0", "--validation", "0", "--json").json["settings"]["train"]["validation"] == 0


def test_flag_wins_over_variable_over_file(command, monkeypatch, tmp_path):
    (tmp_path / "run.toml").write_text("[network]\nhidden = [4]\n[train]\nepochs = 1\nbatch_size = 100\nlearning_rate = 0.25\n")
    monkeypatch.setenv("FASTMLP_BATCH_SIZE", "200")
    monkeypatch.setenv("FASTMLP_LEARNING_RATE", "0.125")
    record = command("train", "synthetic", "--config", "run.toml", "--learning-rate", "0.5", "--json").json
    train = record["settings"]["train"]
    assert record["sizes"] == [2, 4, 2]
    assert (train["epochs"], train["batch_size"], train["learning_rate"]) == (1, 200, 0.5)


def test_hidden_and_activation_are_repeated_per_layer(command):
    record = command(*QUICK, "--hidden", "5", "--hidden", "4", "--activation", "tanh", "--activation", "relu", "--json").json
    assert record["sizes"] == [2, 5, 4, 2]
    assert fastmlp.Network.load(record["model"]).hidden_activations == ("tanh", "relu")


def test_dropout_is_one_share_or_one_for_each_hidden_layer(command):
    layers = (*QUICK, "--hidden", "20", "--hidden", "10")
    record = command(*layers, "--dropout", "0.5", "--dropout", "0.25", "--max-norm", "2", "--json").json
    assert (record["settings"]["train"]["dropout"], record["settings"]["train"]["max_norm"]) == ([0.5, 0.25], 2.0)
    assert command(*layers, "--dropout", "0.5", "--json").json["settings"]["train"]["dropout"] == 0.5
    assert command(*layers, "--json").json["settings"]["train"]["dropout"] == 0.0
    refused = command(*layers, *("--dropout", "0.5") * 3)
    assert (refused.code, refused.err.splitlines()[-1]) == (
        78,
        "error: dropout: expected one number, or one for each hidden layer (2), got 3",
    )


def test_same_as_from_python(command):
    record = command(*QUICK, "--hidden", "4", "--activation", "relu", "--seed", "3", "--json").json
    data = fastmlp.load_dataset("synthetic")
    network = fastmlp.Network([2, 4, 2], activation="relu", seed=3)
    history = fastmlp.train(network, data.x_train, data.y_train, epochs=2, batch_size=50, learning_rate=0.5, seed=3)
    assert [epoch["train_loss"] for epoch in record["epochs"]] == [epoch.train_loss for epoch in history]
    np.testing.assert_array_equal(fastmlp.Network.load(record["model"]).parameters, network.parameters)


def test_run_folder_keeps_settings_epochs_and_outcome(command, tmp_path):
    record = command(*QUICK, "--json").json
    folder = tmp_path / record["run_folder"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert read_metrics(folder / "metrics.jsonl") == record["epochs"]
    assert manifest["outcome"] == "done"
    assert manifest["results"]["test"] == record["test"]
    assert manifest["results"]["test_openings"] == ["x_test", "y_test"]
    assert tomllib.loads((folder / "config.toml").read_text())["train"]["learning_rate"] == 0.5


def test_config_of_a_run_repeats_it(command, tmp_path):
    first = command(*QUICK, "--hidden", "4", "--seed", "5", "--json").json
    again = command("train", "synthetic", "--config", tmp_path / first["run_folder"] / "config.toml", "--json").json
    assert again["settings"] == first["settings"]
    assert [epoch["train_loss"] for epoch in again["epochs"]] == [epoch["train_loss"] for epoch in first["epochs"]]


def test_out_says_where_the_model_goes(command, tmp_path):
    record = command(*QUICK, "--out", "m.safetensors", "--json").json
    assert record["model"] == "m.safetensors"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "runs"]
    assert not (tmp_path / record["run_folder"] / "model.safetensors").exists()


def test_out_replaces_a_file(command, tmp_path):
    (tmp_path / "m.safetensors").write_text("old")
    command(*QUICK, "--out", "m.safetensors")
    assert fastmlp.Network.load(tmp_path / "m.safetensors").sizes == (2, 3, 2)


def test_run_folder_can_be_chosen(command, tmp_path):
    record = command(*QUICK, "--run-folder", "mine", "--json").json
    assert (record["run_folder"], record["model"]) == ("mine", "mine/model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_run_folder_models_are_numbered(command, tmp_path):
    models = [command(*QUICK, "--no-run-folder", "--json").json["model"] for _ in range(2)]
    assert models == ["synthetic.safetensors", "synthetic-2.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(models)


@pytest.mark.parametrize("where", ["none/m.safetensors", ".", "/dev/null", "loop"])
def test_impossible_output_is_found_before_anything_is_loaded(command, monkeypatch, tmp_path, where):
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("FASTMLP_DATA_DIR", "not looked at")
    result = command("train", "mnist", "--out", where)
    assert result.code == 73
    assert where in result.err


def test_failure_before_training_leaves_no_run_folder(command, tmp_path):
    assert command("train", "synthetic", "--loss", "mae").code == 78
    assert list(tmp_path.iterdir()) == []


def test_demanded_accuracy_is_a_matter_of_the_exit_code(command):
    accuracy = command(*QUICK, "--json").json["test"]["accuracy"]
    assert command(*QUICK, "--require-accuracy", "0.5").code == 0
    assert command(*QUICK, "--require-accuracy", repr(accuracy)).code == 0
    assert command(*QUICK, "--require-accuracy", repr(accuracy + 1e-9)).code == 1
    result = command(*QUICK, "--require-accuracy", "0.9999")
    assert result.code == 1
    assert "expected a test accuracy of at least 0.9999, got 0.9" in result.err
    assert fastmlp.Network.load(result.out.splitlines()[-1].removeprefix("model ")).sizes == (2, 3, 2)


def test_demanded_accuracy_is_missed_where_no_row_is_right_or_there_is_no_accuracy(command, monkeypatch):
    for scores, shown in (({"loss": 1.0, "accuracy": 0.0}, "0.0"), ({"loss": 1.0}, "None")):
        monkeypatch.setattr(fastmlp.Network, "evaluate", lambda *given, scores=scores, **named: scores)
        result = command("train", "synthetic", "--epochs", "0", "--require-accuracy", "0.1")
        assert result.code == 1
        assert f"expected a test accuracy of at least 0.1, got {shown}; " in result.err


def test_divergence_is_noted_in_the_run_folder(command, tmp_path):
    result = command(*QUICK, "--activation", "relu", "--learning-rate", "1e30", "--run-folder", "run")
    assert result.code == 1
    assert "epoch 1, batch" in result.err
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["outcome"] == "diverged"
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_test_rows_are_opened_once_and_last(command, monkeypatch):
    opened = []
    data = fastmlp.load_dataset("synthetic")
    monkeypatch.setattr("fastmlp.data.dataset.load_dataset", lambda *arguments, **options: data)
    epochs = Trainer.end_epoch
    monkeypatch.setattr(Trainer, "end_epoch", lambda trainer: opened.append(len(data.test_openings)) or epochs(trainer))
    assert command(*QUICK).code == 0
    assert opened == [0, 0]
    assert data.test_openings == ["x_test", "y_test"]


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
def test_interrupt_saves_the_network_as_it_stands(tmp_path, flags):
    line = [sys.executable, "-m", "fastmlp", "train", "synthetic", "--epochs", "1000000", "--run-folder", "run", *flags]
    with subprocess.Popen(
        line,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # the shell of a test may have switched it off
    ) as process:
        metrics = tmp_path / "run" / "metrics.jsonl"
        while not (metrics.exists() and metrics.stat().st_size) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    message = json.loads(out)["error"]["message"] if flags else err
    assert "run/model.safetensors" in message
    assert fastmlp.Network.load(tmp_path / "run" / "model.safetensors").sizes == (2, 3, 2)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["outcome"] == "interrupted"


# Stopping early

NOISY = ("train", "synthetic", "--batch-size", "50", "--learning-rate", "20", "--epochs", "100", "--validation", "10000")


def test_training_ends_by_its_patience_with_the_best_weights_and_says_so(command, tmp_path):
    flags = ("--patience", "3", "--restore-best", "--run-folder")
    record = command(*NOISY, *flags, "one", "--json").json
    losses = [epoch["validation_loss"] for epoch in record["epochs"]]
    best = losses.index(min(losses)) + 1
    assert (record["stopped"], record["best"]) == ("patience", {"epoch": best, "validation_loss": min(losses)})
    assert len(losses) == best + 3 < 100
    data = fastmlp.load_dataset("synthetic")
    held_out = fastmlp.Network.load(tmp_path / "one" / "model.safetensors").evaluate(data.x_train[-10_000:], data.y_train[-10_000:])
    assert held_out["loss"] == min(losses)
    results = json.loads((tmp_path / "one" / "manifest.json").read_text())["results"]
    assert (results["stopped"], results["best"]) == (record["stopped"], record["best"])
    lines = command(*NOISY, *flags, "two").out.splitlines()
    assert lines[-4] == f"stopped after {best + 3} epochs: no better validation loss for 3 epochs"
    assert lines[-3] == f"the network is that of epoch {best}, validation loss {min(losses):.4f}"


def test_training_ends_at_the_accuracy_wanted(command):
    result = command(*QUICK[:-4], "--batch-size", "50", "--learning-rate", "0.5", "--validation", "10000", "--target-accuracy", "0.5")
    assert result.out.splitlines()[-3] == "stopped after 1 epoch: the validation accuracy has reached 50.00 %"


def test_training_ends_when_its_time_is_used_up(command):
    flags = ("--epochs", "1000000", "--time-budget", "0.02", "--run-folder", "run")
    record = command("train", "synthetic", *flags, "--json").json
    assert record["stopped"] == "time_budget"
    assert sum(epoch["seconds"] for epoch in record["epochs"][:-1]) < 0.02  # the last one began before the time was up
    resumed = command("train", "--resume", "run")
    when = r"(1 epoch|[\d,]+ epochs|[\d,]+ rows|(1 epoch|[\d,]+ epochs) and [\d,]+ rows)"
    assert re.search(rf"^stopped after {when}: the time budget of 0\.02 seconds is used up$", resumed.out, re.MULTILINE)


def test_a_training_that_does_all_its_epochs_says_nothing_of_stopping(command):
    result = command(*QUICK, "--validation", "10000", "--patience", "50")
    assert "stopped" not in result.out
    assert command(*QUICK, "--json").json["stopped"] == "epochs"


def test_quiet_leaves_out_why_training_stopped(command):
    assert "stopped" not in command(*NOISY, "--patience", "1", "--quiet").out


def test_what_needs_held_out_rows_says_so_in_one_line(command, tmp_path):
    result = command(*QUICK, "--patience", "3")
    assert result.code == 78
    assert result.err.splitlines()[-1] == (
        "error: patience: expected held-out rows to judge an epoch by, got none; set validation, for example to 5000"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_switch_is_a_flag_and_true_or_false_elsewhere(command, monkeypatch, tmp_path):
    (tmp_path / "run.toml").write_text("[train]\nmomentum = 0.5\nnesterov = true\n")
    from_file = command(*QUICK, "--config", "run.toml", "--json").json["settings"]["train"]
    monkeypatch.setenv("FASTMLP_NESTEROV", "true")
    from_variable = command(*QUICK, "--momentum", "0.5", "--json").json["settings"]["train"]
    from_flag = command(*QUICK, "--momentum", "0.5", "--no-nesterov", "--json").json["settings"]["train"]
    assert [settings["nesterov"] for settings in (from_file, from_variable, from_flag)] == [True, True, False]


def test_accuracy_that_is_exactly_the_required_one_is_enough(command):
    reached = command(*QUICK, "--json").json["test"]["accuracy"]
    assert command(*QUICK, "--require-accuracy", repr(reached)).code == 0
    assert command(*QUICK, "--require-accuracy", repr(np.nextafter(reached, 1.0).item())).code == 1
