"""One sample a step, as the textbook's first chapter has it: the whole step in loops over flat arrays, without a batch and without views.

For a network of a dozen weights everything but the arithmetic counts: one view costs as much as the layer that it shows.
"""

import math

import numpy as np

from fastmlp.compilation.calls import LIKE_FIRST, block_call
from fastmlp.compilation.decorators import kernel
from fastmlp.compilation.forms import specialise
from fastmlp.kernels.elementary import exp, log
from fastmlp.kernels.pointwise import gather_row
from fastmlp.kernels.textbook import ONE_HOT, SIGMOID, SOFTMAX
from fastmlp.kernels.textbook_step import CORRECT, LOSS_SUM, ROWS, WEIGHT_SUM, call_activate, call_activate_backward, normalise

U = np.uint64  # unsigned places: a signed one might be negative, and each access would look whether it is
# Bound when a kernel is specialised: whether there may be layers whose sums are normalised; of the loss, whether labels are smoothed, the
# squared error is that of a softmax, targets are standardised.
NORMALISED, SMOOTHED, SQUARED, SCALED = False, False, False, False
MANY = 8  # from so many units on, a list of the inputs that are not zero pays


call_formula = block_call(3, returns=LIKE_FIRST)  # l(z, t, p)


@kernel(inner=True, counted=True)
def list_nonzero(values, first, count, places):
    """Write to places the numbers k < count for which values[first + k] is not 0, ascending; return how many. places (count,) or longer."""
    found = U(0)
    for k in range(U(count)):  # without a branch: which numbers are 0 cannot be predicted
        places[found] = k
        found += U(values[first + k] != 0)
    return found


@kernel(inner=True, counted=True)
def add_rows(parameters, w, N, values, below, places, count, out, z):
    """out[z + n] += sum over i of values[below + places[i]] * parameters[w + places[i] * N + n], for n < N, in the order of the list.

    Four rows of weights at a time: the sums are loaded and stored a quarter as often.
    """
    whole = count - count % U(4)
    for i in range(U(0), whole, U(4)):
        k0, k1, k2, k3 = places[i], places[i + U(1)], places[i + U(2)], places[i + U(3)]
        v0, v1, v2, v3 = values[below + k0], values[below + k1], values[below + k2], values[below + k3]
        w0, w1, w2, w3 = w + k0 * N, w + k1 * N, w + k2 * N, w + k3 * N
        for n in range(N):
            total = out[z + n] + v0 * parameters[w0 + n]
            total = total + v1 * parameters[w1 + n]
            total = total + v2 * parameters[w2 + n]
            out[z + n] = total + v3 * parameters[w3 + n]
    for i in range(whole, count):
        value, row = values[below + places[i]], w + places[i] * N
        for n in range(N):
            out[z + n] += value * parameters[row + n]


@kernel(inner=True, counted=True)
def forward_row(parameters, layers, scratch, places):
    """Fill z of every layer, and a = f(z) of every hidden layer, for the input at scratch[:K].

    parameters (P,), layers (L,) for batches of one row; scratch: z and a overwritten; places (largest K,): overwritten.
    """
    below = U(0)
    for index in range(layers.shape[0]):
        K, N = U(layers[index].n_in), U(layers[index].n_out)
        w, b, sums = U(layers[index].weight), U(layers[index].bias), U(layers[index].z)
        if NORMALISED and layers[index].normalise != 0:  # sums without a bias, which comes after the normalisation
            sums = U(layers[index].hat)
            for n in range(N):
                scratch[sums + n] = 0
        else:
            for n in range(N):
                scratch[sums + n] = parameters[b + n]
        if N < MANY:
            for k in range(K):
                value = scratch[below + k]
                if value != 0:
                    for n in range(N):
                        scratch[sums + n] += value * parameters[w + k * N + n]
        else:
            count = list_nonzero(scratch, below, K, places)
            add_rows(parameters, w, N, scratch, below, places, count, scratch, sums)
        if NORMALISED and layers[index].normalise != 0:
            normalise(layers[index].normalise, parameters, layers[index], 1, scratch)
        if index + 1 < layers.shape[0]:
            z, a = U(layers[index].z), U(layers[index].a)
            call_activate(layers[index].activate, scratch[z : z + N], scratch[a : a + N])
            below = a


forward_normalised_row = specialise(forward_row, "normalised", NORMALISED=True)


@kernel(reassociate=True)
def outputs_of_row(parameters, layers, x, limits, scale, shift, scratch, places, out):
    """out = z of the output layer for one row x (K,) of bytes or floats; return whether all of x lies within the limits.

    parameters (P,), layers (L,) for batches of one row, limits: the lowest and the highest (2,), scale and shift (K,); scratch
    and places (largest K,) are overwritten -> out (N,), overwritten.
    """
    lowest, highest = limits[0], limits[1]
    inside = 0  # counted: differences of a number from itself, which are NaN for what is not finite, may be taken for 0
    for k in range(x.shape[0]):
        value = parameters.dtype.type(x[k])
        inside += (value >= lowest) & (value <= highest)
        scratch[k] = value * scale[k] + shift[k]
    forward_row(parameters, layers, scratch, places)
    z = layers[layers.shape[0] - 1].z
    for n in range(out.shape[0]):
        out[n] = scratch[z + n]
    return inside == x.shape[0]


@kernel(reassociate=True, inner=True, counted=True)
def loss_of_row(scratch, z, d, N, target, row, weight, output, loss, derivative, loss_numbers):
    """Return the loss of one row and whether it is classified correctly, from its outputs; put weight * dl/dz there, too.

    scratch: the outputs (N,) from z on, overwritten: their delta (N,) from d on. The others: see train_rows.
    """
    zero, one = scratch.dtype.type(0), scratch.dtype.type(1)
    loss_parameter = scratch.dtype.type(loss_numbers[0])
    row_loss = 0.0
    correct = 0.0
    if output == SOFTMAX:
        best, largest = U(0), scratch[z]
        for n in range(U(1), N):
            value = scratch[z + n]
            best = U(n) if value > largest else best  # without a branch: which is the largest cannot be predicted
            largest = max(largest, value)
        summed = zero
        for n in range(N):
            scratch[d + n] = exp(scratch[z + n] - largest)
            summed += scratch[d + n]
        t = U(target[row, 0])
        if SQUARED:  # textbook.softmax_squared_error
            share = one / scratch.dtype.type(N)
            squares = along = zero
            for n in range(N):
                p = scratch[d + n] / summed
                e = p - loss_parameter * share - (one - loss_parameter if n == t else zero)
                squares += e * e
                along += p * e
            row_loss += share * squares
            for n in range(N):
                p = scratch[d + n] / summed
                e = p - loss_parameter * share - (one - loss_parameter if n == t else zero)
                scratch[d + n] = weight * (share + share) * p * (e - along)
        else:
            row_loss = log(summed) + (largest - scratch[z + t])
            for n in range(N):
                scratch[d + n] *= weight / summed
            scratch[d + t] -= weight
            if SMOOTHED:  # labels, by loss_parameter
                spread = loss_parameter / scratch.dtype.type(N)
                for n in range(N):
                    row_loss += spread * (scratch[z + t] - scratch[z + n])
                    scratch[d + n] -= weight * spread
                scratch[d + t] += weight * loss_parameter
        correct = 1.0 if best == t else 0.0
    elif SCALED:  # textbook.loss_in_units_of_y
        p, of_one = loss_numbers[0], 1.0 / N
        for n in range(N):
            s, mean = loss_numbers[U(1) + n], loss_numbers[U(1) + N + n]
            k, r = loss_numbers[U(1) + U(2) * N + n], loss_numbers[U(1) + U(3) * N + n]
            y, t = s * scratch[z + n] + mean, s * target[row, n] + mean
            row_loss += of_one * r * call_formula(loss, y, t, p)
            scratch[d + n] = weight * of_one * k * call_formula(derivative, y, t, p)
    else:
        share = one / scratch.dtype.type(N)
        for n in range(N):
            row_loss += share * call_formula(loss, scratch[z + n], target[row, n], loss_parameter)
            scratch[d + n] = weight * share * call_formula(derivative, scratch[z + n], target[row, n], loss_parameter)
            if output == SIGMOID and (scratch[z + n] > 0) == (target[row, n] > 0):
                correct += share
        if output == ONE_HOT:
            best = U(0)
            for n in range(U(1), N):
                best = U(n) if scratch[z + n] > scratch[z + best] else best
            correct = 1.0 if target[row, best] > 0 else 0.0
    return row_loss, correct


@kernel(reassociate=True)
def train_rows(steps, layers, runs, scratch, places):
    """Take one SGD step per row; return the row reached, or -(1 + row) at a row whose loss is not finite.

    steps: engines.wanted.Steps for kernels; layers (L,), for batches of one row, runs (1,): the records of textbook_step.py. The formulas
    of the loss are of float64 where targets are standardised, and not read where outputs are SOFTMAX. scratch and places (largest K,) are
    overwritten.
    """
    parameters, total, x, target, sample_weight = steps.parameters, steps.total, steps.x, steps.target, steps.sample_weight
    order, first, last, scale, shift, rates = steps.order, steps.first, steps.last, steps.scale, steps.shift, steps.rates
    output, loss, derivative = runs[0].output, runs[0].loss_formula, runs[0].loss_derivative
    loss_numbers = steps.loss_numbers
    L, n_inputs, inputs = layers.shape[0], x.shape[1], x.reshape(x.size)
    zero, one = parameters.dtype.type(0), parameters.dtype.type(1)
    for i in range(first, last):
        row = order[i]
        gather_row(inputs, U(row * n_inputs), n_inputs, scale, shift, scratch, U(0))
        forward_row(parameters, layers, scratch, places)

        # loss, and delta = dl/dz of the outputs
        N, z, d = U(layers[L - 1].n_out), U(layers[L - 1].z), U(layers[L - 1].delta)
        weight = sample_weight[row] if sample_weight.shape[0] > 0 else one
        row_loss, correct = loss_of_row(scratch, z, d, N, target, row, weight, output, loss, derivative, loss_numbers)
        if not math.isfinite(row_loss):
            return -(i + 1)
        total[LOSS_SUM] += weight * row_loss
        total[CORRECT] += weight * correct
        total[WEIGHT_SUM] += weight
        total[ROWS] += 1.0

        # backward and update, weight by weight: delta of the layer before is summed from the weights before they change
        rate = rates[min(i - first, rates.shape[0] - 1), 0]
        for index in range(L - 1, -1, -1):
            K, N = U(layers[index].n_in), U(layers[index].n_out)
            w, b, d = U(layers[index].weight), U(layers[index].bias), U(layers[index].delta)
            below = U(layers[index - 1].a) if index > 0 else U(0)
            if index > 0:
                before = U(layers[index - 1].delta)
                for k in range(K):
                    summed = zero
                    for n in range(N):
                        summed += scratch[d + n] * parameters[w + k * N + n]
                    scratch[before + k] = summed
                z = U(layers[index - 1].z)
                call_activate_backward(
                    layers[index - 1].activate_backward, scratch[before : before + K], scratch[z : z + K], scratch[below : below + K]
                )
            for k in range(K):
                value = scratch[below + k]
                if value != 0:
                    change = rate * value
                    for n in range(N):
                        parameters[w + k * N + n] -= change * scratch[d + n]
            for n in range(N):
                parameters[b + n] -= rate * scratch[d + n]
    return last
