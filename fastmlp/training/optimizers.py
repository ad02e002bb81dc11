"""Optimisers as people name them, and the numbers of each of their steps."""

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.kernels.updates import NADAM_STEPS, Rates, nadam_momentum
from fastmlp.settings import OPTIMIZER_DEFAULTS, TrainingSettings, used_by


class SGD(NamedTuple):
    """Stochastic gradient descent; with momentum, m = momentum m + gradient takes the gradient's place."""

    momentum: float = OPTIMIZER_DEFAULTS["sgd"]["momentum"]
    nesterov: bool = OPTIMIZER_DEFAULTS["sgd"]["nesterov"]
    weight_decay: float = OPTIMIZER_DEFAULTS["sgd"]["weight_decay"]
    learning_rate: float | None = None


class RMSprop(NamedTuple):
    """RMSProp (Tieleman and Hinton 2012): the gradient over the root of its mean square, with momentum if asked for."""

    momentum: float = OPTIMIZER_DEFAULTS["rmsprop"]["momentum"]
    beta2: float = OPTIMIZER_DEFAULTS["rmsprop"]["beta2"]
    epsilon: float = OPTIMIZER_DEFAULTS["rmsprop"]["epsilon"]
    weight_decay: float = OPTIMIZER_DEFAULTS["rmsprop"]["weight_decay"]
    learning_rate: float | None = None


class Adagrad(NamedTuple):
    """Adagrad (Duchi et al. 2011): the gradient over the root of the sum of its squares so far."""

    epsilon: float = OPTIMIZER_DEFAULTS["adagrad"]["epsilon"]
    weight_decay: float = OPTIMIZER_DEFAULTS["adagrad"]["weight_decay"]
    learning_rate: float | None = None


class Adam(NamedTuple):
    """Adam (Kingma and Ba 2015); weight decay is added to the gradient."""

    beta1: float = OPTIMIZER_DEFAULTS["adam"]["beta1"]
    beta2: float = OPTIMIZER_DEFAULTS["adam"]["beta2"]
    epsilon: float = OPTIMIZER_DEFAULTS["adam"]["epsilon"]
    weight_decay: float = OPTIMIZER_DEFAULTS["adam"]["weight_decay"]
    learning_rate: float | None = None


class AdamW(NamedTuple):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): each step shrinks the weights by learning_rate * weight_decay."""

    beta1: float = OPTIMIZER_DEFAULTS["adamw"]["beta1"]
    beta2: float = OPTIMIZER_DEFAULTS["adamw"]["beta2"]
    epsilon: float = OPTIMIZER_DEFAULTS["adamw"]["epsilon"]
    weight_decay: float = OPTIMIZER_DEFAULTS["adamw"]["weight_decay"]
    learning_rate: float | None = None


class NAdam(NamedTuple):
    """Adam with Nesterov momentum (Dozat 2016); weight decay is added to the gradient."""

    beta1: float = OPTIMIZER_DEFAULTS["nadam"]["beta1"]
    beta2: float = OPTIMIZER_DEFAULTS["nadam"]["beta2"]
    epsilon: float = OPTIMIZER_DEFAULTS["nadam"]["epsilon"]
    weight_decay: float = OPTIMIZER_DEFAULTS["nadam"]["weight_decay"]
    learning_rate: float | None = None


class Lion(NamedTuple):
    """Lion (Chen et al. 2023): steps of one size, by the sign of a mean gradient. Decay is decoupled, as in AdamW.

    A learning rate some ten times below that of Adam, and a weight decay as many times above it, are where to begin.
    """

    beta1: float = OPTIMIZER_DEFAULTS["lion"]["beta1"]
    beta2: float = OPTIMIZER_DEFAULTS["lion"]["beta2"]
    weight_decay: float = OPTIMIZER_DEFAULTS["lion"]["weight_decay"]
    learning_rate: float | None = None


class LBFGS(NamedTuple):
    """L-BFGS over all rows (Nocedal and Wright 2006), which finds the length of each step by itself: docs/lbfgs.md."""

    weight_decay: float = OPTIMIZER_DEFAULTS["lbfgs"]["weight_decay"]


Optimizer = SGD | RMSprop | Adagrad | Adam | AdamW | NAdam | Lion | LBFGS


def as_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings whose optimizer may be a record, with its name and its numbers in place of the record.

    Raises ConfigError where a number is given beside the record, too, and is another one.
    """
    optimizer = given.get("optimizer")
    if isinstance(optimizer, type) and issubclass(optimizer, get_args(Optimizer)):
        raise ConfigError(f"optimizer: expected a name or a record, got the class {optimizer.__name__}; write {optimizer.__name__}()")
    if not isinstance(optimizer, Optimizer):
        return dict(given)
    numbers = {name: value for name, value in optimizer._asdict().items() if value is not None}
    for name, value in numbers.items():
        beside = given.get(name)
        if beside is not None and beside != value:
            raise ConfigError(
                f"{name}: expected it once, got {beside!r:.60} beside {optimizer}; "
                f"write it into the record: {type(optimizer).__name__}({name}={beside!r:.60})"
            )
    return {**given, **numbers, "optimizer": type(optimizer).__name__.lower()}


def update_rule(settings: TrainingSettings, dtype: np.dtype) -> str:
    """Return the name of the kernels' update that resolved settings ask for.

    Raises ConfigError for momentum that Nesterov's rule lacks, and for numbers that the type of the parameters cannot hold.
    """
    name = str(settings.optimizer)
    _check_range(settings, dtype)
    if settings.nesterov and not settings.momentum:
        raise ConfigError("nesterov: expected a momentum above 0 with it, got 0; set momentum, for example to 0.9")
    if name == "rmsprop":
        return "rmsprop_momentum" if settings.momentum else "rmsprop"
    if name == "lbfgs":
        raise ConfigError("optimizer: expected a rule for single steps, got 'lbfgs', which train alone has; use adam")
    if name != "sgd":
        return name
    if not settings.momentum and not settings.weight_decay:
        return "sgd"
    return "nesterov" if settings.nesterov else "momentum"


def _check_range(settings: TrainingSettings, dtype: np.dtype) -> None:
    """Raise ConfigError for a number that the type of the parameters would make 0 or infinite."""
    largest = float(np.finfo(dtype).max)
    for name in ("learning_rate", "weight_decay", "l1"):
        value = getattr(settings, name)
        if value is not None and not value <= largest:
            raise ConfigError(f"{name}: expected a number that {dtype} can hold, got {value:g}")
    for name in ("epsilon", "clip_value", "clip_norm"):
        value = getattr(settings, name)
        if value is not None and dtype.type(min(value, largest)) == 0:
            raise ConfigError(f"{name}: expected a number that {dtype} can hold, got {value:g}; use at least 1e-38")


def limits_gradient(settings: TrainingSettings) -> bool:
    """Return whether the gradient is clipped, or the weights pulled by l1, before the rule gets it."""
    return settings.clip_value is not None or settings.clip_norm is not None or settings.l1 > 0


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
        table[:, _CORRECTION1] = 1.0 / (1.0 - beta1**step)
        table[:, _CORRECTION2] = 1.0 / (1.0 - beta2**step)
        if settings.optimizer == "nadam":
            table[:, _CORRECTION1], table[:, _CORRECTION3] = _corrections_of_nadam(beta1, step)
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
