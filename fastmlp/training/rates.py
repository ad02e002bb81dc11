"""The numbers of each step of an optimizer, as kernels take them: kernels/updates.Rates."""

import numpy as np

from fastmlp.kernels.updates import NADAM_BASE, NADAM_PACE, NADAM_STEPS, Rates, nadam_momentum
from fastmlp.reproducible import power
from fastmlp.settings import TrainingSettings, known, used_by
from fastmlp.training import schedules

STEPS_AHEAD = 256  # whose numbers are computed together: the epochs of a small table have a handful of steps


def rates(settings: TrainingSettings, first: int, learning_rates: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the numbers (count, RATES) of updates.Rates for steps with these learning rates (count,), after `first` steps taken.

    settings: resolved.
    Where they are the same in all steps, (1, RATES): a run of one sample a step has as many steps as rows.
    """
    has_corrections = settings.optimizer in ("adam", "adamw", "nadam")
    if not has_corrections and (learning_rates == learning_rates[:1]).all():
        learning_rates = learning_rates[:1]
    by_momentum = settings.optimizer in used_by("momentum")
    beta1, beta2, epsilon = (value or 0.0 for value in (settings.beta1, settings.beta2, settings.epsilon))  # 0 where no rule reads it
    fixed = Rates(
        learning_rate=0.0,
        weight_decay=settings.weight_decay or 0.0,
        beta1=(settings.momentum or 0.0) if by_momentum else beta1,
        beta2=beta2,
        epsilon=epsilon,
        correction1=1.0,
        correction2=1.0,
        clip_value=np.inf if settings.clip_value is None else settings.clip_value,
        clip_norm=np.inf if settings.clip_norm is None else settings.clip_norm,
        l1=settings.l1,
        average_decay=settings.average_decay or 0.0,
    )
    table = np.empty((len(learning_rates), len(Rates._fields)), dtype)
    table[:] = np.array(fixed, dtype)
    with np.errstate(over="ignore"):  # a schedule may grow beyond what the type holds: the loss will tell
        table[:, _LEARNING_RATE] = learning_rates
    if has_corrections:
        step = np.arange(first + 1, first + len(table) + 1, dtype=np.float64)
        table[:, _CORRECTION1] = 1.0 / (1.0 - power(beta1, step))
        table[:, _CORRECTION2] = 1.0 / (1.0 - power(beta2, step))
        if settings.optimizer == "nadam":
            table[:, _CORRECTION1], table[:, _CORRECTION3] = _corrections_of_nadam(beta1, step)
    return table


class StepRates:
    """The numbers of the steps of one training, computed for STEPS_AHEAD of them at a time, or for more, or for all that are left."""

    def __init__(self, epoch_steps: int, dtype: np.dtype) -> None:
        self._epoch_steps, self._dtype = epoch_steps, dtype
        self._known_for: tuple[TrainingSettings | None, float] = None, 1.0
        self._first = self._end = 0
        self._table = np.zeros((0, len(Rates._fields)), dtype)  # (end - first, RATES), or (1, RATES) where they do not change

    def of(self, first: int, count: int, settings: TrainingSettings, factor: float) -> np.ndarray:
        """Return the numbers (count, RATES), or (1, RATES), of the steps from `first` on; factor: of the schedule "plateau"."""
        known_settings, known_factor = self._known_for
        if not (self._first <= first and first + count <= self._end and known_settings is settings and known_factor == factor):
            ahead = max(count, min(STEPS_AHEAD, known(settings.epochs) * self._epoch_steps - first))
            self._table = rates(settings, first, schedules.learning_rates(settings, first, ahead, self._epoch_steps, factor), self._dtype)
            self._first, self._end, self._known_for = first, first + ahead, (settings, factor)
        return self._table if len(self._table) == 1 else self._table[first - self._first :][:count]


def _corrections_of_nadam(beta1: float, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors of the mean gradient and of the gradient in steps (count,), counted from 1."""
    products = np.cumprod(_momenta_of_nadam(np.arange(1.0, NADAM_STEPS), beta1))
    product = np.zeros_like(step)
    early = step < NADAM_STEPS
    product[early] = products[step[early].astype(np.int64) - 1]
    momentum, following = _momenta_of_nadam(step, beta1), _momenta_of_nadam(step + 1.0, beta1)
    return following / (1.0 - product * following), (1.0 - momentum) / (1.0 - product)


def _momenta_of_nadam(step: np.ndarray, beta1: float) -> np.ndarray:
    """Return the momenta (count,) of nadam in steps (count,), counted from 1."""
    momenta: np.ndarray = nadam_momentum(power(NADAM_BASE, NADAM_PACE * step), beta1)
    return momenta


_LEARNING_RATE, _CORRECTION1, _CORRECTION2, _CORRECTION3 = (
    Rates._fields.index(name) for name in ("learning_rate", "correction1", "correction2", "correction3")
)
