"""Kernels with their formulas bound, for people who call them by name: `sigmoid`, `sigmoid_backward`, `adam_update` and others.

    f(z, out)                                              out = f(z)                         (n,)
    f_backward(delta, z, a)                                delta *= f'(z)                     (n,)
    loss(z, target, sample_weight, factor, parameter, delta)   summed loss; delta = its derivative  (M, N); see losses.Loss
    update(parameters, m, v, gradient, rates)              one step of an optimizer           (P,), rates (RATES,): updates.Rates

What each does in full stands with its source in textbook.py.
"""

from collections.abc import Iterator
from typing import Any

from fastmlp.compilation.decorators import formula
from fastmlp.compilation.forms import specialise
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.textbook import activate, activate_backward, separate_loss, update_with_state
from fastmlp.kernels.updates import UPDATES


def _kernels() -> Iterator[tuple[str, Any]]:
    for name in ("sigmoid", "tanh", "relu", "silu"):
        f = ACTIVATIONS[name]
        yield name, specialise(activate, name, ACTIVATION=formula(f.formula))
        yield f"{name}_backward", specialise(activate_backward, name, ACTIVATION_DERIVATIVE=formula(f.derivative))
    for name, key in (("mean_squared_error", "mse"), ("binary_cross_entropy", "binary_cross_entropy")):
        loss: Any = LOSSES[key]
        yield name, specialise(separate_loss, key, LOSS=formula(loss.formula), LOSS_DERIVATIVE=formula(loss.derivative))
    for rule in UPDATES.values():
        if rule.formula is not None:
            yield f"{rule.name}_update", specialise(update_with_state, rule.name, UPDATE=formula(rule.formula))


globals().update(_kernels())
