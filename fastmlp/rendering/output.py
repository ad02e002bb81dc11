"""Where the words of a command go: results to standard output, everything else to standard error; JSON in place of both."""

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

STANDARD_OUTPUT, STANDARD_ERROR = "standard output", "standard error"


class Output(NamedTuple):
    """How a command speaks: to people, or with `json` as one object to a program; with `quiet` in results only."""

    json: bool = False
    quiet: bool = False

    def result(self, text: str) -> None:
        """Print a result for people. It is flushed, so that a reader at the end of a pipe sees it when it is there."""
        if not self.json:
            _say(printable(text), sys.stdout, STANDARD_OUTPUT)

    def detail(self, text: str) -> None:
        """Print what belongs to a result but can be left out."""
        if not self.quiet:
            self.result(text)

    def note(self, text: str) -> None:
        """Print what is going on, to standard error."""
        if not self.quiet:
            _say(printable(text), sys.stderr, STANDARD_ERROR)

    def record(self, record: Mapping[str, Any]) -> None:
        """Print the result for a program: one JSON object."""
        if self.json:
            _say(json_text(record), sys.stdout, STANDARD_OUTPUT)

    def error(self, kind: str, message: str, exit_code: int) -> None:
        """Print why a command failed: a line to standard error, or one JSON object to standard output."""
        if self.json:
            self.record({"error": {"type": kind, "message": message, "exit_code": exit_code}})
        else:
            _say(f"error: {printable(message)}", sys.stderr, STANDARD_ERROR)

    @property
    def shows_progress(self) -> bool:
        """Whether something may move on standard error: only on a terminal that can move."""
        return not self.quiet and on_terminal()


def flush(stream: TextIO, name: str) -> None:
    """Write what is buffered; an OSError then says by `name` where it could not be written, as the system does for files only."""
    try:
        stream.flush()
    except OSError as error:
        error.filename = name
        raise


def print_text(text: str) -> None:
    """Print a text to standard output as it is, for a program that reads it."""
    try:
        sys.stdout.write(text)
    except OSError as error:
        error.filename = STANDARD_OUTPUT
        raise
    flush(sys.stdout, STANDARD_OUTPUT)


def _say(text: str, stream: TextIO, name: str) -> None:
    try:
        print(text, file=stream)
    except OSError as error:
        error.filename = name
        raise
    flush(stream, name)


def on_terminal() -> bool:
    """Return whether standard error is a terminal on which the cursor can be moved."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def json_text(record: Mapping[str, Any]) -> str:
    """Return a record as one line of JSON: tuples and arrays as lists, paths as text, NaN and infinities as null."""
    return json.dumps(plain(record), allow_nan=False)


def printable(text: str) -> str:
    """Return a text with everything escaped, but for line ends, that could steer a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)


def one_line(text: str) -> str:
    """Return a text as it can stand in a line of a table, whoever wrote it."""
    return printable(text).replace("\n", "\\n")


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: records as objects, tuples and arrays as lists, paths as text, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if hasattr(value, "tolist"):  # an array or a number of NumPy
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
