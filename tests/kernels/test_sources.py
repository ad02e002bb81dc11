"""What the sources of kernels may contain, read from their syntax trees."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.structure.sources import ROOT, modules

# NumPy functions that return a new array, and methods that copy.
ALLOCATING = {
    "append", "arange", "array", "asarray", "ascontiguousarray", "astype", "concatenate", "copy", "empty", "empty_like", "eye", "flatten",
    "full", "full_like", "linspace", "ones", "ones_like", "repeat", "stack", "take", "tile", "where", "zeros", "zeros_like",
}  # fmt: skip
CONTAINERS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.JoinedStr)
EXCEPTIONS = (ast.Raise, ast.Try, ast.Assert, ast.With)


class Found(NamedTuple):
    place: str
    function: ast.FunctionDef


def is_kernel(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called).rpartition(".")[2] == "kernel"


def kernels_of(path: str, tree: ast.AST) -> Iterator[Found]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(is_kernel(decorator) for decorator in node.decorator_list):
            yield Found(f"{path}:{node.lineno} {node.name}", node)


KERNELS = [found for module in modules() if module.path.startswith("fastmlp/kernels/") for found in kernels_of(module.path, module.tree)]


def allocations(function: ast.FunctionDef) -> list[str]:
    """Return what in a kernel asks for memory: new arrays, lists, strings."""
    called = [ast.unparse(node.func).rpartition(".")[2] for node in ast.walk(function) if isinstance(node, ast.Call)]
    containers = [type(node).__name__ for statement in function.body for node in ast.walk(statement) if isinstance(node, CONTAINERS)]
    return sorted(set(called) & ALLOCATING) + containers


def exceptions(function: ast.FunctionDef) -> list[str]:
    return [type(node).__name__ for node in ast.walk(function) if isinstance(node, EXCEPTIONS)]


def undocumented(function: ast.FunctionDef) -> list[str]:
    """Return the arguments that a kernel's docstring does not name."""
    words = set(re.findall(r"\w+", ast.get_docstring(function) or ""))
    return [argument.arg for argument in function.args.args if argument.arg not in words]


def test_kernels_are_found():
    assert {"dense_forward", "softmax", "train_steps", "shuffle"} <= {found.function.name for found in KERNELS}


def test_kernels_allocate_nothing():
    assert {found.place: allocations(found.function) for found in KERNELS if allocations(found.function)} == {}


def test_kernels_raise_and_catch_nothing():
    assert {found.place: exceptions(found.function) for found in KERNELS if exceptions(found.function)} == {}


def test_kernels_of_a_layer_name_every_argument_in_their_docstring():
    textbook = [found for found in KERNELS if "/textbook.py:" in found.place]
    assert {found.place: undocumented(found.function) for found in textbook if undocumented(found.function)} == {}


def test_every_kernel_says_what_it_does():
    assert [found.place for found in KERNELS if not ast.get_docstring(found.function)] == []


@pytest.mark.parametrize(
    ("scan", "body"),
    [
        (allocations, "out = np.empty(3)"),
        (allocations, "out[:] = x.copy()"),
        (allocations, "out[:] = x.astype(np.float32)"),
        (allocations, "pair = [a, b]"),
        (allocations, "name = f'{a}'"),
        (allocations, "total = sum(v for v in x)"),
        (exceptions, "raise ValueError"),
        (exceptions, "assert x.ndim == 2"),
        (exceptions, "try:\n        a = 1\n    finally:\n        a = 2"),
        (undocumented, '"""Return the sum of b."""'),
    ],
)
def test_scans_find(scan, body):
    (found,) = kernels_of("kernel.py", ast.parse(f"@kernel\ndef f(a):\n    {body}\n"))
    assert scan(found.function) != []


# --- records ---------------------------------------------------------------------------------------------------------------

RECORDS = {"layer", "below", "inputs", "run"}
TILES = {"TILE", "TILE_ALONE", "TRANSPOSE"}  # these hold loops of their own


def reads_of_records(tree: ast.AST) -> list[str]:
    """Return where an innermost loop that writes numbers reads from a record."""
    found = []
    for loop in ast.walk(tree):
        if not isinstance(loop, ast.For):
            continue
        inside = [node for statement in loop.body for node in ast.walk(statement)]
        calls = {node.func.id for node in inside if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        written = [node for node in inside if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)]
        stores = written + [node for node in inside if isinstance(node, ast.AugAssign)]
        if not stores or calls & TILES or any(isinstance(node, ast.For) for node in inside):
            continue
        reads = [node for node in inside if isinstance(node, ast.Attribute) and ast.unparse(node.value).rpartition(".")[2] in RECORDS]
        found += [f"line {node.lineno}: {ast.unparse(node)}" for node in reads]
    return found


def test_no_innermost_loop_of_a_block_reads_from_a_record():
    """What it writes to might be the record, for all that the compiler knows: each turn would read it again."""
    (tree,) = (module.tree for module in modules() if module.path == "fastmlp/kernels/panels.py")
    assert reads_of_records(tree) == []
    for written in ("total += arena[layer.bias + n]", "arena[n] = step.run.longest"):
        assert reads_of_records(ast.parse(f"for n in range(N):\n    {written}")) != []


def test_the_guide_names_what_is_private_to_numba_and_a_test_for_each():
    taken = {
        (node.module.rpartition(".")[2], alias.name)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("numba.core", "numba.np"))
        for alias in node.names
    }
    guide = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", "".join(re.findall(r"`[^`]+`", guide))))
    assert {name for home, name in taken if home not in named and name not in named} == set()
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert [test for test in re.findall(r"`(test_\w+)`", guide) if f"def {test}(" not in written] == []
