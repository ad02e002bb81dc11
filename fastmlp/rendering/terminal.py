"""Learning curves as text, for a look over SSH. Plain characters without colours. Needs plotext, the extra `plots`."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fastmlp.errors import MissingExtra

WIDTH, HEIGHT = 78, 14
MOST_TICKS = 10
MARKERS = {"train": "braille", "validation": "o"}
SIGNS = {"train": "⣀", "validation": "o"}
NAMES = {"train": "training", "validation": "validation"}
# For an encoding that has neither frames nor braille.
ASCII = str.maketrans({"│": "|", "─": "-", **dict.fromkeys("┌┐└┘├┤┬┴┼", "+"), **{chr(0x2800 + dots): "." for dots in range(1, 256)}})


def learning_curves(epochs: Sequence[Mapping[str, Any]], encoding: str | None = None) -> str:
    """Return loss and, where there is one, accuracy over the epochs, of training and validation rows, as lines of at most 78 characters.

    `epochs` are records of training.loop.Epoch. `encoding` is that of the terminal, by default of standard output. Raises MissingExtra
    without plotext.
    """
    panels = [_panel(epochs, "loss", 1.0, "loss"), _panel(epochs, "accuracy", 100.0, "accuracy (%)")]
    text = "\n\n".join(panel for panel in panels if panel)
    try:
        text.encode(encoding or sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return text.translate(ASCII)
    return text


def check_installed() -> None:
    """Raise MissingExtra without plotext: before a training rather than after it."""
    try:
        import plotext
    except ImportError as error:
        raise MissingExtra("--plot: curves in the terminal need plotext; run: pip install 'fastmlp[plots]'") from error
    del plotext


def _panel(epochs: Sequence[Mapping[str, Any]], score: str, scale: float, title: str) -> str:
    """Return one plot; "" where there is nothing to draw."""
    check_installed()
    import plotext

    lines = {rows: [(epoch["epoch"], epoch.get(f"{rows}_{score}")) for epoch in epochs] for rows in NAMES}
    found = {rows: [(x, scale * y) for x, y in points if y is not None and math.isfinite(y)] for rows, points in lines.items()}
    found = {rows: points for rows, points in found.items() if points}
    if not found:
        return ""
    figure = plotext.figure
    figure.clear()  # it is one for the whole process
    try:
        figure.plot_size(WIDTH, HEIGHT)
        figure.theme("colorless")
        for rows, points in found.items():
            line = figure.signal([x for x, _ in points], [y for _, y in points], marker=MARKERS[rows])
            figure.draw(line.lines())
        figure.title(f"{title}: " + ", ".join(f"{SIGNS[rows]} {NAMES[rows]}" for rows in found))  # a legend would cover the beginning
        figure.label("epoch", "x")
        numbers = [epoch["epoch"] for epoch in epochs]
        figure.ruler("x").ticks(numbers[:: -(-len(numbers) // MOST_TICKS)])
        text = plotext.uncolorize(str(figure.build()))
    finally:
        figure.clear()
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
