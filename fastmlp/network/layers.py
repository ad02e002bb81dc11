"""What a network is made of, by name: its layers, sizes and texts; what is refused of them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import SMOOTHING, loss_for
from fastmlp.settings import NetworkSettings, TrainingSettings, activation_hint, items_of, known_name

# normalization -> kind of the hidden layers
KINDS = {"none": "dense", "batch": "batch_norm", "layer": "layer_norm"}


class Layer(NamedTuple):
    """One layer: its kind, numbers of inputs and outputs, and the name of its activation f.

    "dense": f(x @ weight + bias). "batch_norm", "layer_norm": f(gamma * hat + bias), hat: x @ weight normalised, over the rows of a batch
    or over the units of the layer.
    """

    kind: str
    n_in: int
    n_out: int
    activation: str


def parameters_of(layer: Layer) -> int:
    """Return how many parameters a layer has: weight, bias and, where sums are normalised, gamma."""
    return layer.n_in * layer.n_out + layer.n_out * (1 if layer.kind == "dense" else 2)


def checked_class_names(names: Any, n_outputs: int) -> tuple[str, ...] | None:
    """Return what the outputs stand for, one text each, None where nobody says; ConfigError for anything else."""
    if names is None:
        return None
    given = items_of("class_names", names, f"{n_outputs} texts, one per output")
    if not all(isinstance(name, str) for name in given):
        raise ConfigError(f"class_names: expected {n_outputs} texts, one per output, got {names!r:.60}")
    if len(given) != n_outputs:
        raise ConfigError(f"class_names: expected {n_outputs} names, one per output, got {len(given)}")
    if not is_utf8(given):
        raise ConfigError("class_names: expected texts that UTF-8 can write, got some that it cannot")
    return given


def is_utf8(texts: Iterable[str]) -> bool:
    """Return whether texts can be written to a file; lone halves of a pair of code units cannot."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_sizes(sizes: Any) -> tuple[int, ...]:
    """Return numbers of units, inputs first and outputs last; ConfigError for what are none."""
    checked = items_of("sizes", sizes, "numbers of units such as [784, 300, 10]")
    if len(checked) < 2:
        raise ConfigError(f"sizes: expected at least inputs and outputs, got {list(checked)}")
    try:
        return NetworkSettings(hidden=checked).hidden
    except ConfigError as error:
        raise ConfigError(str(error).replace("hidden:", "sizes:", 1)) from None


def dtype_name(dtype: Any) -> Any:
    """Return the name of a type of numbers, however it was given; what is none as it is, for the settings to refuse."""
    try:
        return dtype if dtype is None or isinstance(dtype, (np.generic, np.ndarray)) else np.dtype(dtype).name
    except (TypeError, ValueError):
        return dtype


def one_per_layer(names: str | tuple[str, ...], n_hidden: int) -> tuple[str, ...]:
    """Return an activation for each hidden layer, of one name or as many; ConfigError for unknown ones."""
    each = tuple(known_name(name, ACTIVATIONS) for name in ((names,) if isinstance(names, str) else names))
    if len(each) not in (1, n_hidden):
        raise ConfigError(f"activation: expected one name, or {n_hidden} names, one per hidden layer, got {len(each)}")
    for name in each:
        if name not in ACTIVATIONS:
            hint = activation_hint(name, ACTIVATIONS) or "; register one of your own with @fastmlp.activation"
            raise ConfigError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r:.60}{hint}")
    return each * n_hidden if len(each) == 1 else each


def checked_loss_parameter(loss: str, output: str, value: Any) -> float:
    """Return the number of a loss that a network remembers; raise ConfigError where it has none, or takes another one."""
    name = loss_for(loss, output).parameter
    if name is None or name == SMOOTHING:
        if value != 0 or isinstance(value, bool):
            raise ConfigError(f"loss_parameter: expected 0 for {loss}, got {short(value)}")
        return 0.0
    found: float = getattr(TrainingSettings.from_mapping({name: value}), name)
    return found


def short(value: object) -> str:
    """Return something wrong as an error quotes it."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
