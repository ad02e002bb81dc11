"""How the weights of a layer begin, by the names of settings.INITIALIZERS.

    glorot      N(0, 2/(K + N)), U(-b, b) with b = sqrt(6/(K + N))    Glorot and Bengio 2010, eq. 12 and 16
    he          N(0, 2/K), b = sqrt(6/K)                              He et al. 2015, eq. 10
    lecun       N(0, 1/K), b = sqrt(3/K)                              LeCun et al. 1998, eq. 16
    orthogonal  orthonormal rows or columns, times a gain             Saxe, McClelland, Ganguli 2014, section 3
    zeros, constant, course: 0, a given value, 0.01 times a whole number from 0 to 9

K inputs, N units. Every draw is a function of (seed, layer, place). Biases begin at 0.
"""

import math
from collections.abc import Sequence

import numpy as np

from fastmlp import reproducible
from fastmlp.compilation.forms import pure
from fastmlp.errors import ConfigError
from fastmlp.kernels import orthogonal, random
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.settings import KIND_DEFAULTS

BLOCK = 1 << 14  # numbers that are drawn at a time, an even number: what is computed of them stays in the cache
RELU_GAIN = math.sqrt(2.0)  # makes up for the half that such a unit cuts off, as in He's rule


def fill(weight: np.ndarray, initializer: str, cuts_half: bool, seed: int, layer: int, value: float) -> None:
    """Fill weight (K, N), a view of the parameters, as a layer's weights begin.

    cuts_half: whether the activation after it is of relu's kind, for orthogonal weights; value: what "constant" fills in. Raises
    ConfigError for a value that the type of the parameters cannot hold.
    """
    K, N = weight.shape
    kind, _, shape = initializer.partition("_")
    with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
        key = random.key_of(seed, random.WEIGHTS, layer)
        if initializer == "zeros":
            weight[:] = 0
        elif initializer == "constant":
            if not np.isfinite(weight.dtype.type(value)):
                raise ConfigError(f"initial_value: expected a number that {weight.dtype} can hold, got {value:g}")
            weight[:] = value
        elif initializer == "course":
            places = np.empty(weight.size)
            uniform(key, 5.0, places)
            weight[:] = 0.01 * np.floor(places + 5.0).reshape(K, N)
        elif initializer == "orthogonal":
            rows = np.empty((min(K, N), max(K, N)))
            normal(key, 1.0, rows.reshape(-1))
            orthogonal.orthonormalise(rows)
            weight[:] = (RELU_GAIN if cuts_half else 1.0) * (rows if K <= N else rows.T)
        else:
            variance = {"glorot": 2.0 / (K + N), "he": 2.0 / K, "lecun": 1.0 / K}[kind]
            if shape == "normal":
                normal(key, math.sqrt(variance), weight.reshape(-1))
            else:  # the uniform distribution of this variance
                uniform(key, math.sqrt(3.0 * variance), weight.reshape(-1))


def normal(key: np.uint64, deviation: float, out: np.ndarray) -> None:
    """Fill out ~ N(0, deviation^2), the numbers of random.fill_normal. out (n,), overwritten."""
    for first in range(0, out.size, BLOCK):
        block = out[first : first + BLOCK]
        of_pairs = _uniform(key, first, block.size + block.size % 2).reshape(-1, 2)
        radius, angle = deviation * np.sqrt(-2.0 * reproducible.log(of_pairs[:, 0])), 2.0 * math.pi * of_pairs[:, 1]
        block[::2] = radius * reproducible.cos(angle)
        block[1::2] = (radius * reproducible.sin(angle))[: block.size // 2]


def uniform(key: np.uint64, bound: float, out: np.ndarray) -> None:
    """Fill out ~ U(-bound, bound), the numbers of random.fill_uniform. out (n,), overwritten."""
    for first in range(0, out.size, BLOCK):
        block = out[first : first + BLOCK]
        block[:] = bound * (2.0 * _uniform(key, first, block.size) - 1.0)


def _uniform(key: np.uint64, first: int, count: int) -> np.ndarray:
    """Return random.uniform for so many counters. By NumPy: nothing has to be compiled for initial weights."""
    found: np.ndarray = pure(random.uniform)(key, np.arange(first, first + count, dtype=np.uint64))
    return found


def of_kind(kind: str, activations: str | Sequence[str]) -> str | None:
    """Return how weights begin for a kind of data where all hidden layers are of relu's kind, None where their activations say it."""
    names = (activations,) if isinstance(activations, str) else activations
    found: str | None = KIND_DEFAULTS[kind]["initializer"]
    return found if names and all(name in ACTIVATIONS and ACTIVATIONS[name].initializer == "he_normal" for name in names) else None
