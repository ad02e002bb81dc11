"""A training that was saved goes on bit for bit, whatever the optimizer, the normalisation and the batch."""

import json

import numpy as np
import pytest

import fastmlp
from fastmlp.errors import ConfigError, ModelFileError
from fastmlp.storage.checkpoints import Checkpoints
from fastmlp.storage.model_file import TensorFile
from fastmlp.training.callbacks import checkpoint
from fastmlp.training.callbacks.checkpoint import CheckpointSchedule
from fastmlp.training.history import Epoch
from fastmlp.training.plan import make_plan
from fastmlp.training.saving import pack, unpack
from fastmlp.training.trainer import Trainer

GENERATOR = np.random.default_rng(0)
X = np.where(GENERATOR.random((90, 40)) < 0.6, 0, GENERATOR.integers(0, 256, (90, 40))).astype(np.uint8)
TARGETS = {"softmax": GENERATOR.integers(0, 3, 90), "sigmoid": GENERATOR.integers(0, 2, (90, 3)), "identity": GENERATOR.random((90, 3))}
SETTINGS = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "validation": 20, "seed": 6}
STEPS = 9  # of an epoch, the last of six rows

OPTIMIZERS = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
    "nadam": {"optimizer": "nadam", "learning_rate": 0.01},
    "rmsprop with momentum": {"optimizer": "rmsprop", "learning_rate": 0.01, "momentum": 0.9},
    "lion": {"optimizer": "lion", "learning_rate": 0.001},
    "adagrad, clipped": {"optimizer": "adagrad", "clip_norm": 0.5, "l1": 1e-3},
    "plateau": {"schedule": "plateau", "step_size": 0.5, "learning_rate": 0.5},
    "one cycle": {"schedule": "one_cycle", "warmup_epochs": 0.5},
    "ema": {"average": "ema", "average_decay": 0.9},
    "swa": {"average": "swa", "average_start": 0.3},
}
VARIANTS = {
    "bytes as they are": {"normalize": "none", "learning_rate": 1e-4},
    "standardize": {"normalize": "standardize"},
    "standardize each feature": {"normalize": "standardize", "per_feature": True},
    "zeros skipped": {"zero_skipping": "on"},
    "zeros not skipped": {"zero_skipping": "off"},
    "scalar kernels": {"kernels": "scalar"},
    "sum": {"reduction": "sum", "learning_rate": 0.005},
    "one row at a time": {"batch_size": 1, "epochs": 1},
    "two threads": {"threads": 2},
}


def trainer(output="softmax", dtype="float32", **changes):
    network = fastmlp.Network([40, 13, 3], "relu", output, dtype=dtype, seed=2)  # tiles that tests/kernels/test_updates.py compiles, too
    return Trainer(make_plan(network, X, TARGETS[output], fastmlp.TrainingSettings(**SETTINGS | changes)))


def saved_and_restored(stopped, folder):
    checkpoints = Checkpoints(folder)
    checkpoints.save(*pack(stopped.network, stopped.settings, stopped.state(), {"data": "these"}))
    return checkpoints.newest(unpack)


def assert_goes_on(stopped, whole, folder, output="softmax"):
    """Train one to its end, save and restore the other and train that to its end: the same bits and the same epochs."""
    saved = saved_and_restored(stopped, folder)
    again = Trainer(make_plan(saved.network, X, TARGETS[output], stopped.settings, resume=saved.state))
    expected = [event for event in whole.run() if isinstance(event, Epoch)][saved.state.epoch :]
    found = [event for event in again.run() if isinstance(event, Epoch)]
    assert again.network.parameters.tobytes() == whole.network.parameters.tobytes()
    without_times = {"seconds": 0.0, "samples_per_second": 0.0}
    assert [epoch._replace(**without_times) for epoch in found] == [epoch._replace(**without_times) for epoch in expected]
    assert again.best == whole.best


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_goes_on_from_any_batch(tmp_path, optimizer, subtests):
    for steps in [0, 1, STEPS - 1, STEPS, STEPS + 1, 2 * STEPS + 4]:
        with subtests.test(steps=steps):
            stopped = trainer(**OPTIMIZERS[optimizer])
            for _ in range(steps):
                stopped.step()
            assert_goes_on(stopped, trainer(**OPTIMIZERS[optimizer]), tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_normalisation_and_kernel_goes_on(tmp_path, variant):
    stopped = trainer(**VARIANTS[variant])
    for _ in range(STEPS + 2):
        stopped.step()
    assert_goes_on(stopped, trainer(**VARIANTS[variant]), tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", TARGETS)
def test_every_output_and_type_goes_on(tmp_path, output, dtype):
    stopped = trainer(output, dtype, optimizer="adam", learning_rate=0.01)
    for _ in range(STEPS + 2):
        stopped.step()
    assert_goes_on(stopped, trainer(output, dtype, optimizer="adam", learning_rate=0.01), tmp_path, output)


def test_a_network_without_hidden_layers_goes_on(tmp_path):
    def single_layer():
        return Trainer(make_plan(fastmlp.Network([40, 3], seed=2), X, TARGETS["softmax"], fastmlp.TrainingSettings(**SETTINGS)))

    stopped = single_layer()
    for _ in range(STEPS + 2):
        stopped.step()
    assert_goes_on(stopped, single_layer(), tmp_path)


def test_what_the_caller_said_comes_back(tmp_path):
    assert saved_and_restored(trainer(), tmp_path).run == {"data": "these"}


def test_a_checkpoint_is_a_model_file_too(tmp_path):
    stopped = trainer(optimizer="adam")
    stopped.step()
    path = Checkpoints(tmp_path).save(*pack(stopped.network, stopped.settings, stopped.state(), {}))
    np.testing.assert_array_equal(fastmlp.Network.load(path).predict_proba(X), stopped.network.predict_proba(X))


def test_a_model_file_is_no_checkpoint():
    with pytest.raises(ModelFileError, match="found a model only"):
        unpack("digits.safetensors", fastmlp.Network([4, 3]).to_tensors())


def test_tensors_and_numbers_of_a_later_version_are_no_obstacle():
    stopped = trainer(optimizer="adam")
    for _ in range(3):
        stopped.step()
    file = pack(stopped.network, stopped.settings, stopped.state(), {})
    state = json.loads(file.metadata["state"])
    later = TensorFile(
        {**file.tensors, "training.later": np.zeros(5)}, {**file.metadata, "state": json.dumps({**state, "draws": 7}), "more": "text"}
    )
    assert unpack("later", later).state.steps == 3


DAMAGES = {
    "no state": lambda tensors, metadata, state: metadata.pop("state"),
    "no run": lambda tensors, metadata, state: metadata.pop("run"),
    "run that is no object": lambda tensors, metadata, state: metadata.update(run="[]"),
    "no epoch": lambda tensors, metadata, state: state.pop("epoch"),
    "epoch of text": lambda tensors, metadata, state: state.update(epoch="3"),
    "epoch of a truth value": lambda tensors, metadata, state: state.update(epoch=True),
    "steps below 0": lambda tensors, metadata, state: state.update(steps=-1),
    "no seconds": lambda tensors, metadata, state: state.pop("seconds"),
    "best value of text": lambda tensors, metadata, state: state.update(best_value="low"),
    "seconds of nobody": lambda tensors, metadata, state: state.update(earlier_seconds=None),
    "accuracy of a truth value": lambda tensors, metadata, state: state.update(validation_accuracy=True),
    "best weights of another shape": lambda tensors, metadata, state: tensors.update({"training.best_weights": np.zeros(3, np.float32)}),
    "another row": lambda tensors, metadata, state: state.update(row=1),
    "no sums": lambda tensors, metadata, state: tensors.pop("training.total"),
    "sums of float32": lambda tensors, metadata, state: tensors.update({"training.total": np.zeros(4, np.float32)}),
    "moments of another shape": lambda tensors, metadata, state: tensors.update({"training.m": np.zeros(3, np.float32)}),
    "moments of float64": lambda tensors, metadata, state: tensors.update({"training.v": np.zeros(stop_here().network.parameters.size)}),
    "weights of float64": lambda tensors, metadata, state: tensors.update(
        {"training.weights": np.zeros(stop_here().network.parameters.size)}
    ),
    "an average of another shape": lambda tensors, metadata, state: tensors.update({"training.average": np.zeros(3)}),
    "epochs averaged below 0": lambda tensors, metadata, state: state.update(averaged=-1),
    "plateau of two numbers": lambda tensors, metadata, state: state.update(plateau=[1.0, None]),
    "plateau of text": lambda tensors, metadata, state: state.update(plateau=["1.0", None, 0]),
    "a tensor of nobody": lambda tensors, metadata, state: tensors.update({"averages": np.zeros(3)}),
    "no weights": lambda tensors, metadata, state: tensors.pop("layers.0.weight"),
}


def stop_here():
    stopped = trainer(optimizer="adam")
    for _ in range(3):
        stopped.step()
    return stopped


def test_a_file_that_means_nothing_is_a_model_file_error_that_names_it(subtests):
    for damage in DAMAGES:
        with subtests.test(damage=damage):
            stopped = stop_here()
            file = pack(stopped.network, stopped.settings, stopped.state(), {})
            tensors, metadata, state = dict(file.tensors), dict(file.metadata), json.loads(file.metadata["state"])
            DAMAGES[damage](tensors, metadata, state)
            if "state" in metadata:
                metadata["state"] = json.dumps(state)
            with pytest.raises(ModelFileError, match="ckpt-1"):
                unpack("ckpt-1", TensorFile(tensors, metadata))


def test_a_state_without_what_the_optimizer_keeps_is_refused():
    plain = trainer()
    plain.step()
    with pytest.raises(ConfigError, match="adam"):
        Trainer(
            make_plan(plain.network, X, TARGETS["softmax"], fastmlp.TrainingSettings(**SETTINGS, optimizer="adam"), resume=plain.state())
        )


def test_a_state_of_another_network_is_refused():
    stopped = stop_here()
    with pytest.raises(ConfigError, match="one per parameter"):
        Trainer(make_plan(fastmlp.Network([40, 3]), X, TARGETS["softmax"], stopped.settings, resume=stopped.state()))


def test_the_best_epoch_is_that_of_the_smallest_validation_loss():
    run = trainer(learning_rate=0.5, epochs=8)
    losses = [event.validation_loss for event in run.run() if isinstance(event, Epoch)]
    assert run.best == (1 + int(np.argmin(losses)), min(losses))


def test_without_validation_no_epoch_is_the_best():
    run = trainer(validation=0)
    list(run.run())
    assert run.best == (0, None)


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(checkpoint.time, "monotonic", clock.monotonic)
    return clock


def test_a_save_is_due_when_its_time_has_come(clock):
    pace = CheckpointSchedule(30.0)
    clock.now += 29.9
    assert not pace.is_due(epoch_ended=False)
    clock.now += 0.1
    assert pace.is_due(epoch_ended=False)
    pace.saved(took=0.01)
    assert not pace.is_due(epoch_ended=False)


def test_epochs_that_end_within_a_second_share_a_save(clock):
    pace = CheckpointSchedule(30.0)
    clock.now += 0.9
    assert not pace.is_due(epoch_ended=True)
    clock.now += 0.1
    assert pace.is_due(epoch_ended=True)


def test_saves_that_take_long_become_rarer(clock):
    pace = CheckpointSchedule(30.0)
    pace.saved(took=0.5)
    clock.now += 9.9
    assert not pace.is_due(epoch_ended=True)
    clock.now += 0.1
    assert pace.is_due(epoch_ended=True)


def test_a_short_interval_holds_for_epochs_too(clock):
    pace = CheckpointSchedule(0.05)
    pace.saved(took=10.0)
    clock.now += 0.06
    assert pace.is_due(epoch_ended=True)
    assert pace.is_due(epoch_ended=False)
