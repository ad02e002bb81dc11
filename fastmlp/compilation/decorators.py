"""What makes a kernel of a plain function: `kernel`, `entry`, `formula`.

    source      a plain Python function of kernels/: explicit loops, readable and runnable as it stands
    kernel      the source compiled by Numba: `dense_forward`
    formula     a scalar function of the textbook, in which a literal has the type of the argument
    entry       a function that other people's compiled code calls: it checks what it is given, and may raise

Its other forms are in forms.py; kernels that are called by their address, in calls.py.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import njit, types

from fastmlp.compilation import listing, supported
from fastmlp.compilation.concurrency import OverThreads
from fastmlp.compilation.formulas import FormulaCompiler
from fastmlp.compilation.levels import LevelCompiler
from fastmlp.compilation.machine_code import CompiledCode
from fastmlp.compilation.options import FASTMATH, FASTMATH_REASSOCIATE, JIT
from fastmlp.compilation.sources import SOURCES, Source
from fastmlp.compilation.waiting import timed
from fastmlp.errors import DataError

with supported.parts():
    from numba.core.errors import NumbaError
    from numba.core.registry import CPUDispatcher
    from numba.np.numpy_support import map_layout


def kernel(
    function: Callable[..., Any] | None = None, *, reassociate: bool = False, inlined: bool = False, inner: bool = False,
    counted: bool = False, spliced: bool = False,
) -> Any:  # fmt: skip
    """Compile a function of kernels/ as a serial kernel, on its first call; `prange` in it runs as `range`.

    `reassociate` allows sums to be added up in any order, which a dot product needs to be vectorised.
    `inlined` puts its code into each function that calls it. What is `inner` has no entry for Python, which takes a fifth of the time to
    compile, and does not count who holds its arrays, unless it is `counted`: it cannot return a view of them. What is `spliced` is text
    that its callers compile: it may be given formulas. With NUMBA_DISABLE_JIT=1 the function itself comes back.
    """
    if function is None:
        return functools.partial(kernel, reassociate=reassociate, inlined=inlined, inner=inner, counted=counted, spliced=spliced)
    fastmath = FASTMATH_REASSOCIATE if reassociate else FASTMATH
    return registered(function, fastmath, is_inlined=inlined, is_inner=inner, is_counted=counted or not inner, is_spliced=spliced)


def entry(function: Callable[..., Any]) -> Any:
    """Compile a function that other people call from their compiled code. It may raise and allocate, which a kernel may not."""
    return registered(function, FASTMATH)


def formula(function: Callable[..., Any]) -> Any:
    """Compile a scalar formula. A literal in it takes the type of the first argument, so that float32 stays float32."""
    return _formula(function) if JIT else function


@functools.cache
def _formula(function: Callable[..., Any]) -> Any:
    return registered(function, FASTMATH, is_formula=True, is_inner=True)


def registered(
    function: Callable[..., Any], fastmath: frozenset[str], is_formula: bool = False, is_inlined: bool = False, is_inner: bool = False,
    is_counted: bool = True, is_spliced: bool = False,
) -> Any:  # fmt: skip
    """Return a function as a kernel that knows its source; the function itself where nothing is compiled."""
    if not JIT:
        return function
    source = Source(function, fastmath, is_formula, is_inlined, is_inner, is_spliced, is_counted)
    compiled = dispatcher(function, source)
    SOURCES[compiled] = source
    return compiled


def dispatcher(function: Callable[..., Any], source: Source, serial: Any = None, has_loop: bool = False) -> Any:
    """Return what Numba makes of a function, told once: its options, and where its machine code is kept.

    Of a form that runs over threads, `serial` is the other one; it may have a loop over threads itself, or in what it calls alone.
    """
    options: dict[str, Any] = {"fastmath": set(source.fastmath), "error_model": "numpy", "nogil": True, "boundscheck": None}
    options["_nrt"] = source.is_counted  # said of each: what is left open is that of the first caller
    options["pipeline_class"] = LevelCompiler
    if source.is_inlined:
        options["forceinline"] = True
    if source.is_spliced:
        options["inline"] = "always"
    if source.is_inner:
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    if source.is_formula:
        options |= {"pipeline_class": FormulaCompiler, "forceinline": True}
    if has_loop:  # only what the source says with prange: array expressions stay as they are written
        others = ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion")
        options["parallel"] = {"prange": True} | dict.fromkeys(others, False)
    compiled = njit(**options)(function)
    if serial is not None:
        compiled.__class__ = OverThreads
        compiled.serial = serial
    elif source.is_inner:
        compiled.__class__ = Inner
    compiled._cache = CompiledCode(function)
    compiled.compile = functools.partial(timed, function.__qualname__, compiled.compile)
    compiled._compile_for_args = functools.partial(_for_arguments, function, compiled._compile_for_args)
    compiled.typeof_pyval = functools.partial(_type_of, compiled.typeof_pyval)
    return compiled


class Inner(CPUDispatcher):
    """A kernel that only compiled code calls: for Python, it has no machine code."""

    def __call__(self, *arguments: Any) -> Any:
        """Refuse to run."""
        raise TypeError(f"{self.__name__} is called by compiled code alone; forms.pure gives its form for Python")


def _for_arguments(function: Callable[..., Any], compile_for_args: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Compile for a call from Python; raise DataError, in one line, for arguments that the kernel cannot be compiled for."""
    if listing.is_on():
        return listing.add_call(compile_for_args.__self__, arguments)  # type: ignore[attr-defined]  # a bound method of the dispatcher
    try:
        return compile_for_args(*arguments, **named)
    except NumbaError:
        got = ", ".join(map(_told, arguments))
        raise DataError(f"{function.__qualname__}: expected {_expected(function)}; got {got}, for which it cannot be compiled") from None


def _type_of(of_numba: Callable[[Any], Any], value: Any) -> Any:
    """Return the type of an argument. Numba finds the same of an array, but imports NumPy's masked arrays to see whether it is one."""
    if type(value) is np.ndarray:
        return types.Array(numba.from_dtype(value.dtype), value.ndim, map_layout(value), readonly=not value.flags.writeable)
    if isinstance(value, tuple):
        return types.BaseTuple.from_types([_type_of(of_numba, each) for each in value], type(value))
    return of_numba(value)


def _expected(function: Callable[..., Any]) -> str:
    """Return what the documentation of a kernel says of the shapes of its arguments, by contract its second paragraph."""
    shapes = (inspect.getdoc(function) or "").split("\n\n")[1:2]
    names = ", ".join(inspect.signature(function).parameters)
    return " ".join(shapes[0].split()).partition(". ")[0].rstrip(".") if shapes else f"other types of {names}"


def _told(argument: Any) -> str:
    return f"{argument.dtype} {argument.shape}" if isinstance(argument, np.ndarray) else type(argument).__name__
