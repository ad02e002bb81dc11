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
    if data.groups is not None and folds > (count := np.unique(data.groups).size):
        raise ConfigError(f"folds: expected 2 to {count}, the number of groups in the training rows, got {folds}")


def folds_of(data: Dataset, folds: int, seed: int) -> np.ndarray:
    """Return for each training row the fold (0 to folds - 1) that holds it out.

    Rows are shuffled by the seed, then dealt out class by class, so that folds differ by at most one row, and by at most one of each class.
    Groups are dealt out as wholes: the largest first, each to the fold with the fewest rows, as scikit-learn's GroupKFold does.
    """
    check_folds(data, folds)
    if data.groups is not None:
        return _whole_groups(data.groups, folds, seed)
    n = len(data.x_train)
    order = np.arange(n)
    with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
        random.shuffle(order, random.key_of(seed, random.FOLDS, 0))
    if data.target_kind == "classes":
        order = order[np.argsort(data.y_train[order], kind="stable")]
    fold_of = np.empty(n, np.int64)
    fold_of[order] = np.arange(n) % folds
    return fold_of


def _whole_groups(groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each row (n,), the same in a group; which of equally large groups comes first follows from the seed."""
    names, of_rows, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.arange(names.size)
    with np.errstate(over="ignore"):
        random.shuffle(order, random.key_of(seed, random.FOLDS, 0))
    rows, fold_of = np.zeros(folds, np.int64), np.empty(names.size, np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[group] = rows.argmin()
        rows[fold_of[group]] += sizes[group]
    found: np.ndarray = fold_of[of_rows]
    return found
