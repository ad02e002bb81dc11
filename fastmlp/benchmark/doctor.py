"""What this machine is and what to expect of it: facts, measurements, and advice that follows from both."""

import math
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastmlp import __version__, machine
from fastmlp.benchmark.machine_peaks import Launches, Peaks, cache_sizes, measure_launches
from fastmlp.benchmark.machine_peaks import measure as measure_peaks
from fastmlp.errors import ConfigError

if TYPE_CHECKING:
    from fastmlp.engines.program import Program
    from fastmlp.engines.tiled import TiledProgram
    from fastmlp.training.full_batch import FullBatch

ROWS_OF_AN_EPOCH = 60_000  # of MNIST
# About as in MNIST: in half of the columns all numbers are zero, in the others so many are; that makes four of five.
ZERO_COLUMNS, ZERO_REST = 0.5, 0.62
TIMED_SECONDS = 0.5
MOST_BYTES = 16 * 2**20  # of the rows that are tried
# What changes how fast fastmlp is, for good or ill.
VARIABLES = (
    "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES",
    "FASTMLP_LEVEL", "NUMBA_BOUNDSCHECK", "NUMBA_OPT", "FASTMLP_CACHE_DIR", "FASTMLP_DATA_DIR",
)  # fmt: skip


class Cpu(NamedTuple):
    """The processor, as this process may use it."""

    name: str
    architecture: str
    present: int  # processors of the machine
    allowed: int  # by the affinity mask
    quota: float | None  # of the cgroup, in cores
    usable: int
    load: float | None  # mean number of processes that wanted to run in the last minute
    widest: str  # vector instructions that the processor has
    target: str  # the level, or the processor, that code is made for
    vector_bytes: int  # of the vectors in that code
    caches: dict[int, int]  # bytes by level
    memory_bytes: int | None


class Cache(NamedTuple):
    """Compiled code that is kept."""

    folder: Path
    kernels: int  # of this version
    bytes: int
    old_bytes: int  # of other versions
    writable: bool
    shipped: int  # kernels that came with the package, for this level
    why_not_shipped: str | None  # why it brought none that can be used


class Plan(NamedTuple):
    """How a network would be trained here, and how long an epoch would take."""

    sizes: tuple[int, ...]
    batch_size: int
    rows: int
    kernels: str  # "tiles" or "textbook loops"
    tiles: tuple[str, ...]  # of the hidden layers: rows x vectors
    threads: int
    seconds: float  # of an epoch, dense inputs
    sparse_seconds: float  # the same with as many zeros as MNIST has
    share_of_peak: float | None  # of the dense one; None where the peak could not be measured


class Report(NamedTuple):
    """All that the doctor found."""

    versions: dict[str, str]
    cpu: Cpu
    variables: dict[str, str]
    cache: Cache
    peaks: Peaks
    launches: Launches
    plan: Plan
    advice: tuple[str, ...]


def examine(sizes: Sequence[int], batch_size: int, rows: int = ROWS_OF_AN_EPOCH, seconds: float = 0.1) -> Report:
    """Look at this machine, measure it, and try a network of these sizes on it: a few seconds. Raises ConfigError without compiler."""
    from fastmlp.compilation.options import JIT

    if not JIT:
        raise ConfigError(
            "NUMBA_DISABLE_JIT: expected compiled kernels to examine, got interpreted ones, a thousand times slower; unset it"
        )
    cpu = describe_cpu()
    peaks, launches = measure_peaks(cpu.usable, seconds), measure_launches(cpu.usable)
    plan = try_network(sizes, batch_size, rows, peaks)
    variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    report = Report(versions(), cpu, variables, describe_cache(), peaks, launches, plan, ())
    return report._replace(advice=tuple(advise(report)))


def versions() -> dict[str, str]:
    """Return the versions of what makes the code."""
    import llvmlite
    import numba
    from llvmlite import binding

    return {
        "fastmlp": __version__,
        "python": platform.python_version(),
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "llvm": ".".join(map(str, binding.llvm_version_info)),
        "numpy": np.__version__,
        "system": platform.platform(terse=True),
    }


def describe_cpu() -> Cpu:
    """Return the facts of the processor."""
    from llvmlite import binding

    from fastmlp.compilation.levels import target
    from fastmlp.kernels.vectors import vector_bytes

    features = {name for name, present in binding.get_host_cpu_features().items() if present}
    widest = next((name for name in ("avx512f", "avx2", "avx", "neon", "sse2") if name in features), "unknown")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return Cpu(
        machine.cpu_name(), platform.machine(), os.cpu_count() or 1, allowed, machine.cgroup_cpu_quota(), machine.usable_cores(), load,
        widest, target().name, vector_bytes(), cache_sizes(), machine.memory_limit(),
    )  # fmt: skip


def describe_cache() -> Cache:
    """Return the state of the folders of compiled code."""
    from fastmlp.compilation import levels, shipped
    from fastmlp.compilation.stamps import code_folder, why_not_shipped

    why_not, files = why_not_shipped(), shipped.files(levels.target().name)
    folder = code_folder()
    current = _sizes(folder)
    others = [_sizes(other) for other in folder.parent.glob("*") if other.is_dir() and other != folder]
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    writable = os.access(place, os.W_OK | os.X_OK)
    return Cache(folder, len(current), sum(current), sum(map(sum, others)), writable, 0 if why_not else len(files), why_not)


def _sizes(folder: Path) -> list[int]:
    try:
        return [path.stat().st_size for path in folder.glob("*.code")]
    except OSError:  # another process clears up
        return []


def try_network(sizes: Sequence[int], batch_size: int, rows: int, peaks: Peaks) -> Plan:
    """Train a network of these sizes for a moment, on dense bytes and on bytes most of which are zero. Raises ConfigError."""
    from fastmlp.benchmark.workloads import WORKLOADS
    from fastmlp.engines.tiled import TiledProgram

    if len(sizes) < 2:
        raise ConfigError(f"--shape: expected at least two sizes, like 784,300,10, got {','.join(map(str, sizes))}")
    batch_size = min(batch_size, rows)
    dense, program = _seconds_per_row(sizes, batch_size, with_zeros=False)
    sparse, _ = _seconds_per_row(sizes, batch_size, with_zeros=True)
    tiled = isinstance(program, TiledProgram)
    tiles = tuple(f"{shape.MR} x {shape.NV}" for shape in program.tile_shapes) if isinstance(program, TiledProgram) else ()
    flops = WORKLOADS["A"]._replace(sizes=tuple(sizes)).flops
    peak = peaks.of(peaks.flops, program.threads)
    return Plan(
        tuple(sizes), batch_size, rows, "tiles" if tiled else "textbook loops", tiles, program.threads, dense * rows, sparse * rows,
        None if math.isnan(peak) else flops / dense / peak,
    )  # fmt: skip


def _seconds_per_row(sizes: Sequence[int], batch_size: int, with_zeros: bool) -> "tuple[float, Program | TiledProgram | FullBatch]":
    from fastmlp.network import Network
    from fastmlp.settings import TrainingSettings
    from fastmlp.training.history import Epoch
    from fastmlp.training.plan import make_plan
    from fastmlp.training.trainer import Trainer

    rows = max(2 * batch_size, min(40 * batch_size, MOST_BYTES // sizes[0]))
    generator = np.random.default_rng(0)
    x = generator.integers(1, 256, (rows, sizes[0]), np.uint8)
    if with_zeros:  # where no digit ever is, and around most of them
        x[:, generator.random(sizes[0]) < ZERO_COLUMNS] = 0
        x[generator.random(x.shape, np.float32) < ZERO_REST] = 0
    y = x[:, :1].astype(np.float32) if sizes[-1] == 1 else generator.integers(0, sizes[-1], rows)
    trainer = Trainer(make_plan(Network(sizes), x, y, TrainingSettings(epochs=10**9, batch_size=batch_size, learning_rate=1e-4)))
    events, best, until = trainer.run(read_only=True), float("inf"), time.perf_counter() + TIMED_SECONDS
    while time.perf_counter() < until or best == float("inf"):
        started = time.perf_counter()
        next(event for event in events if isinstance(event, Epoch))
        best = min(best, (time.perf_counter() - started) / rows)
    return best, trainer.program


def advise(report: Report) -> list[str]:
    """Return what is slow here and how to mend it, one line each; nothing where all is well."""
    return [line for rule in RULES for line in rule(report)]


def _about_cores(report: Report) -> list[str]:
    cpu, found = report.cpu, []
    if cpu.quota is not None and cpu.quota < cpu.allowed:
        found.append(f"the cgroup allows {cpu.quota:g} of {cpu.allowed} cores: give the container more CPU")
    if cpu.allowed < cpu.present:
        found.append(f"the affinity mask allows {cpu.allowed} of {cpu.present} cores: start without taskset, or ask the scheduler for more")
    threads = report.variables.get("NUMBA_NUM_THREADS", "")
    if threads.isdigit() and int(threads) < cpu.usable:
        found.append(f"NUMBA_NUM_THREADS={threads} keeps the textbook loops from {cpu.usable} cores: unset it")
    if cpu.load is not None and cpu.load > 0.5 * cpu.present:
        found.append(
            f"other programs keep {cpu.load:.1f} of {cpu.present} cores busy: what is measured here is too low; close them, ask again"
        )
    elif not report.peaks.usable:
        found.append("other programs kept cores busy while they were measured: close them, ask again")
    return found


def _about_vectors(report: Report) -> list[str]:
    cpu = report.cpu
    width = {"avx512f": 64, "avx2": 32, "avx": 32}.get(cpu.widest, 16)
    if cpu.vector_bytes < width:
        variables = "FASTMLP_LEVEL, NUMBA_CPU_NAME and NUMBA_CPU_FEATURES"
        return [f"vectors of {8 * cpu.vector_bytes} bits, the processor has {8 * width}: unset {variables}"]
    if cpu.vector_bytes == 16 and cpu.architecture.lower() in ("x86_64", "amd64"):
        return ["this processor has no AVX2: expect a quarter of the speed of one that has"]
    return []


def _about_the_compiler(report: Report) -> list[str]:
    found = []
    if report.variables.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0"):
        found.append("NUMBA_BOUNDSCHECK is set, which makes every access slower: unset it")
    if report.variables.get("NUMBA_OPT", "3") not in ("3", "max"):
        found.append(f"NUMBA_OPT={report.variables['NUMBA_OPT']} turns optimisation down: unset it")
    if report.launches.layer == "workqueue":
        found.append("Numba has the workqueue threading layer, slow to start, for textbook loops only: install OpenMP (libgomp)")
    return found


def _about_the_cache(report: Report) -> list[str]:
    cache, found = report.cache, []
    if not cache.writable:
        found.append(f"{cache.folder} cannot be written, so each start compiles anew: set FASTMLP_CACHE_DIR to a folder that can")
    if cache.old_bytes > 100 * 2**20:
        found.append(f"{cache.folder.parent} holds {cache.old_bytes >> 20} MiB of code of other versions: its folders can be deleted")
    return found


def _about_the_network(report: Report) -> list[str]:
    plan, peaks, found = report.plan, report.peaks, []
    if plan.kernels != "tiles":
        if len(plan.sizes) == 2:
            found.append("a network without a hidden layer runs the textbook loops: nothing to mend, it is small")
        elif plan.batch_size < 4:
            found.append(f"a batch of {plan.batch_size} runs the textbook loops: from 4 rows on, tiles are several times faster per row")
    ideal = peaks.flops[0] * peaks.threads
    if peaks.threads > 1 and peaks.flops[1] < 0.7 * ideal:
        share = f"{peaks.flops[1] / peaks.flops[0]:.1f} times one core's on {peaks.threads}"
        found.append(f"all cores together reach {share}: they are hyper-threads of fewer cores, or others use them; try --threads")
    weights = 4 * sum(k * n for k, n in zip(plan.sizes, plan.sizes[1:], strict=False))
    room = report.cpu.caches[2] * max(1, plan.threads)
    if weights > room and plan.batch_size < 128:
        mib = f"{weights / 2**20:.1f} MiB of weights do not fit into {room / 2**20:.1f} MiB of second-level cache"
        found.append(f"{mib}: a larger batch reads them less often per row")
    if report.cpu.memory_bytes is not None and weights * 4 > report.cpu.memory_bytes:
        found.append("the weights and their copies need more memory than this process may use: choose fewer units")
    return found


RULES = (_about_cores, _about_vectors, _about_the_compiler, _about_the_cache, _about_the_network)
