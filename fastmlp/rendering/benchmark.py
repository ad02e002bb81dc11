"""Measurements -> tables: our ratios beside their targets, and the times behind them."""

from itertools import groupby

from fastmlp.benchmark.comparison import Comparison, OurLimit, compare, our_limit
from fastmlp.benchmark.implementations import IMPLEMENTATIONS
from fastmlp.benchmark.measure import Measured
from fastmlp.benchmark.protocol import Measurement
from fastmlp.quantities import MISSING, loss, percent
from fastmlp.rendering.tables import table

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def ratios(measured: Measured) -> str:
    """Return the ratios of one workload beside their targets."""
    workload, compared = measured.workload, compare(measured)
    skips, has_peak = (any(getattr(row, name) is not None for row in compared) for name in ("unskipped_ratio", "peak_ratio"))
    headings = ["ours", "on", "time", "theirs", "on", "time", "ratio", "best"]
    headings += ["unskipped"] * skips + ["at peak"] * has_peak + ["target", ""]
    shown = table(headings, [_row(row, skips, has_peak) for row in compared], left=(0, 3, len(headings) - 1))
    without = "" if measured.instruction_set == "native" else ", without AVX-512"
    text = f"{workload.name}  {workload.title}: time per {workload.unit}{without}\n\n{shown}"
    limit = our_limit(measured)
    return text if limit is None else f"{text}\n\n{_limit(limit)}"


def times(measured: Measured) -> str:
    """Return the times of every configuration of one workload, what it reached, and why it does not count if it does not."""
    rows = []
    for peer, group in groupby(measured.measurements, key=lambda each: each.configuration.peer):
        measurements = list(group)
        faults = {each.fault for each in measurements}
        if len(faults) == 1 and not any(each.seconds for each in measurements):  # one line for all that is missing for one reason
            rows.append([IMPLEMENTATIONS[peer].title, *[MISSING] * 5, *(fault or "" for fault in faults)])
            continue
        rows += [_times(each) for each in measurements]
    reached = {"train": "loss", "gradient": "loss", "predict": "wrong"}[measured.workload.task]
    return table([measured.instruction_set, "on", "median", "best", "first", reached, ""], rows, left=(0, 6))


def duration(seconds: float | None) -> str:
    """Return a time with three digits: "12.3 ms"."""
    if seconds is None:
        return MISSING
    size, unit = next((each for each in UNITS if seconds >= each[0]), UNITS[-1])
    return f"{_three_digits(seconds / size)} {unit}"


def _times(each: Measurement) -> list[str]:
    durations = (duration(seconds) for seconds in (each.median, each.best, each.first_seconds))
    return [_name(each), str(each.configuration.threads), *durations, loss(each.loss), each.fault or ""]


def _row(found: Comparison, skips: bool, has_peak: bool) -> list[str]:
    target = found.target
    return [
        *_side(found.ours, target.ours.peer),
        *_side(found.theirs, " ".join((target.theirs.peer, *target.theirs.variants))),
        _ratio(found.ratio),
        _ratio(found.best_ratio),
        *([_ratio(found.unskipped_ratio)] if skips else []),
        *([_ratio(found.peak_ratio)] if has_peak else []),
        _ratio(found.aim),
        found.fault or _verdict(found.missed_by),
    ]


def _side(measurement: Measurement | None, wanted: str) -> tuple[str, str, str]:
    """Return the name, the number of threads and the time of one side; the name of what was wanted where nothing counts."""
    if measurement is None:
        peer, _, variants = wanted.partition(" ")
        return f"{IMPLEMENTATIONS[peer].title} {variants}".strip(), "", MISSING
    return _name(measurement), str(measurement.configuration.threads), duration(measurement.median)


def _name(measurement: Measurement) -> str:
    return f"{IMPLEMENTATIONS[measurement.configuration.peer].title} {measurement.configuration.variant}"


def _limit(limit: OurLimit) -> str:
    verdict = _verdict(limit.missed_by) or "not measured"
    return f"our aim {limit.text}: {duration(limit.seconds)} of {duration(limit.allowed)}, {verdict}"


def _ratio(value: float | None) -> str:
    return MISSING if value is None else _three_digits(value)


def _verdict(missed_by: float | None) -> str:
    if missed_by is None:
        return ""
    return "reached" if missed_by == 0 else f"missed by {percent(missed_by, 0)}"


def _three_digits(value: float) -> str:
    return f"{value:,.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"
