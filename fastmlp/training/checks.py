"""Whether the settings of a training go together with each other, with its rows and with its network. Reads, and changes nothing."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.engines.tiled import FORWARD_ROWS
from fastmlp.errors import ConfigError, NotEnoughMemory
from fastmlp.kernels.regularisation import Regularisation
from fastmlp.kernels.updates import UPDATES
from fastmlp.network import Network
from fastmlp.preprocessing import targets
from fastmlp.settings import COURSE, FIELDS, ROWS, TrainingSettings, check_value, having, is_on, known
from fastmlp.training import augmentation, full_batch, lbfgs, optimizers, scaling, update_rules

OF_EPOCHS = having("applies", ROWS, COURSE)  # what means something only where all rows are there, or an end is in sight


def check_network(network: Any) -> None:
    """Raise ConfigError for what is none: arguments in another order, a file that is not loaded."""
    if not isinstance(network, Network):
        raise ConfigError(f"network: expected a fastmlp.Network, got {type(network).__name__}; what is trained comes first, then x and y")


def for_single_steps(network: Network, settings: Mapping[str, Any]) -> tuple[TrainingSettings, Mapping[Any, float] | None]:
    """Return the settings of an OnlineTrainer, checked, and the weights of classes apart from them."""
    check_network(network)
    given = dict(settings)
    for name in OF_EPOCHS:
        if name in given and check_value(FIELDS[name], given[name]) != getattr(TrainingSettings, name):
            raise ConfigError(f"{name}: expected none for single steps, which know no epochs, got {given[name]!r:.60}; use fastmlp.train")
    class_weight = given.pop("class_weight", None)
    if class_weight is not None and not isinstance(class_weight, Mapping):
        raise ConfigError(f"class_weight: expected a mapping {{class: weight}} where rows come bit by bit, got {class_weight!r:.60}")
    checked = TrainingSettings.from_mapping(optimizers.as_settings(given), "OnlineTrainer")
    if checked.average == "swa":
        raise ConfigError("average: expected none or ema for single steps, which know no epochs, got 'swa'")
    if checked.optimizer == full_batch.NAME:
        raise ConfigError(f"optimizer: expected one that takes single steps, got {full_batch.NAME!r}, which needs all rows at once")
    fitted = network.input_scaling
    if checked.normalize == "standardize" and (fitted is None or fitted.kind != "standardize"):
        raise ConfigError("normalize: expected none or scale where rows come bit by bit, got 'standardize'; standardize them yourself")
    scaling.check_per_feature(network, checked)
    if checked.normalize_target == "standardize" and targets.active(network.target_scaling) is None:
        raise ConfigError(
            "normalize_target: expected none where rows come bit by bit, got 'standardize'; standardize them yourself, "
            "or train on some rows first"
        )
    if network.target_scaling is None:  # there is nothing yet that a mean could be taken of
        checked = checked.replace(normalize_target="none")
    return checked, class_weight


def image_shape(settings: TrainingSettings, n_features: int, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return height and width of images that are augmented: as they came, (height, width), or of a square, (K,); None where none are.

    Raises ConfigError where rows are no images.
    """
    if not augmentation.is_wanted(settings):
        return None
    if len(shape) == 2:
        return shape[0], shape[1]
    side = math.isqrt(n_features)
    if len(shape) == 1 and side > 1 and side * side == n_features:
        return side, side
    name = next(name for name in augmentation.SETTINGS if getattr(settings, name))
    expected = "expected images (n, height, width), or rows of a square number of pixels such as 784"
    raise ConfigError(f"{name}: {expected}, got x (n, {', '.join(map(str, shape))}); leave augmentation out")


def _check_full_batch(settings: TrainingSettings, n_rows: int) -> None:
    """Raise ConfigError where settings ask for what goes with batches and rates, but not with L-BFGS over n_rows rows."""
    asked_for = [name for name in having("full_batch", False) if is_on(FIELDS[name], getattr(settings, name))]
    if settings.batch_size is not None and settings.batch_size < n_rows:
        asked_for.insert(0, "batch_size")
    if asked_for:
        raise ConfigError(
            f"optimizer: lbfgs takes each step over all {n_rows} rows, as far as a line search says, and needs a smooth loss; "
            f"leave out {', '.join(asked_for)}"
        )


def needs_held_out(settings: TrainingSettings) -> bool:
    """Return whether a training ends otherwise where settings judge its epochs by held-out rows."""
    return any(name != "metric" for name in _judging(settings))


def _judging(settings: TrainingSettings) -> list[str]:
    """Return the names of the settings given that judge epochs by held-out rows; what it is that they judge by comes last."""
    given = [name for name in having("judges") if is_on(FIELDS[name], getattr(settings, name))]
    return sorted(given, key=lambda name: name == "metric")


def check_stopping(settings: TrainingSettings, holds_out: bool, network: Network) -> None:
    """Raise ConfigError where a setting needs held-out rows and there are none, or a metric that the network does not have."""
    network.checked_metric(settings.metric, "metric")
    if not holds_out and (names := _judging(settings)):
        raise ConfigError(f"{names[0]}: expected held-out rows to judge an epoch by, got none; set validation, for example to 5000")
    if network.output == "identity" and settings.target_accuracy is not None:
        raise ConfigError(
            f"target_accuracy: expected none for a network that predicts numbers, got {settings.target_accuracy:g}; use patience"
        )


def batches(settings: TrainingSettings, network: Network, n_rows: int, *, more_to_come: bool) -> tuple[TrainingSettings, int, int]:
    """Return the settings, how many rows a batch has, and how many of it the kernels take at a time, in a training on n_rows rows.

    Raises ConfigError where the rows of a batch are too few to normalise, or the settings do not go with L-BFGS, whose batch is all rows.
    """
    if settings.optimizer == full_batch.NAME:
        if network.normalization == "batch":
            raise ConfigError(
                "optimizer: lbfgs goes through all rows in blocks, each of which would be normalised by itself; use normalization='layer'"
            )
        _check_full_batch(settings, n_rows)
        return settings.replace(batch_size=n_rows), n_rows, min(n_rows, FORWARD_ROWS)
    size = known(settings.batch_size) if more_to_come else min(known(settings.batch_size), n_rows)
    if network.normalization == "batch" and size < 2:
        raise ConfigError("batch_size: expected at least 2 rows for batch normalisation, got 1; use normalization='layer' or more rows")
    return settings, size, size


OF_HIDDEN_LAYERS = ("dropout", "max_norm")


def regularisation(settings: TrainingSettings, network: Network) -> Regularisation:
    """Return dropout, noise and max-norm for a network; raise ConfigError for numbers that do not fit it."""
    n_hidden = len(network.hidden_activations)
    if not n_hidden and (given := [name for name in OF_HIDDEN_LAYERS if is_on(FIELDS[name], getattr(settings, name))]):
        raise ConfigError(f"{', '.join(given)}: expected none for a network without hidden layers, got one; leave it out")
    shares = settings.dropout if isinstance(settings.dropout, tuple) else (settings.dropout,) * n_hidden
    if len(shares) not in (1, n_hidden):
        raise ConfigError(f"dropout: expected one number, or one for each hidden layer ({n_hidden}), got {len(shares)}")
    range_of = np.finfo(network.dtype)
    for name, value in (("input_noise", settings.input_noise), ("max_norm", settings.max_norm)):
        if value and not float(range_of.tiny) <= value <= float(range_of.max):
            raise ConfigError(f"{name}: expected a number that {network.dtype} can hold, got {value:g}")
    each = shares * n_hidden if len(shares) == 1 else shares
    return Regularisation(settings.seed, each, settings.input_dropout, settings.input_noise, settings.max_norm)


def check_memory(network: Network, settings: TrainingSettings, batch_size: int, update: str) -> None:
    """Raise NotEnoughMemory where a training needs more than this process may use, before any of it is allocated.

    Counted is what is sure: the parameters, the optimizer state, z and delta of a batch.
    """
    pairs = min(lbfgs.MEMORY, known(settings.epochs)) if settings.optimizer == full_batch.NAME else 0
    states = UPDATES[update].states + update_rules.limits_gradient(settings) + (settings.average != "none") * 2 + 2 * pairs
    values = network.parameters.size * (1 + states) + 2 * batch_size * sum(network.sizes[1:])
    needed, limit = values * network.dtype.itemsize, machine.memory_limit()
    if limit is not None and needed > limit:
        raise NotEnoughMemory(
            f"the parameters, the optimizer and a batch of {batch_size} rows need {needed >> 20} MiB, this process may use "
            f"{limit >> 20} MiB; choose fewer units or a smaller batch_size"
        )
