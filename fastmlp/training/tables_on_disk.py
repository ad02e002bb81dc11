"""A table that is larger than memory -> what a training reads bit by bit: test rows held out, columns fitted to some of the others."""

import os
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastmlp.data.dataset import Dataset
from fastmlp.data.formats import lines
from fastmlp.data.formats.backend import polars
from fastmlp.data.stored import DEFAULT_MEMORY, MOST_TEXTS, Notify, StoredTable, memory_of, store
from fastmlp.errors import ConfigError, DataError, warn
from fastmlp.preprocessing import columns as of_columns
from fastmlp.preprocessing.columns import Choices, Columns
from fastmlp.settings import HELD_OUT, TrainingSettings, refuses_unknown, settings_in_effect
from fastmlp.training import holdout, on_disk
from fastmlp.training.tables import (
    PRESETS,
    TEST_PART,
    TRAINING_DEFAULTS,
    Loaded,
    Recorded,
    Table,
    check_target,
    choices_of,
    hashes_of,
    kind_of_targets,
    named_targets,
    target_of,
    training_defaults,
)

MOST_TESTED, MOST_VALIDATED = 100_000, 20_000  # rows held out where nobody says how many: of more, a score is hardly any surer
VALIDATION_PART = 10


@refuses_unknown
def open_table(
    source: Any,
    target: str | Sequence[str],
    *,
    drop: Iterable[str] = (),
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    ordinal: Mapping[str, Sequence[str]] | None = None,
    date: Sequence[str] = (),
    day_first: bool | None = None,
    encode: bool | None = None,
    validation: float | int | None = None,
    split_seed: int = TrainingSettings.split_seed,
    memory: str | int = DEFAULT_MEMORY,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    notify: Notify | None = None,
) -> StoredTable:
    """Open a table that may be larger than memory, to train on: fastmlp.train(network, table). load_table(…, memory=) does more for it.

    source, header, delimiter, decimal, notify: as in fastmlp.data.formats.read_table; Parquet, NPY and texts are read in parts, others at
    once. target: the column to predict, classes, texts or numbers; or several columns of numbers, or of labels 0 and 1. drop: columns that
    are left out. memory: what the process may use, rows included: "2GiB", or bytes. With the same memory a training gives the same bits,
    with another one it mixes its rows otherwise.

    encode: whether features become inputs as those of load_table do, by the table's `columns`, which a network that is to take frames gets;
    False: they are numbers without a missing one, and taken as they are; None: only where they are not. categorical, numeric, ordinal,
    date, day_first: as for load_table, where they do. They are fitted to 65,536 rows, of which none is held out by a training with these
    `validation` and `split_seed`.

    The table is read once, from the first row to the last; its numbers are kept in the cache folder (float32, or float64 where columns are
    of a type that float32 does not hold; bytes where all are UInt8) until the table is no longer used. Rows without a target are left out.
    Raises DataError with row and column, ConfigError, MissingExtra, NotEnoughMemory, WriteError where the disk is full.
    """
    if encode not in (None, True, False):
        raise ConfigError(f"encode: expected True, False or None, got {encode!r:.60}")
    choices = choices_of(drop=drop, categorical=categorical, numeric=numeric, ordinal=ordinal, date=date, day_first=day_first)
    if encode is None and choices._replace(drop=()) != Choices():
        encode = True
    settings = TrainingSettings(validation=validation, split_seed=split_seed)
    table = store(
        source, lambda names: named_targets(target, names), memory_of(memory), left_out=choices.drop,
        text_columns=(*choices.categorical, *choices.ordinal), encoded=encode, header=header, delimiter=delimiter, decimal=decimal,
        notify=notify,
    )  # fmt: skip
    tell_left_out(table, notify)
    if encode or (encode is None and not table.is_plain):
        rows = on_disk.sample(table, on_disk.held_out_rows(table, settings), split_seed, with_classes=False)
        table.columns, left_out = fitted(table, choices, rows, bins=0)
        if left_out and notify is not None:
            notify(f"left out: {of_columns.shown_left_out(left_out)}")
    if notify is not None:
        notify(f"{table.name}: {table.n_rows:,} rows of {table.n_features} features, kept on the disk as {table.dtype}")
    return table


def load(
    table: Table,
    given: Mapping[str, Any],
    recorded: Recorded | None = None,
    notify: Notify | None = None,
    columns: Columns | None = None,
    test_part_named: str = "test_part",
    hashes: Mapping[str, str] | None = None,
) -> Loaded:
    """Return a table as a data set that is trained on as it lies on the disk, and whose test rows are in memory; see tables.load.

    Its training rows are a sample of those that it is trained on. Raises ConfigError, besides, for what needs all rows at once.
    """
    _check(table)
    test_part = TEST_PART if table.test_part is None else table.test_part
    stored = _stored(table, table.path, notify)
    tell_left_out(stored, notify)
    preset = PRESETS[table.preset]
    network_defaults = {"hidden": preset.hidden, "initializer": None}
    network, settings = settings_in_effect(given, network_defaults, TRAINING_DEFAULTS) if recorded is None else recorded
    some = on_disk.sample(stored, np.empty(0, np.int64), settings.split_seed, with_classes=True)
    target_kind = kind_of_targets([*_targets(stored, some)[0]], network.output)
    stored.columns = fitted(stored, table.choices, some, preset.bins).columns if columns is None else columns  # how many inputs there are
    if table.test_file is None:
        n_test = holdout.count(test_part, stored.n_rows, test_part_named)
        if table.test_part is None:
            n_test = min(n_test, MOST_TESTED, on_disk.most_held_out(stored))
        stored.test_rows = on_disk.drawn(stored, n_test, settings.split_seed, on_disk.TESTED, test_part_named)
        of_test, test_rows = stored, stored.test_rows
    else:
        of_test = _stored(table, table.test_file, notify, of_test=True)
        if of_test.target_names != stored.target_names:
            raise ConfigError(f"test_file: expected targets {', '.join(stored.target_names)}, got {', '.join(of_test.target_names)}")
        on_disk.check_fits(stored, of_test.n_rows, "test_file")
        test_rows = np.arange(of_test.n_rows)
    n_train = stored.n_rows - stored.test_rows.size
    if recorded is None and given.get("validation") is None:  # those of the defaults would be too many
        given = {**given, "validation": min(max(n_train // VALIDATION_PART, 1), MOST_VALIDATED, on_disk.most_held_out(stored))}
        settings = settings.replace(validation=given["validation"])
    held_out = np.union1d(stored.test_rows, on_disk.held_out_rows(stored, settings))
    rows = on_disk.sample(stored, held_out, settings.split_seed, with_classes=target_kind != "values")
    y_train = _y(stored, rows, target_kind)
    check_target(y_train, target_kind, stored.target_names)
    left_out: dict[str, str] = {}
    if columns is None:
        columns, left_out = fitted(stored, table.choices, rows, preset.bins)
    _check_texts(of_test, {column.name for column in columns.columns})
    stored.columns = of_test.columns = columns
    classes = tuple(np.unique(y_train).tolist()) if y_train.dtype.kind == "U" else None
    names = stored.target_names if len(stored.target_names) > 1 else classes
    held = {name: given[name] for name in HELD_OUT if name in given}
    data = Dataset(
        table.name, stored.rows(rows)[0], y_train, _x(of_test, test_rows), _y(of_test, test_rows, target_kind), kind="table",
        target_kind=target_kind, class_names=names, feature_names=columns.features,
        hashes=hashes_of(table) if hashes is None else hashes, network_defaults=network_defaults,
        training_defaults={**training_defaults(n_train, target_kind, table.preset), **held}, columns=columns, stored=stored,
    )  # fmt: skip
    return Loaded(data, left_out)


def fitted(table: StoredTable, choices: Choices, rows: np.ndarray, bins: int) -> of_columns.Fitted:
    """Return how the features of a table become inputs, fitted to the rows with these numbers, and which of them do not, and why."""
    named = choices.named()
    _check_texts(table, named)
    left_out = {name: "row number: it counts the rows" for name in table.counting if name not in named}
    left_out |= {name: f"text: more than {MOST_TEXTS:,} different ones" for name, texts in table.texts.items() if texts.are_too_many}
    features, _, numbers = table.stored(rows)
    frame = table.frame(features, numbers)
    asked = choices._replace(drop=(), keep=())
    kept = [name for name in table.feature_names if name not in left_out]
    if not kept:
        raise DataError(f"expected a column to learn from, found none: {of_columns.shown_left_out(left_out)}")
    columns, others = of_columns.fit(lines.note(frame[kept], numbers), asked, bins=bins, n_rows=table.n_rows)
    for column in columns.columns:
        if column.name in table.texts:
            texts = table.texts[column.name]
            of_columns.check_texts(column, texts.series, np.array(texts.rows))
    targets = table.target_names if len(table.target_names) > 1 else table.target_names[0]
    return of_columns.Fitted(columns._replace(target=targets, keep=choices.keep), {**left_out, **others})


def _check_texts(table: StoredTable, wanted: Container[str]) -> None:
    """Raise DataError where one of the wanted columns has more different texts than are kept."""
    for name, texts in table.texts.items():
        if texts.are_too_many and name in wanted:
            expected = f"expected at most {MOST_TEXTS:,} different texts in a table that stays on the disk, found more"
            raise DataError(f"{table.name}: column {name!r:.60}: {expected}; drop it, or read the table whole, without memory")


def tell_left_out(table: StoredTable, notify: Notify | None) -> None:
    """Say how many rows of a table are without a target, in a warning where nobody is to be notified."""
    if not table.n_without_target:
        return
    shown = f"column{'s' if len(table.target_names) > 1 else ''} {', '.join(map(repr, table.target_names))}"
    rows = f"{table.n_without_target:,} row{'s' if table.n_without_target > 1 else ''} without a target"
    told = f"{shown}: {rows} {'are' if table.n_without_target > 1 else 'is'} left out"
    if notify is None:
        warn(told)
    else:
        notify(told)


def _check(table: Table) -> None:
    """Raise ConfigError for what a table needs to be in memory for."""
    out = "leave it out, or read the table whole, without memory"
    if table.path == "-":
        raise ConfigError("memory: expected the path of a file, which is read in parts, got standard input; keep it in a file")
    if os.path.isdir(table.path):
        raise ConfigError(f"memory: expected the path of a file, which is read in parts, got the folder {table.path!r}; {out}")
    for what, value in (("sample_weight", table.sample_weight), ("group", table.group)):
        if value is not None:
            raise ConfigError(f"{what}: expected none with memory, got {value!r:.60}; {out}")
    if table.trains_several:
        raise ConfigError(f"preset: expected fast or default with memory, got {table.preset}, whose networks share rows in memory")


def _stored(table: Table, path: str, notify: Notify | None, of_test: bool = False) -> StoredTable:
    choices = table.choices
    return store(
        path, table.targets, memory_of(str(table.memory)), left_out=(*choices.drop, *choices.keep), are_there=not of_test,
        text_columns=(*choices.categorical, *choices.ordinal), encoded=True, header=table.header, delimiter=table.delimiter,
        decimal=table.decimal, notify=notify,
    )  # fmt: skip


def _targets(table: StoredTable, rows: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return the targets of rows as a polars DataFrame, and the numbers that these rows have in messages."""
    pl = polars()
    _, y, numbers = table.stored(rows)
    if table.labels is not None:
        return pl.DataFrame({table.target_names[0]: table.labels[y[:, 0].astype(np.int64)]}), numbers
    return pl.DataFrame({name: np.ascontiguousarray(values) for name, values in zip(table.target_names, y.T, strict=True)}), numbers


def _y(table: StoredTable, rows: np.ndarray, target_kind: str) -> np.ndarray:
    """Return what is to be predicted of rows; see tables.target_of."""
    found, numbers = _targets(table, rows)
    return target_of(found, target_kind, np.arange(rows.size), numbers=numbers)


def _x(table: StoredTable, rows: np.ndarray) -> np.ndarray:
    """Return rows as inputs, a few thousand at a time."""
    x, step = np.empty((rows.size, table.n_features), np.float32), 1 << 14
    for first in range(0, rows.size, step):
        x[first : first + step] = table.rows(rows[first : first + step])[0]
    return x
