"""Which value of a setting counts, where several are known: what was given, over what a recipe or a data set prefers."""

from collections.abc import Mapping
from typing import Any

from fastmlp.settings.fields import MEANS_PLAIN, OPTIMIZER_DEFAULTS, PLAIN, used_by
from fastmlp.settings.records import of_optimizers


def over_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that were given, over those that its data set or its recipe prefers.

    Where another optimizer was given, what they say for their own does not hold: a learning rate of sgd is none of adam.
    """
    kept = dict(defaults)
    before = defaults.get("optimizer") or (PLAIN if any(name in defaults for name in MEANS_PLAIN) else None)
    now = given.get("optimizer") or before
    if now != before:
        own = {field.name for field in of_optimizers()} | set(OPTIMIZER_DEFAULTS.get(str(now), ()))
        kept = {name: value for name, value in defaults.items() if name not in own}
        if now not in used_by("learning_rate"):  # it takes all rows at once
            kept.pop("batch_size", None)
    return {**kept, **{name: value for name, value in given.items() if value is not None or name not in kept}}
