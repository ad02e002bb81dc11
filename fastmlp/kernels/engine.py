"""Which engine takes the steps of a training: tiles, or the textbook loops. Sizes, settings and data decide, never a clock."""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels import random
from fastmlp.kernels.program import Program
from fastmlp.kernels.regularisation import Regularisation
from fastmlp.kernels.tiled import TiledProgram, tiles_pay
from fastmlp.kernels.zeros import MOST_LISTED_INPUTS

# Zero-skipping: rows looked at, and the share of inputs that are not zero below which it pays.
SAMPLE_ROWS, LIVE_SHARE = 1000, 0.8


class Wanted(NamedTuple):
    """What a training wants of an engine; the names are those of Program and TiledProgram."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    dtype: np.dtype
    rows: int  # of a batch, or of a block of one
    loss: str  # its key in LOSSES
    update: str
    kernels: str  # "auto", "scalar" or "python"
    zero_skipping: str  # "auto", "on" or "off"
    threads: int
    limited: bool
    averages: bool
    regularisation: Regularisation
    norm: str
    scaled: bool
    one_hot: bool


def choose(wanted: Wanted, x: np.ndarray, trained_on: np.ndarray, shifted: bool) -> Program | TiledProgram:
    """Return the engine for steps on the rows `trained_on` (n,) of x (rows, K); shifted: whether a number is added to some input."""
    w = wanted
    if w.kernels != "auto" or not tiles_pay(w.sizes, w.rows):
        return Program(
            w.sizes, w.activations, w.dtype, w.rows, w.loss, w.kernels, w.zero_skipping != "off", w.threads, w.update,
            w.limited, w.averages, w.regularisation, w.norm, w.scaled, w.one_hot,
        )  # fmt: skip
    listed = w.sizes[0] <= MOST_LISTED_INPUTS and (
        w.zero_skipping == "on" or (w.zero_skipping == "auto" and zeros_pay(w.regularisation, x, trained_on, shifted))
    )
    return TiledProgram(
        w.sizes, w.activations, w.dtype, w.rows, w.loss, listed, w.threads, w.update, shifted,
        w.limited, w.averages, w.regularisation, w.norm, w.scaled, w.one_hot,
    )  # fmt: skip


def zeros_pay(regularisation: Regularisation, x: np.ndarray, trained_on: np.ndarray, shifted: bool) -> bool:
    """Return whether a tile of rows finds enough inputs at zero: measured on a fixed sample of the rows.

    Where the inputs themselves are changed, those left out are zero; others only where they are so before, and no shift or noise is
    added.
    """
    kept = 1.0 - regularisation.input_dropout
    if regularisation.input_noise > 0 or (regularisation.input_dropout > 0 and shifted):
        return kept < LIVE_SHARE
    sample = np.linspace(0, trained_on.size - 1, min(trained_on.size, SAMPLE_ROWS)).astype(np.int64)
    with np.errstate(over="ignore"):
        random.shuffle(sample, np.uint64(random.stream_key(0, random.SAMPLE, 0)))
    return bool((x[trained_on[sample]] != 0).mean() * kept < LIVE_SHARE)
