"""What a training tells while it goes on: records without arithmetic."""

import os
from typing import Any, NamedTuple

from fastmlp.errors import MissingExtra
from fastmlp.settings import record_refuses_unknown
from fastmlp.training.state import TrainingState


@record_refuses_unknown
class Epoch(NamedTuple):
    """What one epoch gave. Losses are means per sample; accuracy is None for regression, validation None without such rows.

    Where rows have weights, each mean is the weighted one.
    """

    epoch: int  # from 1
    train_loss: float  # over the epoch, each batch before its update
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float  # of its last step
    seconds: float  # of training, without the validation
    samples_per_second: float
    validation_metric: float | None = None  # the one in the setting `metric`, by which the best epoch is told


@record_refuses_unknown
class Progress(NamedTuple):
    """Where training stands within an epoch."""

    epoch: int  # from 1
    epochs: int
    rows_done: int
    rows: int
    seconds: float  # of this epoch so far
    loss: float  # mean so far


class History(list[Epoch]):
    """The epochs of a training, oldest first.

    state: where it stands. stopped: why it ended, "epochs", "patience", "target_accuracy", "time_budget", "converged" or "callback"; None
    while it runs, or where an error ended it. best_epoch: the epoch with the best value of the metric, None without held-out rows.
    """

    state: TrainingState | None = None
    stopped: str | None = None
    best_epoch: int | None = None

    def note(self, state: TrainingState) -> None:
        """Take down where a training stands."""
        self.state, self.best_epoch = state, state.best_epoch or None

    def to_dict(self) -> dict[str, list[Any]]:
        """Return {field: [value per epoch]}."""
        return {field: [getattr(one, field) for one in self] for field in Epoch._fields}

    def to_frame(self) -> Any:
        """Return a data frame with a row per epoch: pandas', or polars' where that alone is installed. Raises MissingExtra without both."""
        try:
            from pandas import DataFrame
        except ImportError:
            try:
                from polars import DataFrame
            except ImportError:
                raise MissingExtra("to_frame: expected pandas or polars, found neither; run: pip install 'fastmlp[tables]'") from None
        return DataFrame(self.to_dict())

    def plot(self, path: str | os.PathLike[str] | None = None) -> None:
        """Draw loss and accuracy over the epochs: into a file, .png, .svg or .csv; without one, under the cell of a notebook or as text.

        Raises DataError where there is no epoch, MissingExtra without matplotlib, or plotext where text is printed.
        """
        from fastmlp.rendering.library import plot

        plot(self, path)
