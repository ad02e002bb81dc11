"""Callbacks: what a user's functions and objects are told while a network is trained, and how they end it.

A function f(network, epoch) is called after each epoch. An object has any of these methods, each called with the network and

    on_fit_begin         the settings in effect (fastmlp.TrainingSettings), before the first step
    on_epoch_begin       the number of the epoch, from 1
    on_steps_end         the fastmlp.Progress, after a block of steps: about ten times a second
    on_validation_end    what Network.evaluate gives on the rows held out, after an epoch, where there are such rows
    on_epoch_end         the fastmlp.Epoch
    on_fit_end           the fastmlp.History; whatever ended the training, the network holds what it ends with

A method (or function) that has a third argument gets a function there that returns the fastmlp.TrainingState of now: a copy of all that it
takes to go on, made only if it is called.

The shape is that of scikit-learn's FitCallback (SLEP023): the estimator first, then where it stands; begin and end of the whole and of
each task within it; the first and the last of them in pairs, errors or not; a returned True asks to stop. `setup` and `teardown` are
on_fit_begin and on_fit_end here; the tasks are epochs. There is no hook for batches: compiled code takes many of them at a time.
"""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.network import Network
from fastmlp.settings import TrainingSettings, items_of, nearest
from fastmlp.training.history import History
from fastmlp.training.state import TrainingState

Callback = Callable[..., Any] | object
# Each hook with the name of its second argument, in the order in which they are called.
HOOKS = {
    "on_fit_begin": "settings", "on_epoch_begin": "epoch", "on_steps_end": "progress", "on_validation_end": "scores",
    "on_epoch_end": "epoch", "on_fit_end": "history",
}  # fmt: skip
FIT_BEGIN, EPOCH_BEGIN, STEPS_END, VALIDATION_END, EPOCH_END, FIT_END = HOOKS


class Told(Protocol):
    """The training that callbacks are told of."""

    settings: TrainingSettings

    @property
    def network(self) -> Network: ...  # noqa: D102
    def state(self) -> TrainingState: ...  # noqa: D102


class Hook:
    """One hook of one callback; `with_state`: it takes a function that returns the state as well."""

    def __init__(self, function: Callable[..., Any], with_state: bool) -> None:
        self._function, self._with_state = function, with_state

    def __call__(self, training: Told, where: Any) -> bool:
        """Tell it where the training stands; return whether it asks to stop."""
        more = (training.state,) if self._with_state else ()
        answer = self._function(training.network, where, *more)
        return isinstance(answer, (bool, np.bool_)) and bool(answer)


class Callbacks:
    """The callbacks of one training, checked: ConfigError for what is none, for a hook that does not exist or takes other arguments."""

    def __init__(self, given: Any) -> None:
        self._hooks = [_hooks_of(callback) for callback in checked_list(given)]

    def begin(self, training: Told, history: History, ends: contextlib.ExitStack) -> bool:
        """Call on_fit_begin of each callback, and put its on_fit_end, with `history`, on `ends`; return whether one asks to stop."""
        stop = False
        for hooks in self._hooks:
            if FIT_BEGIN in hooks:
                stop |= hooks[FIT_BEGIN](training, training.settings)
            if FIT_END in hooks:
                ends.callback(hooks[FIT_END], training, history)
        return stop

    def hears(self, *names: str) -> bool:
        """Return whether any callback has one of these hooks."""
        return any(name in hooks for hooks in self._hooks for name in names)

    def call(self, hook: str, training: Told, where: Any) -> bool:
        """Call a hook of every callback that has it, each with `where` training stands; return whether one asks to stop."""
        return any([hooks[hook](training, where) for hooks in self._hooks if hook in hooks])


def checked_list(given: Any) -> tuple[Any, ...]:
    """Return callbacks as they were given, None as none; ConfigError for one that stands alone."""
    if given is None:
        return ()
    expected = "a list, such as callbacks=[f]"
    if hasattr(given, "_fields"):
        raise ConfigError(f"callbacks: expected {expected}, got {given!r:.60}")
    return items_of("callbacks", given, expected)


def _hooks_of(callback: Any) -> dict[str, Hook]:
    """Return the hooks of one callback by their names."""
    named = [name for name in dir(callback) if name.startswith("on_") and callable(getattr(callback, name))]
    for name in named:
        if name not in HOOKS:
            hint = "; for single batches use fastmlp.Trainer.step" if "batch" in name else nearest(name, HOOKS)
            raise ConfigError(f"callbacks: expected hooks among {', '.join(HOOKS)}, got {type(callback).__name__}.{name}{hint}")
    hooks = {name: getattr(callback, name) for name in named}
    if not hooks and callable(callback) and not isinstance(callback, type):
        hooks = {EPOCH_END: callback}
    if not hooks or isinstance(callback, type):
        got = f"the class {callback.__name__}; give an object of it" if isinstance(callback, type) else f"{callback!r:.60}"
        raise ConfigError(f"callbacks: expected functions f(network, epoch), or objects with {', '.join(HOOKS)}, got {got}")
    return {name: Hook(function, _takes_state(name, function)) for name, function in hooks.items()}


def _takes_state(hook: str, function: Callable[..., Any]) -> bool:
    """Return whether a hook has a place for the state; ConfigError where it has none for what all hooks get."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # one that does not tell, such as some written in C
        return False
    if len(signature.parameters) == 3 and _fits(signature, 3):
        return True
    if not _fits(signature, 2):
        shown = getattr(function, "__qualname__", repr(function))
        raise ConfigError(
            f"callbacks: {shown}: expected a function of two arguments, (network, {HOOKS[hook]}), or of three, with `state` last"
        )
    return False


def _fits(signature: inspect.Signature, count: int) -> bool:
    """Return whether a function can be called with so many arguments."""
    try:
        signature.bind(*(None,) * count)
    except TypeError:
        return False
    return True
