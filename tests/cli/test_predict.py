"""`fastmlp predict`: rows and pictures in, classes out."""

import gzip

import numpy as np
import pytest
from PIL import Image

import fastmlp
from fastmlp.data.idx import write_idx
from fastmlp.data.pictures import read_picture


@pytest.fixture(scope="module")
def network(digits):
    return fastmlp.Network.load(digits)


@pytest.fixture(scope="module")
def images(mnist):
    return mnist.x_train[:5]


def save_npy(path, images):
    np.save(path, images)


def save_flat_floats(path, images):
    np.save(path, images.reshape(len(images), -1).astype(np.float64) / 255)


def save_idx(path, images):
    write_idx(path, images)


def save_compressed_idx(path, images):
    write_idx(path, images)
    path.write_bytes(gzip.compress(path.read_bytes()))


@pytest.mark.parametrize("save", [save_npy, save_flat_floats, save_idx, save_compressed_idx])
def test_rows_of_every_format_are_read_whatever_the_name(command, digits, network, images, tmp_path, save):
    path = tmp_path / "rows.npy"
    save(path, images)
    record = command("predict", digits, path, "--json").json
    assert [found["class"] for found in record["predictions"]] == network.predict(images).tolist()
    np.testing.assert_allclose([found["probabilities"] for found in record["predictions"]], network.predict_proba(images), rtol=1e-5)


def test_several_rows_are_a_table(command, digits, network, images, tmp_path):
    np.save(tmp_path / "rows.npy", images)
    lines = command("predict", digits, "rows.npy").out.splitlines()
    assert lines[0].split() == ["row", "class", "probability"]
    assert [line.split()[:2] for line in lines[1:]] == [[str(row), str(c)] for row, c in enumerate(network.predict(images))]


@pytest.mark.parametrize("shape", [(28, 28), (784,), (1, 784), (1, 28, 28)])
def test_one_row_shows_its_three_most_probable_classes(command, digits, network, images, tmp_path, shape):
    np.save(tmp_path / "row.npy", images[0].reshape(shape))
    lines = command("predict", digits, "row.npy").out.splitlines()
    order = np.argsort(-network.predict_proba(images[0]))[:3]
    assert [line.split()[0] for line in lines] == ["class", *map(str, order)]


@pytest.mark.filterwarnings("ignore:.*one class stands out")
def test_digits_drawn_large_on_white_paper_are_recognised(command, digits, network, mnist, tmp_path):
    known = np.flatnonzero(network.predict_proba(mnist.x_test[:200]).max(axis=1) > 0.95)[:40]
    right = 0
    for row in known:
        Image.fromarray(255 - mnist.x_test[row]).resize((300, 280), Image.Resampling.BICUBIC).save(tmp_path / "digit.png")
        right += command("predict", digits, "digit.png", "--json").json["predictions"][0]["class"] == network.predict(mnist.x_test[row])
    assert right >= 38


@pytest.mark.parametrize("bias", [0.0, 50.0])
def test_a_picture_in_which_no_class_stands_out_is_doubted_and_shown_as_the_network_gets_it(command, tmp_path, recwarn, bias):
    net = fastmlp.Network([784, 10], seed=0)
    net.biases[0][3] = bias
    net.save(tmp_path / "net.safetensors")
    square = np.full((90, 90), 255, np.uint8)
    square[10:80, 30:60] = 0
    Image.fromarray(square).save(tmp_path / "square.png")
    result = command("predict", "net.safetensors", "square.png", "--show")
    best = net.predict_proba(read_picture(tmp_path / "square.png")).max()
    assert ["one class stands out" in str(each.message) for each in recwarn] == ([True] if best < 0.6 else [])
    assert (best < 0.6) == (bias == 0.0)
    levels = [[" .:-=+*#%@".index(each) for each in row.ljust(56)[::2]] for row in result.out.split("\n")[:28]]
    np.testing.assert_array_equal(levels, read_picture(tmp_path / "square.png").astype(int) * 10 // 256)
    np.save(tmp_path / "rows.npy", np.zeros((1, 784), np.uint8))
    assert command("predict", "net.safetensors", "rows.npy", "--show").code == 2


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 an archive", b"\x80\x04\x95 a pickle", b"1,2,3\n", b"\x00\x00\x08\x03", b"\x93NUMPY", b"\x89PNG\r\n"]
)
def test_other_files_are_bad_data(command, digits, tmp_path, content):
    (tmp_path / "file.npy").write_bytes(content)
    result = command("predict", digits, "file.npy")
    assert result.code == 65
    assert "file.npy" in result.err


def test_numbers_that_are_none_are_bad_data(command, digits, tmp_path):
    np.save(tmp_path / "rows.npy", np.full((2, 784), np.nan, np.float32))
    assert command("predict", digits, "rows.npy").code == 65


def test_no_rows_give_no_predictions(command, digits, tmp_path):
    np.save(tmp_path / "rows.npy", np.empty((0, 784), np.uint8))
    assert command("predict", digits, "rows.npy", "--json").json["predictions"] == []
    assert command("predict", digits, "rows.npy").out.split() == ["row", "class", "probability"]


def test_class_names_cannot_steer_the_terminal(command, tmp_path):
    fastmlp.Network([3, 2], class_names=("a\x1b[31m", "b\r")).save(tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", np.zeros((1, 3), np.float32))
    assert {"\x1b", "\r"}.isdisjoint(command("predict", "m.safetensors", "x.npy").out)


def test_regression_gives_values(command, tmp_path):
    network = fastmlp.Network([3, 2], output="identity", seed=1)
    network.save(tmp_path / "m.safetensors")
    x = np.array([[1, 2, 3], [0, 0, 1]], np.float32)
    np.save(tmp_path / "x.npy", x)
    record = command("predict", "m.safetensors", "x.npy", "--json").json
    np.testing.assert_allclose([found["values"] for found in record["predictions"]], network.predict(x), rtol=1e-6)
    lines = command("predict", "m.safetensors", "x.npy").out.splitlines()
    assert lines[0].split() == ["row", "0", "1"]
    assert float(lines[2].split()[1]) == pytest.approx(network.predict(x)[1, 0], rel=1e-5)


def test_yes_or_no_gives_a_label_and_a_probability_per_output(command, tmp_path):
    network = fastmlp.Network([3, 2], output="sigmoid", seed=1, class_names=("red", "round"))
    network.save(tmp_path / "m.safetensors")
    x = np.array([[1, 2, 3], [0, 0, 1]], np.float32)
    np.save(tmp_path / "x.npy", x)
    record = command("predict", "m.safetensors", "x.npy", "--json").json
    assert np.array_equal([found["labels"] for found in record["predictions"]], network.predict(x) == 1)
    assert command("predict", "m.safetensors", "x.npy").out.splitlines()[0].split() == ["row", "red", "round"]


@pytest.mark.parametrize("n_outputs", [2, 1])
def test_labels_that_a_network_was_trained_with_are_named(command, tmp_path, n_outputs):
    network = fastmlp.Network([3, n_outputs], output="softmax" if n_outputs == 2 else "sigmoid", seed=1)
    network.classes = ["ham", "spam"]
    network.save(tmp_path / "m.safetensors")
    x = np.array([[1, 2, 3], [0, 0, 1], [-3, -2, -1]], np.float32)
    np.save(tmp_path / "x.npy", x)
    found = command("predict", "m.safetensors", "x.npy", "--json").json["predictions"]
    assert [each["label"] for each in found] == [each["name"] for each in found] == network.predict(x).tolist()
    assert [each["class"] for each in found] == [["ham", "spam"].index(label) for label in network.predict(x)]
    assert [len(each["probabilities"]) for each in found] == [2, 2, 2]
    assert [line.split()[1] for line in command("predict", "m.safetensors", "x.npy").out.splitlines()[1:]] == network.predict(x).tolist()
