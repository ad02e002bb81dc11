"""Pure Python: numbers in lists, one sample a step, as in a first course. Sigmoid hidden layers, softmax output, plain SGD."""

import math

import numpy as np

from fastmlp.benchmark.problem import Problem, flat, layers_of
from fastmlp.benchmark.runner import Training, Unavailable


def build(problem: Problem) -> Training:
    """Return lists at work on a problem."""
    workload = problem.workload
    if (workload.activation, workload.output, workload.batch_size, workload.optimizer) != ("sigmoid", "softmax", 1, "sgd"):
        raise Unavailable(f"the lists know sigmoid, softmax and one sample a step only, not workload {workload.name}")
    x, y = problem.inputs.tolist(), problem.y.tolist()
    layers = [(weight.tolist(), bias.tolist()) for weight, bias in layers_of(problem.parameters, workload.sizes)]

    def epoch(order: np.ndarray) -> None:
        for row in order.tolist():
            _step(layers, x[row], y[row], workload.learning_rate)

    return Training(epoch, lambda: flat([(np.array(weight, np.float32), np.array(bias, np.float32)) for weight, bias in layers]))


def _step(layers: list[tuple[list[list[float]], list[float]]], x: list[float], target: int, learning_rate: float) -> None:
    """Take one step for one sample."""
    passed = [x]
    for weight, bias in layers:
        z = list(bias)
        for a, row in zip(passed[-1], weight, strict=True):
            for n, w in enumerate(row):
                z[n] += a * w
        passed.append([1 / (1 + math.exp(-v)) for v in z] if len(passed) < len(layers) else z)
    largest = max(passed[-1])
    powers = [math.exp(v - largest) for v in passed[-1]]
    total = sum(powers)
    delta = [power / total for power in powers]
    delta[target] -= 1
    for index in range(len(layers) - 1, -1, -1):
        weight, bias = layers[index]
        inputs = passed[index]
        before = []
        for a, row in zip(inputs, weight, strict=True):
            if index:
                before.append(sum(d * w for d, w in zip(delta, row, strict=True)) * a * (1 - a))
            for n, d in enumerate(delta):
                row[n] -= learning_rate * a * d
        for n, d in enumerate(delta):
            bias[n] -= learning_rate * d
        delta = before
