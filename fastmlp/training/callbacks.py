"""Callbacks: what a user's functions and objects are told while a network is trained, and how they end it.

A function f(network, epoch) is called after each epoch. An object has any of these methods, each called with the network and

    on_fit_begin      the settings in effect (fastmlp.TrainingSettings), before the first step
    on_epoch_begin    the number of the epoch, from 1
    on_epoch_end      the fastmlp.Epoch
    on_fit_end        the fastmlp.History; whatever ended the training, the network holds what it ends with

The shape is that of scikit-learn's FitCallback (SLEP023): the estimator first, then where it stands; begin and end of the whole and of
each task within it; the first and the last of them in pairs, errors or not; a returned True asks to stop. `setup` and `teardown` are
on_fit_begin and on_fit_end here; the tasks are epochs. There is no hook for batches: compiled code takes many of them at a time.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.network import Network
from fastmlp.settings import nearest

Callback = Callable[[Network, Any], Any] | object
FIT_BEGIN, EPOCH_BEGIN, EPOCH_END, FIT_END = HOOKS = ("on_fit_begin", "on_epoch_begin", "on_epoch_end", "on_fit_end")


class Callbacks:
    """The callbacks of one training, checked: ConfigError for what is none, for a hook that does not exist or takes other arguments."""

    def __init__(self, given: Any) -> None:
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            raise ConfigError(f"callbacks: expected a list, such as callbacks=[f], got {type(given).__name__}")
        self._hooks = [_hooks_of(callback) for callback in given]

    def begin(self, network: Network, settings: Any, history: Any, ends: contextlib.ExitStack) -> bool:
        """Call on_fit_begin of each callback, and put its on_fit_end, with `history`, on `ends`; return whether one asks to stop."""
        stop = False
        for hooks in self._hooks:
            if FIT_BEGIN in hooks:
                stop |= _is_true(hooks[FIT_BEGIN](network, settings))
            if FIT_END in hooks:
                ends.callback(hooks[FIT_END], network, history)
        return stop

    def call(self, hook: str, network: Network, where: Any) -> bool:
        """Call a hook of every callback that has it, each with `where` training stands; return whether one asks to stop."""
        answers = [hooks[hook](network, where) for hooks in self._hooks if hook in hooks]
        return any(map(_is_true, answers))


def _hooks_of(callback: Any) -> dict[str, Callable[[Network, Any], Any]]:
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
        raise ConfigError(f"callbacks: expected functions f(network, epoch), or objects with {', '.join(HOOKS)}, got {callback!r:.60}")
    for name, hook in hooks.items():
        try:
            inspect.signature(hook).bind(None, None)
        except TypeError:
            shown = getattr(hook, "__qualname__", repr(hook))
            raise ConfigError(f"callbacks: {shown}: expected a function of two arguments, {_arguments(name)}") from None
        except ValueError:  # one that does not tell, such as some written in C
            pass
    return hooks


def _arguments(hook: str) -> str:
    second = {FIT_BEGIN: "settings", EPOCH_BEGIN: "epoch", EPOCH_END: "epoch", FIT_END: "history"}[hook]
    return f"(network, {second})"


def _is_true(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_)) and bool(value)
