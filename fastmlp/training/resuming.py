"""Whether what is given as a state can be true, and whether a training can go on from it. It may come from a file, or be made by hand."""

import math
from typing import Any

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.kernels.textbook_step import ROWS, TOTALS, WEIGHT_SUM
from fastmlp.kernels.updates import UPDATES
from fastmlp.network import Network
from fastmlp.settings import OPTIMIZERS, TrainingSettings
from fastmlp.training import lbfgs
from fastmlp.training.state import LIKE_PARAMETERS, LIKE_RUNNING_STATS, Plateau, TrainingState

MOST = 2**53  # of epochs, rows and steps: schedules take them as floats
SQUARES = {"rmsprop": "m", "adagrad": "m", "rmsprop_momentum": "v", "adam": "v", "adamw": "v", "nadam": "v"}  # what a root is taken of


def checked(state: Any, network: Network) -> TrainingState:
    """Return a state whose numbers can be those of a training of this network; ConfigError, which names the field, for any other."""
    if not isinstance(state, TrainingState):
        raise ConfigError(f"resume: expected a state, such as that of a History, got {type(state).__name__}")
    found: dict[str, Any] = {name: _count(name, getattr(state, name)) for name in ("epoch", "row", "steps", "best_epoch", "averaged")}
    found |= {name: _number(name, getattr(state, name), at_least=0.0) for name in ("seconds", "earlier_seconds")}
    if state.best_value is not None:
        found["best_value"] = _number("best_value", state.best_value)
    if state.validation_accuracy is not None:
        found["validation_accuracy"] = _number("validation_accuracy", state.validation_accuracy, at_least=0.0, at_most=1.0)
    found["total"] = _total(state.total, found["row"])
    found["plateau"] = _plateau(state.plateau)
    if not (state.optimizer is None or isinstance(state.optimizer, str) and state.optimizer in OPTIMIZERS):
        raise _wrong("optimizer", f"one of {', '.join(OPTIMIZERS)}", state.optimizer)
    if not isinstance(state.converged, (bool, np.bool_)):
        raise _wrong("converged", "true or false", state.converged)
    found["converged"] = bool(state.converged)
    for name in LIKE_PARAMETERS:
        _check_vector(name, getattr(state, name), network.parameters.size, network.dtype, "parameter")
    for name in LIKE_RUNNING_STATS:
        kept = getattr(state, name)
        _check_vector(name, kept, network.running_stats.size, network.dtype, "running statistic")
        if kept is not None:
            network.checked_running_stats(f"resume: {name}", kept)
    _check_pairs(state.pairs, network.parameters.size)
    if found["best_epoch"] > found["epoch"] or (found["best_epoch"] == 0) != (state.best_value is None):
        raise _wrong("best_epoch", f"one of the {found['epoch']} epochs done, with its best_value", state.best_epoch)
    if found["averaged"] > found["epoch"] or (found["averaged"] > 0 and state.average is None):
        raise _wrong("averaged", f"at most the {found['epoch']} epochs done, with their average", state.averaged)
    return state._replace(**found)


def start(
    resume: TrainingState | None, network: Network, settings: TrainingSettings, n_rows: int, batch_size: int, update: str
) -> TrainingState:
    """Return where a training begins: at the state to resume, checked, or at its beginning.

    Raises ConfigError unless a training on so many rows in batches of so many, by this rule of the kernels, can go on from there.
    """
    if resume is None:
        return TrainingState()
    state = checked(resume, network)
    if state.optimizer is not None and state.optimizer != settings.optimizer and state.steps > 0:
        raise ConfigError(
            f"resume: expected a state of {settings.optimizer}, got one of {state.optimizer}; set optimizer={state.optimizer!r}, or train "
            "without resume"
        )
    steps = -(-n_rows // batch_size)
    if state.row > n_rows or (state.row % batch_size and state.row != n_rows):
        raise ConfigError(
            f"resume: expected a state of training on these {n_rows} rows in batches of {batch_size}, got one that has done {state.row}"
        )
    # one that has not begun an epoch may have taken single steps: that of an OnlineTrainer
    taken = state.epoch * steps + -(-state.row // batch_size)
    if state.steps != taken and (state.epoch > 0 or state.row > 0):
        raise ConfigError(
            f"resume: expected steps to be {taken}, those of {state.epoch} epochs and {state.row} rows in batches of {batch_size}, "
            f"got {state.steps}; train on with the same rows and batch_size"
        )
    for name in ("m", "v")[: UPDATES[update].states]:
        kept = getattr(state, name)
        if kept is None and state.steps > 0:
            raise ConfigError(
                f"resume: expected a state of {update}, which keeps {name!r}, got one without it; train with the same optimizer"
            )
        if kept is not None and SQUARES.get(update) == name and (kept < 0).any():
            raise ConfigError(f"resume: expected {name!r} of {update} to be means or sums of squares, got numbers below 0")
    if settings.average == "swa" and (state.average is None) != (state.averaged == 0):
        raise ConfigError(
            f"resume: expected an average with the {state.averaged} epochs averaged, got {'none' if state.averaged else 'one'}"
        )
    incomplete = state.best_weights is None or (network.running_stats.size > 0 and state.best_running_stats is None)
    if settings.restore_best and state.best_epoch and incomplete:
        raise ConfigError(
            f"resume: expected a state that keeps the weights of its best epoch, {state.best_epoch}, got one without; "
            "train with restore_best from the beginning"
        )
    return state


def _wrong(name: str, expected: str, got: Any) -> ConfigError:
    return ConfigError(f"resume: expected {name} to be {expected}, got {got!r:.60}")


def _count(name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__") or np.ndim(value) or not 0 <= value <= MOST:
        raise _wrong(name, f"a whole number from 0 to {MOST}", value)
    return int(value)


def _number(name: str, value: Any, at_least: float = -math.inf, at_most: float = math.inf) -> float:
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not at_least <= value <= at_most:
        bounds = (
            f" from {at_least:g} to {at_most:g}" if at_most < math.inf else f" of at least {at_least:g}" if at_least > -math.inf else ""
        )
        raise _wrong(name, f"a finite number{bounds}", value)
    return float(value)


def _total(total: Any, row: int) -> tuple[float, ...]:
    if not isinstance(total, (tuple, list)) or len(total) != TOTALS:
        raise _wrong("total", f"{TOTALS} sums over the rows done", total)
    sums = tuple(_number("total", value) for value in total)
    if sums[ROWS] != row or min(sums[1:]) < 0 or sums[1] > sums[WEIGHT_SUM] * (1 + 1e-6) or (row == 0 and any(sums)):
        raise _wrong("total", f"the loss, correct, weight and number of the {row} rows done", total)
    return sums


def _plateau(plateau: Any) -> Plateau:
    if not isinstance(plateau, Plateau):
        raise _wrong("plateau", "a factor, a loss and a count", plateau)
    factor = _number("plateau.factor", plateau.factor, at_least=0.0)
    best = None if plateau.best is None else _number("plateau.best", plateau.best)
    return Plateau(factor, best, _count("plateau.waited", plateau.waited))


def _check_vector(name: str, kept: Any, size: int, dtype: np.dtype, what: str) -> None:
    if kept is None:
        return
    if not isinstance(kept, np.ndarray) or kept.shape != (size,):
        found = kept.shape if isinstance(kept, np.ndarray) else type(kept).__name__
        raise ConfigError(f"resume: expected {name!r} of shape ({size},), one per {what}, got {found}")
    if kept.dtype != dtype and not (name == "average" and kept.dtype == np.float64):
        raise ConfigError(f"resume: expected {name!r} in {dtype}, got {kept.dtype}")
    if not np.isfinite(kept).all():
        raise ConfigError(f"resume: expected finite numbers in {name!r}, got NaN or inf")


def _check_pairs(pairs: Any, size: int) -> None:
    if pairs is None:
        return
    if not isinstance(pairs, np.ndarray) or pairs.dtype != np.float64 or pairs.ndim != 3 or pairs.shape[::2] != (2, size):
        found = f"{pairs.dtype} {pairs.shape}" if isinstance(pairs, np.ndarray) else type(pairs).__name__
        raise ConfigError(f"resume: expected 'pairs' of shape (2, k, {size}), float64, got {found}")
    if not 1 <= pairs.shape[1] <= lbfgs.MEMORY:
        raise ConfigError(f"resume: expected 1 to {lbfgs.MEMORY} 'pairs', got {pairs.shape[1]}")
    if not np.isfinite(pairs).all() or not all(lbfgs.dot(*pair) > 0 for pair in np.moveaxis(pairs, 1, 0)):
        raise ConfigError("resume: expected 'pairs' of finite steps along which the gradient grew, got others")
