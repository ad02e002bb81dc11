"""`fastmlp cv`: K-fold cross-validation."""

import os
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import experiment
from fastmlp.cli.configuration import flag, given_settings
from fastmlp.cli.options import DataDir, OptionalData
from fastmlp.rendering import experiments
from fastmlp.rendering.output import Output
from fastmlp.rendering.tables import counted
from fastmlp.settings import HELD_OUT

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.search.task import Event, Task

EXAMPLES = (
    "fastmlp cv mnist --folds 5 --epochs 5",
    "fastmlp cv fashion-mnist --folds 10 --runs 3 --hidden 300 --hidden 100",
    "fastmlp cv --resume runs/20260102T030405Z-cv-mnist-1a2b3c",
)
FOLDS, RUNS = 5, 1
JUDGED = "epochs were judged by other rows, held out of the training rows of each fold; the fold was scored once, after training"


def cv(
    output: Output,
    flags: dict[str, Any],
    table: dict[str, Any],
    dataset: OptionalData = None,
    folds: Annotated[int | None, typer.Option(metavar="K", min=2, help=f"parts of the training rows  [default: {FOLDS}]")] = None,
    runs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=experiment.MOST_MODELS, help=f"seeds for each fold, from --seed on  [default: {RUNS}]"),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="at the end train on all rows and evaluate on the test set, once per seed")] = False,
    resume: experiment.ResumeOption = None,
    config: experiment.ConfigOption = None,
    data_dir: DataDir = None,
    run_folder: experiment.RunFolderOption = None,
    executor: experiment.ExecutorOption = None,
) -> dict[str, Any]:
    """K-fold cross-validation: hold out each part of the training rows in turn.

    Folds are drawn from --seed, with as many rows of each class as can be. The test set is not evaluated unless you ask for it. As many
    models are trained at a time as there are cores (--threads). Finished ones are kept in the folder.

    Of a table the folds are parts of the rows outside of its test split. Settings that judge epochs (--restore-best, the default for
    tables, --patience, --target-accuracy, --schedule plateau) judge them by rows that each model holds out of its own training rows
    (--validation); its fold is scored once, after training.
    """

    def new() -> "tuple[experiment.Plan, list[Dataset]]":
        given = given_settings(flags, os.environ, config)
        data, own = experiment.new_data(output, dataset, table, given, data_dir)
        if own is not None and executor is not None:
            raise typer.BadParameter(
                "expected none with a table, whose columns are fitted anew for each fold, got one", param_hint="--executor"
            )
        arguments = {"folds": folds or FOLDS, "runs": runs or RUNS, "test": test}
        plan = experiment.new_plan("cv", data, given, arguments, holds_out=False, table=own)
        for name in HELD_OUT:
            if given.get(name) and not plan.training.validation:
                raise typer.BadParameter(
                    "expected none: the folds are held out, and no setting judges epochs by other rows; say how many with --folds",
                    param_hint=flag(name),
                )
        return plan, [data]

    others = {
        "DATASET": dataset,
        "--folds": folds,
        "--runs": runs,
        "--test": test,
        "--config": config,
        **experiment.flags_given({**flags, **table}),
    }
    return experiment.conduct(output, KIND, experiment.Options(resume, data_dir, run_folder, executor), others, new)


def _title(plan: experiment.Plan, data: "Sequence[Dataset]") -> str:
    folds, runs = plan.arguments["folds"], plan.arguments["runs"]
    return f"{folds} folds of {len(data[0].x_train) // folds:,} rows, {counted(runs, 'seed')} each"


def _tasks(plan: experiment.Plan, data: "Sequence[Dataset]") -> "list[Task]":
    from fastmlp.search.cross_validation import cv_tasks

    return cv_tasks(plan.network, plan.training, data[0], plan.arguments["folds"], plan.arguments["runs"])


def _find(session: experiment.Session) -> "Generator[Event, None, experiment.Found]":
    from fastmlp.search.cross_validation import summarise_folds

    records = yield from session.train(_tasks(session.plan, session.data))
    result = summarise_folds(records)
    summary = [{"fold": record["fold"], "seed": record["seed"], **record["validation"]} for record in records]
    return experiment.Found(
        result={"summary": summary, "best": result, "comparison": None},
        record={**session.plan.arguments, "models": summary, "held_out": result},
        lines=[f"held out: {experiments.cross_validation(result)}"],
        below=JUDGED if session.plan.training.validation else "",
        above=experiments.folds(records, session.plan.training.metric),
        test=(yield from session.final({})),
    )


KIND = experiment.Kind("cv", ("folds", "runs", "test"), _title, _tasks, _find)
