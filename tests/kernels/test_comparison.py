"""The comparison itself: it has to fail for kernels that are wrong."""

import numpy as np
import pytest

from tests.kernels.comparison import check, integers
from tests.kernels.dense import dense_forward, dense_sgd_update


def right(x, weight, bias, out):
    out[:] = x @ weight + bias


def transposed(x, weight, bias, out):
    out[:] = x @ weight.T + bias


def all_zero(x, weight, bias, out):
    out[:] = 0


def last_unit_not_written(x, weight, bias, out):
    out[:, :-1] = (x @ weight + bias)[:, :-1]


def added_to_what_was_there(x, weight, bias, out):
    out += x @ weight + bias


def last_input_left_out(x, weight, bias, out):
    out[:] = x[:, :-1] @ weight[:-1] + bias


def bias_left_out(x, weight, bias, out):
    out[:] = x @ weight


def input_changed(x, weight, bias, out):
    out[:] = x @ weight + bias
    x[0, 0] += 1


def off_by_one_in_a_million(x, weight, bias, out):
    out[:] = (x @ weight + bias) * (1 + 1e-6)


def test_comparison_passes_a_right_kernel():
    check(right, dense_forward(integers, 5, 7, 7))
    check(right, dense_forward(integers, 5, 7, 7), tolerance=1e-7)


@pytest.mark.parametrize("tolerance", [0.0, 1e-7])
@pytest.mark.parametrize(
    "broken",
    [
        transposed,
        all_zero,
        last_unit_not_written,
        added_to_what_was_there,
        last_input_left_out,
        bias_left_out,
        input_changed,
        off_by_one_in_a_million,
    ],
)
def test_comparison_fails_a_broken_kernel(broken, tolerance):
    with pytest.raises(AssertionError):
        check(broken, dense_forward(integers, 5, 7, 7), np.float64, tolerance)


def test_comparison_fails_a_kernel_that_forgets_its_update():
    def forgetful(weight, bias, x, delta, learning_rate):
        weight -= learning_rate * (x.T @ delta)

    with pytest.raises(AssertionError):
        check(forgetful, dense_sgd_update(integers, 5, 7, 7))
