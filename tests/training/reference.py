"""A training of several epochs by the float64 oracle, with fastmlp's order of rows in Python integers. Imports nothing of fastmlp."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.oracle import mlp

GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
ALL = 2**64 - 1
SHUFFLE = 2  # the stream of random numbers that orders rows


class Training(NamedTuple):
    parameters: np.ndarray  # after the last epoch
    losses: list[float]  # of each epoch: mean per row, each batch before its update
    accuracies: list[float]


def mix(bits: int) -> int:
    bits = (bits ^ bits >> 30) * MIX_1 & ALL
    bits = (bits ^ bits >> 27) * MIX_2 & ALL
    return bits ^ bits >> 31


def shuffled(seed: int, epoch: int, n: int) -> list[int]:
    """Return the order in which epoch 0, 1, ... reads n rows: Fisher and Yates, with SplitMix64 of (seed, purpose, epoch)."""
    key = mix((mix((mix(seed + GOLDEN & ALL) + SHUFFLE) & ALL) + epoch) & ALL)
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        chosen = (mix((key + last * GOLDEN) & ALL) >> 32) * (last + 1) >> 32
        order[last], order[chosen] = order[chosen], order[last]
    return order


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
) -> Training:
    """Train a network of these parameters by gradient descent. y: class numbers (n,) or targets (n, T). parameter: that of the loss."""
    layers, n = mlp.layers_of(parameters, sizes), len(x)
    target = y[:, None] if y.ndim == 1 else y
    losses, accuracies = [], []
    for epoch in range(epochs):
        run = mlp.train(
            layers, activations, loss, x, target,
            order=np.array(shuffled(seed, epoch, n)), batch_size=batch_size, learning_rate=learning_rate, mean=reduction == "mean",
            parameter=parameter,
        )  # fmt: skip
        layers = run.layers
        losses.append(run.loss_sum / n)
        accuracies.append(run.correct / n)
    return Training(mlp.flat(layers), losses, accuracies)


def outputs(parameters: np.ndarray, sizes: Sequence[int], activations: Sequence[str], x: np.ndarray) -> np.ndarray:
    """Return z of the output layer (n, N) for rows x (n, K)."""
    return mlp.forward(mlp.layers_of(parameters, sizes), activations, x)[-1][0]
