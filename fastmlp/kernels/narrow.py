"""One sample a step in a network whose layers are no wider than a vector: weights in rows of one vector each, no loop over units.

    forward     z = bias + sum over k of x[k] w[k, :]           a vector of sums, a multiply-add for each input
    delta       dx = sum over n of delta[n] across[n, :]        across = w transposed, kept beside w: no vector is added up lane by lane
    update      w[k, :] -= rate x[k] delta                      across[n, :] -= rate delta[n] x        the same numbers in both

The lanes behind the last unit are units, too, that nobody reads: they start from zeros each time, and what becomes of them does not matter.
"""

import math
from typing import Any

import numpy as np
from numba import carray

from fastmlp.compilation.calls import block_call
from fastmlp.compilation.decorators import kernel
from fastmlp.compilation.intrinsics import pointer
from fastmlp.compilation.record_types import record
from fastmlp.kernels import tiles
from fastmlp.kernels.pointwise import apply, gather_row
from fastmlp.kernels.rows import loss_of_row
from fastmlp.kernels.textbook_step import CORRECT, LOSS_SUM, ROWS, WEIGHT_SUM
from fastmlp.kernels.vectors import full_width, prefetch, short_loops

# A layer: sizes; offsets of weights and biases in the parameters; in the arena, offsets of w (K, LANES) with the
# biases as its last row, of its transpose (N, LANES), which the first layer does without, of z, a = f(z), f'(z) and delta (LANES,);
# address of activate_vector. The arena begins with a vector of zeros, one that begins with 1, and the inputs.
LAYER = record("n_in n_out weight bias w across z a slope delta activate")
MOST_INPUTS = 64  # more may be worth a look which of them are zero

U = np.uint64
# Bound when a kernel is specialised: the parameters' type, its bytes, how many of it a vector has, formulas.
NUMBER: Any = np.float32
SIZE, LANES = 4, 16
ACTIVATION: Any = None
ACTIVATION_DERIVATIVE: Any = None

weighted_sum, weighted_sum_times = tiles.row_product(False), tiles.row_product(True)
update_rows, update_across = tiles.row_update("x"), tiles.row_update("d")
call_activate = block_call(4)


@kernel(inner=True, counted=True)
def activate_vector(z, a, slope, count):
    """a = f(z), slope = f'(z, a) for vectors at three addresses. Arrays as arguments would take longer than what is done with them."""
    full_width()
    sums, out = carray(pointer(z), (count,), NUMBER), carray(pointer(a), (count,), NUMBER)
    slopes = carray(pointer(slope), (count,), NUMBER)
    apply(ACTIVATION, sums, out)
    for n in range(count):
        slopes[n] = ACTIVATION_DERIVATIVE(sums[n], out[n])


@kernel(inner=True, counted=True)
def pack(parameters, layers, arena):
    """Copy the parameters (P,) of all layers into their rows of vectors."""
    for index in range(layers.shape[0]):
        K, N, weight, bias = layers[index].n_in, layers[index].n_out, layers[index].weight, layers[index].bias
        w, across = layers[index].w, layers[index].across
        for n in range(N):
            for k in range(K):
                arena[w + k * LANES + n] = parameters[weight + k * N + n]
                if index > 0:
                    arena[across + n * LANES + k] = parameters[weight + k * N + n]
            arena[w + K * LANES + n] = parameters[bias + n]


@kernel(inner=True, counted=True)
def unpack(parameters, layers, arena):
    """Copy the rows of vectors back into the parameters (P,)."""
    for index in range(layers.shape[0]):
        K, N, weight, bias, w = layers[index].n_in, layers[index].n_out, layers[index].weight, layers[index].bias, layers[index].w
        for n in range(N):
            for k in range(K):
                parameters[weight + k * N + n] = arena[w + k * LANES + n]
            parameters[bias + n] = arena[w + K * LANES + n]


@kernel
def train_narrow(steps, layers, runs, arena):
    """The same as rows.train_rows, by the records of layers (L,) above. arena: zeros but for what earlier runs left, overwritten."""
    parameters, total, x, target, sample_weight = steps.parameters, steps.total, steps.x, steps.target, steps.sample_weight
    order, first, last, scale, shift, rates = steps.order, steps.first, steps.last, steps.scale, steps.shift, steps.rates
    output, loss, derivative = runs[0].output, runs[0].loss_formula, runs[0].loss_derivative
    loss_numbers = steps.loss_numbers
    short_loops()
    address = arena.ctypes.data
    L, inputs, constant_one, n_inputs, numbers = layers.shape[0], 2 * LANES, LANES, x.shape[1], x.reshape(x.size)
    one = parameters.dtype.type(1)
    arena[constant_one] = one
    reached = last
    pack(parameters, layers, arena)
    for i in range(first, last):
        row = order[i]
        if i + 1 < last:
            prefetch(x, order[i + 1] * n_inputs)
        gather_row(numbers, U(row * n_inputs), n_inputs, scale, shift, arena, U(inputs))

        below = inputs
        for index in range(L):
            w, K, z, a = layers[index].w, layers[index].n_in, layers[index].z, layers[index].a
            weighted_sum(arena, w, arena, below, K, w + K * LANES, z, z)
            if index + 1 < L:  # the slopes now, while the next sums are waited for
                slope = layers[index].slope
                call_activate(layers[index].activate, address + SIZE * z, address + SIZE * a, address + SIZE * slope, LANES)
                below = a

        N, z, d = U(layers[L - 1].n_out), U(layers[L - 1].z), U(layers[L - 1].delta)
        weight = sample_weight[row] if sample_weight.shape[0] > 0 else one
        row_loss, correct = loss_of_row(arena, z, d, N, target, row, weight, output, loss, derivative, loss_numbers)
        if not math.isfinite(row_loss):
            reached = -(i + 1)
            break
        total[LOSS_SUM] += weight * row_loss
        total[CORRECT] += weight * correct
        total[WEIGHT_SUM] += weight
        total[ROWS] += 1.0

        factor = -rates[min(i - first, rates.shape[0] - 1), 0]
        for index in range(L - 1, -1, -1):
            K, N, w, delta = layers[index].n_in, layers[index].n_out, layers[index].w, layers[index].delta
            below = inputs
            if index > 0:  # delta of the layer before, from the weights before they change
                below, across, before = layers[index - 1].a, layers[index].across, layers[index - 1].delta
                weighted_sum_times(arena, across, arena, delta, N, 0, layers[index - 1].slope, before)
                update_across(arena, across, arena, delta, N, arena, below, factor)
            update_rows(arena, w, arena, below, K, arena, delta, factor)
            update_rows(arena, w + K * LANES, arena, constant_one, 1, arena, delta, factor)
    unpack(parameters, layers, arena)
    return reached
