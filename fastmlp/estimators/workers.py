"""How many threads a training may use inside other people's workers: joblib's processes and threads, threadpoolctl's limits."""

import functools
import threading

import joblib
from threadpoolctl import ThreadpoolController

from fastmlp import machine


def threads(wanted: int | None) -> int:
    """Return the number of threads for a call from this thread: `wanted`, None for all that this process may use.

    In a thread of joblib it is 1, as many trainings run at once; in its processes its limit holds, by NUMBA_NUM_THREADS. A limit of
    threadpoolctl for OpenMP, set or left by OMP_NUM_THREADS, holds too.
    """
    if _is_thread_of_joblib():
        return 1
    cores = machine.usable_cores()
    limit = min((library["num_threads"] for library in _controller().select(user_api="openmp").info()), default=cores)
    return max(1, min(cores, limit, wanted or cores))


def _is_thread_of_joblib() -> bool:
    if threading.current_thread() is threading.main_thread():
        return False
    backend, _ = joblib.parallel.get_active_backend()
    return bool(backend.nesting_level)


@functools.cache
def _controller() -> ThreadpoolController:
    """Return what knows the thread pools of the libraries that are loaded; to look for them takes milliseconds."""
    return ThreadpoolController()
