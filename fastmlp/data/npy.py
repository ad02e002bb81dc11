"""Strict reader of NPY files: one array of plain numbers, never an object.

The header is read here and compared with the length of the file before anything is allocated, because a header may claim any
shape. NumPy's own reader is not used: it lets errors of many kinds through on a broken header. Nothing is ever unpickled.
Format: numpy.lib.format, "Format Version 1.0", "2.0" and "3.0".
"""

import ast
import math
import os
import re
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastmlp.data import known_formats
from fastmlp.data.gzipped import display_name, open_regular
from fastmlp.errors import DataError

MAGIC = known_formats.NPY
NUMBERS = re.compile(r"[<>=|]?(?:[iu][1248]|f[248]|b1)")  # as numpy.dtype.str; no objects, records, complex numbers or text
TEXTS = re.compile(r"[<>]U[1-9][0-9]{0,5}")
MOST_HEADER_BYTES = 10_000  # as NumPy's own limit
MOST_DIMENSIONS = 3


class Header(NamedTuple):
    """What an NPY file says of its array."""

    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]


def read_npy(path: str | Path) -> npt.NDArray[Any]:
    """Return the array of an NPY file: C order, native byte order, one to three dimensions.

    Integers, floats and booleans (as uint8) are read. Raises InputNotFound where the file cannot be opened, DataError for
    everything else that is wrong.
    """
    name = display_name(path)
    with open_regular(path, name) as file:
        return read_stream(file, os.fstat(file.fileno()).st_size, name)


def read_stream(file: IO[bytes], size: int, name: str, *, takes_texts: bool = False) -> npt.NDArray[Any]:
    """Return the array of an open NPY file of `size` bytes, as read_npy does; takes_texts: of texts, too."""
    try:
        header, begin = _read_header(file, name, takes_texts=takes_texts)
        expected = math.prod(header.shape) * header.dtype.itemsize
        length = size - begin
        data = file.read(expected) if length == expected else b""
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error
    if length != expected or len(data) != expected:
        raise DataError(
            f"{name}: expected {expected:,} bytes after the header, which promises {header.dtype} of shape {header.shape}, found {length:,}"
        )
    array = np.frombuffer(data, header.dtype).reshape(header.shape, order="F" if header.fortran_order else "C")
    return np.ascontiguousarray(array, header.dtype.newbyteorder("="))


def _read_header(file: IO[bytes], name: str, *, takes_texts: bool) -> tuple[Header, int]:
    """Read magic, version and header; return the header and how many bytes were read: up to the first one of the data."""
    start = file.read(len(MAGIC) + 2)
    if len(start) < len(MAGIC) + 2 or not start.startswith(MAGIC):
        raise DataError(f"{name}: expected an NPY file, which starts with {MAGIC!r}, found {start[: len(MAGIC)]!r}")
    version = start[len(MAGIC)]
    if version not in (1, 2, 3) or start[-1] != 0:
        raise DataError(f"{name}: expected NPY format 1.0, 2.0 or 3.0, found {version}.{start[-1]}")
    width = 2 if version == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > MOST_HEADER_BYTES:
        raise DataError(f"{name}: expected an NPY header of at most {MOST_HEADER_BYTES:,} bytes, found one of {length:,}")
    text = file.read(length)
    if len(text) != length:
        raise DataError(f"{name}: the file ends inside the NPY header: expected {length:,} bytes, found {len(text):,}")
    try:
        fields = ast.literal_eval(text.decode("utf-8" if version == 3 else "latin-1"))
    except Exception as error:  # literal_eval raises SyntaxError, ValueError, TypeError, MemoryError and RecursionError
        raise DataError(f"{name}: the NPY header is not a dictionary of plain values") from error
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        raise DataError(f"{name}: expected an NPY header with descr, fortran_order and shape, found {_short(fields)}")
    dtype = _dtype(fields["descr"], name, takes_texts=takes_texts)
    return Header(dtype, _order(fields["fortran_order"], name), _shape(fields["shape"], name)), len(start) + width + length


def _dtype(descr: object, name: str, *, takes_texts: bool) -> np.dtype[Any]:
    if takes_texts and isinstance(descr, str) and TEXTS.fullmatch(descr):
        return np.dtype(descr)
    if not isinstance(descr, str) or not NUMBERS.fullmatch(descr):
        wanted = "integers, floats, booleans or texts" if takes_texts else "integers, floats or booleans"
        raise DataError(f"{name}: expected an array of {wanted}, found type {_short(descr)}; convert it with astype")
    return np.dtype(np.uint8 if descr.endswith("b1") else descr)


def _order(fortran_order: object, name: str) -> bool:
    if not isinstance(fortran_order, bool):
        raise DataError(f"{name}: expected fortran_order True or False, found {_short(fortran_order)}")
    return fortran_order


def _shape(shape: object, name: str) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise DataError(f"{name}: expected a shape of whole numbers, found {_short(shape)}")
    if not 1 <= len(shape) <= MOST_DIMENSIONS:
        raise DataError(f"{name}: expected one to {MOST_DIMENSIONS} dimensions, found {len(shape)}: shape {_short(shape)}")
    return shape


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


class OpenArray:
    """The array of an open NPY file in C order, of which a few rows at a time are read. A context."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = display_name(path)
        self._file = open_regular(path, self.name)
        try:
            header, self._begin = _read_header(self._file, self.name, takes_texts=False)
            self.shape, self.dtype = header.shape, header.dtype
            self.bytes_of_row = math.prod(self.shape[1:]) * self.dtype.itemsize
            length, expected = os.fstat(self._file.fileno()).st_size - self._begin, self.bytes_of_row * self.shape[0]
            if length != expected:
                raise DataError(f"{self.name}: expected {expected:,} bytes after the header, found {length:,}")
            if header.fortran_order and len(self.shape) > 1:
                raise DataError(
                    f"{self.name}: expected rows one after the other (C order), found columns (Fortran order); "
                    "save it again: np.save(path, np.ascontiguousarray(x))"
                )
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "OpenArray":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def rows(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return rows first to last, as `read_npy` returns all."""
        self._file.seek(self._begin + first * self.bytes_of_row)
        data = self._file.read((last - first) * self.bytes_of_row)
        if len(data) != (last - first) * self.bytes_of_row:
            raise DataError(f"{self.name}: row {last:,}: expected its end, found the end of the file: it has become shorter")
        return np.frombuffer(data, self.dtype).reshape(last - first, *self.shape[1:]).astype(self.dtype.newbyteorder("="), copy=False)
