"""Processes that compile for another one: no kernel twice, none left behind, and nothing that anybody has to wait for afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fastmlp import machine
from fastmlp.compilation import options
from fastmlp.training import ahead

ROOT = Path(__file__).parents[2]
TWO_CORES = pytest.mark.skipif(machine.usable_cores() < 2, reason="with one core, nobody helps")
COMPILED = """
import json, sys
from fastmlp import cli
from fastmlp.compilation import waiting

compiled = []
with waiting.watch(lambda name, seconds: compiled.append(name)):
    code = cli.run(sys.argv[1:])
print(json.dumps([code, compiled]))
"""


def test_of_two_that_want_to_compile_a_kernel_one_does(tmp_path):
    assert [ahead.claimed(tmp_path, Path("somewhere/kernel.code")) for _ in range(2)] == [True, False]


@TWO_CORES
@pytest.mark.skipif(not options.JIT, reason="nothing is compiled with the JIT off")
def test_what_another_process_has_claimed_is_waited_for_until_that_has_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(ahead, "PROGRAM", "import sys, time; sys.stdin.read(); time.sleep(1)")
    with ahead.Ahead() as helping:
        helping.start({})
        assert not helping._has_made(tmp_path / "mine.code")  # this process claims it
        ahead.claimed(helping._claims, tmp_path / "theirs.code")
        began = time.monotonic()
        assert not helping._has_made(tmp_path / "theirs.code")  # they died over it
        assert time.monotonic() - began > 0.2
        assert not any(process.poll() is None for process in helping._running)


def test_where_code_cannot_be_kept_no_process_starts(tmp_path, monkeypatch):
    tmp_path.chmod(0o777)
    monkeypatch.setattr(ahead.Ahead, "start", lambda helping, sketch: pytest.fail("started"))
    helping = ahead.Ahead()
    helping._sketch = {}
    assert not helping._has_made(tmp_path / "kernel.code")


@pytest.mark.long
@TWO_CORES
def test_what_is_listed_for_pictures_is_what_their_training_compiles_and_nothing_after_it_compiles_any_more(process, tmp_path):
    place = {
        "FASTMLP_CACHE_DIR": str(tmp_path / "cache"),
        "FASTMLP_DATA_DIR": os.environ.get("FASTMLP_DATA_DIR") or str(machine.cache_folder() / "data"),
    }
    listed = subprocess.run(
        [sys.executable, "-c", LISTED], cwd=ROOT, env=os.environ | place, capture_output=True, text=True, check=True
    ).stdout
    trained = process("train", "mnist", "--epochs", "1", "--run-folder", "run", environment=place)
    assert trained.code == 0, trained.err
    assert trained.err.count("compiling (once)") == 1  # one wait, before the table
    kept = {path.name for path in (tmp_path / "cache").rglob("*.code")}
    assert set(json.loads(listed)) <= kept
    digit = np.zeros((1, 28, 28), np.uint8)
    np.save(tmp_path / "one.npy", digit)
    np.save(tmp_path / "many.npy", np.repeat(digit, 100, axis=0))
    for line in (["evaluate", "run"], ["predict", "run", "one.npy"], ["predict", "run", "many.npy"], ["report", "run"]):
        done = subprocess.run(
            [sys.executable, "-c", COMPILED, *line], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), **place},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout.splitlines()[-1]) == [0, []], line


LISTED = """
import json
from fastmlp.settings import NetworkSettings, TrainingSettings
from fastmlp.training import ahead
print(json.dumps([needed.path.name for needed in ahead.needed_for(ahead.sketch_of_pictures(NetworkSettings(), TrainingSettings()))]))
"""


@pytest.mark.long
@TWO_CORES
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_training_that_ends_while_it_compiles_leaves_no_process_behind(number, tmp_path):
    environment = os.environ | {"FASTMLP_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    training = subprocess.Popen(
        [sys.executable, "-m", "fastmlp", "train", "mnist"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    claims = None
    while claims is None or len(list(claims.iterdir())) < 3:  # both are at work
        time.sleep(0.05)
        claims = next(tmp_path.glob("fastmlp-ahead-*"), None)
    training.send_signal(number)
    training.wait(60)
    until = time.monotonic() + 30
    while helping_in(claims) and time.monotonic() < until:
        time.sleep(0.1)
    assert helping_in(claims) == []
    assert number == signal.SIGKILL or not claims.exists()


def helping_in(claims):
    """Return the processes that were started with the environment of a folder of claims."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={claims.parent}\0" in place.read_text():
                found.append(place.parent.name)
        except OSError:
            continue
    return found
