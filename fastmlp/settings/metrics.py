"""What networks are judged by: the names of metrics, what they go with, and which end of them is the better one."""

from collections.abc import Mapping
from typing import NamedTuple


class Metric(NamedTuple):
    """A metric: how it is written for people, whether more is better, and whether it is a part of one, said in percent."""

    label: str
    more_is_better: bool
    is_share: bool = False


# The first is the loss trained with, which every network has; the others are those of networks that predict classes, or numbers.
LOSS = {"loss": Metric("loss", False)}
OF_CLASSES = {
    "accuracy": Metric("accuracy", True, True),
    "balanced_accuracy": Metric("balanced accuracy", True, True),
    "auc": Metric("AUC", True),
    "f1": Metric("F1", True),
    "log_loss": Metric("log-loss", False),
}
OF_NUMBERS = {
    "r2": Metric("R²", True),
    "rmse": Metric("RMSE", False),
    "mae": Metric("MAE", False),
    "pinball": Metric("pinball loss", False),
}
METRICS: Mapping[str, Metric] = LOSS | OF_CLASSES | OF_NUMBERS


def metrics_of(output: str) -> Mapping[str, Metric]:
    """Return the metrics of networks with this output."""
    return LOSS | (OF_NUMBERS if output == "identity" else OF_CLASSES)
