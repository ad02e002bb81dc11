"""When a number of the report is called the same as ours."""

import pytest

from fastmlp.course.claims import curve, diverged, last, on_test, same_number
from fastmlp.search.statistics import summarise


@pytest.mark.parametrize(
    ("runs", "claim", "digits", "same"),
    [
        ([0.974, 0.976, 0.975], 0.975, 3, "yes"),
        ([0.9796, 0.9800, 0.9804], 0.98, 2, "yes"),
        ([0.90, 0.90, 0.90], 0.975, 3, "no"),
        ([0.99, 0.99, 0.99], 0.975, 3, "higher"),
        ([0.9754, 0.9754], 0.975, 3, "yes"),  # equal when rounded
        ([0.9756, 0.9756], 0.975, 3, "higher"),
        ([0.97, 0.98], 0.9, 3, "yes"),  # two runs say little: t = 12.7
        ([0.975], 0.975, 3, "yes"),
        ([0.97], 0.975, 3, "no"),
    ],
)
def test_same_is_what_one_more_run_could_give(runs, claim, digits, same):
    assert same_number(summarise(runs), claim, digits) == same


def test_what_was_not_measured_is_not_the_same():
    assert same_number(None, 0.9, 2) == "no"


RECORDS = [
    {"outcome": "done", "test": {"accuracy": 0.5, "loss": 1.0},
     "history": {"epoch": [1, 2], "train_loss": [1.0, 0.5], "train_accuracy": [0.5, 0.6], "validation_loss": [0.9, 0.8],
                 "validation_accuracy": [0.4, 0.5]}},
    {"outcome": "diverged", "test": None, "history": {"epoch": [1], "train_loss": [9.0], "train_accuracy": [0.1],
                                                       "validation_loss": [9.0], "validation_accuracy": [0.1]}},
]  # fmt: skip


def test_scores_leave_out_what_diverged():
    assert last(RECORDS, "validation_accuracy").mean == 0.5
    assert last(RECORDS, "train_loss", 0).mean == 1.0
    assert on_test(RECORDS).n == 1
    assert diverged(RECORDS) == "1 of 2 runs diverged"
    assert diverged(RECORDS[:1]) == ""


def test_curve_has_a_summary_per_epoch():
    found = curve("name", RECORDS)
    assert (found["name"], found["runs"], found["epoch"]) == ("name", 2, [1, 2])
    assert [summary.mean for summary in found["train_loss"]] == [1.0, 0.5]
