"""How a training by steps goes: its losses and scores, and scikit-learn's rules of when it ends or slows down. Knows no kernels."""

import dataclasses
import math

import numpy as np

from fastmlp.estimators.parameters import Parameters
from fastmlp.training import stopping

SMALLEST_RATE = 1e-6  # at which "adaptive" ends
SHRINKAGE = 5.0  # by which it divides


@dataclasses.dataclass
class Course:
    """How a training went so far, over the calls of `fit` that go on from each other; the names are those of the estimators' attributes."""

    n_iter: int = 0
    t: int = 0  # rows trained on in all
    loss: float = math.inf
    loss_curve: list[float] = dataclasses.field(default_factory=list)
    best_loss: float | None = math.inf
    validation_scores: list[float] | None = None
    best_validation_score: float | None = None
    no_improvement_count: int = 0
    best_parameters: np.ndarray | None = None  # (P,) with the best score


def begin(course: Course, parameters: Parameters, is_judged: bool, weights: np.ndarray) -> None:
    """Make a course ready for one more call; is_judged: whether rows held out are scored; weights (P,): what it begins with."""
    course.n_iter = 0
    if is_judged and course.validation_scores is None:
        course.validation_scores, course.best_validation_score = [], -math.inf
        if parameters.restore_best:
            course.best_parameters = weights.copy()
    if parameters.early_stopping:
        course.best_loss = None
    elif course.best_loss is None:
        course.best_loss = math.inf


def judge(course: Course, parameters: Parameters, value: float | None, weights: np.ndarray) -> None:
    """Count the epochs without improvement after one more: by the score `value` of rows held out with early stopping, else by the loss."""
    if value is not None and course.validation_scores is not None and course.best_validation_score is not None:
        course.validation_scores.append(value)
        has_improved = not value < course.best_validation_score + parameters.tol
        if value > course.best_validation_score:
            course.best_validation_score = value
            if parameters.restore_best:
                course.best_parameters = weights.copy()
        if parameters.early_stopping:
            course.no_improvement_count = 0 if has_improved else course.no_improvement_count + 1
    if course.best_loss is not None:
        has_improved = not course.loss > course.best_loss - parameters.tol
        course.no_improvement_count = 0 if has_improved else course.no_improvement_count + 1
        course.best_loss = min(course.loss, course.best_loss)


def decide(course: Course, parameters: Parameters, learning_rate: float) -> tuple[str | None, float, str | None]:
    """Return why the training ends, None where it goes on; the learning rate from here on; and what to tell of it."""
    if not course.no_improvement_count > parameters.n_iter_no_change:
        return None, learning_rate, None
    what = "Validation score" if parameters.early_stopping else "Training loss"
    why = f"{what} did not improve more than tol={parameters.tol:f} for {parameters.n_iter_no_change:g} consecutive epochs."
    if parameters.learning_rate != "adaptive" or parameters.solver != "sgd":
        return stopping.PATIENCE, learning_rate, f"{why} Stopping."
    if learning_rate <= SMALLEST_RATE:
        return stopping.PATIENCE, learning_rate, f"{why} Learning rate too small. Stopping."
    course.no_improvement_count = 0
    slower = learning_rate / SHRINKAGE
    return None, slower, f"{why} Setting learning rate to {slower:f}"
