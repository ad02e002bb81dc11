"""`fastmlp train --preset best`: several networks at the same time, joined into the one that is kept, evaluated and told of."""

import contextlib
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastmlp.cli import tables as of_tables
from fastmlp.cli.options import compile_notes
from fastmlp.cli.outcome import Destination, check_accuracy, open_destination, tell_test, tested
from fastmlp.errors import ConfigError
from fastmlp.rendering import experiments, terminal
from fastmlp.rendering.output import Output
from fastmlp.rendering.progress import Display
from fastmlp.settings import settings_in_effect

if TYPE_CHECKING:
    from fastmlp.search.ensemble import Ensemble
    from fastmlp.search.task import Event
    from fastmlp.training.tables import Table


class Place(NamedTuple):
    """Where the command was told to write, as the options of `fastmlp train` have it."""

    out: Path | None
    run_folder: Path | None
    no_run_folder: bool


def is_asked_for(table: "Table") -> bool:
    """Return whether the preset of a table stands for several networks."""
    from fastmlp.training.tables import trains_several

    return trains_several(table.preset)


def check_no_resume(table: "Table | None") -> None:
    """Raise ConfigError where a run is one of several networks, of which nothing is kept before all are done."""
    if table is not None and is_asked_for(table):
        command = f"fastmlp train {of_tables.arguments_of(table)}"
        raise ConfigError(f"resume: expected the run of one network, got one of preset {table.preset}; train anew: {command}")


def train(
    output: Output, table: "Table", given: Mapping[str, Any], place: Place, *, plot: bool, require_accuracy: float | None
) -> dict[str, Any]:
    """Train the networks of a preset on a table; return what `fastmlp train` does, whose epochs are means over the networks."""
    from fastmlp import __version__, machine
    from fastmlp.kernels.compiling import compile_seconds
    from fastmlp.network import network_for, settings_for
    from fastmlp.search.ensemble import trained_together
    from fastmlp.search.in_process import prepare, resolved
    from fastmlp.search.repeat import repeat_tasks

    started = time.perf_counter()
    data = of_tables.load(output, table.name, table, given, None)
    network, training = settings_in_effect(given, data.network_defaults, data.training_defaults)
    loaded, compiled = time.perf_counter(), compile_seconds()
    task = repeat_tasks(network, training, 1)[0]
    settings = {"network": settings_for(data, network).to_dict(), "train": resolved(task, data).training.to_dict()}
    threads = training.threads or machine.usable_cores()
    with contextlib.ExitStack() as held:
        display = held.enter_context(compile_notes(output))
        prepare([task], data)  # what does not fit is found before there is a folder
        display.clear()
        sizes = "-".join(map(str, network_for(data, network, training.seed).sizes))
        at_once = min(threads, data.n_networks)
        output.note(f"{data.name}: {len(data.x_train):,} rows; {data.n_networks} networks {sizes}, {at_once} at a time")
        began, compiled = time.perf_counter(), compile_seconds() - compiled
        to = open_destination(table.name, *place)
        if to.run is not None:
            held.enter_context(to.run)
            files = {"name": data.name, "files": dict(data.hashes), **of_tables.in_manifest(table)}
            to.run.start(settings, seed=training.seed, data=files, threads=threads, out=place.out)
        found = _followed(output, display, to, trained_together(data, network, training, data.n_networks))
        trained = time.perf_counter()
        epochs = [means._asdict() for means in found.epochs()]
        if to.run is not None:
            for means in epochs:
                to.run.append_metrics(means)
        found.network.save(to.model, training)
        test, confusion = tested(found.network, data, training.metric, is_table=True)
        to.finish("done", {"stopped": None, "metric": training.metric, "test": test, "test_openings": data.test_openings, "best": None})
    if plot:
        output.detail(f"\n{terminal.learning_curves(epochs)}\n")
    tell_test(output, found.network, test, training.metric, confusion, to.model)
    check_accuracy(require_accuracy, test, to.model)
    return {
        "dataset": table.name,
        "recipe": None,
        "sizes": found.network.sizes,
        "settings": settings,
        "networks": len(found.models),
        "epochs": epochs,
        "stopped": None,
        "metric": training.metric,
        "best": None,
        "test": test,
        "resumed": False,
        "seconds": {
            "load": loaded - started,
            "compile": compiled,
            "train": trained - began,
            "total": time.perf_counter() - started,
        },
        "threads": threads,
        "model": to.model,
        "run_folder": to.run.path if to.run is not None else None,
        "version": __version__,
        "machine": machine.describe(),
    }


def _followed(output: Output, display: Display, to: Destination, events: "Generator[Event, None, Ensemble]") -> "Ensemble":
    """Train to the end; meanwhile a bar moves, or a line tells of each network. What ends it before is noted in the run folder."""
    from fastmlp.search.task import BankProgress, Trained

    try:
        with contextlib.closing(events):
            while True:
                event = next(events)
                if isinstance(event, BankProgress):
                    display.models(event)
                elif isinstance(event, Trained) and not output.shows_progress:
                    display.clear()
                    output.note(experiments.trained(event))
    except StopIteration as end:
        display.clear()
        return end.value  # type: ignore[no-any-return]
    except BaseException as error:
        to.finish("interrupted" if isinstance(error, (KeyboardInterrupt, BrokenPipeError)) else "failed", {})
        raise
