"""Formulas: their literals and elementary functions have the type of the argument."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types

from fastmlp.compilation import supported
from fastmlp.compilation.levels import LevelCompiler
from fastmlp.compilation.options import FASTMATH
from fastmlp.compilation.sources import copied
from fastmlp.kernels import elementary

with supported.parts():
    from numba.core import ir
    from numba.core.compiler_machinery import FunctionPass, register_pass
    from numba.core.errors import NumbaTypeError
    from numba.core.untyped_passes import IRProcessing
    from numba.extending import overload


@register_pass(mutates_CFG=False, analysis_only=False)
class _LiteralsLikeArguments(FunctionPass):
    """Give every number literal the type of the first argument: `1 / (1 + exp(-z))` stays float32 for a float32 z.

    Numba types a literal 1 as int64, and int64 with float32 makes float64: twice the width, half the speed, other bits.
    """

    _name = "fastmlp_literals_like_arguments"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        cast = {types.float32: np.float32, types.float64: np.float64}.get(state.args[0])
        if cast is None:
            raise NumbaTypeError(f"expected a formula of float32 or float64, got {state.args[0]}")
        changed = False
        for block in state.func_ir.blocks.values():
            for statement in block.body:
                if not isinstance(statement, ir.Assign) or not isinstance(statement.value, ir.Const):
                    continue
                literal = statement.value.value
                if type(literal) in (int, float):
                    statement.value = ir.FreeVar(0, "literal", cast(literal), statement.loc)
                    changed = True
        return changed


class FormulaCompiler(LevelCompiler):
    """The same with literals typed like the argument."""

    def define_pipelines(self) -> list[Any]:
        """Add the pass for literals."""
        (passes,) = super().define_pipelines()
        passes.add_pass_after(_LiteralsLikeArguments, IRProcessing)
        passes.finalize()
        return [passes]


_POLYNOMIALS: dict[str, Any] = {}


def _register_elementary(name: str) -> None:
    """Tell Numba how to compile one function of elementary.py: by polynomial in float32, by the C library in float64."""
    polynomial = _polynomial(elementary.POLYNOMIALS[name])
    library = getattr(math, name, None) or _polynomial(elementary.LIBRARY[name])

    @overload(getattr(elementary, name), jit_options={"fastmath": set(FASTMATH), "forceinline": True}, inline="never")
    def _(x):
        if x == types.float32:
            return lambda x: polynomial(x)
        return lambda x: library(x)


def _polynomial(function: Callable[..., Any]) -> Any:
    """Return a function of elementary.py compiled, for itself and for those after it that use it."""
    source = copied(function, _POLYNOMIALS, function.__name__)
    options = {"fastmath": set(FASTMATH), "error_model": "numpy", "forceinline": True, "pipeline_class": LevelCompiler}
    _POLYNOMIALS[function.__name__] = compiled = njit(**options)(source)
    return compiled


for _helper in elementary.HELPERS:
    _polynomial(_helper)
for _name in elementary.POLYNOMIALS:
    _register_elementary(_name)


# Instructions of the processor, or calls of the C library in both types.
@overload(elementary.sqrt, inline="never")
def _sqrt(x):
    return lambda x: math.sqrt(x)


@overload(elementary.power, inline="never")
def _power(x, y):
    return lambda x, y: x**y
