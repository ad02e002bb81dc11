"""The kernels that other people call, as pure Python all the way down: `fastmlp.kernels.pure.dense_forward`.

Numba's own `.py_func` would still call compiled helpers.
"""

from typing import Any

from fastmlp.compilation import forms
from fastmlp.kernels import embedded, named, normalisation, random, textbook
from fastmlp.kernels.names import HOMES

__all__ = list(HOMES)  # noqa: PLE0605

_FILES = {"textbook": textbook, "named": named, "normalisation": normalisation, "random": random, "embedded": embedded}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'fastmlp.kernels.pure' has no attribute {name!r}")
    return forms.pure(getattr(_FILES[HOMES[name]], name))


def __dir__() -> list[str]:
    return sorted(__all__)
