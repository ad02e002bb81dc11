"""Blocks of the textbook loops: the kernels of a network, with their formulas bound, by their addresses.

Each is compiled once for a type of numbers, whatever the network.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba import types

from fastmlp.compilation import calls, decorators, forms, record_types
from fastmlp.kernels import narrow, random, textbook, textbook_step
from fastmlp.kernels import rows as one_row
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES, loss_for
from fastmlp.kernels.normalised import NORMS
from fastmlp.kernels.updates import RULES, descend
from fastmlp.kernels.vectors import lanes_of

SQUARED_SOFTMAX = loss_for("mse", "softmax").form


def layer_blocks(activations: Sequence[str], dtype: np.dtype, interpreted: bool, back: bool = True) -> list[tuple[int, int]]:
    """Return the addresses for the activation of each layer, as layer_table takes them: zeros for the outputs, which have none.

    back: whether there is a way back.
    """
    return [_activation_blocks(name, dtype, interpreted, back) for name in activations] + [(0, 0)]


@functools.cache
def _activation_blocks(name: str, dtype: np.dtype, interpreted: bool, back: bool) -> tuple[int, int]:
    """Return the addresses of f and f' over arrays; 0 for what is not needed."""
    activation, flat = ACTIVATIONS[name], types.Array(numba.from_dtype(dtype), 1, "C")
    f, slope = decorators.formula(activation.formula), decorators.formula(activation.derivative)
    forward = forms.specialise(textbook.activate, activation.key, ACTIVATION=f)
    backward = forms.specialise(textbook.activate_backward, activation.key, ACTIVATION_DERIVATIVE=slope)
    return (
        calls.address(forward, flat, flat, interpreted=interpreted),
        calls.address(backward, flat, flat, flat, interpreted=interpreted) if back else 0,
    )


@functools.cache
def norm_blocks(norm: str, dtype: np.dtype, interpreted: bool = False) -> dict[str, int]:
    """Return the addresses of what normalises sums, by field of a record."""
    flat, layer, whole = types.Array(numba.from_dtype(dtype), 1, "C"), record_types.record_type(textbook_step.LAYER), types.int64
    of_norm = NORMS[norm].items()
    return {name: calls.address(block, flat, layer, whole, flat, whole, whole, interpreted=interpreted) for name, block in of_norm}


@functools.cache
def loss_formulas(name: str, dtype: np.dtype, interpreted: bool) -> tuple[int, int]:
    """Return the addresses of the formulas of a loss by output and of its derivative; zeros for softmax."""
    number = numba.from_dtype(dtype)
    formulas = (LOSSES[name].formula, LOSSES[name].derivative)
    first, second = (calls.address(decorators.formula(f), *(number,) * 3, interpreted=interpreted) if f else 0 for f in formulas)
    return first, second


@functools.cache
def of_form(kernel: Any, form: str) -> Any:
    """Return train_rows or train_narrow with a loss of a form: "smoothed" or "squared" of softmax, "scaled" targets, "" for all else."""
    if not form:
        return kernel
    loss_of_row = forms.specialise(one_row.loss_of_row, form, **{form.upper(): True})
    return forms.specialise(kernel, form, loss_of_row=loss_of_row)


@functools.cache
def outputs_of_normalised_row() -> Any:
    """Return outputs_of_row for networks whose sums may be normalised."""
    return forms.specialise(one_row.outputs_of_row, "normalised", forward_row=one_row.forward_normalised_row)


def _vectors_of(dtype: np.dtype) -> dict[str, Any]:
    return {"NUMBER": dtype.type, "SIZE": dtype.itemsize, "LANES": lanes_of(dtype)}


@functools.cache
def vector_block(name: str, dtype: np.dtype) -> int:
    """Return the address of an activation over vectors at addresses."""
    activation = ACTIVATIONS[name]
    f, slope = decorators.formula(activation.formula), decorators.formula(activation.derivative)
    block = forms.specialise(
        narrow.activate_vector, f"{activation.key}_{dtype.name}", ACTIVATION=f, ACTIVATION_DERIVATIVE=slope, **_vectors_of(dtype)
    )
    return calls.address(block, *(types.int64,) * 4)


@functools.cache
def train_narrow(dtype: np.dtype) -> Any:
    """Return narrow.train_narrow for vectors of a type."""
    lanes = _vectors_of(dtype)
    pack, unpack = (forms.specialise(copy, dtype.name, **lanes) for copy in (narrow.pack, narrow.unpack))
    return forms.specialise(narrow.train_narrow, dtype.name, pack=pack, unpack=unpack, **lanes)


@functools.cache
def numbered_loss_block(name: str, dtype: np.dtype, interpreted: bool = False, scaled: bool = False) -> int:
    """Return the address of a loss as a step calls it, with its numbers in an array; scaled: of standardised targets."""
    loss = LOSSES[name]
    if scaled and loss.formula is not None and loss.derivative is not None:
        formula, derivative = decorators.formula(loss.formula), decorators.formula(loss.derivative)
        kernel = forms.specialise(textbook.loss_in_units_of_y, loss.key, LOSS=formula, LOSS_DERIVATIVE=derivative)
    else:
        kernel = forms.specialise(textbook.loss_as_it_is, loss.key, LOSS_KERNEL=_loss_kernel(name))
    number = numba.from_dtype(dtype)
    flat, table, numbers = types.Array(number, 1, "C"), types.Array(number, 2, "C"), types.Array(types.float64, 1, "C")
    return calls.address(kernel, table, table, flat, number, numbers, table, interpreted=interpreted)


def _loss_kernel(name: str) -> Any:
    loss = LOSSES[name]
    if loss.formula is None or loss.derivative is None:
        kernel = textbook.softmax_squared_error if name == SQUARED_SOFTMAX else textbook.softmax_cross_entropy
        return forms.specialise(kernel, "together", powers_of_e=textbook.powers_of_e_together)
    formula, derivative = decorators.formula(loss.formula), decorators.formula(loss.derivative)
    return forms.specialise(textbook.separate_loss, loss.key, LOSS=formula, LOSS_DERIVATIVE=derivative)


@functools.cache
def update_block(name: str, dtype: np.dtype, interpreted: bool = False, limited: bool = False) -> int:
    """Return the address of an update of parameters, from limited gradients where asked for; 0 for plain SGD."""
    formula = RULES[name].formula
    if formula is None and not limited:
        return 0
    flat = types.Array(numba.from_dtype(dtype), 1, "C")
    source = textbook.limited_update if limited else textbook.update_with_state
    kernel = forms.specialise(source, name, UPDATE=decorators.formula(formula or descend))
    return calls.address(kernel, flat, flat, flat, flat, flat, interpreted=interpreted)


@functools.cache
def draw_block(name: str, dtype: np.dtype, interpreted: bool = False) -> int:
    """Return the address of textbook.drop or textbook.add_noise."""
    kernel = getattr(textbook, name)
    if kernel is textbook.add_noise:
        kernel = forms.specialise(kernel, dtype.name, HALF_NORMAL=decorators.formula(random.HALF_NORMAL[dtype.name]))
    table = numba.from_dtype(dtype)[:, ::1]
    return calls.address(kernel, table, *(types.int64,) * 3, types.float64, table, interpreted=interpreted)


@functools.cache
def limit_block(dtype: np.dtype, interpreted: bool = False) -> int:
    """Return the address of textbook.limit_columns."""
    number = numba.from_dtype(dtype)
    return calls.address(textbook.limit_columns, number[:, ::1], number, number[::1], interpreted=interpreted)
