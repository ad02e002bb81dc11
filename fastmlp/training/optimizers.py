"""Optimizers as people name them, and the numbers of each of their steps."""

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from fastmlp.errors import ConfigError
from fastmlp.settings import OPTIMIZER_DEFAULTS, record_refuses_unknown


@record_refuses_unknown
class SGD(NamedTuple):
    """Stochastic gradient descent; with momentum, m = momentum m + gradient takes the gradient's place."""

    momentum: float = OPTIMIZER_DEFAULTS["sgd"]["momentum"]
    nesterov: bool = OPTIMIZER_DEFAULTS["sgd"]["nesterov"]
    weight_decay: float = OPTIMIZER_DEFAULTS["sgd"]["weight_decay"]
    learning_rate: float | None = None


@record_refuses_unknown
class RMSprop(NamedTuple):
    """RMSProp (Tieleman and Hinton 2012): the gradient over the root of its mean square, with momentum if asked for."""

    momentum: float = OPTIMIZER_DEFAULTS["rmsprop"]["momentum"]
    beta2: float = OPTIMIZER_DEFAULTS["rmsprop"]["beta2"]
    epsilon: float = OPTIMIZER_DEFAULTS["rmsprop"]["epsilon"]
    weight_decay: float = OPTIMIZER_DEFAULTS["rmsprop"]["weight_decay"]
    learning_rate: float | None = None


@record_refuses_unknown
class Adagrad(NamedTuple):
    """Adagrad (Duchi et al. 2011): the gradient over the root of the sum of its squares so far, and of a value that the sum begins at."""

    epsilon: float = OPTIMIZER_DEFAULTS["adagrad"]["epsilon"]
    weight_decay: float = OPTIMIZER_DEFAULTS["adagrad"]["weight_decay"]
    learning_rate: float | None = None
    initial_accumulator_value: float | None = None


@record_refuses_unknown
class Adam(NamedTuple):
    """Adam (Kingma and Ba 2015); weight decay is added to the gradient."""

    beta1: float = OPTIMIZER_DEFAULTS["adam"]["beta1"]
    beta2: float = OPTIMIZER_DEFAULTS["adam"]["beta2"]
    epsilon: float = OPTIMIZER_DEFAULTS["adam"]["epsilon"]
    weight_decay: float = OPTIMIZER_DEFAULTS["adam"]["weight_decay"]
    learning_rate: float | None = None


@record_refuses_unknown
class AdamW(NamedTuple):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): each step shrinks the weights by learning_rate * weight_decay."""

    beta1: float = OPTIMIZER_DEFAULTS["adamw"]["beta1"]
    beta2: float = OPTIMIZER_DEFAULTS["adamw"]["beta2"]
    epsilon: float = OPTIMIZER_DEFAULTS["adamw"]["epsilon"]
    weight_decay: float = OPTIMIZER_DEFAULTS["adamw"]["weight_decay"]
    learning_rate: float | None = None


@record_refuses_unknown
class NAdam(NamedTuple):
    """Adam with Nesterov momentum (Dozat 2016); weight decay is added to the gradient."""

    beta1: float = OPTIMIZER_DEFAULTS["nadam"]["beta1"]
    beta2: float = OPTIMIZER_DEFAULTS["nadam"]["beta2"]
    epsilon: float = OPTIMIZER_DEFAULTS["nadam"]["epsilon"]
    weight_decay: float = OPTIMIZER_DEFAULTS["nadam"]["weight_decay"]
    learning_rate: float | None = None


@record_refuses_unknown
class Lion(NamedTuple):
    """Lion (Chen et al. 2023): steps of one size, by the sign of a mean gradient. Decay is decoupled, as in AdamW.

    A learning rate some ten times below that of Adam, and a weight decay as many times above it, are where to begin.
    """

    beta1: float = OPTIMIZER_DEFAULTS["lion"]["beta1"]
    beta2: float = OPTIMIZER_DEFAULTS["lion"]["beta2"]
    weight_decay: float = OPTIMIZER_DEFAULTS["lion"]["weight_decay"]
    learning_rate: float | None = None


@record_refuses_unknown
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
