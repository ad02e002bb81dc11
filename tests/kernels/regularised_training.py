"""Trainings with dropout, noise and max-norm by the float64 oracle, step by step; and the functions that the document defines in NumPy."""

import functools
import re
import runpy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.kernels.regularisation import Regularisation
from tests.kernels.test_textbook_step import Job
from tests.oracle import mlp, randomness, updates
from tests.oracle.updates import Rule

Array = np.ndarray
DOCUMENT = (Path(__file__).parents[2] / "docs" / "regularisation.md").read_text()


@functools.cache
def documented() -> Mapping[str, Callable[..., Any]]:
    """Return the functions that the document defines, by name."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "regularisation.py"
        script.write_text("\n".join(block for block in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL) if "def " in block))
        return runpy.run_path(str(script))


def train(rule: Rule, how: Regularisation, job: Job, parameters: Array, x: Array, target: Array, first_step: int = 0) -> Array:
    """Return the parameters after one step per batch of a job."""
    weights = np.ones(job.rows) if job.weights() is None else job.weights()
    gradients: list[Array] = []
    for step, rows in enumerate(mlp.batches(job.order(), job.batch_size), first_step):
        inputs = x[rows] + how.input_noise * randomness.noise(how.seed, step, (len(rows), job.sizes[0]))
        inputs = inputs * randomness.dropout_factors(how.input_dropout, how.seed, 0, step, inputs.shape)
        masks = [
            randomness.dropout_factors(share, how.seed, 1 + index, step, (len(rows), units))
            for index, (share, units) in enumerate(zip(how.dropout, job.sizes[1:], strict=False))
        ]
        layers, share = mlp.layers_of(parameters, job.sizes), 1.0 / len(rows) if job.mean else 1.0
        found, _ = mlp.gradient(layers, job.activations, job.loss, inputs, target[rows], share * weights[rows], masks=masks or None)
        gradients.append(mlp.flat(found) + rule.weight_decay * parameters)
        parameters = updates.step(rule, parameters, gradients)
        if how.max_norm is not None:
            *hidden, output = mlp.layers_of(parameters, job.sizes)
            parameters = mlp.flat([*(limited(how.max_norm, layer) for layer in hidden), output])
    return parameters


def limited(longest: float, layer: mlp.Layer) -> mlp.Layer:
    """Return a layer with no column of weights longer than that."""
    lengths = np.linalg.norm(layer.weight, axis=0)
    return layer._replace(weight=layer.weight / np.maximum(lengths / longest, 1.0))
