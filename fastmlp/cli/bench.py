"""`fastmlp bench`: how fast fastmlp is, here and now."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.benchmark.workloads import WORKLOADS
from fastmlp.cli.options import DataDir
from fastmlp.rendering.output import Output, json_text
from fastmlp.settings import nearest

if TYPE_CHECKING:
    from fastmlp.benchmark.measure import Measured

PEERS_EXAMPLES = (
    "fastmlp bench peers",
    "fastmlp bench peers --workload A --workload D --repeats 9",
    "fastmlp bench peers --avx2 --save results.json",
)
QUICK_ROWS, QUICK_REPEATS = 700, 1  # rows for several batches, the last of them shorter


def _known_workloads(names: list[str] | None) -> list[str] | None:
    for name in names or ():
        if name not in WORKLOADS:
            raise typer.BadParameter(f"expected one of {', '.join(WORKLOADS)}, got {name!r}{nearest(name, WORKLOADS)}")
    return names


def peers(
    output: Output,
    workload: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", callback=_known_workloads, help=f"one of {' '.join(WORKLOADS)}; repeat  [default: all]"),
    ] = None,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="rounds, in each of which everybody has a turn")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="few rows, one repeat: does everything run?")] = False,
    avx2: Annotated[bool, typer.Option("--avx2", help="once more without AVX-512, for a second column of ratios")] = False,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="write everything measured to this file, as JSON")] = None,
    data_dir: DataDir = None,
) -> dict[str, Any]:
    """Set fastmlp against JAX, PyTorch, scikit-learn, NumPy and others.

    Everybody gets the same data, initial weights, order of rows and number of updates, in a process of its own. A ratio is the time
    of the fastest configuration of a peer over ours; it counts only where the losses after one epoch agree. Peers that are not
    installed are left out: pip install 'fastmlp[bench]'. The machine should have nothing else to do.
    """
    from fastmlp.benchmark.measure import measure
    from fastmlp.benchmark.processes import check_instruction_set
    from fastmlp.benchmark.results import record
    from fastmlp.rendering import benchmark
    from fastmlp.storage.atomic import check_creatable, write_atomically

    instruction_sets = ("native", "avx2") if avx2 else ("native",)
    for name in instruction_sets:
        check_instruction_set(name)
    if save is not None:
        check_creatable(save)
    repeats = QUICK_REPEATS if quick else repeats
    measured: list[Measured] = []
    for name in dict.fromkeys(workload or WORKLOADS):
        chosen = WORKLOADS[name].with_rows(QUICK_ROWS) if quick else WORKLOADS[name]
        found = [measure(chosen, repeats, instruction_set, data_dir, output.note) for instruction_set in instruction_sets]
        measured += found
        output.result(("\n" if len(measured) > len(found) else "") + benchmark.ratios(found))
        for each in found:
            output.detail("\n" + benchmark.times(each))
        if save is not None:  # after each workload: a long run that is broken off has not been for nothing
            write_atomically(save, json.dumps(json.loads(json_text(record(measured, repeats, quick))), indent=1).encode())
    if quick:
        output.note("a quick run shows that everything runs; its times mean nothing")
    return record(measured, repeats, quick)
