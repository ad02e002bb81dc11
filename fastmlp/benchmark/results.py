"""The result file: what was measured, on which machine, with which versions, beside what was aimed for."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastmlp import __version__, machine
from fastmlp.benchmark import regressions
from fastmlp.benchmark.comparison import compare, our_limit
from fastmlp.benchmark.implementations import describe
from fastmlp.benchmark.ladder import Ladder, Row, versions_of
from fastmlp.benchmark.measure import Measured
from fastmlp.benchmark.protocol import Measurement
from fastmlp.benchmark.scaling import Scaling
from fastmlp.benchmark.startup import Start
from fastmlp.errors import DataError

# The lists of a result file, and by what each of their entries is known: a later run replaces entries, and keeps the others.
LISTS = {"ladders": ("scene",), "workloads": ("name", "instruction_set"), "scaling": ("axis",), "startup": ("what",)}


def record(
    measured: Sequence[Measured] = (),
    repeats: int = 5,
    quick: bool = False,
    ladders: Sequence[Ladder] = (),
    scaling: Scaling | None = None,
    startup: Sequence[Start] = (),
) -> dict[str, Any]:
    """Return everything measured as plain values. A quick run says so: its times are of few rows."""
    versions = {"fastmlp": __version__, **versions_of(ladders), **(scaling.versions if scaling else {})}
    for each in measured:
        versions |= each.versions
    found: dict[str, Any] = {
        "machine": machine.describe()._asdict(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions,
        "repeats": repeats,
        "quick": quick,
        "workloads": [_workload(each) for each in measured],
    }
    if ladders:
        found["ladders"] = [_ladder(ladder) for ladder in ladders]
    if scaling is not None:
        found["scaling"] = [_axis(scaling, axis) for axis in scaling.axes]
    if startup:
        found["startup"] = [start._asdict() | {"median": start.median, "best": start.best} for start in startup]
    return found


def held(path: Path, quick: bool) -> dict[str, Any] | None:
    """Return what a result file holds, None where there is none. Raises DataError where this run may not be added to it."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    old = regressions.read(path)
    if old["machine"].get("cpu") != machine.cpu_name() or old.get("quick") != quick:
        kind = "a quick run" if old.get("quick") else f"{old['machine'].get('cpu')}, not quick"
        raise DataError(f"--save: expected a file of this machine and of this kind of run, {path} holds times of {kind}; save to another")
    try:
        for name, key in LISTS.items():
            for entry in old.get(name) or ():
                _known_as(entry, key)
        dict(old.get("versions") or {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: expected a result file, got {type(error).__name__}: {error}; save to another") from None
    return old


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with what is new, and of the old one what was not measured anew."""
    found = dict(new)
    found["versions"] = {**(old.get("versions") or {}), **new["versions"]}
    for name, key in LISTS.items():
        entries = {_known_as(entry, key): entry for record in (old, new) for entry in record.get(name) or ()}
        if entries or name in new:
            found[name] = list(entries.values())
    return found


def _known_as(entry: Mapping[str, Any], key: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(entry[part] for part in key)


def as_json(found: Mapping[str, Any]) -> bytes:
    """Return the content of a result file."""
    return (json.dumps(found, indent=1) + "\n").encode()


def _ladder(ladder: Ladder) -> dict[str, Any]:
    scene, workload = ladder.scene, ladder.scene.workload
    return {
        "scene": scene.key,
        "title": scene.title,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "unit": scene.unit,
        "sizes": workload.sizes,
        "batch_size": workload.batch_size,
        "unit_rows": scene.unit_rows,
        "flops": ladder.flops(),
        "peaks": ladder.peaks._asdict(),
        "rows": [_ladder_row(ladder, row) for row in ladder.rows],
    }


def _ladder_row(ladder: Ladder, row: Row) -> dict[str, Any]:
    above_lists, above_previous = ladder.speed_ups(row)
    return {
        "rung": row.rung.key,
        "title": row.rung.title,
        "operation": row.operation,
        "peer": row.configuration.peer,
        "variant": row.configuration.variant,
        "threads": row.configuration.threads,
        "median": row.median,
        "best": row.best,
        "spread": regressions.spread(row.seconds),
        "timed": len(row.seconds),
        "rows": row.rows,
        "extrapolated": row.extrapolated,
        "first": row.first_seconds,
        "error": row.error,
        "loss": row.loss,
        "gflops": None if row.median is None else ladder.flops() / row.median / 1e9,
        "skips_zeros": row.rung.skips,
        "share_of_peak": ladder.share_of_peak(row),
        "bytes_per_second": None if row.median is None else ladder.traffic(row.operation) / row.median,
        "speed_up": above_lists,
        "speed_up_over_previous": above_previous,
        "fault": row.fault,
    }


def _axis(scaling: Scaling, axis: str) -> dict[str, Any]:
    return {
        "axis": axis,
        "points": [
            {"size": point.size, "unit": point.unit, "seconds": dict(point.seconds), "faults": dict(point.faults)}
            for point in scaling.of(axis)
        ],
        "exponents": scaling.exponents(axis),
        "break_even": scaling.break_even(axis),
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
                "ratio_at_peak": each.peak_ratio,
                "target": each.aim,
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
        "spread": regressions.spread(measurement.seconds),
        "first": measurement.first_seconds,
        "loss": measurement.loss,
        "fault": measurement.fault,
        "timed": len(measurement.seconds),
    }
