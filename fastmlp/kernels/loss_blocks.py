"""Losses as a step calls them: one signature for all, with the numbers of a loss in an array.

numbers (1,)          p, the number that a loss has besides: losses.Loss.parameter
numbers (1 + 4 N,)    p, then s, m, k and r of each output n, N of each: s z + m is what the network predicts in the units of y, and s t + m
                      the target; r l(s z + m, s t + m, p) is added up, and k l'(s z + m, s t + m, p) is the derivative taken by z.

The second form serves networks whose targets are standardised. A row's loss is the mean over its outputs.
"""

from fastmlp.kernels import scalar
from fastmlp.kernels.compiling import kernel
from fastmlp.kernels.losses import absolute_error, absolute_error_derivative

# Bound when a kernel is specialised: a loss kernel of scalar.py; the formulas of a loss and of its derivative.
LOSS_KERNEL = scalar.separate_loss
LOSS, LOSS_DERIVATIVE = absolute_error, absolute_error_derivative


@kernel
def loss_as_it_is(z, target, sample_weight, factor, numbers, delta):
    """Return sum over m of w[m] l[m]; delta = factor * w[m] * dl[m]/dz: what LOSS_KERNEL gives.

    z (M, N), target (M, T), sample_weight (M,) or (0,) for ones, factor: a number of z's type, numbers (1,) float64 -> delta (M, N),
    overwritten.
    """
    return LOSS_KERNEL(z, target, sample_weight, factor, z.dtype.type(numbers[0]), delta)


@kernel
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
