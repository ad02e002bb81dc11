"""Recipes are settings that can be trained with, and the page and the recorded results are about them and no others."""

import json

import pytest

from fastmlp.data.dataset import DATASETS
from fastmlp.errors import ConfigError
from fastmlp.settings import NetworkSettings, TrainingSettings
from fastmlp.training.plan import make_plan
from fastmlp.training.recipes import RECIPES, recipe
from fastmlp.training.trainer import Trainer
from tests.structure.sources import ROOT

EACH = [(dataset, name) for dataset, recipes in RECIPES.items() for name in recipes]
RECORD = ROOT / "bench" / "results" / "recipes.json"


def split(settings):
    """Return the settings of the network and those of training; every name belongs to one of them."""
    network = {name: value for name, value in settings.items() if name in NetworkSettings.names()}
    training = {name: value for name, value in settings.items() if name not in network}
    return NetworkSettings.from_mapping(network), TrainingSettings.from_mapping(training)


def test_recipes_are_those_that_were_promised():
    assert set(RECIPES) <= set(DATASETS)
    assert list(RECIPES["mnist"]) == ["textbook", "plain", "dropout", "elastic"]
    assert list(RECIPES["fashion-mnist"]) == ["plain", "dropout", "best"]


@pytest.mark.parametrize(("dataset", "name"), EACH)
def test_recipe_trains_on_all_rows_with_settings_that_fit_together(dataset, name, request):
    from fastmlp.network import network_for

    network, training = split(recipe(dataset, name).settings)
    assert training.validation == 0
    data = request.getfixturevalue(dataset.replace("-", "_")).first_rows(300, 1)
    trainer = Trainer(make_plan(network_for(data, network, 0), data.x_train, data.y_train, training.replace(threads=1)))
    trainer.step()
    assert trainer.is_finite()


def test_plain_recipe_of_mnist_is_the_network_of_the_textbook():
    settings = recipe("mnist", "plain").settings
    assert settings["hidden"] == (300,)
    assert not {"dropout", "input_dropout", "input_noise", "normalization", "average"} & set(settings)
    assert not [name for name in settings if name.startswith("augment")]


@pytest.mark.parametrize("dataset", RECIPES)
def test_recipe_with_dropout_knows_nothing_of_images(dataset):
    """Whatever the order of the pixels, it gives the same network: it is permutation-invariant."""
    assert not [name for name in recipe(dataset, "dropout").settings if name.startswith("augment")]


@pytest.mark.parametrize(
    ("dataset", "name", "message"),
    [
        ("mnist", "elastik", "recipe: expected one of textbook, plain, dropout, elastic, got 'elastik' for mnist; did you mean 'elastic'"),
        ("mnist", "best", "recipe: expected one of textbook, plain, dropout, elastic, got 'best' for mnist"),
        ("synthetic", "plain", "recipe: expected none: there are recipes for mnist and fashion-mnist only, got 'plain' for synthetic"),
    ],
)
def test_unknown_recipe_is_refused_with_those_that_there_are(dataset, name, message):
    with pytest.raises(ConfigError, match=message):
        recipe(dataset, name)


def test_page_tells_of_every_recipe():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for dataset, name in EACH:
        assert f"fastmlp train {dataset} --recipe {name}" in page


def test_recorded_results_are_those_of_the_recipes_as_they_stand():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    recorded = {(entry["dataset"], entry["name"]): entry["settings"] for entry in record["recipes"]}
    assert set(recorded) == set(EACH)
    for (dataset, name), settings in recorded.items():
        assert settings == json.loads(json.dumps(dict(recipe(dataset, name).settings)))


def test_recorded_results_open_the_test_rows_once_for_each_seed():
    for entry in json.loads(RECORD.read_text(encoding="utf-8"))["recipes"]:
        seeds = [run["seed"] for run in entry["runs"]]
        assert seeds == list(range(len(seeds)))
        assert len(seeds) >= 5
