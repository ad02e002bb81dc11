"""One table of defaults: names, records, data and everything that reads it agree."""

import dataclasses

import numpy as np
import pytest

import fastmlp
from fastmlp.errors import ConfigError
from fastmlp.settings import (
    KIND_DEFAULTS,
    OPTIMIZER_DEFAULTS,
    OPTIMIZERS,
    TrainingSettings,
    defaults_of,
    kind_of,
    over_defaults,
    used_by,
    used_with,
)
from fastmlp.training import optimizers

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((90, 5)).astype(np.float32)
CLASSES = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
VALUES = X[:, 0] * X[:, 1]
BYTES = GENERATOR.integers(0, 256, (90, 5)).astype(np.uint8)
RECORDS = {record.__name__.lower(): record for record in optimizers.Optimizer.__args__}


def trained(**settings):
    network = fastmlp.Network([5, 4, 2], "tanh", seed=1)
    history = fastmlp.train(network, X, CLASSES, **{"epochs": 2, **settings})
    return network.parameters.tobytes(), history.to_dict()["train_loss"]


def settings_in_effect(x=X, y=CLASSES, sizes=(5, 4, 2), **settings):
    return fastmlp.Trainer(fastmlp.make_plan(fastmlp.Network(sizes), x, y, TrainingSettings(**settings))).settings


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_name_and_its_record_give_the_same_bits(name):
    assert trained(optimizer=name) == trained(optimizer=RECORDS[name]())


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "lbfgs"])
def test_a_learning_rate_in_a_record_is_the_one_beside_it(name):
    in_it, beside = trained(optimizer=RECORDS[name](learning_rate=0.01)), trained(optimizer=name, learning_rate=0.01)
    assert in_it == beside == trained(optimizer=RECORDS[name](), learning_rate=0.01) != trained(optimizer=name)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_record_has_what_its_optimizer_uses_and_the_numbers_of_the_table(name):
    expected = {setting: value for setting, value in OPTIMIZER_DEFAULTS[name].items() if setting != "epochs"}
    if "learning_rate" in expected:
        expected["learning_rate"] = None  # of the table, or of the keyword
    if name == "adagrad":
        expected["initial_accumulator_value"] = None  # of the kind of data
    assert RECORDS[name]()._asdict() == expected


def test_every_setting_that_the_table_names_says_who_uses_it():
    for setting in {setting for defaults in OPTIMIZER_DEFAULTS.values() for setting in defaults} - {"epochs"}:
        users = tuple(name for name, defaults in OPTIMIZER_DEFAULTS.items() if setting in defaults)
        assert used_by(setting) == used_with(setting)["optimizer"] == users


def test_a_number_beside_a_record_that_says_another_is_refused():
    with pytest.raises(ConfigError, match=r"^momentum: expected it once, got 0.5 beside SGD\(momentum=0.9"):
        trained(optimizer=fastmlp.SGD(0.9), momentum=0.5)
    with pytest.raises(ConfigError, match=r"^optimizer: .* write Adam\(\)$"):
        trained(optimizer=fastmlp.Adam)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"optimizer": "adam", "momentum": 0.9},
            "^momentum: expected none with adam, which uses no such setting, got 0.9; momentum goes with sgd, rmsprop$",
        ),
        ({"optimizer": "adam", "momentum": 0.0}, "^momentum: expected none with adam"),
        ({"optimizer": "sgd", "beta1": 0.9}, "^beta1: .* beta1 goes with adam, adamw, nadam, lion$"),
        ({"optimizer": "lion", "epsilon": 1e-8, "momentum": 0.9}, "^momentum, epsilon: expected none with lion"),
        ({"optimizer": "adam", "nesterov": True}, "^nesterov: .* goes with sgd$"),
        ({"optimizer": "lbfgs", "learning_rate": 0.1}, "^learning_rate: expected none with lbfgs"),
        ({"beta1": 0.9, "momentum": 0.9}, "^beta1: expected none with sgd, the default for data of the kind 'table', "),
        ({"optimizer": "lbfgs", "batch_size": 50}, "lbfgs takes each step over all 90 rows, .* leave out batch_size"),
        ({"nesterov": True}, "nesterov: expected a momentum above 0"),
    ],
)
def test_a_setting_that_the_optimizer_does_not_use_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        trained(**settings)


def test_the_kind_of_data_chooses_the_optimizer_and_a_rate_by_itself_means_gradient_descent():
    assert settings_in_effect().optimizer == KIND_DEFAULTS["table"]["optimizer"] == "adam"
    assert settings_in_effect(BYTES).optimizer == KIND_DEFAULTS["image"]["optimizer"] == "sgd"
    assert settings_in_effect(X.reshape(90, 1, 5)).optimizer == "sgd"
    assert settings_in_effect(BYTES, VALUES, (5, 4, 1)).optimizer == KIND_DEFAULTS["regression"]["optimizer"] == "adam"
    assert {settings_in_effect(**given).optimizer for given in ({"learning_rate": 0.1}, {"momentum": 0.5})} == {"sgd"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_in_effect_is_the_table_and_nothing_that_is_not_used(name):
    found = settings_in_effect(optimizer=name)
    expected = defaults_of(name, kind_of(False, "softmax"))
    expected["batch_size"] = 90 if name == "lbfgs" else 2  # of 90 rows
    del expected["initializer"]
    assert {setting: value for setting, value in found.to_dict().items() if setting in expected} == expected
    unused = {setting for setting in OPTIMIZER_DEFAULTS["adam"] if setting not in OPTIMIZER_DEFAULTS[name]}
    assert {getattr(found, setting) for setting in unused} <= {None}


def test_what_is_in_effect_says_what_became_of_inputs_targets_and_rows():
    def told(*given, **settings):
        found = settings_in_effect(*given, **settings)
        return found.loss, found.normalize, found.per_feature, found.normalize_target, found.validation, found.holdout

    numbers = (X, VALUES, (5, 4, 1))
    assert told(validation=10) == ("cross_entropy", "scale", None, None, 10, "stratified")
    assert told(BYTES, normalize="standardize") == ("cross_entropy", "standardize", False, None, 0, None)
    assert told(*numbers, validation=0.5, normalize="standardize") == ("mse", "standardize", True, "standardize", 0.5, "shuffled")
    assert told(*numbers, loss="mae", normalize="none", normalize_target="none") == ("mae", "none", None, "none", 0, None)


def test_what_is_in_effect_trains_the_same_bits_again():
    assert trained(**dataclasses.asdict(settings_in_effect(epochs=2, optimizer="adam"))) == trained(optimizer="adam")


def test_a_rate_of_another_optimizer_does_not_stay_with_the_data_set():
    own = {"optimizer": "sgd", "learning_rate": 0.01, "batch_size": 1, "epochs": 7}
    assert over_defaults({"optimizer": "adam"}, own) == {"optimizer": "adam", "batch_size": 1, "epochs": 7}
    assert over_defaults({"optimizer": "lbfgs"}, own) == {"optimizer": "lbfgs"}
    assert over_defaults({"optimizer": "sgd"}, own) == own
    assert over_defaults({"optimizer": "adam", "learning_rate": 0.5}, own)["learning_rate"] == 0.5


def test_settings_recorded_by_version_0_1_0_are_read_without_what_was_not_used():
    recorded = {"optimizer": "sgd", "learning_rate": 0.2, "momentum": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "epochs": 3}
    found = TrainingSettings.from_record(recorded)
    assert (found.learning_rate, found.momentum, found.beta1, found.epsilon) == (0.2, 0.0, None, None)
    with pytest.raises(ConfigError, match="^beta1, beta2, epsilon: "):
        TrainingSettings.from_mapping(recorded)


def test_numbers_begin_with_the_weights_that_tables_do():
    values, classes = fastmlp.Network([5, 4, 1], seed=3), fastmlp.Network([5, 4, 2], seed=3)
    assert np.array_equal(
        values.parameters, fastmlp.Network([5, 4, 1], initializer=KIND_DEFAULTS["regression"]["initializer"], seed=3).parameters
    )
    assert np.array_equal(classes.weights[0], fastmlp.Network([5, 4, 2], initializer="he_normal", seed=3).weights[0])
    assert np.array_equal(
        fastmlp.Network([5, 4, 1], "selu").weights[0], fastmlp.Network([5, 4, 1], "selu", initializer="lecun_normal").weights[0]
    )


@pytest.mark.parametrize("name", ["adamw", "rmsprop", "lion"])
def test_steps_of_compiled_handles_and_of_online_training_are_those_of_the_table(name):
    rate = defaults_of(name, "table")["learning_rate"]
    networks = [fastmlp.Network([5, 13, 2], "tanh", dtype="float64", seed=1) for _ in range(4)]  # 13: see FEW_UNITS of the kernels' tests
    fastmlp.train(networks[0], X[:8], CLASSES[:8], epochs=1, optimizer=name, batch_size=8)
    fastmlp.OnlineTrainer(networks[1], optimizer=name).step(X[:8], CLASSES[:8])
    for network, optimizer in ((networks[2], name), (networks[3], RECORDS[name]())):
        state, functions = network.compiled(optimizer)
        functions.train_step(state, functions.make_scratch(state), X[:8].astype(np.float64), CLASSES[:8, None].astype(np.float64), rate)
    for network in networks[1:]:
        np.testing.assert_allclose(network.parameters, networks[0].parameters, rtol=1e-12)


def test_an_online_trainer_knows_its_rate_from_the_first_step_on():
    trainer = fastmlp.OnlineTrainer(fastmlp.Network([5, 4, 2]))
    assert trainer.learning_rate is None
    trainer.step(BYTES[:4], CLASSES[:4])
    assert trainer.learning_rate == defaults_of("sgd", "image")["learning_rate"]


def test_a_search_for_a_rate_tries_the_optimizer_that_training_would_use():
    found = fastmlp.find_learning_rate(fastmlp.Network([5, 4, 2], seed=1), X, CLASSES, steps=50)
    adam = fastmlp.find_learning_rate(fastmlp.Network([5, 4, 2], seed=1), X, CLASSES, steps=50, optimizer="adam")
    assert np.array_equal(found.losses, adam.losses)


def test_a_small_table_has_small_batches_where_neither_they_nor_the_rate_are_given():
    wide = np.zeros((6000, 5), np.float32)
    found = [settings_in_effect(wide[:n], np.arange(n) % 2).batch_size for n in (1, 90, 300, 4999, 5000, 6000)]
    assert found == [2, 2, 3, 49, 50, 50]
    assert settings_in_effect(learning_rate=0.1).batch_size == KIND_DEFAULTS["table"]["batch_size"] == 50
    assert settings_in_effect(y=VALUES, sizes=(5, 4, 1)).batch_size == KIND_DEFAULTS["regression"]["batch_size"]
    assert settings_in_effect(batch_size=20).batch_size == 20


def test_few_rows_are_learned_by_default():
    centres = np.repeat(np.eye(3, 5, dtype=np.float32) * 4, 30, axis=0)
    network = fastmlp.Network([5, 16, 3], seed=0)
    fastmlp.train(network, centres + X, np.repeat(np.arange(3), 30))
    assert network.evaluate(centres + X, np.repeat(np.arange(3), 30))["accuracy"] > 0.97  # 0.83 with batches of fifty
    for answer in (0, 1):  # a class by itself
        network = fastmlp.Network([5, 4, 1], output="sigmoid", seed=0)
        fastmlp.train(network, X, np.full(90, answer), epochs=30)
        assert (network.predict(X) == answer).all()


def test_a_network_wider_than_those_of_the_study_has_a_smaller_rate_by_the_rules_whose_steps_do_not_shrink_with_the_gradient():
    def rate(name, *hidden, **given):
        settings = TrainingSettings(optimizer=name, **given)
        return fastmlp.make_plan(fastmlp.Network([5, *hidden, 2], initializer="zeros"), BYTES, CLASSES, settings).settings.learning_rate

    image = {name: defaults_of(name, "image").get("learning_rate") for name in OPTIMIZERS}
    assert {name: rate(name, 300, 30) for name in OPTIMIZERS} == {name: rate(name) for name in OPTIMIZERS} == image
    wide = {name: rate(name, 30, 1000) for name in OPTIMIZERS}
    assert wide == image | {"rmsprop": 0.0003, "adam": 0.0006, "adamw": 0.0006, "nadam": 0.0006, "lion": 7.5e-05}
    assert rate("adam", 1000, learning_rate=0.002) == 0.002
    assert rate("adagrad", 1000, initial_accumulator_value=0.0) == 0.03  # of steps that do not shrink with the gradient
    online = fastmlp.OnlineTrainer(fastmlp.Network([5, 1000, 2]), optimizer="adam")
    online.step(BYTES[:4], CLASSES[:4])
    assert online.learning_rate == 0.0006


def test_adagrad_begins_with_the_accumulator_that_is_asked_for_and_on_images_with_that_of_the_table():
    """In one step of all rows, the sum of squares is the gradient's and where it began; see the oracle in tests/combinations, too."""
    assert settings_in_effect(BYTES, optimizer="adagrad").initial_accumulator_value == 0.1
    assert settings_in_effect(optimizer="adagrad").initial_accumulator_value == 0.0
    for begin in (0.0, 0.25):
        network = fastmlp.Network([5, 4, 2], "tanh", dtype="float64", seed=1)
        before, rule = network.parameters.copy(), fastmlp.Adagrad(initial_accumulator_value=begin)
        gradient = fastmlp.Network([5, 4, 2], "tanh", dtype="float64", seed=1).gradient(X, CLASSES)
        fastmlp.train(network, X, CLASSES, epochs=1, batch_size=90, learning_rate=0.1, optimizer=rule)
        expected = before - 0.1 * gradient / (np.sqrt(begin + gradient**2) + 1e-10)
        np.testing.assert_allclose(network.parameters, expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(ConfigError, match="^initial_accumulator_value: expected none with adam"):
        trained(optimizer="adam", initial_accumulator_value=0.1)
    with pytest.raises(ConfigError, match="^initial_accumulator_value: expected a number that float32 can hold, got 1e\\+39"):
        trained(optimizer="adagrad", initial_accumulator_value=1e39)
