"""Compiled code stays inside its arrays: each lies beside a page that no one may touch, in processes that would not survive a step."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.quality.counts import FULL, count, record

ROOT = Path(__file__).parents[2]
BATCH = 100  # cases in one process

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not sys.platform.startswith(("linux", "darwin")), reason="pages are protected by mprotect of POSIX systems"),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python, told that it may use seven threads."""
    environment = os.environ | {"NUMBA_NUM_THREADS": "7"}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def last_case(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[-1] if done.stdout else "none"


@pytest.mark.parametrize(("side", "place"), [("after", 3), ("before", 2**64 - 1)])
def test_a_kernel_that_writes_one_number_outside_of_a_guarded_array_ends_the_process(side, place):
    """A guard that never faults would let everything pass."""
    done = run(
        "-c",
        f"""
import numba, numpy
from tests.kernels import guarded

@numba.njit
def write(array, place):
    array[place] = 1

guarded.side = {side!r}
array = guarded.guarded(3, "float32")
write(array, numpy.uint64(0)), write(array, numpy.uint64(2))
print(array.sum(), flush=True)
write(array, numpy.uint64({place}))
""",
    )
    assert (done.stdout, done.returncode) == ("2.0\n", -signal.SIGSEGV)


# Nearly each case is compiled anew, for seconds: a few have every program, thirty have all pairs, named kernels and the functions for C.
@pytest.mark.parametrize("cases", [[3, 7, 18, 45, 210], pytest.param(range(count(30, 3000)), marks=pytest.mark.long)], ids=len)
def test_no_kernel_reads_or_writes_outside_of_its_arrays(cases):
    """Training, predictions, gradients, single steps, the functions for compiled code and for C, and the named kernels."""
    ran = {}
    for first in range(0, len(cases), BATCH):
        of_batch = cases[first : first + BATCH]
        done = run("-m", "tests.kernels.guarded", *map(str, of_batch))
        record("N11", len(of_batch), int(done.returncode != 0))
        assert done.returncode == 0, f"exit code {done.returncode} in {last_case(done)}\n{done.stderr[-3000:]}"
        for name, times in json.loads(last_case(done)).items():
            ran[name] = ran.get(name, 0) + times
    programs = ("scalar", "narrow", "row by row", "tiles", "tiles, 7 threads", *(("regions",) if len(cases) > 100 else ()))
    assert all(ran.get(f"train: {program}") for program in programs), ran


@pytest.mark.long
def test_no_size_of_a_dimension_leads_outside_of_the_arrays():
    """Inputs, units, outputs, rows, batches of 1 to 70, by each engine, with 1, 2, 3, 7 threads: a full run has all, others each third."""
    done = run("-m", "tests.kernels.guarded", "sizes", *map(str, range(1, 71, 1 if FULL else 3)))
    record("N11", len(done.stdout.splitlines()), int(done.returncode != 0))
    assert done.returncode == 0, f"exit code {done.returncode} in {last_case(done)}\n{done.stderr[-3000:]}"
    ran = json.loads(last_case(done))
    assert all(ran.get(f"train: {name}") for name in ("scalar", "regions", "narrow", "row by row", "tiles", "tiles, 7 threads")), ran
