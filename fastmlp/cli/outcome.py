"""What is left of a training that a command made: where it is written, what its network reaches on the test rows, how that is told."""

import shlex
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import typer

from fastmlp.errors import ScoreMissed
from fastmlp.rendering import experiments, tables
from fastmlp.rendering.output import Output
from fastmlp.rendering.progress import Display

if TYPE_CHECKING:
    from fastmlp.cli.resume import ResumedRun
    from fastmlp.course.reproduce import Stage
    from fastmlp.data.dataset import Dataset
    from fastmlp.network import Network
    from fastmlp.search.task import Event
    from fastmlp.settings import TrainingSettings
    from fastmlp.storage.runs import RunFolder

Result = TypeVar("Result")

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


def earlier_destination(output: Output, earlier: "ResumedRun", out: Path | None) -> Destination:
    """Return where an earlier run that goes on is written: into its folder, unless another file is named now."""
    if out is None and earlier.facts.get("out") is not None:  # a run folder may come from anybody: what it names is not written
        before = shlex.quote(str(earlier.facts["out"]))
        output.note(f"the model goes into the run folder this time; to write it where it went before: --out {before}")
    return Destination(out or earlier.run.model_path, earlier.run)


def tell_changes(output: Output, changed: Mapping[str, Sequence[Any]]) -> None:
    """Say what is no longer what it was when a run was saved that goes on, and may change a bit of it: RunFolder.resume."""
    for name, (before, now) in changed.items():
        if name != "threads":
            output.note(f"warning: saved with {name} {before}, going on with {now}: the last bits may differ from those of an unbroken run")


class Finished(NamedTuple):
    """A network that is trained, kept in its file, and evaluated on the test rows."""

    to: Destination
    network: "Network"
    metric: str
    stopped: str | None
    best: dict[str, Any] | None  # the epoch whose weights it holds
    test: dict[str, Any]
    confusion: Any  # (C, C) of a table's classes, else None

    def tell(self, output: Output) -> None:
        """Say what the network reached on the test rows, the metric first, and where it is kept."""
        network = self.network
        if self.confusion is not None and network.n_outputs <= MOST_CLASSES:
            names = network.class_names or [str(number) for number in range(network.n_outputs)]
            output.detail(f"\n{tables.confusion_matrix(self.confusion, names)}\n")
        output.result(f"test {tables.scores(self.test, self.metric)}")
        output.result(f"model {self.to.model}")

    def check_accuracy(self, demanded: float | None) -> None:
        """Raise ScoreMissed where the test accuracy is below the one that was demanded."""
        if demanded is not None and not (self.test.get("accuracy") or 0.0) >= demanded:
            found = self.test.get("accuracy")
            raise ScoreMissed(f"expected a test accuracy of at least {demanded:g}, got {found}; the model is in {self.to.model}")

    def record(
        self, dataset: str, recipe: str | None, settings: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]], *, resumed: bool,
        seconds: Mapping[str, float], threads: int,
    ) -> dict[str, Any]:  # fmt: skip
        """Return what --json says of the training."""
        from fastmlp import __version__, machine

        return {
            "dataset": dataset,
            "recipe": recipe,
            "sizes": self.network.sizes,
            "settings": settings,
            "epochs": epochs,
            "stopped": self.stopped,
            "metric": self.metric,
            "best": self.best,
            "test": self.test,
            "resumed": resumed,
            "seconds": seconds,
            "threads": threads,
            "model": self.to.model,
            "run_folder": self.to.run.path if self.to.run is not None else None,
            "version": __version__,
            "machine": machine.describe(),
        }


def finish(
    to: Destination, network: "Network", data: "Dataset", settings: "TrainingSettings", *, is_table: bool, stopped: str | None = None,
    best: dict[str, Any] | None = None,
) -> Finished:  # fmt: skip
    """Write a trained network to its file, evaluate it on the test rows, of a table by all metrics, and note the end in the run folder."""
    network.save(to.model, settings)
    test = network.evaluate(data.x_test, data.y_test, metrics="all" if is_table else [settings.metric])
    confusion = network.confusion_matrix(data.x_test, data.y_test) if is_table and network.predicts_classes else None
    results = {"stopped": stopped, "metric": settings.metric, "test": test, "test_openings": data.test_openings, "best": best}
    to.finish("done", results)
    return Finished(to, network, settings.metric, stopped, best, test, confusion)


def follow(output: Output, display: Display, events: "Generator[Event | Stage, None, Result]") -> Result:
    """Run trainings of many models to their end and return what they return; meanwhile a bar moves, or a line tells of each one."""
    from fastmlp.search.task import BankProgress, Lost, Trained, followed

    def tell(event: "Event | Stage") -> None:
        if isinstance(event, BankProgress):
            display.models(event)
            return
        if isinstance(event, Trained) and output.shows_progress:  # the bar has moved
            return
        display.clear()
        if isinstance(event, Lost):
            output.note(experiments.lost(event))
        else:
            output.note(experiments.trained(event) if isinstance(event, Trained) else experiments.stage(event))

    found = followed(events, tell)
    display.clear()
    return found


def check_has_accuracy(demanded: float | None, *, are_numbers: bool) -> None:
    """Raise typer.BadParameter where an accuracy is demanded of predicted numbers."""
    if demanded is not None and are_numbers:
        raise typer.BadParameter("expected none for a target of numbers, which have no accuracy, got one", param_hint="--require-accuracy")
