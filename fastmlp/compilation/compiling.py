"""How kernels are compiled, kept and found again. The only place that names Numba's options, its passes and its cache.

    source      a plain Python function of kernels/: explicit loops, readable and runnable as it stands
    kernel      the source compiled by Numba: `dense_forward`
    parallel    the same source with `prange` over threads: `parallel(dense_forward)`
    pure        the same source as pure Python, its callees included: `pure(dense_forward)`
    formula     a scalar function of the textbook, in which a literal has the type of the argument
    block       a kernel that compiled code calls by address, so that no combination of blocks is ever compiled
    entry       a function that other people's compiled code calls: it checks what it is given, and may raise

May not know what a layer, a network or a file format is.
"""

import contextlib
import dis
import functools
import hashlib
import inspect
import json
import math
import os
import pickle  # Numba keeps machine code as a pickle; only this file reads one, and only as code_cache.py allows
import sys
import threading
import time
import types as python_types
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba import njit, types

from fastmlp import machine
from fastmlp.compilation import code_cache, shipped, supported
from fastmlp.errors import DataError, NotEnoughMemory
from fastmlp.kernels import elementary

try:
    from numba.core import cgutils, compiler, config, ir, serialize
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.compiler_machinery import FunctionPass, register_pass
    from numba.core.dispatcher import Dispatcher
    from numba.core.errors import NumbaError, NumbaTypeError
    from numba.core.registry import CPUDispatcher, cpu_target
    from numba.core.runtime import _nrt_python
    from numba.core.untyped_passes import IRProcessing
    from numba.extending import intrinsic, overload
    from numba.np.numpy_support import map_layout

    from fastmlp.compilation import levels
except ImportError as error:
    if "cannot import name" in str(error) or isinstance(error, ModuleNotFoundError):
        raise supported.unsupported(error) from error
    raise  # a library that cannot be loaded

# Without nnan and ninf: a NaN must be seen. Without reassoc: additions stay in the order of the source, so that the serial
# and the parallel form of a kernel give the same bits.
FASTMATH = frozenset({"contract", "nsz", "arcp"})
# For sums whose order is free; a kernel asks for it by name.
FASTMATH_REASSOCIATE = FASTMATH | {"reassoc"}

JIT = not config.DISABLE_JIT
_SOURCES: dict[Any, "Source"] = {}


class Source(NamedTuple):
    """What `kernel` was given: the plain function and how it wants to be compiled."""

    function: Callable[..., Any]
    fastmath: frozenset[str]
    is_formula: bool = False
    is_inlined: bool = False  # wherever it is called: where the arrays that it is given would be counted at each call
    is_inner: bool = False  # only compiled code calls it
    is_spliced: bool = False  # its text is put into each function that calls it, before types are known: it has no machine code of its own
    is_counted: bool = True  # it counts who holds the arrays that it is given: it hands out views of them


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
    return _register(function, fastmath, is_inlined=inlined, is_inner=inner, is_counted=counted or not inner, is_spliced=spliced)


def entry(function: Callable[..., Any]) -> Any:
    """Compile a function that other people call from their compiled code. It may raise and allocate, which a kernel may not."""
    return _register(function, FASTMATH)


def formula(function: Callable[..., Any]) -> Any:
    """Compile a scalar formula. A literal in it takes the type of the first argument, so that float32 stays float32."""
    return _formula(function) if JIT else function


@functools.cache
def _formula(function: Callable[..., Any]) -> Any:
    return _register(function, FASTMATH, is_formula=True, is_inner=True)


@functools.cache
def parallel(serial: Any) -> Any:
    """Return the form of a kernel in which `prange` runs over threads, for it and for every kernel that it calls."""
    if not JIT:
        return serial
    source = _SOURCES[serial]
    replaced = _callees(source.function, parallel)
    has_loop = "prange" in _globals_of(source.function)
    if not has_loop and not replaced:
        return serial  # nothing in it runs over threads
    linked = _copy(source.function, replaced, f"{source.function.__qualname__}_parallel")
    compiled = _dispatcher(linked, source, has_loop)
    compiled.__class__ = OverThreads
    compiled.serial = serial
    _SOURCES[compiled] = source
    return compiled


@functools.cache
def with_constant(serial: Any, name: str, value: Any) -> Any:
    """Return the form of a kernel in which a constant of its module has another value, for it and for every kernel that it calls."""
    source = _SOURCES[serial] if JIT else Source(serial, FASTMATH)
    replaced = _callees(source.function, lambda callee: with_constant(callee, name, value))
    if name in _globals_of(source.function):
        replaced[name] = value
    if not replaced:
        return serial
    copy = _copy(source.function, replaced, f"{source.function.__qualname__}_{name}_{value}")
    return _register(copy, source.fastmath, is_inner=source.is_inner, is_counted=source.is_counted)


@functools.cache
def pure(serial: Any) -> Any:
    """Return a kernel as pure Python all the way down: its callees are pure Python, too."""
    if not JIT:
        return serial
    function = _SOURCES[serial].function
    replaced = _callees(function, pure)
    for used in _globals_of(function):
        value = function.__globals__.get(used)
        if value is numba.prange:
            replaced[used] = range
        elif _is_block_call(value):
            replaced[used] = _BLOCK_CALLS[value]
    return _copy(function, replaced, function.__qualname__)


def specialise(serial: Any, suffix: str, **replaced: Any) -> Any:
    """Return a kernel with some of its global names bound to other functions, for example a formula to apply.

    `suffix` tells this specialisation from others of the same source, in the cache, too.
    """
    if not JIT:
        return _copy(serial, replaced, f"{serial.__qualname__}_{suffix}")
    source = _SOURCES[serial]
    name = f"{source.function.__qualname__}_{suffix}"
    copy = _copy(source.function, replaced, name)
    return _register(copy, source.fastmath, is_inner=source.is_inner, is_counted=source.is_counted)


def _register(
    function: Callable[..., Any], fastmath: frozenset[str], is_formula: bool = False, is_inlined: bool = False, is_inner: bool = False,
    is_counted: bool = True, is_spliced: bool = False,
) -> Any:  # fmt: skip
    if not JIT:
        return function
    source = Source(function, fastmath, is_formula, is_inlined, is_inner, is_spliced, is_counted)
    compiled = _dispatcher(function, source)
    _SOURCES[compiled] = source
    return compiled


def _dispatcher(function: Callable[..., Any], source: Source, parallel: bool = False) -> Any:
    options: dict[str, Any] = {"fastmath": set(source.fastmath), "error_model": "numpy", "nogil": True, "boundscheck": None}
    options["_nrt"] = source.is_counted  # said of each: what is left open is that of the first caller
    options["pipeline_class"] = _Compiler
    if source.is_inlined:
        options["forceinline"] = True
    if source.is_spliced:
        options["inline"] = "always"
    if source.is_inner:
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    if source.is_formula:
        options |= {"pipeline_class": _FormulaCompiler, "forceinline": True}
    if parallel:  # only what the source says with prange: array expressions stay as they are written
        others = ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion")
        options["parallel"] = {"prange": True} | dict.fromkeys(others, False)
    compiled = njit(**options)(function)
    if source.is_inner:
        compiled.__class__ = Inner
    compiled._cache = CompiledCode(function)
    compiled.compile = functools.partial(_timed, function.__qualname__, compiled.compile)
    compiled._compile_for_args = functools.partial(_for_arguments, function, compiled._compile_for_args)
    compiled.typeof_pyval = functools.partial(_type_of, compiled.typeof_pyval)
    return compiled


class NothingNew(Exception):
    """Kernels are listed, and none was new for a long time."""


class Inner(CPUDispatcher):
    """A kernel that only compiled code calls: for Python, it has no machine code."""

    def __call__(self, *arguments: Any) -> Any:
        """Refuse to run."""
        raise TypeError(f"{self.__name__} is called by compiled code alone; compiling.pure gives its form for Python")


def _for_arguments(function: Callable[..., Any], compile_for_args: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Compile for a call from Python; raise DataError, in one line, for arguments that the kernel cannot be compiled for."""
    global _in_vain
    if _listing is not None:
        dispatcher = compile_for_args.__self__  # type: ignore[attr-defined]  # a bound method of it
        key = (dispatcher, *map(_kind, arguments))
        if key in _listed_kinds:
            _in_vain += 1
            if _in_vain > _most_in_vain:
                raise NothingNew
        else:
            _in_vain = 0
            _listed_kinds.add(key)
            _listing.append(Needed(dispatcher, tuple(map(dispatcher.typeof_pyval, arguments))))
        return _do_nothing
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


def _callees(function: Any, transform: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the kernels that a function names, transformed; those that the transformation leaves as they are are left out."""
    replaced = {}
    for used in _globals_of(function):
        value = function.__globals__.get(used)
        is_kernel = isinstance(value, Dispatcher) and value in _SOURCES if JIT else isinstance(value, python_types.FunctionType)
        if is_kernel and (transformed := transform(value)) is not value:
            replaced[used] = transformed
    return replaced


def _globals_of(function: Any) -> list[str]:
    """Return the global names that a function reads, each once; a field of a record may have the same name, and is none of them."""
    return list(dict.fromkeys(step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"))


def _copy(function: Any, replaced: dict[str, Any], name: str) -> Any:
    names = {**function.__globals__, **replaced}
    copy = python_types.FunctionType(function.__code__, names, name, function.__defaults__, function.__closure__)
    copy.__qualname__ = name
    copy.__module__ = function.__module__
    copy.__doc__ = function.__doc__
    return copy


# --- code for a level of the processor -----------------------------------------------------------------------------------


class _Library(JITCodeLibrary):
    """Functions that are compiled for the level of levels.target, those of Numba's that they call included."""

    _final_module: Any

    def _optimize_final_module(self) -> None:
        module = llvmlite.binding.parse_assembly(levels.target().applied(str(self._final_module)))
        module.name = self._final_module.name
        self._final_module = module
        super()._optimize_final_module()


class _Compiler(compiler.Compiler):
    """Numba's usual pipeline for a level of the processor, where it has one."""

    def define_pipelines(self) -> list[Any]:
        if levels.target().is_level:
            self.state.library = _Library(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
            self.state.library.enable_object_caching()
        pipelines: list[Any] = super().define_pipelines()
        return pipelines


# --- formulas: literals and elementary functions in the type of the argument ---------------------------------------------


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


class _FormulaCompiler(_Compiler):
    """The same with literals typed like the argument."""

    def define_pipelines(self) -> list[Any]:
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
    source = _copy(function, _POLYNOMIALS, function.__name__)
    options = {"fastmath": set(FASTMATH), "error_model": "numpy", "forceinline": True, "pipeline_class": _Compiler}
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


# --- records -------------------------------------------------------------------------------------------------------------


def record(whole: str, real: str = "") -> np.dtype[Any]:
    """Return the type of a record with fields of whole numbers and of real ones: `layer.n_in`, in compiled code and in Python."""
    fields = [(name, np.int64) for name in whole.split()] + [(name, np.float64) for name in real.split()]
    return np.dtype((np.record, np.dtype(fields, align=True)))


@functools.cache
def record_type(kind: np.dtype[Any]) -> Any:
    """Return how compiled code types a record."""
    return numba.from_dtype(kind)


def filled(kind: np.dtype[Any], rows: Sequence[Any]) -> np.ndarray:
    """Return records of a kind from the fields of each, {name: number}, or from lists of these; fields that are not told are 0."""
    blank = dict.fromkeys(kind.names or (), 0)

    def numbers(row: Any) -> Any:
        return tuple((blank | row).values()) if isinstance(row, dict) else [numbers(each) for each in row]

    return np.array(numbers(rows), kind)


# --- blocks: called by address -------------------------------------------------------------------------------------------

_BLOCKS: dict[int, Any] = {}  # address -> block, for callers that run interpreted: those get its pure-Python form
_ALIVE: dict[Any, int] = {}  # (block, signature, interpreted) -> address; holds the machine code in memory
_BLOCK_CALLS: dict[Any, Callable[..., Any]] = {}  # what only compiled code can do -> what pure Python does instead
LIKE_FIRST = object()  # a block returns what its first argument is


def address(block: Any, *signature: Any, interpreted: bool = False) -> int:
    """Return the address of a block, compiled for argument types; where `interpreted`, a number good for pure Python only.

    The address is good for `block_call` in compiled code, and for its pure-Python form; it lives as long as this process.
    """
    if _listing is not None:
        _listing.append(Needed(block, signature))
        return 0
    key = (block, signature, interpreted)
    with global_compiler_lock:  # two threads must not give one number to two blocks
        if key not in _ALIVE:
            if JIT and not interpreted:
                found = _address_of(block, signature)
            else:
                found = len(_BLOCKS) + 1
            _ALIVE[key] = found
            _BLOCKS[found] = block
    return _ALIVE[key]


def _address_of(block: Any, signature: tuple[Any, ...]) -> int:
    """Return the address of a block: in machine code that was kept, of which nothing but the object file is looked at, or of new code."""
    if signature not in block.overloads:
        found = block._cache.address(signature)
        if found is not None:
            return int(found)
        block.compile(signature)
    compiled = block.overloads[signature]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def block_call(arguments: int, returns: Any = types.void) -> Any:
    """Return a function f(address, a1, …, an) that calls a block by its address from compiled code.

    `returns` is the type of its result; LIKE_FIRST: the type of a1.

    The types of the arguments must be those that the address was asked for: nothing checks them. A call costs about 3 ns
    (2 cores Xeon, 2026-11). A `switch` over blocks would compile all of them into each caller instead.
    """

    def interpreted(address: int, *values: Any) -> Any:
        return pure(_BLOCKS[int(address)])(*values)

    if not JIT:
        return interpreted

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds = signature.args[1:]
        called = context.call_conv.get_function_type(signature.return_type, kinds)
        pointer = builder.inttoptr(values[0], called.as_pointer())
        _, result = context.call_conv.call_function(builder, pointer, signature.return_type, kinds, values[1:])
        return result if signature.return_type != types.void else context.get_dummy_value()

    def declare(typing_context: Any, address: Any, *kinds: Any) -> Any:
        return (kinds[0] if returns is LIKE_FIRST else returns)(address, *kinds), generate

    call = intrinsic(with_arity(declare, 1 + arguments))
    _BLOCK_CALLS[call] = interpreted
    return call


def c_address(block: Any, *signature: Any) -> int:
    """Return the address of a kernel, compiled for argument types, for callers that follow the calling convention of C.

    It lives as long as this process. Arguments and result have to be numbers and pointers.
    """
    key = (block, signature, "C")
    if key not in _ALIVE:
        block.compile(signature)
        compiled = block.overloads[signature]
        _ALIVE[key] = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)
    return _ALIVE[key]


@intrinsic
def pointer(typing_context, number):
    """Return a whole number as a pointer to whatever is there, for `numba.carray`; compiled code only."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@intrinsic
def _borrow(typing_context, array):
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        borrowed = context.make_array(signature.args[0])(context, builder, values[0])
        borrowed.meminfo = cgutils.get_null_value(borrowed.meminfo.type)
        borrowed.parent = cgutils.get_null_value(borrowed.parent.type)
        return borrowed._getvalue()

    return array(array), generate


def _itself(value: Any) -> Any:
    return value


# borrow(array): the same array, for as long as a call lasts, without the count of those who hold it. Counting costs an atomic instruction
# per array, call and function, and a fight over it where threads read the same array.
borrow = _borrow if JIT else _itself
_BLOCK_CALLS[_borrow] = _itself


def with_arity(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Return a function that takes a typing context and exactly `count` arguments: Numba's intrinsic() reads that from the signature."""

    def declare(*arguments: Any) -> Any:
        return function(*arguments)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ["typing_context", *(f"argument_{number}" for number in range(count))]
    declare.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return declare


def _is_block_call(value: Any) -> bool:
    try:
        return value in _BLOCK_CALLS
    except TypeError:  # not hashable
        return False


# --- kernels over threads ------------------------------------------------------------------------------------------------

_forked_after_parallel = False
_one_region = threading.RLock()


class OverThreads(CPUDispatcher):
    """How Python calls a kernel that runs over threads, so that no call is the end of the process. Compiled code calls past it.

    Numba's workqueue layer aborts when two Python threads start a parallel kernel at once: they take turns. GNU OpenMP kills a
    forked child at its first parallel kernel, whoever started the threads of the parent: there the serial form runs, to the same bits.
    """

    serial: Any

    def __call__(self, *arguments: Any) -> Any:
        """Run the kernel."""
        if forked_after_parallel():
            return self.serial(*arguments)
        with one_region_at_a_time():
            return super().__call__(*arguments)


def forked_after_parallel() -> bool:
    """Return whether this process was forked from one that had started the threads of parallel kernels."""
    return _forked_after_parallel


def one_region_at_a_time() -> Any:
    """Return the lock that a Python thread holds while a parallel kernel runs; it may take it again."""
    return _one_region


def _after_fork_in_child() -> None:
    global _forked_after_parallel, _one_region
    layer = sys.modules.get("numba.np.ufunc.parallel")
    _forked_after_parallel = bool(getattr(layer, "_is_initialized", False))
    _one_region = threading.RLock()  # another thread of the parent may have held the old one
    global_compiler_lock.release()


if hasattr(os, "register_at_fork"):
    # A fork waits for the compilation under way: the child would wait for ever for a lock held by a thread that it does not have.
    os.register_at_fork(
        before=global_compiler_lock.acquire, after_in_parent=global_compiler_lock.release, after_in_child=_after_fork_in_child
    )


# --- the cache of machine code -------------------------------------------------------------------------------------------

_warned: list[str] = []
_listeners: list[Callable[[str, float | None], None]] = []
_under_way = threading.local()  # .missed: for each compilation in this thread, outermost first, whether the cache had no code
_waited = 0.0
_listing: "list[Needed] | None" = None  # what would have been compiled, in a process that only asks
_listed_kinds: set[Any] = set()
_in_vain, _most_in_vain = 0, 0  # calls since the last one that asked for something new
_made_elsewhere: Callable[[Path], bool] | None = None


class Needed(NamedTuple):
    """A kernel that is to be compiled, and the types of its arguments."""

    kernel: Any
    signature: tuple[Any, ...]

    @property
    def path(self) -> Path:
        """Return where its code is kept, once it is compiled."""
        found: Path = self.kernel._cache.path(self.signature)
        return found

    def is_there(self) -> bool:
        """Return whether its code is kept, or came with the package."""
        return self.path.exists() or (why_not_shipped() is None and shipped.brings(levels.target().name, self.path.name))


@contextlib.contextmanager
def listed(most_in_vain: int = 1000) -> Iterator[list[Needed]]:
    """Give a list that gets what is compiled or loaded meanwhile, without that: kernels do nothing, and give 0.

    After so many calls of which none asked for something new, NothingNew is raised: who waits for such a kernel to get on waits for ever.

    For a process that has run no kernel, and runs none afterwards: addresses that it has been given are none.
    """
    global _listing, _in_vain, _most_in_vain
    _listing, _in_vain, _most_in_vain = [], 0, most_in_vain
    _listed_kinds.clear()
    try:
        yield _listing
    finally:
        _listing = None


def _kind(value: Any) -> Any:
    """Return what the type of an argument follows from; Numba takes milliseconds for that of an array of records."""
    if isinstance(value, np.ndarray):
        flags = value.flags
        return value.dtype, value.ndim, flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned
    return (type(value), *map(_kind, value)) if isinstance(value, tuple) else type(value)


def _do_nothing(*arguments: Any) -> int:
    return 0


def ask_elsewhere(ask: Callable[[Path], bool] | None) -> None:
    """Before a kernel is compiled, let ask(path of its code) say whether another process has made it, for which it may wait."""
    global _made_elsewhere
    _made_elsewhere = ask


@contextlib.contextmanager
def watch(listener: Callable[[str, float | None], None]) -> Iterator[None]:
    """Call listener(name, None) when a kernel starts to compile, listener(name, seconds) when it is done."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def compile_seconds() -> float:
    """Return for how many seconds this process has waited for the compiler."""
    return _waited


ROOMS = (Path(__file__).parent, Path(__file__).parents[1] / "kernels")  # whose sources shape the code of every kernel


@functools.cache
def code_folder() -> Path:
    """Return the folder of compiled kernels. Its name changes with every source, version and option that shapes the code.

    Numba's own cache would miss a change in a function of another file, in a constant, and in a flag.
    """
    digest = hashlib.sha256(repr([*made_for().items(), np.__version__]).encode())
    return machine.cache_folder() / "compiled" / digest.hexdigest()[:20]


def made_for() -> dict[str, str]:
    """Return what shapes the code apart from its target, by name."""
    flags = ("OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "DEBUGINFO_DEFAULT")
    return {
        "kernels": _digest_of_sources().hex()[:20],
        "Python": sys.implementation.cache_tag,
        "Numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "NumPy": np.__version__.partition(".")[0],
        "options": ", ".join(f"{flag}={getattr(config, flag, None)}" for flag in flags),
    }


@functools.cache
def why_not_shipped() -> str | None:
    """Return why the machine code of the package is not used, None where it is."""
    return shipped.why_not(made_for(), levels.target().name)


def source_stamp() -> int:
    """Return a number that changes with every source of these folders, for code that is kept where nobody looks after it."""
    return int.from_bytes(_digest_of_sources()[:7])


@functools.cache
def _digest_of_sources() -> bytes:
    digest = hashlib.sha256()
    for room in ROOMS:
        for part in sorted(room.glob("*.py")):
            digest.update(f"{room.name}/{part.name}".encode())
            digest.update(part.read_bytes())
    return digest.digest()


@functools.cache
def _digest_of_room(file: str, module: str) -> bytes:
    """Return what changes with a source of fastmlp outside of these folders, whose kernels are kept beside those of kernels/."""
    source = Path(file)
    is_ours = module.startswith("fastmlp.") and source.parent not in ROOMS and source.is_file()
    return hashlib.sha256(source.read_bytes()).digest() if is_ours else b""


LEAST_ADDRESS_SPACE = 64 << 20  # for one kernel


def _timed(name: str, compile: Callable[[Any], Any], signature: Any) -> Any:
    """Compile or load a kernel, tell the listeners where that took the compiler, and count the time that its caller waited."""
    global _waited
    left = machine.address_space_left()
    if left is not None and left < LEAST_ADDRESS_SPACE:  # LLVM would end the process
        raise NotEnoughMemory(f"compiling {name}: this process may use {left >> 20} MiB more of address space; raise the limit (ulimit -v)")
    missed = _under_way.__dict__.setdefault("missed", [])
    missed.append(False)
    started = time.perf_counter()
    try:
        return compile(signature)
    except MemoryError:
        raise NotEnoughMemory(f"compiling {name}: the system gave no more memory; raise the limit, or use a machine with more") from None
    except (AttributeError, ImportError) as error:  # what is wrong with a formula, Numba tells by errors of its own
        raise supported.unsupported(error) from error
    finally:
        seconds = time.perf_counter() - started
        if missed.pop():
            for listener in list(_listeners):
                listener(name, seconds)
        if not missed:  # a kernel compiled inside another one is part of the other's time
            _waited += seconds


def _tell_missed(name: str) -> None:
    missed = getattr(_under_way, "missed", None)
    if missed:
        missed[-1] = True
    for listener in list(_listeners):
        listener(name, None)


class Code(NamedTuple):
    """The machine code of one kernel as it is kept. A wheel leaves out the rest of those that are called by address only."""

    symbol: str  # of the kernel in the object file
    object_file: bytes
    rest: bytes  # a pickle: what Numba needs to call it from Python, and to compile it into other kernels

    @classmethod
    def of(cls, compiled: Any) -> Self:
        """Return the code of what Numba has compiled."""
        (name, kind, (object_file, bitcode)), *others, environments = compiled._reduce()
        # Those of Numba's own functions hold nothing; to load them, Numba would import the files of these functions.
        environments = [each for each in environments if each.consts or each.globals["__name__"].partition(".")[0] != "numba"]
        return cls(compiled.fndesc.llvm_func_name, object_file, serialize.dumps((name, kind, bitcode, [*others, environments])))

    @classmethod
    def unpacked(cls, payload: bytes) -> Self:
        """Return the code in a file."""
        head, _, content = payload.partition(b"\n")
        symbol, size = json.loads(head)
        return cls(symbol, content[:size], content[size:])

    def packed(self) -> bytes:
        """Return the content of a file."""
        return json.dumps([self.symbol, len(self.object_file)]).encode() + b"\n" + self.object_file + self.rest

    def loaded(self) -> int:
        """Return the address of the kernel, whose code stays in memory."""
        _start_runtime()
        engine = cpu_target.target_context.codegen()._engine
        engine._ee.add_object_file(llvmlite.binding.ObjectFileRef.from_data(self.object_file))
        engine.finalize_object()
        found: int = engine.get_function_address(self.symbol)
        if found == 0:
            raise ValueError(f"{self.symbol}: expected a function of the object file, found none")
        return found

    def rebuilt(self, context: Any) -> Any:
        """Return what Numba made of the kernel once."""
        name, kind, bitcode, others = pickle.loads(self.rest)  # noqa: S301  what is read is trusted
        return compiler.CompileResult._rebuild(context, (name, kind, (self.object_file, bitcode)), *others)


@functools.cache
def _start_runtime() -> None:
    """Tell the linker what compiled code calls of Numba, which would compile some more for it, and load its compiler: half a second."""
    for name, place in _nrt_python.c_helpers.items():
        llvmlite.binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", place)


class CompiledCode:
    """Where the machine code of one kernel is kept: one file per signature and target; see code_cache.py.

    Follows the interface of numba.core.caching._Cache. Whatever goes wrong here costs a compilation and one warning, never the run.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = function.__qualname__
        self.source = _digest_of_room(function.__code__.co_filename, function.__module__ or "")
        self.cache_path = None

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the compiled code for a signature: the user's own, or what came with the package; None where there is neither."""
        _start_runtime()
        found = self._found(signature, context)
        if found is not None:
            return found
        _tell_missed(self.name)
        is_outermost = len(getattr(_under_way, "missed", [])) == 1  # of those inside, two processes would wait for each other
        if _made_elsewhere is not None and is_outermost and _made_elsewhere(self.path(signature)):
            return self._found(signature, context)
        return None

    def _found(self, signature: Any, context: Any) -> Any:
        faults = []
        for read in (self._kept, self._shipped):
            try:
                kept = Code.unpacked(read(signature))
                if kept.rest:
                    return kept.rebuilt(context)
            except FileNotFoundError:
                pass
            except Exception as error:
                faults.append(error)
        for fault in faults:  # a folder that cannot be used is worth a word where that costs a compilation
            _warn_of_cache(fault)
        return None

    def address(self, signature: Any) -> int | None:
        """Return the address of code that is kept; None where there is none, or something is wrong with it: compiling tells what."""
        for read in (self._kept, self._shipped):
            with contextlib.suppress(Exception):
                return Code.unpacked(read(signature)).loaded()
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep compiled code for later processes."""
        try:
            code_cache.write(self.path(signature), Code.of(compiled).packed())
        except Exception as error:
            _warn_of_cache(error)

    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    def disable(self) -> None:
        """Do nothing: the cache is always on."""

    def flush(self) -> None:
        """Do nothing: stale code is never found."""

    def _kept(self, signature: Any) -> bytes:
        return code_cache.read(self.path(signature))

    def _shipped(self, signature: Any) -> bytes:
        if why_not_shipped() is not None:
            raise FileNotFoundError
        return shipped.read(levels.target().name, self._file(signature))

    def path(self, signature: Any) -> Path:
        """Return where the code for a signature is kept."""
        return code_folder() / self._file(signature)

    def _file(self, signature: Any) -> str:
        digest = hashlib.sha256(repr((signature, levels.target().key, self.source)).encode()).hexdigest()
        return f"{self.name}-{digest[:24]}.code"


def _warn_of_cache(error: Exception) -> None:
    """Warn of what is wrong with the cache, once: one fault meets every kernel."""
    if not _warned:
        _warned.append(_fault(error))
        warnings.warn(_warned[0], RuntimeWarning, stacklevel=2)


def _fault(error: Exception) -> str:
    folder = code_folder()
    if isinstance(error, shipped.Damaged):
        return f"{error}: install fastmlp anew; until then it compiles, which costs seconds once"
    if isinstance(error, code_cache.Damaged):
        return f"files of compiled code in {folder} are damaged or not the user's alone; they are made anew, which costs seconds once"
    if isinstance(error, code_cache.Distrusted):
        why = f"compiled code in {folder} is not used: {error}"
    elif isinstance(error, (OSError, ValueError, MemoryError, pickle.UnpicklingError, EOFError)):
        why = f"compiled code cannot be kept in {folder} ({type(error).__name__}: {error})".splitlines()[0]
    else:
        return f"compiled code cannot be kept, so each start compiles anew: {supported.unsupported(error)}"
    return f"{why}, so each start compiles anew; set FASTMLP_CACHE_DIR to a folder of your own"


if (_doubt := supported.doubt()) is not None:
    warnings.warn(_doubt, RuntimeWarning, stacklevel=2)
