"""Twelve trainings whose every setting is given, and a record of how they ended, so that no default and no refactoring changes them unseen.

    recorded_runs.safetensors   of each training, up to SAMPLE of its last parameters, evenly spaced, then their sum and their length
    recorded_runs.json          the SHA-256 of all of its parameters, for each kind of machine that recorded it

The first record was made by version 0.1.0. The samples come from a machine with vectors of 512 bits. A kind of machine is what decides
the bits: the processor that LLVM generates code for, the width of its vectors, and the version of LLVM. Where bits change on purpose,
record them anew on the machines that there are, and say so in the commit and in CHANGELOG.md:

    python -m tests.training.recorded_runs             writes both, and forgets the hashes of other machines
    python -m tests.training.recorded_runs --add       adds the hashes of another kind of machine (the test AVX2 says how to be one)
"""

import hashlib
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import safetensors.numpy

import fastmlp
from fastmlp.compilation import levels

HERE = Path(__file__).parent
SAMPLES, HASHES = HERE / "recorded_runs.safetensors", HERE / "recorded_runs.json"
SAMPLE = 256
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+cx16,+f16c,+fma,+fxsr,+lzcnt,+mmx,+movbe,+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,"
    "+ssse3,+xsave",
}

# Optimizers are given as records, which have all of their numbers; the rest of the settings:
TRAINING: dict[str, Any] = {
    "epochs": 1, "batch_size": 50, "learning_rate": 0.1, "clip_value": None, "clip_norm": None, "average": "none", "average_decay": 0.999,
    "average_start": 0.75, "schedule": "constant", "warmup_epochs": 0.0, "gamma": 0.1, "step_size": 10.0, "end_factor": 0.0, "l1": 0.0,
    "max_norm": None, "dropout": 0.0, "input_dropout": 0.0, "input_noise": 0.0, "label_smoothing": 0.0, "loss": "cross_entropy",
    "huber_delta": 1.0, "quantile": 0.5, "class_weight": None, "reduction": "mean", "normalize": "scale",
    "normalize_target": "none", "per_feature": None,
    "validation": None, "zero_skipping": "auto", "kernels": "auto", "threads": 1, "seed": 7, "metric": "loss", "patience": None,
    "restore_best": False, "target_accuracy": None, "time_budget": None, "augment_shift": 0.0, "augment_rotation": 0.0,
    "augment_scale": 0.0, "augment_shear": 0.0, "augment_elastic": 0.0, "augment_elastic_sigma": 4.0, "augment_flip": False,
}  # fmt: skip
NETWORK: dict[str, Any] = {
    "activation": "relu", "output": "softmax", "normalization": "none", "initializer": "glorot_normal", "initial_value": 0.01,
    "dtype": "float32", "seed": 3,
}  # fmt: skip
PLAIN = fastmlp.SGD(momentum=0.0, nesterov=False, weight_decay=0.0)


def trained(sizes: list[int], x: Any, y: Any, network: dict[str, Any], weight: Any = None, **training: Any) -> np.ndarray:
    """Return the parameters that a network ends with."""
    net = fastmlp.Network(sizes, **NETWORK | network)
    fastmlp.train(net, x, y, sample_weight=weight, **TRAINING | training)
    return net.parameters


def table(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(11).normal(size=(rows, columns))


def classes(x: np.ndarray) -> np.ndarray:
    return (x[:, 0] + x[:, 1] > 0).astype(int) + (x[:, 2] > 0.5)


def digits(rows: int) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the first rows of MNIST, and 200 others to judge epochs by."""
    data = fastmlp.load_dataset("mnist")
    return data.x_train[:rows], data.y_train[:rows], (data.x_train[-200:], data.y_train[-200:])


def mnist_zeros_skipped() -> np.ndarray:
    x, y, _ = digits(2000)
    return trained([784, 30, 10], x, y, {"activation": "sigmoid"}, optimizer=PLAIN, learning_rate=0.5, zero_skipping="on", threads=2)


def mnist_nesterov_cosine_smoothed() -> np.ndarray:
    x, y, held_out = digits(2000)
    optimizer = fastmlp.SGD(momentum=0.9, nesterov=True, weight_decay=0.0001)
    return trained(
        [784, 32, 16, 10], x, y, {"activation": ("relu", "tanh")}, optimizer=optimizer, learning_rate=0.02, schedule="cosine",
        warmup_epochs=0.25, end_factor=0.1, label_smoothing=0.1, validation=held_out, zero_skipping="off",
    )  # fmt: skip


def mnist_augmented_adam() -> np.ndarray:
    x, y, _ = digits(600)
    optimizer = fastmlp.Adam(beta1=0.9, beta2=0.999, epsilon=1e-6, weight_decay=0.0)
    return trained(
        [784, 24, 10], x, y, {"activation": "silu"}, optimizer=optimizer, learning_rate=0.002, augment_shift=1.0, augment_rotation=10.0,
        augment_scale=0.1, augment_shear=5.0, augment_elastic=1.0, augment_flip=True,
    )  # fmt: skip


def mnist_dropout_adamw_ema() -> np.ndarray:
    x, y, held_out = digits(1000)
    optimizer = fastmlp.AdamW(beta1=0.85, beta2=0.99, epsilon=1e-5, weight_decay=0.02)
    return trained(
        [784, 32, 10], x, y, {"activation": "tanh", "initializer": "he_uniform"}, optimizer=optimizer, learning_rate=0.001, dropout=0.2,
        input_dropout=0.1, input_noise=0.2, max_norm=2.0, average="ema", average_decay=0.9, validation=held_out, epochs=2,
        restore_best=True,
    )  # fmt: skip


def mnist_row_by_row() -> np.ndarray:
    x, y, _ = digits(150)
    return trained([784, 10, 10], x, y, {"activation": "sigmoid"}, optimizer=PLAIN, batch_size=1, learning_rate=0.05)


def mnist_standardised_swa() -> np.ndarray:
    x, y, held_out = digits(500)
    return trained(
        [784, 20, 10], x, y, {"activation": "leaky_relu"}, optimizer=PLAIN, batch_size=25, learning_rate=0.05, epochs=4, average="swa",
        average_start=0.5, normalize="standardize", schedule="linear", end_factor=0.5, validation=held_out, reduction="mean",
    )  # fmt: skip


def scalar_rmsprop_step() -> np.ndarray:
    x = table(210, 6)
    optimizer = fastmlp.RMSprop(momentum=0.5, beta2=0.95, epsilon=1e-4, weight_decay=0.001)
    return trained(
        [6, 5, 4, 3], x, classes(x), {"activation": ("tanh", "gelu")}, optimizer=optimizer, batch_size=20, learning_rate=0.01, epochs=3,
        l1=0.0005, schedule="step", gamma=0.5, step_size=1.0, kernels="scalar", normalize="standardize", per_feature=True,
    )  # fmt: skip


def batch_norm_nadam_float64() -> np.ndarray:
    x = table(300, 40)
    optimizer = fastmlp.NAdam(beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0)
    return trained(
        [40, 32, 3], x, classes(x), {"dtype": "float64", "normalization": "batch", "initializer": "orthogonal"}, optimizer=optimizer,
        batch_size=30, learning_rate=0.005, schedule="one_cycle", end_factor=0.01, clip_norm=1.0, reduction="sum",
    )  # fmt: skip


def layer_norm_lion() -> np.ndarray:
    x = table(300, 40)
    optimizer = fastmlp.Lion(beta1=0.9, beta2=0.99, weight_decay=0.1)
    network = {"dtype": "float64", "normalization": "layer", "activation": "mish"}
    return trained(
        [40, 24, 3], x, classes(x), network, optimizer=optimizer, batch_size=30, learning_rate=0.001, schedule="inverse", gamma=2.0
    )


def weighted_labels_adagrad() -> np.ndarray:
    x = table(240, 8)
    y = (x[:, 0] + x[:, 1] > 1.5).astype(int)
    weight = np.where(x[:, 3] > 0, 2.0, 0.5)
    optimizer = fastmlp.Adagrad(epsilon=1e-6, weight_decay=0.001)
    network = {"activation": "elu", "output": "sigmoid"}
    return trained(
        [8, 12, 1], x, y, network, weight, optimizer=optimizer, batch_size=16, loss="binary_cross_entropy", class_weight="balanced",
        learning_rate=0.05, clip_value=0.05, normalize="standardize", per_feature=False,
    )  # fmt: skip


def huber_adam_plateau() -> np.ndarray:
    x = table(400, 12)
    y = 3 * x[:, :1] - x[:, 1:2] * x[:, 2:3]
    optimizer = fastmlp.Adam(beta1=0.9, beta2=0.99, epsilon=1e-5, weight_decay=0.001)
    network = {"activation": "softplus", "output": "identity", "initializer": "course"}
    return trained(
        [12, 64, 1], x[:300], y[:300], network, optimizer=optimizer, batch_size=50, learning_rate=0.01, epochs=5, loss="huber",
        huber_delta=0.5, schedule="plateau", gamma=0.5, step_size=1.0, validation=(x[300:], y[300:]), normalize="none",
    )  # fmt: skip


def lbfgs_mse_float64() -> np.ndarray:
    x = table(200, 5)
    y = np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2]], axis=1)
    network = {"activation": "tanh", "output": "identity", "dtype": "float64"}
    return trained(
        [5, 8, 2],
        x,
        y,
        network,
        optimizer="lbfgs",
        weight_decay=0.001,
        learning_rate=None,
        batch_size=None,
        epochs=6,
        loss="mse",
        normalize="none",
    )


RUNS: dict[str, Callable[[], np.ndarray]] = {
    run.__name__: run
    for run in (
        mnist_zeros_skipped, mnist_nesterov_cosine_smoothed, mnist_augmented_adam, mnist_dropout_adamw_ema, mnist_row_by_row,
        mnist_standardised_swa, scalar_rmsprop_step, batch_norm_nadam_float64, layer_norm_lion, weighted_labels_adagrad, huber_adam_plateau,
        lbfgs_mse_float64,
    )
}  # fmt: skip


def machine() -> str:
    """Return what decides the bits of a run, as text."""
    return f"{levels.target().name.partition('+')[0]}, LLVM {'.'.join(map(str, llvmlite.binding.llvm_version_info))}"


def digest(parameters: np.ndarray) -> str:
    return hashlib.sha256(parameters.tobytes()).hexdigest()


def sample(parameters: np.ndarray) -> np.ndarray:
    """Return the parameters that are kept of a run, their sum and length (Euclidean)."""
    chosen = np.linspace(0, parameters.size - 1, min(parameters.size, SAMPLE)).astype(int)
    wide = parameters.astype(np.float64)
    return np.append(wide[chosen], [math.fsum(wide), math.sqrt(math.fsum(wide * wide))])


def record(add: bool) -> None:
    """Write what the runs end with, here and now."""
    ends = {name: run() for name, run in RUNS.items()}
    known = json.loads(HASHES.read_text()) if add else {}
    known[machine()] = {name: digest(end) for name, end in ends.items()}
    if not add:
        safetensors.numpy.save_file({name: sample(end) for name, end in ends.items()}, SAMPLES)
    HASHES.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


if __name__ == "__main__":
    record("--add" in sys.argv[1:])
