"""Optimisers as people name them, and the numbers of each of their steps."""

from typing import Any, NamedTuple

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.kernels.updates import Rates
from fastmlp.settings import TrainingSettings, nearest

OPTIMIZERS = ("sgd", "adam", "adamw")


class SGD(NamedTuple):
    """Stochastic gradient descent; with momentum, m = momentum m + gradient takes the gradient's place."""

    momentum: float = TrainingSettings.momentum
    nesterov: bool = TrainingSettings.nesterov
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


Optimizer = SGD | Adam | AdamW


def as_settings(optimizer: str | Optimizer) -> tuple[str, dict[str, Any]]:
    """Return the name of an optimiser, and the settings that a record of it carries: ("sgd", {"momentum": 0.9, ...})."""
    if isinstance(optimizer, Optimizer):
        return type(optimizer).__name__.lower(), optimizer._asdict()
    return optimizer, {}


def update_rule(settings: TrainingSettings, dtype: np.dtype) -> str:
    """Return the name of the kernels' update that the settings ask for; raise ConfigError for an unknown optimiser."""
    name = settings.optimizer
    if name in ("adam", "adamw") and dtype.type(settings.epsilon) == 0:
        raise ConfigError(f"epsilon: expected a number that {dtype} can hold, got {settings.epsilon:g}; use at least 1e-38")
    if name not in OPTIMIZERS:
        raise ConfigError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {name!r}{nearest(name, OPTIMIZERS)}")
    if name != "sgd":
        return name
    if settings.nesterov and settings.momentum == 0:
        raise ConfigError("nesterov: expected a momentum above 0 with it, got 0; set momentum, for example to 0.9")
    if settings.momentum == 0 and settings.weight_decay == 0:
        return "sgd"
    return "nesterov" if settings.nesterov else "momentum"


def rates(settings: TrainingSettings, first: int, count: int, dtype: np.dtype) -> np.ndarray:
    """Return the numbers (count, 7) of updates.Rates for `count` steps, after `first` steps taken."""
    is_sgd = settings.optimizer == "sgd"
    fixed = Rates(
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        beta1=settings.momentum if is_sgd else settings.beta1,
        beta2=settings.beta2,
        epsilon=settings.epsilon,
        correction1=1.0,
        correction2=1.0,
    )
    table = np.empty((count, len(fixed)), dtype)
    table[:] = fixed
    if not is_sgd:
        step = np.arange(first + 1, first + count + 1, dtype=np.float64)
        table[:, Rates._fields.index("correction1")] = 1.0 / (1.0 - settings.beta1**step)
        table[:, Rates._fields.index("correction2")] = 1.0 / (1.0 - settings.beta2**step)
    return table
