"""How often a row of the quality list is tried, and where it is noted: few times in `make long`, as listed in `make quality`."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

FULL = os.environ.get("FASTMLP_QUALITY") == "full"


def count(ci: int, full: int) -> int:
    """Return how often to try: `full` where the environment variable FASTMLP_QUALITY is "full", else `ci`."""
    return full if FULL else ci


def record(row: str, tried: int, failures: int) -> None:
    """Append what a row gave, as a line of JSON, to the file that FASTMLP_QUALITY_LOG names, where it names one."""
    path = os.environ.get("FASTMLP_QUALITY_LOG")
    if path:
        with open(path, "a") as file:
            file.write(json.dumps({"row": row, "tried": tried, "failures": failures}) + "\n")


@contextmanager
def recorded(row: str) -> Iterator[None]:
    """Record one try of a row: a failure where the block raises anything."""
    failures = 1
    try:
        yield
        failures = 0
    finally:
        record(row, 1, failures)
