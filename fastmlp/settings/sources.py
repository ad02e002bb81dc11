"""Which value of a setting counts, where several are known: what was given, over what a recipe or a data set prefers."""

from collections.abc import Mapping
from typing import Any

from fastmlp.settings.fields import (
    CHOICES,
    EVERYWHERE,
    FIELDS,
    MEANS_PLAIN,
    OPTIMIZER_DEFAULTS,
    OPTIMIZERS,
    PLAIN,
    having,
    used_by,
    used_with,
)
from fastmlp.settings.names import known_name


def over_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that were given, over those that its data set or its recipe prefers.

    Where another choice was given, what they say for their own does not hold: a learning rate of sgd is none of adam. Nor does what they
    say of something that is not wanted, as of rows held out where none are.
    """
    kept = dict(defaults)
    before = defaults.get("optimizer") or (PLAIN if any(name in defaults for name in MEANS_PLAIN) else None)
    now = known_name(str(given["optimizer"]), OPTIMIZERS) if given.get("optimizer") else before
    if now != before:
        own = {name for table in OPTIMIZER_DEFAULTS.values() for name in table} - {*EVERYWHERE} | set(OPTIMIZER_DEFAULTS.get(str(now), ()))
        kept = {name: value for name, value in kept.items() if name not in own and (now is None or now in used_by(name))}
        if now not in used_by("learning_rate"):  # it takes all rows at once
            kept.pop("batch_size", None)
    for decider in CHOICES:
        if decider != "optimizer" and given.get(decider) not in (None, defaults.get(decider)):
            kept = {name: value for name, value in kept.items() if name == decider or decider not in used_with(name)}
    merged = {**kept, **{name: value for name, value in given.items() if value is not None or name not in kept}}
    unneeded = {name for name in having("needs") if name not in given and not merged.get(FIELDS[name].metadata["needs"])}
    return {name: value for name, value in merged.items() if name not in unneeded}
