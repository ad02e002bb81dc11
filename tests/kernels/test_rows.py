"""Training one sample a step, against the oracle and against batches of one."""

import itertools

import numpy as np
import pytest

from fastmlp.compilation import options
from fastmlp.engines.program import Program
from fastmlp.engines.wanted import Wanted
from fastmlp.kernels import narrow
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.vectors import vector_bytes
from tests.kernels.comparison import EACH_ONCE, integers
from tests.kernels.test_textbook_step import Job, assert_equal_to_the_oracle, program_of, trained
from tests.kernels.tiled_training import signs

NETWORKS = [[2, 3, 2], [3, 7, 2], [3, 8, 2], [5, 9, 4, 3], [4, 17, 10], [3, 2]]


def by_row(job, dtype, by_row=True, **form):
    program = program_of(job, dtype, over_threads=False, **form)
    program.by_row = by_row
    return program


# "auto" takes networks whose layers are no wider than a vector in vectors, the others in the loops of "scalar"
KERNELS = ["scalar", "auto"]
each_form = pytest.mark.parametrize("kernels", KERNELS)


@pytest.mark.parametrize(("activation", "loss"), EACH_ONCE)
def test_row_by_row_equals_the_oracle(activation, loss, subtests):
    for sizes, kernels in itertools.product(NETWORKS, KERNELS):
        job = Job(sizes, [activation] * (len(sizes) - 2), loss, rows=9, batch_size=1, learning_rate=0.002)
        with subtests.test(sizes=sizes, kernels=kernels):
            assert_equal_to_the_oracle(trained(job, np.float64, program=by_row(job, np.float64, kernels=kernels)), job, 1e-10)


@each_form
def test_row_by_row_takes_sample_weights(kernels, subtests):
    for loss in LOSSES:
        job = Job([3, 4, 3], ["tanh"], loss, rows=9, batch_size=1, learning_rate=0.1, weighted=True)
        with subtests.test(loss=loss):
            assert_equal_to_the_oracle(trained(job, np.float64, program=by_row(job, np.float64, kernels=kernels)), job, 1e-10)


# with outputs of a power of two, over which mse is a mean: two steps are exact in float32, in any order of additions
EXACT = [[2, 3, 2], [3, 7, 2], [3, 8, 2], [5, 9, 4, 2], [4, 17, 8], [3, 2]]


@each_form
@pytest.mark.parametrize("sizes", EXACT, ids=str)
def test_row_by_row_equals_batches_of_one_on_whole_numbers(sizes, kernels):
    job = Job(sizes, ["identity"] * (len(sizes) - 2), "mse", rows=2, batch_size=1, learning_rate=0.5)
    rows = trained(job, np.float32, signs, program=by_row(job, np.float32, kernels=kernels))
    batches, exact = (trained(job, dtype, signs, program=by_row(job, dtype, by_row=False)) for dtype in (np.float32, np.float64))
    np.testing.assert_array_equal(batches.parameters, exact.parameters)
    np.testing.assert_array_equal(rows.parameters, batches.parameters)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_networks_of_up_to_a_vector_a_layer_are_taken_in_vectors(dtype):
    lanes = vector_bytes() // np.dtype(dtype).itemsize
    found = {
        (inputs, units): Program(Wanted([inputs, units, 1], ["relu"], dtype, 1, loss="mse")).narrow is not None
        for inputs in (1, narrow.MOST_INPUTS, narrow.MOST_INPUTS + 1)
        for units in (1, lanes, lanes + 1)
    }
    fit = options.JIT
    assert found == {(inputs, units): fit and inputs <= narrow.MOST_INPUTS and units <= lanes for inputs, units in found}


def test_a_training_in_vectors_may_be_cut_anywhere():
    job = Job([5, 6, 4, 3], ["tanh", "sigmoid"], "cross_entropy", rows=9, batch_size=1, learning_rate=0.1)
    whole, cut = (
        trained(job, np.float32, program=by_row(job, np.float32, kernels="auto"), ranges=ranges)
        for ranges in ([(0, 9)], [(0, 1), (1, 4), (4, 9)])
    )
    assert whole.parameters.tobytes() == cut.parameters.tobytes()


def test_row_by_row_interpreted_equals_compiled(subtests):
    for loss in LOSSES:
        job, forms = Job([3, 9, 3], ["sigmoid"], loss, rows=9, batch_size=1, learning_rate=0.002), ("scalar", "python")
        with subtests.test(loss=loss):
            compiled, interpreted = (trained(job, np.float32, program=by_row(job, np.float32, kernels=kernels)) for kernels in forms)
            np.testing.assert_allclose(interpreted.parameters, compiled.parameters, rtol=0, atol=2e-6)


class Exploded(Job):
    """A network with a bias that is not finite."""

    def parameters(self, numbers=integers):
        parameters = super().parameters(numbers)
        parameters[-1] = np.inf
        return parameters


@each_form
def test_a_row_whose_loss_is_not_finite_changes_no_parameter_and_is_named(kernels):
    job = Exploded([2, 3, 1], ["relu"], "mse", rows=3, batch_size=1)
    found = trained(job, np.float32, integers, program=by_row(job, np.float32, kernels=kernels))
    assert found.reached == -1
    np.testing.assert_array_equal(found.parameters, np.array(job.parameters(), np.float32))


@pytest.mark.parametrize(("rows", "update", "expected"), [(1, "sgd", True), (2, "sgd", False), (1, "adam", False)])
def test_plain_steps_of_one_row_are_taken_row_by_row(rows, update, expected):
    assert Program(Wanted([2, 3, 2], ["relu"], np.float32, rows, loss="cross_entropy", update=update)).by_row is expected
