"""Going on with an earlier run: finding it, its last sound checkpoint, and whether it would still be the same training."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastmlp.errors import ConfigError, DataError
from fastmlp.settings import NetworkSettings, TrainingSettings, having, settings_in_effect

if TYPE_CHECKING:
    from fastmlp.data.dataset import Dataset
    from fastmlp.storage.checkpoints import Checkpoints
    from fastmlp.storage.runs import RunFolder
    from fastmlp.training.saving import Saved
    from fastmlp.training.state import TrainingState

MAY_CHANGE = having("may_change")  # none of them changes a bit of an epoch, but see may_change
FACTS = ("started", "seed", "settings", "data", "versions", "cpu", "threads", "out")  # what a checkpoint keeps of the manifest


class ResumedRun(NamedTuple):
    """An earlier run, held open: what it was, the settings to go on with, and what it had saved (None: nothing yet)."""

    run: "RunFolder"
    checkpoints: "Checkpoints"  # which know by now what is damaged
    facts: dict[str, Any]
    network: NetworkSettings
    training: TrainingSettings
    saved: "Saved | None"

    @property
    def dataset(self) -> str:
        """The name of the data set."""
        return str(self.facts["data"]["name"])

    @property
    def state(self) -> "TrainingState | None":
        """Where the training stood, None at its beginning."""
        return self.saved.state if self.saved is not None else None

    def check_data(self, data: "Dataset") -> None:
        """Raise ConfigError where the data are no longer those of the run."""
        before, now = self.facts["data"]["files"], dict(data.hashes)
        names = sorted({*before, *now})
        _refuse(self.run, [f"{name} {_short(before, name)} → {_short(now, name)}" for name in names if before.get(name) != now.get(name)])


def open_earlier(named: Path, runs: Path, dataset: str | None, given: Mapping[str, Any]) -> ResumedRun:
    """Hold the run in the folder `named`, or of that name in `runs`, to go on with the settings that are `given` anew.

    Raises InputNotFound where there is no run, RunInUse while it runs, ModelFileError where no checkpoint is sound, DataError where
    nothing says what was trained, ConfigError with the differences where it would become another training.
    """
    from fastmlp.storage.checkpoints import Checkpoints
    from fastmlp.storage.runs import RunFolder
    from fastmlp.training.saving import unpack

    folder = runs / named if not os.path.lexists(named) and os.path.isdir(runs / named) else named
    run = RunFolder.reopen(folder)
    try:
        checkpoints = Checkpoints(run.checkpoints_path)
        checkpoints.remove_leftovers()
        saved = checkpoints.newest(unpack)
        facts = saved.run if saved is not None else run.manifest
        network, training = _settings(folder, facts)
        new_network, new_training = settings_in_effect(given, network.to_dict(), training.to_dict())
        earlier = ResumedRun(run, checkpoints, facts, new_network, new_training, saved)
        changes = [f"data set {earlier.dataset} → {dataset}"] if dataset not in (None, earlier.dataset) else []
        allowed = may_change(training)
        for before, now in ((network, new_network), (training, new_training)):
            changes += _differences(before.to_dict(), now.to_dict(), allowed)
        _refuse(run, changes, allowed)
        state = earlier.state
        begun = state.epoch + (state.row > 0) if state is not None else 0
        if new_training.epochs is not None and new_training.epochs < begun:
            raise ConfigError(f"epochs: expected at least the {begun} that {str(folder)!r} has begun, got {new_training.epochs}")
    except BaseException:
        run.close()
        raise
    return earlier


def _settings(folder: Path, facts: Mapping[str, Any]) -> tuple[NetworkSettings, TrainingSettings]:
    settings, data = facts.get("settings"), facts.get("data")
    try:
        if not (
            isinstance(settings, dict) and isinstance(data, dict) and isinstance(data["name"], str) and isinstance(data["files"], dict)
        ):
            raise TypeError("no settings")
        return NetworkSettings.from_record(settings["network"], str(folder)), TrainingSettings.from_record(settings["train"], str(folder))
    except (KeyError, TypeError, AttributeError):
        raise DataError(
            f"expected the settings and the data set of a run in {str(folder / 'manifest.json')!r}, found none; it ended before it began, "
            "or the file is damaged: train anew"
        ) from None


def may_change(training: TrainingSettings) -> tuple[str, ...]:
    """Return which settings may change: not the number of epochs where the learning rate, or what is averaged, depends on it."""
    from fastmlp.training.schedules import USES_EPOCHS

    depends = training.schedule in USES_EPOCHS or training.average == "swa"
    return tuple(name for name in MAY_CHANGE if name != "epochs" or not depends)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], may_change: tuple[str, ...]) -> list[str]:
    return [
        f"{name} {text_of(before[name])} → {text_of(now[name])}" for name in now if name not in may_change and before[name] != now[name]
    ]


def _refuse(run: "RunFolder", changes: list[str], may_change: tuple[str, ...] = MAY_CHANGE) -> None:
    if changes:
        raise ConfigError(
            f"cannot go on with {str(run.path)!r} as another training: {', '.join(changes)}; leave these as they were "
            f"(only {', '.join(may_change)} may change) or start a new run"
        )


def text_of(value: Any) -> str:
    """Return the value of a setting as it stands in a message."""
    if isinstance(value, (list, tuple)):
        return "-".join(map(str, value))
    return str(value).lower() if isinstance(value, (bool, type(None))) else str(value)


def _short(hashes: Mapping[str, Any], name: str) -> str:
    return str(hashes[name])[:12] if name in hashes else "none"
