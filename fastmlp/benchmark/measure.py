"""One workload measured: who takes part, the first epochs and the losses that they reach, then the rounds of timing.

In each round of a training, the peak of the processor has its turn, too: how long an epoch would take if it were nothing but multiply-adds
in registers, none skipped. It is a measurement like others, of the peer `peak`, and bounds what any of them could reach.
"""

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmlp import machine
from fastmlp.benchmark.implementations import IMPLEMENTATIONS, describe
from fastmlp.benchmark.problem import Problem, judge, make_problem
from fastmlp.benchmark.processes import Process
from fastmlp.benchmark.protocol import Configuration, Measurement, in_rounds
from fastmlp.benchmark.workloads import GRADIENT, MULTIPLY_ADDS, PEAK, TRAIN, Workload

PATIENCE = 30.0  # seconds of turns, after which a slow configuration is measured no more
LOSS_TOLERANCE = 1e-3


class Measured(NamedTuple):
    """All that was measured on one workload."""

    workload: Workload
    instruction_set: str
    has_avx512: bool
    cores: int  # threads of the configurations on all threads
    measurements: tuple[Measurement, ...]
    versions: Mapping[str, str]


def configurations(workload: Workload, cores: int) -> list[Configuration]:
    """Return every way to run everybody who takes part: fastmlp and its peers, on one thread and on all."""
    found = []
    for peer in ("fastmlp", *workload.peers):
        variants = workload.ours if peer == "fastmlp" else IMPLEMENTATIONS[peer].variants[workload.task]
        counts = sorted({1, cores}) if IMPLEMENTATIONS[peer].uses_threads else [1]
        found += [Configuration(peer, variant, threads) for variant in variants for threads in counts]
    return found


def measure(
    workload: Workload,
    repeats: int,
    instruction_set: str = "native",
    data_dir: Path | None = None,
    notify: Callable[[str], None] = lambda text: None,
) -> Measured:
    """Measure every configuration of a workload; `notify` is given a line of text when something takes time."""
    cores = machine.usable_cores()
    wanted = configurations(workload, cores)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastmlp-bench-")))
        problem = make_problem(workload, data_dir)
        problem.write(folder)
        keys = dict.fromkeys((each.peer, each.threads) for each in wanted)
        processes = {key: stack.enter_context(Process(*key, folder, instruction_set)) for key in keys}
        notify(f"{workload.name}: {workload.title}; starting {len(processes)} processes")
        present = {key for key, process in processes.items() if process.fault() is None}  # waits until all have started
        measurements = {}
        for each in wanted:
            if (each.peer, each.threads) in present:
                notify(f"{workload.name}: first run of {describe(each)}")
            answer = processes[each.peer, each.threads].ask("first", each.variant)
            measurements[each] = first_measurement(each, answer, problem, folder)
        judged = compared_losses(measurements.values(), Configuration("fastmlp", "auto", cores))

        faults: dict[Configuration, str] = {}

        def turn(each: Configuration) -> list[float]:
            answer = processes[each.peer, each.threads].ask("turn", each.variant)
            if "fault" in answer:
                faults.setdefault(each, answer["fault"])
            return list(answer.get("seconds", ()))

        def peak_turn(threads: int) -> list[float]:
            rate = processes["fastmlp", threads].ask("peak").get("flops", math.nan)
            return [] if math.isnan(rate) else [workload.flops * workload.rows / rate]

        running = {each.configuration: partial(turn, each.configuration) for each in judged if each.first_seconds is not None}
        if workload.task == TRAIN:
            peaks = [Configuration(PEAK, MULTIPLY_ADDS, threads) for peer, threads in present if peer == "fastmlp"]
            judged += [Measurement(each) for each in peaks]
            running |= {each: partial(peak_turn, each.threads) for each in peaks}
        times = in_rounds(running, repeats, PATIENCE, lambda text: notify(f"{workload.name}: {text}, {len(running)} configurations"))
        versions = {name: version for process in processes.values() for name, version in process.versions.items()}
    finished = tuple(
        each._replace(seconds=tuple(times.get(each.configuration, ())), fault=faults.get(each.configuration, each.fault)) for each in judged
    )
    return Measured(workload, instruction_set, _has_avx512(instruction_set), cores, finished, versions)


def _has_avx512(instruction_set: str) -> bool:
    from fastmlp.kernels.vectors import BYTES_AVX512, vector_bytes

    return instruction_set == "native" and vector_bytes() == BYTES_AVX512


def first_measurement(configuration: Configuration, answer: Mapping[str, Any], problem: Problem, folder: Path) -> Measurement:
    """Return what the first run of a configuration tells: its seconds and the loss that it reached, or why it cannot run."""
    if "fault" in answer:
        return Measurement(configuration, fault=answer["fault"])
    return Measurement(configuration, first_seconds=answer["seconds"], loss=reached_loss(problem, np.load(folder / answer["answer"])))


def reached_loss(problem: Problem, answer: np.ndarray) -> float:
    """Return the number by which an answer is judged.

    That is the loss of the parameters after an epoch, the loss after a step along the gradient, or the share of wrong classes.
    """
    workload = problem.workload
    if workload.task == TRAIN:
        return judge(problem, answer)
    if workload.task == GRADIENT:
        return judge(problem, problem.parameters - np.float32(workload.learning_rate) * answer)
    return float((answer != problem.y[: len(answer)]).mean())


def compared_losses(measurements: Iterable[Measurement], reference: Configuration) -> list[Measurement]:
    """Return the measurements, with a fault where a loss is not that of the reference: such a time counts for nothing."""
    measurements = list(measurements)
    expected = next((each.loss for each in measurements if each.configuration == reference), None)
    if expected is None:
        return measurements
    return [
        each._replace(fault=f"another loss: {each.loss:.6g}, not {expected:.6g}")
        if each.loss is not None and not abs(each.loss - expected) <= LOSS_TOLERANCE * abs(expected)
        else each
        for each in measurements
    ]
