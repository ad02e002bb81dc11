"""Updates: the scalar formula that turns a weight, its gradient and its state into the next weight and state, each with its source.

Adding one means adding it here, and its test. Plain Python, so that names can be checked without loading a compiler.
"""

from collections.abc import Callable
from math import inf, sqrt
from typing import NamedTuple

from fastmlp.kernels.elementary import exp


class Rates(NamedTuple):
    """The numbers of one step, in the type of the parameters.

    The corrections are 1 / (1 - beta^t) in step t, counted from 1; nadam has factors of its own for the mean gradient (correction1)
    and for the gradient (correction3).
    """

    learning_rate: float
    weight_decay: float
    beta1: float  # also the momentum
    beta2: float
    epsilon: float
    correction1: float
    correction2: float
    correction3: float = 0.0
    clip_value: float = inf  # the largest size of a number of the gradient
    clip_norm: float = inf  # the largest length of the whole gradient
    l1: float = 0.0
    average_decay: float = 0.0  # of the exponential average of the weights


RATES = len(Rates._fields)


class Update(NamedTuple):
    """One rule: its formula f(weight, gradient, m, v, rates) -> (weight, m, v), how many of m and v it keeps, its source.

    A rule that keeps one state has it in m, whatever it is. Without a formula it is plain gradient descent, which the kernels fuse with
    the gradient.
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


def nadam(weight, gradient, m, v, rates):
    g = gradient + rates.weight_decay * weight
    m = rates.beta1 * m + (1 - rates.beta1) * g
    v = rates.beta2 * v + (1 - rates.beta2) * g * g
    step = (rates.correction3 * g + rates.correction1 * m) / (sqrt(rates.correction2 * v) + rates.epsilon)
    return weight - rates.learning_rate * step, m, v


def rmsprop(weight, gradient, m, v, rates):
    g = gradient + rates.weight_decay * weight
    m = rates.beta2 * m + (1 - rates.beta2) * g * g  # its one state, the mean square
    return weight - rates.learning_rate * g / (sqrt(m) + rates.epsilon), m, v


def rmsprop_momentum(weight, gradient, m, v, rates):
    g = gradient + rates.weight_decay * weight
    v = rates.beta2 * v + (1 - rates.beta2) * g * g
    m = rates.beta1 * m + g / (sqrt(v) + rates.epsilon)
    return weight - rates.learning_rate * m, m, v


def adagrad(weight, gradient, m, v, rates):
    g = gradient + rates.weight_decay * weight
    m = m + g * g  # its one state, the sum of squares
    return weight - rates.learning_rate * g / (sqrt(m) + rates.epsilon), m, v


def lion(weight, gradient, m, v, rates):
    c = rates.beta1 * m + (1 - rates.beta1) * gradient
    sign = 1.0 if c > 0 else (-1.0 if c < 0 else c)  # of 0 it is 0, and NaN stays NaN
    m = rates.beta2 * m + (1 - rates.beta2) * gradient
    return weight - rates.learning_rate * (sign + rates.weight_decay * weight), m, v


def descend(weight, gradient, m, v, rates):
    return weight - rates.learning_rate * gradient, m, v


def clipped(gradient, rates):
    """Limit a number of the gradient to [-clip_value, clip_value]; NaN stays NaN."""
    return rates.clip_value if gradient > rates.clip_value else (-rates.clip_value if gradient < -rates.clip_value else gradient)


def penalised(gradient, weight, rates):
    """Add l1 sign(weight) to a number of the gradient."""
    sign = 1.0 if weight > 0 else (-1.0 if weight < 0 else weight)
    return gradient + rates.l1 * sign


def averaged(average, weight, rates):
    """Return the exponential average of a weight after one more step. Polyak and Juditsky 1992, with weights that fade."""
    return rates.average_decay * average + (1 - rates.average_decay) * weight


def keep(weight, gradient, m, v, rates):
    return weight, gradient, v


def add_up(weight, gradient, m, v, rates):
    return weight, m + gradient, v


def nadam_momentum(decay, beta1):
    """Return the momentum of nadam where 0.96^(0.004 step) is `decay`: half of beta1 at first, then more and more of it."""
    return beta1 * (1.0 - 0.5 * decay)


def nadam_decay(step):
    """Return 0.96^(0.004 step) of a step, counted from 1."""
    return exp(-0.040821994520255166 * (NADAM_PACE * step))  # ln 0.96


NADAM_BASE, NADAM_PACE = 0.96, 0.004
NADAM_STEPS = 2000  # from here on the product of the momenta of all steps is 0 in float64: each of these is below 0.64

UPDATES = {
    update.name: update
    for update in (
        Update("sgd", None, 0, "Robbins and Monro 1951; Bishop 2006, eq. 5.43"),
        Update("momentum", momentum, 1, "Polyak 1964; Sutskever et al. 2013, eq. 1 and 2, with the learning rate outside of the sum"),
        Update("nesterov", nesterov, 1, "Sutskever et al. 2013, eq. 3 and 4, in the form of Bengio et al. 2013, eq. 7"),
        Update("adam", adam, 2, "Kingma and Ba 2015, algorithm 1"),
        Update("adamw", adamw, 2, "Loshchilov and Hutter 2019, algorithm 2"),
        Update("nadam", nadam, 2, "Dozat 2016, algorithm 2; its momentum grows as in PyTorch"),
        Update("rmsprop", rmsprop, 1, "Tieleman and Hinton 2012, lecture 6.5"),
        Update("rmsprop_momentum", rmsprop_momentum, 2, "the same, with momentum as in PyTorch"),
        Update("adagrad", adagrad, 1, "Duchi et al. 2011, figure 1, diagonal"),
        Update("lion", lion, 1, "Chen et al. 2023, algorithm 2"),
    )
}
# Besides the optimizers: what leaves the weights as they are, and puts their gradients into m, or adds them up there.
STORE = Update("store", keep, 1, "")
GRADIENT = Update("gradient", add_up, 1, "")
RULES = UPDATES | {rule.name: rule for rule in (STORE, GRADIENT)}
