"""Which rule of the kernels an optimizer asks for, and whether its numbers can be those of a rule."""

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.settings import TrainingSettings


def update_rule(settings: TrainingSettings, dtype: np.dtype) -> str:
    """Return the name of the kernels' update that resolved settings ask for.

    Raises ConfigError for momentum that Nesterov's rule lacks, and for numbers that the type of the parameters cannot hold.
    """
    name = str(settings.optimizer)
    check_range(settings, dtype)
    if settings.nesterov and not settings.momentum:
        raise ConfigError("nesterov: expected a momentum above 0 with it, got 0; set momentum, for example to 0.9")
    if name == "rmsprop":
        return "rmsprop_momentum" if settings.momentum else "rmsprop"
    if name == "lbfgs":
        raise ConfigError("optimizer: expected a rule for single steps, got 'lbfgs', which train alone has; use adam")
    if name != "sgd":
        return name
    if not settings.momentum and not settings.weight_decay:
        return "sgd"
    return "nesterov" if settings.nesterov else "momentum"


def check_range(settings: TrainingSettings, dtype: np.dtype) -> None:
    """Raise ConfigError for a number that the type of the parameters would make 0 or infinite."""
    largest = float(np.finfo(dtype).max)
    for name in ("learning_rate", "weight_decay", "l1", "initial_accumulator_value"):
        value = getattr(settings, name)
        if value is not None and (not value <= largest or (value > 0 and dtype.type(value) == 0)):
            raise ConfigError(f"{name}: expected a number that {dtype} can hold, got {value:g}")
    for name in ("epsilon", "clip_value", "clip_norm"):
        value = getattr(settings, name)
        if value is not None and dtype.type(min(value, largest)) == 0:
            raise ConfigError(f"{name}: expected a number that {dtype} can hold, got {value:g}; use at least 1e-38")


def limits_gradient(settings: TrainingSettings) -> bool:
    """Return whether the gradient is clipped, or the weights pulled by l1, before the rule gets it."""
    return settings.clip_value is not None or settings.clip_norm is not None or settings.l1 > 0
