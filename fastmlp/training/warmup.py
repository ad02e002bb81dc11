"""Compile beforehand what trainings need: one tiny training for each block of the kernels that settings can ask for."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmlp.engines.layout import panels_at_a_time, tiles_for
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.tiles import PanelTiles
from fastmlp.kernels.vectors import lanes_of
from fastmlp.network import Network
from fastmlp.settings import INITIALIZERS, STEPPING, NetworkSettings, TrainingSettings, used_by
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer
from fastmlp.training.update_rules import update_rule

ROWS, N_INPUTS, N_OUTPUTS = 120, 100, 10  # two batches of 50 rows and a shorter one
FEW_INPUTS = 4  # of a network whose layers are taken as vectors, row by row
MOST_VECTORS = 41  # of units among which every shape of tiles is the best one for some number
MOMENTUM: tuple[dict[str, Any], ...] = ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True})


def _rules() -> dict[str, dict[str, Any]]:
    """Return settings that take each update of the kernels, by its name: those of every optimizer that takes single steps."""
    found: dict[str, dict[str, Any]] = {}
    for optimizer in STEPPING:
        for settings in MOMENTUM:
            if all(optimizer in used_by(name) for name in settings):
                given = {"optimizer": optimizer, **settings}
                found.setdefault(update_rule(TrainingSettings(**given).resolved("table"), np.dtype(np.float32)), given)
    return found


RULES = _rules()
LIMITED = {"clip_norm": 1.0, "average": "ema"}  # a gradient that is stored before the rule gets it
FULL_BATCH = {"optimizer": "lbfgs", "learning_rate": None}  # its line search takes gradients of all rows
REGULARISED: dict[str, dict[str, Any]] = {
    "dropout, max-norm": {"dropout": 0.5, "max_norm": 3.0},
    "dropout, noise on inputs": {"input_dropout": 0.2, "input_noise": 0.1},
}


def warm_up(dtype: str = NetworkSettings.dtype) -> Iterator[str]:
    """Run the trainings for parameters of a type, float32 or float64; yield what each is for after it has run.

    Covered are bytes and floats as inputs, with zeros skipped and without, batches and single rows, every activation, loss and rule of
    the optimizers, with gradients clipped and weights averaged, too, dropout, noise and max-norm, normalised sums, and predicting. Depth,
    sizes and combinations compile nothing more.
    """
    generator = np.random.default_rng(0)
    sparse = np.where(generator.random((ROWS, N_INPUTS)) < 0.2, generator.integers(1, 256, (ROWS, N_INPUTS)), 0).astype(np.uint8)
    dense = generator.integers(1, 256, (ROWS, N_INPUTS)).astype(np.uint8)
    floats = generator.standard_normal((ROWS, N_INPUTS)).astype(dtype)
    default, one_row = "relu", {"batch_size": 1}
    for initializer in INITIALIZERS:
        Network([N_OUTPUTS, N_OUTPUTS], initializer=initializer, dtype=dtype)
    yield "initial weights"
    alone, several = _units_per_tile(dtype, panels=1), _units_per_tile(dtype, panels=2)
    for units in _units_per_listed_shape(dtype):
        _train(dtype, sparse, units, default, "softmax", {})
        _train(dtype, sparse, units, default, "softmax", {"threads": 1})  # one share has all panels
        yield f"panels of {units} units, zeros skipped"
    for units in (alone | several).values():  # the narrowest may be the best tile for one panel only
        for name, settings in RULES.items():
            _train(dtype, sparse, units, default, "softmax", settings)
            _train(dtype, dense, units, default, "softmax", settings)
            yield f"{name}, {units} units"
        for x in (sparse, dense):
            _train(dtype, x, units, default, "softmax", LIMITED)
        yield f"clipped, {units} units"
        for name, settings in REGULARISED.items():
            _train(dtype, sparse, units, default, "softmax", settings)
            yield f"{name}, {units} units"
        _train(dtype, sparse, units, default, "softmax", {"normalize": "standardize"})
        yield f"standardized inputs, {units} units"
        _train(dtype, floats, units, default, "softmax", {}, outputs=2)
        yield f"two outputs, {units} units"
        for x in (sparse, dense):
            _train(dtype, x, units, default, "softmax", FULL_BATCH)
        yield f"lbfgs, {units} units"
    ways = ((2 * N_INPUTS, 50), (3, 3), (3, 1), (20, 1))  # units and rows that take tiles, the textbook loops, and go row by row
    for activation in ACTIVATIONS:
        for units, batch_size in ways:
            _train(dtype, sparse, units, activation, "softmax", {"batch_size": batch_size})
        _train(dtype, floats[:, :FEW_INPUTS], 3, activation, "softmax", one_row, outputs=2)
        yield activation
    for x, kind in ((sparse, "bytes"), (floats, "floats")):
        for name, loss in LOSSES.items():
            for units, batch_size in ways:
                _train(dtype, x, units, default, loss.output, {"loss": loss.name, "batch_size": batch_size})
                if loss.output == "identity" and loss.link is None:
                    _train(dtype, x, units, default, "identity", {"loss": loss.name, "batch_size": batch_size, "normalize_target": "none"})
            yield f"{name}, {kind}"
        for name, settings in RULES.items():
            for units, batch_size in ((N_INPUTS, 50), (3, 3)):
                _train(dtype, x, units, default, "softmax", {**settings, **LIMITED, "batch_size": batch_size})
            _train(dtype, x, 3, default, "softmax", {"batch_size": 3, **settings})
            yield f"{name}, {kind}"
        smoothed = {**one_row, "label_smoothing": 0.1}
        for inputs, settings in ((x, smoothed), (x[:, :FEW_INPUTS], smoothed), (x[:, :FEW_INPUTS], one_row)):
            _train(dtype, inputs, 3, default, "softmax", settings, outputs=2)
        yield f"labels smoothed, {kind}"
        _train(dtype, x[:, :FEW_INPUTS], 3, default, "identity", one_row, outputs=2)  # of targets that are standardised
        yield f"numbers to predict from few inputs, {kind}"
        for settings in (FULL_BATCH, {**FULL_BATCH, "kernels": "scalar"}, {"zero_skipping": "off", "batch_size": 3}):
            _train(dtype, x, 3, default, "softmax", settings)
        for skipping in ("on", "off"):
            _train(dtype, x, 2 * N_INPUTS, default, "softmax", {"kernels": "scalar", "zero_skipping": skipping, "validation": 0.2})
        yield f"full batches, zeros not skipped, scalar kernels, {kind}"
        _train(dtype, x, 3, default, "softmax", {"augment_shift": 1.0})
        yield f"augmentation, {kind}"
        for name, settings in REGULARISED.items():
            _train(dtype, x, 3, default, "softmax", {"batch_size": 3, **settings})
            yield f"{name}, {kind}"
    for norm in ("batch", "layer"):
        for name, settings in RULES.items():
            for units, batch_size in ((2 * N_INPUTS, 50), (3, 3)):
                _train(dtype, sparse, units, default, "softmax", {"batch_size": batch_size, **settings}, norm=norm)
            yield f"{name}, sums normalised: {norm}"
        for x, kind in ((sparse, "bytes"), (floats, "floats")):
            for units in (2 * N_INPUTS, 3):
                _train(dtype, x, units, default, "softmax", {**LIMITED, "batch_size": 50}, norm=norm)
                if norm == "layer":  # lbfgs takes no other
                    _train(dtype, x, units, default, "softmax", FULL_BATCH, norm=norm)
            yield f"sums normalised: {norm}, clipped, full batches, {kind}"


def _units_per_tile(dtype: str, panels: int) -> dict[PanelTiles, int]:
    """Return, for the tiles of each width of panel, the smallest number of units that take so many of these panels, or more."""
    lanes = lanes_of(dtype)
    found: dict[PanelTiles, int] = {}
    for vectors in range(1, MOST_VECTORS):
        tiles = tiles_for(vectors * lanes, lanes)
        if vectors > (panels - 1) * tiles.NV:
            found.setdefault(tiles, vectors * lanes)
    return found


def _units_per_listed_shape(dtype: str) -> list[int]:
    """Return numbers of units among which are all tiles, with every number of panels that is taken at a time where zeros are skipped."""
    lanes = lanes_of(dtype)
    found: dict[tuple[PanelTiles, int, int], int] = {}
    for vectors in range(1, MOST_VECTORS):
        tiles = tiles_for(vectors * lanes, lanes)
        found.setdefault((tiles, *panels_at_a_time(tiles, -(-vectors // tiles.NV))), vectors * lanes)
    return list(found.values())


def _train(
    dtype: str, x: np.ndarray, units: int, activation: str, output: str, settings: dict[str, Any], outputs: int = N_OUTPUTS,
    norm: str = "none",
) -> None:  # fmt: skip
    network = Network([x.shape[1], units, units, outputs], activation, output, normalization=norm, dtype=dtype)
    y = np.random.default_rng(1).integers(0, 2, ROWS if output == "softmax" else (ROWS, outputs))
    trainer = Trainer(make_plan(network, x, y, TrainingSettings(epochs=1, learning_rate=1e-3).replace(**settings)))
    trainer.prepare()
    trainer.step()
    network.evaluate(x, y)
    network.evaluate(x[:3], y[:3])
    network.predict(x[0])
