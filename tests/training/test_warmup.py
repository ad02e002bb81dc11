"""What a warm-up trains: every block that settings can ask for, in every kind of kernel."""

import numpy as np
import pytest

import fastmlp
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.updates import UPDATES
from fastmlp.kernels.vectors import lanes_of
from fastmlp.settings import INITIALIZERS, OPTIMIZERS
from fastmlp.training import warmup
from fastmlp.training.warmup import LIMITED, REGULARISED, RULES

WAYS = [(200, 50), (3, 3), (3, 1), (20, 1)]  # units and rows of a batch: tiles, the textbook loops, row by row


@pytest.fixture(scope="module", params=["float32", "float64"])
def trainings(request):
    """Return {what for: [(kind of rows, inputs, units, activation, output, settings, outputs, norm), ...]}; nothing is trained."""
    found, taken = {}, []

    def train(dtype, x, units, activation, output, settings, outputs=10, norm="none"):
        assert (dtype, len(x)) == (request.param, 120)
        zeros = float((x == 0).mean())
        kind = "floats" if x.dtype == dtype else "sparse" if zeros > 0.5 else "dense"
        assert kind == "floats" or x.dtype == np.uint8
        taken.append((kind, x.shape[1], units, activation, output, settings, outputs, norm))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warmup, "_train", train)
        for name in warmup.warm_up(request.param):
            found[name] = taken.copy()
            taken.clear()
    return found


def rows_and_ways(trainings):
    return [(kind, units, settings.get("batch_size", 50)) for kind, _, units, _, _, settings, _, _ in trainings]


def test_every_update_of_the_kernels_is_trained():
    assert set(RULES) == set(UPDATES)
    assert {settings["optimizer"] for settings in RULES.values()} == set(OPTIMIZERS) - {"lbfgs"}


def test_every_activation_is_trained_in_every_way(trainings):
    for name in ACTIVATIONS:
        *ways, narrow = trainings[name]
        assert {(activation, output) for _, _, _, activation, output, *_ in trainings[name]} == {(name, "softmax")}
        assert rows_and_ways(ways) == [("sparse", *way) for way in WAYS]
        assert narrow[:3] + narrow[5:7] == ("floats", 4, 3, {"batch_size": 1}, 2)


@pytest.mark.parametrize(("kind", "rows"), [("bytes", "sparse"), ("floats", "floats")])
def test_every_loss_rule_and_regularisation_is_trained_on_bytes_and_on_floats(trainings, kind, rows):
    for name, loss in LOSSES.items():
        found = trainings[f"{name}, {kind}"]
        # numbers to predict are standardised inside, or left as they are
        each = 2 if loss.output == "identity" and loss.link is None else 1
        assert rows_and_ways(found) == [(rows, *way) for way in WAYS for _ in range(each)]
        assert {(output, settings["loss"]) for _, _, _, _, output, settings, _, _ in found} == {(loss.output, loss.name)}
    for name, rule in RULES.items():
        found = trainings[f"{name}, {kind}"]
        assert rows_and_ways(found) == [(rows, 100, 50), (rows, 3, 3), (rows, 3, 3)]
        limited, plain = {**rule, **LIMITED}, rule
        assert [{**settings, "batch_size": 0} for _, _, _, _, _, settings, _, _ in found] == [
            {**expected, "batch_size": 0} for expected in (limited, limited, plain)
        ]
    for name, settings in REGULARISED.items():
        assert trainings[f"{name}, {kind}"] == [(rows, 100, 3, "relu", "softmax", {"batch_size": 3, **settings}, 10, "none")]
    smoothed = {"batch_size": 1, "label_smoothing": 0.1}
    assert trainings[f"labels smoothed, {kind}"] == [
        (rows, inputs, 3, "relu", "softmax", settings, 2, "none")
        for inputs, settings in ((100, smoothed), (4, smoothed), (4, {"batch_size": 1}))
    ]
    assert trainings[f"numbers to predict from few inputs, {kind}"] == [(rows, 4, 3, "relu", "identity", {"batch_size": 1}, 2, "none")]
    assert trainings[f"augmentation, {kind}"] == [(rows, 100, 3, "relu", "softmax", {"augment_shift": 1.0}, 10, "none")]


def test_every_rule_is_trained_in_every_tile_with_zeros_skipped_and_without(trainings, request):
    tiles = {name.removeprefix("clipped, ") for name in trainings if name.startswith("clipped, ")}
    assert len(tiles) > 1
    for units in tiles:
        width = int(units.split()[0])
        for name, rule in RULES.items():
            assert trainings[f"{name}, {units}"] == [(x, 100, width, "relu", "softmax", rule, 10, "none") for x in ("sparse", "dense")]
        assert trainings[f"clipped, {units}"] == [(x, 100, width, "relu", "softmax", LIMITED, 10, "none") for x in ("sparse", "dense")]
        for name, settings in REGULARISED.items():
            assert trainings[f"{name}, {units}"] == [("sparse", 100, width, "relu", "softmax", settings, 10, "none")]
        assert trainings[f"standardized inputs, {units}"][0][5] == {"normalize": "standardize"}
        assert trainings[f"two outputs, {units}"] == [("floats", 100, width, "relu", "softmax", {}, 2, "none")]


def test_full_batches_are_trained_by_every_tile_by_the_textbook_and_with_normalised_sums(trainings):
    full = {"optimizer": "lbfgs", "learning_rate": None}
    tiles = {name.removeprefix("clipped, ") for name in trainings if name.startswith("clipped, ")}
    for units in tiles:
        width = int(units.split()[0])
        assert trainings[f"lbfgs, {units}"] == [(x, 100, width, "relu", "softmax", full, 10, "none") for x in ("sparse", "dense")]
    for kind, rows in (("bytes", "sparse"), ("floats", "floats")):
        found = trainings[f"full batches, zeros not skipped, scalar kernels, {kind}"]
        assert {each[0] for each in found} == {rows}
        assert [each[5].get("zero_skipping") for each in found] == [None, None, "off", "on", "off"]
        assert [each[5].get("kernels") for each in found] == [None, "scalar", None, "scalar", "scalar"]
        for norm in ("batch", "layer"):
            found = trainings[f"sums normalised: {norm}, clipped, full batches, {kind}"]
            assert {(each[0], each[7]) for each in found} == {(rows, norm)}
            assert [each[2] for each in found] == ([200, 3] if norm == "batch" else [200, 200, 3, 3])


def test_normalised_sums_are_trained_with_every_rule_by_tiles_and_by_the_textbook(trainings):
    for norm in ("batch", "layer"):
        for name, rule in RULES.items():
            assert trainings[f"{name}, sums normalised: {norm}"] == [
                ("sparse", 100, units, "relu", "softmax", {"batch_size": size, **rule}, 10, norm) for units, size in WAYS[:2]
            ]


def test_each_width_of_panel_is_taken_alone_with_its_zeros_listed(trainings):
    panels = {name: found for name, found in trainings.items() if name.startswith("panels of ")}
    assert len(panels) > 1
    assert [(each[0], each[5]) for found in panels.values() for each in found] == [("sparse", {}), ("sparse", {"threads": 1})] * len(panels)
    assert all(name == f"panels of {found[0][2]} units, zeros skipped" for name, found in panels.items())


def test_every_initializer_is_used(monkeypatch):
    used = []
    monkeypatch.setattr(warmup, "Network", lambda sizes, initializer, dtype: used.append((initializer, dtype)))
    assert next(warmup.warm_up("float64")) == "initial weights"
    assert used == [(initializer, "float64") for initializer in INITIALIZERS]


def test_every_number_of_units_finds_the_smallest_that_takes_a_tile():
    for dtype in ("float32", "float64"):
        lanes = lanes_of(dtype)
        alone, several = (warmup._units_per_tile(dtype, panels=panels) for panels in (1, 2))
        assert set(several) <= set(alone)
        for tiles, units in several.items():
            assert warmup.tiles_for(units, lanes) == tiles
            assert units > tiles.NV * lanes
        for tiles, units in alone.items():
            assert min(each for each in range(lanes, units + 1, lanes) if warmup.tiles_for(each, lanes) == tiles) == units


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
def test_a_tiny_training_trains_evaluates_and_predicts(monkeypatch, output):
    calls = []
    for name in ("evaluate", "predict"):
        own = getattr(fastmlp.Network, name)
        monkeypatch.setattr(fastmlp.Network, name, lambda net, x, *y, own=own, name=name: calls.append((name, x.shape)) or own(net, x, *y))
    steps = []
    step = warmup.Trainer.step
    monkeypatch.setattr(warmup.Trainer, "step", lambda trainer: steps.append(trainer) or step(trainer))
    x = np.random.default_rng(0).standard_normal((120, 4)).astype(np.float32)
    warmup._train("float32", x, 3, "relu", output, {"batch_size": 7}, outputs=2)
    [trainer] = steps
    assert trainer.network.sizes == (4, 3, 3, 2)
    assert (trainer.settings.epochs, trainer.settings.batch_size, trainer.settings.learning_rate) == (1, 7, 1e-3)
    assert calls == [("evaluate", (120, 4)), ("evaluate", (3, 4)), ("predict", (4,))]
