"""Make docs/quality.md from the log of `make quality`: what was tried how often for each row of the quality list, and what failed.

    python bench/quality.py LOG docs/quality.md [REMARK...]

Exits with 1 where something failed, or where a row that is claimed has no result.
"""

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import fastmlp
from fastmlp import machine

GROUPS = {
    "C": "Crash and resume",
    "P": "Bad data",
    "M": "Model files",
    "N": "Numbers",
    "T": "Threads, processes, odd machines",
    "U": "Users",
}

CLAIMS = {
    "C1": "killed by SIGKILL at random instants: the last checkpoint or the one before it is whole, the run resumes",
    "C2": "killed at the n-th write, fsync, rename or close of a save, every n: the old file loads, or the new one",
    "C3": "the order of calls in a save is write, fsync of the file, rename, fsync of the folder",
    "C4": "full disk, quota, I/O error, read-only file system, interrupted call: exit code 73 or 74, reason named, old file intact",
    "C5": "limit on the length of files: exit code 74, no temporary file left",
    "C6": "/dev/full, missing folder, path is a folder, dangling link: exit code 73 or 74",
    "C7": "newest checkpoint cut: the older one is used, with a warning; none left: exit code 65",
    "C8": "one bit flipped anywhere in a file: found",
    "C9": "stopped after an epoch or at any batch and resumed: the bits of the unbroken run",
    "C10": "resumed with another setting or other data: refused with the difference",
    "C11": "one Ctrl-C: ends after the batch, saved, exit code 130, resumes",
    "C12": "two Ctrl-C: ends now, files intact",
    "C13": "SIGTERM, SIGHUP: checkpoint saved, exit code 143 or 129",
    "C14": "output closed by its reader: no traceback",
    "C15": "stopped and continued by SIGSTOP and SIGCONT: the same bits",
    "C16": "limit on memory: exit code 71, need and limit named before anything is allocated",
    "C17": "runs of one name started at once: a folder each, nothing overwritten",
    "C18": "metrics cut within their last line: only that line is lost",
    "C19": "second trainer on a run folder: exit code 75; after the first is killed it is free at once",
    "P1": "malformed IDX files, plain and compressed: one line, exit code 65, less than 100 MB",
    "P2": "IDX files changed at random: an array that encodes to the same bytes, or a DataError, within 1 s and 256 MB",
    "P3": "gzip files cut at 200 places, damaged, joined, empty: a DataError",
    "P4": "gzip files of 10 MB that hold 10 GB, of 1 MB that hold 1 GB, with a wrong length: refused within 2 s and 100 MB",
    "P5": "mirrors that fail in 16 ways, with and without a good one: the good one helps, else advice and no file left",
    "P6": "8 processes fetch the same files at once: all get them whole",
    "P7": "a byte changed in a file of the cache: found, and fetched again",
    "P8": "no network: exit code 69 within 5 s with what to do; what needs no network works",
    "P9": "malformed tables as text, and tables changed at random: a DataError of one line, or a table",
    "P10": "malformed NPY files, and NPY files changed at random: a DataError or the right values",
    "P11": "malformed Parquet files, and Parquet files changed at random: a DataError of one line, or a table, never a signal",
    "P12": "pickles wherever a file is accepted: none is loaded",
    "P13": "names that lead elsewhere, of control characters, too long, that look like options: nothing written",
    "P14": "archives given as data: refused, nothing extracted",
    "P15": "IDX, NPY, CSV, Parquet and model files written and read again: the same bits",
    "M1": "malformed model files: one line, exit code 65",
    "M2": "model files changed at random and sealed again: a network that predicts numbers, or a ModelFileError",
    "M3": "sound files that describe no network: a ModelFileError of one line",
    "M4": "arrays of any layout, byte order and alignment: equal when read again",
    "M5": "mode of the file under three umasks; a link stays a link",
    "M6": "a file of every format that was ever written: loads, predictions within 1e-6",
    "M8": "patterns in the source that could run what is read from a file: none",
    "M9": "predicting with an untrusted model, system calls traced: no program started, no connection, no write",
    "N1": "gradients against central differences of the float64 oracle: 5 networks, every activation, 3 losses",
    "N2": "trainings of random sizes against the float64 oracle: within 1e-5",
    "N3": "NaN, infinities and huge numbers in data, weights and settings: refused, or stopped in the first epoch with the batch named",
    "N4": "same seed in new processes with 1 and 2 threads: the same bits",
    "N5": "30 seeds: 30 different networks, all finite",
    "N6": "parallel and serial kernels on random shapes: the same bits, but for the sign of a zero",
    "N7": "the kernels' tests with bounds checked, those of the textbook kernels without a compiler, too: all pass",
    "N8": "the smallest and the largest inputs: train to finite numbers, or one clear line",
    "N9": "random combinations of all settings against the float64 oracle: parameters, losses and rates within 1e-9",
    "N10": "random combinations of all settings on 1 to 7 shares, and through a checkpoint at any step: the same bits",
    "N11": "random trainings, predictions and gradients with an inaccessible page beside every array and part of the arena: no fault",
    "T1": "a forked child predicts, trains and calls kernels after its parent did: right, or an error in Python",
    "T2": "8 Python threads predict and train at once, every threading layer: no abort, equal results",
    "T3": "fork, spawn, forkserver, ProcessPoolExecutor, loky: right, within 60 s",
    "T4": "threads of a worker under joblib: no more than cores / workers",
    "T5": "files of the code cache cut, emptied, garbage, exchanged, unreadable, another user's: one warning, right result",
    "T6": "8 starts at once with an empty code cache: all right, nothing left but code",
    "T7": "no home, read-only package, cache path that leads nowhere, full disk: works without a cache, one warning",
    "T8": "one core by affinity, by cgroup, NUMBA_NUM_THREADS of 1 and 64: as many threads as allowed",
    "T9": "memory after many fits, epochs and predictions: less than 5 MB more",
    "U1": "--help and --version of every command: exit code 0, within 0.5 s, no compiler loaded",
    "U2": "wrong command, option or value: exit code 2 and a suggestion",
    "U3": "broken configuration files: exit code 78, the key named",
    "U4": "NO_COLOR, dumb terminal, no terminal, 20 columns, LANG=C: no escape code, nothing moves",
    "U5": "--json of every command: one object on standard output",
    "U6": "errors that no one foresaw: exit code 70, no local variables shown",
    "U7": "an extra that is missing: exit code 69, one line that names it",
    "U8": "the command line, system calls traced: no connection but for data that were asked for",
    "U10": "every check that scikit-learn has of an estimator, in float64 and float32: passed, but for two on weights of rows in float32",
}

LEFT_OUT = {
    "C14, U5 and U8 for `bench`, `speedrun`, `warmup`, `reproduce` and `report`": "they run for minutes, and have tests of their own",
    "M7": "there is no export to ONNX",
    "U9": "an audit of the packages used asks a service on the network",
    "D1 to D10": "there is no distributed training",
    "S1 to S7": "there is no server",
}


def of_mutants(record: Path) -> list[str]:
    """Return the lines about what became of changes of the program: see bench/mutants.py."""
    content = json.loads(record.read_text())
    mutants = content["mutants"]
    areas: dict[str, list[dict[str, object]]] = {}
    for mutant in mutants:
        areas.setdefault(mutant["area"], []).append(mutant)

    def row(name: str, of: list[dict[str, object]]) -> str:
        equivalent, mended = (sum(bool(mutant.get(kind)) for mutant in of) for kind in ("equivalent", "mended"))
        caught = sum(bool(mutant["caught"]) for mutant in of)
        return f"| {name} | {len(of)} | {equivalent} | {caught - mended} | {mended} | {len(of) - equivalent - caught} |"

    later = [mutant for mutant in mutants if "commit" in mutant]
    noticed = sum(bool(mutant["caught"]) and not mutant.get("mended") for mutant in later)
    counted = sum(not mutant.get("equivalent") for mutant in later)
    return [
        f"{len(mutants)} random changes of the program, one at a time: a comparison or an operation exchanged, a constant moved by one, a "
        "statement dropped, an argument left out. The tests of the nearest folder have to notice. Those that lived were read: some change "
        "nothing that can be seen, for each of the others a test was written, which was seen to fail with it.",
        "",
        "| area | tried | equivalent | noticed | noticed by a test written for it | not noticed |",
        "|---|---:|---:|---:|---:|---:|",
        *(row(name, of) for name, of in sorted(areas.items())),
        row("all", mutants),
        "",
        f"Drawn by seed {content['seed']} at commit {content['commit']}. The last {len(later)} were tried at "
        f"{', '.join(sorted({mutant['commit'] for mutant in later}))}, to which all but two could be carried over (two were drawn anew), "
        "when there were tests for the others that had lived, each with the tests that run its line and then their "
        f"neighbours, for 20 seconds of tests: {noticed} of the {counted} that are not equivalent were noticed by tests that "
        "were there. `bench/mutants.json` has each mutant with the test that noticed it, or why it is equivalent. To repeat it: "
        f"check out a commit and run `python bench/mutants.py --seed {content['seed']} --file mutants.json`, which takes hours; "
        "another seed draws others.",
    ]


def main(log: str, page: str, *remarks: str) -> int:
    """Write the page, with remarks below its first numbers; return 1 where a row failed or has no result."""
    tried, failures = dict.fromkeys(CLAIMS, 0), dict.fromkeys(CLAIMS, 0)
    for line in Path(log).read_text().splitlines():
        entry = json.loads(line)
        if entry["row"] not in CLAIMS:
            sys.exit(f"{log}: expected one of the rows {', '.join(CLAIMS)}, got {entry['row']}; add its claim to bench/quality.py")
        tried[entry["row"]] += entry["tried"]
        failures[entry["row"]] += entry["failures"]
    missing = [row for row in CLAIMS if not tried[row]]
    facts = machine.describe()
    lines = [
        "# Quality",
        "",
        "What is tried to break fastmlp, how often, and what broke. Made by `make quality`; `make long` tries the same, fewer times.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}: fastmlp {fastmlp.__version__}, Python {facts.python}, Numba {version('numba')}, "
        f"NumPy {version('numpy')}, {facts.system}; {facts.cpu}, {facts.cores} cores.",
        "",
        f"{sum(tried.values()):,} tried, {sum(failures.values()):,} failures.",
        *(line for remark in remarks for line in ("", remark)),
    ]
    for letter, title in GROUPS.items():
        lines += ["", f"## {title}", "", "| row | claim | tried | failures |", "|---|---|---:|---:|"]
        for row, claim in CLAIMS.items():
            if row.startswith(letter):
                lines.append(
                    f"| {row} | {claim} | {tried[row]:,} | {failures[row]:,} |" if tried[row] else f"| {row} | {claim} | no result | |"
                )
    lines += ["", "## Mutants", "", *of_mutants(Path(__file__).parent / "mutants.json")]
    lines += ["", "## Left out", "", *(f"- {row}: {reason}." for row, reason in LEFT_OUT.items()), ""]
    Path(page).write_text("\n".join(lines))
    return 1 if missing or any(failures.values()) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
