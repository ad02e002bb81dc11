"""Tables larger than memory: read once, kept on the disk as plain numbers, of which any rows can be had at any time.

A file of the user's is read in parts, from its first row to its last, and checked. Its numbers go to a file without a name in the cache
folder, which the system takes away with the process, whatever ends it. So neither the format nor the order of the rows matters later.
"""

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.data.formats import lines
from fastmlp.data.formats.backend import polars
from fastmlp.data.formats.columns import check_chosen
from fastmlp.data.formats.parts import read_parts
from fastmlp.errors import ConfigError, DataError, NotEnoughMemory, WriteError
from fastmlp.settings import refuses_unknown

DEFAULT_MEMORY = "1GiB"
RESERVE = 320 << 20  # of the limit: what Python, NumPy, polars and the compiled code take, rows apart
LEAST_MEMORY = RESERVE + (64 << 20)
PARTS = 24  # a part that is read, beside the memory for rows
MOST_LABELS = 10_000  # numbers that may still be the classes
UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
Notify = Callable[[str], None]


class StoredTable:
    """A table on the disk: features x (n_rows, n_features) and a target y (n_rows,), of which `rows` reads any. Made by open_table.

    labels: of text classes (C,), for which y is their numbers; None: y is numbers. examples: a row of each value of y, while these are few.
    memory: bytes that a process may use which trains on it.
    """

    def __init__(self, name: str, memory: int) -> None:
        self.name, self.memory = name, memory
        self.n_rows = 0
        self.feature_names: tuple[str, ...] = ()
        self.dtype = np.dtype(np.float32)
        self.labels: np.ndarray | None = None
        self.whole = True  # the target is whole numbers
        self.examples: np.ndarray | None = None
        folder = machine.cache_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files = _new_file(folder), _new_file(folder)  # of x and of y
        except OSError as error:
            raise WriteError(
                f"{folder}: expected a folder for the rows of {name}, found: {error.strerror}; set FASTMLP_CACHE_DIR"
            ) from None
        self._folder = folder
        weakref.finalize(self, _close, self._files)

    @property
    def n_features(self) -> int:
        """Number of columns of x."""
        return len(self.feature_names)

    def rows(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x (m, K) and y (m,) of rows with these numbers, ascending."""
        x, y = np.empty((numbers.size, self.n_features), self.dtype), np.empty(numbers.size)
        breaks = np.flatnonzero(np.diff(numbers) > 1) + 1
        for first, last in zip([0, *breaks], [*breaks, numbers.size], strict=True):
            if last > first:
                self.read_into(int(numbers[first]), x[first:last], y[first:last])
        return x, y

    def read_into(self, first: int, x: np.ndarray, y: np.ndarray) -> None:
        """Fill x (m, K) and y (m,) with the rows from number `first` on."""
        for file, array in zip(self._files, (x, y), strict=True):
            self._fill(file, first, array)

    def _fill(self, file: int, first: int, array: np.ndarray) -> None:
        """Read as many rows as an array has, from number `first` on, from the file of x or of y."""
        view, place = array.data.cast("B"), first * array[:1].nbytes
        while view:
            count = os.preadv(file, [view], place)
            if count == 0:
                raise DataError(f"{self.name}: expected {self.n_rows:,} rows on the disk, found fewer")
            view, place = view[count:], place + count

    def renumber(self, order: np.ndarray) -> None:
        """Let the target y be order[y]."""
        file, step = self._files[1], 1 << 20
        for first in range(0, self.n_rows, step):
            y = np.empty(min(step, self.n_rows - first))
            self._fill(file, first, y)
            view, place = order[y.astype(np.int64)].astype(np.float64).data.cast("B"), first * y.itemsize
            while view:
                count = os.pwritev(file, [view], place)
                view, place = view[count:], place + count

    def target_of(self, y: np.ndarray) -> np.ndarray:
        """Return a target as a network takes it: whole numbers as such."""
        return y.astype(np.int64) if self.whole else y

    def append(self, x: np.ndarray, y: np.ndarray) -> None:
        """Write rows behind those there are."""
        for file, array in zip(self._files, (x, y), strict=True):
            view = np.ascontiguousarray(array).data.cast("B")
            try:
                while view:
                    view = view[os.write(file, view) :]
            except OSError as error:
                free = shutil.disk_usage(self._folder).free >> 20
                raise WriteError(
                    f"{self._folder}: expected room for the rows of {self.name}, found: {error.strerror}, {free} MiB free; "
                    "set FASTMLP_CACHE_DIR to a folder on another disk"
                ) from None
        self.n_rows += len(x)

    def __repr__(self) -> str:
        return f"<StoredTable {self.name}: {self.n_rows:,} rows of {self.n_features} {self.dtype}>"


def _new_file(folder: Path) -> int:
    """Return the descriptor of a new file without a name."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())


def _close(files: Iterable[int]) -> None:
    for file in files:
        os.close(file)


@refuses_unknown
def open_table(
    source: Any, target: str, *, drop: Iterable[str] = (), memory: str | int = DEFAULT_MEMORY, header: bool | None = None,
    delimiter: str | None = None, notify: Notify | None = None,
) -> StoredTable:  # fmt: skip
    """Open a table that may be larger than memory, to train on: fastmlp.train(network, table).

    source, header, delimiter, notify: as in fastmlp.data.formats.read_table; Parquet, NPY and texts are read in parts, others at once.
    target: the name of the column to predict: classes, texts or numbers, or numbers. drop: names of columns that are left out. The other
    columns are features, numbers without a missing one. memory: what the process may use, rows included: "2GiB", or bytes. With the same
    memory a training gives the same bits, with another one it mixes its rows otherwise.

    The table is read once, from the first row to the last; its numbers are kept in the cache folder (float32, or float64 where columns are
    of a type that float32 does not hold; bytes where all are UInt8) until the table is no longer used.
    Raises DataError with row and column, ConfigError, MissingExtra, NotEnoughMemory, WriteError where the disk is full.
    """
    polars()
    name = os.path.basename(os.fspath(source)) if isinstance(source, (str, Path)) else "table"
    limit = memory_of(memory)
    dropped = tuple([drop] if isinstance(drop, str) else drop)
    table, seen = StoredTable(name, limit), _Seen(name, target)
    for part in read_parts(source, (limit - RESERVE) // PARTS, header=header, delimiter=delimiter, notify=notify):
        if not table.feature_names:
            check_chosen((target, *dropped), part.columns, name)
            table.feature_names = tuple(column for column in part.columns if column not in (target, *dropped))
            if not table.feature_names:
                raise DataError(f"{name}: expected features beside the target {target!r:.60}, found none")
            table.dtype = _type_of([part.schema[feature] for feature in table.feature_names])
        y = seen.numbers(part[target], table.n_rows, lines.of(part))
        table.append(_features(part, table), y)
    table.whole = seen.whole
    table.labels, order = seen.labels()
    if order is not None:
        table.renumber(order)
    table.examples = seen.examples()
    if notify is not None:
        notify(f"{name}: {table.n_rows:,} rows of {table.n_features} features, kept on the disk as {table.dtype}")
    return table


def memory_of(memory: str | int) -> int:
    """Return bytes of memory: "512MiB", "2GiB", "2 GB", or a number of bytes. Raises ConfigError, NotEnoughMemory."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgKMG]?[iI]?[bB]?)\s*", str(memory)) if not isinstance(memory, bool) else None
    if found is None or found[2].lower() not in UNITS:
        raise ConfigError(f"memory: expected a number of bytes such as '2GiB' or '600MiB', got {memory!r:.40}")
    limit = int(float(found[1]) * UNITS[found[2].lower()])
    if limit < LEAST_MEMORY:
        raise ConfigError(f"memory: expected at least {LEAST_MEMORY >> 20}MiB, which Python and compiled code need, got {memory!r:.40}")
    there = machine.memory_left()
    if there is not None and limit > there:
        raise NotEnoughMemory(f"memory: expected at most the {there >> 20} MiB that this process may use, got {memory!r:.40}")
    return limit


class _Seen:
    """What is known of the target, part by part."""

    def __init__(self, name: str, target: str) -> None:
        self._name, self._target = name, target
        self.whole = True
        self._is_text: bool | None = None
        self._codes: dict[str, int] = {}
        self._first: dict[float, int] | None = {}  # value -> a row of it

    def numbers(self, column: Any, first_row: int, rows: np.ndarray) -> np.ndarray:
        """Return the target of a part as float64: of texts the numbers of the labels, in the order that they were met.

        first_row: the number of its first row, from 0; rows (n,): those of all of them in messages.
        """
        pl = polars()
        if column.null_count():
            row = int(rows[column.is_null().arg_max()])
            raise DataError(f"{_cell(self._name, row, self._target)}: expected a target, found a missing one; leave the row out")
        is_text = column.dtype == pl.String
        if not (is_text or column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise DataError(f"{self._name}: column {self._target!r:.60}: expected numbers or texts to predict, found {column.dtype}")
        if self._is_text not in (None, is_text):
            kinds = "texts as in the rows before, found numbers" if self._is_text else "numbers as in the rows before, found texts"
            raise DataError(f"{_cell(self._name, int(rows[0]), self._target)}: expected {kinds}; write all alike")
        self._is_text = is_text
        if is_text:
            for label in column.unique(maintain_order=True):
                self._codes.setdefault(label, len(self._codes))
            column = column.replace_strict(list(self._codes), list(self._codes.values()), return_dtype=pl.Int64)
        self.whole &= not column.dtype.is_float()
        y: np.ndarray = column.cast(pl.Float64).to_numpy()
        if self._first is not None:
            values, places = np.unique(y, return_index=True)
            for value, place in zip(values.tolist(), places.tolist(), strict=True) if values.size <= MOST_LABELS else ():
                self._first.setdefault(value, first_row + place)
            if values.size > MOST_LABELS or len(self._first) > MOST_LABELS:
                self._first = None
        return y

    def labels(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the labels of texts in order (C,), and the number in that order of each as they were met."""
        if not self._is_text:
            return None, None
        met = np.array(list(self._codes))
        order = np.argsort(met, kind="stable")
        return met[order], np.argsort(order)

    def examples(self) -> np.ndarray | None:
        """Return numbers of rows, ascending, with every value of the target, None where these are too many to be classes."""
        return None if self._first is None else np.array(sorted(self._first.values()), np.int64)


def _cell(name: str, row: int, column: str) -> str:
    return f"{name}: row {row:,}, column {column!r:.60}"


def _type_of(kinds: list[Any]) -> np.dtype:
    """Return the type that holds numbers of these types of polars."""
    pl = polars()
    if all(kind == pl.UInt8 for kind in kinds):
        return np.dtype(np.uint8)
    small = (pl.Float32, pl.Int8, pl.Int16, pl.UInt8, pl.UInt16, pl.Boolean)
    return np.dtype(np.float32 if all(kind in small for kind in kinds) else np.float64)


def _features(part: Any, table: StoredTable) -> np.ndarray:
    """Return the features of a part (n, K). Raises DataError for what is no number, and a missing one."""
    pl = polars()
    columns = part.select(table.feature_names)
    for column in columns.get_columns():
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean) and column.null_count() < column.len():
            raise DataError(
                f"{table.name}: column {column.name!r:.60}: expected numbers in a table that is kept on the disk, found {column.dtype}; "
                f"drop=[{column.name!r:.60}], or write it as numbers"
            )
        if column.null_count():
            row = int(lines.of(part)[column.is_null().arg_max()])
            raise DataError(
                f"{_cell(table.name, row, column.name)}: expected a number, found a missing one; fill it in, or drop the column"
            )
    kind = {np.uint8: pl.UInt8, np.float32: pl.Float32}.get(table.dtype.type, pl.Float64)
    out = np.empty((part.height, table.n_features), table.dtype)
    for number, column in enumerate(columns.get_columns()):
        out[:, number] = column.cast(kind).to_numpy()
    return out
