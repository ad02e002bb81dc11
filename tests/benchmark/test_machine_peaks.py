"""Peaks of the machine: real ones are plausible, and rates are what a clock says."""

import math

import pytest

from fastmlp.benchmark import machine_peaks
from fastmlp.benchmark.machine_peaks import Peaks, cache_sizes, measure, measure_launches


@pytest.fixture
def small_memory(monkeypatch):
    """Arrays that are quickly filled, and no stream from memory: nobody looks at the rate here."""
    monkeypatch.setattr(machine_peaks, "MOST_MEMORY", 2**20)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still: `run(seconds, at_work)` lets it go on, for a thread that was at work for a part of that time."""

    class Clock:
        wall = work = 0.0

        def run(self, seconds, at_work=1.0):
            self.wall += seconds
            self.work += seconds * at_work

    clock = Clock()
    monkeypatch.setattr(machine_peaks.time, "perf_counter", lambda: clock.wall)
    monkeypatch.setattr(machine_peaks.time, "thread_time", lambda: clock.work)
    return clock


def test_peaks_are_measured_on_one_core_and_on_all_unless_the_machine_is_busy(small_memory):
    peaks = measure(2, 0.02)
    assert peaks.threads == 2
    rates = (*peaks.flops, *peaks.cache_bytes, *peaks.memory_bytes)
    assert peaks.usable == (not any(map(math.isnan, rates)))
    assert all(rate > 0 or math.isnan(rate) for rate in rates)


def test_one_thread_is_measured_once(small_memory):
    peaks = measure(1, 0.01)
    assert peaks.flops[0] == peaks.flops[1] or math.isnan(peaks.flops[0])
    assert peaks.of((1.0, 2.0), 1) == 1.0


def test_rate_is_amount_over_time(clock):
    assert machine_peaks._rate(lambda: (lambda count: clock.run(0.002 * count), 6.0), 1, 0.1) == pytest.approx(3000.0)


def test_trial_that_was_kept_from_its_core_is_made_again(clock):
    trials = iter(range(10_000))

    def work(count):
        disturbed = next(trials) % 3 < 2
        clock.run((50 if disturbed else 0.002) * count, 0.1 if disturbed else 1.0)

    assert machine_peaks._rate(lambda: (work, 6.0), 1, 0.1) == pytest.approx(3000.0)


def test_rate_of_a_machine_that_is_always_busy_is_unusable(clock):
    rate = machine_peaks._rate(lambda: (lambda count: clock.run(0.002 * count, 0.5), 6.0), 1, 0.1)
    assert math.isnan(rate)
    assert not Peaks(1, 64, (rate, rate), (1.0, 1.0), (1.0, 1.0)).usable


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
