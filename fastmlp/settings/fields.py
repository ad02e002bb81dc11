"""Every setting of a network and of its training: name, default, range and help, once.

The keywords of the Python interface, the flags of the command line, the keys of a configuration file, the `settings` in JSON
output, the metadata of a model file and the axes of a sweep all derive from the fields here. Names of activations, losses and
optimisers are stored as text; the registries that own those names check them.

May not import numpy, numba or anything else of fastmlp but errors.
"""

import dataclasses
import difflib
import functools
import math
import types
import typing
import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Self, TypeVar

from fastmlp.errors import ConfigError

T = TypeVar("T")

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
# Settings, and values of settings, of version 0.1.0 that have another name now. Accepted with a warning for one version; what was recorded
# under them is read as it was meant, without one.
RENAMED = {"norm_layers": "normalization", "decay_rate": "gamma", "decay_epochs": "step_size", "final_rate": "end_factor"}
RENAMED_VALUES = {("initializer", "report"): "course"}
SCHEDULES = ("constant", "step", "exponential", "linear", "cosine", "one_cycle", "inverse", "plateau")

# What a record of a training by 0.1.0, which always names `validation`, leaves unsaid because it could not be otherwise.
UNSAID_BEFORE = {"holdout": "last"}
# What each optimizer does where nobody says otherwise; a setting that is missing here it does not use. Where a value is a mapping, it
# depends on the kind of data, see kind_of. The rates are those of a study on rows held out, docs/optimizers.md.
OPTIMIZER_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sgd": {
        "learning_rate": {"image": 0.4, "table": 0.1, "regression": 0.003}, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0,
    },
    "rmsprop": {
        "learning_rate": {"image": 0.001, "table": 0.001, "regression": 0.0003}, "momentum": 0.0, "beta2": 0.999, "epsilon": 1e-8,
        "weight_decay": 0.0,
    },
    "adagrad": {"learning_rate": {"image": 0.03, "table": 0.03, "regression": 0.01}, "epsilon": 1e-10, "weight_decay": 0.0},
    "adam": {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0},
    "adamw": {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01},
    "nadam": {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0},
    "lion": {
        "learning_rate": {"image": 0.0002, "table": 0.0003, "regression": 0.0001}, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0,
    },
    "lbfgs": {"epochs": 200, "weight_decay": 0.0},
}  # fmt: skip
OPTIMIZERS = tuple(OPTIMIZER_DEFAULTS)
# The same by the kind of data, for what no optimizer says itself: see kind_of. initializer None: by the activation.
KIND_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "image": {"optimizer": "sgd", "epochs": 10, "batch_size": 50, "initializer": None},
    "table": {"optimizer": "adam", "epochs": 50, "batch_size": 50, "initializer": "glorot_uniform"},
    "regression": {"optimizer": "adam", "epochs": 50, "batch_size": 50, "initializer": "glorot_uniform"},
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


class Settings:
    """What the two records of settings share: checking on creation, reading from and writing to plain values."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            checked = check_value(field, getattr(self, field.name))
            object.__setattr__(self, field.name, checked)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings, in order."""
        return tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Build the record from plain values; an unknown name raises ConfigError and suggests the nearest known one."""
        known, values = cls.names(), current_names(values)
        for name in values:
            if name not in known:
                hint = _elsewhere(str(name), cls) or nearest(str(name), known) or f"; known are {', '.join(known)}"
                raise ConfigError(f"{source}: unknown setting {name!r}{hint}")
        return cls(**values)

    @classmethod
    def from_record(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Build the record from what a file says of an earlier training, perhaps by an earlier version."""
        unsaid = UNSAID_BEFORE if "validation" in values else {}
        return cls.from_mapping({**unsaid, **current_names(values, warn=False)}, source)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as values that JSON and TOML can hold."""
        pairs = ((name, getattr(self, name)) for name in self.names())
        return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


@dataclasses.dataclass(frozen=True)
class NetworkSettings(Settings):
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
class TrainingSettings(Settings):
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimizer is not None:
            _check_used(self, self.optimizer, "")

    @classmethod
    def from_record(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Build the record from what a file says of an earlier training.

        Up to version 0.1.0 every setting was recorded, those that the optimizer does not use with the default of that time: they are left
        out.
        """
        optimizer = values.get("optimizer")
        unused = [field.name for field in _of_optimizers() if optimizer in OPTIMIZERS and optimizer not in field.metadata["optimizers"]]
        return super().from_record({name: value for name, value in values.items() if name not in unused}, source)

    def resolved(self, kind: str) -> Self:
        """Return the settings with every default filled in that the optimizer and the kind of data decide; what is unused stays None.

        kind: see kind_of. Raises ConfigError for a setting that the default optimizer does not use.
        """
        optimizer = self.optimizer
        if optimizer is None:
            optimizer = PLAIN if any(_is_given(getattr(self, name)) for name in MEANS_PLAIN) else KIND_DEFAULTS[kind]["optimizer"]
            _check_used(self, optimizer, f", the default for data of the kind {kind!r}")
        defaults = defaults_of(optimizer, kind)
        if "learning_rate" not in defaults:  # lbfgs has no steps of some rows
            del defaults["batch_size"]
        return self.replace(**{name: value for name, value in defaults.items() if name in self.names() and getattr(self, name) is None})


def _of_optimizers() -> list[dataclasses.Field[Any]]:
    """Return the settings that not every optimizer uses, or not with the same default."""
    return [field for field in dataclasses.fields(TrainingSettings) if field.metadata["optimizers"]]


def known(value: T | None) -> T:
    """Return a value that resolved settings have."""
    if value is None:
        raise TypeError("expected resolved settings, got some without a default filled in")
    return value


def _is_given(value: Any) -> bool:
    return value is not None and value is not False


def _check_used(settings: TrainingSettings, optimizer: str, why: str) -> None:
    """Raise ConfigError where settings are given that the optimizer does not use."""
    unused = {field.name: field.metadata["optimizers"] for field in _of_optimizers() if optimizer not in field.metadata["optimizers"]}
    given = [name for name in unused if _is_given(getattr(settings, name))]
    if given:
        got = ", ".join(as_text(getattr(settings, name)) for name in given)
        users = "; ".join(f"{name} goes with {', '.join(unused[name])}" for name in given)
        raise ConfigError(f"{', '.join(given)}: expected none with {optimizer}{why}, which uses no such setting, got {got}; {users}")


def over_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that were given, over those that its data set or its recipe prefers.

    Where another optimizer was given, what they say for their own does not hold: a learning rate of sgd is none of adam.
    """
    kept = dict(defaults)
    before = defaults.get("optimizer") or (PLAIN if any(name in defaults for name in MEANS_PLAIN) else None)
    now = given.get("optimizer") or before
    if now != before:
        own = {field.name for field in _of_optimizers()} | set(OPTIMIZER_DEFAULTS.get(str(now), ()))
        kept = {name: value for name, value in defaults.items() if name not in own}
        if now not in used_by("learning_rate"):  # it takes all rows at once
            kept.pop("batch_size", None)
    return {**kept, **{name: value for name, value in given.items() if value is not None or name not in kept}}


def _elsewhere(name: str, record: type[Settings]) -> str:
    """Return what to say of a setting that belongs into the other record, "" of one that belongs nowhere."""
    other = NetworkSettings if record is TrainingSettings else TrainingSettings
    meant = known_name(ALIASES.get(folded(name), name), other.names())
    if meant not in other.names():
        return ""
    where = "fastmlp.Network, as its sizes" if meant == "hidden" else f"fastmlp.{'Network' if other is NetworkSettings else 'train'}"
    return f"; {meant!r} belongs to {where}"


def current_names(values: Mapping[str, Any], warn: bool = True) -> dict[str, Any]:
    """Return settings under the names that they have now, with a FutureWarning for each that came under an earlier one."""
    current = {}
    for name, value in values.items():
        if name in RENAMED:
            if RENAMED[name] in values:
                raise ConfigError(f"{name}: expected one of {name!r} and {RENAMED[name]!r}, got both; {RENAMED[name]!r} is its name now")
            if warn:
                warn_renamed(name, RENAMED[name])
        current[RENAMED.get(name, name)] = value if warn else _current_value(name, value, warn=False)
    return current


def warn_renamed(before: str, now: str, stacklevel: int = 3) -> None:
    """Warn the caller of the caller that a name has changed."""
    warnings.warn(f"{before} is called {now} now; the next version will not know the old name", FutureWarning, stacklevel=stacklevel)


def _current_value(name: str, value: Any, warn: bool) -> Any:
    now = RENAMED_VALUES.get((name, value)) if isinstance(value, str) else None
    if now is not None and warn:
        warn_renamed(f"{name} {value!r}", repr(now), stacklevel=5)
    return value if now is None else now


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


# What scikit-learn, Keras, PyTorch and XGBoost call what is a setting or a name here, without case, hyphens and underscores.
ALIASES: Mapping[str, str] = {
    # settings
    "lr": "learning_rate", "learningrateinit": "learning_rate", "eta": "learning_rate", "eta0": "learning_rate",
    "maxiter": "epochs", "nepochs": "epochs", "numepochs": "epochs", "maxepochs": "epochs", "nepoch": "epochs", "niter": "epochs",
    "nestimators": "epochs", "numboostround": "epochs", "iterations": "epochs",
    "batch": "batch_size", "minibatch": "batch_size", "minibatchsize": "batch_size", "bs": "batch_size",
    "hiddenlayersizes": "hidden", "hiddenlayers": "hidden", "hiddensizes": "hidden", "hiddenunits": "hidden", "units": "hidden",
    "layers": "hidden", "activationfunction": "activation", "outactivation": "output", "outputactivation": "output",
    "alpha": "weight_decay", "l2": "weight_decay", "l2penalty": "weight_decay", "reglambda": "weight_decay", "lambda": "weight_decay",
    "regalpha": "l1", "l1penalty": "l1", "l1ratio": "l1",
    "solver": "optimizer", "opt": "optimizer", "optim": "optimizer", "beta": "beta1", "betas": "beta1", "rho": "beta2", "eps": "epsilon",
    "nesterovsmomentum": "nesterov", "clipnorm": "clip_norm", "globalclipnorm": "clip_norm", "maxgradnorm": "clip_norm",
    "gradclip": "clip_norm", "gradientclipval": "clip_norm", "clipvalue": "clip_value",
    "validationsplit": "validation", "validationfraction": "validation", "validationdata": "validation", "evalset": "validation",
    "validationsize": "validation", "testsize": "validation",
    "earlystopping": "patience", "earlystoppingrounds": "patience", "niternochange": "patience", "restorebestweights": "restore_best",
    "savebest": "restore_best", "randomstate": "seed", "randomseed": "seed", "nthread": "threads", "njobs": "threads",
    "numthreads": "threads", "workers": "threads", "criterion": "loss", "lossfunction": "loss", "objective": "loss", "lossfn": "loss",
    "lrschedule": "schedule", "lrscheduler": "schedule", "scheduler": "schedule", "warmup": "warmup_epochs",
    "dropoutrate": "dropout", "droprate": "dropout", "kernelinitializer": "initializer", "init": "initializer",
    "initialization": "initializer", "weightinit": "initializer", "classweights": "class_weight", "scaleposweight": "class_weight",
    "scaler": "normalize", "standardize": "normalize", "batchnorm": "normalization",
    "batchnormalization": "normalization", "layernorm": "normalization", "maxtime": "time_budget",
    # activations
    "swish": "silu", "logistic": "sigmoid", "linear": "identity", "none": "identity", "hardtanh": "hard_sigmoid",
    "geluapproximate": "gelu_tanh",
    # outputs and losses
    "categoricalcrossentropy": "cross_entropy", "sparsecategoricalcrossentropy": "cross_entropy", "crossentropyloss": "cross_entropy",
    "logloss": "cross_entropy", "nll": "cross_entropy", "nllloss": "cross_entropy", "multi:softmax": "cross_entropy",
    "multi:softprob": "cross_entropy", "bce": "binary_cross_entropy", "bceloss": "binary_cross_entropy",
    "bcewithlogitsloss": "binary_cross_entropy", "binarycrossentropy": "binary_cross_entropy", "binary:logistic": "binary_cross_entropy",
    "meansquarederror": "mse", "mseloss": "mse", "squarederror": "mse", "squaredloss": "mse", "l2loss": "mse", "reg:squarederror": "mse",
    "meanabsoluteerror": "mae", "l1loss": "mae", "absoluteerror": "mae", "reg:absoluteerror": "mae", "huberloss": "huber",
    "smoothl1": "huber", "smoothl1loss": "huber", "logcosh": "log_cosh", "pinball": "quantile", "poissonnllloss": "poisson",
    "count:poisson": "poisson",
    # optimizers
    "gd": "sgd", "gradientdescent": "sgd", "stochasticgradientdescent": "sgd", "rmspropoptimizer": "rmsprop", "lbfgsb": "lbfgs",
    # initializers
    "xavieruniform": "glorot_uniform", "xaviernormal": "glorot_normal", "xavier": "glorot_uniform", "glorot": "glorot_uniform",
    "kaiminguniform": "he_uniform", "kaimingnormal": "he_normal", "kaiming": "he_normal", "he": "he_normal", "lecun": "lecun_normal",
    "zero": "zeros",
}  # fmt: skip


# What is no activation of hidden layers, or needs a word.
ACTIVATION_HINTS: Mapping[str, str] = {
    "softmax": "; softmax is no activation of hidden layers: the last one gets it by output='softmax'",
    "linear": "; did you mean 'identity'? The last layer gets it by output='identity'",
}


def activation_hint(name: str, known: Iterable[str]) -> str:
    """Return what `nearest` does for activations of hidden layers, and what to say of those of the last one."""
    return ACTIVATION_HINTS.get(folded(name)) or nearest(name, known)


def folded(name: str) -> str:
    """Return a name without case, hyphens and underscores: LeakyReLU and leaky-relu are leaky_relu."""
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")


def known_name(name: str, known: Iterable[str]) -> str:
    """Return the known name that is meant, however it is spelled (see `folded`); any other as it is."""
    names = list(known)
    return name if name in names else next((one for one in names if folded(one) == folded(name)), name)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name that others call so, or that is nearest to a wrong one; "" where there is none."""
    names = list(known)
    meant = ALIASES.get(folded(name), "")
    near = [meant] if meant in names else [one for one in names if folded(one) == folded(name)]
    near = near or difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_value(field: dataclasses.Field[Any], value: Any) -> Any:
    """Return `value` in the type that a field wants; raise ConfigError where it has another type or lies out of range."""
    rules = field.metadata
    kinds = _kinds(typing.cast(Hashable, field.type))
    if value is None and type(None) in kinds:
        return None
    if isinstance(value, (list, tuple)):
        if tuple not in kinds:
            raise ConfigError(_message(field, "one value", value))
        return tuple(_check_scalar(field, rules, kinds[tuple], item) for item in value)
    if tuple in kinds and len(kinds) == 1:
        return (_check_scalar(field, rules, kinds[tuple], value),)
    if rules["part"]:
        return _check_rows_or_part(field, value)
    scalar = next(kind for kind in kinds if kind not in (type(None), tuple))
    return _check_scalar(field, rules, scalar, value)


def _check_rows_or_part(field: dataclasses.Field[Any], value: Any) -> int | float:
    """Return a number of rows, or a part above 0 and below 1; of text, "20%" is one. A part of 0 is no row."""
    expected = "rows such as 5000, or a part of them such as 0.2"
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            value = float(value.strip().removesuffix("%").strip() + "e-2")  # the nearest float: a division would round twice
        except ValueError:
            pass  # refused below
    if isinstance(value, bool):
        raise ConfigError(_message(field, expected, value) + "; 0 holds out none")
    if hasattr(value, "__index__"):
        return int(_check_scalar(field, field.metadata, int, value))
    if not hasattr(value, "__float__"):
        raise ConfigError(_message(field, expected, value))
    part = float(_check_scalar(field, field.metadata, float, value))
    if part >= 1.0:
        advice = f"write {part:.0f} for a number of rows" if part.is_integer() else "a part is below 1"
        raise ConfigError(_message(field, expected, value) + f"; {advice}")
    return part or 0


def _check_scalar(field: dataclasses.Field[Any], rules: Mapping[str, Any], kind: type, value: Any) -> Any:
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(_message(field, "true or false", value))
        return value
    if kind is str:
        if not isinstance(value, str):
            raise ConfigError(_message(field, "a name", value))
        choices, value = rules["choices"], _current_value(field.name, value, warn=True)
        if not choices:
            return value
        name = known_name(value, choices)
        if name not in choices:
            raise ConfigError(_message(field, "one of " + ", ".join(choices), value) + nearest(value, choices))
        return name
    if isinstance(value, bool) or not hasattr(value, "__index__" if kind is int else "__float__"):
        raise ConfigError(_message(field, "a whole number" if kind is int else "a number", value))
    try:
        number = kind(value.__index__()) if kind is int else float(value)
    except OverflowError:
        raise ConfigError(_message(field, "a finite number", value)) from None
    except TypeError:  # an array of several numbers
        raise ConfigError(_message(field, "a whole number" if kind is int else "a number", value)) from None
    if isinstance(number, float) and not math.isfinite(number):
        raise ConfigError(_message(field, "a finite number", value))
    if rules["minimum"] is not None and number < rules["minimum"]:
        raise ConfigError(_message(field, f"at least {rules['minimum']}", value))
    if rules["above"] is not None and number <= rules["above"]:
        raise ConfigError(_message(field, f"more than {rules['above']:g}", value))
    if rules["maximum"] is not None and number > rules["maximum"]:
        raise ConfigError(_message(field, f"at most {rules['maximum']}", value))
    if rules["below"] is not None and number >= rules["below"]:
        raise ConfigError(_message(field, f"less than {rules['below']:g}", value))
    return number


def _message(field: dataclasses.Field[Any], expected: str, value: Any) -> str:
    shown = repr(value)
    return f"{field.name}: expected {expected}, got {shown if len(shown) <= 60 else shown[:57] + '...'}"


@functools.cache
def _kinds(annotation: Any) -> dict[type, Any]:
    """Return the types of an annotation: `str | tuple[str, ...] | None` -> {str: str, tuple: str, NoneType: None}."""
    parts = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    kinds: dict[type, Any] = {}
    for part in parts:
        if typing.get_origin(part) is tuple:
            kinds[tuple] = typing.get_args(part)[0]
        else:
            kinds[part] = part
    return kinds
