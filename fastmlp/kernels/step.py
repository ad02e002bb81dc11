"""Runs of training steps, gradients and outputs of a network of any depth, composed of the kernels of scalar.py.

A network reaches compiled code as one flat vector of parameters and one table of whole numbers, a row per layer, so that no
size and no depth compiles anything anew. Activations and losses are called by the addresses in the table.
"""

import numpy as np
from numba import types

from fastmlp.kernels.compiling import block_call, kernel
from fastmlp.kernels.scalar import (
    average_weights,
    count_correct,
    dense_backward_input,
    dense_backward_parameters,
    dense_forward,
    dense_sgd_update,
    gather,
)

# Columns of the table of layers: sizes, then offsets into the parameters (WEIGHT, BIAS) and into the scratch (Z, A, DELTA),
# then the addresses of f and f', as kernels over arrays (ACTIVATE, ACTIVATE_BACKWARD) and as formulas of single numbers. The output
# layer's activation is part of its loss: A and the addresses are not read there.
N_IN, N_OUT, WEIGHT, BIAS, Z, A, DELTA, ACTIVATE, ACTIVATE_BACKWARD, FORMULA, DERIVATIVE = range(11)
COLUMNS = 11
# What a run of steps adds up: weighted loss, rows classified correctly, weight of all rows, rows.
LOSS_SUM, CORRECT, WEIGHT_SUM, ROWS = range(4)
TOTALS = 4

call_activate = block_call(2)
call_activate_backward = block_call(3)
call_loss = block_call(6, returns=types.float64)
call_update = block_call(5)


@kernel
def weight_of(vector, layer):
    """Return the weights (K, N) of a layer as a view of a flat vector (P,) of parameters or gradients."""
    K, N = layer[N_IN], layer[N_OUT]
    return vector[layer[WEIGHT] : layer[WEIGHT] + K * N].reshape((K, N))


@kernel
def bias_of(vector, layer):
    """Return the biases (N,) of a layer as a view of a flat vector (P,) of parameters or gradients."""
    return vector[layer[BIAS] : layer[BIAS] + layer[N_OUT]]


@kernel
def rows_of(scratch, layer, column, M):
    """Return z, a or delta (M, N) of a layer as a view of the scratch."""
    N = layer[N_OUT]
    return scratch[layer[column] : layer[column] + M * N].reshape((M, N))


@kernel
def forward(parameters, layers, x, scratch):
    """Fill z of every layer, and a = f(z) of every hidden layer, for the rows x (M, K) of one batch.

    parameters (P,), layers (L, COLUMNS); scratch: z and a overwritten.
    """
    M = x.shape[0]
    a = x
    for index in range(layers.shape[0]):
        layer = layers[index]
        z = rows_of(scratch, layer, Z, M)
        dense_forward(a, weight_of(parameters, layer), bias_of(parameters, layer), z)
        if index + 1 < layers.shape[0]:
            a = rows_of(scratch, layer, A, M)
            call_activate(layer[ACTIVATE], z.reshape(z.size), a.reshape(a.size))


@kernel
def backward_to(parameters, layers, index, M, scratch):
    """Fill delta of a hidden layer from the delta of the layer after it. Bishop 2006, eq. 5.56.

    parameters (P,), layers (L, COLUMNS), index: the hidden layer; scratch: z, a and deltas of a batch of M rows.
    """
    layer = layers[index]
    z, a, delta = rows_of(scratch, layer, Z, M), rows_of(scratch, layer, A, M), rows_of(scratch, layer, DELTA, M)
    dense_backward_input(rows_of(scratch, layers[index + 1], DELTA, M), weight_of(parameters, layers[index + 1]), delta)
    call_activate_backward(layer[ACTIVATE_BACKWARD], delta.reshape(delta.size), z.reshape(z.size), a.reshape(a.size))


@kernel
def train_steps(
    parameters, m_state, v_state, total, layers, x, target, sample_weight, order, first, last, batch_size, scale, shift,
    rates, mean, output, loss, loss_parameter, update, average, scratch, gradient, batch_target, batch_weight,
):  # fmt: skip
    """Take one step per batch of order[first:last]; return last, or -(1 + first row of the batch) where a loss is not finite.

    In place: parameters (P,); total (TOTALS,) is added to; m_state, v_state (P,) or (0,), average (P,) of the parameters, (0,) for none.
    layers (L, COLUMNS), x (rows, K) bytes or floats, target (rows, T), sample_weight (rows,) or (0,) for ones, order (n,) row numbers,
    scale and shift (K,), rates (steps, RATES): those of updates.Rates, step by step, mean: whether the gradient is divided by the rows of
    its batch, output: SOFTMAX, SIGMOID or IDENTITY, loss, update: addresses, update 0 for plain SGD; loss_parameter: a number of the
    parameters' type. Overwritten: scratch, gradient (P,) or (0,), batch_target (B, T), batch_weight (B,) or (0,). A batch whose loss is not
    finite changes no parameter.
    """
    K = x.shape[1]
    L, T = layers.shape[0], target.shape[1]
    one = parameters.dtype.type(1)
    for step in range((last - first + batch_size - 1) // batch_size):
        begin = first + step * batch_size
        M = min(batch_size, last - begin)
        rows = order[begin : begin + M]
        batch = scratch[: M * K].reshape((M, K))
        gather(x, rows, scale, shift, batch)
        weight_sum = 0.0
        for m in range(M):
            for t in range(T):
                batch_target[m, t] = target[rows[m], t]
            if batch_weight.shape[0] > 0:
                batch_weight[m] = sample_weight[rows[m]]
                weight_sum += batch_weight[m]
            else:
                weight_sum += 1.0

        forward(parameters, layers, batch, scratch)
        z = rows_of(scratch, layers[L - 1], Z, M)
        delta = rows_of(scratch, layers[L - 1], DELTA, M)
        factor = one / parameters.dtype.type(M) if mean else one
        batch_loss = call_loss(loss, z, batch_target[:M], batch_weight[:M], factor, loss_parameter, delta)
        if not np.isfinite(batch_loss):
            return -(begin + 1)
        total[LOSS_SUM] += batch_loss
        total[CORRECT] += count_correct(z, batch_target[:M], batch_weight[:M], output)
        total[WEIGHT_SUM] += weight_sum
        total[ROWS] += M

        for index in range(L - 1, -1, -1):
            layer = layers[index]
            a = batch
            if index > 0:
                backward_to(parameters, layers, index - 1, M, scratch)  # before the weights that it reads change
                a = rows_of(scratch, layers[index - 1], A, M)
            delta = rows_of(scratch, layer, DELTA, M)
            if update == 0:
                dense_sgd_update(weight_of(parameters, layer), bias_of(parameters, layer), a, delta, rates[step, 0])
            else:
                dense_backward_parameters(a, delta, weight_of(gradient, layer), bias_of(gradient, layer))
        if update != 0:
            call_update(update, parameters, m_state, v_state, gradient, rates[step])
        if average.shape[0] > 0:
            average_weights(average, parameters, rates[step])
    return last


@kernel
def gradient_of_rows(parameters, layers, x, target, sample_weight, order, factor, scale, shift, loss, loss_parameter, scratch, gradient):
    """Return the summed loss of the rows order (M,); gradient = factor * its derivative with respect to the parameters.

    parameters (P,), layers (L, COLUMNS), x (rows, K), target (M, T), sample_weight (M,) or (0,), scale and shift (K,), loss: an
    address, loss_parameter: its number, scratch: space for M rows, overwritten -> gradient (P,), overwritten, laid out like the parameters.
    """
    M, K = order.shape[0], x.shape[1]
    L = layers.shape[0]
    batch = scratch[: M * K].reshape((M, K))
    gather(x, order, scale, shift, batch)
    forward(parameters, layers, batch, scratch)
    z, delta = rows_of(scratch, layers[L - 1], Z, M), rows_of(scratch, layers[L - 1], DELTA, M)
    summed = call_loss(loss, z, target, sample_weight, factor, loss_parameter, delta)
    for index in range(L - 1, -1, -1):
        layer = layers[index]
        a = batch
        if index > 0:
            backward_to(parameters, layers, index - 1, M, scratch)
            a = rows_of(scratch, layers[index - 1], A, M)
        dense_backward_parameters(a, rows_of(scratch, layer, DELTA, M), weight_of(gradient, layer), bias_of(gradient, layer))
    return summed


@kernel
def outputs_of_rows(parameters, layers, x, order, scale, shift, scratch, out):
    """out = z of the output layer for the rows order (M,) of x.

    parameters (P,), layers (L, COLUMNS), x (rows, K), scale and shift (K,), scratch: space for M rows, overwritten
    -> out (M, N), overwritten.
    """
    M, K = order.shape[0], x.shape[1]
    batch = scratch[: M * K].reshape((M, K))
    gather(x, order, scale, shift, batch)
    forward(parameters, layers, batch, scratch)
    z = rows_of(scratch, layers[layers.shape[0] - 1], Z, M)
    for m in range(M):
        for n in range(z.shape[1]):
            out[m, n] = z[m, n]


@kernel
def loss_of_outputs(loss, z, target, sample_weight, factor, loss_parameter, delta):
    """Return the summed loss of the outputs z (M, N), by the address of a loss; delta (M, N) overwritten."""
    return call_loss(loss, z, target, sample_weight, factor, loss_parameter, delta)
