"""The rows that a training is judged by: some of its own, held out, or a user's."""

from typing import Any

import numpy as np

from fastmlp.data.dataset import is_test_split
from fastmlp.errors import ConfigError, DataError, warn
from fastmlp.network import Network
from fastmlp.network.arrays import as_rows, as_target, frozen, in_classes, weight_in
from fastmlp.preprocessing import InputScaling
from fastmlp.preprocessing.inputs import spread
from fastmlp.settings import TrainingSettings
from fastmlp.training import holdout, objective
from fastmlp.training.records import HeldOut

MOST_NAMED = 5  # classes in a warning
ANOTHER_SCALE = 50.0  # times as large, or as small: pixels that were not divided by 255, numbers that were not standardised
MOST_SEEN = 1000  # rows
Validation = int | float | tuple[Any, Any] | holdout.Rows | None


def as_settings(settings: TrainingSettings, validation: Validation) -> tuple[TrainingSettings, tuple[Any, Any] | None, holdout.Rows | None]:
    """Return the settings with how many rows are held out, a pair (x, y) to validate on, or the numbers of rows that were chosen before.

    With one of the last two, the number is None.
    """
    if isinstance(validation, holdout.Rows):
        return settings.replace(validation=None), None, validation
    if isinstance(validation, (tuple, list)):
        if isinstance(validation, list):
            raise ConfigError(f"validation: expected a pair (x, y), got a list of {len(validation)}; write validation=(x, y)")
        if len(validation) != 2:
            raise ConfigError(f"validation: expected a pair (x, y), got {len(validation)} values")
        return settings.replace(validation=None), validation, None
    if validation is None:
        return settings if settings.validation is not None else settings.filled_in(validation=0), None, None
    return settings.replace(validation=validation), None, None


def held_out(network: Network, rows: np.ndarray, target: np.ndarray, weight: np.ndarray | None, numbers: np.ndarray) -> HeldOut | None:
    """Return the rows of these numbers (m,) to validate on, None where there are none. Their targets and weights are copied, rows never."""
    if numbers.size == 0:
        return None
    of_held_out = None if weight is None else weight_in(network.dtype, weight[numbers], "sample_weight of the rows held out")
    view, inside = holdout.cut(rows, numbers)
    return HeldOut(view, frozen(target[numbers]), of_held_out, inside)


def given(
    network: Network, x: Any, y: Any, labels: np.ndarray | None, scaling: InputScaling, loss: str, rows_trained_on: np.ndarray,
    target_trained_on: np.ndarray,
) -> HeldOut:  # fmt: skip
    """Return a user's own rows to validate on; warn where they are the test rows of a data set, or on another scale than those trained on.

    labels: of the classes, once the network is trained; target_trained_on: before it is standardised.
    """
    y = network.class_numbers(y, "validation y", labels)
    if is_test_split(x):
        warn(
            "validation=(x_test, y_test): what is chosen by the test set is not tested by it; hold out training "
            "rows instead: validation=5000",
        )
    rows = as_rows(
        network.encoded(x, "validation x"),
        network.n_inputs,
        network.dtype,
        "validation x",
        scaling.offset(network.n_inputs, network.dtype),
        scaling.scales_bytes,
    )
    if rows.shape[0] == 0:
        raise DataError("validation x: expected at least one row to judge by, got none; leave validation out")
    target = as_target(y, network.output, network.n_outputs, rows.shape[0], target_trained_on.dtype, "validation y")
    objective.check_counts(loss, network.output, target, "validation y")
    warn_of_scale("validation x", rows, rows_trained_on, scaling.byte_scale)
    if network.output == "identity":
        warn_of_scale("validation y", target, target_trained_on)
    return HeldOut(rows, target, None)


def warn_of_scale(name: str, values: np.ndarray, trained_on: np.ndarray, byte_scale: float = 1.0) -> None:
    """Warn where most columns of values (n, K) are on another scale than in what was trained on (m, K); bytes are divided by byte_scale."""
    sizes = []
    for each in (values, trained_on):
        seen = each[spread(len(each), MOST_SEEN)].astype(np.float64)
        sizes.append(np.abs(seen).mean(axis=0) / (byte_scale if each.dtype == np.uint8 else 1.0))
    there = (sizes[0] > 0) & (sizes[1] > 0)
    if there.any() and not 1 / ANOTHER_SCALE <= (ratio := float(np.median(sizes[0][there] / sizes[1][there]))) <= ANOTHER_SCALE:
        warn(f"{name}: numbers are {ratio:.2g} times as large as those trained on; give both on the same scale, prepared in the same way")


def warn_of_unseen(
    network: Network, held_out: HeldOut | None, y: Any, classes: np.ndarray, labels: np.ndarray | None, how: str | None, *, is_given: bool
) -> None:
    """Warn where each row has one class, and some class of the rows held out is none of the `classes` (n, 1) trained on.

    y: as it was given to train on; labels (C,): of the classes, None: their numbers; how: rows are held out.
    """
    if held_out is None:
        return
    found, output = in_classes(held_out.target, y, network.output, network.n_outputs)
    if holdout.rule(None, output, network.n_outputs) != holdout.STRATIFIED:
        return
    unseen = np.setdiff1d(found, classes).astype(np.int64)
    if unseen.size == 0:
        return
    names = ", ".join(map(str, (unseen if labels is None else labels[unseen])[:MOST_NAMED])) + (" …" if unseen.size > MOST_NAMED else "")
    is_blind = how in (holdout.LAST, holdout.SHUFFLED)
    advice = "train on rows of it, too" if is_given else "draw them with holdout='stratified'" if is_blind else "hold out fewer rows"
    warn(
        f"validation: rows of class{'es' if unseen.size > 1 else ''} {names} are held out, and none is left to train on; {advice}",
    )
