"""Targets of a regression: standardised inside, per output, in float64; and what a regression is judged by, in the units of y.

The network predicts z * std + mean. Training sees (y - mean) / std, and the loss in the units of y, each output weighted so that an error
of one standard deviation pulls as hard as an error of 1 does where nothing is standardised: for the mean squared error 1/std².
"""

from typing import Any, NamedTuple

import numpy as np

from fastmlp.engines.wanted import NO_NUMBERS
from fastmlp.errors import ConfigError, DataError
from fastmlp.kernels.losses import LOSSES
from fastmlp.preprocessing.inputs import BLOCK_ROWS, check_numbers
from fastmlp.settings import record_refuses_unknown

KINDS = ("none", "standardize")
LARGEST = 1e150  # standard deviation, and one over it the smallest: its square has to be a number in float64
SCORES = ("rmse", "mae", "r2")  # what predicted numbers are judged by, besides the loss
PROBES = ((0.3, -1.2), (2.5, 0.7), (-0.4, 1.9))  # outputs and targets at which a loss is tried out
OFFSETS = (1.0, -2.5, 10.0)


@record_refuses_unknown
class TargetScaling(NamedTuple):
    """What a regression's outputs z mean: z * std + mean, in the units of y. Kind "none": z itself, mean 0, std 1.

    mean, std: float64 (T,), one per output.
    """

    kind: str
    mean: np.ndarray
    std: np.ndarray

    def standardized(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        """Return (y - mean) / std of y (n, T) float64, computed in float64, in `dtype`; read-only."""
        target = np.empty(y.shape, dtype)
        for first in range(0, y.shape[0], BLOCK_ROWS):
            block = slice(first, first + BLOCK_ROWS)
            with np.errstate(over="ignore"):
                target[block] = (y[block] - self.mean) / self.std
        if not np.isfinite(target).all():
            row, column = np.argwhere(~np.isfinite(target))[0]
            held = f"numbers that {np.dtype(dtype)} can hold once standardised"
            raise DataError(f"y: expected {held}, got {y[row, column]:g} in row {row}, column {column}")
        target.flags.writeable = False  # as rows are: kernels compiled for the one would be compiled anew for the other
        return target

    def values(self, z: np.ndarray) -> np.ndarray:
        """Return the outputs z (n, T) in the units of y, float64."""
        values: np.ndarray = z.astype(np.float64) * self.std + self.mean
        return values


def active(scaling: TargetScaling | None) -> TargetScaling | None:
    """Return a scaling that changes something, None for one that leaves targets as they are."""
    return scaling if scaling is not None and scaling.kind == "standardize" else None


def none(n_outputs: int) -> TargetScaling:
    """Return the scaling of a network whose targets are left as they are."""
    return TargetScaling("none", np.zeros(n_outputs), np.ones(n_outputs))


def checked_scaling(scaling: Any, output: str, n_outputs: int, loss: str) -> TargetScaling:
    """Return a scaling of targets that a network of these outputs and this loss can have; ConfigError for others."""
    if not isinstance(scaling, TargetScaling):
        raise ConfigError(f"target_scaling: expected a TargetScaling, got {type(scaling).__name__}")
    if scaling.kind not in KINDS:
        raise ConfigError(f"target_scaling: expected its kind to be one of {', '.join(KINDS)}, got {scaling.kind!r:.60}")
    if output != "identity":
        raise ConfigError(f"target_scaling: expected none of a network with {output} output, got one")
    for name, values in (("mean", scaling.mean), ("std", scaling.std)):
        check_numbers("target_scaling", name, values, (n_outputs,))
    if not ((scaling.std >= 1 / LARGEST) & (scaling.std <= LARGEST)).all():
        raise ConfigError("target_scaling: expected stds above 0, whose squares are numbers, got others")
    if scaling.kind == "none" and (scaling.mean.any() or (scaling.std != 1).any()):
        raise ConfigError("target_scaling: expected mean 0 and std 1 for 'none', got others")
    if scaling.kind == "standardize" and LOSSES[loss].link is not None:
        raise ConfigError(f"target_scaling: expected 'none' with the loss {loss}, whose outputs are logarithms, got 'standardize'")
    return scaling


def fit(y: np.ndarray, sample_weight: np.ndarray | None = None) -> TargetScaling:
    """Return the scaling for training targets y (n, T) float64; a standard deviation of 0 counts as 1.

    sample_weight (n,): as how many rows each counts, None: as one. Raises DataError where a standard deviation, or its square, is no
    number that float64 can hold.
    """
    weight = (np.ones(y.shape[0]) if sample_weight is None else sample_weight.astype(np.float64))[:, None]
    pivot, total = y[np.argmax(weight)], weight.sum()  # of a constant column nothing is left beside it, not even a rounding error
    blocks = [slice(first, first + BLOCK_ROWS) for first in range(0, y.shape[0], BLOCK_ROWS)]
    with np.errstate(over="ignore", invalid="ignore"):
        offset = sum((weight[block] * (y[block] - pivot)).sum(axis=0) for block in blocks) / total
        farthest = np.max([np.abs(weight[block] * (y[block] - pivot)).max(axis=0) for block in blocks], axis=0)
        unit = np.where(farthest > 0, farthest, 1.0)  # whose square is a number, whatever that of y is
        square = sum((weight[block] * ((y[block] - pivot - offset) / unit) ** 2).sum(axis=0) for block in blocks) / total
    mean, std = pivot + offset, np.where(farthest > 0, unit * np.sqrt(square), 1.0)
    held = np.isfinite(mean) & (std >= 1 / LARGEST) & (std <= LARGEST)
    if not held.all():
        raise DataError(
            "y: expected numbers that can be standardised, got some too large or too close together; "
            "choose other units, or use normalize_target='none'"
        )
    return TargetScaling("standardize", mean, std)


def measures_y(loss: str) -> bool:
    """Return whether a loss depends on the difference of output and target alone, so that its outputs are in the units of y.

    A loss of a user's own is tried out: its outputs may also be logarithms, or rates.
    """
    record = LOSSES[loss]
    if record.formula is None or record.output != "identity" or record.link is not None:
        return False
    if not record.digest:
        return True
    with np.errstate(all="ignore"):
        for z, t in PROBES:
            here = _number(record.formula, z, t, 0.0)
            moved = [_number(record.formula, z + offset, t + offset, 0.0) for offset in OFFSETS]
            if not np.allclose(moved, here, rtol=1e-9, atol=1e-12):
                return False
    return True


def loss_numbers(loss: str, parameter: float, scaling: TargetScaling | None, of: str = "training") -> np.ndarray:
    """Return the numbers of a loss as kernels take them, (1,) or (1 + 4 T,) float64: see kernels/textbook.py.

    parameter: the number that the loss has besides, in the units of y. of: "training": the loss in the units of y, and the gradient of
    its outputs weighted; "objective": both weighted, so that one is the derivative of the other; "loss": neither.
    """
    if (scaling := active(scaling)) is None:
        return np.array([parameter]) if parameter else NO_NUMBERS
    weight = output_weights(loss, parameter, scaling)
    ones = np.ones_like(weight)
    centre = np.zeros_like(weight) if measures_y(loss) else scaling.mean
    slope = scaling.std * (ones if of == "loss" else weight)
    return np.concatenate(([parameter], scaling.std, centre, slope, weight if of == "objective" else ones))


def output_weights(loss: str, parameter: float, scaling: TargetScaling) -> np.ndarray:
    """Return by what the loss of each output (T,) is multiplied before it is minimised.

    By slope(1) / (std * slope(std)), slope(e) the derivative at an error e: 1/std² for mse, 1/std for mae and quantile. Raises ConfigError
    for a loss of a user's own that has no slope there.
    """
    weights = np.empty_like(scaling.std)
    centred = measures_y(loss)
    for place, (mean, std) in enumerate(zip(scaling.mean, scaling.std, strict=True)):
        with np.errstate(all="ignore"):
            of_one = _slope(loss, parameter, 0.0, 1.0)
            of_std = _slope(loss, parameter, 0.0 if centred else float(mean), float(std))
            weights[place] = (of_one if np.isfinite(of_one) and of_one > 0 else 1.0) / (std * of_std)
        if not (np.isfinite(weights[place]) and weights[place] > 0):
            raise ConfigError(
                f"loss {loss}: expected a slope at an error of one standard deviation of y, {std:g}, got {of_std:g}; "
                "use a new Network and normalize_target='none'"
            )
    return weights


def _slope(loss: str, parameter: float, centre: float, error: float) -> float:
    derivative = LOSSES[loss].derivative
    return max(abs(_number(derivative, centre + side * error, centre, parameter)) for side in (-1.0, 1.0))


def _number(formula: Any, *arguments: float) -> float:
    try:
        return float(formula(*map(np.float64, arguments)))
    except ArithmeticError:
        return float("nan")


def scores(values: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None) -> dict[str, float | None]:
    """Return rmse, mae and r2 of predictions (n, T) of y (n, T), each the plain mean over the outputs, as scikit-learn has them.

    sample_weight (n,): as how many rows each counts. r2 of one row is None; of constant y it is 1 where all predictions are right, else 0.
    """
    y, weight = y.astype(np.float64), np.ones(y.shape[0]) if sample_weight is None else sample_weight.astype(np.float64)
    share = (weight / weight.sum())[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        error = values - y
        square = (share * error**2).sum(axis=0)
        spread = (share * (y - y[0] - (share * (y - y[0])).sum(axis=0)) ** 2).sum(axis=0)
        explained = np.where(spread > 0, 1.0 - square / np.where(spread > 0, spread, 1.0), np.where(square == 0, 1.0, 0.0))
        found = np.sqrt(square).mean(), (share * np.abs(error)).sum(axis=0).mean(), explained.mean()
    rmse, mae, r2 = (float(each) for each in found)
    return {"rmse": rmse, "mae": mae, "r2": r2 if y.shape[0] > 1 else None}
