"""How much each row counts: the weights of rows that a user gives, times those of their classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastmlp.errors import ConfigError, warn
from fastmlp.network import Network
from fastmlp.network.arrays import weight_in
from fastmlp.network.labels import is_plain, number_of, shown
from fastmlp.settings import is_number

# How many times larger or smaller than 1 weights may be on average. Steps of rules that divide by the size of the gradient hardly change,
# until what is added to that matters.
FARTHEST, FARTHEST_ADAPTIVE = {"sgd": 30.0, "momentum": 30.0, "nesterov": 30.0, "adagrad": 30.0}, 1e4
ClassWeight = str | Mapping[Any, float] | None


def class_weight_of_rows(
    class_weight: ClassWeight, target: np.ndarray, output: str, n_outputs: int, classes: np.ndarray | None = None
) -> np.ndarray | None:
    """Return the weight of each row's class, float64 (n,), for targets (n, 1) of the rows trained on; None where all count alike.

    class_weight: "balanced" for n / (C * count), C the number of classes that occur, so that each class counts alike (as scikit-learn
    has it); or a mapping {class: weight}, where a class that is not named counts 1. classes (C,): the labels of the classes, None: their
    numbers. Raises ConfigError for classes that there are not.
    """
    if class_weight is None:
        return None
    if output == "identity" or (output == "sigmoid" and n_outputs > 1):
        kind = "numbers" if output == "identity" else f"{n_outputs} labels per row"
        raise ConfigError(f"class_weight: expected a network with one class per row, this one predicts {kind}; use sample_weight")
    n_classes = n_outputs if output == "softmax" else 2
    of_rows = target[:, 0].astype(np.int64)
    if isinstance(class_weight, Mapping):
        weights = np.ones(n_classes)
        for name, weight in class_weight.items():
            weights[_checked_class(name, n_classes, classes)] = _checked_weight(name, weight)
    elif isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(of_rows, minlength=n_classes)
        weights = of_rows.size / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        raise ConfigError(f"class_weight: expected 'balanced' or a mapping {{class: weight}}, got {class_weight!r:.60}")
    return weights[of_rows]


def _checked_class(name: Any, n_classes: int, classes: np.ndarray | None) -> int:
    if classes is not None and not is_plain(classes):
        if (number := number_of(name, classes)) is None:
            raise ConfigError(f"class_weight: expected labels of classes, {shown(classes)}, got {name!r:.60}")
        return number
    if isinstance(name, bool) or not hasattr(name, "__index__") or not 0 <= name < n_classes:
        raise ConfigError(f"class_weight: expected class numbers from 0 to {n_classes - 1}, got {name!r:.60}")
    return int(name.__index__())


def _checked_weight(name: Any, weight: Any) -> float:
    number = float(weight) if is_number(weight) and np.ndim(weight) == 0 else np.nan
    if not (np.isfinite(number) and number >= 0):
        raise ConfigError(f"class_weight: expected finite numbers of at least 0, got {weight!r:.60} for class {name!r}")
    return number


def weights_of_rows(
    network: Network, target: np.ndarray, output: str, train: np.ndarray, weight: np.ndarray | None, class_weight: ClassWeight,
    classes: np.ndarray | None,
) -> np.ndarray | None:  # fmt: skip
    """Return what each row counts, (n,), by its own weight times that of its class among the rows trained on; None where all count 1.

    Rows not trained on have 0.
    """
    of_class = class_weight_of_rows(class_weight, target[train], output, network.n_outputs, classes)
    of_train = product(network.dtype, None if weight is None else weight[train], of_class)
    if of_train is None:
        return None
    of_rows = np.zeros(target.shape[0], network.dtype)
    of_rows[train] = of_train
    return of_rows


def warn_of_size(weight: np.ndarray, update: str) -> None:
    """Warn where the weights (n,) of the rows trained on are so far from 1 that default rates make steps that are far too short or long."""
    mean, most = float(weight.mean(dtype=np.float64)), FARTHEST.get(update, FARTHEST_ADAPTIVE)
    if not 1 / most <= mean <= most:
        warn(
            f"sample_weight: rows count {mean:.3g} on average, and so do their gradients, where optimizers are made for 1; divide the "
            "weights by their mean, or give a learning_rate",
        )


def product(dtype: np.dtype, *factors: np.ndarray | None) -> np.ndarray | None:
    """Return the product of weights (n,) in the type of the parameters; None where there are none."""
    given = [factor for factor in factors if factor is not None]
    return weight_in(dtype, np.prod(given, axis=0)) if given else None
