"""A case trained by fastmlp and by the oracle, and how near they have to be."""

from typing import Any

from tests.combinations import cases
from tests.combinations.cases import Case
from tests.oracle import training

# Two correct trainings in float64 differ by rounding, 1e-16 of each number, which a dozen steps make larger: cases.MOST_SENSITIVE says by
# how much at most. What was drawn so far came to 2e-12; a setting that is left out changes its case by more than 1e-6, as a test says.
TOLERANCE = 1e-9


def assert_equal_to_the_oracle(case: Case, **changes: Any) -> None:
    """Compare all that a training gives; `changes` are settings that change no number."""
    found = cases.differences(cases.by_fastmlp(case, **changes), training.train(cases.problem_of(case)))
    assert {what: difference for what, difference in found.items() if not difference <= TOLERANCE} == {}
