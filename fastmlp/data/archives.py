"""Single members of archives, read into memory: zip, tar, and the ar archive of a Debian package.

Nothing is ever extracted: no name from an archive becomes a path, links and devices are refused. Which archives and members
are wanted is for others to say.
"""

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from fastmlp.data.gzipped import display_name
from fastmlp.errors import DataError

MAX_MEMBERS = 10_000
MAX_BYTES = 1 << 29
AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
# What the readers of the standard library raise on damaged archives; RuntimeError is zipfile's for an encrypted member.
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RuntimeError)


def zip_member(path: Path, member: str, limit: int) -> bytes:
    """Return the bytes of one member of a zip archive, at most `limit` of them."""
    shown = display_name(path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            if member not in archive.namelist():
                raise DataError(f"{shown}: expected a member {member}, found none")
            with archive.open(member) as file:
                data = file.read(limit + 1)
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{shown}: expected an undamaged zip archive, found: {error}") from error
    if len(data) > limit:
        raise DataError(f"{shown}: {member}: expected at most {limit:,} bytes, found more")
    return data


def tar_members(file: BinaryIO, limits: Mapping[str, int], name: str) -> dict[str, bytes]:
    """Return the bytes of the members of a tar archive that `limits` names, each with the most bytes that it may have.

    The archive, plain or compressed by gzip, bzip2 or xz, is read once, in order, up to the last member that is wanted.
    """
    found: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            for count, info in enumerate(archive, start=1):
                total += info.size
                if count > MAX_MEMBERS or total > MAX_BYTES:
                    raise DataError(f"{name}: expected at most {MAX_MEMBERS:,} members and {MAX_BYTES:,} bytes, found more")
                if info.name not in limits:
                    continue
                if not info.isreg():
                    raise DataError(f"{name}: {info.name}: expected a plain file, found a link, folder or device")
                if info.size > limits[info.name]:
                    raise DataError(f"{name}: {info.name}: expected at most {limits[info.name]:,} bytes, found {info.size:,}")
                member = archive.extractfile(info)
                found[info.name] = member.read() if member is not None else b""
                if len(found) == len(limits):
                    break
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{name}: expected an undamaged tar archive, found: {error}") from error
    missing = [member for member in limits if member not in found]
    if missing:
        raise DataError(f"{name}: expected a member {missing[0]}, found none")
    return found


def deb_members(path: Path, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Return members of the files that a Debian package installs, as `tar_members` does.

    A package is an `ar` archive of debian-binary, control.tar and data.tar, each behind a header of 60 bytes (man 5 ar, man 5 deb).
    """
    shown = display_name(path.name)
    with open(path, "rb") as file:
        if file.read(len(AR_MAGIC)) != AR_MAGIC:
            raise DataError(f"{shown}: byte 0: expected a Debian package, found something else")
        while header := file.read(AR_HEADER):
            place = file.tell() - len(header)
            size = header[48:58].strip()
            if len(header) != AR_HEADER or header[58:] != b"`\n" or not size.isdigit():
                raise DataError(f"{shown}: byte {place}: expected an ar header of {AR_HEADER} bytes, found something else")
            if header[:16].startswith(b"data.tar"):
                content = file.read(int(size))
                if len(content) != int(size):
                    raise DataError(f"{shown}: data.tar: expected {int(size):,} bytes, found {len(content):,}")
                return tar_members(io.BytesIO(content), limits, shown)
            file.seek(int(size) + int(size) % 2, io.SEEK_CUR)  # members start at even bytes
    raise DataError(f"{shown}: expected a member data.tar, found none")
