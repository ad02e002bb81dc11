"""Starts commands and saves through tests/crash/server.py, and kills them: with signals, or through strace at the call of one's choice."""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

ROOT = Path(__file__).parents[2]
# The calls that a save is made of, and those of a careless one.
SAVING = "openat,mkdir,write,sendfile,copy_file_range,ftruncate,fsync,close,rename,renameat,renameat2,unlink"


class Ended(NamedTuple):
    """How a process ended: its exit code, or minus the number of the signal; what it said."""

    code: int
    out: str
    err: str


class Child:
    """A process that runs; `wait` for its end before the next is started."""

    def __init__(self, server: "Supervisor", pid: int, out: Path, err: Path) -> None:
        self.pid, self._server, self._out, self._err = pid, server, out, err

    def kill(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self) -> Ended:
        """Return how it ended, once it has."""
        code = self._server.answer()["code"]
        return Ended(code, self._out.read_text(), self._err.read_text())

    def has_said(self, text: str) -> bool:
        """Return whether a text is in its output or among its notes by now."""
        return any(path.exists() and text in path.read_text() for path in (self._out, self._err))


class Supervisor:
    """One server, and its children one after the other, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "OPENBLAS_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.kill()
        self._server.communicate()

    def command(self, *arguments: object, limits: Mapping[str, int] | None = None) -> Child:
        """Start a command line of fastmlp."""
        return self._order(kind="command", arguments=[str(argument) for argument in arguments], limits=dict(limits or {}))

    def save(self, kind: str, target: Path, content: float, inject: str | None = None) -> tuple[Ended, list[str]]:
        """Save a file under strace, which injects a fault; return how the process ended, and its calls."""
        gate, log = self.folder / "gate", self.folder / "calls"
        gate.unlink(missing_ok=True)
        os.mkfifo(gate)
        child = self._order(kind=kind, target=str(target), gate=str(gate), content=content, limits={})
        with open(gate, "wb", buffering=0) as opened, _strace(child.pid, log, inject):
            opened.write(b"!")
            ended = child.wait()
        return ended, log.read_text().splitlines()

    def answer(self) -> dict[str, int]:
        """Return the server's next answer."""
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError("the server of the crash tests has ended; what it said is above")
        return json.loads(line)

    def _order(self, **order: Any) -> Child:
        self._count += 1
        out, err = self.folder / f"out-{self._count}", self.folder / f"err-{self._count}"
        order |= {"folder": str(self.folder), "out": str(out), "err": str(err)}
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return Child(self, self.answer()["pid"], out, err)


@functools.cache
def can_trace() -> bool:
    """Return whether strace is installed and may look at a process."""
    return shutil.which("strace") is not None and subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode == 0


@contextmanager
def _strace(pid: int, log: Path, inject: str | None):
    line = ["strace", "-o", str(log), "-p", str(pid), "-e", f"trace={SAVING}", *(["-e", f"inject={inject}"] if inject else [])]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as tracer:
        said = tracer.stderr.readline()
        if "attached" not in said:
            raise RuntimeError(f"strace cannot trace: {said}")
        yield
        tracer.communicate()


def calls(log: list[str], name: str) -> list[str]:
    """Return the calls of one name, in order."""
    return [line for line in log if line.startswith(f"{name}(")]


def wait_until(condition, seconds: float = 600.0) -> None:
    """Wait for something to happen; fail where it does not."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing happened for {seconds} s")
        time.sleep(0.002)
