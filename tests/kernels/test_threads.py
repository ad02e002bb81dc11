"""Threads: same bits for any number, the caller's number given back, safe after a fork and beside other threads."""

import json
import os
import threading

import numba
import numpy as np
import pytest

import fastmlp
from tests.kernels.processes import result_of, run_python

SIZES = [784, 300, 10]  # large enough to run over threads


def train(kernels="scalar", threads=None, seed=0):
    """Train a network that runs over threads; return its parameters."""
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 256, (200, SIZES[0])).astype(np.uint8), generator.integers(0, SIZES[-1], 200)
    net = fastmlp.Network(SIZES, "sigmoid", seed=seed)
    fastmlp.train(net, x, y, epochs=1, kernels=kernels, threads=threads)
    return net.parameters


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_textbook_loops_give_the_same_bits_for_any_number_of_threads(threads):
    np.testing.assert_array_equal(train("scalar", threads), train("scalar", 1))


def test_parallel_kernels_give_the_same_bits_on_1_2_3_and_7_threads():
    code = """
import hashlib, json
import numba, numpy as np
from fastmlp.compilation import forms
from fastmlp.kernels import textbook
from tests.kernels.comparison import normals, run
from tests.kernels.dense import DENSE
digests = {}
for name, case in DENSE.items():
    digests[name] = set()
    for threads in (1, 2, 3, 7):
        numba.set_num_threads(threads)
        arrays = run(forms.parallel(getattr(textbook, name)), case(normals, 33, 41, 19), np.float32)
        digests[name].add(hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())
print(json.dumps({name: len(found) for name, found in digests.items()}))
"""
    assert set(result_of(code, NUMBA_NUM_THREADS="7").values()) == {1}


@pytest.mark.parametrize("kernels", ["scalar", "auto"])
def test_number_of_threads_of_the_caller_is_given_back(kernels):
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        train(kernels)
        assert numba.get_num_threads() == 1
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("kernels", ["scalar", "auto"])
def test_number_of_threads_of_the_caller_is_given_back_after_an_error(kernels):
    def fail(network, epoch):
        raise KeyError

    before = numba.get_num_threads()
    net = fastmlp.Network(SIZES, "sigmoid")
    with pytest.raises(KeyError):
        fastmlp.train(net, np.zeros((100, SIZES[0]), np.uint8), np.zeros(100, int), epochs=1, threads=1, kernels=kernels, callbacks=[fail])
    assert numba.get_num_threads() == before


def test_two_threads_of_the_caller_train_at_once():
    results = {}
    callers = [threading.Thread(target=lambda seed=seed: results.update({seed: train(seed=seed).copy()})) for seed in (1, 2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for seed in (1, 2):
        np.testing.assert_array_equal(results[seed], train(seed=seed))


def test_callers_in_threads_do_not_abort_the_process_under_workqueue():
    code = """
import json, threading
import numba
from tests.kernels.test_threads import train
results = {}
callers = [threading.Thread(target=lambda seed=seed: results.update({seed: train(seed=seed).copy()})) for seed in (1, 2, 3, 4)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
print(json.dumps([numba.threading_layer(), [bool((train(seed=seed) == found).all()) for seed, found in results.items()]]))
"""
    assert result_of(code, NUMBA_THREADING_LAYER="workqueue") == ["workqueue", [True] * 4]


# --- fork ----------------------------------------------------------------------------------------------------------------

# Each piece of work is done in a child right after the fork that follows what the parent has done by then.
FORKING = """
import json, os, signal, sys
import numba, numpy as np
import fastmlp
from fastmlp.kernels import dense_forward, dense_forward_parallel
from tests.kernels.test_threads import SIZES, train

KERNELS = sys.argv[1] if len(sys.argv) > 1 else "scalar"

@numba.njit(parallel=True)
def users_own_loop(values):
    for i in numba.prange(values.size):
        values[i] += 1

def in_child(work):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)
            code = 0 if work() else 2
        except fastmlp.FastmlpError:
            code = 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def trains_alike():
    return bool((train(KERNELS) == expected).all())

def predicts():
    return network.predict(np.zeros((300, SIZES[0]), np.uint8)).shape == (300,)

codes = {}
network = fastmlp.Network(SIZES, "sigmoid")
users_own_loop(np.zeros(1000))
codes["own loop, then train"] = in_child(lambda: train(KERNELS) is not None)
codes["own loop, then predict"] = in_child(predicts)
square, row = np.ones((4, 4), np.float32), np.ones(4, np.float32)
dense_forward_parallel(square, square, row, square.copy())
codes["parallel kernel, then train"] = in_child(lambda: train(KERNELS) is not None)
generator = np.random.default_rng(0)
x, y = generator.integers(0, 256, (200, SIZES[0])).astype(np.uint8), generator.integers(0, SIZES[-1], 200)
trainer = fastmlp.Trainer(fastmlp.make_plan(network, x, y, fastmlp.TrainingSettings(epochs=2, kernels=KERNELS)))
trainer.step()
codes["trainer, then its next step"] = in_child(lambda: trainer.step() is None)
expected = train(KERNELS)
codes["train, then train"] = in_child(trains_alike)
codes["train, then predict"] = in_child(predicts)
codes["train, then train again in the parent"] = 0 if trains_alike() else 2
print(json.dumps(codes))
"""

AFTER_FORK = [
    "own loop, then train",
    "own loop, then predict",
    "parallel kernel, then train",
    "trainer, then its next step",
    "train, then train",
    "train, then predict",
    "train, then train again in the parent",
]


@pytest.fixture(scope="module", params=["scalar", "auto"])
def exit_codes(request):
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    done = run_python(f"import sys; sys.argv.append({request.param!r})\n{FORKING}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("what", AFTER_FORK)
def test_forked_child_works_or_gets_an_error_in_python(exit_codes, what):
    assert exit_codes[what] in (0, 3)  # right, or a FastmlpError; below 0: killed by a signal
