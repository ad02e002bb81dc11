"""Several networks -> one that answers the mean of their outputs: side by side, nothing between them.

Hidden layers stand beside each other; between two of them the weights from the units of one network to those of another are 0, and the
last layer takes the mean of what it took in each. So an ensemble is a Network like any other, in a file, in C, in other people's code.
"""

from collections.abc import Sequence

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.network.network import Network

ALIKE = (
    "sizes",
    "hidden_activations",
    "output",
    "dtype",
    "normalization",
    "loss",
    "loss_parameter",
    "target_is_column",
    "predicts_classes",
)


def joined(networks: Sequence[Network]) -> Network:
    """Return the network whose outputs, before softmax or sigmoid, are the means of those of several, but for rounding.

    All are of the same sizes and activations, and trained with the same loss, scalings and classes. Of layers of n units each it has layers
    of n times as many; the numbers between those of two hidden layers are n² / len(networks) in use, the others 0. One network is returned
    as a copy. Raises ConfigError for networks that differ, and for layer normalisation, whose statistics are those of a whole layer.
    """
    if not networks:
        raise ConfigError("joined: expected a network or more, got none")
    first, count = networks[0], len(networks)
    for network in networks[1:]:
        _check_alike(first, network)
    if first.normalization == "layer" and count > 1:
        raise ConfigError("joined: expected networks without layer normalisation, got some with it; use batch normalisation, or none")
    if count == 1:
        return first.copy()
    if first.normalization == "batch":
        return joined([network.folded() for network in networks])
    sizes = (first.n_inputs, *(count * n for n in first.sizes[1:-1]), first.n_outputs)
    names = vars(first)["_class_names"]
    net = Network(sizes, first.hidden_activations or "relu", first.output, initializer="zeros", dtype=first.dtype.name, class_names=names)
    net.adopt(
        loss=first.loss, loss_parameter=first.loss_parameter, input_scaling=first.input_scaling, target_scaling=first.target_scaling,
        target_is_column=first.target_is_column, predicts_classes=first.predicts_classes, classes=first.known_classes,
    )  # fmt: skip
    net.columns = first.columns
    last = len(sizes) - 2
    for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        k, n = first.weights[layer].shape
        for place, network in enumerate(networks):
            rows = slice(place * k, place * k + k) if layer > 0 else slice(None)
            units = slice(place * n, place * n + n) if layer < last else slice(None)
            share = count if layer == last else 1
            weight[rows, units] += network.weights[layer] / share
            bias[units] += network.biases[layer] / share
    return net


def _check_alike(first: Network, other: Network) -> None:
    for name in ALIKE:
        if getattr(first, name) != getattr(other, name):
            raise ConfigError(f"joined: expected networks of one kind, got {name} {getattr(first, name)} and {getattr(other, name)}")
    for name in ("input_scaling", "target_scaling", "known_classes"):
        if not _same(getattr(first, name), getattr(other, name)):
            raise ConfigError(f"joined: expected networks that were trained on the same rows, got another {name}")
    ours, theirs = first.columns, other.columns
    if (ours is None) != (theirs is None) or ours is not None and theirs is not None and not ours.same_as(theirs):
        raise ConfigError("joined: expected networks that take the same columns, got others")


def _same(ours: object, theirs: object) -> bool:
    """Return whether two arrays, or two records of arrays, are equal; None is equal to None."""
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return len(ours) == len(theirs) and all(_same(one, other) for one, other in zip(ours, theirs, strict=True))
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        return np.array_equal(ours, theirs)
    return type(ours) is type(theirs) and ours == theirs
