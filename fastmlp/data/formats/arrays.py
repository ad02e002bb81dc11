"""Arrays of NumPy as tables: one of rows, or an NPZ file of columns and blocks of columns."""

import io
import math
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from fastmlp import machine
from fastmlp.data import npy
from fastmlp.data.formats.backend import polars
from fastmlp.errors import DataError, NotEnoughMemory

NPY = npy.MAGIC
ZIP = b"PK\3\4"


def frame_of(arrays: Mapping[str, np.ndarray], shown: str) -> Any:
    """Return arrays as one frame: of a single one the columns x1, x2, …; of several their names, with a number where they have columns.

    Each array has (rows,) values, (rows, columns), or (rows, height, width) of pictures, whose pixels are columns.
    """
    pl = polars()
    lengths = {name: len(array) if array.ndim else None for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        found = ", ".join(f"{name} {arrays[name].shape}" for name in list(arrays)[:8])
        raise DataError(
            f"{shown}: expected arrays with a row for each row of the table, found {found}; "
            "save training and test rows in files of their own: np.savez('train.npz', x=x_train, y=y_train)"
        )
    columns = {}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufU":
            raise DataError(f"{shown}: {name}: expected numbers or texts, found {array.dtype}; convert it with astype")
        flat = array.reshape(len(array), math.prod(array.shape[1:]))
        is_column = array.ndim == 1 and len(arrays) > 1
        names = [name] if is_column else [f"{name}{number + 1}" for number in range(flat.shape[1])]
        for number, column in enumerate(names):
            if column in columns:
                raise DataError(f"{shown}: {name}: expected names of its own for its columns, found {column!r} twice; rename the array")
            values = np.ascontiguousarray(flat[:, number], flat.dtype.newbyteorder("="))
            if values.dtype == np.float16:
                values = values.astype(np.float32)
            columns[column] = pl.Series(column, values.tolist() if values.dtype.kind == "U" else values)
    return pl.DataFrame(columns)


def read_npy_bytes(content: bytes, shown: str) -> np.ndarray:
    """Return the array in the content of an NPY file."""
    return npy.read_stream(io.BytesIO(content), len(content), shown)


def read_npz(file: IO[bytes], shown: str) -> dict[str, np.ndarray]:
    """Return the arrays of an NPZ file by name; numbers and texts, never an object. Raises DataError, NotEnoughMemory."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            total, left = sum(member.file_size for member in members), machine.memory_left()
            if left is not None and total > left // 2:
                raise NotEnoughMemory(f"{shown}: {total >> 20} MiB of arrays are more than half of the memory there is")
            arrays = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as opened:
                    arrays[name] = npy.read_stream(opened, member.file_size, f"{shown}: {name}", takes_texts=True)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise DataError(f"{shown}: expected an undamaged NPZ file, found: {error}") from None
    if not arrays:
        raise DataError(f"{shown}: expected at least one array, found none")
    return arrays
