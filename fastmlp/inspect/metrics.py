"""What classifiers are judged by besides accuracy and loss. Arrays in, numbers out."""

from typing import Any

import numpy as np

from fastmlp.network import Network

SCORES = ("balanced_accuracy", "auc", "f1")


def scores_of(network: Network, x: Any, y: Any) -> dict[str, float | None]:
    """Return the SCORES of a network that predicts one class per row, on rows x with labels y; none of another network.

    Of two classes AUC and F1 are those of the second; of more they are means over classes, each against the rest, as macro averages are.
    """
    if not network.predicts_classes and not (network.output == "sigmoid" and network.n_outputs == 1 and network.known_classes is not None):
        return {}
    found = np.asarray(network.predict_proba(x), np.float64).reshape(len(x), -1)
    probabilities = np.hstack([1.0 - found, found]) if found.shape[1] == 1 else found
    return of_classes(np.asarray(network.class_numbers(y)).reshape(-1).astype(np.int64), probabilities)


def of_classes(true: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
    """Return the SCORES of probabilities (n, C) for rows of the classes true (n,); None for what rows of a single class cannot tell."""
    predicted, present = probabilities.argmax(axis=1), np.unique(true)
    recall = [float((predicted[true == each] == each).mean()) for each in present]
    judged = (1,) if probabilities.shape[1] == 2 else [int(each) for each in np.union1d(present, predicted)]
    aucs = [auc(true == each, probabilities[:, each]) for each in judged]
    known = [each for each in aucs if each is not None]
    return {
        "balanced_accuracy": float(np.mean(recall)),
        "auc": float(np.mean(known)) if known else None,
        "f1": float(np.mean([f1(true == each, predicted == each) for each in judged])),
    }


def auc(is_class: np.ndarray, score: np.ndarray) -> float | None:
    """Return the probability that a row of the class has a larger score than another, equal ones count half; None without either kind.

    is_class (n,) bool, score (n,). From the ranks of the scores (Hanley and McNeil 1982).
    """
    positives = int(is_class.sum())
    negatives = is_class.size - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]
    return float((ranks[is_class].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def f1(is_class: np.ndarray, is_predicted: np.ndarray) -> float:
    """Return the harmonic mean of precision and recall, 0 where no row is of the class and none is predicted to be."""
    both, either = int((is_class & is_predicted).sum()), int(is_class.sum() + is_predicted.sum())
    return 2 * both / either if either else 0.0
