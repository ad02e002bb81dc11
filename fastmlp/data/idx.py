"""The IDX format of MNIST: a strict reader and a writer.

    bytes 0, 1   zero
    byte  2      type code of the values
    byte  3      number of dimensions D
    bytes 4 …    D dimensions, 32-bit unsigned, most significant byte first
    then         the values in C order, most significant byte first; nothing behind them

Source of the format: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".
May not know which data sets exist or where files come from.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastmlp.data.gzipped import GZIP_MAGIC, Buffer, Source, display_name, open_stream
from fastmlp.errors import DataError, OutputError, WriteError

TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
CODES = {dtype: code for code, dtype in TYPES.items()}
MAX_DIMENSIONS = 32  # as many as every supported NumPy can hold
MAX_BYTES = 1 << 30


class Header(NamedTuple):
    """What the first bytes of an IDX file say."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def offset(self) -> int:
        """Return where the values begin, in bytes."""
        return 4 + 4 * len(self.shape)

    @property
    def size(self) -> int:
        """Return the length of the whole file in bytes."""
        return self.offset + math.prod(self.shape) * np.dtype(self.dtype).itemsize


def read_idx(
    source: Source,
    *,
    name: str | None = None,
    dtype: str | None = None,
    shape: Sequence[int | None] | None = None,
    max_bytes: int = MAX_BYTES,
) -> np.ndarray:
    """Return the array of an IDX file, plain or gzip-compressed, in native byte order and read-only.

    `source` is a path or the bytes of a file; `name` stands for it in messages. `dtype` and `shape` say what is expected: None,
    in a shape for one dimension, takes what comes. A file that claims more than `max_bytes` is refused before its values are read.
    Raises DataError for everything that is not exactly one IDX file, InputNotFound where a path cannot be opened.
    """
    shown = display_name(source) if name is None else name
    data: Buffer
    if isinstance(source, Buffer) and bytes(source[:2]) != GZIP_MAGIC:
        data = source
        header = parse_header(bytes(data[: 4 + 4 * 255]), shown)
        _check_header(header, shown, dtype, shape, max_bytes)
    else:
        with open_stream(source, shown) as stream:
            data = stream.read(4)
            if len(data) == 4:
                data += stream.read(4 * data[3])
            header = parse_header(bytes(data), shown)
            _check_header(header, shown, dtype, shape, max_bytes)
            data += stream.read(header.size + 1 - len(data))  # one byte more than there may be: proof of the end
    if len(data) < header.size:
        raise _fault(shown, len(data), f"{header.size:,} bytes in all, as the header says", f"the end after {len(data):,}")
    if len(data) > header.size:
        raise _fault(shown, header.size, f"the end of {_text(header.shape)} values of {header.dtype}", "more bytes")
    values = np.frombuffer(data, dtype=np.dtype(header.dtype).newbyteorder(">"), offset=header.offset)
    array = values.astype(header.dtype, copy=False).reshape(header.shape)
    array.flags.writeable = False
    return array


def parse_header(head: bytes, name: str) -> Header:
    """Read the header from the first bytes of a file; `head` may be longer than the header, not shorter."""
    if len(head) < 4:
        raise _fault(name, len(head), "an IDX header of at least 8 bytes", f"the end after {len(head)}")
    if head[:2] != b"\x00\x00":
        raise _fault(name, 0, "the bytes 00 00 of an IDX file", head[:2].hex(" "))
    code, dimensions = head[2], head[3]
    if code not in TYPES:
        known = ", ".join(f"{code:02x} {dtype}" for code, dtype in TYPES.items())
        raise _fault(name, 2, f"a type code ({known})", f"{code:02x}")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise _fault(name, 3, f"1 to {MAX_DIMENSIONS} dimensions", str(dimensions))
    if len(head) < 4 + 4 * dimensions:
        raise _fault(name, len(head), f"{dimensions} dimensions, {4 + 4 * dimensions} bytes of header", f"the end after {len(head)}")
    shape = tuple(int.from_bytes(head[at : at + 4], "big") for at in range(4, 4 + 4 * dimensions, 4))
    if 0 in shape:
        raise _fault(name, 4 + 4 * shape.index(0), "a dimension of at least 1", "0")
    return Header(TYPES[code], shape)


def encode_idx(array: np.ndarray) -> bytes:
    """Return the bytes of an IDX file that holds `array`, of any layout and byte order; DataError where IDX has no place for it."""
    array = np.asarray(array)
    dtype = array.dtype.newbyteorder("=").name
    if dtype not in CODES:
        raise DataError(f"IDX holds {', '.join(CODES)}; found an array of {dtype}; convert it first")
    if not 1 <= array.ndim <= MAX_DIMENSIONS or 0 in array.shape:
        raise DataError(f"IDX holds arrays of 1 to {MAX_DIMENSIONS} dimensions, none of them 0; found shape {array.shape}")
    head = bytes((0, 0, CODES[dtype], array.ndim)) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return head + array.astype(array.dtype.newbyteorder(">"), copy=False).tobytes()


def write_idx(path: str | Path, array: np.ndarray) -> None:
    """Write `array` as a plain IDX file; OutputError or WriteError name the path and the reason."""
    data = encode_idx(array)
    try:
        file = open(path, "wb")
    except (OSError, ValueError) as error:
        raise OutputError(f"{display_name(path)}: cannot be created: {getattr(error, 'strerror', None) or error}") from error
    try:
        with file:
            file.write(data)
    except OSError as error:
        raise WriteError(f"{display_name(path)}: writing broke off: {error.strerror}") from error


def _check_header(header: Header, name: str, dtype: str | None, shape: Sequence[int | None] | None, max_bytes: int) -> None:
    if dtype is not None and header.dtype != dtype:
        raise _fault(name, 2, f"type code {CODES[dtype]:02x} ({dtype})", f"{CODES[header.dtype]:02x} ({header.dtype})")
    if shape is not None:
        if len(header.shape) != len(shape):
            raise _fault(name, 3, f"{len(shape)} dimensions ({_text(shape)})", f"{len(header.shape)} ({_text(header.shape)})")
        for axis, (expected, found) in enumerate(zip(shape, header.shape, strict=True)):
            if expected is not None and found != expected:
                raise _fault(name, 4 + 4 * axis, f"dimensions {_text(shape)}", _text(header.shape))
    if header.size > max_bytes:
        found_text = f"{_text(header.shape)} values of {header.dtype}, {header.size:,} bytes"
        raise _fault(name, 4, f"a file of at most {max_bytes:,} bytes", found_text)


def _fault(name: str, place: int, expected: str, found: str) -> DataError:
    return DataError(f"{name}: byte {place}: expected {expected}, found {found}")


def _text(shape: Sequence[int | None]) -> str:
    return " x ".join("n" if length is None else str(length) for length in shape)
