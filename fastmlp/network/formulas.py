"""Activations and losses of users: registered by name, translated, differentiated, checked. What they may say stands in docs/formulas.md.

@fastmlp.activation                          @fastmlp.loss
def swish(z):                                def squared_log_error(z, t):
    return z / (1 + math.exp(-z))                return (z - math.log(1 + t)) ** 2

fastmlp.Network([784, 300, 10], "swish")     fastmlp.train(net, x, y, loss="squared_log_error")
"""

import keyword
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.kernels import elementary
from fastmlp.kernels.activations import ACTIVATIONS, Activation
from fastmlp.kernels.losses import LOSSES, Loss
from fastmlp.network import duals
from fastmlp.settings import refuses_unknown

F = TypeVar("F", bound=Callable[..., Any])
Record = Activation | Loss

STEP, TOLERANCE = 1e-6, 1e-5
# Sums of a layer that are usual, and such as still have to give numbers. None is a round number, where people put kinks.
SMALL = [0.0137 + 0.1031 * place for place in range(-60, 61)]
LARGE = [sign * size for size in (9.871, 15.13, 30.37, 49.9, 79.7, 99.7) for sign in (-1, 1)]
TARGETS = (0.0, 1.0, 0.2871, 2.131, -1.317)
PROBES = (-5.25, -1.5, -0.375, 0.625, 1.75, 6.5)
OUTPUTS = ("identity", "sigmoid")


@overload
def activation(function: F) -> F: ...
@overload
def activation(*, name: str | None = None, derivative: Callable[..., Any] | None = None) -> Callable[[F], F]: ...
@refuses_unknown
def activation(function: F | None = None, *, name: str | None = None, derivative: Callable[..., Any] | None = None) -> F | Callable[[F], F]:
    """Register a function f(z) of one number as an activation, under its own name or another one; return it unchanged.

    derivative: f'(z), or f'(z, a) with a = f(z), where it is not to be derived. Both are compiled into the loops of the kernels, in
    float32 with vectorised forms of exp and the other functions. Numbers from globals and closures are taken as they are now.

    Raises ConfigError for what cannot be translated, for a derivative that disagrees with differences of f, for a NaN where a number
    has to be, and for a name that has another formula already.

    >>> import math
    >>> import fastmlp
    >>> @fastmlp.activation
    ... def scaled_tanh(z):
    ...     return 1.7159 * math.tanh(2 / 3 * z)
    >>> fastmlp.Network([2, 3, 2], "scaled_tanh").hidden_activations
    ('scaled_tanh',)
    """
    if function is None:
        return lambda function: _activation(function, name, derivative)
    return _activation(function, name, derivative)


@overload
def loss(function: F) -> F: ...
@overload
def loss(*, name: str | None = None, derivative: Callable[..., Any] | None = None, output: str = "identity") -> Callable[[F], F]: ...
@refuses_unknown
def loss(
    function: F | None = None, *, name: str | None = None, derivative: Callable[..., Any] | None = None, output: str = "identity"
) -> F | Callable[[F], F]:
    """Register a function l(z, t) of an output z and its target t as a loss, under its own name or another one; return it unchanged.

    derivative: dl/dz(z, t), where it is not to be derived. output: "identity", or "sigmoid", whose z is what the sigmoid is taken of. The
    loss of a row is the mean over its outputs. Otherwise as for `activation`.
    """
    if function is None:
        return lambda function: _loss(function, name, derivative, output)
    return _loss(function, name, derivative, output)


def _activation(function: F, name: str | None, derivative: Callable[..., Any] | None) -> F:
    name = _checked_name("activation", function, name)
    _expect_parameters("activation", function, ("z",))
    formula = duals.scalar(function, name, ["z"], ["z"])
    if derivative is None:
        slope, needs = duals.derivative(function, name, ["z", "a"], ["z"]), "z"
    else:
        parameters = _expect_parameters("derivative", derivative, ("z",), ("a",), ("z", "a"))
        arguments = ["a"] if parameters == ["a"] else ["z", "a"][: len(parameters)]
        slope = duals.scalar(derivative, name, ["z", "a"], arguments)
        read = [kind for kind, parameter in zip(arguments, parameters, strict=True) if parameter in duals.parameters_read(derivative)]
        needs = {"za": "both", "a": "a"}.get("".join(read), "z")
    found = Activation(name, formula.function, slope.function, needs, "yours", digest=duals.digest(formula.text, slope.text))
    if _is_new("activation", found, ACTIVATIONS):
        _check_activation(found)
        ACTIVATIONS[name] = _named_for_machine_code(found)
    return function


def _loss(function: F, name: str | None, derivative: Callable[..., Any] | None, output: str) -> F:
    name = _checked_name("loss", function, name)
    if not isinstance(output, str) or output not in OUTPUTS:
        raise ConfigError(f"loss {name}: expected output to be one of {', '.join(OUTPUTS)}, got {output!r:.60}")
    _expect_parameters("loss", function, ("z", "t"))
    formula = duals.scalar(function, name, ["z", "t", "p"], ["z", "t"])
    if derivative is None:
        slope = duals.derivative(function, name, ["z", "t", "p"], ["z", "t"])
    else:
        _expect_parameters("derivative", derivative, ("z", "t"))
        slope = duals.scalar(derivative, name, ["z", "t", "p"], ["z", "t"])
    found = Loss(name, output, formula.function, slope.function, "yours", digest=duals.digest(output, formula.text, slope.text))
    if _is_new("loss", found, LOSSES):
        _check_loss(found)
        LOSSES[found.form] = _named_for_machine_code(found)
    return function


def _checked_name(kind: str, function: Any, name: str | None) -> str:
    found = getattr(function, "__name__", None) if name is None else name
    if not isinstance(found, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", found) or keyword.iskeyword(found):
        raise ConfigError(f"{kind}: expected a name of up to 64 letters, digits and _, got {found!r:.60}; give one with name=")
    return found


def _expect_parameters(kind: str, function: Any, *allowed: tuple[str, ...]) -> list[str]:
    parameters = duals.parameters_of(function)
    if len(parameters) not in [len(names) for names in allowed]:
        wanted = " or ".join(f"({', '.join(names)})" for names in allowed)
        raise ConfigError(f"{kind} {function.__name__}: expected the parameters {wanted}, got ({', '.join(parameters)})")
    return parameters


def _is_new(kind: str, record: Record, registry: dict[str, Any]) -> bool:
    """Return whether a name is free; raise ConfigError where it stands for another formula."""
    known = registry.get(record.name)
    if known is None:
        return True
    if not known.digest:
        raise ConfigError(f"{kind} {record.name}: expected a name of your own, got that of a built-in {kind}; choose another one")
    if known.digest != record.digest:
        raise ConfigError(
            f"{kind} {record.name}: expected the formula that this name was registered with, got another one; choose another name, as "
            "networks go by it, or start Python anew"
        )
    return False


def _named_for_machine_code(record: Any) -> Any:
    """Give the functions of a record the name under which their machine code is kept: it has the digest of their text."""
    record.formula.__qualname__, record.derivative.__qualname__ = record.key, f"{record.key}_derivative"
    return record


# --- checks --------------------------------------------------------------------------------------------------------------


def _check_activation(record: Activation) -> None:
    what, points = f"activation {record.name}", [0.0, *SMALL, *LARGE]
    values = _values(what, "f", record.formula, [(z,) for z in points])
    if (wrong := np.flatnonzero(np.isnan(values))).size:
        z = points[wrong[np.abs([points[place] for place in wrong]).argmin()]]
        raise ConfigError(f"{what}: expected a number for every z, got NaN at z = {z:g}; write it so that it has a value there")
    slopes = _values(what, "derivative", record.derivative, [(z, a) for z, a in zip(points, values, strict=True)])
    if not np.isfinite(slopes[0]):
        raise ConfigError(
            f"{what}: expected a finite derivative at z = 0, got {slopes[0]:g}; give one with derivative=, or change the formula"
        )
    _compare(what, record.formula, points[1:], [()] * len(points[1:]), values[1:], slopes[1:])
    _check_float32(what, record.formula, record.derivative, [(z,) for z in points], values, slopes)


def _check_loss(record: Loss) -> None:
    what = f"loss {record.name}"
    pairs = [(z, t) for t in TARGETS for z in (*SMALL[::4], *LARGE)]
    values = _values(what, "l", record.formula, [(z, t, 0.0) for z, t in pairs])
    has_value = ~np.isnan(values)
    # which targets make sense is the loss's own affair; a target that makes sense does so for every output
    if not any(has_value[[pair[1] == t for pair in pairs]].all() for t in TARGETS):
        place = int(np.flatnonzero(~has_value)[0])
        z, t = pairs[place]
        raise ConfigError(f"{what}: expected a number for every output z, got NaN at z = {z:g}, t = {t:g}; write it so that it has a value")
    pairs, values = [pair for pair, has in zip(pairs, has_value, strict=True) if has], values[has_value]
    slopes = _values(what, "derivative", record.derivative, [(z, t, 0.0) for z, t in pairs])
    _compare(what, record.formula, [z for z, _ in pairs], [(t, 0.0) for _, t in pairs], values, slopes)
    _check_float32(what, record.formula, record.derivative, [(z, t, 0.0) for z, t in pairs], values, slopes)


def _values(what: str, name: str, function: Any, arguments: Sequence[tuple[float, ...]]) -> np.ndarray:
    """Return a function at some arguments, in float64."""
    try:
        return np.array([_value(function, [np.float64(number) for number in each]) for each in arguments])
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ConfigError(f"{what}: expected {name} to give a number, got {type(error).__name__}: {error}") from None


def _value(function: Any, arguments: Sequence[Any]) -> float:
    """Return what a translated function gives, NaN where Python raises an error for a division by 0."""
    with np.errstate(all="ignore"):
        try:
            return float(function(*arguments))
        except ZeroDivisionError:
            return math.nan


def _compare(
    what: str, formula: Any, points: Sequence[float], others: Sequence[tuple[float, ...]], values: np.ndarray, slopes: np.ndarray
) -> None:
    """Raise ConfigError where a derivative is not what central differences say, in float64."""
    above, below = np.array(points) + STEP, np.array(points) - STEP
    upper, lower = (_values(what, "f", formula, [(z, *rest) for z, rest in zip(side, others, strict=True)]) for side in (above, below))
    with np.errstate(all="ignore"):
        numeric = (upper - lower) / (above - below)
        allowed = TOLERANCE * np.maximum(np.abs(numeric), np.maximum(1.0, np.abs(values)))
        wrong = np.isfinite(numeric) & ~(np.abs(slopes - numeric) <= allowed)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[np.abs(np.array(points)[wrong]).argmin()])
        target = f", t = {others[place][0]:g}" if others[place] else ""
        raise ConfigError(
            f"{what}: expected the derivative {numeric[place]:.6g} at z = {points[place]:g}{target}, as differences of it say, got "
            f"{slopes[place]:.6g}; correct the derivative, or leave it out"
        )


def _check_float32(
    what: str, formula: Any, derivative: Any, arguments: Sequence[tuple[float, ...]], values: np.ndarray, slopes: np.ndarray
) -> None:
    """Raise ConfigError where a formula or derivative has a number in float64, and in float32, which fits one, has none."""
    largest = float(np.finfo(np.float32).max) / 1e3
    single = [_in_float32(function) for function in (formula, derivative)]
    for place, (value, slope) in enumerate(zip(values, slopes, strict=True)):
        z = arguments[place][0]
        given = list(map(np.float32, arguments[place]))
        with np.errstate(all="ignore"):
            with_a = given if len(given) > 1 else [*given, np.float32(value)]
        found, found_slope = _value(single[0], given), _value(single[1], with_a)
        for name, wide, narrow in (("value", value, found), ("derivative", slope, found_slope)):
            if abs(wide) < largest and not math.isfinite(narrow):
                raise ConfigError(
                    f"{what}: expected the {name} {wide:.6g} at z = {z:g}, got {narrow:g} in float32, whose numbers end at 3e38 (exp of "
                    "more than 88 is infinite); write it with exp(-abs(z)), or with log1p, so that nothing large appears on the way"
                )


def _in_float32(function: Any) -> Callable[..., Any]:
    """Return a translated function that computes as compiled float32 code does: with the polynomials of elementary.py."""
    instructions = {"sqrt": elementary.sqrt, "power": elementary.power}
    names = {name: _of_float32(function) for name, function in (elementary.POLYNOMIALS | instructions).items()}
    return type(function)(function.__code__, {**function.__globals__, **names})  # type: ignore[no-any-return]


def _of_float32(elementary_function: Any) -> Callable[..., Any]:
    return lambda *numbers: np.float32(elementary_function(*map(np.float32, numbers)))


# --- what a model file says about them -----------------------------------------------------------------------------------


def described(activations: Sequence[str], loss: str) -> dict[str, list[float | None]]:
    """Return some values of each formula that is a user's: a model file keeps them, so that another formula is noticed."""
    used = [*(("activation", name) for name in dict.fromkeys(activations)), ("loss", loss)]
    return {f"{kind} {name}": _described(kind, name) for kind, name in used if _registry(kind)[name].digest}


def check_described(activations: Sequence[Any], loss: Any, known: Any) -> None:
    """Raise ConfigError for a formula that is not registered here, or is another one than `known`, what `described` gave, says."""
    for kind, name in (*(("activation", name) for name in activations), ("loss", loss)):
        if isinstance(name, str) and name not in _registry(kind):
            raise ConfigError(
                f"expected the {kind} to be built in or registered, got {name[:80]!r}; if it is your own, register it first with "
                f"@fastmlp.{kind}, as where this network was trained"
            )
        values = known.get(f"{kind} {name}") if isinstance(known, dict) else None
        if isinstance(name, str) and isinstance(values, list) and not _is_same(values, _described(kind, name)):
            raise ConfigError(
                f"expected the {kind} {name} that this network was trained with, got one registered here with another formula"
            )


def _described(kind: str, name: str) -> list[float | None]:
    record = _registry(kind)[name]
    if record.formula is None:
        return []
    arguments: list[tuple[float, ...]] = [(z,) if kind == "activation" else (z, 1.0, 0.0) for z in PROBES]
    return [value if math.isfinite(value) else None for value in _values(f"{kind} {name}", "f", record.formula, arguments).tolist()]


def _is_same(values: list[Any], others: list[float | None]) -> bool:
    if len(values) != len(others) or not all(value is None or type(value) in (int, float) for value in values):
        return False
    pairs = zip(values, others, strict=True)
    return all(a == b if a is None or b is None else math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in pairs)


def _registry(kind: str) -> dict[str, Any]:
    return ACTIVATIONS if kind == "activation" else LOSSES
