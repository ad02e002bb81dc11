"""What is left of a training that a command made: where it is written, what its network reaches on the test rows, how that is told."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastmlp.errors import ScoreMissed
from fastmlp.rendering import tables
from fastmlp.rendering.output import Output

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.network import Network
    from fastmlp.storage.runs import RunFolder

RUNS = Path("runs")
MOST_CLASSES = 12  # that a matrix of them is shown after a training on a table


class Destination(NamedTuple):
    """Where a training is written: the model file, and the run folder unless none is wanted."""

    model: Path
    run: "RunFolder | None"

    def finish(self, outcome: str, results: Mapping[str, Any]) -> None:
        """Note in the run folder how the training ended."""
        if self.run is not None:
            self.run.finish(outcome, {"model": str(self.model), **results})

    def how_to_go_on(self) -> str:
        """Return what to type to go on after an interruption."""
        if self.run is None:
            return "without a run folder it cannot go on"
        out = "" if self.model == self.run.model_path else f" --out {shlex.quote(str(self.model))}"
        return f"go on with: fastmlp train --resume {shlex.quote(str(self.run.path))}{out}"


def open_destination(dataset: str, out: Path | None, run_folder: Path | None, no_run_folder: bool) -> Destination:
    """Make the run folder, a new one in runs/ unless another was asked for, and choose the model file; neither overwrites anything."""
    from fastmlp.storage.atomic import check_creatable, free_path
    from fastmlp.storage.runs import RunFolder, create_run

    if no_run_folder:
        model = out or free_path(f"{dataset}.safetensors")
        check_creatable(model)
        return Destination(model, None)
    run = create_run(RUNS, dataset) if run_folder is None else RunFolder.at(run_folder)
    return Destination(out or run.model_path, run)


def tested(network: "Network", data: "Dataset", metric: str, is_table: bool) -> tuple[dict[str, Any], Any]:
    """Return the scores on the test rows, of a table all metrics, and of a table's classes the confusion matrix, else None."""
    test: dict[str, Any] = network.evaluate(data.x_test, data.y_test, metrics="all" if is_table else [metric])
    if not (is_table and network.predicts_classes):
        return test, None
    return test, network.confusion_matrix(data.x_test, data.y_test)


def tell_test(output: Output, network: "Network", test: Mapping[str, Any], metric: str, confusion: Any, model: Path) -> None:
    """Say what a network reached on the test rows, the metric first, and where it is kept."""
    if confusion is not None and network.n_outputs <= MOST_CLASSES:
        output.detail(
            f"\n{tables.confusion_matrix(confusion, network.class_names or [str(number) for number in range(network.n_outputs)])}\n"
        )
    output.result(f"test {tables.scores(test, metric)}")
    output.result(f"model {model}")


def check_accuracy(demanded: float | None, test: Mapping[str, Any], model: Path) -> None:
    """Raise ScoreMissed where a test accuracy is below the one that was demanded."""
    if demanded is not None and not (test.get("accuracy") or 0.0) >= demanded:
        raise ScoreMissed(f"expected a test accuracy of at least {demanded:g}, got {test.get('accuracy')}; the model is in {model}")
