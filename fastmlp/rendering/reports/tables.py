"""The tables of a page: epochs, models, settings ranked, claims beside what was measured."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastmlp import quantities
from fastmlp.quantities import MISSING, PERCENT, amount, loss, percent
from fastmlp.rendering import plots
from fastmlp.rendering.page import Mark, Table
from fastmlp.rendering.reports.facts import spread_text
from fastmlp.rendering.reports.models import finished, label_of, last_of, score_of
from fastmlp.rendering.reports.words import as_number, capitalised, count_of, value_text
from fastmlp.rendering.tables import metric as metric_text
from fastmlp.search.statistics import summarise
from fastmlp.settings import METRICS

if TYPE_CHECKING:
    from fastmlp.storage.reading import Model

MOST_CARDS = 12  # on a phone, rows of a longer table stay rows, and the table is moved sideways
MOST_RUNS_LISTED = 1000


def epoch_table(history: Mapping[str, Sequence[float | None]]) -> Table:
    """Return the epochs of one training, one in a row."""
    headings: tuple[str, ...] = (
        "Epoch",
        "Training loss",
        "Training accuracy",
        "Validation loss",
        "Validation accuracy",
        "Learning rate",
        "Seconds",
        "Rows/s",
    )
    rows = [
        (
            str(place + 1),
            loss(history["train_loss"][place]),
            percent(history["train_accuracy"][place]),
            loss(history["validation_loss"][place]),
            percent(history["validation_accuracy"][place]),
            value_text(history["learning_rate"][place]),
            f"{history['seconds'][place] or 0.0:.3f}",
            f"{history['samples_per_second'][place] or 0.0:,.0f}",
        )
        for place in range(len(history["epoch"]))
    ]
    line = f"{count_of(len(rows), 'epoch')}, one by one"
    headings, rows = _with_accuracy_where_there_is(headings, rows)
    return Table(headings, rows, numbers=range(len(headings)), stacked=len(rows) <= MOST_CARDS, folded=line)


def _with_accuracy_where_there_is(
    headings: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Return headings and rows of a table without columns of accuracies that have none: those of networks that predict numbers."""
    kept, extreme = [], ("lowest", "highest")
    for place, name in enumerate(headings):
        of_accuracy = "accuracy" in name or (name in extreme and "accuracy" in headings[place - 1 - extreme.index(name)])
        if not of_accuracy or any(row[place] != MISSING for row in rows):
            kept.append(place)
    return tuple(headings[place] for place in kept), [tuple(row[place] for place in kept) for row in rows]


def epochs_over_runs(models: "Sequence[Model]") -> Table:
    """Return the epochs of repeated trainings, each with means and spreads over the runs."""
    headings: tuple[str, ...] = (
        "Epoch",
        "Validation accuracy",
        "lowest",
        "highest",
        "Validation loss",
        "Training accuracy",
        "Training loss",
    )
    rows = []
    for place in range(max(len(model.history["epoch"]) for model in models)):
        spread = {
            score: summarise([model.history[score][place] for model in models if place < len(model.history[score])])
            for score in plots.SCORES
        }
        accuracy = spread["validation_accuracy"]
        rows.append(
            (
                str(place + 1),
                spread_text(accuracy, True),
                percent(accuracy and accuracy.lowest),
                percent(accuracy and accuracy.highest),
                spread_text(spread["validation_loss"], False),
                spread_text(spread["train_accuracy"], True),
                spread_text(spread["train_loss"], False),
            )
        )
    caption = f"Mean ± standard deviation of {count_of(len(models), 'run')}"
    headings, rows = _with_accuracy_where_there_is(headings, rows)
    return Table(headings, rows, numbers=range(len(headings)), caption=caption, stacked=len(rows) <= MOST_CARDS)


def model_table(models: "Sequence[Model]", folded: str | None = None) -> Table:
    """Return one row per model; `folded` is the line that the table waits behind, "" for none."""
    labels = list(dict.fromkeys(label_of(model.changed) for model in models))  # they come as they were finished
    models = sorted(models, key=lambda model: (labels.index(label_of(model.changed)), model.fold or 0, model.seed))
    shown = models[:MOST_RUNS_LISTED]
    columns: dict[str, list[str | Mark]] = {}
    if any(model.fold is not None for model in models):
        columns["Fold"] = [str(model.fold) for model in shown]
    if any(model.changed for model in models):
        columns["Settings"] = [label_of(model.changed) or "as given" for model in shown]
    columns["Seed"] = [str(model.seed) for model in shown]
    for rows, scores in (("Validation", [model.validation for model in shown]), ("Test", [model.test or {} for model in shown])):
        names = [name for name in METRICS if any(as_number(each.get(name)) is not None for each in scores)]
        names = [*names[1:], *names[:1]]  # the loss comes last
        for name in names if rows == "Validation" else names[:1]:
            columns[f"{rows} {METRICS[name].label}"] = [metric_text(name, as_number(each.get(name))) for each in scores]
    columns["Seconds"] = [f"{model.seconds:.2f}" for model in shown]
    columns["Outcome"] = [model.outcome if model.outcome == "done" else Mark(model.outcome, "no") for model in shown]
    numbers = [place for place, name in enumerate(columns) if name not in ("Settings", "Outcome")]
    line = f"{count_of(len(models), 'model')}, one by one" if folded is None else folded
    return Table(tuple(columns), list(zip(*columns.values(), strict=True)), numbers=numbers, stacked=len(shown) <= MOST_CARDS, folded=line)


def ranking_table(groups: "Mapping[str, Sequence[Model]]", ranked: Sequence[str], score: str) -> Table:
    """Return the settings of a sweep, one in a row, the best one first."""
    metric = METRICS[score]
    other = "Training loss" if score == "loss" else "Validation loss"
    headings: tuple[str, ...] = ("Settings", f"Validation {metric.label}", other, "Training accuracy", "Runs", "Diverged", "Seconds")
    rows = []
    for label in ranked:
        done = finished(groups[label])
        its_loss = summarise([score_of(model, "loss") for model in done])
        train_loss = summarise([last_of(model, "train_loss") for model in done])
        diverged = len(groups[label]) - len(done)
        rows.append(
            (
                label,
                spread_text(summarise([score_of(model, score) for model in done]), metric.is_share),
                spread_text(train_loss if score == "loss" else its_loss, False),
                spread_text(summarise([last_of(model, "train_accuracy") for model in done]), True),
                str(len(groups[label])),
                Mark(str(diverged), "no") if diverged else "0",
                f"{statistics.median(model.seconds for model in done):.2f}" if done else MISSING,
            )
        )
    caption = "Best first; mean ± standard deviation over runs with different seeds, after the last epoch"
    headings, rows = _with_accuracy_where_there_is(headings, rows)
    return Table(headings, rows, numbers=range(1, len(headings)), caption=caption, stacked=True)


def claims_table(rows: Sequence[Mapping[str, Any]], base: Mapping[str, Any]) -> Table:
    """Return claims of the course report, each beside what was measured."""
    headings = ("No.", "Experiment", "The report says", "We measured", "Same?", "Other settings", "Note")
    return Table(headings, [_claim_row(row, base) for row in rows], stacked=True)


def _claim_row(row: Mapping[str, Any], base: Mapping[str, Any]) -> tuple[str | Mark, ...]:
    settings = row.get("settings")
    same = str(row.get("same", MISSING))
    return (
        str(row.get("id") or ""),
        capitalised(str(row.get("experiment") or MISSING).removeprefix("slip: ")),
        str(row.get("report_says") or MISSING),
        measured_text(row),
        Mark(same, {"yes": "yes", "no": "no"}.get(same, "other")),
        ", ".join(claim_settings(settings, base)) if isinstance(settings, dict) else "",
        str(row.get("note") or ""),
    )


def claim_settings(settings: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ from those that all share."""
    return [f"{name.replace('_', ' ')} {value_text(value)}" for name, value in settings.items() if name not in base or base[name] != value]


def measured_text(row: Mapping[str, Any]) -> str:
    """Return what was measured in the unit of its quantity."""
    measured, quantity = row.get("measured"), str(row.get("quantity") or "")
    mean = as_number(measured.get("mean")) if isinstance(measured, dict) else None
    if not isinstance(measured, dict) or mean is None:
        return f"{quantity}: {MISSING}" if quantity else MISSING
    n = measured.get("n")
    many = f" ({n} runs)" if isinstance(n, int) and n > 1 else ""
    unit = quantities.unit_of(quantity)
    if not quantity and "%" in str(row.get("report_says")):
        unit = PERCENT
    text = amount(mean, as_number(measured.get("std")), unit)
    return f"{text}{many}" + (f", {quantity}" if quantity else "")
