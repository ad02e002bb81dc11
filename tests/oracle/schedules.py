"""The learning rate of every step, in Python numbers, from the definitions alone. Imports nothing of fastmlp."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Schedule(NamedTuple):
    """A schedule and its numbers; lengths in epochs."""

    name: str = "constant"
    learning_rate: float = 0.2
    warmup_epochs: float = 0.0
    gamma: float = 0.1
    step_size: float = 10.0
    end_factor: float = 0.0


def rate(schedule: Schedule, step: int, steps_per_epoch: int, epochs: int, reductions: int = 0) -> float:
    """Return the learning rate of step 0, 1, …; `reductions`: how often plateau has lowered it so far."""
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return schedule.learning_rate * (step + 1) / warmup
    done, whole = step - warmup, max(epochs * steps_per_epoch - warmup, 1)
    passed = done / steps_per_epoch / schedule.step_size
    share = done / whole
    final, decay = schedule.end_factor, schedule.gamma
    if schedule.name == "one_cycle":
        low, high, part = (1.0 / 25.0, 1.0, share / 0.3) if share < 0.3 else (1.0, final, (share - 0.3) / 0.7)
        factor = low + (high - low) * math.sin(0.5 * math.pi * part) ** 2
    else:
        factor = {
            "constant": 1.0,
            "step": decay ** math.floor(passed),
            "exponential": math.exp(passed * math.log(decay)),
            "linear": (1.0 - share) + final * share,
            "cosine": final + (1.0 - final) * math.cos(0.5 * math.pi * share) ** 2,
            "inverse": 1.0 / (1.0 + decay * passed),
            "plateau": decay**reductions,
        }[schedule.name]
    return schedule.learning_rate * factor


def reductions_on_plateau(values: Sequence[float], patience: float) -> int:
    """Return how often the rate has been lowered after epochs with these values, of which smaller ones are better.

    That is whenever more than `patience` epochs in a row, since the last better one or the last reduction, were no better than the best.
    """
    count, waited = 0, 0
    for index, value in enumerate(values):
        waited = 0 if value < min(values[:index], default=math.inf) else waited + 1
        if waited > patience:
            count, waited = count + 1, 0
    return count
