"""The process in which one implementation runs: `python -m fastmlp.benchmark.worker PEER THREADS FOLDER`.

It says what is installed, then reads requests and writes answers, each one line of JSON, until its input ends:

    <-  {"missing": [], "versions": {"torch": "2.13.0"}}
    ->  {"do": "first", "variant": "eager"}     build, compile, run one epoch, and keep what came of it in a file
    <-  {"seconds": 2.7, "answer": "answer-torch-2-eager.npy"}
    ->  {"do": "turn", "variant": "eager"}      as many epochs as fit into a turn, at least one
    <-  {"seconds": [1.2, 1.2]}
    ->  {"do": "course", "variant": "in-place", "problem": "98", "seed": 3}      the whole training of a speedrun
    <-  {"first": 0.9, "seconds": 4.1, "answer": "answer-torch-2-in-place-98.npy"}
    ->  {"do": "forget"}                        give the memory of a problem back
    <-  {}
    ->  {"do": "peaks", "seconds": 0.1}         what this machine can do, as compiled code sees it
    ->  {"do": "peak", "seconds": 0.1}          multiply-adds alone, on all threads of the worker
    <-  {"threads": 2, "instruction_set": ...}

"problem": "short" names the problem in a folder of that name below FOLDER; "seconds" says how long a turn is. An answer
{"fault": "..."} says why a variant cannot run.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmlp.benchmark.implementations import IMPLEMENTATIONS, build, build_course
from fastmlp.benchmark.problem import Problem
from fastmlp.benchmark.runner import Course, Gradient, Repeated, Runner, Training, Unavailable

TURN_SECONDS = 0.2
GROUP_SECONDS = 0.01  # calls are timed in groups of about so long
PREDICTED_ROWS = 200
# More than the level-2 cache of any core; a level 3 of hundreds of MB is what "cold" weights are read from.
FLUSHED_BYTES = 32 * 2**20


class Task(NamedTuple):
    """One variant on one problem: by the name of the problem's folder, "" for the one that the process was given."""

    variant: str
    problem: str = ""


class Worker:
    """The variants of one implementation at work on the problems of a folder."""

    def __init__(self, peer: str, threads: int, folder: Path) -> None:
        self.peer, self.threads, self.folder = peer, threads, folder
        self._problems: dict[str, Problem] = {}
        self._runners: dict[Task, Runner] = {}
        self._epochs: dict[Task, int] = {}
        self._courses: dict[Task, Course] = {}
        self._flushed = np.zeros(FLUSHED_BYTES, np.uint8)

    def first(self, task: Task) -> dict[str, Any]:
        """Build a variant, run it once, and keep what came of it: parameters, a gradient, outputs, or classes of the first rows."""
        problem = self._problem(task)
        started = time.perf_counter()
        runner = self._runners[task] = build(self.peer, problem, task.variant, self.threads)
        answer = self._answer(runner, problem)
        seconds = time.perf_counter() - started
        self._epochs[task] = 1
        return {"seconds": seconds, "answer": self._keep(task, answer)}

    def course(self, task: Task, seed: int) -> dict[str, Any]:
        """Train as the speedrun whose target names the problem does; the first time, an epoch that counts for nothing goes before."""
        from fastmlp.benchmark.speedrun import RECIPES, take_course

        problem, recipe, first = self._problem(task), RECIPES[int(task.problem)], None
        if task not in self._courses:
            started = time.perf_counter()
            self._courses[task] = build_course(self.peer, problem, task.variant, self.threads, recipe.training_settings().label_smoothing)
            take_course(self._courses[task], problem, recipe, seed, epochs=1)
            first = time.perf_counter() - started
        seconds = take_course(self._courses[task], problem, recipe, seed)
        return {"first": first, "seconds": seconds, "answer": self._keep(task, self._courses[task].parameters())}

    def _keep(self, task: Task, answer: np.ndarray) -> str:
        """Write what came of a run into a file and return its name."""
        words = ("answer", self.peer, str(self.threads), task.variant.replace(" ", "-"), task.problem)
        name = f"{'-'.join(filter(None, words))}.npy"
        np.save(self.folder / name, answer)
        return name

    def turn(self, task: Task, seconds: float = TURN_SECONDS) -> dict[str, Any]:
        """Run a variant for some seconds; return those of each epoch, or the mean of each group of calls."""
        times: list[float] = []
        until = time.perf_counter() + seconds
        while not times or time.perf_counter() < until:
            times.append(self._time(task))
        return {"seconds": times}

    def peaks(self, seconds: float = TURN_SECONDS) -> dict[str, Any]:
        """Return the peaks of this machine on one core and on all threads; each is measured for so many seconds."""
        from fastmlp.benchmark import machine_peaks

        return machine_peaks.measure(self.threads, seconds)._asdict()

    def peak(self, seconds: float = TURN_SECONDS) -> dict[str, Any]:
        """Return the float32 operations a second of the worker's threads, NaN where other programs disturbed it."""
        from fastmlp.benchmark import machine_peaks

        return {"flops": machine_peaks.multiply_adds(self.threads, seconds)}

    def forget(self, problem: str) -> dict[str, Any]:
        """Drop all that was made for a problem."""
        self._problems.pop(problem, None)
        self._runners = {task: runner for task, runner in self._runners.items() if task.problem != problem}
        return {}

    def _problem(self, task: Task) -> Problem:
        if task.problem not in self._problems:
            self._problems[task.problem] = Problem.read(self.folder / task.problem)
        return self._problems[task.problem]

    def _answer(self, runner: Runner, problem: Problem) -> np.ndarray:
        if isinstance(runner, Training):
            runner.epoch(problem.orders[0])
            return runner.parameters()
        if isinstance(runner, Gradient):
            return runner.as_vector(runner.call())
        if isinstance(runner, Repeated):
            runner.repeat(1)
            return runner.answer()
        return np.array([runner.repeat(runner.form(row), 1) for row in problem.inputs[:PREDICTED_ROWS]])

    def _time(self, task: Task) -> float:
        runner, problem = self._runners[task], self._problem(task)
        if isinstance(runner, Training):
            order = problem.orders[self._epochs[task] % len(problem.orders)]
            self._epochs[task] += 1
            return seconds_of(lambda: runner.epoch(order))
        if isinstance(runner, Gradient):
            return seconds_per_call(lambda count: [runner.call() for _ in range(count)])
        if isinstance(runner, Repeated):
            return seconds_per_call(runner.repeat)
        row = runner.form(problem.inputs[0])
        if problem.workload.cold:
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
    once = seconds_of(lambda: repeat(1))
    if once > GROUP_SECONDS:
        return once
    count = max(1, int(GROUP_SECONDS / max(once, 1e-9)))
    return seconds_of(lambda: repeat(count)) / count


def answer(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to one request. Whatever a peer raises becomes the fault of that variant alone."""
    task = Task(request.get("variant", ""), request.get("problem", ""))
    seconds = request.get("seconds") or TURN_SECONDS
    try:
        match request["do"]:
            case "peaks":
                return worker.peaks(seconds)
            case "peak":
                return worker.peak(seconds)
            case "forget":
                return worker.forget(task.problem)
            case "first":
                return worker.first(task)
            case "course":
                return worker.course(task, request["seed"])
        return worker.turn(task, seconds)
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

    peer, threads, folder = arguments
    implementation = IMPLEMENTATIONS[peer]
    missing = implementation.missing()
    send({"missing": missing, "versions": {} if missing else implementation.versions()})
    if missing:
        return
    worker = Worker(peer, int(threads), Path(folder))
    for line in sys.stdin:
        send(answer(worker, json.loads(line)))


if __name__ == "__main__":
    main(sys.argv[1:])
