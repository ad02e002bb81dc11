"""Formulas of users, translated: what they compute, their derivatives against differences, what of Python they may say."""

import importlib.util
import math
from math import exp as e_to_the

import numpy as np
import pytest
from scipy import special

from fastmlp.errors import ConfigError
from fastmlp.network import duals

SLOPE = 0.25
POINTS = [0.0137 + 0.211 * place for place in range(-20, 21)]


def swish(z):
    return z / (1 + math.exp(-z))


def by_other_names(z):
    return e_to_the(-z) + np.exp(z / 3) - special.erf(z) * special.erfc(z) + np.log1p(z * z) - special.expm1(-z)


def roots_and_logarithms(z):
    return math.sqrt(z * z + 1) * np.log(2 + z**2) - math.tanh(z) / np.sqrt(3 + np.square(z))


def circle(z):
    return math.sin(2 * z) - 3 * np.cos(z) * math.sin(z)


def powers(z):
    return z**3 - 2 * z**-2 + (z**2) ** 0.5 + abs(z) ** 1.5 + 2**z + (1 + abs(z)) ** (z / 4) + pow(z * z, -0.5) + z**0


def kinks(z):
    return max(z, 0) * SLOPE + min(1.0, z, 3) - np.maximum(-z, np.minimum(z, 2)) + np.where(z < 1, z, z * z) + (z > 0.5) * z


def conditional(z):
    return z if -1 < z <= 2 and not z == 0 else (0.5 * z if z < 0 or z > 3 else math.exp(z))


def branches(z):
    """A docstring is no statement of a formula."""
    y: float = z
    if z > 1:
        y *= 2
        k = 3.0
    elif z > 0:
        k = z
    else:
        k = -1
        pass  # noqa: PIE790
    return y * k


def early_returns(z):
    if z < -2:
        return -math.log(-z)
    half = z / 2
    if z > 2:
        if z > 3:
            return half
        half = half * half
    half -= 1
    return half * z


def helper(u, v):
    if u > v:
        return u * v
    return v - u


def calls_a_helper(z):
    return helper(z, 0.5) + helper(swish(z), z * z)


def three_swishes(z):
    return swish(z) * swish(-z) + swish(z / 2)


def many_calls(z):
    first = swish(z) - three_swishes(2 * z) + three_swishes(z / 3) * three_swishes(1 - z)
    second = three_swishes(first) - three_swishes(2 * first) + swish(first / 3) * helper(first, 1)
    return second + helper(helper(helper(helper(helper(helper(helper(helper(z, 1), 2), 3), 4), 5), 6), 7), 8) / 40320


def constants(z):
    return z * math.pi * np.e / float(3) - np.float64(0.5) * math.sqrt(2 / math.pi)


FORMULAS = [
    swish, by_other_names, roots_and_logarithms, circle, powers, kinks, conditional, branches, early_returns, calls_a_helper, many_calls,
    constants,
]  # fmt: skip


def value_of(function):
    return duals.scalar(function, "f", ["z"], ["z"])


def slope_of(function):
    return duals.derivative(function, "f", ["z", "a"], ["z"])


def test_translated_formula_gives_what_the_formula_gives(subtests):
    for function in FORMULAS:
        with subtests.test(function=function):
            translated = value_of(function).function
            assert [translated(z) for z in POINTS] == pytest.approx([float(function(z)) for z in POINTS], rel=1e-14)


def test_derivative_is_what_central_differences_say(subtests):
    for function in FORMULAS:
        with subtests.test(function=function):
            slope = slope_of(function).function
            numeric = [(float(function(z + 1e-6)) - float(function(z - 1e-6))) / 2e-6 for z in POINTS]
            assert [slope(z, math.nan) for z in POINTS] == pytest.approx(numeric, rel=1e-6, abs=1e-6)


def test_derivative_equals_the_one_worked_out_by_hand_to_all_digits():
    s = [1 / (1 + math.exp(-z)) for z in POINTS]
    assert [slope_of(swish).function(z, 0) for z in POINTS] == pytest.approx(
        [a + z * a * (1 - a) for z, a in zip(POINTS, s, strict=True)], rel=1e-13
    )


def test_derivative_of_a_loss_is_taken_by_the_output_not_by_the_target():
    def loss(z, t):
        return t * (z - t) ** 2

    assert duals.derivative(loss, "f", ["z", "t", "p"], ["z", "t"]).function(3.0, 2.0, math.nan) == 2 * 2 * (3 - 2)


def test_formula_without_z_has_the_derivative_0():
    def flat(z):
        return 3.5

    assert (value_of(flat).function(1.0), slope_of(flat).function(1.0, 2.0)) == (3.5, 0)


@pytest.mark.parametrize(("z", "expected"), [(-2.0, 0), (0.0, 0), (2.0, 1)])
def test_at_a_kink_beside_a_constant_the_derivative_is_that_of_the_constant(z, expected):
    def rectified(z):
        return max(0, z)

    def the_other_way_round(z):
        return max(z, 0)

    assert [slope_of(each).function(z, 0) for each in (rectified, the_other_way_round)] == [expected] * 2


@pytest.mark.parametrize(("z", "expected"), [(-2.0, -1), (0.0, 0), (2.0, 1)])
def test_derivative_of_abs_is_its_sign(z, expected):
    assert slope_of(lambda_free_abs).function(z, 0) == expected


def lambda_free_abs(z):
    return abs(z)


@pytest.mark.parametrize("function", [swish, kinks, conditional, lambda_free_abs, early_returns])
def test_nan_goes_in_and_nan_comes_out(function):
    assert math.isnan(value_of(function).function(math.nan))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_derivative_of_a_quotient_by_something_infinite_is_a_number(kind, subtests):
    for z in [-1e3, -100.0, -89.0, 89.0, 100.0, 1e3]:
        with subtests.test(z=z):
            slope = float(slope_of(swish).function(kind(z), kind(0)))
            assert slope == pytest.approx(0.0 if z < 0 else 1.0, abs=1e-30)


# --- what a translation refers to ----------------------------------------------------------------------------------------


def made(k):
    def scaled(z):
        return k * z

    return scaled


def test_numbers_from_closures_and_globals_become_part_of_the_text():
    assert "2.5" in value_of(made(2.5)).text
    assert value_of(made(2.5)).function(2.0) == 5
    assert value_of(made(2.5)).text != value_of(made(2.6)).text
    assert repr(SLOPE) in value_of(kinks).text


def test_text_does_not_depend_on_comments_and_names():
    def one(z):
        half = 0.5 * z  # a comment
        return half * math.exp(half)

    def other(x):
        y = 0.5 * x
        return y * np.exp(y)

    assert value_of(one).text == value_of(other).text
    assert duals.digest(value_of(one).text) == duals.digest(value_of(other).text)


def test_later_changes_of_a_global_do_not_reach_a_translation(monkeypatch):
    before = value_of(kinks).function
    expected = before(2.5)
    monkeypatch.setitem(globals(), "SLOPE", 100.0)
    assert before(2.5) == expected
    assert value_of(kinks).function(2.5) != expected


def test_constant_parts_are_computed_once():
    def normal(z):
        return math.sqrt(2 / math.pi) * math.exp(-0.5) * z

    assert value_of(normal).text.count("=") == 1
    assert value_of(normal).function(1.0) == pytest.approx(math.sqrt(2 / math.pi) * math.exp(-0.5), rel=1e-15)


# --- what is refused -----------------------------------------------------------------------------------------------------


def loops(z):
    while z > 1:
        z -= 1
    return z


def remainder(z):
    return z % 2


def unknown_name(z):
    return softplus(z)  # noqa: F821


def forgotten_import(z):
    return tan_h(z) + log(z)  # noqa: F821


def unknown_function(z):
    return math.gamma(z)


def text(z):
    return z + "1"


def not_a_number(z):
    return z * math.nan


def unset(z):
    if z > 0:
        y = z
    return y


def falls_off(z):
    if z > 0:
        return z


def returns_nothing(z):
    return


def endless(z):
    return endless(z)


def truth_of_a_number(z):
    return 1.0 if z else 0.0


def tuple_assignment(z):
    a, b = z, 1
    return a * b


def keyword_argument(z):
    return np.where(condition=z > 0, x=z, y=0)


def subscript(z):
    return [z, 1][0]


def attribute_of_an_object(z):
    return z * z.real


def too_many_arguments(z):
    return math.exp(z, 2)


NO_FORMULAS = [
    (loops, "loops, line {+1}: expected assignments to one name, if, and return, got while"),
    (remainder, "expected one of + - * / **, got z % 2"),
    (unknown_name, "expected a number or a function, got the unknown name softplus"),
    (forgotten_import, "got the unknown name tan_h"),
    (unknown_function, "or of a Python function made of these, got math.gamma(z)"),
    (text, "expected a number, got '1', which is a str"),
    (not_a_number, "expected a number, got math.nan, which is not a number"),
    (unset, "unset, line {+3}: expected y to be set on every way here"),
    (falls_off, "falls_off: expected a return at the end of every way through it"),
    (returns_nothing, "expected a number to be returned, got nothing"),
    (endless, "endless: expected no function that calls itself"),
    (truth_of_a_number, "expected a comparison such as z > 0, with and, or, not, got z"),
    (tuple_assignment, "expected assignments to one name, if, and return, got assign"),
    (keyword_argument, "expected plain arguments"),
    (subscript, "got [z, 1][0]"),
    (attribute_of_an_object, "got the unknown name z"),
    (too_many_arguments, "got math.exp(z, 2)"),
    (lambda z: z, "expected a function made by def, whose source can be read, got a lambda"),
    (math.exp, "expected a Python function of numbers"),
]


def test_what_cannot_be_translated_is_named_with_its_line(subtests):
    for function, message in NO_FORMULAS:
        with subtests.test(message=message):
            for line in range(1, 4):
                message = message.replace(f"{{+{line}}}", str(getattr(function, "__code__", loops.__code__).co_firstlineno + line))
            with pytest.raises(ConfigError) as caught:
                slope_of(function)
            assert message in str(caught.value)
            assert "\n" not in str(caught.value)


def test_calls_may_be_twenty_deep(tmp_path):
    each = ["def f1(z):\n    return 2 * z\n", *(f"def f{n}(z):\n    return f{n - 1}(z) + 1\n" for n in range(2, 22))]
    (tmp_path / "chain.py").write_text("\n\n".join(each))
    spec = importlib.util.spec_from_file_location("chain", tmp_path / "chain.py")
    chain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chain)
    assert value_of(chain.f20).function(1.5) == 22.0
    with pytest.raises(ConfigError, match="f1: expected no function that calls itself, got calls 20 deep"):
        value_of(chain.f21)


def test_a_known_function_that_was_not_imported_is_hinted_at():
    def forgetful(z):
        return log1p(z)  # noqa: F821

    with pytest.raises(ConfigError, match="unknown name log1p; import it, for example from math"):
        value_of(forgetful)


def test_a_function_without_a_file_is_refused():
    namespace = {}
    exec("def typed(z):\n    return z", namespace)  # noqa: S102  as an interactive prompt does it
    with pytest.raises(ConfigError, match="typed: expected a function whose source can be read, got one without a file"):
        value_of(namespace["typed"])
