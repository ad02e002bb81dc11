"""Small trainings of every activation with every loss: the same ones in this process and in others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import fastmlp
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES

N_ROWS, BATCH_SIZE = 40, 7


def losses(activations: Sequence[str] = tuple(ACTIVATIONS), **settings: Any) -> dict[str, list[float]]:
    """Return {"activation loss": mean loss of each epoch} of networks 3-4-4-3."""
    settings = {"epochs": 2, "batch_size": BATCH_SIZE, "learning_rate": 0.1, "kernels": "scalar"} | settings
    generator = np.random.default_rng(0)
    x, classes = generator.standard_normal((N_ROWS, 3)), generator.integers(0, 3, N_ROWS)
    targets = {"softmax": classes, "sigmoid": np.eye(3)[classes], "identity": x**2}
    found = {}
    for activation in activations:
        for loss in LOSSES.values():
            network = fastmlp.Network([3, 4, 4, 3], activation, loss.output)
            history = fastmlp.train(network, x, targets[loss.output], loss=loss.name, **settings)
            found[f"{activation} {loss.name}"] = history.to_dict()["train_loss"]
    return found
