"""The threads of one run of steps: how many there are, and who works on which shares.

Our own Python threads run compiled code that has released the lock, so a team needs no threading layer: each member is a thread of the
operating system that will run, and a barrier between them, `wait_for_all` of kernels/step.py, cannot deadlock. The work is cut into
shares; thread t does the shares t, t + threads, t + 2 threads, …, so more shares than threads run in turn, and the bits are the same for
any number of either.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import numpy as np

from fastmlp.compilation.options import JIT
from fastmlp.kernels.step import SHARED, STOP

# A share of the processor time that says that nobody else wanted it; blocks too short to tell; seconds from one trial to the next.
UNDISTURBED, LEAST_SECONDS = 0.9, 0.02
FIRST_WAIT, MOST_WAIT = 1.0, 8.0


class Block(NamedTuple):
    """How long a block of steps took."""

    rows: int
    seconds: float
    processor_seconds: float  # of all threads of the process


NO_BLOCK = Block(0, 0.0, 0.0)


class ThreadChoice:
    """How many threads the next block of steps gets: all, or one where other programs keep the processors busy.

    There, a member of a team waits at each barrier for one that the operating system has put aside. That is told by the processor time that
    a block got: members that wait spin, so that a team alone on its processors gets all of it. Where it does not, one thread is tried, and
    who is faster goes on. One thread is tried again later and later; all of them, too, but only where one gets a processor of its own.
    Shares are fixed: no bit depends on any of this.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads  # for the next block
        self._all = threads
        self._pace: dict[int, float] = {}  # seconds per row, by number of threads
        self._wait, self._left = FIRST_WAIT, 0.0  # seconds until the other number is tried again
        self._noted = NO_BLOCK  # blocks too short to tell, taken together

    def note(self, block: Block) -> None:
        """Take down what the last block took, and choose for the next one."""
        before = self._noted
        block = self._noted = Block(
            before.rows + block.rows, before.seconds + block.seconds, before.processor_seconds + block.processor_seconds
        )
        if self._all == 1 or block.rows == 0 or block.seconds < LEAST_SECONDS:
            return
        self._noted = NO_BLOCK
        self._pace[self.threads] = block.seconds / block.rows
        if self.threads == self._all and block.processor_seconds > UNDISTURBED * self._all * block.seconds:
            self._pace.pop(1, None)
            self._wait, self._left = FIRST_WAIT, 0.0
            return
        self._left -= block.seconds
        if self._left > 0:
            return
        other = 1 if self.threads == self._all else self._all
        if other not in self._pace:
            if other == 1 or block.processor_seconds > UNDISTURBED * block.seconds:  # else there is no processor for another thread
                self.threads = other
            return
        best = min(self._pace, key=self._pace.__getitem__)
        self._pace = {best: self._pace[best]}
        self.threads, self._left, self._wait = best, self._wait, min(2 * self._wait, MOST_WAIT)


def new_shared() -> np.ndarray:
    """Return the array through which the threads of a team see each other."""
    return np.zeros(SHARED, np.int64)


class Team:
    """Threads that run compiled shares of the same work. They start with the first run, and end with the team."""

    def __init__(self, threads: int) -> None:
        self.threads = threads if JIT else 1
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0  # the process whose threads these are: a forked child has none of them

    @property
    def is_started(self) -> bool:
        """Whether its threads have been started."""
        return self._pool is not None

    def run(self, work: Callable[[int], int], shared: np.ndarray, threads: int | None = None) -> int:
        """Run work(thread) on so many threads, None: on all; return what work(0) gives.

        The caller only waits, so that no interrupt falls into any of it: one asks for a stop after the step under way, waits until all is
        finished, and goes on from here.
        """
        shared[:] = 0
        try:
            running = self._threads().submit(self._share, work, threads or self.threads)
        except BaseException:  # no thread could start: the pool counts on it all the same
            self._pool = None
            raise
        interrupt: BaseException | None = None
        while not running.done():
            try:
                wait([running])
            except BaseException as error:
                shared[STOP] = 1
                interrupt = interrupt or error
        if interrupt is not None:
            raise interrupt
        return running.result()

    def _share(self, work: Callable[[int], int], threads: int) -> int:
        """Run work(thread) on so many threads, thread 0 being the one that calls."""
        if threads == 1:
            return work(0)
        pool, begin, complete = self._threads(), threading.Event(), False

        def join(thread: int) -> None:
            begin.wait()
            if complete:
                work(thread)

        others: list[Future[None]] = []
        try:
            others += [pool.submit(join, thread) for thread in range(1, threads)]
            complete = True  # only now: a thread that cannot start would be waited for at the first barrier
        finally:
            begin.set()
            if not complete:
                self._pool = None  # it counts on threads that it does not have
        result = work(0)
        wait(others)
        return result

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._process != os.getpid():
            self._pool, self._process = ThreadPoolExecutor(self.threads, thread_name_prefix="fastmlp"), os.getpid()
        return self._pool
