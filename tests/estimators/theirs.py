"""scikit-learn's own tests of its MLP, with fastmlp's estimators in place of it."""

import subprocess
import sys
from pathlib import Path

import sklearn.neural_network

IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
FIXTURES = """
import pytest

@pytest.fixture
def global_random_seed():
    return 42
"""
SETTINGS = "[pytest]\naddopts = -q -p no:cacheprovider -p no:xdist\n"


def run(folder: Path, dtype: str | None) -> dict[str, str]:
    """Return the outcome of each test, by its name, with estimators of a type of parameters."""
    installed = Path(sklearn.neural_network.__file__).parent / "tests" / "test_mlp.py"
    source = installed.read_text()
    if IMPORT not in source:
        raise AssertionError("scikit-learn's tests import their estimators in another way")
    ours = "from fastmlp import MLPClassifier, MLPRegressor\n"
    for name in ("MLPClassifier", "MLPRegressor"):
        ours += f"{name}.__init__.__kwdefaults__['dtype'] = {dtype!r}\n"
    (folder / "test_mlp.py").write_text(source.replace(IMPORT, ours))
    (folder / "conftest.py").write_text(FIXTURES)
    (folder / "pytest.ini").write_text(SETTINGS)
    line = [sys.executable, "-m", "pytest", "-rA", "--tb=line", "test_mlp.py"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    found = {}
    for word in done.stdout.splitlines():
        outcome, _, rest = word.partition(" ")
        if outcome in ("PASSED", "FAILED", "ERROR", "SKIPPED") and "::" in rest:
            found[rest.partition("::")[2].partition(" - ")[0]] = outcome
    return found
