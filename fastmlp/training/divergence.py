"""What to try where a loss is no longer finite, what helps most first; of what is not in use already."""

from typing import NamedTuple

import numpy as np

from fastmlp.preprocessing.inputs import spread
from fastmlp.settings import TrainingSettings

SAMPLE_ROWS = 1000
LARGE_INPUTS = 4.0  # root of the mean square of an input, of which standardising leaves 1


class Circumstances(NamedTuple):
    """Under which a training diverged."""

    inputs_are_large: bool  # see `are_large`
    is_full_batch: bool  # L-BFGS, which has no rate
    in_first_epoch: bool
    kept_epoch: int | None  # whose weights the network has from now on
    began_so: bool = False  # the weights were no numbers before the first step


def are_large(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> bool:
    """Return whether some input (K,) of rows x (n, K), as the first layer gets it, is usually far from 0: a step then is far too long."""
    sample = x[spread(x.shape[0], SAMPLE_ROWS)]
    with np.errstate(over="ignore"):
        return bool((np.square(sample.astype(np.float64) * scale + shift).mean(axis=0) > LARGE_INPUTS**2).any())


def message(where: str, settings: TrainingSettings, found: Circumstances) -> str:
    """Return what to say of a training that diverged there."""
    if found.began_so:
        return f"training diverged: expected finite weights to begin with, got NaN or inf, seen in {where}; make a new Network"
    advice = []
    are_large = settings.normalize != "standardize" and found.inputs_are_large
    if are_large:
        advice.append("normalize='standardize' with a new Network, as the inputs are far from 0")
    rate = settings.learning_rate
    advice.append("another optimizer" if rate is None else f"a learning_rate below {rate:g}")
    if settings.reduction == "sum":
        advice[-1] += " (reduction='sum' adds up the gradients of a batch)"
    if settings.clip_norm is None and settings.clip_value is None and not found.is_full_batch:
        advice.append("clip_norm=1")
    if settings.warmup_epochs == 0 and found.in_first_epoch and not found.is_full_batch:
        advice.append("warmup_epochs=1")
    if settings.schedule == "constant" and not found.in_first_epoch and not found.is_full_batch:
        advice.append("schedule='cosine'")
    if not advice or (settings.normalize == "none" and not are_large):
        advice.append("normalize='standardize'")
    kept = f"; the network has the weights of epoch {found.kept_epoch}" if found.kept_epoch is not None else ""
    return (
        f"training diverged: expected a finite loss, got NaN or inf in {where}; "
        f"try {', '.join(advice[:-1])}{' or ' if advice[1:] else ''}{advice[-1]}{kept}"
    )
