"""The paragraph of a page that says how its models were trained, for the methods section of a text."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastmlp.quantities import percent
from fastmlp.rendering.reports.models import varied_in
from fastmlp.rendering.reports.words import (
    and_list,
    as_number,
    network_text,
    or_list,
    rows_trained_on,
    settings_of,
    title_of,
    value_text,
    values_text,
)
from fastmlp.settings import FIELDS, having, is_default, judges_epochs, used_by

if TYPE_CHECKING:
    from fastmlp.storage.reading import RunRecord

INPUTS = {
    "none": "Inputs are used as they are.",
    "scale": "Inputs that are bytes are divided by 255, others used as they are.",
    "standardize": "Inputs are standardised: the mean of the training rows subtracted, then divided by their standard deviation.",
}
OF_TABLES = (
    "Columns became inputs, fitted to the rows trained on: numbers and dates less their median, divided by their interquartile range and "
    "clipped smoothly; categories one-hot, or −1 and 1 where there are two; missing numbers as the median, with an input that says so."
)
OPTIMIZERS = {
    "sgd": "stochastic gradient descent",
    "rmsprop": "RMSProp",
    "adagrad": "Adagrad",
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "lion": "Lion",
    "lbfgs": "L-BFGS",
}
# Weight initialisation.
INITIAL = {
    "glorot": "with variance 2/(K + N) (Glorot and Bengio 2010)",
    "he": "with variance 2/K (He et al. 2015)",
    "lecun": "with variance 1/K (LeCun et al. 1998)",
    "orthogonal": "orthogonal (Saxe et al. 2014)",
    "zeros": "zero",
    "constant": "all alike",
    "course": "0.01 times a random whole number from 0 to 9",
}
DEFAULT_RULE = "glorot_normal"
SAID = (*having("in_text"), *having("changes_bits", False))  # what the methods have words for, or need none for
MOST_SAID = 6  # values of a setting that a text names one by one
NOT_IN_TABLES = ("fold", "rows", "weights")  # in which models differ, and that are no settings


def methods_of(run: "RunRecord", models: int, tested: bool) -> str:
    """Return a paragraph for the methods section of a text."""
    train, network, varied = settings_of(run, "train"), settings_of(run, "network"), varied_in(run)

    def said(name: str, show: Callable[[Any], str] = value_text) -> str:
        """Return a setting in words, all of its values where it was varied."""
        if name not in varied:
            return show(train.get(name))
        return or_list([show(value) for value in varied[name]]) if len(varied[name]) <= MOST_SAID else values_text(varied[name])

    if run.kind == "reproduce":
        subject = f"{network_text(run)}, and the variants named in the tables, were trained on {title_of(run)}"
    elif run.kind == "sweep":
        subject = (
            f"Multi-layer perceptrons were trained on {title_of(run)} with the settings that the table compares ({models} models in all)"
        )
    else:
        subject = f"{network_text(run)} was trained on {title_of(run)}"
        if models > 1:
            subject += f" {models} times, {'once for each fold and seed' if run.kind == 'cv' else 'with different seeds'}"
    rows = rows_trained_on(run)
    if rows and run.kind in ("train", "repeat"):
        subject += f" ({rows:,} rows)"
    reduction = said("reduction", lambda value: "summed" if value == "sum" else "averaged")
    optimizer = said("optimizer", lambda value: OPTIMIZERS.get(str(value), "gradient descent"))
    own = (train.get("optimizer") or "varied") not in used_by("learning_rate") and "learning_rate" not in varied
    rate = "steps as far as a line search says" if own and "optimizer" not in varied else f"learning rate {said('learning_rate')}"
    minimised = said("loss", lambda value: str(value or "cross_entropy").replace("_", " "))
    stops = set(having("group", "Stopping")) & set(having("may_change"))  # what ends a training earlier may change when it goes on
    may_stop = any(train.get(name) is not None or name in varied for name in stops)
    many = train.get("epochs") != 1 or "epochs" in varied
    rows_of_batch = f"{said('batch_size')} row{'' if train.get('batch_size') == 1 and 'batch_size' not in varied else 's'}"
    inputs = [INPUTS.get(str(value or "scale"), "") for value in varied.get("normalize", [train.get("normalize")])]
    of_columns = OF_TABLES if run.manifest["data"].get("table") else ""
    if of_columns:  # which are numbers, never bytes
        inputs = [text for text in inputs if text not in (INPUTS["scale"], INPUTS["none"])]
    parts = [
        f"{subject}, for {'up to ' if may_stop else ''}{said('epochs')} epoch{'s' if many else ''} of {optimizer} with batches of "
        f"{rows_of_batch}, {rate} and gradients {reduction} over the batch, minimising the {minimised}.",
        of_columns,
        " Or: ".join(inputs),
        "Targets were standardised inside; losses are in their own units." if train.get("normalize_target") == "standardize" else "",
        "Initial weights followed the rule of each setting; biases started at zero."
        if {"initializer", "activation", "initial_value"} & varied.keys()
        else f"{_initial_text(network)}; biases start at zero.",
    ]
    others = [
        f"{field.name.replace('_', ' ')} {value_text(value)}"
        for field in FIELDS.values()
        if field.name not in (*SAID, *varied) and not is_default(field, value := {**network, **train}.get(field.name), train)
    ]
    if others:
        parts.append(f"Other settings than the default: {', '.join(others)}.")
    compared = [
        f"{name.replace('_', ' ')} {or_list([value_text(value) for value in values]) if len(values) <= MOST_SAID else values_text(values)}"
        for name, values in varied.items()
        if name not in (*SAID, *NOT_IN_TABLES) or name in ("hidden", "activation", "output", "dtype")
    ]
    if compared:
        parts.append(f"Compared were {', '.join(compared)}.")
    if run.kind == "cv":
        drawn = {"stratified": ", stratified by class", "groups": ", in whole groups"}.get(_usual_holdout(run), "")
        parts.append(f"Folds were drawn at random{drawn}; each row was held out once for each seed.")
        if judges_epochs(train) and as_number(train.get("validation")):
            parts.append(f"Epochs were judged by rows of the other folds, never by the fold scored. {_held_out_text(run, varied)}")
        elif judges_epochs(train):
            parts.append("The epochs were judged by the fold that was scored, so the scores are optimistic.")
    else:
        parts.append(_held_out_text(run, varied))
    if "seed" in varied:
        parts.append(f"Seeds were {values_text(varied['seed'])}.")
    parts.append("The test set was evaluated once per final model, after training." if tested else "The test set was not evaluated.")
    if models > 1:
        parts.append(f"Spreads are standard deviations (n − 1) over {'models, each on its own fold' if run.kind == 'cv' else 'runs'}.")
    versions = run.manifest.get("versions") or {}
    software = ", ".join(f"{name} {versions[name]}" for name in ("fastmlp", "numba", "numpy", "python") if versions.get(name))
    dtype = "double" if network.get("dtype") == "float64" else "single"
    parts.append(f"Computations used {dtype} precision ({software}; processor: {run.manifest.get('cpu') or 'unknown'}).")
    return " ".join(part for part in parts if part)


def _usual_holdout(run: "RunRecord") -> str:
    """Return how rows are held out where no setting says it, as training/holdout.py has it; version 0.1.0 took the last."""
    if run.kind != "cv" and "holdout" not in settings_of(run, "train"):
        return "last"
    table = run.manifest["data"].get("table") or {}
    if table.get("group") is not None:
        return "groups"
    has_classes = settings_of(run, "network").get("output") != "identity" and not isinstance(table.get("target"), list)
    return "stratified" if has_classes else "shuffled"


def _held_out_text(run: "RunRecord", varied: Mapping[str, Sequence[Any]]) -> str:
    """Return which rows were held out, in words; "" where none were."""
    from fastmlp.training.holdout import HOW

    train, usual = settings_of(run, "train"), _usual_holdout(run)
    if "validation" not in varied and not as_number(train.get("validation")):
        return ""

    def rows(value: Any) -> str:
        number = as_number(value) or 0.0
        return f"{percent(number, 0)} of the" if 0 < number < 1 else f"{number:,.0f}"

    amounts = or_list([rows(value) for value in varied.get("validation", [train.get("validation")])])
    chosen = ["groups"] if usual == "groups" else [value or usual for value in varied.get("holdout", [train.get("holdout")])]
    how = or_list([HOW.get(str(value), "drawn") for value in chosen])
    seeds = or_list([str(value) for value in varied.get("split_seed", [train.get("split_seed", 0)])])
    drawn = f"{how} (split seed {seeds})" if how != HOW["last"] else how
    return f"For validation {amounts} training rows were held out, {drawn}."


def _initial_text(network: Mapping[str, Any]) -> str:
    """Return the weight initialisation of a network, in words."""
    from fastmlp.kernels.activations import ACTIVATIONS

    asked_for, activation = network.get("initializer"), network.get("activation")
    before: dict[str, list[str]] = {}  # rule -> the activations that it goes before
    for name in map(str, activation if isinstance(activation, list) else [activation]):
        rule = ACTIVATIONS[name].initializer if name in ACTIVATIONS else DEFAULT_RULE
        if rule != DEFAULT_RULE and name not in before.setdefault(rule, []):
            before[rule].append(name)
    if asked_for:
        parts = [_rule_text(str(asked_for))]
    else:
        parts = [f"{_rule_text(rule)} before {and_list(names)} units" for rule, names in before.items()]
        parts.append(_rule_text(DEFAULT_RULE) + (" elsewhere" if parts else ""))
    text = f"Initial weights are {', '.join(parts)}"
    return f"{text}, for the K inputs and N units of a layer" if "K" in text else text


def _rule_text(rule: str) -> str:
    kind, _, shape = rule.partition("_")
    return f"{shape} {INITIAL.get(kind, rule)}".strip()
