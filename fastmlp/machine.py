"""What this process may use: cores, memory, folders, and what the machine is called.

Free of numba and numpy, so that it costs nothing at start. The vector width is not here: it follows from the target that Numba generates
code for (kernels/vectors.py).
"""

import os
import platform
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from fastmlp.errors import warn

CGROUP = Path("/sys/fs/cgroup")
MODEST_CACHE = 512 * 1024
MOST_THREADS = 64  # that nobody is warned of, however few cores there are


class Machine(NamedTuple):
    """The facts that a measurement has to state."""

    cpu: str
    cores: int
    memory_bytes: int | None
    system: str
    python: str


def describe() -> Machine:
    """Return the facts of this machine, as this process sees them."""
    return Machine(cpu_name(), usable_cores(), memory_limit(), platform.platform(terse=True), platform.python_version())


def usable_cores() -> int:
    """Return how many cores this process may keep busy: its affinity mask, cut by a cgroup CPU quota and by NUMBA_NUM_THREADS.

    joblib and other runners of many processes set that variable, so that these share the cores.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity mask
        cores = os.cpu_count() or 1
    quota = _own_quota()
    wanted = _number(os.environ.get("NUMBA_NUM_THREADS", ""))
    return max(1, min(cores, cores if quota is None else int(quota), wanted or cores))


def threads(wanted: int | None) -> int:
    """Return the number of threads for a call: `wanted`, None for all cores that this process may use.

    Work is cut into as many shares, which cost time and change no bit. A few more than there are cores do no harm; thousands are no
    wish, and a warning says how many are used in their place.
    """
    cores = usable_cores()
    if wanted is None or wanted <= max(cores, MOST_THREADS):
        return wanted or cores
    warn(f"threads: this process may use {cores} processors, got {wanted:,} threads; {cores} are used")
    return cores


@lru_cache(maxsize=1)
def _own_quota() -> float | None:
    """Return the quota of this process, read once: a dozen files would cost 0.3 ms at every batch of predictions."""
    return cgroup_cpu_quota()


def cgroup_cpu_quota(root: Path = CGROUP) -> float | None:
    """Return the CPU quota of this process's cgroup in cores, None where there is none.

    Version 2 has one file `cpu.max` ("max 100000" or "150000 100000"), version 1 a pair of files.
    A quota below one core is reported as it is; callers round.
    """
    quotas = []
    for folder in _cgroup_folders(root):
        period = "100000"
        words = _read(folder / "cpu.max").split()
        if len(words) == 2:
            quota, period = words
        else:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        allowed, of = _number(quota), _number(period)
        if allowed is not None and of:
            quotas.append(allowed / of)
    return min(quotas, default=None)


def memory_limit(root: Path = CGROUP) -> int | None:
    """Return the bytes of memory that this process may hold: physical memory, cgroup and RLIMIT_AS, the smallest."""
    limits = list(_memory_of_system(root))
    try:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    except ImportError:  # Windows
        pass
    return min(limits, default=None)


@lru_cache(maxsize=1)
def _memory_of_system(root: Path) -> tuple[int, ...]:
    """Return physical memory and the limits of the cgroup, read once: two dozen files would take a tenth of a small training."""
    limits = []
    try:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        pass
    for folder in _cgroup_folders(root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(_read(folder / name))
            if limit is not None:
                limits.append(limit)
    return tuple(limits)


def memory_left() -> int | None:
    """Return the bytes that this process may still ask for: the limit, but of a limited address space what is not taken yet."""
    limit, left = memory_limit(), address_space_left()
    return limit if limit is None or left is None else min(limit, left)


def address_space_left() -> int | None:
    """Return the bytes of address space that this process may still take, None where that is not limited (RLIMIT_AS, ulimit -v)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = None if soft == resource.RLIM_INFINITY else _number(_read(Path("/proc/self/statm")).partition(" ")[0])
    return None if pages is None else max(0, soft - pages * os.sysconf("SC_PAGE_SIZE"))


@lru_cache(maxsize=1)
def second_level_cache(root: Path = Path("/sys/devices/system/cpu")) -> int:
    """Return the bytes of second-level cache that a core has; 512 KiB, as of many, where the system does not tell.

    Of cores of two kinds, the fewer: the first and the last one are looked at.
    """
    try:
        usable = os.sched_getaffinity(0)
    except AttributeError:
        return MODEST_CACHE
    sizes = []
    for cpu in {min(usable), max(usable)}:
        for index in (root / f"cpu{cpu}" / "cache").glob("index*"):
            level, size = (_read(index / name).strip() for name in ("level", "size"))
            kilobytes = _number(size.removesuffix("K"))
            if level == "2" and kilobytes:
                sizes.append(kilobytes * 1024)
    return min(sizes, default=MODEST_CACHE)


@lru_cache(maxsize=1)
def cpu_name() -> str:
    """Return the CPU's model name, as the operating system tells it."""
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def cache_folder() -> Path:
    """Return the folder for fetched data and compiled code: FASTMLP_CACHE_DIR, or the platform's user cache."""
    given = os.environ.get("FASTMLP_CACHE_DIR")
    if given:
        return Path(given)
    import platformdirs

    try:
        folder = Path(platformdirs.user_cache_dir("fastmlp", appauthor=False))
    except RuntimeError:  # a user without a home, as in some containers
        folder = Path("~/.cache/fastmlp")  # what older releases give
    # Not a folder called ~, made wherever the process stands.
    return folder if folder.is_absolute() else Path("/", *folder.parts[1:])


def peak_memory() -> int | None:
    """Return the largest resident size of this process so far, in bytes, None where the system does not tell."""
    if (held := re.search(r"^VmHWM:\s*(\d+) kB", _read(Path("/proc/self/status")), re.MULTILINE)) is not None:
        return int(held[1]) * 1024  # on Linux, what the next call tells begins with the peak of the process that started this one
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cgroup_folders(root: Path) -> list[Path]:
    """Return the folders that may hold this process's limits: its own cgroup and those above it, then the root."""
    folders = [root, root / "cpu", root / "memory"]
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        path = line.split(":", 2)[-1]
        parts = [part for part in path.strip().split("/") if part and part != ".."]
        for depth in range(1, len(parts) + 1):
            below = Path(*parts[:depth])
            folders += [root / below, root / "cpu" / below, root / "memory" / below]
    return folders


def _number(text: str) -> int | None:
    """Return a whole number of at least 0, None for anything else."""
    text = text.strip()  # whose blanks are not those of int()
    return int(text) if re.fullmatch("[0-9]{1,19}", text) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (OSError, ValueError):  # ValueError: a NUL byte in the path
        return ""
