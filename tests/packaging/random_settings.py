"""Trainings with settings that a user could ask for, drawn by number: what the code in a wheel is held against.

Run as a program it trains some of them and what follows a training, and prints what was compiled for which:

    python random_settings.py FIRST LAST
"""

import json
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np

import fastmlp
from fastmlp.compilation import waiting
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import losses_for
from fastmlp.settings import INITIALIZERS, OPTIMIZERS, SCHEDULES, TrainingSettings, decider_against, having, metrics_of

SEED = 190
ROWS = 230
MOST_DRAWS = 100
# Of the settings of train(): what each is drawn from, where it is given at all.
VALUES: dict[str, tuple[Any, ...]] = {
    "batch_size": (1, 1, 2, 3, 5, 8, 16, 20, 32, 32, 50, 50, 64, 100, 128, 200, 256),
    "learning_rate": (0.001, 0.003),
    "momentum": (0.0, 0.5, 0.9),
    "nesterov": (False, True),
    "beta1": (0.8, 0.9),
    "beta2": (0.99, 0.999),
    "epsilon": (1e-8, 1e-6),
    "initial_accumulator_value": (0.0, 0.1),
    "clip_value": (0.1, 1.0),
    "clip_norm": (0.5, 5.0),
    "average": ("ema", "swa", "none"),
    "average_decay": (0.9, 0.99),
    "average_start": (0.0, 0.5),
    "schedule": SCHEDULES,
    "warmup_epochs": (0.5, 1.0),
    "gamma": (0.5, 0.9),
    "step_size": (1.0, 2.0),
    "end_factor": (0.0, 0.1),
    "weight_decay": (1e-4, 1e-2),
    "l1": (1e-5, 1e-3),
    "max_norm": (1.0, 3.0),
    "dropout": (0.1, 0.5),
    "input_dropout": (0.1, 0.2),
    "input_noise": (0.05, 0.1),
    "label_smoothing": (0.05, 0.1),
    "huber_delta": (0.5, 1.0),
    "quantile": (0.1, 0.9),
    "class_weight": ("balanced",),
    "reduction": ("sum", "mean"),
    "normalize": ("none", "scale", "standardize"),
    "normalize_target": ("none", "standardize"),
    "per_feature": (False, True),
    "validation": (30, 0.1, 0.25),
    "holdout": ("stratified", "shuffled", "last"),
    "split_seed": (1, 2),
    "zero_skipping": ("auto", "on", "off"),
    "kernels": ("auto", "auto", "auto", "scalar"),
    "seed": (1, 2),
    "patience": (1, 3),
    "restore_best": (True,),
    "target_accuracy": (0.9,),
    "time_budget": (60.0,),
    "augment_shift": (1.0,),
    "augment_rotation": (10.0,),
    "augment_scale": (0.1,),
    "augment_shear": (5.0,),
    "augment_elastic": (1.0,),
    "augment_elastic_sigma": (3.0,),
    "augment_flip": (True,),
}
GIVEN = 0.2  # how often each of them is given
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 10, 16, 17, 20, 24, 30, 32, 33, 48, 50, 64, 65, 90, 100, 128, 150, 200, 256, 300, 300)


class Drawn(NamedTuple):
    """A training: a network, rows, and the keywords of train()."""

    network: dict[str, Any]
    x: np.ndarray
    y: np.ndarray
    training: dict[str, Any]


def drawn(number: int) -> Drawn:
    """Return the training of a number: the first of its draws that fastmlp does not refuse."""
    for attempt in range(MOST_DRAWS):
        found = _draw(np.random.default_rng([SEED, number, attempt]))
        try:
            with warnings.catch_warnings(action="ignore"):
                network = fastmlp.Network(**found.network)
                fastmlp.make_plan(network, found.x, found.y, TrainingSettings(**found.training))
        except (fastmlp.ConfigError, fastmlp.DataError):
            continue
        return found
    raise ValueError(f"number {number}: expected one of {MOST_DRAWS} draws that is not refused, got none")


def _draw(g: np.random.Generator) -> Drawn:
    def one_of(values: Any) -> Any:
        return values[int(g.integers(len(values)))]

    output = one_of(("softmax", "softmax", "softmax", "sigmoid", "identity", "identity"))
    is_picture = output != "identity" and g.random() < 0.5
    if is_picture:
        x = np.where(g.random((ROWS, 28, 28)) < one_of((0.2, 0.2, 1.0)), g.integers(1, 256, (ROWS, 28, 28)), 0).astype(np.uint8)
    else:
        columns = one_of((1, 2, 3, 4, 8, 10, 17, 30, 64, 100, 200))
        x = g.standard_normal((ROWS, columns)) * (g.random((ROWS, columns)) < one_of((0.3, 1.0, 1.0)))
        x = x.astype(one_of((np.float32, np.float64, np.float64)))
    outputs = one_of((2, 3, 4, 10, 10, 26)) if output == "softmax" else one_of((1, 1, 1, 2, 5))
    loss = one_of([None, *losses_for(output)])
    if output == "softmax":
        y = g.integers(0, outputs, ROWS)
        y[:outputs] = np.arange(outputs)
    elif output == "sigmoid":
        y = g.integers(0, 2, (ROWS, outputs) if outputs > 1 else ROWS)
    else:
        y = g.poisson(2.0, (ROWS, outputs)) if loss == "poisson" else g.standard_normal((ROWS, outputs))
        y = y.astype(np.float64)[:, 0] if outputs == 1 else y.astype(np.float64)
    hidden = [one_of(WIDTHS) for _ in range(one_of((0, 1, 1, 1, 1, 2, 2, 3)))]
    activation = [one_of(list(ACTIVATIONS)) for _ in hidden] if g.random() < 0.3 else one_of(["relu", "relu", *ACTIVATIONS])
    network = {
        "sizes": [int(np.prod(x.shape[1:])), *hidden, outputs], "activation": activation or "relu", "output": output,
        "normalization": one_of(("none", "none", "none", "batch", "layer")), "dtype": one_of(("float32", "float32", "float32", "float64")),
        "initializer": one_of((None, None, *INITIALIZERS)),
    }  # fmt: skip
    training = {"optimizer": one_of((None, *OPTIMIZERS)), "loss": loss}
    training |= {name: one_of(values) for name, values in VALUES.items() if g.random() < GIVEN}
    if training["optimizer"] is None and {"learning_rate", "momentum", "nesterov"} & training.keys():
        training["optimizer"] = "sgd"
    left_out = {name for name in training if decider_against(name, training) is not None}
    if not hidden:
        left_out |= {"dropout", "max_norm"}
    if training.get("normalize") is None:  # which scales
        left_out.add("per_feature")
    if training["optimizer"] == "lbfgs":
        left_out |= set(having("full_batch", False))
    if not is_picture:
        left_out |= {name for name in training if name.startswith("augment")}
    if output == "identity":
        left_out |= {"label_smoothing", "class_weight", "target_accuracy"}
    else:
        left_out |= {"normalize_target"}
    if "validation" not in training:
        left_out |= {*having("judges"), *having("needs", "validation")}
    kept = {name: value for name, value in training.items() if name not in left_out}
    if training.get("validation") is not None and g.random() < 0.3:
        kept["metric"] = one_of(list(metrics_of(output)))
    return Drawn(network, x, y, {**kept, "epochs": 2, "threads": one_of((1, 2))})


def train_and_use(number: int) -> None:
    """Train, and do with the network what people do: evaluate, predict one row, a few and many."""
    network, x, y, training = drawn(number)
    net = fastmlp.Network(**network)
    try:
        fastmlp.train(net, x, y, **training, verbose=False)
    except fastmlp.TrainingError:  # settings that were drawn need not make sense
        return
    net.evaluate(x, y)
    for rows in (1, 3, ROWS):
        net.predict(x[:rows])
    net.predict(x[0])
    if net.output != "identity":
        net.predict_proba(x)


def main() -> None:
    """Train the numbers of the command line; print {number: names of the kernels that were compiled for it}."""
    warnings.simplefilter("ignore")
    found: dict[int, list[str]] = {}
    for number in range(*map(int, sys.argv[1:])):
        compiled: list[str] = []
        with waiting.watch(lambda name, seconds, compiled=compiled: compiled.append(name) if seconds is None else None):
            train_and_use(number)
        found[number] = compiled
    print(json.dumps(found))


if __name__ == "__main__":
    main()
