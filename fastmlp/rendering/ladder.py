"""Ladders, scaling, starts and changes -> tables: how much faster each form is, and what the machine could do."""

import math
from collections.abc import Sequence

from fastmlp.benchmark.ladder import Ladder, Row, missing_of
from fastmlp.benchmark.machine_peaks import Peaks
from fastmlp.benchmark.processes import HINT
from fastmlp.benchmark.regressions import Change
from fastmlp.benchmark.scaling import OURS, Point, Scaling, title
from fastmlp.benchmark.startup import Start
from fastmlp.quantities import MISSING, percent
from fastmlp.rendering.benchmark import duration
from fastmlp.rendering.tables import table

SCALED, AS_IF_DENSE = "≈", "*"
COUNTED = {"rows": "number of rows", "threads": "number of threads"}
VOID = 1.05  # a share of the peak that no kernel can have


def ladder(found: Ladder) -> str:
    """Return the rungs of one scene as a table, one part for each operation, with what there is to say about them below."""
    scene = found.scene
    parts = [f"{scene.title}: time per {scene.unit}"]
    headings = ["", "on", "error", "best", "median", "GFLOP/s", "of peak", "GB/s", "× lists", "× last"]
    for operation in scene.operations:
        rows = [row for row in found.of(operation) if not _is_absent(row)]
        heading = [operation or scene.unit, *headings[1:]]
        parts.append(table(heading, (_row(found, row) for row in rows)))
    parts += _notes(found)
    return "\n\n".join(parts)


def peaks(found: Peaks) -> str:
    """Return the peaks of a machine in one line."""
    on, arithmetic, streams = peak_parts(found)
    return f"peaks of {on}: {arithmetic}; {streams}"


def peak_parts(found: Peaks) -> tuple[str, str, str]:
    """Return what the peaks are those of, that of the arithmetic, and those of the streams."""
    several = found.threads > 1

    def rates(pair: tuple[float, float], unit: str) -> str:
        if any(map(math.isnan, pair)):
            return "unusable: the machine is busy"
        return " and ".join(f"{rate / 1e9:.3g}" for rate in (pair if several else pair[:1])) + f" {unit}"

    on = f"one core and {found.threads} threads" if several else "one core"
    arithmetic = f"multiply-adds {rates(found.flops, 'GFLOP/s')} ({8 * found.vector_bytes}-bit vectors)"
    return on, arithmetic, f"second-level cache {rates(found.cache_bytes, 'GB/s')}, memory {rates(found.memory_bytes, 'GB/s')}"


def scaling(found: Scaling) -> str:
    """Return the cost along each axis, the exponents of growth, and from which size on a framework is faster."""
    return "\n\n".join(_axis(found, axis) for axis in found.axes)


def starts(found: Sequence[Start]) -> str:
    """Return how long each start takes."""
    return table(
        ["from start to end", "best", "median", ""], ([s.what, duration(s.best), duration(s.median), s.fault or ""] for s in found), (0, 3)
    )


def changes(found: Sequence[Change]) -> str:
    """Return the rows of two result files beside each other, the one that slowed down most first."""
    rows = (
        [
            change.name,
            duration(change.before.median),
            duration(change.after.median),
            f"{change.after.median / change.before.median:.2f}",
            percent(change.noise, 0),
            "SLOWER" if change.is_regression else "",
        ]
        for change in found
    )
    return table(["median of", "before", "now", "ratio", "noise", ""], rows, left=(0, 5))


def _is_absent(row: Row) -> bool:
    return row.fault is not None and row.fault.startswith("not installed")


def _row(found: Ladder, row: Row) -> list[str]:
    error = MISSING if row.error is None else f"{row.error:.0e}"
    cells = [row.rung.title, str(row.configuration.threads), error]
    if row.median is None:
        return [*cells, row.fault or MISSING, *[""] * 6]
    mark = SCALED if row.extrapolated else ""
    gflops = found.flops() / row.median / 1e9
    star = AS_IF_DENSE if row.rung.skips else ""
    above_lists, above_last = found.speed_ups(row)
    return [
        *cells,
        mark + duration(row.best),
        mark + duration(row.median),
        f"{gflops:.3g}{star}",
        share(found.share_of_peak(row)) + star,
        f"{found.traffic(row.operation) / row.median / 1e9:.2g}",
        times(above_lists),
        times(above_last),
    ]


def share(value: float | None) -> str:
    """Return a share of the peak: "85 %", "0.4 %", "0.012 %"."""
    if value is None:
        return MISSING
    return percent(value, 0 if value >= 0.0995 else 1 if value >= 0.000995 else 3) if value >= 1e-5 else "< 0.001 %"


def times(value: float | None) -> str:
    """Return a speed-up: "0.08", "1.8", "42", "12,300"."""
    if value is None:
        return MISSING
    if value < 9.95:
        return f"{value:.{1 if value >= 0.95 else 2}f}"
    digits = max(0, len(str(int(value))) - 3)
    return f"{round(value, -digits):,.0f}"


def _notes(found: Ladder) -> list[str]:
    notes = []
    compiled = [f"{row.rung.title} {duration(row.first_seconds)}" for row in found.rows if _compiles(row, found.scene.operations[0])]
    if compiled:
        notes.append(f"first run, with import and compilation: {' · '.join(compiled)}")
    scaled = [row for row in found.rows if row.extrapolated and row.seconds]
    if scaled:
        counts = sorted({row.rows for row in scaled})
        notes.append(f"{SCALED} scaled up to {found.scene.unit_rows:,} rows from {' or '.join(f'{count:,}' for count in counts)}")
    if any(row.rung.skips and row.seconds for row in found.rows):
        notes.append(f"{AS_IF_DENSE} counted as if nothing had been skipped")
    notes.append(
        "GB/s: if each array moved once a use. Error: the largest difference to float64, relative to the largest number of its array"
    )
    above = [row.rung.title for row in found.rows if not row.rung.skips and (found.share_of_peak(row) or 0) > VOID]
    if above:
        titles = ", ".join(dict.fromkeys(above))
        notes.append(f"void: {titles} above the measured peak; something else kept the machine busy, measure again")
    notes.append(peaks(found.peaks))
    absent = missing_of(found)
    if absent:
        notes.append(f"not installed: {', '.join(absent)}; {HINT}")
    return ["\n".join(notes)]


def _compiles(row: Row, first_operation: str) -> bool:
    return row.operation == first_operation and row.first_seconds is not None and not row.rung.is_slow


def _axis(found: Scaling, axis: str) -> str:
    points = found.of(axis)
    names = [name for name in dict.fromkeys(name for point in points for name in (OURS, *point.seconds)) if name in _measured(points)]
    rows = []
    for point in points:
        ours = point.seconds.get(OURS)
        others = [_beside(point.seconds.get(name), ours) for name in names[1:]]
        rows.append([f"{point.size:,}", duration(ours), *others])
    headings = [axis, *(title(name) for name in names)]
    parts = [f"time per {points[0].unit} by {axis}, and how many times as long others take", table(headings, rows, left=())]
    exponents = found.exponents(axis)
    lines = []
    if exponents:
        grown = " · ".join(f"{title(name)} {value:.2f}" for name, value in exponents.items())
        lines.append(f"time grows with the {COUNTED.get(axis, axis)} to the power of: {grown}")
    lines += [_break_even(axis, points, name, size) for name, size in found.break_even(axis).items()] if axis != "threads" else []
    faults = {name: fault for point in points for name, fault in point.faults.items()}
    lines += [f"{title(name)}: {fault}" for name, fault in faults.items()]
    return "\n\n".join([*parts, "\n".join(lines)]).rstrip()


def _measured(points: Sequence[Point]) -> set[str]:
    return {name for point in points for name in point.seconds}


def _beside(theirs: float | None, ours: float | None) -> str:
    if theirs is None:
        return MISSING
    return duration(theirs) + ("" if ours is None else f" ({theirs / ours:.1f}×)")


def _break_even(axis: str, points: Sequence[Point], name: str, size: float | None) -> str:
    what = COUNTED.get(axis, axis)
    if size is None:
        return f"{title(name)} is slower at the largest {what} measured, {points[-1].size:,}"
    if size <= points[0].size:
        return f"{title(name)} is faster at every {what} measured"
    return f"{title(name)} is faster from a {what} of about {size:,.0f} on"
