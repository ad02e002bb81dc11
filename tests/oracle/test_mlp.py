"""The oracle itself: worked out by hand, against differences, and free of what it judges."""

import ast
from pathlib import Path

import numpy as np
import pytest

from tests.oracle import mlp

# A 2-2-1 network with relu and squared error, worked out by hand for the row (1, 2) with target 4:
#   z0 = (1 + 2, -1 + 2 + 1) = (3, 2) = a0      z1 = 3 + 2*2 - 1 = 6      loss = (6 - 4)^2 = 4
#   delta1 = 2 (6 - 4) = 4                      delta0 = 4 (1, 2) = (4, 8)
HAND_LAYERS = [
    mlp.Layer(np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([0.0, 1.0])),
    mlp.Layer(np.array([[1.0], [2.0]]), np.array([-1.0])),
]
HAND_X, HAND_TARGET = np.array([[1.0, 2.0]]), np.array([[4.0]])


def test_oracle_imports_nothing_of_fastmlp():
    tree = ast.parse(Path(mlp.__file__).read_text())
    imported = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [line for line in imported if "fastmlp" in line] == []


def test_forward_gives_the_outputs_worked_out_by_hand():
    passed = mlp.forward(HAND_LAYERS, ["relu"], HAND_X)
    assert [z.tolist() for z, _ in passed] == [[[3.0, 2.0]], [[6.0]]]


def test_gradient_gives_the_numbers_worked_out_by_hand():
    found, _ = mlp.gradient(HAND_LAYERS, ["relu"], "mse", HAND_X, HAND_TARGET, np.ones(1))
    assert mlp.flat(found).tolist() == [4.0, 8.0, 8.0, 16.0, 4.0, 8.0, 12.0, 8.0, 4.0]


def test_training_takes_the_step_worked_out_by_hand():
    run = mlp.train(HAND_LAYERS, ["relu"], "mse", HAND_X, HAND_TARGET, order=np.array([0]), batch_size=1, learning_rate=0.5)
    assert run.step_losses == [4.0]
    assert mlp.flat(run.layers).tolist() == [-1.0, -5.0, -3.0, -7.0, -2.0, -3.0, -5.0, -2.0, -3.0]


def test_layers_and_flat_vector_are_each_other_reversed():
    parameters = np.arange(17.0)
    assert mlp.flat(mlp.layers_of(parameters, [2, 3, 2])).tolist() == parameters.tolist()


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "mse"])
@pytest.mark.parametrize("activation", mlp.ACTIVATIONS)
def test_gradient_equals_differences_of_the_loss(activation, loss):
    generator = np.random.default_rng(3)
    sizes, activations = [3, 4, 4, 2], [activation, activation]
    parameters = 0.5 * generator.standard_normal(3 * 4 + 4 + 4 * 4 + 4 + 4 * 2 + 2)
    x, weights = generator.standard_normal((5, 3)), generator.uniform(0.5, 2.0, 5)
    target = generator.integers(0, 2, (5, 1 if loss == "cross_entropy" else 2)).astype(float)

    def weighted_loss(vector):
        z = mlp.forward(mlp.layers_of(vector, sizes), activations, x)[-1][0]
        return float((weights * mlp.row_losses(loss, z, target)).sum())

    analytic = mlp.flat(mlp.gradient(mlp.layers_of(parameters, sizes), activations, loss, x, target, weights)[0])
    steps = 1e-6 * np.eye(parameters.size)
    numeric = [(weighted_loss(parameters + step) - weighted_loss(parameters - step)) / 2e-6 for step in steps]
    assert np.abs(analytic - numeric).max() < 1e-8 * max(1.0, np.abs(analytic).max())
