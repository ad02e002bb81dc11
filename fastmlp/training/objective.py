"""Which loss a training minimises, and whether it goes with the network, the settings and the targets. Reads, and changes nothing."""

import numpy as np

from fastmlp.errors import ConfigError, DataError, warn
from fastmlp.kernels.losses import SMOOTHING, loss_for, loss_names, losses_for, outputs_for
from fastmlp.network import Network
from fastmlp.settings import TrainingSettings, known_name, nearest

FARTHEST = 200.0  # times 1 that counts may be on average


def checked_loss(name: str | None, network: Network) -> str:
    """Return the loss of that name, None: the one that the network has; raise ConfigError where there is none, or it has another output."""
    if name is None:
        return network.loss
    name = known_name(name, loss_names())
    outputs = outputs_for(name)
    if not outputs:
        hint = nearest(name, loss_names()) or "; register one of your own with @fastmlp.loss"
        raise ConfigError(f"loss: expected one of {', '.join(loss_names())}, got {name!r:.60}{hint}")
    if network.output not in outputs:
        fitting = ", ".join(losses_for(network.output))
        raise ConfigError(f"loss: {name!r} goes with {' or '.join(outputs)} output, this network has {network.output}; use {fitting}")
    return name


def loss_parameter(loss: str, output: str, settings: TrainingSettings, dtype: np.dtype) -> float:
    """Return the number that a loss has besides, 0 where it has none; raise ConfigError for a smoothing that it does not take."""
    name = loss_for(loss, output).parameter
    if settings.label_smoothing > 0 and name != SMOOTHING:
        raise ConfigError(
            f"label_smoothing: expected 0 with the loss {loss} of {output} output, got {settings.label_smoothing:g}; only softmax and "
            "sigmoid outputs, with cross-entropy or mse, have labels to smooth"
        )
    parameter = float(getattr(settings, name)) if name is not None else 0.0
    with np.errstate(over="ignore", under="ignore"):
        held = float(dtype.type(parameter))
    if not np.isfinite(held) or (held == 0) != (parameter == 0):
        raise ConfigError(f"{name}: expected a number that {dtype} can hold, got {parameter:g}")
    return held


def warn_of_counts(loss: str, network: Network, target: np.ndarray) -> None:
    """Warn where a loss of counts begins so far from their mean that a training will hardly get there; target (n, T).

    Outputs are logarithms of rates.
    """
    if loss_for(loss, network.output).link != "log" or network.input_scaling is not None or network.biases[-1].any():
        return
    mean = float(target.mean(dtype=np.float64))
    if mean and not 1 / FARTHEST <= mean <= FARTHEST:
        warn(
            f"y: counts are {mean:.2g} on average, where the outputs of a network with the loss {loss} begin at rates of about 1; begin at "
            "their mean: network.biases[-1][:] = np.log(y.mean(axis=0)), or divide y by it",
        )


def check_counts(loss: str, output: str, target: np.ndarray, name: str) -> None:
    """Raise DataError where a loss of counts would get a negative one."""
    if loss_for(loss, output).link == "log" and (wrong := target < 0).any():
        row, column = np.argwhere(wrong)[0]
        found = target[row, column]
        raise DataError(f"{name}: expected counts or rates, at least 0, with the loss {loss}, got {found:g} in row {row}")
