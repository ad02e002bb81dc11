"""All pairs in place of all combinations: most faults need two settings to meet, hardly any needs three."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from tests.quality.counts import FULL


def each_pair(*, indirect: Sequence[str] = (), **values: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrise a test so that any two values of any two arguments meet; in `make quality`, all values of all of them.

    `indirect` names the arguments that are fixtures.
    """
    choices = [list(of_one) for of_one in values.values()]
    return pytest.mark.parametrize(
        list(values), list(itertools.product(*choices)) if FULL else all_pairs(*choices), indirect=list(indirect)
    )


def each_in_turn(**values: Sequence[Any]) -> pytest.MarkDecorator:
    """Parametrise a test by two arguments: each value of the first meets the first one of the second, and another one in turn.

    The other pairs are for `make long`: where the values of the second are forms of the same formulas, each costs a compilation.
    """
    (of_one, (first, *others)) = values.values()
    rows = [
        pytest.param(one, other, marks=[] if other in (first, others[number % len(others)]) else [pytest.mark.long])
        for number, one in enumerate(of_one)
        for other in (first, *others)
    ]
    return pytest.mark.parametrize(list(values), rows)


def all_pairs(*choices: list[Any]) -> list[tuple[Any, ...]]:
    """Return rows, as few as a greedy search finds, in which any two values of any two columns stand beside each other."""
    columns = range(len(choices))
    missing = {
        ((one, i), (other, j))
        for one, other in itertools.combinations(columns, 2)
        for i, j in itertools.product(range(len(choices[one])), range(len(choices[other])))
    }
    rows = []
    while missing:
        row = dict(min(missing))
        for column in sorted(columns, key=lambda column: -len(choices[column])):
            if column not in row:
                # the value that meets most others for the first time; where several do, another one in each row
                gains = [sum(tuple(sorted([(column, i), cell])) in missing for cell in row.items()) for i in range(len(choices[column]))]
                best = max(gains)
                row[column] = next(i % len(gains) for i in itertools.count(len(rows)) if gains[i % len(gains)] == best)
        missing -= set(itertools.combinations(sorted(row.items()), 2))
        rows.append(tuple(choices[column][row[column]] for column in columns))
    return rows
