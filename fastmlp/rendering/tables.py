"""Tables of plain text, at most 80 columns wide for the data sets that fastmlp knows. No colours: a table goes into files, too."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastmlp.quantities import MISSING, bare_percent, loss, percent, r2
from fastmlp.rendering.output import one_line
from fastmlp.settings import METRICS, known

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastmlp.inspect.gradient_check import Check, Combination
    from fastmlp.preprocessing.kinds import Description
    from fastmlp.storage.runs import RunSummary
    from fastmlp.training.history import Epoch
    from fastmlp.training.trainer import Trainer

IN_EVERY_ROW = ("loss", "accuracy")  # of epochs; another metric, and only that, has a column of its own
SHADES = " .:-=+*#%@"  # of a picture, from dark to bright


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Return rows under headings; the columns whose numbers are in `left` begin at the left, the others end at the right.

    Names may come from anybody: what could steer a terminal or break a line is escaped.
    """
    cells = [[one_line(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = []
    for row in cells:
        padded = (row[column].ljust(width) if column in left else row[column].rjust(width) for column, width in enumerate(widths))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def epoch_heading(judged_by: str = "loss", has_accuracy: bool = True) -> str:
    """Return the line above the rows of epochs: with accuracies where there are some, and another metric that judges them."""
    return "  ".join(_epoch_columns(judged_by, has_accuracy))


def epoch_row(epoch: "Epoch", judged_by: str = "loss", has_accuracy: bool = True) -> str:
    """Return one epoch as a row under `epoch_heading`. Rows are printed one by one, so their widths are fixed."""
    in_training, held_out = ([percent(each)] * has_accuracy for each in (epoch.train_accuracy, epoch.validation_accuracy))
    cells = [str(epoch.epoch), loss(epoch.train_loss), *in_training, loss(epoch.validation_loss), *held_out]
    cells += [] if judged_by in IN_EVERY_ROW else [metric(judged_by, epoch.validation_metric)]
    cells += [f"{epoch.seconds:.2f}", f"{epoch.samples_per_second:,.0f}"]
    return "  ".join(cell.rjust(len(heading)) for cell, heading in zip(cells, _epoch_columns(judged_by, has_accuracy), strict=True))


def _epoch_columns(judged_by: str, has_accuracy: bool) -> list[str]:
    accuracy = ["accuracy"] * has_accuracy
    other = [] if judged_by in IN_EVERY_ROW else [f"{METRICS[judged_by].label:>8}"]
    return ["epoch", "train loss", *accuracy, "validation loss", *accuracy, *other, "seconds", "samples/s"]


def metric(name: str, value: float | None) -> str:
    """Return the value of a metric by its name."""
    known = METRICS[name]
    return percent(value) if known.is_share else r2(value) if known.more_is_better else loss(value)


def ending(trainer: "Trainer") -> list[str]:
    """Return in a line each why a training ended before its last epoch, and which epoch's weights its network holds, if not the last's."""
    settings, best, lines = trainer.settings, trainer.best, []
    after = f"stopped after {counted(trainer.epoch, 'epoch')}"
    judged = METRICS[settings.metric].label
    if trainer.stopped == "patience":
        lines.append(f"{after}: no better validation {judged} for {counted(known(settings.patience), 'epoch')}")
    elif trainer.stopped == "target_accuracy":
        lines.append(f"{after}: the validation accuracy has reached {percent(settings.target_accuracy)}")
    elif trainer.stopped == "time_budget":
        inside = f" and {trainer.row:,} rows" if trainer.row else ""
        lines.append(f"{after}{inside}: the time budget of {counted(known(settings.time_budget), 'second')} is used up")
    elif trainer.stopped == "converged":
        lines.append(f"{after}: converged, no further step makes the loss smaller")
    if settings.restore_best and best.epoch and (best.epoch, 0) != (trainer.epoch, trainer.row):
        lines.append(f"the network is that of epoch {best.epoch}, validation {judged} {metric(settings.metric, best.value)}")
    return lines


def counted(number: float, what: str) -> str:
    """Return how many of something there are, as in 1 epoch, 1,000,000 epochs, 0.5 seconds."""
    return f"{int(number):,} {what}{'' if number == 1 else 's'}" if number == int(number) else f"{number:,g} {what}s"


def confusion_matrix(counts: "npt.NDArray[Any]", class_names: Sequence[str]) -> str:
    """Return counts (C, C), one row per true class, one column per predicted class, and how much of each true class was found.

    Long names stand at the rows only, beside a number that stands for them at the columns.
    """
    short = all(len(name) <= 4 for name in class_names)
    labels = class_names if short else [f"{number} {name}" for number, name in enumerate(class_names)]
    columns = class_names if short else [str(number) for number in range(len(class_names))]
    rows = []
    for number, row in enumerate(counts.tolist()):
        found = bare_percent(row[number] / sum(row), 1) if any(row) else MISSING
        rows.append([labels[number], *(str(count) if count else "." for count in row), found])
    return "true class in rows, predicted class in columns, % of the row found\n\n" + table(["", *columns, "%"], rows)


def predictions(names: Sequence[str], chosen: Sequence[int], probabilities: Sequence[float]) -> str:
    """Return one row per sample: its number, its class, how probable that is."""
    found = enumerate(zip(chosen, probabilities, strict=True))
    rows = ([str(row), names[number], percent(probability)] for row, (number, probability) in found)
    return table(["row", "class", "probability"], rows, left=(1,))


def ranking(names: Sequence[str], probabilities: Sequence[float], most: int = 3) -> str:
    """Return the most probable classes of one sample."""
    order = sorted(range(len(names)), key=lambda number: -probabilities[number])[:most]
    return table(["class", "probability"], ([names[number], percent(probabilities[number])] for number in order))


def picture(levels: "npt.NDArray[Any]") -> str:
    """Return a picture (height, width) of bytes as text, two characters for each pixel: the brighter, the denser."""
    return "\n".join("".join(2 * SHADES[int(level) * len(SHADES) // 256] for level in row).rstrip() for row in levels)


def numbered_rows(headings: Sequence[str], values: Iterable[Sequence[float]], show: Callable[[float], str]) -> str:
    """Return rows of values, numbered from 0."""
    return table(["row", *headings], ([str(row), *map(show, found)] for row, found in enumerate(values)), left=())


def gradient_checks(checks: "Iterable[Check]") -> str:
    """Return one row per comparison of a gradient; a wrong one says where to look."""
    rows = ([check.what, f"{check.error:.1e}", "" if check.passed else f"WRONG: {check.where}"] for check in checks)
    return table(["gradient", "error", ""], rows, left=(0, 2))


def combinations(checks: "Iterable[Combination]") -> str:
    """Return one row per activation, output, loss and normalisation: the array in which the gradient is worst, and by how much."""
    rows = (
        [
            check.activation,
            check.output,
            check.loss,
            check.normalization,
            check.where,
            f"{check.error:.1e}",
            "" if check.passed else "WRONG",
        ]
        for check in checks
    )
    return table(["activation", "output", "loss", "normalised", "worst in", "error", ""], rows, left=(0, 1, 2, 3, 4))


def runs(found: "Iterable[RunSummary]") -> str:
    """Return one row per run. The name, which tells when it began and on what, comes last: it is the longest, and what one copies."""
    rows = ([run.outcome, _trained(run), _score_of(run), run.name] for run in found)
    return table(["outcome", "trained", "score", "run"], rows, left=(0, 3))


def _trained(run: "RunSummary") -> str:
    """Return how much was trained: epochs of a training, models of an experiment."""
    number, what = (run.epochs, "epoch") if run.models is None else (run.models, "model")
    return MISSING if number is None else f"{number} {what}{'' if number == 1 else 's'}"


def _score_of(run: "RunSummary") -> str:
    """Return what a run reached on the test rows, else in brackets on held-out rows; a metric that is no accuracy with its name."""
    value = run.validation_metric if run.test_metric is None else run.test_metric
    name = run.metric or "accuracy"
    shown = percent(value) if name == "accuracy" else MISSING if value is None else f"{METRICS[name].label} {metric(name, value)}"
    return f"({shown})" if run.test_metric is None and value is not None else shown


def columns(found: "Iterable[Description]") -> str:
    """Return one row per column of a table: what it is taken for, and what is in it; why, where that may surprise."""
    rows = (
        [
            each.name,
            each.kind,
            f"{each.missing:,}" if each.missing else "",
            f"{each.distinct:,}",
            each.why or each.values,
        ]
        for each in found
    )
    return table(["column", "kind", "missing", "different", "values"], rows, left=(0, 1, 4))


def scores(scores: Mapping[str, float | None], chosen: str = "loss") -> str:
    """Return metrics, the chosen one first: of classes accuracy and others, of numbers R² and errors in the units of y; the loss last."""
    names = [name for name in METRICS if name in scores and name != "loss" and (name != "accuracy" or scores[name] is not None)]
    names = sorted([*names, "loss"], key=lambda name: name != chosen or chosen == "loss")
    return ", ".join(f"{METRICS[name].label} {metric(name, scores[name])}" for name in names)


def scores_by_target(found: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return one row of metrics per target."""
    names = [name for name in METRICS if any(name in each for each in found.values())]
    rows = ([target, *(metric(name, each[name]) for name in names)] for target, each in found.items())
    return table(["target", *(METRICS[name].label for name in names)], rows)


def rate(value: float) -> str:
    """Return a learning rate with two digits."""
    return f"{value:.2g}"


def number(value: float) -> str:
    """Return a number with six digits."""
    return f"{value:.6g}"
