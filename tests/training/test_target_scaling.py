"""Regression by default: targets standardised inside, everything reported in the units of y. Oracle: tests/oracle/targets.py, float64."""

import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastmlp
from fastmlp.errors import ConfigError, DataError
from fastmlp.kernels.losses import LOSSES as KNOWN
from fastmlp.network import Network
from fastmlp.preprocessing.targets import TargetScaling
from tests.oracle import losses
from tests.oracle import targets as oracle
from tests.oracle.randomness import shuffled

generator = np.random.default_rng(0)
X = generator.standard_normal((90, 4))
F = np.stack([X @ [1.0, 2.0, 0.0, -1.0], np.sin(X[:, 0]) + X[:, 1], X[:, 2] ** 2], axis=1) + 0.1 * generator.standard_normal((90, 3))
SCALES, CENTRES = np.array([1e-3, 3.0, 1e5]), np.array([0.02, -1.0, 4e5])
Y = CENTRES + SCALES * F
WEIGHT = generator.integers(0, 4, 90).astype(float)
LOSSES = {"mse": 0.0, "mae": 0.0, "huber": 2.0, "log_cosh": 0.0, "quantile": 0.3}
SETTINGS = {"epochs": 3, "learning_rate": 0.05, "batch_size": 20, "optimizer": "sgd", "normalize": "none", "validation": 0}


def network(outputs=3, dtype="float64", units=20):
    return Network([4, units, outputs], "tanh", "identity", dtype=dtype, seed=1)


def layers_of(net):
    (W0, W1), (b0, b1) = net.weights, net.biases
    return oracle.Layers(*(np.array(array, np.float64) for array in (W0, b0, W1, b1)))


def of_loss(loss):
    number = {"huber": "huber_delta", "quantile": "quantile"}.get(loss)
    return {"loss": loss} if number is None else {"loss": loss, number: LOSSES[loss]}


@pytest.mark.parametrize("loss", LOSSES)
def test_training_is_that_of_the_oracle_and_told_in_the_units_of_y(loss):
    net = network()
    before, parameter = layers_of(net), LOSSES[loss]
    history = fastmlp.train(net, X, Y, **SETTINGS | of_loss(loss), sample_weight=WEIGHT)
    orders = [np.array(shuffled(0, epoch, len(X))) for epoch in range(3)]
    expected, means = oracle.train(before, X, Y, loss, parameter, orders, 20, 0.05, WEIGHT)
    for array, wanted in zip(layers_of(net), expected, strict=True):
        assert_allclose(array, wanted, rtol=1e-9, atol=1e-12)
    assert_allclose(history.to_dict()["train_loss"], means, rtol=1e-9)
    mean, std = oracle.moments(Y, WEIGHT)
    assert_allclose(net.target_scaling.mean, mean, rtol=1e-13)
    assert_allclose(net.target_scaling.std, std, rtol=1e-12)
    found = net.evaluate(X, Y, WEIGHT)
    predicted = oracle.predict(expected, X, mean, std)
    assert_allclose(net.predict(X), predicted, rtol=1e-9)
    assert found["loss"] == pytest.approx(np.average(losses.row_losses(loss, predicted, Y, parameter), weights=WEIGHT), rel=1e-9)
    assert {name: found[name] for name in ("rmse", "mae", "r2")} == pytest.approx(oracle.scores(predicted, Y, WEIGHT), rel=1e-9)
    assert fastmlp.check_gradient(net, X, Y).passed


@pytest.mark.parametrize("units", [6, 20])  # layers of one vector, and wider ones
def test_training_row_by_row_is_that_of_the_oracle(units, subtests):
    orders = [np.array(shuffled(0, epoch, len(X))) for epoch in range(2)]
    for loss, parameter in LOSSES.items():
        net = network(units=units)
        given = SETTINGS | {"epochs": 2, "batch_size": 1, "learning_rate": 0.01} | of_loss(loss)
        expected, means = oracle.train(layers_of(net), X, Y, loss, parameter, orders, 1, 0.01, WEIGHT)
        history = fastmlp.train(net, X, Y, **given, sample_weight=WEIGHT)
        with subtests.test(loss):
            for array, wanted in zip(layers_of(net), expected, strict=True):
                assert_allclose(array, wanted, rtol=1e-9, atol=1e-12)
            assert_allclose(history.to_dict()["train_loss"], means, rtol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "settings", [{}, {"kernels": "scalar"}, {"batch_size": 1}, {"optimizer": "lbfgs"}, {"optimizer": "lbfgs", "outputs": 1}]
)
def test_every_engine_tells_the_loss_before_the_first_step_in_the_units_of_y(loss, settings):
    """In one step over all rows the loss of an epoch is that of the network before it."""
    outputs = settings.get("outputs", 3)
    net, y = network(outputs, dtype="float32"), Y[:, :outputs]
    given = {name: value for name, value in settings.items() if name != "outputs"}
    rows = 1 if "batch_size" in given else len(X)
    mean, std = oracle.moments(y[:rows])
    before = oracle.predict(layers_of(net), X[:rows], mean, std)
    all_at_once = {**SETTINGS, "epochs": 1, "batch_size": rows, "learning_rate": 1e-4} | of_loss(loss)
    if "optimizer" in given:
        del all_at_once["learning_rate"]
    history = fastmlp.train(net, X[:rows], y[:rows], **all_at_once | given)
    assert history[0].train_loss == pytest.approx(losses.row_losses(loss, before, y[:rows], LOSSES[loss]).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("centre", "scale"),
    [(0.0, 1.0), (1e5, 1e4), (1.7e9, 10.0), (0.0, 1e-12), (-1e30, 1e29)],
    ids=["plain", "prices", "times", "tiny", "masses"],
)
def test_units_of_y_change_nothing_but_the_units(centre, scale):
    """float64 targets are standardised before they are rounded: a float32 network learns 1.7e9 plus minus 10, and predicts it."""
    plain, moved = network(1, "float32"), network(1, "float32")
    y = F[:, 1]
    settings = {"epochs": 30, "optimizer": "adam", "learning_rate": 0.01}
    expected = fastmlp.train(plain, X[:70], y[:70], validation=(X[70:], y[70:]), **settings)[-1]
    moved_y = centre + scale * y
    found = fastmlp.train(moved, X[:70], moved_y[:70], validation=(X[70:], moved_y[70:]), **settings)[-1]
    rounding = 1e-3 + np.finfo(float).eps * abs(centre) / scale * 1e3  # that of y itself, over 30 epochs
    assert_allclose(
        [found.train_loss, found.validation_loss], scale**2 * np.array([expected.train_loss, expected.validation_loss]), rtol=rounding
    )
    assert_allclose((moved.predict(X) - centre) / scale, plain.predict(X), atol=2e-3)
    assert moved.evaluate(X, moved_y)["r2"] == pytest.approx(plain.evaluate(X, y)["r2"], abs=1e-3)


def test_constant_targets_and_a_single_row_are_predicted_at_once():
    for x, y in ((X, np.full(90, 0.1)), (X[:1], np.array([1.7e9]))):
        net = network(1)
        net.parameters[:] = 0
        fastmlp.train(net, x, y, **SETTINGS)
        assert_array_equal(net.predict(x), y)
        assert net.evaluate(x, y) == {"loss": 0.0, "rmse": 0.0, "mae": 0.0, "r2": 1.0 if len(x) > 1 else None}
    wrong = net.evaluate(X, np.full(90, 0.1))
    assert wrong["r2"] == 0.0  # as scikit-learn has it


def test_rows_held_out_and_rows_that_count_nothing_are_not_fitted():
    y, weight = Y.copy(), np.ones(90)
    y[70:], weight[:5], y[:5] = 1e12, 0.0, -1e12
    net = network()
    fastmlp.train(net, X[:70], y[:70], **SETTINGS | {"validation": (X[70:], y[70:])}, sample_weight=weight[:70])
    mean, std = oracle.moments(Y[5:70])
    assert_allclose(net.target_scaling.mean, mean, rtol=1e-12)
    assert_allclose(net.target_scaling.std, std, rtol=1e-12)


def test_the_scaling_is_fitted_once_and_goes_through_files_copies_and_resumption(tmp_path):
    net, whole = network(), network()
    first = fastmlp.train(net, X, Y, **SETTINGS)
    scaling = net.target_scaling
    net.save(tmp_path / "net.safetensors")
    loaded = Network.load(tmp_path / "net.safetensors")
    assert_array_equal(loaded.target_scaling.mean, scaling.mean)
    assert_array_equal(loaded.target_scaling.std, scaling.std)
    for other in (loaded, pickle.loads(pickle.dumps(net)), net.copy()):  # noqa: S301
        fastmlp.train(other, X, Y * 2.0, **SETTINGS)
        assert_array_equal(other.target_scaling.std, scaling.std)
    fastmlp.train(whole, X, Y, **SETTINGS | {"epochs": 6})
    fastmlp.train(net, X, Y, **SETTINGS | {"epochs": 6}, resume=first.state)
    assert net.parameters.tobytes() == whole.parameters.tobytes()


def test_without_scaling_a_network_is_as_it_was_and_stays_so():
    net = network()
    fastmlp.train(net, X, F, **SETTINGS | {"normalize_target": "none"})
    assert net.target_scaling.kind == "none"
    assert_array_equal(net.predict(X), net.logits(X))
    before = net.parameters.copy()
    fastmlp.train(net, X, F, **SETTINGS)  # keeps what it has
    assert net.target_scaling.kind == "none"
    with pytest.raises(ConfigError, match="normalize_target: this network was trained with 'none' and keeps it, got 'standardize'"):
        fastmlp.train(net, X, F, **SETTINGS | {"normalize_target": "standardize"})
    assert (net.parameters != before).any()


def test_a_network_of_version_0_1_goes_on_with_targets_as_they_are():
    net = network()
    fastmlp.train(net, X, F, **SETTINGS | {"normalize_target": "none"})
    file = net.to_tensors()
    assert "normalize_target" in file.metadata["preprocess"]
    old = Network.from_tensors("old", file._replace(metadata=file.metadata | {"preprocess": '{"normalize": "none"}'}))
    fastmlp.train(net, X, F, **SETTINGS)
    fastmlp.train(old, X, F, **SETTINGS)
    assert old.parameters.tobytes() == net.parameters.tobytes()


def test_given_weights_predict_what_they_say_before_and_after_training():
    net = Network.from_weights([np.ones((4, 1))], [np.zeros(1)])
    fastmlp.train(net, X, 1e5 + F[:, 0], epochs=0)
    assert net.target_scaling.kind == "none"
    assert_allclose(net.predict(X), X.sum(axis=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("output", "settings", "error"),
    [
        ("softmax", {"normalize_target": "standardize"}, "normalize_target: expected none with softmax output"),
        ("sigmoid", {"normalize_target": "standardize"}, "normalize_target: expected none with sigmoid output"),
        ("identity", {"loss": "poisson", "normalize_target": "standardize"}, "normalize_target: expected none with the loss poisson"),
        ("identity", {"normalize_target": "scale"}, "normalize_target: expected one of none, standardize, got 'scale'"),
    ],
)
def test_scaling_is_refused_where_it_has_no_meaning(output, settings, error):
    net = Network([4, 3, 2], output=output)
    y = np.zeros(90, int) if output == "softmax" else np.zeros((90, 2))
    with pytest.raises(ConfigError, match=error):
        fastmlp.train(net, X, y, **settings)
    assert net.target_scaling is None


def test_counts_are_left_as_they_are_by_the_poisson_loss_for_ever():
    counts = generator.poisson(100.0, (90, 3))
    net = network()
    fastmlp.train(net, X, counts, **SETTINGS | {"loss": "poisson", "learning_rate": 1e-4})
    assert net.target_scaling.kind == "none"
    assert_allclose(net.predict(X), np.exp(net.logits(X)))
    scaled = network()
    fastmlp.train(scaled, X, Y, **SETTINGS)
    with pytest.raises(ConfigError, match="loss: poisson needs targets as they are"):
        fastmlp.train(scaled, X, counts, **SETTINGS | {"loss": "poisson"})


def test_losses_of_ones_own_are_standardised_where_they_measure_a_difference(monkeypatch):
    for name in ("fourth_power_of_target_scaling", "log_rate_of_target_scaling"):
        monkeypatch.setitem(KNOWN, name, None)  # what is registered here is gone afterwards
        KNOWN.pop(name)

    @fastmlp.loss
    def fourth_power_of_target_scaling(z, t):
        return (z - t) ** 4

    @fastmlp.loss
    def log_rate_of_target_scaling(z, t):
        return (z - math.log(1 + t * t)) ** 2

    net, rates = network(1), network(1)
    fastmlp.train(net, X, Y[:, 2], **SETTINGS | {"loss": "fourth_power_of_target_scaling", "learning_rate": 1e-3})
    assert net.target_scaling.kind == "standardize"
    assert net.evaluate(X, Y[:, 2])["loss"] == pytest.approx(np.mean((net.predict(X) - Y[:, 2]) ** 4), rel=1e-9)
    assert fastmlp.check_gradient(net, X, Y[:, 2]).passed
    fastmlp.train(rates, X, np.exp(F[:, 0]), **SETTINGS | {"loss": "log_rate_of_target_scaling", "learning_rate": 1e-3})
    assert rates.target_scaling.kind == "none"


def test_rows_that_arrive_bit_by_bit_are_not_standardised_unless_they_were_before():
    fresh, trained = network(), network()
    fastmlp.OnlineTrainer(fresh, optimizer="sgd", learning_rate=0.01).step(X[:10], F[:10])
    assert fresh.target_scaling.kind == "none"
    with pytest.raises(ConfigError, match="normalize_target: expected none where rows come bit by bit"):
        fastmlp.OnlineTrainer(network(), normalize_target="standardize")
    fastmlp.train(trained, X, Y, **SETTINGS)
    expected = trained.evaluate(X[:10], Y[:10])["loss"]
    loss = fastmlp.OnlineTrainer(trained, optimizer="sgd", learning_rate=0.01).step(X[:10], Y[:10])
    assert loss == pytest.approx(expected, rel=1e-12)


def test_targets_whose_squares_are_no_numbers_are_refused_and_nothing_changes():
    net = network(1)
    before = net.parameters.tobytes()
    for y in (F[:, 0] * 1e200, F[:, 0] * 1e-200):
        with pytest.raises(DataError, match="y: expected numbers that can be standardised"):
            fastmlp.train(net, X, y, **SETTINGS)
    assert (net.target_scaling, net.input_scaling, net.parameters.tobytes()) == (None, None, before)


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_copies_that_leave_are_in_the_units_of_y(normalization):
    net = Network([4, 20, 3], "tanh", "identity", normalization=normalization, dtype="float64", seed=1)
    fastmlp.train(net, X, Y, **SETTINGS | {"batch_size": 30})
    folded = net.folded()
    assert folded.target_scaling.kind == "none"
    assert_allclose(folded.predict(X), net.predict(X), rtol=1e-10)
    assert folded.evaluate(X, Y) == pytest.approx(net.evaluate(X, Y), rel=1e-8)
    before = net.parameters.copy()
    state, functions = (net if normalization == "none" else folded).compiled()
    scratch, out = functions.make_scratch(state), np.empty((90, 3))
    functions.predict_batch(state, scratch, X, out)
    assert_allclose(out, net.predict(X), rtol=1e-10)
    assert functions.loss(state, scratch, X, Y) == pytest.approx(net.evaluate(X, Y)["loss"], rel=1e-8)
    slope = np.empty_like(state.parameters)
    functions.gradient(state, scratch, X, Y, slope)
    assert_allclose(slope, folded.gradient(X, Y), rtol=1e-8, atol=1e-8 * np.abs(slope).max())
    functions.train_step(state, scratch, X, Y, 1e-12)
    assert_array_equal(net.parameters, before)


def test_a_copy_that_float32_cannot_hold_warns():
    net = network(1, "float32")
    fastmlp.train(net, X, 1.7e9 + 10 * F[:, 0], **SETTINGS)
    with pytest.warns(UserWarning, match="compiled: float32 holds numbers around 1.7e\\+09 in steps of 1.3e\\+02, and y varies by"):
        net.compiled()


@pytest.mark.parametrize(
    ("tensors", "kind", "error"),
    [
        ({"target_scaling.std": np.array([1.0, 0.0, 1.0])}, "standardize", "target_scaling: expected stds above 0"),
        ({"target_scaling.mean": np.array([1.0, np.nan, 1.0])}, "standardize", "target_scaling: expected mean to be finite"),
        ({"target_scaling.mean": np.zeros(2)}, "standardize", "target_scaling: expected mean to be float64 of shape"),
        ({"target_scaling.mean": np.zeros(3, np.float32)}, "standardize", "target_scaling: expected mean to be float64"),
        ({"target_scaling.mean": None}, "standardize", "expected a tensor target_scaling.mean, found none"),
        ({}, "none", "expected no tensor target_scaling.mean"),
        ({}, "both", "target_scaling: expected its kind to be one of none, standardize"),
    ],
)
def test_a_file_with_another_scaling_is_refused(tensors, kind, error):
    net = network()
    net.target_scaling = TargetScaling("standardize", np.zeros(3), np.ones(3))
    file = net.to_tensors()
    changed = {name: array for name, array in (file.tensors | tensors).items() if array is not None}
    metadata = file.metadata | {"preprocess": f'{{"normalize": null, "normalize_target": "{kind}"}}'}
    with pytest.raises(fastmlp.ModelFileError, match=error):
        Network.from_tensors("file", file._replace(tensors=changed, metadata=metadata))
