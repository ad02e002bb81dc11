"""Which engine runs a network: tiles, or the textbook loops. Sizes, settings and data decide, never a clock."""

import functools

import numpy as np

from fastmlp.engines.layout import fewest_shares
from fastmlp.engines.program import Program
from fastmlp.engines.tiled import FORWARD_ROWS, TiledProgram
from fastmlp.engines.wanted import Wanted, multiply_adds
from fastmlp.kernels.regularisation import Regularisation
from fastmlp.kernels.updates import GRADIENT
from fastmlp.kernels.vectors import lanes_of
from fastmlp.kernels.zeros import MOST_LISTED_INPUTS

__all__ = ["FORWARD_ROWS", "SAMPLE_ROWS", "Program", "TiledProgram", "Wanted", "choose", "choose_for_gradient", "tiles_pay", "zeros_pay"]

# Tiles are faster than the textbook loops except row by row and in a handful of units.
TILED_ROWS = 4
TILED_MULTIPLY_ADDS = 1000
TILED_ROWS_INFERENCE = 16  # below this, packing the weights costs more than tiles gain
# Zero-skipping: rows looked at, and the share of inputs that are not zero below which it pays.
SAMPLE_ROWS, LIVE_SHARE = 1000, 0.8


def choose(wanted: Wanted) -> Program | TiledProgram:
    """Return the engine for what is wanted; for outputs alone, weights are packed once for all blocks of rows."""
    w, sizes = wanted, tuple(wanted.sizes)
    pay = tiles_pay(sizes, w.rows) if w.loss is not None else w.rows >= TILED_ROWS_INFERENCE and tiles_pay(sizes, FORWARD_ROWS)
    if w.kernels != "auto" or not pay:
        return Program(w)
    may_skip = w.loss is not None and w.zero_skipping != "off" and sizes[0] <= MOST_LISTED_INPUTS
    return _by_tiles(w, may_skip and (w.zero_skipping == "on" or zeros_pay(w.regularisation, w.x, w.trained_on, w.shifted)))


def choose_for_gradient(wanted: Wanted) -> Program | TiledProgram:
    """Return the engine for gradients of the summed loss, without training."""
    if tiles_pay(tuple(wanted.sizes), wanted.rows):
        return _by_tiles(wanted._replace(update=GRADIENT.name), False)
    return Program(wanted._replace(threads=1))


def _by_tiles(wanted: Wanted, listed: bool) -> TiledProgram:
    shares = fewest_shares(tuple(wanted.sizes), lanes_of(wanted.dtype), wanted.threads)
    return TiledProgram(wanted._replace(threads=shares), listed)


@functools.lru_cache(maxsize=128)
def tiles_pay(sizes: tuple[int, ...], batch_size: int) -> bool:
    """Return whether tiles are faster than the textbook loops."""
    return len(sizes) > 2 and batch_size >= TILED_ROWS and multiply_adds(sizes, batch_size) >= TILED_MULTIPLY_ADDS


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
