"""A whole network inside other people's compiled code: outputs, loss, gradients and training steps, of any network, without allocation.

What a network is reaches these functions as arrays, in a State; what they write on the way lies in one array that the caller owns, the
scratch, one per thread. One function serves every network, and a user's function that calls it can be cached: what is long runs in
blocks, whose addresses are numbers in the State, made anew in each process, never part of the user's machine code. So the same
machine code computes everywhere, and gives the same bits from Python, from a user's function, over threads, and from C.

Rows are worked off in blocks of ROWS; each sum of a gradient runs over the rows in their order, whatever the blocks. The scratch, in
numbers of the parameters' type, begins with what textbook_step.forward wants, batch, z, a and delta of ROWS rows; then come the targets and
weights of a block, the rates of a step, a gradient (P,), and, as whole numbers, the places of the inputs of a row that are not zero.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from fastmlp.compilation.calls import address, block_call
from fastmlp.compilation.decorators import entry, formula, kernel
from fastmlp.compilation.forms import specialise, with_constant
from fastmlp.compilation.intrinsics import borrow
from fastmlp.compilation.record_types import record, record_type
from fastmlp.compilation.stamps import source_stamp
from fastmlp.kernels import updates
from fastmlp.kernels.elementary import exp
from fastmlp.kernels.rows import forward_normalised_row, forward_row
from fastmlp.kernels.textbook import EXPONENTIAL, SIGMOID, SOFTMAX, dense_backward_input, sgd_update
from fastmlp.kernels.textbook_step import (
    LAYER,
    backward,
    backward_to,
    call_loss,
    call_update,
    descend,
    forward,
    inputs_of,
    rows_of,
    weight_of,
)
from fastmlp.kernels.updates import NADAM_STEPS, Rates

ROWS = 32  # of a block: weights that do not fit into a cache are read once per block
STAMP = source_stamp()  # becomes part of a user's machine code, where that is compiled: that of a state has to equal it
U = np.uint64  # unsigned places, as in rows.py
PLACE = np.dtype(np.uint64)

# The record of a network: the stamp; sizes; what the output layer gives; bytes of a number; places in the scratch; whether whole numbers of
# any type are scaled as bytes are; addresses of blocks, of the loss and of the optimizer (0: plain SGD).
NETWORK = record(
    """stamp n_inputs n_outputs n_layers n_parameters n_targets n_moments output item_size
       targets_at weights_at rates_at gradient_at places_at scratch_size whole_as_bytes
       outputs_of_row forward add_gradients to_inputs descend loss update"""
)
# Rows of State.inputs. Floats below the first of LOWEST, above the first of HIGHEST, are taken for NaN.
SCALE, SHIFT, BYTE_SCALE, BYTE_SHIFT, LOWEST, HIGHEST = range(6)
INPUT_ROWS = 6
BYTE = np.dtype(np.uint8)

nadam_momentum, nadam_decay = formula(updates.nadam_momentum), formula(updates.nadam_decay)

LEARNING_RATE, BETA1, BETA2 = (Rates._fields.index(name) for name in ("learning_rate", "beta1", "beta2"))
CORRECTION1, CORRECTION2, CORRECTION3 = (Rates._fields.index(f"correction{number}") for number in (1, 2, 3))
RATES = len(Rates._fields)


class State(NamedTuple):
    """A network for compiled code. Holds addresses of this process: send the network to another one, and call compiled() there."""

    parameters: np.ndarray  # (P,) W0, b0, W1, b1, …: the network's own; with the scales of normalised sums W0, b0, gamma0, W1, …
    layers: np.ndarray  # (L,) textbook_step.LAYER, for batches of ROWS rows
    inputs: np.ndarray  # (INPUT_ROWS, K): an input is x * scale + shift; one pair for floats, one for bytes; the range of floats
    offsets: np.ndarray  # (K,) float64, subtracted from floats before they are rounded to the parameters' type
    moments: np.ndarray  # (2, P) optimizer state: m and v; (0, P) for plain SGD
    rates: np.ndarray  # (RATES,) float64, updates.Rates: the optimizer's numbers
    steps: np.ndarray  # (1,) int64, steps taken, which the corrections of adam, adamw and nadam depend on
    loss_numbers: np.ndarray  # (1,) float64, the number that the loss has besides: losses.Loss.parameter
    network: np.ndarray  # (1,) NETWORK

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a compiled state holds addresses of this process; send the network instead, and call its compiled() there")


# --- blocks: long, of fixed types, called by address ---------------------------------------------------------------------

call_row = block_call(5)
call_forward = block_call(5)
call_add_gradients = block_call(6)
call_to_inputs = block_call(4)
call_descend = block_call(6)


@kernel(inner=True, counted=True)
def row_outputs(parameters, layers, output, scratch, places_at):
    """Turn z of the last layer, for the input at scratch[:K], into the outputs: softmax of it, sigmoid of it, e^z, or z itself.

    parameters (P,), layers (L,), output: SOFTMAX, SIGMOID, EXPONENTIAL or IDENTITY; scratch is overwritten, from places_at on with
    whole numbers. Bishop 2006, eq. 4.104 and 4.59.
    """
    forward_row(parameters, layers, scratch, scratch[places_at:].view(PLACE))
    last = layers.shape[0] - 1
    N, z = U(layers[last].n_out), U(layers[last].z)
    one = scratch.dtype.type(1)
    if output == SOFTMAX:
        largest = scratch[z]  # not textbook.softmax: in a small network, the views and the call would take a fifth of the time
        for n in range(N):
            largest = max(largest, scratch[z + n])
        total = scratch.dtype.type(0)
        for n in range(N):
            scratch[z + n] = exp(scratch[z + n] - largest)
            total += scratch[z + n]
        for n in range(N):
            scratch[z + n] /= total
    elif output == SIGMOID:
        for n in range(N):
            scratch[z + n] = one / (one + exp(-scratch[z + n]))
    elif output == EXPONENTIAL:
        for n in range(N):
            scratch[z + n] = exp(scratch[z + n])


@kernel(inner=True, counted=True)
def to_inputs(parameters, layers, M, scratch):
    """Put into the place of a batch of M rows the derivative with respect to it, from z and a of each layer and the delta of the last."""
    for index in range(layers.shape[0] - 1, 0, -1):
        backward_to(parameters, layers, index - 1, 0, M, scratch)
    delta = rows_of(scratch, layers[0].delta, layers[0], M)
    dense_backward_input(delta, weight_of(parameters, layers[0]), inputs_of(scratch, layers, 0, M))


def block_addresses(number, normalised):
    """Return {field of NETWORK: address} of the blocks above, for parameters of a Numba type; normalised: whether sums may be."""
    flat, table, whole = types.Array(number, 1, "C"), types.Array(number, 2, "C"), types.int64
    layers = record_type(LAYER)[::1]
    row = specialise(row_outputs, "normalised", forward_row=forward_normalised_row) if normalised else row_outputs
    return {
        "outputs_of_row": address(row, flat, layers, whole, flat, whole),
        "forward": address(forward, flat, layers, whole, table, flat),
        "add_gradients": address(with_constant(backward, "ADDS", True), flat, layers, whole, whole, flat, flat),
        "to_inputs": address(to_inputs, flat, layers, whole, flat),
        "descend": address(descend, flat, layers, whole, whole, flat, number),
    }


# --- what stands between arrays as people have them and the blocks -------------------------------------------------------


@kernel(inner=True, counted=True)
def scale_of(state, x):
    """Return which row of State.inputs x is multiplied by; what is added to it is the next one."""
    if x.dtype == BYTE:
        return BYTE_SCALE
    is_whole = x.dtype.type(0.5) == 0  # known when this is compiled
    if is_whole and state.network[0].whole_as_bytes != 0:
        return BYTE_SCALE
    return SCALE


@kernel(inner=True, counted=True)
def read_row(state, x, scratch, at):
    """scratch[at + k] = (x[k] - offset[k]) * scale[k] + shift[k], for bytes by the pair for bytes, without an offset.

    NaN for what the network does not take.

    x (K,) bytes or floats -> scratch from `at` on.
    """
    first, scale = U(at), scale_of(state, x)
    nothing, lowest, highest = scratch.dtype.type(np.nan), state.inputs[LOWEST, 0], state.inputs[HIGHEST, 0]
    if scale == BYTE_SCALE:
        lowest, highest = scratch.dtype.type(0), scratch.dtype.type(255)
    for k in range(U(x.shape[0])):
        value = raw = scratch.dtype.type(x[k])
        if scale == SCALE:
            value = scratch.dtype.type(np.float64(x[k]) - state.offsets[k])
        scaled = value * state.inputs[scale, k] + state.inputs[scale + 1, k]
        scratch[first + k] = scaled if (raw >= lowest) & (raw <= highest) else nothing


@kernel(inlined=True, inner=True, counted=True)
def outputs_of(state, scratch, x, out):
    """out = outputs of the network for one row. x (K,) -> out (N,), scratch, both overwritten."""
    network = state.network[0]
    read_row(state, x, scratch, 0)
    call_row(network.outputs_of_row, state.parameters, state.layers, network.output, scratch, network.places_at)
    z = U(state.layers[network.n_layers - 1].z)
    for n in range(U(out.shape[0])):
        out[n] = scratch[z + n]


@kernel(inner=True, counted=True)
def outputs_of_each(state, scratch, x, out):
    """out[m] = outputs of the network for row x[m]. x (M, K) -> out (M, N), scratch, both overwritten."""
    for m in range(x.shape[0]):
        outputs_of(state, scratch, x[m], out[m])


@kernel(inner=True, counted=True)
def target_of(target, m, t):
    """Return target t of row m, of targets (M, T), or (M,) where T is 1."""
    if target.ndim == 1:
        return target[m]
    return target[m, t]


@kernel(inner=True, counted=True)
def loss_of_block(state, scratch, x, target, sample_weight, first, M, factor):
    """Return the sum over rows first to first + M of w l; fill batch, z and a of each layer, and factor * w * dl/dz of the last.

    x (rows, K), target (rows, T) or (rows,), sample_weight (rows,) or (0,) for ones, factor in the parameters' type; scratch is
    overwritten.
    """
    network = state.network[0]
    K, T, L, at, weights_at = network.n_inputs, network.n_targets, network.n_layers, network.targets_at, network.weights_at
    targets, weights = scratch[at : at + M * T].reshape((M, T)), scratch[weights_at : weights_at + M]
    for m in range(M):
        read_row(state, x[first + m], scratch, m * K)
        for t in range(T):
            targets[m, t] = target_of(target, first + m, t)
        weights[m] = sample_weight[first + m] if sample_weight.shape[0] > 0 else 1
    call_forward(network.forward, state.parameters, state.layers, 0, inputs_of(scratch, state.layers, 0, M), scratch)
    last = state.layers[L - 1]
    z, delta = rows_of(scratch, last.z, last, M), rows_of(scratch, last.delta, last, M)
    return call_loss(network.loss, z, targets, weights, factor, state.loss_numbers, delta)


@kernel(inner=True, counted=True)
def mean_loss(state, scratch, x, target, sample_weight, out):
    """Return 1/M times the sum over m of w[m] l[m]; out = its derivative with respect to the parameters, (0,) where nobody wants it.

    x (M, K), target (M, T) or (M,), sample_weight (M,) or (0,) for ones -> out (P,) or (0,), laid out like the parameters, and scratch,
    both overwritten.
    """
    M = x.shape[0]
    factor = scratch.dtype.type(1) / scratch.dtype.type(M)
    for p in range(out.shape[0]):
        out[p] = 0
    total = 0.0
    for first in range(0, M, ROWS):
        rows = min(ROWS, M - first)
        total += loss_of_block(state, scratch, x, target, sample_weight, first, rows, factor)
        if out.shape[0] > 0:
            call_add_gradients(state.network[0].add_gradients, state.parameters, state.layers, 0, np.int64(rows), scratch, out)
    return total / M


@kernel(inner=True, counted=True)
def gradient_of_inputs(state, scratch, x, target, out):
    """Return the mean loss of the rows; out[m] = derivative of the loss of row m with respect to x[m], as x comes: not normalised.

    x (M, K), target (M, T) or (M,) -> out (M, K), scratch, both overwritten. Bishop 2006, eq. 5.56, down to the inputs.
    """
    M, K = x.shape
    scale = scale_of(state, x)
    total = 0.0
    for first in range(0, M, ROWS):
        rows = min(ROWS, M - first)
        total += loss_of_block(state, scratch, x, target, scratch[:0], first, rows, scratch.dtype.type(1))
        call_to_inputs(state.network[0].to_inputs, state.parameters, state.layers, np.int64(rows), scratch)
        dx = inputs_of(scratch, state.layers, 0, rows)
        for m in range(rows):
            for k in range(K):
                out[first + m, k] = dx[m, k] * state.inputs[scale, k]
    return total / M


@kernel(inner=True, counted=True)
def correct(rates, fixed, step):
    """Set the corrections in rates (RATES,) to those of a step, counted from 1; fixed (RATES,): the optimizer's numbers, as in State."""
    rates[CORRECTION1] = 1.0 / (1.0 - fixed[BETA1] ** step)
    rates[CORRECTION2] = 1.0 / (1.0 - fixed[BETA2] ** step)
    if fixed[CORRECTION3] != 0.0:  # nadam
        product = 0.0
        if step < NADAM_STEPS:
            product = 1.0
            for earlier in range(1, step + 1):
                product *= nadam_momentum(nadam_decay(np.float64(earlier)), fixed[BETA1])
        momentum = nadam_momentum(nadam_decay(np.float64(step)), fixed[BETA1])
        following = nadam_momentum(nadam_decay(np.float64(step + 1)), fixed[BETA1])
        rates[CORRECTION1] = following / (1.0 - product * following)
        rates[CORRECTION3] = (1.0 - momentum) / (1.0 - product)


@kernel(inlined=True, inner=True, counted=True)
def is_rate(rate):
    """Return whether a number may be a learning rate."""
    return np.isfinite(rate) and rate >= 0


@kernel(inner=True, counted=True)
def train_on(state, scratch, x, target, sample_weight, learning_rate):
    """Take one step of the state's optimizer on the rows; return the mean of w[m] l[m] before it.

    A loss that is not finite, a rate that is not or is below 0, change nothing.

    In place: the parameters, moments and steps of the state. x (M, K), target (M, T) or (M,), sample_weight (M,) or (0,) for ones,
    learning_rate: a number; scratch is overwritten.
    """
    M, network = x.shape[0], state.network[0]
    rate = scratch.dtype.type(learning_rate)
    if not is_rate(rate):
        return np.nan
    if network.update == 0 and M <= ROWS:
        factor = scratch.dtype.type(1) / scratch.dtype.type(M)
        mean = loss_of_block(state, scratch, x, target, sample_weight, 0, M, factor) / M
        if np.isfinite(mean):
            state.steps[0] += 1
            call_descend(network.descend, state.parameters, state.layers, 0, np.int64(M), scratch, rate)
        return mean
    gradient_at, rates_at = network.gradient_at, network.rates_at
    direction = scratch[gradient_at : gradient_at + network.n_parameters]
    mean = mean_loss(state, scratch, x, target, sample_weight, direction)
    if np.isfinite(mean):
        state.steps[0] += 1
        if network.update == 0:
            sgd_update(state.parameters, direction, rate)
        else:
            rates = scratch[rates_at : rates_at + RATES]
            for i in range(RATES):
                rates[i] = state.rates[i]
            rates[LEARNING_RATE] = rate
            correct(rates, state.rates, state.steps[0])
            call_update(network.update, state.parameters, state.moments[0], state.moments[1], direction, rates)
    return mean


# What may be wrong with arguments; `refuse` says it in words.
(FITS, OTHER_VERSION, WRONG_SCRATCH, WRONG_PARAMETERS, WRONG_X, WRONG_ROWS, WRONG_OUT, WRONG_TARGET, WRONG_CLASS, WRONG_WEIGHT,
 WRONG_VECTOR, WRONG_RATE) = range(12)  # fmt: skip


@kernel(inner=True, counted=True)
def borrowed(state):
    """Return a state whose arrays are borrowed."""
    parameters, layers, inputs, moments = borrow(state.parameters), borrow(state.layers), borrow(state.inputs), borrow(state.moments)
    offsets = borrow(state.offsets)
    rates, steps, loss_numbers = borrow(state.rates), borrow(state.steps), borrow(state.loss_numbers)
    return State(parameters, layers, inputs, offsets, moments, rates, steps, loss_numbers, borrow(state.network))


@kernel(inner=True, counted=True)
def is_vector(vector, network):
    """Return whether a vector is laid out like the parameters of the network: (P,), contiguous, of their type."""
    size, item, stride = vector.shape[0], vector.itemsize, vector.strides[0]
    return (size == network.n_parameters) & (item == network.item_size) & (stride == network.item_size)


@kernel(inner=True, counted=True)
def check_state(state, scratch):
    """Return what is wrong with a state and its scratch, FITS for nothing."""
    network = state.network[0]
    fits = is_vector(state.parameters, network)
    is_scratch = (scratch.shape[0] == network.scratch_size) & (scratch.itemsize == network.item_size)
    if network.stamp != STAMP:
        return OTHER_VERSION
    if not is_scratch:
        return WRONG_SCRATCH
    if not fits:
        return WRONG_PARAMETERS
    return FITS


@kernel(inner=True, counted=True)
def check_rows(state, scratch, x, target, sample_weight):
    """Return what is wrong with a state, its scratch, and rows to learn from, FITS for nothing."""
    wrong = check_state(state, scratch)
    if wrong != FITS:
        return wrong
    network = state.network[0]
    M, T, N = x.shape[0], network.n_targets, network.n_outputs
    if M == 0 or x.shape[1] != network.n_inputs:
        return WRONG_ROWS
    if target.shape[0] != M or columns_of(target) != T:
        return WRONG_TARGET
    if network.output == SOFTMAX:  # a class number is a place in memory
        for m in range(M):
            c = target_of(target, m, 0)
            if not (c >= 0 and c < N and c == np.floor(c)):
                return WRONG_CLASS
    if sample_weight.shape[0] > 0 and sample_weight.shape[0] != M:
        return WRONG_WEIGHT
    return FITS


@kernel(inner=True, counted=True)
def columns_of(target):
    """Return T of targets (M, T), 1 for (M,)."""
    if target.ndim == 1:
        return 1
    return target.shape[1]


# --- what other people call ----------------------------------------------------------------------------------------------


@entry
def refuse(wrong):
    """Raise ValueError for what a check has found, nothing for FITS."""
    if wrong == OTHER_VERSION:
        raise ValueError("this function was compiled with other fastmlp sources than the state; remove its cache (__pycache__)")
    if wrong == WRONG_SCRATCH:
        raise ValueError("scratch: expected the array that make_scratch(state) gives, got another size or type")
    if wrong == WRONG_PARAMETERS:
        raise ValueError("parameters: expected a contiguous vector of the network's size and type")
    if wrong == WRONG_X:
        raise ValueError("x: expected one row (K,), K the network's inputs")
    if wrong == WRONG_ROWS:
        raise ValueError("x: expected rows (M, K), at least one, K the network's inputs")
    if wrong == WRONG_OUT:
        raise ValueError("out: expected (N,) for one row, (M, N) for M rows, N the network's outputs; (M, K) for the gradient of inputs")
    if wrong == WRONG_TARGET:
        raise ValueError("target: expected (M, T) for M rows of x; one class number (M,) for softmax, else one number per output")
    if wrong == WRONG_CLASS:
        raise ValueError("target: expected whole class numbers from 0 to one below the number of outputs")
    if wrong == WRONG_WEIGHT:
        raise ValueError("sample_weight: expected one number per row of x")
    if wrong == WRONG_VECTOR:
        raise ValueError("out: expected a contiguous vector laid out like the parameters, of their size and type")
    if wrong == WRONG_RATE:
        raise ValueError("learning_rate: expected a number from 0 on, finite in the parameters' type")


@entry
def checked_weight(state, scratch, x, target, sample_weight):
    """Return the weights of rows to learn from, (0,) for ones. Raises ValueError for what is wrong with any of these."""
    if sample_weight is None:
        weight = scratch[:0]
    else:
        weight = borrow(sample_weight)
    refuse(check_rows(state, scratch, x, target, weight))
    return weight


@entry
def make_scratch(state):
    """Return the array that the other functions write to on their way: make one per thread, use it for as many calls as you like."""
    if state.network[0].stamp != STAMP:
        refuse(OTHER_VERSION)
    return np.empty(state.network[0].scratch_size, state.parameters.dtype)


@entry
def with_parameters(state, parameters):
    """Return the state with other parameters (P,), for evaluating and differentiating; the optimizer's moments stay shared.

    Makes no copy. Raises ValueError for another size or type.
    """
    if not is_vector(parameters, state.network[0]):
        refuse(WRONG_PARAMETERS)
    moments, rates, steps = state.moments, state.rates, state.steps
    return State(parameters, state.layers, state.inputs, state.offsets, moments, rates, steps, state.loss_numbers, state.network)


@entry
def copy_state(state):
    """Return a state that trains by itself: parameters, moments and steps are copies."""
    moments, steps = state.moments.copy(), state.steps.copy()
    parameters = state.parameters.copy()
    return State(parameters, state.layers, state.inputs, state.offsets, moments, state.rates, steps, state.loss_numbers, state.network)


@entry
def predict(state, scratch, x, out):
    """out = outputs of the network for one row: probabilities for softmax and sigmoid, values for identity, rates after poisson.

    x (K,) bytes or floats -> out (N,), overwritten: NaN where x is not finite, or has another scale than a network takes that was trained
    on bytes (floats from 0 to 1, whole numbers from 0 to 255). Raises ValueError for other shapes.
    """
    state, scratch, x, out = borrowed(state), borrow(scratch), borrow(x), borrow(out)
    refuse(check_state(state, scratch))
    if x.shape[0] != state.network[0].n_inputs:
        refuse(WRONG_X)
    if out.shape[0] != state.network[0].n_outputs:
        refuse(WRONG_OUT)
    outputs_of(state, scratch, x, out)


@entry
def predict_batch(state, scratch, x, out):
    """out[m] = outputs of the network for row x[m]; the bits are those of `predict`.

    x (M, K) bytes or floats -> out (M, N), overwritten. Raises ValueError for other shapes.
    """
    state, scratch, x, out = borrowed(state), borrow(scratch), borrow(x), borrow(out)
    refuse(check_state(state, scratch))
    if x.shape[1] != state.network[0].n_inputs:
        refuse(WRONG_ROWS)
    if out.shape[0] != x.shape[0] or out.shape[1] != state.network[0].n_outputs:
        refuse(WRONG_OUT)
    outputs_of_each(state, scratch, x, out)


@entry
def loss(state, scratch, x, target, sample_weight=None):
    """Return the mean over the rows of weight times loss, float64.

    x (M, K), target (M, T) or, where T is 1, (M,): class numbers for softmax, zeros and ones for sigmoid, values for identity;
    sample_weight (M,). Raises ValueError for other shapes.
    """
    state, scratch, x, target = borrowed(state), borrow(scratch), borrow(x), borrow(target)
    weight = checked_weight(state, scratch, x, target, sample_weight)
    return mean_loss(state, scratch, x, target, weight, scratch[:0])


@entry
def gradient(state, scratch, x, target, out, sample_weight=None):
    """Return what `loss` returns; out = its derivative with respect to the parameters, laid out like them.

    x, target, sample_weight: as for `loss` -> out (P,), contiguous, of the parameters' type, overwritten. Raises ValueError for other
    shapes.
    """
    state, scratch, x, target, out = borrowed(state), borrow(scratch), borrow(x), borrow(target), borrow(out)
    weight = checked_weight(state, scratch, x, target, sample_weight)
    if not is_vector(out, state.network[0]):
        refuse(WRONG_VECTOR)
    return mean_loss(state, scratch, x, target, weight, out)


@entry
def train_step(state, scratch, x, target, learning_rate, sample_weight=None):
    """Take one step on the rows with the optimizer that the state was made for; return the loss before it, as `loss` does.

    Changes state.parameters, which are the network's own, in place; where the loss is not finite nothing changes.
    x, target, sample_weight: as for `loss`. Raises ValueError for other shapes, and for a learning rate that is not finite or below 0.
    """
    state, scratch, x, target = borrowed(state), borrow(scratch), borrow(x), borrow(target)
    weight = checked_weight(state, scratch, x, target, sample_weight)
    if not is_rate(scratch.dtype.type(learning_rate)):
        refuse(WRONG_RATE)
    return train_on(state, scratch, x, target, weight, learning_rate)


@entry
def input_gradient(state, scratch, x, target, out):
    """Return the mean loss; out[m] = derivative of the loss of row m with respect to that row, in the units in which x comes.

    x (M, K), target: as for `loss` -> out (M, K), overwritten. Raises ValueError for other shapes.
    """
    state, scratch, x, target, out = borrowed(state), borrow(scratch), borrow(x), borrow(target), borrow(out)
    refuse(check_rows(state, scratch, x, target, scratch[:0]))
    if out.shape[0] != x.shape[0] or out.shape[1] != x.shape[1]:
        refuse(WRONG_OUT)
    return gradient_of_inputs(state, scratch, x, target, out)
