"""What training cannot use is refused with advice, before anything runs and without a trace in the network."""

import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, DataError, Network, NotEnoughMemory, machine
from fastmlp.engines.program import Program

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((20, 4))
Y = GENERATOR.integers(0, 3, 20)


def assert_refused(error, message, x=X, y=Y, output="softmax", **settings):
    net = Network([4, 5, 3], output=output)
    before = pickle.dumps(net)
    with pytest.raises(error, match=message) as raised:
        fastmlp.train(net, x, y, **settings)
    assert "\n" not in str(raised.value)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -1}, "epochs: expected at least 0, got -1"),
        ({"epochs": 1.5}, "epochs: expected a whole number, got 1.5"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"batch_size": True}, "batch_size: expected a whole number, got True"),
        ({"learning_rate": 0}, "learning_rate: expected more than 0, got 0"),
        ({"learning_rate": -0.1}, "learning_rate: expected more than 0, got -0.1"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a finite number, got nan"),
        ({"learning_rate": float("inf")}, "learning_rate: expected a finite number, got inf"),
        ({"learning_rate": "0.1"}, "learning_rate: expected a number, got '0.1'"),
        ({"optimizer": "sdg"}, "optimizer: expected one of sgd.*, got 'sdg'; did you mean 'sgd'"),
        ({"loss": "crosentropy"}, "loss: expected one of .*, got 'crosentropy'; did you mean 'cross_entropy'"),
        ({"loss": "mae"}, "loss: 'mae' goes with identity output, this network has softmax; use cross_entropy, mse"),
        ({"reduction": "meen"}, "reduction: expected one of mean, sum, got 'meen'; did you mean 'mean'"),
        ({"normalize": "standardise"}, "normalize: expected one of .*, got 'standardise'; did you mean 'standardize'"),
        ({"per_feature": "yes"}, "per_feature: expected true or false, got 'yes'"),
        ({"zero_skipping": True}, "zero_skipping: expected a name, got True"),
        ({"kernels": "pyton"}, "kernels: expected one of .*, got 'pyton'; did you mean 'python'"),
        ({"threads": 0}, "threads: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"seed": 2**63}, "seed: expected at most 9223372036854775807"),
        ({"validation": 20}, "validation: expected fewer than the 20 rows there are, got 20"),
        ({"validation": np.zeros(20)}, r"validation: expected .* a pair \(x, y\), got an array of shape \(20,\)"),
        ({"optimizer": np.zeros(2)}, r"optimizer: expected one value, got an array of shape \(2,\)"),
        ({"callbacks": print}, "callbacks: expected"),
        ({"callbacks": [print, 3]}, "callbacks: expected"),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    assert_refused(ConfigError, message, **settings)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:, :3], r"x: expected \(n, 4\), got shape \(20, 3\)"),
        (X[:0], "x: expected at least one row to train on"),
        (np.where(np.arange(80).reshape(20, 4) == 30, np.nan, X), "x: .*got nan in row 7, column 2"),
        (X.astype(str), "x: expected numbers"),
    ],
)
def test_wrong_rows_are_refused(x, message):
    assert_refused(DataError, message, x=x, y=Y[: len(x)])


@pytest.mark.parametrize(
    ("y", "output", "message"),
    [
        (Y[:5], "softmax", "y: expected 20 rows, as many as x has, got 5"),
        (np.arange(20), "softmax", "y: expected 3 classes, as many as the network has outputs .*, got 20: 0, 1, 2, 3, 4, …, 19"),
        (Y / 2, "softmax", "y: expected labels that are whole numbers"),
        (np.eye(3, dtype=int)[Y] * 2, "softmax", "y: expected one-hot rows, a single 1 among zeros"),
        (np.eye(3)[Y][:, :2], "sigmoid", r"y: expected \(n, 3\), or labels \(n,\), for 3 outputs, got shape \(20, 2\)"),
        (np.eye(3)[Y] / 2, "sigmoid", "y: expected 0 or 1"),
        (np.full((20, 3), np.inf), "identity", "y: expected finite numbers.*got inf in row 0, column 0"),
        (X, "identity", r"y: expected \(n, 3\) for 3 outputs, got shape \(20, 4\)"),
    ],
)
def test_wrong_targets_are_refused(y, output, message):
    assert_refused(DataError, message, y=y, output=output)


def test_a_learning_rate_beyond_the_parameters_type_is_refused():
    assert_refused(ConfigError, "learning_rate: expected .*1e\\+300", learning_rate=1e300)


def test_a_state_of_other_data_is_refused():
    trainer = fastmlp.Trainer(fastmlp.make_plan(Network([4, 5, 3]), X, Y, fastmlp.TrainingSettings(batch_size=6)))
    for _ in range(3):
        trainer.step()
    assert_refused(ConfigError, "resume: expected", x=X[:10], y=Y[:10], batch_size=6, resume=trainer.state())


def test_what_fails_after_the_checks_leaves_no_trace(monkeypatch):
    """Kernels are compiled before the network is told what it is trained for."""

    def interrupted(*arguments):
        raise KeyboardInterrupt

    net = Network([4, 5, 3])
    before = pickle.dumps(net)
    monkeypatch.setattr(Program, "prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fastmlp.train(net, X, Y, normalize="standardize", kernels="scalar", average="ema", label_smoothing=0.1)
    assert pickle.dumps(net) == before


def test_a_refused_augmentation_leaves_no_trace():
    net = Network([5, 3])
    before = pickle.dumps(net)
    with pytest.raises(ConfigError, match="augment_shift: expected images"):
        fastmlp.train(net, np.zeros((20, 5)), Y, augment_shift=1.0, normalize="standardize")
    assert pickle.dumps(net) == before


@pytest.mark.parametrize(
    ("settings", "copies"),
    [({}, 1), ({"momentum": 0.9}, 2), ({"optimizer": "adam"}, 3), ({"optimizer": "adam", "clip_norm": 1.0}, 4), ({"average": "ema"}, 3)],
    ids=str,
)
def test_memory_for_the_optimizer_and_for_averages_is_counted_before_anything_is_allocated(settings, copies, monkeypatch):
    net = Network([4, 50, 3])
    settings = {"epochs": 1, "batch_size": 2, "learning_rate": 0.01} | settings
    needed = copies * net.parameters.nbytes + 2 * 2 * (50 + 3) * 4  # and z and delta of a batch
    monkeypatch.setattr(machine, "memory_limit", lambda: needed - 1)
    before = net.parameters.tobytes()
    with pytest.raises(NotEnoughMemory, match="a batch of 2 rows"):
        fastmlp.train(net, X, Y, **settings)
    assert net.parameters.tobytes() == before
    monkeypatch.setattr(machine, "memory_limit", lambda: needed)
    fastmlp.train(net, X, Y, **settings)
