"""Calls by address: of blocks, kernels that compiled code finds in a record, so that no combination of them is ever compiled."""

from typing import Any

from numba import types

from fastmlp.compilation import listing, supported
from fastmlp.compilation.forms import pure
from fastmlp.compilation.intrinsics import with_arity
from fastmlp.compilation.options import JIT
from fastmlp.compilation.sources import TWINS

with supported.parts():
    from numba.core.compiler_lock import global_compiler_lock
    from numba.extending import intrinsic

_BLOCKS: dict[int, Any] = {}  # address -> block, for callers that run interpreted: those get its pure-Python form
_ALIVE: dict[Any, int] = {}  # (block, signature, interpreted) -> address; holds the machine code in memory
LIKE_FIRST = object()  # a block returns what its first argument is


def address(block: Any, *signature: Any, interpreted: bool = False) -> int:
    """Return the address of a block, compiled for argument types; where `interpreted`, a number good for pure Python only.

    The address is good for `block_call` in compiled code, and for its pure-Python form; it lives as long as this process.
    """
    if listing.is_on():
        listing.add(block, signature)
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
    TWINS[call] = interpreted
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
