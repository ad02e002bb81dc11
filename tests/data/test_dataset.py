"""A Dataset is checked, says what it holds, and notes when its test rows are looked at."""

import copy
import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastmlp.data.dataset import DATASETS, Dataset, is_test_split, load_dataset
from fastmlp.data.idx import encode_idx
from fastmlp.errors import DataError, InputNotFound
from fastmlp.settings import NetworkSettings, TrainingSettings

ROOT = Path(__file__).parents[2]


def images(**changes) -> Dataset:
    fields = {
        "name": "four",
        "x_train": np.zeros((4, 5, 5), np.uint8),
        "y_train": np.array([0, 1, 2, 1]),
        "x_test": np.zeros((2, 5, 5), np.uint8),
        "y_test": np.array([2, 0]),
        "kind": "image",
        "target_kind": "classes",
        "image_shape": (5, 5),
        "class_names": ("a", "b", "c"),
    }
    return Dataset(**fields | changes)


def test_classes_may_be_texts_that_are_the_names():
    assert images(y_train=np.array(["a", "b", "c", "a"]), y_test=np.array(["c", "a"])).class_names == ("a", "b", "c")
    with pytest.raises(DataError, match=r"y_train\[2\]: expected one of a, b, c, found .*'d'"):
        images(y_train=np.array(["a", "b", "d", "a"]), y_test=np.array(["c", "a"]))


# Real data


def test_mnist_is_the_canonical_one(mnist):
    assert [mnist.x_train.shape, mnist.y_train.shape, mnist.x_test.shape, mnist.y_test.shape] == [
        (60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,),
    ]  # fmt: skip
    assert {array.dtype for array in (mnist.x_train, mnist.y_train, mnist.x_test, mnist.y_test)} == {np.dtype(np.uint8)}
    assert np.bincount(mnist.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert mnist.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert round(mnist.x_train.mean() / 255, 4) == 0.1307
    assert mnist.class_names == tuple("0123456789")
    assert (mnist.kind, mnist.target_kind, mnist.image_shape) == ("image", "classes", (28, 28))


def test_the_hashes_of_a_data_set_are_those_of_its_files(mnist):
    digest = hashlib.sha256(encode_idx(mnist.x_train)).hexdigest()
    assert mnist.hashes["train-images-idx3-ubyte"] == digest
    assert digest == "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    assert len(mnist.hashes) == 4


def test_fashion_mnist_is_the_canonical_one(fashion_mnist):
    assert np.bincount(fashion_mnist.y_train).tolist() == [6000] * 10
    assert np.bincount(fashion_mnist.y_test).tolist() == [1000] * 10
    assert fashion_mnist.y_train[:5].tolist() == [9, 0, 0, 3, 0]
    assert round(fashion_mnist.x_train.mean() / 255, 4) == 0.2860
    assert fashion_mnist.class_names[9] == "Ankle boot"


@pytest.mark.parametrize("name", DATASETS)
def test_the_defaults_of_a_data_set_are_valid_settings(name, request):
    data = load_dataset("synthetic") if name == "synthetic" else request.getfixturevalue(name.replace("-", "_"))
    NetworkSettings.from_mapping(data.network_defaults)
    TrainingSettings.from_mapping(data.training_defaults)
    assert len(data.class_names) == data.y_train.max() + 1


# Names


STRANGE_NAMES = [
    "",
    ".",
    "..",
    "../..",
    "../mnist",
    "mnist/",
    "mnist/..",
    "/etc/passwd",
    "/mnist",
    "~",
    "mnist\n",
    "mnist\0",
    "a\nb",
    "n" * 255,
    "-mnist",
    "--offline",
    "mnist.gz",
    "..\\mnist",
    "CON",
]


def test_names_outside_of_the_table_are_refused_and_nothing_is_written(tmp_path, monkeypatch, subtests):
    for name in STRANGE_NAMES:
        with subtests.test(name=name):
            monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "cache"))
            monkeypatch.chdir(tmp_path)
            with pytest.raises(InputNotFound, match="^unknown data set .*known are|^unknown data set .*did you mean") as caught:
                load_dataset(name)
            assert "\n" not in str(caught.value)
            assert list(tmp_path.iterdir()) == []


def test_the_table_of_names_costs_no_numpy():
    code = "import sys; from fastmlp.data.dataset import DATASETS; print(sorted(DATASETS), 'numpy' in sys.modules, 'pooch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown == "['fashion-mnist', 'mnist', 'synthetic'] False False\n"


# The record


def test_reading_test_rows_is_noted():
    data = images()
    assert data.test_openings == []
    assert len(data.x_train) == len(data.y_train) == 4
    assert "four: 4 + 2 rows" in repr(data)
    assert data.test_openings == []
    assert data.x_test.shape == (2, 5, 5)
    assert data.y_test.tolist() == [2, 0]
    assert data.y_test.tolist() == [2, 0]
    assert data.test_openings == ["x_test", "y_test", "y_test"]


def test_a_data_set_cannot_be_changed_but_copied():
    data = images()
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.x_test = data.x_train
    again = copy.deepcopy(data)
    np.testing.assert_array_equal(again.y_test, [2, 0])
    assert (again.test_openings, data.test_openings) == (["y_test"], [])


def test_test_rows_are_known_again_as_an_argument():
    data = images()
    x_test = data.x_test
    assert is_test_split(x_test)
    assert is_test_split(x_test[1:])
    assert is_test_split(x_test.reshape(2, 25))
    assert not is_test_split(data.x_train)
    assert not is_test_split(x_test.copy())
    assert not is_test_split([[1.0, 2.0]])
    synthetic = load_dataset("synthetic")  # where both splits are views of one array
    assert is_test_split(synthetic.x_test)
    assert not is_test_split(synthetic.x_train[-5000:])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"y_train": np.array([0, 1, 2])}, "y_train: expected a label for each of 4 rows"),
        ({"y_test": np.array([0, 1, 2])}, "y_test: expected a label for each of 2 rows"),
        ({"y_train": np.array([0, 1, 3, 1])}, r"y_train\[2\]: expected 0 to 2, found 3"),
        ({"y_test": np.array([0, -1])}, r"y_test\[1\]: expected 0 to 2, found -1"),
        ({"y_train": np.array([0, 1, 2, 1.5])}, "y_train: expected whole numbers"),
        ({"y_train": np.array([[0], [1], [2], [1]])}, "y_train: expected whole numbers in one column"),
        ({"x_train": np.zeros((4, 25), np.uint8)}, r"x_train: expected shape \(rows, 5, 5\)"),
        ({"x_test": np.zeros((2, 5, 4), np.uint8)}, r"x_test: expected shape \(rows, 5, 5\)"),
        ({"x_train": np.array([0, 1, 2, 1]), "y_train": np.zeros((4, 5, 5), np.uint8)}, r"x_train: expected shape \(rows, 5, 5\)"),
        ({"x_test": np.zeros((0, 5, 5), np.uint8), "y_test": np.array([], np.uint8)}, "at least 1"),
        ({"x_train": [[0]]}, "expected NumPy arrays"),
        ({"kind": "sound"}, "kind: expected one of image, table"),
        ({"target_kind": "words"}, "target_kind: expected one of classes"),
    ],
)
def test_rows_and_labels_that_do_not_fit_are_refused(changes, reason):
    with pytest.raises(DataError, match=f"^four: .*{reason}"):
        images(**changes)


def test_a_table_needs_the_same_features_in_both_splits():
    x = np.zeros((4, 3), np.float32)
    table = images(kind="table", image_shape=None, x_train=x, x_test=x[:2])
    assert "of 3 float32" in repr(table)
    with pytest.raises(DataError, match=r"x_test: expected shape \(rows, 3\), found \(2, 2\)"):
        images(kind="table", image_shape=None, x_train=x, x_test=x[:2, :2])


def test_first_rows_are_a_data_set_of_its_own():
    data = images()
    few = data.first_rows(3, 1)
    assert np.shares_memory(few.x_train, data.x_train)
    assert (len(few.x_train), len(few.x_test), few.class_names, few.image_shape) == (3, 1, data.class_names, data.image_shape)
    assert few.y_train.tolist() == [0, 1, 2]
    assert (few.test_openings, data.test_openings) == (["x_test"], [])


@pytest.mark.parametrize("rows", [-1, 2.0, None, True, "3"])
def test_what_is_no_number_of_first_rows_is_refused(rows):
    with pytest.raises(DataError, match="^test: expected a number of rows, at least 0, got "):
        images().first_rows(3, rows)
