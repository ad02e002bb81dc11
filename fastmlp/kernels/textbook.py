"""The textbook kernels: forward, backward and update of a dense network as explicit loops. Back-propagation from one file.

    forward     z = x @ weight + bias        a = f(z)
    loss        l(a, t)                      delta = dl/dz        (output layer: activation and loss in one)
    backward    dweight = x.T @ delta        dbias = sum of delta over the batch
                dx = delta @ weight.T        delta of the layer before = dx * f'(z)
    update      weight -= learning_rate * dweight
    on request  dropout and noise before a layer reads its inputs, max-norm after the update

Each kernel is one plain function, run three ways: as Python, compiled, and compiled with the outer loop over threads
(`prange` is `range` in the first two). Each row of an output is written by one thread, in the order of the source,
so the bits do not depend on the number of threads. The letters stand in the legend of this package.
"""

import math
from typing import Any

import numpy as np
from numba import prange

from fastmlp.compilation.decorators import kernel
from fastmlp.kernels.elementary import exp, log
from fastmlp.kernels.pointwise import (
    U,
    add_noise_to_row,
    apply,
    apply_slope,
    average_numbers,
    drop_of_row,
    gather_row,
    limit_units,
    powers_of_row,
    squares_of_clipped,
    take_limited_step,
    take_step,
)
from fastmlp.kernels.random import row_key
from fastmlp.kernels.updates import RATES, Rates

# What other people embed; the rest is bound to formulas first.
__all__ = [
    "count_correct",
    "dense_backward_input",
    "dense_backward_parameters",
    "dense_forward",
    "dense_sgd_update",
    "gather",
    "sgd_update",
    "softmax",
    "softmax_cross_entropy",
    "softmax_squared_error",
]

SKIP_ZEROS = True
ADDS = False  # whether a gradient is added to what is there
# Formulas, bound when a kernel is specialised.
ACTIVATION: Any = None
ACTIVATION_DERIVATIVE: Any = None
LOSS: Any = None
LOSS_KERNEL: Any = None  # softmax_cross_entropy or another of its form
LOSS_DERIVATIVE: Any = None
UPDATE: Any = None
HALF_NORMAL: Any = None


@kernel
def gather(x, order, scale, shift, out):
    """out[m, k] = x[order[m], k] * scale[k] + shift[k].

    x (rows, K) bytes or floats, order (M,) row numbers, scale (K,), shift (K,) -> out (M, K), overwritten.
    """
    for m in prange(out.shape[0]):
        gather_row(x[order[np.intp(m)]], U(0), x.shape[1], scale, shift, out[np.intp(m)], U(0))  # prange counts in unsigned numbers


@kernel
def dense_forward(x, weight, bias, out):
    """out = x @ weight + bias.

    x (M, K), weight (K, N), bias (N,) -> out (M, N), overwritten. Bishop 2006, eq. 5.2.
    """
    M, K = x.shape
    N = weight.shape[1]
    for m in prange(M):  # rows are independent
        for n in range(N):
            out[m, n] = bias[n]
        for k in range(K):  # k outside n: the inner loop runs along contiguous weights
            if x[m, k] != 0 or not SKIP_ZEROS:  # a zero adds nothing: four of five pixels of MNIST
                for n in range(N):
                    out[m, n] += x[m, k] * weight[k, n]


@kernel
def activate(z, out):
    """out = f(z), number by number.

    z (n,) -> out (n,), overwritten; out may be z.
    """
    apply(ACTIVATION, z, out)


@kernel
def activate_backward(delta, z, a):
    """delta *= f'(z), where a = f(z).

    delta (n,) updated in place, z (n,), a (n,).
    """
    # forward: a[i] = f(z[i])
    apply_slope(ACTIVATION_DERIVATIVE, delta, z, a)


@kernel
def softmax(z, out):
    """out[m, c] = exp(z[m, c]) / sum over j of exp(z[m, j]).

    z (M, C) -> out (M, C), overwritten; out may be z. Bishop 2006, eq. 4.104; the largest z is subtracted first: exp(z) alone
    overflows beyond 88 in float32.
    """
    M, C = z.shape
    for m in prange(M):
        powers_of_row(z, out, m, C)
        total = z.dtype.type(0)
        for c in range(C):
            total += out[m, c]
        for c in range(C):
            out[m, c] /= total


@kernel(inner=True, counted=True)
def powers_of_e(z, out):
    """out[m, c] = exp(z[m, c] - the largest of z[m]): none overflows.

    z (M, C) -> out (M, C), overwritten.
    """
    M, C = z.shape
    for m in range(M):
        powers_of_row(z, out, m, C)


@kernel(inner=True, counted=True)
def powers_of_e_together(z, out):
    """The same for rows that lie side by side, of which C is no multiple of a vector: all of them make whole vectors.

    z (M, C), out (M, C), both C-contiguous.
    """
    M, C = z.shape
    for m in range(M):
        largest = z[m, 0]
        for c in range(1, C):
            largest = max(largest, z[m, c])
        for c in range(C):
            out[m, c] = z[m, c] - largest
    numbers = out.reshape(M * C)
    for i in range(M * C):
        numbers[i] = exp(numbers[i])


@kernel
def softmax_cross_entropy(z, target, sample_weight, factor, smoothing, delta):
    """Return sum over m of w[m] l[m], with l[m] = -sum over c of q[c] log softmax(z[m])[c]; delta = factor * w[m] * dl[m]/dz.

    z (M, C), target (M, 1) class numbers, sample_weight (M,) or (0,) for ones, factor and smoothing numbers of z's type
    -> delta (M, C), overwritten. dl/dz[c] = p[c] - q[c]. Bishop 2006, eq. 4.108 and 4.109.
    q[c] = (1 - smoothing) (1 if c == t[m] else 0) + smoothing / C. Szegedy et al. 2016, section 7.
    """
    M, C = z.shape
    one = z.dtype.type(1)
    spread = smoothing / z.dtype.type(C)
    loss = 0.0  # float64: a sum over the batch, one addition per row
    powers_of_e(z, delta)
    for m in range(M):
        largest = z[m, 0]
        total = z.dtype.type(0)
        for c in range(C):
            largest = max(largest, z[m, c])
            total += delta[m, c]
        t = np.intp(target[m, 0])
        w = sample_weight[m] if sample_weight.shape[0] > 0 else one
        row_loss = log(total) + (one - smoothing) * (largest - z[m, t])  # the two large ones first: their difference is exact
        for c in range(C):
            delta[m, c] *= factor * w / total
        delta[m, t] -= factor * w * (one - smoothing)
        if smoothing > 0:
            for c in range(C):
                row_loss += spread * (largest - z[m, c])
                delta[m, c] -= factor * w * spread
        loss += w * row_loss
    return loss


@kernel
def softmax_squared_error(z, target, sample_weight, factor, smoothing, delta):
    """Return sum over m of w[m] l[m], with l[m] = mean over c of e[c]^2, e = softmax(z[m]) - q; delta = factor * w[m] * dl[m]/dz.

    z (M, C), target (M, 1) class numbers, sample_weight (M,) or (0,) for ones, factor and smoothing numbers of z's type
    -> delta (M, C), overwritten. dl/dz[c] = 2/C p[c] (e[c] - sum over j of p[j] e[j]): the Jacobian of softmax, Bishop 2006, eq. 4.106,
    times 2/C e. q as in softmax_cross_entropy. Brier 1950, divided by C.
    """
    M, C = z.shape
    zero, one = z.dtype.type(0), z.dtype.type(1)
    share = one / z.dtype.type(C)
    spread = smoothing * share
    loss = 0.0
    powers_of_e(z, delta)
    for m in range(M):
        total = z.dtype.type(0)
        for c in range(C):
            total += delta[m, c]
        t = np.intp(target[m, 0])
        w = sample_weight[m] if sample_weight.shape[0] > 0 else one
        squares = along = zero
        for c in range(C):
            p = delta[m, c] / total
            e = p - spread - (one - smoothing if c == t else zero)
            squares += e * e
            along += p * e
        for c in range(C):
            p = delta[m, c] / total
            e = p - spread - (one - smoothing if c == t else zero)
            delta[m, c] = factor * w * (share + share) * p * (e - along)
        loss += w * share * squares
    return loss


@kernel
def separate_loss(z, target, sample_weight, factor, parameter, delta):
    """Return sum over m of w[m] l[m], with l[m] = mean over n of l(z[m, n], t[m, n], parameter); delta = factor * w[m] * dl[m]/dz.

    z (M, N), target (M, N), sample_weight (M,) or (0,) for ones, factor and parameter numbers of z's type -> delta (M, N), overwritten.
    What the parameter is stands with each loss in losses.py.
    """
    M, N = z.shape
    one = z.dtype.type(1)
    share = one / z.dtype.type(N)
    loss = 0.0
    if N == 1:  # formulas of many rows make vectors, those of one output do not; delta holds the losses until they are added up
        for m in range(M):
            delta[m, 0] = LOSS(z[m, 0], target[m, 0], parameter)
        for m in range(M):
            w = sample_weight[m] if sample_weight.shape[0] > 0 else one
            loss += w * share * np.float64(delta[m, 0])
        for m in range(M):
            w = sample_weight[m] if sample_weight.shape[0] > 0 else one
            delta[m, 0] = factor * w * share * LOSS_DERIVATIVE(z[m, 0], target[m, 0], parameter)
        return loss
    for m in range(M):
        w = sample_weight[m] if sample_weight.shape[0] > 0 else one
        row_loss = 0.0
        for n in range(N):
            row_loss += LOSS(z[m, n], target[m, n], parameter)
            delta[m, n] = factor * w * share * LOSS_DERIVATIVE(z[m, n], target[m, n], parameter)
        loss += w * share * row_loss
    return loss


# Losses as a step calls them: one signature for all, with the numbers of a loss in an array.
#
# numbers (1,)         p, the number that a loss has besides: losses.Loss.parameter
# numbers (1 + 4 N,)   p, then s, m, k and r of each output n, N of each: s z + m is what the network predicts in the units of y,
#                      s t + m the target; r l(s z + m, s t + m, p) is added up, and k l'(s z + m, s t + m, p) is the derivative taken by z.
#                      For networks whose targets are standardised.


@kernel(inner=True, counted=True)
def loss_as_it_is(z, target, sample_weight, factor, numbers, delta):
    """Return sum over m of w[m] l[m]; delta = factor * w[m] * dl[m]/dz: what LOSS_KERNEL gives.

    z (M, N), target (M, T), sample_weight (M,) or (0,) for ones, factor: a number of z's type, numbers (1,) float64 -> delta (M, N),
    overwritten.
    """
    return LOSS_KERNEL(z, target, sample_weight, factor, z.dtype.type(numbers[0]), delta)


@kernel(inner=True, counted=True)
def loss_in_units_of_y(z, target, sample_weight, factor, numbers, delta):
    """Return sum over m of w[m] mean over n of r[n] l(y[n], t'[n], p); delta = factor * w[m] / N * k[n] * l'(y[n], t'[n], p).

    y[n] = s[n] z[m, n] + m[n] and t'[n] = s[n] t[m, n] + m[n], in float64: squares of what y measures may be too large for float32.
    z (M, N), target (M, N), sample_weight (M,) or (0,) for ones, factor: a number of z's type, numbers (1 + 4 N,) float64 -> delta (M, N),
    overwritten.
    """
    M, N = z.shape
    share = 1.0 / N
    p = numbers[0]
    loss = 0.0
    for m in range(M):
        w = sample_weight[m] if sample_weight.shape[0] > 0 else z.dtype.type(1)
        row_loss = 0.0
        for n in range(N):
            s, mean, k, r = numbers[1 + n], numbers[1 + N + n], numbers[1 + 2 * N + n], numbers[1 + 3 * N + n]
            y, t = s * z[m, n] + mean, s * target[m, n] + mean
            row_loss += r * LOSS(y, t, p)
            delta[m, n] = factor * w * share * k * LOSS_DERIVATIVE(y, t, p)
        loss += w * share * row_loss
    return loss


@kernel
def count_correct(z, target, sample_weight, output):
    """Return how many rows are classified correctly; a row of several yes-or-no labels counts by its share of right ones.

    z (M, N), target (M, 1) class numbers where output is SOFTMAX, (M, N) zeros and ones where it is SIGMOID or ONE_HOT, whose largest
    output names the class, sample_weight (M,): as how many rows each counts, or (0,) for ones.
    """
    M, N = z.shape
    correct = 0.0
    for m in range(M):
        weight = np.float64(sample_weight[m]) if sample_weight.shape[0] > 0 else 1.0
        if output == SOFTMAX or output == ONE_HOT:
            best, largest = 0, z[m, 0]
            for n in range(1, N):  # without a branch: which is the largest cannot be predicted
                best = n if z[m, n] > largest else best
                largest = z[m, n] if z[m, n] > largest else largest
            if target[m, best] > 0 if output == ONE_HOT else best == np.intp(target[m, 0]):
                correct += weight
        elif output == SIGMOID:
            right = 0
            for n in range(N):
                if (z[m, n] > 0) == (target[m, n] > 0):
                    right += 1
            correct += weight * right / N
    return correct


# What the output layer gives: z, its softmax, its sigmoid, e^z; sigmoids of which the largest names the class, with one-hot targets.
IDENTITY, SOFTMAX, SIGMOID, EXPONENTIAL, ONE_HOT = 0, 1, 2, 3, 4


@kernel(reassociate=True)
def dense_backward_input(delta, weight, out):
    """out = delta @ weight.T.

    delta (M, N), weight (K, N) -> out (M, K), overwritten. Bishop 2006, eq. 5.56, before the factor f'.
    """
    # forward: z[m, n] += x[m, k] * weight[k, n]
    M, N = delta.shape
    K = weight.shape[0]
    for m in prange(M):
        for k in range(K):
            total = delta.dtype.type(0)
            for n in range(N):
                total += delta[m, n] * weight[k, n]
            out[m, k] = total


@kernel
def dense_backward_parameters(x, delta, dweight, dbias):
    """dweight = x.T @ delta; dbias = sum over m of delta.

    x (M, K), delta (M, N) -> dweight (K, N), dbias (N,), both overwritten; where ADDS, added to. Bishop 2006, eq. 5.53.
    """
    # forward: z[m, n] = bias[n], then z[m, n] += x[m, k] * weight[k, n]
    M, K = x.shape
    N = delta.shape[1]
    for k in prange(K):
        if not ADDS:
            for n in range(N):
                dweight[k, n] = 0
        for m in range(M):
            if x[m, k] != 0 or not SKIP_ZEROS:
                for n in range(N):
                    dweight[k, n] += x[m, k] * delta[m, n]
    if not ADDS:
        for n in range(N):
            dbias[n] = 0
    for m in range(M):
        for n in range(N):
            dbias[n] += delta[m, n]


@kernel
def dense_sgd_update(weight, bias, x, delta, learning_rate):
    """weight -= learning_rate * x.T @ delta; bias -= learning_rate * sum over m of delta.

    weight (K, N), bias (N,) updated in place, x (M, K), delta (M, N). The gradient is never stored.
    """
    M, K = x.shape
    N = delta.shape[1]
    for k in prange(K):
        for m in range(M):
            if x[m, k] != 0 or not SKIP_ZEROS:
                step = learning_rate * x[m, k]
                for n in range(N):
                    weight[k, n] -= step * delta[m, n]
    for m in range(M):
        for n in range(N):
            bias[n] -= learning_rate * delta[m, n]


@kernel
def sgd_update(parameters, gradient, learning_rate):
    """parameters -= learning_rate * gradient.

    parameters (P,) updated in place, gradient (P,). Robbins and Monro 1951.
    """
    for p in prange(parameters.shape[0]):
        parameters[p] -= learning_rate * gradient[p]


@kernel(inner=True, counted=True)
def rates_of(rates):
    """Return the numbers of a step, rates (RATES,), by their names."""
    return Rates(
        rates[0], rates[1], rates[2], rates[3], rates[4], rates[5], rates[6], rates[7], rates[8], rates[9], rates[10], rates[11]
    )  # fmt: skip


@kernel(inner=True, counted=True)
def rates_of_biases(rates):
    """Return the numbers of a step for biases and scales, (RATES,): rates (RATES,) of all, or the second half of rates (2 RATES,)."""
    return rates[rates.shape[0] - RATES :]


@kernel
def update_with_state(parameters, m, v, gradient, rates):
    """parameters, m, v = UPDATE(parameters, gradient, m, v, rates), number by number.

    parameters, m, v (P,) updated in place, gradient (P,), rates (RATES,): the numbers of updates.Rates.
    """
    take_step(UPDATE, 2, parameters, gradient, m, v, rates_of(rates))


@kernel
def limited_update(parameters, m, v, gradient, rates):
    """parameters, m, v = UPDATE(parameters, g, m, v, rates) with g = clip_norm / max(clip_norm, |c|) c + l1 sign(parameters).

    c: the gradient, each number limited to clip_value. parameters, m, v (P,) updated in place, gradient (P,), rates (RATES,): the numbers
    of updates.Rates; m and v may be the gradient where the rule has no use for them. Pascanu et al. 2013, algorithm 1.
    """
    r = rates_of(rates)
    factor = parameters.dtype.type(1)
    if r.clip_norm < np.inf:
        length = math.sqrt(squares_of_clipped(gradient, r))
        if length > r.clip_norm:
            factor = parameters.dtype.type(r.clip_norm / length)
    take_limited_step(UPDATE, 2, parameters, gradient, m, v, r, factor)


@kernel
def average_weights(average, parameters, rates):
    """average = average_decay average + (1 - average_decay) parameters.

    average (P,) updated in place, parameters (P,), rates (RATES,): the numbers of updates.Rates.
    """
    average_numbers(average, parameters, rates_of(rates))


# --- dropout, noise, max-norm ----------------------------------------------------------------------------------------------


@kernel
def drop(x, key, step, threshold, factor, out):
    """out[m, n] = 0 where the random bits of (key, step, m, n) lie below threshold, else x[m, n] * factor.

    x (M, N), key: of a stream, factor: 1 / (1 - p), float64 -> out (M, N), overwritten; out may be x.
    Srivastava et al. 2014, section 4, scaled in training as in section 10. The same on the way back: delta at the place of x.
    """
    kept = out.dtype.type(factor)
    for m in prange(x.shape[0]):
        drop_of_row(x[np.intp(m)], out[np.intp(m)], 0, kept, np.uint32(threshold), row_key(np.uint64(key), step, m))


@kernel
def add_noise(x, key, step, threshold, factor, out):
    """out[m, k] = x[m, k] + factor * z, z ~ N(0, 1) by the random bits of (key, step, m, k).

    x (M, K), key: of a stream, factor: the standard deviation, float64, threshold: not read -> out (M, K), overwritten; out
    may be x. Bishop 1995.
    """
    deviation = out.dtype.type(factor)
    for m in prange(x.shape[0]):
        add_noise_to_row(HALF_NORMAL, x[np.intp(m)], out[np.intp(m)], deviation, key, step, m)


@kernel
def limit_columns(weight, longest, factors):
    """weight[:, n] *= longest / |weight[:, n]| where a column is longer than that.

    weight (K, N) updated in place, longest a number -> factors (N,), overwritten: what each column was multiplied by.
    Srivastava et al. 2014, section 5.1.
    """
    limit_units(weight, longest, factors)
