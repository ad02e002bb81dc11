"""Ladders -> charts: bars of time on a logarithmic scale, and the roofline. As a picture, or as text for the terminal."""

import importlib.util
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fastmlp.benchmark.ladder import Ladder, Row
from fastmlp.errors import MissingExtra
from fastmlp.rendering.benchmark import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HINT = "pip install 'fastmlp[plots]'"
RUNG_COLOUR, FRAMEWORK_COLOUR = "#2166ac", "#b2ab9f"
MARKERS = "osD^vP"
DECADE = 8


class Bar(NamedTuple):
    """One bar: what it shows, seconds of one unit, whether it is a rung of ours or stands beside the ladder."""

    label: str
    seconds: float
    is_rung: bool


def require() -> None:
    """Raise MissingExtra where matplotlib is not installed: better before a measurement than after it."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra(f"--plot: expected matplotlib to be installed, found none; {HINT}, or draw in the terminal: --plot -")


def bars(ladder: Ladder, operation: str) -> list[Bar]:
    """Return the rows that count, in the order of the ladder."""
    return [Bar(_label(row), row.median, row.rung.is_rung) for row in _counting(ladder, operation) if row.median is not None]


def picture(ladders: Sequence[Ladder], kind: str) -> bytes:
    """Return a picture (".png" or ".svg"): bars of every operation, then the roofline. Needs matplotlib; see `require`."""
    from matplotlib.figure import Figure

    groups = [(ladder, operation) for ladder in ladders for operation in ladder.scene.operations if bars(ladder, operation)]
    heights = [0.6 + 0.28 * len(bars(*group)) for group in groups]
    figure = Figure(figsize=(9, sum(heights) + 5.2), layout="constrained")
    panels = figure.subplots(len(groups) + 1, 1, height_ratios=[*heights, 5.0], squeeze=False)[:, 0]
    for axes, (ladder, operation) in zip(panels, groups, strict=False):
        _draw_bars(axes, ladder, operation)
    _draw_roofline(panels[-1], ladders)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind.removeprefix("."), dpi=130)
    return buffer.getvalue()


def text(ladders: Sequence[Ladder]) -> str:
    """Return bars for the terminal, DECADE letters for each factor of ten above the shortest time."""
    parts = []
    for ladder in ladders:
        for operation in ladder.scene.operations:
            found = bars(ladder, operation)
            if not found:
                continue
            shortest = min(bar.seconds for bar in found)
            width = max(len(bar.label) for bar in found)
            lines = [f"{_title(ladder, operation)}; {DECADE} letters are a factor of ten"]
            for bar in found:
                length = 1 + round(DECADE * math.log10(bar.seconds / shortest))
                lines.append(f"{bar.label:>{width}}  {('█' if bar.is_rung else '░') * length} {duration(bar.seconds)}")
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _counting(ladder: Ladder, operation: str) -> list[Row]:
    return [row for row in ladder.of(operation) if row.fault is None and row.median is not None]


def _label(row: Row) -> str:
    threads = row.configuration.threads
    return row.rung.title + (f" ({threads} threads)" if threads > 1 else "") + (" ≈" if row.extrapolated else "")


def _title(ladder: Ladder, operation: str) -> str:
    return f"{ladder.scene.title}{': ' + operation if operation else ''}, time per {ladder.scene.unit}"


def _draw_bars(axes: "Axes", ladder: Ladder, operation: str) -> None:
    found = bars(ladder, operation)
    places = range(len(found), 0, -1)
    colours = [RUNG_COLOUR if bar.is_rung else FRAMEWORK_COLOUR for bar in found]
    drawn = axes.barh(places, [bar.seconds for bar in found], color=colours, height=0.7)
    axes.bar_label(drawn, [f" {duration(bar.seconds)}" for bar in found], fontsize=8)
    axes.set_yticks(places, [bar.label for bar in found], fontsize=8)
    axes.set_xscale("log")
    seconds = [bar.seconds for bar in found]
    axes.set_xlim(min(seconds) / 3, max(seconds) * 6)  # room for the bars' own numbers
    axes.set_xlabel("seconds", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title(_title(ladder, operation), fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_roofline(axes: "Axes", ladders: Sequence[Ladder]) -> None:
    peaks = ladders[0].peaks
    points = [
        (ladder.flops() / ladder.traffic(operation), [(row, ladder.flops() / (row.median or 1.0)) for row in _counting(ladder, operation)])
        for ladder in ladders
        for operation in ladder.scene.operations
    ]
    names = [_short_title(ladder, operation) for ladder in ladders for operation in ladder.scene.operations]
    lowest = min((intensity for intensity, _ in points), default=1.0) / 4
    highest = max((intensity for intensity, _ in points), default=1.0) * 6
    counts = [(0, "one core", "--"), (1, f"{peaks.threads} threads", "-")] if peaks.threads > 1 else [(0, "one core", "-")]
    for index, on, style in counts:
        for rates, name, colour in ((peaks.cache_bytes, "second-level cache", "#8073ac"), (peaks.memory_bytes, "memory", "#e08214")):
            knee = peaks.flops[index] / rates[index]
            axes.plot([lowest, knee], [lowest * rates[index], peaks.flops[index]], style, color=colour, lw=1.2, label=f"{name}, {on}")
        first = peaks.flops[index] / peaks.cache_bytes[index]
        axes.plot([min(first, lowest), highest], [peaks.flops[index]] * 2, style, color="black", lw=1.2, label=f"multiply-adds, {on}")
    for number, ((intensity, reached), name) in enumerate(zip(points, names, strict=True)):
        marker: Any = MARKERS[number % len(MARKERS)]
        for is_rung, colour in ((True, RUNG_COLOUR), (False, FRAMEWORK_COLOUR)):
            speeds = [rate for row, rate in reached if row.rung.is_rung == is_rung]
            label = f"{name} ({'rungs' if is_rung else 'frameworks'})"
            if speeds:
                axes.plot([intensity] * len(speeds), speeds, marker, color=colour, ms=5, alpha=0.8, label=label)
    axes.set(xscale="log", yscale="log", xlim=(lowest, highest))
    axes.set_xlabel("operations per byte that has to move", fontsize=8)
    axes.set_ylabel("operations per second", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_title("roofline: what this machine allows, measured in the same run, and what is reached", fontsize=10, loc="left")
    axes.grid(which="major", alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _short_title(ladder: Ladder, operation: str) -> str:
    return f"{ladder.scene.key} {operation}".strip()
