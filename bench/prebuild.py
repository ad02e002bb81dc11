"""Machine code for a wheel: list the kernels that people need, and compile them for each level of x86-64. No kernel runs.

    python bench/prebuild.py FOLDER [LEVEL...]

LEVEL: for these levels alone. FOLDER becomes the package fastmlp.prebuilt: the code in a folder for each level, and __init__.py, which
says for what it was made and has the digest of each file. `make wheel` calls this by way of hatch_build.py. What is listed follows from
the trainings of `fastmlp warmup` and from what is written below: kernels and the types of their arguments, the same for a level that this
processor has and for any other.
"""

import contextlib
import hashlib
import os
import pprint
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp.compilation import code_cache, decorators, levels, listing, machine_code, shipped, stamps
from fastmlp.compilation.listing import Needed
from fastmlp.inspect import gradient_check
from fastmlp.training.warmup import warm_up

ROWS = 400  # two batches of MLPClassifier's 200
PREDICTED = (1, 3, ROWS)  # one row, a few, and many are predicted in ways of their own
TYPES = ("float32", "float64")
HEADER = '''"""Machine code that came with the package: what it was made for, and the SHA-256 digest of each file. By bench/prebuild.py."""

'''


def prebuild(folder: Path, wanted: list[str]) -> None:
    """Write the package of machine code for each of the levels."""
    if unknown := set(wanted).difference(levels.LEVELS):
        sys.exit(f"expected levels out of {', '.join(levels.LEVELS)}, got {', '.join(sorted(unknown))}")
    if not levels.native().triple.startswith("x86_64"):
        sys.exit(f"expected a processor of x86-64, got {levels.native().triple}")
    with tempfile.TemporaryDirectory() as caches:
        running = {}
        for level in wanted:
            (folder / level).mkdir(parents=True)
            environment = os.environ | {"FASTMLP_LEVEL": level, "FASTMLP_CACHE_DIR": str(Path(caches, level))}
            running[level] = subprocess.Popen([sys.executable, __file__, "--one", level, folder / level], env=environment)
        for level, process in running.items():
            if process.wait() != 0:
                sys.exit(f"{level}: exit code {process.returncode}")
    digests = {}
    for file in sorted(folder.glob("*/*")):
        digests[file.relative_to(folder).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    told = {"MADE_FOR": stamps.made_for(), "DIGESTS": digests}
    lines = [f"{name}: dict[str, str] = {pprint.pformat(value, width=140)}\n" for name, value in told.items()]
    (folder / "__init__.py").write_text(HEADER + "".join(lines))


def compile_for(level: str, folder: Path) -> None:
    """Compile everything that is listed for a level, whether or not this processor has it."""
    here = levels.native().triple
    levels.possible = lambda: {level: levels.Target(here, level, frozenset(levels.LEVELS[level]), is_level=True)}
    listed = {each.path.name: each for needed in (listed_of(use) for use in uses()) for each in needed}
    size, bitcode = 0, {}
    for name, needed in listed.items():
        needed.kernel.compile(needed.signature)
        code = machine_code.Code.unpacked(code_cache.read(needed.path))
        if isinstance(needed.kernel, decorators.Inner):  # called by address
            code = code._replace(rest=b"")
        else:
            bitcode[name] = code.bitcode
        payload = code._replace(bitcode=b"").packed()
        (folder / name).write_bytes(payload)
        size += len(payload)
    (folder / shipped.BITCODE).write_bytes(shipped.packed_bitcode(bitcode))
    print(f"{level}: {len(listed)} kernels, {size / 1e6:.1f} MB", flush=True)


def listed_of(use: Callable[[], object]) -> list[Needed]:
    """Return the kernels that something calls, which gets 0 from all of them, and may fail of that."""
    with listing.listed() as needed, contextlib.suppress(Exception), np.errstate(all="ignore"):
        use()
    return needed


def uses() -> Iterator[Callable[[], object]]:
    """Yield what people do, each as a function that does it."""
    for dtype in TYPES:
        yield lambda dtype=dtype: list(warm_up(dtype))
        yield from of_networks(dtype)
        yield from of_estimators(dtype)
    yield lambda: list(gradient_check.check_all())


def of_networks(dtype: str) -> Iterator[Callable[[], object]]:
    """Yield what is done with networks beside training them."""
    generator = np.random.default_rng(0)
    rows = {
        "bytes": generator.integers(0, 256, (ROWS, 784)).astype(np.uint8),
        "floats": generator.standard_normal((ROWS, 30)).astype(dtype),
    }
    for x in rows.values():
        for hidden in ((), (3,), (300,)):
            network = fastmlp.Network([x.shape[1], *hidden, 10], dtype=dtype)
            for count in PREDICTED:
                yield lambda network=network, x=x[:count]: network.predict(x)
            yield lambda network=network, x=x[0]: network.predict(x)
            yield lambda network=network, x=x: network.gradient(x, np.arange(len(x)) % 10)


def of_estimators(dtype: str) -> Iterator[Callable[[], object]]:
    """Yield trainings of the estimators."""
    generator = np.random.default_rng(0)
    for inputs in (4, 30):
        x = generator.standard_normal((ROWS, inputs)).astype(dtype)
        for classes in (2, 3, 10):
            y = generator.integers(0, classes, ROWS)
            yield lambda x=x, y=y: fastmlp.MLPClassifier(max_iter=2).fit(x, y)
        yield lambda x=x: fastmlp.MLPRegressor(max_iter=2).fit(x, x[:, 0])


if __name__ == "__main__":
    if sys.argv[1] == "--one":  # how it calls itself
        compile_for(sys.argv[2], Path(sys.argv[3]))
    else:
        prebuild(Path(sys.argv[1]), sys.argv[2:] or list(levels.LEVELS))
