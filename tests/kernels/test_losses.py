"""The losses: their sums and deltas against the oracle, sample weights, factor, ends, NaN."""

import numpy as np
import pytest

from fastmlp.kernels import textbook
from fastmlp.kernels.losses import LOSSES
from tests.kernels.comparison import FORMS, loss, normals
from tests.oracle import mlp
from tests.pairs import each_pair

NO_WEIGHTS = np.zeros(0)
# A number that each loss takes; the losses without one do not read it.
PARAMETERS = {name: 0.7 if record.parameter in ("huber_delta", "quantile") else 0.0 for name, record in LOSSES.items()}
SHAPES = [(1, 2), (7, 5), (13, 10), (50, 3)]
SMOOTHED = [name for name, record in LOSSES.items() if record.parameter == "label_smoothing"]


@pytest.fixture(params=["pure", "serial"])
def form(request):
    return FORMS[request.param]


def targets(name, rows, outputs):
    generator = np.random.default_rng([rows, outputs])
    if LOSSES[name].output == "softmax":
        return generator.integers(0, outputs, (rows, 1)).astype(np.float64)
    if LOSSES[name].output == "sigmoid":
        return generator.integers(0, 2, (rows, outputs)).astype(np.float64)
    if name == "poisson":
        return generator.integers(0, 6, (rows, outputs)).astype(np.float64)
    return normals(rows, outputs, seed=9)


def summed(kernel, z, target, weights=NO_WEIGHTS, factor=1.0, dtype=np.float32, parameter=0.0):
    """Return the summed loss and delta that a loss kernel gives; delta is poisoned first."""
    delta = np.full(z.shape, np.nan, dtype)
    inputs = [np.asarray(array, dtype) for array in (z, target, weights)]
    kept = [array.copy() for array in inputs]
    result = kernel(*inputs, dtype(factor), dtype(parameter), delta)
    for before, after in zip(kept, inputs, strict=True):
        np.testing.assert_array_equal(after, before)
    return float(result), delta


@each_pair(name=LOSSES, shape=SHAPES, kind=["pure", "serial"])
def test_loss_and_delta_equal_the_oracle(name, shape, kind):
    z, target, parameter = 2 * normals(*shape), targets(name, *shape), PARAMETERS[name]
    result, delta = summed(FORMS[kind](loss(name)), z, target, parameter=parameter)
    expected = mlp.output_delta(name, z, target, parameter)
    assert result == pytest.approx(mlp.row_losses(name, z, target, parameter).sum(), rel=1e-6)
    np.testing.assert_allclose(delta, expected, rtol=0, atol=2e-6 * max(1, np.abs(expected).max()))


def test_loss_and_delta_equal_the_oracle_in_float64(subtests):
    for name in LOSSES:
        with subtests.test(name=name):
            z, target = 2 * normals(13, 7), targets(name, 13, 7)
            result, delta = summed(loss(name), z, target, dtype=np.float64, parameter=PARAMETERS[name])
            assert result == pytest.approx(mlp.row_losses(name, z, target, PARAMETERS[name]).sum(), rel=1e-14)
            np.testing.assert_allclose(delta, mlp.output_delta(name, z, target, PARAMETERS[name]), rtol=1e-14, atol=1e-14)


def test_sample_weights_multiply_loss_and_delta_of_their_row(form, subtests):
    for name in LOSSES:
        with subtests.test(name=name):
            z, target = normals(7, 5), targets(name, 7, 5)
            weights = np.array([0.0, 1, 2, 0.5, 0, 3, 0.25])
            parameter = PARAMETERS[name]
            result, delta = summed(form(loss(name)), z, target, weights, parameter=parameter)
            assert result == pytest.approx((weights * mlp.row_losses(name, z, target, parameter)).sum(), rel=1e-6)
            np.testing.assert_allclose(delta, weights[:, None] * mlp.output_delta(name, z, target, parameter), rtol=0, atol=4e-6)


def test_factor_multiplies_delta_but_not_the_loss(form, subtests):
    for name in LOSSES:
        with subtests.test(name=name):
            z, target = normals(7, 5), targets(name, 7, 5)
            plain, delta = summed(form(loss(name)), z, target, parameter=PARAMETERS[name])
            result, multiplied = summed(form(loss(name)), z, target, factor=0.25, parameter=PARAMETERS[name])
            assert result == plain
            np.testing.assert_allclose(multiplied, delta / 4, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_cosh_keeps_its_digits_from_tiny_to_huge_errors(dtype, form):
    for error in (0.0, 1e-5, 1e-3, 0.2, 0.99, 1.01, 5.0, 40.0, 1e4, 1e30):
        small = error**2 / 2 - error**4 / 12 + error**6 / 45 if error < 0.1 else np.logaddexp(error, -error) - np.log(2)
        for sign in (-1, 1):
            result, delta = summed(form(loss("log_cosh")), np.array([[sign * error]]), np.zeros((1, 1)), dtype=dtype)
            assert result == pytest.approx(small, rel=2e-6 if dtype == np.float32 else 1e-13), error
            assert delta[0, 0] == pytest.approx(sign * np.tanh(error), rel=1e-6), error


def test_a_target_that_is_hit_exactly_pulls_nowhere(form, subtests):
    for name in ["mae", "huber", "quantile", "mse", "log_cosh"]:
        with subtests.test(name=name):
            z = normals(3, 4)
            result, delta = summed(form(loss(name)), z, z, parameter=PARAMETERS[name])
            assert result == 0
            np.testing.assert_array_equal(delta, np.zeros((3, 4)))


@pytest.mark.parametrize("name", ["mae", "huber", "quantile"])
def test_loss_that_grows_in_straight_lines_is_finite_for_huge_outputs(name, form):
    z, target = 1e30 * np.array([[1.0, -1.0, 1.0, -1.0]]), np.zeros((1, 4))
    result, delta = summed(form(loss(name)), z, target, parameter=PARAMETERS[name])
    assert result == pytest.approx(mlp.row_losses(name, z, target, PARAMETERS[name]).sum(), rel=1e-6)
    np.testing.assert_allclose(delta, mlp.output_delta(name, z, target, PARAMETERS[name]), rtol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.9])
@pytest.mark.parametrize("name", SMOOTHED)
def test_smoothed_labels_give_the_loss_and_delta_of_the_oracle(name, share, form):
    z, target = 2 * normals(13, 7), targets(name, 13, 7)
    result, delta = summed(form(loss(name)), z, target, parameter=share)
    assert result == pytest.approx(mlp.row_losses(name, z, target, share).sum(), rel=1e-6)
    np.testing.assert_allclose(delta, mlp.output_delta(name, z, target, share), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", SMOOTHED)
def test_smoothed_loss_of_huge_outputs_does_not_overflow(name, form):
    z, target = 1e30 * normals(5, 4), targets(name, 5, 4)
    result, delta = summed(form(loss(name)), z, target, parameter=0.25)
    assert result == pytest.approx(mlp.row_losses(name, z, target, 0.25).sum(), rel=1e-6)
    np.testing.assert_allclose(delta, mlp.output_delta(name, z, target, 0.25), rtol=0, atol=1e-6)


def test_squared_error_is_exact_on_integers(form):
    z, target = np.array([[1.0, -2, 3, 0], [4, 4, 4, 4]]), np.array([[0.0, 2, 3, -4], [4, 3, 2, 1]])
    result, delta = summed(form(loss("mse")), z, target)
    assert result == (1 + 16 + 0 + 16) / 4 + (0 + 1 + 4 + 9) / 4
    np.testing.assert_array_equal(delta, (z - target) / 2)


def test_squared_error_of_probabilities_by_hand(form):
    """Sigmoids of 0 are a half: (1/4 + 1/4)/2, and 2 (1/2 - t) 1/4 / 2. Of softmax of equal logits p = 1/4: (9 + 3)/16/4 for each row."""
    result, delta = summed(form(loss("mse_of_sigmoid")), np.zeros((1, 2)), np.array([[1.0, 0.0]]))
    assert result == 0.25
    np.testing.assert_array_equal(delta, [[-0.125, 0.125]])
    result, delta = summed(form(loss("mse_of_softmax")), np.full((1, 4), 3.0), np.array([[2.0]]))
    assert result == 12 / 64
    np.testing.assert_array_equal(delta, np.array([[1.0, 1.0, -3.0, 1.0]]) / 32)


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_number_of_classes(form):
    result, _ = summed(form(loss("cross_entropy")), np.full((3, 8), 2.0), np.array([[0.0], [3], [7]]))
    assert result == pytest.approx(3 * np.log(8), rel=1e-6)


def test_delta_of_cross_entropy_sums_to_zero_in_each_row(form):
    _, delta = summed(form(loss("cross_entropy")), 3 * normals(13, 10), targets("cross_entropy", 13, 10))
    assert np.abs(delta.sum(axis=1)).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "z", "target"),
    [
        ("cross_entropy", [[1, -1, 0]], [[0]]),
        ("cross_entropy", [[1, -1, 0]], [[1]]),
        ("cross_entropy", [[1, 1, -1]], [[1]]),
        ("binary_cross_entropy", [[1, -1]], [[1, 0]]),
        ("binary_cross_entropy", [[1, -1]], [[0, 1]]),
    ],
)
def test_loss_of_huge_outputs_neither_overflows_nor_loses_its_delta(name, z, target, form):
    target = np.array(target, np.float64)
    for huge in (size * np.array(z, np.float64) for size in (100.0, 1e4, 1e30)):
        result, delta = summed(form(loss(name)), huge, target)
        assert result == pytest.approx(mlp.row_losses(name, huge, target).sum(), rel=1e-6, abs=1e-6)
        np.testing.assert_allclose(delta, mlp.output_delta(name, huge, target), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_in_an_output_makes_the_loss_nan(dtype, subtests):
    for name in LOSSES:
        with subtests.test(name=name):
            for place in ((0, 0), (1, 2), (2, 4)):
                z, target = normals(3, 5), targets(name, 3, 5)
                z[place] = np.nan
                assert np.isnan(summed(loss(name), z, target, dtype=dtype, parameter=PARAMETERS[name])[0]), place


def test_infinite_output_makes_the_loss_not_finite(subtests):
    for name in set(LOSSES) - {"mse_of_sigmoid"}:  # whose probability is 1 then
        with subtests.test(name=name):
            z, target = np.zeros((1, 2)), np.zeros((1, 1 if LOSSES[name].output == "softmax" else 2))
            z[0, 1] = np.inf
            assert not np.isfinite(summed(loss(name), z, target, parameter=PARAMETERS[name])[0])


def test_losses_without_a_formula_are_a_kernel_of_their_own():
    assert [name for name, record in LOSSES.items() if record.formula is None] == ["cross_entropy", "mse_of_softmax"]
    assert loss("cross_entropy") is textbook.softmax_cross_entropy
    assert loss("mse_of_softmax") is textbook.softmax_squared_error
