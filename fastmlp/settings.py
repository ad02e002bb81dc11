"""Every setting of a network and of its training: name, default, range and help, once.

The keywords of the Python interface, the flags of the command line, the keys of a configuration file, the `settings` in JSON
output, the metadata of a model file and the axes of a sweep all derive from the fields here. Names of activations, losses and
optimisers are stored as text; the registries that own those names check them.

May not import numpy, numba or anything else of fastmlp but errors.
"""

import dataclasses
import difflib
import math
import types
import typing
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Self

from fastmlp.errors import ConfigError

ACTIVATIONS = "activation"
OUTPUTS = "output"
LOSSES = "loss"
OPTIMIZERS = "optimizer"
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
) -> Any:
    """Declare a setting: its default, its help text, and the values that it takes.

    `minimum` is the smallest value allowed, `above` a bound that must be exceeded, `maximum` the largest, `below` a bound that is not
    reached, `choices` a closed list of names, `registry` the table that owns the names, `repeat` says that the command line repeats the
    flag, `part` that a number with a decimal point is a part of a whole, above 0 and below 1, `group` under which heading its help lists
    it.
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
                hint = nearest(str(name), known) or f"; known are {', '.join(known)}"
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
        f"how weights begin: {', '.join(INITIALIZERS)}; default: by the activation",
        choices=INITIALIZERS,
        group="Network",
    )
    initial_value: float = setting(0.01, "constant: what every weight begins at", group="Network")
    dtype: str = setting("float32", "type of the parameters", choices=("float32", "float64"), group="Network")


@dataclasses.dataclass(frozen=True)
class TrainingSettings(Settings):
    """How a network is trained."""

    epochs: int = setting(10, "passes over the training rows", minimum=0)
    batch_size: int = setting(50, "rows in one step", minimum=1)
    learning_rate: float = setting(0.2, "step size", above=0.0)
    optimizer: str = setting(
        "sgd",
        "rule that turns a gradient into a step: sgd, rmsprop, adagrad, adam, adamw, nadam, lion, lbfgs",
        registry=OPTIMIZERS,
        group="Optimizer",
    )
    momentum: float = setting(0.0, "sgd, rmsprop: share of the last step that is kept", minimum=0.0, maximum=1.0, group="Optimizer")
    nesterov: bool = setting(False, "sgd: look ahead along the momentum", group="Optimizer")
    beta1: float = setting(0.9, "adam, adamw, nadam, lion: decay of the mean gradient", minimum=0.0, maximum=0.999999, group="Optimizer")
    beta2: float = setting(
        0.999,
        "the same, and rmsprop: decay of the mean squared gradient; lion: of the mean that is kept",
        minimum=0.0,
        maximum=0.9999999,
        group="Optimizer",
    )
    epsilon: float = setting(1e-8, "added to the root of the mean squared gradient, or of its sum: adagrad", above=0.0, group="Optimizer")
    clip_value: float | None = setting(None, "limit each number of the gradient to this size", above=0.0, group="Optimizer")
    clip_norm: float | None = setting(None, "limit the length of the gradient to this size", above=0.0, group="Optimizer")
    average: str = setting(
        "none",
        "end with averaged weights: ema over all steps, swa over the ends of the last epochs",
        choices=("none", "ema", "swa"),
        group="Optimizer",
    )
    average_decay: float = setting(0.999, "ema: how much of the average each step keeps", minimum=0.0, below=1.0, group="Optimizer")
    average_start: float = setting(0.75, "swa: share of the epochs after which averaging begins", minimum=0.0, below=1.0, group="Optimizer")
    schedule: str = setting("constant", f"how the learning rate changes: {', '.join(SCHEDULES)}", choices=SCHEDULES, group="Schedule")
    warmup_epochs: float = setting(0.0, "epochs over which the learning rate rises to its value first", minimum=0.0, group="Schedule")
    gamma: float = setting(0.1, "step, exponential, plateau: factor of the learning rate; inverse: its slope", above=0.0, group="Schedule")
    step_size: float = setting(
        10.0, "step, exponential, inverse: epochs for that factor; plateau: epochs to wait", above=0.0, group="Schedule"
    )
    end_factor: float = setting(
        0.0, "linear, cosine, one_cycle: share of the learning rate that is left at the end", minimum=0.0, maximum=1.0, group="Schedule"
    )
    weight_decay: float = setting(
        0.0, "pull of the weights towards 0: L2, decoupled in adamw and lion", minimum=0.0, group="Regularisation"
    )
    l1: float = setting(0.0, "pull of the weights towards 0 by a constant: L1", minimum=0.0, group="Regularisation")
    max_norm: float | None = setting(None, "largest length of the weights into one hidden unit", above=0.0, group="Regularisation")
    dropout: float | tuple[float, ...] = setting(
        0.0,
        "share of hidden units left out in each step; repeat for one per layer",
        minimum=0.0,
        below=1.0,
        repeat=True,
        group="Regularisation",
    )
    input_dropout: float = setting(0.0, "share of inputs left out in each step", minimum=0.0, below=1.0, group="Regularisation")
    input_noise: float = setting(0.0, "standard deviation of noise added to the normalised inputs", minimum=0.0, group="Regularisation")
    label_smoothing: float = setting(
        0.0, "share of the target that is spread over all classes", minimum=0.0, below=1.0, group="Regularisation"
    )
    loss: str | None = setting(
        None,
        "cross_entropy, binary_cross_entropy, mse, mae, huber, log_cosh, quantile or poisson; default: the one that fits the output",
        registry=LOSSES,
    )
    huber_delta: float = setting(1.0, "huber: the error from which on the loss grows in a straight line", above=0.0)
    quantile: float = setting(0.5, "quantile: which one", above=0.0, below=1.0)
    class_weight: str | None = setting(None, "balanced: each class counts alike, however many rows it has", choices=("balanced",))
    reduction: str = setting("mean", "gradient of a batch: mean or sum over its rows", choices=("mean", "sum"))
    normalize: str | None = setting(
        None,
        "inputs: none as they are, scale bytes to [0, 1], or standardize; default: what the network has, else scale",
        choices=("none", "scale", "standardize"),
    )
    per_feature: bool | None = setting(None, "standardize each feature by itself; default: only for tables of floats")
    validation: int | float | None = setting(
        None, "hold out so many training rows, or a part of them: 5000, 0.2, 20%; 0 trains on all", minimum=0, part=True
    )
    holdout: str | None = setting(
        None,
        "which rows that are: drawn class by class, drawn, or the last; default: as the data set has it, else drawn, class by class "
        "where rows have one",
        choices=("stratified", "shuffled", "last"),
    )
    split_seed: int = setting(0, "source of which rows are held out; the seed does not change them", minimum=0, maximum=2**63 - 1)
    zero_skipping: str = setting("auto", "skip inputs that are exactly zero", choices=("auto", "on", "off"))
    kernels: str = setting(
        "auto",
        "auto: the fastest that fit; scalar: the textbook loops, compiled; python: the same loops, interpreted, very slow",
        choices=("auto", "scalar", "python"),
    )
    threads: int | None = setting(None, "shares of the work; default: all cores that help", minimum=1)
    seed: int = setting(0, "source of every random choice", minimum=0, maximum=2**63 - 1)
    monitor: str = setting(
        "loss", "what early stopping and best weights go by, of the held-out rows", choices=("loss", "accuracy"), group="Stopping"
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


def over_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that were given, over those that its data set prefers."""
    if given.get("optimizer", defaults.get("optimizer")) == "lbfgs" != defaults.get("optimizer"):
        # it takes all rows at once: the batches that a data set prefers are for others
        defaults = {name: value for name, value in defaults.items() if name != "batch_size"}
    return {**defaults, **{name: value for name, value in given.items() if value is not None or name not in defaults}}


def as_text(value: Any) -> str:
    """Return a setting as it is written on the command line: 300-100 for the widths of two layers."""
    if isinstance(value, (tuple, list)):
        return "-".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name nearest to a wrong one, "" where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_value(field: dataclasses.Field[Any], value: Any) -> Any:
    """Return `value` in the type that a field wants; raise ConfigError where it has another type or lies out of range."""
    rules = field.metadata
    kinds = _kinds(field.type)
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
        if choices and value not in choices:
            raise ConfigError(_message(field, "one of " + ", ".join(choices), value) + nearest(value, choices))
        return value
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
