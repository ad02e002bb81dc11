"""Labels of classes as scikit-learn's classifiers take them <-> the numbers that a network is trained on."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from fastmlp.errors import ConfigError, DataError


class Labels(NamedTuple):
    """The labels (C,) of the classes in sorted order, or of several labels per row their numbers."""

    classes: np.ndarray
    is_multilabel: bool

    def numbers(self, y: np.ndarray) -> np.ndarray:
        """Return targets (n, T): class numbers (n, 1), or 0 and 1 (n, L). y: checked by `as_labels`. DataError for unknown classes."""
        if self.is_multilabel:
            if y.ndim != 2 or y.shape[1] != self.classes.size:
                raise DataError(f"y: expected labels (n, {self.classes.size}), as many as before, got shape {y.shape}")
            return np.asarray(y != 0, np.float64)
        if y.ndim != 1:
            raise DataError(f"y: expected labels (n,), got shape {y.shape}")
        places = np.searchsorted(self.classes, y)
        np.minimum(places, self.classes.size - 1, out=places)
        unknown = self.classes[places] != y
        if unknown.any():
            strange = np.unique(y[unknown])
            raise DataError(f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. 'y' has {strange}.")
        return places.astype(np.min_scalar_type(self.classes.size))[:, None]


def as_labels(y: Any) -> np.ndarray:
    """Return labels (n,), or rows (n, L) of 0 and 1; ValueError for what no classifier takes."""
    kind = type_of_target(y, input_name="y")
    if kind not in ("binary", "multiclass"):
        check_classification_targets(y)
    if kind == "multilabel-indicator":
        return np.asarray(y.toarray() if hasattr(y, "toarray") else y)
    if kind == "multiclass-multioutput":
        raise DataError(
            "y: expected one class per row, or rows of 0 and 1; Multioutput target data is not supported, got several classes per row"
        )
    column: np.ndarray = column_or_1d(y, warn=True)
    return column


def found_in(y: np.ndarray) -> Labels:
    """Return the labels that occur in y, checked by `as_labels`."""
    return Labels(np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y), y.ndim == 2)


def weights(class_weight: Any, y: np.ndarray, labels: Labels) -> np.ndarray | None:
    """Return what the class of each row counts, (n,); None where all count alike."""
    if class_weight is None:
        return None
    if labels.is_multilabel:
        raise ConfigError("class_weight: expected none with several labels per row, got one; use sample_weight")
    of_rows: np.ndarray = compute_sample_weight(class_weight, y)
    return of_rows
