"""Elementary functions of formulas, as Python calls them and as vectorisable polynomials for float32.

    exp  exp_bounded  expm1  log  log1p  tanh  erf  erfc  sin  cos  sqrt  power

Interpreted formulas call the functions without a suffix, which take Python's precision and give inf where Python raises. Compiled float32
formulas get the polynomials (the C library's functions are called one number at a time, fifteen times slower: 102 us against 7 us
for 50 x 300 sigmoids); compiled float64 formulas get those of elementary_64.py. Of compiled code, only a power calls the C library.
"""

import math

import numpy as np

F = np.float32
LOG2_E = F(1.44269504088896341)
LN2_HIGH = F(0.693359375)  # ln 2 in two parts: the high one has few bits, so that n * LN2_HIGH is exact
LN2_LOW = F(-2.12194440e-4)
# Where they are reached, the exponent bits of 2^n say 0 and infinite, and so is e^x; from -87.68 to 88.37 they hold a normal number.
EXP_LOWEST, EXP_HIGHEST = F(-88), F(89)
ZERO, INFINITY = F(0), F(math.inf)
HIGHEST_BOUNDED, HIGHEST_BOUNDED_64 = F(80), 700.0
ROOT_OF_HALF = np.int32(0x3F3504F3)  # its bits
SMALLEST_NORMAL = F(2.0**-126)
TWO_BY_PI = 0.6366197723675814  # float64, as are the three parts of pi / 2: the first two have 23 bits, so that n times them is exact
HALF_PI_PARTS = (1.5707962512969971, 7.549789415861596e-08, 5.390302858158119e-15)
MOST_TURNS = 2.0**30


def exp(x: float) -> float:
    """Return e^x, inf where it is too large for a float."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def exp_bounded(x: float) -> float:
    """Return e^x, of at most e^700, of a float32 x at most e^80: quotients and products of it stay finite, as derivatives need it."""
    highest = HIGHEST_BOUNDED if isinstance(x, np.float32) else HIGHEST_BOUNDED_64
    return math.exp(highest if x > highest else x)


def tanh(x: float) -> float:
    """Return the hyperbolic tangent of x."""
    return math.tanh(x)


def log(x: float) -> float:
    """Return the natural logarithm of x: -inf of 0, NaN below 0."""
    if x > 0:
        return math.log(x)
    return -math.inf if x == 0 else math.nan


def expm1(x: float) -> float:
    """Return e^x - 1, to all digits where x is small; inf where it is too large for a float."""
    try:
        return math.expm1(x)
    except OverflowError:
        return math.inf


def log1p(x: float) -> float:
    """Return the natural logarithm of 1 + x, to all digits where x is small: -inf of -1, NaN below."""
    if x > -1:
        return math.log1p(x)
    return -math.inf if x == -1 else math.nan


def erf(x: float) -> float:
    """Return the error function of x."""
    return math.erf(x)


def erfc(x: float) -> float:
    """Return 1 - erf(x), to all digits where that is small."""
    return math.erfc(x)


def sin(x: float) -> float:
    """Return the sine of x, NaN of what is not finite."""
    return math.sin(x) if math.isfinite(x) else math.nan


def cos(x: float) -> float:
    """Return the cosine of x, NaN of what is not finite."""
    return math.cos(x) if math.isfinite(x) else math.nan


def sqrt(x: float) -> float:
    """Return the square root of x, NaN below 0."""
    return math.sqrt(x) if x >= 0 else math.nan


def power(x: float, y: float) -> float:
    """Return x^y: NaN of a negative x with a y that is not whole, inf where it is too large for a float, and of 0 with a negative y."""
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:
        return math.inf if x == 0 else math.nan


def exp_parts(x):
    """Return (q, 2^n) with e^x = (q + 1) 2^n, for a float32 x; 2^n is 0 below -87.68, infinite above 88.37.

    x = n ln 2 + r with |r| <= ln 2 / 2; q = e^r - 1 by a polynomial of degree 7, 2^n put into the exponent bits. A NaN stays one in q.
    Coefficients: S. L. Moshier, Cephes Mathematical Library, expf.
    """
    clamped = EXP_LOWEST if x < EXP_LOWEST else x  # not max and min, which drop a NaN
    clamped = EXP_HIGHEST if clamped > EXP_HIGHEST else clamped
    n = np.floor(clamped * LOG2_E + F(0.5))
    r = (clamped - n * LN2_HIGH) - n * LN2_LOW
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    return p * r * r + r, np.int32((np.int32(n) + 127) << 23).view(np.float32)


def exp_polynomial(x):
    """Return e^x for a float32 x, relative error below 1.2e-7; 0 below -87.68, infinite above 88.37."""
    q, power_of_two = exp_parts(x)
    return (q + F(1)) * power_of_two


def exp_bounded_polynomial(x):
    """Return e^x, of at most e^80, for a float32 x."""
    return exp_polynomial(HIGHEST_BOUNDED if x > HIGHEST_BOUNDED else x)


def expm1_polynomial(x):
    """Return e^x - 1 for a float32 x, relative error below 2e-7; -1 below -87.68, infinite above 88.37."""
    q, power_of_two = exp_parts(x)
    result = q * power_of_two + (power_of_two - F(1))  # the bracket is exact, or so large that it does not matter
    return power_of_two if power_of_two == INFINITY else result  # not a negative q times infinity, less infinity


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


def log1p_polynomial(x):
    """Return log(1 + x) for a float32 x, error below 2e-7 of it.

    log u of the rounded u = 1 + x, and what rounding lost: log(1 + x) = log u + (1 + x - u) / u. W. Kahan.
    """
    u = F(1) + x
    result = log_polynomial(u) + (x - (u - F(1))) / u
    result = x if x == INFINITY else result
    return -INFINITY if x == -F(1) else result


def erfc_polynomial(x):
    """Return 1 - erf x for a float32 x, relative error below 5e-7 up to x = 1, beyond below 6e-6 while it is above 1e-36.

    For x >= 0: e^(-x^2) w P(w) with w = 1 / (1 + x / 2), as in Numerical Recipes, section 6.2; below, 2 - erfc(-x). P fits
    scipy.special.erfcx to 4.3e-8.
    """
    magnitude = abs(x)
    w = F(1) / (F(1) + F(0.5) * magnitude)
    p = F(-5.909791964e-2)
    p = p * w + F(2.847165726e-1)
    p = p * w + F(-4.874938373e-1)
    p = p * w + F(2.784043498e-1)
    p = p * w + F(-2.685864577e-2)
    p = p * w + F(2.027857725e-1)
    p = p * w + F(2.430786740e-1)
    p = p * w + F(2.823787712e-1)
    p = p * w + F(2.820862195e-1)
    result = p * w * exp_polynomial(-(magnitude * magnitude))
    return F(2) - result if x < ZERO else result


def erf_polynomial(x):
    """Return erf x for a float32 x, relative error below 2e-7.

    Below 1 an odd polynomial, because 1 - erfc x would lose its digits there. It fits scipy.special.erf to 4e-8.
    """
    s = x * x
    p = F(-5.631418981e-4)
    p = p * s + F(4.917550609e-3)
    p = p * s + F(-2.671131059e-2)
    p = p * s + F(1.128018009e-1)
    p = p * s + F(-3.761232618e-1)
    p = p * s + F(1.28379122e-1)
    magnitude = abs(x)
    large = F(1) - erfc_polynomial(magnitude)
    return p * x + x if magnitude < F(1) else (large if x > ZERO else -large)


def quarter_turns(x):
    """Return (n, r) with x = n pi / 2 + r and |r| <= pi / 4, for a float32 x of at most 1.6e9.

    In float64, with pi / 2 in three parts (Cody and Waite 1980): what the difference loses is below the last digit of r.
    """
    wide = min(max(np.float64(x), -MOST_TURNS), MOST_TURNS)
    n = np.floor(wide * TWO_BY_PI + 0.5)
    r = ((wide - n * HALF_PI_PARTS[0]) - n * HALF_PI_PARTS[1]) - n * HALF_PI_PARTS[2]
    return np.int32(n), F(r)


def sine_of_turns(n, r):
    """Return sin(n pi / 2 + r) in float32, for |r| <= pi / 4. Coefficients: Cephes, sinf."""
    s = r * r
    p = F(-1.9515295891e-4)
    p = p * s + F(8.3321608736e-3)
    p = p * s + F(-1.6666654611e-1)
    sine = p * s * r + r
    q = F(2.443315711809948e-5)
    q = q * s + F(-1.388731625493765e-3)
    q = q * s + F(4.166664568298827e-2)
    cosine = q * s * s - F(0.5) * s + F(1)
    result = cosine if (n & np.int32(1)) != 0 else sine
    return -result if (n & np.int32(2)) != 0 else result


def sin_polynomial(x):
    """Return sin x for a float32 x, error below 1e-7; beyond 1e9, where neighbouring numbers lie 64 apart, a number of at most 1."""
    n, r = quarter_turns(x)
    result = sine_of_turns(n, r)
    return result if abs(x) < INFINITY else F(math.nan)


def cos_polynomial(x):
    """Return cos x for a float32 x, error below 1e-7; beyond 1e9, where neighbouring numbers lie 64 apart, a number of at most 1."""
    n, r = quarter_turns(x)
    result = sine_of_turns(np.int32(n + np.int32(1)), r)
    return result if abs(x) < INFINITY else F(math.nan)


HELPERS = (exp_parts, quarter_turns, sine_of_turns)
POLYNOMIALS = {
    "exp": exp_polynomial,
    "exp_bounded": exp_bounded_polynomial,
    "expm1": expm1_polynomial,
    "tanh": tanh_polynomial,
    "log": log_polynomial,
    "log1p": log1p_polynomial,
    "erfc": erfc_polynomial,
    "erf": erf_polynomial,
    "sin": sin_polynomial,
    "cos": cos_polynomial,
}
