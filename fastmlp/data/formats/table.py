"""read_table: any table that is known, told by its content rather than its name, as a polars DataFrame."""

import io
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.data import gzipped
from fastmlp.data.formats import arrays, columns, frames, libsvm, parquet, pictures, text
from fastmlp.data.formats.backend import polars
from fastmlp.data.known_formats import HEAD, described, recognise
from fastmlp.errors import ConfigError, DataError, NotEnoughMemory
from fastmlp.settings import items_of, refuses_unknown

STDIN = "-"
TEXTS = ("CSV", "TSV", "text")
MISNAMED = ("ARFF", "HTML, a page", "JSON", "LIBSVM")  # what a file named .csv or .txt may be, too
Notify = Callable[[str], None]


@refuses_unknown
def read_table(
    source: Any,
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    text_columns: Iterable[str] = (),
    notify: Notify | None = None,
    decimal: str | None = None,
    unread: text.Unread = text.none,
) -> Any:
    """Return a table as a polars DataFrame: a row per row, every column with a name of its own, missing cells as null.

    source: the path of a file, CSV or TSV (or with another delimiter), Parquet, NPY, NPZ or LIBSVM, each of them plain or gzip-compressed;
    "-" for any of these on standard input; a folder with a folder of pictures for each class; a NumPy array (rows, columns); or a frame of
    pandas, polars, pyarrow or another library that narwhals knows. What a file is, its content tells.

    header: whether the first line of a text holds names; None: told by the lines below it. delimiter: the one character between cells;
    None: told by the first lines. Without names columns are x1, x2, …; a target that has no name (LIBSVM) is y, the class of a picture is
    label. decimal: "," where numbers of a text are written 1.234,5, "." where they are written 1,234.5; None: told by a text that is not
    cut at commas. text_columns: names of columns that are texts whatever they hold (codes, categories that look like numbers). notify: is
    given a line that says how the table was read. unread: whether the cells of a column of some name are not looked at: they are texts, or
    null.

    Numbers become Int64 or Float64, all else in a text String; numbers with zeros in front, as codes have them, stay as they are written.
    Missing are empty cells, ?, NA, nan, null and their like. Rows of a text are counted as an editor counts lines, header included, others
    from 1.
    Raises InputNotFound, MissingExtra without polars, NotEnoughMemory, and DataError, which names the row and the column, or for a format
    that is not read the way out. Warns where a guess is not certain.
    """
    polars()
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter.encode()) != 1 or delimiter in '"\r\n'):
        raise ConfigError(f"delimiter: expected one ASCII character that is no quote or line break, got {delimiter!r}")
    if decimal not in (None, *text.DECIMALS):
        raise ConfigError(f"decimal: expected '.' or ',', got {decimal!r:.40}")
    if header not in (None, True, False):
        raise ConfigError(f"header: expected True, False or None, got {header!r:.40}")
    if notify is not None and not callable(notify):
        raise ConfigError(f"notify: expected a function of a line of text, got {notify!r:.60}")
    one = [text_columns] if isinstance(text_columns, str) else text_columns
    chosen = items_of("text_columns", one, "names of columns", in_order=False)
    of_text = header, delimiter, decimal
    if isinstance(source, np.ndarray):
        refuse_without_text("an array", *of_text)
        return columns.plain(arrays.frame_of({"x": source}, "array"), "array", chosen, unread=unread)
    if not isinstance(source, (str, os.PathLike)):
        refuse_without_text("a frame", *of_text)
        return columns.plain(frames.as_polars(source), "frame", chosen, unread=unread)
    if str(source) == STDIN:
        return _read_bytes(_standard_input(), "standard input", "", header, delimiter, chosen, notify, decimal, unread)
    if os.path.isdir(source):
        refuse_without_text("a folder", *of_text)
        return pictures.read_folder(Path(source), notify)
    with gzipped.open_stream(source) as stream:
        head = stream.peek(HEAD)
        if head.startswith(parquet.MAGIC) and not stream.compressed:  # polars reads what it needs of it
            refuse_without_text(stream.name, *of_text)
            return columns.plain(parquet.read(source, stream.name), stream.name, chosen, unread=unread)
        content = _all_of(stream)
    name = os.fspath(source)
    return _read_bytes(content, stream.name, name.removesuffix(".gz"), header, delimiter, chosen, notify, decimal, unread)


def refuse_without_text(shown: str, header: bool | None = None, delimiter: str | None = None, decimal: str | None = None) -> None:
    """Raise ConfigError where it is said how a text is read, and the table is none."""
    for name, value in (("header", header), ("delimiter", delimiter), ("decimal", decimal)):
        if value is not None:
            raise ConfigError(f"{name}: expected none with {shown}, which is no text of cells, got {value!r}; leave it out")


def _read_bytes(
    content: bytes, shown: str, name: str, header: bool | None, delimiter: str | None, chosen: tuple[str, ...], notify: Notify | None,
    decimal: str | None, unread: text.Unread,
) -> Any:  # fmt: skip
    """Return the table in the content of a file; `name` is asked for its ending only."""
    head = content[:HEAD]
    if not content:
        raise DataError(f"{shown}: expected a table, found an empty file")
    found = recognise(name, head)
    kind = None if found is None else found.name
    if kind in TEXTS and (inside := recognise("", head)) is not None and inside.name in MISNAMED:
        found, kind = inside, inside.name
    if head.startswith((arrays.NPY, parquet.MAGIC)) or kind in ("NPZ", "LIBSVM"):
        refuse_without_text(shown, header, delimiter, decimal)
    if head.startswith(arrays.NPY):
        return columns.plain(arrays.frame_of({"x": arrays.read_npy_bytes(content, shown)}, shown), shown, chosen, unread=unread)
    if kind == "NPZ" and head.startswith(arrays.ZIP):
        return columns.plain(arrays.frame_of(arrays.read_npz(io.BytesIO(content), shown), shown), shown, chosen, unread=unread)
    if head.startswith(parquet.MAGIC):
        return columns.plain(parquet.read(io.BytesIO(content), shown), shown, chosen, unread=unread)
    if kind == "LIBSVM":
        return columns.plain(libsvm.read(content, shown), shown, chosen, unread=unread)
    if kind in TEXTS or (kind is None and text.may_be_text(head)):
        return text.read(content, shown, header=header, delimiter=delimiter, chosen=chosen, notify=notify, decimal=decimal, unread=unread)
    expected = f"{shown}: expected a table as CSV, Parquet, NPY, NPZ or LIBSVM"
    if kind in pictures.READ:
        raise DataError(f"{expected}; found {kind}; name a folder with a folder of pictures for each class, also where there is only one")
    raise DataError(f"{expected}; {described('' if kind in MISNAMED else name, head)}")


def _all_of(stream: gzipped.Stream) -> bytes:
    """Return what is left of a stream; NotEnoughMemory for a small file that claims to be huge."""
    left = machine.memory_left()
    most = 1 << 62 if left is None else left // 2  # the table needs as much again
    content = stream.read(most + 1)
    if len(content) > most:
        expected = f"expected at most {most >> 20} MiB of uncompressed text, half of the memory there is"
        raise NotEnoughMemory(f"{stream.name}: {expected}; fastmlp train --memory 2GiB reads it in parts, load_table(…, memory=), too")
    return bytes(content)


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise DataError("standard input: expected a table, found it closed")
    return sys.stdin.buffer.read()
