"""A speedrun -> text: who took how long, and what was reached."""

from fastmlp.benchmark.implementations import IMPLEMENTATIONS
from fastmlp.benchmark.speedrun import Contestant, Result
from fastmlp.quantities import MISSING, percent
from fastmlp.rendering.benchmark import duration
from fastmlp.rendering.tables import table

HEADINGS = ("", "seconds", "best", "test accuracy", "± std", "lower bound", "seeds", "")


def heading(result: Result) -> str:
    """Return in one line what was run."""
    train = result.settings["train"]
    sizes, threads = "-".join(map(str, result.sizes)), result.ours.threads
    return (
        f"{result.dataset}, target {result.target} %: {sizes}, {train['epochs']} epochs in batches of {train['batch_size']}, "
        f"{threads} thread{'s' if threads > 1 else ''}"
    )


def times(result: Result) -> str:
    """Return one row per contestant: the median of its seconds, the mean accuracy and the lower 95 % bound of that."""
    return table(HEADINGS, [_row(each) for each in (result.ours, *result.peers)], left=(0, len(HEADINGS) - 1))


def verdict(result: Result) -> str:
    """Return whether the target was reached, and by what it is judged."""
    found = result.ours.accuracy
    mean = MISSING if found is None else percent(found.mean, 3)
    runs = f"{len(result.ours.runs)} seed{'s' if len(result.ours.runs) > 1 else ''}"
    return f"{'reached' if result.reached else 'missed'}: mean test accuracy of {runs} {mean}, target {result.target} %"


def _row(each: Contestant) -> list[str]:
    name = f"{IMPLEMENTATIONS[each.peer].title} {each.variant}".strip()
    found = each.accuracy
    if found is None:
        return [name, *[MISSING] * 6, each.fault or ""]
    best = min(run.seconds for run in each.runs)
    return [
        name, duration(each.median_seconds), duration(best), percent(found.mean), percent(found.std), percent(each.lower_bound),
        str(found.n), each.fault or "",
    ]  # fmt: skip
