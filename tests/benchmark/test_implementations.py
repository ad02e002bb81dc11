"""Everybody does the same arithmetic: ours, NumPy, and the peers that are installed here."""

import shutil

import numpy as np
import pytest

from fastmlp.benchmark.implementations import IMPLEMENTATIONS, build
from fastmlp.benchmark.measure import LOSS_TOLERANCE, reached_loss
from fastmlp.benchmark.problem import Problem, judge, layers_of, make_problem
from fastmlp.benchmark.runner import Gradient, Training, Unavailable
from fastmlp.benchmark.workloads import PEAK, WORKLOADS
from tests.benchmark.measurements import marks_of
from tests.oracle import mlp

EPOCHS = 2


@pytest.fixture(scope="module")
def problems():
    """Every workload on few rows, its last batch shorter than the others."""
    return {
        name: make_problem(workload.with_rows(3 * workload.batch_size // 2 + 100)) for name, workload in WORKLOADS.items() if name != "I"
    }


def losses(problem, peer, variant, threads=1):
    """Return by what an implementation is judged, after each of two epochs or once."""
    runner = build(peer, problem, variant, threads)
    if isinstance(runner, Training):
        found = []
        for order in problem.orders[:EPOCHS]:
            runner.epoch(order)
            found.append(reached_loss(problem, runner.parameters()))
        return found
    if isinstance(runner, Gradient):
        return [reached_loss(problem, runner.as_vector(runner.call()))]
    return [reached_loss(problem, np.array([runner.repeat(runner.form(row), 2) for row in problem.inputs[:20]]))]


SMALL = [name for name in WORKLOADS if name != "I"]


@pytest.mark.parametrize("name", SMALL)
def test_numpy_reaches_the_losses_of_fastmlp(problems, name):
    assert losses(problems[name], "numpy", "plain") == pytest.approx(losses(problems[name], "fastmlp", "auto"), rel=LOSS_TOLERANCE / 10)


# On which workloads a peer is looked at: each kind of arithmetic once.
WORKLOADS_OF = {
    "jax": ("A", "C", "F", "L", "M", "H"),
    "torch": ("A", "C", "F", "L", "M", "H"),
    "sklearn": ("A", "M", "H"),
    "onnxruntime": ("H",),
    "c": ("A", "G"),
    "python": ("G",),
}
PEERS = [
    pytest.param(peer, variant, name, marks=marks_of(peer))
    for peer, names in WORKLOADS_OF.items()
    for name in names
    for variant in IMPLEMENTATIONS[peer].variants[WORKLOADS[name].task]
    if variant != "compile"  # takes seconds
]


@pytest.mark.parametrize(("peer", "variant", "name"), PEERS)
@pytest.mark.filterwarnings("ignore")  # of the peer
def test_peer_reaches_the_losses_of_numpy(problems, peer, variant, name):
    if IMPLEMENTATIONS[peer].missing() or (peer == "c" and shutil.which("gcc") is None):
        pytest.skip(f"{peer} is not installed")
    assert losses(problems[name], peer, variant) == pytest.approx(losses(problems[name], "numpy", "plain"), rel=LOSS_TOLERANCE / 10)


def test_every_peer_is_looked_at():
    assert set(WORKLOADS_OF) | {"numpy", "fastmlp", PEAK} == set(IMPLEMENTATIONS)


@pytest.mark.parametrize(("variant", "name"), [("off", "A"), ("scalar", "A"), ("textbook", "A"), ("njit", "H")])
def test_other_variants_of_fastmlp_reach_its_losses(problems, variant, name):
    assert losses(problems[name], "fastmlp", variant) == pytest.approx(losses(problems[name], "fastmlp", "auto"), rel=LOSS_TOLERANCE / 10)


@pytest.mark.parametrize("name", ["A", "D", "E"])
def test_another_learning_rate_would_be_noticed(problems, name):
    problem = problems[name]
    other = problem._replace(workload=problem.workload._replace(learning_rate=1.2 * problem.workload.learning_rate))
    first, _ = losses(problem, "numpy", "plain")
    assert losses(other, "numpy", "plain")[0] != pytest.approx(first, rel=LOSS_TOLERANCE)


@pytest.mark.parametrize("peer", ["c", "python", "sklearn"])
def test_peer_refuses_arithmetic_that_it_does_not_know(problems, peer):
    with pytest.raises(Unavailable, match="workload E"):
        build(peer, problems["E"], "O3", 1)


@pytest.mark.parametrize("name", ["A", "E", "L"])
def test_judge_gives_the_mean_loss_of_the_oracle(problems, name):
    problem = problems[name]
    workload = problem.workload
    layers = mlp.layers_of(problem.parameters, workload.sizes)
    x = problem.x / (255.0 if problem.x.dtype == np.uint8 else 1.0)
    z = mlp.forward(layers, [workload.activation] * (len(layers) - 1), x)[-1][0]
    target = problem.y if workload.loss == "mse" else problem.y[:, None]
    assert judge(problem, problem.parameters) == pytest.approx(mlp.row_losses(workload.loss, z, target).mean(), rel=1e-6)


def test_problem_comes_back_from_its_folder(problems, tmp_path):
    problem = problems["F"]
    problem.write(tmp_path)
    read = Problem.read(tmp_path)
    assert read.workload == problem.workload._replace(targets=(), limit=None)
    for name in ("x", "y", "parameters", "orders"):
        np.testing.assert_array_equal(getattr(problem, name), getattr(read, name))


def test_random_bytes_are_dense(problems):
    assert problems["A'"].x.dtype == np.uint8
    assert problems["A'"].x.min() > 0


def test_orders_are_permutations_that_differ(problems):
    orders = problems["G"].orders
    assert (np.sort(orders, axis=1) == np.arange(orders.shape[1])).all()
    assert len({order.tobytes() for order in orders}) == len(orders)


def test_layers_are_views_of_the_flat_vector():
    parameters = np.arange(17.0)
    layers = layers_of(parameters, (2, 3, 2))
    assert [(weight.shape, bias.shape) for weight, bias in layers] == [((2, 3), (3,)), ((3, 2), (2,))]
    layers[1][1][:] = -1
    assert parameters[-2:].tolist() == [-1, -1]
