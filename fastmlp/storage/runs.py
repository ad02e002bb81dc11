"""The folder of one training run: who may write to it, and the files in it.

    config.toml          the settings in effect, as tables; `--config` reads them back
    env.json             versions, processor, cores, threads
    manifest.json        what went in (settings, seed, data hashes, versions, processor), when, and what came out
    metrics.jsonl        one JSON object per epoch, appended when the epoch ends
    model.safetensors    the trained network; its writer is storage/model_file.py
    lock                 held with flock while a process writes here; the system frees it when that process ends, however it ends

Knows plain values only: no network, no training, no printing.
"""

import errno
import json
import math
import os
import platform
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fastmlp import machine
from fastmlp.errors import DataError, InputNotFound, OutputError, RunInUse
from fastmlp.storage.atomic import output_error, write_atomically

LOCK = "lock"
_LONGEST_NAME = 64
_NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class RunFolder:
    """A run folder that this process holds until `close`, the end of a `with` block, or its own end.

    `path` is the folder; `model_path` and `metrics_path` are names in it.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock of an existing folder; raise RunInUse while another holds it."""
        self.path = path
        self.model_path = path / "model.safetensors"
        self.metrics_path = path / "metrics.jsonl"
        self._manifest: dict[str, Any] = {}
        self._lock: int | None = _take_lock(path)

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> Self:
        """Hold a folder that the user chose, made if absent; OutputError unless it is empty, RunInUse if a run writes there now."""
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            found = os.listdir(folder)
        except (OSError, ValueError) as error:
            raise output_error(path, error) from error
        full = OutputError(f"expected an empty or absent folder at {str(folder)!r}, found files in it; choose another folder")
        if found and LOCK not in found:  # asked first, so that no lock file is left in a folder that is no run's
            raise full
        run = cls(folder)
        if os.listdir(folder) != [LOCK]:  # asked again under the lock: another run may have come and gone
            run.close()
            raise full
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; calling it again does nothing."""
        if self._lock is not None:
            os.close(self._lock)  # the lock file stays: removing it would let two processes lock two files of one name
            self._lock = None

    def start(self, settings: Mapping[str, Mapping[str, Any]], *, seed: int, data: Mapping[str, Any], threads: int) -> None:
        """Write config.toml, env.json and the manifest as far as it is known before training.

        `settings` are tables of settings in effect ({"network": ..., "train": ...}), `data` says what is trained on (its name, the
        hash of each file), `threads` how many shares of the work are in use. OutputError or WriteError where a file cannot be written.
        """
        facts = machine.describe()
        versions = _versions()
        write_atomically(self.path / "config.toml", to_toml(settings).encode())
        write_atomically(self.path / "env.json", _json({"versions": versions, "machine": facts._asdict(), "threads": threads}, indent=2))
        self._manifest = {
            "started": _now(),
            "ended": None,
            "outcome": None,
            "seed": seed,
            "settings": settings,
            "data": data,
            "versions": versions,
            "cpu": facts.cpu,
            "results": None,
        }
        self._write_manifest()

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one epoch to metrics.jsonl; numbers that JSON does not have (NaN, infinities) become null."""
        line = _json(record)
        try:
            with open(self.metrics_path, "ab") as file:
                file.write(line)
        except OSError as error:
            raise output_error(self.metrics_path, error) from error

    def finish(self, outcome: str, results: Mapping[str, Any] | None = None) -> None:
        """Complete the manifest: how the run ended ("done", "interrupted", ...), when, and what came out."""
        self._manifest |= {"ended": _now(), "outcome": outcome, "results": results}
        self._write_manifest()

    def _write_manifest(self) -> None:
        write_atomically(self.path / "manifest.json", _json(self._manifest, indent=2))


def create_run(root: Path, name: str) -> RunFolder:
    """Make and hold a new folder `root/<UTC time>-<name>-<6 random digits>`; `name` keeps letters, digits, dots, dashes and underscores.

    Raises OutputError where the folder cannot be made. Runs that start at once get folders of their own.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:_LONGEST_NAME] or "run"
    try:
        root.mkdir(parents=True, exist_ok=True)
        while True:
            folder = root / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{plain}-{secrets.token_hex(3)}"
            try:
                folder.mkdir()
            except FileExistsError:  # another run drew the same name within the same second
                continue
            return RunFolder(folder)
    except (OSError, ValueError) as error:
        raise output_error(root, error) from error


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the epochs in a metrics.jsonl, without the last one if a crash cut its line off.

    Raises InputNotFound where the file cannot be read, DataError with the line number for anything else that is no record.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise InputNotFound(f"cannot read metrics from {os.fspath(path)!r}: {error.strerror}; name the metrics.jsonl of a run") from error
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line.decode()) if line else None
        except (ValueError, RecursionError):
            record = line
        if isinstance(record, dict):
            records.append(record)
        elif number < len(lines):  # only the last line may be torn; after a complete one it is empty
            raise DataError(f"{os.fspath(path)!r}, line {number}: expected one JSON object, got {line[:60]!r}; remove the line")
    return records


def to_toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return tables of plain values (text, numbers, truth values, lists of them) as TOML.

    TOML has no null: a value of None is left out, which reads back as "not set".
    """
    lines: list[str] = []
    for name, table in tables.items():
        lines += ["", f"[{_toml_key(name)}]"]
        lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines[1:]) + "\n"


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, str):
        # JSON's escapes are TOML's too, if characters beyond 16 bits stay themselves; DEL alone needs one that JSON leaves out.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    raise TypeError(f"expected text, a number, a truth value or a list for TOML, got {type(value).__name__}")


def _take_lock(folder: Path) -> int | None:
    """Lock `folder` for this process and return what holds the lock, None where the system has no such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise output_error(folder / LOCK, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS_HERE:  # some network file systems
            return descriptor
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise RunInUse(f"another run is writing to {str(folder)!r}; wait for its end or choose another folder") from None
        raise output_error(folder / LOCK, error) from error
    return descriptor


def _versions() -> dict[str, str | None]:
    """Return the versions of what decides the bits of a result; None for a package that is not installed."""
    from fastmlp import __version__

    versions: dict[str, str | None] = {"fastmlp": __version__, "python": platform.python_version()}
    for package in ("numpy", "numba", "llvmlite"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _json(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    return json.dumps(_without_nan(value), indent=indent, allow_nan=False).encode() + b"\n"


def _without_nan(value: Any) -> Any:
    """Return plain values with null for every float that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
