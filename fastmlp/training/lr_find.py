"""Which learning rate to train with: a short training whose rate grows from step to step, and what its loss says.

The learning rate range test of Smith 2017 ("Cyclical learning rates for training neural networks", section 3.3), with rates that grow by
a factor instead of by a sum, as is usual since. Never prints.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Unpack

import numpy as np

from fastmlp.errors import ConfigError, TrainingError
from fastmlp.kernels.step import LOSS_SUM, TOTALS, WEIGHT_SUM
from fastmlp.network import Network
from fastmlp.settings import TrainingSettings
from fastmlp.training import optimizers
from fastmlp.training.keywords import TrainingKeywords, takes_settings
from fastmlp.training.loop import Trainer, _trainer

LOWEST, HIGHEST = 1e-6, 10.0
FEWEST_STEPS, MOST_STEPS = 100, 5000  # one pass over the rows, but several where that is only a few batches, and a part of one of many
MEMORY, SHORTEST_MEMORY = 0.02, 5.0  # over this share of all steps, or so many, the loss of a batch fades from the mean
EXPLODED = 4.0  # a loss so many times the smallest one ends the sweep
BEYOND_NOISE = 4.0  # standard errors of a mean loss by which it has to fall for anything to be suggested
# What a sweep has no use for: its steps are not those of a training.
NEUTRAL: dict[str, Any] = {
    name: getattr(TrainingSettings, name)
    for name in (
        "learning_rate", "epochs", "schedule", "warmup_epochs", "average", "patience", "restore_best", "target_accuracy", "time_budget"
    )
}  # fmt: skip

# Why a sweep ended.
HIGHEST_REACHED, LOSS_EXPLODED = "highest", "exploded"


class Tried(NamedTuple):
    """One step of a sweep: the loss of its batch before it, and the mean of the losses so far, in which older ones fade."""

    step: int  # from 1
    learning_rate: float
    loss: float
    mean_loss: float


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


@takes_settings
def find_learning_rate(
    network: Network,
    x: Any,
    y: Any = None,
    *,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int | None = None,
    sample_weight: Any = None,
    **settings: Unpack[TrainingKeywords],
) -> LearningRateFinderResult:
    """Train a copy of a network with a learning rate that grows from `lowest` to `highest`; return its losses and a suggestion.

    The parameters are those of `train`; those of its learning rate, its schedule, its end and its averages have no effect. steps: so many,
    by default one pass over the rows, but 100 at least and 5,000 at most. Rows that are held out are not used. The network is left as
    it is.

    Raises DataError or ConfigError before anything runs.
    """
    if optimizers.as_settings(settings).get("learning_rate") is not None:
        raise ConfigError("learning_rate: expected none, as it is looked for, got one; set lowest and highest")
    trainer = _trainer(network.copy(), x, y, sample_weight, None, {**settings, **NEUTRAL})  # type: ignore[typeddict-item]
    check_optimizer(trainer.settings.optimizer)
    rates = learning_rates(lowest, highest, steps_of(trainer) if steps is None else steps)
    return summarise(sweep(trainer, rates), len(rates))


def check_optimizer(name: str | None) -> None:
    """Raise ConfigError for an optimiser that chooses the lengths of its steps itself."""
    if name == "lbfgs":
        raise ConfigError("optimizer: expected one that has a learning rate, got 'lbfgs', which finds the length of each step by itself")


def learning_rates(lowest: float, highest: float, steps: int) -> np.ndarray:
    """Return the rates (steps,) of a sweep, each by the same factor above the one before; raise ConfigError for none."""
    if not 0.0 < lowest < highest < math.inf:
        raise ConfigError(f"lowest, highest: expected 0 < lowest < highest, got {lowest:g} and {highest:g}")
    if steps < 2:
        raise ConfigError(f"steps: expected at least 2, got {steps}")
    return np.geomspace(lowest, highest, steps)


def steps_of(trainer: Trainer) -> int:
    """Return how many steps a sweep takes by default: about one pass over the rows."""
    return min(max(trainer.epoch_steps, FEWEST_STEPS), MOST_STEPS)


def sweep(trainer: Trainer, rates: np.ndarray) -> Iterator[Tried]:
    """Take one step with each of the rates (n,); end where the loss is no longer finite, or many times what it was at best.

    The trainer is one made for this sweep, and so is its network: both are left as they are then.
    """
    trainer.validation = None  # the rows that are held out are not trained on, nor looked at
    keeps = 1.0 - 1.0 / _memory(len(rates))
    summed, weight, best = 0.0, 0.0, math.inf
    for step, rate in enumerate(rates, start=1):
        trainer.settings = trainer.settings.replace(learning_rate=float(rate))
        before = trainer.totals if trainer.row < trainer.n_rows else (0.0,) * TOTALS
        try:
            trainer.step()
        except TrainingError:
            return
        after = trainer.totals
        counted = after[WEIGHT_SUM] - before[WEIGHT_SUM]
        if counted == 0.0:  # a batch of rows that count nothing
            continue
        loss = (after[LOSS_SUM] - before[LOSS_SUM]) / counted
        summed, weight = keeps * summed + (1.0 - keeps) * loss, keeps * weight + (1.0 - keeps)
        mean = summed / weight
        yield Tried(step, float(rate), loss, mean)
        best = min(best, mean)
        if mean > EXPLODED * best:
            return


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


def _fading_mean(losses: np.ndarray, steps: int) -> np.ndarray:
    """Return after each loss (n,) the mean of those so far, in which older ones fade."""
    keeps = 1.0 - 1.0 / _memory(steps)
    means, summed, weight = np.empty_like(losses), 0.0, 0.0
    for place, loss in enumerate(losses):
        summed, weight = keeps * summed + (1.0 - keeps) * loss, keeps * weight + (1.0 - keeps)
        means[place] = summed / weight
    return means
