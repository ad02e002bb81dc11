"""Other forms of a kernel: over threads, in pure Python, with a formula or a constant of its own.

parallel    the same source with `prange` over threads: `parallel(dense_forward)`
pure        the same source as pure Python, its callees included: `pure(dense_forward)`
"""

import functools
from typing import Any

import numba

from fastmlp.compilation.decorators import dispatcher, registered
from fastmlp.compilation.options import FASTMATH, JIT
from fastmlp.compilation.sources import SOURCES, Source, callees, copied, globals_of, twin_of


@functools.cache
def parallel(serial: Any) -> Any:
    """Return the form of a kernel in which `prange` runs over threads, for it and for every kernel that it calls."""
    if not JIT:
        return serial
    source = SOURCES[serial]
    replaced = callees(source.function, parallel)
    has_loop = "prange" in globals_of(source.function)
    if not has_loop and not replaced:
        return serial  # nothing in it runs over threads
    linked = copied(source.function, replaced, f"{source.function.__qualname__}_parallel")
    compiled = dispatcher(linked, source, serial, has_loop)
    SOURCES[compiled] = source
    return compiled


@functools.cache
def with_constant(serial: Any, name: str, value: Any) -> Any:
    """Return the form of a kernel in which a constant of its module has another value, for it and for every kernel that it calls."""
    source = SOURCES[serial] if JIT else Source(serial, FASTMATH)
    replaced = callees(source.function, lambda callee: with_constant(callee, name, value))
    if name in globals_of(source.function):
        replaced[name] = value
    if not replaced:
        return serial
    copy = copied(source.function, replaced, f"{source.function.__qualname__}_{name}_{value}")
    return registered(copy, source.fastmath, is_inner=source.is_inner, is_counted=source.is_counted)


@functools.cache
def pure(serial: Any) -> Any:
    """Return a kernel as pure Python all the way down: its callees are pure Python, too."""
    if not JIT:
        return serial
    function = SOURCES[serial].function
    replaced = callees(function, pure)
    for used in globals_of(function):
        value = function.__globals__.get(used)
        if value is numba.prange:
            replaced[used] = range
        elif (twin := twin_of(value)) is not None:
            replaced[used] = twin
    return copied(function, replaced, function.__qualname__)


def specialise(serial: Any, suffix: str, **replaced: Any) -> Any:
    """Return a kernel with some of its global names bound to other functions, for example a formula to apply.

    `suffix` tells this specialisation from others of the same source, in the cache, too.
    """
    if not JIT:
        return copied(serial, replaced, f"{serial.__qualname__}_{suffix}")
    source = SOURCES[serial]
    name = f"{source.function.__qualname__}_{suffix}"
    copy = copied(source.function, replaced, name)
    return registered(copy, source.fastmath, is_inner=source.is_inner, is_counted=source.is_counted)
