"""Networks and data for tests of embedded networks, with what the float64 oracle says about them."""

from typing import NamedTuple

import numpy as np

import fastmlp
from fastmlp.kernels.losses import DEFAULT_LOSS
from fastmlp.preprocessing import InputScaling
from tests.oracle import mlp

Array = np.ndarray

OUTPUTS = ("softmax", "sigmoid", "identity")
# depths 1 to 4, widths on both sides of where formulas are called number by number
SIZES = ([5, 3], [4, 7, 3], [6, 8, 3], [3, 17, 9, 2], [4, 5, 6, 7, 3])


class Problem(NamedTuple):
    """A network with rows and targets."""

    network: fastmlp.Network
    x: Array  # (M, K) float64 that float32 holds exactly
    target: Array  # (M, T) in the type of the network: class numbers for softmax; one form for all tests, as each form is compiled anew

    @property
    def y(self) -> Array:
        """Return the targets as Python takes them: (M,) whole class numbers for softmax."""
        return self.target[:, 0].astype(np.int64) if self.network.output == "softmax" else self.target

    @property
    def layers(self) -> list[mlp.Layer]:
        return mlp.layers_of(self.network.parameters, self.network.sizes)

    def outputs(self, x: Array | None = None) -> Array:
        """Return what the oracle predicts for inputs as the first layer gets them."""
        z = mlp.forward(self.layers, self.network.hidden_activations, self.x if x is None else x)[-1][0]
        return {"softmax": mlp.softmax, "sigmoid": mlp.logistic, "identity": np.copy}[self.network.output](z)

    def mean_loss(self, weights: Array | None = None, x: Array | None = None) -> float:
        """Return the oracle's mean of weight times loss."""
        z = mlp.forward(self.layers, self.network.hidden_activations, self.x if x is None else x)[-1][0]
        losses = mlp.row_losses(self.network.loss, z, self.target)
        return float((losses if weights is None else losses * weights).mean())

    def gradient(self, weights: Array | None = None) -> Array:
        """Return the oracle's derivative of mean_loss with respect to the flat parameters."""
        rows = len(self.x)
        shares = np.full(rows, 1.0 / rows) if weights is None else weights / rows
        layers, _ = mlp.gradient(self.layers, self.network.hidden_activations, self.network.loss, self.x, self.target.astype(float), shares)
        return mlp.flat(layers)


def problem(sizes, output="softmax", activation="tanh", rows=5, dtype="float64", seed=0) -> Problem:
    """Return a network with biases that are not zero, and rows for it, a fifth of their inputs zeros."""
    rng = np.random.default_rng([seed, rows, *sizes])
    network = fastmlp.Network(sizes, activation=activation, output=output, dtype=dtype, seed=seed)
    network.parameters[:] = 0.5 * rng.standard_normal(network.parameters.size)
    x = rng.standard_normal((rows, sizes[0])).astype(np.float32).astype(np.float64)
    x[rng.uniform(size=x.shape) < 0.2] = 0.0
    if output == "softmax":
        target = rng.integers(0, sizes[-1], (rows, 1))
    else:
        target = rng.integers(0, 2, (rows, sizes[-1]))
    assert DEFAULT_LOSS[output] == network.loss
    return Problem(network, x, target.astype(dtype))


def standardised(network: fastmlp.Network, rng: np.random.Generator) -> tuple[Array, Array]:
    """Give a network a normalisation per feature; return its means and deviations."""
    mean, deviation = rng.standard_normal(network.n_inputs), rng.uniform(0.5, 2.0, network.n_inputs)
    network.input_scaling = InputScaling("standardize", mean, deviation)
    return mean, deviation
