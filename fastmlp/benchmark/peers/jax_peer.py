"""JAX: a whole epoch in one compiled scan, its parameters donated.

unroll 1    every step gathers its rows
unroll 4    the same, four steps in one turn of the loop
gathered    the rows are brought into order first; faster where a step is one row
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.benchmark.problem import Problem, as_inputs, delta_of, flat, layers_of, smoothed
from fastmlp.benchmark.runner import Course, Gradient, Prediction, Repeated, Runner, Training, from_python
from fastmlp.benchmark.workloads import GRADIENT, LAYER, TRAIN

UNROLL = {"unroll 1": 1, "unroll 4": 4, "gathered": 1}


def build(problem: Problem, variant: str) -> Runner:
    """Return JAX at work on a problem. How many threads XLA uses was decided when the process started."""
    task = problem.workload.task
    if task == LAYER:
        return _layer(problem, variant.rpartition(" ")[2])
    if task == TRAIN:
        return _training(problem, UNROLL[variant], variant == "gathered")
    return _gradient(problem) if task == GRADIENT else _prediction(problem)


def _network(problem: Problem) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
    """Return the parameters on the device, the function of the outputs, and the one of the mean loss."""
    import jax
    import jax.numpy as jnp

    workload = problem.workload
    activate = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu}[workload.activation]
    parameters = [(jnp.array(weight), jnp.array(bias)) for weight, bias in layers_of(problem.parameters, workload.sizes)]

    def outputs(parameters: Any, x: Any) -> Any:
        for weight, bias in parameters[:-1]:
            x = activate(x @ weight + bias)
        weight, bias = parameters[-1]
        return x @ weight + bias

    def mean_loss(parameters: Any, x: Any, target: Any) -> Any:
        z = outputs(parameters, x)
        if workload.loss == "mse":
            return jnp.mean((z - target) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), target[:, None], axis=1))

    return parameters, outputs, mean_loss


def _optimizer(name: str, learning_rate: float) -> tuple[Callable[[Any], Any], Callable[[Any, Any, Any], Any]]:
    """Return the initial state for parameters, and update(parameters, state, gradient) -> (parameters, state)."""
    import jax
    import jax.numpy as jnp

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def sgd(parameters: Any, state: Any, gradient: Any) -> Any:
        return jax.tree.map(lambda value, g: value - learning_rate * g, parameters, gradient), state

    def adam(parameters: Any, state: Any, gradient: Any) -> Any:
        step, m, v = state
        step = step + 1
        m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, gradient)
        v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, gradient)
        # 1 - beta^t by expm1: in float32 the difference itself would lose four digits in the first steps
        rate, root = learning_rate / -jnp.expm1(step * math.log(beta1)), (-jnp.expm1(step * math.log(beta2))) ** -0.5
        moved = jax.tree.map(lambda value, m, v: value - rate * m / (jnp.sqrt(v) * root + epsilon), parameters, m, v)
        return moved, (step, m, v)

    if name == "sgd":
        return lambda parameters: (), sgd
    return lambda parameters: (jnp.float32(0), *(jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))), adam


def _training(problem: Problem, unroll: int, gathers_first: bool) -> Training:
    import jax
    import jax.numpy as jnp

    workload = problem.workload
    parameters, _, mean_loss = _network(problem)
    initial_state, update = _optimizer(workload.optimizer, workload.learning_rate)
    x, y = jnp.array(problem.inputs), jnp.array(problem.y)
    carried = (parameters, initial_state(parameters))

    def step(carried: Any, batch: Any, target: Any) -> Any:
        parameters, state = carried
        return update(parameters, state, jax.grad(mean_loss)(parameters, batch, target))

    def epoch_steps(carried: Any, order: Any, x: Any, y: Any) -> Any:
        whole = len(order) - len(order) % workload.batch_size
        batches = order[:whole].reshape(-1, workload.batch_size)
        if gathers_first:
            carried, _ = jax.lax.scan(lambda carried, rows: (step(carried, *rows), None), carried, (x[batches], y[batches]), unroll=unroll)
        else:
            carried, _ = jax.lax.scan(lambda carried, rows: (step(carried, x[rows], y[rows]), None), carried, batches, unroll=unroll)
        rest = order[whole:]
        return step(carried, x[rest], y[rest]) if len(rest) else carried

    compiled = jax.jit(epoch_steps, donate_argnums=0)

    def epoch(order: np.ndarray) -> None:
        nonlocal carried
        carried = jax.block_until_ready(compiled(carried, order.astype(np.int32), x, y))

    return Training(epoch, lambda: flat(carried[0]))


def course(problem: Problem, smoothing: float) -> Course:
    """Return JAX ready for a whole training: an epoch is one compiled scan over its batches and their rates."""
    import jax
    import jax.numpy as jnp

    workload = problem.workload
    parameters, outputs, _ = _network(problem)
    y = jnp.array(smoothed(problem.y, workload.sizes[-1], smoothing))
    x = jnp.zeros((0, workload.sizes[0]), jnp.float32)

    def mean_loss(parameters: Any, batch: Any, target: Any) -> Any:
        return -jnp.mean(jnp.sum(target * jax.nn.log_softmax(outputs(parameters, batch)), axis=1))

    def step(parameters: Any, batch: Any, target: Any, rate: Any) -> Any:
        return jax.tree.map(lambda value, g: value - rate * g, parameters, jax.grad(mean_loss)(parameters, batch, target))

    def epoch_steps(parameters: Any, order: Any, rates: Any, x: Any, y: Any) -> Any:
        whole = len(order) // workload.batch_size
        batches = order[: whole * workload.batch_size].reshape(whole, -1)
        parameters, _ = jax.lax.scan(
            lambda carried, each: (step(carried, x[each[0]], y[each[0]], each[1]), None), parameters, (batches, rates[:whole])
        )
        rest = order[whole * workload.batch_size :]
        return step(parameters, x[rest], y[rest], rates[whole]) if len(rest) else parameters

    compiled = jax.jit(epoch_steps, donate_argnums=0)

    def start(initial: np.ndarray) -> None:
        nonlocal parameters
        parameters = [(jnp.array(weight), jnp.array(bias)) for weight, bias in layers_of(initial, workload.sizes)]

    def show(rows: np.ndarray) -> None:
        nonlocal x
        x = jax.block_until_ready(jnp.array(as_inputs(rows)))

    def epoch(order: np.ndarray, rates: np.ndarray) -> None:
        nonlocal parameters
        parameters = jax.block_until_ready(compiled(parameters, order.astype(np.int32), rates.astype(np.float32), x, y))

    return Course(start, show, epoch, lambda: flat(parameters))


def _gradient(problem: Problem) -> Gradient:
    import jax
    import jax.numpy as jnp

    parameters, _, mean_loss = _network(problem)
    x, y = jnp.array(problem.inputs), jnp.array(problem.y)
    compiled = jax.jit(jax.grad(mean_loss))
    return Gradient(lambda: jax.block_until_ready(compiled(parameters, x, y)), flat)


def _prediction(problem: Problem) -> Prediction:
    import jax

    parameters, outputs, _ = _network(problem)
    compiled = jax.jit(lambda parameters, row: outputs(parameters, row).argmax())
    return Prediction(from_python(lambda row: int(compiled(parameters, row))), lambda row: row)


def _layer(problem: Problem, operation: str) -> Repeated:
    import jax
    import jax.numpy as jnp

    ((weight, bias),) = [(jnp.array(w), jnp.array(b)) for w, b in layers_of(problem.parameters, problem.workload.sizes)]
    x, delta, rate = jnp.array(problem.inputs), jnp.array(delta_of(problem)), problem.workload.learning_rate
    functions: dict[str, Callable[..., Any]] = {
        "forward": lambda weight, bias, x, delta: x @ weight + bias,
        "backward": lambda weight, bias, x, delta: delta @ weight.T,
        "update": lambda weight, bias, x, delta: (weight - rate * (x.T @ delta), bias - rate * delta.sum(axis=0)),
    }
    updates = operation == "update"
    compiled = jax.jit(functions[operation], donate_argnums=(0, 1) if updates else ())
    result: Any = (weight, bias) if updates else None

    def repeat(count: int) -> None:
        nonlocal result
        for _ in range(count):
            result = compiled(*(result if updates else (weight, bias)), x, delta)
        jax.block_until_ready(result)

    return Repeated(repeat, lambda: flat([result]) - problem.parameters if updates else np.asarray(result).ravel())
