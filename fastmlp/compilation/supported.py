"""Which Numba the kernels are made for: they use parts of it that it may rename with each version."""

import contextlib
import re
from collections.abc import Iterator

import numba

from fastmlp.errors import MissingExtra, warn

NUMBA = "numba>=0.66,<0.69"  # as in pyproject.toml


def unsupported(error: Exception) -> MissingExtra:
    """Return what to raise where a part of Numba is not what it was."""
    return MissingExtra(
        f"numba {numba.__version__} lacks what fastmlp uses of it ({_short(error)}); supported is {NUMBA}: pip install '{NUMBA}'"
    )


@contextlib.contextmanager
def parts() -> Iterator[None]:
    """Import parts of Numba that it may rename; raise MissingExtra where it has."""
    try:
        yield
    except ImportError as error:
        if "cannot import name" in str(error) or isinstance(error, ModuleNotFoundError):
            raise unsupported(error) from error
        raise  # a library that cannot be loaded


def doubt() -> str | None:
    """Return a warning where this version of Numba is not supported, None where it is."""
    least, below = (_numbers(bound) for bound in re.findall(r"[0-9.]+", NUMBA))
    if least <= _numbers(numba.__version__) < below:
        return None
    return f"numba {numba.__version__} is not supported, {NUMBA} is; should anything fail or be slow: pip install '{NUMBA}'"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:2])


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:120]


if (_doubt := doubt()) is not None:
    warn(_doubt, RuntimeWarning)
