"""Tables with texts, categories or dates as X: their columns become inputs first, and scikit-learn checks what comes of them.

Tables of numbers alone go the way of arrays, as scikit-learn's own estimators have it: no scaling, and no missing value.
"""

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from fastmlp.errors import DataError
from fastmlp.preprocessing import columns as of_columns
from fastmlp.preprocessing import frames
from fastmlp.preprocessing.columns import Columns


def known_of(estimator: Any) -> Columns | None:
    """Return the columns that an estimator was fitted with, None where it takes numbers as they are."""
    found: Columns | None = getattr(estimator, "columns_", None)
    return found


def encoded(estimator: Any, x: Any, *, reset: bool) -> Any:
    """Return X as arrays are checked: a table whose columns are used as inputs (n, K) float32, anything else as it came.

    reset: whether X says what the columns are; else they are those of the estimator. Raises DataError for cells that cannot be what their
    column is, ValueError for other columns than in fit.
    """
    if reset:
        vars(estimator).pop("columns_", None)
        if not (frames.is_frame(x) and has_more_than_numbers(x)):
            return x
        estimator.columns_ = of_columns.fit(x).columns
    known = known_of(estimator)
    if known is None:
        return x
    if not frames.is_frame(x):
        if np.ndim(x) == 2 and np.shape(x)[1] == known.n_inputs:
            return x  # as columns_.encode gave them
        raise DataError(f"X: expected a table with the columns of fit, got {type(x).__name__}; columns_.encode(table) gives arrays")
    validate_data(estimator, x, skip_check_array=True, reset=reset)
    return known.encode(x, "X")


def has_more_than_numbers(frame: Any) -> bool:
    """Return whether some column of a table holds texts, categories, dates, or anything else that is no number."""
    if hasattr(frame, "iloc"):  # pandas, whose columns of objects may be numbers yet
        return any(_is_other(frame.iloc[:, place]) for place in range(frame.shape[1]))
    if hasattr(frame, "dtypes"):
        return not all(dtype.is_numeric() or str(dtype) == "Boolean" for dtype in frame.dtypes)
    if hasattr(frame, "schema"):  # pyarrow
        return not all(str(kind).startswith(("int", "uint", "float", "double", "bool", "halffloat")) for kind in frame.schema.types)
    return False


def _is_other(column: Any) -> bool:
    if getattr(column.dtype, "kind", "O") in "biuf" and str(column.dtype) != "category":
        return False
    if column.dtype == object:
        try:
            np.asarray(column, np.float64)
        except (TypeError, ValueError):
            return True
        return False
    return True
