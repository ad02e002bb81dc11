"""The loss of all rows as one smooth function of the parameters, and L-BFGS on it: what takes the place of steps over batches."""

from typing import NamedTuple

import numpy as np

from fastmlp.engines.program import Program
from fastmlp.engines.tiled import TiledProgram
from fastmlp.engines.wanted import NO_NUMBERS, Steps
from fastmlp.kernels.textbook_step import LOSS_SUM, TOTALS
from fastmlp.kernels.updates import Rates
from fastmlp.training import lbfgs
from fastmlp.training.lbfgs import Pair, Point

NAME = "lbfgs"


class Memory(NamedTuple):
    """What one step of L-BFGS leaves to the next one, besides the parameters."""

    pairs: np.ndarray | None = None  # (2, k, P) float64: the last k steps, and what each changed in the gradient; None before the first
    converged: bool = False


class FullBatch:
    """A program that takes one iteration of L-BFGS over all rows in each run of steps.

    program: one for the rule "gradient", which adds up, in blocks of `block` rows; weight_decay: half of it times the sum of squares of
    all parameters is added to the loss. The steps have the numbers of the function that is minimised, `reported` are those of the loss
    that is told: where outputs are weighted by `weights` (N,), which differ, that takes one more pass over the rows.
    """

    def __init__(
        self,
        program: Program | TiledProgram,
        block: int,
        weight_decay: float,
        memory: Memory,
        weights: np.ndarray | None = None,
        reported: np.ndarray = NO_NUMBERS,
    ) -> None:
        self.threads = program.threads
        self.converged = memory.converged
        self.length = 0.0  # of the last step, along its direction
        self._program, self._block, self._weight_decay = program, block, weight_decay
        self._pairs = [] if memory.pairs is None else [Pair(*pair) for pair in np.moveaxis(memory.pairs, 1, 0)]
        self._weights, self._reported = weights, reported
        self._last: tuple[Point, np.ndarray] | None = None  # where the last step ended, and the totals there

    def prepare(self, x: np.ndarray, target: np.ndarray, loss_numbers: np.ndarray = NO_NUMBERS) -> None:
        """Compile what `train` needs, or load it from the cache. Of x and target only the types are read."""
        self._program.prepare(x, target, loss_numbers)

    def memory(self) -> Memory:
        """Return what a training has to keep to go on bit for bit."""
        return Memory(np.moveaxis(np.array(self._pairs), 0, 1) if self._pairs else None, self.converged)

    def train(self, steps: Steps) -> int:
        """Take one step over all rows; return their number, or -1 where the loss at its start is not finite.

        `converged` says afterwards whether the gradient is as good as zero, or no step made the loss smaller.
        """
        seen: list[tuple[Point, np.ndarray]] = []
        # in the order in which the rows stand, whatever that of the epoch: a function that rounds in a new way each time has no minimum
        steps = steps._replace(order=np.sort(steps.order))

        def loss(parameters: np.ndarray) -> Point:
            seen.append(self._evaluate(steps, parameters))
            return seen[-1][0]

        if self._last is None or not np.array_equal(self._last[0].parameters, steps.parameters):
            if self._last is not None:  # a callback wrote other parameters: the pairs tell of another place
                self._pairs = []
            self._last = self._evaluate(steps, steps.parameters.copy())
        start, total = self._last
        if not np.isfinite(start.value):
            return -1
        pairs = list(self._pairs)
        found = None if lbfgs.is_minimal(start.gradient) else lbfgs.step(loss, start, pairs)
        if self._weights is not None:
            total = self._as_reported(steps, start.parameters, total)
        # nothing is changed before this line: an interrupt leaves the training where it was
        steps.total[:] += total
        self._pairs, self.converged, self.length = pairs, found is None, 0.0
        if found is not None:
            end, self.length = found
            self._last = next(kept for kept in seen if kept[0] is end)
            self.converged = lbfgs.is_minimal(end.gradient)
            steps.parameters[:] = end.parameters
        return steps.last

    def _evaluate(self, steps: Steps, parameters: np.ndarray) -> tuple[Point, np.ndarray]:
        """Return loss and gradient at some parameters (P,), and the totals (TOTALS,) of all rows there."""
        reached, gradient, total = self._add_up(steps, parameters)
        share = 1.0 / steps.last if steps.mean else 1.0
        exact = parameters.astype(np.float64)
        value = share * float(total[LOSS_SUM]) + 0.5 * self._weight_decay * lbfgs.dot(exact, exact) if reached >= 0 else np.inf
        return Point(parameters, value, share * gradient.astype(np.float64) + self._weight_decay * exact), total

    def _as_reported(self, steps: Steps, parameters: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Return totals (TOTALS,) with the loss as it is told, not as it is minimised."""
        if self._weights is not None and (self._weights == self._weights[0]).all():
            told = total.copy()
            told[LOSS_SUM] /= self._weights[0]
            return told
        return self._add_up(steps._replace(loss_numbers=self._reported), parameters)[2]

    def _add_up(self, steps: Steps, parameters: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
        """Return the row reached, or less than 0 where the loss is not finite, the gradient (P,) of its sum, and the totals (TOTALS,)."""
        n, size = steps.last, parameters.size
        gradient, total = np.zeros(size, parameters.dtype), np.zeros(TOTALS)
        no_rates = np.zeros((-(-n // self._block), len(Rates._fields)), parameters.dtype)
        reached = self._program.train(
            steps._replace(
                parameters=parameters, m_state=gradient, v_state=np.zeros(0, parameters.dtype), total=total,
                batch_size=self._block, rates=no_rates, mean=False,
            )
        )  # fmt: skip
        return reached, gradient, total
