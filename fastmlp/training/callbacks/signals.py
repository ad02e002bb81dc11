"""StopOnSignal: a training that is told to end ends after the batch, with all that it takes to go on."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from fastmlp.errors import ConfigError
from fastmlp.settings import record_refuses_unknown

if TYPE_CHECKING:
    from fastmlp.network import Network


@record_refuses_unknown
class StopOnSignal:
    """Ends a training after the block of steps in which SIGINT (Ctrl-C), SIGTERM or SIGHUP came; `received` is its number, None before.

    Signals are handled from the begin of a training to its end, or as long as the object is entered as a context; where Python takes no
    handlers, in another thread than the first one, nothing happens. A second signal calls `at_once` with its number and ends the process;
    without `at_once` it does what it would have done without this object. A second SIGHUP does nothing: a closed terminal sends one, and
    the shell in it another. Signals that the process was started to ignore, as by nohup, stay ignored.
    """

    def __init__(self, at_once: Callable[[int], None] | None = None) -> None:
        if at_once is not None and not callable(at_once):
            raise ConfigError(f"at_once: expected a function of the number of the signal, got {at_once!r:.60}")
        self.received: int | None = None
        self._at_once = at_once
        self._before: dict[int, Any] = {}
        self._is_context = False

    def __enter__(self) -> Self:
        self._is_context = True
        self._listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_context = False
        self._give_back()

    def on_fit_begin(self, network: "Network", settings: Any) -> bool:
        """Take the signals over."""
        if not self._is_context:
            self.received = None
            self._listen()
        return self.received is not None

    def on_steps_end(self, network: "Network", progress: Any) -> bool:
        """Ask to stop once a signal came."""
        return self.received is not None

    def on_epoch_end(self, network: "Network", epoch: Any) -> bool:
        """Ask to stop once a signal came."""
        return self.received is not None

    def on_fit_end(self, network: "Network", history: Any) -> None:
        """Give the signals back."""
        if not self._is_context:
            self._give_back()

    def wait(self, seconds: float) -> None:
        """Wait for the first signal, no longer than so many seconds."""
        until = time.monotonic() + seconds
        while self.received is None and time.monotonic() < until:
            time.sleep(0.01)

    def _listen(self) -> None:
        self._before = {number: signal.signal(number, self._handle) for number in signals_to_handle()}

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
        elif number == getattr(signal, "SIGHUP", None):
            return
        elif self._at_once is not None:
            try:
                self._at_once(number)
            finally:
                os._exit(128 + number)
        else:
            self._give_back()
            signal.raise_signal(number)


def signals_to_handle() -> list[int]:
    """Return the signals to take over: not those that our parent had us ignore, as nohup does with SIGHUP."""
    if threading.current_thread() is not threading.main_thread():  # where Python takes no handlers
        return []
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) not in (signal.SIG_IGN, None)]
