"""What a training does to inputs, units and weights within a step, beside learning: dropout, noise, max-norm; as numbers for the kernels.

Kernels get numbers only, in records: the key of a stream of random numbers, a threshold, a factor. What they do with them stands in
textbook.py (drop, add_noise, limit_columns) and, for tiles, in panels.py.
"""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels import random


class Regularisation(NamedTuple):
    """Dropout, noise and max-norm of a training; by default, nothing of them."""

    seed: int = 0
    dropout: tuple[float, ...] = ()  # share of the units of each hidden layer; () for none
    input_dropout: float = 0.0
    input_noise: float = 0.0  # standard deviation
    max_norm: float | None = None

    @property
    def changes_inputs(self) -> bool:
        """Whether inputs are other numbers in a step than those that were normalised."""
        return self.input_dropout > 0 or self.input_noise > 0

    @property
    def is_random(self) -> bool:
        """Whether anything is left to chance."""
        return self.changes_inputs or any(share > 0 for share in self.dropout)

    def drops_units(self, index: int) -> bool:
        """Whether units of a hidden layer, counted from 0, are left out."""
        return bool(self.dropout) and self.dropout[index] > 0

    def of_units(self, index: int) -> "Draw":
        """Return how units of a hidden layer are left out."""
        return dropped(self.seed, 1 + index, self.dropout[index])

    def of_inputs(self) -> "Draw":
        """Return how inputs are left out."""
        return dropped(self.seed, 0, self.input_dropout)

    def of_noise(self) -> "Draw":
        """Return how noise is added to inputs."""
        return Draw(_key(self.seed, random.NOISE, 0), 0, self.input_noise)


NOTHING = Regularisation()


class Draw(NamedTuple):
    """How the numbers of a matrix are changed by chance, as records say it."""

    key: int  # of the stream, as a signed number of 64 bits
    threshold: int  # 32 random bits below it leave a number out
    factor: float  # what is left is multiplied by it, noise as well


def dropped(seed: int, layer: int, share: float) -> Draw:
    """Return how this share of the units of a layer (0: the inputs) is left out."""
    return Draw(_key(seed, random.DROPOUT, layer), random.threshold_of(share), 1.0 / (1.0 - share))


def _key(seed: int, stream: int, layer: int) -> int:
    return int(random.key_of(seed, stream, layer).view(np.int64))
