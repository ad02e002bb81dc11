"""Training by L-BFGS: the optimum that SciPy finds, the same bits however it is cut, and what it refuses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize

import fastmlp
from fastmlp import ConfigError, ModelFileError, Network, TrainingSettings, machine
from fastmlp.engines import tiled
from fastmlp.engines.program import Program
from fastmlp.rendering.tables import ending
from fastmlp.settings import settings_in_effect
from fastmlp.training import saving
from fastmlp.training.history import Epoch
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer
from tests.oracle import mlp

PAGE = Path(__file__).parents[2] / "docs" / "lbfgs.md"
GENERATOR = np.random.default_rng(6)
X = GENERATOR.standard_normal((300, 5))
CLASSES = (X[:, :3] + GENERATOR.standard_normal((300, 3))).argmax(axis=1)  # so many of them wrong that the optimum is finite
VALUES = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
WEIGHTS = GENERATOR.uniform(0.0, 3.0, 300)
DECAY = 0.01


def network(sizes=(5, 20, 1), dtype="float64", seed=0):
    return Network(sizes, "tanh", dtype=dtype, seed=seed)


def trained(net=None, y=VALUES, **settings):
    net = net or network()
    return net, fastmlp.train(net, X, y, optimizer="lbfgs", **{"epochs": 15, "weight_decay": DECAY, "normalize_target": "none", **settings})


def optimum_by_scipy(label_smoothing=0.0, reduction="mean", sample_weight=None):
    """Return the parameters of the softmax regression of CLASSES on X with the smallest penalised loss."""
    weights = np.ones(len(X)) if sample_weight is None else sample_weight
    share = weights / len(X) if reduction == "mean" else weights

    def gradient(parameters):
        layers = mlp.layers_of(parameters, [5, 3])
        return mlp.flat(mlp.gradient(layers, [], "cross_entropy", X, CLASSES[:, None], share, label_smoothing)[0]) + DECAY * parameters

    found = optimize.root(gradient, np.zeros(18), tol=1e-13)  # the loss is convex: where its gradient is 0 it is smallest
    assert np.abs(gradient(found.x)).max() < 1e-10
    return found.x


@pytest.mark.parametrize("kernels", ["auto", "scalar"])
@pytest.mark.parametrize("settings", [{}, {"reduction": "sum"}, {"label_smoothing": 0.2}, {"sample_weight": WEIGHTS}], ids=", ".join)
def test_a_convex_problem_ends_at_the_optimum_of_scipy(settings, kernels):
    net, history = trained(network((5, 3)), CLASSES, epochs=100, kernels=kernels, **settings)
    assert history.stopped == "converged"
    np.testing.assert_allclose(net.parameters, optimum_by_scipy(**settings), rtol=0, atol=1e-7)


def test_single_precision_converges_to_the_same_optimum():
    net, history = trained(network((5, 3), "float32"), CLASSES, epochs=100)
    assert history.stopped == "converged"
    np.testing.assert_allclose(net.parameters, optimum_by_scipy(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "other", [{"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9}, {"optimizer": "adam", "learning_rate": 0.01}]
)
def test_a_small_regression_is_learned_better_than_by_steps_over_batches(other):
    net = network()
    fastmlp.train(net, X, VALUES, epochs=100, batch_size=30, **other)
    _, history = trained(epochs=100, weight_decay=0.0)
    assert history[-1].train_loss < 0.5 * net.evaluate(X, VALUES)["loss"]


def test_no_epoch_makes_the_penalised_loss_larger():
    net = network()
    trainer = Trainer(make_plan(net, X, VALUES, TrainingSettings(optimizer="lbfgs", weight_decay=DECAY, normalize_target="none")))
    losses = []
    for _ in range(20):
        losses.append(net.evaluate(X, VALUES)["loss"] + DECAY / 2 * net.parameters @ net.parameters)
        trainer.step()
    assert (np.diff(losses) < 0).all()


def test_an_epoch_reports_the_loss_before_its_step_and_the_length_of_the_step():
    net = network()
    before = net.evaluate(X, VALUES)["loss"]
    _, history = trained(net, epochs=3)
    assert history[0].train_loss == pytest.approx(before, rel=1e-12)
    assert history[-1].learning_rate == 1.0  # far enough from the start, the whole step of quasi-Newton methods
    assert 0 < history[0].learning_rate < 1


def test_the_loss_is_told_by_a_pass_of_its_own_only_where_outputs_are_weighted_differently(monkeypatch):
    for program in (tiled.TiledProgram, Program):
        run = program.train
        monkeypatch.setattr(program, "train", lambda self, steps, run=run: seen.add(steps.loss_numbers.tobytes()) or run(self, steps))
    for units, losses in ((1.0, 1), (1000.0, 2)):  # of outputs that are standardised: the loss minimised, and the one told
        seen = set()
        y = np.stack([VALUES, units * VALUES, -VALUES], axis=1)
        net = Network((5, 20, 3), "tanh", "identity", dtype="float64")
        Trainer(make_plan(net, X, y, TrainingSettings(optimizer="lbfgs", epochs=1))).step()
        assert len(seen) == losses


def test_accuracy_is_that_of_the_parameters_before_the_step():
    net = network((5, 8, 3))
    before = net.evaluate(X, CLASSES)["accuracy"]
    _, history = trained(net, CLASSES, epochs=1)
    assert history[0].train_accuracy == before


def test_the_code_of_the_page_runs_and_converges():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found = {"print": lambda *values: None}
    exec(compile(code, PAGE.name, "exec"), found)  # noqa: S102  our own page
    assert found["history"].stopped == "converged"


# --- the same bits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 7, 14])
def test_a_resumed_training_ends_with_the_bits_of_an_unbroken_one(cut):
    whole, _ = trained()
    net, first = trained(epochs=cut)
    _, second = trained(net, resume=first.state)
    assert net.parameters.tobytes() == whole.parameters.tobytes()
    assert [epoch.epoch for epoch in second] == list(range(cut + 1, 16))


def test_a_checkpoint_holds_all_that_the_next_step_needs(tmp_path):
    whole, _ = trained()
    trainer = Trainer(
        make_plan(network(), X, VALUES, TrainingSettings(optimizer="lbfgs", epochs=15, weight_decay=DECAY, normalize_target="none"))
    )
    for _ in range(7):
        trainer.step()
    net, state, _ = saving.unpack(tmp_path, saving.pack(trainer.network, trainer.settings, trainer.state(), {}))
    trained(net, resume=state)
    assert net.parameters.tobytes() == whole.parameters.tobytes()


def test_a_checkpoint_with_pairs_of_another_network_is_refused(tmp_path):
    trainer = Trainer(make_plan(network(), X, VALUES, TrainingSettings(optimizer="lbfgs", normalize_target="none")))
    for _ in range(3):
        trainer.step()
    file = saving.pack(trainer.network, trainer.settings, trainer.state(), {})
    file.tensors["training.pairs"] = file.tensors["training.pairs"][:, :, 1:]
    with pytest.raises(ModelFileError, match=r"'pairs' of shape \(2, k, 141\)"):
        saving.unpack(tmp_path, file)


def test_a_converged_training_has_nothing_left_to_do():
    net, first = trained(network((5, 3)), CLASSES, epochs=100)
    before = net.parameters.tobytes()
    _, second = trained(net, CLASSES, epochs=200, resume=first.state)
    assert (len(second), second.stopped) == (0, "converged")
    _, third = trained(net, CLASSES, epochs=200)  # one that does not know it finds out
    assert (len(third), third.stopped) == (1, "converged")
    assert net.parameters.tobytes() == before


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_no_bit(threads, monkeypatch):
    monkeypatch.setattr(tiled, "TEAM_MULTIPLY_ADDS", 0)
    one, _ = trained(threads=1)
    more, _ = trained(threads=threads)
    assert more.parameters.tobytes() == one.parameters.tobytes()


def test_the_number_of_cores_changes_no_bit(monkeypatch):
    one, _ = trained()
    monkeypatch.setattr(machine, "usable_cores", lambda: 7)
    assert trained()[0].parameters.tobytes() == one.parameters.tobytes()


def test_the_seed_that_orders_rows_changes_no_bit():
    assert trained(seed=1)[0].parameters.tobytes() == trained(seed=2)[0].parameters.tobytes()


@pytest.mark.parametrize("kernels", ["scalar", "python"])
def test_all_kernels_take_the_same_steps(kernels):
    tiles, loops = (Network([5, 12, 1], "tanh", dtype="float64") for _ in range(2))
    for net, kind in ((tiles, "auto"), (loops, kernels)):
        fastmlp.train(net, X[:20], VALUES[:20], optimizer="lbfgs", epochs=4, kernels=kind)
    np.testing.assert_allclose(loops.parameters, tiles.parameters, rtol=1e-9, atol=1e-11)


def test_an_interrupt_between_two_evaluations_leaves_the_last_step(monkeypatch):
    whole, _ = trained()
    trainer = Trainer(
        make_plan(network(), X, VALUES, TrainingSettings(optimizer="lbfgs", epochs=15, weight_decay=DECAY, normalize_target="none"))
    )
    for _ in range(5):
        trainer.step()
    after_five, run = trainer.network.parameters.copy(), tiled.TiledProgram.train

    def interrupted(self, steps):
        run(self, steps)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tiled.TiledProgram, "train", interrupted)
        patched.setattr(Program, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.step()
    np.testing.assert_array_equal(trainer.network.parameters, after_five)
    for _ in range(10):
        trainer.step()
    assert trainer.network.parameters.tobytes() == whole.parameters.tobytes()


# --- beside other settings -------------------------------------------------------------------------------------------------


def test_best_weights_are_restored_and_patience_counts_iterations():
    net, noisy = network((5, 60, 1)), VALUES + GENERATOR.standard_normal(300)
    history = fastmlp.train(net, X, noisy, optimizer="lbfgs", epochs=200, validation=150, holdout="last", patience=5, restore_best=True)
    assert history.stopped == "patience"
    assert history.best_epoch == len(history) - 5
    best = min(epoch.validation_loss for epoch in history)
    assert history[history.best_epoch - 1].validation_loss == best
    assert net.evaluate(X[150:], noisy[150:])["loss"] == pytest.approx(best, rel=1e-12)


def test_a_loss_that_is_not_finite_at_the_start_is_an_error():
    net = network()
    net.parameters[:] = 1e300
    with pytest.raises(fastmlp.TrainingError, match="expected a finite loss"):
        trained(net)


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 20},
        {"clip_value": 1.0},
        {"clip_norm": 1.0},
        {"average": "ema"},
        {"schedule": "cosine"},
        {"warmup_epochs": 1.0},
        {"l1": 0.1},
        {"max_norm": 1.0},
        {"dropout": 0.5},
        {"dropout": (0.5,)},
        {"input_dropout": 0.1},
        {"input_noise": 0.1},
        {"augment_shift": 1.0},
        {"augment_flip": True},
    ],
    ids=str,
)
def test_what_goes_with_batches_and_rates_is_refused_by_name(settings):
    with pytest.raises(ConfigError, match=f"lbfgs takes each step over all 300 rows.*leave out {next(iter(settings))}$"):
        trained(**settings)


def test_all_that_is_refused_is_named_at_once():
    with pytest.raises(ConfigError, match="leave out clip_norm, schedule$"):
        trained(clip_norm=1.0, schedule="step")


@pytest.mark.parametrize("settings", [{"batch_size": 300}, {"batch_size": 1000}, {"dropout": (0.0,)}], ids=str)
def test_what_changes_nothing_is_accepted(settings):
    assert trained(epochs=2, **settings)[0].parameters.tobytes() == trained(epochs=2)[0].parameters.tobytes()


def test_layer_normalisation_goes_with_it():
    net, history = trained(Network([5, 8, 3], "tanh", normalization="layer", dtype="float64"), CLASSES, epochs=2000, weight_decay=0.05)
    assert history.stopped == "converged"
    layers, share = mlp.layers_of(net.parameters, net.sizes, normed=True), np.full(300, 1 / 300)
    found, _ = mlp.gradient(layers, ["tanh"], "cross_entropy", X, CLASSES[:, None], share, norm="layer")
    np.testing.assert_allclose(mlp.flat(found) + 0.05 * net.parameters, 0.0, atol=1e-7)


def test_batch_normalisation_is_refused():
    with pytest.raises(ConfigError, match="use normalization='layer'"):
        trained(Network([5, 8, 3], "tanh", normalization="batch"), CLASSES)


def test_compiled_single_steps_of_it_are_refused():
    with pytest.raises(ConfigError, match="expected a rule for single steps, got 'lbfgs'"):
        network().compiled(optimizer="lbfgs")


def test_the_end_says_that_it_has_converged():
    trainer = Trainer(make_plan(network((5, 3)), X, CLASSES, TrainingSettings(optimizer="lbfgs", epochs=100, weight_decay=DECAY)))
    epochs = [event for event in trainer.run() if isinstance(event, Epoch)]
    assert ending(trainer) == [f"stopped after {len(epochs)} epochs: converged, no further step makes the loss smaller"]


# --- from the command line -------------------------------------------------------------------------------------------------


def test_batches_that_a_data_set_prefers_are_not_held_against_it():
    _, training = settings_in_effect({"optimizer": "lbfgs"}, {}, {"batch_size": 1, "epochs": 3})
    assert (training.batch_size, training.epochs) == (None, None)  # epochs of rows are no iterations
    _, training = settings_in_effect({"optimizer": "lbfgs", "batch_size": 7}, {}, {"batch_size": 1})
    assert training.batch_size == 7
    _, resumed = settings_in_effect({"optimizer": "lbfgs"}, {}, {"optimizer": "lbfgs", "batch_size": 60_000})
    assert resumed.batch_size == 60_000


def test_settings_in_effect_say_that_a_batch_is_all_rows():
    trainer = Trainer(make_plan(network(), X, VALUES, TrainingSettings(optimizer="lbfgs", normalize_target="none"), validation=20))
    assert json.loads(json.dumps(trainer.settings.to_dict()))["batch_size"] == 280
