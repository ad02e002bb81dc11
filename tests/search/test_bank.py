"""A bank trains many models at once, and each comes out as if it had been alone."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError
from fastmlp.network import network_for
from fastmlp.network.programs import Programs
from fastmlp.preprocessing import inputs
from fastmlp.search import in_process
from fastmlp.search.bank import train_bank
from fastmlp.search.in_process import prepare
from fastmlp.search.sweep import sweep_tasks
from fastmlp.search.task import BankProgress, Task, Trained
from fastmlp.settings import NetworkSettings, TrainingSettings

ROOT = Path(__file__).parents[2]
BASE = TrainingSettings(epochs=2, batch_size=50, learning_rate=0.2, validation=200)


def task(key, training=BASE, **network):
    return Task(key, NetworkSettings(**network), training)


MIXED = [
    task("small", hidden=(30,), activation="sigmoid"),
    task("two layers", BASE.replace(seed=1, optimizer="adam", learning_rate=0.001), hidden=(40, 20)),
    task("standardized", BASE.replace(seed=2, normalize="standardize", batch_size=17), hidden=(30,)),
    task("scalar kernels, large steps", BASE.replace(kernels="scalar", batch_size=300, epochs=1), hidden=(60,)),
    task("float64", BASE.replace(momentum=0.9, learning_rate=0.01), hidden=(20,), dtype="float64"),
    task("no hidden layer", BASE.replace(seed=3, batch_size=100), hidden=()),
]


@pytest.fixture(scope="module")
def digits(mnist):
    """Few rows of MNIST, so that many networks can be trained on them."""
    return mnist.first_rows(2000, 300)


def trained(tasks, data, cores=None):
    return {event.task.key: event for event in train_bank(tasks, data, cores) if isinstance(event, Trained)}


def alone(task, data):
    """Train a task by the public function, on as many threads as it likes."""
    network = network_for(data, task.network, task.training.seed)
    settings = {name: value for name, value in task.training.to_dict().items() if name != "validation"}
    history = fastmlp.train(network, data.x_train, data.y_train, validation=task.training.validation, **settings)
    return network, history


def scores(history):
    return [[value for name, value in epoch._asdict().items() if "seconds" not in name and "per_second" not in name] for epoch in history]


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_each_model_has_the_bits_of_being_trained_alone(digits, cores):
    found = trained(MIXED, digits, cores)
    assert set(found) == {task.key for task in MIXED}
    for one in MIXED:
        network, history = alone(one, digits)
        np.testing.assert_array_equal(found[one.key].network.parameters, network.parameters, err_msg=one.key)
        assert scores(found[one.key].history) == scores(history), one.key


# Another value of each setting that a sweep may vary, with what it needs to have an effect.
ADAM = {"optimizer": "adam", "learning_rate": 0.01}
OTHERS = {
    "hidden": ((7, 5), {}), "activation": ("tanh", {}), "normalization": ("layer", {}), "initializer": ("orthogonal", {}),
    "initial_value": (0.02, {"initializer": "constant"}), "dtype": ("float64", {}), "epochs": (3, {}), "batch_size": (9, {}),
    "learning_rate": (0.05, {}), "optimizer": ("adam", {"learning_rate": 0.01}), "momentum": (0.9, {}),
    "nesterov": (True, {"momentum": 0.5}), "beta1": (0.8, ADAM), "beta2": (0.9, ADAM), "epsilon": (1e-3, ADAM),
    "initial_accumulator_value": (0.3, {"optimizer": "adagrad"}), "clip_value": (0.01, {}),
    "clip_norm": (0.1, {}), "average": ("ema", {}), "average_decay": (0.5, {"average": "ema"}), "average_start": (0.1, {"average": "swa"}),
    "schedule": ("cosine", {}), "warmup_epochs": (1.0, {}), "gamma": (0.5, {"schedule": "exponential"}),
    "step_size": (2.0, {"schedule": "exponential"}), "end_factor": (0.5, {"schedule": "linear"}), "weight_decay": (0.01, {}),
    "l1": (0.01, {}), "max_norm": (0.1, {}), "dropout": (0.5, {}), "input_dropout": (0.5, {}), "input_noise": (0.5, {}),
    "label_smoothing": (0.1, {}), "loss": ("cross_entropy", {}), "class_weight": ("balanced", {}), "reduction": ("sum", {}),
    "normalize": ("none", {}), "per_feature": (True, {"normalize": "standardize"}), "validation": (0.4, {}), "holdout": ("last", {}),
    "split_seed": (1, {}), "zero_skipping": ("on", {}), "kernels": ("scalar", {}), "metric": ("accuracy", {"restore_best": True}),
    "patience": (1, {}), "restore_best": (True, {}), "target_accuracy": (0.1, {}), "time_budget": (100.0, {}), "augment_shift": (1.0, {}),
    "augment_rotation": (10.0, {}), "augment_scale": (0.1, {}), "augment_shear": (5.0, {}), "augment_elastic": (1.0, {}),
    "augment_elastic_sigma": (2.0, {"augment_elastic": 1.0}), "augment_flip": (True, {}),
}  # fmt: skip
# Of networks that predict numbers.
OF_VALUES = {
    "loss": ("mae", {}), "huber_delta": (2.0, {"loss": "huber"}), "quantile": (0.3, {"loss": "quantile"}), "normalize_target": ("none", {}),
    "validation": (0.4, {}), "holdout": ("last", {}), "split_seed": (1, {}),
}  # fmt: skip
NOT_HERE = {"seed", "threads", "output"}  # no sweep takes the first two; the data leave no choice of the third


def test_every_setting_that_can_be_swept_gives_the_bits_of_the_same_training_alone():
    generator = np.random.default_rng(3)
    y = generator.integers(0, 3, 90).astype(np.uint8)
    x = generator.integers(0, 256, (90, 6, 6), dtype=np.uint8)
    x[:60] //= 4  # so that it matters which rows a mean is of
    classes = Dataset("made", x, y, x[:3], y[:3], kind="image", target_kind="classes", image_shape=(6, 6), class_names=("a", "b", "c"))
    values = generator.standard_normal(90) + 5.0 * (y > 0)
    table = x.reshape(90, 36).astype(np.float32)
    numbers = Dataset("made", table, values, table[:3], values[:3], kind="table", target_kind="values")
    network = NetworkSettings(hidden=(6,))
    training = TrainingSettings(epochs=2, batch_size=20, learning_rate=0.2, normalize="standardize", validation=20)
    assert {*OTHERS, *OF_VALUES} == {*NetworkSettings.names(), *TrainingSettings.names()} - NOT_HERE
    rows = {"validation", "holdout", "split_seed"}  # what changes which rows are trained on
    for data, others, of_scaling in ((classes, OTHERS, {"normalize", "per_feature"}), (numbers, OF_VALUES, set())):
        changes = {name: {name: value, **needed} for name, (value, needed) in others.items()}
        steady = training if others is OTHERS else training.replace(learning_rate=0.01)
        tasks = dict(zip(["plain", *changes], sweep_tasks(network, steady, [{}, *changes.values()], 1), strict=True))
        found = trained(list(tasks.values()), data, 3)
        means = {}
        for name, one in tasks.items():
            net, history = alone(one, data)
            model = found[one.key]
            np.testing.assert_array_equal(model.network.parameters, net.parameters, err_msg=name)
            np.testing.assert_array_equal(model.network.input_scaling.mean, net.input_scaling.mean, err_msg=name)
            assert scores(model.history) == scores(history), name
            means[name] = net.input_scaling.mean.tobytes()
        assert {name for name in means if means[name] != means["plain"]} == rows | of_scaling


def test_validation_is_that_of_the_last_epoch(digits):
    model = trained(MIXED[:1], digits)["small"]
    assert model.validation == {"loss": model.history[-1].validation_loss, "accuracy": model.history[-1].validation_accuracy}


def test_a_model_that_stops_early_is_the_one_trained_alone_and_is_judged_by_its_best_epoch(digits):
    early = task("early", BASE.replace(epochs=60, learning_rate=0.5, patience=2, restore_best=True), hidden=(30,))
    model = trained([early], digits)["early"]
    network, history = alone(early, digits)
    assert history.stopped == "patience"
    assert model.network.parameters.tobytes() == network.parameters.tobytes()
    assert scores(model.history) == scores(history)
    best = history[history.best_epoch - 1]
    assert model.validation == {"loss": best.validation_loss, "accuracy": best.validation_accuracy}


@pytest.mark.parametrize("changes", [{"patience": 2}, {"restore_best": True}, {"target_accuracy": 0.9}])
def test_stopping_by_rows_that_are_not_held_out_is_found_before_anything_is_trained(digits, monkeypatch, changes):
    monkeypatch.setattr(in_process, "_train", lambda *arguments: pytest.fail("training began"))
    with pytest.raises(ConfigError, match="expected held-out rows to judge an epoch by"):
        trained([task("good", hidden=(20,)), task("bad", BASE.replace(validation=0, **changes), hidden=(20,))], digits)


def test_a_fold_is_held_out_to_stop_by(digits):
    rows = np.arange(2000)
    fold = task("fold", BASE.replace(validation=0, epochs=60, learning_rate=0.5, patience=1), hidden=(20,))._replace(
        train_rows=rows[:1500], validation_rows=rows[1500:]
    )
    assert len(trained([fold], digits)["fold"].history) < 60


def test_what_diverges_is_recorded_and_the_others_go_on(digits):
    tasks = [task("bad", BASE.replace(learning_rate=1e30), hidden=(20,)), task("good", hidden=(20,))]
    found = trained(tasks, digits, 1)
    assert (found["bad"].outcome, found["good"].outcome) == ("diverged", "done")
    assert found["bad"].validation == {"loss": None, "accuracy": None}
    assert found["good"].validation["accuracy"] > 0.5


def test_settings_that_do_not_fit_are_found_before_anything_is_trained(digits, monkeypatch):
    monkeypatch.setattr(in_process, "_train", lambda *arguments: pytest.fail("training began"))
    with pytest.raises(ConfigError, match="loss: 'mae' goes with identity"):
        trained([task("good", hidden=(20,)), task("bad", BASE.replace(loss="mae"), hidden=(20,))], digits)


def test_holding_out_all_rows_is_found_before_anything_is_trained(digits, monkeypatch):
    monkeypatch.setattr(in_process, "_train", lambda *arguments: pytest.fail("training began"))
    with pytest.raises(ConfigError, match="validation: expected fewer than the 2000 rows"):
        trained([task("all", BASE.replace(validation=2000), hidden=(20,))], digits)


def test_unforeseen_error_of_a_model_ends_the_bank(digits):
    def broken(network):
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("unforeseen")

    with pytest.raises(RuntimeError, match="unforeseen"):
        trained([task("good", BASE.replace(epochs=1000), hidden=(20,)), task("bad", hidden=(20,))._replace(start=broken)], digits)
    assert no_threads_left()


def no_threads_left():
    return not [thread for thread in threading.enumerate() if thread.name.startswith("fastmlp-bank")]


def test_closing_ends_all_trainings(digits):
    events = train_bank([task(str(seed), BASE.replace(epochs=100_000, seed=seed), hidden=(20,)) for seed in range(4)], digits, 2)
    assert isinstance(next(events), BankProgress)
    events.close()
    assert no_threads_left()


def test_progress_rises_to_the_end(digits):
    progress = [event for event in train_bank(MIXED, digits) if isinstance(event, BankProgress)]
    shares = [event.share for event in progress]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert (progress[-1].done, progress[-1].models) == (len(MIXED), len(MIXED))


def test_progress_is_the_part_of_the_work_and_the_time_it_took(digits):
    tasks = [task(str(epochs), BASE.replace(epochs=epochs), hidden=(20,)) for epochs in (1, 3)]
    began, shares = time.perf_counter(), {}
    for event in train_bank(tasks, digits, 1):
        if isinstance(event, BankProgress):
            assert 0 <= event.share <= 1
            assert 0 < event.seconds <= time.perf_counter() - began
            shares.setdefault(event.done, event.share)
    assert (shares[1], shares[2]) == (pytest.approx(0.25), pytest.approx(1.0))


def test_models_that_train_for_no_epoch_count_as_those_of_one(digits):
    tasks = [task(str(epochs), BASE.replace(epochs=epochs), hidden=(20,)) for epochs in (0, 3)]
    first = next(event for event in train_bank(tasks, digits, 1) if isinstance(event, BankProgress) and event.done)
    assert first.share == pytest.approx(0.25)


def test_no_tasks_are_no_trainings(digits):
    assert list(train_bank([], digits)) == []


def test_test_rows_stay_closed_unless_a_task_opens_them(mnist):
    data = mnist.first_rows(2000, 300)
    assert trained(MIXED[:2], data)["small"].test is None
    assert data.test_openings == []


def test_each_model_that_asks_for_it_opens_the_test_rows_once(mnist):
    data = mnist.first_rows(2000, 300)
    found = trained([one._replace(opens_test=True) for one in MIXED[:2]], data)
    assert sorted(data.test_openings) == ["x_test", "x_test", "y_test", "y_test"]
    for model in found.values():
        assert model.test == model.network.evaluate(data.x_test, data.y_test)


@pytest.fixture
def rows_seen(monkeypatch):
    """The training rows of each Trainer of a bank."""
    seen = []

    class Spy(in_process.Trainer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            seen.append(self.rows)

    monkeypatch.setattr(in_process, "Trainer", Spy)
    return seen


def test_all_models_read_the_bytes_of_the_data_set(digits, rows_seen):
    trained([MIXED[0], MIXED[1]], digits)
    assert len(rows_seen) == 4
    assert all(np.shares_memory(rows, digits.x_train) for rows in rows_seen)


def test_numbers_are_converted_once_for_all_models(rows_seen):
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((500, 4)), generator.integers(0, 2, 500)
    data = Dataset("table", x, y, x[:10].copy(), y[:10], kind="table", target_kind="classes", class_names=("a", "b"))
    trained([task(str(seed), BASE.replace(seed=seed, validation=50), hidden=(5,)) for seed in range(3)], data, 2)
    assert [rows.dtype for rows in rows_seen] == [np.float32] * 4  # the first while kernels are compiled
    assert all(np.shares_memory(rows_seen[0], rows) for rows in rows_seen)


def test_normalisation_is_fitted_once_for_all_models_on_the_same_rows(digits, monkeypatch):
    fitted = []
    fit = inputs.fit
    monkeypatch.setattr(inputs, "fit", lambda *given: fitted.append(given[3]) or fit(*given))
    settings = BASE.replace(normalize="standardize", epochs=1)
    trained([task(str(seed), settings.replace(seed=seed), hidden=(5,)) for seed in range(6)], digits, 1)
    assert [numbers if numbers is None else numbers.size for numbers in fitted] == [None, 1800]  # while kernels are compiled; for all six


def test_rows_of_a_task_are_those_that_it_names(digits):
    rows, held_out = np.arange(0, 2000, 2), np.arange(1, 2000, 4)
    one = task("fold", BASE.replace(validation=0), hidden=(20,))._replace(train_rows=rows, validation_rows=held_out)
    found = trained([one], digits)["fold"]
    network = fastmlp.Network([784, 20, 10], seed=0)
    x, y = digits.x_train, digits.y_train
    history = fastmlp.train(
        network, x[rows], y[rows], validation=(x[held_out], y[held_out]), epochs=2, batch_size=50, learning_rate=0.2
    )  # fmt: skip
    np.testing.assert_array_equal(found.network.parameters, network.parameters)
    assert scores(found.history) == scores(history)


def test_start_changes_the_weights_that_training_begins_with(digits):
    def zero(network):
        network.parameters[:] = 0

    found = trained([task("zero", hidden=(20,))._replace(start=zero)], digits)["zero"]
    network = fastmlp.Network([784, 20, 10])
    network.parameters[:] = 0
    fastmlp.train(network, digits.x_train, digits.y_train, validation=200, epochs=2, batch_size=50, learning_rate=0.2)
    np.testing.assert_array_equal(found.network.parameters, network.parameters)


def test_a_model_validates_on_one_thread(digits, monkeypatch):
    threads = []
    outputs = Programs.outputs
    monkeypatch.setattr(Programs, "outputs", lambda kept, net, x, kernels, n=None: threads.append(n) or outputs(kept, net, x, kernels, n))
    trained(MIXED[:3], digits)
    assert threads
    assert set(threads) == {1}


def test_nothing_is_compiled_in_the_threads():
    # in a process of its own, in which no kernel is loaded yet
    code = """
import fastmlp
from fastmlp.search.task import Trained
from fastmlp.search.in_process import prepare
from fastmlp.search.bank import train_bank
from fastmlp.compilation.waiting import compile_seconds
from tests.search.test_bank import MIXED
data = fastmlp.load_dataset("mnist").first_rows(2000, 300)
prepare(MIXED, data)
before = compile_seconds()
models = [event for event in train_bank(MIXED, data) if isinstance(event, Trained)]
print(len(models), before > 0, compile_seconds() == before)
"""
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out == f"{len(MIXED)} True True\n"


def test_preparing_trains_nothing(digits):
    prepare(MIXED, digits)
    assert digits.test_openings == []
    assert no_threads_left()
