"""Measurements made up by hand, and the marks of tests with real ones."""

import pytest

from fastmlp.benchmark.measure import Measured
from fastmlp.benchmark.protocol import Configuration, Measurement
from fastmlp.benchmark.workloads import WORKLOADS, Limit, Target, Workload


def measurement(peer: str, variant: str, threads: int, *seconds: float, loss: float | None = 0.5, fault: str | None = None) -> Measurement:
    """Return what one configuration took."""
    return Measurement(Configuration(peer, variant, threads), seconds, 1.0 if seconds else None, loss if seconds else None, fault)


def measured(*measurements: Measurement, targets: tuple[Target, ...] = (), limit: Limit | None = None, name: str = "A") -> Measured:
    """Return the measurements of a workload with other targets, on a machine of two cores."""
    workload: Workload = WORKLOADS[name]._replace(targets=targets, limit=limit)
    return Measured(workload, "native", True, 2, measurements, {})


def marks_of(peer: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a test that runs a peer: what `make test` does not install, it does not look at."""
    return [pytest.mark.long] if peer in ("jax", "onnxruntime", "sklearn", "torch") else []
