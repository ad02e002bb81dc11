"""What would have to be compiled, in a process that only asks: kernels are listed, and do nothing."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmlp.compilation import levels, shipped
from fastmlp.compilation.stamps import why_not_shipped

_listing: "list[Needed] | None" = None
_listed_kinds: set[Any] = set()
_in_vain = 0  # calls since the last one that asked for something new
MOST_IN_VAIN = 50_000  # such calls of a check of gradients, or of one training after another, which ask for little that is new


class NothingNew(Exception):
    """Kernels are listed, and none was new for a long time."""


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
def listed() -> Iterator[list[Needed]]:
    """Give a list that gets what is compiled or loaded meanwhile, without that: kernels do nothing, and give 0.

    After MOST_IN_VAIN calls of which none asked for something new, NothingNew is raised: who waits for such a kernel waits for ever.

    For a process that has run no kernel, and runs none afterwards: addresses that it has been given are none.
    """
    global _listing, _in_vain
    _listing, _in_vain = [], 0
    _listed_kinds.clear()
    try:
        yield _listing
    finally:
        _listing = None


def is_on() -> bool:
    """Return whether kernels are listed and do nothing."""
    return _listing is not None


def add(kernel: Any, signature: tuple[Any, ...]) -> None:
    """Put a kernel and the types of its arguments into the list."""
    if _listing is not None:
        _listing.append(Needed(kernel, signature))


def add_call(dispatcher: Any, arguments: tuple[Any, ...]) -> Any:
    """Put a kernel that Python calls into the list, if it is new there, and return what is called instead."""
    global _in_vain
    key = (dispatcher, *map(_kind, arguments))
    if key in _listed_kinds:
        _in_vain += 1
        if _in_vain > MOST_IN_VAIN:
            raise NothingNew
    else:
        _in_vain = 0
        _listed_kinds.add(key)
        add(dispatcher, tuple(map(dispatcher.typeof_pyval, arguments)))
    return _do_nothing


def _kind(value: Any) -> Any:
    """Return what the type of an argument follows from; Numba takes milliseconds for that of an array of records."""
    if isinstance(value, np.ndarray):
        flags = value.flags
        return value.dtype, value.ndim, flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned
    return (type(value), *map(_kind, value)) if isinstance(value, tuple) else type(value)


def _do_nothing(*arguments: Any) -> int:
    return 0
