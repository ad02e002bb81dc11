"""What a page says about a run: the records of a run folder -> a Page. One function per kind of run; nothing is written but figures."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastmlp.errors import DataError
from fastmlp.quantities import MISSING, loss
from fastmlp.rendering import plots
from fastmlp.rendering.page import Fact, Page, Section
from fastmlp.rendering.plots import Plot
from fastmlp.rendering.reports.facts import (
    comparison_facts,
    comparison_text,
    fact_of_test,
    facts_of_test,
    is_tested,
    models_facts,
    score_fact,
    spread_fact,
    spread_facts,
    text_of_test,
)
from fastmlp.rendering.reports.figures import insight_plots, reported_figure, time_of_experiments
from fastmlp.rendering.reports.methods import NOT_IN_TABLES, methods_of
from fastmlp.rendering.reports.models import axis_of, by_setting, finished, judged_by, score_of, short_label, varied_in
from fastmlp.rendering.reports.tables import claim_settings, claims_table, epoch_table, epochs_over_runs, model_table, ranking_table
from fastmlp.rendering.reports.words import (
    and_list,
    as_number,
    capitalised,
    count_of,
    duration_of,
    hidden_text,
    loss_name,
    network_text,
    rows_trained_on,
    setting_of,
    settings_of,
    title_of,
    value_text,
    values_text,
)
from fastmlp.search.statistics import summarise
from fastmlp.settings import CLAIM, FIELDS, HELD_OUT, METRICS, PAGE, is_default, judges_epochs, shown_in

if TYPE_CHECKING:
    from fastmlp.inspect.insight import Insight
    from fastmlp.storage.reading import RunRecord

STOPPED = {
    "patience": "stopped by its patience",
    "target_accuracy": "stopped when the accuracy wanted was reached",
    "time_budget": "stopped when its time was used up",
    "converged": "stopped where no step made the loss smaller",
}


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
        drawn.append(plots.learning_curves(plots.series_of("", [history]), figures, loss=loss_name(run)))
    if insight is not None:
        drawn += insight_plots(insight, figures)
    test = results.get("test") if isinstance(results.get("test"), dict) else None
    facts = []
    if test is not None:
        facts.append(fact_of_test(test))
    held = _epoch_of_the_model(run, results, epochs)
    if epochs and (history["validation_loss"][held - 1] is not None):
        detail = f"loss {loss(history['validation_loss'][held - 1])}; held-out rows, {'last' if held == epochs else 'best'} epoch"
        facts.append(score_fact("Validation", history["validation_accuracy"][held - 1], history["validation_loss"][held - 1], detail))
    if epochs:
        seconds = sum(value or 0.0 for value in history["seconds"])
        speeds = [value for value in history["samples_per_second"] if value]
        facts.append(Fact(duration_of(seconds), "Training time", f"{count_of(epochs, 'epoch')}, without compiling and validation"))
        if speeds:
            facts.append(Fact(f"{statistics.median(speeds):,.0f}", "Rows per second", "median epoch"))
    outcome = run.manifest.get("outcome") or "not finished"
    rows = rows_trained_on(run)
    lede = (
        f"{network_text(run)} on {title_of(run)}"
        + (f", {rows:,} rows" if rows else "")
        + f", {epochs} of {setting_of(run, 'epochs')} epochs"
    )
    if outcome != "done":
        lede += f". Outcome: {outcome}"
    elif results.get("stopped") in STOPPED:
        lede += f", {STOPPED[results['stopped']]}"
    if held != epochs:
        lede += f"; the model has the weights of epoch {held}"
    sections = [
        Section("Figures", notes, plots=drawn),
        Section("Epochs", tables=[epoch_table(history)] if epochs else (), text=() if epochs else ("No epoch was finished.",)),
        *_common_sections(run, commands, methods_of(run, 1, test is not None)),
        _model_card(run, model, test),
    ]
    return Page("Training", f"{capitalised(title_of(run))}: {hidden_text(run)}", lede + ".", facts, sections, _footer(run))


def _epoch_of_the_model(run: "RunRecord", results: Mapping[str, Any], epochs: int) -> int:
    """Return after which epoch a finished training's network had the weights of the model: the last, or the best where it was restored."""
    best = results.get("best")
    epoch: Any = best.get("epoch") if isinstance(best, dict) else None
    restored = settings_of(run, "train").get("restore_best") is True and type(epoch) is int and 1 <= epoch <= epochs
    return int(epoch) if restored else epochs


def repeat_page(run: "RunRecord", figures: Path, commands: Sequence[str]) -> Page:
    """Return the page of a training that was repeated with other seeds."""
    done = finished(run.models)
    drawn = [plots.learning_curves(plots.series_of("", [model.history for model in done]), figures, loss=loss_name(run))] if done else []
    facts = [*spread_facts("Validation", [model.validation for model in done]), *facts_of_test(run), *models_facts(run)]
    sections = [
        Section("Figures", plots=drawn),
        Section("Epochs", tables=[epochs_over_runs(done)] if done else ()),
        Section("Runs", tables=[model_table(run.models)]),
        *_common_sections(run, commands, methods_of(run, len(run.models), is_tested(run))),
    ]
    title = f"{capitalised(title_of(run))}: {count_of(len(run.models), 'run')} of {hidden_text(run)}"
    lede = f"The same training with {count_of(len(run.models), 'seed')}: what chance alone changes, in initial weights and order of rows."
    return Page("Repeated training", title, _unfinished(run, lede), facts, sections, _footer(run))


def sweep_page(run: "RunRecord", figures: Path, commands: Sequence[str]) -> Page:
    """Return the page of a comparison of settings."""
    groups = by_setting(run.models)
    score = judged_by(run)
    high, scale = METRICS[score].more_is_better, 100.0 if METRICS[score].is_share else 1.0
    found = {label: summarise([score_of(model, score) for model in finished(models)]) for label, models in groups.items()}

    def order(label: str) -> tuple[bool, float]:
        spread = found[label]
        return spread is None, 0.0 if spread is None else -spread.mean if high else spread.mean

    ranked = sorted(groups, key=order)
    drawn: list[Plot] = []
    names = {name for models in groups.values() for name in models[0].changed}
    if any(spread is not None for spread in found.values()):
        only = next(iter(names)) if len(names) == 1 else "setting"
        values = [groups[label][0].changed.get(only) if len(names) == 1 else label for label in ranked]
        axis = f"validation {axis_of(score, run)}"
        scores = [
            [scale * value for model in finished(models) if (value := score_of(model, score)) is not None]
            for models in (groups[label] for label in ranked)
        ]
        values = [value if isinstance(value, (int, float)) and not isinstance(value, bool) else value_text(value) for value in values]
        drawn.append(plots.sweep(only, values, scores, figures, score=axis, higher_is_better=high, title="Settings compared"))
        series = [
            plots.series_of(label, [model.history for model in finished(groups[label])]) for label in ranked if finished(groups[label])
        ]
        curve = score if score in ("loss", "accuracy") else "metric"
        drawn.append(plots.compared_curves(series, figures, score=f"validation_{curve}", loss=axis_of(score, run)))
        times = {label: [model.seconds for model in finished(groups[label])] for label in ranked if finished(groups[label])}
        drawn.append(plots.timing(list(times), list(times.values()), figures, what="seconds per model, on one core", title="Training time"))
    facts = []
    if ranked and (best := found[ranked[0]]) is not None:
        facts.append(Fact(short_label(ranked[0]), "Best by validation"))
        facts.append(spread_fact(f"Validation {METRICS[score].label}", best, METRICS[score].is_share))
    facts += [*comparison_facts(run, score), *facts_of_test(run), *models_facts(run)]
    sections = [
        Section("Settings compared", text=comparison_text(run, ranked, score), tables=[ranking_table(groups, ranked, score)], plots=drawn),
        Section("Runs", tables=[model_table(run.models)]),
        *_common_sections(run, commands, methods_of(run, len(run.models), is_tested(run))),
    ]
    counts = count_of(len(groups), "setting")
    lede = f"{counts}, each with the same seeds, compared on validation rows; the test set is not used for the choice."
    compared = and_list([name.replace("_", " ") for name in sorted(names)]) or "settings"
    title = f"{capitalised(title_of(run))}: {compared} compared"
    return Page("Sweep", title, _unfinished(run, lede), facts, sections, _footer(run))


def cv_page(run: "RunRecord", figures: Path, commands: Sequence[str]) -> Page:
    """Return the page of a cross-validation."""
    done = finished(run.models)
    folds = sorted({model.fold for model in run.models if model.fold is not None})
    score = judged_by(run)
    scale = 100.0 if METRICS[score].is_share else 1.0
    drawn: list[Plot] = []
    if done:
        axis = axis_of(score, run) if score == "loss" else f"{axis_of(score, run)} on the rows held out"
        scores = [
            [scale * value for model in done if model.fold == fold and (value := score_of(model, score)) is not None] for fold in folds
        ]
        curves = plots.series_of("", [model.history for model in done])
        drawn.append(plots.learning_curves(curves, figures, loss=loss_name(run), over="models, each on its own fold"))
        names = [f"fold {fold}" for fold in folds]
        drawn.append(plots.sweep("fold", names, scores, figures, score=axis, marks_best=False, name="folds", title="Folds"))
    over = "fold" if len(run.models) == len(folds) else "model"  # with several seeds, each fold is held out several times
    facts = [*spread_facts("Held-out", [model.validation for model in done], over), *facts_of_test(run), *models_facts(run)]
    sections = [
        Section("Folds", tables=[model_table(run.models, folded="")], plots=drawn),
        *_common_sections(run, commands, methods_of(run, len(run.models), is_tested(run))),
    ]
    title = f"{capitalised(title_of(run))}: {len(folds)}-fold cross-validation of {hidden_text(run)}"
    counts = f"{count_of(len(folds), 'fold')}, {count_of(len(run.models), 'model')}"
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
            new = reported_figure(f"figure-{number + 1}", str(name), figure, figures)
            drawn += new
            said |= {plot.name: str(figure.get("claim") or "") for plot in new[:1] if figure.get("claim")}
    drawn += time_of_experiments(run, figures)
    seconds = as_number(run.result.get("seconds")) or 0.0
    models = sum(map(len, run.experiments.values()))
    facts = [
        Fact(f"{judged.count('yes')} of {len(claims)}", "Claims found the same"),
        Fact(str(judged.count("higher")), "Measured higher", "than the report says"),
        Fact(str(len(judged) - judged.count("yes") - judged.count("higher")), "Not the same"),
        Fact(duration_of(seconds), "In all", f"{count_of(models, 'model')} trained" if models else ""),
    ]
    quick = (
        "This was a quick run on few rows: it shows that everything runs, and its numbers mean nothing. " if run.result.get("quick") else ""
    )
    how = str(run.result.get("how_compared") or "")
    base = {**settings_of(run, "network"), **settings_of(run, "train")}
    given = ", ".join(claim_settings({name: base.get(name) for name in shown_in(CLAIM)}, {}))
    about = f"Unless a row names others, the settings are: {given}. Measured: mean ± standard deviation over runs with different seeds."
    sections = [
        Section("What the report says, and what we measured", [text for text in (how, about) if text],
                [claims_table(claims, base)]),
        *([Section("Slips of the report", ("What the report leaves out, misprints or concludes too quickly.",),
                   [claims_table(slips, base)])] if slips else []),
        Section("Figures", plots=drawn, claims=said),
        *_common_sections(run, commands, methods_of(run, models, True)),
    ]  # fmt: skip
    lede = quick + "Every experiment of the course report that fastmlp grew out of, run again on the real data with several seeds."
    return Page("Reproduction", "The report, reproduced", lede, facts, sections, _footer(run))


def _common_sections(run: "RunRecord", commands: Sequence[str], methods: str) -> list[Section]:
    varied = varied_in(run)
    train = settings_of(run, "train")
    chosen: list[tuple[str, str]] = []
    usual: list[tuple[str, str]] = []
    for name, value in [*settings_of(run, "network").items(), *train.items()]:
        if run.kind == "cv" and name in HELD_OUT and not judges_epochs(train):  # its folds are held out
            continue
        is_usual = name not in (*varied, *shown_in(PAGE)) and name in FIELDS and is_default(FIELDS[name], value, train)
        text = values_text(varied[name]) if name in varied else value_text(value)
        (usual if is_usual else chosen).append((name.replace("_", " "), text))
    chosen += [(name.replace("_", " "), values_text(values)) for name, values in varied.items() if name in NOT_IN_TABLES]
    versions = run.manifest.get("versions") or {}
    machine = run.environment.get("machine")
    facts = [("processor", str(run.manifest.get("cpu") or MISSING))]
    if isinstance(machine, dict):
        memory = as_number(machine.get("memory_bytes"))
        facts.append(("cores", value_text(machine.get("cores"))))
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
        Section("Data", facts=[("data set", title_of(run)), *files]),
    ]


def _model_card(run: "RunRecord", model: ModelFile | None, test: Mapping[str, Any] | None) -> Section:
    facts = [("model", f"multi-layer perceptron, {hidden_text(run)}")]
    if model is not None:
        facts += [
            ("layers", "-".join(map(str, model.sizes))),
            ("parameters", f"{model.parameters:,} of {settings_of(run, 'network').get('dtype', 'float32')}"),
            ("file", f"{model.path}, {model.size:,} bytes, safetensors"),
            ("SHA-256", model.sha256),
        ]
    rows = rows_trained_on(run)
    facts.append(("trained on", f"{title_of(run)}" + (f", {rows:,} rows" if rows else "")))
    if test is not None:
        facts.append(("evaluated on", f"its test rows: {text_of_test(test)}, loss {loss(as_number(test.get('loss')))}"))
    of_numbers = settings_of(run, "network").get("output") == "identity"
    facts += [
        ("intended use", "inputs prepared like those of its data set; teaching, experiments, a baseline for others"),
        ("limits", "other inputs were not tested: it predicts a number for any input" if of_numbers else
         "other inputs were not tested: it predicts one of its classes for any input, and its "
         "probabilities were not calibrated; see the mistakes above"),
    ]  # fmt: skip
    return Section("Model card", facts=facts)


def _unfinished(run: "RunRecord", lede: str) -> str:
    outcome = run.manifest.get("outcome")
    return lede if outcome == "done" else f"{lede} Not finished ({outcome or 'under way'}): this is what there is so far."


def _footer(run: "RunRecord") -> str:
    versions = run.manifest.get("versions") or {}
    when = str(run.manifest.get("ended") or run.manifest.get("started") or "")[:16].replace("T", " ")
    return f"{run.path.name}, {when} UTC, fastmlp {versions.get('fastmlp', '')}. This page needs no network and runs no script."
