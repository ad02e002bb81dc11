"""Labels of any kind: the same training as that of class numbers, answers in labels, and a refusal for what is none.

Oracle: class numbers made by hand from a sorted list of the labels.
"""

import copy
import itertools
import json
import pickle
import re

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, DataError, ModelFileError, Network
from fastmlp.data.dataset import Dataset
from fastmlp.search.bank import train_bank
from fastmlp.search.cross_validation import cv_tasks
from fastmlp.search.task import Trained
from fastmlp.settings import NetworkSettings, TrainingSettings

X = np.random.default_rng(3).normal(size=(60, 4))
NUMBERS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)
HOW = {"epochs": 2, "batch_size": 8, "learning_rate": 0.05, "optimizer": "adam", "seed": 4}


class Series:
    """A column as pandas and polars give it to NumPy: an array of objects."""

    def __init__(self, values):
        self._values, self.shape = np.array(values, object), (len(values),)

    def __array__(self, dtype=None, copy=None):
        return self._values


# kind -> (the labels in sorted order, how the column is made of a list of them)
LABELS = {
    "from 1": ([1, 2, 3], np.array),
    "with gaps, below 0": ([-7, 0, 12], np.int16),
    "bytes beyond the outputs": ([0, 7, 255], np.uint8),
    "whole floats": ([1.0, 2.0, 4.0], np.array),
    "texts": (["ant", "bee", "Öre"], np.array),
    "objects": (["", "b", "b "], lambda column: np.array(column, object)),
    "a list": (["3", "30", "4"], list),
    "a series of texts": (["x", "y", "z"], Series),
    "a series of numbers": ([10, 20, 30], Series),
    "a column of texts": (["x", "y", "z"], lambda column: np.array(column)[:, None]),
}


def trained(y, output="softmax", n_outputs=3, rows=X, **changes):
    net = Network([4, 6, n_outputs], "tanh", output, seed=2)
    with np.errstate(all="ignore"):
        fastmlp.train(net, rows, y, **{"validation": 0.2, **HOW, **changes})
    return net


def snapshot(net):
    return net.parameters.tobytes(), net.classes, net.known_classes, net.input_scaling, net.predicts_classes


def test_labels_of_any_kind_train_as_their_class_numbers_do_and_are_what_is_predicted(subtests):
    for (kind, (labels, column)), output in itertools.product(LABELS.items(), ("softmax", "sigmoid")):
        with subtests.test(kind=kind, output=output):
            y = column([labels[number] for number in NUMBERS])
            expected, net = trained(NUMBERS, output), trained(y, output)
            assert net.parameters.tobytes() == expected.parameters.tobytes()
            assert net.classes.tolist() == labels
            assert net.predict(X).tolist() == [labels[number] for number in expected.predict(X)]
            assert net.predict(X[7]) == labels[expected.predict(X[7])]
            assert net.evaluate(X, y) == expected.evaluate(X, NUMBERS)
            assert np.array_equal(net.confusion_matrix(X, y), expected.confusion_matrix(X, NUMBERS))
            assert net.gradient(X, y).tobytes() == expected.gradient(X, NUMBERS).tobytes()
            assert net.class_names == tuple(str(int(label) if isinstance(label, float) else label) for label in labels)


@pytest.mark.parametrize("labels", [["ham", "spam"], [-1, 1], [1, 2], [False, True]])
def test_one_sigmoid_output_tells_two_labels_of_any_kind_apart(labels):
    second = (NUMBERS > 0).astype(int)
    y = np.array([labels[number] for number in second])
    expected, net = trained(second, "sigmoid", 1), trained(y, "sigmoid", 1)
    assert net.parameters.tobytes() == expected.parameters.tobytes()
    assert net.predict(X).dtype == y.dtype
    assert np.array_equal(net.predict(X) == labels[1], net.predict_proba(X)[:, 0] > 0.5)
    assert net.evaluate(X, y) == expected.evaluate(X, second)


def test_class_numbers_stay_class_numbers(subtests):
    for y in (NUMBERS, NUMBERS.astype(np.uint8), NUMBERS.astype(float), NUMBERS.astype(object), NUMBERS.tolist(), NUMBERS[:, None]):
        with subtests.test(kind=type(y), dtype=getattr(y, "dtype", None)):
            net = trained(y)
            assert net.parameters.tobytes() == trained(NUMBERS).parameters.tobytes()
            assert (net.classes, net.predict(X).dtype, net.predict(X[0]).dtype) == (None, np.int64, np.int64)
    assert trained(np.where(NUMBERS == 1, 0, NUMBERS)).classes is None  # not all of them have to occur


def test_one_hot_rows_are_class_numbers_of_a_softmax(subtests):
    rows = np.eye(3)[NUMBERS]
    for y in (rows, rows.astype(int), rows.astype(bool), rows.astype(object), rows.tolist(), np.asfortranarray(rows)):
        with subtests.test(kind=type(y), dtype=getattr(y, "dtype", None)):
            net = trained(y)
            assert net.parameters.tobytes() == trained(NUMBERS).parameters.tobytes()
            assert net.evaluate(X, y) == net.evaluate(X, NUMBERS)
            assert net.predict(X).shape == (60,)
    labelled = trained(np.array(["a", "b", "c"])[NUMBERS])
    assert labelled.evaluate(X, rows) == labelled.evaluate(X, np.array(["a", "b", "c"])[NUMBERS])


def changed(row, value, column=None):
    column = list(["a", "b", "c"][number] for number in NUMBERS) if column is None else column
    return [*column[:row], value, *column[row + 1 :]]


REFUSED = {
    "none": (changed(5, None), r"missing one \(None\) in row 5"),
    "nan among texts": (np.array(changed(5, float("nan")), object), r"missing one \(nan\) in row 5"),
    "nan among numbers": (np.where(np.arange(60) == 5, np.nan, NUMBERS), r"missing one \(nan\) in row 5"),
    "infinity": (np.where(np.arange(60) == 5, np.inf, NUMBERS), "whole numbers, got inf in row 5"),
    "fractions": (NUMBERS + 0.5, "whole numbers, got .* in row 0; for numbers use output='identity'"),
    "a masked array": (np.ma.masked_equal(NUMBERS, 1), "masked"),
    "a number and its text": (changed(5, "1", NUMBERS.tolist()), r"of one kind, got . \(int\) in row 0 and '1' \(str\) in row 5"),
    "a truth value among numbers": (changed(5, True, NUMBERS.tolist()), r"of one kind, got . \(int\) in row 0 and True \(bool\) in row 5"),
    "bytes": (np.array(["a", "b", "c"])[NUMBERS].astype("S"), r"got \|S1; make texts of them, y.astype\(str\)"),
    "dates": (np.datetime64("2026-11-30") + NUMBERS, r"got datetime64\[D\]; make texts"),
    "lists": (np.array([*map(list, np.eye(2)[NUMBERS % 2]), 1], object)[:-1], r"got list .* in row 0"),
    "too large": (NUMBERS.astype(np.uint64) + 2**63, "that int64 can hold"),
    "texts that NumPy cuts": (changed(5, "a\0"), "4: .*make a Network with 4 outputs"),
    "half of a character": ([["a", "\ud800", "b"][number] for number in NUMBERS], "UTF-8"),
    "as many, one of them cut": ([["a", "a\0", "b"][number] for number in NUMBERS], "NUL"),
    "too many classes": (
        changed(5, "d"),
        "expected 3 classes, as many as the network has outputs .*, got 4: 'a', 'b', 'c' and 'd'; make a",
    ),
    "too few": (np.array(["a", "b"])[NUMBERS % 2], "expected 3 classes, .*, got 2: 'a' and 'b'"),
    "one that is no class number": (changed(5, 3, NUMBERS.tolist()), "expected 3 classes, .*, got 4: 0, 1, 2 and 3"),
    "numbers in columns": (np.eye(3)[NUMBERS] * 2.5, "one-hot rows, .* got .* in row 0; for numbers use output='identity'"),
    "two in a row": (np.eye(3)[NUMBERS] + np.eye(3)[0], "one-hot rows, a single 1 among zeros, got .* in row 0"),
    "shares of one": (np.full((60, 3), 1 / 3), "one-hot rows"),
    "another number of columns": (np.eye(2)[NUMBERS % 2], r"one-hot rows \(n, 3\), got shape \(60, 2\)"),
    "another number of rows": (["a", "b", "c"], "60 rows, as many as x has, got 3"),
    "one text": ("abc", "expected an array"),
}


def test_what_is_no_label_is_refused_in_one_line_and_changes_nothing(subtests):
    for kind, (y, message) in REFUSED.items():
        with subtests.test(kind=kind):
            net = Network([4, 6, 3], "tanh", seed=2)
            before = snapshot(net)
            with pytest.raises(DataError, match=f"^y: .*{message}") as caught:
                fastmlp.train(net, X, y, **HOW)
            assert "\n" not in str(caught.value)
            assert snapshot(net) == before


def test_labels_that_a_network_does_not_know_are_named_wherever_they_come(subtests):
    net = trained(np.array(["ant", "bee", "cow"])[NUMBERS])
    y = np.array(["ant", "wasp", "fly"])[NUMBERS]
    before, expected = snapshot(net), r"expected the labels 'ant', 'bee' and 'cow', which the network knows, got 'wasp' and 'fly'|'fly' and"
    online = fastmlp.OnlineTrainer(net, batch_size=60)
    calls = {
        "evaluate": lambda: net.evaluate(X, y),
        "confusion": lambda: net.confusion_matrix(X, y),
        "gradient": lambda: net.gradient(X, y),
        "check": lambda: fastmlp.check_gradient(net, X, y),
        "train": lambda: fastmlp.train(net, X, y, **HOW),
        "validation": lambda: fastmlp.train(net, X, np.array(["ant", "bee", "cow"])[NUMBERS], validation=(X, y), **HOW),
        "step": lambda: online.step(X, y),
    }
    for name, call in calls.items():
        with subtests.test(name=name):
            with pytest.raises(DataError, match=expected):
                call()
            assert snapshot(net)[0] == before[0]
    with pytest.raises(DataError, match="y: expected the labels 'ant', 'bee' and 'cow', .*, got 2, 1 and 3, first in row 0"):
        net.evaluate(X, NUMBERS + 1)
    with pytest.raises(DataError, match="y: expected class numbers from 0 to 2, which the network knows, got 'bee', 'ant' and 'cow'"):
        trained(NUMBERS).evaluate(X, np.array(["ant", "bee", "cow"])[NUMBERS])
    with pytest.raises(ConfigError, match="class_weight: expected labels of classes, 'ant', 'bee' and 'cow', got 0"):
        fastmlp.train(net, X, np.array(["ant", "bee", "cow"])[NUMBERS], class_weight={0: 2.0}, **HOW)


def test_class_numbers_out_of_range_are_refused_by_themselves():
    with pytest.raises(DataError, match="y: expected class numbers from 0 to 2, got 7 in row 1"):
        Network([2, 3]).class_numbers(np.array([0, 7, 9]))


def test_a_second_training_may_have_fewer_of_the_labels():
    texts, few = np.array(["a", "b", "c"])[NUMBERS], NUMBERS != 1
    net, expected = trained(texts), trained(NUMBERS)
    fastmlp.train(net, X[few], texts[few], **HOW)
    fastmlp.train(expected, X[few], NUMBERS[few], **HOW)
    assert net.parameters.tobytes() == expected.parameters.tobytes()
    assert net.classes.tolist() == ["a", "b", "c"]


def test_classes_may_be_assigned_and_say_the_order():
    net = Network([4, 6, 3], "tanh", seed=2)
    net.classes = ["low", "middle", "high"]
    texts = np.array(["low", "middle", "high"])[NUMBERS]
    fastmlp.train(net, X[NUMBERS < 2], texts[NUMBERS < 2], **HOW)  # not all of them have to occur
    expected = trained(NUMBERS[NUMBERS < 2], rows=X[NUMBERS < 2], validation=None)
    assert net.parameters.tobytes() == expected.parameters.tobytes()
    assert Network([4, 6, 3], class_names=("low", "middle", "high")).numbers_to_train(texts)[1].tolist() == ["low", "middle", "high"]
    for wrong in (["a", "b"], ["a", "a", "b"], ["a", "b", 1], "abc", 3, [1.5, 2, 3], [None, "a", "b"]):
        with pytest.raises(ConfigError, match="^classes: expected "):
            net.classes = wrong
    with pytest.raises(ConfigError, match="classes: expected none of a network that predicts numbers"):
        Network([4, 3], output="identity").classes = [1, 2, 3]
    assert net.classes.tolist() == ["low", "middle", "high"]


@pytest.mark.parametrize("labels", [["b\n", "ä", "𝕏"], [-3, 0, 2**62], None])
def test_labels_are_part_of_files_copies_and_pickles(labels, tmp_path):
    net = trained(NUMBERS if labels is None else np.array([labels[number] for number in NUMBERS], object))
    net.save(tmp_path / "net.safetensors")
    pickled = pickle.loads(pickle.dumps(net))  # noqa: S301
    for twin in (Network.load(tmp_path / "net.safetensors"), pickled, copy.deepcopy(net), net.folded()):
        assert twin.known_classes.tolist() == list(range(3) if labels is None else labels)
        assert twin.predict(X).tolist() == net.predict(X).tolist()
        assert (twin.classes is None) == (labels is None)
    assert ("classes" in json.loads(net.to_tensors().metadata["config"])) == (labels is not None)


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", 1], ["a", "a", "b"], {"a": 1}, "abc", 3, [[1], [2], [3]], [1e300, 2, 3]])
def test_files_with_other_labels_are_refused(classes):
    file = trained(np.array(["a", "b", "c"])[NUMBERS]).to_tensors()
    config = json.loads(file.metadata["config"]) | {"classes": classes}
    with pytest.raises(ModelFileError, match="net: classes: expected "):
        Network.from_tensors("net", file._replace(metadata=file.metadata | {"config": json.dumps(config)}))


def test_weights_of_classes_go_by_labels():
    texts = np.array(["a", "b", "c"])[NUMBERS]
    by_label, by_number = trained(texts, class_weight={"c": 5.0, "a": 0.5}), trained(NUMBERS, class_weight={2: 5.0, 0: 0.5})
    assert by_label.parameters.tobytes() == by_number.parameters.tobytes()


def test_a_class_that_is_only_held_out_is_named():
    order = np.argsort(NUMBERS, kind="stable")
    with pytest.warns(UserWarning, match="rows of class cow are held out"):
        trained(np.array(["ant", "bee", "cow"])[NUMBERS[order]], rows=X[order], validation=int((NUMBERS == 2).sum()), holdout="last")


def test_steps_take_labels_bit_by_bit():
    texts, nets = np.array(["a", "b", "c"])[NUMBERS], (Network([4, 6, 3], seed=1), Network([4, 6, 3], seed=1))
    for net, y in zip(nets, (texts, NUMBERS), strict=True):
        online = fastmlp.OnlineTrainer(net, batch_size=20, learning_rate=0.1, optimizer="sgd")
        losses = [online.step(X[first : first + 20], y[first : first + 20]) for first in (0, 20, 40)]
        online.step(X[0], y[0])
        assert np.isfinite(losses).all()
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()
    assert set(nets[0].predict(X)) <= {"a", "b", "c"}


def test_folds_of_a_data_set_know_the_labels_that_they_miss():
    rare = np.where(np.arange(60) == 3, "c", np.array(["a", "b"])[NUMBERS % 2])  # one row of it: in one fold no row to train on
    data = Dataset("made", X.astype(np.float32), rare, X[:9].astype(np.float32), rare[:9], kind="table", target_kind="classes")
    tasks = cv_tasks(NetworkSettings(hidden=(6,)), TrainingSettings.from_mapping(HOW), data, 3)
    with pytest.warns(UserWarning, match="rows of class c are held out"):
        found = [event for event in train_bank(tasks, data, 1) if isinstance(event, Trained)]
    assert [trained.network.classes.tolist() for trained in found] == [["a", "b", "c"]] * 3
    assert all(np.isfinite(trained.validation["loss"]) for trained in found)


def test_real_digits_by_their_words_have_the_bits_of_class_numbers(mnist):
    words = np.array("zero one two three four five six seven eight nine".split())
    nets = []
    for y in (mnist.y_train[:3000], words[mnist.y_train[:3000]]):
        net = Network([784, 20, 10], seed=1)
        net.classes = None if y.dtype.kind == "u" else words
        fastmlp.train(net, mnist.x_train[:3000], y, epochs=2, seed=1)
        nets.append(net)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()
    assert np.array_equal(words[nets[0].predict(mnist.x_train[:500])], nets[1].predict(mnist.x_train[:500]))
    assert re.search("'ten'", str(pytest.raises(DataError, nets[1].evaluate, mnist.x_train[:1], ["ten"]).value))


@pytest.mark.parametrize("trained_on", ["numbers", "rows"])
def test_answers_of_sigmoids_are_judged_as_they_are_given(trained_on):
    rows = np.eye(3, dtype=int)[NUMBERS]
    net = Network([4, 6, 3], "tanh", "sigmoid", seed=2)
    fastmlp.train(net, X, NUMBERS if trained_on == "numbers" else rows, **HOW)
    z = net.logits(X)
    by_class, by_label = (z.argmax(axis=1) == NUMBERS).mean(), ((z > 0) == rows).mean()
    assert by_class != by_label
    assert net.evaluate(X, NUMBERS)["accuracy"] == pytest.approx(by_class, abs=1e-12)
    assert net.evaluate(X, rows)["accuracy"] == pytest.approx(by_label, abs=1e-12)


def test_a_file_keeps_that_several_sigmoids_name_a_class(tmp_path):
    for y, is_class in ((NUMBERS, True), (np.eye(3, dtype=int)[NUMBERS], False)):
        net = Network([4, 6, 3], "tanh", "sigmoid", seed=2)
        fastmlp.train(net, X, y, **HOW)
        net.save(tmp_path / "net.safetensors")
        loaded = Network.load(tmp_path / "net.safetensors")
        assert loaded.predicts_classes is net.predicts_classes is is_class
        np.testing.assert_array_equal(loaded.predict(X), net.predict(X), strict=True)
