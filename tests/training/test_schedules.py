"""Learning rates step by step, against their formulas written number by number, and the steps that are taken with them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmlp
from fastmlp import Network, Trainer, TrainingSettings, make_plan
from fastmlp.settings import SCHEDULES, used_with
from fastmlp.training.schedules import USES_EPOCHS, after_epoch, learning_rates
from fastmlp.training.state import Plateau

GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.standard_normal((60, 4)), GENERATOR.standard_normal((60, 2))


def settings_for(schedule: str, **given) -> TrainingSettings:
    """Return resolved settings: of those given, the ones that a schedule uses."""
    used = {name: value for name, value in given.items() if schedule in used_with(name).get("schedule", SCHEDULES)}
    return TrainingSettings(schedule=schedule, **used).resolved("table")


def expected_rate(settings: TrainingSettings, s: int, S: int, factor: float = 1.0) -> float:
    """Return the learning rate of step s, counted from 0, with S steps in an epoch."""
    T, W = settings.epochs * S, round(settings.warmup_epochs * S)
    if s < W:
        return settings.learning_rate * (s + 1) / W
    p, R, f = s - W, max(T - W, 1), settings.end_factor
    q = p / S
    rise = 0.3 * R
    return (
        settings.learning_rate
        * {
            "constant": lambda: 1.0,
            "step": lambda: settings.gamma ** math.floor(q / settings.step_size),
            "exponential": lambda: settings.gamma ** (q / settings.step_size),
            "inverse": lambda: 1 / (1 + settings.gamma * q / settings.step_size),
            "linear": lambda: 1 - (1 - f) * p / R,
            "cosine": lambda: f + (1 - f) * (1 + math.cos(math.pi * p / R)) / 2,
            "one_cycle": lambda: (
                1 - (1 - 1 / 25) * (1 + math.cos(math.pi * p / rise)) / 2
                if p < rise
                else f + (1 - f) * (1 + math.cos(math.pi * (p - rise) / (R - rise))) / 2
            ),
            "plateau": lambda: factor,
        }[settings.schedule]()
    )


@given(
    schedule=st.sampled_from(SCHEDULES),
    epochs=st.integers(1, 9),
    steps=st.integers(1, 12),
    warmup=st.sampled_from([0.0, 0.25, 1.0, 2.5, 20.0]),
    gamma=st.sampled_from([0.1, 0.5, 3.0]),
    step_size=st.sampled_from([0.5, 1.0, 3.0]),
    end_factor=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_every_step_has_the_rate_of_the_formula(schedule, epochs, steps, warmup, gamma, step_size, end_factor):
    settings = settings_for(
        schedule, epochs=epochs, warmup_epochs=warmup, gamma=gamma, step_size=step_size, end_factor=end_factor, learning_rate=0.3
    )
    expected = [expected_rate(settings, s, steps, 0.7) for s in range(epochs * steps)]
    np.testing.assert_allclose(learning_rates(settings, 0, epochs * steps, steps, 0.7), expected, rtol=1e-12, atol=1e-17)


def test_a_warm_up_may_be_longer_than_any_training():
    settings = settings_for("constant", epochs=5, warmup_epochs=1e308, learning_rate=0.2)
    np.testing.assert_allclose(learning_rates(settings, 0, 35, 7), 0.0, atol=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_rate_does_not_depend_on_how_many_are_asked_for_at_once(schedule):
    settings = settings_for(schedule, epochs=5, warmup_epochs=0.7, learning_rate=0.2)
    whole = learning_rates(settings, 0, 35, 7)
    parts = [learning_rates(settings, first, last - first, 7) for first, last in ((0, 1), (1, 10), (10, 35))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_schedule_depends_on_the_number_of_epochs_where_it_says_so():
    few, many = ({name: learning_rates(settings_for(name, epochs=epochs), 0, 9, 3).tolist() for name in SCHEDULES} for epochs in (3, 7))
    assert {name for name in SCHEDULES if few[name] != many[name]} == set(USES_EPOCHS)


@pytest.mark.parametrize(("schedule", "last"), [("linear", 0.2), ("cosine", 0.2), ("one_cycle", 0.2)])
def test_a_training_that_goes_on_beyond_its_last_epoch_keeps_its_last_rate(schedule, last):
    settings = settings_for(schedule, epochs=2, end_factor=0.2, learning_rate=1.0)
    np.testing.assert_allclose(learning_rates(settings, 6, 50, 3), last, rtol=1e-15)


def test_one_cycle_begins_low_peaks_at_three_tenths_and_ends_low():
    rates = learning_rates(settings_for("one_cycle", epochs=10, learning_rate=1.0), 0, 1000, 100)
    assert rates[0] == pytest.approx(1 / 25)
    assert np.argmax(rates) == 300
    assert rates[300] == 1.0
    assert rates[-1] < 1e-5


def test_a_rate_that_grows_without_bounds_diverges_and_says_so():
    net = Network([4, 5, 2], output="identity")
    with pytest.raises(fastmlp.TrainingError, match="try a learning_rate below"):
        fastmlp.train(net, X, Y, epochs=400, batch_size=10, schedule="exponential", gamma=1e30, step_size=1.0)


# Plateau


def factors(losses, **changes):
    settings = TrainingSettings(schedule="plateau", **{"gamma": 0.5, "step_size": 2.0} | changes)
    plateau, found = Plateau(), []
    for loss in losses:
        plateau = after_epoch(plateau, loss, settings)
        found.append(plateau.factor)
    return found


def test_plateau_cuts_the_rate_after_more_than_step_size_epochs_without_a_better_loss():
    assert factors([5, 4, 4, 4.5, 4, 3, 3, 3, 3, 3, 3, 3]) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_plateau_leaves_the_rate_while_the_loss_falls():
    assert factors(range(30, 0, -1)) == [1.0] * 30


def test_a_loss_that_is_not_finite_is_no_better_than_none():
    assert factors([math.inf, math.nan, math.inf, 1.0]) == [1, 1, 0.5, 0.5]


@pytest.mark.parametrize("validation", [20, None])
def test_a_plateau_goes_by_the_held_out_rows_or_else_by_those_trained_on(validation):
    net = Network([4, 5, 2], output="identity")
    settings = {"step_size": 1.0, "gamma": 0.5, "learning_rate": 0.3, "epochs": 40}
    history = fastmlp.train(net, X, Y, validation=validation, batch_size=20, schedule="plateau", **settings)
    losses = [epoch.train_loss if validation is None else epoch.validation_loss for epoch in history]
    expected = [1.0, *factors(losses, **settings)[:-1]]
    assert [epoch.learning_rate for epoch in history] == pytest.approx([0.3 * factor for factor in expected])
    assert expected[-1] < 1.0


# Steps


@pytest.mark.parametrize("kernels", ["auto", "scalar"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_step_descends_at_the_rate_of_its_schedule(schedule, kernels):
    settings = settings_for(
        schedule, epochs=6, batch_size=60, learning_rate=0.2, warmup_epochs=2.0, step_size=1.0, kernels=kernels, normalize_target="none"
    )
    net = Network([4, 17, 2], "tanh", "identity", dtype="float64")
    trainer = Trainer(make_plan(net, X, Y, settings))
    expected = net.parameters.copy()
    for step in range(6):
        expected -= expected_rate(settings, step, 1) * net.gradient(X, Y)
        trainer.step()
        np.testing.assert_allclose(net.parameters, expected, rtol=0, atol=1e-12)
        assert trainer.state().steps == step + 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_epoch_reports_the_rate_of_its_last_step(schedule):
    net = Network([4, 5, 2], output="identity")
    settings = settings_for(schedule, epochs=4, batch_size=7, warmup_epochs=1.5, learning_rate=0.1, step_size=3.0)
    history = fastmlp.train(net, X, Y, **settings.to_dict())
    expected = [expected_rate(settings, 9 * epoch - 1, 9) for epoch in (1, 2, 3, 4)]
    assert [epoch.learning_rate for epoch in history] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_training_with_a_schedule_goes_on_bit_for_bit(schedule, subtests):
    for steps in [1, 9, 13, 27]:
        with subtests.test(steps=steps):
            settings = settings_for(schedule, epochs=4, batch_size=7, warmup_epochs=0.5, step_size=0.5, learning_rate=0.1)
            whole, net = Network([4, 5, 2], output="identity"), Network([4, 5, 2], output="identity")
            list(Trainer(make_plan(whole, X, Y, settings)).run())
            stopped = Trainer(make_plan(net, X, Y, settings))
            for _ in range(steps):
                stopped.step()
            list(Trainer(make_plan(net, X, Y, settings, resume=stopped.state())).run())
            assert net.parameters.tobytes() == whole.parameters.tobytes()
