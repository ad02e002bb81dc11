"""How a search of scikit-learn trains as a bank: in threads of this process, one training per core, each step before it fitted once.

Compiled code releases the lock of Python, and a training of one thread has the bits of one of many. What is searched, scored and ranked
remains scikit-learn's own code: for the time of its fit the search is given a copy of its estimator that remembers and can be stopped.
"""

import contextlib
import itertools
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

import joblib
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline

from fastmlp import machine
from fastmlp.errors import warn
from fastmlp.estimators import MLPClassifier, MLPRegressor, workers
from fastmlp.estimators.ensemble import Stop
from fastmlp.model_selection.once import Once

SHARE_OF_MEMORY = 0.25  # that results of steps may take
OURS = (MLPClassifier, MLPRegressor)


class Path(NamedTuple):
    """The way from an estimator to the one inside that trains a network."""

    end: Any
    prefix: str  # of the names of its parameters
    steps: tuple[str, ...]  # names of the parameters that are the estimators on the way
    pipelines: tuple[str, ...]  # prefixes of the pipelines on the way


def path_of(estimator: Any) -> Path:
    """Return the way to the last step of a pipeline and the regressor of a TransformedTargetRegressor, as deep as they go."""
    end, prefix = estimator, ""
    steps: list[str] = []
    pipelines: list[str] = []
    while True:
        if isinstance(end, Pipeline) and end.steps:
            pipelines.append(prefix)
            steps.append(f"{prefix}steps")
            name, end = end.steps[-1]
        elif isinstance(end, TransformedTargetRegressor) and end.regressor is not None:
            name, end = "regressor", end.regressor
        else:
            return Path(end, prefix, tuple(steps), tuple(pipelines))
        steps.append(f"{prefix}{name}")
        prefix = f"{prefix}{name}__"


def obstacle(path: Path, axes: Any) -> str | None:
    """Return what keeps a search from training as a bank, None where nothing does; axes: its param_grid or param_distributions."""
    if not isinstance(path.end, OURS):
        return f"estimator: expected MLPClassifier or MLPRegressor of fastmlp, alone or at the end of a Pipeline, got {_kind(path.end)}"
    if path.end.callbacks is not None and len(path.end.callbacks):
        return f"{path.prefix}callbacks: they would be called by several trainings at once; set callbacks=None"
    grids = [axes] if isinstance(axes, Mapping) else axes if isinstance(axes, (list, tuple)) else []
    for name in itertools.chain.from_iterable(grid for grid in grids if isinstance(grid, Mapping)):
        if name in path.steps:
            return f"{name}: an axis of estimators; search over the parameters of one"
        if name == f"{path.prefix}callbacks":
            return f"{name}: an axis of callbacks, which would be called by several trainings at once"
    return None


def _kind(estimator: Any) -> str:
    kind = estimator if isinstance(estimator, type) else type(estimator)
    return f"{kind.__module__.partition('.')[0]}'s {kind.__name__}" if kind.__module__ != "builtins" else repr(estimator)[:60]


@contextlib.contextmanager
def as_bank(search: Any, axes: Any) -> Generator[None, None, None]:
    """Let a search of scikit-learn, whose fit is called within, train as a bank; warn where it cannot.

    Workers that the user chose by joblib's parallel_config are left to do it, if they are no threads.
    """
    path = path_of(search.estimator)
    reason = obstacle(path, axes)
    if reason is not None:
        warn(f"{type(search).__name__} trains as scikit-learn's does, not as a bank: {reason}")
    backend, _ = joblib.parallel.get_active_backend(prefer="threads")
    if reason is not None or not getattr(backend, "supports_sharedmem", False):
        yield
        return
    given, stop = search.estimator, Stop()
    settings = given.get_params()
    memory = Once(None if (left := machine.memory_left()) is None else int(SHARE_OF_MEMORY * left))
    lent: dict[str, Any] = {f"{prefix}memory": memory for prefix in path.pipelines if settings[f"{prefix}memory"] is None}
    lent[f"{path.prefix}callbacks"] = (stop,)
    search.estimator = clone(given).set_params(**lent)
    _, n_jobs = joblib.parallel.get_active_backend()
    try:
        with joblib.parallel_config("threading", n_jobs=workers.threads(None) if n_jobs is None else n_jobs):
            yield
    finally:
        stop.told.set()
        for borrower in (search.estimator, getattr(search, "best_estimator_", None)):  # the first is kept by the scorer
            if borrower is not None:  # a parameter that was searched over has a value of its own
                has = borrower.get_params()
                borrower.set_params(**{name: settings[name] for name, value in lent.items() if has[name] == value})
        search.estimator = given
