"""The ladder: every rung computes the same thing, and what is said about it follows from its times."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from fastmlp.benchmark import ladder, one_layer
from fastmlp.benchmark.implementations import IMPLEMENTATIONS, build
from fastmlp.benchmark.ladder import SCENES, TOLERANCE, Ladder, Row, error_of, reference_answer
from fastmlp.benchmark.machine_peaks import Peaks
from fastmlp.benchmark.problem import layers_of, make_problem
from fastmlp.benchmark.protocol import Configuration
from fastmlp.benchmark.runner import Training, Unavailable
from fastmlp.errors import FastmlpError
from tests.benchmark.measurements import marks_of
from tests.oracle import mlp

PEAKS = Peaks(2, 64, (100e9, 180e9), (50e9, 90e9), (10e9, 15e9))
ROWS = {"layer": 7, "2-3-2": 40, "mnist-step": 7}  # rows beside every tile's


def is_absent(peer):
    return bool(IMPLEMENTATIONS[peer].missing()) or (peer == "c" and shutil.which("gcc") is None)


@pytest.fixture(scope="module")
def problems():
    return {key: make_problem(SCENES[key].workload.with_rows(rows)) for key, rows in ROWS.items()}


def answer_of(problem, rung, operation, threads):
    runner = build(rung.peer, problem, f"{rung.variant} {operation}".strip(), threads)
    if isinstance(runner, Training):
        runner.epoch(problem.orders[0])
        return runner.parameters()
    runner.repeat(1)
    return runner.answer()


def case(key, rung, operation):
    """Return a case of the test below; one whole step over threads is compiled for nobody else, for seconds."""
    marks = [pytest.mark.long] if (key, rung.key) == ("mnist-step", "parallel") else marks_of(rung.peer)
    return pytest.param(key, rung, operation, marks=marks, id=f"{key} {rung.key} {operation}".strip())


CASES = [
    case(key, rung, operation)
    for key in ROWS
    for operation in SCENES[key].operations
    for rung in SCENES[key].rungs
    if not (rung.skips and operation == "backward")
]


@pytest.mark.parametrize(("key", "rung", "operation"), CASES)
@pytest.mark.filterwarnings("ignore")  # of the peers
def test_every_rung_computes_what_float64_says(problems, key, rung, operation):
    if is_absent(rung.peer):
        pytest.skip(f"{rung.peer} is not installed")
    problem = problems[key]
    answer = answer_of(problem, rung, operation, 2 if rung.on_all_threads else 1)
    assert error_of(answer, reference_answer(problem, operation), problem, operation) <= TOLERANCE


def test_reference_is_a_step_of_the_oracle(problems):
    problem = problems["mnist-step"]
    workload = problem.workload
    layers = mlp.layers_of(problem.parameters.astype(np.float64), workload.sizes)
    gradients, _ = mlp.gradient(
        layers, ["sigmoid"], "cross_entropy", problem.x / 255.0, problem.y[:, None], np.full(workload.rows, 1 / workload.rows)
    )
    np.testing.assert_allclose(reference_answer(problem), -workload.learning_rate * mlp.flat(gradients), rtol=1e-5, atol=1e-9)


def test_reference_of_a_layer_is_its_textbook_formula(problems):
    problem = problems["layer"]
    ((weight, bias),) = layers_of(problem.parameters.astype(np.float64), problem.workload.sizes)
    x = problem.x / 255.0
    np.testing.assert_allclose(reference_answer(problem, "forward"), (x @ weight + bias).ravel(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("operation", ["forward", "backward", "update"])
def test_a_layer_repeated_thrice_adds_up_only_in_its_update(problems, operation):
    problem = problems["layer"]
    once, thrice = (one_layer.build(problem, f"tiles {operation}", 2) for _ in range(2))
    once.repeat(1)
    thrice.repeat(3)
    np.testing.assert_allclose(thrice.answer(), once.answer() * (3 if operation == "update" else 1), rtol=1e-2, atol=2e-6)


def test_a_delta_has_no_zeros_to_skip(problems):
    with pytest.raises(Unavailable, match="no zeros"):
        one_layer.build(problems["layer"], "skipping backward", 1)


# --- a wrong answer is noticed -------------------------------------------------------------------------------------------


def test_doing_nothing_is_an_error_of_one(problems):
    problem = problems["mnist-step"]
    assert error_of(problem.parameters, reference_answer(problem), problem) == pytest.approx(1.0)


def test_one_wrong_bias_is_noticed_beside_two_hundred_thousand_right_weights(problems):
    problem = problems["mnist-step"]
    reference = reference_answer(problem)
    answer = problem.parameters + reference.astype(np.float32)
    assert error_of(answer, reference, problem) <= TOLERANCE
    answer[-1] = problem.parameters[-1]
    assert error_of(answer, reference, problem) > TOLERANCE


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_never_within_the_tolerance(problems, value):
    problem = problems["layer"]
    answer = reference_answer(problem, "forward")
    answer[7] = value
    assert not error_of(answer, reference_answer(problem, "forward"), problem, "forward") <= TOLERANCE


def test_another_shape_is_an_infinite_error(problems):
    problem = problems["layer"]
    assert error_of(np.zeros(3), reference_answer(problem, "forward"), problem, "forward") == float("inf")


# --- what follows from the times -----------------------------------------------------------------------------------------


def row(rung, *seconds, operation="", fault=None, error=1e-7, threads=1):
    return Row(operation, rung, Configuration(rung.peer, rung.variant, threads), 60, seconds, error=error, fault=fault)


def a_ladder(*rows, key="mnist-step"):
    return Ladder(SCENES[key], rows, PEAKS, {})


def test_operations_of_a_step_are_those_counted_by_hand():
    assert a_ladder().flops() == 50 * (2 * 784 * 300 * 2 + 2 * 300 * 10 * 3)  # the first layer has no delta of its inputs
    assert a_ladder(key="mnist-epoch").flops() == 1200 * a_ladder().flops()
    assert a_ladder(key="layer").flops() == 2 * 50 * 784 * 300
    assert a_ladder(key="2-3-2").flops() == 2 * 2 * 3 * 2 + 3 * 2 * 3 * 2


def test_bytes_of_a_layer_are_those_counted_by_hand():
    layer = a_ladder(key="layer")
    inputs, outputs, weights = 50 * 784, 50 * 300, 784 * 300
    assert layer.traffic("forward") == 4 * (inputs + weights + 300 + outputs)
    assert layer.traffic("backward") == 4 * (outputs + weights + inputs)
    assert layer.traffic("update") == 4 * (inputs + outputs + 2 * (weights + 300))


def test_bytes_of_a_step_are_those_of_its_layers_and_the_images():
    first = 4 * (50 * 1084 + 235_500) + 4 * (50 * 1084 + 2 * 235_500)
    second = 4 * (50 * 310 + 3010) + 4 * (50 * 310 + 3000) + 4 * (50 * 310 + 2 * 3010)
    assert a_ladder().traffic("") == 50 * 784 + first + second


def test_share_of_the_peak_is_that_of_as_many_cores():
    flops = a_ladder().flops()
    one, both = row(ladder.TILES, flops / 50e9), row(ladder.TEAM, flops / 90e9, threads=2)
    found = a_ladder(one, both)
    assert [found.share_of_peak(each) for each in found.rows] == [pytest.approx(0.5), pytest.approx(0.5)]


def test_speed_ups_are_over_lists_and_over_the_rung_before():
    lists, njit, numpy = row(ladder.LISTS, 8.0), row(ladder.NJIT, 0.5, 0.4, 0.6), row(ladder.NUMPY, 0.25)
    found = a_ladder(lists, row(ladder.INTERPRETED, fault="it broke"), njit, numpy)
    assert [found.speed_ups(each) for each in found.rows] == [(1.0, None), (None, None), (16.0, 16.0), (32.0, None)]


def test_wrong_rung_is_the_step_for_no_other():
    wrong = row(ladder.INTERPRETED, 1.0, fault="computes something else: error 1.0e+00", error=1.0)
    found = a_ladder(row(ladder.LISTS, 8.0), wrong, row(ladder.NJIT, 0.5))
    assert found.speed_ups(found.rows[2]) == (16.0, 16.0)


@pytest.mark.parametrize("error", [1.0, float("nan"), float("inf")])
def test_wrong_kernel_of_ours_is_a_failure(error):
    with pytest.raises(FastmlpError, match="kernels, @njit"):
        ladder.check([a_ladder(row(ladder.NJIT, 1.0, error=error, fault="computes something else"))])


def test_wrong_framework_is_no_failure_of_ours():
    ladder.check([a_ladder(row(ladder.JAX, 1.0, error=1.0, fault="computes something else"))])


def test_of_two_peaks_the_higher_one_counts():
    other = PEAKS._replace(flops=(90e9, 190e9), memory_bytes=(11e9, 14e9))
    assert ladder.higher(PEAKS, other) == PEAKS._replace(flops=(100e9, 190e9), memory_bytes=(11e9, 15e9))


# --- what is measured ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [False, True])
def test_every_operation_of_a_layer_has_every_rung_but_for_few(quick):
    jobs = ladder.jobs_of([SCENES["layer"]], 2, quick=quick)
    found = {operation: {job.rung.key for job in jobs if job.operation == operation} for operation in ("forward", "backward", "update")}
    rungs = {rung.key for rung in SCENES["layer"].rungs}
    long_to_compile = {"parallel"} if quick else set()  # a quick run shows it in the forward pass
    assert found == {"forward": rungs, "backward": rungs - {"skipping"} - long_to_compile, "update": rungs - long_to_compile}


def test_framework_is_shown_on_the_threads_on_which_it_is_fastest():
    rows = [row(ladder.JAX, 2.0, threads=2), row(ladder.JAX, 1.0), row(ladder.JAX, 0.5, fault="another loss"), row(ladder.NUMPY, fault="x")]
    assert ladder.best_threads(rows) == [rows[1], rows[3]]


def test_one_core_has_no_rungs_of_threads():
    keys = {job.rung.key for job in ladder.jobs_of([SCENES["mnist-step"]], 1, quick=False)}
    assert keys & {"parallel", "c-parallel", "team"} == set()
    assert {"njit", "c", "tiles", "skipping"} <= keys


def test_chosen_rungs_are_measured_alone():
    jobs = ladder.jobs_of([SCENES["layer"]], 2, quick=True, only=["lists", "njit"])
    assert {job.rung.key for job in jobs} == {"lists", "njit"}


def test_times_of_few_rows_are_scaled_and_marked():
    (job,) = ladder.jobs_of([SCENES["mnist-epoch"]], 2, quick=False, only=["lists"])
    finished = ladder._finished(job, row(ladder.LISTS), [3.0])
    assert (finished.seconds, finished.extrapolated) == ((3000.0,), True)


def test_time_of_a_step_is_a_part_of_many():
    (job,) = ladder.jobs_of([SCENES["mnist-step"]], 2, quick=False, only=["tiles"])
    finished = ladder._finished(job, row(ladder.TILES)._replace(rows=10_000), [1.0])
    assert (finished.seconds, finished.extrapolated) == ((0.005,), False)


def test_rung_with_another_loss_after_all_rows_does_not_count():
    jobs = ladder.jobs_of([SCENES["mnist-step"]], 2, quick=False, only=["njit", "c", "tiles"])
    rows = {job: row(job.rung)._replace(loss=0.5) for job in jobs}
    rows[jobs[1]] = rows[jobs[1]]._replace(loss=0.6)
    assert [ladder._with_common_loss(job, rows).fault for job in jobs] == [None, "another loss: 0.6, not 0.5", None]


def test_peaks_that_cannot_be_measured_end_the_run():
    broken = SimpleNamespace(ask=lambda do, seconds: {"fault": "the process ended with code -11: without a word"})
    with pytest.raises(FastmlpError, match="code -11"):
        ladder._peaks(broken, 0.1)
