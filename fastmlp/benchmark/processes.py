"""Worker processes as the process that measures sees them, and the environments that they run in."""

import contextlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fastmlp.errors import ConfigError

# What tells Numba, C, oneDNN, OpenBLAS, MKL, PyTorch and XLA to do without AVX-512. Numba would keep the machine's features if it were
# given a name alone.
HASWELL_FEATURES = (
    "64bit,aes,avx,avx2,bmi,bmi2,cmov,crc32,cx16,cx8,f16c,fma,fsgsbase,fxsr,invpcid,lzcnt,mmx,movbe,pclmul,popcnt,rdrnd,sahf,"
    "sse,sse2,sse3,sse4.1,sse4.2,ssse3,x87,xsave,xsaveopt"
)
INSTRUCTION_SETS: dict[str, dict[str, str]] = {
    "native": {},
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": ",".join(f"+{feature}" for feature in HASWELL_FEATURES.split(",")),
        "FASTMLP_LEVEL": "x86-64-v3",
        "FASTMLP_BENCH_MARCH": "haswell",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
}
# How many threads BLAS, OpenMP and XLA take; PyTorch and fastmlp are told by their own settings, too.
EXIT_SECONDS = 5.0  # after which a process that does not end is killed
HINT = "pip install 'fastmlp[bench]'"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")


def check_instruction_set(name: str) -> None:
    """Raise ConfigError where this machine cannot be told to use an instruction set."""
    if name != "native" and platform.machine().lower() not in ("x86_64", "amd64"):
        raise ConfigError(f"--avx2: expected an x86-64 processor, this is {platform.machine()}; leave it out")


def environment(threads: int, instruction_set: str, cache: Path | None = None, source: Path | None = None) -> dict[str, str]:
    """Return the environment of a worker process: this one's, with our package found, threads and instructions as asked for.

    `cache` is the folder in which it keeps compiled code; None for the user's own. `source` is the folder that holds the package; None for
    that of this process.
    """
    root = str(source or Path(__file__).parents[2])
    return {
        **{name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"},  # interpreted, it would never end
        **INSTRUCTION_SETS[instruction_set],
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
