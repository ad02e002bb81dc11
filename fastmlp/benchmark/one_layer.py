"""One dense layer by the kernels of fastmlp: outputs, the delta of its inputs, its update, each by itself.

interpreted  the textbook loops of textbook.py as pure Python on arrays
textbook     the same source compiled; on several threads its parallel form
tiles        register tiles on packed weights; on several threads a team
skipping     the same, visiting only inputs that are not zero, the search for them included

A variant is one of these and an operation: "tiles forward". Weights are packed once: a run of steps keeps them so.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.benchmark.problem import Problem, delta_of, layers_of
from fastmlp.benchmark.runner import Repeated, Unavailable, called_often

if TYPE_CHECKING:
    from fastmlp.engines.layout import LayerLayout


def build(problem: Problem, variant: str, threads: int) -> Repeated:
    """Return an operation of one layer, ready to be repeated."""
    kind, operation = variant.split(" ")
    if kind in ("tiles", "skipping"):
        return _tiles(problem, operation, threads, kind == "skipping")
    return _textbook(problem, operation, threads, kind == "interpreted")


def _textbook(problem: Problem, operation: str, threads: int, interpreted: bool) -> Repeated:
    import numba

    from fastmlp.compilation import forms
    from fastmlp.kernels import textbook

    def form(kernel: Any) -> Any:
        dense = forms.with_constant(kernel, "SKIP_ZEROS", False)
        if interpreted:
            return forms.pure(dense)
        return forms.parallel(dense) if threads > 1 else dense

    if threads > 1:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    x, delta, parameters = problem.inputs, delta_of(problem), problem.parameters.copy()
    ((weight, bias),) = layers_of(parameters, problem.workload.sizes)
    rate = np.float32(problem.workload.learning_rate)
    z, before = np.empty_like(delta), np.empty_like(x)
    calls: dict[str, tuple[Callable[[], Any], Callable[[], np.ndarray]]] = {}
    if operation == "forward":
        forward = form(textbook.dense_forward)
        calls[operation] = (lambda: forward(x, weight, bias, z), z.ravel)
    elif operation == "backward":
        backward = form(textbook.dense_backward_input)
        calls[operation] = (lambda: backward(delta, weight, before), before.ravel)
    else:
        update = form(textbook.dense_sgd_update)
        calls[operation] = (lambda: update(weight, bias, x, delta, rate), lambda: parameters - problem.parameters)
    call, answer = calls[operation]
    return Repeated(called_often(call), answer)


def _tiles(problem: Problem, operation: str, threads: int, listed: bool) -> Repeated:
    from fastmlp.benchmark import loops
    from fastmlp.engines.layout import Layout
    from fastmlp.engines.records import Records
    from fastmlp.engines.threads import Team, new_shared
    from fastmlp.engines.wanted import Wanted
    from fastmlp.kernels.updates import Rates

    if listed and operation == "backward":
        raise Unavailable("a delta has no zeros to skip")
    x, delta, workload = problem.inputs, delta_of(problem), problem.workload
    (K, N), M = workload.sizes, len(x)
    # the layer by itself, or with those around it that an operation needs: an output layer, and a layer before it
    sizes = {"forward": (K, N), "backward": (1, K, N, 2), "update": (K, N, 2)}[operation]
    trains = operation != "forward"
    part = {"forward": loops.FORWARD, "backward": loops.BACKWARD, "update": loops.UPDATE}[operation]
    activations = ("identity",) * (len(sizes) - 2)
    team, shared, rates = Team(threads), new_shared(), np.zeros(len(Rates._fields), np.float32)
    layout = Layout(sizes, activations, np.dtype(np.float32), M, trains, shares=threads, threads=team.threads)
    records = Records(layout, Wanted(sizes, activations, layout.dtype, M), listed)
    arena, layer = layout.arena, layout.hidden[-1]
    parameters = np.zeros(sum(k * n + n for k, n in zip(sizes, sizes[1:], strict=False)), np.float32)
    own = slice(2 * K, 2 * K + K * N + N) if operation == "backward" else slice(0, K * N + N)
    parameters[own] = problem.parameters
    layout.pack(parameters)
    for batch in layout.batches:
        rows = arena[batch : batch + M * layout.batch_row].reshape(M, layout.batch_row)
        rows[:, : sizes[0]] = x[:, : sizes[0]]
    if trains:  # tiles add the delta of an update as it is
        scaled = delta * np.float32(-workload.learning_rate) if operation == "update" else delta
        arena[_places(layer.delta, layer, M, N)] = scaled

    def answer() -> np.ndarray:
        if operation == "update":
            layout.unpack(parameters)
            changed: np.ndarray = parameters[own] - problem.parameters
            return changed
        first = layout.hidden[0]
        found = _places(first.a, first, M, N) if operation == "forward" else _places(first.delta, first, M, K)
        result: np.ndarray = arena[found].ravel()
        return result

    def repeat(count: int) -> None:
        def work(thread: int) -> int:
            hidden = len(layout.hidden)
            given = (count, part, records.layers, records.runs, records.memory, rates, M, hidden, shared, thread, team.threads)
            return int(loops.repeat_layer(*given))

        team.run(work, shared)

    return Repeated(repeat, answer)


def _places(begin: int, layer: "LayerLayout", rows: int, units: int) -> np.ndarray:
    """Return where the numbers (rows, units) of a layer's matrix lie in the arena, panel by panel."""
    m, n = np.arange(rows)[:, None], np.arange(units)
    places: np.ndarray = begin + m * layer.row + n // layer.width * layer.column + n % layer.width
    return places
