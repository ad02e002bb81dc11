"""Whole trainings by register tiles: against the float64 oracle, against the textbook loops, for any shares and threads."""

import functools
import math
import platform
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmlp
from fastmlp import machine
from fastmlp.compilation import calls, options, stamps, waiting
from fastmlp.engines import records, tiled
from fastmlp.engines.choice import choose
from fastmlp.engines.program import Program
from fastmlp.engines.tiled import FORWARD_ROWS, TiledProgram
from fastmlp.engines.wanted import Wanted
from fastmlp.kernels import tiles
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.vectors import emitted
from tests.kernels.comparison import EACH_ONCE, integers
from tests.kernels.processes import result_of
from tests.kernels.test_textbook_step import Job, read_only
from tests.kernels.tiled_training import (
    PLACES,
    STEPS,
    TILES,
    by_the_oracle,
    by_the_oracle_with,
    error,
    run,
    signs,
    small,
    steps_of,
    textbook_program,
    tiled_program,
    units_at,
    units_per_tile,
    wanted,
)
from tests.oracle import mlp
from tests.pairs import each_pair

DTYPES = ["float32", "float64"]
TOLERANCES = {"float32": 1e-6, "float64": 1e-12}
LISTED = [True, False]
DEPTHS = {1: ["tanh"], 2: ["tanh", "relu"], 3: ["silu", "tanh", "relu"], 4: ["sigmoid", "silu", "identity", "tanh"]}

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
listed_or_not = pytest.mark.parametrize("listed", LISTED, ids=["listed", "dense"])


def check(job, dtype, listed=True, tolerance=None):
    """Train by tiles and by the oracle; raise where the parameters or the sums over the rows differ."""
    found, expected = run(tiled_program(job, dtype, listed), steps_of(job, dtype)), by_the_oracle(job)
    tolerance = tolerance or TOLERANCES[dtype]
    assert error(found.parameters, mlp.flat(expected.layers)) < tolerance
    weight = job.rows if job.weights() is None else job.weights().sum()
    assert found.total == pytest.approx([expected.loss_sum, expected.correct, weight, job.rows], rel=10 * tolerance)
    assert found.reached == job.rows


def assert_same_bits(one, other):
    for name in ("parameters", "m", "v", "total", "average"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.reached == other.reached


# --- against the oracle --------------------------------------------------------------------------------------------------


@each_pair(tile=TILES, place=PLACES, batch_size=[10, records.TRANSPOSED_ROWS], dtype=DTYPES)
def test_training_with_any_number_of_units_equals_the_oracle(tile, place, batch_size, dtype):
    units = units_at(place, tile, dtype)
    job = Job([9, units, units, 3], ["tanh", "relu"], "cross_entropy", rows=2 * batch_size + 3, batch_size=batch_size)
    check(job, dtype, tolerance=TOLERANCES[dtype] * math.sqrt(batch_size / 10))  # rounding grows with the sums over the rows


@each_pair(K=[1, 2, 3, 63, 64, 65, 127, 128, 129, 783, 784, 785], listed=LISTED, dtype=DTYPES)
def test_training_with_any_number_of_inputs_equals_the_oracle(K, listed, dtype):
    check(Job([K, 20, 3], ["tanh"], "cross_entropy", rows=23, batch_size=10), dtype, listed)


@each_dtype
@pytest.mark.parametrize("loss", LOSSES)
def test_training_with_any_number_of_outputs_equals_the_oracle(loss, dtype, subtests):
    for C in (1, 2, 3, 10, 17, 130):
        with subtests.test(C=C):
            check(Job([9, 90, C], ["relu"], loss, rows=23, batch_size=10), dtype)


@each_pair(batch_size=[1, 4, 5, 6, 7, 8, 9, 16, 63, 64, 65, 128, 129, 130], listed=LISTED, dtype=DTYPES)
def test_training_with_any_size_of_batch_equals_the_oracle(batch_size, listed, dtype):
    check(Job([70, 20, 15, 3], ["relu", "tanh"], "cross_entropy", rows=2 * batch_size + 1, batch_size=batch_size), dtype, listed)


@each_dtype
@pytest.mark.parametrize("last", [1, 2, 63, 64, 65, 100, 129])
def test_a_last_shorter_batch_is_trained(last, dtype):
    check(Job([70, 20, 15, 3], ["relu", "tanh"], "cross_entropy", rows=130 + last, batch_size=130), dtype)


@each_pair(depth=DEPTHS, widths=[(17, 81, 40, 5), (100, 30, 16, 65), (1, 2, 3, 4)], listed=LISTED, dtype=DTYPES)
def test_training_of_one_to_four_hidden_layers_equals_the_oracle(depth, widths, listed, dtype):
    check(Job([33, *widths[:depth], 7], DEPTHS[depth], "mse", rows=50, batch_size=12), dtype, listed)


@each_dtype
def test_training_with_every_activation_and_loss_equals_the_oracle(dtype, subtests):
    for activation, loss in EACH_ONCE:
        with subtests.test(activation=activation, loss=loss):
            check(Job([33, 21, 18, 5], [activation] * 2, loss, rows=50, batch_size=12), dtype)


@each_dtype
@pytest.mark.parametrize("mean", [True, False], ids=["mean", "sum"])
def test_weighted_rows_train_like_the_oracle(mean, dtype):
    check(Job([33, 21, 5], ["silu"], "mse", rows=50, batch_size=12, learning_rate=0.02, mean=mean, weighted=True), dtype)


def units():
    return st.builds(units_at, st.sampled_from(list(PLACES)), st.sampled_from(TILES), st.sampled_from(DTYPES))


@st.composite
def jobs(draw):
    sizes = [draw(st.sampled_from([1, 3, 64, 129, 200])), *draw(st.lists(units(), min_size=1, max_size=4))]
    return Job(
        [*sizes, draw(st.integers(1, 20))],
        draw(st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=len(sizes) - 1, max_size=len(sizes) - 1)),
        draw(st.sampled_from(sorted(LOSSES))),
        rows=draw(st.integers(1, 140)),
        batch_size=draw(st.integers(1, 130)),
        learning_rate=draw(st.sampled_from([0.01, 0.1])),
        mean=draw(st.booleans()),
        weighted=draw(st.booleans()),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=100, derandomize=True)
@given(job=jobs(), listed=st.booleans())
def test_training_of_any_network_equals_the_oracle(job, listed):
    check(job, "float64", listed, tolerance=1e-9)


# --- exact ---------------------------------------------------------------------------------------------------------------

EXACT_SIZES = {
    "inside one tile": [5, 7, 2],
    "one of everything": [1, 1, 1],
    "over the edges of blocks, panels and tiles": [129, 83, 4],
    "two hidden layers": [65, 17, 81, 4],
    "two hidden layers of several panels": [65, 170, 131, 4],
    "three hidden layers": [40, 33, 16, 17, 2],
}


@each_pair(name=EXACT_SIZES, rows=[1, 4, 67], activation=["identity", "relu"], listed=LISTED)
def test_one_step_in_float32_is_exact_on_integers(name, rows, activation, listed):
    # 2 / C and the learning rate are powers of two
    sizes = EXACT_SIZES[name]
    job = Job(sizes, [activation] * (len(sizes) - 2), "mse", rows=rows, batch_size=rows, learning_rate=2.0**-3, mean=False)
    found = run(tiled_program(job, "float32", listed), steps_of(job, "float32", signs))
    np.testing.assert_array_equal(found.parameters, mlp.flat(by_the_oracle(job, signs).layers))


def test_more_inputs_than_a_live_list_can_name_are_not_listed():
    K = 65_536 + 10
    job = Job([K, 3, 1], ["identity"], "mse", rows=4, batch_size=4, learning_rate=2.0**-3, mean=False)
    x = np.zeros((4, K), np.float32)
    x[:, [0, 65_537, K - 1]] = [1, 2, 4]
    steps = steps_of(job, "float32", integers, x=x)
    expected = steps.parameters.copy()
    run(tiled_program(job, "float32", listed=False), steps._replace(parameters=expected))
    chosen = choose(wanted(job, "float32", x=x, trained_on=np.arange(4), zero_skipping="on"))
    np.testing.assert_array_equal(run(chosen, steps).parameters, expected)


# --- against the textbook loops, and with and without the skipping of zeros ----------------------------------------------


@each_pair(sizes=[[784, 64, 10], [33, 21, 90, 5]], update=STEPS, dtype=DTYPES)
def test_tiles_train_like_the_textbook_loops(sizes, update, dtype):
    job = Job(sizes, ["silu"] * (len(sizes) - 2), "cross_entropy", rows=103, batch_size=20)
    textbook = textbook_program(job, dtype, update=update)
    found, expected = (
        run(program, steps_of(job, dtype, rule=STEPS[update])) for program in (tiled_program(job, dtype, update=update), textbook)
    )
    assert error(found.parameters, expected.parameters) < TOLERANCES[dtype]
    assert found.total == pytest.approx(expected.total, rel=1e-5 if dtype == "float32" else 1e-12)


def rows_with_zeros(kind, M, K):
    x = small(M, K).astype(np.float32)
    if kind == "some rows all zero":
        x[::3] = 0
    elif kind == "all rows zero":
        x[:] = 0
    elif kind == "no zeros":
        x[x == 0] = 1
    elif kind == "few inputs ever used":
        x[:, np.arange(K) % 50 != 7] = 0
    elif kind == "zeros of both signs":
        x[:, ::2] *= -0.0
    elif kind == "a whole tile zero":
        x[:40] = 0
    return x


KINDS_OF_ZEROS = [
    "scattered",
    "some rows all zero",
    "all rows zero",
    "no zeros",
    "few inputs ever used",
    "zeros of both signs",
    "a whole tile zero",
]


@pytest.mark.parametrize("update", ["sgd", "adam"])
@pytest.mark.parametrize("kind", KINDS_OF_ZEROS)
def test_skipping_zeros_changes_no_bit(kind, update):
    job = Job([300, 90, 20, 4], ["relu", "tanh"], "cross_entropy", rows=200, batch_size=70)
    x = rows_with_zeros(kind, job.rows, 300)
    listed, dense = (
        run(tiled_program(job, "float32", listed, update=update), steps_of(job, "float32", rule=STEPS[update], x=x))
        for listed in (True, False)
    )
    assert_same_bits(listed, dense)


@pytest.mark.parametrize("kind", KINDS_OF_ZEROS)
def test_training_on_any_zeros_equals_the_oracle(kind):
    job = Job([300, 90, 4], ["tanh"], "cross_entropy", rows=200, batch_size=70)
    x = rows_with_zeros(kind, job.rows, 300).astype(np.float64)
    found = run(tiled_program(job, "float64"), steps_of(job, "float64", x=x))
    layers = mlp.layers_of(job.parameters(small), job.sizes)
    expected = mlp.train(
        layers, job.activations, job.loss, x, job.target(), order=job.order(), batch_size=job.batch_size, learning_rate=job.learning_rate
    )
    assert error(found.parameters, mlp.flat(expected.layers)) < 1e-12


@listed_or_not
def test_bytes_train_like_the_same_numbers_as_floats(listed):
    job = Job([70, 20, 3], ["sigmoid"], "cross_entropy", rows=30, batch_size=8)
    values = np.random.default_rng(0).integers(0, 256, (30, 70)) * np.random.default_rng(1).integers(0, 2, (30, 70))
    scale, shift = np.full(70, 1 / 255, np.float32), np.full(70, 0 if listed else -0.5, np.float32)
    found = [
        run(tiled_program(job, "float32", listed), steps_of(job, "float32", x=read_only(values, dtype), scale=scale, shift=shift))
        for dtype in (np.uint8, np.float32)
    ]
    assert_same_bits(*found)


# --- zeros of inputs that are shifted afterwards ---------------------------------------------------------------------------


def shifts(K):
    """Return a shift for every input, of either sign, one of them 0."""
    return np.where(np.arange(K) == K // 2, 0.0, 0.25 * (1 + np.arange(K) % 5) * (-1.0) ** np.arange(K))


SHIFTED = {
    "one hidden layer": Job([70, 20, 3], ["sigmoid"], "cross_entropy", rows=23, batch_size=10),
    "many panels": Job([300, 200, 4], ["tanh"], "cross_entropy", rows=40, batch_size=16, learning_rate=0.05),
    "two hidden layers": Job([33, 81, 16, 3], ["silu", "tanh"], "mse", rows=60, batch_size=13, weighted=True),
    "batches of 63 rows": Job([70, 20, 3], ["relu"], "cross_entropy", rows=130, batch_size=63),
    "batches of 64 rows": Job([70, 20, 3], ["relu"], "cross_entropy", rows=130, batch_size=64),
    "batches of 130 rows": Job([65, 20, 3], ["relu"], "cross_entropy", rows=140, batch_size=130),
}


@pytest.mark.parametrize("update", STEPS)
@pytest.mark.parametrize("name", SHIFTED)
def test_training_on_shifted_inputs_whose_zeros_are_skipped_equals_the_oracle(name, update):
    job = SHIFTED[name]
    shift = shifts(job.sizes[0])
    program = tiled_program(job, "float64", update=update, shifted=True)
    rule = STEPS[update]._replace(learning_rate=job.learning_rate if update == "sgd" else 0.01)
    found = run(program, steps_of(job, "float64", rule=rule, shift=shift))
    expected = by_the_oracle_with(rule, job, x=job.x(small) + shift)
    assert error(found.parameters, expected.parameters) < 1e-10


def test_one_step_on_shifted_inputs_is_exact_on_integers():
    job = Job([129, 83, 4], ["relu"], "mse", rows=7, batch_size=7, learning_rate=2.0**-3, mean=False)
    shift = np.sign(shifts(129))
    found = run(tiled_program(job, "float32", shifted=True), steps_of(job, "float32", signs, shift=shift.astype(np.float32)))
    expected = by_the_oracle_with(STEPS["sgd"]._replace(learning_rate=2.0**-3), job, signs, x=job.x(signs) + shift)
    np.testing.assert_array_equal(found.parameters, expected.parameters.astype(np.float32))


@each_pair(name=["many panels", "two hidden layers"], shares=[2, 3, 7], update=STEPS)
def test_bits_on_shifted_inputs_are_the_same_for_any_shares_and_cuts(name, shares, update, monkeypatch):
    monkeypatch.setattr(tiled, "TEAM_MULTIPLY_ADDS", 0)
    job = SHIFTED[name]

    def steps():
        return steps_of(job, "float32", rule=STEPS[update], shift=shifts(job.sizes[0]).astype(np.float32))

    one = run(tiled_program(job, "float32", shares=1, update=update, shifted=True), steps())
    program, cut = tiled_program(job, "float32", shares=shares, update=update, shifted=True), steps()
    for first, last in pairwise([0, job.batch_size, job.rows]):
        found = run(program, cut._replace(first=first, last=last))
        cut = cut._replace(rates=cut.rates[1:])
    assert_same_bits(found, one)


# --- shares and threads --------------------------------------------------------------------------------------------------


@pytest.fixture
def always_shared(monkeypatch):
    """Cut the smallest network into shares, too; return a function that says how many cores there are."""
    monkeypatch.setattr(tiled, "TEAM_MULTIPLY_ADDS", 0)
    return lambda cores: monkeypatch.setattr(machine, "usable_cores", lambda: cores)


SHARED = {
    "listed": Job([300, 90, 4], ["relu"], "cross_entropy", rows=150, batch_size=70),
    "deep": Job([33, 81, 16, 130, 3], ["relu", "silu", "tanh"], "mse", rows=60, batch_size=13, weighted=True),
    "deep, with many rows": Job([33, 170, 81, 130, 3], ["relu", "silu", "tanh"], "mse", rows=150, batch_size=records.TRANSPOSED_ROWS),
    "fewer panels, outputs and rows than shares": Job([2, 3, 3, 1], ["tanh", "relu"], "binary_cross_entropy", rows=11, batch_size=5),
}


@each_pair(name=SHARED, shares=[2, 3, 7], threads=[1, 2], update=STEPS)
def test_bits_are_the_same_for_any_shares_on_any_threads(name, shares, threads, update, always_shared):
    job = SHARED[name]
    always_shared(threads)
    program = tiled_program(job, "float32", shares=shares, update=update)
    assert (program.shares, program.threads) == (shares, threads)
    one, found = (
        run(any_program, steps_of(job, "float32", rule=STEPS[update]))
        for any_program in (tiled_program(job, "float32", shares=1, update=update), program)
    )
    assert_same_bits(found, one)


def test_small_networks_have_one_share():
    assert tiled_program(Job([9, 9, 3], ["relu"], "mse", rows=9, batch_size=9), "float32", shares=7).shares == 1


def test_bits_do_not_depend_on_where_a_run_is_cut_between_batches():
    job = SHARED["deep"]
    program, whole = tiled_program(job, "float32"), run(tiled_program(job, "float32"), steps_of(job, "float32"))
    steps = steps_of(job, "float32")
    for first, last in pairwise([0, 13, 52, 60]):
        cut = run(program, steps._replace(first=first, last=last))
    assert_same_bits(cut, whole)


@pytest.mark.parametrize(("rows", "batch_size"), [(60, 13), (300, 130)], ids=["few rows", "as many as ask for weights ahead"])
def test_the_size_of_a_cache_changes_no_bit(rows, batch_size, monkeypatch):
    job, found = Job([33, 200, 130, 90, 3], ["relu", "silu", "tanh"], "mse", rows=rows, batch_size=batch_size), []
    for size in (1, 2**13, 2**16, 2**21):  # few rows of weights at a time, more, all
        monkeypatch.setattr(machine, "second_level_cache", lambda size=size: size)
        found.append(run(tiled_program(job, "float32"), steps_of(job, "float32")))
    for other in found[1:]:
        assert_same_bits(other, found[0])


def test_what_a_program_did_before_changes_nothing():
    job = SHARED["listed"]
    program = tiled_program(job, "float32")
    longer = steps_of(job, "float32", x=read_only(np.full((150, 300), 3), "float32"))
    run(program, longer)
    run(program, longer._replace(x=read_only(np.full((150, 300), np.nan), "float32")))
    assert_same_bits(run(program, steps_of(job, "float32")), run(tiled_program(job, "float32"), steps_of(job, "float32")))


# --- a loss that is not finite -------------------------------------------------------------------------------------------


@each_pair(bad=[0, 1, 2, 4], value=[np.nan, np.inf], update=STEPS, listed=LISTED, threads=[1, 2])
def test_a_batch_whose_loss_is_not_finite_is_named_and_changes_nothing(bad, value, update, listed, threads, always_shared):
    always_shared(threads)
    job = Job([70, 20, 3], ["sigmoid"], "mse", rows=22, batch_size=5)  # five batches, the last one of two rows
    target = np.array(job.target(small), np.float32)
    target[job.order()[5 * bad + 1], 2] = value
    last = [
        run(tiled_program(job, "float32", listed, update=update), steps_of(job, "float32", rule=STEPS[update], target=target, last=last))
        for last in (22, 5 * bad)
    ]
    assert last[0].reached == -(5 * bad + 1)
    assert_same_bits(last[0]._replace(reached=0), last[1]._replace(reached=0))


def test_a_nan_among_listed_inputs_is_seen():
    job = Job([300, 20, 3], ["sigmoid"], "cross_entropy", rows=10, batch_size=5)
    x = np.zeros((10, 300), np.float32)
    x[job.order()[7], 299] = np.nan
    assert run(tiled_program(job, "float32"), steps_of(job, "float32", x=x)).reached == -(5 + 1)


def test_training_names_the_batch_that_diverged():
    x = np.ones((60, 20))
    x[30:] = 1e30
    net = fastmlp.Network([20, 30, 1], "identity", "identity")
    trainer = fastmlp.Trainer(
        fastmlp.make_plan(
            net,
            x,
            np.ones(60),
            fastmlp.TrainingSettings(batch_size=10, learning_rate=1e-3, epochs=1, normalize="scale", normalize_target="none"),
        )
    )
    assert isinstance(trainer.program, TiledProgram)
    with pytest.raises(fastmlp.TrainingError, match=r"epoch 1, batch \d of 6"):
        list(trainer.run())
    assert np.isfinite(net.parameters).all()


# --- padding -------------------------------------------------------------------------------------------------------------


@listed_or_not
@pytest.mark.parametrize("update", STEPS)
@pytest.mark.parametrize("sizes", [[33, 81, 17, 3], [64, 16, 16, 3]], ids=["rows with padding", "full rows"])
def test_padding_of_weights_and_their_states_stays_zero(sizes, update, listed):
    job = Job(sizes, ["sigmoid", "silu"], "cross_entropy", rows=60, batch_size=13)
    program = tiled_program(job, "float32", listed, update=update)
    steps = steps_of(job, "float32", rule=STEPS[update])
    run(program, steps)
    layout, states = program._layout, [steps.m_state.size, steps.v_state.size]
    copies = 1 + np.count_nonzero(states)
    assert layout.arena[: copies * layout.state].any()
    for copy in range(copies):
        layout.pack(np.zeros_like(steps.parameters), copy)
    assert not layout.arena[: copies * layout.state].any()


# --- the default training runs the tiles ---------------------------------------------------------------------------------


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """Return a function that keeps what is compiled from then on apart: broken code must not be found later, nor find what was whole."""

    def begin():
        monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
        stamps.code_folder.cache_clear()

    yield begin
    stamps.code_folder.cache_clear()


def default_training():
    generator = np.random.default_rng(0)
    net = fastmlp.Network([33, 40, 20, 5])
    fastmlp.train(net, generator.standard_normal((60, 33)), generator.integers(0, 5, 60), epochs=1, batch_size=10, learning_rate=0.1)
    return net.parameters


@pytest.mark.skipif(not options.JIT, reason="breaks what compiled code is made of")
@pytest.mark.parametrize("kind", ["product", "dot", "update"])
def test_default_training_runs_the_tile(kind, monkeypatch, fresh_cache):
    expected = default_training()
    np.testing.assert_array_equal(default_training(), expected)
    fresh_cache()
    made, broken = records.panel_block, []

    def nothing(twin, emit):
        return emitted(twin, functools.wraps(emit)(lambda *values: None))

    def block(name, tile=(), *others, **form):
        if tile[:1] != (kind,):
            return made(name, tile, *others, **form)
        broken.append(name)
        with monkeypatch.context() as patch:
            patch.setattr(tiles, "emitted", nothing)
            return made.__wrapped__(name, tile, *others, **form)

    monkeypatch.setattr(records, "panel_block", block)
    found = default_training()
    assert broken
    assert not np.array_equal(found, expected)


# --- outputs -------------------------------------------------------------------------------------------------------------


@each_pair(
    rows=[1, 4, 7, 64, FORWARD_ROWS - 1, FORWARD_ROWS, FORWARD_ROWS + 1, 2 * FORWARD_ROWS + 3],
    sizes=[[784, 90, 10], [33, 81, 17, 130, 1], [1, 1, 1]],
    dtype=DTYPES,
)
def test_outputs_are_those_of_the_textbook_loops_to_the_bit(sizes, rows, dtype):
    job = Job(sizes, ["silu", "relu", "tanh"][: len(sizes) - 2], "mse", rows=rows, batch_size=rows)
    parameters, x = np.array(job.parameters(small), dtype), read_only(job.x(small), dtype)
    scale, shift = np.full(sizes[0], 0.5, dtype), np.full(sizes[0], 0.25, dtype)
    found, expected = np.full((rows, sizes[-1]), np.nan, dtype), np.full((rows, sizes[-1]), np.nan, dtype)
    program = TiledProgram(Wanted(sizes, job.activations, dtype, min(rows, FORWARD_ROWS), 2), listed=False)
    program.outputs(parameters, x, 0, rows, scale, shift, found)
    Program(Wanted(sizes, job.activations, dtype, rows, kernels="scalar")).outputs(parameters, x, 0, rows, scale, shift, expected)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shares", [2, 3, 7])
def test_outputs_are_the_same_for_any_shares_on_any_threads(shares, threads, always_shared):
    always_shared(threads)
    job = SHARED["deep"]
    parameters, x = np.array(job.parameters(small), np.float32), read_only(job.x(small), np.float32)
    one, many = np.empty((60, 3), np.float32), np.full((60, 3), np.nan, np.float32)
    for program_shares, out in ((1, one), (shares, many)):
        program = TiledProgram(Wanted(job.sizes, job.activations, "float32", 13, program_shares), listed=False)
        program.outputs(parameters, x, 0, 60, np.ones(33, np.float32), np.zeros(33, np.float32), out)
    np.testing.assert_array_equal(many, one)


def test_outputs_are_written_for_the_rows_asked_for():
    job = SHARED["deep"]
    parameters, x = np.array(job.parameters(small), np.float32), read_only(job.x(small), np.float32)
    whole, part = np.empty((60, 3), np.float32), np.full((20, 3), np.nan, np.float32)
    program = TiledProgram(Wanted(job.sizes, job.activations, "float32", 13, 2), listed=False)
    program.outputs(parameters, x, 0, 60, np.ones(33, np.float32), np.zeros(33, np.float32), whole)
    program.outputs(parameters, x, 31, 51, np.ones(33, np.float32), np.zeros(33, np.float32), part)
    np.testing.assert_array_equal(part, whole[31:51])


# --- other processors, and other ways to compile -------------------------------------------------------------------------

AVX2 = "+avx,+avx2,+bmi,+bmi2,+cx16,+f16c,+fma,+fxsr,+lzcnt,+mmx,+movbe,+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave"
# A target of the compiler, and the steps to try there. Code for 16 bytes has the narrowest panels: two float64 wide.
TARGETS = {
    "generic": ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, {"float32": ["sgd", "adam"], "float64": ["sgd"]}),
    "bounds checked": ({"NUMBA_BOUNDSCHECK": "1"}, {"float32": ["sgd", "adam"]}),
}
X86 = platform.machine() in ("x86_64", "AMD64")
if X86:
    TARGETS["AVX2"] = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2}, {"float32": ["sgd", "adam"]}
REGISTERS = {"AVX2": ["xmm", "ymm"], "generic": ["xmm"]}
ELSEWHERE = """
import json
from tests.kernels.test_tiled import names_compiled_for_other_networks, registers_of_compiled_code
from tests.kernels.tiled_training import errors_of_one_step_per_tile

errors = {dtype: errors_of_one_step_per_tile(dtype, updates) for dtype, updates in UPDATES.items()}
print(json.dumps([errors, registers_of_compiled_code() if READS_CODE else [], names_compiled_for_other_networks()]))
"""


class Report(NamedTuple):
    """What a process of its own, with an empty cache, found out."""

    errors: dict[str, dict[str, float]]  # of one step with every tile, by type of number
    registers: list[str]  # kinds of them in the code of all blocks
    compiled: list[str]  # for other networks than those of one step with every tile


def registers_of_compiled_code():
    code = [block.inspect_asm(signature) for block, signature, _ in calls._ALIVE]
    return [kind for kind in ("xmm", "ymm", "zmm") if any("%" + kind in text for text in code)]


def names_compiled_for_other_networks():
    """Return what the compiler is needed for by other sizes and depths, of tiles that were used before."""
    one, two = units_per_tile("float32")[-2:]
    names = []
    with waiting.watch(lambda name, seconds: names.append(name)):
        for sizes in ([10, one, one, 3], [300, one, one, one, one, 7], [129, two, two, 50], [33, two, two, two, 4]):
            for update, rule in STEPS.items():
                job = Job(sizes, ["relu", "tanh", "relu", "tanh"][: len(sizes) - 2], "cross_entropy", rows=30, batch_size=9)
                run(tiled_program(job, "float32", update=update), steps_of(job, "float32", rule=rule))
    return names


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Return a report for each target; the processes run side by side."""
    folders = {name: tmp_path_factory.mktemp(name.replace(" ", "-")) for name in TARGETS}  # not for threads to make

    def report(name):
        environment, updates = TARGETS[name]
        cache = {"FASTMLP_CACHE_DIR": str(folders[name]), "NUMBA_DISABLE_JIT": "0"}
        return Report(*result_of(f"UPDATES, READS_CODE = {updates}, {name in REGISTERS}\n{ELSEWHERE}", **environment, **cache))

    with ThreadPoolExecutor(2) as processes:
        return dict(zip(TARGETS, processes.map(report, TARGETS), strict=True))


@pytest.mark.long
@pytest.mark.parametrize(("target", "dtype"), [(target, dtype) for target, (_, dtypes) in TARGETS.items() for dtype in dtypes])
def test_one_step_with_every_tile_equals_the_oracle_on(target, dtype, reports):
    errors = reports[target].errors[dtype]
    assert len(errors) >= 2 * len(TARGETS[target][1][dtype])  # at least two tiles
    assert [name for name, error in errors.items() if not error < TOLERANCES[dtype]] == []


@pytest.mark.long
@pytest.mark.skipif(not X86, reason="names registers of x86")
@pytest.mark.parametrize(("target", "registers"), REGISTERS.items())
def test_code_for_another_processor_uses_its_registers_and_no_wider_ones(target, registers, reports):
    assert reports[target].registers == registers


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_other_sizes_and_depths_of_the_same_tiles_compile_nothing(target, reports):
    assert reports[target].compiled == []


INTERPRETED_JOBS = {
    "several segments": Job([70, 9, 3], ["relu"], "cross_entropy", rows=80, batch_size=70),
    "deep": Job([9, 11, 5, 6, 2], ["relu", "silu", "tanh"], "mse", rows=20, batch_size=7, weighted=True),
}


def train_jobs():
    """Return {"job update listed": parameters}."""
    return {
        f"{name} {update} {listed}": run(
            tiled_program(job, "float64", listed, update=update), steps_of(job, "float64", rule=rule)
        ).parameters
        for name, job in INTERPRETED_JOBS.items()
        for update, rule in STEPS.items()
        for listed in (True, False)
    }


INTERPRETED = """
import json
from fastmlp.engines import tiled
from tests.kernels.test_tiled import train_jobs
from tests.kernels.tiled_training import errors_of_one_step_per_tile

tiled.TEAM_MULTIPLY_ADDS = SHARES_FROM
print(json.dumps([errors_of_one_step_per_tile("float64"), {name: found.tolist() for name, found in train_jobs().items()}]))
"""


@pytest.fixture(scope="module")
def interpreted():
    """Return the errors of the twins of each tile, and the parameters of some trainings, in a process without a compiler."""
    return result_of(INTERPRETED.replace("SHARES_FROM", "10**9"), NUMBA_DISABLE_JIT="1")


def test_without_compiler_one_step_with_every_tile_equals_the_oracle(interpreted):
    errors, _ = interpreted
    assert len(errors) == 4  # two tiles, two updates
    assert [name for name, error in errors.items() if not error < TOLERANCES["float64"]] == []


def test_without_compiler_tiles_train_to_the_same_parameters(interpreted):
    _, parameters = interpreted
    for name, expected in train_jobs().items():
        assert error(np.array(parameters[name]), expected) < TOLERANCES["float64"], name


def test_without_compiler_a_network_of_several_shares_trains_to_the_same_parameters(interpreted):
    assert result_of(INTERPRETED.replace("SHARES_FROM", "0"), NUMBA_DISABLE_JIT="1") == interpreted
