"""The same training with different seeds: what chance alone changes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from fastmlp.search.ledger import Record
from fastmlp.search.statistics import Summary, summarise
from fastmlp.search.task import DONE, Task
from fastmlp.settings import METRICS, NetworkSettings, TrainingSettings, as_text, refuses_unknown, whole_number

SCORES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "validation_metric")


class EpochSummary(NamedTuple):
    """One epoch over all runs; None for what was not measured."""

    epoch: int
    train_loss: Summary | None
    train_accuracy: Summary | None
    validation_loss: Summary | None
    validation_accuracy: Summary | None
    validation_metric: Summary | None = None  # the one in the setting `metric`


@refuses_unknown
def repeat_tasks(
    network: NetworkSettings, training: TrainingSettings, runs: int, changed: dict[str, Any] | None = None, opens_test: bool = False
) -> list[Task]:
    """Return the same training `runs` times, with the seeds that follow the one in the settings."""
    change = changed or {}
    seeds = range(training.seed, training.seed + whole_number("runs", runs, at_least=1))
    return [Task(task_key(change, seed), network, training.replace(seed=seed), change, opens_test=opens_test) for seed in seeds]


def task_key(changed: dict[str, Any], seed: int) -> str:
    """Return the name of a model among those of an experiment: what was changed, and the seed."""
    return " ".join([*(f"{name}={as_text(value)}" for name, value in changed.items()), f"seed={seed}"])


def summarise_epochs(records: Sequence[Record]) -> list[EpochSummary]:
    """Return the summary of each epoch over the models that did not diverge, nor stop before it."""
    histories = [record["history"] for record in records if record["outcome"] == DONE]
    epochs = max((len(history["epoch"]) for history in histories), default=0)
    return [
        EpochSummary(
            place + 1,
            *(summarise([history[score][place] for history in histories if place < len(history.get(score, ()))]) for score in SCORES),
        )
        for place in range(epochs)
    ]


def summarise_scores(records: Sequence[Record], rows: str) -> dict[str, Summary | None]:
    """Return loss and accuracy, and what else was measured, on the `rows` "validation" or "test", over models that did not diverge."""
    measured = [record[rows] for record in records if record["outcome"] == DONE and record[rows] is not None]
    names = [name for name in METRICS if name in ("loss", "accuracy") or any(name in scores for scores in measured)]
    return {name: summarise([scores.get(name) for scores in measured]) for name in names}
