"""Training with L-BFGS as scikit-learn does it: SciPy's L-BFGS-B on the loss of all rows, computed in float64 by the kernels."""

from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from fastmlp.engines import choice
from fastmlp.engines.tiled import FORWARD_ROWS
from fastmlp.engines.wanted import Steps
from fastmlp.errors import DataError
from fastmlp.estimators import rows as of_rows
from fastmlp.estimators.parameters import Parameters
from fastmlp.estimators.problems import Problem
from fastmlp.estimators.stochastic import NOT_FINITE, Rows
from fastmlp.kernels.textbook_step import LOSS_SUM, TOTALS
from fastmlp.kernels.updates import GRADIENT, RATES
from fastmlp.network import Network

EXACT = np.dtype(np.float64)


class Minimised(NamedTuple):
    """Where a minimisation ended: iterations, the loss as it is told, and why it did not converge, None where it did."""

    n_iter: int
    loss: float
    complaint: str | None


class _Loss:
    """The loss of all rows and its gradient as functions of the parameters (P,) float64."""

    def __init__(self, network: Network, alpha: float, problem: Problem, rows: Rows, threads: int) -> None:
        self._alpha, self._problem, self._rows = alpha, problem, rows
        n, x = rows.x.shape[0], rows.x
        counted = np.ones(n) if rows.weight is None else rows.weight
        self._sum = float(counted.sum())
        self._target = rows.target.astype(EXACT)
        self._target.flags.writeable = False
        self._weight = problem.gradient_factor * counted
        constants = problem.constants(rows.target)
        self._constant = 0.0 if constants is None else float(np.average(constants, weights=rows.weight))
        self._is_weight = np.zeros(network.parameters.size, bool)
        first = 0
        for weight, bias in zip(network.weights, network.biases, strict=True):
            self._is_weight[first : first + weight.size] = True
            first += weight.size + bias.size
        self._block = max(1, min(n, FORWARD_ROWS))
        self._one, self._zero = np.ones(network.n_inputs), np.zeros(network.n_inputs)
        some = next(of_rows.blocks(x[: choice.SAMPLE_ROWS], EXACT))[0]
        self._program = choice.choose(
            choice.Wanted(
                network.sizes, network.hidden_activations, EXACT, self._block, threads, loss=problem.form, update=GRADIENT.name, x=some,
                trained_on=np.arange(some.shape[0]),
            )
        )  # fmt: skip
        self._program.prepare(some, self._target, problem.numbers)

    def __call__(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss that is minimised, and its gradient (P,)."""
        data, gradient = self._of_rows(parameters)
        weights = np.where(self._is_weight, parameters, 0.0)
        value = data + 0.5 * self._alpha * float(weights.dot(weights)) / self._sum
        return value, gradient + self._alpha / self._sum * weights

    def told(self, parameters: np.ndarray) -> float:
        """Return the loss as scikit-learn tells it."""
        weights = parameters[self._is_weight]
        data = self._of_rows(parameters)[0] * self._problem.loss_factor
        return data + self._constant + 0.5 * self._alpha * float(weights.dot(weights)) / self._sum

    def _of_rows(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss of the rows, without the penalty, and its gradient (P,); infinite where it is no number."""
        gradient, total = np.zeros_like(parameters), np.zeros(TOTALS)
        for x, first, end in of_rows.blocks(self._rows.x, EXACT):
            count = end - first
            steps = Steps(
                parameters=parameters, m_state=gradient, v_state=np.zeros(0), total=total, x=x, target=self._target[first:end],
                sample_weight=self._weight[first:end], order=np.arange(count), first=0, last=count, batch_size=self._block,
                scale=self._one, shift=self._zero, rates=np.zeros((-(-count // self._block), RATES)), mean=False,
                loss_numbers=self._problem.numbers,
            )  # fmt: skip
            if self._program.train(steps) < 0:
                return np.inf, np.zeros_like(parameters)
        return float(total[LOSS_SUM]) / self._sum, gradient / self._sum


def minimise(network: Network, parameters: Parameters, problem: Problem, rows: Rows, threads: int) -> Minimised:
    """Train a network in place; parameters: max_iter, max_fun, tol, alpha and verbose count. Raises DataError where no loss is finite."""
    loss = _Loss(network, parameters.alpha, problem, rows, threads)
    told: list[float] = []

    def tell(intermediate_result: Any) -> None:
        from fastmlp.rendering import iterations

        told.append(float(intermediate_result.fun))
        iterations.iteration(len(told), told[-1])

    start = network.parameters.astype(EXACT)
    if not np.isfinite(loss(start)[0]):
        raise DataError(NOT_FINITE)
    found = scipy.optimize.minimize(
        loss, start, method="L-BFGS-B", jac=True, callback=tell if parameters.verbose else None,
        options={"maxfun": parameters.max_fun, "maxiter": parameters.max_iter, "gtol": parameters.tol},
    )  # fmt: skip
    if not np.isfinite(found.x).all():
        raise DataError(NOT_FINITE)
    with np.errstate(over="ignore"):
        network.parameters[:] = found.x
    complaint = None if found.status == 0 else str(found.message)
    return Minimised(min(int(found.nit), parameters.max_iter), loss.told(found.x), complaint)
