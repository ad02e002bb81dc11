"""The training time until a target test accuracy: one recipe per target, trained with many seeds, and the peers on the same recipe.

The recipes were chosen on held-out training rows. A run is timed from the bytes in memory to the trained network: its weights drawn, rows
checked and shuffled, every step taken. Loading, imports and compilation are reported separately. Each trained network is evaluated on
the test set once. Peers begin with the same weights and take the same rows in the same order at the same rates; what they need besides,
rows as floats, the order of rows and changed pictures, is ready before their time begins.
"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmlp import __version__, machine
from fastmlp.benchmark.implementations import IMPLEMENTATIONS
from fastmlp.benchmark.problem import Problem
from fastmlp.benchmark.processes import Process
from fastmlp.benchmark.runner import Course
from fastmlp.benchmark.workloads import COURSE, Workload
from fastmlp.compilation.waiting import compile_seconds
from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError
from fastmlp.kernels import random
from fastmlp.network import Network, network_for
from fastmlp.network.arrays import frozen
from fastmlp.quantities import percent
from fastmlp.search.statistics import Summary, lower_bound, summarise
from fastmlp.settings import NetworkSettings, TrainingSettings, known
from fastmlp.training import augmentation, schedules
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer

DATASET = "mnist"
PEERS = tuple(name for name, implementation in IMPLEMENTATIONS.items() if COURSE in implementation.variants)


class Recipe(NamedTuple):
    """The settings of a run: ReLU units, softmax, plain gradient descent."""

    hidden: tuple[int, ...]
    training: Mapping[str, Any]

    @property
    def network_settings(self) -> NetworkSettings:
        """The settings of the network."""
        return NetworkSettings(hidden=self.hidden)

    def training_settings(self, seed: int = 0, threads: int | None = None) -> TrainingSettings:
        """Return the settings of one training."""
        return TrainingSettings(**self.training, validation=0, seed=seed, threads=threads).resolved("image")


# A rate that rises for an epoch, so that it may be high, and then falls to 0.
FALLING = {"schedule": "linear", "warmup_epochs": 1.0, "label_smoothing": 0.1}
# By target, per cent of the test rows.
RECIPES = {
    98: Recipe((256,), {"batch_size": 64, "epochs": 4, "learning_rate": 1.2, **FALLING}),
    99: Recipe((512, 256), {"batch_size": 64, "epochs": 12, "learning_rate": 0.8, **FALLING, "augment_elastic": 0.9}),
}


class Run(NamedTuple):
    """One training: its seed, its seconds, what it reached on the test rows."""

    seed: int
    seconds: float
    accuracy: float


class Contestant(NamedTuple):
    """All runs of one implementation. With a `fault` it took no part, or not to the end, and that says why."""

    peer: str
    variant: str
    threads: int
    first_seconds: float | None = None  # of a peer: until a first epoch is done that is thrown away, compilation included
    runs: tuple[Run, ...] = ()
    fault: str | None = None
    version: str | None = None

    @property
    def median_seconds(self) -> float | None:
        """The middle one of all times."""
        return statistics.median(run.seconds for run in self.runs) if self.runs else None

    @property
    def accuracy(self) -> Summary | None:
        """Mean and spread of what the runs reached."""
        return summarise([run.accuracy for run in self.runs])

    @property
    def lower_bound(self) -> float | None:
        """One-sided 95 % lower confidence bound of the mean."""
        return lower_bound([run.accuracy for run in self.runs])


class Result(NamedTuple):
    """What a speedrun found. It counts if `reached`: if our mean is at least the target."""

    dataset: str
    target: int  # per cent
    sizes: tuple[int, ...]
    settings: dict[str, Any]
    ours: Contestant
    peers: tuple[Contestant, ...]
    reached: bool


def record(found: Contestant) -> dict[str, Any]:
    """Return what was found as a record, with what follows from the runs."""
    derived = {"median_seconds": found.median_seconds, "accuracy": found.accuracy, "lower_bound": found.lower_bound}
    return {**found._asdict(), **derived}


def recipe_for(target: int) -> Recipe:
    """Return the recipe of a target; raise ConfigError where there is none."""
    if target not in RECIPES:
        raise ConfigError(f"target: expected one of {', '.join(map(str, RECIPES))}, got {target}")
    return RECIPES[target]


def measure(
    data: Dataset,
    target: int,
    seeds: int,
    threads: int | None = None,
    peers: Sequence[str] = (),
    peer_seeds: int = 0,
    notify: Callable[[str], None] = lambda text: None,
) -> Result:
    """Train with the seeds 0, 1, … in turns, the peers with the first `peer_seeds` of them."""
    recipe = recipe_for(target)
    wanted = threads or machine.usable_cores()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastmlp-speedrun-")))
        rivals = []
        if peers:
            problem_of(recipe, data).write(folder / str(target))
            for peer in peers:
                process = stack.enter_context(Process(peer, wanted, folder))
                rivals += [Rival(process, peer, variant, wanted, folder) for variant in IMPLEMENTATIONS[peer].variants[COURSE]]
        runs = []
        for seed in range(seeds):
            run, network = _run(recipe, data, seed, threads)
            runs.append(run)
            notify(f"seed {seed}: {run.seconds:.2f} s, {percent(run.accuracy)}")
            if seed < peer_seeds:
                for rival in rivals:
                    rival.run(target, seed, network, data, notify)
    ours = Contestant("fastmlp", "", wanted, runs=tuple(runs), version=__version__)
    mean = statistics.fmean(run.accuracy for run in runs)
    settings = {"network": recipe.network_settings.to_dict(), "train": recipe.training_settings(threads=threads).to_dict()}
    return Result(data.name, target, network.sizes, settings, ours, tuple(rival.contestant() for rival in rivals), mean >= target / 100)


def prepare(data: Dataset, target: int, threads: int | None = None) -> float:
    """Compile what the runs need, or load it, on rows that are too few to learn from; return for how long the compiler was waited for."""
    before, recipe = compile_seconds(), recipe_for(target)
    settings = recipe.training_settings(threads=threads).replace(epochs=1)
    network = network_for(data, recipe.network_settings, seed=0)
    some = 3 * known(settings.batch_size) + 1
    for _ in Trainer(make_plan(network, data.x_train[:some], data.y_train[:some], settings)).run():
        pass
    network.evaluate(data.x_train[:1000], data.y_train[:1000])
    return compile_seconds() - before


def _run(recipe: Recipe, data: Dataset, seed: int, threads: int | None) -> tuple[Run, Network]:
    """Train with a seed, and look at the test rows once."""
    started = time.perf_counter()
    network = network_for(data, recipe.network_settings, seed)
    for _ in Trainer(make_plan(network, data.x_train, data.y_train, recipe.training_settings(seed, threads))).run(read_only=True):
        pass
    seconds = time.perf_counter() - started
    return Run(seed, seconds, _test_accuracy(network, data)), network


def _test_accuracy(network: Network, data: Dataset) -> float:
    accuracy = network.evaluate(data.x_test, data.y_test)["accuracy"]
    return float(accuracy or 0.0)


# --- peers ---------------------------------------------------------------------------------------------------------------


def problem_of(recipe: Recipe, data: Dataset) -> Problem:
    """Return a recipe and its rows as peers are told of them; weights and orders they draw by the seed of each run."""
    settings = recipe.training_settings()
    x = data.x_train.reshape(len(data.x_train), -1)
    network = network_for(data, recipe.network_settings, seed=0)
    workload = Workload(
        "speedrun", "a whole training", data.name, len(x), network.sizes, "relu", "softmax", "cross_entropy", "sgd",
        known(settings.learning_rate), known(settings.batch_size), targets=(), task=COURSE,
    )  # fmt: skip
    return Problem(workload, x, data.y_train.astype(np.int64), network.parameters, np.empty((0, len(x)), np.int64))


class Rival:
    """One variant of a peer at work in its process, and what it has reached so far."""

    def __init__(self, process: Process, peer: str, variant: str, threads: int, folder: Path) -> None:
        self._process, self._folder = process, folder
        self._found = Contestant(peer, variant, threads)
        self._runs: list[Run] = []

    def run(self, target: int, seed: int, network: Network, data: Dataset, notify: Callable[[str], None]) -> None:
        """Have the peer train with a seed, and measure what came of it with the arithmetic of `network`, which is changed."""
        found = self._found
        if found.fault is not None:
            return
        answer = self._process.ask(COURSE, found.variant, str(target), seed=seed)
        if "fault" in answer:
            self._found = found._replace(fault=answer["fault"])
            return
        if not self._runs:
            self._found = found._replace(first_seconds=answer["first"])
        network.parameters[:] = np.load(self._folder / answer["answer"])
        self._runs.append(Run(seed, answer["seconds"], _test_accuracy(network, data)))
        title = f"{IMPLEMENTATIONS[found.peer].title} {found.variant}"
        notify(f"seed {seed}: {title} {self._runs[-1].seconds:.2f} s, {percent(self._runs[-1].accuracy)}")

    def contestant(self) -> Contestant:
        """Return all that was found."""
        versions = self._process.versions
        version = versions.get(next(iter(IMPLEMENTATIONS[self._found.peer].packages.values()), ""))
        return self._found._replace(runs=tuple(self._runs), version=version)


def take_course(course: Course, problem: Problem, recipe: Recipe, seed: int, epochs: int | None = None) -> float:
    """Train a peer with a seed, for all epochs or the first ones; return the seconds of its epochs."""
    settings = recipe.training_settings(seed)
    n = len(problem.x)
    batch_size = known(settings.batch_size)
    steps = -(-n // batch_size)
    changes = None
    if augmentation.is_wanted(settings):
        changes = augmentation.Augmentation(settings, frozen(problem.x), (28, 28), batch_size, machine.usable_cores())
    course.start(Network(problem.workload.sizes, seed=seed).parameters)
    course.show(problem.x)
    seconds = 0.0
    for number in range(known(settings.epochs) if epochs is None else epochs):
        order = np.arange(n)
        random.shuffle(order, random.key_of(seed, random.SHUFFLE, number))
        rates = schedules.learning_rates(settings, number * steps, steps, steps)
        if changes is not None:
            parts = (np.arange(first, min(first + changes.most_rows, n)) for first in range(0, n, changes.most_rows))
            course.show(np.concatenate([changes.pictures(part, number).copy() for part in parts]))
        started = time.perf_counter()
        course.epoch(order, rates)
        seconds += time.perf_counter() - started
    return seconds
