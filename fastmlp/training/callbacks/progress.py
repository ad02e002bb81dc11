"""Progress: one line that moves while a network is trained, and a word about what slows it down. What it says is drawn by rendering/."""

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fastmlp.errors import ConfigError
from fastmlp.network import Network
from fastmlp.settings import record_refuses_unknown
from fastmlp.training.history import Epoch, History
from fastmlp.training.history import Progress as Where

if TYPE_CHECKING:
    from fastmlp.rendering.progress import Shows

# Times as long as the fastest epoch before it: named once. What `fastmlp doctor` expects of this machine would have to be measured first,
# for longer than a short training takes, and while the same other programs run; an epoch of the same work says more.
SLOW = 2.0
SHOWS = ("clear", "compiling", "ended", "epoch", "slow")  # what is called of a display
SHORTEST_SECONDS = 0.5  # of an epoch whose slowness is worth a word


@record_refuses_unknown
class Progress:
    """Shows on a terminal or in a notebook where a training stands, and in one line at its end what came out.

    display: where it is drawn; by default standard error, or the output of the cell. Entered as a context, it also tells of kernels that
    are compiled meanwhile.
    """

    def __init__(self, display: "Shows | None" = None) -> None:
        if display is None:
            from fastmlp.rendering.library import display as of_python

            display = of_python(always=True)
        missing = [name for name in SHOWS if not callable(getattr(display, name, None))]
        if missing or isinstance(display, type):
            raise ConfigError(f"display: expected an object with {', '.join(SHOWS)}, got {display!r:.60}")
        self._display = display
        self._fastest: Epoch | None = None
        self._told = False
        self._began = time.perf_counter()
        self._watch = contextlib.ExitStack()

    def __enter__(self) -> Self:
        from fastmlp.compilation.waiting import watch

        self._watch.enter_context(self._display)
        self._watch.enter_context(watch(self._display.compiling))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._watch.close()

    def on_fit_begin(self, network: Network, settings: Any) -> None:
        """Begin anew."""
        self._display.clear()
        self._began, self._fastest, self._told = time.perf_counter(), None, False

    def on_steps_end(self, network: Network, progress: Where) -> None:
        """Draw where the epoch stands."""
        self._display.epoch(progress)

    def on_epoch_end(self, network: Network, epoch: Epoch) -> None:
        """Take away the line, and say it where an epoch took much longer than one before."""
        self._display.clear()
        fastest = self._fastest
        if fastest is not None and not self._told and epoch.seconds > max(SLOW * fastest.seconds, SHORTEST_SECONDS):
            self._told = True
            self._display.slow(epoch, fastest)
        if fastest is None or epoch.seconds < fastest.seconds:
            self._fastest = epoch

    def on_fit_end(self, network: Network, history: History) -> None:
        """Take away the line and say what came out."""
        self._display.clear()
        if history:
            self._display.ended(history, time.perf_counter() - self._began)


@contextlib.contextmanager
def shown(verbose: bool | None) -> Iterator[list[Progress]]:
    """Give the callbacks that show a training as `verbose` of `train` asks for; None: in terminals and notebooks, nothing elsewhere."""
    from fastmlp.rendering.library import display, may_move

    if verbose or (verbose is None and may_move()):
        with Progress(display(always=bool(verbose))) as progress:
            yield [progress]
    else:
        yield []
