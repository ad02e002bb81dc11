"""A multi-layer perceptron in float64 with matrix products: what every kernel has to give. Imports nothing of fastmlp.

Formulas are taken from the textbook in another form than the kernels have them, so that a mistake is not made twice.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tests.oracle import normalisation
from tests.oracle.activations import ACTIVATIONS as ACTIVATIONS
from tests.oracle.activations import logistic as logistic
from tests.oracle.losses import correct_rows as correct_rows
from tests.oracle.losses import log_softmax as log_softmax
from tests.oracle.losses import output_delta as output_delta
from tests.oracle.losses import row_losses as row_losses
from tests.oracle.losses import softmax as softmax

Array = np.ndarray


class Layer(NamedTuple):
    weight: Array  # (K, N)
    bias: Array  # (N,)
    gamma: Array | None = None  # (N,), where the sums are normalised: the bias is then added after that


class Run(NamedTuple):
    layers: list[Layer]  # after the last step
    step_losses: list[float]  # mean loss of each batch, before its update
    loss_sum: float  # over all rows
    correct: float  # rows classified correctly, each before its update and by its weight


def layers_of(parameters: Array, sizes: Sequence[int], normed: bool = False) -> list[Layer]:
    """Cut a flat vector W0, b0, W1, b1, … into float64 copies of its layers; normed: W0, b0, gamma0, …, the last layer without."""
    layers, first = [], 0
    for index, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
        weight = np.array(parameters[first : first + n_in * n_out], np.float64).reshape(n_in, n_out)
        first += n_in * n_out
        vectors = 2 if normed and index + 2 < len(sizes) else 1
        layers.append(Layer(weight, *np.array(parameters[first : first + vectors * n_out], np.float64).reshape(vectors, n_out)))
        first += vectors * n_out
    return layers


def flat(layers: Sequence[Layer]) -> Array:
    """Join layers into the flat vector W0, b0, W1, b1, …, each gamma behind its bias."""
    return np.concatenate([part.ravel() for layer in layers for part in layer if part is not None])


def forward(
    layers: Sequence[Layer],
    activations: Sequence[str],
    x: Array,
    *,
    norm: str = "none",
    masks: Sequence[Array] | None = None,
    running: Sequence[normalisation.Running] | None = None,
) -> list[tuple[Array, Array]]:
    """Return (z, a) of every layer for rows x; the output layer has no activation here: its a is its z.

    norm: "batch" (over these rows, or by `running` statistics where there are any) or "layer" for layers that have a gamma; z is taken
    after it. masks: factors of each hidden a (M, N), 0 for what is dropped.
    """
    passed, a = [], np.asarray(x, np.float64)
    for index, (layer, name) in enumerate(zip(layers, [*activations, "identity"], strict=True)):
        z = a @ layer.weight
        if layer.gamma is not None:
            z = layer.gamma * (normalisation.in_use(running[index], z) if running else normalisation.standardised(norm, z))
        z = z + layer.bias
        a = ACTIVATIONS[name][0](z)
        if masks is not None and index + 1 < len(layers):
            a = a * masks[index]
        passed.append((z, a))
    return passed


def gradient(
    layers: Sequence[Layer],
    activations: Sequence[str],
    loss: str,
    x: Array,
    target: Array,
    row_weights: Array,
    parameter: float = 0.0,
    *,
    norm: str = "none",
    masks: Sequence[Array] | None = None,
    running: Sequence[normalisation.Running] | None = None,
) -> tuple[list[Layer], Array]:
    """Return the gradient of sum over m of row_weights[m] l[m], shaped like the layers, and z of the output layer.

    parameter: the number that the loss may have; norm, masks, running: see forward.
    """
    passed = forward(layers, activations, x, norm=norm, masks=masks, running=running)
    inputs = [np.asarray(x, np.float64), *(a for _, a in passed)]
    z = passed[-1][0]
    delta = row_weights[:, None] * output_delta(loss, z, target, parameter)
    gradients: list[Layer] = []
    for index in range(len(layers) - 1, -1, -1):
        layer, dbias, dgamma = layers[index], delta.sum(axis=0), None
        if layer.gamma is not None:
            sums = inputs[index] @ layer.weight
            zhat = normalisation.in_use(running[index], sums) if running else normalisation.standardised(norm, sums)
            dgamma = (delta * zhat).sum(axis=0)
            if running:
                delta = delta * layer.gamma / np.sqrt(running[index].variance + normalisation.EPSILON)
            else:
                delta = normalisation.backward(norm, sums, delta * layer.gamma)
        gradients.insert(0, Layer(inputs[index].T @ delta, dbias, dgamma))
        if index > 0:
            delta = delta @ layer.weight.T
            if masks is not None:
                delta = delta * masks[index - 1]
            delta = delta * ACTIVATIONS[activations[index - 1]][1](passed[index - 1][0])
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
        correct += float((weights[rows] * correct_rows(loss, z, target[rows])).sum())
        layers = [
            Layer(layer.weight - learning_rate * g.weight, layer.bias - learning_rate * g.bias)
            for layer, g in zip(layers, gradients, strict=True)
        ]
    return Run(layers, step_losses, loss_sum, correct)
