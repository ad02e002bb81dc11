"""From a table to predictions on the command line: a path stands where the name of a data set does."""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fastmlp
from fastmlp.search import ensemble

ROWS = 400


def rows_of_table(seed=0, n=ROWS):
    random = np.random.default_rng(seed)
    for row in range(n):
        size, colour = random.normal(), random.choice(["red", "green", "blue"])
        yield [
            f"id {row}",
            f"{size:.4f}" if random.random() > 0.1 else "",
            colour,
            "always",
            "big" if size + (colour == "red") > 0.5 else "small",
        ]


def write(path, rows, names=("id", "size", "colour", "constant", "class")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write(tmp_path_factory.mktemp("table") / "things.csv", rows_of_table())


@pytest.fixture(scope="module")
def model(table, tmp_path_factory):
    from fastmlp.cli import run

    path = tmp_path_factory.mktemp("model") / "things.safetensors"
    assert run(["train", str(table), "--target", "class", "--keep", "id", "--out", str(path), "--no-run-folder", "--quiet"]) == 0
    return path


def test_a_stranger_trains_on_a_table_and_is_told_what_it_was_taken_for(command, table):
    done = command("train", table, "--target", "class")
    assert done.code == 0
    assert "target class: 2 classes, 'big' and 'small'" in done.err
    assert "left out: id (text: 288 different ones in 288 rows), constant (constant: always 'always')" in done.err
    assert f"{ROWS * 0.8 * 0.9:.0f} rows to train on, {ROWS * 0.8 * 0.1:.0f} held out" in done.err
    assert "test accuracy" in done.out
    assert "AUC" in done.out


def test_no_output_takes_the_place_of_what_is_read(command, table, model, tmp_path, subtests):
    own, other = tmp_path / "own.csv", tmp_path / "other.csv"
    own.write_bytes(table.read_bytes())
    (tmp_path / "linked.csv").symlink_to(own)
    other.write_bytes(table.read_bytes())
    (tmp_path / "run.toml").write_text("[train]\nepochs = 1\n")
    trained = ("train", own, "--target", "class", "--test-file", other, "--config", "run.toml", "--no-run-folder")
    for arguments in (
        ("predict", model, own, "--out", own), ("predict", model, own, "--out", "linked.csv"),
        ("predict", model, "linked.csv", "--out", own), *((*trained, "--out", path) for path in (own, "linked.csv", other, "run.toml")),
    ):  # fmt: skip
        with subtests.test(str(arguments[-1])):
            done = command(*arguments)
            assert (done.code, done.err.count("\n")) == (73, 1)
            assert "it is what is read, and would be lost; choose another path" in done.err
    assert own.read_bytes() == other.read_bytes() == table.read_bytes()


@pytest.mark.parametrize(
    ("names", "output"), [(range(3), "softmax"), (range(5, 8), "softmax"), (["a", "b"], "sigmoid"), (range(3), "identity")]
)
def test_targets_of_every_kind_are_trained_on(command, tmp_path, names, output):
    rows = [[f"{place}.5", f"{list(names)[place % len(names)]}"] for place in range(60)]
    write(tmp_path / "t.csv", rows, ("x", "y"))
    done = command("train", "t.csv", "--target", "y", "--output", output, "--epochs", "1", "--out", "m.safetensors")
    assert done.code == 0, done.err
    known = fastmlp.Network.load("m.safetensors").classes
    assert output == "identity" or (list(names) == [0, 1, 2] if known is None else known.tolist() == list(names))
    assert command("predict", "m.safetensors", "t.csv", "--out", "p.csv").code == 0
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 61


def test_the_metric_judges_epochs_and_stands_first_in_the_result_and_in_the_records(command, table, tmp_path):
    done = command("train", table, "--target", "class", "--metric", "log-loss", "--epochs", "3", "--run-folder", tmp_path / "run")
    assert "\ntest log-loss " in done.out
    assert "accuracy  log-loss  seconds" in done.out
    results = json.loads((tmp_path / "run/manifest.json").read_text())["results"]
    values = [json.loads(line)["validation_metric"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert results["metric"] == "log_loss"
    assert results["best"] == {"epoch": values.index(min(values)) + 1, "validation_log_loss": min(values)}
    assert {"accuracy", "balanced_accuracy", "auc", "f1", "log_loss", "loss"} == set(results["test"])
    swept = command("sweep", table, "--target", "class", "--epochs", "2", "--hidden", "4,8", "--metric", "auc")
    assert "AUC" in swept.out
    assert "of AUC better" in swept.out


def test_numbers_have_metrics_of_their_own_only(command, tmp_path):
    rows = [[f"{value:.3f}", f"{2 * value:.3f}"] for value in np.random.default_rng(0).normal(size=80)]
    table = write(tmp_path / "numbers.csv", rows, ["x", "y"])
    named = (table, "--target", "y", "--epochs", "2", "--metric", "rmse")
    done = [command("train", *named), command("repeat", *named, "--runs", "2"), command("cv", *named, "--folds", "2")]
    done += [command("sweep", *named, "--hidden", "2,4")]
    assert [each.code for each in done] == [0] * 4
    assert not [each for each in done if "accuracy" in each.out + each.err or "train %" in each.out]
    assert "\ntest RMSE " in done[0].out
    refused = command("train", table, "--target", "y", "--metric", "auc")
    assert (refused.code, "metric: expected one of loss, r2, rmse, mae, pinball" in refused.err) == (78, True)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    x = np.random.default_rng(3).normal(size=(120, 2))
    rows = [[f"{a:.3f}", f"{b:.3f}", f"{3 * a:.3f}", f"{50 * b:.3f}", int(a > 0), "true" if b > 0 else "false", "r"] for a, b in x]
    rows[7][2] = ""
    return write(tmp_path_factory.mktemp("several") / "several.csv", rows, ["x1", "x2", "first", "a,b", "up", "right", "text"])


def test_several_numbers_are_predicted_in_a_column_each(command, several, tmp_path):
    named = (several, "--target", "first", "--target", "a,b", *(f"--drop={each}" for each in ("up", "right", "text")))
    trained = command("train", *named, "--epochs", "30", "--run-folder", tmp_path / "run")
    assert "columns 'first', 'a,b': 1 row without a target is left out" in trained.err
    command("predict", tmp_path / "run", several, "--out", tmp_path / "out.csv")
    written = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    truth = list(csv.DictReader(several.read_text().splitlines()))
    assert list(written[0]) == ["prediction_first", "prediction_a,b"]
    wrong = [float(row["prediction_a,b"]) - float(true["a,b"]) for row, true in zip(written, truth, strict=True)]
    judged = json.loads(command("evaluate", tmp_path / "run", several, "--json").out)["targets"]
    kept = np.delete(wrong, 7)
    assert judged["a,b"]["rmse"] == pytest.approx(np.sqrt(np.mean(kept**2)), rel=1e-6)
    assert judged["a,b"]["r2"] > 0.8


def test_several_labels_have_a_probability_each(command, several, tmp_path):
    model = tmp_path / "labels.safetensors"
    others = [f"--drop={each}" for each in ("first", "a,b", "text")]
    done = command("train", several, "--target", "up,right", *others, "--epochs", "30", "--out", model, "--no-run-folder")
    assert "2 targets, labels 0 and 1: up (" in done.err
    command("predict", model, several, "--out", tmp_path / "out.csv")
    for row in list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines())):
        assert [row["prediction_up"], row["prediction_right"]] == [str(int(float(row[f"probability_{n}"]) > 0.5)) for n in ("up", "right")]
    assert json.loads(command("evaluate", model, several, "--json").out)["targets"]["right"]["auc"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "up,text"), "column 'text': expected 2 targets to be numbers, or all of them 0 and 1, got 'r'"),
        (("--target", "up,nothing"), "target: expected the name of a column, got 'nothing'"),
        (("--target", "up", "--target", "up"), "target: expected different columns, got 'up' twice"),
        (("--target", "up,right", "--output", "softmax"), "output: expected identity or sigmoid for 2 targets, got softmax"),
        (("--target", "first,up", "--output", "sigmoid"), "column 'first', row 2: expected 0 or 1"),
    ],
)
def test_several_targets_that_cannot_be_had_are_refused_in_one_line(command, several, arguments, message):
    done = command("train", several, *arguments)
    assert done.code in (65, 78)
    assert message in done.err.splitlines()[-1]


def test_predictions_keep_the_order_of_rows_and_what_was_asked_for(command, model, tmp_path):
    new = [["p", "0.5", "red", "always"], ["q,r", "", "violet", ""], ["<i>", "-1", "", "other"]]
    write(tmp_path / "new.csv", new, ("id", "size", "colour", "constant"))
    assert command("predict", model, "new.csv", "--out", "found.csv").code == 0
    with open(tmp_path / "found.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["id"] for row in found] == ["p", "q,r", "<i>"]
    assert list(found[0]) == ["id", "prediction", "probability_big", "probability_small"]
    network = fastmlp.Network.load(model)
    import polars

    frame = polars.read_csv(tmp_path / "new.csv")
    np.testing.assert_allclose(
        [[float(row["probability_big"]), float(row["probability_small"])] for row in found], network.predict_proba(frame)
    )
    assert [row["prediction"] for row in found] == network.predict(frame).tolist()
    assert command("predict", model, "new.csv", "--out", "-").out == (tmp_path / "found.csv").read_text()
    command("predict", model, "new.csv", "--out", "found.jsonl")
    lines = (tmp_path / "found.jsonl").read_text().splitlines()
    assert [json.loads(line)["prediction"] for line in lines] == network.predict(frame).tolist()


def test_a_run_on_a_table_is_evaluated_resumed_and_reported_like_any_other(command, table):
    trained = command("train", table, "--target", "class", "--json").json
    run = trained["run_folder"]
    assert command("evaluate", run, "--json").json["accuracy"] == trained["test"]["accuracy"]
    own = command("evaluate", trained["model"], table, "--json").json
    assert own["rows"] == ROWS
    assert own["accuracy"] > 0.9
    assert command("train", "--resume", run, "--json").json["test"] == trained["test"]
    write(table.with_name("other.csv"), rows_of_table(1))
    assert command("train", table.with_name("other.csv"), "--resume", run).code != 0


def test_a_preset_of_several_networks_leaves_one_model_like_any_other(command, table, tmp_path):
    done = command("train", table, "--target", "class", "--preset", "best", "--epochs", 2, "--run-folder", "run", "--json")
    assert done.code == 0
    assert done.json["networks"] == 8
    assert len(done.json["epochs"]) == 2
    evaluated = command("evaluate", "run", "--json").json
    assert evaluated["accuracy"] == done.json["test"]["accuracy"]
    assert len(command("predict", "run", table, "--json").json["predictions"]) == ROWS
    assert command("report", "run").code == 0
    refused = command("repeat", table, "--target", "class", "--preset", "best", "--runs", 2)
    assert refused.code == 2
    assert "expected fast or default here, got best" in refused.err


def test_a_table_that_stays_on_the_disk_is_trained_on_evaluated_and_resumed(command, table):
    done = command("train", table, "--target", "class", "--memory", "400MiB", "--epochs", 2, "--run-folder", "run", "--json")
    assert done.code == 0, done.err
    assert "rows stay on the disk" in done.err
    assert done.json["test"]["accuracy"] > 0.8
    assert command("evaluate", "run", "--json").json["accuracy"] == done.json["test"]["accuracy"]
    assert command("train", "--resume", "run", "--json").json["test"] == done.json["test"]
    assert len(command("predict", "run", table, "--json").json["predictions"]) == ROWS
    assert command("report", "run").code == 0
    refused = command("evaluate", "run", "--split", "train")
    assert "split: expected test for a run whose table stays on the disk" in refused.err
    for flags, message in (
        (["--group", "size"], "group: expected none with memory"),
        (["--preset", "best"], "preset: expected fast or default with memory"),
        (["--class-weight", "balanced"], "class_weight: expected none with a table on the disk"),
    ):
        refused = command("train", table, "--target", "class", "--memory", "400MiB", *flags)
        assert refused.code == 78
        assert message in refused.err


def test_several_networks_go_on_with_those_that_are_missing(command, table, monkeypatch):
    arguments = ("--target", "class", "--preset", "best", "--epochs", 2, "--hidden", 8)
    whole = command("train", table, *arguments, "--run-folder", "whole", "--json").json
    add = ensemble.Kept.add

    def stopped(kept, model):
        add(kept, model)
        if model.task.training.seed >= 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ensemble.Kept, "add", stopped)
        interrupted = command("train", table, *arguments, "--run-folder", "run")
    assert interrupted.code == 130
    assert "networks that are done are kept, go on with: fastmlp train --resume run" in interrupted.err
    kept = sorted(Path("run/networks").glob("*.safetensors"))
    kept[0].write_bytes(kept[0].read_bytes()[:-1])  # a damaged one is trained again
    refused = command("train", "--resume", "run", "--learning-rate", 0.1)
    assert refused.code == 78
    resumed = command("train", "--resume", "run", "--json")
    assert resumed.code == 0, resumed.err
    assert f"going on with run: {len(kept) - 1} of 8 networks are done" in resumed.err
    assert resumed.json["test"] == whole["test"]
    assert resumed.json["epochs"][-1]["train_loss"] == whole["epochs"][-1]["train_loss"]
    assert np.array_equal(*(fastmlp.Network.load(f"{run}/model.safetensors").parameters for run in ("run", "whole")))
    assert not Path("run/networks").exists()
    assert "resume: expected a run that is not finished" in command("train", "--resume", "run").err


def test_runs_show_what_a_regression_is_judged_by(command, table):
    command("train", table, "--target", "size", "--epochs", 2)
    command("train", table, "--target", "class", "--epochs", 2, "--metric", "auc")
    command("repeat", table, "--target", "size", "--epochs", 2, "--runs", 2)
    shown = command("runs").out
    assert " R² 0." in shown
    assert " AUC 0." in shown
    assert "(R² 0." in shown
    found = command("runs", "--json").json["runs"]
    assert [run["metric"] for run in found].count("r2") == 2
    assert all((run["test_metric"] if run["kind"] == "train" else run["validation_metric"]) > 0.2 for run in found)


def test_a_run_is_not_evaluated_on_a_table_that_has_changed(command, tmp_path):
    """Of the same rows in another order others would be drawn to test on: rows that were trained on."""
    rows = list(rows_of_table(0, 60))
    path = write(tmp_path / "t.csv", rows)
    run = command("train", path, "--target", "class", "--epochs", "1", "--json").json["run_folder"]
    write(path, rows[::-1])
    done = command("evaluate", run)
    assert done.code == 65
    assert "t.csv: expected the table of the run, SHA-256" in done.err
    assert "name a table to evaluate on" in done.err
    assert command("evaluate", run, path).code == 0


def test_rows_without_a_target_are_left_out_and_no_row_need_be_held_out(command, table):
    done = command("train", table, "--target", "size", "--epochs", "1", "--validation", "0", "--out", "m.safetensors")
    assert done.code == 0, done.err
    assert "column 'size': 36 rows without a target are left out" in done.err
    assert "no rows are held out to judge epochs by: the network of the last epoch is kept" in done.err
    assert command("evaluate", "m.safetensors", table, "--json").json["rows"] == ROWS - 36


def test_a_column_that_is_dropped_or_categorical_is_not_read_as_numbers(command, tmp_path):
    path = write(tmp_path / "german.csv", [[f"{row},42", f"{row % 7}", "ab"[row % 2]] for row in range(60)], ("preis", "x", "y"))
    refused = command("train", path, "--target", "y")
    assert refused.code == 65
    assert "expected a number, found '0,42'" in refused.err
    assert "--categorical 'preis' or --drop 'preis'" in refused.err
    for flag in ("--drop", "--keep", "--categorical"):
        done = command("train", path, "--target", "y", flag, "preis", "--epochs", "1", "--out", "m.safetensors")
        assert done.code == 0, done.err


def test_rows_of_no_weight_teach_nothing(command, tmp_path):
    random = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        x, weight = random.normal(), random.choice([0, 1, 2])
        right = ("b" if x > 0 else "a") if weight else ("a" if x > 0 else "b")
        rows.append([f"{x:.3f}", right, weight])
    write(tmp_path / "t.csv", rows, ("x", "y", "w"))
    write(tmp_path / "test.csv", [row for row in rows if row[2]], ("x", "y", "w"))
    said = ["--target", "y", "--sample-weight", "w", "--test-file", "test.csv", "--epochs", "20"]
    assert command("train", "t.csv", *said, "--json").json["test"]["accuracy"] > 0.95
    assert command("train", "t.csv", *said[:2], "--sample-weight", "x").code == 65


def test_the_columns_of_a_fold_are_fitted_without_it(command, tmp_path):
    """A category that only one fold has is not known to the model that was trained without it: its rows are all zeros."""
    random = np.random.default_rng(0)
    rows = [[f"{random.normal():.3f}", "a" if row % 2 else "b"] for row in range(60)]
    write(tmp_path / "t.csv", [[x, c, x] for x, c in rows], ("x", "c", "y"))
    done = command("cv", "t.csv", "--target", "y", "--folds", "3", "--epochs", "2", "--json")
    assert done.code == 0
    assert done.json["held_out"]["models"] == 3
    assert done.json["settings"]["train"]["validation"] == 0.1  # of the other folds: restore_best judges epochs by them


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes")
def test_a_path_that_no_record_can_hold_is_refused_before_training(command, tmp_path):
    name = os.fsdecode(b"gr\xf6.csv")
    write(tmp_path / name, [[str(x), str(2 * x)] for x in range(80)], ("x", "y"))
    refused = command("train", name, "--target", "y", "--run-folder", "run")
    assert (refused.code, (tmp_path / "run").exists()) == (65, False)
    assert "expected a path in UTF-8" in refused.err


def test_page_of_a_regression_speaks_of_columns_and_numbers(command, tmp_path):
    random = np.random.default_rng(0)
    write(tmp_path / "t.csv", [[f"{x:.3f}", f"{2 * x:.3f}"] for x in random.normal(size=80)], ("x", "y"))
    assert command("train", "t.csv", "--target", "y", "--epochs", "2", "--run-folder", "run").code == 0
    assert command("report", "run").code == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "interquartile range" in page
    assert "its test rows: R²" in page
    assert not [wrong for wrong in ("Inputs that are bytes", "one of its classes", "accuracy –", "could not be used") if wrong in page]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "clas"], "target: expected the name of a column, got 'clas'; did you mean 'class'?"),
        ([], "--target: expected the column to predict, got none; there are id, size, colour, constant, class"),
        (["--target", "class", "--drop", "color"], "expected a column 'color', found none; did you mean 'colour'?"),
        (["--target", "class", "--numeric", "colour"], "column 'colour', row 2: expected a finite number"),
        (["--target", "constant"], "target: expected at least two classes, got 'always' in all 400 rows"),
        (["--target", "id"], "target: expected classes that have several rows each, got 400 in 400 rows"),
        (["--target", "class", "--test-part", "400"], "--test-part: expected fewer than the 400 rows there are, got 400"),
        (["--target", "class", "--test", "1.5"], "--test-part: expected a part of the rows, such as 0.2, or their number, got 1.5"),
        (["--target", "class", "--test-file", "absent.csv"], "absent.csv"),
        (["--target", "class", "--keep", "size", "--drop", "size"], "column 'size': expected one kind, got drop and keep"),
        (["--target", "class", "--ordinal", "colour=red,blue", "--ordinal", "colour=blue,red"], "one order of column"),
        (["--target", "class", "--data-dir", "."], "--data-dir: expected none with the path of a table, got one"),
        (["--target", "class", "--no-run-folder", "--checkpoint-seconds", "9"], "--checkpoint-seconds: expected none with --no-run-folder"),
        (["--target", "size", "--preset", "best", "--checkpoint-seconds", "9"], "--checkpoint-seconds: expected none with --preset best"),
        (["--target", "size", "--preset", "best", "--require-accuracy", "0.9"], "--require-accuracy: expected none for a target"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_said_in_one_line(command, table, arguments, message):
    done = command("train", table, *arguments)
    assert done.code not in (0, 70)
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_flags_that_mean_nothing_for_a_file_are_refused(command, model, table, tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((3, 2)))
    fastmlp.Network([2, 2, 2]).save(tmp_path / "plain.safetensors")
    for line, flag in (
        (("train", table, "--target", "class", "--test-file", table), "--test-file"),
        (("evaluate", model, table, "--split", "train"), "--split"), (("evaluate", model, table, "--data-dir", "."), "--data-dir"),
        (("predict", "plain.safetensors", "rows.npy", "--decimal", ","), "--decimal"),
    ):  # fmt: skip
        done = command(*line)
        assert done.code == 2
        assert f"{flag}: expected " in done.err


def test_names_from_a_table_are_escaped_where_they_are_shown(command, tmp_path):
    rows = [[f"{value}", "<b>1</b>" if value % 2 else "\x1b[31m2"] for value in range(60)]
    write(tmp_path / "t.csv", rows, ("<script>x</script>", "\x1b[2Jy"))
    done = command("train", "t.csv", "--target", "\x1b[2Jy", "--epochs", "1", "--numeric", "<script>x</script>", "--out", "m.safetensors")
    assert done.code == 0
    assert "\x1b" not in done.out + done.err + command("data", "describe", "t.csv").out
    html = fastmlp.Network.load("m.safetensors")._repr_html_()
    assert "<script>" not in html
    assert "<b>1" not in html


def test_the_command_of_a_report_names_the_table_and_what_was_said_of_it(command, table):
    from pathlib import Path

    from fastmlp.cli.report import commands_of
    from fastmlp.storage.reading import read_run

    said = ["--target", "class", "--keep", "id", "--ordinal", "colour=red,green,blue", "--test-part", "100", "--epochs", "1"]
    run = command("train", table, *said, "--json").json["run_folder"]
    [typed] = commands_of(read_run(Path(run)))
    expected = f"fastmlp train {table} --target class --test-part 100 --keep id --ordinal colour=red,green,blue"
    assert typed.startswith(expected)
    assert "--epochs 1" in typed


def test_a_model_trains_on_with_the_columns_that_it_has(command, model, tmp_path):
    """Other rows have another median: by columns of their own the old weights would mean something else."""
    rows = [[name, f"{float(size or 0) * 3 + 5}", *rest] for name, size, *rest in rows_of_table(2, 200)]
    write(tmp_path / "other.csv", rows)
    said = ["--target", "class", "--from", model, "--epochs", "1", "--hidden", "256", "--hidden", "256"]
    done = command("train", "other.csv", *said, "--json")
    assert done.code == 0, done.out
    network = fastmlp.Network.load(done.json["model"])
    assert network.columns.same_as(fastmlp.Network.load(model).columns)
    assert command("evaluate", done.json["run_folder"], "--json").json["accuracy"] == done.json["test"]["accuracy"]
    assert command("train", "--resume", done.json["run_folder"], "--json").json["test"] == done.json["test"]
    with pytest.raises(fastmlp.ConfigError, match="columns: expected those of the data set other"):
        fastmlp.train(network, fastmlp.load_table("other.csv", "class"))


def test_what_a_model_does_not_know_of_may_hold_anything(command, tmp_path):
    rows = [[value / 7, "0x1F" if value % 9 else "inf", f"{value % 5},5" if value % 3 else "z", "ab"[value % 2]] for value in range(80)]
    table = write(tmp_path / "t.csv", rows, ["x", "dropped", "kept", "y"])
    said = ("--target", "y", "--drop", "dropped", "--keep", "kept", "--epochs", "1", "--out", "m.safetensors", "--no-run-folder")
    assert command("train", table, *said).code == 0
    assert command("evaluate", "m.safetensors", table).code == 0
    assert command("predict", "m.safetensors", table, "--out", "p.csv").code == 0
    assert list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))[1]["kept"] == "1,5"
    pl.DataFrame({"x": [0.5, 1.5], "nested": [[1], [2, 3]]}).write_parquet(tmp_path / "more.parquet")
    assert command("predict", "m.safetensors", tmp_path / "more.parquet").code == 0


def test_describe_takes_the_flags_that_train_takes(command, tmp_path):
    rows = [[f"{value},5", f"0{value % 9 + 1}/02/2024", value % 3, "ab"[value % 2]] for value in range(30)]
    table = write(tmp_path / "t.csv", rows, ["price", "day", "code", "y"])
    said = ("--target", "y", "--decimal", ",", "--day-first", "--categorical", "code")
    shown = {each["name"]: each for each in json.loads(command("data", "describe", table, *said, "--json").out)["columns"]}
    assert {name: each["kind"] for name, each in shown.items()} == {"price": "number", "day": "date", "code": "category", "y": "target"}
    assert shown["price"]["values"] == "0.5 to 29.5, median 15"
    assert shown["day"]["values"].startswith("2024-02-01")
    refused = command("data", "describe", table, "--decimal", ",", "--numeric", "prize")
    assert "expected the name of a column, got 'prize'; did you mean 'price'?" in refused.err
