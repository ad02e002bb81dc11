"""Training gives what an independent training in float64 NumPy gives."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmlp
from fastmlp import Network
from fastmlp.kernels.activations import ACTIVATIONS
from tests.oracle import mlp
from tests.pairs import each_pair
from tests.training import reference

SHAPES = {
    "no hidden layer": ([4, 3], ()),
    "one hidden layer": ([4, 50, 3], ("sigmoid",)),
    "three hidden layers": ([4, 20, 33, 17, 3], ("tanh", "silu", "relu")),
}
LOSSES = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "identity": "mse"}
N_ROWS, BATCH = 31, 7  # the last batch has three rows
GENERATOR = np.random.default_rng(1)
X = GENERATOR.standard_normal((N_ROWS, 4))
TARGETS = {
    "softmax": GENERATOR.integers(0, 3, N_ROWS),
    "sigmoid": GENERATOR.integers(0, 2, (N_ROWS, 3)),
    "identity": GENERATOR.standard_normal((N_ROWS, 3)),
}


def both(net: Network, x, y, given=None, **settings) -> tuple[fastmlp.History, reference.Training]:
    """Train a network, and its twin in NumPy on the inputs `given` to it (by default x)."""
    start = net.parameters.astype(np.float64)
    given = x if given is None else given
    numpy_settings = {name: value for name, value in settings.items() if name not in ("kernels", "threads", "normalize", "zero_skipping")}
    expected = reference.train(start, net.sizes, net.hidden_activations, LOSSES[net.output], given, y, **numpy_settings)
    return fastmlp.train(net, x, y, normalize_target="none", **settings), expected


@each_pair(shape=SHAPES, output=TARGETS, reduction=["mean", "sum"], kernels=["auto", "scalar"])
def test_training_equals_numpy_to_nine_digits(shape, output, reduction, kernels):
    net = Network(*SHAPES[shape], output, dtype="float64", seed=3)
    history, expected = both(
        net, X, TARGETS[output], epochs=4, batch_size=BATCH, learning_rate=0.02, reduction=reduction, seed=5, kernels=kernels
    )
    assert_allclose(net.parameters, expected.parameters, rtol=1e-9, atol=1e-9)
    assert_allclose([epoch.train_loss for epoch in history], expected.losses, rtol=1e-9)
    if output != "identity":
        assert_allclose([epoch.train_accuracy for epoch in history], expected.accuracies, rtol=1e-12)


@pytest.mark.parametrize("kernels", ["auto", pytest.param("scalar", marks=pytest.mark.long)])  # see kernels/test_textbook_step.py
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_trains_as_in_numpy(activation, kernels):
    net = Network([4, 50, 40, 3], activation, dtype="float64")
    _, expected = both(net, X, TARGETS["softmax"], epochs=3, batch_size=BATCH, learning_rate=0.05, kernels=kernels)
    assert_allclose(net.parameters, expected.parameters, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernels", ["auto", "scalar"])
def test_float32_training_follows_float64_to_float32_rounding(kernels):
    net = Network([4, 16, 3], "sigmoid", seed=3)
    _, expected = both(net, X, TARGETS["softmax"], epochs=4, batch_size=BATCH, learning_rate=0.1, kernels=kernels)
    assert_allclose(net.parameters, expected.parameters, rtol=1e-5, atol=2e-6)


LONG = [pytest.param("scalar", threads, marks=pytest.mark.long) for threads in (2, 3)]  # of float64, compiled for nobody else


@pytest.mark.parametrize(("kernels", "threads"), [("auto", 1), ("auto", 2), ("auto", 3), ("scalar", 1), *LONG])
def test_work_enough_for_several_threads_trains_as_in_numpy(kernels, threads):
    x, y = GENERATOR.standard_normal((230, 120)), GENERATOR.integers(0, 10, 230)
    net = Network([120, 130, 10], "sigmoid", dtype="float64")
    _, expected = both(net, x, y, epochs=2, batch_size=100, learning_rate=0.1, threads=threads, kernels=kernels)
    assert_allclose(net.parameters, expected.parameters, rtol=1e-9, atol=1e-9)


@each_pair(kernels=["auto", "scalar"], normalize=["none", "scale", "standardize"], zero_skipping=["on", "off", "auto"])
def test_bytes_that_are_mostly_zero_train_as_in_numpy(kernels, normalize, zero_skipping):
    x = GENERATOR.integers(1, 5, (57, 9, 9), dtype=np.uint8) * (GENERATOR.random((57, 9, 9)) < 0.2).astype(np.uint8)
    y, flat = GENERATOR.integers(0, 5, 57), x.reshape(57, 81).astype(float)
    scaled = flat / 255
    given = {"none": flat, "scale": scaled, "standardize": (scaled - scaled.mean()) / scaled.std()}[normalize]
    net = Network([81, 37, 5], "tanh")  # float32, as bytes are trained on: in float64 all of it would be compiled for this test alone
    _, expected = both(
        net, x, y, given, epochs=2, batch_size=11, learning_rate=0.05, normalize=normalize, zero_skipping=zero_skipping, kernels=kernels
    )
    assert_allclose(net.parameters, expected.parameters, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("output", TARGETS)
def test_the_public_gradient_equals_numpy(output):
    net = Network([4, 6, 5, 3], ("tanh", "silu"), output, dtype="float64")
    target = TARGETS[output].reshape(N_ROWS, -1)
    layers = mlp.layers_of(net.parameters, net.sizes)
    found, _ = mlp.gradient(layers, net.hidden_activations, LOSSES[output], X, target, np.full(N_ROWS, 1 / N_ROWS))
    assert_allclose(net.gradient(X, TARGETS[output]), mlp.flat(found), rtol=1e-11, atol=1e-13)
