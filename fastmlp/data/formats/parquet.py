"""Parquet files, read by polars: an error of any kind is one about the file."""

import os
from typing import IO, Any

from fastmlp import machine
from fastmlp.data import known_formats
from fastmlp.data.formats.backend import polars
from fastmlp.errors import DataError, NotEnoughMemory

MAGIC = known_formats.PARQUET
BYTES_OF_CELL = 12  # as it is read, and as a number of an input


def read(source: str | os.PathLike[str] | IO[bytes], shown: str) -> Any:
    """Return the table in a Parquet file. Raises DataError for a damaged one, NotEnoughMemory for one that will not fit."""
    pl = polars()
    if not isinstance(source, (str, os.PathLike)):
        return guarded(lambda: pl.read_parquet(source), shown)
    left = machine.memory_left()
    if left is not None and os.path.getsize(source) > left // 64:  # a small one fits, and is not opened twice
        rows, width = guarded(lambda: shape(source), shown)
        if rows * width * BYTES_OF_CELL > left:
            raise NotEnoughMemory(
                f"{shown}: {rows:,} rows of {width:,} columns need some {rows * width * BYTES_OF_CELL >> 20:,} MiB, expected at most the "
                f"{left >> 20:,} MiB that there are; fastmlp train --memory 2GiB reads it in parts, in Python load_table(…, memory='2GiB')"
            )
    with open(source, "rb") as file:
        return guarded(lambda: pl.read_parquet(file), shown)


def shape(source: str | os.PathLike[str]) -> tuple[int, int]:
    """Return how many rows and columns a Parquet file has."""
    pl = polars()
    frame = pl.scan_parquet(source)
    return frame.select(pl.len()).collect().item(), len(frame.collect_schema())


def guarded(read: Any, shown: str) -> Any:
    """Return what read() does. Raises DataError where polars finds a file damaged, in any of the ways that it has to say so."""
    pl = polars()
    try:
        return read()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{shown}: expected an undamaged Parquet file, found: {reason}; write it again") from None
