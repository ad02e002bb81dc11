"""Single steps on rows that arrive bit by bit: the steps of a training, whoever brings the rows."""

import inspect
import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, DataError, Network, OnlineTrainer, TrainingError
from tests.oracle import mlp
from tests.pairs import each_pair
from tests.training.reference import shuffled

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((60, 6))
Y = GENERATOR.integers(0, 3, 60)
WEIGHT = GENERATOR.exponential(size=60)
SIZES = {"textbook loops": [6, 5, 3], "tiles": [6, 40, 30, 3], "single layer": [6, 3], "normalised sums": [6, 5, 3]}
RULES = {
    "sgd": {},
    "momentum": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "lion, clipped": {"optimizer": "lion", "learning_rate": 0.001, "clip_norm": 0.5},
    "averaged": {"average": "ema", "average_decay": 0.9},
    "regularised": {"dropout": 0.3, "input_dropout": 0.1, "input_noise": 0.1, "max_norm": 1.0},
}


def batches(seed, epochs, size, n=60):
    """Yield the rows of each step of a training, its last and shorter batch included."""
    for epoch in range(epochs):
        order = shuffled(seed, epoch, n)
        yield from (order[first : first + size] for first in range(0, n, size))


@each_pair(kind=SIZES, rule=RULES, weighted=[False, True])
def test_steps_on_the_batches_of_a_training_are_that_training_bit_for_bit(kind, rule, weighted):
    settings = {"batch_size": 16, "learning_rate": 0.2, "zero_skipping": "off", "seed": 4} | RULES[rule]
    if kind == "single layer":  # it has no hidden units to leave out or to limit
        settings = {name: value for name, value in settings.items() if name not in ("dropout", "max_norm")}
    norm = "batch" if kind == "normalised sums" else "none"
    whole, stepped = (Network(SIZES[kind], "tanh", seed=1, normalization=norm) for _ in range(2))
    fastmlp.train(whole, X, Y, epochs=3, sample_weight=WEIGHT if weighted else None, **settings)
    online = OnlineTrainer(stepped, **settings)
    for rows in batches(4, 3, 16):
        online.step(X[rows], Y[rows], WEIGHT[rows] if weighted else None)
    assert online.steps == 12
    assert stepped.parameters.tobytes() == whole.parameters.tobytes()
    assert stepped.running_stats.tobytes() == whole.running_stats.tobytes()


def test_a_step_takes_any_number_of_rows_up_to_the_largest_and_returns_their_mean_loss_before_it():
    net = Network([6, 5, 3], "tanh", dtype="float64")
    online = OnlineTrainer(net, batch_size=20, learning_rate=0.3)
    for n in (20, 1, 7, 19, 2):
        layers = mlp.layers_of(net.parameters, net.sizes)
        expected = mlp.train(layers, ["tanh"], "cross_entropy", X[:n], Y[:n, None], order=np.arange(n), batch_size=n, learning_rate=0.3)
        assert online.step(X[:n], Y[:n]) == pytest.approx(expected.step_losses[0], rel=1e-12)
        np.testing.assert_allclose(net.parameters, mlp.flat(expected.layers), rtol=1e-11)


@pytest.mark.parametrize(
    ("sizes", "x", "y"),
    [
        ([6, 3], X[0], 2),
        ([6, 4, 1], X[0], 0.5),
        ([6, 4, 2], X[0], 1),
        ([16, 3], np.arange(16, dtype=np.uint8).reshape(4, 4), np.int64(1)),
    ],
    ids=["a row", "a number", "tiles", "an image"],
)
def test_one_row_is_a_batch_of_one(sizes, x, y):
    one, batch = Network(sizes), Network(sizes)
    assert OnlineTrainer(one).step(x, y) == OnlineTrainer(batch).step(x[None], np.array([y]))
    assert one.parameters.tobytes() == batch.parameters.tobytes()


def test_one_row_with_several_targets_is_a_batch_of_one():
    one, batch = (Network([6, 4, 2], output="identity") for _ in range(2))
    assert OnlineTrainer(one).step(X[0], [1.0, 2.0]) == OnlineTrainer(batch).step(X[:1], [[1.0, 2.0]])
    assert one.parameters.tobytes() == batch.parameters.tobytes()


@pytest.mark.parametrize("rule", RULES)
def test_another_online_trainer_goes_on_from_a_state_bit_for_bit(rule, subtests):
    for steps in [0, 1, 3]:
        with subtests.test(steps=steps):
            settings = {"batch_size": 16, "learning_rate": 0.1} | RULES[rule]
            whole, net = Network([6, 5, 3]), Network([6, 5, 3])
            all_steps = list(batches(0, 2, 16))
            online = OnlineTrainer(whole, **settings)
            for rows in all_steps:
                online.step(X[rows], Y[rows])
            first = OnlineTrainer(net, **settings)
            for rows in all_steps[:steps]:
                first.step(X[rows], Y[rows])
            copy, state = pickle.loads(pickle.dumps((net, first.state())))  # noqa: S301  our own bytes
            second = OnlineTrainer(copy, resume=state, **settings)
            for rows in all_steps[steps:]:
                second.step(X[rows], Y[rows])
            assert (second.steps, copy.parameters.tobytes()) == (len(all_steps), whole.parameters.tobytes())


def test_steps_go_on_from_a_training():
    settings = {"batch_size": 20, "optimizer": "adam", "learning_rate": 0.01}
    whole, net = Network([6, 5, 3]), Network([6, 5, 3])
    fastmlp.train(whole, X, Y, epochs=2, **settings)
    history = fastmlp.train(net, X, Y, epochs=1, **settings)
    online = OnlineTrainer(net, resume=history.state, **settings)
    for rows in list(batches(0, 2, 20))[3:]:
        online.step(X[rows], Y[rows])
    assert net.parameters.tobytes() == whole.parameters.tobytes()


def test_steps_go_on_from_a_training_that_ended_within_an_epoch():
    settings = {"batch_size": 16, "optimizer": "adam", "learning_rate": 0.01}
    whole, net = Network([6, 5, 3]), Network([6, 5, 3])
    fastmlp.train(whole, X, Y, epochs=2, **settings)
    trainer = fastmlp.Trainer(fastmlp.make_plan(net, X, Y, fastmlp.TrainingSettings(epochs=2, **settings)))
    for _ in range(3):
        trainer.step()
    assert trainer.state().row == 48
    online = OnlineTrainer(net, resume=trainer.state(), **settings)
    for rows in list(batches(0, 2, 16))[3:]:
        online.step(X[rows], Y[rows])
    assert (online.steps, net.parameters.tobytes()) == (8, whole.parameters.tobytes())


def test_the_learning_rate_may_change_between_steps():
    nets = [Network([6, 3], dtype="float64") for _ in range(2)]
    online = OnlineTrainer(nets[0], learning_rate=0.3)
    start = nets[0].parameters.copy()
    online.step(X[:50], Y[:50])
    changed = nets[0].parameters - start
    other = OnlineTrainer(nets[1])
    other.learning_rate = 0.15  # before the first step
    other.step(X[:50], Y[:50])
    np.testing.assert_allclose(2 * (nets[1].parameters - start), changed, rtol=1e-10)
    before = nets[0].parameters.copy()
    gradient = nets[0].gradient(X[:50], Y[:50])
    online.learning_rate = 0.05
    online.step(X[:50], Y[:50])
    for wrong in (None, 1e39, -1.0, "0.1"):
        with pytest.raises(ConfigError, match="^learning_rate: expected "):
            OnlineTrainer(Network([6, 3])).learning_rate = wrong
    assert online.learning_rate == 0.05
    np.testing.assert_allclose(before - nets[0].parameters, 0.05 * gradient, rtol=1e-9, atol=1e-15)


def test_class_weights_are_those_of_the_rows_of_a_step():
    nets = [Network([6, 3]) for _ in range(2)]
    OnlineTrainer(nets[0], class_weight={0: 0.5, 2: 3.0}).step(X[:30], Y[:30], WEIGHT[:30])
    OnlineTrainer(nets[1]).step(X[:30], Y[:30], WEIGHT[:30] * np.array([0.5, 1.0, 3.0])[Y[:30]])
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def test_optimizer_records_are_taken():
    nets = [Network([6, 3]) for _ in range(2)]
    OnlineTrainer(nets[0], optimizer=fastmlp.SGD(momentum=0.5)).step(X[:9], Y[:9])
    OnlineTrainer(nets[1], momentum=0.5).step(X[:9], Y[:9])
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def test_a_network_keeps_the_normalisation_that_it_was_trained_with():
    net = Network([6, 3], dtype="float64")
    fastmlp.train(net, 5 + 3 * X, Y, epochs=1, normalize="standardize")
    fitted = net.input_scaling
    expected = net.evaluate(5 + 3 * X[:30], Y[:30])["loss"]
    assert OnlineTrainer(net, normalize="standardize").step(5 + 3 * X[:30], Y[:30]) == pytest.approx(expected, rel=1e-12)
    assert net.input_scaling is fitted


def test_the_example_of_the_documentation_is_true():
    network = Network([2, 8, 2], seed=1)
    online = OnlineTrainer(network, batch_size=4, optimizer="adam", learning_rate=0.01)
    losses = [online.step([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]) for _ in range(200)]
    assert losses[-1] < 0.2 < losses[0]


# What cannot be


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:0], Y[:0], "x: expected 1 to 8 rows, as batch_size says, got 0"),
        (X[:9], Y[:9], "x: expected 1 to 8 rows, as batch_size says, got 9; choose a larger batch_size or take parts"),
        (X[:5, :4], Y[:5], r"x: expected \(n, 6\)"),
        (X[:5], Y[:4], "y: expected 5 rows"),
        (X[:5], Y[:5] % 2 + 5, "y: expected 3 classes, as many as the network has outputs"),
        (np.full((5, 6), np.nan), Y[:5], "x: expected finite numbers"),
        (np.ma.masked_array(X[0], X[0] == X[0, 2]), Y[0], "x: expected numbers everywhere, got a masked array"),
        (X[0], np.ma.masked, "y: expected numbers everywhere, got a masked array"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_change_nothing(x, y, message):
    net = Network([6, 3])
    before = net.parameters.tobytes()
    online = OnlineTrainer(net, batch_size=8)
    with pytest.raises(DataError, match=message):
        online.step(x, y)
    assert (net.parameters.tobytes(), online.steps, net.input_scaling) == (before, 0, None)


def test_bytes_after_numbers_are_refused():
    online = OnlineTrainer(Network([6, 3]))
    online.step(X[:5], Y[:5])
    with pytest.raises(DataError, match="x: expected float32 rows as in the first step, got uint8"):
        online.step(np.zeros((5, 6), np.uint8), Y[:5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 3}, "epochs: expected none for single steps, which know no epochs, got 3; use fastmlp.train"),
        ({"schedule": "cosine"}, "schedule: expected none for single steps"),
        ({"validation": 10}, "validation: expected none for single steps"),
        ({"patience": 3}, "patience: expected none for single steps"),
        ({"augment_shift": 1.0}, "augment_shift: expected none for single steps"),
        ({"optimizer": "lbfgs"}, "optimizer: expected one that takes single steps, got 'lbfgs', which needs all rows at once"),
        ({"average": "swa"}, "average: expected none or ema for single steps"),
        ({"class_weight": "balanced"}, "class_weight: expected a mapping {class: weight} where rows come bit by bit, got 'balanced'"),
        ({"normalize": "standardize"}, "normalize: expected none or scale where rows come bit by bit, got 'standardize'"),
        ({"learning_rate": -1.0}, "learning_rate: expected more than 0"),
        ({"learning_rat": 1.0}, "OnlineTrainer: unknown setting 'learning_rat'; did you mean 'learning_rate'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        OnlineTrainer(Network([6, 3]), **settings)


def test_its_signature_shows_the_settings_that_it_takes():
    names = set(inspect.signature(OnlineTrainer).parameters)
    assert {"network", "resume", "batch_size", "optimizer", "clip_norm", "loss"} <= names
    assert not {"epochs", "validation", "patience", "schedule"} & names


def test_a_step_whose_loss_is_not_finite_changes_nothing_and_says_which_it_was():
    net = Network([6, 3], output="identity")
    online = OnlineTrainer(net, learning_rate=0.1)
    online.step(X[:5], np.eye(3)[Y[:5]])
    before = net.parameters.tobytes()
    with pytest.raises(TrainingError, match=r"got NaN or inf in step 2; try a learning_rate below 0\.1, clip_norm=1"):
        online.step(X[:5] * 1e30, np.eye(3)[Y[:5]])
    assert (net.parameters.tobytes(), online.steps) == (before, 1)
