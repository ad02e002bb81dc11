"""Model files: what is written comes back, and nothing but a sound file is read."""

import hashlib
import json
import os
import random
import stat
import struct
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fastmlp.errors import InputNotFound, ModelFileError, NotEnoughMemory, OutputError
from fastmlp.storage import model_file
from fastmlp.storage.model_file import read_tensors, strict_json, write_tensors

METADATA = {"config": '{"sizes": [2, 3, 2]}', "classes": '["zéro", "one"]', "preprocess": "{}", "created": "2026-01-02T03:04:05+00:00"}


def build(header, data=b"", seal=True):
    """Make a file by hand: `header` is bytes, or an object that becomes JSON; the checksum is put in where the header has 64 zeros."""
    if not isinstance(header, bytes):
        header = json.dumps(header, separators=(",", ":")).encode()
    content = struct.pack("<Q", len(header)) + header + data
    if seal:
        content = content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode(), 1)
    return content


def header_of(metadata=(), **tensors):
    return {"__metadata__": {"fastmlp.format": "1", "sha256": "0" * 64, **dict(metadata)}, **tensors}


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def read_bytes(folder, content):
    path = folder / "model.safetensors"
    path.unlink(missing_ok=True)  # cutting a file short and writing it anew costs the disk more than making a new one
    path.write_bytes(content)
    return read_tensors(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("model-files")


@pytest.fixture(scope="module")
def sound(folder):
    """The bytes of a small file as the writer makes it."""
    path = folder / "sound.safetensors"
    write_tensors(path, {"weight": np.arange(6, dtype="f4").reshape(2, 3), "bias": np.zeros(3, "f8"), "step": np.array(7)}, METADATA)
    return path.read_bytes()


BASE = np.arange(24, dtype="f4").reshape(4, 6)
READ_ONLY = BASE.copy()
READ_ONLY.flags.writeable = False
LAYOUTS = {
    "plain": BASE,
    "transposed": BASE.T,
    "strided": BASE[::2, 1::3],
    "reversed": BASE[::-1],
    "fortran": np.asfortranarray(BASE),
    "big-endian": BASE.astype(">f4"),
    "big-endian transposed": BASE.astype(">f8").T,
    "zero-size": np.empty((0, 5), "f4"),
    "scalar": np.array(1.5),
    "read-only": READ_ONLY,
    "broadcast": np.broadcast_to(np.float32(3), (2, 3)),
    "unaligned": np.frombuffer(b"\0" + BASE.tobytes(), "f4", offset=1),
    "uint8": np.arange(5, dtype="u1"),
    "int32": np.arange(5, dtype="i4"),
    "int64": np.arange(5, dtype="i8"),
    "uint64": np.array([2**64 - 1], "u8"),
    "not finite": np.array([np.nan, np.inf, -0.0]),
}


def test_a_tensor_of_any_layout_comes_back_equal(tmp_path, subtests):
    for name in LAYOUTS:
        with subtests.test(name=name):
            stored = LAYOUTS[name]
            write_tensors(tmp_path / "file", {"t": stored}, {})
            loaded = read_tensors(tmp_path / "file").tensors["t"]
            assert_array_equal(loaded, stored, strict=stored.dtype.isnative)
            assert loaded.shape == stored.shape
            assert loaded.dtype.isnative


def test_the_safetensors_library_reads_the_same_values(tmp_path, subtests):
    for name in LAYOUTS:
        with subtests.test(name=name):
            write_tensors(tmp_path / "file", {"t": LAYOUTS[name]}, METADATA)
            assert_array_equal(safetensors.numpy.load_file(tmp_path / "file")["t"], LAYOUTS[name])


def test_loaded_tensors_belong_to_the_caller(folder, sound):
    tensors = read_bytes(folder, sound).tensors
    for array in tensors.values():
        assert array.flags.writeable
        assert array.flags.aligned
        assert array.flags.c_contiguous
    tensors["weight"][:] = -1
    assert_array_equal(tensors["bias"], np.zeros(3))


def test_metadata_come_back_as_they_were_given(folder, sound):
    metadata = read_bytes(folder, sound).metadata
    assert {name: metadata[name] for name in METADATA} == METADATA
    assert metadata["fastmlp.format"] == "1"
    assert metadata["fastmlp.version"]


def test_the_checksum_is_that_of_the_file_with_its_digits_as_zeros(folder, sound):
    stated = read_bytes(folder, sound).metadata["sha256"]
    assert sound.count(stated.encode()) == 1
    assert hashlib.sha256(sound.replace(stated.encode(), b"0" * 64)).hexdigest() == stated


def test_the_time_of_writing_is_noted_in_utc(tmp_path):
    write_tensors(tmp_path / "file", {}, {})
    assert read_tensors(tmp_path / "file").metadata["created"].endswith("+00:00")


def test_metadata_that_were_read_can_be_written_again(folder, sound):
    first = read_bytes(folder, sound)
    write_tensors(folder / "again", first.tensors, first.metadata)
    assert (folder / "again").read_bytes() == sound


def test_another_process_writes_the_same_bytes(tmp_path):
    code = """if True:
        import sys, numpy
        from fastmlp.storage.model_file import write_tensors
        write_tensors(sys.argv[1], {"t": numpy.zeros(3)}, dict.fromkeys("abcdefgh", "x") | {"created": "then"})
    """
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_new_file_is_readable_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        write_tensors(tmp_path / "file", {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize("dtype", ["f2", "c8", "?", "O", "U3", "i2"])
def test_a_dtype_outside_the_format_is_refused_and_no_file_made(tmp_path, dtype):
    with pytest.raises(ModelFileError, match="'t'"):
        write_tensors(tmp_path / "file", {"t": np.zeros(2, dtype)}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"__metadata__": np.zeros(2)}, {}),
        ({"\ud800": np.zeros(2)}, {}),
        ({}, {"config": "\ud800"}),
        ({}, {"config": 3}),
        ({}, {"classes": "x" * (1 << 20)}),
        ({}, {'a"sha256': "f" * 64}),
    ],
    ids=["reserved name", "surrogate in a name", "surrogate in metadata", "number in metadata", "too long", "second checksum"],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, tensors, metadata):
    with pytest.raises(ModelFileError):
        write_tensors(tmp_path / "file", tensors, metadata)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_an_output_error(tmp_path):
    with pytest.raises(OutputError):
        write_tensors(tmp_path / "missing" / "file", {}, {})


def test_a_file_made_by_hand_is_read(folder):
    """The cases below change one thing of this file each."""
    loaded = read_bytes(folder, build(header_of(t=tensor()), struct.pack("<2f", 1.5, -2)))
    assert_array_equal(loaded.tensors["t"], np.array([1.5, -2], "f4"), strict=True)


def test_unknown_metadata_and_minor_formats_are_read(folder):
    loaded = read_bytes(folder, build(header_of({"fastmlp.format": "1.7", "colour": "blue"})))
    assert loaded.metadata["colour"] == "blue"


DATA = bytes(8)
FLAT = json.dumps(header_of(t=tensor()), separators=(",", ":")).encode()
MALFORMED = {
    "empty": b"",
    "seven bytes": b"\1" + bytes(6),
    "length only": struct.pack("<Q", 2),
    "length beyond the file": struct.pack("<Q", len(FLAT) + 9) + FLAT + DATA,
    "length of 200 MB": struct.pack("<Q", 200 << 20) + FLAT + DATA,
    "length of 2^64 - 1": struct.pack("<Q", 2**64 - 1) + FLAT + DATA,
    "length of 0": struct.pack("<Q", 0) + FLAT + DATA,
    "not UTF-8": build(FLAT.replace(b'"t"', b'"\xff"'), DATA),
    "UTF-8 with a mark": build(b"\xef\xbb\xbf" + FLAT, DATA),
    "UTF-16": build(FLAT.decode().encode("utf-16-le"), DATA),
    "not JSON": build(FLAT[:-1], DATA),
    "a space in front": build(b" " + FLAT, DATA),
    "a list": build(b"[" + FLAT + b"]", DATA),
    "two objects": build(FLAT + b"{}", DATA),
    "deep nesting": build(b'{"t":' + b"[" * 200_000 + b"]" * 200_000 + b"}", DATA),
    "NaN": build(FLAT.replace(b"[2]", b"[NaN]"), DATA),
    "number of 5,000 digits": build(FLAT.replace(b"[2]", b"[" + b"9" * 5000 + b"]"), DATA),
    "number that overflows": build(FLAT.replace(b"[2]", b"[1e999]"), DATA),
    "duplicate tensor": build(FLAT[:-1] + b',"t":' + json.dumps(tensor()).encode() + b"}", DATA),
    "duplicate key in a tensor": build(FLAT.replace(b'"shape"', b'"dtype":"F32","shape"'), DATA),
    "duplicate metadata key": build(FLAT.replace(b'"sha256"', b'"fastmlp.format":"1","sha256"'), DATA),
    "lone surrogate": build(FLAT.replace(b'"t"', b'"\\ud800"'), DATA),
    "no metadata": build({"t": tensor()}, DATA),
    "metadata a list": build({**header_of(t=tensor()), "__metadata__": ["0" * 64]}, DATA),
    "metadata a number": build(header_of({"config": 3}, t=tensor()), DATA),
    "metadata null": build(header_of({"config": None}, t=tensor()), DATA),
    "no format": build({"__metadata__": {"sha256": "0" * 64}}),
    "format 0": build(header_of({"fastmlp.format": "0"})),
    "format empty": build(header_of({"fastmlp.format": ""})),
    "format of words": build(header_of({"fastmlp.format": "one\n"})),
    "no checksum": build({"__metadata__": {"fastmlp.format": "1"}}),
    "two checksums": build(header_of({'a"sha256': "f" * 64})),
    "checksum under another key": build({"__metadata__": {"fastmlp.format": "1", 'a"sha256': "0" * 64}}),
    "checksum in capitals": build(header_of(), seal=False).replace(b"0" * 64, b"A" * 64),
    "checksum of something else": build(header_of(), seal=False),
    "tensor is no object": build(header_of(t=[]), DATA),
    "dtype missing": build(header_of(t={"shape": [2], "data_offsets": [0, 8]}), DATA),
    "unknown key in a tensor": build(header_of(t={**tensor(), "strides": [4]}), DATA),
    "dtype BF16": build(header_of(t=tensor("BF16", (4,))), DATA),
    "dtype unknown": build(header_of(t=tensor("Q99")), DATA),
    "dtype a list": build(header_of(t=tensor(["F32"])), DATA),
    "shape a number": build(header_of(t={**tensor(), "shape": 2}), DATA),
    "shape negative": build(header_of(t=tensor(shape=(-2,))), DATA),
    "shape of two negatives": build(header_of(t=tensor(shape=(-1, -2))), DATA),
    "shape of floats": build(header_of(t=tensor(shape=(2.0,))), DATA),
    "shape of truth values": build(header_of(t=tensor(shape=(2, True))), DATA),
    "shape too large": build(header_of(t=tensor(shape=(3,))), DATA),
    "shape product 2^64": build(header_of(t=tensor(shape=(2**32, 2**32), offsets=(0, 0)))),
    "shape product 0 of huge sides": build(header_of(t=tensor(shape=(0, 2**62, 2**62), offsets=(0, 0)))),
    "shape of 100 dimensions": build(header_of(t=tensor(shape=(1,) * 100, offsets=(0, 4))), bytes(4)),
    "offsets of one": build(header_of(t=tensor(offsets=(8,))), DATA),
    "offsets of three": build(header_of(t=tensor(offsets=(0, 8, 8))), DATA),
    "offsets swapped": build(header_of(t=tensor(offsets=(8, 0))), DATA),
    "offsets negative": build(header_of(t=tensor(offsets=(-8, 0))), DATA),
    "offsets as text": build(header_of(t=tensor(offsets=("0", "8"))), DATA),
    "offsets beyond the file": build(header_of(t=tensor(offsets=(8, 16))), DATA),
    "overlap": build(header_of(t=tensor(), u=tensor(offsets=(4, 12))), bytes(12)),
    "same bytes twice": build(header_of(t=tensor(), u=tensor()), DATA),
    "hole": build(header_of(t=tensor(), u=tensor(offsets=(12, 20))), bytes(20)),
    "hole at the start": build(header_of(t=tensor(offsets=(4, 12))), bytes(12)),
    "trailing byte": build(header_of(t=tensor()), bytes(9)),
    "one byte short": build(header_of(t=tensor()), bytes(7)),
    "another tool's file": safetensors.numpy.save({"t": np.zeros(2)}),
}


def test_a_malformed_file_is_a_model_file_error_of_one_line(folder, subtests):
    for case in MALFORMED:
        with subtests.test(case=case):
            with pytest.raises(ModelFileError) as caught:
                read_bytes(folder, MALFORMED[case])
            message = str(caught.value)
            assert "model.safetensors" in message
            assert "\n" not in message
            assert len(message) < 300 + len(str(folder))


@pytest.mark.parametrize("version", ["2", "2.0", "999", "10.1"])
def test_a_later_format_is_named_as_such(folder, version):
    with pytest.raises(ModelFileError, match="newer version of fastmlp"):
        read_bytes(folder, build(header_of({"fastmlp.format": version}, t={"anything": "new"})))


def test_a_header_in_error_is_found_before_the_data_are_read(folder):
    """A sparse file claims a terabyte that is really there; its header says something else."""
    path = folder / "sparse"
    path.write_bytes(build(header_of(t=tensor())))
    os.truncate(path, 1 << 40)
    with pytest.raises(ModelFileError, match="expected 8 bytes"):
        read_tensors(path)
    path.unlink()


def test_a_file_beyond_the_memory_is_refused_before_it_is_read(folder, sound, monkeypatch):
    monkeypatch.setattr(model_file, "memory_left", lambda: len(sound) - 1)
    with pytest.raises(NotEnoughMemory, match=str(len(sound))):
        read_bytes(folder, sound)


@pytest.mark.parametrize("distance", [9, pytest.param(1, marks=pytest.mark.long)])  # 9: another bit of each byte
def test_every_flipped_bit_is_found(folder, sound, distance):
    unnoticed = []
    for bit in range(0, 8 * len(sound), distance):
        flipped = bytearray(sound)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            read_bytes(folder, flipped)
            unnoticed.append(bit)
        except ModelFileError:
            pass
    assert unnoticed == []


def test_a_cut_at_every_length_is_found(folder, sound):
    for length in range(len(sound)):
        with pytest.raises(ModelFileError):
            read_bytes(folder, sound[:length])


def test_only_model_file_error_leaves_the_reader_of_changed_headers(folder):
    """Headers are changed at random and sealed again, so that the checks behind the checksum see them."""
    draw = random.Random(1)
    pieces = [b'"', b"[", b"]", b"{", b"}", b",", b":", b"-", b"0", b"9", b"1e999", b"NaN", b"null", b"true"]
    pieces += [b"\\ud800", b"\\", b"\xff", b'"t":', b"F64", b"U8"]
    refused = 0
    for _ in range(1_500):  # tests/quality tries more
        header = bytearray(FLAT)
        for _ in range(draw.randint(1, 3)):
            begin = draw.randrange(len(header))
            header[begin : begin + draw.choice((0, 0, 1, 1, 3))] = draw.choice(pieces)
        try:
            read_bytes(folder, build(bytes(header), DATA))
        except ModelFileError:
            refused += 1
    assert refused > 750


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_only_model_file_error_leaves_the_reader_of_any_bytes(folder, content):
    with pytest.raises(ModelFileError):
        read_bytes(folder, content)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
INFOS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "U8", "I64", "BF16"]) | SCALARS,
        "shape": st.lists(st.integers(0, 4) | SCALARS, max_size=3) | SCALARS,
        "data_offsets": st.lists(st.integers(0, 16) | SCALARS, max_size=3) | SCALARS,
    }
)


@settings(max_examples=300, deadline=None)
@given(tensors=st.dictionaries(st.text(max_size=3), INFOS | SCALARS, max_size=3), size=st.integers(0, 16))
def test_only_model_file_error_leaves_the_reader_of_any_header(folder, tensors, size):
    try:
        read_bytes(folder, build(header_of((), **tensors), bytes(size)))
    except ModelFileError:
        pass


@settings(max_examples=100, deadline=None)
@given(
    tensors=st.dictionaries(st.text(max_size=8).filter(lambda name: name != "__metadata__"), st.binary(max_size=40), max_size=4),
    metadata=st.dictionaries(st.text(max_size=8).filter(lambda name: not name.endswith("sha256")), st.text(max_size=40), max_size=4),
)
def test_what_is_written_is_read(folder, tensors, metadata):
    path = folder / "round-trip"
    write_tensors(path, {name: np.frombuffer(content, "u1") for name, content in tensors.items()}, metadata)
    loaded = read_tensors(path)
    assert {name: array.tobytes() for name, array in loaded.tensors.items()} == tensors
    assert {name: loaded.metadata[name] for name in metadata if not name.startswith("fastmlp.")} == {
        name: text for name, text in metadata.items() if not name.startswith("fastmlp.")
    }


@pytest.mark.parametrize("name", ["missing", "missing/file", "file/below", "nul\0inside", "n" * 256])
def test_a_file_that_is_not_there_is_input_not_found(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(InputNotFound) as caught:
        read_tensors(f"{tmp_path}/{name}")
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_model_file(tmp_path):
    with pytest.raises(ModelFileError, match="folder"):
        read_tensors(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="pipe"):
        read_tensors(tmp_path / "pipe")


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, "x", null, true]}', "[]", '"[[["', "[" * 64 + "]" * 64, "12345678901234567890"])
def test_strict_json_agrees_with_json(text):
    assert strict_json(text, "config") == json.loads(text)


NOT_STRICT_JSON = [
    "",
    "{",
    "[1,]",
    "NaN",
    "[-Infinity]",
    "1e999",
    '{"a": 1, "a": 1}',
    '{"b": {"a": 1, "a": 2}}',
    '"\\ud800"',
    '{"\\udfff": 1}',
    "9" * 21,
    "9" * 5000,
    "[" * 65 + "]" * 65,
    "[" * 100_000,
    '{"a":' * 100_000,
    " " * (1 << 20) + "1",
    "\ufeff1",
]


def test_strict_json_names_the_place_of_what_it_refuses(subtests):
    for text in NOT_STRICT_JSON:
        with subtests.test(text=text):
            with pytest.raises(ModelFileError, match="^file: config: "):
                strict_json(text, "file: config")
