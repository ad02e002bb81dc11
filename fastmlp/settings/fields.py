"""Every setting of a network and of its training, declared once: name, type, default, range, help, and what else is known of it.

The keywords of the Python interface, the flags of the command line, the keys of a configuration file, the `settings` in JSON
output, the metadata of a model file and the axes of a sweep all derive from the fields here. Names of activations, losses and
optimizers are stored as text; the registries that own those names check them.

May not import numpy, numba or anything of fastmlp but what settings are called.
"""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fastmlp.settings.metrics import METRICS, OF_CLASSES, OF_NUMBERS
from fastmlp.settings.names import folded

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
    "adagrad": {
        "learning_rate": {"image": 0.1, "table": 0.03, "regression": 0.01}, "epsilon": 1e-10,
        "initial_accumulator_value": {"image": 0.1, "table": 0.0, "regression": 0.0}, "weight_decay": 0.0,
    },
    "adam": {
        "learning_rate": {"image": 0.002, "table": 0.002, "regression": 0.001}, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
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
# What follows from another choice than that of the optimizer, in the same form: choice -> the settings that it uses, with their defaults.
SCHEDULE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "constant": {},
    "step": {"gamma": 0.1, "step_size": 10.0},
    "exponential": {"gamma": 0.1, "step_size": 10.0},
    "linear": {"end_factor": 0.0},
    "cosine": {"end_factor": 0.0},
    "one_cycle": {"end_factor": 0.0},
    "inverse": {"gamma": 0.1, "step_size": 10.0},
    "plateau": {"gamma": 0.1, "step_size": 10.0},
}
SCHEDULES = tuple(SCHEDULE_DEFAULTS)
AVERAGE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"none": {}, "ema": {"average_decay": 0.999}, "swa": {"average_start": 0.75}}
LOSS_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"huber": {"huber_delta": 1.0}, "quantile": {"quantile": 0.5}}
INITIALIZER_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"constant": {"initial_value": 0.01}}
NORMALIZE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"none": {}, "scale": {}, "standardize": {"per_feature": None}}  # None: by the data
# The settings that decide which others are used.
CHOICES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "optimizer": OPTIMIZER_DEFAULTS,
    "schedule": SCHEDULE_DEFAULTS,
    "average": AVERAGE_DEFAULTS,
    "loss": LOSS_DEFAULTS,
    "initializer": INITIALIZER_DEFAULTS,
    "normalize": NORMALIZE_DEFAULTS,
}
OF_A_CHOICE = {
    name: value for made, table in CHOICES.items() if made != "optimizer" for own in table.values() for name, value in own.items()
}
EVERYWHERE = ("epochs",)  # what every choice uses, though only one has a number of its own
STEPPING = tuple(name for name, defaults in OPTIMIZER_DEFAULTS.items() if "learning_rate" in defaults)  # those that take single steps
# Rules whose steps do not shrink with the gradient: the wider a layer, the further they carry the sums behind it.
BY_WIDTH = ("rmsprop", "adagrad", "adam", "adamw", "nadam", "lion")
USUAL_WIDTH = 300  # units of the networks that the rates above come from
# A rate or a momentum without the name of an optimizer is that of the plainest one, whatever the data.
PLAIN, MEANS_PLAIN = "sgd", ("learning_rate", "momentum", "nesterov")


def kind_of(is_image: bool, output: str) -> str:
    """Return the kind of data in KIND_DEFAULTS: "image" for classes of images, "table" for those of other rows, "regression" for numbers.

    is_image: whether rows are bytes, or have two axes or more. output: that of the network; "identity" predicts numbers.
    """
    return "regression" if output == "identity" else "image" if is_image else "table"


def small_table_batch(n_rows: int) -> int:
    """Return the default batch size for the classes of a table of n_rows rows, where the learning rate is the default, too.

    Fifty epochs of three batches end before a network has learned anything: an epoch has about a hundred steps where rows are few.
    Two rows at least, so that batch normalisation has something to normalise.
    """
    usual: int = KIND_DEFAULTS["table"]["batch_size"]
    return min(usual, max(2, n_rows // 100))


def rate_for_width(optimizer: str, rate: float, hidden: Sequence[int]) -> float:
    """Return the default learning rate of an optimizer, in networks of the usual width `rate`, with hidden layers of so many units.

    Of the rules in BY_WIDTH the rate falls as one over the units of the widest layer (Yang and Hu 2021, "Tensor programs IV", and Yang et
    al. 2022, "Tensor programs V", table 3: the rate of Adam for hidden weights). Two digits are kept.
    """
    widest = max(hidden, default=0)
    return float(f"{rate * USUAL_WIDTH / widest:.2g}") if optimizer in BY_WIDTH and widest > USUAL_WIDTH else rate


def defaults_of(optimizer: str, kind: str) -> dict[str, Any]:
    """Return what an optimizer does with a kind of data where nobody says otherwise, and what else follows from the kind."""
    own = {name: value[kind] if isinstance(value, Mapping) else value for name, value in OPTIMIZER_DEFAULTS[optimizer].items()}
    return {**KIND_DEFAULTS[kind], **own, "optimizer": optimizer}


# Where a setting applies.
NETWORK = "network"  # what the network is
STEP = "step"  # every step by itself, so that single steps know it, too
ROWS = "rows"  # all rows: which are held out, what pictures are made of them
COURSE = "course"  # a training with an end: its epochs, the rate over them, when to stop
# When another value needs other kernels, or may be refused where the first one was not.
NEVER, ON, ALWAYS = "never", "on or off", "always"
# Where a setting is shown even if it has its default.
HELP, PAGE, COMMAND, CLAIM = "help of train", "page of a run", "command that does a run again", "claim of the course report"


def setting(
    default: Any,
    help: str,
    applies: str,
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
    otherwise: Any = None,
    full_batch: bool = True,
    needs: str | None = None,
    judges: bool = False,
    compiles: str = ALWAYS,
    changes_bits: bool = True,
    may_change: bool = False,
    in_range_test: bool | None = None,
    not_swept: str | None = None,
    shown: tuple[str, ...] = (),
    in_text: bool = False,
) -> Any:
    """Declare a setting: its default, its help text, the values that it takes, and what everything that goes by settings asks of it.

    Its values: `minimum` is the smallest one allowed, `above` a bound that must be exceeded, `maximum` the largest, `below` a bound that
    is not reached, `choices` a closed list of names, `registry` the table that owns the names, `repeat` says that the command line repeats
    the flag, `part` that a number with a decimal point is a part of a whole, above 0 and below 1, `group` under which heading its help
    lists it. A default of None stands for `otherwise`, or for what one of the tables above says.

    Where it means something: `applies`; `full_batch`, whether it goes with lbfgs, whose steps have a line search and all rows; `needs`, a
    setting without which it does nothing; `judges`, by held-out rows, so that it needs some. Which choices use it, the tables above say.

    What it changes: `compiles`; `changes_bits`, whether another value is another result; `may_change`, when a training goes on;
    `in_range_test`, whether a search for a learning rate goes by it, by default unless it shapes the course of a training; `not_swept`, why
    a sweep has no axis of it; `shown`, where it is shown though it has its default; `in_text`, whether the methods on a page have words for
    it, so that they do not list it.
    """
    traits = {name: value for name, value in locals().items() if name != "default"}
    traits["in_range_test"] = applies != COURSE if in_range_test is None else in_range_test
    return dataclasses.field(default=default, metadata=traits)


# fmt: off
@dataclasses.dataclass(frozen=True)
class NetworkFields:
    """What a network is, apart from its numbers of inputs and outputs, which follow from the data."""

    hidden: tuple[int, ...] = setting(
        (300,), "units of a hidden layer; repeat for more layers", NETWORK, minimum=1, repeat=True, group="Network",
        shown=(HELP, PAGE, COMMAND, CLAIM), in_text=True,
    )
    activation: str | tuple[str, ...] = setting(
        "relu",
        "activation of the hidden layers, one name or one per layer: identity, sigmoid, tanh, relu, leaky_relu, elu, selu, gelu, "
        "gelu_tanh, silu, mish, softplus, hard_sigmoid",
        NETWORK, registry=ACTIVATIONS, repeat=True, group="Network", shown=(HELP, PAGE, COMMAND, CLAIM), in_text=True,
    )
    output: str | None = setting(
        None, "output: softmax, sigmoid or identity; default: by the kind of target", NETWORK, registry=OUTPUTS, group="Network",
        shown=(HELP,), in_text=True,
    )
    normalization: str = setting(
        "none", "normalise the sums of each hidden layer: over the batch, or over the layer", NETWORK, choices=("none", "batch", "layer"),
        group="Network",
    )
    initializer: str | None = setting(
        None, f"weight initialisation: {', '.join(INITIALIZERS)}; default: by the activation", NETWORK, choices=INITIALIZERS,
        group="Network", in_text=True,
    )
    initial_value: float | None = setting(None, "constant: initial value of every weight", NETWORK, group="Network", in_text=True)
    dtype: str = setting("float32", "type of the parameters", NETWORK, choices=("float32", "float64"), group="Network", in_text=True)


@dataclasses.dataclass(frozen=True)
class TrainingFields:
    """How a network is trained."""

    epochs: int | None = setting(
        None, "passes over the training rows; of lbfgs, iterations", COURSE, minimum=0, compiles=NEVER, may_change=True,
        shown=(HELP, PAGE, COMMAND, CLAIM), in_text=True,
    )
    batch_size: int | None = setting(
        None, "rows in one step; lbfgs takes all", STEP, minimum=1, shown=(HELP, PAGE, COMMAND, CLAIM), in_text=True
    )
    learning_rate: float | None = setting(
        None, "step size", STEP, above=0.0, compiles=NEVER, in_range_test=False, shown=(HELP, PAGE, COMMAND, CLAIM), in_text=True
    )
    optimizer: str | None = setting(
        None, f"optimizer: {', '.join(OPTIMIZERS)}", STEP, choices=OPTIMIZERS, group="Optimizer", shown=(HELP, PAGE), in_text=True
    )
    momentum: float | None = setting(
        None, "momentum: how much of the last step is kept", STEP, minimum=0.0, maximum=1.0, group="Optimizer", compiles=ON
    )
    nesterov: bool = setting(False, "Nesterov momentum", STEP, group="Optimizer", compiles=ON)
    beta1: float | None = setting(
        None, "decay rate of the first moment", STEP, minimum=0.0, maximum=0.999999, group="Optimizer", compiles=NEVER
    )
    beta2: float | None = setting(
        None, "decay rate of the second moment; lion: of the momentum", STEP, minimum=0.0, maximum=0.9999999, group="Optimizer",
        compiles=NEVER,
    )
    epsilon: float | None = setting(
        None, "added to the denominator for numerical stability", STEP, above=0.0, group="Optimizer", compiles=NEVER
    )
    initial_accumulator_value: float | None = setting(
        None, "adagrad: what its sums of squared gradients begin at", STEP, minimum=0.0, group="Optimizer", compiles=NEVER
    )
    clip_value: float | None = setting(
        None, "clip each element of the gradient to this size", STEP, above=0.0, group="Optimizer", full_batch=False,
        compiles=ON,
    )
    clip_norm: float | None = setting(
        None, "clip the norm of the gradient to this size", STEP, above=0.0, group="Optimizer", full_batch=False,
        compiles=ON,
    )
    average: str | None = setting(
        None, "end with averaged weights: ema over all steps, swa over the ends of the last epochs", STEP, choices=tuple(AVERAGE_DEFAULTS),
        group="Optimizer", otherwise="none", full_batch=False, in_range_test=False,
    )
    average_decay: float | None = setting(
        None, "ema: decay rate of the average", STEP, minimum=0.0, below=1.0, group="Optimizer", compiles=NEVER, in_range_test=False
    )
    average_start: float | None = setting(
        None, "swa: fraction of the epochs after which averaging begins", COURSE, minimum=0.0, below=1.0, group="Optimizer", compiles=NEVER
    )
    schedule: str | None = setting(
        None, f"how the learning rate changes: {', '.join(SCHEDULES)}", COURSE, choices=SCHEDULES, group="Schedule", otherwise="constant",
        full_batch=False, compiles=NEVER, shown=(HELP,),
    )
    warmup_epochs: float = setting(
        0.0, "epochs over which the learning rate rises to its value first", COURSE, minimum=0.0, group="Schedule",
        full_batch=False, compiles=NEVER,
    )
    gamma: float | None = setting(
        None, "step, exponential, plateau: factor of the learning rate; inverse: its slope", COURSE, above=0.0, group="Schedule",
        compiles=NEVER,
    )
    step_size: float | None = setting(
        None, "step, exponential, inverse: epochs for that factor; plateau: epochs to wait", COURSE, above=0.0, group="Schedule",
        compiles=NEVER,
    )
    end_factor: float | None = setting(
        None, "linear, cosine, one_cycle: fraction of the learning rate at the end", COURSE, minimum=0.0, maximum=1.0, group="Schedule",
        compiles=NEVER,
    )
    weight_decay: float | None = setting(
        None, "L2 penalty (weight decay), decoupled in adamw and lion", STEP, minimum=0.0, group="Regularisation", compiles=ON,
        shown=(HELP,),
    )
    l1: float = setting(
        0.0, "L1 penalty", STEP, minimum=0.0, group="Regularisation", full_batch=False, compiles=ON
    )
    max_norm: float | None = setting(
        None, "max-norm constraint: largest norm of the weights into one hidden unit", STEP, above=0.0, group="Regularisation",
        full_batch=False, compiles=ON,
    )
    dropout: float | tuple[float, ...] = setting(
        0.0, "dropout rate of hidden units; repeat for one per layer", STEP, minimum=0.0, below=1.0, repeat=True, group="Regularisation",
        full_batch=False, compiles=ON, shown=(HELP,),
    )
    input_dropout: float = setting(
        0.0, "dropout rate of the inputs", STEP, minimum=0.0, below=1.0, group="Regularisation", full_batch=False,
        compiles=ON,
    )
    input_noise: float = setting(
        0.0, "standard deviation of noise added to the normalised inputs", STEP, minimum=0.0, group="Regularisation",
        full_batch=False, compiles=ON,
    )
    label_smoothing: float = setting(
        0.0, "label smoothing: fraction of the target spread over all classes", STEP, minimum=0.0, below=1.0, group="Regularisation",
        compiles=ON,
    )
    loss: str | None = setting(
        None,
        "cross_entropy, binary_cross_entropy, mse, mae, huber, log_cosh, quantile or poisson; default: the one that fits the output",
        STEP, registry=LOSSES, shown=(HELP, PAGE), in_text=True,
    )
    huber_delta: float | None = setting(None, "huber: threshold between quadratic and linear loss", STEP, above=0.0, compiles=NEVER)
    quantile: float | None = setting(None, "quantile: the quantile to predict", STEP, above=0.0, below=1.0, compiles=NEVER)
    class_weight: str | None = setting(
        None, "balanced: each class counts alike, however many rows it has", STEP, choices=("balanced",)
    )
    reduction: str = setting(
        "mean", "gradient of a batch: mean or sum over its rows", STEP, choices=("mean", "sum"), compiles=NEVER, shown=(CLAIM,),
        in_text=True,
    )
    normalize: str | None = setting(
        None,
        "inputs: none as they are, scale bytes to [0, 1], or standardize; default: what the network has, else scale",
        STEP, choices=tuple(NORMALIZE_DEFAULTS), shown=(HELP, CLAIM), in_text=True,
    )
    normalize_target: str | None = setting(
        None,
        "targets of a regression: none as they are, or standardize inside; default: what the network has, else standardize",
        STEP, choices=("none", "standardize"), in_text=True,
    )
    per_feature: bool | None = setting(
        None, "with normalize standardize: each feature by itself; default: only for tables of floats", STEP
    )
    validation: int | float | None = setting(
        None, "hold out training rows: a number of them, or a part: 5000, 0.2, 20%; 0 trains on all", ROWS, minimum=0, part=True,
        shown=(HELP, PAGE, COMMAND, CLAIM), in_text=True,
    )
    holdout: str | None = setting(
        None,
        "which rows are held out: of each class in proportion, of all, or the last; default: the convention of the data set, else "
        "stratified for classes and shuffled for others",
        ROWS, choices=("stratified", "shuffled", "last"), needs="validation", in_text=True,
    )
    split_seed: int = setting(
        0, "source of the draw of held-out rows, which the seed does not change", ROWS, minimum=0, maximum=2**63 - 1, needs="validation",
        compiles=NEVER, in_text=True,
    )
    zero_skipping: str = setting("auto", "skip inputs that are exactly zero", STEP, choices=("auto", "on", "off"), in_text=True)
    kernels: str = setting(
        "auto",
        "auto: the fastest that fit; scalar: the textbook loops, compiled; python: the same loops, interpreted, very slow",
        STEP, choices=("auto", "scalar", "python"), in_text=True,
    )
    threads: int | None = setting(
        None, "number of threads; default: all cores that help", STEP, minimum=1, compiles=NEVER, changes_bits=False, may_change=True,
        not_swept="it changes no result", shown=(HELP,),
    )
    seed: int = setting(
        0, "source of every random choice but the draw of held-out rows", STEP, minimum=0, maximum=2**63 - 1, compiles=NEVER,
        not_swept="every setting is trained with the same seeds; see --runs", shown=(HELP, PAGE), in_text=True,
    )
    metric: str = setting(
        "loss",
        f"metric that judges epochs: loss; of classes {', '.join(OF_CLASSES)}; of numbers {', '.join(OF_NUMBERS)}",
        COURSE, choices=tuple(METRICS), group="Stopping", judges=True, not_swept="settings are compared by one metric",
    )
    patience: int | None = setting(
        None, "stop after so many epochs without a better --metric", COURSE, minimum=1, group="Stopping", judges=True, compiles=ON,
        may_change=True, shown=(HELP,),
    )
    restore_best: bool = setting(
        False, "end with the weights of the best epoch", COURSE, group="Stopping", judges=True, compiles=ON, shown=(HELP,)
    )
    target_accuracy: float | None = setting(
        None, "stop when the held-out rows reach this accuracy", COURSE, minimum=0.0, maximum=1.0, group="Stopping", judges=True,
        compiles=ON, may_change=True,
    )
    time_budget: float | None = setting(
        None, "stop after so many seconds of training", COURSE, above=0.0, group="Stopping", compiles=NEVER, may_change=True
    )
    augment_shift: float = setting(
        0.0, "images: move by up to so many pixels", ROWS, minimum=0.0, group="Augmentation", full_batch=False, compiles=ON
    )
    augment_rotation: float = setting(
        0.0, "images: turn by up to so many degrees", ROWS, minimum=0.0, maximum=180.0, group="Augmentation",
        full_batch=False, compiles=ON,
    )
    augment_scale: float = setting(
        0.0, "images: stretch or squeeze each way by up to this share", ROWS, minimum=0.0, below=1.0, group="Augmentation",
        full_batch=False, compiles=ON,
    )
    augment_shear: float = setting(
        0.0, "images: slant by up to so many degrees", ROWS, minimum=0.0, below=90.0, group="Augmentation",
        full_batch=False, compiles=ON,
    )
    augment_elastic: float = setting(
        0.0, "images: elastic distortion moves pixels this far each way, root mean square", ROWS, minimum=0.0, group="Augmentation",
        full_batch=False, compiles=ON,
    )
    augment_elastic_sigma: float = setting(
        4.0, "images: smoothness of elastic distortion, in pixels", ROWS, minimum=0.5, group="Augmentation", needs="augment_elastic",
        compiles=NEVER,
    )
    augment_flip: bool = setting(
        False, "images: mirror every other one", ROWS, group="Augmentation", full_batch=False, compiles=ON
    )
# fmt: on


FIELDS: dict[str, dataclasses.Field[Any]] = {
    field.name: field for record in (NetworkFields, TrainingFields) for field in dataclasses.fields(record)
}


@functools.cache
def having(trait: str, *values: Any) -> tuple[str, ...]:
    """Return the names of the settings whose trait, a keyword of `setting`, has one of these values; none given: is true."""
    found = {name: field.metadata[trait] for name, field in FIELDS.items()}
    return tuple(name for name, value in found.items() if (value in values if values else value))


def shown_in(place: str) -> tuple[str, ...]:
    """Return the names of the settings that are shown in a place, HELP, PAGE, COMMAND or CLAIM, even where they have their defaults."""
    return tuple(name for name, field in FIELDS.items() if place in field.metadata["shown"])


HELD_OUT = ("validation", *having("needs", "validation"))  # what says which rows are held out


@functools.cache
def used_with(name: str) -> Mapping[str, tuple[str, ...]]:
    """Return which choices use a setting, {deciding setting: its values}; {}: it is always used."""
    found: dict[str, tuple[str, ...]] = {}
    for decider, table in CHOICES.items():
        users = tuple(choice for choice, defaults in table.items() if name in defaults)
        if users and name not in EVERYWHERE:
            found[decider] = users
    return found


DEPENDENT = tuple(name for name in FIELDS if used_with(name))


def used_by(name: str) -> tuple[str, ...]:
    """Return the optimizers that use a setting, in the order of OPTIMIZER_DEFAULTS."""
    return used_with(name).get("optimizer", OPTIMIZERS if name not in having("full_batch", False) else STEPPING)


def decider_against(name: str, values: Mapping[str, Any]) -> str | None:
    """Return which setting has, among `values`, a choice that does not use the setting `name`; None: all that are there use it."""
    for decider, users in used_with(name).items():
        choice = values.get(decider)
        if choice is not None and _chosen(choice, users) is None:
            return decider
    return None


def defaults_of_choices(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what follows from choices among these values, but for those of the optimizer: see CHOICES and `defaults_of`."""
    found: dict[str, Any] = {}
    for decider, table in CHOICES.items():
        choice = _chosen(values.get(decider), table)
        if decider != "optimizer" and choice is not None:
            found |= table[choice]
    return found


def _chosen(value: Any, choices: Collection[str]) -> str | None:
    """Return the one of some names that a value is, however it is spelled."""
    if value is None or value in choices:
        return value  # type: ignore[no-any-return]
    return next((one for one in choices if folded(one) == folded(str(value))), None)


def is_on(field: dataclasses.Field[Any], value: Any) -> bool:
    """Return whether a value asks for something: it is neither None nor a default, which was recorded with any choice once."""
    usual = (None, field.default, field.metadata["otherwise"], OF_A_CHOICE.get(field.name))
    return any(one not in usual for one in value) if isinstance(value, (tuple, list)) else value not in usual


def judges_epochs(training: Mapping[str, Any]) -> bool:
    """Return whether held-out rows, where there are any, have a say in the weights that a training with these settings ends with."""
    judging = (name for name in having("judges") if name != "metric")
    return training.get("schedule") == "plateau" or any(is_on(FIELDS[name], training.get(name)) for name in judging)


def is_default(field: dataclasses.Field[Any], value: Any, training: Mapping[str, Any]) -> bool:
    """Return whether a recorded value says no more than the default: of the field, of a choice, or of the optimizer trained with."""
    usual = list(field.default) if isinstance(field.default, tuple) else field.default
    if value in (None, usual, field.metadata["otherwise"], OF_A_CHOICE.get(field.name)):
        return True
    own = OPTIMIZER_DEFAULTS.get(str(training.get("optimizer")), {}).get(field.name)
    return bool(value in own.values() if isinstance(own, Mapping) else value == own)


def as_text(value: Any) -> str:
    """Return a setting as it is written on the command line: 300-100 for the widths of two layers."""
    if isinstance(value, (tuple, list)):
        return "-".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def default_text(field: dataclasses.Field[Any]) -> str:
    """Return the default of a setting as help shows it, "0.9 with adam, lion" or "10 for image; 30 for table"; "" where there is none."""
    if field.default is not None:
        return ", ".join(map(str, field.default)) if isinstance(field.default, tuple) else as_text(field.default)
    usual = OF_A_CHOICE.get(field.name, field.metadata["otherwise"])  # of which choice, the help says
    if usual is not None:
        return as_text(usual)
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
