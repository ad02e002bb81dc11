"""`fastmlp predict`: the predictions of a trained network for the rows, or the picture, in a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli.options import ModelFile, compile_notes, model_file
from fastmlp.errors import DataError
from fastmlp.quantities import percent
from fastmlp.rendering import tables
from fastmlp.rendering.output import Output

if TYPE_CHECKING:
    import numpy.typing as npt

EXAMPLES = (
    "fastmlp predict digits.safetensors picture.png",
    "fastmlp predict digits.safetensors rows.npy --json",
    "fastmlp predict digits.safetensors t10k-images-idx3-ubyte.gz",
)


def predict(
    output: Output,
    model: ModelFile,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="rows as NPY or IDX, or the picture of one digit as PNG")],
) -> dict[str, Any]:
    """Print the class of each row of a file, or of a picture.

    A picture may have any size, dark on bright or bright on dark; it is preprocessed like those of MNIST. Needs the extra images.
    """
    import numpy as np

    from fastmlp.network import Network

    network = Network.load(model_file(model))
    x = read_input(file)
    names = network.class_names or tuple(map(str, range(network.n_outputs)))
    labels = list(range(network.n_outputs)) if network.classes is None else network.classes.tolist()
    with compile_notes(output):
        found = (network.predict if network.output == "identity" else network.predict_proba)(x).reshape(-1, network.n_outputs)
    predictions: list[dict[str, Any]]
    if network.output == "identity":
        predictions = [{"values": values} for values in found]
        text = tables.numbered_rows(names, found, tables.number)
    elif not network.predicts_classes and network.classes is None:
        predictions = [{"labels": probabilities > 0.5, "probabilities": probabilities} for probabilities in found]
        text = tables.numbered_rows(names, found, percent)
    else:
        if network.n_outputs == 1:  # the probability of the second of two classes
            found, names = np.hstack([1 - found, found]), tuple(map(str, labels))
        chosen = found.argmax(axis=1).tolist()
        predictions = [{"class": c, "label": labels[c], "name": names[c], "probabilities": p} for c, p in zip(chosen, found, strict=True)]
        text = tables.ranking(names, found[0]) if len(found) == 1 else tables.predictions(names, chosen, found.max(axis=1))
    output.result(text)
    return {"model": model, "file": file, "predictions": predictions}


def read_input(path: Path) -> "npt.NDArray[Any]":
    """Return the array in a file; its first bytes tell whether it is NPY, PNG or IDX, plain or gzip-compressed."""
    from fastmlp.data.gzipped import display_name, open_regular
    from fastmlp.data.known_formats import HEAD, described

    with open_regular(path) as file:
        try:
            start = file.read(HEAD)
        except OSError as error:
            raise DataError(f"{display_name(path)}: cannot be read: {error.strerror}") from error
    if start.startswith(b"\x93NUMPY"):
        from fastmlp.data.npy import read_npy

        return read_npy(path)
    if start.startswith(b"\x89PNG"):
        from fastmlp.data.pictures import read_picture

        return read_picture(path)
    if start.startswith((b"\0\0", b"\x1f\x8b")):
        from fastmlp.data.idx import read_idx

        return read_idx(path)
    raise DataError(f"{display_name(path)}: expected rows as NPY or IDX, or a picture as PNG; {described(str(path), start)}")
