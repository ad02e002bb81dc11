"""The gradient of a network as a user asks for it: by tiles where they pay, the same as by NumPy."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

import fastmlp
from fastmlp.engines.tiled import FORWARD_ROWS
from fastmlp.network import programs
from tests.oracle import mlp
from tests.pairs import each_pair

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((2 * FORWARD_ROWS + 3, 20))
TARGETS = {
    "softmax": GENERATOR.integers(0, 5, len(X)),
    "sigmoid": GENERATOR.integers(0, 2, (len(X), 5)),
    "identity": GENERATOR.standard_normal((len(X), 5)),
}
LOSSES = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "identity": "mse"}


def by_numpy(net, x, y):
    target = y.reshape(len(x), -1).astype(np.float64)
    layers = mlp.layers_of(net.parameters.astype(np.float64), net.sizes)
    found, _ = mlp.gradient(layers, net.hidden_activations, LOSSES[net.output], x, target, np.full(len(x), 1 / len(x)))
    return mlp.flat(found)


@each_pair(hidden=[[33], [90, 17]], output=TARGETS, rows=[1, 5, FORWARD_ROWS, FORWARD_ROWS + 1, len(X)])
def test_gradient_of_any_number_of_rows_is_that_of_numpy(hidden, output, rows):
    net = fastmlp.Network([20, *hidden, 5], "tanh", output, dtype="float64")
    x, y = X[:rows], TARGETS[output][:rows]
    assert_allclose(net.gradient(x, y), by_numpy(net, x, y), rtol=1e-9, atol=1e-13)


def test_gradient_follows_the_parameters_and_the_normalisation():
    net = fastmlp.Network([20, 90, 5], "tanh", dtype="float64")
    y = TARGETS["softmax"]
    net.gradient(X, y)
    net.parameters *= 0.5
    assert_allclose(net.gradient(X, y), by_numpy(net, X, y), rtol=1e-9, atol=1e-13)
    fastmlp.train(net, 3 * X + 1, y, epochs=1, normalize="standardize", per_feature=True)
    x = 3 * X + 1
    assert_allclose(net.gradient(x, y), by_numpy(net, (x - x.mean(axis=0)) / x.std(axis=0), y), rtol=1e-9, atol=1e-13)


def test_gradients_of_the_same_kind_of_rows_share_what_they_are_taken_by(monkeypatch):
    made, make = [], programs._gradient_program
    monkeypatch.setattr(programs, "_gradient_program", lambda *given: made.append(given) or make(*given))
    net = fastmlp.Network([20, 90, 5])
    for rows in (len(X), len(X), 5, 5, len(X)):
        net.gradient(X[:rows], TARGETS["softmax"][:rows])
    assert len(made) == 3


def test_gradient_leaves_the_parameters_as_they_are():
    net = fastmlp.Network([20, 90, 5])
    before = net.parameters.copy()
    net.gradient(X, TARGETS["softmax"])
    assert_array_equal(net.parameters, before)


def test_gradient_where_the_loss_is_not_finite_is_not_a_number():
    net = fastmlp.Network([20, 90, 5])
    net.weights[1][:] = np.float32(3e38)
    assert np.isnan(net.gradient(X, TARGETS["softmax"])).all()


def test_gradients_asked_for_by_several_threads_at_once_are_those_of_one():
    net = fastmlp.Network([20, 90, 5])
    y = TARGETS["softmax"]
    expected = [net.gradient(X[first:], y[first:]) for first in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for one, many in zip(expected, pool.map(lambda first: net.gradient(X[first:], y[first:]), range(4)), strict=True):
                assert_array_equal(many, one)
