"""What there is to say about a network: a record of it, for `rendering/networks.py` to show."""

from typing import Any, NamedTuple

from fastmlp.engines.wanted import count_running_stats
from fastmlp.network.labels import listed, shown
from fastmlp.network.layers import parameters_of

NORMALISATION = {"dense": "", "batch_norm": "batch normalisation", "layer_norm": "layer normalisation"}
INPUTS = {
    "none": "as they are",
    "scale": "bytes divided by 255, other numbers as they are",
    "standardize": "standardised: less the mean, divided by the standard deviation",
}
TARGETS = {"none": "as they are", "standardize": "standardised inside; everything is told in the units of y"}


class LayerSummary(NamedTuple):
    """One layer: its numbers of inputs and units, what is done to their sums, and its parameters."""

    n_in: int
    n_out: int
    activation: str
    normalisation: str  # "" for none
    parameters: int


class Summary(NamedTuple):
    """A network in numbers and words."""

    name: str  # its layers in one line
    layers: tuple[LayerSummary, ...]
    parameters: int
    running_stats: int  # numbers that batch normalisation tracks, which are no parameters
    dtype: str
    facts: tuple[tuple[str, str], ...]  # what else it is: heading and text


def summary_of(network: Any) -> Summary:
    """Return what there is to say about a network."""
    layers = tuple(
        LayerSummary(layer.n_in, layer.n_out, layer.activation, NORMALISATION[layer.kind], parameters_of(layer)) for layer in network.layers
    )
    return Summary(
        name="-".join(map(str, network.sizes)),
        layers=layers,
        parameters=network.parameters.size,
        running_stats=count_running_stats(network.sizes, network.normalization),
        dtype=network.dtype.name,
        facts=tuple(_facts(network)),
    )


def _facts(network: Any) -> list[tuple[str, str]]:
    scaling, of_targets = network.input_scaling, network.target_scaling
    facts = [("inputs", "decided by the first training")]
    if scaling is not None:
        facts = [("inputs", f"{INPUTS[scaling.kind]}{', per feature' if scaling.per_feature else ''}")]
    if network.columns is not None:
        facts.insert(0, ("columns", listed([column.name for column in network.columns.columns])))
    if of_targets is not None:
        facts.append(("targets", TARGETS[of_targets.kind]))
    facts.append(("loss", network.loss))
    if (names := classes_of(network)) is not None:
        facts.append(("classes", names))
    return facts


def classes_of(network: Any) -> str | None:
    """Return the classes that a network tells apart in words, by their labels and what they are called; None for numbers, or 0 and 1."""
    names, count = network.class_names, network.n_outputs
    if network.classes is not None and (names is None or names == tuple(map(str, network.classes.tolist()))):
        return shown(network.classes)
    if network.classes is not None:
        return listed([f"{label!r:.40} {name!r:.40}" for label, name in zip(network.classes.tolist(), names, strict=True)])
    if names is not None:
        return shown(names)
    return f"0 to {count - 1}" if network.predicts_classes else None
