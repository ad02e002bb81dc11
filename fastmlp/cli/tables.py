"""Where DATASET is the path of a table: its flags, and how it becomes a data set."""

import inspect
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args

import typer

from fastmlp.errors import ConfigError, DataError
from fastmlp.quantities import percent
from fastmlp.rendering.output import Output
from fastmlp.rendering.tables import counted

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.network import Network
    from fastmlp.preprocessing import Columns
    from fastmlp.preprocessing.columns import Choices
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


Decimal = Annotated[
    str | None,
    typer.Option(
        metavar="MARK",
        help="the decimal mark of its numbers: , as in 1.234,5, or . as in 1,234.5  [default: told by its cells]",
        rich_help_panel=GROUP,
    ),
]
DayFirst = Annotated[
    bool | None,
    typer.Option(
        "--day-first/--month-first",
        help="what comes first in dates such as 01/02/2026  [default: told by its cells]",
        rich_help_panel=GROUP,
    ),
]


def _flag(name: str, annotation: Any, help_text: str, metavar: str) -> inspect.Parameter:
    option = typer.Option(f"--{name.replace('_', '-')}", metavar=metavar, help=help_text, rich_help_panel=GROUP)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, option])


# What is said about a table, wherever one can stand. Names of columns are given one by one: they may hold commas.
FLAGS = (
    _flag("target", list[str] | None, "the column to predict; repeat for more, or a,b", "COLUMN"),
    _flag("preset", str | None, "fast, default, or best, the mean of several networks", "NAME"),
    _flag("test_part", float | None, "part or number of rows to test on  [default: 0.2]", "X"),
    _flag("test_file", Path | None, "a table of rows to test on", "FILE"),
    _flag("drop", list[str] | None, "a column to leave out; repeat for more", "COLUMN"),
    _flag("keep", list[str] | None, "a column that is no input, but shown beside predictions; repeat for more", "COLUMN"),
    _flag("categorical", list[str] | None, "a column of categories, whatever it looks like; repeat for more", "COLUMN"),
    _flag("numeric", list[str] | None, "a column of numbers; repeat for more", "COLUMN"),
    _flag("ordinal", list[str] | None, "a column of categories with an order, COLUMN=low,middle,high; repeat for more", "COLUMN=A,B"),
    _flag("date", list[str] | None, "a column of dates; repeat for more", "COLUMN"),
    _flag("sample_weight", str | None, "the column that says what each row counts in training", "COLUMN"),
    _flag("group", str | None, "the column whose equal values stay together: in one part of every split, in one fold", "COLUMN"),
    _flag("memory", str | None, "for a table larger than memory, which is read in parts: what may be used", "SIZE"),
    *(
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in (("header", Header), ("delimiter", Delimiter), ("decimal", Decimal), ("day_first", DayFirst))
    ),
)
NAMES = tuple(flag.name for flag in FLAGS)
_TEST_PART = next(flag for flag in FLAGS if flag.name == "test_part")
SELDOM = frozenset(NAMES) - {"target", "preset", "test_part"}  # behind --help-all
IN_MEMORY = tuple(name for name in NAMES if name != "memory")  # of a table that many models are trained on
OF_COLUMNS = tuple(name for name in IN_MEMORY if not name.startswith(("test_", "preset")))  # what a table is that nothing is held out of


def flags_beside(own: Iterable[str], names: Collection[str] = NAMES) -> list[inspect.Parameter]:
    """Return the flags of a table with these names for a command with parameters of its own.

    --test is short for --test-part where the command has no such switch.
    """
    if "test" in own or "test_part" not in names:
        return [flag for flag in FLAGS if flag.name in names]
    kind, option = get_args(_TEST_PART.annotation)
    both = typer.Option("--test-part", "--test", metavar=option.metavar, help=option.help, rich_help_panel=GROUP)
    found = [flag for flag in FLAGS if flag.name in names]
    return [flag.replace(annotation=Annotated[kind, both]) if flag is _TEST_PART else flag for flag in found]


def is_table(dataset: str | None) -> bool:
    """Return whether a DATASET is the path of a table rather than a name."""
    from fastmlp.data.dataset import DATASETS

    return dataset is not None and dataset not in DATASETS


def table_of(dataset: str | None, flags: Mapping[str, Any]) -> "Table | None":
    """Return the table that a DATASET and its flags stand for, None for a data set by its name; typer.BadParameter for what is missing."""
    given = {name: value for name, value in flags.items() if value not in (None, [], ())}
    if not is_table(dataset):
        refuse_without_table(given, dataset or "none")
        return None
    from fastmlp.data.formats.columns import listed
    from fastmlp.training.tables import DEFAULT, Table

    path = str(dataset)
    if "target" not in given:
        names = read(path, None, how_of(given), lambda _: None).columns
        raise typer.BadParameter(f"expected the column to predict, got none{listed(names)}", param_hint="--target")
    part = given.get("test_part")
    if part is not None and "test_file" in given:
        raise typer.BadParameter("expected one of --test-part and --test-file, got both", param_hint="--test-file")
    choices = choices_of(given)
    test_file = os.path.abspath(given["test_file"]) if "test_file" in given else None
    others = {name: given.get(name) for name in ("sample_weight", "group", "header", "delimiter", "decimal", "memory")}
    path = path if path == STDIN else os.path.abspath(path)
    for each in (path, test_file or ""):
        if not each.isascii() and any("\udc80" <= letter <= "\udcff" for letter in each):  # what Python makes of other bytes
            raise DataError(f"{each!r}: expected a path in UTF-8, which the record of the run can hold; rename it, or set LC_ALL=C.UTF-8")
    if test_file is not None and os.path.realpath(test_file) == os.path.realpath(path):
        raise typer.BadParameter("expected other rows than those to train on, got the same file; leave it out", param_hint="--test-file")
    targets = tuple(given["target"])
    target = targets if len(targets) > 1 else targets[0]
    return Table(path, target, _part(part), test_file, choices=choices, preset=_preset(given.get("preset", DEFAULT)), **others)


def check_single(table: "Table | None") -> None:
    """Raise typer.BadParameter for a preset that trains several networks, where a command trains one for each of its models."""
    from fastmlp.training.tables import PRESETS, trains_several

    if table is not None and table.trains_several:
        single = [name for name in PRESETS if not trains_several(name)]
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


def refuse_without_table(given: Iterable[str], beside: object) -> None:
    """Raise typer.BadParameter for the first of the flags of a table that were given beside what is none."""
    for name in given:
        raise typer.BadParameter(f"expected it with the path of a table only, got it with {beside}", param_hint=_named(name))


def refuse_beside_table(given: Mapping[str, Any]) -> None:
    """Raise typer.BadParameter for the first flag, by its name, that was given (None: it was not) and means nothing for a table."""
    for name, value in given.items():
        if value is not None:
            raise typer.BadParameter("expected none with the path of a table, got one", param_hint=name)


def choices_of(given: Mapping[str, Any]) -> "Choices":
    """Return what flags say about the columns of a table."""
    from fastmlp.preprocessing.columns import Choices

    lists = {name: tuple(given.get(name) or ()) for name in ("drop", "keep", "categorical", "numeric", "date")}
    orders = [_ordinal(text) for text in given.get("ordinal") or ()]
    if twice := {name for name, order in orders if dict(orders)[name] != order}:
        raise typer.BadParameter(f"expected one order of column {min(twice)!r}, got two", param_hint="--ordinal")
    return Choices(**lists, ordinal=dict(orders), day_first=given.get("day_first"))


def asked_kinds(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return what flags say the columns with these names are, by their names: a kind of kinds.py, or what else they are for."""
    from fastmlp.preprocessing.columns import check_names
    from fastmlp.training.tables import named_targets

    found = choices_of(given).named()
    check_names(found, names)
    for what in ("sample_weight", "group"):
        if given.get(what) is not None:
            check_names([given[what]], names, what)
            found[given[what]] = what.replace("_", " ")
    return found | (dict.fromkeys(named_targets(given["target"], names), "target") if given.get("target") else {})


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
    expected: Mapping[str, str] | None = None,
) -> "Dataset":
    """Return a data set by its name, or a table as one, fitted to the rows that settings, as far as they are given, do not hold out.

    columns: those of a network that is trained on, or judged, in place of fitted ones. expected: the SHA-256 of each file of the table as a
    run has recorded them; DataError for others.
    """
    if table is None:
        from fastmlp.data.dataset import load_dataset

        output.note(f"loading {dataset} …")
        return load_dataset(dataset, data_dir, offline=True) if offline else load_dataset(dataset, data_dir, notify=output.note)
    refuse_beside_table({"--data-dir": data_dir})
    from fastmlp.training import tables

    hashes = tables.hashes_of(table)
    if expected is not None:
        check_unchanged(hashes, expected)  # of other rows others are drawn to test on
    if table.memory is None:
        data, left_out = tables.load(table, given, recorded, output.note, columns=columns, test_part_named="--test-part", hashes=hashes)
    else:
        from fastmlp.training import tables_on_disk

        output.note(f"reading {table.name} in parts …")
        data, left_out = tables_on_disk.load(
            table, given, recorded, output.note, columns=columns, test_part_named="--test-part", hashes=hashes
        )
    if table.group is not None:
        output.note(f"rows with the same {table.group} stay together: whole groups are held out")
    if given.get("validation") == 0:
        output.note("no rows are held out to judge epochs by: the network of the last epoch is kept")
    tell(output.note, data, table, left_out)
    return data


def tell(note: Callable[[str], None], data: "Dataset", table: "Table", left_out: Mapping[str, str]) -> None:
    """Say what is learned from what; of a table on the disk its targets are told by a sample."""
    from fastmlp.network.labels import shown
    from fastmlp.preprocessing.columns import shown_left_out

    if data.stored is not None:
        whose = "of them" if table.test_file is None else f"of {os.path.basename(table.test_file)}"
        note(f"{data.stored.n_rows:,} rows stay on the disk; {data.row_counts()[1]:,} {whose} are held out to test on")
    targets = data.columns.target if isinstance(data.columns.target, tuple) else (data.columns.target,)
    if data.target_kind == "labels":
        shares = ", ".join(f"{name} ({percent(float(each.mean()), 1)})" for name, each in zip(targets, data.y_train.T, strict=True))
        note(f"{counted(len(targets), 'target')}, labels 0 and 1: {shares} of the rows are 1")
    elif len(targets) > 1:
        ranges = ", ".join(f"{name} ({each.min():g} to {each.max():g})" for name, each in zip(targets, data.y_train.T, strict=True))
        note(f"{counted(len(targets), 'target')}, numbers: {ranges}")
    elif data.target_kind == "classes":
        classes = sorted(set(data.y_train.tolist()))
        told = f"{len(classes)} classes, {shown(classes)}"
        if data.y_train.dtype.kind == "i" and len(classes) > 2:
            told += " (as numbers: --output identity)"
        note(f"target {targets[0]}: {told}")
    else:
        note(f"target {targets[0]}: numbers from {data.y_train.min():g} to {data.y_train.max():g}")
    n_columns = len(data.columns.columns)
    note(f"{counted(n_columns, 'column')} {'becomes' if n_columns == 1 else 'become'} {counted(data.columns.n_inputs, 'input')}")
    if left_out:
        note(f"left out: {shown_left_out(left_out)}")


class How(NamedTuple):
    """How a text is read, where it does not tell: see read_table."""

    header: bool | None = None
    delimiter: str | None = None
    decimal: str | None = None


def how_of(given: Mapping[str, Any]) -> How:
    """Return what flags say about how a text is read."""
    return How(*(given.get(name) for name in How._fields))


def read(path: str, network: "Network | None", how: How, notify: Callable[[str], None], others: Collection[str] = ()) -> Any:
    """Return the table in a file as a polars.DataFrame; columns that are categories to a network are texts, whatever they look like.

    others: columns that matter besides those that the network knows: the cells of the rest are not looked at.
    """
    from fastmlp.data.formats import read_table
    from fastmlp.preprocessing.kinds import CATEGORY, ORDINAL

    known = None if network is None or network.columns is None else {column.name: column.kind for column in network.columns.columns}
    if known is None:
        return read_table(path, **how._asdict(), notify=notify)
    texts = [name for name, kind in known.items() if kind in (CATEGORY, ORDINAL)]
    return read_table(
        path, **how._asdict(), text_columns=texts, notify=notify, unread=lambda name: name not in known and name not in others
    )


def arguments_of(table: "Table") -> str:
    """Return the path of a table and its flags, as they are typed."""
    from fastmlp.training.tables import DEFAULT

    flags = [
        *(("target", each) for each in (table.target if isinstance(table.target, tuple) else (table.target,))),
        ("preset", None if table.preset == DEFAULT else table.preset),
        ("test_part", table.test_part),
        ("test_file", table.test_file),
        ("sample_weight", table.sample_weight),
        ("group", table.group),
        ("delimiter", table.delimiter),
        ("decimal", table.decimal),
        ("memory", table.memory),
    ]
    for name, value in table.choices._asdict().items():
        if name == "day_first":
            continue
        flags += [(name, f"{each}={','.join(value[each])}" if name == "ordinal" else each) for each in value]
    switches = [("header", "no-header", table.header), ("day-first", "month-first", table.choices.day_first)]
    header = [f"--{yes if value else no}" for yes, no, value in switches if value is not None]
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


def check_unchanged(found: Mapping[str, str], recorded: Mapping[str, str]) -> None:
    """Raise DataError where a file of a table has another SHA-256 than a run has recorded, by the names of the files."""
    for name, digest in found.items():
        if digest != recorded.get(name):
            expected = f"expected the table of the run, SHA-256 {str(recorded.get(name)):.12}"
            raise DataError(f"{name}: {expected}, got one that has changed since, {digest:.12}; name a table to evaluate on beside the run")


def targets_among(network: "Network", target: list[str] | None) -> set[str]:
    """Return the names that may be those of the columns to predict: those asked for, "a,b" is two of them, and the network's own."""
    from fastmlp.preprocessing.columns import targets_of

    known = () if network.columns is None else targets_of(network.columns.target)
    asked = target or []
    return {*known, *asked, *(part.strip() for each in asked for part in each.split(","))}


def rows_of(network: "Network", frame: Any, target: list[str] | None, notify: Callable[[str], None]) -> tuple[Any, Any]:
    """Return the rows of a table as a network takes them, and what it is to predict of them; ConfigError where no column is that.

    A network that knows no columns takes all columns but the target, in their order.
    """
    from fastmlp.data.formats import lines
    from fastmlp.data.formats.columns import listed
    from fastmlp.training import tables

    known = network.columns
    asked = target if target is not None else None if known is None else known.target
    if asked is None:
        raise ConfigError(f"target: expected the column to predict, got none{listed(frame.columns)}; say --target COLUMN")
    names = tables.named_targets(asked, frame.columns)
    others = [name for name in frame.columns if name not in names]
    x = network.encoded(frame) if known is not None else numbers_of(network, lines.note(frame[others], lines.of(frame)), "x")
    targets = frame[list(names)]
    there = tables.with_target(targets, notify)
    return x[there], tables.target_for(network, targets, there, lines.of(frame))


def numbers_of(network: "Network", frame: Any, shown: str) -> Any:
    """Return the columns of a table as rows (n, K) of a network that knows no columns; DataError for others than its inputs."""
    import numpy as np

    from fastmlp.data.formats import lines
    from fastmlp.preprocessing import frames

    wanted = frame.columns
    if len(wanted) != network.n_inputs:
        expected = f"expected a column for each of the {network.n_inputs} inputs of the network"
        raise DataError(f"{shown}: {expected}, got {len(wanted)}; leave out what is no input, such as labels")
    return np.stack([frames.as_numbers(column, lines.of(frame)) for column in frame], axis=1)


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
