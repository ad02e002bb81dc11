"""Runs of training steps, gradients and outputs of whole networks, against the oracle."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp.engines.program import Program
from fastmlp.engines.wanted import Steps, Wanted
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.textbook_step import TOTALS
from fastmlp.kernels.updates import Rates
from tests.kernels.comparison import integers, normals
from tests.oracle import mlp
from tests.pairs import each_in_turn


class Job(NamedTuple):
    """A network, rows to learn from, and how."""

    sizes: list[int]
    activations: list[str]
    loss: str
    rows: int
    batch_size: int = 4
    learning_rate: float = 0.5
    mean: bool = True
    weighted: bool = False
    seed: int = 0

    @property
    def loss_parameter(self):
        return 0.7 if self.loss in ("huber", "quantile") else 0.0

    def parameters(self, numbers=normals):
        parameters = numbers(sum(k * n + n for k, n in pairwise(self.sizes)), seed=self.seed)
        return parameters / 8 if self.loss == "poisson" else parameters  # of which the exponential is taken

    def x(self, numbers=normals):
        return numbers(self.rows, self.sizes[0], seed=self.seed + 1)

    def target(self, numbers=normals):
        generator = np.random.default_rng(self.seed + 2)
        if LOSSES[self.loss].output == "softmax":
            return generator.integers(0, self.sizes[-1], (self.rows, 1)).astype(np.float64)
        if LOSSES[self.loss].output == "sigmoid":
            return generator.integers(0, 2, (self.rows, self.sizes[-1])).astype(np.float64)
        if self.loss == "poisson":
            return generator.integers(0, 5, (self.rows, self.sizes[-1])).astype(np.float64)
        return numbers(self.rows, self.sizes[-1], seed=self.seed + 2)

    def order(self):
        return np.random.default_rng(self.seed + 3).permutation(self.rows)

    def weights(self):
        return np.random.default_rng(self.seed + 4).uniform(0.5, 2, self.rows) if self.weighted else None


class Trained(NamedTuple):
    parameters: np.ndarray
    total: np.ndarray  # loss sum, correct, weight
    reached: int


def read_only(array, dtype):
    view = np.array(array, dtype)
    view.flags.writeable = False
    return view


NOTHING = np.empty(0, np.float32)


def rates(learning_rate, dtype=np.float32, steps=1000):
    """Return the numbers of plain SGD for more steps than any job takes."""
    table = np.zeros((steps, len(Rates._fields)), dtype)
    table[:, 0] = learning_rate
    return table


def program_of(job, dtype, kernels="scalar", skip_zeros=True, over_threads=None):
    """Return a Program with poisoned scratch; it decides by itself whether it runs over threads, unless told."""
    program = Program(
        Wanted(
            job.sizes, job.activations, dtype, job.batch_size, kernels=kernels, loss=job.loss, zero_skipping="on" if skip_zeros else "off"
        )
    )  # fmt: skip
    if over_threads is not None:
        program.threads = 2 if over_threads else 1
    program.scratch[:] = np.nan
    return program


def trained(job, dtype, numbers=normals, program=None, ranges=None, **form):
    """Run the kernels on a job; `ranges` are the pieces in which its rows are asked for."""
    program = program or program_of(job, dtype, **form)
    parameters, total = np.array(job.parameters(numbers), dtype), np.zeros(TOTALS)
    x, target = read_only(job.x(numbers), dtype), read_only(job.target(numbers), dtype)
    weights = None if job.weights() is None else np.array(job.weights(), dtype)
    scale, shift = np.ones(job.sizes[0], dtype), np.zeros(job.sizes[0], dtype)
    reached = 0
    for first, last in ranges or [(0, job.rows)]:
        reached = program.train(
            Steps(
                parameters, NOTHING.astype(dtype), NOTHING.astype(dtype), total, x, target, weights, job.order(), first, last,
                job.batch_size, scale, shift, rates(job.learning_rate, dtype), job.mean, np.array([job.loss_parameter]),
            )
        )  # fmt: skip
    return Trained(parameters, total, reached)


def trained_by_the_oracle(job, numbers=normals):
    return mlp.train(
        mlp.layers_of(job.parameters(numbers), job.sizes), job.activations, job.loss, job.x(numbers), job.target(numbers),
        order=job.order(), batch_size=job.batch_size, learning_rate=job.learning_rate, mean=job.mean, sample_weight=job.weights(),
        parameter=job.loss_parameter,
    )  # fmt: skip


def assert_equal_to_the_oracle(found, job, tolerance):
    run = trained_by_the_oracle(job)
    expected = mlp.flat(run.layers)
    np.testing.assert_allclose(found.parameters, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))
    weight = job.rows if job.weights() is None else job.weights().sum()
    assert found.total[0] == pytest.approx(run.loss_sum, rel=tolerance)
    assert found.total[1] == pytest.approx(run.correct)
    assert found.total[2] == pytest.approx(weight, rel=tolerance)
    assert found.reached == job.rows


@st.composite
def jobs(draw):
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=5))
    return Job(
        sizes,
        draw(st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=len(sizes) - 2, max_size=len(sizes) - 2)),
        draw(st.sampled_from(sorted(LOSSES))),
        rows=draw(st.integers(1, 13)),
        batch_size=draw(st.integers(1, 15)),
        learning_rate=draw(st.sampled_from([0.001, 0.01])),
        mean=draw(st.booleans()),
        weighted=draw(st.booleans()),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=150, derandomize=True)
@given(jobs())
def test_training_of_any_network_equals_the_oracle(job):
    assert_equal_to_the_oracle(trained(job, np.float64), job, tolerance=1e-9)


FORMS = {
    "interpreted": {"kernels": "python"},
    "serial": {"over_threads": False},
    "parallel": {"over_threads": True},
    "without zero skipping": {"over_threads": False, "skip_zeros": False},
}


@each_in_turn(loss=list(LOSSES), form=["serial", "interpreted", "parallel", "without zero skipping"])
def test_float32_training_equals_the_oracle_in_every_form(loss, form):
    job = Job([7, 11, 5, 3], ["silu", "tanh"], loss, rows=23, batch_size=5, learning_rate=0.05)
    assert_equal_to_the_oracle(trained(job, np.float32, **FORMS[form]), job, tolerance=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_one_step_is_exact_on_integers(rows, form):
    job = Job([5, 7, 2], ["relu"], "mse", rows=rows, batch_size=4, learning_rate=0.5)
    found = trained(job, np.float32, numbers=integers, **FORMS[form])
    np.testing.assert_array_equal(found.parameters, mlp.flat(trained_by_the_oracle(job, integers).layers))


@pytest.mark.parametrize("mean", [True, False])
def test_a_last_shorter_batch_is_trained_and_divided_by_its_own_size(mean):
    job = Job([3, 4, 2], ["tanh"], "mse", rows=7, batch_size=5, learning_rate=0.1, mean=mean)
    assert_equal_to_the_oracle(trained(job, np.float64), job, tolerance=1e-12)


def test_bits_do_not_depend_on_where_a_run_is_cut_between_batches():
    job = Job([7, 11, 3], ["sigmoid"], "cross_entropy", rows=23, batch_size=5)
    whole, cut = trained(job, np.float32), trained(job, np.float32, ranges=[(0, 5), (5, 20), (20, 23)])
    np.testing.assert_array_equal(whole.parameters, cut.parameters)
    np.testing.assert_array_equal(whole.total, cut.total)


def test_bits_are_the_same_serial_and_parallel():
    job = Job([37, 41, 29, 10], ["sigmoid", "relu"], "cross_entropy", rows=103, batch_size=20)
    serial, parallel = (trained(job, np.float32, **FORMS[form]) for form in ("serial", "parallel"))
    np.testing.assert_array_equal(serial.parameters, parallel.parameters)


def test_what_the_scratch_held_before_changes_nothing():
    job = Job([3, 4, 2], ["relu"], "cross_entropy", rows=7, batch_size=3)
    program = program_of(job, np.float64)
    first, again = trained(job, np.float64, program=program), trained(job, np.float64, program=program)
    np.testing.assert_array_equal(first.parameters, again.parameters)


@pytest.mark.parametrize("form", ["interpreted", "serial"])
def test_a_batch_whose_loss_is_not_finite_stops_the_run_and_changes_no_parameter(form):
    job = Job([3, 4, 2], ["sigmoid"], "cross_entropy", rows=12, batch_size=4)
    program = program_of(job, np.float32, **FORMS[form])
    x, target, order = np.array(job.x(), np.float32), read_only(job.target(), np.float32), np.arange(12)
    x[6, 1] = np.nan
    x = read_only(x, np.float32)
    scale, shift = np.ones(3, np.float32), np.zeros(3, np.float32)
    reached, parameters = [], []
    for last in (4, 12):
        vector = np.array(job.parameters(), np.float32)
        reached.append(
            program.train(
                Steps(vector, NOTHING, NOTHING, np.zeros(TOTALS), x, target, None, order, 0, last, 4, scale, shift, rates(0.1), True)
            )
        )
        parameters.append(vector)
    assert reached == [4, -(4 + 1)]  # the second batch begins at row 4
    np.testing.assert_array_equal(parameters[1], parameters[0])


@pytest.mark.parametrize("skip_zeros", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_equals_the_oracle(loss, skip_zeros):
    job = Job([7, 5, 4, 3], ["silu", "relu"], loss, rows=11, batch_size=11)
    program = program_of(job, np.float64, skip_zeros=skip_zeros)
    x, target = read_only(job.x(), np.float64), read_only(job.target(), np.float64)
    summed, found = program.gradient(
        job.parameters(), x, target, np.ones(7), np.zeros(7), factor=0.5, loss_numbers=np.array([job.loss_parameter])
    )
    layers = mlp.layers_of(job.parameters(), job.sizes)
    expected, z = mlp.gradient(layers, job.activations, loss, x, target, np.full(11, 0.5), job.loss_parameter)
    assert summed == pytest.approx(mlp.row_losses(loss, z, target, job.loss_parameter).sum(), rel=1e-12)
    np.testing.assert_allclose(found, mlp.flat(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["interpreted", "serial", "parallel"])
def test_outputs_equal_the_oracle_for_the_rows_asked_for(form):
    job = Job([7, 5, 4, 3], ["silu", "tanh"], "mse", rows=11, batch_size=11)
    out = np.full((6, 3), np.nan, np.float32)
    arguments = [np.array(job.parameters(), np.float32), read_only(job.x(), np.float32)]
    scale, shift = np.full(7, 0.5, np.float32), np.full(7, 0.25, np.float32)
    program_of(job, np.float32, **FORMS[form]).outputs(*arguments, 3, 9, scale, shift, out)
    z = mlp.forward(mlp.layers_of(job.parameters(), job.sizes), job.activations, job.x() * 0.5 + 0.25)[-1][0]
    np.testing.assert_allclose(out, z[3:9], rtol=0, atol=1e-5)


def test_bytes_train_like_the_same_numbers_as_floats():
    job = Job([6, 5, 3], ["sigmoid"], "cross_entropy", rows=9, batch_size=4)
    values = np.random.default_rng(0).integers(0, 256, (9, 6))
    scale, shift = np.full(6, 1 / 255, np.float32), np.full(6, -0.5, np.float32)
    results = []
    for dtype in (np.uint8, np.float32):
        parameters, target = np.array(job.parameters(), np.float32), read_only(job.target(), np.float32)
        program_of(job, np.float32).train(
            Steps(
                parameters, NOTHING, NOTHING, np.zeros(TOTALS), read_only(values, dtype), target, None, job.order(), 0, 9, 4, scale, shift,
                rates(0.5), True,
            )
        )  # fmt: skip
        results.append(parameters)
    np.testing.assert_array_equal(*results)
