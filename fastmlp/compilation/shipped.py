"""Machine code that came with the package: whether it is for this process, and how it is read.

It is a pickle, as all that Numba keeps. What is read has the digest that stands in a Python file of the same installation (prebuilt), so
whoever could exchange it could as well exchange that file, or this one.
"""

import functools
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path

from fastmlp import prebuilt

FOLDER = Path(prebuilt.__file__).parent
BITCODE = "bitcode.xz"  # of a level


class Damaged(Exception):
    """A file that is not the one that the package came with."""


def why_not(made_for: Mapping[str, str], level: str) -> str | None:
    """Return why no code of the package is used, where nothing is; `made_for` and `level` are what code here is made for."""
    if not prebuilt.DIGESTS:
        return "this installation brought none"
    if importlib.util.find_spec("_lzma") is None:
        return "this Python has no lzma, by which a part of it is packed"
    for what, here in made_for.items():
        if (there := prebuilt.MADE_FOR.get(what)) != here:
            return f"it was made for {what} {there}, here is {here}"
    levels = sorted({name.partition("/")[0] for name in prebuilt.DIGESTS})
    return None if level in levels else f"it was made for {' and '.join(levels)}, here is {level}"


def files(level: str) -> list[str]:
    """Return the names of the files of code for a level."""
    return [name.partition("/")[2] for name in prebuilt.DIGESTS if name.startswith(f"{level}/") and name.endswith(".code")]


def brings(level: str, file: str) -> bool:
    """Return whether the package brings a file of code for a level."""
    return f"{level}/{file}" in prebuilt.DIGESTS


def bitcode(level: str, file: str) -> bytes:
    """Return the bitcode of the kernel in a file of code. Raises Damaged, or an OSError."""
    places, content = _bitcode(level)
    first, last = places[file]
    return content[first:last]


@functools.cache
def _bitcode(level: str) -> tuple[dict[str, tuple[int, int]], bytes]:
    """Return where the bitcode of each file of code begins and ends, and all of it."""
    import lzma  # seldom: for a formula of a user's

    head, _, content = lzma.decompress(read(level, BITCODE)).partition(b"\n")
    return json.loads(head), content


def packed_bitcode(parts: Mapping[str, bytes]) -> bytes:
    """Return the content of the file for the bitcode of files of code. They are much alike: together they take a quarter of the room."""
    import lzma

    places, first = {}, 0
    for file, part in parts.items():
        places[file] = (first, first + len(part))
        first += len(part)
    return lzma.compress(json.dumps(places).encode() + b"\n" + b"".join(parts.values()))


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
