"""Every loss, with its number, through every way of training; what a network remembers of it; what is refused."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmlp
from fastmlp import ConfigError, DataError, ModelFileError, Network
from fastmlp.kernels.losses import LOSSES as KNOWN
from tests.oracle import mlp
from tests.pairs import each_in_turn
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
    "mse_of_softmax": ("softmax", {"label_smoothing": 0.2}, 0.2),
    "mse_of_sigmoid": ("sigmoid", {"label_smoothing": 0.2}, 0.2),
    "mse": ("identity", {}, 0.0),
    "mae": ("identity", {}, 0.0),
    "huber": ("identity", {"huber_delta": 0.7}, 0.7),
    "log_cosh": ("identity", {}, 0.0),
    "quantile": ("identity", {"quantile": 0.9}, 0.9),
    "poisson": ("identity", {}, 0.0),
}
COUNTS = GENERATOR.integers(0, 5, (N_ROWS, 3)).astype(float)
# tiles, the textbook loops, one sample a step
WAYS = {"tiles": ("auto", 50, 7), "loops": ("scalar", 50, 7), "rows": ("auto", 50, 1), "rows, few units": ("auto", 3, 1)}


def targets(loss):
    return COUNTS if loss == "poisson" else TARGETS[LOSSES[loss][0]]


def mean_loss(net, loss, x, y, parameter):
    z = reference.outputs(net.parameters, net.sizes, net.hidden_activations, x)
    return mlp.row_losses(loss, z, y.reshape(len(x), -1), parameter).mean()


@each_in_turn(loss=list(LOSSES), way=list(WAYS))
def test_every_loss_trains_with_its_number_as_in_numpy(loss, way):
    (output, settings, parameter), (kernels, units, batch_size) = LOSSES[loss], WAYS[way]
    net = Network([4, units, 3], "tanh", output, dtype="float64", seed=3)
    start, shared = net.parameters.copy(), {"epochs": 2, "batch_size": batch_size, "learning_rate": 0.02, "seed": 5}
    history = fastmlp.train(net, X, targets(loss), loss=KNOWN[loss].name, kernels=kernels, normalize_target="none", **settings, **shared)
    expected = reference.train(start, net.sizes, ["tanh"], loss, X, targets(loss), parameter=parameter, **shared)
    assert_allclose(net.parameters, expected.parameters, rtol=1e-9, atol=1e-9)
    assert_allclose([epoch.train_loss for epoch in history], expected.losses, rtol=1e-9)


@pytest.mark.parametrize("loss", [loss for loss, (_, settings, _) in LOSSES.items() if "label_smoothing" in settings])
def test_smoothed_labels_belong_to_training_not_to_evaluation(loss):
    output = LOSSES[loss][0]
    net, y = Network([4, 8, 3], "tanh", output, dtype="float64"), TARGETS[output]
    history = fastmlp.train(net, X, y, loss=KNOWN[loss].name, label_smoothing=0.3, learning_rate=1e-12, epochs=1, validation=(X, y))
    assert history[0].train_loss == pytest.approx(mean_loss(net, loss, X, y, 0.3), rel=1e-9)
    assert history[0].validation_loss == pytest.approx(mean_loss(net, loss, X, y, 0.0), rel=1e-12)
    assert net.evaluate(X, y)["loss"] == pytest.approx(mean_loss(net, loss, X, y, 0.0), rel=1e-12)


def test_every_loss_is_tried_here():
    assert set(LOSSES) == set(KNOWN)


@pytest.mark.parametrize("loss", ["huber", "quantile"])
def test_a_network_evaluates_with_the_number_that_it_was_trained_with(loss, tmp_path):
    _, settings, parameter = LOSSES[loss]
    net, y = Network([4, 8, 3], "tanh", "identity", dtype="float64"), TARGETS["identity"]
    fastmlp.train(net, X, y, loss=loss, epochs=1, normalize_target="none", **settings)
    net.save(tmp_path / "net.safetensors")
    for each in (net, net.copy(), Network.load(tmp_path / "net.safetensors")):
        assert each.evaluate(X, y)["loss"] == pytest.approx(mean_loss(net, loss, X, y, parameter), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_network_differentiates_the_loss_that_it_was_trained_with(loss):
    output, settings, parameter = LOSSES[loss]
    net, y = Network([4, 8, 3], "tanh", output, dtype="float64"), targets(loss)
    fastmlp.train(net, X, y, loss=KNOWN[loss].name, epochs=1, normalize_target="none", **settings)
    kept = 0.0 if "label_smoothing" in settings else parameter
    expected, _ = mlp.gradient(
        mlp.layers_of(net.parameters, net.sizes), ["tanh"], loss, X, y.reshape(N_ROWS, -1), np.full(N_ROWS, 1 / N_ROWS), kept
    )
    state, functions = net.compiled()
    slope = np.empty_like(net.parameters)
    functions.gradient(state, functions.make_scratch(state), X, y, slope)
    assert_allclose(net.gradient(X, y), mlp.flat(expected), rtol=1e-9, atol=1e-13)
    assert_allclose(slope, mlp.flat(expected), rtol=1e-9, atol=1e-13)
    assert fastmlp.check_gradient(net, X, y).passed


@pytest.mark.parametrize("x", [X, X[0]], ids=["rows", "one row"])
def test_after_poisson_the_network_predicts_rates(x):
    net = Network([4, 8, 3], "tanh", "identity", dtype="float64")
    fastmlp.train(net, X, COUNTS, loss="poisson", epochs=3)
    rates = np.exp(reference.outputs(net.parameters, net.sizes, ["tanh"], np.atleast_2d(x)))
    assert_allclose(np.atleast_2d(net.predict(x)), rates, rtol=1e-12)
    state, functions = net.compiled()
    out = np.empty((len(rates), 3))
    functions.predict_batch(state, functions.make_scratch(state), np.atleast_2d(x), out)
    assert_allclose(out, rates, rtol=1e-12)


def test_poisson_learns_the_rate_that_counts_come_from():
    x = GENERATOR.uniform(-1, 1, (4000, 1))
    counts = GENERATOR.poisson(np.exp(1 + x[:, 0]))
    net = Network([1, 10, 1], "tanh", "identity")
    fastmlp.train(net, x, counts, loss="poisson", epochs=30, learning_rate=0.05, normalize="none")
    assert net.predict(np.array([[-0.5], [0.5]])).tolist() == pytest.approx([np.exp(0.5), np.exp(1.5)], rel=0.1)


def test_counts_far_from_where_poisson_begins_are_told_with_a_cure():
    x = GENERATOR.normal(size=(400, 2))
    counts = GENERATOR.poisson(1e4 * np.exp(0.5 * x[:, 0]))
    told, cured = (Network([2, 20, 1], seed=1) for _ in range(2))
    with pytest.warns(UserWarning, match=r"^y: counts are 1\.\de\+04 on average, .* network\.biases\[-1\]\[:\] = np\.log"):
        fastmlp.train(told, x, counts, loss="poisson", epochs=1)
    cured.biases[-1][:] = np.log(counts.mean(axis=0))
    fastmlp.train(cured, x, counts, loss="poisson")
    assert cured.evaluate(x, counts)["r2"] > 0.95


def test_quantile_learns_the_number_below_which_that_share_lies():
    y = GENERATOR.uniform(0, 1, 4000)
    net = Network([1, 1], output="identity")
    fastmlp.train(net, np.zeros((4000, 1)), y, loss="quantile", quantile=0.9, epochs=20, learning_rate=0.05)
    assert (y < net.predict(np.zeros(1))).mean() == pytest.approx(0.9, abs=0.02)


def test_negative_counts_are_refused():
    net, y = Network([4, 8, 1], output="identity"), np.array([0, 2, -1, 3])
    with pytest.raises(DataError, match="y: expected counts or rates, at least 0, with the loss poisson, got -1 in row 2"):
        fastmlp.train(net, X[:4], y, loss="poisson")
    with pytest.raises(DataError, match="validation y: expected counts or rates"):
        fastmlp.train(net, X[:2], y[:2], loss="poisson", validation=(X[:3], y[:3]))


def test_a_number_that_the_parameters_cannot_hold_is_refused():
    net = Network([4, 8, 3], output="identity")
    with pytest.raises(ConfigError, match="huber_delta: expected a number that float32 can hold, got 1e-60"):
        fastmlp.train(net, X, TARGETS["identity"], loss="huber", huber_delta=1e-60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "huber", "loss_parameter": 0.0}, "huber_delta: expected more than 0"),
        ({"loss": "quantile", "loss_parameter": 1.5}, "quantile: expected less than 1"),
        ({"loss": "mse", "loss_parameter": 0.5}, "loss_parameter: expected 0 for mse, got 0.5"),
        ({"loss": "huber", "loss_parameter": "wide"}, "huber_delta: expected a number, got 'wide'"),
    ],
)
def test_a_model_file_whose_loss_has_an_impossible_number_is_refused(changes, message):
    file = Network([4, 8, 3], output="identity").to_tensors()
    config = json.loads(file.metadata["config"]) | changes
    with pytest.raises(ModelFileError, match=message):
        Network.from_tensors("net", file._replace(metadata=file.metadata | {"config": json.dumps(config)}))


def test_a_model_file_from_before_losses_had_numbers_loads():
    file = Network([4, 8, 3], output="identity").to_tensors()
    config = {name: value for name, value in json.loads(file.metadata["config"]).items() if name != "loss_parameter"}
    assert Network.from_tensors("net", file._replace(metadata=file.metadata | {"config": json.dumps(config)})).loss_parameter == 0


def test_smoothing_labels_of_numbers_is_refused():
    expected = "label_smoothing: expected 0 with the loss mse of identity output, got 0.1; only softmax and sigmoid outputs"
    with pytest.raises(ConfigError, match=expected):
        fastmlp.train(Network([4, 8, 3], output="identity"), X, TARGETS["identity"], label_smoothing=0.1)
