"""`fastmlp warmup`: after it, no training waits for the compiler."""

import json
import os
import subprocess
import sys

import pytest

# Trainings that a user might ask for, none of the sizes that the warm-up used.
TRAININGS = """
import json, sys
import numpy as np
import fastmlp
from fastmlp.compilation import waiting

generator = np.random.default_rng(5)
pictures = np.where(generator.random((310, 784)) < 0.2, generator.integers(1, 256, (310, 784)), 0).astype(np.uint8)
table = generator.standard_normal((310, 7))
classes, values = generator.integers(0, 4, 310), generator.standard_normal((310, 2))
compiled = []
with waiting.watch(lambda name, seconds: compiled.append(name) if seconds is None else None):
    for sizes, activation, options in [
        ([300], "relu", {}),
        ([130, 33], "tanh", {"normalize": "standardize"}),
        ([70, 20, 15], "silu", {"optimizer": "adam", "learning_rate": 0.001}),
        ([17], "sigmoid", {"momentum": 0.9, "nesterov": True, "learning_rate": 0.01}),
        ([64, 64], "relu", {"zero_skipping": "off", "batch_size": 100}),
        ([3], "sigmoid", {"batch_size": 1}),
        ([30, 4], "relu", {"batch_size": 1, "label_smoothing": 0.2}),
        ([6, 4], "tanh", {"batch_size": 1, "label_smoothing": 0.2}),
        ([33, 90, 200], "gelu", {"batch_size": 128}),
        ([90, 40], "relu", {"dropout": (0.5, 0.2), "max_norm": 2.0}),
        ([200], "tanh", {"input_dropout": 0.2, "input_noise": 0.1, "normalize": "standardize"}),
        ([5], "relu", {"dropout": 0.5, "input_noise": 0.1, "max_norm": 2.0, "batch_size": 1}),
        ([50], "tanh", {"optimizer": "lion", "learning_rate": 0.001, "clip_value": 0.1, "l1": 1e-4}),
        ([90, 20], "relu", {"optimizer": "rmsprop", "learning_rate": 0.001, "average": "swa"}),
        ([300], "relu", {"clip_norm": 1.0, "average": "ema", "schedule": "cosine", "normalize": "standardize"}),
        ([3], "sigmoid", {"batch_size": 2, "optimizer": "nadam", "learning_rate": 0.001, "clip_norm": 1.0}),
        ([90, 40], "relu", {"normalization": "batch", "optimizer": "adam"}),
        ([40, 5], "tanh", {"normalization": "layer", "momentum": 0.9}),
        ([5], "tanh", {"normalization": "layer", "batch_size": 1}),
    ]:
        normalization = options.pop("normalization", "none")
        for x, y in ((pictures, classes), (table, values)):
            outputs, output = (4, "softmax") if y is classes else (2, "identity")
            if "label_smoothing" in options and output == "identity":
                continue
            net = fastmlp.Network([x.shape[1], *sizes, outputs], activation, output, normalization=normalization)
            fastmlp.train(net, x, y, epochs=1, validation=30, **{"learning_rate": 0.01, **options})
            net.predict(x), net.predict(x[0].astype(x.dtype))
print(json.dumps(compiled))
"""


@pytest.mark.long
def test_after_a_warm_up_no_training_compiles_anything(process, tmp_path):
    cache = {"FASTMLP_CACHE_DIR": str(tmp_path / "cache")}
    found = process("warmup", "--json", environment=cache)
    assert found.code == 0, found.err
    assert found.json["compiled"] > 50
    trained = subprocess.run([sys.executable, "-c", TRAININGS], env={**os.environ, **cache}, capture_output=True, text=True, check=True)
    assert json.loads(trained.stdout) == []
