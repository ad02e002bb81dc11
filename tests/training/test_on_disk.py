"""Training on a table that is larger than memory is training on its rows in memory, in another order."""

import csv
import gzip
import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import fastmlp
from fastmlp.data import stored
from fastmlp.training.on_disk import Reader
from fastmlp.training.train import planned

CLASSES = np.array(list("klmnopqrst"))


def table_of(n, seed=0):
    """Rows sorted by class, as a frame: 20 numbers and one of ten classes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 20)).astype(np.float32)
    weight = np.random.default_rng(1).standard_normal((20, 10))
    y = (x @ weight + 0.5 * rng.standard_normal((n, 10))).argmax(axis=1)
    order = np.argsort(y, kind="stable")
    return pl.DataFrame({f"f{column + 1}": x[order, column] for column in range(20)} | {"y": CLASSES[y[order]]})


@pytest.fixture
def opened(tmp_path):
    """A function that opens a frame as a table on the disk with room for so many rows in memory."""

    def open_frame(frame, rows, target="y", **arguments):
        path = tmp_path / "t.parquet"
        frame.write_parquet(path, row_group_size=max(frame.height // 7, 1))
        table = fastmlp.open_table(path, target, **arguments)
        table.memory = stored.RESERVE + rows * (table.n_features * (table.dtype.itemsize + 4) + 48)
        return table

    return open_frame


def test_each_epoch_gives_every_training_row_once_and_no_other(opened):
    n = 5_003
    frame = pl.DataFrame({"number": np.arange(n, dtype=np.float32), "y": np.arange(n) % 3})
    table = opened(frame, 700)
    for batch_size, validation in ((1, 0), (7, 100), (32, 0.03), (300, 3)):
        network = fastmlp.Network([1, 2, 3])
        plan = planned(network, table, None, None, None, {"batch_size": batch_size, "validation": validation, "normalize": "none"})
        reader, held_out = Reader(plan, plan.on_disk), plan.on_disk.held_out
        assert plan.validation is None if validation == 0 else np.array_equal(plan.validation.rows[:, 0], held_out)
        orders = []
        for epoch in range(2):
            row, seen = 0, []
            while row < plan.n_rows:
                chunk = reader.chunk(row, epoch)
                assert chunk.first == row
                assert len(chunk.order) <= 700
                assert (len(chunk.order) % batch_size == 0) or chunk.last == plan.n_rows
                assert np.array_equal(chunk.target.argmax(axis=1) if chunk.target.shape[1] > 1 else chunk.target[:, 0], chunk.x[:, 0] % 3)
                seen.append(chunk.x[chunk.order, 0].astype(int))
                row = chunk.last
            orders.append(np.concatenate(seen))
            assert np.array_equal(np.sort([*orders[-1], *held_out]), np.arange(n))
        assert not np.array_equal(*orders)


def test_a_sorted_table_is_learned_as_well_as_in_memory(opened):
    frame, test = table_of(40_000), table_of(10_000, seed=2)
    table = opened(frame, 5_000)
    x, y, test_x = frame.drop("y").to_numpy(), frame["y"].to_numpy(), test.drop("y").to_numpy()
    found = {}
    for name, data in (("disk", (table,)), ("memory", (x, y))):
        networks = [fastmlp.Network([20, 32, 10], seed=seed) for seed in range(3)]
        for seed, network in enumerate(networks):
            fastmlp.train(network, *data, epochs=6, seed=seed, batch_size=64, average="ema", verbose=False)
        found[name] = np.mean([network.predict(test_x) == test["y"].to_numpy() for network in networks])
    assert found["disk"] >= found["memory"] - 0.003
    assert found["memory"] > 0.8


def test_the_bits_are_the_same_for_any_number_of_threads_and_wherever_it_was_interrupted(opened):
    table = opened(table_of(6_000), 2_000)
    settings = {"epochs": 3, "seed": 5, "validation": 500, "batch_size": 32}
    networks = [fastmlp.Network([20, 64, 10], seed=1) for _ in range(3)]
    whole = fastmlp.train(networks[0], table, threads=1, **settings)
    fastmlp.train(networks[1], table, threads=2, **settings)
    trainer = fastmlp.Trainer(planned(networks[2], table, None, None, None, settings))
    for _ in range(130):  # into the second chunk of the first epoch
        trainer.step()
    ended = fastmlp.train(networks[2], table, resume=trainer.state(), **settings)
    for network in networks[1:]:
        assert np.array_equal(network.parameters, networks[0].parameters)
    assert ended[-1].validation_loss == whole[-1].validation_loss


def test_every_format_is_kept_as_it_is_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "PARTS", 1 << 14)  # parts of some 4 kB
    frame = table_of(1_000)
    rows = [frame.columns, *frame.iter_rows()]
    with open(tmp_path / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows([*rows[:500], [], *rows[500:]])  # with a blank line
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    frame.write_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", f=frame.drop("y").to_numpy(), y=frame["y"].to_numpy().astype(str))
    for path in sorted(tmp_path.iterdir()):
        table = fastmlp.open_table(path, "y", drop=frame.columns[3])
        x, y = table.rows(np.arange(1_000))
        assert np.array_equal(x, frame.drop("y", frame.columns[3]).to_numpy()), path
        assert table.labels[y.astype(int)].tolist() == frame["y"].to_list()
    labels = ["a", *["1", "2"] * 1_500]
    pl.DataFrame({"x": range(3_001), "y": labels}).write_csv(tmp_path / "mixed.csv")
    with pytest.warns(UserWarning, match="found 'a' among"):  # in the first part; the others hold numbers alone
        table = fastmlp.open_table(tmp_path / "mixed.csv", "y")
    assert table.labels[table.rows(np.arange(3_001))[1].astype(int)].tolist() == labels
    np.save(tmp_path / "x.npy", np.arange(12_000, dtype=np.uint8).reshape(-1, 3))
    table = fastmlp.open_table(tmp_path / "x.npy", "x3")
    assert table.dtype == np.uint8
    assert np.array_equal(np.column_stack(table.rows(np.arange(4_000))), np.load(tmp_path / "x.npy"))


def test_faults_of_a_table_are_found_before_a_network_is_touched(opened, tmp_path):
    for frame, message in (
        (pl.DataFrame({"a": [1.0, None], "y": [0, 1]}), "row 2, column 'a': expected a number, found a missing one"),
        (pl.DataFrame({"a": ["u", "v"], "y": [0, 1]}), "column 'a': expected numbers in a table that is kept on the disk, found String"),
        (pl.DataFrame({"a": [1.0, 2.0], "y": [0, None]}), "row 2, column 'y': expected a target, found a missing one"),
        (pl.DataFrame({"a": [1.0, np.inf], "y": [0, 1]}), "row 2, column 'a': expected a finite number"),
        (pl.DataFrame({"a": [1.0, 2.0], "z": [0, 1]}), "expected a column 'y', found none"),
        (pl.DataFrame({"y": [0, 1]}), "expected features beside the target 'y'"),
    ):
        with pytest.raises(fastmlp.DataError) as error:
            opened(frame, 100)
        assert message in str(error.value)
    for memory in ("1", "lots", "1e9", True):
        with pytest.raises(fastmlp.ConfigError, match="memory: expected"):
            opened(table_of(10), 100, memory=memory)
    table = opened(table_of(1_000), 400)
    network = fastmlp.Network([20, 4, 10])
    before = network.parameters.copy()
    for settings in (
        {"optimizer": "lbfgs"}, {"class_weight": "balanced"}, {"holdout": "stratified", "validation": 5}, {"augment_shift": 1.0},
        {"sample_weight": np.ones(1_000)}, {"y": np.ones(1_000)},
    ):  # fmt: skip
        with pytest.raises(fastmlp.ConfigError, match="with a table on the disk"):
            fastmlp.train(network, table, epochs=1, **settings)
    with pytest.raises(fastmlp.NotEnoughMemory, match="validation"):
        fastmlp.train(network, table, epochs=1, validation=500)
    assert np.array_equal(network.parameters, before)
    assert network.input_scaling is None


@pytest.mark.long
def test_mnist_sorted_by_class_is_learned_as_well_as_in_memory(opened, mnist):
    x, y, test_x = mnist.x_train.reshape(-1, 784), mnist.y_train.astype(int), mnist.x_test.reshape(-1, 784)
    order = np.argsort(y, kind="stable")
    table = opened(pl.DataFrame({f"x{pixel}": x[order, pixel] for pixel in range(784)} | {"y": y[order]}), 8_000)
    found = []
    for data in ((table,), (x, y)):
        networks = [fastmlp.Network([784, 100, 10], seed=seed) for seed in range(3)]
        for seed, network in enumerate(networks):
            fastmlp.train(network, *data, epochs=4, seed=seed, verbose=False)
        found.append(np.mean([network.predict(test_x) == mnist.y_test for network in networks]))
    assert found[0] >= found[1] - 0.003
    assert found[1] > 0.96


CHILD = """
import json, sys
import fastmlp
from fastmlp import machine
table = fastmlp.open_table(sys.argv[1], "y", memory=sys.argv[2])
network = fastmlp.Network([30, 64, 2], seed=0)
history = fastmlp.train(network, table, epochs=1, validation=20_000, batch_size=256)
print(json.dumps([table.n_rows, history[-1].validation_accuracy, machine.peak_memory()]))
"""


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_million_rows_of_thirty_columns_train_in_600_mib(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(30)
    for part in range(10):
        x = rng.standard_normal((1_000_000, 30), dtype=np.float32)
        y = (x @ weight > 0).astype(np.int8)
        order = np.argsort(y, kind="stable")
        frame = pl.DataFrame({f"f{column}": x[order, column] for column in range(30)} | {"y": y[order]})
        frame.write_parquet(tmp_path / f"{part}.parquet")
    whole = tmp_path / "whole.parquet"
    pl.scan_parquet([tmp_path / f"{part}.parquet" for part in range(10)]).sink_parquet(whole)
    done = subprocess.run([sys.executable, "-c", CHILD, str(whole), "600MiB"], capture_output=True, text=True, check=True)
    n_rows, accuracy, peak = json.loads(done.stdout)
    assert n_rows == 10_000_000
    assert accuracy > 0.99
    assert peak <= 600 << 20


@pytest.mark.long
def test_text_with_wide_rows_of_float64_holds_the_limit(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "wide.csv"
    with open(path, "w") as file:
        for _ in range(12):
            rows = rng.standard_normal((1_000, 1_000))
            pl.DataFrame(rows).with_columns(y=(rows[:, 0] > 0).astype(int)).write_csv(file, include_header=file.tell() == 0)
    child = CHILD.replace("[30, 64, 2]", "[1000, 64, 2]").replace("20_000", "500")
    done = subprocess.run([sys.executable, "-c", child, str(path), "450MiB"], capture_output=True, text=True, check=True)
    n_rows, _, peak = json.loads(done.stdout)
    assert n_rows == 12_000
    assert peak <= 450 << 20
