"""One step of a network with two inputs, three sigmoid units and two classes, worked out on paper.

x = (1, 2), class 1
z of the hidden layer   (0, ln 3, -ln 3)        a = (1/2, 3/4, 1/4)     f' = a (1 - a) = (1/4, 3/16, 3/16)
z of the output         (ln 3, 0)               p = (3/4, 1/4)          loss = ln 4
delta of the output     p - t = (3/4, -3/4)
delta of hidden units   (3, 3, -6) f' = (3/4, 9/16, -9/8)
step                    one half of each gradient
"""

from math import log

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmlp

X = np.array([[1.0, 2.0]])
Y = np.array([1])
WEIGHT_0 = np.array([[0, log(3), log(3)], [0, 0, -log(3)]])
WEIGHT_1 = np.array([[2.0, -2.0], [4.0, 0.0], [-4.0, 4.0]])
BIAS_1 = np.array([log(3) - 3, 0.0])

DWEIGHT_0 = np.array([[3 / 4, 9 / 16, -9 / 8], [3 / 2, 9 / 8, -9 / 4]])
DBIAS_0 = np.array([3 / 4, 9 / 16, -9 / 8])
DWEIGHT_1 = np.array([[3 / 8, -3 / 8], [9 / 16, -9 / 16], [3 / 16, -3 / 16]])
DBIAS_1 = np.array([3 / 4, -3 / 4])


def network(dtype: str = "float64") -> fastmlp.Network:
    net = fastmlp.Network([2, 3, 2], "sigmoid", dtype=dtype)
    net.weights[0][:], net.weights[1][:], net.biases[1][:] = WEIGHT_0, WEIGHT_1, BIAS_1
    return net


def assert_step(net: fastmlp.Network, share: float, tolerance: float = 1e-14) -> None:
    """Check that every parameter has moved by `share` of its gradient."""
    assert_allclose(net.weights[0], WEIGHT_0 - share * DWEIGHT_0, atol=tolerance)
    assert_allclose(net.biases[0], -share * DBIAS_0, atol=tolerance)
    assert_allclose(net.weights[1], WEIGHT_1 - share * DWEIGHT_1, atol=tolerance)
    assert_allclose(net.biases[1], BIAS_1 - share * DBIAS_1, atol=tolerance)


def test_the_probabilities_are_those_worked_out_by_hand():
    assert_allclose(network().predict_proba(X), [[3 / 4, 1 / 4]], rtol=1e-7)


def test_the_loss_is_that_worked_out_by_hand():
    assert network().evaluate(X, Y) == {"loss": pytest.approx(log(4), rel=1e-14), "accuracy": 0.0}


def test_the_gradient_is_that_worked_out_by_hand():
    expected = np.concatenate([DWEIGHT_0.ravel(), DBIAS_0, DWEIGHT_1.ravel(), DBIAS_1])
    assert_allclose(network().gradient(X, Y), expected, atol=1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 2e-6)])
@pytest.mark.parametrize("kernels", ["auto", "python"])
def test_one_step_moves_every_parameter_as_worked_out_by_hand(dtype, tolerance, kernels):
    net = network(dtype)
    history = fastmlp.train(net, X, Y, epochs=1, learning_rate=0.5, kernels=kernels)
    assert_step(net, 0.5, tolerance)
    assert history[0].train_loss == pytest.approx(log(4), abs=tolerance)
    assert history[0].train_accuracy == 0.0


@pytest.mark.parametrize(("reduction", "share"), [("mean", 0.5), ("sum", 1.0)])
def test_of_two_equal_rows_mean_takes_the_step_of_one_and_sum_twice_that(reduction, share):
    net = network()
    history = fastmlp.train(net, np.repeat(X, 2, axis=0), np.repeat(Y, 2), epochs=1, learning_rate=0.5, reduction=reduction)
    assert_step(net, share)
    assert history[0].train_loss == pytest.approx(log(4), rel=1e-14)  # a mean per sample, whatever the reduction


def test_bytes_are_divided_by_255_before_the_step():
    net = network()
    fastmlp.train(net, np.array([[255, 0]], np.uint8), Y, epochs=1, learning_rate=0.5)
    same = network()
    fastmlp.train(same, np.array([[1.0, 0.0]]), Y, epochs=1, learning_rate=0.5)
    assert_allclose(net.parameters, same.parameters, atol=1e-15)


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_rule_with_one_state_reads_and_writes_no_second_one(nesterov):
    # interpreted, a place beyond the end of an array is an error
    trained = []
    for kernels in ("python", "scalar"):
        net = network()
        fastmlp.train(net, X, Y, epochs=3, batch_size=2, optimizer=fastmlp.SGD(momentum=0.9, nesterov=nesterov), kernels=kernels)
        trained.append(net.parameters)
    assert_allclose(trained[0], trained[1], rtol=1e-12)
