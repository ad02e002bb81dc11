"""What tests of several rows share: a tiny data set with its failing mirrors, a command line in this process, a small model file."""

import json
from typing import Any, NamedTuple

import pytest

from fastmlp.cli import run
from tests.data.conftest import mirror, tiny  # noqa: F401  fixtures


class Result(NamedTuple):
    """What a command said: its exit code, its one JSON object, and everything on standard error."""

    code: int
    record: Any
    err: str


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """A function: run a command line with --json in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments] + ["--json"])
        out, err = capsys.readouterr()
        return Result(code, json.loads(out), err)

    return command


@pytest.fixture
def small_model(tmp_path):
    """The file of an untrained 4-3-2 network."""
    import fastmlp

    path = tmp_path / "small.safetensors"
    fastmlp.Network([4, 3, 2], seed=1).save(path)
    return path
