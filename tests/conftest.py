"""What all tests share: the cache, the real data sets, and how hypothesis looks for examples."""

import gc
import os
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]

KEPT = ("FASTMLP_CACHE_DIR", "FASTMLP_DATA_DIR", "FASTMLP_QUALITY", "FASTMLP_QUALITY_LOG")

# One cache for all tests and the processes that they start, kept between runs: a kernel is compiled, a data set fetched once.
# It is not the user's, and no setting from the user's environment may reach a test.
os.environ.setdefault("FASTMLP_CACHE_DIR", str(ROOT / ".cache"))
for name in [name for name in os.environ if name.startswith("FASTMLP_")]:
    if name not in KEPT:
        del os.environ[name]

# Where the environment forbids it, every process would compile the sources of the package, and every run those of the tests, once more.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Threads of OpenMP that wait for each other sleep: two test processes share the cores, and one that spins takes them from the other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The first example may have to wait for the compiler.
hypothesis.settings.register_profile("fastmlp", deadline=None)
hypothesis.settings.load_profile("fastmlp")


LONG = [ROOT / "tests" / folder for folder in ("combinations", "quality")]


def pytest_collection_finish():
    """Let the collector pass over the tests themselves, and look less often: the compiler makes millions of objects that live on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_collection_modifyitems(items):
    """Mark what tries the same claims again in many more ways; where several processes test, keep the files of a folder apart."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        places = spread({item.path for item in items})
        items.sort(key=lambda item: places[item.path])
    for item in items:
        if item.path.parent in LONG:
            item.add_marker(pytest.mark.long)


def spread(paths):
    """Return for each file where in the run its turn is, from 0 to 1: files of one folder need the same code.

    Two processes that need it at once compile it both; who needs it later finds it. The largest file of a folder comes first, so that none
    that takes long is left for the end, when one process alone would wait for it.
    """
    folders = {}
    for path in sorted(paths, key=lambda path: (-path.stat().st_size, path)):
        folders.setdefault(path.parent, []).append(path)
    return {path: (index + 0.5) / len(files) for files in folders.values() for index, path in enumerate(files)}


@pytest.fixture(scope="session")
def mnist():
    """Real MNIST, fetched where it has to be. A test that needs it fails without it."""
    import fastmlp

    return fastmlp.load_dataset("mnist")


@pytest.fixture(scope="session")
def fashion_mnist():
    """Real Fashion-MNIST, fetched where it has to be. A test that needs it fails without it."""
    import fastmlp

    return fastmlp.load_dataset("fashion-mnist")
