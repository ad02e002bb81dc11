"""The files of a run folder, which may come from anybody: plain files only, read strictly and within limits, written nowhere else.

Every command that opens a run folder reads and writes its JSON here.
"""

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastmlp.errors import DataError, InputNotFound
from fastmlp.storage import json_text
from fastmlp.storage.atomic import output_error, write_atomically

LARGEST_OBJECT = 1 << 24  # bytes of a file that holds one JSON object
LARGEST_LIST = 1 << 28  # bytes of a file that holds one JSON object per line
MOST_FILES = 100_000  # in a folder
# What belongs to a run: files, and folders with the files in them. A folder of an experiment may hold another list of models.
FILES = (
    "lock", "config.toml", "env.json", "manifest.json", "metrics.jsonl", "model.safetensors", "models.jsonl", "final.jsonl",
    "result.json", "report.html",
)  # fmt: skip
FOLDERS = ("checkpoints", "networks", "report-figures", "experiments")
# Not every system has them. O_NONBLOCK: opening a pipe would wait for its other end.
_SAFELY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def check_plain(folder: Path) -> None:
    """Raise DataError where a name that belongs to a run is a link, a pipe or a device: it would lead elsewhere, or nowhere."""
    for name in FILES:
        _check(folder / name, stat.S_ISREG, "a plain file")
    for name in FOLDERS:
        if _check(folder / name, stat.S_ISDIR, "a folder"):
            for path in _entries(folder / name):
                if name != "experiments":
                    _check(path, stat.S_ISREG, "a plain file")
                elif _check(path, stat.S_ISDIR, "a folder"):
                    _check(path / "models.jsonl", stat.S_ISREG, "a plain file")


def _check(path: Path, is_right: Any, expected: str) -> bool:
    """Return whether there is something of that name; DataError where it is of another kind."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    if not is_right(mode):
        found = "a symbolic link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a pipe, a device or a file"
        raise DataError(f"{str(path)!r}: expected {expected} of the run, found {found}; remove it")
    return True


def _entries(folder: Path) -> list[Path]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError(f"cannot list {str(folder)!r}: {error.strerror}; check its permissions") from error
    if len(names) > MOST_FILES:
        raise DataError(f"{str(folder)!r}: expected at most {MOST_FILES:,} files of a run, found {len(names):,}")
    return [folder / name for name in names]


def read_plain(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return the bytes of a file; InputNotFound for a link, a folder, a pipe, a device and what cannot be read, DataError above `limit`.

    What is judged is what is open, so that nobody can exchange it in between.
    """
    shown = repr(os.fspath(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | _SAFELY)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InputNotFound(
                    f"cannot read {shown}: expected a plain file, found a folder, a pipe or a device; name the folder of a run"
                )
            if status.st_size > limit:
                raise DataError(f"{shown}: expected at most {limit:,} bytes, found {status.st_size:,}; the file is damaged")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(status.st_size)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        if isinstance(error, (InputNotFound, DataError)):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputNotFound(f"cannot read {shown}: {reason}; name the folder of a run") from error


def read_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the JSON object in a file. Raises InputNotFound where it cannot be read, DataError where it holds anything else."""
    found, reason = _parsed(read_plain(path, LARGEST_OBJECT))
    if not isinstance(found, dict):
        raise DataError(f"{os.fspath(path)!r}: expected one JSON object, found something else{reason}; the file is damaged")
    return found


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the records in a file of one JSON object per line, without the last one if a crash cut its line off.

    Raises InputNotFound where the file cannot be read, DataError with the line number for anything else that is no record.
    """
    shown = repr(os.fspath(path))
    lines = read_plain(path, LARGEST_LIST).split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        record, reason = _parsed(line) if line else (None, "")
        if isinstance(record, dict):
            records.append(record)
        elif number < len(lines):  # only the last line may be torn; after a complete one it is empty
            raise DataError(f"{shown}, line {number}: expected one JSON object, got {line[:60]!r}{reason}; remove the line")
    return records


def _parsed(data: bytes) -> tuple[Any, str]:
    """Return the value of a JSON text, or None and why it has none."""
    try:
        return json_text.parse(data.decode()), ""
    except ValueError as error:
        return None, f" ({json_text.short(error)})"


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Add one JSON object as a line to a file; numbers that JSON does not have (NaN, infinities) become null."""
    line = to_json(record)
    try:
        with open(_open_own(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
            file.write(line)
    except OSError as error:
        raise output_error(path, error) from error


def sync(path: Path) -> None:
    """Make what was appended to a file last through a power cut; a file that is not there is left so."""
    try:
        with open(_open_own(path, os.O_WRONLY | os.O_APPEND), "ab") as file:
            os.fsync(file.fileno())
    except FileNotFoundError:
        pass
    except OSError as error:
        raise output_error(path, error) from error


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a crash left incomplete, so that a new one can follow; a file that is not there is left so."""
    try:
        with open(_open_own(path, os.O_RDWR), "r+b") as file:
            if os.fstat(file.fileno()).st_size > LARGEST_LIST:
                raise DataError(f"{str(path)!r}: expected at most {LARGEST_LIST:,} bytes; the file is damaged")
            file.truncate(file.read().rfind(b"\n") + 1)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise output_error(path, error) from error


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write one JSON object as a file, atomically."""
    write_atomically(path, to_json(record, indent=2))


def to_json(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    """Return plain values as a JSON text that ends its line."""
    return json.dumps(_without_nan(value), indent=indent, allow_nan=False).encode() + b"\n"


def _open_own(path: Path, flags: int) -> int:
    """Open a plain file of one name to be written: another name of it would be changed with it."""
    descriptor = os.open(path, flags | _SAFELY, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise DataError(f"{str(path)!r}: expected a plain file of one name, found a pipe, a device or a hard link; copy the folder first")
    return descriptor


def _without_nan(value: Any) -> Any:
    """Return plain values with null for every float that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
