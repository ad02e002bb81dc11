"""Where a training stands: with it, the network and the same settings and data, training goes on bit for bit."""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels.textbook_step import TOTALS
from fastmlp.settings import record_refuses_unknown

LIKE_PARAMETERS = ("m", "v", "weights", "best_weights", "average")
LIKE_RUNNING_STATS = ("running_stats", "best_running_stats")


class Plateau(NamedTuple):
    """What a training that waits for its loss to fall knows: the factor so far, the smallest loss, the epochs since it or since a cut."""

    factor: float = 1.0
    best: float | None = None
    waited: int = 0


class Best(NamedTuple):
    """The best epoch so far: its number, 0 before there was one, and the value that it is judged by."""

    epoch: int = 0
    value: float | None = None


@record_refuses_unknown
class TrainingState(NamedTuple):
    """Where a training stands: with it, the network and the same settings and data, training goes on bit for bit.

    A schedule that ends with the last epoch, and average="swa", depend on the number of epochs: it is one of those settings then.
    """

    epoch: int = 0  # epochs finished
    row: int = 0  # rows done of the next one
    steps: int = 0  # steps taken in all
    total: tuple[float, ...] = (0.0,) * TOTALS  # sums over the rows done: loss, correct, weight, rows
    seconds: float = 0.0  # spent on those rows
    earlier_seconds: float = 0.0  # spent on the epochs finished
    m: np.ndarray | None = None  # (P,) optimizer state, where the optimizer has one
    v: np.ndarray | None = None
    best_epoch: int = 0  # the epoch with the best value of the metric so far, 0 before there was one
    best_value: float | None = None
    validation_accuracy: float | None = None  # after the last epoch finished
    weights: np.ndarray | None = None  # (P,) after the last step, where the network holds others: an average, or those of the best epoch
    best_weights: np.ndarray | None = None  # (P,) where they are kept: restore_best
    average: np.ndarray | None = None  # (P,) of the weights over the steps, or, in float64, over the ends of epochs
    averaged: int = 0  # how many epochs are in it
    plateau: Plateau = Plateau()
    pairs: np.ndarray | None = None  # (2, k, P) what lbfgs keeps
    converged: bool = False  # lbfgs: whether there is nothing left to gain
    running_stats: np.ndarray | None = None  # (S,) the running statistics of batch normalisation that belong to weights
    best_running_stats: np.ndarray | None = None  # (S,) and to best_weights
    optimizer: str | None = None  # whose state m, v and pairs are; None: a state of an earlier version does not say
