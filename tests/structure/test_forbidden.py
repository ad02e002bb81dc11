"""What no file of the package may do: run code found in data, rely on assert, print, or leave a product to a library."""

import ast
from collections.abc import Callable, Iterator

from tests.structure.sources import ROOT, modules

# Whatever can run code found in a file, or leave the folder that it was told to write to.
UNSAFE_MODULES = {"pickle", "pickletools", "marshal", "shelve", "dill", "cloudpickle"}
UNSAFE_CALLS = {"eval", "exec", "__import__", "import_module", "extractall", "unpack_archive"}
UNSAFE_LOADERS = {"yaml.load", "joblib.load", "torch.load"}
UNSAFE_FLAGS = {"allow_pickle", "shell"}

ALLOWED = {
    ("fastmlp/kernels/__init__.py", "import_module"),
    ("fastmlp/__init__.py", "import_module"),  # names of a fixed table, loaded on first use
    ("fastmlp/cli/commands.py", "import_module"),  # the same
    ("fastmlp/training/ahead.py", "import_module"),  # what the process that started this one says
    ("fastmlp/data/fetch.py", "pickletools"),  # reads the instructions of a pickle without running them
    ("fastmlp/compilation/machine_code.py", "pickle"),  # the form in which Numba keeps machine code
}

# Products of arrays that a library would compute: a kernel spells out the loops.
LIBRARY_PRODUCTS = {"dot", "vdot", "matmul", "inner", "outer", "tensordot", "einsum", "linalg"}


def unsafe(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, name) for everything that could run code found in data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in UNSAFE_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in UNSAFE_MODULES:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in UNSAFE_LOADERS or called.rpartition(".")[2] in UNSAFE_CALLS:
                yield node.lineno, called.rpartition(".")[2]
            for keyword in node.keywords:
                if keyword.arg in UNSAFE_FLAGS and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False):
                    yield node.lineno, keyword.arg


def asserts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, "assert") for every assert statement: `python -O` drops them."""
    yield from ((node.lineno, "assert") for node in ast.walk(tree) if isinstance(node, ast.Assert))


def prints(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, name) for everything that writes to the terminal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "print":
            yield node.lineno, "print"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            yield node.lineno, ast.unparse(node)


def library_products(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, name) for every product of arrays that is left to a library."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.MatMult):
            yield node.lineno, "@"
        elif isinstance(node, ast.Attribute) and node.attr in LIBRARY_PRODUCTS:
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "numpy":
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in LIBRARY_PRODUCTS)


Scan = Callable[[ast.AST], Iterator[tuple[int, str]]]


def found(scan: Scan, *, under: str = "fastmlp/", but_not: tuple[str, ...] = ()) -> list[str]:
    """Return what a scan finds in the files of a folder, as `path:line name`."""
    files = [module for module in modules() if module.path.startswith(under) and not module.path.startswith(but_not)]
    hits = [(module.path, line, name) for module in files for line, name in scan(module.tree)]
    return [f"{path}:{line} {name}" for path, line, name in hits if (path, name) not in ALLOWED]


def test_nothing_can_run_code_found_in_data():
    assert found(unsafe) == []


def test_no_check_depends_on_assert():
    assert found(asserts) == []


def test_only_rendering_and_the_command_line_print():
    assert found(prints, but_not=("fastmlp/rendering/", "fastmlp/cli/")) == []


def test_one_loop_goes_over_the_epochs_of_a_training():
    loops = [f"{path.name}: {line.strip()}" for path in sorted((ROOT / "fastmlp").rglob("*.py")) if path.parent.name != "kernels"
             for line in path.read_text().splitlines() if "for epoch" in line]  # fmt: skip
    assert loops == ["fit.py: for epoch in itertools.count(training.epoch + 1):"]


def test_kernels_leave_no_product_to_a_library():
    assert found(library_products, under="fastmlp/kernels/") == []


FORBIDDEN = [
    (unsafe, "import pickle"),
    (unsafe, "def f():\n    from pickle import loads"),
    (unsafe, "eval(text)"),
    (unsafe, "builtins.exec(text)"),
    (unsafe, "__import__(name)"),
    (unsafe, "importlib.import_module(name)"),
    (unsafe, "yaml.load(text)"),
    (unsafe, "np.load(path, allow_pickle=True)"),
    (unsafe, "subprocess.run(line, shell=True)"),
    (unsafe, "subprocess.run(line, shell=flag)"),
    (unsafe, "archive.extractall(folder)"),
    (asserts, "def f(x):\n    assert x"),
    (prints, "print(1)"),
    (prints, "sys.stderr.write(text)"),
    (library_products, "a = b @ c"),
    (library_products, "a @= b"),
    (library_products, "np.dot(a, b)"),
    (library_products, "a.dot(b)"),
    (library_products, "np.linalg.solve(a, b)"),
    (library_products, "from numpy import einsum"),
]


def test_scans_find():
    assert [source for scan, source in FORBIDDEN if not list(scan(ast.parse(source)))] == []
