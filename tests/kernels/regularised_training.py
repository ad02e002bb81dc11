"""Trainings with dropout, noise and max-norm in float64, by matrix products and with the random numbers that the document defines."""

import functools
import re
import runpy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.kernels.regularisation import Regularisation
from tests.kernels.test_step import Job
from tests.oracle import mlp, updates
from tests.oracle.updates import Rule

Array = np.ndarray
DOCUMENT = (Path(__file__).parents[2] / "docs" / "regularisation.md").read_text()


@functools.cache
def documented() -> Mapping[str, Callable[..., Any]]:
    """Return the functions that the document defines in NumPy, by name."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "regularisation.py"
        script.write_text("\n".join(block for block in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL) if "def " in block))
        return runpy.run_path(str(script))


def factors(share: float, seed: int, layer: int, step: int, rows: int, units: int) -> Array:
    """Return (rows, units): 0 for what is left out, else 1 / (1 - share)."""
    return np.where(documented()["is_dropped"](share, seed, layer, step, rows, units), 0.0, 1.0 / (1.0 - share))


def train(rule: Rule, how: Regularisation, job: Job, parameters: Array, x: Array, target: Array, first_step: int = 0) -> Array:
    """Return the parameters after one step per batch of a job."""
    parameters, n_hidden = np.array(parameters, np.float64), len(job.activations)
    weights = np.ones(job.rows) if job.weights() is None else job.weights()
    gradients: list[Array] = []
    for number, rows in enumerate(mlp.batches(job.order(), job.batch_size), first_step):
        layers, M = mlp.layers_of(parameters, job.sizes), len(rows)
        share = 1.0 / M if job.mean else 1.0
        a = x[rows]
        if how.input_noise > 0:
            a = a + how.input_noise * documented()["noise"](how.seed, number, M, job.sizes[0])
        a = a * factors(how.input_dropout, how.seed, 0, number, M, job.sizes[0])
        inputs, sums, kept = [a], [], []
        for index, (layer, activation) in enumerate(zip(layers[:-1], job.activations, strict=True)):
            sums.append(inputs[-1] @ layer.weight + layer.bias)
            kept.append(factors(how.dropout[index] if how.dropout else 0.0, how.seed, 1 + index, number, M, job.sizes[1 + index]))
            inputs.append(mlp.ACTIVATIONS[activation][0](sums[-1]) * kept[-1])
        z = inputs[-1] @ layers[-1].weight + layers[-1].bias
        delta = share * weights[rows][:, None] * mlp.output_delta(job.loss, z, target[rows])
        gradient: list[mlp.Layer] = []
        for index in range(n_hidden, -1, -1):
            gradient.insert(0, mlp.Layer(inputs[index].T @ delta, delta.sum(axis=0)))
            if index > 0:
                derivative = mlp.ACTIVATIONS[job.activations[index - 1]][1]
                delta = (delta @ layers[index].weight.T) * kept[index - 1] * derivative(sums[index - 1])
        gradients.append(mlp.flat(gradient) + (0.0 if rule.name == "adamw" else rule.weight_decay) * parameters)
        parameters = updates.step(rule, parameters, gradients)
        if how.max_norm is not None:
            parameters = mlp.flat([*map(functools.partial(limited, how.max_norm), mlp.layers_of(parameters, job.sizes)[:-1]),
                                   mlp.layers_of(parameters, job.sizes)[-1]])  # fmt: skip
    return parameters


def limited(longest: float, layer: mlp.Layer) -> mlp.Layer:
    """Return a layer with no column of weights longer than that."""
    lengths = np.linalg.norm(layer.weight, axis=0)
    return layer._replace(weight=layer.weight / np.maximum(lengths / longest, 1.0))
