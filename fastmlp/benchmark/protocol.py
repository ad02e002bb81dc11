"""The protocol of timing: turns in rounds, so that noise hits everybody alike, and the statistics of what came out."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

PAUSE = 0.2  # seconds between two turns: threads that wait by spinning give up meanwhile, and leave the cores to the next one


class Configuration(NamedTuple):
    """One way to run one implementation."""

    peer: str
    variant: str
    threads: int


class Measurement(NamedTuple):
    """What one configuration took, in seconds per epoch or per call. With a `fault` it does not count, and that says why."""

    configuration: Configuration
    seconds: tuple[float, ...] = ()
    first_seconds: float | None = None  # of the first epoch: with what it had to compile
    loss: float | None = None  # of the parameters after the first epoch
    fault: str | None = None

    @property
    def median(self) -> float | None:
        """The middle one of all times."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def best(self) -> float | None:
        """The shortest of all times."""
        return min(self.seconds, default=None)


Key = TypeVar("Key", bound=Hashable)


def in_rounds(
    turns: Mapping[Key, Callable[[], list[float]]],
    repeats: int,
    patience: float,
    notify: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
    pause: float | None = None,
) -> dict[Key, list[float]]:
    """Call every turn once in each of `repeats` rounds, each round beginning with another one; return all times that each turn gave.

    A turn that has taken more than `patience` seconds in all sits out the rounds that are left. `pause` stands for PAUSE.
    """
    times: dict[Key, list[float]] = {key: [] for key in turns}
    spent = dict.fromkeys(turns, 0.0)
    keys = list(turns)
    for number in range(repeats):
        notify(f"round {number + 1} of {repeats}")
        first = number % max(1, len(keys))
        for key in keys[first:] + keys[:first]:
            if spent[key] > patience:
                continue
            sleep(PAUSE if pause is None else pause)
            started = clock()
            times[key] += turns[key]()
            spent[key] += clock() - started
    return times
