"""One model to train among many, what came out, and how far all of them are. Free of numba: a worker reads it before Numba starts."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from fastmlp.settings import NetworkSettings, TrainingSettings

if TYPE_CHECKING:
    from fastmlp.network import Network
    from fastmlp.training.history import History

DONE, DIVERGED = "done", "diverged"
Step = TypeVar("Step")
Result = TypeVar("Result")


class Folds(NamedTuple):
    """How rows were dealt out to folds; see folds.folds_of."""

    number: int
    seed: int


class Task(NamedTuple):
    """One model to train: its name among the others, its settings, and the rows that it sees."""

    key: str
    network: NetworkSettings
    training: TrainingSettings  # its seed is the model's; threads counts for nothing
    changed: Mapping[str, Any] = {}  # the settings that tell it from the others, as plain values
    fold: int | None = None  # of the folds, the one that scores the model
    folds: Folds | None = None
    train_rows: np.ndarray | None = None  # numbers of rows, ascending; None: all but those that the fold or the settings hold out
    validation_rows: np.ndarray | None = None  # with train_rows
    start: "Callable[[Network], None] | None" = None  # changes the weights that training begins with
    opens_test: bool = False  # whether the trained model is evaluated on the test set, once


class Trained(NamedTuple):
    """One model, trained."""

    task: Task
    network: "Network"
    history: "History"
    validation: dict[str, float | None]  # loss and accuracy after the last epoch, or the best where its weights are restored; of numbers
    # rmse, mae and r2, too
    test: dict[str, float | None] | None
    seconds: float
    outcome: str  # DONE, or DIVERGED: its loss was no longer finite


class BankProgress(NamedTuple):
    """How far a bank is."""

    done: int  # models trained
    models: int
    share: float  # of the work, 0 to 1, models under way included
    seconds: float


class Lost(NamedTuple):
    """A worker is gone; what it was training is trained again."""

    models: int
    why: str


Event = BankProgress | Trained | Lost


def followed(events: Generator[Step, None, Result], tell: Callable[[Step], object] = lambda _: None) -> Result:
    """Run what yields events to its end, and return what it returns; tell: is given each event."""
    with contextlib.closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                result: Result = end.value
                return result
            tell(event)
