"""What a user installs: the wheel, built through the sdist, used from a folder that is not a checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import fastmlp

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.long

TRAIN = """
import numpy as np
import fastmlp

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 2)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
network = fastmlp.Network([2, 3, 2], seed=0)
history = fastmlp.train(network, x, y, epochs=3, batch_size=10, seed=0)
print(len(history), network.predict(x).shape, fastmlp.__file__)
"""


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the sdist, and the wheel from it, with the tools of this environment: no network."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """Install the wheel into a folder of its own; its dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    run(*pip, "--target", folder, wheel, folder=folder)
    return folder


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"fastmlp", f"fastmlp-{fastmlp.__version__}.dist-info"}
    sources = {
        path.relative_to(ROOT).as_posix() for suffix in ("py", "c", "html", "css") for path in (ROOT / "fastmlp").rglob(f"*.{suffix}")
    }
    assert {name for name in names if name.startswith("fastmlp/")} == sources | {"fastmlp/py.typed"}


def test_sdist_holds_what_is_needed_to_build_and_test(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "Makefile", "cli.py", "fastmlp/__init__.py", "tests/conftest.py"} <= names
    assert {name.partition("/")[0] for name in names} <= {path.name for path in ROOT.iterdir()} | {"PKG-INFO"}


def test_installed_module_tells_its_version(site, tmp_path):
    assert fastmlp.__version__ in run(sys.executable, "-m", "fastmlp", "--version", folder=tmp_path, PYTHONPATH=str(site))


def test_installed_command_tells_its_version(site, tmp_path):
    assert fastmlp.__version__ in run(site / "bin" / "fastmlp", "--version", folder=tmp_path, PYTHONPATH=str(site))


def test_installed_package_trains_from_an_empty_folder(site, tmp_path):
    said = run(sys.executable, "-c", TRAIN, folder=tmp_path, PYTHONPATH=str(site))
    assert said.split() == ["3", "(200,)", str(site / "fastmlp" / "__init__.py")]
    assert list(tmp_path.iterdir()) == []


def test_bare_checkout_runs_the_command_line_from_any_folder(tmp_path):
    assert fastmlp.__version__ in run(sys.executable, ROOT / "cli.py", "--version", folder=tmp_path)
