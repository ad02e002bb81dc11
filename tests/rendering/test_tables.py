"""Tables: every number where it belongs, and 80 columns at most."""

import numpy as np
import pytest

from fastmlp.data.dataset import CLASS_NAMES
from fastmlp.inspect.gradient_check import Check, Combination
from fastmlp.rendering import tables
from fastmlp.training.history import Epoch

EPOCH = Epoch(12, 0.27698, 0.91953, 0.14494, 0.9612, 0.2, 1.0823, 51163.4)


def test_epoch_row_stands_under_its_heading():
    heading, row = tables.epoch_heading(), tables.epoch_row(EPOCH)
    assert len(heading) == len(row) <= 80
    assert row.split("  ")[-1].strip() == "51,163"
    assert row.split() == ["12", "0.2770", "91.95", "%", "0.1449", "96.12", "%", "1.08", "51,163"]


def test_epoch_without_validation_shows_dashes():
    row = tables.epoch_row(EPOCH._replace(validation_loss=None, validation_accuracy=None))
    assert row.count(tables.MISSING) == 2


@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist", "synthetic"])
def test_confusion_matrix_fits_80_columns(dataset):
    names = CLASS_NAMES[dataset]
    counts = np.full((len(names), len(names)), 5999)
    assert max(map(len, tables.confusion_matrix(counts, names).splitlines())) <= 80


def test_confusion_matrix_has_true_classes_in_rows():
    lines = tables.confusion_matrix(np.array([[8, 2], [0, 5]]), ("no", "yes")).splitlines()
    assert [line.split() for line in lines[2:]] == [["no", "yes", "%"], ["no", "8", "2", "80.0"], ["yes", ".", "5", "100.0"]]


def test_confusion_matrix_of_a_class_that_never_comes_shows_a_dash():
    lines = tables.confusion_matrix(np.array([[8, 2], [0, 0]]), ("no", "yes")).splitlines()
    assert lines[-1].split()[-1] == tables.MISSING


def test_long_class_names_get_numbers_at_the_columns():
    *_, heading, first, second = tables.confusion_matrix(np.eye(2, dtype=int), ("inside", "outside")).splitlines()
    assert heading.split() == ["0", "1", "%"]
    assert first.startswith("0 inside ")
    assert second.startswith("1 outside ")


def test_ranking_shows_the_three_most_probable():
    lines = tables.ranking(("a", "b", "c", "d"), np.array([0.1, 0.5, 0.05, 0.35], np.float32)).splitlines()
    assert [line.split()[0] for line in lines] == ["class", "b", "d", "a"]
    assert lines[1].split()[1:] == ["50.00", "%"]


def test_predictions_are_numbered_rows():
    lines = tables.predictions(("no", "yes"), [1, 0], [0.75, 0.5]).splitlines()
    assert [line.split() for line in lines] == [["row", "class", "probability"], ["0", "yes", "75.00", "%"], ["1", "no", "50.00", "%"]]


def test_wrong_gradient_says_where_to_look():
    good = Check("derivative of relu", "activations.py, relu_derivative", 1e-9, 80)
    wrong = Check("derivative of tanh", "activations.py, tanh_derivative", float("nan"), 80)
    _, first, second = tables.gradient_checks([good, wrong]).splitlines()
    assert first.split("  ") == ["derivative of relu", "1.0e-09"]
    assert second.endswith("nan  WRONG: activations.py, tanh_derivative")


def test_wrong_combination_is_marked():
    good = Combination("relu", "softmax", "cross_entropy", 1e-9, "weights[0]")
    _, first, second = tables.combinations([good, good._replace(error=0.5)]).splitlines()
    assert "WRONG" not in first
    assert second.endswith("5.0e-01  WRONG")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.0000"), (0.08123, "0.0812"), (2.5e-7, "2.500e-07"), (123456.0, "1.235e+05"), (None, tables.MISSING)]
)
def test_loss_has_four_digits(value, text):
    assert tables.loss(value) == text


def test_scores_of_a_regression_have_no_accuracy():
    assert tables.scores({"loss": 0.5, "accuracy": None}) == "loss 0.5000"
