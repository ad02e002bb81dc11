"""The training loop: Trainer, and `train` and `train_epochs` on top of it. Yields what happened; never prints."""

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, Unpack

import numpy as np

from fastmlp import machine
from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError, DataError, TrainingError
from fastmlp.kernels import engine, random
from fastmlp.kernels.losses import SMOOTHING, loss_for
from fastmlp.kernels.program import Program, Steps
from fastmlp.kernels.step import LOSS_SUM, ROWS, TOTALS, WEIGHT_SUM
from fastmlp.kernels.tiled import TiledProgram
from fastmlp.kernels.updates import GRADIENT, UPDATES
from fastmlp.network import Network
from fastmlp.network.arrays import frozen
from fastmlp.preprocessing import targets
from fastmlp.settings import TrainingSettings, known, over_defaults
from fastmlp.training import augmentation, divergence, full_batch, optimizers, schedules, stopping
from fastmlp.training import callbacks as hooks
from fastmlp.training.full_batch import FullBatch
from fastmlp.training.history import Epoch, History, Progress
from fastmlp.training.keywords import TrainingKeywords, takes_settings
from fastmlp.training.plan import Plan, Validation, make_plan
from fastmlp.training.state import TrainingState
from fastmlp.training.weights import ClassWeight

CHUNK_SECONDS = 0.1  # compiled code returns to Python about this often, for Ctrl-C and progress; which rows changes no bit


class Trainer:
    """One training: a network, rows to learn from, settings, and where it stands.

    x: rows (n, K) or images, y: targets (n,) or (n, T). validation: None for what the settings say, a number or a part of the rows to hold
    out as they say, the numbers of the rows themselves (holdout.Rows), or (x, y). sample_weight: (n,) what each row counts; of rows held
    out, too. class_weight: as in the settings, or a mapping {class: weight}; of the rows trained on only. Rows are read where they lie:
    which are trained on is a list of their numbers. Everything is checked, and every kernel compiled, before the first step.
    """

    def __init__(
        self,
        network: Network,
        x: Any,
        y: Any,
        settings: TrainingSettings,
        validation: Validation = None,
        resume: TrainingState | None = None,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
    ) -> None:
        plan = make_plan(network, x, y, settings, validation, resume, sample_weight, class_weight)
        self.network, self.settings = network, plan.settings
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
        self.best = stopping.Best(start.best_epoch, start.best_value)
        self._accuracy = start.validation_accuracy
        self._best_weights = None if start.best_weights is None else start.best_weights.copy()
        self._plateau = start.plateau
        self._best_running_stats = None if start.best_running_stats is None else start.best_running_stats.copy()
        self._last_running_stats = None if start.running_stats is None else start.running_stats.copy()
        states = UPDATES[plan.update].states
        self._states = [np.zeros_like(network.parameters) if one is None else one.copy() for one in (start.m, start.v)[:states]]
        self._states += [np.zeros(0, network.dtype)] * (2 - states)
        self._order = self._trained_on.copy()
        self._ordered_for = -1
        self._chunk = self.batch_size
        self._speed = 0.0  # rows per second of the last steps
        self._begin_weights(start)
        self._touch(plan)

    def _touch(self, plan: Plan) -> None:
        """Tell the network what it is trained for: the one place that changes it before the first step, after all that may fail."""
        # smoothing belongs to training: what is evaluated later is the loss without it
        parameter = 0.0 if loss_for(plan.loss, self.network.output).parameter == SMOOTHING else plan.loss_parameter
        self.network.adopt(
            loss=plan.loss, loss_parameter=parameter, input_scaling=plan.input_scaling, target_scaling=plan.target_scaling,
            target_is_column=plan.target_is_column, predicts_classes=plan.predicts_classes,
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
        if settings.average != "swa" or not self.epoch + 1 > settings.average_start * known(settings.epochs):
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
        """Train until there is a reason to stop: yield Progress at least every 0.2 s and an Epoch at the end of each.

        May be closed at any time. When it ends, however it ends, the network holds every step taken, or with restore_best the weights
        of the best epoch; between two events it always holds the last step. Raises TrainingError where the loss is not finite.
        """
        try:
            while self.stopped is None:
                if self.row < self.n_rows:
                    yield self._advance()
                else:
                    yield self._finish_epoch()
        finally:
            self._end()

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

    def _end(self) -> None:
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
            self._finish_epoch()
        self._train_rows(min(self.row + self.batch_size, self.n_rows))

    def _advance(self) -> Progress:
        """Take steps for about CHUNK_SECONDS."""
        started = time.perf_counter()
        # whole batches, so that the steps are the same wherever the run is cut
        rows = self._train_rows(min(self.row + min(self._chunk, self._affordable_rows()), self.n_rows))
        self._speed = rows / max(time.perf_counter() - started, 1e-6)
        batches = int(self._speed * CHUNK_SECONDS) // self.batch_size
        self._chunk = max(1, min(batches, 4 * self._chunk // self.batch_size + 1)) * self.batch_size
        mean_loss = float(self._total[LOSS_SUM] / max(self._total[WEIGHT_SUM], 1e-300))
        return Progress(self.epoch + 1, known(self.settings.epochs), self.row, self.n_rows, self._seconds, mean_loss)

    def _affordable_rows(self) -> int:
        """Return the rows of as many batches as half of the time that is left will do for, one batch at least.

        Half, and half of the rest again: the last step before the budget is passed is then taken alone, and none is taken after it.
        """
        if self.settings.time_budget is None:
            return self.n_rows
        left = self.settings.time_budget - self._earlier_seconds - self._seconds
        batches = max(1, int(self._speed * left / 2.0) // self.batch_size)
        return int(batches * self.batch_size)

    def _train_rows(self, last: int) -> int:
        """Take the steps of rows self.row to last of this epoch's order; return how many rows that were."""
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
        return self.row - first

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
            rates=optimizers.rates(self.settings, self.steps, self._learning_rates(self.steps, count), self.network.dtype),
            mean=self.settings.reduction == "mean",
            loss_numbers=self._loss_numbers,
            average=self._average if self.settings.average == "ema" else None,
            first_step=self.steps,
            running_stats=self.network.running_stats,
        )

    def _learning_rates(self, first: int, count: int) -> np.ndarray:
        """Return the learning rates (count,) of the steps from `first` on, counted from 0."""
        if isinstance(self.program, FullBatch):  # its line search finds the lengths of steps
            return np.zeros(count)
        return schedules.learning_rates(self.settings, first, count, self.epoch_steps, self._plateau.factor)

    def _last_rate(self) -> float:
        """Return the learning rate of the last step; of L-BFGS how far it went along its direction."""
        return self.program.length if isinstance(self.program, FullBatch) else float(self._learning_rates(self.steps - 1, 1)[0])

    def _finish_epoch(self) -> Epoch:
        self._go_on()
        loss_sum, correct, weight, _ = self._total
        if not self.is_finite():
            self._diverged(f"epoch {self.epoch + 1}, batch {self.epoch_steps} of {self.epoch_steps}")
        self._average_epoch()
        regression = self.network.output == "identity"
        found: dict[str, float | None] = {"loss": None, "accuracy": None}
        if self.validation is not None:
            held_out, kernels, threads = self.validation, self.settings.kernels, self.settings.threads
            found = self.network.evaluate_checked(*held_out[:3], kernels=kernels, threads=threads, numbers=held_out.numbers)
        seconds = max(self._seconds, 1e-9)
        epoch = Epoch(
            epoch=self.epoch + 1,
            train_loss=float(loss_sum / weight),
            train_accuracy=None if regression else float(correct / weight),
            validation_loss=found["loss"],
            validation_accuracy=found.get("accuracy"),
            learning_rate=self._last_rate(),
            seconds=seconds,
            samples_per_second=self.n_rows / seconds,
        )
        self._accuracy = None if epoch.validation_accuracy != epoch.validation_accuracy else epoch.validation_accuracy  # no NaN
        self.best = stopping.better(self.best, epoch.epoch, found[self.settings.monitor], self.settings.monitor)
        if self.settings.restore_best and self.best.epoch == epoch.epoch:
            self._best_weights = self.network.parameters.copy()
            self._best_running_stats = self.network.running_stats.copy() if self.network.running_stats.size else None
        if self.settings.schedule == "plateau":
            monitored = epoch.train_loss if epoch.validation_loss is None else epoch.validation_loss
            self._plateau = schedules.after_epoch(self._plateau, monitored, self.settings)
        self._earlier_seconds += self._seconds
        self.epoch, self.row, self._seconds = self.epoch + 1, 0, 0.0
        self._total[:] = 0.0
        return epoch

    def _diverged(self, where: str) -> None:
        kept = self.best.epoch if self._best_weights is not None else None
        are_large = divergence.are_large(self.rows, self._scale, self._shift)
        found = divergence.Circumstances(are_large, isinstance(self.program, FullBatch), self.epoch == 0, kept)
        raise TrainingError(divergence.message(where, self.settings, found))


@takes_settings
def train_epochs(
    network: Network,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    resume: TrainingState | None = None,
    **settings: Unpack[TrainingKeywords],
) -> Iterator[Epoch]:
    """Train a network in place and yield an Epoch after each pass; stop asking, and training stops.

    The parameters are those of `train`. With restore_best the network holds the best epoch's weights when the generator is exhausted or
    closed, and the last step's before.
    """
    return _epochs_of(_trainer(network, x, y, sample_weight, resume, settings))


@takes_settings
def train(
    network: Network,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    callbacks: Iterable[hooks.Callback] = (),
    resume: TrainingState | None = None,
    **settings: Unpack[TrainingKeywords],
) -> History:
    """Train a network in place and return the History.

    x: rows (n, K), bytes or numbers, or images (n, height, width). y: classes 0…C-1 (n,) for softmax, 0 or 1 (n,) or (n, L) for
    sigmoid (classes, too, where it has several outputs), numbers (n,) or (n, T) for identity. Instead of both, a Dataset: its training
    rows, with the settings that it prefers.
    validation: rows to hold out, 5000, or a part of them, 0.2, or rows of your own, (x, y). holdout: which rows those are: "stratified",
    drawn of each class in proportion; "shuffled", drawn of all; "last"; by default the data set's own choice, else stratified for classes
    and shuffled for anything else. They follow from split_seed, never from seed.
    sample_weight: (n,) what each row counts. class_weight: "balanced", or a mapping {class: weight}; both together multiply.
    callbacks: functions f(network, epoch), called after each epoch, and objects with the hooks of fastmlp.training.callbacks; one that
    returns True ends the training. Training goes on from weights that a callback writes or assigns; an average begins anew from them.
    resume: the `state` of an earlier History, to go on where it stood. The other parameters are described in
    fastmlp.settings.TrainingSettings.

    Raises DataError or ConfigError before anything runs, TrainingError where the loss is not finite.
    """
    called = hooks.Callbacks(callbacks)
    trainer = _trainer(network, x, y, sample_weight, resume, settings)
    history = History()
    with contextlib.ExitStack() as ends:
        stop = called.begin(network, trainer.settings, history, ends)
        ends.callback(
            lambda: history.note(trainer.state())
        )  # what ends a training is undone from the last: on_fit_end finds all of this in order
        events = ends.enter_context(contextlib.closing(trainer.run()))
        while not stop and trainer.stopped is None:
            stop = called.call(hooks.EPOCH_BEGIN, network, trainer.epoch + 1)
            epoch = next((event for event in events if isinstance(event, Epoch)), None) if not stop else None
            if epoch is not None:  # None: the time was over before the epoch was
                history.append(epoch)
                stop = called.call(hooks.EPOCH_END, network, epoch)
        history.stopped = trainer.stopped or stopping.CALLBACK
    return history


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two vectors of one type have the same bits."""
    return np.array_equal(first.view(f"u{first.itemsize}"), second.view(f"u{second.itemsize}"))


def _epochs_of(trainer: Trainer) -> Iterator[Epoch]:
    with contextlib.closing(trainer.run()) as events:
        yield from (event for event in events if isinstance(event, Epoch))


def _trainer(network: Network, x: Any, y: Any, sample_weight: Any, resume: TrainingState | None, keywords: TrainingKeywords) -> Trainer:
    given: dict[str, Any] = dict(keywords)
    validation = given.pop("validation", None)
    of_data: Mapping[str, Any] = {}
    if isinstance(x, Dataset):
        if y is not None:
            raise ConfigError(f"y: expected none beside the data set {x.name}, which has its own, got one; leave it out")
        x, y, of_data = x.x_train, x.y_train, x.training_defaults
    elif y is None:
        hint = f"load it: fastmlp.load_dataset({x!r})" if isinstance(x, str) else "only a data set brings its own"
        raise DataError(f"y: expected a target for each row, got none; {hint}")
    class_weight = given.pop("class_weight") if isinstance(given.get("class_weight"), Mapping) else None
    settings = TrainingSettings.from_mapping(over_defaults(optimizers.as_settings(given), of_data), "train")
    return Trainer(network, x, y, settings, validation, resume, sample_weight, class_weight)
