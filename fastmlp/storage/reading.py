"""Read what the folder of a run holds: a training, or an experiment of many. Whoever gets a RunRecord need not doubt its types.

    manifest.json, env.json            as storage/runs.py writes them; "kind" in the manifest says which experiment, none a training
    metrics.jsonl                      of a training: one epoch per line
    models.jsonl                       of an experiment: one finished model per line
    experiments/NAME/models.jsonl      of a reproduction
    result.json                        of an experiment: what came out

Knows plain values only. Changes nothing, takes no lock: a run under way is read as far as it is.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fastmlp.errors import DataError, InputNotFound
from fastmlp.storage.records import check_plain, read_metrics, read_object

TRAIN = "train"
KINDS = (TRAIN, "repeat", "sweep", "cv", "reproduce")
HISTORY = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
    "samples_per_second",
    "validation_metric",
)
NEW = ("validation_metric",)  # what records of earlier versions do not have

History = dict[str, list[float | None]]


class Model(NamedTuple):
    """One finished model of an experiment."""

    key: str
    changed: dict[str, Any]  # the settings that tell it from the others
    seed: int
    fold: int | None
    history: History
    validation: dict[str, float | None]  # loss, accuracy; of numbers rmse, mae, r2
    test: dict[str, float | None] | None
    seconds: float
    outcome: str  # done or diverged


class RunRecord(NamedTuple):
    """What a run folder tells."""

    path: Path
    kind: str
    manifest: dict[str, Any]  # with the tables settings.network and settings.train, data.name, data.files
    environment: dict[str, Any]  # empty where there is none
    history: History  # of a training
    models: tuple[Model, ...]  # of an experiment
    experiments: dict[str, tuple[Model, ...]]  # of a reproduction
    result: dict[str, Any]  # of a finished experiment, else empty


def read_run(folder: Path) -> RunRecord:
    """Return what a run folder holds. Raises InputNotFound where there is none, DataError where a file of it is damaged."""
    if not os.path.isdir(folder):  # Path.is_dir raises for a name that is too long
        raise InputNotFound(f"expected the folder of a run at {str(folder)!r}, found {'a file' if os.path.exists(folder) else 'nothing'}")
    if not os.path.lexists(folder / "manifest.json"):
        raise InputNotFound(f"expected the folder of a run at {str(folder)!r}, found no manifest.json in it; name one of those in runs/")
    check_plain(folder)
    manifest = read_object(folder / "manifest.json")
    kind = check_manifest(folder / "manifest.json", manifest)
    experiments = sorted(folder.glob("experiments/*/models.jsonl"))
    epochs = read_epochs(folder / "metrics.jsonl")
    return RunRecord(
        path=folder,
        kind=kind,
        manifest=manifest,
        environment=_optional(folder / "env.json"),
        history={field: [one.get(field) for one in epochs] for field in HISTORY},
        models=_models(folder / "models.jsonl"),
        experiments={path.parent.name: _models(path) for path in experiments},
        result=_optional(folder / "result.json"),
    )


def model_path(run: RunRecord) -> Path | None:
    """Return the model file of a training: in its folder, or where the manifest says that it went; None where there is none."""
    named = (run.manifest.get("results") or {}).get("model")
    candidates = [run.path / "model.safetensors", *([Path(named)] if isinstance(named, str) else [])]
    return next((path for path in candidates if os.path.isfile(path)), None)


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """Return the epochs in a metrics.jsonl, none where there is no such file. Raises DataError where one holds no numbers."""
    epochs = read_metrics(path) if os.path.lexists(path) else []
    for number, epoch in enumerate(epochs, start=1):
        if not all(_is_number_or_none(epoch.get(field)) for field in HISTORY):
            raise _damaged(path, f"numbers in line {number}")
    return epochs


def read_models(path: Path) -> list[dict[str, Any]]:
    """Return the finished models in a models.jsonl, none where there is no such file. Raises DataError where one is none."""
    records = read_metrics(path) if os.path.lexists(path) else []
    return [_model(path, number, record)._asdict() for number, record in enumerate(records, start=1)]


def check_manifest(path: Path, manifest: Mapping[str, Any]) -> str:
    """Return the kind of a run; raise DataError where its manifest lacks what every run has."""
    kind = manifest.get("kind", TRAIN)
    if kind not in KINDS:
        raise DataError(f"{str(path)!r}: kind: expected one of {', '.join(KINDS)}, found {kind!r}; it may come from a newer fastmlp")
    settings, data = manifest.get("settings"), manifest.get("data")
    tables = [settings.get("network"), settings.get("train")] if isinstance(settings, dict) else [None]
    if not all(isinstance(table, dict) for table in tables):
        raise _damaged(path, "settings with the tables network and train")
    if not (isinstance(data, dict) and isinstance(data.get("name"), str) and isinstance(data.get("files", {}), dict)):
        raise _damaged(path, "data with a name and files")
    for name in ("results", "versions", "arguments"):
        if not isinstance(manifest.get(name) or {}, dict):
            raise _damaged(path, f"{name} to be an object")
    return str(kind)


def _optional(path: Path) -> dict[str, Any]:
    return read_object(path) if os.path.lexists(path) else {}


def _models(path: Path) -> tuple[Model, ...]:
    return tuple(Model(**record) for record in read_models(path))


def _model(path: Path, line: int, record: Mapping[str, Any]) -> Model:
    history = record.get("history")
    if isinstance(history, dict) and isinstance(history.get("epoch"), list):
        history = {**{field: [None] * len(history["epoch"]) for field in NEW}, **history}
    lists = [history.get(field) for field in HISTORY] if isinstance(history, dict) else [None]
    if not all(isinstance(values, list) and all(map(_is_number_or_none, values)) for values in lists):
        raise _damaged(path, f"a history of numbers in line {line}")
    if len({len(values) for values in lists if values is not None}) > 1:
        raise _damaged(path, f"a history with as many values per field in line {line}")
    for scores in (record.get("validation"), record.get("test") or {}):
        if not (isinstance(scores, dict) and all(map(_is_number_or_none, scores.values()))):
            raise _damaged(path, f"scores of numbers in line {line}")
    wanted = {"key": str, "changed": dict, "seed": int, "seconds": (int, float), "outcome": str}
    for field, kinds in wanted.items():
        if not isinstance(record.get(field), kinds):  # type: ignore[arg-type]
            raise _damaged(path, f"the field {field} in line {line}")
    if not (record.get("fold") is None or isinstance(record["fold"], int)):
        raise _damaged(path, f"the field fold in line {line}")
    return Model._make({**record, "history": history}.get(field) for field in Model._fields)


def _is_number_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300)


def _damaged(path: Path, expected: str) -> DataError:
    return DataError(f"{str(path)!r}: expected {expected}, found something else; the file is damaged")
