"""Embedded networks in a user's compiled functions: loops, threads, caches, and what they cost besides arithmetic."""

import json
import re
import shutil

import numba
import numpy as np
import pytest
from scipy import optimize

from fastmlp.kernels import gradient, loss, make_scratch, predict, predict_batch, train_step, uniform, with_parameters
from tests.embedding.networks import OUTPUTS, problem
from tests.kernels.processes import ROOT, result_of, run_python
from tests.oracle import mlp


@numba.njit
def follow(state, x, target, out, slope, rate):
    """A user's function that does one thing after the other."""
    scratch = make_scratch(state)
    predict_batch(state, scratch, x, out)
    first = gradient(state, scratch, x, target, slope)
    for _ in range(10):
        train_step(state, scratch, x, target, rate)
    return first, loss(state, scratch, x, target)


@numba.njit(parallel=True)
def evolve(state, population, x, target):
    """A user's loop over threads: the loss of each of many parameter vectors, one scratch per turn."""
    losses = np.empty(population.shape[0])
    for i in numba.prange(population.shape[0]):
        losses[i] = loss(with_parameters(state, population[i]), make_scratch(state), x, target)
    return losses


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_users_function_gets_the_bits_that_python_gets(output, dtype):
    p = problem([4, 9, 2], output, rows=40, dtype=dtype)
    x = p.x.astype(dtype)
    state, functions = p.network.compiled("adam")
    mine, theirs = functions.copy_state(state), functions.copy_state(state)
    out, slope = np.full((2, 40, 2), np.nan, dtype), np.full((2, p.network.parameters.size), np.nan, dtype)
    losses = follow(mine, x, p.target, out[0], slope[0], 0.01)

    scratch = functions.make_scratch(theirs)
    functions.predict_batch(theirs, scratch, x, out[1])
    first = functions.gradient(theirs, scratch, x, p.target, slope[1])
    for _ in range(10):
        functions.train_step(theirs, scratch, x, p.target, 0.01)
    assert losses == (first, functions.loss(theirs, scratch, x, p.target))
    assert losses[1] < losses[0]
    np.testing.assert_array_equal(out[0], out[1])
    np.testing.assert_array_equal(slope[0], slope[1])
    np.testing.assert_array_equal(mine.parameters, theirs.parameters)


def test_a_users_prange_evaluates_many_networks_as_the_oracle_does():
    p = problem([4, 9, 3], rows=40)
    state, _ = p.network.compiled()
    population = np.random.default_rng(0).standard_normal((50, p.network.parameters.size))
    found = evolve(state, population, p.x, p.target)
    for parameters, one in zip(population, found, strict=True):
        z = mlp.forward(mlp.layers_of(parameters, [4, 9, 3]), ["tanh"], p.x)[-1][0]
        assert one == pytest.approx(mlp.row_losses("cross_entropy", z, p.target_table).mean(), abs=1e-12)


def test_an_exception_reaches_the_caller_of_a_users_function():
    p = problem([4, 9, 3])
    state, _ = p.network.compiled()
    with pytest.raises(ValueError, match="x: expected rows"):
        follow(state, p.x[:, :3].copy(), p.target, np.empty((5, 3)), np.empty(p.network.parameters.size), 0.1)


# --- flat vectors --------------------------------------------------------------------------------------------------------


def test_scipy_minimises_over_the_flat_vector():
    p = problem([4, 6, 3], rows=60)
    p = p._replace(target=p.x[:, :3].argmax(axis=1))
    state, functions = p.network.compiled()
    scratch = functions.make_scratch(state)

    def value_and_slope(parameters):
        slope = np.empty_like(parameters)
        return functions.gradient(functions.with_parameters(state, parameters), scratch, p.x, p.target, slope), slope

    before = p.mean_loss()
    found = optimize.minimize(value_and_slope, p.network.parameters, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    p.network.parameters[:] = found.x
    assert found.fun == pytest.approx(p.mean_loss(), abs=1e-12)
    assert found.fun < 0.01 < before
    assert (p.network.predict(p.x) == p.target).all()


@numba.njit(parallel=True)
def evolution_strategy(state, centre, x, target, pairs, generations, deviation, rate, key):
    """OpenAI's evolution strategy with mirrored samples, Salimans et al. 2017: no gradient, only losses."""
    size = centre.shape[0]
    for generation in range(generations):
        gain = np.empty(pairs)
        noise = np.empty((pairs, size))
        for i in numba.prange(pairs):
            scratch = make_scratch(state)
            for p in range(size):  # a sum of twelve uniform numbers is close to normal
                total = -6.0
                for j in range(12):
                    total += uniform(key, ((generation * pairs + i) * size + p) * 12 + j)
                noise[i, p] = total
            up = loss(with_parameters(state, centre + deviation * noise[i]), scratch, x, target)
            down = loss(with_parameters(state, centre - deviation * noise[i]), scratch, x, target)
            gain[i] = (up - down) / (2.0 * deviation * pairs)
        for i in range(pairs):
            centre -= rate * gain[i] * noise[i]
    return centre


def test_an_evolution_strategy_trains_in_prange():
    p = problem([2, 8, 2], rows=60)
    target = (p.x[:, 0] * p.x[:, 1] > 0).astype(np.int64)  # exclusive or
    state, functions = p.network.compiled()
    evolution_strategy(state, p.network.parameters, p.x, target, 30, 300, 0.1, 0.5, np.uint64(7))
    assert p.network.evaluate(p.x, target)["accuracy"] > 0.9


# --- threads -------------------------------------------------------------------------------------------------------------

PARALLEL = """
import json
import numba
import numpy as np
from fastmlp.kernels import gradient, make_scratch, predict_batch, pure, with_parameters
from tests.embedding.networks import problem

@numba.njit(parallel=True)
def everything(state, population, x, target, out, slopes):
    losses = np.empty(population.shape[0])
    for i in numba.prange(population.shape[0]):
        mine, scratch = with_parameters(state, population[i]), make_scratch(state)
        predict_batch(mine, scratch, x, out[i])
        losses[i] = gradient(mine, scratch, x, target, slopes[i])
    return losses

p = problem([4, 9, 5, 3], rows=40)
state, functions = p.network.compiled()
population = np.random.default_rng(0).standard_normal((12, p.network.parameters.size))
out, slopes = np.full((12, 40, 3), np.nan), np.full(population.shape, np.nan)
losses = everything(state, population, p.x, p.target, out, slopes)

def largest_difference(form):
    scratch, worst = form.make_scratch(state), 0.0
    for i in range(12):
        mine = form.with_parameters(state, population[i])
        o, s = np.full((40, 3), np.nan), np.full(population.shape[1], np.nan)
        form.predict_batch(mine, scratch, p.x, o)
        value = form.gradient(mine, scratch, p.x, p.target, s)
        worst = np.max([worst, abs(value - losses[i]), abs(o - out[i]).max(), abs(s - slopes[i]).max()])
    return float(worst)

print(json.dumps([numba.threading_layer(), numba.get_num_threads(), largest_difference(functions), largest_difference(pure)]))
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_users_parallel_function_gives_the_numbers_of_python(layer):
    found, threads, from_compiled, from_pure = result_of(PARALLEL, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")
    assert (found, threads) == (layer, 2)
    assert from_compiled == 0.0  # to the bit
    assert from_pure < 1e-12


# --- what it costs -------------------------------------------------------------------------------------------------------

ALLOCATIONS = """
import json
import numba
import numpy as np
from numba.core.runtime import rtsys
from fastmlp.kernels import gradient, input_gradient, loss, predict, predict_batch, train_step
from tests.embedding.networks import problem

@numba.njit
def work(state, scratch, x, target, weight, out, slope, dx, turns):
    for _ in range(turns):
        predict(state, scratch, x[0], out[0])
        predict_batch(state, scratch, x, out)
        loss(state, scratch, x, target)
        gradient(state, scratch, x, target, slope, weight)
        input_gradient(state, scratch, x, target, dx)
        train_step(state, scratch, x, target, 1e-3)
        train_step(state, scratch, x[:5], target[:5], 1e-3)

p = problem([4, 9, 5, 3], rows=40)
counts = {}
for optimizer in ("sgd", "adam"):
    state, functions = p.network.compiled(optimizer)
    arrays = functions.make_scratch(state), p.x, p.target, np.ones(40), np.empty((40, 3)), np.empty_like(state.parameters), np.empty((40, 4))
    for turns in (1, 1, 1000):
        before = rtsys.get_allocation_stats()
        work(state, *arrays, turns)
        counts[f"{optimizer}, {turns} turns"] = rtsys.get_allocation_stats().alloc - before.alloc
    functions.make_scratch(state)
counts["anything at all"] = rtsys.get_allocation_stats().alloc
print(json.dumps(counts))
"""


def test_no_function_but_make_scratch_allocates():
    counts = result_of(ALLOCATIONS, NUMBA_NRT_STATS="1")
    assert counts.pop("anything at all") > 0  # allocations are counted
    assert counts == dict.fromkeys(counts, 0)


def test_machine_code_of_a_single_prediction_calls_no_allocator():
    @numba.njit
    def one(state, scratch, x, out):
        predict(state, scratch, x, out)

    p = problem([4, 9, 3])
    state, functions = p.network.compiled()
    one(state, functions.make_scratch(state), p.x[0], np.empty(3))
    (text,) = one.inspect_llvm().values()
    body = re.search(r"define i32 @\S*one\S*\(.*?\n}", text, re.DOTALL).group()
    assert "call" in body  # of the block that does the arithmetic
    assert not re.search(r"NRT_\w*[aA]lloc", body)


@numba.njit
def zero_inputs_are_skipped(state, scratch, x, out):
    predict(state, scratch, x, out)


@pytest.mark.parametrize("inputs", [4, 784])
def test_weights_of_inputs_at_zero_are_not_even_read(inputs):
    p = problem([inputs, 9, 3], rows=1, dtype="float32")
    p.network.weights[0][1:] = np.nan  # 0 * NaN would be NaN
    state, functions = p.network.compiled()
    x = np.zeros(inputs, np.float32)
    x[0] = 1
    out = np.full(3, np.nan, np.float32)
    zero_inputs_are_skipped(state, functions.make_scratch(state), x, out)
    assert np.isfinite(out).all()


# --- a user's cache ------------------------------------------------------------------------------------------------------

CACHED = """
import json
import sys
import numba
import numpy as np
from fastmlp.kernels import gradient, make_scratch, predict
from tests.embedding.networks import problem

@numba.njit(cache=True)
def both(state, x, target, out, slope):
    scratch = make_scratch(state)
    predict(state, scratch, x[0], out)
    return gradient(state, scratch, x, target, slope)

if __name__ == "__main__":
    p = problem(json.loads(sys.argv[1]), activation=sys.argv[2])
    state, _ = p.network.compiled()
    out, slope = np.full(state.codes[2], np.nan), np.full_like(state.parameters, np.nan)
    loss = both(state, p.x, p.target, out, slope)
    close = bool(abs(loss - p.mean_loss()) < 1e-12 and abs(out - p.outputs()[0]).max() < 1e-12 and abs(slope - p.gradient()).max() < 1e-12)
    print(json.dumps([sum(both.stats.cache_hits.values()), sum(both.stats.cache_misses.values()), close]))
"""


@pytest.fixture
def user_file(tmp_path):
    """A user's module with a cached function, and a folder of its own for Numba's cache."""
    path = tmp_path / "mine.py"
    path.write_text(CACHED)

    def run(sizes, activation, cwd=ROOT):
        code = (
            f"import runpy, sys; sys.argv = ['mine', {json.dumps(sizes)!r}, {activation!r}]; "
            f"runpy.run_path({str(path)!r}, run_name='__main__')"
        )
        return run_python(code, cwd=cwd, NUMBA_CACHE_DIR=str(tmp_path / "cache"))

    return run


def test_a_users_cached_function_serves_other_networks_in_other_processes(user_file):
    runs = [([4, 9, 3], "tanh"), ([4, 9, 3], "tanh"), ([5, 12, 7, 2], "silu")]  # another depth, width, activation: the same machine code
    done = [user_file(*run) for run in runs]
    assert [json.loads(each.stdout) for each in done] == [[0, 1, True], [1, 0, True], [1, 0, True]]


def test_a_users_cached_function_compiled_with_other_sources_is_refused(user_file, tmp_path):
    user_file([4, 9, 3], "tanh")
    edited = tmp_path / "edited"
    shutil.copytree(ROOT / "fastmlp", edited / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))
    (edited / "tests").symlink_to(ROOT / "tests")
    with (edited / "fastmlp" / "kernels" / "scalar.py").open("a") as source:
        source.write("\n# another version\n")
    done = user_file([4, 9, 3], "tanh", cwd=edited)
    assert done.returncode != 0
    assert "ValueError: this function was compiled with other fastmlp sources than the state" in done.stderr
