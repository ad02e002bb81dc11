"""The folder of one run, a training or an experiment of many: who may write to it, and the files in it.

    config.toml          the settings in effect, as tables; `--config` reads them back
    env.json             versions, processor, cores, threads
    manifest.json        what went in (settings, seed, data hashes, versions, processor), when, and what came out; each resumption
    metrics.jsonl        one JSON object per epoch, appended when the epoch ends
    checkpoints/         where the training stood, the last two times that it was saved; their writer is storage/checkpoints.py
    networks/            of a training of several networks: those that are done, until all are; their writer is search/ensemble.py
    model.safetensors    the trained network; its writer is storage/model_file.py
    models.jsonl         of an experiment: one JSON object per finished model
    result.json          of an experiment: what came out
    lock                 held with flock while a process writes here; the system frees it when that process ends, however it ends

Knows plain values only: no network, no training, no printing.
"""

import errno
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from fastmlp import machine
from fastmlp.errors import DataError, InputNotFound, OutputError, RunInUse
from fastmlp.settings import METRICS as KNOWN
from fastmlp.storage.atomic import output_error, remove_leftovers, write_atomically
from fastmlp.storage.reading import KINDS, TRAIN, read_models
from fastmlp.storage.records import append_record, check_plain, read_metrics, read_object, sync, to_json

LOCK = "lock"
MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"
_LONGEST_NAME = 64
_LOCK_TRIES, _LOCK_PAUSE = 5, 0.02  # who lists runs holds a lock for a moment to see whether it is free
_NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class RunFolder:
    """A run folder that this process holds until `close`, the end of a `with` block, or its own end.

    `path` is the folder; `model_path`, `metrics_path` and `checkpoints_path` are names in it; `manifest` is what manifest.json holds.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock of an existing folder; raise RunInUse while another holds it."""
        self.path = path
        self.model_path = path / "model.safetensors"
        self.metrics_path = path / METRICS
        self.checkpoints_path = path / "checkpoints"
        self.manifest: dict[str, Any] = {}
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

    @classmethod
    def reopen(cls, path: str | os.PathLike[str]) -> Self:
        """Hold the folder of an earlier run, to go on with it; what a killed process left half-written is removed.

        Raises InputNotFound where there is no run, RunInUse if it is running now, DataError where a link or a pipe is in it. A manifest
        that cannot be read is an empty one.
        """
        folder = Path(path)
        expected = f"expected the folder of a run at {str(folder)!r}"
        if not os.path.isdir(folder):
            raise InputNotFound(f"{expected}, found {'a file' if os.path.exists(folder) else 'nothing'}; see which there are: fastmlp runs")
        if not os.path.exists(folder / LOCK):  # asked first, so that no lock file is left in a folder that is no run's
            raise InputNotFound(f"{expected}, found a folder that is no run's; see which there are: fastmlp runs")
        check_plain(folder)
        run = cls(folder)
        remove_leftovers(folder)
        try:
            run.manifest = read_manifest(folder)
        except (InputNotFound, DataError):
            pass
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

    def start(
        self,
        settings: Mapping[str, Mapping[str, Any]],
        *,
        seed: int,
        data: Mapping[str, Any],
        threads: int,
        out: Path | None = None,
        experiment: Mapping[str, Any] | None = None,
    ) -> None:
        """Write config.toml, env.json and the manifest as far as it is known before training.

        `settings` are tables of settings in effect ({"network": ..., "train": ...}), `data` says what is trained on (its name, the
        hash of each file), `threads` the number of threads in use, `out` where the model goes if not into this folder,
        `experiment` its kind and what it was asked to do, where it is one of many models.
        OutputError or WriteError where a file cannot be written.
        """
        facts = machine.describe()
        versions = _versions()
        write_atomically(self.path / "config.toml", to_toml(settings).encode())
        write_atomically(self.path / "env.json", to_json({"versions": versions, "machine": facts._asdict(), "threads": threads}, indent=2))
        self.manifest = {
            **(experiment or {}),
            "started": _now(),
            "ended": None,
            "outcome": None,
            "seed": seed,
            "settings": settings,
            "data": data,
            "versions": versions,
            "cpu": facts.cpu,
            "threads": threads,
            "out": None if out is None else os.path.abspath(out),
            "resumed": [],
            "results": None,
        }
        self._write_manifest()

    def resume(
        self,
        earlier: Mapping[str, Any],
        settings: Mapping[str, Mapping[str, Any]],
        *,
        threads: int,
        out: Path | None,
        at: Mapping[str, Any],
        epochs: int,
    ) -> dict[str, list[Any]]:
        """Note in the manifest that the run goes on, and drop from metrics.jsonl what it is about to do again.

        `earlier` is the manifest that stood when the run was last saved, `at` says where it stood (epoch, row), `epochs` how many epochs
        that is; settings, threads and out as in `start`. Returns what is no longer what it was, {name: [before, now]}, of versions,
        processor and threads: all but the last may change the last bits of a result.
        """
        facts, versions = machine.describe(), _versions()
        changed = _changed_since(earlier)
        if earlier.get("threads") != threads:
            changed["threads"] = [earlier.get("threads"), threads]
        before = self.manifest or earlier
        resumptions = before.get("resumed")
        self.manifest = {
            **earlier,
            "started": before.get("started"),
            "ended": None,
            "outcome": None,
            "settings": settings,
            "versions": versions,
            "cpu": facts.cpu,
            "threads": threads,
            "out": None if out is None else os.path.abspath(out),
            "resumed": [*(resumptions if isinstance(resumptions, list) else []), {"time": _now(), **at, "changed": changed}],
            "results": None,
        }
        self._keep_metrics(epochs)
        write_atomically(self.path / "config.toml", to_toml(settings).encode())
        write_atomically(self.path / "env.json", to_json({"versions": versions, "machine": facts._asdict(), "threads": threads}, indent=2))
        self._write_manifest()
        return changed

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one epoch to metrics.jsonl; numbers that JSON does not have (NaN, infinities) become null."""
        append_record(self.metrics_path, record)

    def sync_metrics(self) -> None:
        """Make the epochs in metrics.jsonl last through a power cut: before the checkpoint is written that relies on them."""
        sync(self.metrics_path)

    def _keep_metrics(self, epochs: int) -> None:
        """Drop a line that a crash cut off, and every epoch after the first `epochs`: they are done again."""
        if os.path.exists(self.metrics_path):
            kept = [record for record in read_metrics(self.metrics_path) if _is_number(record.get("epoch")) and record["epoch"] <= epochs]
            write_atomically(self.metrics_path, b"".join(map(to_json, kept)))

    def resume_experiment(self) -> dict[str, list[Any]]:
        """Note in the manifest that an experiment goes on. Returns what is no longer what it was, {name: [before, now]}."""
        changed = _changed_since(self.manifest)
        resumptions = self.manifest.get("resumed")
        self.manifest["resumed"] = [*(resumptions if isinstance(resumptions, list) else []), {"time": _now(), "changed": changed}]
        self._write_manifest()
        return changed

    def finish(self, outcome: str, results: Mapping[str, Any] | None = None) -> None:
        """Complete the manifest: how the run ended ("done", "interrupted", ...), when, and what came out."""
        self.manifest |= {"ended": _now(), "outcome": outcome, "results": results}
        self._write_manifest()

    def _write_manifest(self) -> None:
        write_atomically(self.path / MANIFEST, to_json(self.manifest, indent=2))


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


class RunSummary(NamedTuple):
    """One run, as far as its folder tells. None stands for what is not known."""

    name: str
    path: Path
    started: str | None  # UTC, ISO 8601
    dataset: str | None
    outcome: str  # done, interrupted, diverged, failed, running, killed or damaged
    epochs: int | None  # that are done
    validation_accuracy: float | None  # after the last of them
    validation_loss: float | None
    test_accuracy: float | None
    test_loss: float | None
    problem: str | None  # what is wrong with a damaged folder
    kind: str = TRAIN  # or the kind of experiment
    models: int | None = None  # of an experiment, that are done; its validation scores are their means, where they are of one setting
    metric: str | None = None  # what the run is judged by: that of its settings; where these say the loss, accuracy or R², if there is one
    test_metric: float | None = None
    validation_metric: float | None = None


def list_runs(root: str | os.PathLike[str]) -> tuple[list[RunSummary], int]:
    """Return the runs in the folders below `root`, by name, and how many other folders are there.

    A folder is a run's if it has a lock and a manifest, or what is left of them. Raises InputNotFound where `root` is no folder
    that can be read. Nothing is changed.
    """
    try:
        folders = sorted(entry for entry in Path(root).iterdir() if os.path.isdir(entry))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputNotFound(f"expected a folder of runs at {os.fspath(root)!r}: {reason}; name the folder that holds yours") from error
    runs = [folder for folder in folders if os.path.lexists(folder / MANIFEST) or os.path.lexists(folder / LOCK)]
    return [summarize(folder) for folder in runs], len(folders) - len(runs)


def summarize(folder: Path) -> RunSummary:
    """Return what the folder of a run tells, whatever its state."""
    problems, manifest, metrics = [], {}, []
    running = is_running(folder)
    try:
        check_plain(folder)
        manifest = read_manifest(folder)
    except (InputNotFound, DataError) as error:
        if not running:  # one that is being started has none yet
            problems.append(str(error))
    try:
        if os.path.lexists(folder / METRICS):
            metrics = read_metrics(folder / METRICS)
    except (InputNotFound, DataError) as error:
        problems.append(str(error))
    kind = manifest.get("kind", TRAIN) if manifest.get("kind", TRAIN) in KINDS else TRAIN
    models: list[dict[str, Any]] = []
    try:
        if kind != TRAIN:
            models = [
                model for path in (folder / "models.jsonl", *folder.glob("experiments/*/models.jsonl")) for model in read_models(path)
            ]
    except (InputNotFound, DataError) as error:
        problems.append(str(error))
    outcome = _text(manifest.get("outcome")) or "killed"  # no outcome, and nobody at work: the process ended without a word
    last = metrics[-1] if metrics else {}
    test = _mapping(_mapping(manifest.get("results")).get("test"))
    held_out = last if kind == TRAIN else _means(kind, models)
    recorded = _mapping(_mapping(manifest.get("settings")).get("train")).get("metric")
    metric = _metric(_mapping(manifest.get("results")).get("metric", recorded), {**held_out, **test})
    if kind == TRAIN:  # whose epochs know their accuracy, and the metric of the settings
        held_out = {**held_out, "accuracy": held_out.get("validation_accuracy"), str(recorded): held_out.get("validation_metric")}
    return RunSummary(
        name=folder.name,
        path=folder,
        started=_text(manifest.get("started")),
        dataset=_text(_mapping(manifest.get("data")).get("name")),
        outcome="damaged" if problems else "running" if running else outcome,
        epochs=len(metrics) if not problems and kind == TRAIN else None,
        validation_accuracy=_number(held_out.get("accuracy")),
        validation_loss=_number(last.get("validation_loss")),
        test_accuracy=_number(test.get("accuracy")),
        test_loss=_number(test.get("loss")),
        problem="; ".join(problems) or None,
        kind=kind,
        models=len(models) if not problems and kind != TRAIN else None,
        metric=metric,
        test_metric=_number(test.get(metric)),
        validation_metric=_number(held_out.get(metric)),
    )


def _means(kind: str, models: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the means of the validation scores of models of one setting; none where there are several settings."""
    found = [model["validation"] for model in models if model["outcome"] == "done"]
    if kind not in ("repeat", "cv") or not found:
        return {}
    columns = {name: [scores.get(name) for scores in found] for name in found[0]}
    return {name: float(sum(values) / len(values)) for name, values in columns.items() if None not in values}


def _metric(named: Any, scores: Mapping[str, Any]) -> str:
    """Return what a run is judged by, whose settings name a metric; scores: those that it has, on whichever rows."""
    if named in KNOWN and named != "loss":
        return str(named)
    has_accuracy = any(scores.get(name) is not None for name in ("accuracy", "validation_accuracy"))
    return "accuracy" if has_accuracy or named != "loss" else "r2" if scores.get("r2") is not None else "loss"


def is_running(folder: Path) -> bool:
    """Return whether a process holds the lock of a run folder now."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        if not os.path.isfile(folder / LOCK):
            return False
        descriptor = os.open(folder / LOCK, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the manifest of a run folder. Raises InputNotFound where there is none, DataError where it is not one."""
    return read_object(os.path.join(folder, MANIFEST))


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


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _take_lock(folder: Path) -> int | None:
    """Lock `folder` for this process and return what holds the lock, None where the system has no such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        raise output_error(folder / LOCK, error) from error
    for tries_left in reversed(range(_LOCK_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if error.errno in _NO_LOCKS_HERE:  # some network file systems
                break
            if isinstance(error, BlockingIOError) and tries_left:
                time.sleep(_LOCK_PAUSE)
                continue
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise RunInUse(f"another run is writing to {str(folder)!r}; wait for its end or choose another folder") from None
            raise output_error(folder / LOCK, error) from error
    return descriptor


def _changed_since(earlier: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what is no longer as a manifest has it, {name: [before, now]}, of versions and processor: the last bits depend on it."""
    now: dict[str, Any] = {**_versions(), "cpu": machine.describe().cpu}
    known = {**_mapping(earlier.get("versions")), "cpu": earlier.get("cpu")}
    return {name: [known.get(name), value] for name, value in now.items() if known.get(name) != value}


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
