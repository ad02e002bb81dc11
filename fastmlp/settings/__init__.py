"""Every setting of a network and of its training, once, and what is derived from the declaration."""

from fastmlp.settings.fields import (
    ACTIVATIONS,
    BY_WIDTH,
    CHOICES,
    CLAIM,
    COMMAND,
    COURSE,
    FIELDS,
    HELD_OUT,
    HELP,
    INITIALIZER_DEFAULTS,
    INITIALIZERS,
    KIND_DEFAULTS,
    LOSS_DEFAULTS,
    LOSSES,
    MEANS_PLAIN,
    NEVER,
    ON,
    OPTIMIZER_DEFAULTS,
    OPTIMIZERS,
    OUTPUTS,
    PAGE,
    PLAIN,
    ROWS,
    SCHEDULE_DEFAULTS,
    SCHEDULES,
    STEPPING,
    UNSAID_BEFORE,
    as_text,
    decider_against,
    default_text,
    defaults_of,
    having,
    is_default,
    is_on,
    judges_epochs,
    kind_of,
    shown_in,
    used_by,
    used_with,
)
from fastmlp.settings.metrics import LOSS, METRICS, OF_CLASSES, OF_NUMBERS, Metric, metrics_of
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
    record_refuses_unknown,
    refuses_unknown,
)
from fastmlp.settings.sources import (
    over_defaults,
    settings_in_effect,
)
from fastmlp.settings.values import (
    as_path,
    check_value,
    is_number,
    items_of,
    whole_number,
)

__all__ = ["NetworkSettings", "TrainingSettings"]  # the others are for files of this package
