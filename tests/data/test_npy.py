"""NPY files: what NumPy writes is read, everything else is refused."""

import io
import pickle
import resource
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastmlp.data.npy import read_npy
from fastmlp.errors import DataError, InputNotFound

MAGIC = b"\x93NUMPY"
HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
DATA = np.arange(6, dtype="<f4").tobytes()


def npy(header=HEADER, data=DATA, version=(1, 0)):
    text = header.encode("latin-1") if isinstance(header, str) else header
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return MAGIC + bytes(version) + length + text + data


def written(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.npy"


NUMBERS = st.sampled_from(["u1", "<i2", ">i4", "<i8", "<f2", "<f4", ">f8"]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=3, max_side=5), elements={"allow_nan": False} if "f" in dtype else None)
)


@settings(max_examples=200)
@given(array=NUMBERS, order=st.sampled_from("CF"), version=st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_what_numpy_writes_is_read(tmp_path_factory, array, order, version):
    path = tmp_path_factory.getbasetemp() / "written.npy"
    path.write_bytes(written(np.asarray(array, order=order), version=version))
    read = read_npy(path)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype.newbyteorder("=")
    assert read.flags.c_contiguous


def test_booleans_are_read_as_bytes(path):
    np.save(path, np.array([[True, False]]))
    read = read_npy(path)
    assert read.dtype == np.uint8
    assert read.tolist() == [[1, 0]]


def test_no_rows_are_read_as_no_rows(path):
    np.save(path, np.empty((0, 784), np.float32))
    assert read_npy(path).shape == (0, 784)


BROKEN = {
    "empty": b"",
    "magic cut": MAGIC[:4],
    "other magic": b"PK\x03\x04" + bytes(100),
    "version 0": npy(version=(0, 0)),
    "version 1.7": npy(version=(1, 7)),
    "version 9": npy(version=(9, 0)),
    "header length cut": MAGIC + b"\x01\x00\x10",
    "header cut": npy()[:30],
    "header of 4 GB": MAGIC + b"\x02\x00" + b"\xff\xff\xff\xff" + HEADER.encode(),
    "header no literal": npy("{'descr': f, 'fortran_order': False, 'shape': (2, 3)}"),
    "header calls": npy("{'descr': print(1), 'fortran_order': False, 'shape': (2, 3)}"),
    "header open bracket": npy("{'descr': '<f4', 'shape': (2, "),
    "header open string": npy("{'descr': '<f4"),
    "header all brackets": npy("(" * 9000),
    "header all signs": npy("-" * 9000 + "1"),
    "header no dictionary": npy("[1, 2]"),
    "header with NUL": npy(b"\0" * 40),
    "header not UTF-8": npy(b"\xff\xfe{}", version=(3, 0)),
    "key missing": npy("{'descr': '<f4', 'shape': (2, 3)}"),
    "key too many": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}"),
    "object": npy(HEADER.replace("<f4", "|O"), pickle.dumps([1])),
    "complex": npy(HEADER.replace("<f4", "<c8"), DATA * 2),
    "text": npy(HEADER.replace("<f4", "<U4"), DATA * 4),
    "date": npy(HEADER.replace("<f4", "<M8[s]"), DATA * 2),
    "record": npy(HEADER.replace("'<f4'", "[('a', '<f4')]")),
    "type a tuple": npy(HEADER.replace("'<f4'", "('<f4', (2,))")),
    "type unknown": npy(HEADER.replace("<f4", "<f3")),
    "order no truth value": npy(HEADER.replace("False", "0")),
    "shape a list": npy(HEADER.replace("(2, 3)", "[2, 3]")),
    "shape of truth values": npy(HEADER.replace("(2, 3)", "(True, 3)")),
    "shape of floats": npy(HEADER.replace("(2, 3)", "(2.0, 3)")),
    "shape negative": npy(HEADER.replace("(2, 3)", "(-1, 3)")),
    "shape of terabytes": npy(HEADER.replace("(2, 3)", f"({2**40}, 3)")),
    "shape beyond 64 bits": npy(HEADER.replace("(2, 3)", f"({2**64}, {2**64})")),
    "shape of 4000 digits": npy(HEADER.replace("(2, 3)", f"({'9' * 4000}, {'9' * 4000})")),
    "no dimension": npy(HEADER.replace("(2, 3)", "()"), DATA[:4]),
    "four dimensions": npy(HEADER.replace("(2, 3)", "(1, 1, 2, 3)")),
    "one byte short": npy(data=DATA[:-1]),
    "one byte long": npy(data=DATA + b"\0"),
}


def test_broken_file_is_refused(path, subtests):
    for case, content in BROKEN.items():
        with subtests.test(case):
            path.write_bytes(content)
            with pytest.raises(DataError) as caught:
                read_npy(path)
            assert str(path) in str(caught.value)
            assert len(str(caught.value)) < 400


def test_archive_of_arrays_is_refused(path):
    np.savez(path.with_suffix(".npz"), a=np.zeros(3))
    with pytest.raises(DataError):
        read_npy(path.with_suffix(".npz"))


def test_missing_file_is_not_found(path):
    with pytest.raises(InputNotFound):
        read_npy(path)


def test_folder_is_not_found(tmp_path):
    with pytest.raises(InputNotFound):
        read_npy(tmp_path)


def test_claimed_size_costs_no_memory(path):
    path.write_bytes(npy(HEADER.replace("(2, 3)", f"({2**33},)")))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError):
        read_npy(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


@settings(max_examples=300)
@given(data=st.data())
def test_changed_bytes_give_an_array_or_a_data_error(tmp_path_factory, data):
    content = bytearray(npy())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.npy"
    path.write_bytes(content)
    try:
        assert isinstance(read_npy(path), np.ndarray)
    except DataError:
        pass
