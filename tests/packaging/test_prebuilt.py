"""A wheel that brings machine code: whoever installs it waits for no compiler, and never runs code made for something else."""

import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.compilation import levels
from fastmlp.compilation.machine_code import Code
from tests.kernels.test_symbols import computing

ROOT = Path(__file__).parents[2]
RANDOM = Path(__file__).with_name("random_settings.py")
LARGEST_WHEEL = 20 << 20  # bytes, of all levels
BUILT = list(dict.fromkeys([*list(levels.possible())[:1], *list(levels.possible())[-1:]]))  # the highest here, the lowest: minutes each
DATA = os.environ.get("FASTMLP_DATA_DIR") or str(Path(os.environ["FASTMLP_CACHE_DIR"]) / "data")
PATIENCE = 3  # a busy machine, and one that is slower than ours

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not sys.platform.startswith("linux") or not levels.possible(), reason="the code is for Linux and a level of x86-64"),
]

COMMANDS = """
import json, sys
from fastmlp import cli
from fastmlp.compilation import waiting

compiled = []
with waiting.watch(lambda name, seconds: compiled.append(name)):
    codes = [cli.run(command) for command in json.loads(sys.argv[1])]
print(json.dumps([codes, compiled]))
"""
WHY_NOT = "from fastmlp.compilation import stamps; print(stamps.why_not_shipped())"


def python(site, folder, *arguments, **environment):
    """Return what a Python of a folder's own prints last; it has no folder to keep code in."""
    (folder / "file").touch()
    here = {name: value for name, value in os.environ.items() if name not in ("FASTMLP_LEVEL", "NUMBA_DISABLE_JIT")}
    here |= {"PYTHONPATH": str(site), "FASTMLP_CACHE_DIR": str(folder / "file" / "cache"), "FASTMLP_DATA_DIR": DATA} | environment
    done = subprocess.run([sys.executable, "-c", *arguments], cwd=folder, env=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    fastmlp.load_dataset("mnist")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(command, env=os.environ | {"FASTMLP_PREBUILD": ",".join(BUILT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel]
    subprocess.run(pip, check=True)
    return folder


def test_wheel_is_for_this_python_and_platform_and_not_too_large(wheel):
    python_tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert wheel.name.endswith(f"-{python_tag}-{python_tag}-manylinux_2_17_x86_64.whl")
    assert wheel.stat().st_size <= LARGEST_WHEEL * len(BUILT) / len(levels.LEVELS)
    found = {name.split("/")[2] for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".code")}
    assert found == set(BUILT)


def test_no_code_of_the_wheel_asks_the_c_library_for_a_function_that_computes(wheel):
    with zipfile.ZipFile(wheel) as archive:
        payloads = {name: archive.read(name) for name in archive.namelist() if name.endswith(".code")}
    found = {name: computing(Code.unpacked(payload).object_file) for name, payload in payloads.items()}
    assert len(found) > 500 * len(BUILT)
    assert {name: asked for name, asked in found.items() if asked} == {}


@pytest.mark.parametrize("level", BUILT)
def test_nobody_waits_for_the_compiler_and_the_bits_are_those_of_code_compiled_here(level, site, tmp_path):
    np.save(tmp_path / "rows.npy", fastmlp.load_dataset("mnist").x_test[:3])
    commands = [
        ["train", "mnist", "--epochs", "1", "--out", "shipped.safetensors"],
        ["evaluate", "shipped.safetensors", "mnist"],
        ["predict", "shipped.safetensors", "rows.npy"],
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    trained = json.loads(python(site, tmp_path, COMMANDS, json.dumps(commands[:1]), FASTMLP_LEVEL=level))
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before <= PATIENCE * 1.5  # of the processor; compiling takes 15
    used = json.loads(python(site, tmp_path, COMMANDS, json.dumps(commands[1:]), FASTMLP_LEVEL=level))
    assert [trained, used] == [[[0], []], [[0, 0], []]]
    here = {"FASTMLP_CACHE_DIR": os.environ["FASTMLP_CACHE_DIR"], "FASTMLP_LEVEL": level}
    python(ROOT, tmp_path, COMMANDS, json.dumps([[*commands[0][:-1], "compiled.safetensors"]]), **here)
    shipped, compiled = (fastmlp.Network.load(tmp_path / f"{name}.safetensors").parameters for name in ("shipped", "compiled"))
    np.testing.assert_array_equal(shipped, compiled)


@pytest.mark.parametrize("level", BUILT[:1])
def test_of_200_random_trainings_and_what_follows_them_none_compiles_anything(level, site, tmp_path):
    program = f"import runpy, sys; sys.argv[1:] = ['0', '200']; runpy.run_path({str(RANDOM)!r}, run_name='__main__')"
    compiled = json.loads(python(site, tmp_path, program, FASTMLP_LEVEL=level))
    assert len(compiled) == 200
    assert {number: names for number, names in compiled.items() if names} == {}


def test_a_changed_source_or_another_target_never_runs_code_of_the_wheel(site, tmp_path):
    assert python(site, tmp_path, WHY_NOT) == "None"
    assert python(site, tmp_path, WHY_NOT, FASTMLP_LEVEL="native").startswith("it was made for x86-64-v")
    assert python(site, tmp_path, WHY_NOT, NUMBA_OPT="2").startswith("it was made for options ")
    changed = shutil.copytree(site, tmp_path / "changed")
    with open(changed / "fastmlp" / "kernels" / "textbook.py", "a") as source:
        source.write("# changed\n")
    assert python(changed, tmp_path, WHY_NOT).startswith("it was made for kernels ")
