"""One layer's work for one share of its panels, made of tiles. Each function is a block: called by address, for every network.

All numbers of a training run lie in one array, the arena: batch, packed weights, activations, deltas. A block gets it with one row of
the table of operations, `op`, whose columns say where its operands lie; `share` of `shares` says which panels are its own:

    panels of share s      P s / shares  to  P (s + 1) / shares
    rows in the arena      m-th row of a matrix at offset + m * row length; vectors begin at multiples of their size
    packed weights         panel p at offset + p * panel length, in it w[k, j] at k NR + j
    output layer           packed the other way round: panel p of its inputs, in it w[j, c] at c NR + j

So a hidden layer is split by its units and the output layer by its inputs, which are the same units: a share computes the units, their
part of the outputs and, on the way back, their deltas and both updates, without asking another share.
"""

from typing import Any

import numpy as np

from fastmlp.kernels.compiling import kernel
from fastmlp.kernels.scalar import count_correct
from fastmlp.kernels.step import call_loss
from fastmlp.kernels.updates import Rates
from fastmlp.kernels.vectors import full_width, prefetch
from fastmlp.kernels.zeros import GROUP, GROUPS_PER_WORD, WORD, append_set_bits, fold_groups, nonzero_bits, transpose_bits

# Columns of an operation. K inputs, N units, PANELS of the units whose owner does the work. X, D, W, BIAS, OUT: offsets into the arena;
# *_ROW: lengths of their rows; W_PANEL, W_PANELS, W_VECTORS: length and number of the panels of w, vectors in a row of one; WIDTH: numbers
# in a row of the panels counted by PANELS; LISTS, FOLDED, MASKS, COUNTS: offsets into the arrays of zeros.py; STATE: from a
# weight to its m, twice that to its v.
(KIND, ADDRESS, K, N, PANELS, WIDTH, X, X_ROW, D, D_ROW, W, W_PANEL, W_PANELS, W_VECTORS, BIAS, OUT, OUT_ROW, OUT_PANEL,
 LISTS, FOLDED, MASKS, COUNTS, STATE) = range(23)  # fmt: skip
COLUMNS = 23
# Kinds of operations.
BARRIER, PANEL, LOSS, CHECK = range(4)

BLOCK = 128  # inputs of one pass over all rows: their part of a panel, 40 KiB, stays in the first-level cache
AHEAD = 6  # rows that are asked for in advance while a batch is gathered
CACHE_LINE = 64  # bytes
BLOCK_OF_ROWS = 160  # rows of w that meet all rows of a batch at a time: a multiple of the rows of every dot tile
LOSS_ROWS = 8  # rows whose loss is added up together: fixed, so that the sum does not depend on the shares

# Bound when a block is specialised: a tile, its rows, its numbers per panel row, a formula.
TILE: Any = None
FORMULA: Any = None
MR = NR = NI = STATES = 0


@kernel
def own(count, share, shares):
    """Return the first of `count` things that a share owns; the end is the first of the next share."""
    return count * share // shares


@kernel
def gather_rows(x, rows, scale, shift, arena, op, share, shares):
    """batch[m, k] = x[rows[m], k] * scale[k] + shift[k] for the rows m of one share, a share's rows being whole tiles of MR rows."""
    full_width()
    M, K_ = rows.shape[0], x.shape[1]
    tiles = (M + MR - 1) // MR
    last = min(M, own(tiles, share + 1, shares) * MR)
    for m in range(own(tiles, share, shares) * MR, last):
        if m + AHEAD < last:  # rows lie anywhere in memory: each would be waited for
            for k in range(0, K_, CACHE_LINE // x.itemsize):
                prefetch(x, rows[m + AHEAD], k)
        batch = arena[op[OUT] + m * op[OUT_ROW] : op[OUT] + m * op[OUT_ROW] + K_]
        row = x[rows[m]]
        for k in range(K_):
            batch[k] = scale.dtype.type(row[k]) * scale[k] + shift[k]


@kernel
def list_live(arena, lists, masks, counts, rates, op, M, share, shares):
    """For each tile of MR rows of one share: the inputs that are not zero in all of them, listed block by block of inputs.

    lists[LISTS + tile K + ...]: inputs, ascending; counts[COUNTS + tile (blocks + 1) + b]: where block b begins;
    lists[FOLDED + (segment words + word) 64 + m % 64]: per row, which groups of 4 inputs are not all zero.
    """
    words = (op[K] + WORD - 1) // WORD
    blocks = (op[K] + BLOCK - 1) // BLOCK
    tiles = (M + MR - 1) // MR
    for tile in range(own(tiles, share, shares), own(tiles, share + 1, shares)):
        first, last = tile * MR, min(M, tile * MR + MR)
        for m in range(first, last):
            folded = op[FOLDED] + m // WORD * words * WORD + m % WORD
            for word in range(words):
                nonzero_bits(arena, op[X] + m * op[X_ROW] + word * WORD, masks, op[MASKS] + m * words + word)
                lists[folded + word * WORD] = fold_groups(masks[op[MASKS] + m * words + word])
        begin = op[LISTS] + tile * op[K]
        place = begin
        for word in range(words):
            if word * WORD % BLOCK == 0:
                counts[op[COUNTS] + tile * (blocks + 1) + word * WORD // BLOCK] = place
            union = np.uint64(0)
            for m in range(first, last):
                union |= masks[op[MASKS] + m * words + word]
            place = append_set_bits(union, word * WORD, lists, place)
        counts[op[COUNTS] + tile * (blocks + 1) + blocks] = place


@kernel
def mask_groups(arena, lists, masks, counts, rates, op, M, share, shares):
    """masks[MASKS + segment words 16 + g] = rows of a segment of 64 in which group g of 4 inputs is not all zero, for own words."""
    words = (op[K] + WORD - 1) // WORD
    for segment in range((M + WORD - 1) // WORD):
        present = np.uint64(0xFFFFFFFFFFFFFFFF)
        if M - segment * WORD < WORD:
            present = (np.uint64(1) << np.uint64(M - segment * WORD)) - np.uint64(1)
        for word in range(own(words, share, shares), own(words, share + 1, shares)):
            place = op[MASKS] + (segment * words + word) * GROUPS_PER_WORD
            transpose_bits(lists, op[FOLDED] + (segment * words + word) * WORD, masks, place)
            for group in range(GROUPS_PER_WORD):
                masks[place + group] &= present


@kernel
def forward_dense(arena, lists, masks, counts, rates, op, M, share, shares):
    """out = x @ w + bias for the units of one share. Blocks of inputs outside, rows inside: a block of w is read M / MR times."""
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for k in range(0, op[K], BLOCK):
            count = min(BLOCK, op[K] - k)
            first = 1 if k == 0 else 0
            for m in range(0, M, MR):
                TILE(
                    arena, op[W] + p * op[W_PANEL] + k * NR, arena, op[X] + m * op[X_ROW] + k, op[X_ROW], 1, lists, 0, count,
                    arena, op[BIAS] + p * NR, first, arena, op[OUT] + m * op[OUT_ROW] + p * NR, op[OUT_ROW],
                )  # fmt: skip


@kernel
def forward_listed(arena, lists, masks, counts, rates, op, M, share, shares):
    """out = x @ w + bias for the units of one share, visiting for each tile the inputs on its live list."""
    blocks = (op[K] + BLOCK - 1) // BLOCK
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for block in range(blocks):
            first = 1 if block == 0 else 0
            for m in range(0, M, MR):
                place = op[COUNTS] + m // MR * (blocks + 1) + block
                begin = counts[place]
                TILE(
                    arena, op[W] + p * op[W_PANEL], arena, op[X] + m * op[X_ROW], op[X_ROW], 1, lists, begin, counts[place + 1] - begin,
                    arena, op[BIAS] + p * NR, first, arena, op[OUT] + m * op[OUT_ROW] + p * NR, op[OUT_ROW],
                )  # fmt: skip


@kernel
def activate_rows(arena, lists, masks, counts, rates, op, M, share, shares):
    """out = f(out) for the units of one share. Padding behind the last unit stays 0."""
    full_width()
    first, last = own(op[PANELS], share, shares) * NR, own(op[PANELS], share + 1, shares) * NR
    for m in range(M):
        row = arena[op[OUT] + m * op[OUT_ROW] + first : op[OUT] + m * op[OUT_ROW] + last]
        for n in range(row.shape[0]):  # whole vectors; what that makes of the padding is wiped out again
            row[n] = FORMULA(row[n])
        for n in range(op[N] - first, row.shape[0]):
            row[n] = 0


@kernel
def activate_rows_keeping_z(arena, lists, masks, counts, rates, op, M, share, shares):
    """out = f(z) for the units of one share, z at D: where the way back needs z, too."""
    full_width()
    first, last = own(op[PANELS], share, shares) * NR, own(op[PANELS], share + 1, shares) * NR
    for m in range(M):
        z = arena[op[D] + m * op[D_ROW] + first : op[D] + m * op[D_ROW] + last]
        row = arena[op[OUT] + m * op[OUT_ROW] + first : op[OUT] + m * op[OUT_ROW] + last]
        for n in range(row.shape[0]):
            row[n] = FORMULA(z[n])
        for n in range(op[N] - first, row.shape[0]):
            row[n] = 0


@kernel
def activate_rows_backward(arena, lists, masks, counts, rates, op, M, share, shares):
    """out *= f'(z, a) for the units of one share; a at X, z at D (where f' reads only a, at X as well)."""
    full_width()
    first, last = own(op[PANELS], share, shares) * NR, own(op[PANELS], share + 1, shares) * NR
    for m in range(M):
        z = arena[op[D] + m * op[D_ROW] + first : op[D] + m * op[D_ROW] + last]
        a = arena[op[X] + m * op[X_ROW] + first : op[X] + m * op[X_ROW] + last]
        delta = arena[op[OUT] + m * op[OUT_ROW] + first : op[OUT] + m * op[OUT_ROW] + last]
        for n in range(delta.shape[0]):
            delta[n] *= FORMULA(z[n], a[n])


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
                    arena, op[X] + m * op[X_ROW] + p * NR, op[X_ROW], 0, arena, op[W] + p * op[W_PANEL] + c * NR, NR, 0, 1, op[W_VECTORS],
                    arena, out + m * op[OUT_ROW] + c, op[OUT_ROW], 1,
                )  # fmt: skip


@kernel
def loss_of_rows(target, sample_weight, rows, loss, factor, output, batch_target, batch_weight, z, delta, arena, sums, op, share, shares):
    """Add up the outputs of own rows, take their loss and their delta; sums[0, chunk] = loss, sums[1, chunk] = correct rows.

    z (B, C) and delta (B, C) are scratch; the delta goes on to the arena, in rows padded with zeros.
    """
    M, C = rows.shape[0], z.shape[1]
    chunks = (M + LOSS_ROWS - 1) // LOSS_ROWS
    for chunk in range(own(chunks, share, shares), own(chunks, share + 1, shares)):
        first, last = chunk * LOSS_ROWS, min(M, (chunk + 1) * LOSS_ROWS)
        for m in range(first, last):
            for c in range(C):
                total = arena[op[BIAS] + c]
                for p in range(op[PANELS]):
                    total += arena[op[X] + p * op[OUT_PANEL] + m * op[X_ROW] + c]
                z[m, c] = total
            for t in range(target.shape[1]):
                batch_target[m, t] = target[rows[m], t]
            if batch_weight.shape[0] > 0:
                batch_weight[m] = sample_weight[rows[m]]
        weights = batch_weight[first:last] if batch_weight.shape[0] > 0 else batch_weight
        sums[0, chunk] = call_loss(loss, z[first:last], batch_target[first:last], weights, factor, delta[first:last])
        sums[1, chunk] = count_correct(z[first:last], batch_target[first:last], output)
        for m in range(first, last):
            for c in range(C):
                arena[op[OUT] + m * op[OUT_ROW] + c] = delta[m, c]


@kernel
def delta_from_outputs(arena, lists, masks, counts, rates, op, M, share, shares):
    """out[m, j] = sum over c of delta[m, c] w[j, c] for the units j of one share; delta at X, w packed by inputs."""
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for m in range(0, M, MR):
            TILE(
                arena, op[W] + p * op[W_PANEL], arena, op[X] + m * op[X_ROW], op[X_ROW], 1, lists, 0, op[N],
                arena, op[BIAS], 1, arena, op[OUT] + m * op[OUT_ROW] + p * NR, op[OUT_ROW],
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
                    arena, op[D] + m * op[D_ROW], op[D_ROW], NR, arena, op[W] + k * NR, NR, op[W_PANEL], op[W_PANELS], op[W_VECTORS],
                    arena, op[OUT] + m * op[OUT_ROW] + k, op[OUT_ROW], 1,
                )  # fmt: skip


@kernel
def update_dense(arena, lists, masks, counts, rates, op, M, share, shares):
    """w[k, j] += sum over m of x[m, k] d[m, j] for the panels of one share: x at X, d at D, scaled by -learning_rate before."""
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for k in range(0, op[K], MR):
            TILE(
                arena, op[W] + p * op[W_PANEL] + k * NR, arena, op[X] + k, op[X_ROW], 1,
                arena, op[D] + p * NR, op[D_ROW], M,
            )  # fmt: skip


@kernel
def update_masked(arena, lists, masks, counts, rates, op, M, share, shares):
    """The same, visiting for each group of inputs the rows in which it is not all zero."""
    words = (op[K] + WORD - 1) // WORD
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for segment in range((M + WORD - 1) // WORD):
            m = segment * WORD
            for k in range(0, op[K], GROUP):
                rows = masks[op[MASKS] + segment * words * GROUPS_PER_WORD + k // GROUP]
                if rows != np.uint64(0):
                    TILE(
                        arena, op[W] + p * op[W_PANEL] + k * NR, arena, op[X] + m * op[X_ROW] + k, op[X_ROW], 1,
                        arena, op[D] + m * op[D_ROW] + p * NR, op[D_ROW], rows,
                    )  # fmt: skip


@kernel
def update_bias(arena, lists, masks, counts, rates, op, M, share, shares):
    """bias[j] += sum over m of d[m, j] for the units of one share; d at D, scaled by -learning_rate before."""
    full_width()
    first, last = own(op[PANELS], share, shares) * NR, min(op[N], own(op[PANELS], share + 1, shares) * NR)
    bias = arena[op[BIAS] + first : op[BIAS] + last]
    for m in range(M):
        d = arena[op[D] + m * op[D_ROW] + first : op[D] + m * op[D_ROW] + last]
        for n in range(bias.shape[0]):
            bias[n] += d[n]


@kernel
def step_run(arena, gradient, count, place, state, rates):
    """Update `count` weights from arena[place] on, whose gradients lie from arena[gradient] on: m at `state` behind, v twice as far."""
    full_width()
    r = Rates(rates[0], rates[1], rates[2], rates[3], rates[4], rates[5], rates[6])
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
    """Gradient and step of w for the panels of one share, MR rows of w at a time: their gradient, at OUT, never leaves the cache."""
    gradient = op[OUT] + share * op[OUT_ROW]
    g = arena[gradient : gradient + MR * NR]
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for k in range(0, op[K], MR):
            for i in range(g.shape[0]):
                g[i] = 0
            TILE(arena, gradient, arena, op[X] + k, op[X_ROW], 1, arena, op[D] + p * NR, op[D_ROW], M)
            step_run(arena, gradient, MR * NR, op[W] + p * op[W_PANEL] + k * NR, op[STATE], rates)


@kernel
def update_masked_stepped(arena, lists, masks, counts, rates, op, M, share, shares):
    """The same, visiting for each group of inputs the rows in which it is not all zero. Every weight takes its step."""
    words = (op[K] + WORD - 1) // WORD
    gradient = op[OUT] + share * op[OUT_ROW]
    g = arena[gradient : gradient + GROUP * NR]
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        for k in range(0, op[K], GROUP):
            for i in range(g.shape[0]):
                g[i] = 0
            for segment in range((M + WORD - 1) // WORD):
                m = segment * WORD
                rows = masks[op[MASKS] + segment * words * GROUPS_PER_WORD + k // GROUP]
                TILE(
                    arena, gradient, arena, op[X] + m * op[X_ROW] + k, op[X_ROW], 1,
                    arena, op[D] + m * op[D_ROW] + p * NR, op[D_ROW], rows,
                )  # fmt: skip
            step_run(arena, gradient, GROUP * NR, op[W] + p * op[W_PANEL] + k * NR, op[STATE], rates)


@kernel
def update_bias_stepped(arena, lists, masks, counts, rates, op, M, share, shares):
    """Gradient and step of the biases for the units of one share; d at D."""
    gradient = op[OUT] + share * op[OUT_ROW]
    for p in range(own(op[PANELS], share, shares), own(op[PANELS], share + 1, shares)):
        count = min(NR, op[N] - p * NR)
        g = arena[gradient : gradient + count]
        for n in range(count):
            g[n] = 0
        for m in range(M):
            d = arena[op[D] + m * op[D_ROW] + p * NR : op[D] + m * op[D_ROW] + p * NR + count]
            for n in range(count):
                g[n] += d[n]
        step_run(arena, gradient, count, op[BIAS] + p * NR, op[STATE], rates)
