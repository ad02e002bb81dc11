"""Every loop nest of fastmlp: arrays in, arrays out. Knows no network, no file, no user.

The letters, here and in every file of this package:

    M  rows of a batch        m    counts them
    K  inputs of a layer      k
    N  units of a layer       n
    C  classes                c
    L  layers                 P    parameters
    T  targets of a row       B    rows of a full batch

The names below can be called from Python and from other people's @njit functions. They are serial; the same name with `_parallel`
at its end runs over threads, where the kernel has a loop that can. `fastmlp.kernels.pure` has the same functions as plain Python.
"""

import importlib
from typing import Any

import fastmlp.compilation  # noqa: F401  it looks whether there is room for a compiler, before a file of this folder loads one
from fastmlp.kernels.names import HOMES

__all__ = ["pure", *HOMES]  # noqa: PLE0604

PARALLEL = "_parallel"


def __getattr__(name: str) -> Any:
    # a compiler is loaded with the kernels, so they are found on first use
    if name == "pure":
        return importlib.import_module("fastmlp.kernels.pure")
    serial_name = name.removesuffix(PARALLEL)
    if serial_name not in HOMES:
        raise AttributeError(f"module 'fastmlp.kernels' has no attribute {name!r}")
    from fastmlp.compilation import forms, options

    serial = getattr(importlib.import_module(f"fastmlp.kernels.{HOMES[serial_name]}"), serial_name)
    found = forms.parallel(serial) if name.endswith(PARALLEL) else serial
    if name.endswith(PARALLEL) and found is serial and options.JIT:
        raise AttributeError(f"module 'fastmlp.kernels' has no attribute {name!r}: {serial_name} has no loop that runs over threads")
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
