"""The ledger of an experiment: one line of a file per finished model, so that an experiment that was killed goes on where it was."""

import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastmlp.data.dataset import Dataset
from fastmlp.search.bank import train_bank
from fastmlp.search.executors import Executor
from fastmlp.search.task import BankProgress, Event, Task, Trained
from fastmlp.settings import current_names, record_refuses_unknown, refuses_unknown
from fastmlp.storage.reading import read_models
from fastmlp.storage.records import append_record, drop_torn_line

Record = dict[str, Any]  # a line of the file; its fields are those of storage.reading.Model


@record_refuses_unknown
class Ledger:
    """The finished models of an experiment, by key; kept in a file, or in memory where there is none."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._models: dict[str, Record] = {}
        if path is not None:
            drop_torn_line(path)
            for record in read_models(path):
                self._models[_current_key(record["key"])] = {**record, "changed": current_names(record["changed"], warn=False)}

    def __contains__(self, key: str) -> bool:
        return key in self._models

    def __getitem__(self, key: str) -> Record:
        return self._models[key]

    def add(self, record: Record) -> None:
        """Keep a model."""
        if self._path is not None:
            append_record(self._path, record)
        self._models[record["key"]] = record

    def of(self, tasks: Sequence[Task]) -> list[Record]:
        """Return the records of tasks, in their order."""
        return [self._models[task.key] for task in tasks]


def record_of(trained: Trained) -> Record:
    """Return what the ledger keeps of a model, as plain values."""
    task = trained.task
    return {
        "key": task.key,
        "changed": _plain(task.changed),
        "seed": task.training.seed,
        "fold": task.fold,
        "history": trained.history.to_dict(),
        "validation": trained.validation,
        "test": trained.test,
        "seconds": trained.seconds,
        "outcome": trained.outcome,
    }


@refuses_unknown
def complete(
    tasks: Sequence[Task], data: Dataset, ledger: Ledger, cores: int | None = None, executor: str | Executor | None = None
) -> Generator[Event, None, None]:
    """Train the tasks that the ledger does not hold yet, enter each when it is done, and yield how far all of them are.

    cores, executor: how many at a time, and where; see bank.train_bank.
    """
    started = time.perf_counter()
    missing = [task for task in tasks if task.key not in ledger]
    there = len(tasks) - len(missing)
    for event in train_bank(missing, data, cores, executor):
        if isinstance(event, Trained):
            ledger.add(record_of(event))
        if isinstance(event, BankProgress):
            share = (there + event.share * len(missing)) / len(tasks)
            yield BankProgress(there + event.done, len(tasks), share, time.perf_counter() - started)
        else:
            yield event


def _current_key(key: str) -> str:
    """Return the key of a model with its settings under the names that they have now; see search/repeat.py."""
    parts = (part.partition("=") for part in key.split(" "))
    pairs = ((before, current_names({before: value}, warn=False)) for before, _, value in parts)
    return " ".join(f"{name}={value}" for _, current in pairs for name, value in current.items())


def _plain(changed: Mapping[str, Any]) -> Record:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}
