"""Optimisers as people name them, and the numbers of each of their steps."""

from typing import Any, NamedTuple

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.kernels.updates import NADAM_STEPS, Rates, nadam_momentum
from fastmlp.settings import TrainingSettings, nearest

OPTIMIZERS = ("sgd", "rmsprop", "adagrad", "adam", "adamw", "nadam", "lion", "lbfgs")


class SGD(NamedTuple):
    """Stochastic gradient descent; with momentum, m = momentum m + gradient takes the gradient's place."""

    momentum: float = TrainingSettings.momentum
    nesterov: bool = TrainingSettings.nesterov
    weight_decay: float = TrainingSettings.weight_decay


class RMSprop(NamedTuple):
    """RMSProp (Tieleman and Hinton 2012): the gradient over the root of its mean square, with momentum if asked for."""

    momentum: float = TrainingSettings.momentum
    beta2: float = 0.99
    epsilon: float = TrainingSettings.epsilon
    weight_decay: float = TrainingSettings.weight_decay


class Adagrad(NamedTuple):
    """Adagrad (Duchi et al. 2011): the gradient over the root of the sum of its squares so far."""

    epsilon: float = 1e-10
    weight_decay: float = TrainingSettings.weight_decay


class Adam(NamedTuple):
    """Adam (Kingma and Ba 2015); weight decay is added to the gradient."""

    beta1: float = TrainingSettings.beta1
    beta2: float = TrainingSettings.beta2
    epsilon: float = TrainingSettings.epsilon
    weight_decay: float = TrainingSettings.weight_decay


class AdamW(NamedTuple):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): each step shrinks the weights by learning_rate * weight_decay."""

    beta1: float = TrainingSettings.beta1
    beta2: float = TrainingSettings.beta2
    epsilon: float = TrainingSettings.epsilon
    weight_decay: float = 0.01


class NAdam(NamedTuple):
    """Adam with Nesterov momentum (Dozat 2016); weight decay is added to the gradient."""

    beta1: float = TrainingSettings.beta1
    beta2: float = TrainingSettings.beta2
    epsilon: float = TrainingSettings.epsilon
    weight_decay: float = TrainingSettings.weight_decay


class Lion(NamedTuple):
    """Lion (Chen et al. 2023): steps of one size, by the sign of a mean gradient. Decay is decoupled, as in AdamW.

    A learning rate some ten times below that of Adam, and a weight decay as many times above it, are where to begin.
    """

    beta1: float = TrainingSettings.beta1
    beta2: float = 0.99
    weight_decay: float = TrainingSettings.weight_decay


Optimizer = SGD | RMSprop | Adagrad | Adam | AdamW | NAdam | Lion


def as_settings(optimizer: str | Optimizer) -> tuple[str, dict[str, Any]]:
    """Return the name of an optimiser, and the settings that a record of it carries: ("sgd", {"momentum": 0.9, ...})."""
    if isinstance(optimizer, Optimizer):
        return type(optimizer).__name__.lower(), optimizer._asdict()
    return optimizer, {}


def update_rule(settings: TrainingSettings, dtype: np.dtype) -> str:
    """Return the name of the kernels' update that the settings ask for.

    Raises ConfigError for an unknown optimiser, and for numbers that the type of the parameters cannot hold.
    """
    name = settings.optimizer
    if name not in OPTIMIZERS:
        raise ConfigError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {name!r}{nearest(name, OPTIMIZERS)}")
    _check_range(settings, dtype)
    if settings.nesterov and name == "sgd" and settings.momentum == 0:
        raise ConfigError("nesterov: expected a momentum above 0 with it, got 0; set momentum, for example to 0.9")
    if name == "rmsprop":
        return "rmsprop_momentum" if settings.momentum else "rmsprop"
    if name == "lbfgs":
        raise ConfigError("optimizer: expected a rule for single steps, got 'lbfgs', which train alone has; use adam")
    if name != "sgd":
        return name
    if settings.momentum == 0 and settings.weight_decay == 0:
        return "sgd"
    return "nesterov" if settings.nesterov else "momentum"


def _check_range(settings: TrainingSettings, dtype: np.dtype) -> None:
    """Raise ConfigError for a number that the type of the parameters would make 0 or infinite."""
    largest = float(np.finfo(dtype).max)
    for name in ("learning_rate", "weight_decay", "l1"):
        if not getattr(settings, name) <= largest:
            raise ConfigError(f"{name}: expected a number that {dtype} can hold, got {getattr(settings, name):g}")
    divided_by = () if settings.optimizer in ("sgd", "lion") else ("epsilon",)
    for name in (*divided_by, "clip_value", "clip_norm"):
        value = getattr(settings, name)
        if value is not None and dtype.type(min(value, largest)) == 0:
            raise ConfigError(f"{name}: expected a number that {dtype} can hold, got {value:g}; use at least 1e-38")


def limits_gradient(settings: TrainingSettings) -> bool:
    """Return whether the gradient is clipped, or the weights pulled by l1, before the rule gets it."""
    return settings.clip_value is not None or settings.clip_norm is not None or settings.l1 > 0


def rates(settings: TrainingSettings, first: int, learning_rates: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the numbers (count, RATES) of updates.Rates for steps with these learning rates (count,), after `first` steps taken.

    Where they are the same in all steps, (1, RATES): a run of one sample a step has as many steps as rows.
    """
    has_corrections = settings.optimizer in ("adam", "adamw", "nadam")
    if not has_corrections and (learning_rates == learning_rates[:1]).all():
        learning_rates = learning_rates[:1]
    by_momentum = settings.optimizer in ("sgd", "rmsprop")
    fixed = Rates(
        learning_rate=0.0,
        weight_decay=settings.weight_decay,
        beta1=settings.momentum if by_momentum else settings.beta1,
        beta2=settings.beta2,
        epsilon=settings.epsilon,
        correction1=1.0,
        correction2=1.0,
        clip_value=np.inf if settings.clip_value is None else settings.clip_value,
        clip_norm=np.inf if settings.clip_norm is None else settings.clip_norm,
        l1=settings.l1,
        average_decay=settings.average_decay,
    )
    table = np.tile(np.array(fixed, dtype), (len(learning_rates), 1))
    with np.errstate(over="ignore"):  # a schedule may grow beyond what the type holds: the loss will tell
        table[:, _LEARNING_RATE] = learning_rates
    if has_corrections:
        step = np.arange(first + 1, first + len(table) + 1, dtype=np.float64)
        table[:, _CORRECTION1] = 1.0 / (1.0 - settings.beta1**step)
        table[:, _CORRECTION2] = 1.0 / (1.0 - settings.beta2**step)
        if settings.optimizer == "nadam":
            table[:, _CORRECTION1], table[:, _CORRECTION3] = _corrections_of_nadam(settings.beta1, step)
    return table


def _corrections_of_nadam(beta1: float, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors of the mean gradient and of the gradient in steps (count,), counted from 1."""
    products = np.cumprod(nadam_momentum(np.arange(1.0, NADAM_STEPS), beta1))
    product = np.zeros_like(step)
    early = step < NADAM_STEPS
    product[early] = products[step[early].astype(np.int64) - 1]
    momentum, following = nadam_momentum(step, beta1), nadam_momentum(step + 1.0, beta1)
    return following / (1.0 - product * following), (1.0 - momentum) / (1.0 - product)


_LEARNING_RATE, _CORRECTION1, _CORRECTION2, _CORRECTION3 = (
    Rates._fields.index(name) for name in ("learning_rate", "correction1", "correction2", "correction3")
)
