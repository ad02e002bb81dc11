"""Every activation: values and derivatives against the oracle, NaN, and the ends of the float range."""

import math

import numpy as np
import pytest

from fastmlp.kernels.activations import ACTIVATIONS
from tests.kernels.comparison import FORMS, activation, activation_backward
from tests.oracle import mlp

# From far below to far above every bend, with both sides of 0.625, where tanh changes its formula, and of 0.
Z = np.unique(np.concatenate([np.linspace(-30, 30, 1201), np.linspace(-0.7, 0.7, 141), [-1e-6, 0.0, 1e-6]])).astype(np.float32)
# Relative errors allowed in float32: far below 0 gelu falls like exp(-z^2 / 2), which makes a wrong digit of a rounded one.
RELATIVE = {"gelu": 2e-5, "gelu_tanh": 2e-5}
HUGE = [sign * size for size in (20.0, 50.0, 90.0, 1e3, 1e10, 1e20, 1e38) for sign in (-1, 1)]


@pytest.fixture(params=["pure", "serial"])
def form(request):
    return FORMS[request.param]


def applied(kernel, z, dtype):
    out = np.full(z.shape, np.nan, dtype)
    kernel(z.astype(dtype), out)
    return out


def derivative_of(kernel, name, z, dtype):
    """Return 2 f'(z) / 2, by the kernel delta *= f'(z), from a = f(z) of the oracle."""
    delta = np.full(z.shape, 2.0, dtype)
    kernel(delta, z.astype(dtype), mlp.ACTIVATIONS[name][0](z.astype(np.float64)).astype(dtype))
    return delta / 2


def test_the_oracle_knows_every_activation():
    assert set(mlp.ACTIVATIONS) == set(ACTIVATIONS)


def test_activation_equals_the_oracle(form, subtests):
    for name in ACTIVATIONS:
        with subtests.test(name=name):
            expected = mlp.ACTIVATIONS[name][0](Z.astype(np.float64))
            np.testing.assert_allclose(applied(form(activation(name)), Z, np.float32), expected, rtol=RELATIVE.get(name, 1e-6), atol=1e-37)


def test_activation_equals_the_oracle_in_float64(subtests):
    for name in ACTIVATIONS:
        with subtests.test(name=name):
            expected = mlp.ACTIVATIONS[name][0](Z.astype(np.float64))
            # near 0 the oracle of elu and selu has only the digits that e^z leaves beside 1
            np.testing.assert_allclose(applied(activation(name), Z, np.float64), expected, rtol=2e-14, atol=5e-16 if "elu" in name else 0)


def test_derivative_equals_the_oracle(form, subtests):
    for name in ACTIVATIONS:
        with subtests.test(name=name):
            expected = mlp.ACTIVATIONS[name][1](Z.astype(np.float64))
            np.testing.assert_allclose(derivative_of(form(activation_backward(name)), name, Z, np.float32), expected, rtol=0, atol=2e-6)


def test_derivative_equals_the_oracle_in_float64(subtests):
    for name in ACTIVATIONS:
        with subtests.test(name=name):
            expected = mlp.ACTIVATIONS[name][1](Z.astype(np.float64))
            np.testing.assert_allclose(derivative_of(activation_backward(name), name, Z, np.float64), expected, rtol=0, atol=1e-14)


def test_derivatives_read_only_what_they_say_that_they_need():
    for name, record in ACTIVATIONS.items():
        for z in (-1.5, 0.25, 2.0):
            arguments = {"z": z, "a": record.formula(z)}
            for argument in {"z": ["a"], "a": ["z"], "both": []}[record.needs]:
                assert record.derivative(**arguments | {argument: math.nan}) == record.derivative(**arguments), name


def test_relu_has_the_derivative_0_at_0(form):
    assert derivative_of(form(activation_backward("relu")), "relu", np.zeros(3), np.float32).tolist() == [0, 0, 0]


def test_activation_may_overwrite_its_input(subtests):
    for name in ACTIVATIONS:
        with subtests.test(name=name):
            for form in ("pure", "serial"):
                kernel, z = FORMS[form](activation(name)), Z.copy()
                kernel(z, z)
                np.testing.assert_array_equal(z, applied(kernel, Z, np.float32), err_msg=form)


def test_activation_gives_the_same_bits_wherever_a_number_stands(subtests):
    for name in ACTIVATIONS:
        with subtests.test(name=name):
            found = {
                bits
                for length in (1, 2, 3, 7, 8, 9, 15, 16, 17, 33)
                for bits in applied(activation(name), np.full(length, 0.7366), np.float32).tolist()
            }
            assert len(found) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_goes_in_and_nan_comes_out(dtype, subtests):
    for name in ACTIVATIONS:
        with subtests.test(name=name):
            for place in (0, 5, 32):  # in the vectorised part of the loop, and in its rest
                z = np.linspace(-3, 3, 33)
                z[place] = np.nan
                out = applied(activation(name), z, dtype)
                assert np.flatnonzero(np.isnan(out)).tolist() == [place]


def test_nan_goes_in_and_nan_comes_out_interpreted():
    for name in ACTIVATIONS:
        out = applied(FORMS["pure"](activation(name)), np.array([1.0, np.nan, -1.0]), np.float32)
        assert np.isnan(out).tolist() == [False, True, False], name


def test_nan_in_delta_stays_one(subtests):
    for name in ACTIVATIONS:
        with subtests.test(name=name):
            z = np.array([-2.0, 0.0, 2.0], np.float32)
            for form in ("pure", "serial"):
                delta = np.full(3, np.nan, np.float32)
                FORMS[form](activation_backward(name))(delta, z, applied(activation(name), z, np.float32))
                assert np.isnan(delta).all(), form


@pytest.mark.parametrize("kind", ["pure", "serial"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_arguments_give_finite_values_and_derivatives(dtype, kind, subtests):
    form, z = FORMS[kind], np.array(HUGE, dtype)
    ends = np.sign(z).astype(np.float64) * 300  # where every activation has become a straight line
    for name in ACTIVATIONS:
        with subtests.test(name), np.errstate(over="ignore"):  # interpreted, z^3 is infinite with a warning
            delta, a = np.ones(len(HUGE), dtype), applied(form(activation(name)), z, dtype)
            form(activation_backward(name))(delta, z, a)
            np.testing.assert_allclose(delta, mlp.ACTIVATIONS[name][1](ends), rtol=1e-6, atol=1e-4)
            assert np.isfinite(a).all()
            assert (np.abs(a) <= np.abs(z) * 1.06).all()


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_bounded_activation_reaches_its_ends(name, form):
    z = np.array([-np.inf, -3e38, -1e4, -100, 100, 1e4, 3e38, np.inf], np.float32)
    low = 0.0 if name == "sigmoid" else -1.0
    np.testing.assert_allclose(applied(form(activation(name)), z, np.float32), [low] * 4 + [1.0] * 4, rtol=0, atol=1e-37)


def test_silu_vanishes_for_large_negative_numbers(form):
    assert np.abs(applied(form(activation("silu")), np.array([-100.0, -1e4, -1e20, -1e38]), np.float32)).max() < 1e-6
