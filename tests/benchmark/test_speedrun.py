"""Speedruns: peers take the very same course, test rows are opened once per network, and what is said follows from the runs."""

import math

import numpy as np
import pytest
from scipy import stats

import fastmlp
from fastmlp.benchmark import speedrun
from fastmlp.benchmark.implementations import IMPLEMENTATIONS, build_course
from fastmlp.benchmark.speedrun import Contestant, Recipe, Run
from fastmlp.errors import ConfigError
from fastmlp.network import network_for
from fastmlp.search.statistics import lower_bound
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer
from tests.benchmark.measurements import marks_of

SHORT = {"batch_size": 32, "epochs": 2, "learning_rate": 0.3, "schedule": "linear", "warmup_epochs": 1.0, "label_smoothing": 0.1}
PLAIN = Recipe((20,), SHORT)
MOVED = Recipe((20,), SHORT | {"augment_shift": 1.0})
COURSES = [
    pytest.param(peer, variant, marks=marks_of(peer)) for peer in speedrun.PEERS for variant in IMPLEMENTATIONS[peer].variants["course"]
]


@pytest.fixture(scope="module")
def few(mnist):
    """Rows for eleven batches, the last of them shorter."""
    return mnist.first_rows(330, 100)


def trained(recipe, data, seed):
    network = network_for(data, recipe.network_settings, seed)
    for _ in Trainer(make_plan(network, data.x_train, data.y_train, recipe.training_settings(seed))).run():
        pass
    return network.parameters


@pytest.mark.parametrize(("peer", "variant"), COURSES)
@pytest.mark.parametrize("recipe", [PLAIN, MOVED], ids=["plain", "moved"])
@pytest.mark.filterwarnings("ignore")  # of the peer
def test_peer_ends_with_the_weights_that_we_end_with(few, peer, variant, recipe):
    if IMPLEMENTATIONS[peer].missing():
        pytest.skip(f"{peer} is not installed")
    problem = speedrun.problem_of(recipe, few)
    course = build_course(peer, problem, variant, 1, smoothing=0.1)
    for seed in (3, 4):  # it can begin again
        seconds = speedrun.take_course(course, problem, recipe, seed)
        expected = trained(recipe, few, seed)
        assert seconds > 0
        assert np.abs(course.parameters() - expected).max() < 2e-4 * np.abs(expected).max()
    assert np.abs(course.parameters() - trained(recipe, few, 3)).max() > 0.1  # another seed is another network


@pytest.mark.parametrize("target", speedrun.RECIPES)
def test_recipes_of_all_targets_are_settings(target):
    recipe = speedrun.recipe_for(target)
    settings = recipe.training_settings(seed=7, threads=2)
    assert (settings.seed, settings.threads, settings.validation) == (7, 2, 0)
    # what the peers do, too
    assert (settings.optimizer, settings.momentum, settings.weight_decay, settings.dropout, settings.average) == ("sgd", 0, 0, 0, "none")
    assert (recipe.network_settings.activation, recipe.network_settings.normalization) == ("relu", "none")


def test_target_without_a_recipe_is_refused():
    with pytest.raises(ConfigError, match="target: expected one of 98, 99, got 97"):
        speedrun.recipe_for(97)


def test_every_seed_is_trained_and_opens_the_test_rows_once(mnist, monkeypatch):
    monkeypatch.setitem(speedrun.RECIPES, 98, PLAIN)
    data = mnist.first_rows(330, 100)
    result = speedrun.measure(data, 98, seeds=3)
    assert data.test_openings.count("x_test") == 3
    assert [run.seed for run in result.ours.runs] == [0, 1, 2]
    for run in result.ours.runs:
        network = network_for(data, PLAIN.network_settings, run.seed)
        network.parameters[:] = trained(PLAIN, data, run.seed)
        assert network.evaluate(data.x_test, data.y_test)["accuracy"] == run.accuracy
        assert run.seconds > 0


@pytest.mark.parametrize(("target", "reached"), [(20, True), (100, False)])
def test_target_is_reached_if_the_mean_is_at_least_that(few, monkeypatch, target, reached):
    monkeypatch.setitem(speedrun.RECIPES, target, PLAIN)
    result = speedrun.measure(few, target, seeds=2)
    assert (result.ours.accuracy.mean >= target / 100) is result.reached is reached


def test_preparing_leaves_nothing_to_compile(few, monkeypatch):
    from fastmlp.compilation.waiting import compile_seconds

    monkeypatch.setitem(speedrun.RECIPES, 98, MOVED)
    assert speedrun.prepare(few, 98) >= 0
    before = compile_seconds()
    speedrun.measure(few, 98, seeds=1)
    assert compile_seconds() == before


def test_peer_runs_beside_us_with_the_first_seeds(few):
    """The peer's process knows the recipes as they stand, so this one is real."""
    result = speedrun.measure(few, 98, seeds=2, threads=1, peers=["numpy"], peer_seeds=1)
    (numpy,) = result.peers
    assert (numpy.peer, numpy.variant, numpy.threads, numpy.fault) == ("numpy", "plain", 1, None)
    assert [run.seed for run in numpy.runs] == [0]
    assert numpy.runs[0].accuracy == pytest.approx(result.ours.runs[0].accuracy, abs=0.03)  # of a hundred rows
    assert numpy.version == np.__version__
    assert numpy.first_seconds > 0


def test_peer_that_is_not_installed_says_so_and_the_others_go_on(few, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")  # as if it were not there
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = speedrun.measure(few, 98, seeds=1, threads=1, peers=["torch", "numpy"], peer_seeds=1)
    assert [(each.variant, len(each.runs)) for each in result.peers] == [("eager", 0), ("in-place", 0), ("plain", 1)]
    assert result.peers[0].fault == "not installed: torch; pip install 'fastmlp[bench]'"


def test_summary_is_that_of_the_runs():
    found = Contestant("fastmlp", "", 2, runs=tuple(Run(seed, seconds, 0.98) for seed, seconds in enumerate((3.0, 1.0, 1.5, 9.0))))
    assert found.median_seconds == 2.25
    assert (found.accuracy.mean, found.accuracy.std, found.lower_bound) == (0.98, 0.0, 0.98)
    record = speedrun.record(found)
    assert (record["median_seconds"], record["peer"]) == (2.25, "fastmlp")


@pytest.mark.parametrize("n", [2, 5, 50])
def test_lower_bound_is_that_of_students_t(n):
    values = np.random.default_rng(n).normal(0.98, 0.001, n)
    expected = stats.t.interval(0.90, n - 1, values.mean(), stats.sem(values))[0]  # 5 % on this side, 5 % on the other
    assert lower_bound(list(values)) == pytest.approx(expected, abs=1e-9)


def test_one_value_has_no_lower_bound():
    assert lower_bound([0.98]) is None


def test_lower_bound_holds_in_95_of_100_cases():
    generator = np.random.default_rng(0)
    below = np.mean([lower_bound(list(generator.normal(0.0, 1.0, 6))) < 0.0 for _ in range(2000)])
    assert below == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


def test_recipe_for_98_knows_real_digits_after_its_few_epochs(mnist):
    """Held-out training rows, as when it was chosen: one seed reaches what the mean of many has to."""
    recipe = speedrun.recipe_for(98)
    network = network_for(mnist, recipe.network_settings, seed=0)
    history = fastmlp.train(network, mnist.x_train, mnist.y_train, **{**recipe.training, "validation": 10_000})
    assert history[-1].validation_accuracy > 0.98
