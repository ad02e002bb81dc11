"""Recipes: named settings for a data set, tuned on held-out training rows, but for the textbook's. docs/recipes.md says what they reach.

The settings of a recipe stand between the defaults of the data set and whatever else is given. All training rows are trained on; hold
some out with validation=10000 to see what tuning saw.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastmlp.errors import ConfigError
from fastmlp.settings import nearest


class Recipe(NamedTuple):
    """What a recipe is good for, and its settings, those of the network and those of its training."""

    summary: str
    settings: Mapping[str, Any]


# A rate that is too high to begin with, so that it rises over the first epoch, and falls to zero in a straight line.
HIGH_AND_FALLING = {"batch_size": 64, "schedule": "linear", "warmup_epochs": 1.0, "validation": 0}

RECIPES: dict[str, dict[str, Recipe]] = {
    "mnist": {
        # Nielsen 2015, chapter 1: 30 epochs in batches of 10 at a rate of 3.0, which is 15 here (docs/textbook.md)
        "textbook": Recipe(
            "784-30-10 of sigmoid units, quadratic cost, as in the courses",
            {
                "hidden": (30,), "activation": "sigmoid", "output": "sigmoid", "loss": "mse", "epochs": 30, "batch_size": 10,
                "optimizer": "sgd", "learning_rate": 15.0, "validation": 0,
            },
        ),
        "plain": Recipe(
            "784-300-10, labels smoothed",
            {**HIGH_AND_FALLING, "hidden": (300,), "epochs": 10, "learning_rate": 1.0, "label_smoothing": 0.1},
        ),
        "dropout": Recipe(
            "784-1024-1024-10, noise on the inputs, units dropped, labels smoothed",
            {
                **HIGH_AND_FALLING, "hidden": (1024, 1024), "epochs": 40, "learning_rate": 1.0, "label_smoothing": 0.1,
                "input_noise": 0.3, "dropout": 0.1,
            },
        ),
        "elastic": Recipe(
            "784-1024-512-10, each digit turned, scaled, slanted and distorted anew in each epoch",
            {
                **HIGH_AND_FALLING, "hidden": (1024, 512), "epochs": 80, "learning_rate": 1.0, "augment_rotation": 10.0,
                "augment_scale": 0.12, "augment_shear": 8.0, "augment_elastic": 1.0,
            },
        ),
    },
    "fashion-mnist": {
        "plain": Recipe(
            "784-300-10, labels smoothed",
            {**HIGH_AND_FALLING, "hidden": (300,), "epochs": 20, "learning_rate": 0.4, "label_smoothing": 0.1},
        ),
        "dropout": Recipe(
            "784-1024-512-10, inputs and units dropped, labels smoothed",
            {
                **HIGH_AND_FALLING, "hidden": (1024, 512), "epochs": 50, "learning_rate": 0.4, "label_smoothing": 0.1,
                "input_dropout": 0.1, "dropout": 0.3,
            },
        ),
        "best": Recipe(
            "784-1024-512-10, each picture moved and every other one mirrored, anew in each epoch",
            {
                **HIGH_AND_FALLING, "hidden": (1024, 512), "epochs": 80, "learning_rate": 0.4, "label_smoothing": 0.1,
                "augment_shift": 1.0, "augment_flip": True,
            },
        ),
    },
}  # fmt: skip


def recipe(dataset: str, name: str) -> Recipe:
    """Return a recipe by the names of its data set and itself; raise ConfigError with those that there are for any other name."""
    known = RECIPES.get(dataset, {})
    if name not in known:
        there = f"one of {', '.join(known)}" if known else f"none: there are recipes for {' and '.join(RECIPES)} only"
        raise ConfigError(f"recipe: expected {there}, got {name!r:.60} for {dataset}{nearest(name, known)}")
    return known[name]
