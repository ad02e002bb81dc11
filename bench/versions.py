"""Compare the speed of two versions of fastmlp: their source folders, in turns, on the same problems.

    python bench/versions.py OLD NEW [--only A --only F] [--pairs 15] [--threads 2] [--json FILE]

OLD and NEW: folders with a checkout each, as `git worktree add` makes them.
A pair is a process of the old version and one of the new, alive together and timed in turns; the next pair is two new processes, because
where an array comes to lie in memory makes more of a difference than noise does. The ratio old/new, above 1 where the new version is
faster, is given as the median of all pairs with the order statistics around it that hold the true median in at least 95 % of cases. Exit 1
where that interval lies below the bound.
"""

import argparse
import contextlib
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.benchmark.problem import make_problem
from fastmlp.benchmark.processes import Process
from fastmlp.benchmark.scaling import OURS
from fastmlp.benchmark.workloads import WORKLOADS

CONFIDENCE = 0.95
BOUND = 0.95
PAIRS = 15
TURNS = 3  # of each version in a pair
ONLY = ("A", "A'", "C", "E", "F", "G", "H", "K", "L")
TURN_SECONDS = 0.3


def interval_of_median(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the closest pair of order statistics that holds the median with this confidence (sign test)."""
    ordered, n = sorted(values), len(values)
    outside, rank = 0.0, 0
    while rank < n // 2 and 2 * (outside + math.comb(n, rank) / 2**n) <= 1 - confidence:
        outside += math.comb(n, rank) / 2**n
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[n - 1 - rank]


def answer_of(version: Process, do: str, seconds: float | None = None) -> dict[str, Any]:
    """Return what a version answers; end the program where it cannot."""
    answer = version.ask(do, "auto", seconds=seconds)
    if "fault" in answer:
        raise SystemExit(f"versions: {answer['fault']}")
    return answer


def compare(name: str, old: Path, new: Path, pairs: int, threads: int, folder: Path) -> dict[str, Any]:
    """Return what one workload gave: the ratios of all pairs and the best seconds of both versions."""
    sources = (old.resolve(), new.resolve())
    folders = [folder / f"{name}-{version}" for version in ("old", "new")]
    caches = [folder / f"cache-{version}" for version in ("old", "new")]  # kept from workload to workload
    problem = make_problem(WORKLOADS[name])
    for each in folders:
        problem.write(each)
    ratios, best, difference = [], [math.inf, math.inf], 0.0
    for pair in range(pairs):
        with contextlib.ExitStack() as stack:
            versions = [
                stack.enter_context(Process(OURS, threads, own, cache=cache, source=source))
                for own, cache, source in zip(folders, caches, sources, strict=True)
            ]
            answers = [np.load(own / answer_of(version, "first")["answer"]) for own, version in zip(folders, versions, strict=True)]
            difference = max(difference, float(np.abs(answers[0] - answers[1]).max() / max(np.abs(answers[0]).max(), 1e-30)))
            seconds = [math.inf, math.inf]
            for turn in range(TURNS):
                for i in (0, 1) if (pair + turn) % 2 == 0 else (1, 0):
                    seconds[i] = min(seconds[i], *answer_of(versions[i], "turn", TURN_SECONDS)["seconds"])
        best = [min(both) for both in zip(best, seconds, strict=True)]
        ratios.append(seconds[0] / seconds[1])
    low, high = interval_of_median(ratios)
    return {
        "workload": name, "threads": threads, "pairs": pairs, "old_seconds": best[0], "new_seconds": best[1],
        "ratio": float(np.median(ratios)), "low": low, "high": high, "difference": difference,
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Compare and print one line per workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--only", action="append", choices=list(WORKLOADS), help=f"this workload; by default {', '.join(ONLY)}")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--threads", type=int, default=machine.usable_cores())
    parser.add_argument("--bound", type=float, default=BOUND, help="the ratio old/new that the interval has to reach")
    parser.add_argument("--json", type=Path, help="write the results into this file too")
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only or ONLY:
            row = compare(name, options.old, options.new, options.pairs, options.threads, Path(folder))
            rows.append(row)
            times = f"{row['old_seconds']:.4g} s -> {row['new_seconds']:.4g} s"
            ratio = f"{row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            verdict = "" if row["high"] >= options.bound else f"   below {options.bound:g}"
            print(f"{name:3} {times:28} {ratio}  apart {row['difference']:.1e}{verdict}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["high"] < options.bound for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
