"""The commands by their names. The file of a command is loaded when the command is asked for: help and the others need not wait for it."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from typer.core import TyperGroup


class Entry(NamedTuple):
    """What there is to know of a command before it is loaded."""

    summary: str  # the first line of its docstring
    module: str = ""  # in fastmlp.cli; "" of a group of commands
    function: str = ""
    examples: str = "EXAMPLES"  # their name in the module
    settings: bool = False  # these are told by options.made
    several: bool = False
    table: str = ""  # the name in tables.py of what it takes of those flags


COMMANDS = {
    "train": Entry("Train a network on a data set and save it.", "train", "train", settings=True, table="NAMES"),
    "evaluate": Entry(
        "Show the metrics of a trained network: of classes with their confusion matrix, of numbers in the units of y.",
        "evaluate", "evaluate",
    ),
    "predict": Entry("Print the class of each row of a file, or of a picture.", "predict", "predict"),
    "check": Entry("Compare gradients with central differences in float64.", "check", "check"),
    "report": Entry("Write one HTML page about a run, with its figures beside it.", "report", "report"),
    "repeat": Entry(
        "Train with many seeds: mean, spread and extremes, epoch by epoch.", "repeat", "repeat", settings=True, table="IN_MEMORY"
    ),
    "sweep": Entry(
        "Compare settings by grid or random search: --learning-rate 0.01,0.1.",
        "sweep", "sweep", settings=True, several=True, table="IN_MEMORY",
    ),
    "cv": Entry("K-fold cross-validation: hold out each part of the training rows in turn.", "cv", "cv", settings=True, table="IN_MEMORY"),
    "lr-find": Entry(
        "Find a learning rate: one step with each of many rates, from too small to too large.",
        "lr_find", "lr_find", settings=True, table="IN_MEMORY",
    ),
    "reproduce": Entry("Run the experiments of the original report and compare each claim.", "reproduce", "reproduce"),
    "warmup": Entry("Compile every kernel that training can use, on all cores.", "warmup", "warmup"),
    "runs": Entry("List the run folders: outcome, epochs and score of each.", "runs", "runs"),
    "data": Entry("List the data sets, get their files, show where they are."),
    "bench": Entry("Measure how fast fastmlp is on this machine.", "bench", "bench"),
    "speedrun": Entry("Time a fixed recipe from bytes in memory to a trained network.", "speedrun", "speedrun"),
    "doctor": Entry("Describe this machine: how fast it can be, and what slows it down.", "doctor", "doctor"),
}  # fmt: skip
OF_DATA = {
    "list": Entry("List the data sets, and where their files are.", "data", "list_datasets", "LIST_EXAMPLES"),
    "fetch": Entry("Get the files of a data set, and print their folder.", "data", "fetch", "FETCH_EXAMPLES"),
    "path": Entry("Print the folder of a data set, filled or not.", "data", "path", "PATH_EXAMPLES"),
    "describe": Entry(
        "Show what the columns of a table are taken for: kind, missing values, different values, range or most frequent ones.",
        "data", "describe", "DESCRIBE_EXAMPLES", table="OF_COLUMNS",
    ),
}  # fmt: skip


class Loaded(Mapping[str, Any]):
    """Commands by their names, each loaded when it is asked for. made: those that are there; before: the words before their names."""

    def __init__(self, entries: Mapping[str, Entry], made: Mapping[str, Any], before: str) -> None:
        self._entries, self._made, self._before = entries, dict(made), before

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._load(name, self._entries[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _load(self, name: str, entry: Entry) -> Any:
        from fastmlp.cli import options, tables

        module = importlib.import_module(f"fastmlp.cli.{entry.module}")
        return options.made(
            self._before + name, getattr(module, entry.function), examples=getattr(module, entry.examples), settings=entry.settings,
            several=entry.several, table=getattr(tables, entry.table) if entry.table else (),
        )  # fmt: skip


class Group(TyperGroup):
    """A group of commands that are loaded when they are asked for; its help comes from their entries."""

    entries: Mapping[str, Entry] = COMMANDS
    before = ""

    def __init__(self, *, commands: Any = None, **others: Any) -> None:
        super().__init__(**others)
        self.commands = Loaded(self.entries, commands or {}, self.before)  # type: ignore[assignment]  # typer reads it only

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return list(self.entries)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the group's own flags, false by default. By None they would load pydantic, and help would take twice as long."""
        parameters = super().get_params(ctx)
        for parameter in parameters:
            parameter.default = False if parameter.default is None else parameter.default
        return parameters

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the section of the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])


class DataGroup(Group):
    """The commands of `fastmlp data`."""

    entries, before = OF_DATA, "data "
