"""`fastmlp evaluate`: how good a trained network is on a data set."""

from typing import Annotated, Any

import typer

from fastmlp.cli.options import DataDir, ModelFile, OptionalDatasetName, compile_notes, data_of, model_file
from fastmlp.rendering import tables
from fastmlp.rendering.output import Output
from fastmlp.settings import nearest

EXAMPLES = (
    "fastmlp evaluate digits.safetensors mnist",
    "fastmlp evaluate digits.safetensors mnist --split train --json",
    "fastmlp evaluate runs/20261124T030656Z-mnist-b11a7d",
)


SPLITS = ("test", "train")


def _known_split(name: str) -> str:
    if name not in SPLITS:
        raise typer.BadParameter(f"expected one of {', '.join(SPLITS)}, got {name!r:.60}{nearest(name, SPLITS)}")
    return name


def evaluate(
    output: Output,
    model: ModelFile,
    dataset: OptionalDatasetName = None,
    split: Annotated[str, typer.Option(metavar="|".join(SPLITS), callback=_known_split, help="rows to evaluate on")] = "test",
    data_dir: DataDir = None,
) -> dict[str, Any]:
    """Show accuracy and confusion matrix of a trained network, or R² and errors in the units of y.

    The folder of a training knows its data set; beside a model file, name one.
    """
    from fastmlp.data.dataset import load_dataset
    from fastmlp.network import Network

    dataset = data_of(model) if dataset is None else dataset
    network = Network.load(model_file(model))
    output.note(f"loading {dataset} …")
    data = load_dataset(dataset, data_dir, notify=output.note)
    x, y = (data.x_test, data.y_test) if split == "test" else (data.x_train, data.y_train)
    with compile_notes(output):
        scores = network.evaluate(x, y)
        confusion = network.confusion_matrix(x, y) if network.predicts_classes else None
    names = network.class_names or tuple(map(str, range(network.n_outputs)))
    output.result(f"{tables.scores(scores)}  ({len(x):,} {split} rows of {dataset})")
    if confusion is not None:
        output.detail("\n" + tables.confusion_matrix(confusion, names))
    return {
        "model": model,
        "dataset": dataset,
        "split": split,
        "rows": len(x),
        **scores,
        "class_names": names,
        "confusion_matrix": confusion,
    }
