"""Tensors and text metadata in one safetensors file, sealed by a checksum and checked in full before it is believed.

    8 bytes    length of the header, little-endian
    header     JSON: {"__metadata__": {text: text}, tensor name: {"dtype", "shape", "data_offsets"}, ...}, padded with spaces
    data       the tensors one after the other, C order, little-endian, no holes

Metadata hold "fastmlp.format", "fastmlp.version", "created", "sha256" and whatever the caller adds (a network: "config", "classes",
"preprocess", one JSON text each). "sha256" is the checksum of the whole file with its own 64 digits taken as zeros. What tensors and
metadata mean is the caller's business.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from fastmlp.data.known_formats import HEAD, described
from fastmlp.errors import InputNotFound, ModelFileError, NotEnoughMemory
from fastmlp.machine import memory_left
from fastmlp.storage.atomic import write_atomically
from fastmlp.storage.json_text import parse
from fastmlp.storage.json_text import short as _short

FORMAT = "1"  # readers refuse another number before the first dot, and ignore metadata keys that they do not know
MAX_TEXT = 1 << 20  # bytes of the header, and characters of one JSON text

CHUNK = 1 << 22  # bytes read and summed up at a time: both while they are in a cache

DTYPES = {name: np.dtype(code) for name, code in {"F32": "<f4", "F64": "<f8", "U8": "u1", "I32": "<i4", "I64": "<i8", "U64": "<u8"}.items()}

_CODES = {dtype: name for name, dtype in DTYPES.items()}
_ORDER = ("U64", "I64", "F64", "F32", "I32", "U8")  # of the data in a file: wide numbers first, so that all lie aligned
_METADATA = "__metadata__"
_DAMAGED = "the file is damaged, copy it anew"
_FOREIGN = "this is not a model file of fastmlp"
_UNSEALED = "0" * 64
_SEAL = re.compile(rb'"sha256":"([0-9a-f]{64})"')


Shapes = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]  # of tensors, by name


class TensorFile(NamedTuple):
    """What a file holds: arrays that the caller owns and may write to, and the metadata as they were stored."""

    tensors: dict[str, npt.NDArray[Any]]
    metadata: dict[str, str]

    @property
    def shapes(self) -> Shapes:
        """Type and shape of each tensor."""
        return {name: (tensor.dtype, tensor.shape) for name, tensor in self.tensors.items()}

    def read_into(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Copy tensors into arrays of their types and shapes."""
        for name, array in arrays.items():
            array[...] = self.tensors[name]


class _Entry(NamedTuple):
    """Where one tensor lies: offsets count from the end of the header."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


class StoredTensors:
    """A file of write_tensors that is open: its header is known to be sound, its tensors are still on the disk."""

    def __init__(self, path: str, file: BinaryIO, header: bytes, entries: list[_Entry], metadata: dict[str, str]) -> None:
        self.metadata = metadata
        self._path, self._file, self._header, self._entries = path, file, header, entries

    @property
    def shapes(self) -> Shapes:
        """Type and shape of each tensor."""
        return {entry.name: (entry.dtype.newbyteorder("="), entry.shape) for entry in self._entries}

    def read_into(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Fill arrays of the tensors' types and shapes, C-contiguous, without a second copy; other tensors are passed over.

        Once only. Raises ModelFileError where the checksum of the whole file is another one: the arrays then hold anything.
        """
        digest = _digest(self._header)
        other = memoryview(bytearray(CHUNK))
        for entry in self._entries:
            array = arrays.get(entry.name)
            into = None if array is None else array.reshape(-1).view(np.uint8).data  # reshape: no copy of what is contiguous
            left = entry.end - entry.begin
            while left > 0:
                done = entry.end - entry.begin - left
                part = other[: min(left, CHUNK)] if into is None else into[done : done + CHUNK]
                count = self._file.readinto(part)  # type: ignore[attr-defined]
                if not count:
                    raise ModelFileError(f"{self._path!r}: expected {left} more bytes of tensors; it shrank while it was read, try again")
                digest.update(part[:count])
                left -= count
            if array is not None and sys.byteorder == "big":
                array.byteswap(inplace=True)
        if self.metadata["sha256"] != digest.hexdigest():
            raise ModelFileError(f"{self._path!r}: the checksum does not match its content; {_DAMAGED}")


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write tensors of any memory layout, with metadata, to `path`; an existing file is replaced at once or not at all.

    "fastmlp.format", "fastmlp.version" and "sha256" are filled in, "created" (UTC) where `metadata` has none: equal arguments
    then give equal bytes. Tensors that are contiguous are not copied. Raises ModelFileError for what the format cannot hold,
    OutputError or WriteError as write_atomically does.
    """
    try:
        content = _serialize(tensors, metadata)
    except ModelFileError as error:
        raise ModelFileError(f"cannot store this in {os.fspath(path)!r}: {error}") from error.__cause__
    write_atomically(path, *content)


@contextlib.contextmanager
def open_tensors(path: str | os.PathLike[str]) -> Iterator[StoredTensors]:
    """Open a file of write_tensors.

    Raises InputNotFound where there is no file to read, ModelFileError for one that is damaged, malformed or of another
    format, NotEnoughMemory for one that does not fit; no byte of a tensor is looked at before the header is known to be sound.
    """
    shown = os.fspath(path)
    with _open_regular(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            try:
                header = _read_header(file, size)
                entries, metadata = _check_header(header, size - 8 - len(header))
                _check_memory(size)
            except (ModelFileError, NotEnoughMemory) as error:
                raise type(error)(f"{shown!r}: {error}") from None
            yield StoredTensors(shown, file, header, entries, metadata)
        except OSError as error:
            raise ModelFileError(f"{shown!r}: reading broke off: {error.strerror}; copy the file anew") from error
        except MemoryError as error:
            if isinstance(error, NotEnoughMemory):
                raise
            raise NotEnoughMemory(f"{shown!r}: reading it needs {size} bytes of memory, which are not free") from None


def read_tensors(path: str | os.PathLike[str]) -> TensorFile:
    """Read a file of write_tensors in full. Raises what open_tensors does."""
    with open_tensors(path) as stored:
        arrays = {name: np.empty(shape, dtype) for name, (dtype, shape) in stored.shapes.items()}
        stored.read_into(arrays)
    return TensorFile(arrays, stored.metadata)


def strict_json(text: str, what: str) -> Any:
    """Decode JSON that came from a file, as json_text.py does; `what` names its place in the ModelFileError."""
    if len(text) > MAX_TEXT:
        raise ModelFileError(f"{what}: expected at most {MAX_TEXT} characters of JSON, got {len(text)}")
    try:
        return parse(text)
    except ValueError as error:
        raise ModelFileError(f"{what}: not valid JSON: {_short(error)}") from None


def _serialize(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """Return the parts of a whole file: length of the header, header, tensors, in the order in which safetensors lays them."""
    from fastmlp import __version__

    created = datetime.now(UTC).isoformat(timespec="seconds")
    own = {"fastmlp.format": FORMAT, "fastmlp.version": __version__, "sha256": _UNSEALED}
    arrays = {name: _storable(name, tensor) for name, tensor in tensors.items()}
    codes = {name: _CODES[array.dtype] for name, array in arrays.items()}
    order = sorted(arrays, key=lambda name: (_ORDER.index(codes[name]), name))
    content: dict[str, Any] = {_METADATA: dict(sorted({"created": created, **metadata, **own}.items()))}
    end = 0
    for name in order:
        begin, end = end, end + arrays[name].nbytes
        content[name] = {"dtype": codes[name], "shape": list(arrays[name].shape), "data_offsets": [begin, end]}
    try:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, UnicodeEncodeError) as error:
        raise ModelFileError(f"{_short(error)}; use names and metadata of plain text") from error
    header = text + b" " * (-len(text) % 8)
    if len(header) > MAX_TEXT:
        raise ModelFileError(f"expected at most {MAX_TEXT} bytes of names and metadata, got {len(header)}; shorten the class names")
    _check_header(header, end)  # what cannot be read back is not written
    data = [arrays[name].reshape(-1).view(np.uint8).data for name in order if arrays[name].size]
    digest = _digest(header)
    for part in data:
        digest.update(part)
    begin, end = _seal_span(header)
    return [len(header).to_bytes(8, "little"), header[:begin] + digest.hexdigest().encode() + header[end:], *data]


def _storable(name: str, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a tensor as safetensors needs it: it writes the memory as it lies, whatever the strides say."""
    if name == _METADATA:
        raise ModelFileError(f"no tensor can have the name {name!r}; choose another")
    dtype = np.asarray(tensor).dtype.newbyteorder("<")
    if dtype not in DTYPES.values():
        known = ", ".join(known.name for known in DTYPES.values())
        raise ModelFileError(f"tensor {_short(name)}: expected one of {known}, got {dtype.name}; convert it")
    return np.asarray(tensor, dtype=dtype, order="C")  # not ascontiguousarray, which turns a scalar into a vector


def _open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    expected = f"expected a model file at {os.fspath(path)!r}"
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):  # asked before opening, which would wait for the other end of a pipe
            return open(path, "rb")
    except FileNotFoundError:
        raise InputNotFound(f"{expected}, found nothing; check the path") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputNotFound(f"{expected}, cannot open it: {reason}; check the path and its permissions") from error
    kind = "a folder; name the file in it" if stat.S_ISDIR(mode) else "a device or a pipe; copy it to a file first"
    raise ModelFileError(f"{expected}, found {kind}")


def _read_header(file: BinaryIO, size: int) -> bytes:
    prefix = file.read(8)
    if len(prefix) < 8:
        raise ModelFileError(f"expected at least 8 bytes, got {size}; {_FOREIGN}")
    length = int.from_bytes(prefix, "little")
    if length > MAX_TEXT:
        what = described(file.name if isinstance(file.name, str) else "", prefix + file.read(HEAD))
        raise ModelFileError(f"expected a model file of fastmlp (safetensors), {what}")
    header = file.read(length)
    if len(header) < length:
        raise ModelFileError(f"expected a header of {length} bytes, got {len(header)}; {_DAMAGED}")
    return header


def _check_header(header: bytes, data_size: int) -> tuple[list[_Entry], dict[str, str]]:
    """Return the tensors in the order of their data, and the metadata; ModelFileError unless every byte is accounted for."""
    if not header.startswith(b"{"):
        raise ModelFileError(f"expected a header that starts with '{{', got {_short(header[:8])}; {_FOREIGN}")
    try:
        text = header.decode()
    except UnicodeDecodeError as error:
        raise ModelFileError(f"expected a header in UTF-8, got something else at byte {8 + error.start}; {_DAMAGED}") from None
    content = strict_json(text, "header")
    metadata = content.pop(_METADATA, None)
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ModelFileError(f"expected metadata of text, got {_short(metadata)}; {_FOREIGN}")
    _check_format(metadata.get("fastmlp.format"))
    begin, end = _seal_span(header)
    if metadata.get("sha256") != header[begin:end].decode():
        raise ModelFileError(f"expected the metadata key 'sha256', found none; {_FOREIGN}")
    entries = sorted((_check_entry(name, info) for name, info in content.items()), key=lambda entry: (entry.begin, entry.end))
    position = 0
    for entry in entries:
        if entry.begin != position:
            raise ModelFileError(f"tensor {_short(entry.name)}: expected data from byte {position} on, got {entry.begin}; {_DAMAGED}")
        position = entry.end
    if position != data_size:
        raise ModelFileError(f"expected {position} bytes of tensors, got {data_size}; {_DAMAGED}")
    return entries, metadata


def _check_format(found: str | None) -> None:
    if found is None:
        raise ModelFileError(f"expected the metadata key 'fastmlp.format', found none; {_FOREIGN}")
    match = re.fullmatch(r"([0-9]{1,9})(\.[0-9]{1,9})*", found)
    if match and int(match[1]) > int(FORMAT):
        raise ModelFileError(
            f"expected format {FORMAT}, got {_short(found)}, written by a newer version of fastmlp; update fastmlp to read it"
        )
    if not match or match[1] != FORMAT:
        raise ModelFileError(f"expected format {FORMAT}, got {_short(found)}; {_DAMAGED}")


def _check_entry(name: str, info: Any) -> _Entry:
    if not isinstance(info, dict) or info.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"tensor {_short(name)}: expected dtype, shape and data_offsets, got {_short(info)}; {_DAMAGED}")
    code, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    dtype = DTYPES.get(code) if isinstance(code, str) else None
    if dtype is None:
        raise ModelFileError(f"tensor {_short(name)}: expected a dtype of {', '.join(DTYPES)}, got {_short(code)}; {_FOREIGN}")
    # Sides are bounded even where one of them is 0: numpy multiplies the others all the same.
    if not _naturals(shape) or len(shape) > 32 or math.prod(filter(None, shape)) * dtype.itemsize >= 1 << 63:
        raise ModelFileError(f"tensor {_short(name)}: expected a shape, got {_short(shape)}; {_DAMAGED}")
    if not _naturals(offsets) or len(offsets) != 2:
        raise ModelFileError(f"tensor {_short(name)}: expected two data offsets, got {_short(offsets)}; {_DAMAGED}")
    begin, end = offsets
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ModelFileError(f"tensor {_short(name)}: expected as many bytes as {code} {_short(shape)} has, got {end - begin}; {_DAMAGED}")
    return _Entry(name, dtype, tuple(shape), begin, end)


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)  # True is an int as well


def _check_memory(size: int) -> None:
    left = memory_left()
    if left is not None and size > left:
        raise NotEnoughMemory(f"reading it needs {size} bytes of memory, this process may use {left} more; use a machine with more")


def _seal_span(header: bytes) -> tuple[int, int]:
    """Return where the digits of the checksum stand: 64 lower-case hexadecimal digits, exactly once.

    Quotes inside JSON strings are escaped, so no value can contain the pattern.
    """
    matches = list(_SEAL.finditer(header))
    if len(matches) != 1:
        raise ModelFileError(f"expected one checksum in the header, found {len(matches)}; {_DAMAGED}")
    return matches[0].span(1)


def _digest(header: bytes) -> Any:
    """Return the beginning of the SHA-256 of a whole file, its header, with the digits that state it taken as zeros."""
    digest = hashlib.sha256(len(header).to_bytes(8, "little"))
    digest.update(_SEAL.sub(b'"sha256":"' + _UNSEALED.encode() + b'"', header))
    return digest
