"""Training of a regression of one hidden layer (tanh) with standardised targets, by plain gradient descent, in float64.

Imports nothing of fastmlp. Losses are those of tests/oracle/losses.py, written here as functions of an error in the units of y, and each
output is weighted so that an error of one standard deviation has the slope that an error of 1 has without any scaling.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.oracle import losses

Array = np.ndarray


class Layers(NamedTuple):
    W0: Array
    b0: Array
    W1: Array
    b1: Array


def moments(y: Array, row_weights: Array | None = None) -> tuple[Array, Array]:
    """Return mean and standard deviation of each column of y (n, T), of which 0 counts as 1."""
    mean = np.average(y, axis=0, weights=row_weights)
    std = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=row_weights))
    return mean, np.where(std > 0, std, 1.0)


def output_weights(loss: str, std: Array, parameter: float) -> Array:
    """Return what the loss of each output is multiplied by before it is minimised: 1/std² for mse, 1/std for mae and quantile."""

    def slope(error: float) -> float:
        return float(np.abs(losses.output_delta(loss, np.array([[error], [-error]]), np.zeros((2, 1)), parameter)).max())

    return np.array([slope(1.0) / (slope(each) * each) for each in std])


def predict(layers: Layers, x: Array, mean: Array, std: Array) -> Array:
    return (np.tanh(x @ layers.W0 + layers.b0) @ layers.W1 + layers.b1) * std + mean


def train(
    layers: Layers, x: Array, y: Array, loss: str, parameter: float, orders: Sequence[Array], batch_size: int, learning_rate: float,
    row_weights: Array | None = None,
) -> tuple[Layers, list[float]]:  # fmt: skip
    """Return the layers after one pass in each of the orders, and the mean loss of each, in the units of y, each batch before its step."""
    weights = np.ones(len(x)) if row_weights is None else row_weights
    mean, std = moments(y, weights)
    of_output = output_weights(loss, std, parameter)
    means = []
    for order in orders:
        total = 0.0
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            a = np.tanh(x[rows] @ layers.W0 + layers.b0)
            found = (a @ layers.W1 + layers.b1) * std + mean
            total += float((weights[rows] * losses.row_losses(loss, found, y[rows], parameter)).sum())
            delta = losses.output_delta(loss, found, y[rows], parameter) * of_output * std * weights[rows, None] / len(rows)
            below = (delta @ layers.W1.T) * (1.0 - a * a)
            gradient = Layers(x[rows].T @ below, below.sum(axis=0), a.T @ delta, delta.sum(axis=0))
            layers = Layers(*(array - learning_rate * slope for array, slope in zip(layers, gradient, strict=True)))
        means.append(total / weights.sum())
    return layers, means


def scores(found: Array, y: Array, row_weights: Array | None = None) -> dict[str, float]:
    """Return root of the mean squared error, mean absolute error and R², each the plain mean over the columns."""
    mean = np.average(y, axis=0, weights=row_weights)
    square, spread = (np.average(each**2, axis=0, weights=row_weights) for each in (found - y, y - mean))
    return {
        "rmse": float(np.sqrt(square).mean()),
        "mae": float(np.average(np.abs(found - y), axis=0, weights=row_weights).mean()),
        "r2": float((1.0 - square / spread).mean()),
    }
