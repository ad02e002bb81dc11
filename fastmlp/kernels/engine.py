"""Which engine runs a network: tiles, or the textbook loops. Sizes, settings and data decide, never a clock."""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels.program import Program
from fastmlp.kernels.regularisation import NOTHING, Regularisation
from fastmlp.kernels.tiled import FORWARD_ROWS, TiledProgram, tiles_pay
from fastmlp.kernels.zeros import MOST_LISTED_INPUTS

# Zero-skipping: rows looked at, and the share of inputs that are not zero below which it pays.
SAMPLE_ROWS, LIVE_SHARE = 1000, 0.8
TILED_ROWS_INFERENCE = 16  # below this, packing the weights costs more than tiles gain


class Wanted(NamedTuple):
    """What is wanted of an engine; the names are those of Program and TiledProgram. Without a loss: outputs alone."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    dtype: np.dtype
    rows: int  # of a batch, or of a block of one
    threads: int
    kernels: str = "auto"  # or "scalar" or "python"
    norm: str = "none"
    loss: str | None = None  # its key in LOSSES
    update: str = "sgd"
    limited: bool = False
    averages: bool = False
    regularisation: Regularisation = NOTHING
    scaled: bool = False
    one_hot: bool = False
    zero_skipping: str = "auto"  # or "on" or "off"
    x: np.ndarray = np.zeros((0, 0))  # (n, K) rows, of which
    trained_on: np.ndarray = np.arange(0)  # those with these numbers (m,) are trained on
    shifted: bool = False  # whether a number is added to some input


def choose(wanted: Wanted) -> Program | TiledProgram:
    """Return the engine for what is wanted."""
    w = wanted
    if not _tiles_pay(w):
        return Program(
            w.sizes, w.activations, w.dtype, w.rows, w.loss, w.kernels, w.zero_skipping != "off", w.threads, w.update,
            w.limited, w.averages, w.regularisation, w.norm, w.scaled, w.one_hot,
        )  # fmt: skip
    listed = (
        w.loss is not None
        and w.sizes[0] <= MOST_LISTED_INPUTS
        and (w.zero_skipping == "on" or (w.zero_skipping == "auto" and zeros_pay(w.regularisation, w.x, w.trained_on, w.shifted)))
    )
    return TiledProgram(
        w.sizes, w.activations, w.dtype, w.rows, w.loss, listed, w.threads, w.update, w.shifted,
        w.limited, w.averages, w.regularisation, w.norm, w.scaled, w.one_hot,
    )  # fmt: skip


def _tiles_pay(w: Wanted) -> bool:
    """Return whether tiles are faster; for outputs alone, weights are packed once for all blocks of rows."""
    if w.kernels != "auto":
        return False
    return tiles_pay(w.sizes, w.rows) if w.loss is not None else w.rows >= TILED_ROWS_INFERENCE and tiles_pay(w.sizes, FORWARD_ROWS)


def zeros_pay(regularisation: Regularisation, x: np.ndarray, trained_on: np.ndarray, shifted: bool) -> bool:
    """Return whether a tile of rows finds enough inputs at zero: measured on a fixed sample of the rows.

    Where the inputs themselves are changed, those left out are zero; others only where they are so before, and no shift or noise is
    added.
    """
    kept = 1.0 - regularisation.input_dropout
    if regularisation.input_noise > 0 or (regularisation.input_dropout > 0 and shifted):
        return kept < LIVE_SHARE
    if trained_on.size > SAMPLE_ROWS:
        trained_on = trained_on[np.linspace(0, trained_on.size - 1, SAMPLE_ROWS).astype(np.int64)]
    return bool((x[trained_on] != 0).mean() * kept < LIVE_SHARE)
