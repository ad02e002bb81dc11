"""The figures of a page, drawn into a folder: what a network does, and what a reproduction found."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmlp.errors import DataError
from fastmlp.rendering import plots
from fastmlp.rendering.plots import Plot, Series
from fastmlp.rendering.reports.words import LOSSES, count_of

if TYPE_CHECKING:
    from fastmlp.inspect.insight import Examples, Insight
    from fastmlp.storage.reading import RunRecord


def insight_plots(insight: "Insight", folder: Path) -> list[Plot]:
    """Return the figures that show what a network does: which those are depends on its data."""
    drawn = []
    names, rows = insight.class_names, insight.rows
    if insight.boundary is not None:
        edge = insight.boundary
        drawn.append(plots.decision_boundary(edge.x, edge.y, edge.first, edge.second, edge.probability, names, folder, truth=edge.truth))
    if insight.confusion is not None:
        drawn.append(plots.confusion_matrix(insight.confusion, names, folder, rows=rows))
    if insight.surest is not None and insight.surest.numbers:
        caption = f"Among the {rows}: the mistakes that the network was surest of. True class → predicted class, and its probability."
        drawn.append(_example_plot(insight.surest, names, folder, caption, "mistakes", "Most confident mistakes"))
    if insight.worst is not None and insight.worst.numbers:
        caption = f"Among the {rows} of each class: the one whose true class the network found least probable."
        drawn.append(_example_plot(insight.worst, names, folder, caption, "worst", "Worst mistake of each class"))
    if insight.weight is not None and insight.image_shape is not None:
        drawn.append(plots.first_layer_weights(insight.weight, insight.image_shape, folder))
    drawn.append(plots.class_distribution(insight.class_counts, names, folder))
    return drawn


def _example_plot(examples: "Examples", names: Sequence[str], folder: Path, caption: str, name: str, title: str) -> Plot:
    return plots.mistakes(
        examples.images, examples.numbers, examples.truth, examples.predicted, examples.probability, names, folder,
        caption=caption, name=name, title=title,
    )  # fmt: skip


def reported_figure(name: str, key: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    """Return the figures drawn from one entry of a reproduction's result: its kind decides how."""
    title = f"Figure {key}: {figure.get('title') or 'no title'}"
    try:
        return _FIGURES[figure["kind"]](name, title, figure, folder)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"result.json, figure {key!r}: expected the data of a figure, found something else: {error!r}") from error


def _classes_figure(name: str, title: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    return [plots.class_distribution({"training": figure["counts"]}, figure["class_names"], folder, name=name, title=title)]


def _boundary_figure(name: str, title: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    import numpy as np

    from fastmlp.inspect.insight import ellipse

    first, second = np.asarray(figure["x1"], np.float64), np.asarray(figure["x2"], np.float64)
    points = np.asarray(figure["points"], np.float64)
    truth = ellipse(np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)).reshape(len(second), len(first))
    return [
        plots.decision_boundary(points[:, :2], points[:, 2].astype(int), first, second, np.asarray(figure["probability"], np.float64),
                                ("inside", "outside"), folder, truth=truth, name=name, title=title)
    ]  # fmt: skip


def _curves_figure(name: str, title: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    series = [_series(each) for each in figure["series"]]
    if "score" in figure:
        loss_name = LOSSES["cross_entropy"]
        return [plots.compared_curves(series, folder, score=figure["score"], name=name, title=title, loss=loss_name)]
    return _band_figure(name, title, figure, folder)


def _band_figure(name: str, title: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    """Draw the first series in full, then all of them compared by their validation accuracy."""
    series = [_series(each) for each in figure["series"]]
    first = f"{title} ({series[0].name})" if len(series) > 1 else title
    drawn = [plots.learning_curves(series[0], folder, name=name, title=first, loss=LOSSES["cross_entropy"])]
    if len(series) > 1:
        drawn.append(plots.compared_curves(series, folder, name=f"{name}-compared", title=f"{title}, compared"))
    return drawn


def _sweep_figure(name: str, title: str, figure: Mapping[str, Any], folder: Path) -> list[Plot]:
    groups = {str(each["name"]): _band(each["validation_accuracy"], 100.0) for each in figure["series"]}
    return [plots.compared_sweeps(str(figure["setting"]), figure["values"], groups, folder, name=name, title=title)]


_FIGURES = {
    "class_distribution": _classes_figure,
    "decision_boundary": _boundary_figure,
    "curves": _curves_figure,
    "band": _band_figure,
    "sweep": _sweep_figure,
}


def _series(record: Mapping[str, Any]) -> Series:
    return Series(str(record["name"]), int(record["runs"]), {score: _band(record[score]) for score in plots.SCORES if score in record})


def _band(summaries: Sequence[Mapping[str, Any] | None], scale: float = 1.0) -> plots.Band:
    """Return summaries (mean, std, lowest, highest), None where there is none, as arrays."""
    import numpy as np

    def part(name: str) -> Any:
        return np.array([math.nan if one is None or one.get(name) is None else scale * float(one[name]) for one in summaries])

    return plots.Band(*(part(name) for name in plots.Band._fields))


def time_of_experiments(run: "RunRecord", folder: Path) -> list[Plot]:
    """Return a figure of the time that each experiment of a reproduction took; nothing where no model is recorded."""
    times = {name: sum(model.seconds for model in models) for name, models in run.experiments.items() if models}
    if not times:
        return []
    labels = [f"{name}: {count_of(len(run.experiments[name]), 'model')}" for name in times]
    what = "seconds of one core, all models together"
    return [plots.timing(labels, [[value] for value in times.values()], folder, what=what, name="time", title="Time per experiment")]
