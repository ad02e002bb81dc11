"""When a training ends, and which of its epochs is the best: rules over settings and a few numbers. Knows no network and no clock."""

from fastmlp.settings import METRICS, TrainingSettings, known
from fastmlp.training.state import Best

# Why a training ended, as History.stopped and the records of a run say it.
EPOCHS = "epochs"  # all of them are done
PATIENCE = "patience"
TARGET = "target_accuracy"
TIME = "time_budget"
CONVERGED = "converged"  # lbfgs: the gradient is as good as zero, or no step makes the loss smaller
CALLBACK = "callback"


def better(best: Best, epoch: int, value: float | None, metric: str) -> Best:
    """Return what is the best epoch after `epoch` gave `value`: a smaller loss, a larger accuracy. A value that is no number is never."""
    if value is None or value != value:
        return best
    if best.value is None or (value > best.value if METRICS[metric].more_is_better else value < best.value):
        return Best(epoch, value)
    return best


def reason_to_stop(
    settings: TrainingSettings, epochs: int, best_epoch: int, accuracy: float | None, seconds: float, has_converged: bool = False
) -> str | None:
    """Return why a training ends now, None where it goes on.

    epochs: those done; best_epoch: the number of the best of them; accuracy: the held-out rows' after the last of them; seconds: spent
    on steps; has_converged: whether the optimizer has nothing left to do.
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
