"""scikit-learn: MLPClassifier, one partial_fit per epoch. It knows softmax over three classes or more, and plain SGD."""

import numpy as np

from fastmlp.benchmark.problem import Problem, flat, layers_of
from fastmlp.benchmark.runner import Prediction, Runner, Training, Unavailable, from_python
from fastmlp.benchmark.workloads import PREDICT, TRAIN, Workload

ACTIVATIONS = {"sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}


def build(problem: Problem) -> Runner:
    """Return scikit-learn at work on a problem. How many threads BLAS uses was decided when the process started."""
    workload, x, y = problem.workload, problem.inputs, problem.y
    if not _fits(workload):
        raise Unavailable(f"MLPClassifier cannot do the same arithmetic as workload {workload.name}")
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        workload.sizes[1:-1], activation=ACTIVATIONS[workload.activation], solver="sgd", alpha=0.0, batch_size=workload.batch_size,
        learning_rate_init=workload.learning_rate, shuffle=False, momentum=0.0, nesterovs_momentum=False,
    )  # fmt: skip
    # the first call makes its arrays; they are then filled in place, because its optimiser holds them too
    model.partial_fit(x[: workload.batch_size], y[: workload.batch_size], classes=np.arange(workload.sizes[-1]))
    for index, (weight, bias) in enumerate(layers_of(problem.parameters, workload.sizes)):
        model.coefs_[index][:] = weight
        model.intercepts_[index][:] = bias
    if workload.task == PREDICT:
        return Prediction(from_python(lambda row: int(model.predict(row)[0])), lambda row: row[None])

    ordered = np.empty_like(x)

    def epoch(order: np.ndarray) -> None:
        # its own shuffling cannot be given an order, so the rows are gathered at once instead of batch by batch
        model.partial_fit(np.take(x, order, axis=0, out=ordered), y[order])

    return Training(epoch, lambda: flat(list(zip(model.coefs_, model.intercepts_, strict=True))))


def _fits(workload: Workload) -> bool:
    return workload.task in (TRAIN, PREDICT) and workload.output == "softmax" and workload.sizes[-1] > 2 and workload.optimizer == "sgd"
