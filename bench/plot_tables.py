"""Draw what bench/tables.py measured.

    python bench/plot_tables.py [FILE.jsonl [FILE.svg]]

Each method is a point: its mean place among all methods, over the tables (1: the best on each of them), against the geometric mean of its
seconds to fit, those of the processor where they were recorded. Only tables that all methods have count. One file without fonts or scripts
of its own, for docs/tables.md.
"""

import html
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 520, 400
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 16, 48
OURS, OTHERS = "#b5179e", "#3f5873"
GAP, LINE, LETTER, RADIUS = 10, 15, 7.4, 6  # from a point to its name; height of a line and width of a letter; of a point

Box = tuple[float, float, float, float]  # left, top, right, bottom


class Point(NamedTuple):
    """A method in the plane."""

    method: str
    seconds: float
    place: float


def points(lines: Sequence[Mapping[str, object]]) -> list[Point]:
    """Return the methods of some lines of the file."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        found[str(line["table"])][str(line["method"])].append((float(str(line["score"])), float(str(line.get("cpu", line["fit"])))))
    methods = {method for table in found.values() for method in table}
    complete = [table for table in found.values() if set(table) == methods]
    places: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    for table in complete:
        means = {method: round(statistics.mean(score for score, _ in runs), 4) for method, runs in table.items()}
        for method, runs in table.items():
            better, equal = (sum(compare(other, means[method]) for other in means.values()) for compare in (float.__gt__, float.__eq__))
            places[method].append(better + (equal + 1) / 2)  # equal ones share their places
            seconds[method].append(max(statistics.median(fit for _, fit in runs), 0.01))
    return [Point(method, statistics.geometric_mean(seconds[method]), statistics.mean(places[method])) for method in sorted(methods)]


def drawn(found: Sequence[Point]) -> str:
    """Return a picture of methods as SVG."""
    low, high = math.floor(math.log10(min(each.seconds for each in found))), math.ceil(math.log10(max(each.seconds for each in found)))
    lowest, highest = 1, math.ceil(max(each.place for each in found))

    def across(seconds: float) -> float:
        return LEFT + (math.log10(seconds) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def down(place: float) -> float:
        return TOP + (place - lowest) / (highest - lowest) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="13" fill="#1b2733">',
        "<title>Mean place of each method on the development tables against its seconds to fit</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for power in range(low, high + 1):
        x = across(10.0**power)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#d8dee6"/>')
        end = "middle" if power < high else "end"
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + LINE + 2}" text-anchor="{end}">{10.0**power:g} s</text>')
    for place in range(lowest, highest + 1):
        y = down(place)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#eef1f5"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{place}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">mean place (1: the best)</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">seconds to fit, geometric mean of the tables</text>'
    )
    places = [(across(each.seconds), down(each.place)) for each in found]
    taken = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in places]
    for each, (x, y) in sorted(zip(found, places, strict=True), key=lambda one: one[0].place):
        color = OURS if each.method.startswith("fastmlp") else OTHERS
        left, top = free(x, y, LETTER * len(each.method), taken)
        taken.append((left, top, left + LETTER * len(each.method), top + LINE))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" fill="{color}"/>')
        weight = ' font-weight="bold"' if color == OURS else ""
        parts.append(f'<text x="{left:.1f}" y="{top + LINE - 4:.1f}" fill="{color}"{weight}>{html.escape(each.method)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def meets(one: Box, other: Box) -> bool:
    """Return whether two boxes lie over each other."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def free(x: float, y: float, length: float, taken: Sequence[Box]) -> tuple[float, float]:
    """Return left and top of a name beside a point, where nothing else is: at its right, its left, below, above, then further off."""
    for far in range(0, 5 * LINE, 4):
        for left, top in (
            (x + GAP, y - LINE / 2 + far),
            (x - GAP - length, y - LINE / 2 + far),
            (x - RADIUS, y + RADIUS + far),
            (x - RADIUS, y - RADIUS - LINE - far),
        ):
            inside = LEFT <= left and left + length <= WIDTH - RIGHT and TOP <= top and top + LINE <= HEIGHT - BOTTOM
            if inside and not any(meets((left, top, left + length, top + LINE), other) for other in taken):
                return left, top
    return x + GAP, y - LINE / 2


def main(arguments: Sequence[str]) -> int:
    """Draw a file of lines into another."""
    source, to = (*map(Path, arguments), *(ROOT / "bench/results/tables.jsonl", ROOT / "docs/tables.svg")[len(arguments) :])
    lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    to.write_text(drawn(points(lines)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
