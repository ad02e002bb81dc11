"""What this machine can do, measured: multiply-adds in registers, streams from the caches and from memory, threads set to work.

These are the roofs that kernels are shown under, so they are measured in the same run, by code that the same compiler made.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastmlp import machine

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
CACHE_LINE = 64  # bytes
# Where the system does not tell the size of a cache.
USUAL_CACHES = {1: 32 * 2**10, 2: 2**20, 3: 32 * 2**20}
LEAST_MEMORY, MOST_MEMORY = 2**26, 2**29  # bytes of each of two arrays that do not fit into any cache
TRIALS = 5
MOST_TRIALS = 25  # where others disturb some
AT_WORK = 0.9  # of the time of a trial, at least, for each thread: else others kept it from its core


class Peaks(NamedTuple):
    """Rates of one core and of all threads together: float32 operations a second, bytes a second. NaN: other programs disturbed it."""

    threads: int
    vector_bytes: int
    flops: tuple[float, float]
    cache_bytes: tuple[float, float]  # both arrays in the second-level cache
    memory_bytes: tuple[float, float]

    def of(self, rates: tuple[float, float], threads: int) -> float:
        """Return the rate of one core, or that of all threads."""
        return rates[0] if threads == 1 else rates[1]

    @property
    def usable(self) -> bool:
        """Return whether every rate could be measured."""
        return not any(map(math.isnan, (*self.flops, *self.cache_bytes, *self.memory_bytes)))


class Launches(NamedTuple):
    """What it costs to put threads to work, in seconds."""

    team: float  # own threads: handing over a run and getting it back
    barrier: float  # between two phases of a run
    parallel: float | None  # one parallel region of Numba, None where it has no threads
    layer: str | None  # the threading layer that Numba chose


def measure(threads: int, seconds: float = 0.1) -> Peaks:
    """Measure on one core and on `threads`; each of the six rates takes about so many seconds, and the best of five trials counts.

    A trial during which a thread had to wait for its core is made again; where that ends nowhere, the rate is NaN.
    """
    from fastmlp.kernels.vectors import vector_bytes

    pairs = {}
    for name, prepare in (("flops", _multiply_adds), ("cache_bytes", _cache_stream), ("memory_bytes", _memory_stream)):
        one = _rate(prepare, 1, seconds)
        pairs[name] = (one, _rate(prepare, threads, seconds) if threads > 1 else one)
    return Peaks(threads, vector_bytes(), **pairs)


def multiply_adds(threads: int, seconds: float = 0.1) -> float:
    """Return the float32 operations a second of so many threads, as `measure` does."""
    return _rate(_multiply_adds, threads, seconds)


def measure_launches(threads: int) -> Launches:
    """Measure what starting and meeting threads costs: the median of a few hundred starts."""
    import numba

    from fastmlp.benchmark import loops
    from fastmlp.compilation.forms import parallel
    from fastmlp.compilation.options import JIT
    from fastmlp.engines.threads import Team, new_shared
    from fastmlp.kernels import textbook

    team, shared, count = Team(threads), new_shared(), 2000
    team.run(lambda thread: 0, shared)
    starts = sorted(_seconds(lambda: team.run(lambda thread: 0, shared)) for _ in range(200))
    team.run(lambda thread: int(loops.barriers(shared, 1, team.threads)), shared)
    met = _seconds(lambda: team.run(lambda thread: int(loops.barriers(shared, count, team.threads)), shared))
    regions, layer = None, None
    if JIT:
        region, parameters = parallel(textbook.sgd_update), np.zeros(threads, np.float32)
        region(parameters, parameters, np.float32(0))
        regions = sorted(_seconds(lambda: region(parameters, parameters, np.float32(0))) for _ in range(200))[100]
        layer = numba.threading_layer()
    return Launches(starts[100], max(0.0, met - starts[100]) / count, regions, layer)


def cache_sizes(folder: Path = CACHES) -> dict[int, int]:
    """Return the bytes of data that the cache of each level holds, as one core sees it; usual sizes where the system does not tell."""
    found = dict(USUAL_CACHES)
    for index in sorted(folder.glob("index*")):
        try:
            kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
            if kind != "Instruction":
                found[int(level)] = int(size.rstrip("KMG")) * {"K": 2**10, "M": 2**20, "G": 2**30}.get(size[-1:], 1)
        except (OSError, ValueError):
            continue
    return found


# Each returns what one thread does `count` times, and how much that is: operations, or bytes.
Prepared = tuple[Callable[[int], object], float]


def _multiply_adds() -> Prepared:
    from fastmlp.benchmark import loops
    from fastmlp.kernels.vectors import vector_bytes

    lanes = vector_bytes() // 4
    data = aligned((loops.chains() + 2) * lanes)
    data[:] = np.linspace(1, 3, data.size)  # sums that differ: equal ones would be computed once
    data[-2 * lanes : -lanes], data[-lanes:] = 0.5, 1.0  # they stay near 2: neither overflow nor numbers that are too small
    return lambda count: loops.multiply_adds(data, count), 2.0 * lanes * loops.chains()


def _cache_stream() -> Prepared:
    return _stream(cache_sizes()[2] // 4)


def _memory_stream() -> Prepared:
    size = min(max(2 * cache_sizes()[3], LEAST_MEMORY), MOST_MEMORY)
    limit = machine.memory_limit()
    return _stream(size if limit is None else min(size, limit // 16))


def _stream(size: int) -> Prepared:
    """Return a += 0 b over two arrays of so many bytes, and the bytes that move: a and b are read, a is written."""
    from fastmlp.benchmark import loops

    a, b = aligned(size // 4), aligned(size // 4)
    return lambda count: loops.add_scaled(a, b, np.float32(0), count), 3.0 * a.nbytes


def _rate(prepare: Callable[[], Prepared], threads: int, seconds: float) -> float:
    from fastmlp.engines.threads import Team, new_shared

    team, shared = Team(threads), new_shared()
    prepared: dict[int, Prepared] = {}
    amounts = [0.0] * threads

    def make_ready(thread: int) -> int:
        # by the thread that uses it: memory belongs to the socket that touches it first
        work, amounts[thread] = prepared[thread] = prepare()
        work(1)
        return 0

    team.run(make_ready, shared)

    def run(count: int) -> tuple[float, bool]:
        """Return how long it took, and whether every thread was at work all the time."""
        at_work = [0.0] * threads

        def work(thread: int) -> int:
            began, used = time.perf_counter(), time.thread_time()
            prepared[thread][0](count)
            at_work[thread] = (time.thread_time() - used) / max(time.perf_counter() - began, 1e-9)
            return 0

        return _seconds(lambda: team.run(work, shared)), min(at_work) >= AT_WORK

    count = 1
    while (taken := min(run(count)[0] for _ in range(TRIALS))) < seconds / TRIALS / 2:
        count = max(2 * count, int(count * seconds / TRIALS / max(taken, 1e-6)) if taken > 1e-3 else 8 * count)
    undisturbed: list[float] = []
    for _ in range(MOST_TRIALS):
        taken, alone = run(count)
        if alone:
            undisturbed.append(taken)
        if len(undisturbed) == TRIALS:
            break
    return sum(amounts) * count / min(undisturbed) if undisturbed else math.nan


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def aligned(count: int) -> np.ndarray:
    """Return float32 zeros (count,) that begin at a cache line."""
    whole = np.zeros(count + CACHE_LINE // 4, np.float32)
    first = -whole.ctypes.data % CACHE_LINE // 4
    return whole[first : first + count]
