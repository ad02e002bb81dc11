"""Register tiles: the three products of a dense layer, for a block of rows and columns whose sums stay in registers.

    product   out[m, j] (+)= sum over k of x[m, k] w[k, j]        forward; delta of a hidden layer from few outputs
    dot       out[m, i]  = sum over j of a[m, j] b[i, j]          outputs from hidden units; delta from a wide layer
    update    w[k, j]   += sum over m of x[m, k] d[m, j]          the weights' step, d scaled by -learning_rate beforehand
    transpose out[n, k]  = w[k, n]                                so that `product` may do the work of `dot`

               NV vectors (NR numbers) of w[k, :]
              +-----+-----+-----+-----+-----+
    x[0, k] → | acc | acc | acc | acc | acc |    One tile of `product`: MR x NV sums in registers. For each k the row w[k] is loaded
    x[1, k] → | acc | acc | acc | acc | acc |    once and multiplied with MR numbers of x: MR NV multiply-adds for MR + NV loads.
    x[2, k] → | acc | acc | acc | acc | acc |    The other two tiles have the same shape with other loops around it.
              +-----+-----+-----+-----+-----+

Weights lie packed in panels of NR columns, one panel after the other, each (K, NR): a tile reads them in one stream. Everything that is
loaded as a vector begins at a multiple of the vector's size. Each sum is added up in the order of its loop, so that the bits depend
neither on the tile that an element falls into nor on the number of threads.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmlp.kernels.vectors import BYTES_AVX, BYTES_AVX512, Emitter, emitted, is_arm, vector_bytes


class Shape(NamedTuple):
    """A tile: MR rows by NV vectors."""

    MR: int
    NV: int


class PanelTiles(NamedTuple):
    """The tiles of a layer whose panels are NV vectors wide: their rows, and how fast the layer is by them.

    speed: the share of the peak in whole steps, next to the fastest: it decides how much padding a faster tile may cost.
    """

    NV: int
    MR: int  # rows of a batch in a tile of `product`
    MK: int  # rows of w in a tile of `update`
    listed: int  # panels side by side where the tile visits a list of inputs for one row
    masked: int  # panels side by side where it visits the rows of a mask for two inputs
    speed: float

    @property
    def shape(self) -> Shape:
        """The tile of `product`."""
        return Shape(self.MR, self.NV)


class InstructionSet(NamedTuple):
    """The tiles that fit the registers of an instruction set, widest panels first, and the shapes of `dot`, first choice first."""

    registers: int
    panels: tuple[PanelTiles, ...]
    dots: tuple[tuple[int, int], ...]  # rows of a, rows of b: the latter divide the width of some panel
    outputs: tuple[int, int]  # of many outputs from a panel of hidden units
    single_output: tuple[int, int] = (8, 1)


# In registers at a time: the sums, the vectors of a row of w or the numbers of x, whichever are fewer, and one of the others. At least
# eight sums hide the latency of two multiply-adds a cycle that take four cycles each. Speeds: bench/studies/tile_shapes.py measures each
# shape by itself, tile_choice.py whole steps; an Intel Xeon of 2023 (Emerald Rapids), for AVX2 as well. Zen 3 reached 0.92 and 0.95 of
# its peak with 4 x 2 and 5 x 2, 0.58 with 6 x 1 (2026-11). Of NEON and SSE only the registers are known, from the assembly.
_OF_32_REGISTERS = InstructionSet(
    32,
    (
        PanelTiles(NV=5, MR=5, MK=5, listed=2, masked=2, speed=0.97),
        PanelTiles(NV=4, MR=6, MK=5, listed=2, masked=2, speed=0.95),
        PanelTiles(NV=2, MR=8, MK=5, listed=4, masked=4, speed=0.85),
        PanelTiles(NV=1, MR=8, MK=10, listed=8, masked=8, speed=0.70),
    ),
    dots=((5, 5), (6, 4), (6, 2)),
    outputs=(5, 5),
)
_OF_16_REGISTERS = InstructionSet(
    16,
    (
        PanelTiles(NV=3, MR=4, MK=4, listed=4, masked=2, speed=0.98),
        PanelTiles(NV=2, MR=5, MK=5, listed=5, masked=2, speed=0.88),
        PanelTiles(NV=1, MR=8, MK=10, listed=8, masked=4, speed=0.70),
    ),
    dots=((5, 2),),
    outputs=(5, 2),
)
INSTRUCTION_SETS = {
    "AVX-512": _OF_32_REGISTERS,
    "AVX2": _OF_16_REGISTERS,
    "NEON": _OF_32_REGISTERS,
    "SSE": _OF_16_REGISTERS._replace(panels=_OF_16_REGISTERS.panels[1:]),  # a product takes a register on its way into the sum
}


@functools.cache
def instruction_set() -> InstructionSet:
    """Return the tiles for the processor that Numba generates code for."""
    if vector_bytes() < BYTES_AVX:
        return INSTRUCTION_SETS["NEON" if is_arm() else "SSE"]
    return INSTRUCTION_SETS["AVX-512" if vector_bytes() == BYTES_AVX512 else "AVX2"]


def _add_outer_product(v: Emitter, acc: list[list[Any]], number: Callable[[int], Any], vector: Callable[[int], Any]) -> None:
    """acc[i][t] += number(i) * vector(t): the fewer of both are held in registers, while the others come one by one."""
    b, rows, columns = v.builder, range(len(acc)), range(len(acc[0]))
    if len(rows) < len(columns):
        numbers = [number(i) for i in rows]
        pairs = ((i, t, numbers[i], each) for t in columns for each in (vector(t),) for i in rows)
    else:
        vectors = [vector(t) for t in columns]
        pairs = ((i, t, each, vectors[t]) for i in rows for each in (number(i),) for t in columns)
    for i, t, x, w in pairs:
        b.store(v.multiply_add(x, w, b.load(acc[i][t])), acc[i][t])


# --- product ---------------------------------------------------------------------------------------------------------------


def product(shape: Shape, listed: bool, side: int = 1) -> Any:
    """out[m, :] = start[m, :] + sum over k of x[m, k] w[k, :] for MR rows m and `side` panels of w.

    f(w, (w0, w_panel), x, (x0, x_row, x_step), index, (index0, count), out, (start0, start_row, start_panel), (out0, out_row, out_panel)):
    w[w0 + panel w_panel + k NR + j]; x[x0 + m x_row + k x_step]; k runs over index[index0 : index0 + count] where `listed`, else over
    0 to count; out[start0 + panel start_panel + m start_row + j] is what each sum begins with, a bias where start_row is 0;
    out[out0 + panel out_panel + m out_row + j].
    """
    MR, NV = shape[0], shape[1] * side

    def emit(v: Emitter, w, w_at, x, x_at, index, index_at, out, start_at, out_at):
        (w0, w_panel), (x0, x_row, x_step), (index0, count) = w_at, x_at, index_at
        (start0, start_row, start_panel), (out0, out_row, out_panel) = start_at, out_at
        NR = shape[1] * v.lanes
        acc = v.variables(MR, NV)
        b = v.builder
        for m in range(MR):
            for t in range(NV):
                place = v.at(start0, (start_panel, t // shape[1]), (start_row, m), t % shape[1] * v.lanes)
                b.store(v.load(out, place), acc[m][t])
        with v.loop(count) as loop:
            k = b.zext(v.number(index, v.at(index0, loop.index)), loop.index.type) if listed else loop.index
            row = v.at(w0, (k, NR))
            column = v.at(x0, (x_step, k))
            _add_outer_product(
                v, acc,
                lambda m: v.broadcast(v.number(x, v.at(column, (x_row, m)))),
                lambda t: v.load(w, v.at(row, (w_panel, t // shape[1]), t % shape[1] * v.lanes)),
            )  # fmt: skip
        for m in range(MR):
            for t in range(NV):
                v.store(b.load(acc[m][t]), out, v.at(out0, (out_panel, t // shape[1]), (out_row, m), t % shape[1] * v.lanes))

    def twin(w, w_at, x, x_at, index, index_at, out, start_at, out_at):
        (w0, w_panel), (x0, x_row, x_step), (index0, count) = w_at, x_at, index_at
        (start0, start_row, start_panel), (out0, out_row, out_panel) = start_at, out_at
        NR = shape[1] * vector_bytes() // out.itemsize
        for m in range(MR):
            for j in range(NR * side):
                total = out[start0 + j // NR * start_panel + m * start_row + j % NR]
                for i in range(count):
                    k = int(index[index0 + i]) if listed else i
                    total += x[x0 + m * x_row + k * x_step] * w[w0 + j // NR * w_panel + k * NR + j % NR]
                out[out0 + j // NR * out_panel + m * out_row + j % NR] = total

    return emitted(twin, emit)


# --- dot -------------------------------------------------------------------------------------------------------------------


def dot(MR: int, NI: int) -> Any:
    """out[m, i] = sum over j of a[m, j] b[i, j] for MR rows of a and NI rows of b. Each lane adds up apart, the lanes at the end.

    f(a, (a0, a_row, a_panel), b, (b0, b_row, b_panel), panels, vectors, out, (out0, out_row)): j runs over `vectors` vectors in each
    of `panels` panels; a[a0 + m a_row + panel a_panel + j], b[b0 + i b_row + panel b_panel + j], out[out0 + m out_row + i].
    """

    def emit(v: Emitter, a, a_at, b, b_at, panels, vectors, out, out_at):
        (a0, a_row, a_panel), (b0, b_row, b_panel), (out0, out_row) = a_at, b_at, out_at
        acc = v.variables(MR, NI)
        for m in range(MR):
            for i in range(NI):
                v.builder.store(v.zero(), acc[m][i])
        with v.loop(panels) as panel:
            a_first, b_first = v.at(a0, (panel.index, a_panel)), v.at(b0, (panel.index, b_panel))
            with v.loop(vectors) as loop:
                j = v.builder.mul(loop.index, v.index(v.lanes))
                bs = [v.load(b, v.at(b_first, (b_row, i), j)) for i in range(NI)]
                for m in range(MR):
                    am = v.load(a, v.at(a_first, (a_row, m), j))
                    for i in range(NI):
                        v.builder.store(v.multiply_add(am, bs[i], v.builder.load(acc[m][i])), acc[m][i])
        sums, count = v.sums_of_lanes([v.builder.load(acc[m][i]) for m in range(MR) for i in range(NI)])
        for m in range(MR):
            i = 0
            while i < NI:  # a row's sums may end in another vector than they begin in
                register, lane = divmod(m * NI + i, count)
                together = min(NI - i, count - lane)
                v.store_part(sums[register], lane, together, out, v.at(out0, (out_row, m), i))
                i += together

    def twin(a, a_at, b, b_at, panels, vectors, out, out_at):
        (a0, a_row, a_panel), (b0, b_row, b_panel), (out0, out_row) = a_at, b_at, out_at
        lanes = vector_bytes() // out.itemsize
        for m in range(MR):
            for i in range(NI):
                sums = np.zeros(lanes, out.dtype)
                for panel in range(panels):
                    for j in range(vectors * lanes):
                        sums[j % lanes] += a[a0 + m * a_row + panel * a_panel + j] * b[b0 + i * b_row + panel * b_panel + j]
                while len(sums) > 1:
                    sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
                out[out0 + m * out_row + i] = sums[0]

    return emitted(twin, emit)


# --- update ----------------------------------------------------------------------------------------------------------------


def update(MK: int, width: int, masked: bool, side: int = 1) -> Any:
    """w[k, :] += sum over m of x[m, k] d[m, :] for MK inputs k and `side` panels of w, each `width` vectors wide.

    f(w, (w0, w_panel), x, (x0, x_row, x_step), d, (d0, d_row, d_panel), rows): w[w0 + panel w_panel + k NR + j],
    x[x0 + m x_row + k x_step], d[d0 + panel d_panel + m d_row + j]; rows: how many rows m there are, or, where `masked`, a 64-bit mask of
    the rows to visit, from x0 and d0 on.
    """
    NV = width * side

    def emit(v: Emitter, w, w_at, x, x_at, d, d_at, rows):
        (w0, w_panel), (x0, x_row, x_step), (d0, d_row, d_panel) = w_at, x_at, d_at
        b = v.builder
        NR = width * v.lanes
        acc = v.variables(MK, NV)
        places = [[v.at(w0, (w_panel, t // width), k * NR + t % width * v.lanes) for t in range(NV)] for k in range(MK)]
        for k in range(MK):
            for t in range(NV):
                b.store(v.load(w, places[k][t]), acc[k][t])

        def add_row(m: Any) -> None:
            row, first = v.at(x0, (x_row, m)), v.at(d0, (d_row, m))
            _add_outer_product(
                v, acc,
                lambda k: v.broadcast(v.number(x, v.at(row, (x_step, k)))),
                lambda t: v.load(d, v.at(first, (d_panel, t // width), t % width * v.lanes)),
            )  # fmt: skip

        if masked:
            v.loop_over_bits(rows, add_row)
        else:
            with v.loop(rows) as loop:
                add_row(loop.index)
        for k in range(MK):
            for t in range(NV):
                v.store(b.load(acc[k][t]), w, places[k][t])

    def twin(w, w_at, x, x_at, d, d_at, rows):
        (w0, w_panel), (x0, x_row, x_step), (d0, d_row, d_panel) = w_at, x_at, d_at
        NR = width * vector_bytes() // w.itemsize
        visited = [m for m in range(64) if int(rows) >> m & 1] if masked else range(rows)
        for k in range(MK):
            for j in range(NR * side):
                for m in visited:
                    w[w0 + j // NR * w_panel + k * NR + j % NR] += (
                        x[x0 + m * x_row + k * x_step] * d[d0 + j // NR * d_panel + m * d_row + j % NR]
                    )

    return emitted(twin, emit)


# --- one row ---------------------------------------------------------------------------------------------------------------


def row_product(times: bool) -> Any:
    """out[:] = start[:] + sum over k of x[k] w[k, :] for one row of vectors; where `times`, all of it is multiplied by slope[:].

    f(w, w0, x, x0, count, start0, slope0, out0): w[w0 + k lanes + j], x[x0 + k] for k < count, start, slope and out from w[start0],
    w[slope0] and w[out0] on.
    """

    def emit(v: Emitter, w, w0, x, x0, count, start0, slope0, out0):
        acc = v.variable(v.load(w, start0))
        with v.loop(count) as loop:
            xk = v.broadcast(v.number(x, v.at(x0, loop.index)))
            v.builder.store(v.multiply_add(xk, v.load(w, v.at(w0, (loop.index, v.lanes))), v.builder.load(acc)), acc)
        total = v.builder.load(acc)
        v.store(v.builder.fmul(total, v.load(w, slope0)) if times else total, w, out0)

    def twin(w, w0, x, x0, count, start0, slope0, out0):
        lanes = vector_bytes() // w.itemsize
        for j in range(lanes):
            total = w[start0 + j]
            for k in range(count):
                total += x[x0 + k] * w[w0 + k * lanes + j]
            w[out0 + j] = total * w[slope0 + j] if times else total

    return emitted(twin, emit)


def row_update(scaled: str) -> Any:
    """w[k, :] += factor x[k] d[:] for `count` inputs k and one row of vectors.

    f(w, w0, x, x0, count, d, d0, factor): w[w0 + k lanes + j], x[x0 + k], d[d0 + j]. `scaled` says which of both is multiplied with the
    factor first, "x" or "d": the sums of a matrix and of its transpose, of which one has x and d exchanged, are then the same numbers.
    """

    def emit(v: Emitter, w, w0, x, x0, count, d, d0, factor):
        row = v.load(d, d0)
        if scaled == "d":
            row = v.builder.fmul(v.broadcast(factor), row)
        with v.loop(count) as loop:
            number = v.number(x, v.at(x0, loop.index))
            if scaled == "x":
                number = v.builder.fmul(factor, number)
            place = v.at(w0, (loop.index, v.lanes))
            v.store(v.multiply_add(v.broadcast(number), row, v.load(w, place)), w, place)

    def twin(w, w0, x, x0, count, d, d0, factor):
        lanes = vector_bytes() // w.itemsize
        for k in range(count):
            for j in range(lanes):
                change = factor * x[x0 + k] * d[d0 + j] if scaled == "x" else x[x0 + k] * (factor * d[d0 + j])
                w[w0 + k * lanes + j] += change

    return emitted(twin, emit)


# --- transpose -------------------------------------------------------------------------------------------------------------


def transpose() -> Any:
    """out[n, k] = w[k, n] for a square of as many rows and columns as a vector has numbers.

    f(w, w0, w_row, out, out0, out_row): w[w0 + k w_row + n], out[out0 + n out_row + k].
    """

    def emit(v: Emitter, w, w0, w_row, out, out0, out_row):
        rows = [v.load(w, v.at(w0, (w_row, k))) for k in range(v.lanes)]
        distance = 1
        while distance < v.lanes:  # of each square of 2 x 2 squares of this size, the two off the diagonal change places
            for k in (k for k in range(v.lanes) if not k & distance):
                upper, lower = rows[k], rows[k + distance]
                left = [v.lanes + n - distance if n & distance else n for n in range(v.lanes)]
                right = [v.lanes + n if n & distance else n + distance for n in range(v.lanes)]
                rows[k], rows[k + distance] = v.shuffled(upper, lower, left), v.shuffled(upper, lower, right)
            distance *= 2
        for n in range(v.lanes):
            v.store(rows[n], out, v.at(out0, (out_row, n)))

    def twin(w, w0, w_row, out, out0, out_row):
        lanes = vector_bytes() // out.itemsize
        for k in range(lanes):
            for n in range(lanes):
                out[out0 + n * out_row + k] = w[w0 + k * w_row + n]

    return emitted(twin, emit)
