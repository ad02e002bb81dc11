"""What a command says, and to whom, when it cannot do what it was told."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fastmlp.cli import app
from fastmlp.data import dataset as data_module
from fastmlp.inspect import gradient_check

USAGE = {
    "no such command": (["trian", "mnist"], "did you mean 'train'"),
    "no such command of data": (["data", "fecth", "mnist"], "did you mean 'fetch'"),
    "no such option": (["train", "mnist", "--epoch", "3"], "--epochs"),
    "no such option of evaluate": (["evaluate", "m", "mnist", "--splt", "train"], "--split"),
    "option of another command": (["predict", "m", "f", "--epochs", "3"], "--epochs"),
    "single dash": (["train", "mnist", "-epochs", "3"], "-e"),
    "argument missing": (["train"], "DATASET"),
    "second argument missing": (["predict", "m"], "FILE"),
    "argument too many": (["train", "mnist", "fashion-mnist"], "fashion-mnist"),
    "value missing": (["train", "mnist", "--epochs"], "--epochs"),
    "value for a switch": (["train", "mnist", "--json=1"], "--json"),
    "no such data set": (["train", "mnits"], "did you mean 'mnist'"),
    "no such data set to evaluate": (["evaluate", "m", "fashion"], "fashion-mnist"),
    "text for a number": (["train", "mnist", "--epochs", "x"], "whole number"),
    "number out of range": (["train", "mnist", "--batch-size", "0"], "at least 1"),
    "name misspelled": (["train", "mnist", "--activation", "rellu"], "did you mean 'relu'"),
    "choice misspelled": (["train", "mnist", "--reduction", "men"], "did you mean 'mean'"),
    "no such part": (["evaluate", "m", "mnist", "--split", "validation"], "expected one of test, train, got 'validation'"),
    "text for a number of the command's own": (["repeat", "mnist", "--runs", "x"], "expected a whole number, got 'x'"),
    "number of the command's own too small": (["cv", "mnist", "--folds", "1"], "expected at least 2, got 1"),
    "number of the command's own too large": (["repeat", "mnist", "--runs", "100001"], "expected at most 100000, got 100001"),
    "text for a fraction": (["lr-find", "mnist", "--lowest", "x"], "expected a number, got 'x'"),
    "empty path": (["train", "mnist", "--out", ""], "--out: expected a path, got ''"),
    "empty folder of runs": (["runs", ""], "expected a path, got ''"),
    "empty model": (["evaluate", "", "mnist"], "expected a path, got ''"),
    "accuracy in per cent": (["train", "mnist", "--require-accuracy", "97.5"], "from 0 to 1"),
    "folder and none": (["train", "mnist", "--run-folder", "a", "--no-run-folder"], "got both"),
    "model and layers": (["check", "m", "--layer"], "got both"),
}


def test_wrong_usage_exits_with_2_and_a_hint(command, subtests):
    for case, (line, hint) in USAGE.items():
        with subtests.test(case):
            result = command(*line)
            assert result.code == 2
            assert result.out == ""
            assert result.err.startswith("error: ")
            assert len(result.err.splitlines()) == 1
            assert hint.lower() in result.err.lower()


def test_wrong_usage_with_json_is_one_object(command, subtests):
    for case, (line, hint) in USAGE.items():
        with subtests.test(case):
            result = command(*line, "--json")
            assert result.code == 2
            assert result.json["error"]["type"] == "UsageError"
            assert result.json["error"]["exit_code"] == 2
            assert hint.lower() in result.json["error"]["message"].lower()
            assert result.err == ""


FAILURES = {
    "train: no configuration file": (["train", "mnist", "--config", "none.toml"], 66, "InputNotFound"),
    "train: broken configuration": (["train", "mnist", "--config", "broken.toml"], 78, "ConfigError"),
    "train: no data folder": (["train", "mnist", "--data-dir", "none"], 66, "InputNotFound"),
    "train: damaged data": (["train", "mnist", "--data-dir", "damaged"], 65, "DataError"),
    "train: no folder for the model": (["train", "synthetic", "--out", "none/m.safetensors"], 73, "OutputError"),
    "train: model is a folder": (["train", "synthetic", "--out", "."], 73, "OutputError"),
    "train: model is a device": (["train", "synthetic", "--out", "/dev/null"], 73, "OutputError"),
    "train: run folder with other files": (["train", "synthetic", "--run-folder", "damaged"], 73, "OutputError"),
    "train: one activation too many": (["train", "synthetic", "--activation", "relu", "--activation", "tanh"], 78, "ConfigError"),
    "train: loss that does not fit": (["train", "synthetic", "--loss", "mae"], 78, "ConfigError"),
    "train: more units than memory": (["train", "synthetic", "--hidden", "9" * 15], 71, "NotEnoughMemory"),
    "train: nothing left to train on": (["train", "synthetic", "--validation", "60000"], 78, "ConfigError"),
    "train: diverges": (["train", "synthetic", "--epochs", "1", "--learning-rate", "1e30", "--activation", "relu"], 1, "TrainingError"),
    "train: accuracy missed": (["train", "synthetic", "--epochs", "0", "--require-accuracy", "0.999"], 1, "ScoreMissed"),
    "evaluate: no model": (["evaluate", "none", "synthetic"], 66, "InputNotFound"),
    "evaluate: no model file": (["evaluate", "broken.toml", "synthetic"], 65, "ModelFileError"),
    "evaluate: data of another size": (["evaluate", "DIGITS", "synthetic"], 65, "DataError"),
    "predict: no model": (["predict", "none", "f"], 66, "InputNotFound"),
    "predict: no file": (["predict", "DIGITS", "none"], 66, "InputNotFound"),
    "predict: folder": (["predict", "DIGITS", "damaged"], 66, "InputNotFound"),
    "predict: file of another kind": (["predict", "DIGITS", "broken.toml"], 65, "DataError"),
    "check: no model": (["check", "none"], 66, "InputNotFound"),
    "data fetch: source of another data set": (["data", "fetch", "mnist", "--source", "apt"], 78, "ConfigError"),
    "data fetch: nothing to fetch": (["data", "fetch", "synthetic"], 78, "ConfigError"),
    "data path: no files": (["data", "path", "synthetic"], 78, "ConfigError"),
    "data list: no data folder": (["data", "list", "--data-dir", "none"], 66, "InputNotFound"),
}


@pytest.fixture
def prepared(command, tmp_path, digits):
    """Run a command among a broken configuration and a folder of damaged data."""
    (tmp_path / "broken.toml").write_text("[train\n")
    (tmp_path / "damaged" / "mnist").mkdir(parents=True)
    (tmp_path / "damaged" / "mnist" / "train-images-idx3-ubyte").write_bytes(b"\0")

    def prepared(line, *more):
        return command(*(digits if word == "DIGITS" else word for word in line), *more)

    return prepared


def test_failure_exits_with_its_code_and_one_line(prepared, subtests):
    for case, (line, code, _) in FAILURES.items():
        with subtests.test(case):
            result = prepared(line, "--quiet")
            assert result.code == code
            assert result.err.startswith("error: ")
            assert len(result.err.splitlines()) == 1
            assert "Traceback" not in result.err


def test_failure_with_json_is_one_object(prepared, subtests):
    for case, (line, code, kind) in FAILURES.items():
        with subtests.test(case):
            result = prepared(line, "--json")
            assert result.code == code
            assert set(result.json) == {"error"}
            assert result.json["error"]["type"] == kind
            assert result.json["error"]["exit_code"] == code
            assert "error: " not in result.err


@pytest.fixture
def bug(monkeypatch):
    """Make `fastmlp check` fail as no one foresaw."""

    def check_all(*_):
        inside = "a local variable"
        raise RuntimeError(f"impossible {len(inside)}")

    monkeypatch.setattr(gradient_check, "check_all", check_all)


def test_unforeseen_error_exits_with_70_and_asks_for_a_report(command, bug):
    result = command("check")
    assert result.code == 70
    line = result.err.splitlines()[-1]
    assert line.startswith("error: RuntimeError: impossible 16; ")
    assert "report" in line
    assert "--debug" in line
    assert "Traceback" not in result.err


def test_unforeseen_error_with_json_is_one_object(command, bug):
    result = command("check", "--json")
    assert result.json["error"]["exit_code"] == result.code == 70
    assert result.json["error"]["type"] == "RuntimeError"


def test_debug_shows_the_traceback_without_local_variables(command, bug):
    result = command("check", "--debug")
    assert result.code == 70
    assert "Traceback (most recent call last)" in result.err
    assert "in check_all" in result.err
    assert "inside = 'a local variable'" not in result.err
    assert "╭" not in result.err


def test_debug_shows_the_traceback_of_a_foreseen_error(command):
    result = command("evaluate", "none", "synthetic", "--debug")
    assert result.code == 66
    assert "Traceback" in result.err
    assert result.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (MemoryError("1 TiB"), 71, "NotEnoughMemory"),
        (RuntimeError("can't start new thread"), 71, "NotEnoughMemory"),
        (OSError(5, "Input/output error"), 74, "WriteError"),
    ],
)
def test_errors_of_the_system_have_a_code(command, monkeypatch, error, code, kind):
    def check_all(*_):
        raise error

    monkeypatch.setattr(gradient_check, "check_all", check_all)
    result = command("check", "--json")
    assert result.code == code
    assert result.json["error"]["type"] == kind


def test_interrupt_outside_of_training_exits_with_130(command, monkeypatch):
    def load_dataset(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(data_module, "load_dataset", load_dataset)
    assert command("train", "synthetic", "--quiet") == (130, "", "error: interrupted\n")
    assert command("train", "synthetic", "--json").json["error"]["exit_code"] == 130


def test_error_cannot_steer_the_terminal(command):
    result = command("evaluate", "a\x1b[31m\r\nb", "synthetic")
    assert result.code == 66
    assert "\x1b" not in result.err
    assert "\r" not in result.err


def test_app_alone_raises_what_run_reports():
    result = CliRunner().invoke(app, ["evaluate", "none", "synthetic"])
    assert type(result.exception).__name__ == "InputNotFound"


HOSTILE_RUNS = {
    "report": ["report", "run"],
    "train": ["train", "--resume", "run"],
    "repeat": ["repeat", "--resume", "run"],
    "sweep": ["sweep", "--resume", "run"],
    "cv": ["cv", "--resume", "run"],
    "reproduce": ["reproduce", "--resume", "run"],
}


@pytest.mark.parametrize("name", HOSTILE_RUNS)
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_run_folder_that_leads_elsewhere_is_refused_by_every_command(command, tmp_path, name, kind):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").touch()
    manifest = tmp_path / "run" / "manifest.json"
    os.mkfifo(manifest) if kind == "pipe" else manifest.symlink_to("/dev/zero")
    result = command(*HOSTILE_RUNS[name])
    assert result.code == 65
    assert len(result.err.splitlines()) == 1
    assert "manifest.json" in result.err


@pytest.mark.parametrize("name", ["repeat", "sweep", "cv", "reproduce"])
@pytest.mark.parametrize(
    "changed",
    [
        {"data": {"name": ["mnist"], "files": {}}},
        {"arguments": {"runs": "many"}},
        {"arguments": []},
        {"settings": {"network": [], "train": 3}},
    ],
    ids=["data", "argument", "arguments", "settings"],
)
def test_experiment_that_asks_for_nonsense_is_not_gone_on_with(command, tmp_path, name, changed):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").touch()
    asked = {"runs": 1, "folds": 2, "seeds": 1, "repeats": 1, "quick": True, "halving": False, "test": False, "changes": [{}]}
    asked |= {"runs": 0, "seeds": 0} if "arguments" not in changed else {}
    manifest = {"kind": name, "settings": {"network": {}, "train": {}}, "data": {"name": "synthetic", "files": {}}, "arguments": asked}
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest | changed))
    result = command(name, "--resume", "run")
    assert result.code in (65, 78)
    assert len(result.err.splitlines()) == 1


INPUTS = {
    "configuration": (["train", "synthetic", "--config", "INPUT"], 78),
    "rows": (["predict", "m.safetensors", "INPUT"], 65),
    "model": (["predict", "INPUT", "rows.npy"], 65),
    "times": (["bench", "--quick", "--rung", "njit", "--compare", "INPUT"], 65),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_that_never_end_are_refused(command, tmp_path, name):
    import fastmlp

    fastmlp.Network([2, 2]).save(tmp_path / "m.safetensors")
    os.mkfifo(tmp_path / "pipe")
    line, code = INPUTS[name]
    for given in ("pipe", "/dev/zero"):
        result = command(*(given if word == "INPUT" else word for word in line))
        assert result.code == code
        assert "a device or a pipe" in result.err.splitlines()[-1]


@pytest.mark.parametrize(("content", "word"), [(b"GIF89a", "GIF"), (b"\xff\xd8\xff\xe0", "JPEG"), (b"", "empty")])
def test_format_that_is_not_read_is_named(command, tmp_path, content, word):
    import fastmlp

    fastmlp.Network([2, 2]).save(tmp_path / "m.safetensors")
    (tmp_path / "input").write_bytes(content)
    result = command("predict", "m.safetensors", "input")
    assert result.code == 65
    assert word in result.err


def test_model_of_another_library_is_named(command, tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("archive/data.pkl", "content" * 10)
    result = command("evaluate", "m.pt", "synthetic")
    assert result.code == 65
    assert "PyTorch" in result.err


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_limit_of_the_address_space_is_an_error_about_memory(subtests, tmp_path):
    for kibibytes in (300_000, 500_000, 650_000, 800_000):
        with subtests.test(kibibytes):
            train = f"{sys.executable} -m fastmlp train synthetic --epochs 1 --run-folder {tmp_path / str(kibibytes)}"
            ended = subprocess.run(
                ["bash", "-c", f"ulimit -v {kibibytes}; exec {train}"],
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
            )
            assert ended.returncode in (0, 71), ended.stderr
            assert "Traceback" not in ended.stderr
            if ended.returncode:
                last = ended.stderr.splitlines()[-1]
                assert last.startswith("error: ")
                assert "standard output" not in last
                assert "memory" in last or "address space" in last
