"""The event loop: every training goes through it, epoch by epoch, and tells its callbacks what happens. Never prints.

Single steps do not: of Trainer.step and OnlineTrainer.step the loop is the user's, who knows what comes after each step; there is no block
of them to tell of, no pace to find, no end in sight. They take their steps where those of this loop are taken: Trainer._take.
"""

import contextlib
import itertools
import time
from collections.abc import Generator
from typing import Protocol

from fastmlp.network import Network
from fastmlp.settings import TrainingSettings
from fastmlp.training import stopping
from fastmlp.training.callbacks import hooks
from fastmlp.training.history import Epoch, History, Progress
from fastmlp.training.state import TrainingState

BLOCK_SECONDS = 0.1  # compiled code returns to Python about this often, for Ctrl-C and progress; which rows changes no bit
FASTER = 16  # times as many rows in a block, at most, than in the one before: the first one is a single batch
NOBODY = hooks.Callbacks(())


class Training(Protocol):
    """What the loop asks of a trainer."""

    settings: TrainingSettings
    batch_size: int
    epoch: int  # epochs finished
    row: int  # rows done of the next one
    scores: dict[str, float | None] | None  # of the rows held out, after the last epoch

    @property
    def network(self) -> Network: ...  # noqa: D102
    @property
    def n_rows(self) -> int: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def stopped(self) -> str | None: ...  # noqa: D102
    def advance(self, rows: int, goes_on: bool = False) -> Progress: ...  # noqa: D102
    def end_epoch(self) -> Epoch: ...  # noqa: D102
    def end(self) -> None: ...  # noqa: D102
    def state(self) -> TrainingState: ...  # noqa: D102


def fit(
    training: Training, callbacks: hooks.Callbacks = NOBODY, history: History | None = None, block: int | None = None,
    read_only: bool = False,
) -> Generator[Progress | Epoch, None, None]:  # fmt: skip
    """Train until there is a reason to stop: yield Progress after each block of steps, at least every 0.2 s, and an Epoch after each.

    history: gets the epochs, and at the end why there are no more, and the state. block: rows of a block, by default as many as
    BLOCK_SECONDS are enough for. read_only: whether nobody writes to the network between two blocks of an epoch; what is written there
    all the same is lost. May be closed at any time. When it ends, however it ends, the network holds every step taken, or with restore_best
    the weights of the best epoch; between two events it always holds the last step. Raises TrainingError where the loss is not finite.
    """
    told = History() if history is None else history
    pace = _Pace(training)
    with contextlib.ExitStack() as ends:  # what ends a training is undone from the last: on_fit_end finds all of this in order
        stop = callbacks.begin(training, told, ends)
        if history is not None:
            ends.callback(lambda: history.note(training.state()))
        ends.callback(training.end)
        for epoch in itertools.count(training.epoch + 1):
            if stop or training.stopped is not None:
                break
            stop = callbacks.call(hooks.EPOCH_BEGIN, training, epoch)
            goes_on = False
            while not stop and training.row < training.n_rows and training.stopped is None:
                progress = pace.advance(goes_on) if block is None else training.advance(block, goes_on=goes_on)
                goes_on = read_only
                stop = callbacks.call(hooks.STEPS_END, training, progress)
                yield progress
            if stop or training.row < training.n_rows:  # the time was over before the epoch was
                break
            done = training.end_epoch()
            told.append(done)
            if training.scores is not None:
                stop = callbacks.call(hooks.VALIDATION_END, training, training.scores)
            stop |= callbacks.call(hooks.EPOCH_END, training, done)
            yield done
        told.stopped = training.stopped or stopping.CALLBACK


class _Pace:
    """How many rows make a block: those of about BLOCK_SECONDS, but no more than the time budget allows for."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._block = training.batch_size
        self._speed = 0.0  # rows per second of the last steps

    def advance(self, goes_on: bool) -> Progress:
        """Take one block of steps: whole batches, so that the steps are the same wherever the training is cut."""
        training, batch_size, first, started = self._training, self._training.batch_size, self._rows_done(), time.perf_counter()
        progress = training.advance(min(self._block, self._affordable_rows()), goes_on=goes_on)
        self._speed = (self._rows_done() - first) / max(time.perf_counter() - started, 1e-6)
        batches = int(self._speed * BLOCK_SECONDS) // batch_size
        self._block = max(1, min(batches, FASTER * self._block // batch_size)) * batch_size
        return progress

    def _rows_done(self) -> int:
        return self._training.epoch * self._training.n_rows + self._training.row

    def _affordable_rows(self) -> int:
        """Return the rows of as many batches as half of the time that is left will do for, one batch at least.

        Half, and half of the rest again: the last step before the budget is passed is then taken alone, and none is taken after it.
        """
        budget, batch_size = self._training.settings.time_budget, self._training.batch_size
        if budget is None:
            return self._block
        left = budget - self._training.seconds
        return max(1, int(min(self._speed * left / 2.0, self._training.n_rows)) // batch_size) * batch_size
