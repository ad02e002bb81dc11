"""What a training started from Python shows: a line that moves, in a terminal or under the cell of a notebook, and one when it ends."""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fastmlp.errors import ConfigError, DataError
from fastmlp.quantities import loss, percent
from fastmlp.rendering.output import Output, on_terminal
from fastmlp.rendering.progress import Display, Shows, slow_epoch
from fastmlp.settings import as_path
from fastmlp.storage.atomic import write_atomically

if TYPE_CHECKING:
    from fastmlp.training.history import Epoch, History, Progress

KINDS = (".png", ".svg", ".csv")  # of files with curves, in the order in which plots.Plot has them
PATIENCE = 0.5  # seconds before anything moves: a loop over many short trainings stays silent
DRAW_SECONDS = 0.2  # between two pictures of the line under a cell


def may_move() -> bool:
    """Return whether a line may move here: in a terminal or a notebook, for the training of the first thread."""
    return threading.current_thread() is threading.main_thread() and (_notebook() is not None or on_terminal())


def display(always: bool) -> Shows:
    """Return what draws here, under the cell of a notebook or on standard error; `always`: the end of short trainings is told, too."""
    notebook = _notebook()
    return Cell(notebook, always) if notebook is not None else Line(always)


class Line:
    """On standard error: a bar where it is a terminal, else a line when the training ends."""

    def __init__(self, always: bool) -> None:
        self._output = Output()
        self._display = Display(self._output)
        self._began = time.perf_counter()
        self._has_moved = always

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()

    def epoch(self, progress: "Progress") -> None:
        """Draw where the running epoch stands."""
        if time.perf_counter() - self._began > PATIENCE:
            self._has_moved = True
            self._display.epoch(progress)

    def compiling(self, name: str, seconds: float | None) -> None:
        """Tell of a kernel that starts to compile (None) or is done."""
        self._has_moved = True
        self._display.compiling(name, seconds)

    def clear(self) -> None:
        """Take away what moves."""
        self._display.clear()

    def slow(self, epoch: "Epoch", fastest: "Epoch") -> None:
        """Say that an epoch took much longer than the fastest one before it."""
        self._output.note(slow_epoch(epoch, fastest))

    def ended(self, history: "History", seconds: float) -> None:
        """Say what came out, where something has moved before."""
        if self._has_moved:
            self._output.note(summary(history, seconds))


class Cell:
    """Under the cell of a notebook: one line of text that changes. `show` is IPython.display.display."""

    def __init__(self, show: Any, always: bool) -> None:
        self._show, self._always = show, always
        self._handle: Any = None
        self._began = time.perf_counter()
        self._drawn, self._compiled, self._compiling = 0.0, 0.0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def epoch(self, progress: "Progress") -> None:
        """Draw where the running epoch stands."""
        now = time.perf_counter()
        if now - self._began > PATIENCE and now - self._drawn > DRAW_SECONDS:
            self._drawn = now
            share = progress.rows_done / progress.rows
            speed = f"  {progress.rows_done / progress.seconds:,.0f} samples/s" if progress.seconds > 0 else ""
            self._say(f"epoch {progress.epoch}/{progress.epochs}  {share:.0%}{speed}  loss {loss(progress.loss)}")

    def compiling(self, name: str, seconds: float | None) -> None:
        """Tell of a kernel that starts to compile (None) or is done."""
        self._compiling += 1 if seconds is None else -1
        if seconds is None:
            self._say(f"compiling (once) … {name}")
        elif self._compiling == 0:
            self._compiled += seconds

    def clear(self) -> None:
        """Do nothing: the line stays until it changes."""

    def slow(self, epoch: "Epoch", fastest: "Epoch") -> None:
        """Say in a line of its own that an epoch took much longer than the fastest one before it."""
        self._show({"text/plain": slow_epoch(epoch, fastest)}, raw=True)

    def ended(self, history: "History", seconds: float) -> None:
        """Say what came out, where something has moved before."""
        if self._always or self._handle is not None:
            compiled = f"; {self._compiled:.1f} s for the compiler, once" if self._compiled else ""
            self._say(summary(history, seconds) + compiled)

    def _say(self, text: str) -> None:
        if self._handle is None:
            self._handle = self._show({"text/plain": text}, raw=True, display_id=True)
        else:
            self._handle.update({"text/plain": text}, raw=True)


def summary(history: "History", seconds: float) -> str:
    """Return in one line what came out of a training that has at least one epoch."""
    last = history[-1]
    parts = [f"loss {loss(last.train_loss)}"]
    parts += [f"accuracy {percent(last.train_accuracy)}"] if last.train_accuracy is not None else []
    parts += [f"validation loss {loss(last.validation_loss)}"] if last.validation_loss is not None else []
    parts += [f"validation accuracy {percent(last.validation_accuracy)}"] if last.validation_accuracy is not None else []
    epochs = f"epoch{'s' if last.epoch > 1 else ''}"
    why = f" (stopped: {history.stopped})" if history.stopped not in (None, "epochs") else ""
    return f"{last.epoch} {epochs} in {seconds:.1f} s{why}: {', '.join(parts)}"


def plot(history: "History", path: str | os.PathLike[str] | None) -> None:
    """Draw a History; see there."""
    from fastmlp.rendering import plots, terminal

    if not history:
        raise DataError("plot: expected at least one epoch, got none; train for one epoch or more")
    kind = "" if path is None else as_path("plot", path).suffix.lower()
    if path is not None and kind not in KINDS:
        raise ConfigError(f"plot: expected a file that ends with {', '.join(KINDS)}, got {str(path)!r:.60}")
    notebook = _notebook()
    if path is None and notebook is None:
        Output().result(terminal.learning_curves([one._asdict() for one in history]))
        return
    with tempfile.TemporaryDirectory() as folder:
        drawn = plots.learning_curves(plots.series_of("training", [history.to_dict()]), Path(folder))
        files = dict(zip(KINDS, (file.read_bytes() for file in drawn.paths), strict=True))
    if path is not None:
        write_atomically(Path(path), files[kind])
    else:
        notebook({"image/svg+xml": files[".svg"].decode()}, raw=True)


def _notebook() -> Any:
    """Return IPython's display function where this process is the kernel of a notebook, None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return None if ipython is None or not hasattr(shell, "kernel") else ipython.display.display
