"""A network and what it is written as: named arrays with metadata, which files hold, and the state that a pickle holds."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastmlp import __version__
from fastmlp.errors import ConfigError, ModelFileError
from fastmlp.kernels.losses import losses_for
from fastmlp.network import formulas
from fastmlp.network.attributes import first_not_finite
from fastmlp.network.layers import checked_loss_parameter, checked_sizes, short
from fastmlp.preprocessing import columns as of_columns
from fastmlp.preprocessing import targets
from fastmlp.preprocessing.inputs import InputScaling, told
from fastmlp.preprocessing.targets import TargetScaling
from fastmlp.settings import NetworkSettings, TrainingSettings, current_names
from fastmlp.storage import model_file

Tensors = model_file.TensorFile | model_file.StoredTensors

SCALING_TENSORS = ("normalisation.mean", "normalisation.deviation")
TARGET_TENSORS = ("target_scaling.mean", "target_scaling.std")
NETWORKS = "networks"  # the metadata of a file of several networks, which no Network reads, have this key
COLUMN_TENSORS = ("columns.center", "columns.scale")
TRAINING_TENSORS = "training."  # what a checkpoint holds besides the network begins with this
# normalization -> what hidden layers have in a file besides weight and bias
NORMALISED = {"none": (), "batch": ("gamma", "running_mean", "running_variance"), "layer": ("gamma",)}


def to_tensors(network: Any, settings: TrainingSettings | None) -> model_file.TensorFile:
    """Return what a file of the network holds: tensors (views of the parameters) and metadata."""
    normalisation = network.input_scaling
    tensors = {}
    for index, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        tensors[f"layers.{index}.weight"] = weight
        tensors[f"layers.{index}.bias"] = bias
    for name, arrays in _normalised_arrays(network).items():
        tensors |= {f"layers.{index}.{name}": array for index, array in enumerate(arrays)}
    if normalisation is not None:
        tensors["normalisation.mean"] = normalisation.mean
        tensors["normalisation.deviation"] = normalisation.std
    preprocess = {"normalize": normalisation.kind if normalisation else None}
    if normalisation is not None and normalisation.trained_on is not None:
        preprocess["trained_on"] = normalisation.trained_on
    if (scaling := network.target_scaling) is not None:
        preprocess["normalize_target"] = scaling.kind
        if targets.active(scaling) is not None:
            tensors |= {"target_scaling.mean": scaling.mean, "target_scaling.std": scaling.std}
    config = {
        "sizes": list(network.sizes),
        "activations": list(network.hidden_activations),
        "output": network.output,
        "loss": network.loss,
        "dtype": network.dtype.name,
        "target_is_column": network.target_is_column,
        "training": settings.to_dict() if settings is not None else None,
    }
    # what most networks do not have is not mentioned: their files stay the same, byte for byte
    if network.predicts_classes and network.output == "sigmoid":
        config["predicts_classes"] = True
    if network.classes is not None:
        config["classes"] = network.classes.tolist()
    if network.loss_parameter:
        config["loss_parameter"] = network.loss_parameter
    if network.normalization != "none":
        config["normalization"] = network.normalization
    if own := formulas.described(network.hidden_activations, network.loss):
        config["formulas"] = own
    metadata = {
        "fastmlp.version": __version__,
        "config": json.dumps(config),
        "classes": json.dumps(vars(network)["_class_names"]),  # what they are called; their labels stand in config
        "preprocess": json.dumps(preprocess),
    }
    if (columns := network.columns) is not None:
        metadata["columns"] = json.dumps(columns.described())
        tensors |= {"columns.center": columns.center, "columns.scale": columns.scale}
    return model_file.TensorFile(tensors, metadata)


def _normalised_arrays(network: Any) -> dict[str, list[np.ndarray]]:
    """Return what the hidden layers have because their sums are normalised, by its name in a file."""
    return {"gamma": network.gammas, "running_mean": network.running_means, "running_variance": network.running_variances}


def from_tensors(cls: Any, path: str, file: Tensors, others: Mapping[str, np.ndarray]) -> Any:
    """Return the network in a file at `path`, whose tensors are read into the network's own memory; cls: the class Network.

    others: arrays for other tensors of the file, filled on the way. Raises ModelFileError where the file does not describe a network.
    """
    if NETWORKS in file.metadata:
        raise ModelFileError(f"{path}: expected one network, got an ensemble; use load of fastmlp.MLPClassifier or MLPRegressor")
    read = {
        key: model_file.strict_json(file.metadata.get(key, ""), f"{path}: metadata {key}") for key in ("config", "classes", "preprocess")
    }
    columns = model_file.strict_json(file.metadata.get("columns", "null"), f"{path}: metadata columns")
    config, classes, preprocess = read["config"], read["classes"], read["preprocess"]
    if not isinstance(config, dict) or not isinstance(preprocess, dict):
        raise ModelFileError(f"{path}: expected JSON objects in metadata config and preprocess")
    if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise ModelFileError(f"{path}: expected a list of names in metadata classes")
    try:
        config = current_names(config, warn=False)
        sizes, activations, output = config["sizes"], config["activations"], config["output"]
        normalization = config.get("normalization", "none")
        _check_tensors(path, sizes, file.shapes, config["dtype"], normalization)
        if not isinstance(activations, list) or len(activations) != len(sizes) - 2:
            raise ModelFileError(f"{path}: expected {len(sizes) - 2} activations, one per hidden layer, got {short(activations)}")
        loss = config["loss"]
        _check_formulas(path, activations, loss, config.get("formulas"))
        net = cls(
            sizes,
            activations or NetworkSettings.activation,
            output,
            normalization=normalization,
            initializer="zeros",
            dtype=config["dtype"],
            class_names=classes,
        )
        if loss not in losses_for(output):
            raise ModelFileError(f"{path}: expected a loss that fits {output} output, got {short(loss)}")
        parameter = checked_loss_parameter(loss, output, config.get("loss_parameter", 0.0))
        target_is_column, names_class = config["target_is_column"], config.get("predicts_classes", output == "softmax")
        labels = config.get("classes")
        kind, trained_on = preprocess["normalize"], preprocess.get("trained_on")
    except KeyError as error:
        raise ModelFileError(f"{path}: expected {error.args[0]!r} in the metadata, found none") from None
    except (ConfigError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path}: the metadata do not describe a network: {short(error)}") from None
    arrays = {f"layers.{index}.weight": weight for index, weight in enumerate(net.weights)}
    arrays |= {f"layers.{index}.bias": bias for index, bias in enumerate(net.biases)}
    for name, of_layers in _normalised_arrays(net).items():
        arrays |= {f"layers.{index}.{name}": array for index, array in enumerate(of_layers)}
    of_data = (*SCALING_TENSORS, *TARGET_TENSORS, *COLUMN_TENSORS)
    scaling = {name: np.empty(shape, dtype) for name, (dtype, shape) in file.shapes.items() if name in of_data}
    file.read_into({**arrays, **scaling, **others})
    if first_not_finite(net.running_stats) is not None:
        raise ModelFileError(f"{path}: expected finite running means and variances, found NaN or inf")
    for index, variance in enumerate(net.running_variances):
        if variance.min() < 0:
            raise ModelFileError(f"{path}: expected running variances of at least 0, found {variance.min():g} in layers.{index}")
    if first_not_finite(net.parameters) is not None:
        raise ModelFileError(f"{path}: expected finite weights, found NaN or inf")
    # version 0.1.0 left targets as they are, and said nothing about them
    of_targets = preprocess.get("normalize_target", "none" if kind is not None and output == "identity" else None)
    try:
        net.adopt(
            loss=loss,
            loss_parameter=parameter,
            input_scaling=_input_scaling_from(path, kind, scaling, trained_on),
            target_scaling=_target_scaling_from(path, of_targets, scaling, net.n_outputs),
            target_is_column=target_is_column,
            predicts_classes=names_class,
            classes=_known_classes(labels, net, names_class, kind is not None),
        )
        net.columns = _columns_from(path, columns, scaling)
    except ConfigError as error:
        raise ModelFileError(f"{path}: {error}") from None
    return net


def _known_classes(labels: Any, net: Any, names_class: Any, is_trained: bool) -> Any:
    """Return the labels in a file; where it has none, those of a network that was trained are the class numbers."""
    if labels is None and is_trained and net.output != "identity" and (names_class or net.n_outputs == 1):
        return np.arange(max(net.n_outputs, 2))
    return labels


def _check_formulas(path: str, activations: Any, loss: Any, known: Any) -> None:
    try:
        formulas.check_described(activations, loss, known)
    except ConfigError as error:
        raise ModelFileError(f"{path}: {error}") from None


def _check_tensors(path: str, sizes: Any, shapes: model_file.Shapes, dtype: Any, normalization: Any) -> None:
    """Compare the tensors of a file with the sizes that it states, before anything of that size is allocated."""
    sizes = checked_sizes(sizes)
    if normalization not in NORMALISED:
        raise ModelFileError(f"{path}: expected normalization to be none, batch or layer, got {short(normalization)}")
    expected: dict[str, tuple[int, ...]] = {}
    for index, (k, n) in enumerate(zip(sizes, sizes[1:], strict=False)):
        expected |= {f"layers.{index}.weight": (k, n), f"layers.{index}.bias": (n,)}
        if index + 2 < len(sizes):
            expected |= {f"layers.{index}.{name}": (n,) for name in NORMALISED[normalization]}
    for name, shape in expected.items():
        if name not in shapes:
            raise ModelFileError(f"{path}: expected a tensor {name}, found none")
        found_dtype, found_shape = shapes[name]
        if found_shape != shape or found_dtype.name != dtype:
            found = f"{found_dtype.name} {found_shape}"
            raise ModelFileError(f"{path}: tensor {name}: expected {dtype} {shape}, found {found}")
    known = {*expected, *SCALING_TENSORS, *TARGET_TENSORS, *COLUMN_TENSORS}
    for name in shapes:
        if name not in known and not name.startswith(TRAINING_TENSORS):
            raise ModelFileError(f"{path}: tensor {short(name)} belongs to no layer")


def _input_scaling_from(path: str, kind: Any, tensors: dict[str, np.ndarray], trained_on: Any) -> InputScaling | None:
    """Return the scaling of inputs in a file, as it stands there: Network.adopt checks it."""
    return None if kind is None else InputScaling(kind, *_pair(path, tensors, SCALING_TENSORS), trained_on)


def _target_scaling_from(path: str, kind: Any, tensors: dict[str, np.ndarray], n_outputs: int) -> TargetScaling | None:
    """Return the scaling of targets in a file, as it stands there: Network.adopt checks it."""
    if kind not in (None, "none"):
        return TargetScaling(kind, *_pair(path, tensors, TARGET_TENSORS))
    if unwanted := [name for name in TARGET_TENSORS if name in tensors]:
        raise ModelFileError(f"{path}: expected no tensor {unwanted[0]}, as targets are not standardised, found one")
    return None if kind is None else targets.none(n_outputs)


def _columns_from(path: str, described: Any, tensors: dict[str, np.ndarray]) -> of_columns.Columns | None:
    """Return the columns in a file, as they stand there: Network.columns checks them."""
    if described is not None:
        return of_columns.from_described(described, *_pair(path, tensors, COLUMN_TENSORS))
    if unwanted := [name for name in COLUMN_TENSORS if name in tensors]:
        raise ModelFileError(f"{path}: expected no tensor {unwanted[0]}, as it knows no columns, found one")
    return None


def _pair(path: str, tensors: dict[str, np.ndarray], names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return two tensors of a file by their names."""
    if missing := [name for name in names if name not in tensors]:
        raise ModelFileError(f"{path}: expected a tensor {missing[0]}, found none")
    return tensors[names[0]], tensors[names[1]]


def to_state(network: Any) -> dict[str, Any]:
    """Return what a pickle holds of a network."""
    kept = {name: value for name, value in vars(network).items() if name != "_programs"}  # which hold addresses of this process
    return {**kept, "formulas": formulas.described(network.hidden_activations, network.loss)}


def from_state(network: Any, make: Callable[..., None], state: dict[str, Any]) -> None:
    """Make a network anew from its state, which may come from another process, or from somebody who changed it.

    make: Network.__init__. Raises ConfigError for the state of no network.
    """
    try:
        names = [layer.activation for layer in state["layers"][:-1]]
        # in another process they may not be registered, or be others
        formulas.check_described(names, state["loss"], state["formulas"])
        make(
            network, state["sizes"], names or NetworkSettings.activation, state["output"], normalization=state["normalization"],
            initializer="zeros", dtype=state["dtype"], class_names=state["_class_names"],
        )  # fmt: skip
        if state["layers"] != network.layers:
            raise ConfigError(f"layers: expected those of {network!r}, got {short(state['layers'])}")
        network.adopt(
            **{name: state[name] for name in ("loss", "loss_parameter", "target_is_column", "predicts_classes")},
            input_scaling=state["_input_scaling"], target_scaling=state["_target_scaling"], classes=state["_classes"],
        )  # fmt: skip
        network.columns = state.get("_columns")  # version 0.1.0 had none
        for name in ("_parameters", "_running_stats"):
            vars(network)[name] = _own_array(name, state[name], vars(network)[name])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ConfigError(f"expected the state of a Network, got another one ({type(error).__name__}: {short(error)})") from None
    vars(network).update({name: value for name, value in state.items() if name not in vars(network) and name != "formulas"})


def _own_array(name: str, array: Any, like: np.ndarray) -> np.ndarray:
    """Return an array that kernels may have in place of `like`: the one that was given where it is as it has to be, else a copy."""
    if not isinstance(array, np.ndarray) or array.dtype != like.dtype or array.shape != like.shape:
        raise ConfigError(f"{name.strip('_')}: expected {told(like)}, got {told(array)}")
    is_plain = type(array) is np.ndarray and array.flags.c_contiguous and array.flags.aligned and array.flags.writeable
    return array if is_plain else np.array(array, like.dtype, subok=False)
