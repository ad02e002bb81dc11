"""Waiting for the compiler: who is told, how long it takes, whether another process compiles the same."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastmlp import machine
from fastmlp.compilation import supported
from fastmlp.errors import NotEnoughMemory

LEAST_ADDRESS_SPACE = 64 << 20  # for one kernel

_listeners: list[Callable[[str, float | None], None]] = []
_under_way = threading.local()  # .missed: for each compilation in this thread, outermost first, whether the cache had no code
_waited = 0.0
_made_elsewhere: Callable[[Path], bool] | None = None


@contextlib.contextmanager
def watch(listener: Callable[[str, float | None], None]) -> Iterator[None]:
    """Call listener(name, None) when a kernel starts to compile, listener(name, seconds) when it is done."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def compile_seconds() -> float:
    """Return for how many seconds this process has waited for the compiler."""
    return _waited


def ask_elsewhere(ask: Callable[[Path], bool] | None) -> None:
    """Before a kernel is compiled, let ask(path of its code) say whether another process has made it, for which it may wait."""
    global _made_elsewhere
    _made_elsewhere = ask


def timed(name: str, compile: Callable[[Any], Any], signature: Any) -> Any:
    """Compile or load a kernel, tell the listeners where that took the compiler, and count the time that its caller waited."""
    global _waited
    left = machine.address_space_left()
    if left is not None and left < LEAST_ADDRESS_SPACE:  # LLVM would end the process
        raise NotEnoughMemory(f"compiling {name}: this process may use {left >> 20} MiB more of address space; raise the limit (ulimit -v)")
    missed = _under_way.__dict__.setdefault("missed", [])
    missed.append(False)
    started = time.perf_counter()
    try:
        return compile(signature)
    except MemoryError:
        raise NotEnoughMemory(f"compiling {name}: the system gave no more memory; raise the limit, or use a machine with more") from None
    except (AttributeError, ImportError) as error:  # what is wrong with a formula, Numba tells by errors of its own
        raise supported.unsupported(error) from error
    finally:
        seconds = time.perf_counter() - started
        if missed.pop():
            for listener in list(_listeners):
                listener(name, seconds)
        if not missed:  # a kernel compiled inside another one is part of the other's time
            _waited += seconds


def tell_missed(name: str) -> None:
    """Tell the listeners that a kernel has to be compiled: its code is not kept."""
    missed = getattr(_under_way, "missed", None)
    if missed:
        missed[-1] = True
    for listener in list(_listeners):
        listener(name, None)


def is_made_elsewhere(path: Path) -> bool:
    """Return whether another process has made the code of a kernel that this one is about to compile; it may wait for that."""
    is_outermost = len(getattr(_under_way, "missed", [])) == 1  # of those inside, two processes would wait for each other
    return _made_elsewhere is not None and is_outermost and _made_elsewhere(path)
