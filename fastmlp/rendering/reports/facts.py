"""What a page says of results: the numbers at its top, and the sentences that compare two settings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastmlp import quantities
from fastmlp.quantities import MISSING, NUMBER, PERCENT, POINTS, amount, loss, percent, r2
from fastmlp.rendering.page import Fact
from fastmlp.rendering.reports.words import as_number, count_of, duration_of
from fastmlp.search.statistics import Summary, summarise
from fastmlp.settings import METRICS

if TYPE_CHECKING:
    from fastmlp.storage.reading import RunRecord


def text_of_test(test: Mapping[str, Any]) -> str:
    """Return what a network reached on the test rows, as a part of a sentence."""
    share = as_number(test.get("r2"))
    return f"accuracy {percent(as_number(test.get('accuracy')))}" if share is None else f"R² {r2(share)}"


def score_fact(rows: str, accuracy: float | None, its_loss: float | None, detail: str) -> Fact:
    """Return an accuracy as a fact, or the loss where there is none; detail: what is said of an accuracy, the loss first."""
    if accuracy is None:
        return Fact(loss(its_loss), f"{rows} loss", detail.partition("; ")[2])
    return Fact(percent(accuracy), f"{rows} accuracy", detail)


def fact_of_test(test: Mapping[str, Any]) -> Fact:
    """Return what a network reached on the test rows: its accuracy, or for numbers R² and the errors in the units of y."""
    its_loss, share = as_number(test.get("loss")), as_number(test.get("r2"))
    if share is None:
        return score_fact("Test", as_number(test.get("accuracy")), its_loss, f"loss {loss(its_loss)}; test rows, after training")
    errors = f"RMSE {loss(as_number(test.get('rmse')))}, MAE {loss(as_number(test.get('mae')))}, loss {loss(its_loss)}"
    return Fact(r2(share), "Test R²", f"{errors}; test rows, after training")


def spread_facts(rows: str, scores: Sequence[Mapping[str, float | None]], over: str = "run") -> list[Fact]:
    """Return a fact for each score that there is; `over` says what one of the models stands for."""
    facts = []
    for name in sorted(METRICS, key=lambda name: name == "loss"):
        spread = summarise([each.get(name) for each in scores])
        if spread is not None:
            facts.append(spread_fact(f"{rows} {METRICS[name].label}", spread, METRICS[name].is_share, over))
    return facts


def spread_fact(label: str, spread: Summary, is_accuracy: bool, over: str = "run") -> Fact:
    """Return the mean of a score over several models as a fact, with its spread; `over` says what one of the models stands for."""
    show = percent if is_accuracy else loss
    detail = f"± standard deviation, {spread.n} {over}s; {show(spread.lowest)} to {show(spread.highest)}" if spread.n > 1 else f"one {over}"
    return Fact(spread_text(spread, is_accuracy), label, detail)


def models_facts(run: "RunRecord") -> list[Fact]:
    """Return how many models an experiment has, and how many of them diverged."""
    diverged = sum(model.outcome != "done" for model in run.models)
    facts = [Fact(str(len(run.models)), "Models", f"{duration_of(sum(model.seconds for model in run.models))} of one core")]
    return facts + ([Fact(str(diverged), "Diverged", "left out of all means")] if diverged else [])


def facts_of_test(run: "RunRecord") -> list[Fact]:
    """Return what the final models of an experiment reached on the test rows; none where these were not evaluated."""
    test = run.result.get("test")
    facts = []
    for score, label, unit in (("accuracy", "Test accuracy", PERCENT), ("r2", "Test R²", NUMBER)):
        found = test.get(score) if isinstance(test, dict) else None
        mean = as_number(found.get("mean")) if isinstance(found, dict) else None
        if isinstance(found, dict) and mean is not None:
            detail = f"{count_of(found.get('n'), 'final model')}, each measured once"
            facts.append(Fact(amount(mean, as_number(found.get("std")), unit), label, detail))
    return facts


def is_tested(run: "RunRecord") -> bool:
    """Return whether some model of an experiment was evaluated on the test rows."""
    return bool(facts_of_test(run)) or any(model.test is not None for model in run.models)


def comparison_facts(run: "RunRecord", score: str) -> list[Fact]:
    """Return how far the best setting of a sweep is ahead of the second; nothing where they were not compared."""
    comparison = run.result.get("comparison")
    difference = as_number(comparison.get("difference")) if isinstance(comparison, dict) else None
    if not isinstance(comparison, dict) or difference is None:
        return []
    metric = METRICS[score]
    apart = quantities.distance(difference, POINTS if metric.is_share else NUMBER, metric.label)
    return [Fact(apart, "Ahead of the second", quantities.noise(_beyond_noise(comparison)))]


def _beyond_noise(comparison: Mapping[str, Any]) -> bool | None:
    """Return whether an interval leaves out 0, None where there is none."""
    low, high = as_number(comparison.get("low")), as_number(comparison.get("high"))
    return None if low is None or high is None else low > 0 or high < 0


def comparison_text(run: "RunRecord", ranked: Sequence[str], score: str) -> list[str]:
    """Return the sentences that compare the best two settings of a sweep, by their labels."""
    comparison = run.result.get("comparison")
    if not isinstance(comparison, dict) or len(ranked) < 2:
        return []
    difference, low, high, n = (as_number(comparison.get(name)) for name in ("difference", "low", "high", "n"))
    if difference is None or low is None or high is None or n is None:
        return [f"Whether ({ranked[0]}) is better than ({ranked[1]}) cannot be told from so few seeds."]
    metric = METRICS[score]
    unit = POINTS if metric.is_share else NUMBER
    ahead = quantities.ahead(difference, unit, metric.label)
    lead = f"({ranked[0]}) is {ahead} than ({ranked[1]}), {quantities.noise(_beyond_noise(comparison))}"
    interval = quantities.interval(low, high, int(n), unit, metric.label)
    return [f"{lead}: the mean difference, seed by seed ({interval}, by bootstrap). The best of many owes a part of its lead to chance."]


def spread_text(spread: Summary | None, is_accuracy: bool) -> str:
    """Return a mean with its standard deviation, as a cell of a table shows it."""
    return MISSING if spread is None else amount(spread.mean, spread.std, PERCENT if is_accuracy else NUMBER)
