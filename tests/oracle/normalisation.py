"""Batch and layer normalisation in float64, their derivative as a matrix product with the Jacobian. Imports nothing of fastmlp.

Ioffe and Szegedy 2015, algorithm 1; Ba, Kiros, Hinton 2016, eq. 3 and 4. "batch" standardises each column over the rows, "layer" each row.
"""

from typing import NamedTuple

import numpy as np

Array = np.ndarray

EPSILON = 1e-5  # added to the variance
MOMENTUM = 0.1  # share of the running statistics that a batch replaces


class Running(NamedTuple):
    """What inference takes for the statistics of a batch: (N,) each."""

    mean: Array
    variance: Array


def at_the_start(n_units: int) -> Running:
    return Running(np.zeros(n_units), np.ones(n_units))


def standardised(kind: str, sums: Array) -> Array:
    """Return the sums (M, N) with mean 0 and variance 1, up to EPSILON, over rows ("batch") or over units ("layer")."""
    axis = {"batch": 0, "layer": 1}[kind]
    return (sums - sums.mean(axis=axis, keepdims=True)) / np.sqrt(sums.var(axis=axis, keepdims=True) + EPSILON)


def backward(kind: str, sums: Array, delta: Array) -> Array:
    """Return the derivative with respect to the sums (M, N), from that with respect to the standardised ones.

    d zhat_i / d s_j = ([i = j] - 1/n - zhat_i zhat_j / n) / sqrt(var + EPSILON): a symmetric matrix for each group of n numbers.
    """
    if kind == "layer":
        return backward("batch", sums.T, delta.T).T
    n = len(sums)
    result = np.empty_like(sums)
    for unit, zhat in enumerate(standardised("batch", sums).T):
        jacobian = (np.eye(n) - 1.0 / n - np.outer(zhat, zhat) / n) / np.sqrt(sums[:, unit].var() + EPSILON)
        result[:, unit] = jacobian @ delta[:, unit]
    return result


def updated(running: Running, sums: Array) -> Running:
    """Return the running statistics after a batch; its variance is the unbiased one."""
    mean = (1.0 - MOMENTUM) * running.mean + MOMENTUM * sums.mean(axis=0)
    return Running(mean, (1.0 - MOMENTUM) * running.variance + MOMENTUM * sums.var(axis=0, ddof=1))


def in_use(running: Running, sums: Array) -> Array:
    """Return the sums (M, N) of batch normalisation as inference standardises them."""
    return (sums - running.mean) / np.sqrt(running.variance + EPSILON)
