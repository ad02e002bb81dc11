"""`fastmlp reproduce`: the course report that this project grew out of, checked claim by claim."""

import contextlib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli import experiment
from fastmlp.cli.experiment import RunFolderOption
from fastmlp.cli.options import DataDir, compile_notes
from fastmlp.cli.train import RUNS
from fastmlp.rendering import experiments
from fastmlp.rendering.output import Output

if TYPE_CHECKING:
    from fastmlp.experiments.claims import Findings
    from fastmlp.experiments.reproduce import Laboratory
    from fastmlp.rendering.progress import Display

EXAMPLES = ("fastmlp reproduce", "fastmlp reproduce --quick", "fastmlp reproduce --seeds 30 --json")
SEEDS, REPEATS = 5, 30
QUICK_TRAIN, QUICK_TEST, QUICK_SEEDS, QUICK_REPEATS = 2400, 400, 2, 3


def reproduce(
    output: Output,
    seeds: Annotated[int, typer.Option(metavar="N", min=2, help="runs of each setting")] = SEEDS,
    repeats: Annotated[int, typer.Option(metavar="N", min=2, help="runs of experiment 3")] = REPEATS,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="models at a time  [default: one per core]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="few rows, two seeds: does everything run?")] = False,
    data_dir: DataDir = None,
    run_folder: RunFolderOption = None,
) -> dict[str, Any]:
    """Run the experiments of the original report and compare each claim.

    Every number is a mean over seeds with its standard deviation, on MNIST, Fashion-MNIST and the synthetic points. Where the report
    names no setting, some are scanned on validation rows; test rows are opened once per final model.
    """
    from fastmlp import machine
    from fastmlp.data.dataset import load_dataset
    from fastmlp.experiments.claims import HOW_COMPARED
    from fastmlp.experiments.reproduce import AS_READ, NETWORK, Laboratory, common_settings
    from fastmlp.rendering.output import plain
    from fastmlp.storage.runs import RunFolder, create_run

    started = time.perf_counter()
    data = [load_dataset(name, data_dir, notify=output.note) for name in ("mnist", "fashion-mnist", "synthetic")]
    if quick:
        data = [each.first_rows(QUICK_TRAIN, QUICK_TEST) for each in data]
        seeds, repeats = QUICK_SEEDS, QUICK_REPEATS
    run = create_run(RUNS, "reproduce") if run_folder is None else RunFolder.at(run_folder)
    cores = threads or machine.usable_cores()
    with run:
        run.start(
            {"network": NETWORK.to_dict(), "train": AS_READ.to_dict()},
            seed=0,
            data={
                "name": ", ".join(each.name for each in data),
                "files": {f"{each.name}/{file}": digest for each in data for file, digest in each.hashes.items()},
            },
            threads=cores,
            experiment={"kind": "reproduce", "arguments": {"seeds": seeds, "repeats": repeats, "quick": quick}},
        )
        mnist, fashion_mnist, synthetic = data
        laboratory = Laboratory(mnist, fashion_mnist, synthetic, seeds, repeats, cores, run.path)
        try:
            with compile_notes(output) as display:
                found = _follow(output, display, laboratory)
        except BaseException as error:
            run.finish("interrupted" if isinstance(error, (KeyboardInterrupt, BrokenPipeError)) else "failed")
            raise
        seconds = time.perf_counter() - started
        openings = {each.name: len(each.test_openings) for each in data}
        result = {"rows": found.rows, "figures": found.figures, "how_compared": HOW_COMPARED, "seconds": seconds, "quick": quick}
        experiment.finish(run, result, {"seconds": seconds, "test_openings": openings})
    output.result(experiments.reproduction(found.rows, common_settings()))
    output.detail("\n" + HOW_COMPARED)
    if quick:
        output.note("a quick run shows that everything runs; its numbers mean nothing")
    output.result(f"results {run.path}")
    return {"rows": plain(found.rows), "seconds": seconds, "test_openings": openings, "quick": quick, "run_folder": run.path}


def _follow(output: Output, display: "Display", laboratory: "Laboratory") -> "Findings":
    """Run the experiments to their end; a line tells of each that begins, a bar of how far it is."""
    from fastmlp.experiments.bank import BankProgress
    from fastmlp.experiments.reproduce import Stage, reproduce

    with contextlib.closing(reproduce(laboratory)) as events:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                display.clear()
                found: Findings = end.value
                return found
            if isinstance(event, BankProgress):
                display.models(event)
            elif isinstance(event, Stage):
                display.clear()
                output.note(event.title + (f": {event.models} models" if event.models else ""))
