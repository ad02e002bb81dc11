"""What an implementation hands to the process that times it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Unavailable(Exception):
    """This configuration cannot run on this machine; the message says what it needs."""


class Training(NamedTuple):
    """A network under training: `epoch(order)` takes every step over the rows in that order (rows,) and is what is timed.

    It returns when the work is done, not when it is queued. `parameters()` gives the flat vector W0, b0, W1, b1, … as it then is.
    """

    epoch: Callable[[np.ndarray], None]
    parameters: Callable[[], np.ndarray]


class Gradient(NamedTuple):
    """The gradient of the mean loss over all rows: `call()` is what is timed, `as_vector` makes its result one flat vector (P,)."""

    call: Callable[[], Any]
    as_vector: Callable[[Any], np.ndarray]


class Prediction(NamedTuple):
    """The class of one row: `repeat(row, count)` predicts it so often and returns it; that is what is timed.

    `form` turns a float32 row (K,) into what the implementation likes best to be given.
    """

    repeat: Callable[[Any, int], int]
    form: Callable[[np.ndarray], Any]


class Repeated(NamedTuple):
    """One operation of a single layer: `repeat(count)` does it so often and is what is timed.

    `answer()` gives what came of it as one flat vector: outputs, deltas, or by how much the parameters have changed.
    """

    repeat: Callable[[int], Any]
    answer: Callable[[], np.ndarray]


class Course(NamedTuple):
    """A whole training with a learning rate for each step, that can begin again.

    `start(parameters)` begins it with a flat vector (P,); `show(x)` gives the rows (n, K), bytes, that come next, in the form that the
    implementation likes best; neither is timed. `epoch(order, rates)` takes every step over the rows in that order (n,), at the rates
    (steps,), and is what is timed. `parameters()` gives the flat vector as it then is.
    """

    start: Callable[[np.ndarray], None]
    show: Callable[[np.ndarray], None]
    epoch: Callable[[np.ndarray, np.ndarray], None]
    parameters: Callable[[], np.ndarray]


Runner = Training | Gradient | Prediction | Repeated


def called_often(call: Callable[[], Any]) -> Callable[[int], Any]:
    """Return `repeat` for an operation that is called from Python."""

    def repeat(count: int) -> None:
        for _ in range(count):
            call()

    return repeat


def from_python(predict: Callable[[Any], int]) -> Callable[[Any, int], int]:
    """Return `repeat` for a prediction that is called from Python, once per row."""

    def repeat(row: Any, count: int) -> int:
        for _ in range(count - 1):
            predict(row)
        return predict(row)

    return repeat
