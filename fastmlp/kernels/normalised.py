"""Normalisation of the sums of a layer where they lie in an arena: the loops of normalisation.py on panels, or on rows; for all engines.

Each block gets the vector in which gamma and the biases lie, the record of a layer, M rows, the arena with all else, and which of how many
shares it works on. Tiles have their parameters in the arena as well; a layer of the textbook loops is one panel, and one share.
"""

from fastmlp.compilation.decorators import kernel
from fastmlp.compilation.forms import specialise
from fastmlp.kernels.normalisation import (
    DBETA,
    DGAMMA,
    INVERSE,
    MEAN,
    VARIANCE,
    batch_norm_backward_row,
    fixed_norm_backward_row,
    inverse_deviations,
    layer_norm_backward_row,
    layer_norm_row,
    moments_of_units,
    normalise_row,
    scale_backward_of_units,
    track_moments,
)
from fastmlp.kernels.panels import own

INFERS = False  # bound: whether the running statistics are taken


# What returns a view counts who holds the array.


@kernel(inner=True, counted=True)
def rows_of_panel(arena, first, layer, p, M):
    """Return the part of M rows, of those from `first` on, in panel p as the first columns of a view (M, row)."""
    at = first + p * layer.column
    return arena[at : at + M * layer.row].reshape((M, layer.row))


@kernel(inner=True, counted=True)
def of_panel(vector, first, layer, p):
    """Return the part of a vector of all units, from `first` on, that belongs to panel p, as a view."""
    return vector[first + p * layer.width : first + (p + 1) * layer.width]


@kernel(inner=True, counted=True)
def moments_of_panel(arena, layer, vector, p):
    """Return what one of the vectors at `moments` holds of the units of panel p, as a view."""
    return of_panel(arena, layer.moments + vector * layer.panels * layer.width, layer, p)


@kernel(inner=True, counted=True)
def running_of_panel(arena, layer, p):
    """Return the running means and variances of the units of panel p, as views."""
    return of_panel(arena, layer.running, layer, p), of_panel(arena, layer.running + layer.panels * layer.width, layer, p)


@kernel(inner=True, counted=True)
def normalise_by_batch(parameters, layer, M, arena, share, shares):
    """hat = (hat - mean) / deviation, z = gamma hat + bias, over the rows; one row, or where this INFERS, by the running statistics."""
    first, last = own(layer.panels, share, shares)
    for p in range(first, last):
        hat, z = rows_of_panel(arena, layer.hat, layer, p, M), rows_of_panel(arena, layer.z, layer, p, M)
        mean, variance = moments_of_panel(arena, layer, MEAN, p), moments_of_panel(arena, layer, VARIANCE, p)
        if M > 1 and not INFERS:
            moments_of_units(hat, 0, layer.width, mean, variance)
        else:
            running_mean, running_variance = running_of_panel(arena, layer, p)
            for n in range(mean.shape[0]):
                mean[n] = running_mean[n]
                variance[n] = running_variance[n]
        inverse = moments_of_panel(arena, layer, INVERSE, p)
        gamma, beta = of_panel(parameters, layer.gamma, layer, p), of_panel(parameters, layer.bias, layer, p)
        inverse_deviations(variance, inverse)
        for m in range(M):
            normalise_row(hat, m, layer.width, mean, inverse, gamma, beta, hat, z)


@kernel(inner=True, counted=True)
def track_batch(parameters, layer, M, arena, share, shares):
    """Let the running statistics follow those of the batch; one row has none."""
    if M > 1:
        first, last = own(layer.panels, share, shares)
        for p in range(first, last):
            running_mean, running_variance = running_of_panel(arena, layer, p)
            mean, variance = moments_of_panel(arena, layer, MEAN, p), moments_of_panel(arena, layer, VARIANCE, p)
            track_moments(running_mean, running_variance, mean, variance, M)


@kernel(inner=True, counted=True)
def sum_scale_deltas(parameters, layer, M, arena, share, shares):
    """dgamma, dbeta = sums over the rows of delta hat, of delta."""
    first, last = own(layer.panels, share, shares)
    for p in range(first, last):
        hat, delta = rows_of_panel(arena, layer.hat, layer, p, M), rows_of_panel(arena, layer.delta, layer, p, M)
        dgamma, dbeta = moments_of_panel(arena, layer, DGAMMA, p), moments_of_panel(arena, layer, DBETA, p)
        scale_backward_of_units(delta, hat, 0, layer.width, dgamma, dbeta)


@kernel(inner=True, counted=True)
def batch_backward(parameters, layer, M, arena, share, shares):
    """Turn delta from that with respect to z into that with respect to the sums, after dgamma and dbeta."""
    first, last = own(layer.panels, share, shares)
    for p in range(first, last):
        hat, delta = rows_of_panel(arena, layer.hat, layer, p, M), rows_of_panel(arena, layer.delta, layer, p, M)
        dgamma, dbeta = moments_of_panel(arena, layer, DGAMMA, p), moments_of_panel(arena, layer, DBETA, p)
        inverse, gamma = moments_of_panel(arena, layer, INVERSE, p), of_panel(parameters, layer.gamma, layer, p)
        for m in range(M):
            if M > 1:
                batch_norm_backward_row(delta, hat, m, layer.width, inverse, gamma, dgamma, dbeta)
            else:
                fixed_norm_backward_row(delta, m, layer.width, inverse, gamma)


@kernel(inner=True, counted=True)
def normalise_by_layer(parameters, layer, M, arena, share, shares):
    """Normalise each of the own rows of the sums over its units: z = gamma hat + bias. All panels of a row lie side by side."""
    N = layer.n_out
    hat, z = rows_of_panel(arena, layer.hat, layer, 0, M), rows_of_panel(arena, layer.z, layer, 0, M)
    gamma, beta = parameters[layer.gamma : layer.gamma + N], parameters[layer.bias : layer.bias + N]
    inverse = arena[layer.running : layer.running + M]
    first, last = own(M, share, shares)
    for m in range(first, last):
        layer_norm_row(hat, m, N, gamma, beta, hat, inverse, z)


@kernel(inner=True, counted=True)
def layer_backward(parameters, layer, M, arena, share, shares):
    """Turn delta from that with respect to z into that with respect to the sums, for own rows."""
    N = layer.n_out
    hat, delta = rows_of_panel(arena, layer.hat, layer, 0, M), rows_of_panel(arena, layer.delta, layer, 0, M)
    gamma, inverse = parameters[layer.gamma : layer.gamma + N], arena[layer.running : layer.running + M]
    first, last = own(M, share, shares)
    for m in range(first, last):
        layer_norm_backward_row(delta, hat, m, N, inverse, gamma)


# What normalises the sums of hidden layers, by the field of a record. "running" is inference after training with "batch".
NORMS = {
    "none": {},
    "batch": {
        "normalise": normalise_by_batch, "scale_backward": sum_scale_deltas, "normalise_backward": batch_backward, "track": track_batch
    },
    "layer": {"normalise": normalise_by_layer, "scale_backward": sum_scale_deltas, "normalise_backward": layer_backward},
    "running": {"normalise": specialise(normalise_by_batch, "running", INFERS=True)},
}  # fmt: skip
