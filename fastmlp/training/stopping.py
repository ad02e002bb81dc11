"""When a training ends, and which of its epochs is the best: rules over settings and a few numbers. Knows no network and no clock."""

from typing import NamedTuple

from fastmlp.errors import ConfigError
from fastmlp.settings import FIELDS, TrainingSettings, having, is_on, known

# Why a training ended, as History.stopped and the records of a run say it.
EPOCHS = "epochs"  # all of them are done
PATIENCE = "patience"
TARGET = "target_accuracy"
TIME = "time_budget"
CONVERGED = "converged"  # lbfgs: the gradient is as good as zero, or no step makes the loss smaller
CALLBACK = "callback"


class Best(NamedTuple):
    """The best epoch so far: its number, 0 before there was one, and the value that it is judged by."""

    epoch: int = 0
    value: float | None = None


def better(best: Best, epoch: int, value: float | None, monitor: str) -> Best:
    """Return what is the best epoch after `epoch` gave `value`: a smaller loss, a larger accuracy. A value that is no number is never."""
    if value is None or value != value:
        return best
    if best.value is None or (value < best.value if monitor == "loss" else value > best.value):
        return Best(epoch, value)
    return best


def reason_to_stop(
    settings: TrainingSettings, epochs: int, best_epoch: int, accuracy: float | None, seconds: float, has_converged: bool = False
) -> str | None:
    """Return why a training ends now, None where it goes on.

    epochs: those done; best_epoch: the number of the best of them; accuracy: the held-out rows' after the last of them; seconds: spent
    on steps; has_converged: whether the optimiser has nothing left to do.
    """
    target, patience, budget = settings.target_accuracy, settings.patience, settings.time_budget
    if target is not None and accuracy is not None and accuracy >= target:
        return TARGET
    if has_converged:
        return CONVERGED
    if epochs >= known(settings.epochs):
        return EPOCHS
    if patience is not None and epochs - best_epoch >= patience:
        return PATIENCE
    if budget is not None and seconds >= budget:
        return TIME
    return None


def needs_held_out(settings: TrainingSettings) -> bool:
    """Return whether a training ends otherwise where settings judge its epochs by held-out rows."""
    return any(name != "monitor" for name in _judging(settings))


def _judging(settings: TrainingSettings) -> list[str]:
    """Return the names of the settings given that judge epochs by held-out rows; what it is that they judge by comes last."""
    given = [name for name in having("judges") if is_on(FIELDS[name], getattr(settings, name))]
    return sorted(given, key=lambda name: name == "monitor")


def check(settings: TrainingSettings, holds_out: bool, output: str) -> None:
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
