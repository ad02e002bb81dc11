"""Elementary functions of a float64 number, of additions, multiplications and one or two divisions, in loops that become vectors.

elementary.py says which functions there are; these are what compiled float64 formulas get. The C library's would be called one number at a
time, and their last bits depend on its version. Errors are told in units in the last place (ulp) of what is right: the largest that were
met in a million arguments, rounded up.

The coefficients without a source are interpolations at Chebyshev's nodes, computed with 50 digits by mpmath.
"""

import math

import numpy as np

F = np.float64
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # ln 2; the first has 32 bits, so that n times it is exact
# Beyond them e^x is 0, or infinite.
EXP_LOWEST, EXP_HIGHEST, HIGHEST_BOUNDED = -746.0, 710.0, 700.0
EXPM1_LOWEST = -60.0  # e^x - 1 is -1 below
TINY = 2.0**-60  # e^x - 1 is x for a smaller one
UPPER_ROOT_OF_HALF = np.int32(0x3FE6A09E)  # the upper half of its bits
SMALLEST_NORMAL, TO_NORMAL, TO_NORMAL_EXPONENT = 2.0**-1022, 2.0**54, 54.0
TANH_SMALL = 0.55
ERF_SMALL, ERFC_SMALL, ERFC_HIGHEST = 0.9, 0.75, 28.0
SPLIT = 134217729.0  # 2^27 + 1
TWO_BY_PI = 0.6366197723675814
# pi / 2 in four parts, of which three have 24 bits: n times them is exact
HALF_PI_PARTS = (1.570796251296997, 7.549789415861596e-08, 5.390302529957765e-15, 3.2820035428735005e-22)
LARGEST_ANGLE = 2.0**29
INFINITY = math.inf


def two_to(n):
    """Return 2^n for a whole number from -1022 to 1023."""
    return np.int64((np.int64(n) + 1023) << 52).view(np.float64)


def scaled_by(x, n):
    """Return x 2^n for a whole number from -2044 to 2046: where 2^n is too large or too small for a number, the result need not be."""
    half = n >> 1
    return x * two_to(half) * two_to(n - half)


def exp_parts(x):
    """Return (q, n) with e^x = (q + 1) 2^n and -0.3 < q < 0.42, for an x that is taken to lie between EXP_LOWEST and EXP_HIGHEST.

    x = n ln 2 + r with |r| <= ln 2 / 2, and q = e^r - 1 by a polynomial of degree 12. A NaN stays one in q.
    """
    clamped = EXP_LOWEST if x < EXP_LOWEST else x  # not max and min, which drop a NaN
    clamped = EXP_HIGHEST if clamped > EXP_HIGHEST else clamped
    n = np.floor(clamped * LOG2_E + 0.5)
    high, low = clamped - n * LN2_HIGH, n * LN2_LOW
    r = high - low
    p = 2.0911236630261545e-09
    p = p * r + 2.510038549551032e-08
    p = p * r + 2.755728296954995e-07
    p = p * r + 2.7557268459997064e-06
    p = p * r + 2.4801587317144498e-05
    p = p * r + 0.00019841269863053618
    p = p * r + 0.0013888888888886552
    p = p * r + 0.008333333333330062
    p = p * r + 0.041666666666666664
    p = p * r + 0.16666666666666669
    return ((p * r + 0.5) * (r * r) - ((r - high) + low)) + r, np.int32(n)  # with what rounding took from r


def exp(x):
    """Return e^x; error below 1 ulp. What is smaller than a normal number is rounded once more."""
    q, n = exp_parts(x)
    return scaled_by(q + 1.0, n)


def exp_bounded(x):
    """Return e^x, of at most e^700."""
    return exp(HIGHEST_BOUNDED if x > HIGHEST_BOUNDED else x)


def expm1(x):
    """Return e^x - 1; error below 1.7 ulp."""
    q, n = exp_parts(EXPM1_LOWEST if x < EXPM1_LOWEST else x)
    half = two_to(n - 1)
    result = 2.0 * (q * half + (half - 0.5))
    return x if abs(x) < TINY else result


def tanh(x):
    """Return the hyperbolic tangent of x; error below 2.3 ulp.

    With t = e^(-2 |x|) - 1: -t / (2 + t), and for large |x|, whose digits that would lose, 1 - 2 (1 + t) / (2 + t).
    """
    magnitude = abs(x)
    t = expm1(-2.0 * magnitude)
    is_small = magnitude < TANH_SMALL
    quotient = (-t if is_small else 2.0 * (1.0 + t)) / (2.0 + t)
    result = quotient if is_small else 1.0 - quotient
    return result if x > 0.0 else -result


def log_of_sum(x, shift, rest):
    """Return log(x 2^shift) + rest for a normal number x > 0 and a rest that is small beside it.

    x = 2^n m with m between the roots of 1/2 and of 2. Coefficients: Sun Microsystems 1993, fdlibm 5.3, e_log.c.
    """
    bits = F(x).view(np.int64)
    n = np.int32((np.int32(bits >> 32) - UPPER_ROOT_OF_HALF) >> 20)
    f = np.int64(bits - (np.int64(n) << 52)).view(np.float64) - 1.0
    k = F(n) + shift
    s = f / (2.0 + f)
    z = s * s
    p = 1.479819860511658591e-01
    p = p * z + 1.531383769920937332e-01
    p = p * z + 1.818357216161805012e-01
    p = p * z + 2.222219843214978396e-01
    p = p * z + 2.857142874366239149e-01
    p = p * z + 3.999999999940941908e-01
    p = p * z + 6.666666666666735130e-01
    half_square = 0.5 * f * f
    return k * LN2_HIGH - ((half_square - (s * (half_square + p * z) + (k * LN2_LOW + rest))) - f)


def log(x):
    """Return the natural logarithm of x: -inf of 0, NaN below 0; error below 1 ulp."""
    is_small = x < SMALLEST_NORMAL
    result = log_of_sum(x * TO_NORMAL if is_small else x, -TO_NORMAL_EXPONENT if is_small else 0.0, 0.0)
    result = x if x == INFINITY else result
    result = -INFINITY if x == 0.0 else result
    return result if x >= 0.0 else math.nan


def log1p(x):
    """Return log(1 + x): -inf of -1, NaN below; error below 1 ulp.

    log u of the rounded u = 1 + x, and what rounding lost: log(1 + x) = log u + (1 + x - u) / u. W. Kahan.
    """
    u = 1.0 + x
    result = log_of_sum(u, 0.0, (x - (u - 1.0)) / u)
    result = x if x == INFINITY else result
    result = -INFINITY if x == -1.0 else result
    return result if x >= -1.0 else math.nan


def erf_near_zero(x):
    """Return erf x for |x| <= ERF_SMALL, by an odd polynomial of degree 23; error below 1 ulp."""
    s = x * x
    p = -8.762466320190046e-10
    p = p * s + 1.4168443589763207e-08
    p = p * s - 1.629846405704049e-07
    p = p * s + 1.6457645389714814e-06
    p = p * s - 1.4925458751687512e-05
    p = p * s + 0.00012055327686760576
    p = p * s - 0.0008548326932015906
    p = p * s + 0.005223977624519612
    p = p * s - 0.026866170645083454
    p = p * s + 0.11283791670955029
    p = p * s - 0.37612638903183754
    return (p * s + 0.1283791670955126) * x + x


def erfc_far_from_zero(magnitude):
    """Return 1 - erf x for an x of at least ERFC_SMALL.

    e^(-x^2) w P(t) with w = 1 / (x + 2) and t = (x - 2) / (x + 2), by a polynomial of degree 22: M. Shepherd and J. Laframboise 1981. What
    rounding takes from x^2, up to 300 ulp of the result, is computed and given back (T. Dekker 1971).
    """
    x = ERFC_HIGHEST if magnitude > ERFC_HIGHEST else magnitude
    above = x + 2.0
    w = 1.0 / above
    t = 1.0 - 4.0 * w
    p = -6.644102415116437e-08
    p = p * t + 1.6939055229011045e-07
    p = p * t + 1.9291373040683922e-07
    p = p * t - 4.828911824689484e-07
    p = p * t - 7.097009581460141e-07
    p = p * t + 1.583997460694267e-07
    p = p * t + 2.0509543436608018e-06
    p = p * t + 3.560037180509798e-06
    p = p * t - 1.1325955767061407e-06
    p = p * t - 1.6093579543034402e-05
    p = p * t - 2.1696991250072123e-05
    p = p * t + 3.414324313792081e-05
    p = p * t + 0.00014447121466819595
    p = p * t + 3.437217537854796e-05
    p = p * t - 0.0006630735805851488
    p = p * t - 0.0008372961212904236
    p = p * t + 0.0030906120649485344
    p = p * t + 0.006479185070346986
    p = p * t - 0.021510661889690173
    p = p * t - 0.036442231506932855
    p = p * t + 0.27947209255605737
    p = p * t - 0.6871606844138103
    p = p * t + 1.021582705242023
    product = x * SPLIT
    high = product - (product - x)  # 26 bits of x
    low = x - high
    square = x * x
    lost = ((high * high - square) + 2.0 * high * low) + low * low
    lost_above = x - (above - 2.0)
    q, n = exp_parts(-square)
    result = w * p
    return scaled_by(result + result * (q - (q + 1.0) * (lost + lost_above * w)), n)


def erf(x):
    """Return the error function of x; error below 1.2 ulp."""
    magnitude = abs(x)
    large = 1.0 - erfc_far_from_zero(magnitude)
    return erf_near_zero(x) if magnitude < ERF_SMALL else (large if x > 0.0 else -large)


def erfc(x):
    """Return 1 - erf(x), to all digits where that is small; error below 2.8 ulp."""
    magnitude = abs(x)
    far = erfc_far_from_zero(magnitude)
    far = 2.0 - far if x < 0.0 else far
    return 1.0 - erf_near_zero(x) if x < ERFC_SMALL and x > -ERF_SMALL else far


def quarter_turns(x):
    """Return (n, r, rest) with x = n pi / 2 + r + rest and |r| <= pi / 4, for |x| <= LARGEST_ANGLE.

    With pi / 2 in four parts (Cody and Waite 1980): the first two differences are exact, what the third loses is the rest.
    """
    wide = min(max(x, -LARGEST_ANGLE), LARGEST_ANGLE)
    n = np.floor(wide * TWO_BY_PI + 0.5)
    difference = (wide - n * HALF_PI_PARTS[0]) - n * HALF_PI_PARTS[1]
    product = n * HALF_PI_PARTS[2]
    high = difference - product
    low = ((difference - high) - product) - n * HALF_PI_PARTS[3]
    r = high + low
    return np.int32(n), r, (high - r) + low


def sine_of_turns(n, r, rest):
    """Return sin(n pi / 2 + r + rest) for |r| <= pi / 4. Coefficients: Sun Microsystems 1993, fdlibm 5.3, k_sin.c, k_cos.c."""
    z = r * r
    p = 1.58969099521155010221e-10
    p = p * z - 2.50507602534068634195e-08
    p = p * z + 2.75573137070700676789e-06
    p = p * z - 1.98412698298579493134e-04
    p = p * z + 8.33333333332248946124e-03
    cube = z * r
    sine = r - ((z * (0.5 * rest - cube * p) - rest) + cube * 1.66666666666666324348e-01)
    q = -1.13596475577881948265e-11
    q = q * z + 2.08757232129817482790e-09
    q = q * z - 2.75573143513906633035e-07
    q = q * z + 2.48015872894767294178e-05
    q = q * z - 1.38888888888741095749e-03
    q = q * z + 4.16666666666666019037e-02
    half = 0.5 * z
    rounded = 1.0 - half
    cosine = rounded + (((1.0 - rounded) - half) + (z * (z * q) - r * rest))
    result = cosine if (n & np.int32(1)) != 0 else sine
    return -result if (n & np.int32(2)) != 0 else result


def sin(x):
    """Return the sine of x; error below 1 ulp up to 5e8, beyond a number of at most 1."""
    n, r, rest = quarter_turns(x)
    result = sine_of_turns(n, r, rest)
    return result if abs(x) < INFINITY else math.nan


def cos(x):
    """Return the cosine of x; error below 1 ulp up to 5e8, beyond a number of at most 1."""
    n, r, rest = quarter_turns(x)
    result = sine_of_turns(np.int32(n + np.int32(1)), r, rest)
    return result if abs(x) < INFINITY else math.nan


# Each after those that it calls.
FUNCTIONS = (
    two_to, scaled_by, exp_parts, exp, exp_bounded, expm1, tanh, log_of_sum, log, log1p, erf_near_zero, erfc_far_from_zero, erf, erfc,
    quarter_turns, sine_of_turns, sin, cos,
)  # fmt: skip
