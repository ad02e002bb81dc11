"""scikit-learn: MLPClassifier, one partial_fit per epoch. It knows softmax over three classes or more, plain SGD and Adam.

Where there are two classes it would take one sigmoid output, which Adam moves by other steps: a third class that gets no probability
keeps the arithmetic that of everybody else, for one output more.
"""

import numpy as np

from fastmlp.benchmark.problem import Problem, flat, layers_of
from fastmlp.benchmark.runner import Prediction, Runner, Training, Unavailable, from_python
from fastmlp.benchmark.workloads import PREDICT, TRAIN, Workload

ACTIVATIONS = {"sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
LEAST_CLASSES = 3
NEVER = -1e30  # the bias of a class that gets no probability


def build(problem: Problem) -> Runner:
    """Return scikit-learn at work on a problem. How many threads BLAS uses was decided when the process started."""
    workload, x, y = problem.workload, problem.inputs, problem.y
    if not _fits(workload):
        raise Unavailable(f"MLPClassifier cannot do the same arithmetic as workload {workload.name}")
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        workload.sizes[1:-1], activation=ACTIVATIONS[workload.activation], solver=workload.optimizer, alpha=0.0,
        batch_size=workload.batch_size, learning_rate_init=workload.learning_rate, shuffle=False, momentum=0.0, nesterovs_momentum=False,
    )  # fmt: skip
    # the first call makes its arrays; they are then filled in place, because its optimizer holds them too
    n_outputs = workload.sizes[-1]
    model.partial_fit(x[: workload.batch_size], y[: workload.batch_size], classes=np.arange(max(n_outputs, LEAST_CLASSES)))
    model.coefs_[-1][:], model.intercepts_[-1][:] = 0.0, NEVER
    for index, (weight, bias) in enumerate(layers_of(problem.parameters, workload.sizes)):
        model.coefs_[index][:, : weight.shape[1]] = weight
        model.intercepts_[index][: len(bias)] = bias
    if workload.optimizer == "adam":  # it has taken a step with what was there before
        model._optimizer.t = 0
        for moment in (*model._optimizer.ms, *model._optimizer.vs):
            moment[:] = 0.0
    if workload.task == PREDICT:
        return Prediction(from_python(lambda row: int(model.predict(row)[0])), lambda row: row[None])

    ordered = np.empty_like(x)

    def epoch(order: np.ndarray) -> None:
        # its own shuffling cannot be given an order, so the rows are gathered at once instead of batch by batch
        model.partial_fit(np.take(x, order, axis=0, out=ordered), y[order])

    def parameters() -> np.ndarray:
        layers = zip(model.coefs_, model.intercepts_, workload.sizes[1:], strict=True)
        return flat([(weight[:, :n], bias[:n]) for weight, bias, n in layers])

    return Training(epoch, parameters)


def _fits(workload: Workload) -> bool:
    return workload.task in (TRAIN, PREDICT) and workload.output == "softmax" and workload.optimizer in ("sgd", "adam")
