"""The presets of fastmlp beside other libraries at their defaults, on the development tables: score, seconds to fit and to predict.

    python bench/tables.py FOLDER [--seeds N] [--only TABLE] [--method NAME] [--file FILE]

FOLDER keeps the wheels that the tables are read from (bench/studies/tables.py). The file, bench/results/tables.jsonl by default, gets a
line for each seed, table and method that it does not have yet, so that a pass can be broken off and gone on with. A fifth of the rows,
drawn anew for each seed, is held out, and scores are accuracy or R² there. fastmlp reads its rows from Parquet, as `fastmlp train` does,
which counts as fitting; the others are given what their documentation asks for: categories as pandas has them to the trees, one-hot and
standardised rows to scikit-learn's MLP. All use two threads. A library that is not installed is passed over, with a word.
bench/make_tables.py makes the table of docs/tables.md from the file.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).with_name("studies")))
from tables import Table, columns

RESULTS = Path(__file__).with_name("results") / "tables.jsonl"
SEEDS = 3
THREADS = 2


class Rows(NamedTuple):
    """One split of a table: columns by name, each (n,), and what is to be predicted."""

    cells: Mapping[str, np.ndarray]
    y: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    is_regression: bool

    def part(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return some rows of the columns."""
        return {name: values[rows] for name, values in self.cells.items()}


Fitted = Callable[[], np.ndarray]  # predicts the rows held out
Fit = Callable[[Rows, int], Fitted]


def fastmlp(preset: str) -> Fit:
    """Return what trains as `fastmlp train --preset` does."""

    def fit(rows: Rows, seed: int) -> Fitted:
        import polars as pl

        from fastmlp import load_table, train_ensemble

        held_out = pl.DataFrame(rows.part(rows.held_out))
        with tempfile.TemporaryDirectory() as folder:
            for name, part in (("train", rows.train), ("test", rows.held_out[:1])):
                pl.DataFrame({**rows.part(part), "target": rows.y[part]}).write_parquet(f"{folder}/{name}.parquet")
            data = load_table(f"{folder}/train.parquet", "target", test_file=f"{folder}/test.parquet", preset=preset, split_seed=seed)
            network = train_ensemble(data, settings={"seed": seed})
        return lambda: np.asarray(network.predict(held_out))

    return fit


def sklearn_mlp(rows: Rows, seed: int) -> Fitted:
    """Train scikit-learn's MLP on one-hot and standardised rows, and on standardised targets."""
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    texts = [name for name, values in rows.cells.items() if values.dtype.kind in "UO"]
    numbers = [name for name in rows.cells if name not in texts]
    prepared = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), texts), (StandardScaler(), numbers), sparse_threshold=0)
    network = (MLPRegressor if rows.is_regression else MLPClassifier)(random_state=seed)
    model = make_pipeline(prepared, network)
    return _of_pandas(TransformedTargetRegressor(model, transformer=StandardScaler()) if rows.is_regression else model, rows, "object")


def hist_gradient_boosting(rows: Rows, seed: int) -> Fitted:
    """Train scikit-learn's trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if rows.is_regression else HistGradientBoostingClassifier
    return _of_pandas(kind(random_state=seed), rows)


def lightgbm(rows: Rows, seed: int) -> Fitted:
    """Train LightGBM."""
    import lightgbm as library

    kind = library.LGBMRegressor if rows.is_regression else library.LGBMClassifier
    return _of_pandas(kind(random_state=seed, n_jobs=THREADS, verbose=-1), rows)


def xgboost(rows: Rows, seed: int) -> Fitted:
    """Train XGBoost, which takes class numbers only."""
    import xgboost as library

    classes, numbers = np.unique(rows.y, return_inverse=True)
    kind = library.XGBRegressor if rows.is_regression else library.XGBClassifier
    model = kind(random_state=seed, n_jobs=THREADS, enable_categorical=True)
    predict = _of_pandas(model, rows if rows.is_regression else rows._replace(y=numbers))
    return predict if rows.is_regression else lambda: classes[predict()]


def catboost(rows: Rows, seed: int) -> Fitted:
    """Train CatBoost."""
    import catboost as library

    kind = library.CatBoostRegressor if rows.is_regression else library.CatBoostClassifier
    texts = [name for name, values in rows.cells.items() if values.dtype.kind in "UO"]
    model = kind(random_seed=seed, thread_count=THREADS, verbose=False, allow_writing_files=False, cat_features=texts)
    predict = _of_pandas(model, rows, "object")
    return lambda: np.ravel(predict())


def _of_pandas(model: Any, rows: Rows, texts: str = "category") -> Fitted:
    """Train an estimator on frames of pandas, where texts have this type."""
    import pandas as pd

    frame = pd.DataFrame(dict(rows.cells))
    frame = frame.astype({name: texts for name, values in rows.cells.items() if values.dtype.kind in "UO"})
    model.fit(frame.iloc[rows.train], rows.y[rows.train])
    held_out = frame.iloc[rows.held_out]
    return lambda: np.asarray(model.predict(held_out))


def pytabkit(name: str) -> Fit:
    """Return what trains a network of pytabkit, on the processor."""

    def fit(rows: Rows, seed: int) -> Fitted:
        import pytabkit as library

        kind = getattr(library, f"{name}_{'Regressor' if rows.is_regression else 'Classifier'}")
        return _of_pandas(kind(device="cpu", random_state=seed, n_threads=THREADS), rows)

    return fit


METHODS: Mapping[str, tuple[str, Fit]] = {  # name -> the package that is needed, and how it is fitted
    **{f"fastmlp {preset}": ("fastmlp", fastmlp(preset)) for preset in ("fast", "default", "best")},
    "MLP": ("sklearn", sklearn_mlp),
    "HistGradientBoosting": ("sklearn", hist_gradient_boosting),
    "LightGBM": ("lightgbm", lightgbm),
    "XGBoost": ("xgboost", xgboost),
    "CatBoost": ("catboost", catboost),
    "RealMLP": ("pytabkit", pytabkit("RealMLP_TD_S")),
    "TabM": ("pytabkit", pytabkit("TabM_D")),
}


def measured(method: str, name: str, rows: Rows, seed: int) -> dict[str, Any]:
    """Return the line of one method on one split."""
    package, fit = METHODS[method]
    started, cpu = time.perf_counter(), time.process_time()
    predict = fit(rows, seed)
    fitted, cpu = time.perf_counter(), time.process_time() - cpu
    found = predict()
    done = time.perf_counter()
    true = rows.y[rows.held_out]
    score = 1 - np.mean((found - true) ** 2) / np.var(true) if rows.is_regression else np.mean(found == true)
    version = getattr(importlib.import_module(package), "__version__", None) or importlib.metadata.version(package)
    return {
        "table": name, "method": method, "seed": seed, "score": round(float(score), 5), "is_regression": rows.is_regression,
        "fit": round(fitted - started, 3), "cpu": round(cpu, 3), "predict": round(done - fitted, 4), "rows": len(rows.y),
        "columns": len(rows.cells), "version": version,
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Measure what the file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", action="append", metavar="TABLE")
    parser.add_argument("--method", action="append", choices=METHODS)
    parser.add_argument("--file", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = str(THREADS)  # of scikit-learn's trees, before it is imported
    warnings.simplefilter("ignore")
    lines = given.file.read_text(encoding="utf-8").splitlines() if given.file.exists() else []
    known = {(one["table"], one["method"], one["seed"]) for one in map(json.loads, lines)}
    methods = []
    for method in given.method or METHODS:
        try:
            importlib.import_module(METHODS[method][0])
            methods.append(method)
        except ImportError:
            sys.stderr.write(f"passed over: {method}, which is not installed\n")
    found = [each for each in columns(given.folder) if not given.only or each[0] in given.only]
    for seed in range(given.seeds):
        for name, cells, target in sorted(found, key=lambda each: len(each[1][each[2]])):
            arrays = {column: np.array(values) for column, values in cells.items()}
            y = arrays.pop(target)
            is_regression = y.dtype.kind == "f"
            labels = y if is_regression else np.unique(y, return_inverse=True)[1]
            rows = Rows(arrays, y, *Table(name, np.empty((len(y), 0)), labels).split(seed), is_regression)
            for method in methods:
                if (name, method, seed) not in known:
                    line = json.dumps(measured(method, name, rows, seed))
                    with given.file.open("a", encoding="utf-8") as file:
                        file.write(line + "\n")
                    sys.stdout.write(line + "\n")
                    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
