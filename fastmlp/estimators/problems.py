"""What is minimised: the outputs of a network, fastmlp's loss, and what scikit-learn counts otherwise in it.

scikit-learn's gradient is that of the loss summed over the outputs, and the squared error that it tells has a half in front; fastmlp's
losses are means over the outputs without one. `gradient_factor` is what each row counts so that the gradient is scikit-learn's,
`loss_factor` what the mean of that is multiplied by to give the loss that it tells.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import xlogy

from fastmlp.errors import ConfigError, DataError
from fastmlp.kernels.losses import loss_for, losses_for
from fastmlp.network.layers import checked_loss_parameter
from fastmlp.preprocessing import targets
from fastmlp.settings import TrainingSettings, known_name, nearest

# scikit-learn's names of losses -> fastmlp's, by the output layer.
OF_CLASSES = {
    "log_loss": {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"},
    "squared_error": {"softmax": "mse", "sigmoid": "mse"},
}
OF_NUMBERS = {"squared_error": "mse", "absolute_error": "mae"}


class Problem(NamedTuple):
    """One kind of task: the output layer, its loss and the numbers of that as kernels take them."""

    output: str  # "softmax", "sigmoid" or "identity"
    n_outputs: int
    loss: str
    parameter: float  # of the loss: smoothing, huber_delta or quantile
    gradient_factor: float
    loss_factor: float

    @property
    def form(self) -> str:
        """The key of the loss in kernels.losses.LOSSES."""
        return loss_for(self.loss, self.output).form

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the loss as kernels take them."""
        return targets.loss_numbers(self.loss, self.parameter, None)

    def constants(self, target: np.ndarray) -> np.ndarray | None:
        """Return what is added to the loss of each row (n,): of poisson what depends on the target alone; None for nothing."""
        if self.loss != "poisson":
            return None
        exact = target.astype(np.float64)
        added: np.ndarray = (xlogy(exact, exact) - exact).sum(axis=1)
        return added


def of_classes(n_classes: int, is_multilabel: bool, loss: Any, smoothing: Any) -> Problem:
    """Return the problem of telling classes apart, or of several labels per row."""
    name = known_name(loss, OF_CLASSES) if isinstance(loss, str) else loss
    if name not in OF_CLASSES:
        raise ConfigError(f"loss: expected one of {', '.join(OF_CLASSES)}, got {loss!r:.60}{nearest(str(loss), OF_CLASSES)}")
    output = "sigmoid" if is_multilabel or n_classes <= 2 else "softmax"
    n_outputs = n_classes if is_multilabel or n_classes > 2 else 1
    factor = float(n_outputs) if output == "sigmoid" else 1.0
    parameter = TrainingSettings(label_smoothing=smoothing).label_smoothing
    return Problem(output, n_outputs, OF_CLASSES[name][output], parameter, factor, 1.0)


def of_numbers(n_outputs: int, loss: Any, huber_delta: Any, quantile: Any) -> Problem:
    """Return the problem of predicting numbers; of huber_delta and quantile, a loss takes its own."""
    known = losses_for("identity")
    name = known_name(OF_NUMBERS.get(loss, loss), known) if isinstance(loss, str) else loss
    if name not in known:
        names = [*OF_NUMBERS, *(one for one in known if one not in OF_NUMBERS.values())]
        raise ConfigError(f"loss: expected one of {', '.join(names)}, got {loss!r:.60}{nearest(str(loss), names)}")
    factor, setting = float(n_outputs), loss_for(name, "identity").parameter
    if name == "mse":
        return Problem("identity", n_outputs, name, 0.0, factor / 2.0, 1.0 / factor)
    if name == "poisson":
        return Problem("identity", n_outputs, name, 0.0, factor, 1.0)
    given = {"huber_delta": huber_delta, "quantile": quantile}
    parameter = 0.0 if setting is None else checked_loss_parameter(name, "identity", given[setting])
    return Problem("identity", n_outputs, name, parameter, factor, 1.0 / factor)


def check_counts(problem: Problem, target: np.ndarray) -> None:
    """Raise DataError where a loss of counts would get a negative one."""
    if problem.loss == "poisson" and (wrong := target < 0).any():
        row = int(wrong.any(axis=1).argmax())
        raise DataError(f"y: expected counts or rates, at least 0, with the loss poisson, got {target[row].min():g} in row {row}")
