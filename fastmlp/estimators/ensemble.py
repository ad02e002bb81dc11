"""Several networks in one estimator: trained at once, one per core, on the same rows, from random states of their own."""

import concurrent.futures
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from fastmlp.errors import ConfigError, warn
from fastmlp.estimators import workers
from fastmlp.estimators.parameters import Parameters
from fastmlp.network import Network
from fastmlp.training.callbacks import hooks

OF_ONE_NETWORK = (
    "network_", "_course", "_optimizer", "_held", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
)  # fmt: skip
OF_ALL = ("_problem", "n_outputs_", "n_layers_", "out_activation_")


class Stop:
    """A callback by which trainings in other threads end within about a fifth of a second."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def on_steps_end(self, network: Any, progress: Any) -> bool:
        """Ask to stop where it was told to."""
        return self.told.is_set()

    def __sklearn_clone__(self) -> "Stop":
        return self


def members_of(estimator: Any) -> Sequence[Any]:
    """Return the estimators of an ensemble, each with one network; none of one that has a network itself, or is not fitted."""
    return getattr(estimator, "estimators_", ())


def networks_of(estimator: Any) -> list[Network]:
    """Return networks_: all of an estimator."""
    members = members_of(estimator)
    return [member.network_ for member in members] if members else [estimator.network_]


def check_count(estimator: Any, parameters: Parameters, goes_on: bool) -> None:
    """Raise ConfigError where a training that goes on would have another number of networks."""
    count = len(members_of(estimator)) or 1
    if goes_on and count != parameters.n_estimators:
        raise ConfigError(f"n_estimators: expected {count} as in the fit that this goes on from, got {parameters.n_estimators}")


def train(estimator: Any, parameters: Parameters, train_one: Callable[[Any, Parameters], None], *, goes_on: bool) -> None:
    """Train the members of an ensemble and set what is known of it.

    train_one: trains one estimator by the parameters given. One after the other where they call callbacks or tell of each epoch, which
    belongs in the thread of the caller, and with lbfgs, whose steps take all rows and share them among threads.
    """
    members = estimator.estimators_ if goes_on else _new(estimator, parameters.n_estimators)
    if goes_on:
        for member in members:
            member.set_params(**{**_settings(estimator), "random_state": member.random_state})
    given = tuple(hooks.checked_list(estimator.callbacks))
    of_user = [callback for callback in given if not isinstance(callback, Stop)]
    of_one = parameters._replace(n_estimators=1)
    try:
        if of_user or parameters.verbose or parameters.solver == "lbfgs":
            for member in members:
                train_one(member, of_one)
        else:
            of_one = of_one._replace(threads=1)
            _train_at_once(members, given, workers.threads(parameters.threads), lambda member: train_one(member, of_one))
    finally:
        for member in members:
            member.callbacks = estimator.callbacks if of_user else None
    for name in OF_ONE_NETWORK:
        vars(estimator).pop(name, None)
    estimator.estimators_ = members
    for name in OF_ALL:
        setattr(estimator, name, getattr(members[0], name))
    _set_course(estimator)


def _settings(estimator: Any) -> dict[str, Any]:
    return {**estimator.get_params(deep=False), "n_estimators": 1}


def _new(estimator: Any, count: int) -> list[Any]:
    """Return so many estimators; their random states are drawn as scikit-learn's ensembles draw them."""
    seeds = check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max, size=count)
    return made(estimator, seeds.tolist())


def made(estimator: Any, seeds: Sequence[int]) -> list[Any]:
    """Return an estimator of one network for each random state, with the settings of an ensemble, that knows its columns."""
    found = [type(estimator)(**{**_settings(estimator), "random_state": seed}) for seed in seeds]
    for member in found:
        for name in ("n_features_in_", "feature_names_in_", "columns_"):
            if hasattr(estimator, name):
                setattr(member, name, getattr(estimator, name))
    return found


def _train_at_once(members: Sequence[Any], stops: Sequence[Stop], threads: int, train_one: Callable[[Any], None]) -> None:
    """Train in so many threads; an error of one ends all, and Ctrl-C, after which they keep what they have, as a single one does.

    stops: what may end them besides.
    """
    stop = Stop()
    for member in members:
        member.callbacks = (*stops, stop)
    with concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="fastmlp-ensemble") as pool:
        trainings = [pool.submit(train_one, member) for member in members]
        try:
            concurrent.futures.wait(trainings, return_when=concurrent.futures.FIRST_EXCEPTION)
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        stop.told.set()
    for training in trainings:
        training.result()


def _set_course(estimator: Any) -> None:
    members = estimator.estimators_
    estimator.n_iter_, estimator.t_ = (max(getattr(member, name) for member in members) for name in ("n_iter_", "t_"))
    estimator.loss_ = float(np.mean([member.loss_ for member in members]))
    estimator._no_improvement_count = max(member._no_improvement_count for member in members)


def mean(found: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of what each network answers, (n, C) or (n, T); of one network its own answer."""
    if len(found) == 1:
        return found[0]
    return np.asarray(np.mean(found, axis=0, dtype=np.float64))
