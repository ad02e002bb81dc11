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

IMPORTS = {"numpy": "NumPy", "numba": "Numba", "jax": "JAX", "torch": "PyTorch", "sklearn.neural_network": "scikit-learn", "keras": "Keras"}

# What a script does first, in each of them: two steps of 784-300-10 ReLU and softmax on batches of 50 rows; or the classes of one row by a
# network that knows nothing yet (scikit-learn has none: there, one step comes before it).
ROWS = """
import numpy as np
x, y = np.zeros((100, 784), np.uint8), np.arange(100) % 10
x[::2] = 200
"""
FLOATS = (
    ROWS
    + """
x = x.astype(np.float32) / 255
"""
)
OURS = (
    ROWS
    + """
import fastmlp
network = fastmlp.Network([784, 300, 10])
"""
)
SKLEARN = (
    FLOATS
    + """
import warnings
warnings.simplefilter("ignore")
from sklearn.neural_network import MLPClassifier
network = MLPClassifier((300,), solver="sgd", batch_size=50, max_iter=1)
"""
)
TORCH = (
    FLOATS
    + """
import torch
network = torch.nn.Sequential(torch.nn.Linear(784, 300), torch.nn.ReLU(), torch.nn.Linear(300, 10))
rows, labels = torch.from_numpy(x), torch.from_numpy(y)
"""
)
JAX = (
    FLOATS
    + """
import jax, jax.numpy as jnp
keys = jax.random.split(jax.random.key(0), 2)
weights = [jax.random.normal(key, (k, n)) / k**0.5 for key, k, n in zip(keys, (784, 300), (300, 10))]
biases = [jnp.zeros(300), jnp.zeros(10)]
def outputs(parameters, x):
    (w, v), (b, c) = parameters
    return jnp.maximum(x @ w + b, 0) @ v + c
"""
)
BACKEND = """
import importlib.util, os
found = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
os.environ.setdefault("KERAS_BACKEND", found[0])
"""
KERAS = (
    BACKEND
    + FLOATS
    + """
import keras
network = keras.Sequential([keras.layers.Input((784,)), keras.layers.Dense(300, "relu"), keras.layers.Dense(10, "softmax")])
"""
)
TRAINING, PREDICTION = "first training", "first prediction"
# For each: what has to be there, its title, and what a process runs.
FIRST: dict[str, tuple[str, str, str]] = {
    "fastmlp": (
        "fastmlp",
        OURS + "fastmlp.train(network, x, y, epochs=1, batch_size=50)",
        OURS + "network.predict(x[0])",
    ),
    "scikit-learn": (
        "sklearn",
        SKLEARN + "network.fit(x, y)",
        SKLEARN + "network.partial_fit(x[:50], y[:50], classes=range(10)).predict(x[:1])",
    ),
    "PyTorch": (
        "torch",
        TORCH + """
optimizer = torch.optim.SGD(network.parameters(), 0.1)
for first in (0, 50):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(network(rows[first:first + 50]), labels[first:first + 50]).backward()
    optimizer.step()
""",
        TORCH + "with torch.no_grad():\n    int(network(rows[:1]).argmax())",
    ),
    "JAX": (
        "jax",
        JAX + """
def loss(parameters, x, y):
    return -jnp.mean(jax.nn.log_softmax(outputs(parameters, x))[jnp.arange(50), y])
@jax.jit
def step(parameters, x, y):
    return jax.tree.map(lambda p, g: p - 0.1 * g, parameters, jax.grad(loss)(parameters, x, y))
parameters = weights, biases
for first in (0, 50):
    parameters = step(parameters, x[first:first + 50], y[first:first + 50])
jax.block_until_ready(parameters)
""",
        JAX + "int(jax.jit(outputs)((weights, biases), x[:1]).argmax())",
    ),
    "Keras": (
        "keras",
        KERAS + """
network.compile("sgd", "sparse_categorical_crossentropy")
network.fit(x, y, batch_size=50, epochs=1, verbose=0)
""",
        KERAS + "int(network.predict(x[:1], verbose=0).argmax())",
    ),
}  # fmt: skip


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
    """Measure every start `repeats` times in rounds, in a quick run once; what compiles its code first, once."""
    with tempfile.TemporaryDirectory(prefix="fastmlp-start-") as folder:
        kept = Path(folder) / "kept"
        lines: dict[str, tuple[str, list[str], Path | None]] = {
            "Python itself": ("sys", ["-c", ""], None),
            "fastmlp --help": ("fastmlp", ["-m", "fastmlp", "--help"], None),
            "import fastmlp": ("fastmlp", ["-c", "import fastmlp"], None),
            **{
                f"import {title}": (name, ["-c", (BACKEND if name == "keras" else "") + f"import {name}"], None)
                for name, title in IMPORTS.items()
            },
        }
        for number, what in enumerate((TRAINING, PREDICTION), 1):
            for title, (package, *scripts) in FIRST.items():
                lines[f"{what}, {title}"] = package, ["-c", scripts[number - 1]], kept
        cold = []
        for number, what in enumerate((TRAINING, PREDICTION), 1):
            notify(f"compiling for the {what}")
            package, *scripts = FIRST["fastmlp"]
            code = ["-c", scripts[number - 1]]
            cold.append(Start(f"{what} ever, fastmlp, with compilation", (_run(code, Path(folder) / what),)))
            _run(code, kept)
        faults = {what: _missing(name) for what, (name, *_) in lines.items()}
        times: dict[str, list[float]] = {what: [] for what in lines}
        repeats = 1 if quick else repeats
        for number in range(repeats):
            notify(f"round {number + 1} of {repeats}")
            for what, (_, arguments, cache) in lines.items():
                if faults.get(what) is None:
                    times[what].append(_run(arguments, cache))
    return [*(Start(what, tuple(seconds), faults.get(what)) for what, seconds in times.items()), *cold]


def _missing(name: str) -> str | None:
    package = name.partition(".")[0]
    if importlib.util.find_spec(package) is not None:
        return None
    installed_as = next((peer.packages[package] for peer in IMPLEMENTATIONS.values() if package in peer.packages), package)
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
