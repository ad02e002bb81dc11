"""What networks are judged by, against sums over rows and pairs of rows; weights are rows that are repeated."""

import itertools
import math

import numpy as np
import pytest

import fastmlp
from fastmlp.errors import ConfigError
from fastmlp.network.metrics import of_classes, pinball
from fastmlp.settings import OF_CLASSES

RANDOM = np.random.default_rng(5)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def auc_by_pairs(is_class, score):
    pairs = list(itertools.product(score[is_class], score[~is_class]))
    return sum((above > below) + (above == below) / 2 for above, below in pairs) / len(pairs)


def f1_by_counts(is_class, found):
    both = (is_class & found).sum()
    return 2 * both / (2 * both + (is_class & ~found).sum() + (~is_class & found).sum())


def by_hand(true, z):
    """Return the metrics of classes from their definitions."""
    p, present = softmax(z), np.unique(true)
    found = p.argmax(axis=1)
    judged = [1] if z.shape[1] == 2 else present
    return {
        "accuracy": (found == true).mean(),
        "balanced_accuracy": np.mean([(found[true == each] == each).mean() for each in present]),
        "auc": np.mean([auc_by_pairs(true == each, p[:, each].astype(np.float32)) for each in judged]),
        "f1": np.mean([f1_by_counts(true == each, found == each) for each in judged]),
        "log_loss": -np.log(p[np.arange(len(true)), true]).mean(),
    }


@pytest.mark.parametrize("n_classes", [2, 4])
def test_metrics_of_classes_are_those_of_rows_repeated_as_often_as_they_count(n_classes):
    true, z = RANDOM.integers(0, n_classes, 60), np.round(RANDOM.normal(size=(60, n_classes)), 1)
    counts = RANDOM.integers(0, 4, 60)
    found = of_classes([*OF_CLASSES], "softmax", z, true[:, None], counts, one_hot=False)
    assert found == pytest.approx(by_hand(np.repeat(true, counts), np.repeat(z, counts, axis=0)), rel=1e-9)


def test_several_labels_are_judged_one_by_one_and_a_label_that_never_changes_has_no_auc():
    z, target = RANDOM.normal(size=(50, 3)), RANDOM.integers(0, 2, (50, 3))
    target[:, 2] = 1
    labels = [by_hand(target[:, each], np.stack([np.zeros(50), z[:, each]], axis=1)) for each in (0, 1)]
    names = ["auc", "log_loss"]
    assert of_classes(names, "sigmoid", z, target, None, one_hot=False)["auc"] == pytest.approx(np.mean([each["auc"] for each in labels]))
    two = of_classes(names, "sigmoid", z[:, :2], target[:, :2], None, one_hot=False)
    assert two["log_loss"] == pytest.approx(np.mean([each["log_loss"] for each in labels]))


def test_no_probability_is_cut_off_and_outputs_that_are_no_numbers_have_no_metric():
    assert of_classes(["log_loss"], "softmax", np.array([[0.0, 500.0]]), np.array([[0]]), None, one_hot=False)["log_loss"] == 500.0
    net = fastmlp.Network([1, 2], seed=0)
    net.weights[0][:] = [[1e30, 0.0]]
    net.parameters *= np.float32(1e8)
    with np.errstate(over="ignore", invalid="ignore"):
        assert math.isnan(net.evaluate(np.array([[1e10], [2e10]], np.float32), [0, 1], metrics="auc")["auc"])


def test_pinball_loss_is_that_of_the_quantile_trained_for():
    y = RANDOM.normal(size=(40, 1))
    values = y + np.linspace(-1, 1, 40)[:, None]
    by_rows = np.mean([0.9 * e if e > 0 else -0.1 * e for e in (y - values)[:, 0]])
    assert pinball(values, y, None, 0.9) == pytest.approx(by_rows)
    net = fastmlp.Network([1, 1])
    fastmlp.train(net, y, y[:, 0], loss="quantile", quantile=0.9, epochs=1, normalize_target="none")
    found = net.evaluate(y, y[:, 0], metrics=["pinball"])
    assert found["pinball"] == pytest.approx(found["loss"], rel=1e-5)


@pytest.mark.parametrize(("metric", "best"), [("auc", max), ("f1", max), ("log_loss", min)])
def test_the_best_epoch_is_the_one_with_the_best_value_of_the_metric(metric, best):
    x = RANDOM.normal(size=(300, 3))
    y = (x[:, 0] + RANDOM.normal(size=300) > 0).astype(int)
    net = fastmlp.Network([3, 8, 2], seed=1)
    history = fastmlp.train(net, x[:200], y[:200], validation=(x[200:], y[200:]), epochs=12, restore_best=True, metric=metric)
    values = [epoch.validation_metric for epoch in history]
    assert history.best_epoch == values.index(best(values)) + 1
    assert net.evaluate(x[200:], y[200:], metrics=metric)[metric] == pytest.approx(best(values), rel=1e-6)


def test_a_metric_of_another_task_is_refused_before_anything_runs():
    net = fastmlp.Network([1, 1])
    before = net.parameters.copy()
    with pytest.raises(ConfigError, match=r"metric: expected one of loss, r2, rmse, mae, pinball for a network that predicts numbers"):
        fastmlp.train(net, [[1.0], [2.0]], [1.0, 2.0], validation=1, metric="auc")
    with pytest.raises(ConfigError, match="metrics: expected one of loss, accuracy, balanced_accuracy, auc, f1, log_loss for a network"):
        fastmlp.Network([1, 2]).evaluate([[1.0]], [1], metrics=["rmse"])
    assert (net.parameters == before).all()
