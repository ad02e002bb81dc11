"""`fastmlp train --resume`: the same run goes on, or it is said why not."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import time

import numpy as np
import pytest

import fastmlp
from fastmlp.callbacks import Checkpoint
from fastmlp.cli import outcome
from fastmlp.errors import WriteError
from fastmlp.rendering.output import Output
from fastmlp.storage.checkpoints import Checkpoints
from fastmlp.storage.runs import RunFolder, read_manifest, read_metrics
from fastmlp.training.callbacks.checkpoint import CheckpointSchedule
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer

TRAIN = ("train", "synthetic", "--batch-size", "50", "--learning-rate", "0.5", "--optimizer", "adam", "--validation", "10000")


@pytest.fixture
def stopped(command, monkeypatch, tmp_path):
    """A function: train 4 epochs into the folder `run`, and leave it after some chunks of steps as a killed process does."""

    def stopped(chunks, *flags):
        advance, left = Trainer.advance, [chunks]

        def advance_or_end(trainer, rows, **more):
            left[0] -= 1
            if left[0] < 0:
                raise SystemExit
            third = -(-trainer.n_rows // (3 * trainer.batch_size)) * trainer.batch_size
            return advance(trainer, min(rows, third), **more)  # as many chunks on a fast machine

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "advance", advance_or_end)
            patch.setattr(CheckpointSchedule, "is_due", lambda schedule, epoch_ended: True)
            with pytest.raises(SystemExit):
                command(*TRAIN, "--epochs", "4", "--run-folder", "run", *flags)
        return tmp_path / "run"

    return stopped


@pytest.fixture
def finished(command, tmp_path):
    """The folder of a run of 2 epochs that is done."""
    assert command(*TRAIN, "--epochs", "2", "--run-folder", "run").code == 0
    return tmp_path / "run"


def without_times(epochs):
    return [{name: value for name, value in epoch.items() if name not in ("seconds", "samples_per_second")} for epoch in epochs]


@pytest.mark.parametrize(
    "flags",
    [
        ("--hidden", "20", "--hidden", "10", "--dropout", "0.2", "--dropout", "0.1", "--input-noise", "0.1"),
        ("--validation", "20%", "--holdout", "stratified", "--split-seed", "3", "--normalize", "standardize"),
    ],
    ids=["masks", "rows held out"],
)
def test_a_run_goes_on_with_the_same_draws(command, stopped, tmp_path, flags):
    stopped(3, *flags)
    resumed = command("train", "--resume", "run", "--json").json
    whole = command(*TRAIN, "--epochs", "4", "--run-folder", "whole", *flags, "--json").json
    assert without_times(resumed["epochs"]) == without_times(whole["epochs"])
    ours, theirs = (fastmlp.Network.load(tmp_path / record["model"]).parameters for record in (resumed, whole))
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("chunks", [1, 2, 3, 5, 8])
def test_a_run_goes_on_as_if_nothing_had_happened(command, stopped, tmp_path, chunks):
    folder = stopped(chunks)
    resumed = command("train", "--resume", "run", "--json").json
    whole = command(*TRAIN, "--epochs", "4", "--run-folder", "whole", "--json").json
    assert (folder / "model.safetensors").exists()
    ours, theirs = (fastmlp.Network.load(tmp_path / record["model"]).parameters for record in (resumed, whole))
    assert ours.tobytes() == theirs.tobytes()
    assert without_times(resumed["epochs"]) == without_times(whole["epochs"])
    assert (resumed["test"], resumed["settings"], resumed["best"]) == (whole["test"], whole["settings"], whole["best"])
    assert resumed["resumed"]
    assert not whole["resumed"]
    assert read_metrics(folder / "metrics.jsonl") == resumed["epochs"]
    assert read_manifest(folder)["outcome"] == "done"


def test_the_name_of_a_run_in_runs_is_enough(command):
    record = command(*TRAIN, "--epochs", "1", "--json").json
    name = record["run_folder"].removeprefix("runs/")
    assert command("train", "--resume", name, "--epochs", "2", "--json").json["run_folder"] == record["run_folder"]


def test_it_says_from_where_it_goes_on(command, stopped):
    stopped(1)
    assert "going on with run in epoch 1 after 50 rows" in command("train", "--resume", "run").err


def test_a_finished_run_goes_on_with_more_epochs(command, finished, tmp_path):
    resumed = command("train", "--resume", "run", "--epochs", "3", "--json").json
    whole = command(*TRAIN, "--epochs", "3", "--run-folder", "whole", "--json").json
    assert without_times(resumed["epochs"]) == without_times(whole["epochs"])
    assert read_manifest(finished)["settings"]["train"]["epochs"] == 3


def test_a_finished_run_without_more_epochs_gives_its_result_again(command, finished):
    before = read_manifest(finished)["results"]["test"]
    record = command("train", "--resume", "run", "--json").json
    assert record["test"] == before
    assert len(record["epochs"]) == 2


@pytest.mark.parametrize("settings", [("--schedule", "cosine"), ("--average", "swa"), ("--schedule", "one_cycle")], ids=" ".join)
def test_another_number_of_epochs_is_refused_where_the_epochs_shape_the_training(command, settings):
    command(*TRAIN, "--epochs", "2", "--run-folder", "run", *settings)
    result = command("train", "--resume", "run", "--epochs", "3")
    assert result.code == 78
    assert "epochs 2 → 3; leave these as they were (only threads, " in result.err


@pytest.mark.parametrize("settings", [("--schedule", "step", "--warmup-epochs", "1"), ("--average", "ema")], ids=" ".join)
def test_more_epochs_are_as_if_they_had_been_asked_for_at_once_where_they_shape_nothing(command, settings, tmp_path):
    command(*TRAIN, "--epochs", "2", "--run-folder", "run", *settings)
    command("train", "--resume", "run", "--epochs", "3")
    command(*TRAIN, "--epochs", "3", "--run-folder", "whole", *settings)
    ours, theirs = (fastmlp.Network.load(tmp_path / name / "model.safetensors").parameters for name in ("run", "whole"))
    assert ours.tobytes() == theirs.tobytes()


def test_fewer_epochs_than_have_begun_are_refused(command, finished):
    result = command("train", "--resume", "run", "--epochs", "1")
    assert result.code == 78
    assert "expected at least the 2" in result.err


def test_another_number_of_threads_is_recorded_and_changes_no_bit(command, stopped, tmp_path):
    folder = stopped(3, "--threads", "2")
    result = command("train", "--resume", "run", "--threads", "1")
    assert result.code == 0
    assert "warning" not in result.err
    command(*TRAIN, "--epochs", "4", "--run-folder", "whole")
    ours, theirs = (fastmlp.Network.load(tmp_path / name / "model.safetensors").parameters for name in ("run", "whole"))
    assert ours.tobytes() == theirs.tobytes()
    assert read_manifest(folder)["settings"]["train"]["threads"] == 1


def test_all_that_changed_is_said_in_one_line(command, finished):
    result = command("train", "fashion-mnist", "--resume", "run", "--batch-size", "20", "--hidden", "4", "--hidden", "5")
    assert result.code == 78
    assert len(result.err.splitlines()) == 1
    for change in ("data set synthetic → fashion-mnist", "hidden 3 → 4-5", "batch_size 50 → 20"):
        assert change in result.err


def test_flags_that_repeat_what_was_are_welcome(command, finished):
    assert command(*TRAIN, "--epochs", "2", "--resume", "run").code == 0


def test_a_variable_of_the_environment_is_a_change_too(command, finished, monkeypatch):
    monkeypatch.setenv("FASTMLP_LEARNING_RATE", "0.25")
    result = command("train", "--resume", "run")
    assert result.code == 78
    assert "learning_rate 0.5 → 0.25" in result.err


def test_a_refused_run_is_left_as_it_was(command, finished):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert command("train", "--resume", "run", "--seed", "3").code == 78
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    RunFolder.reopen(finished).close()  # and free


def test_model_goes_where_a_run_folder_says_only_if_the_user_says_so_too(command, stopped, tmp_path):
    stopped(2, "--out", "m.safetensors")
    result = command("train", "--resume", "run")
    assert not (tmp_path / "m.safetensors").exists()
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert f"--out {tmp_path / 'm.safetensors'}" in result.err


def test_out_may_change(command, stopped, tmp_path):
    stopped(2, "--out", "m.safetensors")
    assert command("train", "--resume", "run", "--out", "n.safetensors", "--json").json["model"] == "n.safetensors"


@pytest.mark.parametrize(("hashes", "shown"), [({"synthetic": "f" * 64}, "ffffffffffff"), ({}, "none")])
def test_data_that_are_no_longer_those_of_the_run_are_named_with_their_checksums(command, finished, monkeypatch, hashes, shown):
    data = fastmlp.load_dataset("synthetic")
    monkeypatch.setattr("fastmlp.data.dataset.load_dataset", lambda *given, **named: dataclasses.replace(data, hashes=hashes))
    before = read_manifest(finished)
    result = command("train", "--resume", "run", "--epochs", "3")
    assert result.code == 78
    assert f"as another training: synthetic {data.hashes['synthetic'][:12]} → {shown}; leave these" in result.err
    assert read_manifest(finished) == before


def test_a_run_that_was_killed_before_its_first_save_begins_anew(command, stopped):
    stopped(0)
    assert not os.path.exists("run/checkpoints") or not os.listdir("run/checkpoints")
    resumed = command("train", "--resume", "run", "--json").json
    whole = command(*TRAIN, "--epochs", "4", "--run-folder", "whole", "--json").json
    assert without_times(resumed["epochs"]) == without_times(whole["epochs"])


def test_epochs_after_the_last_checkpoint_are_done_again_and_listed_once(command, finished, tmp_path):
    newest = max((finished / "checkpoints").iterdir())
    command("train", "--resume", "run", "--epochs", "4")
    for path in (finished / "checkpoints").iterdir():
        if path != newest:
            path.unlink()
    if not newest.exists():
        pytest.fail("the checkpoint of the second epoch should be one of the last two")
    assert len(read_metrics(finished / "metrics.jsonl")) == 4
    command("train", "--resume", "run", "--epochs", "4")
    assert [epoch["epoch"] for epoch in read_metrics(finished / "metrics.jsonl")] == [1, 2, 3, 4]


def test_the_manifest_lists_each_resumption(command, finished):
    for epochs in ("3", "4"):
        command("train", "--resume", "run", "--epochs", epochs)
    resumed = read_manifest(finished)["resumed"]
    assert [(each["epoch"], each["row"]) for each in resumed] == [(3, 0), (4, 0)]
    assert all(each["time"] for each in resumed)


def test_a_damaged_manifest_is_written_anew(command, finished):
    before = read_manifest(finished)
    (finished / "manifest.json").write_text("{")
    assert command("train", "--resume", "run", "--epochs", "3").code == 0
    after = read_manifest(finished)
    assert (after["started"], after["data"], after["seed"]) == (before["started"], before["data"], before["seed"])


def test_a_damaged_newest_checkpoint_is_a_warning(command, stopped, monkeypatch):
    older, newest = sorted((stopped(5) / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    monkeypatch.setattr(CheckpointSchedule, "is_due", lambda schedule, epoch_ended: False)  # saved once, at the end
    with pytest.warns(UserWarning, match=newest.name):
        resumed = command("train", "--resume", "run", "--json").json
    whole = command(*TRAIN, "--epochs", "4", "--run-folder", "whole", "--json").json
    assert without_times(resumed["epochs"]) == without_times(whole["epochs"])
    last = max(older.parent.iterdir())
    assert sorted(older.parent.iterdir()) == [older, last]
    assert last > newest


NO_RUNS = {
    "nothing": (lambda folder: None, 66, "fastmlp runs"),
    "a file": (lambda folder: folder.write_text("mine"), 66, "found a file"),
    "an empty folder": (lambda folder: folder.mkdir(), 66, "no run's"),
    "a folder of somebody else": (lambda folder: (folder.mkdir(), (folder / "thesis.txt").touch()), 66, "no run's"),
    "a run that never began": (lambda folder: RunFolder.at(folder).close(), 65, "train anew"),
}


@pytest.mark.parametrize("what", NO_RUNS)
def test_what_is_no_run_is_refused_and_not_touched(command, tmp_path, what):
    make, code, hint = NO_RUNS[what]
    make(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    result = command("train", "--resume", "run")
    assert result.code == code
    assert hint in result.err
    assert len(result.err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_copy_of_a_run_goes_on_by_itself(command, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    assert command("train", "--resume", "copy", "--epochs", "3").code == 0
    assert len(read_metrics(tmp_path / "copy" / "metrics.jsonl")) == 3
    assert len(read_metrics(finished / "metrics.jsonl")) == 2


def test_a_full_disk_saves_what_can_be_saved_and_says_so(command, monkeypatch, tmp_path):
    def full(run, record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "append_metrics", full)
    result = command(*TRAIN, "--epochs", "4", "--run-folder", "run")
    assert result.code == 74
    assert read_manifest(tmp_path / "run")["outcome"] == "failed"
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    resumed = command("train", "--resume", "run", "--json").json
    assert [epoch["epoch"] for epoch in resumed["epochs"]] == [1, 2, 3, 4] or [epoch["epoch"] for epoch in resumed["epochs"]] == [2, 3, 4]


def test_checkpoints_are_written_by_time(command, monkeypatch, tmp_path):
    saves = []
    save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda *given: saves.append(time.monotonic()) or save(*given))
    command(*TRAIN, "--epochs", "1", "--batch-size", "1", "--run-folder", "run", "--checkpoint-seconds", "0")
    assert len(saves) > 2  # each chunk, the end of the epoch, the end


def test_a_network_that_is_not_finite_is_not_saved(tmp_path):
    data = fastmlp.load_dataset("synthetic")
    network = fastmlp.Network([2, 3, 2])
    trainer = Trainer(make_plan(network, data.x_train, data.y_train, fastmlp.TrainingSettings(batch_size=50)))
    checkpoint = Checkpoint(tmp_path / "saved", 0.0)
    checkpoint.on_fit_begin(network, trainer.settings, trainer.state)
    trainer.step()
    network.parameters[0] = float("nan")
    checkpoint.on_steps_end(network, None, trainer.state)
    assert not list((tmp_path / "saved").glob("*"))
    network.parameters[0] = 0.0
    checkpoint.on_steps_end(network, None, trainer.state)
    assert len(list((tmp_path / "saved").iterdir())) == 1


def test_without_a_run_folder_an_interrupt_says_that_it_cannot_go_on():
    to = outcome.Destination("m.safetensors", None)
    assert "cannot go on" in to.how_to_go_on()
    to.finish("done", {})
    assert Output().json is False


def test_a_divergence_leaves_the_checkpoint_before_it(command, tmp_path):
    result = command(
        "train",
        "synthetic",
        "--batch-size",
        "50",
        "--activation",
        "relu",
        "--learning-rate",
        "1e30",
        "--run-folder",
        "run",
        "--epochs",
        "2",
    )
    assert result.code == 1
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["outcome"] == "diverged"


def test_a_checkpoint_that_cannot_be_written_ends_the_run_with_its_outcome(command, monkeypatch, tmp_path):
    def full(checkpoints, tensors, metadata):
        raise WriteError("writing 'ckpt' broke off: No space left on device (ENOSPC); make room")

    monkeypatch.setattr(Checkpoints, "save", full)
    result = command(*TRAIN, "--epochs", "4", "--run-folder", "run", "--checkpoint-seconds", "0")
    assert result.code == 74
    assert "ENOSPC" in result.err
    assert read_manifest(tmp_path / "run")["outcome"] == "failed"


def test_a_failure_does_not_replace_the_model_of_an_earlier_run(command, monkeypatch, tmp_path):
    (tmp_path / "m.safetensors").write_text("hours of work")

    def fail(run, record):
        raise RuntimeError("impossible")

    monkeypatch.setattr(RunFolder, "append_metrics", fail)
    assert command(*TRAIN, "--epochs", "1", "--out", "m.safetensors").code == 70
    assert (tmp_path / "m.safetensors").read_text() == "hours of work"


def test_a_signal_does_not_hide_that_saving_failed(command, monkeypatch, tmp_path):
    def full(checkpoints, tensors, metadata):
        raise WriteError("writing 'ckpt' broke off: No space left on device (ENOSPC); make room")

    def epoch_done(run, record):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Checkpoints, "save", full)
    monkeypatch.setattr(RunFolder, "append_metrics", epoch_done)
    result = command(*TRAIN, "--epochs", "4", "--run-folder", "run")
    assert result.code == 74
    assert "ENOSPC" in result.err


def test_a_terminal_that_was_closed_tells_of_its_signal_and_not_that_nobody_could_be_told(command, monkeypatch, tmp_path):
    def closed(run, record):
        os.kill(os.getpid(), signal.SIGTERM)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(RunFolder, "append_metrics", closed)
    result = command(*TRAIN, "--epochs", "4", "--run-folder", "run")
    assert (result.code, result.err.splitlines()[-1].partition(";")[0]) == (128 + signal.SIGTERM, "error: interrupted in epoch 2")
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["outcome"] == "interrupted"


EARLY = (*TRAIN, "--epochs", "30", "--validation", "10000", "--learning-rate", "0.3")


@pytest.mark.parametrize("chunks", [2, 7, 12])  # of at least 27: three in each epoch
def test_a_run_that_stops_early_goes_on_as_if_nothing_had_happened(command, stopped, chunks):
    flags = ("--epochs", "30", "--learning-rate", "0.3", "--patience", "8", "--restore-best")
    stopped(chunks, *flags)
    resumed = command("train", "--resume", "run", "--json").json
    whole = command(*EARLY, "--patience", "8", "--restore-best", "--run-folder", "whole", "--json").json
    assert whole["stopped"] == "patience"
    assert (resumed["stopped"], resumed["best"], resumed["test"]) == (whole["stopped"], whole["best"], whole["test"])
    ours, theirs = (fastmlp.Network.load(record["model"]).parameters for record in (resumed, whole))
    assert ours.tobytes() == theirs.tobytes()
    assert without_times(resumed["epochs"]) == without_times(whole["epochs"])


def test_a_run_that_has_stopped_goes_on_with_more_patience(command):
    command(*EARLY, "--patience", "1", "--restore-best", "--run-folder", "run")
    resumed = command("train", "--resume", "run", "--patience", "3", "--json").json
    whole = command(*EARLY, "--patience", "3", "--restore-best", "--run-folder", "whole", "--json").json
    ours, theirs = (fastmlp.Network.load(record["model"]).parameters for record in (resumed, whole))
    assert ours.tobytes() == theirs.tobytes()
    assert without_times(resumed["epochs"]) == without_times(whole["epochs"])


def test_a_run_that_has_stopped_gives_its_result_again(command):
    first = command(*EARLY, "--patience", "2", "--restore-best", "--run-folder", "run", "--json").json
    again = command("train", "--resume", "run", "--json").json
    assert (again["stopped"], again["best"], again["test"]) == (first["stopped"], first["best"], first["test"])


def test_finished_run_says_how_to_train_on_and_shows_no_empty_table(command, finished):
    result = command("train", "--resume", "run")
    epochs = read_manifest(finished)["settings"]["train"]["epochs"]
    assert f"fastmlp train --resume run --epochs {2 * epochs}" in result.err
    assert "train loss" not in result.out


def test_model_of_a_run_folder_is_evaluated_asked_and_checked(command, finished, tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((3, 2), np.float32))
    by_file, by_folder = (command("evaluate", model, "synthetic", "--json").json for model in ("run/model.safetensors", "run"))
    assert by_folder["accuracy"] == by_file["accuracy"]
    assert len(command("predict", "run", "rows.npy", "--json").json["predictions"]) == 3
    assert command("check", "run").code == 0
    (finished / "model.safetensors").unlink()
    result = command("evaluate", "run", "synthetic")
    assert result.code == 66
    assert "expected a trained model in the run folder" in result.err


# From a model file


@pytest.fixture
def model(command, tmp_path):
    """A model of the synthetic points, trained for one epoch."""
    assert command(*TRAIN, "--hidden", "20", "--epochs", "1", "--no-run-folder", "--out", "m.safetensors").code == 0
    return tmp_path / "m.safetensors"


@pytest.mark.parametrize("chunks", [0, 2])
def test_a_training_from_a_model_begins_with_its_weights_and_goes_on_if_it_is_killed(command, model, stopped, tmp_path, chunks):
    folder = stopped(chunks, "--from", "m.safetensors")
    assert read_manifest(folder)["settings"]["network"]["hidden"] == [20]
    resumed = command("train", "--resume", "run", "--json").json
    net, data = fastmlp.Network.load(model), fastmlp.load_dataset("synthetic")
    fastmlp.train(net, data, epochs=4, batch_size=50, learning_rate=0.5, optimizer="adam", validation=10000)
    assert fastmlp.Network.load(tmp_path / resumed["model"]).parameters.tobytes() == net.parameters.tobytes()


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--hidden", "30"), 78, "'m.safetensors' is another network: hidden 20 → 30; leave these out, or start without --from"),
        (("--resume", "run"), 2, "expected no model with --resume, got one"),
    ],
    ids=["another network", "a run has its own"],
)
def test_a_model_that_cannot_be_begun_with_is_refused(command, model, tmp_path, flags, code, message):
    result = command("train", *(() if "--resume" in flags else ("synthetic",)), "--from", "m.safetensors", *flags)
    assert result.code == code
    assert message in result.err
    assert not (tmp_path / "runs").exists()


def test_a_model_that_is_not_there_is_refused_before_data_are_loaded(command):
    result = command("train", "synthetic", "--from", "nowhere.safetensors")
    assert result.code == 66
    assert result.err.splitlines() == ["error: expected a model file at 'nowhere.safetensors', found nothing; check the path"]


def test_a_model_of_other_classes_is_refused(command, model, tmp_path):
    net = fastmlp.Network([2, 20, 2], class_names=("cat", "dog"))
    net.save(tmp_path / "pets.safetensors")
    result = command("train", "synthetic", "--from", "pets.safetensors")
    assert (result.code, "expected a model of the classes of synthetic" in result.err) == (78, True)


def test_a_run_that_is_finished_says_how_to_train_on(command):
    assert "\nto train on: fastmlp train --resume run --epochs 4\n" in command(*TRAIN, "--epochs", "2", "--run-folder", "run").err
    assert "\nto train on:" not in command(*TRAIN, "--epochs", "2", "--schedule", "cosine", "--run-folder", "other").err
