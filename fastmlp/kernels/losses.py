"""Losses: scalar formulas of the loss and of its derivative with respect to the output layer's z, each with its source.

A loss names the output activation that it is fused with: p - t is exact where the two derivatives apart would overflow.
The loss of a sample is the mean over its outputs, the cross-entropy of its one class for softmax.
Plain Python, so that names can be checked without loading a compiler.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from fastmlp.kernels.elementary import exp


class Loss(NamedTuple):
    """One loss: the output activation it belongs to, loss l(z, t, p) and derivative dl/dz(z, t, p) of one output, the source.

    p is the number that the loss has besides, `parameter` the setting that gives it; without one it is 0 and not read. Without a
    formula the outputs of a row depend on each other, and the loss is a kernel of its own in scalar.py.
    """

    name: str
    output: str
    formula: Callable[[float, float, float], float] | None
    derivative: Callable[[float, float, float], float] | None
    source: str
    parameter: str | None = None


SMOOTHING = "label_smoothing"


def squared_error(z, t, p):
    return (z - t) * (z - t)


def squared_error_derivative(z, t, p):
    return 2 * (z - t)


def binary_cross_entropy(z, t, p):
    # -t' log s(z) - (1 - t') log(1 - s(z)) for t' = t (1 - p) + p / 2, written so that neither exp overflows nor log sees a 0
    return (0 if z < 0 else z) - z * (t * (1 - p) + p / 2) + math.log(1 + exp(-abs(z)))


def binary_cross_entropy_derivative(z, t, p):
    return 1 / (1 + exp(-z)) - (t * (1 - p) + p / 2)


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("cross_entropy", "softmax", None, None, "Bishop 2006, eq. 4.108 and 4.109; Szegedy et al. 2016, section 7", SMOOTHING),
        Loss(
            "binary_cross_entropy",
            "sigmoid",
            binary_cross_entropy,
            binary_cross_entropy_derivative,
            "Bishop 2006, eq. 4.90 and 4.91; Szegedy et al. 2016, section 7, for two classes",
            SMOOTHING,
        ),
        Loss("mse", "identity", squared_error, squared_error_derivative, "Bishop 2006, eq. 5.11, without the one half"),
    )
}
# The loss of an output activation where none is named.
DEFAULT_LOSS = {loss.output: loss.name for loss in LOSSES.values()}
OUTPUTS = tuple(DEFAULT_LOSS)
