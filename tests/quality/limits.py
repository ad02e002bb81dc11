"""Limits of time that a user can feel, on machines that may be busy with something else."""

import math
import os

from tests.quality.counts import FULL


def limit(seconds: float) -> float:
    """Return a limit for this machine as it is now: three times as much in CI, more where more processes want to run than it has cores.

    Only `make quality` looks at a clock: elsewhere there is none.
    """
    if not FULL:
        return math.inf
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(3.0 if os.environ.get("CI") else 1.0, 1.5 * waiting)
