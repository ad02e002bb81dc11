"""`fastmlp check`: right gradients pass, a wrong one is named."""

import pytest

import fastmlp
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES


@pytest.mark.long
def test_every_activation_is_checked_with_every_loss_and_every_normalisation(command):
    record = command("check", "--json").json
    checked = {(check["activation"], check["output"], check["loss"]) for check in record["checks"]}
    assert checked == {(activation, loss.output, loss.name) for activation in ACTIVATIONS for loss in LOSSES.values()}
    normalised = {(check["activation"], check["normalization"]) for check in record["checks"]}
    assert normalised == {(activation, norm) for activation in ACTIVATIONS for norm in ("none", "batch", "layer")}
    assert record["largest_error"] == max(check["error"] for check in record["checks"]) < record["tolerance"] == 1e-6
    assert all(check["passed"] for check in record["checks"])


def test_largest_error_is_the_last_line_and_quiet_leaves_it_alone(command, tmp_path):
    fastmlp.Network([4, 3, 2]).save(tmp_path / "m.safetensors")
    result = command("check", "m.safetensors")
    assert result.code == 0
    assert len(result.out.splitlines()) == 4 + 2  # a line for each array, a heading, the result
    last = result.out.splitlines()[-1]
    assert last.startswith("largest relative error ")
    assert command("check", "m.safetensors", "--quiet").out == last + "\n"


def test_arrays_of_a_model_are_checked(command, tmp_path):
    fastmlp.Network([4, 3, 2]).save(tmp_path / "m.safetensors")
    record = command("check", "m.safetensors", "--json").json
    assert [check["what"] for check in record["checks"]] == ["weights[0]", "biases[0]", "weights[1]", "biases[1]"]
    assert record["model"] == "m.safetensors"


def test_model_trained_on_bytes_is_checked(command, digits):
    assert command("check", digits).code == 0


@pytest.fixture
def wrong_sigmoid(monkeypatch):
    """The derivative of the sigmoid with a sign slipped."""

    def sigmoid_derivative(z, a):
        return a * (1 + a)

    monkeypatch.setitem(ACTIVATIONS, "sigmoid", ACTIVATIONS["sigmoid"]._replace(derivative=sigmoid_derivative))


def test_wrong_derivative_is_named(command, wrong_sigmoid):
    result = command("check", "--layer")
    assert result.code == 70
    rows = [line for line in result.out.splitlines() if "WRONG" in line]
    assert len(rows) == 1
    assert rows[0].startswith("derivative of sigmoid ")
    assert "activations.py, sigmoid_derivative" in rows[0]
    assert "derivative of sigmoid (fastmlp/kernels/activations.py, sigmoid_derivative)" in result.err


def test_wrong_derivative_fails_with_json(command, wrong_sigmoid):
    result = command("check", "--layer", "--json")
    assert result.json["error"]["exit_code"] == result.code == 70


def test_quick_check_has_each_formula_once(command):
    found = command("check", "--quick", "--json").json["checks"]
    assert {check["activation"] for check in found} == set(ACTIVATIONS)
    known = {(loss.output, loss.name) for loss in LOSSES.values()}  # a loss may go with several outputs, by a formula for each
    assert len(known) == len(LOSSES)
    assert {(check["output"], check["loss"]) for check in found} == known
    assert len(found) == len(ACTIVATIONS) + len(LOSSES) - 1 + 2
    assert command("check", "--quick", "--layer").code == 2
