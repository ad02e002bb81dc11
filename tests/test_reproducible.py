"""exp, log, sin, cos and powers by IEEE operations alone: how near they are, and that nothing on the way of a training goes past them.

That compiled code calls nothing else either: tests/kernels/test_symbols.py.
"""

import ast
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from fastmlp import reproducible
from tests.structure.sources import modules

GENERATOR = np.random.default_rng(0)
ANGLES = GENERATOR.uniform(-50.0, 50.0, 2000)
CASES = {
    "exp": (reproducible.exp, lambda x: Decimal(x).exp(), GENERATOR.uniform(-700.0, 700.0, 2000)),
    "log": (reproducible.log, lambda x: Decimal(x).ln(), np.exp(GENERATOR.uniform(-700.0, 700.0, 2000))),
    "log near 1": (reproducible.log, lambda x: Decimal(x).ln(), GENERATOR.uniform(0.5, 2.0, 2000)),
    "cos": (reproducible.cos, math.cos, ANGLES),
    "sin": (reproducible.sin, math.sin, ANGLES),
    "power": (lambda n: reproducible.power(0.999, n), lambda n: Decimal(0.999) ** Decimal(n), GENERATOR.uniform(0.0, 5000.0, 2000)),
}


@pytest.mark.parametrize("name", CASES)
def test_functions_are_right_to_the_last_digit_or_the_one_beside_it(name):
    function, exact, x = CASES[name]
    with localcontext() as context:
        context.prec = 40
        expected = np.array([float(exact(each)) for each in x.tolist()])
    assert (np.abs(function(x) - expected) <= np.spacing(np.abs(expected))).all()


def test_ends_of_what_can_be_told():
    nan, inf = math.nan, math.inf
    np.testing.assert_array_equal(reproducible.exp(np.array([nan, inf, -inf, 0.0, 1e3, -1e3])), [nan, inf, 0.0, 1.0, inf, 0.0])
    np.testing.assert_array_equal(reproducible.log(np.array([nan, inf, 0.0, -1.0, 1.0])), [nan, inf, -inf, nan, 0.0])
    np.testing.assert_array_equal(reproducible.cos(np.array([nan, inf, 0.0])), [nan, nan, 1.0])
    np.testing.assert_array_equal(reproducible.power(0.0, np.array([0.0, 2.0])), [1.0, 0.0])
    np.testing.assert_array_equal(reproducible.power(2.0, np.array([-3.0, 1e300, -1e300])), [0.125, inf, 0.0])


BY_PROCESSOR = {
    "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "logaddexp", "sin", "cos", "tan", "tanh", "sinh", "cosh", "arctan", "arcsin",
    "arccos", "cbrt", "hypot", "geomspace", "logspace", "dot", "vdot", "inner", "matmul", "einsum", "linalg", "power", "float_power", "pow",
    "erf", "erfc", "gamma", "lgamma", "asin", "acos", "atan", "atan2", "arctan2", "sinc", "fsum", "convolve", "correlate", "polyfit",
}  # fmt: skip
ROOMS = ("data", "preprocessing", "network", "training", "kernels")
KNOWN = {
    ("fastmlp/network/duals.py", "np.power"), ("fastmlp/network/duals.py", "math.pow"),  # names that a user's formula may have
    # the light on a photograph that is predicted: no training sees one, and its grey levels are rounded to bytes
    ("fastmlp/data/pictures.py", "np.linalg"), ("fastmlp/data/pictures.py", "@"),
    # what interpreted formulas call, in processes that compile nothing
    *(("fastmlp/kernels/elementary.py", f"math.{name}") for name in "exp tanh log expm1 log1p erf erfc sin cos pow".split()),
}  # fmt: skip


def by_processor(tree):
    """Yield the names of functions of NumPy and of the C library whose last bits depend on the processor or on a version."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy", "math", "scipy"):
            if node.attr in BY_PROCESSOR:
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("numpy", "math", "scipy"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name in BY_PROCESSOR)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            yield "@"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant):
            if isinstance(node.right.value, float) and not isinstance(node.left, ast.Constant):
                yield f"**{node.right.value}"


def test_no_function_whose_bits_depend_on_the_processor_is_on_the_way_of_a_training():
    assert {"np.exp", "math.log", "numpy.linalg", "@", "**0.5"} == {
        *by_processor(ast.parse("np.exp(x)\nmath.log(x)\nfrom numpy import linalg\na @ b\nx ** 0.5\n2.0 ** 0.5"))
    }
    found = {(each.path, name) for each in modules() if each.path.split("/")[1] in ROOMS for name in by_processor(each.tree)}
    assert found == KNOWN


def added_in_pairs(x):
    """Return the sum of x (n, ...) as NumPy says that it adds: in eight sums up to 128 numbers, and beyond by halves."""
    n = len(x)
    if n < 8:
        total = x[0]
        for each in x[1:]:
            total = total + each
        return total
    if n <= 128:
        eight = x[:8]
        for first in range(8, n - n % 8, 8):
            eight = eight + x[first : first + 8]
        total = ((eight[0] + eight[1]) + (eight[2] + eight[3])) + ((eight[4] + eight[5]) + (eight[6] + eight[7]))
        for each in x[n - n % 8 :]:
            total = total + each
        return total
    half = n // 2 - n // 2 % 8
    return added_in_pairs(x[:half]) + added_in_pairs(x[half:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_numpy_are_added_in_an_order_that_depends_on_the_shape_alone(dtype):
    # moments of columns, scores and losses of a training are sums of NumPy's
    x = np.random.default_rng(1).standard_normal((1000, 7)).astype(dtype)
    assert [n for n in range(1, 1001) if x[:n, 0].copy().sum() != added_in_pairs(x[:n, 0])] == []
    row_by_row = x[0].copy()
    for row in x[1:]:
        row_by_row += row
    np.testing.assert_array_equal(x.sum(axis=0), row_by_row)
