"""The optimizers in float64, each step written as a sum over all gradients so far. Imports nothing of fastmlp.

The kernels carry these sums on from step to step instead, so that a mistake is not made twice.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tests.oracle import mlp

Array = np.ndarray

DECOUPLED = ("adamw", "lion")  # rules that shrink the weights themselves, where the others add the pull of the decay to the gradient


class Rule(NamedTuple):
    """An optimizer and its numbers; beta1 is the momentum of momentum, nesterov and rmsprop_momentum."""

    name: str
    learning_rate: float
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    initial: float = 0.0  # what adagrad's sum of squares begins at


class Run(NamedTuple):
    parameters: Array  # after the last step
    m: Array  # what the optimizer keeps of the gradients, and of their squares
    v: Array
    trajectory: Sequence[Array] = ()  # the parameters at the start and after each step


def decayed_sum(decay: float, terms: Sequence[Array]) -> Array:
    """Return the sum over i of decay^(t - i) terms[i], t being the last one."""
    weights = decay ** np.arange(len(terms) - 1, -1, -1.0)
    return np.tensordot(weights, np.array(terms), axes=1)


def decayed_mean(decay: float, terms: Sequence[Array]) -> Array:
    """Return the mean of the terms with weights decay^(t - i), which add up to 1."""
    return decayed_sum(decay, terms) / decayed_sum(decay, np.ones((len(terms), 1)))


def step(rule: Rule, parameters: Array, gradients: Sequence[Array]) -> Array:
    """Return the parameters after a step, from those before it and the gradients of all steps up to this one."""
    rate, name = rule.learning_rate, rule.name
    shrunk = parameters * (1.0 - rate * rule.weight_decay) if name in DECOUPLED else parameters
    return shrunk - rate * direction(rule, gradients)


def direction(rule: Rule, gradients: Sequence[Array]) -> Array:
    """Return what a step goes along, times the learning rate; without the decay of the decoupled rules."""
    name, t = rule.name, len(gradients)
    if name == "sgd":
        return gradients[-1]
    if name == "momentum":
        return decayed_sum(rule.beta1, gradients)
    if name == "nesterov":
        return gradients[-1] + rule.beta1 * decayed_sum(rule.beta1, gradients)
    if name == "adagrad":  # Duchi, Hazan, Singer 2011, section 1.1
        return gradients[-1] / (np.sqrt(rule.initial + np.square(gradients).sum(axis=0)) + rule.epsilon)
    if name == "rmsprop":  # Tieleman and Hinton 2012
        return _normalised(rule, gradients)
    if name == "rmsprop_momentum":
        return decayed_sum(rule.beta1, [_normalised(rule, gradients[: i + 1]) for i in range(t)])
    if name == "lion":  # Chen et al. 2023, algorithm 2
        kept = (1.0 - rule.beta2) * decayed_sum(rule.beta2, gradients[:-1]) if t > 1 else 0.0
        return np.sign(rule.beta1 * kept + (1.0 - rule.beta1) * gradients[-1])
    root = np.sqrt(decayed_mean(rule.beta2, np.square(gradients))) + rule.epsilon
    if name in ("adam", "adamw"):
        return decayed_mean(rule.beta1, gradients) / root
    if name == "nadam":  # Dozat 2016, algorithm 2, with the momentum that PyTorch lets grow
        mu = rule.beta1 * (1.0 - 0.5 * 0.96 ** (0.004 * np.arange(1, t + 2)))
        mean = (1.0 - rule.beta1) * decayed_sum(rule.beta1, gradients)
        now, ahead = (1.0 - mu[t - 1]) / (1.0 - mu[:t].prod()), mu[t] / (1.0 - mu[: t + 1].prod())
        return (now * gradients[-1] + ahead * mean) / root
    raise ValueError(name)


def _normalised(rule: Rule, gradients: Sequence[Array]) -> Array:
    """Return the last gradient over the root of the decayed sum of squares, (1 - beta2) of each, plus epsilon."""
    return gradients[-1] / (np.sqrt((1.0 - rule.beta2) * decayed_sum(rule.beta2, np.square(gradients))) + rule.epsilon)


def kept(rule: Rule, gradients: Sequence[Array]) -> tuple[Array, Array]:
    """Return m and v, what a rule keeps after these gradients, one or two numbers for each; zeros where it keeps none."""
    none = np.zeros_like(gradients[-1])
    mean = (1.0 - rule.beta1) * decayed_sum(rule.beta1, gradients)
    mean_square = (1.0 - rule.beta2) * decayed_sum(rule.beta2, np.square(gradients))
    return {
        "sgd": lambda: (none, none),
        "momentum": lambda: (decayed_sum(rule.beta1, gradients), none),
        "nesterov": lambda: (decayed_sum(rule.beta1, gradients), none),
        "adagrad": lambda: (np.square(gradients).sum(axis=0), none),
        "rmsprop": lambda: (mean_square, none),
        "rmsprop_momentum": lambda: (direction(rule, gradients), mean_square),
        "lion": lambda: ((1.0 - rule.beta2) * decayed_sum(rule.beta2, gradients), none),
        "adam": lambda: (mean, mean_square),
        "adamw": lambda: (mean, mean_square),
        "nadam": lambda: (mean, mean_square),
    }[rule.name]()


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
    limited: Callable[[Array, Array], Array] = lambda gradient, parameters: gradient,
) -> Run:
    """Take one step per batch of rows in the order given.

    `changed` gives the rule of step 0, 1, ..., `limited` what the rule gets of a gradient at these parameters.
    """
    parameters = np.array(parameters, np.float64)
    weights = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    gradients: list[Array] = []
    trajectory = [parameters]
    for rows in mlp.batches(order, batch_size):
        now = changed(len(gradients), rule)
        share = 1.0 / len(rows) if mean else 1.0
        layers, _ = mlp.gradient(mlp.layers_of(parameters, sizes), activations, loss, x[rows], target[rows], share * weights[rows])
        decay = 0.0 if now.name in DECOUPLED else now.weight_decay
        gradients.append(limited(mlp.flat(layers), parameters) + decay * parameters)
        parameters = step(now, parameters, gradients)
        trajectory.append(parameters)
    return Run(parameters, *kept(rule, gradients), trajectory)
