"""Gradients clipped and pulled by L1 before the rule gets them, and averages of the weights, against the oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config

from fastmlp import machine
from fastmlp.compilation import decorators, forms
from fastmlp.engines import tiled
from fastmlp.kernels import textbook
from fastmlp.kernels.updates import UPDATES, Rates, clipped, descend, penalised
from tests.kernels.test_textbook_step import Job
from tests.kernels.test_tiled import SHARED, assert_same_bits
from tests.kernels.tiled_training import Limits, by_the_oracle_with, error, rates, run, small, steps_of, textbook_program, tiled_program
from tests.oracle.updates import Rule
from tests.pairs import each_pair

LIMITS = {
    "by value": Limits(clip_value=0.004),
    "by norm": Limits(clip_norm=0.05),
    "by l1": Limits(l1=0.003),
    "by all": Limits(clip_value=0.02, clip_norm=0.05, l1=0.003, average_decay=0.8),
}
RULES = {
    name: Rule(name, rate, weight_decay=0.03 * (name != "sgd"), beta1=0.8, beta2=0.9, epsilon=1e-4)
    for name, rate in {name: 0.3 if name in ("sgd", "momentum", "nesterov") else 0.01 for name in UPDATES}.items()
}
JOBS = {
    "one hidden layer": Job([70, 37, 3], ["tanh"], "cross_entropy", rows=50, batch_size=12),
    "four hidden layers": Job([9, 81, 17, 5, 40, 2], ["tanh", "silu", "identity", "sigmoid"], "mse", rows=40, batch_size=9),
    "weighted sums": Job([130, 20, 3], ["tanh"], "binary_cross_entropy", rows=300, batch_size=130, mean=False, weighted=True),
}
each_job = pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
FREE, ALL = Limits(average_decay=0.8), LIMITS["by all"]
each_limit = pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)


def by_tiles(job, dtype, rule, limits, listed=True, shares=2, averages=False, limited=True):
    program = tiled_program(job, dtype, listed, shares, rule.name, limited=limited, averages=averages)
    return run(program, steps_of(job, dtype, rule=rule, limits=limits))


def by_loops(job, dtype, rule, limits, kernels="scalar", averages=False, limited=True):
    program = textbook_program(job, dtype, kernels, update=rule.name, limited=limited, averages=averages)
    program.scratch[:] = np.nan
    return run(program, steps_of(job, dtype, rule=rule, limits=limits))


def expected_of(job, rule, limits):
    return by_the_oracle_with(rule, job, limited=limits.of)


# --- limits --------------------------------------------------------------------------------------------------------------


@each_pair(limits=LIMITS, job=JOBS, train=[by_tiles, by_loops])
def test_limited_training_equals_the_oracle(train, job, limits):
    job, limits = JOBS[job], LIMITS[limits]
    for rule in (RULES["sgd"], RULES["adam"]):
        found, expected = train(job, "float64", rule, limits), expected_of(job, rule, limits)
        assert error(found.parameters, expected.parameters) < 1e-10
        assert found.m.size == 0 or error(found.m, expected.m) < 1e-10


# How a limited gradient is handed to a rule depends on how many states the rule keeps, not on its formula: the others are long.
KINDS = ("sgd", "momentum", "adam")


@each_pair(train=[by_tiles, by_loops], dtype=["float32", "float64"])
@pytest.mark.parametrize("rule", [pytest.param(name, marks=[] if name in KINDS else [pytest.mark.long]) for name in RULES])
def test_every_rule_takes_limited_gradients(dtype, train, rule):
    rule, job = RULES[rule], JOBS["one hidden layer"]
    found, expected = train(job, dtype, rule, ALL), expected_of(job, rule, ALL)
    assert error(found.parameters, expected.parameters) < (1e-10 if dtype == "float64" else 1e-5)


@each_limit
@each_job
def test_the_limits_of_these_tests_are_reached(job, limits):
    free, limited = (expected_of(job, RULES["sgd"], each).parameters for each in (FREE, limits))
    assert error(free, limited) > 1e-4


@settings(max_examples=40, derandomize=True)
@given(
    name=st.sampled_from(KINDS),
    limits=st.sampled_from(list(LIMITS.values())),
    sizes=st.lists(st.sampled_from([1, 2, 9, 33, 64, 81]), min_size=3, max_size=5),
    batch_size=st.integers(1, 130),
    listed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_limited_training_of_any_network_equals_the_oracle(name, limits, sizes, batch_size, listed, seed):
    job = Job(sizes, ["tanh"] * (len(sizes) - 2), "mse", rows=70, batch_size=batch_size, seed=seed)
    found, expected = by_tiles(job, "float64", RULES[name], limits, listed), expected_of(job, RULES[name], limits)
    assert error(found.parameters, expected.parameters) < 1e-9


@each_pair(name=SHARED, shares=[2, 3, 7], threads=[1, 2], rule=["sgd", "momentum", "adam"])
def test_bits_are_the_same_for_any_shares_on_any_threads(name, shares, threads, rule, monkeypatch):
    monkeypatch.setattr(tiled, "TEAM_MULTIPLY_ADDS", 0)
    monkeypatch.setattr(machine, "usable_cores", lambda: threads)
    found, alone = (by_tiles(SHARED[name], "float32", RULES[rule], ALL, shares=number, averages=True) for number in (shares, 1))
    assert_same_bits(found, alone)


@each_limit
def test_skipping_zeros_changes_no_bit(limits):
    listed, dense = (by_tiles(JOBS["weighted sums"], "float32", RULES["adam"], limits, choice) for choice in (True, False))
    assert_same_bits(listed, dense)


@pytest.mark.long  # the limited loops over threads are compiled for nobody else, for many seconds
@pytest.mark.skipif(bool(config.BOUNDSCHECK), reason="with checks between them, other products and sums become one instruction")
def test_loops_over_threads_give_the_bits_of_serial_ones():
    job, rule = JOBS["one hidden layer"], RULES["adam"]
    found = []
    for threads in (1, 2):
        program = textbook_program(job, "float32", update=rule.name, limited=True)
        program.threads = threads
        found.append(run(program, steps_of(job, "float32", rule=rule, limits=ALL)))
    assert_same_bits(*found)


@each_limit
def test_interpreted_loops_give_what_compiled_ones_give(limits):
    job = Job([3, 4, 2], ["tanh"], "mse", rows=6, batch_size=3)
    found, expected = (by_loops(job, "float64", RULES["adam"], limits, kernels) for kernels in ("python", "scalar"))
    assert error(found.parameters, expected.parameters) < 1e-12


def test_bits_do_not_depend_on_where_a_run_is_cut_between_batches():
    job, rule = JOBS["four hidden layers"], RULES["adam"]
    program = tiled_program(job, "float32", update="adam", limited=True, averages=True)
    steps = steps_of(job, "float32", rule=rule, limits=ALL)
    for first, last in ((0, 9), (9, 27), (27, 40)):
        found = run(program, steps._replace(first=first, last=last, rates=steps.rates[first // 9 :]))
    assert_same_bits(found, by_tiles(job, "float32", rule, ALL, averages=True))


@pytest.mark.parametrize("train", [by_tiles, by_loops])
def test_a_loss_that_is_not_finite_changes_nothing(train):
    job = JOBS["one hidden layer"]
    broken = job._replace(batch_size=50)
    steps = steps_of(broken, "float32", rule=RULES["adam"], limits=ALL)
    steps = steps._replace(scale=np.full(70, np.nan, np.float32))
    options = {"limited": True, "averages": True}
    program = (
        tiled_program(broken, "float32", update="adam", **options)
        if train is by_tiles
        else textbook_program(broken, "float32", update="adam", **options)
    )
    found = run(program, steps)
    assert found.reached == -1
    np.testing.assert_array_equal(found.parameters, np.array(job.parameters(small), np.float32))
    np.testing.assert_array_equal(found.average, found.parameters)
    assert not found.m.any()


def test_one_row_at_a_time_is_limited_too():
    job, rule = Job([3, 4, 2], ["tanh"], "mse", rows=6, batch_size=1), RULES["sgd"]
    assert error(by_loops(job, "float64", rule, ALL).parameters, expected_of(job, rule, ALL).parameters) < 1e-12


# --- the formulas --------------------------------------------------------------------------------------------------------

NUMBERS = Rates(*rates(Rule("sgd", 0.1), 1, np.float64, limits=Limits(clip_value=0.5, l1=0.25))[0])


@given(st.floats(-10, 10))
def test_a_clipped_number_is_the_nearest_within_the_limit(gradient):
    assert clipped(gradient, NUMBERS) == np.clip(gradient, -0.5, 0.5)


@pytest.mark.parametrize(("weight", "expected"), [(3.0, 1.25), (-1e-30, 0.75), (0.0, 1.0)])
def test_l1_pulls_by_a_constant_towards_zero_and_leaves_zero_alone(weight, expected):
    assert penalised(1.0, weight, NUMBERS) == expected


def test_what_is_not_a_number_stays_so():
    assert np.isnan(clipped(np.nan, NUMBERS))
    assert np.isnan(penalised(1.0, np.nan, NUMBERS))


LIMITED_DESCENT = forms.specialise(textbook.limited_update, "descend", UPDATE=decorators.formula(descend))


def one_step(gradient, limits):
    """Return the step of plain descent at rate 1 from zero weights, in float32."""
    parameters, unused = np.zeros(len(gradient), np.float32), np.zeros(len(gradient), np.float32)
    table = rates(Rule("sgd", 1.0), 1, np.float32, limits=limits)
    LIMITED_DESCENT(parameters, unused, unused, np.array(gradient, np.float32), table[0])
    return -parameters


@pytest.mark.parametrize("size", [1e-30, 1.0, 3e25])
def test_a_gradient_whose_square_float32_cannot_hold_is_clipped_by_its_norm(size):
    np.testing.assert_allclose(one_step([3 * size, 4 * size], Limits(clip_norm=size)), [0.6 * size, 0.8 * size], rtol=1e-6)


@pytest.mark.parametrize("train", [by_tiles, by_loops])
def test_whole_networks_with_such_gradients_take_steps_of_the_length_allowed(train):
    job = Job([70, 37, 3], ["identity"], "mse", rows=12, batch_size=12)
    steps = steps_of(job, "float32", rule=Rule("sgd", 0.5), limits=Limits(clip_norm=2.0), scale=np.full(70, 1e15, np.float32))
    program = tiled_program(job, "float32", limited=True) if train is by_tiles else textbook_program(job, "float32", limited=True)
    found = run(program, steps)
    assert np.linalg.norm(found.parameters - job.parameters(small)) == pytest.approx(1.0, rel=1e-5)


def test_a_gradient_shorter_than_the_limit_is_left_as_it_is():
    np.testing.assert_array_equal(one_step([0.3, 0.4], Limits(clip_norm=0.6, clip_value=0.5)), np.array([0.3, 0.4], np.float32))


# --- averages ------------------------------------------------------------------------------------------------------------


@each_pair(job=JOBS, limits=[ALL, FREE], train=[by_tiles, by_loops])
def test_the_average_of_the_weights_equals_the_oracle(train, limits, job):
    job = JOBS[job]
    for rule in (RULES["sgd"], RULES["momentum"], RULES["adam"]):
        found, expected = train(job, "float64", rule, limits, averages=True, limited=limits is ALL), expected_of(job, rule, limits)
        assert error(found.average, limits.average(expected.trajectory)) < 1e-10
        assert error(found.parameters, expected.parameters) < 1e-10
        assert error(found.average, found.parameters) > 1e-4


@pytest.mark.parametrize("limited", [True, False], ids=["limited", "free"])
def test_keeping_an_average_changes_no_bit_of_the_weights(limited):
    job, rule = SHARED["listed"], RULES["adam"]
    with_average, without = (by_tiles(job, "float32", rule, ALL, averages=choice, limited=limited) for choice in (True, False))
    np.testing.assert_array_equal(with_average.parameters, without.parameters)
