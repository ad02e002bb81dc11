"""What the losses of a sweep of learning rates say: arithmetic on arrays. The sweep itself is in lr_find.py."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fastmlp.settings import record_refuses_unknown

MEMORY, SHORTEST_MEMORY = 0.02, 5.0  # over this share of all steps, or so many, the loss of a batch fades from the mean
BEYOND_NOISE = 4.0  # standard errors of a mean loss by which it has to fall for anything to be suggested

# Why a sweep ended.
HIGHEST_REACHED, LOSS_EXPLODED = "highest", "exploded"


class Tried(NamedTuple):
    """One step of a sweep: the loss of its batch before it, and the mean of the losses so far, in which older ones fade."""

    step: int  # from 1
    learning_rate: float
    loss: float
    mean_loss: float


@record_refuses_unknown
class LearningRateFinderResult(NamedTuple):
    """A sweep of learning rates: arrays (n,), one entry for each step taken, and what they suggest; None where the loss never fell.

    suggestion: half-way, on a logarithmic axis, between the rates where the loss falls fastest and where it is smallest. The first alone
    trains slowly, the second hardly.
    """

    learning_rates: np.ndarray
    losses: np.ndarray  # of each batch, before the step with its rate
    smoothed: np.ndarray  # the same without the noise of single batches
    steepest: float | None
    smallest: float | None
    suggestion: float | None
    stopped: str  # "highest": the highest rate was reached; "exploded": the loss rose beyond all bounds before


def summarise(tried: Iterable[Tried], steps: int) -> LearningRateFinderResult:
    """Return what the steps of a sweep say, of which `steps` were planned."""
    taken = list(tried)
    rates, losses = (np.array([getattr(each, name) for each in taken], np.float64) for name in ("learning_rate", "loss"))
    # forwards and backwards: what comes after a step counts as much as what came before it, so that no curve is late
    smoothed = _fading_mean(_fading_mean(losses, steps)[::-1], steps)[::-1]
    stopped = HIGHEST_REACHED if taken and taken[-1].step == steps else LOSS_EXPLODED
    return LearningRateFinderResult(rates, losses, smoothed, *_suggest(rates, losses, smoothed, steps), stopped)


def _suggest(rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, steps: int) -> tuple[float | None, float | None, float | None]:
    """Return the rates where the loss falls fastest, where it is smallest, and what to train with."""
    best = int(smoothed.argmin()) if len(rates) else 0
    span = round(_memory(steps))  # steps on either side over which a slope is taken
    if best == 0 or smoothed[0] - smoothed[best] <= BEYOND_NOISE * float(np.std((losses - smoothed)[: best + 1])) / math.sqrt(2.0 * span):
        return None, None, None
    places = np.arange(best + 1)
    left, right = np.maximum(places - span, 0), np.minimum(places + span, len(rates) - 1)
    steepest = int(((smoothed[right] - smoothed[left]) / (right - left)).argmin())
    return float(rates[steepest]), float(rates[best]), math.sqrt(rates[steepest] * rates[best])


def _memory(steps: int) -> float:
    """Return over how many steps of a sweep the loss of a batch fades."""
    return max(MEMORY * steps, SHORTEST_MEMORY)


class FadingMean:
    """The mean of the losses of a sweep so far, of which `steps` are planned; older ones fade in it."""

    def __init__(self, steps: int) -> None:
        self._keeps = 1.0 - 1.0 / _memory(steps)
        self._summed, self._weight = 0.0, 0.0

    def after(self, loss: float) -> float:
        """Return the mean after one more loss."""
        keeps = self._keeps
        self._summed, self._weight = keeps * self._summed + (1.0 - keeps) * loss, keeps * self._weight + (1.0 - keeps)
        return self._summed / self._weight


def _fading_mean(losses: np.ndarray, steps: int) -> np.ndarray:
    """Return after each loss (n,) the mean of those so far, in which older ones fade."""
    mean = FadingMean(steps)
    return np.array([mean.after(loss) for loss in losses], np.float64)
