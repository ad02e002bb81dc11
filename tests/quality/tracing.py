"""What a process asks of the system, as strace tells: programs started, addresses connected to, files written to."""

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
CALLS = (
    "execve,execveat,connect,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir"
)
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|^(?:creat|mkdir|rename|link|symlink|unlink|rmdir)")
BEGIN = "/the-traced-code-begins"


class Trace(NamedTuple):
    """How a traced process ended, and its calls that succeeded, each as strace writes it: `openat(AT_FDCWD, "x", O_RDONLY) = 3`."""

    code: int
    out: str
    err: str
    calls: list[str]

    def of(self, *names: str) -> list[str]:
        """Return the calls of these names."""
        return [call for call in self.calls if call.partition("(")[0] in names]

    def writes(self, *allowed: str | Path) -> list[str]:
        """Return the calls that make, change or remove something in the file system but below the paths that are allowed."""
        places = ("/dev/null", "/proc/self/", *map(str, allowed))
        return [call for call in self.calls if WRITING.search(call) and not all(path.startswith(places) for path in _paths(call))]


@functools.cache
def can_trace() -> bool:
    """Return whether strace is installed and may look at a process."""
    return shutil.which("strace") is not None and subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode == 0


needs_strace = pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may trace no process")


def trace(code: str, *arguments: str | Path, cwd: Path, **environment: str) -> Trace:
    """Run Python code under strace in a folder. What Python does before the first line of the code is left out."""
    folder = cwd / "calls"
    folder.mkdir()
    variables = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)} | environment
    begin = f"import os; os.access({BEGIN!r}, 0)\n"
    strace = [
        "strace",
        "-ff",
        "-qq",
        "-o",
        str(folder / "of"),
        "-e",
        f"trace=access,faccessat,faccessat2,{CALLS}",
    ]  # a file for each thread
    line = [*strace, sys.executable, "-c", begin + code, *map(str, arguments)]
    done = subprocess.run(line, cwd=cwd, env=variables, capture_output=True, text=True)
    calls: list[str] = []
    for path in folder.iterdir():
        lines = path.read_text(errors="replace").splitlines()
        begun = [number for number, call in enumerate(lines) if BEGIN in call]
        calls += lines[begun[0] + 1 :] if begun else lines
    return Trace(done.returncode, done.stdout, done.stderr, [call for call in calls if re.search(r"\) += [0-9]", call)])


def _paths(call: str) -> list[str]:
    return re.findall(r'"((?:[^"\\]|\\.)*)"', call)
