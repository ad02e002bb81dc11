"""JSON that came from a file, decoded strictly: what a program could stumble over later is refused here."""

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 64  # brackets inside brackets
MAX_DIGITS = 20  # of an integer; 64 bits need no more


def parse(text: str) -> Any:
    """Return the value of a JSON text.

    Refused by a ValueError with the reason, beyond what is no JSON: NaN, infinities and numbers that overflow, duplicate keys, text that is
    no Unicode, and whatever exceeds MAX_DEPTH or MAX_DIGITS.
    """
    if _is_too_deep(text):
        raise ValueError(f"expected JSON nested at most {MAX_DEPTH} deep, got more")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_finite, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # an escape like \ud800 alone stands for no character, and could never be printed
    except RecursionError as error:
        raise ValueError(str(error)) from None
    return value


def short(value: object) -> str:
    """Return at most 60 characters of a value, for a message."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_too_deep(text: str) -> bool:
    """Return whether brackets are nested too deeply, found without recursion."""
    depth = 0
    quoted = False
    for match in re.finditer(r'\\.|["\[\]{}]', text, re.DOTALL):
        mark = match[0]
        if mark == '"':
            quoted = not quoted
        elif not quoted and mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif not quoted and mark in "]}":
            depth -= 1
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        if name in value:
            raise ValueError(f"duplicate key {short(name)}")
        value[name] = item
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {short(digits)} is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
