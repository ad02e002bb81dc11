"""The settings of a network and of a training as frozen records, checked on creation."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

from fastmlp.errors import ConfigError
from fastmlp.settings.fields import (
    CHOICES,
    DEPENDENT,
    FIELDS,
    HELD_OUT,
    KIND_DEFAULTS,
    MEANS_PLAIN,
    OF_A_CHOICE,
    PLAIN,
    UNSAID_BEFORE,
    NetworkFields,
    TrainingFields,
    as_text,
    decider_against,
    defaults_of,
    defaults_of_choices,
    having,
    is_on,
    rate_for_width,
    small_table_batch,
    used_with,
)
from fastmlp.settings.names import ALIASES, current_names, folded, known_name, unknown
from fastmlp.settings.values import check_value

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Settings:
    """What the two records of settings share: checking on creation, reading from and writing to plain values."""

    def __post_init__(self) -> None:
        record: Any = type(self)  # mypy takes no class for a key
        for field, default in _checked_defaults(record):
            value = getattr(self, field.name)
            if value is not default:
                object.__setattr__(self, field.name, check_value(field, value))
        _check_used(self, vars(self), {})

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings, in order."""
        record: Any = cls  # mypy takes no class for a key
        return _names_of(record)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Build the record from plain values; an unknown name raises ConfigError and suggests the nearest known one."""
        if not isinstance(values, Mapping):
            raise ConfigError(f"{source}: expected a mapping {{name: value}}, got {type(values).__name__}")
        known, values = cls.names(), current_names(values)
        for name in values:
            if name not in known:
                hint = _elsewhere(str(name), cls) or unknown(str(name), known)
                raise ConfigError(f"{source}: unknown setting {name!r}{hint}")
        return cls(**values)

    @classmethod
    def from_record(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Build the record from what a file says of an earlier training, perhaps by an earlier version.

        What was recorded and had no effect is left out: a setting that is given is one that is used.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"{source}: expected a mapping {{name: value}}, got {type(values).__name__}")
        recorded = {**(UNSAID_BEFORE if "validation" in values else {}), **current_names(values, warn=False)}
        return cls.from_mapping({name: value for name, value in recorded.items() if _says_something(name, value, recorded)}, source)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as values that JSON and TOML can hold."""
        pairs = ((name, getattr(self, name)) for name in self.names())
        return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}

    def check_choice(self, decider: str, choice: str) -> None:
        """Raise ConfigError for a setting that is given and not used by a choice that follows from something else than the settings."""
        _check_used(self, {decider: choice}, {decider: ", which is in effect"})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def filled_in(self, **values: Any) -> Self:
        """Return a copy with values that need no check, as they come from tables of this package: in a tenth of the time of `replace`."""
        copy = object.__new__(type(self))
        vars(copy).update(vars(self), **values)
        return copy


def refuses_unknown(function: F, title: str | None = None) -> F:
    """Let a function refuse a keyword that it does not have by a ConfigError that names the one that is meant, not by a bare TypeError."""
    title = title or function.__name__
    names = [name for name in inspect.signature(function).parameters if name not in ("self", "cls", "_cls")]

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        for name in named:
            if name not in names:
                of_settings = {"Network": NetworkSettings, "NetworkSettings": NetworkSettings, "TrainingSettings": TrainingSettings}
                hint = _elsewhere(name, of_settings[title]) if title in of_settings else ""
                if "sizes" in names and "hidden" in (name, ALIASES.get(folded(name))):
                    hint = "; did you mean 'sizes'? They begin with the inputs and end with the outputs: [784, 300, 10]"
                raise ConfigError(f"{title}: unknown setting {name!r}{hint or unknown(name, names)}")
        return function(*arguments, **named)

    return call  # type: ignore[return-value]


def record_refuses_unknown(record: type[T]) -> type[T]:
    """Let a class do so where one is made."""
    maker = "__new__" if issubclass(record, tuple) else "__init__"
    setattr(record, maker, refuses_unknown(getattr(record, maker), record.__name__))
    return record


@record_refuses_unknown
@dataclasses.dataclass(frozen=True)
class NetworkSettings(NetworkFields, Settings):
    """What a network is, apart from its numbers of inputs and outputs, which follow from the data."""


@record_refuses_unknown
@dataclasses.dataclass(frozen=True)
class TrainingSettings(TrainingFields, Settings):
    """How a network is trained. None: nobody said so; `resolved` fills in what is used then, and leaves what is not."""

    def resolved(self, kind: str, loss: str | None = None, n_rows: int | None = None, hidden: Sequence[int] = ()) -> Self:
        """Return the settings with every default filled in that choices and the kind of data decide; what is unused stays None.

        kind: see kind_of. loss: the one in effect, where it is known. n_rows: how many rows there are, those held out included, where
        it is known: the default batches of a small table are smaller. hidden: units of the hidden layers, where they are known: some
        default rates are smaller where these are wide. Raises ConfigError for a setting that is given and not used.
        """
        optimizer, why = self.optimizer, {}
        if optimizer is None:
            means_plain = any(is_on(FIELDS[name], getattr(self, name)) for name in MEANS_PLAIN)
            optimizer = PLAIN if means_plain else KIND_DEFAULTS[kind]["optimizer"]
            why["optimizer"] = f", the default for data of the kind {kind!r}"
        defaults = {name: FIELDS[name].metadata["otherwise"] for name in having("otherwise")} | defaults_of(optimizer, kind)
        choices = {name: getattr(self, name) or defaults.get(name) for name in CHOICES if name in self.names()}
        why |= {name: ", the default" for name in choices if getattr(self, name) is None and name not in why}
        choices["loss"] = self.loss if loss is None else loss
        _check_used(self, choices, why)
        defaults |= defaults_of_choices(choices)
        if "learning_rate" not in defaults:  # lbfgs has no steps of some rows
            del defaults["batch_size"]
        else:
            accumulator = self.initial_accumulator_value
            begin = defaults.get("initial_accumulator_value") if accumulator is None else accumulator
            if not begin:  # steps of adagrad that begin with sums above 0 shrink with the gradient
                defaults["learning_rate"] = rate_for_width(optimizer, defaults["learning_rate"], hidden)
            if kind == "table" and n_rows is not None and self.learning_rate is None:  # a rate that is given is meant for the usual batch
                defaults["batch_size"] = small_table_batch(n_rows)
        return self.filled_in(**{name: value for name, value in defaults.items() if name in self.names() and getattr(self, name) is None})

    def check_needs(self) -> None:
        """Raise ConfigError for a setting that is given without another one that it does nothing without."""
        for name in having("needs"):
            needed, value = FIELDS[name].metadata["needs"], getattr(self, name)
            if is_on(FIELDS[name], value) and not getattr(self, needed):
                raise ConfigError(f"{name}: expected none without {needed}, got {as_text(value)}; set {needed}, or leave {name} out")

    def without_held_out(self) -> Self:
        """Return the same settings for a training that holds out no rows, and so judges none."""
        return self.replace(validation=0, **{name: FIELDS[name].default for name in (*HELD_OUT, "metric") if name != "validation"})


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


def known(value: T | None) -> T:
    """Return a value that resolved settings have."""
    if value is None:
        raise TypeError("expected resolved settings, got some without a default filled in")
    return value


def _check_used(settings: Settings, choices: Mapping[str, Any], why: Mapping[str, str]) -> None:
    """Raise ConfigError where settings are given that a choice does not use; why: how a choice came about."""
    against: dict[str, list[str]] = {}
    given = vars(settings)
    for name in DEPENDENT:
        value = given.get(name)
        if value is not None and is_on(FIELDS[name], value) and (decider := decider_against(name, choices)) is not None:
            against.setdefault(decider, []).append(name)
    for decider, names in against.items():
        got = ", ".join(as_text(getattr(settings, name)) for name in names)
        users = "; ".join(f"{name} goes with {', '.join(used_with(name)[decider])}" for name in names)
        noun = {"optimizer": "", "normalize": "normalize "}.get(decider, f"the {decider} ")
        choice = f"{noun}{choices[decider]}"
        raise ConfigError(
            f"{', '.join(names)}: expected none with {choice}{why.get(decider, '')}, which uses no such setting, got {got}; {users}"
        )


def _says_something(name: str, value: Any, recorded: Mapping[str, Any]) -> bool:
    """Return whether a recorded value of a setting had an effect, or may have one, beside the others of its record.

    Before there were settings that stay None where they are not used, all of them were recorded with their defaults.
    """
    if name not in FIELDS or decider_against(name, recorded) is not None:
        return name not in FIELDS
    needed = FIELDS[name].metadata["needs"]
    if name == "metric" and not (recorded.get("patience") or recorded.get("restore_best")):
        needed = "validation"
    if needed in recorded and not recorded[needed]:
        return False
    return name not in OF_A_CHOICE or OF_A_CHOICE[name] != value  # where it is used, the default is filled in again


def _elsewhere(name: str, record: type[Settings]) -> str:
    """Return what to say of a setting that belongs into the other record, "" of one that belongs nowhere."""
    other = NetworkSettings if record is TrainingSettings else TrainingSettings
    meant = known_name(ALIASES.get(folded(name), name), other.names())
    if meant not in other.names():
        return ""
    where = "fastmlp.Network, as its sizes" if meant == "hidden" else f"fastmlp.{'Network' if other is NetworkSettings else 'train'}"
    return f"; {meant!r} belongs to {where}"
