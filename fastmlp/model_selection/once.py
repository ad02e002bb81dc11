"""What is computed once for all trainings that need it: the steps of a pipeline before its last, fitted on the rows of a fold."""

import contextlib
import copy
import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import joblib


class Once:
    """Results of functions by their arguments, kept in memory, for the `memory` of a scikit-learn Pipeline: joblib.Memory's interface.

    Each caller gets a copy of its own, as from a joblib.Memory. A caller that comes while another computes the same waits for it.
    """

    def __init__(self, most_bytes: int | None) -> None:
        """most_bytes: how much all results may take; what is beyond is computed again. None: any amount."""
        self._most_bytes, self._bytes = most_bytes, 0
        self._found: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()

    def __sklearn_clone__(self) -> "Once":
        return self

    def cache(self, function: Callable[..., Any], ignore: Sequence[str] = ()) -> Callable[..., Any]:
        """Return a function that computes as `function` does, once for the same arguments; ignore: names of those that do not count."""

        @functools.wraps(function)
        def once(*args: Any, **kwargs: Any) -> Any:
            counting = {name: value for name, value in kwargs.items() if name not in ignore}
            try:
                key = joblib.hash((function.__module__, function.__qualname__, args, counting))
            except Exception:  # whatever pickle raises for what it cannot see into: there is no telling whether it is the same
                return function(*args, **kwargs)
            with self._lock:
                found = self._found.get(key)
                if found is None:
                    mine = self._found[key] = Future()
            if found is not None:
                kept = found.result()
                return function(*args, **kwargs) if kept is None else copy.deepcopy(kept)
            return self._computed(mine, lambda: function(*args, **kwargs))

        return once

    def _computed(self, future: Future[Any], compute: Callable[[], Any]) -> Any:
        """Compute a result, and keep a copy of it for the others where there is room."""
        kept = None
        try:
            result = compute()
            size = sum(map(_bytes, result if isinstance(result, tuple) else (result,)))
            with self._lock:
                has_room = self._most_bytes is None or self._bytes + size <= self._most_bytes
                self._bytes += size if has_room else 0
            if has_room:
                with contextlib.suppress(Exception):  # what cannot be copied is computed each time
                    kept = copy.deepcopy(result)
            return result
        finally:  # after an error, too: each of the others meets it on its own
            future.set_result(kept)


def _bytes(value: Any) -> int:
    """Return about how much memory rows take: an array, a sparse matrix or a frame of pandas."""
    if hasattr(value, "memory_usage"):
        return int(value.memory_usage(index=True, deep=True).sum())
    return int(getattr(value if hasattr(value, "nbytes") else getattr(value, "data", None), "nbytes", 0))
