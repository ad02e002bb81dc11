"""Kernels with their formulas bound, for people who call them by name: `sigmoid`, `sigmoid_backward`, `adam_update` and others.

    f(z, out)                                              out = f(z)                         (n,)
    f_backward(delta, z, a)                                delta *= f'(z)                     (n,)
    loss(z, target, sample_weight, factor, parameter, delta)   summed loss; delta = its derivative  (M, N); see losses.Loss
    update(parameters, m, v, gradient, rates)              one step of an optimiser           (P,), rates (RATES,): updates.Rates

What each does in full stands with its source in scalar.py.
"""

from typing import Any

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.compiling import formula, specialise
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.scalar import activate, activate_backward, separate_loss, update_with_state
from fastmlp.kernels.updates import UPDATES


def _activation(name: str) -> Any:
    return specialise(activate, name, ACTIVATION=formula(ACTIVATIONS[name].formula))


def _activation_backward(name: str) -> Any:
    return specialise(activate_backward, name, ACTIVATION_DERIVATIVE=formula(ACTIVATIONS[name].derivative))


def _loss(name: str) -> Any:
    formulas: tuple[Any, Any] = LOSSES[name].formula, LOSSES[name].derivative
    return specialise(separate_loss, name, LOSS=formula(formulas[0]), LOSS_DERIVATIVE=formula(formulas[1]))


def _update(name: str) -> Any:
    rule: Any = UPDATES[name].formula
    return specialise(update_with_state, name, UPDATE=formula(rule))


sigmoid, sigmoid_backward = _activation("sigmoid"), _activation_backward("sigmoid")
tanh, tanh_backward = _activation("tanh"), _activation_backward("tanh")
relu, relu_backward = _activation("relu"), _activation_backward("relu")
silu, silu_backward = _activation("silu"), _activation_backward("silu")

mean_squared_error = _loss("mse")
binary_cross_entropy = _loss("binary_cross_entropy")

momentum_update = _update("momentum")
nesterov_update = _update("nesterov")
adam_update = _update("adam")
adamw_update = _update("adamw")
nadam_update = _update("nadam")
rmsprop_update = _update("rmsprop")
rmsprop_momentum_update = _update("rmsprop_momentum")
adagrad_update = _update("adagrad")
lion_update = _update("lion")
