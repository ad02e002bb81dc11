"""The oracle's learning rates against numbers worked out by hand."""

import math

import pytest

from tests.oracle.schedules import Schedule, rate, reductions_on_plateau

# Ten epochs of four steps at rate 2; step: that of the third epoch's third step, counted from 0.
STEP, STEPS, EPOCHS = 10, 4, 10
BY_HAND = {
    "constant": 2.0,
    "step": 2.0 * 0.5,  # 2.5 epochs are one whole time of two
    "exponential": 2.0 * 0.5**1.25,
    "linear": 2.0 * (1.0 - 0.9 * 0.25),
    "cosine": 2.0 * (0.1 + 0.9 * (1.0 + math.cos(math.pi / 4.0)) / 2.0),
    "inverse": 2.0 / (1.0 + 0.5 * 1.25),
    "one_cycle": 2.0 * (0.04 + 0.96 * (1.0 - math.cos(math.pi * 10.0 / 12.0)) / 2.0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_rate_is_the_one_worked_out_by_hand(name):
    schedule = Schedule(name, 2.0, gamma=0.5, step_size=2.0, end_factor=0.1)
    assert rate(schedule, STEP, STEPS, EPOCHS) == pytest.approx(BY_HAND[name], rel=1e-14)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_schedule_begins_when_the_rate_has_risen(name):
    schedule = Schedule(name, 2.0, gamma=0.5, step_size=2.0, end_factor=0.1)
    warmed = schedule._replace(warmup_epochs=1.5)  # six steps
    assert [rate(warmed, step, STEPS, EPOCHS) for step in range(6)] == pytest.approx([2.0 * (step + 1) / 6.0 for step in range(6)])
    if name in ("linear", "cosine", "one_cycle"):  # what ends with the training has 34 steps left of 40
        assert rate(warmed, 6 + 17, STEPS, EPOCHS) == pytest.approx(rate(schedule, 17, 1, 34), rel=1e-14)
    else:
        assert rate(warmed, 6 + STEP, STEPS, EPOCHS) == pytest.approx(BY_HAND[name], rel=1e-14)


def test_one_cycle_rises_to_the_rate_and_falls_to_its_last_share():
    schedule = Schedule("one_cycle", 2.0, end_factor=0.1)
    assert [rate(schedule, step, 10, 10) for step in (0, 30, 65)] == pytest.approx([0.08, 2.0, 2.0 * 0.55])
    assert rate(schedule, 99, 10, 10) == pytest.approx(0.2, rel=0.01)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0),
        ([3.0, 2.0, 1.0], 0),
        ([3.0, 3.0, 3.0], 0),  # two epochs no better: not more than two
        ([3.0, 3.0, 3.0, 3.0], 1),
        ([3.0, 3.0, 3.0, 3.0, 3.0, 3.0], 1),
        ([3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0], 2),
        ([3.0, 3.0, 3.0, 2.0, 2.5, 2.5], 0),
        ([3.0, 4.0, 3.5, 3.1, 3.0], 1),  # better than the last one is not better than the best
    ],
)
def test_rate_is_lowered_after_more_than_two_epochs_without_a_better_one(values, expected):
    assert reductions_on_plateau(values, 2.0) == expected
