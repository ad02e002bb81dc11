"""Small trainings of every activation and every loss: the same ones in this process and in others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import fastmlp
from fastmlp.kernels.losses import LOSSES
from tests.kernels.comparison import EACH_ONCE

N_ROWS, BATCH_SIZE = 40, 7
EVERY_LOSS = [("silu", name) for name in LOSSES]


def losses(pairs: Sequence[tuple[str, str]] = tuple(EACH_ONCE), **settings: Any) -> dict[str, list[float]]:
    """Return {"activation loss": mean loss of each epoch} of networks 3-4-4-3, for pairs of an activation and a loss."""
    settings = {"epochs": 2, "batch_size": BATCH_SIZE, "learning_rate": 0.1, "kernels": "scalar"} | settings
    generator = np.random.default_rng(0)
    x, classes = generator.standard_normal((N_ROWS, 3)), generator.integers(0, 3, N_ROWS)
    targets = {"softmax": classes, "sigmoid": np.eye(3)[classes], "identity": x**2}
    found = {}
    for activation, name in pairs:
        loss = LOSSES[name]
        network = fastmlp.Network([3, 4, 4, 3], activation, loss.output)
        history = fastmlp.train(network, x, targets[loss.output], loss=loss.name, **settings)
        found[f"{activation} {name}"] = history.to_dict()["train_loss"]
    return found
