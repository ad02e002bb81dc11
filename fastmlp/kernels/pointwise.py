"""What is done number by number: to inputs as they come in, to finished sums, to finished gradients. Written once, for all engines.

Each takes numbers that lie side by side, and its text is put into the function that calls it: there it makes vectors, and where what it
reads is what it writes, that is seen. Sources of the formulas: textbook.py, updates.py, random.py.
"""

import math

import numpy as np

from fastmlp.compilation.decorators import formula, kernel
from fastmlp.kernels import updates
from fastmlp.kernels.elementary import exp
from fastmlp.kernels.random import from_end, from_median, hash_32, high_half, low_half, row_key, signed_32

U = np.uint64  # unsigned places: a signed one might be negative, and each access would look whether it is

clipped, penalised, averaged = formula(updates.clipped), formula(updates.penalised), formula(updates.averaged)


@kernel(spliced=True)
def gather_row(x, at, K, scale, shift, out, first):
    """out[first + k] = x[at + k] * scale[k] + shift[k], for k < K: a row of inputs that lies from `at` on."""
    for k in range(U(K)):
        out[first + k] = scale.dtype.type(x[at + k]) * scale[k] + shift[k]


@kernel(spliced=True)
def add_noise_to_row(half_normal, x, out, deviation, key, step, row):
    """out[k] = x[k] + deviation * z, z ~ N(0, 1) by the random bits of (key, step, row, k)."""
    of_row, half = row_key(np.uint64(key), step, row), out.dtype.type(0.5)
    low, high = low_half(of_row), high_half(of_row)
    for k in range(out.shape[0]):
        signed = signed_32(hash_32(k, low, high))
        size = half_normal(out.dtype.type(from_median(signed)) + half, out.dtype.type(from_end(signed)) + half)
        out[k] = x[k] + deviation * (size if signed >= 0 else -size)


@kernel(spliced=True)
def drop_of_row(x, out, first, factor, threshold, of_row):
    """out[n] = 0 where the random bits of (of_row, first + n) lie below threshold, else x[n] * factor; of_row: random.row_key of it."""
    low, high, zero = low_half(of_row), high_half(of_row), out.dtype.type(0)
    for n in range(out.shape[0]):
        out[n] = x[n] * factor if hash_32(first + n, low, high) >= threshold else zero


@kernel(spliced=True)
def apply(f, z, a):
    """a[n] = f(z[n])."""
    for n in range(z.shape[0]):
        a[n] = f(z[n])


@kernel(spliced=True)
def apply_before_padding(f, z, a, units):
    """The same for the first `units` numbers of a row, behind which a is 0: whole vectors."""
    zero = a.dtype.type(0)
    for n in range(z.shape[0]):
        value = f(z[n])
        a[n] = value if n < units else zero


@kernel(spliced=True)
def apply_slope(slope, delta, z, a):
    """delta[n] *= slope(z[n], a[n]): from that of a to that of z."""
    for n in range(delta.shape[0]):
        delta[n] *= slope(z[n], a[n])


@kernel(spliced=True)
def powers_of_row(z, out, m, C):
    """out[m, c] = exp(z[m, c] - the largest of z[m]): none overflows."""
    largest = z[m, 0]
    for c in range(1, C):
        largest = max(largest, z[m, c])
    for c in range(C):
        out[m, c] = exp(z[m, c] - largest)


@kernel(spliced=True)
def take_step(rule, states, w, g, m, v, r):
    """w, m, v = rule(w, g, m, v, r), number by number; states: how many of m and v the rule keeps."""
    if states == 1:
        for i in range(w.shape[0]):
            w[i], m[i], _ = rule(w[i], g[i], m[i], m[i], r)
    else:
        for i in range(w.shape[0]):
            w[i], m[i], v[i] = rule(w[i], g[i], m[i], v[i], r)


@kernel(spliced=True)
def take_limited_step(rule, states, w, g, m, v, r, factor):
    """The same with factor * g, clipped number by number before, pulled by l1 after. Without a state, m and v are not read."""
    if states == 0:
        for i in range(w.shape[0]):
            w[i], _, _ = rule(w[i], penalised(factor * clipped(g[i], r), w[i], r), g[i], g[i], r)
    elif states == 1:
        for i in range(w.shape[0]):
            w[i], m[i], _ = rule(w[i], penalised(factor * clipped(g[i], r), w[i], r), m[i], m[i], r)
    else:
        for i in range(w.shape[0]):
            w[i], m[i], v[i] = rule(w[i], penalised(factor * clipped(g[i], r), w[i], r), m[i], v[i], r)


@kernel(spliced=True)
def squares_of_clipped(g, r):
    """Return the sum of the squares of the gradient g, clipped number by number, in float64: in float32 it might overflow."""
    squares = 0.0
    for i in range(g.shape[0]):
        c = np.float64(clipped(g[i], r))
        squares += c * c
    return squares


@kernel(spliced=True)
def average_numbers(average, w, r):
    """average = average_decay average + (1 - average_decay) w, number by number."""
    for i in range(w.shape[0]):
        average[i] = averaged(average[i], w[i], r)


@kernel(spliced=True)
def limit_units(weight, longest, factors):
    """weight[:, n] *= longest / |weight[:, n]| where a column is longer than that; factors (N,): what each was multiplied by."""
    K, N = weight.shape
    one = weight.dtype.type(1)
    for n in range(N):
        factors[n] = 0
    for k in range(K):
        for n in range(N):
            factors[n] += weight[k, n] * weight[k, n]
    are_short = True
    for n in range(N):
        length = math.sqrt(factors[n])
        is_short = not length > longest
        factors[n] = one if is_short else longest / length
        are_short &= is_short
    if not are_short:
        for k in range(K):
            for n in range(N):
                weight[k, n] *= factors[n]
