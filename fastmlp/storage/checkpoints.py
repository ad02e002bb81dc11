"""The checkpoints of one run: numbered files of tensors and text metadata, of which the last two are kept.

    ckpt-000001.safetensors, ckpt-000002.safetensors, ...

Each is a file of model_file.py: sealed by a SHA-256 over all of it, and written atomically. What the tensors mean is the caller's
business; more of them, or of the metadata, is no other format.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy.typing as npt

from fastmlp.errors import FastmlpError, InputNotFound, ModelFileError, warn
from fastmlp.storage import model_file
from fastmlp.storage.atomic import make_folder, output_error, remove_leftovers

KEPT = 2  # the newest, and one to fall back to

_NAME = re.compile(r"ckpt-([0-9]{6,18})\.safetensors")
Read = TypeVar("Read")


class Found(NamedTuple):
    """A checkpoint file by its number."""

    number: int
    path: Path


class Checkpoints:
    """The checkpoints in a folder, which is made by the first `save`. One process at a time may save: the run's lock sees to that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._damaged: set[Path] = set()

    def save(self, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> Path:
        """Write one more checkpoint, then remove all but the newest that are sound; return its path.

        Raises OutputError or WriteError where it cannot be written; the earlier ones are then all there.
        """
        make_folder(self.folder)
        earlier = self._files()
        path = self.folder / f"ckpt-{1 + max((file.number for file in earlier), default=0):06d}.safetensors"
        model_file.write_tensors(path, tensors, metadata)
        sound = [file for file in earlier if file.path not in self._damaged]
        kept = {file.path for file in sound[len(sound) - (KEPT - 1) :]}
        for file in earlier:
            if file.path not in kept:
                try:
                    file.path.unlink(missing_ok=True)
                except OSError as error:
                    raise output_error(file.path, error) from error
        return path

    def newest(self, read: Callable[[Path, model_file.StoredTensors], Read]) -> Read | None:
        """Return what `read` makes of the newest checkpoint that it takes; None where none was ever written.

        One that is damaged, or that `read` refuses with a ModelFileError, is passed over with a warning. Raises ModelFileError where
        all are.
        """
        files = self._files()
        refused: FastmlpError | None = None
        for file in reversed(files):
            try:
                with model_file.open_tensors(file.path) as stored:
                    content = read(file.path, stored)
            except (ModelFileError, InputNotFound) as error:
                self._damaged.add(file.path)
                refused = error
                continue
            if refused is not None:
                warn(f"{refused}; going back to the checkpoint before it, {file.path.name}")
            return content
        if refused is not None:
            raise ModelFileError(f"expected a sound checkpoint in {str(self.folder)!r}, found none of {len(files)}: {refused}")
        return None

    def exist(self) -> bool:
        """Return whether there is any, sound or not."""
        return bool(self._files())

    def remove_leftovers(self) -> None:
        """Remove what a process left that was killed while it saved."""
        remove_leftovers(self.folder)

    def _files(self) -> list[Found]:
        """Return the files with the name of a checkpoint, oldest first."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputNotFound(f"cannot list the checkpoints in {str(self.folder)!r}: {reason}; check its path and permissions") from error
        matches = [match for name in names if (match := _NAME.fullmatch(name))]
        return sorted(Found(int(match[1]), self.folder / match[0]) for match in matches)
