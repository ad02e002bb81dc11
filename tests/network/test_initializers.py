"""Weight initialisation: the distribution of each initialiser, its default per activation, and weights from elsewhere."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, DataError, Network
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.settings import INITIALIZERS

K, N = 400, 300  # 120,000 weights: each bound on a moment is more than five of its standard errors


def weights(initializer, sizes=(K, N, 10), activation="tanh", **changes):
    return Network(sizes, activation, initializer=initializer, dtype="float64", **changes).weights


# Glorot and Bengio 2010, eq. 12 and 16; He et al. 2015, eq. 10; LeCun et al. 1998, eq. 16
VARIANCES = {"glorot": 2 / (K + N), "he": 2 / K, "lecun": 1 / K}


@pytest.mark.parametrize("rule", VARIANCES)
def test_normal_weights_have_the_variance_of_the_rule_and_the_kurtosis_of_a_normal_distribution(rule):
    weight = weights(f"{rule}_normal")[0] / VARIANCES[rule] ** 0.5
    assert abs(weight.mean()) < 0.015
    assert abs(weight.var() - 1) < 0.021
    assert abs((weight**4).mean() - 3) < 0.15


@pytest.mark.parametrize(("rule", "bound"), [("glorot", (6 / (K + N)) ** 0.5), ("he", (6 / K) ** 0.5), ("lecun", (3 / K) ** 0.5)])
def test_uniform_weights_fill_the_interval_of_the_rule_evenly(rule, bound):
    weight = weights(f"{rule}_uniform")[0] / bound
    assert -1 < weight.min() < -0.9999
    assert 0.9999 < weight.max() < 1
    counts = np.histogram(weight, bins=10, range=(-1, 1))[0]
    assert abs(counts - 12_000).max() < 5 * (12_000 * 0.9) ** 0.5


@pytest.mark.parametrize("rule", ["glorot_normal", "he_uniform", "lecun_normal"])
def test_a_rule_that_is_asked_for_holds_for_every_layer_by_its_own_size(rule):
    variances = {"glorot_normal": (2 / 700, 2 / 400), "he_uniform": (2 / 400, 2 / 300), "lecun_normal": (1 / 400, 1 / 300)}[rule]
    for weight, variance in zip(weights(rule, (400, 300, 100)), variances, strict=True):
        assert weight.var() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("sizes", [(30, 20, 3), (20, 30, 3), (25, 25, 3)], ids=str)
@pytest.mark.parametrize(("activation", "gain"), [("relu", 2**0.5), ("silu", 2**0.5), ("tanh", 1.0), ("sigmoid", 1.0)])
def test_orthogonal_weights_keep_lengths_up_to_the_gain_of_the_activation(sizes, activation, gain):
    hidden, output = weights("orthogonal", sizes, activation)
    n_in, n_out = hidden.shape
    product = hidden.T @ hidden if n_in >= n_out else hidden @ hidden.T
    np.testing.assert_allclose(product, gain**2 * np.eye(min(n_in, n_out)), atol=1e-12)
    np.testing.assert_allclose(output.T @ output, np.eye(3), atol=1e-12)  # softmax cuts nothing off


def test_orthogonal_weights_favour_no_direction():
    # of a fixed sign of the QR decomposition alone, the first weight would always be positive or always negative
    first = [weights("orthogonal", (6, 6, 2), seed=seed)[0][0, 0] for seed in range(200)]
    assert 70 < sum(value > 0 for value in first) < 130


def test_orthogonal_weights_do_not_depend_on_the_threads_of_a_library():
    code = (
        "import hashlib, fastmlp; net = fastmlp.Network([700, 500, 10], initializer='orthogonal', dtype='float64'); "
        "print(hashlib.sha256(net.parameters.tobytes()).hexdigest())"
    )
    found = set()
    for threads in ("1", "2"):
        variables = {name: threads for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1


def test_zeros_are_zero():
    assert not Network([4, 5, 3], initializer="zeros").parameters.any()


def test_constant_weights_have_the_initial_value_and_biases_are_zero():
    net = Network([4, 5, 3], initializer="constant", initial_value=-0.25)
    assert all((weight == -0.25).all() for weight in net.weights)
    assert not any(bias.any() for bias in net.biases)
    assert (Network([4, 5, 3], initializer="constant").weights[0] == np.float32(0.01)).all()


def test_the_weights_of_the_report_are_hundredths_from_0_to_9_evenly_spread():
    weight = weights("course")[0]
    numbers, counts = np.unique(np.round(100 * weight), return_counts=True)
    np.testing.assert_array_equal(numbers, np.arange(10))
    np.testing.assert_allclose(weight, np.round(100 * weight) / 100, rtol=1e-15)
    assert abs(counts - 12_000).max() < 5 * (12_000 * 0.9) ** 0.5


@pytest.mark.parametrize("initializer", [name for name in INITIALIZERS if name not in ("zeros", "constant")])
def test_weights_follow_from_the_seed_and_differ_from_layer_to_layer(initializer):
    net = Network([7, 7, 7, 7], initializer=initializer, seed=3)
    assert net.parameters.tobytes() == Network([7, 7, 7, 7], initializer=initializer, seed=3).parameters.tobytes()
    assert net.parameters.tobytes() != Network([7, 7, 7, 7], initializer=initializer, seed=4).parameters.tobytes()
    assert len({weight.tobytes() for weight in net.weights}) == 3


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_float32_weights_are_the_float64_ones_rounded(initializer):
    float32, float64 = (Network([9, 5, 3], initializer=initializer, dtype=dtype).parameters for dtype in ("float32", "float64"))
    np.testing.assert_array_equal(float32, float64.astype(np.float32))


# The default

EXPECTED = {
    **dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "mish", "softplus"), "he_normal"),
    "selu": "lecun_normal",
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_default_fits_the_activation(activation):
    default, named = (Network([9, 8, 3], activation, initializer=initializer) for initializer in (None, EXPECTED.get(activation)))
    expected = EXPECTED.get(activation, "glorot_normal")
    assert default.weights[0].tobytes() == Network([9, 8, 3], activation, initializer=expected).weights[0].tobytes()
    assert default.weights[1].tobytes() == Network([9, 8, 3], activation, initializer="glorot_normal").weights[1].tobytes()
    assert named.weights[0].tobytes() == default.weights[0].tobytes()


def test_every_layer_has_the_default_of_its_own_activation():
    net = Network([9, 8, 7, 3], ["relu", "tanh"])
    for index, rule in enumerate(["he_normal", "glorot_normal", "glorot_normal"]):
        assert net.weights[index].tobytes() == Network([9, 8, 7, 3], initializer=rule).weights[index].tobytes()


# Weights from elsewhere


def test_a_network_of_given_weights_computes_with_them():
    generator = np.random.default_rng(0)
    matrices, vectors = [generator.standard_normal((4, 6)), generator.standard_normal((6, 3))], [np.ones(6), np.arange(3)]
    net = Network.from_weights(matrices, vectors, "tanh", "identity", dtype="float64")
    x = generator.standard_normal((5, 4))
    expected = np.tanh(x @ matrices[0] + vectors[0]) @ matrices[1] + vectors[1]
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-12)


def test_given_weights_are_copied():
    matrices, vectors = [np.ones((2, 3), np.float32)], [np.zeros(3, np.float32)]
    net = Network.from_weights(matrices, vectors)
    net.parameters[:] = 7
    assert matrices[0].max() == 1
    assert vectors[0].max() == 0


def test_a_network_of_given_weights_trains_and_is_saved(tmp_path):
    net = Network.from_weights([np.ones((2, 3)), np.eye(3)], [np.zeros(3), [0, 0, 1]], class_names=["a", "b", "c"])
    fastmlp.train(net, np.random.default_rng(0).standard_normal((20, 2)), np.arange(20) % 3, epochs=1)
    net.save(tmp_path / "m.safetensors")
    assert Network.load(tmp_path / "m.safetensors").parameters.tobytes() == net.parameters.tobytes()


@pytest.mark.parametrize(
    ("weights", "biases", "message"),
    [
        ([], [], "weights, biases: expected one of each per layer, got 0 and 0"),
        ([np.ones((2, 3))], [], "weights, biases: expected one of each per layer, got 1 and 0"),
        ([np.ones(3)], [np.ones(3)], r"weights\[0\]: expected \(n_in, n_out\), got shape \(3,\)"),
        ([np.ones((2, 3)), np.ones((4, 2))], [np.ones(3), np.ones(2)], r"weights\[1\]: expected \(3, n_out\), got shape \(4, 2\)$"),
        ([np.ones((2, 3)), np.ones((4, 3))], [np.ones(3)] * 2, r"weights\[1\]: expected \(3, n_out\), got shape \(4, 3\); transpose it"),
        ([np.ones((2, 3))], [np.ones(2)], r"biases\[0\]: expected \(3,\), one per unit, got shape \(2,\)"),
        ([np.full((2, 3), np.nan)], [np.ones(3)], r"weights\[0\]: expected finite numbers in float32, got NaN or inf"),
        ([np.ones((2, 3))], [np.full(3, 1e300)], r"biases\[0\]: expected finite numbers in float32, got NaN or inf"),
        ([np.full((2, 3), "a")], [np.ones(3)], r"weights\[0\]: expected numbers, got <U1"),
        ([np.ma.masked_equal(np.ones((2, 3)), 1.0)], [np.ones(3)], r"weights\[0\]: expected numbers everywhere, got a masked array"),
        ([np.ones((2, 3))], 3, "biases: expected arrays, one per layer, got 3"),
    ],
)
def test_weights_that_are_no_network_are_refused(weights, biases, message):
    with pytest.raises(DataError, match=message):
        Network.from_weights(weights, biases)


# Names


def test_an_unknown_initialiser_is_refused_and_the_nearest_one_suggested():
    with pytest.raises(ConfigError, match="initializer: expected one of .*, got 'he_norml'; did you mean 'he_normal'"):
        Network([4, 3], initializer="he_norml")


def test_an_initial_value_beyond_the_type_is_refused():
    with pytest.raises(ConfigError, match=r"initial_value: expected a number that float32 can hold, got 1e\+300"):
        Network([4, 3], initializer="constant", initial_value=1e300)
    assert Network([4, 3], initializer="constant", initial_value=1e300, dtype="float64").weights[0][0, 0] == 1e300
