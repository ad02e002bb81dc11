"""Worker processes: real ones, and what becomes of one that cannot work."""

import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest

from fastmlp.benchmark import worker
from fastmlp.benchmark.measure import reached_loss
from fastmlp.benchmark.problem import make_problem
from fastmlp.benchmark.processes import Process, check_instruction_set, environment
from fastmlp.benchmark.runner import Unavailable
from fastmlp.benchmark.workloads import WORKLOADS
from fastmlp.errors import ConfigError

WORKLOAD = WORKLOADS["G"].with_rows(100)


@pytest.fixture(scope="module")
def problem():
    return make_problem(WORKLOAD)


@pytest.fixture
def folder(problem, tmp_path):
    """Return a folder that holds a problem."""
    problem.write(tmp_path)
    return tmp_path


def test_process_answers_with_parameters_and_times(problem, folder):
    with Process("numpy", 1, folder) as process:
        first = process.ask("first", "plain")
        turn = process.ask("turn", "plain")
    assert process.versions == {"numpy": np.__version__}
    assert reached_loss(problem, np.load(folder / first["answer"])) < reached_loss(problem, problem.parameters)
    assert all(seconds > 0 for seconds in turn["seconds"])


def test_process_serves_several_problems_and_forgets_them(problem, tmp_path):
    problem.write(tmp_path / "whole")
    make_problem(WORKLOAD.with_rows(20)).write(tmp_path / "short")
    with Process("numpy", 1, tmp_path) as process:
        names = {process.ask("first", "plain", size)["answer"] for size in ("whole", "short")}
        assert len(names) == 2
        process.ask("forget", problem="short")
        assert process.ask("turn", "plain", "short")["fault"].startswith("KeyError")
        assert len(process.ask("turn", "plain", "whole", 0.01)["seconds"]) > 0


def test_workers_compile_whatever_their_parent_does(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert "NUMBA_DISABLE_JIT" not in environment(1, "native")


def test_folder_for_compiled_code_can_be_a_new_one(tmp_path):
    assert environment(1, "native", tmp_path)["FASTMLP_CACHE_DIR"] == str(tmp_path)


def test_process_that_dies_says_why(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nsys.stderr.write('out of luck\\n')\nsys.stderr.flush()\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Process("numpy", 1, tmp_path) as process:
        faults = [process.ask("first", "plain")["fault"] for _ in range(2)]
    assert faults[0] == "the process ended with code 3: out of luck"
    assert faults[1] == faults[0]


def test_problem_that_is_not_there_is_a_fault(tmp_path):
    with Process("numpy", 1, tmp_path) as process:
        assert process.ask("first", "plain")["fault"].startswith("FileNotFoundError")


def test_peer_that_is_missing_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(folder))
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")  # as if it were not there
    with Process("torch", 1, folder) as process:
        assert process.ask("first", "eager")["fault"] == "not installed: torch; pip install 'fastmlp[bench]'"


def test_environment_names_the_threads_asked_for():
    found = environment(3, "native")
    assert found["OPENBLAS_NUM_THREADS"] == found["OMP_NUM_THREADS"] == found["NPROC"] == "3"


def test_where_avx512_is_hidden_every_library_finds_avx2_and_computes_the_same():
    try:
        check_instruction_set("avx2")
    except ConfigError as error:
        pytest.skip(str(error))
    program = """
import llvmlite.binding as llvm, numpy as np
from numpy._core._multiarray_umath import __cpu_features__ as of_numpy
of_llvm = llvm.get_host_cpu_features()
print(of_numpy["AVX512F"], of_numpy["AVX2"], of_llvm["avx512f"], of_llvm["avx2"], np.dot(np.ones(9), np.arange(9)))
"""
    done = subprocess.run([sys.executable, "-c", program], env=environment(1, "avx2"), capture_output=True, text=True)
    here = llvm.get_host_cpu_features()["avx2"]  # a lesser processor has neither
    assert done.stdout.split("\n")[0] == f"False {here} False {here} 36.0", done.stderr


def test_other_processors_have_no_avx2(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    check_instruction_set("native")
    with pytest.raises(ConfigError, match="aarch64"):
        check_instruction_set("avx2")


class Failing:
    """A worker whose runs end in an error."""

    def __init__(self, error):
        self.error = error

    def first(self, task):
        raise self.error

    turn = first


@pytest.mark.parametrize(
    ("error", "fault"),
    [(Unavailable("install g++"), "install g++"), (ValueError("no\nsecond line"), "ValueError: no"), (KeyError(), "KeyError: ")],
)
def test_error_of_a_variant_is_its_fault_in_one_line(error, fault):
    assert worker.answer(Failing(error), {"do": "first", "variant": "x"}) == {"fault": fault}


@pytest.fixture
def clock(monkeypatch):
    """Let time pass only where a run says so."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(worker.time, "perf_counter", lambda: Clock.now)
    return Clock


def test_calls_are_timed_in_groups(clock):
    counts = []

    def repeat(count):
        counts.append(count)
        clock.now += 0.001 * count

    assert worker.seconds_per_call(repeat) == pytest.approx(0.001)
    assert counts == [1, 10]


def test_slow_call_is_a_group_of_its_own(clock):
    def repeat(count):
        clock.now += 3.0 * count

    assert worker.seconds_per_call(repeat) == pytest.approx(3.0)
