"""`fastmlp warmup`: compile now what would be compiled later, for example while a container image is built."""

import time
from typing import Annotated, Any

import typer

from fastmlp.rendering.output import Output
from fastmlp.rendering.progress import waiting
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
    """Compile every kernel that training can use, on all cores.

    Each kernel is compiled when it is first needed and kept in the cache folder, so the first training with a setting waits for some
    of them. After a warm-up none has to wait, until fastmlp, Numba, NumPy or the processor changes.
    """
    from fastmlp.compilation import stamps
    from fastmlp.training.ahead import compile_everything

    started = time.perf_counter()
    with waiting(output) as note:
        if not output.shows_progress:
            note("compiling everything, once, on all cores …")
        compiled = compile_everything(
            dtype, lambda done, of: note(f"compiling (once) … {done} of {of or '?'} kernels") if output.shows_progress else None
        )
    seconds = time.perf_counter() - started
    output.result(f"{counted(compiled, 'kernel')} compiled, {seconds:.0f} s; kept in {stamps.code_folder()}")
    return {"dtype": dtype, "compiled": compiled, "seconds": seconds, "folder": stamps.code_folder()}
