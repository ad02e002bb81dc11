"""Rows N of the quality list: gradients, sums, numbers that are none, seeds, and the smallest of everything."""

import hashlib
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import fastmlp
from fastmlp import DataError, Network, TrainingError
from fastmlp.compilation import forms
from fastmlp.kernels import textbook
from fastmlp.kernels.activations import ACTIVATIONS
from tests.kernels.comparison import normals, run
from tests.kernels.dense import DENSE
from tests.kernels.processes import ROOT, result_of
from tests.kernels.small_training import EVERY_LOSS, losses
from tests.oracle import mlp
from tests.quality.counts import count, record
from tests.quality.refusals import fault
from tests.training import reference

LOSSES = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "mse": "identity"}
GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((40, 4)).astype(np.float32)
Y = GENERATOR.integers(0, 3, 40)


def target_of(loss: str, rows: int, outputs: int, draw: np.random.Generator) -> np.ndarray:
    if loss == "cross_entropy":
        return draw.integers(0, outputs, rows)
    return draw.integers(0, 2, (rows, outputs)) if loss == "binary_cross_entropy" else draw.standard_normal((rows, outputs))


def test_n01_gradients_against_central_differences_of_the_oracle():
    step, wrong, tried = 1e-6, [], 0
    for sizes in ([3, 2], [5, 4, 3], [2, 3, 3, 2], [7, 1, 4], [4, 5, 6, 5, 3]):
        for activation in ACTIVATIONS:
            for loss, output in LOSSES.items():
                draw = np.random.default_rng([tried, *sizes])
                net = Network(sizes, activation, output, dtype="float64")
                net.parameters[:] = draw.standard_normal(net.parameters.size)  # biases of 0 would put units on the kink of relu
                x, y = draw.standard_normal((6, sizes[0])), target_of(loss, 6, sizes[-1], draw)
                target, activations = (y[:, None] if y.ndim == 1 else y), [activation] * (len(sizes) - 2)

                def mean_loss(parameters, sizes=sizes, activations=activations, loss=loss, x=x, target=target):
                    return mlp.row_losses(loss, reference.outputs(parameters, sizes, activations, x), target).mean()

                moves = step * np.eye(net.parameters.size)
                numeric = [(mean_loss(net.parameters + move) - mean_loss(net.parameters - move)) / (2 * step) for move in moves]
                if not np.allclose(net.gradient(x, y), numeric, rtol=1e-3, atol=1e-5):
                    wrong.append(f"{sizes} {activation} {loss}")
                tried += 1
    record("N1", tried, len(wrong))
    assert wrong == []


def test_n02_training_against_numpy_for_any_sizes():
    """Sizes of 1, primes, last batches that are short, batches longer than the data."""
    draw, number, wrong = np.random.default_rng(2), count(60, 2_000), []
    for turn in range(number):
        sizes = draw.choice([1, 2, 3, 5, 7, 11, 13, 16, 17, 31, 37], draw.integers(2, 5)).tolist()
        loss = str(draw.choice([name for name in LOSSES if name != "cross_entropy" or sizes[-1] > 1]))
        activations = draw.choice(list(ACTIVATIONS), len(sizes) - 2).tolist()
        rows, batch_size = int(draw.choice([1, 2, 3, 7, 23])), int(draw.choice([1, 2, 5, 7, 23, 40]))
        net = Network(sizes, activations or "relu", LOSSES[loss], seed=turn)
        x, y = draw.standard_normal((rows, sizes[0])).astype(np.float32), target_of(loss, rows, sizes[-1], draw)
        expected = reference.train(
            net.parameters, sizes, activations, loss, x, y, epochs=2, batch_size=batch_size, learning_rate=0.02, seed=turn
        )
        settings = {"normalize": "none"} | ({"normalize_target": "none"} if LOSSES[loss] == "identity" else {})
        history = fastmlp.train(net, x, y, epochs=2, batch_size=batch_size, learning_rate=0.02, seed=turn, loss=loss, **settings)
        error = np.abs(net.parameters - expected.parameters).max() / max(1.0, np.abs(expected.parameters).max())
        losses = history.to_dict()["train_loss"]
        if error > 1e-5 or not np.allclose(losses, expected.losses, rtol=1e-5, atol=1e-6):
            wrong.append(f"{sizes} {activations} {loss}, {rows} rows in batches of {batch_size}: {error:.1e}, {losses}, {expected.losses}")
    record("N2", number, len(wrong))
    assert wrong == []


def changed(array, value):
    copy = np.array(array, np.float64)
    copy.reshape(-1)[-1] = value
    return copy


def with_weight(value, place):
    net = Network([4, 5, 3], seed=1)
    net.parameters[place] = value
    return net


def test_n03_numbers_that_are_none_are_seen_at_once(command):
    wrong = []
    regression = Network([4, 3], output="identity")
    refused = {
        **{f"{value} in x": (Network([4, 5, 3]), changed(X, value), Y) for value in (np.nan, np.inf, -np.inf)},
        **{f"{value} in y": (regression, X, changed(np.eye(3)[Y], value)) for value in (np.nan, np.inf)},
        "a float64 that float32 cannot hold": (Network([4, 5, 3]), changed(X, 1e300), Y),
    }
    for case, (net, x, y) in refused.items():
        before = net.parameters.tobytes()
        if (said := fault(lambda net=net, x=x, y=y: fastmlp.train(net, x, y), DataError)) or net.parameters.tobytes() != before:
            wrong.append(f"{case}: {said}")
    stopped = {
        **{f"weight {place} is {value}": (with_weight(value, place), {}) for value in (np.nan, np.inf) for place in (3, -1)},
        "learning rate 1e9": (Network([4, 5, 3], output="identity"), {"learning_rate": 1e9}),
        "the largest number in x": (Network([4, 5, 3]), {"x": changed(X, np.finfo(np.float32).max), "normalize": "none"}),
    }
    for case, (net, settings) in stopped.items():
        y = np.eye(3)[Y] if net.output == "identity" else Y
        try:
            fastmlp.train(net, **({"x": X, "y": y, "epochs": 3, "batch_size": 4} | settings))
            wrong.append(f"{case}: trained")
        except TrainingError as error:
            if "in epoch 1, batch " not in str(error):
                wrong.append(f"{case}: {error}")
    result = command("train", "synthetic", "--learning-rate", "1e30", "--activation", "relu", "--epochs", "2", "--no-run-folder")
    if result.code != 1 or "in epoch 1, batch " not in result.record["error"]["message"]:
        wrong.append(f"command line: {result}")
    record("N3", len(refused) + len(stopped) + 1, len(wrong))
    assert wrong == []


TRAIN = """
import hashlib, json, sys
import numpy as np
import fastmlp
draw = np.random.default_rng(5)
x = (draw.integers(1, 256, (400, 784)) * (draw.random((400, 784)) < 0.2)).astype(np.uint8)
net = fastmlp.Network([784, 64, 10], "sigmoid", seed=3)
history = fastmlp.train(net, x, draw.integers(0, 10, 400), epochs=2, batch_size=50, seed=4, threads=int(sys.argv[1]))
print(json.dumps([hashlib.sha256(net.parameters.tobytes()).hexdigest(), history.to_dict()["train_loss"]]))
"""


def test_n04_same_seed_in_new_processes_with_one_and_two_threads():
    repeats = count(1, 10)
    found = []
    for threads in (1, 2):
        for _ in range(repeats):
            line = [sys.executable, "-c", TRAIN, str(threads)]
            done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout))
    others = [result for result in found if result != found[0]]
    record("N4", len(found), len(others))
    assert others == []


def test_n05_thirty_seeds():
    nets = []
    for seed in range(30):
        nets.append(Network([4, 5, 3], seed=seed))
        fastmlp.train(nets[-1], X, Y, epochs=2, seed=seed)
    different = len({hashlib.sha256(net.parameters.tobytes()).digest() for net in nets})
    finite = sum(bool(np.isfinite(net.parameters).all()) for net in nets)
    record("N5", 30, 60 - different - finite)
    assert (different, finite) == (30, 30)


def test_n06_parallel_kernels_give_the_bits_of_serial_ones():
    draw, number, wrong = np.random.default_rng(6), count(60, 1_000), []
    for turn in range(number):
        name = list(DENSE)[turn % len(DENSE)]
        sizes = draw.integers(1, 70, 3).tolist()
        case, kernel = DENSE[name](normals, *sizes), getattr(textbook, name)
        serial, parallel = run(kernel, case, np.float32), run(forms.parallel(kernel), case, np.float32)
        if not all(np.array_equal(one, other) for one, other in zip(serial, parallel, strict=True)):  # the sign of a zero is free: nsz
            wrong.append(f"{name} {sizes}")
    record("N6", number, len(wrong))
    assert wrong == []


SMALL_TRAININGS = """
import json
import numpy as np
from fastmlp.kernels import gather
from tests.kernels.small_training import EVERY_LOSS, losses
try:
    gather(np.ones((2, 1), np.float32), np.array([2]), np.ones(1, np.float32), np.ones(1, np.float32), np.ones((1, 1), np.float32))
    found = "a row that does not exist was read"
except IndexError:
    found = losses(EVERY_LOSS)
print(json.dumps(found))
"""
MODES = {"boundscheck": {"NUMBA_BOUNDSCHECK": "1"}, "no compiler": {"NUMBA_DISABLE_JIT": "1"}}
PLAIN = ("textbook", "activations", "losses", "updates", "random", "comparison", "vectors", "rows", "zeros")
SUITES = {
    "boundscheck": ["tests/kernels"],
    # Of the rest much is about compiling. NumPy warns of an overflow, compiled code does not.
    "no compiler": [*(f"tests/kernels/test_{name}.py" for name in PLAIN), "-W", "ignore::RuntimeWarning"],
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.timeout(3600)
def test_n07_kernels_with_bounds_checked_and_without_compiler(mode):
    """A row that does not exist is not read; the textbook loops train as always. In full: the kernels' own tests."""
    found, expected = result_of(SMALL_TRAININGS, **MODES[mode]), losses(EVERY_LOSS)
    said = f"{found}, expected {expected}"
    failed = not isinstance(found, dict) or not all(np.allclose(found[name], expected[name], rtol=1e-4) for name in expected)
    if not failed and count(0, 1):
        line = [sys.executable, "-m", "pytest", *SUITES[mode], "-p", "no:cacheprovider", "--timeout=3600"]
        done = subprocess.run(line, cwd=ROOT, env=os.environ | MODES[mode], capture_output=True, text=True)
        failed, said = done.returncode != 0, done.stdout[-3000:]
    record("N7", 1, int(failed))
    assert not failed, said


HUGE = X / np.abs(X).max() * np.float32(3e38)
SMALLEST = {
    "one row": (X[:1], Y[:1], {}),
    "one feature": (X[:, :1], Y, {}),
    "one number": (X[:1, :1], Y[:1], {}),
    "one class in y": (X, np.ones(40, int), {}),
    "constant columns": (np.ones((40, 4), np.float32), Y, {"normalize": "standardize"}),
    "a column of zeros": (np.hstack([X[:, :3], np.zeros((40, 1))]), Y, {"normalize": "standardize"}),
    "zeros": (np.zeros((40, 4)), Y, {}),
    "white images": (np.full((40, 2, 2), 255, np.uint8), Y, {"normalize": "standardize"}),
    "denormals": (np.full((40, 4), 1e-45, np.float32), Y, {"normalize": "standardize"}),
    "the smallest steps between numbers": (1 + np.float32(2**-23) * (X > 0), Y, {"normalize": "standardize"}),
    "numbers near the largest": (HUGE, Y, {"normalize": "standardize"}),
    "numbers near the largest, as they are": (HUGE, Y, {"normalize": "none"}),
    "batches of one": (X, Y, {"batch_size": 1}),
    "a batch longer than the data": (X, Y, {"batch_size": 10**12}),
    "no epoch": (X, Y, {"epochs": 0}),
    "no row": (X[:0], Y[:0], {}),
    "everything held out": (X, Y, {"validation": 40}),
    "one row left": (X, np.zeros_like(Y), {"validation": 39}),
    "boolean rows": (X > 0, Y, {"normalize": "standardize"}),
}


def test_n08_the_smallest_and_the_largest():
    """What is unusual trains to finite numbers, or is refused: by ValueError before the first step, by TrainingError where it diverges."""
    wrong, refused, warned = [], [], []
    for case, (x, y, settings) in SMALLEST.items():
        net = Network([int(np.prod(x.shape[1:])), 5, 3])
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                history = fastmlp.train(net, x, y, **({"epochs": 2} | settings))
            warned += [(case, str(warning.message).partition(" varies")[0]) for warning in caught]
        except (ValueError, TrainingError) as error:
            refused.append(case)
            if "expected" not in str(error) or "\n" in str(error):
                wrong.append(f"{case}: {error}")
            continue
        except Exception as error:
            wrong.append(f"{case}: {type(error).__name__}: {error}")
            continue
        if not np.isfinite(net.parameters).all() or not np.isfinite([epoch.train_loss for epoch in history]).all():
            wrong.append(f"{case}: not finite")
    record("N8", len(SMALLEST), len(wrong))
    assert wrong == []
    assert {"no row", "everything held out"} <= set(refused)
    assert warned == [("the smallest steps between numbers", "x: column 0")]
