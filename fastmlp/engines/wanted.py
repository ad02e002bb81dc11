"""What is asked of an engine: a network with all that its training needs, a run of steps, rows to predict."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp.kernels.regularisation import NOTHING, Regularisation
from fastmlp.kernels.textbook_step import TOTALS
from fastmlp.kernels.updates import Rates

# What a loss has besides where it has nothing: see textbook.py.
NO_NUMBERS = np.zeros(1)
NO_LOG = np.empty((0, TOTALS + 1))
EMPTY = {np.dtype(dtype): np.empty(0, dtype) for dtype in (np.float32, np.float64)}


class Steps(NamedTuple):
    """A run of steps: what is trained, on which rows, at which rates."""

    parameters: np.ndarray  # (P,), updated in place, as are the two states of the optimizer, (P,) or (0,), and the totals
    m_state: np.ndarray
    v_state: np.ndarray
    total: np.ndarray  # (TOTALS,), added to
    x: np.ndarray  # (rows, K) bytes or floats
    target: np.ndarray  # (rows, T)
    sample_weight: np.ndarray | None  # (rows,); None or (0,) for ones
    order: np.ndarray  # (n,) row numbers
    first: int  # the run takes the batches of order[first:last]
    last: int
    batch_size: int
    scale: np.ndarray  # (K,): an input is x * scale + shift
    shift: np.ndarray
    # (steps, RATES): updates.Rates, step by step, of which the last holds for all steps after it; or (steps, 2 RATES): those of weights,
    # then those of biases and scales, for rules that keep a state and limit no gradient
    rates: np.ndarray
    mean: bool  # whether the gradient of a batch is divided by its rows
    loss_numbers: np.ndarray = NO_NUMBERS  # (1,), or (1 + 4 N,) for standardised targets: see textbook.py
    average: np.ndarray | None = None  # (P,) of the parameters over the steps, updated in place by programs that average
    first_step: int = 0  # how many steps of the training were taken before: random numbers depend on it
    running_stats: np.ndarray | None = None  # (S,) running means and variances of batch normalisation, updated in place
    # Of the tiled engine: (epochs, TOTALS + 1), for as many epochs as end in the run: for each its totals, after which they begin at 0
    # again, and the sum of the squares of the weights. An epoch ends after `epoch_rows` rows of the order, in a batch that may be shorter.
    log: np.ndarray = NO_LOG
    epoch_rows: int = 0
    goes_on: bool = False  # whether parameters, states and statistics are what the last run of the same program has left there

    def for_kernels(self, m_state: np.ndarray, v_state: np.ndarray, averages: bool = False) -> "Steps":
        """Return the same run as compiled code takes it, with these states: what there is none of is (0,). averages: whether they do."""
        s, empty = self, EMPTY[self.parameters.dtype]
        weight = empty if s.sample_weight is None else s.sample_weight
        average = s.average if averages and s.average is not None else empty
        return Steps(  # several times as fast as _replace
            s.parameters, m_state, v_state, s.total, s.x, s.target, weight, s.order, s.first, s.last, s.batch_size, s.scale, s.shift,
            s.rates, s.mean, s.loss_numbers, average, s.first_step, empty, s.log, s.epoch_rows,
        )  # fmt: skip


class Rows(NamedTuple):
    """Rows that outputs are asked for, as forward_tiled takes them; the names are those of Steps."""

    x: np.ndarray
    order: np.ndarray
    first: int
    last: int
    batch_size: int
    scale: np.ndarray
    shift: np.ndarray


def no_steps(x: np.ndarray, target: np.ndarray, sizes: Sequence[int], batch_size: int, dtype: np.dtype, norm: str = "none") -> Steps:
    """Return a run of no steps on rows of these types: running it compiles all that a run needs."""
    parameters, zero = np.zeros(count_parameters(sizes, norm), dtype), np.zeros(sizes[0], dtype)
    total, rates = np.zeros(TOTALS), np.zeros((1, len(Rates._fields)), dtype)
    order = np.empty(0, np.int64)
    return Steps(parameters, parameters, parameters, total, x, target, None, order, 0, 0, batch_size, zero, zero, rates, True)


class Wanted(NamedTuple):
    """What is wanted of an engine."""

    sizes: Sequence[int]  # (L + 1) units
    activations: Sequence[str]  # (L - 1) of the hidden layers
    dtype: Any
    rows: int  # of a batch, or of a block of one: the most that there will be
    threads: int = 1
    kernels: str = "auto"  # or "scalar": compiled loops, or "python": the same interpreted
    norm: str = "none"  # one of NORMS, for the hidden layers
    loss: str | None = None  # its key in LOSSES; None: outputs alone
    update: str = "sgd"  # one of updates.RULES
    limited: bool = False  # whether gradients are clipped and weights pulled by l1, as the rates say
    averages: bool = False  # whether an average of the parameters is kept, step by step
    regularisation: Regularisation = NOTHING
    scaled: bool = False  # whether targets are standardised, and the loss has the numbers for it
    one_hot: bool = False  # whether targets of sigmoid outputs are one-hot rows, of classes
    zero_skipping: str = "auto"  # or "on" or "off"
    x: np.ndarray = np.zeros((0, 0))  # (n, K) rows, of which
    trained_on: np.ndarray = np.arange(0)  # those with these numbers (m,) are trained on
    shifted: bool = False  # whether a number is added to some input


def multiply_adds(sizes: Sequence[int], rows: int) -> int:
    """Return the multiply-adds of one forward pass."""
    return rows * sum(k * n for k, n in zip(sizes, sizes[1:], strict=False))


def count_parameters(sizes: Sequence[int], norm: str = "none") -> int:
    """Return the number of parameters of a network: weights, biases, and a scale for each hidden unit whose sums are normalised."""
    dense = sum(k * n + n for k, n in zip(sizes, sizes[1:], strict=False))
    return dense if norm == "none" else dense + sum(sizes[1:-1])


def count_running_stats(sizes: Sequence[int], norm: str) -> int:
    """Return how many running statistics batch normalisation keeps: a mean and a variance for each hidden unit."""
    return 2 * sum(sizes[1:-1]) if norm in ("batch", "running") else 0
