"""Cross-validation: every training row is held out once, by a model that has not seen it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError
from fastmlp.kernels import random
from fastmlp.search.ledger import Record
from fastmlp.search.repeat import summarise_scores
from fastmlp.search.statistics import Summary
from fastmlp.search.task import DIVERGED, Task
from fastmlp.settings import NetworkSettings, TrainingSettings


class CvResult(NamedTuple):
    """What cross-validation says of a setting: over models, each on its own fold."""

    loss: Summary | None
    accuracy: Summary | None
    models: int
    diverged: int
    rmse: Summary | None = None  # of numbers, as are the others
    mae: Summary | None = None
    r2: Summary | None = None


def folds_of(data: Dataset, folds: int, seed: int) -> np.ndarray:
    """Return for each training row the fold (0 to folds - 1) that holds it out.

    Rows are shuffled by the seed, then dealt out class by class, so that folds differ by at most one row, and by at most one of each class.
    """
    n = len(data.x_train)
    if not 2 <= folds <= n:
        raise ConfigError(f"folds: expected 2 to {n}, the number of training rows, got {folds}")
    order = np.arange(n)
    with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
        random.shuffle(order, np.uint64(random.stream_key(seed, random.FOLDS, 0)))
    if data.target_kind == "classes":
        order = order[np.argsort(data.y_train[order], kind="stable")]
    fold_of = np.empty(n, np.int64)
    fold_of[order] = np.arange(n) % folds
    return fold_of


def cv_tasks(network: NetworkSettings, training: TrainingSettings, data: Dataset, folds: int, runs: int = 1) -> list[Task]:
    """Return a task for each fold, `runs` times with seeds that follow the one in the settings; the folds follow the first seed."""
    fold_of = folds_of(data, folds, training.seed)
    tasks = []
    for run in range(runs):
        settings = training.replace(seed=training.seed + run)
        for fold in range(folds):
            held_out = fold_of == fold
            tasks.append(
                Task(
                    f"fold={fold} seed={settings.seed}",
                    network,
                    settings,
                    fold=fold,
                    train_rows=np.flatnonzero(~held_out),
                    validation_rows=np.flatnonzero(held_out),
                )
            )
    return tasks


def summarise_folds(records: Sequence[Record]) -> CvResult:
    """Return loss and accuracy, and of numbers rmse, mae and r2, over the models of all folds that did not diverge."""
    diverged = sum(record["outcome"] == DIVERGED for record in records)
    return CvResult(**summarise_scores(records, "validation"), models=len(records), diverged=diverged)
