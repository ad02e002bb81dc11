"""Write a file so that its name always stands for a complete content, the old one or the new one.

Knows bytes and paths only; no format lives here.
"""

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from fastmlp.errors import OutputError, WriteError

# What stops a write that had every right to start, and what helps; everything else means that the output cannot be created at all.
_BROKEN_OFF = {
    errno.ENOSPC: "make room there or choose another path",
    errno.EDQUOT: "make room in your quota or choose another path",
    errno.EIO: "check the disk or choose another path",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
}

_TEMPORARY = (".fastmlp-", ".tmp")  # how the name of a temporary file begins and ends


def write_atomically(path: str | os.PathLike[str], *data: bytes | memoryview) -> None:
    """Replace the content of `path` by `data`, its parts in order: temporary file beside it, fsync, rename, fsync of the folder.

    A new file gets the mode that the umask asks for, an existing one keeps its mode. A symbolic link stays: the file that it
    points to is written. Raises OutputError where the file cannot be created, WriteError where writing breaks off; either way no
    temporary file is left and the old content stands, unless it was the last step that failed, after the rename. (`kill -9` may leave
    a temporary file; `remove_leftovers` takes it away.)
    """
    try:
        target = os.path.realpath(path)
        folder = os.path.dirname(target)
        # The name does not grow out of the target's, which may already be as long as the file system allows.
        temporary = os.path.join(folder, f"{_TEMPORARY[0]}{secrets.token_hex(8)}{_TEMPORARY[1]}")
        old_mode = _writable_mode(target)
        try:
            _write_and_sync(temporary, data, old_mode)
            _rename(temporary, target)
        except BaseException:  # Ctrl-C too
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(folder)
    except (OSError, ValueError) as error:
        raise output_error(path, error) from error


def free_path(path: str | os.PathLike[str]) -> Path:
    """Return the first of name.ext, name-2.ext, name-3.ext … that does not exist yet."""
    wanted = candidate = Path(path)
    number = 1
    while os.path.lexists(candidate):  # a dangling link is taken too: writing would create what it points to
        number += 1
        candidate = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
    return candidate


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder unless it is there, and let its name last through a power cut; its parent must exist. Raises OutputError."""
    try:
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        _sync_folder(os.path.dirname(os.path.realpath(path)))
    except (OSError, ValueError) as error:
        raise output_error(path, error) from error


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed processes left in a folder. Only for one that no other process writes to."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(_TEMPORARY[0]) and name.endswith(_TEMPORARY[1]):
                os.unlink(os.path.join(folder, name))


def check_creatable(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Raise OutputError if a file could not be written to `path`, or would take the place of an input: better before hours of work."""
    target = os.path.realpath(path)
    try:
        if os.path.exists(target) and any(os.path.exists(read) and os.path.samefile(target, read) for read in inputs):
            raise OutputError(f"cannot create {os.fspath(path)!r}: it is what is read, and would be lost; choose another path")
        _writable_mode(target)
        with tempfile.TemporaryFile(dir=os.path.dirname(target)):
            pass
    except (OSError, ValueError) as error:
        raise output_error(path, error) from error


def output_error(path: str | os.PathLike[str], error: OSError | ValueError) -> OutputError:
    """Return the OutputError or WriteError that says in one line why `path` could not be written."""
    shown = repr(os.fspath(path))
    if not isinstance(error, OSError) or error.errno is None:
        return OutputError(f"cannot create {shown}: {error}; choose another path")
    reason = f"{os.strerror(error.errno)} ({errno.errorcode.get(error.errno, error.errno)})"
    if error.errno in _BROKEN_OFF:
        return WriteError(f"writing {shown} broke off: {reason}; {_BROKEN_OFF[error.errno]}")
    advice = "create its folder first or choose another path" if error.errno == errno.ENOENT else "choose another path"
    return OutputError(f"cannot create {shown}: {reason}; {advice}")


def _writable_mode(target: str) -> int | None:
    """Return the permissions of the file that is about to be replaced, None where there is none.

    Renaming asks the folder alone for permission, so what opening would refuse is refused here: folders, devices, files that may
    not be written.
    """
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise ValueError("it is a device or a pipe, expected a regular file")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return stat.S_IMODE(mode) & 0o777


def _write_and_sync(temporary: str, data: tuple[bytes | memoryview, ...], mode: int | None) -> None:
    # Mode 0o666 leaves the umask to the kernel: reading it would mean changing it, for every thread of the process.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        # Changed only where it differs: some file systems know one mode for all and refuse every change.
        if mode is not None and stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.chmod(temporary, mode)
        for part in data:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        with contextlib.suppress(InterruptedError):  # the descriptor is gone by then, and its bytes are synced
            os.close(descriptor)


def _rename(temporary: str, target: str) -> None:
    while True:
        try:
            return os.replace(temporary, target)
        except InterruptedError:  # Python itself repeats open, write and fsync, but not rename
            continue


def _sync_folder(folder: str) -> None:
    """Make a rename last through a power cut, where the system can sync a folder."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # a folder that may be written but not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        with contextlib.suppress(InterruptedError):
            os.close(descriptor)
