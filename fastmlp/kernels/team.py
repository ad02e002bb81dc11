"""How the threads of a run of steps see each other: which shares are one's own, and the barrier between two phases.

The threads themselves are in engines/threads.py.
"""

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from fastmlp.compilation.decorators import kernel
from fastmlp.kernels.vectors import Emitter, emitted, is_x86

# Places in the shared array, a cache line apart: who has arrived, whether to stop, what thread 0 decided about that.
ARRIVED, STOP, DECISION = 0, 8, 16
SHARED = 24
SPINS = 4000  # about 100 us; then the processor is given away, because a member may be waiting for it


def new_shared() -> np.ndarray:
    """Return the array through which the members of a team see each other."""
    return np.zeros(SHARED, np.int64)


def _emit_arrive(v: Emitter, shared: Any) -> None:
    v.builder.atomic_rmw("add", v.builder.gep(shared, [v.index(ARRIVED)]), v.index(1), "acq_rel")


def _arrive_twin(shared: np.ndarray) -> None:  # interpreted, one thread does all shares
    shared[ARRIVED] += 1


def _emit_look(v: Emitter, shared: Any, place: Any) -> Any:
    return v.builder.load_atomic(v.builder.gep(shared, [place]), "acquire", 8)


def _emit_pause(v: Emitter) -> None:
    if is_x86():
        v.call("llvm.x86.sse2.pause", ir.VoidType())


def _emit_give_way(v: Emitter) -> None:
    v.call("SwitchToThread" if sys.platform == "win32" else "sched_yield", ir.IntType(32))


arrive = emitted(_arrive_twin, _emit_arrive)  # count this thread as arrived
look = emitted(lambda shared, place: int(shared[place]), _emit_look, types.int64)  # shared[place] as it is now
pause = emitted(lambda: None, _emit_pause)  # tell the processor that this is a waiting loop
give_way = emitted(lambda: None, _emit_give_way)  # let another thread have the processor


@kernel(inner=True)
def own(count, share, shares):
    """Return the first of `count` things that a share owns, and the first of the next share."""
    return count * share // shares, count * (share + 1) // shares


@kernel
def wait_for_all(shared, arrivals):
    """Wait until all threads of the team have arrived for the n-th time together: `arrivals` = n times their number; return it."""
    arrive(shared)
    spins = 0
    while look(shared, ARRIVED) < arrivals:
        pause()
        spins += 1
        if spins > SPINS:
            give_way()
    return arrivals
