"""Labels of classes, of any kind -> the class numbers 0…C-1 that everything behind the boundary knows them by.

Labels are whole numbers, truth values or texts, all of one kind. The classes of a network are an array (C,) of labels, the label of output
k at place k; arange(C) where labels are class numbers already.
"""

import decimal
import fractions
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastmlp.errors import ConfigError, DataError
from fastmlp.network.arrays import as_array, as_numbers, check_range, names_classes
from fastmlp.network.layers import is_utf8

KINDS = "biuUO"  # of NumPy, that labels may have
TO_TEXT = "make texts of them, {}.astype(str)"
MOST_NAMED = 6
MISSING = ("NoneType", "NAType", "NaTType")


def of_training(y: Any, known: np.ndarray | None, output: str, n_outputs: int, class_names: tuple[str, ...] | None) -> tuple[Any, Any]:
    """Return y with class numbers in place of labels, and the classes (C,) of a network that is trained on it; None where there are none.

    known: the classes that the network has; None: they are found in y. Whole numbers from 0 to C - 1 are class numbers, whether or not all
    of them occur; of other labels as many as C have to occur, and class k is the k-th in sorted order, or that of the k-th name. Raises
    DataError for anything else.
    """
    if not are_classes(y, output, n_outputs):
        return y, known
    numbers = _one_hot(y, output, n_outputs, "y")
    if numbers is not None:
        return numbers, np.arange(n_outputs) if known is None else known
    labels = as_labels(y, "y")
    classes = _found(labels, output, n_outputs, class_names) if known is None else known
    return _numbers(labels, classes, _count(n_outputs), "y"), classes


def in_numbers(y: Any, known: np.ndarray | None, output: str, n_outputs: int, name: str = "y") -> Any:
    """Return y with class numbers in place of the labels that a network knows; known: None where these are class numbers already.

    Raises DataError for labels that it does not know, naming them.
    """
    if not are_classes(y, output, n_outputs):
        return y
    numbers = _one_hot(y, output, n_outputs, name)
    return _numbers(as_labels(y, name), known, _count(n_outputs), name) if numbers is None else numbers


def are_classes(y: Any, output: str, n_outputs: int) -> bool:
    """Return whether y names one class per row, by the outputs of the network and the shape of y."""
    try:
        return output != "identity" and (n_outputs == 1 or names_classes(y, output, n_outputs))
    except Exception:  # rows of different lengths, tensors on a GPU: as_target says what is wrong
        return False


def is_plain(classes: np.ndarray) -> bool:
    """Return whether labels are the class numbers themselves."""
    return classes.dtype == np.int64 and np.array_equal(classes, np.arange(classes.size))


def checked_classes(values: Any, output: str, n_outputs: int) -> np.ndarray:
    """Return the classes (C,) of a network as they are given, read-only; ConfigError where they are not one label for each class."""
    count = _count(n_outputs)
    if output == "identity":
        raise ConfigError("classes: expected none of a network that predicts numbers, got some")
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ConfigError(f"classes: expected {count} labels, one per class, got {values!r:.60}")
    try:
        labels = as_labels(values if hasattr(values, "__len__") else list(values), "classes")
    except DataError as error:
        raise ConfigError(str(error)) from None
    if labels.shape != (count,):
        raise ConfigError(f"classes: expected {count} labels, one per class, got shape {labels.shape}")
    if len(set(labels.tolist())) < count:
        raise ConfigError(f"classes: expected {count} different labels, got {shown(labels)}")
    return _kept(labels)


def number_of(label: Any, classes: np.ndarray) -> int | None:
    """Return the class number of one label, None where there is no such class."""
    try:
        labels = as_labels([label], "label")
        return int(_numbers(labels, classes, classes.size, "label")[0])
    except DataError:
        return None


def _count(n_outputs: int) -> int:
    return max(n_outputs, 2)  # one sigmoid output tells two classes apart


# --- labels --------------------------------------------------------------------------------------------------------------


def as_labels(values: Any, name: str) -> np.ndarray:
    """Return labels as an array of whole numbers, truth values or texts (str or object), in their own shape, (n,) or (n, 1).

    Raises DataError, with the row, for missing ones, for those of two kinds, and for what is no label.
    """
    # NumPy would make one text of the number 1 and the text "1"
    array = np.array(values, object) if isinstance(values, (list, tuple)) else as_array(values, name)
    if array.ndim == 0 or array.shape[1:] not in ((), (1,)):
        raise DataError(f"{name}: expected labels (n,), got shape {array.shape}")
    if array.dtype.kind in "OT":
        array = _from_objects(array.astype(object), values, name)
    if array.dtype.kind == "f":
        array = _whole(array, name)
    if array.dtype.kind not in KINDS:
        raise DataError(f"{name}: expected labels that are numbers, truth values or texts, got {array.dtype}; {TO_TEXT.format(name)}")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"{name}: expected whole numbers that int64 can hold, got {array.max()} in row {array.argmax()}")
    return array


def _from_objects(array: np.ndarray, values: Any, name: str) -> np.ndarray:
    """Return labels that are Python objects: texts as they are, numbers and truth values as an array of them."""
    flat = array.ravel().tolist()
    kinds = {kind: _kind(kind) for kind in dict.fromkeys(map(type, flat))}
    may_miss = {kind for kind, letter in kinds.items() if letter == "f" or kind.__name__ in MISSING}
    for row, label in enumerate(flat if may_miss else ()):
        if type(label) in may_miss and (kinds[type(label)] is None or label != label):
            raise DataError(_missing(name, label, row))
    if unknown := next((kind for kind, letter in kinds.items() if letter is None), None):
        row = next(row for row, label in enumerate(flat) if type(label) is unknown)
        if isinstance(values, (list, tuple)) and hasattr(unknown, "__array__"):
            return as_numbers(values, name)
        found = f"{unknown.__name__} ({flat[row]!r:.40}) in row {row}"
        raise DataError(f"{name}: expected labels that are numbers, truth values or texts, got {found}; {TO_TEXT.format(name)}")
    letters = {"i" if letter == "f" else letter for letter in kinds.values()}
    if len(letters) > 1:
        first = {"i" if kinds[type(label)] == "f" else kinds[type(label)]: row for row, label in reversed(list(enumerate(flat)))}
        found = " and ".join(f"{flat[row]!r:.40} ({type(flat[row]).__name__}) in row {row}" for row in sorted(first.values()))
        raise DataError(f"{name}: expected labels of one kind, got {found}; make them alike, as numbers or as texts")
    if letters == {"U"} or not flat:
        return array if flat else array.astype(np.int64)
    try:
        return np.array(flat, bool if letters == {"b"} else np.float64 if "f" in kinds.values() else np.int64).reshape(array.shape)
    except OverflowError:
        raise DataError(f"{name}: expected whole numbers that int64 can hold, got {str(max(flat, key=abs)):.40}") from None


def _kind(kind: type) -> str | None:
    """Return what labels of a Python type are, by the letters of NumPy; None for what is no label."""
    if issubclass(kind, (bool, np.bool_)):
        return "b"
    if issubclass(kind, (int, np.integer)):
        return "i"
    if issubclass(kind, (float, np.floating, decimal.Decimal, fractions.Fraction)):
        return "f"
    return "U" if issubclass(kind, str) else None


def _missing(name: str, value: Any, row: int) -> str:
    return f"{name}: expected a label in each row, got a missing one ({value}) in row {row}; fill it, or leave the row out"


def _whole(array: np.ndarray, name: str) -> np.ndarray:
    """Return floats that are whole numbers as such."""
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
        wrong = ~np.isfinite(array) | (whole != array)
    if wrong.any():
        row = int(wrong.any(axis=1).argmax() if wrong.ndim == 2 else wrong.argmax())
        value = array.reshape(-1)[row]
        if np.isnan(value):
            raise DataError(_missing(name, value, row))
        raise DataError(f"{name}: expected labels that are whole numbers, got {value:g} in row {row}; for numbers use output='identity'")
    return whole


def _one_hot(y: Any, output: str, n_outputs: int, name: str) -> np.ndarray | None:
    """Return the class numbers of rows (n, C) that have one 1 each, for softmax; None where y is of another shape."""
    try:
        shape = np.shape(y)
    except Exception:  # as_labels says what is wrong
        return None
    if output != "softmax" or len(shape) != 2 or shape[1] == 1:
        return None
    if shape[1] != n_outputs:
        raise DataError(f"{name}: expected labels (n,), or one-hot rows (n, {n_outputs}), got shape {shape}")
    rows = as_numbers(y, name)
    wrong = ~(((rows == 0) | (rows == 1)).all(axis=1) & (rows.sum(axis=1) == 1))
    if wrong.any():
        row = int(wrong.argmax())
        found = " ".join(f"{value:g}" for value in rows[row, :MOST_NAMED].tolist()) + (" …" if n_outputs > MOST_NAMED else "")
        cure = "for numbers use output='identity'" if (rows < 0).any() or (rows > 1).any() else "give labels (n,)"
        raise DataError(f"{name}: expected one-hot rows, a single 1 among zeros, got {found} in row {row}; {cure}")
    numbers: np.ndarray = rows.argmax(axis=1)
    return numbers


# --- classes -------------------------------------------------------------------------------------------------------------


def _found(labels: np.ndarray, output: str, n_outputs: int, class_names: tuple[str, ...] | None) -> np.ndarray:
    """Return the classes that labels are of."""
    count, is_text = _count(n_outputs), labels.dtype.kind in "OU"
    if labels.dtype.kind in "iu" and (labels.size == 0 or (labels.min() >= 0 and labels.max() < count)):
        return np.arange(count)
    if is_text and class_names is not None and len(class_names) == count == len(set(class_names)):
        return np.array(class_names)  # in their order; labels that are none of them are refused as unknown
    found: list[Any] = sorted(set(labels.ravel().tolist()) | ({False, True} if labels.dtype.kind == "b" else set()))
    if len(found) != count:
        why = f"as many as the network has outputs ({n_outputs})" if n_outputs > 1 else f"as one {output} output tells apart"
        cure = f"make a Network with {len(found)} outputs" if len(found) > count else "if others may come, assign all to net.classes first"
        raise DataError(f"y: expected {count} classes, {why}, got {len(found)}: {shown(found)}; {cure}")
    return _kept(np.array(found, object if is_text else None))


def _kept(labels: np.ndarray) -> np.ndarray:
    """Return classes as networks keep them: int64, bool or str, read-only."""
    if labels.dtype.kind in "OU":
        classes = np.array(labels.tolist(), str)
        if classes.tolist() != labels.tolist():
            raise DataError("y: expected texts that do not end in a NUL character, got some that do")
        if not is_utf8(labels.tolist()):
            raise DataError("y: expected texts that UTF-8 can write, got some that it cannot")
    else:
        classes = labels.astype(bool if labels.dtype.kind == "b" else np.int64)
    classes.flags.writeable = False
    return classes


def _numbers(labels: np.ndarray, classes: np.ndarray | None, n_classes: int, name: str) -> np.ndarray:
    """Return the class number of each label, in their shape; classes None, or plain: class numbers as they came."""
    is_text = labels.dtype.kind in "OU"
    if classes is not None and is_plain(classes):
        classes = None
    if classes is None and not is_text:
        check_range(labels, n_classes, name)
        return labels
    if classes is not None and is_text == (classes.dtype.kind == "U"):
        known = {label: number for number, label in enumerate(classes.tolist())}
        given = labels.ravel().tolist()
        numbers = np.fromiter((known.get(label, -1) for label in given), np.int64, len(given))
    else:
        numbers = np.full(labels.size, -1)
    if (unknown := numbers < 0).any():
        row = int(unknown.argmax())
        strange = list(dict.fromkeys(labels.ravel()[unknown].tolist()))
        got = f"which the network knows, got {shown(strange)}, first in row {row}"
        if classes is None:
            raise DataError(
                f"{name}: expected class numbers from 0 to {n_classes - 1}, {got}; assign labels to net.classes, or train on them"
            )
        raise DataError(f"{name}: expected the labels {shown(classes)}, {got}")
    return numbers.reshape(labels.shape)


def shown(labels: Any) -> str:
    """Return labels in words, the first and the last of many."""
    return listed([f"{label!r:.40}" for label in (labels.tolist() if isinstance(labels, np.ndarray) else labels)])


def listed(texts: list[str]) -> str:
    """Return texts as a list in a sentence, the first and the last of many."""
    if len(texts) > MOST_NAMED:
        return f"{', '.join(texts[: MOST_NAMED - 1])}, …, {texts[-1]}"
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else "".join(texts)
