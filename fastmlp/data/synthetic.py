"""The synthetic data set: points of the plane, and which side of an ellipse they lie on.

    x ~ N(0, I₂)        q = xᵀ A x,  A = [[1, −0.05], [1, 0.4]]        class 1 where q > 0.6

Random bits come from the Philox counter generator, whose stream is fixed for ever, and become normal numbers by the transform
of Box and Muller, "A Note on the Generation of Random Normal Deviates", Ann. Math. Statist. 29 (1958) 610, equation (1).
`numpy.random.Generator.normal` promises no such stability between versions.
"""

from typing import NamedTuple

import numpy as np

from fastmlp import reproducible

KEY = 2
TRAIN_ROWS = 60_000
TEST_ROWS = 10_000
MATRIX = ((1.0, -0.05), (1.0, 0.4))
THRESHOLD = 0.6


class Points(NamedTuple):
    """Points (rows, 2), float32, and their classes (rows,), uint8."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def synthetic_points() -> Points:
    """Return the 60,000 training points and the 10,000 test points: always the same."""
    x = _normal_pairs(TRAIN_ROWS + TEST_ROWS)
    y = classify(x)
    return Points(x[:TRAIN_ROWS], y[:TRAIN_ROWS], x[TRAIN_ROWS:], y[TRAIN_ROWS:])


def classify(x: np.ndarray) -> np.ndarray:
    """Return the class of each point (rows, 2) -> (rows,) uint8: 1 outside the ellipse xᵀ A x = 0.6."""
    first, second = x[:, 0].astype(np.float64), x[:, 1].astype(np.float64)
    (a, b), (c, d) = MATRIX
    q = a * first * first + (b + c) * first * second + d * second * second
    return (q > THRESHOLD).astype(np.uint8)


def _normal_pairs(rows: int) -> np.ndarray:
    """Return (rows, 2) float32 normal numbers; the rounding to float32 hides the last bits in which math libraries differ."""
    raw = np.random.Philox(key=KEY).random_raw(2 * rows).reshape(rows, 2)
    uniform = ((raw >> np.uint64(11)) + 0.5) * 2.0**-53  # the upper 53 bits, at the middle of their steps: never 0
    radius = np.sqrt(-2.0 * reproducible.log(uniform[:, 0]))
    angle = 2.0 * np.pi * uniform[:, 1]
    return np.stack((radius * reproducible.cos(angle), radius * reproducible.sin(angle)), axis=1).astype(np.float32)
