"""fastmlp itself, through its public interface.

auto         what a user gets: tiles, zeros skipped where that pays
off          the same with zero_skipping="off"
scalar       kernels="scalar": the textbook loops, compiled
textbook     the same with zero_skipping="off"
interpreted  kernels="python" with zero_skipping="off": the same loops, not compiled
njit         one prediction from compiled code that allocates nothing: what a call from Python is measured against
"""

from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.benchmark.problem import BYTE_SCALE, SEED, Problem
from fastmlp.benchmark.runner import Gradient, Prediction, Runner, Training, from_python
from fastmlp.benchmark.workloads import GRADIENT, LAYER, TRAIN
from fastmlp.network import Network
from fastmlp.settings import TrainingSettings
from fastmlp.training.history import Epoch
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer

ENDLESS = 10**9  # epochs: the process is ended from outside
# Variants whose settings are not those of "auto": kernels and zero_skipping.
SETTINGS = {"off": ("auto", "off"), "scalar": ("scalar", "auto"), "textbook": ("scalar", "off"), "interpreted": ("python", "off")}


def build(problem: Problem, variant: str, threads: int) -> Runner:
    """Return fastmlp at work on a problem."""
    workload = problem.workload
    if workload.task == LAYER:
        from fastmlp.benchmark import one_layer

        return one_layer.build(problem, variant, threads)
    network = Network(workload.sizes, workload.activation, workload.output, seed=SEED)
    network.parameters[:] = problem.parameters
    if workload.task == TRAIN:
        return _training(problem, network, variant, threads)
    if workload.task == GRADIENT:
        return Gradient(lambda: network.gradient(problem.x, problem.y), np.asarray)
    return _compiled_prediction(network) if variant == "njit" else Prediction(from_python(lambda row: int(network.predict(row))), _bytes)


def _training(problem: Problem, network: Network, variant: str, threads: int) -> Training:
    workload = problem.workload
    kernels, zero_skipping = SETTINGS.get(variant, ("auto", "auto"))
    settings = TrainingSettings(
        epochs=ENDLESS,
        batch_size=workload.batch_size,
        learning_rate=workload.learning_rate,
        optimizer=workload.optimizer,
        loss=workload.loss,
        normalize_target="none" if workload.output == "identity" else None,  # the peers learn y as it is, too
        zero_skipping=zero_skipping,
        kernels=kernels,
        threads=None if threads == machine.usable_cores() else threads,  # all of them is the default, which may choose fewer
        seed=SEED,
    )
    events = Trainer(make_plan(network, problem.x, problem.y, settings)).run(read_only=True)

    def epoch(order: np.ndarray) -> None:
        # fastmlp draws the same order by itself, and so pays for it: the peers are given theirs
        for event in events:
            if isinstance(event, Epoch):
                return

    return Training(epoch, network.parameters.copy)


def _bytes(row: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(row * BYTE_SCALE), np.uint8)


def _compiled_prediction(network: Network) -> Prediction:
    from numba import njit

    from fastmlp.engines.program import Program
    from fastmlp.engines.wanted import Wanted
    from fastmlp.kernels.textbook_step import outputs_of_rows

    program = Program(Wanted(network.sizes, network.hidden_activations, network.dtype, 1))
    scale, shift = network.scale_and_shift(is_bytes=True)
    out = np.empty((1, network.n_outputs), network.dtype)
    first_row = np.zeros(1, np.int64)

    def predict_often(count, parameters, layers, x, rows, scale, shift, scratch, out):  # type: ignore[no-untyped-def]
        best = 0
        for _ in range(count):
            outputs_of_rows(parameters, layers, x, rows, scale, shift, scratch, out)
            best = 0
            for c in range(out.shape[1]):
                if out[0, c] > out[0, best]:
                    best = c
        return best

    compiled = njit(predict_often)

    def repeat(row: Any, count: int) -> int:
        return int(compiled(count, network.parameters, program.layers, row, first_row, scale, shift, program.scratch, out))

    return Prediction(repeat, lambda row: _bytes(row)[None])
