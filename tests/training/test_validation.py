"""Validation rows: the last ones or a pair, measured and never trained on."""

import warnings

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, DataError, Network, Trainer, TrainingSettings

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((40, 4))
Y = GENERATOR.integers(0, 3, 40)


def trained(x=X, y=Y, **settings):
    net = Network([4, 5, 3], "sigmoid", dtype="float64")
    return net, fastmlp.train(net, x, y, **{"epochs": 2, "batch_size": 7} | settings)


def test_the_last_rows_are_those_held_out():
    net, history = trained(validation=10)
    found = net.evaluate(X[-10:], Y[-10:])
    assert (history[-1].validation_loss, history[-1].validation_accuracy) == (pytest.approx(found["loss"], rel=1e-14), found["accuracy"])


def test_rows_held_out_are_not_trained_on():
    x, y = X.copy(), Y.copy()
    x[-10:], y[-10:] = 100.0, 0
    assert trained(x, y, validation=10)[0].parameters.tobytes() == trained(validation=10)[0].parameters.tobytes()


def test_holding_out_rows_is_training_on_the_others():
    assert trained(validation=10)[0].parameters.tobytes() == trained(X[:-10], Y[:-10])[0].parameters.tobytes()


def test_a_pair_is_measured():
    x, y = GENERATOR.standard_normal((9, 4)), GENERATOR.integers(0, 3, 9)
    net, history = trained(validation=(x, y))
    assert history[-1].validation_loss == pytest.approx(net.evaluate(x, y)["loss"], rel=1e-14)
    assert history[-1].validation_accuracy == net.evaluate(x, y)["accuracy"]


def test_a_pair_is_not_trained_on():
    assert trained(validation=(X[:9], Y[:9]))[0].parameters.tobytes() == trained()[0].parameters.tobytes()


@pytest.mark.parametrize("validation", [None, 0])
def test_without_validation_all_rows_are_trained_on(validation):
    net, history = trained(validation=validation)
    assert (history[-1].validation_loss, history[-1].validation_accuracy) == (None, None)
    assert Trainer(net, X, Y, TrainingSettings(), validation).n_rows == 40


def test_the_setting_is_used_where_no_argument_says_otherwise():
    trainer = Trainer(Network([4, 5, 3]), X, Y, TrainingSettings(validation=6))
    assert (trainer.n_rows, trainer.settings.validation) == (34, 6)


@pytest.mark.parametrize("validation", [40, 41])
def test_holding_out_every_row_is_refused(validation):
    with pytest.raises(ConfigError, match=f"validation: expected fewer than the 40 rows there are, got {validation}"):
        trained(validation=validation)


@pytest.mark.parametrize("validation", [-1, 0.1, "5", True, (X, Y, X), (X,)])
def test_what_is_neither_a_number_nor_a_pair_is_refused(validation):
    with pytest.raises(ConfigError, match="validation: expected "):
        trained(validation=validation)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, :3], Y, r"validation x: expected \(n, 4\), got shape \(40, 3\)"),
        (X, Y[:5], "validation y: expected 40 rows"),
        (X, Y + 1, "validation y: expected class numbers from 0 to 2, got 3"),
        (np.where(X > 2, np.nan, X), Y, "validation x: expected finite numbers"),
    ],
)
def test_a_pair_is_checked_like_training_rows(x, y, message):
    with pytest.raises(DataError, match=message):
        trained(validation=(x, y))


# The test rows of a data set


@pytest.fixture(scope="module")
def synthetic():
    return fastmlp.load_dataset("synthetic")


@pytest.mark.parametrize("part", [slice(None), slice(0, 100), slice(None, None, 7)])
def test_validating_on_the_test_rows_of_a_data_set_warns_and_names_the_honest_way(synthetic, part):
    net = Network([2, 3, 2])
    with pytest.warns(UserWarning, match=r"validation=\(x_test, y_test\).*hold out training rows instead: validation=5000") as caught:
        fastmlp.train(
            net, synthetic.x_train[:100], synthetic.y_train[:100], validation=(synthetic.x_test[part], synthetic.y_test[part]), epochs=1
        )
    assert [warning.filename for warning in caught] == [__file__]  # it points at the line that did it


def test_train_epochs_warns_as_train_does(synthetic):
    with pytest.warns(UserWarning, match="hold out training rows") as caught:
        fastmlp.train_epochs(
            Network([2, 3, 2]), synthetic.x_train[:100], synthetic.y_train[:100], validation=(synthetic.x_test, synthetic.y_test)
        )
    assert [warning.filename for warning in caught] == [__file__]


def test_validating_on_training_rows_of_a_data_set_does_not_warn(synthetic):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, y = synthetic.x_train, synthetic.y_train
        fastmlp.train(Network([2, 3, 2]), x[:100], y[:100], validation=(x[-100:], y[-100:]), epochs=1)
