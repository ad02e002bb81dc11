"""What each kernel of a dense layer has to do, for any sizes: the operation as one equation, in float64."""

from collections.abc import Callable

from tests.kernels.comparison import Array, Case

Numbers = Callable[..., Array]

LEARNING_RATE = 0.5  # a power of two: products with it are exact


def dense_forward(numbers: Numbers, M: int, K: int, N: int) -> Case:
    x, weight, bias = numbers(M, K), numbers(K, N), numbers(N)
    return Case([], [x, weight, bias], [x @ weight + bias])


def dense_backward_input(numbers: Numbers, M: int, K: int, N: int) -> Case:
    delta, weight = numbers(M, N), numbers(K, N)
    return Case([], [delta, weight], [delta @ weight.T])


def dense_backward_parameters(numbers: Numbers, M: int, K: int, N: int) -> Case:
    x, delta = numbers(M, K), numbers(M, N)
    return Case([], [x, delta], [x.T @ delta, delta.sum(axis=0)])


def dense_sgd_update(numbers: Numbers, M: int, K: int, N: int) -> Case:
    weight, bias, x, delta = numbers(K, N), numbers(N), numbers(M, K), numbers(M, N)
    stepped = [weight - LEARNING_RATE * (x.T @ delta), bias - LEARNING_RATE * delta.sum(axis=0)]
    return Case([weight, bias], [x, delta, LEARNING_RATE], stepped)


def sgd_update(numbers: Numbers, M: int, K: int, N: int) -> Case:
    parameters, gradient = numbers(M * K * N, seed=1), numbers(M * K * N, seed=2)
    return Case([parameters], [gradient, LEARNING_RATE], [parameters - LEARNING_RATE * gradient])


DENSE = {case.__name__: case for case in (dense_forward, dense_backward_input, dense_backward_parameters, dense_sgd_update, sgd_update)}
