"""`fastmlp sweep`: settings compared, each with several seeds."""

import os
import re
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import experiment
from fastmlp.cli.configuration import flag, given_settings, value_of_flag
from fastmlp.cli.options import DataDir, OptionalData
from fastmlp.errors import ConfigError
from fastmlp.rendering import experiments
from fastmlp.rendering.output import Output
from fastmlp.rendering.tables import counted
from fastmlp.settings import FIELDS, TrainingSettings, current_names, over_defaults

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.search.task import Event, Task

EXAMPLES = (
    "fastmlp sweep mnist --learning-rate 0.01,0.1,0.5 --runs 5 --epochs 5",
    "fastmlp sweep mnist --hidden 100,300,300-100 --activation relu,tanh",
    "fastmlp sweep mnist --learning-rate 0.01..1 --random 20 --halving",
    "fastmlp sweep --resume runs/20260102T030405Z-sweep-mnist-1a2b3c",
)
RUNS = 5
RANGE = ".."


def sweep(
    output: Output,
    flags: dict[str, Any],
    table: dict[str, Any],
    dataset: OptionalData = None,
    runs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=experiment.MOST_MODELS, help=f"seeds for each setting, from --seed on  [default: {RUNS}]"),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(
            "--random", metavar="N", min=1, max=experiment.MOST_MODELS, help="random search: N settings drawn from lists or ranges: 0.01..1"
        ),
    ] = None,
    halving: Annotated[bool, typer.Option("--halving", help="successive halving: the better half goes on with more epochs")] = False,
    test: Annotated[
        bool, typer.Option("--test", help="at the end train the best on all rows and evaluate it on the test set, once per seed")
    ] = False,
    resume: experiment.ResumeOption = None,
    config: experiment.ConfigOption = None,
    data_dir: DataDir = None,
    run_folder: experiment.RunFolderOption = None,
    executor: experiment.ExecutorOption = None,
) -> dict[str, Any]:
    """Compare settings by grid or random search: --learning-rate 0.01,0.1.

    A setting with several values is an axis; all combinations are trained, each with the same seeds, and compared on the validation
    rows. The test set is not evaluated unless you ask for it. As many models are trained at a time as there are cores (--threads).
    Finished ones are kept in the folder.
    """
    from fastmlp.search.sweep import check_axes, draw, grid

    def new() -> "tuple[experiment.Plan, list[Dataset]]":
        fixed, axes = read_axes(flags, ranges=random is not None)
        check_axes(axes)
        if halving and "epochs" in axes:
            raise typer.BadParameter("expected one value with --halving, which chooses the epochs itself", param_hint="--epochs")
        given = {**given_settings({}, os.environ, config), **fixed}
        data, own = experiment.new_data(output, dataset, table, given, data_dir)
        changes = grid(axes) if random is None else draw(axes, random, given.get("seed", 0))
        if "optimizer" in axes:
            changes = as_alone(changes, given, data)
        arguments = {"changes": changes, "runs": runs or RUNS, "halving": halving, "test": test}
        plan = experiment.new_plan("sweep", data, given, arguments, axes=list(changes[0]), table=own)
        if not plan.training.validation and "validation" not in axes:
            raise ConfigError("validation: expected rows to compare settings on, got 0; for example --validation 5000")
        return plan, [data]

    others = {"DATASET": dataset, "--runs": runs, "--random": random, "--halving": halving, "--test": test, "--config": config}
    options = experiment.Options(resume, data_dir, run_folder, executor)
    return experiment.conduct(output, KIND, options, {**others, **experiment.flags_given({**flags, **table})}, new)


def read_axes(flags: Mapping[str, str | None], ranges: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings with one value, and those with several: lists of values, and, if allowed, ranges LOW..HIGH.

    Raises typer.BadParameter for a wrong value.
    """
    fixed: dict[str, Any] = {}
    axes: dict[str, Any] = {}
    for name, text in flags.items():
        if text is None:
            continue
        if RANGE in text:
            axes[name] = _range(name, text, ranges)
            continue
        values = [_value(name, part) for part in text.split(",")]
        repeated = [part for number, part in enumerate(text.split(",")) if values[number] in values[:number]]
        if repeated:
            raise typer.BadParameter(f"expected different values, got {repeated[0]} twice", param_hint=flag(name))
        if len(values) > 1:
            axes[name] = values
        else:
            fixed[name] = values[0]
    return fixed, axes


def as_alone(changes: list[dict[str, Any]], given: Mapping[str, Any], data: "Dataset") -> list[dict[str, Any]]:
    """Return changes of the optimizer with what the data set prefers for each: what it does for its own is not meant for another."""
    shared = {name: value for name, value in given.items() if name in TrainingSettings.names()}
    alone = [over_defaults({**shared, "optimizer": change["optimizer"]}, data.training_defaults) for change in changes]
    of_all = over_defaults(shared, data.training_defaults)  # what they get where a change does not say otherwise
    open_to_it = [name for name in data.training_defaults if name not in {**given, **changes[0]}]
    own = [name for name in open_to_it if len({name in each for each in (of_all, *alone)}) > 1]
    return [{**change, **{name: each.get(name, FIELDS[name].default) for name in own}} for change, each in zip(changes, alone, strict=True)]


def _value(name: str, text: str) -> Any:
    """Return one value of a setting; 300-100 stands for two widths."""
    return value_of_flag(name, re.split("(?<![eE])-", text) if FIELDS[name].metadata["repeat"] else text)  # 1e-3 is one number


def _range(name: str, text: str, allowed: bool) -> Any:
    from fastmlp.search.sweep import Range

    kind = FIELDS[name].type
    if not allowed:
        raise typer.BadParameter(f"expected values such as 1,2,3, got a range, {text}; ranges go with --random N", param_hint=flag(name))
    if kind not in (int, int | None, float, float | None, int | float | None, float | tuple[float, ...]):
        raise typer.BadParameter(f"expected values such as A,B, got a range, {text}; ranges are for numbers", param_hint=flag(name))
    low, _, high = text.partition(RANGE)
    first, last = value_of_flag(name, low), value_of_flag(name, high)
    if first >= last:
        raise typer.BadParameter(f"expected a range from low to high, got {text}", param_hint=flag(name))
    if kind == int | float | None and type(first) is not type(last):
        raise typer.BadParameter(f"expected a range of rows or one of parts, got {text}", param_hint=flag(name))
    return Range(first, last, isinstance(first, int))


def _changes(plan: experiment.Plan) -> list[dict[str, Any]]:
    """Return the changes of a plan; JSON made lists of tuples, and version 0.1.0 had other names."""
    changes = [current_names(change, warn=False) for change in plan.arguments["changes"]]
    return [{name: tuple(value) if isinstance(value, list) else value for name, value in change.items()} for change in changes]


def _title(plan: experiment.Plan, data: "Sequence[Dataset]") -> str:
    return f"{len(plan.arguments['changes'])} settings, {counted(plan.arguments['runs'], 'seed')} each; {experiment.rows(plan, data[0])}"


def _tasks(plan: experiment.Plan, data: "Sequence[Dataset]") -> "list[Task]":
    from fastmlp.search.sweep import sweep_tasks

    return sweep_tasks(plan.network, plan.training, _changes(plan), plan.arguments["runs"])


def _find(session: experiment.Session) -> "Generator[Event, None, experiment.Found]":
    from fastmlp.search.ledger import Ledger
    from fastmlp.search.sweep import run_sweep

    plan, runs = session.plan, session.plan.arguments["runs"]
    result = yield from run_sweep(
        plan.network, plan.training, _changes(plan), runs, plan.arguments["halving"], session.data[0],
        Ledger(session.run.path / experiment.MODELS), session.cores, session.workers,
    )  # fmt: skip
    best = result.ranked[0]
    return experiment.Found(
        result={"summary": result.ranked, "best": best, "comparison": result.comparison},
        record={"runs": runs, "ranked": result.ranked, "best": best, "comparison": result.comparison},
        lines=[experiments.sweep(result), experiments.verdict(result)],
        above=f"mean ± standard deviation of {counted(runs, 'seed')} on the validation rows, best first\n",
        test=(yield from session.final(best.changed)),
    )


KIND = experiment.Kind("sweep", ("changes", "runs", "halving", "test"), _title, _tasks, _find)
