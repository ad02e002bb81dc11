"""One layer's work for one share of its panels, made of tiles. Each function is a block: called by address, for every network.

All numbers of a training run lie in one array, the arena: batch, packed weights, activations, deltas. A block gets it with one row of
the table of operations, `op`, whose columns say where its operands lie; `share` of `shares` says which panels are its own:

    panels of share s      P s / shares  to  P (s + 1) / shares
    rows in the arena      row m of panel p at offset + m * row length + p * panel distance; vectors begin at multiples of their size
    packed weights         panel p at offset + p * panel length, in it w[k, j] at k NR + j
    output layer           packed the other way round: panel p of its inputs, in it w[j, c] at c NR + j

So a hidden layer is split by its units and the output layer by its inputs, which are the same units: a share computes the units, their
part of the outputs and, on the way back, their deltas and both updates, without asking another share.
"""

import math
from typing import Any

import numpy as np

from fastmlp.kernels.compiling import kernel
from fastmlp.kernels.normalisation import (
    batch_norm_backward_row,
    fixed_norm_backward_row,
    inverse_deviations,
    layer_norm_backward_row,
    layer_norm_row,
    moments_of_units,
    normalise_row,
    scale_backward_of_units,
    track_moments,
)
from fastmlp.kernels.random import from_end, from_median, hash_32, high_half, low_half, number_of, row_key, signed_32
from fastmlp.kernels.scalar import averaged, clipped, count_correct, penalised, rates_of, rates_of_biases
from fastmlp.kernels.step import call_loss
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

# Columns of an operation. K inputs, N units, PANELS of the units whose owner does the work. X, D, W, BIAS, OUT: offsets into the arena;
# *_ROW: lengths of their rows; *_PANEL: from a row's part in one panel to its part in the next. W_PANEL, W_PANELS: length and number of
# the panels of w; W_ROW, W_VECTORS: numbers and vectors in a row of one; WIDTH: numbers in a row of the panels counted by PANELS; SUMS,
# SUMS_SHARE: scratch for unfinished sums, and how much of it a share has; LISTS, FOLDED, MASKS, COUNTS: offsets into the arrays of
# zeros.py; LIST: length of a live list; EXTRA: the row behind all batches that holds the shift of the inputs, 0 where there is none;
# STATE: from a weight to its m, twice that to its v (BIAS of an update is not 0 where w are biases); KEY, THRESHOLD, NUMBER:
# regularisation.Draw; GAMMA: scales of normalised sums; MOMENTS: what belongs to each unit of them, vectors one MOMENTS_ROW after another;
# RUNNING: running means, and variances one MOMENTS_ROW behind. STEP is written while a run goes on: the number of the step in the whole
# training. It lies in the middle of a row, where no other thread has anything in the same cache line.
(KIND, ADDRESS, K, N, PANELS, WIDTH, X, X_ROW, X_PANEL, D, D_ROW, D_PANEL, W, W_ROW, W_PANEL, W_PANELS, STEP, W_VECTORS, BIAS, OUT,
 OUT_ROW, OUT_PANEL, SUMS, SUMS_SHARE, LISTS, LIST, FOLDED, MASKS, EXTRA, COUNTS, STATE, KEY, THRESHOLD, NUMBER,
 GAMMA, MOMENTS, MOMENTS_ROW, RUNNING) = range(38)  # fmt: skip
COLUMNS = 38
CHUNK = K  # of a loss and its check: rows whose loss is added up together
# Vectors at MOMENTS. Of sums normalised over the units of a layer, INVERSE is that of each row, and lies where RUNNING says.
MEAN, VARIANCE, INVERSE, DGAMMA, DBETA = range(5)
MOMENT_VECTORS = 5
# Kinds of operations.
BARRIER, PANEL, LOSS, CHECK = range(4)

BLOCK = 128  # inputs of one pass over all rows: their part of a panel, 40 KiB, stays in the first-level cache
BLOCK_OF_ROWS = 160  # rows of w that meet all rows of a batch at a time: a multiple of the rows of every dot tile
# Rows whose loss is added up together: so few where there may be shares, so many where there is one. Neither depends on their number.
LOSS_ROWS, LOSS_ROWS_ALONE = 8, 64
GRADIENT_NUMBERS = 2048  # of a gradient that waits in the first-level cache for its step

# Bound when a block is specialised: a tile, its rows, its numbers per panel row, a formula.
TILE: Any = None
TILE_ALONE: Any = None
TRANSPOSE: Any = None
FORMULA: Any = None
HALF_NORMAL: Any = None
MR = NR = NI = LANES = STATES = 0
SIDE = 1


@kernel
def own(count, share, shares):
    """Return the first of `count` things that a share owns; the end is the first of the next share."""
    return count * share // shares


@kernel
def gather_rows(x, rows, upcoming, scale, shift, arena, op):
    """batch[m, k] = x[rows[m], k] * scale[k] + shift[k]. The rows of the next batch, `upcoming`, are asked for meanwhile.

    Rows lie anywhere in memory: each would be waited for. A step later they are in the second-level cache.
    """
    full_width()
    M, K_ = rows.shape[0], x.shape[1]
    for m in range(M):
        if m < upcoming.shape[0]:
            for k in range(0, K_, CACHE_LINE // x.itemsize):
                prefetch(x, upcoming[m], k)
        batch = arena[op[OUT] + m * op[OUT_ROW] : op[OUT] + m * op[OUT_ROW] + K_]
        row = x[rows[m]]
        for k in range(K_):
            batch[k] = scale.dtype.type(row[k]) * scale[k] + shift[k]


@kernel
def list_live(arena, lists, masks, counts, rates, op, M, share, shares):
    """For each tile of MR rows of one share: the inputs that are not zero in all of them, listed block by block of inputs.

    lists[LISTS + tile LIST + ...]: inputs, ascending; counts[COUNTS + tile (blocks + 1) + b]: where block b begins;
    lists[FOLDED + ((segment words + word) PLANES + plane) 64 + m % 64]: per row, which groups of inputs are not all zero.
    """
    words = (op[K] + WORD - 1) // WORD
    blocks = (op[K] + LISTED_BLOCK - 1) // LISTED_BLOCK
    tiles = (M + MR - 1) // MR
    for tile in range(own(tiles, share, shares), own(tiles, share + 1, shares)):
        first, last = tile * MR, min(M, tile * MR + MR)
        for m in range(first, last):
            folded = op[FOLDED] + m // WORD * words * PLANES * WORD + m % WORD
            for word in range(words):
                nonzero_bits(arena, op[X] + m * op[X_ROW] + word * WORD, masks, op[MASKS] + m * words + word)
                groups = fold_groups(masks[op[MASKS] + m * words + word])
                for plane in range(PLANES):
                    lists[folded + (word * PLANES + plane) * WORD] = (groups >> np.uint64(plane * PLANE_BITS)) & PLANE_MASK
        place = op[LISTS] + tile * op[LIST]
        for word in range(words):
            if word * WORD % LISTED_BLOCK == 0:
                counts[op[COUNTS] + tile * (blocks + 1) + word * WORD // LISTED_BLOCK] = place
            union = np.uint64(0)
            for m in range(first, last):
                union |= masks[op[MASKS] + m * words + word]
            place = append_set_bits(union, word * WORD, lists, place)
        counts[op[COUNTS] + tile * (blocks + 1) + blocks] = place


@kernel
def segments_of(op, M):
    """Return in how many segments of 64 rows the rows of a batch lie, and the extra row where there is one."""
    return (max(M, op[EXTRA] + 1) + WORD - 1) // WORD


@kernel
def mask_groups(arena, lists, masks, counts, rates, op, M, share, shares):
    """masks[MASKS + segment words GROUPS_PER_WORD + g] = rows of a segment of 64 in which group g of inputs is not all zero; own words."""
    words = (op[K] + WORD - 1) // WORD
    for segment in range(segments_of(op, M)):
        left = M - segment * WORD
        present = np.uint64(0xFFFFFFFFFFFFFFFF)
        if left < WORD:
            present = (np.uint64(1) << np.uint64(max(left, 0))) - np.uint64(1)
        if op[EXTRA] // WORD == segment and op[EXTRA] > 0:
            present |= np.uint64(1) << np.uint64(op[EXTRA] % WORD)
        for word in range(own(words, share, shares), own(words, share + 1, shares)):
            for plane in range(PLANES):
                place = op[MASKS] + (segment * words + word) * GROUPS_PER_WORD + plane * PLANE_BITS
                transpose_bits(lists, op[FOLDED] + ((segment * words + word) * PLANES + plane) * WORD, masks, place)
                for group in range(PLANE_BITS):
                    masks[place + group] &= present


@kernel
def forward_dense(arena, lists, masks, counts, rates, op, M, share, shares):
    """out = x @ w + bias for the units of one share. Blocks of inputs outside, rows inside: a block of w is read M / MR times.

    Sums of some of the blocks lie at SUMS, in a part of each share's own: where out is, two cores would work on neighbouring cache
    lines, and each would fetch the other's ahead.
    """
    sums = op[SUMS] + share * op[SUMS_SHARE]
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for k in range(0, op[K], BLOCK):
            count = min(BLOCK, op[K] - k)
            for m in range(0, M, MR):
                start, start_row = (op[BIAS] + p * NR, 0) if k == 0 else (sums + m * NR, NR)
                is_last = k + count == op[K]
                out, out_row = (op[OUT] + m * op[OUT_ROW] + p * op[OUT_PANEL], op[OUT_ROW]) if is_last else (sums + m * NR, NR)
                TILE(
                    arena, op[W] + p * op[W_PANEL] + k * NR, 0, arena, op[X] + m * op[X_ROW] + k, op[X_ROW], 1, lists, 0, count,
                    start, start_row, 0, arena, out, out_row, 0,
                )  # fmt: skip


@kernel
def forward_listed(arena, lists, masks, counts, rates, op, M, share, shares):
    """out = x @ w + bias for the units of one share, visiting for each tile the inputs on its live list.

    SIDE panels at a time: a list is walked once for all of them. The last of them may have been taken before: the same sums come out again.
    """
    sums = op[SUMS] + share * op[SUMS_SHARE]
    blocks = (op[K] + LISTED_BLOCK - 1) // LISTED_BLOCK
    p, end = own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)
    is_alone = end - p < SIDE
    while p < end:
        if not is_alone:
            p = min(p, end - SIDE)
        for block in range(blocks):
            for m in range(0, M, MR):
                place = op[COUNTS] + m // MR * (blocks + 1) + block
                begin = counts[place]
                count = counts[place + 1] - begin
                w, x = op[W] + p * op[W_PANEL], op[X] + m * op[X_ROW]
                start, start_row, out, out_row, out_panel = op[BIAS] + p * NR, 0, sums + m * NR * SIDE, NR * SIDE, NR
                if block > 0:
                    start, start_row = out, out_row
                if block == blocks - 1:
                    out, out_row, out_panel = op[OUT] + m * op[OUT_ROW] + p * op[OUT_PANEL], op[OUT_ROW], op[OUT_PANEL]
                if is_alone:
                    TILE_ALONE(
                        arena, w, op[W_PANEL], arena, x, op[X_ROW], 1, lists, begin, count, start, start_row, NR,
                        arena, out, out_row, out_panel,
                    )  # fmt: skip
                else:
                    TILE(
                        arena, w, op[W_PANEL], arena, x, op[X_ROW], 1, lists, begin, count, start, start_row, NR,
                        arena, out, out_row, out_panel,
                    )  # fmt: skip
        p += 1 if is_alone else SIDE


@kernel
def bias_of_shift(arena, lists, masks, counts, rates, op, M, share, shares):
    """out = bias + shift @ w for the units of one share; the shift lies in the extra row of the batch, X.

    Where inputs are x + shift and x is sparse, zeros of x are skipped all the same: (x + shift) @ w + bias = x @ w + out.
    """
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        TILE(
            arena, op[W] + p * op[W_PANEL], 0, arena, op[X], 0, 1, lists, 0, op[K], op[BIAS] + p * NR, 0, 0, arena, op[OUT] + p * NR, 0, 0
        )  # fmt: skip


@kernel
def sum_deltas(arena, lists, masks, counts, rates, op, M, share, shares):
    """d[EXTRA] = sum over m of d[m] for the units of one share: the delta of the extra row, as each row has the shift in its inputs.

    (x + shift).T @ d = x.T @ d + shift.T @ d[EXTRA].
    """
    full_width()
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        first = op[D] + op[EXTRA] * op[D_ROW] + p * op[D_PANEL]
        total = arena[first : first + op[WIDTH]]
        for n in range(op[WIDTH]):
            total[n] = 0
        for m in range(M):
            at = op[D] + m * op[D_ROW] + p * op[D_PANEL]
            d = arena[at : at + op[WIDTH]]
            for n in range(op[WIDTH]):
                total[n] += d[n]


@kernel
def runs_of(width, row, panel, M, p, end):
    """Return how the panels p to end of M rows lie in memory: how many runs, their length, where the first begins, from one to the next.

    Rows of all panels, `panel` = `width` apart, or whole panels. Long runs become vectors; their length is not known to the compiler, which
    would unroll it.
    """
    if panel == width:
        return M, (end - p) * width, p * width, row
    return end - p, M * width, p * panel, panel


@kernel
def wipe_padding(arena, op, M, width):
    """Set what lies behind the last unit in rows of the last panel to 0."""
    last = op[PANELS] - 1
    for m in range(M):
        at = op[OUT] + m * op[OUT_ROW] + last * op[OUT_PANEL]
        for n in range(op[N] - last * width, width):
            arena[at + n] = 0


@kernel
def activate_rows(arena, lists, masks, counts, rates, op, M, share, shares):
    """out = f(out) for the units of one share. Padding behind the last unit stays 0."""
    full_width()
    p, end = own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)
    runs, length, first, step = runs_of(op[WIDTH], op[OUT_ROW], op[OUT_PANEL], M, p, end)
    for run in range(runs):
        at = op[OUT] + first + run * step
        out = arena[at : at + length]
        for n in range(length):  # whole vectors; what that makes of the padding is wiped out again
            out[n] = FORMULA(out[n])
    if end == op[PANELS]:
        wipe_padding(arena, op, M, op[WIDTH])


@kernel
def activate_rows_keeping_z(arena, lists, masks, counts, rates, op, M, share, shares):
    """out = f(z) for the units of one share, z at D: where the way back needs z, too.

    Not one function with the above: arrays that may be the same make no vectors.
    """
    full_width()
    p, end = own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)
    runs, length, first, step = runs_of(op[WIDTH], op[OUT_ROW], op[OUT_PANEL], M, p, end)
    for run in range(runs):
        at = first + run * step
        z, out = arena[op[D] + at : op[D] + at + length], arena[op[OUT] + at : op[OUT] + at + length]
        for n in range(length):
            out[n] = FORMULA(z[n])
    if end == op[PANELS]:
        wipe_padding(arena, op, M, op[WIDTH])


@kernel
def activate_rows_backward(arena, lists, masks, counts, rates, op, M, share, shares):
    """out *= f'(z, a) for the units of one share; a at X, z at D (where f' reads only a, at X as well)."""
    full_width()
    p, end = own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)
    runs, length, first, step = runs_of(op[WIDTH], op[OUT_ROW], op[OUT_PANEL], M, p, end)
    for run in range(runs):
        at = first + run * step
        z, a = arena[op[D] + at : op[D] + at + length], arena[op[X] + at : op[X] + at + length]
        delta = arena[op[OUT] + at : op[OUT] + at + length]
        for n in range(length):
            delta[n] *= FORMULA(z[n], a[n])


@kernel
def drop_rows(arena, lists, masks, counts, rates, op, M, share, shares):
    """out[m, n] = 0 where the random bits of (KEY, STEP, m, n) lie below THRESHOLD, else out[m, n] * NUMBER; units n of one share.

    Padding behind the last unit stays 0. Formula and source: scalar.drop. Inputs are dropped as K panels of one unit.
    """
    full_width()
    p, end = own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)
    runs, length = runs_of_row(op[WIDTH], op[OUT_PANEL], p, end)
    factor, zero, threshold = arena.dtype.type(number_of(op[NUMBER])), arena.dtype.type(0), np.uint32(op[THRESHOLD])
    for m in range(M):
        of_row = row_key(np.uint64(op[KEY]), op[STEP], m)
        low, high = low_half(of_row), high_half(of_row)
        for run in range(runs):
            at = op[OUT] + m * op[OUT_ROW] + (p + run) * op[OUT_PANEL]
            out, first = arena[at : at + length], (p + run) * op[WIDTH]
            for n in range(length):
                out[n] = out[n] * factor if hash_32(first + n, low, high) >= threshold else zero


@kernel
def drop_rows_keeping_a(arena, lists, masks, counts, rates, op, M, share, shares):
    """The same from a at D, which the way back needs as it is. Not one function with the above: see activate_rows_keeping_z."""
    full_width()
    p, end = own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)
    runs, length = runs_of_row(op[WIDTH], op[OUT_PANEL], p, end)
    factor, zero, threshold = arena.dtype.type(number_of(op[NUMBER])), arena.dtype.type(0), np.uint32(op[THRESHOLD])
    for m in range(M):
        of_row = row_key(np.uint64(op[KEY]), op[STEP], m)
        low, high = low_half(of_row), high_half(of_row)
        for run in range(runs):
            at = m * op[OUT_ROW] + (p + run) * op[OUT_PANEL]
            a, out, first = arena[op[D] + at : op[D] + at + length], arena[op[OUT] + at : op[OUT] + at + length], (p + run) * op[WIDTH]
            for n in range(length):
                out[n] = a[n] * factor if hash_32(first + n, low, high) >= threshold else zero


@kernel
def runs_of_row(width, panel, p, end):
    """Return in how many runs of numbers the panels p to end of one row lie, and their length."""
    if panel == width:
        return min(1, end - p), (end - p) * width
    return end - p, width


@kernel
def add_noise_to_rows(arena, lists, masks, counts, rates, op, M, share, shares):
    """out[m, k] += NUMBER * z, z ~ N(0, 1) by the random bits of (KEY, STEP, m, k), for all K inputs. Formula: see scalar.add_noise."""
    full_width()
    deviation, half = arena.dtype.type(number_of(op[NUMBER])), arena.dtype.type(0.5)
    for m in range(M):
        of_row = row_key(np.uint64(op[KEY]), op[STEP], m)
        low, high = low_half(of_row), high_half(of_row)
        at = op[OUT] + m * op[OUT_ROW]
        out = arena[at : at + op[K]]
        for k in range(op[K]):
            signed = signed_32(hash_32(k, low, high))
            size = HALF_NORMAL(arena.dtype.type(from_median(signed)) + half, arena.dtype.type(from_end(signed)) + half)
            out[k] += deviation * (size if signed >= 0 else -size)


@kernel
def limit_weights(arena, lists, masks, counts, rates, op, M, share, shares):
    """w[:, n] *= NUMBER / |w[:, n]| where a column is longer than NUMBER, for the units n of one share. Source: scalar.limit_columns."""
    full_width()
    longest, one = arena.dtype.type(number_of(op[NUMBER])), arena.dtype.type(1)
    at = op[SUMS] + share * op[SUMS_SHARE]
    factors = arena[at : at + op[WIDTH]]
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for n in range(op[WIDTH]):
            factors[n] = 0
        for k in range(op[K]):
            at = op[W] + p * op[W_PANEL] + k * op[WIDTH]
            w = arena[at : at + op[WIDTH]]
            for n in range(op[WIDTH]):
                factors[n] += w[n] * w[n]
        are_short = True
        for n in range(op[WIDTH]):
            length = math.sqrt(factors[n])
            is_short = not length > longest
            factors[n] = one if is_short else longest / length
            are_short &= is_short
        if not are_short:
            for k in range(op[K]):
                at = op[W] + p * op[W_PANEL] + k * op[WIDTH]
                w = arena[at : at + op[WIDTH]]
                for n in range(op[WIDTH]):
                    w[n] *= factors[n]


@kernel
def outputs_from_panels(arena, lists, masks, counts, rates, op, M, share, shares):
    """out[p, m, c] = sum over the units j of panel p of x[m, j] w[j, c], for the panels of one share.

    One sum per panel, to be added up in the order of the panels: the same bits for any number of shares.
    """
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        out = op[OUT] + p * op[OUT_PANEL]
        for m in range(0, M, MR):
            for c in range(0, op[N], NI):
                TILE(
                    arena, op[X] + m * op[X_ROW] + p * op[X_PANEL], op[X_ROW], 0,
                    arena, op[W] + p * op[W_PANEL] + c * NR, NR, 0, 1, op[W_VECTORS],
                    arena, out + m * op[OUT_ROW] + c, op[OUT_ROW],
                )  # fmt: skip


@kernel
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


@kernel
def loss_of_rows(
    target, sample_weight, rows, loss, factor, loss_numbers, output, batch_target, batch_weight, z, delta, arena, sums, op, share, shares
):  # fmt: skip
    """Add up the outputs of own rows, take their loss and their delta; sums[0, chunk] = loss, sums[1, chunk] = correct rows.

    z (B, C) and delta (B, C) are scratch; the delta goes on to the arena, in rows padded with zeros.
    """
    short_loops()
    M, C = rows.shape[0], z.shape[1]
    chunks = (M + op[CHUNK] - 1) // op[CHUNK]
    # read once: what is written below might be the operation itself, for all that the compiler knows
    bias, x, x_row, panels, panel, out, out_row = op[BIAS], op[X], op[X_ROW], op[PANELS], op[OUT_PANEL], op[OUT], op[OUT_ROW]
    for chunk in range(own(chunks, share, shares), own(chunks, share + 1, shares)):
        first, last = chunk * op[CHUNK], min(M, (chunk + 1) * op[CHUNK])
        add_panels(arena, bias, x + first * x_row, x_row, panel, panels, last - first, C)
        for m in range(first, last):
            for c in range(C):
                z[m, c] = arena[x + m * x_row + c]
            for t in range(target.shape[1]):
                batch_target[m, t] = target[rows[m], t]
            if batch_weight.shape[0] > 0:
                batch_weight[m] = sample_weight[rows[m]]
        weights = batch_weight[first:last] if batch_weight.shape[0] > 0 else batch_weight
        sums[0, chunk] = call_loss(loss, z[first:last], batch_target[first:last], weights, factor, loss_numbers, delta[first:last])
        sums[1, chunk] = count_correct(z[first:last], batch_target[first:last], weights, output)
        for m in range(first, last):
            for c in range(C):
                arena[out + m * out_row + c] = delta[m, c]


@kernel
def delta_from_outputs(arena, lists, masks, counts, rates, op, M, share, shares):
    """out[m, j] = sum over c of delta[m, c] w[j, c] for the units j of one share; delta at X, w packed by inputs."""
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for m in range(0, M, MR):
            TILE(
                arena, op[W] + p * op[W_PANEL], 0, arena, op[X] + m * op[X_ROW], op[X_ROW], 1, lists, 0, op[N],
                op[BIAS], 0, 0, arena, op[OUT] + m * op[OUT_ROW] + p * op[OUT_PANEL], op[OUT_ROW], 0,
            )  # fmt: skip


@kernel
def delta_from_layer(arena, lists, masks, counts, rates, op, M, share, shares):
    """out[m, k] = sum over n of d[m, n] w[k, n] for the inputs k of one share: units of the layer before. All panels of w are read."""
    first = own(op[PANELS], share, shares) * op[WIDTH]
    last = min(op[K], own(op[PANELS], share + 1, shares) * op[WIDTH])
    for block in range(first, last, BLOCK_OF_ROWS):  # these rows of w stay in the second-level cache while all of d goes by
        for m in range(0, M, MR):
            for k in range(block, min(block + BLOCK_OF_ROWS, last), NI):
                TILE(
                    arena, op[D] + m * op[D_ROW], op[D_ROW], op[D_PANEL],
                    arena, op[W] + k * op[W_ROW], op[W_ROW], op[W_PANEL], op[W_PANELS], op[W_VECTORS],
                    arena, op[OUT] + m * op[OUT_ROW] + k, op[OUT_ROW],
                )  # fmt: skip


@kernel
def delta_from_transposed(arena, lists, masks, counts, rates, op, M, share, shares):
    """The same by tiles of `product`, from a transposed copy of each panel of w.

    A tile of `dot` adds up the lanes of its sums at the end. Where it has few vectors to go through, or so many that they come from far
    away, the copy is cheaper: it is made once for all rows of the batch, and lies in the first-level cache.
    """
    width = op[W_ROW]
    copy = op[SUMS] + share * op[SUMS_SHARE]
    sums = copy + NR * width
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for q in range(op[W_PANELS]):
            w = op[W] + q * op[W_PANEL] + p * NR * width
            for k in range(0, NR, LANES):
                for n in range(0, width, LANES):
                    TRANSPOSE(arena, w + k * width + n, width, arena, copy + n * NR + k, NR)
            is_last = q + 1 == op[W_PANELS]
            for m in range(0, M, MR):
                start, start_row = (op[BIAS], 0) if q == 0 else (sums + m * NR, NR)
                out, out_row = (op[OUT] + m * op[OUT_ROW] + p * op[OUT_PANEL], op[OUT_ROW]) if is_last else (sums + m * NR, NR)
                TILE(
                    arena, copy, 0, arena, op[D] + m * op[D_ROW] + q * op[D_PANEL], op[D_ROW], 1, lists, 0, min(width, op[K] - q * width),
                    start, start_row, 0, arena, out, out_row, 0,
                )  # fmt: skip
    if own(op[PANELS], share + 1, shares) == op[PANELS]:  # the copy holds what lies in w behind its last row
        wipe_padding(arena, op, M, NR)


@kernel
def update_dense(arena, lists, masks, counts, rates, op, M, share, shares):
    """w[k, j] += sum over m of x[m, k] d[m, j] for the panels of one share: x at X, d at D, scaled by -learning_rate before."""
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for k in range(0, op[K], MR):
            TILE(
                arena, op[W] + p * op[W_PANEL] + k * NR, 0, arena, op[X] + k, op[X_ROW], 1,
                arena, op[D] + p * op[D_PANEL], op[D_ROW], 0, M,
            )  # fmt: skip


@kernel
def update_masked(arena, lists, masks, counts, rates, op, M, share, shares):
    """The same, visiting for each group of inputs the rows in which it is not all zero; SIDE panels at a time."""
    words = (op[K] + WORD - 1) // WORD
    p, end = own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)
    while p < end:
        is_alone = p + SIDE > end
        for segment in range(segments_of(op, M)):
            m = segment * WORD
            for k in range(0, op[K], GROUP):
                rows = masks[op[MASKS] + segment * words * GROUPS_PER_WORD + k // GROUP]
                if rows != np.uint64(0):
                    w, x, d = op[W] + p * op[W_PANEL] + k * NR, op[X] + m * op[X_ROW] + k, op[D] + m * op[D_ROW] + p * op[D_PANEL]
                    if is_alone:
                        TILE_ALONE(arena, w, op[W_PANEL], arena, x, op[X_ROW], 1, arena, d, op[D_ROW], op[D_PANEL], rows)
                    else:
                        TILE(arena, w, op[W_PANEL], arena, x, op[X_ROW], 1, arena, d, op[D_ROW], op[D_PANEL], rows)
        p += 1 if is_alone else SIDE


@kernel
def update_bias(arena, lists, masks, counts, rates, op, M, share, shares):
    """bias[c] += sum over m of d[m, c] for the outputs of one share; d at D, scaled by -learning_rate before."""
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for n in range(p * NR, min(op[N], (p + 1) * NR)):
            total = arena[op[BIAS] + n]
            for m in range(M):
                total += arena[op[D] + m * op[D_ROW] + n]
            arena[op[BIAS] + n] = total


@kernel
def step_run(arena, gradient, count, place, state, rates):
    """Update `count` weights from arena[place] on, whose gradients lie from arena[gradient] on: m at `state` behind, v twice as far."""
    full_width()
    r = rates_of(rates)
    g = arena[gradient : gradient + count]
    w, m = arena[place : place + count], arena[place + state : place + state + count]
    if STATES == 1:
        for i in range(count):
            w[i], m[i], _ = FORMULA(w[i], g[i], m[i], m[i], r)
    else:
        v = arena[place + 2 * state : place + 2 * state + count]
        for i in range(count):
            w[i], m[i], v[i] = FORMULA(w[i], g[i], m[i], v[i], r)


@kernel
def update_dense_stepped(arena, lists, masks, counts, rates, op, M, share, shares):
    """Gradient and step of w for the panels of one share, some rows of w at a time: their gradient, at OUT, never leaves the cache."""
    gradient = op[OUT] + share * op[OUT_ROW]
    rows = max(MR, GRADIENT_NUMBERS // NR // MR * MR)
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for first in range(0, op[K], rows):
            tiles = (min(rows, op[K] - first) + MR - 1) // MR
            g = arena[gradient : gradient + tiles * MR * NR]
            for i in range(g.shape[0]):
                g[i] = 0
            for tile in range(tiles):
                at, k = gradient + tile * MR * NR, first + tile * MR
                TILE(arena, at, 0, arena, op[X] + k, op[X_ROW], 1, arena, op[D] + p * op[D_PANEL], op[D_ROW], 0, M)
            now = rates_of_biases(rates) if op[BIAS] != 0 else rates
            step_run(arena, gradient, g.shape[0], op[W] + p * op[W_PANEL] + first * NR, op[STATE], now)


@kernel
def update_masked_stepped(arena, lists, masks, counts, rates, op, M, share, shares):
    """The same, visiting for each group of inputs the rows in which it is not all zero. Every weight takes its step."""
    words = (op[K] + WORD - 1) // WORD
    gradient = op[OUT] + share * op[OUT_ROW]
    g = arena[gradient : gradient + MR * NR]
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for k in range(0, op[K], MR):
            for i in range(g.shape[0]):
                g[i] = 0
            for segment in range(segments_of(op, M)):
                m = segment * WORD
                for i in range(0, MR, GROUP):
                    rows = masks[op[MASKS] + segment * words * GROUPS_PER_WORD + (k + i) // GROUP]
                    TILE(
                        arena, gradient + i * NR, 0, arena, op[X] + m * op[X_ROW] + k + i, op[X_ROW], 1,
                        arena, op[D] + m * op[D_ROW] + p * op[D_PANEL], op[D_ROW], 0, rows,
                    )  # fmt: skip
            step_run(arena, gradient, MR * NR, op[W] + p * op[W_PANEL] + k * NR, op[STATE], rates)


@kernel
def update_bias_stepped(arena, lists, masks, counts, rates, op, M, share, shares):
    """Gradient and step of the biases for the outputs of one share; d at D."""
    gradient = op[OUT] + share * op[OUT_ROW]
    zero = arena.dtype.type(0)
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        count = min(NR, op[N] - p * NR)
        for n in range(count):
            total = zero
            for m in range(M):
                total += arena[op[D] + m * op[D_ROW] + p * NR + n]
            arena[gradient + n] = total
        step_run(arena, gradient, count, op[BIAS] + p * NR, op[STATE], rates_of_biases(rates))


@kernel(reassociate=True)
def gradient_lengths(arena, lists, masks, counts, rates, op, M, share, shares):
    """out[p] = length of the gradient of panel p, each number clipped, for the panels of one share; nothing where no length is limited.

    The gradient of w lies X behind it. A length per panel, to be added up in the order of the panels: the same bits for any number of
    shares. Lengths and not their squares, which float32 could not hold.
    """
    full_width()
    r = rates_of(rates)
    if r.clip_norm < np.inf:
        for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
            first = op[W] + op[X] + p * op[W_PANEL]
            g = arena[first : first + op[W_PANEL]]
            squares = 0.0
            for i in range(g.shape[0]):
                c = np.float64(clipped(g[i], r))
                squares += c * c
            arena[op[OUT] + p] = np.sqrt(squares)


@kernel
def step_limited(arena, lists, masks, counts, rates, op, M, share, shares):
    """Step of w for the panels of one share, from a stored gradient X behind it: clipped, pulled by l1; see scalar.limited_update.

    The lengths of the gradient of all panels lie from OUT on, K of them; m STATE behind w, v twice as far.
    """
    full_width()
    r = rates_of(rates)
    factor = arena.dtype.type(1)
    if r.clip_norm < np.inf:
        squares = 0.0
        for i in range(op[K]):
            length = np.float64(arena[op[OUT] + i])
            squares += length * length
        length = np.sqrt(squares)
        if length > r.clip_norm:
            factor = arena.dtype.type(r.clip_norm / length)
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        first = op[W] + p * op[W_PANEL]
        count, state = op[W_PANEL], op[STATE]
        w, g = arena[first : first + count], arena[first + op[X] : first + op[X] + count]
        if STATES == 0:
            for i in range(count):
                w[i], _, _ = FORMULA(w[i], penalised(factor * clipped(g[i], r), w[i], r), g[i], g[i], r)
        elif STATES == 1:
            m = arena[first + state : first + state + count]
            for i in range(count):
                w[i], m[i], _ = FORMULA(w[i], penalised(factor * clipped(g[i], r), w[i], r), m[i], m[i], r)
        else:
            m, v = arena[first + state : first + state + count], arena[first + 2 * state : first + 2 * state + count]
            for i in range(count):
                w[i], m[i], v[i] = FORMULA(w[i], penalised(factor * clipped(g[i], r), w[i], r), m[i], v[i], r)


@kernel
def average_panels(arena, lists, masks, counts, rates, op, M, share, shares):
    """average = average_decay average + (1 - average_decay) w for the panels of one share; the average of w lies X behind it."""
    full_width()
    r = rates_of(rates)
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        first = op[W] + p * op[W_PANEL]
        w, average = arena[first : first + op[W_PANEL]], arena[first + op[X] : first + op[X] + op[W_PANEL]]
        for i in range(w.shape[0]):
            average[i] = averaged(average[i], w[i], r)


# --- sums of a layer, normalised: the loops of normalisation.py on panels, or on rows ------------------------------------


@kernel
def rows_of_panel(arena, first, row, panel, p, M):
    """Return the part of M rows in panel p as the first columns of a view (M, row)."""
    at = first + p * panel
    return arena[at : at + M * row].reshape((M, row))


@kernel
def moments_of_panel(arena, op, vector, p):
    """Return what one of the vectors at MOMENTS holds of the units of panel p, as a view."""
    first = op[MOMENTS] + vector * op[MOMENTS_ROW] + p * op[WIDTH]
    return arena[first : first + op[WIDTH]]


@kernel
def of_panel(arena, first, op, p):
    """Return the part of a vector of all units that belongs to panel p, as a view."""
    return arena[first + p * op[WIDTH] : first + (p + 1) * op[WIDTH]]


@kernel
def normalise_panel(arena, op, M, p):
    """hat = (hat - mean) inverse, out = gamma hat + bias for the units of a panel, by the mean and the variance at MOMENTS; hat at D."""
    mean, inverse = moments_of_panel(arena, op, MEAN, p), moments_of_panel(arena, op, INVERSE, p)
    inverse_deviations(moments_of_panel(arena, op, VARIANCE, p), inverse)
    gamma, beta = of_panel(arena, op[GAMMA], op, p), of_panel(arena, op[BIAS], op, p)
    hat, out = rows_of_panel(arena, op[D], op[D_ROW], op[D_PANEL], p, M), rows_of_panel(arena, op[OUT], op[OUT_ROW], op[OUT_PANEL], p, M)
    for m in range(M):
        normalise_row(hat, m, op[WIDTH], mean, inverse, gamma, beta, hat, out)


@kernel
def take_running(arena, op, p):
    """Put the running statistics of the units of a panel into its mean and variance."""
    mean, variance = moments_of_panel(arena, op, MEAN, p), moments_of_panel(arena, op, VARIANCE, p)
    running_mean, running_variance = of_panel(arena, op[RUNNING], op, p), of_panel(arena, op[RUNNING] + op[MOMENTS_ROW], op, p)
    for n in range(op[WIDTH]):
        mean[n] = running_mean[n]
        variance[n] = running_variance[n]


@kernel
def normalise_panels_by_batch(arena, lists, masks, counts, rates, op, M, share, shares):
    """Normalise the sums at D over the rows, for the units of one share: out = gamma hat + bias. One row goes by the running statistics."""
    full_width()
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        if M > 1:
            hat = rows_of_panel(arena, op[D], op[D_ROW], op[D_PANEL], p, M)
            moments_of_units(hat, 0, op[WIDTH], moments_of_panel(arena, op, MEAN, p), moments_of_panel(arena, op, VARIANCE, p))
        else:
            take_running(arena, op, p)
        normalise_panel(arena, op, M, p)


@kernel
def normalise_panels_by_running(arena, lists, masks, counts, rates, op, M, share, shares):
    """The same by the running statistics, in inference."""
    full_width()
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        take_running(arena, op, p)
        normalise_panel(arena, op, M, p)


@kernel
def track_panels(arena, lists, masks, counts, rates, op, M, share, shares):
    """Let the running statistics of the units of one share follow those of the batch; one row has none."""
    full_width()
    if M > 1:
        for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
            running_mean, running_variance = of_panel(arena, op[RUNNING], op, p), of_panel(arena, op[RUNNING] + op[MOMENTS_ROW], op, p)
            mean, variance = moments_of_panel(arena, op, MEAN, p), moments_of_panel(arena, op, VARIANCE, p)
            track_moments(running_mean, running_variance, mean, variance, M)


@kernel
def scale_backward_panels(arena, lists, masks, counts, rates, op, M, share, shares):
    """dgamma, dbeta = sums over the rows of delta hat, of delta, for the units of one share; delta at OUT, hat at D."""
    full_width()
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        hat = rows_of_panel(arena, op[D], op[D_ROW], op[D_PANEL], p, M)
        delta = rows_of_panel(arena, op[OUT], op[OUT_ROW], op[OUT_PANEL], p, M)
        dgamma, dbeta = moments_of_panel(arena, op, DGAMMA, p), moments_of_panel(arena, op, DBETA, p)
        scale_backward_of_units(delta, hat, 0, op[WIDTH], dgamma, dbeta)


@kernel
def batch_backward_panels(arena, lists, masks, counts, rates, op, M, share, shares):
    """Turn delta, at OUT, from that with respect to z into that with respect to the sums, for the units of one share; hat at D."""
    full_width()
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        hat = rows_of_panel(arena, op[D], op[D_ROW], op[D_PANEL], p, M)
        delta = rows_of_panel(arena, op[OUT], op[OUT_ROW], op[OUT_PANEL], p, M)
        dgamma, dbeta = moments_of_panel(arena, op, DGAMMA, p), moments_of_panel(arena, op, DBETA, p)
        inverse, gamma = moments_of_panel(arena, op, INVERSE, p), of_panel(arena, op[GAMMA], op, p)
        for m in range(M):
            if M > 1:
                batch_norm_backward_row(delta, hat, m, op[WIDTH], inverse, gamma, dgamma, dbeta)
            else:
                fixed_norm_backward_row(delta, m, op[WIDTH], inverse, gamma)


@kernel
def normalise_rows_by_layer(arena, lists, masks, counts, rates, op, M, share, shares):
    """Normalise each of the own rows of the sums at D over its N units: out = gamma hat + bias. All panels of a row lie side by side."""
    full_width()
    hat, out = rows_of_panel(arena, op[D], op[D_ROW], 0, 0, M), rows_of_panel(arena, op[OUT], op[OUT_ROW], 0, 0, M)
    gamma, beta = arena[op[GAMMA] : op[GAMMA] + op[N]], arena[op[BIAS] : op[BIAS] + op[N]]
    inverse = arena[op[RUNNING] : op[RUNNING] + M]
    for m in range(own(M, share, shares), own(M, share + 1, shares)):
        layer_norm_row(hat, m, op[N], gamma, beta, hat, inverse, out)


@kernel
def layer_backward_rows(arena, lists, masks, counts, rates, op, M, share, shares):
    """Turn delta, at OUT, from that with respect to z into that with respect to the sums, for own rows; hat at D."""
    full_width()
    hat, delta = rows_of_panel(arena, op[D], op[D_ROW], 0, 0, M), rows_of_panel(arena, op[OUT], op[OUT_ROW], 0, 0, M)
    gamma, inverse = arena[op[GAMMA] : op[GAMMA] + op[N]], arena[op[RUNNING] : op[RUNNING] + M]
    for m in range(own(M, share, shares), own(M, share + 1, shares)):
        layer_norm_backward_row(delta, hat, m, op[N], inverse, gamma)


@kernel
def update_units(arena, lists, masks, counts, rates, op, M, share, shares):
    """v[n] += dv[n] for the units of one share: v at BIAS, dv at D, scaled by -learning_rate before."""
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for n in range(p * op[WIDTH], min(op[N], (p + 1) * op[WIDTH])):
            arena[op[BIAS] + n] += arena[op[D] + n]


@kernel
def update_units_stepped(arena, lists, masks, counts, rates, op, M, share, shares):
    """Step of v, biases or scales, for the units of one share: v at BIAS, its gradient at D."""
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        first = p * op[WIDTH]
        step_run(arena, op[D] + first, min(op[WIDTH], op[N] - first), op[BIAS] + first, op[STATE], rates_of_biases(rates))
