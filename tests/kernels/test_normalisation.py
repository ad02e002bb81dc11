"""The kernels of batch and layer normalisation: pure, serial and parallel, against NumPy in float64."""

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import kernels
from fastmlp.compilation import forms
from fastmlp.kernels import normalisation
from tests.kernels.comparison import FORMS, Case, check, normals, run

EPSILON = 1e-5
SHAPES = [(5, 4), (4, 7), (7, 17), (50, 64), (33, 65), (5, 300)]
SMALLEST = [(2, 2), (3, 2), (2, 3)]  # of two numbers normalised, what is left of a delta is a small difference of large numbers


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def spread(*shape, seed=0):
    """Sums as layers have them: numbers that float32 holds, of unequal means."""
    return normals(*shape, seed=seed) + 3 * normals(shape[1], seed=seed + 1)


def over_rows(z):
    mean = z.sum(axis=0) / len(z)
    return mean, np.square(z - mean).sum(axis=0) / len(z)


def layer_case(M, N):
    z, gamma, beta = spread(M, N), normals(N, seed=2) + 1.5, normals(N, seed=3)
    mean = z.mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt(np.square(z - mean).mean(axis=1) + EPSILON)
    hat = (z - mean) * inverse[:, None]
    return Case([], [z, gamma, beta], [hat, inverse, gamma * hat + beta])


def units_case(M, N):
    z, gamma, beta = spread(M, N), normals(N, seed=2) + 1.5, normals(N, seed=3)
    mean, inverse = normals(N, seed=4), np.abs(normals(N, seed=5)) + 0.25
    hat = (z - mean) * inverse
    return Case([], [z, mean, inverse, gamma, beta], [hat, gamma * hat + beta])


def jacobian(function, z):
    """Return d function(z) / dz for one vector z (n,) -> (n, n), by complex steps."""
    return np.stack([function(z + 1e-30j * unit).imag / 1e-30 for unit in np.eye(len(z))], axis=1)


def normalised(z):
    centred = z - z.sum() / len(z)
    return centred / np.sqrt((centred**2).sum() / len(z) + EPSILON)


def batch_backward_case(M, N):
    z, delta, gamma = spread(M, N), normals(M, N, seed=6), normals(N, seed=2) + 1.5
    mean, variance = over_rows(z)
    inverse = 1 / np.sqrt(variance + EPSILON)
    hat = (z - mean) * inverse
    expected = np.stack([jacobian(normalised, z[:, n]).T @ (gamma[n] * delta[:, n]) for n in range(N)], axis=1)
    return Case([delta], [hat, inverse, gamma, (delta * hat).sum(axis=0), delta.sum(axis=0)], [expected])


def layer_backward_case(M, N):
    z, delta, gamma = spread(M, N), normals(M, N, seed=6), normals(N, seed=2) + 1.5
    hat, inverse, _ = layer_case(M, N).expected
    expected = np.stack([jacobian(normalised, z[m]).T @ (gamma * delta[m]) for m in range(M)])
    return Case([delta], [hat, inverse, gamma], [expected])


def scale_backward_case(M, N):
    delta, hat = normals(M, N, seed=6), spread(M, N)
    return Case([], [delta, hat], [(delta * hat).sum(axis=0), delta.sum(axis=0)])


CASES = {
    "batch_moments": lambda M, N: Case([], [spread(M, N)], [*over_rows(spread(M, N))]),
    "normalise_units": units_case,
    "layer_norm": layer_case,
    "scale_backward": scale_backward_case,
    "batch_norm_backward": batch_backward_case,
    "layer_norm_backward": layer_backward_case,
    "fixed_norm_backward": lambda M, N: Case(
        [normals(M, N)], [normals(N, seed=1), normals(N, seed=2)], [normals(M, N) * normals(N, seed=1) * normals(N, seed=2)]
    ),
    "inverse_deviations": lambda M, N: Case([], [normals(N) ** 2], [1 / np.sqrt(normals(N) ** 2 + EPSILON)]),
}


@pytest.mark.parametrize("name", CASES)
def test_kernel_equals_numpy_in_float32(name, form):
    for shape in SHAPES:
        check(form(getattr(normalisation, name)), CASES[name](*shape), tolerance=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_kernel_equals_numpy_in_float64(name):
    for shape in SHAPES:
        check(getattr(normalisation, name), CASES[name](*shape), np.float64, tolerance=1e-12)
    for shape in SMALLEST:
        check(getattr(normalisation, name), CASES[name](*shape), np.float64, tolerance=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_serial_and_parallel_form_give_the_same_bits(name):
    kernel = getattr(normalisation, name)
    for shape in [(1, 1), (50, 300), (33, 65)]:
        case = CASES[name](*shape)
        for serial, parallel in zip(run(kernel, case, np.float32), run(forms.parallel(kernel), case, np.float32), strict=True):
            assert_array_equal(serial, parallel)


def test_whole_numbers_have_exact_moments(form):
    z = np.array([[4.0, -1], [8, 1], [0, -1], [4, 1]])
    check(form(normalisation.batch_moments), Case([], [z], [np.array([4.0, 0]), np.array([8.0, 1])]))


def test_equal_rows_have_no_variance(form):
    z = np.full((7, 3), 0.1, np.float32)
    check(form(normalisation.batch_moments), Case([], [z], [z[0].astype(np.float64), np.zeros(3)]))


def test_equal_units_are_normalised_to_zero(form):
    z = np.full((2, 7), 0.1, np.float32)
    hat, inverse, out = run(form(normalisation.layer_norm), Case([], [z, np.ones(7), np.arange(7.0)], [z, z[:, 0], z]), np.float32)
    assert_array_equal(hat, np.zeros((2, 7)))
    assert_allclose(inverse, 1 / np.sqrt(EPSILON), rtol=1e-6)
    assert_array_equal(out, [np.arange(7)] * 2)


# A difference of 0.01 beside a mean of 1000 is a tenth of a thousandth of its square's digits: E[z^2] - E[z]^2 has none of them.
BESIDE_A_LARGE_MEAN = (1000 + 0.01 * np.random.default_rng(0).standard_normal((400, 5))).astype(np.float32)


def test_a_variance_beside_a_large_mean_keeps_its_digits(form):
    _, expected = over_rows(BESIDE_A_LARGE_MEAN.astype(np.float64))
    case = Case([], [BESIDE_A_LARGE_MEAN], [expected, expected])
    assert_allclose(run(form(normalisation.batch_moments), case, np.float32)[1], expected, rtol=1e-4)


def test_a_variance_of_units_beside_a_large_mean_keeps_its_digits(form):
    rows = np.ascontiguousarray(BESIDE_A_LARGE_MEAN.T)
    _, expected = over_rows(BESIDE_A_LARGE_MEAN.astype(np.float64))
    case = Case([], [rows, np.ones(400), np.zeros(400)], [rows, rows[:, 0], rows])
    inverse = run(form(normalisation.layer_norm), case, np.float32)[1]
    assert_allclose(inverse, 1 / np.sqrt(expected + EPSILON), rtol=1e-4)


def test_the_difference_of_mean_squares_would_have_lost_them():
    z = BESIDE_A_LARGE_MEAN
    naive = np.square(z).mean(axis=0, dtype=np.float32) - np.square(z.mean(axis=0, dtype=np.float32))
    _, expected = over_rows(z.astype(np.float64))
    assert (np.abs(naive / expected - 1) > 0.1).all()


def test_normalised_sums_may_lie_where_the_sums_lay(form):
    hat, out = run(form(normalisation.normalise_units), units_case(7, 17), np.float32)
    z, *given = (value.astype(np.float32) for value in units_case(7, 17).inputs)
    again = np.full((7, 17), np.nan, np.float32)
    form(normalisation.normalise_units)(z, *given, z, again)
    assert_array_equal(z, hat)
    assert_array_equal(again, out)


def test_layer_norm_may_overwrite_the_sums(form):
    hat, inverse, out = run(form(normalisation.layer_norm), layer_case(7, 17), np.float32)
    z, *given = (value.astype(np.float32) for value in layer_case(7, 17).inputs)
    found = np.full(7, np.nan, np.float32), np.full((7, 17), np.nan, np.float32)
    form(normalisation.layer_norm)(z, *given, z, *found)
    assert_array_equal(z, hat)
    assert_array_equal(found[0], inverse)
    assert_array_equal(found[1], out)


def test_each_row_of_layer_norm_is_that_of_the_row_alone():
    case = layer_case(9, 33)
    together = run(normalisation.layer_norm, case, np.float32)
    for m in range(9):
        alone = Case([], [case.inputs[0][m : m + 1], *case.inputs[1:]], [array[m : m + 1] for array in case.expected])
        for one, all_rows in zip(run(normalisation.layer_norm, alone, np.float32), together, strict=True):
            assert_array_equal(one[0], all_rows[m])


def test_running_moments_take_a_tenth_of_the_batch_and_the_unbiased_variance(form):
    running_mean, running_variance = np.array([1.0, 0.0]), np.array([1.0, 2.0])
    mean, variance = np.array([2.0, -4.0]), np.array([3.0, 0.0])
    form(normalisation.track_moments)(running_mean, running_variance, mean, variance, 4)
    assert_allclose(running_mean, [0.9 * 1 + 0.1 * 2, -0.4], rtol=1e-15)
    assert_allclose(running_variance, [0.9 * 1 + 0.1 * 3 * 4 / 3, 1.8], rtol=1e-15)


def test_running_moments_stay_float32():
    one = np.ones(3, np.float32)
    running_mean, running_variance = one.copy(), one.copy()
    normalisation.track_moments(running_mean, running_variance, 2 * one, 3 * one, 2)
    assert_array_equal(running_mean, np.float32(1 - np.float32(0.1)) + np.float32(0.1) * np.float32(2))
    assert (running_mean.dtype, running_variance.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_batch_moments_show_a_number_that_is_not_finite_in_its_unit_only(form, poison):
    z = spread(5, 3)
    z[2, 1] = poison
    mean, variance = np.zeros(3), np.zeros(3)
    with np.errstate(invalid="ignore"):
        form(normalisation.batch_moments)(z, mean, variance)
    assert np.isnan(variance).tolist() == [False, True, False]
    assert np.isfinite(mean).tolist() == [True, False, True]


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_layer_norm_shows_a_number_that_is_not_finite_in_its_row_only(form, poison):
    z = spread(3, 5)
    z[1, 2] = poison
    hat, inverse, out = np.zeros((3, 5)), np.zeros(3), np.zeros((3, 5))
    with np.errstate(invalid="ignore"):
        form(normalisation.layer_norm)(z, np.ones(5), np.zeros(5), hat, inverse, out)
    assert np.isnan(out).all(axis=1).tolist() == [False, True, False]
    assert np.isfinite(out[[0, 2]]).all()


@numba.njit
def normalise_rows(z, gamma, beta, hat, inverse, out):
    """A user's function that calls a kernel."""
    kernels.layer_norm(z, gamma, beta, hat, inverse, out)


def test_kernels_can_be_called_from_a_users_njit_function():
    case = layer_case(5, 7)
    outputs = [np.full(array.shape, np.nan) for array in case.expected]
    normalise_rows(*case.inputs, *outputs)
    for found, expected in zip(outputs, case.expected, strict=True):
        assert_allclose(found, expected, atol=1e-13)
