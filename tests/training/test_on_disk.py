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
from fastmlp.data.formats import read_table
from fastmlp.preprocessing import columns
from fastmlp.preprocessing.columns import Choices
from fastmlp.settings import TrainingSettings
from fastmlp.training import on_disk
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
        table.memory = stored.RESERVE + rows * table.bytes_of_row
        return table

    return open_frame


def test_each_epoch_gives_every_training_row_once_and_no_other(opened):
    n = 5_003
    frame = pl.DataFrame({"number": np.arange(n, dtype=np.float32), "y": np.arange(n) % 3})
    table = opened(frame, 700)
    for batch_size, validation in ((1, 0), (7, 100), (32, 0.03), (300, 3)):
        network = fastmlp.Network([1, 2, 3])
        plan = planned(network, table, None, None, None, {"batch_size": batch_size, "validation": validation, "normalize": "none"})
        reader, held_out = Reader(plan, plan.on_disk), plan.on_disk.left_out
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
        table = fastmlp.open_table(path, "y", drop=[frame.columns[3]])
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
        (pl.DataFrame({"a": ["u", "v"], "y": [0, 1]}), "column 'a': expected numbers, found String"),
        (pl.DataFrame({"a": [1.0, 2.0], "y": [None, None]}), "expected rows with a target, found none: 'y' is missing in all of them"),
        (pl.DataFrame({"a": [1.0, np.inf], "y": [0, 1]}), "row 2, column 'a': expected a finite number"),
        (pl.DataFrame({"y": [0, 1]}), "expected features beside the target 'y'"),
    ):
        with pytest.raises(fastmlp.DataError) as error:
            opened(frame, 100, encode=False)
        assert message in str(error.value)
    with pytest.raises(fastmlp.ConfigError, match="target: expected the name of a column, got 'y'"):
        opened(pl.DataFrame({"a": [1.0, 2.0], "z": [0, 1]}), 100)
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


def mixed(n, seed=0):
    """Return a table with everything in it: numbers, some missing, texts, dates, a row number; classes, and two numbers to predict."""
    rng = np.random.default_rng(seed)
    number, color = rng.standard_normal(n).round(3), np.array(["red", "green", "blue", "grey"])[rng.integers(0, 4, n)]
    day = np.datetime64("2026-01-01") + rng.integers(0, 300, n).astype("timedelta64[D]")
    answer = number + (color == "red") + 0.1 * rng.standard_normal(n)
    return pl.DataFrame({
        "id": np.arange(n), "number": [None if hidden else value for hidden, value in zip(rng.random(n) < 0.1, number, strict=True)],
        "color": [None if hidden else value for hidden, value in zip(rng.random(n) < 0.05, color, strict=True)],
        "day": day.astype("datetime64[us]"), "flag": rng.random(n) < 0.5, "size": np.array(["s", "m", "l"])[rng.integers(0, 3, n)],
        "label": np.where(answer > 0.3, "yes", "no"), "answer": answer, "other": answer**2,
    })  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_of_a_table_on_the_disk_are_those_of_the_same_rows_in_memory(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(stored, "PARTS", 1 << 13)  # parts of some 8 kB
    frame, path = mixed(3_000), tmp_path / f"t.{ending}"
    frame.write_csv(path) if ending == "csv" else frame.write_parquet(path)
    said = {"drop": ["answer", "other"], "ordinal": {"size": ["s", "m", "l"]}}
    data = fastmlp.load_table(path, "label", memory="400MiB", test_part=500, **said)
    assert data.training_defaults["validation"] == 250
    assert (len(data.x_train), len(data.x_test)) == (2_250, 500)
    inputs, choices = read_table(path).drop("label", "answer", "other"), Choices(ordinal={"size": ("s", "m", "l")})
    held_out = np.union1d(data.stored.test_rows, on_disk.held_out_rows(data.stored, TrainingSettings(validation=250)))
    rows = np.setdiff1d(np.arange(3_000), held_out)
    expected, left_out = columns.fit(inputs.drop("id"), choices, rows, bins=16, n_rows=3_000)
    assert left_out == {}
    assert data.columns.same_as(expected)
    assert np.array_equal(data.stored.rows(np.arange(3_000))[0], expected.encode(inputs))
    assert np.array_equal(data.x_test, expected.encode(inputs[data.stored.test_rows]))
    assert data.y_test.tolist() == frame["label"].gather(data.stored.test_rows).to_list()


def test_a_table_on_the_disk_is_learned_with_texts_missing_values_and_several_targets(tmp_path):
    frame, path = mixed(6_000).with_columns(answer=pl.when(pl.col("id") % 100 > 0).then("answer")), tmp_path / "t.parquet"
    frame.write_parquet(path)
    notes = []
    table = fastmlp.open_table(path, ["answer", "other"], drop=["label"], validation=500, memory="400MiB", notify=notes.append)
    assert (table.n_rows, table.n_without_target) == (5_940, 60)
    assert any("60 rows without a target are left out" in note for note in notes)
    assert any("id (row number" in note for note in notes)
    table.memory = stored.RESERVE + 2_000 * table.bytes_of_row
    network = fastmlp.Network([table.n_features, 32, 2], output="identity", seed=0)
    network.columns = table.columns
    history = fastmlp.train(network, table, epochs=12, validation=300, batch_size=32, verbose=False)
    assert history[-1].validation_loss < 0.5 * history[0].validation_loss
    assert network.evaluate(frame.drop_nulls("answer"), frame.drop_nulls("answer").select("answer", "other").to_numpy())["r2"] > 0.6
    with pytest.raises(fastmlp.ConfigError, match="columns: expected those of the table"):
        fastmlp.train(network, fastmlp.open_table(path, "other", drop=["label", "answer"], memory="400MiB"), epochs=1)


def test_what_a_table_on_the_disk_cannot_be_is_refused_in_a_word(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    mixed(300).write_csv(path)
    for arguments, message in (
        ({"sample_weight": "answer"}, "sample_weight: expected none with memory, got 'answer'; leave it out"),
        ({"group": "size"}, "group: expected none with memory, got 'size'"),
        ({"preset": "best"}, "preset: expected fast or default with memory, got best"),
        ({"memory": "much"}, "memory: expected a number of bytes such as '2GiB'"),
    ):
        with pytest.raises(fastmlp.ConfigError) as error:
            fastmlp.load_table(path, "label", **{"memory": "400MiB", **arguments})
        assert message in str(error.value)
    with pytest.raises(fastmlp.ConfigError, match="memory: expected the path of a file"):
        fastmlp.load_table(mixed(100), "label", memory="400MiB")
    data = fastmlp.load_table(path, "label", memory="400MiB")
    with pytest.raises(fastmlp.ConfigError, match="data: expected rows in memory"):
        fastmlp.train_ensemble(data, 2)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:200], lines[200].replace(lines[200].split(",")[3], "soon"), *lines[201:]]))
    monkeypatch.setattr(on_disk, "SAMPLE_ROWS", 50)  # that columns are fitted to; this row is none of them
    with pytest.raises(fastmlp.DataError, match="column 'day', row 201: expected a date"):
        fastmlp.load_table(path, "label", date=["day"], memory="400MiB")


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


COMMAND = """
import json, sys
from fastmlp import machine
from fastmlp.cli import run
code = run(["train", sys.argv[1], "--target", "y", "--memory", sys.argv[2], "--epochs", "1", "--hidden", "64", "--run-folder", "run"])
test = json.load(open("run/manifest.json"))["results"]["test"]
print(json.dumps([code, test["accuracy"], machine.peak_memory()]))
"""


@pytest.fixture(scope="module")
def ten_million(tmp_path_factory):
    """The path of a table of 30 columns, each million rows of it sorted by class."""
    tmp_path = tmp_path_factory.mktemp("ten million")
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
    for part in range(10):
        (tmp_path / f"{part}.parquet").unlink()
    return str(whole)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_million_rows_of_thirty_columns_train_in_600_mib(ten_million):
    done = subprocess.run([sys.executable, "-c", CHILD, ten_million, "600MiB"], capture_output=True, text=True, check=True)
    n_rows, accuracy, peak = json.loads(done.stdout)
    assert n_rows == 10_000_000
    assert accuracy > 0.99
    assert peak <= 600 << 20


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_million_rows_train_from_the_command_line_in_600_mib(ten_million, tmp_path):
    command = [sys.executable, "-c", COMMAND, ten_million, "600MiB"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    code, accuracy, peak = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert accuracy > 0.97
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
