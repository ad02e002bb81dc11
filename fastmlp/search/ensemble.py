"""Several networks trained on the same rows, from other seeds, and the one that answers the mean of what they answer."""

import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError, FastmlpError, TrainingError, warn
from fastmlp.network import Network
from fastmlp.network.joined import joined
from fastmlp.search.bank import train_bank
from fastmlp.search.ledger import Ledger, record_of
from fastmlp.search.repeat import repeat_tasks
from fastmlp.search.task import DONE, BankProgress, Event, Task, Trained, followed
from fastmlp.settings import NetworkSettings, TrainingSettings, refuses_unknown, settings_in_effect, whole_number
from fastmlp.storage.atomic import make_folder
from fastmlp.training import optimizers
from fastmlp.training.history import Epoch, History


class Ensemble(NamedTuple):
    """What a training of several networks gives: the network of all of them, and the models, ordered by their seeds."""

    network: Network
    models: tuple[Trained, ...]

    def epochs(self) -> list[Epoch]:
        """Return for each epoch the means over the networks that were trained so long; the seconds are sums, a sample is one for all."""
        histories = [model.history for model in self.models]
        return [
            _mean([history[place] for history in histories if len(history) > place])
            for place in range(max((len(history) for history in histories), default=0))
        ]


class Kept:
    """The networks of an ensemble that are done, in a folder: a file of each, and a ledger of how they were trained.

    So a training that was interrupted goes on with those that are missing. The folder is made if absent.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder
        self._ledger = Ledger(folder / "models.jsonl")

    def of(self, tasks: Sequence[Task]) -> list[Trained]:
        """Return the models of tasks that are there and sound."""
        found = []
        for task in (task for task in tasks if task.key in self._ledger):
            record = self._ledger[task.key]
            try:
                network: Network = Network.load(self._file(task))
            except FastmlpError:  # it is trained again
                continue
            history = History(Epoch(*values) for values in zip(*(record["history"][name] for name in Epoch._fields), strict=True))
            found.append(Trained(task, network, history, record["validation"], record["test"], record["seconds"], record["outcome"]))
        return found

    def add(self, model: Trained) -> None:
        """Keep a model, unless its training diverged."""
        if model.outcome == DONE:
            model.network.save(self._file(model.task), model.task.training)
            self._ledger.add(record_of(model))

    def _file(self, task: Task) -> Path:
        return self._folder / f"{task.training.seed}.safetensors"


@refuses_unknown
def train_ensemble(data: Dataset, networks: int | None = None, settings: Mapping[str, Any] | None = None) -> Network:
    """Train networks on a data set, as many at a time as there are cores, and return one that answers the mean of their outputs.

    networks: how many; None: as many as the preset of a table says, one for those that are no `best`. settings: of the networks and their
    training, by name, over the data set's own; seeds follow on `seed`. The same rows are held out for all. A network of k others has hidden
    layers k times as wide (network/joined.py), and is saved, evaluated and compiled as any other; its bits do not depend on the number of
    cores. Where the loss of some of them is no longer finite a warning says so, and the others are the ensemble.

    Raises ConfigError for settings that do not fit, TrainingError where no network is left.
    """
    if not isinstance(data, Dataset):
        raise ConfigError(f"data: expected a fastmlp.Dataset, got {type(data).__name__}; fastmlp.load_table makes one of a table")
    count = data.n_networks if networks is None else whole_number("networks", networks, at_least=1)
    if not isinstance(settings, Mapping | None):
        raise ConfigError(f"settings: expected a mapping {{name: value}}, got {type(settings).__name__}")
    network, training = settings_in_effect(optimizers.as_settings(settings or {}), data.network_defaults, data.training_defaults)
    found: Ensemble = followed(trained_together(data, network, training, count))
    return found.network


def trained_together(
    data: Dataset, network: NetworkSettings, training: TrainingSettings, count: int, kept: Kept | None = None
) -> Generator[Event, None, Ensemble]:
    """Train so many networks on a data set, yield what becomes of each, and return the ensemble; TrainingError where none is left.

    kept: where networks are kept that are done, and taken from if they are there.
    """
    started, tasks = time.perf_counter(), repeat_tasks(network, training, count)
    models = [] if kept is None else kept.of(tasks)
    there = {model.task.key for model in models}
    missing = [task for task in tasks if task.key not in there]
    for event in train_bank(missing, data, training.threads):
        if isinstance(event, Trained):
            models.append(event)
            if kept is not None:
                kept.add(event)
        if isinstance(event, BankProgress):
            share = (len(there) + event.share * len(missing)) / count
            yield BankProgress(len(there) + event.done, count, share, time.perf_counter() - started)
        else:
            yield event
    done = tuple(sorted((model for model in models if model.outcome == DONE), key=lambda model: model.task.training.seed))
    if not done:
        raise TrainingError(f"the loss of all {count} networks is no longer finite; choose a smaller learning rate")
    if len(done) < count:
        warn(f"{count - len(done)} of {count} networks diverged and are left out")
    return Ensemble(joined([model.network for model in done]), done)


def _mean(epochs: Sequence[Epoch]) -> Epoch:
    found = {name: [getattr(one, name) for one in epochs] for name in Epoch._fields}
    means = {name: None if None in values else sum(values) / len(values) for name, values in found.items()}
    seconds, rows = sum(found["seconds"]), sum(one.seconds * one.samples_per_second for one in epochs) / len(epochs)
    speed = rows / seconds if seconds else 0.0
    return Epoch(**{**means, "epoch": epochs[0].epoch, "seconds": seconds, "samples_per_second": speed})
