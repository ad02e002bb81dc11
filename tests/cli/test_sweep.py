"""`fastmlp sweep`: axes from flags, a ranking, closed test rows, going on."""

import dataclasses
import json
import subprocess
import sys

import pytest
import typer

import fastmlp
from fastmlp.cli import repeat, sweep
from fastmlp.cli.experiment import new_plan
from fastmlp.cli.sweep import as_alone, read_axes
from fastmlp.search.in_process import resolved
from fastmlp.search.statistics import FEWEST_PAIRS
from fastmlp.search.sweep import Range, sweep_tasks
from fastmlp.search.task import Task
from fastmlp.settings import TrainingSettings, settings_in_effect
from fastmlp.training.tables import training_defaults

QUICK = ("sweep", "synthetic", "--learning-rate", "0.000001,0.5", "--runs", "5", "--epochs", "2", "--batch-size", "100")


def test_by_default_there_are_as_many_seeds_as_a_comparison_needs():
    assert min(sweep.RUNS, repeat.RUNS) >= FEWEST_PAIRS


def test_several_values_are_an_axis_and_one_is_fixed():
    flags = {"learning_rate": "0.1,0.2", "hidden": "300,300-100", "activation": "relu", "nesterov": "true,false", "loss": None}
    fixed, axes = read_axes(flags, ranges=False)
    assert fixed == {"activation": "relu"}
    assert axes == {"learning_rate": [0.1, 0.2], "hidden": [(300,), (300, 100)], "nesterov": [True, False]}


def test_shares_of_dropout_may_be_one_for_all_layers_or_one_for_each():
    _, axes = read_axes({"dropout": "0,0.5,0.5-0.25,1e-3-2E-1"}, ranges=False)
    assert axes == {"dropout": [0.0, 0.5, (0.5, 0.25), (1e-3, 0.2)]}
    _, axes = read_axes({"dropout": "0..0.5"}, ranges=True)
    assert axes == {"dropout": Range(0.0, 0.5, False)}


def test_ranges_are_for_numbers_of_a_random_sweep():
    _, axes = read_axes({"learning_rate": "1e-4..0.1", "batch_size": "10..200"}, ranges=True)
    assert axes == {"learning_rate": Range(1e-4, 0.1, False), "batch_size": Range(10, 200, True)}


@pytest.mark.parametrize(
    ("flags", "ranges", "message"),
    [
        ({"learning_rate": "0.1..0.2"}, False, "ranges go with --random"),
        ({"activation": "relu..tanh"}, True, "ranges are for numbers"),
        ({"learning_rate": "0.2..0.1"}, True, "from low to high"),
        ({"learning_rate": "0.1,fast"}, False, "expected a number, got 'fast'"),
        ({"learning_rate": "0.1,-1"}, False, "more than 0"),
        ({"learning_rate": "0.1,"}, False, "expected a number"),
        ({"hidden": "300,300-x"}, False, "whole number"),
        ({"optimizer": "sgd,adan"}, False, "did you mean 'adam'"),
        ({"batch_size": "10,20,10"}, False, "got 10 twice"),
    ],
)
def test_wrong_values_are_refused_with_their_flag(flags, ranges, message):
    with pytest.raises(typer.BadParameter, match=message) as caught:
        read_axes(flags, ranges)
    assert caught.value.param_hint == "--" + next(iter(flags)).replace("_", "-")


def test_prints_settings_best_first_and_whether_the_best_is_better(command):
    result = command(*QUICK)
    assert result.code == 0
    _, _, heading, best, worst, verdict, by, folder = result.out.splitlines()
    assert heading.split()[0] == "learning_rate"
    assert (best.split()[0], worst.split()[0]) == ("0.5", "1e-06")
    assert verdict == "best by validation: learning_rate=0.5"
    assert " points better than learning_rate=1e-06 (95 % interval " in by
    assert by.endswith(": beyond seed noise")
    assert folder.startswith("results runs/")


def test_a_validation_score_is_never_called_test(command):
    result = command(*QUICK)
    assert "test" not in result.out + result.err


def test_json_holds_ranking_comparison_and_closed_test_rows(command, tmp_path):
    record = command(*QUICK, "--json").json
    assert [each["changed"] for each in record["ranked"]] == [{"learning_rate": 0.5}, {"learning_rate": 1e-06}]
    assert record["best"] == record["ranked"][0]
    assert record["comparison"]["beyond_noise"] is True
    assert record["test_openings"] == []
    folder = tmp_path / record["run_folder"]
    assert json.loads((folder / "manifest.json").read_text())["kind"] == "sweep"
    result = json.loads((folder / "result.json").read_text())
    assert (result["summary"], result["best"], result["comparison"]) == (record["ranked"], record["best"], record["comparison"])


def test_only_the_best_setting_meets_the_test_rows_once_per_seed(command, tmp_path):
    record = command(*QUICK, "--test", "--json").json
    assert sorted(record["test_openings"]) == ["x_test"] * 5 + ["y_test"] * 5
    final = [json.loads(line) for line in (tmp_path / record["run_folder"] / "final.jsonl").read_text().splitlines()]
    assert [model["changed"] for model in final] == [{"learning_rate": 0.5}] * 5
    assert record["test"]["accuracy"]["n"] == 5
    assert len((tmp_path / record["run_folder"] / "models.jsonl").read_text().splitlines()) == 10


def test_two_values_of_a_width_and_an_activation_are_a_grid_of_four(command):
    axes = ("--hidden", "2,3-2", "--activation", "relu,tanh")
    record = command("sweep", "synthetic", *axes, "--runs", "1", "--epochs", "1", "--batch-size", "200", "--json").json
    found = sorted((tuple(each["changed"]["hidden"]), each["changed"]["activation"]) for each in record["ranked"])
    assert found == [((2,), "relu"), ((2,), "tanh"), ((3, 2), "relu"), ((3, 2), "tanh")]


@pytest.mark.parametrize("given", [{}, {"learning_rate": 0.05}, {"epochs": 3}, {"optimizer": "adam"}])
@pytest.mark.parametrize("swept", [("sgd", "adam", "adamw", "lbfgs"), ("adam", "rmsprop")])  # the data set prefers sgd
@pytest.mark.parametrize("of_table", [False, True])
def test_each_optimizer_of_a_sweep_has_the_settings_that_it_has_alone(given, swept, of_table):
    data = fastmlp.load_dataset("synthetic")
    if of_table:
        data = dataclasses.replace(data, training_defaults=training_defaults(len(data.x_train), "classes"))
    optimizers = [each for each in swept if each != "lbfgs" or "learning_rate" not in given]
    changes = as_alone([{"optimizer": each} for each in optimizers], given, data)
    plan = new_plan("sweep", data, given, {}, axes=list(changes[0]))
    held_out = {name: getattr(plan.training, name) for name in ("validation", "holdout", "seed", "normalize")}
    for optimizer, task in zip(optimizers, sweep_tasks(plan.network, plan.training, changes, 1), strict=True):
        network, alone = settings_in_effect({**given, "optimizer": optimizer}, data.network_defaults, data.training_defaults)
        expected = resolved(Task("", network, alone.replace(**held_out)), data)
        assert resolved(task, data).training == expected.training


@pytest.mark.parametrize("optimizers", ["sgd,adam,lbfgs", "adam,rmsprop"])
def test_each_optimizer_of_a_sweep_has_the_validation_loss_that_it_has_alone(command, optimizers):
    told = ("synthetic", "--validation", "5000", "--epochs", "1", "--json")
    found = command("sweep", *told, "--optimizer", optimizers, "--runs", "1").json["ranked"]
    losses = {each["changed"]["optimizer"]: each["validation_loss"]["mean"] for each in found}
    alone = {each: command("train", *told, "--optimizer", each).json["epochs"][-1]["validation_loss"] for each in optimizers.split(",")}
    assert losses == alone


def test_lbfgs_beside_sgd(command):
    record = command("sweep", "synthetic", "--optimizer", "sgd,lbfgs", "--runs", "1", "--epochs", "2", "--json").json
    found = {each["changed"]["optimizer"]: (each["changed"]["learning_rate"], each["diverged"]) for each in record["ranked"]}
    assert found == {"sgd": (0.01, 0), "lbfgs": (None, 0)}


def test_each_width_of_a_sweep_has_its_own_default_rate():
    data = fastmlp.load_dataset("synthetic")
    plan = new_plan("sweep", data, {"optimizer": "adam"}, {}, axes=["hidden"])
    tasks = sweep_tasks(plan.network, plan.training, [{"hidden": (600, 3)}, {"hidden": (3,)}], 1)
    assert [resolved(task, data).training.learning_rate for task in tasks] == [0.001, 0.002]


def test_random_sweep_tries_as_many_settings_as_asked_for(command):
    axes = ("--learning-rate", "0.001..1", "--random", "4")
    record = command("sweep", "synthetic", *axes, "--runs", "1", "--epochs", "1", "--batch-size", "200", "--json").json
    rates = [each["changed"]["learning_rate"] for each in record["ranked"]]
    assert len(set(rates)) == 4
    assert all(0.001 <= rate <= 1 for rate in rates)


def test_halving_shows_how_long_each_setting_was_trained(command):
    result = command(
        "sweep", "synthetic", "--learning-rate", "0.01,0.1,0.5,1", "--runs", "1", "--epochs", "2", "--batch-size", "200", "--halving"
    )
    rows = [line.split() for line in result.out.splitlines()[2:7]]
    assert rows[0][:2] == ["learning_rate", "epochs"]
    assert [row[1] for row in rows[1:]] == ["2", "2", "1", "1"]


def test_killed_sweep_goes_on_and_gives_the_same_table(command, tmp_path):
    record = command(*QUICK, "--test", "--json").json
    folder = tmp_path / record["run_folder"]
    for name, kept in (("models.jsonl", 7), ("final.jsonl", 3)):
        path = folder / name
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    again = command("sweep", "--resume", folder, "--json").json
    for one in (record, again):
        for each in one["ranked"]:
            del each["seconds"]
    assert again["ranked"] == record["ranked"]
    assert again["test"] == record["test"]
    assert len(again["test_openings"]) == 4  # of the two final models that were missing


@pytest.mark.parametrize("executor", ["processes:0", "threads:2", "dask:"])
def test_what_is_no_executor_is_refused_before_there_is_a_folder(command, tmp_path, executor):
    result = command(*QUICK, "--executor", executor)
    assert (result.code, "executor: expected processes:N" in result.err) == (78, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_sweep_by_processes_goes_on_here_and_is_the_same(tmp_path):
    def fastmlp(*arguments):
        line = [sys.executable, "-m", "fastmlp", *map(str, arguments), "--json"]
        return json.loads(subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)

    here, there = fastmlp(*QUICK), fastmlp(*QUICK, "--executor", "processes:2")
    path = tmp_path / there["run_folder"] / "models.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:6]))
    again = fastmlp("sweep", "--resume", there["run_folder"], "--executor", "processes:1")
    for record in (here, there, again):
        for each in record["ranked"]:
            del each["seconds"]
    assert there["ranked"] == here["ranked"]
    assert again["ranked"] == here["ranked"]


def test_held_out_rows_may_be_swept_as_numbers_and_parts():
    assert read_axes({"validation": "1000,20%"}, ranges=False)[1] == {"validation": [1000, 0.2]}
    assert read_axes({"validation": "100..2000"}, ranges=True)[1] == {"validation": Range(100, 2000, True)}
    assert read_axes({"validation": "0.1..0.3"}, ranges=True)[1] == {"validation": Range(0.1, 0.3, False)}
    with pytest.raises(typer.BadParameter, match="expected a range of rows or one of parts"):
        read_axes({"validation": "0.1..500"}, ranges=True)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--learning-rate", "0.1"), 78, "several values of a setting"),
        (("--learning-rate", "0.1,0.2", "--validation", "0"), 78, "validation: expected rows to compare settings on"),
        (("--seed", "1,2"), 78, "--runs"),
        (("--epochs", "1,2", "--halving"), 2, "--epochs"),
    ],
)
def test_sweeps_that_cannot_be_are_refused_before_a_folder_is_made(command, tmp_path, options, code, message):
    result = command("sweep", "synthetic", *options)
    assert result.code == code
    assert message in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_over_learning_rates_has_the_batches_of_a_training_with_one_of_them(mnist):
    alone = TrainingSettings(learning_rate=0.2).resolved("image", n_rows=len(mnist.x_train))
    assert new_plan("sweep", mnist, {}, {}, axes=["learning_rate"]).training.batch_size == alone.batch_size
