"""`fastmlp train --preset best`: several networks at the same time, joined into the one that is kept, evaluated and told of."""

import contextlib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastmlp.cli import tables as of_tables
from fastmlp.cli.options import compile_notes
from fastmlp.cli.outcome import check_has_accuracy, earlier_destination, finish, follow, open_destination, tell_changes
from fastmlp.cli.resume import ResumedRun
from fastmlp.errors import ConfigError
from fastmlp.rendering import terminal
from fastmlp.rendering.output import Output
from fastmlp.settings import TrainingSettings, settings_in_effect

if TYPE_CHECKING:
    from fastmlp.training.tables import Table

NETWORKS = "networks"  # the folder of those that are done, until all are


class Place(NamedTuple):
    """Where the command was told to write, as the options of `fastmlp train` have it."""

    out: Path | None
    run_folder: Path | None
    no_run_folder: bool


def train(
    output: Output,
    table: "Table",
    given: Mapping[str, Any],
    place: Place,
    *,
    plot: bool,
    require_accuracy: float | None,
    earlier: ResumedRun | None = None,
) -> dict[str, Any]:
    """Train the networks of a preset on a table; return what `fastmlp train` does, whose epochs are means over the networks.

    earlier: a run of them to go on with, of which those that are done are kept.
    """
    from fastmlp import machine
    from fastmlp.compilation.waiting import compile_seconds
    from fastmlp.network import network_for, settings_for
    from fastmlp.search.ensemble import Kept, trained_together
    from fastmlp.search.in_process import prepare, resolved, sketches
    from fastmlp.search.repeat import repeat_tasks
    from fastmlp.training import ahead

    started = time.perf_counter()
    if earlier is not None and earlier.run.manifest.get("outcome") == "done":
        command = f"fastmlp train {of_tables.arguments_of(table)}"
        raise ConfigError(f"resume: expected a run that is not finished, got {str(earlier.run.path)!r}; train anew: {command}")
    recorded = None if earlier is None else (earlier.network, earlier.training)
    data = of_tables.load(output, table.name, table, given, None, recorded=recorded)
    if earlier is not None:
        earlier.check_data(data)
        _check_same(earlier)
    check_has_accuracy(require_accuracy, are_numbers=data.target_kind == "values")
    network, training = recorded or settings_in_effect(given, data.network_defaults, data.training_defaults)
    loaded, compiled = time.perf_counter(), compile_seconds()
    tasks = repeat_tasks(network, training, data.n_networks)
    in_effect = resolved(tasks[0], data).training
    settings = {"network": settings_for(data, network).to_dict(), "train": in_effect.to_dict()}
    threads = training.threads or machine.usable_cores()
    with contextlib.ExitStack() as held:
        helping = held.enter_context(ahead.Ahead())
        helping.expect({"several": sketches(tasks[:1], data)})
        display = held.enter_context(compile_notes(output))
        prepare(tasks[:1], data)  # what does not fit is found before there is a folder
        helping.finish()
        display.clear()
        sizes = "-".join(map(str, network_for(data, network, training.seed).sizes))
        at_once = min(threads, data.n_networks)
        output.note(f"{data.name}: {len(data.x_train):,} rows; {data.n_networks} networks {sizes}, {at_once} at a time")
        began, compiled = time.perf_counter(), compile_seconds() - compiled
        to = open_destination(table.name, *place) if earlier is None else earlier_destination(output, earlier, place.out)
        kept = None
        if to.run is not None:
            if earlier is None:
                held.enter_context(to.run)
                files = {"name": data.name, "files": dict(data.hashes), **of_tables.in_manifest(table)}
                to.run.start(settings, seed=training.seed, data=files, threads=threads, out=place.out)
            kept = Kept(to.run.path / NETWORKS)
            if earlier is not None:
                there = len(kept.of(tasks))
                changed = to.run.resume(earlier.facts, settings, threads=threads, out=place.out, at={"networks": there}, epochs=0)
                tell_changes(output, changed)
                output.note(f"going on with {to.run.path}: {there} of {data.n_networks} networks are done")
        try:
            found = follow(output, display, trained_together(data, network, training, data.n_networks, kept))
        except BaseException as error:
            stopped = isinstance(error, (KeyboardInterrupt, BrokenPipeError))
            to.finish("interrupted" if stopped else "failed", {})
            if isinstance(error, KeyboardInterrupt):
                display.clear()
                output.note(f"interrupted; networks that are done are kept, {to.how_to_go_on()}" if to.run is not None else "interrupted")
            raise
        trained = time.perf_counter()
        epochs = [means._asdict() for means in found.epochs()]
        if to.run is not None:
            for means in epochs:
                to.run.append_metrics(means)
        done = finish(to, found.network, data, in_effect, is_table=True)
        if to.run is not None:
            shutil.rmtree(to.run.path / NETWORKS, ignore_errors=True)
    if plot:
        output.detail(f"\n{terminal.learning_curves(epochs)}\n")
    done.tell(output)
    done.check_accuracy(require_accuracy)
    seconds = {"load": loaded - started, "compile": compiled, "train": trained - began, "total": time.perf_counter() - started}
    record = done.record(table.name, None, settings, epochs, resumed=earlier is not None, seconds=seconds, threads=threads)
    return {**record, "networks": len(found.models)}


def _check_same(earlier: ResumedRun) -> None:
    """Raise ConfigError for settings that were given anew: the networks that are done had others. The number of threads may change."""
    before = TrainingSettings.from_record(earlier.facts["settings"]["train"]).to_dict()
    changed = [name for name, value in earlier.training.to_dict().items() if name != "threads" and before[name] != value]
    if changed:
        raise ConfigError(f"{changed[0]}: expected none with the run of several networks, of which some are done, got one; leave it out")
