"""Every loss, with its number, through every way of training; what a network remembers of it; what is refused."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmlp
from fastmlp import ConfigError, Network
from tests.oracle import mlp
from tests.training import reference

N_ROWS = 31
GENERATOR = np.random.default_rng(7)
X = GENERATOR.standard_normal((N_ROWS, 4))
TARGETS = {
    "softmax": GENERATOR.integers(0, 3, N_ROWS),
    "sigmoid": GENERATOR.integers(0, 2, (N_ROWS, 3)),
    "identity": GENERATOR.standard_normal((N_ROWS, 3)),
}
# loss -> output, the settings of its number, the number
LOSSES = {
    "cross_entropy": ("softmax", {"label_smoothing": 0.2}, 0.2),
    "binary_cross_entropy": ("sigmoid", {"label_smoothing": 0.2}, 0.2),
    "mse": ("identity", {}, 0.0),
}
# tiles, the textbook loops, one sample a step
WAYS = {"tiles": ("auto", 50, 7), "loops": ("scalar", 50, 7), "rows": ("auto", 50, 1), "rows, few units": ("auto", 3, 1)}


def mean_loss(net, loss, x, y, parameter):
    z = reference.outputs(net.parameters, net.sizes, net.hidden_activations, x)
    return mlp.row_losses(loss, z, y.reshape(len(x), -1), parameter).mean()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_with_its_number_as_in_numpy(loss, way):
    (output, settings, parameter), (kernels, units, batch_size) = LOSSES[loss], WAYS[way]
    net = Network([4, units, 3], "tanh", output, dtype="float64", seed=3)
    start, shared = net.parameters.copy(), {"epochs": 2, "batch_size": batch_size, "learning_rate": 0.02, "seed": 5}
    history = fastmlp.train(net, X, TARGETS[output], loss=loss, kernels=kernels, **settings, **shared)
    expected = reference.train(start, net.sizes, ["tanh"], loss, X, TARGETS[output], parameter=parameter, **shared)
    assert_allclose(net.parameters, expected.parameters, rtol=1e-9, atol=1e-9)
    assert_allclose([epoch.train_loss for epoch in history], expected.losses, rtol=1e-9)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_smoothed_labels_belong_to_training_not_to_evaluation(loss):
    output = LOSSES[loss][0]
    net, y = Network([4, 8, 3], "tanh", output, dtype="float64"), TARGETS[output]
    history = fastmlp.train(net, X, y, label_smoothing=0.3, learning_rate=1e-12, epochs=1, validation=(X, y))
    assert history[0].train_loss == pytest.approx(mean_loss(net, loss, X, y, 0.3), rel=1e-9)
    assert history[0].validation_loss == pytest.approx(mean_loss(net, loss, X, y, 0.0), rel=1e-12)
    assert net.evaluate(X, y)["loss"] == pytest.approx(mean_loss(net, loss, X, y, 0.0), rel=1e-12)


def test_smoothing_labels_of_numbers_is_refused():
    expected = "label_smoothing: expected 0 with the loss mse, got 0.1; only cross_entropy and binary_cross_entropy have labels to smooth"
    with pytest.raises(ConfigError, match=expected):
        fastmlp.train(Network([4, 8, 3], output="identity"), X, TARGETS["identity"], label_smoothing=0.1)
