"""The keywords of `train` and `train_epochs`: every training setting, some in a richer form than text and numbers."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar

from fastmlp.settings import TrainingSettings
from fastmlp.training.optimizers import Optimizer

F = TypeVar("F", bound=Callable[..., Any])


class TrainingKeywords(TypedDict, total=False):
    """The settings of fastmlp.settings.TrainingSettings, which describes them; a test compares the names."""

    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    optimizer: str | Optimizer | None
    momentum: float | None
    nesterov: bool
    beta1: float | None
    beta2: float | None
    epsilon: float | None
    clip_value: float | None
    clip_norm: float | None
    average: str
    average_decay: float
    average_start: float
    schedule: str
    warmup_epochs: float
    gamma: float
    step_size: float
    end_factor: float
    weight_decay: float | None
    l1: float
    max_norm: float | None
    dropout: float | tuple[float, ...]
    input_dropout: float
    input_noise: float
    label_smoothing: float
    loss: str | None
    huber_delta: float
    quantile: float
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
    monitor: str
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


def takes_settings(function: F, without: tuple[str, ...] = ()) -> F:
    """Show the settings with their defaults in the signature of a function that takes them as `**settings`, for help() and editors.

    `without`: those that it does not take.
    """
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    settings = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=TrainingKeywords.__annotations__[field.name]
        )
        for field in dataclasses.fields(TrainingSettings)
        if field.name not in without
    ]
    function.__signature__ = signature.replace(parameters=own + settings)  # type: ignore[attr-defined]
    return function
