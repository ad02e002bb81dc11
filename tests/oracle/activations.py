"""The activations and their derivatives in float64, as functions of z alone. Imports nothing of fastmlp.

Each is written in another form than the kernels have, mostly by functions of SciPy and by sums of exponentials, so that a mistake is not
made twice. At a kink the derivative is that of the left side.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

Array = np.ndarray

# Klambauer, Unterthiner, Mayr, Hochreiter 2017, eq. 14: the fixed point of mean 0 and variance 1.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
LEAKY_SLOPE = 0.01  # Maas, Hannun, Ng 2013
ROOT_OF_2_PI = np.sqrt(2.0 * np.pi)


def logistic(z: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -z))


def logistic_slope(z: Array) -> Array:
    return np.exp(z - 2.0 * np.logaddexp(0.0, z))


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def _exponential_tail(z: Array) -> Array:
    return np.exp(np.minimum(z, 0.0)) - 1.0


def _gelu_slope(z: Array) -> Array:
    return special.ndtr(z) + z * np.exp(-0.5 * z * z) / ROOT_OF_2_PI


def _cubic(z: Array) -> Array:
    """Return u of Hendrycks and Gimpel's approximation z (1 + tanh u) / 2 = z logistic(2 u)."""
    return np.sqrt(2.0 / np.pi) * (z + 0.044715 * z**3)


def _gelu_tanh_slope(z: Array) -> Array:
    slope = np.sqrt(2.0 / np.pi) * (1.0 + 3.0 * 0.044715 * z**2)
    return logistic(2.0 * _cubic(z)) + z * logistic_slope(2.0 * _cubic(z)) * 2.0 * slope


def _mish(z: Array) -> Array:
    # tanh(log(1 + e)) = ((1 + e)^2 - 1) / ((1 + e)^2 + 1)
    square = np.exp(-2.0 * _softplus(z))
    return z * -np.expm1(-2.0 * _softplus(z)) / (1.0 + square)


def _mish_slope(z: Array) -> Array:
    return np.tanh(_softplus(z)) + z * logistic(z) / np.cosh(_softplus(z)) ** 2


# name -> (f, f')
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "identity": (lambda z: z * 1.0, np.ones_like),
    "sigmoid": (logistic, logistic_slope),
    "tanh": (np.tanh, lambda z: 1.0 / np.cosh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0.0), lambda z: np.heaviside(z, 0.0)),
    "leaky_relu": (lambda z: np.maximum(z, LEAKY_SLOPE * z), lambda z: np.where(z > 0.0, 1.0, LEAKY_SLOPE)),
    "elu": (lambda z: np.where(z > 0.0, z, _exponential_tail(z)), lambda z: np.exp(np.minimum(z, 0.0))),
    "selu": (
        lambda z: SELU_SCALE * np.where(z > 0.0, z, SELU_ALPHA * _exponential_tail(z)),
        lambda z: SELU_SCALE * np.where(z > 0.0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0.0))),
    ),
    "gelu": (lambda z: z * special.ndtr(z), _gelu_slope),
    "gelu_tanh": (lambda z: z * logistic(2.0 * _cubic(z)), _gelu_tanh_slope),
    "silu": (lambda z: z * logistic(z), lambda z: logistic(z) * (1.0 + z * logistic(-z))),
    "mish": (_mish, _mish_slope),
    "softplus": (_softplus, logistic),
    "hard_sigmoid": (lambda z: np.clip(z + 3.0, 0.0, 6.0) / 6.0, lambda z: np.where(np.abs(z) < 3.0, 1.0 / 6.0, 0.0)),  # Howard et al. 2019
}
