"""Where DATASET is the path of a table: its flags, and how it becomes a data set."""

import inspect
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.errors import ConfigError, DataError
from fastmlp.rendering.output import Output
from fastmlp.rendering.tables import counted

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.network import Network
    from fastmlp.preprocessing import Columns
    from fastmlp.training.tables import Recorded, Table

GROUP = "Tables"
STDIN = "-"
READ = ("CSV", "TSV", "text", "Parquet", "NPZ", "LIBSVM")  # formats of tables, as known_formats calls them
WRITTEN = (".csv", ".jsonl", ".parquet")


Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="whether its first line holds names  [default: told by the lines below]", rich_help_panel=GROUP
    ),
]
Delimiter = Annotated[
    str | None, typer.Option(metavar="X", help="what stands between its cells  [default: told by its lines]", rich_help_panel=GROUP)
]


def _flag(name: str, annotation: Any, help_text: str, metavar: str) -> inspect.Parameter:
    option = typer.Option(f"--{name.replace('_', '-')}", metavar=metavar, help=help_text, rich_help_panel=GROUP)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, option])


# What is said about a table, wherever one can stand. Names of columns are given one by one: they may hold commas.
FLAGS = (
    _flag("target", str | None, "the column to predict", "COLUMN"),
    _flag("preset", str | None, "fast, default, or best: several networks, whose mean answers  [default: default]", "NAME"),
    _flag("test_part", float | None, "part or number of rows to test on  [default: 0.2]", "X"),
    _flag("test_file", Path | None, "a table of rows to test on", "FILE"),
    _flag("drop", list[str] | None, "a column to leave out; repeat for more", "COLUMN"),
    _flag("keep", list[str] | None, "a column that is no input, but shown beside predictions; repeat for more", "COLUMN"),
    _flag("categorical", list[str] | None, "a column of categories, whatever it looks like; repeat for more", "COLUMN"),
    _flag("numeric", list[str] | None, "a column of numbers; repeat for more", "COLUMN"),
    _flag("ordinal", list[str] | None, "a column of categories with an order, COLUMN=low,middle,high; repeat for more", "COLUMN=A,B"),
    _flag("date", list[str] | None, "a column of dates; repeat for more", "COLUMN"),
    _flag("sample_weight", str | None, "the column that says what each row counts in training", "COLUMN"),
    *(
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in (("header", Header), ("delimiter", Delimiter))
    ),
)
NAMES = tuple(flag.name for flag in FLAGS)
SELDOM = frozenset(NAMES) - {"target", "preset", "test_part"}  # behind --help-all


def is_table(dataset: str | None) -> bool:
    """Return whether a DATASET is the path of a table rather than a name."""
    from fastmlp.data.dataset import DATASETS

    return dataset is not None and dataset not in DATASETS


def table_of(dataset: str | None, flags: Mapping[str, Any]) -> "Table | None":
    """Return the table that a DATASET and its flags stand for, None for a data set by its name; typer.BadParameter for what is missing."""
    given = {name: value for name, value in flags.items() if value not in (None, [], ())}
    if not is_table(dataset):
        if given:
            raise typer.BadParameter(
                f"expected it with the path of a table only, got it with {dataset or 'none'}", param_hint=_named(next(iter(given)))
            )
        return None
    from fastmlp.preprocessing.columns import Choices, listed
    from fastmlp.training.tables import DEFAULT, Table

    path = str(dataset)
    if "target" not in given:
        names = read(path, None, given.get("header"), given.get("delimiter"), lambda _: None).columns
        raise typer.BadParameter(f"expected the column to predict, got none{listed(names)}", param_hint="--target")
    part = given.get("test_part")
    if part is not None and "test_file" in given:
        raise typer.BadParameter("expected one of --test-part and --test-file, got both", param_hint="--test-file")
    choices = Choices(
        **{name: tuple(given.get(name, ())) for name in ("drop", "keep", "categorical", "numeric", "date")},
        ordinal=dict(_ordinal(text) for text in given.get("ordinal", ())),
    )
    test_file = os.path.abspath(given["test_file"]) if "test_file" in given else None
    weight, header, delimiter = (given.get(name) for name in ("sample_weight", "header", "delimiter"))
    path = path if path == STDIN else os.path.abspath(path)
    preset = _preset(given.get("preset", DEFAULT))
    return Table(path, given["target"], _part(part), test_file, weight, header, delimiter, choices, preset)


def check_single(table: "Table | None") -> None:
    """Raise typer.BadParameter for a preset that trains several networks, where a command trains one for each of its models."""
    from fastmlp.training.tables import PRESETS

    if table is not None and PRESETS[table.preset].networks > 1:
        single = [name for name, preset in PRESETS.items() if preset.networks == 1]
        raise typer.BadParameter(
            f"expected {' or '.join(single)} here, got {table.preset}, of which a model is several networks: see fastmlp train",
            param_hint="--preset",
        )


def _preset(name: str) -> str:
    from fastmlp.training.tables import checked_preset

    try:
        return checked_preset(name)
    except ConfigError as error:
        raise typer.BadParameter(str(error).removeprefix("preset: "), param_hint="--preset") from None


def _part(value: float | None) -> float | int | None:
    if value is not None and not (0 < value < 1 or value.is_integer() and value > 0):
        raise typer.BadParameter(f"expected a part of the rows, such as 0.2, or their number, got {value:g}", param_hint="--test-part")
    return int(value) if value is not None and value >= 1 and value == int(value) else value


def _ordinal(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, order = text.rpartition("=")
    categories = tuple(each.strip() for each in order.split(","))
    if not name or len(categories) < 2 or len(set(categories)) < len(categories):
        raise typer.BadParameter(f"expected COLUMN=low,middle,high, got {text!r}", param_hint="--ordinal")
    return name, categories


def _named(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"


def load(
    output: Output,
    dataset: str,
    table: "Table | None",
    given: Mapping[str, Any],
    data_dir: Path | None,
    offline: bool = False,
    recorded: "Recorded | None" = None,
    columns: "Columns | None" = None,
) -> "Dataset":
    """Return a data set by its name, or a table as one, fitted to the rows that settings, as far as they are given, do not hold out.

    columns: those of a network that is trained on, or judged, in place of fitted ones.
    """
    if table is None:
        from fastmlp.data.dataset import load_dataset

        output.note(f"loading {dataset} …")
        return load_dataset(dataset, data_dir, offline=True) if offline else load_dataset(dataset, data_dir, notify=output.note)
    from fastmlp.training import tables

    try:
        data, left_out = tables.load(table, given, recorded, output.note, columns=columns)
    except ConfigError as error:
        if not str(error).startswith("test: "):
            raise
        raise typer.BadParameter(str(error).removeprefix("test: "), param_hint="--test-part") from None
    if given.get("validation") == 0:
        output.note("no rows are held out to judge epochs by: the network of the last epoch is kept")
    tell(output.note, data, table, left_out)
    return data


def tell(note: Callable[[str], None], data: "Dataset", table: "Table", left_out: Mapping[str, str]) -> None:
    """Say what is learned from what."""
    from fastmlp.network.labels import shown
    from fastmlp.preprocessing.columns import shown_left_out

    if data.target_kind == "classes":
        classes = sorted(set(data.y_train.tolist()))
        told = f"{len(classes)} classes, {shown(classes)}"
        if data.y_train.dtype.kind == "i" and len(classes) > 2:
            told += " (as numbers: --output identity)"
    else:
        told = f"numbers from {data.y_train.min():g} to {data.y_train.max():g}"
    note(f"target {table.target}: {told}")
    n_columns = len(data.columns.columns)
    note(f"{counted(n_columns, 'column')} {'becomes' if n_columns == 1 else 'become'} {counted(data.columns.n_inputs, 'input')}")
    if left_out:
        note(f"left out: {shown_left_out(left_out)}")


def read(path: str, network: "Network | None", header: bool | None, delimiter: str | None, notify: Callable[[str], None]) -> Any:
    """Return the table in a file as a polars.DataFrame; columns that are categories to a network are texts, whatever they look like."""
    from fastmlp.data.formats import read_table
    from fastmlp.preprocessing.kinds import CATEGORY, ORDINAL

    known = () if network is None or network.columns is None else network.columns.columns
    texts = [column.name for column in known if column.kind in (CATEGORY, ORDINAL)]
    return read_table(path, header=header, delimiter=delimiter, text_columns=texts, notify=notify)


def arguments_of(table: "Table") -> str:
    """Return the path of a table and its flags, as they are typed."""
    from fastmlp.training.tables import DEFAULT

    flags = [
        ("target", table.target),
        ("preset", None if table.preset == DEFAULT else table.preset),
        ("test_part", table.test),
        ("test_file", table.test_file),
        ("sample_weight", table.sample_weight),
        ("delimiter", table.delimiter),
    ]
    for name, value in table.choices._asdict().items():
        flags += [(name, f"{each}={','.join(value[each])}" if name == "ordinal" else each) for each in value]
    header = [] if table.header is None else ["--header" if table.header else "--no-header"]
    parts = [f"{_named(name)} {shlex.quote(str(value))}" for name, value in flags if value is not None]
    return " ".join([shlex.quote(table.path), *parts, *header])


def recorded(manifest: Mapping[str, Any]) -> "Recorded":
    """Return the settings that a run was trained with."""
    from fastmlp.settings import NetworkSettings, TrainingSettings

    settings = manifest["settings"]
    return NetworkSettings.from_record(settings["network"]), TrainingSettings.from_record(settings["train"])


def in_manifest(table: "Table | None") -> dict[str, Any]:
    """Return what the record of a run says of the table that it was trained on, beside its name and the hashes of its files."""
    return {} if table is None else {"table": table.to_dict()}


def of_manifest(manifest: Mapping[str, Any]) -> "Table | None":
    """Return the table that a run was trained on, None for a data set by its name."""
    found = manifest["data"].get("table")
    if found is None:
        return None
    from fastmlp.training.tables import Table

    return Table.from_dict(found)


def check_unchanged(table: "Table", recorded: Mapping[str, str]) -> None:
    """Raise DataError where a file of a table is not the one whose SHA-256 a run has recorded, by the name of the file."""
    from fastmlp.training.tables import hashes_of

    for name, digest in hashes_of(table).items():
        if digest != recorded.get(name):
            expected = f"expected the table of the run, SHA-256 {str(recorded.get(name)):.12}"
            raise DataError(f"{name}: {expected}, got one that has changed since, {digest:.12}; name a table to evaluate on beside the run")


def rows_of(network: "Network", frame: Any, target: str | None, notify: Callable[[str], None]) -> tuple[Any, Any]:
    """Return the rows of a table as a network takes them, and what it is to predict of them; ConfigError where no column is that.

    A network that knows no columns takes all columns but the target, in their order.
    """
    from fastmlp.preprocessing.columns import check_names, listed
    from fastmlp.training import tables

    known = network.columns
    name = target if target is not None else None if known is None else known.target
    if name is None:
        raise ConfigError(f"target: expected the column to predict, got none{listed(frame.columns)}; say --target COLUMN")
    check_names([name], frame.columns, "target")
    x = network.encoded(frame) if known is not None else numbers_of(network, frame.drop(name), "x")
    there = tables.with_target(frame[name], notify)
    return x[there], tables.target_for(network, frame[name][there], there)


def numbers_of(network: "Network", frame: Any, shown: str) -> Any:
    """Return the columns of a table as rows (n, K) of a network that knows no columns; DataError for others than its inputs."""
    import numpy as np

    from fastmlp.preprocessing import frames

    wanted = frame.columns
    if len(wanted) != network.n_inputs:
        expected = f"expected a column for each of the {network.n_inputs} inputs of the network"
        raise DataError(f"{shown}: {expected}, got {len(wanted)}; leave out what is no input, such as labels")
    return np.stack([frames.as_numbers(column) for column in frame], axis=1)


def write(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns, each (n,), as the ending of the name says, atomically; "-": as CSV to standard output."""
    import io

    from fastmlp.data.formats.backend import polars
    from fastmlp.rendering.output import print_text
    from fastmlp.storage.atomic import write_atomically

    frame, into = polars().DataFrame(dict(columns)), io.BytesIO()
    how = {".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}.get(path.suffix.lower(), frame.write_csv)
    how(into)
    if str(path) == STDIN:
        print_text(into.getvalue().decode())
    else:
        write_atomically(path, into.getvalue())
