"""Look into a trained network: what it confuses, where it is sure and wrong, what its first layer sees, where its decision boundary is.

Arrays in, records out; draws and prints nothing.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastmlp.data.dataset import Dataset
from fastmlp.data.synthetic import MATRIX, THRESHOLD
from fastmlp.errors import DataError
from fastmlp.network import Network
from fastmlp.training.holdout import Rows

Array = npt.NDArray[np.generic]

MOST_MISTAKES = 12
GRID_POINTS = 121  # along each axis of the plane


class Examples(NamedTuple):
    """Some rows, n of them, and what a network made of each."""

    images: Array  # (n, height, width)
    numbers: list[int]  # row numbers among those evaluated
    truth: list[int]
    predicted: list[int]
    probability: list[float]  # of the predicted class


class Boundary(NamedTuple):
    """What a network of two inputs makes of the plane."""

    x: Array  # (n, 2) points
    y: Array  # (n,) their classes, 0 or 1
    first: Array  # (A,)
    second: Array  # (B,)
    probability: Array  # (B, A) of class 1
    truth: Array | None  # (B, A) above 0 where class 1 is right; None where that is not known


class Insight(NamedTuple):
    """A network looked into, on rows of its data set. None for what does not apply to its kind of data or output."""

    rows: str  # which rows: "validation rows", "test rows"
    class_names: tuple[str, ...]
    class_counts: dict[str, list[int]]  # "training" -> rows per class
    confusion: Array | None  # (C, C), true classes in rows
    surest: Examples | None  # mistakes with the largest probability for the wrong class, largest first
    worst: Examples | None  # per class, in order, the mistake with the smallest probability for the right one
    weight: Array | None  # (K, N) of the first layer, where the inputs are pixels
    image_shape: tuple[int, int] | None
    boundary: Boundary | None


def look_into(network: Network, data: Dataset, split: Rows) -> Insight:
    """Look into a network on the rows that were held out when it was trained, or on the test rows where none were.

    `split` says which training rows it has seen, and which it has not. Raises DataError where network and data do not fit
    together, or the classes are not single ones.
    """
    n_inputs = int(np.prod(data.x_train.shape[1:]))
    if not network.predicts_classes or data.target_kind != "classes":
        raise DataError(f"expected a network that tells classes apart, and data of single classes, got output {network.output}")
    names = data.class_names or network.class_names or tuple(map(str, range(network.n_outputs)))
    if (network.n_inputs, network.n_outputs) != (n_inputs, len(names)):
        raise DataError(
            f"expected a network of {n_inputs} inputs and {len(names)} classes for {data.name}, "
            f"got one of {network.n_inputs} and {network.n_outputs}"
        )
    y_train = network.class_numbers(data.y_train, "y_train")
    if split.held_out.size:
        x, y, rows = data.x_train[split.held_out], y_train[split.held_out], "validation rows"
    else:
        x, y, rows = data.x_test, network.class_numbers(data.y_test, "y_test"), "test rows"
    probabilities = np.asarray(network.predict_proba(x))
    predicted = probabilities.argmax(axis=1)
    classes = len(names)
    counts = {"training": _counts(y_train[split.train], classes), rows.split()[0]: _counts(y, classes)}
    is_image = data.kind == "image"
    surest, worst = _mistakes(x, y, predicted, probabilities) if is_image else (None, None)
    return Insight(
        rows=rows,
        class_names=names,
        class_counts=counts,
        confusion=np.bincount(y.astype(np.int64) * classes + predicted, minlength=classes * classes).reshape(classes, classes),
        surest=surest,
        worst=worst,
        weight=network.weights[0] if is_image else None,
        image_shape=data.image_shape,
        boundary=_boundary(network, data, y_train, split) if n_inputs == classes == 2 else None,
    )


def _counts(y: Array, classes: int) -> list[int]:
    return [int(count) for count in np.bincount(y.astype(np.int64), minlength=classes)]


def _mistakes(x: Array, y: Array, predicted: npt.NDArray[np.intp], probabilities: npt.NDArray[np.floating]) -> tuple[Examples, Examples]:
    """Return the surest mistakes, and the worst one of each class; equal ones in the order of the rows."""
    wrong = np.flatnonzero(predicted != y)
    surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:MOST_MISTAKES]
    of_truth = probabilities[wrong, y[wrong].astype(np.int64)]
    by_class = [wrong[y[wrong] == each] for each in np.unique(y[wrong])]
    chosen = [rows[of_truth[np.searchsorted(wrong, rows)].argmin()] for rows in by_class]

    def examples(rows: npt.NDArray[np.intp]) -> Examples:
        sure = [float(value) for value in probabilities[rows, predicted[rows]]]
        return Examples(x[rows], [int(row) for row in rows], [int(each) for each in y[rows]], [int(each) for each in predicted[rows]], sure)

    return examples(surest), examples(np.array(chosen, np.intp))


def _boundary(network: Network, data: Dataset, y_train: Array, split: Rows) -> Boundary:
    """Return what the network makes of the part of the plane where 99.8 % of the points lie, along each axis."""
    x = data.x_train[split.train]
    low, high = np.quantile(x, (0.001, 0.999), axis=0)
    first, second = (np.linspace(low[axis], high[axis], GRID_POINTS, dtype=np.float32) for axis in (0, 1))
    plane = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    probability = np.asarray(network.predict_proba(plane))[:, 1].reshape(GRID_POINTS, GRID_POINTS)
    truth = ellipse(plane).reshape(probability.shape) if data.name == "synthetic" else None
    return Boundary(x, y_train[split.train], first, second, probability, truth)


def ellipse(x: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return xᵀ A x − 0.6 of points (n, 2) -> (n,): above 0 in class 1 of the synthetic data set."""
    (a, b), (c, d) = MATRIX
    first, second = x[:, 0].astype(np.float64), x[:, 1].astype(np.float64)
    return np.asarray(a * first * first + (b + c) * first * second + d * second * second - THRESHOLD)
