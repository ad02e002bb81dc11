"""Where settings come from: who wins, and what is said of wrong ones."""

import dataclasses
import warnings
from pathlib import Path

import pytest
import typer

from fastmlp.cli.configuration import FIELDS, flag, given_settings
from fastmlp.errors import ConfigError, InputNotFound
from fastmlp.settings import NetworkSettings, TrainingSettings, settings_in_effect
from fastmlp.settings.sources import TABLES
from fastmlp.storage.runs import to_toml


@pytest.fixture
def config(tmp_path):
    """Write a configuration file and return its path."""

    def config(content):
        path = tmp_path / "run.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return config


def epochs(flags=None, environment=None, file=None, dataset=None):
    given = given_settings(flags or {}, environment or {}, file)
    return settings_in_effect(given, {}, dataset or {})[1].epochs


def test_each_source_wins_over_those_before_it(config):
    file = config("[train]\nepochs = 3")
    assert epochs() == TrainingSettings.epochs
    assert epochs(dataset={"epochs": 2}) == 2
    assert epochs(dataset={"epochs": 2}, file=file) == 3
    assert epochs(dataset={"epochs": 2}, file=file, environment={"FASTMLP_EPOCHS": "4"}) == 4
    assert epochs(dataset={"epochs": 2}, file=file, environment={"FASTMLP_EPOCHS": "4"}, flags={"epochs": "5"}) == 5


def test_flags_that_were_not_given_and_empty_variables_say_nothing():
    assert given_settings(dict.fromkeys(FIELDS), {"FASTMLP_EPOCHS": "", "FASTMLP_DATA_DIR": "x"}, None) == {}


def test_no_two_settings_share_a_name():
    assert len(FIELDS) == sum(len(dataclasses.fields(record)) for record in TABLES.values())


def test_flags_are_read_as_text():
    flags = {"hidden": ["30", "20"], "activation": ["tanh"], "learning_rate": "1e-2", "per_feature": False, "normalize": "none"}
    assert given_settings(flags, {}, None) == {
        "hidden": (30, 20),
        "activation": "tanh",
        "learning_rate": 0.01,
        "per_feature": False,
        "normalize": "none",
    }


def test_one_activation_is_for_all_layers_and_several_for_one_each():
    assert given_settings({"activation": ["tanh"]}, {}, None) == {"activation": "tanh"}
    assert given_settings({"activation": ["tanh", "relu"]}, {}, None) == {"activation": ("tanh", "relu")}


def test_variables_are_read_like_flags_with_commas_between_values():
    environment = {
        "FASTMLP_HIDDEN": "30, 20",
        "FASTMLP_PER_FEATURE": "True",
        "FASTMLP_LEARNING_RATE": " 0.5 ",
        "FASTMLP_ACTIVATION": "silu",
    }
    assert given_settings({}, environment, None) == {"hidden": (30, 20), "per_feature": True, "learning_rate": 0.5, "activation": "silu"}


@pytest.mark.parametrize(("text", "value"), [("20%", 0.2), ("0.2", 0.2), ("5000", 5000), ("33.3%", 0.333), ("0", 0)])
def test_held_out_rows_are_a_number_or_a_part_in_every_source(config, text, value):
    toml = text if "%" not in text else f'"{text}"'
    assert given_settings({"validation": text}, {}, None) == {"validation": value}
    assert given_settings({}, {"FASTMLP_VALIDATION": text}, None) == {"validation": value}
    assert given_settings({}, {}, config(f"[train]\nvalidation = {toml}")) == {"validation": value}


def test_settings_written_as_toml_are_read_back(config):
    network = NetworkSettings(hidden=(30, 20), activation=("tanh", "relu"), output="softmax")
    training = TrainingSettings(epochs=3, learning_rate=0.25, per_feature=True, validation=0, loss="cross_entropy")
    file = config(to_toml({"network": network.to_dict(), "train": training.to_dict()}))
    assert settings_in_effect(given_settings({}, {}, file), {"hidden": (3,)}, {"epochs": 9}) == (network, training)


WRONG_FLAGS = {
    "epochs": ["x", "1.5", "-1", "nan", "true", "", "1e3", "9" * 5000],
    "batch_size": ["0", "-5", "none"],
    "learning_rate": ["0", "-1", "nan", "inf", "fast", "1,5"],
    "seed": ["-1", str(2**64)],
    "reduction": ["summ", "1", ""],
    "normalize": ["minmax"],
    "optimizer": ["sgdd", "0.5"],
    "loss": ["crosentropy", "categorical_crossentropy"],
    "output": ["softmaxx"],
    "dtype": ["float16"],
    "threads": ["0", "all"],
}


def test_wrong_flag_is_a_usage_error_that_names_it(subtests):
    for name, text in [(name, text) for name, texts in WRONG_FLAGS.items() for text in texts]:
        with subtests.test(name=name, text=text):
            with pytest.raises(typer.BadParameter, match="expected") as caught:
                given_settings({name: text}, {}, None)
            assert caught.value.exit_code == 2
            assert caught.value.param_hint == flag(name)


@pytest.mark.parametrize(("name", "texts"), [("hidden", ["0"]), ("hidden", ["30", "x"]), ("activation", ["relu", "rellu"])])
def test_wrong_value_among_several_is_a_usage_error(name, texts):
    with pytest.raises(typer.BadParameter, match="expected"):
        given_settings({name: texts}, {}, None)


@pytest.mark.parametrize(("text", "meant"), [("rellu", "relu"), ("sigmoyd", "sigmoid")])
def test_misspelled_name_gets_a_suggestion(text, meant):
    with pytest.raises(typer.BadParameter, match=f"did you mean '{meant}'"):
        given_settings({"activation": [text]}, {}, None)


def test_a_variable_that_is_nearly_a_setting_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert given_settings({}, {"FASTMLP_DATA_DIR": "x", "FASTMLP_CACHE_DIR": "x", "FASTMLP_ZZZ": "1", "EPOCH": "3"}, None) == {}
    with pytest.warns(UserWarning, match=r"^FASTMLP_EPOCH: .* one that nothing reads; did you mean 'epochs'\?$"):
        assert given_settings({}, {"FASTMLP_EPOCH": "3", "FASTMLP_SEED": "1"}, None) == {"seed": 1}


def test_wrong_variable_is_named():
    with pytest.raises(ConfigError, match=r"^FASTMLP_EPOCHS: expected a whole number, got 'many'$"):
        given_settings({}, {"FASTMLP_EPOCHS": "many"}, None)


BROKEN_FILES = {
    "unknown setting": ("[train]\nepoch = 3", "did you mean 'epochs'"),
    "unknown setting, nothing near": ("[train]\nzzz = 3", "all by fastmlp train --help-all"),
    "setting in the wrong table": ("[network]\nepochs = 3", r"\[network\] 'epochs' belongs into the table \[train\]"),
    "unknown table": ("[training]\nepochs = 3", "did you mean 'train'"),
    "setting outside of a table": ("epochs = 3", r"belongs into the table \[train\]"),
    "table is a number": ("train = 3", "expected train to be a table"),
    "table is a list of tables": ("[[train]]\nepochs = 3", "expected train to be a table"),
    "text for a number": ('[train]\nepochs = "3"', "whole number"),
    "fraction for a whole number": ("[train]\nepochs = 3.5", "whole number"),
    "truth value for a number": ("[train]\nepochs = true", "whole number"),
    "date for a number": ("[train]\nepochs = 2026-01-01", "whole number"),
    "list for a number": ("[train]\nepochs = [3]", "one value"),
    "table for a number": ("[train.epochs]\na = 1", "whole number"),
    "number for a name": ("[train]\noptimizer = 3", "a name"),
    "number for a truth value": ("[train]\nper_feature = 1", "true or false"),
    "negative number": ("[train]\nepochs = -1", "at least 0"),
    "no batch": ("[train]\nbatch_size = 0", "at least 1"),
    "learning rate 0": ("[train]\nlearning_rate = 0", "more than 0"),
    "learning rate negative": ("[train]\nlearning_rate = -0.1", "more than 0"),
    "learning rate nan": ("[train]\nlearning_rate = nan", "finite"),
    "learning rate inf": ("[train]\nlearning_rate = inf", "finite"),
    "unknown choice": ('[train]\nreduction = "max"', "one of mean, sum"),
    "unknown activation": ('[network]\nactivation = "rellu"', "did you mean 'relu'"),
    "unknown activation in a list": ('[network]\nactivation = ["relu", "step"]', "'step'"),
    "empty layer": ("[network]\nhidden = [300, 0]", "at least 1"),
    "layer of text": ('[network]\nhidden = ["a"]', "whole number"),
    "layers in layers": ("[network]\nhidden = [[3]]", "whole number"),
    "no TOML": ("[train\nepochs = 3", "not valid TOML"),
    "setting twice": ("[train]\nepochs = 3\nepochs = 4", "not valid TOML"),
    "table twice": ("[train]\n[train]", "not valid TOML"),
    "number of 5000 digits": (f"[train]\nepochs = {'9' * 5000}", "not valid TOML"),
    "deep nesting": (f"[train]\nepochs = {'[' * 20_000}", "nested too deeply"),
    "not UTF-8": (b"[train]\n# \xff", "UTF-8"),
    "UTF-16": ("[train]".encode("utf-16"), "UTF-8"),
    "NUL": (b"[train]\0", "not valid TOML"),
    "pickle": (b"\x80\x04\x95", "UTF-8"),
}


def test_broken_file_is_a_config_error_that_names_it(config, subtests):
    for case, (content, message) in BROKEN_FILES.items():
        with subtests.test(case):
            path = config(content)
            with pytest.raises(ConfigError, match=message) as caught:
                given_settings({}, {}, path)
            assert str(caught.value).startswith(str(path))
            assert len(str(caught.value).splitlines()) == 1


def test_a_file_may_begin_with_a_byte_order_mark(config):
    assert epochs(file=config("\ufeff[train]\nepochs = 3")) == 3


def test_missing_file_is_not_found():
    with pytest.raises(InputNotFound, match="none.toml"):
        given_settings({}, {}, Path("none.toml"))


def test_folder_for_a_file_is_said_to_be_one(tmp_path):
    with pytest.raises(InputNotFound, match="expected a file, found a folder"):
        given_settings({}, {}, tmp_path)


@pytest.mark.parametrize("content", ["", "# nothing", "[train]", "[network]\n[train]\n"])
def test_file_without_settings_gives_none(config, content):
    assert given_settings({}, {}, config(content)) == {}


def test_old_names_are_taken_with_a_warning_from_every_source(config):
    file = config('[network]\nnorm_layers = "layer"\ninitializer = "report"\n[train]\ndecay_rate = 0.5')
    with pytest.warns(FutureWarning):
        given = given_settings({"decay_epochs": "3"}, {"FASTMLP_FINAL_RATE": "0.25"}, file)
    assert given == {"normalization": "layer", "initializer": "course", "gamma": 0.5, "end_factor": 0.25, "step_size": 3.0}


def test_a_setting_that_the_optimizer_does_not_use_is_refused_wherever_it_comes_from(config):
    file = config('[train]\noptimizer = "Adam"\nmomentum = 0.9')
    for given in (given_settings({}, {}, file), given_settings({"optimizer": "adam", "momentum": "0.9"}, {}, None)):
        with pytest.raises(ConfigError, match="^momentum: expected none with adam"):
            settings_in_effect(given, {}, {})


def test_several_widths_in_one_flag_are_told_how_to_be_given():
    for text in ("30,10", "30-10", "(30, 10)"):
        with pytest.raises(typer.BadParameter, match="; write --hidden 30 --hidden 10$"):
            given_settings({"hidden": [text]}, {}, None)


def test_a_recipe_gives_no_rate_to_another_optimizer():
    recipe = {"learning_rate": 1.0, "batch_size": 64}
    assert given_settings({"optimizer": "adam"}, {}, None, recipe) == {"optimizer": "adam", "batch_size": 64}
    assert given_settings({"optimizer": "sgd"}, {}, None, recipe) == {**recipe, "optimizer": "sgd"}
