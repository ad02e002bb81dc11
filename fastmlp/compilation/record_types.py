"""Records of numbers, as compiled code and Python read them alike: `layer.n_in`."""

import functools
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np


def record(whole: str, real: str = "") -> np.dtype[Any]:
    """Return the type of a record with fields of whole numbers and of real ones: `layer.n_in`, in compiled code and in Python."""
    fields = [(name, np.int64) for name in whole.split()] + [(name, np.float64) for name in real.split()]
    return np.dtype((np.record, np.dtype(fields, align=True)))


@functools.cache
def record_type(kind: np.dtype[Any]) -> Any:
    """Return how compiled code types a record."""
    return numba.from_dtype(kind)


def filled(kind: np.dtype[Any], rows: Sequence[Any]) -> np.ndarray:
    """Return records of a kind from the fields of each, {name: number}, or from lists of these; fields that are not told are 0."""
    blank = dict.fromkeys(kind.names or (), 0)

    def numbers(row: Any) -> Any:
        return tuple((blank | row).values()) if isinstance(row, dict) else [numbers(each) for each in row]

    return np.array(numbers(rows), kind)
