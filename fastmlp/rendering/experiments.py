"""Repeats, sweeps, cross-validations and the reproduction of the report as text."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastmlp import quantities
from fastmlp.quantities import MISSING, NUMBER, PERCENT, POINTS, amount, bare_amount, bare_percent, loss, percent, r2, unit_of
from fastmlp.rendering.tables import counted, table
from fastmlp.rendering.tables import metric as value_of_metric
from fastmlp.settings import METRICS, as_text

if TYPE_CHECKING:
    from fastmlp.course.claims import Row
    from fastmlp.course.reproduce import Stage
    from fastmlp.search.cross_validation import CvResult
    from fastmlp.search.repeat import EpochSummary
    from fastmlp.search.statistics import Comparison, Summary
    from fastmlp.search.sweep import Ranked, SweepResult
    from fastmlp.search.task import Lost, Trained

WIDTH = 100
EXTREMES = ("lowest", "highest")


def repeat(epochs: "Sequence[EpochSummary]", metric: str = "loss") -> str:
    """Return one row per epoch: mean ± standard deviation and extremes on the validation rows, and the mean accuracy in training.

    Before the loss stands the metric that epochs are judged by, or the accuracy where there is one. Where some models stopped before
    others, each row says how many got so far, in the place of the last column.
    """
    uneven = len({_runs_of(one) for one in epochs}) > 1
    accurate = any(one.train_accuracy is not None for one in epochs)
    shown = metric if metric != "loss" else "accuracy" if accurate else None
    rows = []
    for one in epochs:
        its_loss, train = one.validation_loss, one.train_accuracy
        judged = [] if shown is None else _with_extremes(one.validation_accuracy if shown == "accuracy" else one.validation_metric, shown)
        last = [str(_runs_of(one))] if uneven else [MISSING if train is None else bare_percent(train.mean)] if accurate else []
        rows.append([str(one.epoch), *judged, *_with_extremes(its_loss, "loss"), *last])
    judged = [] if shown is None else [_heading(shown), *EXTREMES]
    return table(["epoch", *judged, "loss", *EXTREMES, *(["runs"] if uneven else ["train %"] if accurate else [])], rows, left=())


def _heading(metric: str) -> str:
    known = METRICS[metric]
    return f"{known.label} %" if known.is_share else known.label


def _with_extremes(summary: "Summary | None", metric: str) -> list[str]:
    """Return mean ± standard deviation, the lowest and the highest value of a metric, below headings with its unit."""
    if summary is None:
        return [MISSING] * 3
    is_share = METRICS[metric].is_share
    return [_of_metric(summary, metric), *(bare_percent(value) if is_share else loss(value) for value in summary[2:4])]


def _of_metric(summary: "Summary | None", metric: str) -> str:
    return _below_heading(summary, PERCENT) if METRICS[metric].is_share else _said(summary, NUMBER)


def _runs_of(epoch: "EpochSummary") -> int:
    return 0 if epoch.train_loss is None else epoch.train_loss.n


def at_the_end(scores: "Mapping[str, Summary | None]") -> str:
    """Return what models reached on the validation rows, each with the weights that it has."""
    return f"each at its end: validation {_scores(scores)}"


def sweep(result: "SweepResult") -> str:
    """Return one row per setting, best first."""
    names = list(result.ranked[0].changed)
    halved = len({ranked.epochs for ranked in result.ranked}) > 1 and "epochs" not in names
    accurate = any(ranked.train_accuracy is not None for ranked in result.ranked)
    of_numbers = any(ranked.validation_r2 is not None for ranked in result.ranked)
    decided = result.score.removeprefix("validation_")
    first = decided if decided != "loss" else "r2" if of_numbers else "accuracy" if accurate else None
    judged = [] if first is None else [_heading(first)]
    headings = [*names, *(["epochs"] if halved else []), *judged, "loss", *(["train %"] if accurate else []), ""]
    rows = []
    for ranked in result.ranked:
        train = ranked.train_accuracy
        rows.append(
            [
                *(_setting(ranked.changed[name]) for name in names),
                *([str(ranked.epochs)] if halved else []),
                *([] if first is None else [_of_metric(_value_of(ranked, first), first)]),
                _said(ranked.validation_loss, NUMBER),
                *([MISSING if train is None else bare_percent(train.mean)] if accurate else []),
                f"{ranked.diverged} of {ranked.runs} diverged" if ranked.diverged else "",
            ]
        )
    return table(headings, rows, left=(*range(len(names)), len(headings) - 1))


def _value_of(ranked: "Ranked", metric: str) -> "Summary | None":
    own = {"accuracy": ranked.validation_accuracy, "r2": ranked.validation_r2}.get(metric)
    return ranked.validation_metric if own is None else own


def verdict(result: "SweepResult") -> str:
    """Return in words which setting is best by validation, and whether it is better than the second beyond the noise of seeds."""
    best = result.ranked[0]
    if best.diverged == best.runs:
        return "no setting is best: every model diverged"
    text = f"best by validation: {name_of(best)}"
    if result.comparison is None:
        return text
    return f"{text}\n{lead(result.comparison, result.score, name_of(result.ranked[1]))}"


def lead(comparison: "Comparison", score: str, second: str) -> str:
    """Return in words how much better the best setting is than the second."""
    metric = METRICS[score.removeprefix("validation_")]
    unit = POINTS if metric.is_share else NUMBER
    text = f"{quantities.ahead(comparison.difference, unit, metric.label)} than {second}"
    if comparison.low is None or comparison.high is None:
        return f"{text}; {counted(comparison.n, 'seed')} {'is' if comparison.n == 1 else 'are'} too few to tell that from noise: --runs 5"
    interval = quantities.interval(comparison.low, comparison.high, comparison.n, unit, metric.label)
    return f"{text} ({interval}): {quantities.noise(comparison.beyond_noise)}"


def folds(records: Sequence[Mapping[str, Any]], metric: str = "loss") -> str:
    """Return one row per model of a cross-validation: the metric, else accuracy or R², and the loss."""
    of_numbers = any("r2" in record["validation"] for record in records)
    shown = metric if metric != "loss" else "r2" if of_numbers else "accuracy"
    rows = []
    for record in records:
        scores = record["validation"]
        diverged = "diverged" if record["outcome"] == "diverged" else ""
        rows.append([str(record["fold"]), str(record["seed"]), value_of_metric(shown, scores.get(shown)), loss(scores["loss"]), diverged])
    return table(["fold", "seed", METRICS[shown].label, "loss", ""], rows, left=(4,))


def cross_validation(result: "CvResult") -> str:
    """Return mean ± standard deviation over the models that did not diverge."""
    models = counted(result.models - result.diverged, "model")
    text = f"{_scores(result._asdict())} (mean ± standard deviation of {models}, each on its own fold)"
    return f"{text}; {result.diverged} diverged" if result.diverged else text


def test_scores(scores: "Mapping[str, Summary | None]") -> str:
    """Return what several final models reached on the test rows."""
    its_loss = scores["loss"]
    n = 0 if its_loss is None else its_loss.n
    return f"test {_scores(scores)} ({n} final model{'s' if n != 1 else ''}, each measured once)"


def stage(begun: "Stage") -> str:
    """Return in one line that an experiment of several begins."""
    return begun.title + (f": {counted(begun.models, 'model')}" if begun.models else "")


def lost(event: "Lost") -> str:
    """Return in one line that a worker is gone."""
    models = f"{event.models} models are" if event.models > 1 else "its model is"
    return f"warning: a worker was lost ({event.why}); {models} trained again"


def trained(model: "Trained") -> str:
    """Return in one line that a model is finished."""
    if model.outcome != "done":
        return f"{model.task.key}: diverged in epoch {len(model.history) + 1}"
    scores = model.validation if model.validation["loss"] is not None else model.test
    if scores is None:
        return f"{model.task.key}: trained"
    what = "validation" if scores is model.validation else "test"
    metric, accuracy, explained = model.task.training.metric, scores.get("accuracy"), scores.get("r2")
    if metric != "loss":
        return f"{model.task.key}: {what} {METRICS[metric].label} {value_of_metric(metric, scores.get(metric))}"
    if accuracy is not None:
        return f"{model.task.key}: {what} accuracy {percent(accuracy)}"
    return f"{model.task.key}: {what} {'' if explained is None else f'R² {r2(explained)}, '}loss {loss(scores['loss'])}"


def reproduction(rows: "Sequence[Row]", common: Mapping[str, Any]) -> str:
    """Return the report's claims one by one: what it says, what was measured, whether that is the same, and with which settings.

    Of the settings only those are named that are not the `common` ones, which stand above.
    """
    lines = ["unless a claim says otherwise: " + _settings(common), ""]
    for row in rows:
        lines += [
            f"{row.id}  {row.experiment}",
            f"  report    {row.report_says}",
            f"  measured  {measured(row)}",
            f"  the same  {row.same}",
        ]
        own = {name: value for name, value in row.settings.items() if as_text(value) != as_text(common.get(name))}
        lines += [f"  with      {_settings(own)}"] if own else []
        lines += [f"  note      {row.note}"] if row.note else []
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent=" " * 12, break_on_hyphens=False) for line in lines)


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {as_text(value)}" for name, value in settings.items())


def measured(row: "Row") -> str:
    """Return what a row measured, with its unit."""
    summary = row.measured
    if summary is None:
        return MISSING
    return f"{row.quantity} {_said(summary, unit_of(row.quantity))}" + (f" (n = {summary.n})" if summary.n > 1 else "")


def _scores(scores: "Mapping[str, Any]") -> str:
    """Return summaries in words: of the metrics that there are, and the loss."""
    found = [
        f"{metric.label} {_said(scores[name], PERCENT if metric.is_share else NUMBER)}"
        for name, metric in METRICS.items() if name != "loss" and scores.get(name) is not None
    ]  # fmt: skip
    return ", ".join([*found, f"loss {_said(scores['loss'], NUMBER)}"])


def _said(summary: "Summary | None", unit: str) -> str:
    return MISSING if summary is None else amount(summary.mean, summary.std, unit)


def _below_heading(summary: "Summary | None", unit: str) -> str:
    return MISSING if summary is None else bare_amount(summary.mean, summary.std, unit)


def _setting(value: Any) -> str:
    """Return a value that models differ in, where others may have one of their own and this one has its default."""
    return "default" if value is None else as_text(value)


def name_of(ranked: "Ranked") -> str:
    """Return the name of a setting: learning_rate=0.01."""
    return " ".join(f"{name}={_setting(value)}" for name, value in ranked.changed.items())
