"""What a network keeps ready to compute with: programs of the kernels, none of them part of its state."""

from typing import Any, NamedTuple

import numpy as np

from fastmlp import machine
from fastmlp.engines import choice
from fastmlp.engines.choice import FORWARD_ROWS, Program, TiledProgram, tiles_pay
from fastmlp.engines.program import RowProgram
from fastmlp.kernels.losses import loss_for
from fastmlp.network.arrays import BYTES_AS_FLOATS
from fastmlp.preprocessing import targets
from fastmlp.preprocessing.inputs import InputScaling
from fastmlp.settings import TrainingSettings

KEPT_PARAMETERS = 65_536  # of networks of up to so many, what gives their outputs is kept ready


class _Row(NamedTuple):
    """What the fast path for one row keeps ready; the numbers of an input type are its limits (2,), scale and shift (K,)."""

    input_scaling: InputScaling | None
    program: RowProgram
    shape: tuple[int]
    dtype: np.dtype
    of_floats: tuple[np.ndarray, np.ndarray, np.ndarray] | None  # None where the general path must move them first
    of_bytes: tuple[np.ndarray, np.ndarray, np.ndarray]


class Programs:
    """The programs of one network, made when they are needed. One in use is taken away, so that a second thread makes its own."""

    def __init__(self) -> None:
        self._row: _Row | None = None
        self._outputs: tuple[Any, TiledProgram] | None = None
        self._gradient: tuple[Any, ...] | None = None

    def row_outputs(self, network: Any, x: Any) -> np.ndarray | None:
        """Return z (N,) of one contiguous row by the fast path; None if the general path must handle it."""
        row = self._row
        if row is None or row.input_scaling is not network._input_scaling:
            if getattr(x, "shape", None) != network.sizes[:1]:  # what follows is for rows, and takes a moment
                return None
            row = self._row = _row_of(network)
        if type(x) is not np.ndarray or x.shape != row.shape:
            return None
        numbers = row.of_floats if x.dtype == row.dtype else row.of_bytes if x.dtype == np.uint8 else None
        if numbers is None or not x.flags.c_contiguous or not x.flags.writeable:
            return None
        z: np.ndarray | None = row.program.outputs(
            network._parameters, x, *numbers, network._running_stats
        )  # views of them would take as long
        return z

    def outputs(self, network: Any, rows: np.ndarray, kernels: str = TrainingSettings.kernels, threads: int | None = None) -> np.ndarray:
        """Return z (n, N) of rows as Network.rows_for_kernels gives them."""
        n, threads = rows.shape[0], machine.threads(threads)
        out = np.empty((n, network.n_outputs), network.dtype)
        scale, shift = network.scale_and_shift_of_rows(rows.dtype == np.uint8)
        block = max(1, min(n, FORWARD_ROWS))
        norm = _norm_of_inference(network)
        key = (block, threads, kernels, norm)
        kept, self._outputs = self._outputs, None
        if kept is not None and kept[0] == key:
            program: Program | TiledProgram = kept[1]
        else:
            activations = network.hidden_activations
            program = choice.choose(choice.Wanted(network.sizes, activations, network.dtype, block, threads, kernels, norm))
        at_once = n if isinstance(program, TiledProgram) else block  # tiles go through blocks themselves, once the weights are packed
        for first in range(0, n, at_once):
            last = min(first + at_once, n)
            program.outputs(network.parameters, rows, first, last, scale, shift, out[first:last], network.running_stats)
        if isinstance(program, TiledProgram):  # it has a copy of the weights
            kept = (key, program) if network.parameters.size <= KEPT_PARAMETERS and not program.has_threads else None
        self._outputs = kept
        return out

    def gradient(self, network: Any, rows: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the gradient (P,) of the mean loss over rows and targets as kernels take them."""
        n = rows.shape[0]
        numbers = targets.loss_numbers(network.loss, network.loss_parameter, network.target_scaling, "loss")
        # of batch normalisation, a gradient takes mean and variance of all the rows
        block = min(n, FORWARD_ROWS) if tiles_pay(network.sizes, n) and network.normalization != "batch" else n
        key = (block, network.loss, rows.dtype, numbers.size)
        kept, self._gradient = self._gradient, None
        if kept is None or kept[0] != key or kept[1] is not network.input_scaling:
            program = _gradient_program(network, block, numbers.size > 1)
            kept = (key, network.input_scaling, program, *network.scale_and_shift_of_rows(rows.dtype == np.uint8))
        _, _, program, scale, shift = kept
        given = (network.parameters, rows, target, scale, shift, 1.0 / n, numbers)
        gradient: np.ndarray
        _, gradient = program.gradient(*given, network.running_stats) if isinstance(program, Program) else program.gradient(*given)
        self._gradient = kept
        return gradient


def _row_of(network: Any) -> _Row:
    """Return what the fast path for one row needs, until the scaling of inputs changes."""
    scaling = network.input_scaling
    program = RowProgram(network.sizes, network.hidden_activations, network.dtype, _norm_of_inference(network))
    largest = np.finfo(network.dtype).max  # what is not finite lies beyond it
    lowest, highest = network.input_limits
    highest = BYTES_AS_FLOATS[1] if network.is_of_fractions else highest  # beyond, rows are looked at as a whole
    limits = np.clip(np.array([lowest, highest]), -largest, largest).astype(network.dtype)
    is_moved = scaling is not None and scaling.offset(network.n_inputs, network.dtype) is not None
    of_floats = None if is_moved else (limits, *network.scale_and_shift_of_rows(False))
    of_bytes = (np.array([0, 255], network.dtype), *network.scale_and_shift_of_rows(True))
    return _Row(scaling, program, (network.n_inputs,), network.dtype, of_floats, of_bytes)


def _gradient_program(network: Any, rows: int, scaled: bool) -> Program | TiledProgram:
    form = loss_for(network.loss, network.output).form
    layers = (network.sizes, network.hidden_activations, network.dtype, rows, machine.usable_cores())
    return choice.choose_for_gradient(choice.Wanted(*layers, norm=network.normalization, loss=form, scaled=scaled))


def _norm_of_inference(network: Any) -> str:
    """Return what normalises hidden sums when outputs are asked for, by its name in normalised.NORMS."""
    return "running" if network.normalization == "batch" else network.normalization
