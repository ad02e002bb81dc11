"""A workload made of numbers: the same data, initial parameters and order of rows for everybody, and one loss to judge them all by."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from fastmlp.benchmark.workloads import IMAGES, LAYER, Workload
from fastmlp.data.dataset import load_dataset

SEED = 0
ORDERS = 8  # orders of rows that are drawn; later epochs take them again from the first
JUDGED_ROWS = 5_000
BYTE_SCALE = 255.0
DELTA_SCALE = 1e-2  # of the made-up deltas of a single layer: so small that weights stay finite in millions of updates
WORKLOAD_FILE = "workload.json"


class Problem(NamedTuple):
    """The arrays of one workload.

    x (rows, K) uint8 or float32, y (rows,) class numbers or (rows, T) float32, parameters (P,) float32, orders (ORDERS, rows).
    """

    workload: Workload
    x: np.ndarray
    y: np.ndarray
    parameters: np.ndarray
    orders: np.ndarray

    @property
    def inputs(self) -> np.ndarray:
        """The rows as float32, bytes as v / 255: a copy, in the form that most libraries like best."""
        return as_inputs(self.x)

    def write(self, folder: Path) -> None:
        """Write the arrays and the facts of the workload into a folder, from where every process reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("x", "y", "parameters", "orders"):
            np.save(folder / f"{name}.npy", getattr(self, name))
        facts = self.workload._asdict()
        del facts["targets"], facts["limit"]  # what is aimed for is nothing that a worker has to know
        (folder / WORKLOAD_FILE).write_text(json.dumps(facts))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote."""
        facts = json.loads((folder / WORKLOAD_FILE).read_text())
        workload = Workload(**{**facts, "sizes": tuple(facts["sizes"])}, targets=())
        return cls(workload, *(np.load(folder / f"{name}.npy") for name in ("x", "y", "parameters", "orders")))


def as_inputs(x: np.ndarray) -> np.ndarray:
    """Return rows as float32, bytes as v / 255."""
    return x.astype(np.float32) / np.float32(BYTE_SCALE) if x.dtype == np.uint8 else x


def smoothed(y: np.ndarray, n_classes: int, smoothing: float) -> np.ndarray:
    """Return class numbers (n,) as targets (n, C), float32: (1 - smoothing) one-hot + smoothing / C."""
    rows = np.eye(n_classes) * (1.0 - smoothing) + smoothing / n_classes
    return rows.astype(np.float32).take(y, axis=0)


def make_problem(workload: Workload, data_dir: Path | None = None) -> Problem:
    """Return the arrays of a workload. The orders are those that fastmlp.train draws from seed 0."""
    from fastmlp.kernels import random
    from fastmlp.network import Network

    x, y = _random_rows(workload) if workload.data.startswith("random") else _known_rows(workload, data_dir)
    network = Network(workload.sizes, workload.activation, workload.output, seed=SEED)
    if workload.task == LAYER:
        network.biases[-1][:] = np.linspace(-0.1, 0.1, workload.sizes[-1])  # biases begin at zero, where adding none would not be noticed
    orders = np.empty((ORDERS, workload.rows), np.int64)
    for number in range(ORDERS):
        orders[number] = np.arange(workload.rows)
        random.shuffle(orders[number], random.key_of(SEED, random.SHUFFLE, number))
    return Problem(workload, x, y, network.parameters, orders)


def _known_rows(workload: Workload, data_dir: Path | None) -> tuple[np.ndarray, np.ndarray]:
    data = load_dataset(workload.data, data_dir)
    x = data.x_train[: workload.rows]
    return x.reshape(len(x), -1) if workload.data in IMAGES else x, data.y_train[: workload.rows].astype(np.int64)


def _random_rows(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Return rows without structure, and targets that a linear layer gives, so that there is something to learn."""
    generator = np.random.default_rng(SEED)
    n_inputs, n_outputs = workload.sizes[0], workload.sizes[-1]
    teacher = generator.standard_normal((n_inputs, n_outputs), np.float32) / np.float32(n_inputs**0.5)
    if workload.data == "random-bytes":
        x = generator.integers(1, 256, (workload.rows, n_inputs), np.uint8)
        return x, ((x - np.float32(BYTE_SCALE / 2)) @ teacher).argmax(axis=1)
    x = generator.standard_normal((workload.rows, n_inputs), np.float32)
    if workload.data == "random-classes":
        return x, (x @ teacher).argmax(axis=1)
    return x, np.tanh(x @ teacher)


def delta_of(problem: Problem) -> np.ndarray:
    """Return the delta (M, N), float32, that a single layer is handed on the way back: made up, the same for everybody."""
    generator = np.random.default_rng(SEED)
    return generator.standard_normal((problem.workload.rows, problem.workload.sizes[-1]), np.float32) * np.float32(DELTA_SCALE)


def layers_of(parameters: np.ndarray, sizes: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (weight (K, N), bias (N,)) of every layer as views of the flat vector (P,)."""
    layers, first = [], 0
    for k, n in zip(sizes, sizes[1:], strict=False):
        middle, last = first + k * n, first + k * n + n
        layers.append((parameters[first:middle].reshape(k, n), parameters[middle:last]))
        first = last
    return layers


def flat(layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the flat vector (P,) of layers (weight (K, N), bias (N,))."""
    return np.concatenate([np.asarray(part).ravel() for layer in layers for part in layer])


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": lambda z: 1.0 / (1.0 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0.0),
}


def judge(problem: Problem, parameters: np.ndarray) -> float:
    """Return the mean loss of parameters (P,) over up to 5,000 rows spread evenly: float64, the same for every implementation."""
    workload = problem.workload
    sample = np.linspace(0, workload.rows - 1, min(JUDGED_ROWS, workload.rows)).astype(np.int64)
    a = problem.x[sample].astype(np.float64) / (BYTE_SCALE if problem.x.dtype == np.uint8 else 1.0)
    target = problem.y[sample]
    *hidden, (weight, bias) = layers_of(parameters.astype(np.float64), workload.sizes)
    for hidden_weight, hidden_bias in hidden:
        a = ACTIVATIONS[workload.activation](a @ hidden_weight + hidden_bias)
    z = a @ weight + bias
    if workload.loss == "mse":
        return float(((z - target) ** 2).mean())
    largest = z.max(axis=1)
    log_total = largest + np.log(np.exp(z - largest[:, None]).sum(axis=1))
    return float((log_total - z[np.arange(len(z)), target]).mean())
