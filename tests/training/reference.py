"""A training of several epochs of plain gradient descent by the float64 oracle. Imports nothing of fastmlp."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.oracle import mlp
from tests.oracle.randomness import shuffled


class Training(NamedTuple):
    parameters: np.ndarray  # after the last epoch
    losses: list[float]  # of each epoch: weighted mean over its rows, each batch before its update
    accuracies: list[float]


def train(
    parameters: np.ndarray,
    sizes: Sequence[int],
    activations: Sequence[str],
    loss: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    reduction: str = "mean",
    seed: int = 0,
    parameter: float = 0.0,
    sample_weight: np.ndarray | None = None,
) -> Training:
    """Train a network of these parameters by gradient descent. y: class numbers (n,) or targets (n, T). parameter: that of the loss."""
    layers, n = mlp.layers_of(parameters, sizes), len(x)
    target = y[:, None] if y.ndim == 1 else y
    losses, accuracies = [], []
    count = n if sample_weight is None else sample_weight.sum()
    for epoch in range(epochs):
        run = mlp.train(
            layers, activations, loss, x, target,
            order=np.array(shuffled(seed, epoch, n)), batch_size=batch_size, learning_rate=learning_rate, mean=reduction == "mean",
            parameter=parameter,
            sample_weight=sample_weight,
        )  # fmt: skip
        layers = run.layers
        losses.append(run.loss_sum / count)
        accuracies.append(run.correct / count)
    return Training(mlp.flat(layers), losses, accuracies)


def outputs(parameters: np.ndarray, sizes: Sequence[int], activations: Sequence[str], x: np.ndarray) -> np.ndarray:
    """Return z of the output layer (n, N) for rows x (n, K)."""
    return mlp.forward(mlp.layers_of(parameters, sizes), activations, x)[-1][0]
