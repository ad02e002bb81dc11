"""Kernels in other people's hands: from their compiled functions, as pure Python, and what an import leaves behind."""

import dis
import types

import numba
import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from fastmlp import kernels
from fastmlp.compilation import forms, sources
from fastmlp.kernels import dense_forward, softmax, softmax_cross_entropy, textbook_step
from tests.kernels.comparison import normals
from tests.kernels.processes import result_of
from tests.oracle import mlp

FUNCTIONS = [name for name in kernels.__all__ if name != "pure"]


@numba.njit
def classify(x, weight, bias, probs):
    """A user's function that calls two kernels, one after the other."""
    dense_forward(x, weight, bias, probs)
    softmax(probs, probs)


@numba.njit(parallel=True)
def classify_many(x, weights, biases, probs):
    """A user's loop over threads, with one network per turn."""
    for i in numba.prange(weights.shape[0]):
        dense_forward(x, weights[i], biases[i], probs[i])
        softmax(probs[i], probs[i])


@numba.njit
def summed_loss(z, target, delta):
    return softmax_cross_entropy(z, target, np.empty(0, z.dtype), z.dtype.type(1), z.dtype.type(0), delta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_can_be_called_from_a_users_njit_function(dtype):
    x, weight, bias = (array.astype(dtype) for array in (normals(5, 7), normals(7, 3), normals(3)))
    probs = np.full((5, 3), np.nan, dtype)
    classify(x, weight, bias, probs)
    np.testing.assert_allclose(probs, mlp.softmax(x.astype(np.float64) @ weight + bias), atol=1e-6)


def test_kernels_can_be_called_from_a_users_own_prange():
    x, weights, biases = (array.astype(np.float32) for array in (normals(5, 7), normals(20, 7, 3), normals(20, 3)))
    probs = np.full((20, 5, 3), np.nan, np.float32)
    classify_many(x, weights, biases, probs)
    for i in range(20):
        np.testing.assert_allclose(probs[i], mlp.softmax(x.astype(np.float64) @ weights[i] + biases[i]), atol=1e-6)


def test_loss_returns_its_value_to_a_users_njit_function():
    z, target, delta = normals(4, 3), np.array([[0.0], [1], [2], [0]]), np.full((4, 3), np.nan)
    assert summed_loss(z, target, delta) == pytest.approx(mlp.row_losses("cross_entropy", z, target).sum())


def test_public_kernels_are_compiled():
    assert [name for name in FUNCTIONS if not isinstance(getattr(kernels, name), Dispatcher)] == []


@pytest.mark.parametrize(
    "name", ["dense_backward_input", "dense_backward_parameters", "dense_forward", "dense_sgd_update", "gather", "softmax"]
)
def test_public_kernel_with_a_loop_has_a_parallel_form(name):
    parallel = getattr(kernels, f"{name}_parallel")
    assert parallel is not getattr(kernels, name)
    assert parallel is forms.parallel(getattr(kernels, name))


@pytest.mark.parametrize("name", ["no_such_kernel", "no_such_kernel_parallel", "count_correct_parallel", "pure_parallel", "_parallel"])
def test_name_that_does_not_exist_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=name):
        getattr(kernels, name)


def test_unknown_pure_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_kernel"):
        _ = kernels.pure.no_such_kernel


def test_dir_shows_the_public_kernels():
    assert set(kernels.__all__) <= set(dir(kernels))
    assert set(FUNCTIONS) == set(dir(kernels.pure))


# --- pure Python ---------------------------------------------------------------------------------------------------------


def compiled_callees(function):
    """Yield the names of everything compiled that a Python function can reach through the names that it uses."""
    reached, waiting = set(), [function]
    while waiting:
        current = waiting.pop()
        if not isinstance(current, types.FunctionType) or current in reached:
            continue
        reached.add(current)
        for name in {each.argval for each in dis.get_instructions(current) if each.opname == "LOAD_GLOBAL"}:
            value = current.__globals__.get(name)
            if isinstance(value, Dispatcher) or value is numba.prange or sources.twin_of(value) is not None:
                yield f"{current.__qualname__}: {name}"
            waiting.append(value)


def test_the_search_for_compiled_callees_finds_them():
    found = set(compiled_callees(textbook_step.gradient_of_rows.py_func))
    assert {"gradient_of_rows: gather", "gradient_of_rows: call_loss"} <= found


def test_pure_kernels_reach_no_compiled_code():
    assert [callee for name in FUNCTIONS for callee in compiled_callees(getattr(kernels.pure, name))] == []


def test_pure_training_reaches_no_compiled_code():
    runs = [textbook_step.train_steps, textbook_step.gradient_of_rows, textbook_step.outputs_of_rows, textbook_step.loss_of_outputs]
    assert [callee for run in runs for callee in compiled_callees(forms.pure(run))] == []


def test_pure_kernels_run_where_nothing_can_be_compiled():
    code = """
import json
import numpy as np
from numba.core.dispatcher import Dispatcher

def refuse(self, signature):
    raise SystemExit(f"compiled: {self}")

Dispatcher.compile = refuse
from fastmlp.kernels import pure
out, delta = np.empty((2, 2)), np.empty((2, 2))
weight, bias, x = np.array([[1.0, 2], [3, 4]]), np.array([1.0, -1]), np.array([[1.0, 0], [0, 1]])
pure.dense_forward(x, weight, bias, out)
loss = pure.softmax_cross_entropy(out, np.array([[0.0], [1]]), np.empty(0), 1.0, 0.0, delta)
pure.dense_sgd_update(weight, bias, x, delta, 0.5)
print(json.dumps([out.tolist(), weight.shape, bool(loss > 0)]))
"""
    assert result_of(code) == [[[2, 1], [4, 3]], [2, 2], True]


# --- what an import leaves behind ----------------------------------------------------------------------------------------


def test_importing_and_calling_kernels_changes_no_setting_starts_no_threads_and_leaves_their_number():
    code = """
import json, os, warnings
import numba
from numba.core import config

def settings():
    values = {name: repr(value) for name, value in vars(config).items() if name.isupper()}
    return values | {"filters": repr(warnings.filters)}

before, environment = settings(), dict(os.environ)
import fastmlp.embedding
import fastmlp.kernels
from fastmlp.engines import program
from fastmlp.kernels import dense_forward, dense_forward_parallel, pure
pure.dense_forward
[getattr(fastmlp.kernels, name) for name in fastmlp.kernels.__all__]
state, functions = fastmlp.Network([2, 3, 2]).compiled()
scratch = functions.make_scratch(state)
functions.predict(state, scratch, state.parameters[:2], state.parameters[:2].copy())
try:
    started = numba.threading_layer()
except ValueError:
    started = None
after = settings()
changed = [name for name in after if after[name] != before.get(name)]
threads_changed = numba.get_num_threads() != numba.config.NUMBA_NUM_THREADS  # asking starts them
print(json.dumps([*changed, dict(os.environ) != environment, started, threads_changed]))
"""
    assert result_of(code) == [False, None, False]
