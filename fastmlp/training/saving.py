"""A training <-> tensors and metadata, all that a checkpoint holds. How they become a file is the storage's business.

    layers.*, normalisation.*    the network as in a model file: a checkpoint can be evaluated as it is
    training.total               (TOTALS,) sums over the rows done of the epoch under way
    training.m, training.v       (P,) optimizer state, where the optimizer has one
    training.pairs               (2, k, P) float64: the last steps of lbfgs, and what each changed in the gradient
    training.best_weights        (P,) the weights of the best epoch, where they are kept
    training.weights             (P,) after the last step, where the network holds others: an average, or those of the best epoch
    training.average             (P,) of the weights, float64 where it is one over ends of epochs
    training.best_running_stats     (S,) of batch normalisation, and training.running_stats: what belongs to those weights

Metadata: those of a model file; "state", the other fields of training.state.TrainingState; "run", what the caller says about the run.
Later versions may add tensors and keys.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmlp.errors import ConfigError, ModelFileError
from fastmlp.network import Network
from fastmlp.network.codec import TRAINING_TENSORS
from fastmlp.settings import TrainingSettings
from fastmlp.storage.model_file import StoredTensors, TensorFile, strict_json
from fastmlp.training.resuming import checked
from fastmlp.training.state import LIKE_PARAMETERS, LIKE_RUNNING_STATS, Plateau, TrainingState

RENAMED_TENSORS = {"running_stats": "statistics", "best_running_stats": "best_statistics"}  # now -> in checkpoints of version 0.1.0


class Saved(NamedTuple):
    """A training as it was saved: the network, where the training of it stood, what the caller said about the run."""

    network: Network
    state: TrainingState
    run: dict[str, Any]


def pack(network: Network, settings: TrainingSettings, state: TrainingState, run: Mapping[str, Any]) -> TensorFile:
    """Return a training as it stands; `run` is plain values that JSON can hold."""
    named = {name: getattr(state, name) for name in LIKE_PARAMETERS + LIKE_RUNNING_STATS}
    arrays = {"total": np.array(state.total), "pairs": state.pairs, **named}
    tensors = {f"{TRAINING_TENSORS}{name}": array for name, array in arrays.items() if array is not None}
    numbers = {name: value for name, value in state._asdict().items() if name not in arrays}
    model = network.to_tensors(settings)
    metadata = {"state": json.dumps(numbers, allow_nan=False), "run": json.dumps(dict(run), allow_nan=False)}
    return TensorFile({**model.tensors, **tensors}, {**model.metadata, **metadata})


def unpack(path: Path, file: TensorFile | StoredTensors) -> Saved:
    """Return the training that was packed. Raises ModelFileError, which names `path`, for a file that holds none."""
    arrays = {name: np.empty(shape, dtype) for name, (dtype, shape) in file.shapes.items() if name.startswith(TRAINING_TENSORS)}
    network = Network.from_tensors(path, file, arrays)
    numbers, run = (strict_json(file.metadata.get(key, "null"), f"{path}: metadata {key}") for key in ("state", "run"))
    if not isinstance(numbers, dict) or not isinstance(run, dict):
        raise ModelFileError(f"{path}: expected a checkpoint of a training, found a model only; use it with evaluate or predict")
    if missing := [
        name for name in ("epoch", "row", "steps", "best_epoch", "averaged", "seconds", "earlier_seconds") if name not in numbers
    ]:
        raise ModelFileError(f"{path}: state: expected {missing[0]}, found none")
    known = {name: numbers[name] for name in TrainingState._fields if name in numbers}
    for name in ("total", "pairs", *LIKE_PARAMETERS, *LIKE_RUNNING_STATS):
        before = RENAMED_TENSORS.get(name, name)
        known[name] = arrays.get(f"{TRAINING_TENSORS}{name}", arrays.get(f"{TRAINING_TENSORS}{before}"))
    if known["total"] is None:
        raise ModelFileError(f"{path}: expected the sums over the rows done of an epoch, found none")
    known["total"] = tuple(np.atleast_1d(known["total"]).tolist())
    plateau = numbers.get("plateau")
    known["plateau"] = Plateau(*plateau) if isinstance(plateau, list) and len(plateau) == len(Plateau._fields) else plateau
    try:
        state = checked(TrainingState(**known), network)
    except ConfigError as error:
        raise ModelFileError(f"{path}: {str(error).replace('resume:', 'state:', 1)}") from None
    return Saved(network, state, run)
