"""Scaling of inputs: fitted on the rows trained on, kept by the network, applied by the first layer's kernel."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastmlp.errors import ConfigError, DataError
from fastmlp.settings import record_refuses_unknown, warn_renamed

BLOCK_ROWS = 4096  # rows looked at or converted at a time, so that no second copy of a data set is made
BYTE_SCALE = 255.0
FURTHEST = 2.0**-13  # std that the rounding of a mean may be: in float32 a mean of 1024 std, 2000 ± 2
FEWEST_STEPS = 256  # of a type of numbers within one standard deviation: with fewer, their rounding is worth a word
SMALLEST_SQUARE = 1e-280  # of a difference, of which float64 has all digits
MOST_SEEN = 1000  # rows looked at before a warning
FEW, SQUEEZED = 0.01, 20.0  # a part of the rows that makes a std so many times as large as that of all others
SPREAD = 0.5  # mean distance from the mean in stds: of most columns it is more, 0.8 of normal and 0.87 of uniform ones
KINDS = ("none", "scale", "standardize")
BYTES, FRACTIONS, NUMBERS = TRAINED_ON = ("bytes", "fractions", "numbers")


@record_refuses_unknown
class InputScaling(NamedTuple):
    """What happens to an input: bytes v/255 unless kind is "none", then (v - mean) / std where kind is "standardize".

    mean, std: float64, () for one pair for all features, (K,) for one per feature. trained_on: what the rows were, "bytes", "fractions"
    (floats from 0 to 1) or "numbers"; None where it is not known. Bytes are numbers like others to a network trained on numbers.
    """

    kind: str
    mean: np.ndarray
    std: np.ndarray
    trained_on: str | None = None

    @property
    def scales_bytes(self) -> bool:
        """Whether the rows trained on were bytes, which were scaled to 0…1."""
        return self.trained_on == BYTES and self.kind != "none"

    @property
    def byte_scale(self) -> float:
        """What bytes are divided by before they are as other numbers are."""
        return BYTE_SCALE if self.kind != "none" and self.trained_on != NUMBERS else 1.0

    @property
    def deviation(self) -> np.ndarray:
        """The `std` by its name in version 0.1.0; warns."""
        warn_renamed("InputScaling.deviation", "InputScaling.std")
        return self.std

    @property
    def per_feature(self) -> bool:
        """Whether each feature has its own mean and std."""
        return self.mean.ndim == 1

    def offset(self, n_features: int, dtype: np.dtype) -> np.ndarray | None:
        """Return (K,) float64: what is subtracted from floats, in float64, before they are rounded to `dtype`; None for nothing.

        The mean of features that are far from 0 beside their std, such as seconds since 1970; 0 for the others.
        """
        far = np.abs(self.mean) * float(np.finfo(dtype).eps) > FURTHEST * self.std
        return np.broadcast_to(np.where(far, self.mean, 0.0), n_features) if self.kind == "standardize" and far.any() else None

    def scale_and_shift(self, n_features: int, dtype: np.dtype, is_bytes: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return (K,) arrays such that the normalised input is v * scale + shift, v less the `offset` where it is no byte."""
        factor = 1.0 / self.byte_scale if is_bytes else 1.0
        scale = np.broadcast_to(factor / self.std, n_features).astype(dtype)
        offset = None if is_bytes else self.offset(n_features, dtype)
        shift = np.broadcast_to((-self.mean if offset is None else offset - self.mean) / self.std, n_features).astype(dtype)
        return scale, shift


def told(values: Any) -> str:
    """Return what something is that should be another array: its type and shape, in one line."""
    return f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__


def check_numbers(what: str, name: str, values: Any, *shapes: tuple[int, ...]) -> None:
    """Raise ConfigError, about the `name` of `what`, where values are no finite float64 array of one of the shapes."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float64 or values.shape not in shapes:
        raise ConfigError(f"{what}: expected {name} to be float64 of shape {' or '.join(map(str, shapes))}, got {told(values)}")
    if not np.isfinite(values).all():
        raise ConfigError(f"{what}: expected {name} to be finite, got NaN or inf")


def checked_scaling(scaling: Any, n_features: int, dtype: np.dtype) -> InputScaling:
    """Return a scaling of inputs that a network can have; ConfigError for one whose numbers are of another shape, or cannot be used."""
    if not isinstance(scaling, InputScaling):
        raise ConfigError(f"input_scaling: expected an InputScaling, got {type(scaling).__name__}")
    if scaling.kind not in KINDS:
        raise ConfigError(f"input_scaling: expected its kind to be one of {', '.join(KINDS)}, got {scaling.kind!r:.60}")
    if scaling.trained_on not in (None, *TRAINED_ON):
        raise ConfigError(f"input_scaling: expected trained_on to be one of {', '.join(TRAINED_ON)}, got {scaling.trained_on!r:.60}")
    for name, values in (("mean", scaling.mean), ("std", scaling.std)):
        check_numbers("input_scaling", name, values, (), (n_features,))
    if scaling.mean.shape != scaling.std.shape or (scaling.std <= 0).any():
        raise ConfigError("input_scaling: expected positive stds of the same shape as the means, got others")
    if scaling.kind != "standardize" and (scaling.mean.any() or (scaling.std != 1).any()):
        raise ConfigError(f"input_scaling: expected mean 0 and std 1 for {scaling.kind!r}, got others")
    with np.errstate(all="ignore"):
        # of bytes, nothing is subtracted before they are scaled
        factors = [scaling.scale_and_shift(n_features, dtype, is_bytes) for is_bytes in (False, True)]
    if not np.isfinite(factors).all():
        raise ConfigError(f"input_scaling: expected means and stds that {dtype} can hold, got some too large or too small")
    return scaling


def fit(
    kind: str, rows: np.ndarray, per_feature: bool, numbers: np.ndarray | None = None, dtype: np.dtype | None = None
) -> InputScaling:  # fmt: skip
    """Return the scaling of a kind for training rows (n, K), or for those with the numbers (m,). A std of 0 counts as 1.

    dtype: the type that the rows are computed with, by default their own.
    """
    if kind != "standardize" or rows.size == 0:
        return InputScaling(kind, np.zeros(()), np.ones(()))
    is_bytes = rows.dtype == np.uint8
    blocks = _Blocks(rows, numbers)
    mean, std = _byte_moments(blocks) if is_bytes and not per_feature else _moments(blocks, axis=0 if per_feature else None)
    if is_bytes:
        mean, std = mean / BYTE_SCALE, std / BYTE_SCALE
    std = np.where(std > 0, std, 1.0)
    smallest = 0.0 if is_bytes else 1.0 / float(np.finfo(dtype or rows.dtype).max)  # a std's inverse has to fit into the rows' type
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > smallest).all()):
        raise DataError("x: expected numbers that can be standardized, got some too large or too close together; use normalize='none'")
    return InputScaling(kind, np.asarray(mean), np.asarray(std))


def exact_scaling(rows: np.ndarray, dtype: np.dtype, per_feature: bool, numbers: np.ndarray | None = None) -> InputScaling | None:
    """Return the scaling "standardize" fitted to rows (n, K) as they came, where `dtype` cannot hold them; None where it can.

    numbers (m,): of the rows to fit to; None: all.
    """
    if rows.size == 0 or np.can_cast(rows.dtype, dtype):
        return None
    found = fit("standardize", rows, per_feature, numbers, dtype)
    return found if found.offset(rows.shape[1], dtype) is not None else None


def kind_of_rows(rows: np.ndarray) -> str:
    """Return what rows (n, K) are, as InputScaling.trained_on has it."""
    if rows.dtype == np.uint8:
        return BYTES
    return FRACTIONS if all(block.min() >= 0 and block.max() <= 1 for block in _Blocks(rows, None)) else NUMBERS


class _Blocks:
    """Rows (n, K), or those with the numbers (m,), BLOCK_ROWS at a time: no copy of all of them is made."""

    def __init__(self, rows: np.ndarray, numbers: np.ndarray | None) -> None:
        self._rows, self._numbers = rows, numbers
        self.count = rows.shape[0] if numbers is None else numbers.size

    def __iter__(self) -> Iterator[np.ndarray]:
        for first in range(0, self.count, BLOCK_ROWS):
            part = slice(first, first + BLOCK_ROWS)
            yield self._rows[part if self._numbers is None else self._numbers[part]]


def _byte_moments(blocks: _Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation from the counts of the 256 values: exact sums, one pass."""
    counts = np.zeros(256)
    for block in blocks:
        counts += np.bincount(block.ravel(), minlength=256)
    values = np.arange(256)
    mean = (counts * values).sum() / counts.sum()
    return np.asarray(mean), np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum())


def _moments(blocks: _Blocks, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation in float64, in two passes over blocks.

    Numbers are taken relative to the first row: of a constant column nothing is left, not even a rounding error.
    """
    first = next(iter(blocks))[0]
    count = blocks.count * (1 if axis == 0 else first.size)
    pivot = first.astype(np.float64) if axis == 0 else np.float64(first[0])
    with np.errstate(over="ignore", invalid="ignore"):
        mean = sum((block - pivot).sum(axis=axis) for block in blocks) / count
        square = np.asarray(sum(((block - pivot - mean) ** 2).sum(axis=axis) for block in blocks))
        if (lost := square < SMALLEST_SQUARE).any():  # of differences whose squares are too small for float64
            farthest = np.max([np.abs(block - pivot - mean).max(axis=axis) for block in blocks], axis=0)
            unit = np.where(lost & (farthest > 0), farthest, 1.0)
            if (unit != 1).any():
                square = np.asarray(sum((((block - pivot - mean) / unit) ** 2).sum(axis=axis) for block in blocks))
                return np.asarray(pivot + mean), unit * np.sqrt(square / count)
        return np.asarray(pivot + mean), np.sqrt(np.asarray(square) / count)


def spread(count: int, most: int) -> np.ndarray:
    """Return the numbers of up to `most` of `count` rows, at even distances from the first to the last."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def steps_too_coarse(values: np.ndarray, dtype: np.dtype) -> tuple[int, float, float, float] | None:
    """Return the first column of values (n, K) that a type of numbers cannot hold: its number, mean, std and the step of the type there.

    Told from up to MOST_SEEN rows; None where there is none. One that has only one value is none: whether it had more cannot be told.
    """
    seen = values if len(values) <= MOST_SEEN else values[spread(len(values), MOST_SEEN)]
    if seen.dtype == np.uint8 or seen.size == 0:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(np.abs(seen).max(axis=0).astype(dtype)).astype(np.float64)
        # most columns are told without their moments: n numbers with a range r have a std of r / sqrt(2 n) or more
        if seen.dtype.kind == "f":
            least_std = (seen.max(axis=0) - seen.min(axis=0)) / np.sqrt(2.0 * len(seen))
            if not ((least_std > 0) & (step * FEWEST_STEPS > least_std)).any():
                return None
        mean, std = _moments(_Blocks(seen, None), axis=0)
        coarse = np.flatnonzero((std > 0) & (step * FEWEST_STEPS > std) & np.isfinite(step))
    if coarse.size == 0:
        return None
    column = int(coarse[0])
    return column, float(mean[column]), float(std[column]), float(step[column])


class Squeezed(NamedTuple):
    """A column whose standard deviation a few rows make: their values, once standardised, leave the others next to nothing to differ by."""

    column: int
    row: int  # the farthest one
    value: float
    std: float
    of_others: float  # their standard deviation


def squeezed(values: np.ndarray, numbers: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Squeezed | None:
    """Return the first squeezed column of values (n, K), of which the rows with the numbers (m,) were standardised; None: there is none.

    mean, std (K,): of these rows. What the others vary by is told from up to MOST_SEEN of them. A column most of whose values are alike, as
    those of rare categories are, is none.
    """
    if numbers.size < 4 or values.dtype.kind not in "iuf":
        return None
    seen = values[numbers[spread(numbers.size, MOST_SEEN)]]
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero((np.abs(seen - mean).mean(axis=0) < SPREAD * std) | (len(seen) < 1 / FEW))
    for column in suspects.tolist():
        ordered = np.sort((seen[:, column].astype(np.float64) - mean[column]) / std[column])
        quarter = len(ordered) // 4
        if ordered[quarter] == ordered[-1 - quarter]:
            continue
        nearest = np.argsort(np.abs(ordered - ordered[len(ordered) // 2]))[: -max(1, round(FEW * len(ordered)))]
        if SQUEEZED * (of_others := float(ordered[nearest].std())) < 1.0:
            of_column = values[numbers, column].astype(np.float64)
            farthest = int(np.abs(of_column - mean[column]).argmax())
            return Squeezed(column, int(numbers[farthest]), float(of_column[farthest]), float(std[column]), of_others * float(std[column]))
    return None
