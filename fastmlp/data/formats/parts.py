"""Tables in parts, each small beside the memory there is: Parquet, NPY and text are read bit by bit, anything else at once."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastmlp.data import gzipped, npy
from fastmlp.data.formats import arrays, columns, parquet, table, text
from fastmlp.data.formats.backend import polars
from fastmlp.data.known_formats import HEAD, recognise

BYTES_OF_CELL = 8


def read_parts(
    source: Any, size: int, *, header: bool | None = None, delimiter: str | None = None, decimal: str | None = None,
    text_columns: tuple[str, ...] = (), unread: text.Unread = text.none, notify: Callable[[str], None] | None = None,
) -> Iterator[Any]:  # fmt: skip
    """Yield the parts of a table, polars DataFrames of some `size` bytes each, from its first row to its last. See table.read_table."""
    polars()
    if isinstance(source, (str, os.PathLike)) and str(source) != table.STDIN and not os.path.isdir(source):
        with gzipped.open_stream(source) as stream:
            head = stream.peek(HEAD)
            found = recognise(os.fspath(source).removesuffix(".gz"), head)
            if head.startswith((parquet.MAGIC, npy.MAGIC)) and not stream.compressed:
                table.refuse_without_text(stream.name, header, delimiter)
            if head.startswith(parquet.MAGIC) and not stream.compressed:
                yield from _of_parquet(source, stream.name, size, text_columns, unread)
                return
            if head.startswith(npy.MAGIC) and not stream.compressed:
                yield from _of_npy(source, stream.name, size, text_columns, unread)
                return
            if (found is None or found.name in table.TEXTS) and text.may_be_text(head):
                contents = text.whole_rows(stream.read, size)
                yield from text.read_parts(
                    contents, stream.name, header=header, delimiter=delimiter, chosen=text_columns, notify=notify, decimal=decimal,
                    unread=unread,
                )  # fmt: skip
                return
    yield table.read_table(
        source, header=header, delimiter=delimiter, decimal=decimal, text_columns=text_columns, unread=unread, notify=notify
    )


def _of_parquet(
    source: str | os.PathLike[str], shown: str, size: int, text_columns: tuple[str, ...], unread: text.Unread
) -> Iterator[Any]:  # fmt: skip
    pl = polars()
    rows, width = parquet.guarded(lambda: parquet.shape(source), shown)
    step = max(size // (BYTES_OF_CELL * max(width, 1)), 1)
    for first in range(0, max(rows, 1), step):
        frame = parquet.guarded(lambda first=first: pl.scan_parquet(source).slice(first, step).collect(), shown)
        yield columns.plain(frame, shown, text_columns, first_row=first + 1, unread=unread)


def _of_npy(
    source: str | os.PathLike[str], shown: str, size: int, text_columns: tuple[str, ...], unread: text.Unread
) -> Iterator[Any]:  # fmt: skip
    with npy.OpenArray(source) as array:
        step = max(size // max(array.bytes_of_row, 1), 1)
        for first in range(0, array.shape[0], step):
            rows = array.rows(first, min(first + step, array.shape[0]))
            yield columns.plain(arrays.frame_of({"x": np.asarray(rows)}, shown), shown, text_columns, first_row=first + 1, unread=unread)
