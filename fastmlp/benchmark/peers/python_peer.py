"""Pure Python: numbers in lists, products in loops, as in a first course. Sigmoid hidden layers, softmax output, plain SGD."""

import math

import numpy as np

from fastmlp.benchmark.problem import Problem, delta_of, flat, layers_of
from fastmlp.benchmark.runner import Repeated, Runner, Training, Unavailable, called_often
from fastmlp.benchmark.workloads import LAYER

Vector = list[float]
Matrix = list[Vector]


def build(problem: Problem, variant: str) -> Runner:
    """Return lists at work on a problem."""
    workload = problem.workload
    layers = [(weight.tolist(), bias.tolist()) for weight, bias in layers_of(problem.parameters, workload.sizes)]
    if workload.task == LAYER:
        return _layer(problem, layers, variant.rpartition(" ")[2])
    if (workload.activation, workload.output, workload.optimizer) != ("sigmoid", "softmax", "sgd"):
        raise Unavailable(f"the lists know sigmoid, softmax and plain SGD only, not workload {workload.name}")
    x, y = problem.inputs.tolist(), problem.y.tolist()

    def epoch(order: np.ndarray) -> None:
        rows = order.tolist()
        for first in range(0, len(rows), workload.batch_size):
            batch = rows[first : first + workload.batch_size]
            _step(layers, [x[row] for row in batch], [y[row] for row in batch], workload.learning_rate)

    return Training(epoch, lambda: _as_vector(layers))


def _step(layers: list[tuple[Matrix, Vector]], x: Matrix, targets: list[int], learning_rate: float) -> None:
    """Take one step for one batch."""
    passed = [x]
    for weight, bias in layers:
        z = _forward(passed[-1], weight, bias)
        passed.append([[1 / (1 + math.exp(-v)) for v in row] for row in z] if len(passed) < len(layers) else z)
    delta = []
    for z_row, target in zip(passed[-1], targets, strict=True):
        largest = max(z_row)
        powers = [math.exp(v - largest) for v in z_row]
        total = sum(powers)
        delta.append([power / total for power in powers])
        delta[-1][target] -= 1
    for index in range(len(layers) - 1, -1, -1):
        weight, bias = layers[index]
        before = []
        if index:
            for row, inputs in zip(_backward(delta, weight), passed[index], strict=True):
                before.append([d * a * (1 - a) for d, a in zip(row, inputs, strict=True)])
        _update(weight, bias, passed[index], delta, learning_rate / len(x))
        delta = before


def _forward(x: Matrix, weight: Matrix, bias: Vector) -> Matrix:
    """Return x @ weight + bias."""
    out = []
    for row in x:
        z = list(bias)
        for a, weights in zip(row, weight, strict=True):
            for n, w in enumerate(weights):
                z[n] += a * w
        out.append(z)
    return out


def _backward(delta: Matrix, weight: Matrix) -> Matrix:
    """Return delta @ weight.T."""
    return [[sum([d * w for d, w in zip(row, weights, strict=True)]) for weights in weight] for row in delta]


def _update(weight: Matrix, bias: Vector, x: Matrix, delta: Matrix, rate: float) -> None:
    """Take rate * x.T @ delta from the weights, and rate * the sum of delta from the biases."""
    for row, deltas in zip(x, delta, strict=True):
        for a, weights in zip(row, weight, strict=True):
            step = rate * a
            for n, d in enumerate(deltas):
                weights[n] -= step * d
        for n, d in enumerate(deltas):
            bias[n] -= rate * d


def _layer(problem: Problem, layers: list[tuple[Matrix, Vector]], operation: str) -> Repeated:
    ((weight, bias),) = layers
    x, delta, rate = problem.inputs.tolist(), delta_of(problem).tolist(), problem.workload.learning_rate
    result: Matrix = []

    def call() -> None:
        nonlocal result
        if operation == "forward":
            result = _forward(x, weight, bias)
        elif operation == "backward":
            result = _backward(delta, weight)
        else:
            _update(weight, bias, x, delta, rate)

    def answer() -> np.ndarray:
        return _as_vector(layers) - problem.parameters if operation == "update" else np.array(result, np.float32).ravel()

    return Repeated(called_often(call), answer)


def _as_vector(layers: list[tuple[Matrix, Vector]]) -> np.ndarray:
    return flat([(np.array(weight, np.float32), np.array(bias, np.float32)) for weight, bias in layers])
