"""Peaks of the machine: real ones are plausible, and rates are what a clock says."""

import pytest

from fastmlp.benchmark import machine_peaks
from fastmlp.benchmark.machine_peaks import cache_sizes, measure, measure_launches


def test_peaks_are_measured_on_one_core_and_on_all():
    peaks = measure(2, 0.02)
    assert peaks.threads == 2
    for one, both in (peaks.flops, peaks.cache_bytes, peaks.memory_bytes):
        assert 0 < one
        assert 0 < both
    # a register is nearer than a cache: one multiply-add in registers moves no byte at all
    assert peaks.flops[0] > peaks.cache_bytes[0] / 12 * 2


def test_one_thread_is_measured_once():
    peaks = measure(1, 0.01)
    assert peaks.flops[0] == peaks.flops[1]
    assert peaks.of(peaks.flops, 1) == peaks.flops[0]


def test_rate_is_amount_over_time(monkeypatch):
    now = 0.0

    def work(count):
        nonlocal now
        now += 0.002 * count

    monkeypatch.setattr(machine_peaks.time, "perf_counter", lambda: now)
    assert machine_peaks._rate(lambda: (work, 6.0), 1, 0.1) == pytest.approx(3000.0)


def test_launches_cost_something():
    launches = measure_launches(2)
    assert launches.team > 0
    assert launches.barrier >= 0
    assert launches.parallel is None or launches.parallel > 0
    assert (launches.layer is None) == (launches.parallel is None)


def test_caches_are_read_from_the_system(tmp_path):
    for index, (kind, level, size) in enumerate([("Data", 1, "48K"), ("Instruction", 1, "32K"), ("Unified", 2, "2M"), ("Unified", 3, "x")]):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in (("type", kind), ("level", level), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    assert cache_sizes(tmp_path) == {1: 48 * 2**10, 2: 2 * 2**20, 3: machine_peaks.USUAL_CACHES[3]}


def test_caches_that_are_not_told_have_usual_sizes(tmp_path):
    assert cache_sizes(tmp_path) == machine_peaks.USUAL_CACHES


def test_arrays_of_streams_begin_at_a_cache_line():
    assert all(machine_peaks.aligned(count).ctypes.data % 64 == 0 for count in (1, 17, 1000))
