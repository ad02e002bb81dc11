"""Folds: each row is held out once, classes are spread evenly."""

import numpy as np
import pytest

import fastmlp
from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError
from fastmlp.network import network_for
from fastmlp.rendering import experiments
from fastmlp.search.bank import train_bank
from fastmlp.search.cross_validation import cv_tasks, summarise_folds
from fastmlp.search.folds import folds_of
from fastmlp.search.in_process import SharedRows
from fastmlp.search.ledger import record_of
from fastmlp.search.statistics import summarise
from fastmlp.search.task import Folds, Trained
from fastmlp.settings import NetworkSettings, TrainingSettings

NETWORK, TRAINING = NetworkSettings(hidden=(3,)), TrainingSettings(epochs=1, validation=0)


def table(y, target_kind="classes"):
    x = np.zeros((len(y), 2), np.float32)
    return Dataset("table", x, y, x[:1].copy(), y[:1], kind="table", target_kind=target_kind)


def split_of(task, data):
    """The numbers of the rows that a model is trained on, and of those that it is held to."""
    return SharedRows(data).split(task, network_for(data, task.network, 0))


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_every_row_is_held_out_once(mnist, folds):
    data = mnist.first_rows(1003, 10)
    held_out = np.concatenate([split_of(task, data).held_out for task in cv_tasks(NETWORK, TRAINING, data, folds)])
    np.testing.assert_array_equal(np.sort(held_out), np.arange(1003))


def test_a_model_never_sees_the_rows_that_it_is_held_to(mnist):
    data = mnist.first_rows(1003, 10)
    for task in cv_tasks(NETWORK, TRAINING, data, 4):
        np.testing.assert_array_equal(np.sort(np.concatenate(split_of(task, data))), np.arange(1003))


def test_folds_differ_by_one_row_at_most_in_all_and_in_each_class(mnist):
    fold_of = folds_of(mnist, 7, seed=0)
    counts = np.array([np.bincount(mnist.y_train[fold_of == fold], minlength=10) for fold in range(7)])
    assert np.ptp(counts.sum(axis=1)) <= 1
    assert np.ptp(counts, axis=0).max() <= 1


def test_folds_follow_the_seed():
    data = table(np.arange(100) % 2)
    np.testing.assert_array_equal(folds_of(data, 5, seed=1), folds_of(data, 5, seed=1))
    assert (folds_of(data, 5, seed=1) != folds_of(data, 5, seed=2)).any()


def test_numbers_are_dealt_out_by_chance_alone():
    data = table(np.arange(100.0), "values")
    means = [data.y_train[folds_of(data, 4, seed=0) == fold].mean() for fold in range(4)]
    assert np.ptp(means) > 1  # sorted by value and dealt out they would be 1 apart at most


@pytest.mark.parametrize("folds", [0, 1, 11])
def test_impossible_numbers_of_folds_are_refused(folds):
    with pytest.raises(ConfigError, match="folds: expected 2 to 10"):
        folds_of(table(np.arange(10) % 2), folds, seed=0)


def test_seeds_share_their_folds():
    tasks = cv_tasks(NETWORK, TRAINING.replace(seed=4), table(np.arange(20) % 2), 2, runs=2)
    assert [(task.key, task.fold, task.training.seed) for task in tasks] == [
        ("fold=0 seed=4", 0, 4), ("fold=1 seed=4", 1, 4), ("fold=0 seed=5", 0, 5), ("fold=1 seed=5", 1, 5),
    ]  # fmt: skip
    assert {task.folds for task in tasks} == {Folds(2, 4)}


def test_result_is_the_mean_over_the_folds():
    data = fastmlp.load_dataset("synthetic").first_rows(2000, 10)
    tasks = cv_tasks(NetworkSettings(hidden=(3,)), TrainingSettings(epochs=2, batch_size=5, learning_rate=0.2, validation=0), data, 3)
    models = [event for event in train_bank(tasks, data) if isinstance(event, Trained)]
    result = summarise_folds([record_of(model) for model in models])
    accuracies = []
    for model in models:
        rows = split_of(model.task, data).held_out
        accuracies.append(float((model.network.predict(data.x_train[rows]) == data.y_train[rows]).mean()))
    assert result.accuracy == pytest.approx(summarise(accuracies))
    assert (result.models, result.diverged) == (3, 0)


def test_predicted_numbers_are_summarised_by_r2_rmse_and_mae_of_the_rows_held_out():
    x = np.random.default_rng(0).standard_normal((60, 2))
    y = 100.0 * x[:, 0] ** 2
    data = Dataset("made", x, y, x[:20], y[:20], kind="table", target_kind="values")
    tasks = cv_tasks(NETWORK, TRAINING.replace(epochs=3), data, 3)
    models = {event.task.key: event for event in train_bank(tasks, data, 1) if isinstance(event, Trained)}
    by_hand = {"r2": [], "rmse": [], "mae": []}
    for task in tasks:
        rows = split_of(task, data).held_out
        held_out = y[rows]
        error = models[task.key].network.predict(x[rows]) - held_out
        by_hand["r2"].append(1 - (error**2).sum() / ((held_out - held_out.mean()) ** 2).sum())
        by_hand["rmse"].append(np.sqrt((error**2).mean()))
        by_hand["mae"].append(np.abs(error).mean())
    records = [record_of(models[task.key]) for task in tasks]
    result = summarise_folds(records)
    for score, values in by_hand.items():
        np.testing.assert_allclose(getattr(result, score)[:4], summarise(values)[:4], rtol=1e-5)
    assert result.accuracy is None
    text = experiments.cross_validation(result)
    assert text.startswith(f"R² {result.r2.mean:.4f} ± ")
    assert "R²" in experiments.folds(records)


@pytest.mark.parametrize("judging", [{"restore_best": True}, {"patience": 2}, {"schedule": "plateau", "step_size": 1.0}])
def test_a_fold_scores_a_model_whose_epochs_were_judged_by_other_rows(judging):
    """Each model is the one that a training on the other folds alone gives, with its own rows held out; the fold is met afterwards."""
    random = np.random.default_rng(3)
    x = random.standard_normal((90, 4))
    y = x[:, 0] + random.standard_normal(90)
    data = Dataset("made", x, y, x[:20], y[:20], kind="table", target_kind="values")
    given = {"epochs": 30, "batch_size": 8, "optimizer": "adam", "learning_rate": 0.02, "validation": 0.2, **judging}
    settings = TrainingSettings(**given)
    network = NetworkSettings(hidden=(16,))
    models = [event for event in train_bank(cv_tasks(network, settings, data, 3), data, 1) if isinstance(event, Trained)]
    fold_of = folds_of(data, 3, settings.seed)
    for model in models:
        fold = fold_of == model.task.fold
        by_hand = network_for(data, network, settings.seed)
        history = fastmlp.train(by_hand, x[~fold], y[~fold], **given)
        error = by_hand.predict(x[fold]) - y[fold]
        r2 = 1 - (error**2).sum() / ((y[fold] - y[fold].mean()) ** 2).sum()
        assert model.validation["r2"] == pytest.approx(r2, rel=1e-5)
        assert model.history.to_dict()["validation_loss"] == history.to_dict()["validation_loss"]


def test_epochs_are_not_judged_without_rows_to_judge_them_by():
    with pytest.raises(ConfigError, match="restore_best: expected held-out rows"):
        list(train_bank(cv_tasks(NETWORK, TRAINING.replace(restore_best=True), table(np.arange(20) % 2), 2), table(np.arange(20) % 2), 1))
