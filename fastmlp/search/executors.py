"""Where models are trained that this process does not train itself: anything that takes a call and gives back a future. Never prints.

Processes of this machine, dask, or what the user brings: concurrent.futures, loky, mpi4py.futures.MPIPoolExecutor. Nothing here opens a
socket or decides which worker does what.
"""

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

from fastmlp import machine
from fastmlp.errors import ConfigError, FastmlpError, MissingExtra, TrainingError

PROCESSES, DASK = "processes", "dask"
EXPECTED = f"{PROCESSES}:N, {DASK}:tcp://HOST:PORT"
MOST_LOSSES = 12  # of one job: machines that may be taken away are, now and then; a job that never fits into memory ends some time
WORKER = "fastmlp-worker"
DASK_TIMEOUT = 10  # seconds to wait for a scheduler


class Executor(Protocol):
    """What takes a call and gives back a future: concurrent.futures.Executor, or something that looks like it."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Return a future of function(*arguments), with `result`, `cancel` and `add_done_callback`."""


class Ended(NamedTuple):
    """A job with what it gave."""

    job: int
    result: Any


class Loss(NamedTuple):
    """A job whose worker is gone; it has been submitted again."""

    job: int
    why: str


class Workers(NamedTuple):
    """An executor that is open."""

    executor: Executor
    cores: int  # that a job may use unless its user knows better: of processes of this machine their share, of others 1
    folder: Path  # for the rows of data sets that have no name

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Return a future of function(*arguments)."""
        return self.executor.submit(function, *arguments)


@contextlib.contextmanager
def opened(executor: str | Executor, shared_dir: str | Path | None = None) -> Iterator[Workers]:
    """Open an executor that is given by name, and close it at the end; one that is open is used as it is, and left open.

    shared_dir: a folder that all workers can read, for the rows of data sets that have no name; None: a temporary one of this machine.
    Raises ConfigError for what is no executor or cannot be reached, MissingExtra where dask is not installed.
    """
    if isinstance(executor, Workers):
        yield executor
        return
    with contextlib.ExitStack() as stack:
        share = 1
        if isinstance(executor, str):
            kind, _, rest = executor.partition(":")
            if kind == PROCESSES:
                count = _count(executor, rest)
                share = max(1, machine.usable_cores() // count)
                executor = stack.enter_context(contextlib.closing(Processes(count)))
            elif kind == DASK and rest:
                executor = _dask(rest, stack)
            else:
                raise ConfigError(f"executor: expected {EXPECTED}, got {executor!r:.60}")
        elif not callable(getattr(executor, "submit", None)):
            raise ConfigError(f"executor: expected {EXPECTED}, or an object with submit(function, ...), got {type(executor).__name__}")
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastmlp-", dir=shared_dir, ignore_cleanup_errors=True))
        except OSError as error:
            raise ConfigError(f"shared_dir: expected a folder to write to, got {str(shared_dir)!r}: {error.strerror}") from error
        yield Workers(executor, share, Path(folder))


def run(executor: Executor, function: Callable[[Any, int], Any], jobs: Sequence[Any]) -> Generator[Ended | Loss, None, None]:
    """Call function(job, times lost before) for each job, and yield each when it ends.

    A job that was lost with its worker is submitted again, MOST_LOSSES times at the most. Closing the generator cancels what waits.
    Raises TrainingError where the executor takes no jobs, or cannot send one.
    """
    ended: SimpleQueue[tuple[int, Any]] = SimpleQueue()
    waiting: dict[int, Any] = {}
    losses = [0] * len(jobs)

    def submit(number: int) -> None:
        try:
            future = waiting[number] = executor.submit(function, jobs[number], losses[number])
        except RuntimeError as error:  # broken, or shut down
            raise TrainingError(
                f"executor: it takes no more work ({_said(error)}); what is finished is kept: go on with a new one"
            ) from error
        future.add_done_callback(lambda done: ended.put((number, done)))

    try:
        for number in range(len(jobs)):
            submit(number)
        while waiting:
            number, future = ended.get()
            del waiting[number]
            try:
                result = future.result()
            except FastmlpError:
                raise
            except (Exception, asyncio.CancelledError) as error:
                losses[number] += 1
                if not _is_loss(error):
                    raise TrainingError(f"a worker could not take its models, or not give them back ({_said(error)})") from error
                if losses[number] >= MOST_LOSSES:
                    raise TrainingError(
                        f"models were lost {MOST_LOSSES} times with their workers ({_said(error)}); have these enough memory?"
                    ) from error
                submit(number)
                yield Loss(number, _said(error))
            else:
                yield Ended(number, result)
    finally:
        for future in waiting.values():
            future.cancel()


def _is_loss(error: BaseException) -> bool:
    """Return whether an error tells that a worker is gone, rather than that a call cannot be sent there."""
    if isinstance(error, (BrokenExecutor, asyncio.CancelledError, EOFError, OSError)) or type(error).__name__ == "CancelledError":
        return True
    return type(error).__module__.partition(".")[0] == "distributed"  # KilledWorker, FutureCancelledError, CommClosedError, …


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _count(executor: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10_000):
        raise ConfigError(f"executor: expected {PROCESSES}:N with a number of processes, for example {PROCESSES}:4, got {executor!r:.60}")
    return int(text)


def _dask(address: str, stack: contextlib.ExitStack) -> Executor:
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise MissingExtra("executor: dask needs its package distributed; run: pip install 'fastmlp[cluster]'") from error
    try:
        client: Any = stack.enter_context(Client(address, timeout=DASK_TIMEOUT, set_as_default=False))
    except (OSError, ValueError, TimeoutError) as error:
        raise ConfigError(f"executor: expected the scheduler of dask at {address!r}, it does not answer: {_said(error)}") from error
    executor: Executor = client.get_executor()
    return executor


class Processes:
    """Processes of this machine. One that dies is replaced, and costs its own job only.

    They are spawned, not forked: the threads of Numba do not survive a fork. A script that uses them therefore needs
    `if __name__ == "__main__":`, because each of them imports it.
    """

    def __init__(self, count: int) -> None:
        if multiprocessing.current_process().name == WORKER:  # which imports the script that started it
            raise ConfigError(GUARD)
        self._threads = ThreadPoolExecutor(count, WORKER)  # each talks to one process
        self._of_thread = threading.local()
        self._first = threading.Lock()  # held while it is not known whether processes can be started at all
        self._lock = threading.Lock()
        self._running: set[Any] = set()
        self._works = threading.Event()  # one has come up
        self._closed = False

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Return a future of function(*arguments), called in a process. A process that dies meanwhile makes it raise WorkerLost."""
        return self._threads.submit(self._call, function, arguments)

    def close(self) -> None:
        """End all processes, whatever they do."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.kill()
        self._threads.shutdown(cancel_futures=True)

    def _call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        process, pipe = self._process()
        try:
            pipe.send((function, arguments))
            result, error = pipe.recv()
        except (EOFError, OSError) as broken:
            raise WorkerLost(self._forget(process, pipe)) from broken
        if error is not None:
            raise error
        return result

    def _process(self) -> tuple[Any, multiprocessing.connection.Connection]:
        """Return the process of this thread, started where there is none."""
        if not hasattr(self._of_thread, "process"):
            with self._first if not self._works.is_set() else contextlib.nullcontext():
                self._of_thread.process = self._start()
        found: tuple[Any, multiprocessing.connection.Connection] = self._of_thread.process
        return found

    def _start(self) -> tuple[Any, multiprocessing.connection.Connection]:
        context = multiprocessing.get_context("spawn")
        pipe, its_end = context.Pipe()
        process = context.Process(target=_serve, args=(its_end,), name=WORKER, daemon=True)
        with self._lock:
            if self._closed:
                raise WorkerLost("closed")
            _hold_back_signals()
            try:
                process.start()
            except RuntimeError as error:  # this process is itself one that is being started
                raise ConfigError(GUARD) from error
            self._running.add(process)
        its_end.close()
        try:
            pipe.recv()
        except (EOFError, OSError) as broken:
            why = self._forget(process, pipe)
            if (process.exitcode or 0) > 0 and not self._works.is_set():  # it ended by itself
                self._closed = True
                raise ConfigError(GUARD) from broken
            raise WorkerLost(why) from broken
        self._works.set()
        return process, pipe

    def _forget(self, process: Any, pipe: multiprocessing.connection.Connection) -> str:
        """Give up a process that is gone; return how it ended."""
        pipe.close()
        process.kill()  # a pipe that broke is no use, whatever the process does
        process.join()
        with self._lock:
            self._running.discard(process)
        if hasattr(self._of_thread, "process"):
            del self._of_thread.process
        code = process.exitcode or 0
        return f"process {process.pid} ended " + (f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}")


class WorkerLost(BrokenExecutor):
    """A process ended while it was working."""


GUARD = (
    "executor: expected processes that start, the first one did not; a script has to be a file whose work stands below "
    '`if __name__ == "__main__":`, because each process imports it'
)


def _hold_back_signals() -> None:
    """Keep Ctrl-C and a closing terminal from the processes that this thread starts: the process that started them decides."""
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # before them, as it lets SIGINT through again (Python 3.11)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})


def _serve(pipe: multiprocessing.connection.Connection) -> None:
    """Answer calls until the pipe closes: what a process of Processes does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send(None)
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        except Exception as error:  # what was sent cannot be read here
            pipe.send((None, TrainingError(f"a process cannot read its work: {_said(error)}")))
            continue
        try:
            pipe.send((function(*arguments), None))
        except Exception as error:
            pipe.send((None, error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
