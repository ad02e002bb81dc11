"""Limits that a user can feel. The only tests that look at a clock."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.quality.counts import FULL
from tests.quality.limits import limit

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not FULL, reason="a clock says little on a machine that is shared")


def test_help_answers_within_300_milliseconds():
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "fastmlp", "--help"], cwd=ROOT, env=environment, capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) <= limit(0.3)
