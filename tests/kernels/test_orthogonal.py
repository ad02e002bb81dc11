"""Orthonormal rows: those of LAPACK's QR decomposition with a positive diagonal, whatever the number of panels."""

import numpy as np
import pytest

from fastmlp.kernels import orthogonal
from fastmlp.kernels.orthogonal import PANEL
from tests.kernels.comparison import FORMS

SHAPES = [(1, 1), (1, 5), (2, 2), (3, 7), (PANEL - 1, PANEL), (PANEL, 40), (PANEL + 1, 45), (2 * PANEL + 3, 80)]


@pytest.mark.parametrize("form", ["pure", "serial"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_become_those_of_the_qr_decomposition(form, shape):
    given = np.random.default_rng(0).standard_normal(shape)
    rows = given.copy()
    FORMS[form](orthogonal.orthonormalise)(rows)
    q, r = np.linalg.qr(given.T)
    np.testing.assert_allclose(rows, (q * np.sign(np.diag(r))).T, atol=1e-12)


def test_a_large_square_matrix_is_orthogonal():
    rows = np.random.default_rng(1).standard_normal((300, 300))
    orthogonal.orthonormalise(rows)
    np.testing.assert_allclose(rows @ rows.T, np.eye(300), atol=1e-11)


def test_rows_that_are_orthonormal_stay():
    rows = np.eye(50)[np.random.default_rng(0).permutation(50)][:40]
    before = rows.copy()
    orthogonal.orthonormalise(rows)
    np.testing.assert_array_equal(rows, before)
