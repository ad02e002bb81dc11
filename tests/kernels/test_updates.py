"""The optimizers, number by number and within the tiles, against sums over all gradients so far."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmlp
from fastmlp import machine
from fastmlp.engines import tiled
from fastmlp.kernels.updates import UPDATES, Rates
from tests.kernels.comparison import integers
from tests.kernels.test_textbook_step import Job
from tests.kernels.test_tiled import SHARED, assert_same_bits
from tests.kernels.tiled_training import (
    PLACES,
    TILES,
    by_the_oracle_with,
    error,
    rates,
    run,
    signs,
    small,
    steps_of,
    textbook_program,
    tiled_program,
    units_at,
)
from tests.oracle import mlp, updates
from tests.oracle.updates import Rule
from tests.pairs import each_pair

RULES = {
    "sgd": Rule("sgd", 0.3),
    "momentum": Rule("momentum", 0.1, beta1=0.9),
    "momentum with decay": Rule("momentum", 0.1, weight_decay=0.03, beta1=0.7),
    "decay without momentum": Rule("momentum", 0.1, weight_decay=0.03, beta1=0.0),
    "nesterov": Rule("nesterov", 0.1, beta1=0.9),
    "nesterov with decay": Rule("nesterov", 0.1, weight_decay=0.03, beta1=0.5),
    "adam": Rule("adam", 0.01),
    "adam with decay": Rule("adam", 0.01, weight_decay=0.03, beta1=0.8, beta2=0.9, epsilon=1e-4),
    "adamw": Rule("adamw", 0.01),
    "adamw with decay": Rule("adamw", 0.01, weight_decay=0.3, beta1=0.8, beta2=0.9, epsilon=1e-4),
    "nadam": Rule("nadam", 0.01),
    "nadam with decay": Rule("nadam", 0.01, weight_decay=0.03, beta1=0.8, beta2=0.9, epsilon=1e-4),
    "rmsprop": Rule("rmsprop", 0.01, beta2=0.99),
    "rmsprop with decay": Rule("rmsprop", 0.01, weight_decay=0.03, beta2=0.9, epsilon=1e-4),
    "rmsprop with momentum": Rule("rmsprop_momentum", 0.01, weight_decay=0.03, beta1=0.8, beta2=0.9, epsilon=1e-4),
    "adagrad": Rule("adagrad", 0.01, epsilon=1e-10),
    "adagrad with decay": Rule("adagrad", 0.05, weight_decay=0.03, epsilon=1e-4),
    "lion": Rule("lion", 0.01, beta2=0.99),
    "lion with decay": Rule("lion", 0.01, weight_decay=0.3, beta1=0.8, beta2=0.9),
}
WITH_STATE = {name: rule for name, rule in RULES.items() if rule.name != "sgd"}
JOBS = {
    "one hidden layer": Job([70, 37, 3], ["tanh"], "cross_entropy", rows=50, batch_size=12),
    "several segments of rows": Job([130, 20, 3], ["silu"], "mse", rows=300, batch_size=130),
    "four hidden layers": Job([9, 81, 17, 5, 40, 2], ["tanh", "silu", "identity", "sigmoid"], "mse", rows=40, batch_size=9),
    "weighted sums": Job([20, 15, 3], ["tanh"], "binary_cross_entropy", rows=30, batch_size=8, mean=False, weighted=True),
}
# Its widths are those of the small networks that are trained elsewhere by every rule: fewer tiles to compile for each of them.
FEW_UNITS = Job([70, 13, 3], ["tanh"], "cross_entropy", rows=50, batch_size=12)
# How tiles hand their numbers to a rule depends on how many states it keeps, not on its formula: these stand for all others.
OF_EACH_KIND = {name: RULES[name] for name in ("sgd", "nesterov with decay", "adam with decay")}
KINDS_WITH_STATE = {name: rule for name, rule in OF_EACH_KIND.items() if rule.name != "sgd"}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
each_kind = pytest.mark.parametrize("rule", OF_EACH_KIND.values(), ids=OF_EACH_KIND)
each_with_state = pytest.mark.parametrize("rule", WITH_STATE.values(), ids=WITH_STATE)
listed_or_not = pytest.mark.parametrize("listed", [True, False], ids=["listed", "dense"])


def trained(job, dtype, rule, listed=True, shares=2, **changes):
    return run(tiled_program(job, dtype, listed, shares, rule.name), steps_of(job, dtype, rule=rule, **changes))


# --- the formulas --------------------------------------------------------------------------------------------------------


def test_every_update_is_tried():
    assert {rule.name for rule in RULES.values()} == set(UPDATES)


@each_with_state
@given(gradients=st.lists(st.floats(-10, 10), min_size=1, max_size=8), weight=st.floats(-3, 3))
def test_formula_takes_the_steps_of_the_oracle(rule, gradients, weight):
    formula = UPDATES[rule.name].formula
    w, m, v = weight, 0.0, 0.0
    expected, decayed = np.array([weight]), []
    for numbers, gradient in zip(rates(rule, len(gradients), np.float64), gradients, strict=True):
        w, m, v = formula(w, gradient, m, v, Rates(*numbers))
        decayed.append(gradient + (0.0 if rule.name in updates.DECOUPLED else rule.weight_decay * expected))
        expected = updates.step(rule, expected, decayed)
        assert w == pytest.approx(expected[0], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_first_step_of_adam_is_the_learning_rate_whatever_the_gradient(name):
    numbers = Rates(*rates(Rule(name, 0.25), 1, np.float64)[0])
    for gradient in (1e-3, -7.0, 1e5):
        weight, _, _ = UPDATES[name].formula(0.0, gradient, 0.0, 0.0, numbers)
        assert weight == pytest.approx(-0.25 * np.sign(gradient), rel=1e-4)


def test_decay_of_adamw_does_not_depend_on_the_gradient():
    numbers = Rates(*rates(Rule("adamw", 0.25, weight_decay=0.5), 1, np.float64)[0])
    shrunk = [UPDATES["adamw"].formula(w, 3.0, 0.0, 0.0, numbers)[0] for w in (0.0, 1.0)]
    assert shrunk[1] - shrunk[0] == pytest.approx(1 - 0.25 * 0.5)


def test_a_gradient_of_zero_leaves_weight_and_state_alone_without_decay():
    for name, rule in WITH_STATE.items():
        numbers = Rates(*rates(rule._replace(weight_decay=0.0), 1, np.float64)[0])
        assert UPDATES[rule.name].formula(0.7, 0.0, 0.0, 0.0, numbers) == (0.7, 0.0, 0.0), name


# --- within the tiles ----------------------------------------------------------------------------------------------------


@each_rule
def test_every_rule_trains_as_the_oracle_does(rule):
    assert_trains_as_the_oracle(FEW_UNITS, rule, listed=True)


@each_pair(job=JOBS, kind=OF_EACH_KIND, listed=[True, False])
def test_training_equals_the_oracle(job, kind, listed):
    assert_trains_as_the_oracle(JOBS[job], RULES[kind], listed)


def assert_trains_as_the_oracle(job, rule, listed):
    found, expected = trained(job, "float64", rule, listed), by_the_oracle_with(rule, job)
    assert error(found.parameters, expected.parameters) < 1e-10
    for state, kept in ((found.m, expected.m), (found.v, expected.v)):
        assert state.size == 0 or error(state, kept) < 1e-10
    assert (found.m.size > 0) + (found.v.size > 0) == UPDATES[rule.name].states


def test_float32_training_equals_the_oracle(subtests):
    for name, rule in RULES.items():
        with subtests.test(name):
            rule = rule._replace(epsilon=1e-4)  # or the sign of a gradient of about 0 would count, which is rounding
            found, expected = trained(FEW_UNITS, "float32", rule), by_the_oracle_with(rule, FEW_UNITS)
            assert error(found.parameters, expected.parameters) < 1e-5


@each_pair(tile=TILES, place=PLACES, kind=KINDS_WITH_STATE)
def test_training_with_any_number_of_units_equals_the_oracle(tile, place, kind):
    units, rule = units_at(place, tile, "float64"), RULES[kind]
    job = Job([9, units, units, 3], ["tanh", "silu"], "cross_entropy", rows=23, batch_size=10)
    assert error(trained(job, "float64", rule).parameters, by_the_oracle_with(rule, job).parameters) < 1e-10


@settings(max_examples=50, derandomize=True)
@given(
    rule=st.sampled_from(list(KINDS_WITH_STATE.values())),
    sizes=st.lists(st.sampled_from([1, 2, 9, 33, 64, 81]), min_size=3, max_size=5),
    batch_size=st.integers(1, 130),
    listed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_training_of_any_network_equals_the_oracle(rule, sizes, batch_size, listed, seed):
    rule = rule._replace(epsilon=1e-4)
    job = Job(sizes, ["tanh"] * (len(sizes) - 2), "mse", rows=70, batch_size=batch_size, seed=seed)
    assert error(trained(job, "float64", rule, listed).parameters, by_the_oracle_with(rule, job).parameters) < 1e-9


def test_each_step_takes_its_own_rates(subtests):
    for name, rule in RULES.items():
        with subtests.test(name):

            def changed(number, rule):
                return rule._replace(learning_rate=rule.learning_rate * 0.5**number, weight_decay=rule.weight_decay * (number % 2))

            job = FEW_UNITS
            numbers = rates(rule, -(-job.rows // job.batch_size), np.float64, changed)
            found, expected = trained(job, "float64", rule, rates=numbers), by_the_oracle_with(rule, job, changed=changed)
            assert error(found.parameters, expected.parameters) < 1e-10


@pytest.mark.parametrize("engine", ["tiles", "textbook"])
def test_biases_take_their_step_by_the_second_half_of_wide_rates(engine):
    job, rule = Job([70, 37, 20, 3], ["tanh", "silu"], "cross_entropy", rows=12, batch_size=12), RULES["adam with decay"]
    of_weights = rates(rule, 1, np.float64)
    of_biases = rates(rule._replace(weight_decay=0.0, learning_rate=0.1), 1, np.float64)

    def stepped(numbers):
        textbook = textbook_program(job, "float64", update=rule.name)
        program = textbook if engine == "textbook" else tiled_program(job, "float64", True, 2, rule.name)
        return run(program, steps_of(job, "float64", rule=rule, rates=numbers)).parameters

    found = stepped(np.concatenate((of_weights, of_biases), axis=1))
    sizes = [(k * n, n) for k, n in zip(job.sizes, job.sizes[1:], strict=False)]
    is_bias = np.concatenate([np.repeat([False, True], counts) for counts in sizes])
    np.testing.assert_array_equal(found, np.where(is_bias, stepped(of_biases), stepped(of_weights)))


@listed_or_not
@pytest.mark.parametrize("rows", [1, 4, 67])
def test_one_step_of_momentum_in_float32_is_exact_on_integers(rows, listed):
    job = Job([129, 83, 4], ["relu"], "mse", rows=rows, batch_size=rows, mean=False)
    rule = Rule("momentum", 2.0**-3, weight_decay=0.5, beta1=0.25)  # powers of two
    before, m = job.parameters(signs), 4 * integers(129 * 83 + 83 + 83 * 4 + 4)
    found = trained(job, "float32", rule, listed, numbers=signs, m_state=m.astype(np.float32))
    gradient, _ = mlp.gradient(mlp.layers_of(before, job.sizes), job.activations, job.loss, job.x(signs), job.target(signs), np.ones(rows))
    m = 0.25 * m + mlp.flat(gradient) + 0.5 * before
    np.testing.assert_array_equal(found.m, m)
    np.testing.assert_array_equal(found.parameters, before - 2.0**-3 * m)


# --- the same in other ways ----------------------------------------------------------------------------------------------


@each_pair(job=JOBS, kind=OF_EACH_KIND, dtype=["float32", "float64"])
def test_tiles_train_like_the_textbook_loops(job, kind, dtype):
    job, rule = JOBS[job], RULES[kind]._replace(epsilon=1e-4)
    textbook = textbook_program(job, dtype, update=rule.name)
    expected = run(textbook, steps_of(job, dtype, rule=rule))
    assert error(trained(job, dtype, rule).parameters, expected.parameters) < (1e-5 if dtype == "float32" else 1e-12)


@each_pair(name=SHARED, shares=[3, 7], threads=[1, 2], kind=KINDS_WITH_STATE)
def test_bits_are_the_same_for_any_shares_on_any_threads(name, shares, threads, kind, monkeypatch):
    monkeypatch.setattr(tiled, "TEAM_MULTIPLY_ADDS", 0)
    monkeypatch.setattr(machine, "usable_cores", lambda: threads)
    job, rule = SHARED[name], RULES[kind]
    assert_same_bits(trained(job, "float32", rule, shares=shares), trained(job, "float32", rule, shares=1))


@each_kind
def test_skipping_zeros_changes_no_bit(rule):
    job = JOBS["several segments of rows"]
    assert_same_bits(trained(job, "float32", rule, listed=True), trained(job, "float32", rule, listed=False))


def test_bits_do_not_depend_on_where_a_run_is_cut_between_batches(subtests):
    jobs = [(FEW_UNITS, name) for name in WITH_STATE] + [(JOBS["four hidden layers"], name) for name in KINDS_WITH_STATE]
    for job, name in jobs:  # of five batches, the last one shorter
        with subtests.test(name, sizes=job.sizes):
            rule = RULES[name]
            program, steps, size = tiled_program(job, "float32", update=rule.name), steps_of(job, "float32", rule=rule), job.batch_size
            for first, last in ((0, size), (size, 3 * size), (3 * size, job.rows)):
                found = run(program, steps._replace(first=first, last=last, rates=steps.rates[first // size :]))
            assert_same_bits(found, trained(job, "float32", rule))


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_an_epsilon_that_a_type_cannot_hold_is_refused_or_trains(optimizer):
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((60, 20)), generator.integers(0, 3, 60)
    net = fastmlp.Network([20, 30, 3], "tanh")
    try:
        history = fastmlp.train(net, x, y, epochs=1, batch_size=20, optimizer=optimizer, epsilon=1e-60, learning_rate=0.01)
    except fastmlp.ConfigError:
        return
    assert np.isfinite(history[0].train_loss)
    assert np.isfinite(net.parameters).all()


def test_numbers_of_the_example_are_small_enough_to_learn():
    """The tests above compare trainings that move: where every update is 0, they would show nothing."""
    for rule in RULES.values():
        for job in (*JOBS.values(), FEW_UNITS):
            assert error(by_the_oracle_with(rule, job).parameters, job.parameters(small)) > 1e-4
