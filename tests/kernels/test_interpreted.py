"""The same kernels without a compiler: pure Python gives what the compiled code gives."""

import numpy as np
import pytest

import fastmlp
from tests.kernels.processes import result_of
from tests.kernels.small_training import losses


@pytest.fixture(scope="module")
def compiled_losses():
    return losses()


def test_pure_kernels_train_to_the_same_losses(compiled_losses):
    interpreted = losses(kernels="python")
    assert interpreted.keys() == compiled_losses.keys()
    for name, expected in compiled_losses.items():
        assert interpreted[name] == pytest.approx(expected, rel=1e-4)


def test_first_hundred_steps_give_the_same_losses():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((100, 2))
    y = (x[:, 0] > x[:, 1]).astype(int)
    found = []
    for kernels in ("scalar", "python"):
        settings = fastmlp.TrainingSettings(epochs=1, batch_size=1, learning_rate=0.01, kernels=kernels)
        trainer = fastmlp.Trainer(fastmlp.make_plan(fastmlp.Network([2, 3, 2], "sigmoid"), x, y, settings))
        totals = [0.0]
        for _ in range(100):
            trainer.step()
            totals.append(trainer.state().total[0])
        found.append(np.diff(totals))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_without_compiler_training_gives_the_same_losses(compiled_losses):
    code = "import json; from tests.kernels.small_training import losses; print(json.dumps(losses()))"
    interpreted = result_of(code, NUMBA_DISABLE_JIT="1")
    assert interpreted.keys() == compiled_losses.keys()
    for name, expected in compiled_losses.items():
        assert interpreted[name] == pytest.approx(expected, rel=1e-4)
