"""`fastmlp doctor`: a small network for real."""

import pytest

from fastmlp.benchmark import doctor
from fastmlp.benchmark.machine_peaks import Peaks


@pytest.mark.long
def test_report_tells_the_machine_the_network_and_advice(command):
    result = command("doctor", "--shape", "30,20,3", "--batch", "10", "--rows", "1000")
    assert result.code == 0
    labels = [line.split()[0] for line in result.out.splitlines() if line]
    assert {"processor", "cores", "vectors", "versions", "cache", "peak", "bandwidth", "threads", "network", "expect", "advice"} <= set(
        labels
    )
    assert "30-20-3, batch 10: tiles" in result.out


def test_json_holds_what_a_bug_report_needs(command, monkeypatch):
    monkeypatch.setattr(doctor, "TIMED_SECONDS", 0.05)
    monkeypatch.setattr(doctor, "measure_peaks", lambda threads, seconds: Peaks(threads, 64, (1e11, 2e11), (5e10, 9e10), (1e10, 1.5e10)))
    report = command("doctor", "--shape", "6,5,2", "--batch", "8", "--rows", "100", "--json").json
    assert {"fastmlp", "numba", "llvm"} <= set(report["versions"])
    assert len(report["peaks"]["flops"]) == 2
    assert report["plan"]["sizes"] == [6, 5, 2]
    assert isinstance(report["advice"], list)
    assert report["cpu"]["vector_bytes"] in (16, 32, 64)


@pytest.mark.parametrize("shape", ["784", "784,0,10", "a,b", "784,,10", "10,100000000"])
def test_shape_that_is_none_is_a_usage_error(command, shape):
    result = command("doctor", "--shape", shape)
    assert result.code == 2
    assert "784,300,10" in result.err
