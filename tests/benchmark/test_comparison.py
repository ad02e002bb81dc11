"""Ratios: what is set against what, what counts, what was missed."""

import pytest

from fastmlp.benchmark.comparison import compare, our_limit
from fastmlp.benchmark.measure import compared_losses
from fastmlp.benchmark.protocol import Configuration
from fastmlp.benchmark.workloads import MULTIPLY_ADDS, PEAK, TEXTBOOK_ONE, Limit, against, more_threads, share_of_peak
from tests.benchmark.measurements import measured, measurement

OURS = measurement("fastmlp", "auto", 2, 0.4, 0.1, 0.2)


def only(*measurements, target):
    """Return the comparison for one target."""
    (comparison,) = compare(measured(*measurements, targets=(target,)))
    return comparison


def test_ratio_is_the_time_of_the_fastest_configuration_over_ours():
    slow, quick = measurement("jax", "unroll 1", 1, 3.0), measurement("jax", "unroll 4", 2, 0.8)
    comparison = only(OURS, slow, quick, target=against("jax", 5.0))
    assert comparison.ratio == pytest.approx(4.0)
    assert comparison.theirs is quick


def test_medians_and_bests_are_compared_apart():
    steady, lucky = measurement("jax", "unroll 1", 1, 1.0, 1.0, 1.0), measurement("jax", "unroll 4", 1, 0.5, 2.0, 2.0)
    comparison = only(OURS, steady, lucky, target=against("jax", 5.0))
    assert comparison.ratio == pytest.approx(1.0 / 0.2)
    assert comparison.best_ratio == pytest.approx(0.5 / 0.1)


def test_target_of_a_variant_looks_at_that_variant_only():
    eager, in_place = measurement("torch", "eager", 1, 2.0), measurement("torch", "in-place", 1, 1.0)
    assert only(OURS, eager, in_place, target=against("torch", 8.0, "eager")).ratio == pytest.approx(10.0)


def test_ours_is_the_default_on_all_threads():
    one, all_threads = measurement("fastmlp", "auto", 1, 0.1), measurement("fastmlp", "auto", 2, 0.3)
    assert only(one, all_threads, measurement("jax", "unroll 1", 1, 0.6), target=against("jax", 5.0)).ratio == pytest.approx(2.0)


def test_ratio_without_zero_skipping_stands_beside_that_with():
    unskipped = measurement("fastmlp", "off", 2, 0.4)
    assert only(OURS, unskipped, measurement("jax", "unroll 1", 1, 0.8), target=against("jax", 5.0)).unskipped_ratio == pytest.approx(2.0)


def test_textbook_loops_are_compared_on_their_own():
    loops = measurement("fastmlp", "scalar", 1, 0.8)
    comparison = only(OURS, loops, measurement("jax", "unroll 1", 2, 0.6), target=against("jax", 0.9, ours=TEXTBOOK_ONE))
    assert comparison.ratio == pytest.approx(0.75)
    assert comparison.unskipped_ratio is None


def test_threads_are_compared_with_each_other():
    comparison = only(measurement("fastmlp", "auto", 1, 0.3), OURS, measurement("fastmlp", "off", 2, 0.4), target=more_threads(1.5))
    assert comparison.ratio == pytest.approx(1.5)
    assert comparison.unskipped_ratio is None


@pytest.mark.parametrize(("at_least", "missed_by"), [(5.0, 0.2), (4.0, 0.0), (3.0, 0.0), (None, None)])
def test_share_of_the_target_that_is_missing(at_least, missed_by):
    comparison = only(OURS, measurement("jax", "unroll 1", 1, 0.8), target=against("jax", at_least))
    assert comparison.missed_by == (None if missed_by is None else pytest.approx(missed_by))


def test_fault_takes_a_configuration_out_of_the_ratio():
    wrong, right = measurement("jax", "unroll 1", 1, 0.1, fault="another loss"), measurement("jax", "unroll 4", 1, 0.8)
    comparison = only(OURS, wrong, right, target=against("jax", 5.0))
    assert comparison.ratio == pytest.approx(4.0)
    assert comparison.best_ratio == pytest.approx(8.0)


def test_peer_without_a_time_that_counts_has_no_ratio_but_a_reason():
    comparison = only(OURS, measurement("jax", "unroll 1", 1, fault="not installed: jax"), target=against("jax", 5.0))
    assert (comparison.ratio, comparison.missed_by, comparison.fault) == (None, None, "not installed: jax")


def test_without_a_time_of_ours_that_is_the_reason():
    failed = measurement("fastmlp", "auto", 2, fault="TrainingError: diverged")
    assert only(failed, measurement("jax", "unroll 1", 1, 1.0), target=against("jax", 5.0)).fault == "TrainingError: diverged"


@pytest.mark.parametrize(
    ("loss", "agrees"), [(0.5, True), (0.50049, True), (0.49951, True), (0.5006, False), (0.4994, False), (float("nan"), False)]
)
def test_loss_has_to_agree_to_a_thousandth(loss, agrees):
    theirs = measurement("jax", "unroll 1", 1, 1.0, loss=loss)
    _, judged = compared_losses([OURS, theirs], OURS.configuration)
    assert (judged.fault is None) == agrees


def test_disagreeing_loss_voids_the_ratio():
    judged = compared_losses([OURS, measurement("jax", "unroll 1", 1, 1.0, loss=0.6)], OURS.configuration)
    comparison = only(*judged, target=against("jax", 5.0))
    assert comparison.ratio is None
    assert comparison.fault == "another loss: 0.6, not 0.5"


def test_nothing_is_judged_without_a_loss_of_ours():
    theirs = measurement("jax", "unroll 1", 1, 1.0, loss=0.6)
    assert compared_losses([theirs], Configuration("fastmlp", "auto", 2)) == [theirs]


def test_limit_is_set_against_our_default():
    reached = our_limit(measured(OURS, limit=Limit("0.10 s", 0.10)))
    assert reached.missed_by == pytest.approx(1.0)


def test_peak_of_all_threads_in_our_place_bounds_a_ratio():
    peaks = measurement(PEAK, MULTIPLY_ADDS, 1, 0.2), measurement(PEAK, MULTIPLY_ADDS, 2, 0.1)
    comparison = only(OURS, measurement("jax", "unroll 1", 1, 0.8), *peaks, target=against("jax", 5.0))
    assert (comparison.ratio, comparison.peak_ratio) == (pytest.approx(4.0), pytest.approx(8.0))


def test_share_of_the_peak_is_that_of_one_thread():
    peaks = measurement(PEAK, MULTIPLY_ADDS, 1, 0.3), measurement(PEAK, MULTIPLY_ADDS, 2, 0.1)
    assert only(measurement("fastmlp", "auto", 1, 0.4), OURS, *peaks, target=share_of_peak(0.9, "auto")).ratio == pytest.approx(0.75)


def test_aim_without_avx512_is_another_one():
    rows, target = (OURS, measurement("jax", "unroll 1", 1, 0.8)), against("jax", 5.0, without_avx512=2.0)
    (comparison,) = compare(measured(*rows, targets=(target,))._replace(has_avx512=False))
    assert (comparison.aim, comparison.missed_by) == (2.0, 0.0)


def test_limit_without_a_time_is_not_missed():
    assert our_limit(measured(limit=Limit("0.10 s", 0.10))).missed_by is None
