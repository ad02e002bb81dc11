"""Whether the settings of a training go together with each other, with its rows and with its network. Reads, and changes nothing."""

import math
from collections.abc import Mapping
from typing import Any

from fastmlp.errors import ConfigError
from fastmlp.network import Network
from fastmlp.preprocessing import targets
from fastmlp.settings import COURSE, FIELDS, ROWS, TrainingSettings, having, is_on
from fastmlp.training import augmentation, full_batch, optimizers

OF_EPOCHS = having("applies", ROWS, COURSE)  # what means something only where all rows are there, or an end is in sight


def for_single_steps(network: Network, settings: Mapping[str, Any]) -> tuple[TrainingSettings, Mapping[Any, float] | None]:
    """Return the settings of an OnlineTrainer, checked, and the weights of classes apart from them."""
    given = dict(settings)
    for name in OF_EPOCHS:
        if name in given and given[name] != getattr(TrainingSettings, name):
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
    if checked.normalize_target == "standardize" and targets.active(network.target_scaling) is None:
        raise ConfigError(
            "normalize_target: expected none where rows come bit by bit, got 'standardize'; standardize them yourself, "
            "or train on some rows first"
        )
    if network.target_scaling is None:  # there is nothing yet that a mean could be taken of
        checked = checked.replace(normalize_target="none")
    return checked, class_weight


def image_shape(settings: TrainingSettings, n_features: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return height and width of images: as they came, (height, width), or of a square, (K,). Raises ConfigError where they are none."""
    if len(shape) == 2:
        return shape[0], shape[1]
    side = math.isqrt(n_features)
    if len(shape) == 1 and side > 1 and side * side == n_features:
        return side, side
    name = next(name for name in augmentation.SETTINGS if getattr(settings, name))
    expected = "expected images (n, height, width), or rows of a square number of pixels such as 784"
    raise ConfigError(f"{name}: {expected}, got x (n, {', '.join(map(str, shape))}); leave augmentation out")


def check_full_batch(settings: TrainingSettings, n_rows: int) -> None:
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
    return any(name != "monitor" for name in _judging(settings))


def _judging(settings: TrainingSettings) -> list[str]:
    """Return the names of the settings given that judge epochs by held-out rows; what it is that they judge by comes last."""
    given = [name for name in having("judges") if is_on(FIELDS[name], getattr(settings, name))]
    return sorted(given, key=lambda name: name == "monitor")


def check_stopping(settings: TrainingSettings, holds_out: bool, output: str) -> None:
    """Raise ConfigError where a setting needs held-out rows and there are none, or an accuracy of an output that has none."""
    if not holds_out and (names := _judging(settings)):
        raise ConfigError(f"{names[0]}: expected held-out rows to judge an epoch by, got none; set validation, for example to 5000")
    if output == "identity":
        judged = settings.patience is not None or settings.restore_best
        if settings.monitor == "accuracy" and judged:
            raise ConfigError("monitor: expected 'loss' for a network that predicts numbers, got 'accuracy'; they have no accuracy")
        if settings.target_accuracy is not None:
            raise ConfigError(
                f"target_accuracy: expected none for a network that predicts numbers, got {settings.target_accuracy:g}; use patience"
            )
