"""What an epoch reports: means per sample, each batch before its update, and None for what there is not."""

import json
import math

import numpy as np
import pytest

import fastmlp
from fastmlp import Epoch, Network
from tests.oracle import mlp
from tests.training import reference

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((30, 4))
Y = GENERATOR.integers(0, 3, 30)
VALUES = GENERATOR.standard_normal((30, 2))
LABELS = GENERATOR.integers(0, 2, (30, 2))


def test_the_training_loss_is_measured_on_each_batch_before_its_update():
    net = Network([4, 5, 3], "sigmoid", dtype="float64")
    settings = {"epochs": 1, "batch_size": 10, "learning_rate": 0.5, "seed": 6}
    expected = reference.train(net.parameters, net.sizes, ("sigmoid",), "cross_entropy", X, Y, **settings)
    history = fastmlp.train(net, X, Y, **settings)
    assert history[0].train_loss == pytest.approx(expected.losses[0], rel=1e-12)
    assert history[0].train_accuracy == pytest.approx(expected.accuracies[0], rel=1e-12)
    assert history[0].train_loss != pytest.approx(net.evaluate(X, Y)["loss"], rel=1e-3)  # not a second pass


def test_one_batch_of_all_rows_reports_the_loss_of_the_network_as_it_was():
    net = Network([4, 5, 3])
    before = net.evaluate(X, Y)
    epoch = fastmlp.train(net, X, Y, epochs=1, batch_size=30)[0]
    assert (epoch.train_loss, epoch.train_accuracy) == (pytest.approx(before["loss"], rel=1e-6), before["accuracy"])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("output", "loss", "y"), [("softmax", "cross_entropy", Y), ("sigmoid", "binary_cross_entropy", LABELS), ("identity", "mse", VALUES)]
)
def test_losses_are_means_per_sample(output, loss, y, reduction):
    net = Network([4, 3 if output == "softmax" else 2], output=output, dtype="float64")
    per_row = mlp.row_losses(loss, X @ net.weights[0], y.reshape(30, -1))
    # a step too small to move anything: every batch is measured at the initial weights
    epoch = fastmlp.train(
        net, X, y, epochs=1, batch_size=7, learning_rate=1e-30, reduction=reduction, normalize_target="none", validation=(X[:11], y[:11])
    )[0]
    assert epoch.train_loss == pytest.approx(per_row.mean(), rel=1e-12)
    assert epoch.validation_loss == pytest.approx(per_row[:11].mean(), rel=1e-12)


def test_squared_errors_are_averaged_over_outputs_without_one_half():
    net = Network([4, 2], output="identity", dtype="float64")
    expected = ((X @ net.weights[0] - VALUES) ** 2).mean()
    assert net.evaluate(X, VALUES)["loss"] == pytest.approx(expected, rel=1e-12)


def test_missing_values_are_none():
    epoch = fastmlp.train(Network([4, 2], output="identity"), X, VALUES, epochs=1)[0]
    assert (epoch.train_accuracy, epoch.validation_loss, epoch.validation_accuracy) == (None, None, None)


def test_regression_has_a_validation_loss_but_no_accuracy():
    epoch = fastmlp.train(Network([4, 2], output="identity"), X, VALUES, epochs=1, validation=5)[0]
    assert epoch.validation_loss > 0
    assert epoch.validation_accuracy is None


def test_an_epoch_says_how_fast_it_was():
    epoch = fastmlp.train(Network([4, 5, 3]), X, Y, epochs=1, validation=6)[0]
    assert epoch.samples_per_second == pytest.approx(24 / epoch.seconds)


def test_a_history_turns_into_columns():
    history = fastmlp.train(Network([4, 5, 3]), X, Y, epochs=3, learning_rate=0.25)
    columns = history.to_dict()
    assert list(columns) == list(Epoch._fields)
    assert columns["epoch"] == [1, 2, 3]
    assert columns["learning_rate"] == [0.25] * 3
    assert columns["validation_loss"] == [None] * 3
    assert columns["train_loss"] == [epoch.train_loss for epoch in history]


def test_the_columns_of_a_history_are_plain_json():
    history = fastmlp.train(Network([4, 2], output="identity"), X, VALUES, epochs=2)
    columns = history.to_dict()
    assert json.loads(json.dumps(columns, allow_nan=False)) == columns


def test_the_columns_of_no_epoch_are_empty():
    assert fastmlp.train(Network([4, 5, 3]), X, Y, epochs=0).to_dict() == {field: [] for field in Epoch._fields}


def test_training_for_no_epoch_changes_no_weight():
    net = Network([4, 5, 3])
    fastmlp.train(net, X, Y, epochs=0)
    assert net.parameters.tobytes() == Network([4, 5, 3]).parameters.tobytes()


def test_the_trainer_resolves_every_default():
    trainer = fastmlp.Trainer(fastmlp.make_plan(Network([4, 5, 3]), X, Y, fastmlp.TrainingSettings()))
    given = fastmlp.TrainingSettings(loss="cross_entropy", normalize="scale", validation=0)
    assert trainer.settings == given.resolved("table", n_rows=len(X)) != given


def test_the_trainer_says_that_standardisation_is_per_feature():
    trainer = fastmlp.Trainer(fastmlp.make_plan(Network([4, 5, 3]), X, Y, fastmlp.TrainingSettings(normalize="standardize")))
    assert trainer.settings.per_feature is True


@pytest.mark.parametrize("held_out", [7, np.int64(7)])
def test_the_trainer_records_how_many_rows_it_holds_out(held_out):
    trainer = fastmlp.Trainer(fastmlp.make_plan(Network([4, 5, 3]), X, Y, fastmlp.TrainingSettings(), held_out))
    assert trainer.settings.validation == 7


def test_training_lowers_the_loss_to_that_of_a_perfect_fit():
    x = np.eye(4)
    history = fastmlp.train(Network([4, 8, 4], "tanh"), x, np.arange(4), epochs=400, batch_size=2, learning_rate=0.5)
    assert history[0].train_loss == pytest.approx(math.log(4), abs=0.7)
    assert history[-1].train_loss < 0.01
    assert history[-1].train_accuracy == 1.0


def test_the_arguments_of_a_trainer_of_before_are_taken_with_a_warning():
    x, y = np.eye(4), [0, 1, 2, 0]
    with pytest.warns(FutureWarning, match=r"Trainer\(network, x, …\) is called Trainer\(make_plan\(network, x, …\)\) now"):
        before = fastmlp.Trainer(fastmlp.Network([4, 5, 3]), x, y, fastmlp.TrainingSettings(epochs=2, validation=1), resume=None)
    assert (before.n_rows, before.settings.epochs) == (3, 2)
