"""`fastmlp train`: from a data set to a model file and a run folder."""

import contextlib
import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from fastmlp.cli.configuration import given_settings, settings_in_effect
from fastmlp.cli.options import DataDir, DatasetName, compile_notes
from fastmlp.errors import FastmlpError, ScoreMissed, TrainingError
from fastmlp.rendering import tables
from fastmlp.rendering.output import Output
from fastmlp.rendering.progress import Display

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.network import Network
    from fastmlp.settings import NetworkSettings
    from fastmlp.storage.runs import RunFolder
    from fastmlp.training.loop import Epoch, Trainer

EXAMPLES = (
    "fastmlp train mnist",
    "fastmlp train mnist --hidden 300 --hidden 100 --epochs 10 --out digits.safetensors",
    "fastmlp train fashion-mnist --config run.toml --json",
)
RUNS = Path("runs")


class Interrupted(FastmlpError):
    """Ctrl-C during training; the network was saved."""

    exit_code = 130


class Destination(NamedTuple):
    """Where a training is written: the model file, and the run folder unless none is wanted."""

    model: Path
    run: "RunFolder | None"

    def finish(self, outcome: str, results: Mapping[str, Any]) -> None:
        """Note in the run folder how the training ended."""
        if self.run is not None:
            self.run.finish(outcome, {"model": str(self.model), **results})


def _part_of_one(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:
        raise typer.BadParameter(f"expected a number from 0 to 1, such as 0.97, got {value:g}")
    return value


def train(
    output: Output,
    flags: dict[str, Any],
    dataset: DatasetName,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="where the model goes  [default: the run folder]")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with the tables [network] and [train]")] = None,
    data_dir: DataDir = None,
    run_folder: Annotated[Path | None, typer.Option(metavar="DIR", help="a folder for this run  [default: a new one in runs/]")] = None,
    no_run_folder: Annotated[bool, typer.Option("--no-run-folder", help="keep no record; the model goes to ./DATASET.safetensors")] = False,
    require_accuracy: Annotated[
        float | None, typer.Option(metavar="X", callback=_part_of_one, help="exit with 1 if the test accuracy is below X, such as 0.97")
    ] = None,
) -> dict[str, Any]:
    """Train a network on a data set and save it.

    Prints a line per epoch and then the accuracy on the test rows, which are looked at once, at the end. A setting may also come
    from the environment (FASTMLP_EPOCHS=3) or from the file given with --config; a flag wins over both.
    """
    from fastmlp import __version__, machine
    from fastmlp.data.dataset import load_dataset
    from fastmlp.storage.atomic import check_creatable

    started = time.perf_counter()
    given = given_settings(flags, os.environ, config)
    if no_run_folder and run_folder is not None:
        raise typer.BadParameter("expected one of --run-folder and --no-run-folder, got both", param_hint="--no-run-folder")
    if out is not None:
        check_creatable(out)
    output.note(f"loading {dataset} …")
    threading.Thread(target=import_trainer, daemon=True).start()  # the compiler loads while the data do
    data = load_dataset(dataset, data_dir, notify=output.note)
    network_settings, training_settings = settings_in_effect(given, data.network_defaults, data.training_defaults)
    network = new_network(data, network_settings, training_settings.seed)
    loaded = time.perf_counter()

    from fastmlp.kernels.compiling import compile_seconds
    from fastmlp.training.loop import Trainer

    with compile_notes(output) as display:
        trainer = Trainer(network, data.x_train, data.y_train, training_settings)
        display.clear()
        settings = {"network": network_settings.replace(output=network.output).to_dict(), "train": trainer.settings.to_dict()}
        output.note(describe(data, trainer))
        to = open_destination(dataset, out, run_folder, no_run_folder)
        with to.run or contextlib.nullcontext() as run:
            if run is not None:
                files = {"name": data.name, "files": dict(data.hashes)}
                run.start(settings, seed=training_settings.seed, data=files, threads=trainer.threads)
            began, compiled = time.perf_counter(), compile_seconds()
            epochs = run_epochs(output, display, trainer, to)
            trained, compiled = time.perf_counter(), compile_seconds() - compiled
            network.save(to.model, trainer.settings)
            test = network.evaluate(data.x_test, data.y_test)
            to.finish("done", {"test": test, "test_openings": data.test_openings})
    output.result(f"test {tables.scores(test)}")
    output.result(f"model {to.model}")
    if require_accuracy is not None and not (test["accuracy"] or 0.0) >= require_accuracy:
        raise ScoreMissed(f"expected a test accuracy of at least {require_accuracy:g}, got {test['accuracy']}; the model is in {to.model}")
    return {
        "dataset": dataset,
        "sizes": network.sizes,
        "settings": settings,
        "epochs": epochs,
        "test": test,
        "seconds": {
            "load": loaded - started,
            "compile": trainer.compile_seconds + compiled,
            "train": trained - began - compiled,
            "total": time.perf_counter() - started,
        },
        "threads": trainer.threads,
        "model": to.model,
        "run_folder": to.run.path if to.run is not None else None,
        "version": __version__,
        "machine": machine.describe(),
    }


def run_epochs(output: Output, display: Display, trainer: "Trainer", to: Destination) -> "list[Epoch]":
    """Train to the end and print each epoch when it is done.

    Ctrl-C, and a reader of the output that leaves, save the network as it stands before they take their course.
    """
    from fastmlp.training.loop import Epoch

    epochs: list[Epoch] = []
    try:
        output.detail(tables.epoch_heading())
        with contextlib.closing(trainer.run()) as events:
            for event in events:
                if not isinstance(event, Epoch):
                    display.epoch(event)
                    continue
                epochs.append(event)
                display.clear()
                if to.run is not None:
                    to.run.append_metrics(event._asdict())
                output.detail(tables.epoch_row(event))
    except (KeyboardInterrupt, BrokenPipeError) as stop:
        display.clear()
        trainer.network.save(to.model, trainer.settings)
        to.finish("interrupted", {"epochs": len(epochs)})
        if isinstance(stop, KeyboardInterrupt):
            raise Interrupted(f"interrupted in epoch {len(epochs) + 1}; the network as it stands is in {to.model}") from None
        raise
    except TrainingError:
        if to.run is not None:
            to.run.finish("diverged", {"epochs": len(epochs)})
        raise
    return epochs


def new_network(data: "Dataset", settings: "NetworkSettings", seed: int) -> "Network":
    """Return an untrained network that fits a data set: its inputs, its classes or targets, the output layer for their kind."""
    from fastmlp.network import Network

    n_inputs = math.prod(data.x_train.shape[1:])
    n_outputs = len(data.class_names) if data.class_names else data.y_train[0].size
    output = settings.output or {"classes": "softmax", "labels": "sigmoid", "values": "identity"}[data.target_kind]
    sizes = (n_inputs, *settings.hidden, n_outputs)
    return Network(sizes, settings.activation, output, dtype=settings.dtype, seed=seed, class_names=data.class_names)


def import_trainer() -> None:
    """Load what training needs, numba for the most part: a quarter of a second."""
    from fastmlp.training import loop

    del loop


def describe(data: "Dataset", trainer: "Trainer") -> str:
    """Return in one line what is about to be trained."""
    held_out = trainer.settings.validation or 0
    sizes = "-".join(map(str, trainer.network.sizes))
    threads = f"{trainer.threads} thread{'s' if trainer.threads > 1 else ''}"
    return f"{data.name}: {trainer.n_rows:,} rows to train on, {held_out:,} held out; network {sizes}; {threads}"


def open_destination(dataset: str, out: Path | None, run_folder: Path | None, no_run_folder: bool) -> Destination:
    """Make the run folder, a new one in runs/ unless another was asked for, and choose the model file; neither overwrites anything."""
    from fastmlp.storage.atomic import check_creatable, free_path
    from fastmlp.storage.runs import RunFolder, create_run

    if no_run_folder:
        model = out or free_path(f"{dataset}.safetensors")
        check_creatable(model)
        return Destination(model, None)
    run = create_run(RUNS, dataset) if run_folder is None else RunFolder.at(run_folder)
    return Destination(out or run.model_path, run)
