"""How a function becomes a command: its own parameters, flags made from the settings, and the flags that every command has."""

import contextlib
import dataclasses
import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperCommand
from typer.main import get_command

from fastmlp.cli import tables
from fastmlp.cli.configuration import flag
from fastmlp.errors import InputNotFound
from fastmlp.rendering.output import Output
from fastmlp.rendering.progress import Display
from fastmlp.settings import FIELDS, HELP, RENAMED, default_text, nearest, shown_in
from fastmlp.settings.sources import TABLES

if TYPE_CHECKING:
    from fastmlp.storage.reading import RunRecord


def _known_dataset(name: str | None) -> str | None:
    """Return the name of a data set, if one was given; raise typer.BadParameter with the nearest one if there is none of that name."""
    from fastmlp.data.dataset import DATASETS, in_any_case

    name = name if name is None else in_any_case(name)
    if name is not None and name not in DATASETS:
        raise typer.BadParameter(f"expected one of {', '.join(DATASETS)}, got {name!r:.60}{nearest(name, DATASETS)}")
    return name


def _known_data(name: str | None) -> str | None:
    """Return the name of a data set or the path of a table, if one was given; raise typer.BadParameter where it is neither."""
    from fastmlp.data.dataset import DATASETS, in_any_case

    if name is None or name in DATASETS or name == "-" or (name and os.path.exists(name)):
        return name
    if (known := in_any_case(name)) in DATASETS:
        return known
    if os.path.sep in name or os.path.splitext(name)[1]:
        raise InputNotFound(f"expected a table at {name!r}, found nothing; check the path")
    raise typer.BadParameter(f"expected one of {', '.join(DATASETS)}, or the path of a table, got {name!r}{nearest(name, DATASETS)}")


def _complete_dataset(begun: str) -> list[str]:
    from fastmlp.data.dataset import DATASETS

    return [name for name in DATASETS if name.startswith(begun)]


def _complete_recipe(begun: str) -> list[str]:
    from fastmlp.training.recipes import RECIPES

    names = dict.fromkeys(name for recipes in RECIPES.values() for name in recipes)
    return [name for name in names if name.startswith(begun)]


_dataset = typer.Argument(
    metavar="DATASET", help="a name from: fastmlp data list", callback=_known_dataset, autocompletion=_complete_dataset
)
DatasetName = Annotated[str, _dataset]
_data = typer.Argument(
    metavar="DATASET",
    help="a name from: fastmlp data list; or the path of a table",
    callback=_known_data,
    autocompletion=_complete_dataset,
)
Data = Annotated[str, _data]
OptionalData = Annotated[str | None, _data]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="a model file, or the folder of a training")]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="settings tuned for the data set: textbook, plain, dropout or elastic for mnist, plain, dropout or best for fashion-mnist",
        autocompletion=_complete_recipe,
    ),
]
ALL = "fastmlp.help.all"  # in the context of a command: its help lists every setting
COMMON_SETTINGS = shown_in(HELP)  # those that the help of `train` lists; the others are behind --help-all
DataDir = Annotated[Path | None, typer.Option(metavar="DIR", help="folder that holds the data sets; FASTMLP_DATA_DIR names it, too")]


def model_file(named: Path) -> Path:
    """Return the model file that is meant: the one that was named, or that of the training in the folder that was named."""
    from fastmlp.errors import InputNotFound
    from fastmlp.storage.reading import model_path, read_run

    if not os.path.isdir(named):  # Path.is_dir raises for a name that is too long
        return named
    found = model_path(read_run(named))
    if found is None:
        raise InputNotFound(
            f"expected a trained model in the run folder {str(named)!r}, found none; name the folder of a training that ended"
        )
    return found


def run_of(named: Path) -> "RunRecord":
    """Return the training in the folder that was named, which knows its data; raise typer.BadParameter for a model file."""
    from fastmlp.errors import InputNotFound
    from fastmlp.storage.reading import read_run

    if not os.path.lexists(named):
        raise InputNotFound(
            f"expected a model file or the folder of a run at {str(named)!r}, found nothing; see which there are: fastmlp runs"
        )
    if not os.path.isdir(named):
        raise typer.BadParameter(
            "expected a data set, or a table, beside a model file, got none; only the folder of a training knows its own",
            param_hint="DATASET",
        )
    return read_run(named)


PICTURES = (".png", ".svg")
TERMINAL = Path("-")  # --plot - draws there


def known_picture(path: Path | None) -> Path | None:
    """Return where a picture goes; raise typer.BadParameter unless it is a kind of picture, or the terminal."""
    if path is not None and path != TERMINAL and path.suffix not in PICTURES:
        raise typer.BadParameter(f"expected a name that ends in {' or '.join(PICTURES)}, or - for the terminal, got {str(path)!r}")
    return path


class GroupedCommand(TyperCommand):
    """A command whose help lists its flags in groups, without those that are `seldom` needed unless all are asked for."""

    seldom: frozenset[str] = frozenset()  # names of flags that only --help-all lists
    paths: frozenset[str] = frozenset()  # names of the parameters that are paths

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; raise typer.BadParameter for an empty path, which would be taken for the current folder."""
        given = self.make_parser(ctx).parse_args(args=list(args))[0]
        for parameter in self.get_params(ctx):
            if parameter.name in self.paths and given.get(parameter.name) == "":
                hint = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[-1]
                raise typer.BadParameter("expected a path, got ''", ctx=ctx, param_hint=hint)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the arguments and the flags; --help is false by default, as by None it would load pydantic."""
        *own, of_help = super().get_params(ctx)
        of_help.default = False
        return [*own, of_help]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for the arguments and one for each group of flags."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if parameter.name in self.seldom and not ctx.meta.get(ALL):
                continue
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                group = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or "Options"
                name, help_text = record
                groups.setdefault(group, []).append((name.partition(" ")[0] if argument else name, help_text))
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


class Reading:
    """How the value of a flag or an argument is read: texts and paths as they are, anything else as typer does.

    For that it loads pydantic, which makes a validator of each flag, those that are not given among them: a fifth of a second.
    """

    def __init__(self, of_typer: Callable[[], Any]) -> None:
        self._of_typer = of_typer

    def itself(self) -> "Reading":
        """Return what reads."""
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value that a text, or several, stands for; raise typer.BadParameter for none."""
        kind = param.type_descriptor.annotation
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if kind is Path:
            return Path(value)
        if kind == list[str]:
            return list(value)
        if isinstance(kind, type) and isinstance(value, kind):
            return value
        return self._of_typer().coerce(value, param=param, ctx=ctx)


class TrainingCommand(GroupedCommand):
    """The command with the settings that people change most."""

    seldom = frozenset(FIELDS) - frozenset(COMMON_SETTINGS) | tables.SELDOM


class ExperimentCommand(GroupedCommand):
    """A command that takes the settings of `train` and does not list them again."""

    seldom = frozenset(FIELDS) | tables.SELDOM


def _show_all(context: typer.Context, asked: bool) -> None:
    if asked:
        context.meta[ALL] = True
        typer.echo(context.get_help())
        raise typer.Exit


def made(
    name: str,
    function: Callable[..., Mapping[str, Any]],
    *,
    examples: tuple[str, ...],
    settings: bool = False,
    several: bool = False,
    table: Collection[str] = (),
) -> Any:
    """Return a function as the command `name` ("data fetch": its last word), which also has --json, --quiet and --debug.

    The function's parameters become arguments and flags, but for its first: an Output to speak through. With `settings`, its
    second is a dict that gets the flags made from the settings, None for those not given; with `several`, each of them is a text that
    may hold several values. With `table`, it has a parameter of that name: a dict of the flags with these names, which say what is in a
    table. It returns
    its result as a record for --json. Its docstring is the help text: the first line before the
    examples, the rest after them.
    """
    skipped = 2 if settings else 1
    own = [each for each in list(inspect.signature(function).parameters.values())[skipped:] if not (table and each.name == "table")]

    # debug is read where errors are caught, in fastmlp.cli; help_all has been answered by then
    def call(json: bool, quiet: bool, debug: bool, help_all: bool = False, **values: Any) -> None:
        output = Output(json, quiet)
        if settings:
            values["flags"] = {setting: values.pop(setting) for setting in (*FIELDS, *RENAMED)}
        if table:
            values["table"] = {name: values.pop(name) for name in table}
        output.record({"command": name, **function(output, **values)})

    parameters = (
        own
        + (tables.flags_beside([each.name for each in own], table) if table else [])
        + ([*setting_flags(several), HELP_ALL] if settings else [])
        + COMMON_FLAGS
    )
    call.__signature__ = inspect.Signature([parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters])  # type: ignore[attr-defined]
    summary, _, rest = (inspect.getdoc(function) or "").partition("\n\n")
    lines = "".join(f"\n  {example}" for example in examples)
    kind = GroupedCommand if not settings else TrainingCommand if name == "train" else ExperimentCommand
    paths = frozenset(parameter.name for parameter in own if get_args(parameter.annotation)[0] in (Path, Path | None))
    if kind is ExperimentCommand:
        rest += f"\n\n\b\nEvery setting of fastmlp train is a flag here, too:\n  fastmlp {name} --help-all"
    help_text, of_its_own = f"{summary}\n\n\b\nExamples:{lines}\n\n{rest}", type(kind.__name__, (kind,), {"paths": paths})
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name.split()[-1], help=help_text, short_help=summary, cls=of_its_own)(call)
    command = get_command(app)
    for parameter in command.params:
        parameter.get_runtime_param = Reading(parameter.get_runtime_param).itself  # type: ignore[attr-defined]
    return command


@contextlib.contextmanager
def compile_notes(output: Output) -> Iterator[Display]:
    """Tell of kernels that are compiled meanwhile. Nothing else may be printed before the block ends, or its Display is cleared."""
    from fastmlp.compilation.waiting import watch

    with Display(output) as display, watch(display.compiling):
        yield display


def setting_flags(several: bool = False) -> list[inspect.Parameter]:
    """Return one flag for every field of the settings, in order, each None by default: not given; all of them texts where `several`."""
    return [_setting_flag(field, several) for record in TABLES.values() for field in dataclasses.fields(record)] + [
        _parameter(name, Annotated[str | None, typer.Option(flag(name), hidden=True)], None) for name in RENAMED
    ]


def _setting_flag(field: dataclasses.Field[Any], several: bool) -> inspect.Parameter:
    """Return the flag of one setting. Values stay text: `configuration` reads those of flags and of the environment alike."""
    shown = default_text(field)
    help_text = field.metadata["help"] + (f"  [default: {shown}]" if shown else "")
    choices = "|".join(field.metadata["choices"] or ())
    choices = choices if len(choices) <= LONGEST_CHOICES else ""
    if several:
        names, metavar = flag(field.name), (choices or "A,B") + ",…"
        annotation: Any = str | None
        help_text = help_text.replace("; repeat for more layers", ", 300-100 for two")
        help_text = help_text.replace("; repeat for one per layer", ", 0.5-0.2 for two layers")
    elif field.type in (bool, bool | None):
        help_text = field.metadata["help"]  # what is off unless it is asked for need not say so
        names, metavar = f"{flag(field.name)}/--no-{flag(field.name)[2:]}", None
        annotation = bool | None
    else:
        names, metavar = flag(field.name), choices or METAVARS.get(field.type, "NAME")
        annotation = list[str] | None if field.metadata["repeat"] else str | None
    option = typer.Option(names, help=help_text, metavar=metavar, show_default=False, rich_help_panel=field.metadata["group"])
    return _parameter(field.name, Annotated[annotation, option], None)


# By the type of a setting; texts are names.
METAVARS: dict[Any, str] = {
    int: "N", int | None: "N", int | float | None: "N", tuple[int, ...]: "N", float: "X", float | None: "X", float | tuple[float, ...]: "X",
}  # fmt: skip
LONGEST_CHOICES = 24  # of a closed list of names that stands beside its flag; a longer one stands in the help text


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _switch(name: str, help_text: str) -> inspect.Parameter:
    return _parameter(name, Annotated[bool, typer.Option(f"--{name}", help=help_text, rich_help_panel="Output")], False)


HELP_ALL = _parameter(
    "help_all",
    Annotated[
        bool, typer.Option("--help-all", is_eager=True, callback=_show_all, help="show every setting, then exit", rich_help_panel="Output")
    ],
    False,
)
COMMON_FLAGS = [
    _switch("json", "print one JSON object instead of text"),
    _switch("quiet", "print the result only: no notes, no progress"),
    _switch("debug", "show the traceback of an error"),
]
