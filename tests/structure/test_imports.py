"""Imports follow the floor plan: a file may use what stands above it, nothing else."""

import ast
import graphlib
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import resolve_name

import pytest

from tests.structure.sources import ROOT, Module, modules

# A room of several files stands for all of them, unless they have an order of their own.
FLOOR_PLAN = (
    "fastmlp.errors",
    "fastmlp.machine",
    "fastmlp.settings.names",
    "fastmlp.settings.metrics",
    "fastmlp.settings.fields",
    "fastmlp.settings.values",
    "fastmlp.settings.records",
    "fastmlp.settings.sources",
    "fastmlp.settings",
    "fastmlp.quantities",
    "fastmlp.reproducible",
    "fastmlp.prebuilt",
    "fastmlp.kernels.elementary",  # plain Python: what formulas are compiled with
    "fastmlp.kernels.elementary_64",
    "fastmlp.compilation.supported",
    "fastmlp.compilation.options",
    "fastmlp.compilation.levels",
    "fastmlp.compilation.sources",
    "fastmlp.compilation.formulas",
    "fastmlp.compilation.code_cache",
    "fastmlp.compilation.shipped",
    "fastmlp.compilation.stamps",
    "fastmlp.compilation.waiting",
    "fastmlp.compilation.machine_code",
    "fastmlp.compilation.listing",
    "fastmlp.compilation.concurrency",
    "fastmlp.compilation.decorators",
    "fastmlp.compilation.forms",
    "fastmlp.compilation.intrinsics",
    "fastmlp.compilation.calls",
    "fastmlp.compilation.record_types",
    "fastmlp.compilation",
    "fastmlp.kernels.names",
    "fastmlp.kernels.random",
    "fastmlp.kernels.orthogonal",
    "fastmlp.kernels.regularisation",
    "fastmlp.kernels.activations",
    "fastmlp.kernels.losses",
    "fastmlp.kernels.updates",
    "fastmlp.kernels.pointwise",
    "fastmlp.kernels.textbook",
    "fastmlp.kernels.named",
    "fastmlp.kernels.normalisation",
    "fastmlp.kernels.vectors",
    "fastmlp.kernels.textbook_step",
    "fastmlp.kernels.rows",
    "fastmlp.kernels.tiles",
    "fastmlp.kernels.narrow",
    "fastmlp.kernels.embedded",
    "fastmlp.kernels.foreign",
    "fastmlp.kernels.pure",
    "fastmlp.kernels.zeros",
    "fastmlp.kernels.panels",
    "fastmlp.kernels.normalised",
    "fastmlp.kernels.step",
    "fastmlp.kernels.augment",
    "fastmlp.kernels",
    "fastmlp.engines.wanted",
    "fastmlp.engines.addresses",
    "fastmlp.engines.program",
    "fastmlp.engines.layout",
    "fastmlp.engines.records",
    "fastmlp.engines.threads",
    "fastmlp.engines.tiled",
    "fastmlp.engines.choice",
    "fastmlp.engines",
    "fastmlp.data",
    "fastmlp.preprocessing",
    "fastmlp.storage",
    "fastmlp.training.optimizers",
    "fastmlp.training.update_rules",
    "fastmlp.training.state",
    "fastmlp.training.keywords",
    "fastmlp.training.schedules",
    "fastmlp.training.rates",
    "fastmlp.embedding",
    "fastmlp.network",
    "fastmlp.training",
    "fastmlp.callbacks",
    "fastmlp.inspect",
    "fastmlp.estimators",
    "fastmlp.model_selection",
    "fastmlp.search",
    "fastmlp.course",
    "fastmlp.benchmark",
    "fastmlp.rendering",
    "fastmlp.cli",
    "fastmlp.__main__",
)
# These collect what stands below them.
COLLECTORS = ("fastmlp", "fastmlp.kernels", "fastmlp.cli")
# Networks and training tell and do not draw; these ask rendering for it where a user asks them.
DRAWING = {
    "fastmlp.estimators.quasi_newton",
    "fastmlp.estimators.stochastic",
    "fastmlp.network.network",
    "fastmlp.training.callbacks.progress",
    "fastmlp.training.history",
}

COMPILATION_MAY_IMPORT = {"numpy", "numba", "llvmlite", "fastmlp.compilation", "fastmlp.machine", "fastmlp.errors"}
KERNELS_MAY_IMPORT = {"numpy", "numba", "llvmlite", "fastmlp.compilation", "fastmlp.kernels"}
MAY_IMPORT = {
    "fastmlp.compilation": COMPILATION_MAY_IMPORT | {"fastmlp.kernels.elementary", "fastmlp.kernels.elementary_64", "fastmlp.prebuilt"},
    "fastmlp.kernels": KERNELS_MAY_IMPORT,
    "fastmlp.engines": KERNELS_MAY_IMPORT | {"fastmlp.engines", "fastmlp.machine", "fastmlp.errors"},
}

# Packages whose import name differs, and the one that Numba pins.
TAKEN_IF_THERE = {"pandas"}  # what a user has, and what nothing asks for
PACKAGE_OF = {"PIL": "pillow", "llvmlite": "numba", "sklearn": "scikit-learn"}


def imports(module: Module) -> Iterator[tuple[str, str]]:
    """Yield (place, imported module) for every import in a file, those inside functions included."""
    known = {other.name for other in modules()}
    package = module.name if module.path.endswith("__init__.py") else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else str(node.module)
            inside = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in known else base for name in inside]
            if base == "fastmlp":  # a public name taken from the top would hide the file that it lives in
                names = [name for name in inside if name != "fastmlp.__version__"]
        else:
            continue
        yield from ((f"{module.path}:{node.lineno}", name) for name in names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def draws(name: str, imported: str) -> bool:
    """Return whether an import is one of those that a user asked to draw something by."""
    return name in DRAWING and within(imported, "fastmlp.rendering")


def floor(name: str) -> int:
    """Return how far down the floor plan a module stands; one without a place stands at the bottom."""
    rooms = [entry for entry in FLOOR_PLAN if within(name, entry)]
    return FLOOR_PLAN.index(max(rooms, key=len)) if rooms else len(FLOOR_PLAN)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import numpy as np", "numpy"),
        ("import fastmlp.data.idx", "fastmlp.data.idx"),
        ("from fastmlp import errors", "fastmlp.errors"),
        ("from fastmlp.errors import DataError", "fastmlp.errors"),
        ("from ..errors import DataError", "fastmlp.errors"),
        ("from .. import errors", "fastmlp.errors"),
        ("from fastmlp import train", "fastmlp.train"),
        ("def f():\n    from fastmlp import settings", "fastmlp.settings"),
        ("if TYPE_CHECKING:\n    from fastmlp import settings", "fastmlp.settings"),
    ],
)
def test_imports_are_found(source, name):
    module = Module("fastmlp.data.dataset", "fastmlp/data/dataset.py", ast.parse(source))
    assert [found for _, found in imports(module)] == [name]


def test_every_module_has_a_place_in_the_floor_plan():
    homeless = {module.path for module in modules() if floor(module.name) == len(FLOOR_PLAN)}
    assert homeless == {"fastmlp/__init__.py"}


def test_every_room_of_the_floor_plan_exists():
    assert [room for room in FLOOR_PLAN if not any(within(module.name, room) for module in modules())] == []


def test_imports_point_up_the_floor_plan():
    wrong = [
        f"{place} imports {name}"
        for module in modules()
        if module.name not in COLLECTORS
        for place, name in imports(module)
        if within(name, "fastmlp") and floor(name) > floor(module.name) and not draws(module.name, name)
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle():
    plan = [module for module in modules() if module.name not in COLLECTORS]
    files = {module.name: {name for _, name in imports(module) if not draws(module.name, name)} for module in plan}
    list(graphlib.TopologicalSorter(files).static_order())  # raises CycleError


def test_what_draws_is_loaded_where_it_is_asked_for():
    at_once = [
        f"{place} imports {name}"
        for module in modules()
        for node in module.tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for place, name in imports(module._replace(tree=ast.Module([node], [])))
        if draws(module.name, name)
    ]
    assert at_once == []


def test_kernels_import_only_arrays_and_the_compiler():
    wrong = [
        f"{place} imports {name}"
        for room, allowed in MAY_IMPORT.items()
        for module in modules()
        if within(module.name, room)
        for place, name in imports(module)
        if name.partition(".")[0] not in sys.stdlib_module_names and not any(within(name, package) for package in allowed)
    ]
    assert wrong == []


def test_every_package_imported_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [needed for extra, needs in project["optional-dependencies"].items() if extra != "test" for needed in needs]
    declared = {re.split(r"[^\w-]", requirement)[0] for requirement in project["dependencies"] + extras}
    imported = {name.partition(".")[0] for module in modules() for _, name in imports(module)} - sys.stdlib_module_names - {"fastmlp"}
    assert {PACKAGE_OF.get(name, name) for name in imported} - declared - TAKEN_IF_THERE == set()
