"""A stack of dense layers run by register tiles: the loop over a table of operations, and what has to be ready before it starts."""

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.kernels.compiling import JIT, block_call, borrow, kernel
from fastmlp.kernels.layout import Layout
from fastmlp.kernels.operations import Planner, gather_block
from fastmlp.kernels.panels import ADDRESS, BARRIER, CHECK, CHUNK, KIND, LOSS, LOSS_ROWS, LOSS_ROWS_ALONE, PANEL, STEP
from fastmlp.kernels.program import EMPTY, NO_NUMBERS, Steps, no_steps, numbered_loss_block, output_code
from fastmlp.kernels.regularisation import NOTHING, Regularisation
from fastmlp.kernels.step import CORRECT, LOSS_SUM, ROWS, TOTALS, WEIGHT_SUM
from fastmlp.kernels.team import DECISION, STOP, Block, Team, ThreadChoice, look, new_shared, wait_for_all
from fastmlp.kernels.tiles import Shape
from fastmlp.kernels.updates import RULES, Rates
from fastmlp.kernels.vectors import flush_subnormals, restore_float_mode
from fastmlp.kernels.zeros import MOST_LISTED_INPUTS

# Tiles are faster than the textbook loops except row by row and in a handful of units; a second thread pays from 10 us a pass on.
TILED_ROWS = 4
TILED_MULTIPLY_ADDS = 1000
TEAM_MULTIPLY_ADDS = 1_000_000
# Runs of fewer multiply-adds than so many steps of such passes, a millisecond or two, end sooner where they begin: waking a team takes
# 0.1 ms on a quiet machine, and on a busy one its barriers wait for members that have been put aside. Up to so many parameters.
TEAM_STEPS, SHORT_RUN_PARAMETERS = 20, 65_536
FORWARD_ROWS = 240  # rows of one pass without training: a multiple of the rows of every tile; activations stay in the second-level cache
NO_PLACES = np.empty(0, np.intp)

call_gather = block_call(7)
call_panel = block_call(9)
call_loss_rows = block_call(16)


@kernel
def gather_batch(address, x, rows, upcoming, scale, shift, operations, number, arena, lists, masks, counts, rates):
    """Run the operations that bring the rows of a batch into a thread's own part of the arena: gather, noise, dropout, lists of zeros.

    number: of the step in the whole training.
    """
    tell_step(operations, number)
    call_gather(address, x, rows, upcoming, scale, shift, arena, operations[0])
    for index in range(1, operations.shape[0]):
        op = operations[index]
        call_panel(op[ADDRESS], arena, lists, masks, counts, rates, op, rows.shape[0], 0, 1)


@kernel
def tell_step(operations, number):
    """Write the number of a step into the operations of a thread: random numbers depend on it."""
    for index in range(operations.shape[0]):
        operations[index, STEP] = number


@kernel
def pack(parameters, m_state, v_state, average, places, state, average_copy, arena):
    """arena[places] = parameters, and so on for the states and the average, which lie 1, 2 and `average_copy` times `state` behind."""
    for copy, vector in ((0, parameters), (1, m_state), (2, v_state), (average_copy, average)):
        for i in range(vector.shape[0]):
            arena[copy * state + places[i]] = vector[i]


@kernel
def unpack(parameters, m_state, v_state, average, places, state, average_copy, arena):
    """parameters = arena[places], and so on: what pack does, the other way round."""
    for copy, vector in ((0, parameters), (1, m_state), (2, v_state), (average_copy, average)):
        for i in range(vector.shape[0]):
            vector[i] = arena[copy * state + places[i]]


@kernel
def train_tiled(
    parameters, m_state, v_state, average, places, state, average_copy, x, target, sample_weight, order, first, last, batch_size,
    first_step, scale, shift, rates, fused, mean, output, loss, loss_numbers, gather, gather_ops, ops, arena, lists, masks, counts,
    batch_target, batch_weight, z, delta, sums, total, shared, thread, threads, shares,
):  # fmt: skip
    """Take one step per batch of order[first:last] as one thread of a team; return the row reached, or -(1 + row) at a loss not finite.

    parameters (P,), m_state, v_state, average (P,) or (0,), places (P,): where they lie in the arena, into which and out of which they are
    copied; places (0,) where somebody else does that, before and afterwards. x (rows, K) bytes or floats, target (rows, T), sample_weight
    (rows,) or (0,) for ones, order (n,) row numbers, first_step: number of the first step in the whole training, scale and shift (K,);
    rates: as in program.Steps;
    fused: whether the gradient comes times -learning_rate, to be added; mean: whether it is divided by the rows of the batch; output:
    SOFTMAX, SIGMOID or IDENTITY; loss, gather: addresses; loss_numbers: see loss_blocks.py; gather_ops, ops (threads, n,
    COLUMNS): operations on the batch of each thread. Scratch: arena to sums. total (TOTALS,): thread 0 adds to it.
    """
    # borrowed: otherwise each view of them is counted, by an atomic instruction on a number that all threads change
    x, target, sample_weight, order, rates = borrow(x), borrow(target), borrow(sample_weight), borrow(order), borrow(rates)
    scale, shift, gather_ops, ops, arena = borrow(scale), borrow(shift), borrow(gather_ops), borrow(ops), borrow(arena)
    lists, masks, counts, batch_target = borrow(lists), borrow(masks), borrow(counts), borrow(batch_target)
    batch_weight, z, delta, sums, loss_numbers = borrow(batch_weight), borrow(z), borrow(delta), borrow(sums), borrow(loss_numbers)
    float_mode = flush_subnormals()
    packs = places.shape[0] > 0
    if packs:
        pack(parameters, m_state, v_state, average, places, state, average_copy, arena)
    arrived = 0
    step = 0
    begin = first
    is_finite = True
    one = arena.dtype.type(1)
    while begin < last:
        rows = order[begin : min(begin + batch_size, last)]
        M = rows.shape[0]
        upcoming = order[begin + M : min(begin + M + batch_size, last)]
        number = first_step + step
        now = rates[min(step, rates.shape[0] - 1)]
        gather_batch(gather, x, rows, upcoming, scale, shift, gather_ops[thread], number, arena, lists, masks, counts, now)
        tell_step(ops[thread], number)
        # Two places in turn: who is late may read the decision of this step while that of the next is made, and no later one.
        decision = DECISION + step % 2
        if thread == 0:
            shared[decision] = look(shared, STOP)
        for index in range(ops.shape[1]):
            op = ops[thread, index]
            if op[KIND] == BARRIER:
                arrived += threads
                wait_for_all(shared, arrived)
            elif op[KIND] == PANEL:
                for share in range(thread, shares, threads):
                    call_panel(op[ADDRESS], arena, lists, masks, counts, now, op, M, share, shares)
            elif op[KIND] == LOSS:
                factor = -now[0] if fused else one
                scaled = factor / arena.dtype.type(M) if mean else factor
                for share in range(thread, shares, threads):
                    call_loss_rows(
                        op[ADDRESS], target, sample_weight, rows, loss, scaled, loss_numbers, output, batch_target, batch_weight, z,
                        delta, arena, sums, op, share, shares,
                    )  # fmt: skip
            elif op[KIND] == CHECK:  # every thread comes to the same answer
                summed = 0.0
                correct = 0.0
                for chunk in range((M + op[CHUNK] - 1) // op[CHUNK]):
                    summed += sums[0, chunk]
                    correct += sums[1, chunk]
                if not np.isfinite(summed):
                    is_finite = False
                    break
                if thread == 0:
                    total[LOSS_SUM] += summed
                    total[CORRECT] += correct
                    weight = 0.0
                    for m in range(M):
                        weight += batch_weight[m] if batch_weight.shape[0] > 0 else 1.0
                    total[WEIGHT_SUM] += weight
                    total[ROWS] += M
        if not is_finite:
            break
        begin += M
        step += 1
        if shared[decision] != 0:
            break
    if packs:
        unpack(parameters, m_state, v_state, average, places, state, average_copy, arena)
    restore_float_mode(float_mode)
    return begin if is_finite else -(begin + 1)


@kernel
def forward_tiled(
    x, order, first, last, batch_size, scale, shift, gather, gather_ops, ops, z, z_row, arena, lists, masks, counts, rates, out, shared,
    thread, threads, shares,
):  # fmt: skip
    """out[m, c] = z of the output layer for the rows order[first + m], as one thread of a team; return last.

    x (rows, K), order (n,), scale and shift (K,), gather: address, gather_ops and ops (threads, n, COLUMNS), z and z_row: where the outputs
    lie in the arena; scratch: arena to counts -> out (last - first, C), overwritten.
    """
    arrived = 0
    for begin in range(first, last, batch_size):
        rows = order[begin : min(begin + batch_size, last)]
        M = rows.shape[0]
        upcoming = order[begin + M : min(begin + M + batch_size, last)]
        gather_batch(gather, x, rows, upcoming, scale, shift, gather_ops[thread], 0, arena, lists, masks, counts, rates[0])
        for index in range(ops.shape[1]):
            op = ops[thread, index]
            if op[KIND] == BARRIER:
                arrived += threads
                wait_for_all(shared, arrived)
            else:
                for share in range(thread, shares, threads):
                    call_panel(op[ADDRESS], arena, lists, masks, counts, rates[0], op, M, share, shares)
        arrived += threads
        wait_for_all(shared, arrived)
        for m in range(M * thread // threads, M * (thread + 1) // threads):
            for c in range(out.shape[1]):
                out[begin - first + m, c] = arena[z + m * z_row + c]
        arrived += threads
        wait_for_all(shared, arrived)
    return last


class TiledProgram:
    """A network of at least one hidden layer, ready to run by tiles in batches of up to `rows` rows.

    sizes (L + 1), activations (L - 1): of the hidden layers; loss: its key in LOSSES, None for outputs alone; listed: whether inputs that
    are zero are skipped; shares: parts of the work; shifted: whether `Steps.shift` has numbers other than 0: zeros are then told before
    it is added, except where noise or dropout changes the normalised inputs; limited: whether gradients are clipped and weights pulled by
    l1, as the rates say; averages: whether an average of the parameters is kept, step by step; norm: one of program.NORMS, for the hidden
    layers; scaled: whether targets are standardised, and the loss has the numbers for it; one_hot: see Program. Weights are packed when
    `train` begins and unpacked when it ends: between two calls the flat vector of parameters is current.
    """

    def __init__(
        self, sizes: Sequence[int], activations: Sequence[str], dtype: Any, rows: int, loss: str | None, listed: bool, shares: int,
        update: str = "sgd", shifted: bool = False, limited: bool = False, averages: bool = False,
        regularisation: Regularisation = NOTHING, norm: str = "none", scaled: bool = False, one_hot: bool = False,
    ) -> None:  # fmt: skip
        self.dtype, self.sizes, self.rows, self.loss, self.norm = np.dtype(dtype), tuple(sizes), rows, loss, norm
        pays = multiply_adds(sizes, rows) >= TEAM_MULTIPLY_ADDS  # whatever the number of threads: the bits must not depend on it
        self.shares, loss_rows = (shares, LOSS_ROWS) if pays else (1, LOSS_ROWS_ALONE)
        self._team = Team(min(self.shares, machine.usable_cores()))
        self.threads = self._team.threads
        self._pays = pays
        self._choice = ThreadChoice(self.threads)
        self._states, self._average = RULES[update].states, RULES[update].states + limited + 1 if averages else 0
        states = self._states + limited + averages
        drops = [regularisation.drops_units(index) for index in range(len(activations))]
        self._layout = Layout(
            sizes, activations, self.dtype, rows, loss is not None, states, self.shares, self._team.threads, drops, norm, loss_rows
        )
        listed = listed and sizes[0] <= MOST_LISTED_INPUTS
        shifted = shifted and not regularisation.changes_inputs
        self._shift_apart = listed and shifted
        planner = Planner(self._layout, activations, listed, update, shifted, limited, averages, regularisation)
        self._is_fused = planner.update.formula is None
        self._gather_ops = planner.table("gather")
        if loss is None:
            self._ops = planner.table("forward")
        else:
            self._ops = planner.table("step")
            self._loss, self._output = numbered_loss_block(loss, self.dtype, scaled=scaled), output_code(loss, one_hot)

    @property
    def has_threads(self) -> bool:
        """Whether threads of a team wait for more work."""
        return self._team.is_started

    @property
    def tile_shapes(self) -> tuple[Shape, ...]:
        """The tiles of the hidden layers."""
        return tuple(layer.tiles.shape for layer in self._layout.hidden)

    def prepare(self, x: np.ndarray, target: np.ndarray, loss_numbers: np.ndarray = NO_NUMBERS) -> None:
        """Compile what `train` needs, or load it from the cache. Of x and target only the types are read."""
        self.train(no_steps(x, target, self.sizes, self.rows, self.dtype, self.norm)._replace(loss_numbers=loss_numbers))

    def train(self, steps: Steps) -> int:
        """Take the steps; see train_tiled. Return the row reached, or -(1 + first row of a batch whose loss is not finite)."""
        layout, shared = self._layout, new_shared()
        if self._is_short(steps):
            # No team: its threads would take longer to wake than this takes. An interrupt comes before or after it all, as the kernel packs
            # and unpacks, too, and whoever calls asks for no more steps of a small network than it wants to wait for.
            return self._worker(steps, shared, 1, layout.places)(0)
        vectors = dict(enumerate((steps.parameters, steps.m_state, steps.v_state)[: 1 + self._states]))
        if self._average and steps.average is not None:
            vectors[self._average] = steps.average

        def pack() -> None:
            for copy, vector in vectors.items():
                layout.pack(vector, copy)
            if steps.running_stats is not None:
                layout.pack_running_stats(steps.running_stats)

        def unpack() -> None:
            for copy, vector in vectors.items():
                layout.unpack(vector, copy)
            if steps.running_stats is not None:
                layout.unpack_running_stats(steps.running_stats)

        rows, threads = steps.total[ROWS], self._choice.threads
        started, used = time.perf_counter(), time.process_time()
        reached = self._team.run(self._worker(steps, shared, threads), shared, pack, unpack, threads)
        taken = Block(int(steps.total[ROWS] - rows), time.perf_counter() - started, time.process_time() - used)
        self._choice.note(taken)
        return reached

    def _is_short(self, steps: Steps) -> bool:
        """Return whether a run of steps is over sooner on the thread that asks for it; which one that is changes no bit."""
        may_run_here = JIT and self.norm != "batch"  # running statistics are packed apart
        is_few = steps.parameters.size <= SHORT_RUN_PARAMETERS or not self._pays
        return may_run_here and is_few and self._is_over_soon(steps.last - steps.first, 3)

    def _is_over_soon(self, rows: int, products: int) -> bool:
        """Return whether so many rows take less time than a team that has to wake. products: of a step 3, of a pass forward 1."""
        work = products * -(-rows // self.rows) * multiply_adds(self.sizes, self.rows)
        return not self._pays or work < 3 * TEAM_STEPS * TEAM_MULTIPLY_ADDS

    def gradient(
        self, parameters: np.ndarray, x: np.ndarray, target: np.ndarray, scale: np.ndarray, shift: np.ndarray, factor: float,
        loss_numbers: np.ndarray,
    ) -> tuple[float, np.ndarray]:  # fmt: skip
        """Return the summed loss of all rows of x, and factor times its gradient (P,): NaN where the loss is not finite.

        The program is one for update "gradient".
        """
        layout, shared, n = self._layout, new_shared(), x.shape[0]
        total, gradient = np.zeros(TOTALS), np.zeros(parameters.size, parameters.dtype)  # zeros_like takes five times as long
        no_rates = np.zeros((-(-n // self.rows), len(Rates._fields)), self.dtype)
        steps = Steps(
            parameters, gradient, gradient, total, x, target, None, np.arange(n), 0, n, self.rows, scale, shift, no_rates, mean=False,
            loss_numbers=loss_numbers,
        )  # fmt: skip

        def pack() -> None:
            layout.pack(parameters)
            layout.clear_states()

        work = self._worker(steps, shared, self.threads)
        if self.threads == 1:  # handing it to a thread of our own would take longer than a small network
            pack()
            reached = work(0)
        else:
            reached = self._team.run(work, shared, pack)
        layout.unpack(gradient, 1)
        gradient *= self.dtype.type(factor)
        if reached < 0:
            gradient[:] = np.nan
        return float(total[LOSS_SUM]) if reached >= 0 else math.nan, gradient

    def _worker(self, steps: Steps, shared: np.ndarray, threads: int, places: np.ndarray = NO_PLACES) -> Callable[[int], int]:
        """Return what each of some threads has to do for these steps; places: where it packs the parameters, and unpacks them."""
        layout, sparse = self._layout, self._layout.sparse
        rows, outputs = steps.batch_size, self.sizes[-1]
        weight = np.empty(0, self.dtype) if steps.sample_weight is None else steps.sample_weight
        batch_target = np.empty((rows, steps.target.shape[1]), self.dtype)
        batch_weight = np.empty(0 if steps.sample_weight is None else rows, self.dtype)
        z, delta = np.empty((rows, outputs), self.dtype), np.empty((rows, outputs), self.dtype)
        sums = np.zeros((2, -(-rows // layout.loss_rows)))
        gather = gather_block(self.dtype, steps.x.dtype)
        shift = steps.shift
        if self._shift_apart:
            layout.place_shift(shift)
            shift = np.zeros_like(shift)

        empty = EMPTY[self.dtype]
        m_state = steps.m_state if self._states > 0 else empty
        v_state = steps.v_state if self._states > 1 else empty
        average = steps.average if self._average and steps.average is not None else empty

        def take(thread: int) -> int:
            return int(
                train_tiled(
                    steps.parameters,
                    m_state,
                    v_state,
                    average,
                    places,
                    layout.state,
                    self._average,
                    steps.x,
                    steps.target,
                    weight,
                    steps.order,
                    steps.first,
                    steps.last,
                    rows,
                    steps.first_step,
                    steps.scale,
                    shift,
                    steps.rates,
                    self._is_fused,
                    steps.mean,
                    self._output,
                    self._loss,
                    steps.loss_numbers,
                    gather,
                    self._gather_ops,
                    self._ops,
                    layout.arena,
                    sparse.lists,
                    sparse.masks,
                    sparse.counts,
                    batch_target,
                    batch_weight,
                    z,
                    delta,
                    sums,
                    steps.total,
                    shared,
                    thread,
                    threads,
                    self.shares,
                )  # fmt: skip
            )

        def take_quietly(thread: int) -> int:
            with np.errstate(over="ignore"):  # interpreted, random numbers wrap with a warning
                return take(thread)

        return take if JIT else take_quietly

    def outputs(
        self, parameters: np.ndarray, x: np.ndarray, first: int, last: int, scale: np.ndarray, shift: np.ndarray, out: np.ndarray,
        running_stats: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """out = z of the output layer for rows first to last of x; running_stats (S,): running means and variances. See forward_tiled."""
        layout, sparse = self._layout, self._layout.sparse
        shared = new_shared()
        gather = gather_block(self.dtype, x.dtype)
        order = np.arange(x.shape[0])
        outputs = layout.hidden[-1]
        no_rates = np.zeros((1, len(Rates._fields)), self.dtype)
        layout.pack(parameters)
        if running_stats is not None:
            layout.pack_running_stats(running_stats)
        threads = 1 if self._is_over_soon(last - first, 1) else self.threads

        def work(thread: int) -> int:
            return int(
                forward_tiled(
                    x,
                    order,
                    first,
                    last,
                    self.rows,
                    scale,
                    shift,
                    gather,
                    self._gather_ops,
                    self._ops,
                    outputs.a,
                    outputs.row,
                    layout.arena,
                    sparse.lists,
                    sparse.masks,
                    sparse.counts,
                    no_rates,
                    out,
                    shared,
                    thread,
                    threads,
                    self.shares,
                )  # fmt: skip
            )

        if threads == 1:
            work(0)  # no thread has to start, or to wake
        else:
            self._team.run(work, shared)


def multiply_adds(sizes: Sequence[int], rows: int) -> int:
    """Return the multiply-adds of one forward pass."""
    return rows * sum(k * n for k, n in zip(sizes, sizes[1:], strict=False))


@functools.lru_cache(maxsize=128)
def tiles_pay(sizes: tuple[int, ...], batch_size: int) -> bool:
    """Return whether tiles are faster than the textbook loops."""
    return len(sizes) > 2 and batch_size >= TILED_ROWS and multiply_adds(sizes, batch_size) >= TILED_MULTIPLY_ADDS
