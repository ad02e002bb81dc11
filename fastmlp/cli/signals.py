"""How a command ends when it is told to: SIGINT (Ctrl-C), SIGTERM and SIGHUP, exit codes 130, 143 and 129.

Anywhere else they end it at once, by a KeyboardInterrupt that cleans up on its way. A training is given `GracefulStop`: the first signal
only asks it to end, after the batch.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_last = int(signal.SIGINT)  # also what a KeyboardInterrupt means that came without us


def listen() -> None:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does."""
    for number in _ours():
        signal.signal(number, _interrupt)


def ignore() -> None:
    """Take no more signals: all is done, and a traceback from the last lines of Python would tell nothing."""
    for number in _ours():
        signal.signal(number, signal.SIG_IGN)


def exit_code() -> int:
    """Return the exit code of a command that a signal ended."""
    return 128 + _last


class GracefulStop:
    """A context in which the first signal is kept in `received`, for the training to see: it asks for a graceful stop.

    A second one calls `at_once` and exits. A second SIGHUP does not: a closed terminal sends one, and the shell in it another.
    """

    def __init__(self, at_once: Callable[[int], None]) -> None:
        self.received: int | None = None
        self._at_once = at_once
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in _ours()}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, seconds: float) -> None:
        """Wait for the first signal, no longer than so many seconds."""
        until = time.monotonic() + seconds
        while self.received is None and time.monotonic() < until:
            time.sleep(0.01)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
        elif number != getattr(signal, "SIGHUP", None):
            try:
                self._at_once(number)
            finally:
                os._exit(128 + number)


def _ours() -> list[int]:
    """Return the signals to take over: not those that our parent had us ignore, as nohup does with SIGHUP."""
    if threading.current_thread() is not threading.main_thread():  # where Python takes no handlers
        return []
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) not in (signal.SIG_IGN, None)]


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _last
    _last = number
    raise KeyboardInterrupt
