"""Sweeps: which settings are tried, how they are ranked, and what halving saves."""

import json

import numpy as np
import pytest

import fastmlp
from fastmlp.errors import ConfigError
from fastmlp.search.bank import train_bank
from fastmlp.search.cross_validation import cv_tasks
from fastmlp.search.ledger import Ledger
from fastmlp.search.repeat import repeat_tasks
from fastmlp.search.sweep import Range, Rung, check_axes, draw, final_tasks, grid, rank, run_sweep, rungs, sweep_tasks
from fastmlp.search.task import BankProgress, Trained
from fastmlp.settings import NetworkSettings, TrainingSettings

NETWORK = NetworkSettings(hidden=(3,), activation="sigmoid")
TRAINING = TrainingSettings(epochs=4, batch_size=20, learning_rate=0.1, validation=300)


@pytest.fixture(scope="module")
def points():
    return fastmlp.load_dataset("synthetic").first_rows(2000, 100)


def result_of(events):
    trained = []
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value, trained
        if isinstance(event, Trained):
            trained.append(event)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda data: grid({"optimizer": "adam"}), "optimizer: expected a list of values, got 'adam'"),
        (lambda data: repeat_tasks(NetworkSettings(), TrainingSettings(), 0), "runs: expected at least 1, got 0"),
        (lambda data: cv_tasks(NetworkSettings(), TrainingSettings(), data, 2.5), "folds: expected a whole number, got 2.5"),
        (lambda data: list(train_bank([], data, 0)), "cores: expected at least 1, got 0"),
        (lambda data: list(train_bank([], None)), "data: expected a fastmlp.Dataset, got NoneType"),
    ],
)
def test_what_makes_no_tasks_is_refused(call, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        call(fastmlp.load_dataset("synthetic").first_rows(60, 10))


def test_grid_holds_every_combination_the_last_axis_fastest():
    assert grid({"learning_rate": [0.1, 0.2], "hidden": [(3,), (4, 5)]}) == [
        {"learning_rate": 0.1, "hidden": (3,)},
        {"learning_rate": 0.1, "hidden": (4, 5)},
        {"learning_rate": 0.2, "hidden": (3,)},
        {"learning_rate": 0.2, "hidden": (4, 5)},
    ]


def test_draws_differ_and_are_the_same_for_the_same_seed():
    axes = {"learning_rate": Range(0.001, 1.0, False), "activation": ["relu", "tanh"]}
    drawn = draw(axes, 20, seed=1)
    assert len({json.dumps(change) for change in drawn}) == 20
    assert draw(axes, 20, seed=1) == drawn
    assert draw(axes, 20, seed=2) != drawn


def test_draws_from_lists_end_when_all_are_drawn():
    assert sorted(change["batch_size"] for change in draw({"batch_size": [1, 2, 3]}, 10, seed=0)) == [1, 2, 3]


def test_positive_ranges_are_drawn_evenly_on_a_logarithmic_scale():
    rates = [change["learning_rate"] for change in draw({"learning_rate": Range(1e-4, 1.0, False)}, 400, seed=0)]
    assert all(1e-4 <= rate <= 1 for rate in rates)
    decades = np.bincount(np.floor(np.log10(rates) + 4).astype(int).clip(0, 3), minlength=4)
    assert decades.min() > 60  # of 100 expected in each of the four


def test_ranges_of_whole_numbers_give_all_of_them():
    drawn = draw({"batch_size": Range(1, 4, True)}, 4, seed=0)
    assert sorted(change["batch_size"] for change in drawn) == [1, 2, 3, 4]
    assert all(isinstance(change["batch_size"], int) for change in drawn)


def test_range_that_begins_at_0_is_drawn_evenly():
    values = [Range(0.0, 0.9, False).at(part) for part in (0.0, 0.5, 1.0)]
    assert values == [0.0, 0.45, 0.9]


@pytest.mark.parametrize(
    ("epochs", "settings", "expected"),
    [
        (8, 8, [Rung(2, 8), Rung(4, 4), Rung(8, 2)]),
        (10, 7, [Rung(2, 7), Rung(5, 4), Rung(10, 2)]),
        (4, 100, [Rung(1, 100), Rung(2, 50), Rung(4, 25)]),
        (5, 2, [Rung(5, 2)]),
        (1, 6, [Rung(1, 6)]),
        (5, 1, [Rung(5, 1)]),
    ],
)
def test_each_round_of_halving_trains_twice_as_long_and_half_as_many(epochs, settings, expected):
    assert rungs(epochs, settings) == expected


@pytest.mark.parametrize(("axes", "message"), [({}, "several values"), ({"seed": [1, 2]}, "--runs"), ({"threads": [1, 2]}, "no result")])
def test_what_cannot_be_compared_is_refused(axes, message):
    with pytest.raises(ConfigError, match=message):
        check_axes(axes)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"learning_rate": -1.0}, "learning_rate: expected"), ({"loss": "mae"}, "loss: 'mae' goes with identity"),
     ({"hidden": (0,)}, "hidden"), ({"validation": 2000}, "validation: expected fewer than the 2000 rows"),
     ({"split_seed": 1, "holdout": "last"}, "split_seed: expected one value where the last rows are held out")],
)  # fmt: skip
def test_one_wrong_value_is_refused_before_any_setting_is_trained(points, change, message):
    ledger, (name, *_) = Ledger(), change
    changes = [{"learning_rate": 0.1} if name == "learning_rate" else {}, change]
    with pytest.raises(ConfigError, match=message):
        list(run_sweep(NETWORK, TRAINING, changes, 1, False, points, ledger))
    assert not any(f"seed={seed}" in ledger or f"learning_rate=0.1 seed={seed}" in ledger for seed in range(2))


def test_all_settings_are_trained_with_the_same_seeds():
    tasks = sweep_tasks(NETWORK, TRAINING.replace(seed=7), [{"hidden": (4,)}, {"learning_rate": 0.5}], 2)
    assert [(task.key, task.training.seed) for task in tasks] == [
        ("hidden=4 seed=7", 7), ("hidden=4 seed=8", 8), ("learning_rate=0.5 seed=7", 7), ("learning_rate=0.5 seed=8", 8),
    ]  # fmt: skip
    assert [(task.network.hidden, task.training.learning_rate) for task in tasks[::2]] == [((4,), 0.1), ((3,), 0.5)]


def record(key, accuracy, loss=0.5, outcome="done", seconds=1.0):
    history = {"train_accuracy": [accuracy]}
    return {
        "key": key, "changed": {}, "seed": 0, "fold": None, "history": history, "validation": {"loss": loss, "accuracy": accuracy},
        "test": None, "seconds": seconds, "outcome": outcome,
    }  # fmt: skip


def ranked(scores):
    """Rank settings of which the models have these (accuracy, loss); None for one that diverged."""
    changes = [{"learning_rate": rate} for rate in scores]
    runs = len(next(iter(scores.values())))
    tasks = sweep_tasks(NETWORK, TRAINING, changes, runs)
    ledger = Ledger()
    for task, score in zip(tasks, [score for of_setting in scores.values() for score in of_setting], strict=True):
        ledger.add(record(task.key, *score) if score else record(task.key, None, None, "diverged"))
    return rank(changes, tasks, ledger, runs)


def test_best_mean_accuracy_comes_first_and_the_loss_decides_between_equals():
    result = ranked({0.1: [(0.9, 0.3), (0.9, 0.3)], 0.2: [(0.95, 0.9), (0.95, 0.9)], 0.3: [(0.8, 0.2), (1.0, 0.3)]})
    assert [each.changed["learning_rate"] for each in result.ranked] == [0.2, 0.3, 0.1]
    assert result.score == "validation_accuracy"


def test_setting_of_which_one_model_diverged_comes_last():
    result = ranked({0.1: [(0.99, 0.1), None], 0.2: [(0.5, 1.0), (0.5, 1.0)]})
    assert [(each.changed["learning_rate"], each.diverged) for each in result.ranked] == [(0.2, 0), (0.1, 1)]
    assert result.comparison is None


def test_without_accuracies_the_smaller_loss_is_better():
    result = ranked({0.1: [(None, 0.3), (None, 0.31), (None, 0.3)] * 2, 0.2: [(None, 0.2), (None, 0.21), (None, 0.2)] * 2})
    assert [each.changed["learning_rate"] for each in result.ranked] == [0.2, 0.1]
    assert result.score == "validation_loss"
    assert result.comparison.difference == pytest.approx(0.1)
    assert result.comparison.beyond_noise


def test_best_is_compared_with_the_second_seed_by_seed():
    seeds = (0.80, 0.60, 0.70, 0.75, 0.65)
    result = ranked({0.1: [(score, 1) for score in seeds], 0.2: [(score + 0.01, 1) for score in seeds], 0.3: [(0.1, 2)] * 5})
    assert result.comparison.difference == pytest.approx(0.01)
    assert result.comparison.beyond_noise  # although either spreads over 20 points


def test_sweep_finds_the_rate_that_learns(points):
    changes = grid({"learning_rate": [1e-6, 1.0]})
    result, trained = result_of(run_sweep(NETWORK, TRAINING, changes, 5, False, points, Ledger()))
    assert result.ranked[0].changed == {"learning_rate": 1.0}
    assert result.comparison.beyond_noise
    assert len(trained) == 10
    assert points.test_openings == []


def test_halving_gives_its_last_settings_what_the_whole_grid_gives_them(points):
    changes = grid({"learning_rate": [1e-6, 0.1, 1.0, 1e-5]})
    halved, trained = result_of(run_sweep(NETWORK, TRAINING, changes, 2, True, points, Ledger()))
    whole, _ = result_of(run_sweep(NETWORK, TRAINING, changes, 2, False, points, Ledger()))
    assert [each.epochs for each in halved.ranked] == [4, 4, 2, 2]
    assert len(halved.ranked) == len(changes)
    full = {each.changed["learning_rate"]: each.validation_accuracy for each in whole.ranked}
    assert all(each.validation_accuracy == full[each.changed["learning_rate"]] for each in halved.ranked[:2])
    assert sum(len(model.history) for model in trained) == 2 * (4 * 2 + 2 * 4)


def test_sweep_goes_on_from_its_ledger(points, tmp_path):
    changes = grid({"learning_rate": [0.1, 1.0]})
    path = tmp_path / "models.jsonl"
    events = run_sweep(NETWORK, TRAINING, changes, 2, False, points, Ledger(path), 1)
    for event in events:
        if isinstance(event, BankProgress) and event.done == 2:
            break
    events.close()
    done = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    result, trained = result_of(run_sweep(NETWORK, TRAINING, changes, 2, False, points, Ledger(path)))
    whole, _ = result_of(run_sweep(NETWORK, TRAINING, changes, 2, False, points, Ledger()))
    assert len(done) == 2
    assert {model.task.key for model in trained}.isdisjoint(done)
    assert [each._replace(seconds=None) for each in result.ranked] == [each._replace(seconds=None) for each in whole.ranked]
    assert result.comparison == whole.comparison


def test_final_models_that_stop_by_held_out_rows_keep_some():
    [task] = final_tasks(NETWORK, TRAINING.replace(patience=3), {}, 1, 100)
    assert (task.training.validation, task.training.patience) == (100, 3)
    [task] = final_tasks(NETWORK, TRAINING.replace(time_budget=3.0), {}, 1, 100)
    assert task.training.validation == 0


def test_final_models_see_all_training_rows_and_the_test_rows():
    tasks = final_tasks(NETWORK, TRAINING, {"hidden": (5,)}, 2)
    assert [(task.training.validation, task.opens_test, task.network.hidden) for task in tasks] == [(0, True, (5,))] * 2
