"""A grid of 24 settings and 5 folds on the Magic table: fastmlp's search, scikit-learn's around the same estimator, scikit-learn's MLP.

    python bench/studies/grids.py FOLDER [--only fastmlp]

FOLDER keeps the wheel that the table is read from. Written to standard output as one JSON object per way: seconds of the clock and of the
processor, the best setting, its score. Of scikit-learn's MLPClassifier one fold of 8 settings is trained on one thread, and the seconds of
all 120 trainings are estimated from it, as alpha hardly changes them: it is said how.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn.model_selection as theirs
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import tables
from threadpoolctl import threadpool_limits

import fastmlp
import fastmlp.model_selection

AXES = {
    "hidden_layer_sizes": [(50,), (100,)], "alpha": [1e-5, 1e-4, 1e-3], "learning_rate_init": [1e-3, 3e-3], "batch_size": [100, 200],
}  # fmt: skip
FOLDS = theirs.StratifiedKFold(5, shuffle=True, random_state=0)
WAYS = ("fastmlp", "scikit-learn around fastmlp", "scikit-learn")


def searched(kind, table):
    """Return the record of a whole search, the best setting trained on all rows included."""
    model = make_pipeline(StandardScaler(), fastmlp.MLPClassifier(random_state=0))
    grid = {f"mlpclassifier__{name}": values for name, values in AXES.items()}
    fastmlp.MLPClassifier(max_iter=1).fit(table.x[:1000], table.y[:1000])  # the first call may compile
    clock, processor = time.perf_counter(), time.process_time()
    search = kind(model, grid, cv=FOLDS).fit(table.x, table.y)
    taken = time.perf_counter() - clock, time.process_time() - processor
    best = {name.removeprefix("mlpclassifier__"): value for name, value in search.best_params_.items()}
    return {
        "seconds": round(taken[0], 1), "processor seconds": round(taken[1], 1), "best": best, "score": round(search.best_score_, 4),
        "sum of scores": float(np.sum(search.cv_results_["mean_test_score"])),
    }  # fmt: skip


def estimated(table):
    """Return what the trainings cost with scikit-learn's MLPClassifier, from some of them."""
    train, _ = next(FOLDS.split(table.x, table.y))
    x = StandardScaler().fit_transform(table.x[train])
    some = list(theirs.ParameterGrid({name: values for name, values in AXES.items() if name != "alpha"}))
    processor = time.process_time()
    with threadpool_limits(1):
        for setting in some:
            sklearn.neural_network.MLPClassifier(**setting, random_state=0).fit(x, table.y[train])
    taken = time.process_time() - processor
    fits = len(theirs.ParameterGrid(AXES)) * FOLDS.n_splits
    return {"trainings": len(some), "processor seconds": round(taken, 1), f"processor seconds of {fits}": round(taken * fits / len(some))}


def main():
    """Search in each way that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default=",".join(WAYS))
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    table = next(table for table in tables(given.folder) if table.name == "Magic")
    for way in given.only.split(","):
        kind = theirs.GridSearchCV if way == WAYS[1] else fastmlp.model_selection.GridSearchCV
        print(json.dumps({"way": way, **(estimated(table) if way == WAYS[2] else searched(kind, table))}), flush=True)


if __name__ == "__main__":
    main()
