"""Embedded networks in a user's compiled functions: loops, threads, caches, and what they cost besides arithmetic."""

import json
import re
import shutil

import numba
import numpy as np
import pytest
from scipy import optimize

from fastmlp.kernels import (
    fill_normal,
    gradient,
    loss,
    make_scratch,
    predict,
    predict_batch,
    stream_key,
    train_step,
    with_parameters,
)
from tests.embedding.networks import problem
from tests.kernels.processes import ROOT, result_of, run_python


@numba.njit
def follow(state, x, target, out, slope, rate):
    """A user's function that does one thing after the other."""
    scratch = make_scratch(state)
    predict_batch(state, scratch, x, out)
    first = gradient(state, scratch, x, target, slope)
    for _ in range(10):
        train_step(state, scratch, x, target, rate)
    return first, loss(state, scratch, x, target)


@pytest.mark.parametrize(("output", "dtype"), [("softmax", "float64"), ("identity", "float32")])
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


def test_an_exception_reaches_the_caller_of_a_users_function():
    p = problem([4, 9, 3])
    state, _ = p.network.compiled()
    with pytest.raises(ValueError, match="x: expected rows"):
        follow(state, p.x[:, :3].copy(), p.target, np.empty((5, 3)), np.empty(p.network.parameters.size), 0.1)


# --- flat vectors --------------------------------------------------------------------------------------------------------


def test_scipy_minimises_over_the_flat_vector():
    p = problem([4, 6, 3], rows=60)
    p = p._replace(target=p.x[:, :3].argmax(axis=1)[:, None].astype(float))
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
    assert (p.network.predict(p.x) == p.y).all()


@numba.njit(parallel=True)
def evolution_strategy(state, centre, x, target, pairs, generations, deviation, rate, seed):
    """Follow losses alone, with mirrored samples. Salimans et al. 2017, algorithm 1."""
    noise, gain = np.empty((pairs, centre.shape[0])), np.empty(pairs)
    for generation in range(generations):
        for i in numba.prange(pairs):
            scratch = make_scratch(state)
            fill_normal(stream_key(seed, generation, i), 1.0, noise[i])
            up = loss(with_parameters(state, centre + deviation * noise[i]), scratch, x, target)
            down = loss(with_parameters(state, centre - deviation * noise[i]), scratch, x, target)
            gain[i] = (up - down) / (2.0 * deviation * pairs)
        for i in range(pairs):
            centre -= rate * gain[i] * noise[i]


def test_an_evolution_strategy_trains_in_prange():
    p = problem([2, 8, 2])
    x = np.random.default_rng(0).standard_normal((60, 2))
    target = (x[:, 0] * x[:, 1] > 0).astype(np.int64)  # exclusive or
    state, _ = p.network.compiled()
    assert p.network.evaluate(x, target)["accuracy"] < 0.8
    evolution_strategy(state, p.network.parameters, x, target, 20, 400, 0.1, 0.5, 7)
    assert p.network.evaluate(x, target)["accuracy"] > 0.9


# --- threads -------------------------------------------------------------------------------------------------------------

PARALLEL = """
import json
import numba
import numpy as np
from fastmlp.kernels import gradient, make_scratch, predict_batch, pure, with_parameters
from tests.embedding.networks import problem

@numba.njit(parallel=True, cache=True)
def everything(state, population, x, target, out, slopes):
    losses = np.empty(population.shape[0])
    for i in numba.prange(population.shape[0]):
        mine, scratch = with_parameters(state, population[i]), make_scratch(state)
        predict_batch(mine, scratch, x, out[i])
        losses[i] = gradient(mine, scratch, x, target, slopes[i])
    return losses

p = problem([4, 9, 5, 3], rows=40)
state, functions = p.network.compiled()
population = np.random.default_rng(0).standard_normal((4, p.network.parameters.size))
out, slopes = np.full((4, 40, 3), np.nan), np.full(population.shape, np.nan)
losses = everything(state, population, p.x, p.target, out, slopes)

def largest_difference(form):
    scratch, worst = form.make_scratch(state), 0.0
    for i in range(4):
        mine = form.with_parameters(state, population[i])
        o, s = np.full((40, 3), np.nan), np.full(population.shape[1], np.nan)
        form.predict_batch(mine, scratch, p.x, o)
        value = form.gradient(mine, scratch, p.x, p.target, s)
        worst = np.max([worst, abs(value - losses[i]), abs(o - out[i]).max(), abs(s - slopes[i]).max()])
    return float(worst)

print(json.dumps([numba.threading_layer(), numba.get_num_threads(), largest_difference(functions), largest_difference(pure)]))
"""


@pytest.fixture(scope="module")
def parallel_file(tmp_path_factory):
    """The code above as a file, which Numba's cache wants: it is compiled once for both layers."""
    path = tmp_path_factory.mktemp("parallel") / "mine.py"
    path.write_text(PARALLEL)
    return path


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_users_parallel_function_gives_the_numbers_of_python(parallel_file, layer):
    environment = {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2", "NUMBA_CACHE_DIR": str(parallel_file.parent)}
    found, threads, from_compiled, from_pure = result_of(f"import runpy; runpy.run_path({str(parallel_file)!r})", **environment)
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

rtsys.initialize(numba.core.registry.cpu_target.target_context)  # counting begins here, not with the first function that is compiled

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
    outputs = np.empty((40, 3)), np.empty_like(state.parameters), np.empty((40, 4))
    arrays = functions.make_scratch(state), p.x, p.target, np.ones(40), *outputs
    for turns in (0, 0, 1000):
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
    # what a call from Python takes for the arrays that it hands over, it takes for no turn, too
    assert counts["sgd, 1000 turns"] == counts["sgd, 0 turns"]
    assert counts["adam, 1000 turns"] == counts["adam, 0 turns"]


def functions_of(machine_code):
    """Return the LLVM functions of a dispatcher's code that are neither wrappers nor Numba's own."""
    (text,) = machine_code.inspect_llvm().values()
    found = re.findall(r"^define [^\n]*?@(\S+?)\((.*?)^}", text, re.MULTILINE | re.DOTALL)
    return {name: body for name, body in found if not name.startswith(("cfunc.", "_ZN7cpython", "NRT_"))}


def test_machine_code_of_predictions_neither_allocates_nor_counts_references():
    @numba.njit
    def repeat(state, scratch, x, out, turns):
        for _ in range(turns):
            predict(state, scratch, x, out)

    @numba.njit
    def careless(state, x, out):
        predict(state, make_scratch(state), x, out)

    p = problem([4, 9, 3])
    state, functions = p.network.compiled()
    repeat(state, functions.make_scratch(state), p.x[0], np.empty(3), 2)
    careless(state, p.x[0], np.empty(3))
    allocator = re.compile(r"@NRT_(MemInfo_alloc|Allocate)")
    assert any(allocator.search(body) for body in functions_of(careless).values())  # it would be found
    found = functions_of(repeat)
    assert not any(allocator.search(body) for body in found.values())
    # the user's function counts its own arguments, twelve arrays, once; nothing is counted in a turn
    assert sum(body.count("call void @NRT_incref") for body in found.values()) <= 12


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
    out, slope = np.full(state.network[0].n_outputs, np.nan), np.full_like(state.parameters, np.nan)
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


@pytest.mark.long  # compiled anew each time
def test_a_users_cached_function_serves_other_networks_in_other_processes(user_file):
    runs = [([4, 9, 3], "tanh"), ([4, 9, 3], "tanh"), ([5, 12, 7, 2], "silu")]  # another depth, width, activation: the same machine code
    done = [user_file(*run) for run in runs]
    assert [json.loads(each.stdout) for each in done] == [[0, 1, True], [1, 0, True], [1, 0, True]]


def test_function_compiled_with_other_sources_than_the_state_is_refused():
    p = problem([4, 9, 3])
    state, functions = p.network.compiled()
    scratch = functions.make_scratch(state)
    state.network[0].stamp += 1  # what compiled() of another version would write
    for refused in (
        lambda: predict(state, scratch, p.x[0], np.empty(3)),
        lambda: loss(state, scratch, p.x, p.target),
        lambda: make_scratch(state),
    ):
        with pytest.raises(ValueError, match="compiled with other fastmlp sources than the state; remove its cache"):
            refused()


def test_every_edit_of_a_source_changes_the_stamp_of_states(tmp_path):
    shutil.copytree(ROOT / "fastmlp", tmp_path / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import json; from fastmlp.kernels.embedded import STAMP; print(json.dumps(STAMP))"
    stamps = [result_of(code), result_of(code, cwd=tmp_path)]
    with (tmp_path / "fastmlp" / "kernels" / "textbook.py").open("a") as source:
        source.write("\n# another version\n")
    stamps.append(result_of(code, cwd=tmp_path))
    assert stamps[0] == stamps[1] != stamps[2]
