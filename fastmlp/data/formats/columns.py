"""Columns in plain types, whatever the format they come from: whole numbers, floats, booleans, dates and texts; missing is null."""

import collections
import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastmlp.data.formats import lines
from fastmlp.data.formats.backend import polars
from fastmlp.errors import DataError

# What stands for a missing value: as pandas has it, and the question mark of the UCI tables.
MISSING = (
    "", "?", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "nan", "NaN", "NAN", "-nan", "-NaN", "null", "NULL", "Null", "None",
    "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
)  # fmt: skip


def plain(
    frame: Any, shown: str, text_columns: tuple[str, ...] = (), first_row: int = 1, unread: Callable[[str], bool] = lambda name: False
) -> Any:
    """Return a frame in plain types. Raises DataError for what has no such form, an infinite number, no row or no column.

    first_row: the number of its first row in messages. unread: as in table.read_table.
    """
    pl = polars()
    check_names(frame.columns, shown)
    check_chosen(text_columns, frame.columns, shown)
    if frame.height == 0:
        raise DataError(f"{shown}: expected at least one row, found none")
    found = [
        _passed_over(column) if unread(column.name) else _plain(column, shown, first_row, column.name in text_columns)
        for column in frame.get_columns()
    ]
    return lines.note(without_missing(pl.DataFrame(found)), np.arange(first_row, first_row + frame.height))


def _passed_over(column: Any) -> Any:
    """Return a column whose cells do not matter as texts, null where they have no such form."""
    pl = polars()
    try:
        return column.cast(pl.String, strict=False)
    except pl.exceptions.PolarsError:
        return pl.Series(column.name, [None] * len(column), pl.String)


def check_names(names: list[str], shown: str) -> None:
    """Raise DataError where there is no column, two have the same name, or one has a name that polars takes for a pattern of names."""
    if not names:
        raise DataError(f"{shown}: expected at least one column, found none")
    for place, name in enumerate(names):
        if name.startswith("^") and name.endswith("$"):
            raise DataError(
                f"{shown}: row 1, column {place + 1}: expected a name that does not begin with ^ and end with $, found {name!r:.60}"
            )
    name, count = collections.Counter(names).most_common(1)[0]
    if count > 1:
        first = names.index(name)
        second = names.index(name, first + 1)
        raise DataError(
            f"{shown}: row 1, column {second + 1}: expected a name of its own, found {name!r:.60}, as column {first + 1} has; rename one"
        )


def check_chosen(chosen: tuple[str, ...], names: list[str], shown: str) -> None:
    """Raise DataError where a column was named that is not there."""
    for name in chosen:
        if name not in names:
            raise DataError(f"{shown}: expected a column {name!r:.60}, found none{nearest_of(name, names) or listed(names)}")


def nearest_of(name: str, there: Sequence[str]) -> str:
    """Return a hint to the names that are nearest to one that is not there; "" where none is near."""
    folded = {each.casefold().strip(): each for each in there}
    near = difflib.get_close_matches(str(name).casefold().strip(), folded, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(folded[each]) for each in near)}?" if near else ""


def listed(there: Sequence[str], most: int = 12) -> str:
    """Return the names of columns as the end of a message."""
    return f"; there are {', '.join(there[:most])}{' …' if len(there) > most else ''}"


def without_missing(frame: Any) -> Any:
    """Return a frame whose String columns have no spaces around their texts, and null for what means a missing value."""
    pl = polars()
    stripped = [column.str.strip_chars() if column.dtype == pl.String else column for column in frame.get_columns()]
    return pl.DataFrame([column.set(column.is_in(MISSING), None) if column.dtype == pl.String else column for column in stripped])


def check_finite(column: Any, shown: str, place: int | None, numbers: Sequence[int] | np.ndarray) -> Any:
    """Return a Float column with null for NaN. numbers: of the rows. Raises DataError for an infinite number, or one beyond the type."""
    values = column.to_numpy()  # with NaN for null; NumPy looks at them here, because polars takes longer to begin
    infinite = np.isinf(values)
    if infinite.any():
        row = int(infinite.argmax())
        raise DataError(
            f"{where(shown, int(numbers[row]), place, column.name)}: expected a finite number, found {column[row]}; "
            "mend it, or leave it empty for a missing value"
        )
    return column.fill_nan(None) if np.isnan(values).sum() > column.null_count() else column


def where(shown: str, row: int, place: int | None, name: str) -> str:
    """Return how a message begins that is about one cell. place: of the column, from 0; None: its name alone tells."""
    of_column = f"column {name!r:.60}" if place is None else f"column {place + 1} ({name!r:.60})"
    return f"{shown}: row {row:,}, {of_column}"


def _plain(column: Any, shown: str, first_row: int, is_text: bool) -> Any:
    pl = polars()
    dtype = column.dtype
    if dtype.is_(pl.Null):
        return column.cast(pl.String)
    if dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    elif dtype.is_decimal():
        column = column.cast(pl.Float64)
    if column.dtype.is_float():
        column = check_finite(column, shown, None, range(first_row, first_row + column.len()))
    if column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean, pl.Date, pl.Datetime):
        return column.cast(pl.String) if is_text else column
    raise DataError(
        f"{shown}: column {column.name!r:.60}: expected numbers, texts, booleans or dates, found {dtype}; leave it out or convert it"
    )
