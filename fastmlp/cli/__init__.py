"""The command line: parse, call, render. One file per group of commands; nothing imports it.

Commands raise. `run` alone turns what they raise into an exit code and one line on standard error, or one JSON object.
"""

import contextlib
import errno
import io
import os
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TextIO

import typer

from fastmlp.cli import signals
from fastmlp.cli.commands import COMMANDS, DataGroup, Group
from fastmlp.errors import FastmlpError, NotEnoughMemory, WriteError
from fastmlp.rendering.output import STANDARD_OUTPUT, Output, flush, printable

CLOSED_PIPE = 1
BUG = FastmlpError.exit_code
INTERRUPTED = 130  # what typer makes of a KeyboardInterrupt, whichever signal was behind it

app = typer.Typer(
    cls=Group, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)

EXAMPLES = """Train multi-layer perceptrons on CPUs.

\b
Examples:
  fastmlp train mnist
  fastmlp train fashion-mnist --hidden 300 --out fashion.safetensors
  fastmlp evaluate fashion.safetensors fashion-mnist
  fastmlp predict fashion.safetensors picture.png
  fastmlp train table.csv --target price
"""


@app.callback(invoke_without_command=True, help=EXAMPLES)
def top(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """Answer what needs no command."""
    if version:
        from fastmlp import __version__

        typer.echo(f"fastmlp {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


datasets = typer.Typer(cls=DataGroup, help=COMMANDS["data"].summary)


@datasets.callback(invoke_without_command=True)
def top_of_group(context: typer.Context) -> None:
    """Answer what needs no command."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.add_typer(datasets, name="data")


def main() -> None:
    """Run the command line of this process."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character is no reason to fail
    warnings.formatwarning = _warning
    signals.listen()
    try:
        code = run(sys.argv[1:])
    except SystemExit:  # typer's way to say that the reader of its help has left
        code = CLOSED_PIPE
    signals.ignore()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # the exit code tells: what is left of the output would make Python fail once more at its end, with 120
            _abandon(stream)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line, say in one line what went wrong if something did, and return the exit code."""
    output = Output(json="--json" in arguments)  # looked for here, because it holds for a line that cannot be parsed, too
    try:
        code = app(args=list(arguments), prog_name="fastmlp", standalone_mode=False) or 0
        flush(sys.stdout, STANDARD_OUTPUT)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return int(code)
    except BrokenPipeError:  # whoever read our output has left
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
                continue
            _abandon(stream)
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return _failed(output, "KeyboardInterrupt", "interrupted", signals.exit_code())
    except typer.TyperException as error:
        return _failed(output, "UsageError", _usage(error), error.exit_code)
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        known = _known(error)
        if known is not None:
            return _failed(output, type(known).__name__, str(known), known.exit_code)
        message = f"{type(error).__name__}: {error}; this is a bug in fastmlp: please report it with what --debug shows"
        return _failed(output, type(error).__name__, message, BUG)


def _failed(output: Output, kind: str, message: str, exit_code: int) -> int:
    try:
        output.error(kind, message, exit_code)
    except OSError:  # standard output may be what failed
        with contextlib.suppress(OSError):  # or the terminal is gone: the exit code says it all the same
            Output().error(kind, message, exit_code)
    return exit_code


def _abandon(stream: TextIO) -> None:
    """Send what is still buffered for a broken stream nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _known(error: Exception) -> FastmlpError | None:
    """Return an error that was raised on purpose, or what stands for one that the system raises anywhere."""
    if isinstance(error, FastmlpError):
        return error
    if isinstance(error, MemoryError):
        return NotEnoughMemory(f"not enough memory: {str(error) or 'the system gave no more'}; use a smaller network or fewer rows")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return NotEnoughMemory("this process may start no more threads; raise its limit (ulimit -u, or the pids of its container)")
    if isinstance(error, (OSError, ImportError)) and _is_out_of_memory(error):
        return NotEnoughMemory(f"not enough memory for {_doing(error)} ({_reason(error)}); raise the limit (ulimit -v, or the container's)")
    if isinstance(error, OSError):
        return WriteError(f"{error.filename or _doing(error)}: {_reason(error)}")
    return None


def _is_out_of_memory(error: OSError | ImportError) -> bool:
    """Return whether the system had no memory, for a mapped file or for a library, whose loader tells it in words only."""
    words = ("cannot allocate memory", "failed to map", "cannot map", "cannot apply additional memory protection", "out of memory")
    cause = error.__context__  # llvmlite tells that it cannot load its library, and not why
    if isinstance(cause, (OSError, ImportError, MemoryError)) and (isinstance(cause, MemoryError) or _is_out_of_memory(cause)):
        return True
    return getattr(error, "errno", None) == errno.ENOMEM or any(word in str(error).lower() for word in words)


def _reason(error: OSError | ImportError) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).partition("\n")[0]


def _doing(error: Exception) -> str:
    """Return what was being done when an error came that names no file: printing help, or the last of our own functions on its way."""
    frames = [(str(frame.f_globals.get("__name__")), frame.f_code.co_name) for frame, _ in traceback.walk_tb(error.__traceback__)]
    if frames and frames[-1][1] == "echo":
        return STANDARD_OUTPUT
    ours = [(module.removeprefix("fastmlp."), function) for module, function in frames if module.startswith("fastmlp.")]
    module, function = ours[-1] if ours else ("the command line", "<module>")
    return f"loading {module}" if function == "<module>" else f"{module}.{function}"


def _usage(error: typer.TyperException) -> str:
    from fastmlp.cli.configuration import flag
    from fastmlp.settings import ALIASES, folded

    message = error.format_message().rstrip(".")
    if (refused := getattr(error.__cause__, "errors", None)) is not None:  # what pydantic says of a value does not tell the value
        message = message.replace(error.message, _expected(refused()[0]))
    meant, command = ALIASES.get(folded(getattr(error, "option_name", "")), ""), getattr(error, "cmd", None)
    if command is not None and any(parameter.name == meant for parameter in command.params):  # what other libraries call a setting
        message = f"{error.message}; did you mean {flag(meant)}?"
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    return f"{message}{'' if message.endswith('?') else ';'} see: {context.command_path} --help"


def _expected(refused: Mapping[str, Any]) -> str:
    """Return in our words what pydantic found wrong with the value of a flag."""
    kind, bounds = refused["type"], refused.get("ctx", {})
    expected = {
        "int_parsing": "a whole number",
        "int_from_float": "a whole number",
        "int_parsing_size": "a whole number of fewer digits",
        "float_parsing": "a number",
        "finite_number": "a finite number",
        "greater_than_equal": f"at least {bounds.get('ge')}",
        "less_than_equal": f"at most {bounds.get('le')}",
    }.get(kind)
    got = refused["input"] if bounds else repr(refused["input"])  # within bounds or not, it is a number
    return f"expected {expected}, got {got}" if expected is not None else str(refused["msg"])


def _warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    return f"warning: {printable(str(message))}\n"
