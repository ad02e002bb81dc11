"""A table of one's own -> a data set: test rows held out, its columns fitted to the rows that will be trained on.

Which rows are held out to validate on follows from the settings, and is decided here first: what is fitted never sees them.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp.data.dataset import DATASETS, Dataset
from fastmlp.data.formats import read_table
from fastmlp.data.formats.backend import polars
from fastmlp.errors import ConfigError, DataError, InputNotFound
from fastmlp.preprocessing import columns as of_columns
from fastmlp.preprocessing import frames
from fastmlp.preprocessing.columns import Choices, Columns
from fastmlp.settings import HELD_OUT, NetworkSettings, TrainingSettings, as_path, nearest, refuses_unknown, settings_in_effect
from fastmlp.training import holdout

TEST_PART = 0.2  # of the rows, where nobody says which are for testing
FEW_NUMBERS = 20  # different whole numbers in a target that are classes unless it is said that they are numbers
# What a table is trained with where nobody says otherwise, whatever the preset.
TRAINING_DEFAULTS: Mapping[str, Any] = {
    "optimizer": "adam", "schedule": "cosine", "validation": 0.1, "restore_best": True,
}  # fmt: skip
DROPOUT = {"classes": 0.3, "values": 0.15}
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
    target: str
    test: float | int | None = None  # a part or a number of the rows; None: TEST_PART, unless there is a test_file
    test_file: str | None = None
    sample_weight: str | None = None  # the column that says what each row counts
    header: bool | None = None  # as for read_table
    delimiter: str | None = None
    choices: Choices = Choices()
    preset: str = DEFAULT

    @property
    def name(self) -> str:
        """The name of the data set: that of the file without its ending, never that of another data set."""
        name = "stdin" if self.path == "-" else os.path.basename(self.path).partition(".")[0] or "table"
        return f"{name}-table" if name in DATASETS else name

    def read(self, path: Any, notify: Notify | None = None, of_test: bool = False) -> Any:
        """Return a table in a file, or a frame, as a polars.DataFrame, read as this one is; of_test: that of the rows to test on."""
        texts = (*self.choices.categorical, *self.choices.ordinal)
        if not of_test:  # which need not have what is no input; elsewhere no numbers are looked for there
            texts += (*self.choices.drop, *self.choices.keep)
        return read_table(path, header=self.header, delimiter=self.delimiter, text_columns=texts, notify=notify)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads."""
        choices = {name: dict(value) if name == "ordinal" else list(value) for name, value in self.choices._asdict().items() if value}
        return {**self._asdict(), "choices": choices}

    @classmethod
    def from_dict(cls, found: Any) -> "Table":
        """Return what `to_dict` wrote; DataError for anything else."""
        try:
            choices: dict[str, Any] = {
                name: {each: tuple(order) for each, order in value.items()} if name == "ordinal" else tuple(value)
                for name, value in found["choices"].items()
            }
            table = cls(**{**found, "choices": Choices(**choices)})
        except (TypeError, KeyError, AttributeError):
            raise DataError("expected a table with its path and its target in the manifest of a run, found another; train anew") from None
        if not (isinstance(table.path, str) and isinstance(table.target, str) and isinstance(table.test_file, (str, type(None)))):
            raise DataError("expected the path and the target of a table as texts in the manifest of a run, found others; train anew")
        if table.preset not in PRESETS:
            raise DataError(f"expected a preset in the manifest of a run, found {table.preset!r:.60}; train anew")
        return table


def checked_preset(name: Any) -> str:
    """Return the name of a preset; ConfigError for any other."""
    if not isinstance(name, str) or name not in PRESETS:
        raise ConfigError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r:.60}{nearest(str(name), PRESETS)}")
    return name


def training_defaults(n_rows: int, target_kind: str, preset: str = DEFAULT) -> dict[str, Any]:
    """Return what a table of n_rows training rows is trained with where nobody says otherwise; target_kind as in Dataset."""
    rows, (fewest, most) = PRESETS[preset].rows, PRESETS[preset].epochs
    batch = n_rows // STEPS // SMALLEST_BATCH * SMALLEST_BATCH
    return {
        **TRAINING_DEFAULTS,
        "dropout": DROPOUT[target_kind],
        "epochs": min(most, max(fewest, rows[target_kind] // n_rows)),
        "batch_size": min(LARGEST_BATCH, max(SMALLEST_BATCH, batch)),
    }


class Loaded(NamedTuple):
    """A table as a data set, and which of its columns became no inputs, and why."""

    data: Dataset
    left_out: dict[str, str]


@refuses_unknown
def load_table(
    source: Any,
    target: str,
    *,
    test: float | int | None = None,
    test_file: str | os.PathLike[str] | None = None,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    ordinal: Mapping[str, Sequence[str]] | None = None,
    date: Sequence[str] = (),
    validation: float | int | None = None,
    split_seed: int = TrainingSettings.split_seed,
    sample_weight: str | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    preset: str = DEFAULT,
) -> Dataset:
    """Return a table as a data set for `train`: test rows held out, columns fitted to the rows that will be trained on.

    source: the path of a file, or a frame of pandas, polars or pyarrow: what fastmlp.data.formats.read_table reads. target: the column to
    predict, by its name, which may be a whole number in pandas; texts, and whole numbers of at most 20 values, are classes. test: a part or
    a number of the rows; None: a fifth, unless a test_file is named. drop, categorical, numeric, date: names of columns; ordinal: name ->
    categories in their order; keep: no inputs, but shown beside predictions by `fastmlp predict`. sample_weight: the column that says what
    each row counts in training. validation, split_seed: which rows the training will hold out; None: a tenth. They and what suits a table
    of so many rows become the data set's training_defaults. preset: "fast", "default" or "best", how much is done for a score; of "best"
    several networks answer together: see fastmlp.train_ensemble. A network that is to take frames gets the `columns`.

    Raises ConfigError for columns that are not there, DataError for cells that cannot be what they should, InputNotFound, MissingExtra.
    """
    lists = {"drop": drop, "keep": keep, "categorical": categorical, "numeric": numeric, "date": date}
    names = {name: _names(name, value) for name, value in lists.items()}
    orders = {of_columns.name_of("ordinal", name): tuple(order) for name, order in (ordinal or {}).items()}
    choices = Choices(**names, ordinal=orders)
    target = of_columns.name_of("target", target)
    sample_weight = None if sample_weight is None else of_columns.name_of("sample_weight", sample_weight)
    given = {"split_seed": split_seed, **({} if validation is None else {"validation": validation})}
    is_path = isinstance(source, (str, os.PathLike))
    path, test_path = os.fspath(source) if is_path else "", None if test_file is None else str(as_path("test_file", test_file))
    table = Table(path, target, test, test_path, sample_weight, header, delimiter, choices, checked_preset(preset))
    return load(table, given, frame=None if is_path else table.read(source)).data


def _names(what: str, values: Any) -> tuple[str, ...]:
    """Return the names of columns in a list; ConfigError, with `what`, for one name alone."""
    if isinstance(values, (str, int)):
        raise ConfigError(f"{what}: expected a list of columns, got {values!r}; write [{values!r}]")
    return tuple(of_columns.name_of(what, value) for value in values)


def load(
    table: Table,
    given: Mapping[str, Any],
    recorded: Recorded | None = None,
    notify: Notify | None = None,
    frame: Any = None,
    columns: Columns | None = None,
) -> Loaded:
    """Return a table as a data set whose columns are fitted to the rows that settings, where they are `given`, do not hold out.

    recorded: the settings of a run that goes on, in place of those given. notify: as for read_table. frame: what is in the table, where it
    is known. columns: those of a network that is trained on or judged, in place of fitted ones. Raises ConfigError for columns that are not
    there, DataError for cells that cannot be what they should.
    """
    if recorded is not None and table.path == "-":
        raise InputNotFound("expected the table that the run was trained on, it came by standard input; keep it in a file next time")
    frame = table.read(table.path, notify) if frame is None else frame
    of_columns.check_names([table.target], frame.columns, "target")
    if table.target in table.choices.drop:
        raise ConfigError(f"drop: expected other columns than the target, got {table.target!r}; the target is no input anyway")
    if table.target == table.sample_weight:
        raise ConfigError(f"sample_weight: expected another column than the target, got {table.target!r}")
    preset = PRESETS[table.preset]
    network_defaults = {"hidden": preset.hidden}
    network, settings = settings_in_effect(given, network_defaults, TRAINING_DEFAULTS) if recorded is None else recorded
    as_values = _predicts_values(frame[table.target], network.output)
    there = with_target(frame[table.target], notify)
    y = target_of(frame[table.target][there], as_values, rows=there)
    if table.test_file is None:
        drawn = _split(settings, y, as_values, "test", 1, TEST_PART if table.test is None else table.test)
        of_test, test_rows, y_test = None, there[drawn.held_out], y[drawn.held_out]
    else:
        drawn, of_test = holdout.Rows(np.arange(len(y)), np.empty(0, np.int64)), table.read(table.test_file, notify, of_test=True)
        of_columns.check_names([table.target], of_test.columns, "target")
        test_rows = with_target(of_test[table.target], notify)
        y_test = target_of(of_test[table.target][test_rows], as_values, rows=test_rows)
    train_rows, y_train = there[drawn.train], y[drawn.train]
    weight = None if table.sample_weight is None else _weight(frame, table.sample_weight)[train_rows]
    kept = _split(settings, y_train, as_values, "validation", 0)
    inputs = [name for name in frame.columns if name != table.sample_weight]
    names = None if as_values or y_train.dtype.kind != "U" else tuple(np.unique(y_train).tolist())
    target_kind = "values" if as_values else "classes"
    hashes, openings = hashes_of(table), list[str]()
    defaults = {**training_defaults(len(y_train), target_kind, table.preset), **{name: given[name] for name in HELD_OUT if name in given}}

    def fitted(rows: np.ndarray) -> Loaded:
        def fit_to(others: np.ndarray) -> Dataset:
            return data if columns is not None or np.array_equal(others, rows) else fitted(others).data

        if columns is None:
            found, left_out = of_columns.fit(frame.select(inputs), table.choices, train_rows[rows], table.target, preset.bins)
        else:
            found, left_out = columns, dict[str, str]()
        x = found.encode(frame)
        x_test = (x if of_test is None else found.encode(of_test, "x_test"))[test_rows]
        data = Dataset(
            table.name, x[train_rows], y_train, x_test, y_test, kind="table",
            target_kind=target_kind, class_names=names, feature_names=found.features, hashes=hashes,
            network_defaults=network_defaults, training_defaults=defaults, columns=found, fit_to=fit_to,
            sample_weight=weight, n_networks=preset.networks,
        )  # fmt: skip
        vars(data)["test_openings"] = openings  # the test rows are the same
        return Loaded(data, left_out)

    return fitted(kept.train)


def _weight(frame: Any, name: str) -> np.ndarray:
    """Return what each row counts, float64 (n,); DataError, with the row, for what is no number of at least 0."""
    of_columns.check_names([name], frame.columns, "sample_weight")
    weight = frames.as_numbers(frame[name])
    if (wrong := ~(weight >= 0)).any():
        frames.refuse(frame[name], polars().Series(wrong), "what the row counts, a number of at least 0")
    return weight


def with_target(column: Any, notify: Notify | None = None) -> np.ndarray:
    """Return the numbers (m,) of the rows whose target is there; DataError where there is none.

    notify: is given a line that says how many are left out; None: a warning says so.
    """
    there: np.ndarray = np.flatnonzero(column.is_not_null().to_numpy())
    missing = len(column) - there.size
    if not there.size:
        raise DataError(f"column {column.name!r}: expected a target, but it is missing in all {missing:,} rows")
    if missing:
        left_out = f"{missing:,} rows without a target are left out" if missing > 1 else "1 row without a target is left out"
        if notify is not None:
            notify(f"column {column.name!r}: {left_out}")
        else:
            warnings.warn(f"column {column.name!r}: {left_out}", UserWarning, stacklevel=4)
    return there


def target_of(column: Any, as_values: bool, texts: bool | None = None, rows: np.ndarray | None = None) -> np.ndarray:
    """Return what a column without missing ones says is to be predicted: float64 (n,), or labels, whole numbers or texts (n,).

    texts: whether labels are texts; None: where they are no whole numbers. rows (n,): the numbers of its rows, for messages.
    """
    if as_values:
        return frames.as_numbers(column, rows)
    numbers = _whole(column) if texts is not True else None
    if numbers is None and texts is False:
        found = frames.as_numbers(column, rows)
        frames.refuse(column, polars().Series(found != np.floor(found)), "a whole number, the label of a class", rows)
    return np.array(frames.as_texts(column).to_list(), str) if numbers is None else numbers


def target_for(network: Any, column: Any, rows: np.ndarray) -> np.ndarray:
    """Return what a column says is to be predicted, as a trained network has it; rows (n,): their numbers, for messages."""
    labels = network.known_classes
    return target_of(column, network.output == "identity", None if labels is None else labels.dtype.kind == "U", rows)


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
    settings: TrainingSettings, y: np.ndarray, as_values: bool, what: str, draw: int, part: float | int | None = None
) -> holdout.Rows:
    """Return which rows are held out, as a training of a network with a fitting output does; part: how many, None: as settings say."""
    if as_values:
        target, output, n_outputs = y[:, None], "identity", 1
        if len(y) > 1 and (y == y[0]).all():
            raise DataError(f"target: expected numbers that differ, got {y[0]:g} in all {len(y):,} rows")
    else:
        classes, numbers = np.unique(y, return_inverse=True)
        target, output, n_outputs = numbers[:, None], "softmax", classes.size
        if classes.size < 2:
            raise DataError(f"target: expected at least two classes, got {classes.tolist()[0]!r:.60} in all {len(y):,} rows")
        if classes.size > max(FEW_NUMBERS, len(y) // 2):
            raise DataError(f"target: expected classes that have several rows each, got {classes.size:,} in {len(y):,} rows")
    try:
        held = settings if part is None else settings.replace(validation=part, holdout=None)
        return holdout.split(held, target, output, n_outputs, draw)
    except ConfigError as error:
        raise ConfigError(f"{what}{str(error).removeprefix('validation')}") from None


def hashes_of(table: Table) -> dict[str, str]:
    """Return the SHA-256 of each file of a table, by its name; by its path where the other has that name, too."""
    found: dict[str, str] = {}
    for path in (table.path, table.test_file):
        if path not in (None, "", "-"):
            try:
                with open(path, "rb") as file:
                    name = os.path.basename(path)
                    found[path if name in found else name] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise InputNotFound(f"{path}: cannot be read: {error.strerror or error}") from error
    return found
