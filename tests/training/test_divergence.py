"""A loss that is not finite ends training at once, and says where; what is merely unusual trains."""

import numpy as np
import pytest

import fastmlp
from fastmlp import DataError, Network, Trainer, TrainingError, TrainingSettings, make_plan
from fastmlp.training import divergence
from tests.pairs import each_pair
from tests.training import reference

pytestmark = pytest.mark.filterwarnings("ignore:x. .* a root mean square of")  # here, that is what is tried
GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((40, 4)).astype(np.float32)
Y = GENERATOR.integers(0, 3, 40)
TARGETS = {"softmax": Y, "sigmoid": np.eye(3)[Y], "identity": np.eye(3)[Y]}


@pytest.mark.parametrize("output", TARGETS)
@pytest.mark.parametrize("activation", ["identity", "relu", "silu"])
def test_a_huge_learning_rate_on_huge_numbers_ends_in_the_first_epoch(output, activation):
    with pytest.raises(
        TrainingError,
        match=r"^training diverged: .* in epoch 1, batch \d+ of 40; try normalize=.*, a learning_rate below 1e\+09",
    ):
        fastmlp.train(Network([4, 5, 3], activation, output), X * 1e6, TARGETS[output], learning_rate=1e9, batch_size=1, normalize="none")


def test_the_advice_names_what_may_be_the_cause():
    settings = {"normalize": "none", "reduction": "sum", "optimizer": "sgd", "learning_rate": 0.2}
    with pytest.raises(TrainingError, match=r"try normalize='standardize' .*reduction='sum' adds up .*\), clip_norm=1"):
        fastmlp.train(Network([4, 5, 3], "identity", "identity"), X * 1e6, TARGETS["identity"], **settings)


def test_the_advice_names_nothing_that_is_in_use():
    settings = {"learning_rate": 1e9, "clip_value": 1e8, "warmup_epochs": 1.0}
    with pytest.raises(TrainingError, match=r"; try normalize='standardize' with .* or a learning_rate below 1e\+09$"):
        fastmlp.train(Network([4, 5, 3], "identity", "identity"), X * 1e6, TARGETS["identity"], batch_size=1, **settings)


def test_the_advice_after_the_first_epoch_is_to_lower_the_rate_as_training_goes_on():
    def break_it(net, epoch):
        net.parameters[0] = np.nan

    with pytest.raises(TrainingError, match=r"in epoch 2, batch 1 of 7; try a learning_rate below 0\.2, clip_norm=1 or schedule='cosine'$"):
        fastmlp.train(Network([4, 5, 3]), X, Y, batch_size=6, optimizer="sgd", learning_rate=0.2, callbacks=[break_it])


@pytest.mark.parametrize("where", [0, 17, 39])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_batch_named_is_that_of_the_row_that_cannot_be_computed(where, seed):
    x = X.copy()
    x[where] = np.finfo(np.float32).max  # finite, but its sum over the inputs is not
    net = Network([4, 3], output="identity")
    net.weights[0][:] = 1
    batch = reference.shuffled(seed, 0, 40).index(where) // 6 + 1
    with pytest.raises(TrainingError, match=f"in epoch 1, batch {batch} of 7;"):
        fastmlp.train(net, x, TARGETS["identity"], batch_size=6, learning_rate=1e-3, seed=seed)


def test_the_batch_that_cannot_be_computed_changes_no_weight():
    x = X.copy()
    x[17] = np.finfo(np.float32).max
    settings = TrainingSettings(batch_size=6, learning_rate=1e-3)
    net, stepped = (Network([4, 3], output="identity") for _ in range(2))
    net.weights[0][:] = stepped.weights[0][:] = 1
    trainer = Trainer(make_plan(stepped, x, TARGETS["identity"], settings))
    for _ in range(reference.shuffled(0, 0, 40).index(17) // 6):
        trainer.step()
    with pytest.raises(TrainingError):
        list(Trainer(make_plan(net, x, TARGETS["identity"], settings)).run())
    assert np.isfinite(net.parameters).all()
    assert net.parameters.tobytes() == stepped.parameters.tobytes()


@each_pair(activation=["sigmoid", "tanh", "relu", "silu"], output=TARGETS, place=[0, 20, -1], value=[np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_number_is_seen_in_the_first_epoch(value, place, output, activation):
    net = Network([4, 5, 3], activation, output)
    net.parameters[place] = value
    with pytest.raises(TrainingError, match="in epoch 1, batch "):
        fastmlp.train(net, X, TARGETS[output], batch_size=6)


@pytest.mark.parametrize("kernels", ["auto", "python"])
def test_divergence_is_seen_by_every_kind_of_kernel(kernels):
    net = Network([4, 5, 3])
    net.parameters[3] = np.nan
    with pytest.raises(TrainingError, match="finite weights to begin with, got NaN or inf, seen in epoch 1, batch 1 of 7; make a new Net"):
        fastmlp.train(net, X, Y, batch_size=6, kernels=kernels)
    with pytest.raises(TrainingError, match="finite weights to begin with"):
        fastmlp.find_learning_rate(net, X, Y, kernels=kernels)
    with pytest.raises(DataError, match="^parameters: expected finite numbers to predict with, got NaN"):
        net.predict(X)


def test_divergence_is_seen_by_parallel_kernels():
    x, y = GENERATOR.standard_normal((60, 784)), GENERATOR.integers(0, 10, 60)
    net = Network([784, 64, 10])
    net.parameters[-1] = np.nan
    with pytest.raises(TrainingError, match="in epoch 1, batch 1 of 2"):
        fastmlp.train(net, x, y, threads=2, batch_size=50)


def test_the_epoch_named_is_the_one_under_way():
    settings = {"learning_rate": 1.0, "batch_size": 40, "normalize": "none", "epochs": 100_000}
    seen = []
    net = Network([4, 3], output="identity")
    with pytest.raises(TrainingError) as raised:
        fastmlp.train(net, X * 10, TARGETS["identity"], callbacks=[lambda net, epoch: seen.append(epoch.epoch)], **settings)
    assert len(seen) >= 1
    assert f"in epoch {seen[-1] + 1}, batch 1 of 1;" in str(raised.value)


# Unusual, but sound


def assert_trains(net, x, y, **settings):
    history = fastmlp.train(net, x, y, **{"epochs": 2} | settings)
    assert np.isfinite(net.parameters).all()
    assert np.isfinite([epoch.train_loss for epoch in history]).all()


@pytest.mark.parametrize("normalize", ["none", "scale", "standardize"])
@pytest.mark.parametrize(
    "x",
    [
        X[:1],
        X[:, :1],
        X[:1, :1],
        np.zeros((5, 4)),
        np.ones((5, 4), np.uint8),
        np.full((5, 4), 255, np.uint8),
        np.full((5, 4), 1e-45, np.float32),
        np.hstack([X[:, :3], np.zeros((40, 1))]),
    ],
    ids=["one row", "one feature", "one number", "zeros", "ones", "white", "denormals", "a column of zeros"],
)
def test_small_and_constant_inputs_train(x, normalize):
    assert_trains(Network([x.shape[1], 5, 3]), x, Y[: len(x)], normalize=normalize)


def test_targets_of_one_class_train():
    assert_trains(Network([4, 5, 3]), X, np.ones(40, int))


def test_constant_targets_train():
    assert_trains(Network([4, 5, 1]), X, np.full(40, 3.0))


@pytest.mark.parametrize("batch_size", [1, 39, 40, 41, 10**12])
def test_any_batch_size_trains(batch_size):
    assert_trains(Network([4, 5, 3]), X, Y, batch_size=batch_size)


def test_a_batch_larger_than_the_data_is_one_batch_of_all_rows():
    one, other = Network([4, 5, 3]), Network([4, 5, 3])
    fastmlp.train(one, X, Y, batch_size=41)
    fastmlp.train(other, X, Y, batch_size=40)
    assert one.parameters.tobytes() == other.parameters.tobytes()


def test_logits_too_large_for_exp_have_a_finite_loss():
    net = Network([4, 3])
    net.weights[0][:] *= 1e4
    assert_trains(net, X, Y, epochs=1, learning_rate=1e-3)


def test_sigmoid_outputs_too_large_for_exp_have_a_finite_loss():
    net = Network([4, 3], output="sigmoid")
    net.weights[0][:] *= 1e4
    assert_trains(net, X, TARGETS["sigmoid"], epochs=1, learning_rate=1e-3)


def test_the_cure_of_large_inputs_comes_first():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 3)) * [500.0, 2.0, 90.0] + [400.0, 5.0, 60.0]
    for y, outputs in (((x[:, 1] > 5).astype(int), 2), (x[:, 0] ** 2, 1)):
        with pytest.raises(TrainingError, match="try normalize='standardize' with a new Network, as the inputs are far"):
            fastmlp.train(Network([3, 16, outputs]), x, y, epochs=20, optimizer="sgd", learning_rate=0.2 if outputs == 2 else 1e6)


@pytest.mark.parametrize("rows", [1, 2, 7, divergence.SAMPLE_ROWS])
def test_of_no_more_rows_than_a_sample_has_every_one_is_looked_at(rows):
    for row in range(0, rows, max(1, rows // 9)):
        x = np.zeros((rows, 3))
        x[row, 1] = 1.01 * divergence.LARGE_INPUTS * np.sqrt(rows)
        assert divergence.are_large(x, np.ones(3), np.zeros(3))
        assert not divergence.are_large(0.98 * x, np.ones(3), np.zeros(3))
