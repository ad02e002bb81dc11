"""exp, log, sin, cos and powers by IEEE operations alone: how near they are, and that nothing on the way of a training goes past them."""

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
    "arccos", "cbrt", "hypot", "geomspace", "logspace", "dot", "vdot", "inner", "matmul", "einsum", "linalg",
}  # fmt: skip
ROOMS = ("data", "preprocessing", "network", "training")
KNOWN = {("fastmlp/network/duals.py", "power"), ("fastmlp/training/rates.py", "power")}  # formulas of users, run as Python; see there


def test_no_function_of_numpys_whose_bits_depend_on_the_processor_is_on_the_way_of_a_training():
    found = set()
    for module in modules():
        if module.path.split("/")[1] in ROOMS:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
                    if node.attr in BY_PROCESSOR | {"power"}:
                        found.add((module.path, node.attr))
                elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                    found.add((module.path, "@"))
    assert found == KNOWN
