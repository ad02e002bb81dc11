"""The oracle's sums over all gradients take the steps of the recursions in the papers."""

from math import sqrt

import numpy as np
import pytest

from tests.oracle import updates
from tests.oracle.updates import Rule

GRADIENTS = np.random.default_rng(2).standard_normal(7)
RULES = [
    Rule("sgd", 0.3),
    Rule("momentum", 0.1, beta1=0.8),
    Rule("nesterov", 0.1, beta1=0.8),
    Rule("rmsprop", 0.01, beta2=0.9),
    Rule("rmsprop_momentum", 0.01, beta1=0.5, beta2=0.9),
    Rule("adagrad", 0.1),
    Rule("adam", 0.01, beta1=0.8, beta2=0.95),
    Rule("adamw", 0.01, weight_decay=0.1, beta1=0.8, beta2=0.95),
    Rule("nadam", 0.01, beta1=0.8, beta2=0.95),
    Rule("lion", 0.01, weight_decay=0.1, beta1=0.8, beta2=0.95),
]


def by_recursion(rule: Rule, weight: float) -> tuple[float, float, float]:
    """Return weight, m and v after the steps of GRADIENTS, carried on from step to step."""
    m = v = 0.0
    product = 1.0
    rate, b1, b2, decay = rule.learning_rate, rule.beta1, rule.beta2, rule.weight_decay
    for t, g in enumerate(GRADIENTS, 1):
        if rule.name in ("adam", "adamw", "nadam"):
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            denominator = sqrt(v / (1 - b2**t)) + rule.epsilon
        if rule.name == "sgd":
            weight -= rate * g
        elif rule.name == "momentum":
            m = b1 * m + g
            weight -= rate * m
        elif rule.name == "nesterov":
            m = b1 * m + g
            weight -= rate * (g + b1 * m)
        elif rule.name == "rmsprop":
            m = b2 * m + (1 - b2) * g * g
            weight -= rate * g / (sqrt(m) + rule.epsilon)
        elif rule.name == "rmsprop_momentum":
            v = b2 * v + (1 - b2) * g * g
            m = b1 * m + g / (sqrt(v) + rule.epsilon)
            weight -= rate * m
        elif rule.name == "adagrad":
            m += g * g
            weight -= rate * g / (sqrt(m) + rule.epsilon)
        elif rule.name == "adam":
            weight -= rate * m / (1 - b1**t) / denominator
        elif rule.name == "adamw":
            weight -= rate * (m / (1 - b1**t) / denominator + decay * weight)
        elif rule.name == "nadam":
            now, ahead = (b1 * (1 - 0.5 * 0.96 ** (0.004 * step)) for step in (t, t + 1))
            product *= now
            weight -= rate * (1 - now) / (1 - product) * g / denominator
            weight -= rate * ahead / (1 - product * ahead) * m / denominator
        elif rule.name == "lion":
            weight -= rate * (np.sign(b1 * m + (1 - b1) * g) + decay * weight)
            m = b2 * m + (1 - b2) * g
    return weight, m, v


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_steps_are_those_of_the_recursion(rule):
    expected, m, v = by_recursion(rule, 0.7)
    weight, gradients = np.array([0.7]), []
    for gradient in GRADIENTS:
        gradients.append(np.array([gradient]))
        weight = updates.step(rule, weight, gradients)
    assert weight[0] == pytest.approx(expected, rel=1e-13)
    assert [float(kept[0]) for kept in updates.kept(rule, gradients)] == pytest.approx([m, v], rel=1e-13)
