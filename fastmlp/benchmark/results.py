"""The result file: what was measured, on which machine, with which versions, beside what was aimed for."""

import os
import time
from collections.abc import Sequence
from typing import Any

from fastmlp import __version__, machine
from fastmlp.benchmark.comparison import compare, our_limit
from fastmlp.benchmark.implementations import describe
from fastmlp.benchmark.measure import Measured
from fastmlp.benchmark.protocol import Measurement


def record(measured: Sequence[Measured], repeats: int, quick: bool) -> dict[str, Any]:
    """Return everything measured as plain values. A quick run says so: its times are of few rows and mean nothing."""
    versions = {"fastmlp": __version__}
    for each in measured:
        versions |= each.versions
    return {
        "machine": machine.describe()._asdict(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions,
        "repeats": repeats,
        "quick": quick,
        "workloads": [_workload(each) for each in measured],
    }


def _workload(measured: Measured) -> dict[str, Any]:
    workload, limit = measured.workload, our_limit(measured)
    facts = workload._asdict()
    del facts["targets"], facts["limit"]
    return {
        **facts,
        "instruction_set": measured.instruction_set,
        "unit": f"seconds per {workload.unit}",
        "times": [_times(each) for each in measured.measurements],
        "ratios": [
            {
                "ours": describe(each.ours.configuration) if each.ours else None,
                "theirs": describe(each.theirs.configuration) if each.theirs else None,
                "of": each.target.ours._asdict(),
                "against": each.target.theirs._asdict(),
                "ratio": each.ratio,
                "ratio_of_bests": each.best_ratio,
                "ratio_without_zero_skipping": each.unskipped_ratio,
                "target": each.target.at_least,
                "missed_by": each.missed_by,
                "fault": each.fault,
            }
            for each in compare(measured)
        ],
        "limit": None if limit is None else {**limit._asdict(), "missed_by": limit.missed_by},
    }


def _times(measurement: Measurement) -> dict[str, Any]:
    return {
        **measurement.configuration._asdict(),
        "median": measurement.median,
        "best": measurement.best,
        "first": measurement.first_seconds,
        "loss": measurement.loss,
        "fault": measurement.fault,
        "timed": len(measurement.seconds),
    }
