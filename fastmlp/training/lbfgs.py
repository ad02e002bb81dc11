"""L-BFGS: minimise a smooth function of many numbers from its values and gradients alone. Knows no network.

Nocedal and Wright, "Numerical optimization", 2nd edition, 2006: the direction by algorithm 7.4 from the last pairs of steps and changes
of the gradient, the step along it by algorithms 3.5 and 3.6, until the strong Wolfe conditions hold (3.7). All sums are taken in float64
and by NumPy's own loops: those of a BLAS would depend on its threads.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MEMORY = 10  # pairs kept
DECREASE, CURVATURE = 1e-4, 0.9  # c1 and c2 of the Wolfe conditions
SMALLEST_GRADIENT = 1e-8  # where no number of the gradient is larger, the function counts as minimised
MOST_EVALUATIONS = 25  # in one search along a line
LARGEST_GROWTH, SMALLEST_GROWTH = 10.0, 2.0  # of a step that is still too short
MARGIN = 0.1  # share of an interval, from either end, within which no new point is tried


class Point(NamedTuple):
    """Where a function was evaluated."""

    parameters: np.ndarray  # (P,)
    value: float  # infinite where it is none
    gradient: np.ndarray  # (P,) float64


class Pair(NamedTuple):
    """One step and what it changed in the gradient: (P,) float64 each."""

    step: np.ndarray
    change: np.ndarray


Function = Callable[[np.ndarray], Point]


class _Trial(NamedTuple):
    """A point on the line: how far along the direction, its value, its slope."""

    length: float
    value: float
    slope: float
    point: Point


def dot(first: np.ndarray, second: np.ndarray) -> float:
    """Return the sum of the products of two vectors (P,), in float64."""
    return float(np.sum(first * second, dtype=np.float64))


def is_minimal(gradient: np.ndarray) -> bool:
    """Return whether a gradient (P,) counts as zero."""
    return bool(np.abs(gradient).max(initial=0.0) < SMALLEST_GRADIENT)


def step(function: Function, start: Point, pairs: list[Pair]) -> tuple[Point, float] | None:
    """Take one step from `start`: return where it ends and its length along the direction; None where no step makes the value smaller.

    pairs: those of the steps before, oldest first; the new one is appended, the oldest beyond MEMORY removed. Where they give no
    direction that goes down far enough, they are given up and the gradient itself is tried.
    """
    found = None
    if pairs:
        found = _search(function, start, direction(start.gradient, pairs), 1.0)
        if found is None:
            pairs.clear()
    if found is None:
        largest = np.abs(start.gradient).sum()
        if largest == 0.0:
            return None
        found = _search(function, start, -start.gradient, min(1.0, 1.0 / largest))
    if found is None:
        return None
    end = found.point
    moved = np.subtract(end.parameters, start.parameters, dtype=np.float64)
    pair = Pair(moved, end.gradient - start.gradient)
    # what rounding leaves of a pair without curvature would spoil the directions to come
    if dot(*pair) > np.finfo(np.float64).eps * np.sqrt(dot(pair.step, pair.step) * dot(pair.change, pair.change)):
        pairs.append(pair)
        del pairs[:-MEMORY]
    return end, found.length


def direction(gradient: np.ndarray, pairs: list[Pair]) -> np.ndarray:
    """Return minus the inverse Hessian, as the pairs tell of it, times the gradient (P,): algorithm 7.4, and its beginning by (7.20)."""
    q = gradient.copy()
    inverses = [1.0 / dot(pair.step, pair.change) for pair in pairs]
    shares = []
    for pair, inverse in zip(reversed(pairs), reversed(inverses), strict=True):
        shares.append(inverse * dot(pair.step, q))
        q -= shares[-1] * pair.change
    newest = pairs[-1].change
    q *= 1.0 / (inverses[-1] * dot(newest, newest))
    for pair, inverse, share in zip(pairs, inverses, reversed(shares), strict=True):
        q += (share - inverse * dot(pair.change, q)) * pair.step
    return -q


def _search(function: Function, start: Point, along: np.ndarray, length: float) -> _Trial | None:
    """Return a point on the line that fulfils the strong Wolfe conditions: algorithm 3.5.

    Where MOST_EVALUATIONS are not enough, the lowest point found that fulfils the first of them; None where there is none.
    """
    slope = dot(start.gradient, along)
    if not slope < 0.0:
        return None
    first = before = _Trial(0.0, start.value, slope, start)
    line = _Line(function, first, along)
    while line.evaluations < MOST_EVALUATIONS:
        now = line.at(length)
        if line.is_too_high(now) or (before is not first and now.value >= before.value):
            return _zoom(line, before, now)
        if abs(now.slope) <= -CURVATURE * slope:
            return now
        if now.slope >= 0.0:
            return _zoom(line, now, before)
        growth = _cubic_minimum(before, now) / length
        growth = min(max(growth, SMALLEST_GROWTH), LARGEST_GROWTH) if growth == growth else LARGEST_GROWTH
        before, length = now, growth * length
    return before


def _zoom(line: "_Line", low: _Trial, high: _Trial) -> _Trial | None:
    """Return such a point between two, of which `low` has the lower value and goes down towards `high`: algorithm 3.6."""
    while line.evaluations < MOST_EVALUATIONS:
        width = high.length - low.length
        share = (_cubic_minimum(low, high) - low.length) / width
        share = min(max(share, MARGIN), 1.0 - MARGIN) if share == share else 0.5
        now = line.at(low.length + share * width)
        if np.array_equal(now.point.parameters, low.point.parameters):  # the two ends have met, as far as the type can tell
            break
        if line.is_too_high(now) or now.value >= low.value:
            high = now
        else:
            if abs(now.slope) <= -CURVATURE * line.start.slope:
                return now
            if now.slope * width >= 0.0:
                high = low
            low = now
    return low if low.length > 0.0 and low.value < line.start.value else None


class _Line:
    """A function along a line, and how often it was evaluated."""

    def __init__(self, function: Function, start: _Trial, along: np.ndarray) -> None:
        self.start, self.evaluations = start, 0
        self._function, self._along = function, along

    def at(self, length: float) -> _Trial:
        """Evaluate the function at the start plus `length` times the direction."""
        self.evaluations += 1
        origin = self.start.point.parameters
        point = self._function((origin + length * self._along).astype(origin.dtype))
        return _Trial(length, point.value, dot(point.gradient, self._along), point)

    def is_too_high(self, trial: _Trial) -> bool:
        """Return whether a point misses the first Wolfe condition, (3.7a)."""
        return not trial.value <= self.start.value + DECREASE * trial.length * self.start.slope


def _cubic_minimum(first: _Trial, second: _Trial) -> float:
    """Return where the cubic through two points with their slopes has its minimum, (3.59); NaN where it has none."""
    with np.errstate(all="ignore"):
        length, other = np.float64(first.length), np.float64(second.length)
        d1 = first.slope + second.slope - 3.0 * (first.value - second.value) / (length - other)
        d2 = np.sign(other - length) * np.sqrt(d1 * d1 - first.slope * second.slope)
        return float(other - (other - length) * (second.slope + d2 - d1) / (second.slope - first.slope + 2.0 * d2))
