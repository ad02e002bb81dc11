"""Trainings of random small networks with random settings: what fastmlp is given, and the same as a problem of the oracle.

A case is drawn from its number alone. The oracle's numbers are made from the case, not from what fastmlp makes of it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import fastmlp
from fastmlp.settings import decider_against
from tests.oracle import losses, training
from tests.oracle.activations import ACTIVATIONS
from tests.oracle.schedules import Schedule
from tests.oracle.training import Problem, Trained
from tests.oracle.updates import Rule

SEED = 20_240
STEPS = 12  # about so many in each training
# Each width of tiles compiles blocks of its own: the first cases make do with one of them, and with layers of several tiles.
FEW = 200
NARROW, WIDE = (1, 2, 3, 5, 8, 17, 17, 20), (1, 2, 3, 5, 8, 17, 17, 20, 33, 40, 43)

# Of the draws of a number, one is taken that a change of the starting weights in the 14th digit changes by no more than this, relative to
# the largest number: there, two correct trainings may differ in their last digits and no more. Others sit on a kink, on a sign of 0.
MOST_SENSITIVE, CHANGE = 2e-11, 1e-14
MOST_DRAWS = 20

LEARNING_RATES = {
    "sgd": 0.05, "rmsprop": 0.003, "adagrad": 0.02, "adam": 0.01, "adamw": 0.01, "nadam": 0.01, "lion": 0.003,
}  # fmt: skip
LOSS_OUTPUTS = losses.OUTPUT_OF


class Case(NamedTuple):
    """A network, rows, and the keywords of `train`."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    x: np.ndarray  # (n, K) floats or bytes
    y: np.ndarray  # (n,) classes or (n, T)
    settings: Mapping[str, Any]
    normalization: str = "none"
    seed: int = 0  # of the network's parameters
    validation: tuple[np.ndarray, np.ndarray] | None = None
    sample_weight: np.ndarray | None = None
    class_weight: Any = None

    @property
    def loss(self) -> str:
        """Its name."""
        return str(self.settings["loss"])


class Outcome(NamedTuple):
    """What a training by fastmlp came to."""

    network: fastmlp.Network
    history: fastmlp.History


def initial_parameters(case: Case) -> np.ndarray:
    """Return parameters (P,) to start from: none of them 0, no unit on a kink."""
    generator, parts = np.random.default_rng([SEED, case.seed]), []
    for index, (n_in, n_out) in enumerate(zip(case.sizes, case.sizes[1:], strict=False)):
        parts += [generator.normal(0.0, n_in**-0.5, n_in * n_out), generator.normal(0.0, 0.3, n_out)]
        if case.normalization != "none" and index + 2 < len(case.sizes):
            parts.append(generator.uniform(0.5, 1.5, n_out))
    return np.concatenate(parts)


def network_of(case: Case) -> fastmlp.Network:
    """Return the network to be trained."""
    net = fastmlp.Network(
        case.sizes, case.activations or "relu", LOSS_OUTPUTS[case.loss], normalization=case.normalization, dtype="float64",
    )  # fmt: skip
    net.parameters[:] = initial_parameters(case)
    return net


def settings_of(case: Case, **changes: Any) -> dict[str, Any]:
    """Return the settings as fastmlp takes them: those that the others leave a meaning; `changes` are instead of the case's."""
    loss = "mse" if case.loss.startswith("mse") else case.loss  # of which output, the network says
    drawn = {"normalize_target": "none", **case.settings, **changes, "loss": loss}
    return {name: value for name, value in drawn.items() if decider_against(name, drawn) is None}


def by_fastmlp(case: Case, **changes: Any) -> Outcome:
    """Train with fastmlp; `changes` are settings instead of those of the case."""
    net, given = network_of(case), settings_of(case, **changes)
    if case.class_weight is not None:
        given["class_weight"] = case.class_weight
    history = fastmlp.train(net, case.x, case.y, validation=case.validation, sample_weight=case.sample_weight, **given)
    return Outcome(net, history)


def problem_of(case: Case) -> Problem:
    """Return the case as the oracle takes it."""
    s = {**DEFAULTS, **case.settings}
    rules = {"sgd": "nesterov" if s["nesterov"] else "momentum", "rmsprop": "rmsprop_momentum"}
    beta1 = s["momentum"] if s["optimizer"] in rules else s["beta1"]
    rule = Rule(
        rules.get(s["optimizer"], s["optimizer"]), 0.0, s["weight_decay"], beta1, s["beta2"], s["epsilon"], s["initial_accumulator_value"]
    )
    schedule = Schedule(s["schedule"], s["learning_rate"], s["warmup_epochs"], s["gamma"], s["step_size"], s["end_factor"])
    share = s["dropout"]
    validation = None
    if case.validation is not None:
        validation = normalised(case, case.validation[0]), as_columns(case.validation[1])
    return Problem(
        case.sizes, case.activations, initial_parameters(case), normalised(case, case.x), as_columns(case.y), case.loss,
        validation=validation, row_weights=row_weights(case), normalization=case.normalization, epochs=s["epochs"],
        batch_size=s["batch_size"], schedule=schedule, rule=rule, clip_value=s["clip_value"], clip_norm=s["clip_norm"], l1=s["l1"],
        max_norm=s["max_norm"], dropout=share if isinstance(share, tuple) else (share,) * len(case.activations),
        input_dropout=s["input_dropout"], input_noise=s["input_noise"],
        parameter={"huber": s["huber_delta"], "quantile": s["quantile"]}.get(case.loss, 0.0), label_smoothing=s["label_smoothing"],
        average=s["average"], average_decay=s["average_decay"], average_start=s["average_start"], mean=s["reduction"] == "mean",
        seed=s["seed"],
    )  # fmt: skip


# The settings that change a number, as they are where nothing else is said.
DEFAULTS: dict[str, Any] = {
    "epochs": 3, "batch_size": 5, "learning_rate": 0.05, "optimizer": "sgd", "momentum": 0.0, "nesterov": False, "beta1": 0.9,
    "beta2": 0.999, "epsilon": 1e-8, "initial_accumulator_value": 0.0, "clip_value": None, "clip_norm": None, "average": "none",
    "average_decay": 0.999,
    "average_start": 0.75, "schedule": "constant", "warmup_epochs": 0.0, "gamma": 0.1, "step_size": 10.0, "end_factor": 0.0,
    "weight_decay": 0.0, "l1": 0.0, "max_norm": None, "dropout": 0.0, "input_dropout": 0.0, "input_noise": 0.0, "label_smoothing": 0.0,
    "huber_delta": 1.0, "quantile": 0.5, "reduction": "mean", "normalize": "none", "seed": 0,
}  # fmt: skip


def normalised(case: Case, x: np.ndarray) -> np.ndarray:
    """Return rows as the network sees them: bytes are parts of 255, standardised features go by the rows trained on."""
    if x.dtype == np.uint8:
        x = x / 255.0
    if case.settings.get("normalize") == "standardize":
        return (x - case.x.mean(axis=0)) / case.x.std(axis=0)
    return x


def as_columns(y: np.ndarray) -> np.ndarray:
    return (y[:, None] if y.ndim == 1 else y).astype(float)


def row_weights(case: Case) -> np.ndarray | None:
    """Return what each row counts: its own weight times that of its class."""
    if case.sample_weight is None and case.class_weight is None:
        return None
    weights = np.ones(len(case.x)) if case.sample_weight is None else case.sample_weight
    if case.class_weight is None:
        return weights
    counts = np.bincount(case.y)
    present = np.count_nonzero(counts)
    of_class = case.class_weight
    if of_class == "balanced":
        of_class = {index: len(case.y) / (present * count) for index, count in enumerate(counts) if count}
    return weights * np.array([of_class.get(int(label), 1.0) for label in case.y])


# --- by one setting --------------------------------------------------------------------------------------------------------


def made(generator: np.random.Generator, loss: str, rows: int, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of so many rows for a loss."""
    kind = LOSS_OUTPUTS[loss]
    if kind == "softmax":
        y = generator.integers(0, outputs, rows)
    elif kind == "sigmoid":
        y = generator.integers(0, 2, (rows, outputs))
    else:
        y = generator.poisson(2.0, (rows, outputs)) if loss == "poisson" else generator.standard_normal((rows, outputs))
    return generator.standard_normal((rows, inputs)), y


def simple(loss: str = "cross_entropy", activation: str = "tanh", **settings: Any) -> Case:
    """Return a case with two hidden layers, 23 rows in batches of five, and nothing else but these settings."""
    generator = np.random.default_rng(SEED)
    x, y = made(generator, loss, 23, 6, 3)
    held_out = made(generator, loss, 7, 6, 3)
    return Case((6, 17, 7, 3), (activation, activation), x, y, {**DEFAULTS, "loss": loss, **settings}, seed=1, validation=held_out)


# --- by chance -------------------------------------------------------------------------------------------------------------


def drawn(number: int) -> Case:
    """Return the case of a number: the first of its draws that is not too sensitive."""
    for attempt in range(MOST_DRAWS):
        case = _draw(np.random.default_rng([SEED, number, attempt]), number)
        if sensitivity(problem_of(case)) <= MOST_SENSITIVE:
            return case
    raise ValueError(f"case {number}: expected one of {MOST_DRAWS} draws to be stable, got none")


def first_draw(number: int) -> Case:
    """Return the first draw of a number, sensitive or not."""
    return _draw(np.random.default_rng([SEED, number, 0]), number)


def sensitivity(problem: Problem) -> float:
    """Return how much a training changes with the 14th digit of its start, by the oracle alone; infinite where it diverges."""
    signs = np.where(np.arange(len(problem.parameters)) % 3 == 0, 1.0, -1.0)
    with np.errstate(all="ignore"):
        runs = [training.train(problem._replace(parameters=problem.parameters * (1.0 + change * signs))) for change in (0.0, CHANGE)]
        found = [np.concatenate([run.raw, run.parameters, *(np.concatenate(one) for one in run.running)]) for run in runs]
        size, difference = np.abs(found[0]).max(), np.abs(found[1] - found[0]).max()
        worst_loss = max(epoch.train_loss for epoch in runs[0].epochs)
    return float(difference / size) if np.isfinite(size) and worst_loss < 100.0 else np.inf


def _draw(g: np.random.Generator, number: int) -> Case:
    def some(share: float) -> bool:
        return bool(g.random() < share)

    def one_of(*values: Any) -> Any:
        return values[g.integers(len(values))]

    def between(low: float, high: float) -> float:
        return float(g.uniform(low, high))

    n_hidden = one_of(0, 1, 1, 1, 2, 2, 2, 3, 3)
    norm = one_of("none", "none", "none", "batch", "layer") if n_hidden else "none"
    widths = NARROW if number < FEW else WIDE
    if norm != "none":
        widths = widths[2:]  # one or two units standardise to signs
    loss = one_of(*LOSS_OUTPUTS)
    kind = LOSS_OUTPUTS[loss]
    inputs, outputs = one_of(1, 3, 8, 20), one_of(2, 3, 5, 11) if kind == "softmax" else one_of(1, 2, 3, 6)
    sizes = (inputs, *(one_of(*widths) for _ in range(n_hidden)), outputs)
    rows, batch_size = int(g.integers(12, 41)), int(g.integers(5, 20))
    while norm == "batch" and rows % batch_size in (1, 2):  # two rows standardise to 1 and -1, whatever they are
        rows -= 1
    x, y = made(g, loss, rows, inputs, outputs)
    normalize = one_of("none", "none", "scale", "standardize")
    if normalize == "scale":
        x = np.where(g.random(x.shape) < 0.5, 0, g.integers(0, 256, x.shape)).astype(np.uint8)
    optimizer = one_of(*LEARNING_RATES)
    reduction = one_of("mean", "mean", "sum")
    settings: dict[str, Any] = {
        "loss": loss,
        "epochs": max(1, round(STEPS / -(-rows // batch_size))),
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": LEARNING_RATES[optimizer] * between(0.5, 1.5) / (batch_size if reduction == "sum" else 1),
        "reduction": reduction,
        "normalize": normalize,
        "seed": int(g.integers(0, 2**62)),
        "kernels": ("auto", "scalar")[number % 2],
        "threads": one_of(1, 2),
        "zero_skipping": one_of("auto", "on", "off"),
        "momentum": one_of(0.0, 0.5, 0.9) if optimizer in ("sgd", "rmsprop") else 0.0,
        "beta1": one_of(0.9, 0.5),
        "beta2": one_of(0.999, 0.9),
        "epsilon": one_of(1e-8, 1e-3),
        "initial_accumulator_value": (0.0, 0.1)[number // 2 % 2],
        "weight_decay": between(0.0, 0.2) if some(0.4) else 0.0,
        "l1": between(0.0, 0.02) if some(0.2) else 0.0,
        "clip_value": 10 ** between(-2.5, -0.5) if some(0.2) else None,
        "clip_norm": 10 ** between(-1.5, 0.5) if some(0.2) else None,
        "max_norm": between(0.5, 1.5) if some(0.25) else None,
        "average": one_of("none", "none", "none", "ema", "swa"),
        "average_decay": between(0.5, 0.99),
        "average_start": one_of(0.0, 0.3, 0.75),
        "schedule": one_of("constant", "step", "exponential", "linear", "cosine", "one_cycle", "inverse", "plateau"),
        "warmup_epochs": between(0.2, 1.5) if some(0.3) else 0.0,
        "gamma": between(0.3, 0.9),
        "step_size": between(0.3, 1.5),
        "end_factor": between(0.0, 0.5),
        "input_dropout": between(0.05, 0.5) if some(0.2) else 0.0,
        "input_noise": between(0.05, 0.5) if some(0.2) else 0.0,
        "label_smoothing": between(0.02, 0.4) if kind != "identity" and some(0.4) else 0.0,
        "huber_delta": between(0.2, 2.0),
        "quantile": between(0.1, 0.9),
    }
    settings["nesterov"] = settings["momentum"] > 0 and optimizer == "sgd" and some(0.5)
    if not n_hidden:
        settings["max_norm"] = None
    if n_hidden and some(0.3):
        settings["dropout"] = tuple(one_of(0.0, 0.2, 0.5) for _ in range(n_hidden)) if some(0.5) else between(0.05, 0.6)
    return Case(
        sizes,
        tuple(one_of(*ACTIVATIONS) for _ in range(n_hidden)),
        x,
        y,
        settings,
        norm,
        seed=number,
        validation=(made(g, loss, 9, inputs, outputs) if normalize != "scale" else None) if some(0.6) else None,
        sample_weight=g.uniform(0.0, 2.0, rows) if some(0.3) else None,
        class_weight=one_of("balanced", {0: between(0.2, 3.0)}) if kind == "softmax" and some(0.3) else None,
    )


# --- what must agree -------------------------------------------------------------------------------------------------------


def differences(outcome: Outcome, expected: Trained) -> dict[str, float]:
    """Return by how much a training differs from the oracle's: {what: largest difference, relative to the largest number of its kind}.

    Missing values count as 0, so that one that should be there is found.
    """
    net, history = outcome

    def column(epochs: Any, name: str) -> np.ndarray:
        return np.array([getattr(epoch, name) or 0.0 for epoch in epochs])

    state = history.state
    raw = net.parameters if state is None or state.weights is None else state.weights
    pairs = {"parameters": (net.parameters, expected.parameters), "weights of the last step": (raw, expected.raw)}
    if expected.running:  # means beside deviations: where one batch is all rows, standardised ones, the means are 0 but for rounding
        statistics = [*net.running_means, *map(np.sqrt, net.running_variances)]
        right = [one.mean for one in expected.running] + [np.sqrt(one.variance) for one in expected.running]
        pairs["running statistics"] = np.concatenate(statistics), np.concatenate(right)
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate"):
        pairs[name] = column(history, name), column(expected.epochs, name)
    return {name: _relative(found, right) for name, (found, right) in pairs.items()}


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return np.inf
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300)) if found.any() or expected.any() else 0.0
