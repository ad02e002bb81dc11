"""Looking into a network: the right rows, the right mistakes, in the right order."""

import numpy as np
import pytest

import fastmlp
from fastmlp.data.dataset import Dataset
from fastmlp.data.synthetic import classify
from fastmlp.errors import DataError
from fastmlp.inspect.insight import ellipse, look_into
from fastmlp.training.holdout import Rows

SHAPE = (2, 3)
CLASSES = ("a", "b", "c")


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (80, *SHAPE), dtype=np.uint8), random.integers(0, 3, 80).astype(np.uint8)
    return Dataset("made", x[:60], y[:60], x[60:], y[60:], kind="image", target_kind="classes", image_shape=SHAPE, class_names=CLASSES)


@pytest.fixture
def network():
    return fastmlp.Network([6, 4, 3], seed=3)


def last(data, held_out):
    n = len(data.x_train)
    return Rows(np.arange(n - held_out), np.arange(n - held_out, n))


def by_hand(network, x, y):
    """Return probabilities, predicted classes and the rows that are wrong, one by one."""
    probabilities = [network.predict_proba(row) for row in x]
    predicted = [max(range(3), key=lambda each, row=row: row[each]) for row in probabilities]
    return probabilities, predicted, [row for row in range(len(x)) if predicted[row] != y[row]]


def test_rows_held_out_are_looked_at_and_test_rows_are_not(network, data):
    insight = look_into(network, data, last(data, 20))
    assert insight.rows == "validation rows"
    assert insight.confusion.sum() == 20
    assert data.test_openings == []
    assert [sum(counts) for counts in insight.class_counts.values()] == [40, 20]


def test_test_rows_stand_in_where_none_were_held_out(network, data):
    insight = look_into(network, data, last(data, 0))
    assert insight.rows == "test rows"
    assert data.test_openings != []
    assert list(insight.class_counts) == ["training", "test"]


def test_confusion_counts_true_classes_in_rows(network, data):
    x, y = data.x_train[-20:], data.y_train[-20:]
    expected = np.zeros((3, 3), int)
    for right, said in zip(y, by_hand(network, x, y)[1], strict=True):
        expected[right, said] += 1
    np.testing.assert_array_equal(look_into(network, data, last(data, 20)).confusion, expected)


def test_surest_mistakes_come_in_order(network, data):
    x, y = data.x_train[-20:], data.y_train[-20:]
    probabilities, predicted, wrong = by_hand(network, x, y)
    surest = look_into(network, data, last(data, 20)).surest
    assert surest.numbers == sorted(wrong, key=lambda row: -probabilities[row][predicted[row]])[:12]
    assert surest.truth == [y[row] for row in surest.numbers]
    assert surest.predicted == [predicted[row] for row in surest.numbers]
    np.testing.assert_array_equal(surest.images, x[surest.numbers])
    np.testing.assert_allclose(surest.probability, [probabilities[row][predicted[row]] for row in surest.numbers], rtol=1e-6)


def test_worst_mistake_of_a_class_has_the_least_probability_for_it(network, data):
    x, y = data.x_train[-20:], data.y_train[-20:]
    probabilities, _, wrong = by_hand(network, x, y)
    found = [min((row for row in wrong if y[row] == each), key=lambda row: probabilities[row][y[row]]) for each in sorted(set(y[wrong]))]
    assert look_into(network, data, last(data, 20)).worst.numbers == found


def test_network_without_a_mistake_has_none_to_show(data):
    network = fastmlp.Network([6, 3])
    network.parameters[:] = 0
    network.biases[0][1] = 9.0
    data = Dataset("made", data.x_train, np.ones(60, np.uint8), data.x_test, data.y_test, kind="image", target_kind="classes",
                   image_shape=SHAPE, class_names=CLASSES)  # fmt: skip
    insight = look_into(network, data, last(data, 20))
    assert (insight.surest.numbers, insight.worst.numbers) == ([], [])


def test_boundary_of_the_synthetic_points_knows_the_true_one():
    data = fastmlp.load_dataset("synthetic")
    edge = look_into(fastmlp.Network([2, 3, 2], "sigmoid"), data, last(data, 5000)).boundary
    plane = np.stack(np.meshgrid(edge.first, edge.second), axis=-1).reshape(-1, 2)
    np.testing.assert_array_equal((edge.truth > 0).reshape(-1), classify(plane) == 1)
    inside = (data.x_train >= (edge.first[0], edge.second[0])) & (data.x_train <= (edge.first[-1], edge.second[-1]))
    assert inside.mean() == pytest.approx(0.998, abs=0.001)


def test_boundary_is_laid_out_with_the_second_input_in_rows():
    network = fastmlp.Network([2, 2])
    network.weights[0][:] = [[0, 5], [0, 0]]  # class 1 where the first input is large
    data = fastmlp.load_dataset("synthetic")
    edge = look_into(network, data, last(data, 5000)).boundary
    assert (np.diff(edge.probability, axis=1) >= 0).all()
    assert (np.diff(edge.probability, axis=0) == 0).all()


def test_ellipse_agrees_with_the_data_set():
    data = fastmlp.load_dataset("synthetic")
    np.testing.assert_array_equal(ellipse(data.x_train[:1000]) > 0, data.y_train[:1000] == 1)


@pytest.mark.parametrize("network", [fastmlp.Network([7, 3]), fastmlp.Network([6, 4]), fastmlp.Network([6, 3], output="identity")])
def test_network_that_does_not_fit_the_data_is_refused(network, data):
    with pytest.raises(DataError, match="expected a network"):
        look_into(network, data, last(data, 20))
