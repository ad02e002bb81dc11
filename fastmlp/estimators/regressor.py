"""MLPRegressor: scikit-learn's regressor, trained by fastmlp."""

import contextlib
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastmlp.estimators import columns as of_columns
from fastmlp.estimators import ensemble, files, fitting, parameters, problems, scores, tasks, workers
from fastmlp.estimators import rows as of_rows
from fastmlp.estimators.classifier import takes_steps
from fastmlp.estimators.fitting import Given


class MLPRegressor(tasks.CallbackSupport, RegressorMixin, BaseEstimator):
    """scikit-learn's MLPRegressor, trained by fastmlp: every parameter of it with its meaning, and more; docs/from-scikit-learn.md.

    loss: "squared_error" and "poisson" as in scikit-learn, "absolute_error", "huber" with its huber_delta, "log_cosh", "quantile" with the
    quantile to predict, or one of your own. The other parameters are those of fastmlp.MLPClassifier.

    With n_estimators the mean of what the networks predict is predicted. After fit: the attributes of MLPClassifier without classes_.

    >>> from fastmlp import MLPRegressor
    >>> model = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", random_state=1).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> model.predict([[1.5]]).round(1)
    array([4.])
    """

    coefs_ = property(fitting.weights_of, fitting.assign_weights)
    intercepts_ = property(fitting.biases_of, fitting.assign_biases)
    networks_ = property(ensemble.networks_of)

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        huber_delta: float = 1.0,
        quantile: float = 0.5,
        dropout: Any = 0.0,
        schedule: str | None = None,
        warmup_epochs: float | None = None,
        gamma: float | None = None,
        step_size: float | None = None,
        end_factor: float | None = None,
        weight_decay: float | None = None,
        restore_best: bool | None = None,
        dtype: Any = "float32",
        n_estimators: int = 1,
        threads: int | None = None,
        callbacks: Any = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.huber_delta = huber_delta
        self.quantile = quantile
        self.dropout = dropout
        self.schedule = schedule
        self.warmup_epochs = warmup_epochs
        self.gamma = gamma
        self.step_size = step_size
        self.end_factor = end_factor
        self.weight_decay = weight_decay
        self.restore_best = restore_best
        self.dtype = dtype
        self.n_estimators = n_estimators
        self.threads = threads
        self.callbacks = callbacks

    @tasks.managed
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None
    ) -> Self:  # fmt: skip
        """Train on rows X (n, K), dense or sparse, and numbers y (n,) or (n, T).

        sample_weight (n,): what each row counts. X_val, y_val, sample_weight_val: rows to judge each epoch by, in place of those that early
        stopping holds out. Raises DataError or ConfigError, both ValueError.
        """
        goes_on = bool(self.warm_start) and fitting.has_weights(self)
        self._check_and_train(X, y, sample_weight, (X_val, y_val, sample_weight_val), goes_on=goes_on, is_single=False)
        return self

    @available_if(takes_steps)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch over these rows, the optimizer as the last call left it."""
        self._check_and_train(X, y, sample_weight, (None, None, None), goes_on=fitting.has_weights(self), is_single=True)
        return self

    def _check_and_train(
        self, x: Any, y: Any, sample_weight: Any, judged: tuple[Any, Any, Any], *, goes_on: bool, is_single: bool
    ) -> None:  # fmt: skip
        checked = parameters.checked(self)
        x, y = of_rows.checked(self, x, y, dtype=checked.dtype, reset=not goes_on, numeric=True)
        with contextlib.nullcontext() if is_single else tasks.of_fit(self, x, y, sample_weight, fitting.most_epochs(checked)):
            self._train(x, _columns(y), sample_weight, checked, judged, goes_on=goes_on, is_single=is_single)

    def _train(
        self, x: Any, target: np.ndarray, sample_weight: Any, checked: parameters.Parameters, judged: tuple[Any, Any, Any], *,
        goes_on: bool, is_single: bool,
    ) -> None:  # fmt: skip
        def train_one(member: Any, of_member: parameters.Parameters) -> None:
            member._train(x, target, sample_weight, of_member, judged, goes_on=goes_on, is_single=is_single)

        ensemble.check_count(self, checked, goes_on)
        if checked.n_estimators > 1:
            ensemble.train(self, checked, train_one, goes_on=goes_on)
            return
        problem = problems.of_numbers(target.shape[1], self.loss, self.huber_delta, self.quantile)
        held_out = None
        fitting.check_judged(*judged)
        if judged[0] is not None:
            x_val, y_val = of_rows.checked(self, judged[0], judged[1], dtype=checked.dtype, reset=False, numeric=True)
            held_out = (x_val, _columns(y_val), fitting.as_weights(judged[2], x_val.shape[0], "sample_weight_val"))
        told = tasks.of_epochs(self, x, target[:, 0] if problem.n_outputs == 1 else target, sample_weight, fitting.known_of(problem))
        given = Given(x, target, fitting.as_weights(sample_weight, x.shape[0]), held_out, None, told)
        fitting.train(self, checked, problem, given, None, goes_on=goes_on, is_single=is_single)

    def predict(self, X: Any) -> np.ndarray:
        """Return numbers (n,), or (n, T), for rows X (n, K): float32 for X of float32, else float64."""
        check_is_fitted(self, "networks_")
        networks = self.networks_
        rows = of_rows.checked_rows(self, X, None if self.dtype is None else networks[0].dtype)
        threads = workers.threads(self.threads)
        found = ensemble.mean([scores.values(self._problem, of_rows.outputs(network, rows, threads)) for network in networks])
        found = found.astype(of_rows.of_answers(X), copy=False)
        return found[:, 0] if self.n_outputs_ == 1 else found

    def save(self, path: Any) -> None:
        """Write the estimator to a safetensors file, atomically: its network and its parameters. fastmlp.Network.load reads it, too.

        Callbacks and a random_state that is no number are left out, and so is the optimizer: partial_fit begins with a new one.
        """
        files.save(self, path)

    @classmethod
    def load(cls, path: Any) -> Self:
        """Read an estimator that `save` wrote. Raises ModelFileError where the file is damaged, or holds none of this kind."""
        estimator, _ = files.load(cls, path)
        for one in (estimator, *ensemble.members_of(estimator)):
            one._problem = problems.of_numbers(one.n_outputs_, one.loss, one.huber_delta, one.quantile)
        loaded: Self = estimator
        return loaded

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = of_columns.known_of(self) is not None
        tags.target_tags.multi_output = True
        return tags


def _columns(y: np.ndarray) -> np.ndarray:
    """Return targets as (n, T)."""
    if y.ndim == 2 and y.shape[1] > 1:
        return y
    column: np.ndarray = column_or_1d(y, warn=True)
    return column[:, None]
