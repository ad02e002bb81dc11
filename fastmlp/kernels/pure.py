"""The kernels of scalar.py as pure Python all the way down: `fastmlp.kernels.pure.dense_forward`.

Numba's own `.py_func` would still call compiled helpers.
"""

from typing import Any

from fastmlp.kernels import compiling, scalar

__all__ = list(scalar.__all__)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fastmlp.kernels.pure' has no attribute {name!r}")
    return compiling.pure(getattr(scalar, name))


def __dir__() -> list[str]:
    return __all__
