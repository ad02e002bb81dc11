"""Counter-based random numbers: each number is a function of (seed, stream, counter), so the order of drawing does not matter.

One stream per purpose, so that no choice shifts another one. The generator is SplitMix64 (Steele, Lea, Flood 2014, figure 16)
over a key mixed from seed and stream. Interpreted, its uint64 arithmetic wraps as it does compiled; callers silence NumPy's
warning about that.

What a step draws by the thousand, masks of dropout and noise, comes from 32-bit hashes of a number under the key of its row, in loops
that become vectors: 64-bit products would be four times as slow. docs/regularisation.md says the same in NumPy.
"""

import math
from math import sqrt

import numpy as np

from fastmlp.compilation.decorators import kernel
from fastmlp.compilation.forms import pure
from fastmlp.kernels.elementary import cos, log, sin

# Streams.
WEIGHTS = 1
SHUFFLE = 2
SAMPLE = 3
FOLDS = 4
SETTINGS = 5
DROPOUT = 6  # substream: 0 for inputs, l for hidden layer l, counted from 1
NOISE = 7
AUGMENT = 10
HOLDOUT = 11

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
U = np.uint64
TWO_TO_MINUS_52 = 2.0**-52

U32, I32 = np.uint32, np.int32
HASH_1, HASH_2 = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
LOW_HALF = np.uint64(0xFFFFFFFF)
RANGE_32 = 2**32


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


def key_of(seed, stream, substream):
    """Return `stream_key` to a caller in Python, for whom it need not be compiled."""
    with np.errstate(over="ignore"):
        return pure(stream_key)(seed, stream, substream)


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
        radius = deviation * sqrt(-2.0 * log(uniform(key, 2 * pair)))
        angle = 2.0 * math.pi * uniform(key, 2 * pair + 1)
        out[2 * pair] = radius * cos(angle)
        if 2 * pair + 1 < n:
            out[2 * pair + 1] = radius * sin(angle)


@kernel
def shuffle(values, key):
    """Shuffle values (n,) in place: Fisher-Yates, Knuth 1997, algorithm 3.4.2 P."""
    for last in range(values.shape[0] - 1, 0, -1):
        # a number below last + 1 from the upper 32 bits: biased by less than n / 2^32
        chosen = np.int64((random_bits(key, last) >> U(32)) * U(last + 1) >> U(32))
        held = values[last]
        values[last] = values[chosen]
        values[chosen] = held


# --- 32 bits under the key of a row ----------------------------------------------------------------------------------------


@kernel
def row_key(key, step, row):
    """Return the key of a row of the batch in a step, both counted from 0; `key` is that of a stream."""
    return random_bits(random_bits(key, step), row)


@kernel
def low_half(key):
    """Return the lower 32 of 64 bits."""
    return U32(key & LOW_HALF)


@kernel
def high_half(key):
    """Return the upper 32 of 64 bits."""
    return U32(key >> U(32))


@kernel
def hash_32(number, low, high):
    """Return 32 random bits for a number, under a key in two halves.

    C. Wellons, "Prospecting for hash functions", 2018: lowbias32, whose input is shifted by one half of the key and whose middle is
    changed by the other: rows whose first halves lie close together would share shifted sequences without that.
    """
    bits = U32(U32(number) + low)
    bits = U32(U32(bits ^ U32(bits >> U32(16))) * HASH_1)
    bits = U32(U32(U32(bits ^ U32(bits >> U32(15))) ^ high) * HASH_2)
    return U32(bits ^ U32(bits >> U32(16)))


def threshold_of(share: float) -> int:
    """Return the number below which 32 random bits fall for this share of all cases, at most 2^32 - 1."""
    return min(round(share * RANGE_32), RANGE_32 - 1)


# --- normal numbers, one for each 32 bits ----------------------------------------------------------------------------------

# z = the quantile of the normal distribution at (bits + 1/2) / 2^32, never further out than 6.338. It is computed from its distances to the
# median and to the nearer end, both with all of their digits: in float32, 1 - 1e-9 would be 1.
SIGN_BIT, ALL_BUT_SIGN = np.uint32(0x80000000), np.int32(0x7FFFFFFF)


@kernel
def signed_32(bits):
    """Return how far 32 bits lie above 2^31, as a signed number: its sign is that of the normal number."""
    return I32(U32(bits) ^ SIGN_BIT)


@kernel
def from_median(signed):
    """Return how many numbers lie between one and the median, on either side."""
    return I32(signed ^ I32(signed >> I32(31)))


@kernel
def from_end(signed):
    """Return how many numbers lie between one and the nearer end."""
    return I32(from_median(signed) ^ ALL_BUT_SIGN)


def half_normal_32(inside, outside):
    """Return the size of a normal number that lies `inside` from the median and `outside` from the nearer end, in numbers of 2^-32.

    To 7 digits. Wichura 1988, algorithm AS 241, PPND7: one quotient of polynomials for the middle, another for the tails.
    """
    q = inside * 2.0**-32
    r = 0.180625 - q * q
    middle = q * (((5.9109374720e1 * r + 1.5929113202e2) * r + 5.0434271938e1) * r + 3.3871327179)
    below_middle = ((6.7187563600e1 * r + 7.8757757664e1) * r + 1.7895169469e1) * r + 1
    r = sqrt(-log(outside * 2.0**-32)) - 1.6
    tail = ((1.7023821103e-1 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777
    below_tail = (1.2021132975e-1 * r + 7.3700164250e-1) * r + 1
    return (middle if q <= 0.425 else tail) / (below_middle if q <= 0.425 else below_tail)  # one division: in vectors, both sides are taken


def half_normal_64(inside, outside):
    """The same to 16 digits: PPND16."""
    q = inside * 2.0**-32
    r = 0.180625 - q * q
    top = ((2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r + 6.7265770927008700853e4) * r + 4.5921953931549871457e4
    top = ((top * r + 1.3731693765509461125e4) * r + 1.9715909503065514427e3) * r + 1.3314166789178437745e2
    top = top * r + 3.3871328727963666080
    below = ((5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r + 3.9307895800092710610e4) * r + 2.1213794301586595867e4
    below = ((below * r + 5.3941960214247511077e3) * r + 6.8718700749205790830e2) * r + 4.2313330701600911252e1
    middle, below_middle = q * top, below * r + 1
    r = sqrt(-log(outside * 2.0**-32)) - 1.6
    top = ((7.7454501427834140764e-4 * r + 2.27238449892691845833e-2) * r + 2.41780725177450611770e-1) * r + 1.27045825245236838258
    top = ((top * r + 3.64784832476320460504) * r + 5.76949722146069140550) * r + 4.63033784615654529590
    top = top * r + 1.42343711074968357734
    below = ((1.05075007164441684324e-9 * r + 5.4759380849953449460e-4) * r + 1.51986665636164571966e-2) * r + 1.48103976427480074590e-1
    below = ((below * r + 6.89767334985100004550e-1) * r + 1.67638483018380384940) * r + 2.05319162663775882187
    tail, below_tail = top, below * r + 1
    return middle / below_middle if q <= 0.425 else tail / below_tail


HALF_NORMAL = {"float32": half_normal_32, "float64": half_normal_64}  # by the name of a type
