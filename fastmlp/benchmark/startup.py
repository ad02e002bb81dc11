"""How long it takes until something happens: imports, the command line, the first training with and without compiled code."""

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fastmlp.benchmark.implementations import IMPLEMENTATIONS
from fastmlp.benchmark.processes import HINT
from fastmlp.errors import FastmlpError

# A first step of training, as a script would take it.
TRAINING = """
import numpy as np, fastmlp
x = np.zeros((100, 784), np.uint8)
x[::2] = 200
fastmlp.train(fastmlp.Network([784, 300, 10]), x, np.arange(100) % 10, epochs=1)
"""
IMPORTS = {"numpy": "NumPy", "numba": "Numba", "jax": "JAX", "torch": "PyTorch", "sklearn.neural_network": "scikit-learn"}


class Start(NamedTuple):
    """One thing that starts, in a process of its own: seconds from its start to its end."""

    what: str
    seconds: tuple[float, ...] = ()
    fault: str | None = None

    @property
    def median(self) -> float | None:
        """The middle one of all times."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def best(self) -> float | None:
        """The shortest of all times."""
        return min(self.seconds, default=None)


def measure(repeats: int = 5, quick: bool = False, notify: Callable[[str], None] = lambda text: None) -> list[Start]:
    """Measure every start `repeats` times in rounds, in a quick run once."""
    with tempfile.TemporaryDirectory(prefix="fastmlp-start-") as folder:
        kept = Path(folder) / "kept"
        lines: dict[str, tuple[list[str], Path | None]] = {
            "Python itself": (["-c", ""], None),
            "fastmlp --help": (["-m", "fastmlp", "--help"], None),
            "import fastmlp": (["-c", "import fastmlp"], None),
            **{f"import {title}": (["-c", f"import {name}"], None) for name, title in IMPORTS.items()},
            "first training, code in the cache": (["-c", TRAINING], kept),
        }
        notify("compiling for the first training")
        cold = _run(["-c", TRAINING], kept)
        faults = {f"import {title}": _missing(name) for name, title in IMPORTS.items()}
        times: dict[str, list[float]] = {what: [] for what in lines}
        repeats = 1 if quick else repeats
        for number in range(repeats):
            notify(f"round {number + 1} of {repeats}")
            for what, (arguments, cache) in lines.items():
                if faults.get(what) is None:
                    times[what].append(_run(arguments, cache))
    found = [Start(what, tuple(seconds), faults.get(what)) for what, seconds in times.items()]
    return [*found, Start("first training ever, with compilation", (cold,))]


def _missing(name: str) -> str | None:
    package = name.partition(".")[0]
    if importlib.util.find_spec(package) is not None:
        return None
    installed_as = next(peer.packages[package] for peer in IMPLEMENTATIONS.values() if package in peer.packages)
    return f"not installed: {installed_as}; {HINT}"


def _run(arguments: list[str], cache: Path | None) -> float:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    if cache is not None:
        environment["FASTMLP_CACHE_DIR"] = str(cache)
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise FastmlpError(
            f"expected {arguments[-1].strip()!r} to run, got code {done.returncode}: {said[-1] if said else 'without a word'}"
        )
    return seconds
