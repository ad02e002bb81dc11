"""NumPy: the textbook with matrix products, run by the BLAS that NumPy was built with."""

from collections.abc import Callable

import numpy as np

from fastmlp.benchmark.problem import Problem, as_inputs, delta_of, flat, layers_of, smoothed
from fastmlp.benchmark.runner import Course, Gradient, Prediction, Repeated, Runner, Training, called_often, from_python
from fastmlp.benchmark.workloads import GRADIENT, LAYER, TRAIN

Array = np.ndarray
Layers = list[tuple[Array, Array]]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
}
DERIVATIVES: dict[str, Callable[[Array], Array]] = {  # as functions of a = f(z)
    "sigmoid": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a * a,
    "relu": lambda a: a > 0,
}


def build(problem: Problem, variant: str = "plain") -> Runner:
    """Return NumPy at work on a problem. How many threads BLAS uses was decided when the process started."""
    task = problem.workload.task
    if task == LAYER:
        return _layer(problem, variant.rpartition(" ")[2])
    if task == TRAIN:
        return _training(problem)
    return _gradient(problem) if task == GRADIENT else _prediction(problem)


def _outputs(layers: Layers, activation: str, x: Array) -> list[Array]:
    """Return x, the activations of every hidden layer, and z of the output layer."""
    passed = [x]
    for weight, bias in layers[:-1]:
        passed.append(ACTIVATIONS[activation](passed[-1] @ weight + bias))
    weight, bias = layers[-1]
    return [*passed, passed[-1] @ weight + bias]


def _output_delta(loss: str, z: Array, target: Array) -> Array:
    """Return the derivative (M, N) of the mean loss of a batch with respect to z."""
    if loss == "mse":
        difference: Array = z - target
        return difference * np.float32(2 / z.size)
    p: Array = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if target.ndim == 2:
        p -= target
    else:
        p[np.arange(len(p)), target] -= 1
    p /= np.float32(len(p))
    return p


def _gradients(problem: Problem, layers: Layers, x: Array, target: Array) -> Layers:
    workload = problem.workload
    *inputs, z = _outputs(layers, workload.activation, x)
    delta = _output_delta(workload.loss, z, target)
    gradients: Layers = []
    for index in range(len(layers) - 1, -1, -1):
        gradients.insert(0, (inputs[index].T @ delta, delta.sum(axis=0)))
        if index:
            delta = (delta @ layers[index][0].T) * DERIVATIVES[workload.activation](inputs[index])
    return gradients


def _training(problem: Problem) -> Training:
    workload, x, y = problem.workload, problem.inputs, problem.y
    parameters = problem.parameters.copy()
    layers = layers_of(parameters, workload.sizes)
    update = _adam(layers, workload.learning_rate) if workload.optimizer == "adam" else _sgd(layers, workload.learning_rate)

    def epoch(order: Array) -> None:
        for first in range(0, len(order), workload.batch_size):
            rows = order[first : first + workload.batch_size]
            update(_gradients(problem, layers, x[rows], y[rows]))

    return Training(epoch, parameters.copy)


def course(problem: Problem, smoothing: float) -> Course:
    """Return NumPy ready for a whole training."""
    workload = problem.workload
    target = smoothed(problem.y, workload.sizes[-1], smoothing)
    parameters = problem.parameters.copy()
    layers = layers_of(parameters, workload.sizes)
    x = np.empty((0, workload.sizes[0]), np.float32)

    def start(initial: Array) -> None:
        parameters[:] = initial

    def show(rows: Array) -> None:
        nonlocal x
        x = as_inputs(rows)

    def epoch(order: Array, rates: Array) -> None:
        for step, first in enumerate(range(0, len(order), workload.batch_size)):
            rows = order[first : first + workload.batch_size]
            _sgd(layers, rates[step])(_gradients(problem, layers, x[rows], target[rows]))

    return Course(start, show, epoch, parameters.copy)


def _sgd(layers: Layers, learning_rate: float) -> Callable[[Layers], None]:
    def update(gradients: Layers) -> None:
        for layer, gradient in zip(layers, gradients, strict=True):
            for value, g in zip(layer, gradient, strict=True):
                g *= np.float32(learning_rate)
                value -= g

    return update


def _adam(layers: Layers, learning_rate: float) -> Callable[[Layers], None]:
    values = [value for layer in layers for value in layer]
    means, squares = [np.zeros_like(value) for value in values], [np.zeros_like(value) for value in values]
    beta1, beta2, epsilon = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
    step = 0

    def update(gradients: Layers) -> None:
        nonlocal step
        step += 1
        rate, root = np.float32(learning_rate / (1 - 0.9**step)), np.float32((1 - 0.999**step) ** -0.5)
        for value, g, m, v in zip(values, (g for layer in gradients for g in layer), means, squares, strict=True):
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * (g * g)
            value -= rate * m / (np.sqrt(v) * root + epsilon)

    return update


def _gradient(problem: Problem) -> Gradient:
    x, y, layers = problem.inputs, problem.y, layers_of(problem.parameters, problem.workload.sizes)
    return Gradient(lambda: _gradients(problem, layers, x, y), flat)


def _layer(problem: Problem, operation: str) -> Repeated:
    x, parameters = problem.inputs, problem.parameters.copy()
    ((weight, bias),) = layers_of(parameters, problem.workload.sizes)
    delta, rate = delta_of(problem).astype(x.dtype), x.dtype.type(problem.workload.learning_rate)
    z, before, gradient = np.empty_like(delta), np.empty_like(x), np.empty_like(weight)

    def forward() -> None:
        np.matmul(x, weight, out=z)
        np.add(z, bias, out=z)

    def backward() -> None:
        np.matmul(delta, weight.T, out=before)

    def update() -> None:
        np.matmul(x.T, delta, out=gradient)
        np.multiply(gradient, rate, out=gradient)
        np.subtract(weight, gradient, out=weight)
        np.subtract(bias, rate * delta.sum(axis=0), out=bias)

    call = {"forward": forward, "backward": backward, "update": update}[operation]
    answer = {"forward": z.ravel, "backward": before.ravel, "update": lambda: parameters - problem.parameters}[operation]
    return Repeated(called_often(call), answer)


def _prediction(problem: Problem) -> Prediction:
    layers, activation = layers_of(problem.parameters, problem.workload.sizes), problem.workload.activation
    return Prediction(from_python(lambda row: int(_outputs(layers, activation, row)[-1].argmax())), lambda row: row)
