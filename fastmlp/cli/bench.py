"""`fastmlp bench`: how fast fastmlp is, here and now."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp import machine
from fastmlp.benchmark.workloads import WORKLOADS
from fastmlp.cli.options import TERMINAL, DataDir, known_picture
from fastmlp.errors import ScoreMissed
from fastmlp.rendering.output import Output, json_text
from fastmlp.rendering.progress import waiting
from fastmlp.settings import nearest

if TYPE_CHECKING:
    from fastmlp.benchmark.ladder import Ladder, Scene
    from fastmlp.benchmark.measure import Measured
    from fastmlp.benchmark.scaling import Scaling
    from fastmlp.benchmark.startup import Start

EXAMPLES = (
    "fastmlp bench --quick",
    "fastmlp bench epoch --plot ladder.svg --save mine.json",
    "fastmlp bench kernels --compare mine.json",
    "fastmlp bench peers --workload A --workload D --repeats 9",
)
# What can be measured, and what each word means.
LADDERS = ("kernels", "step", "epoch")
PEERS, PREDICT, SCALING, STARTUP, ALL = "peers", "predict", "scaling", "startup", "all"
WORDS = (*LADDERS, SCALING, STARTUP, PREDICT, PEERS, ALL)
PREDICTIONS = ("H", "H'")
QUICK_ROWS, QUICK_REPEATS = 700, 1  # rows for several batches, the last of them shorter
BUSY = 0.5  # load per core from which on a measurement is disturbed


def _known_word(word: str | None) -> str | None:
    if word is not None and word not in WORDS:
        raise typer.BadParameter(f"expected one of {', '.join(WORDS)}, got {word!r:.60}{nearest(word, WORDS)}")
    return word


def _known_workloads(names: list[str] | None) -> list[str] | None:
    for name in names or ():
        if name not in WORKLOADS:
            raise typer.BadParameter(f"expected one of {', '.join(WORKLOADS)}, got {name!r:.60}{nearest(name, WORKLOADS)}")
    return names


def _known_peers(names: list[str] | None) -> list[str] | None:
    known = sorted({peer for workload in WORKLOADS.values() for peer in workload.peers})
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"expected one of {', '.join(known)}, got {name!r:.60}{nearest(name, known)}")
    return names


def _known_rungs(names: list[str] | None) -> list[str] | None:
    if names:
        from fastmlp.benchmark.ladder import RUNG_KEYS

        for name in names:
            if name not in RUNG_KEYS:
                raise typer.BadParameter(f"expected one of {', '.join(RUNG_KEYS)}, got {name!r:.60}{nearest(name, RUNG_KEYS)}")
    return names


def bench(
    output: Output,
    what: Annotated[
        str | None,
        typer.Argument(metavar="WHAT", callback=_known_word, help=f"one of {', '.join(WORDS)}  [default: the ladder]"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="few rows, short turns: half a minute for the ladder")] = False,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="rounds; in each, every implementation is timed once")] = 5,
    rung: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", callback=_known_rungs, help="kernels, step, epoch: only this rung, like lists, njit, tiles; repeat"),
    ] = None,
    workload: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", callback=_known_workloads, help=f"peers: one of {' '.join(WORKLOADS)}; repeat  [default: all]"),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", callback=_known_peers, help="peers: only beside this one, like jax, torch, numpy, c; repeat"),
    ] = None,
    avx2: Annotated[bool, typer.Option("--avx2", help="peers, predict: once more without AVX-512, for a second column of ratios")] = False,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="add everything measured to this file of results, as JSON")] = None,
    compare: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="compare with the times in this file; exit code 1 if one is slower beyond noise"),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=known_picture, help="draw bars and a roofline: a .png or .svg file, - for the terminal"),
    ] = None,
    data_dir: DataDir = None,
) -> dict[str, Any]:
    """Measure how fast fastmlp is on this machine.

    Without a word: the ladder from pure Python to the fastest kernels, for a network of 2-3-2, one dense layer, and MNIST. kernels:
    one layer. step, epoch: one step, one epoch. peers: against JAX, PyTorch, scikit-learn and NumPy, workload by workload.
    predict: one row. scaling: larger and smaller networks. startup: until something happens. all: everything, which takes long.

    Everybody gets the same data, weights, rows and updates, in a process of its own, and is checked before it is timed. Frameworks
    that are not installed are left out: pip install 'fastmlp[bench]'. The machine should have nothing else to do.
    """
    shows_ladder, shows_peers = what is None or what in (*LADDERS, ALL), what in (PEERS, PREDICT, ALL)
    for given, name, fits in (
        (rung, "--rung", shows_ladder),
        (plot, "--plot", shows_ladder),
        (workload, "--workload", what == PEERS),
        (peer, "--peer", what == PEERS),
        (avx2, "--avx2", shows_peers),
    ):
        if given and not fits:
            raise typer.BadParameter(f"expected a word that it is for, see the help, got {what!r:.60}", param_hint=name)

    from fastmlp.benchmark import regressions, results
    from fastmlp.benchmark.processes import check_instruction_set
    from fastmlp.rendering import ladder as tables
    from fastmlp.rendering import ladder_charts
    from fastmlp.storage.atomic import check_creatable, write_atomically

    instruction_sets = ("native", "avx2") if avx2 else ("native",)
    for name in instruction_sets:
        check_instruction_set(name)
    kept = None if save is None else results.held(save, quick)
    earlier = None if compare is None else regressions.read(compare)
    if plot is not None and plot != TERMINAL:
        ladder_charts.require()
    for path in (save, None if plot == TERMINAL else plot):
        if path is not None:
            check_creatable(path)

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY * machine.usable_cores():
        output.note(f"other programs keep {load:.1f} of {machine.usable_cores()} cores busy: times will be too long, and mean little")
    measured: list[Measured] = []
    ladders: list[Ladder] = []
    scaled: Scaling | None = None
    started: list[Start] = []

    def found() -> dict[str, Any]:
        return results.record(measured, repeats, quick, ladders, scaled, started)

    def keep() -> None:  # after each part: a long run that is broken off has not been for nothing
        if save is not None:
            new = json.loads(json_text(found()))
            write_atomically(save, results.as_json(new if kept is None else results.merged(kept, new)))

    if shows_ladder:
        ladders += _ladders(output, _scenes(what), repeats, quick, rung, data_dir)
        keep()
        if plot == TERMINAL:
            output.result("\n" + ladder_charts.text(ladders))
        elif plot is not None:
            write_atomically(plot, ladder_charts.picture(ladders, plot.suffix))
    if what in (STARTUP, ALL):
        from fastmlp.benchmark import startup

        with waiting(output) as notify:
            started += startup.measure(repeats, quick, notify)
        output.result(tables.starts(started))
        keep()
    if what in (SCALING, ALL):
        from fastmlp.benchmark import scaling

        with waiting(output) as notify:
            scaled = scaling.measure(repeats, quick, notify=notify)
        output.result(tables.scaling(scaled))
        keep()
    if shows_peers:
        for each in dict.fromkeys(workload or (PREDICTIONS if what == PREDICT else WORKLOADS)):
            measured += _peers(output, each, instruction_sets, QUICK_REPEATS if quick else repeats, quick, data_dir, not measured, peer)
            keep()
    if quick:
        output.note("a quick run measures few rows in short turns: it shows the story, not the third digit")
    record = found()
    if earlier is not None:
        changes = regressions.compare(earlier, record)
        output.result("\n" + tables.changes(changes))
        slower = [change for change in changes if change.is_regression]
        if slower:
            worst = slower[0]
            raise ScoreMissed(
                f"{len(slower)} of {len(changes)} rows became slower beyond noise, most of all {worst.name}: "
                f"{worst.after.median / worst.before.median:.2f} times as long as in {compare}"
            )
    return {"what": what or "ladder", **record}


def _scenes(what: str | None) -> "list[Scene]":
    from fastmlp.benchmark.ladder import SCENES, SCENES_OF, STORY

    keys = tuple(SCENES) if what == ALL else STORY if what is None else SCENES_OF[what]
    return [SCENES[key] for key in keys]


def _ladders(
    output: Output, scenes: "list[Scene]", repeats: int, quick: bool, only: list[str] | None, data_dir: Path | None
) -> "list[Ladder]":
    from fastmlp.benchmark import ladder
    from fastmlp.rendering import ladder as tables

    with waiting(output) as notify:
        ladders = ladder.measure(scenes, repeats, quick, only, data_dir, notify)
    for number, each in enumerate(ladders):
        output.result(("\n\n" if number else "") + tables.ladder(each))
    ladder.check(ladders)  # after the tables, which show what else is wrong, and before anything is kept
    return ladders


def _peers(
    output: Output, name: str, instruction_sets: tuple[str, ...], repeats: int, quick: bool, data_dir: Path | None, is_first: bool,
    only: list[str] | None,
) -> "list[Measured]":  # fmt: skip
    from fastmlp.benchmark.measure import measure
    from fastmlp.rendering import benchmark

    chosen = WORKLOADS[name].with_rows(QUICK_ROWS) if quick else WORKLOADS[name]
    chosen = chosen.beside(only) if only else chosen
    with waiting(output) as notify:
        found = [measure(chosen, repeats, instruction_set, data_dir, notify) for instruction_set in instruction_sets]
    for number, each in enumerate(found):
        output.result(("" if is_first and number == 0 else "\n") + benchmark.ratios(each))
    for each in found:
        output.detail("\n" + benchmark.times(each))
    return found
