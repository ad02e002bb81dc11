"""The list of all pairs: complete, short, and the same each time."""

import itertools

import pytest

from tests.pairs import all_pairs


@pytest.mark.parametrize("lengths", [(1, 1), (2, 2, 2), (25, 2, 2), (4, 3, 2, 2), (6, 2, 2, 2), (3, 3, 3, 3), (13, 5)], ids=str)
def test_any_two_values_of_any_two_columns_meet(lengths):
    choices = [[f"{column} {i}" for i in range(length)] for column, length in enumerate(lengths)]
    rows = all_pairs(*choices)
    met = {pair for row in rows for pair in itertools.combinations(row, 2)}
    assert met == {pair for one, other in itertools.combinations(choices, 2) for pair in itertools.product(one, other)}
    longest, second = sorted(lengths)[-1:-3:-1]
    assert longest * second <= len(rows) <= 1.4 * longest * second
    assert rows == all_pairs(*choices)
