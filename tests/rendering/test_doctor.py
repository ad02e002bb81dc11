"""The doctor's report as text."""

import math

from fastmlp.rendering import doctor
from tests.benchmark.test_doctor import HEALTHY

VERSIONS = dict.fromkeys(("fastmlp", "python", "numba", "llvmlite", "llvm", "numpy", "system"), "1.0")


def lines_of(report):
    return doctor.report(report._replace(versions=VERSIONS)).splitlines()


def line_of(report, label):
    (line,) = [line for line in lines_of(report) if line.startswith(label + " ")]
    return line[len(label) :].strip()


def test_facts_stand_behind_their_labels():
    assert line_of(HEALTHY, "cores") == "8 usable of 8, load 0.1"
    assert line_of(HEALTHY, "vectors") == "512 bits in use; the processor has avx512f; code is made for icelake-server"
    assert line_of(HEALTHY, "caches") == "level 1 48 KiB, level 2 2 MiB, level 3 32 MiB; memory 16 GiB"
    assert line_of(HEALTHY, "cache") == "/cache/abc: 30 kernels compiled, 1 MiB"
    assert line_of(HEALTHY, "threads") == "own threads 60.0 µs a run, 100 ns a barrier; Numba (omp) 2.00 µs a parallel loop"


def test_peak_and_bandwidth_are_told():
    assert line_of(HEALTHY, "peak") == "one core and 8 threads: multiply-adds 100 and 790 GFLOP/s (512-bit vectors)"
    assert line_of(HEALTHY, "bandwidth") == "one core and 8 threads: second-level cache 50 and 400 GB/s, memory 10 and 40 GB/s"


def test_peak_that_other_programs_disturbed_is_called_unusable():
    report = HEALTHY._replace(peaks=HEALTHY.peaks._replace(flops=(math.nan, 790e9)), plan=HEALTHY.plan._replace(share_of_peak=None))
    assert line_of(report, "peak") == "one core and 8 threads: multiply-adds unusable: the machine is busy (512-bit vectors)"
    assert line_of(report, "network").endswith("8 threads, – of the peak")


def test_network_is_told_with_its_tiles_and_what_to_expect():
    assert line_of(HEALTHY, "network") == "784-300-10, batch 50: tiles of 5 x 5 vectors, 8 threads, 50 % of the peak"
    assert line_of(HEALTHY, "expect") == "200 ms per epoch of 60,000 rows, 100 ms with zeros as in MNIST"


def test_limits_of_cores_are_told():
    report = HEALTHY._replace(cpu=HEALTHY.cpu._replace(usable=1, allowed=2, quota=1.5))
    assert line_of(report, "cores") == "1 usable of 8 (2 by affinity, 1.5 by cgroup), load 0.1"


def test_variables_that_are_set_are_told():
    assert line_of(HEALTHY._replace(variables={"NUMBA_OPT": "1"}), "set") == "NUMBA_OPT=1"


def test_advice_comes_last():
    assert lines_of(HEALTHY)[-2:] == ["advice", "- nothing: all is as it should be"]
    assert lines_of(HEALTHY._replace(advice=("unset X", "close Y")))[-2:] == ["- unset X", "- close Y"]
