"""The oracle of a whole training, setting by setting, against numbers worked out by hand."""

import numpy as np
import pytest

from tests.oracle import mlp, randomness, training
from tests.oracle.schedules import Schedule
from tests.oracle.training import Problem
from tests.oracle.updates import Rule

# One weight and one bias, from 0: the output is their sum for the input 1, the gradient of (z - 3)^2 is 2 (z - 3) for both.
LINE = Problem(
    [1, 1], [], np.zeros(2), np.ones((1, 1)), np.full((1, 1), 3.0), "mse", epochs=1, batch_size=1, schedule=Schedule(learning_rate=0.25)
)
GENERATOR = np.random.default_rng(0)
X, CLASSES = GENERATOR.standard_normal((20, 3)), GENERATOR.integers(0, 3, (20, 1)).astype(float)
DEEP = Problem([3, 4, 5, 3], ["tanh", "silu"], 0.5 * GENERATOR.standard_normal(59), X, CLASSES, "cross_entropy", batch_size=8, epochs=2)


def ends(**changes):
    return training.train(LINE._replace(**changes)).parameters.tolist()


def test_plain_steps_are_those_worked_out_by_hand():
    assert ends() == [1.5, 1.5]  # 0 - 0.25 * -6
    assert ends(epochs=2) == [1.5, 1.5]  # the gradient there is 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clip_value": 2.0}, 0.5),
        ({"clip_norm": 2.0 * np.sqrt(2.0)}, 0.5),
        ({"clip_norm": 100.0}, 1.5),
        ({"parameters": np.ones(2)}, 1.5),  # 1 + 0.25 * 2
        ({"parameters": np.ones(2), "l1": 1.0}, 1.25),
        ({"parameters": np.ones(2), "rule": Rule("sgd", 0.0, weight_decay=1.0)}, 1.25),
        ({"parameters": np.ones(2), "rule": Rule("sgd", 0.0, weight_decay=1.0), "clip_value": 1.0}, 1.0),  # the decay is not clipped
        ({"row_weights": np.array([0.5])}, 0.75),
        ({"average": "ema", "average_decay": 0.75}, 0.375),
        ({"average": "ema", "average_decay": 0.75, "epochs": 2}, 0.65625),  # 0.75 * 0.375 + 0.25 * 1.5
        ({"schedule": Schedule("linear", 0.25), "epochs": 2}, 1.5),
        ({"loss": "huber", "parameter": 0.5}, 0.125),
        ({"loss": "quantile", "parameter": 0.5}, 0.125),
    ],
)
def test_one_setting_does_what_was_worked_out_by_hand(changes, expected):
    assert ends(**changes) == pytest.approx([expected] * 2, rel=1e-15)


def test_mean_of_the_last_epochs_is_their_mean():
    problem = LINE._replace(epochs=4, schedule=Schedule(learning_rate=0.05), average="swa", average_start=0.5)
    # z goes to 3 by a factor of 0.8 each time; after epochs 3 and 4 both parameters are 1.5 (1 - 0.8^3) and 1.5 (1 - 0.8^4)
    run = training.train(problem)
    assert run.raw.tolist() == pytest.approx([1.5 * (1.0 - 0.8**4)] * 2)
    assert run.parameters.tolist() == pytest.approx([1.5 * (1.0 - (0.8**3 + 0.8**4) / 2.0)] * 2)


def test_sum_of_a_batch_is_the_mean_times_its_rows():
    rows = LINE._replace(x=np.ones((4, 1)), target=np.full((4, 1), 3.0), batch_size=4, schedule=Schedule(learning_rate=0.0625))
    assert training.train(rows._replace(mean=False)).parameters.tolist() == [1.5, 1.5]


def test_losses_are_taken_before_each_step_and_weighted():
    run = training.train(LINE._replace(x=np.ones((2, 1)), target=np.full((2, 1), 3.0), row_weights=np.array([2.0, 2.0]), epochs=2))
    # (0 - 3)^2, then a step of 0.5 twelve thirds beyond: z = 6 and back
    assert [epoch.train_loss for epoch in run.epochs] == pytest.approx([9.0, 9.0])


def test_columns_of_hidden_weights_longer_than_max_norm_are_scaled_down_to_it():
    one_step = DEEP._replace(batch_size=20, epochs=1, schedule=Schedule(learning_rate=0.5))
    free, bound = (mlp.layers_of(training.train(one_step._replace(max_norm=c)).parameters, DEEP.sizes) for c in (None, 0.8))
    for index in (0, 1):
        lengths = np.linalg.norm(free[index].weight, axis=0)
        assert lengths.min() < 0.8 < lengths.max()
        np.testing.assert_allclose(bound[index].weight, free[index].weight * np.minimum(0.8 / lengths, 1.0), rtol=1e-14)
        assert bound[index].bias.tolist() == free[index].bias.tolist()
    assert bound[2].weight.tolist() == free[2].weight.tolist()


def test_dropped_units_and_noise_are_those_of_their_step():
    """One step of a linear network, with the mask and the noise of step 0 applied by hand."""
    problem = Problem(
        [3, 4, 1], ["identity"], np.ones(21), np.ones((2, 3)), np.zeros((2, 1)), "mse", batch_size=2, schedule=Schedule(learning_rate=1e-3),
        dropout=[0.5], input_dropout=0.25, input_noise=0.1, seed=5,
    )  # fmt: skip
    x = (np.ones((2, 3)) + 0.1 * randomness.noise(5, 0, (2, 3))) * randomness.dropout_factors(0.25, 5, 0, 0, (2, 3))
    a = (x.sum(axis=1, keepdims=True) + 1.0) * randomness.dropout_factors(0.5, 5, 1, 0, (2, 4))
    z = a.sum(axis=1, keepdims=True) + 1.0
    run = training.train(problem)
    assert run.epochs[0].train_loss == pytest.approx(float((z**2).mean()), rel=1e-14)
    assert run.parameters[16:20] == pytest.approx(1.0 - 1e-3 * (a * z).sum(axis=0), rel=1e-14)


def test_smoothing_belongs_to_training_alone():
    problem = DEEP._replace(validation=(X, CLASSES), epochs=1, batch_size=20, schedule=Schedule(learning_rate=1e-12))
    plain, smooth = (training.train(problem._replace(label_smoothing=share)).epochs[0] for share in (0.0, 0.5))
    assert smooth.train_loss != pytest.approx(plain.train_loss, rel=1e-3)
    assert smooth.validation_loss == pytest.approx(plain.validation_loss, rel=1e-9)


def test_running_statistics_come_to_those_of_the_rows():
    sizes = [3, 4, 3]
    vector = np.concatenate([GENERATOR.standard_normal(12), np.zeros(4), np.ones(4), GENERATOR.standard_normal(15)])
    problem = Problem(
        sizes, ["tanh"], vector, X, CLASSES, "cross_entropy", normalization="batch", epochs=200, batch_size=20,
        schedule=Schedule(learning_rate=1e-12),
    )  # fmt: skip
    running = training.train(problem).running[0]
    sums = X @ vector[:12].reshape(3, 4)
    np.testing.assert_allclose(running.mean, sums.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(running.variance, sums.var(axis=0, ddof=1), rtol=1e-6)


def test_validation_is_taken_with_the_averaged_weights():
    held_out = (np.ones((1, 1)), np.full((1, 1), 3.0))
    run = training.train(LINE._replace(average="ema", average_decay=0.75, validation=held_out))
    assert run.epochs[0].validation_loss == pytest.approx((2 * 0.375 - 3.0) ** 2)


def test_plateau_goes_by_the_held_out_rows():
    held_out = (np.ones((1, 1)), np.full((1, 1), -3.0))  # worse with each step
    schedule = Schedule("plateau", 0.05, gamma=0.5, step_size=1.0)
    run = training.train(LINE._replace(epochs=6, validation=held_out, schedule=schedule))
    assert [epoch.learning_rate for epoch in run.epochs] == pytest.approx([0.05, 0.05, 0.05, 0.025, 0.025, 0.0125])
    run = training.train(LINE._replace(epochs=6, schedule=schedule))  # better with each step
    assert run.epochs[-1].learning_rate == 0.05
