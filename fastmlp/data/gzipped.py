"""Files that may be gzip-compressed: read in order, in constant memory, up to the count that the caller asks for.

Exactly one gzip stream, complete and undamaged, with nothing behind it. What the bytes mean is for others to say.
"""

import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import BinaryIO

from fastmlp.data import known_formats
from fastmlp.errors import DataError, InputNotFound

Buffer = bytes | bytearray
Source = str | PathLike[str] | Buffer

GZIP_MAGIC = known_formats.GZIP
PIECE = 1 << 20
# What is fed to zlib at a time: small, because zlib hands back a copy of what it could not use yet.
COMPRESSED_PIECE = 1 << 16


class Stream:
    """The uncompressed bytes of a file; gzip is recognised by its first two bytes, not by the file's name."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file
        self._taken = 0
        self._peeked = b""  # uncompressed bytes that were looked at
        self._ahead = self._take(2)
        if len(self._ahead) == 1:
            self._ahead += self._take(1)
        self.compressed = self._ahead == GZIP_MAGIC
        self._inflate = zlib.decompressobj(wbits=31)  # 31: a gzip header and its checksum, not a bare zlib stream

    def read(self, count: int) -> bytearray:
        """Return the next `count` bytes, fewer only where the file ends."""
        data = bytearray()
        while len(data) < count:
            piece = self._next(min(count - len(data), PIECE))
            if not piece:
                break
            data += piece
        return data

    def peek(self, count: int) -> bytes:
        """Return the first `count` bytes, fewer only where the file ends, and leave them to be read. Only before the first read."""
        if self.compressed:
            self._peeked = bytes(self.read(count))
            return self._peeked
        self._ahead += self._take(max(0, count - len(self._ahead)))
        return self._ahead

    def _next(self, count: int) -> bytes:
        if self._peeked:
            peeked, self._peeked = self._peeked[:count], self._peeked[count:]
            return peeked
        if not self.compressed:
            return self._feed(count)
        while not self._inflate.eof:
            fed = self._inflate.unconsumed_tail or self._feed(COMPRESSED_PIECE)
            try:
                piece = self._inflate.decompress(fed, count)
            except zlib.error as error:
                place = self._taken - len(fed)
                raise DataError(f"{self.name}: after byte {place}: expected an undamaged gzip stream, found: {error}") from None
            if piece:
                return piece
            if not fed and not self._inflate.eof:
                raise DataError(f"{self.name}: byte {self._taken}: expected more of the gzip stream, found the end of the file")
        behind = len(self._inflate.unused_data) + len(self._take(1))
        if behind:
            place = self._taken - behind
            raise DataError(f"{self.name}: byte {place}: expected the end of the file after one gzip stream, found more bytes")
        return b""

    def _feed(self, count: int) -> bytes:
        """Return bytes of the file as they are, beginning with those that were read to recognise gzip."""
        if self._ahead:
            ahead, self._ahead = self._ahead[:count], self._ahead[count:]
            return ahead
        return self._take(count)

    def _take(self, count: int) -> bytes:
        try:
            piece = self._file.read(count)
        except OSError as error:
            raise DataError(f"{self.name}: byte {self._taken}: cannot be read: {error.strerror}") from error
        self._taken += len(piece)
        return piece


@contextmanager
def open_stream(source: Source, name: str | None = None) -> Iterator[Stream]:
    """Open a path, or bytes in memory, as a Stream; InputNotFound where a path cannot be opened."""
    shown = display_name(source) if name is None else name
    if isinstance(source, Buffer):
        yield Stream(io.BytesIO(source), shown)
        return
    with open_regular(source, shown) as file:
        yield Stream(file, shown)


def open_regular(path: str | PathLike[str], name: str | None = None) -> BinaryIO:
    """Open a file to be read. InputNotFound where it cannot be opened, DataError for a folder, a device or a pipe, which may never end."""
    shown = display_name(path) if name is None else name
    try:
        mode = os.stat(path).st_mode  # asked before opening, which for some devices does something
        if stat.S_ISREG(mode):
            # and not to wait for the other end of a pipe that has taken its place
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode):
                return open(descriptor, "rb")
            os.close(descriptor)
    except FileNotFoundError:
        raise InputNotFound(f"{shown}: expected a file, found none; check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = getattr(error, "strerror", None) or error
        raise InputNotFound(f"{shown}: expected a file that can be read, found: {reason}") from None
    if stat.S_ISDIR(mode):
        raise InputNotFound(f"{shown}: expected a file, found a folder; name a file in it")
    raise DataError(f"{shown}: expected a file, found a device or a pipe; copy it to a file first")


def read_whole(source: Source, size: int, name: str | None = None) -> bytearray:
    """Return the uncompressed bytes of a file that must hold exactly `size` of them; stops one byte after that."""
    with open_stream(source, name) as stream:
        data = stream.read(size + 1)
        if len(data) != size:
            found = f"{len(data):,} bytes" if len(data) < size else "more"
            raise DataError(f"{stream.name}: byte {min(len(data), size)}: expected {size:,} bytes in all, found {found}")
    return data


def display_name(source: Source) -> str:
    """Return a path as it can stand in a message of one line; bytes in memory have no name."""
    if isinstance(source, Buffer):
        return "bytes"
    text = str(source)
    return text if text.isprintable() and text else repr(text)
