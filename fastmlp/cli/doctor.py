"""`fastmlp doctor`: this machine, the speed to expect of it, and what could be improved."""

from typing import Annotated, Any

import typer

from fastmlp.cli.options import compile_notes
from fastmlp.rendering.output import Output

EXAMPLES = ("fastmlp doctor", "fastmlp doctor --shape 64,256,256,1 --batch 256", "fastmlp doctor --json > report.json")
MOST_UNITS = 10**6  # of one layer: more is a slip of the finger


def _sizes(shape: str) -> str:
    words = shape.replace("-", ",").split(",")
    if len(words) < 2 or not all(word.strip().isdecimal() and 1 <= int(word) <= MOST_UNITS for word in words):
        raise typer.BadParameter(f"expected the numbers of units of at least two layers, like 784,300,10, got {shape!r:.60}")
    return shape


def doctor(
    output: Output,
    shape: Annotated[
        str, typer.Option(metavar="K,N,…", callback=_sizes, help="units of each layer of the network to try, inputs first")
    ] = "784,300,10",
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="rows in one step")] = 50,
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="rows in one epoch")] = 60_000,
) -> dict[str, Any]:
    """Describe this machine: how fast it can be, and what slows it down.

    Measures multiply-adds, bandwidth and threads, then tries a network on random rows: in all a few seconds. --json is what a bug
    report should hold.
    """
    from fastmlp.benchmark.doctor import examine
    from fastmlp.rendering import doctor as text

    sizes = tuple(int(word) for word in shape.replace("-", ",").split(","))
    with compile_notes(output):
        report = examine(sizes, batch, rows)
    output.result(text.report(report))
    return report._asdict()
