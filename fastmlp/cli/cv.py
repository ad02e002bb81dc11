"""`fastmlp cv`: K-fold cross-validation."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import experiment
from fastmlp.cli.configuration import flag, given_settings
from fastmlp.cli.experiment import ConfigOption, Plan, ResumeOption, RunFolderOption
from fastmlp.cli.options import DataDir, OptionalDatasetName, compile_notes
from fastmlp.rendering import experiments
from fastmlp.rendering.output import Output
from fastmlp.settings import HELD_OUT

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.search.task import Task
    from fastmlp.storage.runs import RunFolder

EXAMPLES = (
    "fastmlp cv mnist --folds 5 --epochs 5",
    "fastmlp cv fashion-mnist --folds 10 --runs 3 --hidden 300 --hidden 100",
    "fastmlp cv --resume runs/20260102T030405Z-cv-mnist-1a2b3c",
)
FOLDS, RUNS = 5, 1
ARGUMENTS = ("folds", "runs", "test")


def cv(
    output: Output,
    flags: dict[str, Any],
    dataset: OptionalDatasetName = None,
    folds: Annotated[int | None, typer.Option(metavar="K", min=2, help=f"parts of the training rows  [default: {FOLDS}]")] = None,
    runs: Annotated[int | None, typer.Option(metavar="N", min=1, help=f"seeds for each fold, from --seed on  [default: {RUNS}]")] = None,
    test: Annotated[bool, typer.Option("--test", help="at the end train on all rows and evaluate on the test set, once per seed")] = False,
    resume: ResumeOption = None,
    config: ConfigOption = None,
    data_dir: DataDir = None,
    run_folder: RunFolderOption = None,
) -> dict[str, Any]:
    """K-fold cross-validation: hold out each part of the training rows in turn.

    Folds are drawn from --seed, with as many rows of each class as can be. The test set is not evaluated unless you ask for it. As many
    models are trained at a time as there are cores (--threads). Finished ones are kept in the folder.
    """
    from fastmlp.data.dataset import load_dataset

    if resume is not None:
        others = {"DATASET": dataset, "--folds": folds, "--runs": runs, "--test": test, "--config": config, "--run-folder": run_folder}
        experiment.refuse_other_options(others, flags)
        with experiment.resumed(output, "cv", resume, ARGUMENTS, data_dir) as (plan, run, data):
            return _run(output, plan, run, data)
    given = given_settings(flags, os.environ, config)
    for name in HELD_OUT:
        if given.get(name):
            raise typer.BadParameter("expected none: the folds are held out; say how many with --folds", param_hint=flag(name))
    data = load_dataset(experiment.named(dataset), data_dir, notify=output.note)
    arguments = {"folds": folds or FOLDS, "runs": runs or RUNS, "test": test}
    plan = experiment.new_plan("cv", data, given, arguments, holds_out=False)
    with experiment.begun(output, plan, data, _tasks(plan, data), run_folder) as run:
        return _run(output, plan, run, data)


def _tasks(plan: Plan, data: "Dataset") -> "list[Task]":
    from fastmlp.search.cross_validation import cv_tasks

    return cv_tasks(plan.network, plan.training, data, plan.arguments["folds"], plan.arguments["runs"])


def _run(output: Output, plan: Plan, run: "RunFolder", data: "Dataset") -> dict[str, Any]:
    from fastmlp.search.cross_validation import summarise_folds
    from fastmlp.search.ledger import complete

    folds, runs = plan.arguments["folds"], plan.arguments["runs"]
    output.note(
        experiment.describe(plan, f"{folds} folds of {len(data.x_train) // folds:,} rows, {runs} seed{'s' if runs > 1 else ''} each")
    )
    tasks = _tasks(plan, data)
    with experiment.outcome(output, run, "cv"), compile_notes(output) as display:
        ledger = experiment.ledger_in(run)
        experiment.follow(output, display, complete(tasks, data, ledger, plan.training.threads))
        records = ledger.of(tasks)
        result = summarise_folds(records)
        summary = [{"fold": record["fold"], "seed": record["seed"], **record["validation"]} for record in records]
        tested = experiment.measure_final(output, display, plan, {}, run, data) if plan.arguments["test"] else None
        experiment.finish(
            run, {"summary": summary, "best": result, "comparison": None, "test": tested}, {"test_openings": data.test_openings}
        )
    output.detail(experiments.folds(records))
    output.result(f"held out: {experiments.cross_validation(result)}")
    if tested is not None:
        output.result(experiments.test_scores(tested))
    output.result(f"results {run.path}")
    return {
        "dataset": data.name,
        "settings": plan.settings,
        **plan.arguments,
        "models": summary,
        "held_out": result,
        "test": tested,
        "test_openings": data.test_openings,
        "run_folder": run.path,
    }
