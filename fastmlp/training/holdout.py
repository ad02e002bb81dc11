"""Which training rows are held out to validate on: as many of each class, any, or the last. Settings and targets in, row numbers out.

Rows are named by their numbers and never copied. They are drawn from `split_seed`, never from `seed`: trainings that differ in their seed,
repeats and the settings of a sweep, are judged by the same rows.
"""

import math
from typing import NamedTuple

import numpy as np

from fastmlp.errors import ConfigError, warn
from fastmlp.kernels import random
from fastmlp.settings import TrainingSettings, known

STRATIFIED, SHUFFLED, LAST = "stratified", "shuffled", "last"
DRAWS, FURTHER = 20, 2  # of groups, until all classes are trained on; how far one draw's number is from the next one's
HOW = {STRATIFIED: "drawn class by class", SHUFFLED: "drawn at random", LAST: "the last ones", "groups": "whole groups, drawn at random"}


class Rows(NamedTuple):
    """Numbers of rows, ascending: those trained on (n,), and those held out (m,)."""

    train: np.ndarray
    held_out: np.ndarray


def count(validation: int | float | None, n_rows: int, what: str = "validation") -> int:
    """Return how many of n_rows rows are held out: so many, or the nearest number to a part of them; None: none.

    Raises ConfigError, with the name of the setting, where a number leaves no row to train on, or a part none on either side.
    """
    if not validation:
        return 0
    if isinstance(validation, float):
        held_out = math.floor(validation * n_rows + 0.5)
        if not 0 < held_out < n_rows:
            of_it = "is no row; write 1 for one row" if held_out == 0 else "leaves none to train on; hold out less"
            raise ConfigError(f"{what}: expected a part of the {n_rows} rows there are, got {validation:g}, which {of_it}")
        return held_out
    if validation >= n_rows:
        raise ConfigError(f"{what}: expected fewer than the {n_rows} rows there are, got {validation}")
    return validation


def rule(holdout: str | None, output: str, n_outputs: int, is_grouped: bool = False) -> str:
    """Return how rows are held out: as asked for, by default class by class where each row has one class, else from all rows.

    is_grouped: whether rows belong to groups, which are drawn as wholes. Raises ConfigError for STRATIFIED where rows have no single class,
    and for anything but SHUFFLED with groups.
    """
    if is_grouped:
        if holdout not in (None, SHUFFLED):
            raise ConfigError(f"holdout: expected none or shuffled with groups, which are drawn as wholes, got {holdout!r}")
        return SHUFFLED
    one_class = output == "softmax" or (output == "sigmoid" and n_outputs == 1)
    if holdout == STRATIFIED and not one_class:
        kind = "numbers" if output == "identity" else f"{n_outputs} labels per row"
        raise ConfigError(f"holdout: expected shuffled or last for a network that predicts {kind}, got 'stratified'; there are no classes")
    return holdout or (STRATIFIED if one_class else SHUFFLED)


def split(
    settings: TrainingSettings, target: np.ndarray, output: str, n_outputs: int, draw: int = 0, groups: np.ndarray | None = None,
    what: str = "validation",
) -> Rows:  # fmt: skip
    """Return which of the rows with these targets (n, T) are trained on and which are held out, as the settings say.

    Of a network with this output; draw: 0, or the number of another draw. groups (n,): whole numbers, of which equal ones stay together;
    None: each row stands for itself. Raises ConfigError, with the name of the setting, where nothing is left on either side.
    """
    n = target.shape[0]
    held_out = count(settings.validation, n, what)
    how = rule(settings.holdout, output, n_outputs, groups is not None)
    if groups is not None and held_out:
        classes = target[:, 0] if rule(None, output, n_outputs) == STRATIFIED else np.zeros(n)
        return _whole_groups(settings.split_seed, groups, classes, held_out, draw, what)
    if how == LAST or held_out == 0:
        return Rows(np.arange(n - held_out), np.arange(n - held_out, n))
    order = np.arange(n)
    with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
        random.shuffle(order, random.key_of(settings.split_seed, random.HOLDOUT, draw))
    if how == SHUFFLED:
        drawn = order[:held_out]
    else:
        classes = target[:, 0].astype(np.int64)
        of_class = [order[classes[order] == each] for each in np.unique(classes)]
        parts = shares(np.array([rows.size for rows in of_class]), held_out)
        drawn = np.concatenate([rows[:part] for rows, part in zip(of_class, parts, strict=True)])
    kept = np.ones(n, bool)
    kept[drawn] = False
    return Rows(np.flatnonzero(kept), np.flatnonzero(~kept))


def warn_of_unused_seed(settings: TrainingSettings) -> None:
    """Warn of a split_seed that changes no held-out row, as the last ones are held out; of a data set it may draw rows for testing."""
    if settings.validation and settings.holdout == LAST and settings.split_seed != TrainingSettings.split_seed:
        warn(f"split_seed: the last rows are held out, which {settings.split_seed} does not change; choose holdout shuffled to draw them")


def _whole_groups(seed: int, groups: np.ndarray, classes: np.ndarray, held_out: int, draw: int, what: str) -> Rows:
    """Return rows (n,) of which whole groups are held out, about so many rows, in the order in which the groups are drawn.

    Drawn anew, a few times, where no row of some class is left to train on.
    """
    names, of_rows, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if names.size < 2:
        raise ConfigError(
            f"{what}: expected two groups or more, so that one is held out and one trained on, got {names.size}; name other groups"
        )
    first: Rows | None = None
    for again in range(DRAWS):
        order = np.arange(names.size)
        with np.errstate(over="ignore"):  # as above
            random.shuffle(order, random.key_of(seed, random.HOLDOUT, draw + again * FURTHER))
        ends = np.cumsum(sizes[order])[:-1]  # one group is left to train on
        drawn = order[: 1 + int(np.abs(ends - held_out).argmin())]
        is_held_out = np.isin(of_rows, drawn)
        found = Rows(np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out))
        first = found if first is None else first
        if np.unique(classes[found.train]).size == np.unique(classes).size:
            return found
    return known(first)


def shares(counts: np.ndarray, held_out: int) -> np.ndarray:
    """Return how many rows of each class are held out, for so many in all: in proportion, by largest remainder.

    counts (C,): rows of each class, at least 1. Equal remainders: the class that comes first. Each class keeps a row to train on; where too
    few rows are left for that, first the classes that have a single one give it up.
    """
    n = int(counts.sum())
    parts = counts * held_out // n
    by_remainder = np.argsort(-(counts * held_out % n), kind="stable")
    for keep in (np.ones_like(counts), np.where(counts > 1, 1, 0), np.zeros_like(counts)):
        while (missing := held_out - int(parts.sum())) > 0:
            open_ = by_remainder[(counts - parts > keep)[by_remainder]][:missing]
            if open_.size == 0:
                break
            parts[open_] += 1
    return parts


def cut(rows: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return rows (n, K) and the numbers (m,) of those wanted; a view of them alone, and None, where they lie one after the other."""
    if numbers.size == 0 or numbers[-1] - numbers[0] + 1 == numbers.size:
        first = int(numbers[0]) if numbers.size else 0
        return rows[first : first + numbers.size], None
    return rows, numbers
