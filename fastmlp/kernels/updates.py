"""Updates: the scalar formula that turns a weight, its gradient and its state into the next weight and state, each with its source.

Adding one means adding it here, and its test. Plain Python, so that names can be checked without loading a compiler.
"""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple


class Rates(NamedTuple):
    """The numbers of one step, in the type of the parameters. The corrections are 1 / (1 - beta^t) in step t, counted from 1."""

    learning_rate: float
    weight_decay: float
    beta1: float  # also the momentum
    beta2: float
    epsilon: float
    correction1: float
    correction2: float


class Update(NamedTuple):
    """One rule: its formula f(weight, gradient, m, v, rates) -> (weight, m, v), how many of m and v it keeps, its source.

    Without a formula it is plain gradient descent, which the kernels fuse with the gradient.
    """

    name: str
    formula: Callable[..., tuple[float, float, float]] | None
    states: int
    source: str


def momentum(weight, gradient, m, v, rates):
    g = gradient + rates.weight_decay * weight
    m = rates.beta1 * m + g
    return weight - rates.learning_rate * m, m, v


def nesterov(weight, gradient, m, v, rates):
    g = gradient + rates.weight_decay * weight
    m = rates.beta1 * m + g
    return weight - rates.learning_rate * (g + rates.beta1 * m), m, v


def adam(weight, gradient, m, v, rates):
    g = gradient + rates.weight_decay * weight
    m = rates.beta1 * m + (1 - rates.beta1) * g
    v = rates.beta2 * v + (1 - rates.beta2) * g * g
    step = rates.correction1 * m / (sqrt(rates.correction2 * v) + rates.epsilon)
    return weight - rates.learning_rate * step, m, v


def adamw(weight, gradient, m, v, rates):
    m = rates.beta1 * m + (1 - rates.beta1) * gradient
    v = rates.beta2 * v + (1 - rates.beta2) * gradient * gradient
    step = rates.correction1 * m / (sqrt(rates.correction2 * v) + rates.epsilon)
    return weight - rates.learning_rate * (step + rates.weight_decay * weight), m, v


def add_up(weight, gradient, m, v, rates):
    return weight, m + gradient, v


UPDATES = {
    update.name: update
    for update in (
        Update("sgd", None, 0, "Robbins and Monro 1951; Bishop 2006, eq. 5.43"),
        Update("momentum", momentum, 1, "Polyak 1964; Sutskever et al. 2013, eq. 1 and 2, with the learning rate outside of the sum"),
        Update("nesterov", nesterov, 1, "Sutskever et al. 2013, eq. 3 and 4, in the form of Bengio et al. 2013, eq. 7"),
        Update("adam", adam, 2, "Kingma and Ba 2015, algorithm 1"),
        Update("adamw", adamw, 2, "Loshchilov and Hutter 2019, algorithm 2"),
    )
}
# Besides the optimisers: what leaves the weights as they are and adds their gradients up in m.
GRADIENT = Update("gradient", add_up, 1, "")
RULES = UPDATES | {GRADIENT.name: GRADIENT}
