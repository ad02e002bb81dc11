"""Runs of training steps, gradients and outputs of a network of any depth, composed of the kernels of scalar.py.

A network reaches compiled code as one flat vector of parameters and one record for each layer, so that no size and no depth compiles
anything anew. Activations and losses are called by the addresses in the records.
"""

import numpy as np
from numba import types

from fastmlp.kernels.compiling import block_call, kernel, record
from fastmlp.kernels.normalisation import (
    batch_moments,
    batch_norm_backward,
    fixed_norm_backward,
    inverse_deviations,
    layer_norm,
    layer_norm_backward,
    normalise_units,
    scale_backward,
    track_moments,
)
from fastmlp.kernels.scalar import (
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

# A layer. Sizes; offsets into the parameters, of weights and biases, and into the scratch, of z, a and delta; `dropped`: a after dropout, a
# where there is none. Addresses of f and f', as kernels over arrays (activate, activate_backward) and as formulas of single numbers. The
# output layer's activation is part of its loss: a and the addresses are not read there.
# Where the sums of a layer are normalised, there follow addresses of blocks, 0 where they are not: norm, norm_backward, track (0 where
# nothing is tracked); gamma, an offset into the parameters; offsets into the scratch: hat (M, N), the sums, then normalised; means,
# variances and inverse deviations of each unit (N,), or inverses of each row (M,); dgamma, dbeta (N,); running_means and running_variances
# (N,), which the caller puts there and takes from there.
LAYER = record(
    """n_in n_out weight bias z a delta dropped activate activate_backward formula derivative
       norm norm_backward track gamma hat means variances inverses dgamma dbeta running_means running_variances"""
)
# What is left to chance: address of the kernel (0: none), and what it is told: see regularisation.Draw. Noise on the inputs comes first,
# then dropout of inputs, then of each hidden layer; no records where nothing is left to chance.
DRAW = record("block key threshold number")
NOISE_ROW, INPUTS_ROW, UNITS_ROW = range(3)
# A run: what the output layer gives, addresses of its loss, of the formulas of it and of its derivative where a step takes one row, of the
# update (0: plain SGD), of limit_columns (0: no max-norm), and the limit.
RUN = record("output loss loss_formula loss_derivative update limit", real="longest")
# What a run of steps adds up: weighted loss, rows classified correctly, weight of all rows, rows.
LOSS_SUM, CORRECT, WEIGHT_SUM, ROWS = range(4)
TOTALS = 4
SQUARES = TOTALS  # of all weights, behind the totals of an epoch in a log: see program.Steps

call_activate = block_call(2)
call_activate_backward = block_call(3)
call_loss = block_call(6, returns=types.float64)
call_update = block_call(5)
call_draw = block_call(6)
call_limit = block_call(3)
call_norm = block_call(4)


@kernel
def weight_of(vector, layer):
    """Return the weights (K, N) of a layer as a view of a flat vector (P,) of parameters or gradients."""
    K, N = layer.n_in, layer.n_out
    return vector[layer.weight : layer.weight + K * N].reshape((K, N))


@kernel
def bias_of(vector, layer):
    """Return the biases (N,) of a layer as a view of a flat vector (P,) of parameters or gradients."""
    return vector[layer.bias : layer.bias + layer.n_out]


@kernel
def rows_of(scratch, first, layer, M):
    """Return z, a or delta (M, N) of a layer, from `first` on, as a view of the scratch."""
    N = layer.n_out
    return scratch[first : first + M * N].reshape((M, N))


@kernel
def gamma_of(vector, layer):
    """Return the scales (N,) of a normalised layer as a view of a flat vector (P,) of parameters or gradients."""
    return vector[layer.gamma : layer.gamma + layer.n_out]


@kernel
def units_of(scratch, first, layer):
    """Return what normalisation keeps of each unit (N,) of a layer, from `first` on, as a view of the scratch."""
    return scratch[first : first + layer.n_out]


@kernel
def forward_layer(parameters, layers, index, x, scratch):
    """Fill z of a layer, and a = f(z) if it is hidden, for its inputs x (M, K); return a, of the output layer z.

    parameters (P,), layers (L,); scratch: z and a of the layer overwritten, and what belongs to its normalisation.
    """
    layer, M = layers[index], x.shape[0]
    z = rows_of(scratch, layer.z, layer, M)
    sums, bias = z, bias_of(parameters, layer)
    if layer.norm != 0:  # sums without a bias, which comes after the normalisation
        sums, bias = rows_of(scratch, layer.hat, layer, M), units_of(scratch, layer.means, layer)
        for n in range(bias.shape[0]):
            bias[n] = 0
    dense_forward(x, weight_of(parameters, layer), bias, sums)
    if layer.norm != 0:
        call_norm(layer.norm, parameters, layer, np.int64(M), scratch)
    if index + 1 == layers.shape[0]:
        return z
    a = rows_of(scratch, layer.a, layer, M)
    call_activate(layer.activate, z.reshape(z.size), a.reshape(a.size))
    return a


@kernel
def forward(parameters, layers, x, scratch):
    """Fill z of every layer, and a = f(z) of every hidden layer, for the rows x (M, K) of one batch.

    parameters (P,), layers (L,); scratch: z and a overwritten.
    """
    a = x
    for index in range(layers.shape[0]):
        a = forward_layer(parameters, layers, index, a, scratch)


@kernel
def is_drawn(draws, row):
    """Return whether a record of what is left to chance does anything."""
    return draws.shape[0] > 0 and draws[row].block != 0


@kernel
def draw(draws, row, step, x, out):
    """out = x, changed as a record of what is left to chance says, in step 0, 1, …; x, out (M, N), which may be the same."""
    call_draw(draws[row].block, x, draws[row].key, step, draws[row].threshold, draws[row].number, out)


@kernel
def forward_by_chance(parameters, layers, draws, step, x, scratch):
    """The same as forward with units left out: DROPPED of each hidden layer is filled, too, and read by the next one."""
    a = x
    for index in range(layers.shape[0]):
        a = forward_layer(parameters, layers, index, a, scratch)
        if index + 1 < layers.shape[0] and is_drawn(draws, UNITS_ROW + index):
            dropped = rows_of(scratch, layers[index].dropped, layers[index], x.shape[0])
            draw(draws, UNITS_ROW + index, step, a, dropped)
            a = dropped


@kernel
def backward_to(parameters, layers, index, M, scratch):
    """Fill delta of a hidden layer, with respect to z, from the delta of the layer after it. Bishop 2006, eq. 5.56.

    parameters (P,), layers (L,), index: the hidden layer; scratch: z, a and deltas of a batch of M rows.
    """
    layer = layers[index]
    z, a, delta = rows_of(scratch, layer.z, layer, M), rows_of(scratch, layer.a, layer, M), rows_of(scratch, layer.delta, layer, M)
    dense_backward_input(rows_of(scratch, layers[index + 1].delta, layers[index + 1], M), weight_of(parameters, layers[index + 1]), delta)
    call_activate_backward(layer.activate_backward, delta.reshape(delta.size), z.reshape(z.size), a.reshape(a.size))


@kernel
def to_sums(parameters, layer, M, scratch):
    """Where the sums of a layer are normalised, turn its delta into that with respect to the sums; fill dgamma and dbeta, too."""
    if layer.norm != 0:
        call_norm(layer.norm_backward, parameters, layer, np.int64(M), scratch)


@kernel
def layer_gradient(layer, x, M, scratch, gradient):
    """Put the gradient of the parameters of one layer into its part of gradient (P,), from its inputs x (M, K) and its delta."""
    dbias = bias_of(gradient, layer)
    if layer.norm != 0:
        dgamma, dbeta, gamma_gradient = (
            units_of(scratch, layer.dgamma, layer),
            units_of(scratch, layer.dbeta, layer),
            gamma_of(gradient, layer),
        )
        for n in range(dgamma.shape[0]):
            gamma_gradient[n] = dgamma[n]
            dbias[n] = dbeta[n]
        dbias = units_of(scratch, layer.means, layer)  # the sums have no bias: nobody reads its gradient
    dense_backward_parameters(x, rows_of(scratch, layer.delta, layer, M), weight_of(gradient, layer), dbias)


@kernel
def layer_sgd_update(parameters, layer, x, M, scratch, learning_rate):
    """Take the step of plain SGD for the parameters (P,) of one layer, from its inputs x (M, K) and its delta; store no gradient."""
    bias = bias_of(parameters, layer)
    if layer.norm != 0:
        dgamma, dbeta, gamma = units_of(scratch, layer.dgamma, layer), units_of(scratch, layer.dbeta, layer), gamma_of(parameters, layer)
        for n in range(dgamma.shape[0]):
            gamma[n] -= learning_rate * dgamma[n]
            bias[n] -= learning_rate * dbeta[n]
        bias = units_of(scratch, layer.means, layer)  # the sums have no bias: nobody reads it
    dense_sgd_update(weight_of(parameters, layer), bias, x, rows_of(scratch, layer.delta, layer, M), learning_rate)


@kernel
def train_steps(steps, layers, draws, runs, scratch, gradient, batch_target, batch_weight):
    """Take one step per batch; return the row reached, or -(1 + first row of the batch) where a loss is not finite.

    steps: program.Steps for kernels; layers (L,), draws (L + 1,) or (0,), runs (1,): the records above. Overwritten: scratch, gradient (P,)
    or (0,), batch_target (B, T), batch_weight (B,) or (0,). The running statistics of a layer normalised over the batch lie in the scratch,
    and are updated there. A batch whose loss is not finite changes nothing.
    """
    parameters, m_state, v_state, total, average = steps.parameters, steps.m_state, steps.v_state, steps.total, steps.average
    x, target, sample_weight, order, rates = steps.x, steps.target, steps.sample_weight, steps.order, steps.rates
    first, last, batch_size, scale, shift = steps.first, steps.last, steps.batch_size, steps.scale, steps.shift
    first_step, loss_numbers, update, limit = steps.first_step, steps.loss_numbers, runs[0].update, runs[0].limit
    longest = parameters.dtype.type(runs[0].longest)
    K = x.shape[1]
    L, T = layers.shape[0], target.shape[1]
    one = parameters.dtype.type(1)
    for step in range((last - first + batch_size - 1) // batch_size):
        begin = first + step * batch_size
        M = min(batch_size, last - begin)
        now = rates[min(step, rates.shape[0] - 1)]
        rows = order[begin : begin + M]
        batch = scratch[: M * K].reshape((M, K))
        gather(x, rows, scale, shift, batch)
        for row in (NOISE_ROW, INPUTS_ROW):
            if is_drawn(draws, row):
                draw(draws, row, first_step + step, batch, batch)
        weight_sum = 0.0
        for m in range(M):
            for t in range(T):
                batch_target[m, t] = target[rows[m], t]
            if batch_weight.shape[0] > 0:
                batch_weight[m] = sample_weight[rows[m]]
                weight_sum += batch_weight[m]
            else:
                weight_sum += 1.0

        forward_by_chance(parameters, layers, draws, first_step + step, batch, scratch)
        z = rows_of(scratch, layers[L - 1].z, layers[L - 1], M)
        delta = rows_of(scratch, layers[L - 1].delta, layers[L - 1], M)
        factor = one / parameters.dtype.type(M) if steps.mean else one
        batch_loss = call_loss(runs[0].loss, z, batch_target[:M], batch_weight[:M], factor, loss_numbers, delta)
        if not np.isfinite(batch_loss):
            return -(begin + 1)
        total[LOSS_SUM] += batch_loss
        total[CORRECT] += count_correct(z, batch_target[:M], batch_weight[:M], runs[0].output)
        total[WEIGHT_SUM] += weight_sum
        total[ROWS] += M
        for index in range(L):
            if layers[index].track != 0:
                call_norm(layers[index].track, parameters, layers[index], np.int64(M), scratch)

        for index in range(L - 1, -1, -1):
            layer = layers[index]
            a = batch
            if index > 0:
                backward_to(parameters, layers, index - 1, M, scratch)  # before the weights that it reads change
                if is_drawn(draws, UNITS_ROW + index - 1):
                    delta = rows_of(scratch, layers[index - 1].delta, layers[index - 1], M)
                    draw(draws, UNITS_ROW + index - 1, first_step + step, delta, delta)
                to_sums(parameters, layers[index - 1], M, scratch)
                a = rows_of(scratch, layers[index - 1].dropped, layers[index - 1], M)
            if update == 0:
                layer_sgd_update(parameters, layer, a, M, scratch, now[0])
            else:
                layer_gradient(layer, a, M, scratch, gradient)
        if update != 0 and now.shape[0] == RATES:
            call_update(update, parameters, m_state, v_state, gradient, now)
        elif update != 0:
            for index in range(L):
                weight, bias = layers[index].weight, layers[index].bias
                end = bias + layers[index].n_out
                if layers[index].norm != 0:
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

    parameters (P,), layers (L,), x (rows, K), target (M, T), scale and shift (K,), loss: an
    address, loss_numbers: see scalar.py, scratch: space for M rows, overwritten -> gradient (P,), overwritten, laid out like the
    parameters.
    """
    M, K = order.shape[0], x.shape[1]
    L = layers.shape[0]
    batch = scratch[: M * K].reshape((M, K))
    gather(x, order, scale, shift, batch)
    forward(parameters, layers, batch, scratch)
    z, delta = rows_of(scratch, layers[L - 1].z, layers[L - 1], M), rows_of(scratch, layers[L - 1].delta, layers[L - 1], M)
    summed = call_loss(loss, z, target, scratch[:0], factor, loss_numbers, delta)
    for index in range(L - 1, -1, -1):
        layer = layers[index]
        a = batch
        if index > 0:
            backward_to(parameters, layers, index - 1, M, scratch)
            to_sums(parameters, layers[index - 1], M, scratch)
            a = rows_of(scratch, layers[index - 1].a, layers[index - 1], M)
        layer_gradient(layer, a, M, scratch, gradient)
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
    forward(parameters, layers, batch, scratch)
    z = rows_of(scratch, layers[layers.shape[0] - 1].z, layers[layers.shape[0] - 1], M)
    for m in range(M):
        for n in range(z.shape[1]):
            out[m, n] = z[m, n]


@kernel
def loss_of_outputs(loss, z, target, sample_weight, factor, loss_numbers, delta):
    """Return the summed loss of the outputs z (M, N), by the address of a loss; delta (M, N) overwritten."""
    return call_loss(loss, z, target, sample_weight, factor, loss_numbers, delta)


# --- normalisation of sums: blocks, so that only a network that has them compiles them -----------------------------------
#
# Each is called with parameters (P,), its record, M rows and the scratch, and reads and writes what belongs to the layer.


@kernel
def normalise_by_batch(parameters, layer, M, scratch):
    """Fill hat and z from the sums at hat: over the rows of the batch. One row has no variance: it is taken as in inference."""
    if M > 1:
        batch_moments(
            rows_of(scratch, layer.hat, layer, M), units_of(scratch, layer.means, layer), units_of(scratch, layer.variances, layer)
        )
        normalise_by_moments(parameters, layer, M, scratch)
    else:
        normalise_by_running(parameters, layer, M, scratch)


@kernel
def normalise_by_running(parameters, layer, M, scratch):
    """Fill hat and z from the sums at hat, by the running statistics: inference."""
    mean, variance = units_of(scratch, layer.means, layer), units_of(scratch, layer.variances, layer)
    running_mean, running_variance = units_of(scratch, layer.running_means, layer), units_of(scratch, layer.running_variances, layer)
    for n in range(mean.shape[0]):
        mean[n] = running_mean[n]
        variance[n] = running_variance[n]
    normalise_by_moments(parameters, layer, M, scratch)


@kernel
def normalise_by_moments(parameters, layer, M, scratch):
    """Fill hat and z from the sums at hat, by the means and variances at means and variances."""
    mean, inverse = units_of(scratch, layer.means, layer), units_of(scratch, layer.inverses, layer)
    inverse_deviations(units_of(scratch, layer.variances, layer), inverse)
    hat, z = rows_of(scratch, layer.hat, layer, M), rows_of(scratch, layer.z, layer, M)
    normalise_units(hat, mean, inverse, gamma_of(parameters, layer), bias_of(parameters, layer), hat, z)


@kernel
def normalise_by_layer(parameters, layer, M, scratch):
    """Fill hat and z from the sums at hat: each row over its units."""
    hat, z, inverse = (
        rows_of(scratch, layer.hat, layer, M),
        rows_of(scratch, layer.z, layer, M),
        scratch[layer.inverses : layer.inverses + M],
    )
    layer_norm(hat, gamma_of(parameters, layer), bias_of(parameters, layer), hat, inverse, z)


@kernel
def batch_backward(parameters, layer, M, scratch):
    """Turn delta from that with respect to z into that with respect to the sums; fill dgamma and dbeta."""
    delta, hat, gamma = rows_of(scratch, layer.delta, layer, M), rows_of(scratch, layer.hat, layer, M), gamma_of(parameters, layer)
    inverse, dgamma, dbeta = (
        units_of(scratch, layer.inverses, layer),
        units_of(scratch, layer.dgamma, layer),
        units_of(scratch, layer.dbeta, layer),
    )
    scale_backward(delta, hat, dgamma, dbeta)
    if M > 1:
        batch_norm_backward(delta, hat, inverse, gamma, dgamma, dbeta)
    else:
        fixed_norm_backward(delta, inverse, gamma)


@kernel
def layer_backward(parameters, layer, M, scratch):
    """Turn delta from that with respect to z into that with respect to the sums; fill dgamma and dbeta."""
    delta, hat = rows_of(scratch, layer.delta, layer, M), rows_of(scratch, layer.hat, layer, M)
    scale_backward(delta, hat, units_of(scratch, layer.dgamma, layer), units_of(scratch, layer.dbeta, layer))
    layer_norm_backward(delta, hat, scratch[layer.inverses : layer.inverses + M], gamma_of(parameters, layer))


@kernel
def track_batch(parameters, layer, M, scratch):
    """Let the running statistics follow those of the batch; one row has none."""
    if M > 1:
        mean, variance = units_of(scratch, layer.means, layer), units_of(scratch, layer.variances, layer)
        track_moments(units_of(scratch, layer.running_means, layer), units_of(scratch, layer.running_variances, layer), mean, variance, M)
