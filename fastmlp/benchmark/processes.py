"""Worker processes as the process that measures sees them, and the environments that they run in."""

import contextlib
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fastmlp.errors import ConfigError

SOURCE = Path(__file__).with_name("without_avx512.c")
EXIT_SECONDS = 5.0  # after which a process that does not end is killed
HINT = "pip install 'fastmlp[bench]'"
# How many threads BLAS, OpenMP and XLA take; PyTorch and fastmlp are told by their own settings, too.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")


def check_instruction_set(name: str) -> None:
    """Raise ConfigError where this machine cannot be told to use an instruction set."""
    if name == "native":
        return
    if platform.machine().lower() not in ("x86_64", "amd64") or platform.system() != "Linux":
        raise ConfigError(f"--avx2: expected x86-64 and Linux, this is {platform.machine()}, {platform.system()}; leave it out")
    ask = "import llvmlite.binding as llvm; print(llvm.get_host_cpu_features().get('avx512f', False))"
    done = subprocess.run([sys.executable, "-c", ask], env=os.environ | instructions(name), capture_output=True, text=True)
    if done.stdout.strip() != "False":
        raise ConfigError("--avx2: this system does not let AVX-512 be hidden (arch_prctl, ARCH_SET_CPUID); leave it out")


def instructions(name: str) -> dict[str, str]:
    """Return the variables under which a process, whatever libraries it uses, finds the processor with an instruction set alone."""
    if name == "native":
        return {}
    others = os.environ.get("LD_PRELOAD")
    hiding = str(Path(_hiding().name, "without_avx512.so"))
    return {"LD_PRELOAD": os.pathsep.join(filter(None, (hiding, others))), "FASTMLP_LEVEL": "x86-64-v3"}


@functools.cache
def _hiding() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of the compiled without_avx512.c, which is there until this process ends."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise ConfigError("--avx2: hiding AVX-512 needs gcc; install it, or leave --avx2 out")
    folder = tempfile.TemporaryDirectory(prefix="fastmlp-avx2-")
    line = [compiler, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(Path(folder.name, "without_avx512.so")), "-ldl"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode != 0:
        raise ConfigError(f"--avx2: gcc failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")
    return folder


def environment(threads: int, instruction_set: str, cache: Path | None = None, source: Path | None = None) -> dict[str, str]:
    """Return the environment of a worker process: this one's, with our package found, threads and instructions as asked for.

    `cache` is the folder in which it keeps compiled code; None for the user's own. `source` is the folder that holds the package; None for
    that of this process.
    """
    root = str(source or Path(__file__).parents[2])
    return {
        **{name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"},  # interpreted, it would never end
        **instructions(instruction_set),
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        **({} if cache is None else {"FASTMLP_CACHE_DIR": str(cache)}),
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
    }


class Process:
    """One implementation on a number of threads, alive in a process of its own. A context, so that it ends in any case.

    `folder` holds a problem, or several in folders of their own. `cache` and `source` are those of `environment`.
    """

    def __init__(
        self,
        peer: str,
        threads: int,
        folder: Path,
        instruction_set: str = "native",
        cache: Path | None = None,
        source: Path | None = None,
    ) -> None:
        line = [sys.executable, "-m", "fastmlp.benchmark.worker", peer, str(threads), str(folder)]
        self.versions: dict[str, str] = {}
        self._fault: str | None = None  # why it answers no more
        self._greeted = False
        self._errors = open(folder / f"errors-{peer}-{threads}.txt", "w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            line,
            cwd=source,  # where Python looks before anything else
            env=environment(threads, instruction_set, cache, source),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._process.communicate(timeout=EXIT_SECONDS)  # the end of its input ends it
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.close()

    def ask(self, do: str, variant: str = "", problem: str = "", seconds: float | None = None, seed: int = 0) -> dict[str, Any]:
        """Send a request and wait for the answer: see worker.py. Where none can come, it is {"fault": why}."""
        if self.fault() is None:
            answer = self._exchange({"do": do, "variant": variant, "problem": problem, "seconds": seconds, "seed": seed})
            if answer is not None:
                return answer
        return {"fault": self._fault}

    def fault(self) -> str | None:
        """Return why this process answers no requests, None where it does; waits for its first line."""
        if not self._greeted:
            self._greeted = True
            greeting = self._exchange(None)
            if greeting is not None:
                self.versions = greeting["versions"]
                if greeting["missing"]:
                    self._fault = f"not installed: {', '.join(greeting['missing'])}; {HINT}"
        return self._fault

    def _exchange(self, request: dict[str, Any] | None) -> dict[str, Any] | None:
        """Send a request, if any, and read a line; where the process has ended, note why and return None."""
        sent, received = self._process.stdin, self._process.stdout
        if sent is None or received is None:
            raise RuntimeError("expected a process with pipes")
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            if request is not None:
                sent.write(json.dumps(request) + "\n")
                sent.flush()
        line = received.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        self._fault = f"the process ended with code {self._process.wait()}: {said[-1] if said else 'without a word'}"
        return None
