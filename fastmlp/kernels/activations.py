"""Activations: scalar formulas f(z) and their derivatives, each with its source. Adding one means adding it here, and its test.

The derivative is written with z, with a = f(z), or with both, whichever is cheapest; `needs` says which.
Plain Python, so that names can be checked without loading a compiler.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastmlp.kernels.elementary import exp, tanh


class Activation(NamedTuple):
    """One activation: its formula, its derivative, what the derivative reads ("z", "a" or "both"), and the source."""

    name: str
    formula: Callable[[float], float]
    derivative: Callable[[float, float], float]
    needs: str
    source: str


def identity(z):
    return z


def identity_derivative(z, a):
    return 1


def sigmoid(z):
    return 1 / (1 + exp(-z))


def sigmoid_derivative(z, a):
    return a * (1 - a)


def hyperbolic_tangent(z):
    return tanh(z)


def tanh_derivative(z, a):
    return 1 - a * a


def relu(z):
    # written so that a NaN stays one: max(0, z) would hide it
    return 0 if z < 0 else z


def relu_derivative(z, a):
    return 1 if a > 0 else 0


def silu(z):
    return z * (1 / (1 + exp(-z)))  # not z / (1 + exp(-z)): exp may be infinite, and a float32 z over a float64 number may not fit


def silu_derivative(z, a):
    s = 1 / (1 + exp(-z))
    return s + a * (1 - s)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("identity", identity, identity_derivative, "a", "f(z) = z"),
        Activation("sigmoid", sigmoid, sigmoid_derivative, "a", "Bishop 2006, eq. 4.59 and 4.88"),
        Activation("tanh", hyperbolic_tangent, tanh_derivative, "a", "Bishop 2006, section 5.3.2"),
        Activation("relu", relu, relu_derivative, "a", "Glorot, Bordes, Bengio 2011, section 3; f'(0) = 0"),
        Activation("silu", silu, silu_derivative, "both", "Elfwing, Uchibe, Doya 2018, eq. 2 and 4"),
    )
}
