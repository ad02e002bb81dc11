"""What the commands that train many models share: a new folder or an earlier one to go on with, progress, and what an interrupt leaves."""

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from fastmlp.cli.configuration import flag, settings_in_effect
from fastmlp.cli.options import compile_notes
from fastmlp.cli.train import RUNS, split_rows
from fastmlp.errors import ConfigError, DataError
from fastmlp.rendering import experiments
from fastmlp.rendering.output import Output, plain
from fastmlp.rendering.progress import Display
from fastmlp.settings import CHOICES, FIELDS, KIND_DEFAULTS, MEANS_PLAIN, PLAIN, NetworkSettings, TrainingSettings, used_with

if TYPE_CHECKING:
    from fastmlp.course.reproduce import Stage
    from fastmlp.data.dataset import Dataset
    from fastmlp.search.ledger import Ledger
    from fastmlp.search.statistics import Summary
    from fastmlp.search.task import Event, Task
    from fastmlp.storage.runs import RunFolder

Result = TypeVar("Result")
Kind = TypeVar("Kind", NetworkSettings, TrainingSettings)

COUNTS = ("runs", "folds", "seeds", "repeats")  # of the arguments of experiments, those that are numbers
MOST_MODELS = 10**9
HELD_OUT = 12  # where neither data set nor user say how many rows to validate on: one of so many

RunFolderOption = Annotated[Path | None, typer.Option(metavar="DIR", help="a folder for the results  [default: a new one in runs/]")]
ResumeOption = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="continue an interrupted one; its folder has data set and settings")
]
ConfigOption = Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with the tables [network] and [train]")]


class Plan(NamedTuple):
    """What an experiment is asked to do: enough to start it, and to go on with it."""

    kind: str
    dataset: str
    network: NetworkSettings
    training: TrainingSettings
    arguments: dict[str, Any]  # of this kind of experiment, as JSON holds them

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The settings that all models share, as tables."""
        return {"network": self.network.to_dict(), "train": self.training.to_dict()}


def new_plan(
    kind: str, data: "Dataset", given: Mapping[str, Any], arguments: dict[str, Any], holds_out: bool = True, axes: Sequence[str] = ()
) -> Plan:
    """Return the plan of a new experiment. With `holds_out` some rows are for validation, one of HELD_OUT if nobody says otherwise.

    axes: the settings that its models differ in. Defaults that depend on them are not filled in.
    """
    from fastmlp.network import settings_for
    from fastmlp.search.in_process import resolved
    from fastmlp.search.task import Task

    if holds_out and given.get("validation", data.training_defaults.get("validation")) is None:
        given = {**given, "validation": len(data.x_train) // HELD_OUT}
    network, training = settings_in_effect(given, data.network_defaults, data.training_defaults)
    if training.optimizer is None and "optimizer" not in axes and set(axes) & set(MEANS_PLAIN):
        training = training.replace(optimizer=PLAIN)
    if not {"output", "activation"} & set(axes):
        decided, left_out = _without(network, axes)
        network = settings_for(data, decided).replace(**left_out)
    if "learning_rate" in axes and training.batch_size is None:  # as for a training whose rate is given: see small_table_batch
        training = training.replace(batch_size=KIND_DEFAULTS["table"]["batch_size"])
    if not {"output", "optimizer"} & set(axes):
        of_all, left_out = _without(training, axes)
        training = resolved(Task("", network, of_all), data).training.replace(**left_out)
    if not holds_out:
        training = training.without_held_out()
    return Plan(kind, data.name, network, training.replace(normalize=training.normalize or "scale"), arguments)


def _without(settings: Kind, axes: Sequence[str]) -> tuple[Kind, dict[str, Any]]:
    """Return settings without what depends on a choice that is an axis, and without that choice; and what these were."""
    choices = set(axes) & set(CHOICES)
    left_out = {name: getattr(settings, name) for name in settings.names() if name in choices or used_with(name).keys() & choices}
    return settings.replace(**{name: FIELDS[name].default for name in left_out}), left_out


def refuse_other_options(options: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
    """Raise typer.BadParameter where options, or flags of settings, stand beside --resume: the folder knows them all."""
    given = [name for name, value in options.items() if value] + [flag(name) for name, value in flags.items() if value is not None]
    if given:
        raise typer.BadParameter(f"expected it alone, got {given[0]} too: the folder knows all settings", param_hint="--resume")


def named(dataset: str | None) -> str:
    """Return the name of the data set; raise typer.BadParameter where none was given."""
    if dataset is None:
        raise typer.BadParameter("expected a name from: fastmlp data list; got none", param_hint="DATASET")
    return dataset


def earlier_plan(kind: str, folder: Path, arguments: Sequence[str]) -> "tuple[Plan, RunFolder]":
    """Hold the folder of an earlier experiment and return what it was asked to do; `arguments` are the names of what its kind is asked.

    Raises InputNotFound where there is none, RunInUse while it runs, ConfigError where it is of another kind, DataError where its manifest
    is damaged.
    """
    from fastmlp.storage.reading import check_manifest
    from fastmlp.storage.runs import MANIFEST, RunFolder

    run = RunFolder.reopen(folder)
    try:
        manifest = run.manifest
        found = check_manifest(folder / MANIFEST, manifest)
        if found != kind:
            raise ConfigError(f"expected the folder of a {kind} at {str(folder)!r}, got one of a {found}; go on with it: fastmlp {found}")
        network = NetworkSettings.from_record(manifest["settings"]["network"])
        training = TrainingSettings.from_record(manifest["settings"]["train"])
        asked = {name: _argument(name, manifest["arguments"][name]) for name in arguments}
        return Plan(kind, manifest["data"]["name"], network, training, asked), run
    except (KeyError, TypeError) as error:
        run.close()
        raise DataError(
            f"{str(folder / 'manifest.json')!r}: expected what a {kind} was asked to do, it is damaged; start a new one"
        ) from error
    except BaseException:
        run.close()
        raise


def _argument(name: str, value: Any) -> Any:
    """Return what an experiment was asked, as its manifest tells it; raise TypeError where nobody can have asked that."""
    if name == "changes":
        right = isinstance(value, list) and all(isinstance(change, dict) for change in value)
    elif name in COUNTS:
        right = isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST_MODELS
    else:
        right = isinstance(value, bool)
    if not right:
        raise TypeError(name)
    return value


@contextlib.contextmanager
def resumed(
    output: Output, kind: str, folder: Path, arguments: Sequence[str], data_dir: Path | None
) -> "Iterator[tuple[Plan, RunFolder, Dataset]]":
    """Hold the folder of an earlier experiment, with its plan and its data. ConfigError where the data are not those that it began with."""
    from fastmlp.data.dataset import load_dataset

    plan, run = earlier_plan(kind, folder, arguments)
    with run:
        data = load_dataset(plan.dataset, data_dir, notify=output.note)
        check_same_data(run, data.hashes)
        go_on(output, run)
        yield plan, run, data


def go_on(output: Output, run: "RunFolder") -> None:
    """Note in the folder that an experiment goes on, and say what the models to come do not share with those that are there."""
    for name, (before, now) in run.resume_experiment().items():
        output.note(f"warning: begun with {name} {before}, going on with {now}: the last bits of a model may depend on it")


def check_same_data(run: "RunFolder", hashes: Mapping[str, str]) -> None:
    """Raise ConfigError where the hashes of the data files are not those that an earlier experiment began with."""
    before = run.manifest["data"].get("files", {})
    changed = sorted(name for name in {*before, *hashes} if before.get(name) != hashes.get(name))
    if changed:
        raise ConfigError(f"expected the data that {str(run.path)!r} began with, got others: {', '.join(changed)} differ; start a new one")


@contextlib.contextmanager
def begun(output: Output, plan: Plan, data: "Dataset", tasks: "Sequence[Task]", run_folder: Path | None) -> "Iterator[RunFolder]":
    """Make and hold the folder of a new experiment and write down what is about to be done.

    Before there is a folder, all that can be wrong with the tasks is found, and what they need is compiled.
    """
    from fastmlp import machine
    from fastmlp.search.in_process import prepare
    from fastmlp.storage.runs import RunFolder, create_run

    with compile_notes(output):
        prepare(tasks, data)
    run = create_run(RUNS, f"{plan.kind}-{data.name}") if run_folder is None else RunFolder.at(run_folder)
    with run:
        run.start(
            plan.settings,
            seed=plan.training.seed,
            data={"name": data.name, "files": dict(data.hashes)},
            threads=plan.training.threads or machine.usable_cores(),
            experiment={"kind": plan.kind, "arguments": plan.arguments},
        )
        yield run


def describe(plan: Plan, what: str) -> str:
    """Return in one line what is about to be done: `what`, and how many at a time."""
    from fastmlp import machine

    return f"{plan.dataset}: {what}; {plan.training.threads or machine.usable_cores()} at a time"


def rows(plan: Plan, data: "Dataset") -> str:
    """Return how many rows there are to train on, and how many are held out, and which."""
    held_out = n_held_out(plan, data)
    return split_rows(len(data.x_train) - held_out, held_out, plan.training.holdout)


def n_held_out(plan: Plan, data: "Dataset") -> int:
    """Return how many rows are held out to validate on."""
    from fastmlp.training import holdout

    return holdout.count(plan.training.validation, len(data.x_train))


@contextlib.contextmanager
def outcome(output: Output, run: "RunFolder", kind: str) -> Iterator[None]:
    """Note in the folder how an experiment ends that does not end well, and say how to go on with it."""
    try:
        yield
    except (KeyboardInterrupt, BrokenPipeError):
        run.finish("interrupted")
        output.note(f"interrupted; finished models are kept, go on: fastmlp {kind} --resume {run.path}")
        raise
    except BaseException:
        run.finish("failed")
        raise


def finish(run: "RunFolder", result: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Write down what came out."""
    from fastmlp.storage.records import write_record

    write_record(run.path / "result.json", plain(result))
    run.finish("done", plain(results))


def ledger_in(run: "RunFolder", name: str = "models.jsonl") -> "Ledger":
    """Return the ledger in a folder, with the models that are finished already."""
    from fastmlp.search.ledger import Ledger

    return Ledger(run.path / name)


def follow(output: Output, display: Display, events: "Generator[Event | Stage, None, Result]") -> Result:
    """Run an experiment to its end and return what it returns; meanwhile a bar moves, or a line tells of each finished model."""
    from fastmlp.search.task import BankProgress, Lost, Trained

    with contextlib.closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                display.clear()
                return end.value  # type: ignore[no-any-return]
            if isinstance(event, BankProgress):
                display.models(event)
            elif isinstance(event, Lost):
                display.clear()
                output.note(experiments.lost(event))
            elif not isinstance(event, Trained):
                display.clear()
                output.note(experiments.stage(event))
            elif not output.shows_progress:
                display.clear()
                output.note(experiments.trained(event))


def measure_final(
    output: Output, display: Display, plan: Plan, change: dict[str, Any], run: "RunFolder", data: "Dataset"
) -> "dict[str, Summary | None]":
    """Train a setting once more on all training rows, with each seed, and evaluate these models on the test set, once.

    A setting that stops by held-out rows keeps some back, as many as it did before.
    """
    from fastmlp.search.ledger import complete
    from fastmlp.search.repeat import summarise_scores
    from fastmlp.search.sweep import final_tasks

    held_out = plan.training.validation or len(data.x_train) // HELD_OUT
    tasks = final_tasks(plan.network, plan.training, change, plan.arguments["runs"], held_out)
    ledger = ledger_in(run, "final.jsonl")
    follow(output, display, complete(tasks, data, ledger, plan.training.threads))
    return summarise_scores(ledger.of(tasks), "test")
