"""`fastmlp repeat`: the same training with many seeds."""

import os
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import experiment
from fastmlp.cli.configuration import given_settings
from fastmlp.cli.options import DataDir, OptionalData
from fastmlp.rendering import experiments
from fastmlp.rendering.output import Output
from fastmlp.rendering.tables import counted

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.search.task import Event, Task

EXAMPLES = (
    "fastmlp repeat mnist --runs 30 --epochs 5",
    "fastmlp repeat mnist --hidden 300 --activation sigmoid --learning-rate 0.5",
    "fastmlp repeat --resume runs/20260102T030405Z-repeat-mnist-1a2b3c",
)
RUNS = 30


def repeat(
    output: Output,
    flags: dict[str, Any],
    table: dict[str, Any],
    dataset: OptionalData = None,
    runs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=experiment.MOST_MODELS, help=f"trainings, with seeds that follow --seed  [default: {RUNS}]"),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="at the end evaluate each model on the test set, once")] = False,
    resume: experiment.ResumeOption = None,
    config: experiment.ConfigOption = None,
    data_dir: DataDir = None,
    run_folder: experiment.RunFolderOption = None,
    executor: experiment.ExecutorOption = None,
) -> dict[str, Any]:
    """Train with many seeds: mean, spread and extremes, epoch by epoch.

    Scores are those of the validation rows, the same for all seeds. The test set is not evaluated unless you ask for it. As many models
    are trained at a time as there are cores (--threads). Finished ones are kept in the folder.
    """

    def new() -> "tuple[experiment.Plan, list[Dataset]]":
        given = given_settings(flags, os.environ, config)
        data, own = experiment.new_data(output, dataset, table, given, data_dir)
        return experiment.new_plan("repeat", data, given, {"runs": runs or RUNS, "test": test}, table=own), [data]

    others = {"DATASET": dataset, "--runs": runs, "--test": test, "--config": config, **experiment.flags_given({**flags, **table})}
    return experiment.conduct(output, KIND, experiment.Options(resume, data_dir, run_folder, executor), others, new)


def _title(plan: experiment.Plan, data: "Sequence[Dataset]") -> str:
    return f"{counted(plan.arguments['runs'], 'run')}; {experiment.rows(plan, data[0])}"


def _tasks(plan: experiment.Plan, data: "Sequence[Dataset]") -> "list[Task]":
    from fastmlp.search.repeat import repeat_tasks

    return repeat_tasks(plan.network, plan.training, plan.arguments["runs"], opens_test=plan.arguments["test"])


def _find(session: experiment.Session) -> "Generator[Event, None, experiment.Found]":
    from fastmlp.search.repeat import summarise_epochs, summarise_scores

    plan, runs = session.plan, session.plan.arguments["runs"]
    records = yield from session.train(_tasks(plan, session.data))
    epochs, best = summarise_epochs(records), summarise_scores(records, "validation")
    diverged = sum(record["outcome"] == "diverged" for record in records)
    lines = [experiments.repeat(epochs, plan.training.metric)]
    if "r2" in best or plan.training.restore_best or len({len(record["history"]["epoch"]) for record in records}) > 1:
        lines.append(experiments.at_the_end(best))
    if diverged:
        lines.append(f"{diverged} of {counted(runs, 'run')} diverged and {'is' if diverged == 1 else 'are'} left out")
    held_out = experiment.n_held_out(plan, session.data[0])
    return experiment.Found(
        result={"summary": epochs, "best": best, "comparison": None, "diverged": diverged},
        record={"runs": runs, "diverged": diverged, "epochs": epochs, "validation": best},
        lines=lines,
        above=f"mean ± standard deviation and extremes of {counted(runs, 'run')} on {held_out:,} validation rows\n",
        test=summarise_scores(records, "test") if plan.arguments["test"] else None,
    )


KIND = experiment.Kind("repeat", ("runs", "test"), _title, _tasks, _find)
