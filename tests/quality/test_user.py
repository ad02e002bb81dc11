"""What a user meets: help, typing errors, pipes, JSON, missing extras. Rows U1 to U8 and C14 of the list of faults."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from fastmlp.cli import run
from fastmlp.inspect import gradient_check
from tests.crash.supervisor import can_trace
from tests.quality.commands import LEFT_OUT, LINES, ROOT, Result, commands, prepare, process, single_commands
from tests.quality.counts import FULL, record
from tests.quality.limits import limit


@pytest.fixture
def folder(tmp_path):
    prepare(tmp_path)
    return tmp_path


@pytest.fixture
def typed(capsys, monkeypatch, tmp_path):
    """A function: run a command line in this process, from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def typed(*words):
        capsys.readouterr()
        code = run([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    return typed


def test_every_command_has_a_line_here():
    assert set(single_commands()) - set(LEFT_OUT) == set(LINES)


@pytest.mark.parametrize("name", LINES)
def test_c14_standard_output_closed_by_the_reader(folder, name):
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-m", "fastmlp", *LINES[name]]
    try:
        done = subprocess.run(
            line, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=writing, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writing)
    tracebacks = done.stderr.count("Traceback") + done.stderr.count("Exception ignored")
    record("C14", 1, tracebacks)
    assert tracebacks == 0
    assert done.returncode == 1


SHOWN = """
import contextlib, io, json, sys, time
from fastmlp.cli import main
found = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["fastmlp", *words]
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            main()
        except SystemExit as end:
            found.append([end.code, shown.getvalue()])
print(json.dumps([found, sorted({"numba", "matplotlib", "numpy", "pydantic"} & set(sys.modules))]))
"""


@pytest.mark.skipif(not FULL, reason="a clock says little on a machine that is shared")
def test_u01_help_and_version_load_nothing_heavy():
    lines = [[*words, "--help"] for words in commands()] + [["--version"]]
    done = subprocess.run([sys.executable, "-c", SHOWN, json.dumps(lines)], cwd=ROOT, capture_output=True, text=True, check=True)
    found, loaded = json.loads(done.stdout)
    failures = sum(code != 0 or not text.strip() for code, text in found)
    record("U1", len(lines), failures + len(loaded))
    assert failures == 0
    assert loaded == []
    assert all("Usage:" in text for _, text in found[:-1])


@pytest.mark.skipif(not FULL, reason="a clock says little on a machine that is shared")
def test_u01_help_and_version_answer_within_half_a_second():
    lines = [(*words, "--help") for words in commands()] + [("--version",)]
    slow = {}
    for line in lines[:: 1 if FULL else 5]:
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            assert process(ROOT, *line).code == 0
            seconds.append(time.perf_counter() - began)
        if min(seconds) > limit(0.5):
            slow[line] = seconds
    record("U1", len(lines[:: 1 if FULL else 5]), len(slow))
    assert slow == {}


# a line that is wrong, and what its one line of error has to contain
WRONG = {
    "command": ("trian mnist", "did you mean 'train'"),
    "command of a group": ("data fecth mnist", "did you mean 'fetch'"),
    "data set": ("train mnits", "did you mean 'mnist'"),
    "no data set": ("train", "DATASET"),
    "option": ("train mnist --epoch 3", "--epochs"),
    "option of another command": ("evaluate m mnist --epochs 3", "--epochs"),
    "letter for a number": ("train mnist --epochs x", "whole number"),
    "fraction for a count": ("train mnist --epochs 1.5", "whole number"),
    "no batch": ("train mnist --batch-size 0", "at least 1"),
    "no step": ("train mnist --learning-rate 0", "more than 0"),
    "NaN": ("train mnist --learning-rate nan", "finite"),
    "no units": ("train mnist --hidden 0", "at least 1"),
    "activation": ("train mnist --activation rellu", "did you mean 'relu'"),
    "optimizer": ("train mnist --optimizer adm", "did you mean 'adam'"),
    "loss": ("train mnist --loss mes", "did you mean 'mse'"),
    "choice": ("train mnist --normalize scal", "did you mean 'scale'"),
    "seed": ("train mnist --seed -1", "at least 0"),
    "interval": ("train mnist --checkpoint-seconds -1", "at least 0"),
    "two folders": ("train --resume a --run-folder b", "--resume"),
    "resumed without a folder": ("train --resume a --no-run-folder", "--resume"),
}


def test_u02_wrong_command_option_and_value(typed):
    assert len(WRONG) == 20
    failures = {}
    for what, (line, hint) in WRONG.items():
        result = typed(*line.split())
        if result.code != 2 or hint.lower() not in result.err.lower() or len(result.err.splitlines()) != 1 or result.out:
            failures[what] = result
    record("U2", len(WRONG), len(failures))
    assert failures == {}


# a configuration file that is wrong, and the place in it that the error has to name
BROKEN = {
    "unknown setting": ("[train]\nepoch = 3", "[train] unknown setting 'epoch'; did you mean 'epochs'"),
    "unknown table": ("[trian]\nepochs = 3", "'trian'"),
    "setting of the other table": ("[network]\nepochs = 3", "[network] 'epochs' belongs into the table [train]"),
    "setting outside of a table": ("epochs = 3", "belongs into the table [train]"),
    "table that is none": ("train = 3", "[train]"),
    "text for a number": ('[train]\nepochs = "3"', "[train] epochs"),
    "fraction for a count": ("[train]\nepochs = 1.5", "[train] epochs"),
    "truth value for a number": ("[train]\nepochs = true", "[train] epochs"),
    "number for a truth value": ("[train]\nnesterov = 1", "[train] nesterov"),
    "number for a name": ("[train]\noptimizer = 1", "[train] optimizer"),
    "list for a number": ("[train]\nepochs = [1, 2]", "[train] epochs"),
    "table for a number": ("[train]\nepochs = {a = 1}", "[train] epochs"),
    "date for a number": ("[train]\nepochs = 1979-05-27", "[train] epochs"),
    "NaN": ("[train]\nlearning_rate = nan", "[train] learning_rate"),
    "infinity": ("[train]\nlearning_rate = inf", "[train] learning_rate"),
    "no step": ("[train]\nlearning_rate = 0.0", "[train] learning_rate"),
    "step backwards": ("[train]\nlearning_rate = -0.1", "[train] learning_rate"),
    "momentum above 1": ("[train]\nmomentum = 1.5", "[train] momentum"),
    "no batch": ("[train]\nbatch_size = 0", "[train] batch_size"),
    "seed too large": (f"[train]\nseed = {2**63}", "[train] seed"),
    "digits without end": (f"[train]\nseed = {'9' * 5000}", "TOML"),
    "unknown optimizer": ('[train]\noptimizer = "adm"', "[train] optimizer: expected one of"),
    "unknown activation in a list": ('[network]\nactivation = ["relu", "rellu"]', "[network] activation"),
    "no units": ("[network]\nhidden = [0]", "[network] hidden"),
    "units of text": ('[network]\nhidden = ["a"]', "[network] hidden"),
    "unknown type": ('[network]\ndtype = "float16"', "[network] dtype"),
    "deep nesting": ("[train]\nepochs = " + "[" * 5000 + "]" * 5000, ""),
    "no UTF-8": (b"[train]\n\xff\xfe = 1", "UTF-8"),
    "unfinished": ("[train", "TOML"),
    "key twice": ("[train]\nepochs = 1\nepochs = 2", "TOML"),
}


def test_u03_broken_configuration(typed, tmp_path):
    assert len(BROKEN) == 30
    failures = {}
    for what, (text, place) in BROKEN.items():
        path = tmp_path / "run.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        result = typed("train", "synthetic", "--config", path)
        if result.code != 78 or place not in result.err or "run.toml" not in result.err or len(result.err.splitlines()) != 1:
            failures[what] = result
    record("U3", len(BROKEN), len(failures))
    assert failures == {}


def test_u03_more_units_than_memory(typed, tmp_path):
    (tmp_path / "run.toml").write_text("[network]\nhidden = [1000000000, 1000000000]")
    result = typed("train", "synthetic", "--config", tmp_path / "run.toml")
    record("U3", 1, result.code != 71)
    assert result.code == 71
    assert "units" in result.err


TERMINALS = ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "xterm-256color"}, {"COLUMNS": "20"}, {"LANG": "C", "LC_ALL": "C"})


@pytest.mark.parametrize("environment", TERMINALS, ids=lambda environment: "=".join(next(iter(environment.items()))))
def test_u04_no_escape_codes_off_a_terminal(folder, environment):
    name = ("runs", "data list", "train")[TERMINALS.index(environment) % 3]
    result = process(folder, *LINES[name], **environment)
    escapes = sum(mark in result.out + result.err for mark in ("\x1b", "\r", "\b"))
    record("U4", 1, escapes)
    assert result.code == 0
    assert escapes == 0
    assert result.out.strip()


@pytest.mark.parametrize("name", LINES)
def test_u05_json_alone_is_on_standard_output(folder, typed, name):
    result = typed(*LINES[name], "--json")
    record("U5", 1, result.code)
    assert result.code == 0
    assert isinstance(json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON")), dict)


INTERNAL = (
    RuntimeError("impossible"),
    KeyError("missing"),
    ZeroDivisionError("division"),
    RecursionError("too deep"),
    AttributeError("no"),
)


@pytest.mark.parametrize("error", INTERNAL, ids=lambda error: type(error).__name__)
def test_u06_internal_errors(typed, monkeypatch, error):
    def check_all():
        inside = "hunter2"
        raise type(error)(*error.args, len(inside))

    monkeypatch.setattr(gradient_check, "check_all", check_all)
    result, debugged = typed("check"), typed("check", "--debug")
    good = result.code == debugged.code == 70 and "hunter2" not in debugged.err.replace('inside = "hunter2"', "")
    record("U6", 1, not good)
    assert good
    assert "bug in fastmlp" in result.err
    assert len(result.err.splitlines()) == 1
    assert "Traceback" in debugged.err


# What needs an extra, by the name of the extra; `test` is for those who change fastmlp, and `all` is the sum of the others.
NEEDS = {
    "images": ("predict", "model.safetensors", "picture.png"),
    "plots": ("train", "synthetic", "--epochs", "1", "--batch-size", "50", "--plot"),
    "cluster": ("sweep", "synthetic", "--runs", "1", "--epochs", "1", "--batch-size", "50", "--executor", "dask:tcp://127.0.0.1:1"),
    "tables": ("data", "describe", "table.csv"),
}
WITHOUT = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
absent, *words = sys.argv[1:]
sys.meta_path.insert(0, Nothing())
sys.argv = ["fastmlp", *words]
from fastmlp.cli import main
main()
"""
MODULES = {"images": "PIL", "plots": "plotext", "cluster": "dask", "tables": "polars"}


def draw_digit(path: Path) -> None:
    """Draw a one."""
    picture = Image.new("L", (28, 28))
    picture.paste(255, (13, 4, 16, 24))
    picture.save(path)


@pytest.mark.parametrize("extra", NEEDS)
def test_u07_a_missing_extra_is_named(folder, extra):
    draw_digit(folder / "picture.png")
    line = [sys.executable, "-c", WITHOUT, MODULES[extra], *NEEDS[extra]]
    done = subprocess.run(line, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    good = done.returncode == 69 and f"pip install 'fastmlp[{extra}]'" in done.stderr and len(done.stderr.splitlines()) == 1
    record("U7", 1, not good)
    assert good, done.stderr


@pytest.mark.skipif(not FULL, reason="makes an environment: only in a full run")
def test_u07_everything_else_works_in_an_environment_without_extras(folder, tmp_path_factory):
    environment = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT], check=True)
    draw_digit(folder / "picture.png")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    failures = {}
    for name, words in {**LINES, **NEEDS}.items():
        done = subprocess.run([python, "-m", "fastmlp", *words], cwd=folder, env=variables, capture_output=True, text=True)
        if done.returncode != (69 if name in NEEDS else 0):
            failures[name] = done.stderr
    record("U7", len(LINES) + len(NEEDS), len(failures))
    assert failures == {}


def test_u07_every_extra_that_a_command_needs_is_tried():
    """An extra that a file names which raises MissingExtra has a line in NEEDS."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set()
    for path in (ROOT / "fastmlp").rglob("*.py"):
        if "raise MissingExtra" in (text := path.read_text()):
            named |= set(re.findall(r"fastmlp\[(\w+)\]", text))
    assert named <= set(project["optional-dependencies"])
    assert named - {"sklearn"} == set(NEEDS)  # the estimators are called by no command


@pytest.mark.skipif(not FULL and not can_trace(), reason="strace is not installed, or may trace no process")
def test_u08_no_command_talks_to_the_network(folder):
    names = list(LINES) if FULL else ["train"]
    failures = {}
    for name in names:
        log = folder / "connects"
        result = process(folder, *LINES[name], before=("strace", "-f", "-qq", "-e", "trace=connect", "-o", str(log)))
        assert result.code == 0, result.err
        away = [line for line in log.read_text().splitlines() if "AF_INET" in line and not re.search(r'"(127\.|::1)', line)]
        if away:
            failures[name] = away
    record("U8", len(names), len(failures))
    assert failures == {}


def test_u08_a_connection_would_be_seen(folder):
    if not can_trace():
        assert not FULL, "a full run needs strace"
        pytest.skip("strace is not installed, or may trace no process")
    log = folder / "connects"
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    subprocess.run(["strace", "-f", "-qq", "-e", "trace=connect", "-o", log, sys.executable, "-c", code], check=False)
    assert "AF_INET" in Path(log).read_text()
