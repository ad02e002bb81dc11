"""Whether what was measured is what a report claims: one claim per row, and a figure's data beside it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from fastmlp.search.ledger import Record
from fastmlp.search.repeat import SCORES, summarise_epochs
from fastmlp.search.statistics import Summary, next_run_margin, summarise
from fastmlp.search.task import DONE

YES, NO, HIGHER = "yes", "no", "higher"

HOW_COMPARED = (
    "A number of the report comes from one run. It is called the same if one more run of ours could give it: if it lies within "
    "t s sqrt(1 + 1/n) of our mean (95 %, n runs, standard deviation s), after rounding to its digits."
)


class Row(NamedTuple):
    """One claim: what the report says, what was measured (None: nothing, because every model diverged), with which settings."""

    id: str
    experiment: str
    report_says: str
    quantity: str  # what was measured: "validation accuracy", "training loss", ...; accuracies are parts of one
    measured: Summary | None
    settings: dict[str, Any]
    same: str  # YES, NO, or HIGHER: better than the report
    note: str = ""


class Findings(NamedTuple):
    """What one experiment gave: rows of the table, and the data of its figures by name."""

    rows: list[Row]
    figures: dict[str, dict[str, Any]]


def same_number(measured: Summary | None, claim: float, digits: int) -> str:
    """Return whether a number of the report, given to `digits` decimals, could be one more of our runs; see HOW_COMPARED."""
    if measured is None:
        return NO
    margin = 0.5 * 10.0**-digits + (0.0 if measured.std is None else next_run_margin(measured.std, measured.n))
    if abs(measured.mean - claim) <= margin:
        return YES
    return HIGHER if measured.mean > claim else NO


def last(records: Sequence[Record], score: str, epoch: int = -1) -> Summary | None:
    """Return a score ("validation_accuracy", ...) after an epoch, over the models that did not diverge."""
    return summarise([record["history"][score][epoch] for record in records if record["outcome"] == DONE])


def on_test(records: Sequence[Record], score: str = "accuracy") -> Summary | None:
    """Return a score on the test rows, over the models that were measured there."""
    return summarise([record["test"][score] for record in records if record["test"] is not None])


def diverged(records: Sequence[Record]) -> str:
    """Return how many models diverged, in words; "" where none did."""
    count = sum(record["outcome"] != DONE for record in records)
    return f"{count} of {len(records)} runs diverged" if count else ""


def curve(name: str, records: Sequence[Record]) -> dict[str, Any]:
    """Return a curve for a figure: each score epoch by epoch, as summaries over the runs."""
    epochs = summarise_epochs(records)
    scores = {score: [getattr(one, score) for one in epochs] for score in SCORES}
    return {"name": name, "runs": len(records), "epoch": [one.epoch for one in epochs], **scores}
