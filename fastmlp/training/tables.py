"""A table of one's own -> a data set: test rows held out, its columns fitted to the rows that will be trained on.

Which rows are held out to validate on follows from the settings, and is decided here first: what is fitted never sees them.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp.data.dataset import DATASETS, Dataset
from fastmlp.data.formats import lines, read_table
from fastmlp.data.formats.backend import polars
from fastmlp.errors import ConfigError, DataError, InputNotFound, warn
from fastmlp.preprocessing import columns as of_columns
from fastmlp.preprocessing import frames
from fastmlp.preprocessing.columns import Choices, Columns
from fastmlp.settings import HELD_OUT, NetworkSettings, TrainingSettings, nearest, settings_in_effect
from fastmlp.settings.values import is_several
from fastmlp.training import holdout

TEST_PART = 0.2  # of the rows, where nobody says which are for testing
FEW_NUMBERS = 20  # different whole numbers in a target that are classes unless it is said that they are numbers
# What a table is trained with where nobody says otherwise, whatever the preset.
TRAINING_DEFAULTS: Mapping[str, Any] = {
    "optimizer": "adam", "schedule": "cosine", "validation": 0.1, "restore_best": True,
}  # fmt: skip
DROPOUT = {"classes": 0.3, "labels": 0.3, "values": 0.0}
SMALLEST_BATCH, LARGEST_BATCH, STEPS = 16, 128, 100  # an epoch has so many steps, or more


class Preset(NamedTuple):
    """How much is done for the sake of a score; docs/tables.md says what each reaches."""

    hidden: tuple[int, ...]
    bins: int  # of a number, at most: see preprocessing.columns.fit
    rows: Mapping[str, int]  # to train on in all epochs together, which are few where rows are many
    epochs: tuple[int, int]  # the fewest and the most
    networks: int = 1


DEFAULT = "default"
PRESETS: Mapping[str, Preset] = {
    "fast": Preset((128,), 16, {"classes": 150_000, "values": 400_000}, (4, 40)),
    DEFAULT: Preset((256, 256), 16, {"classes": 400_000, "values": 1_000_000}, (8, 80)),
    "best": Preset((256, 256), 16, {"classes": 400_000, "values": 1_000_000}, (8, 80), networks=8),
}


Recorded = tuple[NetworkSettings, TrainingSettings]
Notify = Callable[[str], None]


class Table(NamedTuple):
    """A table in a file, and what is to be learned from it; plain values, as a run folder keeps them."""

    path: str
    target: str | tuple[str, ...]  # a column, or several of them
    test_part: float | int | None = None  # a part or a number of the rows; None: TEST_PART, unless there is a test_file
    test_file: str | None = None
    sample_weight: str | None = None  # the column that says what each row counts
    group: str | None = None  # the column whose equal values stay together, on one side of a split
    header: bool | None = None  # as for read_table
    delimiter: str | None = None
    decimal: str | None = None
    choices: Choices = Choices()
    preset: str = DEFAULT
    memory: str | int | None = None  # what the process may use where the table stays on the disk; None: it is read whole

    @property
    def name(self) -> str:
        """The name of the data set: that of the file without its ending, never that of another data set."""
        name = "stdin" if self.path == "-" else os.path.basename(self.path).partition(".")[0] or "table"
        return f"{name}-table" if name in DATASETS else name

    def read(self, path: Any, notify: Notify | None = None, of_test: bool = False) -> Any:
        """Return a table in a file, or a frame, as a polars.DataFrame, read as this one is; of_test: that of the rows to test on."""
        texts = (*self.choices.categorical, *self.choices.ordinal)
        no_inputs = (*self.choices.drop, *self.choices.keep)
        if not of_test:  # which need not have them
            texts += no_inputs
        others: dict[str, Any] = {"notify": notify, "decimal": self.decimal, "unread": no_inputs.__contains__}
        return read_table(path, header=self.header, delimiter=self.delimiter, text_columns=texts, **others)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads."""
        said = {name: value for name, value in self.choices._asdict().items() if value not in ((), {}, None)}
        choices = {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}
        return {**self._asdict(), "choices": choices}

    @classmethod
    def from_dict(cls, found: Any) -> "Table":
        """Return what `to_dict` wrote; DataError for anything else."""
        try:
            choices: dict[str, Any] = {
                name: value
                if isinstance(value, bool)
                else {each: tuple(order) for each, order in value.items()}
                if name == "ordinal"
                else tuple(value)
                for name, value in found["choices"].items()
            }
            table = cls(**{**found, "choices": Choices(**choices)})
        except (TypeError, KeyError, AttributeError):
            raise DataError("expected a table with its path and its target in the manifest of a run, found another; train anew") from None
        if isinstance(table.target, list):
            table = table._replace(target=tuple(table.target))
        targets = table.target if isinstance(table.target, tuple) else (table.target,)
        if not all(isinstance(each, str) for each in (table.path, *targets, table.test_file or "")) or not targets:
            raise DataError("expected the path and the target of a table as texts in the manifest of a run, found others; train anew")
        if table.preset not in PRESETS:
            raise DataError(f"expected a preset in the manifest of a run, found {table.preset!r:.60}; train anew")
        return table

    @property
    def trains_several(self) -> bool:
        """Whether its preset stands for several networks, whose mean answers."""
        return trains_several(self.preset)

    def targets(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the columns to predict, of a table with columns of these names; ConfigError where there is no such column."""
        return named_targets(self.target, names)


def named_targets(target: str | Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns to predict, among those of these names: "a,b" is one of that name, else two. ConfigError for what is none."""
    given = []
    for each in of_columns.targets_of(target):
        parts = [part.strip() for part in each.split(",")]
        given += parts if each not in names and any(part in names for part in parts) else [each]
    found = of_columns.targets_of(given)
    if not found:
        raise ConfigError("target: expected the name of a column, got none")
    of_columns.check_names(found, names, "target")
    return found


def checked_preset(name: Any) -> str:
    """Return the name of a preset; ConfigError for any other."""
    if not isinstance(name, str) or name not in PRESETS:
        raise ConfigError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r:.60}{nearest(str(name), PRESETS)}")
    return name


def trains_several(preset: Any) -> bool:
    """Return whether a preset stands for several networks, whose mean answers; False for what is the name of none."""
    return isinstance(preset, str) and preset in PRESETS and PRESETS[preset].networks > 1


def training_defaults(n_rows: int, target_kind: str, preset: str = DEFAULT) -> dict[str, Any]:
    """Return what a table of n_rows training rows is trained with where nobody says otherwise; target_kind as in Dataset."""
    rows, (fewest, most) = PRESETS[preset].rows, PRESETS[preset].epochs
    batch = n_rows // STEPS // SMALLEST_BATCH * SMALLEST_BATCH
    return {
        **TRAINING_DEFAULTS,
        "dropout": DROPOUT[target_kind],
        "epochs": min(most, max(fewest, rows["values" if target_kind == "values" else "classes"] // n_rows)),
        "batch_size": min(LARGEST_BATCH, max(SMALLEST_BATCH, batch)),
    }


class Loaded(NamedTuple):
    """A table as a data set, and which of its columns became no inputs, and why."""

    data: Dataset
    left_out: dict[str, str]


def choices_of(
    *, drop: Any = (), keep: Any = (), categorical: Any = (), numeric: Any = (), ordinal: Any = None, date: Any = (), day_first: Any = None
) -> Choices:
    """Return what arguments say about the columns of a table; ConfigError for what is no list of names, no order, no truth value."""
    lists = {"drop": drop, "keep": keep, "categorical": categorical, "numeric": numeric, "date": date}
    names = {name: _names(name, value) for name, value in lists.items()}
    if day_first not in (None, True, False):
        raise ConfigError(f"day_first: expected True, False or None, got {day_first!r:.60}")
    return Choices(**names, ordinal=_orders(ordinal), day_first=day_first)


def _names(what: str, values: Any) -> tuple[str, ...]:
    """Return the names of columns in a list, none of None; ConfigError, with `what`, for one name alone, and for what is no list."""
    if values is None:
        return ()
    if isinstance(values, (str, int)):
        raise ConfigError(f"{what}: expected a list of columns, got {values!r:.60}; write [{values!r:.60}]")
    if not is_several(values):
        raise ConfigError(f"{what}: expected a list of columns, got {values!r:.60}")
    return tuple(of_columns.name_of(what, value) for value in values)


def _orders(ordinal: Any) -> dict[str, tuple[str, ...]]:
    """Return the categories of ordinal columns in their order, none of None; ConfigError for anything but a mapping to lists of texts."""
    if not isinstance(ordinal, Mapping | None):
        raise ConfigError(f"ordinal: expected {{column: categories in their order}}, got {ordinal!r:.60}")
    found = {}
    for name, order in (ordinal or {}).items():
        if not is_several(order) or not all(isinstance(each, str) for each in order):
            raise ConfigError(f"ordinal: expected a list of texts for column {name!r:.60}, got {order!r:.60}")
        found[of_columns.name_of("ordinal", name)] = tuple(order)
    return found


def load(
    table: Table,
    given: Mapping[str, Any],
    recorded: Recorded | None = None,
    notify: Notify | None = None,
    frame: Any = None,
    columns: Columns | None = None,
    test_part_named: str = "test_part",
    hashes: Mapping[str, str] | None = None,
) -> Loaded:
    """Return a table as a data set whose columns are fitted to the rows that settings, where they are `given`, do not hold out.

    recorded: the settings of a run that goes on, in place of those given. notify: as for read_table. frame: what is in the table, where it
    is known. columns: those of a network that is trained on or judged, in place of fitted ones. test_part_named: what messages call the
    part to test on. hashes: those of its files, where they are known. Raises ConfigError for columns that are not there, DataError for
    cells that cannot be what they should.
    """
    if recorded is not None and table.path == "-":
        raise InputNotFound("expected the table that the run was trained on, it came by standard input; keep it in a file next time")
    frame = table.read(table.path, notify) if frame is None else frame
    targets = table.targets(frame.columns)
    if dropped := [name for name in targets if name in table.choices.drop]:
        raise ConfigError(f"drop: expected other columns than the target, got {dropped[0]!r}; the target is no input anyway")
    for what, name in (("sample_weight", table.sample_weight), ("group", table.group)):
        if name in targets:
            raise ConfigError(f"{what}: expected another column than the target, got {name!r}")
    preset = PRESETS[table.preset]
    network_defaults = {"hidden": preset.hidden, "initializer": None}  # by the activation, for inputs that are 0 and 1, mostly
    network, settings = settings_in_effect(given, network_defaults, TRAINING_DEFAULTS) if recorded is None else recorded
    target_kind = kind_of_targets([frame[name] for name in targets], network.output)
    there = with_target(frame[list(targets)], notify)
    y = target_of(frame[list(targets)], target_kind, there, numbers=lines.of(frame))
    groups = None if table.group is None else _groups(frame, table.group)[there]
    if table.test_file is None:
        drawn = _split(
            settings, y, target_kind, targets, test_part_named, 1, groups, TEST_PART if table.test_part is None else table.test_part
        )
        of_test, test_rows, y_test = None, there[drawn.held_out], y[drawn.held_out]
    else:
        drawn, of_test = holdout.Rows(np.arange(len(y)), np.empty(0, np.int64)), table.read(table.test_file, notify, of_test=True)
        of_columns.check_names(targets, of_test.columns, "target")
        test_rows = with_target(of_test[list(targets)], notify)
        y_test = target_of(of_test[list(targets)], target_kind, test_rows, numbers=lines.of(of_test))
    train_rows, y_train = there[drawn.train], y[drawn.train]
    weight = None if table.sample_weight is None else _weight(frame, table.sample_weight)[train_rows]
    groups = None if groups is None else groups[drawn.train]
    kept = _split(settings, y_train, target_kind, targets, "validation", 0, groups)
    no_inputs = (table.sample_weight, table.group)
    inputs = lines.note(frame[[name for name in frame.columns if name not in no_inputs]], lines.of(frame))
    names = targets if len(targets) > 1 else tuple(np.unique(y_train).tolist()) if y_train.dtype.kind == "U" else None
    digests, openings = hashes_of(table) if hashes is None else hashes, list[str]()
    defaults = {**training_defaults(len(y_train), target_kind, table.preset), **{name: given[name] for name in HELD_OUT if name in given}}

    def fitted(rows: np.ndarray) -> Loaded:
        def fit_to(others: np.ndarray) -> Dataset:
            return data if columns is not None or np.array_equal(others, rows) else fitted(others).data

        if columns is None:
            found, left_out = of_columns.fit(inputs, table.choices, train_rows[rows], targets, preset.bins)
        else:
            found, left_out = columns, dict[str, str]()
        x = found.encode(frame)
        x_test = (x if of_test is None else found.encode(of_test, "x_test"))[test_rows]
        data = Dataset(
            table.name, x[train_rows], y_train, x_test, y_test, kind="table",
            target_kind=target_kind, class_names=names, feature_names=found.features, hashes=digests,
            network_defaults=network_defaults, training_defaults=defaults, columns=found, fit_to=fit_to,
            sample_weight=weight, groups=groups, n_networks=preset.networks,
        )  # fmt: skip
        vars(data)["test_openings"] = openings  # the test rows are the same
        return Loaded(data, left_out)

    return fitted(kept.train)


def _weight(frame: Any, name: str) -> np.ndarray:
    """Return what each row counts, float64 (n,); DataError, with the row, for what is no number of at least 0."""
    of_columns.check_names([name], frame.columns, "sample_weight")
    weight = frames.as_numbers(frame[name], lines.of(frame))
    if (wrong := ~(weight >= 0)).any():
        frames.refuse(frame[name], polars().Series(wrong), "what the row counts, a number of at least 0", lines.of(frame))
    return weight


def _groups(frame: Any, name: str) -> np.ndarray:
    """Return whole numbers (n,), equal where a column of groups is; DataError, with the row, where it is empty."""
    of_columns.check_names([name], frame.columns, "group")
    texts = frames.as_texts(frame[name])
    if texts.null_count():
        frames.refuse(frame[name], texts.is_null(), "the group of the row", lines.of(frame))
    return np.unique(texts.to_numpy().astype(str), return_inverse=True)[1]


def with_target(targets: Any, notify: Notify | None = None) -> np.ndarray:
    """Return the numbers (m,) of the rows of a table of targets in which all are there; DataError where there is none.

    notify: is given a line that says how many are left out; None: a warning says so.
    """
    there: np.ndarray = np.flatnonzero(np.logical_and.reduce([column.is_not_null().to_numpy() for column in targets]))
    missing, names = len(targets) - there.size, targets.columns
    shown = f"column {names[0]!r}" if len(names) == 1 else f"columns {', '.join(map(repr, names))}"
    if not there.size:
        raise DataError(f"{shown}: expected a target, but it is missing in all {missing:,} rows")
    if missing:
        left_out = f"{missing:,} rows without a target are left out" if missing > 1 else "1 row without a target is left out"
        if notify is not None:
            notify(f"{shown}: {left_out}")
        else:
            warn(f"{shown}: {left_out}")
    return there


def target_of(
    targets: Any, target_kind: str, rows: np.ndarray, texts: bool | None = None, *, numbers: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Return what the rows with these numbers (n,) of a table of targets, without missing ones, say is to be predicted.

    Of one column numbers, float64 (n,), or classes, whole numbers or texts (n,); of several, float64 (n, T), numbers or labels 0 and 1.
    texts: whether classes are texts; None: where they are no whole numbers. numbers: of all rows of the table, in messages.
    """
    columns, numbers = [column[rows] for column in targets], numbers[rows]
    if len(columns) == 1 and target_kind == "classes":
        return _classes_of(columns[0], texts, numbers)
    if target_kind == "labels":
        columns = [_labels_of(column, numbers) for column in columns]
    found = [frames.as_numbers(column, numbers) for column in columns]
    return found[0] if len(found) == 1 else np.stack(found, axis=1)


def _labels_of(column: Any, rows: np.ndarray) -> Any:
    """Return a column of 0 and 1, or true and false, as numbers; DataError, with the row, for anything else."""
    pl = polars()
    texts = frames.as_texts(column).replace({"true": "1", "false": "0"})
    numbers = texts.cast(pl.Float64, strict=False)
    if (wrong := ~numbers.is_in([0.0, 1.0]).fill_null(False)).any():
        frames.refuse(column, wrong, "0 or 1, as in several columns of labels", rows)
    return numbers.alias(column.name)


def _classes_of(column: Any, texts: bool | None, rows: np.ndarray) -> np.ndarray:
    numbers = _whole(column) if texts is not True else None
    if numbers is None and texts is False:
        found = frames.as_numbers(column, rows)
        frames.refuse(column, polars().Series(found != np.floor(found)), "a whole number, the label of a class", rows)
    return np.array(frames.as_texts(column).to_list(), str) if numbers is None else numbers


def target_for(network: Any, targets: Any, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return what the rows with these numbers (n,) of a table of targets say is to be predicted, as a trained network has it.

    numbers: of all rows of the table, in messages.
    """
    labels = network.known_classes
    kind = "values" if network.output == "identity" else "labels" if len(targets.columns) > 1 else "classes"
    return target_of(targets, kind, rows, None if labels is None else labels.dtype.kind == "U", numbers=numbers)


def _whole(column: Any) -> np.ndarray | None:
    """Return whole numbers (n,), None where a column holds others, or texts."""
    pl = polars()
    if column.dtype == pl.Boolean or not (column.dtype.is_numeric() or column.dtype == pl.String):
        return None
    numbers = column.cast(pl.Float64, strict=False)
    if numbers.null_count() or not (numbers == numbers.floor()).all() or not (numbers.abs() < 2.0**53).all():
        return None
    found: np.ndarray = numbers.cast(pl.Int64).to_numpy()
    return found


def kind_of_targets(columns: Sequence[Any], output: str | None) -> str:
    """Return what columns are targets of: "values", "classes" where there is one, "labels" where there are several; see Dataset.

    output: that of the network, None: nobody said so. ConfigError, or DataError, for several columns of classes.
    """
    if len(columns) == 1:
        return "values" if _predicts_values(columns[0], output) else "classes"
    if output == "softmax":
        raise ConfigError(
            f"output: expected identity or sigmoid for {len(columns)} targets, got softmax; train a model for each column of classes"
        )
    if output is not None:
        return "values" if output == "identity" else "labels"
    pl = polars()
    texts = [frames.as_texts(column).drop_nulls() for column in columns]
    if all(each.is_in(["0", "1", "true", "false"]).all() for each in texts):
        return "labels"
    for column, each in zip(columns, texts, strict=True):
        if column.dtype == pl.Boolean or each.cast(pl.Float64, strict=False).null_count():
            wrong = each.filter(each.cast(pl.Float64, strict=False).is_null())[0]
            expected = f"expected {len(columns)} targets to be numbers, or all of them 0 and 1"
            raise DataError(f"column {column.name!r}: {expected}, got {wrong!r:.60}; train a model for each column of classes")
    return "values"


def _predicts_values(column: Any, output: str | None) -> bool:
    """Return whether a target is numbers to predict rather than classes."""
    if output is not None:
        return output == "identity"
    pl = polars()
    column = column.drop_nulls()
    if column.dtype == pl.Boolean or column.cast(pl.Float64, strict=False).null_count():
        return False
    whole = _whole(column)
    return whole is None or np.unique(whole).size > FEW_NUMBERS


def _split(
    settings: TrainingSettings,
    y: np.ndarray,
    target_kind: str,
    names: Sequence[str],
    what: str,
    draw: int,
    groups: np.ndarray | None,
    part: float | int | None = None,
) -> holdout.Rows:
    """Return which rows are held out, as a training of a network with a fitting output does; part: how many, None: as settings say."""
    check_target(y, target_kind, names)
    if target_kind != "classes":
        target = y.reshape(len(y), -1)
        output, n_outputs = "identity" if target_kind == "values" else "sigmoid", len(names)
    else:
        classes, numbers = np.unique(y, return_inverse=True)
        target, output, n_outputs = numbers[:, None], "softmax", classes.size
    held = settings if part is None else _holding_out(settings, part, what)
    return holdout.split(held, target, output, n_outputs, draw, groups, what)


def check_target(y: np.ndarray, target_kind: str, names: Sequence[str]) -> None:
    """Raise DataError for a target, (n,) or (n, T), of which nothing can be learned: always the same, or of as many classes as rows."""
    if target_kind != "classes":
        for name, values in zip(names, y.reshape(len(y), -1).T, strict=True):
            if len(y) > 1 and (values == values[0]).all():
                about, differ = ("target", "numbers that differ") if len(names) == 1 else (f"target {name!r}", "values that differ")
                raise DataError(f"{about}: expected {differ}, got {values[0]:g} in all {len(y):,} rows")
        return
    classes = np.unique(y)
    if classes.size < 2:
        raise DataError(f"target: expected at least two classes, got {classes.tolist()[0]!r:.60} in all {len(y):,} rows")
    if classes.size > max(FEW_NUMBERS, len(y) // 2):
        raise DataError(f"target: expected classes that have several rows each, got {classes.size:,} in {len(y):,} rows")


def _holding_out(settings: TrainingSettings, part: float | int, what: str) -> TrainingSettings:
    """Return settings that hold out a part or a number of the rows; ConfigError, by its name, for what is neither."""
    try:
        return settings.replace(validation=part, holdout=None)
    except ConfigError as error:
        raise ConfigError(f"{what}{str(error).removeprefix('validation')}") from None


def hashes_of(table: Table) -> dict[str, str]:
    """Return the SHA-256 of each file of a table, by its name; by its path where the other has that name, too."""
    found: dict[str, str] = {}
    for path in (table.path, table.test_file):
        if path not in (None, "", "-"):
            try:
                name = os.path.basename(os.path.normpath(path))
                found[path if name in found else name] = _hash_of_folder(path) if os.path.isdir(path) else _hash_of(path)
            except OSError as error:
                raise InputNotFound(f"{path}: cannot be read: {error.strerror or error}") from error
    return found


def _hash_of(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_of_folder(folder: str) -> str:
    """Return the SHA-256 of the names of all files in a folder of pictures, and of theirs."""
    files = sorted(os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{os.path.relpath(path, folder)}\0{_hash_of(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
