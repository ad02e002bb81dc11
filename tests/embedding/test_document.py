"""What docs/embedding.md says: its code runs, its header is the one that fastmlp gives, and it names every function."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp
from fastmlp.embedding import Functions, c_functions

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "embedding.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.long  # a user's functions are compiled anew each time
def test_python_of_the_document_runs(tmp_path):
    script = tmp_path / "document.py"
    script.write_text("\n".join(blocks("python")))
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy; found = runpy.run_path({str(script)!r}); print(found['net'].sizes)"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] in ("0", "1")  # the likelier class
    assert lines[1].endswith("'accuracy': 1.0}")  # what the minimiser found
    assert lines[-1] == "(4, 16, 2)"


def test_header_of_the_document_is_the_one_that_fastmlp_gives():
    state, _ = fastmlp.Network([2, 3, 2], dtype="float64").compiled()
    assert blocks("c") == [c_functions(state).header]


def test_document_explains_every_function():
    explained = set(re.findall(r"^\| `(\w+)\(", TEXT, re.MULTILINE))
    assert explained == set(Functions._fields)
