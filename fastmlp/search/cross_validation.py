"""Cross-validation: every training row is held out once, by a model that has not seen it."""

from collections.abc import Sequence
from typing import NamedTuple

from fastmlp.data.dataset import Dataset
from fastmlp.search.folds import check_folds
from fastmlp.search.ledger import Record
from fastmlp.search.repeat import summarise_scores
from fastmlp.search.statistics import Summary
from fastmlp.search.task import DIVERGED, Folds, Task
from fastmlp.settings import NetworkSettings, TrainingSettings, refuses_unknown, whole_number


class CvResult(NamedTuple):
    """What cross-validation says of a setting: over models, each on its own fold."""

    loss: Summary | None
    accuracy: Summary | None
    models: int
    diverged: int
    rmse: Summary | None = None  # of numbers, as are the others
    mae: Summary | None = None
    r2: Summary | None = None
    balanced_accuracy: Summary | None = None  # these where the setting `metric` names one
    auc: Summary | None = None
    f1: Summary | None = None
    log_loss: Summary | None = None
    pinball: Summary | None = None


@refuses_unknown
def cv_tasks(network: NetworkSettings, training: TrainingSettings, data: Dataset, folds: int, runs: int = 1) -> list[Task]:
    """Return a task for each fold, `runs` times with seeds that follow the one in the settings; the folds follow the first seed.

    Settings that judge epochs (restore_best, patience, target_accuracy, schedule plateau) do so by rows that `validation` and `holdout`
    hold out of the training rows of each fold; others pass over these two. A fold scores the trained model, and has no other say.
    """
    check_folds(data, folds)
    drawn = Folds(folds, training.seed)
    return [
        Task(f"fold={fold} seed={seed}", network, training.replace(seed=seed), fold=fold, folds=drawn)
        for seed in range(training.seed, training.seed + whole_number("runs", runs, at_least=1))
        for fold in range(folds)
    ]


def summarise_folds(records: Sequence[Record]) -> CvResult:
    """Return loss and accuracy, and of numbers rmse, mae and r2, over the models of all folds that did not diverge."""
    diverged = sum(record["outcome"] == DIVERGED for record in records)
    return CvResult(**summarise_scores(records, "validation"), models=len(records), diverged=diverged)
