"""The one course of the commands that train many models: begin or go on, train, keep, say; and what an interrupt leaves."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from fastmlp.cli import tables as of_tables
from fastmlp.cli.configuration import flag
from fastmlp.cli.options import compile_notes
from fastmlp.cli.outcome import RUNS, follow
from fastmlp.cli.train import split_rows
from fastmlp.errors import ConfigError, DataError
from fastmlp.rendering import experiments
from fastmlp.rendering.output import Output, plain
from fastmlp.settings import (
    BY_WIDTH,
    CHOICES,
    FIELDS,
    KIND_DEFAULTS,
    MEANS_PLAIN,
    PLAIN,
    NetworkSettings,
    TrainingSettings,
    judges_epochs,
    settings_in_effect,
    used_with,
)

if TYPE_CHECKING:
    from fastmlp.course.reproduce import Stage
    from fastmlp.data.dataset import Dataset
    from fastmlp.search.executors import Workers
    from fastmlp.search.ledger import Record
    from fastmlp.search.statistics import Summary
    from fastmlp.search.task import Event, Task
    from fastmlp.storage.runs import RunFolder
    from fastmlp.training.tables import Table

Settings = TypeVar("Settings", NetworkSettings, TrainingSettings)

COUNTS = ("runs", "folds", "seeds", "repeats")  # of the arguments of experiments, those that are numbers
MOST_MODELS = 100_000  # of one setting: all are listed beforehand
MODELS = "models.jsonl"  # the ledger
HELD_OUT = 12  # where neither data set nor user say how many rows to validate on: one of so many

RunFolderOption = Annotated[Path | None, typer.Option(metavar="DIR", help="a folder for the results  [default: a new one in runs/]")]
ResumeOption = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="continue an interrupted one; its folder has data set and settings")
]
ExecutorOption = Annotated[
    str | None,
    typer.Option(
        metavar="EXECUTOR",
        help="who trains: processes:N on this machine, or dask:tcp://HOST:PORT; --threads is then for each  [default: this process]",
    ),
]
ConfigOption = Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with the tables [network] and [train]")]


class Plan(NamedTuple):
    """What an experiment is asked to do: enough to start it, and to go on with it."""

    kind: str
    dataset: str
    network: NetworkSettings
    training: TrainingSettings
    arguments: dict[str, Any]  # of this kind of experiment, as JSON holds them
    table: "Table | None" = None  # that the data set is, where it has no name of its own

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The settings that all models share, as tables."""
        return {"network": self.network.to_dict(), "train": self.training.to_dict()}


def new_plan(
    kind: str,
    data: "Dataset",
    given: Mapping[str, Any],
    arguments: dict[str, Any],
    holds_out: bool = True,
    axes: Sequence[str] = (),
    table: "Table | None" = None,
) -> Plan:
    """Return the plan of a new experiment. With `holds_out` some rows are for validation, one of HELD_OUT if nobody says otherwise.

    Without it the same goes for settings that judge epochs by such rows; other settings hold out none.
    axes: the settings that its models differ in. Defaults that depend on them are not filled in.
    """
    from fastmlp.network import settings_for
    from fastmlp.network.arrays import is_image
    from fastmlp.search.in_process import resolved
    from fastmlp.search.task import Task

    holds_out = holds_out or judges_epochs(vars(settings_in_effect(given, data.network_defaults, data.training_defaults)[1]))
    if holds_out and given.get("validation", data.training_defaults.get("validation")) is None:
        given = {**given, "validation": len(data.x_train) // HELD_OUT}
    network, training = settings_in_effect(given, data.network_defaults, data.training_defaults)
    if training.optimizer is None and "optimizer" not in axes and set(axes) & set(MEANS_PLAIN):
        training = training.replace(optimizer=PLAIN)
    if not {"output", "activation"} & set(axes):
        decided, left_out = _without(network, axes)
        network = settings_for(data, decided).replace(**left_out)
    is_table = not is_image(data.x_train, data.x_train.ndim)
    if is_table and "learning_rate" in axes and training.batch_size is None:  # as for a training whose rate is given: see small_table_batch
        training = training.replace(batch_size=KIND_DEFAULTS["table"]["batch_size"])
    if not {"output", "optimizer"} & set(axes):
        of_all, left_out = _without(training, axes)
        training = resolved(Task("", network, of_all), data).training
        if "hidden" in axes and training.optimizer in BY_WIDTH:
            left_out["learning_rate"] = of_all.learning_rate
        training = training.replace(**left_out)
    if not holds_out:
        training = training.without_held_out().replace(metric=training.metric)  # by which the folds are scored
    return Plan(kind, data.name, network, training.replace(normalize=training.normalize or "scale"), arguments, table)


def _without(settings: Settings, axes: Sequence[str]) -> tuple[Settings, dict[str, Any]]:
    """Return settings without what depends on a choice that is an axis, and without that choice; and what these were."""
    choices = set(axes) & set(CHOICES)
    left_out = {name: getattr(settings, name) for name in settings.names() if name in choices or used_with(name).keys() & choices}
    return settings.replace(**{name: FIELDS[name].default for name in left_out}), left_out


class Options(NamedTuple):
    """What every experiment can be told besides its settings and its own arguments."""

    resume: Path | None
    data_dir: Path | None
    run_folder: Path | None
    executor: str | None
    threads: int | None = None  # models at a time, where the settings do not say it


class Session(NamedTuple):
    """An experiment under way: what it is asked to do, with which data, in which folder, and who trains its models."""

    plan: Plan
    data: "Sequence[Dataset]"
    run: "RunFolder"
    cores: int | None
    workers: "Workers | None"

    def train(self, tasks: "Sequence[Task]", name: str = MODELS) -> "Generator[Event, None, list[Record]]":
        """Train the models that this ledger in the folder does not hold yet; return the records of all."""
        from fastmlp.search.ledger import Ledger, complete

        ledger = Ledger(self.run.path / name)
        yield from complete(tasks, self.data[0], ledger, self.cores, self.workers)
        return ledger.of(tasks)

    def final(self, change: dict[str, Any]) -> "Generator[Event, None, dict[str, Summary | None] | None]":
        """Train a setting once more on all training rows, with each seed, and evaluate these models on the test set, once, if asked to.

        A setting that stops by held-out rows keeps some back, as many as it did before.
        """
        from fastmlp.search.repeat import summarise_scores
        from fastmlp.search.sweep import final_tasks

        if not self.plan.arguments["test"]:
            return None
        held_out = self.plan.training.validation or len(self.data[0].x_train) // HELD_OUT
        tasks = final_tasks(self.plan.network, self.plan.training, change, self.plan.arguments["runs"], held_out)
        return summarise_scores((yield from self.train(tasks, "final.jsonl")), "test")


class Found(NamedTuple):
    """What came out of an experiment."""

    result: Mapping[str, Any]  # for its folder
    record: Mapping[str, Any]  # for --json, beside what all experiments say
    lines: Sequence[str]  # for people
    above: str = ""  # them, and below, what explains them
    below: str = ""
    test: "dict[str, Summary | None] | None" = None  # where the test set was asked for
    facts: Mapping[str, Any] = {}  # for the manifest


def load_data(names: str, data_dir: Path | None, notify: Callable[[str], None]) -> "list[Dataset]":
    """Return the data sets of an experiment, by their names: one, of most."""
    from fastmlp.data.dataset import load_dataset

    return [load_dataset(name, data_dir, notify=notify) for name in names.split(", ")]


def new_data(
    output: Output, dataset: str | None, flags: Mapping[str, Any], given: Mapping[str, Any], data_dir: Path | None
) -> "tuple[Dataset, Table | None]":
    """Return the data of a new experiment, by name or from a table; raise typer.BadParameter where none were named."""
    table = of_tables.table_of(dataset, flags)
    of_tables.check_single(table)
    return of_tables.load(output, named(dataset), table, given, data_dir), table


def _data_of(plan: Plan, data_dir: Path | None, notify: Callable[[str], None]) -> "list[Dataset]":
    if plan.table is None:
        return load_data(plan.dataset, data_dir, notify)
    return [of_tables.load(Output(quiet=True), plan.dataset, plan.table, {}, data_dir, recorded=(plan.network, plan.training))]


class Kind(NamedTuple):
    """What tells one kind of experiment from another."""

    name: str
    arguments: tuple[str, ...]  # the names of what it is asked
    title: "Callable[[Plan, Sequence[Dataset]], str]"  # what is about to be done
    tasks: "Callable[[Plan, Sequence[Dataset]], list[Task]]"  # known beforehand, to be checked and compiled
    find: "Callable[[Session], Generator[Event | Stage, None, Found]]"
    load: "Callable[[Plan, Path | None, Callable[[str], None]], Sequence[Dataset]]" = _data_of
    settings: Callable[[], Mapping[str, Any]] | None = None  # that each of this kind has


def conduct(
    output: Output,
    kind: Kind,
    options: Options,
    others: Mapping[str, Any],
    new: "Callable[[], tuple[Plan, Sequence[Dataset]]]",
) -> dict[str, Any]:
    """Run an experiment to its end, keep what it finds in its folder, say it, and return it for --json.

    others: the options that do not go with --resume. new: what a new experiment is to do, and its data.
    """
    from fastmlp.storage.records import write_record

    with _session(output, kind, options, others, new) as session:
        plan, data, run = session.plan, session.data, session.run
        output.note(f"{plan.dataset}: {kind.title(plan, data)}; {_at_a_time(options, session.cores)}")
        with _outcome(output, run, kind.name), compile_notes(output) as display:
            found = follow(output, display, kind.find(session))
            tested = {"test": found.test} if "test" in kind.arguments else {}
            openings = data[0].test_openings if len(data) == 1 else {each.name: len(each.test_openings) for each in data}
            write_record(run.path / "result.json", plain({**found.result, **tested}))
            run.finish("done", plain({**found.facts, "test_openings": openings}))
        if found.above:
            output.detail(found.above)
        for line in found.lines:
            output.result(line)
        if found.below:
            output.detail(found.below)
        if found.test is not None:
            output.result(experiments.test_scores(found.test))
        output.result(f"results {run.path}")
        settings = {"dataset": plan.dataset, "settings": plan.settings}
        return {**settings, **found.record, **tested, "test_openings": openings, "run_folder": run.path}


@contextlib.contextmanager
def _session(
    output: Output,
    kind: Kind,
    options: Options,
    others: Mapping[str, Any],
    new: "Callable[[], tuple[Plan, Sequence[Dataset]]]",
) -> "Iterator[Session]":
    """Hold the folder of an experiment: an earlier one to go on with, or a new one, once nothing can be wrong with it any more."""
    from fastmlp.search.executors import opened

    if options.resume is not None:
        _refuse_other_options({**others, "--run-folder": options.run_folder})
    with opened(options.executor) if options.executor else contextlib.nullcontext() as workers:
        if options.resume is not None:
            plan, run = _earlier_plan(kind.name, options.resume, kind.arguments)
            with run:
                data = kind.load(plan, options.data_dir, output.note)
                _check_same_data(run, _hashes(data))
                if kind.settings is not None and plan.settings != kind.settings():
                    raise ConfigError(f"expected settings of this version in {str(run.path)!r}, got others; start a new one")
                _go_on(output, run)
                yield Session(plan, data, run, options.threads or plan.training.threads, workers)
        else:
            plan, data = new()
            with _begun(output, kind, plan, data, options) as run:
                yield Session(plan, data, run, options.threads or plan.training.threads, workers)


@contextlib.contextmanager
def _begun(output: Output, kind: Kind, plan: Plan, data: "Sequence[Dataset]", options: Options) -> "Iterator[RunFolder]":
    """Make and hold the folder of a new experiment and write down what is about to be done.

    Before there is a folder, all that can be wrong with the tasks is found, and what they need is compiled.
    """
    from fastmlp import machine
    from fastmlp.search.in_process import prepare, sketches
    from fastmlp.storage.runs import RunFolder, create_run
    from fastmlp.training import ahead

    tasks = kind.tasks(plan, data)
    if tasks:
        with ahead.Ahead() as helping, compile_notes(output):
            helping.expect({"several": sketches(tasks, data[0])})
            prepare(tasks, data[0])
            helping.finish()
    name = plan.kind if len(data) > 1 else f"{plan.kind}-{plan.dataset}"
    with create_run(RUNS, name) if options.run_folder is None else RunFolder.at(options.run_folder) as run:
        run.start(
            plan.settings,
            seed=plan.training.seed,
            data={"name": plan.dataset, "files": _hashes(data), **of_tables.in_manifest(plan.table)},
            threads=options.threads or plan.training.threads or machine.usable_cores(),
            experiment={"kind": plan.kind, "arguments": plan.arguments},
        )
        yield run


def _hashes(data: "Sequence[Dataset]") -> dict[str, str]:
    """Return the hash of each file; of several data sets with their names."""
    if len(data) == 1:
        return dict(data[0].hashes)
    return {f"{each.name}/{file}": digest for each in data for file, digest in each.hashes.items()}


def _go_on(output: Output, run: "RunFolder") -> None:
    """Note in the folder that an experiment goes on, and say what the models to come do not share with those that are there."""
    for name, (before, now) in run.resume_experiment().items():
        output.note(f"warning: begun with {name} {before}, going on with {now}: the last bits of a model may depend on it")


def _refuse_other_options(options: Mapping[str, Any]) -> None:
    """Raise typer.BadParameter where options stand beside --resume: the folder knows them all."""
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        raise typer.BadParameter(f"expected it alone, got {given[0]} too: the folder knows all settings", param_hint="--resume")


def flags_given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings given as flags, by their flags."""
    return {flag(name): value for name, value in flags.items() if value not in (None, [])}


def named(dataset: str | None) -> str:
    """Return the name of the data set, or the path of a table; raise typer.BadParameter where none was given."""
    if dataset is None:
        raise typer.BadParameter("expected a name from: fastmlp data list, or the path of a table; got none", param_hint="DATASET")
    return dataset


def _earlier_plan(kind: str, folder: Path, arguments: Sequence[str]) -> "tuple[Plan, RunFolder]":
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
        return Plan(kind, manifest["data"]["name"], network, training, asked, of_tables.of_manifest(manifest)), run
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
        right = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_MODELS
    else:
        right = isinstance(value, bool)
    if not right:
        raise TypeError(name)
    return value


def _check_same_data(run: "RunFolder", hashes: Mapping[str, str]) -> None:
    """Raise ConfigError where the hashes of the data files are not those that an earlier experiment began with."""
    before = run.manifest["data"].get("files", {})
    changed = sorted(name for name in {*before, *hashes} if before.get(name) != hashes.get(name))
    if changed:
        raise ConfigError(f"expected the data that {str(run.path)!r} began with, got others: {', '.join(changed)} differ; start a new one")


def rows(plan: Plan, data: "Dataset") -> str:
    """Return how many rows there are to train on, and how many are held out, and which."""
    held_out = n_held_out(plan, data)
    how = plan.training.holdout if data.groups is None else "groups"
    return split_rows(len(data.x_train) - held_out, held_out, how) + (", about so many" if data.groups is not None and held_out else "")


def n_held_out(plan: Plan, data: "Dataset") -> int:
    """Return how many rows are held out to validate on."""
    from fastmlp.training import holdout

    return holdout.count(plan.training.validation, len(data.x_train))


def _at_a_time(options: Options, cores: int | None) -> str:
    """Return how many models are trained at a time, or by whom."""
    from fastmlp import machine

    return f"by {options.executor}" if options.executor else f"{cores or machine.usable_cores()} at a time"


@contextlib.contextmanager
def _outcome(output: Output, run: "RunFolder", kind: str) -> Iterator[None]:
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
