"""Training by steps over batches as scikit-learn takes them: what the event loop of training/fit.py asks for an epoch at a time.

The kernels take all steps of an epoch in one call, and those of several epochs where nobody is told of each. What lies between two epochs
is small: a permutation, the rates of the steps, a comparison of two losses.
"""

import dataclasses
import time
from typing import Any, NamedTuple

import numpy as np

from fastmlp.engines import choice
from fastmlp.engines.tiled import TiledProgram
from fastmlp.engines.wanted import Steps
from fastmlp.errors import DataError
from fastmlp.estimators import course as of_course
from fastmlp.estimators import rows as of_rows
from fastmlp.estimators.course import Course
from fastmlp.estimators.parameters import DECOUPLED, Parameters
from fastmlp.estimators.problems import Problem
from fastmlp.estimators.scores import score
from fastmlp.kernels.textbook_step import CORRECT, LOSS_SUM, ROWS, SQUARES, TOTALS, WEIGHT_SUM
from fastmlp.kernels.updates import UPDATES, Rates
from fastmlp.network import Network
from fastmlp.network.arrays import frozen
from fastmlp.preprocessing.inputs import spread
from fastmlp.reproducible import power
from fastmlp.settings import known
from fastmlp.training import checks, rates, schedules, stopping, update_rules
from fastmlp.training.history import Epoch, Progress
from fastmlp.training.state import TrainingState

USUAL_BATCH = 200
DIVERGED = "diverged"
NOT_FINITE = "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
_DECAY, _EPSILON = (Rates._fields.index(name) for name in ("weight_decay", "epsilon"))


class Rows(NamedTuple):
    """Rows, their targets and what they count, checked."""

    x: Any  # (n, K) read-only, or a CSR matrix
    target: np.ndarray  # (n, T) of the parameters' type, read-only
    weight: np.ndarray | None  # (n,) float64; None: each row counts 1


@dataclasses.dataclass
class Optimizer:
    """What the steps of a training leave to the next ones."""

    learning_rate: float
    steps: int
    states: list[np.ndarray]  # m and v, (P,) or (0,)


def new_optimizer(network: Network, parameters: Parameters) -> Optimizer:
    """Return the optimizer of a training that begins."""
    kept = UPDATES[update_rules.update_rule(parameters.settings, network.dtype)].states
    vectors = [np.zeros(network.parameters.size if number < kept else 0, network.dtype) for number in range(2)]
    return Optimizer(known(parameters.settings.learning_rate), 0, vectors)


class Epochs:
    """One call of `fit` or `partial_fit`: see training.fit.Training for what the event loop asks of it."""

    def __init__(
        self, network: Network, parameters: Parameters, problem: Problem, rows: Rows, held_out: Rows | None, optimizer: Optimizer,
        course: Course, random_state: np.random.RandomState, threads: int, seed: int, *, is_single: bool = False, is_told: bool = True,
    ) -> None:  # fmt: skip
        """held_out: rows to judge each epoch by; seed: of dropout; is_single: one epoch, after which nobody asks whether to stop.

        is_told: whether anybody is told of each epoch.
        """
        self.network, self.settings = network, parameters.settings
        self.course, self.optimizer = course, optimizer
        self._parameters, self._problem, self._rows, self._held_out = parameters, problem, rows, held_out
        self._random_state, self._threads, self._is_single = random_state, threads, is_single
        self.n_rows = int(rows.x.shape[0])
        self.batch_size = min(parameters.batch_size or USUAL_BATCH, self.n_rows)
        self.epoch = self.row = 0
        self.scores: dict[str, float | None] | None = None
        self.stopped: str | None = None
        self.seconds = self._epoch_seconds = 0.0
        self._order = np.arange(self.n_rows)  # of the epochs that are taken together
        self._ahead = 0  # how many these are; 0 before they begin
        self._starts = np.arange(0, self.n_rows, self.batch_size)
        self._counts = np.minimum(self.batch_size, self.n_rows - self._starts)
        self._total, self._ended = np.zeros(TOTALS), np.zeros(TOTALS + 1)  # of the epoch under way; of the last one, with its squares
        self._weight: np.ndarray | None = None
        self._sums = self._counts.astype(np.float64)  # of what the rows of each batch count: the penalty is divided by it
        if rows.weight is None and problem.gradient_factor != 1.0:
            self._weight = np.full(self.n_rows, problem.gradient_factor, network.dtype)
        self._constants = problem.constants(rows.target)
        self._constant = 0.0 if self._constants is None else float(self._constants.mean())
        self._has_penalty = parameters.alpha > 0 and parameters.solver not in DECOUPLED
        self._penalised = [weight.reshape(-1) for weight in network.weights] if self._has_penalty else []
        self._squares, self._shares = self._sum_of_squares(), float((self._counts / self._sums).sum())
        self._numbers = problem.numbers
        self._one, self._zero = np.ones(network.n_inputs, network.dtype), np.zeros(network.n_inputs, network.dtype)
        self._table: tuple[int, int, float, np.ndarray] | None = None  # of which steps, at which rate
        self._program = self._chosen(seed)
        changes = parameters.solver == "sgd" and parameters.learning_rate == "invscaling" or rows.weight is not None and parameters.shuffle
        is_alone = is_told or is_single or held_out is not None or changes or of_rows.is_sparse(rows.x)
        self._may_go_ahead = isinstance(self._program, TiledProgram) and not is_alone

    def _chosen(self, seed: int) -> Any:
        """Return what takes the steps, compiled."""
        network, problem, settings, x = self.network, self._problem, self.settings, self._rows.x
        if of_rows.is_sparse(x):
            some = spread(self.n_rows, choice.SAMPLE_ROWS)
            x = of_rows.dense(x[some], network.dtype)
        program = choice.choose(
            choice.Wanted(
                network.sizes, network.hidden_activations, network.dtype, self.batch_size, self._threads, loss=problem.form,
                update=update_rules.update_rule(settings, network.dtype), x=x, trained_on=np.arange(x.shape[0]),
                regularisation=checks.regularisation(settings.filled_in(seed=seed), network),
            )
        )  # fmt: skip
        if not isinstance(program, TiledProgram) and not of_rows.is_sparse(x) and x.dtype not in (network.dtype, np.uint8):
            x = frozen(x.astype(network.dtype))  # textbook loops are compiled for few types
            self._rows = self._rows._replace(x=x)
        program.prepare(x, self._rows.target, self._numbers)
        return program

    @property
    def epoch_steps(self) -> int:
        """Number of steps in one epoch."""
        return int(self._starts.size)

    def state(self) -> TrainingState:
        """Return where the training stands."""
        m, v = (state.copy() if state.size else None for state in self.optimizer.states)
        return TrainingState(epoch=self.epoch, row=self.row, steps=self.optimizer.steps, m=m, v=v)

    def end(self) -> None:
        """Give the network the weights that the training ends with."""
        if self._parameters.restore_best and self.course.best_parameters is not None:
            self.network.parameters[:] = self.course.best_parameters

    def advance(self, rows: int, goes_on: bool = False) -> Progress:
        """Take the steps of so many rows, whole batches, or of what is left of the epoch; of whole epochs where they may be taken together.

        Of those, all but the last are over then. goes_on: whether nothing was written to the network since the last steps.
        """
        started = time.perf_counter()
        if not self._ahead:
            self._begin(rows)
        first, last, ahead = self.row, self._ahead * self.n_rows if self._ahead > 1 else min(self.row + rows, self.n_rows), self._ahead
        x, target, weight, order, skipped = self._rows.x, self._rows.target, self._weight, self._order, 0
        if of_rows.is_sparse(x):  # the kernels are given these rows alone, which lie in order
            most = max(1, of_rows.block_rows(x, self.network.dtype) // self.batch_size) * self.batch_size
            last, skipped = min(last, first + most), first
            part = order[first:last]
            x, target = of_rows.dense(x[part], self.network.dtype), frozen(target[part])
            weight, order = None if weight is None else weight[part], np.arange(last - first)
        table, log = self._rates(), np.zeros((ahead, TOTALS + 1))
        steps = Steps(
            parameters=self.network.parameters, m_state=self.optimizer.states[0], v_state=self.optimizer.states[1], total=self._total,
            x=x, target=target, sample_weight=weight, order=order, first=first - skipped, last=last - skipped,
            batch_size=self.batch_size, scale=self._one, shift=self._zero, mean=True, loss_numbers=self._numbers,
            rates=table if len(table) == 1 else table[first // self.batch_size :], first_step=self.optimizer.steps,
            log=log, epoch_rows=self.n_rows - skipped, goes_on=goes_on,
        )  # fmt: skip
        try:
            reached = self._program.train(steps)
        finally:  # an interrupt ends the steps early
            taken = time.perf_counter() - started
            self.seconds += taken
            self._take_down(log, first, taken / ahead)
        if reached < 0:
            self._diverge()
        mean_loss = float(self._ended[LOSS_SUM] if self.row == self.n_rows else self._total[LOSS_SUM])
        mean_loss *= self._problem.loss_factor / max(self.row, 1)
        return Progress(self.epoch + 1, self._parameters.max_iter, self.row, self.n_rows, self._epoch_seconds, mean_loss)

    def _take_down(self, log: np.ndarray, first: int, seconds: float) -> None:
        """Take down how far the steps from row `first` on have come; log (epochs, TOTALS + 1): see wanted.Steps; seconds of an epoch."""
        ended, row = int(np.count_nonzero(log[:, ROWS])), int(self._total[ROWS])
        self.optimizer.steps += ended * self.epoch_steps - row // -self.batch_size - first // self.batch_size
        for self._ended in log[: min(ended, len(log) - 1)]:  # nobody is told of these
            self._epoch_seconds = seconds
            self.end_epoch()
        self.row, self._epoch_seconds = row, self._epoch_seconds + seconds
        if ended == len(log):
            self.row, self._ended = self.n_rows, log[-1]
        elif row == self.n_rows:  # of an engine that keeps no log
            self.row, self._ended = row, np.append(self._total, self._sum_of_squares())
            self._total[:] = 0.0

    def _diverge(self) -> None:
        """End a training whose loss is not finite: with the best weights where they are kept, else with an error."""
        if self._held_out is None or not self._parameters.restore_best:
            raise DataError(NOT_FINITE)
        self.stopped = DIVERGED
        self.course.n_iter += 1
        of_course.judge(self.course, self._parameters, float("nan"), self.network.parameters)

    def _begin(self, rows: int) -> None:
        """Draw the order of an epoch, or of as many as have about so many rows and may be taken together, and what rows count in it."""
        self._ahead, shuffles = self._epochs_ahead(rows), self._parameters.shuffle
        before = self._order[-self.n_rows :]
        if self._order.size != self._ahead * self.n_rows:
            self._order = np.empty(self._ahead * self.n_rows, np.intp)
        for order in self._order.reshape(self._ahead, self.n_rows):
            order[:] = before
            if shuffles:
                self._random_state.shuffle(order)  # scikit-learn shuffles 0, 1, 2, … and looks the rows up: the same rows change places
            before = order
        if self._rows.weight is not None and (shuffles or self._weight is None):
            self._weigh(self._rows.weight)

    def _epochs_ahead(self, rows: int) -> int:
        """Return how many epochs may be taken before anybody has to look at the loss: the rule of stopping waits for some in a row."""
        if not self._may_go_ahead:
            return 1
        patience = self._parameters.n_iter_no_change + 1 - self.course.no_improvement_count
        return max(1, int(min(rows // self.n_rows, self._parameters.max_iter - self.course.n_iter, patience)))

    def _weigh(self, weight: np.ndarray) -> None:
        """Let the rows of each batch count so that its mean is the weighted one: scikit-learn divides by the sum of the weights."""
        in_order = weight[self._order]
        sums = np.add.reduceat(in_order, self._starts)
        counts = sums > 0
        per_weight = np.divide(self._counts, sums, out=np.zeros_like(sums), where=counts)
        scaled = in_order * np.repeat(per_weight, self._counts)
        self._weight = np.empty(self.n_rows, self.network.dtype)
        self._weight[self._order] = self._problem.gradient_factor * scaled
        self._sums = np.where(counts, sums, np.inf)  # of a batch that counts nothing there is no penalty either
        self._shares = float((self._counts / self._sums).sum())
        if self._constants is not None:
            self._constant = float((scaled * self._constants[self._order]).mean())

    def _sum_of_squares(self) -> float:
        """Return the sum of the squares of all weights, without the biases; 0 where there is no penalty."""
        return float(sum(np.square(weight, dtype=np.float64).sum() for weight in self._penalised))

    def _penalty(self) -> float:
        """Return what the L2 penalty adds to the loss of the epoch: its sum of squares is taken to change evenly from step to step."""
        if not self._has_penalty:
            return 0.0
        steps, before, after = self.epoch_steps, self._squares, float(self._ended[SQUARES])
        mean = before + (after - before) * (steps - 1) / (2 * steps)
        self._squares = after
        return 0.5 * self._parameters.alpha * mean * self._shares / self.n_rows

    def _rates(self) -> np.ndarray:
        """Return the numbers of the epochs' steps as engines.wanted.Steps has them; those of several epochs are computed at a time."""
        count, rate = self.epoch_steps * self._ahead, self.optimizer.learning_rate
        first = self.optimizer.steps - self.row // self.batch_size
        if self._table is not None:
            begin, end, at, table = self._table
            if begin <= first and first + count <= end and at == rate:
                return table if len(table) == 1 else table[first - begin :][:count]
        varies = self._rows.weight is not None and self._parameters.shuffle and self._has_penalty
        ahead = count if varies else max(count, self.epoch_steps * -(-rates.STEPS_AHEAD // self.epoch_steps))
        table = self._new_table(first, ahead)
        self._table = None if varies else (first, first + ahead, rate, table)
        return table if len(table) == 1 else table[:count]

    def _new_table(self, first: int, count: int) -> np.ndarray:
        """Return the numbers of so many steps; the penalty is taken of the weights alone, and divided by the sum of the batch's weights."""
        settings = self.settings
        if settings.schedule == "constant" and settings.warmup_epochs == 0:
            learning_rates = np.full(count, self.optimizer.learning_rate)
        else:
            learning_rates = schedules.learning_rates(settings, first, count, self.epoch_steps)
        table = rates.rates(settings, first, learning_rates, self.network.dtype)
        if settings.optimizer == "adam":  # scikit-learn adds epsilon to the root of a mean square that is not corrected yet
            steps = np.arange(first + 1, first + count + 1, dtype=np.float64)
            table[:, _EPSILON] = known(settings.epsilon) / np.sqrt(1.0 - power(known(settings.beta2), steps))
        if not self._has_penalty:
            return table
        decays = self._parameters.alpha / self._sums
        if len(table) == 1 and (decays != decays[0]).any():
            table = np.repeat(table, count, axis=0)
        table[:, _DECAY] = 0.0
        of_biases = table.copy()
        table[:, _DECAY] = np.resize(decays, len(table))
        return np.concatenate((table, of_biases), axis=1)

    def end_epoch(self) -> Epoch:
        """Take down the loss of an epoch, judge it, and decide how to go on: scikit-learn's rules in its order."""
        course, parameters, settings, problem = self.course, self._parameters, self.settings, self._problem
        course.n_iter += 1
        course.t += self.n_rows
        course.loss = float(self._ended[LOSS_SUM]) / self.n_rows * problem.loss_factor + self._constant + self._penalty()
        course.loss_curve.append(course.loss)
        if parameters.verbose:
            from fastmlp.rendering import iterations

            iterations.iteration(course.n_iter, course.loss)
        rate = self.optimizer.learning_rate
        if settings.schedule != "constant":
            rate = float(schedules.learning_rates(settings, self.optimizer.steps - 1, 1, self.epoch_steps)[0])
        value = None
        if self._held_out is not None:
            held_out = self._held_out
            value = score(problem, self.network, held_out.x, held_out.target, held_out.weight, self._threads)
            self.scores = {"accuracy" if problem.output != "identity" else "r2": value}
            if parameters.verbose:
                iterations.validation_score(value)
        of_course.judge(course, parameters, value, self.network.parameters)
        self._decide()
        seconds = max(self._epoch_seconds, 1e-9)
        accuracy = None if problem.output == "identity" else float(self._ended[CORRECT] / max(self._ended[WEIGHT_SUM], 1e-300))
        self.epoch, self.row, self._ahead, self._epoch_seconds = self.epoch + 1, 0, 0, 0.0
        judged = None if problem.output == "identity" else value
        return Epoch(self.epoch, course.loss, accuracy, None, judged, rate, seconds, self.n_rows / seconds)

    def _decide(self) -> None:
        """Go on, more slowly perhaps, or stop."""
        course, parameters = self.course, self._parameters
        if parameters.solver == "sgd" and parameters.learning_rate == "invscaling":
            self._set_rate(known(self.settings.learning_rate) / float(power(course.t + 1.0, parameters.power_t)))
        self.stopped, rate, message = of_course.decide(course, parameters, self.optimizer.learning_rate)
        self._set_rate(rate)
        if message is not None and parameters.verbose:
            from fastmlp.rendering import iterations

            iterations.stopping(message)
        if self._is_single or self.stopped is None and course.n_iter >= parameters.max_iter:
            self.stopped = stopping.EPOCHS

    def _set_rate(self, rate: float) -> None:
        """Change the learning rate; the momentum of scikit-learn holds the rates of the steps that it is made of."""
        before, self.optimizer.learning_rate = self.optimizer.learning_rate, rate
        if rate != before and self._parameters.solver == "sgd":
            self.optimizer.states[0] *= self.network.dtype.type(before / rate)
