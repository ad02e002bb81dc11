"""EarlyStopping: the settings that end a training early, as one object among its callbacks."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fastmlp.errors import ConfigError
from fastmlp.settings import FIELDS, check_value, record_refuses_unknown


@record_refuses_unknown
class EarlyStopping(NamedTuple):
    """Ends a training after `patience` epochs without a better value on the rows held out.

    The settings of `train` with these names, which describe them, in another form: the same bits, kept in the same state. None: as they
    are there.
    """

    patience: int
    metric: str | None = None
    restore_best: bool | None = None


def with_settings_of(callbacks: Iterable[Any], given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return callbacks without EarlyStopping, and settings with what it says; ConfigError where it says something else than they do."""
    others, settings = [], dict(given)
    for callback in callbacks:
        if not isinstance(callback, EarlyStopping):
            others.append(callback)
            continue
        for name, value in callback._asdict().items():
            if value is None:
                continue
            before = settings.setdefault(name, value)
            if check_value(FIELDS[name], value) != check_value(FIELDS[name], before):
                raise ConfigError(f"{name}: expected it once, got {settings[name]!r:.60} beside {callback!r:.60}")
    return others, settings
