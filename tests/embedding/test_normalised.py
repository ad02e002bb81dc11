"""Networks normalised over the units of their layers, in compiled code of one's own and from C."""

import ctypes

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastmlp
from fastmlp.compilation import forms
from fastmlp.embedding import c_functions, c_handle
from fastmlp.kernels import embedded
from tests.oracle import mlp

LOSSES = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "identity": "mse"}
OUTPUTS = {"softmax": mlp.softmax, "sigmoid": mlp.logistic, "identity": np.copy}


class Problem:
    """A network whose parameters are not what they begin with, rows, and what the oracle says of them."""

    def __init__(self, sizes=(4, 9, 5, 3), output="softmax", rows=40, dtype="float64"):
        rng = np.random.default_rng(rows)
        self.network = fastmlp.Network(sizes, "tanh", output, normalization="layer", dtype=dtype, seed=1)
        self.network.parameters[:] += 0.2 * rng.standard_normal(self.network.parameters.size)
        self.x = rng.standard_normal((rows, sizes[0])).astype(np.float32).astype(np.float64)
        self.target = (rng.integers(0, 3, (rows, 1)) if output == "softmax" else rng.integers(0, 2, (rows, sizes[-1]))).astype(float)
        self.state, self.functions = self.network.compiled()
        self.scratch = self.functions.make_scratch(self.state)

    def outputs(self):
        layers = mlp.layers_of(self.network.parameters, self.network.sizes, normed=True)
        z = mlp.forward(layers, self.network.hidden_activations, self.x, norm="layer")[-1][0]
        return OUTPUTS[self.network.output](z)

    def gradient(self):
        layers, rows = mlp.layers_of(self.network.parameters, self.network.sizes, normed=True), len(self.x)
        found, _ = mlp.gradient(
            layers, self.network.hidden_activations, LOSSES[self.network.output], self.x, self.target,
            np.full(rows, 1 / rows), norm="layer",
        )  # fmt: skip
        return mlp.flat(found)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("sizes", [(4, 7, 3), (4, 8, 3), (3, 17, 9, 2, 3)], ids=str)
def test_rows_are_predicted_as_by_the_oracle(sizes, output):
    p = Problem(sizes, output)
    out, row = np.full((len(p.x), 3), np.nan), np.full(3, np.nan)
    p.functions.predict_batch(p.state, p.scratch, p.x, out)
    assert_allclose(out, p.outputs(), rtol=1e-10, atol=1e-12)
    p.functions.predict(p.state, p.scratch, p.x[5], row)
    assert_array_equal(row, out[5])


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("rows", [1, 32, 33, 67])
def test_gradient_equals_the_oracle(rows, output):
    p = Problem(output=output, rows=rows)
    slope = np.full_like(p.network.parameters, np.nan)
    p.functions.gradient(p.state, p.scratch, p.x, p.target, slope)
    assert_allclose(slope, p.gradient(), rtol=1e-8, atol=1e-11)


def test_input_gradient_equals_differences():
    p = Problem(rows=3)
    slope, moved = np.full_like(p.x, np.nan), p.x.copy()
    p.functions.input_gradient(p.state, p.scratch, p.x, p.target, slope)
    numeric = np.empty_like(p.x)
    for place in np.ndindex(p.x.shape):
        losses = []
        for step in (1e-6, -1e-6):
            moved[place] = p.x[place] + step
            losses.append(len(p.x) * p.functions.loss(p.state, p.scratch, moved, p.target))
        moved[place] = p.x[place]
        numeric[place] = (losses[0] - losses[1]) / 2e-6
    assert_allclose(slope, numeric, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("rows", [10, 40])
def test_a_step_of_plain_descent_goes_along_the_gradient_of_all_parameters(rows):
    p = Problem(rows=rows)
    expected = p.network.parameters - 0.1 * p.gradient()
    p.functions.train_step(p.state, p.scratch, p.x, p.target, 0.1)
    assert_allclose(p.network.parameters, expected, rtol=1e-9, atol=1e-12)


def test_steps_of_an_optimizer_are_those_of_a_training():
    p = Problem()
    twin = p.network.copy()
    state, functions = p.network.compiled("adam")
    for _ in range(3):
        functions.train_step(state, p.scratch, p.x, p.target, 0.01)
    fastmlp.train(
        twin, p.x, p.target[:, 0].astype(int), epochs=3, batch_size=len(p.x), optimizer="adam", learning_rate=0.01, normalize="none"
    )
    assert_allclose(p.network.parameters, twin.parameters, rtol=1e-8, atol=1e-10)


def test_pure_functions_compute_the_same():
    p = Problem(rows=3)
    out, slope = np.full((3, 3), np.nan), np.full_like(p.network.parameters, np.nan)
    forms.pure(embedded.predict_batch)(p.state, p.scratch, p.x, out)
    assert_allclose(out, p.outputs(), rtol=1e-10, atol=1e-12)
    forms.pure(embedded.gradient)(p.state, p.scratch, p.x, p.target, slope)
    assert_allclose(slope, p.gradient(), rtol=1e-8, atol=1e-11)


def test_c_predicts_the_same():
    p = Problem(rows=3)
    handle, c = c_handle(p.state), c_functions(p.state)
    out, expected = np.full(3, np.nan), np.full(3, np.nan)
    real = ctypes.POINTER(ctypes.c_double)
    c.predict.ctypes(handle.ctypes, p.x[1].ctypes.data_as(real), out.ctypes.data_as(real))
    p.functions.predict(p.state, p.scratch, p.x[1], expected)
    assert_array_equal(out, expected)
