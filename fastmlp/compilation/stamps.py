"""What machine code follows from, so that stale code is never found: sources, versions, options."""

import functools
import hashlib
import sys
from pathlib import Path

import llvmlite
import numba
import numpy as np

from fastmlp import machine
from fastmlp.compilation import levels, shipped, supported

with supported.parts():
    from numba.core import config

# The rooms whose sources shape the code of every kernel: engines/ binds constants and formulas.
ROOMS = tuple(Path(__file__).parents[1] / room for room in ("compilation", "kernels", "engines"))


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
def digest_of_room(file: str, module: str) -> bytes:
    """Return what changes with a source of fastmlp outside of these folders, whose kernels are kept beside theirs."""
    source = Path(file)
    is_ours = module.startswith("fastmlp.") and source.parent not in ROOMS and source.is_file()
    return hashlib.sha256(source.read_bytes()).digest() if is_ours else b""
