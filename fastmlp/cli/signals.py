"""How a command ends when it is told to: SIGINT (Ctrl-C), SIGTERM and SIGHUP, exit codes 130, 143 and 129.

They end it at once, by a KeyboardInterrupt that cleans up on its way, but a training: there fastmlp.callbacks.StopOnSignal listens, and
the first signal only asks it to end, after the batch.
"""

import signal
from types import FrameType

from fastmlp.training.callbacks.signals import signals_to_handle

_last = int(signal.SIGINT)  # also what a KeyboardInterrupt means that came without us


def listen() -> None:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does."""
    for number in signals_to_handle():
        signal.signal(number, _interrupt)


def ignore() -> None:
    """Take no more signals: all is done, and a traceback from the last lines of Python would tell nothing."""
    for number in signals_to_handle():
        signal.signal(number, signal.SIG_IGN)


def exit_code() -> int:
    """Return the exit code of a command that a signal ended."""
    return 128 + _last


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _last
    _last = number
    raise KeyboardInterrupt
