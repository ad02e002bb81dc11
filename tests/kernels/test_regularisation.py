"""Dropout, noise and max-norm within steps: against float64, exact on whole numbers, the same bits for any shares, threads and cuts."""

import platform
import re
from itertools import pairwise

import numpy as np
import pytest
from numba import config

from fastmlp import machine
from fastmlp.compilation import calls, forms, options, stamps, waiting
from fastmlp.engines import addresses, records, tiled
from fastmlp.kernels import panels, textbook
from fastmlp.kernels.random import threshold_of
from fastmlp.kernels.regularisation import NOTHING, Regularisation
from tests.kernels import regularised_training
from tests.kernels.comparison import FORMS, Case, check, integers, normals
from tests.kernels.processes import result_of
from tests.kernels.regularised_training import documented, limited
from tests.kernels.test_textbook_step import Job
from tests.kernels.test_tiled import SHARED, rows_with_zeros, shifts
from tests.kernels.tiled_training import (
    PLACES,
    STEPS,
    TILES,
    error,
    run,
    sgd,
    signs,
    small,
    steps_of,
    textbook_program,
    tiled_program,
    units_at,
    units_per_tile,
)
from tests.oracle import mlp
from tests.pairs import each_pair

DTYPES = ["float32", "float64"]
TOLERANCES = {"float32": 2e-6, "float64": 1e-12}
SEED = 5
RULES = {
    "dropout": Regularisation(SEED, dropout=(0.5, 0.25)),
    "dropout of one layer": Regularisation(SEED, dropout=(0.0, 0.9)),
    "dropout of inputs": Regularisation(SEED, input_dropout=0.3),
    "noise": Regularisation(SEED, input_noise=0.2),
    "max-norm": Regularisation(SEED, max_norm=0.4),
    "all": Regularisation(SEED, (0.1, 0.6), 0.2, 0.1, 0.5),
}
JOB = Job([70, 83, 21, 5], ["silu", "relu"], "cross_entropy", rows=53, batch_size=12, weighted=True)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_rule = pytest.mark.parametrize("rule", RULES)
each_update = pytest.mark.parametrize("update", STEPS)
listed_or_not = pytest.mark.parametrize("listed", [True, False], ids=["listed", "dense"])


def tiled_with(how, job=JOB, dtype="float32", listed=True, shares=2, update="sgd", shifted=False):
    return tiled_program(job, dtype, listed, shares, update, shifted, regularisation=how)


def textbook_with(how, job=JOB, dtype="float32", kernels="scalar", update="sgd"):
    return textbook_program(job, dtype, kernels, update=update, regularisation=how)


def stepped(job, update):
    return sgd(job) if update == "sgd" else STEPS[update]


def by_the_oracle(how, job=JOB, update="sgd", numbers=small, x=None, first_step=0):
    x = job.x(numbers) if x is None else x
    return regularised_training.train(stepped(job, update), how, job, job.parameters(numbers), x, job.target(numbers), first_step)


def assert_same_bits(one, other):
    for name in ("parameters", "m", "v", "total"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


# --- against the oracle, with the masks and the noise of the document ----------------------------------------------------


@each_pair(rule=RULES, update=STEPS, listed=[True, False], dtype=DTYPES)
def test_training_by_tiles_equals_the_oracle(rule, update, listed, dtype):
    found = run(tiled_with(RULES[rule], JOB, dtype, listed, update=update), steps_of(JOB, dtype, rule=stepped(JOB, update)))
    assert error(found.parameters, by_the_oracle(RULES[rule], JOB, update)) < TOLERANCES[dtype]


@each_pair(rule=RULES, update=STEPS, kernels=["scalar", "python"], dtype=DTYPES)
def test_training_by_the_textbook_loops_equals_the_oracle(rule, update, kernels, dtype):
    job = JOB._replace(sizes=[9, 13, 7, 3], rows=23, batch_size=5)
    found = run(textbook_with(RULES[rule], job, dtype, kernels, update), steps_of(job, dtype, rule=stepped(job, update)))
    assert error(found.parameters, by_the_oracle(RULES[rule], job, update)) < TOLERANCES[dtype]


@each_rule
def test_training_by_the_textbook_loops_over_threads_has_the_same_bits(rule):
    serial, parallel = (textbook_with(RULES[rule]) for _ in range(2))
    serial.threads, parallel.threads = 1, 2
    assert_same_bits(run(parallel, steps_of(JOB, "float32")), run(serial, steps_of(JOB, "float32")))


@each_rule
def test_every_rule_changes_the_training(rule):
    # or else it would equal the oracle by doing nothing
    with_rule, without = (run(tiled_with(how), steps_of(JOB, "float32")).parameters for how in (RULES[rule], NOTHING))
    assert error(with_rule, without) > 1e-3


@pytest.mark.parametrize("kernels", ["tiles", "scalar"])
@pytest.mark.parametrize("first_step", [1, 2**31, 2**40])
def test_the_number_of_the_first_step_decides_the_masks(first_step, kernels):
    how = RULES["all"]
    found = run(
        (tiled_with if kernels == "tiles" else textbook_with)(how, dtype="float64"), steps_of(JOB, "float64", first_step=first_step)
    )
    assert error(found.parameters, by_the_oracle(how, first_step=first_step)) < 1e-12
    assert error(found.parameters, by_the_oracle(how)) > 1e-3


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_the_seed_decides_the_masks(seed):
    how = RULES["all"]._replace(seed=seed)
    assert error(run(tiled_with(how, dtype="float64"), steps_of(JOB, "float64")).parameters, by_the_oracle(how)) < 1e-12


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "relu", "silu"])
@pytest.mark.parametrize("widths", [(17,), (81, 40), (30, 16, 65), (5, 33, 20, 7)])
def test_dropout_of_any_activation_and_depth_equals_the_oracle(widths, activation):
    job = Job([33, *widths, 4], [activation] * len(widths), "mse", rows=50, batch_size=12, learning_rate=0.1)
    how = Regularisation(SEED, dropout=(0.5, 0.2, 0.4, 0.1)[: len(widths)])
    assert error(run(tiled_with(how, job, "float64"), steps_of(job, "float64")).parameters, by_the_oracle(how, job)) < 1e-12


@pytest.mark.parametrize("K", [1, 2, 63, 64, 65, 129])
def test_any_number_of_inputs_is_dropped_and_disturbed_like_the_oracles(K):
    job, how = Job([K, 20, 3], ["tanh"], "cross_entropy", rows=23, batch_size=10), Regularisation(SEED, input_dropout=0.5, input_noise=0.3)
    assert error(run(tiled_with(how, job, "float64"), steps_of(job, "float64")).parameters, by_the_oracle(how, job)) < 1e-12


def test_batches_of_one_row_are_dropped_and_limited_too():
    job = Job([5, 7, 3], ["relu"], "cross_entropy", rows=20, batch_size=1)
    for how in (Regularisation(SEED, dropout=(0.5,)), Regularisation(SEED, input_dropout=0.5), Regularisation(SEED, max_norm=0.2)):
        assert not (found := textbook_with(how, job, "float64")).by_row
        assert error(run(found, steps_of(job, "float64")).parameters, by_the_oracle(how, job)) < 1e-12


# --- exact on whole numbers ----------------------------------------------------------------------------------------------


@each_pair(tile=TILES, place=PLACES, listed=[True, False])
def test_one_step_with_dropout_is_exact_on_integers(tile, place, listed):
    # 1 / (1 - p), 2 / C and the learning rate are powers of two
    units = units_at(place, tile, "float32")
    job = Job([65, units, units, 4], ["relu", "identity"], "mse", rows=7, batch_size=7, learning_rate=2.0**-3, mean=False)
    how = Regularisation(SEED, dropout=(0.5, 0.75), input_dropout=0.5)
    found = run(tiled_with(how, job, listed=listed), steps_of(job, "float32", signs))
    np.testing.assert_array_equal(found.parameters, by_the_oracle(how, job, numbers=signs).astype(np.float32))


def test_tiles_and_textbook_loops_take_the_same_step_on_integers():
    job = Job([65, 83, 4], ["relu"], "mse", rows=67, batch_size=67, learning_rate=2.0**-3, mean=False)
    how = Regularisation(SEED, dropout=(0.5,), input_dropout=0.75)
    assert_same_bits(*(run(program(how, job), steps_of(job, "float32", signs)) for program in (tiled_with, textbook_with)))


@pytest.mark.parametrize("form", ["pure", "serial", "parallel"])
@pytest.mark.parametrize(("M", "N"), [(1, 1), (3, 17), (20, 64)])
def test_drop_multiplies_what_it_keeps(M, N, form):
    how, x = Regularisation(SEED, dropout=(0.5,)).of_units(0), integers(M, N)
    is_dropped = documented()["is_dropped"](0.5, SEED, 1, 9, M, N)
    out = np.full((M, N), np.nan, np.float32)
    with np.errstate(over="ignore"):
        FORMS[form](textbook.drop)(x.astype(np.float32), np.int64(how.key), 9, how.threshold, how.factor, out)
    np.testing.assert_array_equal(out, np.where(is_dropped, 0, 2 * x))


def test_a_unit_that_is_zero_by_itself_is_not_dropped():
    # at 0, tanh has slope 1: the weights into a unit of 0 learn unless it is left out
    job = Job([2, 40, 1], ["tanh"], "mse", rows=1, batch_size=1)
    parameters = np.concatenate([np.zeros(2 * 40 + 40), np.ones(40), [0.0]])
    how = Regularisation(SEED, dropout=(0.5,))
    steps = steps_of(job, "float64", parameters=parameters, x=np.ones((1, 2)), target=np.ones((1, 1)))
    run(tiled_with(how, job, "float64"), steps)
    learned = steps.parameters[:40] != 0
    np.testing.assert_array_equal(learned, ~documented()["is_dropped"](0.5, SEED, 1, 0, 1, 40)[0])
    assert 5 < learned.sum() < 35


# --- the same bits -------------------------------------------------------------------------------------------------------


@pytest.fixture
def always_shared(monkeypatch):
    """Cut the smallest network into shares, too; return a function that says how many cores there are."""
    monkeypatch.setattr(tiled, "TEAM_MULTIPLY_ADDS", 0)
    return lambda cores: monkeypatch.setattr(machine, "usable_cores", lambda: cores)


def rule_for(job):
    return Regularisation(SEED, (0.5, 0.3, 0.7)[: len(job.activations)], 0.2, 0.1, 0.5)


@each_pair(name=SHARED, shares=[2, 3, 7], threads=[1, 2], update=STEPS)
def test_bits_are_the_same_for_any_shares_on_any_threads(name, shares, threads, update, always_shared):
    job = SHARED[name]
    always_shared(threads)
    many = tiled_with(rule_for(job), job, shares=shares, update=update)
    assert (many.shares, many.threads) == (shares, threads)
    one = tiled_with(rule_for(job), job, shares=1, update=update)
    assert_same_bits(*(run(each, steps_of(job, "float32", rule=STEPS[update])) for each in (many, one)))


@pytest.mark.parametrize("kernels", ["tiles", "scalar"])
def test_bits_do_not_depend_on_where_a_run_is_cut_between_batches(kernels):
    make = tiled_with if kernels == "tiles" else textbook_with
    whole = run(make(RULES["all"]), steps_of(JOB, "float32"))
    steps, cut = steps_of(JOB, "float32"), None
    for first, last in pairwise([0, 12, 48, 53]):
        # another program each time: a resumed training has a new one
        cut = run(make(RULES["all"]), steps._replace(first=first, last=last, first_step=first // 12))
    assert_same_bits(cut, whole)


@pytest.mark.parametrize("kind", ["scattered", "some rows all zero", "no zeros"])
@pytest.mark.parametrize("rule", ["dropout of inputs", "noise", "all"])
def test_skipping_zeros_changes_no_bit(rule, kind):
    job = Job([300, 90, 20, 4], ["relu", "tanh"], "cross_entropy", rows=200, batch_size=70)
    x = rows_with_zeros(kind, job.rows, 300)
    assert_same_bits(*(run(tiled_with(RULES[rule], job, listed=listed), steps_of(job, "float32", x=x)) for listed in (True, False)))


@listed_or_not
@pytest.mark.parametrize("rule", ["dropout of inputs", "noise", "dropout", "all"])
def test_shifted_inputs_are_changed_after_the_shift(rule, listed):
    shift = shifts(70)
    found = run(tiled_with(RULES[rule], JOB, "float64", listed, shifted=True), steps_of(JOB, "float64", shift=shift))
    assert error(found.parameters, by_the_oracle(RULES[rule], x=JOB.x(small) + shift)) < 1e-12


@pytest.mark.parametrize("kernels", ["tiles", "scalar"])
def test_a_share_of_zero_has_the_bits_of_no_dropout(kernels):
    make = tiled_with if kernels == "tiles" else textbook_with
    zero = Regularisation(SEED, (0.0, 0.0), 0.0, 0.0, None)
    assert_same_bits(*(run(make(how), steps_of(JOB, "float32")) for how in (zero, NOTHING)))


def test_a_share_of_almost_zero_drops_nothing():
    almost = Regularisation(SEED, (1e-12, 1e-12), 1e-12)
    assert error(*(run(tiled_with(how, dtype="float64"), steps_of(JOB, "float64")).parameters for how in (almost, NOTHING))) < 1e-10


def test_a_share_of_almost_one_drops_almost_everything():
    assert threshold_of(0.999999) == round(0.999999 * 2**32)
    job, how = JOB._replace(learning_rate=1e-9), Regularisation(SEED, (0.999999, 0.0))
    found = run(tiled_with(how, job, "float64"), steps_of(job, "float64")).parameters
    unchanged = found[: 70 * 83] == job.parameters(small)[: 70 * 83]
    assert unchanged.mean() > 0.99


# --- max-norm ------------------------------------------------------------------------------------------------------------


def columns(K, N):
    """Return weights whose columns are 0, 3, 6, ... long, exactly."""
    weight = np.zeros((K, N))
    weight[:3] = np.array([1.0, 2.0, 2.0])[:, None] * np.arange(N)
    return weight


@pytest.mark.parametrize("form", ["pure", "serial"])
@each_dtype
def test_columns_are_cut_to_the_limit_and_shorter_ones_left_alone(form, dtype):
    weight = columns(5, 4)
    expected = columns(5, 4) * [1, 1, 0.75, 0.5]  # lengths 0, 3, 6, 9: at most 4.5
    kernel = forms.pure(textbook.limit_columns) if form == "pure" else textbook.limit_columns
    # some processors have an approximate reciprocal root, made exact but for the last digit
    check(kernel, Case([weight], [4.5], [expected, np.array([1, 1, 0.75, 0.5])]), dtype, tolerance=2 * np.finfo(dtype).eps)


@each_dtype
@pytest.mark.parametrize("longest", [0.05, 0.5])
def test_after_each_step_no_column_of_a_hidden_layer_is_longer(longest, dtype):
    found = run(tiled_with(Regularisation(max_norm=longest), dtype=dtype), steps_of(JOB, dtype)).parameters
    layers = mlp.layers_of(found, JOB.sizes)
    for layer in layers[:-1]:
        assert np.linalg.norm(layer.weight, axis=0).max() <= longest * (1 + 10 * np.finfo(dtype).eps)
    assert np.linalg.norm(layers[-1].weight, axis=0).max() > longest
    assert np.abs(layers[0].bias).max() > 0


@each_pair(tile=TILES, place=PLACES, shares=[1, 2, 7])
def test_columns_of_any_number_of_units_are_limited(tile, place, shares, always_shared):
    always_shared(1)
    units = units_at(place, tile, "float64")
    job = Job([33, units, units, 3], ["relu", "relu"], "mse", rows=4, batch_size=4, learning_rate=1e-30)
    found = run(tiled_with(Regularisation(max_norm=0.3), job, "float64", shares=shares), steps_of(job, "float64", normals)).parameters
    layers = mlp.layers_of(job.parameters(normals), job.sizes)
    expected = mlp.flat([limited(0.3, layers[0]), limited(0.3, layers[1]), layers[2]])
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kernels", ["tiles", "scalar"])
def test_a_weight_that_is_not_a_number_stays_one(kernels):
    make = tiled_with if kernels == "tiles" else textbook_with
    job = Job([5, 7, 3], ["relu"], "mse", rows=8, batch_size=4, learning_rate=1e30)
    parameters = np.array(job.parameters(integers), np.float32)
    steps = steps_of(job, "float32", parameters=parameters, target=np.full((8, 3), 1e20, np.float32))
    assert run(make(Regularisation(max_norm=1.0), job), steps).reached < 0


# --- padding -------------------------------------------------------------------------------------------------------------


@listed_or_not
@each_update
def test_padding_stays_zero(update, listed):
    tiles_of = tiled_with(RULES["all"], listed=listed, update=update)
    steps = steps_of(JOB, "float32", rule=STEPS[update])
    run(tiles_of, steps)
    layout = tiles_of._layout
    for layer in layout.hidden:
        for first in (layer.a, layer.out, layer.delta):
            if layer.column == layer.width:
                rows = layout.arena[first : first + JOB.batch_size * layer.row].reshape(JOB.batch_size, -1)
            else:  # panel by panel: the last one
                last = first + (layer.panels - 1) * layer.column
                rows = layout.arena[last : last + JOB.batch_size * layer.row].reshape(JOB.batch_size, -1)
            behind = layer.n_out - (0 if layer.column == layer.width else (layer.panels - 1) * layer.width)
            assert rows[:, :behind].any()
            assert not rows[:, behind:].any()
    copies = 1 + np.count_nonzero([steps.m_state.size, steps.v_state.size])
    for copy in range(copies):
        layout.pack(np.zeros_like(steps.parameters), copy)
    assert not layout.arena[: copies * layout.state].any()


# --- what is compiled ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not options.JIT, reason="nothing is compiled with the JIT off")
def test_other_sizes_depths_and_shares_of_the_same_tiles_compile_nothing():
    one, two = units_per_tile("float32")[-2:]

    def train(sizes):
        job = Job(sizes, ["relu"] * (len(sizes) - 2), "cross_entropy", rows=30, batch_size=9)
        how = Regularisation(len(sizes), (0.5, 0.1, 0.3)[: len(sizes) - 2], 0.2, 0.1, 1.0)
        run(tiled_with(how, job), steps_of(job, "float32"))

    train([10, one, 3])
    train([10, two, 3])
    train([10, one, two, 3])
    names = []
    with waiting.watch(lambda name, seconds: names.append(name)):
        for sizes in ([300, one, one, 7], [129, two, two, one, 50], [33, two, 4]):
            train(sizes)
    assert names == []


@pytest.mark.skipif(not options.JIT, reason="nothing is compiled with the JIT off")
def test_a_training_without_any_of_it_compiles_none_of_it(monkeypatch):
    asked_for = []
    original = calls.address

    def address(block, *signature, interpreted=False):
        asked_for.append(block.__name__)
        return original(block, *signature, interpreted=interpreted)

    monkeypatch.setattr(calls, "address", address)
    for cached in (records.panel_block, addresses.draw_block, addresses.limit_block):
        cached.cache_clear()
    tiled_with(NOTHING), textbook_with(NOTHING)
    plain = set(asked_for)
    tiled_with(RULES["all"]), textbook_with(RULES["all"])
    new = " ".join(set(asked_for) - plain)
    for name in ("drop_rows", "add_noise_to_rows", "limit_weights", "drop", "add_noise", "limit_columns"):
        assert not any(re.match(rf"{name}(_\d|_float|$)", block) for block in plain), name
        assert re.search(rf"\b{name}(_\d|_float|\b)", new), name


X86 = platform.machine() in ("x86_64", "AMD64")


@pytest.mark.skipif(not X86 or not options.JIT or bool(config.BOUNDSCHECK), reason="reads x86-64 assembly of loops without checks")
@pytest.mark.parametrize(
    ("name", "keeps"), [("drop_rows", False), ("drop_rows", True), ("add_noise_to_rows", False), ("limit_weights", False)]
)
def test_loops_become_vectors_and_stay_in_float32(name, keeps, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    stamps.code_folder.cache_clear()
    try:
        records.panel_block.cache_clear()
        before = set(calls._ALIVE)
        monkeypatch.setattr(calls, "_ALIVE", {})
        records.panel_block(name, keeps=keeps, dtype=np.dtype(np.float32))
        ((block, signature, _),) = set(calls._ALIVE) - before
        text = block.inspect_asm(signature)
    finally:
        stamps.code_folder.cache_clear()
        records.panel_block.cache_clear()
    assert re.findall(r"\bv?mulps\b|\bvfm\w+ps\b", text)
    assert re.findall(r"\bv?cvt(?:ss2sd|ps2pd)\b", text) == []
    if name != "limit_weights":
        assert re.findall(r"\bv?pmull[dq]\b|\bv?pmuludq\b", text)


# --- without compiler ----------------------------------------------------------------------------------------------------

INTERPRETED = """
import json
from tests.kernels.test_regularisation import parameters_of_all_rules

print(json.dumps({name: found.tolist() for name, found in parameters_of_all_rules().items()}))
"""


def parameters_of_all_rules():
    """Return {"rule update": parameters} of a small training by tiles."""
    job = Job([9, 11, 5, 2], ["relu", "silu"], "mse", rows=20, batch_size=7, weighted=True)
    return {
        f"{rule} {update}": run(
            tiled_with(RULES[rule], job, "float64", update=update), steps_of(job, "float64", rule=STEPS[update])
        ).parameters
        for rule in RULES
        for update in STEPS
    }


def test_without_compiler_tiles_train_to_the_same_parameters():
    found = result_of("import warnings; warnings.simplefilter('error')\n" + INTERPRETED, NUMBA_DISABLE_JIT="1")
    for name, expected in parameters_of_all_rules().items():
        assert error(np.array(found[name]), expected) < TOLERANCES["float64"], name


def test_every_block_of_chance_is_tested_here():
    assert {"drop_rows", "add_noise_to_rows", "limit_weights"} <= set(vars(panels))
