"""`fastmlp runs`: which trainings there were, and how they ended."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fastmlp.cli.outcome import RUNS
from fastmlp.rendering import tables
from fastmlp.rendering.output import Output

EXAMPLES = ("fastmlp runs", "fastmlp runs /scratch/runs --json")


def runs(
    output: Output, folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the run folders are", show_default=True)] = RUNS
) -> dict[str, Any]:
    """List the run folders: outcome, epochs and score of each.

    Names begin with the time (UTC) and what was done on which data. Scores are those on the test rows: the accuracy, or what else the
    run was judged by; in brackets on held-out rows, the mean over the models of a repeat or a cross-validation.
    Outcomes: done; running; interrupted (by a signal), failed (by an error) and killed (without a word): those three go on with
    fastmlp train --resume; diverged; damaged: its files cannot be read.
    """
    from fastmlp.storage.runs import list_runs

    nothing_yet = folder == RUNS and not folder.exists()
    found, others = ([], 0) if nothing_yet else list_runs(folder)
    if found:
        output.result(tables.runs(found))
    else:
        output.note(f"no runs in {folder}; make one: fastmlp train mnist")
    for run in found:
        if run.problem is not None:
            output.note(f"{run.name}: {run.problem}")
    if others:
        output.note(f"{others} other folder{'s' if others > 1 else ''} in {folder}: no run's")
    return {"folder": folder, "runs": [{**run._asdict(), "path": str(run.path)} for run in found], "other_folders": others}
