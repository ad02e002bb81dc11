"""A whole training in float64: every setting that changes a number, one after the other as the documents define them.

Imports nothing of fastmlp. What a training draws is recomputed by randomness.py; what is left out here changes no number
(threads, forms of the kernels) or is an input (augmented images).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.oracle import losses, mlp, normalisation, randomness, schedules, updates
from tests.oracle.schedules import Schedule
from tests.oracle.updates import Rule

Array = np.ndarray


class Problem(NamedTuple):
    """What is trained, on what, and by which settings; names are those of the settings."""

    sizes: Sequence[int]
    activations: Sequence[str]  # of the hidden layers
    parameters: Array  # to start from
    x: Array  # (n, K), normalised
    target: Array  # (n, T)
    loss: str
    validation: tuple[Array, Array] | None = None
    row_weights: Array | None = None  # (n,), class weights included
    normalization: str = "none"
    epochs: int = 1
    batch_size: int = 50
    schedule: Schedule = Schedule()
    rule: Rule = Rule("sgd", 0.0)  # its learning rate is that of the schedule, its decay the one here
    clip_value: float | None = None
    clip_norm: float | None = None
    l1: float = 0.0
    max_norm: float | None = None
    dropout: Sequence[float] = ()  # of each hidden layer
    input_dropout: float = 0.0
    input_noise: float = 0.0
    parameter: float = 0.0  # delta of huber, level of quantile
    label_smoothing: float = 0.0
    average: str = "none"
    average_decay: float = 0.999
    average_start: float = 0.75
    mean: bool = True  # reduction
    seed: int = 0


class Epoch(NamedTuple):
    train_loss: float
    train_accuracy: float  # 0 for numbers
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float  # of its last step


class Trained(NamedTuple):
    raw: Array  # parameters after the last step
    parameters: Array  # those that the network ends with: averaged where that was asked for
    running: list[normalisation.Running]  # of batch normalisation, per hidden layer
    epochs: list[Epoch]
    gradients: list[Array]  # of each step, as the rule took them


def train(problem: Problem) -> Trained:
    """Train as `problem` says."""
    p, n = problem, len(problem.x)
    batch_size = min(p.batch_size, n)
    steps_per_epoch = -(-n // batch_size)
    weights = np.ones(n) if p.row_weights is None else np.asarray(p.row_weights, np.float64)
    parameters = np.array(p.parameters, np.float64)
    running = [normalisation.at_the_start(width) for width in p.sizes[1:-1]] if p.normalization == "batch" else []
    trajectory, ends, gradients, epochs = [parameters], [], [], []
    reductions = 0

    for epoch in range(p.epochs):
        order = np.array(randomness.shuffled(p.seed, epoch, n))
        loss_sum = correct = 0.0
        for rows in mlp.batches(order, batch_size):
            step = len(gradients)
            rate = schedules.rate(p.schedule, step, steps_per_epoch, p.epochs, reductions)
            found, z, running = _gradient(p, parameters, rows, weights[rows], running, step)
            loss_sum += float((weights[rows] * losses.row_losses(p.loss, z, p.target[rows], _loss_parameter(p, True))).sum())
            correct += float((weights[rows] * losses.correct_rows(p.loss, z, p.target[rows])).sum())
            gradients.append(_penalised(p, _clipped(p, found), parameters))
            parameters = _within_max_norm(p, updates.step(p.rule._replace(learning_rate=rate), parameters, gradients))
            trajectory.append(parameters)
        ends.append(parameters)
        in_use = _averaged(p, trajectory, ends)
        validation_loss, validation_accuracy = _evaluate(p, in_use, running)
        epochs.append(Epoch(loss_sum / weights.sum(), correct / weights.sum(), validation_loss, validation_accuracy, rate))
        monitored = [done.train_loss if p.validation is None else done.validation_loss for done in epochs]
        reductions = schedules.reductions_on_plateau(monitored, p.schedule.step_size)
    return Trained(parameters, _averaged(p, trajectory, ends), running, epochs, gradients)


def _loss_parameter(p: Problem, is_training: bool) -> float:
    """Return the number that goes with the loss: label smoothing belongs to training alone."""
    if p.loss in losses.SMOOTHED:
        return p.label_smoothing if is_training else 0.0
    return p.parameter


def _gradient(
    p: Problem, parameters: Array, rows: Array, weights: Array, running: list[normalisation.Running], step: int
) -> tuple[Array, Array, list[normalisation.Running]]:
    """Return the gradient (P,) of a batch, z of its outputs, and the running statistics after it."""
    M, layers = len(rows), mlp.layers_of(parameters, p.sizes, p.normalization != "none")
    x = p.x[rows].astype(np.float64)
    if p.input_noise > 0.0:
        x = x + p.input_noise * randomness.noise(p.seed, step, x.shape)
    if p.input_dropout > 0.0:
        x = x * randomness.dropout_factors(p.input_dropout, p.seed, 0, step, x.shape)
    shares = zip(p.dropout, p.sizes[1:], strict=False)
    masks = [randomness.dropout_factors(share, p.seed, 1 + index, step, (M, width)) for index, (share, width) in enumerate(shares)]
    found, z = mlp.gradient(
        layers, p.activations, p.loss, x, p.target[rows], weights / M if p.mean else weights, _loss_parameter(p, True),
        norm=p.normalization, masks=masks or None, running=running if M == 1 else None,
    )  # fmt: skip
    if running and M > 1:  # one row has no variance: it is standardised as inference does it, and leaves the statistics as they are
        below = [x, *(a for _, a in mlp.forward(layers, p.activations, x, norm=p.normalization, masks=masks or None))]
        running = [normalisation.updated(old, a @ layer.weight) for old, a, layer in zip(running, below, layers, strict=False)]
    return mlp.flat(found), z, running


def _clipped(p: Problem, gradient: Array) -> Array:
    if p.clip_value is not None:
        gradient = np.clip(gradient, -p.clip_value, p.clip_value)
    if p.clip_norm is not None:
        gradient = gradient * min(1.0, p.clip_norm / max(np.linalg.norm(gradient), 1e-300))
    return gradient


def _penalised(p: Problem, gradient: Array, parameters: Array) -> Array:
    decay = 0.0 if p.rule.name in updates.DECOUPLED else p.rule.weight_decay
    return gradient + decay * parameters + p.l1 * np.sign(parameters)


def _within_max_norm(p: Problem, parameters: Array) -> Array:
    if p.max_norm is None:
        return parameters
    *hidden, output = mlp.layers_of(parameters, p.sizes, p.normalization != "none")
    scaled = [layer._replace(weight=layer.weight / np.maximum(np.linalg.norm(layer.weight, axis=0) / p.max_norm, 1.0)) for layer in hidden]
    return mlp.flat([*scaled, output])


def _averaged(p: Problem, trajectory: Sequence[Array], ends: Sequence[Array]) -> Array:
    """Return the parameters in use after these steps and ends of epochs: averaged where there is an average yet.

    trajectory: the parameters at the start and after each step.
    """
    if p.average == "ema":
        shares = (1.0 - p.average_decay) * p.average_decay ** np.arange(len(trajectory) - 1, -1, -1.0)
        shares[0] = p.average_decay ** (len(trajectory) - 1)  # the average starts from the first of them
        return np.tensordot(shares, np.array(trajectory), axes=1)
    late = [end for epoch, end in enumerate(ends, 1) if epoch > p.average_start * p.epochs]
    return np.mean(late, axis=0) if p.average == "swa" and late else trajectory[-1]


def _evaluate(p: Problem, parameters: Array, running: list[normalisation.Running]) -> tuple[float | None, float | None]:
    if p.validation is None:
        return None, None
    x, target = p.validation
    layers = mlp.layers_of(parameters, p.sizes, p.normalization != "none")
    z = mlp.forward(layers, p.activations, x, norm=p.normalization, running=running or None)[-1][0]
    rows = losses.row_losses(p.loss, z, target, _loss_parameter(p, False))
    return float(rows.mean()), float(losses.correct_rows(p.loss, z, target).mean())
