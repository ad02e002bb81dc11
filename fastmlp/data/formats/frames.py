"""Frames that people hand in: of polars as they are, of pandas, pyarrow and others through narwhals."""

import collections
import datetime
import numbers
from typing import Any

from fastmlp.data.formats.backend import narwhals, polars
from fastmlp.data.formats.columns import MISSING, check_names
from fastmlp.errors import DataError


def as_polars(frame: Any) -> Any:
    """Return a frame as a polars DataFrame; an index is no column. Raises DataError for what is no frame, or holds what polars cannot."""
    pl = polars()
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    nw = narwhals()
    names = [str(name) for name in getattr(frame, "columns", ())]
    if names and not all(isinstance(name, str) for name in frame.columns) and hasattr(frame, "set_axis"):
        check_names(names, "frame")
        frame = frame.set_axis(names, axis=1)  # pandas names columns by numbers, too
    elif names and hasattr(frame, "iloc"):
        check_names(names, "frame")  # which narwhals refuses in words of its own
    try:
        known = nw.from_native(frame)
    except TypeError:
        raise DataError(
            f"table: expected a path, an array or a frame of pandas, polars or pyarrow, got {type(frame).__name__}; np.asarray may help"
        ) from None
    if isinstance(known, nw.LazyFrame):
        known = known.collect()
    return pl.DataFrame([_column(column) for column in known.iter_columns()])


def _column(column: Any) -> Any:
    """Return a column of narwhals as a polars Series."""
    pl = polars()
    missing = column.is_null()
    if not missing.any() or column.dtype.is_temporal():  # NumPy has a missing date, and no missing integer
        values = column.to_numpy()
        if values.dtype.kind in "biufM":
            return pl.Series(column.name, values)
    return _of_values(column.name, [None if none else value for none, value in zip(missing.to_list(), column.to_list(), strict=True)])


def _of_values(name: str, values: list[Any]) -> Any:
    """Return a Series of Python's values, all of them numbers, texts, booleans or dates. Raises DataError where they are not."""
    pl = polars()
    values = [None if isinstance(value, str) and value.strip() in MISSING else value for value in values]
    for kinds, dtype in (
        (bool, pl.Boolean), (numbers.Integral, pl.Int64), (numbers.Real, pl.Float64), (str, pl.String), (datetime.datetime, pl.Datetime),
        (datetime.date, pl.Date),
    ):  # fmt: skip
        if all(value is None or isinstance(value, kinds) for value in values):
            try:
                return pl.Series(name, values, dtype)
            except (TypeError, OverflowError, pl.exceptions.PolarsError):  # an integer beyond 64 bits is a float yet
                continue
    found = collections.Counter(type(value) for value in values if value is not None)
    common = found.most_common(1)[0][0]
    row = next(row for row, value in enumerate(values) if value is not None and (len(found) == 1 or type(value) is not common))
    raise DataError(
        f"frame: row {row + 1:,}, column {name!r:.60}: expected numbers, texts, booleans or dates, one kind in a column, found "
        f"{type(values[row]).__name__} {values[row]!r:.40} where most are {common.__name__}; convert the column, for example astype(str)"
    )
