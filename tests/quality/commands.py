"""Every command of fastmlp, with a line that runs it in a folder where `model.safetensors`, `rows.npy`, `table.csv` and `runs/` are."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from typer.main import get_command

from fastmlp.cli import app

ROOT = Path(__file__).parents[2]
QUICK = ("--epochs", "1", "--batch-size", "50")
LINES = {
    "train": ("train", "synthetic", *QUICK),
    "evaluate": ("evaluate", "model.safetensors", "synthetic"),
    "predict": ("predict", "model.safetensors", "rows.npy"),
    "check": ("check", "model.safetensors"),
    "runs": ("runs",),
    "repeat": ("repeat", "synthetic", *QUICK, "--runs", "2"),
    "sweep": ("sweep", "synthetic", "--epochs", "1", "--batch-size", "50,100", "--runs", "1"),
    "cv": ("cv", "synthetic", *QUICK, "--folds", "2"),
    "lr-find": ("lr-find", "synthetic", "--batch-size", "50", "--steps", "100"),
    "doctor": ("doctor", "--rows", "1000"),
    "data list": ("data", "list"),
    "data path": ("data", "path", "mnist"),
    "data fetch": ("data", "fetch", "mnist"),
}
LEFT_OUT = {  # and why; each has tests of its own in tests/cli
    "bench": "measures for minutes",
    "bench peers": "measures for minutes",
    "warmup": "compiles for minutes",
    "speedrun": "trains for minutes",
    "reproduce": "trains for minutes",
    "report": "draws the curves of a run that has some",
    "data describe": "needs an extra: see NEEDS in test_user.py",
}


class Result(NamedTuple):
    """What a process left behind."""

    code: int
    out: str
    err: str


def commands(command=None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, groups included: (), ("train",), ("data",), ("data", "list"), ..."""
    command = get_command(app) if command is None else command
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


def single_commands() -> list[str]:
    """Return the commands that are no groups."""
    names = [" ".join(words) for words in commands()]
    return [name for name in names if name and not any(other.startswith(f"{name} ") for other in names)]


def process(folder: Path, *words: str, before: tuple[str, ...] = (), **environment: str) -> Result:
    """Run a command line as a user does; `before` is a program that is to run it."""
    line = [*before, sys.executable, "-m", "fastmlp", *words]
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True)
    return Result(done.returncode, done.stdout, done.stderr)


def prepare(folder: Path) -> None:
    """Put a model, rows and a run folder into a folder."""
    import numpy as np

    import fastmlp
    from fastmlp.storage.runs import create_run

    fastmlp.Network([2, 3, 2], "sigmoid").save(folder / "model.safetensors")
    np.save(folder / "rows.npy", np.zeros((5000, 2), np.float32))
    (folder / "table.csv").write_text("a,b\n" + "1,2\n3,5\n" * 20)
    with create_run(folder / "runs", "synthetic") as run:
        run.start({"network": {}, "train": {}}, seed=0, data={"name": "synthetic", "files": {}}, threads=1)
        run.finish("done")
