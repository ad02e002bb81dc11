"""What the cells of a column say: numbers, texts, dates, or nothing; and tables of any library as polars has them.

polars is needed only where a table comes in: whoever has arrays does not load it.
"""

from collections.abc import Container
from typing import Any, NoReturn

import numpy as np

from fastmlp.data.formats import read_table
from fastmlp.data.formats.backend import polars
from fastmlp.errors import DataError

ISO = ("%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ")
HOURS = ("", " %H:%M", " %H:%M:%S%.f")
DAY_FIRST = tuple(day + hour for day in ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y") for hour in HOURS)
MONTH_FIRST = tuple(day + hour for day in ("%m/%d/%Y", "%m-%d-%Y") for hour in HOURS)
# What is taken for a date only where it is said that a column holds dates: it may be a number.
RUN_TOGETHER = tuple("%Y%m%d" + hour for hour in HOURS)
SECONDS_OF_A_DAY = 86400


def is_frame(values: Any) -> bool:
    """Return whether something is a table with named columns: of pandas, polars, pyarrow or narwhals."""
    return not isinstance(values, np.ndarray) and hasattr(values, "columns") and hasattr(values, "shape") and len(values.shape) == 2


def names_of(frame: Any) -> list[str]:
    """Return the names of the columns of a table of any library."""
    return [str(name) for name in (frame.column_names if hasattr(frame, "column_names") else frame.columns)]


def as_polars(frame: Any, wanted: Container[str]) -> Any:
    """Return the wanted columns of a table of any library as a polars.DataFrame of plain types; the others may hold anything.

    Raises DataError for names that stand there twice, and for what cells cannot be.
    """
    if hasattr(frame, "loc"):  # pandas
        frame = frame.loc[:, [str(name) in wanted for name in frame.columns]]
    else:
        names = [name for name in names_of(frame) if name in wanted]
        frame = frame.select(names) if hasattr(frame, "column_names") else frame[names]  # polars' select takes * for all columns
    return read_table(frame)


def as_numbers(column: Any, rows: np.ndarray | None = None) -> np.ndarray:
    """Return a column as float64 (n,), NaN where it is missing; DataError, with the row, for what is no finite number.

    rows (n,): the numbers that its rows have in messages, None: from 1.
    """
    pl = polars()
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.String)):
        raise DataError(f"column {column.name!r}: expected numbers, got {column.dtype}")
    numbers = column.cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & column.is_not_null()) | numbers.is_infinite() | numbers.is_nan()
    if wrong.any():
        refuse(column, wrong, "a finite number", rows)
    found: np.ndarray = numbers.fill_null(float("nan")).to_numpy()
    return found


def as_texts(column: Any) -> Any:
    """Return a column as texts, null where it is missing: a whole number without its point, whatever its type."""
    pl = polars()
    kind = column.dtype
    if kind == pl.String:
        folded = column.str.to_lowercase()
        return pl.select(pl.when(folded.is_in(["true", "false"])).then(folded).otherwise(column)).to_series().alias(column.name)
    if kind.is_float():
        is_whole = ((column == column.floor()) & (column.abs() < 2.0**63)).fill_null(False)
        whole = column.set(~is_whole, None).cast(pl.Int64).cast(pl.String)
        return pl.select(pl.when(is_whole).then(whole).otherwise(column.cast(pl.String))).to_series().alias(column.name)
    return column.cast(pl.String)


def as_dates(column: Any, format: str = "", rows: np.ndarray | None = None) -> Any:
    """Return a column as moments (n,) of polars.Datetime, null where it is missing.

    format: that of dates that are texts; "" for one of ISO's. rows: as for `as_numbers`. Raises DataError for what is no date.
    """
    pl = polars()
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    if column.dtype == pl.Datetime:
        return column.dt.replace_time_zone(None).cast(pl.Datetime("us"))
    if column.dtype.is_integer() and format:
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        raise DataError(f"column {column.name!r}: expected dates, got {column.dtype}")
    moments = _parsed(column, (format,) if format else ISO)
    if (wrong := moments.is_null() & column.is_not_null()).any():
        refuse(column, wrong, f"a date as {format}" if format else "a date as 2026-01-31, or 2026-01-31 12:00", rows)
    return moments


def date_format(column: Any, day_first: bool | None = None) -> str:
    """Return the format of the texts in a column of dates: "" for ISO's; DataError where none fits all, or several tell other dates.

    day_first: whether 01/02/2026 is in February; None: told by days above 12.
    """
    pl = polars()
    texts = column.cast(pl.String) if column.dtype.is_integer() else column
    if texts.dtype != pl.String or not (_parsed(texts, ISO).is_null() & texts.is_not_null()).any():
        return ""
    fit = formats_of_dates(texts, (*DAY_FIRST, *MONTH_FIRST, *RUN_TOGETHER), day_first)
    if not fit:
        sample = texts.drop_nulls()[0]
        raise DataError(f"column {column.name!r}: expected dates of one form, such as 2026-01-31, got {sample!r:.40} and others")
    if len(fit) > 1:
        raise DataError(f"column {column.name!r}: {either_day(texts, fit)}")
    return fit[0]


def formats_of_dates(texts: Any, formats: tuple[str, ...], day_first: bool | None = None) -> list[str]:
    """Return the formats that fit all texts of a column; of those that tell the same dates, the first."""
    other = MONTH_FIRST if day_first else [each for each in DAY_FIRST if not each.startswith("%d.")]
    left_out = () if day_first is None else other
    present, found = texts.drop_nulls().unique(), dict[str, Any]()
    for each in formats:
        if each not in left_out and not _parsed(present[:10], (each,)).null_count():
            moments = _parsed(present, (each,))
            if not moments.null_count() and not any(moments.equals(other) for other in found.values()):
                found[each] = moments
    return list(found)


def either_day(texts: Any, formats: list[str]) -> str:
    """Return the message about dates that mean one day by one format and another by the next."""
    first, second = (_parsed(texts, (each,)) for each in formats[:2])
    differ = texts.filter((first != second).fill_null(False))
    return (
        f"expected dates that mean one day, {differ[0]!r:.40} may be two; say --day-first or --month-first (in Python day_first=), "
        "or write 2026-01-31"
    )


def looks_like_dates(column: Any) -> bool:
    """Return whether all texts of a column are dates as ISO writes them."""
    sample = column.drop_nulls()[:100]
    return len(sample) > 0 and all(_parsed(each, ISO).null_count() == 0 for each in (sample, column.drop_nulls()))


def _parsed(texts: Any, formats: tuple[str, ...]) -> Any:
    pl = polars()
    found = texts.str.to_datetime(formats[0], strict=False, time_unit="us")
    for each in formats[1:]:
        if found.null_count() == texts.null_count():
            break
        found = found.zip_with(found.is_not_null(), texts.str.to_datetime(each, strict=False, time_unit="us"))
    return found.cast(pl.Datetime("us"))


def refuse(column: Any, wrong: Any, expected: str, rows: np.ndarray | None = None) -> NoReturn:
    """Raise DataError for the first cell of a column (n,) that is wrong (n,) bool, with its row: see `as_numbers`."""
    row = int(wrong.arg_max())
    raise DataError(f"{place(column.name, row, rows)}: expected {expected}, got {column[row]!r:.60}")


def place(name: str, row: int, rows: np.ndarray | None = None) -> str:
    """Return how a message begins that is about a cell. rows (n,): see formats/lines.py; None: rows are counted from 1."""
    return f"column {name!r}, row {row + 1 if rows is None else int(rows[row]):,}"
