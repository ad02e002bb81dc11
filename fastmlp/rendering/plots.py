"""Figures for print and page: arrays and records in, one PNG, one SVG and one CSV file per figure out, or one picture.

Each function draws one figure, as wide as a column of a journal, and returns a Plot. Colours are those of Okabe and Ito ("Color
Universal Design", 2008), distinguishable for people who are colour-blind; lines differ in dash and marker, too, for prints without colour.
The same input gives the same bytes. Nothing of matplotlib's state outside of a figure is read or changed.
Needs matplotlib, the extra `plots`. Knows no run folder and no page.
"""

import contextlib
import csv
import html
import importlib.util
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastmlp.errors import DataError, MissingExtra
from fastmlp.rendering.output import printable
from fastmlp.storage.atomic import output_error, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]
History = Mapping[str, Sequence[Any]]  # what fastmlp.History.to_dict returns
Cell = str | int | float | None

COLUMN = 3.5  # inches: the width of one column of a two-column page
DOTS_PER_INCH = 300

INK, GRID, PAPER = "#24292f", "#d5d9de", "#ffffff"  # PAPER: letters on a strong colour
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
MARKERS = "os^DvP"

# In a page each colour is a variable of its style sheet, so that a dark page can lighten it.
VARIABLES = {INK: "ink", GRID: "grid", PAPER: "paper", **{colour: f"series-{number}" for number, colour in enumerate(COLOURS, start=1)}}

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.2,
    "text.parse_math": False,  # a class may be called "$"
    "svg.fonttype": "none",
    "svg.hashsalt": "fastmlp",
    "figure.dpi": 100,
}
ROWS = {"train": "training", "validation": "validation"}
SCORES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "validation_metric")
MOST_MARKED_EPOCHS = 30
LONGEST_LABEL = 18
LOG_SPAN = 20  # numbers whose largest is so many times the smallest stand on a logarithmic axis


class Band(NamedTuple):
    """Several runs, place by place: arrays (places,), NaN where there is nothing; std (n - 1) is NaN of a single run."""

    mean: Array
    std: Array
    lowest: Array
    highest: Array


class Series(NamedTuple):
    """One line of a figure: its name, over how many runs, and each score over the epochs."""

    name: str
    runs: int
    scores: Mapping[str, Band]


class Plot(NamedTuple):
    """One figure: what it is called, what it says, its SVG text for a page, its data as CSV, and its files (PNG, SVG, CSV)."""

    name: str
    title: str
    caption: str
    svg: str
    csv: str
    paths: tuple[Path, Path, Path]


def band(values: Sequence[Sequence[float | None]]) -> Band:
    """Return mean, standard deviation and extremes per place of several runs, which may differ in length; None is no value."""
    places = max(map(len, values), default=0)
    grid = np.full((len(values), places), np.nan)
    for row, run in zip(grid, values, strict=True):
        row[: len(run)] = [np.nan if value is None else value for value in run]
    present = np.isfinite(grid)
    count = present.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, grid, 0.0).sum(axis=0) / count
        squares = np.where(present, (grid - mean) ** 2, 0.0).sum(axis=0)
        std = np.sqrt(squares / np.where(count > 1, count - 1, np.nan))
    low, high = np.where(present, grid, np.inf).min(axis=0), np.where(present, grid, -np.inf).max(axis=0)
    return Band(mean, std, np.where(count > 0, low, np.nan), np.where(count > 0, high, np.nan))


def series_of(name: str, histories: Sequence[History]) -> Series:
    """Return the epochs of several runs as one series; records of {field: [value per epoch]}, as History.to_dict gives them."""
    return Series(name, len(histories), {score: band([history.get(score, ()) for history in histories]) for score in SCORES})


def learning_curves(
    series: Series,
    folder: Path,
    *,
    name: str = "curves",
    title: str = "Learning curves",
    loss: str = "loss",
    over: str = "runs with different seeds",
) -> Plot:
    """Draw loss and accuracy of training and validation over the epochs, with a band of one standard deviation over several runs.

    `loss` names the loss and its unit, `over` says what several runs differ in. Accuracy has a panel where there is one, validation a
    line. Raises DataError without an epoch.
    """
    panels = [("loss", loss, 1.0), ("accuracy", "accuracy (%)", 100.0)]
    panels = [panel for panel in panels if any(_has(series, f"{rows}_{panel[0]}") for rows in ROWS)]
    if not panels:
        raise DataError("curves: expected at least one run with an epoch, got none; train for one epoch or more")
    scores = [f"{rows}_{panel[0]}" for panel in panels for rows in ROWS if _has(series, f"{rows}_{panel[0]}")]
    epochs = max(len(series.scores[score].mean) for score in scores)
    with _figure(COLUMN, 0.35 + 1.55 * len(panels)) as figure:
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (what, label, scale) in zip(axes, panels, strict=True):
            for number, (rows, called) in enumerate(ROWS.items()):
                if f"{rows}_{what}" in scores:
                    _line(axis, series.scores[f"{rows}_{what}"], scale, number, called)
            axis.set_ylabel(label)
        axes[0].legend()
        _epoch_axis(axes[-1], epochs)
    what_lines = "One run" if series.runs == 1 else f"Mean and standard deviation (band) of {series.runs} {over}"
    caption = f"{what_lines}. Training: mean over the epoch, each batch before its update"
    caption += "; validation: held-out rows, after the epoch." if any(score.startswith("validation") for score in scores) else "."
    heading = ["epoch", *(f"{score}_{what}" if series.runs > 1 else score for score in scores for what in _kept(series.runs))]
    columns = [getattr(series.scores[score], what) for score in scores for what in _kept(series.runs)]
    table = [[place, *map(_number, values)] for place, values in enumerate(zip(*columns, strict=True), start=1)]
    return _save(figure, folder, name, title, caption, heading, table)


def compared_curves(
    groups: Sequence[Series],
    folder: Path,
    *,
    score: str = "validation_accuracy",
    name: str = "settings",
    title: str = "Settings over epochs",
    loss: str = "loss",
) -> Plot:
    """Draw one score over the epochs, one line with its band per series.

    At most six are drawn, the first ones: more cannot be distinguished. Raises DataError where none has an epoch with that score.
    """
    found = [series for series in groups if _has(series, score)]
    if not found:
        raise DataError(f"curves: expected at least one run with {score}, got none; train for one epoch or more")
    drawn = found[: len(COLOURS)]
    rows, _, what = score.partition("_")
    scale, label = (100.0, f"{ROWS[rows]} accuracy (%)") if what == "accuracy" else (1.0, f"{ROWS[rows]} {loss}")
    with _figure(COLUMN, 2.1 + 0.17 * len(drawn)) as figure:
        axis = figure.subplots()
        for number, series in enumerate(drawn):
            _line(axis, series.scores[score], scale, number, _short(series.name, 44))
        axis.set_ylabel(label)
        _epoch_axis(axis, max(len(series.scores[score].mean) for series in drawn))
        figure.legend(loc="outside upper left", alignment="left")
    runs = sorted({series.runs for series in drawn})
    many = "–".join(map(str, (runs[0], runs[-1])[: len(runs)]))
    each = "one run each" if runs == [1] else f"mean and standard deviation (band) of {many} runs"
    left_out = f" {len(found) - len(drawn)} more are in the data." if len(found) > len(drawn) else ""
    heading = ["series", "epoch", *(f"{score}_{part}" for part in Band._fields)]
    table: list[list[Cell]] = [
        [series.name, place, *map(_number, values)]
        for series in found
        for place, values in enumerate(zip(*series.scores[score], strict=True), start=1)
    ]
    return _save(figure, folder, name, title, f"{ROWS[rows].capitalize()} {what}: {each}.{left_out}", heading, table)


def compared_sweeps(
    setting: str,
    values: Sequence[float],
    groups: Mapping[str, Band],
    folder: Path,
    *,
    score: str = "validation accuracy (%)",
    name: str = "sweeps",
    title: str = "Sweep",
) -> Plot:
    """Draw a score for each value of a setting, one line with bars of one standard deviation per group (at most six)."""
    places = np.asarray(values, np.float64)
    with _figure(COLUMN, 2.3 + 0.17 * len(groups)) as figure:
        axis = figure.subplots()
        for number, (label, found) in enumerate(list(groups.items())[: len(COLOURS)]):
            axis.errorbar(places, found.mean, yerr=np.nan_to_num(found.std), color=COLOURS[number], linestyle=DASHES[number],
                          marker=MARKERS[number], markersize=4, capsize=2.5, elinewidth=1.0, label=_short(label, 44))  # fmt: skip
        log = _choose_scale(axis, places)
        axis.set_xlabel(setting.replace("_", " ") + log)
        axis.set_ylabel(score)
        figure.legend(loc="outside upper left", alignment="left")
    table: list[list[Cell]] = [
        [label, float(value), *map(_number, row)]
        for label, found in groups.items()
        for value, row in zip(values, zip(*found, strict=True), strict=True)
    ]
    caption = "Means over runs with different seeds, with one standard deviation."
    return _save(figure, folder, name, title, caption, ["series", setting, *Band._fields], table)


def sweep(
    setting: str,
    values: Sequence[Any],
    scores: Sequence[Sequence[float]],
    folder: Path,
    *,
    score: str = "validation accuracy (%)",
    higher_is_better: bool = True,
    marks_best: bool = True,
    name: str = "sweep",
    title: str = "Sweep",
) -> Plot:
    """Draw a score for each value of a setting: every run as a dot, the mean with a bar of one standard deviation; the best filled.

    `values` are numbers, drawn along an axis (logarithmic where they span a factor of 20), or names, drawn as rows; `scores` are the
    scores of the runs with each value, none where all diverged. Raises DataError where there is no score at all.
    """
    kept = [(value, np.asarray(runs, np.float64)) for value, runs in zip(values, scores, strict=True) if len(runs)]
    if not kept:
        raise DataError("scores: expected the score of at least one run, got none; every run may have diverged")
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value, _ in kept) and len({v for v, _ in kept}) > 1
    if numeric:
        kept.sort(key=lambda each: float(each[0]))
    means = np.array([runs.mean() for _, runs in kept])
    stds = np.array([runs.std(ddof=1) if len(runs) > 1 else 0.0 for _, runs in kept])
    best = int(means.argmax() if higher_is_better else means.argmin())
    places = np.array([float(value) for value, _ in kept]) if numeric else -np.arange(len(kept), dtype=np.float64)
    with _figure(COLUMN, 2.4 if numeric else 0.6 + 0.26 * len(kept)) as figure:
        axis = figure.subplots()
        for number, (place, (_, runs)) in enumerate(zip(places, kept, strict=True)):
            dots = (np.full(len(runs), place), runs)
            axis.plot(*(dots if numeric else dots[::-1]), "o", color=SKY, markersize=2.6, alpha=0.65, markeredgewidth=0, zorder=2)
            bar = {"yerr" if numeric else "xerr": stds[number]} if len(runs) > 1 else {}
            point = (place, means[number]) if numeric else (means[number], place)
            fill = BLUE if number == best and marks_best else "none"
            axis.errorbar(*point, **bar, fmt="o", color=BLUE, markerfacecolor=fill, markersize=5, capsize=2.5, elinewidth=1.1, zorder=3)
        if numeric:
            axis.plot(places, means, "-", color=BLUE, linewidth=0.8, alpha=0.5, zorder=1)
            axis.set_xlabel(setting.replace("_", " ") + _choose_scale(axis, places))
            axis.set_ylabel(score)
        else:
            axis.set_yticks(places, [_short(str(value), 40) for value, _ in kept])
            axis.set_ylim(places.min() - 0.6, 0.6)
            axis.grid(axis="y", visible=False)
            axis.grid(axis="x", visible=True)
            axis.tick_params(axis="y", length=0)
            axis.spines["left"].set_visible(False)
            axis.set_xlabel(score)
    several = max(len(runs) for _, runs in kept) > 1
    what = (
        "Dots: runs with different seeds; circles: their mean, with one standard deviation"
        if several
        else f"One run for each {setting.replace('_', ' ')}"
    )
    caption = f"{what}." + (f" Filled: the best, {_short(str(kept[best][0]), 60)}." if marks_best else "")
    heading = [setting, "mean", "std", "n", "runs"]
    table: list[list[Cell]] = [
        [str(value), float(mean), float(std) if len(runs) > 1 else None, len(runs), " ".join(map(repr, runs.tolist()))]
        for (value, runs), mean, std in zip(kept, means, stds, strict=True)
    ]
    return _save(figure, folder, name, title, caption, heading, table)


def rate_sweep(
    rates: Array,
    losses: Array,
    smoothed: Array,
    marks: Mapping[str, float],
    kind: str,
    *,
    loss: str = "loss",
    title: str = "Learning rates",
) -> bytes:
    """Return a picture, ".png" or ".svg", of the loss of each step of a sweep of learning rates (n,), and of its course without noise.

    `marks` are named rates, the last of them the one that counts. What is more than half as high again as the first loss is cut off: how
    far a loss explodes tells nothing. Raises DataError without a step.
    """
    if not len(rates):
        raise DataError("rates: expected at least one step with a finite loss, got none; the network may be broken")
    rates, losses, smoothed = (np.asarray(each, np.float64) for each in (rates, losses, smoothed))
    with _figure(COLUMN, 2.4) as figure:
        axis = figure.subplots()
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.plot(rates, losses, "-", color=SKY, linewidth=0.4, alpha=0.7, label="each batch")
        axis.plot(rates, smoothed, "-", color=BLUE, linewidth=1.2, label="smoothed")
        height = 1.5 * smoothed[0]
        lowest = min(float(smoothed.min()), float(np.quantile(losses, 0.05)))
        axis.set_ylim(lowest - 0.08 * (height - lowest), height)
        for number, (label, rate) in enumerate(marks.items()):
            strong = number == len(marks) - 1
            axis.axvline(rate, color=VERMILION if strong else INK, linestyle="-" if strong else DASHES[number + 2],
                         linewidth=1.2 if strong else 0.8, label=f"{label} {rate:.2g}")  # fmt: skip
        axis.set_xlabel("learning rate")
        axis.set_ylabel(loss)
        figure.legend(loc="outside upper left", ncols=2, alignment="left")
    return _png(figure) if kind == ".png" else _svg(figure, title).encode()


def class_distribution(
    counts: Mapping[str, Sequence[int]],
    class_names: Sequence[str],
    folder: Path,
    *,
    name: str = "classes",
    title: str = "Class distribution",
) -> Plot:
    """Draw how many rows each class has; `counts` are {"training": [rows per class], "test": ...}, one bar for each of them."""
    places, width = np.arange(len(class_names)), 0.8 / len(counts)
    with _figure(COLUMN, 0.8 + (0.13 + 0.13 * len(counts)) * len(class_names)) as figure:
        axis = figure.subplots()
        for number, (rows, found) in enumerate(counts.items()):
            offset = (number - (len(counts) - 1) / 2) * width
            bars = axis.barh(places + offset, found, height=0.9 * width, color=COLOURS[number], label=f"{rows} rows")
            total = sum(found) or 1
            axis.bar_label(bars, [f"{count:,} ({100 * count / total:.1f} %)" for count in found], padding=2, fontsize=7)
        axis.set_yticks(places, [_short(each) for each in class_names])
        axis.invert_yaxis()
        axis.margins(x=0.32, y=0.02)
        axis.set_xlabel("rows")
        axis.grid(axis="y", visible=False)
        axis.grid(axis="x", visible=True)
        axis.tick_params(axis="y", length=0)
        axis.locator_params(axis="x", nbins=4)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        if len(counts) > 1:
            figure.legend(loc="outside upper left", ncols=len(counts))
    table: list[list[Cell]] = [[each, *(found[number] for found in counts.values())] for number, each in enumerate(class_names)]
    caption = "Rows of each class, and their share."
    return _save(figure, folder, name, title, caption, ["class", *counts], table)


def decision_boundary(
    x: Array,
    y: Array,
    first: Array,
    second: Array,
    probability: Array,
    class_names: Sequence[str],
    folder: Path,
    *,
    truth: Array | None = None,
    most_points: int = 1500,
    name: str = "boundary",
    title: str = "Decision boundary",
) -> Plot:
    """Draw the decision boundary of a network of two inputs between two classes, over points of both.

    x (n, 2) points, y (n,) their classes 0 or 1, of which at most `most_points` are shown; first (A,) and second (B,) the grid on which
    probability (B, A) of class 1 is known; truth (B, A): what is positive exactly where class 1 is right, where that is known.
    """
    chosen = np.linspace(0, len(x) - 1, min(len(x), most_points)).astype(np.int64)
    with _figure(COLUMN, 3.5) as figure:
        axis = figure.subplots()
        axis.contourf(first, second, probability, levels=[-1.0, 0.5, 2.0], colors=[BLUE, VERMILION], alpha=0.16)
        for number, colour in enumerate((BLUE, VERMILION)):
            points = x[chosen][y[chosen] == number]
            axis.plot(points[:, 0], points[:, 1], MARKERS[number], color=colour, markersize=1.7, markeredgewidth=0, alpha=0.75,
                      rasterized=True, label=_short(class_names[number]))  # fmt: skip
        if truth is not None and (truth > 0).any() and (truth <= 0).any():
            axis.contour(first, second, truth, levels=[0.0], colors=[INK], linewidths=1.0, linestyles="--")
            axis.plot([], [], "--", color=INK, linewidth=1.0, label="true boundary")
        if probability.min() < 0.5 < probability.max():
            axis.contour(first, second, probability, levels=[0.5], colors=[INK], linewidths=1.6)
            axis.plot([], [], "-", color=INK, linewidth=1.6, label="network")
        axis.set_xlim(first[0], first[-1])
        axis.set_ylim(second[0], second[-1])
        axis.set_aspect("equal")
        axis.grid(visible=False)
        axis.set_xlabel("input 1")
        axis.set_ylabel("input 2")
        figure.legend(loc="outside upper center", ncols=2, markerscale=2.5)
    seen = f"{len(chosen):,} of {len(x):,} points" if len(chosen) < len(x) else f"{len(x):,} points"
    caption = f"{seen}, coloured by their class; the plane is tinted by the class that the network finds more probable."
    table: list[list[Cell]] = [
        [float(a), float(b), round(float(probability[row, column]), 6)] for row, b in enumerate(second) for column, a in enumerate(first)
    ]
    return _save(figure, folder, name, title, caption, ["input_1", "input_2", "probability_of_class_1"], table)


def confusion_matrix(
    counts: Array, class_names: Sequence[str], folder: Path, *, rows: str = "rows", name: str = "confusion", title: str = "Confusion matrix"
) -> Plot:
    """Draw counts (C, C), one row per true class, one column per predicted class; `rows` says which rows were counted.

    Right answers are tinted by the fraction of their row that they hold, mistakes among themselves, so that the worst confusion stands out.
    """
    counts = np.asarray(counts)
    classes = len(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = share - np.diag(np.diag(share))
    worst = wrong.max() or 1.0
    labels = [_short(each, 12) for each in class_names]
    side = max(2.0, min(0.275 * classes + 0.8, COLUMN))
    size = 6.5 if classes <= 10 else max(2.5, 65 / classes)
    with _figure(COLUMN, side + 0.1) as figure:
        from matplotlib.patches import Rectangle

        axis = figure.subplots()
        for row in range(classes):
            for column in range(classes):
                right = row == column
                strength = 0.12 + 0.75 * share[row, column] ** 2 if right else 0.85 * wrong[row, column] / worst
                if counts[row, column] == 0:
                    continue
                colour = BLUE if right else VERMILION
                axis.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, alpha=float(strength), linewidth=0))
                axis.text(column, row, str(counts[row, column]), ha="center", va="center_baseline", fontsize=size,
                          color=PAPER if strength > 0.55 else INK)  # fmt: skip
        axis.set_xlim(-0.5, classes - 0.5)
        axis.set_ylim(classes - 0.5, -0.5)
        axis.set_aspect("equal")
        axis.grid(visible=False)
        long = max(map(len, labels)) > 3
        axis.set_xticks(range(classes), labels, rotation=45 if long else 0, ha="right" if long else "center", rotation_mode="anchor")
        axis.set_yticks(range(classes), labels)
        axis.tick_params(length=0, labelsize=size + 0.5)
        for spine in axis.spines.values():
            spine.set_visible(False)
        axis.set_xlabel("predicted class")
        axis.set_ylabel("true class")
    total = int(counts.sum())
    right_answers = int(np.trace(counts))
    caption = (
        f"{total:,} {rows}, {right_answers:,} of them right. "
        "Blue: right answers; orange: mistakes, the stronger the colour the more frequent."
    )
    table: list[list[Cell]] = [[each, *map(int, line)] for each, line in zip(class_names, counts, strict=True)]
    return _save(figure, folder, name, title, caption, ["true class", *class_names], table)


def mistakes(
    images: Array,
    numbers: Sequence[int],
    truth: Sequence[int],
    predicted: Sequence[int],
    probability: Sequence[float],
    class_names: Sequence[str],
    folder: Path,
    *,
    caption: str,
    columns: int = 4,
    name: str = "mistakes",
    title: str = "Most confident mistakes",
) -> Plot:
    """Draw images (n, height, width), each with what it is, what the network took it for, and how probable it found that.

    `numbers` are their row numbers, for the CSV file; `caption` says how they were chosen.
    """
    images = np.asarray(images)
    rows = -(-len(images) // columns)
    long = any(len(class_names[right]) + len(class_names[wrong]) > 10 for right, wrong in zip(truth, predicted, strict=True))
    with _figure(COLUMN, (1.16 if long else 1.06) * rows) as figure:
        for number, axis in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
            axis.set_axis_off()
            if number < len(images):
                axis.imshow(images[number], cmap="gray_r", interpolation="none")
                names = _short(class_names[truth[number]], 14), _short(class_names[predicted[number]], 12)
                said = ("\n→ " if long else " → ").join(names)
                axis.set_title(f"{said}\n{100 * probability[number]:.1f} %", fontsize=6.5, pad=2, linespacing=1.25)
    table: list[list[Cell]] = [
        [int(number), class_names[right], class_names[wrong], float(share)]
        for number, right, wrong, share in zip(numbers, truth, predicted, probability, strict=True)
    ]
    return _save(figure, folder, name, title, caption, ["row", "true class", "predicted class", "probability"], table)


def first_layer_weights(
    weight: Array,
    image_shape: tuple[int, int],
    folder: Path,
    *,
    most: int = 48,
    columns: int = 8,
    name: str = "weights",
    title: str = "First-layer weights",
) -> Plot:
    """Draw the weights (K, N) of the first layer as one image per unit, those with the largest norm first, all on one scale of colour.

    The scale ends at the 99.5th percentile of the absolute weights shown, so that a single one does not fade all others.
    """
    height, width = image_shape
    norms = np.sqrt((np.asarray(weight, np.float64) ** 2).sum(axis=0))
    units = np.argsort(-norms, kind="stable")[:most]
    columns = min(columns, len(units))
    rows = -(-len(units) // columns)
    gap = 2
    mosaic = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for place, unit in enumerate(units):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        mosaic[top : top + height, left : left + width] = np.asarray(weight[:, unit], np.float64).reshape(image_shape)
    limit = float(np.quantile(np.abs(weight[:, units]), 0.995)) or 1.0
    with _figure(COLUMN, (COLUMN - 0.6) * mosaic.shape[0] / mosaic.shape[1] + 0.2) as figure:
        axis = figure.subplots()
        axis.set_axis_off()
        shown = axis.imshow(mosaic, cmap="RdBu", vmin=-limit, vmax=limit, interpolation="none")
        bar = figure.colorbar(shown, ax=axis, fraction=0.05, pad=0.02, aspect=30)
        bar.set_label("weight")
        bar.outline.set_linewidth(0.4)
        bar.ax.grid(visible=False)
        bar.ax.tick_params(width=0.4, length=2)
    which = f"the {len(units)} with the largest norm of {weight.shape[1]}" if len(units) < weight.shape[1] else f"all {len(units)}"
    caption = f"One image per hidden unit, {which}: blue pixels excite it, red ones inhibit it."
    table: list[list[Cell]] = [[int(unit), *(f"{value:.6g}" for value in weight[:, unit])] for unit in units]
    return _save(figure, folder, name, title, caption, ["unit", *(f"w{k}" for k in range(height * width))], table)


def timing(
    labels: Sequence[str],
    seconds: Sequence[Sequence[float]],
    folder: Path,
    *,
    what: str = "seconds",
    name: str = "timing",
    title: str = "Time",
) -> Plot:
    """Draw how long each of several things took: a bar to the median of its times, and a line from the shortest to the longest.

    `seconds` has the times of each label, at least one; `what` names the axis, its unit included.
    """
    times = [np.asarray(each, np.float64) for each in seconds]
    medians = np.array([np.median(each) for each in times])
    reach = np.array([[np.median(each) - each.min(), each.max() - np.median(each)] for each in times]).T
    places = np.arange(len(labels))
    several = any(len(each) > 1 for each in times)
    with _figure(COLUMN, 0.6 + 0.27 * len(labels)) as figure:
        axis = figure.subplots()
        axis.barh(places, medians, height=0.62, color=BLUE, alpha=0.85, xerr=reach if several else None,
                  error_kw={"elinewidth": 1.0, "capsize": 2, "ecolor": INK})  # fmt: skip
        for place, median, longest in zip(places, medians, medians + reach[1], strict=True):
            axis.annotate(f"{median:.3g}", (longest, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
        axis.set_yticks(places, [_short(label, 40) for label in labels])
        axis.invert_yaxis()
        axis.margins(x=0.14)
        axis.set_xlim(left=0)
        axis.grid(axis="y", visible=False)
        axis.grid(axis="x", visible=True)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel(what)
    caption = "Bars: medians; lines: from the shortest to the longest." if several else "One time each."
    table: list[list[Cell]] = [
        [label, float(median), float(each.min()), float(each.max()), len(each)]
        for label, median, each in zip(labels, medians, times, strict=True)
    ]
    return _save(figure, folder, name, title, caption, ["what", "median", "shortest", "longest", "n"], table)


def _line(axis: "Axes", found: Band, scale: float, number: int, label: str) -> None:
    """Draw one line over the epochs, with its band where it has one."""
    epochs = np.arange(1, len(found.mean) + 1)
    mean, std = scale * found.mean, scale * found.std
    colour = COLOURS[number]
    marker = MARKERS[number] if len(epochs) <= MOST_MARKED_EPOCHS else ""
    axis.plot(epochs, mean, color=colour, linestyle=DASHES[number], marker=marker, markeredgewidth=0, label=label)
    if len(epochs) == 1 and np.isfinite(std).all():
        axis.errorbar(epochs, mean, yerr=std, color=colour, capsize=2.5, elinewidth=1.0)
    elif np.isfinite(std).any():
        axis.fill_between(epochs, mean - std, mean + std, color=colour, alpha=0.22, linewidth=0)


def _epoch_axis(axis: "Axes", epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    if epochs == 1:
        axis.set_xlim(0.5, 1.5)


def _choose_scale(axis: "Axes", places: Array) -> str:
    """Make the axis logarithmic where numbers span much, put ticks at them (at eight of many); return what its label has to add."""
    from matplotlib.ticker import NullLocator

    log = bool(places.min() > 0) and places.max() / places.min() >= LOG_SPAN
    if log:
        axis.set_xscale("log")
    chosen = places if len(places) <= 8 else places[np.linspace(0, len(places) - 1, 8).astype(int)]
    labels = [f"{place:g}" for place in chosen]
    crowded = sum(map(len, labels)) > 32
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(chosen, labels, rotation=45 if crowded else 0, ha="right" if crowded else "center", rotation_mode="anchor")
    return " (logarithmic axis)" if log else ""


def _has(series: Series, score: str) -> bool:
    return score in series.scores and bool(np.isfinite(series.scores[score].mean).any())


def _kept(runs: int) -> tuple[str, ...]:
    """Return which parts of a band are worth a column: of a single run the mean is all there is."""
    return Band._fields if runs > 1 else ("mean",)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _clean(text: str) -> str:
    """Return a text on one line without what XML cannot hold."""
    return " ".join(printable(text.encode("utf-8", "backslashreplace").decode()).split())


def _short(text: str, most: int = LONGEST_LABEL) -> str:
    """Return a label that fits on one line."""
    text = _clean(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def check_installed() -> None:
    """Raise MissingExtra without matplotlib: before a training rather than after it."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("--plot: drawing needs matplotlib; run: pip install 'fastmlp[plots]', or draw in the terminal: --plot -")


@contextlib.contextmanager
def _figure(width: float, height: float) -> "Iterator[Figure]":
    """Give a figure of so many inches to draw on; its style holds for the block, and for `_save` after it."""
    try:
        import matplotlib.style
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plots: drawing needs matplotlib; run: pip install 'fastmlp[plots]'") from error
    with matplotlib.style.context(["default", STYLE]):
        yield Figure(figsize=(width, height), layout="constrained")


def _save(
    figure: "Figure", folder: Path, name: str, title: str, caption: str, heading: Sequence[str], table: Sequence[Sequence[Cell]]
) -> Plot:
    """Write a figure as PNG and SVG, its data as CSV, and return all that a page needs."""
    title, caption = _clean(title), _clean(caption)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    png, svg = _png(figure), _svg(figure, title)
    text = _csv(heading, table)
    paths = (folder / f"{name}.png", folder / f"{name}.svg", folder / f"{name}.csv")
    for path, content in zip(paths, (png, svg.encode(), text.encode()), strict=True):
        write_atomically(path, content)
    return Plot(name, title, caption, _for_page(svg, name, f"{title}. {caption}"), text, paths)


@contextlib.contextmanager
def _saving() -> Iterator[None]:
    """Hold the style while a figure becomes a file."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a class name in a script that the font lacks
        yield


def _png(figure: "Figure") -> bytes:
    png = io.BytesIO()
    with _saving():
        figure.savefig(png, format="png", dpi=DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
    return png.getvalue()


def _svg(figure: "Figure", title: str) -> str:
    svg = io.StringIO()
    with _saving():
        figure.savefig(svg, format="svg", dpi=DOTS_PER_INCH, transparent=True, metadata={"Date": None, "Creator": None, "Title": title})
    return svg.getvalue()


def _csv(heading: Sequence[str], table: Sequence[Sequence[Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(table)
    return text.getvalue().encode("utf-8", "backslashreplace").decode()  # half a character cannot be written


def _for_page(svg: str, name: str, description: str) -> str:
    """Return an SVG element that can stand in a page beside others: ids of its own, colours of the page, a text for who cannot see it."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', element)
    element = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', element)
    element = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", element)
    for colour, variable in VARIABLES.items():
        element = element.replace(f": {colour}", f": var(--{variable}, {colour})")
    label = html.escape(description, quote=True)
    return re.sub(r'^<svg ([^>]*?)width="[^"]+" height="[^"]+"', rf'<svg role="img" aria-label="{_literal(label)}" \1', element, count=1)


def _literal(text: str) -> str:
    """Return a text that `re.sub` puts in as it is."""
    return text.replace("\\", r"\\")
