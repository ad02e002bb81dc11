"""The ladder: the same network in ever faster forms, from lists to tiles that skip zeros, beside the frameworks.

verify    every rung computes what float64 says, on the same rows, before anything is timed
time      rounds of turns, so that noise hits every rung alike; slow rungs run on fewer rows, and their times say so
judge     operations a second, against the peak of this machine measured in the same run
"""

import math
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmlp import machine
from fastmlp.benchmark.implementations import IMPLEMENTATIONS
from fastmlp.benchmark.machine_peaks import Peaks
from fastmlp.benchmark.measure import LOSS_TOLERANCE, PATIENCE, reached_loss
from fastmlp.benchmark.peers import numpy_peer
from fastmlp.benchmark.problem import Problem, layers_of, make_problem
from fastmlp.benchmark.processes import Process
from fastmlp.benchmark.protocol import Configuration, in_rounds
from fastmlp.benchmark.runner import Repeated, Training
from fastmlp.benchmark.workloads import LAYER, OPERATIONS, WORKLOADS, Workload
from fastmlp.errors import FastmlpError

# Largest difference to float64 that rounding explains, relative to the largest number of the same array.
TOLERANCE = 1e-4
TURN_SECONDS, QUICK_TURN_SECONDS, QUICK_PAUSE = 0.2, 0.01, 0.005
PEAK_SECONDS, QUICK_PEAK_SECONDS = 0.2, 0.06
SHORT, WHOLE = "short", "whole"


class Rung(NamedTuple):
    """One form of the same arithmetic: its name, who runs it, on one thread or on all."""

    key: str
    title: str
    peer: str
    variant: str
    on_all_threads: bool = False
    is_slow: bool = False  # it is timed on few rows
    skips: bool = False  # it leaves out products with zero, so that its operations a second are not those of the others
    is_rung: bool = True  # else it stands beside the ladder

    def configuration(self, cores: int, operation: str = "") -> Configuration:
        """Return what runs it."""
        return Configuration(self.peer, f"{self.variant} {operation}".strip(), cores if self.on_all_threads else 1)


class Scene(NamedTuple):
    """What the rungs are shown on."""

    key: str
    title: str
    workload: Workload
    unit: str  # "epoch", "step" or "call": what one time is the time of
    rows: tuple[int, int]  # timed by the fast rungs, then by the slow ones, which is also what all are verified on
    quick_rows: tuple[int, int]
    rungs: tuple[Rung, ...]

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations of a single layer; one without a name for a training."""
        return OPERATIONS if self.workload.task == LAYER else ("",)

    @property
    def unit_rows(self) -> int:
        """Rows of one unit."""
        return self.workload.rows if self.unit == "epoch" else self.workload.batch_size


class Row(NamedTuple):
    """One rung measured. With a `fault` it does not count, and that says why."""

    operation: str
    rung: Rung
    configuration: Configuration
    rows: int  # that were timed
    seconds: tuple[float, ...] = ()  # of one unit
    extrapolated: bool = False  # from fewer rows than a unit has
    error: float | None = None  # against float64
    first_seconds: float | None = None  # of the first run of all: import, compilation, few rows
    loss: float | None = None
    fault: str | None = None

    @property
    def median(self) -> float | None:
        """The middle one of all times."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def best(self) -> float | None:
        """The shortest of all times."""
        return min(self.seconds, default=None)


class Ladder(NamedTuple):
    """All rungs on one scene, and the roofs above them."""

    scene: Scene
    rows: tuple[Row, ...]
    peaks: Peaks
    versions: dict[str, str]

    def flops(self) -> float:
        """Return the operations of one unit."""
        return float(self.scene.workload.flops * self.scene.unit_rows)

    def traffic(self, operation: str) -> float:
        """Return the bytes that one unit moves at least."""
        workload = self.scene.workload
        steps = self.scene.unit_rows / workload.batch_size
        return workload.traffic(workload.batch_size, operation) * steps

    def share_of_peak(self, row: Row) -> float | None:
        """Return the part of the peak of as many cores that a row's median reaches; None without a median or a peak."""
        peak = self.peaks.of(self.peaks.flops, row.configuration.threads)
        return None if row.median is None or math.isnan(peak) else self.flops() / row.median / peak

    def of(self, operation: str) -> list[Row]:
        """Return the rows of one operation."""
        return [row for row in self.rows if row.operation == operation]

    def speed_ups(self, row: Row) -> tuple[float | None, float | None]:
        """Return by how much a row is faster than pure Python, and than the rung before it that was measured."""
        if row.median is None:
            return None, None
        counting = [each for each in self.of(row.operation) if each.median is not None and each.fault is None]
        lists = next((each.median for each in counting if each.rung.key == LISTS.key), None)
        before = [each.median for each in counting[: counting.index(row)] if each.rung.is_rung] if row in counting else []
        above_lists = None if lists is None else lists / row.median
        return above_lists, before[-1] / row.median if before and row.rung.is_rung and before[-1] is not None else None

    @property
    def wrong(self) -> list[Row]:
        """The rungs of our own that compute something else, or nothing."""
        return [row for row in self.rows if row.rung.peer == "fastmlp" and row.fault is not None]


LISTS = Rung("lists", "pure Python, lists", "python", "lists", is_slow=True)
INTERPRETED = Rung("interpreted", "kernels, interpreted", "fastmlp", "interpreted", is_slow=True)
NJIT = Rung("njit", "kernels, @njit", "fastmlp", "textbook")
PARALLEL = Rung("parallel", "kernels, prange", "fastmlp", "textbook", on_all_threads=True)
C = Rung("c", "the same loops in C", "c", "dense")
C_PARALLEL = Rung("c-parallel", "C, OpenMP", "c", "dense", on_all_threads=True)
TILES = Rung("tiles", "tiles", "fastmlp", "off")
TEAM = Rung("team", "tiles, in a team", "fastmlp", "off", on_all_threads=True)
SKIPPING = Rung("skipping", "tiles, zeros skipped", "fastmlp", "auto", on_all_threads=True, skips=True)
NUMPY = Rung("numpy", "NumPy", "numpy", "plain", on_all_threads=True, is_rung=False)
SKLEARN = Rung("sklearn", "scikit-learn", "sklearn", "partial_fit", on_all_threads=True, is_rung=False)
TORCH = Rung("torch", "PyTorch", "torch", "eager", on_all_threads=True, is_rung=False)
TORCH_IN_PLACE = Rung("torch-in-place", "PyTorch, in place", "torch", "in-place", on_all_threads=True, is_rung=False)
JAX = Rung("jax", "JAX", "jax", "unroll 1", on_all_threads=True, is_rung=False)
FRAMEWORKS = (NUMPY, SKLEARN, TORCH, TORCH_IN_PLACE, JAX)

_OF_A_LAYER = {"off": "tiles", "auto": "skipping", "unroll 1": "jit"}  # variants that have another name there
NETWORK_RUNGS = (LISTS, INTERPRETED, NJIT, PARALLEL, C, C_PARALLEL, TILES, TEAM, SKIPPING, *FRAMEWORKS)
LAYER_RUNGS = tuple(
    rung._replace(variant=_OF_A_LAYER.get(rung.variant, rung.variant)) for rung in NETWORK_RUNGS if rung not in (SKLEARN, TORCH)
)
# One sample a step of a dozen weights: nothing to split over threads, nothing to hold in tiles, and some 300 us a step in a framework.
_SLOW_HERE = tuple(rung._replace(is_slow=True) for rung in (NUMPY, TORCH, TORCH_IN_PLACE))
SCALAR_RUNGS = (LISTS, INTERPRETED, NJIT, C, *_SLOW_HERE, JAX._replace(variant="gathered"))
DENSE_LAYER = Workload(
    "layer", "dense layer 784-300, batch 50, rows of MNIST", "mnist", 50, (784, 300), "identity", "softmax", "cross_entropy", "sgd", 0.5,
    50, targets=(), task=LAYER,
)  # fmt: skip

SCENES = {
    scene.key: scene
    for scene in (
        Scene("layer", DENSE_LAYER.title, DENSE_LAYER, "call", (50, 25), (50, 2), LAYER_RUNGS),
        Scene("2-3-2", "network 2-3-2, one sample a step", WORKLOADS["G"], "step", (60_000, 2_000), (10_000, 50), SCALAR_RUNGS),
        Scene("mnist-step", "MNIST 784-300-10, a step of 50", WORKLOADS["A"], "step", (10_000, 60), (1_000, 2), NETWORK_RUNGS),
        Scene("mnist-epoch", "MNIST 784-300-10, batch 50, an epoch", WORKLOADS["A"], "epoch", (60_000, 60), (1_000, 2), NETWORK_RUNGS),
    )
}
# Left out of a quick run unless it is asked for, but for the forward pass of the single layer, which shows it.
TOO_LONG_TO_COMPILE = (PARALLEL,)
# What a word of the command line stands for; without one, the whole story.
STORY = ("2-3-2", "layer", "mnist-epoch")
SCENES_OF = {"kernels": ("layer",), "step": ("2-3-2", "mnist-step"), "epoch": ("mnist-epoch",)}
RUNG_KEYS = tuple(rung.key for rung in NETWORK_RUNGS)


class _Job(NamedTuple):
    """A rung on one scene: which process runs it, on which problem it is timed."""

    scene: Scene
    operation: str
    rung: Rung
    configuration: Configuration

    @property
    def process(self) -> tuple[str, int]:
        return self.configuration.peer, self.configuration.threads

    def problem(self, size: str) -> str:
        return f"{self.scene.key}-{size}"

    @property
    def timed(self) -> str:
        return SHORT if self.rung.is_slow else WHOLE


def measure(
    scenes: Sequence[Scene],
    repeats: int = 5,
    quick: bool = False,
    only: Iterable[str] | None = None,
    data_dir: Path | None = None,
    notify: Callable[[str], None] = lambda text: None,
) -> list[Ladder]:
    """Measure scenes, all in the same rounds; `only` names the keys of rungs, `notify` is given a line when something takes time."""
    cores = machine.usable_cores()
    jobs = jobs_of(scenes, cores, quick, only)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastmlp-bench-")))
        cache = folder / "cache"  # a new one, so that machine code of another day is never measured
        keys = list(dict.fromkeys([*(job.process for job in jobs), ("fastmlp", cores)]))
        notify(f"starting {len(keys)} processes")
        processes = {key: stack.enter_context(Process(*key, folder, cache=cache)) for key in keys}
        problems = _problems(scenes, quick, data_dir, folder)
        rows = _verify(jobs, processes, problems, folder, notify)
        seconds = QUICK_PEAK_SECONDS if quick else PEAK_SECONDS
        notify("measuring what this machine can do")
        before = _peaks(processes["fastmlp", cores], seconds)
        times = _time(jobs, rows, processes, repeats, quick, notify)
        peaks = before if quick else higher(before, _peaks(processes["fastmlp", cores], seconds))
        versions = {name: version for process in processes.values() for name, version in process.versions.items()}
    ladders = []
    for scene in scenes:
        found = [_finished(job, rows[job], times.get(job, ())) for job in jobs if job.scene is scene]
        ladders.append(Ladder(scene, tuple(best_threads(found)), peaks, versions))
    return ladders


def jobs_of(scenes: Sequence[Scene], cores: int, quick: bool, only: Iterable[str] | None = None) -> list[_Job]:
    """Return what has to be measured. On one core, a rung that only adds threads is left out.

    Frameworks run on all threads, and on one as well but in a quick run: the better one is shown.
    """
    wanted = None if only is None else set(only)
    jobs: dict[tuple[str, str, Configuration], _Job] = {}
    for scene in scenes:
        for operation in scene.operations:
            for rung in scene.rungs:
                if rung.key not in (wanted or RUNG_KEYS) or (operation == "backward" and rung.skips):
                    continue
                if quick and wanted is None and rung in TOO_LONG_TO_COMPILE and operation != OPERATIONS[0]:
                    continue
                own = rung.configuration(cores, operation)
                configurations = [own] if rung.is_rung or quick else [own, own._replace(threads=1)]
                for configuration in configurations:
                    jobs.setdefault((scene.key, operation, configuration), _Job(scene, operation, rung, configuration))
    return list(jobs.values())


def reference_answer(problem: Problem, operation: str = "") -> np.ndarray:
    """Return by how much an epoch changes the parameters, or what one operation of a layer gives: in float64, by NumPy."""
    exact = problem._replace(x=problem.inputs.astype(np.float64), parameters=problem.parameters.astype(np.float64))
    runner = numpy_peer.build(exact, f"plain {operation}".strip())
    if isinstance(runner, Training):
        runner.epoch(problem.orders[0])
        changed: np.ndarray = runner.parameters() - exact.parameters
        return changed
    if isinstance(runner, Repeated):
        runner.repeat(1)
        return runner.answer()
    raise FastmlpError(f"expected a training or a layer, got the task {problem.workload.task!r}; choose another workload")


def error_of(answer: np.ndarray, reference: np.ndarray, problem: Problem, operation: str = "") -> float:
    """Return the largest difference to the reference, each array relative to its own largest number; infinite for another shape."""
    if problem.workload.task != LAYER:
        answer = answer.astype(np.float64) - problem.parameters
    if answer.shape != reference.shape:
        return float("inf")
    if operation in ("forward", "backward"):
        pairs = [(answer, reference)]
    else:
        sides = (layers_of(vector, problem.workload.sizes) for vector in (answer, reference))
        pairs = [pair for ours, theirs in zip(*sides, strict=True) for pair in zip(ours, theirs, strict=True)]
    return float(max(np.abs(a - r).max() / np.abs(r).max() for a, r in pairs))


def higher(first: Peaks, second: Peaks) -> Peaks:
    """Return the higher one of every rate: what slows a loop down is never the loop."""

    def both(name: str) -> tuple[float, float]:
        one, every = map(np.fmax, getattr(first, name), getattr(second, name))  # NaN only where both are
        return float(one), float(every)

    return first._replace(flops=both("flops"), cache_bytes=both("cache_bytes"), memory_bytes=both("memory_bytes"))


def best_threads(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, each framework once: on the number of threads on which it is fastest."""

    def is_best(row: Row) -> bool:
        same = [each for each in rows if (each.operation, each.rung) == (row.operation, row.rung)]
        return row is min(same, key=lambda each: each.median if each.median is not None and each.fault is None else float("inf"))

    return [row for row in rows if row.rung.is_rung or is_best(row)]


def check(ladders: Sequence[Ladder]) -> None:
    """Raise FastmlpError where a rung of our own does not compute what float64 says."""
    wrong = [f"{' '.join(filter(None, (row.rung.title, row.operation)))} {row.fault}" for ladder in ladders for row in ladder.wrong]
    if wrong:
        raise FastmlpError(
            f"expected every rung to compute what float64 says, to {TOLERANCE:.0e}, but {'; '.join(wrong)}; see fastmlp check --layer"
        )


def _problems(scenes: Sequence[Scene], quick: bool, data_dir: Path | None, folder: Path) -> dict[str, Problem]:
    """Make the problems of every scene, with few rows and with all, and write them where the processes read them."""
    problems = {}
    for scene in scenes:
        for size, rows in zip((WHOLE, SHORT), scene.quick_rows if quick else scene.rows, strict=True):
            name = f"{scene.key}-{size}"
            problems[name] = make_problem(scene.workload.with_rows(rows), data_dir)
            problems[name].write(folder / name)
    return problems


def _verify(
    jobs: Sequence[_Job], processes: dict[Any, Process], problems: dict[str, Problem], folder: Path, notify: Callable[[str], None]
) -> dict[_Job, Row]:
    """Run every rung on few rows and compare; then let those that are timed on more rows get ready for them."""
    short = {(job.scene.key, job.operation): problems[job.problem(SHORT)] for job in jobs}
    references = {key: reference_answer(problem, key[1]) for key, problem in short.items()}

    def verify(key: tuple[str, int]) -> list[tuple[_Job, Row]]:
        found = []
        if processes[key].fault() is None:
            notify(f"compiling and verifying {IMPLEMENTATIONS[key[0]].title} on {key[1]}")
        for job in (job for job in jobs if job.process == key):
            row = Row(job.operation, job.rung, job.configuration, problems[job.problem(job.timed)].workload.rows)
            answer = processes[key].ask("first", job.configuration.variant, job.problem(SHORT))
            if "fault" in answer:
                found.append((job, row._replace(fault=answer["fault"])))
                continue
            problem = problems[job.problem(SHORT)]
            error = error_of(np.load(folder / answer["answer"]), references[job.scene.key, job.operation], problem, job.operation)
            fault = None if error <= TOLERANCE else f"computes something else: error {error:.1e}"
            row = row._replace(error=error, first_seconds=answer["seconds"], fault=fault)
            if fault is None and not job.rung.is_slow:
                row = _prepared(row, processes[key].ask("first", job.configuration.variant, job.problem(WHOLE)), job, problems, folder)
            found.append((job, row))
        return found

    # those that compile longest first
    keys = sorted(dict.fromkeys(job.process for job in jobs), key=lambda key: (key[0] != "fastmlp", -key[1]))
    with ThreadPoolExecutor(machine.usable_cores()) as pool:  # mostly compilers at work: one a core
        rows = {job: row for found in pool.map(verify, keys) for job, row in found}
    return {job: _with_common_loss(job, rows) for job in jobs}


def _prepared(row: Row, answer: dict[str, Any], job: _Job, problems: dict[str, Problem], folder: Path) -> Row:
    if "fault" in answer:
        return row._replace(fault=answer["fault"])
    if job.operation:
        return row
    return row._replace(loss=reached_loss(problems[job.problem(WHOLE)], np.load(folder / answer["answer"])))


def _with_common_loss(job: _Job, rows: dict[_Job, Row]) -> Row:
    """Return a row, with a fault where the loss after all rows is not the one that most of the others have reached."""
    row = rows[job]
    losses = [other.loss for each, other in rows.items() if each.scene is job.scene and other.loss is not None]
    if row.loss is None or not losses:
        return row
    expected = statistics.median_low(losses)
    if abs(row.loss - expected) <= LOSS_TOLERANCE * abs(expected):
        return row
    return row._replace(fault=f"another loss: {row.loss:.6g}, not {expected:.6g}")


def _peaks(process: Process, seconds: float) -> Peaks:
    answer = process.ask("peaks", seconds=seconds)
    if "fault" in answer:
        raise FastmlpError(f"expected the peaks of this machine, got: {answer['fault']}; run fastmlp doctor")
    flops, cache_bytes, memory_bytes = (tuple(answer[name]) for name in ("flops", "cache_bytes", "memory_bytes"))
    return Peaks(answer["threads"], answer["vector_bytes"], flops, cache_bytes, memory_bytes)


def _time(
    jobs: Sequence[_Job], rows: dict[_Job, Row], processes: dict[Any, Process], repeats: int, quick: bool, notify: Callable[[str], None]
) -> dict[_Job, list[float]]:
    seconds = QUICK_TURN_SECONDS if quick else TURN_SECONDS

    def turn(job: _Job) -> list[float]:
        answer = processes[job.process].ask("turn", job.configuration.variant, job.problem(job.timed), seconds)
        if "fault" in answer:
            rows[job] = rows[job]._replace(fault=rows[job].fault or answer["fault"])
        return list(answer.get("seconds", ()))

    turns = {job: partial(turn, job) for job in jobs if rows[job].fault is None}
    pause = QUICK_PAUSE if quick else None
    return in_rounds(turns, repeats, PATIENCE, lambda text: notify(f"timing, {text}, {len(turns)} rungs"), pause=pause)


def _finished(job: _Job, row: Row, times: Sequence[float]) -> Row:
    """Return a row with its times scaled to one unit."""
    factor = job.scene.unit_rows / row.rows
    return row._replace(seconds=tuple(seconds * factor for seconds in times), extrapolated=row.rows < job.scene.unit_rows)


def versions_of(ladders: Iterable[Ladder]) -> dict[str, str]:
    """Return the versions of all that took part."""
    return {name: version for ladder in ladders for name, version in ladder.versions.items()}


def missing_of(ladder: Ladder) -> list[str]:
    """Return the titles of the frameworks that are not installed here."""
    absent = [row.rung.peer for row in ladder.rows if row.fault is not None and row.fault.startswith("not installed")]
    return [IMPLEMENTATIONS[peer].title for peer in dict.fromkeys(absent)]
