"""Machine code that came with the package: whether it is for this process, and how it is read.

It is a pickle, as all that Numba keeps. What is read has the digest that stands in a Python file of the same installation (prebuilt), so
whoever could exchange it could as well exchange that file, or this one.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from fastmlp import prebuilt

FOLDER = Path(prebuilt.__file__).parent


class Damaged(Exception):
    """A file that is not the one that the package came with."""


def why_not(made_for: Mapping[str, str], level: str) -> str | None:
    """Return why no code of the package is used, where nothing is; `made_for` and `level` are what code here is made for."""
    if not prebuilt.DIGESTS:
        return "this installation brought none"
    for what, here in made_for.items():
        if (there := prebuilt.MADE_FOR.get(what)) != here:
            return f"it was made for {what} {there}, here is {here}"
    levels = sorted({name.partition("/")[0] for name in prebuilt.DIGESTS})
    return None if level in levels else f"it was made for {' and '.join(levels)}, here is {level}"


def files(level: str) -> list[str]:
    """Return the names of the files for a level."""
    return [name.partition("/")[2] for name in prebuilt.DIGESTS if name.startswith(f"{level}/")]


def brings(level: str, file: str) -> bool:
    """Return whether the package brings a file of code for a level."""
    return f"{level}/{file}" in prebuilt.DIGESTS


def read(level: str, file: str) -> bytes:
    """Return what a file of code holds. Raises FileNotFoundError where the package names no such file, Damaged, or another OSError."""
    name = f"{level}/{file}"
    digest = prebuilt.DIGESTS.get(name)
    if digest is None:
        raise FileNotFoundError(name)
    path = FOLDER / name
    try:
        payload = path.read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{path} is missing") from None
    if hashlib.sha256(payload).hexdigest() != digest:
        raise Damaged(f"{path} is not as it was made")
    return payload
