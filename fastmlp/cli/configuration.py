"""Which settings a run was given, and by whom: flags, environment, configuration file. Knows no data and no network.

What comes later wins: default, the data set's own, recipe, configuration file, environment, flag.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from fastmlp.errors import ConfigError, DataError, InputNotFound
from fastmlp.settings import (
    ACTIVATIONS,
    FIELDS,
    LOSSES,
    OUTPUTS,
    activation_hint,
    check_value,
    current_names,
    known_name,
    nearest,
    over_defaults,
    sources,
)  # fmt: skip

LARGEST_FILE = 1 << 20  # bytes of a configuration


def given_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], config: Path | None, recipe: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the settings that flags (None: not given), FASTMLP_* variables, a configuration file and a recipe give, checked.

    Raises typer.BadParameter for a flag, ConfigError for a variable or the file, InputNotFound for a file that is not there.
    """
    given = {**(from_file(config) if config else {}), **sources.from_environment(environment, _checked), **from_flags(flags)}
    return over_defaults(given, recipe or {})


def recipe_settings(dataset: str | None, name: str | None) -> dict[str, Any]:
    """Return the settings of the recipe of that name, none where none was asked for; raise typer.BadParameter for an unknown one."""
    from fastmlp.training.recipes import recipe

    if name is None:
        return {}
    try:
        return dict(recipe(str(dataset), name).settings)
    except ConfigError as error:
        raise typer.BadParameter(sources.reason("recipe", error), param_hint="--recipe") from error


def from_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were given as flags: text, several texts, or a truth value; None means not given."""
    given = {name: value for name, value in flags.items() if value is not None}
    return {name: value_of_flag(name, value) for name, value in current_names(given).items()}


def value_of_flag(name: str, value: str | bool | list[str]) -> Any:
    """Return the value of a setting that a flag gives, checked; raise typer.BadParameter for a wrong one."""
    try:
        return _checked(name, sources.of_texts(value) if isinstance(value, list) else sources.of_text(value))
    except ConfigError as error:
        raise typer.BadParameter(sources.reason(name, error) + _how_to_repeat(name, value), param_hint=flag(name)) from error


def _how_to_repeat(name: str, value: str | bool | list[str]) -> str:
    """Return how several values are given where they came in one: --hidden 30,10."""
    texts = [re.sub(r"[,;()\[\]]|(?<=\d)-(?=\d)", " ", text).split() for text in value] if isinstance(value, list) else []
    if FIELDS[name].metadata["repeat"] and any(len(parts) > 1 for parts in texts):
        return "; write " + " ".join(f"{flag(name)} {part}" for parts in texts for part in parts)
    return ""


def from_file(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file with the tables [network] and [train]."""
    return sources.from_tables(_read_toml(path), str(path), _checked)


def flag(name: str) -> str:
    """Return the flag of a setting: batch_size -> --batch-size."""
    return "--" + name.replace("_", "-")


def known_names(registry: str) -> tuple[str, ...]:
    """Return the names in one of the tables of activations, outputs and losses."""
    from fastmlp.kernels import activations, losses

    tables = {ACTIVATIONS: activations.ACTIVATIONS, OUTPUTS: losses.OUTPUTS, LOSSES: losses.loss_names()}
    return tuple(tables[registry])


def _checked(name: str, value: Any) -> Any:
    """Return a value of the right type and in range; unlike the settings themselves this looks into the tables of names."""
    checked = check_value(FIELDS[name], value)
    registry = FIELDS[name].metadata["registry"]
    if registry and checked is not None:
        known = known_names(registry)
        checked = tuple(known_name(item, known) for item in checked) if isinstance(checked, tuple) else known_name(checked, known)
        for item in checked if isinstance(checked, tuple) else (checked,):
            if item not in known:
                hint = activation_hint(item, known) if registry == ACTIVATIONS else nearest(item, known)
                raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {item!r:.60}{hint}")
    return checked


def _read_toml(path: Path) -> dict[str, Any]:
    from fastmlp.data.gzipped import open_regular

    try:
        with open_regular(path) as file:
            text = file.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise ConfigError(f"{path}: expected at most {LARGEST_FILE:,} bytes, got more; name a file of settings")
        return tomllib.loads(text.decode("utf-8-sig"))
    except InputNotFound as error:
        raise InputNotFound(f"{error}: it is to hold settings as TOML") from None
    except DataError as error:
        raise ConfigError(str(error)) from None
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8, got byte {error.object[error.start]:#04x} at {error.start}") from error
    except ValueError as error:  # TOMLDecodeError, and what int() says of too many digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
