"""Every setting of a network and of its training, declared once: name, type, default, range, help, and what else is known of it.

The keywords of the Python interface, the flags of the command line, the keys of a configuration file, the `settings` in JSON
output, the metadata of a model file and the axes of a sweep all derive from the fields here. Names of activations, losses and
optimisers are stored as text; the registries that own those names check them.

May not import numpy, numba or anything of fastmlp.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

ACTIVATIONS = "activation"
OUTPUTS = "output"
LOSSES = "loss"
INITIALIZERS = (
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "zeros",
    "constant",
    "course",
)
SCHEDULES = ("constant", "step", "exponential", "linear", "cosine", "one_cycle", "inverse", "plateau")


# What a record of a training by 0.1.0, which always names `validation`, leaves unsaid because it could not be otherwise.
UNSAID_BEFORE = {"holdout": "last"}
# What each optimizer does where nobody says otherwise; a setting that is missing here it does not use. Where a value is a mapping, it
# depends on the kind of data, see kind_of. The rates are those of a study on rows held out, docs/optimizers.md.
OPTIMIZER_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sgd": {
        "learning_rate": {"image": 0.3, "table": 0.1, "regression": 0.003}, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0,
    },
    "rmsprop": {
        "learning_rate": {"image": 0.001, "table": 0.001, "regression": 0.0003}, "momentum": 0.0, "beta2": 0.999, "epsilon": 1e-8,
        "weight_decay": 0.0,
    },
    "adagrad": {"learning_rate": {"image": 0.05, "table": 0.03, "regression": 0.01}, "epsilon": 1e-10, "weight_decay": 0.0},
    "adam": {
        "learning_rate": {"image": 0.002, "table": 0.001, "regression": 0.001}, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
        "weight_decay": 0.0,
    },
    "adamw": {
        "learning_rate": {"image": 0.002, "table": 0.001, "regression": 0.001}, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
        "weight_decay": 0.01,
    },
    "nadam": {
        "learning_rate": {"image": 0.002, "table": 0.001, "regression": 0.001}, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
        "weight_decay": 0.0,
    },
    "lion": {
        "learning_rate": {"image": 0.00025, "table": 0.0003, "regression": 0.0001}, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0,
    },
    "lbfgs": {"epochs": 200, "weight_decay": 0.0},
}  # fmt: skip
OPTIMIZERS = tuple(OPTIMIZER_DEFAULTS)
# The same by the kind of data, for what no optimizer says itself: see kind_of. initializer None: by the activation.
KIND_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "image": {"optimizer": "sgd", "epochs": 10, "batch_size": 32, "initializer": None},
    "table": {"optimizer": "adam", "epochs": 50, "batch_size": 50, "initializer": "glorot_uniform"},
    "regression": {"optimizer": "adam", "epochs": 200, "batch_size": 200, "initializer": "glorot_uniform"},
}
# A rate or a momentum without the name of an optimizer is that of the plainest one, whatever the data.
PLAIN, MEANS_PLAIN = "sgd", ("learning_rate", "momentum", "nesterov")


def kind_of(is_image: bool, output: str) -> str:
    """Return the kind of data in KIND_DEFAULTS: "image" for classes of images, "table" for those of other rows, "regression" for numbers.

    is_image: whether rows are bytes, or have two axes or more. output: that of the network; "identity" predicts numbers.
    """
    return "regression" if output == "identity" else "image" if is_image else "table"


def defaults_of(optimizer: str, kind: str) -> dict[str, Any]:
    """Return what an optimizer does with a kind of data where nobody says otherwise, and what else follows from the kind."""
    own = {name: value[kind] if isinstance(value, Mapping) else value for name, value in OPTIMIZER_DEFAULTS[optimizer].items()}
    return {**KIND_DEFAULTS[kind], **own, "optimizer": optimizer}


def is_default(field: dataclasses.Field[Any], value: Any, training: Mapping[str, Any]) -> bool:
    """Return whether a recorded value says no more than the default: of the field, or of the optimizer that was trained with."""
    if value is None or value == (list(field.default) if isinstance(field.default, tuple) else field.default):
        return True
    own = OPTIMIZER_DEFAULTS.get(str(training.get("optimizer")), {}).get(field.name)
    return bool(value in own.values() if isinstance(own, Mapping) else value == own)


@functools.cache
def used_by(name: str) -> tuple[str, ...]:
    """Return the optimizers that use a setting, in the order of OPTIMIZER_DEFAULTS."""
    return tuple(optimizer for optimizer, defaults in OPTIMIZER_DEFAULTS.items() if name in defaults)


def setting(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
    registry: str | None = None,
    repeat: bool = False,
    part: bool = False,
    group: str = "Training",
    optimizers: tuple[str, ...] = (),
) -> Any:
    """Declare a setting: its default, its help text, and the values that it takes.

    `minimum` is the smallest value allowed, `above` a bound that must be exceeded, `maximum` the largest, `below` a bound that is not
    reached, `choices` a closed list of names, `registry` the table that owns the names, `repeat` says that the command line repeats the
    flag, `part` that a number with a decimal point is a part of a whole, above 0 and below 1, `group` under which heading its help lists
    it, `optimizers` which of them use it, where not all of them do. A default of None may stand for one in OPTIMIZER_DEFAULTS or
    KIND_DEFAULTS.
    """
    rules = {
        "help": help,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
        "below": below,
        "choices": choices,
        "registry": registry,
        "repeat": repeat,
        "part": part,
        "group": group,
        "optimizers": optimizers,
    }
    return dataclasses.field(default=default, metadata=rules)


@dataclasses.dataclass(frozen=True)
class NetworkFields:
    """What a network is, apart from its numbers of inputs and outputs, which follow from the data."""

    hidden: tuple[int, ...] = setting((300,), "units of a hidden layer; repeat for more layers", minimum=1, repeat=True, group="Network")
    activation: str | tuple[str, ...] = setting(
        "relu",
        "activation of the hidden layers, one name or one per layer: identity, sigmoid, tanh, relu, leaky_relu, elu, selu, gelu, "
        "gelu_tanh, silu, mish, softplus, hard_sigmoid",
        registry=ACTIVATIONS,
        repeat=True,
        group="Network",
    )
    output: str | None = setting(
        None, "output: softmax, sigmoid or identity; default: by the kind of target", registry=OUTPUTS, group="Network"
    )
    normalization: str = setting(
        "none",
        "normalise the sums of each hidden layer: over the batch, or over the layer",
        choices=("none", "batch", "layer"),
        group="Network",
    )
    initializer: str | None = setting(
        None,
        f"weight initialisation: {', '.join(INITIALIZERS)}; default: by the activation",
        choices=INITIALIZERS,
        group="Network",
    )
    initial_value: float = setting(0.01, "constant: initial value of every weight", group="Network")
    dtype: str = setting("float32", "type of the parameters", choices=("float32", "float64"), group="Network")


@dataclasses.dataclass(frozen=True)
class TrainingFields:
    """How a network is trained."""

    epochs: int | None = setting(None, "passes over the training rows; of lbfgs, iterations", minimum=0)
    batch_size: int | None = setting(None, "rows in one step; lbfgs takes all", minimum=1)
    learning_rate: float | None = setting(None, "step size", above=0.0, optimizers=used_by("learning_rate"))
    optimizer: str | None = setting(None, f"optimizer: {', '.join(OPTIMIZERS)}", choices=OPTIMIZERS, group="Optimizer")
    momentum: float | None = setting(
        None, "momentum: how much of the last step is kept", minimum=0.0, maximum=1.0, group="Optimizer", optimizers=used_by("momentum")
    )
    nesterov: bool = setting(False, "Nesterov momentum", group="Optimizer", optimizers=used_by("nesterov"))
    beta1: float | None = setting(
        None, "decay rate of the first moment", minimum=0.0, maximum=0.999999, group="Optimizer", optimizers=used_by("beta1")
    )
    beta2: float | None = setting(
        None,
        "decay rate of the second moment; lion: of the momentum",
        minimum=0.0,
        maximum=0.9999999,
        group="Optimizer",
        optimizers=used_by("beta2"),
    )
    epsilon: float | None = setting(
        None,
        "added to the denominator for numerical stability",
        above=0.0,
        group="Optimizer",
        optimizers=used_by("epsilon"),
    )
    clip_value: float | None = setting(None, "clip each element of the gradient to this size", above=0.0, group="Optimizer")
    clip_norm: float | None = setting(None, "clip the norm of the gradient to this size", above=0.0, group="Optimizer")
    average: str = setting(
        "none",
        "end with averaged weights: ema over all steps, swa over the ends of the last epochs",
        choices=("none", "ema", "swa"),
        group="Optimizer",
    )
    average_decay: float = setting(0.999, "ema: decay rate of the average", minimum=0.0, below=1.0, group="Optimizer")
    average_start: float = setting(
        0.75, "swa: fraction of the epochs after which averaging begins", minimum=0.0, below=1.0, group="Optimizer"
    )
    schedule: str = setting("constant", f"how the learning rate changes: {', '.join(SCHEDULES)}", choices=SCHEDULES, group="Schedule")
    warmup_epochs: float = setting(0.0, "epochs over which the learning rate rises to its value first", minimum=0.0, group="Schedule")
    gamma: float = setting(0.1, "step, exponential, plateau: factor of the learning rate; inverse: its slope", above=0.0, group="Schedule")
    step_size: float = setting(
        10.0, "step, exponential, inverse: epochs for that factor; plateau: epochs to wait", above=0.0, group="Schedule"
    )
    end_factor: float = setting(
        0.0, "linear, cosine, one_cycle: fraction of the learning rate at the end", minimum=0.0, maximum=1.0, group="Schedule"
    )
    weight_decay: float | None = setting(
        None,
        "L2 penalty (weight decay), decoupled in adamw and lion",
        minimum=0.0,
        group="Regularisation",
        optimizers=used_by("weight_decay"),
    )
    l1: float = setting(0.0, "L1 penalty", minimum=0.0, group="Regularisation")
    max_norm: float | None = setting(
        None, "max-norm constraint: largest norm of the weights into one hidden unit", above=0.0, group="Regularisation"
    )
    dropout: float | tuple[float, ...] = setting(
        0.0,
        "dropout rate of hidden units; repeat for one per layer",
        minimum=0.0,
        below=1.0,
        repeat=True,
        group="Regularisation",
    )
    input_dropout: float = setting(0.0, "dropout rate of the inputs", minimum=0.0, below=1.0, group="Regularisation")
    input_noise: float = setting(0.0, "standard deviation of noise added to the normalised inputs", minimum=0.0, group="Regularisation")
    label_smoothing: float = setting(
        0.0, "label smoothing: fraction of the target spread over all classes", minimum=0.0, below=1.0, group="Regularisation"
    )
    loss: str | None = setting(
        None,
        "cross_entropy, binary_cross_entropy, mse, mae, huber, log_cosh, quantile or poisson; default: the one that fits the output",
        registry=LOSSES,
    )
    huber_delta: float = setting(1.0, "huber: threshold between quadratic and linear loss", above=0.0)
    quantile: float = setting(0.5, "quantile: the quantile to predict", above=0.0, below=1.0)
    class_weight: str | None = setting(None, "balanced: each class counts alike, however many rows it has", choices=("balanced",))
    reduction: str = setting("mean", "gradient of a batch: mean or sum over its rows", choices=("mean", "sum"))
    normalize: str | None = setting(
        None,
        "inputs: none as they are, scale bytes to [0, 1], or standardize; default: what the network has, else scale",
        choices=("none", "scale", "standardize"),
    )
    normalize_target: str | None = setting(
        None,
        "targets of a regression: none as they are, or standardize inside; default: what the network has, else standardize",
        choices=("none", "standardize"),
    )
    per_feature: bool | None = setting(None, "standardize each feature by itself; default: only for tables of floats")
    validation: int | float | None = setting(
        None, "hold out training rows: a number of them, or a part: 5000, 0.2, 20%; 0 trains on all", minimum=0, part=True
    )
    holdout: str | None = setting(
        None,
        "which rows are held out: of each class in proportion, of all, or the last; default: the convention of the data set, else "
        "stratified for classes and shuffled for others",
        choices=("stratified", "shuffled", "last"),
    )
    split_seed: int = setting(0, "source of the draw of held-out rows, which the seed does not change", minimum=0, maximum=2**63 - 1)
    zero_skipping: str = setting("auto", "skip inputs that are exactly zero", choices=("auto", "on", "off"))
    kernels: str = setting(
        "auto",
        "auto: the fastest that fit; scalar: the textbook loops, compiled; python: the same loops, interpreted, very slow",
        choices=("auto", "scalar", "python"),
    )
    threads: int | None = setting(None, "number of threads; default: all cores that help", minimum=1)
    seed: int = setting(0, "source of every random choice but the draw of held-out rows", minimum=0, maximum=2**63 - 1)
    monitor: str = setting(
        "loss",
        "metric to monitor on the held-out rows, for early stopping and best weights",
        choices=("loss", "accuracy"),
        group="Stopping",
    )
    patience: int | None = setting(None, "stop after so many epochs without improvement", minimum=1, group="Stopping")
    restore_best: bool = setting(False, "end with the weights of the best epoch", group="Stopping")
    target_accuracy: float | None = setting(
        None, "stop when the held-out rows reach this accuracy", minimum=0.0, maximum=1.0, group="Stopping"
    )
    time_budget: float | None = setting(None, "stop after so many seconds of training", above=0.0, group="Stopping")
    augment_shift: float = setting(0.0, "images: move by up to so many pixels", minimum=0.0, group="Augmentation")
    augment_rotation: float = setting(0.0, "images: turn by up to so many degrees", minimum=0.0, maximum=180.0, group="Augmentation")
    augment_scale: float = setting(
        0.0, "images: stretch or squeeze each way by up to this share", minimum=0.0, below=1.0, group="Augmentation"
    )
    augment_shear: float = setting(0.0, "images: slant by up to so many degrees", minimum=0.0, below=90.0, group="Augmentation")
    augment_elastic: float = setting(
        0.0, "images: elastic distortion moves pixels this far each way, root mean square", minimum=0.0, group="Augmentation"
    )
    augment_elastic_sigma: float = setting(4.0, "images: smoothness of elastic distortion, in pixels", minimum=0.5, group="Augmentation")
    augment_flip: bool = setting(False, "images: mirror every other one", group="Augmentation")


def as_text(value: Any) -> str:
    """Return a setting as it is written on the command line: 300-100 for the widths of two layers."""
    if isinstance(value, (tuple, list)):
        return "-".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def default_text(field: dataclasses.Field[Any]) -> str:
    """Return the default of a setting as help shows it, "0.9 with adam, lion" or "10 for image; 30 for table"; "" where there is none."""
    if field.default is not None:
        return ", ".join(map(str, field.default)) if isinstance(field.default, tuple) else as_text(field.default)
    shown = []
    for word, table in (("for", KIND_DEFAULTS), ("with", OPTIMIZER_DEFAULTS)):
        groups: dict[str, list[str]] = {}
        for name, defaults in table.items():
            value = defaults.get(field.name)
            if value is not None:
                text = "/".join(map(as_text, value.values())) if isinstance(value, Mapping) else as_text(value)
                groups.setdefault(text, []).append(name)
        usual = max(groups, key=lambda text: len(groups[text]), default="")
        whole = word == "with" and len(groups) > 1 and sum(map(len, groups.values())) == len(table)
        for text, names in groups.items():
            if len(names) == len(table):
                shown.append(text)
            elif not (whole and text == usual):
                shown.append(f"{text} {word} {', '.join(names)}")
        if whole:
            shown.append(f"else {usual}")
    if field.name == "optimizer":
        shown.append(f"{PLAIN} where only {', '.join(MEANS_PLAIN[:-1])} or {MEANS_PLAIN[-1]} is given")
    kinds = f"{'/'.join(KIND_DEFAULTS)}: " if any("/" in text for text in shown) else ""
    return kinds + "; ".join(shown)
