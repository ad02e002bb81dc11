"""Whether the value of a setting has the right type and lies in its range."""

import dataclasses
import functools
import math
import os
import types
import typing
from collections.abc import Hashable, Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from fastmlp.errors import ConfigError
from fastmlp.settings.names import current_value, known_name, nearest

MOST_WHOLE = 2**63 - 1  # what TOML, model files and kernels can hold


def as_path(name: str, value: Any) -> Path:
    """Return a path that is given as text or as an os.PathLike; ConfigError, with its name, for anything else."""
    if not isinstance(value, (str, os.PathLike)):
        raise ConfigError(f"{name}: expected a path, got {value!r:.60}")
    return Path(value)


def is_several(given: Any) -> bool:
    """Return whether there are several things to go through: neither a text nor an array without an axis."""
    return isinstance(given, Iterable) and not isinstance(given, str) and getattr(given, "ndim", 1) > 0


def check_value(field: dataclasses.Field[Any], value: Any) -> Any:
    """Return `value` in the type that a field wants; raise ConfigError where it has another type or lies out of range."""
    rules = field.metadata
    kinds = _kinds(typing.cast(Hashable, field.type))
    if value is None and type(None) in kinds:
        return None
    if isinstance(value, (list, tuple)):
        if tuple not in kinds:
            raise ConfigError(_message(field, "one value", value))
        return tuple(_check_scalar(field, rules, kinds[tuple], item) for item in value)
    if tuple in kinds and len(kinds) == 1:
        return (_check_scalar(field, rules, kinds[tuple], value),)
    if rules["part"]:
        return _check_rows_or_part(field, value)
    scalar = next(kind for kind in kinds if kind not in (type(None), tuple))
    return _check_scalar(field, rules, scalar, value)


def _check_rows_or_part(field: dataclasses.Field[Any], value: Any) -> int | float:
    """Return a number of rows, or a part above 0 and below 1; of text, "20%" is one. A part of 0 is no row."""
    expected = "rows such as 5000, or a part of them such as 0.2"
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            value = float(value.strip().removesuffix("%").strip() + "e-2")  # the nearest float: a division would round twice
        except ValueError:
            pass  # refused below
    if isinstance(value, bool):
        raise ConfigError(_message(field, expected, value) + "; 0 holds out none")
    if hasattr(value, "__index__") and not (hasattr(value, "dtype") and _kind_of(value) == "f"):
        return int(_check_scalar(field, field.metadata, int, value))
    if not is_number(value, "__float__"):
        raise ConfigError(_message(field, expected, value))
    part = float(_check_scalar(field, field.metadata, float, value))
    if part >= 1.0:
        advice = f"write {part:.0f} for a number of rows" if part.is_integer() and part <= MOST_WHOLE else "a part is below 1"
        raise ConfigError(_message(field, expected, value) + f"; {advice}")
    return part or 0


def _check_scalar(field: dataclasses.Field[Any], rules: Mapping[str, Any], kind: type, value: Any) -> Any:
    if kind is bool:
        if not isinstance(value, bool) and not (_kind_of(value) == "b" and value.ndim == 0):
            raise ConfigError(_message(field, "true or false", value))
        return bool(value)
    if kind is str:
        if not isinstance(value, str):
            raise ConfigError(_message(field, "a name", value))
        choices, value = rules["choices"], current_value(field.name, value, warn=True)
        if not choices:
            return value
        name = known_name(value, choices)
        if name not in choices:
            raise ConfigError(_message(field, "one of " + ", ".join(choices), value) + nearest(value, choices))
        return name
    if not is_number(value, "__index__" if kind is int else "__float__"):
        raise ConfigError(_message(field, "a whole number" if kind is int else "a number", value))
    try:
        number = kind(value.__index__()) if kind is int else float(value)
    except OverflowError:
        raise ConfigError(_message(field, "a finite number", value)) from None
    except (TypeError, ValueError, RuntimeError):  # an array, a tensor of several numbers
        raise ConfigError(_message(field, "a whole number" if kind is int else "a number", value)) from None
    if isinstance(number, float) and not math.isfinite(number):
        raise ConfigError(_message(field, "a finite number", value))
    if rules["minimum"] is not None and number < rules["minimum"]:
        raise ConfigError(_message(field, f"at least {rules['minimum']}", value))
    if rules["above"] is not None and number <= rules["above"]:
        raise ConfigError(_message(field, f"more than {rules['above']:g}", value))
    most = MOST_WHOLE if rules["maximum"] is None and kind is int else rules["maximum"]
    if most is not None and number > most:
        raise ConfigError(_message(field, f"at most {most}", value))
    if rules["below"] is not None and number >= rules["below"]:
        raise ConfigError(_message(field, f"less than {rules['below']:g}", value))
    return number


def items_of(
    name: str, given: Any, expected: str, error: type[Exception] = ConfigError, *, in_order: bool = True
) -> tuple[Any, ...]:  # fmt: skip
    """Return what a list, a tuple, an array or an iterator holds; `error` for one value, a text, and, unless not `in_order`, for sets."""
    if not isinstance(given, (str, bytes, Mapping)) and not (in_order and isinstance(given, Set)):
        try:
            return tuple(given)
        except TypeError:  # one value; an array without axes has an iterator that raises this, too
            pass
    raise error(f"{name}: expected {expected}, got {given!r:.60}")


def whole_number(name: str, value: Any, at_least: int = 0) -> int:
    """Return an argument that counts something; ConfigError for what is no whole number from `at_least` on."""
    try:
        number = int(value.__index__()) if is_number(value, "__index__") else None
    except TypeError:  # an array
        number = None
    if number is None:
        raise ConfigError(f"{name}: expected a whole number, got {value!r:.60}")
    if not at_least <= number <= MOST_WHOLE:
        raise ConfigError(
            f"{name}: expected {f'at least {at_least}' if number < at_least else f'at most {MOST_WHOLE}'}, got {number!r:.60}"
        )
    return number


def is_number(value: Any, method: str = "__float__") -> bool:
    """Return whether a value is a number that converts by a method: all scalars of NumPy do, texts, dates and truth values, too."""
    return not isinstance(value, bool) and _kind_of(value) in "iuf" and hasattr(value, method)


def _kind_of(value: Any) -> str:
    """Return the letter of NumPy for the type of its scalars and arrays, "f" for anything else."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    return kind if isinstance(kind, str) else "f"


def _message(field: dataclasses.Field[Any], expected: str, value: Any) -> str:
    shown = repr(value)
    return f"{field.name}: expected {expected}, got {shown if len(shown) <= 60 else shown[:57] + '...'}"


@functools.cache
def _kinds(annotation: Any) -> dict[type, Any]:
    """Return the types of an annotation: `str | tuple[str, ...] | None` -> {str: str, tuple: str, NoneType: None}."""
    parts = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    kinds: dict[type, Any] = {}
    for part in parts:
        if typing.get_origin(part) is tuple:
            kinds[tuple] = typing.get_args(part)[0]
        else:
            kinds[part] = part
    return kinds
