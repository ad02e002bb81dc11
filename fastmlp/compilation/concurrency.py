"""How Python calls kernels that run over threads, a forked child among others."""

import os
import sys
import threading
from typing import Any

from fastmlp.compilation import supported

with supported.parts():
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import CPUDispatcher

_forked_after_parallel = False
_one_region = threading.RLock()


class OverThreads(CPUDispatcher):
    """How Python calls a kernel that runs over threads, so that no call is the end of the process. Compiled code calls past it.

    Numba's workqueue layer aborts when two Python threads start a parallel kernel at once: they take turns. GNU OpenMP kills a
    forked child at its first parallel kernel, whoever started the threads of the parent: there the serial form runs, to the same bits.
    """

    serial: Any

    def __call__(self, *arguments: Any) -> Any:
        """Run the kernel."""
        if forked_after_parallel():
            return self.serial(*arguments)
        with one_region_at_a_time():
            return super().__call__(*arguments)


def forked_after_parallel() -> bool:
    """Return whether this process was forked from one that had started the threads of parallel kernels."""
    return _forked_after_parallel


def one_region_at_a_time() -> Any:
    """Return the lock that a Python thread holds while a parallel kernel runs; it may take it again."""
    return _one_region


def _after_fork_in_child() -> None:
    global _forked_after_parallel, _one_region
    layer = sys.modules.get("numba.np.ufunc.parallel")
    _forked_after_parallel = bool(getattr(layer, "_is_initialized", False))
    _one_region = threading.RLock()  # another thread of the parent may have held the old one
    global_compiler_lock.release()


if hasattr(os, "register_at_fork"):
    # A fork waits for the compilation under way: the child would wait for ever for a lock held by a thread that it does not have.
    os.register_at_fork(
        before=global_compiler_lock.acquire, after_in_parent=global_compiler_lock.release, after_in_child=_after_fork_in_child
    )
