"""Elementary functions of compiled float64 formulas: how near they are to sums of 60 digits, and that they rise where formulas meet."""

import decimal
import math
from decimal import Decimal

import numpy as np

from fastmlp.kernels import elementary_64
from tests.kernels.test_elementary import applied, over_arrays

COUNT = 150  # arguments of each interval
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
G = np.random.default_rng(3)


def between(lowest, highest):
    return G.uniform(lowest, highest, COUNT)


def sizes(lowest, highest):
    """Return numbers of both signs and of every size between two powers of ten."""
    return 10.0 ** between(lowest, highest) * np.where(between(0, 1) < 0.5, -1, 1)


def summed(first, factor):
    """Return first + first factor(1) + first factor(1) factor(2) + …"""
    total, term, k = first, first, 0
    while total + term != total:
        k += 1
        term *= factor(k)
        total += term
    return total


def tanh(x):
    e = (2 * x).exp()
    return (e - 1) / (e + 1)


def erf(x):
    # Abramowitz and Stegun, 7.1.6: no term is negative
    return 2 / PI.sqrt() * (-x * x).exp() * summed(x, lambda k: 2 * x * x / (2 * k + 1))


def erfc(x):
    if x < 3:
        return 1 - erf(x)
    tail = x  # 7.1.14
    for k in range(300, 0, -1):
        tail = x + Decimal(k) / 2 / tail
    return (-x * x).exp() / PI.sqrt() / tail


def cos(x):
    return sin(x + PI / 2)


def sin(x):
    turns = (x / PI).to_integral_value()
    r = x - turns * PI
    value = summed(r, lambda k: -r * r / (2 * k * (2 * k + 1))) if r else r
    return -value if turns % 2 else value


EVERY_ANGLE = [between(-10, 10), between(-5e8, 5e8), sizes(-12, 0), np.pi / 2 * G.integers(1, 3 * 10**8, COUNT)]
# What each is held against, arguments, and the error that it states
CASES = {
    "exp": (Decimal.exp, [between(-708, 709.78), between(-1, 1)], 1.0),
    "expm1": (lambda x: x.exp() - 1, [between(-40, 709.78), between(-2, 2), sizes(-12, 0)], 1.7),
    "tanh": (tanh, [between(-20, 20), between(-1, 1), between(0.5, 0.6), sizes(-12, 0)], 2.3),
    "log": (Decimal.ln, [abs(sizes(-320, 308)), between(0.5, 2.5), 1 + sizes(-12, -1)], 1.0),
    "log1p": (lambda x: (1 + x).ln(), [abs(sizes(-12, 300)), between(-0.999, 3), sizes(-12, -1)], 1.0),
    "erf": (erf, [between(-6, 6), between(0.8, 1), sizes(-12, 0)], 1.2),
    "erfc": (erfc, [between(-6, 6), between(0, 26.5), between(0.7, 0.9), between(-1, -0.8), sizes(-12, 0)], 2.8),
    "sin": (sin, EVERY_ANGLE, 1.0),
    "cos": (cos, EVERY_ANGLE, 1.0),
}
COMPILED = {name: over_arrays(name) for name in CASES}


def errors(name):
    """Return the largest error of a function in each of its intervals, in units in the last place."""
    exact, intervals, _ = CASES[name]
    for x in intervals:
        found, expected = applied(COMPILED[name], x, np.float64).tolist(), map(exact, map(Decimal, x))
        yield max(float(abs(Decimal(y) - right) / Decimal(math.ulp(right))) for y, right in zip(found, expected, strict=True))


def test_no_error_is_larger_than_stated():
    with decimal.localcontext(prec=60):
        found = {name: max(errors(name)) for name in CASES}
    assert {name: error for name, error in found.items() if error >= CASES[name][2]} == {}


def test_functions_rise_where_their_formulas_meet():
    of_exp = [k * math.log(2) / 2 for k in range(-2040, 2040, 2)] + [(k + 0.5) * math.log(2) for k in range(-1070, 1020)]
    meeting = {
        "exp": of_exp,
        "expm1": of_exp + [elementary_64.TINY, elementary_64.EXPM1_LOWEST],
        "tanh": [elementary_64.TANH_SMALL, -elementary_64.TANH_SMALL, *(x / 2 for x in of_exp)],
        "log": [2.0**k * root for k in range(-1020, 1020) for root in (1.0, math.sqrt(0.5))] + [elementary_64.SMALLEST_NORMAL],
        "log1p": [2.0**k * root - 1 for k in range(-50, 1020) for root in (1.0, math.sqrt(0.5))],
        "erf": [elementary_64.ERF_SMALL, -elementary_64.ERF_SMALL],
        "erfc": [elementary_64.ERFC_SMALL, -elementary_64.ERF_SMALL, elementary_64.ERFC_HIGHEST],
    }
    falls = {}
    for name, places in meeting.items():
        places = np.array(places)
        # as far apart as eight times the error of the function lets values differ
        x = np.sort(places[:, None] + np.abs(places)[:, None] * np.arange(-8, 9) * 1e-14, axis=1)
        with np.errstate(all="ignore"):
            steps = np.diff(applied(COMPILED[name], x.reshape(-1), np.float64).reshape(x.shape), axis=1)
        falls[name] = places[((steps if name != "erfc" else -steps) < 0).any(axis=1)].tolist()
    assert falls == {name: [] for name in meeting}
