"""The losses of rows and their derivatives with respect to z, in float64. Imports nothing of fastmlp.

The loss of a row is the mean over its outputs; that of softmax the cross-entropy with its target distribution. `parameter` is the number
that a loss may have: the label smoothing of the two cross-entropies, the delta of huber, the level of quantile.
"""

import numpy as np
from scipy import special

from tests.oracle.activations import logistic

Array = np.ndarray

OUTPUT_OF = {
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
    "mse_of_softmax": "softmax",
    "mse_of_sigmoid": "sigmoid",
    **dict.fromkeys(("mse", "mae", "huber", "log_cosh", "quantile", "poisson"), "identity"),
}
SMOOTHED = ("cross_entropy", "binary_cross_entropy", "mse_of_softmax", "mse_of_sigmoid")


def log_softmax(z: Array) -> Array:
    z = z - z.max(axis=1, keepdims=True)  # otherwise the logarithm of a sum is lost beside numbers of 1e30
    return z - np.logaddexp.reduce(z, axis=1)[:, None]


def softmax(z: Array) -> Array:
    return np.exp(log_softmax(z))


def smoothed(loss: str, z: Array, target: Array, share: float) -> Array:
    """Return the probabilities (M, N) that the outputs are to have: those of the target, mixed with those of a blind guess."""
    if OUTPUT_OF[loss] == "softmax":
        return (1.0 - share) * (np.arange(z.shape[1]) == target) + share / z.shape[1]
    return (1.0 - share) * target + share * 0.5


def row_losses(loss: str, z: Array, target: Array, parameter: float = 0.0) -> Array:
    """Return the loss of each row (M,). target: class numbers (M, 1) for softmax, else (M, N)."""
    if loss == "cross_entropy":
        return -(smoothed(loss, z, target, parameter) * log_softmax(z)).sum(axis=1)
    if loss == "binary_cross_entropy":
        target = smoothed(loss, z, target, parameter)
        return (target * np.logaddexp(0.0, -z) + (1.0 - target) * np.logaddexp(0.0, z)).mean(axis=1)
    if loss in SMOOTHED:  # squared errors of probabilities
        probability = softmax(z) if loss == "mse_of_softmax" else logistic(z)
        return ((probability - smoothed(loss, z, target, parameter)) ** 2).mean(axis=1)
    error = z - target
    if loss == "mse":
        return (error**2).mean(axis=1)
    if loss == "mae":
        return np.abs(error).mean(axis=1)
    if loss == "huber":  # Huber 1964: a parabola within delta of the target, its tangents beyond
        return special.huber(parameter, error).mean(axis=1)
    if loss == "log_cosh":
        return (np.logaddexp(error, -error) - np.log(2.0)).mean(axis=1)
    if loss == "quantile":  # Koenker and Bassett 1978: what lies below its target costs `parameter`, what lies above 1 - parameter
        return np.where(error < 0.0, -parameter * error, (1.0 - parameter) * error).mean(axis=1)
    if loss == "poisson":  # the negative log likelihood of counts at the rate e^z, without the term of t alone
        return (np.exp(z) - target * z).mean(axis=1)
    raise ValueError(loss)


def output_delta(loss: str, z: Array, target: Array, parameter: float = 0.0) -> Array:
    """Return the derivative (M, N) of each row's loss with respect to its z."""
    if loss == "cross_entropy":
        return softmax(z) - smoothed(loss, z, target, parameter)
    if loss == "binary_cross_entropy":
        return (logistic(z) - smoothed(loss, z, target, parameter)) / z.shape[1]
    if loss == "mse_of_sigmoid":
        s = logistic(z)
        return 2.0 * (s - smoothed(loss, z, target, parameter)) * s * (1.0 - s) / z.shape[1]
    if loss == "mse_of_softmax":
        p = softmax(z)
        jacobian = p[:, :, None] * (np.eye(z.shape[1]) - p[:, None, :])  # dp[c]/dz[k] = p[c] (1 if c = k else 0) - p[c] p[k]
        return np.einsum("mc,mck->mk", 2.0 * (p - smoothed(loss, z, target, parameter)), jacobian) / z.shape[1]
    error = z - target
    slopes = {
        "mse": lambda: 2.0 * error,
        "mae": lambda: np.sign(error),
        "huber": lambda: np.clip(error, -parameter, parameter),
        "log_cosh": lambda: np.tanh(error),
        "quantile": lambda: np.where(error == 0.0, 0.0, (error > 0.0) - parameter),
        "poisson": lambda: np.exp(z) - target,
    }
    return slopes[loss]() / z.shape[1]


def correct_rows(loss: str, z: Array, target: Array) -> Array:
    """Return for each row 1 where it is classified correctly, its share of right labels for several, 0 for numbers."""
    if OUTPUT_OF[loss] == "softmax":
        return (z.argmax(axis=1) == target[:, 0]).astype(float)
    if OUTPUT_OF[loss] == "sigmoid":
        return ((z > 0) == (target > 0)).mean(axis=1)
    return np.zeros(len(z))
