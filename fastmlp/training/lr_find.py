"""Which learning rate to train with: a short training whose rate grows from step to step, and what its loss says.

The learning rate range test of Smith 2017 ("Cyclical learning rates for training neural networks", section 3.3), with rates that grow by
a factor instead of by a sum, as is usual since. Never prints.
"""

import math
from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from fastmlp.errors import ConfigError, TrainingError
from fastmlp.kernels.textbook_step import LOSS_SUM, TOTALS, WEIGHT_SUM
from fastmlp.network import Network
from fastmlp.reproducible import power
from fastmlp.settings import FIELDS, check_value, having
from fastmlp.training import optimizers
from fastmlp.training.callbacks.hooks import Callbacks
from fastmlp.training.checks import check_network
from fastmlp.training.fit import fit
from fastmlp.training.history import Progress
from fastmlp.training.keywords import TrainingKeywords, takes_settings
from fastmlp.training.rate_curve import FadingMean, LearningRateFinderResult, Tried, summarise
from fastmlp.training.train import planned
from fastmlp.training.trainer import Trainer

LOWEST, HIGHEST = 1e-6, 10.0
MOST_ASKED_FOR = 1_000_000  # of which the rates are a table
FEWEST_STEPS, MOST_STEPS = 100, 5000  # one pass over the rows, but several where that is only a few batches, and a part of one of many
EXPLODED = 4.0  # a loss so many times the smallest one ends the sweep
# What a sweep has no use for: its steps are not those of a training.
NEUTRAL: dict[str, Any] = {name: FIELDS[name].default for name in having("in_range_test", False)}


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
    check_network(network)
    given = optimizers.as_settings(settings)
    if given.get("learning_rate") is not None:
        raise ConfigError("learning_rate: expected none, as it is looked for, got one; set lowest and highest")
    for name in NEUTRAL.keys() & given.keys() - {"validation"}:
        check_value(FIELDS[name], given[name])  # a slip is told even where the setting has no effect
    trainer = Trainer(planned(network.copy(), x, y, sample_weight, None, {**settings, **NEUTRAL}))
    check_optimizer(trainer.settings.optimizer)
    rates = learning_rates(lowest, highest, steps_of(trainer) if steps is None else steps)
    return summarise(sweep(trainer, rates), len(rates))


def check_optimizer(name: str | None) -> None:
    """Raise ConfigError for an optimizer that chooses the lengths of its steps itself."""
    if name == "lbfgs":
        raise ConfigError("optimizer: expected one that has a learning rate, got 'lbfgs', which finds the length of each step by itself")


def learning_rates(lowest: float, highest: float, steps: int) -> np.ndarray:
    """Return the rates (steps,) of a sweep, each by the same factor above the one before; raise ConfigError for none."""
    lowest, highest = _checked("lowest", "learning_rate", lowest), _checked("highest", "learning_rate", highest)
    if not lowest < highest:
        raise ConfigError(f"lowest, highest: expected 0 < lowest < highest, got {lowest:g} and {highest:g}")
    steps = _checked("steps", "epochs", steps)
    if not 2 <= steps <= MOST_ASKED_FOR:
        raise ConfigError(f"steps: expected 2 to {MOST_ASKED_FOR:,}, got {steps}")
    rates = lowest * power(highest / lowest, np.linspace(0.0, 1.0, steps))
    rates[-1] = highest
    return rates


def _checked(name: str, like: str, value: Any) -> Any:
    """Return an argument in the type of the setting that it is like; ConfigError, with its name, for another type or range."""
    try:
        return check_value(FIELDS[like], "None" if value is None else value)  # there is no default of which None could stand
    except ConfigError as error:
        raise ConfigError(str(error).replace(like, name, 1)) from None


def steps_of(trainer: Trainer) -> int:
    """Return how many steps a sweep takes by default: about one pass over the rows."""
    return min(max(trainer.epoch_steps, FEWEST_STEPS), MOST_STEPS)


def sweep(trainer: Trainer, rates: np.ndarray, tell: Callable[[Tried], None] | None = None) -> list[Tried]:
    """Take one step with each of the rates (n,), and tell of each; end where the loss is not finite, or many times what it was at best.

    The trainer is one made for this sweep, and so is its network: both are left as they are then.
    """
    trainer.validation = None  # the rows that are held out are not trained on, nor looked at
    taken = _Sweep(trainer, rates, tell)
    try:
        for _ in fit(trainer, Callbacks([taken]), block=trainer.batch_size, read_only=True):
            pass
    except TrainingError:
        if not taken.tried:  # the first step fails at any rate
            raise
    return taken.tried


class _Sweep:
    """Callbacks that give each step its rate, and end the training after the last one, or where the loss has exploded."""

    def __init__(self, trainer: Trainer, rates: np.ndarray, tell: Callable[[Tried], None] | None) -> None:
        self.tried: list[Tried] = []
        self._trainer, self._rates, self._tell = trainer, rates, tell
        self._mean, self._best = FadingMean(len(rates)), math.inf
        self._steps, self._before = 0, (0.0,) * TOTALS
        epochs = -(-len(rates) // trainer.epoch_steps)
        trainer.settings = trainer.settings.replace(epochs=epochs, learning_rate=float(rates[0]))

    def on_epoch_begin(self, network: Network, epoch: int) -> None:
        self._before = (0.0,) * TOTALS

    def on_steps_end(self, network: Network, progress: Progress) -> bool:
        rate, after, before = float(self._rates[self._steps]), self._trainer.totals, self._before
        self._steps, self._before = self._steps + 1, after
        counted = after[WEIGHT_SUM] - before[WEIGHT_SUM]
        if counted > 0.0:  # else a batch of rows that count nothing
            loss = (after[LOSS_SUM] - before[LOSS_SUM]) / counted
            self.tried.append(Tried(self._steps, rate, loss, self._mean.after(loss)))
            if self._tell is not None:
                self._tell(self.tried[-1])
            self._best = min(self._best, self.tried[-1].mean_loss)
            if self.tried[-1].mean_loss > EXPLODED * self._best:
                return True
        if self._steps == len(self._rates):
            return True
        self._trainer.settings = self._trainer.settings.replace(learning_rate=float(self._rates[self._steps]))
        return False
