"""Counter-based random numbers: each number is a function of (seed, stream, counter), so the order of drawing does not matter.

One stream per purpose, so that no choice shifts another one. The generator is SplitMix64 (Steele, Lea, Flood 2014, figure 16)
over a key mixed from seed and stream. Interpreted, its uint64 arithmetic wraps as it does compiled; callers silence NumPy's
warning about that.
"""

import math

import numpy as np

from fastmlp.kernels.compiling import kernel

# Streams.
WEIGHTS = 1
SHUFFLE = 2
SAMPLE = 3
FOLDS = 4
SETTINGS = 5

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
U = np.uint64
TWO_TO_MINUS_52 = 2.0**-52


@kernel
def mix(bits):
    """Scramble 64 bits so that each bit of the input changes half of the output. SplitMix64's finaliser."""
    bits = (bits ^ (bits >> U(30))) * MIX_1
    bits = (bits ^ (bits >> U(27))) * MIX_2
    return bits ^ (bits >> U(31))


@kernel
def stream_key(seed, stream, substream):
    """Return the key of a stream: a function of the seed, of the purpose, and of a number within it (epoch, layer)."""
    return mix(mix(mix(U(seed) + GOLDEN) + U(stream)) + U(substream))


@kernel
def random_bits(key, counter):
    """Return 64 random bits for a counter."""
    return mix(key + U(counter) * GOLDEN)


@kernel
def uniform(key, counter):
    """Return a float64 in (0, 1), never 0 and never 1."""
    return (np.float64(random_bits(key, counter) >> U(12)) + 0.5) * TWO_TO_MINUS_52  # 53 bits and a half would round up to 1


@kernel
def fill_uniform(key, bound, out):
    """out ~ U(-bound, bound), float64 rounded to the type of out. out (n,), overwritten."""
    for i in range(out.shape[0]):
        out[i] = bound * (2.0 * uniform(key, i) - 1.0)


@kernel
def fill_normal(key, deviation, out):
    """out ~ N(0, deviation^2). out (n,), overwritten. Box and Muller 1958, eq. 1; one pair gives two numbers."""
    n = out.shape[0]
    for pair in range((n + 1) // 2):
        radius = deviation * math.sqrt(-2.0 * math.log(uniform(key, 2 * pair)))
        angle = 2.0 * math.pi * uniform(key, 2 * pair + 1)
        out[2 * pair] = radius * math.cos(angle)
        if 2 * pair + 1 < n:
            out[2 * pair + 1] = radius * math.sin(angle)


@kernel
def shuffle(values, key):
    """Shuffle values (n,) in place: Fisher-Yates, Knuth 1997, algorithm 3.4.2 P."""
    for last in range(values.shape[0] - 1, 0, -1):
        # a number below last + 1 from the upper 32 bits: biased by less than n / 2^32
        chosen = np.int64((random_bits(key, last) >> U(32)) * U(last + 1) >> U(32))
        held = values[last]
        values[last] = values[chosen]
        values[chosen] = held
