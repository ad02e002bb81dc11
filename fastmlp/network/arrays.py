"""The boundary: arrays as people have them -> the few forms that kernels take, or an error that says what is wrong.

Rows become C-contiguous, read-only uint8 or floats of the network's type; targets become floats (n, T) of that type, class numbers
included (exact up to 2^24 classes). So twelve kinds of input do not compile twelve kernels.
"""

import datetime
import decimal
import fractions
import math
from typing import Any

import numpy as np

from fastmlp.errors import DataError, warn
from fastmlp.preprocessing.inputs import BLOCK_ROWS

# Floats that stand for bytes lie in 0…1; noise and interpolation lead them a little out of there, another scale further.
BYTES_AS_FLOATS = (-1.0, 2.0)


def as_rows(
    x: Any, n_features: int, dtype: Any, name: str = "x", offset: np.ndarray | None = None, is_of_bytes: bool = False
) -> np.ndarray:
    """Return x as rows (n, n_features): uint8 as it is, everything else in `dtype`; read-only.

    offset (n_features,) float64: subtracted from numbers that are no bytes, in float64, before they are rounded to `dtype`. is_of_bytes:
    the network was trained on bytes and scales them to 0…1; whole numbers of any type are bytes then, floats too with a warning, and others
    have to lie on that scale.

    x: (n, n_features), or images (n, height, width) of as many pixels. Raises DataError for other shapes and types, NaN and inf.
    """
    array = as_numbers(x, name)
    if array.ndim >= 2 and math.prod(array.shape[1:]) == n_features:
        rows = array.reshape(array.shape[0], n_features)
    else:
        raise DataError(f"{name}: expected (n, {n_features}), got shape {array.shape}; the network has {n_features} inputs")
    if is_of_bytes:
        rows = _on_scale_of_bytes(rows, name)
    if rows.dtype != np.uint8:
        rows = _floats(rows, np.dtype(dtype), name, offset)
    return frozen(rows)


def is_single(x: Any, n_features: int) -> bool:
    """Return whether x is one row (n_features,), or one image (height, width) of as many pixels."""
    try:
        shape = np.shape(x)
    except Exception:  # rows of different lengths, tensors on a GPU: as_rows says what is wrong
        return False
    return len(shape) == 1 or len(shape) == 2 and shape[1] != n_features and shape[0] * shape[1] == n_features


def is_image(rows: np.ndarray, n_axes: int) -> bool:
    """Return whether rows, of what had so many axes before `as_rows`, are images: bytes, or of two axes each; others make a table."""
    return bool(rows.dtype == np.uint8) or n_axes > 2


def as_target(y: Any, output: str, n_outputs: int, n_rows: int, dtype: Any, name: str = "y") -> np.ndarray:
    """Return y as floats (n_rows, T) of `dtype`; read-only. T is 1 for classes, n_outputs otherwise.

    output "softmax": class numbers 0 to n_outputs - 1, (n,), which labels.py makes of labels; "sigmoid": 0 or 1, (n,) or (n, n_outputs), or
    where there are several outputs class numbers as for softmax, which become one-hot rows; "identity": finite numbers.
    """
    array = as_numbers(y, name)
    if output == "softmax":
        target = _classes(array, n_outputs, name)
    elif names_classes(array, output, n_outputs):
        target = np.zeros((array.shape[0], n_outputs), dtype)
        np.put_along_axis(target, _classes(array, n_outputs, name).astype(np.int64), 1, axis=1)
    else:
        columns = array[:, None] if array.ndim == 1 else array
        if columns.ndim != 2 or columns.shape[1] != n_outputs:
            classes = ", or labels (n,)," if output == "sigmoid" else ""
            expected = "(n,) or (n, 1)" if n_outputs == 1 else f"(n, {n_outputs}){classes}"
            raise DataError(f"{name}: expected {expected} for {n_outputs} outputs, got shape {array.shape}")
        if output == "sigmoid" and (wrong := ~((columns == 0) | (columns == 1))).any():
            row, column = np.argwhere(wrong)[0]
            cure = "; labels -1 and 1: give (y + 1) / 2" if ((columns == -1) | (columns == 1)).all() else ""
            raise DataError(f"{name}: expected 0 or 1 for a sigmoid output, got {columns[row, column]} in row {row}{cure}")
        target = columns
    if target.shape[0] != n_rows:
        raise DataError(f"{name}: expected {n_rows} rows, as many as x has, got {target.shape[0]}")
    return frozen(_floats(target, np.dtype(dtype), name))


def names_classes(y: Any, output: str, n_outputs: int) -> bool:
    """Return whether targets name one class per row: those of softmax do, and one number per row for several sigmoid outputs."""
    shape = np.shape(y)
    return output == "softmax" or (output == "sigmoid" and n_outputs > 1 and (len(shape) == 1 or shape[1:] == (1,)))


def in_classes(target: np.ndarray, y: Any, output: str, n_outputs: int) -> tuple[np.ndarray, str]:
    """Return targets, and the output that they belong to, for what is done class by class: one-hot rows are class numbers (n, 1) there.

    target: what `as_target` made of y.
    """
    if output == "sigmoid" and names_classes(y, output, n_outputs):
        return target.argmax(axis=1)[:, None], "softmax"
    return target, output


def as_sample_weight(sample_weight: Any, n_rows: int, name: str = "sample_weight") -> np.ndarray:
    """Return weights of rows as float64 (n_rows,): finite numbers of at least 0."""
    array = as_numbers(sample_weight, name)
    if array.shape != (n_rows,):
        raise DataError(f"{name}: expected ({n_rows},), one number per row, got shape {array.shape}")
    weight = array.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if wrong.size:
        raise DataError(f"{name}: expected finite numbers of at least 0, got {array[wrong[0]]} in row {wrong[0]}")
    return weight


def as_groups(groups: Any, n_rows: int) -> np.ndarray:
    """Return the groups of rows (n_rows,) as whole numbers; DataError for anything else."""
    array = as_numbers(groups, "groups")
    if array.shape != (n_rows,) or array.dtype.kind not in "iu":
        raise DataError(f"groups: expected ({n_rows},), one whole number per row, got {array.dtype} {array.shape}")
    return array


def weight_in(dtype: Any, weight: np.ndarray, name: str = "sample_weight") -> np.ndarray:
    """Return weights of rows (n,) in the type of the parameters, as kernels take them; DataError for too large ones, and for all 0."""
    with np.errstate(over="ignore"):
        converted = weight.astype(dtype)
    wrong = np.flatnonzero(~np.isfinite(converted))
    if wrong.size:
        raise DataError(f"{name}: expected numbers that {np.dtype(dtype)} can hold, got {weight[wrong[0]]:g} in row {wrong[0]}")
    if converted.size and not converted.any():
        raise DataError(f"{name}: expected some rows to count, got 0 for all {converted.size}")
    held = np.finfo(dtype)
    # beyond, products with losses and their sums would lose their digits, or overflow
    if converted.size and not held.tiny / held.eps <= converted.max() <= held.max * held.eps:
        raise DataError(f"{name}: expected weights around 1, got up to {weight.max():g}; divide them by their mean")
    return converted


def _classes(array: np.ndarray, n_classes: int, name: str) -> np.ndarray:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{name}: expected class numbers (n,), got shape {array.shape}")
    if array.dtype.kind not in "iub":
        raise DataError(f"{name}: expected whole class numbers from 0 to {n_classes - 1}, got {array.dtype}; convert with y.astype(int)")
    check_range(array, n_classes, name)
    return array[:, None]


def check_range(numbers: np.ndarray, n_classes: int, name: str) -> None:
    """Raise DataError, with the row, where class numbers (n,) or (n, 1) are not all from 0 to n_classes - 1."""
    if numbers.size and (numbers.min() < 0 or numbers.max() >= n_classes):
        flat = numbers.ravel()
        row = int(((flat < 0) | (flat >= n_classes)).argmax())
        raise DataError(f"{name}: expected class numbers from 0 to {n_classes - 1}, got {flat[row]} in row {row}")


def as_numbers(values: Any, name: str) -> np.ndarray:
    """Return an array of one of NumPy's types of numbers; DataError says what it is instead, and the way out."""
    array = as_array(values, name)
    if array.dtype == object:
        return _from_objects(array, values, name)
    if array.dtype.kind not in "buif":
        raise DataError(f"{name}: expected numbers, got {_other(array.dtype.kind, str(array.dtype), name)}")
    return array


def as_array(values: Any, name: str) -> np.ndarray:
    """Return an array of one or more axes of whatever type; DataError for what NumPy makes none of, and for masked values."""
    if type(values) is np.ndarray and values.ndim and values.dtype.kind in "buif":
        return values
    if hasattr(values, "toarray"):
        raise DataError(f"{name}: expected a dense array, got a sparse one; convert it with {name}.toarray()")
    _check_dates(values, name)
    refuse_masked(values, name)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{name}: expected a rectangular array of numbers, got one that NumPy cannot build ({_line(error)})") from None
    except (TypeError, RuntimeError) as error:  # a tensor that is elsewhere, or part of a graph
        way_out = f"{name}.detach().cpu().float().numpy() for a tensor of PyTorch"
        raise DataError(f"{name}: expected an array of numbers, got {type(values).__name__} ({_line(error)}); give {way_out}") from None
    if array.ndim == 0 and array.dtype.kind in "buif":
        raise DataError(f"{name}: expected an array, got the single number {array}")
    if array.ndim == 0:
        raise DataError(f"{name}: expected an array of numbers, got {type(values).__name__}")
    return array


def refuse_masked(values: Any, name: str) -> None:
    """Raise DataError for an array with masked values, and for a list of such: NumPy would take what lies under the mask."""
    parts = values if isinstance(values, (list, tuple)) else (values,)
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        raise DataError(f"{name}: expected numbers everywhere, got a masked array; fill it: {name}.filled(0), or leave these rows out")


NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating, decimal.Decimal, fractions.Fraction)


def _from_objects(array: np.ndarray, values: Any, name: str) -> np.ndarray:
    """Return an array of Python objects that are all numbers as int64 or float64: what tables of several types become in NumPy."""
    flat = array.ravel()
    wrong = next((place for place, item in enumerate(flat) if not isinstance(item, NUMBERS)), None)
    if wrong is not None:
        place = np.unravel_index(wrong, array.shape)
        raise DataError(
            f"{name}: expected numbers, row {place[0]}{_column(values, array, int(place[-1]))} holds {_thing(flat[wrong], name)}"
        )
    if all(isinstance(item, (bool, int, np.bool_, np.integer)) for item in flat):
        try:
            return array.astype(np.int64)
        except OverflowError:
            pass
    try:
        return array.astype(np.float64)
    except OverflowError:  # a whole number or a fraction beyond 1.8e308
        raise DataError(f"{name}: expected numbers that float64 can hold, got one that is too large") from None


def _column(values: Any, array: np.ndarray, column: int) -> str:
    """Return which column of a table is meant, by its name where it has one; nothing for what has no columns."""
    if array.ndim != 2:
        return ""
    names = getattr(values, "columns", None)
    return f" of column {str(names[column])!r}" if names is not None and len(names) == array.shape[1] else f" of column {column}"


def _check_dates(values: Any, name: str) -> None:
    """Raise DataError for a column of dates in a table: some libraries make numbers of them without a word."""
    columns, kinds = getattr(values, "columns", None), getattr(values, "dtypes", None)
    if columns is None or kinds is None:
        return
    for column, kind in zip(columns, kinds, strict=False):
        if str(kind).lower().startswith(("date", "time", "duration")):
            raise DataError(f"{name}: column {str(column)!r} holds {_other('M', f'dates or times ({kind})', name)}")


def _thing(item: Any, name: str) -> str:
    """Return what something is that is no number, and the way out."""
    kind = type(item).__name__
    if item is None or kind in ("NAType", "NaTType"):
        return f"a missing value ({item}); fill it or leave the row out"
    if isinstance(item, (str, bytes)):
        return _other("U", f"text ({item!r:.40})", name)
    if isinstance(item, (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)):
        return _other("M", f"a date or time ({item})", name)
    if isinstance(item, (complex, np.complexfloating)):
        return _other("c", f"a complex number ({item})", name)
    return f"{kind}, which is no number"


def _other(kind: str, shown: str, name: str) -> str:
    """Return what numbers are to be made of an array of another kind."""
    if kind in "USTO":
        if name.endswith("y"):
            return f"{shown}; this network predicts numbers, for classes it needs output='softmax'"
        return f"{shown}; encode text and categories as numbers first, such as pandas.get_dummies makes"
    if kind in "Mm":
        return f"{shown}; give numbers, such as days since the first: (t - t.min()) / np.timedelta64(1, 'D')"
    if kind == "c":
        return f"{shown}; give real and imaginary parts as columns of their own"
    return f"{shown}; give its fields as columns: numpy.lib.recfunctions.structured_to_unstructured({name})"


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0][:120]


def _on_scale_of_bytes(rows: np.ndarray, name: str) -> np.ndarray:
    """Return whole numbers (n, K) as bytes, and floats as they are where they lie on the scale of bytes divided by 255.

    Floats that are whole numbers up to 255 are taken as bytes with a warning. Raises DataError for any others.
    """
    if rows.dtype == np.uint8 or rows.dtype.kind == "b":
        return rows
    blocks = [rows[first : first + BLOCK_ROWS] for first in range(0, rows.shape[0], BLOCK_ROWS)]
    is_whole, (lowest, highest) = rows.dtype.kind in "iu", BYTES_AS_FLOATS
    if not is_whole and all(block.size == 0 or (block.min() >= lowest and block.max() <= highest) for block in blocks):
        return rows
    if all(((block >= 0) & (block <= 255) & (block == np.floor(block))).all() for block in blocks):
        if not is_whole:
            warn(
                f"{name}: the network was trained on bytes and divides them by 255; these whole numbers up to 255 are taken as bytes, give "
                "uint8, or floats from 0 to 1",
            )
        return rows.astype(np.uint8)
    if not all(np.isfinite(block).all() for block in blocks):
        return rows  # refused as everywhere
    row, column = np.argwhere((rows < (0 if is_whole else lowest)) | (rows > (255 if is_whole else highest)))[0]
    expected = "whole numbers from 0 to 255" if is_whole else "floats from 0 to 1"
    raise DataError(
        f"{name}: expected {expected}, as the network was trained on bytes and divides them by 255, got "
        f"{rows[row, column]:g} in row {row}, column {column}; give uint8, or divide by 255"
    )


def warn_of_bytes(rows: np.ndarray, name: str) -> None:
    """Warn where rows (n, K) for a network trained on floats from 0 to 1 are whole numbers up to 255: pixels that were not divided."""
    highest = BYTES_AS_FLOATS[1]
    if rows.dtype == np.uint8 or rows.size == 0 or not highest < rows.max() <= 255:
        return
    if rows.min() >= 0 and (rows == np.floor(rows)).all():
        warn(
            f"{name}: the network was trained on floats from 0 to 1; these whole numbers up to {rows.max():g} are taken as they are; "
            "divide pixels by 255, or give uint8",
        )


def _floats(array: np.ndarray, dtype: np.dtype, name: str, offset: np.ndarray | None = None) -> np.ndarray:
    """Convert block by block, and refuse what is not finite or does not fit into the type."""
    as_it_is = offset is None and array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned
    converted = array if as_it_is else np.empty(array.shape, dtype)
    for first in range(0, array.shape[0], BLOCK_ROWS):
        block = array[first : first + BLOCK_ROWS]
        if converted is not array:
            with np.errstate(over="ignore"):
                converted[first : first + BLOCK_ROWS] = block if offset is None else block - offset
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
