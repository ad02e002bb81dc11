"""Predictions: their shapes, their independence of neighbours, and what is measured with them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastmlp
from fastmlp import ConfigError, DataError, Network

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((600, 4)).astype(np.float32)
IMAGES = GENERATOR.integers(0, 256, (600, 28, 28), dtype=np.uint8)


def logits(net, x):
    """The output layer's z of a network with one hidden layer of sigmoid units, in float64."""
    a = 1 / (1 + np.exp(-(x @ net.weights[0].astype(float) + net.biases[0])))
    return a @ net.weights[1].astype(float) + net.biases[1]


def regression(y) -> Network:
    net = Network([4, 5, np.size(y) // len(y)], "sigmoid", "identity")
    fastmlp.train(net, X[: len(y)], y, epochs=1, learning_rate=1e-3)
    return net


# What is predicted


def test_softmax_predicts_the_likeliest_class():
    net = Network([4, 5, 3], "sigmoid")
    predicted = net.predict(X)
    assert_array_equal(predicted, logits(net, X).argmax(axis=1))
    assert predicted.dtype.kind == "i"


def test_sigmoid_predicts_zeros_and_ones():
    net = Network([4, 5, 3], "sigmoid", "sigmoid")
    assert_array_equal(net.predict(X), logits(net, X) > 0)
    assert net.predict(X).dtype.kind == "i"


def test_identity_predicts_values():
    net = Network([4, 5, 3], "sigmoid", "identity")
    assert_allclose(net.predict(X), logits(net, X), rtol=1e-4, atol=1e-6)


def test_probabilities_of_softmax_are_those_of_numpy():
    net = Network([4, 5, 3], "sigmoid")
    e = np.exp(logits(net, X))
    assert_allclose(net.predict_proba(X), e / e.sum(axis=1, keepdims=True), rtol=1e-5)


def test_probabilities_of_sigmoid_are_those_of_numpy():
    net = Network([4, 5, 3], "sigmoid", "sigmoid")
    assert_allclose(net.predict_proba(X), 1 / (1 + np.exp(-logits(net, X))), rtol=1e-5)


def test_probabilities_are_float32_and_sum_to_one():
    net = Network([784, 20, 10])
    probabilities = net.predict_proba(IMAGES)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (600, 10))
    assert_allclose(probabilities.sum(axis=1, dtype=np.float64), 1, atol=1e-6)


def test_probabilities_of_huge_logits_are_zeros_and_ones():
    net = Network([4, 3], dtype="float64")
    net.weights[0][:] *= 1e6
    probabilities = net.predict_proba(X)
    assert_array_equal(np.sort(np.unique(probabilities.max(axis=1))), [1])
    assert_allclose(probabilities.sum(axis=1), 1)


def test_probabilities_of_yes_and_no_at_huge_logits_are_zeros_and_ones():
    net = Network([4, 3], output="sigmoid")
    net.weights[0][:] *= 1e6
    assert set(np.unique(net.predict_proba(X))) == {0.0, 1.0}


def test_regression_has_no_probabilities():
    with pytest.raises(ConfigError, match="predict_proba: expected a network with softmax or sigmoid output, .*; use predict$"):
        Network([4, 5, 3], output="identity").predict_proba(X)


# Shapes


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
def test_one_row_gives_a_result_without_the_first_axis(output):
    net = Network([4, 5, 3], "sigmoid", output)
    assert_array_equal(net.predict(X[0]), net.predict(X[:1])[0])
    assert np.shape(net.predict(X[0])) == (() if output == "softmax" else (3,))
    if output != "identity":
        assert_array_equal(net.predict_proba(X[0]), net.predict_proba(X[:1])[0])
        assert net.predict_proba(X[0].tolist()).shape == (3,)


def test_one_image_gives_a_result_without_the_first_axis():
    net = Network([784, 20, 10])
    assert net.predict(IMAGES[3]) == net.predict(IMAGES)[3]
    assert np.shape(net.predict(IMAGES[3])) == ()
    assert_array_equal(net.predict_proba(IMAGES[3]), net.predict_proba(IMAGES)[3])


def test_one_flat_image_is_one_row():
    net = Network([784, 20, 10])
    assert net.predict(IMAGES[3].reshape(784)) == net.predict(IMAGES)[3]


def test_as_many_rows_as_features_are_rows():
    assert Network([28, 10]).predict(IMAGES[0]).shape == (28,)


@pytest.mark.parametrize(("shape", "one"), [((20,), ()), ((20, 1), (1,)), ((20, 3), (3,))])
def test_values_are_predicted_in_the_shape_of_the_targets_trained_on(shape, one):
    net = regression(GENERATOR.standard_normal(shape))
    assert net.predict(X[:20]).shape == shape
    assert np.shape(net.predict(X[0])) == one


@pytest.mark.parametrize("shape", [(20,), (20, 1)])
def test_yes_and_no_is_predicted_in_the_shape_of_the_targets_trained_on(shape):
    net = Network([4, 5, 1], output="sigmoid")
    fastmlp.train(net, X[:20], np.zeros(shape), epochs=1)
    assert net.predict(X[:20]).shape == shape
    assert net.predict_proba(X[:20]).shape == (20, 1)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_no_rows_give_no_predictions(output):
    net = Network([4, 5, 3], output=output)
    assert net.predict(X[:0]).shape == ((0,) if output == "softmax" else (0, 3))
    assert net.predict_proba(X[:0]).shape == (0, 3)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "logits"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:, :3], r"x: expected \(n, 4\), got shape \(600, 3\)"),
        ([1.0, 2.0], r"x: expected \(n, 4\), got shape \("),
        ([[1, 2, 3, 4], [5, 6]], "x: expected a rectangular array of numbers"),
        (np.full((2, 4), np.nan), "x: expected finite numbers"),
        (["a", "b", "c", "d"], "x: expected numbers"),
        (None, "x: expected an array of numbers, got NoneType"),
    ],
)
def test_rows_that_cannot_be_predicted_are_refused(method, x, message):
    with pytest.raises(DataError, match=f"^{message}"):
        getattr(Network([4, 5, 3]), method)(x)


# Independence


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "silu"])
@pytest.mark.parametrize(("sizes", "x"), [([4, 7, 5, 3], X), ([784, 300, 10], IMAGES)], ids=["small", "large"])
def test_a_prediction_depends_on_no_other_row(sizes, x, activation):
    net = Network(sizes, activation)
    together = net.logits(x)
    order = GENERATOR.permutation(len(x))
    assert net.logits(x[order]).tobytes() == together[order].tobytes()
    for count in (1, 2, 3, 15, 16, 17, 255, 256, 257):
        assert net.logits(x[:count]).tobytes() == together[:count].tobytes()
        assert net.logits(x[-count:]).tobytes() == together[-count:].tobytes()


def test_predicting_changes_no_parameter_and_no_input():
    net, x = Network([4, 5, 3]), X.copy()
    before = net.parameters.tobytes()
    net.predict(x)
    net.evaluate(x, np.zeros(600, int))
    assert (net.parameters.tobytes(), x.tobytes(), x.flags.writeable) == (before, X.tobytes(), True)


def test_an_untrained_network_takes_bytes_as_parts_of_255():
    net = Network([784, 20, 10], dtype="float64")
    assert_allclose(net.logits(IMAGES), net.logits(IMAGES / 255), rtol=1e-9, atol=1e-12)


# Measuring


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
def test_evaluate_gives_the_mean_loss_that_the_network_is_trained_with(output):
    net = Network([4, 5, 3], "sigmoid", output, dtype="float64")
    z = logits(net, X)
    if output == "softmax":
        y = GENERATOR.integers(0, 3, 600)
        expected = (np.log(np.exp(z).sum(axis=1)) - z[np.arange(600), y]).mean()
    elif output == "sigmoid":
        y = GENERATOR.integers(0, 2, (600, 3))
        expected = (np.log1p(np.exp(z)) - y * z).mean()
    else:
        y = GENERATOR.standard_normal((600, 3))
        expected = ((z - y) ** 2).mean()
    assert net.evaluate(X, y)["loss"] == pytest.approx(expected, rel=1e-10)


def test_accuracy_is_the_share_of_rows_predicted_rightly():
    net = Network([4, 5, 3])
    y = GENERATOR.integers(0, 3, 600)
    assert net.evaluate(X, y)["accuracy"] == pytest.approx((net.predict(X) == y).mean(), abs=1e-15)


def test_accuracy_of_several_labels_is_the_share_of_labels_predicted_rightly():
    net = Network([4, 5, 3], output="sigmoid")
    y = GENERATOR.integers(0, 2, (600, 3))
    assert net.evaluate(X, y)["accuracy"] == pytest.approx((net.predict(X) == y).mean(), abs=1e-12)


def test_values_have_no_accuracy():
    assert list(Network([4, 5, 3], output="identity").evaluate(X, X[:, :3])) == ["loss", "rmse", "mae", "r2"]


def test_the_confusion_matrix_counts_true_classes_in_rows_and_predicted_ones_in_columns():
    net = Network([4, 5, 3])
    y = GENERATOR.integers(0, 3, 600)
    expected = np.zeros((3, 3), np.int64)
    for row in range(600):
        expected[y[row], net.predict(X[row])] += 1
    found = net.confusion_matrix(X, y)
    assert_array_equal(found, expected)
    assert found.dtype == np.int64
    assert not np.array_equal(found, found.T)


def test_a_class_without_rows_has_a_row_of_zeros():
    assert_array_equal(Network([4, 5, 3]).confusion_matrix(X, np.zeros(600, int))[1:], 0)


@pytest.mark.parametrize("output", ["sigmoid", "identity"])
def test_only_classes_have_a_confusion_matrix(output):
    with pytest.raises(
        ConfigError, match=f"confusion_matrix: expected a network that predicts one class per row, this one has {output} output"
    ):
        Network([4, 5, 3], output=output).confusion_matrix(X, np.zeros((600, 3)))


@pytest.mark.parametrize("method", ["evaluate", "gradient"])
def test_no_rows_cannot_be_measured(method):
    with pytest.raises(DataError, match="^x: expected at least one row"):
        getattr(Network([4, 5, 3]), method)(X[:0], np.zeros(0, int))


@pytest.mark.parametrize("method", ["evaluate", "gradient", "confusion_matrix"])
@pytest.mark.parametrize(
    ("y", "message"),
    [(np.zeros(5, int), "y: expected 600 rows"), (np.full(600, 3), "y: expected class numbers from 0 to 2, got 3 in row 0")],
)
def test_targets_are_checked_before_anything_is_measured(method, y, message):
    with pytest.raises(DataError, match=f"^{message}"):
        getattr(Network([4, 5, 3]), method)(X, y)


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
def test_evaluate_counts_a_row_as_often_as_its_weight_says(output):
    generator = np.random.default_rng(5)
    x, copies = generator.standard_normal((7, 4)), np.array([0, 1, 2, 3, 0, 1, 5])
    y = {"softmax": np.arange(7) % 3, "sigmoid": np.eye(3, dtype=int)[np.arange(7) % 3], "identity": x[:, :3] ** 2}[output]
    net = Network([4, 5, 3], "tanh", output, dtype="float64")
    repeated = net.evaluate(np.repeat(x, copies, axis=0), np.repeat(y, copies, axis=0))
    assert net.evaluate(x, y, copies / 2) == pytest.approx(repeated, rel=1e-12)
    with pytest.raises(DataError, match=r"sample_weight: expected \(7,\), one number per row, got shape \(4,\)"):
        net.evaluate(x, y, copies[:4])
