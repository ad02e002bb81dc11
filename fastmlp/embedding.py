"""Networks in other people's code: as arrays and functions for their compiled functions, as function pointers for C.

state, functions = network.compiled()      for @njit, see kernels/embedded.py for each function
c = c_functions(state)                     addresses that follow the calling convention of C, and what they are declared as
handle = c_handle(state)                   what they take as their network: one per thread
"""

import ctypes
import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from fastmlp.compilation import calls, forms, options, record_types
from fastmlp.engines.addresses import layer_blocks, norm_blocks, numbered_loss_block, update_block
from fastmlp.engines.program import layer_table, output_code
from fastmlp.engines.wanted import count_parameters
from fastmlp.errors import ConfigError, DataError
from fastmlp.kernels import embedded, foreign
from fastmlp.kernels.embedded import State
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.updates import UPDATES
from fastmlp.settings import TrainingSettings, kind_of
from fastmlp.training import optimizers, rates, update_rules


class Functions(NamedTuple):
    """What can be done with a compiled state: the functions of kernels/embedded.py, the same for every network."""

    predict: Any  # (state, scratch, x, out)
    predict_batch: Any  # (state, scratch, x, out)
    loss: Any  # (state, scratch, x, target[, sample_weight]) -> mean loss
    gradient: Any  # (state, scratch, x, target, out[, sample_weight]) -> mean loss
    train_step: Any  # (state, scratch, x, target, learning_rate[, sample_weight]) -> mean loss
    input_gradient: Any  # (state, scratch, x, target, out) -> mean loss
    make_scratch: Any  # (state) -> scratch
    with_parameters: Any  # (state, parameters) -> state
    copy_state: Any  # (state) -> state


FUNCTIONS = Functions(*(getattr(embedded, name) for name in Functions._fields))


def compiled_state(
    parameters: np.ndarray, sizes: Sequence[int], activations: Sequence[str], loss: str, loss_parameter: float, inputs: np.ndarray,
    offsets: np.ndarray, optimizer: Any, norm: str = "none", limits: tuple[float, float] = (-math.inf, math.inf),
    whole_as_bytes: bool = False,
) -> State:  # fmt: skip
    """Return a network's layers as a State. Compiles the blocks that it needs, or loads them, and takes their addresses.

    parameters (P,), not copied; sizes (L + 1), activations (L - 1, of hidden layers), loss: its key in LOSSES; loss_parameter: the number
    that it has besides; inputs (4, K): scale and shift of floats, then of bytes; offsets (K,) float64: what is subtracted from floats
    before; optimizer: a name or a record such as SGD(momentum=0.9); norm: "none" or "layer", for the hidden layers. limits:
    floats beyond them give NaN; whole_as_bytes: whether whole numbers of any type are scaled as bytes are. Raises ConfigError for an
    unknown optimizer.
    """
    dtype = parameters.dtype
    given = optimizers.as_settings({"optimizer": optimizer})
    if given.pop("learning_rate", None) is not None:
        raise ConfigError(f"learning_rate: expected none, as functions.train_step takes it, got {optimizer}")
    settings = TrainingSettings.from_mapping(given, "compiled").resolved(kind_of(False, LOSSES[loss].output))
    update = update_rules.update_rule(settings, dtype)
    blocks = layer_blocks(activations, dtype, not options.JIT)
    layers, at = layer_table(sizes, blocks, embedded.ROWS, norm=norm, of_norm=norm_blocks(norm, dtype, not options.JIT))

    count, n_targets = count_parameters(sizes, norm), 1 if LOSSES[loss].output == "softmax" else sizes[-1]
    n_moments = 2 if UPDATES[update].states else 0
    lengths = {"targets_at": embedded.ROWS * n_targets, "weights_at": embedded.ROWS, "rates_at": embedded.RATES, "gradient_at": count}
    places = {}
    for name, length in lengths.items():
        places[name] = at
        at += length
    per_place = embedded.PLACE.itemsize // dtype.itemsize
    at += at % per_place  # whole numbers lie at multiples of their size
    network = {
        "stamp": embedded.STAMP, "n_inputs": sizes[0], "n_outputs": sizes[-1], "n_layers": len(layers), "n_parameters": count,
        "n_targets": n_targets, "n_moments": n_moments, "output": output_code(loss), "item_size": dtype.itemsize,
        "whole_as_bytes": whole_as_bytes, **places, "places_at": at, "scratch_size": at + per_place * max(sizes),
        **embedded.block_addresses(numba.from_dtype(dtype), norm != "none"), "loss": numbered_loss_block(loss, dtype, not options.JIT),
        "update": update_block(update, dtype, not options.JIT),
    }  # fmt: skip
    largest = np.finfo(dtype).max  # what is not finite lies beyond it
    bounds = [np.full(sizes[0], min(max(limit, -largest), largest), dtype) for limit in limits]

    moments, steps = np.zeros((n_moments, count), dtype), np.zeros(1, np.int64)
    moments[:1] = settings.initial_accumulator_value or 0.0  # of adagrad
    numbers = rates.rates(settings, 0, np.zeros(1), np.dtype(np.float64))[0]  # the learning rate is that of each step
    loss_numbers, record = np.array([loss_parameter]), record_types.filled(embedded.NETWORK, [network])
    return State(parameters, layers, np.stack([*inputs, *bounds]), offsets, moments, numbers, steps, loss_numbers, record)


# --- C -------------------------------------------------------------------------------------------------------------------

# name -> what it returns, its arguments as C declares them; `real` is float or double, the type of the parameters
_HANDLE, _X, _TARGET, _ROWS, _OUT = "void *network", "const real *x", "const real *target", "int64_t rows", "real *out"
_SIGNATURES = {
    "predict": ("void", (_HANDLE, _X, _OUT)),
    "predict_batch": ("void", (_HANDLE, _X, _ROWS, _OUT)),
    "loss": ("double", (_HANDLE, _X, _TARGET, _ROWS)),
    "gradient": ("double", (_HANDLE, _X, _TARGET, _ROWS, _OUT)),
    "train_step": ("double", (_HANDLE, _X, _TARGET, _ROWS, "double learning_rate")),
    "input_gradient": ("double", (_HANDLE, _X, _TARGET, _ROWS, _OUT)),
    "value": ("double", ("int count", "double *x", _HANDLE)),
}


class CFunction(NamedTuple):
    """A function pointer: its address, good as long as this process, how C declares its type, and the pointer for Python's ctypes."""

    address: int
    declaration: str
    ctypes: Any


class CFunctions(NamedTuple):
    """Function pointers for networks of one number type. Their first argument is the address of a CHandle, in `value` the last."""

    predict: CFunction
    predict_batch: CFunction
    loss: CFunction
    gradient: CFunction
    train_step: CFunction
    input_gradient: CFunction
    value: CFunction  # the first output, of float64 inputs: an integrand as SciPy wants it

    @property
    def header(self) -> str:
        """The declarations as the text of a C header."""
        return "\n".join(["#include <stdint.h>", *(function.declaration for function in self), ""])


@dataclasses.dataclass(frozen=True)
class CHandle:
    """A network as C gets it. One per thread: it has a scratch of its own. Keep it as long as C uses its address."""

    state: State
    scratch: np.ndarray
    record: np.ndarray  # the addresses of their arrays

    @property
    def address(self) -> int:
        """What C functions take as their network."""
        return int(self.record.ctypes.data)

    @property
    def ctypes(self) -> ctypes.c_void_p:
        """The address for Python's ctypes."""
        return ctypes.c_void_p(self.address)


def c_handle(state: State) -> CHandle:
    """Return a handle of a network for C functions. Raises DataError where the parameters are not those of the network."""
    dtype, size = state.inputs.dtype, int(state.network[0].n_parameters)
    if state.parameters.dtype != dtype or state.parameters.shape != (size,) or not state.parameters.flags.c_contiguous:
        found = f"{state.parameters.dtype} {state.parameters.shape}"
        raise DataError(f"parameters: expected a contiguous vector of {size} numbers, {dtype}, got {found}")
    scratch = np.empty(state.network[0].scratch_size, dtype)
    addresses = dict(zip(foreign.HANDLE.names or (), (array.ctypes.data for array in (*state, scratch)), strict=True))
    return CHandle(state, scratch, record_types.filled(foreign.HANDLE, [addresses]))


def c_functions(state: State) -> CFunctions:
    """Return the function pointers for networks of the state's number type; compiles them, or loads them from the cache.

    They serve every network of that type. Raises ConfigError where the compiler is switched off.
    """
    if not options.JIT:
        raise ConfigError("C functions: expected a compiler, got NUMBA_DISABLE_JIT=1; unset it")
    return _c_functions(state.inputs.dtype)


@functools.cache
def _c_functions(dtype: np.dtype) -> CFunctions:
    return CFunctions(**{name: _c_function(name, dtype) for name in CFunctions._fields})


def _c_function(name: str, dtype: np.dtype) -> CFunction:
    returns, arguments = _SIGNATURES[name]
    real = {"float32": "float", "float64": "double"}[dtype.name]
    number, c_number = numba.from_dtype(dtype), np.ctypeslib.as_ctypes_type(dtype)
    kinds = {
        "void": (types.void, None),
        "int": (types.intc, ctypes.c_int),
        "int64_t": (types.int64, ctypes.c_int64),
        "double": (types.float64, ctypes.c_double),
        "void *": (types.voidptr, ctypes.c_void_p),
        "double *": (types.CPointer(types.float64), ctypes.POINTER(ctypes.c_double)),
        "real *": (types.CPointer(number), ctypes.POINTER(c_number)),
        "const real *": (types.CPointer(number), ctypes.POINTER(c_number)),
    }
    compiled_types, c_types = zip(*(kinds[_type_of(argument)] for argument in arguments), strict=True)
    kernel = forms.with_constant(getattr(foreign, f"c_{name}"), "NUMBER", dtype)
    address = calls.c_address(kernel, *compiled_types)
    declaration = f"typedef {returns} (*fastmlp_{name})({', '.join(arguments)});".replace("real", real)
    return CFunction(address, declaration, ctypes.CFUNCTYPE(kinds[returns][1], *c_types)(address))


def _type_of(argument: str) -> str:
    """Return the type in a C declaration: "const real *x" -> "const real *"."""
    return re.sub(r"\w+$", "", argument).strip()
