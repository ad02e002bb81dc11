"""What is assigned to a network is checked and copied, or refused with nothing changed; what it is made of stays."""

import copy
import itertools
import pickle
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastmlp
from fastmlp import ConfigError, DataError, Network
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.preprocessing import InputScaling
from fastmlp.preprocessing.targets import TargetScaling

X = np.random.default_rng(0).random((40, 5)).astype(np.float32)


def network():
    return Network([5, 4, 3, 2], normalization="batch", seed=3)


def values_of(net):
    return net.parameters.tobytes(), net.running_stats.tobytes(), net.logits(X).tobytes(), net.class_names, net.input_scaling


# attribute -> what does not fit: another size, shape, type, numbers that are none or too large, what is no array
WRONG = {
    name: [
        np.zeros(3),
        np.zeros((1, size)),
        np.zeros(size, complex),
        np.full(size, np.nan),
        np.full(size, 1e300),
        "text",
        None,
        [[1], [2, 3]],
        np.ma.masked_equal(np.zeros(size), 0.0),
        np.full(size, 10**400),
    ]
    for name, size in (("parameters", 54), ("running_stats", 14))
}
WRONG["running_stats"].append(np.full(14, -1.0))
for name, arrays in (("weights", network().weights), ("biases", network().biases), ("gammas", network().gammas)):
    good = [array.copy() for array in arrays]
    WRONG[name] = [
        good[:-1],
        [*good, good[0]],
        [array.T[:1] for array in good],
        [*good[:-1], np.full(good[-1].shape, np.inf)],
        3,
        np.array(3),
        "ab",
    ]
WRONG["running_variances"] = [[np.ones(4), np.full(3, -1.0)], [np.ones(4)]]
WRONG["running_means"] = [[np.ones(4), np.full(3, np.nan)]]
WRONG["class_names"] = [["a"], "ab", [1, 2], 3, {"a", "b"}]
WRONG["input_scaling"] = [
    "scale",
    ("scale", 0, 1),
    InputScaling("scale", np.ones(()), np.ones(())),
    InputScaling("odd", np.zeros(()), np.ones(())),
]
WRONG["input_scaling"] += [
    InputScaling("standardize", np.zeros(n), np.full(n, std)) for n, std in ((4, 1.0), (5, 0.0), (5, np.nan), (5, 1e-300))
]
for name in ("sizes", "layers", "output", "dtype", "normalization", "loss", "loss_parameter", "target_is_column", "parameter", "weigths"):
    WRONG[name] = [getattr(network(), name, None)]


@pytest.mark.parametrize("name", WRONG)
def test_a_refused_assignment_changes_nothing(name):
    for value in WRONG[name]:
        net = network()
        before = values_of(net)
        with pytest.raises((DataError, ConfigError)) as raised:
            setattr(net, name, value)
        assert "\n" not in str(raised.value)
        assert values_of(net) == before


def test_a_refused_item_changes_nothing_and_a_good_one_counts():
    net = network()
    before = values_of(net)
    for wrong in (np.zeros((4, 5)), np.full((5, 4), np.nan), "a"):
        with pytest.raises(DataError, match=r"weights\[0\]"):
            net.weights[0] = wrong
    for change in (
        lambda: net.weights.append(1),
        lambda: net.weights.pop(),
        lambda: net.biases.reverse(),
        lambda: net.gammas.__delitem__(0),
    ):
        with pytest.raises(ConfigError, match="expected one array per layer"):
            change()
    assert values_of(net) == before
    net.weights[-1] = [[1, 2], [3, 4], [5, 6]]
    net.biases[:2] = [np.full(4, 7), np.full(3, 8)]
    assert_array_equal(net.parameters[-8:], [1, 2, 3, 4, 5, 6, *net.biases[2]])
    assert_array_equal(np.concatenate(net.biases[:2]), [7] * 4 + [8] * 3)
    assert_array_equal(pickle.loads(pickle.dumps(net.weights))[0], net.weights[0])  # noqa: S301


def test_assigned_values_are_copied_and_read_back():
    net, other = network(), Network([5, 4, 3, 2], normalization="batch", seed=4)
    state, _ = Network([5, 4, 2]).compiled()
    given = other.parameters.astype(np.float64)
    net.parameters = given
    assert_array_equal(net.parameters, other.parameters)
    given[:] = 0
    assert_array_equal(net.parameters, other.parameters)
    net.weights, net.biases = [weight[::-1] for weight in net.weights], net.biases
    assert_array_equal(net.weights[0], other.weights[0][::-1])
    assert net.parameters.dtype == state.parameters.dtype == np.float32


@pytest.mark.parametrize("name", ["parameters", "running_stats", "weights", "biases", "gammas", "running_means", "running_variances"])
def test_sound_numbers_are_what_there_is_afterwards(name):
    net = network()
    arrays = getattr(net, name)
    arrays = [arrays] if isinstance(arrays, np.ndarray) else list(arrays)
    values = [1.0 + np.arange(array.size, dtype=np.float64).reshape(array.shape) for array in arrays]
    setattr(net, name, values if isinstance(getattr(net, name), list) else values[0])
    for array, value in zip(arrays, values, strict=True):  # views of what the network has
        assert_array_equal(array, value)


def test_the_memory_that_kernels_use_cannot_be_moved_or_reshaped():
    net = network()
    before, row = values_of(net), net.logits(X[:1])
    with pytest.raises(ValueError, match="does not own its data"):
        net.parameters.resize(3, refcheck=False)
    net.parameters.shape = (3, 18)
    net.parameters.dtype = np.int32
    net.parameters.setflags(write=False)
    net.running_stats.dtype = np.int32
    net.weights[0].shape = (20,)
    assert values_of(net) == before
    assert_array_equal(net.logits(X[:1]), row)


def tampered(**changes):
    net = Network([3, 2], output="identity") if "_target_scaling" in changes else network()
    made = Network.__new__(Network)
    made.__setstate__(net.__getstate__() | changes)
    return made


STATES = {
    "other parameters": {"_parameters": np.zeros(3, np.float32)},
    "parameters of another type": {"_parameters": np.zeros(54)},
    "no array": {"_running_stats": [0.0] * 14},
    "other sizes": {"sizes": (5, 400, 3, 2)},
    "other layers": {"layers": network().layers[:2]},
    "another loss": {"loss": "poisson"},
    "an unknown loss": {"loss": "nonsense"},
    "no loss": {"loss": None},
    "another scaling": {"_input_scaling": InputScaling("standardize", np.zeros(3), np.ones(3))},
    "a scaling of targets of other outputs": {"_target_scaling": TargetScaling("standardize", np.zeros(1), np.ones(1))},
    "a scaling of targets by 0": {"_target_scaling": TargetScaling("standardize", np.zeros(2), np.zeros(2))},
    "a scaling of targets that is none": {"_target_scaling": ("standardize", np.zeros(2), np.ones(2))},
    "names": {"_class_names": ("a",)},
    "labels": {"_classes": np.array(["a"])},
    "normalisation": {"normalization": "none"},
    "type": {"dtype": np.dtype(np.float64)},
}


@pytest.mark.parametrize("what", STATES)
def test_a_state_that_somebody_changed_is_refused(what):
    with pytest.raises((ConfigError, DataError)) as raised:
        tampered(**STATES[what])
    assert "\n" not in str(raised.value)


def test_what_kernels_cannot_write_to_is_copied_from_a_state():
    frozen = network().parameters.copy()
    frozen.flags.writeable = False
    net = tampered(_parameters=frozen, _running_stats=np.repeat(network().running_stats, 2)[::2])
    assert_array_equal(net.logits(X), network().logits(X))
    fastmlp.train(net, X, np.arange(40) % 2, epochs=1)
    shallow = copy.copy(net)
    shallow.parameters[:] = 0
    assert not net.parameters.any()


def test_a_pickled_network_knows_the_formulas_that_it_was_trained_with(monkeypatch):
    """In another process, another formula may be registered under the name."""
    monkeypatch.setitem(ACTIVATIONS, "bent_here", None)  # taken away again at the end
    del ACTIVATIONS["bent_here"]

    @fastmlp.activation
    def bent_here(z):
        return z + 0.25 * z * z * z

    net = Network([5, 4, 2], "bent_here")
    kept = pickle.dumps(net)
    assert_array_equal(pickle.loads(kept).logits(X), net.logits(X))  # noqa: S301
    other = ACTIVATIONS["bent_here"]._replace(formula=lambda z: z + 0.5 * z * z * z)
    monkeypatch.setitem(ACTIVATIONS, "bent_here", other)
    with pytest.raises(ConfigError, match="bent_here that this network was trained with"):
        pickle.loads(kept)  # noqa: S301


def test_parameters_that_are_not_finite_are_not_saved(tmp_path):
    net = network()
    net.weights[0][2, 1] = np.nan
    with pytest.raises(DataError, match="expected finite numbers to save"):
        net.save(tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_weights_and_biases_may_change_places(order):
    net = Network([4, 4, 4, 4])
    net.parameters[:] = np.arange(net.parameters.size)
    for name in ("weights", "biases"):
        before = [array.copy() for array in getattr(net, name)]
        setattr(net, name, [getattr(net, name)[layer] for layer in order])
        for array, layer in zip(getattr(net, name), order, strict=True):
            assert_array_equal(array, before[layer])


@pytest.mark.parametrize(
    ("name", "meant"), [("fit", "fastmlp.train(network, x, y)"), ("probabilities", "predict_proba"), ("biasses", "'biases'")]
)
def test_what_other_libraries_call_it_is_answered_by_its_name_here(name, meant):
    with pytest.raises(AttributeError, match=re.escape(f"did you mean {meant}?")):
        getattr(fastmlp.Network([2, 2]), name)
