"""Which value of a setting counts, where several are known; and what an environment and the tables of a file say.

What comes later wins: default, the data set's own, recipe, configuration file, environment, flag.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fastmlp.errors import ConfigError, warn
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
from fastmlp.settings.names import RENAMED, current_names, known_name, nearest, unknown
from fastmlp.settings.records import NetworkSettings, TrainingSettings

TABLES: dict[str, type[NetworkSettings] | type[TrainingSettings]] = {"network": NetworkSettings, "train": TrainingSettings}

Checked = Callable[[str, Any], Any]  # of the name of a setting and a value: that value in the right type; ConfigError for a wrong one


def over_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that were given, over those that its data set or its recipe prefers.

    Where another choice was given, what they say for their own does not hold: a learning rate of sgd is none of adam. Nor does what they
    say of something that is not wanted, as of rows held out where none are.
    """
    for name, value in given.items():
        if getattr(value, "ndim", 0) and name in FIELDS and not FIELDS[name].metadata["repeat"]:
            expected = "a number of rows, a part of them, or a pair (x, y)" if name == "validation" else "one value"
            raise ConfigError(f"{name}: expected {expected}, got an array of shape {value.shape}")
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
    if given.get("validation") is not None and not given["validation"]:
        unneeded |= {name for name in having("judges") if given.get(name) is None}
    return {name: value for name, value in merged.items() if name not in unneeded}


def settings_in_effect(
    given: Mapping[str, Any], network_defaults: Mapping[str, Any], training_defaults: Mapping[str, Any]
) -> tuple[NetworkSettings, TrainingSettings]:
    """Return the settings of a run: what was given, over what the data set prefers; what the data decide is still None, see `resolved`.

    Raises ConfigError for what is no setting.
    """
    given = current_names(given)
    for name in given:
        if name not in FIELDS:
            raise ConfigError(f"settings: unknown setting {name!r:.60}{unknown(str(name), FIELDS)}")
    network = {name: value for name, value in given.items() if name in NetworkSettings.names()}
    training = {name: value for name, value in given.items() if name in TrainingSettings.names()}
    return (
        NetworkSettings.from_mapping({**network_defaults, **network}),
        TrainingSettings.from_mapping(over_defaults(training, training_defaults)),
    )


PREFIX = "FASTMLP_"
OTHER_VARIABLES = ("CACHE_DIR", "DATA_DIR", "LEVEL", "OFFLINE", "QUALITY")  # that are no settings of a training


def from_environment(environment: Mapping[str, str], checked: Checked) -> dict[str, Any]:
    """Return the settings that FASTMLP_* variables give, `checked`; several values in one variable are separated by commas.

    Raises ConfigError, which names the variable, for a wrong one; warns of one that is nearly called as a setting is.
    """
    given = {}
    variables = {name: f"{PREFIX}{name.upper()}" for name in (*FIELDS, *RENAMED)}
    for variable in sorted(environment.keys() - {*variables.values(), *(PREFIX + name for name in OTHER_VARIABLES)}):
        if variable.startswith(PREFIX) and (hint := nearest(variable.removeprefix(PREFIX).lower(), FIELDS)):
            warn(f"{variable}: expected the name of a setting, with {PREFIX} before it, got one that nothing reads{hint}")
    texts = {name: environment.get(variable, "").strip() for name, variable in variables.items()}
    for name, text in current_names({name: text for name, text in texts.items() if text}).items():
        field, variable = FIELDS[name], variables[name]
        try:
            given[name] = checked(name, of_texts(text.split(",")) if field.metadata["repeat"] else of_text(text))
        except ConfigError as error:
            raise ConfigError(f"{variable}: {reason(name, error)}") from error
    return given


def from_tables(tables: Mapping[str, Any], source: str, checked: Checked) -> dict[str, Any]:
    """Return the settings in the tables "network" and "train" of a configuration, `checked`.

    Raises ConfigError, which names the source and the table, for a wrong one.
    """
    given = {}
    for table, values in tables.items():
        if table not in TABLES:
            raise ConfigError(f"{source}: {_unknown_table(table)}")
        if not isinstance(values, dict):
            raise ConfigError(f"{source}: expected {table} to be a table, [{table}], got {values!r:.60}")
        for name, value in current_names(values).items():
            if name not in TABLES[table].names():
                elsewhere = _unknown_table(name) if name in FIELDS else f"unknown setting {name!r}{unknown(name, TABLES[table].names())}"
                raise ConfigError(f"{source}: [{table}] {elsewhere}")
            try:
                given[name] = checked(name, value)
            except ConfigError as error:
                raise ConfigError(f"{source}: [{table}] {error}") from error
    return given


def _unknown_table(name: str) -> str:
    for table, record in TABLES.items():
        if name in record.names() or RENAMED.get(name) in record.names():
            return f"{name!r} belongs into the table [{table}]"
    return f"expected the tables {', '.join(f'[{table}]' for table in TABLES)}, got {name!r:.60}{nearest(name, TABLES)}"


def of_texts(texts: list[str]) -> Any:
    """Return the values that texts stand for; a single one stands alone, since a setting may mean something else by a list of one."""
    values = [of_text(text) for text in texts]
    return values if len(values) > 1 else values[0]


def of_text(text: str | bool) -> Any:
    """Return the value that a text stands for, as TOML would read it: a number, true or false, else the text itself."""
    if isinstance(text, bool):
        return text
    readers: tuple[Callable[[str], Any], ...] = (int, float)
    for reader in readers:
        try:
            return reader(text)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(text.strip().lower(), text.strip())


def reason(name: str, error: ConfigError) -> str:
    """Return what an error says of a setting, without its name."""
    return str(error).removeprefix(f"{name}: ")
