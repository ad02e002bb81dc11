"""The settings of a network and of a training as frozen records, checked on creation."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from fastmlp.errors import ConfigError
from fastmlp.settings.fields import (
    KIND_DEFAULTS,
    MEANS_PLAIN,
    OPTIMIZERS,
    PLAIN,
    UNSAID_BEFORE,
    NetworkFields,
    TrainingFields,
    as_text,
    defaults_of,
)
from fastmlp.settings.names import ALIASES, current_names, folded, known_name, nearest
from fastmlp.settings.values import check_value

T = TypeVar("T")


class Settings:
    """What the two records of settings share: checking on creation, reading from and writing to plain values."""

    def __post_init__(self) -> None:
        record: Any = type(self)  # mypy takes no class for a key
        for field, default in _checked_defaults(record):
            value = getattr(self, field.name)
            if value is not default:
                object.__setattr__(self, field.name, check_value(field, value))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings, in order."""
        record: Any = cls  # mypy takes no class for a key
        return _names_of(record)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Build the record from plain values; an unknown name raises ConfigError and suggests the nearest known one."""
        known, values = cls.names(), current_names(values)
        for name in values:
            if name not in known:
                hint = _elsewhere(str(name), cls) or nearest(str(name), known) or f"; known are {', '.join(known)}"
                raise ConfigError(f"{source}: unknown setting {name!r}{hint}")
        return cls(**values)

    @classmethod
    def from_record(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Build the record from what a file says of an earlier training, perhaps by an earlier version."""
        unsaid = UNSAID_BEFORE if "validation" in values else {}
        return cls.from_mapping({**unsaid, **current_names(values, warn=False)}, source)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as values that JSON and TOML can hold."""
        pairs = ((name, getattr(self, name)) for name in self.names())
        return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


@dataclasses.dataclass(frozen=True)
class NetworkSettings(NetworkFields, Settings):
    """What a network is, apart from its numbers of inputs and outputs, which follow from the data."""


@dataclasses.dataclass(frozen=True)
class TrainingSettings(TrainingFields, Settings):
    """How a network is trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimizer is not None:
            _check_used(self, self.optimizer, "")

    @classmethod
    def from_record(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Build the record from what a file says of an earlier training.

        Up to version 0.1.0 every setting was recorded, those that the optimizer does not use with the default of that time: they are left
        out.
        """
        optimizer = values.get("optimizer")
        unused = [field.name for field in of_optimizers() if optimizer in OPTIMIZERS and optimizer not in field.metadata["optimizers"]]
        return super().from_record({name: value for name, value in values.items() if name not in unused}, source)

    def resolved(self, kind: str) -> Self:
        """Return the settings with every default filled in that the optimizer and the kind of data decide; what is unused stays None.

        kind: see kind_of. Raises ConfigError for a setting that the default optimizer does not use.
        """
        optimizer = self.optimizer
        if optimizer is None:
            optimizer = PLAIN if any(_is_given(getattr(self, name)) for name in MEANS_PLAIN) else KIND_DEFAULTS[kind]["optimizer"]
            _check_used(self, optimizer, f", the default for data of the kind {kind!r}")
        defaults = defaults_of(optimizer, kind)
        if "learning_rate" not in defaults:  # lbfgs has no steps of some rows
            del defaults["batch_size"]
        return self.replace(**{name: value for name, value in defaults.items() if name in self.names() and getattr(self, name) is None})


@functools.cache
def _checked_defaults(record: Any) -> tuple[tuple[dataclasses.Field[Any], Any], ...]:
    """Return each setting of a record with its default, where that is a value that need not be checked anew: most of them in most records.

    Of others, the second is the field itself, which no value is.
    """
    fields = dataclasses.fields(record)
    return tuple((field, field.default if check_value(field, field.default) is field.default else field) for field in fields)


@functools.cache
def _names_of(record: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(record))


@functools.cache
def of_optimizers() -> tuple[dataclasses.Field[Any], ...]:
    """Return the settings that not every optimizer uses, or not with the same default."""
    return tuple(field for field in dataclasses.fields(TrainingSettings) if field.metadata["optimizers"])


def known(value: T | None) -> T:
    """Return a value that resolved settings have."""
    if value is None:
        raise TypeError("expected resolved settings, got some without a default filled in")
    return value


def _is_given(value: Any) -> bool:
    return value is not None and value is not False


def _check_used(settings: TrainingSettings, optimizer: str, why: str) -> None:
    """Raise ConfigError where settings are given that the optimizer does not use."""
    unused = {field.name: field.metadata["optimizers"] for field in of_optimizers() if optimizer not in field.metadata["optimizers"]}
    given = [name for name in unused if _is_given(getattr(settings, name))]
    if given:
        got = ", ".join(as_text(getattr(settings, name)) for name in given)
        users = "; ".join(f"{name} goes with {', '.join(unused[name])}" for name in given)
        raise ConfigError(f"{', '.join(given)}: expected none with {optimizer}{why}, which uses no such setting, got {got}; {users}")


def _elsewhere(name: str, record: type[Settings]) -> str:
    """Return what to say of a setting that belongs into the other record, "" of one that belongs nowhere."""
    other = NetworkSettings if record is TrainingSettings else TrainingSettings
    meant = known_name(ALIASES.get(folded(name), name), other.names())
    if meant not in other.names():
        return ""
    where = "fastmlp.Network, as its sizes" if meant == "hidden" else f"fastmlp.{'Network' if other is NetworkSettings else 'train'}"
    return f"; {meant!r} belongs to {where}"
