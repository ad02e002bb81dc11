"""`fastmlp reproduce`: the course report that this project grew out of, checked claim by claim."""

import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import experiment
from fastmlp.cli.options import DataDir
from fastmlp.rendering import experiments
from fastmlp.rendering.output import Output, plain

if TYPE_CHECKING:
    from fastmlp.course.reproduce import Stage
    from fastmlp.data.dataset import Dataset
    from fastmlp.search.task import Event, Task

EXAMPLES = ("fastmlp reproduce", "fastmlp reproduce --quick", "fastmlp reproduce --seeds 30 --json")
SEEDS, REPEATS = 5, 30
QUICK_TRAIN, QUICK_TEST, QUICK_SEEDS, QUICK_REPEATS = 2400, 400, 2, 3
DATA = ("mnist", "fashion-mnist", "synthetic")


def reproduce(
    output: Output,
    seeds: Annotated[int | None, typer.Option(metavar="N", min=2, help=f"runs of each setting  [default: {SEEDS}]")] = None,
    repeats: Annotated[int | None, typer.Option(metavar="N", min=2, help=f"runs of experiment 3  [default: {REPEATS}]")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="models at a time  [default: one per core]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="few rows, two seeds: does everything run?")] = False,
    resume: experiment.ResumeOption = None,
    data_dir: DataDir = None,
    run_folder: experiment.RunFolderOption = None,
    executor: experiment.ExecutorOption = None,
) -> dict[str, Any]:
    """Run the experiments of the original report and compare each claim.

    Every number is a mean over seeds with its standard deviation, on MNIST, Fashion-MNIST and the synthetic points. Where the report
    names no setting, some are scanned on validation rows; the test set is evaluated once per final model. At the end all of it is on one
    page, report.html, with its figures.
    """
    _note_missing_page(output)

    def new() -> "tuple[experiment.Plan, list[Dataset]]":
        arguments = {"seeds": seeds or SEEDS, "repeats": repeats or REPEATS, "quick": quick}
        if quick:
            arguments |= {"seeds": QUICK_SEEDS, "repeats": QUICK_REPEATS}
        plan = _plan(arguments)
        return plan, _load(plan, data_dir, output.note)

    others = {"--seeds": seeds, "--repeats": repeats, "--quick": quick}
    record = experiment.conduct(output, KIND, experiment.Options(resume, data_dir, run_folder, executor, threads), others, new)
    if record["quick"]:
        output.note("a quick run shows that everything runs; its numbers mean nothing")
    return {**record, "page": _page(output, record["run_folder"])}


def _note_missing_page(output: Output) -> None:
    """Say before the work, rather than only after it, that the libraries for the page are missing."""
    from fastmlp.errors import MissingExtra
    from fastmlp.rendering.page import check_installed

    try:
        check_installed()
    except MissingExtra as error:
        output.note(f"results will be kept, but there will be no page: {error}")


def _plan(arguments: dict[str, Any]) -> experiment.Plan:
    """Return what a reproduction is to do, with the settings that an experiment has unless it says otherwise."""
    from fastmlp.course.reproduce import AS_READ, NETWORK

    return experiment.Plan("reproduce", ", ".join(DATA), NETWORK, AS_READ, arguments)


def _load(plan: experiment.Plan, data_dir: Path | None, notify: Callable[[str], None]) -> "list[Dataset]":
    data = experiment.load_data(plan.dataset, data_dir, notify)
    return [each.first_rows(QUICK_TRAIN, QUICK_TEST) for each in data] if plan.arguments["quick"] else data


def _title(plan: experiment.Plan, data: "Sequence[Dataset]") -> str:
    return f"every claim of the report, {plan.arguments['seeds']} seeds each"


def _tasks(plan: experiment.Plan, data: "Sequence[Dataset]") -> "list[Task]":
    return []  # they follow from what those before them gave


def _find(session: experiment.Session) -> "Generator[Event | Stage, None, experiment.Found]":
    from fastmlp.course.claims import HOW_COMPARED
    from fastmlp.course.reproduce import Laboratory, common_settings, reproduce

    started, arguments = time.perf_counter(), session.plan.arguments
    mnist, fashion_mnist, synthetic = session.data
    laboratory = Laboratory(
        mnist, fashion_mnist, synthetic, arguments["seeds"], arguments["repeats"], session.cores, session.workers, session.run.path
    )
    found = yield from reproduce(laboratory)
    facts = {"how_compared": HOW_COMPARED, "seconds": time.perf_counter() - started, **arguments}
    return experiment.Found(
        result={"rows": found.rows, "figures": found.figures, **facts},
        record={"rows": plain(found.rows), **facts},
        lines=[experiments.reproduction(found.rows, common_settings())],
        below="\n" + HOW_COMPARED,
        facts=facts,
    )


KIND = experiment.Kind("reproduce", ("seeds", "repeats", "quick"), _title, _tasks, _find, _load, lambda: _plan({}).settings)


def _page(output: Output, folder: Path) -> Path | None:
    """Write the page of a reproduction; where what draws it is not installed, say how to get it: the results are kept all the same."""
    from fastmlp.cli.report import report
    from fastmlp.errors import MissingExtra

    try:
        page: Path = report(output, folder)["page"]
    except MissingExtra as error:
        output.note(f"no page yet: {error}; then: fastmlp report {folder}")
        return None
    return page
