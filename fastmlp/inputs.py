"""The boundary: arrays as people have them -> the few forms that kernels take, or an error that says what is wrong.

Rows become C-contiguous, read-only uint8 or floats of the network's type; targets become floats (n, T) of that type, class numbers
included (exact up to 2^24 classes). So twelve kinds of input do not compile twelve kernels.
"""

import math
from typing import Any

import numpy as np

from fastmlp.errors import DataError

BLOCK_ROWS = 4096  # rows checked or converted at a time, so that no second copy of a data set is made
MOST_CLASSES = 2**24


def as_rows(x: Any, n_features: int, dtype: Any, name: str = "x") -> np.ndarray:
    """Return x as rows (n, n_features): uint8 as it is, everything else in `dtype`; read-only.

    x: (n, n_features), or images (n, height, width) of as many pixels. Raises DataError for other shapes and types, NaN and inf.
    """
    array = _numeric(x, name)
    if array.ndim >= 2 and math.prod(array.shape[1:]) == n_features:
        rows = array.reshape(array.shape[0], n_features)
    else:
        raise DataError(f"{name}: expected (n, {n_features}), got shape {array.shape}; the network has {n_features} inputs")
    if rows.dtype != np.uint8:
        rows = _floats(rows, np.dtype(dtype), name)
    return frozen(rows)


def is_single(x: Any, n_features: int) -> bool:
    """Return whether x is one row (n_features,), or one image (height, width) of as many pixels."""
    try:
        shape = np.shape(x)
    except ValueError:  # rows of different lengths: as_rows says so
        return False
    return len(shape) == 1 or len(shape) == 2 and shape[1] != n_features and shape[0] * shape[1] == n_features


def is_image(rows: np.ndarray, n_axes: int) -> bool:
    """Return whether rows, of what had so many axes before `as_rows`, are images: bytes, or of two axes each; others make a table."""
    return bool(rows.dtype == np.uint8) or n_axes > 2


def as_target(y: Any, output: str, n_outputs: int, n_rows: int, dtype: Any, name: str = "y") -> np.ndarray:
    """Return y as floats (n_rows, T) of `dtype`; read-only. T is 1 for classes, n_outputs otherwise.

    output "softmax": integers 0 to n_outputs - 1, (n,); "sigmoid": 0 or 1, (n,) or (n, n_outputs); "identity": finite numbers.
    """
    array = _numeric(y, name)
    if output == "softmax":
        target = _classes(array, n_outputs, name)
    else:
        columns = array[:, None] if array.ndim == 1 else array
        if columns.ndim != 2 or columns.shape[1] != n_outputs:
            expected = "(n,) or (n, 1)" if n_outputs == 1 else f"(n, {n_outputs})"
            raise DataError(f"{name}: expected {expected} for {n_outputs} outputs, got shape {array.shape}")
        if output == "sigmoid" and (wrong := ~((columns == 0) | (columns == 1))).any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(f"{name}: expected 0 or 1 for a sigmoid output, got {columns[row, column]} in row {row}")
        target = columns
    if target.shape[0] != n_rows:
        raise DataError(f"{name}: expected {n_rows} rows, as many as x has, got {target.shape[0]}")
    return frozen(_floats(target, np.dtype(dtype), name))


def as_sample_weight(sample_weight: Any, n_rows: int, name: str = "sample_weight") -> np.ndarray:
    """Return weights of rows as float64 (n_rows,): finite numbers of at least 0."""
    array = _numeric(sample_weight, name)
    if array.shape != (n_rows,):
        raise DataError(f"{name}: expected ({n_rows},), one number per row, got shape {array.shape}")
    weight = array.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if wrong.size:
        raise DataError(f"{name}: expected finite numbers of at least 0, got {array[wrong[0]]} in row {wrong[0]}")
    return weight


def weight_in(dtype: Any, weight: np.ndarray, name: str = "sample_weight") -> np.ndarray:
    """Return weights of rows (n,) in the type of the parameters, as kernels take them; DataError for too large ones, and for all 0."""
    with np.errstate(over="ignore"):
        converted = weight.astype(dtype)
    wrong = np.flatnonzero(~np.isfinite(converted))
    if wrong.size:
        raise DataError(f"{name}: expected numbers that {np.dtype(dtype)} can hold, got {weight[wrong[0]]:g} in row {wrong[0]}")
    if converted.size and not converted.any():
        raise DataError(f"{name}: expected some rows to count, got 0 for all {converted.size}")
    return converted


def _classes(array: np.ndarray, n_classes: int, name: str) -> np.ndarray:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        hint = "; use argmax(axis=1) on one-hot rows" if array.ndim == 2 else ""
        raise DataError(f"{name}: expected class numbers (n,), got shape {array.shape}{hint}")
    if array.dtype.kind not in "iub":
        raise DataError(f"{name}: expected whole class numbers from 0 to {n_classes - 1}, got {array.dtype}; convert with y.astype(int)")
    if array.size and (array.min() < 0 or array.max() >= n_classes):
        row = int(np.flatnonzero((array < 0) | (array >= n_classes))[0])
        raise DataError(f"{name}: expected class numbers from 0 to {n_classes - 1}, got {array[row]} in row {row}")
    return array[:, None]


def _numeric(values: Any, name: str) -> np.ndarray:
    if hasattr(values, "toarray"):
        raise DataError(f"{name}: expected a dense array, got a sparse one; convert it with {name}.toarray()")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{name}: expected a rectangular array of numbers, got one that NumPy cannot build ({error})") from None
    if array.dtype.kind not in "buif":
        raise DataError(f"{name}: expected numbers, got {array.dtype}; encode text and categories as numbers first")
    if array.ndim == 0:
        raise DataError(f"{name}: expected an array, got the single number {array}")
    return array


def _floats(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """Convert block by block, and refuse what is not finite or does not fit into the type."""
    converted = array if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned else np.empty(array.shape, dtype)
    for first in range(0, array.shape[0], BLOCK_ROWS):
        block = array[first : first + BLOCK_ROWS]
        if converted is not array:
            with np.errstate(over="ignore"):
                converted[first : first + BLOCK_ROWS] = block
        finite = np.isfinite(converted[first : first + BLOCK_ROWS])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise DataError(f"{name}: expected finite numbers in {dtype}, got {block[row, column]} in row {first + row}, column {column}")
    return converted


def frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only view, C-contiguous and aligned: writable arrays and read-only ones would be two types to the compiler."""
    flags = array.flags
    view = (array if flags.c_contiguous and flags.aligned else np.require(array, requirements=["C_CONTIGUOUS", "ALIGNED"])).view()
    view.flags.writeable = False
    return view
