"""`fastmlp evaluate`: the numbers of the network, in a form to read and in one to parse."""

import numpy as np
import pytest

import fastmlp


@pytest.fixture(scope="module")
def expected(digits, mnist):
    network = fastmlp.Network.load(digits)
    return network.evaluate(mnist.x_test, mnist.y_test), network.confusion_matrix(mnist.x_test, mnist.y_test)


def test_prints_scores_and_confusion_matrix(command, digits, expected):
    scores, counts = expected
    result = command("evaluate", digits, "mnist")
    lines = result.out.splitlines()
    assert result.code == 0
    assert lines[0] == f"accuracy {100 * scores['accuracy']:.2f} %, loss {scores['loss']:.4f}  (10,000 test rows of mnist)"
    assert [int(word) if word != "." else 0 for word in lines[-10].split()[1:-1]] == counts[0].tolist()
    assert [line.split()[0] for line in lines[-10:]] == list("0123456789")


def test_json_holds_scores_and_confusion_matrix(command, digits, expected):
    scores, counts = expected
    record = command("evaluate", digits, "mnist", "--json").json
    assert (record["command"], record["dataset"], record["split"], record["rows"]) == ("evaluate", "mnist", "test", 10_000)
    assert {name: record[name] for name in ("loss", "accuracy")} == scores
    assert record["confusion_matrix"] == counts.tolist()
    assert record["class_names"] == list("0123456789")


def test_rows_of_the_confusion_matrix_are_the_true_classes(command, digits, mnist):
    record = command("evaluate", digits, "mnist", "--json").json
    assert np.sum(record["confusion_matrix"], axis=1).tolist() == np.bincount(mnist.y_test).tolist()


def test_training_rows_can_be_evaluated(command, digits):
    assert command("evaluate", digits, "mnist", "--split", "train", "--json").json["rows"] == 60_000


def test_quiet_leaves_the_scores(command, digits):
    assert len(command("evaluate", digits, "mnist", "--quiet").out.splitlines()) == 1


def test_model_that_was_just_trained_scores_the_same(command):
    trained = command("train", "synthetic", "--epochs", "1", "--batch-size", "50", "--json").json
    evaluated = command("evaluate", trained["model"], "synthetic", "--json").json
    assert {name: evaluated[name] for name in ("loss", "accuracy")} == trained["test"]


def test_the_folder_of_a_training_knows_its_data_set(command):
    folder = command("train", "synthetic", "--epochs", "1", "--batch-size", "50", "--json").json["run_folder"]
    named, unnamed = (command("evaluate", folder, *data, "--json").json for data in (["synthetic"], []))
    fields = ("dataset", "rows", "loss", "accuracy", "confusion_matrix")
    assert [unnamed[field] for field in fields] == [named[field] for field in fields]


def test_a_model_file_alone_asks_for_a_data_set(command, digits):
    result = command("evaluate", digits)
    assert result.code == 2
    assert "DATASET: expected a data set, or a table, beside a model file, got none" in result.err
    missing = command("evaluate", "nowhere")
    assert (missing.code, "a model file or the folder of a run at 'nowhere', found nothing" in missing.err) == (66, True)
