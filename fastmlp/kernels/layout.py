"""Where the numbers of a tiled network lie in one array, the arena: batches, packed weights, activations, deltas. And packing.

Every matrix begins at a multiple of a cache line, and so does each of its rows that is read as vectors. Padding holds zeros and keeps
them: a tile that runs over an edge adds products with zero.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import tiles, zeros
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.panels import BLOCK
from fastmlp.kernels.vectors import vector_bytes

CACHE_LINE = 64  # bytes
PADDED_INPUTS = 20  # weights have a multiple of so many rows: of the rows of every update and dot tile
PADDED_ROWS = 8  # rows behind the batch that a product or dot tile may run into


class LayerLayout(NamedTuple):
    """One layer: its sizes, its tile, and the offsets of what belongs to it. The output layer is packed by the panels of its inputs."""

    n_in: int
    n_out: int
    shape: tiles.Shape
    panels: int
    width: int  # numbers in a row of a panel
    weight: int
    panel: int  # length of a packed panel
    bias: int
    z: int  # of hidden layers that need z on the way back, else the same as a; of the output layer, its sums panel by panel
    a: int
    delta: int
    row: int  # length of a row of z, a and delta


class Layout:
    """The arena of a network with at least one hidden layer, for batches of up to `rows` rows.

    Where it does not train, the output layer lies like a hidden one, `output` is None, and each output is summed in the order of its
    inputs: the same bits as the textbook loops.
    """

    def __init__(
        self, sizes: Sequence[int], activations: Sequence[str], dtype: np.dtype, rows: int, trains: bool, states: int = 0, shares: int = 1
    ) -> None:
        self.dtype, self.rows = dtype, rows
        self._size = 0
        self._lanes = vector_bytes() // dtype.itemsize
        last = len(sizes) - 2
        # the weights first, then as often again their states: from a weight to its state it is the same distance everywhere
        layers = [self._weights(k, n) for k, n in zip(sizes[: last + (not trains)], sizes[1:], strict=False)]
        output = self._output_weights(sizes[-2], sizes[-1], layers[-1]) if trains else None
        self.state = self._size
        self._size *= 1 + states
        self.batch_row = _row_length(sizes[0], zeros.WORD)
        self.batches = (self._take(self.rows_padded * self.batch_row), self._take(self.rows_padded * self.batch_row))
        keeps_z = [trains and ACTIVATIONS[activation].needs in ("z", "both") for activation in activations] + [False]
        self.hidden = [self._rows(layer, keeps) for layer, keeps in zip(layers, keeps_z, strict=False)]
        self.output = self._output_rows(output) if output else None
        self.no_bias = self._take(layers[-1].width)
        self.gradient_row = _round_up(zeros.GROUP * max(layer.width for layer in layers), CACHE_LINE)
        self.gradient = self._take(shares * self.gradient_row if states else 0)
        self.arena = _aligned_zeros(self._size, dtype)
        self.sparse = SparseLayout(sizes[0], rows, layers[0].shape.MR)

    @property
    def rows_padded(self) -> int:
        """Rows of a batch and those behind it."""
        return self.rows + PADDED_ROWS

    def _weights(self, k: int, n: int) -> LayerLayout:
        shape = _shape_for(n, self._lanes)
        width = shape.NV * self._lanes
        panels = -(-n // width)
        panel, row = _round_up(k, PADDED_INPUTS) * width, _row_length(panels * width, self._lanes)
        return LayerLayout(k, n, shape, panels, width, self._take(panels * panel), panel, self._take(panels * width), 0, 0, 0, row)

    def _rows(self, layer: LayerLayout, keeps_z: bool) -> LayerLayout:
        count = self.rows_padded * layer.row
        a = self._take(count)
        return layer._replace(a=a, z=self._take(count) if keeps_z else a, delta=self._take(count))

    def _output_weights(self, k: int, n: int, last: LayerLayout) -> LayerLayout:
        row = _round_up(n, PADDED_INPUTS)
        panel = row * last.width
        weight, bias = self._take(last.panels * panel), self._take(_round_up(n, last.width))
        return LayerLayout(k, n, last.shape, last.panels, last.width, weight, panel, bias, 0, 0, 0, row)

    def _output_rows(self, output: LayerLayout) -> LayerLayout:
        sums = self._take(output.panels * self.rows_padded * output.row)
        return output._replace(z=sums, a=sums, delta=self._take(self.rows_padded * output.row))

    def _take(self, count: int) -> int:
        """Reserve numbers, from a multiple of a cache line on."""
        first = self._size
        self._size += _round_up(count, CACHE_LINE // self.dtype.itemsize)
        return first

    def pack(self, vector: np.ndarray, copy: int = 0) -> None:
        """Copy a flat vector (P,), parameters (copy 0) or a state of theirs (1, 2), into the panels."""
        for dense, packed in self._parts(vector, copy):
            packed[:] = dense

    def unpack(self, vector: np.ndarray, copy: int = 0) -> None:
        """Copy the panels into a flat vector (P,)."""
        for dense, packed in self._parts(vector, copy):
            dense[:] = packed

    def _parts(self, parameters: np.ndarray, copy: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return pairs of views of the same weights or biases: in the flat vector, in the arena."""
        parts, first, moved = [], 0, copy * self.state
        for layer in (*self.hidden, *([self.output] if self.output else [])):
            k, n = layer.n_in, layer.n_out
            weight = parameters[first : first + k * n].reshape(k, n)
            columns = weight.T if layer is self.output else weight  # panels cut the output layer by its inputs
            at = layer.weight + moved
            packed = self.arena[at : at + layer.panels * layer.panel].reshape(layer.panels, -1, layer.width)
            for p in range(layer.panels):
                part = columns[:, p * layer.width : (p + 1) * layer.width]
                parts.append((part, packed[p, : part.shape[0], : part.shape[1]]))
            parts.append((parameters[first + k * n : first + k * n + n], self.arena[layer.bias + moved : layer.bias + moved + n]))
            first += k * n + n
        return parts


class SparseLayout:
    """The arrays of zeros.py for two batches, and the offsets of each batch's part."""

    def __init__(self, n_inputs: int, rows: int, tile_rows: int) -> None:
        words, segments = -(-n_inputs // zeros.WORD), -(-rows // zeros.WORD)
        tiles_in_batch, blocks = -(-rows // tile_rows), -(-n_inputs // BLOCK)
        lists, folded, counts = tiles_in_batch * n_inputs, segments * words * zeros.WORD, tiles_in_batch * (blocks + 1)
        self.lists = np.zeros(2 * (lists + folded), np.uint16)
        self.masks = np.zeros(2 * rows * words + segments * words * zeros.GROUPS_PER_WORD, np.uint64)
        self.counts = np.zeros(2 * counts, np.int64)
        self._offsets = [
            {"LISTS": parity * lists, "FOLDED": 2 * lists + parity * folded, "MASKS": parity * rows * words, "COUNTS": parity * counts}
            for parity in range(2)
        ]
        self._group_masks = 2 * rows * words

    def columns(self, parity: int, group_masks: bool = False) -> dict[str, int]:
        """Return the columns of an operation on the batch of a parity; MASKS are those of rows, or of groups of inputs."""
        offsets = self._offsets[parity]
        return {**offsets, "MASKS": self._group_masks} if group_masks else offsets


def _shape_for(units: int, lanes: int) -> tiles.Shape:
    """Return the tile for a layer of so many units: the one that computes the least padding, on two shares, the widest of those."""
    vectors = -(-units // lanes)

    def computed(shape: tiles.Shape) -> int:
        panels = -(-vectors // shape.NV)
        return (panels + panels % 2) * shape.NV if vectors >= 8 else panels * shape.NV

    return min(tiles.shapes(), key=computed)


def _row_length(length: int, to: int) -> int:
    """Return a row length in whole units of `to`, not a multiple of 2 KiB: the rows of a tile would fall into the same cache sets."""
    padded = _round_up(length, to)
    return padded + max(to, 16) if padded % 512 == 0 else padded


def _round_up(count: int, to: int) -> int:
    return -(-count // to) * to


def _aligned_zeros(count: int, dtype: np.dtype) -> np.ndarray:
    whole = np.zeros(count + CACHE_LINE // dtype.itemsize, dtype)
    first = -whole.ctypes.data % CACHE_LINE // dtype.itemsize
    return whole[first : first + count]
