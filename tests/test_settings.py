"""The settings: one list of names, defaults and ranges, from which every door to fastmlp derives."""

import dataclasses
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp import settings
from fastmlp.errors import ConfigError
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.settings import (
    ALIASES,
    CHOICES,
    INITIALIZERS,
    KIND_DEFAULTS,
    OPTIMIZERS,
    NetworkSettings,
    TrainingSettings,
    as_text,
    folded,
    nearest,
)
from fastmlp.settings.metrics import METRICS
from fastmlp.training import keywords as keywords_of_training

RECORDS = (NetworkSettings, TrainingSettings)
FIELDS = [(record, field) for record in RECORDS for field in dataclasses.fields(record)]


def keywords(function) -> dict[str, object]:
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


# Derived from the settings


@pytest.mark.parametrize("function", [fastmlp.train, fastmlp.train_epochs])
def test_the_keywords_of_training_are_the_training_settings_with_their_defaults(function):
    given = keywords(function)
    for not_a_setting in {"y", "sample_weight", "callbacks", "resume", "verbose"} & given.keys():
        del given[not_a_setting]
    assert given == {name: getattr(TrainingSettings(), name) for name in TrainingSettings.names()}


def test_the_keywords_of_a_network_have_the_defaults_of_the_settings():
    given = keywords(fastmlp.Network)
    expected = NetworkSettings().__dict__ | {"seed": TrainingSettings().seed, "class_names": None, "norm_layers": None}
    del expected["hidden"]  # part of sizes
    assert given == expected


def test_the_typed_keywords_of_training_are_the_training_settings():
    assert keywords_of_training.untold() == []
    assert tuple(keywords_of_training.TrainingKeywords.__annotations__) == TrainingSettings.names()


def test_no_name_is_in_both_records():
    assert not set(NetworkSettings.names()) & set(TrainingSettings.names())


def test_every_setting_has_a_help_text():
    assert [field.name for _, field in FIELDS if len(field.metadata["help"]) <= 5] == []


def test_every_default_passes_its_own_check(subtests):
    for record, field in FIELDS:
        with subtests.test(field.name):
            assert getattr(record(**{field.name: field.default}), field.name) == field.default


def test_every_setting_refuses_a_value_of_no_type_that_it_knows(subtests):
    for record, field in FIELDS:
        with subtests.test(field.name):
            with pytest.raises(ConfigError, match=f"^{field.name}: expected .*, got <object object"):
                record(**{field.name: object()})


def test_the_settings_cost_no_numpy_at_start():
    script = "import sys, fastmlp.settings; print(sorted({'numpy', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Values


PLAIN_VALUES = [
    ("epochs", np.int32(3), 3),
    ("epochs", 0, 0),
    ("batch_size", np.uint8(200), 200),
    ("learning_rate", 1, 1.0),
    ("learning_rate", np.float32(0.5), 0.5),
    ("seed", 2**63 - 1, 2**63 - 1),
    ("threads", None, None),
    ("validation", 0, 0),
    ("validation", np.array(0.5), 0.5),
    ("per_feature", False, False),
    ("nesterov", np.True_, True),
    ("optimizer", np.str_("adam"), "adam"),
]


def test_a_value_becomes_a_plain_python_value(subtests):
    for name, value, checked in PLAIN_VALUES:
        with subtests.test(name=name, value=value):
            found = getattr(TrainingSettings(**{name: value}), name)
            assert (type(found), found) == (type(checked), checked)


@pytest.mark.parametrize(("value", "checked"), [([300, np.int64(100)], (300, 100)), (300, (300,)), ((), ())])
def test_widths_of_hidden_layers_become_a_tuple(value, checked):
    assert NetworkSettings(hidden=value).hidden == checked


@pytest.mark.parametrize(("value", "checked"), [("tanh", "tanh"), (["tanh", "relu"], ("tanh", "relu"))])
def test_activations_are_one_name_or_one_per_layer(value, checked):
    assert NetworkSettings(activation=value).activation == checked


WRONG_VALUES = [
    (TrainingSettings, "epochs", -1, "at least 0, got -1"),
    (TrainingSettings, "epochs", 1.0, "a whole number, got 1.0"),
    (TrainingSettings, "epochs", True, "a whole number, got True"),
    (TrainingSettings, "epochs", "3", "a whole number, got '3'"),
    (TrainingSettings, "seed", None, "a whole number, got None"),
    (TrainingSettings, "epochs", [3], r"one value, got \[3\]"),
    (TrainingSettings, "epochs", np.array([1, 2]), r"a whole number, got array\(\[1, 2\]\)"),
    (TrainingSettings, "epochs", np.array(1.5), r"a whole number, got array\(1.5\)"),
    (TrainingSettings, "batch_size", 0, "at least 1, got 0"),
    (TrainingSettings, "learning_rate", 0.0, "more than 0, got 0.0"),
    (TrainingSettings, "learning_rate", float("nan"), "a finite number, got nan"),
    (TrainingSettings, "learning_rate", float("inf"), "a finite number, got inf"),
    (TrainingSettings, "learning_rate", 10**400, "a finite number, got 1000"),
    (TrainingSettings, "learning_rate", 1j, "a number, got 1j"),
    (TrainingSettings, "learning_rate", np.array([0.1, 0.2]), "a number, got array"),
    (TrainingSettings, "learning_rate", False, "a number, got False"),
    (TrainingSettings, "seed", 2**63, "at most 9223372036854775807, got 9223372036854775808"),
    (TrainingSettings, "epochs", 10**400, "at most 9223372036854775807, got 1000"),
    (TrainingSettings, "learning_rate", np.str_("0.1"), "a number, got np.str_"),
    (TrainingSettings, "learning_rate", np.datetime64("2020"), "a number, got np.datetime64"),
    (TrainingSettings, "learning_rate", np.complex64(1), "a number, got np.complex64"),
    (TrainingSettings, "learning_rate", np.True_, "a number, got np.True_"),
    (TrainingSettings, "validation", np.timedelta64(3, "s"), "rows such as 5000, or a part of them such as 0.2, got np.timedelta64"),
    (TrainingSettings, "optimizer", 3, "a name, got 3"),
    (TrainingSettings, "per_feature", 1, "true or false, got 1"),
    (TrainingSettings, "reduction", "men", "one of mean, sum, got 'men'; did you mean 'mean'"),
    (TrainingSettings, "reduction", "x" * 100, "one of mean, sum, got 'x{56}[.]{3}$"),
    (NetworkSettings, "hidden", [300, 0], "at least 1, got 0"),
    (NetworkSettings, "hidden", [300, True], "a whole number, got True"),
    (NetworkSettings, "hidden", "300", "a whole number, got '300'"),
    (NetworkSettings, "hidden", None, "a whole number, got None"),
    (NetworkSettings, "activation", ["relu", 3], "a name, got 3"),
    (NetworkSettings, "dtype", "float16", "one of float32, float64, got 'float16'; did you mean 'float64'"),
]


def test_a_wrong_value_is_refused_with_what_was_expected(subtests):
    for record, name, value, message in WRONG_VALUES:
        with subtests.test(message, name=name):
            with pytest.raises(ConfigError, match=f"^{name}: expected {message}"):
                record(**{name: value})


# Reading, writing, changing


def test_an_unknown_name_is_refused_and_the_nearest_one_suggested():
    with pytest.raises(ConfigError, match=r"^run\.toml: unknown setting 'learning_rat'; did you mean 'learning_rate'\?$"):
        TrainingSettings.from_mapping({"epochs": 3, "learning_rat": 0.1}, "run.toml")
    for make, name, meant in (
        (fastmlp.Network, "activatoin", "did you mean 'activation'"), (fastmlp.Network, "lr", "'learning_rate' belongs to fastmlp.train"),
        (fastmlp.Network, "hidden_layer_sizes", "did you mean 'sizes'"), (fastmlp.SGD, "lr", "did you mean 'learning_rate'"),
        (fastmlp.Adam, "eps", "did you mean 'epsilon'"), (fastmlp.TrainingSettings, "lr", "did you mean 'learning_rate'"),
        (fastmlp.NetworkSettings, "epochs", "'epochs' belongs to fastmlp.train"),
        (fastmlp.Network.from_weights, "activatoin", "did you mean 'activation'"), (fastmlp.load_table, "traget", "did you mean 'target'"),
        (fastmlp.load_dataset, "folder", "known are name, data_dir"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=f"^{make.__name__}: unknown setting '{name}'; {meant}"):
            make(**{name: 1})


def test_where_no_name_is_near_all_are_listed_or_where_they_stand():
    with pytest.raises(ConfigError, match="^settings: unknown setting 'zzz'; known are hidden, activation, output, .*, dtype$"):
        NetworkSettings.from_mapping({"zzz": 1})
    with pytest.raises(ConfigError, match=r"'zzz'; there are \d+ of them: .*TrainingSettings\.names\(\)$") as caught:
        TrainingSettings.from_mapping({"zzz": 1})
    assert len(str(caught.value)) < 200
    with pytest.raises(ConfigError, match="'shuffle'; the rows of every epoch are shuffled, by the seed$"):
        TrainingSettings.from_mapping({"shuffle": True})


@pytest.mark.parametrize(
    "settings",
    [TrainingSettings(), TrainingSettings(epochs=2, validation=5, loss="mse"), NetworkSettings(hidden=(3, 2), activation=("relu", "tanh"))],
)
def test_settings_come_back_from_json(settings):
    assert type(settings).from_mapping(json.loads(json.dumps(settings.to_dict(), allow_nan=False))) == settings


def test_a_changed_copy_is_checked_again():
    assert TrainingSettings().replace(epochs=7) == TrainingSettings(epochs=7)
    with pytest.raises(ConfigError, match="^epochs: expected at least 0, got -7$"):
        TrainingSettings().replace(epochs=-7)


@pytest.mark.parametrize("record", RECORDS)
def test_settings_cannot_be_changed_in_place(record):
    settings = record()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, record.names()[0], 1)


def test_equal_settings_are_one_key():
    assert len({TrainingSettings(), TrainingSettings(epochs=None), TrainingSettings(epochs=6)}) == 2


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [("sigmod", ("relu", "sigmoid"), "; did you mean 'sigmoid'?"), ("zzz", ("relu", "sigmoid"), ""), ("relu", (), "")],
)
def test_the_nearest_known_name_is_suggested_where_one_is_near(name, known, hint):
    assert nearest(name, known) == hint


@pytest.mark.parametrize(
    ("value", "text"), [((300, 100), "300-100"), ([300], "300"), (1e-05, "1e-05"), (True, "true"), ("relu", "relu"), (None, "None")]
)
def test_settings_are_shown_as_they_are_typed(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(("before", "now"), [*settings.RENAMED.items()])
def test_the_old_name_of_a_setting_is_taken_with_a_warning(before, now):
    record = NetworkSettings if now in NetworkSettings.names() else TrainingSettings
    value = record().to_dict()[now]
    with pytest.warns(FutureWarning, match=f"{before} is called {now} now"):
        assert record.from_mapping({before: value}) == record()
    assert record.from_record({before: value}) == record()  # a file is read as it was meant, without a word
    with pytest.raises(ConfigError, match="got both"):
        record.from_mapping({before: value, now: value})


def test_the_old_name_of_an_initializer_is_taken_with_a_warning():
    with pytest.warns(FutureWarning, match="'report' is called 'course' now"):
        assert NetworkSettings(initializer="report").initializer == "course"
    assert NetworkSettings.from_record({"initializer": "report"}).initializer == "course"


# What others call it


def test_every_alias_stands_for_a_name_that_there_is():
    known = {
        *NetworkSettings.names(), *TrainingSettings.names(), *ACTIVATIONS, *LOSSES, *OPTIMIZERS, *INITIALIZERS, *METRICS,
    }  # fmt: skip
    assert set(ALIASES.values()) <= known
    assert [alias for alias in ALIASES if alias != folded(alias)] == []


NAMES = [
    ({"lr": 0.1}, "did you mean 'learning_rate'"),
    ({"learning_rate_init": 0.1}, "did you mean 'learning_rate'"),
    ({"max_iter": 5}, "did you mean 'epochs'"),
    ({"n_epochs": 5}, "did you mean 'epochs'"),
    ({"batch": 5}, "did you mean 'batch_size'"),
    ({"alpha": 0.1}, "did you mean 'weight_decay'"),
    ({"validation_split": 0.2}, "did you mean 'validation'"),
    ({"validation_fraction": 0.2}, "did you mean 'validation'"),
    ({"early_stopping": True}, "did you mean 'patience'"),
    ({"hidden_layer_sizes": (5,)}, "'hidden' belongs to fastmlp.Network, as its sizes"),
    ({"activation": "relu"}, "'activation' belongs to fastmlp.Network"),
    ({"optimizer": "adamm"}, "did you mean 'adam'"),
]


def test_names_of_other_libraries_are_answered_with_the_right_one(subtests):
    for given, message in NAMES:
        with subtests.test(str(given)), pytest.raises(ConfigError, match=message):
            TrainingSettings.from_mapping(given)


def test_case_hyphens_and_underscores_never_matter(subtests):
    for name, right in (
        ("ReLU", "relu"),
        ("LeakyReLU", "leaky_relu"),
        ("leaky-relu", "leaky_relu"),
        ("GELU", "gelu"),
        ("Sigmoid", "sigmoid"),
    ):
        with subtests.test(name):
            assert fastmlp.Network([2, 3, 2], name).hidden_activations == (right,)
    assert TrainingSettings(optimizer="AdamW", schedule="One-Cycle") == TrainingSettings(optimizer="adamw", schedule="one_cycle")
    network = fastmlp.Network([2, 3, 2], output="Softmax", initializer="Glorot-Uniform", dtype="float32")
    assert (network.output, network.parameters.tobytes()) == (
        "softmax", fastmlp.Network([2, 3, 2], initializer="glorot_uniform").parameters.tobytes(),
    )  # fmt: skip
    fastmlp.train(network, np.eye(2), [0, 1], loss="CrossEntropy", epochs=1)
    assert network.loss == "cross_entropy"


def test_what_is_no_activation_of_hidden_layers_is_explained():
    for name, message in (("softmax", "output='softmax'"), ("linear", "'identity'"), ("swish", "did you mean 'silu'")):
        with pytest.raises(ConfigError, match=message):
            fastmlp.Network([2, 3, 2], name)


@pytest.mark.parametrize("decider", ["optimizer", "schedule", "average", "loss"])
def test_defaults_that_are_filled_in_unchecked_are_what_a_check_makes_of_them(decider):
    for choice in CHOICES[decider]:
        for kind in KIND_DEFAULTS:
            found = TrainingSettings(**{decider: choice}).resolved(kind, hidden=(300,))
            checked = found.replace()
            values = [[(name, type(getattr(one, name)), getattr(one, name)) for name in one.names()] for one in (found, checked)]
            assert values[0] == values[1]
