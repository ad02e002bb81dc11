"""Elementary functions of formulas: exp, tanh and log, as Python calls them and as vectorisable polynomials for float32.

Interpreted formulas call the functions without a suffix, which take Python's precision and give inf where Python raises. Compiled float32
formulas get the polynomials (the C library's functions are called one number at a time, fifteen times slower: 102 us against 7 us
for 50 x 300 sigmoids); compiled float64 formulas get the C library.
"""

import math

import numpy as np

F = np.float32
LOG2_E = F(1.44269504088896341)
LN2_HIGH = F(0.693359375)  # ln 2 in two parts: the high one has few bits, so that n * LN2_HIGH is exact
LN2_LOW = F(-2.12194440e-4)
# Within these the exponent bits of 2^n hold a normal number; beyond, e^x counts as 0 and as infinite.
EXP_LOWEST, EXP_HIGHEST = F(-87.3), F(88.37)
ZERO, INFINITY = F(0), F(math.inf)
ROOT_OF_HALF = np.int32(0x3F3504F3)  # its bits
SMALLEST_NORMAL = F(2.0**-126)


def exp(x: float) -> float:
    """Return e^x, inf where it is too large for a float."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def tanh(x: float) -> float:
    """Return the hyperbolic tangent of x."""
    return math.tanh(x)


def log(x: float) -> float:
    """Return the natural logarithm of x: -inf of 0, NaN below 0."""
    if x > 0:
        return math.log(x)
    return -math.inf if x == 0 else math.nan


def exp_polynomial(x):
    """Return e^x for a float32 x, relative error below 1.2e-7; 0 below -87.3, infinite above 88.37.

    x = n ln 2 + r with |r| <= ln 2 / 2; e^r by a polynomial of degree 7, times 2^n put into the exponent bits.
    Coefficients: S. L. Moshier, Cephes Mathematical Library, expf.
    """
    clamped = min(max(x, EXP_LOWEST), EXP_HIGHEST)
    n = np.floor(clamped * LOG2_E + F(0.5))
    r = (clamped - n * LN2_HIGH) - n * LN2_LOW
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    power_of_two = np.int32((np.int32(n) + 127) << 23).view(np.float32)
    result = (p * r * r + r + F(1)) * power_of_two
    result = INFINITY if x > EXP_HIGHEST else result
    result = ZERO if x < EXP_LOWEST else result
    return result if x == x else x  # min and max drop a NaN; the caller must see it


def tanh_polynomial(x):
    """Return tanh x for a float32 x, relative error below 3e-7.

    Below 0.625 an odd polynomial, because 1 - 2/(e^2x + 1) would lose its digits there. Coefficients: Cephes, tanhf.
    """
    magnitude = abs(x)
    large = F(1) - F(2) / (exp_polynomial(magnitude + magnitude) + F(1))
    s = x * x
    p = F(-5.70498872745e-3)
    p = p * s + F(2.06390887954e-2)
    p = p * s + F(-5.37397155531e-2)
    p = p * s + F(1.33314422036e-1)
    p = p * s + F(-3.33332819422e-1)
    small = p * s * x + x
    return small if magnitude < F(0.625) else (large if x > F(0) else -large)


def log_polynomial(x):
    """Return the natural logarithm of a float32 x, error below 2e-7 of it or of 1; of a number below 2^-126, which has lost digits, -inf.

    x = 2^n m with m between the roots of 1/2 and of 2; log m by a polynomial of degree 9. Coefficients: Cephes, logf.
    """
    bits = F(x).view(np.int32)
    n = np.int32((bits - ROOT_OF_HALF) >> 23)
    m = np.int32(bits - (n << 23)).view(np.float32) - F(1)
    p = F(7.0376836292e-2)
    p = p * m - F(1.1514610310e-1)
    p = p * m + F(1.1676998740e-1)
    p = p * m - F(1.2420140846e-1)
    p = p * m + F(1.4249322787e-1)
    p = p * m - F(1.6668057665e-1)
    p = p * m + F(2.0000714765e-1)
    p = p * m - F(2.4999993993e-1)
    p = p * m + F(3.3333331174e-1)
    s = m * m
    exponent = F(n)
    result = m + (p * m * s + exponent * LN2_LOW - F(0.5) * s) + exponent * LN2_HIGH
    result = x if x == INFINITY else result
    result = -INFINITY if x < SMALLEST_NORMAL else result
    return result if x >= ZERO else F(math.nan)


POLYNOMIALS = {"exp": exp_polynomial, "tanh": tanh_polynomial, "log": log_polynomial}
