"""scikit-learn's callbacks, from its release 1.9 on: `fit` is a task that they are told of, and each epoch is one within it."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import sklearn

from fastmlp.network import Network
from fastmlp.training.history import Epoch

try:
    import sklearn.callback
except ImportError:  # before 1.9
    with_callbacks = None
else:
    with_callbacks = sklearn.callback.with_callbacks


class NoSupport:
    """In place of scikit-learn's mixin: there is no set_callbacks."""


CallbackSupport: Any = NoSupport if with_callbacks is None else sklearn.callback.CallbackSupportMixin
Method = TypeVar("Method", bound=Callable[..., Any])


def managed(fit: Method) -> Method:
    """Return a `fit` after which, however it ends, scikit-learn's callbacks are told so."""
    return fit if with_callbacks is None else with_callbacks(fit)


@contextlib.contextmanager
def of_fit(estimator: Any, x: Any, y: Any, sample_weight: Any, most_epochs: int) -> Iterator[None]:
    """Tell scikit-learn's callbacks that a fit begins and ends; most_epochs: tasks within it, at most."""
    if with_callbacks is None:
        yield
        return
    context, told = estimator._init_callback_context(max_subtasks=most_epochs), _told(estimator, x, y, sample_weight)
    context.call_on_fit_task_begin(**told)
    yield
    context.call_on_fit_task_end(**told, reconstruction_attributes=dict)


class Epochs:
    """A callback of the event loop that tells scikit-learn's callbacks of each epoch."""

    def __init__(self, estimator: Any, x: Any, y: Any, sample_weight: Any, known: dict[str, Any]) -> None:
        """known: attributes that an estimator needs to predict, beside its network."""
        self._told, self._known = _told(estimator, x, y, sample_weight), known
        self._fit = estimator._callback_fit_ctx
        self._epoch: Any = None

    def on_epoch_begin(self, network: Network, epoch: int) -> None:
        """Begin a task."""
        self._epoch = self._fit.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self._told)

    def on_epoch_end(self, network: Network, epoch: Epoch) -> bool:
        """End it; return whether a callback asks to stop."""

        def fitted() -> dict[str, Any]:
            return {**self._known, "network_": copy.deepcopy(network), "n_iter_": epoch.epoch, "loss_": epoch.train_loss}

        return bool(self._epoch.call_on_fit_task_end(**self._told, reconstruction_attributes=fitted))


def of_epochs(estimator: Any, x: Any, y: Any, sample_weight: Any, known: dict[str, Any]) -> tuple[Epochs, ...]:
    """Return what tells scikit-learn's callbacks of each epoch, () where there are none or nothing that they know of is under way."""
    if not getattr(estimator, "_skl_callbacks", ()) or not hasattr(estimator, "_callback_fit_ctx"):
        return ()
    return (Epochs(estimator, x, y, sample_weight, known),)


def _told(estimator: Any, x: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
    return {"estimator": estimator, "X": x, "y": y, "metadata": {} if sample_weight is None else {"sample_weight": sample_weight}}
