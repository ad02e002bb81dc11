"""Where the numbers of a tiled network lie in one array, the arena: batches, packed weights, activations, deltas. And packing.

Every matrix begins at a multiple of a cache line, and so does each of its rows that is read as vectors. Padding holds zeros and keeps
them: a tile that runs over an edge adds products with zero.

z, a and delta of a hidden layer lie row by row, all panels of a row side by side, as the next layer reads them. Those of the last one,
which only the owner of a panel reads, lie panel by panel: rows side by side would let a core fetch ahead the lines that another one is
writing (workload A on two cores: 0.125 s against 0.114; AMD EPYC, Zen 4, 2026-11).
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import zeros
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.normalisation import MOMENT_VECTORS
from fastmlp.kernels.panels import GRADIENT_NUMBERS, LOSS_ROWS
from fastmlp.kernels.tiles import PanelTiles, instruction_set
from fastmlp.kernels.vectors import CACHE_LINE, aligned_zeros, lanes_of

MOST_UPDATED_ROWS = 12  # of w, in one tile of an update
STEPPED_ROWS = 4  # rows of w whose gradient is found by masks before they take their step: whole groups of inputs
LISTED_SUMS = 8  # at least so many sums at a time: they hide the latency of a multiply-add
FEW_PARAMETERS = 4096  # up to so many are packed one by one
LOSS_WORK = 8  # multiply-adds that take as long as the loss of an output: an exponential, and some passes
AS_SOON = 1.02  # of two numbers of shares, so much longer is as soon
LEAST_SHARED_VECTORS = 8  # layers of fewer are rarely part of a network that is worth two threads
PADDED_ROWS = 8  # rows behind the batch that a product or dot tile may run into


class ListedShape(NamedTuple):
    """The tiles of a first layer that skips zeros: MR rows share a list of inputs, and `side` panels are taken at a time.

    The update takes `masked` panels at a time.
    """

    MR: int
    side: int
    masked: int


class LayerLayout(NamedTuple):
    """One layer: its sizes, its tile, and the offsets of what belongs to it, with the names of records.LAYER."""

    n_in: int
    n_out: int
    tiles: PanelTiles  # all tiles of a layer have panels of the same width
    panels: int
    width: int  # numbers in a row of a panel
    w: int  # packed weights
    w_panel: int  # length of a packed panel
    bias: int
    z: int  # of hidden layers that need z on the way back, else the same as a; of the output layer, its sums panel by panel
    a: int
    delta: int
    row: int  # length of a row of z, a and delta
    column: int  # from a row's part in one panel to its part in the next
    out: int = 0  # what the next layer reads: a after dropout, where there is some, else the same as a
    gamma: int = 0  # of layers whose sums are normalised: their scales; 0 for others, as are the next ones
    hat: int = 0  # the sums, then normalised
    moments: int = 0  # the vectors of normalised.py, one `panels` * `width` after another
    running: int = 0  # running means and variances; of sums normalised over the units, the inverse deviation of each row


class Layout:
    """The arena of a network with at least one hidden layer, for batches of up to `rows` rows.

    Where it does not train, the output layer lies like a hidden one, `output` is None, and each output is summed in the order of its
    inputs: the same bits as the textbook loops.
    """

    def __init__(
        self, sizes: Sequence[int], activations: Sequence[str], dtype: np.dtype, rows: int, trains: bool, states: int = 0, shares: int = 1,
        threads: int = 1, drops: Sequence[bool] = (), norm: str = "none", loss_rows: int = LOSS_ROWS,
    ) -> None:  # fmt: skip
        """Lay out a network; `drops`: of which hidden layers units are left out, () for none; norm: theirs, one of normalised.NORMS.

        loss_rows: so many rows have their losses added up together.
        """
        self.dtype, self.rows, self.norm, self.loss_rows, self.shares = dtype, rows, norm, loss_rows, shares
        self._size = 0
        self._lanes = lanes_of(dtype)
        last = len(sizes) - 2
        # the weights first, then as often again their states: from a weight to its state it is the same distance everywhere
        layers: list[LayerLayout] = []
        for index in range(last + (not trains)):
            layers.append(self._weights(sizes[index], sizes[index + 1], index < last, layers[-1] if layers else None))
        output = self._output_weights(sizes[-2], sizes[-1], layers[-1]) if trains else None
        self.state = self._size
        self._size *= 1 + states
        self.states_end = self._size
        self.batch_row = _row_length(_round_up(sizes[0], layers[0].tiles.MK), zeros.WORD)
        # one for each thread: a batch that another core has gathered would come out of its cache, line by line
        self.batches = [self._take(self.rows_padded * self.batch_row) for _ in range(threads)]
        keeps_z = [trains and ACTIVATIONS[activation].needs in ("z", "both") for activation in activations] + [False]
        drops = [*drops, *[False] * (len(layers) - len(drops))]
        self.hidden = [
            self._rows(layer, keeps, has_dropped, by_panel=trains and layer is layers[-1] and norm != "layer", above=above)
            for layer, above, keeps, has_dropped in zip(layers, [*layers[1:], layers[-1]], keeps_z, drops, strict=False)
        ]
        self.output = self._output_rows(output) if output else None
        self.one = self._take(1)  # a 1: the input of all biases
        widest = max(layer.width for layer in layers)
        self.no_bias = self._take(max(widest, *(layer.panels * layer.width for layer in layers if layer.gamma), 0))
        self.shifted_bias = self._take(layers[0].panels * layers[0].width)
        self.gradient_row = _round_up(max(GRADIENT_NUMBERS, MOST_UPDATED_ROWS * widest), CACHE_LINE)
        self.gradient = self._take(shares * self.gradient_row if states else 0)
        self.listed = listed_shape(layers[0], shares)
        # of the panels of a list side by side, or of one with a transposed square of weights
        self.sums_share = _round_up(self.rows_padded * max(1, self.listed.side) * widest + widest * widest, CACHE_LINE)
        self.sums = self._take(shares * self.sums_share)
        self.n_lengths = sum(map(self.parts_of, self.layers))
        self.lengths = self._take(self.n_lengths if states else 0)  # of the gradient of each panel of weights, biases and scales
        self.arena = aligned_zeros(self._size, dtype)
        self.arena[self.one] = 1
        self.sparse = SparseLayout(sizes[0], rows, self.listed.MR, threads)
        self.extra_row = rows

    @property
    def layers(self) -> list[LayerLayout]:
        """The hidden layers and, where it trains, the output layer."""
        return [*self.hidden, *([self.output] if self.output else [])]

    @property
    def rows_padded(self) -> int:
        """Rows of a batch and those behind it."""
        return self.rows + PADDED_ROWS

    @staticmethod
    def parts_of(layer: LayerLayout) -> int:
        """Return how many panels the weights, biases and scales of a layer have; the share that owns one owns the biases of its units."""
        of_biases = -(-layer.n_out // layer.width)  # of the outputs, too, which are packed by their inputs
        return layer.panels + of_biases + (layer.panels if layer.gamma else 0)

    def _weights(self, k: int, n: int, is_hidden: bool, below: LayerLayout | None) -> LayerLayout:
        tiles = tiles_for(n, self._lanes)
        width = tiles.NV * self._lanes
        panels = -(-n // width)
        # a transposed copy takes as many rows as the panels of the layer below have units
        panel = _round_up(max(k, below.panels * below.width if below else 0), padded_inputs(tiles)) * width
        weight, bias = self._take(panels * panel), self._take(panels * width)
        gamma = self._take(panels * width) if is_hidden and self.norm != "none" else 0
        return LayerLayout(k, n, tiles, panels, width, weight, panel, bias, 0, 0, 0, 0, column=width, gamma=gamma)

    def _rows(self, layer: LayerLayout, keeps_z: bool, has_dropped: bool, by_panel: bool, above: LayerLayout) -> LayerLayout:
        # what an update tile of the layer above reads behind the last unit is padding, not the next row
        units = max(layer.panels * layer.width, _round_up(layer.n_out, above.tiles.MK))
        layer = layer._replace(row=_row_length(units, self._lanes))
        if by_panel:  # its units are read by their own share alone: no two cores work on neighbouring cache lines
            layer = layer._replace(row=layer.width, column=self.rows_padded * layer.width)
        count = max(self.rows_padded * layer.row, layer.panels * layer.column)
        a = self._take(count)
        if layer.gamma:
            units = layer.panels * layer.width
            hat, moments = self._take(count), self._take(MOMENT_VECTORS * units)
            layer = layer._replace(hat=hat, moments=moments, running=self._take(max(2 * units, self.rows_padded)))
        z, out = (self._take(count) if is_apart else a for is_apart in (keeps_z, has_dropped))
        return layer._replace(a=a, z=z, delta=self._take(count), out=out)

    def _output_weights(self, k: int, n: int, last: LayerLayout) -> LayerLayout:
        row = _round_up(n, padded_inputs(last.tiles))
        panel = row * last.width
        weight, bias = self._take(last.panels * panel), self._take(_round_up(n, last.width))
        return LayerLayout(k, n, last.tiles, last.panels, last.width, weight, panel, bias, 0, 0, 0, row, column=last.width)

    def _output_rows(self, output: LayerLayout) -> LayerLayout:
        sums = self._take(output.panels * self.rows_padded * output.row)
        return output._replace(z=sums, a=sums, delta=self._take(self.rows_padded * output.row))

    def _take(self, count: int) -> int:
        """Reserve numbers, from a multiple of a cache line on."""
        first = self._size
        self._size += _round_up(count, CACHE_LINE // self.dtype.itemsize)
        return first

    def place_shift(self, shift: np.ndarray) -> None:
        """Put a shift of the inputs (K,) into the extra row of each batch."""
        for batch in self.batches:
            first = batch + self.extra_row * self.batch_row
            self.arena[first : first + shift.size] = shift

    def pack(self, vector: np.ndarray, copy: int = 0, thread: int = 0, threads: int = 1) -> None:
        """Copy a flat vector (P,), parameters (copy 0) or a state of theirs (1, 2, …), into the panels: the part of one of some threads."""
        if vector.size > FEW_PARAMETERS:
            for dense, packed in self._parts(vector, self._copy(copy), thread, threads):
                packed[:] = dense
        elif thread == 0:
            self._copy(copy)[self.places] = vector

    def pack_running_stats(self, running_stats: np.ndarray) -> None:
        """Copy running statistics (S,) into the arena: mean and variance, layer by layer."""
        for dense, packed in self._running(running_stats):
            packed[:] = dense

    def unpack_running_stats(self, running_stats: np.ndarray) -> None:
        """Copy running statistics out of the arena into a vector (S,)."""
        for dense, packed in self._running(running_stats):
            dense[:] = packed

    def _running(self, running_stats: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return pairs of views of the same means or variances: in the vector, in the arena."""
        parts, first = [], 0
        if self.norm in ("batch", "running"):
            for layer in (layer for layer in self.hidden if layer.gamma):
                for at in (layer.running, layer.running + layer.panels * layer.width):
                    parts.append((running_stats[first : first + layer.n_out], self.arena[at : at + layer.n_out]))
                    first += layer.n_out
        return parts

    def clear_states(self) -> None:
        """Set the states of all weights and biases to 0."""
        self.arena[self.state : self.states_end] = 0

    def unpack(self, vector: np.ndarray, copy: int = 0, thread: int = 0, threads: int = 1) -> None:
        """Copy the panels into a flat vector (P,): the part of one of some threads."""
        if vector.size > FEW_PARAMETERS:
            for dense, packed in self._parts(vector, self._copy(copy), thread, threads):
                dense[:] = packed
        elif thread == 0:
            self._copy(copy).take(self.places, out=vector, mode="clip")

    def _copy(self, copy: int) -> np.ndarray:
        """Return the part of the arena in which the places of one copy count from 0."""
        return self.arena[copy * self.state :]

    @functools.cached_property
    def places(self) -> np.ndarray:
        """Where each parameter lies in its copy: for a few of them, one list is quicker than two views for each panel."""
        counts = [layer.n_in * layer.n_out + layer.n_out * (2 if layer.gamma else 1) for layer in self.layers]
        places = np.zeros(sum(counts), np.intp)
        for dense, packed in self._parts(places, np.arange(self.state)):
            dense[:] = packed
        return places

    def _parts(
        self, parameters: np.ndarray, arena: np.ndarray, thread: int = 0, threads: int = 1
    ) -> list[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
        """Return pairs of views of the same weights or biases: in the flat vector, in the arena or one of its copies.

        Each of some threads has as many whole panels of each layer, and the first one what is left.
        """
        parts, first = [], 0
        for layer in self.layers:
            k, n = layer.n_in, layer.n_out
            weight = parameters[first : first + k * n].reshape(k, n)
            columns = weight.T if layer is self.output else weight  # panels cut the output layer by its inputs
            packed = arena[layer.w : layer.w + layer.panels * layer.w_panel].reshape(layer.panels, -1, layer.width)
            (rows, units), width = columns.shape, layer.width
            whole, rest = divmod(units, width)  # all whole panels at once: one by one, their rows would come from memory twice
            own = slice(whole * thread // threads, whole * (thread + 1) // threads)
            parts.append((columns[:, : whole * width].reshape(rows, whole, width).swapaxes(0, 1)[own], packed[:whole, :rows][own]))
            left = [(columns[:, whole * width :], packed[-1, :rows, :rest])]
            first += k * n
            for vector in (layer.bias, layer.gamma) if layer.gamma else (layer.bias,):
                left.append((parameters[first : first + n], arena[vector : vector + n]))
                first += n
            parts += left if thread == 0 else []
        return parts


class SparseLayout:
    """The arrays of zeros.py, a part for the batch of each thread, and the offsets of these parts."""

    def __init__(self, n_inputs: int, rows: int, tile_rows: int, threads: int) -> None:
        words, segments = -(-n_inputs // zeros.WORD), -(-(rows + 1) // zeros.WORD)  # one row more: see Layout.extra_row
        tiles_in_batch, blocks = -(-rows // tile_rows), -(-n_inputs // zeros.LISTED_BLOCK)
        self.list_length = n_inputs + zeros.WORD  # whole words are written, of which a part may count
        lists, folded = tiles_in_batch * self.list_length, segments * words * zeros.PLANES * zeros.WORD
        row_masks, group_masks = rows * words, segments * words * zeros.GROUPS_PER_WORD
        counts = tiles_in_batch * (blocks + 1)
        part = _round_up(lists + folded, CACHE_LINE), _round_up(row_masks + group_masks, CACHE_LINE), _round_up(counts, CACHE_LINE)
        self.lists = np.zeros(threads * part[0], np.uint16)
        self.masks = np.zeros(threads * part[1], np.uint64)
        self.counts = np.zeros(threads * part[2], np.int64)
        self._parts, self._folded, self._group_masks = part, lists, row_masks
        for thread in range(threads):  # of the extra row, no input counts as zero
            of_thread = self.lists[thread * part[0] + lists :][:folded]
            of_thread.reshape(segments, -1, zeros.WORD)[rows // zeros.WORD, :, rows % zeros.WORD] = zeros.PLANE_MASK

    def places(self, thread: int) -> dict[str, int]:
        """Return where the lists, masks and counts of the batch of a thread begin, as records.RUN has it."""
        lists, masks, counts = (thread * part for part in self._parts)
        return {
            "lists": lists, "list_length": self.list_length, "folded": lists + self._folded,
            "row_masks": masks, "group_masks": masks + self._group_masks, "counts": counts,
        }  # fmt: skip


def tiles_for(units: int, lanes: int) -> PanelTiles:
    """Return the tiles for a layer of so many units: those that are done first with them and their padding, on one share and on two.

    The mean of both: how many shares there are may not decide, as bits depend on the tiles.
    """
    vectors = -(-units // lanes)

    def duration(tiles: PanelTiles) -> float:
        panels = -(-vectors // tiles.NV)
        of_longer_share = -(-panels // 2) if vectors >= LEAST_SHARED_VECTORS else panels / 2
        return (panels / 2 + of_longer_share) * tiles.NV / tiles.speed

    return min(instruction_set().panels, key=duration)


def longest_and_mean_work(sizes: Sequence[int], lanes: int, shares: int) -> tuple[float, float]:
    """Return the multiply-adds of a step for each row of a batch, those between two barriers by the share that has most, and by the mean.

    Of each hidden layer: forward and update, by its inputs, and its delta, by the units of the next layer, of which the outputs are packed
    by their inputs, so that their own forward and update belong to these panels, too. The loss is taken row by row, so many for each share.
    """
    of_loss = LOSS_WORK * sizes[-1]
    longest, total = of_loss / shares, of_loss
    for index, (below, units, above) in enumerate(zip(sizes, sizes[1:], sizes[2:], strict=False)):
        width = tiles_for(units, lanes).NV * lanes
        panels, is_last = -(-units // width), index + 3 == len(sizes)
        of_panel = width * (2 * below + (3 if is_last else 1) * above)
        longest += -(-panels // shares) * of_panel
        total += panels * of_panel
    return longest, total / shares


@functools.lru_cache(maxsize=128)
def fewest_shares(sizes: tuple[int, ...], lanes: int, most: int) -> int:
    """Return how many shares end a step as soon as `most` of them do: threads without a panel of their own would only be waited for."""
    enough = AS_SOON * longest_and_mean_work(sizes, lanes, most)[0]
    return next(shares for shares in range(1, most + 1) if longest_and_mean_work(sizes, lanes, shares)[0] <= enough)


def padded_inputs(tiles: PanelTiles) -> int:
    """Return of how many rows weights have a multiple: whole tiles of every kind that reads or writes them."""
    dots = instruction_set().dots
    return math.lcm(tiles.MK, STEPPED_ROWS, *(NI for _, NI in dots))


def listed_shape(layer: LayerLayout, shares: int) -> ListedShape:
    """Return the tiles of a layer that skips zeros: as few rows as give enough sums at a time, of the panels that each share has.

    The fewer rows share a list, the shorter it is: 19 % of MNIST's pixels for one row, 29 % for two, 42 % for five.
    """
    side, masked = panels_at_a_time(layer.tiles, max(1, layer.panels // shares))
    return ListedShape(max(1, LISTED_SUMS // (side * layer.tiles.NV)), side, masked)


def panels_at_a_time(tiles: PanelTiles, panels: int) -> tuple[int, int]:
    """Return how many of a share's panels are taken at a time where inputs are listed, and where they are masked."""
    side, masked = (next(side for side in (most, 2, 1) if side <= panels) for most in (tiles.listed, tiles.masked))
    return side, masked


def _row_length(length: int, to: int) -> int:
    """Return a row length in whole units of `to`, not a multiple of 2 KiB: the rows of a tile would fall into the same cache sets."""
    padded = _round_up(length, to)
    return padded + max(to, 16) if padded % 512 == 0 else padded


def _round_up(count: int, to: int) -> int:
    return -(-count // to) * to
