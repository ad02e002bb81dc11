"""A network: its layers, one vector of parameters, initial weights, copies."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastmlp
from fastmlp import ConfigError, Network, NotEnoughMemory
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.network.summary import summary_of

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((20, 4))
Y = GENERATOR.integers(0, 3, 20)


def trained(**settings) -> Network:
    net = Network([4, 6, 5, 3], ("relu", "tanh"), class_names=("a", "b", "c"))
    fastmlp.train(net, X, Y, **{"epochs": 1, "normalize": "standardize"} | settings)
    return net


# Layers


def test_layers_are_records_in_order():
    net = Network([4, 6, 5, 3], ("relu", "tanh"))
    assert [tuple(layer) for layer in net.layers] == [("dense", 4, 6, "relu"), ("dense", 6, 5, "tanh"), ("dense", 5, 3, "softmax")]


def test_one_activation_is_that_of_every_hidden_layer():
    assert Network([4, 6, 5, 3], "silu").hidden_activations == ("silu", "silu")


@pytest.mark.parametrize(
    ("sizes", "output"), [([4, 5, 3], "softmax"), ([4, 5, 2], "softmax"), ([4, 5, 1], "identity"), ([4, 3], "softmax")]
)
def test_the_output_follows_from_the_number_of_outputs(sizes, output):
    assert Network(sizes).output == output


@pytest.mark.parametrize(("output", "loss"), [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"), ("identity", "mse")])
def test_the_loss_follows_from_the_output(output, loss):
    assert Network([4, 5, 3], output=output).loss == loss


def test_sizes_may_be_any_sequence_of_whole_numbers():
    assert Network(np.array([4, 5, 3])).sizes == (4, 5, 3)


# Parameters


def test_the_parameters_are_one_vector_of_weights_and_biases_in_order():
    net = Network([2, 3, 2])
    expected = [net.weights[0].ravel(), net.biases[0], net.weights[1].ravel(), net.biases[1]]
    net.parameters[:] = np.arange(17)
    assert_array_equal(np.concatenate(expected), np.arange(17))
    assert [weight.shape for weight in net.weights] == [(2, 3), (3, 2)]
    assert [bias.shape for bias in net.biases] == [(3,), (2,)]
    assert (net.parameters.shape, net.parameters.flags.c_contiguous) == ((17,), True)


def test_weights_and_biases_are_views_of_the_parameters():
    net = Network([2, 3, 2])
    net.weights[1][2, 0] = 5.0
    net.biases[0][1] = 7.0
    assert (net.parameters[9 + 4], net.parameters[6 + 1]) == (5.0, 7.0)


def test_views_taken_before_training_see_the_trained_weights():
    net = Network([4, 5, 3])
    view, before = net.weights[0], net.weights[0].copy()
    fastmlp.train(net, X, Y, epochs=1)
    assert_array_equal(view, net.weights[0])
    assert not np.array_equal(view, before)


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("float64")])
def test_the_parameters_have_the_type_asked_for(dtype):
    net = Network([4, 5, 3], dtype=dtype)
    assert net.parameters.dtype == net.weights[0].dtype == net.dtype == np.dtype(dtype)


# Initial weights


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_initial_weights_are_normal_with_the_variance_of_he_lecun_or_glorot(activation):
    net = Network([400, 300, 100], activation, dtype="float64")
    variance = {"selu": 1 / 400, **dict.fromkeys(("identity", "sigmoid", "tanh", "hard_sigmoid"), 2 / 700)}.get(activation, 2 / 400)
    hidden = net.weights[0] / variance**0.5
    # 120,000 numbers: each bound is more than five standard errors of a normal distribution's moment
    assert abs(hidden.mean()) < 0.015
    assert abs(hidden.var() - 1) < 0.021
    assert abs((hidden**4).mean() - 3) < 0.15
    assert net.weights[1].var() == pytest.approx(2 / 400, rel=0.05)


def test_initial_biases_are_zero():
    assert not any(bias.any() for bias in Network([4, 6, 5, 3]).biases)


def test_initial_weights_follow_from_the_seed():
    assert_array_equal(Network([4, 5, 3], seed=8).parameters, Network([4, 5, 3], seed=8).parameters)
    assert not np.array_equal(Network([4, 5, 3], seed=8).weights[0], Network([4, 5, 3], seed=9).weights[0])


def test_layers_of_one_shape_have_different_weights():
    net = Network([5, 5, 5, 5])
    assert len({weight.tobytes() for weight in net.weights}) == 3


def test_float32_weights_are_the_float64_ones_rounded():
    assert_array_equal(Network([4, 5, 3]).parameters, Network([4, 5, 3], dtype="float64").parameters.astype(np.float32))


# What cannot be a network


NO_NETWORKS = [
    (([4],), "sizes: expected at least inputs and outputs"),
    (([],), "sizes: expected at least inputs and outputs"),
    ((5,), "sizes: expected numbers of units"),
    (("784",), "sizes: expected numbers of units"),
    (([4, 0, 3],), "sizes: expected at least 1, got 0"),
    (([4, -5, 3],), "sizes: expected at least 1, got -5"),
    (([4, 5.0, 3],), "sizes: expected a whole number, got 5.0"),
    (([4, 5, 3], "reluu"), "activation: expected one of .*, got 'reluu'; did you mean 'relu'"),
    (([4, 5, 3], ("relu", "tanh")), "activation: expected one name, or 1 names, one per hidden layer, got 2"),
    (([4, 5, 5, 3], ("relu", "tanh", "relu")), "activation: expected one name, or 2 names, one per hidden layer, got 3"),
    (([4, 5, 3], None), "activation: expected a name, got None"),
    (([4, 5, 3], 3), "activation: expected a name, or one per layer, got 3"),
    (([4, 3], "reluu"), "activation: expected one of .*, got 'reluu'; did you mean 'relu'"),
    (([4, 5, 3], "relu", "softmaxx"), "output: expected one of .*, got 'softmaxx'; did you mean 'softmax'"),
    (([4, 5, 1], "relu", "softmax"), "output: softmax needs at least 2 outputs; use sigmoid"),
]
WRONG_KEYWORDS = [
    ({"dtype": "float16"}, "dtype: expected one of float32, float64, got 'float16'"),
    ({"dtype": "flaot32"}, "dtype: expected one of float32, float64, got 'flaot32'; did you mean 'float32'"),
    ({"dtype": None}, "dtype: expected "),
    ({"dtype": np.float32(1)}, "dtype: expected "),
    ({"output": ""}, "output: expected one of softmax, sigmoid, identity, got ''"),
    ({"seed": -1}, "seed: expected at least 0, got -1"),
    ({"seed": 0.5}, "seed: expected a whole number, got 0.5"),
    ({"class_names": ("a", "b")}, "class_names: expected 3 names, one per output, got 2"),
    ({"class_names": (0, 1, 2)}, "class_names: expected "),  # JSON numbers in a file would be refused when it is read
    ({"class_names": 3}, "class_names: expected "),
    ({"class_names": ("a", "b", "\ud800")}, "class_names: expected texts that UTF-8 can write"),  # no file could hold it
]


def test_what_describes_no_network_is_refused(subtests):
    for arguments, message in NO_NETWORKS:
        with subtests.test(message, arguments=arguments), pytest.raises(ConfigError, match=f"^{message}"):
            Network(*arguments)
    for keywords, message in WRONG_KEYWORDS:
        with subtests.test(message, **keywords), pytest.raises(ConfigError, match=f"^{message}"):
            Network([4, 5, 3], **keywords)


@pytest.mark.parametrize("size", [10**9, 2**63 - 1])
def test_more_parameters_than_memory_are_refused_before_they_are_allocated(size):
    with pytest.raises(NotEnoughMemory, match="choose fewer units"):
        Network([size, size])


# Copies


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, Network.copy, lambda net: pickle.loads(pickle.dumps(net))],  # noqa: S301  our own bytes
    ids=["deepcopy", "copy", "pickle"],
)
def test_a_copy_predicts_the_same_and_shares_nothing(duplicate):
    net = trained()
    twin = duplicate(net)
    assert twin.predict_proba(X).tobytes() == net.predict_proba(X).tobytes()
    assert (twin.sizes, twin.layers, twin.class_names, twin.loss) == (net.sizes, net.layers, net.class_names, net.loss)
    before = net.parameters.tobytes()
    fastmlp.train(twin, X, Y, epochs=1)
    assert net.parameters.tobytes() == before
    assert twin.parameters.tobytes() != before


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"])  # noqa: S301
def test_the_weights_of_a_copy_are_views_of_its_parameters(duplicate):
    twin = duplicate(trained())
    twin.weights[0][:] = 0
    assert not twin.parameters[: 4 * 6].any()


def test_a_network_describes_itself():
    assert repr(Network([4, 6, 5, 3], ("relu", "tanh"))) == "Network(4-6-5-3, relu, tanh → softmax, float32)"


def test_old_names_of_a_network_are_taken_with_a_warning():
    with pytest.warns(FutureWarning, match="norm_layers is called normalization now"):
        net = Network([3, 4, 2], norm_layers="batch")
    assert net.normalization == "batch"
    for before, now in (("norm_layers", "normalization"), ("statistics", "running_stats"), ("normalisation", "input_scaling")):
        with pytest.warns(FutureWarning, match=f"Network.{before} is called Network.{now} now"):
            assert_array_equal(getattr(net, before), getattr(net, now))


def test_an_unknown_attribute_of_a_network_names_the_nearest():
    with pytest.raises(AttributeError, match="did you mean 'parameters'"):
        getattr(Network([3, 2]), "param" + "eter")


def test_a_summary_says_what_becomes_of_inputs_targets_and_classes():
    def facts(net):
        return dict(summary_of(net).facts)

    net, x = Network([2, 4, 1]), np.arange(12.0).reshape(6, 2)
    assert facts(net) == {"inputs": "decided by the first training", "loss": "mse"}
    fastmlp.train(net, x, x[:, 0], epochs=0, normalize="standardize")
    assert facts(net)["inputs"].endswith("divided by the standard deviation, per feature")
    assert facts(net)["targets"].startswith("standardised inside")
    for y, classes in ((np.arange(6) % 3, "0 to 2"), (np.array(["ant", "bee", "cow"])[np.arange(6) % 3], "'ant', 'bee' and 'cow'")):
        net = Network([2, 4, 3])
        fastmlp.train(net, x, y, epochs=0, normalize="none")
        assert facts(net) == {"inputs": "as they are", "loss": "cross_entropy", "classes": classes}
