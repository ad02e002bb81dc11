"""What version 0.1.0 wrote is read, and says what it said then: four models, four trainings, two experiments (golden/write_0_1_0.py)."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmlp
from fastmlp.cli import run

WRITTEN = Path(__file__).parent / "golden" / "0.1.0"
EXPECTED = json.loads((WRITTEN / "expected.json").read_text())


@pytest.fixture
def folder(tmp_path):
    """A copy of what was written, which may be written to."""
    return Path(shutil.copytree(WRITTEN, tmp_path / "written"))


@pytest.mark.parametrize("name", EXPECTED["models"])
def test_a_model_says_what_it_said(name):
    expected = EXPECTED["models"][name]
    net = fastmlp.Network.load(WRITTEN / f"{name}.safetensors")
    assert_allclose(net.logits(expected["rows"]), expected["logits"], rtol=1e-5, atol=1e-5)
    assert_allclose(net.predict(expected["rows"]), expected["predicted"], rtol=1e-5, atol=1e-5)
    assert (net.loss, net.loss_parameter) == (expected["loss"], pytest.approx(expected["loss_parameter"]))
    found = net.evaluate(expected["rows"], np.array(expected["target"]))
    assert found["loss"] == pytest.approx(expected["evaluated"]["loss"], rel=1e-5)


@pytest.mark.parametrize("name", EXPECTED["runs"])
def test_a_training_goes_on_and_ends_as_it_would_have(name, folder, capsys):
    """Other processors add in another order; the steps that are left carry the difference on."""
    assert run(["train", "--resume", str(folder / name)]) == 0, capsys.readouterr().err
    assert "Warning" not in capsys.readouterr().err
    ended = fastmlp.Network.load(folder / name / "model.safetensors")
    x = fastmlp.load_dataset("synthetic").x_test[: len(EXPECTED["runs"][name]["probabilities"])]
    assert_allclose(ended.predict_proba(x), EXPECTED["runs"][name]["probabilities"], atol=2e-3)


@pytest.mark.parametrize("name", EXPECTED["runs"])
def test_a_checkpoint_can_be_evaluated(name, folder, capsys):
    newest = max((folder / name / "checkpoints").iterdir())
    assert run(["evaluate", str(newest), "synthetic"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(("command", "name"), [("sweep", "sweep-interrupted"), ("repeat", "repeat-done")])
def test_an_experiment_goes_on_without_training_again_what_is_done(command, name, folder, capsys):
    models = folder / name / "models.jsonl"
    before = models.read_text().splitlines()
    assert run([command, "--resume", str(folder / name)]) == 0, capsys.readouterr().err
    assert "Warning" not in capsys.readouterr().err
    lines = models.read_text().splitlines()
    assert lines[: len(before)] == before
    assert len(lines) == len(EXPECTED[command])
    assert_allclose([json.loads(line)["validation"]["loss"] for line in lines], list(EXPECTED[command].values()), rtol=1e-3)


def test_the_runs_are_listed(folder, capsys):
    assert run(["runs", str(folder), "--json"]) == 0
    listed = {each["name"]: each["outcome"] for each in json.loads(capsys.readouterr().out)["runs"]}
    expected = {"run-done": "done", "run-interrupted": "interrupted", "run-killed": "killed", "run-lbfgs": "interrupted"}
    assert listed == expected | {"sweep-interrupted": "interrupted", "repeat-done": "done"}
