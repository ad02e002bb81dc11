"""`fastmlp predict`: the predictions of a trained network for the rows of a table or a file of arrays, or for a picture."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from fastmlp.cli import tables as of_tables
from fastmlp.cli.options import ModelFile, compile_notes, model_file
from fastmlp.errors import ConfigError, DataError, warn
from fastmlp.quantities import percent
from fastmlp.rendering import tables
from fastmlp.rendering.output import Output
from fastmlp.rendering.tables import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastmlp.network import Network

EXAMPLES = (
    "fastmlp predict digits.safetensors picture.png",
    "fastmlp predict digits.safetensors rows.npy --json",
    "fastmlp predict digits.safetensors t10k-images-idx3-ubyte.gz",
    "fastmlp predict model.safetensors new.csv --out predictions.csv",
)
MOST_SHOWN = 20  # rows of a table; all of them go into a file
# Fewer rows than these take kernels of their own, which are faster for them and have to be compiled, for seconds: what a training and an
# evaluation have compiled gives the same bits.
FEW = 16
STDOUT = Path("-")
DOUBTFUL = 0.6  # a probability of the best class below which a picture is warned of
HALF = 0.5  # the probability above which a label is 1
IDX = b"\0\0"


def predict(
    output: Output,
    model: ModelFile,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a table, rows as NPY or IDX, or the picture of one digit as PNG or JPEG")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write all predictions: .csv, .jsonl or .parquet, or - for CSV on standard output")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="a column of the table to show beside predictions; repeat for more")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="print a picture as the network gets it, too")] = False,
    header: of_tables.Header = None,
    delimiter: of_tables.Delimiter = None,
    decimal: of_tables.Decimal = None,
) -> dict[str, Any]:
    """Print the class of each row of a file, or of a picture.

    Of a table, columns are found by their names; categories that were not seen in training, and missing values, are no error. With --out
    a file gets a row for each row, in their order: what is kept, the prediction, the probability of each class.

    A picture may have any size, dark on bright or bright on dark; it is preprocessed like those of MNIST: a frame, dust and a shadow on the
    paper are no ink. Needs the extra images.
    """
    from fastmlp.network import Network

    network = Network.load(model_file(model))
    check_out(output, out, file, model)
    how = of_tables.How(header, delimiter, decimal)
    table = None if holds_array(network, file) else of_tables.read(str(file), network, how, output.note)
    for name, value in {"keep": keep or None, **how._asdict()}.items():
        if table is None and value is not None:
            raise typer.BadParameter("expected none, as the file is no table, got one", param_hint=f"--{name}")
    kept = {} if table is None else kept_of(network, table, keep or [])
    x = (
        read_input(file)
        if table is None
        else network.encoded(table)
        if network.columns is not None
        else of_tables.numbers_of(network, table, str(file))
    )
    is_picture = table is None and is_of_picture(file)
    if show and not is_picture:
        raise typer.BadParameter("expected none, as the file is no picture, got one", param_hint="--show")
    with compile_notes(output):
        found = predicted(network, x)
    if is_picture and found.chosen is not None and (best := float(found.values.max())) < DOUBTFUL:
        of_class = f"{percent(best)} for {found.names[found.chosen[0]]}"
        warn(f"{file}: expected a picture in which one class stands out, got {of_class} as the best; see what the network gets with --show")
    if show:
        output.result(tables.picture(x) + "\n")
    if out is None:
        output.result(shown(found, MOST_SHOWN if table is not None else None))
        if table is not None and len(found.predictions) > MOST_SHOWN:
            output.note(f"and {counted(len(found.predictions) - MOST_SHOWN, 'more row')}; all of them: --out predictions.csv")
    else:
        if both := kept.keys() & found.columns.keys():
            raise ConfigError(f"keep: expected other names than those of predictions, got {min(both)!r}; rename the column")
        of_tables.write(out, {**kept, **found.columns})
        if out != STDOUT:
            output.result(f"{counted(len(found.predictions), 'prediction')} in {out}")
    return {"model": model, "file": file, "out": out, "predictions": found.predictions}


class Predicted(NamedTuple):
    """What a network predicts of n rows."""

    predictions: list[dict[str, Any]]  # for --json
    columns: dict[str, Any]  # for a file, each (n,)
    names: tuple[str, ...]  # of the outputs
    values: "npt.NDArray[Any]"  # (n, N): numbers, or probabilities
    chosen: list[int] | None  # the classes, where each row has one
    are_numbers: bool


def predicted(network: "Network", x: Any) -> Predicted:
    """Return what a network predicts of rows."""
    import numpy as np

    from fastmlp.network.arrays import is_single

    x = np.asarray(x).reshape(1, -1) if is_single(x, network.n_inputs) else np.asarray(x)
    n = len(x)
    if 0 < n < FEW:
        x = np.concatenate([x, np.repeat(x[-1:], FEW - n, axis=0)])
    names = network.class_names or tuple(map(str, range(network.n_outputs)))
    labels = list(range(network.n_outputs)) if network.classes is None else network.classes.tolist()
    if network.output == "identity":
        values = np.asarray(network.predict(x))[:n].reshape(-1, network.n_outputs)
        several = [f"prediction_{name}" for name in names] if network.n_outputs > 1 else ["prediction"]
        columns = dict(zip(several, values.T, strict=True))
        return Predicted([{"values": each} for each in values], columns, names, values, None, True)
    found = np.asarray(network.predict_proba(x))[:n].reshape(-1, network.n_outputs)
    if not network.predicts_classes and network.classes is None:
        chosen_labels = {f"prediction_{name}": (each > HALF).astype(np.int64) for name, each in zip(names, found.T, strict=True)}
        columns = {**chosen_labels, **{f"probability_{name}": each for name, each in zip(names, found.T, strict=True)}}
        predictions = [{"labels": probabilities > HALF, "probabilities": probabilities} for probabilities in found]
        return Predicted(predictions, columns, names, found, None, False)
    if network.n_outputs == 1:  # the probability of the second of two classes
        found, names = np.hstack([1 - found, found]), tuple(map(str, labels))
    chosen = found.argmax(axis=1).tolist()
    predictions = [{"class": c, "label": labels[c], "name": names[c], "probabilities": p} for c, p in zip(chosen, found, strict=True)]
    of_classes = {f"probability_{name}": each for name, each in zip(names, found.T, strict=True)}
    return Predicted(predictions, {"prediction": [labels[c] for c in chosen], **of_classes}, names, found, chosen, False)


def shown(found: Predicted, most: int | None) -> str:
    """Return predictions as a table, those of the first rows where there are more than `most`."""
    values = found.values[:most]
    names = ("prediction",) if found.are_numbers and len(found.names) == 1 else found.names
    if found.chosen is None:
        return tables.numbered_rows(names, values, tables.number if found.are_numbers else percent)
    if len(found.values) == 1:
        return tables.ranking(names, values[0])
    return tables.predictions(names, found.chosen[:most], values.max(axis=1))


def check_out(output: Output, out: Path | None, *inputs: Path) -> None:
    """Raise typer.BadParameter for a file of a kind that is not written, OutputError for one that cannot be, or is one of the inputs."""
    if out is None:
        return
    if out == STDOUT:
        if output.json:
            raise typer.BadParameter("expected a file beside --json, which has standard output for itself, got -", param_hint="--out")
        return
    if out.suffix.lower() not in of_tables.WRITTEN:
        raise typer.BadParameter(f"expected a name that ends in {', '.join(of_tables.WRITTEN)}, got {str(out)!r}", param_hint="--out")
    from fastmlp.storage.atomic import check_creatable

    check_creatable(out, inputs)


def kept_of(network: "Network", table: Any, keep: list[str]) -> dict[str, Any]:
    """Return the columns of a table that are shown beside predictions: those that are asked for, and those that the network knows of."""
    from fastmlp.preprocessing.columns import check_names

    check_names(keep, table.columns)
    known = () if network.columns is None else network.columns.keep
    return {name: table[name] for name in dict.fromkeys([*known, *keep]) if name in table.columns}


def holds_array(network: "Network", path: Path) -> bool:
    """Return whether a file is to be read as an array of rows, or a picture, rather than as a table; its first bytes tell."""
    from fastmlp.data.gzipped import open_stream
    from fastmlp.data.known_formats import HEAD, NPY, PNG, recognise

    if network.columns is not None or path == STDOUT or os.path.isdir(path):
        return network.columns is None and path != STDOUT
    with open_stream(path) as stream:
        start = bytes(stream.read(HEAD))
    found = recognise(path.name.removesuffix(".gz"), start)
    return start.startswith((NPY, PNG, IDX)) or found is None or found.name not in of_tables.READ


def is_of_picture(path: Path) -> bool:
    """Return whether a file holds a picture that `read_input` reads."""
    from fastmlp.data.gzipped import open_regular
    from fastmlp.data.known_formats import JPEG, PNG

    with open_regular(path) as file:
        return bytes(file.read(len(PNG))).startswith((PNG, JPEG))


def read_input(path: Path) -> "npt.NDArray[Any]":
    """Return the array in a file; its first bytes tell whether it is NPY, PNG, JPEG or IDX, plain or gzip-compressed."""
    from fastmlp.data.gzipped import display_name, open_regular
    from fastmlp.data.known_formats import GZIP, HEAD, JPEG, NPY, PNG, described

    with open_regular(path) as file:
        try:
            start = file.read(HEAD)
        except OSError as error:
            raise DataError(f"{display_name(path)}: cannot be read: {error.strerror}") from error
    if start.startswith(NPY):
        from fastmlp.data.npy import read_npy

        return read_npy(path)
    if start.startswith((PNG, JPEG)):
        from fastmlp.data.pictures import read_picture

        return read_picture(path)
    if start.startswith((IDX, GZIP)):
        from fastmlp.data.idx import read_idx

        return read_idx(path)
    known = described(str(path), start)
    raise DataError(f"{display_name(path)}: expected a table, rows as NPY or IDX, or a picture as PNG or JPEG; {known}")
