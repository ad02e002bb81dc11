"""Means, spreads and intervals against tables and simulation."""

import itertools
import math
import statistics

import numpy as np
import pytest
import scipy.stats

from fastmlp.search.statistics import Comparison, Summary, compare, lower_bound, next_run_margin, student_quantile, summarise


def test_summary_by_hand():
    assert summarise([1.0, 3.0, 5.0]) == Summary(3.0, 2.0, 1.0, 5.0, 3)


def test_missing_values_are_left_out():
    assert summarise([None, 2.0, None]) == Summary(2.0, None, 2.0, 2.0, 1)
    assert summarise([None]) is None
    assert summarise([]) is None


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (29, 2.04523), (1000, 1.96234)]
)  # NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2
def test_student_quantile_is_that_of_the_tables(degrees, quantile):
    assert student_quantile(0.975, degrees) == pytest.approx(quantile, rel=1e-5)


def test_interval_holds_the_true_difference_about_95_times_in_100_for_five_seeds():
    generator = np.random.default_rng(0)
    trials = 600
    held = 0
    for trial in range(trials):
        found = compare(generator.normal(1.0, 1.0, 5), generator.normal(0.0, 1.0, 5), seed=trial)
        held += found.low <= 1.0 <= found.high
    assert 0.92 < held / trials < 0.98


def test_interval_is_that_of_every_resampling_there_is():
    differences = [0.3, -0.1, 0.7, 0.2, 0.4]
    means = [statistics.fmean(chosen) for chosen in itertools.product(differences, repeat=5)]
    tail = scipy.stats.norm.cdf(-math.sqrt(5 / 4) * scipy.stats.t.ppf(0.975, 4))  # Hesterberg 2015, section 3.2
    expected = np.quantile(means, (tail, 1 - tail))
    found = compare(differences, [0.0] * 5)
    np.testing.assert_allclose((found.low, found.high), expected, atol=0.021)  # the step of such means is 0.02
    assert found == compare(differences, [0.0] * 5)


def test_lower_bound_is_that_of_student():
    values = [0.91, 0.94, 0.92, 0.97]
    expected = scipy.stats.t.interval(0.9, 3, loc=np.mean(values), scale=scipy.stats.sem(values))[0]  # 5 % on either side
    assert lower_bound(values) == pytest.approx(expected, rel=1e-6)
    assert lower_bound(values[:1]) is None


def test_without_a_true_difference_one_is_seldom_found():
    generator = np.random.default_rng(1)
    found = [compare(generator.normal(0, 1, 5), generator.normal(0, 1, 5), seed=trial).beyond_noise for trial in range(400)]
    assert 0.02 < np.mean(found) < 0.1  # in either direction


def test_pairing_takes_away_what_both_share():
    shared = np.random.default_rng(2).normal(0, 1, 8)
    small = np.linspace(0.009, 0.011, 8)
    assert compare(shared + small, shared).beyond_noise
    assert compare(shared, shared + small).beyond_noise  # worse, as much as better
    assert not compare(shared + small, shared[::-1]).beyond_noise


def test_difference_is_the_mean_of_differences():
    assert compare([3.0, 5.0, 4.0], [1.0, 2.0, 3.0]).difference == pytest.approx(2.0)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_seeds_are_too_few_to_tell(n):
    assert compare([2.0] * n, [1.0] * n) == Comparison(1.0, None, None, n, None)


def test_same_values_twice_are_no_difference():
    found = compare([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.difference, found.low, found.high, found.beyond_noise) == (0.0, 0.0, 0.0, False)


def test_margin_of_one_more_run_by_hand():
    assert next_run_margin(2.0, 5) == pytest.approx(2.77645 * 2.0 * math.sqrt(1.2), rel=1e-5)


def test_margin_of_one_more_run_holds_it_95_times_in_100():
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(1000):
        *runs, one_more = generator.normal(0, 1, 6).tolist()
        held += abs(one_more - statistics.fmean(runs)) <= next_run_margin(statistics.stdev(runs), 5)
    assert 0.93 < held / 1000 < 0.97
