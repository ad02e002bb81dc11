"""What worker processes of the tests do: quick to import, the same in every process."""

import os

import numpy as np

import fastmlp
from fastmlp import Network, Trainer, TrainingSettings, make_plan

DRAW = np.random.default_rng(3)
ROWS, CLASSES = DRAW.integers(0, 256, (200, 784)).astype(np.uint8), DRAW.integers(0, 10, 200)
SIZES = {"teams": [784, 40, 10], "regions": [784, 10]}  # by tiles and a team of threads; by a parallel region


def train(seed: int) -> str:
    """Train a network that runs over threads; return its parameters, and what it predicts, as text."""
    net = Network(SIZES["teams"], seed=seed)
    fastmlp.train(net, ROWS, CLASSES, epochs=1, batch_size=100, seed=seed)
    return (net.parameters.tobytes() + net.predict_proba(ROWS).tobytes()).hex()


def predict(net: Network) -> str:
    """Return what a network that came from another process predicts."""
    return net.predict_proba(ROWS).tobytes().hex()


def threads(kind: str) -> int:
    """Return the most threads with which this process trains."""
    import numba

    trainer = Trainer(make_plan(Network(SIZES[kind]), ROWS, CLASSES, TrainingSettings(batch_size=100)))
    return max(trainer.threads, numba.get_num_threads())


def resident_bytes() -> int:
    """Return the memory that this process holds now, of Linux."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
