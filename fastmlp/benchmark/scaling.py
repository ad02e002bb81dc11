"""How the cost of training grows with the batch, the width, the depth, the rows and the threads, for fastmlp and for frameworks.

Inputs are dense random bytes: nothing can be skipped, so that the numbers hold for any data.
"""

import math
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastmlp import machine
from fastmlp.benchmark.implementations import IMPLEMENTATIONS
from fastmlp.benchmark.measure import LOSS_TOLERANCE, reached_loss
from fastmlp.benchmark.problem import make_problem
from fastmlp.benchmark.processes import Process
from fastmlp.benchmark.protocol import in_rounds
from fastmlp.benchmark.workloads import WORKLOADS, Workload

OURS = "fastmlp"
# By whom we are judged, each at its best on all threads.
FRAMEWORKS = {"jax": "unroll 1", "torch": "in-place", "numpy": "plain"}
LEARNING_RATE = 0.005  # so low that rounding stays rounding, in the widest network, too
WORK = {False: 4e9, True: 2e8}  # floating-point operations of the rows of one point, more or less
ROWS = {False: (200, 60_000), True: (100, 6_000)}  # the least and the most of them
# The sizes of each axis, then those of a quick run. The network is 784-300-10 with batches of 50 but for what the axis says.
AXES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "batch": ((1, 4, 16, 64, 256, 1024), (1, 16, 256)),
    "width": ((16, 64, 256, 1024, 4096), (16, 128, 1024)),
    "depth": ((1, 2, 4, 8), (1, 4)),
    "rows": ((1_000, 4_000, 16_000, 60_000), (500, 4_000)),
}
HIDDEN_OF_DEPTH = 256


class Point(NamedTuple):
    """The cost at one size: seconds of one unit, by implementation; what could not run, and why."""

    axis: str
    size: int
    unit: str  # "step", or "epoch" where rows grow
    seconds: Mapping[str, float]
    faults: Mapping[str, str]


class Scaling(NamedTuple):
    """All points, and what follows from them."""

    points: tuple[Point, ...]
    versions: Mapping[str, str]

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes, in the order in which they were measured."""
        return tuple(dict.fromkeys(point.axis for point in self.points))

    def of(self, axis: str) -> list[Point]:
        """Return the points of an axis, smallest size first."""
        return sorted((point for point in self.points if point.axis == axis), key=lambda point: point.size)

    def exponents(self, axis: str) -> dict[str, float]:
        """Return p of the power law seconds ~ size^p that fits best, by implementation."""
        points = self.of(axis)
        names = dict.fromkeys(name for point in points for name in point.seconds)
        found = {name: [(point.size, point.seconds[name]) for point in points if name in point.seconds] for name in names}
        return {name: exponent(pairs) for name, pairs in found.items() if len(pairs) > 1}

    def break_even(self, axis: str) -> dict[str, float | None]:
        """Return the size from which on a framework is faster than fastmlp, None where none of those measured is; see `crossing`."""
        points = self.of(axis)
        names = [name for name in FRAMEWORKS if any(name in point.seconds for point in points)]
        return {
            name: crossing([(p.size, p.seconds[name] / p.seconds[OURS]) for p in points if name in p.seconds and OURS in p.seconds])
            for name in names
        }


def exponent(pairs: Sequence[tuple[float, float]]) -> float:
    """Return p of the power law y = c x^p that fits pairs (x, y) best: a line through their logarithms."""
    x, y = np.log(np.array(pairs, np.float64)).T
    slope, _ = np.polyfit(x, y, 1)
    return float(slope)


def crossing(ratios: Sequence[tuple[float, float]]) -> float | None:
    """Return the size at which a ratio (theirs over ours) falls below 1 and stays there, None where the last one is above.

    Between two sizes the ratio is taken for a power law. The smallest size is returned where all ratios are below 1.
    """
    if not ratios or ratios[-1][1] >= 1:
        return None
    for (size, ratio), (next_size, next_ratio) in reversed(list(zip(ratios, ratios[1:], strict=False))):
        if ratio >= 1:
            part = math.log(ratio) / (math.log(ratio) - math.log(next_ratio))
            return float(size * (next_size / size) ** part)
    return float(ratios[0][0])


def workload_at(axis: str, size: int, quick: bool) -> Workload:
    """Return what is trained at one size of an axis: the network 784-300-10, batch 50, with one thing changed."""
    base = WORKLOADS["A'"]._replace(learning_rate=LEARNING_RATE, targets=(), limit=None)
    if axis == "batch":
        base = base._replace(batch_size=size)
    elif axis == "width":
        base = base._replace(sizes=(784, size, 10))
    elif axis == "depth":
        base = base._replace(sizes=(784, *[HIDDEN_OF_DEPTH] * size, 10))
    if axis == "rows":
        return base._replace(rows=size)
    least, most = ROWS[quick]
    rows = min(max(int(WORK[quick] / base.flops), least, 2 * base.batch_size), most)
    return base._replace(rows=-(-rows // base.batch_size) * base.batch_size)


def measure(
    repeats: int = 5, quick: bool = False, axes: Iterable[str] = (*AXES, "threads"), notify: Callable[[str], None] = lambda text: None
) -> Scaling:
    """Measure every axis; `notify` is given a line of text when something takes time."""
    cores = machine.usable_cores()
    points: list[Point] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastmlp-scaling-")))
        cache = folder / "cache"
        peers = [OURS, *FRAMEWORKS]
        processes = {peer: stack.enter_context(Process(peer, cores, folder, cache=cache)) for peer in peers}
        for axis in axes:
            if axis == "threads":
                for threads in range(1, cores + 1):
                    notify(f"threads {threads}")
                    with Process(OURS, threads, folder, cache=cache) as process:
                        points.append(_point(axis, threads, quick, repeats, {OURS: process}, folder))
                continue
            for size in AXES[axis][quick]:
                notify(f"{axis} {size}")
                points.append(_point(axis, size, quick, repeats, processes, folder))
        versions = {name: version for process in processes.values() for name, version in process.versions.items()}
    return Scaling(tuple(points), versions)


def _point(axis: str, size: int, quick: bool, repeats: int, processes: Mapping[str, Process], folder: Path) -> Point:
    workload = workload_at(axis, size, quick)
    name = f"{axis}-{size}"
    problem = make_problem(workload)
    problem.write(folder / name)
    faults: dict[str, str] = {}
    losses: dict[str, float] = {}
    for peer, process in processes.items():
        answer = process.ask("first", FRAMEWORKS.get(peer, "auto"), name)
        if "fault" in answer:
            faults[peer] = answer["fault"]
        else:
            losses[peer] = reached_loss(problem, np.load(folder / answer["answer"]))
    faults |= _wrong(losses)

    def turn(peer: str) -> list[float]:
        answer = processes[peer].ask("turn", FRAMEWORKS.get(peer, "auto"), name, 0.05 if quick else None)
        if "fault" in answer:
            faults[peer] = answer["fault"]
        return list(answer.get("seconds", ()))

    times = in_rounds({peer: partial(turn, peer) for peer in losses if peer not in faults}, repeats, 10.0, pause=0.02)
    for process in processes.values():
        process.ask("forget", problem=name)
    shutil.rmtree(folder / name)  # up to 50 MB a point
    steps = 1 if axis == "rows" else -(-workload.rows // workload.batch_size)
    seconds = {peer: statistics.median(found) / steps for peer, found in times.items() if found and peer not in faults}
    return Point(axis, size, "epoch" if axis == "rows" else "step", seconds, faults)


def _wrong(losses: Mapping[str, float]) -> dict[str, str]:
    if OURS not in losses:
        return {}
    ours = losses[OURS]
    return {
        peer: f"another loss: {loss:.6g}, not {ours:.6g}"
        for peer, loss in losses.items()
        if not abs(loss - ours) <= LOSS_TOLERANCE * abs(ours)
    }


def title(name: str) -> str:
    """Return what an implementation is called: "PyTorch in-place"."""
    return f"{IMPLEMENTATIONS[name].title} {FRAMEWORKS[name]}" if name in FRAMEWORKS else IMPLEMENTATIONS[name].title
