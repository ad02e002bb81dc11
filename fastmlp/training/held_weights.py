"""Which weights a network holds while it is trained: the last step's, their average, those of the best epoch, or what a callback wrote."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastmlp.network import Network
from fastmlp.settings import TrainingSettings, known
from fastmlp.training.state import TrainingState


class Weights(NamedTuple):
    """Parameters (P,), and the running statistics (S,) of batch normalisation that belong to them."""

    parameters: np.ndarray
    running_stats: np.ndarray

    def is_held_by(self, network: Network) -> bool:
        """Return whether a network has the same bits."""
        return _same(network.parameters, self.parameters) and (
            not self.running_stats.size or _same(network.running_stats, self.running_stats)
        )

    def write_to(self, network: Network) -> None:
        """Give them to a network."""
        network.parameters[:] = self.parameters
        if self.running_stats.size:  # a state that was made by hand may lack them
            network.running_stats[:] = self.running_stats


class HeldWeights:
    """The weights of one training.

    Steps are taken from `stepped` (P,): the network's own parameters, or, where weights are averaged, others; the network then holds their
    average, and the weights themselves as long as there is none. When a training ends with restore_best, the network holds the weights of
    the best epoch, and those of the last step are kept to go on from. Making this lets the network hold what the state says.
    """

    def __init__(self, network: Network, settings: TrainingSettings, start: TrainingState) -> None:
        self._network, self._rule = network, settings.average
        own = network.parameters
        self.stepped = own
        self._average: np.ndarray | None = None
        self._averaged = start.averaged  # epochs
        self._best = _weights(start.best_weights, start.best_running_stats) if settings.restore_best else None
        self._last: Weights | None = None  # what steps go on from, while the network holds `_shown`, those of the best epoch
        self._shown: Weights | None = None
        if not self.is_averaged:
            self._last = _weights(start.weights, start.running_stats)
            self._shown = None if self._last is None else _held(network)
            return
        self.stepped = (own if start.weights is None else start.weights).astype(own.dtype)
        if self._rule == "ema":
            self._average = (own if start.average is None else start.average).astype(own.dtype)
        elif start.average is not None:
            self._average = start.average.astype(np.float64)
        if start.running_stats is not None:
            network.running_stats[:] = start.running_stats
        self.show_average()

    @property
    def is_averaged(self) -> bool:
        """Whether the network holds an average of the weights."""
        return self._rule != "none"

    @property
    def average_of_steps(self) -> np.ndarray | None:
        """The average (P,) that kernels keep up to date, step by step; None where there is none."""
        return self._average if self._rule == "ema" else None

    @property
    def has_best(self) -> bool:
        """Whether the weights of the best epoch are kept."""
        return self._best is not None

    def show_average(self) -> None:
        """Let the network hold the average of the weights, where they are averaged."""
        if self.is_averaged:
            self._network.parameters[:] = self._shown_average()

    def _shown_average(self) -> np.ndarray:
        return self.stepped if self._average is None else self._average.astype(self.stepped.dtype, copy=False)

    @contextlib.contextmanager
    def with_epoch_averaged(self, epoch: int, settings: TrainingSettings) -> Iterator[None]:
        """Take the weights at the end of an epoch, counted from 1, into their mean, where the settings say so.

        Not so if the block raises: an epoch whose validation is interrupted will be ended again, and may be averaged once only.
        """
        before = self._average, self._averaged
        try:
            if self._rule == "swa" and epoch > known(settings.average_start) * known(settings.epochs):
                self._averaged += 1
                weights = self.stepped.astype(np.float64)
                self._average = weights if self._average is None else self._average + (weights - self._average) / self._averaged
                self.show_average()
            yield
        except BaseException:
            self._average, self._averaged = before
            self.show_average()
            raise

    def keep_best(self) -> None:
        """Keep what the network holds as the weights of the best epoch."""
        self._best = _held(self._network)

    def take_assigned(self) -> None:
        """Go on from the weights that were written to the network since the last step, by a callback for example.

        Averages begin anew from them; the optimizer state and the best epoch stay.
        """
        if self._shown is not None:
            if self._shown.is_held_by(self._network):
                return
            self._shown = self._last = None
        elif not self.is_averaged or _same(self._network.parameters, self._shown_average()):
            return
        if self.is_averaged:
            self.stepped[:] = self._network.parameters
            self._average, self._averaged = self.stepped.copy() if self._rule == "ema" else None, 0

    def hold_best(self) -> None:
        """Let the network hold the weights of the best epoch, where there is one and it does not hold them already."""
        if self._shown is not None:
            return
        self.take_assigned()
        if self._best is not None:
            self._last, self._shown = _held(self._network), self._best
            self._best.write_to(self._network)

    def hold_last(self) -> None:
        """Let the network hold what steps go on from, or the average of it."""
        self.take_assigned()
        if self._last is not None:
            self._last.write_to(self._network)
        self._last = self._shown = None

    def noted_in(self, state: TrainingState) -> TrainingState:
        """Return a state with copies of the weights that a network does not hold, but a training needs to go on."""
        self.take_assigned()
        weights, running_stats = _copies(self._last)
        best_weights, best_running_stats = _copies(self._best)
        return state._replace(
            weights=self.stepped.copy() if self.is_averaged else weights,
            running_stats=running_stats,
            best_weights=best_weights,
            best_running_stats=best_running_stats,
            average=None if self._average is None else self._average.copy(),
            averaged=self._averaged,
        )


def _held(network: Network) -> Weights:
    return Weights(network.parameters.copy(), network.running_stats.copy())


def _weights(parameters: np.ndarray | None, running_stats: np.ndarray | None) -> Weights | None:
    """Return copies of the weights of a state, None where it has none."""
    if parameters is None:
        return None
    return Weights(parameters.copy(), np.zeros(0, parameters.dtype) if running_stats is None else running_stats.copy())


def _copies(weights: Weights | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return weights as a state has them."""
    if weights is None:
        return None, None
    return weights.parameters.copy(), weights.running_stats.copy() if weights.running_stats.size else None


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two vectors of one type have the same bits."""
    return np.array_equal(first.view(f"u{first.itemsize}"), second.view(f"u{second.itemsize}"))
