"""`fastmlp train`: from a data set, or from where an earlier run stood, to a model file and a run folder."""

import contextlib
import errno
import math
import os
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import ensemble
from fastmlp.cli import tables as of_tables
from fastmlp.cli.configuration import given_settings, recipe_settings
from fastmlp.cli.options import DataDir, OptionalData, RecipeOption, compile_notes, model_file
from fastmlp.cli.outcome import RUNS, Destination, check_has_accuracy, earlier_destination, finish, open_destination, tell_changes
from fastmlp.cli.resume import FACTS, ResumedRun, open_earlier, text_of
from fastmlp.errors import ConfigError, FastmlpError, TrainingError
from fastmlp.rendering import tables, terminal
from fastmlp.rendering.output import Output
from fastmlp.rendering.progress import Display
from fastmlp.rendering.tables import counted
from fastmlp.settings import NetworkSettings, settings_in_effect
from fastmlp.training.callbacks.signals import StopOnSignal

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.network import Network
    from fastmlp.storage.runs import RunFolder
    from fastmlp.training.ahead import Ahead
    from fastmlp.training.callbacks.checkpoint import Checkpoint
    from fastmlp.training.history import Epoch
    from fastmlp.training.tables import Table
    from fastmlp.training.trainer import Trainer

EXAMPLES = (
    "fastmlp train mnist",
    "fastmlp train mnist --hidden 300 --hidden 100 --out digits.safetensors",
    "fastmlp train mnist --epochs 50 --patience 3 --restore-best",
    "fastmlp train mnist --recipe dropout",
    "fastmlp train fashion-mnist --config run.toml --json",
    "fastmlp train table.csv --target price",
    "fastmlp train --resume runs/20261124T030656Z-mnist-b11a7d",
    "fastmlp train mnist --from digits.safetensors --learning-rate 0.01",
)
CHECKPOINT_SECONDS = 30.0  # what a crash may cost; epochs that last longer than a second are saved at their ends besides
HANGUP_SECONDS = 0.3


class Interrupted(FastmlpError):
    """A signal ended the training; it was saved. The exit code is 128 + the number of the signal."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Record:
    """Callbacks that keep what a command tells of its epochs: in the run folder, on the output, for --json."""

    def __init__(self, output: Output, to: Destination, epochs: list[dict[str, Any]], trainer: "Trainer") -> None:
        self.epochs = epochs  # of the whole run, those done earlier included
        self._output, self._to = output, to
        self._columns = trainer.settings.metric, trainer.network.output != "identity"

    def heading(self) -> str:
        """Return the line above the rows of epochs."""
        return tables.epoch_heading(*self._columns)

    def on_epoch_end(self, network: "Network", epoch: "Epoch") -> None:
        """Write one epoch down."""
        self.epochs.append(epoch._asdict())
        if self._to.run is not None:
            self._to.run.append_metrics(epoch._asdict())
        self._output.detail(tables.epoch_row(epoch, *self._columns))


def _part_of_one(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:
        raise typer.BadParameter(f"expected a number from 0 to 1, such as 0.97, got {value:g}")
    return value


def _not_negative(value: float | None) -> float | None:
    if value is not None and not 0 <= value < math.inf:
        raise typer.BadParameter(f"expected a number of at least 0, got {value:g}")
    return value


def train(
    output: Output,
    flags: dict[str, Any],
    table: dict[str, Any],
    dataset: OptionalData = None,
    recipe: RecipeOption = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="where the model goes  [default: the run folder]")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with the tables [network] and [train]")] = None,
    data_dir: DataDir = None,
    run_folder: Annotated[Path | None, typer.Option(metavar="DIR", help="a folder for this run  [default: a new one in runs/]")] = None,
    no_run_folder: Annotated[bool, typer.Option("--no-run-folder", help="keep no record; the model goes to ./DATASET.safetensors")] = False,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="continue the run in this folder, bit for bit; see: fastmlp runs")
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option("--from", metavar="MODEL", help="begin with the weights of this model file, or of the run in this folder")
    ] = None,
    checkpoint_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            callback=_not_negative,
            help=f"save a checkpoint at least this often, to continue after a crash  [default: {CHECKPOINT_SECONDS:g}]",
        ),
    ] = None,
    require_accuracy: Annotated[
        float | None, typer.Option(metavar="X", callback=_part_of_one, help="exit with 1 if the test accuracy is below X, such as 0.97")
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="show the learning curves in the terminal, after training")] = False,
) -> dict[str, Any]:
    """Train a network on a data set and save it.

    Prints a line per epoch and then the accuracy on the test set, which is evaluated once, at the end. A setting may also come
    from the environment (FASTMLP_EPOCHS=3) or from the file given with --config; a flag wins over both, and all of them over --recipe.
    Ctrl-C saves and stops after the current batch; --resume continues, bit for bit.
    """
    from fastmlp.storage.atomic import check_creatable
    from fastmlp.training import ahead

    started = time.perf_counter()
    _check_usage(dataset, resume, recipe, run_folder, no_run_folder, start_from)
    if no_run_folder and checkpoint_seconds is not None:
        raise typer.BadParameter(
            "expected none with --no-run-folder, which keeps no checkpoints, got one", param_hint="--checkpoint-seconds"
        )
    given = given_settings(flags, os.environ, config, recipe_settings(dataset, recipe))
    own = of_tables.table_of(dataset, table)
    if out is not None and resume is None:
        check_creatable(out, inputs_of(own, config))
    if plot:
        terminal.check_installed()
    place = ensemble.Place(out, run_folder, no_run_folder)
    if own is not None and own.trains_several:
        of_tables.refuse_beside_table({"--data-dir": data_dir})
        for name, value in (("--from", start_from), ("--checkpoint-seconds", checkpoint_seconds)):
            if value is not None:
                raise typer.BadParameter(f"expected none with --preset {own.preset}, whose networks begin anew, got one", param_hint=name)
        return ensemble.train(output, own, given, place, plot=plot, require_accuracy=require_accuracy)
    with contextlib.ExitStack() as held:
        earlier = open_earlier(resume, RUNS, dataset, given) if resume is not None else None
        if earlier is not None:
            held.enter_context(earlier.run)
            own = of_tables.of_manifest(earlier.facts)
            if out is not None:
                check_creatable(out, inputs_of(own, config))
            if own is not None and own.trains_several:
                return ensemble.train(output, own, given, place, plot=plot, require_accuracy=require_accuracy, earlier=earlier)
        name = earlier.dataset if earlier is not None else str(dataset) if own is None else own.name
        helping = held.enter_context(ahead.Ahead())
        if earlier is None and own is None and helping.is_cold:
            start_for_pictures(helping, name, given)
        threading.Thread(target=import_trainer, daemon=True).start()  # the compiler loads while the data do
        begun = network_of(start_from) if own is None else table_network(start_from)
        recorded = None if earlier is None else (earlier.network, earlier.training)
        saved = earlier.saved if earlier is not None else None
        known = begun if saved is None else saved.network
        columns = None if known is None else known.columns
        data = of_tables.load(output, name, own, given, data_dir, recorded=recorded, columns=columns)
        if earlier is not None:
            earlier.check_data(data)
            network_settings, training_settings = earlier.network, earlier.training
        else:
            network_settings, training_settings = settings_in_effect(given, data.network_defaults, data.training_defaults)
        from fastmlp.network import network_for, settings_for

        if begun is not None:
            network_settings = begin_with(str(start_from), begun, data, given, network_settings)
        network = known if known is not None else network_for(data, network_settings, training_settings.seed)
        helping.expect(ahead.sketch_of(data, network, training_settings, predicts=True))
        check_has_accuracy(require_accuracy, are_numbers=network.output == "identity")
        loaded = time.perf_counter()

        from fastmlp.compilation.waiting import compile_seconds
        from fastmlp.training.train import plan_of
        from fastmlp.training.trainer import Trainer

        display = held.enter_context(compile_notes(output))
        state = earlier.state if earlier is not None else None
        plan = plan_of(network, data, training_settings, state)
        trainer = Trainer(plan)
        trainer.prepare()  # compiled later, it would be told below the heading of the epochs
        helping.finish()
        display.clear()
        settings = {"network": settings_for(data, network_settings).to_dict(), "train": trainer.settings.to_dict()}
        output.note(describe(data, trainer))
        if earlier is None:
            to = open_destination(name, out, run_folder, no_run_folder)
            if to.run is not None:
                held.enter_context(to.run)
                files = {"name": data.name, "files": dict(data.hashes), **of_tables.in_manifest(own)}
                to.run.start(settings, seed=training_settings.seed, data=files, threads=trainer.threads, out=out)
        else:
            to = go_on(output, earlier, trainer, settings, out)
        has_ended = trainer.stopped is not None
        if has_ended:
            output.note(how_to_train_on(trainer, to) if earlier is not None else "no epoch is asked for: the network stays as it begins")
        began, compiled = time.perf_counter(), compile_seconds()
        checkpoint = checkpoint_of(to.run, CHECKPOINT_SECONDS if checkpoint_seconds is None else checkpoint_seconds, earlier)
        if checkpoint is not None and start_from is not None:  # a run that is killed before its first save goes on from there
            checkpoint.save(network, trainer.settings, trainer.state())

        def at_once(number: int) -> None:
            display.clear()
            output.error(Interrupted.__name__, f"ended at once; {to.how_to_go_on()}", 128 + number)

        stop = held.enter_context(StopOnSignal(at_once))
        epochs = run_epochs(output, display, trainer, to, checkpoint, stop)
        trained, compiled = time.perf_counter(), compile_seconds() - compiled
        metric = trainer.settings.metric
        best = {"epoch": trainer.best.epoch, f"validation_{metric}": trainer.best.value} if trainer.best.epoch else None
        done = finish(to, network, data, trainer.settings, is_table=own is not None, stopped=trainer.stopped, best=best)
    if plot:
        output.detail(f"\n{terminal.learning_curves(epochs)}\n")
    for line in tables.ending(trainer):
        output.detail(line)
    done.tell(output)
    if not has_ended and (more := command_to_train_on(trainer, to)) is not None:
        output.note(f"to train on: {more}")
    done.check_accuracy(require_accuracy)
    seconds = {
        "load": loaded - started,
        "compile": trainer.compile_seconds + compiled,
        "train": trained - began - compiled,
        "total": time.perf_counter() - started,
    }
    return done.record(name, recipe, settings, epochs, resumed=resume is not None, seconds=seconds, threads=trainer.threads)


def inputs_of(table: "Table | None", config: Path | None) -> list[str | Path]:
    """Return the files that a training reads, and that its model must not take the place of."""
    of_table = (table.path, table.test_file) if table is not None else ()
    return [path for path in (*of_table, config) if path is not None]


def start_for_pictures(helping: "Ahead", dataset: str, given: Mapping[str, Any]) -> None:
    """Compile for a training on pictures before they are there: fetching them may take as long."""
    from fastmlp.data.dataset import PICTURES
    from fastmlp.training.ahead import sketch_of_pictures

    if dataset in PICTURES:
        helping.start(sketch_of_pictures(*settings_in_effect(given, {}, {})))


def network_of(model: Path | None) -> "Network | None":
    """Return the network of a model file, or of the run in a folder, before data are loaded; None where none is named."""
    if model is None:
        return None
    from fastmlp.network import Network

    return Network.load(model_file(model))


def table_network(model: Path | None) -> "Network | None":
    """Return the network of a model file whose columns are those of a table, None without a file; ConfigError where it knows none."""
    network = network_of(model)
    if network is not None and network.columns is None:
        raise ConfigError(f"--from: expected a model that was trained on a table, got {str(model)!r}, which knows no columns")
    return network


def begin_with(model: str, network: "Network", data: "Dataset", given: Mapping[str, Any], settings: NetworkSettings) -> NetworkSettings:
    """Return the settings of the network of a model file; ConfigError where others were given, or where it knows other classes."""
    activations = network.hidden_activations
    own = {
        "hidden": network.sizes[1:-1],
        "activation": activations[0] if len(set(activations)) == 1 else activations or settings.activation,
        "output": network.output,
        "normalization": network.normalization,
        "dtype": network.dtype.name,
    }
    if changed := [f"{name} {text_of(own[name])} → {text_of(given[name])}" for name in own if name in given and given[name] != own[name]]:
        raise ConfigError(f"--from: {model!r} is another network: {', '.join(changed)}; leave these out, or start without --from")
    if data.class_names and network.class_names and data.class_names != network.class_names:
        raise ConfigError(
            f"--from: expected a model of the classes of {data.name}, {', '.join(data.class_names):.60}, "
            f"got one of {', '.join(network.class_names):.60}; start without --from"
        )
    return settings.replace(**own)


def _check_usage(
    dataset: str | None, resume: Path | None, recipe: str | None, run_folder: Path | None, no_run_folder: bool, start_from: Path | None
) -> None:
    """Raise typer.BadParameter where the flags contradict each other or say too little."""
    if no_run_folder and run_folder is not None:
        raise typer.BadParameter("expected one of --run-folder and --no-run-folder, got both", param_hint="--no-run-folder")
    if resume is not None and (no_run_folder or run_folder is not None):
        raise typer.BadParameter("expected no other run folder with --resume, got one", param_hint="--resume")
    if resume is not None and recipe is not None:
        raise typer.BadParameter("expected no recipe with --resume, got one: the run knows its settings", param_hint="--recipe")
    if resume is not None and start_from is not None:
        raise typer.BadParameter("expected no model with --resume, got one: the run has its own network", param_hint="--from")
    if dataset is None and resume is None:
        raise typer.BadParameter("expected the name of a data set, or --resume RUN, got neither", param_hint="DATASET")


def go_on(
    output: Output, earlier: ResumedRun, trainer: "Trainer", settings: Mapping[str, Mapping[str, Any]], out: Path | None
) -> Destination:
    """Note in the run folder that the run goes on, say from where, and say what might change a bit."""
    to, run = earlier_destination(output, earlier, out), earlier.run
    at = {"epoch": trainer.epoch + 1, "row": trainer.row}
    changed = run.resume(earlier.facts, settings, threads=trainer.threads, out=out, at=at, epochs=trainer.epoch)
    output.note(f"going on with {run.path} in epoch {at['epoch']} after {at['row']:,} rows")
    tell_changes(output, changed)
    return to


def how_to_train_on(trainer: "Trainer", to: Destination) -> str:
    """Return what to say of a run that has come to its end before it goes on."""
    epochs, after = trainer.epoch, counted(trainer.epoch, "epoch")
    if epochs < (trainer.settings.epochs or 0):  # more of them would not help
        return f"this run ended after {after} ({trainer.stopped}), there is nothing left to do"
    more = command_to_train_on(trainer, to)
    if more is None:
        return f"this run is finished after {after}, and its learning rates are made for as many: to train longer, start a new run"
    return f"this run is finished after {after}; to train on: {more}"


def command_to_train_on(trainer: "Trainer", to: Destination) -> str | None:
    """Return what to type to give a run more epochs; None where it had others to do, or would be another training with more."""
    from fastmlp.cli.resume import may_change

    if trainer.stopped != "epochs" or to.run is None or "epochs" not in may_change(trainer.settings):
        return None
    return f"fastmlp train --resume {shlex.quote(str(to.run.path))} --epochs {2 * max(trainer.epoch, 1)}"


def run_epochs(
    output: Output, display: Display, trainer: "Trainer", to: Destination, checkpoint: "Checkpoint | None", stop: StopOnSignal
) -> list[dict[str, Any]]:
    """Train to the end, print each epoch when it is done, and return all epochs of the run, those done earlier included.

    Whatever ends it before, a signal, a reader of the output that leaves, a full disk: it is saved as it stands as far as that can be.
    """
    from fastmlp.storage.reading import read_epochs
    from fastmlp.training.callbacks.hooks import Callbacks
    from fastmlp.training.callbacks.progress import Progress
    from fastmlp.training.fit import fit
    from fastmlp.training.history import History

    record = Record(output, to, read_epochs(to.run.metrics_path) if to.run is not None else [], trainer)
    saving = [checkpoint] if checkpoint is not None else []
    # what is drawn is taken away before a row is printed, which is on the disk before the state that follows it
    callbacks = Callbacks([Progress(display), record, *saving, stop])
    try:
        if trainer.stopped is None:
            output.detail(record.heading())
        for _ in fit(trainer, callbacks, History(), read_only=True):
            pass
        if stop.received is not None and trainer.stopped is None:
            trainer.network.save(to.model, trainer.settings)
            raise Interrupted(
                f"interrupted in epoch {trainer.epoch + 1} after {trainer.row:,} rows; all is saved, {to.how_to_go_on()} "
                f"(the network as it stands is in {to.model})",
                stop.received,
            )
    except TrainingError:
        to.finish("diverged", {"epochs": trainer.epoch})
        raise
    except Interrupted:
        to.finish("interrupted", {"epochs": trainer.epoch})
        raise
    except BaseException as error:
        if isinstance(error, OSError) and error.errno == errno.EIO:
            stop.wait(HANGUP_SECONDS)  # of a terminal that was closed, the error may come before the signal
        stopped = isinstance(error, (KeyboardInterrupt, BrokenPipeError)) or stop.received is not None
        steps: list[Callable[[], None]] = [display.clear]
        if stopped or to.run is None:
            steps.append(lambda: trainer.network.save(to.model, trainer.settings))
        steps.append(lambda: to.finish("interrupted" if stopped else "failed", {"epochs": trainer.epoch}))
        for step in steps:  # one that fails does not keep the others from what they can do
            with contextlib.suppress(OSError, FastmlpError, MemoryError):
                step()
        told_nobody = isinstance(error, OSError) and not isinstance(error, FastmlpError)
        if stop.received is not None and told_nobody:  # a terminal that was closed: first came the signal, then no word got out
            raise Interrupted(f"interrupted in epoch {trainer.epoch + 1}; {to.how_to_go_on()}", stop.received) from None
        raise
    return record.epochs


def import_trainer() -> None:
    """Load what training needs, Numba for the most part: half a second. What cannot be loaded fails where it is used."""
    with contextlib.suppress(Exception):
        from fastmlp.training import trainer

        del trainer


def describe(data: "Dataset", trainer: "Trainer") -> str:
    """Return in one line what is about to be trained."""
    sizes = "-".join(map(str, trainer.network.sizes))
    threads = f"{trainer.threads} thread{'s' if trainer.threads > 1 else ''}"
    rows = split_rows(trainer.n_rows, trainer.n_held_out, "groups" if data.groups is not None else trainer.settings.holdout)
    return f"{data.name}: {rows}; network {sizes}; {threads}"


def split_rows(trained_on: int, held_out: int, how: str | None) -> str:
    """Return how many rows there are to train on, and how many are held out, and which."""
    from fastmlp.training.holdout import HOW

    return f"{trained_on:,} rows to train on, {held_out:,} held out" + (f" ({HOW[how]})" if held_out and how is not None else "")


def checkpoint_of(run: "RunFolder | None", seconds: float, earlier: ResumedRun | None) -> "Checkpoint | None":
    """Return what saves a training in its run folder, if it has one."""
    from fastmlp.training.callbacks.checkpoint import Checkpoint

    if run is None:
        return None
    if earlier is not None:
        return Checkpoint(earlier.checkpoints.folder, seconds, about=lambda: facts_of(run), checkpoints=earlier.checkpoints)
    return Checkpoint(run.checkpoints_path, seconds, about=lambda: facts_of(run))


def facts_of(run: "RunFolder") -> dict[str, Any]:
    """Return what a checkpoint keeps of the manifest; the epochs before it are on the disk from then on."""
    run.sync_metrics()
    return {name: run.manifest.get(name) for name in FACTS}
