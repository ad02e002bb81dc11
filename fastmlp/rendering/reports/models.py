"""The models of an experiment as a page takes them: which are done, what tells them apart, what they are judged by."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastmlp.rendering.reports.words import as_number, loss_name, settings_of, value_text
from fastmlp.settings import METRICS

if TYPE_CHECKING:
    from fastmlp.storage.reading import Model, RunRecord


def varied_in(run: "RunRecord") -> dict[str, list[Any]]:
    """Return the settings in which the models of an experiment differ, with their values in order: its axes, seeds and folds."""
    found: dict[str, list[Any]] = {}

    def note(name: str, value: Any) -> None:
        if value not in found.setdefault(name, []):
            found[name].append(value)

    if run.kind == "reproduce":
        rows = run.result.get("rows")
        changes = [{**settings_of(run, "network"), **settings_of(run, "train")}]
        changes += [row["settings"] for row in rows if isinstance(row, dict) and isinstance(row.get("settings"), dict)] if rows else []
    else:
        asked = (run.manifest.get("arguments") or {}).get("changes")
        changes = [change for change in asked or [] if isinstance(change, dict)] or [model.changed for model in run.models]
    for change in changes:
        for name, value in change.items():
            note(name, value)
    models = [*run.models, *(model for models in run.experiments.values() for model in models)]
    for model in models:
        note("seed", model.seed)
        if model.fold is not None:
            note("fold", model.fold)
    lengths = {model.key.partition(" ")[0] for model in run.models}
    by_halving = (run.manifest.get("arguments") or {}).get("halving") is True
    if by_halving and all(length.startswith("epochs=") for length in lengths):
        for length in lengths:
            note("epochs", int(length.removeprefix("epochs=")))
    return {name: values for name, values in found.items() if len(values) > 1}


def judged_by(run: "RunRecord") -> str:
    """Return by which metric models of an experiment are judged: the one that was chosen, else accuracy where there is one, or the loss."""
    chosen = str(settings_of(run, "train").get("metric") or "loss")
    if chosen in METRICS and chosen != "loss" and any(score_of(model, chosen) is not None for model in run.models):
        return chosen
    return "accuracy" if any(_accuracy(model) is not None for model in run.models) else "loss"


def axis_of(score: str, run: "RunRecord") -> str:
    """Return what an axis that shows a score is called, with its unit."""
    metric = METRICS[score]
    return loss_name(run) if score == "loss" else f"{metric.label} (%)" if metric.is_share else metric.label


def finished(models: "Sequence[Model]") -> "list[Model]":
    """Return the models that did not diverge."""
    return [model for model in models if model.outcome == "done"]


def by_setting(models: "Sequence[Model]") -> "dict[str, list[Model]]":
    """Return models by the settings that tell them apart; of rounds with more and more epochs, the longest only."""
    groups: dict[str, list[Model]] = {}
    for model in models:
        groups.setdefault(label_of(model.changed) or "as given", []).append(model)
    for label, group in groups.items():
        rounds = [model.key.partition(" ")[0] if model.key.startswith("epochs=") else "" for model in group]
        last = max(rounds, key=lambda name: (len(name), name))
        groups[label] = [model for model, name in zip(group, rounds, strict=True) if name == last]
    return groups


def label_of(changed: Mapping[str, Any]) -> str:
    """Return in words the settings that tell a model from others."""
    return ", ".join(f"{name.replace('_', ' ')} {value_text(value)}" for name, value in changed.items())


def short_label(label: str) -> str:
    """Return a label cut to what fits beside a number."""
    return label if len(label) <= 40 else label[:39] + "…"


def _accuracy(model: "Model") -> float | None:
    return score_of(model, "accuracy")


def score_of(model: "Model", score: str) -> float | None:
    """Return a score of a model on its held-out rows."""
    return as_number(model.validation.get(score))


def last_of(model: "Model", score: str) -> float | None:
    """Return a score of the last epoch of a model; None where none was finished."""
    values = model.history[score]
    return values[-1] if values else None
