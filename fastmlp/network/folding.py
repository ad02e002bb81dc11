"""What stands before or behind a layer, folded into its weights and biases: the same outputs, but for rounding, from a plain network."""

from typing import Any

import numpy as np

from fastmlp.errors import DataError, warn
from fastmlp.kernels.normalisation import EPSILON
from fastmlp.preprocessing import targets
from fastmlp.preprocessing.inputs import FEWEST_STEPS


def fold_normalisation(network: Any, plain: Any) -> None:
    """Fold scales and running statistics of a network's batch normalisation into the layers of a plain one that has its weights.

    z = (x @ weight - mean) s + bias with s = gamma / sqrt(variance + epsilon) is x @ (weight s) + (bias - mean s).
    """
    moments = zip(plain.weights, plain.biases, network.gammas, network.running_means, network.running_variances, strict=False)
    for weight, bias, gamma, mean, variance in moments:
        scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + EPSILON)
        weight[:] = weight * scale
        bias[:] = bias - mean * scale


def fold_target_scaling(network: Any, what: str) -> None:
    """Turn the last layer into one whose outputs are in the units of y: z std + mean = x @ (weight std) + (bias std + mean).

    Warns where the type of the parameters cannot hold such outputs to a few digits. `what` names what the caller makes.
    """
    if (scaling := targets.active(network.target_scaling)) is None:
        return
    weight, bias = network.weights[-1], network.biases[-1]
    with np.errstate(over="ignore", under="ignore"):
        weight[:] = weight.astype(np.float64) * scaling.std
        bias[:] = bias.astype(np.float64) * scaling.std + scaling.mean
        step = np.spacing(np.maximum(np.abs(scaling.mean), scaling.std).astype(network.dtype)).astype(np.float64)
    if not np.isfinite(network.parameters).all():
        raise DataError(f"{what}: expected outputs that {network.dtype} can hold, got a mean or standard deviation of y that is too large")
    if (coarse := np.flatnonzero(step * FEWEST_STEPS > scaling.std)).size:
        n = int(coarse[0])
        warn(
            f"{what}: {network.dtype} holds numbers around {scaling.mean[n]:.6g} in steps of {step[n]:.2g}, and y varies by "
            f"{scaling.std[n]:.2g}: outputs will be rounded; subtract a constant from y, or use dtype='float64'",
        )
    network.target_scaling = targets.none(network.n_outputs)
