"""fastmlp: train multi-layer perceptrons on CPUs, with compiled explicit loops.

The public names are loaded on first use, so that `import fastmlp` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "fastmlp.data.dataset",
    "load_dataset": "fastmlp.data.dataset",
    "Network": "fastmlp.network",
    "Epoch": "fastmlp.training.history",
    "History": "fastmlp.training.history",
    "Progress": "fastmlp.training.history",
    "TrainingState": "fastmlp.training.state",
    "make_plan": "fastmlp.training.plan",
    "Trainer": "fastmlp.training.trainer",
    "OnlineTrainer": "fastmlp.training.online",
    "load_table": "fastmlp.training.load_table",
    "open_table": "fastmlp.training.tables_on_disk",
    "train": "fastmlp.training.train",
    "train_ensemble": "fastmlp.search.ensemble",
    "train_epochs": "fastmlp.training.train",
    "find_learning_rate": "fastmlp.training.lr_find",
    "LearningRateFinderResult": "fastmlp.training.rate_curve",
    "activation": "fastmlp.network.formulas",
    "loss": "fastmlp.network.formulas",
    "check_gradient": "fastmlp.inspect.gradient_check",
    "SGD": "fastmlp.training.optimizers",
    "RMSprop": "fastmlp.training.optimizers",
    "Adagrad": "fastmlp.training.optimizers",
    "Adam": "fastmlp.training.optimizers",
    "AdamW": "fastmlp.training.optimizers",
    "NAdam": "fastmlp.training.optimizers",
    "LBFGS": "fastmlp.training.optimizers",
    "Lion": "fastmlp.training.optimizers",
    "NetworkSettings": "fastmlp.settings",
    "TrainingSettings": "fastmlp.settings",
    "MLPClassifier": "fastmlp.estimators",
    "MLPRegressor": "fastmlp.estimators",
    "FastmlpError": "fastmlp.errors",
    "ConfigError": "fastmlp.errors",
    "DataError": "fastmlp.errors",
    "DatasetUnavailable": "fastmlp.errors",
    "InputNotFound": "fastmlp.errors",
    "MissingExtra": "fastmlp.errors",
    "MissingName": "fastmlp.errors",
    "ModelFileError": "fastmlp.errors",
    "NotEnoughMemory": "fastmlp.errors",
    "OutputError": "fastmlp.errors",
    "RunInUse": "fastmlp.errors",
    "ScoreMissed": "fastmlp.errors",
    "TrainingError": "fastmlp.errors",
    "WriteError": "fastmlp.errors",
}

# Public names of version 0.1.0 -> their names now; accepted with a warning for one version.
_RENAMED = {"Stepper": "OnlineTrainer", "State": "TrainingState", "RateSweep": "LearningRateFinderResult"}

# Public modules, loaded on first use.
_MODULES = ("callbacks", "errors", "kernels", "model_selection")

# Optional packages -> the names that need them. `from fastmlp import *` takes these where the package is installed.
_NEED = {"sklearn": ("MLPClassifier", "MLPRegressor", "model_selection")}


def _is_installed(package: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a finder that refuses, a module that somebody put in its place
        return False


_MISSING = {name for package, names in _NEED.items() if not _is_installed(package) for name in names}
__all__ = [  # noqa: PLE0604
    "__version__",
    *(name for name in (*_MODULES, *_HOMES) if name not in _MISSING),
]

if TYPE_CHECKING:
    from fastmlp import callbacks, errors, kernels, model_selection
    from fastmlp.data.dataset import Dataset, load_dataset
    from fastmlp.errors import (
        ConfigError,
        DataError,
        DatasetUnavailable,
        FastmlpError,
        InputNotFound,
        MissingExtra,
        MissingName,
        ModelFileError,
        NotEnoughMemory,
        OutputError,
        RunInUse,
        ScoreMissed,
        TrainingError,
        WriteError,
    )
    from fastmlp.estimators import MLPClassifier, MLPRegressor
    from fastmlp.inspect.gradient_check import check_gradient
    from fastmlp.network import Network
    from fastmlp.network.formulas import activation, loss
    from fastmlp.search.ensemble import train_ensemble
    from fastmlp.settings import NetworkSettings, TrainingSettings
    from fastmlp.training.history import Epoch, History, Progress
    from fastmlp.training.load_table import load_table
    from fastmlp.training.lr_find import find_learning_rate
    from fastmlp.training.online import OnlineTrainer
    from fastmlp.training.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
    from fastmlp.training.plan import make_plan
    from fastmlp.training.rate_curve import LearningRateFinderResult
    from fastmlp.training.state import TrainingState
    from fastmlp.training.tables_on_disk import open_table
    from fastmlp.training.train import train, train_epochs
    from fastmlp.training.trainer import Trainer


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        from fastmlp.settings import warn_renamed

        warn_renamed(f"fastmlp.{name}", f"fastmlp.{_RENAMED[name]}")
        return __getattr__(_RENAMED[name])
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        try:
            value = importlib.import_module(f"fastmlp.{name}")
        except ImportError as error:  # an attribute that is not there, so that hasattr says no
            if name not in _MISSING:
                raise
            from fastmlp.errors import MissingName

            raise MissingName(str(error)) from None
    else:
        raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *_HOMES})
