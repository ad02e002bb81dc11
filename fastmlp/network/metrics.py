"""What networks are judged by besides their loss: the metrics of classes and of numbers. Arrays in, numbers out."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fastmlp.network.outputs import probabilities
from fastmlp.reproducible import exp, log


class Judged:
    """Rows of two classes or more as metrics take them: their classes (n,), outputs z (n, C) and probabilities (n, C), weights (n,)."""

    def __init__(self, true: np.ndarray, z: np.ndarray, found: np.ndarray, weight: np.ndarray) -> None:
        there = weight > 0  # the others count as if they were not there
        self.true, self.z, self.probabilities, self.weight = true[there], z[there], found[there], weight[there]
        self.predicted = self.probabilities.argmax(axis=1)
        self.present = np.unique(self.true)
        # of two classes F1 and AUC are those of the second
        self.judged = [1] if z.shape[1] == 2 else np.union1d(self.present, self.predicted).tolist()


def of_classes(
    names: Sequence[str], output: str, z: np.ndarray, target: np.ndarray, weight: np.ndarray | None, one_hot: bool
) -> dict[str, float | None]:
    """Return metrics of outputs z (n, N) for targets (n, T), each row counting `weight` (n,) rows, None: one.

    Of two classes F1 and AUC are those of the second; of more they are means over classes, each against the rest, as macro averages are.
    Of several labels per row each metric is the mean over those that have it. one_hot: targets of sigmoid outputs are one-hot rows, of one
    class each. None stands for what the rows cannot tell, such as the AUC of a single class.
    """
    weight = np.ones(z.shape[0]) if weight is None else weight.astype(np.float64)
    z = z.astype(np.float64)
    found = probabilities(output, z).astype(np.float32)  # as predict_proba gives them: what is equal there is so here
    if output == "softmax":
        judged = [Judged(target[:, 0].astype(np.int64), z, found, weight)]
    elif one_hot and z.shape[1] > 1:
        judged = [Judged(target.argmax(axis=1), z, found, weight)]
    else:
        judged = [_of_label(*columns, weight) for columns in zip(z.T, found.T, target.T, strict=True)]
    means = {}
    values: list[float | None]
    for name in names:
        if name == "log_loss" and one_hot and output == "sigmoid":  # whose probabilities do not add up to one
            values = [log_loss(_of_label(*columns, weight)) for columns in zip(z.T, found.T, target.T, strict=True)]
        else:
            values = [OF_CLASSES[name](each) for each in judged]
        known = [value for value in values if value is not None]
        means[name] = float(np.mean(known)) if known else None
    return means


def _of_label(z: np.ndarray, found: np.ndarray, target: np.ndarray, weight: np.ndarray) -> Judged:
    """Return yes or no as two classes: softmax of (0, z) is sigmoid(z)."""
    both = np.stack([np.zeros_like(z), z], axis=1)
    return Judged(target.astype(np.int64), both, np.stack([1 - found, found], axis=1), weight)


def accuracy(rows: Judged) -> float:
    """Return the share of rows whose class is predicted."""
    return float(np.average(rows.true == rows.predicted, weights=rows.weight))


def balanced_accuracy(rows: Judged) -> float:
    """Return the mean over the classes that are there of the share of their rows that is found."""
    found = [np.average(rows.predicted[rows.true == each] == each, weights=rows.weight[rows.true == each]) for each in rows.present]
    return float(np.mean(found))


def auc(rows: Judged) -> float | None:
    """Return the area under the ROC curve."""
    found = [auc_of(rows.true == each, rows.probabilities[:, each], rows.weight) for each in rows.judged]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def auc_of(is_class: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float | None:
    """Return the probability that a row of the class has a larger score than another, equal ones count half; None without either kind.

    is_class (n,) bool, score (n,), weight (n,). After Hanley and McNeil 1982, with weights.
    """
    _, place = np.unique(score, return_inverse=True)
    positive, negative = (np.bincount(place, weight * kind) for kind in (is_class, ~is_class))
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs > 0 else None


def f1(rows: Judged) -> float:
    """Return the harmonic mean of precision and recall, 0 where no row is of the class and none is predicted to be."""
    found = []
    for each in rows.judged:
        is_class, is_predicted = rows.true == each, rows.predicted == each
        either = rows.weight[is_class].sum() + rows.weight[is_predicted].sum()
        found.append(2 * rows.weight[is_class & is_predicted].sum() / either if either else 0.0)
    return float(np.mean(found))


def log_loss(rows: Judged) -> float:
    """Return the mean of -log p of the class that is right, from the outputs: no probability is cut off at the smallest number."""
    z = rows.z - rows.z.max(axis=1, keepdims=True)
    surprise = log(exp(z).sum(axis=1)) - np.take_along_axis(z, rows.true[:, None], axis=1)[:, 0]
    return float(np.average(surprise, weights=rows.weight))


OF_CLASSES: Mapping[str, Callable[[Judged], float | None]] = {
    "accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "auc": auc, "f1": f1, "log_loss": log_loss,
}  # fmt: skip


def pinball(values: np.ndarray, y: np.ndarray, weight: np.ndarray | None, quantile: float) -> float:
    """Return the mean pinball loss of predictions (n, T) of y (n, T) at a quantile, the plain mean over the outputs.

    Koenker and Bassett 1978, "Regression quantiles": quantile * e of an error e = y - prediction above 0, (quantile - 1) * e below.
    """
    error = y.astype(np.float64) - values
    return float(np.average(np.maximum(quantile * error, (quantile - 1) * error), axis=0, weights=weight).mean())
