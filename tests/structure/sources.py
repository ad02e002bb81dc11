"""The modules of the package as syntax trees."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Module(NamedTuple):
    name: str  # "fastmlp.data.idx"; a package stands for its __init__.py
    path: str  # "fastmlp/data/idx.py"
    tree: ast.Module


@cache
def modules() -> tuple[Module, ...]:
    """Return every module of fastmlp."""
    paths = sorted(path.relative_to(ROOT) for path in ROOT.glob("fastmlp/**/*.py"))
    return tuple(Module(_name(path), path.as_posix(), ast.parse((ROOT / path).read_text(), str(path))) for path in paths)


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
