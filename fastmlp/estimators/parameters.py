"""The parameters of an estimator, checked, and as the settings that fastmlp trains by."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.settings import STEPPING, TrainingSettings, known_name, nearest, used_by
from fastmlp.settings.values import MOST_WHOLE, is_several

SOLVERS = (*STEPPING, "lbfgs")
DECOUPLED = ("adamw", "lion")  # whose decay is no part of the gradient
USUAL_ALPHA = 0.0001
LEARNING_RATES = ("constant", "invscaling", "adaptive")
ACTIVATIONS = {"logistic": "sigmoid"}  # scikit-learn's name -> fastmlp's
DTYPES = ("float32", "float64")
TABLE = "table"  # the kind of data of settings.kind_of; what depends on it is given here
_OF_SCHEDULE = ("gamma", "step_size", "end_factor", "warmup_epochs")


class Parameters(NamedTuple):
    """Checked parameters, by scikit-learn's names where it has them."""

    hidden: tuple[int, ...]
    activations: tuple[str, ...]  # of the hidden layers, by fastmlp's names
    is_logistic: tuple[bool, ...]  # of each layer, the output layer included: whether its weights begin smaller
    solver: str
    alpha: float
    batch_size: int | None  # None: "auto"
    learning_rate: str
    power_t: float
    max_iter: int
    max_fun: int
    shuffle: bool
    tol: float
    n_iter_no_change: float
    early_stopping: bool
    validation_fraction: float
    restore_best: bool
    verbose: bool
    dtype: np.dtype | None  # None: that of X
    threads: int | None
    n_estimators: int
    settings: TrainingSettings  # of the steps


def checked(estimator: Any) -> Parameters:
    """Return the parameters of an estimator; ConfigError for one of a wrong type or out of its range."""
    of = estimator.get_params(deep=False)
    hidden = _hidden(of["hidden_layer_sizes"])
    activations, is_logistic = _activations(of["activation"], len(hidden))
    solver = _one_of("solver", of["solver"], SOLVERS)
    learning_rate = _one_of("learning_rate", of["learning_rate"], LEARNING_RATES)
    alpha = _number("alpha", of["alpha"], minimum=0.0)
    if solver in DECOUPLED and alpha not in (0.0, USUAL_ALPHA):
        raise ConfigError(f"alpha: expected none with {solver}, whose decay is no penalty, got {alpha:g}; set weight_decay")
    early_stopping = _truth("early_stopping", of["early_stopping"])
    batch_size = None if isinstance(of["batch_size"], str) and of["batch_size"] == "auto" else _whole("batch_size", of["batch_size"])
    threads = None if of["threads"] is None else _whole("threads", of["threads"])
    parameters = Parameters(
        hidden=hidden,
        activations=activations,
        is_logistic=is_logistic,
        solver=solver,
        alpha=alpha,
        batch_size=batch_size,
        learning_rate=learning_rate,
        power_t=_number("power_t", of["power_t"], minimum=0.0),
        max_iter=_whole("max_iter", of["max_iter"]),
        max_fun=_whole("max_fun", of["max_fun"]),
        shuffle=_truth("shuffle", of["shuffle"]),
        tol=_number("tol", of["tol"], minimum=0.0),
        n_iter_no_change=_patience(of["n_iter_no_change"]),
        early_stopping=early_stopping,
        validation_fraction=_number("validation_fraction", of["validation_fraction"], minimum=0.0, below=1.0),
        restore_best=early_stopping if of["restore_best"] is None else _truth("restore_best", of["restore_best"]),
        verbose=_verbose(of["verbose"]),
        dtype=None if of["dtype"] is None else np.dtype(_one_of("dtype", _dtype_name(of["dtype"]), DTYPES)),
        threads=threads,
        n_estimators=_whole("n_estimators", of["n_estimators"]),
        settings=TrainingSettings(),
    )
    return parameters._replace(settings=_settings(of, parameters))


def _settings(of: dict[str, Any], checked: Parameters) -> TrainingSettings:
    """Return what each step does, as fastmlp's settings; of: the parameters as given."""
    solver, momentum = checked.solver, _number("momentum", of["momentum"], minimum=0.0, maximum=1.0)
    betas = {theirs: _number(theirs, of[theirs], minimum=0.0, below=1.0) for theirs in ("beta_1", "beta_2")}
    epsilon = _number("epsilon", of["epsilon"], above=0.0)
    rate = _number("learning_rate_init", of["learning_rate_init"], above=0.0)
    is_nesterov = _truth("nesterovs_momentum", of["nesterovs_momentum"])
    given: dict[str, Any] = {"optimizer": solver, "epochs": checked.max_iter}
    if solver == "lbfgs":
        _refuse(of, ("dropout", "schedule"), "lbfgs, which goes through all rows for each step")
        return TrainingSettings.from_mapping(given).resolved(TABLE)
    given["learning_rate"] = rate
    if solver == "sgd":
        given |= {"momentum": momentum, "nesterov": is_nesterov and momentum > 0}
    numbers = {"beta1": betas["beta_1"], "beta2": betas["beta_2"], "epsilon": epsilon}
    given |= {name: value for name, value in numbers.items() if solver in used_by(name)}
    given["weight_decay"] = of["weight_decay"] if solver in DECOUPLED else checked.alpha
    if solver not in DECOUPLED:
        _refuse(of, ("weight_decay",), f"{solver}; set alpha")
    if of["schedule"] is not None and checked.learning_rate != "constant":
        raise ConfigError(
            f"schedule: expected none with learning_rate={checked.learning_rate!r}, got {of['schedule']!r}; choose one of them"
        )
    is_constant = solver != "sgd" or checked.learning_rate == "constant"  # as in scikit-learn, where sgd alone has a rate that changes
    if of["schedule"] is None:
        _refuse(of, _OF_SCHEDULE, "no schedule")
    given |= {name: of[name] for name in ("schedule", *_OF_SCHEDULE) if of[name] is not None and is_constant}
    given["dropout"] = tuple(of["dropout"]) if is_several(of["dropout"]) else of["dropout"]
    return TrainingSettings.from_mapping(given).resolved(TABLE)


def _refuse(of: dict[str, Any], names: tuple[str, ...], what: str) -> None:
    for name in names:
        if of[name] is not None and not (isinstance(of[name], (int, float)) and of[name] == 0):
            raise ConfigError(f"{name}: expected none with {what}, got {of[name]!r:.60}")


def _hidden(sizes: Any) -> tuple[int, ...]:
    each = tuple(sizes) if is_several(sizes) else (sizes,)
    return tuple(_whole("hidden_layer_sizes", size) for size in each)


def _activations(given: Any, n_hidden: int) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """Return the names of fastmlp's activations, one per hidden layer, and which layers begin as scikit-learn's logistic ones."""
    names = tuple(given) if is_several(given) else (given,)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"activation: expected a name, or one per hidden layer, got {given!r:.60}")
    if len(names) not in (1, n_hidden):
        raise ConfigError(f"activation: expected one name, or {n_hidden} names, one per hidden layer, got {len(names)}")
    each = names * n_hidden if len(names) == 1 else names
    ours = tuple(ACTIVATIONS.get(name, name) for name in each)
    of_layers = [name == "sigmoid" for name in ours] or [ACTIVATIONS.get(names[0], names[0]) == "sigmoid"]
    return ours, (*of_layers[:n_hidden], of_layers[-1])


def _dtype_name(dtype: Any) -> Any:
    try:
        return np.dtype(dtype).name
    except TypeError:
        return dtype


def _one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    names = tuple(choices)
    found = known_name(value, names) if isinstance(value, str) else value
    if found not in names:
        hint = nearest(found, names) if isinstance(found, str) else ""
        raise ConfigError(f"{name}: expected one of {', '.join(names)}, got {value!r:.60}{hint}")
    return str(found)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ConfigError(f"{name}: expected True or False, got {value!r:.60}")
    return bool(value)


def _verbose(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_, Integral)) or value < 0:
        raise ConfigError(f"verbose: expected True, False or a whole number, got {value!r:.60}")
    return bool(value)


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= int(value) <= MOST_WHOLE:
        raise ConfigError(f"{name}: expected a whole number of at least 1, got {value!r:.60}")
    return int(value)


def _patience(value: Any) -> float:
    return math.inf if isinstance(value, Real) and value == math.inf else _whole("n_iter_no_change", value)


def _number(
    name: str, value: Any, minimum: float | None = None, above: float | None = None, maximum: float | None = None,
    below: float | None = None,
) -> float:  # fmt: skip
    bounds = {"at least": minimum, "above": above, "at most": maximum, "below": below}
    expected = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    is_number = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:  # a whole number beyond 1.8e308
        number = math.nan
    fits = (
        (minimum is None or number >= minimum) and (above is None or number > above)
        and (maximum is None or number <= maximum) and (below is None or number < below)
    )  # fmt: skip
    if math.isnan(number) or not fits:
        raise ConfigError(f"{name}: expected a number {expected}, got {value!r:.60}")
    return number
