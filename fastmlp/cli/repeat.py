"""`fastmlp repeat`: the same training with many seeds."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import experiment
from fastmlp.cli.configuration import given_settings
from fastmlp.cli.experiment import ConfigOption, Plan, ResumeOption, RunFolderOption
from fastmlp.cli.options import DataDir, OptionalDatasetName, compile_notes
from fastmlp.rendering import experiments
from fastmlp.rendering.output import Output

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.search.task import Task
    from fastmlp.storage.runs import RunFolder

EXAMPLES = (
    "fastmlp repeat mnist --runs 30 --epochs 5",
    "fastmlp repeat mnist --hidden 300 --activation sigmoid --learning-rate 0.5",
    "fastmlp repeat --resume runs/20260102T030405Z-repeat-mnist-1a2b3c",
)
RUNS = 30
ARGUMENTS = ("runs", "test")


def repeat(
    output: Output,
    flags: dict[str, Any],
    dataset: OptionalDatasetName = None,
    runs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help=f"trainings, with seeds that follow --seed  [default: {RUNS}]")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="at the end evaluate each model on the test set, once")] = False,
    resume: ResumeOption = None,
    config: ConfigOption = None,
    data_dir: DataDir = None,
    run_folder: RunFolderOption = None,
) -> dict[str, Any]:
    """Train with many seeds: mean, spread and extremes, epoch by epoch.

    Scores are those of the validation rows, the same for all seeds. The test set is not evaluated unless you ask for it. As many models
    are trained at a time as there are cores (--threads). Finished ones are kept in the folder.
    """
    from fastmlp.data.dataset import load_dataset

    if resume is not None:
        others = {"DATASET": dataset, "--runs": runs, "--test": test, "--config": config, "--run-folder": run_folder}
        experiment.refuse_other_options(others, flags)
        with experiment.resumed(output, "repeat", resume, ARGUMENTS, data_dir) as (plan, run, data):
            return _run(output, plan, run, data)
    given = given_settings(flags, os.environ, config)
    data = load_dataset(experiment.named(dataset), data_dir, notify=output.note)
    plan = experiment.new_plan("repeat", data, given, {"runs": runs or RUNS, "test": test})
    with experiment.begun(output, plan, data, _tasks(plan), run_folder) as run:
        return _run(output, plan, run, data)


def _tasks(plan: Plan) -> "list[Task]":
    from fastmlp.search.repeat import repeat_tasks

    return repeat_tasks(plan.network, plan.training, plan.arguments["runs"], opens_test=plan.arguments["test"])


def _run(output: Output, plan: Plan, run: "RunFolder", data: "Dataset") -> dict[str, Any]:
    from fastmlp.search.ledger import complete
    from fastmlp.search.repeat import summarise_epochs, summarise_scores

    runs, test = plan.arguments["runs"], plan.arguments["test"]
    output.note(experiment.describe(plan, f"{runs} runs; {experiment.rows(plan, data)}"))
    tasks = _tasks(plan)
    with experiment.outcome(output, run, "repeat"), compile_notes(output) as display:
        ledger = experiment.ledger_in(run)
        experiment.follow(output, display, complete(tasks, data, ledger, plan.training.threads))
        records = ledger.of(tasks)
        epochs = summarise_epochs(records)
        diverged = sum(record["outcome"] == "diverged" for record in records)
        tested = summarise_scores(records, "test") if test else None
        best = summarise_scores(records, "validation")
        experiment.finish(
            run,
            {"summary": epochs, "best": best, "comparison": None, "test": tested, "diverged": diverged},
            {"test_openings": data.test_openings},
        )
    held_out = experiment.n_held_out(plan, data)
    output.detail(f"mean ± standard deviation and extremes of {runs} runs on {held_out:,} validation rows\n")
    output.result(experiments.repeat(epochs))
    if "r2" in best or plan.training.restore_best or len({len(record["history"]["epoch"]) for record in records}) > 1:
        output.result(experiments.at_the_end(best))
    if diverged:
        output.result(f"{diverged} of {runs} runs diverged and are left out")
    if tested is not None:
        output.result(experiments.test_scores(tested))
    output.result(f"results {run.path}")
    return {
        "dataset": data.name,
        "settings": plan.settings,
        "runs": runs,
        "diverged": diverged,
        "epochs": epochs,
        "validation": best,
        "test": tested,
        "test_openings": data.test_openings,
        "run_folder": run.path,
    }
