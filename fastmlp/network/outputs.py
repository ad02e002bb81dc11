"""What the outputs z of a network stand for. Arrays in, arrays out."""

import numpy as np

from fastmlp.reproducible import exp


def probabilities(output: str, z: np.ndarray) -> np.ndarray:
    """Return the probabilities (n, N) that outputs z (n, N) stand for: of a softmax, or of one sigmoid each. NaN where sums overflow."""
    if output == "softmax":
        e = exp(z - z.max(axis=1, keepdims=True))
        found: np.ndarray = e / e.sum(axis=1, keepdims=True)
    else:
        e = exp(-np.abs(z))
        found = np.where(z >= 0, 1.0, e) / (1.0 + e)
    return found


def rates(z: np.ndarray) -> np.ndarray:
    """Return the rates e^z that outputs z (n, T) stand for where a loss takes them as logarithms; inf where that is too large."""
    with np.errstate(over="ignore"):
        found: np.ndarray = exp(z).astype(z.dtype)
    return found
