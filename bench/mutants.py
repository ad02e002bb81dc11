"""Change the program in random places, one at a time, and see whether the nearest tests notice.

    python bench/mutants.py [--count 200] [--seed 1] [--only AREA...] [--file bench/mutants.json] [--traces FOLDER]

A mutant is one small fault: a comparison or an operation exchanged, a constant moved by one, a condition negated, a statement dropped, None
returned, two arguments swapped, a keyword left out. It is drawn, from all places of the areas below, by the seed; --only tries those of
some areas. Only the tests of the nearest folder count: first those that execute the line, the fastest first, which one traced run of each
folder finds out, and then those of the same files, which may share a fixture with them. A line that runs when its module is read is run
for all of them. A mutant that none notices lives; where a test takes far longer than it did, it has noticed. All happens in a copy of the
tree, in one process after the other, forked from one that has read pytest and Numba already. The file is written after each mutant; what it
has for the same mutant is kept, so that a run may be broken off, and that a reason why a mutant is equivalent ("equivalent": "...") is
written into it by hand.
"""

import argparse
import ast
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import coverage
import pytest

ROOT = Path(__file__).parents[1]


class Area(NamedTuple):
    """A part of the program, its nearest tests, and what these need."""

    sources: str
    tests: tuple[str, ...]
    environment: dict[str, str] = {}
    options: tuple[str, ...] = ()


PLAIN = ("activations", "comparison", "losses", "rows", "textbook", "updates")  # tests of the textbook loops that need no compiler
AREAS = {
    "training": Area("training/*.py", ("tests/training",)),
    "network": Area("network/*.py", ("tests/network",)),
    "search": Area("search/*.py", ("tests/search",)),
    "storage": Area("storage/*.py", ("tests/storage",)),
    "cli": Area("cli/*.py", ("tests/cli",)),
    # A change of a kernel would have all of them compiled anew; NumPy warns of an overflow where compiled code does not.
    "kernels": Area(
        "kernels/textbook.py",
        tuple(f"tests/kernels/test_{name}.py" for name in PLAIN),
        {"NUMBA_DISABLE_JIT": "1"},
        ("-W", "ignore::RuntimeWarning"),
    ),
}
SECONDS = 1800  # for the tests of one mutant, should they wait for each other
LONGER, AT_LEAST = 10.0, 30.0  # a test has so many times the processor time that it took, and so many seconds besides


# --- mutants -------------------------------------------------------------------------------------------------------------


class Mutant(NamedTuple):
    """A fault: characters of a line of a file, and what stands there instead."""

    area: str
    file: str
    line: int
    kind: str
    before: str
    after: str
    is_import: bool  # it runs when the module is read, not when a function is called
    begin: int  # bytes of the file
    end: int


NAMED = ("file", "begin", "kind", "before", "after")  # what tells mutants of a tree apart


COMPARISONS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATIONS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


def changes_of(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield every fault of one node: its kind, and what stands in its place."""
    match node:
        case ast.Compare(ops=[op, *_]):
            yield "comparison", _with(node, ops=[COMPARISONS[type(op)](), *node.ops[1:]])
        case ast.BinOp() if type(node.op) in OPERATIONS:
            yield "operation", _with(node, op=OPERATIONS[type(node.op)]())
        case ast.AugAssign() if type(node.op) in OPERATIONS:
            yield "operation", _with(node, op=OPERATIONS[type(node.op)]())
            yield "statement dropped", ast.Pass()
        case ast.Constant(value=bool()):
            yield "constant", ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            yield from (("constant", ast.Constant(value)) for value in (node.value + 1, node.value - 1) if value != node.value)
        case ast.BoolOp():
            yield "condition", _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not()):
            yield "condition", node.operand
        case ast.IfExp():
            yield "condition", _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "None returned", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()) | ast.Raise() | ast.Delete() | ast.Break() | ast.Continue():
            yield "statement dropped", ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield "statement dropped", ast.Pass()
        case ast.Call():
            if len(node.args) > 1 and not any(isinstance(each, ast.Starred) for each in node.args[:2]):
                yield "arguments swapped", _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
            for keyword in node.keywords:
                if keyword.arg:
                    yield "keyword left out", _with(node, keywords=[each for each in node.keywords if each is not keyword])


def _with(node: Any, **fields: Any) -> Any:
    return type(node)(**{name: getattr(node, name) for name in node._fields} | fields)


def places_of(tree: ast.AST, is_import: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Yield the nodes that run, and whether on import: no annotation, nothing for type checkers only, no part of a text in braces."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns") or isinstance(tree, ast.JoinedStr):
            continue
        if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
            continue
        inside = is_import and not (name == "body" and isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST):
                yield node, inside
                yield from places_of(node, inside)


def mutants_of(area: str, path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a file."""
    content = path.read_bytes()
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node, is_import in places_of(ast.parse(content)):
        for kind, changed in changes_of(node):
            assert isinstance(node, ast.expr | ast.stmt)  # noqa: S101
            begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
            after = ast.unparse(ast.fix_missing_locations(changed))
            if isinstance(node, ast.expr):
                after = f"({after})"
            file = str(path.relative_to(ROOT))
            yield Mutant(area, file, node.lineno, kind, content[begin:end].decode(), after, is_import, begin, end)


def drawn(count: int, seed: int) -> list[Mutant]:
    """Return mutants, drawn from those of all areas without choosing one twice."""
    every = [mutant for area in AREAS for path in sorted((ROOT / "fastmlp").glob(AREAS[area].sources)) for mutant in mutants_of(area, path)]
    return random.Random(seed).sample(every, min(count, len(every)))  # noqa: S311


# --- tests ---------------------------------------------------------------------------------------------------------------


class Trace:
    """A plugin of pytest: which lines each test executes, how long it takes, and whether it starts processes, whose lines nobody sees."""

    def __init__(self, sources: list[str]):
        self.coverage = coverage.Coverage(data_file=None, config_file=False, include=sources)
        self.found: dict[str, dict[str, Any]] = {}
        self.began = os.times()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Begin a test."""
        self.coverage.switch_context(nodeid)
        self.began = os.times()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep how a part of a test ended."""
        kept = self.found.setdefault(report.nodeid, {"failed": False})
        now = os.times()
        kept["seconds"] = sum(now[:4]) - sum(self.began[:4])
        kept["processes"] = now.children_user > self.began.children_user
        kept["failed"] |= report.failed


def traced(area: Area, files: list[str], tree: Path) -> dict[str, Any]:
    """Run the tests of files once; return {test: {"lines": [...], "seconds": ..., "processes": ..., "failed": ...}}."""
    trace = Trace([str(path) for path in (tree / "fastmlp").glob(area.sources)])
    trace.coverage.start()
    pytest.main([*files, "-m", "not long", "-q", "-p", "no:cacheprovider", *area.options], plugins=[trace])
    trace.coverage.stop()
    data, lines = trace.coverage.get_data(), {test: [] for test in trace.found}
    for file in data.measured_files():
        for line, tests in data.contexts_by_lineno(file).items():
            for test in filter(None, tests):
                lines[test].append(f"{Path(file).relative_to(tree)}:{line}")
    return {test: {**found, "lines": lines[test]} for test, found in trace.found.items()}


def traces_of(name: str, tree: Path, kept: Path | None) -> dict[str, Any]:
    """Return what `traced` says of all tests of an area; those that a file keeps count where test and sources are the same."""
    area = AREAS[name]
    sources = b"".join(path.read_bytes() for path in sorted((tree / "fastmlp").glob(area.sources)))
    paths = [path for each in area.tests for path in ([tree / each] if each.endswith(".py") else sorted((tree / each).glob("test_*.py")))]
    digests = {str(path.relative_to(tree)): hashlib.sha256(sources + path.read_bytes()).hexdigest() for path in paths}
    before = json.loads(kept.read_text()) if kept and kept.exists() else {}
    known = {file: each for file, each in before.items() if each["digest"] == digests.get(file)}
    if new := [file for file in digests if file not in known]:
        found = in_child(lambda: traced(area, new, tree), 24 * 3600)
        if not isinstance(found, dict):
            raise RuntimeError(f"{name}: the tests cannot be traced: {found}")
        for file in new:
            known[file] = {"digest": digests[file], "tests": {test: each for test, each in found.items() if file_of(test) == file}}
        if kept:
            kept.write_text(json.dumps(known))
    return {test: each for file in known.values() for test, each in file["tests"].items()}


def file_of(test: str) -> str:
    """Return the file of a test."""
    return test.partition("::")[0]


def tests_for(mutant: Mutant, tests: dict[str, Any]) -> list[str]:
    """Return the tests that may notice a mutant, the likeliest first, and of these the fastest.

    Those that execute its line, the others of their files, those that start processes; where it runs on import, those that execute
    anything of its file, and then all.
    """
    where = f"{mutant.file}:{mutant.line}"
    sound = {test: found for test, found in tests.items() if not found["failed"]}
    if mutant.is_import:
        chosen = {test for test, found in sound.items() if any(line.startswith(f"{mutant.file}:") for line in found["lines"])}
        others = set(sound)
    else:
        chosen = {test for test, found in sound.items() if where in found["lines"]}
        files = {file_of(test) for test in chosen}
        others = {test for test, found in sound.items() if found["processes"] or file_of(test) in files}
    return sorted(chosen | others, key=lambda test: (test not in chosen, sound[test]["seconds"]))


class FirstFailure:
    """A plugin of pytest: the first test that fails, and an end of the process where one takes too long."""

    def __init__(self, tests: dict[str, Any]):
        self.name, self._tests = "", tests

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Begin a test: in how many seconds of the processor this process ends."""
        known = self._tests.get(nodeid)
        took = known["seconds"] if known else AT_LEAST
        signal.setitimer(signal.ITIMER_PROF, AT_LEAST + LONGER * took)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a failure."""
        if report.failed and not self.name:
            self.name = report.nodeid


def tried(area: Area, chosen: list[str], tests: dict[str, Any]) -> str:
    """Run tests until one fails; return its name, or nothing."""
    first = FirstFailure(tests)
    code = pytest.main([*chosen, "-x", "-q", "-p", "no:cacheprovider", *area.options], plugins=[first])
    return first.name or ("" if code == 0 else f"exit code {int(code)}")


def in_child(do: Callable[[], Any], seconds: float) -> Any:
    """Return what a function gives in a forked process; "time" where it takes too long, "ended" where the process gives nothing."""
    answer = Path(f"answer of {os.getpid()}").absolute()
    child = os.fork()
    if child == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        try:
            said = do()
        except BaseException as error:
            said = repr(error)
        answer.write_text(json.dumps(said))
        os._exit(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            said = answer.read_text() if answer.exists() else json.dumps("ended")
            answer.unlink(missing_ok=True)
            return json.loads(said)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "time"


# --- a run ---------------------------------------------------------------------------------------------------------------


def copied(tree: Path) -> None:
    """Copy everything that is under version control."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)


def of_area(name: str, mutants: list[Mutant], tree: Path, traces: Path | None, done: Callable[[Mutant, str, int], None]) -> None:
    """Try the mutants of one area, in the process that is going to be the parent of all their tests."""
    area = AREAS[name]
    os.environ.update(area.environment, PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1")
    os.chdir(tree)
    sys.dont_write_bytecode = True
    sys.path[0] = str(tree)
    import numba  # noqa: F401  takes long to read, and is no part of the program

    tests = traces_of(name, tree, None if traces is None else traces / f"{name}.json")
    failed = sorted(test for test, found in tests.items() if found["failed"])
    print(f"{name}: {len(tests)} tests, of which {len(failed)} fail without a change: {failed}", flush=True)
    for number, mutant in enumerate(mutants):
        path = tree / mutant.file
        content = path.read_bytes()
        path.write_bytes(content[: mutant.begin] + mutant.after.encode() + content[mutant.end :])
        os.utime(path, ns=(number * 10**9, number * 10**9))  # bytecode is taken for fresh by the second of its source
        chosen = tests_for(mutant, tests)
        try:
            found = in_child(lambda chosen=chosen: tried(area, chosen, tests), SECONDS) if chosen else ""
        finally:
            path.write_bytes(content)
        done(mutant, found, len(chosen))


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=AREAS, default=list(AREAS))
    parser.add_argument("--file", type=Path, default=ROOT / "bench" / "mutants.json")
    parser.add_argument("--traces", type=Path, help="a folder that keeps which tests execute which lines, for the next run")
    given = parser.parse_args()
    mutants = drawn(given.count, given.seed)
    of_sources = subprocess.run(["git", "log", "-1", "--format=%h", "--", "fastmlp"], cwd=ROOT, capture_output=True, text=True, check=True)
    head = {"seed": given.seed, "count": given.count, "commit": of_sources.stdout.strip()}
    before: list[dict[str, Any]] = json.loads(given.file.read_text())["mutants"] if given.file.exists() else []
    known = {tuple(each[name] for name in NAMED): each for each in before}
    records = {mutant: known[key] for mutant in mutants if (key := tuple(getattr(mutant, name) for name in NAMED)) in known}

    def done(mutant: Mutant, found: str, tests: int) -> None:
        named = {name: value for name, value in mutant._asdict().items() if name != "end"}
        records[mutant] = {**named, "tests": tests, "caught": found}
        print(f"{found or '-- LIVES --'}: {mutant.file}:{mutant.line} {mutant.kind}: {mutant.before!r} -> {mutant.after!r}", flush=True)
        in_order = [records[each] for each in mutants if each in records]
        given.file.write_text(json.dumps(head | {"mutants": in_order}, indent=1, ensure_ascii=False) + "\n")

    with tempfile.TemporaryDirectory(prefix="mutants") as folder:
        tree = Path(folder).resolve() / "tree"
        copied(tree)
        for name in given.only:
            new = [each for each in mutants if each.area == name and is_open(records.get(each))]
            if new:
                # a process for each area: its environment counts when Numba is read
                reports = in_parent_of_tests(name, new, tree, given.traces)
                for mutant, found, tests in reports:
                    done(mutant, found, tests)
    every = list(records.values())
    alive = [each for each in every if is_open(each)]
    equivalent = [each for each in every if each.get("equivalent")]
    counted = len(every) - len(equivalent)
    print(f"{len(every)} mutants, {len(equivalent)} of them equivalent; of the others {1 - len(alive) / max(1, counted):.1%} were caught")


def is_open(record: dict[str, Any] | None) -> bool:
    """Return whether a mutant is still to be tried: it never was, or it lived and nobody said why."""
    return record is None or not (record["caught"] or record.get("equivalent"))


def in_parent_of_tests(name: str, mutants: list[Mutant], tree: Path, traces: Path | None) -> Iterator[tuple[Mutant, str, int]]:
    """Yield what became of each mutant of an area: a test that failed, or nothing; and how many tests there were."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w", buffering=1) as file:
            of_area(name, mutants, tree, traces, lambda mutant, found, tests: print(json.dumps([found, tests]), file=file))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        for mutant, line in zip(mutants, file, strict=True):
            yield mutant, *json.loads(line)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
