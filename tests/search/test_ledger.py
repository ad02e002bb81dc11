"""The ledger of finished models survives a kill, and nothing finished is trained again."""

import json

import pytest

import fastmlp
from fastmlp.errors import DataError
from fastmlp.search.ledger import Ledger, complete
from fastmlp.search.repeat import repeat_tasks, summarise_epochs, summarise_scores, task_key
from fastmlp.search.task import Trained
from fastmlp.settings import NetworkSettings, TrainingSettings
from fastmlp.storage.reading import Model

TASKS = repeat_tasks(NetworkSettings(hidden=(3,)), TrainingSettings(epochs=2, batch_size=50, learning_rate=0.5, validation=200), 3)


@pytest.fixture(scope="module")
def points():
    return fastmlp.load_dataset("synthetic").first_rows(1000, 50)


def keys(events):
    return [event.task.key for event in events if isinstance(event, Trained)]


def test_line_holds_what_readers_expect(points, tmp_path):
    path = tmp_path / "models.jsonl"
    keys(complete(TASKS[:1], points, Ledger(path)))
    [line] = path.read_text().splitlines()
    record = json.loads(line)
    assert tuple(record) == Model._fields
    assert (record["key"], record["seed"], record["fold"], record["outcome"], record["test"]) == ("seed=0", 0, None, "done", None)
    assert record["history"]["epoch"] == [1, 2]
    assert record["validation"] == {
        "loss": record["history"]["validation_loss"][-1],
        "accuracy": record["history"]["validation_accuracy"][-1],
    }


def test_finished_models_are_not_trained_again(points, tmp_path):
    path = tmp_path / "models.jsonl"
    keys(complete(TASKS[:2], points, Ledger(path)))
    assert keys(complete(TASKS, points, Ledger(path))) == ["seed=2"]
    assert keys(complete(TASKS, points, Ledger(path))) == []


def test_a_model_that_diverged_is_finished_too(points, tmp_path):
    path = tmp_path / "models.jsonl"
    tasks = [task._replace(training=task.training.replace(learning_rate=1e30, optimizer="sgd")) for task in TASKS[:1]]
    keys(complete(tasks, points, Ledger(path)))
    record = Ledger(path)[tasks[0].key]
    assert (record["outcome"], record["validation"]["loss"], record["validation"]["accuracy"]) == ("diverged", None, None)
    assert keys(complete(tasks, points, Ledger(path))) == []


def test_line_that_a_crash_tore_is_trained_again(points, tmp_path):
    path = tmp_path / "models.jsonl"
    keys(complete(TASKS, points, Ledger(path), 1))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][: len(lines[2]) // 2])
    assert keys(complete(TASKS, points, Ledger(path), 1)) == [json.loads(lines[2])["key"]]
    assert [json.loads(line)["key"] for line in path.read_bytes().splitlines()] == [json.loads(line)["key"] for line in lines]


def test_line_that_is_no_model_is_an_error(tmp_path):
    path = tmp_path / "models.jsonl"
    path.write_text('{"key": "a"}\n')
    with pytest.raises(DataError, match="expected a history of numbers in line 1, found something else; the file is damaged"):
        Ledger(path)


def test_records_come_in_the_order_of_tasks(points):
    ledger = Ledger()
    keys(complete(TASKS[::-1], points, ledger, 1))
    assert [record["seed"] for record in ledger.of(TASKS)] == [0, 1, 2]


def test_progress_counts_the_models_that_were_there(points):
    ledger = Ledger()
    keys(complete(TASKS[:2], points, ledger))
    first = next(event for event in complete(TASKS, points, ledger) if not isinstance(event, Trained))
    assert (first.done, first.models) == (2, 3)
    assert first.share > 2 / 3


def test_key_names_changes_and_seed():
    assert task_key({"hidden": (300, 100), "learning_rate": 1e-05, "nesterov": True}, 3) == (
        "hidden=300-100 learning_rate=1e-05 nesterov=true seed=3"
    )


def history(accuracy):
    n = len(accuracy)
    return {"epoch": [*range(1, n + 1)], "train_loss": [0.5] * n, "train_accuracy": [None] * n, "validation_loss": [0.25] * n,
            "validation_accuracy": accuracy}  # fmt: skip


def test_epochs_are_summarised_without_what_diverged():
    records = [{"outcome": "done", "history": history([0.8, 0.9])}, {"outcome": "done", "history": history([0.6, 0.7])},
               {"outcome": "diverged", "history": history([0.1])}]  # fmt: skip
    first, second = summarise_epochs(records)
    assert (first.epoch, second.epoch) == (1, 2)
    assert first.validation_accuracy.mean == pytest.approx(0.7)
    assert (second.validation_accuracy.lowest, second.validation_accuracy.highest, second.validation_accuracy.n) == (0.7, 0.9, 2)
    assert first.train_accuracy is None
    assert first.validation_loss.std == 0.0


def test_epochs_that_not_every_model_reached_are_summarised_over_those_that_did():
    records = [{"outcome": "done", "history": history(accuracy)} for accuracy in ([0.8], [0.6, 0.7, 0.5], [0.6, 0.9])]
    assert [each.validation_accuracy.n for each in summarise_epochs(records)] == [3, 2, 1]
    assert summarise_epochs(records)[1].validation_accuracy.mean == pytest.approx(0.8)


def test_scores_are_summarised_over_what_was_measured():
    records = [{"outcome": "done", "test": {"loss": 1.0, "accuracy": 0.5}}, {"outcome": "done", "test": {"loss": 2.0, "accuracy": 0.7}},
               {"outcome": "diverged", "test": None}]  # fmt: skip
    found = summarise_scores(records, "test")
    assert (found["loss"].mean, found["accuracy"].n) == (1.5, 2)
