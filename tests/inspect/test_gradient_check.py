"""The gradient check passes what is right and fails what is wrong."""

from math import cosh, exp, tanh

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, DataError, Network
from fastmlp.engines.program import Program
from fastmlp.inspect.gradient_check import check_all, check_gradient, check_kernels, relative_error
from fastmlp.kernels import normalisation
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES

GENERATOR = np.random.default_rng(0)
RIGHT = Network.gradient


def network(activation="tanh", **keywords) -> Network:
    return Network([5, 4, 3], activation, dtype="float64", seed=1, **keywords)


def first_weights(gradient: np.ndarray) -> np.ndarray:
    """The part of a gradient of the 5-4-3 network that belongs to the first weights, as a view (5, 4)."""
    return gradient[:20].reshape(5, 4)


# What is right


def test_every_activation_with_every_loss_and_every_normalisation_passes():
    rows = list(check_all())
    known = {(activation, loss.name, loss.output) for activation in ACTIVATIONS for loss in LOSSES.values()}
    assert {(row.activation, row.loss, row.output) for row in rows} == known
    assert {row.normalization for row in rows} == {"none", "batch", "layer"}
    assert [row for row in rows if not row.passed] == []
    assert max(row.error for row in rows) < 1e-6


def test_every_kernel_passes_and_says_where_it_stands():
    checks = list(check_kernels())
    assert [check for check in checks if not check.passed] == []
    assert all(check.where.startswith("fastmlp/kernels/") for check in checks)
    of_normalisation = ["scale_backward", "batch_norm_backward", "fixed_norm_backward", "layer_norm_backward"]
    for name in [*ACTIVATIONS, *LOSSES, "dense_backward_input", "dense_backward_parameters", *of_normalisation]:
        assert any(name in check.what for check in checks)


def test_every_parameter_is_checked_array_by_array():
    checks = check_gradient(network()).checks
    assert [(check.what, check.places) for check in checks] == [("weights[0]", 20), ("biases[0]", 4), ("weights[1]", 12), ("biases[1]", 3)]


def test_a_network_of_float32_is_checked_in_float64():
    seen = []
    net = Network([5, 4, 3], "tanh")
    assert check_gradient(net, gradient=lambda net, x, y: seen.append(net.dtype) or RIGHT(net, x, y)).passed
    assert seen == [np.float64]


def test_a_trained_network_is_checked_with_its_normalisation_on_the_rows_given():
    x, y = GENERATOR.standard_normal((12, 5)) * 30 + 100, GENERATOR.integers(0, 3, 12)
    net = network()
    fastmlp.train(net, x, y, epochs=2, normalize="standardize")
    assert check_gradient(net, x, y).passed


def test_bytes_are_checked_too():
    x, y = GENERATOR.integers(0, 256, (12, 5), dtype=np.uint8), GENERATOR.integers(0, 3, 12)
    assert check_gradient(network(), x, y).passed


def test_checking_changes_no_parameter():
    net = network()
    before = net.parameters.tobytes()
    check_gradient(net)
    assert net.parameters.tobytes() == before


def test_of_a_large_array_some_places_are_checked_from_its_first_to_its_last():
    net = Network([100, 50, 2], "tanh", dtype="float64")

    def wrong_at(at):
        def gradient(net, x, y):
            found = RIGHT(net, x, y)
            found[at] += 1
            return found

        return gradient

    assert check_gradient(net).checks[0].places == 2000
    for at in (0, 100 * 50 - 1):
        assert check_gradient(net, gradient=wrong_at(at)).worst.what == "weights[0]"
        assert not check_gradient(net, gradient=wrong_at(at)).passed


# What is wrong


def test_the_misprinted_sigmoid_with_the_gradient_of_the_sigmoid_fails():
    report = check_gradient((lambda z: z / (1 + exp(-z)), lambda z, a: a * (1 - a)))
    assert not report.passed
    assert report.error > 0.1


def test_the_misprinted_sigmoid_fails_with_the_derivative_of_any_activation_but_its_own(subtests):
    for name in ACTIVATIONS:
        with subtests.test(name=name):
            misprinted = ACTIVATIONS["silu"].formula
            assert check_gradient((misprinted, ACTIVATIONS[name].derivative)).passed is (name == "silu")


def test_a_zero_gradient_fails_in_every_array():
    report = check_gradient(network(), gradient=lambda net, x, y: np.zeros_like(net.parameters))
    assert [check.passed for check in report.checks] == [False] * 4
    assert report.error == 1.0


def test_a_transposed_gradient_fails_in_the_array_that_is_transposed():
    def transposed(net, x, y):
        gradient = RIGHT(net, x, y)
        first_weights(gradient)[:] = first_weights(gradient).T.reshape(5, 4)
        return gradient

    report = check_gradient(network(), gradient=transposed)
    assert [check.passed for check in report.checks] == [False, True, True, True]


def test_one_sign_flipped_anywhere_fails():
    net = network()  # of tanh units, none of which is dead
    for place in range(net.parameters.size):

        def flipped(net, x, y, place=place):
            gradient = RIGHT(net, x, y)
            gradient[place] *= -1
            return gradient

        report = check_gradient(net, gradient=flipped)
        assert not report.passed, f"parameter {place}"
        assert sum(not check.passed for check in report.checks) == 1


@pytest.mark.parametrize("factor", [1 + 1e-5, 0.5, 2.0, -1.0])
def test_a_gradient_of_another_length_fails(factor):
    assert not check_gradient(network(), gradient=lambda net, x, y: factor * RIGHT(net, x, y)).passed


def test_a_summed_gradient_in_the_place_of_the_mean_fails():
    assert not check_gradient(network(), gradient=lambda net, x, y: len(x) * RIGHT(net, x, y)).passed


def test_a_gradient_with_a_nan_fails_and_is_the_worst():
    def broken(net, x, y):
        gradient = RIGHT(net, x, y)
        gradient[22] = np.nan
        return gradient

    report = check_gradient(network(), gradient=broken)
    assert not report.passed
    assert (report.worst.what, np.isnan(report.error)) == ("biases[0]", True)


def test_the_worst_array_and_its_layer_are_named():
    def wrong(net, x, y):
        gradient = RIGHT(net, x, y)
        gradient[-1] += 1
        return gradient

    worst = check_gradient(network(), gradient=wrong).worst
    assert (worst.what, worst.where) == ("biases[1]", "layer 2, softmax")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_wrong_derivative_is_named_by_the_check_of_the_kernels(monkeypatch, name):
    def wrong(z, a):
        return 0.9

    monkeypatch.setitem(ACTIVATIONS, name, ACTIVATIONS[name]._replace(derivative=wrong))
    failed = [check for check in check_kernels() if not check.passed]
    assert [(check.what, check.where) for check in failed] == [(f"derivative of {name}", "fastmlp/kernels/activations.py, wrong")]


@pytest.mark.parametrize("name", ["scale_backward", "batch_norm_backward", "fixed_norm_backward", "layer_norm_backward"])
def test_a_wrong_way_back_through_a_normalisation_is_named_by_the_check_of_the_kernels(monkeypatch, name):
    right = getattr(normalisation, name)

    def wrong(first, *others):
        right(first, *others)
        (others[1] if name == "scale_backward" else first)[:] *= 1.001

    monkeypatch.setattr(normalisation, name, wrong)
    failed = [check for check in check_kernels() if not check.passed]
    assert {check.where for check in failed} >= {f"fastmlp/kernels/normalisation.py, {name}"}


@pytest.mark.parametrize("activation", ["identity", "hard_sigmoid"])  # linear, and linear where all sums are small
def test_biases_that_the_next_normalisation_takes_away_pass_with_the_gradient_0_that_they_have(activation):
    net = Network([5, 8, 6, 3], (activation, "tanh"), normalization="batch", dtype="float64")
    net.gammas[0][:] = 0.1
    report = check_gradient(net)
    assert report.passed
    assert [check.error for check in report.checks if check.what == "biases[0]"] == [0.0]


def test_biases_that_the_next_normalisation_takes_away_fail_with_another_gradient_than_0():
    def wrong(net, x, y):
        gradient = RIGHT(net, x, y)
        gradient[40:48] += 1e-6
        return gradient

    report = check_gradient(Network([5, 8, 6, 3], ("identity", "tanh"), normalization="batch", dtype="float64"), gradient=wrong)
    assert [check.what for check in report.checks if not check.passed] == ["biases[0]"]


# Pairs


@pytest.mark.parametrize(
    "pair",
    [
        (tanh, lambda z, a: 1 - a * a),
        (tanh, lambda z, a: 1 / cosh(z) ** 2),
        (lambda z: z**3, lambda z, a: 3 * z * z),
        (lambda z: 5.0, lambda z, a: 0.0),
    ],
)
def test_a_right_pair_passes(pair):
    assert check_gradient(pair).passed


@pytest.mark.parametrize(
    "pair",
    [
        (tanh, lambda z, a: 1 - z * z),
        (tanh, lambda z, a: 0.0),
        (tanh, lambda z, a: a * a - 1),
        (tanh, lambda z, a: float("nan")),
        (lambda z: z if z < 3.9 else 2 * z, lambda z, a: 1.0),  # wrong at one end only
    ],
)
def test_a_wrong_pair_fails(pair):
    assert not check_gradient(pair).passed


def test_the_derivative_is_given_z_and_the_activation_of_z():
    pairs = []
    check_gradient((tanh, lambda z, a: pairs.append((z, a)) or 1 - a * a))
    assert len(pairs) > 10
    assert all(a == tanh(z) for z, a in pairs)
    assert min(abs(z) for z, _ in pairs) > 1e-5  # relu has no derivative at 0


# How it measures


@pytest.mark.parametrize(
    ("analytic", "numeric", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [1.0, 2.5], 0.2),  # the largest difference over the largest number of both
        ([1.0, -4.0], [1.0, -2.0], 0.5),
        ([0.0, 0.0], [3.0, 1.0], 1.0),
        ([0.0], [0.0], 0.0),
        ([1e-12], [0.0], 1e-4),  # numbers below 1e-8 count as 1e-8
        ([1e6, 1e-3], [1e6, 0.0], 1e-9),
    ],
)
def test_the_error_is_relative_to_the_largest_number_of_the_array(analytic, numeric, error):
    assert relative_error(analytic, numeric) == pytest.approx(error, rel=1e-12)


def test_arrays_of_different_shapes_are_not_compared():
    with pytest.raises(DataError, match=r"gradient: expected shape \(2,\), got \(1,\)"):
        relative_error([1.0], [1.0, 1.0])


def test_each_parameter_is_moved_by_a_millionth_of_itself_and_at_least_of_one(monkeypatch):
    net = network()
    net.parameters[:3] = 0.25, -40.0, 0.0
    moved = {}
    outputs = Program.outputs

    def recording(self, parameters, *rest):
        moves = parameters - net.parameters
        for place in np.flatnonzero(moves):
            moved.setdefault(int(place), set()).add(float(moves[place]))
        assert np.count_nonzero(moves) <= 1
        return outputs(self, parameters, *rest)

    monkeypatch.setattr(Program, "outputs", recording)
    check_gradient(net)
    assert sorted(moved) == list(range(net.parameters.size))
    for place, steps in moved.items():
        step = 1e-6 * max(1.0, abs(net.parameters[place]))
        assert sorted(steps) == pytest.approx([-step, step], rel=1e-6)


def test_a_row_within_ten_steps_of_a_kink_is_not_drawn():
    drawn = []
    net = network("relu")
    keep_rows = lambda net, x, y: drawn.append(x) or RIGHT(net, x, y)  # noqa: E731
    check_gradient(net, gradient=keep_rows)
    net.biases[0][1] -= drawn[0][0] @ net.weights[0][:, 1] + net.biases[0][1] - 9e-6  # of the first row, z of unit 1 is now nine steps
    assert check_gradient(net, gradient=keep_rows).passed
    assert drawn[0][0] not in drawn[1]
    assert np.isin(drawn[0][1:], drawn[1]).all()


# What cannot be checked


@pytest.mark.parametrize("argument", ["relu", None, (tanh,), (tanh, 3), [tanh, tanh], (tanh, tanh, tanh)])
def test_what_is_neither_a_network_nor_a_pair_is_refused(argument):
    with pytest.raises(ConfigError, match="check_gradient: expected a Network, or a pair of functions"):
        check_gradient(argument)


@pytest.mark.parametrize("shape", [(1,), (46,), (5, 4)])
def test_a_gradient_of_another_shape_is_refused(shape):
    with pytest.raises(DataError, match=r"gradient: expected shape \(39,\), got "):
        check_gradient(network(), gradient=lambda net, x, y: np.zeros(shape))


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"x: expected \(n, 5\)"):
        check_gradient(network(), np.zeros((3, 4)), np.zeros(3, int))
