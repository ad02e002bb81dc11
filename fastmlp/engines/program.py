"""A network by the textbook loops made ready to run: its records, its scratch, its compiled entry points.

Takes sizes and names, gives arrays. The one place that decides which form of the kernels runs: compiled or interpreted, serial or
over threads. That depends on sizes only, never on the number of threads, so that neither do the bits.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np

from fastmlp import machine
from fastmlp.compilation import concurrency, forms, options, record_types
from fastmlp.engines.addresses import (
    SQUARED_SOFTMAX,
    draw_block,
    layer_blocks,
    limit_block,
    loss_formulas,
    norm_blocks,
    numbered_loss_block,
    of_form,
    outputs_of_normalised_row,
    train_narrow,
    update_block,
    vector_block,
)
from fastmlp.engines.wanted import EMPTY, NO_NUMBERS, Steps, Wanted, multiply_adds, no_steps
from fastmlp.errors import ConfigError
from fastmlp.kernels import narrow, textbook, textbook_step
from fastmlp.kernels import rows as one_row
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.normalisation import MOMENT_VECTORS
from fastmlp.kernels.regularisation import Draw
from fastmlp.kernels.vectors import aligned_zeros, lanes_of

_OUTPUT_CODES = {"identity": textbook.IDENTITY, "softmax": textbook.SOFTMAX, "sigmoid": textbook.SIGMOID}
# A step with fewer multiply-adds than this is faster on one thread: starting a region costs 2 to 40 us a kernel.
PARALLEL_MULTIPLY_ADDS = 500_000
# For the outputs of a few rows, which tiles do not take: some milliseconds. Where other programs want the processors, a region lasts as
# long as one of its threads is put aside; and the parallel form is twice as much to compile.
OUTPUTS_MULTIPLY_ADDS = 32_000_000
NO_NORM: Mapping[str, int] = {}


class Program:
    """A stack of dense layers run by the textbook loops, compiled or interpreted."""

    def __init__(self, wanted: Wanted) -> None:
        w = wanted
        self.dtype = np.dtype(w.dtype)
        self.sizes, self.norm = tuple(w.sizes), w.norm
        self.rows = w.rows
        self.interpreted = w.kernels == "python"
        self.skip_zeros = w.zero_skipping != "off"
        least = OUTPUTS_MULTIPLY_ADDS if w.loss is None and w.kernels == "auto" else PARALLEL_MULTIPLY_ADDS
        over_threads = not self.interpreted and multiply_adds(w.sizes, w.rows) >= least
        self.threads = max(1, min(w.threads, machine.usable_cores(), numba.config.NUMBA_NUM_THREADS)) if over_threads else 1
        rule = w.regularisation
        has_more = w.limited or w.averages or rule.is_random or rule.max_norm is not None or w.norm != "none"
        is_plain = w.update == "sgd" and not has_more
        self.by_row = w.rows == 1 and is_plain and w.loss is not None and not over_threads
        blocks = layer_blocks(w.activations, self.dtype, self.interpreted, back=w.loss is not None)
        drops = [self._drop(rule.of_units(i)) if rule.drops_units(i) else {} for i in range(len(w.activations))]
        self.layers, size = layer_table(w.sizes, blocks, w.rows, drops, w.norm, norm_blocks(w.norm, self.dtype, self.interpreted))
        self.is_random, self.is_squared, self.averages = rule.is_random, w.loss == SQUARED_SOFTMAX, w.averages
        run = {
            "update": update_block(w.update, self.dtype, self.interpreted, w.limited), "longest": rule.max_norm or 0.0,
            "limit": 0 if rule.max_norm is None else limit_block(self.dtype, self.interpreted),
        }  # fmt: skip
        if w.loss is not None:
            run |= {"loss": numbered_loss_block(w.loss, self.dtype, self.interpreted, w.scaled), "output": output_code(w.loss, w.one_hot)}
        if self.by_row and w.loss is not None:
            of_loss = np.dtype(np.float64) if w.scaled else self.dtype
            run |= dict(zip(("loss_formula", "loss_derivative"), loss_formulas(w.loss, of_loss, self.interpreted), strict=True))
        if rule.input_noise > 0:
            noise = draw_block("add_noise", self.dtype, self.interpreted)
            run |= {"noise": noise, "noise_key": rule.of_noise().key, "deviation": rule.input_noise}
        if rule.input_dropout > 0:
            run |= self._drop(rule.of_inputs())
        self.runs = record_types.filled(textbook_step.RUN, [run])
        self.scratch = np.empty(size, self.dtype)
        self.places = np.empty(max(w.sizes), np.uint64) if self.by_row else None
        fits = max(w.sizes[1:]) <= lanes_of(self.dtype) and w.sizes[0] <= narrow.MOST_INPUTS
        in_vectors = self.by_row and fits and w.kernels == "auto" and options.JIT
        self.narrow = _narrow_table(w.sizes, w.activations, self.dtype) if in_vectors else None
        self.arena = aligned_zeros(self.narrow[1], self.dtype) if self.narrow else None

    def prepare(self, x: np.ndarray, target: np.ndarray, loss_numbers: np.ndarray = NO_NUMBERS) -> None:
        """Compile what `train` needs, or load it from the cache. Of x and target only the types are read."""
        self.train(no_steps(x, target, self.sizes, self.rows, self.dtype, self.norm)._replace(loss_numbers=loss_numbers))

    def train(self, steps: Steps) -> int:
        """Take steps; see textbook_step.train_steps. Return the row reached, or -(1 + first row of a batch whose loss is not finite)."""
        run, empty = self.runs[0], EMPTY[self.dtype]
        if self.by_row:
            is_smoothed = run.output == textbook.SOFTMAX and steps.loss_numbers[0] > 0
            form = "squared" if self.is_squared else "smoothed" if is_smoothed else "scaled" if steps.loss_numbers.size > 1 else ""
            rows = steps.for_kernels(empty, empty)
            if self.narrow is not None:
                return int(of_form(train_narrow(self.dtype), form)(rows, self.narrow[0], self.runs, self.arena))
            return int(self._entry(of_form(one_row.train_rows, form))(rows, self.layers, self.runs, self.scratch, self.places))
        batch_target = np.empty((steps.batch_size, steps.target.shape[1]), self.dtype)
        batch_weight = np.empty(0 if steps.sample_weight is None else steps.batch_size, self.dtype)
        gradient = np.empty_like(steps.parameters) if run.update else empty
        # a rule gives back what it keeps no state of as it gets it
        m_state, v_state = (state if state.size else gradient for state in (steps.m_state, steps.v_state))
        tracked = self._place_running_stats(steps.running_stats)
        try:
            with self._threads(), np.errstate(**self._wrapping()):
                row = self._entry(textbook_step.train_steps)(
                    steps.for_kernels(m_state, v_state, self.averages), self.layers, self.runs, self.scratch,
                    gradient, batch_target, batch_weight,
                )  # fmt: skip
        finally:  # an interrupt ends the steps early
            if steps.running_stats is not None:
                steps.running_stats[:] = tracked
        return int(row)

    def _drop(self, draw: Draw) -> dict[str, Any]:
        return {"drop": draw_block("drop", self.dtype, self.interpreted), **draw._asdict()}

    def _wrapping(self) -> dict[str, Any]:
        """Return what silences NumPy's warning of hashes that wrap, where they are computed interpreted."""
        return {"over": "ignore"} if self.is_random and (self.interpreted or not options.JIT) else {}

    def outputs(
        self, parameters: np.ndarray, x: np.ndarray, first: int, last: int, scale: np.ndarray, shift: np.ndarray, out: np.ndarray,
        running_stats: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """out = z of the output layer for rows first to last of x, at most `rows` of them; running_stats (S,): means, variances."""
        self._place_running_stats(running_stats)
        with self._threads():
            order = np.arange(first, last)
            self._entry(textbook_step.outputs_of_rows)(parameters, self.layers, x, order, scale, shift, self.scratch, out)

    def gradient(
        self, parameters: np.ndarray, x: np.ndarray, target: np.ndarray, scale: np.ndarray, shift: np.ndarray, factor: float,
        loss_numbers: np.ndarray, running_stats: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:  # fmt: skip
        """Return the summed loss of all rows of x, and factor times its gradient (P,); running_stats (S,): running means and variances."""
        gradient = np.empty_like(parameters)
        order = np.arange(x.shape[0])
        self._place_running_stats(running_stats)
        with self._threads():
            loss = self._entry(textbook_step.gradient_of_rows)(
                parameters, self.layers, x, target, order, self.dtype.type(factor), scale, shift, self.runs[0].loss, loss_numbers,
                self.scratch, gradient,
            )  # fmt: skip
        return float(loss), gradient

    def _place_running_stats(self, running_stats: np.ndarray | None) -> np.ndarray:
        """Put running statistics (S,) where the kernels have them, at the end of the scratch, and return that part of it."""
        count = 0 if running_stats is None else running_stats.size
        held = self.scratch[self.scratch.size - count :]
        if running_stats is not None:
            held[:] = running_stats
        return held

    def _entry(self, serial: Any) -> Any:
        if not self.skip_zeros:
            serial = forms.with_constant(serial, "SKIP_ZEROS", False)
        if self.interpreted:
            return forms.pure(serial)
        return forms.parallel(serial) if self.threads > 1 else serial

    @contextmanager
    def _threads(self) -> Iterator[None]:
        """Let parallel kernels use this program's threads, and give the caller's number back."""
        if self.threads == 1 or concurrency.forked_after_parallel():
            yield
            return
        with concurrency.one_region_at_a_time():
            try:
                before = numba.get_num_threads()
            except ValueError as error:  # the layer that NUMBA_THREADING_LAYER asks for is not there
                raise ConfigError(f"NUMBA_THREADING_LAYER: {str(error).strip().splitlines()[0]}; leave it unset") from error
            numba.set_num_threads(self.threads)
            try:
                yield
            finally:
                numba.set_num_threads(before)


def output_code(loss: str, one_hot: bool = False) -> int:
    """Return what a network predicts that was trained with a loss: SOFTMAX, SIGMOID or ONE_HOT, EXPONENTIAL or IDENTITY of z."""
    if one_hot and LOSSES[loss].output == "sigmoid":
        return textbook.ONE_HOT
    return textbook.EXPONENTIAL if LOSSES[loss].link == "log" else _OUTPUT_CODES[LOSSES[loss].output]


def loss_of_outputs(
    loss: str, numbers: np.ndarray, z: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None, kernels: str = "auto",
    one_hot: bool = False,
) -> tuple[float, float]:  # fmt: skip
    """Return the summed loss, by its key and its numbers, of outputs z (M, N), and how many rows are classified correctly.

    numbers: see textbook.py; sample_weight (M,): as how many rows each counts, in both; None: as one. one_hot: see Program.
    """
    weight = EMPTY[z.dtype] if sample_weight is None else sample_weight
    summed, correct = textbook_step.loss_of_outputs, textbook.count_correct
    if kernels == "python":
        summed, correct = forms.pure(summed), forms.pure(correct)
    address = numbered_loss_block(loss, z.dtype, kernels == "python", numbers.size > 1)
    total = summed(address, z, target, weight, z.dtype.type(0), numbers, np.empty_like(z))
    return float(total), float(correct(z, target, weight, output_code(loss, one_hot)))


def delta_of_outputs(loss: str, numbers: np.ndarray, z: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the derivative (M, N) of the summed loss, by its key and its numbers, with respect to outputs z (M, N)."""
    delta = np.empty_like(z)
    address = numbered_loss_block(loss, z.dtype, scaled=numbers.size > 1)
    textbook_step.loss_of_outputs(address, z, target, EMPTY[z.dtype], z.dtype.type(1), numbers, delta)
    return delta


class RowProgram:
    """The same layers for the outputs of one row at a time, from Python: everything but the arithmetic is as little as it can be."""

    def __init__(self, sizes: Sequence[int], activations: Sequence[str], dtype: np.dtype, norm: str = "none") -> None:
        blocks = layer_blocks(activations, dtype, interpreted=False, back=False)
        self._layers, self._size = layer_table(sizes, blocks, 1, norm=norm, of_norm=norm_blocks(norm, dtype))
        self._n_outputs, self._most_inputs = sizes[-1], max(sizes[:-1])
        self._kernel = outputs_of_normalised_row() if norm != "none" else one_row.outputs_of_row
        self._dtype = dtype

    def outputs(
        self, parameters: np.ndarray, x: np.ndarray, limits: np.ndarray, scale: np.ndarray, shift: np.ndarray, running_stats: np.ndarray
    ) -> np.ndarray | None:
        """Return z (N,) of the output layer for one contiguous row x (K,); None where a number of it lies outside of the limits (2,).

        limits: of the parameters' type; running_stats (S,) of batch normalisation.
        """
        out, scratch = np.empty(self._n_outputs, self._dtype), np.empty(self._size, self._dtype)
        if running_stats.size:
            scratch[self._size - running_stats.size :] = running_stats
        places = np.empty(self._most_inputs, np.uint64)  # made for each call: two threads may predict at once
        return out if self._kernel(parameters, self._layers, x, limits, scale, shift, scratch, places, out) else None


def layer_table(
    sizes: Sequence[int], blocks: Sequence[tuple[int, ...]], rows: int, drops: Sequence[Mapping[str, Any]] = (), norm: str = "none",
    of_norm: Mapping[str, int] = NO_NORM,
) -> tuple[np.ndarray, int]:  # fmt: skip
    """Return the records of layers (L,) that textbook_step.py reads, and the size of the scratch for batches of `rows` rows.

    blocks: addresses for the activation of each layer; drops: how units of each hidden layer are left out, () for none; norm: one of NORMS,
    for the hidden layers, of_norm: its addresses. Running statistics are the last of the scratch: mean and variance, layer by layer.
    """
    layers: list[dict[str, Any]] = []
    parameter, scratch = 0, rows * sizes[0]  # the scratch begins with the batch itself

    def take(count: int) -> int:
        nonlocal scratch
        scratch += count
        return scratch - count

    for index, (k, n, addresses) in enumerate(zip(sizes, sizes[1:], blocks, strict=False)):
        z, a, delta = (take(rows * n) for _ in range(3))
        drop = drops[index] if index < len(drops) else {}
        out = take(rows * n) if drop else a
        layer = {"n_in": k, "n_out": n, "weight": parameter, "bias": parameter + k * n, "z": z, "a": a, "delta": delta, "out": out}
        layers.append(layer | {**drop} | dict(zip(("activate", "activate_backward"), addresses, strict=True)))
        parameter += k * n + n
        if norm != "none" and index + 2 < len(sizes):
            panel = {"panels": 1, "width": n, "row": n, "column": n}
            layers[-1] |= {**of_norm, **panel, "gamma": parameter, "hat": take(rows * n), "moments": take(MOMENT_VECTORS * n)}
            parameter += n
    if norm != "none":
        for layer, n in zip(layers, sizes[1:-1], strict=False):
            layer["running"] = take(rows if norm == "layer" else 2 * n)
    return record_types.filled(textbook_step.LAYER, layers), scratch


def _narrow_table(sizes: Sequence[int], activations: Sequence[str], dtype: np.dtype) -> tuple[np.ndarray, int]:
    """Return the records of layers (L,) that narrow.py reads, and the size of the arena."""
    blocks = [vector_block(name, dtype) for name in activations] + [0]
    lanes = lanes_of(dtype)
    layers = []
    parameter, arena = 0, 2 * lanes + -(-sizes[0] // lanes) * lanes
    for k, n, block in zip(sizes, sizes[1:], blocks, strict=False):
        across = arena + (k + 1) * lanes
        z = across + n * lanes
        places = {"weight": parameter, "bias": parameter + k * n, "w": arena, "across": across}
        vectors = {"z": z, "a": z + lanes, "slope": z + 2 * lanes, "delta": z + 3 * lanes}
        layers.append({"n_in": k, "n_out": n, **places, **vectors, "activate": block})
        parameter, arena = parameter + k * n + n, z + 4 * lanes
    return record_types.filled(narrow.LAYER, layers), arena
