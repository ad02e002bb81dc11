"""Squared errors of probabilities on class labels, the exercise of every course, and class labels for sigmoid outputs."""

import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastmlp
from fastmlp import ConfigError, DataError, ModelFileError, Network
from tests.oracle import mlp
from tests.training import reference
from tests.training.test_losses import N_ROWS, WAYS, X

LABELS = np.random.default_rng(3).integers(0, 3, N_ROWS)
ONE_HOT = np.eye(3)[LABELS]
WEIGHT = np.random.default_rng(4).uniform(0.5, 2, N_ROWS)


def trained(y, output="sigmoid", units=50, dtype="float64", **settings):
    net = Network([4, units, 3], "tanh", output, dtype=dtype, seed=3)
    history = fastmlp.train(
        net, X, y, **{"loss": "mse", "optimizer": "sgd", "epochs": 2, "batch_size": 7, "learning_rate": 0.3, "seed": 5} | settings
    )
    return net, history


@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy"])
def test_class_numbers_are_one_hot_rows_to_sigmoid_outputs(loss):
    net, _ = trained(LABELS, loss=loss)
    assert_array_equal(net.parameters, trained(ONE_HOT, loss=loss)[0].parameters)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_the_largest_output_names_the_class_in_every_engine(output, way):
    kernels, units, batch_size = WAYS[way]
    settings = {"kernels": kernels, "batch_size": batch_size, "learning_rate": 1e-12, "epochs": 1, "validation": (X, LABELS)}
    net, history = trained(LABELS, output, units, "float32", sample_weight=WEIGHT, **settings)
    z = reference.outputs(net.parameters.astype(float), net.sizes, net.hidden_activations, X)
    losses = mlp.row_losses(f"mse_of_{output}", z, ONE_HOT if output == "sigmoid" else LABELS[:, None])
    assert history[0].train_loss == pytest.approx((WEIGHT * losses).sum() / WEIGHT.sum(), rel=1e-5)
    assert history[0].train_accuracy == pytest.approx(WEIGHT[z.argmax(axis=1) == LABELS].sum() / WEIGHT.sum())
    right = (z.argmax(axis=1) == LABELS).mean()
    assert (history[0].validation_loss, net.evaluate(X, LABELS)["loss"]) == pytest.approx((losses.mean(), losses.mean()), rel=1e-5)
    assert history[0].validation_accuracy == net.evaluate(X, LABELS)["accuracy"] == pytest.approx(right)
    assert_array_equal(net.predict(X), z.argmax(axis=1))
    assert net.predict(X[0]) == z[0].argmax()
    assert np.trace(net.confusion_matrix(X, LABELS)) == round(right * N_ROWS)


def test_labels_of_each_output_are_still_counted_one_by_one():
    net, history = trained(ONE_HOT, learning_rate=1e-12, epochs=1)
    z = reference.outputs(net.parameters, net.sizes, net.hidden_activations, X)
    right = ((z > 0) == (ONE_HOT > 0)).mean()
    assert (history[0].train_accuracy, net.evaluate(X, ONE_HOT)["accuracy"]) == pytest.approx((right, right))
    assert_array_equal(net.predict(X), z > 0)
    with pytest.raises(ConfigError, match="one class per row"):
        net.confusion_matrix(X, LABELS)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_balanced_classes_weigh_rows_as_sample_weights_do(output):
    counts = np.bincount(LABELS)
    balanced, _ = trained(LABELS, output, class_weight="balanced")
    by_row, _ = trained(LABELS, output, sample_weight=N_ROWS / (3 * counts[LABELS]))
    assert_array_equal(balanced.parameters, by_row.parameters)


def test_steps_on_rows_that_arrive_take_class_numbers_too():
    net = Network([4, 8, 3], "tanh", "sigmoid", seed=1)
    online = fastmlp.OnlineTrainer(net, loss="mse", optimizer="sgd", batch_size=N_ROWS, learning_rate=2.0, class_weight={0: 2.0})
    losses = [online.step(X, LABELS) for _ in range(300)]
    assert losses[-1] < 0.5 * losses[0]
    assert net.predict(X).shape == (N_ROWS,)


def test_a_file_keeps_that_sigmoid_outputs_name_a_class(tmp_path):
    net, _ = trained(LABELS)
    net.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors")
    assert_array_equal(again.predict(X), net.predict(X))
    assert again.evaluate(X, LABELS) == net.evaluate(X, LABELS)
    assert (again.loss, again.output) == ("mse", "sigmoid")
    file = Network([4, 8, 3]).to_tensors()
    config = json.loads(file.metadata["config"]) | {"predicts_classes": False}
    with pytest.raises(ModelFileError, match="predicts_classes: expected true with softmax output, got False"):
        Network.from_tensors("net", file._replace(metadata=file.metadata | {"config": json.dumps(config)}))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.minimum(LABELS, 1) + 7, "y: expected 3 classes, .*, got 2: 7 and 8"),
        (LABELS / 2, "y: expected labels that are whole numbers, got 0.5"),
        (ONE_HOT[:, :2], r"y: expected \(n, 3\), or labels \(n,\), for 3 outputs"),
    ],
)
def test_what_is_neither_a_class_nor_a_label_is_refused(y, message):
    with pytest.raises(DataError, match=message):
        trained(y)


def test_a_step_of_the_quadratic_cost_by_hand():
    """Nielsen 2015, equations BP1 to BP4, for C = 1/2 sum over outputs of (a - y)^2: ours is 2/3 of it for three outputs."""
    net = Network([4, 3], output="sigmoid", dtype="float64", seed=2)
    weight, bias = net.weights[0].copy(), net.biases[0].copy()
    a = 1 / (1 + np.exp(-(X @ weight + bias)))
    delta = (a - ONE_HOT) * a * (1 - a)
    rate = 3.0
    fastmlp.train(net, X, LABELS, loss="mse", optimizer="sgd", epochs=1, batch_size=N_ROWS, learning_rate=rate * 3 / 2, normalize="none")
    np.testing.assert_allclose(net.weights[0], weight - rate * X.T @ delta / N_ROWS, rtol=1e-12)
    np.testing.assert_allclose(net.biases[0], bias - rate * delta.mean(axis=0), rtol=1e-12)
    assert net.evaluate(X, LABELS)["loss"] == pytest.approx(
        mlp.row_losses("mse_of_sigmoid", X @ net.weights[0] + net.biases[0], ONE_HOT).mean()
    )


def test_the_command_line_trains_evaluates_and_predicts_classes(tmp_path, monkeypatch, capsys):
    from fastmlp.cli import run

    monkeypatch.chdir(tmp_path)
    flags = ["--hidden", "8", "--output", "sigmoid", "--loss", "mse", "--optimizer", "sgd", "--learning-rate", "3"]
    flags += ["--batch-size", "50", "--epochs", "3", "--no-run-folder"]
    assert run(["train", "synthetic", *flags, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["test"]["accuracy"] > 0.9
    assert run(["evaluate", "synthetic.safetensors", "synthetic", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] == done["test"]["accuracy"]
    assert np.trace(found["confusion_matrix"]) == round(10_000 * found["accuracy"])
    np.save("rows.npy", np.zeros((2, 2), np.float32))
    assert run(["predict", "synthetic.safetensors", "rows.npy", "--json"]) == 0
    assert [each["class"] for each in json.loads(capsys.readouterr().out)["predictions"]] == [0, 0]
