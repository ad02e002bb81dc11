"""Dropout, noise and max-norm as settings of a training: who may ask for what, what belongs to training alone, resuming, MNIST."""

import re
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, Network, Trainer, TrainingSettings, make_plan
from fastmlp.engines.choice import zeros_pay
from fastmlp.engines.program import Program
from fastmlp.engines.tiled import TiledProgram
from fastmlp.kernels.regularisation import Regularisation

DOCUMENT = (Path(__file__).parents[2] / "docs" / "regularisation.md").read_text()
GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.standard_normal((70, 12)), GENERATOR.integers(0, 3, 70)
IMAGES = (GENERATOR.integers(1, 256, (230, 784)) * (GENERATOR.random((230, 784)) < 0.2)).astype(np.uint8)
LABELS = GENERATOR.integers(0, 10, 230)
BATCH, STEPS, EPOCHS = 16, 5, 2  # five steps in an epoch, the last of six rows
ALL = {"dropout": (0.5, 0.2), "input_dropout": 0.2, "input_noise": 0.1, "max_norm": 1.0}
RULES = {name: {name: value} for name, value in ALL.items()}
KERNELS = {"auto": TiledProgram, "scalar": Program}


def network(dtype="float32"):
    return Network([12, 30, 20, 3], dtype=dtype)


def trained(**settings):
    net = network()
    fastmlp.train(net, X, Y, **{"epochs": EPOCHS, "batch_size": BATCH, "seed": 3} | settings)
    return net


def bits(net):
    return net.parameters.tobytes()


# --- who may ask for what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, (0.3,), [0.3, 0.3]])
def test_one_share_stands_for_every_hidden_layer(share):
    assert bits(trained(dropout=share)) == bits(trained(dropout=(0.3, 0.3)))


def test_each_hidden_layer_may_have_its_own_share():
    found = {bits(trained(dropout=shares)) for shares in ((0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.3, 0.3))}
    assert len(found) == 4
    assert bits(trained(dropout=(0.0, 0.0))) == bits(trained())


@pytest.mark.parametrize("shares", [(0.1, 0.2, 0.3), ()])
def test_a_wrong_number_of_shares_is_refused(shares):
    message = rf"^dropout: expected one number, or one for each hidden layer \(2\), got {len(shares)}$"
    with pytest.raises(ConfigError, match=message):
        trained(dropout=shares)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dropout": 1.0}, "dropout: expected less than 1, got 1.0"),
        ({"dropout": (0.5, -0.1)}, "dropout: expected at least 0.0, got -0.1"),
        ({"input_dropout": 1}, "input_dropout: expected less than 1, got 1"),
        ({"input_dropout": (0.1,)}, "input_dropout: expected one value"),
        ({"input_noise": -1}, "input_noise: expected at least 0.0, got -1"),
        ({"input_noise": 1e39}, "input_noise: expected a number that float32 can hold, got 1e+39"),
        ({"max_norm": 0}, "max_norm: expected more than 0, got 0"),
        ({"max_norm": 1e39}, "max_norm: expected a number that float32 can hold, got 1e+39"),
        ({"max_norm": 1e-50}, "max_norm: expected a number that float32 can hold, got 1e-50"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        trained(**settings)


@pytest.mark.parametrize("kernels", KERNELS)
def test_each_kind_of_kernels_takes_all_of_it(kernels):
    trainer = Trainer(make_plan(network(), X, Y, TrainingSettings(batch_size=BATCH, kernels=kernels, **ALL)))
    assert isinstance(trainer.program, KERNELS[kernels])


@pytest.mark.parametrize("kernels", ["scalar", "python"])
@pytest.mark.parametrize("rule", RULES)
def test_every_kind_of_kernels_gives_the_same_numbers(rule, kernels):
    nets = [network("float64") for _ in range(2)]
    for net, wanted in zip(nets, ("auto", kernels), strict=True):
        fastmlp.train(net, X, Y, epochs=1, batch_size=BATCH, kernels=wanted, normalize="standardize", **RULES[rule])
    np.testing.assert_allclose(nets[1].parameters, nets[0].parameters, rtol=1e-10, atol=1e-12)


# --- what belongs to training alone --------------------------------------------------------------------------------------


def test_evaluating_leaves_nothing_out():
    net = trained(**ALL)
    plain = network()
    plain.parameters[:], plain.input_scaling = net.parameters, net.input_scaling
    np.testing.assert_array_equal(net.logits(X), plain.logits(X))
    assert net.evaluate(X, Y) == plain.evaluate(X, Y)
    np.testing.assert_array_equal(net.gradient(X, Y), plain.gradient(X, Y))


def test_the_training_loss_is_that_of_the_thinned_network_and_the_validation_loss_is_not():
    # with a step that is practically 0, both are losses of the same weights on the same rows
    history = [
        fastmlp.train(network("float64"), X, Y, validation=(X, Y), epochs=1, learning_rate=1e-30, batch_size=70, dropout=share)
        for share in (0.0, 0.5)
    ]
    plain, dropped = (each[-1] for each in history)
    assert plain.train_loss == pytest.approx(plain.validation_loss, rel=1e-12)
    assert dropped.validation_loss == plain.validation_loss
    assert abs(dropped.train_loss - plain.train_loss) > 1e-3


def test_thinned_networks_have_the_outputs_of_the_whole_one_on_average():
    # without activations, the mean over masks of a linear network's squared error is that of the whole plus the variance of its outputs
    x, y = np.ones((20_000, 3)), np.zeros((20_000, 1))
    net = Network([3, 8, 1], "identity", "identity", dtype="float64", seed=1)
    history = fastmlp.train(net, x, y, epochs=1, learning_rate=1e-30, batch_size=100, dropout=0.5, normalize_target="none")
    a = net.weights[0].sum(axis=0)
    parts = a * net.weights[1][:, 0]
    expected = parts.sum() ** 2 + (parts**2).sum()  # each part is 0 or doubled, half of the time
    assert history[-1].train_loss == pytest.approx(expected, rel=0.03)


# --- the same bits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [2, 3, 7, None])
def test_the_number_of_threads_changes_no_bit(threads):
    def wide(threads):
        net = Network([784, 64, 32, 10])
        fastmlp.train(net, IMAGES, LABELS, epochs=2, batch_size=50, learning_rate=0.1, threads=threads, **ALL)
        return bits(net)

    assert wide(threads) == wide(1)


@pytest.mark.parametrize("kernels", KERNELS)
def test_training_goes_on_after_any_step_bit_for_bit(kernels):
    settings = TrainingSettings(epochs=EPOCHS, batch_size=BATCH, kernels=kernels, **ALL)
    whole = network()
    list(Trainer(make_plan(whole, X, Y, settings)).run())
    for steps in range(EPOCHS * STEPS + 1):
        net = network()
        broken_off = Trainer(make_plan(net, X, Y, settings))
        for _ in range(steps):
            broken_off.step()
        list(Trainer(make_plan(net, X, Y, settings, resume=broken_off.state())).run())
        assert bits(net) == bits(whole), steps


def test_each_epoch_and_seed_draws_masks_of_its_own():
    # with all rows in one batch, the order of rows is the only other thing that a seed decides; of equal rows it decides nothing
    x, y = np.ones((40, 12)), np.zeros(40, np.int64)
    trainer = Trainer(make_plan(network("float64"), x, y, TrainingSettings(batch_size=40, learning_rate=1e-30, dropout=0.5)))
    losses = []
    for _ in range(5):
        trainer.step()
        losses.append(trainer.state().total[0])
    other = Trainer(make_plan(network("float64"), x, y, TrainingSettings(batch_size=40, learning_rate=1e-30, dropout=0.5, seed=1)))
    other.step()
    assert len({*losses, other.state().total[0]}) == 6


@pytest.mark.parametrize("settings", [{"input_dropout": 0.3}, {"input_noise": 0.1}, {"input_dropout": 0.3, "normalize": "standardize"}])
def test_skipping_zeros_changes_no_bit(settings):
    found = []
    for zero_skipping in ("on", "off", "auto"):
        net = Network([784, 64, 10])
        fastmlp.train(net, IMAGES, LABELS, epochs=1, batch_size=50, learning_rate=0.1, zero_skipping=zero_skipping, **settings)
        found.append(bits(net))
    assert len(set(found)) == 1


# --- when zeros are skipped ----------------------------------------------------------------------------------------------


def test_zeros_are_skipped_where_enough_inputs_are_zero_after_dropout_and_noise():
    dense = GENERATOR.integers(1, 256, (230, 784)).astype(np.uint8)

    def pays(x, shifted=False, **settings):
        return zeros_pay(Regularisation(**settings), x, np.arange(len(x)), shifted)

    assert pays(IMAGES)
    assert not pays(dense)
    assert pays(dense, input_dropout=0.3)
    assert not pays(dense, input_dropout=0.1)
    assert not pays(IMAGES, input_noise=0.1)
    assert pays(IMAGES, input_noise=0.1, input_dropout=0.3)
    assert pays(IMAGES, shifted=True)
    assert not pays(IMAGES, shifted=True, input_dropout=0.1)


# --- the page and real data ----------------------------------------------------------------------------------------------


def test_the_example_of_the_document_trains():
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL) if "fastmlp.train(" in block)
    names = {}
    exec(compile(example, "regularisation.md", "exec"), names)  # noqa: S102  our own page
    assert names["net"].evaluate(names["data"].x_test, names["data"].y_test)["accuracy"] > 0.8
    assert max(np.linalg.norm(weight, axis=0).max() for weight in names["net"].weights[:-1]) < 3.0001


def test_mnist_is_learnt_with_dropout_noise_and_max_norm(mnist):
    net = Network([784, 200, 10])
    history = fastmlp.train(
        net, mnist.x_train[:20_000], mnist.y_train[:20_000], validation=(mnist.x_train[50_000:], mnist.y_train[50_000:]),
        epochs=4, batch_size=50, learning_rate=0.2, dropout=0.5, input_dropout=0.2, input_noise=0.1, max_norm=3,
    )  # fmt: skip
    assert history[-1].validation_accuracy > 0.95
    assert history[-1].train_accuracy < history[-1].validation_accuracy  # a thinned network knows less than the whole
    assert np.linalg.norm(net.weights[0], axis=0).max() <= 3 * (1 + 1e-5)


def test_dropout_keeps_a_large_network_from_learning_few_rows_of_mnist_by_heart(mnist):
    def gap(**settings):
        net = Network([784, 400, 10])
        fastmlp.train(net, mnist.x_train[:2000], mnist.y_train[:2000], epochs=30, batch_size=50, learning_rate=0.2, **settings)
        known = net.evaluate(mnist.x_train[:2000], mnist.y_train[:2000])["loss"]
        return net.evaluate(mnist.x_train[40_000:], mnist.y_train[40_000:])["loss"] - known

    assert gap(dropout=0.5, input_dropout=0.2) < 0.8 * gap()
