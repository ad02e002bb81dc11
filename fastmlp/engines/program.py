"""A stack of dense layers made ready to run: its table, the addresses of its blocks, its scratch, its compiled entry points.

Takes sizes and names, gives arrays. The one place that decides which form of the kernels runs: compiled or interpreted, serial or
over threads. That depends on sizes only, never on the number of threads, so that neither do the bits.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from fastmlp import machine
from fastmlp.compilation import calls, concurrency, decorators, forms, options, record_types
from fastmlp.errors import ConfigError
from fastmlp.kernels import narrow, random, textbook, textbook_step
from fastmlp.kernels import rows as one_row
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES, loss_for
from fastmlp.kernels.normalised import MOMENT_VECTORS, NORMS
from fastmlp.kernels.regularisation import NOTHING, Draw, Regularisation
from fastmlp.kernels.updates import RULES, Rates, descend
from fastmlp.kernels.vectors import aligned_zeros, lanes_of

_OUTPUT_CODES = {"identity": textbook.IDENTITY, "softmax": textbook.SOFTMAX, "sigmoid": textbook.SIGMOID}
SQUARED_SOFTMAX = loss_for("mse", "softmax").form
# A step with fewer multiply-adds than this is faster on one thread: starting a region costs 2 to 40 us a kernel.
PARALLEL_MULTIPLY_ADDS = 500_000
# For the outputs of a few rows, which tiles do not take: some milliseconds. Where other programs want the processors, a region lasts as
# long as one of its threads is put aside; and the parallel form is twice as much to compile.
OUTPUTS_MULTIPLY_ADDS = 32_000_000
# What a loss has besides where it has nothing: see textbook.py.
NO_NUMBERS = np.zeros(1)
NO_NORM: Mapping[str, int] = {}
NO_LOG = np.empty((0, textbook_step.TOTALS + 1))
EMPTY = {np.dtype(dtype): np.empty(0, dtype) for dtype in (np.float32, np.float64)}


class Steps(NamedTuple):
    """A run of steps: what is trained, on which rows, at which rates."""

    parameters: np.ndarray  # (P,), updated in place, as are the two states of the optimiser, (P,) or (0,), and the totals
    m_state: np.ndarray
    v_state: np.ndarray
    total: np.ndarray  # (TOTALS,), added to
    x: np.ndarray  # (rows, K) bytes or floats
    target: np.ndarray  # (rows, T)
    sample_weight: np.ndarray | None  # (rows,); None or (0,) for ones
    order: np.ndarray  # (n,) row numbers
    first: int  # the run takes the batches of order[first:last]
    last: int
    batch_size: int
    scale: np.ndarray  # (K,): an input is x * scale + shift
    shift: np.ndarray
    # (steps, RATES): updates.Rates, step by step, of which the last holds for all steps after it; or (steps, 2 RATES): those of weights,
    # then those of biases and scales, for rules that keep a state and limit no gradient
    rates: np.ndarray
    mean: bool  # whether the gradient of a batch is divided by its rows
    loss_numbers: np.ndarray = NO_NUMBERS  # (1,), or (1 + 4 N,) for standardised targets: see textbook.py
    average: np.ndarray | None = None  # (P,) of the parameters over the steps, updated in place by programs that average
    first_step: int = 0  # how many steps of the training were taken before: random numbers depend on it
    running_stats: np.ndarray | None = None  # (S,) running means and variances of batch normalisation, updated in place
    # Of the tiled engine: (epochs, TOTALS + 1), for as many epochs as end in the run: for each its totals, after which they begin at 0
    # again, and the sum of the squares of the weights. An epoch ends after `epoch_rows` rows of the order, in a batch that may be shorter.
    log: np.ndarray = NO_LOG
    epoch_rows: int = 0

    def for_kernels(self, m_state: np.ndarray, v_state: np.ndarray, averages: bool = False) -> "Steps":
        """Return the same run as compiled code takes it, with these states: what there is none of is (0,). averages: whether they do."""
        s, empty = self, EMPTY[self.parameters.dtype]
        weight = empty if s.sample_weight is None else s.sample_weight
        average = s.average if averages and s.average is not None else empty
        return Steps(  # several times as fast as _replace
            s.parameters, m_state, v_state, s.total, s.x, s.target, weight, s.order, s.first, s.last, s.batch_size, s.scale, s.shift,
            s.rates, s.mean, s.loss_numbers, average, s.first_step, empty, s.log, s.epoch_rows,
        )  # fmt: skip


class Rows(NamedTuple):
    """Rows that outputs are asked for, as forward_tiled takes them; the names are those of Steps."""

    x: np.ndarray
    order: np.ndarray
    first: int
    last: int
    batch_size: int
    scale: np.ndarray
    shift: np.ndarray


def no_steps(x: np.ndarray, target: np.ndarray, sizes: Sequence[int], batch_size: int, dtype: np.dtype, norm: str = "none") -> Steps:
    """Return a run of no steps on rows of these types: running it compiles all that a run needs."""
    parameters, zero = np.zeros(count_parameters(sizes, norm), dtype), np.zeros(sizes[0], dtype)
    total, rates = np.zeros(textbook_step.TOTALS), np.zeros((1, len(Rates._fields)), dtype)
    order = np.empty(0, np.int64)
    return Steps(parameters, parameters, parameters, total, x, target, None, order, 0, 0, batch_size, zero, zero, rates, True)


class Wanted(NamedTuple):
    """What is wanted of an engine."""

    sizes: Sequence[int]  # (L + 1) units
    activations: Sequence[str]  # (L - 1) of the hidden layers
    dtype: Any
    rows: int  # of a batch, or of a block of one: the most that there will be
    threads: int = 1
    kernels: str = "auto"  # or "scalar": compiled loops, or "python": the same interpreted
    norm: str = "none"  # one of NORMS, for the hidden layers
    loss: str | None = None  # its key in LOSSES; None: outputs alone
    update: str = "sgd"  # one of updates.RULES
    limited: bool = False  # whether gradients are clipped and weights pulled by l1, as the rates say
    averages: bool = False  # whether an average of the parameters is kept, step by step
    regularisation: Regularisation = NOTHING
    scaled: bool = False  # whether targets are standardised, and the loss has the numbers for it
    one_hot: bool = False  # whether targets of sigmoid outputs are one-hot rows, of classes
    zero_skipping: str = "auto"  # or "on" or "off"
    x: np.ndarray = np.zeros((0, 0))  # (n, K) rows, of which
    trained_on: np.ndarray = np.arange(0)  # those with these numbers (m,) are trained on
    shifted: bool = False  # whether a number is added to some input


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
            run |= dict(zip(("loss_formula", "loss_derivative"), _loss_formulas(w.loss, of_loss, self.interpreted), strict=True))
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
                return int(_of_form(_train_narrow(self.dtype), form)(rows, self.narrow[0], self.runs, self.arena))
            return int(self._entry(_of_form(one_row.train_rows, form))(rows, self.layers, self.runs, self.scratch, self.places))
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
        self._kernel = _outputs_of_normalised_row() if norm != "none" else one_row.outputs_of_row
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


def multiply_adds(sizes: Sequence[int], rows: int) -> int:
    """Return the multiply-adds of one forward pass."""
    return rows * sum(k * n for k, n in zip(sizes, sizes[1:], strict=False))


def count_parameters(sizes: Sequence[int], norm: str = "none") -> int:
    """Return the number of parameters of a network: weights, biases, and a scale for each hidden unit whose sums are normalised."""
    dense = sum(k * n + n for k, n in zip(sizes, sizes[1:], strict=False))
    return dense if norm == "none" else dense + sum(sizes[1:-1])


def count_running_stats(sizes: Sequence[int], norm: str) -> int:
    """Return how many running statistics batch normalisation keeps: a mean and a variance for each hidden unit."""
    return 2 * sum(sizes[1:-1]) if norm in ("batch", "running") else 0


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
    blocks = [_vector_block(name, dtype) for name in activations] + [0]
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
    forward = forms.specialise(textbook_step.activate_numbers, activation.key, ACTIVATION=f)
    backward = forms.specialise(textbook_step.activate_numbers_backward, activation.key, ACTIVATION_DERIVATIVE=slope)
    return (
        calls.address(forward, flat, *(types.int64,) * 3, interpreted=interpreted),
        calls.address(backward, flat, *(types.int64,) * 4, interpreted=interpreted) if back else 0,
    )


@functools.cache
def norm_blocks(norm: str, dtype: np.dtype, interpreted: bool = False) -> dict[str, int]:
    """Return the addresses of what normalises sums, by field of a record."""
    flat, layer, whole = types.Array(numba.from_dtype(dtype), 1, "C"), record_types.record_type(textbook_step.LAYER), types.int64
    of_norm = NORMS[norm].items()
    return {name: calls.address(block, flat, layer, whole, flat, whole, whole, interpreted=interpreted) for name, block in of_norm}


@functools.cache
def _loss_formulas(name: str, dtype: np.dtype, interpreted: bool) -> tuple[int, int]:
    """Return the addresses of the formulas of a loss by output and of its derivative; zeros for softmax."""
    number = numba.from_dtype(dtype)
    formulas = (LOSSES[name].formula, LOSSES[name].derivative)
    first, second = (calls.address(decorators.formula(f), *(number,) * 3, interpreted=interpreted) if f else 0 for f in formulas)
    return first, second


@functools.cache
def _of_form(kernel: Any, form: str) -> Any:
    """Return train_rows or train_narrow with a loss of a form: "smoothed" or "squared" of softmax, "scaled" targets, "" for all else."""
    if not form:
        return kernel
    loss_of_row = forms.specialise(one_row.loss_of_row, form, **{form.upper(): True})
    return forms.specialise(kernel, form, loss_of_row=loss_of_row)


@functools.cache
def _outputs_of_normalised_row() -> Any:
    return forms.specialise(one_row.outputs_of_row, "normalised", forward_row=one_row.forward_normalised_row)


def _vectors_of(dtype: np.dtype) -> dict[str, Any]:
    return {"NUMBER": dtype.type, "SIZE": dtype.itemsize, "LANES": lanes_of(dtype)}


@functools.cache
def _vector_block(name: str, dtype: np.dtype) -> int:
    """Return the address of an activation over vectors at addresses."""
    activation = ACTIVATIONS[name]
    f, slope = decorators.formula(activation.formula), decorators.formula(activation.derivative)
    block = forms.specialise(
        narrow.activate_vector, f"{activation.key}_{dtype.name}", ACTIVATION=f, ACTIVATION_DERIVATIVE=slope, **_vectors_of(dtype)
    )
    return calls.address(block, *(types.int64,) * 4)


@functools.cache
def _train_narrow(dtype: np.dtype) -> Any:
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
