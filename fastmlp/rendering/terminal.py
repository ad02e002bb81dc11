"""Curves as text, for a look over SSH. Plain characters without colours. Needs plotext, the extra `plots`."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fastmlp.errors import MissingExtra

WIDTH, HEIGHT = 78, 14
MOST_TICKS = 10
MOST_Y_TICKS = 6
MARKERS = {"train": "braille", "validation": "o"}
SIGNS = {"train": "⣀", "validation": "o"}
NAMES = {"train": "training", "validation": "validation"}
# For an encoding that has neither frames nor braille.
ASCII = str.maketrans({"│": "|", "─": "-", **dict.fromkeys("┌┐└┘├┤┬┴┼", "+"), **{chr(0x2800 + dots): "." for dots in range(1, 256)}})


def learning_curves(epochs: Sequence[Mapping[str, Any]], encoding: str | None = None) -> str:
    """Return loss and, where there is one, accuracy over the epochs, of training and validation rows, as lines of at most 78 characters.

    `epochs` are records of training.history.Epoch. `encoding` is that of the terminal, by default of standard output. Raises MissingExtra
    without plotext.
    """
    panels = [_panel(epochs, "loss", 1.0, "loss"), _panel(epochs, "accuracy", 100.0, "accuracy (%)")]
    return _in_encoding("\n\n".join(panel for panel in panels if panel), encoding)


def rate_sweep(rates: Sequence[float], losses: Sequence[float], encoding: str | None = None) -> str:
    """Return losses over learning rates, which stand on a logarithmic axis, as lines of at most 78 characters; "" where there are none.

    What is more than half as high again as the first loss is cut off: how far a loss explodes tells nothing. `encoding` as above.
    """
    ceiling = 1.5 * losses[0] if len(losses) else 0.0
    points = [(math.log10(rate), loss) for rate, loss in zip(rates, losses, strict=True) if loss <= ceiling]
    if not points:
        return ""
    decades = range(math.ceil(points[0][0] - 0.01), math.floor(points[-1][0] + 0.01) + 1)
    ticks = ([float(decade) for decade in decades], [f"{10.0**decade:g}" for decade in decades])
    return _in_encoding(_plot({"train": points}, "mean loss of a batch", "learning rate", ticks), encoding)


def check_installed() -> None:
    """Raise MissingExtra without plotext: before a training rather than after it."""
    try:
        import plotext
    except ImportError as error:
        raise MissingExtra("--plot: curves in the terminal need plotext; run: pip install 'fastmlp[plots]'") from error
    del plotext


def _panel(epochs: Sequence[Mapping[str, Any]], score: str, scale: float, title: str) -> str:
    """Return one plot; "" where there is nothing to draw."""
    lines = {rows: [(one["epoch"], one.get(f"{rows}_{score}")) for one in epochs] for rows in NAMES}
    found = {rows: [(x, scale * y) for x, y in points if y is not None and math.isfinite(y)] for rows, points in lines.items()}
    found = {rows: points for rows, points in found.items() if points}
    if not found:
        return ""
    title += ": " + ", ".join(f"{SIGNS[rows]} {NAMES[rows]}" for rows in found)  # a legend would cover the beginning
    numbers = [one["epoch"] for one in epochs][:: -(-len(epochs) // MOST_TICKS)]
    return _plot(found, title, "epoch", (numbers, [str(number) for number in numbers]))


def _plot(lines: Mapping[str, Sequence[tuple[float, float]]], title: str, label: str, ticks: tuple[Sequence[float], Sequence[str]]) -> str:
    """Return one plot of lines of points, with ticks on the lower axis at these places."""
    check_installed()
    import plotext

    figure = plotext.figure
    figure.clear()  # it is one for the whole process
    try:
        figure.plot_size(WIDTH, HEIGHT)
        figure.theme("colorless")
        for rows, points in lines.items():
            line = figure.signal([x for x, _ in points], [y for _, y in points], marker=MARKERS[rows])
            figure.draw(line.lines())
        figure.title(title)
        figure.label(label, "x")
        figure.ruler("x").ticks(*map(list, ticks))
        figure.ruler("y").ticks(*round_ticks([y for points in lines.values() for _, y in points]))
        text = plotext.uncolorize(str(figure.build()))
    finally:
        figure.clear()
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def round_ticks(values: Sequence[float]) -> tuple[list[float], list[str]]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) between the least and the largest value, at most six, and their texts."""
    low, high = min(values), max(values)
    if not high > low:
        return [low], [f"{low:.6g}"]
    power = math.floor(math.log10((high - low) / MOST_Y_TICKS))
    step, decimals = next(
        (factor * 10.0**exponent, max(0, -exponent))
        for exponent in (power, power + 1)
        for factor in (1, 2, 5)
        if math.floor(high / (factor * 10.0**exponent)) - math.ceil(low / (factor * 10.0**exponent)) < MOST_Y_TICKS
    )
    ticks = [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return ticks, [f"{tick:.{decimals}f}" for tick in ticks]


def _in_encoding(text: str, encoding: str | None) -> str:
    """Return a text in plain characters where the terminal's encoding, by default that of standard output, lacks the others."""
    try:
        text.encode(encoding or sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return text.translate(ASCII)
    return text
