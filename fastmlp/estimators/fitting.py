"""fit and partial_fit of both estimators: from checked rows to a trained network, and what is known of it afterwards."""

import contextlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from fastmlp.errors import ConfigError, DataError, warn
from fastmlp.estimators import columns as of_columns
from fastmlp.estimators import course as of_course
from fastmlp.estimators import rows as of_rows
from fastmlp.estimators import workers
from fastmlp.estimators.course import Course
from fastmlp.estimators.ensemble import Stop
from fastmlp.estimators.parameters import Parameters
from fastmlp.estimators.problems import Problem, check_counts
from fastmlp.estimators.quasi_newton import minimise
from fastmlp.estimators.stochastic import DIVERGED, NOT_FINITE, Epochs, Optimizer, Rows, new_optimizer
from fastmlp.network import Network
from fastmlp.network.arrays import as_numbers, frozen
from fastmlp.preprocessing import InputScaling, targets
from fastmlp.training import stopping
from fastmlp.training.callbacks import hooks
from fastmlp.training.fit import fit as run
from fastmlp.training.validation_rows import warn_of_scale

FEWEST_HELD_OUT = 2


class Given(NamedTuple):
    """What one call trains on: X, targets (n, T) as numbers, what each row counts, and rows of one's own to judge by."""

    x: Any
    target: np.ndarray
    weight: np.ndarray | None
    held_out: tuple[Any, np.ndarray, np.ndarray | None] | None
    stratify: np.ndarray | None  # (n,) classes that rows held out are drawn from in proportion
    told: tuple[Any, ...] = ()  # callbacks beside those of the estimator


def as_weights(sample_weight: Any, n_rows: int, name: str = "sample_weight") -> np.ndarray | None:
    """Return weights of rows as float64 (n,), None for none; DataError for negative ones, for others than numbers, and for all 0."""
    if sample_weight is None:
        return None
    try:
        is_one = np.asarray(sample_weight).ndim == 0
    except ValueError:  # as_numbers says that it is ragged
        is_one = False
    weight = as_numbers([sample_weight] if is_one else sample_weight, name).astype(np.float64)
    if is_one:
        weight = np.full(n_rows, weight[0])
    if weight.ndim != 1:
        raise DataError(f"Sample weights must be 1D array or scalar, got {weight.ndim}D array; {name}: expected ({n_rows},)")
    if weight.shape != (n_rows,):
        raise DataError(f"{name}.shape == {weight.shape}, expected ({n_rows},), one number per row")
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise DataError(f"{name}: expected finite numbers of at least 0, got {weight[~(np.isfinite(weight) & (weight >= 0))][0]:g}")
    if not weight.any():
        raise DataError(f"Sample weights must contain at least one non-zero number; {name}: all {n_rows} are 0")
    return weight


def check_judged(x: Any, y: Any, sample_weight: Any) -> None:
    """Raise DataError where rows to judge by lack their targets, or the other way round."""
    if (x is None) != (y is None):
        there, absent = ("y_val", "X_val") if x is None else ("X_val", "y_val")
        raise DataError(f"{absent}: expected it beside {there}, got none; give both, or neither")
    if x is None and sample_weight is not None:
        raise DataError("sample_weight_val: expected none without X_val and y_val, got some; give all of them")


def train(estimator: Any, parameters: Parameters, problem: Problem, given: Given, classes: Any, *, goes_on: bool, is_single: bool) -> None:
    """Train the network of an estimator and set what is known of it.

    classes: labels that the network answers by, where it can. goes_on: from the network that there is; is_single: one epoch, the optimizer
    as the last call left it.
    """
    if parameters.early_stopping and is_single:
        raise DataError("partial_fit does not support early_stopping=True")
    of_user = hooks.checked_list(estimator.callbacks)
    if parameters.solver == "lbfgs":
        asked = [each for each in of_user if not isinstance(each, Stop)]  # a search, or an ensemble, lends one to whatever it trains
        _refuse_without_epochs(callbacks=len(asked), restore_best=estimator.restore_best, X_val=given.held_out is not None)
    callbacks = hooks.Callbacks((*of_user, *given.told))
    random_state = check_random_state(estimator.random_state)
    dtype = _dtype(estimator, parameters, given.x, goes_on)
    check_counts(problem, given.target)
    network = _network(estimator, parameters, problem, given.x.shape[1], dtype, random_state, goes_on)
    rows, held_out = _split(parameters, problem, given, random_state, dtype)
    if parameters.restore_best and held_out is None and parameters.solver != "lbfgs":
        raise ConfigError("restore_best: expected rows to judge by, got none; set early_stopping, or give X_val and y_val to fit")
    _adopt(network, problem, classes)
    threads = workers.threads(parameters.threads)
    course = estimator._course if goes_on and getattr(estimator, "_course", None) is not None else Course()
    optimizer = None
    if parameters.solver == "lbfgs":
        found = minimise(network, parameters, problem, rows, threads)
        course.n_iter, course.loss = found.n_iter, found.loss
        if found.complaint is not None:
            _warn(f"lbfgs failed to converge after {found.n_iter} iteration(s) ({found.complaint}); scale the data, or increase max_iter")
    else:
        optimizer = _optimizer(estimator, network, parameters, is_single)
        _by_steps(network, parameters, problem, rows, held_out, optimizer, course, random_state, threads, callbacks, is_single)
    # what is known changes when all that may fail is done
    network.columns = of_columns.known_of(estimator)
    estimator.network_, estimator._course, estimator._problem, estimator._optimizer = network, course, problem, optimizer
    estimator.n_outputs_, estimator.n_layers_ = problem.n_outputs, len(network.sizes)
    estimator.out_activation_, estimator._held = _out_activation(problem), None
    vars(estimator).pop("estimators_", None)
    _set_attributes(estimator, course, is_stochastic=optimizer is not None)


def _refuse_without_epochs(**asked: Any) -> None:
    """Raise ConfigError for what is asked for and needs epochs, {its name: how}."""
    for name, how in asked.items():
        if how:
            raise ConfigError(f"{name}: expected none with lbfgs, which has iterations in place of epochs; use adam, or leave {name} out")


def most_epochs(parameters: Parameters) -> int:
    """Return the number of epochs of a fit, at most; 0 where there are none, or those of several networks."""
    return 0 if parameters.solver == "lbfgs" or parameters.n_estimators > 1 else parameters.max_iter


def known_of(problem: Problem) -> dict[str, Any]:
    """Return what an estimator of a problem knows, beside its network."""
    return {"_problem": problem, "n_outputs_": problem.n_outputs, "out_activation_": _out_activation(problem), "estimators_": ()}


def _dtype(estimator: Any, parameters: Parameters, x: Any, goes_on: bool) -> np.dtype:
    """Return the type of the parameters: as asked for, that of the network that goes on, or that of X."""
    network = getattr(estimator, "network_", None)
    if goes_on and network is not None:
        if parameters.dtype is not None and parameters.dtype != network.dtype:
            raise ConfigError(f"dtype: expected {network.dtype} as in the fit that this goes on from, got {parameters.dtype}")
        found: np.dtype = network.dtype
        return found
    if parameters.dtype is not None:
        return parameters.dtype
    return np.dtype(x.dtype if x.dtype.kind == "f" else np.float64)


def _optimizer(estimator: Any, network: Network, parameters: Parameters, is_single: bool) -> Optimizer:
    """Return the optimizer of a training: a new one, or for single epochs the one that the last of them left."""
    new = new_optimizer(network, parameters)
    kept: Optimizer | None = getattr(estimator, "_optimizer", None) if is_single else None
    if kept is None or [state.size for state in kept.states] != [state.size for state in new.states]:
        return new
    return kept


def _by_steps(
    network: Network, parameters: Parameters, problem: Problem, rows: Rows, held_out: Rows | None, optimizer: Optimizer, course: Course,
    random_state: np.random.RandomState, threads: int, callbacks: hooks.Callbacks, is_single: bool,
) -> None:  # fmt: skip
    n_rows = rows.x.shape[0]
    if parameters.batch_size is not None and parameters.batch_size > n_rows:
        warn(
            f"Got `batch_size` less than 1 or larger than sample size. It is going to be clipped: {parameters.batch_size} to {n_rows}",
        )
    dropout = parameters.settings.dropout
    seed = int(random_state.randint(np.iinfo(np.int32).max)) if np.any(dropout) else 0
    of_course.begin(course, parameters, held_out is not None, network.parameters)
    is_told = callbacks.hears(hooks.EPOCH_BEGIN, hooks.VALIDATION_END, hooks.EPOCH_END)
    epochs = Epochs(
        network, parameters, problem, rows, held_out, optimizer, course, random_state, threads, seed, is_single=is_single, is_told=is_told
    )  # fmt: skip
    try:
        with contextlib.closing(run(epochs, callbacks)) as events:
            for _ in events:
                pass
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
    if epochs.stopped == DIVERGED:
        _warn(f"Stochastic Optimizer: the loss was not finite in epoch {course.n_iter}; the best weights before are kept.")
    elif epochs.stopped == stopping.EPOCHS and not is_single:
        _warn(f"Stochastic Optimizer: Maximum iterations ({parameters.max_iter}) reached and the optimization hasn't converged yet.")
    if not np.isfinite(network.parameters).all():
        raise DataError(NOT_FINITE)


def _network(
    estimator: Any, parameters: Parameters, problem: Problem, n_features: int, dtype: np.dtype, random_state: np.random.RandomState,
    goes_on: bool,
) -> Network:  # fmt: skip
    """Return the network to train: the one that there is, one of weights that were assigned, or a new one drawn as scikit-learn draws."""
    sizes = (n_features, *parameters.hidden, problem.n_outputs)
    if goes_on:
        network: Network | None = getattr(estimator, "network_", None)
        if network is None:
            weights, biases = estimator._held
            network = Network.from_weights(weights, biases, parameters.activations or "identity", problem.output, dtype=dtype.name)
        if network.sizes != sizes or network.output != problem.output or network.hidden_activations != parameters.activations:
            raise ConfigError(
                f"hidden_layer_sizes, activation, y: expected the layers {'-'.join(map(str, network.sizes))} of the fit that this goes on "
                f"from, got {'-'.join(map(str, sizes))}; set warm_start=False, or use a new estimator"
            )
        return network
    network = Network(sizes, parameters.activations or "identity", problem.output, initializer="zeros", dtype=dtype.name)
    for weight, bias, is_logistic in zip(network.weights, network.biases, parameters.is_logistic, strict=True):
        bound = np.sqrt((2.0 if is_logistic else 6.0) / sum(weight.shape))
        weight[:] = random_state.uniform(-bound, bound, weight.shape)
        bias[:] = random_state.uniform(-bound, bound, bias.shape)
    return network


def _split(
    parameters: Parameters, problem: Problem, given: Given, random_state: np.random.RandomState, dtype: np.dtype
) -> tuple[Rows, Rows | None]:  # fmt: skip
    """Return the rows to train on and those to judge by, None where there are none."""
    x, target, weight = given.x, given.target, given.weight
    if given.held_out is not None:
        if not (of_rows.is_sparse(x) or of_rows.is_sparse(given.held_out[0])):
            warn_of_scale("X_val", given.held_out[0], x)
        if problem.output == "identity":
            warn_of_scale("y_val", given.held_out[1], target)
        return _rows(x, target, weight, dtype), _rows(*given.held_out, dtype)
    if not parameters.early_stopping or parameters.solver == "lbfgs":
        return _rows(x, target, weight, dtype), None
    train, held_out = train_test_split(
        np.arange(x.shape[0]), random_state=random_state, test_size=parameters.validation_fraction, stratify=given.stratify
    )
    if held_out.size < FEWEST_HELD_OUT:
        raise DataError(
            f"The validation set is too small. Increase 'validation_fraction' or the size of your dataset: got {held_out.size} of "
            f"{x.shape[0]} rows"
        )
    parts = (
        _rows(of_rows.part(x, part, dtype), target[part], None if weight is None else weight[part], dtype) for part in (train, held_out)
    )
    return next(parts), next(parts)


def _rows(x: Any, target: np.ndarray, weight: np.ndarray | None, dtype: np.dtype) -> Rows:
    return Rows(of_rows.for_kernels(x, dtype), frozen(np.ascontiguousarray(target, dtype)), weight)


def _adopt(network: Network, problem: Problem, classes: Any) -> None:
    """Let the network itself answer as the estimator does, as far as it can: by labels of classes, without any scaling."""
    is_number = problem.output == "identity"
    scaling = InputScaling("none", np.zeros(()), np.ones(()))
    of_target = targets.none(problem.n_outputs) if is_number else None
    parameter = problem.parameter if is_number else 0.0  # smoothing belongs to training
    for labels in (classes, None):
        try:
            network.adopt(
                loss=problem.loss, loss_parameter=parameter, input_scaling=scaling, target_scaling=of_target, target_is_column=False,
                predicts_classes=problem.output == "softmax", classes=labels,
            )  # fmt: skip
            return
        except (ConfigError, DataError):
            if labels is None:
                raise


def _out_activation(problem: Problem) -> str:
    if problem.output == "identity":
        return "exp" if problem.loss == "poisson" else "identity"
    return "softmax" if problem.output == "softmax" else "logistic"


def _set_attributes(estimator: Any, course: Course, is_stochastic: bool) -> None:
    """Set the attributes that scikit-learn's estimators have after a training."""
    estimator.n_iter_, estimator.t_, estimator.loss_ = course.n_iter, course.t, course.loss
    estimator._no_improvement_count = course.no_improvement_count
    if is_stochastic:
        estimator.loss_curve_, estimator.best_loss_ = course.loss_curve, course.best_loss
        estimator.validation_scores_, estimator.best_validation_score_ = course.validation_scores, course.best_validation_score


def _warn(message: str) -> None:
    warn(message, ConvergenceWarning)


# --- weights as attributes -----------------------------------------------------------------------------------------------


def weights_of(estimator: Any) -> list[np.ndarray]:
    """Return coefs_: views of the network's weights, which may be written to and assigned."""
    return _held(estimator, "weights", 0, "coefs_")


def biases_of(estimator: Any) -> list[np.ndarray]:
    """Return intercepts_: views of the network's biases, which may be written to and assigned."""
    return _held(estimator, "biases", 1, "intercepts_")


def assign_weights(estimator: Any, values: Iterable[Any]) -> None:
    """Set coefs_: of the network, or of the one that partial_fit will make."""
    _assign(estimator, "weights", 0, values)


def assign_biases(estimator: Any, values: Iterable[Any]) -> None:
    """Set intercepts_."""
    _assign(estimator, "biases", 1, values)


def has_weights(estimator: Any) -> bool:
    """Return whether there are weights to go on from: those of a network, of an ensemble, or some that were assigned."""
    held = getattr(estimator, "_held", None)
    return hasattr(estimator, "estimators_") or getattr(estimator, "network_", None) is not None or held is not None and None not in held


def _held(estimator: Any, name: str, place: int, attribute: str) -> list[np.ndarray]:
    network = getattr(estimator, "network_", None)
    held = vars(estimator).get("_held")
    if hasattr(estimator, "estimators_"):
        raise AttributeError(f"{attribute}: expected one network, got {len(estimator.estimators_)}; see estimators_[0].{attribute}")
    found = getattr(network, name) if network is not None else None if held is None else held[place]
    if found is None:
        raise AttributeError(f"{attribute}: expected a fitted {type(estimator).__name__}, got one that is not; call fit first")
    return found  # type: ignore[no-any-return]


def _assign(estimator: Any, name: str, place: int, values: Iterable[Any]) -> None:
    network = getattr(estimator, "network_", None)
    if network is not None:
        setattr(network, name, values)
        return
    held = vars(estimator).setdefault("_held", [None, None])
    held[place] = list(values)
