"""The keywords of `train` and `train_epochs`: every training setting, some in a richer form than text and numbers."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar, get_args

from fastmlp.settings import TrainingSettings
from fastmlp.training.optimizers import Optimizer

F = TypeVar("F", bound=Callable[..., Any])


class TrainingKeywords(TypedDict, total=False):
    """The settings of fastmlp.settings.TrainingSettings, which describes them, for type checkers and editors.

    Written out, as these read no program; `untold` says where the declaration has something else.
    """

    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    optimizer: str | Optimizer | None
    momentum: float | None
    nesterov: bool
    beta1: float | None
    beta2: float | None
    epsilon: float | None
    initial_accumulator_value: float | None
    clip_value: float | None
    clip_norm: float | None
    average: str | None
    average_decay: float | None
    average_start: float | None
    schedule: str | None
    warmup_epochs: float
    gamma: float | None
    step_size: float | None
    end_factor: float | None
    weight_decay: float | None
    l1: float
    max_norm: float | None
    dropout: float | tuple[float, ...]
    input_dropout: float
    input_noise: float
    label_smoothing: float
    loss: str | None
    huber_delta: float | None
    quantile: float | None
    class_weight: str | Mapping[int, float] | None
    reduction: str
    normalize: str | None
    normalize_target: str | None
    per_feature: bool | None
    validation: int | float | tuple[Any, Any] | None
    holdout: str | None
    split_seed: int
    zero_skipping: str
    kernels: str
    threads: int | None
    seed: int
    metric: str
    patience: int | None
    restore_best: bool
    target_accuracy: float | None
    time_budget: float | None
    augment_shift: float
    augment_rotation: float
    augment_scale: float
    augment_shear: float
    augment_elastic: float
    augment_elastic_sigma: float
    augment_flip: bool


# What keywords may be besides: records, rows of one's own, weights by class.
RICHER: dict[str, Any] = {"optimizer": Optimizer, "class_weight": Mapping[int, float], "validation": tuple[Any, Any]}


def untold() -> list[str]:
    """Return the lines that TrainingKeywords lacks, or has otherwise than the declaration of the settings."""
    written = {name: frozenset(get_args(kind) or (kind,)) for name, kind in TrainingKeywords.__annotations__.items()}
    missing = []
    for field in dataclasses.fields(TrainingSettings):
        kinds: Any = field.type if field.name not in RICHER else field.type | RICHER[field.name]
        if written.pop(field.name, None) != frozenset(get_args(kinds) or (kinds,)):
            missing.append(f"{field.name}: {kinds.__name__ if isinstance(kinds, type) else kinds}")
    return missing + [f"no {name}" for name in written]


def takes_settings(function: F, without: tuple[str, ...] = ()) -> F:
    """Show the settings with their defaults in the signature of a function that takes them as `**settings`, for help() and editors.

    `without`: those that it does not take.
    """
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    settings = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=TrainingKeywords.__annotations__.get(field.name, field.type),
        )
        for field in dataclasses.fields(TrainingSettings)
        if field.name not in without
    ]
    function.__signature__ = signature.replace(parameters=own + settings)  # type: ignore[attr-defined]
    return function
