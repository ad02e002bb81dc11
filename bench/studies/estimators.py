"""The estimators beside scikit-learn's, with its parameters and its rule of stopping, on the development tables.

    python bench/studies/estimators.py FOLDER [--seeds 5] [--tables magic,phoneme] [--threads 2]

FOLDER keeps the wheels that the tables are read from. Each fit with up to so many threads runs in turns with scikit-learn's with each
number of BLAS threads up to that; the ratio is that to the faster of those, by medians over the seeds. Written to standard output as one
JSON object per table, and one of what holds over all of them: epochs, scores on rows held out, seconds of the clock and of the processor.
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

REST_SECONDS = 0.3  # before each fit: threads of a BLAS go on spinning for a while after theirs
LEFT_OUT = ("linnerud",)  # 20 rows: four held out tell nothing


def fitted(kind, x, y, held_out, seed, threads):
    """Return (epochs, score, seconds, seconds of the processor) of one fit with the defaults."""
    own = {"threads": threads} if kind.__module__.startswith("fastmlp") else {}
    model = kind(random_state=seed, **own)
    time.sleep(REST_SECONDS)
    clock, processor = time.perf_counter(), time.process_time()
    with threadpool_limits(threads):
        model.fit(x, y)
    taken = time.perf_counter() - clock, time.process_time() - processor
    return model.n_iter_, float(model.score(*held_out)), *taken


def compare(table, seeds, threads):
    """Return the record of one table."""
    name = "MLPRegressor" if table.is_regression else "MLPClassifier"
    theirs_ = [(f"scikit-learn, {count} BLAS", getattr(theirs, name), count) for count in range(1, threads + 1)]
    kinds = [*theirs_, ("fastmlp", getattr(fastmlp, name), threads)]
    runs = {label: [] for label, _, _ in kinds}
    for seed in range(seeds):
        train, held_out = table.split(seed)
        scaler = StandardScaler().fit(table.x[train])
        y = table.y
        if table.is_regression:
            y = (y - y[train].mean(axis=0)) / y[train].std(axis=0)
        rows, judged = scaler.transform(table.x[train]), (scaler.transform(table.x[held_out]), y[held_out])
        if seed == 0:  # the first call may compile
            kinds[-1][1](max_iter=1, threads=threads).fit(rows, y[train])
        for label, estimator, count in kinds[seed % len(kinds) :] + kinds[: seed % len(kinds)]:
            runs[label].append(fitted(estimator, rows, y[train], judged, seed, count))
    record = {"table": table.name, "rows": len(table.y), "columns": table.x.shape[1], "threads": threads, "seeds": seeds}
    for label, found in runs.items():
        epochs, scores, clock, processor = (np.array(each) for each in zip(*found, strict=True))
        record[label] = {
            "epochs": epochs.tolist(), "score": round(float(scores.mean()), 4), "seconds": round(float(np.median(clock)), 4),
            "processor seconds": round(float(np.median(processor)), 4),
        }  # fmt: skip
    best, ours = min((record[label] for label, _, _ in theirs_), key=lambda one: one["seconds"]), record["fastmlp"]
    record["ratio"] = round(best["seconds"] / ours["seconds"], 2)
    record["points"] = round(100 * (ours["score"] - best["score"]), 2)
    return record


def summary(records):
    """Return what holds over all tables."""
    return {
        "tables": len(records), "ten times": sum(one["ratio"] >= 10 for one in records),
        "least ratio": min(one["ratio"] for one in records),
        "within 0.2 points": sum(abs(one["points"]) <= 0.2 for one in records),
        "at most 0.1 below": sum(one["points"] >= -0.1 for one in records),
    }  # fmt: skip


def main():
    """Compare all tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", default="")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    records = []
    for table in tables(given.folder):
        if table.name in given.tables.split(",") if given.tables else table.name not in LEFT_OUT:
            records.append(compare(table, given.seeds, given.threads))
            print(json.dumps(records[-1]), flush=True)
    print(json.dumps(summary(records)), flush=True)


if __name__ == "__main__":
    main()
