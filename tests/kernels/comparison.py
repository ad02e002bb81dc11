"""How kernels are compared: in each of their forms, with outputs full of NaN, against what the float64 oracle gives."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp.compilation import decorators, forms
from fastmlp.kernels import textbook
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES

Array = np.ndarray
Kernel = Callable[..., Any]

# Activations and losses share no code: (activation, loss), each of them once.
EACH_ONCE = [*((name, "cross_entropy") for name in ACTIVATIONS), *(("sigmoid", name) for name in LOSSES if name != "cross_entropy")]
FORMS: dict[str, Callable[[Kernel], Kernel]] = {"pure": forms.pure, "serial": lambda kernel: kernel, "parallel": forms.parallel}


class Case(NamedTuple):
    """One call kernel(*in_place, *inputs, *outputs) in float64, and what in_place and the outputs hold afterwards."""

    in_place: Sequence[Any]
    inputs: Sequence[Any]
    expected: Sequence[Array]


def integers(*shape: int, seed: int = 0) -> Array:
    """Return whole numbers from -4 to 4, a ninth of them zeros: their sums of products are exact in any order."""
    return np.random.default_rng([seed, *shape]).integers(-4, 5, shape).astype(np.float64)


def normals(*shape: int, seed: int = 0) -> Array:
    """Return normal random numbers that float32 holds exactly, a quarter of them set to zero."""
    generator = np.random.default_rng([seed, *shape])
    numbers = generator.standard_normal(shape).astype(np.float32).astype(np.float64)
    return np.where(generator.uniform(size=shape) < 0.25, 0.0, numbers)


def run(kernel: Kernel, case: Case, dtype: Any) -> list[Array]:
    """Call a kernel and return what its in-place arrays and outputs hold; raise where it changed an input."""
    in_place = [_of_type(value, dtype) for value in case.in_place]
    inputs = [_of_type(value, dtype) for value in case.inputs]
    outputs = [np.full(array.shape, np.nan, dtype) for array in case.expected[len(in_place) :]]
    kept = [np.copy(value) for value in inputs]
    kernel(*in_place, *inputs, *outputs)
    for number, (before, after) in enumerate(zip(kept, inputs, strict=True)):
        np.testing.assert_array_equal(after, before, err_msg=f"input {number} was changed")
    return in_place + outputs


def check(kernel: Kernel, case: Case, dtype: Any = np.float32, tolerance: float = 0.0) -> None:
    """Raise where a kernel gives other numbers than expected. `tolerance` is relative to the largest expected number of an array."""
    for found, expected in zip(run(kernel, case, dtype), case.expected, strict=True):
        if tolerance == 0.0:
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1e-30))


def _of_type(value: Any, dtype: Any) -> Any:
    return np.array(value, dtype) if isinstance(value, np.ndarray) else np.dtype(dtype).type(value)


@functools.cache
def activation(name: str) -> Kernel:
    """Return the kernel out = f(z) of an activation."""
    return forms.specialise(textbook.activate, name, ACTIVATION=decorators.formula(ACTIVATIONS[name].formula))


@functools.cache
def activation_backward(name: str) -> Kernel:
    """Return the kernel delta *= f'(z) of an activation."""
    return forms.specialise(textbook.activate_backward, name, ACTIVATION_DERIVATIVE=decorators.formula(ACTIVATIONS[name].derivative))


@functools.cache
def loss(name: str) -> Kernel:
    """Return the kernel of a loss, called with (z, target, sample_weight, factor, parameter, delta)."""
    formula, derivative = LOSSES[name].formula, LOSSES[name].derivative
    if formula is None or derivative is None:
        return {"cross_entropy": textbook.softmax_cross_entropy, "mse_of_softmax": textbook.softmax_squared_error}[name]
    return forms.specialise(textbook.separate_loss, name, LOSS=decorators.formula(formula), LOSS_DERIVATIVE=decorators.formula(derivative))
