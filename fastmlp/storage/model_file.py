"""Tensors and text metadata in one safetensors file, sealed by a checksum and checked in full before it is believed.

    8 bytes    length of the header, little-endian
    header     JSON: {"__metadata__": {text: text}, tensor name: {"dtype", "shape", "data_offsets"}, ...}, padded with spaces
    data       the tensors one after the other, C order, little-endian, no holes

Metadata hold "fastmlp.format", "fastmlp.version", "created", "sha256" and whatever the caller adds (a network: "config", "classes",
"preprocess", one JSON text each). "sha256" is the checksum of the whole file with its own 64 digits taken as zeros. What tensors and
metadata mean is the caller's business.
"""

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from fastmlp.errors import InputNotFound, ModelFileError, NotEnoughMemory
from fastmlp.machine import memory_limit
from fastmlp.storage.atomic import write_atomically

FORMAT = "1"  # readers refuse another number before the first dot, and ignore metadata keys that they do not know
MAX_TEXT = 1 << 20  # bytes of the header, and characters of one JSON text
MAX_DEPTH = 64  # brackets inside brackets in a JSON text
MAX_DIGITS = 20  # of an integer in a JSON text; 64 bits need no more

DTYPES = {name: np.dtype(code) for name, code in {"F32": "<f4", "F64": "<f8", "U8": "u1", "I32": "<i4", "I64": "<i8", "U64": "<u8"}.items()}

_METADATA = "__metadata__"
_DAMAGED = "the file is damaged, copy it anew"
_FOREIGN = "this is not a model file of fastmlp"
_UNSEALED = "0" * 64
_SEAL = re.compile(rb'"sha256":"([0-9a-f]{64})"')


class TensorFile(NamedTuple):
    """What a file holds: arrays that the caller owns and may write to, and the metadata as they were stored."""

    tensors: dict[str, npt.NDArray[Any]]
    metadata: dict[str, str]


class _Entry(NamedTuple):
    """Where one tensor lies: offsets count from the end of the header."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write tensors of any memory layout, with metadata, to `path`; an existing file is replaced at once or not at all.

    "fastmlp.format", "fastmlp.version" and "sha256" are filled in, "created" (UTC) where `metadata` has none: equal arguments
    then give equal bytes. Raises ModelFileError for what the format cannot hold, OutputError or WriteError as write_atomically does.
    """
    try:
        content = _serialize(tensors, metadata)
    except ModelFileError as error:
        raise ModelFileError(f"cannot store this in {os.fspath(path)!r}: {error}") from error.__cause__
    write_atomically(path, content)


def read_tensors(path: str | os.PathLike[str]) -> TensorFile:
    """Read a file of write_tensors.

    Raises InputNotFound where there is no file to read, ModelFileError for one that is damaged, malformed or of another
    format, NotEnoughMemory for one that does not fit; no byte of a tensor is looked at before the header is known to be sound.
    """
    with _open_regular(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            header = _read_header(file, size)
            data_size = size - 8 - len(header)
            entries, metadata = _check_header(header, data_size)
            _check_memory(size)
            data = file.read(data_size)
            if len(data) < data_size:
                raise ModelFileError(
                    f"expected {data_size} bytes of tensors, got {len(data)}; the file shrank while it was read, try again"
                )
            if metadata["sha256"] != _checksum(header, data):
                raise ModelFileError(f"the checksum does not match its content; {_DAMAGED}")
        except OSError as error:
            raise ModelFileError(f"{os.fspath(path)!r}: reading broke off: {error.strerror}; copy the file anew") from error
        except (ModelFileError, NotEnoughMemory) as error:
            raise type(error)(f"{os.fspath(path)!r}: {error}") from None
    return TensorFile({entry.name: _tensor(data, entry) for entry in entries}, metadata)


def strict_json(text: str, what: str) -> Any:
    """Decode JSON that came from a file; `what` names its place in the ModelFileError.

    Refused, beyond what is no JSON: NaN, infinities and numbers that overflow, duplicate keys, text that is no Unicode, and whatever
    exceeds MAX_TEXT, MAX_DEPTH or MAX_DIGITS.
    """
    if len(text) > MAX_TEXT:
        raise ModelFileError(f"{what}: expected at most {MAX_TEXT} characters of JSON, got {len(text)}")
    if _depth(text) > MAX_DEPTH:
        raise ModelFileError(f"{what}: expected JSON nested at most {MAX_DEPTH} deep, got more")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_finite, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # an escape like \ud800 alone stands for no character, and could never be printed
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{what}: not valid JSON: {_short(error)}") from None
    return value


def _serialize(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a whole file."""
    from safetensors import SafetensorError
    from safetensors.numpy import save

    from fastmlp import __version__

    created = datetime.now(UTC).isoformat(timespec="seconds")
    own = {"fastmlp.format": FORMAT, "fastmlp.version": __version__, "sha256": _UNSEALED}
    try:
        raw = save({name: _storable(name, tensor) for name, tensor in tensors.items()}, {"created": created, **metadata, **own})
    except (SafetensorError, TypeError, UnicodeEncodeError) as error:
        raise ModelFileError(f"{_short(error)}; use names and metadata of plain text") from error
    data_start = 8 + int.from_bytes(raw[:8], "little")
    data = raw[data_start:]
    # safetensors writes metadata in the random order of a hash map; sorted, equal content gives equal bytes.
    content = json.loads(raw[8:data_start])
    content[_METADATA] = dict(sorted(content[_METADATA].items()))
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    header = text + b" " * (-len(text) % 8)
    if len(header) > MAX_TEXT:
        raise ModelFileError(f"expected at most {MAX_TEXT} bytes of names and metadata, got {len(header)}; shorten the class names")
    _check_header(header, len(data))  # what cannot be read back is not written
    begin, end = _seal_span(header)
    header = header[:begin] + _checksum(header, data).encode() + header[end:]
    return len(header).to_bytes(8, "little") + header + data


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
        raise ModelFileError(f"expected a header of at most {MAX_TEXT} bytes, got {length}; {_FOREIGN}")
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
    limit = memory_limit()
    if limit is not None and 2 * size > limit:  # the bytes as read, and the arrays made of them
        raise NotEnoughMemory(f"reading it needs {2 * size} bytes of memory, this process may use {limit}; use a machine with more")


def _seal_span(header: bytes) -> tuple[int, int]:
    """Return where the digits of the checksum stand: 64 lower-case hexadecimal digits, exactly once.

    Quotes inside JSON strings are escaped, so no value can contain the pattern.
    """
    matches = list(_SEAL.finditer(header))
    if len(matches) != 1:
        raise ModelFileError(f"expected one checksum in the header, found {len(matches)}; {_DAMAGED}")
    return matches[0].span(1)


def _checksum(header: bytes, data: bytes) -> str:
    """Return the SHA-256 of the whole file, with the digits that state it taken as zeros."""
    digest = hashlib.sha256(len(header).to_bytes(8, "little"))
    digest.update(_SEAL.sub(b'"sha256":"' + _UNSEALED.encode() + b'"', header))
    digest.update(data)
    return digest.hexdigest()


def _tensor(data: bytes, entry: _Entry) -> npt.NDArray[Any]:
    flat = np.frombuffer(data, entry.dtype, math.prod(entry.shape), entry.begin) if entry.end > entry.begin else np.empty(0, entry.dtype)
    return flat.reshape(entry.shape).astype(entry.dtype.newbyteorder("="))  # a copy: aligned, native and writable


def _depth(text: str) -> int:
    """Return how deep brackets are nested, found without recursion."""
    depth = deepest = 0
    quoted = False
    for mark in re.findall(r'\\.|["\[\]{}]', text, re.DOTALL):
        if mark == '"':
            quoted = not quoted
        elif not quoted and mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif not quoted and mark in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        if name in value:
            raise ValueError(f"duplicate key {_short(name)}")
        value[name] = item
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {_short(digits)} is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _short(value: object) -> str:
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
