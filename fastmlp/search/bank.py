"""Independent models trained on one data set: in the threads of this process, or by the workers of an executor. Never prints."""

import time
from collections.abc import Generator, Sequence
from pathlib import Path

from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError, FastmlpError, warn
from fastmlp.kernels.vectors import vector_bytes
from fastmlp.search.executors import Executor, Loss, Workers, opened, run
from fastmlp.search.in_process import SharedRows, amount_of_work, prepare, resolved, train_here
from fastmlp.search.sources import source_of
from fastmlp.search.task import BankProgress, Event, Lost, Task
from fastmlp.search.worker import Finished, Job, program, work
from fastmlp.settings import items_of, refuses_unknown, whole_number
from fastmlp.training.holdout import warn_of_unused_seed


@refuses_unknown
def train_bank(
    tasks: Sequence[Task],
    data: Dataset,
    cores: int | None = None,
    executor: str | Executor | None = None,
    shared_dir: str | Path | None = None,
) -> Generator[Event, None, None]:
    """Train every task on a data set; yield each model when it is done, and how far all are.

    Without an executor `cores` at a time (None: all that this process may use), in threads; kernels are compiled before the first thread
    starts. With one, jobs of `cores` models (None: see executors.Workers), which a worker trains at the same time. An executor is
    "processes:N" for N processes of this machine, "dask:tcp://HOST:PORT", or an object with `submit`. A model has the same bits wherever
    it is trained. A job whose worker is gone is trained again, which is told by a Lost. shared_dir: a folder that workers can read, for
    data sets that have no name.

    A model whose loss is not finite is yielded as DIVERGED, and the others go on; any other error ends the bank. Closing the generator
    ends all trainings here after the steps under way, within about 0.2 s, those of processes:N at once; of other workers only what waits.
    """
    if not isinstance(data, Dataset):
        raise ConfigError(f"data: expected a fastmlp.Dataset, got {type(data).__name__}")
    if data.stored is not None:
        raise ConfigError(f"data: expected rows in memory, of which many models are trained, {data.name} is on the disk; use fastmlp.train")
    cores = None if cores is None else whole_number("cores", cores, at_least=1)
    tasks = [resolved(task, data) for task in items_of("tasks", tasks, "a list of tasks")]
    if tasks and tasks[0].folds is None:
        warn_of_unused_seed(tasks[0].training)
    if executor is None:
        yield from train_here(tasks, data, SharedRows(data), cores)
    elif tasks:
        with opened(executor, shared_dir) as workers:
            prepare(tasks, data)  # what is wrong with settings is found here; and workers of this machine find compiled code
            yield from _train_there(tasks, data, workers, cores or workers.cores)


def _train_there(tasks: Sequence[Task], data: Dataset, workers: Workers, cores: int) -> Generator[Event, None, None]:
    started = time.perf_counter()
    source, mine = source_of(data, workers.folder), program()
    groups = [tuple(tasks[first : first + cores]) for first in range(0, len(tasks), cores)]
    amount = {task.key: amount_of_work(task, data) for task in tasks}
    done, behind, warned = 0, 0.0, False
    yield BankProgress(0, len(tasks), 0.0, time.perf_counter() - started)  # the first model may take its time
    for event in run(workers, work, [Job(mine, source, group, cores) for group in groups]):
        if isinstance(event, Loss):
            yield Lost(len(groups[event.job]), event.why)
            continue
        result: Finished | FastmlpError = event.result
        if isinstance(result, FastmlpError):
            raise result
        if result.vector_bytes != vector_bytes() and not warned:
            warned = True
            warn(
                f"a worker on {result.host} has vectors of {8 * result.vector_bytes} bits, this machine of {8 * vector_bytes()}: "
                "the last bits of models depend on where they are trained; FASTMLP_LEVEL=x86-64-v3 on both gives them one code",
            )
        for model in result.models:
            if model.test is not None:  # the worker looked at test rows, once
                data.test_openings.extend(("x_test", "y_test"))
            done += 1
            behind += amount[model.task.key]
            yield model
            yield BankProgress(done, len(tasks), behind / sum(amount.values()), time.perf_counter() - started)
