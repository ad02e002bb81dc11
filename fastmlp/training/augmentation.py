"""Augmentation: for the rows of the next steps, the pictures that kernels/augment.py makes of them, in a buffer of one chunk."""

import math

import numpy as np

from fastmlp import machine
from fastmlp.engines.threads import Team, new_shared
from fastmlp.kernels import augment, random
from fastmlp.settings import FIELDS, TrainingSettings, having

MOST_ROWS = 8192  # in one buffer, unless a batch has more: 6 MB of MNIST, and some 30 ms to fill on one core
SPACING = math.sqrt(3.0)  # of the grid, in deviations of its bell: see kernels/augment.py
SETTINGS = tuple(name for name in having("group", "Augmentation") if FIELDS[name].metadata["needs"] is None)


class Augmentation:
    """What makes the pictures of a training: a function of (seed, epoch, row number), whatever is asked for together.

    rows (n, K), bytes or floats, of images (height, width): `shape`.
    """

    def __init__(self, settings: TrainingSettings, rows: np.ndarray, shape: tuple[int, int], batch_size: int, threads: int) -> None:
        self._rows, self._seed = rows, settings.seed
        height, width = shape
        self.most_rows = max(MOST_ROWS // batch_size, 1) * batch_size
        self._team = Team(min(threads, machine.usable_cores()))
        self._strength = strengths(settings)
        spacing = self._strength[augment.SPACING]
        points = [int(1.0 + (length - 1) / spacing) + augment.SUPPORT for length in (height, width)]
        is_bytes = rows.dtype == np.uint8
        number = np.dtype(np.float32) if is_bytes else rows.dtype
        self._half = number.type(0.5 if is_bytes else 0.0)
        self._scratch = [
            augment.Scratch(
                np.zeros(6),
                np.zeros((2, *points), number),
                np.zeros((2, points[0], width), number),
                np.zeros((augment.SUPPORT, width + 1), number),
                np.zeros(width, np.int64),
                np.zeros((2, height, width), number),
                np.zeros((height + augment.MARGIN) * (width + augment.MARGIN), number),
                np.zeros((2, width), number),
                np.zeros(width, np.int32),
            )
            for _ in range(self._team.threads)
        ]
        self._buffer = np.empty((min(self.most_rows, rows.shape[0]), rows.shape[1]), rows.dtype)
        self._fill(np.arange(0), np.uint64(0), self._buffer[:0], 0)  # compiles

    def pictures(self, numbers: np.ndarray, epoch: int) -> np.ndarray:
        """Return the pictures of the rows `numbers` (m,) in an epoch, (m, K), read-only; good until the next call. m <= most_rows."""
        key = random.key_of(self._seed, random.AUGMENT, epoch)
        pictures = self._buffer[: len(numbers)]
        self._team.run(lambda thread: self._fill(numbers, key, pictures, thread), new_shared())
        view = pictures.view()
        view.flags.writeable = False  # writable rows would be another type to the compiler
        return view

    def _fill(self, numbers: np.ndarray, key: np.uint64, pictures: np.ndarray, thread: int) -> int:
        """Make one thread's part of the pictures."""
        m, threads = len(numbers), self._team.threads
        with np.errstate(over="ignore"):
            augment.augment_images(
                self._rows, numbers, m * thread // threads, m * (thread + 1) // threads, key, self._strength, self._half,
                self._scratch[thread], pictures,
            )  # fmt: skip
        return 0


def is_wanted(settings: TrainingSettings) -> bool:
    """Return whether any setting changes images."""
    return any(getattr(settings, name) for name in SETTINGS)


def strengths(settings: TrainingSettings) -> np.ndarray:
    """Return the settings as kernels/augment.py takes them: (STRENGTHS,) float64."""
    found = np.zeros(augment.STRENGTHS)
    found[augment.SHIFT] = settings.augment_shift
    found[augment.ROTATION] = math.radians(settings.augment_rotation)
    found[augment.SCALE] = settings.augment_scale
    found[augment.SHEAR] = math.radians(settings.augment_shear)
    found[augment.ELASTIC] = settings.augment_elastic
    found[augment.SPACING] = SPACING * settings.augment_elastic_sigma
    found[augment.FLIP] = settings.augment_flip
    return found
