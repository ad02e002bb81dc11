"""Normalisation of the sums of a layer, for each unit over the rows of a batch, or for each row over the units of the layer.

    forward     hat = (z - mean) / sqrt(variance + EPSILON)            out = gamma * hat + beta
    batch       mean and variance of a unit, over the rows             Ioffe and Szegedy 2015, algorithm 1
    layer       mean and variance of a row, over the units             Ba, Kiros and Hinton 2016, eq. 4
    backward    dgamma = sum over m of delta * hat                     dbeta = sum over m of delta
                dz: through hat, and through the mean and the variance that z itself makes

A variance is never E[z^2] - E[z]^2, whose digits cancel in float32 beside a large mean. It is summed in a pass of its own, after the mean,
and the mean in two: what the first sum has lost to rounding, the second one finds. Sums run in the order of the source, so that neither
the number of threads nor the number of rows asked for at once changes a bit.

What works on one row, or on the units from `first` to `last`, is written once: for a batch, and for the panels of panels.py, whose rows
are longer than what they hold.
"""

import numpy as np
from numba import prange

from fastmlp.compilation.decorators import kernel

__all__ = [
    "batch_moments",
    "batch_norm_backward",
    "fixed_norm_backward",
    "inverse_deviations",
    "layer_norm",
    "layer_norm_backward",
    "normalise_units",
    "scale_backward",
    "track_moments",
]

EPSILON = 1e-5  # added to a variance; PyTorch has the same
TRACKED = 0.1  # weight of the last batch in the running statistics, as in PyTorch
UNITS = 64  # of one thread at a time: whole cache lines

# Vectors at `moments` of a layer's record, a number for each unit of all panels. At `running` lie running means, then variances; of sums
# that are normalised over the units of a layer, the inverse deviation of each row.
MEAN, VARIANCE, INVERSE, DGAMMA, DBETA = range(5)
MOMENT_VECTORS = 5


@kernel(inner=True, counted=True)
def moments_of_units(z, first, last, mean, variance):
    """mean[n] = sum over m of z[m, n] / M; variance[n] = sum over m of (z[m, n] - mean[n])^2 / M, for the units first to last.

    z (M, N or more) -> mean, variance (N,), overwritten from first to last. Ioffe and Szegedy 2015, algorithm 1.
    """
    M = z.shape[0]
    count = z.dtype.type(M)
    for n in range(first, last):
        mean[n] = 0
        variance[n] = 0
    for m in range(M):
        for n in range(first, last):
            mean[n] += z[m, n]
    for n in range(first, last):
        mean[n] /= count
    for m in range(M):
        for n in range(first, last):
            variance[n] += z[m, n] - mean[n]  # 0 but for rounding
    for n in range(first, last):
        mean[n] += variance[n] / count
        variance[n] = 0
    for m in range(M):
        for n in range(first, last):
            variance[n] += (z[m, n] - mean[n]) * (z[m, n] - mean[n])
    for n in range(first, last):
        variance[n] /= count


@kernel
def batch_moments(z, mean, variance):
    """mean[n] = sum over m of z[m, n] / M; variance[n] = sum over m of (z[m, n] - mean[n])^2 / M.

    z (M, N) -> mean (N,), variance (N,), both overwritten. Ioffe and Szegedy 2015, algorithm 1.
    """
    N = z.shape[1]
    for chunk in prange((N + UNITS - 1) // UNITS):
        first = np.intp(chunk) * UNITS  # prange counts in unsigned numbers
        moments_of_units(z, first, min(N, first + UNITS), mean, variance)


@kernel(inner=True, counted=True)
def inverse_root(variance):
    """Return 1 / sqrt(variance + EPSILON), float64.

    Of float32, LLVM estimates it where it makes vectors, and divides where it does not: the bits would depend on how many there are.
    """
    return 1.0 / np.sqrt(np.float64(variance) + EPSILON)


@kernel
def inverse_deviations(variance, out):
    """out[n] = 1 / sqrt(variance[n] + EPSILON).

    variance (N,) -> out (N,), overwritten; out may be variance.
    """
    for n in range(variance.shape[0]):
        out[n] = inverse_root(variance[n])


@kernel
def track_moments(running_mean, running_variance, mean, variance, M):
    """running = (1 - TRACKED) running + TRACKED batch; of the variance, the unbiased one: M / (M - 1) times that over the rows.

    running_mean, running_variance (N,) updated in place, mean, variance (N,): of a batch of M rows, M > 1. Ioffe and Szegedy 2015,
    algorithm 2, with a running mean in the place of that over batches, as PyTorch has it.
    """
    kind = mean.dtype.type
    new, unbiased = kind(TRACKED), kind(M) / kind(M - 1)
    old = kind(1) - new
    for n in range(mean.shape[0]):
        running_mean[n] = old * running_mean[n] + new * mean[n]
        running_variance[n] = old * running_variance[n] + new * (unbiased * variance[n])


@kernel(inner=True, counted=True)
def normalise_row(z, m, N, mean, inverse, gamma, beta, hat, out):
    """Do what normalise_units does for the first N units of row m."""
    for n in range(N):
        hat[m, n] = (z[m, n] - mean[n]) * inverse[n]
    for n in range(N):
        out[m, n] = gamma[n] * hat[m, n] + beta[n]


@kernel
def normalise_units(z, mean, inverse, gamma, beta, hat, out):
    """hat[m, n] = (z[m, n] - mean[n]) * inverse[n]; out = gamma * hat + beta.

    z (M, N), mean, inverse, gamma, beta (N,) -> hat (M, N), out (M, N), both overwritten; hat may be z.
    """
    M, N = z.shape
    for index in prange(M):
        normalise_row(z, np.intp(index), N, mean, inverse, gamma, beta, hat, out)


@kernel(inner=True, counted=True)
def row_sum(a, m, N):
    """Return the sum of the first N numbers of row m, in four parts: an addition then waits for the fourth before it, not for the last."""
    t0 = a.dtype.type(0)
    t1, t2, t3 = t0, t0, t0
    whole = N - N % 4
    for n in range(0, whole, 4):
        t0 += a[m, n]
        t1 += a[m, n + 1]
        t2 += a[m, n + 2]
        t3 += a[m, n + 3]
    for n in range(whole, N):
        t0 += a[m, n]
    return (t0 + t1) + (t2 + t3)


@kernel(inner=True, counted=True)
def row_dot(a, b, m, N):
    """Return the sum of the products of the first N numbers of rows m of a and b, in four parts like row_sum."""
    t0 = a.dtype.type(0)
    t1, t2, t3 = t0, t0, t0
    whole = N - N % 4
    for n in range(0, whole, 4):
        t0 += a[m, n] * b[m, n]
        t1 += a[m, n + 1] * b[m, n + 1]
        t2 += a[m, n + 2] * b[m, n + 2]
        t3 += a[m, n + 3] * b[m, n + 3]
    for n in range(whole, N):
        t0 += a[m, n] * b[m, n]
    return (t0 + t1) + (t2 + t3)


@kernel(inner=True, counted=True)
def layer_norm_row(z, m, N, gamma, beta, hat, inverse, out):
    """Do what layer_norm does for row m, of N units."""
    count = z.dtype.type(N)
    mean = row_sum(z, m, N) / count
    for n in range(N):
        hat[m, n] = z[m, n] - mean
    rest = row_sum(hat, m, N) / count  # 0 but for rounding
    for n in range(N):
        hat[m, n] -= rest
    inverse[m] = inverse_root(row_dot(hat, hat, m, N) / count)
    for n in range(N):
        hat[m, n] *= inverse[m]
    for n in range(N):
        out[m, n] = gamma[n] * hat[m, n] + beta[n]


@kernel
def layer_norm(z, gamma, beta, hat, inverse, out):
    """hat[m, n] = (z[m, n] - mean[m]) * inverse[m], with mean[m] and 1 / inverse[m]^2 - EPSILON of row m; out = gamma * hat + beta.

    z (M, N), gamma, beta (N,) -> hat (M, N), inverse (M,), out (M, N), all overwritten; hat may be z. Ba, Kiros and Hinton 2016, eq. 4.
    """
    M, N = z.shape
    for index in prange(M):
        layer_norm_row(z, np.intp(index), N, gamma, beta, hat, inverse, out)


@kernel(inner=True, counted=True)
def scale_backward_of_units(delta, hat, first, last, dgamma, dbeta):
    """Do what scale_backward does for the units first to last."""
    # forward: out[m, n] = gamma[n] * hat[m, n] + beta[n]
    for n in range(first, last):
        dgamma[n] = 0
        dbeta[n] = 0
    for m in range(delta.shape[0]):
        for n in range(first, last):
            dgamma[n] += delta[m, n] * hat[m, n]
            dbeta[n] += delta[m, n]


@kernel
def scale_backward(delta, hat, dgamma, dbeta):
    """dgamma[n] = sum over m of delta[m, n] hat[m, n]; dbeta[n] = sum over m of delta[m, n].

    delta (M, N), hat (M, N) -> dgamma (N,), dbeta (N,), both overwritten. Ioffe and Szegedy 2015, section 3.
    """
    N = delta.shape[1]
    for chunk in prange((N + UNITS - 1) // UNITS):
        first = np.intp(chunk) * UNITS
        scale_backward_of_units(delta, hat, first, min(N, first + UNITS), dgamma, dbeta)


@kernel(inner=True, counted=True)
def batch_norm_backward_row(delta, hat, m, N, inverse, gamma, dgamma, dbeta):
    """Do what batch_norm_backward does for the first N units of row m."""
    # forward: out[m, n] = gamma[n] * hat[m, n] + beta[n], hat[m, n] = (z[m, n] - mean[n]) * inverse[n], the moments over m of z itself
    share = delta.dtype.type(1) / delta.dtype.type(delta.shape[0])
    for n in range(N):
        delta[m, n] = gamma[n] * inverse[n] * (delta[m, n] - share * dbeta[n] - hat[m, n] * (share * dgamma[n]))


@kernel
def batch_norm_backward(delta, hat, inverse, gamma, dgamma, dbeta):
    """delta = gamma inverse (delta - dbeta / M - hat dgamma / M): from that with respect to out to that with respect to z.

    delta (M, N) updated in place, hat (M, N), inverse, gamma, dgamma, dbeta (N,), the last two from scale_backward. Ioffe and
    Szegedy 2015, section 3, with the sums over the batch written as dgamma and dbeta.
    """
    M, N = delta.shape
    for index in prange(M):
        batch_norm_backward_row(delta, hat, np.intp(index), N, inverse, gamma, dgamma, dbeta)


@kernel(inner=True, counted=True)
def fixed_norm_backward_row(delta, m, N, inverse, gamma):
    """Do what fixed_norm_backward does for the first N units of row m."""
    # forward: out[m, n] = gamma[n] * (z[m, n] - mean[n]) * inverse[n] + beta[n]
    for n in range(N):
        delta[m, n] *= gamma[n] * inverse[n]


@kernel
def fixed_norm_backward(delta, inverse, gamma):
    """delta *= gamma inverse: the same where mean and variance are not those of the rows, but given.

    delta (M, N) updated in place, inverse (N,), gamma (N,).
    """
    M, N = delta.shape
    for index in prange(M):
        fixed_norm_backward_row(delta, np.intp(index), N, inverse, gamma)


@kernel(inner=True, counted=True)
def layer_norm_backward_row(delta, hat, m, N, inverse, gamma):
    """Do what layer_norm_backward does for row m, of N units."""
    # forward: out[m, n] = gamma[n] * hat[m, n] + beta[n], hat[m, n] = (z[m, n] - mean[m]) * inverse[m], the moments over n of z itself
    share = delta.dtype.type(1) / delta.dtype.type(N)
    for n in range(N):
        delta[m, n] *= gamma[n]
    along_mean, along_hat = share * row_sum(delta, m, N), share * row_dot(delta, hat, m, N)
    for n in range(N):
        delta[m, n] = inverse[m] * (delta[m, n] - along_mean - hat[m, n] * along_hat)


@kernel
def layer_norm_backward(delta, hat, inverse, gamma):
    """delta = inverse (g - mean of g - hat mean of g hat), g = gamma delta, means over the units of a row.

    delta (M, N) updated in place: from that with respect to out to that with respect to z; hat (M, N), inverse (M,), gamma (N,).
    The derivative of Ba, Kiros and Hinton 2016, eq. 4; the form is that of the batch, with units in the place of rows.
    """
    M, N = delta.shape
    for index in prange(M):
        layer_norm_backward_row(delta, hat, np.intp(index), N, inverse, gamma)
