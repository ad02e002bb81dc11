"""`fastmlp report`: a run folder as one page, with its figures."""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import tables as of_tables
from fastmlp.cli.configuration import flag
from fastmlp.cli.options import DataDir, compile_notes
from fastmlp.rendering.output import Output
from fastmlp.rendering.tables import counted
from fastmlp.settings import (
    COMMAND,
    FIELDS,
    HELD_OUT,
    UNSAID_BEFORE,
    TrainingSettings,
    current_names,
    decider_against,
    is_default,
    judges_epochs,
    shown_in,
)

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.inspect.insight import Insight
    from fastmlp.network import Network
    from fastmlp.rendering.page import Page
    from fastmlp.rendering.reports import ModelFile
    from fastmlp.storage.reading import RunRecord
    from fastmlp.training.holdout import Rows

EXAMPLES = ("fastmlp report runs/20261125T160000Z-mnist-a1b2c3", "fastmlp report RUN --out digits.html", "fastmlp report RUN --json")
RUN = Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a training, repeat, sweep, cv or reproduction")]


def report(
    output: Output,
    run: RUN,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="where the page goes  [default: RUN/report.html]")] = None,
    data_dir: DataDir = None,
) -> dict[str, Any]:
    """Write one HTML page about a run, with its figures beside it.

    The page needs no network and no other file: results, figures, tables, settings, machine, the command to reproduce it, a paragraph
    for a methods section. The figures are also written as PNG, SVG and CSV, into a folder beside the page. What needs the data set is
    drawn from local files only, and left out with a note where there are none.
    """
    from fastmlp.rendering.page import check_installed, write_page
    from fastmlp.storage.atomic import check_creatable
    from fastmlp.storage.reading import read_run

    check_installed()
    found = read_run(run)
    page_path = run / "report.html" if out is None else out
    check_creatable(page_path, [path for path in run.iterdir() if path.suffix.lower() != ".html"])
    figures = page_path.with_name(f"{page_path.stem}-figures")
    page = build_page(output, found, figures, data_dir)
    write_page(page_path, page)
    plots = [plot for section in page.sections for plot in section.plots]
    output.result(f"page {page_path}")
    output.detail(f"{counted(len(plots), 'figure')} in {figures}")
    return {
        "run": run,
        "kind": found.kind,
        "page": page_path,
        "figures": [{"name": plot.name, "title": plot.title, "files": list(plot.paths)} for plot in plots],
    }


def build_page(output: Output, run: "RunRecord", figures: Path, data_dir: Path | None = None) -> "Page":
    """Return the page of a run and write its figures into a folder. `data_dir` as in fastmlp.load_dataset; nothing is fetched."""
    from fastmlp.rendering import reports

    commands = commands_of(run)
    if run.kind == "train":
        insight, model, notes = inspect_model(output, run, data_dir)
        return reports.training_page(run, figures, commands, insight, model, notes)
    page = {"repeat": reports.repeat_page, "sweep": reports.sweep_page, "cv": reports.cv_page, "reproduce": reports.reproduction_page}
    return page[run.kind](run, figures, commands)


def inspect_model(output: Output, run: "RunRecord", data_dir: Path | None) -> "tuple[Insight | None, ModelFile | None, list[str]]":
    """Return what the trained network of a run confuses, facts of its file, and why something of that is missing."""
    import hashlib

    from fastmlp.errors import FastmlpError
    from fastmlp.inspect.insight import look_into
    from fastmlp.network import Network
    from fastmlp.rendering.reports import ModelFile
    from fastmlp.storage.reading import model_path

    path = model_path(run)
    if path is None:
        return None, None, ["The model file is not there: figures of what the network confuses are left out."]
    try:
        network: Network = Network.load(path)
        content = path.read_bytes()
        model = ModelFile(path.name, len(content), hashlib.sha256(content).hexdigest(), network.sizes, network.parameters.size)
    except (FastmlpError, OSError) as error:
        return None, None, [f"The model file cannot be read: figures of what the network confuses are left out. {error}"]
    if network.output == "identity":  # numbers are not confused
        return None, model, []
    name = run.manifest["data"]["name"]
    try:
        own, recorded = of_tables.of_manifest(run.manifest), of_tables.recorded(run.manifest)
        data = of_tables.load(output, name, own, {}, data_dir, True, recorded, network.columns)
        if dict(data.hashes) != run.manifest["data"].get("files", {}):
            return None, model, ["The data set here is not the one of this run: figures that need it are left out."]
        if data.stored is not None:
            return None, model, ["The table stays on the disk: figures that need all of its rows are left out."]
        rows = _rows_of(run, data, network)
        if rows is None:
            return None, model, ["The run does not say which rows it held out: figures that need them are left out."]
        with compile_notes(output):
            return look_into(network, data, rows), model, []
    except FastmlpError as error:
        reason = str(error).partition("\n")[0].rstrip(";: ")
        return None, model, [f"The data set could not be used here: figures that need it are left out. Reason: {reason}."]


def _rows_of(run: "RunRecord", data: "Dataset", network: "Network") -> "Rows | None":
    """Return which rows of its data a training was trained on and which it held out, None where its record does not say."""
    from fastmlp.errors import ConfigError
    from fastmlp.network.arrays import as_target, in_classes
    from fastmlp.training import holdout

    try:
        training = TrainingSettings.from_record(run.manifest["settings"]["train"])
        if training.validation is None:
            return None
        y = network.class_numbers(data.y_train, "y_train")
        target = as_target(y, network.output, network.n_outputs, len(y), "float64")
        target, output = in_classes(target, y, network.output, network.n_outputs)
        return holdout.split(training, target, output, network.n_outputs, groups=data.groups)
    except ConfigError:
        return None


def commands_of(run: "RunRecord") -> list[str]:
    """Return the commands that do a run again."""
    arguments = run.manifest.get("arguments") or {}
    own = [f"--{name} {arguments[name]}" for name in ("runs", "folds", "seeds", "repeats") if isinstance(arguments.get(name), int)]
    own += [f"--{name}" for name in ("halving", "quick", "test") if arguments.get(name) is True]
    if run.kind == "reproduce":
        return [" ".join(["fastmlp reproduce", *own])]
    recorded = run.manifest["settings"]
    settings = {**UNSAID_BEFORE, **current_names({**recorded["network"], **recorded["train"]}, warn=False)}
    table = of_tables.of_manifest(run.manifest)
    data = shlex.quote(run.manifest["data"]["name"]) if table is None else of_tables.arguments_of(table)
    start = f"fastmlp {run.kind} {data}"
    if run.kind != "sweep":
        return [" ".join([start, *setting_flags(settings, run.kind), *own])]
    changes = [change for change in arguments.get("changes") or [model.changed for model in run.models] if isinstance(change, dict)]
    axes = _axes(changes)
    if axes is not None:
        fixed = {name: value for name, value in settings.items() if name not in axes}
        swept = [f"{flag(name)} {','.join(map(_swept, values))}" for name, values in axes.items()]
        return [" ".join([start, *setting_flags(fixed, run.kind), *swept, *own])]
    runs = [part for part in own if part.startswith("--runs")]
    return [" ".join([f"fastmlp repeat {data}", *setting_flags({**settings, **change}, "repeat"), *runs]) for change in changes]


def setting_flags(settings: Mapping[str, Any], kind: str) -> list[str]:
    """Return the flags that give these settings: of those that differ from the default, and of those that data sets have views on."""
    flags = []
    for name, field in FIELDS.items():
        value = settings.get(name)
        if value is None or (is_default(field, value, settings) and name not in shown_in(COMMAND)):
            continue
        if decider_against(name, settings) is not None or (name in HELD_OUT and kind == "cv" and not judges_epochs(settings)):
            continue  # version 0.1.0 recorded what is not used, too; a cross-validation holds out rows besides its folds to judge epochs
        if isinstance(value, bool) and kind != "sweep":  # whose flags all take values
            flags.append(flag(name) if value else flag(name).replace("--", "--no-", 1))
        elif isinstance(value, list):
            flags += [f"{flag(name)} {shlex.quote(_value(item))}" for item in value]
        else:
            flags.append(f"{flag(name)} {shlex.quote(_value(value))}")
    return flags


def _axes(changes: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]] | None:
    """Return the values of each setting where `changes` are all their combinations, None where they are not."""
    axes: dict[str, list[Any]] = {}
    seen: list[Mapping[str, Any]] = []
    for change in changes:
        if change not in seen:
            seen.append(change)
        for name, value in change.items():
            values = axes.setdefault(name, [])
            if value not in values:
                values.append(value)
    combinations = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    complete = len(combinations) == len(seen) and all(combination in seen for combination in combinations)
    return axes if axes and complete else None


def _swept(value: Any) -> str:
    """Return a value as one of several in a sweep: 300-100 for two widths."""
    return "-".join(map(_value, value)) if isinstance(value, list) else shlex.quote(_value(value))


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
