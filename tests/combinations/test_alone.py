"""Every setting that changes a number, alone, takes the steps of the float64 oracle."""

import numpy as np
import pytest

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.settings import OPTIMIZERS, SCHEDULES
from tests.combinations import cases
from tests.combinations.agreement import assert_equal_to_the_oracle
from tests.oracle import training

both_kernels = pytest.mark.parametrize("kernels", ["auto", "scalar"])


@both_kernels
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_trains_as_the_oracle_does(activation, kernels):
    assert_equal_to_the_oracle(cases.simple(activation=activation), kernels=kernels)


LOSS_CASES = [
    *((loss, {}) for loss in LOSSES),
    ("cross_entropy", {"label_smoothing": 0.2}),
    ("binary_cross_entropy", {"label_smoothing": 0.2}),
    ("huber", {"huber_delta": 0.3}),
    ("quantile", {"quantile": 0.9}),
]


@both_kernels
@pytest.mark.parametrize(("loss", "settings"), LOSS_CASES, ids=str)
def test_loss_trains_as_the_oracle_does(loss, settings, kernels):
    assert_equal_to_the_oracle(cases.simple(loss, **settings), kernels=kernels)


OPTIMIZER_CASES = [
    *((name, {}) for name in OPTIMIZERS if name != "lbfgs"),
    *((name, {"weight_decay": 0.1}) for name in OPTIMIZERS if name != "lbfgs"),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("rmsprop", {"momentum": 0.9, "weight_decay": 0.1}),
    ("adam", {"beta1": 0.5, "beta2": 0.8, "epsilon": 1e-3}),
]


@both_kernels
@pytest.mark.parametrize(("optimizer", "settings"), OPTIMIZER_CASES, ids=str)
def test_optimizer_trains_as_the_oracle_does(optimizer, settings, kernels):
    rate = cases.LEARNING_RATES[optimizer]
    assert_equal_to_the_oracle(cases.simple(optimizer=optimizer, learning_rate=rate, **settings), kernels=kernels)


SCHEDULE_SETTINGS = {"gamma": 0.5, "step_size": 0.7, "end_factor": 0.1, "epochs": 5, "learning_rate": 0.5}


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.3])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule_trains_as_the_oracle_does(schedule, warmup_epochs):
    assert_equal_to_the_oracle(cases.simple(schedule=schedule, warmup_epochs=warmup_epochs, **SCHEDULE_SETTINGS))


REGULARISERS = {
    "weight_decay": {"weight_decay": 0.1},
    "l1": {"l1": 0.02},
    "max_norm": {"max_norm": 0.8},
    "dropout": {"dropout": 0.4},
    "dropout per layer": {"dropout": (0.0, 0.5)},
    "input_dropout": {"input_dropout": 0.3},
    "input_noise": {"input_noise": 0.2},
    "all drawn numbers": {"dropout": 0.4, "input_dropout": 0.3, "input_noise": 0.2},
    "clip_value": {"clip_value": 0.01},
    "clip_norm": {"clip_norm": 0.1},
    "both clips and both penalties": {"clip_value": 0.03, "clip_norm": 0.1, "l1": 0.02, "weight_decay": 0.1},
    "ema": {"average": "ema", "average_decay": 0.8},
    "swa": {"average": "swa", "average_start": 0.4},
    "label_smoothing": {"label_smoothing": 0.2},
    "sum": {"reduction": "sum", "learning_rate": 0.01},
    "standardize": {"normalize": "standardize"},
}


@both_kernels
@pytest.mark.parametrize("name", REGULARISERS)
def test_setting_alone_trains_as_the_oracle_does(name, kernels):
    assert_equal_to_the_oracle(cases.simple(**REGULARISERS[name]), kernels=kernels)


@both_kernels
@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_normalised_layers_train_as_the_oracle_does(normalization, kernels):
    assert_equal_to_the_oracle(cases.simple()._replace(normalization=normalization), kernels=kernels)


WEIGHTS = {
    "rows": {"sample_weight": np.random.default_rng(4).uniform(0.0, 2.0, 23)},
    "balanced": {"class_weight": "balanced"},
    "mapping": {"class_weight": {0: 0.5, 2: 3.0}},
    "rows and classes": {"sample_weight": np.random.default_rng(4).uniform(0.0, 2.0, 23), "class_weight": "balanced"},
}


@both_kernels
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_train_as_the_oracle_does(name, kernels):
    assert_equal_to_the_oracle(cases.simple()._replace(**WEIGHTS[name]), kernels=kernels)


# What stays, and what is left out.
LEFT_OUT = [
    *(({"loss": loss}, settings) for loss, settings in LOSS_CASES if settings),
    *(({"optimizer": name, "learning_rate": cases.LEARNING_RATES[name]}, settings) for name, settings in OPTIMIZER_CASES if settings),
    *(({"learning_rate": cases.LEARNING_RATES[name]}, {"optimizer": name}) for name, settings in OPTIMIZER_CASES[1:] if not settings),
    *((SCHEDULE_SETTINGS, {"schedule": schedule}) for schedule in SCHEDULES if schedule != "constant"),
    *(({**SCHEDULE_SETTINGS, "schedule": schedule}, {"warmup_epochs": 1.3}) for schedule in SCHEDULES),
    *(({}, settings) for settings in REGULARISERS.values()),
]


@pytest.mark.parametrize(("kept", "left_out"), LEFT_OUT, ids=str)
def test_a_setting_that_is_left_out_is_found(kept, left_out):
    without, right = (training.train(cases.problem_of(cases.simple(**kept, **settings))).parameters for settings in ({}, left_out))
    assert np.abs(without - right).max() > 1e-6 * np.abs(right).max()
