"""A whole network behind function pointers of C: what embedded.py does, with pointers for arrays and one handle for state and scratch.

A handle is a record of the addresses of the arrays of a State and of a scratch. What can be checked gives a NaN and changes
nothing: null pointers, numbers of rows that cannot be, class numbers out of range. Where another pointer points to, nobody can check.
"""

import numpy as np
from numba import carray

from fastmlp.compilation.decorators import kernel
from fastmlp.compilation.intrinsics import pointer
from fastmlp.compilation.record_types import record
from fastmlp.kernels.embedded import (
    INPUT_ROWS,
    NETWORK,
    RATES,
    State,
    check_rows,
    gradient_of_inputs,
    mean_loss,
    outputs_of,
    outputs_of_each,
    train_on,
)
from fastmlp.kernels.textbook_step import LAYER

# A handle: the addresses of the arrays of a State, and of a scratch.
HANDLE = record(" ".join((*State._fields, "scratch")))

NUMBER = np.dtype(np.float32)  # the type of the parameters; forms.with_constant makes the form for another one


MOST_ROWS = 2**40  # more are no number of rows, but what stood there by chance


@kernel(inner=True, counted=True)
def is_null(pointer):
    """Return whether a pointer to numbers is null."""
    return carray(pointer, 1).ctypes.data == 0


@kernel(inner=True, counted=True)
def is_wrong(handle, x, rows):
    """Return whether a handle or rows cannot be what they should be."""
    return carray(handle, 1, HANDLE).ctypes.data == 0 or is_null(x) or rows < 1 or rows > MOST_ROWS


@kernel(inner=True, counted=True)
def network_at(handle):
    """Return the record of the network that a handle points to."""
    return carray(pointer(carray(handle, 1, HANDLE)[0].network), 1, NETWORK)[0]


@kernel(inner=True, counted=True)
def state_at(handle):
    """Return the state that a handle points to."""
    at, network = carray(handle, 1, HANDLE)[0], network_at(handle)
    P, K = network.n_parameters, network.n_inputs
    return State(
        carray(pointer(at.parameters), P, NUMBER),
        carray(pointer(at.layers), network.n_layers, LAYER),
        carray(pointer(at.inputs), (INPUT_ROWS, K), NUMBER),
        carray(pointer(at.offsets), K, np.float64),
        carray(pointer(at.moments), (network.n_moments, P), NUMBER),
        carray(pointer(at.rates), RATES, np.float64),
        carray(pointer(at.steps), 1, np.int64),
        carray(pointer(at.loss_numbers), 1, np.float64),
        carray(pointer(at.network), 1, NETWORK),
    )


@kernel(inner=True, counted=True)
def scratch_at(handle):
    """Return the scratch that a handle points to."""
    return carray(pointer(carray(handle, 1, HANDLE)[0].scratch), network_at(handle).scratch_size, NUMBER)


@kernel
def c_predict(handle, x, out):
    """out = outputs of the network for one row. x: K numbers -> out: N numbers."""
    if is_wrong(handle, x, 1) or is_null(out):
        return
    network = network_at(handle)
    outputs_of(state_at(handle), scratch_at(handle), carray(x, network.n_inputs), carray(out, network.n_outputs))


@kernel
def c_predict_batch(handle, x, rows, out):
    """out[m] = outputs of the network for row x[m]. x: rows K numbers -> out: rows N numbers."""
    if is_wrong(handle, x, rows) or is_null(out):
        return
    network = network_at(handle)
    outputs_of_each(state_at(handle), scratch_at(handle), carray(x, (rows, network.n_inputs)), carray(out, (rows, network.n_outputs)))


@kernel(inner=True, counted=True)
def rows_at(handle, x, target, rows):
    """Return x (rows, K) and target (rows, T) as arrays."""
    network = network_at(handle)
    return carray(x, (rows, network.n_inputs)), carray(target, (rows, network.n_targets))


@kernel(inner=True, counted=True)
def is_refused(handle, x, target, rows):
    """Return whether there is nothing to learn from: null pointers, a number of rows that cannot be, class numbers out of range."""
    if is_wrong(handle, x, rows) or is_null(target):
        return True
    inputs, targets = rows_at(handle, x, target, rows)
    scratch = scratch_at(handle)
    return check_rows(state_at(handle), scratch, inputs, targets, scratch[:0]) != 0


@kernel
def c_loss(handle, x, target, rows):
    """Return the mean loss of the rows. x: rows K numbers, target: rows T numbers."""
    if is_refused(handle, x, target, rows):
        return np.nan
    inputs, targets = rows_at(handle, x, target, rows)
    scratch = scratch_at(handle)
    return mean_loss(state_at(handle), scratch, inputs, targets, scratch[:0], scratch[:0])


@kernel
def c_gradient(handle, x, target, rows, out):
    """Return the mean loss of the rows; out = its derivative with respect to the parameters: P numbers."""
    if is_refused(handle, x, target, rows) or is_null(out):
        return np.nan
    inputs, targets = rows_at(handle, x, target, rows)
    scratch = scratch_at(handle)
    return mean_loss(state_at(handle), scratch, inputs, targets, scratch[:0], carray(out, network_at(handle).n_parameters))


@kernel
def c_input_gradient(handle, x, target, rows, out):
    """Return the mean loss of the rows; out[m] = derivative of the loss of row m with respect to that row: rows K numbers."""
    if is_refused(handle, x, target, rows) or is_null(out):
        return np.nan
    inputs, targets = rows_at(handle, x, target, rows)
    return gradient_of_inputs(state_at(handle), scratch_at(handle), inputs, targets, carray(out, inputs.shape))


@kernel
def c_train_step(handle, x, target, rows, learning_rate):
    """Take one step of the state's optimizer on the rows; return the mean loss before it."""
    if is_refused(handle, x, target, rows):
        return np.nan
    inputs, targets = rows_at(handle, x, target, rows)
    scratch = scratch_at(handle)
    return train_on(state_at(handle), scratch, inputs, targets, scratch[:0], learning_rate)


@kernel
def c_value(count, x, handle):
    """Return the first output of the network for one row of float64 numbers; NaN where it takes another number of inputs.

    x: count numbers. The order of arguments is that of integrands in SciPy and in GSL's Monte Carlo routines.
    """
    if is_wrong(handle, x, 1):
        return np.nan
    network, scratch = network_at(handle), scratch_at(handle)
    if count != network.n_inputs:
        return np.nan
    at = network.gradient_at
    out = scratch[at : at + network.n_outputs]
    outputs_of(state_at(handle), scratch, carray(x, network.n_inputs), out)
    return np.float64(out[0])
