"""The doctor: facts from this machine, and advice that follows from facts made up here."""

import math
from pathlib import Path

import pytest

from fastmlp.benchmark import doctor
from fastmlp.benchmark.doctor import Cache, Cpu, Plan, Report, advise
from fastmlp.benchmark.machine_peaks import Launches, Peaks
from fastmlp.compilation.stamps import code_folder
from fastmlp.errors import ConfigError

CPU = Cpu("a processor", "x86_64", 8, 8, None, 8, 0.1, "avx512f", "icelake-server", 64, {1: 48 * 2**10, 2: 2 * 2**20, 3: 2**25}, 16 * 2**30)
HEALTHY = Report(
    {"numba": "0.68"},
    CPU,
    {},
    Cache(Path("/cache/abc"), 30, 2**20, 0, True, 0, "this installation brought none"),
    Peaks(8, 64, (100e9, 790e9), (50e9, 400e9), (10e9, 40e9)),
    Launches(6e-5, 1e-7, 2e-6, "omp"),
    Plan((784, 300, 10), 50, 60_000, "tiles", ("5 x 5",), 8, 0.2, 0.1, 0.5),
    (),
)


def with_cpu(**facts):
    return HEALTHY._replace(cpu=CPU._replace(**facts))


def with_plan(**facts):
    return HEALTHY._replace(plan=HEALTHY.plan._replace(**facts))


def test_healthy_machine_gets_no_advice():
    assert advise(HEALTHY) == []


@pytest.mark.parametrize(
    ("report", "word"),
    [
        (with_cpu(quota=1.5), "cgroup"),
        (with_cpu(allowed=2), "taskset"),
        (with_cpu(load=6.0), "other programs"),
        (HEALTHY._replace(variables={"NUMBA_NUM_THREADS": "1"}), "NUMBA_NUM_THREADS"),
        (with_cpu(vector_bytes=32), "NUMBA_CPU_NAME"),
        (with_cpu(vector_bytes=16, widest="sse2"), "no AVX2"),
        (HEALTHY._replace(variables={"NUMBA_BOUNDSCHECK": "1"}), "NUMBA_BOUNDSCHECK"),
        (HEALTHY._replace(variables={"NUMBA_OPT": "1"}), "NUMBA_OPT"),
        (HEALTHY._replace(launches=HEALTHY.launches._replace(layer="workqueue")), "workqueue"),
        (HEALTHY._replace(cache=HEALTHY.cache._replace(writable=False)), "FASTMLP_CACHE_DIR"),
        (HEALTHY._replace(cache=HEALTHY.cache._replace(old_bytes=2**30)), "can be deleted"),
        (with_plan(kernels="textbook loops", batch_size=1), "batch of 1"),
        (with_plan(kernels="textbook loops", sizes=(784, 10)), "hidden layer"),
        (HEALTHY._replace(peaks=HEALTHY.peaks._replace(flops=(100e9, 400e9))), "hyper-threads"),
        (HEALTHY._replace(peaks=HEALTHY.peaks._replace(memory_bytes=(1e9, math.nan))), "kept cores busy"),
        (with_plan(sizes=(784, 4096, 4096, 10)), "second-level cache"),
        (with_cpu(memory_bytes=2**20), "fewer units"),
    ],
)
def test_each_thing_that_slows_down_is_told_in_one_line(report, word):
    (line,) = advise(report)
    assert word in line
    assert "\n" not in line


def test_this_machine_is_examined(monkeypatch):
    monkeypatch.setattr(doctor, "TIMED_SECONDS", 0.05)
    monkeypatch.setattr(doctor, "measure_peaks", lambda threads, seconds: HEALTHY.peaks._replace(threads=threads))  # see test_machine_peaks
    report = doctor.examine((30, 20, 3), 10, rows=1000, seconds=0.01)
    assert report.cpu.usable <= report.cpu.allowed <= report.cpu.present
    assert report.plan.kernels == "tiles"
    assert report.plan.tiles
    assert report.plan.seconds > 0
    assert report.plan.share_of_peak > 0
    assert report.cache.folder == code_folder()
    assert report.cache.kernels > 0  # of what was tried just now
    assert report.cache.writable


@pytest.mark.parametrize(("sizes", "batch"), [((8, 3), 10), ((8, 6, 1), 1)])
@pytest.mark.parametrize("flops", [100e9, math.nan])  # nan: it could not be measured
def test_networks_that_run_the_textbook_loops_are_tried_too(sizes, batch, flops, monkeypatch):
    monkeypatch.setattr(doctor, "TIMED_SECONDS", 0.0)
    plan = doctor.try_network(sizes, batch, 200, HEALTHY.peaks._replace(flops=(flops, flops)))
    assert (plan.kernels, plan.tiles, plan.threads) == ("textbook loops", (), 1)
    assert (plan.share_of_peak is None) == math.isnan(flops)


def test_interpreted_kernels_are_not_examined(monkeypatch):
    monkeypatch.setattr("fastmlp.compilation.options.JIT", False)
    with pytest.raises(ConfigError, match="NUMBA_DISABLE_JIT"):
        doctor.examine((784, 300, 10), 50)


def test_one_size_is_no_network():
    with pytest.raises(ConfigError, match="--shape"):
        doctor.try_network((784,), 50, 100, HEALTHY.peaks)


def test_code_of_other_versions_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("fastmlp.compilation.stamps.code_folder", lambda: tmp_path / "now")
    for folder, size in (("now", 10), ("old", 300)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.code").write_bytes(b"x" * size)
    found = doctor.describe_cache()
    assert (found.kernels, found.bytes, found.old_bytes) == (1, 10, 300)


def test_cache_that_is_not_there_yet_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr("fastmlp.compilation.stamps.code_folder", lambda: tmp_path / "none" / "now")
    found = doctor.describe_cache()
    assert (found.kernels, found.writable) == (0, True)
