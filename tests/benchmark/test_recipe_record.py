"""The record of the recipes: trained once per seed, kept between runs, made anew when settings or version change."""

import importlib.util
import json

import pytest

from fastmlp.training.recipes import Recipe
from tests.structure.sources import ROOT

SPECIFICATION = importlib.util.spec_from_file_location("recipes_script", ROOT / "bench" / "recipes.py")
script = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(script)


@pytest.fixture
def trained(monkeypatch):
    """Two recipes, and the list of (data set, name, seed) of every training that is asked for."""
    done = []

    def train(dataset, name, seed):
        done.append((dataset, name, seed))
        return {"seed": seed, "accuracy": 0.9, "loss": 0.3, "seconds": 1.5, "epochs": 2, "threads": 2}

    monkeypatch.setattr(script, "train", train)
    recipes = {"plain": Recipe("a network", {"hidden": (3, 2)}), "best": Recipe("another", {"epochs": 2})}
    monkeypatch.setattr(script, "RECIPES", {"mnist": recipes})
    return done


def test_every_recipe_is_trained_with_every_seed(trained, tmp_path):
    assert script.main(["--seeds", "2", str(tmp_path / "recipes.json")]) == 0
    assert trained == [("mnist", "plain", 0), ("mnist", "plain", 1), ("mnist", "best", 0), ("mnist", "best", 1)]
    record = json.loads((tmp_path / "recipes.json").read_text())
    assert [(each["name"], each["settings"], len(each["runs"])) for each in record["recipes"]] == [
        ("plain", {"hidden": [3, 2]}, 2),
        ("best", {"epochs": 2}, 2),
    ]
    assert record["machine"]["cores"] >= 1


def test_what_is_recorded_is_not_trained_again(trained, tmp_path):
    file = str(tmp_path / "recipes.json")
    script.main(["--seeds", "1", "--only", "mnist/plain", file])
    script.main(["--seeds", "2", file])
    assert trained == [("mnist", "plain", 0), ("mnist", "plain", 1), ("mnist", "best", 0), ("mnist", "best", 1)]


def test_again_means_again(trained, tmp_path):
    for _ in range(2):
        script.main(["--seeds", "1", "--only", "mnist/plain", "--again", str(tmp_path / "recipes.json")])
    assert trained == [("mnist", "plain", 0)] * 2
    assert len(json.loads((tmp_path / "recipes.json").read_text())["recipes"][0]["runs"]) == 1


def test_changed_settings_are_trained_anew(trained, tmp_path, monkeypatch):
    script.main(["--seeds", "1", str(tmp_path / "recipes.json")])
    monkeypatch.setitem(script.RECIPES["mnist"], "plain", Recipe("a network", {"hidden": (4,)}))
    script.main(["--seeds", "1", str(tmp_path / "recipes.json")])
    assert trained == [("mnist", "plain", 0), ("mnist", "best", 0), ("mnist", "plain", 0)]
    record = json.loads((tmp_path / "recipes.json").read_text())
    assert [each["settings"] for each in record["recipes"]] == [{"hidden": [4]}, {"epochs": 2}]


def test_another_version_begins_a_new_record(trained, tmp_path, monkeypatch):
    script.main(["--seeds", "1", str(tmp_path / "recipes.json")])
    monkeypatch.setattr(script, "__version__", "99.0")
    script.main(["--seeds", "1", "--only", "mnist/best", str(tmp_path / "recipes.json")])
    assert [each["name"] for each in json.loads((tmp_path / "recipes.json").read_text())["recipes"]] == ["best"]


def test_unknown_recipe_is_refused(trained, capsys):
    with pytest.raises(SystemExit):
        script.main(["--only", "mnist/elastik"])
    assert "expected recipes among mnist/plain, mnist/best, got mnist/elastik" in capsys.readouterr().err
