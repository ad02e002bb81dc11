"""Independent models trained in parallel by this process, one thread each, over one copy of the data. Never prints.

Each model is a Trainer of its own with one thread; compiled code releases the lock, and
comes back to Python about every 0.1 s, so that the threads hardly meet. Shapes and settings may differ from model to model. A model has
the bits that it has when it is trained alone, whatever the number of cores.
"""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.data.dataset import Dataset
from fastmlp.engines.wanted import count_parameters
from fastmlp.errors import TrainingError
from fastmlp.network import Network, network_for, settings_for
from fastmlp.network.arrays import as_rows, as_target, in_classes, is_image, weight_in
from fastmlp.preprocessing import targets
from fastmlp.preprocessing.inputs import InputScaling, exact_scaling
from fastmlp.search.folds import folds_of
from fastmlp.search.task import DIVERGED, DONE, BankProgress, Folds, Task, Trained
from fastmlp.settings import FIELDS, NEVER, ON, TrainingSettings, as_text, judges_epochs, kind_of, known, metrics_of
from fastmlp.training import ahead, holdout
from fastmlp.training.history import Epoch, History, Progress
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer

SAMPLE_ROWS = 1000  # seen while kernels are compiled: as many as decide whether zeros are skipped
VALIDATION_ROWS = 240  # evaluated while kernels are compiled: one pass


def train_here(
    tasks: Sequence[Task], data: Dataset, rows: "SharedRows", cores: int | None = None
) -> Generator[BankProgress | Trained, None, None]:
    """Train every task, resolved, on a data set, whose `rows` these are, in threads of this process; see bank.train_bank."""
    started = time.perf_counter()
    _compile(tasks, data, rows)
    share = [0.0] * len(tasks)
    work = [amount_of_work(task, data) for task in tasks]
    done = 0
    events: SimpleQueue[tuple[int, float | Trained | BaseException]] = SimpleQueue()
    stop = threading.Event()

    def train(number: int) -> None:
        try:
            trained = _train(tasks[number], data, rows, lambda part: events.put((number, part)), stop)
            if trained is not None:
                events.put((number, trained))
        except BaseException as error:
            events.put((number, error))

    pool = ThreadPoolExecutor(max(1, min(cores or machine.usable_cores(), len(tasks))), thread_name_prefix="fastmlp-bank")
    try:
        for number in range(len(tasks)):
            pool.submit(train, number)
        while done < len(tasks):
            number, event = events.get()
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, Trained):
                done += 1
                share[number] = 1.0
                yield event
            else:
                share[number] = event
            total = sum(part * weight for part, weight in zip(share, work, strict=True)) / sum(work)
            yield BankProgress(done, len(tasks), total, time.perf_counter() - started)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def prepare(tasks: Sequence[Task], data: Dataset) -> None:
    """Compile what the tasks need, here and now: in the threads of a bank, one would wait for the other.

    Raises ConfigError or DataError for settings that do not fit together, or do not fit the data.
    """
    _compile([resolved(task, data) for task in tasks], data, SharedRows(data))


def sketches(tasks: Sequence[Task], data: Dataset) -> list[ahead.Sketch]:
    """Return what decides which kernels tasks need, of each kind of task once, for processes that help to compile."""
    found = {_code(task): task for task in (resolved(task, data) for task in tasks)}.values()
    return [ahead.sketch_of(data, _network(task, data), task.training.replace(threads=1)) for task in found]


def resolved(task: Task, data: Dataset) -> Task:
    """Return a task with the defaults filled in that a data set decides."""
    network = settings_for(data, task.network)
    kind = kind_of(is_image(data.x_train, data.x_train.ndim), known(network.output))
    return task._replace(network=network, training=task.training.resolved(kind, n_rows=len(data.x_train), hidden=network.hidden))


def _compile(tasks: Sequence[Task], data: Dataset, rows: "SharedRows") -> None:
    for task in {_code(task): task for task in tasks}.values():
        network = _network(task, data)
        x, y = rows.of(network)
        held_out = rows.split(task, network).held_out
        some = min(max(SAMPLE_ROWS, task.training.batch_size or 0), len(y))  # lbfgs has no batches
        # some rows do, and one of those trained on to validate on
        sample = holdout.Rows(np.arange(some), np.arange(min(held_out.size, 1)))
        weight = None if data.sample_weight is None else data.sample_weight[:some]
        trainer = Trainer(make_plan(network, x[:some], y[:some], task.training.replace(threads=1), sample, sample_weight=weight))
        trainer.prepare(validates=False)
        few = 1 if task.training.kernels == "python" else VALIDATION_ROWS
        target = network.checked_target(y[:few], len(y[:few]))
        network.evaluate_checked(network.rows_for_kernels(x[:few]), target, kernels=task.training.kernels, threads=1)


class SharedRows:
    """The training rows of a data set in the form that kernels take: bytes as they are, numbers once per type of the parameters.

    InputScaling is fitted once for all models that train on the same rows: it is a pass over them in which a thread holds the others up.
    """

    def __init__(self, data: Dataset) -> None:
        self._data, self._x, self._y = data, data.x_train, data.y_train
        self._folds: dict[Folds, np.ndarray] = {}
        self._converted: dict[np.dtype, np.ndarray] = {}
        self._splits: dict[tuple[Any, ...], holdout.Rows] = {}
        self.scalings: dict[tuple[Any, ...], InputScaling | None] = {}
        self._fitted: dict[bytes, tuple[Dataset, SharedRows]] = {}
        self._lock = threading.Lock()

    def of(self, network: Network) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y for a network; x keeps its shape, which tells images from tables.

        Numbers that the type of the parameters cannot hold are left as they are: a training moves them before it rounds them.
        """
        if network.dtype not in self._converted:
            rows = as_rows(self._x, network.n_inputs, network.dtype, "x_train")
            raw = self._x.reshape(rows.shape)
            far = exact_scaling(raw, network.dtype, per_feature=True) if rows.dtype != np.uint8 else None
            self._converted[network.dtype] = (rows if far is None else raw).reshape(self._x.shape)
        return self._converted[network.dtype], self._y

    def fitted_to(self, trained_on: np.ndarray) -> "tuple[Dataset, SharedRows]":
        """Return the data set and its rows for models that train on the rows of these numbers: columns of a table are fitted to them."""
        if self._data.fit_to is None:
            return self._data, self
        with self._lock:
            digest = hashlib.sha256(trained_on.tobytes()).digest()
            if digest not in self._fitted:
                data = self._data.fit_to(trained_on)
                self._fitted[digest] = (data, self if data is self._data else SharedRows(data))
            return self._fitted[digest]

    def split(self, task: Task, network: Network) -> holdout.Rows:
        """Return which rows a task trains on, and which are held out for it: its fold, unless its settings judge epochs.

        Then they are judged by some of the other rows, drawn as a training on these rows alone draws them: see `fold`.
        """
        settings = task.training
        key: tuple[Any, ...]
        if task.folds is not None:
            others, fold = self._of_folds(task.folds, task.fold)
            if not judges_epochs(vars(settings)):
                return holdout.Rows(others, fold)
            key = (task.folds, task.fold, settings.validation, settings.holdout, settings.split_seed, network.output, network.n_outputs)
            if key not in self._splits:
                inside = self._drawn(settings, network, others)
                self._splits[key] = holdout.Rows(others[inside.train], others[inside.held_out])
            return self._splits[key]
        if task.train_rows is not None:
            held_out = np.empty(0, np.int64) if task.validation_rows is None else task.validation_rows
            return holdout.Rows(task.train_rows, held_out)
        key = (settings.validation, settings.holdout, settings.split_seed, network.output, network.n_outputs)
        if key not in self._splits:
            self._splits[key] = self._drawn(settings, network)
        return self._splits[key]

    def fold(self, task: Task) -> np.ndarray | None:
        """Return the numbers (m,) of the rows that score a model once it is trained, None where those held out for it do."""
        return None if task.folds is None or not judges_epochs(vars(task.training)) else self._of_folds(task.folds, task.fold)[1]

    def _of_folds(self, folds: Folds, fold: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the rows of all other folds, and of this one."""
        if folds not in self._folds:
            self._folds[folds] = folds_of(self._data, *folds)
        fold_of = self._folds[folds]
        return np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)

    def _drawn(self, settings: TrainingSettings, network: Network, among: np.ndarray | None = None) -> holdout.Rows:
        """Return which rows the settings hold out, of all, or among those of these numbers, and then by their place there."""
        y = network.class_numbers(self._y, "y_train")
        target = as_target(y, network.output, network.n_outputs, len(y), np.float64, "y_train")
        target, output = in_classes(target, y, network.output, network.n_outputs)
        groups = self._data.groups
        if among is not None:
            target, groups = target[among], None if groups is None else groups[among]
        return holdout.split(settings, target, output, network.n_outputs, groups=groups)


def _train(task: Task, data: Dataset, rows: SharedRows, report: Callable[[float], None], stop: threading.Event) -> Trained | None:
    """Train one task in this thread; None where a stop came first."""
    started = time.perf_counter()
    split = rows.split(task, _network(task, data))
    data, rows = rows.fitted_to(split.train)
    network = _network(task, data)
    x, y = rows.of(network)
    settings = task.training.replace(threads=1)
    # what is fitted depends on the rows trained on, whatever the settings are that chose them
    fitted_for = (settings.normalize, settings.per_feature, network.dtype, hashlib.sha256(split.train.tobytes()).digest())
    network.input_scaling = rows.scalings.get(fitted_for)
    trainer = Trainer(make_plan(network, x, y, settings, split, sample_weight=data.sample_weight))
    rows.scalings[fitted_for] = network.input_scaling
    fold = rows.fold(task)
    of_fold = None if fold is None else _of_fold(network, data, fold)
    history = History()
    outcome = DONE
    try:
        with contextlib.closing(trainer.run(read_only=True)) as events:
            for event in events:
                if stop.is_set():
                    return None
                if isinstance(event, Epoch):
                    history.append(event)
                else:
                    report(_part(event))
    except TrainingError:
        outcome = DIVERGED
    kept = trainer.best.epoch if settings.restore_best and trainer.best.epoch else len(history)
    held = history[kept - 1] if history and outcome == DONE else None  # the epoch whose weights the network holds
    chosen = (settings.metric,)
    validated = {"loss": held and held.validation_loss, "accuracy": held and held.validation_accuracy}
    if held is not None and of_fold is not None:
        validated = {**network.evaluate_checked(*of_fold, kernels=settings.kernels, threads=1, metrics=chosen)}
        validated.setdefault("accuracy", None)
    elif held is not None and trainer.validation is not None and network.output == "identity":
        of_held_out = trainer.validation
        found = network.evaluate_checked(*of_held_out[:3], kernels=settings.kernels, threads=1, numbers=of_held_out.numbers)
        validated |= {score: found[score] for score in targets.SCORES}
    if held is not None and of_fold is None:
        validated[settings.metric] = held.validation_metric
    test = (
        _test(network, data, [*metrics_of(network.output)] if data.kind == "table" else chosen)
        if task.opens_test and outcome == DONE
        else None
    )
    return Trained(task, network, history, validated, test, time.perf_counter() - started, outcome)


def _of_fold(network: Network, data: Dataset, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return rows, targets and weights of a fold, as Network.evaluate_checked takes them, from what a network is about to be trained on."""
    x = network.rows_for_kernels(data.x_train[fold], "x_train")
    y = network.checked_target(data.y_train[fold], fold.size, "y_train")
    weight = None if data.sample_weight is None else weight_in(network.dtype, data.sample_weight[fold], "sample_weight of a fold")
    return x, y, weight


def _test(network: Network, data: Dataset, metrics: Sequence[str]) -> dict[str, float | None]:
    """Evaluate a trained network on the test set; the data set records it."""
    x = network.rows_for_kernels(data.x_test, "x_test")
    y = network.checked_target(data.y_test, x.shape[0], "y_test")
    return network.evaluate_checked(x, y, threads=1, metrics=metrics)


def _code(task: Task) -> tuple[Any, ...]:
    """Return what decides which kernels a task needs; tasks that agree in it compile the same."""
    settings = {**task.network.to_dict(), **task.training.to_dict()}
    return tuple(
        tuple(map(bool, value)) if isinstance(value, list) and how == ON else bool(value) if how == ON else as_text(value)
        for name, value in settings.items()
        if (how := FIELDS[name].metadata["compiles"]) != NEVER
    )


def _network(task: Task, data: Dataset) -> Network:
    network = network_for(data, task.network, task.training.seed)
    if task.start is not None:
        task.start(network)
    return network


def amount_of_work(task: Task, data: Dataset) -> float:
    """Return about how much there is to do: epochs times parameters."""
    sizes = (int(np.prod(data.x_train.shape[1:])), *task.network.hidden, len(data.class_names or ()) or 1)
    return float(max(task.training.epochs or 0, 1) * count_parameters(sizes))


def _part(progress: Progress) -> float:
    """Return which part of its training a model has behind it."""
    return (progress.epoch - 1 + progress.rows_done / progress.rows) / progress.epochs
