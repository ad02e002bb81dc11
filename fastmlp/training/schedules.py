"""How the learning rate changes from step to step: pure functions of the settings, the step, and the steps in an epoch.

In float64; S steps in an epoch, T in all, W of warm-up. Step s < W has learning_rate (s + 1) / W. After that p = s - W counts steps,
q = p / S epochs, r = p / (T - W) is the share of the training that is done, and the learning rate is multiplied by

    constant      1
    step          gamma ^ floor(q / step_size)
    exponential   gamma ^ (q / step_size)
    inverse       1 / (1 + gamma q / step_size)
    linear        from 1 to end_factor: 1 - (1 - end_factor) r
    cosine        the same along half a cosine (Loshchilov and Hutter 2017, eq. 5, one run)
    one_cycle     from 1/25 to 1 over the first three tenths, then to end_factor, both along half a cosine (Smith and Topin 2019)
    plateau       gamma for each time that the loss did not fall for more than step_size epochs
"""

import math

import numpy as np

from fastmlp.reproducible import cos, power
from fastmlp.settings import TrainingSettings, known
from fastmlp.training.state import Plateau

ONE_CYCLE_RISE, ONE_CYCLE_START = 0.3, 1 / 25
USES_EPOCHS = ("linear", "cosine", "one_cycle")  # another number of epochs is another training from the first step on


def learning_rates(settings: TrainingSettings, first: int, count: int, epoch_steps: int, factor: float = 1.0) -> np.ndarray:
    """Return the learning rates (count,), float64, of the steps from `first` on, counted from 0 over all epochs.

    settings: resolved; epoch_steps: steps in an epoch; factor: of Plateau, for that schedule. Of lbfgs, whose line search finds the lengths
    of steps, all are 0.
    """
    if settings.learning_rate is None:
        return np.zeros(count)
    if settings.schedule == "constant" and settings.warmup_epochs == 0:  # what follows takes longer than the steps of a small network
        return np.full(count, settings.learning_rate, np.float64)
    rate = settings.learning_rate
    step = np.arange(first, first + count, dtype=np.float64)
    warmup = round(min(settings.warmup_epochs * epoch_steps, 2.0**62))
    after = np.maximum(step - warmup, 0.0)
    with np.errstate(over="ignore"):  # a rate that grows without bounds ends the training, which says so
        rates = rate * _factor(settings, after, epoch_steps, warmup, factor)
        return np.where(step < warmup, rate * (step + 1.0) / max(warmup, 1), rates)


def _factor(settings: TrainingSettings, after: np.ndarray, epoch_steps: int, warmup: int, factor: float) -> np.ndarray:
    """Return by what the learning rate is multiplied, so many steps after the warm-up."""
    # a training may go on beyond its last epoch, step by step: at the rate that it ended with
    done = np.minimum(after / max(known(settings.epochs) * epoch_steps - warmup, 1), 1.0)
    match settings.schedule:
        case "step":
            return power(known(settings.gamma), np.floor(after / epoch_steps / known(settings.step_size)))
        case "exponential":
            return power(known(settings.gamma), after / epoch_steps / known(settings.step_size))
        case "inverse":
            return 1.0 / (1.0 + known(settings.gamma) * (after / epoch_steps / known(settings.step_size)))
        case "linear":
            return 1.0 - (1.0 - known(settings.end_factor)) * done
        case "cosine":
            return _half_cosine(1.0, known(settings.end_factor), done)
        case "one_cycle":
            final = known(settings.end_factor)
            rise = _half_cosine(ONE_CYCLE_START, 1.0, done / ONE_CYCLE_RISE)
            fall = _half_cosine(1.0, final, (done - ONE_CYCLE_RISE) / (1.0 - ONE_CYCLE_RISE))
            return np.where(done < ONE_CYCLE_RISE, rise, fall)
        case "plateau":
            return np.full_like(after, factor)
        case _:
            return np.ones_like(after)


def _half_cosine(begin: float, end: float, share: np.ndarray) -> np.ndarray:
    return end + (begin - end) * (1.0 + cos(np.pi * share)) / 2.0


def after_epoch(plateau: Plateau, loss: float, settings: TrainingSettings) -> Plateau:
    """Return what is known after an epoch with this loss, of the held-out rows where there are any: lower the rate or wait on."""
    if loss < (math.inf if plateau.best is None else plateau.best):
        return plateau._replace(best=loss, waited=0)
    if plateau.waited + 1 > known(settings.step_size):
        return plateau._replace(factor=plateau.factor * known(settings.gamma), waited=0)
    return plateau._replace(waited=plateau.waited + 1)
