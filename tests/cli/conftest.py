"""Commands run in this process, and as a process of their own, each from an empty folder."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from fastmlp.cli import run

ROOT = Path(__file__).parents[2]


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one object on standard output."""
        return json.loads(self.out)


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Run a command line in this process, in an empty folder; it compiles by itself, as another process tests on the other core."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastmlp.training.ahead.Ahead.start", lambda helping, sketch: None)

    def command(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return command


@pytest.fixture
def process(tmp_path):
    """Run a command line as a user does, in an empty folder; `environment` adds variables, None removes one."""

    def process(*arguments, environment=None, **options):
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        variables = {name: value for name, value in variables.items() if value is not None}
        line = [sys.executable, "-m", "fastmlp", *map(str, arguments)]
        done = subprocess.run(line, cwd=tmp_path, env=variables, capture_output=True, text=True, **options)
        return Result(done.returncode, done.stdout, done.stderr)

    return process


@pytest.fixture(scope="session")
def digits(mnist, tmp_path_factory):
    """The file of a network that knows digits a little."""
    import fastmlp

    network = fastmlp.Network([784, 30, 10], class_names=mnist.class_names)
    fastmlp.train(network, mnist.x_train[:10_000], mnist.y_train[:10_000], epochs=3)
    path = tmp_path_factory.mktemp("model") / "digits.safetensors"
    network.save(path)
    return path
