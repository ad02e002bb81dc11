"""`fastmlp evaluate`: how good a trained network is on a data set, or on a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from fastmlp.cli import tables as of_tables
from fastmlp.cli.options import DataDir, ModelFile, OptionalData, compile_notes, model_file, run_of
from fastmlp.errors import ConfigError
from fastmlp.rendering import tables
from fastmlp.rendering.output import Output
from fastmlp.settings import nearest

if TYPE_CHECKING:
    from fastmlp.network import Network
    from fastmlp.storage.reading import RunRecord

EXAMPLES = (
    "fastmlp evaluate digits.safetensors mnist",
    "fastmlp evaluate digits.safetensors mnist --split train --json",
    "fastmlp evaluate runs/20261124T030656Z-mnist-b11a7d",
    "fastmlp evaluate model.safetensors table.csv",
)


SPLITS = ("test", "train")


class _Rows(NamedTuple):
    """What is evaluated on."""

    x: Any
    y: Any
    dataset: str
    split: str | None  # None: all rows of a table

    @property
    def named(self) -> str:
        """What they are called after their number."""
        return f"rows of {self.dataset}" if self.split is None else f"{self.split} rows of {self.dataset}"


def _known_split(name: str | None) -> str | None:
    if name is not None and name not in SPLITS:
        raise typer.BadParameter(f"expected one of {', '.join(SPLITS)}, got {name!r:.60}{nearest(name, SPLITS)}")
    return name


def evaluate(
    output: Output,
    model: ModelFile,
    dataset: OptionalData = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="|".join(SPLITS), callback=_known_split, help=f"of a data set: rows to evaluate on  [default: {SPLITS[0]}]"),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="of a table: the column to predict, repeat for more  [default: as in training]"),
    ] = None,
    data_dir: DataDir = None,
    header: of_tables.Header = None,
    delimiter: of_tables.Delimiter = None,
    decimal: of_tables.Decimal = None,
) -> dict[str, Any]:
    """Show the metrics of a trained network: of classes with their confusion matrix, of numbers in the units of y.

    The folder of a training knows its data set; beside a model file, name one, or a table: all of its rows are evaluated.
    """
    from fastmlp.inspect.per_target import scores_of_targets
    from fastmlp.network import Network

    run, how = run_of(model) if dataset is None else None, of_tables.How(header, delimiter, decimal)
    network = Network.load(model_file(model))
    if dataset is not None and of_tables.is_table(dataset):
        of_tables.refuse_beside_table({"--split": split, "--data-dir": data_dir})
        frame = of_tables.read(dataset, network, how, output.note, of_tables.targets_among(network, target or None))
        x, y = of_tables.rows_of(network, frame, target or None, output.note)
        rows = _Rows(x, y, dataset, None)
    else:
        of_table = {"target": target or None, **how._asdict()}
        of_tables.refuse_without_table([name for name, value in of_table.items() if value is not None], dataset or model)
        rows = _rows(output, network, run, dataset, split or SPLITS[0], data_dir)
    with compile_notes(output):
        scores = network.evaluate(rows.x, rows.y, metrics="all" if network.columns is not None or rows.split is None else ())
        per_target = scores_of_targets(network, rows.x, rows.y)
        confusion = network.confusion_matrix(rows.x, rows.y) if network.predicts_classes else None
    names = network.class_names or tuple(map(str, range(network.n_outputs)))
    output.result(f"{tables.scores(scores)}  ({len(rows.x):,} {rows.named})")
    if per_target:
        output.detail("\n" + tables.scores_by_target(per_target))
    if confusion is not None:
        output.detail("\n" + tables.confusion_matrix(confusion, names))
    return {
        "model": model,
        "dataset": rows.dataset,
        "split": rows.split,
        "rows": len(rows.x),
        **scores,
        **({"targets": per_target} if per_target else {}),
        "class_names": names,
        "confusion_matrix": confusion,
    }


def _rows(output: Output, network: "Network", run: "RunRecord | None", dataset: str | None, split: str, data_dir: Path | None) -> _Rows:
    """Return the rows of a data set, or of what a run was trained on."""
    table, recorded = (None, None) if run is None else (of_tables.of_manifest(run.manifest), of_tables.recorded(run.manifest))
    name = str(run.manifest["data"]["name"]) if run is not None else str(dataset)
    files = None if run is None else run.manifest["data"].get("files", {})
    data = of_tables.load(output, name, table, {}, data_dir, recorded=recorded, columns=network.columns, expected=files)
    if data.stored is not None and split == "train":
        raise ConfigError("split: expected test for a run whose table stays on the disk, got train; name a table beside the model")
    return _Rows(*((data.x_test, data.y_test) if split == "test" else (data.x_train, data.y_train)), name, split)
