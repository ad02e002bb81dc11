"""The oracle itself: worked out by hand, against differences, and free of what it judges."""

import ast
from pathlib import Path

import numpy as np
import pytest

from tests.oracle import losses, mlp

# A 2-2-1 network with relu and squared error, worked out by hand for the row (1, 2) with target 4:
#   z0 = (1 + 2, -1 + 2 + 1) = (3, 2) = a0      z1 = 3 + 2*2 - 1 = 6      loss = (6 - 4)^2 = 4
#   delta1 = 2 (6 - 4) = 4                      delta0 = 4 (1, 2) = (4, 8)
HAND_LAYERS = [
    mlp.Layer(np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([0.0, 1.0])),
    mlp.Layer(np.array([[1.0], [2.0]]), np.array([-1.0])),
]
HAND_X, HAND_TARGET = np.array([[1.0, 2.0]]), np.array([[4.0]])


@pytest.mark.parametrize("path", [path for path in Path(mlp.__file__).parent.glob("*.py") if not path.name.startswith("test_")], ids=str)
def test_oracle_imports_nothing_of_fastmlp(path):
    tree = ast.parse(path.read_text())
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


@pytest.mark.parametrize(("normed", "count"), [(False, 17), (True, 20)])
def test_layers_and_flat_vector_are_each_other_reversed(normed, count):
    parameters = np.arange(float(count))
    assert mlp.flat(mlp.layers_of(parameters, [2, 3, 2], normed)).tolist() == parameters.tolist()


def test_gamma_stands_behind_the_bias_of_its_hidden_layer():
    hidden, output = mlp.layers_of(np.arange(20.0), [2, 3, 2], normed=True)
    assert (hidden.bias.tolist(), hidden.gamma.tolist(), output.bias.tolist(), output.gamma) == ([6, 7, 8], [9, 10, 11], [18, 19], None)


# Loss, and the number that it has besides.
CASES = [
    *(
        (loss, 0.0)
        for loss in ("cross_entropy", "binary_cross_entropy", "mse_of_softmax", "mse_of_sigmoid", "mse", "mae", "log_cosh", "poisson")
    ),
    ("cross_entropy", 0.2),
    ("binary_cross_entropy", 0.2),
    ("mse_of_softmax", 0.2),
    ("mse_of_sigmoid", 0.2),
    ("huber", 0.3),
    ("quantile", 0.8),
]


def targets(loss, generator, rows, outputs):
    kinds = {
        "softmax": lambda: generator.integers(0, outputs, (rows, 1)),
        "sigmoid": lambda: generator.integers(0, 2, (rows, outputs)),
        "identity": lambda: generator.poisson(2.0, (rows, outputs)) if loss == "poisson" else generator.standard_normal((rows, outputs)),
    }
    return kinds[losses.OUTPUT_OF[loss]]().astype(float)


def largest_error_of_gradient(loss, parameter, activation="tanh", norm="none", dropped=False, running=None):
    """Return the largest difference of a gradient from the differences of the loss, relative to its largest number."""
    generator = np.random.default_rng(3)
    sizes, activations, normed = [3, 4, 5, 2], [activation, activation], norm != "none"
    parameters = 0.5 * generator.standard_normal(62 if normed else 53)
    x, weights = generator.standard_normal((6, 3)), generator.uniform(0.5, 2.0, 6)
    target = targets(loss, generator, 6, 2)
    masks = [generator.integers(0, 2, (6, width)) * 2.0 for width in sizes[1:-1]] if dropped else None

    def weighted_loss(vector):
        z = mlp.forward(mlp.layers_of(vector, sizes, normed), activations, x, norm=norm, masks=masks, running=running)[-1][0]
        return float((weights * mlp.row_losses(loss, z, target, parameter)).sum())

    layers = mlp.layers_of(parameters, sizes, normed)
    analytic = mlp.flat(mlp.gradient(layers, activations, loss, x, target, weights, parameter, norm=norm, masks=masks, running=running)[0])
    steps = 1e-6 * np.eye(parameters.size)
    numeric = [(weighted_loss(parameters + step) - weighted_loss(parameters - step)) / 2e-6 for step in steps]
    return np.abs(analytic - numeric).max() / max(1.0, np.abs(analytic).max())


def test_every_loss_is_tried():
    assert {loss for loss, _ in CASES} == set(losses.OUTPUT_OF)


@pytest.mark.parametrize("activation", mlp.ACTIVATIONS)
def test_gradient_equals_differences_of_the_loss(activation, subtests):
    for loss, parameter in CASES:
        with subtests.test(loss=loss, parameter=parameter):
            assert largest_error_of_gradient(loss, parameter, activation) < 1e-8


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_gradient_of_normalised_and_dropped_units_equals_differences_of_the_loss(norm, dropped):
    assert largest_error_of_gradient("cross_entropy", 0.0, "silu", norm, dropped) < 1e-8


def test_gradient_of_units_normalised_by_running_statistics_equals_differences_of_the_loss():
    running = [mlp.normalisation.Running(np.linspace(-1.0, 1.0, width), np.linspace(0.5, 2.0, width)) for width in (4, 5)]
    assert largest_error_of_gradient("cross_entropy", 0.0, "silu", "batch", running=running) < 1e-8


def test_a_wrong_derivative_of_the_normalisation_is_found_by_differences(monkeypatch):
    monkeypatch.setattr(mlp.normalisation, "backward", lambda kind, sums, delta: delta)
    assert largest_error_of_gradient("mse", 0.0, "tanh", "batch") > 1e-3
