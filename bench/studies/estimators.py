"""The estimators beside scikit-learn's, with its parameters and its rule of stopping, on the development tables.

    python bench/studies/estimators.py FOLDER [--seeds 5] [--tables magic,phoneme] [--threads 1]

FOLDER keeps the wheels that the tables are read from. Each fit runs in turns with scikit-learn's, at so many threads for both. Written to
standard output as one JSON object per table: epochs, scores on rows held out, seconds of the clock and of the processor.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn.neural_network as theirs
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from tables import tables
from threadpoolctl import threadpool_limits

import fastmlp


def fitted(kind, x, y, held_out, seed, threads):
    """Return (epochs, score, seconds, seconds of the processor) of one fit with the defaults."""
    own = {"threads": threads} if kind.__module__.startswith("fastmlp") else {}
    model = kind(random_state=seed, **own)
    clock, processor = time.perf_counter(), time.process_time()
    with threadpool_limits(threads):
        model.fit(x, y)
    taken = time.perf_counter() - clock, time.process_time() - processor
    return model.n_iter_, float(model.score(*held_out)), *taken


def compare(table, seeds, threads):
    """Return the record of one table."""
    name = "MLPRegressor" if table.is_regression else "MLPClassifier"
    kinds = {"scikit-learn": getattr(theirs, name), "fastmlp": getattr(fastmlp, name)}
    runs = {kind: [] for kind in kinds}
    for seed in range(seeds):
        train, held_out = table.split(seed)
        scaler = StandardScaler().fit(table.x[train])
        y = table.y
        if table.is_regression:
            y = (y - y[train].mean(axis=0)) / y[train].std(axis=0)
        rows, judged = scaler.transform(table.x[train]), (scaler.transform(table.x[held_out]), y[held_out])
        if seed == 0:  # the first call may compile
            fastmlp_kind = kinds["fastmlp"]
            fastmlp_kind(max_iter=1, threads=threads).fit(rows, y[train])
        for kind, estimator in kinds.items():
            runs[kind].append(fitted(estimator, rows, y[train], judged, seed, threads))
    record = {"table": table.name, "rows": len(table.y), "columns": table.x.shape[1], "threads": threads, "seeds": seeds}
    for kind, found in runs.items():
        epochs, scores, clock, processor = (np.array(each) for each in zip(*found, strict=True))
        record[kind] = {
            "epochs": epochs.tolist(), "score": round(float(scores.mean()), 4), "seconds": round(float(np.median(clock)), 3),
            "processor seconds": round(float(np.median(processor)), 3),
        }  # fmt: skip
    for unit in ("seconds", "processor seconds"):
        ratios = [theirs_[2 + (unit != "seconds")] / ours[2 + (unit != "seconds")] for theirs_, ours in zip(*runs.values(), strict=True)]
        record[f"ratio of {unit}"] = round(float(np.median(ratios)), 2)
    return record


def main():
    """Compare all tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", default="")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for table in tables(given.folder):
        if not given.tables or table.name in given.tables.split(","):
            print(json.dumps(compare(table, given.seeds, given.threads)), flush=True)


if __name__ == "__main__":
    main()
