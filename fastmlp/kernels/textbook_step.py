"""Runs of training steps, gradients and outputs of a network of any depth, composed of the kernels of textbook.py.

A network reaches compiled code as one flat vector of parameters and one record for each layer, so that no size and no depth compiles
anything anew. Activations and losses are called by the addresses in the records.
"""

import numpy as np
from numba import types

from fastmlp.compilation.calls import block_call
from fastmlp.compilation.decorators import kernel
from fastmlp.compilation.record_types import record
from fastmlp.kernels.normalisation import DBETA, DGAMMA, MEAN
from fastmlp.kernels.textbook import (
    ADDS,
    average_weights,
    count_correct,
    dense_backward_input,
    dense_backward_parameters,
    dense_forward,
    dense_sgd_update,
    gather,
    rates_of_biases,
)
from fastmlp.kernels.updates import RATES

# A layer. Sizes; offsets into the parameters, of weights and biases, and into the scratch, of z, a, delta and `out`, what the next layer
# reads: a, after dropout. Addresses of f and f', as kernels over arrays (activate, activate_backward) and as formulas of single numbers.
# The output layer's activation is part of its loss: a and the addresses are not read there. Address of textbook.drop, 0 for none, and how:
# see regularisation.Draw.
# Where the sums of a layer are normalised, there follow addresses of the blocks of normalised.py, 0 where they are not (track: where
# nothing is tracked); gamma, an offset into the parameters; offsets into the scratch: hat (M, N), the sums, then normalised; `moments` and
# `running`: see there; running means and variances the caller puts there and takes from there. The layer is one panel of `width` units.
LAYER = record(
    """n_in n_out weight bias z a delta out activate activate_backward drop key threshold
       normalise scale_backward normalise_backward track gamma hat moments running panels width row column""",
    real="factor",
)
# A run: what the output layer gives, addresses of its loss, of the formulas of it and of its derivative where a step takes one row, of the
# update (0: plain SGD), of limit_columns (0: no max-norm), and the limit; of what is left to chance in the inputs, noise, then dropout (0:
# none), and how.
RUN = record("output loss loss_formula loss_derivative update limit noise noise_key drop key threshold", real="longest deviation factor")
# What a run of steps adds up: weighted loss, rows classified correctly, weight of all rows, rows.
LOSS_SUM, CORRECT, WEIGHT_SUM, ROWS = range(4)
TOTALS = 4
SQUARES = TOTALS  # of all weights, behind the totals of an epoch in a log: see engines.wanted.Steps

call_activate = block_call(2)
call_activate_backward = block_call(3)
call_loss = block_call(6, returns=types.float64)
call_update = block_call(5)
call_draw = block_call(6)
call_limit = block_call(3)
call_norm = block_call(6)


@kernel(inner=True, counted=True)
def weight_of(vector, layer):
    """Return the weights (K, N) of a layer as a view of a flat vector (P,) of parameters or gradients."""
    K, N = layer.n_in, layer.n_out
    return vector[layer.weight : layer.weight + K * N].reshape((K, N))


@kernel(inner=True, counted=True)
def bias_of(vector, layer):
    """Return the biases (N,) of a layer as a view of a flat vector (P,) of parameters or gradients."""
    return vector[layer.bias : layer.bias + layer.n_out]


@kernel(inner=True, counted=True)
def rows_of(scratch, first, layer, M):
    """Return z, a or delta (M, N) of a layer, from `first` on, as a view of the scratch."""
    N = layer.n_out
    return scratch[first : first + M * N].reshape((M, N))


@kernel(inner=True, counted=True)
def gamma_of(vector, layer):
    """Return the scales (N,) of a normalised layer as a view of a flat vector (P,) of parameters or gradients."""
    return vector[layer.gamma : layer.gamma + layer.n_out]


@kernel(inner=True, counted=True)
def moment_of(scratch, layer, vector):
    """Return one of the vectors (N,) at `moments` of a layer as a view of the scratch."""
    first = layer.moments + vector * layer.n_out
    return scratch[first : first + layer.n_out]


@kernel(inlined=True, inner=True, counted=True)
def normalise(block, parameters, layer, M, scratch):
    """Call a block of normalised.py for all of a layer, which is one share."""
    call_norm(block, parameters, layer, np.int64(M), scratch, 0, 1)


@kernel(inner=True, counted=True)
def forward_layer(parameters, layers, index, number, x, scratch):
    """Fill z of a layer, and a = f(z) if it is hidden, for its inputs x (M, K); return what the next layer reads, of the output layer z.

    parameters (P,), layers (L,), number: of the step, which dropout depends on; scratch: z, a and out of the layer overwritten, and
    what belongs to its normalisation.
    """
    layer, M = layers[index], x.shape[0]
    z = rows_of(scratch, layer.z, layer, M)
    sums, bias = z, bias_of(parameters, layer)
    if layer.normalise != 0:  # sums without a bias, which comes after the normalisation
        sums, bias = rows_of(scratch, layer.hat, layer, M), moment_of(scratch, layer, MEAN)
        for n in range(bias.shape[0]):
            bias[n] = 0
    dense_forward(x, weight_of(parameters, layer), bias, sums)
    if layer.normalise != 0:
        normalise(layer.normalise, parameters, layer, M, scratch)
    if index + 1 == layers.shape[0]:
        return z
    a = rows_of(scratch, layer.a, layer, M)
    call_activate(layer.activate, z.reshape(z.size), a.reshape(a.size))
    if layer.drop == 0:
        return a
    dropped = rows_of(scratch, layer.out, layer, M)
    call_draw(layer.drop, a, layer.key, number, layer.threshold, layer.factor, dropped)
    return dropped


@kernel(inner=True, counted=True)
def forward(parameters, layers, number, x, scratch):
    """Fill z of every layer, and a = f(z) of every hidden layer, for the rows x (M, K) of one batch; the others: see forward_layer."""
    a = x
    for index in range(layers.shape[0]):
        a = forward_layer(parameters, layers, index, number, a, scratch)


@kernel(inner=True, counted=True)
def backward_to(parameters, layers, index, number, M, scratch):
    """Fill delta of a hidden layer, with respect to its sums, from the delta of the layer after it. Bishop 2006, eq. 5.56.

    parameters (P,), layers (L,), index: the hidden layer, number: of the step; scratch: z, a and deltas of a batch of M rows; where sums
    are normalised, dgamma and dbeta, too.
    """
    layer = layers[index]
    z, a, delta = rows_of(scratch, layer.z, layer, M), rows_of(scratch, layer.a, layer, M), rows_of(scratch, layer.delta, layer, M)
    dense_backward_input(rows_of(scratch, layers[index + 1].delta, layers[index + 1], M), weight_of(parameters, layers[index + 1]), delta)
    call_activate_backward(layer.activate_backward, delta.reshape(delta.size), z.reshape(z.size), a.reshape(a.size))
    if layer.drop != 0:
        call_draw(layer.drop, delta, layer.key, number, layer.threshold, layer.factor, delta)
    if layer.normalise != 0:
        normalise(layer.scale_backward, parameters, layer, M, scratch)
        normalise(layer.normalise_backward, parameters, layer, M, scratch)


@kernel(inner=True, counted=True)
def layer_gradient(layer, x, M, scratch, gradient):
    """Put the gradient of the parameters of one layer into its part of gradient (P,), from its inputs x (M, K) and its delta."""
    dbias = bias_of(gradient, layer)
    if layer.normalise != 0:
        dgamma, dbeta = moment_of(scratch, layer, DGAMMA), moment_of(scratch, layer, DBETA)
        of_gamma = gamma_of(gradient, layer)
        for n in range(dgamma.shape[0]):
            of_gamma[n] = of_gamma[n] + dgamma[n] if ADDS else dgamma[n]
            dbias[n] = dbias[n] + dbeta[n] if ADDS else dbeta[n]
        dbias = moment_of(scratch, layer, MEAN)  # the sums have no bias: nobody reads its gradient
    dense_backward_parameters(x, rows_of(scratch, layer.delta, layer, M), weight_of(gradient, layer), dbias)


@kernel(inner=True, counted=True)
def layer_sgd_update(parameters, layer, x, M, scratch, learning_rate):
    """Take the step of plain SGD for the parameters (P,) of one layer, from its inputs x (M, K) and its delta; store no gradient."""
    bias = bias_of(parameters, layer)
    if layer.normalise != 0:
        dgamma, dbeta = moment_of(scratch, layer, DGAMMA), moment_of(scratch, layer, DBETA)
        gamma = gamma_of(parameters, layer)
        for n in range(dgamma.shape[0]):
            gamma[n] -= learning_rate * dgamma[n]
            bias[n] -= learning_rate * dbeta[n]
        bias = moment_of(scratch, layer, MEAN)  # the sums have no bias: nobody reads it
    dense_sgd_update(weight_of(parameters, layer), bias, x, rows_of(scratch, layer.delta, layer, M), learning_rate)


@kernel(inner=True, counted=True)
def inputs_of(scratch, layers, index, M):
    """Return what a layer gets (M, K) as a view of the scratch: the batch, with which it begins, or what the layer before gives."""
    if index == 0:
        K = layers[0].n_in
        return scratch[: M * K].reshape((M, K))
    return rows_of(scratch, layers[index - 1].out, layers[index - 1], M)


@kernel(inner=True, counted=True)
def backward(parameters, layers, number, M, scratch, gradient):
    """gradient (P,) = derivative of the loss, from the batch, z and a of each layer and the delta of the last; fill the other deltas."""
    for index in range(layers.shape[0] - 1, -1, -1):
        if index > 0:
            backward_to(parameters, layers, index - 1, number, M, scratch)
        layer_gradient(layers[index], inputs_of(scratch, layers, index, M), M, scratch, gradient)


@kernel(inner=True, counted=True)
def descend(parameters, layers, number, M, scratch, learning_rate):
    """Take one step of plain SGD, from the same; store no gradient."""
    for index in range(layers.shape[0] - 1, -1, -1):
        if index > 0:
            backward_to(parameters, layers, index - 1, number, M, scratch)  # before the weights that it reads change
        layer_sgd_update(parameters, layers[index], inputs_of(scratch, layers, index, M), M, scratch, learning_rate)


@kernel
def train_steps(steps, layers, runs, scratch, gradient, batch_target, batch_weight):
    """Take one step per batch; return the row reached, or -(1 + first row of the batch) where a loss is not finite.

    steps: engines.wanted.Steps for kernels; layers (L,), runs (1,): the records above. Overwritten: scratch, gradient (P,)
    or (0,), batch_target (B, T), batch_weight (B,) or (0,). The running statistics of a layer normalised over the batch lie in the scratch,
    and are updated there. A batch whose loss is not finite changes nothing.
    """
    parameters, m_state, v_state, total, average = steps.parameters, steps.m_state, steps.v_state, steps.total, steps.average
    x, target, sample_weight, order, rates = steps.x, steps.target, steps.sample_weight, steps.order, steps.rates
    first, last, batch_size, scale, shift = steps.first, steps.last, steps.batch_size, steps.scale, steps.shift
    run, loss_numbers, update, limit = runs[0], steps.loss_numbers, runs[0].update, runs[0].limit
    longest = parameters.dtype.type(run.longest)
    K = x.shape[1]
    L, T = layers.shape[0], target.shape[1]
    one = parameters.dtype.type(1)
    for step in range((last - first + batch_size - 1) // batch_size):
        begin, number = first + step * batch_size, steps.first_step + step
        M = min(batch_size, last - begin)
        now = rates[min(step, rates.shape[0] - 1)]
        rows = order[begin : begin + M]
        batch = scratch[: M * K].reshape((M, K))
        gather(x, rows, scale, shift, batch)
        if run.noise != 0:
            call_draw(run.noise, batch, run.noise_key, number, 0, run.deviation, batch)
        if run.drop != 0:
            call_draw(run.drop, batch, run.key, number, run.threshold, run.factor, batch)
        weight_sum = 0.0
        for m in range(M):
            for t in range(T):
                batch_target[m, t] = target[rows[m], t]
            if batch_weight.shape[0] > 0:
                batch_weight[m] = sample_weight[rows[m]]
                weight_sum += batch_weight[m]
            else:
                weight_sum += 1.0

        forward(parameters, layers, number, batch, scratch)
        z = rows_of(scratch, layers[L - 1].z, layers[L - 1], M)
        delta = rows_of(scratch, layers[L - 1].delta, layers[L - 1], M)
        factor = one / parameters.dtype.type(M) if steps.mean else one
        batch_loss = call_loss(run.loss, z, batch_target[:M], batch_weight[:M], factor, loss_numbers, delta)
        if not np.isfinite(batch_loss):
            return -(begin + 1)
        total[LOSS_SUM] += batch_loss
        total[CORRECT] += count_correct(z, batch_target[:M], batch_weight[:M], run.output)
        total[WEIGHT_SUM] += weight_sum
        total[ROWS] += M
        for index in range(L):
            if layers[index].track != 0:
                normalise(layers[index].track, parameters, layers[index], M, scratch)

        if update == 0:
            descend(parameters, layers, number, M, scratch, now[0])
        else:
            backward(parameters, layers, number, M, scratch, gradient)
        if update != 0 and now.shape[0] == RATES:
            call_update(update, parameters, m_state, v_state, gradient, now)
        elif update != 0:
            for index in range(L):
                weight, bias = layers[index].weight, layers[index].bias
                end = bias + layers[index].n_out
                if layers[index].normalise != 0:
                    end += layers[index].n_out  # the scales lie behind the biases
                parts = parameters[weight:bias], m_state[weight:bias], v_state[weight:bias], gradient[weight:bias]
                call_update(update, parts[0], parts[1], parts[2], parts[3], now[:RATES])
                rest = parameters[bias:end], m_state[bias:end], v_state[bias:end], gradient[bias:end]
                call_update(update, rest[0], rest[1], rest[2], rest[3], rates_of_biases(now))
        if limit != 0:
            for index in range(L - 1):
                layer = layers[index]
                call_limit(limit, weight_of(parameters, layer), longest, scratch[layer.delta : layer.delta + layer.n_out])
        if average.shape[0] > 0:
            average_weights(average, parameters, now)
    return last


@kernel
def gradient_of_rows(parameters, layers, x, target, order, factor, scale, shift, loss, loss_numbers, scratch, gradient):
    """Return the summed loss of the rows order (M,); gradient = factor * its derivative with respect to the parameters.

    parameters (P,), layers (L,), x (rows, K), target (M, T), scale and shift (K,), loss: an address, loss_numbers: see textbook.py,
    scratch: space for M rows, overwritten -> gradient (P,), overwritten, laid out like the parameters.
    """
    M, K = order.shape[0], x.shape[1]
    L = layers.shape[0]
    batch = scratch[: M * K].reshape((M, K))
    gather(x, order, scale, shift, batch)
    forward(parameters, layers, 0, batch, scratch)
    z, delta = rows_of(scratch, layers[L - 1].z, layers[L - 1], M), rows_of(scratch, layers[L - 1].delta, layers[L - 1], M)
    summed = call_loss(loss, z, target, scratch[:0], factor, loss_numbers, delta)
    backward(parameters, layers, 0, M, scratch, gradient)
    return summed


@kernel
def outputs_of_rows(parameters, layers, x, order, scale, shift, scratch, out):
    """out = z of the output layer for the rows order (M,) of x.

    parameters (P,), layers (L,), x (rows, K), scale and shift (K,), scratch: space for M rows, overwritten
    -> out (M, N), overwritten.
    """
    M, K = order.shape[0], x.shape[1]
    batch = scratch[: M * K].reshape((M, K))
    gather(x, order, scale, shift, batch)
    forward(parameters, layers, 0, batch, scratch)
    z = rows_of(scratch, layers[layers.shape[0] - 1].z, layers[layers.shape[0] - 1], M)
    for m in range(M):
        for n in range(z.shape[1]):
            out[m, n] = z[m, n]


@kernel
def loss_of_outputs(loss, z, target, sample_weight, factor, loss_numbers, delta):
    """Return the summed loss of the outputs z (M, N), by the address of a loss; delta (M, N) overwritten."""
    return call_loss(loss, z, target, sample_weight, factor, loss_numbers, delta)
