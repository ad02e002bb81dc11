"""`fastmlp warmup`: compile now what would be compiled later, for example while a container image is built."""

import time
from typing import Annotated, Any

import typer

from fastmlp.cli.options import compile_notes
from fastmlp.rendering.output import Output
from fastmlp.rendering.tables import counted
from fastmlp.settings import NetworkSettings

EXAMPLES = ("fastmlp warmup", "fastmlp warmup --dtype float64", "FASTMLP_CACHE_DIR=/opt/fastmlp fastmlp warmup")


def _known_type(name: str) -> str:
    NetworkSettings(dtype=name)  # raises ConfigError
    return name


def warmup(
    output: Output,
    dtype: Annotated[str, typer.Option(metavar="float32|float64", callback=_known_type, help="type of the parameters")] = (
        NetworkSettings.dtype
    ),
) -> dict[str, Any]:
    """Compile every kernel that training can use.

    Each kernel is compiled when it is first needed and kept in the cache folder, so the first training with a setting waits for some
    of them. After a warm-up none has to wait, until fastmlp, Numba, NumPy or the processor changes.
    """
    from fastmlp.kernels import compiling
    from fastmlp.training.warmup import warm_up

    started, compiled = time.perf_counter(), 0

    def count(name: str, seconds: float | None) -> None:
        nonlocal compiled
        compiled += seconds is not None

    with compile_notes(output), compiling.watch(count):
        trainings = list(warm_up(dtype))
    seconds = time.perf_counter() - started
    output.result(f"{counted(compiled, 'kernel')} compiled, {seconds:.0f} s; kept in {compiling.code_folder()}")
    return {"dtype": dtype, "trainings": trainings, "compiled": compiled, "seconds": seconds, "folder": compiling.code_folder()}
