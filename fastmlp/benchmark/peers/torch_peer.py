"""PyTorch: the usual loop, its faster forms, and the same arithmetic without autograd in buffers made once.

eager      a forward pass, backward(), a step of torch.optim
fused      the same with the optimizer's fused=True
compile    the fused form, loss and gradient through torch.compile
in-place   no autograd: every product into a buffer, plain SGD as one addmm_ on the weights
"""

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.benchmark.problem import Problem, as_inputs, delta_of, flat, layers_of, smoothed
from fastmlp.benchmark.runner import Course, Gradient, Prediction, Repeated, Runner, Training, Unavailable, called_often, from_python
from fastmlp.benchmark.workloads import GRADIENT, LAYER, TRAIN


def build(problem: Problem, variant: str, threads: int) -> Runner:
    """Return PyTorch at work on a problem."""
    import torch

    torch.set_num_threads(threads)
    task = problem.workload.task
    if task == LAYER:
        return _layer(problem, variant.rpartition(" ")[2])
    if variant == "compile" and shutil.which("g++") is None:
        raise Unavailable("torch.compile needs a C++ compiler: install g++")
    if task == TRAIN:
        return _in_place_training(problem) if variant == "in-place" else _autograd_training(problem, variant)
    if task == GRADIENT:
        return _in_place_gradient(problem) if variant == "in-place" else _autograd_gradient(problem)
    return _in_place_prediction(problem) if variant == "in-place" else _prediction(problem, variant)


def course(problem: Problem, variant: str, threads: int, smoothing: float) -> Course:
    """Return PyTorch ready for a whole training: the usual loop, or products into buffers made once."""
    import torch

    torch.set_num_threads(threads)
    return _in_place_course(problem, smoothing) if variant == "in-place" else _autograd_course(problem, smoothing)


# --- with autograd -------------------------------------------------------------------------------------------------------


def _model(problem: Problem) -> Any:
    """Return the network as anybody would write it, with the problem's parameters."""
    import torch

    workload = problem.workload
    activation = {"sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[workload.activation]
    modules: list[Any] = []
    for weight, bias in layers_of(problem.parameters, workload.sizes):
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, activation()]
    return torch.nn.Sequential(*modules[:-1])


def _parameters(model: Any) -> np.ndarray:
    linear = [module for module in model if hasattr(module, "weight")]
    return flat([(module.weight.detach().numpy().T, module.bias.detach().numpy()) for module in linear])


def _loss(problem: Problem) -> Any:
    import torch.nn.functional as functional

    return functional.mse_loss if problem.workload.loss == "mse" else functional.cross_entropy


def _optimizer(problem: Problem, parameters: Any, fused: bool) -> Any:
    import torch

    kind = torch.optim.Adam if problem.workload.optimizer == "adam" else torch.optim.SGD
    return kind(parameters, lr=problem.workload.learning_rate, fused=fused or None)


def _autograd_training(problem: Problem, variant: str) -> Training:
    import torch

    workload, x, y = problem.workload, torch.from_numpy(problem.inputs), torch.from_numpy(problem.y)
    model, loss = _model(problem), _loss(problem)
    optimizer = _optimizer(problem, model.parameters(), variant != "eager")

    def loss_of(batch: Any, target: Any) -> Any:
        return loss(model(batch), target)

    loss_of = torch.compile(loss_of) if variant == "compile" else loss_of

    def epoch(order: np.ndarray) -> None:
        for rows in torch.from_numpy(order).split(workload.batch_size):
            optimizer.zero_grad()
            loss_of(x[rows], y[rows]).backward()
            optimizer.step()

    return Training(epoch, lambda: _parameters(model))


def _autograd_course(problem: Problem, smoothing: float) -> Course:
    import torch

    workload, y, x = problem.workload, torch.from_numpy(problem.y), torch.empty(0)
    model, loss = _model(problem), torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
    optimizer = _optimizer(problem, model.parameters(), fused=False)

    def start(initial: np.ndarray) -> None:
        linear = [module for module in model if hasattr(module, "weight")]
        with torch.no_grad():
            for module, (weight, bias) in zip(linear, layers_of(initial, workload.sizes), strict=True):
                module.weight.copy_(torch.from_numpy(weight.T.copy()))
                module.bias.copy_(torch.from_numpy(bias))

    def show(rows: np.ndarray) -> None:
        nonlocal x
        x = torch.from_numpy(as_inputs(rows))

    def epoch(order: np.ndarray, rates: np.ndarray) -> None:
        for rows, rate in zip(torch.from_numpy(order).split(workload.batch_size), rates.tolist(), strict=True):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()

    return Course(start, show, epoch, lambda: _parameters(model))


def _autograd_gradient(problem: Problem) -> Gradient:
    import torch

    x, y = torch.from_numpy(problem.inputs), torch.from_numpy(problem.y)
    model, loss = _model(problem), _loss(problem)
    parameters = list(model.parameters())

    def as_vector(gradients: Any) -> np.ndarray:
        return np.concatenate([g.T.numpy().ravel() if g.ndim == 2 else g.numpy() for g in gradients])

    return Gradient(lambda: torch.autograd.grad(loss(model(x), y), parameters), as_vector)


def _prediction(problem: Problem, variant: str) -> Prediction:
    import torch

    model = _model(problem).requires_grad_(False)
    called = torch.compile(model) if variant == "compile" else model

    def predict(row: Any) -> int:
        with torch.inference_mode():
            return int(called(row).argmax())

    return Prediction(from_python(predict), torch.from_numpy)


# --- without autograd ----------------------------------------------------------------------------------------------------


class Buffers:
    """Forward and backward pass of one batch size by torch's functions with out=, in memory taken once."""

    def __init__(self, problem: Problem, layers: Any, rows: int) -> None:
        import torch

        workload = problem.workload
        self.torch, self.layers, self.loss, self.activation = torch, layers, workload.loss, workload.activation
        self.batch = torch.empty(rows, workload.sizes[0])
        self.target = torch.empty(rows, workload.sizes[-1])
        self.outputs = [torch.empty(rows, n) for n in workload.sizes[1:]]
        self.deltas = [torch.empty(rows, n) for n in workload.sizes[1:]]
        self.ones = torch.ones(rows)

    def gather(self, x: Any, targets: Any, rows: Any) -> None:
        """Copy rows of x and of the targets, classes one-hot, into the batch."""
        self.torch.index_select(x, 0, rows, out=self.batch)
        self.torch.index_select(targets, 0, rows, out=self.target)

    def backward(self, done: Callable[[int, Any, Any], None]) -> None:
        """Call done(layer, its inputs, its delta) from the last layer to the first, each after its weights were last read.

        delta is M times the derivative of the mean loss for M rows.
        """
        torch, aten = self.torch, self.torch.ops.aten
        a = self.batch
        for index, ((weight, bias), out) in enumerate(zip(self.layers, self.outputs, strict=True)):
            torch.addmm(bias, a, weight, out=out)
            if index + 1 < len(self.layers):
                {"sigmoid": torch.sigmoid_, "tanh": torch.tanh_, "relu": torch.relu_}[self.activation](out)
            a = out
        delta = self.deltas[-1]
        if self.loss == "mse":
            torch.sub(a, self.target, out=delta).mul_(2 / delta.shape[1])
        else:
            torch.softmax(a, 1, out=delta).sub_(self.target)
        for index in range(len(self.layers) - 1, -1, -1):
            inputs = self.outputs[index - 1] if index else self.batch
            if index:
                before = self.deltas[index - 1]
                torch.mm(delta, self.layers[index][0].T, out=before)
                if self.activation == "sigmoid":
                    aten.sigmoid_backward.grad_input(before, inputs, grad_input=before)
                elif self.activation == "tanh":
                    aten.tanh_backward.grad_input(before, inputs, grad_input=before)
                else:
                    aten.threshold_backward.grad_input(before, inputs, 0, grad_input=before)
            done(index, inputs, delta)
            if index:
                delta = before


def _tensors(problem: Problem) -> tuple[Any, Any, Any]:
    """Return x, the targets with classes one-hot, and the layers (weight (K, N), bias (N,))."""
    import torch

    workload = problem.workload
    targets = problem.y if workload.loss == "mse" else np.eye(workload.sizes[-1], dtype=np.float32)[problem.y]
    copied = layers_of(problem.parameters.copy(), workload.sizes)
    layers = [(torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in copied]
    return torch.from_numpy(problem.inputs), torch.from_numpy(targets), layers


def _in_place_training(problem: Problem) -> Training:
    import torch

    workload = problem.workload
    x, targets, layers = _tensors(problem)
    buffers = {rows: Buffers(problem, layers, rows) for rows in {workload.batch_size, workload.rows % workload.batch_size} - {0}}
    gradients = _gradient_buffers(layers)
    optimizer = None
    if workload.optimizer == "adam":
        tensors = [tensor for layer in layers for tensor in layer]
        for tensor, gradient in zip(tensors, (g for pair in gradients for g in pair), strict=True):
            tensor.grad = gradient
        optimizer = _optimizer(problem, tensors, fused=True)

    def descend(index: int, inputs: Any, delta: Any) -> None:
        weight, bias = layers[index]
        rate = -workload.learning_rate / len(delta)
        weight.addmm_(inputs.T, delta, alpha=rate)
        bias.addmv_(delta.T, buffers[len(delta)].ones, alpha=rate)

    def store(index: int, inputs: Any, delta: Any) -> None:
        _store(gradients[index], inputs, delta, buffers[len(delta)].ones)

    def epoch(order: np.ndarray) -> None:
        for rows in torch.from_numpy(order).split(workload.batch_size):
            buffer = buffers[len(rows)]
            buffer.gather(x, targets, rows)
            buffer.backward(store if optimizer else descend)
            if optimizer:
                optimizer.step()

    return Training(torch.no_grad()(epoch), lambda: flat(layers))


def _in_place_course(problem: Problem, smoothing: float) -> Course:
    import torch

    workload = problem.workload
    x, _, layers = _tensors(problem)
    targets = torch.from_numpy(smoothed(problem.y, workload.sizes[-1], smoothing))
    buffers = {rows: Buffers(problem, layers, rows) for rows in {workload.batch_size, workload.rows % workload.batch_size} - {0}}

    def start(initial: np.ndarray) -> None:
        for layer, (weight, bias) in zip(layers, layers_of(initial, workload.sizes), strict=True):
            layer[0].copy_(torch.from_numpy(weight))
            layer[1].copy_(torch.from_numpy(bias))

    def show(rows: np.ndarray) -> None:
        nonlocal x
        x = torch.from_numpy(as_inputs(rows))

    def epoch(order: np.ndarray, rates: np.ndarray) -> None:
        for rows, rate in zip(torch.from_numpy(order).split(workload.batch_size), rates.tolist(), strict=True):
            buffer = buffers[len(rows)]

            def descend(index: int, inputs: Any, delta: Any, rate: float = -rate / len(rows), ones: Any = buffer.ones) -> None:
                weight, bias = layers[index]
                weight.addmm_(inputs.T, delta, alpha=rate)
                bias.addmv_(delta.T, ones, alpha=rate)

            buffer.gather(x, targets, rows)
            buffer.backward(descend)

    return Course(start, show, torch.no_grad()(epoch), lambda: flat(layers))


def _in_place_gradient(problem: Problem) -> Gradient:
    import torch

    x, targets, layers = _tensors(problem)
    buffer, gradients = Buffers(problem, layers, problem.workload.rows), _gradient_buffers(layers)
    buffer.batch, buffer.target = x, targets

    def call() -> Any:
        buffer.backward(lambda index, inputs, delta: _store(gradients[index], inputs, delta, buffer.ones))
        return gradients

    return Gradient(torch.no_grad()(call), flat)


def _in_place_prediction(problem: Problem) -> Prediction:
    import torch

    activate = {"sigmoid": torch.sigmoid_, "tanh": torch.tanh_, "relu": torch.relu_}[problem.workload.activation]
    layers = [
        (torch.from_numpy(weight.T.copy()), torch.from_numpy(bias))
        for weight, bias in layers_of(problem.parameters, problem.workload.sizes)
    ]
    outputs = [torch.empty_like(bias) for _, bias in layers]

    def predict(row: Any) -> int:
        with torch.inference_mode():
            a = row
            for index, (weight, bias) in enumerate(layers):
                a = torch.addmv(bias, weight, a, out=outputs[index])
                if index + 1 < len(layers):
                    activate(a)
            return int(a.argmax())

    return Prediction(from_python(predict), torch.from_numpy)


def _layer(problem: Problem, operation: str) -> Repeated:
    import torch

    parameters = problem.parameters.copy()
    ((weight, bias),) = ((torch.from_numpy(w), torch.from_numpy(b)) for w, b in layers_of(parameters, problem.workload.sizes))
    x, delta = torch.from_numpy(problem.inputs), torch.from_numpy(delta_of(problem))
    rate, ones = -problem.workload.learning_rate, torch.ones(len(x))
    z, before = torch.empty_like(delta), torch.empty_like(x)

    def update() -> None:
        weight.addmm_(x.T, delta, alpha=rate)
        bias.addmv_(delta.T, ones, alpha=rate)

    call, answer = {
        "forward": (lambda: torch.addmm(bias, x, weight, out=z), lambda: z.numpy().ravel()),
        "backward": (lambda: torch.mm(delta, weight.T, out=before), lambda: before.numpy().ravel()),
        "update": (update, lambda: parameters - problem.parameters),
    }[operation]
    return Repeated(torch.no_grad()(called_often(call)), answer)


def _gradient_buffers(layers: Any) -> Any:
    import torch

    return [(torch.zeros_like(weight), torch.zeros_like(bias)) for weight, bias in layers]


def _store(gradient: Any, inputs: Any, delta: Any, ones: Any) -> None:
    dweight, dbias = gradient
    dweight.addmm_(inputs.T, delta, beta=0, alpha=1 / len(delta))
    dbias.addmv_(delta.T, ones, beta=0, alpha=1 / len(delta))
