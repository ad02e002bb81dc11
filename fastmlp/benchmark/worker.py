"""The process in which one implementation runs: `python -m fastmlp.benchmark.worker PEER THREADS WORKLOAD ROWS FOLDER`.

It says what is installed, then reads requests and writes answers, each one line of JSON, until its input ends:

    <-  {"missing": [], "versions": {"torch": "2.13.0"}}
    ->  {"do": "first", "variant": "eager"}     build, compile, run one epoch, and keep what came of it in a file
    <-  {"seconds": 2.7, "answer": "answer-torch-2-eager.npy"}
    ->  {"do": "turn", "variant": "eager"}      as many epochs as fit into a turn, at least one
    <-  {"seconds": [1.2, 1.2]}

An answer {"fault": "..."} says why a variant cannot run.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.benchmark.implementations import IMPLEMENTATIONS, build
from fastmlp.benchmark.problem import Problem
from fastmlp.benchmark.runner import Gradient, Runner, Training, Unavailable
from fastmlp.benchmark.workloads import WORKLOADS

TURN_SECONDS = 0.2
GROUP_SECONDS = 0.01  # calls are timed in groups of about so long
PREDICTED_ROWS = 200
# More than the level-2 cache of any core; a level 3 of hundreds of MB is what "cold" weights are read from.
FLUSHED_BYTES = 32 * 2**20


class Worker:
    """The variants of one implementation at work on one problem."""

    def __init__(self, peer: str, threads: int, problem: Problem, folder: Path) -> None:
        self.peer, self.threads, self.problem, self.folder = peer, threads, problem, folder
        self._runners: dict[str, Runner] = {}
        self._epochs: dict[str, int] = {}
        self._flushed = np.zeros(FLUSHED_BYTES, np.uint8)

    def first(self, variant: str) -> dict[str, Any]:
        """Build a variant, run it once, and keep what came of it: parameters, a gradient, or classes of the first rows."""
        started = time.perf_counter()
        runner = self._runners[variant] = build(self.peer, self.problem, variant, self.threads)
        answer = self._answer(runner)
        seconds = time.perf_counter() - started
        self._epochs[variant] = 1
        name = f"answer-{self.peer}-{self.threads}-{variant.replace(' ', '-')}.npy"
        np.save(self.folder / name, answer)
        return {"seconds": seconds, "answer": name}

    def turn(self, variant: str) -> dict[str, Any]:
        """Run a variant for TURN_SECONDS; return the seconds of each epoch, or the mean seconds of each group of calls."""
        times: list[float] = []
        until = time.perf_counter() + TURN_SECONDS
        while not times or time.perf_counter() < until:
            times.append(self._time(variant))
        return {"seconds": times}

    def _answer(self, runner: Runner) -> np.ndarray:
        if isinstance(runner, Training):
            runner.epoch(self.problem.orders[0])
            return runner.parameters()
        if isinstance(runner, Gradient):
            return runner.as_vector(runner.call())
        return np.array([runner.repeat(runner.form(row), 1) for row in self.problem.inputs[:PREDICTED_ROWS]])

    def _time(self, variant: str) -> float:
        runner = self._runners[variant]
        if isinstance(runner, Training):
            order = self.problem.orders[self._epochs[variant] % len(self.problem.orders)]
            self._epochs[variant] += 1
            return seconds_of(lambda: runner.epoch(order))
        if isinstance(runner, Gradient):
            return seconds_per_call(lambda count: [runner.call() for _ in range(count)])
        row = runner.form(self.problem.inputs[0])
        if self.problem.workload.cold:
            self._flushed += 1
            return seconds_of(lambda: runner.repeat(row, 1))
        return seconds_per_call(lambda count: runner.repeat(row, count))


def seconds_of(run: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def seconds_per_call(repeat: Callable[[int], Any]) -> float:
    """Return the mean seconds of a call among as many as take about GROUP_SECONDS."""
    count = max(1, int(GROUP_SECONDS / max(seconds_of(lambda: repeat(1)), 1e-9)))
    return seconds_of(lambda: repeat(count)) / count


def answer(worker: Worker, request: dict[str, str]) -> dict[str, Any]:
    """Return the answer to one request. Whatever a peer raises becomes the fault of that variant alone."""
    do = {"first": worker.first, "turn": worker.turn}[request["do"]]
    try:
        return do(request["variant"])
    except Unavailable as error:
        return {"fault": str(error)}
    except Exception as error:
        message = next(iter(str(error).splitlines()), "")
        return {"fault": f"{type(error).__name__}: {message}"}


def main(arguments: list[str]) -> None:
    """Serve requests until standard input ends."""
    # answers have a channel of their own: whatever a library prints goes to standard error
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    peer, threads, workload, rows, folder = arguments
    implementation = IMPLEMENTATIONS[peer]
    missing = implementation.missing()
    send({"missing": missing, "versions": {} if missing else implementation.versions()})
    if missing:
        return
    problem = Problem.read(WORKLOADS[workload]._replace(rows=int(rows)), Path(folder))
    worker = Worker(peer, int(threads), problem, Path(folder))
    for line in sys.stdin:
        send(answer(worker, json.loads(line)))


if __name__ == "__main__":
    main(sys.argv[1:])
