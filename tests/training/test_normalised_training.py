"""Training with normalised sums: as in NumPy, with every optimizer, from any stop, in the same bits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmlp
from fastmlp import ConfigError, Epoch, Network, Trainer, TrainingError, TrainingSettings, make_plan
from fastmlp.storage.checkpoints import Checkpoints
from fastmlp.training.saving import pack, unpack
from tests.kernels.processes import result_of
from tests.oracle import training
from tests.oracle.schedules import Schedule
from tests.oracle.updates import Rule
from tests.pairs import each_pair

NORMS = ["batch", "layer"]
N_ROWS, BATCH = 38, 7  # six steps in an epoch, the last one of three rows
GENERATOR = np.random.default_rng(1)
X = GENERATOR.standard_normal((N_ROWS, 4))
TARGETS = {
    "softmax": GENERATOR.integers(0, 3, N_ROWS),
    "sigmoid": GENERATOR.integers(0, 2, (N_ROWS, 3)),
    "identity": GENERATOR.standard_normal((N_ROWS, 3)),
}
LOSSES = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "identity": "mse"}
Y = TARGETS["softmax"]
# what fastmlp is given -> the rule of the oracle
RULES = {
    "momentum": ({"momentum": 0.9}, Rule("momentum", 0.0)),
    "nesterov": ({"momentum": 0.9, "nesterov": True}, Rule("nesterov", 0.0)),
    "decayed": ({"weight_decay": 0.1}, Rule("sgd", 0.0, weight_decay=0.1)),
    "adam": ({"optimizer": "adam"}, Rule("adam", 0.0)),
    "adamw": ({"optimizer": "adamw", "weight_decay": 0.1}, Rule("adamw", 0.0, weight_decay=0.1)),
}


def both(net, rows=N_ROWS, output="softmax", rule=RULES["momentum"][1], reduction="mean", held_out=None, shared=(), **settings):
    """Train a network, and its twin in NumPy; return the history and what the twin came to. shared: settings that both know by name."""
    x, y = X[:rows], TARGETS[output][:rows]
    target = y.reshape(rows, -1).astype(float)
    validation = None if held_out is None else (held_out[0], held_out[1].reshape(len(held_out[0]), -1).astype(float))
    problem = training.Problem(
        net.sizes, net.hidden_activations, net.parameters.copy(), x, target, LOSSES[output], normalization=net.normalization,
        validation=validation, epochs=settings["epochs"], batch_size=settings["batch_size"],
        schedule=Schedule(learning_rate=settings["learning_rate"]), rule=rule, mean=reduction == "mean", seed=settings.get("seed", 0),
    )  # fmt: skip
    expected = training.train(problem._replace(**dict(shared)))
    settings |= {"normalize_target": "none"}
    return fastmlp.train(net, x, y, reduction=reduction, validation=held_out, **settings, **dict(shared)), expected


def assert_same(net, expected):
    assert_allclose(net.parameters, expected.parameters, rtol=1e-8, atol=1e-9)
    assert len(net.running_means) == len(expected.running)
    for mean, variance, running in zip(net.running_means, net.running_variances, expected.running, strict=True):
        assert_allclose(mean, running.mean, rtol=1e-8, atol=1e-10)
        assert_allclose(variance, running.variance, rtol=1e-8)


SGD = {"rule": Rule("sgd", 0.0)}


@each_pair(norm=NORMS, output=TARGETS, reduction=["mean", "sum"], kernels=["auto", "scalar"])
def test_training_equals_numpy(norm, output, reduction, kernels):
    net = Network([4, 20, 33, 3], ("tanh", "silu"), output, normalization=norm, dtype="float64", seed=3)
    settings = {"epochs": 3, "batch_size": BATCH, "learning_rate": 0.02, "seed": 5}
    history, expected = both(net, output=output, reduction=reduction, kernels=kernels, **settings, **SGD)
    assert_same(net, expected)
    assert_allclose([epoch.train_loss for epoch in history], [epoch.train_loss for epoch in expected.epochs], rtol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_training_interpreted_equals_numpy(norm):
    net = Network([4, 5, 4, 3], "tanh", normalization=norm, dtype="float64", seed=3)
    _, expected = both(net, kernels="python", epochs=1, batch_size=BATCH, learning_rate=0.1, **SGD)
    assert_same(net, expected)


@each_pair(norm=NORMS, name=RULES, kernels=["auto", "scalar"])
def test_every_optimizer_treats_scales_as_it_treats_weights(norm, name, kernels):
    given, rule = RULES[name]
    net = Network([4, 13, 9, 3], "tanh", normalization=norm, dtype="float64", seed=3)
    _, expected = both(net, rule=rule, kernels=kernels, epochs=3, batch_size=BATCH, learning_rate=0.01, **given)
    assert_same(net, expected)
    assert all((gamma != 1).all() for gamma in net.gammas)


@pytest.mark.parametrize("norm", NORMS)
def test_float32_training_follows_float64_to_rounding(norm):
    net = Network([4, 50, 3], "tanh", normalization=norm, seed=3)
    _, expected = both(net, epochs=3, batch_size=BATCH, learning_rate=0.05, **SGD)
    assert_allclose(net.parameters, expected.parameters, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_validation_is_taken_by_the_running_statistics(norm):
    held_out = (GENERATOR.standard_normal((9, 4)), GENERATOR.integers(0, 3, 9))
    net = Network([4, 20, 3], "tanh", normalization=norm, dtype="float64", seed=3)
    history, expected = both(net, held_out=held_out, epochs=2, batch_size=BATCH, learning_rate=0.1, **SGD)
    assert_allclose([epoch.validation_loss for epoch in history], [epoch.validation_loss for epoch in expected.epochs], rtol=1e-9)


COMPANY = {
    "dropout and noise": {"dropout": (0.3, 0.2), "input_dropout": 0.1, "input_noise": 0.2},
    "max-norm": {"max_norm": 0.7},
    "a limited gradient": {"clip_value": 0.02, "clip_norm": 0.1, "l1": 0.01},
    "an average": {"average": "ema", "average_decay": 0.9},
    "all of it": {"dropout": (0.0, 0.4), "max_norm": 0.9, "clip_norm": 0.2, "average": "ema", "average_decay": 0.8},
}


@each_pair(norm=NORMS, company=COMPANY, kernels=["auto", "scalar"])
def test_normalisation_goes_with_other_settings(norm, company, kernels):
    net = Network([4, 20, 33, 3], ("tanh", "silu"), normalization=norm, dtype="float64", seed=3)
    settings = {"epochs": 2, "batch_size": BATCH, "learning_rate": 0.05, "seed": 5, "normalize": "none"}
    _, expected = both(net, kernels=kernels, shared=COMPANY[company], **settings, **SGD)
    assert_same(net, expected)


# Panels of tiles that are full, nearly empty, and one unit more than that
WIDTHS = [(8, 17), (17, 8), (80, 81), (163, 2)]


@each_pair(widths=WIDTHS, norm=NORMS, optimizer=["sgd", "adam"])
def test_layers_of_any_width_train_in_tiles_as_by_the_textbook(widths, norm, optimizer):
    nets = []
    for kernels in ("auto", "scalar"):
        net = Network([5, *widths, 3], ("tanh", "silu"), normalization=norm, dtype="float64", seed=2)
        x = np.concatenate([X, X[:, :1]], axis=1)
        fastmlp.train(net, x, Y, epochs=2, batch_size=11, learning_rate=0.01, optimizer=optimizer, kernels=kernels)
        nets.append(net)
    assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-8, atol=1e-10)
    assert_allclose(nets[0].running_stats, nets[1].running_stats, rtol=1e-8, atol=1e-10)


def test_a_layer_of_one_unit_is_normalised_over_the_batch():
    net = Network([4, 9, 1, 3], "tanh", normalization="batch", dtype="float64", seed=3)
    _, expected = both(net, epochs=2, batch_size=BATCH, learning_rate=0.1, **SGD)
    assert_same(net, expected)


def numbers():
    """Return what small trainings by tiles come to: parameters, statistics, outputs and gradients."""
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((25, 4)), generator.integers(0, 3, 25)
    found = []
    for norm in NORMS:
        for name in ("sgd", "adam"):
            net = Network([4, 12, 9, 3], "tanh", normalization=norm, dtype="float64")
            fastmlp.train(net, x, y, epochs=1, batch_size=8, optimizer=name, learning_rate=0.01)
            found += [net.parameters.tolist(), net.running_stats.tolist(), net.logits(x).ravel().tolist(), net.gradient(x, y).tolist()]
    return found


def test_without_a_compiler_the_numbers_are_the_same():
    code = "import json; from tests.training.test_normalised_training import numbers; print(json.dumps(numbers()))"
    for expected, found in zip(numbers(), result_of(code, NUMBA_DISABLE_JIT="1"), strict=True):
        assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


# One row in a batch


@pytest.mark.parametrize("kernels", ["auto", "scalar"])
def test_a_last_batch_of_one_row_goes_by_the_running_statistics_and_leaves_them(kernels):
    net = Network([4, 20, 9, 3], "tanh", normalization="batch", dtype="float64", seed=3)
    rows = 4 * BATCH + 1
    _, expected = both(net, rows=rows, kernels=kernels, epochs=2, batch_size=BATCH, learning_rate=0.1, **SGD)
    assert_same(net, expected)


def test_a_step_on_one_row_changes_no_running_statistic():
    net = Network([4, 20, 3], normalization="batch")
    trainer = Trainer(make_plan(net, X[:5], Y[:5], TrainingSettings(epochs=1, batch_size=4)))
    trainer.step()
    before, parameters = net.running_stats.tobytes(), net.parameters.tobytes()
    trainer.step()
    assert net.running_stats.tobytes() == before
    assert net.parameters.tobytes() != parameters


@pytest.mark.parametrize(("rows", "batch_size"), [(N_ROWS, 1), (1, 50)])
def test_batches_of_one_row_are_refused(rows, batch_size):
    net = Network([4, 20, 3], normalization="batch")
    with pytest.raises(ConfigError, match="batch_size: expected at least 2 rows for batch normalisation, got 1; use normalization='layer'"):
        fastmlp.train(net, X[:rows], Y[:rows], batch_size=batch_size)


def test_layer_normalisation_takes_batches_of_one_row():
    net = Network([4, 20, 3], "tanh", normalization="layer", dtype="float64")
    _, expected = both(net, epochs=1, batch_size=1, learning_rate=0.05, **SGD)
    assert_same(net, expected)


# Bits


WIDE_X, WIDE_Y = GENERATOR.standard_normal((230, 120)), GENERATOR.integers(0, 10, 230)


def wide(norm, **settings) -> Network:
    net = Network([120, 130, 40, 10], ("sigmoid", "relu"), normalization=norm)
    fastmlp.train(net, WIDE_X, WIDE_Y, **{"epochs": 2, "batch_size": 50, "learning_rate": 0.1, **settings})
    return net


def bits(net: Network) -> bytes:
    return net.parameters.tobytes() + net.running_stats.tobytes()


@pytest.fixture(scope="module", params=["sgd", "adam"])
def optimizer(request):
    return request.param


@pytest.mark.parametrize("norm", NORMS)
def test_the_number_of_threads_changes_no_bit(norm, optimizer):
    first, *others = (bits(wide(norm, threads=threads, optimizer=optimizer, learning_rate=0.01)) for threads in (1, 2, 3, 7))
    assert others == [first] * 3


@pytest.mark.parametrize("norm", NORMS)
def test_wide_training_by_the_fastest_kernels_equals_the_textbook_to_rounding(norm):
    assert_allclose(wide(norm).parameters, wide(norm, kernels="scalar", threads=1).parameters, rtol=0, atol=2e-4)


# Stop, and go on


SETTINGS = {"epochs": 3, "batch_size": BATCH, "learning_rate": 0.01, "optimizer": "adam", "validation": 8}
STEPS = 5


def trainer(norm, net=None, resume=None, **changes) -> Trainer:
    net = Network([4, 20, 9, 3], "tanh", normalization=norm) if net is None else net
    return Trainer(make_plan(net, X, Y, TrainingSettings(**SETTINGS | changes), resume=resume))


def losses(run) -> list[tuple[float, float]]:
    return [(event.train_loss, event.validation_loss) for event in run.run() if isinstance(event, Epoch)]


@pytest.mark.parametrize("steps", [0, 1, STEPS, 2 * STEPS + 3])
@pytest.mark.parametrize("norm", NORMS)
def test_a_checkpoint_goes_on_bit_for_bit(tmp_path, norm, steps):
    whole, stopped = trainer(norm), trainer(norm)
    expected = losses(whole)
    for _ in range(steps):
        stopped.step()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(*pack(stopped.network, stopped.settings, stopped.state(), {}))
    saved = checkpoints.newest(unpack)
    again = trainer(norm, saved.network, saved.state)
    assert losses(again) == expected[saved.state.epoch :]
    assert bits(again.network) == bits(whole.network)


@pytest.mark.parametrize("norm", NORMS)
def test_a_training_goes_on_from_its_historys_state_bit_for_bit(norm):
    whole, net = (Network([4, 20, 3], normalization=norm) for _ in range(2))
    fastmlp.train(whole, X, Y, **SETTINGS)
    first = fastmlp.train(net, X, Y, **SETTINGS | {"epochs": 1})
    fastmlp.train(net, X, Y, **SETTINGS, resume=first.state)
    assert bits(net) == bits(whole)


def test_the_best_weights_come_with_their_running_statistics(tmp_path):
    seen = {}
    net = Network([4, 20, 9, 3], "tanh", normalization="batch")
    settings = SETTINGS | {"epochs": 8, "learning_rate": 0.1, "restore_best": True}
    history = fastmlp.train(net, X, Y, **settings, callbacks=[lambda net, epoch: seen.update({epoch.epoch: bits(net)})])
    assert history.best_epoch < 8
    assert bits(net) == seen[history.best_epoch]
    again = fastmlp.train(net, X, Y, **settings | {"epochs": 9}, resume=history.state, callbacks=[])
    whole = Network([4, 20, 9, 3], "tanh", normalization="batch")
    expected = fastmlp.train(whole, X, Y, **settings | {"epochs": 9})
    assert again[-1].train_loss == expected[-1].train_loss
    assert bits(net) == bits(whole)


def test_the_best_weights_come_with_their_running_statistics_through_a_checkpoint(tmp_path):
    settings = {"epochs": 8, "learning_rate": 0.1, "restore_best": True}
    whole, stopped = trainer("batch", **settings), trainer("batch", **settings)
    losses(whole)
    assert whole.best.epoch < 7
    for _ in range(7 * STEPS + 1):
        stopped.step()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(*pack(stopped.network, stopped.settings, stopped.state(), {}))
    saved = checkpoints.newest(unpack)
    again = trainer("batch", saved.network, saved.state, **settings)
    losses(again)
    assert bits(again.network) == bits(whole.network)


def test_a_state_without_the_best_statistics_is_refused():
    net = Network([4, 20, 9, 3], "tanh", normalization="batch")
    history = fastmlp.train(net, X, Y, **SETTINGS, restore_best=True)
    with pytest.raises(ConfigError, match="resume: expected a state that keeps the weights of its best epoch"):
        trainer("batch", net, history.state._replace(best_running_stats=None), restore_best=True)


@pytest.mark.parametrize("name", ["running_stats", "best_running_stats"])
def test_statistics_of_another_network_are_refused(name):
    net = Network([4, 20, 9, 3], "tanh", normalization="batch")
    history = fastmlp.train(net, X, Y, **SETTINGS, restore_best=True)
    with pytest.raises(ConfigError, match=rf"resume: expected '{name}' of shape \(58,\), one per running statistic, got \(3,\)"):
        trainer("batch", net, history.state._replace(**{name: np.zeros(3, np.float32)}), restore_best=True)


@pytest.mark.parametrize("kernels", ["auto", "scalar"])
def test_a_batch_whose_loss_is_not_finite_changes_neither_parameters_nor_statistics(kernels):
    net = Network([4, 20, 3], "relu", normalization="batch")
    net.weights[1][:] = np.float32(3e38)
    before = bits(net)
    with pytest.raises(TrainingError, match="training diverged"):
        fastmlp.train(net, X, Y, kernels=kernels)
    assert bits(net) == before


# Data as people have them


@pytest.mark.parametrize("normalize", ["none", "scale", "standardize"])
def test_bytes_that_are_mostly_zero_train_as_their_floats(normalize):
    images = GENERATOR.integers(1, 256, (60, 9, 9), dtype=np.uint8) * (GENERATOR.random((60, 9, 9)) < 0.2).astype(np.uint8)
    y = GENERATOR.integers(0, 5, 60)
    floats = images.reshape(60, 81) / (1.0 if normalize == "none" else 255.0)
    nets = [Network([81, 37, 5], normalization="batch", dtype="float64") for _ in range(2)]
    for net, x in zip(nets, (images, floats), strict=True):
        scaling = {"normalize": normalize, "per_feature": False if normalize == "standardize" else None}
        fastmlp.train(net, x, y, epochs=2, batch_size=11, optimizer="sgd", learning_rate=0.2, **scaling)
    assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-9, atol=1e-9)


def test_on_mnist_deep_sigmoid_layers_learn_with_batch_normalisation_only(mnist):
    accuracies = {}
    for norm in ("none", "batch"):
        net = Network([784, 50, 50, 50, 10], "sigmoid", normalization=norm)
        history = fastmlp.train(
            net, mnist.x_train[:6000], mnist.y_train[:6000], validation=1000, epochs=2, batch_size=50, learning_rate=0.2
        )
        accuracies[norm] = history[-1].validation_accuracy
    assert accuracies["none"] < 0.3
    assert accuracies["batch"] > 0.85


@pytest.mark.parametrize("norm", NORMS)
def test_commands_train_evaluate_and_check_a_normalised_network(norm, tmp_path, monkeypatch, capsys):
    from fastmlp.cli import run

    monkeypatch.chdir(tmp_path)
    train = [
        "train",
        "synthetic",
        "--normalization",
        norm,
        "--hidden",
        "8",
        "--batch-size",
        "20",
        "--epochs",
        "1",
        "--out",
        "m.safetensors",
    ]
    assert run(train) == 0
    assert Network.load("m.safetensors").normalization == norm
    assert run(["evaluate", "m.safetensors", "synthetic"]) == 0
    assert run(["check", "m.safetensors"]) == 0
    assert "gammas[0]" in capsys.readouterr().out


def test_a_resumed_run_keeps_its_normalisation(tmp_path, monkeypatch, capsys):
    from fastmlp.cli import run

    monkeypatch.chdir(tmp_path)
    train = ["train", "synthetic", "--normalization", "batch", "--hidden", "8", "--batch-size", "20", "--quiet"]
    assert run([*train, "--epochs", "2", "--run-folder", "whole"]) == 0
    assert run([*train, "--epochs", "1", "--run-folder", "part"]) == 0
    assert run(["train", "--resume", "part", "--epochs", "2", "--quiet"]) == 0
    whole, part = (Network.load(tmp_path / name / "model.safetensors") for name in ("whole", "part"))
    assert bits(whole) == bits(part)
    assert run(["train", "--resume", "part", "--normalization", "layer"]) == 78
    assert "normalization batch → layer" in capsys.readouterr().err


def test_running_statistics_come_to_those_of_the_rows():
    net = Network([4, 6, 3], normalization="batch", dtype="float64", seed=2)
    fastmlp.train(net, X, Y, epochs=200, batch_size=N_ROWS, learning_rate=1e-12)
    sums = X @ net.weights[0]
    assert_allclose(net.running_means[0], sums.mean(axis=0), rtol=1e-5, atol=1e-9)
    assert_allclose(net.running_variances[0], sums.var(axis=0, ddof=1), rtol=1e-5)
