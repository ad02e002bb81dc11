"""Parquet files, read by polars: an error of any kind is one about the file."""

import os
from typing import IO, Any

from fastmlp.data import known_formats
from fastmlp.data.formats.backend import polars
from fastmlp.errors import DataError

MAGIC = known_formats.PARQUET


def read(source: str | os.PathLike[str] | IO[bytes], shown: str) -> Any:
    """Return the table in a Parquet file. Raises DataError for a damaged one."""
    pl = polars()
    if not isinstance(source, (str, os.PathLike)):
        return guarded(lambda: pl.read_parquet(source), shown)
    with open(source, "rb") as file:
        return guarded(lambda: pl.read_parquet(file), shown)


def guarded(read: Any, shown: str) -> Any:
    """Return what read() does. Raises DataError where polars finds a file damaged, in any of the ways that it has to say so."""
    pl = polars()
    try:
        return read()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{shown}: expected an undamaged Parquet file, found: {reason}; write it again") from None
