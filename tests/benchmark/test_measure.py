"""Measuring a workload, with processes that only pretend."""

import numpy as np
import pytest

from fastmlp.benchmark import measure
from fastmlp.benchmark.comparison import compare
from fastmlp.benchmark.protocol import Configuration
from fastmlp.benchmark.workloads import PEAK, WORKLOADS, against

WORKLOAD = WORKLOADS["G"].with_rows(50)._replace(targets=(against("numpy", 2.0), against("jax", 1.5), against("python", None)))


class Pretending:
    """A process that answers at once: with the initial parameters, and times by its peer."""

    versions = {"some": "1.0"}
    seconds = {"fastmlp": 0.1, "numpy": 0.4, "python": 3.0}
    flops = 1e9
    broken = ()
    wrong = ()

    def __init__(self, peer, threads, folder, instruction_set):
        self.peer, self.folder = peer, folder

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def fault(self):
        return "not installed: jax" if self.peer == "jax" else None

    def ask(self, do, variant=""):
        if self.fault():
            return {"fault": self.fault()}
        if do == "peak":
            return {"flops": self.flops}
        if do == "turn":
            return {"fault": "it broke"} if self.peer in self.broken else {"seconds": [self.seconds[self.peer]]}
        parameters = np.load(self.folder / "parameters.npy")
        np.save(self.folder / "answer.npy", parameters * (2 if self.peer in self.wrong else 1))
        return {"seconds": 1.0, "answer": "answer.npy"}


@pytest.fixture
def pretending(monkeypatch):
    monkeypatch.setattr(measure, "Process", Pretending)
    monkeypatch.setattr(measure.machine, "usable_cores", lambda: 2)
    monkeypatch.setattr("fastmlp.benchmark.protocol.PAUSE", 0.0)
    return monkeypatch


def ratios(measured):
    return [(comparison.target.theirs.peer, comparison.ratio, comparison.fault) for comparison in compare(measured)]


def test_everybody_takes_part_on_one_thread_and_on_all():
    found = measure.configurations(WORKLOAD, 4)
    assert [each for each in found if each.peer == "numpy"] == [Configuration("numpy", "plain", 1), Configuration("numpy", "plain", 4)]
    assert [each for each in found if each.peer == "python"] == [Configuration("python", "lists", 1)]
    assert {each.peer for each in found} == {"fastmlp", "numpy", "jax", "python"}


def test_one_core_is_measured_once():
    assert [each.threads for each in measure.configurations(WORKLOAD, 1) if each.peer == "numpy"] == [1]


def test_missing_peer_is_reported_and_the_others_are_compared(pretending):
    measured = measure.measure(WORKLOAD, 2)
    assert ratios(measured) == [
        ("numpy", pytest.approx(4.0), None),
        ("jax", None, "not installed: jax"),
        ("python", pytest.approx(30.0), None),
    ]
    assert measured.versions == {"some": "1.0"}


def test_peer_that_computes_something_else_is_timed_but_not_compared(pretending):
    pretending.setattr(Pretending, "wrong", ("numpy",))
    measured = measure.measure(WORKLOAD, 2)
    numpy = next(each for each in measured.measurements if each.configuration.peer == "numpy")
    assert numpy.seconds == (0.4, 0.4)
    peer, ratio, fault = ratios(measured)[0]
    assert (peer, ratio) == ("numpy", None)
    assert fault.startswith("another loss: ")


def test_peer_that_breaks_while_it_is_timed_does_not_count(pretending):
    pretending.setattr(Pretending, "broken", ("numpy",))
    assert ratios(measure.measure(WORKLOAD, 2))[0] == ("numpy", None, "it broke")


def test_peak_is_how_long_an_epoch_of_nothing_but_multiply_adds_would_take(pretending):
    peaks = [each for each in measure.measure(WORKLOAD, 2).measurements if each.configuration.peer == PEAK]
    assert {each.configuration.threads for each in peaks} == {1, 2}
    forward, update, delta = 2 * (2 * 3 + 3 * 2), 2 * (2 * 3 + 3 * 2), 2 * 3 * 2  # of 2-3-2, for each of 50 rows
    assert all(each.seconds == (pytest.approx(50 * (forward + update + delta) / 1e9),) * 2 for each in peaks)


def test_peak_that_others_disturb_is_not_told(pretending):
    pretending.setattr(Pretending, "flops", float("nan"))
    assert not any(each.seconds for each in measure.measure(WORKLOAD, 2).measurements if each.configuration.peer == PEAK)


def test_only_those_that_can_run_are_announced(pretending):
    said = []
    measure.measure(WORKLOAD, 1, notify=said.append)
    assert not [text for text in said if "JAX" in text]
    assert "G: first run of NumPy plain, 2 threads" in said
