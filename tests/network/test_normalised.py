"""Networks whose hidden sums are normalised: their layout, what they compute, and that they come back from a file."""

import copy
import hashlib
import itertools
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastmlp
from fastmlp import ConfigError, DataError, ModelFileError, Network
from fastmlp.storage import model_file
from tests.oracle import mlp, normalisation
from tests.pairs import each_pair

GENERATOR = np.random.default_rng(0)
SIZES = (4, 6, 5, 3)
X = GENERATOR.standard_normal((40, 4))
TARGETS = {
    "softmax": GENERATOR.integers(0, 3, len(X)),
    "sigmoid": GENERATOR.integers(0, 2, (len(X), 3)),
    "identity": GENERATOR.standard_normal((len(X), 3)),
}
LOSSES = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "identity": "mse"}
NORMS = ["batch", "layer"]


def network(norm, activation=("tanh", "relu"), output="softmax", dtype="float64", sizes=SIZES) -> Network:
    """A network no number of which is what it begins with."""
    net = Network(sizes, activation, output, normalization=norm, dtype=dtype, seed=1)
    generator = np.random.default_rng(2)
    for part in (*net.biases, *net.running_means):
        part[:] = 0.5 * generator.standard_normal(part.shape)
    for part in (*net.gammas, *net.running_variances):
        part[:] = generator.uniform(0.5, 2.0, part.shape)
    return net


def running(net):
    moments = zip(net.running_means, net.running_variances, strict=True)
    return [normalisation.Running(mean.astype(float), variance.astype(float)) for mean, variance in moments] or None


def layers(net):
    return mlp.layers_of(net.parameters, net.sizes, normed=True)


def z_by_numpy(net, x):
    return mlp.forward(layers(net), net.hidden_activations, x, norm=net.normalization, running=running(net))[-1][0]


def gradient_by_numpy(net, x, y):
    """The gradient in NumPy, batch normalisation by the rows themselves, of one row by the running statistics."""
    target, given = y.reshape(len(x), -1).astype(float), running(net) if len(x) == 1 else None
    found, _ = mlp.gradient(
        layers(net),
        net.hidden_activations,
        LOSSES[net.output],
        x,
        target,
        np.full(len(x), 1 / len(x)),
        norm=net.normalization,
        running=given,
    )
    return mlp.flat(found)


# Layout


@pytest.mark.parametrize(("norm", "kind"), [("batch", "batch_norm"), ("layer", "layer_norm")])
def test_the_kind_of_a_layer_tells_that_its_sums_are_normalised(norm, kind):
    net = Network(SIZES, ("tanh", "relu"), normalization=norm)
    assert [tuple(layer) for layer in net.layers] == [(kind, 4, 6, "tanh"), (kind, 6, 5, "relu"), ("dense", 5, 3, "softmax")]


@pytest.mark.parametrize("norm", NORMS)
def test_parameters_are_weights_biases_and_scales_layer_by_layer(norm):
    net = network(norm)
    (w0, w1, w2), (b0, b1, b2), (g0, g1) = net.weights, net.biases, net.gammas
    in_order = [w0.ravel(), b0, g0, w1.ravel(), b1, g1, w2.ravel(), b2]
    assert_array_equal(net.parameters, np.concatenate(in_order))
    assert [part.size for part in in_order] == [24, 6, 6, 30, 5, 5, 15, 3]


@pytest.mark.parametrize("norm", NORMS)
def test_scales_are_views_of_the_parameters(norm):
    net = Network(SIZES, normalization=norm)
    net.gammas[1][2] = 7.0
    assert np.flatnonzero(net.parameters == 7.0).tolist() == [24 + 6 + 6 + 30 + 5 + 2]


def test_statistics_are_mean_and_variance_of_each_hidden_layer():
    net = network("batch")
    (m0, m1), (v0, v1) = net.running_means, net.running_variances
    assert_array_equal(net.running_stats, np.concatenate([m0, v0, m1, v1]))
    net.running_variances[1][3] = 7.0
    assert net.running_stats[6 + 6 + 5 + 3] == 7.0


@pytest.mark.parametrize("norm", NORMS)
def test_a_network_begins_with_the_weights_of_one_without_normalisation_and_with_scales_of_1(norm):
    net, plain = Network(SIZES, normalization=norm, seed=3), Network(SIZES, seed=3)
    for weight, expected in zip(net.weights, plain.weights, strict=True):
        assert_array_equal(weight, expected)
    assert_array_equal(np.concatenate([*net.biases, *net.gammas]), [0] * 14 + [1] * 11)


def test_batch_normalisation_begins_with_means_of_0_and_variances_of_1():
    assert Network([4, 2, 1, 3], normalization="batch").running_stats.tolist() == [0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_only_batch_normalisation_keeps_statistics(norm):
    net = Network(SIZES, normalization=norm)
    assert (net.running_stats.size, net.running_means, net.running_variances) == (0, [], [])


def test_a_network_without_normalisation_has_no_scales():
    assert (Network(SIZES).gammas, Network(SIZES).parameters.size) == ([], 24 + 6 + 30 + 5 + 15 + 3)


@pytest.mark.parametrize("norm", NORMS)
def test_without_hidden_layers_there_is_nothing_to_normalise(norm):
    net = Network([4, 3], normalization=norm)
    assert (net.normalization, net.parameters.size, net.layers[0].kind) == ("none", 15, "dense")


def test_layers_of_one_unit_are_not_normalised_over_their_units():
    for sizes in ([4, 1, 3], [4, 5, 1, 3], [4, 1, 5, 3]):
        with pytest.raises(ConfigError, match="normalization: expected hidden layers of at least 2 units .* got 1; use batch"):
            Network(sizes, normalization="layer")
        assert Network(sizes, normalization="batch").sizes == tuple(sizes)
    for sizes in ([1, 2, 1], [4, 2, 2, 3], [1, 1]):
        assert Network(sizes, normalization="layer").sizes == tuple(sizes)


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(ConfigError, match="normalization: expected one of none, batch, layer, got 'bach'; did you mean 'batch'"):
        Network([4, 5, 3], normalization="bach")


@pytest.mark.parametrize("norm", NORMS)
def test_a_network_says_how_it_is_normalised(norm):
    assert f"softmax, {norm} normalisation, float64" in repr(network(norm))


@pytest.mark.parametrize("norm", NORMS)
def test_a_copy_shares_nothing(norm):
    net = network(norm)
    before = net.logits(X)
    for other in (net.copy(), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):  # noqa: S301
        assert_array_equal(other.logits(X), before)
        other.parameters[:], other.running_stats[:] = 0.0, 2.0
        assert_array_equal(net.logits(X), before)


# Outputs


@pytest.mark.parametrize("kernels", ["auto", "scalar", "python"])
@pytest.mark.parametrize("norm", NORMS)
def test_outputs_are_those_of_numpy(norm, kernels):
    net = network(norm)
    assert_allclose(net.logits(X, kernels), z_by_numpy(net, X), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "silu", ("relu", "silu")])
@pytest.mark.parametrize("norm", NORMS)
def test_outputs_of_other_activations_are_those_of_numpy(norm, activation):
    net = network(norm, activation)
    assert_allclose(net.logits(X), z_by_numpy(net, X), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_outputs_in_float32_are_those_of_numpy_to_rounding(norm):
    net = network(norm, "silu", dtype="float32", sizes=(4, 90, 33, 3))
    assert_allclose(net.logits(X), z_by_numpy(net, X.astype(np.float32)), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", NORMS)
def test_how_many_rows_are_asked_for_at_once_changes_no_bit(norm, dtype):
    net = network(norm, dtype=dtype, sizes=(20, 90, 33, 3))
    x = GENERATOR.standard_normal((300, 20)).astype(dtype)
    together = net.logits(x)
    assert_array_equal(np.concatenate([net.logits(part) for part in np.array_split(x, [1, 4, 20, 57, 290])]), together)
    assert_array_equal([net.predict_proba(row) for row in x[:20]], net.predict_proba(x[:20]))


@pytest.mark.parametrize("norm", NORMS)
def test_the_number_of_threads_changes_no_bit_of_the_outputs(norm):
    net = network(norm, dtype="float32", sizes=(120, 130, 33, 3))
    x = GENERATOR.standard_normal((700, 120))
    expected = net.logits(x, threads=1)
    for threads in (2, 3):
        assert_array_equal(net.logits(x, threads=threads), expected)


@pytest.mark.parametrize("norm", NORMS)
def test_one_row_alone_is_predicted_as_by_numpy(norm):
    net = network(norm, sizes=(4, 20, 5, 3))
    for kind, unit in ((np.float64, 1), (np.uint8, 255)):
        row = (X[0] * 50 + 100).astype(kind)
        assert_allclose(net.predict_proba(row), mlp.softmax(z_by_numpy(net, row[None] / unit))[0], rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_written_into_the_network_counts_at_once(norm):
    for rows in (1, 30):
        net = network(norm)
        x = X[:rows]
        net.logits(x)
        net.predict(X[0])
        for part in (*net.gammas, *net.running_means, *net.running_variances, *net.weights):
            part *= 1.25
        assert_allclose(net.logits(x), z_by_numpy(net, x), rtol=1e-11, atol=1e-12)
    assert_allclose(net.predict_proba(X[0]), mlp.softmax(z_by_numpy(net, X[:1]))[0], rtol=1e-6)


def test_predicting_leaves_the_running_statistics():
    net = network("batch")
    before = net.running_stats.copy()
    net.logits(X), net.predict(X[0]), net.gradient(X, TARGETS["softmax"]), net.evaluate(X, TARGETS["softmax"])
    assert_array_equal(net.running_stats, before)


# Gradients


@each_pair(norm=NORMS, output=TARGETS, rows=[1, 2, 3, 40])
def test_the_gradient_is_that_of_numpy(norm, output, rows):
    net = network(norm, output=output)
    x, y = X[:rows], TARGETS[output][:rows]
    assert_allclose(net.gradient(x, y), gradient_by_numpy(net, x, y), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("norm", NORMS)
def test_the_gradient_of_many_rows_and_units_is_that_of_numpy(norm):
    net = network(norm, sizes=(40, 90, 70, 3))
    x, y = GENERATOR.standard_normal((300, 40)), GENERATOR.integers(0, 3, 300)
    assert_allclose(net.gradient(x, y), gradient_by_numpy(net, x, y), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("norm", NORMS)
def test_the_gradient_passes_the_check(norm):
    report = fastmlp.check_gradient(network(norm))
    assert report.passed
    assert [check.what for check in report.checks if "gammas" in check.what] == ["gammas[0]", "gammas[1]"]
    assert "batch_norm" in report.checks[0].where or "layer_norm" in report.checks[0].where


@pytest.mark.parametrize("norm", NORMS)
def test_a_gradient_without_the_way_through_the_statistics_fails_the_check(norm):
    def wrong(net, x, y):  # as if mean and variance were constants: that of the weights before a normalisation is another one
        gradient = net.gradient(x, y)
        gradient[:24] *= 1.001
        return gradient

    report = fastmlp.check_gradient(network(norm), gradient=wrong)
    assert [check.what for check in report.checks if not check.passed] == ["weights[0]"]


# Folding


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", TARGETS)
def test_a_folded_network_gives_the_same_outputs(output, dtype):
    net = network("batch", output=output, dtype=dtype)
    fastmlp.train(net, 5 * X + 1, TARGETS[output], epochs=1, learning_rate=0.01, normalize="standardize", normalize_target="none")
    plain = net.folded()
    assert {layer.kind for layer in plain.layers} == {"dense"}
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    assert_allclose(plain.logits(5 * X + 1), net.logits(5 * X + 1), rtol=tolerance, atol=tolerance)
    assert plain.evaluate(X, TARGETS[output])["loss"] == pytest.approx(net.evaluate(X, TARGETS[output])["loss"], rel=1e-4)


@pytest.mark.parametrize("shape", [(30,), (30, 1)])
def test_a_folded_network_predicts_in_the_shape_of_the_targets_trained_on(shape):
    net = Network([4, 6, 1], normalization="batch", dtype="float64")
    fastmlp.train(net, X[:30], GENERATOR.standard_normal(shape), epochs=1, learning_rate=0.01)
    assert net.folded().predict(X[:30]).shape == net.predict(X[:30]).shape == shape


def test_a_folded_network_is_another_one():
    net = network("batch")
    before = net.parameters.tobytes()
    net.folded().parameters[:] = 0
    assert net.parameters.tobytes() == before


def test_a_folded_network_can_be_compiled():
    net = network("batch")
    state, functions = net.folded().compiled()
    out = np.empty((len(X), 3))
    functions.predict_batch(state, functions.make_scratch(state), X, out)
    assert_allclose(out, mlp.softmax(z_by_numpy(net, X)), rtol=1e-10)


def test_batch_normalisation_is_not_compiled_unfolded():
    with pytest.raises(ConfigError, match=r"compiled: expected a network without batch normalisation, .*use folded\(\)\.compiled\(\)"):
        network("batch").compiled()


def test_layer_normalisation_cannot_be_folded():
    with pytest.raises(ConfigError, match="folded: expected a network with batch normalisation, got one with layer"):
        network("layer").folded()


def test_a_network_without_normalisation_is_folded_to_a_copy():
    net = Network(SIZES)
    assert_array_equal(net.folded().parameters, net.parameters)


def test_the_code_of_the_page_about_it_runs():
    page = (Path(__file__).parents[2] / "docs" / "normalisation.md").read_text()
    made = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), made)  # noqa: S102  our own page
    assert made["net"].normalization == "batch"
    assert made["plain"].normalization == "none"
    assert np.shares_memory(made["state"].parameters, made["plain"].parameters)


# Files


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", NORMS)
def test_a_network_comes_back_to_the_bit(path, norm, dtype):
    net = network(norm, dtype=dtype)
    fastmlp.train(net, X, TARGETS["softmax"], epochs=1)
    net.save(path)
    loaded = Network.load(path)
    assert (loaded.normalization, loaded.layers) == (norm, net.layers)
    assert loaded.parameters.tobytes() == net.parameters.tobytes()
    assert loaded.running_stats.tobytes() == net.running_stats.tobytes()
    assert loaded.logits(X).tobytes() == net.logits(X).tobytes()


def test_a_file_names_what_a_normalised_layer_has(path):
    network("batch").save(path)
    names = {name for name in model_file.read_tensors(path).tensors if name.startswith("layers.1.")}
    assert names == {f"layers.1.{name}" for name in ("weight", "bias", "gamma", "running_mean", "running_variance")}


def test_layer_normalisation_has_no_statistics_in_a_file(path):
    network("layer").save(path)
    names = {name for name in model_file.read_tensors(path).tensors if name.startswith("layers.1.")}
    assert names == {f"layers.1.{name}" for name in ("weight", "bias", "gamma")}


def test_a_file_without_normalisation_has_the_bytes_that_it_always_had(path, monkeypatch):
    monkeypatch.setattr(fastmlp, "__version__", "0.1.0")
    net = Network([2, 3, 2], "sigmoid", class_names=("no", "yes"))
    net.parameters[:] = np.arange(17) / 8
    tensors, metadata = net.to_tensors()
    assert "norm" not in metadata["config"]
    model_file.write_tensors(path, tensors, {**metadata, "created": "2026-11-01T00:00:00+00:00"})
    assert hashlib.sha256(path.read_bytes()).hexdigest() == "a16ad2fef157ac9580a806b3c448c09e5fa971b6b03d0ad94ad62cb96d47b4d3"


def spoilt(path, norm, tensors=(), without=(), **config):
    """A file of a normalised network with other tensors, without some, and with another configuration."""
    network(norm, dtype="float32").save(path)
    file = model_file.read_tensors(path)
    kept = {name: tensor for name, tensor in {**file.tensors, **dict(tensors)}.items() if name not in without}
    changed = json.dumps({**json.loads(file.metadata["config"]), **config})
    model_file.write_tensors(path, kept, {**file.metadata, "config": changed})
    with pytest.raises(ModelFileError) as raised:
        Network.load(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


TENSORS = ("gamma", "running_mean", "running_variance")


def test_a_tensor_that_is_missing_or_belongs_to_no_layer_is_named(path, subtests):
    for layer, name in itertools.product((0, 1), TENSORS):
        with subtests.test("missing", layer=layer, name=name):
            assert f"expected a tensor layers.{layer}.{name}, found none" in spoilt(path, "batch", without=[f"layers.{layer}.{name}"])
    for norm, name in (("layer", "layers.0.running_mean"), ("batch", "layers.2.gamma"), ("batch", "layers.0.beta")):
        with subtests.test(norm, name=name):
            assert f"tensor '{name}' belongs to no layer" in spoilt(path, norm, {name: np.ones(6, np.float32)})


def test_a_tensor_of_another_shape_or_type_is_named(path, subtests):
    wrong = np.ones(7, np.float32), np.ones((6, 1), np.float32), np.ones(6), np.ones((), np.float32)
    for name, tensor in itertools.product(TENSORS, wrong):
        with subtests.test(name, shape=tensor.shape, dtype=tensor.dtype):
            assert f"tensor layers.0.{name}: expected float32 (6,), found" in spoilt(path, "batch", {f"layers.0.{name}": tensor})


def test_scales_that_are_not_finite_and_running_statistics_that_cannot_be_are_refused(path, subtests):
    statistics = "expected finite running means and variances"
    for norm, name, value, message in (
        *(("layer", "gamma", value, "expected finite weights") for value in (np.nan, np.inf, -np.inf)),
        ("batch", "running_mean", np.nan, statistics), ("batch", "running_mean", np.inf, statistics),
        ("batch", "running_variance", np.nan, statistics),
        ("batch", "running_variance", -1.0, "expected running variances of at least 0, found -1 in layers.1"),
    ):  # fmt: skip
        with subtests.test(name, value=value):
            assert message in spoilt(path, norm, {f"layers.1.{name}": np.full(5, value, np.float32)})


def test_variances_below_0_are_named_wherever_they_would_be_used(tmp_path):
    net = Network([3, 4, 4, 2], normalization="batch", seed=0)
    net.running_variances[1][2] = -2.0  # a view, which nothing checks
    for use in (lambda: net.predict(np.ones((5, 3))), net.folded, lambda: net.save(tmp_path / "net.safetensors")):
        with pytest.raises(DataError, match=r"^running_variances\[1\]: expected numbers of at least 0 .*, got -2;"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_a_normalisation_in_a_file_that_is_unknown_or_not_that_of_the_tensors_is_refused(path, subtests):
    for value in ("bach", None, 3, ["batch"], {"batch": 1}, True):
        with subtests.test(value=value):
            spoilt(path, "batch", normalization=value)
    assert "belongs to no layer" in spoilt(path, "batch", normalization="layer")
