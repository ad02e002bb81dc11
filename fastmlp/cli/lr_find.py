"""`fastmlp lr-find`: a learning rate for a data set and settings, from one short training."""

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import tables as of_tables
from fastmlp.cli.configuration import flag, given_settings
from fastmlp.cli.options import TERMINAL, Data, DataDir, compile_notes, known_picture
from fastmlp.cli.train import describe
from fastmlp.quantities import loss
from fastmlp.rendering import tables, terminal
from fastmlp.rendering.output import Output
from fastmlp.settings import settings_in_effect

if TYPE_CHECKING:
    from fastmlp.training.rate_curve import LearningRateFinderResult, Tried

EXAMPLES = (
    "fastmlp lr-find mnist",
    "fastmlp lr-find mnist --optimizer adam --hidden 300 --hidden 100 --plot -",
    "fastmlp lr-find fashion-mnist --batch-size 200 --plot rates.png --json",
)
LOWEST, HIGHEST = 1e-6, 10.0  # a test compares them with those of training/lr_find.py, which takes numba to load
ROWS = 12  # of the table


def lr_find(
    output: Output,
    flags: dict[str, Any],
    table: dict[str, Any],
    dataset: Data,
    lowest: Annotated[float, typer.Option(metavar="X", help="begin with this learning rate")] = LOWEST,
    highest: Annotated[float, typer.Option(metavar="X", help="end with this one, unless the loss explodes before")] = HIGHEST,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="rates to try  [default: one per batch of a pass, 100 to 5000]")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=known_picture, help="draw the losses: a .png or .svg file, - for the terminal")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with the tables [network] and [train]")] = None,
    data_dir: DataDir = None,
) -> dict[str, Any]:
    """Find a learning rate: one step with each of many rates, from too small to too large.

    The loss of the batches falls as soon as a rate is large enough, and explodes where it is too large. Suggested is a rate between the
    one where it falls fastest and the one where it is smallest. All settings of a training apply, but for those of its length and its
    schedule. Rows that are held out (--validation), and the test rows, are not used.
    """
    from fastmlp.rendering import plots
    from fastmlp.storage.atomic import check_creatable, write_atomically

    started = time.perf_counter()
    given = given_settings(flags, os.environ, config)
    if not 0.0 < lowest < highest < math.inf:
        raise typer.BadParameter(f"expected more than 0 and less than --highest {highest:g}, got {lowest:g}", param_hint="--lowest")
    if flags.get("learning_rate") is not None:
        raise typer.BadParameter("expected none, as it is looked for; set --lowest and --highest", param_hint=flag("learning_rate"))
    if plot == TERMINAL:
        terminal.check_installed()
    elif plot is not None:
        plots.check_installed()
        check_creatable(plot)
    own = of_tables.table_of(dataset, table)
    of_tables.check_single(own)
    data = of_tables.load(output, dataset, own, given, data_dir)
    network_settings, training_settings = settings_in_effect(given, data.network_defaults, data.training_defaults)

    from fastmlp.network import network_for, settings_for
    from fastmlp.training import ahead, lr_find
    from fastmlp.training.history import Progress
    from fastmlp.training.plan import make_plan
    from fastmlp.training.rate_curve import summarise
    from fastmlp.training.trainer import Trainer

    lr_find.check_optimizer(training_settings.optimizer)
    network = network_for(data, network_settings, training_settings.seed)
    neutral = training_settings.replace(**lr_find.NEUTRAL)
    with ahead.Ahead() as helping, compile_notes(output) as display:
        helping.expect(ahead.sketch_of(data, network, neutral, evaluates=False))
        plan = make_plan(network, data.x_train, data.y_train, neutral, sample_weight=data.sample_weight, groups=data.groups)
        trainer = Trainer(plan)
        trainer.prepare(validates=False)
        helping.finish()
        rates = lr_find.learning_rates(lowest, highest, lr_find.steps_of(trainer) if steps is None else steps)
        display.clear()
        output.note(f"{describe(data, trainer)}; {len(rates):,} steps with rates from {lowest:g} to {highest:g}")
        began = time.perf_counter()

        def draw(tried: "Tried") -> None:
            rows, of = (count * trainer.batch_size for count in (tried.step, len(rates)))
            display.epoch(Progress(1, 1, rows, of, time.perf_counter() - began, tried.mean_loss))

        found = summarise(lr_find.sweep(trainer, rates, draw), len(rates))
    _show(output, found, plot == TERMINAL)
    if plot is not None and plot != TERMINAL:
        marks = {"falls fastest": found.steepest, "smallest": found.smallest, "suggestion": found.suggestion}
        known = {name: rate for name, rate in marks.items() if rate is not None}
        shown = f"training loss ({trainer.settings.loss})"
        write_atomically(plot, plots.rate_sweep(found.learning_rates, found.losses, found.smoothed, known, plot.suffix, loss=shown))
        output.result(f"figure {plot}")
    settings = {
        "network": settings_for(data, network_settings).to_dict(),
        "train": {**plan.settings.to_dict(), "learning_rate": None},
    }
    return {
        "dataset": data.name,
        "sizes": network.sizes,
        "settings": settings,
        **found._asdict(),
        "plot": None if plot == TERMINAL else plot,
        "seconds": {"sweep": time.perf_counter() - began, "total": time.perf_counter() - started},
        "threads": trainer.threads,
    }


def _show(output: Output, found: "LearningRateFinderResult", in_terminal: bool) -> None:
    """Print what was found."""
    taken = len(found.learning_rates)
    chosen = sorted({round(place * (taken - 1) / (ROWS - 1)) for place in range(ROWS)}) if taken else []
    rows = [[tables.rate(found.learning_rates[place]), loss(found.smoothed[place])] for place in chosen]
    output.detail(tables.table(["learning rate", "loss"], rows, left=()))
    if in_terminal:
        output.detail(f"\n{terminal.rate_sweep(found.learning_rates.tolist(), found.smoothed.tolist())}\n")
    if found.suggestion is None or found.steepest is None or found.smallest is None:
        output.result("no suggestion: the loss never fell beyond the noise of its batches; try other bounds, or check the network")
        return
    end = f", and explodes at {tables.rate(found.learning_rates[-1])}" if found.stopped == "exploded" else ""
    output.detail(f"the loss falls fastest at {tables.rate(found.steepest)}, is smallest at {tables.rate(found.smallest)}{end}")
    output.result(f"suggestion: --learning-rate {tables.rate(found.suggestion)}")
