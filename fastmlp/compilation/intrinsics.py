"""What compiled code can do and Numba has no word for: pointers, arrays that are not counted."""

import inspect
from collections.abc import Callable
from typing import Any

from numba import types

from fastmlp.compilation import supported
from fastmlp.compilation.options import JIT
from fastmlp.compilation.sources import TWINS

with supported.parts():
    from numba.core import cgutils
    from numba.extending import intrinsic


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
TWINS[_borrow] = _itself


def with_arity(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Return a function that takes a typing context and exactly `count` arguments: Numba's intrinsic() reads that from the signature."""

    def declare(*arguments: Any) -> Any:
        return function(*arguments)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ["typing_context", *(f"argument_{number}" for number in range(count))]
    declare.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return declare
