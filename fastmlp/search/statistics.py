"""What several runs say: mean, spread and extremes, and whether one setting is better than another beyond the noise of seeds."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
RESAMPLES = 20_000
FEWEST_PAIRS = 5  # resampling cannot leave the range of n differences, which holds their true mean in 1 - 2^(1-n) of all cases: 94 % for 5


class Summary(NamedTuple):
    """Several values: their mean, their standard deviation (n - 1; None of a single one), the extremes, their number."""

    mean: float
    std: float | None
    lowest: float
    highest: float
    n: int


class Comparison(NamedTuple):
    """How much better a setting is than another on the same seeds: the mean difference, below 0: worse, and its interval at LEVEL."""

    difference: float
    low: float | None  # None with fewer than FEWEST_PAIRS seeds
    high: float | None
    n: int
    beyond_noise: bool | None  # whether the interval leaves out 0, on either side


def summarise(values: Sequence[float | None]) -> Summary | None:
    """Return the summary of the values that are not None, None where there are none."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    std = statistics.stdev(present) if len(present) > 1 else None
    return Summary(statistics.fmean(present), std, min(present), max(present), len(present))


def compare(better: Sequence[float], worse: Sequence[float], seed: int = 0) -> Comparison:
    """Compare scores of two settings, pair by pair: the n-th of both has the same seed.

    The interval is the expanded percentile bootstrap of the mean difference (Hesterberg, "What Teachers Should Know About the
    Bootstrap", Am. Stat. 69 (2015) 371, section 3.2): for a handful of pairs the plain one is too narrow. Where the two are the best
    of many, chance had a hand in the choice, and the true difference is smaller than this one.
    """
    differences = np.asarray(better, np.float64) - np.asarray(worse, np.float64)
    n = len(differences)
    mean = float(differences.mean())
    if n < FEWEST_PAIRS:
        return Comparison(mean, None, None, n, None)
    chosen = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))
    means = differences[chosen].mean(axis=1)
    tail = statistics.NormalDist().cdf(-math.sqrt(n / (n - 1)) * student_quantile((1 + LEVEL) / 2, n - 1))
    low, high = (float(value) for value in np.quantile(means, (tail, 1 - tail)))
    return Comparison(mean, low, high, n, low > 0 or high < 0)


def lower_bound(values: Sequence[float]) -> float | None:
    """Return the one-sided lower confidence bound of the mean, at LEVEL: mean - t s / sqrt(n), for normal noise.

    None with fewer than two values.
    """
    n = len(values)
    if n < 2:
        return None
    return statistics.fmean(values) - student_quantile(LEVEL, n - 1) * statistics.stdev(values) / math.sqrt(n)


def next_run_margin(std: float, n: int) -> float:
    """Return the half-width of the prediction interval for one more run after n, at LEVEL: t s sqrt(1 + 1/n), for normal noise."""
    return student_quantile((1 + LEVEL) / 2, n - 1) * std * math.sqrt(1 + 1 / n)


def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile, above the median, of Student's t distribution.

    With t = sqrt(degrees) tan(angle) its density becomes cos(angle)^(degrees - 1), which has no tail to cut off.
    """
    angles = np.linspace(0.0, math.pi / 2, 20_001)
    density = np.cos(angles) ** (degrees - 1)
    area = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    angle = float(np.interp(2 * probability - 1, area / area[-1], angles))
    return math.sqrt(degrees) * math.tan(angle)
