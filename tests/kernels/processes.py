"""Python processes of their own, for what can be seen only at a start: settings, caches, crashes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_python(code: str, *, cwd: Path = ROOT, timeout: float | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code from a folder, by default the one of the project; `environment` is added to this process's own.

    timeout: seconds after which what hangs is ended, and fails.
    """
    # the bytecode of an edited source would be taken for fresh where its size and second are the same
    variables = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(cwd)} | environment
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=variables, capture_output=True, text=True, timeout=timeout)


def result_of(code: str, *, cwd: Path = ROOT, timeout: float | None = None, **environment: str) -> Any:
    """Return the JSON value that Python code prints last; raise with its messages where it fails."""
    done = run_python(code, cwd=cwd, timeout=timeout, **environment)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])
