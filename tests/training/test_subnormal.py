"""Sums that fade: mean gradients of units that no longer get any end at 0, and not at numbers below the smallest normal one."""

import platform

import numpy as np
import pytest

import fastmlp
from fastmlp.compilation.options import JIT
from fastmlp.settings import TrainingSettings

TINY = np.finfo(np.float32).tiny
x86_only = pytest.mark.skipif(not JIT or platform.machine() not in ("x86_64", "AMD64"), reason="a mode of x86-64 processors")


def trained(threads):
    """Return a training whose hidden units have all died after the first steps: their mean gradients have shrunk ever since."""
    rng = np.random.default_rng(0)
    x, y = rng.random((256, 8), np.float32), rng.random(256)
    net = fastmlp.Network([8, 64, 1], "relu", "identity", seed=0)
    settings = TrainingSettings(optimizer="adam", beta1=0.8, learning_rate=1e-3, batch_size=64, epochs=150, threads=threads)
    trainer = fastmlp.Trainer(fastmlp.make_plan(net, x, y, settings))
    trainer.step()
    net.biases[0][:] = -1000  # no input reaches above it
    while trainer.stopped is None:
        trainer.step()
    return trainer.state()


@x86_only
@pytest.mark.parametrize("threads", [1, 2])
def test_no_mean_gradient_of_a_dead_unit_stays_subnormal(threads):
    size = np.abs(trained(threads).m[: 8 * 64])
    assert (size == 0).all()  # 0.8 ** 599 of a gradient below 1: unflushed, each would stay a subnormal number


@x86_only
def test_training_leaves_the_arithmetic_of_the_thread_that_asks_for_it_as_it_was():
    trained(1)
    assert np.float32(TINY) * np.float32(0.5) > 0
