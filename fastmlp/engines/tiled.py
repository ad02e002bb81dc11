"""A stack of dense layers run by register tiles: what has to be ready before steps are taken, and by how many threads they are."""

import math
import time
from collections.abc import Callable

import numpy as np

from fastmlp import machine
from fastmlp.compilation.options import JIT
from fastmlp.engines.layout import Layout
from fastmlp.engines.records import Records, gather_block
from fastmlp.engines.threads import Block, Team, ThreadChoice, new_shared
from fastmlp.engines.wanted import EMPTY, NO_NUMBERS, Rows, Steps, Wanted, multiply_adds, no_steps
from fastmlp.kernels.panels import LOSS_ROWS, LOSS_ROWS_ALONE
from fastmlp.kernels.step import Batch, forward_tiled, train_tiled
from fastmlp.kernels.textbook_step import LOSS_SUM, ROWS, TOTALS
from fastmlp.kernels.tiles import Shape
from fastmlp.kernels.updates import RULES, Rates

# A second thread pays from 10 us a pass on.
TEAM_MULTIPLY_ADDS = 1_000_000
# Runs of fewer multiply-adds than so many steps of such passes, a millisecond or two, end sooner where they begin: waking a team takes
# 0.1 ms on a quiet machine, and on a busy one its barriers wait for members that have been put aside. Up to so many parameters.
TEAM_STEPS, SHORT_RUN_PARAMETERS = 20, 65_536
FORWARD_ROWS = 240  # rows of one pass without training: a multiple of the rows of every tile; activations stay in the second-level cache
NO_PLACES = np.empty(0, np.intp)


class TiledProgram:
    """A network of at least one hidden layer, ready to run by tiles.

    listed: whether inputs that are zero are skipped. They are told before `Steps.shift` is added, except where noise or dropout changes
    the normalised inputs. Weights are packed when `train` begins, unless it goes on, and unpacked when it ends, by all threads: between two
    calls the flat vector of parameters is current.
    """

    def __init__(self, wanted: Wanted, listed: bool) -> None:
        w = wanted
        self.dtype, self.sizes, self.rows, self.loss, self.norm = np.dtype(w.dtype), tuple(w.sizes), w.rows, w.loss, w.norm
        pays = multiply_adds(w.sizes, w.rows) >= TEAM_MULTIPLY_ADDS  # whatever the number of threads: the bits must not depend on it
        self.shares, loss_rows = (w.threads, LOSS_ROWS) if pays else (1, LOSS_ROWS_ALONE)
        self._team = Team(min(self.shares, machine.usable_cores()))
        self.threads = self._team.threads
        self._pays = pays
        self._choice = ThreadChoice(self.threads)
        self._states = RULES[w.update].states
        self._average = self._states + w.limited + 1 if w.averages else 0
        states = self._states + w.limited + w.averages
        drops = [w.regularisation.drops_units(index) for index in range(len(w.activations))]
        trains = w.loss is not None
        self._layout = Layout(
            w.sizes, w.activations, self.dtype, w.rows, trains, states, self.shares, self._team.threads, drops, w.norm, loss_rows
        )
        self._records = Records(self._layout, w, listed)
        self._of_outputs: Batch | None = None

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
            return self._worker(self._ready(steps), shared, 1, layout.places)(0)
        vectors = dict(enumerate((steps.parameters, steps.m_state, steps.v_state)[: 1 + self._states]))
        if self._average and steps.average is not None:
            vectors[self._average] = steps.average

        rows, threads = steps.total[ROWS], self._choice.threads
        take = self._worker(self._ready(steps), shared, threads)

        def work(thread: int) -> int:
            if not steps.goes_on:  # else the panels hold them already
                for copy, vector in vectors.items():
                    layout.pack(vector, copy, thread, threads)
                if thread == 0 and steps.running_stats is not None:
                    layout.pack_running_stats(steps.running_stats)
            row = take(thread)
            for copy, vector in vectors.items():
                layout.unpack(vector, copy, thread, threads)
            if thread == 0 and steps.running_stats is not None:
                layout.unpack_running_stats(steps.running_stats)
            return row

        started, used = time.perf_counter(), time.process_time()
        reached = self._team.run(work, shared, threads)
        taken = Block(int(steps.total[ROWS] - rows), time.perf_counter() - started, time.process_time() - used)
        self._choice.note(taken)
        return reached

    def _ready(self, steps: Steps) -> Steps:
        """Return steps as compiled code takes them, with the states that the rule keeps."""
        empty = EMPTY[self.dtype]
        m_state, v_state = steps.m_state if self._states > 0 else empty, steps.v_state if self._states > 1 else empty
        return steps.for_kernels(m_state, v_state, self._average > 0)

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
        empty = EMPTY[self.dtype]
        steps = Steps(
            parameters, gradient, empty, total, x, target, empty, np.arange(n), 0, n, self.rows, scale, shift, no_rates, False,
            loss_numbers, empty, 0, empty,
        )  # fmt: skip

        take = self._worker(steps, shared, self.threads)
        layout.pack(parameters)
        layout.clear_states()
        # handing it to a thread of our own would take longer than a small network
        reached = take(0) if self.threads == 1 else self._team.run(take, shared)
        layout.unpack(gradient, 1)
        gradient *= self.dtype.type(factor)
        if reached < 0:
            gradient[:] = np.nan
        return float(total[LOSS_SUM]) if reached >= 0 else math.nan, gradient

    def _worker(self, steps: Steps, shared: np.ndarray, threads: int, places: np.ndarray = NO_PLACES) -> Callable[[int], int]:
        """Return what each of some threads has to do for steps as kernels take them; places: where it packs and unpacks the parameters."""
        if self._records.shifted:
            self._layout.place_shift(steps.shift)
            steps = steps._replace(shift=np.zeros_like(steps.shift))
        gather, batch = gather_block(self.dtype, steps.x.dtype), self._batch(steps)
        steps = steps._replace(x=_untyped(steps.x))
        layers, runs, memory = self._records.layers, self._records.runs, self._records.memory

        def take(thread: int) -> int:
            return int(train_tiled(steps, places, gather, layers, runs, memory, batch, shared, thread, threads))

        def take_quietly(thread: int) -> int:
            with np.errstate(over="ignore"):  # interpreted, random numbers wrap with a warning
                return take(thread)

        return take if JIT else take_quietly

    def _batch(self, steps: Steps) -> Batch:
        """Return the scratch for the losses of a batch, that of the last run where it fits."""
        rows, targets = steps.batch_size, steps.target.shape[1]
        weighted = steps.sample_weight is not None and steps.sample_weight.size > 0
        batch = self._of_outputs
        if batch is None or batch.target.shape != (rows, targets) or (batch.weight.size > 0) != weighted:
            target, weight = np.empty((rows, targets), self.dtype), np.empty(rows if weighted else 0, self.dtype)
            z, delta = np.empty((2, rows, self.sizes[-1]), self.dtype)
            batch = self._of_outputs = Batch(target, weight, z, delta, np.zeros((2, -(-rows // self._layout.loss_rows))))
        return batch

    def outputs(
        self, parameters: np.ndarray, x: np.ndarray, first: int, last: int, scale: np.ndarray, shift: np.ndarray, out: np.ndarray,
        running_stats: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """out = z of the output layer for rows first to last of x; running_stats (S,): running means and variances. See forward_tiled."""
        layout, shared = self._layout, new_shared()
        rows = Rows(_untyped(x), np.arange(x.shape[0]), first, last, self.rows, scale, shift)
        gather, no_rates = gather_block(self.dtype, x.dtype), np.zeros((1, len(Rates._fields)), self.dtype)
        layout.pack(parameters)
        if running_stats is not None:
            layout.pack_running_stats(running_stats)
        threads = 1 if self._is_over_soon(last - first, 1) else self.threads
        layers, runs, memory = self._records.layers, self._records.runs, self._records.memory

        def work(thread: int) -> int:
            return int(forward_tiled(rows, gather, layers, runs, memory, no_rates, out, shared, thread, threads))

        if threads == 1:
            work(0)  # no thread has to start, or to wake
        else:
            self._team.run(work, shared)


def _untyped(x: np.ndarray) -> np.ndarray:
    """Return the numbers of x (rows, K), row by row, as bytes: gather_rows alone knows their type, the rest is compiled once for all."""
    numbers = x.reshape(-1)
    if not JIT:
        return numbers
    found = numbers.view(np.uint8)
    found.flags.writeable = False
    return found
