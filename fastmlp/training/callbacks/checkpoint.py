"""Checkpoint: a training saved while it goes on, to go on with it bit for bit after whatever ended it."""

import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.network import Network
from fastmlp.settings import TrainingSettings, as_path, is_number, record_refuses_unknown
from fastmlp.storage.atomic import make_folder
from fastmlp.storage.checkpoints import Checkpoints
from fastmlp.training.history import Epoch, History, Progress
from fastmlp.training.saving import Saved, pack, unpack
from fastmlp.training.state import TrainingState

SECONDS = 30.0
State = Callable[[], TrainingState]


@record_refuses_unknown
class Checkpoint:
    """Saves a training in a folder of its own, which is made: every so many seconds, when an epoch ends, and when the training ends.

    The last two checkpoints are kept, each with a SHA-256. Epochs that follow each other within a second share one. A network that is
    not finite, because the training diverged, is not saved. about: called before each save, gives what the file says besides, plain
    values that JSON can hold. checkpoints: the same folder, opened before. Only one training at a time may save in a folder.

        checkpoint = fastmlp.callbacks.Checkpoint("digits", every=30)
        saved = checkpoint.load()  # None where nothing was saved yet
        net, state = (saved.network, saved.state) if saved else (fastmlp.Network([784, 300, 10]), None)
        fastmlp.train(net, data, callbacks=[checkpoint, fastmlp.callbacks.StopOnSignal()], resume=state)

    Raises ConfigError where a training from its beginning would save beside checkpoints of another, OutputError and WriteError where
    it cannot save.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: float = SECONDS,
        about: Callable[[], Mapping[str, Any]] | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        try:
            seconds = float(every) if is_number(every) else math.nan
        except (OverflowError, TypeError, ValueError):  # beyond 1.8e308, a type, an array
            seconds = math.nan
        if not seconds >= 0:
            raise ConfigError(f"every: expected a number of seconds, at least 0, got {every!r:.60}")
        if about is not None and not callable(about):
            raise ConfigError(f"about: expected a function without arguments, got {about!r:.60}")
        if not isinstance(checkpoints, Checkpoints | None):
            raise ConfigError(f"checkpoints: expected fastmlp.storage.checkpoints.Checkpoints, got {checkpoints!r:.60}")
        self.folder = as_path("folder", folder)
        self._about = about
        self._checkpoints = Checkpoints(self.folder) if checkpoints is None else checkpoints
        self._schedule = CheckpointSchedule(seconds)
        self._settings = TrainingSettings()
        self._saved_at = (-1, -1)  # epochs and steps of the last state saved
        self._is_known = checkpoints is not None  # whether what is in the folder belongs to the training to come

    def load(self) -> Saved | None:
        """Return the network, its state, and what was said about the run, of the newest sound checkpoint; None where there is none.

        One that is damaged is passed over with a warning. Raises ModelFileError where all are.
        """
        self._is_known = True
        self._checkpoints.remove_leftovers()
        return self._checkpoints.newest(unpack)

    def save(self, network: Network, settings: TrainingSettings, state: TrainingState) -> None:
        """Save now, unless this state was saved before or the network is not finite. `settings` are what the training goes on with."""
        at, weights = (state.epoch, state.steps), network.parameters if state.weights is None else state.weights
        if at == self._saved_at or not np.isfinite(weights).all():
            return
        began = time.perf_counter()
        about = {} if self._about is None else self._about()
        self._checkpoints.save(*pack(network, settings, state, about))
        self._saved_at, self._is_known = at, True
        self._schedule.saved(time.perf_counter() - began)

    def check(self, start: TrainingState) -> None:
        """Raise ConfigError where a training that begins with `start` may not save here, OutputError where the folder cannot be made."""
        if start.steps == 0 and not self._is_known and self._checkpoints.exist():
            raise ConfigError(
                f"callbacks: expected no checkpoints of another training in {str(self.folder)!r}, found some; go on from them: "
                "resume=checkpoint.load().state, with its network, or choose another folder"
            )
        make_folder(self.folder)

    def on_fit_begin(self, network: Network, settings: TrainingSettings, state: State) -> None:
        """Take down where the training begins."""
        start = state()
        self.check(start)
        self._settings, self._saved_at = settings, (start.epoch, start.steps)

    def on_steps_end(self, network: Network, progress: Progress, state: State) -> None:
        """Save if it is time."""
        if self._schedule.is_due(epoch_ended=False):
            self.save(network, self._settings, state())

    def on_epoch_end(self, network: Network, epoch: Epoch, state: State) -> None:
        """Save if it is time."""
        if self._schedule.is_due(epoch_ended=True):
            self.save(network, self._settings, state())

    def on_fit_end(self, network: Network, history: History) -> None:
        """Save what the training ends with, whatever ended it."""
        if history.state is not None:
            self.save(network, self._settings, history.state)


class CheckpointSchedule:
    """When a training is saved: every `seconds`, and when an epoch ends.

    Epochs that follow each other within a second share a save, and no more than a twentieth of the time goes into those at their
    ends: a small network trains an epoch in less time than a disk takes to confirm a file.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._gap = min(seconds, 1.0)
        self._last = time.monotonic()

    def is_due(self, epoch_ended: bool) -> bool:
        """Return whether to save now."""
        return time.monotonic() - self._last >= (self._gap if epoch_ended else self._seconds)

    def saved(self, took: float) -> None:
        """Take note of a save that has just ended, after so many seconds."""
        self._last = time.monotonic()
        self._gap = min(self._seconds, max(1.0, 20.0 * took))
