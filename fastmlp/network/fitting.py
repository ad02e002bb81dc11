"""An untrained network that fits a data set."""

import math
from typing import TYPE_CHECKING

from fastmlp.network import initializers
from fastmlp.network.arrays import is_image
from fastmlp.network.labels import is_plain
from fastmlp.network.network import Network
from fastmlp.settings import NetworkSettings, kind_of

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset


def settings_for(data: "Dataset", settings: NetworkSettings) -> NetworkSettings:
    """Return the settings of a network with the output and the initial weights that go with a data set, where they are not given."""
    output = settings.output or {"classes": "softmax", "labels": "sigmoid", "values": "identity"}[data.target_kind]
    initializer = settings.initializer
    if initializer is None and "initializer" not in data.network_defaults:
        initializer = initializers.of_kind(kind_of(is_image(data.x_train, data.x_train.ndim), output), settings.activation)
    return settings.replace(output=output, initializer=initializer)


def network_for(data: "Dataset", settings: NetworkSettings, seed: int) -> Network:
    """Return an untrained network that fits a data set: its inputs, its classes or targets, and what settings_for adds."""
    settings = settings_for(data, settings)
    n_inputs = math.prod(data.x_train.shape[1:])
    if data.class_names is not None:
        n_outputs = len(data.class_names)
    else:
        n_outputs = len(set(data.y_train.tolist())) if data.target_kind == "classes" else data.y_train[0].size
    sizes = (n_inputs, *settings.hidden, n_outputs)
    network = Network(
        sizes, settings.activation, settings.output, normalization=settings.normalization, initializer=settings.initializer,
        initial_value=settings.initial_value, dtype=settings.dtype, seed=seed, class_names=data.class_names,
    )  # fmt: skip
    network.columns = data.columns
    if data.target_kind == "classes":  # of all training rows: those that a fold is trained on may miss a class
        _, classes = network.numbers_to_train(data.y_train)
        if classes is not None and not is_plain(classes):
            network.classes = classes
    return network
