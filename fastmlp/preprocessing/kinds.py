"""What the columns of a table are, told from their cells: number, category, date, or nothing that a network could learn from."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastmlp.data.formats import lines, read_table
from fastmlp.data.formats.backend import polars
from fastmlp.preprocessing import frames

# Kinds that become inputs, and those that do not.
INPUTS = NUMBER, CATEGORY, ORDINAL, DATE = ("number", "category", "ordinal", "date")
LEFT_OUT = CONSTANT, IDENTIFIER, TEXT, UNCLEAR = ("constant", "row number", "text", "unclear")
FEW = 20  # different values of a column of texts that are categories in any case
EXAMPLES = 3


class Kind(NamedTuple):
    """What a column is, why it is that where it may surprise, and the row that decided it."""

    kind: str
    why: str = ""
    row: int | None = None


class Description(NamedTuple):
    """A column as `fastmlp data describe` shows it."""

    name: str
    kind: str
    missing: int
    distinct: int
    values: str  # the range of numbers and dates, the most frequent of others
    why: str


def kind_of(column: Any, day_first: bool | None = None) -> Kind:
    """Return what a column (n,) is, of a table as `read_table` gives it; day_first: as for `frames.date_format`."""
    pl = polars()
    present, kind = column.drop_nulls(), column.dtype
    if len(present) == 0:
        return Kind(CONSTANT, "no value in it")
    distinct = column.n_unique()
    if distinct == 1:
        return Kind(CONSTANT, f"always {present[0]!r:.40}")
    if kind == pl.Boolean:
        return Kind(CATEGORY)
    if kind in (pl.Date, pl.Datetime):
        return Kind(DATE)
    if kind != pl.String:
        return Kind(IDENTIFIER, "it counts the rows") if _counts_rows(column) else Kind(NUMBER)
    numbers = present.cast(pl.Float64, strict=False)
    share = 1.0 - numbers.null_count() / len(present)
    if share == 1.0:
        return Kind(IDENTIFIER, "it counts the rows") if _counts_rows(column.cast(pl.Float64)) else Kind(NUMBER)
    if present.str.contains(r"^[+-]?\d+,\d+$").all():
        return Kind(
            UNCLEAR, f"numbers with a decimal comma, such as {present[0]!r:.40}; write them with a point, or a text with --decimal ,"
        )
    if frames.looks_like_dates(column):
        return Kind(DATE)
    if formats := frames.formats_of_dates(column, (*frames.DAY_FIRST, *frames.MONTH_FIRST), day_first):
        if len(formats) > 1:
            return Kind(UNCLEAR, frames.either_day(column, formats))
        return Kind(DATE, f"dates with the {'day' if formats[0] in frames.DAY_FIRST else 'month'} first, such as {present[0]!r:.40}")
    if distinct <= FEW:
        return Kind(CATEGORY)
    if share >= 0.9:
        wrong = column.is_not_null() & column.cast(pl.Float64, strict=False).is_null()
        row = int(wrong.arg_max())
        return Kind(UNCLEAR, f"expected a number, as in {share:.1%} of the rows, got {column[row]!r:.60}", row)
    if 2 * present.n_unique() > len(present):
        return Kind(TEXT, f"{present.n_unique():,} different ones in {len(present):,} rows")
    return Kind(CATEGORY)


def _counts_rows(column: Any) -> bool:
    """Return whether a column of numbers goes up by one from row to row, as the index of a table does; some rows may be missing."""
    if column.null_count() or len(column) < FEW:
        return False
    values = column.to_numpy()
    first, last = values[:2], values[-1]
    return bool((np.diff(values) >= 1).all() and first[0] in (0, 1, 2, 3) and last < 2 * len(values) and (values == np.floor(values)).all())


def describe(frame: Any, asked: Mapping[str, str] | None = None, day_first: bool | None = None) -> list[Description]:
    """Return what the columns of a table of any library are; asked: by their names, what some are said to be."""
    rows, known = lines.of(frame), asked or {}
    return [_described(column, rows, known.get(column.name), day_first) for column in read_table(frame)]


def _described(column: Any, rows: np.ndarray, asked: str | None, day_first: bool | None) -> Description:
    kind, why, row = kind_of(column, day_first) if asked is None else Kind(asked)
    why = why if row is None else f"row {rows[row]:,}: {why}"
    present = column.drop_nulls()
    distinct = present.n_unique()
    values = ""
    if kind == NUMBER and len(present):
        numbers = frames.as_numbers(column, rows)
        numbers = numbers[~np.isnan(numbers)]
        values = f"{numbers.min():.6g} to {numbers.max():.6g}, median {np.median(numbers):.6g}"
    elif kind == DATE:
        moments = frames.as_dates(present, frames.date_format(present, day_first), rows[column.is_not_null().to_numpy()])
        values, why = f"{moments.min()} to {moments.max()}{f'; {why}' if why else ''}", ""
    elif len(present):
        texts = frames.as_texts(present).alias("text")
        counts = texts.value_counts().sort(["count", "text"], descending=[True, False])
        values = ", ".join(f"{text:.24} ({count:,})" for text, count in counts[:EXAMPLES].iter_rows())
    return Description(column.name, kind, column.null_count(), distinct, values, why)
