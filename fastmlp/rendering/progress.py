"""The one line that moves on standard error while a command works: the bar of an epoch, or the wait for the compiler."""

import contextlib
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from fastmlp import machine
from fastmlp.quantities import loss
from fastmlp.rendering.output import Output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.status import Status

    from fastmlp.search.task import BankProgress
    from fastmlp.training.history import Epoch, History, Progress


DRAW_SECONDS = 0.2  # between two looks of a bar that several threads report to: drawing it takes time from them


class Shows(Protocol):
    """What the callback fastmlp.callbacks.Progress draws with."""

    def __enter__(self) -> Self: ...  # noqa: D105
    def __exit__(self, kind: Any, error: Any, trace: Any) -> None: ...  # noqa: D105
    def epoch(self, progress: "Progress") -> None: ...  # noqa: D102
    def compiling(self, name: str, seconds: float | None) -> None: ...  # noqa: D102
    def clear(self) -> None: ...  # noqa: D102
    def slow(self, epoch: "Epoch", fastest: "Epoch") -> None: ...  # noqa: D102
    def ended(self, history: "History", seconds: float) -> None: ...  # noqa: D102


class Display:
    """What moves while a network is trained. A context, so that the terminal is left in order whatever happens.

    Off a terminal nothing moves; the wait for the compiler is then told in two lines.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bar: Bar | None = None
        self._status: Status | None = None
        self._compiling = 0  # kernels that are being compiled now: one may need another
        self._compiled = 0.0  # seconds that have not been told yet
        self._kernels = 0  # and how many kernels that were
        self._drawn = 0.0  # when the bar of an experiment was drawn last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()

    def epoch(self, progress: "Progress") -> None:
        """Draw where the running epoch stands."""
        if self._compiled:
            self.clear()
        if not self._output.shows_progress:
            return
        if self._bar is None:
            self._bar = _bar(f"epoch {progress.epoch}/{progress.epochs}", progress.rows)
            self._bar.start()
        speed = f"{progress.rows_done / progress.seconds:,.0f} samples/s" if progress.seconds > 0 else ""
        self._bar.update(self._bar.task_ids[0], completed=progress.rows_done, speed=speed, loss=f"loss {loss(progress.loss)}")
        self._bar.refresh()

    def models(self, progress: "BankProgress") -> None:
        """Draw how far an experiment of many models is."""
        if self._compiled:
            self.clear()
        if not self._output.shows_progress or (self._bar is not None and progress.seconds < self._drawn + DRAW_SECONDS):
            return
        self._drawn = progress.seconds
        if self._bar is None:
            self._bar = _bar("models", 1.0)
            self._bar.start()
        counted = f"{progress.done}/{progress.models} models"
        self._bar.update(self._bar.task_ids[0], completed=progress.share, speed=counted, loss="")
        self._bar.refresh()

    def compiling(self, name: str, seconds: float | None) -> None:
        """Tell of a kernel that starts to compile (None) or is done: a listener for fastmlp.compilation.waiting.watch."""
        if seconds is not None:
            self._compiling -= 1
            self._compiled += seconds if self._compiling == 0 else 0.0
            self._kernels += 1
        else:
            self._compiling += 1
            self._wait_for(name)

    def clear(self) -> None:
        """Take away what moves, so that a line can be printed, and tell how long the compiler took if it ran."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self._compiled:
            kernels = f"{self._kernels} kernel{'s' if self._kernels > 1 else ''}"
            self._output.note(f"compiled {kernels} in {self._compiled:.1f} s; later starts find the code in the cache")
            self._compiled, self._kernels = 0.0, 0

    def slow(self, epoch: "Epoch", fastest: "Epoch") -> None:
        """Say that an epoch took much longer than the fastest one before it."""
        self._output.note(slow_epoch(epoch, fastest))

    def ended(self, history: "History", seconds: float) -> None:
        """Say nothing: a command prints a row for each epoch."""

    def _wait_for(self, name: str) -> None:
        if self._status is not None:
            self._status.update(f"compiling (once) … {name}")
        elif self._output.shows_progress:
            self.clear()
            self._status = _console().status(f"compiling (once) … {name}")
            self._status.start()
        elif self._compiling == 1 and not self._compiled:
            self._output.note(f"compiling (once) … {name} and what comes after it")


def slow_epoch(epoch: "Epoch", fastest: "Epoch") -> str:
    """Return what to say of an epoch that took much longer than the fastest one before it."""
    load = f"; load {os.getloadavg()[0]:.1f} on {machine.usable_cores()} cores" if hasattr(os, "getloadavg") else ""
    times = epoch.seconds / fastest.seconds
    return f"epoch {epoch.epoch} took {times:.1f} times as long as epoch {fastest.epoch}: other programs keep the processors busy{load}"


@contextlib.contextmanager
def waiting(output: Output) -> Iterator[Callable[[str], None]]:
    """Give a function that tells what a long work is doing: one line that changes on a terminal, a line each elsewhere."""
    if not output.shows_progress:
        yield output.note
        return
    from rich.markup import escape

    # drawn once a second: more often would take time from what is being measured
    with _console().status("…", refresh_per_second=1) as status:
        yield lambda text: status.update(escape(text))


def _bar(title: str, total: float) -> "Bar":
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[loss]}"),
        console=_console(),
        auto_refresh=False,  # drawn when training reports, so that no thread competes with it for a core
        transient=True,
        redirect_stdout=False,  # results go where the user sends them, not to the terminal of this bar
        redirect_stderr=False,
    )
    bar.add_task("", total=total, speed="", loss="")
    return bar


def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True)
