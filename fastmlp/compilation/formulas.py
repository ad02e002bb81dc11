"""Formulas: their literals and elementary functions have the type of the argument."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import njit, types

from fastmlp.compilation import supported
from fastmlp.compilation.levels import LevelCompiler
from fastmlp.compilation.options import FASTMATH
from fastmlp.compilation.sources import copied
from fastmlp.kernels import elementary, elementary_64

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


# Each is put into what calls it: nobody needs an entry, for Python or for C.
_INLINED: dict[str, Any] = {
    "fastmath": set(FASTMATH), "error_model": "numpy", "forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
    "_nrt": False, "pipeline_class": LevelCompiler,
}  # fmt: skip


def _register_elementary(name: str, narrow: Callable[..., Any], wide: Callable[..., Any]) -> None:
    """Tell Numba how to compile one function of elementary.py, for float32 and for float64."""

    @overload(getattr(elementary, name), jit_options=_INLINED, inline="never")
    def _(x):
        return narrow if x == types.float32 else wide


def _linked(functions: Sequence[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return functions, by name, each of which calls the compiled forms of those before it."""
    found: dict[str, Callable[..., Any]] = {}
    compiled: dict[str, Any] = {}
    for function in functions:
        name = function.__name__
        found[name] = copied(function, compiled, name)
        compiled[name] = njit(**_INLINED)(found[name])
    return found


_narrow, _wide = _linked((*elementary.HELPERS, *elementary.POLYNOMIALS.values())), _linked(elementary_64.FUNCTIONS)
for _name, _polynomial in elementary.POLYNOMIALS.items():
    _register_elementary(_name, _narrow[_polynomial.__name__], _wide[_name])


# An instruction of the processor; calls of the C library in both types.
@overload(elementary.sqrt, inline="never")
def _sqrt(x):
    return lambda x: math.sqrt(x)


@overload(elementary.power, inline="never")
def _power(x, y):
    return lambda x, y: x**y
