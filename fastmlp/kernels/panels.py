"""One layer's work for one share of its panels, made of tiles. Each function is a block: called by address, for every network.

All numbers of a training run lie in one array, the arena: batch, packed weights, activations, deltas. A block gets `step`, with the arena
and all that is the same for a whole step, the record of a layer, which says where its numbers lie, and that of the layer below it, whose
first one is the inputs; see engines/records.py. `share` of `shares` says which panels are its own:

    panels of share s      P s / shares  to  P (s + 1) / shares
    rows in the arena      row m of panel p at offset + m * row length + p * panel distance; vectors begin at multiples of their size
    packed weights         panel p at w + p * w_panel, in it w[k, j] at k NR + j
    output layer           packed the other way round: panel p of its inputs, in it w[j, c] at c NR + j

So a hidden layer is split by its units and the output layer by its inputs, which are the same units: a share computes the units, their
part of the outputs and, on the way back, their deltas and both updates, without asking another share.

What is read from a record is read before the loops that write to the arena: for all that the compiler knows, they might write to it.
"""

from typing import Any

import numpy as np

from fastmlp.compilation.calls import block_call
from fastmlp.compilation.decorators import kernel
from fastmlp.kernels.normalisation import DBETA, DGAMMA
from fastmlp.kernels.pointwise import (
    U,
    add_noise_to_row,
    apply,
    apply_before_padding,
    apply_slope,
    average_numbers,
    drop_of_row,
    gather_row,
    limit_units,
    squares_of_clipped,
    take_limited_step,
    take_step,
)
from fastmlp.kernels.random import row_key
from fastmlp.kernels.textbook import count_correct, rates_of
from fastmlp.kernels.textbook_step import call_loss
from fastmlp.kernels.updates import RATES
from fastmlp.kernels.vectors import CACHE_LINE, full_width, prefetch, short_loops
from fastmlp.kernels.zeros import (
    GROUP,
    GROUPS_PER_WORD,
    LISTED_BLOCK,
    PLANE_BITS,
    PLANE_MASK,
    PLANES,
    WORD,
    append_set_bits,
    fold_groups,
    nonzero_bits,
    transpose_bits,
)

PARTS = 3  # of the parameters of a layer: weights, biases, scales

BLOCK = 128  # inputs of one pass over all rows: their part of a panel, 40 KiB, stays in the first-level cache
# Rows whose loss is added up together: so few where there may be shares, so many where there is one. Neither depends on their number.
LOSS_ROWS, LOSS_ROWS_ALONE = 8, 64
MASKED_NUMBERS = 8192  # deltas that stay in the first-level cache, 32 KiB, while groups of inputs go by
GRADIENT_NUMBERS = 2048  # of a gradient that waits in the first-level cache for its step
LINE = CACHE_LINE  # numbers of x in a cache line: bound when gather_rows is specialised

# Bound when a block is specialised: a tile, its rows, its numbers per panel row, a formula.
TILE: Any = None
TILE_OF_FEWER: Any = None  # of one panel less than TILE
TILE_ALONE: Any = None  # of one panel
TRANSPOSE: Any = None
NORMALISE: Any = None
FORMULA: Any = None
HALF_NORMAL: Any = None
MR = NR = NI = LANES = STATES = 0
SIDE = 1
STEPPED = False  # whether an update is a step by the formula of an optimizer, from the gradient, not the gradient itself, scaled before
KEEPS = False  # whether what a block reads is kept, not overwritten

call_step_run = block_call(6)


@kernel(inner=True)
def own(count, share, shares):
    """Return the first of `count` things that a share owns, and the first of the next share."""
    return count * share // shares, count * (share + 1) // shares


# --- the batch: each thread brings it in for itself, as the one share of one -----------------------------------------------


@kernel(inner=True)
def gather_rows(x, rows, upcoming, scale, shift, arena, inputs):
    """batch[m, k] = x[rows[m] K + k] * scale[k] + shift[k]. The rows of the next batch, `upcoming`, are asked for meanwhile.

    Rows lie anywhere in memory: each would be waited for. A step later they are in the second-level cache. x (rows K,): row by row.
    """
    full_width()
    M, K = rows.shape[0], inputs.n_out
    for m in range(M):
        if m < upcoming.shape[0]:
            for k in range(0, K, LINE):
                prefetch(x, upcoming[m] * K + k)
        gather_row(x, U(rows[m] * K), K, scale, shift, arena, U(inputs.out + m * inputs.row))


@kernel(inner=True)
def add_noise_to_rows(step, inputs, below, share, shares):
    """x[m, k] += noise * z, z ~ N(0, 1) by the random bits of (noise_key, step, m, k). Formula: see textbook.add_noise."""
    full_width()
    arena, K, deviation = step.arena, inputs.n_out, step.arena.dtype.type(step.run.noise)
    for m in range(step.M):
        at = inputs.out + m * inputs.row
        x = arena[at : at + K]
        add_noise_to_row(HALF_NORMAL, x, x, deviation, step.run.noise_key, step.number, m)


@kernel(inner=True)
def list_live(step, inputs, below, share, shares):
    """For each tile of MR rows of one share: the inputs that are not zero in all of them, listed block by block of inputs.

    lists[run.lists + tile list_length + ...]: inputs, ascending; counts[run.counts + tile (blocks + 1) + b]: where block b begins;
    lists[run.folded + ((segment words + word) PLANES + plane) 64 + m % 64]: per row, which groups of inputs are not all zero.
    """
    arena, lists, masks, counts, run, M, K = step.arena, step.lists, step.masks, step.counts, step.run, step.M, inputs.n_out
    row_masks, folded, words = run.row_masks, run.folded, (K + WORD - 1) // WORD
    blocks = (K + LISTED_BLOCK - 1) // LISTED_BLOCK
    of_tile, last_tile = own((M + MR - 1) // MR, share, shares)
    for tile in range(of_tile, last_tile):
        place, begin = run.lists + tile * run.list_length, run.counts + tile * (blocks + 1)
        for word in range(words):
            live = np.uint64(0)
            for m in range(tile * MR, min(M, tile * MR + MR)):
                nonzero_bits(arena, inputs.out + m * inputs.row + word * WORD, masks, row_masks + m * words + word)
                bits = masks[row_masks + m * words + word]
                live |= bits
                groups = fold_groups(bits)
                for plane in range(PLANES):
                    at = folded + ((m // WORD * words + word) * PLANES + plane) * WORD + m % WORD
                    lists[at] = (groups >> np.uint64(plane * PLANE_BITS)) & PLANE_MASK
            if word * WORD % LISTED_BLOCK == 0:
                counts[begin + word * WORD // LISTED_BLOCK] = place
            place = append_set_bits(live, word * WORD, lists, place)
        counts[begin + blocks] = place


@kernel(inner=True)
def segments_of(extra, M):
    """Return in how many segments of 64 rows the rows of a batch lie, and the extra row where there is one."""
    return (max(M, extra + 1) + WORD - 1) // WORD


@kernel(inner=True)
def mask_groups(step, inputs, below, share, shares):
    """masks[group_masks + segment words GROUPS_PER_WORD + g] = rows of a segment of 64 in which group g of inputs is not all zero."""
    lists, masks, run = step.lists, step.masks, step.run
    words = (inputs.n_out + WORD - 1) // WORD
    first, last = own(words, share, shares)
    for segment in range(segments_of(run.extra, step.M)):
        left = step.M - segment * WORD
        present = np.uint64(0xFFFFFFFFFFFFFFFF)
        if left < WORD:
            present = (np.uint64(1) << np.uint64(max(left, 0))) - np.uint64(1)
        if run.extra // WORD == segment and run.extra > 0:
            present |= np.uint64(1) << np.uint64(run.extra % WORD)
        for word in range(first, last):
            for plane in range(PLANES):
                place = run.group_masks + (segment * words + word) * GROUPS_PER_WORD + plane * PLANE_BITS
                transpose_bits(lists, run.folded + ((segment * words + word) * PLANES + plane) * WORD, masks, place)
                for group in range(PLANE_BITS):
                    masks[place + group] &= present


# --- weights ahead: where a step needs more than the second-level caches hold ----------------------------------------------


@kernel(inlined=True, inner=True)
def ask_for(arena, first, count):
    """Ask for the cache lines of so many numbers from arena[first] on, without waiting: by the time they are needed, they are near."""
    for i in range(0, count, CACHE_LINE // arena.itemsize):
        prefetch(arena, first + i)


# --- forward: z = x @ w + bias, a = f(z) -----------------------------------------------------------------------------------


@kernel(inner=True)
def forward_dense(step, layer, below, share, shares):
    """sums = x @ w + start for the units of one share. Blocks of inputs outside, rows inside: a block of w is read M / MR times.

    Sums of some of the blocks lie in the scratch, in a part of each share's own: where the others are, two cores would work on neighbouring
    cache lines, and each would fetch the other's ahead.
    """
    arena, K = step.arena, layer.n_in
    x, x_row, out_row = below.out, below.row, layer.row
    scratch, ahead = step.run.scratch + share * step.run.scratch_share, layer.ahead
    first, last = own(layer.panels, share, shares)
    for p in range(first, last):
        w, bias, sums = layer.w + p * layer.w_panel, layer.start + p * NR, layer.sums + p * layer.column
        for k in range(0, K, BLOCK):
            count = min(BLOCK, K - k)
            is_last = k + count == K
            for m in range(0, step.M, MR):
                ask_for(arena, w + (k + BLOCK) * NR + m // MR * ahead, ahead)
                start = (bias, 0, 0) if k == 0 else (scratch + m * NR, NR, 0)
                out = (sums + m * out_row, out_row, 0) if is_last else (scratch + m * NR, NR, 0)
                TILE(arena, (w + k * NR, 0), arena, (x + m * x_row + k, x_row, 1), step.lists, (0, count), arena, start, out)


@kernel(inner=True)
def forward_listed(step, layer, below, share, shares):
    """sums = x @ w + start for the units of one share, visiting for each tile the inputs on its live list.

    SIDE panels at a time, or one less: a list is walked once for all of them, and few are left over. Where even so the last ones have been
    taken before, the same sums come out again.
    """
    arena, lists, counts = step.arena, step.lists, step.counts
    x, x_row, w_panel, of_batch = below.out, below.row, layer.w_panel, step.run.counts
    scratch = step.run.scratch + share * step.run.scratch_share
    blocks = (layer.n_in + LISTED_BLOCK - 1) // LISTED_BLOCK
    p, end = own(layer.panels, share, shares)
    walks = (end - p + SIDE - 1) // SIDE
    fewer = walks * SIDE - (end - p)  # so many walks take a panel less
    for walk in range(walks):
        takes_fewer = walk < fewer
        if takes_fewer:
            p = min(p, end - SIDE + 1)
        w, bias, sums = layer.w + p * w_panel, layer.start + p * NR, layer.sums + p * layer.column
        for block in range(blocks):
            for m in range(0, step.M, MR):
                place = of_batch + m // MR * (blocks + 1) + block
                begin = counts[place]
                count = counts[place + 1] - begin
                out = (scratch + m * NR * SIDE, NR * SIDE, NR)
                start = out if block > 0 else (bias, 0, NR)
                if block == blocks - 1:
                    out = (sums + m * layer.row, layer.row, layer.column)
                if takes_fewer:
                    TILE_OF_FEWER(arena, (w, w_panel), arena, (x + m * x_row, x_row, 1), lists, (begin, count), arena, start, out)
                else:
                    TILE(arena, (w, w_panel), arena, (x + m * x_row, x_row, 1), lists, (begin, count), arena, start, out)
        p += SIDE - 1 if takes_fewer else SIDE


@kernel(inner=True)
def bias_of_shift(step, layer, below, share, shares):
    """start = bias + shift @ w for the units of one share; the shift lies in the extra row of the batch.

    Where inputs are x + shift and x is sparse, zeros of x are skipped all the same: (x + shift) @ w + bias = x @ w + start.
    """
    shift = below.out + step.run.extra * below.row
    bias = step.run.no_bias if layer.gamma != 0 else layer.bias
    first, last = own(layer.panels, share, shares)
    for p in range(first, last):
        w, start, out = layer.w + p * layer.w_panel, bias + p * NR, layer.start + p * NR
        TILE(step.arena, (w, 0), step.arena, (shift, 0, 1), step.lists, (0, layer.n_in), step.arena, (start, 0, 0), (out, 0, 0))


@kernel(inner=True)
def runs_of(layer, M, p, end):
    """Return how the panels p to end of M rows lie in memory: how many runs, their length, where the first begins, from one to the next.

    Rows of all panels, `column` = `width` apart, or whole panels. Long runs become vectors; their length is not known to the compiler,
    which would unroll it.
    """
    width, column = layer.width, layer.column
    if column == width:
        return M, (end - p) * width, p * width, layer.row
    return end - p, M * width, p * column, column


@kernel(inner=True)
def runs_of_row(layer, p, end):
    """Return in how many runs of numbers the panels p to end of one row lie, and their length."""
    if layer.column == layer.width:
        return min(1, end - p), (end - p) * layer.width
    return end - p, layer.width


@kernel(inner=True)
def wipe_padding(arena, layer, first, M):
    """Set what lies behind the last unit in rows of the last panel to 0, in the rows from `first` on: those of a, or of delta."""
    last, width, row = layer.panels - 1, layer.width, layer.row
    behind = layer.n_out - last * width
    for m in range(M):
        at = first + m * row + last * layer.column
        for n in range(behind, width):
            arena[at + n] = 0


@kernel(inner=True)
def whole_panels(layer, end):
    """Return the end of those panels before `end` that have no padding."""
    return end - 1 if end == layer.panels and layer.n_out % layer.width != 0 else end


@kernel(inner=True)
def activate_rows(step, layer, below, share, shares):
    """a = f(z) for the units of one share; z is kept where KEEPS. Padding behind the last unit becomes 0, whatever f(0) is."""
    full_width()
    arena, of_a = step.arena, layer.a
    of_z = layer.z if KEEPS else of_a
    p, end = own(layer.panels, share, shares)
    whole = max(p, whole_panels(layer, end))
    runs, length, first, distance = runs_of(layer, step.M, p, whole)
    for run in range(runs):
        at = first + run * distance
        a = arena[of_a + at : of_a + at + length]
        z = arena[of_z + at : of_z + at + length] if KEEPS else a  # told apart when this is compiled: what may be the same makes no vectors
        apply(FORMULA, z, a)
    for p in range(whole, end):
        width, row, units = layer.width, layer.row, layer.n_out - p * layer.width
        for m in range(step.M):
            at = m * row + p * layer.column
            a = arena[of_a + at : of_a + at + width]
            z = arena[of_z + at : of_z + at + width] if KEEPS else a
            apply_before_padding(FORMULA, z, a, units)


@kernel(inner=True)
def drop_rows(step, layer, below, share, shares):
    """out = a, or, where not KEEPS, delta in its place, multiplied by factor or left out, by chance; for the units of one share.

    Padding behind the last unit stays 0. The way back needs a as it is. Of inputs, `delta` is the batch. Formula and source: textbook.drop.
    """
    full_width()
    arena, of_out, width = step.arena, layer.out if KEEPS else layer.delta, layer.width
    of_a = layer.a if KEEPS else of_out
    p, end = own(layer.panels, share, shares)
    runs, length = runs_of_row(layer, p, end)
    factor, threshold = arena.dtype.type(layer.factor), np.uint32(layer.threshold)
    for m in range(step.M):
        of_row = row_key(np.uint64(layer.key), step.number, m)
        for run in range(runs):
            at = m * layer.row + (p + run) * layer.column
            out = arena[of_out + at : of_out + at + length]
            a = arena[of_a + at : of_a + at + length] if KEEPS else out
            drop_of_row(a, out, (p + run) * width, factor, threshold, of_row)


@kernel(inner=True)
def outputs_from_panels(step, layer, below, share, shares):
    """sums[p, m, c] = sum over the units j of panel p of x[m, j] w[j, c], for the panels of one share; of the output layer.

    One sum per panel, to be added up in the order of the panels: the same bits for any number of shares.
    """
    arena, N, row, x_row, vectors = step.arena, layer.n_out, layer.row, below.row, layer.vectors
    first, last = own(layer.panels, share, shares)
    for p in range(first, last):
        x, w, sums = below.out + p * below.column, layer.w + p * layer.w_panel, layer.sums + p * layer.column
        for m in range(0, step.M, MR):
            for c in range(0, N, NI):
                TILE(arena, (x + m * x_row, x_row, 0), arena, (w + c * NR, NR, 0), 1, vectors, arena, (sums + m * row + c, row))


# --- loss, and delta = dl/dz of the outputs --------------------------------------------------------------------------------


@kernel(inner=True)
def add_panels(arena, bias, x, row, panel, panels, M, C):
    """arena[x + m row + c] = bias[c] + the sums of all panels, in their order; the first of them lies there, the others `panel` behind."""
    for m in range(M):
        for c in range(C):
            arena[x + m * row + c] = arena[bias + c] + arena[x + m * row + c]
    out = arena[x : x + M * row]
    for p in range(1, panels):  # padding included: whole vectors
        part = arena[x + p * panel : x + p * panel + M * row]
        for i in range(M * row):
            out[i] += part[i]


@kernel(inner=True)
def loss_of_rows(step, layer, target, sample_weight, rows, factor, loss_numbers, batch, share, shares):
    """Add up the outputs of own rows, take their loss and their delta; batch.sums[:, chunk] = loss, correct rows.

    The rest of `batch` is scratch; the delta goes on to the arena, in rows padded with zeros.
    """
    short_loops()
    batch_target, batch_weight, z, delta = batch.target, batch.weight, batch.z, batch.delta
    arena, M, C, chunk_rows = step.arena, rows.shape[0], z.shape[1], step.run.loss_rows
    x, row, out, loss, output = layer.sums, layer.row, layer.delta, step.run.loss, step.run.output
    first_chunk, last_chunk = own((M + chunk_rows - 1) // chunk_rows, share, shares)
    for chunk in range(first_chunk, last_chunk):
        first, last = chunk * chunk_rows, min(M, (chunk + 1) * chunk_rows)
        add_panels(arena, layer.bias, x + first * row, row, layer.column, layer.panels, last - first, C)
        for m in range(first, last):
            for c in range(C):
                z[m, c] = arena[x + m * row + c]
            for t in range(target.shape[1]):
                batch_target[m, t] = target[rows[m], t]
            if batch_weight.shape[0] > 0:
                batch_weight[m] = sample_weight[rows[m]]
        weights = batch_weight[first:last] if batch_weight.shape[0] > 0 else batch_weight
        loss_of_chunk = call_loss(loss, z[first:last], batch_target[first:last], weights, factor, loss_numbers, delta[first:last])
        batch.sums[0, chunk] = loss_of_chunk
        batch.sums[1, chunk] = count_correct(z[first:last], batch_target[first:last], weights, output)
        for m in range(first, last):
            for c in range(C):
                arena[out + m * row + c] = delta[m, c]


# --- backward: dx = delta @ w.T, delta of the layer below = dx * f'(z) -----------------------------------------------------


@kernel(inner=True)
def delta_from_outputs(step, layer, below, share, shares):
    """dx[m, j] = sum over c of delta[m, c] w[j, c] for the units j of one share; w is packed by inputs."""
    arena, N, delta, row, out_row, nothing = step.arena, layer.n_out, layer.delta, layer.row, below.row, step.run.no_bias
    first, last = own(below.panels, share, shares)
    for p in range(first, last):
        w, out = layer.w + p * layer.w_panel, below.delta + p * below.column
        for m in range(0, step.M, MR):
            x, start, to = (delta + m * row, row, 1), (nothing, 0, 0), (out + m * out_row, out_row, 0)
            TILE(arena, (w, 0), arena, x, step.lists, (0, N), arena, start, to)


@kernel(inner=True)
def delta_from_layer(step, layer, below, share, shares):
    """dx[m, k] = sum over n of delta[m, n] w[k, n] for the inputs k of one share: units of the layer below. All panels of w are read."""
    arena, delta, row, column, out, out_row = step.arena, layer.delta, layer.row, layer.column, below.delta, below.row
    w, width, w_panel, w_panels, vectors = layer.w, layer.width, layer.w_panel, layer.panels, layer.vectors
    together = layer.read_together
    p, end = own(below.panels, share, shares)
    first, last = p * below.width, min(layer.n_in, end * below.width)
    for block in range(first, last, together):  # these rows of w stay in the second-level cache while all of delta goes by
        for m in range(0, step.M, MR):
            for k in range(block, min(block + together, last), NI):
                a, b, to = (delta + m * row, row, column), (w + k * width, width, w_panel), (out + m * out_row + k, out_row)
                TILE(arena, a, arena, b, w_panels, vectors, arena, to)


@kernel(inner=True)
def delta_from_transposed(step, layer, below, share, shares):
    """The same by tiles of `product`, from a transposed copy of each panel of w.

    A tile of `dot` adds up the lanes of its sums at the end. Where it has few vectors to go through, or so many that they come from far
    away, the copy is cheaper: it is made once for all rows of the batch, and lies in the first-level cache.
    """
    arena, N, width, row, out_row = step.arena, layer.n_out, layer.width, layer.row, below.row
    copy = step.run.scratch + share * step.run.scratch_share
    sums, ahead = copy + NR * width, layer.ahead
    first, last = own(below.panels, share, shares)
    for p in range(first, last):
        dx = below.delta + p * below.column
        for q in range(layer.panels):
            w, delta = layer.w + q * layer.w_panel + p * NR * width, layer.delta + q * layer.column
            for k in range(0, NR, LANES):
                for n in range(0, width, LANES):
                    TRANSPOSE(arena, w + k * width + n, width, arena, copy + n * NR + k, NR)
            is_last = q + 1 == layer.panels
            count = min(width, N - q * width)
            upcoming = layer.w + (p + 1) * NR * width if is_last else w + layer.w_panel
            for m in range(0, step.M, MR):
                ask_for(arena, upcoming + m // MR * ahead, ahead)
                start = (step.run.no_bias, 0, 0) if q == 0 else (sums + m * NR, NR, 0)
                out = (dx + m * out_row, out_row, 0) if is_last else (sums + m * NR, NR, 0)
                TILE(arena, (copy, 0), arena, (delta + m * row, row, 1), step.lists, (0, count), arena, start, out)
    if last == below.panels:  # the copy holds what lies in w behind its last row
        wipe_padding(arena, below, below.delta, step.M)


@kernel(inner=True)
def activate_rows_backward(step, layer, below, share, shares):
    """delta *= f'(z, a) for the units of one share; where f' reads only a, z is a."""
    full_width()
    arena, of_z, of_a, of_delta = step.arena, layer.z, layer.a, layer.delta
    p, end = own(layer.panels, share, shares)
    runs, length, first, distance = runs_of(layer, step.M, p, end)
    for run in range(runs):
        at = first + run * distance
        z, a = arena[of_z + at : of_z + at + length], arena[of_a + at : of_a + at + length]
        delta = arena[of_delta + at : of_delta + at + length]
        apply_slope(FORMULA, delta, z, a)


# --- update: w -= learning_rate * x.T @ delta ------------------------------------------------------------------------------
#
# w[k, j] += sum over m of x[m, k] d[m, j]: records say where x and d lie, as the output layer, which is packed by its inputs, has its own
# delta in the place of x and its inputs in that of d. Either delta is scaled by -learning_rate before, or, where STEPPED, the gradient of
# some rows of w is found in a place of its own, and they take their step by `step_run` of the optimizer: one block for all tiles.


@kernel(inner=True)
def sum_deltas(step, layer, below, share, shares):
    """delta[extra] = sum over m of delta[m] for the units of one share: that of the extra row, as each row has the shift in its inputs.

    (x + shift).T @ delta = x.T @ delta + shift.T @ delta[extra].
    """
    full_width()
    arena, width, row = step.arena, layer.width, layer.row
    first, last = own(layer.panels, share, shares)
    for p in range(first, last):
        of_panel = layer.delta + p * layer.column
        at = of_panel + step.run.extra * row
        total = arena[at : at + width]
        for n in range(width):
            total[n] = 0
        for m in range(step.M):
            delta = arena[of_panel + m * row : of_panel + m * row + width]
            for n in range(width):
                total[n] += delta[n]


@kernel(inner=True)
def step_run(arena, gradient, count, place, to_m, rates):
    """Update `count` weights from arena[place] on, whose gradients lie from arena[gradient] on: m lies `to_m` behind, v twice as far."""
    full_width()
    w, g, m = arena[place : place + count], arena[gradient : gradient + count], arena[place + to_m : place + to_m + count]
    v = arena[place + 2 * to_m : place + 2 * to_m + count] if STATES == 2 else m
    take_step(FORMULA, STATES, w, g, m, v, rates_of(rates))


@kernel(inner=True)
def clear(arena, first, count):
    """Set `count` numbers from arena[first] on to 0; return `first`."""
    numbers = arena[first : first + count]
    for i in range(numbers.shape[0]):
        numbers[i] = 0
    return first


@kernel(inner=True)
def update_dense(step, layer, below, share, shares):
    """w[k, j] += sum over m of x[m, k] d[m, j] for the panels of one share; or, STEPPED, the step by that as gradient.

    Of some rows of w at a time: their gradient never leaves the cache. All panels of a share take those rows first whose inputs stay in the
    second-level cache meanwhile (Goto and van de Geijn 2008).
    """
    arena, rows, x, x_row, d_row, to_m = step.arena, layer.rows, layer.x, layer.x_row, layer.d_row, step.run.to_m
    gradient, rule = step.run.gradient + share * step.run.gradient_row, step.run.step_run
    at_a_time = max(MR, GRADIENT_NUMBERS // NR // MR * MR) if STEPPED else MR
    together, ahead = max(1, layer.updated_together // at_a_time) * at_a_time, 0 if STEPPED or layer.ahead == 0 else MR * NR
    first, last = own(layer.panels, share, shares)
    for block in range(0, rows, together):
        for p in range(first, last):
            w, d = layer.w + p * layer.w_panel, layer.d + p * layer.d_column
            for k in range(block, min(block + together, rows), at_a_time):
                tiles = (min(at_a_time, rows - k) + MR - 1) // MR
                sums = clear(arena, gradient, tiles * MR * NR) if STEPPED else w + k * NR
                for tile in range(tiles):
                    ask_for(arena, w + (k + at_a_time) * NR + tile * MR * NR, ahead)
                    TILE(arena, (sums + tile * MR * NR, 0), arena, (x + k + tile * MR, x_row, 1), arena, (d, d_row, 0), step.M)
                if STEPPED:
                    call_step_run(rule, arena, gradient, tiles * MR * NR, w + k * NR, to_m, step.rates)


@kernel(inner=True)
def update_masked(step, layer, below, share, shares):
    """The same, visiting for each group of inputs the rows in which it is not all zero; SIDE panels at a time.

    Panels inside groups: how many rows a group has cannot be foreseen, but is the same for its next panels. So many panels at a time that
    their deltas stay in the first-level cache.
    """
    arena, masks, K, w_panel, x_row, d_row, d_column = (
        step.arena, step.masks, layer.n_in, layer.w_panel, layer.x_row, layer.d_row, layer.d_column
    )  # fmt: skip
    words = (K + WORD - 1) // WORD
    first, last = own(layer.panels, share, shares)
    together = max(1, MASKED_NUMBERS // (min(step.M, WORD) * NR * SIDE)) * SIDE
    for begin in range(first, last, together):
        end = min(last, begin + together)
        for segment in range(segments_of(step.run.extra, step.M)):
            m, of_segment = segment * WORD, step.run.group_masks + segment * words * GROUPS_PER_WORD
            for k in range(0, K, GROUP):
                rows = masks[of_segment + k // GROUP]
                if rows != np.uint64(0):
                    x, p = layer.x + m * x_row + k, begin
                    while p < end:
                        w, d = layer.w + p * w_panel + k * NR, layer.d + m * d_row + p * d_column
                        if p + SIDE > end:
                            TILE_ALONE(arena, (w, w_panel), arena, (x, x_row, 1), arena, (d, d_row, d_column), rows)
                            p += 1
                        else:
                            TILE(arena, (w, w_panel), arena, (x, x_row, 1), arena, (d, d_row, d_column), rows)
                            p += SIDE


@kernel(inner=True)
def update_bias(step, layer, below, share, shares):
    """bias[j] += sum over m of delta[m, j] for the units of one share, or the step by that: weights of an input that is 1 in all rows."""
    arena, to_m, one = step.arena, step.run.to_m, step.run.one
    rates = step.rates[step.rates.shape[0] - RATES :]  # those of biases, where they have their own
    gradient, rule = step.run.gradient + share * step.run.gradient_row, step.run.step_run
    first, last = own(layer.panels, share, shares)
    for p in range(first, last):
        bias, delta = layer.bias + p * NR, layer.delta + p * layer.column
        sums = clear(arena, gradient, NR) if STEPPED else bias
        TILE(arena, (sums, 0), arena, (one, 0, 1), arena, (delta, layer.row, 0), step.M)
        if STEPPED:
            call_step_run(rule, arena, gradient, NR, bias, to_m, rates)


@kernel(inner=True)
def update_bias_of_outputs(step, layer, below, share, shares):
    """The same for the outputs of one share, whose deltas lie row by row, at no multiple of a vector."""
    arena, N, bias, delta, row, to_m = step.arena, layer.n_out, layer.bias, layer.delta, layer.row, step.run.to_m
    rates = step.rates[step.rates.shape[0] - RATES :]
    gradient, rule = step.run.gradient + share * step.run.gradient_row, step.run.step_run
    first, last = own((N + NR - 1) // NR, share, shares)
    for p in range(first, last):
        count, begin = min(NR, N - p * NR), bias + p * NR
        sums = clear(arena, gradient, count) if STEPPED else begin
        for n in range(count):
            total = arena[sums + n]
            for m in range(step.M):
                total += arena[delta + m * row + p * NR + n]
            arena[sums + n] = total
        if STEPPED:
            call_step_run(rule, arena, gradient, count, begin, to_m, rates)


@kernel(inner=True)
def update_masked_stepped(step, layer, below, share, shares):
    """The same, visiting for each group of inputs the rows in which it is not all zero. Every weight takes its step."""
    arena, masks, K, x_row, d_row, to_m = step.arena, step.masks, layer.n_in, layer.x_row, layer.d_row, step.run.to_m
    words = (K + WORD - 1) // WORD
    gradient, rule = step.run.gradient + share * step.run.gradient_row, step.run.step_run
    first, last = own(layer.panels, share, shares)
    for p in range(first, last):
        w, d = layer.w + p * layer.w_panel, layer.d + p * layer.d_column
        for k in range(0, K, MR):
            clear(arena, gradient, MR * NR)
            for segment in range(segments_of(step.run.extra, step.M)):
                m = segment * WORD
                for i in range(0, MR, GROUP):
                    rows = masks[step.run.group_masks + segment * words * GROUPS_PER_WORD + (k + i) // GROUP]
                    x = layer.x + m * x_row + k + i
                    TILE(arena, (gradient + i * NR, 0), arena, (x, x_row, 1), arena, (d + m * d_row, d_row, 0), rows)
            call_step_run(rule, arena, gradient, MR * NR, w + k * NR, to_m, step.rates)


@kernel(inner=True)
def update_units(step, layer, below, share, shares):
    """gamma += dgamma, bias += dbeta for the units of one share, whose sums are normalised, or the steps by these."""
    arena, width, N, to_m, rule = step.arena, layer.width, layer.n_out, step.run.to_m, step.run.step_run
    rates = step.rates[step.rates.shape[0] - RATES :]
    first, last = own(layer.panels, share, shares)
    for vector in range(DGAMMA, DBETA + 1):
        place = layer.gamma if vector == DGAMMA else layer.bias
        gradient = layer.moments + vector * layer.panels * width
        if STEPPED:
            for n in range(first * width, last * width, width):
                call_step_run(rule, arena, gradient + n, min(width, N - n), place + n, to_m, rates)
        else:
            for n in range(first * width, min(N, last * width)):
                arena[place + n] += arena[gradient + n]


@kernel(inner=True)
def limit_weights(step, layer, below, share, shares):
    """w[:, n] *= longest / |w[:, n]| where a column is longer than that, for the units n of one share. Source: textbook.limit_columns."""
    full_width()
    arena, K, width = step.arena, layer.n_in, layer.width
    longest = arena.dtype.type(step.run.longest)
    scratch = step.run.scratch + share * step.run.scratch_share
    factors = arena[scratch : scratch + width]
    first, last = own(layer.panels, share, shares)
    for p in range(first, last):
        w = layer.w + p * layer.w_panel
        limit_units(arena[w : w + K * width].reshape((K, width)), longest, factors)


# --- what needs the gradients of all layers, or their steps: on all parameters of a layer, padding included ----------------


@kernel(inner=True)
def part_of(layer, part, share, shares):
    """Return where own panels of weights (part 0), biases (1) or scales (2) begin, their length, their number, where their lengths go."""
    biases = (layer.n_out + layer.width - 1) // layer.width
    at, length, panels, lengths = layer.w, layer.w_panel, layer.panels, layer.lengths
    if part == 1:
        at, length, panels, lengths = layer.bias, layer.width, biases, lengths + layer.panels
    elif part == 2:
        at, length, panels, lengths = layer.gamma, layer.width, layer.panels if layer.gamma != 0 else 0, lengths + layer.panels + biases
    first, last = own(panels, share, shares)
    return at + first * length, length, last - first, lengths + first


@kernel(reassociate=True, inner=True)
def gradient_lengths(step, layer, below, share, shares):
    """lengths[p] = length of the gradient of panel p, each number clipped, for the panels of one share; nothing where none is limited.

    The gradient of w lies `to_gradient` behind it. A length per panel, to be added up in the order of the panels: the same bits for any
    number of shares. Lengths and not their squares, which float32 could not hold.
    """
    full_width()
    arena, to_gradient = step.arena, step.run.to_gradient
    r = rates_of(step.rates)
    if r.clip_norm < np.inf:
        for part in range(PARTS):
            begin, length, panels, lengths = part_of(layer, part, share, shares)
            for p in range(panels):
                at = begin + to_gradient + p * length
                g = arena[at : at + length]
                arena[lengths + p] = np.sqrt(squares_of_clipped(g, r))


@kernel(inner=True)
def step_limited(step, layer, below, share, shares):
    """Step of a layer for the panels of one share, from a stored gradient: clipped, pulled by l1; see textbook.limited_update."""
    full_width()
    arena, to_gradient, to_state = step.arena, step.run.to_gradient, step.run.to_state
    r = rates_of(step.rates)
    factor = arena.dtype.type(1)
    if r.clip_norm < np.inf:
        squares, lengths = 0.0, step.run.lengths
        for i in range(step.run.n_lengths):
            length = np.float64(arena[lengths + i])
            squares += length * length
        length = np.sqrt(squares)
        if length > r.clip_norm:
            factor = arena.dtype.type(r.clip_norm / length)
    for part in range(PARTS):
        at, length, panels, _ = part_of(layer, part, share, shares)
        count = panels * length
        w, g = arena[at : at + count], arena[at + to_gradient : at + to_gradient + count]
        m = arena[at + to_state : at + to_state + count] if STATES > 0 else g
        v = arena[at + 2 * to_state : at + 2 * to_state + count] if STATES > 1 else m
        take_limited_step(FORMULA, STATES, w, g, m, v, r, factor)


@kernel(inner=True)
def average_panels(step, layer, below, share, shares):
    """average = average_decay average + (1 - average_decay) w for the panels of one share of a layer."""
    full_width()
    arena, to_average = step.arena, step.run.to_average
    r = rates_of(step.rates)
    for part in range(PARTS):
        at, length, panels, _ = part_of(layer, part, share, shares)
        count = panels * length
        average_numbers(arena[at + to_average : at + to_average + count], arena[at : at + count], r)


# --- sums of a layer, normalised ------------------------------------------------------------------------------------------


@kernel(inner=True, counted=True)
def normalise_share(step, layer, below, share, shares):
    """Do what a block of normalised.py does for one share: it returns no view, but makes some."""
    full_width()
    NORMALISE(step.arena, layer, step.M, step.arena, share, shares)
