"""The oldest and the newest Numba that are supported, and each Python that is here: recorded trainings, each in a fresh environment."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import safetensors.numpy
from numpy.testing import assert_allclose

from fastmlp.compilation.supported import NUMBA
from tests.training.recorded_runs import HASHES, SAMPLES

ROOT = Path(__file__).parents[2]
OLDEST = "numba==0.66.0"
HERE = "{}.{}".format(*sys.version_info)
OTHERS = [version for version in ("3.11", "3.12", "3.13") if version != HERE]
RUNS = {"weighted_labels_adagrad": 2e-5, "layer_norm_lion": 1e-11}  # in float32 and in float64, and how far another compiler may be
TRAIN = f"""
import json, sys
import numba
from tests.training.recorded_runs import RUNS, digest, machine, sample
ends = {{name: RUNS[name]() for name in {list(RUNS)}}}
found = {{name: [sample(end).tolist(), digest(end)] for name, end in ends.items()}}
print(json.dumps(["{{}}.{{}}".format(*sys.version_info), numba.__version__, machine(), found]))
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def pip(python, *arguments):
    return subprocess.run([python, "-m", "pip", "--disable-pip-version-check", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def index():
    """A package index that knows Numba; without one, nothing here can be tried."""
    asked = pip(sys.executable, "install", "--dry-run", "--ignore-installed", "--no-deps", "--retries=1", "--timeout=20", NUMBA)
    if asked.returncode != 0:
        pytest.skip(f"no package index can be reached: {asked.stderr.strip().splitlines()[-1]}")


def dependencies(numba):
    """Return what fastmlp needs, with Numba as asked for."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert NUMBA in needed
    return [numba if each == NUMBA else each for each in needed]


@pytest.mark.parametrize(("version", "numba"), [(HERE, OLDEST), (HERE, NUMBA), *((version, NUMBA) for version in OTHERS)])
def test_recorded_trainings_end_as_they_did(version, numba, index, tmp_path):
    python = sys.executable if version == HERE else f"python{version}"
    made = subprocess.run(["sh", "-c", '"$0" -m venv "$1"', python, tmp_path / "venv"], capture_output=True, text=True)
    if made.returncode != 0 and version != HERE:
        pytest.skip(f"{python} is not here, or makes no environments: {' '.join(made.stderr.split())[:200]}")
    assert made.returncode == 0, made.stderr
    python = tmp_path / "venv" / "bin" / "python"
    installed = pip(python, "install", "--quiet", "--only-binary=:all:", *dependencies(numba))
    assert installed.returncode == 0, installed.stderr
    done = subprocess.run([python, "-c", TRAIN], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "is not supported" not in done.stderr
    found_version, found_numba, machine, found = json.loads(done.stdout)
    assert found_version == version
    assert numba == NUMBA or numba == f"numba=={found_numba}"
    samples, known = safetensors.numpy.load_file(SAMPLES), json.loads(HASHES.read_text())
    for name, tolerance in RUNS.items():
        numbers, digest = found[name]
        assert_allclose(numbers, samples[name], rtol=tolerance, atol=tolerance)
        assert machine not in known or digest == known[machine][name]
