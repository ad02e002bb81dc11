"""A multi-layer perceptron in float64 with matrix products: what every kernel has to give. Imports nothing of fastmlp.

Formulas are taken from the textbook in another form than the kernels have them, so that a mistake is not made twice.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

Array = np.ndarray


def logistic(z: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -z))


# name -> (f, f'), both functions of z alone
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "identity": (lambda z: z * 1.0, np.ones_like),
    "sigmoid": (logistic, lambda z: np.exp(z - 2.0 * np.logaddexp(0.0, z))),
    "tanh": (np.tanh, lambda z: 1.0 / np.cosh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0.0), lambda z: np.heaviside(z, 0.0)),
    "silu": (lambda z: z * logistic(z), lambda z: logistic(z) * (1.0 + z * logistic(-z))),
}


class Layer(NamedTuple):
    weight: Array  # (K, N)
    bias: Array  # (N,)


class Run(NamedTuple):
    layers: list[Layer]  # after the last step
    step_losses: list[float]  # mean loss of each batch, before its update
    loss_sum: float  # over all rows
    correct: float  # rows classified correctly, each before its update


def layers_of(parameters: Array, sizes: Sequence[int]) -> list[Layer]:
    """Cut a flat vector W0, b0, W1, b1, … into float64 copies of its layers."""
    layers, first = [], 0
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        weight = np.array(parameters[first : first + n_in * n_out], np.float64).reshape(n_in, n_out)
        first += n_in * n_out
        layers.append(Layer(weight, np.array(parameters[first : first + n_out], np.float64)))
        first += n_out
    return layers


def flat(layers: Sequence[Layer]) -> Array:
    """Join layers into the flat vector W0, b0, W1, b1, …"""
    return np.concatenate([part.ravel() for layer in layers for part in layer])


def forward(layers: Sequence[Layer], activations: Sequence[str], x: Array) -> list[tuple[Array, Array]]:
    """Return (z, a) of every layer for rows x; the output layer has no activation here: its a is its z."""
    passed, a = [], np.asarray(x, np.float64)
    for layer, name in zip(layers, [*activations, "identity"], strict=True):
        z = a @ layer.weight + layer.bias
        a = ACTIVATIONS[name][0](z)
        passed.append((z, a))
    return passed


def log_softmax(z: Array) -> Array:
    z = z - z.max(axis=1, keepdims=True)  # otherwise the logarithm of a sum is lost beside numbers of 1e30
    return z - np.logaddexp.reduce(z, axis=1)[:, None]


def softmax(z: Array) -> Array:
    return np.exp(log_softmax(z))


def smoothed(loss: str, z: Array, target: Array, share: float) -> Array:
    """Return the probabilities (M, N) that the outputs are to have: those of the target, mixed with those of a blind guess."""
    if loss == "cross_entropy":
        return (1.0 - share) * (np.arange(z.shape[1]) == target) + share / z.shape[1]
    return (1.0 - share) * target + share * 0.5


def row_losses(loss: str, z: Array, target: Array, parameter: float = 0.0) -> Array:
    """Return the loss of each row (M,). target: class numbers (M, 1) for cross_entropy, else (M, N). parameter: label smoothing."""
    if loss == "cross_entropy":
        return -(smoothed(loss, z, target, parameter) * log_softmax(z)).sum(axis=1)
    if loss == "binary_cross_entropy":
        target = smoothed(loss, z, target, parameter)
        return (target * np.logaddexp(0.0, -z) + (1.0 - target) * np.logaddexp(0.0, z)).mean(axis=1)
    if loss == "mse":
        return ((z - target) ** 2).mean(axis=1)
    raise ValueError(loss)


def output_delta(loss: str, z: Array, target: Array, parameter: float = 0.0) -> Array:
    """Return the derivative (M, N) of each row's loss with respect to its z."""
    if loss == "cross_entropy":
        return softmax(z) - smoothed(loss, z, target, parameter)
    if loss == "binary_cross_entropy":
        return (logistic(z) - smoothed(loss, z, target, parameter)) / z.shape[1]
    if loss == "mse":
        return 2.0 * (z - target) / z.shape[1]
    raise ValueError(loss)


def correct_rows(loss: str, z: Array, target: Array) -> Array:
    """Return for each row 1 where it is classified correctly, its share of right labels for several, 0 for numbers."""
    if loss == "cross_entropy":
        return (z.argmax(axis=1) == target[:, 0]).astype(float)
    if loss == "binary_cross_entropy":
        return ((z > 0) == (target > 0)).mean(axis=1)
    return np.zeros(len(z))


def gradient(
    layers: Sequence[Layer], activations: Sequence[str], loss: str, x: Array, target: Array, row_weights: Array, parameter: float = 0.0
) -> tuple[list[Layer], Array]:
    """Return the gradient of sum over m of row_weights[m] l[m], shaped like the layers, and z of the output layer."""
    passed = forward(layers, activations, x)
    inputs = [np.asarray(x, np.float64), *(a for _, a in passed)]
    z = passed[-1][0]
    delta = row_weights[:, None] * output_delta(loss, z, target, parameter)
    gradients: list[Layer] = []
    for index in range(len(layers) - 1, -1, -1):
        gradients.insert(0, Layer(inputs[index].T @ delta, delta.sum(axis=0)))
        if index > 0:
            derivative = ACTIVATIONS[activations[index - 1]][1]
            delta = (delta @ layers[index].weight.T) * derivative(passed[index - 1][0])
    return gradients, z


def batches(order: Array, batch_size: int) -> Iterator[Array]:
    return (order[first : first + batch_size] for first in range(0, len(order), batch_size))


def train(
    layers: Sequence[Layer],
    activations: Sequence[str],
    loss: str,
    x: Array,
    target: Array,
    *,
    order: Array,
    batch_size: int,
    learning_rate: float,
    mean: bool = True,
    sample_weight: Array | None = None,
    parameter: float = 0.0,
) -> Run:
    """Take one step of gradient descent per batch of rows in the order given; the last batch may be shorter."""
    layers = list(layers)
    weights = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    step_losses, loss_sum, correct = [], 0.0, 0.0
    for rows in batches(order, batch_size):
        share = 1.0 / len(rows) if mean else 1.0
        gradients, z = gradient(layers, activations, loss, x[rows], target[rows], share * weights[rows], parameter)
        batch_loss = float((weights[rows] * row_losses(loss, z, target[rows], parameter)).sum())
        step_losses.append(batch_loss / len(rows))
        loss_sum += batch_loss
        correct += float(correct_rows(loss, z, target[rows]).sum())
        layers = [
            Layer(layer.weight - learning_rate * g.weight, layer.bias - learning_rate * g.bias)
            for layer, g in zip(layers, gradients, strict=True)
        ]
    return Run(layers, step_losses, loss_sum, correct)
