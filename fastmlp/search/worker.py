"""What a worker does: it checks that it is the same program, sets its threads, loads the rows once, and trains. Never prints.

This file and what a job holds are free of numba, so that the threads of a new process are set before Numba starts.
"""

import hashlib
import os
import socket
import sys
import threading
import traceback
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fastmlp.errors import ConfigError, FastmlpError, NotEnoughMemory
from fastmlp.search.sources import Source, load
from fastmlp.search.task import Task, Trained

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.search.in_process import SharedRows


class Job(NamedTuple):
    """Some models for one worker, trained at the same time by as many threads as it has cores for them."""

    program: dict[str, str]
    source: Source
    tasks: tuple[Task, ...]
    cores: int


class Finished(NamedTuple):
    """What a worker sends back."""

    models: list[Trained]
    host: str
    vector_bytes: int  # of its processor: another width gives other last bits


def work(job: Job, attempt: int) -> Finished | FastmlpError:
    """Train the models of a job. An error is returned, not raised: what an executor raises comes from a worker that was lost.

    attempt: how often the job was lost before; an executor that knows results again (dask) sees that this is another call.
    """
    try:
        _check(job.program)
        _set_threads(job.cores)
        return _train(job)
    except FastmlpError as error:
        return error
    except MemoryError as error:
        return NotEnoughMemory(f"a worker on {socket.gethostname()} has not enough memory: {error or 'the system gave no more'}")
    except Exception as error:
        failed = FastmlpError(f"a worker on {socket.gethostname()} failed: {type(error).__name__}: {error}")
        failed.add_note(traceback.format_exc())
        return failed


@cache
def program() -> dict[str, str]:
    """Return what has to be the same for the same bits: versions, and a hash of the sources of fastmlp."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    from fastmlp import __version__

    return {"fastmlp": __version__, "sources": digest.hexdigest()[:12], "numba": version("numba"), "llvmlite": version("llvmlite")}


def _check(expected: dict[str, str]) -> None:
    """Raise ConfigError unless this is the program that sent the job."""
    here = program()
    others = [name for name in here if expected.get(name) != here[name]]
    if others:
        differ = ", ".join(f"{name} {expected.get(name)}, got {here[name]}" for name in others)
        raise ConfigError(f"executor: a worker on {socket.gethostname()}: expected {differ}; install the same version there")


def _set_threads(cores: int) -> None:
    """Let Numba start no more threads than a job may use; where it has started already it stays as it is: models train on one each."""
    if "numba" not in sys.modules:
        os.environ["NUMBA_NUM_THREADS"] = str(cores)


def _train(job: Job) -> Finished:
    from fastmlp.kernels.vectors import vector_bytes
    from fastmlp.search.in_process import train_here

    data, rows = _loaded(job.source)
    models = [event for event in train_here(job.tasks, data, rows, job.cores) if isinstance(event, Trained)]
    return Finished(models, socket.gethostname(), vector_bytes())


_lock = threading.Lock()
_last: "tuple[Source, Dataset, SharedRows] | None" = None


def _loaded(source: Source) -> "tuple[Dataset, SharedRows]":
    """Return the rows of a source; those of the last one are kept."""
    from fastmlp.search.in_process import SharedRows

    global _last
    with _lock:
        if _last is None or _last[0].sha256 != source.sha256:
            _last = None
            data = load(source)
            _last = source, data, SharedRows(data)
        return _last[1], _last[2]
