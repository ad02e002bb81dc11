"""Tables larger than memory: read once, kept on the disk as plain numbers, of which any rows can be had at any time.

A file of the user's is read in parts, from its first row to its last, and checked. Its numbers go to a file without a name in the cache
folder, which the system takes away with the process, whatever ends it. So neither the format nor the order of the rows matters later.
Texts are kept as their numbers in the order in which they are met, moments as microseconds since 1970, missing values as NaN.
"""

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.data.formats import lines
from fastmlp.data.formats.backend import polars
from fastmlp.data.formats.columns import check_chosen
from fastmlp.data.formats.parts import read_parts
from fastmlp.errors import ConfigError, DataError, NotEnoughMemory, WriteError

DEFAULT_MEMORY = "1GiB"
RESERVE = 320 << 20  # of the limit: what Python, NumPy, polars and the compiled code take, rows apart
LEAST_MEMORY = RESERVE + (64 << 20)
PARTS = 24  # a part that is read, beside the memory for rows
MOST_LABELS = 10_000  # numbers that may still be the classes
MOST_TEXTS = 100_000  # different ones in a column, which are kept in memory
LARGEST_WHOLE = 2.0**53  # above, float64 does not hold all whole numbers
CELLS = 1 << 20  # that become inputs at a time
UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
Notify = Callable[[str], None]


class StoredTable:
    """A table on the disk: features and targets of its rows, of which `rows` reads any. Made by open_table.

    columns: how the features become x (preprocessing.Columns); None: they are x, numbers without a missing one. labels: of text classes
    (C,), for which y is their numbers; None: y is numbers. examples: a row of each value of y, while these are few. test_rows: numbers of
    rows, ascending, that no training sees. memory: bytes that a process may use which trains on it.
    """

    def __init__(self, name: str, memory: int) -> None:
        self.name, self.memory = name, memory
        self.n_rows = 0
        self.feature_names: tuple[str, ...] = ()
        self.target_names: tuple[str, ...] = ()
        self.dtype = np.dtype(np.float32)  # of the features on the disk
        self.kinds: dict[str, Any] = {}  # the types of polars that features had; those without a value are not among them
        self.texts: dict[str, Texts] = {}  # of features that are texts
        self.counting: tuple[str, ...] = ()  # features that count the rows, as the index of a table does
        self.is_plain = True  # all features are numbers, none is missing
        self.labels: np.ndarray | None = None
        self.whole = True  # the targets are whole numbers
        self.examples: np.ndarray | None = None
        self.n_without_target = 0  # rows that were left out
        self.columns: Any = None
        self.test_rows = np.empty(0, np.int64)
        folder = machine.cache_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files = _new_file(folder), _new_file(folder)  # of features, and of targets with the numbers of rows in messages
        except OSError as error:
            raise WriteError(
                f"{folder}: expected a folder for the rows of {name}, found: {error.strerror}; set FASTMLP_CACHE_DIR"
            ) from None
        self._folder = folder
        weakref.finalize(self, _close, self._files)

    @property
    def n_features(self) -> int:
        """Number of columns of x."""
        return len(self.feature_names) if self.columns is None else int(self.columns.n_inputs)

    @property
    def bytes_of_row(self) -> int:
        """What a row takes in memory: as it is read and as the kernels take it, with its targets and its place."""
        return len(self.feature_names) * self.dtype.itemsize + 4 * self.n_features + 40 + 24 * max(len(self.target_names), 1)

    def rows(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x (m, K) and y (m,), of several targets (m, T), of rows with these numbers, ascending."""
        features, y, _ = self.stored(numbers)
        return self.inputs(features), y if len(self.target_names) > 1 else y[:, 0]

    def stored(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is kept of rows with these numbers, ascending: features (m, F), targets (m, T), and (m,) see formats/lines.py."""
        features, y = self.room(numbers.size)
        breaks = np.flatnonzero(np.diff(numbers) > 1) + 1
        for first, last in zip([0, *breaks], [*breaks, numbers.size], strict=True):
            if last > first:
                self.read_into(int(numbers[first]), features[first:last], y[first:last])
        return features, y[:, :-1], y[:, -1].astype(np.int64)

    def room(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what read_into fills: features (m, F), and targets with the numbers of rows (m, T + 1)."""
        return np.empty((count, len(self.feature_names)), self.dtype), np.empty((count, len(self.target_names) + 1))

    def read_into(self, first: int, features: np.ndarray, y: np.ndarray) -> None:
        """Fill arrays such as `room` gives with the rows from number `first` on."""
        for file, array in zip(self._files, (features, y), strict=True):
            self._fill(file, first, array)

    def _fill(self, file: int, first: int, array: np.ndarray) -> None:
        """Read as many rows as an array has, from number `first` on, from one of the files."""
        view, place = array.data.cast("B"), first * array[:1].nbytes
        while view:
            count = os.preadv(file, [view], place)
            if count == 0:
                raise DataError(f"{self.name}: expected {self.n_rows:,} rows on the disk, found fewer")
            view, place = view[count:], place + count

    def inputs(self, features: np.ndarray) -> np.ndarray:
        """Return features (m, F) as x (m, K)."""
        if self.columns is None:
            return features
        x, step = np.empty((len(features), self.n_features), np.float32), max(CELLS // self.n_features, 256)
        for first in range(0, len(features), step):
            x[first : first + step] = self.columns.encode(self.frame(features[first : first + step]))
        return x

    def frame(self, features: np.ndarray, numbers: np.ndarray | None = None) -> Any:
        """Return features (m, F) as the table has them, a polars DataFrame; numbers (m,): of its rows in messages."""
        columns = [self._column(name, np.ascontiguousarray(features[:, place])) for place, name in enumerate(self.feature_names)]
        frame = polars().DataFrame(columns)
        return frame if numbers is None else lines.note(frame, numbers)

    def _column(self, name: str, values: np.ndarray) -> Any:
        pl = polars()
        kind = self.kinds.get(name, pl.String)
        numbers = pl.Series(name, values, nan_to_null=values.dtype.kind == "f")
        if kind == pl.String:
            known = self.texts.get(name)
            if known is None or known.are_too_many:
                return pl.Series(name, [None], pl.String).new_from_index(0, len(values))
            return known.series.gather(numbers.cast(pl.UInt32)).alias(name)
        if kind == pl.Boolean:
            return numbers.cast(pl.Boolean)
        return numbers.cast(pl.Int64).cast(pl.Datetime("us")) if kind in (pl.Date, pl.Datetime) else numbers

    def renumber(self, order: np.ndarray) -> None:
        """Let the one target y be order[y]."""
        file, step = self._files[1], 1 << 20
        for first in range(0, self.n_rows, step):
            y = self.room(min(step, self.n_rows - first))[1]
            self._fill(file, first, y)
            y[:, 0] = order[y[:, 0].astype(np.int64)]
            view, place = y.data.cast("B"), first * y[:1].nbytes
            while view:
                count = os.pwritev(file, [view], place)
                view, place = view[count:], place + count

    def target_of(self, y: np.ndarray) -> np.ndarray:
        """Return a target as a network takes it: whole numbers as such."""
        return y.astype(np.int64) if self.whole else y

    def append(self, features: np.ndarray, y: np.ndarray) -> None:
        """Write rows behind those there are; y (m, T + 1) as of `room`."""
        for file, array in zip(self._files, (features, y), strict=True):
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
        self.n_rows += len(features)

    def __repr__(self) -> str:
        return f"<StoredTable {self.name}: {self.n_rows:,} rows of {len(self.feature_names)} {self.dtype}>"


def _new_file(folder: Path) -> int:
    """Return the descriptor of a new file without a name."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())


def _close(files: Iterable[int]) -> None:
    for file in files:
        os.close(file)


def store(
    source: Any, targets: Callable[[Sequence[str]], tuple[str, ...]], limit: int, *, left_out: Iterable[str] = (),
    are_there: bool = True, text_columns: Iterable[str] = (), encoded: bool | None = None, header: bool | None = None,
    delimiter: str | None = None, decimal: str | None = None, notify: Notify | None = None,
) -> StoredTable:  # fmt: skip
    """Read a table once, in parts, and keep its numbers on the disk.

    targets: names of columns -> those to predict, in their order. limit: bytes of memory. left_out: names of columns that are not kept;
    are_there: whether it is an error if one of them is not there.
    encoded: whether features will become inputs by `columns`; None: where they are no numbers, or some are missing. The others: see
    formats.table.read_table. Rows without a target are left out, and counted. Raises DataError with row and column, NotEnoughMemory,
    WriteError where the disk is full.
    """
    polars()
    name = os.path.basename(os.fspath(source)) if isinstance(source, (str, Path)) else "table"
    table, passed_over = StoredTable(name, limit), frozenset(left_out)
    storing: _Storing | None = None
    parts = read_parts(
        source, (limit - RESERVE) // PARTS, header=header, delimiter=delimiter, decimal=decimal, notify=notify,
        text_columns=tuple(text_columns), unread=passed_over.__contains__,
    )  # fmt: skip
    for part in parts:
        if storing is None:
            table.target_names = targets(part.columns)
            check_chosen(tuple(passed_over) if are_there else (), part.columns, name)
            table.feature_names = tuple(each for each in part.columns if each not in passed_over and each not in table.target_names)
            if not table.feature_names:
                raise DataError(f"{name}: expected features beside the target {table.target_names[0]!r:.60}, found none")
            table.dtype = _type_of([part.schema[feature] for feature in table.feature_names], encoded is True)
            storing = _Storing(table, encoded)
        storing.add(part)
    if storing is None or table.n_rows == 0:
        shown = ", ".join(map(repr, table.target_names))
        raise DataError(f"{name}: expected rows with a target, found none: {shown} is missing in all of them")
    storing.end()
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


class Texts:
    """The different texts of a column, numbered in the order in which they are met; of more than MOST_TEXTS none is known any more."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.rows: list[int] = []  # in which each was met first, as messages have them
        self.are_too_many = False
        self._series: Any = None

    @property
    def series(self) -> Any:
        """The texts in their order, a polars Series."""
        if self._series is None or len(self._series) != len(self.codes):
            pl = polars()
            self._series = pl.Series("text", [*self.codes], pl.String)
        return self._series

    def numbers(self, column: Any, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the texts of a part (n,), NaN for a missing one; rows (n,): see formats/lines.py."""
        pl = polars()
        if not self.are_too_many:
            met = pl.DataFrame({"text": column, "row": rows}).unique("text", keep="first", maintain_order=True).drop_nulls()
            for text, row in met.iter_rows():
                if text not in self.codes:
                    self.codes[text] = len(self.codes)
                    self.rows.append(row)
        if self.are_too_many or len(self.codes) > MOST_TEXTS:
            self.are_too_many = True
            self.codes.clear()
            self.rows.clear()
            return np.full(len(column), np.nan)
        found: np.ndarray = column.replace_strict([*self.codes], [*self.codes.values()], return_dtype=pl.Float64).to_numpy()
        return found


class _Storing:
    """A table that is being written, part by part: what is known of its columns so far."""

    def __init__(self, table: StoredTable, encoded: bool | None) -> None:
        self._table, self._encoded = table, encoded
        self._targets = [_Target(table.name, name, len(table.target_names) == 1) for name in table.target_names]
        self._last: dict[str, float | None] = dict.fromkeys(table.feature_names, 0.0)  # None: it does not count the rows
        self._first: dict[str, float] = {}

    def add(self, part: Any) -> None:
        """Write the rows of a part that have all targets."""
        table, rows = self._table, lines.of(part)
        there = np.logical_and.reduce([part[target].is_not_null().to_numpy() for target in table.target_names])
        if not there.all():
            table.n_without_target += int(np.count_nonzero(~there))
            part, rows = part.filter(there), rows[there]
        if not part.height:
            return
        features, y = table.room(part.height)
        y[:, -1] = rows
        for place, target in enumerate(self._targets):
            y[:, place] = target.numbers(part[table.target_names[place]], table.n_rows, rows)
        for place, name in enumerate(table.feature_names):
            features[:, place] = self._numbers(part[name], rows)
        table.append(features, y)

    def end(self) -> None:
        """Note in the table what is known once all rows are there."""
        table = self._table
        table.whole = all(target.is_whole for target in self._targets)
        if len(self._targets) == 1:
            table.labels, order = self._targets[0].labels()
            if order is not None:
                table.renumber(order)
            table.examples = self._targets[0].examples()
        table.counting = tuple(
            name for name, last in self._last.items()
            if last is not None and table.n_rows >= 20 and self._first[name] <= 3 and last < 2 * table.n_rows
        )  # fmt: skip

    def _numbers(self, column: Any, rows: np.ndarray) -> np.ndarray:
        """Return a feature of a part as numbers (n,). Raises DataError for what is none, or missing, where that is not wanted."""
        pl, table, name = polars(), self._table, column.name
        n_missing = column.null_count()
        is_number = column.dtype.is_numeric() or column.dtype == pl.Boolean
        if n_missing or not is_number:
            table.is_plain = False
            if self._encoded is False or table.dtype == np.uint8:
                self._refuse(column, rows)
        if n_missing == len(column):
            self._last[name] = None
            return np.full(len(column), np.nan)
        before, kind = table.kinds.setdefault(name, column.dtype), column.dtype
        if _family(before) != _family(kind):
            row = int(rows[column.is_not_null().arg_max()])
            raise DataError(
                f"{_cell(table.name, row, name)}: expected {_family(before)} as in the rows before, found {_family(kind)}; write all "
                f"alike, or read them as texts: --categorical {name!r:.60}"
            )
        if kind == pl.String:
            self._last[name] = None
            return table.texts.setdefault(name, Texts()).numbers(column, rows)
        if kind in (pl.Date, pl.Datetime):
            self._last[name] = None
            moments = column.cast(pl.Datetime("us")) if kind == pl.Date else column.dt.replace_time_zone(None).cast(pl.Datetime("us"))
            column = moments.to_physical()
        values: np.ndarray = column.cast(pl.Float64).to_numpy()
        self._count(name, values, n_missing > 0 or kind == pl.Boolean)
        return values

    def _count(self, name: str, values: np.ndarray, cannot: bool) -> None:
        """Note whether a feature goes up from row to row, by whole numbers."""
        before = self._last[name]
        if before is None:
            return
        if name not in self._first:
            self._first[name] = float(values[0])
            before = float(values[0]) - 1
        counts = not cannot and (np.diff(values, prepend=before) >= 1).all() and (values == np.floor(values)).all()
        self._last[name] = float(values[-1]) if counts else None

    def _refuse(self, column: Any, rows: np.ndarray) -> None:
        table, kind = self._table, column.dtype
        out = f"leave it out (drop=[{column.name!r:.60}]), or say encode=True"
        if not (kind.is_numeric() or kind == polars().Boolean) and column.null_count() < column.len():
            raise DataError(f"{table.name}: column {column.name!r:.60}: expected numbers, found {kind}; {out}")
        row = int(rows[column.is_null().arg_max()])
        raise DataError(f"{_cell(table.name, row, column.name)}: expected a number, found a missing one; fill it in, or {out}")


class _Target:
    """What is known of a target, part by part."""

    def __init__(self, name: str, target: str, is_single: bool) -> None:
        self._name, self._target, self._is_single = name, target, is_single
        self.is_whole = True
        self._is_text: bool | None = None
        self._codes: dict[str, int] = {}
        self._first: dict[float, int] | None = {}  # value -> a row of it

    def numbers(self, column: Any, first_row: int, rows: np.ndarray) -> np.ndarray:
        """Return the target of a part, of which none is missing, as float64: of texts the numbers of labels, in the order they are met.

        first_row: the number of its first row, from 0; rows (n,): those of all of them in messages.
        """
        pl = polars()
        if self._is_single and column.dtype == pl.Boolean:  # classes true and false
            column = column.cast(pl.String)
        is_text = column.dtype == pl.String
        if is_text and not self._is_single:
            raise DataError(
                f"{_cell(self._name, int(rows[0]), self._target)}: expected several targets to be numbers, found {column[0]!r:.40}; train "
                "a model for each column of classes"
            )
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
        y: np.ndarray = column.cast(pl.Float64).to_numpy()
        self.is_whole = self.is_whole and bool(((y == np.floor(y)) & (np.abs(y) < LARGEST_WHOLE)).all())
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


def _family(kind: Any) -> str:
    """Return what values of a type of polars are called in messages; those of one family are kept in one way."""
    pl = polars()
    if kind in (pl.String, pl.Boolean):
        return "texts" if kind == pl.String else "true and false"
    return "dates" if kind in (pl.Date, pl.Datetime) else "numbers"


def _type_of(kinds: list[Any], may_be_missing: bool) -> np.dtype:
    """Return the type that holds numbers of these types of polars, and the numbers of texts; NaN as well, where that is wanted."""
    pl = polars()
    if all(kind == pl.UInt8 for kind in kinds) and not may_be_missing:
        return np.dtype(np.uint8)
    small = (pl.Float32, pl.Int8, pl.Int16, pl.UInt8, pl.UInt16, pl.Boolean, pl.String)
    return np.dtype(np.float32 if all(kind in small for kind in kinds) else np.float64)
