"""Elementary functions of compiled formulas: accuracy over the float32 range, ends, NaN."""

import numba
import numpy as np
import pytest
from scipy import special

import fastmlp.compilation.formulas  # noqa: F401  which tells Numba of the functions
from fastmlp.kernels import elementary
from fastmlp.kernels.elementary import exp, log, tanh

LOWEST, HIGHEST = -87.3, 88.37  # between which e^x is a normal float32 number
POINTS = 1_000_000


@numba.njit
def exp_of(x, out):
    for i in range(x.size):
        out[i] = exp(x[i])


@numba.njit
def tanh_of(x, out):
    for i in range(x.size):
        out[i] = tanh(x[i])


@numba.njit
def log_of(x, out):
    for i in range(x.size):
        out[i] = log(x[i])


def over_arrays(name):
    """Return a compiled function that applies one of elementary.py to every number of an array."""
    function = getattr(elementary, name)

    @numba.njit
    def apply(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return apply


# name -> what NumPy or SciPy gives in float64, and the error allowed: of the value, and of 1 where the value is small
OTHERS = {
    "expm1": (np.expm1, 2e-7, 0.0),
    "log1p": (np.log1p, 2e-7, 0.0),
    "erf": (special.erf, 2e-7, 0.0),
    "erfc": (special.erfc, 6e-6, 0.0),
    "sin": (np.sin, 0.0, 1e-7),
    "cos": (np.cos, 0.0, 1e-7),
    "sqrt": (np.sqrt, 1e-7, 0.0),
}
COMPILED = {name: over_arrays(name) for name in OTHERS}


def applied(function, x, dtype=np.float32):
    out = np.full(x.shape, np.nan, dtype)
    function(x.astype(dtype), out)
    return out


def every_size_of_number():
    """Return a million finite float32 numbers, evenly spaced in their bits: as many of 1e-30 as of 1 and of 1e30, both signs."""
    bits = np.linspace(0, 0x7F7FFFFF, POINTS // 2).astype(np.uint32)
    return np.concatenate([bits.view(np.float32), (bits | np.uint32(0x80000000)).view(np.float32)])


def within_range_of_exp(x):
    return x[(x >= LOWEST) & (x <= HIGHEST)]


def largest_relative_error(found, expected):
    assert np.isfinite(found).all()
    different = expected != 0
    np.testing.assert_array_equal(found[~different], 0)
    return np.max(np.abs(found[different] / expected[different] - 1))


@pytest.mark.parametrize("numbers", [every_size_of_number(), np.linspace(LOWEST, HIGHEST, POINTS, dtype=np.float32)], ids=["bits", "even"])
def test_exp_has_the_relative_error_that_it_states(numbers):
    x = within_range_of_exp(numbers)
    assert x.size > POINTS / 2
    assert largest_relative_error(applied(exp_of, x).astype(np.float64), np.exp(x.astype(np.float64))) < 1.2e-7


@pytest.mark.parametrize("numbers", [every_size_of_number(), np.linspace(-10, 10, POINTS, dtype=np.float32)], ids=["bits", "even"])
def test_tanh_has_the_relative_error_that_it_states(numbers):
    x = numbers[np.abs(numbers) >= np.finfo(np.float32).tiny]  # a subnormal number has fewer digits to be right in
    assert largest_relative_error(applied(tanh_of, x).astype(np.float64), np.tanh(x.astype(np.float64))) < 3e-7


def test_tanh_of_subnormal_numbers_is_their_own():
    x = np.array([0.0, 1e-45, -1e-45, 1e-40, -1e-40], np.float32)
    np.testing.assert_allclose(applied(tanh_of, x), x, rtol=0, atol=1e-44)


@pytest.mark.parametrize("numbers", [every_size_of_number(), np.linspace(0, 3, POINTS, dtype=np.float32)], ids=["bits", "even"])
def test_log_has_the_error_that_it_states(numbers):
    x = numbers[numbers >= np.finfo(np.float32).tiny]
    assert x.size > POINTS / 3
    expected = np.log(x.astype(np.float64))
    assert np.max(np.abs(applied(log_of, x) - expected) / np.maximum(np.abs(expected), 1)) < 2e-7


def test_log_at_the_ends_of_its_range():
    x = np.array([np.inf, 1.0, 0.0, -0.0, -1.0, -np.inf])
    expected = [np.inf, 0.0, -np.inf, -np.inf, np.nan, np.nan]
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(applied(log_of, x, dtype), expected)
    np.testing.assert_array_equal([log(float(value)) for value in x], expected)


@pytest.mark.parametrize("numbers", [every_size_of_number(), np.linspace(-10, 10, POINTS, dtype=np.float32)], ids=["bits", "even"])
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_function_has_the_error_that_it_states(name, numbers):
    expected_of, relative, absolute = OTHERS[name]
    x = numbers[np.abs(numbers) >= np.finfo(np.float32).tiny]
    x = x[np.abs(x) <= 1e9] if name in ("sin", "cos") else x
    with np.errstate(all="ignore"):
        expected = expected_of(x.astype(np.float64))
        found = applied(COMPILED[name], x)
    x, found, expected = (of[np.isfinite(expected) & (np.abs(expected) <= 2e38)] for of in (x, found, expected))  # beyond: see the ends
    assert x.size > POINTS / 3
    np.testing.assert_allclose(found, expected, rtol=relative, atol=max(absolute, 1e-36 if name == "erfc" else 0.0))


def test_erfc_keeps_its_digits_up_to_one():
    x = np.linspace(-10, 1, POINTS, dtype=np.float32)
    np.testing.assert_allclose(applied(COMPILED["erfc"], x), special.erfc(x.astype(np.float64)), rtol=5e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_function_has_the_ends_of_its_library_form_compiled_and_interpreted(name, dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, -2.0, 88.5, 89.0, 800.0, -800.0, 3e38, -3e38])
    x = x[:-2] if name in ("sin", "cos") else x  # whose sine is decided by digits that float32 does not have
    with np.errstate(all="ignore"):
        expected = OTHERS[name][0](x)
        expected = np.where(expected > 2.4e38, np.inf, expected) if dtype == np.float32 else expected
    np.testing.assert_allclose(applied(COMPILED[name], x, dtype), expected, rtol=1e-6, atol=1e-37)
    interpreted = [float(getattr(elementary, name)(float(value))) for value in x]
    if dtype == np.float64:
        np.testing.assert_allclose(interpreted, expected, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sine_of_huge_numbers_stays_within_minus_one_and_one(name):
    x = every_size_of_number()
    assert np.abs(applied(COMPILED[name], x[np.abs(x) > 1e9])).max() <= 1


def test_power_is_that_of_numpy_compiled_and_interpreted():
    @numba.njit
    def compiled(x, y):
        return elementary.power(x, y)

    for x, y in [(2.0, 3.0), (2.0, -1.5), (0.0, 2.0), (0.0, -1.0), (-2.0, 3.0), (-2.0, 0.5), (10.0, 400.0), (-10.0, 401.0)]:
        with np.errstate(all="ignore"):
            expected = np.float64(x) ** np.float64(y)
        for form in (elementary.power, compiled):
            np.testing.assert_allclose(form(x, y), expected, rtol=1e-14, err_msg=f"{x} ** {y}")


def test_exp_is_zero_below_and_infinite_above_its_ends():
    below = applied(exp_of, np.array([LOWEST - 1, -1e4, -3e38, -np.inf], np.float32))
    above = applied(exp_of, np.array([HIGHEST + 1, 1e4, 3e38, np.inf], np.float32))
    assert below.tolist() == [0.0] * 4
    assert above.tolist() == [np.inf] * 4


@pytest.mark.parametrize("function", [exp_of, tanh_of])
def test_function_never_falls_where_its_argument_rises(function):
    # steps of 1e-5 and more: by less than that, rounding may fall by a unit in the last place
    for first, last in [(-1000, -1), (1, 88), (-90, -80), (80, 88.3), (0.6, 0.65)]:
        x = np.arange(first, last, max(1e-5 * (last - first), 1e-5)).astype(np.float32)
        assert (np.diff(applied(function, x)) >= 0).all(), (first, last)


def test_tanh_stays_within_minus_one_and_one():
    assert np.abs(applied(tanh_of, every_size_of_number())).max() == 1


def test_tanh_is_odd():
    x = every_size_of_number()
    np.testing.assert_array_equal(applied(tanh_of, -x), -applied(tanh_of, x))


def test_exp_of_zero_is_exactly_one():
    assert applied(exp_of, np.array([0.0, -0.0])).tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_stays_one(dtype):
    functions = {"exp": exp_of, "tanh": tanh_of, "log": log_of, **COMPILED}
    assert [name for name, function in functions.items() if not np.isnan(applied(function, np.full(17, np.nan), dtype)).all()] == []


def test_interpreted_exp_is_infinite_where_a_float_is_too_small_for_it():
    assert exp(1000.0) == np.inf
