"""What a page says about a run: the records of a run folder -> a Page. One function per kind of run; nothing is written but figures."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastmlp import quantities
from fastmlp.errors import DataError
from fastmlp.quantities import MISSING, NUMBER, PERCENT, POINTS, amount, loss, percent, r2
from fastmlp.rendering import plots
from fastmlp.rendering.page import Fact, Mark, Page, Section, Table
from fastmlp.rendering.plots import Plot, Series
from fastmlp.rendering.tables import metric as metric_text
from fastmlp.search.statistics import Summary, summarise
from fastmlp.settings import CLAIM, FIELDS, HELD_OUT, METRICS, PAGE, current_names, having, is_default, judges_epochs, shown_in, used_by

if TYPE_CHECKING:
    from fastmlp.inspect.insight import Examples, Insight
    from fastmlp.storage.reading import Model, RunRecord

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
STOPPED = {
    "patience": "stopped by its patience",
    "target_accuracy": "stopped when the accuracy wanted was reached",
    "time_budget": "stopped when its time was used up",
    "converged": "stopped where no step made the loss smaller",
}
SAID = (*having("in_text"), *having("changes_bits", False))  # what the methods have words for, or need none for
MOST_CARDS = 12  # on a phone, rows of a longer table stay rows, and the table is moved sideways
MOST_RUNS_LISTED = 1000
MOST_SAID = 6  # values of a setting that a text names one by one
NOT_IN_TABLES = ("fold", "rows", "weights")  # in which models differ, and that are no settings


class ModelFile(NamedTuple):
    """The file of a trained network."""

    path: str
    size: int  # bytes
    sha256: str
    sizes: tuple[int, ...]
    parameters: int


def training_page(
    run: "RunRecord", figures: Path, commands: Sequence[str], insight: "Insight | None" = None, model: ModelFile | None = None,
    notes: Sequence[str] = (),
) -> Page:  # fmt: skip
    """Return the page of one training. `figures` is the folder for its figures, `notes` say what had to be left out, and why."""
    history, results = run.history, run.manifest.get("results") or {}
    epochs = len(history["epoch"])
    drawn: list[Plot] = []
    if epochs:
        drawn.append(plots.learning_curves(plots.series_of("", [history]), figures, loss=_loss_name(run)))
    if insight is not None:
        drawn += _insight_plots(insight, figures)
    test = results.get("test") if isinstance(results.get("test"), dict) else None
    facts = []
    if test is not None:
        facts.append(_test_fact(test))
    held = _epoch_of_the_model(run, results, epochs)
    if epochs and (history["validation_loss"][held - 1] is not None):
        detail = f"loss {loss(history['validation_loss'][held - 1])}; held-out rows, {'last' if held == epochs else 'best'} epoch"
        facts.append(_score_fact("Validation", history["validation_accuracy"][held - 1], history["validation_loss"][held - 1], detail))
    if epochs:
        seconds = sum(value or 0.0 for value in history["seconds"])
        speeds = [value for value in history["samples_per_second"] if value]
        facts.append(Fact(_duration(seconds), "Training time", f"{_many(epochs, 'epoch')}, without compiling and validation"))
        if speeds:
            facts.append(Fact(f"{statistics.median(speeds):,.0f}", "Rows per second", "median epoch"))
    outcome = run.manifest.get("outcome") or "not finished"
    rows = _rows_trained_on(run)
    lede = (
        f"{_network_text(run)} on {_title(run)}" + (f", {rows:,} rows" if rows else "") + f", {epochs} of {_setting(run, 'epochs')} epochs"
    )
    if outcome != "done":
        lede += f". Outcome: {outcome}"
    elif results.get("stopped") in STOPPED:
        lede += f", {STOPPED[results['stopped']]}"
    if held != epochs:
        lede += f"; the model has the weights of epoch {held}"
    sections = [
        Section("Figures", notes, plots=drawn),
        Section("Epochs", tables=[_epoch_table(history)] if epochs else (), text=() if epochs else ("No epoch was finished.",)),
        *_common_sections(run, commands, _methods(run, 1, test is not None)),
        _model_card(run, model, test),
    ]
    return Page("Training", f"{_capital(_title(run))}: {_hidden_text(run)}", lede + ".", facts, sections, _footer(run))


def _epoch_of_the_model(run: "RunRecord", results: Mapping[str, Any], epochs: int) -> int:
    """Return after which epoch a finished training's network had the weights of the model: the last, or the best where it was restored."""
    best = results.get("best")
    epoch: Any = best.get("epoch") if isinstance(best, dict) else None
    restored = _settings(run, "train").get("restore_best") is True and type(epoch) is int and 1 <= epoch <= epochs
    return int(epoch) if restored else epochs


def repeat_page(run: "RunRecord", figures: Path, commands: Sequence[str]) -> Page:
    """Return the page of a training that was repeated with other seeds."""
    done = _done(run.models)
    drawn = [plots.learning_curves(plots.series_of("", [model.history for model in done]), figures, loss=_loss_name(run))] if done else []
    facts = [*_spread_facts("Validation", [model.validation for model in done]), *_test_facts(run), *_models_facts(run)]
    sections = [
        Section("Figures", plots=drawn),
        Section("Epochs", tables=[_epochs_over_runs(done)] if done else ()),
        Section("Runs", tables=[_model_table(run.models)]),
        *_common_sections(run, commands, _methods(run, len(run.models), _is_tested(run))),
    ]
    title = f"{_capital(_title(run))}: {_many(len(run.models), 'run')} of {_hidden_text(run)}"
    lede = f"The same training with {_many(len(run.models), 'seed')}: what chance alone changes, in initial weights and order of rows."
    return Page("Repeated training", title, _unfinished(run, lede), facts, sections, _footer(run))


def sweep_page(run: "RunRecord", figures: Path, commands: Sequence[str]) -> Page:
    """Return the page of a comparison of settings."""
    groups = _by_setting(run.models)
    score = _judged_by(run)
    high, scale = METRICS[score].more_is_better, 100.0 if METRICS[score].is_share else 1.0
    found = {label: summarise([_score(model, score) for model in _done(models)]) for label, models in groups.items()}

    def order(label: str) -> tuple[bool, float]:
        spread = found[label]
        return spread is None, 0.0 if spread is None else -spread.mean if high else spread.mean

    ranked = sorted(groups, key=order)
    drawn: list[Plot] = []
    names = {name for models in groups.values() for name in models[0].changed}
    if any(spread is not None for spread in found.values()):
        only = next(iter(names)) if len(names) == 1 else "setting"
        values = [groups[label][0].changed.get(only) if len(names) == 1 else label for label in ranked]
        axis = f"validation {_axis_of(score, run)}"
        scores = [
            [scale * value for model in _done(models) if (value := _score(model, score)) is not None]
            for models in (groups[label] for label in ranked)
        ]
        values = [value if isinstance(value, (int, float)) and not isinstance(value, bool) else _value_text(value) for value in values]
        drawn.append(plots.sweep(only, values, scores, figures, score=axis, higher_is_better=high, title="Settings compared"))
        series = [plots.series_of(label, [model.history for model in _done(groups[label])]) for label in ranked if _done(groups[label])]
        curve = score if score in ("loss", "accuracy") else "metric"
        drawn.append(plots.compared_curves(series, figures, score=f"validation_{curve}", loss=_axis_of(score, run)))
        times = {label: [model.seconds for model in _done(groups[label])] for label in ranked if _done(groups[label])}
        drawn.append(plots.timing(list(times), list(times.values()), figures, what="seconds per model, on one core", title="Training time"))
    facts = []
    if ranked and (best := found[ranked[0]]) is not None:
        facts.append(Fact(_short_label(ranked[0]), "Best by validation"))
        facts.append(_spread_fact(f"Validation {METRICS[score].label}", best, METRICS[score].is_share))
    facts += [*_comparison_facts(run, score), *_test_facts(run), *_models_facts(run)]
    sections = [
        Section("Settings compared", text=_comparison_text(run, ranked, score), tables=[_ranking(groups, ranked, score)], plots=drawn),
        Section("Runs", tables=[_model_table(run.models)]),
        *_common_sections(run, commands, _methods(run, len(run.models), _is_tested(run))),
    ]
    lede = (
        f"{_many(len(groups), 'setting')}, each with the same seeds, compared on validation rows; the test set is not used for the choice."
    )
    return Page("Sweep", f"{_capital(_title(run))}: {_and([name.replace('_', ' ') for name in sorted(names)]) or 'settings'} compared",
                _unfinished(run, lede), facts, sections, _footer(run))  # fmt: skip


def cv_page(run: "RunRecord", figures: Path, commands: Sequence[str]) -> Page:
    """Return the page of a cross-validation."""
    done = _done(run.models)
    folds = sorted({model.fold for model in run.models if model.fold is not None})
    score = _judged_by(run)
    scale = 100.0 if METRICS[score].is_share else 1.0
    drawn: list[Plot] = []
    if done:
        axis = _axis_of(score, run) if score == "loss" else f"{_axis_of(score, run)} on the rows held out"
        scores = [[scale * value for model in done if model.fold == fold and (value := _score(model, score)) is not None] for fold in folds]
        curves = plots.series_of("", [model.history for model in done])
        drawn.append(plots.learning_curves(curves, figures, loss=_loss_name(run), over="models, each on its own fold"))
        names = [f"fold {fold}" for fold in folds]
        drawn.append(plots.sweep("fold", names, scores, figures, score=axis, marks_best=False, name="folds", title="Folds"))
    over = "fold" if len(run.models) == len(folds) else "model"  # with several seeds, each fold is held out several times
    facts = [*_spread_facts("Held-out", [model.validation for model in done], over), *_test_facts(run), *_models_facts(run)]
    sections = [
        Section("Folds", tables=[_model_table(run.models, folded="")], plots=drawn),
        *_common_sections(run, commands, _methods(run, len(run.models), _is_tested(run))),
    ]
    title = f"{_capital(_title(run))}: {len(folds)}-fold cross-validation of {_hidden_text(run)}"
    counts = f"{_many(len(folds), 'fold')}, {_many(len(run.models), 'model')}"
    once = "once" if over == "fold" else "once for each seed"
    lede = f"Each training row was held out {once}, by a model that had not seen it: {counts}."
    return Page("Cross-validation", title, _unfinished(run, lede), facts, sections, _footer(run))


def reproduction_page(run: "RunRecord", figures: Path, commands: Sequence[str]) -> Page:
    """Return the page of the report's experiments: its claims beside what was measured, then each figure."""
    rows = run.result.get("rows")
    found = run.result.get("figures") or {}
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not isinstance(found, dict):
        raise DataError(
            f"{str(run.path / 'result.json')!r}: expected rows and figures of a finished reproduction; "
            f"go on with it: fastmlp reproduce --resume {run.path}"
        )
    slips = [row for row in rows if str(row.get("experiment", "")).startswith("slip")]
    claims = [row for row in rows if row not in slips]
    judged = [str(row.get("same")) for row in claims]
    drawn: list[Plot] = []
    said: dict[str, str] = {}
    for number, (name, figure) in enumerate(found.items()):
        if isinstance(figure, dict):
            new = _reported_figure(f"figure-{number + 1}", str(name), figure, figures)
            drawn += new
            said |= {plot.name: str(figure.get("claim") or "") for plot in new[:1] if figure.get("claim")}
    drawn += _time_of_experiments(run, figures)
    seconds = _number(run.result.get("seconds")) or 0.0
    models = sum(map(len, run.experiments.values()))
    facts = [
        Fact(f"{judged.count('yes')} of {len(claims)}", "Claims found the same"),
        Fact(str(judged.count("higher")), "Measured higher", "than the report says"),
        Fact(str(len(judged) - judged.count("yes") - judged.count("higher")), "Not the same"),
        Fact(_duration(seconds), "In all", f"{_many(models, 'model')} trained" if models else ""),
    ]
    quick = (
        "This was a quick run on few rows: it shows that everything runs, and its numbers mean nothing. " if run.result.get("quick") else ""
    )
    how = str(run.result.get("how_compared") or "")
    base = {**_settings(run, "network"), **_settings(run, "train")}
    given = ", ".join(_claim_settings({name: base.get(name) for name in shown_in(CLAIM)}, {}))
    about = f"Unless a row names others, the settings are: {given}. Measured: mean ± standard deviation over runs with different seeds."
    sections = [
        Section("What the report says, and what we measured", [text for text in (how, about) if text],
                [_claims(claims, base)]),
        *([Section("Slips of the report", ("What the report leaves out, misprints or concludes too quickly.",),
                   [_claims(slips, base)])] if slips else []),
        Section("Figures", plots=drawn, claims=said),
        *_common_sections(run, commands, _methods(run, models, True)),
    ]  # fmt: skip
    lede = quick + "Every experiment of the course report that fastmlp grew out of, run again on the real data with several seeds."
    return Page("Reproduction", "The report, reproduced", lede, facts, sections, _footer(run))


# Figures


def _insight_plots(insight: "Insight", folder: Path) -> list[Plot]:
    drawn = []
    names, rows = insight.class_names, insight.rows
    if insight.boundary is not None:
        edge = insight.boundary
        drawn.append(plots.decision_boundary(edge.x, edge.y, edge.first, edge.second, edge.probability, names, folder, truth=edge.truth))
    if insight.confusion is not None:
        drawn.append(plots.confusion_matrix(insight.confusion, names, folder, rows=rows))
    if insight.surest is not None and insight.surest.numbers:
        caption = f"Among the {rows}: the mistakes that the network was surest of. True class → predicted class, and its probability."
        drawn.append(_example_plot(insight.surest, names, folder, caption, "mistakes", "Most confident mistakes"))
    if insight.worst is not None and insight.worst.numbers:
        caption = f"Among the {rows} of each class: the one whose true class the network found least probable."
        drawn.append(_example_plot(insight.worst, names, folder, caption, "worst", "Worst mistake of each class"))
    if insight.weight is not None and insight.image_shape is not None:
        drawn.append(plots.first_layer_weights(insight.weight, insight.image_shape, folder))
    drawn.append(plots.class_distribution(insight.class_counts, names, folder))
    return drawn


def _example_plot(examples: "Examples", names: Sequence[str], folder: Path, caption: str, name: str, title: str) -> Plot:
    return plots.mistakes(
        examples.images, examples.numbers, examples.truth, examples.predicted, examples.probability, names, folder,
        caption=caption, name=name, title=title,
    )  # fmt: skip


def _reported_figure(name: str, key: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    """Return the figures drawn from one entry of a reproduction's result: its kind decides how."""
    title = f"Figure {key}: {figure.get('title') or 'no title'}"
    try:
        return _FIGURES[figure["kind"]](name, title, figure, folder)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"result.json, figure {key!r}: expected the data of a figure, found something else: {error!r}") from error


def _classes_figure(name: str, title: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    return [plots.class_distribution({"training": figure["counts"]}, figure["class_names"], folder, name=name, title=title)]


def _boundary_figure(name: str, title: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    import numpy as np

    from fastmlp.inspect.insight import ellipse

    first, second = np.asarray(figure["x1"], np.float64), np.asarray(figure["x2"], np.float64)
    points = np.asarray(figure["points"], np.float64)
    truth = ellipse(np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)).reshape(len(second), len(first))
    return [
        plots.decision_boundary(points[:, :2], points[:, 2].astype(int), first, second, np.asarray(figure["probability"], np.float64),
                                ("inside", "outside"), folder, truth=truth, name=name, title=title)
    ]  # fmt: skip


def _curves_figure(name: str, title: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    series = [_series(each) for each in figure["series"]]
    if "score" in figure:
        loss_name = LOSSES["cross_entropy"]
        return [plots.compared_curves(series, folder, score=figure["score"], name=name, title=title, loss=loss_name)]
    return _band_figure(name, title, figure, folder)


def _band_figure(name: str, title: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    """Draw the first series in full, then all of them compared by their validation accuracy."""
    series = [_series(each) for each in figure["series"]]
    first = f"{title} ({series[0].name})" if len(series) > 1 else title
    drawn = [plots.learning_curves(series[0], folder, name=name, title=first, loss=LOSSES["cross_entropy"])]
    if len(series) > 1:
        drawn.append(plots.compared_curves(series, folder, name=f"{name}-compared", title=f"{title}, compared"))
    return drawn


def _sweep_figure(name: str, title: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    groups = {str(each["name"]): _band(each["validation_accuracy"], 100.0) for each in figure["series"]}
    return [plots.compared_sweeps(str(figure["setting"]), figure["values"], groups, folder, name=name, title=title)]


_FIGURES = {
    "class_distribution": _classes_figure,
    "decision_boundary": _boundary_figure,
    "curves": _curves_figure,
    "band": _band_figure,
    "sweep": _sweep_figure,
}


def _series(record: Mapping[str, Any]) -> Series:
    return Series(str(record["name"]), int(record["runs"]), {score: _band(record[score]) for score in plots.SCORES if score in record})


def _band(summaries: Sequence[Mapping[str, Any] | None], scale: float = 1.0) -> plots.Band:
    """Return summaries (mean, std, lowest, highest), None where there is none, as arrays."""
    import numpy as np

    def part(name: str) -> Any:
        return np.array([math.nan if one is None or one.get(name) is None else scale * float(one[name]) for one in summaries])

    return plots.Band(*(part(name) for name in plots.Band._fields))


def _time_of_experiments(run: "RunRecord", folder: Path) -> list[Plot]:
    times = {name: sum(model.seconds for model in models) for name, models in run.experiments.items() if models}
    if not times:
        return []
    labels = [f"{name}: {_many(len(run.experiments[name]), 'model')}" for name in times]
    what = "seconds of one core, all models together"
    return [plots.timing(labels, [[value] for value in times.values()], folder, what=what, name="time", title="Time per experiment")]


# Tables


def _epoch_table(history: Mapping[str, Sequence[float | None]]) -> Table:
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
            _value_text(history["learning_rate"][place]),
            f"{history['seconds'][place] or 0.0:.3f}",
            f"{history['samples_per_second'][place] or 0.0:,.0f}",
        )
        for place in range(len(history["epoch"]))
    ]
    line = f"{_many(len(rows), 'epoch')}, one by one"
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


def _epochs_over_runs(models: "Sequence[Model]") -> Table:
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
                _spread_text(accuracy, True),
                percent(accuracy and accuracy.lowest),
                percent(accuracy and accuracy.highest),
                _spread_text(spread["validation_loss"], False),
                _spread_text(spread["train_accuracy"], True),
                _spread_text(spread["train_loss"], False),
            )
        )
    caption = f"Mean ± standard deviation of {_many(len(models), 'run')}"
    headings, rows = _with_accuracy_where_there_is(headings, rows)
    return Table(headings, rows, numbers=range(len(headings)), caption=caption, stacked=len(rows) <= MOST_CARDS)


def _model_table(models: "Sequence[Model]", folded: str | None = None) -> Table:
    """Return one row per model; `folded` is the line that the table waits behind, "" for none."""
    labels = list(dict.fromkeys(_label(model.changed) for model in models))  # they come as they were finished
    models = sorted(models, key=lambda model: (labels.index(_label(model.changed)), model.fold or 0, model.seed))
    shown = models[:MOST_RUNS_LISTED]
    columns: dict[str, list[str | Mark]] = {}
    if any(model.fold is not None for model in models):
        columns["Fold"] = [str(model.fold) for model in shown]
    if any(model.changed for model in models):
        columns["Settings"] = [_label(model.changed) or "as given" for model in shown]
    columns["Seed"] = [str(model.seed) for model in shown]
    for rows, scores in (("Validation", [model.validation for model in shown]), ("Test", [model.test or {} for model in shown])):
        names = [name for name in METRICS if any(_number(each.get(name)) is not None for each in scores)]
        names = [*names[1:], *names[:1]]  # the loss comes last
        for name in names if rows == "Validation" else names[:1]:
            columns[f"{rows} {METRICS[name].label}"] = [metric_text(name, _number(each.get(name))) for each in scores]
    columns["Seconds"] = [f"{model.seconds:.2f}" for model in shown]
    columns["Outcome"] = [model.outcome if model.outcome == "done" else Mark(model.outcome, "no") for model in shown]
    numbers = [place for place, name in enumerate(columns) if name not in ("Settings", "Outcome")]
    line = f"{_many(len(models), 'model')}, one by one" if folded is None else folded
    return Table(tuple(columns), list(zip(*columns.values(), strict=True)), numbers=numbers, stacked=len(shown) <= MOST_CARDS, folded=line)


def _ranking(groups: "Mapping[str, Sequence[Model]]", ranked: Sequence[str], score: str) -> Table:
    metric = METRICS[score]
    other = "Training loss" if score == "loss" else "Validation loss"
    headings: tuple[str, ...] = ("Settings", f"Validation {metric.label}", other, "Training accuracy", "Runs", "Diverged", "Seconds")
    rows = []
    for label in ranked:
        done = _done(groups[label])
        its_loss = summarise([_score(model, "loss") for model in done])
        train_loss = summarise([_last(model, "train_loss") for model in done])
        diverged = len(groups[label]) - len(done)
        rows.append(
            (
                label,
                _spread_text(summarise([_score(model, score) for model in done]), metric.is_share),
                _spread_text(train_loss if score == "loss" else its_loss, False),
                _spread_text(summarise([_last(model, "train_accuracy") for model in done]), True),
                str(len(groups[label])),
                Mark(str(diverged), "no") if diverged else "0",
                f"{statistics.median(model.seconds for model in done):.2f}" if done else MISSING,
            )
        )
    caption = "Best first; mean ± standard deviation over runs with different seeds, after the last epoch"
    headings, rows = _with_accuracy_where_there_is(headings, rows)
    return Table(headings, rows, numbers=range(1, len(headings)), caption=caption, stacked=True)


def _claims(rows: Sequence[Mapping[str, Any]], base: Mapping[str, Any]) -> Table:
    headings = ("No.", "Experiment", "The report says", "We measured", "Same?", "Other settings", "Note")
    return Table(headings, [_claim_row(row, base) for row in rows], stacked=True)


def _claim_row(row: Mapping[str, Any], base: Mapping[str, Any]) -> tuple[str | Mark, ...]:
    settings = row.get("settings")
    same = str(row.get("same", MISSING))
    return (
        str(row.get("id") or ""),
        _capital(str(row.get("experiment") or MISSING).removeprefix("slip: ")),
        str(row.get("report_says") or MISSING),
        _measured(row),
        Mark(same, {"yes": "yes", "no": "no"}.get(same, "other")),
        ", ".join(_claim_settings(settings, base)) if isinstance(settings, dict) else "",
        str(row.get("note") or ""),
    )


def _claim_settings(settings: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ from those that all share."""
    return [f"{name.replace('_', ' ')} {_value_text(value)}" for name, value in settings.items() if name not in base or base[name] != value]


def _measured(row: Mapping[str, Any]) -> str:
    """Return what was measured in the unit of its quantity."""
    measured, quantity = row.get("measured"), str(row.get("quantity") or "")
    mean = _number(measured.get("mean")) if isinstance(measured, dict) else None
    if not isinstance(measured, dict) or mean is None:
        return f"{quantity}: {MISSING}" if quantity else MISSING
    n = measured.get("n")
    many = f" ({n} runs)" if isinstance(n, int) and n > 1 else ""
    unit = quantities.unit_of(quantity)
    if not quantity and "%" in str(row.get("report_says")):
        unit = PERCENT
    text = amount(mean, _number(measured.get("std")), unit)
    return f"{text}{many}" + (f", {quantity}" if quantity else "")


# What all pages end with


def _common_sections(run: "RunRecord", commands: Sequence[str], methods: str) -> list[Section]:
    varied = _varied(run)
    train = _settings(run, "train")
    chosen: list[tuple[str, str]] = []
    usual: list[tuple[str, str]] = []
    for name, value in [*_settings(run, "network").items(), *train.items()]:
        if run.kind == "cv" and name in HELD_OUT and not judges_epochs(train):  # its folds are held out
            continue
        is_usual = name not in (*varied, *shown_in(PAGE)) and name in FIELDS and is_default(FIELDS[name], value, train)
        text = _values_text(varied[name]) if name in varied else _value_text(value)
        (usual if is_usual else chosen).append((name.replace("_", " "), text))
    chosen += [(name.replace("_", " "), _values_text(values)) for name, values in varied.items() if name in NOT_IN_TABLES]
    versions = run.manifest.get("versions") or {}
    machine = run.environment.get("machine")
    facts = [("processor", str(run.manifest.get("cpu") or MISSING))]
    if isinstance(machine, dict):
        memory = _number(machine.get("memory_bytes"))
        facts.append(("cores", _value_text(machine.get("cores"))))
        facts.append(("memory", f"{memory / 2**30:.1f} GiB" if memory else MISSING))
        facts.append(("system", str(machine.get("system") or MISSING)))
    if run.environment.get("threads") is not None:
        facts.append(("threads", str(run.environment["threads"])))
    facts += [(name, str(version or "not installed")) for name, version in versions.items()]
    facts += [("started", str(run.manifest.get("started") or MISSING)), ("ended", str(run.manifest.get("ended") or MISSING))]
    files = [(name, f"SHA-256 {digest}") for name, digest in run.manifest["data"].get("files", {}).items()]
    return [
        Section("Methods", (methods,)),
        Section("Settings", facts=chosen, more=f"Settings at their defaults: {len(usual)}", more_facts=usual),
        Section("Reproduce", ("The same version, on the same kind of processor, gives the same bits.",), commands=commands),
        Section("Machine", facts=facts),
        Section("Data", facts=[("data set", _title(run)), *files]),
    ]


def _varied(run: "RunRecord") -> dict[str, list[Any]]:
    """Return the settings in which the models of an experiment differ, with their values in order: its axes, seeds and folds."""
    found: dict[str, list[Any]] = {}

    def note(name: str, value: Any) -> None:
        if value not in found.setdefault(name, []):
            found[name].append(value)

    if run.kind == "reproduce":
        rows = run.result.get("rows")
        changes = [{**_settings(run, "network"), **_settings(run, "train")}]
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


def _values_text(values: Sequence[Any], most: int = 12) -> str:
    """Return the values of a setting that was varied: "0.01, 0.1 and 0.5", "0 to 29", "20 values from 0.012 to 0.93"."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    ordered = sorted(values) if numbers else list(values)
    if len(ordered) > 2 and all(isinstance(v, int) for v in ordered) and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    if len(ordered) > most and numbers:
        return f"{len(ordered)} values from {_value_text(ordered[0])} to {_value_text(ordered[-1])}"
    return _and([_value_text(value) for value in ordered[:most]]) + (" …" if len(ordered) > most else "")


def _methods(run: "RunRecord", models: int, tested: bool) -> str:
    """Return a paragraph for the methods section of a text."""
    train, network, varied = _settings(run, "train"), _settings(run, "network"), _varied(run)

    def said(name: str, show: Callable[[Any], str] = _value_text) -> str:
        """Return a setting in words, all of its values where it was varied."""
        if name not in varied:
            return show(train.get(name))
        return _or([show(value) for value in varied[name]]) if len(varied[name]) <= MOST_SAID else _values_text(varied[name])

    if run.kind == "reproduce":
        subject = f"{_network_text(run)}, and the variants named in the tables, were trained on {_title(run)}"
    elif run.kind == "sweep":
        subject = (
            f"Multi-layer perceptrons were trained on {_title(run)} with the settings that the table compares ({models} models in all)"
        )
    else:
        subject = f"{_network_text(run)} was trained on {_title(run)}"
        if models > 1:
            subject += f" {models} times, {'once for each fold and seed' if run.kind == 'cv' else 'with different seeds'}"
    rows = _rows_trained_on(run)
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
        f"{field.name.replace('_', ' ')} {_value_text(value)}"
        for field in FIELDS.values()
        if field.name not in (*SAID, *varied) and not is_default(field, value := {**network, **train}.get(field.name), train)
    ]
    if others:
        parts.append(f"Other settings than the default: {', '.join(others)}.")
    compared = [
        f"{name.replace('_', ' ')} {_or([_value_text(value) for value in values]) if len(values) <= MOST_SAID else _values_text(values)}"
        for name, values in varied.items()
        if name not in (*SAID, *NOT_IN_TABLES) or name in ("hidden", "activation", "output", "dtype")
    ]
    if compared:
        parts.append(f"Compared were {', '.join(compared)}.")
    if run.kind == "cv":
        drawn = {"stratified": ", stratified by class", "groups": ", in whole groups"}.get(_usual_holdout(run), "")
        parts.append(f"Folds were drawn at random{drawn}; each row was held out once for each seed.")
        if judges_epochs(train) and _number(train.get("validation")):
            parts.append(f"Epochs were judged by rows of the other folds, never by the fold scored. {_held_out_text(run, varied)}")
        elif judges_epochs(train):
            parts.append("The epochs were judged by the fold that was scored, so the scores are optimistic.")
    else:
        parts.append(_held_out_text(run, varied))
    if "seed" in varied:
        parts.append(f"Seeds were {_values_text(varied['seed'])}.")
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
    if run.kind != "cv" and "holdout" not in _settings(run, "train"):
        return "last"
    table = run.manifest["data"].get("table") or {}
    if table.get("group") is not None:
        return "groups"
    has_classes = _settings(run, "network").get("output") != "identity" and not isinstance(table.get("target"), list)
    return "stratified" if has_classes else "shuffled"


def _held_out_text(run: "RunRecord", varied: Mapping[str, Sequence[Any]]) -> str:
    """Return which rows were held out, in words; "" where none were."""
    from fastmlp.training.holdout import HOW

    train, usual = _settings(run, "train"), _usual_holdout(run)
    if "validation" not in varied and not _number(train.get("validation")):
        return ""

    def rows(value: Any) -> str:
        number = _number(value) or 0.0
        return f"{percent(number, 0)} of the" if 0 < number < 1 else f"{number:,.0f}"

    amounts = _or([rows(value) for value in varied.get("validation", [train.get("validation")])])
    chosen = ["groups"] if usual == "groups" else [value or usual for value in varied.get("holdout", [train.get("holdout")])]
    how = _or([HOW.get(str(value), "drawn") for value in chosen])
    seeds = _or([str(value) for value in varied.get("split_seed", [train.get("split_seed", 0)])])
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
        parts = [f"{_rule_text(rule)} before {_and(names)} units" for rule, names in before.items()]
        parts.append(_rule_text(DEFAULT_RULE) + (" elsewhere" if parts else ""))
    text = f"Initial weights are {', '.join(parts)}"
    return f"{text}, for the K inputs and N units of a layer" if "K" in text else text


def _rule_text(rule: str) -> str:
    kind, _, shape = rule.partition("_")
    return f"{shape} {INITIAL.get(kind, rule)}".strip()


def _model_card(run: "RunRecord", model: ModelFile | None, test: Mapping[str, Any] | None) -> Section:
    facts = [("model", f"multi-layer perceptron, {_hidden_text(run)}")]
    if model is not None:
        facts += [
            ("layers", "-".join(map(str, model.sizes))),
            ("parameters", f"{model.parameters:,} of {_settings(run, 'network').get('dtype', 'float32')}"),
            ("file", f"{model.path}, {model.size:,} bytes, safetensors"),
            ("SHA-256", model.sha256),
        ]
    rows = _rows_trained_on(run)
    facts.append(("trained on", f"{_title(run)}" + (f", {rows:,} rows" if rows else "")))
    if test is not None:
        facts.append(("evaluated on", f"its test rows: {_test_text(test)}, loss {loss(_number(test.get('loss')))}"))
    of_numbers = _settings(run, "network").get("output") == "identity"
    facts += [
        ("intended use", "inputs prepared like those of its data set; teaching, experiments, a baseline for others"),
        ("limits", "other inputs were not tested: it predicts a number for any input" if of_numbers else
         "other inputs were not tested: it predicts one of its classes for any input, and its "
         "probabilities were not calibrated; see the mistakes above"),
    ]  # fmt: skip
    return Section("Model card", facts=facts)


# Facts and words


def _test_text(test: Mapping[str, Any]) -> str:
    share = _number(test.get("r2"))
    return f"accuracy {percent(_number(test.get('accuracy')))}" if share is None else f"R² {r2(share)}"


def _score_fact(rows: str, accuracy: float | None, its_loss: float | None, detail: str) -> Fact:
    if accuracy is None:
        return Fact(loss(its_loss), f"{rows} loss", detail.partition("; ")[2])
    return Fact(percent(accuracy), f"{rows} accuracy", detail)


def _test_fact(test: Mapping[str, Any]) -> Fact:
    """Return what a network reached on the test rows: its accuracy, or for numbers R² and the errors in the units of y."""
    its_loss, share = _number(test.get("loss")), _number(test.get("r2"))
    if share is None:
        return _score_fact("Test", _number(test.get("accuracy")), its_loss, f"loss {loss(its_loss)}; test rows, after training")
    errors = f"RMSE {loss(_number(test.get('rmse')))}, MAE {loss(_number(test.get('mae')))}, loss {loss(its_loss)}"
    return Fact(r2(share), "Test R²", f"{errors}; test rows, after training")


def _spread_facts(rows: str, scores: Sequence[Mapping[str, float | None]], over: str = "run") -> list[Fact]:
    """Return a fact for each score that there is; `over` says what one of the models stands for."""
    facts = []
    for name in sorted(METRICS, key=lambda name: name == "loss"):
        spread = summarise([each.get(name) for each in scores])
        if spread is not None:
            facts.append(_spread_fact(f"{rows} {METRICS[name].label}", spread, METRICS[name].is_share, over))
    return facts


def _spread_fact(label: str, spread: Summary, is_accuracy: bool, over: str = "run") -> Fact:
    show = percent if is_accuracy else loss
    detail = f"± standard deviation, {spread.n} {over}s; {show(spread.lowest)} to {show(spread.highest)}" if spread.n > 1 else f"one {over}"
    return Fact(_spread_text(spread, is_accuracy), label, detail)


def _models_facts(run: "RunRecord") -> list[Fact]:
    diverged = sum(model.outcome != "done" for model in run.models)
    facts = [Fact(str(len(run.models)), "Models", f"{_duration(sum(model.seconds for model in run.models))} of one core")]
    return facts + ([Fact(str(diverged), "Diverged", "left out of all means")] if diverged else [])


def _test_facts(run: "RunRecord") -> list[Fact]:
    test = run.result.get("test")
    facts = []
    for score, label, unit in (("accuracy", "Test accuracy", PERCENT), ("r2", "Test R²", NUMBER)):
        found = test.get(score) if isinstance(test, dict) else None
        mean = _number(found.get("mean")) if isinstance(found, dict) else None
        if isinstance(found, dict) and mean is not None:
            detail = f"{_many(found.get('n'), 'final model')}, each measured once"
            facts.append(Fact(amount(mean, _number(found.get("std")), unit), label, detail))
    return facts


def _is_tested(run: "RunRecord") -> bool:
    return bool(_test_facts(run)) or any(model.test is not None for model in run.models)


def _judged_by(run: "RunRecord") -> str:
    """Return by which metric models of an experiment are judged: the one that was chosen, else accuracy where there is one, or the loss."""
    chosen = str(_settings(run, "train").get("metric") or "loss")
    if chosen in METRICS and chosen != "loss" and any(_score(model, chosen) is not None for model in run.models):
        return chosen
    return "accuracy" if any(_accuracy(model) is not None for model in run.models) else "loss"


def _axis_of(score: str, run: "RunRecord") -> str:
    metric = METRICS[score]
    return _loss_name(run) if score == "loss" else f"{metric.label} (%)" if metric.is_share else metric.label


def _comparison_facts(run: "RunRecord", score: str) -> list[Fact]:
    comparison = run.result.get("comparison")
    difference = _number(comparison.get("difference")) if isinstance(comparison, dict) else None
    if not isinstance(comparison, dict) or difference is None:
        return []
    metric = METRICS[score]
    apart = quantities.distance(difference, POINTS if metric.is_share else NUMBER, metric.label)
    return [Fact(apart, "Ahead of the second", quantities.noise(_beyond_noise(comparison)))]


def _beyond_noise(comparison: Mapping[str, Any]) -> bool | None:
    """Return whether an interval leaves out 0, None where there is none."""
    low, high = _number(comparison.get("low")), _number(comparison.get("high"))
    return None if low is None or high is None else low > 0 or high < 0


def _comparison_text(run: "RunRecord", ranked: Sequence[str], score: str) -> list[str]:
    comparison = run.result.get("comparison")
    if not isinstance(comparison, dict) or len(ranked) < 2:
        return []
    difference, low, high, n = (_number(comparison.get(name)) for name in ("difference", "low", "high", "n"))
    if difference is None or low is None or high is None or n is None:
        return [f"Whether ({ranked[0]}) is better than ({ranked[1]}) cannot be told from so few seeds."]
    metric = METRICS[score]
    unit = POINTS if metric.is_share else NUMBER
    ahead = quantities.ahead(difference, unit, metric.label)
    lead = f"({ranked[0]}) is {ahead} than ({ranked[1]}), {quantities.noise(_beyond_noise(comparison))}"
    interval = quantities.interval(low, high, int(n), unit, metric.label)
    return [f"{lead}: the mean difference, seed by seed ({interval}, by bootstrap). The best of many owes a part of its lead to chance."]


def _unfinished(run: "RunRecord", lede: str) -> str:
    outcome = run.manifest.get("outcome")
    return lede if outcome == "done" else f"{lede} Not finished ({outcome or 'under way'}): this is what there is so far."


def _footer(run: "RunRecord") -> str:
    versions = run.manifest.get("versions") or {}
    when = str(run.manifest.get("ended") or run.manifest.get("started") or "")[:16].replace("T", " ")
    return f"{run.path.name}, {when} UTC, fastmlp {versions.get('fastmlp', '')}. This page needs no network and runs no script."


def _done(models: "Sequence[Model]") -> "list[Model]":
    return [model for model in models if model.outcome == "done"]


def _by_setting(models: "Sequence[Model]") -> "dict[str, list[Model]]":
    """Return models by the settings that tell them apart; of rounds with more and more epochs, the longest only."""
    groups: dict[str, list[Model]] = {}
    for model in models:
        groups.setdefault(_label(model.changed) or "as given", []).append(model)
    for label, group in groups.items():
        rounds = [model.key.partition(" ")[0] if model.key.startswith("epochs=") else "" for model in group]
        last = max(rounds, key=lambda name: (len(name), name))
        groups[label] = [model for model, name in zip(group, rounds, strict=True) if name == last]
    return groups


def _label(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_value_text(value)}" for name, value in changed.items())


def _short_label(label: str) -> str:
    return label if len(label) <= 40 else label[:39] + "…"


def _value_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "-".join(map(_value_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "by default"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _accuracy(model: "Model") -> float | None:
    return _score(model, "accuracy")


def _score(model: "Model", score: str) -> float | None:
    return _number(model.validation.get(score))


def _last(model: "Model", score: str) -> float | None:
    values = model.history[score]
    return values[-1] if values else None


def _spread_text(spread: Summary | None, is_accuracy: bool) -> str:
    return MISSING if spread is None else amount(spread.mean, spread.std, PERCENT if is_accuracy else NUMBER)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _settings(run: "RunRecord", table: str) -> dict[str, Any]:
    return current_names(run.manifest["settings"][table], warn=False)


def _setting(run: "RunRecord", name: str) -> str:
    return _value_text(_settings(run, "train").get(name))


def _loss_name(run: "RunRecord") -> str:
    return LOSSES.get(str(_settings(run, "train").get("loss") or "cross_entropy"), "loss")


def _many(count: Any, what: str) -> str:
    return f"{_value_text(count)} {what}{'' if count == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _title(run: "RunRecord") -> str:
    return _and([TITLES.get(name, name) for name in run.manifest["data"]["name"].split(", ")])


def _hidden_text(run: "RunRecord") -> str:
    network = _settings(run, "network")
    return f"{_value_text(network.get('hidden') or 'unknown')} {_value_text(network.get('activation') or 'hidden')} units"


def _network_text(run: "RunRecord") -> str:
    from fastmlp.training.tables import trains_several

    network = _settings(run, "network")
    hidden = network.get("hidden")
    widths = _and([f"{width:,}" for width in hidden]) if isinstance(hidden, list) and all(isinstance(w, int) for w in hidden) else "unknown"
    layers = (
        f"{'one hidden layer' if len(hidden) == 1 else f'{len(hidden)} hidden layers'} of {widths}"
        if isinstance(hidden, list)
        else "hidden layers"
    )
    of_table = run.manifest.get("data", {}).get("table")
    several = isinstance(of_table, dict) and trains_several(of_table.get("preset"))
    one = "An ensemble of multi-layer perceptrons, whose mean answers, each" if several else "A multi-layer perceptron"
    return f"{one} with {layers} {_value_text(network.get('activation'))} units"


def _rows_trained_on(run: "RunRecord") -> int | None:
    """Return how many rows an epoch had, from its time and its speed; None where no epoch was finished."""
    histories = [run.history] if run.history["epoch"] else [model.history for model in run.models if model.history["epoch"]]
    for history in histories:
        seconds, speed = history["seconds"][0], history["samples_per_second"][0]
        if seconds and speed:
            return round(seconds * speed)
    return None


def _duration(seconds: float) -> str:
    if seconds >= 90:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _or(words: Sequence[str]) -> str:
    return _and(words, "or")


def _and(words: Sequence[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" {last} {words[-1]}" if words else ""
