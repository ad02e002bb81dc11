"""Files of machine code: which of them may be run, and how they are written.

They are pickles: whoever can write one runs anything here. So code is taken only from a plain file with one name that belongs to the user,
or to root, in a folder that nobody else can change or exchange. The rules are those of OpenSSH for its keys (sshd_config, StrictModes).
"""

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from pathlib import Path

LARGEST_FILE = 1 << 26  # bytes; ours have up to 0.5 MB
MOST_LINKS = 40  # symbolic links on a path, as Linux allows
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
# None of them exists on every system. O_NONBLOCK: opening a pipe would wait for its other end.
OPEN_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class Distrusted(Exception):
    """Somebody else could have put this here, or could exchange it."""


class Damaged(Exception):
    """A file that holds something else than what was kept in it."""


def read(path: Path) -> bytes:
    """Return what was kept in a file of code. Raises FileNotFoundError, Distrusted, Damaged, or another OSError."""
    descriptor = os.open(trusted(path.parent) / path.name, OPEN_FLAGS)
    try:
        status = os.fstat(descriptor)  # of what is open, whatever has that name by now
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= LARGEST_FILE:
            raise Damaged("expected a plain file of code")
        if status.st_nlink != 1 or _is_foreign(status) or status.st_mode & OTHERS_MAY_WRITE and hasattr(os, "geteuid"):
            raise Damaged("expected a file that is the user's alone")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(status.st_size)
    finally:
        os.close(descriptor)
    stored, payload = content[:SEAL], content[SEAL:]
    if stored != _seal(path, payload):
        raise Damaged("expected a file as it was written")
    return payload


def write(path: Path, payload: bytes) -> None:
    """Keep code in a file, atomically. Raises Distrusted, or an OSError."""
    _make_private(path.parent)
    target = trusted(path.parent) / path.name
    temporary = target.with_suffix(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", opener=_for_owner_only) as file:
            file.write(_seal(path, payload) + payload)
        temporary.replace(target)
    except BaseException:  # a process that is told to end among them
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def can_keep(folder: Path) -> bool:
    """Return whether code can be kept in a folder, which is made if it is missing."""
    try:
        _make_private(folder)
        return os.access(trusted(folder), os.W_OK)
    except (Distrusted, OSError):
        return False


def trusted(folder: Path) -> Path:
    """Return a folder by the path that is left when its symbolic links are followed; raise Distrusted where others can change that path.

    Each folder and each link on the way belongs to the user or to root, and nobody else may write to a folder. One that is sticky, as
    /tmp, may be on the way, but hold no code: there others can put files, but not take away what is ours.
    """
    if not hasattr(os, "geteuid"):  # Windows has other rights
        return folder
    rest = list(reversed(folder.absolute().parts))
    place = Path(rest.pop())
    status = os.lstat(place)
    links = 0
    while True:
        if _is_foreign(status):
            raise Distrusted(f"{place} belongs to another user")
        if status.st_mode & OTHERS_MAY_WRITE and not (status.st_mode & stat.S_ISVTX and rest):
            raise Distrusted(f"{place} can be written by others (chmod go-w)")
        if not rest:
            return place
        part = rest.pop()
        if part == "..":
            place = place.parent
            status = os.lstat(place)
            continue
        status = os.lstat(place / part)
        if not stat.S_ISLNK(status.st_mode):
            place /= part
            continue
        links += 1
        if _is_foreign(status):
            raise Distrusted(f"{place / part} is a link that belongs to another user")
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = Path(os.readlink(place / part))
        place = Path(target.anchor) if target.is_absolute() else place
        rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        status = os.lstat(place)


SEAL = hashlib.sha256().digest_size  # bytes at the start of a file


def _seal(path: Path, payload: bytes) -> bytes:
    """Return the checksum of a file of code. Its name and folder count, so that it is never taken for another kernel or version."""
    return hashlib.sha256(f"{path.parent.name}/{path.name}".encode() + b"\0" + payload).digest()


def _is_foreign(status: os.stat_result) -> bool:
    return hasattr(os, "geteuid") and status.st_uid not in (0, os.geteuid())


def _make_private(folder: Path) -> None:
    """Make a folder and those above it that are missing, each for its owner only, whatever the umask."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process makes the same
            one.mkdir(mode=0o700)


def _for_owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
