"""Every setting of a network and of its training, once, and what is derived from the declaration."""

from fastmlp.settings.fields import (
    ACTIVATIONS,
    INITIALIZERS,
    KIND_DEFAULTS,
    LOSSES,
    MEANS_PLAIN,
    OPTIMIZER_DEFAULTS,
    OPTIMIZERS,
    OUTPUTS,
    PLAIN,
    SCHEDULES,
    UNSAID_BEFORE,
    as_text,
    default_text,
    defaults_of,
    is_default,
    kind_of,
    used_by,
)
from fastmlp.settings.names import (
    ALIASES,
    RENAMED,
    activation_hint,
    current_names,
    folded,
    known_name,
    nearest,
    warn_renamed,
)
from fastmlp.settings.records import (
    NetworkSettings,
    TrainingSettings,
    known,
)
from fastmlp.settings.sources import (
    over_defaults,
)
from fastmlp.settings.values import (
    check_value,
)

__all__ = [
    "ACTIVATIONS",
    "ALIASES",
    "INITIALIZERS",
    "KIND_DEFAULTS",
    "LOSSES",
    "MEANS_PLAIN",
    "OPTIMIZERS",
    "OPTIMIZER_DEFAULTS",
    "OUTPUTS",
    "PLAIN",
    "RENAMED",
    "SCHEDULES",
    "UNSAID_BEFORE",
    "NetworkSettings",
    "TrainingSettings",
    "activation_hint",
    "as_text",
    "check_value",
    "current_names",
    "default_text",
    "defaults_of",
    "folded",
    "is_default",
    "kind_of",
    "known",
    "known_name",
    "nearest",
    "over_defaults",
    "used_by",
    "warn_renamed",
]
