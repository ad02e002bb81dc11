"""Times set against times: the ratios of a workload beside its targets, and by how much a target was missed."""

from collections.abc import Iterable
from typing import NamedTuple

from fastmlp.benchmark.measure import Measured
from fastmlp.benchmark.protocol import Measurement
from fastmlp.benchmark.workloads import DEFAULT, PEAK, Choice, Target


class Comparison(NamedTuple):
    """One target and what was measured for it. Ratios are their time over ours; None where one of the two is missing."""

    target: Target
    aim: float | None  # the ratio to reach with the instructions measured
    ours: Measurement | None  # the fastest that counts, by the median
    theirs: Measurement | None
    ratio: float | None  # of the medians
    best_ratio: float | None  # of the best times
    unskipped_ratio: float | None  # of the medians, ours without skipping zeros; None where that was not measured
    peak_ratio: float | None  # of the medians, in our place the peak of as many threads, nothing skipped; None where not measured
    fault: str | None  # why there is no ratio

    @property
    def missed_by(self) -> float | None:
        """The share of the target that is missing, 0.0 where it is reached, None where there is no target or no ratio."""
        if self.aim is None or self.ratio is None:
            return None
        return max(0.0, 1.0 - self.ratio / self.aim)


class OurLimit(NamedTuple):
    """Our own time beside the best that we aim for, both in seconds per epoch or per call."""

    text: str
    allowed: float
    seconds: float | None

    @property
    def missed_by(self) -> float | None:
        """The share by which the time is too long, 0.0 where it is not, None where it was not measured."""
        if self.seconds is None:
            return None
        return max(0.0, self.seconds / self.allowed - 1.0)


def compare(measured: Measured) -> list[Comparison]:
    """Return one comparison per target of the workload."""
    return [_comparison(measured, target) for target in measured.workload.targets]


def our_limit(measured: Measured) -> OurLimit | None:
    """Return our time beside the limit of the workload, None where it has none."""
    limit = measured.workload.limit
    if limit is None:
        return None
    ours = fastest(chosen(measured, DEFAULT))
    return OurLimit(limit.text, limit.seconds, None if ours is None else ours.median)


def chosen(measured: Measured, choice: Choice) -> list[Measurement]:
    """Return the measurements that a choice stands for, those that do not count included."""
    threads = {"one": {1}, "all": {measured.cores}}.get(choice.threads)
    return [
        each
        for each in measured.measurements
        if each.configuration.peer == choice.peer
        and (not choice.variants or each.configuration.variant in choice.variants)
        and (threads is None or each.configuration.threads in threads)
    ]


def fastest(measurements: Iterable[Measurement]) -> Measurement | None:
    """Return the measurement with the smallest median among those that count."""
    counting = [each for each in measurements if each.fault is None and each.seconds]
    return min(counting, key=lambda each: each.median or 0.0, default=None)


def _comparison(measured: Measured, target: Target) -> Comparison:
    our_choice, their_choice = chosen(measured, target.ours), chosen(measured, target.theirs)
    ours, theirs, aim = fastest(our_choice), fastest(their_choice), target.aim(measured.has_avx512)
    if ours is None or theirs is None:
        faults = [each.fault for each in (our_choice if ours is None else their_choice) if each.fault]
        return Comparison(target, aim, ours, theirs, None, None, None, None, faults[0] if faults else "not measured")
    against_peer = target.ours == DEFAULT and target.theirs.peer not in ("fastmlp", PEAK)
    unskipped = fastest(chosen(measured, DEFAULT._replace(variants=("off",)))) if against_peer else None
    peak = fastest(chosen(measured, Choice(PEAK, threads="all"))) if against_peer else None
    counting = [each for each in their_choice if each.fault is None]
    return Comparison(
        target,
        aim,
        ours,
        theirs,
        ratio=_ratio(theirs.median, ours.median),
        best_ratio=_ratio(min((each.best for each in counting if each.best is not None), default=None), ours.best),
        unskipped_ratio=None if unskipped is None else _ratio(theirs.median, unskipped.median),
        peak_ratio=None if peak is None else _ratio(theirs.median, peak.median),
        fault=None,
    )


def _ratio(theirs: float | None, ours: float | None) -> float | None:
    return None if theirs is None or ours is None else theirs / ours
