"""Tables of experiments: what is measured is shown with its spread, and nothing is claimed that the seeds do not bear out."""

import pytest

from fastmlp.course.claims import Row
from fastmlp.course.reproduce import Stage
from fastmlp.rendering import experiments
from fastmlp.search.cross_validation import CvResult
from fastmlp.search.repeat import EpochSummary
from fastmlp.search.statistics import Comparison, Summary
from fastmlp.search.sweep import Ranked, SweepResult
from fastmlp.search.task import Task, Trained
from fastmlp.settings import NetworkSettings, TrainingSettings

ACCURACY = Summary(0.97614, 0.00123, 0.9741, 0.9791, 30)
LOSS = Summary(0.08123, 0.00214, 0.0771, 0.0855, 30)


def ranked(rate, accuracy, diverged=0, epochs=5):
    return Ranked({"learning_rate": rate, "hidden": (300, 100)}, epochs, 5, diverged, accuracy, accuracy and LOSS, accuracy, LOSS)


def result(comparison, *settings, score="validation_accuracy"):
    return SweepResult(list(settings), comparison, score)


def test_repeat_has_a_row_per_epoch_with_mean_deviation_and_extremes():
    text = experiments.repeat([EpochSummary(1, LOSS, Summary(0.9876, 0.01, 0.9, 1.0, 30), LOSS, ACCURACY)])
    heading, row = text.splitlines()
    assert heading.split() == ["epoch", "accuracy", "%", "lowest", "highest", "loss", "lowest", "highest", "train", "%"]
    assert row.split() == ["1", "97.61", "±", "0.12", "97.41", "97.91", "0.0812", "±", "0.0021", "0.0771", "0.0855", "98.76"]
    assert max(map(len, text.splitlines())) <= 80


def test_repeat_says_how_many_models_got_as_far_as_an_epoch_where_some_stopped():
    few = Summary(0.5, 0.1, 0.4, 0.6, 2)
    text = experiments.repeat([EpochSummary(1, LOSS, ACCURACY, LOSS, ACCURACY), EpochSummary(2, few, few, few, few)])
    heading, *rows = text.splitlines()
    assert heading.split()[-1] == "runs"
    assert [row.split()[-1] for row in rows] == ["30", "2"]
    assert max(map(len, text.splitlines())) <= 80


def test_what_models_reached_at_their_ends_is_one_line():
    assert experiments.at_the_end({"accuracy": ACCURACY, "loss": LOSS}) == (
        "each at its end: validation accuracy 97.61 ± 0.12 %, loss 0.0812 ± 0.0021"
    )


def test_repeat_without_validation_rows_shows_that_nothing_was_measured():
    assert experiments.repeat([EpochSummary(1, LOSS, ACCURACY, None, None)]).splitlines()[1].split() == ["1", *["–"] * 6, "97.61"]


def test_sweep_shows_settings_as_they_are_typed():
    _, row = experiments.sweep(result(None, ranked(1e-05, ACCURACY))).splitlines()
    assert row.split()[:5] == ["1e-05", "300-100", "97.61", "±", "0.12"]


def test_sweep_says_what_diverged():
    text = experiments.sweep(result(None, ranked(0.1, ACCURACY), ranked(9.0, None, diverged=5)))
    assert text.splitlines()[2].split("  ")[-1] == "5 of 5 diverged"


def test_sweep_with_halving_shows_the_epochs_of_each():
    heading, *rows = experiments.sweep(result(None, ranked(0.1, ACCURACY), ranked(0.2, ACCURACY, epochs=2))).splitlines()
    assert heading.split()[2] == "epochs"
    assert [row.split()[2] for row in rows] == ["5", "2"]


@pytest.mark.parametrize(
    ("comparison", "score", "ahead", "words"),
    [
        (
            Comparison(0.0123, 0.002, 0.021, 5, True),
            "accuracy",
            "1.23 points better",
            "interval 0.20 to 2.10 points, 5 seeds): beyond",
        ),
        (Comparison(0.001, -0.002, 0.004, 5, False), "accuracy", "0.10 points better", "-0.20 to 0.40 points, 5 seeds): not beyond"),
        (Comparison(-0.0314, -0.04, -0.02, 5, True), "accuracy", "3.14 points worse", "-4.00 to -2.00 points, 5 seeds): beyond"),
        (Comparison(0.02, 0.01, 0.03, 5, True), "loss", "0.0200 of loss better", "0.0100 to 0.0300 of loss, 5 seeds): beyond"),
        (Comparison(0.01, None, None, 2, None), "accuracy", "1.00 points better", "; 2 seeds are too few to tell that from noise"),
    ],
)
def test_verdict_says_whether_the_best_is_better_than_chance(comparison, score, ahead, words):
    text = experiments.verdict(result(comparison, ranked(0.1, ACCURACY), ranked(0.2, ACCURACY), score=f"validation_{score}"))
    best, lead = text.splitlines()
    assert best == "best by validation: learning_rate=0.1 hidden=300-100"
    assert lead.startswith(f"{ahead} than learning_rate=0.2 hidden=300-100")
    assert words in lead


def test_verdict_names_no_best_where_all_diverged():
    assert experiments.verdict(result(None, ranked(0.1, None, diverged=5))) == "no setting is best: every model diverged"


def test_a_sweep_of_predicted_numbers_is_told_by_r2():
    of_numbers = ranked(0.1, None)._replace(validation_loss=LOSS, validation_r2=Summary(0.91, 0.02, 0.9, 0.93, 5))
    heading, row = experiments.sweep(result(None, of_numbers, score="validation_loss")).splitlines()
    assert heading.split() == ["learning_rate", "hidden", "R²", "loss"]
    assert row.split()[2:] == ["0.9100", "±", "0.0200", "0.0812", "±", "0.0021"]


def test_cross_validation_says_over_how_many_models():
    assert experiments.cross_validation(CvResult(LOSS, ACCURACY, 6, 1)) == (
        "accuracy 97.61 ± 0.12 %, loss 0.0812 ± 0.0021 (mean ± standard deviation of 5 models, each on its own fold); 1 diverged"
    )


ROW = Row(
    "4a", "learning rates", "0.01 is best", "validation accuracy", ACCURACY, {"learning_rate": 0.01, "hidden": [300]}, "yes", "beyond noise"
)


def test_reproduction_sets_what_was_measured_beside_what_the_report_says():
    text = experiments.reproduction([ROW], {"hidden": (300,), "learning_rate": 0.1})
    assert text.splitlines() == [
        "unless a claim says otherwise: hidden 300, learning rate 0.1",
        "",
        "4a  learning rates",
        "  report    0.01 is best",
        "  measured  validation accuracy 97.61 ± 0.12 % (n = 30)",
        "  the same  yes",
        "  with      learning rate 0.01",
        "  note      beyond noise",
    ]


def test_reproduction_shows_what_could_not_be_measured():
    assert "  measured  –\n" in experiments.reproduction([ROW._replace(measured=None)], {})


def test_reproduction_does_not_call_a_loss_a_percentage():
    row = ROW._replace(quantity="training loss", measured=Summary(0.6931, None, 0.6931, 0.6931, 1))
    assert "  measured  training loss 0.6931\n" in experiments.reproduction([row], {})


TASK = Task("learning_rate=0.1 seed=3", NetworkSettings(), TrainingSettings(seed=3))
MODEL = Trained(TASK, None, [], {"loss": 0.1, "accuracy": 0.975}, None, 1.0, "done")
NOTHING = {"loss": None, "accuracy": None}


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (MODEL, "validation accuracy 97.50 %"),
        (MODEL._replace(validation={"loss": 0.1, "accuracy": None}), "validation loss 0.1000"),
        (MODEL._replace(validation={"loss": 0.1, "accuracy": None, "r2": 0.9}), "validation R² 0.9000, loss 0.1000"),
        (MODEL._replace(validation=NOTHING, test={"loss": 0.2, "accuracy": 0.96}), "test accuracy 96.00 %"),
        (MODEL._replace(validation=NOTHING), "trained"),
        (MODEL._replace(validation=NOTHING, outcome="diverged"), "diverged in epoch 1"),
    ],
)
def test_finished_model_is_one_line(model, text):
    assert experiments.trained(model) == f"learning_rate=0.1 seed=3: {text}"


def test_experiment_that_begins_says_how_many_models_it_trains():
    assert experiments.stage(Stage("2", "20 epochs", 25)) == "20 epochs: 25 models"
    assert experiments.stage(Stage("0", "by hand", 0)) == "by hand"
