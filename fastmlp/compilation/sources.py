"""The plain functions that kernels are made from.

A form of a kernel is a copy of its function in which other things stand under some of the global names.
"""

import dis
import types as python_types
from collections.abc import Callable
from typing import Any, NamedTuple

from fastmlp.compilation import supported
from fastmlp.compilation.options import JIT

with supported.parts():
    from numba.core.dispatcher import Dispatcher

SOURCES: dict[Any, "Source"] = {}  # of each kernel
TWINS: dict[Any, Callable[..., Any]] = {}  # what only compiled code can do -> what pure Python does instead


class Source(NamedTuple):
    """What `kernel` was given: the plain function and how it wants to be compiled."""

    function: Callable[..., Any]
    fastmath: frozenset[str]
    is_formula: bool = False
    is_inlined: bool = False  # wherever it is called: where the arrays that it is given would be counted at each call
    is_inner: bool = False  # only compiled code calls it
    is_spliced: bool = False  # its text is put into each function that calls it, before types are known: it has no machine code of its own
    is_counted: bool = True  # it counts who holds the arrays that it is given: it hands out views of them


def callees(function: Any, transform: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the kernels that a function names, transformed; those that the transformation leaves as they are are left out."""
    replaced = {}
    for used in globals_of(function):
        value = function.__globals__.get(used)
        is_kernel = isinstance(value, Dispatcher) and value in SOURCES if JIT else isinstance(value, python_types.FunctionType)
        if is_kernel and (transformed := transform(value)) is not value:
            replaced[used] = transformed
    return replaced


def globals_of(function: Any) -> list[str]:
    """Return the global names that a function reads, each once; a field of a record may have the same name, and is none of them."""
    return list(dict.fromkeys(step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"))


def copied(function: Any, replaced: dict[str, Any], name: str) -> Any:
    """Return a copy of a function under another name, in which some global names stand for something else."""
    names = {**function.__globals__, **replaced}
    copy = python_types.FunctionType(function.__code__, names, name, function.__defaults__, function.__closure__)
    copy.__qualname__ = name
    copy.__module__ = function.__module__
    copy.__doc__ = function.__doc__
    return copy


def twin_of(value: Any) -> Any:
    """Return what pure Python does instead of something that only compiled code can do; None for anything else."""
    try:
        return TWINS.get(value)
    except TypeError:  # not hashable
        return None
