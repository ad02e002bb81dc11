"""A step of a network by tiles, written out: what each thread of a team does, layer by layer, barrier by barrier.

It is what textbook.py does in plain loops, whose lines stand beside those here. Every line that calls a block calls it for each share of
the thread; what a layer has not, such as dropout, has the address 0. engines/records.py says what the names of a record are, panels.py
what the blocks do.

A thread waits for the others wherever a share needs what another one has made: the activations and the deltas of all units. One
hidden layer takes two barriers a step; a second one takes four more, as the next step then begins with one, and each further one two more.
Every thread brings in the whole batch for itself. The delta of a layer is taken before the weights that it reads change.
"""

from typing import Any, NamedTuple

import numpy as np

from fastmlp.compilation.calls import block_call
from fastmlp.compilation.decorators import kernel
from fastmlp.compilation.intrinsics import borrow
from fastmlp.kernels.textbook_step import CORRECT, LOSS_SUM, ROWS, SQUARES, TOTALS, WEIGHT_SUM
from fastmlp.kernels.vectors import count_up, flush_subnormals, give_way, look, pause, restore_float_mode

# Places in the array through which threads see each other, a cache line apart: who has arrived, whether to stop, what thread 0 decided.
ARRIVED, STOP, DECISION = 0, 8, 16
SHARED = 24
SPINS = 4000  # about 100 us; then the processor is given away, because a thread may be waiting for it

call_gather = block_call(7)
call_block = block_call(5)
call_loss_rows = block_call(10)


class Step(NamedTuple):
    """What all blocks get in a step."""

    arena: np.ndarray
    lists: np.ndarray  # of zeros.py, as the next two
    masks: np.ndarray
    counts: np.ndarray
    rates: np.ndarray  # (RATES,): updates.Rates
    run: Any  # engines.records.RUN
    number: int  # of the step in the whole training: random numbers depend on it
    M: int


class Memory(NamedTuple):
    """The arrays that a program works in, part by part for its threads; nothing is allocated for a step."""

    arena: np.ndarray
    lists: np.ndarray  # of zeros.py, as the next two
    masks: np.ndarray
    counts: np.ndarray


class Batch(NamedTuple):
    """What belongs to the outputs of a batch of up to B rows, for its loss."""

    target: np.ndarray  # (B, T)
    weight: np.ndarray  # (B,) or (0,)
    z: np.ndarray  # (B, C)
    delta: np.ndarray  # (B, C)
    sums: np.ndarray  # (2, chunks of rows): losses, correct rows


@kernel
def wait_for_all(shared, arrivals):
    """Wait until all threads of the team have arrived for the n-th time together: `arrivals` = n times their number; return it."""
    count_up(shared, ARRIVED)
    spins = 0
    while look(shared, ARRIVED) < arrivals:
        pause()
        spins += 1
        if spins > SPINS:
            give_way()
    return arrivals


@kernel(inlined=True, inner=True)
def on_shares(block, step, layer, below, thread, threads):
    """Let a block, where there is one, work on each share of a thread."""
    if block != 0:
        shares = step.run.shares
        for share in range(thread, shares, threads):
            call_block(block, step, layer, below, share, shares)


@kernel(inlined=True, inner=True)
def alone(block, step, layer):
    """Let a block, where there is one, work on the whole batch of a thread."""
    if block != 0:
        call_block(block, step, layer, layer, 0, 1)


@kernel(inner=True)
def bring_in(step, gather, x, rows, upcoming, scale, shift, inputs):
    """Bring the rows of a batch into the arena, as a thread needs them: scaled, with noise and dropout; and list their zeros."""
    call_gather(gather, x, rows, upcoming, scale, shift, step.arena, inputs)  # x * scale + shift
    alone(step.run.add_noise, step, inputs)
    alone(inputs.drop, step, inputs)
    alone(step.run.list_zeros, step, inputs)
    alone(step.run.mask_zeros, step, inputs)


@kernel(inner=True)
def forward(step, layers, H, shared, arrived, thread, threads):
    """Run the layers 1 to H forward, from the inputs, layer 0; return how often threads have arrived at barriers."""
    for index in range(1, H + 1):
        layer, below = layers[index], layers[index - 1]
        if index > 1:
            arrived = wait_for_all(shared, arrived + threads)  # all units of the layer below are there
        on_shares(layer.shift, step, layer, below, thread, threads)  # bias + shift @ weight, where inputs are x + shift
        on_shares(layer.forward, step, layer, below, thread, threads)  # z = x @ weight + bias
        if layer.by_rows != 0:
            arrived = wait_for_all(shared, arrived + threads)
        on_shares(layer.normalise, step, layer, below, thread, threads)  # z = gamma * (z - mean) / deviation + beta
        if layer.by_rows != 0:
            arrived = wait_for_all(shared, arrived + threads)
        on_shares(layer.activate, step, layer, below, thread, threads)  # a = f(z)
        on_shares(layer.drop, step, layer, below, thread, threads)  # dropout before the next layer reads a
    return arrived


@kernel(inner=True)
def through_activation(step, layer, shared, arrived, thread, threads):
    """Turn dx, that of the units of a layer, into its delta, in place; return how often threads have arrived at barriers."""
    on_shares(layer.activate_backward, step, layer, layer, thread, threads)  # delta = dx * f'(z)
    on_shares(layer.drop_backward, step, layer, layer, thread, threads)  # dropout
    on_shares(layer.scale_backward, step, layer, layer, thread, threads)  # dgamma, dbeta
    if layer.by_rows != 0:
        arrived = wait_for_all(shared, arrived + threads)
    on_shares(layer.normalise_backward, step, layer, layer, thread, threads)  # delta of sums that are normalised
    if layer.by_rows != 0:
        arrived = wait_for_all(shared, arrived + threads)
    return arrived


@kernel(inner=True)
def update(step, layer, below, thread, threads):
    """Let the weights and the biases of a layer take their step. Where gradients are limited as a whole, these are stored instead."""
    on_shares(layer.sum_deltas, step, layer, below, thread, threads)  # the gradient of the shift, where inputs are x + shift
    on_shares(layer.update, step, layer, below, thread, threads)  # weight -= learning_rate * x.T @ delta
    on_shares(layer.update_bias, step, layer, below, thread, threads)  # bias -= learning_rate * sum of delta over the batch
    if step.run.limited == 0:
        on_shares(layer.limit, step, layer, below, thread, threads)  # max-norm


@kernel(inner=True)
def copy_parameters(steps, places, run, arena, packs):
    """arena[places] = parameters, the states and the average so far behind them, the second state twice as far; or the other way round."""
    parts = ((0, steps.parameters), (run.to_state, steps.m_state), (2 * run.to_state, steps.v_state), (run.to_average, steps.average))
    for distance, vector in parts:
        for i in range(vector.shape[0]):
            if packs:
                arena[distance + places[i]] = vector[i]
            else:
                vector[i] = arena[distance + places[i]]


@kernel(reassociate=True, inner=True)
def squares_of_weights(arena, layers):
    """Return the sum of the squares of all weights, without biases; padding is 0."""
    total = 0.0
    for index in range(1, layers.shape[0]):
        layer = layers[index]
        first = layer.w
        for i in range(first, first + layer.panels * layer.w_panel):
            w = np.float64(arena[i])
            total += w * w
    return total


@kernel
def train_tiled(steps, places, gather, layers_of_threads, runs, memory, batch, shared, thread, threads):
    """Take one step per batch as one thread of a team; return the row reached, or -(1 + row) at a loss that is not finite.

    steps: engines.wanted.Steps for kernels, whose total thread 0 adds to; places (P,): where the parameters lie in the arena, into
    which and out of which they are copied; (0,) where somebody else does that, before and afterwards. gather: an address; layers_of_threads
    (threads, 2 + H), runs (threads,), memory, batch: see records.py; the last two are scratch.
    """
    # borrowed: otherwise each view of them is counted, by an atomic instruction on a number that all threads change
    x, target, sample_weight, order = borrow(steps.x), borrow(steps.target), borrow(steps.sample_weight), borrow(steps.order)
    rates, scale, shift, loss_numbers = borrow(steps.rates), borrow(steps.scale), borrow(steps.shift), borrow(steps.loss_numbers)
    arena, lists, masks, counts = borrow(memory.arena), borrow(memory.lists), borrow(memory.masks), borrow(memory.counts)
    sums, batch_weight, total, layers_of_threads = borrow(batch.sums), borrow(batch.weight), steps.total, borrow(layers_of_threads)
    of_batch = Batch(borrow(batch.target), batch_weight, borrow(batch.z), borrow(batch.delta), sums)
    first, last, batch_size, epoch_rows, log = steps.first, steps.last, steps.batch_size, steps.epoch_rows, borrow(steps.log)
    layers, run = layers_of_threads[thread], runs[thread]
    H = layers.shape[0] - 2
    inputs, outputs = layers[0], layers[H + 1]
    float_mode = flush_subnormals()
    if places.shape[0] > 0:
        copy_parameters(steps, places, run, arena, True)
    taken, begin, is_finite, ended = 0, first, True, 0
    arrived = wait_for_all(shared, threads)  # the weights that others have packed are there
    epoch_end = (first // epoch_rows + 1) * epoch_rows if log.shape[0] > 0 else last
    one = arena.dtype.type(1)
    while begin < last:
        rows = order[begin : min(begin + batch_size, epoch_end, last)]
        M = rows.shape[0]
        upcoming = order[begin + M : min(begin + M + batch_size, last)]
        step = Step(arena, lists, masks, counts, rates[min(taken, rates.shape[0] - 1)], run, steps.first_step + taken, M)

        bring_in(step, gather, x, rows, upcoming, scale, shift, inputs)
        # Two places in turn: who is late may read the decision of this step while that of the next is made, and no later one.
        decision = DECISION + taken % 2
        if thread == 0:
            shared[decision] = look(shared, STOP)

        # forward: z = x @ weight + bias, a = f(z)
        if H > 1:
            arrived = wait_for_all(shared, arrived + threads)  # who is still in the last step reads activations of all units
        arrived = forward(step, layers, H, shared, arrived, thread, threads)
        on_shares(outputs.forward, step, outputs, layers[H], thread, threads)  # own units' part of z
        arrived = wait_for_all(shared, arrived + threads)

        # loss: l(a, t), delta = dl/dz
        share_of_row = one / arena.dtype.type(M) if steps.mean else one
        factor = -step.rates[0] * share_of_row if run.fused != 0 else share_of_row
        for share in range(thread, run.shares, threads):
            call_loss_rows(
                run.take_loss, step, outputs, target, sample_weight, rows, factor, loss_numbers, of_batch, share, run.shares
            )  # fmt: skip
        arrived = wait_for_all(shared, arrived + threads)
        summed, correct = 0.0, 0.0
        for chunk in range((M + run.loss_rows - 1) // run.loss_rows):
            summed += sums[0, chunk]
            correct += sums[1, chunk]
        if not np.isfinite(summed):  # every thread comes to the same answer
            is_finite = False
            break
        if thread == 0:
            total[LOSS_SUM] += summed
            total[CORRECT] += correct
            total[ROWS] += M
            weight = 0.0
            for m in range(M):
                weight += batch_weight[m] if batch_weight.shape[0] > 0 else 1.0
            total[WEIGHT_SUM] += weight
        for index in range(1, H + 1):
            on_shares(layers[index].track, step, layers[index], layers[index], thread, threads)  # running statistics

        # backward: dx = delta @ weight.T, delta of the layer before = dx * f'(z); update: weight -= learning_rate * dweight
        on_shares(outputs.to_below, step, outputs, layers[H], thread, threads)
        arrived = through_activation(step, layers[H], shared, arrived, thread, threads)
        update(step, outputs, layers[H], thread, threads)
        for index in range(H, 1, -1):
            # all deltas of this layer are there, and all have read the weights of the one above it, which may change now
            arrived = wait_for_all(shared, arrived + threads)
            on_shares(layers[index].to_below, step, layers[index], layers[index - 1], thread, threads)
            arrived = through_activation(step, layers[index - 1], shared, arrived, thread, threads)
            if index < H:
                update(step, layers[index + 1], layers[index], thread, threads)
        if H > 1:
            arrived = wait_for_all(shared, arrived + threads)
            update(step, layers[2], layers[1], thread, threads)
        update(step, layers[1], inputs, thread, threads)
        # what needs the gradients of all layers: where they are limited as a whole, weights take their step only now
        if run.limited != 0:
            for index in range(1, H + 2):
                on_shares(layers[index].measure, step, layers[index], layers[index], thread, threads)  # the length of the gradient
            arrived = wait_for_all(shared, arrived + threads)
            for index in range(1, H + 2):
                on_shares(layers[index].take_step, step, layers[index], layers[index], thread, threads)  # weight -= …
                on_shares(layers[index].limit, step, layers[index], layers[index], thread, threads)  # max-norm
        for index in range(1, H + 2):
            on_shares(layers[index].average, step, layers[index], layers[index], thread, threads)  # of the weights over the steps

        begin += M
        taken += 1
        if begin == epoch_end and log.shape[0] > 0:
            arrived = wait_for_all(shared, arrived + threads)  # all weights have taken their step; none takes the next one without thread 0
            if thread == 0:
                for i in range(TOTALS):
                    log[ended, i] = total[i]
                    total[i] = 0.0
                log[ended, SQUARES] = squares_of_weights(arena, layers)
            ended += 1
            epoch_end += epoch_rows
        if shared[decision] != 0:
            break
    wait_for_all(shared, arrived + threads)  # all weights have taken their last step, and may be unpacked
    if places.shape[0] > 0:
        copy_parameters(steps, places, run, arena, False)
    restore_float_mode(float_mode)
    return begin if is_finite else -(begin + 1)


@kernel
def forward_tiled(rows, gather, layers_of_threads, runs, memory, rates, out, shared, thread, threads):
    """out[m, c] = z of the output layer for the rows rows.order[rows.first + m], as one thread of a team; return rows.last.

    rows: engines.wanted.Rows; gather: address; layers_of_threads (threads, 1 + L), runs (threads,), memory: see records.py, scratch; the
    output layer is like a hidden one; rates (1, RATES): nobody's -> out (last - first, C), overwritten.
    """
    arrived, arena, order, first, last = 0, memory.arena, rows.order, rows.first, rows.last
    layers, run = layers_of_threads[thread], runs[thread]
    L = layers.shape[0] - 1
    outputs = layers[L]
    for begin in range(first, last, rows.batch_size):
        now = order[begin : min(begin + rows.batch_size, last)]
        M = now.shape[0]
        upcoming = order[begin + M : min(begin + M + rows.batch_size, last)]
        step = Step(arena, memory.lists, memory.masks, memory.counts, rates[0], run, 0, M)
        bring_in(step, gather, rows.x, now, upcoming, rows.scale, rows.shift, layers[0])
        arrived = forward(step, layers, L, shared, arrived, thread, threads)
        arrived = wait_for_all(shared, arrived + threads)
        for m in range(M * thread // threads, M * (thread + 1) // threads):
            for c in range(out.shape[1]):
                out[begin - first + m, c] = arena[outputs.a + m * outputs.row + c]
        arrived = wait_for_all(shared, arrived + threads)
    return last
