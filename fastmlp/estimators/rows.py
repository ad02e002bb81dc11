"""The rows of a user, checked by scikit-learn's rules, in a form that kernels take: dense, or CSR that becomes dense block by block."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_array, check_X_y, validate_data

from fastmlp.errors import DataError, warn
from fastmlp.estimators import columns as of_columns
from fastmlp.network import Network
from fastmlp.network.arrays import frozen, refuse_masked
from fastmlp.preprocessing.inputs import steps_too_coarse

BLOCK_BYTES = 1 << 23  # of rows that are dense, or rounded, for a while
LARGE_BYTES = 1 << 26  # of float64 rows, from which on no copy is made for a network of float32: kernels round the rows of each batch


def checked(estimator: Any, x: Any, y: Any, *, dtype: np.dtype | None, reset: bool, numeric: bool = False) -> tuple[Any, Any]:
    """Return X (n, K), an array or a CSR matrix, and y as it came; ValueError for what scikit-learn refuses.

    dtype: of the parameters; bytes stay bytes, and so does float64 where it is large, everything else becomes it. None: float32 and
    float64 stay what they are, and all else becomes float64. reset: whether the columns of X are those that there will be, or have to be
    those known; numeric: whether y is.
    """
    refuse_masked(x, "X")
    refuse_masked(y, "y")
    _warn_of_rounding("X", x, dtype)
    if numeric:
        _warn_of_rounding("y", y, dtype)
    inputs = of_columns.encoded(estimator, x, reset=reset)
    how: dict[str, Any] = {"multi_output": True, "y_numeric": numeric, "accept_sparse": "csr", "dtype": _types(inputs, dtype), "order": "C"}
    if of_columns.known_of(estimator) is not None:  # which has checked their names
        x, y = check_X_y(inputs, y, estimator=estimator, **how)
    else:
        x, y = validate_data(estimator, x, y, reset=reset, **how)
    if numeric and not np.isfinite(y).all():  # None among objects becomes NaN after scikit-learn has looked
        raise DataError("y: expected finite numbers, got a missing one; Input y contains NaN.")
    return x, y


def _warn_of_rounding(name: str, values: Any, dtype: np.dtype | None) -> None:
    """Warn where a column of X or y, as it came, varies by less than the rounding to `dtype` leaves."""
    if dtype is None or type(values) is not np.ndarray or values.dtype != np.float64 or values.ndim not in (1, 2):
        return
    found = steps_too_coarse(values if values.ndim == 2 else values[:, None], dtype)
    if found is not None:
        column, mean, std, step = found
        warn(
            f"{name}: column {column} varies by {std:.3g} around {mean:.6g}, where {dtype} has steps of {step:.2g}; standardise it first, "
            "or use dtype='float64'",
        )


def checked_rows(estimator: Any, x: Any, dtype: np.dtype | None) -> Any:
    """Return X (n, K) alone, as `checked` does, with the columns that the estimator knows."""
    refuse_masked(x, "X")
    if of_columns.known_of(estimator) is not None:
        x = of_columns.encoded(estimator, x, reset=False)
        return check_array(x, accept_sparse="csr", dtype=_types(x, dtype), order="C", estimator=estimator)
    return validate_data(estimator, x, accept_sparse="csr", dtype=_types(x, dtype), order="C", reset=False)


def of_answers(x: Any) -> np.dtype:
    """Return the type that predictions for X come in, as scikit-learn has it: float32 for float32, float64 for everything else."""
    return np.dtype(np.float32 if getattr(x, "dtype", None) == np.float32 else np.float64)


def _types(x: Any, dtype: np.dtype | None) -> list[Any]:
    """Return the types that X may have, the first for all others."""
    if dtype is None:
        return [np.float64, np.float32]
    kept = [dtype.type, np.uint8]
    if (
        isinstance(x, np.ndarray)
        and x.flags.c_contiguous
        and _is_large_double(x)
        and np.abs((x.min(), x.max())).max() <= np.finfo(dtype).max
    ):
        kept.append(np.float64)  # within the range of dtype, else it is told what is too large
    return kept


def _is_large_double(x: np.ndarray) -> bool:
    return x.dtype == np.float64 and x.nbytes >= LARGE_BYTES


def for_kernels(x: Any, dtype: np.dtype) -> Any:
    """Return rows as `checked` gives them in a form that kernels train on; they are copied only where they are of another type and few."""
    if is_sparse(x):
        return x
    x = np.asarray(x)  # of a file that is mapped into memory, too
    return frozen(x if x.dtype in (dtype, np.uint8) or _is_large_double(x) else x.astype(dtype))


def part(x: Any, rows: np.ndarray, dtype: np.dtype) -> Any:
    """Return some rows of X, in a copy of the parameters' type where X is a large one of float64."""
    if is_sparse(x) or x.dtype == dtype or not _is_large_double(x):
        return x[rows]
    found = np.empty((rows.size, x.shape[1]), dtype)
    step = block_rows(x, x.dtype)
    for first in range(0, rows.size, step):
        found[first : first + step] = x[rows[first : first + step]]
    return found


def is_sparse(x: Any) -> bool:
    """Return whether rows are a CSR matrix."""
    return bool(sparse.issparse(x))


def block_rows(x: Any, dtype: np.dtype) -> int:
    """Return how many rows of X are made dense, or rounded, at a time."""
    return max(1, BLOCK_BYTES // max(1, int(x.shape[1]) * dtype.itemsize))


def dense(x: Any, dtype: np.dtype) -> np.ndarray:
    """Return rows of a CSR matrix as kernels take them."""
    return frozen(x.toarray().astype(dtype, copy=False))


def outputs(network: Network, x: Any, threads: int | None) -> np.ndarray:
    """Return z (n, N) of the output layer for rows as `checked` gives them."""
    is_dense = not is_sparse(x)
    if is_dense and (x.dtype == network.dtype or not _is_large_double(x)):
        return network.logits(x, threads=threads)
    step = block_rows(x, network.dtype)
    blocks_of_x = (x[first : first + step] for first in range(0, x.shape[0], step))
    parts = [network.logits(block if is_dense else dense(block, network.dtype), threads=threads) for block in blocks_of_x]
    return np.concatenate(parts) if parts else np.empty((0, network.n_outputs), network.dtype)


def blocks(x: Any, dtype: np.dtype) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield all rows as kernels take them, with the first and the end of each block; dense rows are one."""
    if not is_sparse(x):
        yield frozen(x), 0, x.shape[0]
        return
    step = block_rows(x, dtype)
    for first in range(0, x.shape[0], step):
        end = min(first + step, x.shape[0])
        yield dense(x[first:end], dtype), first, end
