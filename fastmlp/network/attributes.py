"""What others may write to a network, and what not: values are checked and copied into its one buffer, or refused with nothing changed."""

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from fastmlp.errors import ConfigError, DataError
from fastmlp.network.arrays import as_numbers
from fastmlp.settings import items_of

BLOCK = 1 << 20  # numbers looked at at a time, so that nothing of the size of a network is made


class Fixed:
    """An attribute that a network keeps for life; assigning to it says what to do.

    Reading it gives what lies under its name in the network, as of any attribute: without a function of its own, in a sixth of the time.
    """

    def __init__(self, advice: str) -> None:
        self._advice = advice

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, network: Any, value: Any) -> NoReturn:
        raise ConfigError(f"{self._name}: expected no assignment, a network keeps its own, got {value!r:.60}; {self._advice}")

    def __delete__(self, network: Any) -> NoReturn:
        raise ConfigError(f"{self._name}: expected to stay, a network needs it, got del")


def fixed(advice: str) -> Any:
    """Return an attribute that cannot be assigned to, and what its error advises; annotate it with the type that it has."""
    return Fixed(advice)


class Views(list[np.ndarray]):
    """Views of a network's arrays, one per layer. Assigning to one checks the values and copies them into the network."""

    def __init__(self, name: str, views: Iterable[np.ndarray], at_least: float | None = None) -> None:
        super().__init__(views)
        self._name, self._at_least = name, at_least

    def __setitem__(self, index: Any, values: Any) -> None:
        if isinstance(index, slice):
            numbers = range(len(self))[index]
            assign(self._name, [self[number] for number in numbers], values, self._at_least, list(numbers))
        else:
            number = range(len(self))[index]  # IndexError, as of any list
            self[number][...] = checked(f"{self._name}[{number}]", values, self[number], self._at_least)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ConfigError(f"{self._name}: expected one array per layer to stay, got a change of the list; assign to its items")

    append = extend = insert = pop = remove = clear = sort = reverse = __delitem__ = __iadd__ = __imul__ = _refuse

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return list, (list(self),)  # a copy belongs to no network


def assign(
    name: str, views: Sequence[np.ndarray], values: Any, at_least: float | None = None, numbers: Sequence[int] | None = None
) -> None:
    """Copy values, one array for each view, into the views; DataError, and nothing is copied, where one of them does not fit."""
    given = items_of(name, values, f"{len(views)} arrays, one per layer", DataError)
    if len(given) != len(views):
        raise DataError(f"{name}: expected {len(views)} arrays, one per layer, got {len(given)}")
    fit = [
        checked(f"{name}[{number}]", array, view, at_least)
        for number, array, view in zip(range(len(views)) if numbers is None else numbers, given, views, strict=True)
    ]
    # one may be a view of what another is copied into
    fit = [array.copy() if any(np.may_share_memory(array, view) for view in views) else array for array in fit]
    for array, view in zip(fit, views, strict=True):
        view[...] = array


def checked(name: str, values: Any, like: np.ndarray, at_least: float | None = None) -> np.ndarray:
    """Return values in the type of `like`: finite numbers of its shape, of at least `at_least`. Raises DataError for any others."""
    array = as_numbers(values, name)
    if array.shape != like.shape:
        raise DataError(f"{name}: expected shape {like.shape}, got {array.shape}")
    with np.errstate(over="ignore", under="ignore"):
        converted = array.astype(like.dtype, copy=False)
    if (wrong := first_not_finite(converted)) is not None:
        place = tuple(map(int, np.unravel_index(wrong, like.shape)))
        raise DataError(f"{name}: expected finite numbers in {like.dtype}, got {array[place]} at {place}")
    if at_least is not None and converted.size and converted.min() < at_least:
        raise DataError(f"{name}: expected numbers of at least {at_least:g}, got {converted.min():g}")
    return converted


def first_not_finite(array: np.ndarray) -> int | None:
    """Return the place of the first NaN or infinity in C order, None where there is none."""
    flat = array.reshape(-1)
    for first in range(0, flat.size, BLOCK):
        finite = np.isfinite(flat[first : first + BLOCK])
        if not finite.all():
            return first + int(finite.argmin())
    return None
