"""The optimisers in float64, each step written as a sum over all gradients so far. Imports nothing of fastmlp.

The kernels carry these sums on from step to step instead, so that a mistake is not made twice.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tests.oracle import mlp

Array = np.ndarray


class Rule(NamedTuple):
    """An optimiser and its numbers."""

    name: str
    learning_rate: float
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


class Run(NamedTuple):
    parameters: Array  # after the last step
    m: Array  # what the optimiser keeps of the gradients, and of their squares
    v: Array


def decayed_sum(decay: float, terms: Sequence[Array]) -> Array:
    """Return the sum over i of decay^(t - i) terms[i], t being the last one."""
    weights = decay ** np.arange(len(terms) - 1, -1, -1.0)
    return np.tensordot(weights, np.array(terms), axes=1)


def step(rule: Rule, parameters: Array, gradients: Sequence[Array]) -> Array:
    """Return the parameters after a step, from those before it and the gradients of all steps up to this one."""
    t = len(gradients)
    if rule.name == "sgd":
        return parameters - rule.learning_rate * gradients[-1]
    if rule.name == "momentum":
        return parameters - rule.learning_rate * decayed_sum(rule.beta1, gradients)
    if rule.name == "nesterov":
        return parameters - rule.learning_rate * (gradients[-1] + rule.beta1 * decayed_sum(rule.beta1, gradients))
    if rule.name in ("adam", "adamw"):
        # weighted means: the weights (1 - beta) beta^(t - i) / (1 - beta^t) add up to 1
        mean = decayed_sum(rule.beta1, gradients) / decayed_sum(rule.beta1, np.ones((t, 1)))
        mean_square = decayed_sum(rule.beta2, np.square(gradients)) / decayed_sum(rule.beta2, np.ones((t, 1)))
        shrunk = parameters * (1.0 - rule.learning_rate * rule.weight_decay) if rule.name == "adamw" else parameters
        return shrunk - rule.learning_rate * mean / (np.sqrt(mean_square) + rule.epsilon)
    raise ValueError(rule.name)


def train(
    rule: Rule,
    parameters: Array,
    sizes: Sequence[int],
    activations: Sequence[str],
    loss: str,
    x: Array,
    target: Array,
    *,
    order: Array,
    batch_size: int,
    mean: bool = True,
    sample_weight: Array | None = None,
    changed: Callable[[int, Rule], Rule] = lambda number, rule: rule,
) -> Run:
    """Take one step per batch of rows in the order given; `changed` gives the rule of step 0, 1, ..."""
    parameters = np.array(parameters, np.float64)
    weights = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    gradients: list[Array] = []
    for rows in mlp.batches(order, batch_size):
        now = changed(len(gradients), rule)
        share = 1.0 / len(rows) if mean else 1.0
        layers, _ = mlp.gradient(mlp.layers_of(parameters, sizes), activations, loss, x[rows], target[rows], share * weights[rows])
        decay = 0.0 if now.name == "adamw" else now.weight_decay
        gradients.append(mlp.flat(layers) + decay * parameters)
        parameters = step(now, parameters, gradients)
    kept = (1.0 - rule.beta1, 1.0 - rule.beta2) if rule.name in ("adam", "adamw") else (1.0, 0.0)
    m = kept[0] * decayed_sum(rule.beta1, gradients)
    v = kept[1] * decayed_sum(rule.beta2, np.square(gradients))
    return Run(parameters, m, v)
