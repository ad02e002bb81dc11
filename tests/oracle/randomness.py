"""The random numbers of a training, as its documents describe them: orders of rows, masks, noise. Imports nothing of fastmlp.

In Python integers, and in NumPy's unsigned ones where there are many.
"""

from statistics import NormalDist

import numpy as np

Array = np.ndarray

GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
ALL = 2**64 - 1
SHUFFLE, DROPOUT, NOISE, HOLDOUT = 2, 6, 7, 11  # streams


def mix(bits: int) -> int:
    """SplitMix64's finaliser: Steele, Lea, Flood 2014, figure 16."""
    bits = (bits ^ bits >> 30) * MIX_1 & ALL
    bits = (bits ^ bits >> 27) * MIX_2 & ALL
    return bits ^ bits >> 31


def key_of(seed: int, stream: int, substream: int) -> int:
    return mix((mix((mix(seed + GOLDEN & ALL) + stream) & ALL) + substream) & ALL)


def random_64(key: int, counter: int) -> int:
    return mix((key + counter * GOLDEN) & ALL)


def shuffled(seed: int, epoch: int, n: int, stream: int = SHUFFLE) -> list[int]:
    """Return the order in which epoch 0, 1, ... reads n rows: Fisher and Yates."""
    key = key_of(seed, stream, epoch)
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        chosen = (random_64(key, last) >> 32) * (last + 1) >> 32
        order[last], order[chosen] = order[chosen], order[last]
    return order


def random_32(seed: int, stream: int, layer: int, step: int, shape: tuple[int, int]) -> Array:
    """Return numbers (rows, units) from 0 to 2^32 - 1 of the batch of step 0, 1, … of a training; layer 0: the inputs.

    Wellons' lowbias32 of the unit, its input shifted by the lower half of the row's key, its middle changed by the upper one.
    """
    key = random_64(key_of(seed, stream, layer), step)
    low, high = np.array([divmod(random_64(key, row), 2**32)[::-1] for row in range(shape[0])], np.uint64).T[:, :, None]
    bits = np.arange(shape[1], dtype=np.uint64) + low & 0xFFFFFFFF
    bits = (bits ^ bits >> 16) * 0x7FEB352D & 0xFFFFFFFF
    bits = (bits ^ bits >> 15 ^ high) * 0x846CA68B & 0xFFFFFFFF
    return bits ^ bits >> 16


def dropout_factors(share: float, seed: int, layer: int, step: int, shape: tuple[int, int]) -> Array:
    """Return (rows, units) factors: 0 for what is dropped, with probability `share`, otherwise 1 / (1 - share)."""
    dropped = random_32(seed, DROPOUT, layer, step, shape) < min(round(share * 2**32), 2**32 - 1)
    return np.where(dropped, 0.0, 1.0 / (1.0 - share))


def noise(seed: int, step: int, shape: tuple[int, int]) -> Array:
    """Return (rows, inputs) standard normal numbers: their quantile function at the middle of 2^32 equal steps."""
    quantile = np.vectorize(NormalDist().inv_cdf, otypes=[float])
    return quantile((random_32(seed, NOISE, 0, step, shape) + 0.5) / 2.0**32)
