"""How a page names things: values of settings, data sets, networks, numbers of something."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastmlp.settings import current_names

if TYPE_CHECKING:
    from fastmlp.storage.reading import RunRecord

TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "synthetic": "synthetic points"}
LOSSES = {
    "cross_entropy": "cross-entropy",
    "binary_cross_entropy": "binary cross-entropy",
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "huber": "Huber loss",
    "log_cosh": "log-cosh loss",
    "quantile": "quantile loss",
    "poisson": "Poisson loss",
}


def values_text(values: Sequence[Any], most: int = 12) -> str:
    """Return the values of a setting that was varied: "0.01, 0.1 and 0.5", "0 to 29", "20 values from 0.012 to 0.93"."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    ordered = sorted(values) if numbers else list(values)
    if len(ordered) > 2 and all(isinstance(v, int) for v in ordered) and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    if len(ordered) > most and numbers:
        return f"{len(ordered)} values from {value_text(ordered[0])} to {value_text(ordered[-1])}"
    return and_list([value_text(value) for value in ordered[:most]]) + (" …" if len(ordered) > most else "")


def value_text(value: Any) -> str:
    """Return a value of a setting as it is read."""
    if isinstance(value, (list, tuple)):
        return "-".join(map(value_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "by default"
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_number(value: Any) -> float | None:
    """Return what a record holds as a number; None where it holds something else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def settings_of(run: "RunRecord", table: str) -> dict[str, Any]:
    """Return the settings of a run, of "network" or "train", under the names that they have now."""
    return current_names(run.manifest["settings"][table], warn=False)


def setting_of(run: "RunRecord", name: str) -> str:
    """Return a setting of the training of a run as it is read."""
    return value_text(settings_of(run, "train").get(name))


def loss_name(run: "RunRecord") -> str:
    """Return the loss of a run, by its name in a text."""
    return LOSSES.get(str(settings_of(run, "train").get("loss") or "cross_entropy"), "loss")


def count_of(count: Any, what: str) -> str:
    """Return how many there are of something: 1 epoch, 2 epochs."""
    return f"{value_text(count)} {what}{'' if count == 1 else 's'}"


def capitalised(text: str) -> str:
    """Return a text that begins with a capital; the rest of it stays."""
    return text[:1].upper() + text[1:]


def title_of(run: "RunRecord") -> str:
    """Return the names of the data of a run."""
    return and_list([TITLES.get(name, name) for name in run.manifest["data"]["name"].split(", ")])


def hidden_text(run: "RunRecord") -> str:
    """Return the hidden layers of a run, in short."""
    network = settings_of(run, "network")
    return f"{value_text(network.get('hidden') or 'unknown')} {value_text(network.get('activation') or 'hidden')} units"


def network_text(run: "RunRecord") -> str:
    """Return the network of a run as the subject of a sentence."""
    from fastmlp.training.tables import trains_several

    network = settings_of(run, "network")
    hidden = network.get("hidden")
    widths = (
        and_list([f"{width:,}" for width in hidden]) if isinstance(hidden, list) and all(isinstance(w, int) for w in hidden) else "unknown"
    )
    layers = (
        f"{'one hidden layer' if len(hidden) == 1 else f'{len(hidden)} hidden layers'} of {widths}"
        if isinstance(hidden, list)
        else "hidden layers"
    )
    of_table = run.manifest.get("data", {}).get("table")
    several = isinstance(of_table, dict) and trains_several(of_table.get("preset"))
    one = "An ensemble of multi-layer perceptrons, whose mean answers, each" if several else "A multi-layer perceptron"
    return f"{one} with {layers} {value_text(network.get('activation'))} units"


def rows_trained_on(run: "RunRecord") -> int | None:
    """Return how many rows an epoch had, from its time and its speed; None where no epoch was finished."""
    histories = [run.history] if run.history["epoch"] else [model.history for model in run.models if model.history["epoch"]]
    for history in histories:
        seconds, speed = history["seconds"][0], history["samples_per_second"][0]
        if seconds and speed:
            return round(seconds * speed)
    return None


def duration_of(seconds: float) -> str:
    """Return seconds in the unit that fits them."""
    if seconds >= 90:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def or_list(words: Sequence[str]) -> str:
    """Return texts as a list in a sentence, the last one after "or"."""
    return and_list(words, "or")


def and_list(words: Sequence[str], last: str = "and") -> str:
    """Return texts as a list in a sentence, the last one after `last`."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" {last} {words[-1]}" if words else ""
