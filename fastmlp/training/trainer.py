"""One training: its steps, the end of each epoch, and where it stands."""

import time
from collections.abc import Generator
from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.engines.tiled import FORWARD_ROWS
from fastmlp.engines.wanted import Steps
from fastmlp.errors import ConfigError, TrainingError
from fastmlp.kernels import random
from fastmlp.kernels.losses import SMOOTHING, loss_for
from fastmlp.kernels.textbook_step import LOSS_SUM, ROWS, TOTALS, WEIGHT_SUM
from fastmlp.kernels.updates import UPDATES
from fastmlp.network import Network
from fastmlp.network.arrays import frozen
from fastmlp.settings import known, whole_number
from fastmlp.settings.names import warn_renamed
from fastmlp.training import augmentation, divergence, engine, full_batch, on_disk, schedules, stopping
from fastmlp.training.fit import fit
from fastmlp.training.full_batch import FullBatch
from fastmlp.training.held_weights import HeldWeights
from fastmlp.training.history import Epoch, Progress
from fastmlp.training.plan import make_plan
from fastmlp.training.rates import StepRates
from fastmlp.training.records import Plan
from fastmlp.training.state import Best, TrainingState


class Trainer:
    """One training: a network, the state of its optimizer, counters, and where it stands among its rows. See plan.make_plan.

    Rows are read where they lie: which are trained on is a list of their numbers. Every kernel is compiled before the first step.
    """

    def __init__(self, plan: Plan | Network, *arguments: Any, **named: Any) -> None:
        if not isinstance(plan, (Plan, Network)):
            raise ConfigError(f"plan: expected what fastmlp.make_plan returns, got {type(plan).__name__}")
        if isinstance(plan, Plan) and (arguments or named):
            raise ConfigError(f"Trainer: expected a plan alone, got {len(arguments) + len(named)} more; they belong to fastmlp.make_plan")
        if isinstance(plan, Network):  # as in version 0.1.0: the arguments of make_plan
            warn_renamed("Trainer(network, x, …)", "Trainer(make_plan(network, x, …))")
            plan = make_plan(plan, *arguments, **named)
        network, settings, start = plan.network, plan.settings, plan.start
        self._network, self.settings = network, settings
        self.rows, self.target, self.sample_weight, self.validation = plan.rows, plan.target, plan.sample_weight, plan.validation
        self.batch_size = plan.batch_size
        self._plan = plan._replace(start=TrainingState())  # of which copies are made: let it go
        started = time.perf_counter()
        self._augmentation = None
        if plan.image_shape is not None:
            shares = machine.threads(settings.threads)
            self._augmentation = augmentation.Augmentation(settings, self.rows, plan.image_shape, self.batch_size, shares)
        self._reader = None if plan.on_disk is None else on_disk.Reader(plan, plan.on_disk)
        try:
            self.program = engine.choose(plan)
            self.program.prepare(self.rows, self.target, plan.loss_numbers)
        except KeyboardInterrupt:  # from deep inside of the compiler
            raise KeyboardInterrupt("while kernels were compiled; the network is as it was") from None
        self.threads = self.program.threads
        self.compile_seconds = time.perf_counter() - started

        self.epoch, self.row, self.steps = start.epoch, start.row, start.steps
        self._first_step = start.steps
        self._total, self._seconds, self._earlier_seconds = np.array(start.total), start.seconds, start.earlier_seconds
        self.best = Best(start.best_epoch, start.best_value)
        self._accuracy, self._plateau = start.validation_accuracy, start.plateau
        self.scores: dict[str, float | None] | None = None
        states = UPDATES[plan.update].states
        begin = settings.initial_accumulator_value or 0.0  # of the one state of adagrad; those of other rules begin at 0
        self._states = [np.full_like(network.parameters, begin) if one is None else one.copy() for one in (start.m, start.v)[:states]]
        self._states += [np.zeros(0, network.dtype)] * (2 - states)
        self._rates = StepRates(self.epoch_steps, network.dtype)
        self._order = plan.trained_on.copy()
        self._ordered_for = -1
        # what changes the network before the first step comes last, after all that may fail
        self._weights = HeldWeights(network, settings, start)
        # smoothing belongs to training: what is evaluated later is the loss without it
        parameter = 0.0 if loss_for(plan.loss, network.output).parameter == SMOOTHING else plan.loss_parameter
        network.adopt(
            loss=plan.loss, loss_parameter=parameter, input_scaling=plan.input_scaling, target_scaling=plan.target_scaling,
            target_is_column=plan.target_is_column, predicts_classes=plan.predicts_classes, classes=plan.classes,
        )  # fmt: skip

    @property
    def network(self) -> Network:
        """The network that is trained: that of the plan, for good."""
        return self._network

    @property
    def n_rows(self) -> int:
        """Number of rows in one epoch."""
        return self._plan.n_rows

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
        m, v = (state.copy() if state.size else None for state in self._states)
        memory = self.program.memory() if isinstance(self.program, FullBatch) else full_batch.Memory()
        state = TrainingState(
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
            plateau=self._plateau,
            pairs=memory.pairs,
            converged=memory.converged,
            optimizer=self.settings.optimizer,
        )
        return self._weights.noted_in(state)

    @property
    def stopped(self) -> str | None:
        """Why there is nothing left to do: a reason of training/stopping.py, None while there are steps to take."""
        # an epoch whose last step is taken is finished before its seconds count
        seconds = self._earlier_seconds + (self._seconds if self.row < self.n_rows else 0.0)
        has_converged = isinstance(self.program, FullBatch) and self.program.converged and self.row == 0
        return stopping.reason_to_stop(self.settings, self.epoch, self.best.epoch, self._accuracy, seconds, has_converged)

    def is_finite(self) -> bool:
        """Return whether every parameter is finite: if not, training is about to find that it has diverged."""
        return bool(np.isfinite(self._weights.stepped).all())

    def run(self, read_only: bool = False) -> Generator[Progress | Epoch, None, None]:
        """Train until there is a reason to stop: yield Progress at least every 0.2 s and an Epoch at the end of each. See fit.fit.

        read_only: whether the network is only read until the epoch ends; what is written to it before that is then lost.
        """
        return fit(self, read_only=read_only)

    def end(self) -> None:
        """Give the network the weights that training ends with, unless it has them already."""
        self._weights.hold_best()

    def _go_on(self) -> None:
        """Give the network the weights that steps go on from."""
        if self.network.input_scaling is not self._plan.input_scaling:
            raise ConfigError("input_scaling: expected to stay while the network is trained, got another one; use a new Network")
        if self.network.target_scaling is not self._plan.target_scaling:
            raise ConfigError("target_scaling: expected to stay while the network is trained, got another one; use a new Network")
        self._weights.hold_last()

    def step(self) -> None:
        """Take one step: one batch of the epoch under way. Ends no training by itself: `stopped` says whether it should."""
        if self.row >= self.n_rows:
            self.end_epoch()
        self._train_rows(min(self.row + self.batch_size, self.n_rows))

    def advance(self, rows: int, goes_on: bool = False) -> Progress:
        """Take the steps of so many rows of the epoch under way, whole batches, or of what is left of it. ConfigError for anything else.

        goes_on: whether nothing was written to the network since the last steps: what wide layers are packed into need not be packed anew.
        """
        self._train_rows(min(self.row + whole_number("rows", rows), self.n_rows), goes_on)
        mean_loss = float(self._total[LOSS_SUM] / max(self._total[WEIGHT_SUM], 1e-300))
        return Progress(self.epoch + 1, known(self.settings.epochs), self.row, self.n_rows, self._seconds, mean_loss)

    def _train_rows(self, last: int, goes_on: bool = False) -> None:
        """Take the steps of rows self.row to last of this epoch's order."""
        self._go_on()
        if self._ordered_for != self.epoch and self._reader is None:
            self._order[:] = self._plan.trained_on
            with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
                random.shuffle(self._order, random.key_of(self.settings.seed, random.SHUFFLE, self.epoch))
            self._ordered_for = self.epoch
        first = self.row
        started = time.perf_counter()
        x, target, weight, order, skipped = self.rows, self.target, self.sample_weight, self._order, 0
        if self._reader is not None:
            chunk = self._reader.chunk(first, self.epoch)
            last, skipped = min(last, chunk.last), chunk.first
            x, target, order = chunk.x, chunk.target, chunk.order
        if self._augmentation is not None:  # the kernels are given the pictures of these rows alone, which lie in order
            last = min(last, first + self._augmentation.most_rows)
            rows = order[first:last]
            x, target = self._augmentation.pictures(rows, self.epoch), frozen(target[rows])
            weight = weight[rows] if weight is not None else None
            order, skipped = np.arange(last - first), first
        try:
            reached = self._take(x, target, weight, order, first - skipped, last - skipped, self._total, goes_on)
        finally:
            self.row = int(self._total[ROWS])
            self._seconds += time.perf_counter() - started
        if reached < 0:
            batch = (skipped - reached - 1) // self.batch_size + 1
            self._diverged(f"epoch {self.epoch + 1}, batch {batch} of {self.epoch_steps}")

    def step_on(self, x: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None) -> float:
        """Take one step on other rows than those of the epochs; return their mean loss before it. See fastmlp.OnlineTrainer.

        Up to `batch_size` rows, targets and weights that have passed the checks of arrays.py, rows of the type of the trainer's own.
        """
        self._go_on()
        total = np.zeros(TOTALS)
        if self._take(x, target, sample_weight, np.arange(x.shape[0]), 0, x.shape[0], total) < 0:
            self._diverged(f"step {self.steps + 1}")
        return float(total[LOSS_SUM] / total[WEIGHT_SUM])

    def _take(
        self, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, order: np.ndarray, first: int, last: int, total: np.ndarray,
        goes_on: bool = False,
    ) -> int:  # fmt: skip
        """Take the steps on the rows order[first:last] of x, which add to `total`: every step of every training is taken here.

        Whatever ends them, those taken are counted, and the network holds the last. Returns what Program.train does.
        """
        before = total[ROWS]
        m_state, v_state = self._states
        steps = Steps(
            parameters=self._weights.stepped,
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
            scale=self._plan.scale,
            shift=self._plan.shift,
            rates=self._rates.of(self.steps, -(-(last - first) // self.batch_size), self.settings, self._plateau.factor),
            mean=self.settings.reduction == "mean",
            loss_numbers=self._plan.loss_numbers,
            average=self._weights.average_of_steps,
            first_step=self.steps,
            running_stats=self.network.running_stats,
            goes_on=goes_on,
        )
        try:
            return self.program.train(steps)
        finally:  # an interrupt ends the steps early; the kernels have counted the rows that they have done
            self.steps += -(-int(total[ROWS] - before) // self.batch_size)
            self._weights.show_average()

    def end_epoch(self) -> Epoch:
        """Evaluate the rows held out after the last step of an epoch, and count it. ConfigError where steps of it are left."""
        if self.row < self.n_rows:
            raise ConfigError(f"end_epoch: expected all {self.n_rows} rows of the epoch to be done, got {self.row}; take more steps")
        self._go_on()
        loss_sum, correct, weight, _ = self._total
        if not self.is_finite():
            self._diverged(f"epoch {self.epoch + 1}, batch {self.epoch_steps} of {self.epoch_steps}")
        with self._weights.with_epoch_averaged(self.epoch + 1, self.settings):
            scores = self._validated()
        seconds = max(self._seconds, 1e-9)
        epoch = Epoch(
            epoch=self.epoch + 1,
            train_loss=float(loss_sum / weight),
            train_accuracy=None if self.network.output == "identity" else float(correct / weight),
            validation_loss=scores["loss"] if scores else None,
            validation_accuracy=scores.get("accuracy") if scores else None,
            learning_rate=self._last_rate(),
            seconds=seconds,
            samples_per_second=self.n_rows / seconds,
            validation_metric=scores[self.settings.metric] if scores else None,
        )
        self._accuracy = None if epoch.validation_accuracy != epoch.validation_accuracy else epoch.validation_accuracy  # no NaN
        self.best = stopping.better(self.best, epoch.epoch, epoch.validation_metric, self.settings.metric)
        if self.settings.restore_best and self.best.epoch == epoch.epoch:
            self._weights.keep_best()
        if self.settings.schedule == "plateau":
            judged = epoch.train_loss if epoch.validation_loss is None else epoch.validation_loss
            self._plateau = schedules.after_epoch(self._plateau, judged, self.settings)
        self.scores = scores
        self._earlier_seconds += self._seconds
        self.epoch, self.row, self._seconds = self.epoch + 1, 0, 0.0
        self._total[:] = 0.0
        return epoch

    def _last_rate(self) -> float:
        """Return the learning rate of the last step; of L-BFGS how far it went along its direction."""
        if isinstance(self.program, FullBatch):
            return self.program.length
        return float(schedules.learning_rates(self.settings, self.steps - 1, 1, self.epoch_steps, self._plateau.factor)[0])

    def prepare(self, validates: bool = True) -> None:
        """Compile what epochs need beside steps, or load it from the cache: to shuffle rows, and to evaluate those held out."""
        random.shuffle(np.arange(1), random.key_of(0, random.SHUFFLE, 0))
        if validates:
            self._validated(most=FORWARD_ROWS)

    def _validated(self, most: int | None = None) -> dict[str, float | None] | None:
        """Return what the network gives on the rows held out, the first `most` of them; None where there are none."""
        if self.validation is None:
            return None
        rows, target, weight, numbers = self.validation
        rows, numbers = (rows[:most], None) if numbers is None else (rows, numbers[:most])
        weight = None if weight is None else weight[:most]
        kernels, threads = self.settings.kernels, self.settings.threads
        return self.network.evaluate_checked(
            rows, target[:most], weight, kernels=kernels, threads=threads, numbers=numbers, metrics=(self.settings.metric,)
        )

    def _diverged(self, where: str) -> None:
        kept = self.best.epoch if self._weights.has_best else None
        are_large = divergence.are_large(self.rows, self._plan.scale, self._plan.shift)
        began_so = self.steps == self._first_step and not self.is_finite()  # a step that fails changes no weight
        found = divergence.Circumstances(are_large, isinstance(self.program, FullBatch), self.epoch == 0, kept, began_so)
        raise TrainingError(divergence.message(where, self.settings, found))
