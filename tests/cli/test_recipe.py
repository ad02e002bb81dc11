"""`fastmlp train --recipe`: who wins over whom, and what is refused. With no epochs, only the settings are looked at."""

import pytest

from fastmlp.training.recipes import RECIPES

PLAIN = dict(RECIPES["mnist"]["plain"].settings)
NOTHING = ("train", "mnist", "--recipe", "plain", "--epochs", "0", "--threads", "1", "--json")


@pytest.fixture
def effect(command):
    """Return the settings in effect of a training of no epochs by the plain recipe, as one table."""

    def effect(*arguments):
        settings = command(*NOTHING, *arguments).json["settings"]
        return {**settings["network"], **settings["train"]}

    return effect


def test_recipe_wins_over_the_data_set_and_the_defaults(effect):
    found = effect()
    expected = PLAIN | {"epochs": 0, "hidden": list(PLAIN["hidden"])}
    assert {name: found[name] for name in expected} == expected


def test_file_wins_over_the_recipe(effect, tmp_path):
    (tmp_path / "run.toml").write_text("[network]\nhidden = 20\n[train]\nbatch_size = 7\n")
    found = effect("--config", "run.toml")
    assert (found["hidden"], found["batch_size"]) == ([20], 7)
    assert found["learning_rate"] == PLAIN["learning_rate"]


def test_variable_wins_over_the_recipe_and_the_file(effect, tmp_path, monkeypatch):
    (tmp_path / "run.toml").write_text("[train]\nbatch_size = 7\n")
    monkeypatch.setenv("FASTMLP_BATCH_SIZE", "8")
    assert effect("--config", "run.toml")["batch_size"] == 8


def test_flag_wins_over_all(effect, monkeypatch):
    monkeypatch.setenv("FASTMLP_BATCH_SIZE", "8")
    assert effect("--batch-size", "9")["batch_size"] == 9


def test_record_names_the_recipe(command):
    assert command(*NOTHING).json["recipe"] == "plain"
    assert command("train", "synthetic", "--epochs", "0", "--json").json["recipe"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnist", "--recipe", "elastik"), "--recipe: expected one of textbook, plain, dropout, elastic, got 'elastik' for mnist"),
        (("fashion-mnist", "--recipe", "elastic"), "--recipe: expected one of plain, dropout, best, got 'elastic' for fashion-mnist"),
        (("synthetic", "--recipe", "plain"), "--recipe: expected none: there are recipes for mnist and fashion-mnist only, got 'plain'"),
        (("--recipe", "plain"), "expected the name of a data set, or --resume RUN, got neither"),
        (("--resume", "runs/x", "--recipe", "plain"), "--recipe: expected no recipe with --resume, got one: the run knows its settings"),
    ],
)  # fmt: skip
def test_wrong_recipe_is_a_usage_error_with_those_that_there_are(command, arguments, message):
    result = command("train", *arguments)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1
