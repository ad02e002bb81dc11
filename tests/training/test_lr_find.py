"""Sweeps of learning rates: what is tried, when it ends, what is suggested, and that nothing is left behind."""

import numpy as np
import pytest

import fastmlp
from fastmlp import Network
from fastmlp.training import lr_find
from fastmlp.training.lr_find import Tried, find_learning_rate, summarise

GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.standard_normal((200, 6)), GENERATOR.integers(0, 3, 200)


@pytest.fixture(scope="module")
def digits(mnist):
    return mnist.x_train[:10_000], mnist.y_train[:10_000]


def test_the_suggestion_for_digits_trains_almost_as_well_as_the_best_of_a_grid(digits):
    found = find_learning_rate(Network([784, 30, 10]), *digits)
    losses = {}
    for rate in (found.suggestion, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0):
        history = fastmlp.train(Network([784, 30, 10]), *digits, validation=2000, epochs=2, learning_rate=rate)
        losses[rate] = history[-1].validation_loss
    assert losses[found.suggestion] < 1.5 * min(losses.values())
    assert losses[found.suggestion] < 0.5 * losses[0.001]


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adam", "adamw", "nadam", "lion"])
def test_every_optimizer_gets_a_suggestion_with_which_it_learns(optimizer, digits):
    x, y = digits[0][:3000], digits[1][:3000]
    network = Network([784, 16, 10])  # of a tile that is compiled for each rule elsewhere, too
    found = find_learning_rate(network, x, y, optimizer=optimizer)
    assert found.steepest < found.suggestion < found.smallest
    history = fastmlp.train(network, x, y, epochs=2, optimizer=optimizer, learning_rate=found.suggestion)
    assert history[-1].train_loss < 0.6


def test_the_network_is_left_as_it_is():
    net = Network([6, 5, 3])
    before = net.parameters.copy()
    find_learning_rate(net, X, Y)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.input_scaling is None


def test_each_step_is_taken_with_its_own_rate():
    net = Network([6, 5, 3], "tanh", dtype="float64")
    found = find_learning_rate(net, X, Y, lowest=0.01, highest=1.0, steps=5, batch_size=200, optimizer="sgd")
    expected, rates = [], np.array([10**-2, 10**-1.5, 10**-1, 10**-0.5, 1.0])
    for rate in rates:
        expected.append(net.evaluate(X, Y)["loss"])
        net.parameters -= rate * net.gradient(X, Y)
    np.testing.assert_allclose(found.learning_rates, rates, rtol=1e-12)
    np.testing.assert_allclose(found.losses, expected, rtol=1e-10)
    assert found.stopped == "highest"


def test_losses_are_those_of_single_batches_across_the_ends_of_passes():
    # 200 rows in batches of 60: the fourth has 20 rows; at a rate of about 0 nothing changes between passes
    net = Network([6, 5, 3], "tanh", dtype="float64")
    found = find_learning_rate(net, X, Y, lowest=1e-30, highest=2e-30, steps=8, batch_size=60)
    mean = net.evaluate(X, Y)["loss"]
    for losses in (found.losses[:4], found.losses[4:]):
        assert losses @ [60, 60, 60, 20] / 200 == pytest.approx(mean, rel=1e-12)


def test_a_loss_that_explodes_ends_the_sweep():
    found = find_learning_rate(Network([6, 5, 3], output="identity"), X, GENERATOR.standard_normal((200, 3)), highest=1e30, steps=2000)
    assert found.stopped == "exploded"
    assert len(found.losses) < 2000
    assert np.isfinite(found.losses).all()
    assert found.suggestion < 1.0


def test_rows_held_out_are_not_looked_at():
    x, y = X.copy(), Y.copy()
    found = [find_learning_rate(Network([6, 5, 3]), x, y, validation=50, holdout="last")]
    x[150:], y[150:] = 1e6, 0
    found.append(find_learning_rate(Network([6, 5, 3]), x, y, validation=50, holdout="last"))
    np.testing.assert_array_equal(found[0].losses, found[1].losses)


def test_the_same_seed_gives_the_same_bits():
    first, second = (find_learning_rate(Network([6, 5, 3]), X, Y, batch_size=7, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.losses, second.losses)
    assert first.suggestion == second.suggestion


@pytest.mark.parametrize(("rows", "batch_size", "steps"), [(200, 50, 100), (200, 1, 200)])
def test_a_sweep_is_one_pass_or_a_hundred_steps(rows, batch_size, steps):
    found = find_learning_rate(Network([6, 5, 3]), X[:rows], Y[:rows], batch_size=batch_size, highest=1e-5)
    assert len(found.losses) == steps


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 1}, {"schedule": "cosine"}, {"warmup_epochs": 3.0}, {"average": "ema"}, {"patience": 1, "validation": 50},
        {"target_accuracy": 0.1, "validation": 50}, {"time_budget": 1e-9},
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_the_length_and_the_rates_of_a_training_have_no_effect(settings):
    validation = {"validation": settings.get("validation")}
    found, plain = (find_learning_rate(Network([6, 5, 3]), X, Y, **given) for given in (settings, validation))
    np.testing.assert_array_equal(found.losses, plain.losses)


def test_rows_that_count_nothing_say_nothing():
    weights = np.zeros(200)
    weights[17] = 1.0
    found = find_learning_rate(Network([6, 5, 3]), X, Y, batch_size=50, sample_weight=weights, highest=1e-5)
    assert len(found.losses) == 25  # one batch of each pass
    assert np.isfinite(found.losses).all()


# What is suggested


def curve(losses, lowest=1e-4, highest=1.0):
    rates = np.geomspace(lowest, highest, len(losses))
    return summarise([Tried(step, rate, loss, loss) for step, (rate, loss) in enumerate(zip(rates, losses, strict=True), 1)], len(losses))


def test_of_a_smooth_valley_steepest_and_smallest_are_where_they_are():
    place = np.linspace(-4, 0, 2001)  # decades
    losses = 1 - np.exp(-((place + 1.5) ** 2) / (2 * 0.4**2))  # deepest at -1.5, steepest 0.4 before
    found = curve(losses)
    assert np.log10(found.smallest) == pytest.approx(-1.5, abs=0.05)
    assert np.log10(found.steepest) == pytest.approx(-1.9, abs=0.05)
    assert np.log10(found.suggestion) == pytest.approx(-1.7, abs=0.05)


@pytest.mark.parametrize("losses", [np.linspace(1, 2, 300), 1 + 0.1 * np.random.default_rng(1).standard_normal(300), np.ones(300)])
def test_a_loss_that_does_not_fall_beyond_its_noise_suggests_nothing(losses):
    found = curve(losses)
    assert (found.steepest, found.smallest, found.suggestion) == (None, None, None)


def test_smoothing_is_not_late():
    losses = np.where(np.arange(1000) < 500, 2.0, 1.0)
    assert int(np.argmax(curve(losses).smoothed < 1.5)) == pytest.approx(500, abs=2)


def test_a_first_loss_that_is_not_finite_leaves_an_empty_sweep():
    found = summarise([], 100)
    assert len(found.losses) == 0
    assert (found.suggestion, found.stopped) == (None, "exploded")


# Refusals


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lowest": 0.0}, "lowest: expected more than 0, got 0.0"),
        ({"lowest": -1.0}, "lowest: expected more than 0, got -1.0"),
        ({"lowest": 2.0, "highest": 1.0}, "lowest, highest: expected 0 < lowest < highest, got 2 and 1"),
        ({"lowest": 1, "highest": 1}, "lowest, highest: expected 0 < lowest < highest, got 1 and 1"),
        ({"lowest": "1"}, "lowest: expected a number, got '1'"),
        ({"highest": None}, "highest: expected a number, got "),
        ({"highest": np.inf}, "highest: expected a finite number, got inf"),
        ({"steps": 1}, "steps: expected 2 to 1,000,000, got 1"),
        ({"steps": 2.5}, "steps: expected a whole number, got 2.5"),
        ({"steps": 2**40}, "steps: expected 2 to 1,000,000, got 1099511627776"),
        ({"epochs": "many"}, "epochs: expected a whole number, got 'many'"),
    ],
)
def test_what_is_no_range_of_rates_is_refused(given, message):
    with pytest.raises(fastmlp.ConfigError, match=f"^{message}"):
        find_learning_rate(Network([6, 5, 3]), X, Y, **given)


def test_a_learning_rate_is_refused():
    with pytest.raises(fastmlp.ConfigError, match="learning_rate: expected none"):
        find_learning_rate(Network([6, 5, 3]), X, Y, learning_rate=0.1)


def test_an_optimizer_without_a_learning_rate_is_refused():
    with pytest.raises(fastmlp.ConfigError, match="optimizer: expected one that has a learning rate, got 'lbfgs'"):
        find_learning_rate(Network([6, 5, 3]), X, Y, optimizer="lbfgs")


def test_the_command_line_knows_the_bounds_of_the_library():
    from fastmlp.cli import lr_find as command

    assert (command.LOWEST, command.HIGHEST) == (lr_find.LOWEST, lr_find.HIGHEST)
