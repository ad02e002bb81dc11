"""Write the tables of recorded results into Markdown files: python bench/make_tables.py [--check] FILE...

A table stands between two comments, and is written anew from bench/results:

    <!-- bench:peers -->                one workload a row: our time, and how many times as long the others take
    <!-- bench:peers avx2 -->           the same where nobody may use AVX-512
    <!-- bench:targets -->              the same ratios beside what we aim for
    <!-- bench:mnist-epoch -->          a ladder, by the name of its scene: 2-3-2, layer, mnist-step, mnist-epoch
    <!-- bench:scaling width -->        the cost along an axis: batch, width, depth, rows, threads
    <!-- bench:startup -->              how long it takes until something happens
    <!-- bench:costs from FILE -->      what settings cost: an epoch with them, as a multiple of one without
    <!-- bench:recipes from FILE -->    the recipes of fastmlp train --recipe: test accuracy over seeds, and the time of a training
    <!-- bench:speedrun from FILE -->   how soon an accuracy is reached: a fastmlp speedrun --json
    <!-- bench:reproduction from FILE --> the claims of the report beside what fastmlp reproduce measured
    <!-- bench:rates from FILE -->      scores on rows held out at the learning rates that were tried
    <!-- bench:by-name from FILE -->    what each optimizer reached on test rows by its name alone
    <!-- bench:scores from FILE -->     the presets of tables beside other libraries, from the lines of a .jsonl: score and seconds to fit
    <!-- bench:optimizer-defaults -->, <!-- bench:kind-defaults -->  the defaults in fastmlp/settings/fields.py
    <!-- /bench -->

Where there are results of several machines, the comment names the file: <!-- bench:peers from xeon -->.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastmlp.benchmark.implementations import IMPLEMENTATIONS
from fastmlp.benchmark.workloads import WORKLOADS
from fastmlp.course.claims import Row
from fastmlp.quantities import MISSING, PERCENT, amount, bare_percent, percent
from fastmlp.rendering.benchmark import duration
from fastmlp.rendering.experiments import measured
from fastmlp.rendering.ladder import share, times
from fastmlp.search.statistics import Summary, summarise
from fastmlp.settings import KIND_DEFAULTS, OPTIMIZER_DEFAULTS, as_text, defaults_of

RESULTS = Path(__file__).with_name("results")
BLOCK = re.compile(r"(?P<begin><!-- bench:(?P<table>[\w-]+)(?: (?!from )(?P<what>[\w-]+))?(?: from (?P<machine>[\w.-]+))? -->\n).*?(?P<end><!-- /bench -->)", re.DOTALL)  # fmt: skip  # noqa: E501
# The columns of the table of peers: heading, implementation, variants (none: the fastest).
PEERS = (
    ("JAX", "jax", ()),
    ("PyTorch, eager", "torch", ("eager",)),
    ("PyTorch, best", "torch", ()),
    ("scikit-learn", "sklearn", ()),
    ("NumPy", "numpy", ()),
)

Record = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Rewrite the files named; with --check only say which of them would change, and return 1 if one would."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a table is not what it should be")
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    stale = []
    for path in options.files:
        text = path.read_text(encoding="utf-8")
        made = with_tables(text, RESULTS)
        if made != text:
            stale.append(path)
            if not options.check:
                path.write_text(made, encoding="utf-8")
    sys.stdout.writelines(f"{path}: {'has old tables' if options.check else 'written'}\n" for path in stale)
    return 1 if stale and options.check else 0


def with_tables(text: str, results: Path) -> str:
    """Return a text with every table made anew from the results of a folder. Raises ValueError where one cannot be made."""

    def made(block: re.Match[str]) -> str:
        if block["table"] == "scores":
            lines = (results / f"{block['machine']}.jsonl").read_text(encoding="utf-8").splitlines()
            return f"{block['begin']}{scores([json.loads(line) for line in lines])}\n{block['end']}"
        of_settings = OF_SETTINGS.get(block["table"])
        shown = of_settings() if of_settings else table(load(results, block["machine"]), block["table"], block["what"])
        return f"{block['begin']}{shown}\n{block['end']}"

    return BLOCK.sub(made, text)


def load(results: Path, machine: str | None) -> Record:
    """Return the results of a machine, by the name of its file; the only ones where none is named."""
    paths = sorted(results.glob("*.json")) if machine is None else [results / f"{machine}.json"]
    if len(paths) != 1 or not paths[0].exists():
        known = ", ".join(path.stem for path in sorted(results.glob("*.json"))) or "none"
        raise ValueError(
            f"{results}: expected the results of {machine or 'one machine'}, found {known}; name one: <!-- bench:… from NAME -->"
        )
    record: Record = json.loads(paths[0].read_text(encoding="utf-8"))
    if record.get("quick"):
        raise ValueError(f"{paths[0]}: expected results of a full run, got those of a quick one; record them without --quick")
    return record


def table(record: Record, name: str, what: str | None) -> str:
    """Return one table as Markdown."""
    if name == "peers":
        return peers(record, what or "native")
    if name == "targets":
        return targets(record, what or "native")
    if name == "scaling":
        return scaling(entry(record, "scaling", "axis", what))
    if name == "startup":
        starts = record.get("startup")
        if not starts:
            raise ValueError("expected results of fastmlp bench startup, found none; record them with --save")
        return markdown(["from start to end", "time"], ([start["what"], start["fault"] or duration(start["median"])] for start in starts))
    if name == "reproduction":
        return reproduction(record)
    if name == "recipes":
        return recipes(record)
    if name == "costs":
        return costs(record)
    if name == "speedrun":
        return speedrun(record)
    if name == "rates":
        return rates(record)
    if name == "by-name":
        return by_name(record)
    return ladder(entry(record, "ladders", "scene", name))


def entry(record: Record, section: str, key: str, value: str | None) -> Record:
    """Return the entry of a section whose `key` has a value."""
    for found in record.get(section) or ():
        if found[key] == value:
            chosen: Record = found
            return chosen
    known = ", ".join(str(found[key]) for found in record.get(section) or ()) or "none"
    raise ValueError(f"expected {section} of {value}, found {known}; record them with fastmlp bench --save")


def ladder(found: Record) -> str:
    """Return the rungs of one scene: times, operations a second, speed-ups."""
    operations = dict.fromkeys(row["operation"] for row in found["rows"])
    headings = [
        *(["operation"] if len(operations) > 1 else []),
        "",
        "threads",
        f"time per {found['unit']}",
        "GFLOP/s",
        "of peak",
        "× lists",
    ]
    rows = []
    for row in found["rows"]:
        if row["median"] is None or row["fault"]:
            continue
        mark, star = ("≈ " if row["extrapolated"] else ""), (" *" if row["skips_zeros"] else "")
        cells = [row["title"], str(row["threads"]), mark + duration(row["median"])]
        cells += [
            f"{row['gflops']:.3g}{star}",
            share(row["share_of_peak"]),
            times(row["speed_up"]),
        ]
        rows.append([*([row["operation"]] if len(operations) > 1 else []), *cells])
    notes = []
    if any(row["extrapolated"] and row["median"] for row in found["rows"]):
        counts = sorted({row["rows"] for row in found["rows"] if row["extrapolated"] and row["median"]})
        notes.append(f"≈ scaled up to {found['unit_rows']:,} rows from {' or '.join(f'{count:,}' for count in counts)}.")
    if any(row["skips_zeros"] and row["median"] for row in found["rows"]):
        notes.append("\\* Counted as if nothing had been skipped.")
    one, every = (rate / 1e9 for rate in found["peaks"]["flops"])
    notes.append(f"Peak measured in the same run: {one:.0f} GFLOP/s on one core, {every:.0f} on {found['peaks']['threads']} threads.")
    return markdown(headings, rows) + "\n\n" + " ".join(notes)


def peers(record: Record, instruction_set: str) -> str:
    """Return one row per workload: our time, and how many times as long the others take, each by its fastest configuration."""
    rows = []
    for each in _workloads(record, instruction_set):
        ours = _fastest(each, "fastmlp", ("auto",), record["machine"]["cores"])
        if ours is None:
            raise ValueError(f"expected a time of fastmlp on workload {each['name']}, found none; record it again")
        others = (_fastest(each, peer, variants, None) for _, peer, variants in PEERS)
        rows.append(
            [
                f"{each['name']}: {each['title']}",
                duration(ours),
                *(MISSING if other is None else f"{other / ours:.1f}×" for other in others),
            ]
        )
    return markdown(["one epoch, or one call", "fastmlp", *(heading for heading, _, _ in PEERS)], rows)


def targets(record: Record, instruction_set: str) -> str:
    """Return one row per ratio that has a target: ours with zeros skipped, without, at the peak, and by how much it falls short."""
    rows = []
    for each in _workloads(record, instruction_set):
        title = each["name"]
        for ratio in each["ratios"]:
            if ratio["target"] is None or ratio["ratio"] is None:
                continue
            numbers = (ratio["ratio"], ratio["ratio_of_bests"], ratio["ratio_without_zero_skipping"], ratio.get("ratio_at_peak"))
            missed = ratio["missed_by"]
            rows.append(
                [
                    title,
                    f"{ratio['ours']} : {ratio['theirs']}",
                    *(MISSING if number is None else f"{number:.2f}×" for number in numbers),
                    f"{ratio['target']:g}×",
                    "reached" if not missed else f"{100 * missed:.0f} % short",
                ]
            )
            title = ""
        if each["limit"] and each["limit"]["seconds"]:
            limit = each["limit"]
            missed = "reached" if not limit["missed_by"] else f"{100 * limit['missed_by']:.0f} % over"
            rows.append([title, f"{limit['text']}: {duration(limit['seconds'])}", *[MISSING] * 5, missed])
    return markdown(["", "ours : theirs", "ratio", "of bests", "nothing skipped", "at the peak", "aim", ""], rows)


def _workloads(record: Record, instruction_set: str) -> list[Record]:
    order = list(WORKLOADS)
    found = [each for each in record.get("workloads") or () if each["instruction_set"] == instruction_set]
    if not found:
        raise ValueError("expected results of fastmlp bench peers, found none; record them with --save")
    return sorted(found, key=lambda each: order.index(each["name"]))


def _fastest(workload: Record, peer: str, variants: tuple[str, ...], threads: int | None) -> float | None:
    times = [
        float(each["median"])
        for each in workload["times"]
        if each["peer"] == peer
        and each["median"]
        and not each["fault"]
        and (not variants or each["variant"] in variants)
        and (threads is None or each["threads"] == threads)
    ]
    return min(times, default=None)


def scaling(found: Record) -> str:
    """Return the cost along one axis, and the exponents of its growth."""
    names = list(dict.fromkeys(name for point in found["points"] for name in point["seconds"]))
    rows = []
    for point in found["points"]:
        ours, *others = (point["seconds"].get(name) for name in names)
        rows.append([f"{point['size']:,}", duration(ours), *(duration(other) + _multiple(other, ours) for other in others)])
    if found["exponents"]:
        rows.append(
            ["grows to the power of", *(f"{found['exponents'][name]:.2f}" if name in found["exponents"] else MISSING for name in names)]
        )
    titles = (IMPLEMENTATIONS[name].title for name in names)
    return markdown([f"{found['axis']}, time per {found['points'][0]['unit']}", *titles], rows)


def _multiple(other: float | None, ours: float | None) -> str:
    return "" if other is None or ours is None else f" ({other / ours:.1f}×)"


def reproduction(record: Record) -> str:
    """Return the claims of the report, from the result.json of a reproduction."""
    rows = []
    for row in record["rows"]:
        found = None if row["measured"] is None else Summary(**row["measured"])
        claim = Row(**{**row, "measured": found})
        rows.append([claim.id, claim.experiment, claim.report_says, measured(claim), claim.same])
    return markdown(["", "experiment", "the report says", "we measured, mean ± standard deviation", "the same?"], rows, right=False)


def recipes(record: Record) -> str:
    """Return one row per recipe, from the file of bench/recipes.py: mean and spread over its seeds on the test rows, and its least time."""
    rows = []
    for each in record["recipes"]:
        found = summarise([run["accuracy"] for run in each["runs"]])
        if found is None:
            raise ValueError(f"expected trainings of {each['dataset']}/{each['name']}, found none; record them with bench/recipes.py")
        accuracies = [amount(found.mean, found.std, PERCENT), f"{bare_percent(found.lowest)}–{percent(found.highest)}"]
        seconds = [run["seconds"] for run in each["runs"] if run["seconds"] is not None]  # none where the machine was not quiet
        least = duration(min(seconds)) if seconds else MISSING
        rows.append([f"`{each['dataset']}`", f"`{each['name']}`", each["summary"], *accuracies, least, str(found.n)])
    headings = ["data set", "recipe", "", "test accuracy", "lowest–highest", "least time", "seeds"]
    threads = sorted({run["threads"] for each in record["recipes"] for run in each["runs"] if "cpu" not in each})
    machine = f"On {' or '.join(map(str, threads))} threads of {record['machine']['cpu']}; fastmlp {record['version']}."
    elsewhere = [f" `{each['name']}` on {each['cpu']}, its time not measured." for each in record["recipes"] if "cpu" in each]
    return markdown(headings, rows) + "\n\n" + machine + "".join(elsewhere)


def speedrun(record: Record) -> str:
    """Return one row for fastmlp and each variant of a peer: seconds of training, test accuracy, the bound below its mean."""
    rows = []
    for each in (record["ours"], *record["peers"]):
        title = " ".join(filter(None, (IMPLEMENTATIONS[each["peer"]].title, each["variant"])))
        if not each["runs"]:
            rows.append([title, each["fault"] or MISSING, MISSING, MISSING, "0"])
            continue
        accuracy = Summary(**each["accuracy"])
        bound = percent(each["lower_bound"])
        rows.append([title, duration(each["median_seconds"]), amount(accuracy.mean, accuracy.std, PERCENT), bound, str(accuracy.n)])
    headings = ["", "median time", "test accuracy", "mean at least", "runs"]
    train = record["settings"]["train"]
    network = f"{'-'.join(map(str, record['sizes']))} ReLU, batches of {train['batch_size']}, {train['epochs']} epochs"
    about = f"{network}, on {record['ours']['threads']} threads of {record['machine']['cpu']}; fastmlp {record['version']}."
    return markdown(headings, rows) + "\n\n" + about


def costs(record: Record) -> str:
    """Return one row per setting, from the file of bench/costs.py: its epoch, and how many times that of what it stands beside."""
    least = {each["what"]: each["seconds"] for each in record["costs"]}
    rows = []
    for each in record["costs"]:
        what, seconds, beside = each["what"], each["seconds"], each["beside"]
        rows.append([what, duration(seconds), MISSING if what == beside else f"{seconds / least[beside]:.2f}×", beside])
    machine = f"On {record['machine']['cores']} cores of {record['machine']['cpu']}; fastmlp {record['version']}."
    return markdown(["with", "epoch", "", "of one with"], rows) + "\n\n" + machine


def rates(record: Record) -> str:
    """Return what each optimizer reached at the rates that were tried, on some of the data, per cent; a dash where it diverged."""
    columns = (
        ("MNIST, 784-300-10", "mnist 300", 2, 32, ""), ("784-30-10", "mnist 30", 2, 32, ""),
        ("784-1024-1024-10", "mnist 1024-1024", 2, 32, ""), ("Phoneme", "Phoneme 300", 30, 50, "glorot_uniform "),
        ("Magic", "Magic 300", 30, 50, "glorot_uniform "), ("Bike sharing", "Bike sharing 300", 200, 200, "glorot_uniform "),
        ("Wage", "Wage 300", 200, 200, "glorot_uniform "),
    )  # fmt: skip
    rows = []
    for optimizer in ("SGD", "RMSprop", "Adagrad", "Adam", "AdamW", "NAdam", "Lion"):
        cells = []
        for _, data, epoch, batch_size, start in columns:
            scores: dict[float, list[float | None]] = {}
            for key, found in record["runs"].items():
                begin = "accumulator 0.1 " if optimizer == "Adagrad" and data.startswith("mnist") else start  # as it is the default
                run = re.fullmatch(rf"{data} {optimizer} (\S+) batch {batch_size} {begin}epochs \d+ seed \d+", key)
                if run and str(epoch) in found:
                    scores.setdefault(float(run[1]), []).append(found[str(epoch)])
            cells.append(", ".join(f"{rate:g}: {_mean_percent(each)}" for rate, each in sorted(scores.items())) or MISSING)
        rows.append([f"`{optimizer.lower()}`", *cells])
    return markdown(["", *(f"{heading}, {epoch} epochs" for heading, _, epoch, _, _ in columns)], rows, right=False)


def by_name(record: Record) -> str:
    """Return what each optimizer reached on the test rows of MNIST with nothing but its name: per cent, mean over so many seeds."""
    networks = ("30", "300", "1024-1024")
    rows = []
    for optimizer, defaults in OPTIMIZER_DEFAULTS.items():
        iterations = defaults.get("epochs")  # of lbfgs alone
        cells = []
        for widths in networks:
            for epochs in ("2", "10"):
                asked = "by default" if iterations else epochs
                key = f"mnist {widths} {optimizer} by name epochs {asked} seed "
                scores = [next(iter(found.values())) for name, found in record["runs"].items() if name.startswith(key)]
                is_there = scores and not (iterations and epochs == "2")
                cells.append(f"{100 * sum(scores) / len(scores):.2f} ({len(scores)})" if is_there else MISSING)
        rows.append([f"`{optimizer}`" + (f", {iterations} iterations" if iterations else ""), *cells])
    return markdown(["", *(f"784-{widths}-10, {epochs} epochs" for widths in networks for epochs in ("2", "10"))], rows)


def _mean_percent(scores: Sequence[float | None]) -> str:
    """Return the mean of accuracies, or of R², per cent."""
    measured = [score for score in scores if score is not None]
    return f"{100 * sum(measured) / len(measured):.1f}" if len(measured) == len(scores) else MISSING


def optimizer_defaults() -> str:
    """Return what each optimizer does where nobody says otherwise; a dash where it does not use a setting."""
    names = ("momentum", "beta1", "beta2", "epsilon", "initial_accumulator_value", "weight_decay")
    rows = []
    for optimizer, defaults in OPTIMIZER_DEFAULTS.items():
        rates = [defaults_of(optimizer, kind).get("learning_rate", MISSING) for kind in KIND_DEFAULTS]
        rows.append([f"`{optimizer}`", *map(as_text, rates), *(_of_kinds(defaults.get(name, MISSING)) for name in names)])
    return markdown(["", *(f"`learning_rate`, {kind}" for kind in KIND_DEFAULTS), *(f"`{name}`" for name in names)], rows)


def _of_kinds(value: Any) -> str:
    """Return a default as text; one that depends on the kind of data with the kinds that have the same together."""
    if not isinstance(value, Mapping):
        return as_text(value)
    kinds = {one: [kind for kind in value if value[kind] == one] for one in value.values()}
    return "; ".join(f"{', '.join(of)} {as_text(one)}" for one, of in kinds.items())


def kind_defaults() -> str:
    """Return what follows from the kind of data."""
    names = ("optimizer", "epochs", "batch_size", "initializer")
    whole = [f"{optimizer}: {defaults['epochs']}" for optimizer, defaults in OPTIMIZER_DEFAULTS.items() if "epochs" in defaults]
    rows = [
        [kind, *(as_text(defaults[name]) if defaults[name] is not None else "by the activation" for name in names)]
        for kind, defaults in KIND_DEFAULTS.items()
    ]
    headings = [f"`epochs` ({', '.join(whole)})" if name == "epochs" else f"`{name}`" for name in names]
    return markdown(["", *headings], rows)


def scores(found: Sequence[Record]) -> str:
    """Return what each method reached on each table, mean over the seeds, and the median of its seconds to fit; the best stands out.

    Seconds are those of the processor where they were recorded, of all cores together: other work does not change them.
    """
    methods = list(dict.fromkeys(one["method"] for one in found))
    tables = dict.fromkeys(one["table"] for one in sorted(found, key=lambda one: one["rows"]))
    rows = []
    for name in tables:
        of_table = [one for one in found if one["table"] == name]
        by_method = {method: [one for one in of_table if one["method"] == method] for method in methods}
        means = {method: sum(one["score"] for one in runs) / len(runs) for method, runs in by_method.items() if runs}
        best = max(round(mean, 4) for mean in means.values())
        cells = []
        for method, runs in by_method.items():
            if not runs:
                cells.append(MISSING)
                continue
            score = f"{means[method]:.3f}" if runs[0]["is_regression"] else f"{100 * means[method]:.2f}"
            seconds = statistics.median(one.get("cpu", one["fit"]) for one in runs)
            cells.append(f"{f'**{score}**' if round(means[method], 4) == best else score}<br>{seconds:.{1 if seconds < 10 else 0}f} s")
        what = "R²" if of_table[0]["is_regression"] else "%"
        rows.append([f"{name}, {of_table[0]['rows']:,} × {of_table[0]['columns']}, {what}", *cells])
    return markdown(["", *methods], rows)


OF_SETTINGS = {"optimizer-defaults": optimizer_defaults, "kind-defaults": kind_defaults}


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], right: bool = True) -> str:
    """Return a table of Markdown; numbers stand at the right."""
    lines = [headings, ["---", *["--:" if right else "---"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
