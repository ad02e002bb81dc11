"""load_table: a table of one's own as a data set, read whole, or in parts where it is larger than memory."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError
from fastmlp.preprocessing import columns as of_columns
from fastmlp.settings import TrainingSettings, as_path, refuses_unknown
from fastmlp.training import tables, tables_on_disk
from fastmlp.training.tables import DEFAULT, Table, checked_preset, choices_of


@refuses_unknown
def load_table(
    source: Any,
    target: str | Sequence[str],
    *,
    test_part: float | int | None = None,
    test_file: str | os.PathLike[str] | None = None,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    ordinal: Mapping[str, Sequence[str]] | None = None,
    date: Sequence[str] = (),
    day_first: bool | None = None,
    validation: float | int | None = None,
    split_seed: int = TrainingSettings.split_seed,
    sample_weight: str | None = None,
    group: str | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    preset: str = DEFAULT,
    memory: str | int | None = None,
) -> Dataset:
    """Return a table as a data set for `train`: test rows held out, columns fitted to the rows that will be trained on.

    source: the path of a file, or a frame of pandas, polars or pyarrow: what fastmlp.data.formats.read_table reads. target: the column to
    predict, by its name, which may be a whole number in pandas; texts, and whole numbers of at most 20 values, are classes. Or several
    columns: labels where all of them hold 0 and 1, or true and false, else numbers. test_part: a part or a number of the rows; None: a
    fifth, unless a test_file is named. drop, categorical, numeric, date: names of columns; ordinal: name -> categories in their order;
    day_first: whether 01/02/2026 is in February; decimal, header, delimiter: how a text is read;
    keep: no inputs, but shown beside predictions by `fastmlp predict`. sample_weight: the column that says what each row counts in
    training. group: the column whose rows of equal values stay together where rows are held out; no input. validation, split_seed: which
    rows the training will hold out; None: a tenth. They and what suits a table of so many rows become the data set's training_defaults.
    preset: "fast", "default" or "best", how much is done for a score; of "best" several networks answer together: see
    fastmlp.train_ensemble. A network that is to take frames gets the `columns`. memory: for a file that is larger than memory, what the
    process may use, such as "2GiB": it is read in parts and stays on the disk, x_train and y_train are a sample, and `train` takes all.

    Raises ConfigError for columns that are not there, DataError for cells that cannot be what they should, InputNotFound, MissingExtra.
    """
    choices = choices_of(drop=drop, keep=keep, categorical=categorical, numeric=numeric, ordinal=ordinal, date=date, day_first=day_first)
    targets = of_columns.targets_of(target)
    sample_weight = None if sample_weight is None else of_columns.name_of("sample_weight", sample_weight)
    group = None if group is None else of_columns.name_of("group", group)
    given = {"split_seed": split_seed, **({} if validation is None else {"validation": validation})}
    is_path = isinstance(source, (str, os.PathLike))
    path, test_path = os.fspath(source) if is_path else "", None if test_file is None else str(as_path("test_file", test_file))
    column = targets if len(targets) != 1 else targets[0]
    table = Table(
        path, column, test_part, test_path, sample_weight, group, header, delimiter, decimal, choices, checked_preset(preset), memory
    )
    if memory is not None:
        if not is_path:
            raise ConfigError("memory: expected the path of a file beside it, which is read in parts, got a frame, which is in memory")
        return tables_on_disk.load(table, given).data
    return tables.load(table, given, frame=None if is_path else table.read(source)).data
