"""The IDX reader takes exactly what the format allows, and says of everything else where and what is wrong."""

import gzip
import io
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.extra.numpy import array_shapes, arrays

from fastmlp.data.idx import CODES, encode_idx, read_idx, write_idx
from fastmlp.errors import DataError, InputNotFound, OutputError, WriteError


def idx(code: int, *shape: int, values: bytes = b"") -> bytes:
    return bytes((0, 0, code, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + values


IMAGES = idx(8, 2, 3, 3, values=bytes(range(18)))
LABELS = idx(8, 5, values=bytes([5, 0, 4, 1, 9]))

# name: (bytes, place of the fault)
MALFORMED = {
    "empty": (b"", 0),
    **{f"header of {length} of 16 bytes": (IMAGES[:length], length) for length in range(1, 16)},
    "labels cut in the header": (LABELS[:7], 7),
    "first byte not zero": (b"\x01" + IMAGES[1:], 0),
    "second byte not zero": (b"\x00\x01" + IMAGES[2:], 0),
    "little-endian magic": (b"\x03\x08\x00\x00" + IMAGES[4:], 0),
    "text": (b"label,pixel0,pixel1\n", 0),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(30), 0),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(30), 0),
    "html": (b"<!DOCTYPE html><html></html>", 0),
    "type 0": (idx(0, 2, values=b"12"), 2),
    "type 7": (idx(7, 2, values=b"12"), 2),
    "type 0a": (idx(0x0A, 2, values=b"12"), 2),
    "type 0f": (idx(0x0F, 2, values=b"12"), 2),
    "type ff": (idx(0xFF, 2, values=b"12"), 2),
    "no dimensions": (bytes((0, 0, 8, 0, 1)), 3),
    "33 dimensions": (idx(8, *[1] * 33, values=b"1"), 3),
    "255 dimensions": (idx(8, *[1] * 255, values=b"1"), 3),
    "255 dimensions, cut": (bytes((0, 0, 8, 255, 0, 0)), 3),
    "no rows": (idx(8, 0), 4),
    "no rows of 28 x 28": (idx(8, 0, 28, 28), 4),
    "no columns": (idx(8, 2, 0, 3), 8),
    "last dimension 0": (idx(8, 2, 3, 0), 12),
    "2^31 x 2^31": (idx(8, 1 << 31, 1 << 31, values=b"1234"), 4),
    "2^32 - 1 rows": (idx(8, (1 << 32) - 1, values=b"1234"), 4),
    "product beyond 64 bits": (idx(8, *[1 << 31] * 8, values=b"1234"), 4),
    "8 GB of float64": (idx(0x0E, 1 << 30, values=bytes(64)), 4),
    "header only": (IMAGES[:16], 16),
    "short by 1": (IMAGES[:-1], 33),
    "long by 1": (IMAGES + b"\0", 34),
    "long by a second file": (IMAGES + IMAGES, 34),
    "labels short by 1": (LABELS[:-1], 12),
    "labels long by 1": (LABELS + b"\0", 13),
    "float32 short by 3": (idx(0x0D, 2, values=bytes(5)), 13),
    "int16 of half the length": (idx(0x0B, 4, values=bytes(4)), 12),
    "float64 cut in a value": (idx(0x0E, 1, values=bytes(7)), 15),
    "int32 long by 2": (idx(0x0C, 1, values=bytes(6)), 12),
    "one dimension too many for the data": (idx(8, 2, 3, 3, 2, values=bytes(18)), 38),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_malformed_files_are_refused_with_name_and_place(packed, tmp_path, subtests):
    for case in MALFORMED:
        with subtests.test(case=case):
            data, place = MALFORMED[case]
            path = tmp_path / "digits"
            path.write_bytes(gzip.compress(data) if packed else data)
            with pytest.raises(DataError) as caught:
                read_idx(path)
            message = str(caught.value)
            assert message.startswith(f"{path}: byte {place}: expected ")
            assert ", found " in message
            assert "\n" not in message


def test_malformed_bytes_are_refused_like_files(subtests):
    for case in MALFORMED:
        with subtests.test(case=case):
            data, place = MALFORMED[case]
            with pytest.raises(DataError, match=rf"^digits: byte {place}: expected .*, found "):
                read_idx(data, name="digits")


@pytest.mark.parametrize(
    ("data", "expected", "place"),
    [
        (LABELS, {"shape": (None, 3, 3)}, 3),  # labels in the place of images
        (IMAGES, {"shape": (None,)}, 3),  # images in the place of labels
        (idx(8, 2, 1, 3, 3, values=bytes(18)), {"shape": (None, 3, 3)}, 3),
        (IMAGES, {"shape": (None, 28, 28)}, 8),
        (IMAGES, {"shape": (3, 3, 3)}, 4),
        (IMAGES, {"shape": (2, 3, 4)}, 12),
        (LABELS, {"dtype": "float32"}, 2),
        (idx(9, 5, values=bytes(5)), {"dtype": "uint8"}, 2),
        (IMAGES, {"max_bytes": 33}, 4),
    ],
)
def test_a_file_of_another_kind_than_expected_is_refused(data, expected, place):
    with pytest.raises(DataError, match=f"^bytes: byte {place}: expected "):
        read_idx(data, **expected)
    with pytest.raises(DataError, match=f"^bytes: byte {place}: expected "):
        read_idx(gzip.compress(data), **expected)


def test_a_file_of_the_expected_kind_is_read():
    images = read_idx(IMAGES, dtype="uint8", shape=(None, 3, 3), max_bytes=34)
    assert images.tolist() == [[[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[9, 10, 11], [12, 13, 14], [15, 16, 17]]]
    assert not images.flags.writeable


@pytest.mark.parametrize(
    ("code", "values", "expected"),
    [
        (0x08, b"\x00\xff", np.array([0, 255], np.uint8)),
        (0x09, b"\x80\x7f", np.array([-128, 127], np.int8)),
        (0x0B, b"\x01\x02\xff\xfe", np.array([258, -2], np.int16)),
        (0x0C, b"\x00\x01\x00\x00\xff\xff\xff\xff", np.array([65536, -1], np.int32)),
        (0x0D, b"\x3f\xc0\x00\x00\xff\x80\x00\x00", np.array([1.5, -np.inf], np.float32)),
        (0x0E, b"\x3f\xf8" + bytes(6) + b"\x7f\xf8" + bytes(6), np.array([1.5, np.nan], np.float64)),
    ],
)
def test_every_type_is_read_from_most_significant_byte_first(code, values, expected):
    array = read_idx(idx(code, 2, values=values))
    assert array.dtype == expected.dtype
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, expected)
    assert encode_idx(expected) == idx(code, 2, values=values)


TYPES = st.sampled_from([np.dtype(name).newbyteorder(order) for name in CODES for order in "<>"])


@hypothesis.settings(max_examples=300)
@hypothesis.given(arrays(TYPES, array_shapes(min_dims=1, max_dims=5, max_side=6)), st.booleans(), st.booleans())
def test_what_was_written_is_read_back(array, transposed, packed):
    array = array.T if transposed else array
    data = encode_idx(array)
    again = read_idx(gzip.compress(data) if packed else data)
    assert again.shape == array.shape
    assert again.dtype == array.dtype.newbyteorder("=")
    assert again.astype(array.dtype).tobytes() == array.tobytes()  # to the bit, NaNs included


@hypothesis.settings(max_examples=1000)
@hypothesis.given(st.one_of(st.binary(max_size=64), st.binary(max_size=40).map(lambda tail: b"\0\0\x08" + tail)), st.booleans())
def test_any_bytes_are_an_array_or_a_data_error(data, packed):
    try:
        array = read_idx(gzip.compress(data) if packed else data)
    except DataError:
        return
    assert encode_idx(array) == data  # one file has one meaning


@hypothesis.settings(max_examples=300)
@hypothesis.given(st.integers(0, 8 * len(gzip.compress(IMAGES)) - 1))
def test_a_gzip_file_with_a_flipped_bit_is_right_or_a_data_error(bit):
    packed = bytearray(gzip.compress(IMAGES))
    packed[bit // 8] ^= 1 << bit % 8
    try:
        array = read_idx(bytes(packed))
    except DataError:
        return
    assert encode_idx(array) == IMAGES  # flags and times in the gzip header say nothing about the data


def test_a_file_written_is_a_file_read(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    write_idx(tmp_path / "array", array[:, ::-1])
    np.testing.assert_array_equal(read_idx(tmp_path / "array"), array[:, ::-1])


@pytest.mark.parametrize(
    "array", [np.array(1, np.uint8), np.zeros((2, 0), np.uint8), np.arange(3), np.zeros(3, bool), np.zeros(3, complex), np.array(["a"])]
)
def test_arrays_that_idx_cannot_hold_are_refused(array, tmp_path):
    with pytest.raises(DataError, match="^IDX holds .*; found "):
        write_idx(tmp_path / "array", array)
    assert not (tmp_path / "array").exists()


def test_an_output_that_cannot_be_created_or_filled_is_named(tmp_path):
    array = np.zeros(100_000, np.uint8)
    with pytest.raises(OutputError, match="missing/array: cannot be created: No such file"):
        write_idx(tmp_path / "missing" / "array", array)
    with pytest.raises(WriteError, match="/dev/full: writing broke off: No space left"):
        write_idx("/dev/full", array)


def test_a_path_that_cannot_be_opened_is_input_not_found(tmp_path):
    for path in (tmp_path / "none", tmp_path, tmp_path / ("n" * 300), str(tmp_path) + "/a\0b", ""):
        with pytest.raises(InputNotFound, match="expected a file"):
            read_idx(path)


def test_a_newline_in_a_path_does_not_break_the_message(tmp_path):
    path = tmp_path / "two\nlines"
    with pytest.raises(InputNotFound) as caught:
        read_idx(path)
    assert "\n" not in str(caught.value)


# gzip


def packed_digits() -> bytes:
    values = np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8).tobytes()
    return gzip.compress(idx(8, 3, 10, 10, values=values), mtime=0)


def test_a_gzip_file_cut_anywhere_is_refused():
    whole = packed_digits()
    assert read_idx(whole).shape == (3, 10, 10)
    assert len(whole) > 200
    for length in range(len(whole)):
        with pytest.raises(DataError):
            read_idx(whole[:length])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:], "incorrect data check"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "incorrect length check"),
        (lambda data: data[:150] + bytes([data[150] ^ 255]) + data[151:], "gzip stream"),
        (lambda data: data[:2] + b"\x07" + data[3:], "unknown compression method"),
        (lambda data: data + b"\0", "expected the end of the file after one gzip stream"),
        (lambda data: data + data, "expected the end of the file after one gzip stream"),
        (lambda data: data + gzip.compress(b""), "expected the end of the file after one gzip stream"),
        (lambda data: gzip.compress(b"", mtime=0), "IDX header"),
        (lambda data: gzip.compress(data), "1f 8b"),
    ],
)
def test_a_damaged_gzip_file_is_refused(spoil, reason):
    with pytest.raises(DataError, match=reason):
        read_idx(spoil(packed_digits()), name="digits")


def test_a_gzip_file_is_known_by_its_content_not_by_its_name(tmp_path):
    (tmp_path / "plain.gz").write_bytes(LABELS)
    (tmp_path / "packed").write_bytes(gzip.compress(LABELS))
    assert read_idx(tmp_path / "plain.gz").tolist() == read_idx(tmp_path / "packed").tolist() == [5, 0, 4, 1, 9]


def gzip_bomb(head: bytes, megabytes: int) -> bytes:
    """Return a gzip stream of `head` and many zeros, made from one block over and over; its checksum is never reached."""
    deflate = zlib.compressobj(wbits=-15)
    start = deflate.compress(head) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + start + block * megabytes


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (idx(8, 2, 3, 3), "byte 34: expected the end of 2 x 3 x 3 values"),  # says little, holds 10 GB
        (idx(8, 10_000, 1 << 20), "byte 4: expected a file of at most"),  # says 10 GB, holds them
        (b"", "type code"),
    ],
)
def test_a_gzip_bomb_is_refused_in_constant_memory(head, reason, tmp_path):
    (tmp_path / "bomb").write_bytes(gzip_bomb(head, 10_000))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=reason):
            read_idx(tmp_path / "bomb")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def test_a_header_that_lies_costs_no_memory(tmp_path):
    for data in (idx(8, 1 << 29), gzip.compress(idx(8, 1 << 29))):  # allowed by its size, but nothing follows
        (tmp_path / "liar").write_bytes(data)
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match="byte 8: expected 536,870,920 bytes in all"):
                read_idx(tmp_path / "liar")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 10_000_000


# Files of other kinds


class Canary:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("packed", [False, True])
def test_a_pickle_is_refused_and_not_loaded(packed, tmp_path):
    data = pickle.dumps(Canary(tmp_path / "canary"))
    (tmp_path / "digits").write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match="byte 0"):
        read_idx(tmp_path / "digits")
    assert not (tmp_path / "canary").exists()


def test_archives_are_refused():
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("train-images-idx3-ubyte", IMAGES)
    with tarfile.open(fileobj=tarred, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("train-images-idx3-ubyte"))
    for data in (zipped.getvalue(), tarred.getvalue()):
        with pytest.raises(DataError, match="byte 0: expected the bytes 00 00 of an IDX file"):
            read_idx(data)
