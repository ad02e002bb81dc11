"""The folds of cross-validation: which part of the rows each holds out. They follow from a number and a seed, so that no row is named."""

import numpy as np

from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError
from fastmlp.kernels import random
from fastmlp.settings import whole_number


def check_folds(data: Dataset, folds: int) -> None:
    """Raise ConfigError unless the training rows can be dealt out to so many folds."""
    n = len(data.x_train)
    if not 2 <= whole_number("folds", folds) <= n:
        raise ConfigError(f"folds: expected 2 to {n}, the number of training rows, got {folds}")


def folds_of(data: Dataset, folds: int, seed: int) -> np.ndarray:
    """Return for each training row the fold (0 to folds - 1) that holds it out.

    Rows are shuffled by the seed, then dealt out class by class, so that folds differ by at most one row, and by at most one of each class.
    """
    check_folds(data, folds)
    n = len(data.x_train)
    order = np.arange(n)
    with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
        random.shuffle(order, np.uint64(random.stream_key(seed, random.FOLDS, 0)))
    if data.target_kind == "classes":
        order = order[np.argsort(data.y_train[order], kind="stable")]
    fold_of = np.empty(n, np.int64)
    fold_of[order] = np.arange(n) % folds
    return fold_of
