"""One training: what its network, its optimizer and its averages hold, and the arithmetic of a step and of the end of an epoch."""

import time
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from fastmlp import machine
from fastmlp.errors import ConfigError, TrainingError
from fastmlp.kernels import engine, random
from fastmlp.kernels.losses import SMOOTHING, loss_for
from fastmlp.kernels.program import Program, Steps
from fastmlp.kernels.step import LOSS_SUM, ROWS, TOTALS, WEIGHT_SUM
from fastmlp.kernels.tiled import TiledProgram
from fastmlp.kernels.updates import GRADIENT, UPDATES
from fastmlp.network import Network
from fastmlp.network.arrays import frozen
from fastmlp.preprocessing import targets
from fastmlp.settings import TrainingSettings, known
from fastmlp.settings.names import warn_renamed
from fastmlp.training import augmentation, divergence, full_batch, rates, schedules, stopping
from fastmlp.training.fit import fit
from fastmlp.training.full_batch import FullBatch
from fastmlp.training.history import Epoch, Progress
from fastmlp.training.plan import make_plan
from fastmlp.training.records import Plan
from fastmlp.training.state import Best, TrainingState

STEPS_AHEAD = 64  # whose rates are computed together: the epochs of a small table have a handful of steps


class _KnownRates(NamedTuple):
    """The numbers of updates.Rates for the steps first to end, by these settings, at a factor of the schedule "plateau"."""

    first: int
    end: int
    settings: TrainingSettings
    factor: float
    table: np.ndarray  # (end - first, RATES), or (1, RATES)

    def hold(self, first: int, count: int, settings: TrainingSettings, factor: float) -> bool:
        """Return whether those of `count` steps from `first` on are here."""
        return self.first <= first and first + count <= self.end and self.settings is settings and self.factor == factor


class Trainer:
    """One training: a network, the state of its optimizer, counters, and where it stands among its rows. See plan.make_plan.

    Rows are read where they lie: which are trained on is a list of their numbers. Every kernel is compiled before the first step.
    """

    def __init__(self, plan: Plan | Network, *arguments: Any, **named: Any) -> None:
        if not isinstance(plan, Plan):  # as in version 0.1.0: the arguments of make_plan
            warn_renamed("Trainer(network, x, …)", "Trainer(make_plan(network, x, …))")
            plan = make_plan(plan, *arguments, **named)
        network, settings = plan.network, plan.settings
        self.network, self.settings = network, settings
        self.rows, self.target, self.sample_weight, self.validation = plan.rows, plan.target, plan.sample_weight, plan.validation
        self._trained_on = plan.trained_on
        self.batch_size = plan.batch_size
        self._loss_numbers = plan.loss_numbers
        self._input_scaling, self._target_scaling = plan.input_scaling, plan.target_scaling
        self._scale, self._shift = plan.input_scaling.scale_and_shift(network.n_inputs, network.dtype, self.rows.dtype == np.uint8)
        started = time.perf_counter()
        self._augmentation = None
        if plan.image_shape is not None:
            shares = settings.threads or machine.usable_cores()
            self._augmentation = augmentation.Augmentation(settings, self.rows, plan.image_shape, self.batch_size, shares)
        self.program: Program | TiledProgram | FullBatch
        if plan.is_full_batch:
            memory = full_batch.Memory(plan.start.pairs, plan.start.converged)
            scaling = targets.active(plan.target_scaling)
            weights = targets.output_weights(plan.loss, plan.loss_parameter, scaling) if scaling is not None else None
            reported = targets.loss_numbers(plan.loss, plan.loss_parameter, scaling)
            program = self._choose_program(plan, GRADIENT.name)
            self.program = FullBatch(program, plan.block, known(plan.settings.weight_decay), memory, weights, reported)
        else:
            self.program = self._choose_program(plan, plan.update)
        self.program.prepare(self.rows, self.target, self._loss_numbers)
        self.threads = self.program.threads
        self.compile_seconds = time.perf_counter() - started

        start = plan.start
        self.epoch, self.row, self.steps = start.epoch, start.row, start.steps
        self._total, self._seconds, self._earlier_seconds = np.array(start.total), start.seconds, start.earlier_seconds
        self.best = Best(start.best_epoch, start.best_value)
        self._accuracy = start.validation_accuracy
        self.scores: dict[str, float | None] | None = None
        self._best_weights = None if start.best_weights is None else start.best_weights.copy()
        self._plateau = start.plateau
        self._best_running_stats = None if start.best_running_stats is None else start.best_running_stats.copy()
        self._last_running_stats = None if start.running_stats is None else start.running_stats.copy()
        states = UPDATES[plan.update].states
        self._states = [np.zeros_like(network.parameters) if one is None else one.copy() for one in (start.m, start.v)[:states]]
        self._states += [np.zeros(0, network.dtype)] * (2 - states)
        self._rates = _KnownRates(0, 0, self.settings, 0.0, np.zeros((0, 0), network.dtype))
        self._order = self._trained_on.copy()
        self._ordered_for = -1
        self._begin_weights(start)
        self._touch(plan)

    def _touch(self, plan: Plan) -> None:
        """Tell the network what it is trained for: the one place that changes it before the first step, after all that may fail."""
        # smoothing belongs to training: what is evaluated later is the loss without it
        parameter = 0.0 if loss_for(plan.loss, self.network.output).parameter == SMOOTHING else plan.loss_parameter
        self.network.adopt(
            loss=plan.loss, loss_parameter=parameter, input_scaling=plan.input_scaling, target_scaling=plan.target_scaling,
            target_is_column=plan.target_is_column, predicts_classes=plan.predicts_classes, classes=plan.classes,
        )  # fmt: skip
        self._show_average()

    def _begin_weights(self, start: TrainingState) -> None:
        """Set the weights that steps are taken from, and their average; while there is one, that is what the network holds."""
        parameters = self.network.parameters
        self._averages = self.settings.average != "none"
        self._average, self._averaged = None, start.averaged
        # what the network goes on with, while it holds the weights of the best epoch
        self._last_weights = None if start.weights is None or self._averages else start.weights.astype(parameters.dtype)
        # those of the best epoch, and their statistics, while the network holds these
        self._shown: tuple[np.ndarray, np.ndarray | None] | None = None
        if self._last_weights is not None:
            self._shown = parameters.copy(), self.network.running_stats.copy()
        self._weights = parameters
        if self._averages:
            self._weights = (parameters if start.weights is None else start.weights).astype(parameters.dtype)
        if self.settings.average == "ema":
            self._average = (parameters if start.average is None else start.average).astype(parameters.dtype)
        elif self._averages and start.average is not None:
            self._average = start.average.astype(np.float64)

    def _show_average(self) -> None:
        """Let the network hold the average of the weights, and the weights themselves as long as there is none."""
        if self._averages:
            self.network.parameters[:] = self._shown_average()

    def _shown_average(self) -> np.ndarray:
        """Return what the network holds while there are averages."""
        return self._weights if self._average is None else self._average.astype(self._weights.dtype, copy=False)

    def _average_epoch(self) -> None:
        """Take the weights at the end of an epoch into their mean, where the last epochs are averaged and this is one of them."""
        settings = self.settings
        if settings.average != "swa" or not self.epoch + 1 > known(settings.average_start) * known(settings.epochs):
            return
        self._averaged += 1
        weights = self._weights.astype(np.float64)
        self._average = weights if self._average is None else self._average + (weights - self._average) / self._averaged
        self._show_average()

    def _choose_program(self, plan: Plan, update: str) -> Program | TiledProgram:
        """Return what takes the steps."""
        network, settings = self.network, self.settings
        wanted = engine.Wanted(
            network.sizes, network.hidden_activations, network.dtype, plan.block, loss_for(plan.loss, network.output).form, update,
            settings.kernels, settings.zero_skipping, settings.threads or machine.usable_cores(), plan.is_limited,
            settings.average == "ema", plan.regularisation, network.normalization, plan.loss_numbers.size > 1, plan.predicts_classes,
        )  # fmt: skip
        return engine.choose(wanted, self.rows, self._trained_on, bool((self._shift != 0).any()))

    @property
    def n_rows(self) -> int:
        """Number of rows in one epoch."""
        return int(self._trained_on.size)

    @property
    def n_held_out(self) -> int:
        """Number of rows validated on."""
        return int(self.validation.target.shape[0]) if self.validation is not None else 0

    @property
    def seconds(self) -> float:
        """Seconds spent on steps so far."""
        return self._earlier_seconds + self._seconds

    @property
    def epoch_steps(self) -> int:
        """Number of steps in one epoch."""
        return int(-(-self.n_rows // self.batch_size))

    @property
    def totals(self) -> tuple[float, ...]:
        """Sums over the rows done of the epoch under way: loss, correct, weight, rows."""
        return tuple(float(value) for value in self._total)

    def state(self) -> TrainingState:
        """Return where this training stands."""
        self._take_assigned()
        m, v = (state.copy() if state.size else None for state in self._states)
        kept = (self._last_weights, self._best_weights, self._last_running_stats, self._best_running_stats)
        last, best, last_running_stats, best_running_stats = (None if numbers is None else numbers.copy() for numbers in kept)
        memory = self.program.memory() if isinstance(self.program, FullBatch) else full_batch.Memory()
        return TrainingState(
            epoch=self.epoch,
            row=self.row,
            steps=self.steps,
            total=self.totals,
            seconds=self._seconds,
            earlier_seconds=self._earlier_seconds,
            m=m,
            v=v,
            best_epoch=self.best.epoch,
            best_value=self.best.value,
            validation_accuracy=self._accuracy,
            weights=self._weights.copy() if self._averages else last,
            best_weights=best,
            average=None if self._average is None else self._average.copy(),
            averaged=self._averaged,
            plateau=self._plateau,
            pairs=memory.pairs,
            converged=memory.converged,
            running_stats=last_running_stats,
            best_running_stats=best_running_stats,
        )

    @property
    def stopped(self) -> str | None:
        """Why there is nothing left to do: a reason of training/stopping.py, None while there are steps to take."""
        # an epoch whose last step is taken is finished before its seconds count
        seconds = self._earlier_seconds + (self._seconds if self.row < self.n_rows else 0.0)
        has_converged = isinstance(self.program, FullBatch) and self.program.converged and self.row == 0
        return stopping.reason_to_stop(self.settings, self.epoch, self.best.epoch, self._accuracy, seconds, has_converged)

    def is_finite(self) -> bool:
        """Return whether every parameter is finite: if not, training is about to find that it has diverged."""
        return bool(np.isfinite(self._weights).all())

    def run(self) -> Generator[Progress | Epoch, None, None]:
        """Train until there is a reason to stop: yield Progress at least every 0.2 s and an Epoch at the end of each. See fit.fit."""
        return fit(self)

    def _take_assigned(self) -> None:
        """Go on from the weights that were written to the network since the last step, by a callback for example.

        Averages begin anew from them; the optimizer state and the best epoch stay.
        """
        held, held_stats = self.network.parameters, self.network.running_stats
        if self._shown is not None:  # the network holds other weights than the last step's
            shown, shown_stats = self._shown
            if _same(held, shown) and (shown_stats is None or _same(held_stats, shown_stats)):
                return
            self._shown = self._last_weights = self._last_running_stats = None
        elif not self._averages or _same(held, self._shown_average()):
            return
        if self._averages:
            self._weights[:] = held
            self._average, self._averaged = held.copy() if self.settings.average == "ema" else None, 0

    def end(self) -> None:
        """Give the network the weights that training ends with, unless it has them already."""
        if self._shown is not None:
            return
        self._take_assigned()
        if self.settings.restore_best and self._best_weights is not None and self._last_weights is None:
            self._last_weights = self.network.parameters.copy()
            self.network.parameters[:] = self._best_weights
            if self._best_running_stats is not None:
                self._last_running_stats = (
                    self.network.running_stats.copy() if self._last_running_stats is None else self._last_running_stats
                )
                self.network.running_stats[:] = self._best_running_stats
            self._shown = (self._best_weights, self._best_running_stats)

    def _go_on(self) -> None:
        """Give the network the weights that steps go on from."""
        if self.network.input_scaling is not self._input_scaling:
            raise ConfigError("input_scaling: expected to stay while the network is trained, got another one; use a new Network")
        if self.network.target_scaling is not self._target_scaling:
            raise ConfigError("target_scaling: expected to stay while the network is trained, got another one; use a new Network")
        self._take_assigned()
        self._shown = None
        if self._last_weights is not None:
            self.network.parameters[:] = self._last_weights
            self._last_weights = None
        if self._last_running_stats is not None:
            self.network.running_stats[:] = self._last_running_stats
            self._last_running_stats = None

    def step(self) -> None:
        """Take one step: one batch of the epoch under way. Ends no training by itself: `stopped` says whether it should."""
        if self.row >= self.n_rows:
            self.end_epoch()
        self._train_rows(min(self.row + self.batch_size, self.n_rows))

    def advance(self, rows: int) -> Progress:
        """Take the steps of so many rows of the epoch under way, whole batches, or of what is left of it."""
        self._train_rows(min(self.row + rows, self.n_rows))
        mean_loss = float(self._total[LOSS_SUM] / max(self._total[WEIGHT_SUM], 1e-300))
        return Progress(self.epoch + 1, known(self.settings.epochs), self.row, self.n_rows, self._seconds, mean_loss)

    def _train_rows(self, last: int) -> None:
        """Take the steps of rows self.row to last of this epoch's order."""
        self._go_on()
        if self._ordered_for != self.epoch:
            self._order[:] = self._trained_on
            with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
                random.shuffle(self._order, np.uint64(random.stream_key(self.settings.seed, random.SHUFFLE, self.epoch)))
            self._ordered_for = self.epoch
        first = self.row
        started = time.perf_counter()
        x, target, weight, order, skipped = self.rows, self.target, self.sample_weight, self._order, 0
        if self._augmentation is not None:  # the kernels are given the pictures of these rows alone, which lie in order
            last = min(last, first + self._augmentation.most_rows)
            rows = order[first:last]
            x, target = self._augmentation.pictures(rows, self.epoch), frozen(target[rows])
            weight = weight[rows] if weight is not None else None
            order, skipped = np.arange(last - first), first
        steps = self._steps_on(x, target, weight, order, first - skipped, last - skipped, self._total)
        try:
            reached = self.program.train(steps)
        finally:  # an interrupt ends the steps early; the kernels have counted the rows that they have done
            self.row = int(self._total[ROWS])
            self.steps += -(-(self.row - first) // self.batch_size)
            self._seconds += time.perf_counter() - started
            self._show_average()
        if reached < 0:
            batch = (skipped - reached - 1) // self.batch_size + 1
            self._diverged(f"epoch {self.epoch + 1}, batch {batch} of {self.epoch_steps}")

    def step_on(self, x: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None) -> float:
        """Take one step on other rows than those of the epochs; return their mean loss before it. See fastmlp.OnlineTrainer.

        Up to `batch_size` rows, targets and weights that have passed the checks of arrays.py, rows of the type of the trainer's own.
        """
        self._go_on()
        total = np.zeros(TOTALS)
        try:
            order = np.arange(x.shape[0])
            reached = self.program.train(self._steps_on(x, target, sample_weight, order, 0, x.shape[0], total))
        finally:
            self.steps += int(total[ROWS] > 0)
            self._show_average()
        if reached < 0:
            self._diverged(f"step {self.steps + 1}")
        return float(total[LOSS_SUM] / total[WEIGHT_SUM])

    def _steps_on(
        self, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, order: np.ndarray, first: int, last: int, total: np.ndarray
    ) -> Steps:
        """Return the steps on the rows order[first:last] of x, which add to `total`."""
        count = -(-(last - first) // self.batch_size)
        m_state, v_state = self._states
        return Steps(
            parameters=self._weights,
            m_state=m_state,
            v_state=v_state,
            total=total,
            x=x,
            target=target,
            sample_weight=weight,
            order=order,
            first=first,
            last=last,
            batch_size=self.batch_size,
            scale=self._scale,
            shift=self._shift,
            rates=self._rates_of(self.steps, count),
            mean=self.settings.reduction == "mean",
            loss_numbers=self._loss_numbers,
            average=self._average if self.settings.average == "ema" else None,
            first_step=self.steps,
            running_stats=self.network.running_stats,
        )

    def _rates_of(self, first: int, count: int) -> np.ndarray:
        """Return the numbers of updates.Rates for the steps from `first` on; those of at least STEPS_AHEAD steps are computed at a time."""
        if not self._rates.hold(first, count, self.settings, self._plateau.factor):
            ahead = max(count, STEPS_AHEAD)
            table = rates.rates(self.settings, first, self._learning_rates(first, ahead), self.network.dtype)
            self._rates = _KnownRates(first, first + ahead, self.settings, self._plateau.factor, table)
        table = self._rates.table  # where they do not change, one row for all steps
        return table if len(table) == 1 else table[first - self._rates.first :][:count]

    def _learning_rates(self, first: int, count: int) -> np.ndarray:
        """Return the learning rates (count,) of the steps from `first` on, counted from 0."""
        if isinstance(self.program, FullBatch):  # its line search finds the lengths of steps
            return np.zeros(count)
        return schedules.learning_rates(self.settings, first, count, self.epoch_steps, self._plateau.factor)

    def _last_rate(self) -> float:
        """Return the learning rate of the last step; of L-BFGS how far it went along its direction."""
        return self.program.length if isinstance(self.program, FullBatch) else float(self._learning_rates(self.steps - 1, 1)[0])

    def end_epoch(self) -> Epoch:
        """Evaluate the rows held out after the last step of an epoch, and count it."""
        self._go_on()
        loss_sum, correct, weight, _ = self._total
        if not self.is_finite():
            self._diverged(f"epoch {self.epoch + 1}, batch {self.epoch_steps} of {self.epoch_steps}")
        before = self._average, self._averaged
        self._average_epoch()
        regression = self.network.output == "identity"
        try:
            scores = self._validated()
        except BaseException:  # an interrupt: the epoch will be ended again, and may be averaged once only
            self._average, self._averaged = before
            self._show_average()
            raise
        seconds = max(self._seconds, 1e-9)
        epoch = Epoch(
            epoch=self.epoch + 1,
            train_loss=float(loss_sum / weight),
            train_accuracy=None if regression else float(correct / weight),
            validation_loss=scores["loss"] if scores else None,
            validation_accuracy=scores.get("accuracy") if scores else None,
            learning_rate=self._last_rate(),
            seconds=seconds,
            samples_per_second=self.n_rows / seconds,
        )
        self._accuracy = None if epoch.validation_accuracy != epoch.validation_accuracy else epoch.validation_accuracy  # no NaN
        self.best = stopping.better(self.best, epoch.epoch, scores[self.settings.monitor] if scores else None, self.settings.monitor)
        if self.settings.restore_best and self.best.epoch == epoch.epoch:
            self._best_weights = self.network.parameters.copy()
            self._best_running_stats = self.network.running_stats.copy() if self.network.running_stats.size else None
        if self.settings.schedule == "plateau":
            monitored = epoch.train_loss if epoch.validation_loss is None else epoch.validation_loss
            self._plateau = schedules.after_epoch(self._plateau, monitored, self.settings)
        self.scores = scores
        self._earlier_seconds += self._seconds
        self.epoch, self.row, self._seconds = self.epoch + 1, 0, 0.0
        self._total[:] = 0.0
        return epoch

    def _validated(self) -> dict[str, float | None] | None:
        """Return what the network gives on the rows held out, None where there are none."""
        held_out = self.validation
        if held_out is None:
            return None
        kernels, threads = self.settings.kernels, self.settings.threads
        return self.network.evaluate_checked(*held_out[:3], kernels=kernels, threads=threads, numbers=held_out.numbers)

    def _diverged(self, where: str) -> None:
        kept = self.best.epoch if self._best_weights is not None else None
        are_large = divergence.are_large(self.rows, self._scale, self._shift)
        found = divergence.Circumstances(are_large, isinstance(self.program, FullBatch), self.epoch == 0, kept)
        raise TrainingError(divergence.message(where, self.settings, found))


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two vectors of one type have the same bits."""
    return np.array_equal(first.view(f"u{first.itemsize}"), second.view(f"u{second.itemsize}"))
