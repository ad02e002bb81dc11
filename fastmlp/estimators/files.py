"""A fitted estimator in a file: that of its network, which fastmlp.Network.load reads, too, with what the estimator knows besides.

No pickle: metadata are JSON, and a file can name nothing that would be run.
"""

import json
import os
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastmlp.errors import ConfigError, DataError, ModelFileError
from fastmlp.estimators import ensemble
from fastmlp.network import Network, codec
from fastmlp.storage import model_file

KEY = "estimator"
MEMBER = "estimators."  # the tensors of an ensemble begin with this and the number of a network
NOT_KEPT = ("callbacks", "random_state")  # what no text stands for; a whole number as random_state is kept
KNOWN = ("n_iter_", "t_", "loss_", "n_features_in_", "n_layers_", "n_outputs_", "out_activation_")
KINDS = "biufU"  # of labels, beside objects that are texts


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a safetensors file, atomically. Raises DataError for labels that no text stands for."""
    check_is_fitted(estimator, "networks_")
    described: dict[str, Any] = {"kind": type(estimator).__name__, "parameters": _parameters(estimator)}
    described["known"] = {name: _plain(getattr(estimator, name)) for name in KNOWN}
    names = getattr(estimator, "feature_names_in_", None)
    described["feature_names"] = None if names is None else names.tolist()
    if hasattr(estimator, "classes_"):
        classes = estimator.classes_
        if classes.dtype.kind not in KINDS and not all(isinstance(label, str) for label in classes):
            raise DataError(f"save: expected labels that are numbers, truth values or texts, got {classes.dtype}; pickle the estimator")
        kind = "object" if classes.dtype.kind == "O" else classes.dtype.str
        described["labels"] = {"classes": classes.tolist(), "dtype": kind, "is_multilabel": estimator._labels.is_multilabel}
    members = ensemble.members_of(estimator)
    if not members:
        tensors, metadata = estimator.network_.to_tensors()
    else:
        tensors, metadata, described["estimators"] = {}, {codec.NETWORKS: str(len(members))}, []
        for number, member in enumerate(members):
            of_network, about = member.network_.to_tensors()
            tensors |= {f"{MEMBER}{number}.{name}": tensor for name, tensor in of_network.items()}
            known = {name: _plain(getattr(member, name)) for name in KNOWN}
            described["estimators"].append({"random_state": member.random_state, "known": known, "network": about})
    model_file.write_tensors(path, tensors, {**metadata, KEY: json.dumps(described)})


def load(kind: type, path: str | os.PathLike[str]) -> tuple[Any, dict[str, Any]]:
    """Return an estimator with its network or networks, and the description of its labels, {} where it has none.

    Raises ModelFileError where the file is damaged or holds no estimator of this kind.
    """
    with model_file.open_tensors(path) as file:
        is_ensemble = codec.NETWORKS in file.metadata
        arrays = {name: np.empty(shape, dtype) for name, (dtype, shape) in file.shapes.items()} if is_ensemble else {}
        network = None if is_ensemble else Network.from_tensors(str(path), file)
        if is_ensemble:
            file.read_into(arrays)
        text = file.metadata.get(KEY)
    if text is None:
        raise ModelFileError(f"{path}: expected a file that {kind.__name__}.save wrote, got that of a network; use fastmlp.Network.load")
    described = model_file.strict_json(text, f"{path}: metadata {KEY}")
    try:
        if described["kind"] != kind.__name__:
            raise ModelFileError(f"{path}: expected a {kind.__name__}, got a {described['kind']!s:.60}")
        estimator = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in described["parameters"].items()})
        weights = estimator.get_params().get("class_weight")
        if isinstance(weights, tuple):
            estimator.set_params(class_weight={label: weight for label, weight in weights})
        _set_known(estimator, described["known"])
        if described["feature_names"] is not None:
            estimator.feature_names_in_ = np.array(described["feature_names"], object)
        if network is None:
            estimator.estimators_ = _members(estimator, str(path), described["estimators"], arrays)
        else:
            estimator.network_ = network
        columns = estimator.networks_[0].columns if estimator.networks_ else None
        for one in () if columns is None else (estimator, *ensemble.members_of(estimator)):
            one.columns_ = columns
        n_inputs = estimator.n_features_in_ if columns is None else columns.n_inputs
        for one in estimator.networks_:
            if (one.n_inputs, one.n_outputs) != (n_inputs, estimator.n_outputs_):
                raise ModelFileError(f"{path}: expected the numbers of features and outputs of its network, got others")
        labels = dict(described.get("labels") or {})
        if labels:
            labels["classes"] = np.array(labels["classes"], np.dtype(labels["dtype"]))
    except (KeyError, TypeError, AttributeError, ValueError, ConfigError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path}: metadata {KEY} do not describe a {kind.__name__} ({type(error).__name__}: {error})") from None
    return estimator, labels


def _set_known(estimator: Any, known: dict[str, Any]) -> None:
    for name in KNOWN:
        setattr(estimator, name, known[name])


def _members(estimator: Any, path: str, described: list[dict[str, Any]], arrays: dict[str, np.ndarray]) -> list[Any]:
    """Return the estimators of an ensemble, each with its network; arrays: all tensors of the file."""
    if len(described) != estimator.n_estimators or not described:
        raise ModelFileError(f"{path}: expected {estimator.n_estimators} networks, got {len(described)}")
    members = ensemble.made(estimator, [of_member["random_state"] for of_member in described])
    for number, (member, of_member) in enumerate(zip(members, described, strict=True)):
        prefix = f"{MEMBER}{number}."
        tensors = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        member.network_ = Network.from_tensors(path, model_file.TensorFile(tensors, of_member["network"]))
        _set_known(member, of_member["known"])
    return members


def _parameters(estimator: Any) -> dict[str, Any]:
    found = {}
    for name, value in estimator.get_params(deep=False).items():
        if name in NOT_KEPT and not (name == "random_state" and isinstance(value, (int, np.integer))):
            continue
        if isinstance(value, dict):  # of class_weight, whose labels may be no texts
            value = [[_plain(label), _plain(weight)] for label, weight in value.items()]
        found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(one) for one in value]
    return np.dtype(value).name if isinstance(value, type) else value
