"""A setting that is given and not used is refused, whoever gives it; what nobody gave, or an earlier training recorded, is no offence."""

import json

import numpy as np
import pytest

import fastmlp
from fastmlp.cli.configuration import given_settings
from fastmlp.cli.experiment import new_plan
from fastmlp.errors import ConfigError
from fastmlp.kernels.losses import LOSSES, SMOOTHING
from fastmlp.search.sweep import changed_settings
from fastmlp.settings import CHOICES, LOSS_DEFAULTS, NetworkSettings, TrainingSettings, over_defaults, settings_in_effect, used_with
from fastmlp.training.recipes import RECIPES
from tests.training.recorded_runs import NETWORK, TRAINING

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((40, 16))
CLASSES, VALUES = (X[:, 0] > 0).astype(np.int64), X[:, 0]
# Each with the choice that leaves it unused; the settings given, and what is said.
UNUSED = [
    ({"optimizer": "adam", "momentum": 0.9}, "momentum: expected none with adam, .* got 0.9; momentum goes with sgd, rmsprop$"),
    ({"optimizer": "sgd", "beta1": 0.9}, "beta1: expected none with sgd"),
    ({"gamma": 0.5}, "gamma: expected none with the schedule constant, the default, .* got 0.5; gamma goes with step, exponential, "),
    ({"schedule": "constant", "gamma": 0.5}, "gamma: expected none with the schedule constant, which"),
    ({"schedule": "cosine", "step_size": 3.0}, "step_size: expected none with the schedule cosine"),
    ({"schedule": "Step", "end_factor": 0.1}, "end_factor: expected none with the schedule step, .* goes with linear, cosine, one_cycle$"),
    ({"average_decay": 0.9}, "average_decay: expected none with the average none, the default"),
    ({"average": "swa", "average_decay": 0.9}, "average_decay: expected none with the average swa, .* goes with ema$"),
    ({"average": "ema", "average_start": 0.5}, "average_start: expected none with the average ema"),
    ({"huber_delta": 2.0}, "huber_delta: expected none with the loss cross_entropy, the default, .* goes with huber$"),
    ({"loss": "CrossEntropy", "quantile": 0.9}, "quantile: expected none with the loss CrossEntropy"),
    ({"per_feature": False}, "per_feature: expected none with normalize scale, which is in effect, .* goes with standardize$"),
    ({"normalize": "Scale", "per_feature": True}, "per_feature: expected none with normalize scale, which uses"),
    ({"augment_elastic_sigma": 2.0}, "augment_elastic_sigma: expected none without augment_elastic, got 2.0; set augment_elastic, or"),
    ({"holdout": "shuffled"}, "holdout: expected none without validation, got shuffled; set validation, or leave holdout out$"),
    ({"split_seed": 3, "validation": (X, CLASSES)}, "split_seed: expected none without validation"),
    ({"metric": "accuracy"}, "metric: expected held-out rows"),
    ({"patience": 2}, "patience: expected held-out rows"),
    ({"optimizer": "lbfgs", "schedule": "cosine"}, "lbfgs takes each step over all 40 rows, .* leave out schedule$"),
]  # fmt: skip


def test_a_setting_that_nothing_uses_is_refused_and_nothing_changes(subtests):
    for given, message in UNUSED:
        with subtests.test(str(list(given))):
            network = fastmlp.Network([16, 3, 2], seed=1)
            before = network.parameters.tobytes()
            with pytest.raises(ConfigError, match=f"^(optimizer: )?{message}"):
                fastmlp.train(network, X, CLASSES, **{"epochs": 1, **given})
            assert (network.parameters.tobytes(), network.input_scaling) == (before, None)


def test_regressions_and_initial_weights_have_no_use_for_some_either():
    for given, message in (
        ({"label_smoothing": 0.1}, "label_smoothing: expected 0"),
        ({"loss": "mse", "huber_delta": 2.0}, "huber_delta: .* the loss mse"),
        ({"loss": "quantile", "huber_delta": 2.0}, "huber_delta: .* the loss quantile"),
        ({"class_weight": "balanced"}, "class_weight: expected a network with one class per row"),
    ):
        with pytest.raises(ConfigError, match=f"^{message}"):
            fastmlp.train(fastmlp.Network([16, 1]), X, VALUES, epochs=1, **given)
    with pytest.raises(ConfigError, match="^dropout, max_norm: expected none for a network without hidden layers"):
        fastmlp.train(fastmlp.Network([16, 2]), X, CLASSES, epochs=1, dropout=0.5, max_norm=1.0)
    for initializer in (None, "zeros"):
        with pytest.raises(ConfigError, match=r"^initial_value: .* got 0.02; initial_value goes with constant$"):
            fastmlp.Network([4, 2], initializer=initializer, initial_value=0.02)


def test_a_network_trained_with_a_loss_takes_its_number_without_its_name():
    network = fastmlp.Network([16, 1], seed=1)
    fastmlp.train(network, X, VALUES, epochs=1, loss="huber", huber_delta=0.5)
    fastmlp.train(network, X, VALUES, epochs=1, huber_delta=0.25)
    assert network.loss_parameter == 0.25


def test_flags_variables_and_files_are_no_way_round(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[train]\nschedule = 'constant'\ngamma = 0.5\n")
    for flags, environment, config in (
        ({"gamma": "0.5", "schedule": "constant"}, {}, None), ({"schedule": "constant"}, {"FASTMLP_GAMMA": "0.5"}, None), ({}, {}, file),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=r"^gamma: expected none with the schedule constant, "):
            settings_in_effect(given_settings(flags, environment, config), {}, {})


def test_what_a_data_set_or_a_recipe_prefers_gives_way_to_another_choice():
    of_data = {"validation": 5000, "holdout": "last", "schedule": "linear", "end_factor": 0.1, "learning_rate": 0.4}
    assert over_defaults({"validation": 0, "schedule": "step"}, of_data) == {"validation": 0, "schedule": "step", "learning_rate": 0.4}
    assert over_defaults({"validation": 100}, of_data) == {**of_data, "validation": 100}
    with pytest.raises(ConfigError, match="^gamma: expected none with the schedule linear"):
        TrainingSettings.from_mapping(over_defaults({"gamma": 0.5}, of_data))
    for recipe in (recipe for recipes in RECIPES.values() for recipe in recipes.values()):
        _, training = settings_in_effect(recipe.settings, {}, {"validation": 5000, "holdout": "last"})
        training.resolved("image").check_needs()


def test_what_version_0_1_0_recorded_of_unused_settings_is_left_out_and_what_was_used_is_kept():
    of_then = {"metric": "monitor"}
    recorded = {of_then.get(name, name): value for name, value in TRAINING.items()} | {"optimizer": "sgd"}
    network = NetworkSettings.from_record({name: value for name, value in NETWORK.items() if name != "seed"})
    training = TrainingSettings.from_record(recorded)
    training.resolved("image", "cross_entropy").check_needs()
    assert network.initial_value is training.gamma is training.huber_delta is training.average_decay is training.holdout is None
    for used in (
        {"schedule": "step", "gamma": 0.5}, {"loss": "huber", "huber_delta": 0.7}, {"average": "ema", "average_decay": 0.9},
        {"validation": 5, "holdout": "shuffled", "metric": "accuracy"}, {"patience": 3, "metric": "accuracy"},
    ):  # fmt: skip
        before = {of_then.get(name, name): value for name, value in used.items()}
        kept = TrainingSettings.from_record({**recorded, **before}).to_dict()
        assert {name: kept[name] for name in used} == used
    again = training.resolved("image", "cross_entropy")
    assert TrainingSettings.from_record(json.loads(json.dumps(again.to_dict()))) == TrainingSettings(**again.__dict__) == again


def test_the_losses_that_have_a_number_are_those_of_the_kernels():
    numbers = {name: {loss.parameter} for name, loss in LOSSES.items() if loss.parameter not in (None, SMOOTHING)}
    assert {name: set(defaults) for name, defaults in LOSS_DEFAULTS.items()} == numbers
    assert {name for table in CHOICES.values() for defaults in table.values() for name in defaults if not used_with(name)} == {"epochs"}


def test_a_sweep_over_a_choice_leaves_open_what_depends_on_it():
    data = fastmlp.load_dataset("synthetic")
    for given, axis, left in (
        ({}, "schedule", {"schedule": None, "gamma": None}), ({"gamma": 0.5}, "schedule", {"schedule": None, "gamma": 0.5}),
        ({"schedule": "step"}, "average", {"schedule": "step", "gamma": 0.1, "average": None, "average_decay": None}),
    ):  # fmt: skip
        plan = new_plan("sweep", data, given, {}, axes=[axis])
        assert {name: getattr(plan.training, name) for name in left} == left
        assert (plan.training.validation, plan.training.holdout) == (5000, "last")
    with pytest.raises(ConfigError, match="^gamma: expected none with the schedule constant"):
        changed_settings(plan.network, new_plan("sweep", data, {"gamma": 0.5}, {}, axes=["schedule"]).training, {"schedule": "constant"})
