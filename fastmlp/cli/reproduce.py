"""`fastmlp reproduce`: the course report that this project grew out of, checked claim by claim."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import experiment
from fastmlp.cli.experiment import ResumeOption, RunFolderOption
from fastmlp.cli.options import DataDir, compile_notes
from fastmlp.cli.train import RUNS
from fastmlp.errors import ConfigError
from fastmlp.rendering import experiments
from fastmlp.rendering.output import Output, plain

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.storage.runs import RunFolder

EXAMPLES = ("fastmlp reproduce", "fastmlp reproduce --quick", "fastmlp reproduce --seeds 30 --json")
SEEDS, REPEATS = 5, 30
QUICK_TRAIN, QUICK_TEST, QUICK_SEEDS, QUICK_REPEATS = 2400, 400, 2, 3
ARGUMENTS = ("seeds", "repeats", "quick")


def reproduce(
    output: Output,
    seeds: Annotated[int | None, typer.Option(metavar="N", min=2, help=f"runs of each setting  [default: {SEEDS}]")] = None,
    repeats: Annotated[int | None, typer.Option(metavar="N", min=2, help=f"runs of experiment 3  [default: {REPEATS}]")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="models at a time  [default: one per core]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="few rows, two seeds: does everything run?")] = False,
    resume: ResumeOption = None,
    data_dir: DataDir = None,
    run_folder: RunFolderOption = None,
) -> dict[str, Any]:
    """Run the experiments of the original report and compare each claim.

    Every number is a mean over seeds with its standard deviation, on MNIST, Fashion-MNIST and the synthetic points. Where the report
    names no setting, some are scanned on validation rows; the test set is evaluated once per final model. At the end all of it is on one
    page, report.html, with its figures.
    """
    from fastmlp import machine
    from fastmlp.course.reproduce import AS_READ
    from fastmlp.storage.runs import RunFolder, create_run

    cores = threads or machine.usable_cores()
    _note_missing_page(output)
    if resume is not None:
        options = {"--seeds": seeds, "--repeats": repeats, "--quick": quick, "--run-folder": run_folder}
        experiment.refuse_other_options(options, {})
        plan, run = experiment.earlier_plan("reproduce", resume, ARGUMENTS)
        with run:
            data = _load(output, data_dir, plan.arguments["quick"])
            experiment.check_same_data(run, _hashes(data))
            if plan.settings != _settings():
                raise ConfigError(f"expected settings of this version in {str(run.path)!r}, got others; start a new reproduction")
            experiment.go_on(output, run)
            return _run(output, run, data, plan.arguments, cores)
    data = _load(output, data_dir, quick)
    arguments = {"seeds": seeds or SEEDS, "repeats": repeats or REPEATS, "quick": quick}
    if quick:
        arguments |= {"seeds": QUICK_SEEDS, "repeats": QUICK_REPEATS}
    with create_run(RUNS, "reproduce") if run_folder is None else RunFolder.at(run_folder) as run:
        run.start(
            _settings(),
            seed=AS_READ.seed,
            data={"name": ", ".join(each.name for each in data), "files": _hashes(data)},
            threads=cores,
            experiment={"kind": "reproduce", "arguments": arguments},
        )
        return _run(output, run, data, arguments, cores)


def _note_missing_page(output: Output) -> None:
    """Say before the work, rather than only after it, that the libraries for the page are missing."""
    from fastmlp.errors import MissingExtra
    from fastmlp.rendering.page import check_installed

    try:
        check_installed()
    except MissingExtra as error:
        output.note(f"results will be kept, but there will be no page: {error}")


def _settings() -> dict[str, dict[str, Any]]:
    """Return the settings that an experiment has unless it says otherwise, as tables."""
    from fastmlp.course.reproduce import AS_READ, NETWORK

    return {"network": NETWORK.to_dict(), "train": AS_READ.to_dict()}


def _load(output: Output, data_dir: Path | None, quick: bool) -> "list[Dataset]":
    from fastmlp.data.dataset import load_dataset

    data = [load_dataset(name, data_dir, notify=output.note) for name in ("mnist", "fashion-mnist", "synthetic")]
    return [each.first_rows(QUICK_TRAIN, QUICK_TEST) for each in data] if quick else data


def _hashes(data: "list[Dataset]") -> dict[str, str]:
    return {f"{each.name}/{file}": digest for each in data for file, digest in each.hashes.items()}


def _run(output: Output, run: "RunFolder", data: "list[Dataset]", arguments: dict[str, Any], cores: int) -> dict[str, Any]:
    from fastmlp.course.claims import HOW_COMPARED
    from fastmlp.course.reproduce import Laboratory, common_settings
    from fastmlp.course.reproduce import reproduce as reproduce_all

    started = time.perf_counter()
    mnist, fashion_mnist, synthetic = data
    laboratory = Laboratory(mnist, fashion_mnist, synthetic, arguments["seeds"], arguments["repeats"], cores, folder=run.path)
    with experiment.outcome(output, run, "reproduce"), compile_notes(output) as display:
        found = experiment.follow(output, display, reproduce_all(laboratory))
    openings = {each.name: len(each.test_openings) for each in data}
    facts = {"how_compared": HOW_COMPARED, "seconds": time.perf_counter() - started, **arguments}
    experiment.finish(run, {"rows": found.rows, "figures": found.figures, **facts}, {**facts, "test_openings": openings})
    output.result(experiments.reproduction(found.rows, common_settings()))
    output.detail("\n" + HOW_COMPARED)
    if arguments["quick"]:
        output.note("a quick run shows that everything runs; its numbers mean nothing")
    output.result(f"results {run.path}")
    page = _page(output, run.path)
    return {"rows": plain(found.rows), **facts, "test_openings": openings, "run_folder": run.path, "page": page}


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
