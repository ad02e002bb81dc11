"""A training <-> tensors and metadata, all that a checkpoint holds. How they become a file is the storage's business.

    layers.*, normalisation.*    the network as in a model file: a checkpoint can be evaluated as it is
    training.total               (TOTALS,) sums over the rows done of the epoch under way
    training.m, training.v       (P,) what the optimiser keeps, where it keeps anything
    training.pairs               (2, k, P) float64: the last steps of lbfgs, and what each changed in the gradient
    training.best_weights        (P,) the weights of the best epoch, where they are kept
    training.weights             (P,) after the last step, where the network holds others: an average, or those of the best epoch
    training.average             (P,) of the weights, float64 where it is one over ends of epochs
    training.best_running_stats     (S,) of batch normalisation, and training.running_stats: what belongs to those weights

Metadata: those of a model file; "state", the other fields of training.state.TrainingState; "run", what the caller says about the run.
Later versions may add tensors and keys.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmlp.errors import ModelFileError
from fastmlp.kernels.step import ROWS, TOTALS
from fastmlp.network import TRAINING_TENSORS, Network
from fastmlp.storage.model_file import TensorFile, strict_json
from fastmlp.training.loop import Trainer
from fastmlp.training.schedules import Plateau
from fastmlp.training.state import TrainingState

COUNTERS = ("epoch", "row", "steps", "best_epoch", "averaged")
NUMBERS = ("seconds", "earlier_seconds")
NUMBERS_OR_NULL = ("best_value", "validation_accuracy")
LIKE_PARAMETERS = ("m", "v", "weights", "best_weights", "average")
LIKE_RUNNING_STATS = ("running_stats", "best_running_stats")
RENAMED_TENSORS = {"running_stats": "statistics", "best_running_stats": "best_statistics"}  # now -> in checkpoints of version 0.1.0


class Saved(NamedTuple):
    """A training as it was saved: the network, where the training of it stood, what the caller said about the run."""

    network: Network
    state: TrainingState
    run: dict[str, Any]


def pack(trainer: Trainer, run: Mapping[str, Any]) -> TensorFile:
    """Return a training as it stands; `run` is plain values that JSON can hold."""
    state = trainer.state()
    named = {name: getattr(state, name) for name in LIKE_PARAMETERS + LIKE_RUNNING_STATS}
    arrays = {"total": np.array(state.total), "pairs": state.pairs, **named}
    tensors = {f"{TRAINING_TENSORS}{name}": array for name, array in arrays.items() if array is not None}
    numbers = {name: value for name, value in state._asdict().items() if name not in arrays}
    network = trainer.network.to_tensors(trainer.settings)
    metadata = {"state": json.dumps(numbers, allow_nan=False), "run": json.dumps(dict(run), allow_nan=False)}
    return TensorFile({**network.tensors, **tensors}, {**network.metadata, **metadata})


def unpack(path: Path, file: TensorFile) -> Saved:
    """Return the training that was packed. Raises ModelFileError, which names `path`, for a file that holds none."""
    network = Network.from_tensors(path, file)
    numbers, run = (strict_json(file.metadata.get(key, "null"), f"{path}: metadata {key}") for key in ("state", "run"))
    if not isinstance(numbers, dict) or not isinstance(run, dict):
        raise ModelFileError(f"{path}: expected a checkpoint of a training, found a model only; use it with evaluate or predict")
    for name in COUNTERS:
        if type(numbers.get(name)) is not int or numbers[name] < 0:
            raise ModelFileError(f"{path}: state: expected {name} to be a count, got {numbers.get(name)!r}")
    for name in NUMBERS + NUMBERS_OR_NULL:
        value = numbers.get(name)
        if type(value) not in (int, float) and not (value is None and name in NUMBERS_OR_NULL):
            raise ModelFileError(f"{path}: state: expected {name} to be a number, got {value!r}")
    total = file.tensors.get(f"{TRAINING_TENSORS}total")
    if total is None or total.shape != (TOTALS,) or total.dtype != np.float64 or total[ROWS] != numbers["row"]:
        raise ModelFileError(f"{path}: expected the sums over the {numbers['row']} rows done of an epoch, found others")
    kept = {name: file.tensors.get(f"{TRAINING_TENSORS}{name}") for name in LIKE_PARAMETERS + LIKE_RUNNING_STATS}
    for name, before in RENAMED_TENSORS.items():
        kept[name] = file.tensors.get(f"{TRAINING_TENSORS}{before}") if kept[name] is None else kept[name]
    for name, array in kept.items():
        types = (network.dtype, np.float64) if name == "average" else (network.dtype,)
        shape = network.running_stats.shape if name in LIKE_RUNNING_STATS else network.parameters.shape
        if array is not None and (array.shape != shape or array.dtype not in types):
            raise ModelFileError(
                f"{path}: expected {TRAINING_TENSORS}{name} to be {network.dtype} {shape}, got {array.dtype} {array.shape}"
            )
    kept["pairs"] = file.tensors.get(f"{TRAINING_TENSORS}pairs")
    if (pairs := kept["pairs"]) is not None and (pairs.dtype != np.float64 or pairs.shape[::2] != (2, network.parameters.size)):
        raise ModelFileError(f"{path}: expected {TRAINING_TENSORS}pairs of shape (2, k, {network.parameters.size}), got {pairs.shape}")
    if type(numbers.get("converged", False)) is not bool:
        raise ModelFileError(f"{path}: state: expected converged to be true or false, got {numbers['converged']!r}")
    known = {name: numbers[name] for name in TrainingState._fields if name in numbers}
    known["plateau"] = _plateau(path, numbers.get("plateau"))
    return Saved(network, TrainingState(**{**known, "total": tuple(total.tolist()), **kept}), run)


def _plateau(path: Path, values: Any) -> Plateau:
    """Return what a plateau schedule knew, from the values that JSON holds of it."""
    if isinstance(values, list) and len(values) == len(Plateau._fields):
        factor, best, waited = values
        if isinstance(factor, (int, float)) and isinstance(best, (int, float, type(None))) and type(waited) is int and waited >= 0:
            return Plateau(factor, best, waited)
    raise ModelFileError(f"{path}: state: expected plateau to be a factor, a loss and a count, got {values!r}")


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
