"""A whole network behind function pointers of C: what embedded.py does, with pointers for arrays and one handle for state and scratch.

A handle is an array of int64, the addresses of the arrays of a State and of a scratch. What can be checked gives a NaN and changes
nothing: null pointers, numbers of rows that cannot be, class numbers out of range. Where another pointer points to, nobody can check.
"""

import numpy as np
from numba import carray

from fastmlp.kernels.compiling import kernel, pointer
from fastmlp.kernels.embedded import CODES as CODES_LENGTH
from fastmlp.kernels.embedded import (
    GRADIENT_AT,
    INPUT_ROWS,
    N_INPUTS,
    N_LAYERS,
    N_MOMENTS,
    N_OUTPUTS,
    N_PARAMETERS,
    N_TARGETS,
    SCRATCH_SIZE,
    State,
    check_rows,
    gradient_of_inputs,
    mean_gradient,
    mean_loss,
    outputs_of,
    outputs_of_each,
    train_on,
)
from fastmlp.kernels.embedded import RATES as RATES_LENGTH
from fastmlp.kernels.step import LAYER

# Words of a handle: addresses, in the order of State's fields, then the scratch's.
PARAMETERS, LAYERS, INPUTS, OFFSETS, MOMENTS, RATES, STEPS, LOSS_PARAMETER, CODES, SCRATCH = range(10)
WORDS = 10

NUMBER = np.dtype(np.float32)  # the type of the parameters; compiling.with_constant makes the form for another one


MOST_ROWS = 2**40  # more are no number of rows, but what stood there by chance


@kernel
def is_null(pointer):
    """Return whether a pointer to numbers is null."""
    return carray(pointer, 1).ctypes.data == 0


@kernel
def is_wrong(handle, x, rows):
    """Return whether a handle or rows cannot be what they should be."""
    return carray(handle, WORDS, np.int64).ctypes.data == 0 or is_null(x) or rows < 1 or rows > MOST_ROWS


@kernel
def codes_at(handle):
    """Return the codes (CODES,) of the state that a handle points to."""
    return carray(pointer(carray(handle, WORDS, np.int64)[CODES]), CODES_LENGTH, np.int64)


@kernel
def state_at(handle):
    """Return the state that a handle points to."""
    words, codes = carray(handle, WORDS, np.int64), codes_at(handle)
    return State(
        carray(pointer(words[PARAMETERS]), codes[N_PARAMETERS], NUMBER),
        carray(pointer(words[LAYERS]), codes[N_LAYERS], LAYER),
        carray(pointer(words[INPUTS]), (INPUT_ROWS, codes[N_INPUTS]), NUMBER),
        carray(pointer(words[OFFSETS]), codes[N_INPUTS], np.float64),
        carray(pointer(words[MOMENTS]), (codes[N_MOMENTS], codes[N_PARAMETERS]), NUMBER),
        carray(pointer(words[RATES]), RATES_LENGTH, np.float64),
        carray(pointer(words[STEPS]), 1, np.int64),
        carray(pointer(words[LOSS_PARAMETER]), 1, NUMBER),
        codes,
    )


@kernel
def scratch_at(handle):
    """Return the scratch that a handle points to."""
    words, codes = carray(handle, WORDS, np.int64), codes_at(handle)
    return carray(pointer(words[SCRATCH]), codes[SCRATCH_SIZE], NUMBER)


@kernel
def c_predict(handle, x, out):
    """out = outputs of the network for one row. x: K numbers -> out: N numbers."""
    if is_wrong(handle, x, 1) or is_null(out):
        return
    codes = codes_at(handle)
    outputs_of(state_at(handle), scratch_at(handle), carray(x, codes[N_INPUTS]), carray(out, codes[N_OUTPUTS]))


@kernel
def c_predict_batch(handle, x, rows, out):
    """out[m] = outputs of the network for row x[m]. x: rows K numbers -> out: rows N numbers."""
    if is_wrong(handle, x, rows) or is_null(out):
        return
    codes = codes_at(handle)
    outputs_of_each(state_at(handle), scratch_at(handle), carray(x, (rows, codes[N_INPUTS])), carray(out, (rows, codes[N_OUTPUTS])))


@kernel
def c_loss(handle, x, target, rows):
    """Return the mean loss of the rows. x: rows K numbers, target: rows T numbers."""
    if is_wrong(handle, x, rows) or is_null(target):
        return np.nan
    codes, state, scratch = codes_at(handle), state_at(handle), scratch_at(handle)
    inputs, targets = carray(x, (rows, codes[N_INPUTS])), carray(target, (rows, codes[N_TARGETS]))
    if check_rows(state, scratch, inputs, targets, scratch[:0]) != 0:
        return np.nan
    return mean_loss(state, scratch, inputs, targets, scratch[:0])


@kernel
def c_gradient(handle, x, target, rows, out):
    """Return the mean loss of the rows; out = its derivative with respect to the parameters: P numbers."""
    if is_wrong(handle, x, rows) or is_null(target) or is_null(out):
        return np.nan
    codes, state, scratch = codes_at(handle), state_at(handle), scratch_at(handle)
    inputs, targets = carray(x, (rows, codes[N_INPUTS])), carray(target, (rows, codes[N_TARGETS]))
    if check_rows(state, scratch, inputs, targets, scratch[:0]) != 0:
        return np.nan
    return mean_gradient(state, scratch, inputs, targets, scratch[:0], carray(out, codes[N_PARAMETERS]))


@kernel
def c_input_gradient(handle, x, target, rows, out):
    """Return the mean loss of the rows; out[m] = derivative of the loss of row m with respect to that row: rows K numbers."""
    if is_wrong(handle, x, rows) or is_null(target) or is_null(out):
        return np.nan
    codes, state, scratch = codes_at(handle), state_at(handle), scratch_at(handle)
    inputs, targets = carray(x, (rows, codes[N_INPUTS])), carray(target, (rows, codes[N_TARGETS]))
    if check_rows(state, scratch, inputs, targets, scratch[:0]) != 0:
        return np.nan
    return gradient_of_inputs(state, scratch, inputs, targets, carray(out, (rows, codes[N_INPUTS])))


@kernel
def c_train_step(handle, x, target, rows, learning_rate):
    """Take one step of the state's optimiser on the rows; return the mean loss before it."""
    if is_wrong(handle, x, rows) or is_null(target):
        return np.nan
    codes, state, scratch = codes_at(handle), state_at(handle), scratch_at(handle)
    inputs, targets = carray(x, (rows, codes[N_INPUTS])), carray(target, (rows, codes[N_TARGETS]))
    if check_rows(state, scratch, inputs, targets, scratch[:0]) != 0:
        return np.nan
    return train_on(state, scratch, inputs, targets, scratch[:0], learning_rate)


@kernel
def c_value(count, x, handle):
    """Return the first output of the network for one row of float64 numbers; NaN where it takes another number of inputs.

    x: count numbers. The order of arguments is that of integrands in SciPy and in GSL's Monte Carlo routines.
    """
    if is_wrong(handle, x, 1):
        return np.nan
    codes, scratch = codes_at(handle), scratch_at(handle)
    if count != codes[N_INPUTS]:
        return np.nan
    at = codes[GRADIENT_AT]
    out = scratch[at : at + codes[N_OUTPUTS]]
    outputs_of(state_at(handle), scratch, carray(x, codes[N_INPUTS]), out)
    return np.float64(out[0])
