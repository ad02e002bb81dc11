"""Orthonormal rows, for initial weights. Our own loops: LAPACK's bits change with the number of its threads."""

import math

from fastmlp.compilation.decorators import kernel

PANEL = 32  # rows whose part in all later rows is taken away together: they stay in the second-level cache meanwhile


@kernel(reassociate=True)
def subtract_projection(rows, i, j):
    """rows[j] -= (rows[i] . rows[j]) rows[i]. rows (n, m): in place."""
    shared = rows.dtype.type(0)
    for k in range(rows.shape[1]):
        shared += rows[i, k] * rows[j, k]
    for k in range(rows.shape[1]):
        rows[j, k] -= shared * rows[i, k]


@kernel(reassociate=True)
def orthonormalise(rows):
    """Q of rows = L Q, where L is lower triangular with a positive diagonal and the rows of Q are orthonormal, takes the place of rows.

    rows (n, m) float64, n <= m, linearly independent: in place. It is the QR decomposition of their transpose, the one whose R has a
    positive diagonal. Modified Gram and Schmidt: Golub and Van Loan 2013, algorithm 5.2.6, a panel of rows at a time.
    """
    n, m = rows.shape
    for first in range(0, n, PANEL):
        last = min(first + PANEL, n)
        for i in range(first, last):
            square = rows.dtype.type(0)
            for k in range(m):
                square += rows[i, k] * rows[i, k]
            length = math.sqrt(square)
            for k in range(m):
                rows[i, k] /= length
            for j in range(i + 1, last):
                subtract_projection(rows, i, j)
        for j in range(last, n):
            for i in range(first, last):
                subtract_projection(rows, i, j)
