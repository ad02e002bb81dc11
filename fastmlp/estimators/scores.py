"""What an estimator is judged by on rows held out: the accuracy of classes, the r2 of numbers."""

from typing import Any

import numpy as np

from fastmlp.estimators import rows as of_rows
from fastmlp.estimators.problems import Problem
from fastmlp.network import Network, outputs
from fastmlp.preprocessing import targets


def values(problem: Problem, z: np.ndarray) -> np.ndarray:
    """Return the numbers that outputs z (n, T) of a regression predict."""
    return outputs.rates(z) if problem.loss == "poisson" else z


def numbers_of_classes(problem: Problem, z: np.ndarray) -> np.ndarray:
    """Return the class numbers (n, 1) of outputs z (n, C) or (n, 1), or the labels 0 and 1 (n, L) of several."""
    return z.argmax(axis=1)[:, None] if problem.output == "softmax" else (z > 0).astype(np.int64)


def score(problem: Problem, network: Network, x: Any, target: np.ndarray, weight: np.ndarray | None, threads: int) -> float:
    """Return accuracy, that of all labels of a row together, or r2; NaN where an output is no number. target (n, T), weight (n,)."""
    z = of_rows.outputs(network, x, threads)
    if not np.isfinite(z).all():
        return float("nan")
    if problem.output == "identity":
        predicted = values(problem, z)
        r2 = targets.scores(predicted, target, weight)["r2"] if np.isfinite(predicted).all() else None
        return float("nan") if r2 is None else r2
    correct = (numbers_of_classes(problem, z) == target).all(axis=1)
    return float(np.average(correct, weights=weight))
