"""`fastmlp speedrun`: the training time until a target test accuracy, in fastmlp and in other libraries."""

import time
from typing import Annotated, Any

import typer

from fastmlp.cli.options import DataDir, DatasetName, compile_notes
from fastmlp.errors import MissingExtra
from fastmlp.rendering.output import Output
from fastmlp.rendering.progress import waiting
from fastmlp.settings import nearest

EXAMPLES = (
    "fastmlp speedrun mnist --target 98",
    "fastmlp speedrun mnist --target 99 --seeds 10",
    "fastmlp speedrun mnist --target 98 --peer jax --peer-seeds 5 --json",
)
SEEDS, PEER_SEEDS = 50, 5


def speedrun(
    output: Output,
    dataset: DatasetName,
    target: Annotated[int, typer.Option(metavar="98|99", help="test accuracy to reach, per cent")] = 98,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="trainings, with the seeds 0, 1, …")] = SEEDS,
    peer: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="run the same recipe in jax, torch or numpy, too; repeat for more")
    ] = None,
    peer_seeds: Annotated[int, typer.Option(metavar="N", min=1, help="trainings of each peer, with the first of the seeds")] = PEER_SEEDS,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="number of threads  [default: all cores]")] = None,
    data_dir: DataDir = None,
) -> dict[str, Any]:
    """Time a fixed recipe from bytes in memory to a trained network.

    Settings and number of epochs are fixed: they were chosen on held-out training rows. Each network is evaluated on the test set once. The
    target counts as reached if the mean over all seeds is at least that;
    the lower bound is the one-sided 95 % lower confidence bound of the mean.
    Seconds are the median training time; start-up and compilation are listed separately.

    Peers are given the same weights, rows, order and rates; rows as floats, orders and augmented images are prepared beforehand.
    The machine should have nothing else to do.
    """
    started = time.perf_counter()
    from fastmlp import __version__, machine
    from fastmlp.benchmark import speedrun as benchmark
    from fastmlp.benchmark.implementations import IMPLEMENTATIONS
    from fastmlp.benchmark.processes import HINT
    from fastmlp.data.dataset import load_dataset
    from fastmlp.rendering import speedrun as text

    if dataset != benchmark.DATASET:
        raise typer.BadParameter(f"expected {benchmark.DATASET}, the only data set with such recipes, got {dataset}", param_hint="DATASET")
    if target not in benchmark.RECIPES:
        known = ", ".join(map(str, benchmark.RECIPES))
        raise typer.BadParameter(f"expected one of {known}, got {target}", param_hint="--target")
    for name in peer or ():
        if name not in benchmark.PEERS:
            known = ", ".join(benchmark.PEERS)
            raise typer.BadParameter(f"expected one of {known}, got {name!r:.60}{nearest(name, benchmark.PEERS)}", param_hint="--peer")
        if absent := IMPLEMENTATIONS[name].missing():
            raise MissingExtra(f"--peer {name}: expected {' and '.join(absent)} to be installed, found none; run: {HINT}")
    data = load_dataset(dataset, data_dir, notify=output.note)
    load = time.perf_counter() - started
    with compile_notes(output) as display:
        compiled = benchmark.prepare(data, target, threads)
        display.clear()
        with waiting(output) as notify:
            result = benchmark.measure(data, target, seeds, threads, peer or (), min(peer_seeds, seeds), notify)
    output.detail(f"{text.heading(result)}\n\n{text.times(result)}\n")
    output.result(text.verdict(result))
    output.detail(f"apart from that: imports and loading {load:.2f} s, compiling {compiled:.2f} s")
    return {
        **result._asdict(),
        "ours": benchmark.record(result.ours),
        "peers": [benchmark.record(each) for each in result.peers],
        "seconds": {"load": load, "compile": compiled, "total": time.perf_counter() - started},
        "test_openings": data.test_openings.count("x_test"),
        "version": __version__,
        "machine": machine.describe(),
    }
