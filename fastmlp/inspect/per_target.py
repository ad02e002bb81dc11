"""How good a network is at each of several targets. Arrays in, numbers out."""

from typing import Any

import numpy as np

from fastmlp.network import Network
from fastmlp.network.metrics import of_classes
from fastmlp.preprocessing import targets
from fastmlp.settings import OF_CLASSES


def scores_of_targets(network: Network, x: Any, y: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Return the metrics of each target, by its name, on rows x with targets y (n, T); {} where there is one, or classes."""
    names = network.class_names
    if names is None or np.ndim(y) != 2:
        return {}
    if network.output == "identity":
        values = np.asarray(network.predict(x)).reshape(len(y), -1)
        return {name: targets.scores(values[:, [place]], y[:, [place]], None) for place, name in enumerate(names)}
    z = network.logits(x)
    of_each = ((name, z[:, [place]], y[:, [place]]) for place, name in enumerate(names))
    return {name: of_classes([*OF_CLASSES], "sigmoid", outputs, labels, None, one_hot=False) for name, outputs, labels in of_each}
