"""Two result files of one machine set against each other: what became slower, beyond the noise of both."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastmlp.benchmark.workloads import PEAK
from fastmlp.data.gzipped import open_regular
from fastmlp.errors import DataError, InputNotFound

LEAST_NOISE = 0.10  # times that differ by less are the same, however steady they seem
# A machine that does nothing else still shows so many times the spread of one run between two runs.
SPREADS = 2.0


class Timing(NamedTuple):
    """The times of one row of a result file: seconds of one unit."""

    median: float
    best: float
    spread: float  # half the distance between the quartiles, as a part of the median


LARGEST_FILE = 1 << 28  # bytes


class Change(NamedTuple):
    """One row that both files have."""

    name: str
    before: Timing
    after: Timing
    noise: float

    @property
    def slower_by(self) -> float:
        """The part by which the median grew; negative where it shrank."""
        return self.after.median / self.before.median - 1

    @property
    def is_regression(self) -> bool:
        """Whether it became slower beyond the noise, in its best time, too: one bad moment moves a median, not a minimum."""
        return min(self.slower_by, self.after.best / self.before.best - 1) > self.noise


def spread(seconds: Sequence[float]) -> float:
    """Return half the distance between the quartiles as a part of the median, 0.0 for fewer than three times."""
    if len(seconds) < 3:
        return 0.0
    first, _, third = statistics.quantiles(seconds, n=4, method="inclusive")
    return (third - first) / 2 / statistics.median(seconds)


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the rows that two records have in common, the one that slowed down most first. Raises DataError where there are none."""
    for fact in ("cpu", "cores"):
        old, new = before["machine"].get(fact), after["machine"].get(fact)
        if old != new:
            raise DataError(f"--compare: expected times of this machine ({fact} {new}), got {old}; compare on the same machine")
    old_rows, new_rows = dict(_rows(before)), dict(_rows(after))
    shared = [name for name in new_rows if name in old_rows]
    if not shared:
        raise DataError("--compare: expected a file with some of the rows measured now, got none; measure the same words and rungs")
    changes = []
    for name in shared:
        old, new = old_rows[name], new_rows[name]
        changes.append(Change(name, old, new, max(LEAST_NOISE, SPREADS * (old.spread + new.spread))))
    return sorted(changes, key=lambda change: -change.slower_by)


def read(path: Path) -> dict[str, Any]:
    """Read a result file. Raises InputNotFound or DataError."""
    try:
        with open_regular(path) as file:
            found = json.loads(file.read(LARGEST_FILE))
    except InputNotFound:
        raise InputNotFound(f"{path}: expected a result file, found none; write one with --save") from None
    except DataError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a result file, got {type(error).__name__}; write one with --save") from None
    machine = found.get("machine") if isinstance(found, dict) else None
    if not isinstance(machine, dict):
        raise DataError(f"{path}: expected a result file with the facts of a machine, got something else; write one with --save")
    found_rows: dict[str, Any] = found
    return found_rows


def _rows(record: Mapping[str, Any]) -> Iterator[tuple[str, Timing]]:
    """Yield (name, times) of every row that counts. Rows on other numbers of rows have other names: they are another measurement."""
    try:
        for ladder in record.get("ladders") or ():
            for row in ladder["rows"]:
                if row["median"] and not row["fault"]:
                    words = (ladder["scene"], row["operation"], row["title"], f"on {row['threads']}, {row['rows']} rows")
                    yield " ".join(filter(None, words)), _timing(row)
        for workload in record.get("workloads") or ():
            for row in workload["times"]:
                if row["median"] and not row["fault"] and row["peer"] != PEAK:  # the machine's own
                    words = (workload["name"], workload["instruction_set"], row["peer"], row["variant"])
                    yield f"{' '.join(words)} on {row['threads']}, {workload['rows']} rows", _timing(row)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"--compare: expected the rows of a result file, got {type(error).__name__}: {error}; write one with --save"
        ) from None


def _timing(row: Mapping[str, Any]) -> Timing:
    return Timing(float(row["median"]), float(row["best"]), float(row.get("spread") or 0.0))
