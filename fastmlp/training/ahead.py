"""Compile on all cores what a training will need: processes fill the cache of machine code while this one gets its data.

Each process lists what the training asks for (listing.listed), and takes the kernels from the end of the list; the process that trains
takes them as it comes to them. Who begins with a kernel claims it, by a file in a folder that they share, so that none is compiled twice;
what another has claimed is waited for. Whatever goes wrong with the processes costs time only: what they do not make is compiled as ever.
"""

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fastmlp import machine, prebuilt
from fastmlp.errors import TrainingError, WriteError
from fastmlp.settings import NetworkSettings, TrainingSettings

if TYPE_CHECKING:
    import numpy as np

    from fastmlp.compilation.listing import Needed
    from fastmlp.data.dataset import Dataset
    from fastmlp.network import Network

MOST_PROCESSES = 7  # beside this one: the longest kernel takes a tenth of all
PROCESS_BYTES = 512 << 20  # what one takes, and some more
POLL_SECONDS = 0.01
PARENT_SECONDS = 0.25  # from one look for the process that started this one to the next
END_SECONDS = 1.0  # that a process gets to end by itself, from inside of the compiler
TELL_SECONDS = 0.2
TOTAL = "total"  # the file that says how many kernels are missing
SAMPLE_ROWS = 200
LOOKED_AT = 1000  # rows, for the share of inputs that are not zero
# The folder of the current one and its files are no place to import from: where to look is told by the process that starts this one.
PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from fastmlp.training import ahead; ahead.serve()"
Sketch = dict[str, Any]  # of a training, in values that JSON has: see sketch_of


def sketch_of(
    data: "Dataset", network: "Network", settings: TrainingSettings, *, evaluates: bool = True, predicts: bool = False
) -> Sketch:  # fmt: skip
    """Return what decides which kernels a training on a data set needs, and what is done with the network besides."""
    x = data.x_train
    live = float((x[:LOOKED_AT] != 0).mean()) if x.dtype.kind in "biuf" and x.size else 1.0
    return {
        "sizes": list(network.sizes), "activation": list(network.hidden_activations), "output": network.output,
        "normalization": network.normalization, "dtype": network.dtype.name, "initializer": None, "train": settings.to_dict(),
        "x": x.dtype.str, "row": list(x.shape[1:]), "live": live, "rows": len(x),
        "target_kind": data.target_kind, "target": list(data.y_train.shape[1:]), "evaluates": evaluates,
        "predicts": predicts,
    }  # fmt: skip


def sketch_of_pictures(network: NetworkSettings, settings: TrainingSettings) -> Sketch:
    """Return the same for pictures like those of MNIST, before they are there."""
    return {
        "sizes": [784, *network.hidden, 10], "activation": network.activation, "output": network.output or "softmax",
        "normalization": network.normalization, "dtype": network.dtype, "initializer": network.initializer, "train": settings.to_dict(),
        "x": "|u1", "row": [28, 28], "live": 0.2, "rows": 60_000, "target_kind": "classes", "target": [], "evaluates": True,
        "predicts": True,
    }  # fmt: skip


class Ahead:
    """The processes that compile for this one, a context. They start with the first kernel that is missing, or with start()."""

    def __init__(self) -> None:
        self._sketch: Sketch | None = None
        self._running: list[subprocess.Popen[bytes]] = []
        self._claims: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def is_cold(self) -> bool:
        """Whether nothing has ever been compiled here, as far as that can be told without a compiler."""
        return not prebuilt.DIGESTS and not (machine.cache_folder() / "compiled").exists()

    def expect(self, sketch: Sketch) -> None:
        """Note what will be trained, for the processes that start with the first kernel that is missing."""
        from fastmlp.compilation import waiting

        self._sketch = sketch
        waiting.ask_elsewhere(self._has_made)

    def start(self, sketch: Sketch) -> None:
        """Start a process for each core but one, where there is memory for them."""
        left = machine.memory_left()
        count = min(machine.usable_cores() - 1, MOST_PROCESSES, MOST_PROCESSES if left is None else left // PROCESS_BYTES - 1)
        if self._claims is None and count > 0 and machine.address_space_left() is None:
            self._start(sketch, count)

    def _start(self, sketch: Sketch, count: int) -> None:
        self._claims = Path(tempfile.mkdtemp(prefix="fastmlp-ahead-"))
        job = json.dumps({"claims": str(self._claims), "parent": os.getpid(), "sketch": sketch}).encode()
        command = [sys.executable, "-P", "-c", PROGRAM, *sys.path]
        for _ in range(count):
            with contextlib.suppress(OSError):
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
                )
                self._running.append(process)
                with process.stdin as pipe:  # type: ignore[union-attr]
                    pipe.write(job)

    def do_all(self, sketch: Sketch, tell: Callable[[int, int], None]) -> list[int]:
        """Let a process on each core do it all; return their exit codes. tell(done, of) is called meanwhile."""
        self._start(sketch, min(machine.usable_cores(), MOST_PROCESSES))
        while self._are_running():
            tell(*self.count())
            time.sleep(TELL_SECONDS)
        return [process.returncode for process in self._running]

    def count(self) -> tuple[int, int]:
        """Return how many kernels the processes have begun, of how many; 0, 0 before they know."""
        of = None if self._claims is None else self._claims / TOTAL
        return (0, 0) if of is None or not of.exists() else (len(list(of.parent.iterdir())) - 1, int(of.read_text() or 0))

    def _has_made(self, path: Path) -> bool:
        """Return whether another process has made the code of a kernel, if need be after waiting for it. False: this one has to."""
        from fastmlp.compilation import code_cache

        if self._claims is None and self._sketch is not None and code_cache.can_keep(path.parent):
            self.start(self._sketch)
        if self._claims is None or not self._running or claimed(self._claims, path):
            return False
        while not path.exists() and self._are_running():
            time.sleep(POLL_SECONDS)
        return path.exists()

    def finish(self) -> None:
        """Wait until all is compiled that the training may need later, and what it leaves needs: no process compiles while it runs."""
        while self._are_running():
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """End the processes, whatever they do."""
        if self._sketch is not None:
            from fastmlp.compilation import waiting

            waiting.ask_elsewhere(None)
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()
        if self._claims is not None:
            shutil.rmtree(self._claims, ignore_errors=True)

    def _are_running(self) -> bool:
        return any(process.poll() is None for process in self._running)


def claimed(claims: Path, code: Path) -> bool:
    """Return whether this process is the first that wants to compile a kernel."""
    try:
        os.close(os.open(claims / code.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError:  # another one was, or the process that had begun all this has ended
        return False
    return True


def compile_everything(dtype: str, tell: Callable[[int, int], None]) -> int:
    """Compile on all cores whatever a training with parameters of a type can need; return how many kernels that were.

    tell(done, of) is called several times a second. Raises WriteError where code cannot be kept, TrainingError where a process is lost.
    """
    from fastmlp.compilation import code_cache, stamps

    if not code_cache.can_keep(stamps.code_folder()):
        raise WriteError(f"{stamps.code_folder()}: expected a folder that nobody else can write to; set FASTMLP_CACHE_DIR to one")
    with Ahead() as ahead:
        codes = ahead.do_all({"everything": dtype}, tell)
        if any(codes):
            raise TrainingError(f"a process ended with code {max(codes, key=abs)}; what it had compiled is kept: start again, to go on")
        return ahead.count()[0]


# --- what a process does ---------------------------------------------------------------------------------------------------


def serve() -> None:
    """Compile what the training of a sketch needs, as far as no other process does: the work of one process."""
    job = json.loads(sys.stdin.buffer.read())
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    threading.Thread(target=_end_with, args=(job["parent"],), daemon=True).start()
    claims = Path(job["claims"])
    missing = [needed for needed in needed_for(job["sketch"]) if not needed.is_there()]
    if claimed(claims, Path(TOTAL)):  # the first that knows
        (claims / TOTAL).write_text(str(len(missing)))
    for needed in missing:
        if claimed(claims, needed.path):
            needed.kernel.compile(needed.signature)
            if not needed.is_there():
                sys.exit(f"{needed.path}: it cannot be kept")


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def needed_for(sketch: Sketch) -> "list[Needed]":
    """Return the kernels that a training and predicting need, in the order in which a process of Ahead takes them.

    Those of predicting come first, as the process that trains does not begin with them.
    """
    from fastmlp.compilation import listing
    from fastmlp.training.warmup import warm_up

    if "several" in sketch:
        return _each_once(needed for one in sketch["several"] for needed in needed_for(one))
    if "everything" in sketch:
        with listing.listed() as needed:
            for _ in warm_up(sketch["everything"]):
                pass
        return _each_once(needed)
    if "module" in sketch:
        with listing.listed() as needed, contextlib.suppress(Exception):
            getattr(importlib.import_module(sketch["module"]), sketch["function"])(**sketch["arguments"])
        return _each_once(needed)[::-1]
    with listing.listed() as training, contextlib.suppress(Exception):  # what is wrong with the settings is told where they are used
        network, x = _rehearse(sketch)
    with listing.listed() as predicting, contextlib.suppress(Exception):
        if sketch["predicts"]:
            network.predict(x)
    of_training = _each_once(training)
    known = {needed.path for needed in of_training}
    return [*(needed for needed in _each_once(predicting) if needed.path not in known), *reversed(of_training)]


def _each_once(needed: "Iterable[Needed]") -> "list[Needed]":
    return list({each.path: each for each in needed}.values())


def _rehearse(sketch: Sketch) -> "tuple[Network, np.ndarray]":
    """Train a network on random rows, in name only; return it with these rows."""
    import numpy as np

    from fastmlp.network import Network
    from fastmlp.training.plan import make_plan
    from fastmlp.training.trainer import Trainer

    generator = np.random.default_rng(0)
    shape = (SAMPLE_ROWS, *sketch["row"])
    live, dtype = generator.random(shape) < sketch["live"], np.dtype(sketch["x"])
    x = np.where(live, generator.integers(1, 256, shape), 0).astype(dtype)
    of_rows = (SAMPLE_ROWS, *sketch["target"])
    of_classes = generator.integers(0, sketch["sizes"][-1] if sketch["target_kind"] == "classes" else 2, of_rows)
    y = generator.standard_normal(of_rows) if sketch["target_kind"] == "values" else of_classes
    settings = TrainingSettings.from_mapping(sketch["train"])
    network = Network(
        sketch["sizes"], sketch["activation"], sketch["output"], normalization=sketch["normalization"], initializer=sketch["initializer"],
        dtype=sketch["dtype"],
    )  # fmt: skip
    held_out = 0.1 if settings.validation else 0  # of so few rows
    trainer = Trainer(make_plan(network, x, y, settings.replace(validation=held_out), n_rows=sketch["rows"]))
    trainer.prepare(validates=sketch["evaluates"])
    if sketch["evaluates"]:
        network.evaluate(x, y)
    trainer.step()
    return network, x
