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

from fastmlp.errors import ConfigError
from fastmlp.kernels import orthogonal, random
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.settings import KIND_DEFAULTS

RELU_GAIN = math.sqrt(2.0)  # makes up for the half that such a unit cuts off, as in He's rule


def fill(weight: np.ndarray, initializer: str, cuts_half: bool, seed: int, layer: int, value: float) -> None:
    """Fill weight (K, N), a view of the parameters, as a layer's weights begin.

    cuts_half: whether the activation after it is of relu's kind, for orthogonal weights; value: what "constant" fills in. Raises
    ConfigError for a value that the type of the parameters cannot hold.
    """
    K, N = weight.shape
    kind, _, shape = initializer.partition("_")
    with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
        key = np.uint64(random.stream_key(seed, random.WEIGHTS, layer))
        if initializer == "zeros":
            weight[:] = 0
        elif initializer == "constant":
            if not np.isfinite(weight.dtype.type(value)):
                raise ConfigError(f"initial_value: expected a number that {weight.dtype} can hold, got {value:g}")
            weight[:] = value
        elif initializer == "course":
            places = np.empty(weight.size)
            random.fill_uniform(key, 5.0, places)
            weight[:] = 0.01 * np.floor(places + 5.0).reshape(K, N)
        elif initializer == "orthogonal":
            rows = np.empty((min(K, N), max(K, N)))
            random.fill_normal(key, 1.0, rows.reshape(-1))
            orthogonal.orthonormalise(rows)
            weight[:] = (RELU_GAIN if cuts_half else 1.0) * (rows if K <= N else rows.T)
        else:
            variance = {"glorot": 2.0 / (K + N), "he": 2.0 / K, "lecun": 1.0 / K}[kind]
            if shape == "normal":
                random.fill_normal(key, variance**0.5, weight.reshape(-1))
            else:  # the uniform distribution of this variance
                random.fill_uniform(key, (3.0 * variance) ** 0.5, weight.reshape(-1))


def of_kind(kind: str, activations: str | Sequence[str]) -> str | None:
    """Return how weights begin for a kind of data where all hidden layers are of relu's kind, None where their activations say it."""
    names = (activations,) if isinstance(activations, str) else activations
    found: str | None = KIND_DEFAULTS[kind]["initializer"]
    return found if names and all(name in ACTIVATIONS and ACTIVATIONS[name].initializer == "he_normal" for name in names) else None
