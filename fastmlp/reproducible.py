"""exp, log, sin, cos and powers of float64 arrays with the same bits on every processor.

NumPy's own, and the C library's, have code for each kind of processor, whose last bits differ. These consist of additions, multiplications,
divisions and shifts of exponents, one by one: IEEE 754 says the bits of each. The formulas and their coefficients are those of fdlibm
5.3 (Sun Microsystems 1993: e_log.c, k_sin.c, k_cos.c), whose errors are below 1 ulp, and a table of powers of two for exp.
"""

import decimal
import functools
import math

import numpy as np

Array = np.ndarray
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # ln 2; the first has 32 bits, so that k times it is exact
PER_LN2 = 1.44269504088896338700
# pi / 2 in three parts: of the first two, a few times each is exact
HALF_PI_PARTS = (1.57079632673412561417, 6.07710050630396597660e-11, 2.02226624879595063154e-21)
PER_HALF_PI = 6.36619772367581382433e-01
EXP_LOWEST, EXP_HIGHEST = -746.0, 710.0  # beyond them e^x is 0, or infinite
PARTS = 32  # of a power of two, a power of two
MOST_TURNS = 2.0**20  # of a quarter, up to which an angle may go
DIGITS = 40


def exp(x: Array) -> Array:
    """Return e^x; 0 and infinity where it is too small or too large, NaN of a NaN."""
    return _exp_of_sum(np.asarray(x, np.float64), 0.0)


def _exp_of_sum(x: Array, rest: Array | float) -> Array:
    """Return e^(x + rest) of a rest that is small beside the last digit of x, or beside 1.

    x + rest = k ln 2 / PARTS + r with a small r, and e^x = 2^(k / PARTS) (1 + (e^r - 1)): Tang 1989, "Table-driven implementation of the
    exponential function". The error is little more than that of one rounding.
    """
    is_number = ~np.isnan(x)
    bounded = np.clip(np.where(is_number, x, 0.0), EXP_LOWEST, EXP_HIGHEST)
    k = np.rint(bounded * (PARTS * PER_LN2))
    high, low = bounded - k * (LN2_HIGH / PARTS), k * (LN2_LOW / PARTS) - rest
    r = high - low
    q = r * (1.0 / 5040.0) + 1.0 / 720.0
    for factorial in (120.0, 24.0, 6.0, 2.0):
        q = r * q + 1.0 / factorial
    q = (r * r * q - ((r - high) + low)) + r  # e^r - 1
    whole, part = np.divmod(k.astype(np.int64), PARTS)
    of_part, beyond = _roots()
    root = of_part[part]
    with np.errstate(over="ignore", under="ignore"):
        found = np.ldexp(root + (root * q + beyond[part]), whole)
    return np.where(is_number, found, x)


@functools.cache
def _roots() -> tuple[Array, Array]:
    """Return 2^(j / PARTS) for the parts j (PARTS,), and what their roundings have lost."""
    with decimal.localcontext() as context:
        context.prec = DIGITS
        exact = [decimal.Decimal(2) ** (decimal.Decimal(j) / PARTS) for j in range(PARTS)]
        high = [float(each) for each in exact]
        return np.array(high), np.array([float(each - decimal.Decimal(near)) for each, near in zip(exact, high, strict=True)])


def log(x: Array) -> Array:
    """Return the natural logarithm of x: -infinity of 0, NaN below and of a NaN."""
    x = np.asarray(x, np.float64)
    is_plain = (x > 0.0) & (x < math.inf)
    m, k = np.frexp(np.where(is_plain, x, 1.0))  # m in [1/2, 1)
    is_small = m < math.sqrt(0.5)
    f, k = np.where(is_small, m + m, m) - 1.0, np.where(is_small, k - 1, k).astype(np.float64)
    s = f / (2.0 + f)
    z = s * s
    p = z * 1.479819860511658591e-01 + 1.531383769920937332e-01
    p = z * p + 1.818357216161805012e-01
    p = z * p + 2.222219843214978396e-01
    p = z * p + 2.857142874366239149e-01
    p = z * p + 3.999999999940941908e-01
    p = z * p + 6.666666666666735130e-01
    half_square = 0.5 * f * f
    found = k * LN2_HIGH - ((half_square - (s * (half_square + z * p) + k * LN2_LOW)) - f)
    beyond = np.where(x == 0.0, -math.inf, np.where(x > 0.0, math.inf, math.nan))
    return np.where(is_plain, found, beyond)


def cos(x: Array) -> Array:
    """Return the cosine of x, of at most some hundred thousand turns; NaN of what is not finite, and beyond."""
    return _of_turns(x, 1)


def sin(x: Array) -> Array:
    """Return the sine of x, of at most some hundred thousand turns; NaN of what is not finite, and beyond."""
    return _of_turns(x, 0)


def _of_turns(x: Array, quarters: int) -> Array:
    """Return the sine of x + quarters pi / 2."""
    x = np.asarray(x, np.float64)
    is_plain = np.abs(x) * PER_HALF_PI <= MOST_TURNS  # not of a NaN
    angle = np.where(is_plain, x, 0.0)
    turns = np.rint(angle * PER_HALF_PI)
    first, second, third = HALF_PI_PARTS
    rest = angle - turns * first
    part = turns * second
    r = rest - part
    low = ((rest - r) - part) - turns * third
    high = r + low
    low = (r - high) + low
    quarter = (turns.astype(np.int64) + quarters) % 4
    found = np.where(quarter % 2 == 1, _cosine(high, low), _sine(high, low))
    return np.where(is_plain, np.where(quarter >= 2, -found, found), math.nan)


def _sine(x: Array, low: Array) -> Array:
    """Return sin(x + low) for |x| <= pi / 4 and a low that is small beside the last digit of x."""
    z = x * x
    p = z * 1.58969099521155010221e-10 - 2.50507602534068634195e-08
    p = z * p + 2.75573137070700676789e-06
    p = z * p - 1.98412698298579493134e-04
    p = z * p + 8.33333333332248946124e-03
    cube = z * x
    found: Array = x - ((z * (0.5 * low - cube * p) - low) + cube * 1.66666666666666324348e-01)
    return found


def _cosine(x: Array, low: Array) -> Array:
    """Return cos(x + low) for the same."""
    z = x * x
    p = z * -1.13596475577881948265e-11 + 2.08757232129817482790e-09
    p = z * p - 2.75573143513906633035e-07
    p = z * p + 2.48015872894767294178e-05
    p = z * p - 1.38888888888741095749e-03
    p = z * p + 4.16666666666666019037e-02
    half = 0.5 * z
    rounded = 1.0 - half
    found: Array = rounded + (((1.0 - rounded) - half) + (z * (z * p) - x * low))
    return found


def power(base: float, exponents: Array | float) -> Array:
    """Return base^exponents of a base of at least 0, and of finite exponents: 0^0 is 1."""
    exponents = np.asarray(exponents, np.float64)
    if base == 0.0:
        return np.where(exponents == 0.0, 1.0, np.where(exponents > 0.0, 0.0, math.inf))
    high, low = _log_in_parts(base)
    product = exponents * high
    # what that product has lost (Dekker 1971): 0 where it is too large to matter
    (a, b), (c, d) = _halves(exponents), _halves(np.asarray(high))
    with np.errstate(invalid="ignore"):
        lost = ((a * c - product) + a * d + b * c) + b * d
        rest = np.where(np.abs(product) < -EXP_LOWEST, lost + exponents * low, 0.0)
    return _exp_of_sum(product, rest)


def _halves(x: Array) -> tuple[Array, Array]:
    """Return two numbers of 26 bits whose sum is x."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = x * 134217729.0  # 2^27 + 1
        high = scaled - (scaled - x)
    return high, x - high


@functools.lru_cache(maxsize=64)
def _log_in_parts(base: float) -> tuple[float, float]:
    """Return the natural logarithm of a number above 0 as the sum of two."""
    with decimal.localcontext() as context:
        context.prec = DIGITS
        exact = decimal.Decimal(base).ln()
        high = float(exact)
        return high, float(exact - decimal.Decimal(high))
