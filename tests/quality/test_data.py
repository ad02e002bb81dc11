"""Rows P of the quality list: bad data from files, archives and mirrors. All that comes of them is one line, and nothing left behind."""

import gzip
import io
import json
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import hypothesis
import numpy as np
import polars
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import fastmlp
from fastmlp import DataError, Dataset, InputNotFound, ModelFileError, Network, machine
from fastmlp.data import fetch
from fastmlp.data.formats import read_table
from fastmlp.data.idx import CODES, encode_idx, read_idx, write_idx
from fastmlp.data.npy import read_npy
from fastmlp.data.pictures import read_picture
from fastmlp.errors import DatasetUnavailable
from tests.data import test_idx, test_npy, test_tables
from tests.data.test_fetch import FAULTS, NO_ANSWERS, files_in, fill
from tests.data.test_idx import Canary, gzip_bomb, idx, packed_digits
from tests.kernels.processes import ROOT
from tests.quality.counts import count, record
from tests.quality.limits import limit
from tests.quality.refusals import fault, mutants
from tests.quality.tracing import needs_strace, trace

MEBIBYTE = 1 << 20


class Effort:
    """The most seconds that one of several calls took, and the most bytes that they held."""

    def __init__(self):
        self.seconds = 0.0
        self.bytes = 0

    def __enter__(self):
        tracemalloc.start()
        return self

    def __exit__(self, *_):
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    def of(self, call):
        started = time.perf_counter()
        try:
            return call()
        finally:
            self.seconds = max(self.seconds, time.perf_counter() - started)


# P1 to P4: IDX files and gzip


def test_p01_malformed_idx_files(tmp_path, command, small_model):
    path, wrong = tmp_path / "digits", []
    with Effort() as effort:
        for case, (data, _) in test_idx.MALFORMED.items():
            for packed in (False, True):
                path.write_bytes(gzip.compress(data) if packed else data)
                if said := fault(lambda: read_idx(path), DataError):
                    wrong.append(f"{case}: {said}")
            if (code := command("predict", small_model, path).code) != 65:
                wrong.append(f"{case}: exit code {code}")
    sound = {"kind": "image", "target_kind": "classes", "image_shape": (3, 3), "class_names": tuple("0123456789")}
    images, labels = np.zeros((5, 3, 3), np.uint8), np.zeros(5, np.uint8)
    for case, rows in {
        "label above 9": (images, labels + 10, images, labels),
        "a label missing": (images, labels[:4], images, labels),
        "swapped files": (labels, images, images, labels),
    }.items():
        if said := fault(lambda rows=rows: Dataset("mine", *rows, **sound), DataError):
            wrong.append(f"{case}: {said}")
    record("P1", 2 * len(test_idx.MALFORMED) + 3, len(wrong))
    assert wrong == []
    assert effort.bytes < 100 * MEBIBYTE


IDX_SEEDS = [
    test_idx.IMAGES,
    test_idx.LABELS,
    *(encode_idx(np.arange(12, dtype=name).reshape(3, 4)) for name in CODES),
    idx(8, 1 << 29),
    idx(0x0E, *[1] * 32, values=bytes(8)),
]


@pytest.mark.timeout(7200)
def test_p02_fuzzed_idx_files():
    number, wrong, accepted = count(2_000, 1_000_000), [], 0
    pieces = (b"\0", b"\xff", b"\0\0\x08\x03", b"\0\0\0\1", b"\x80\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\0", test_idx.LABELS)
    with Effort() as effort:
        for turn, data in enumerate(mutants(IDX_SEEDS, number, pieces)):
            packed = gzip.compress(data, 1) if turn % 8 == 0 else data
            try:
                array = effort.of(lambda packed=packed: read_idx(packed))
            except DataError:
                continue
            except Exception as error:
                wrong.append(f"{data.hex()}: {type(error).__name__}: {error}")
                continue
            accepted += 1
            if encode_idx(array) != data:  # one file has one meaning
                wrong.append(f"{data.hex()}: read as something else")
    record("P2", number, len(wrong))
    assert wrong[:3] == []
    assert number / 100 < accepted < number  # changes of a value are no damage
    assert effort.seconds < limit(1)
    assert effort.bytes < 256 * MEBIBYTE


def test_p03_damaged_gzip_files():
    whole = packed_digits()
    cases = {f"cut to {length}": whole[:length] for length in np.linspace(0, len(whole) - 1, 200).astype(int).tolist()}
    cases |= {
        "checksum": whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:],
        "magic": b"\x1f\x8c" + whole[2:],
        "middle": whole[:150] + bytes([whole[150] ^ 255]) + whole[151:],
        "trailing bytes": whole + b"\0",
        "two members": whole + whole,
        "nothing in it": gzip.compress(b""),
    }
    wrong = [f"{case}: {said}" for case, data in cases.items() if (said := fault(lambda data=data: read_idx(data), DataError))]
    record("P3", len(cases), len(wrong))
    assert wrong == []


def test_p04_gzip_bombs(tmp_path):
    small = gzip.compress(idx(8, 2, 3, 3, values=bytes(18)))
    bombs = {
        "10 MB hold 10 GB": gzip_bomb(idx(8, 2, 3, 3), 10_000),
        "1 MB holds 1 GB": gzip_bomb(idx(8, 5), 1_000),
        "the length at the end lies": small[:-4] + (1 << 30).to_bytes(4, "little"),
    }
    wrong = []
    with Effort() as effort:
        for name, content in bombs.items():
            (tmp_path / "bomb").write_bytes(content)
            content = b""  # not counted
            if said := fault(lambda: effort.of(lambda: read_idx(tmp_path / "bomb")), DataError):
                wrong.append(f"{name}: {said}")
    record("P4", len(bombs), len(wrong))
    assert wrong == []
    assert effort.seconds < limit(2)
    assert effort.bytes < 100 * MEBIBYTE


# P5 to P8: mirrors, the cache, no network


def test_p05_mirrors_that_fail(mirror, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "SILENT_SECONDS", 1.0)
    cases = [(name, helped) for name in [*FAULTS, *NO_ANSWERS] for helped in (False, True)]
    cases = cases[: count(8, len(cases))]
    wrong = []
    for number, (name, helped) in enumerate(cases):
        cache = tmp_path / f"cache {number}"
        monkeypatch.setenv("FASTMLP_CACHE_DIR", str(cache))
        mirrors = [mirror(name), *([mirror("good")] if helped else [])]
        try:
            folder = fetch.fetch_dataset("mnist", "mirrors", mirrors=mirrors)
            if not helped:
                wrong.append(f"{name}: taken for good")
            elif {path.name: path.read_bytes() for path in folder.iterdir()} != tiny.contents:
                wrong.append(f"{name}: other files than the good mirror has")
        except DatasetUnavailable as error:
            if helped:
                wrong.append(f"{name}: the good mirror did not help: {error}")
            if "--data-dir" not in str(error) or files_in(cache):
                wrong.append(f"{name}: no advice, or {files_in(cache)} left behind")
    record("P5", len(cases), len(wrong))
    assert wrong == []


FETCH = """
import sys
from fastmlp.data import fetch
fetch.FILES["mnist"] = tuple(fetch.CanonicalFile(*file) for file in {files!r})
print(fetch.fetch_dataset("mnist", "mirrors", mirrors=[{mirror!r}]))
"""


def test_p06_eight_processes_fetch_at_once(mirror, tiny, tmp_path):
    rounds, wrong = count(1, 10), 0
    code = FETCH.format(files=[tuple(file) for file in tiny.files], mirror=mirror("good"))
    for number in range(rounds):
        variables = os.environ | {"FASTMLP_CACHE_DIR": str(tmp_path / f"cache {number}")}
        line = [sys.executable, "-c", code]
        started = [
            subprocess.Popen(line, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)
        ]
        said = [process.communicate() for process in started]
        folder = tmp_path / f"cache {number}" / "data" / "mnist"
        right = {path.name: path.read_bytes() for path in folder.iterdir()} == tiny.contents
        wrong += sum(text != (f"{folder}\n", "") for text in said) + (not right)
    record("P6", 8 * rounds, wrong)
    assert wrong == 0


def test_p07_cached_file_with_a_changed_byte(mirror, tiny, tmp_path):
    wrong = []
    for file in tiny.files:
        folder = fill(tmp_path / "cache" / "data" / "mnist", tiny.contents)
        data = bytearray(tiny.contents[file.name])
        data[len(data) // 2] ^= 1
        (folder / file.name).write_bytes(data)
        if said := fault(lambda: fetch.read_dataset("mnist", offline=True), DatasetUnavailable):
            if not said.startswith("a message of"):  # all that was tried, and what to do: several lines
                wrong.append(f"{file.name}: {said}")
        fetch.fetch_dataset("mnist", "mirrors", mirrors=[mirror("good")])
        if fetch.read_dataset("mnist", offline=True) != tiny.contents:
            wrong.append(f"{file.name}: not made good")
    record("P7", len(tiny.files), len(wrong))
    assert wrong == []


def without_network() -> list[str]:
    """Return how to start a program without any network, nothing where this system cannot."""
    for options in (["--net"], ["--net", "--map-root-user"]):
        if shutil.which("unshare") and subprocess.run(["unshare", *options, "true"], capture_output=True).returncode == 0:
            return ["unshare", *options]
    return []


@pytest.mark.skipif(not without_network(), reason="this system lets no process leave its network")
def test_p08_without_a_network(tmp_path, small_model):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "compiled").symlink_to(machine.cache_folder() / "compiled")
    variables = {name: value for name, value in os.environ.items() if name != "FASTMLP_DATA_DIR"}
    variables |= {"FASTMLP_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    lines = {
        ("train", "fashion-mnist"): 69,
        ("train", "synthetic", "--epochs", "1", "--no-run-folder"): 0,
        ("data", "list"): 0,
        ("evaluate", str(small_model), "fashion-mnist"): 69,
        ("data", "fetch", "fashion-mnist"): 69,
        ("data", "fetch", "mnist"): 69,
    }
    wrong, lines = [], dict(list(lines.items())[: count(2, 6)])
    for line, expected in lines.items():
        started = time.perf_counter()
        done = subprocess.run(
            [*without_network(), sys.executable, "-m", "fastmlp", *line], cwd=tmp_path, env=variables, capture_output=True, text=True
        )
        seconds = time.perf_counter() - started
        if done.returncode != expected or "Traceback" in done.stderr or (expected and "--data-dir" not in done.stderr):
            wrong.append(f"{' '.join(line)}: exit code {done.returncode}: {done.stderr[-300:]}")
        if expected and seconds > limit(5):
            wrong.append(f"{' '.join(line)}: took {seconds:.1f} s")
    record("P8", len(lines), len(wrong))
    assert wrong == []


# P9, P11: tables as text and Parquet


def test_p9_bad_tables_as_text(tmp_path):
    path, wrong = tmp_path / "t.csv", []
    for content, message in test_tables.REFUSED.items():
        path.write_bytes(content)
        if (said := fault(lambda: read_table(path), DataError)) is not None:
            wrong.append(f"{content[:40]!r}: {said}")
        with pytest.raises(DataError, match=re.escape(message)):
            read_table(path)
    number = count(300, 10_000)
    seeds = [*test_tables.READ, b"a;b\r\n1,5;2\r\n", b'"x","y"\n"1","2 ""q"""\n']
    pieces = (b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"nan", b"1e999", b"0x1", b"\t", b";")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for content in mutants(seeds, number, pieces):
            path.write_bytes(content)
            try:
                frame = read_table(path)
                if frame.height == 0 or not all(isinstance(name, str) for name in frame.columns):
                    wrong.append(f"{content!r}: {frame.shape}")
            except DataError:
                continue
            except Exception as error:
                wrong.append(f"{content!r}: {type(error).__name__}: {error}")
    record("P9", len(test_tables.REFUSED) + number, len(wrong))
    assert wrong[:3] == []


READ_ALL = """
import sys
from pathlib import Path
from fastmlp import DataError
from fastmlp.data.formats import read_table
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        print(path.name, read_table(path).shape)
    except DataError as error:
        print(path.name, "DataError", "one line" if str(error).isprintable() else repr(str(error)))
"""


def test_p11_bad_parquet_files(tmp_path):
    """In a process of its own, which has to live to the last of them."""
    frame = polars.DataFrame({"a": range(200), "b": [0.5, None] * 100, "c": ["x", "yy"] * 100})
    frame.write_parquet(tmp_path / "whole")
    frame.write_ipc(tmp_path / "ipc")
    whole = (tmp_path / "whole").read_bytes()
    polars.DataFrame({"a": [[1, 2]], "b": [{"c": 1}]}).write_parquet(tmp_path / "nested")
    polars.DataFrame({"a": [b"x"]}).write_parquet(tmp_path / "binary")
    polars.DataFrame({"a": polars.Series([], dtype=polars.Int64)}).write_parquet(tmp_path / "no rows")
    polars.DataFrame({f"a{column}": [column] for column in range(10_000)}).write_parquet(tmp_path / "many columns")
    broken = {
        "cut": whole[:-20],
        "half": whole[: len(whole) // 2],
        "begin": whole[:4],
        "no end": whole[:-4],
        "encrypted": b"PARE" + whole[4:-4] + b"PARE",
    }
    broken |= {f"changed {number}": content for number, content in enumerate(mutants([whole], count(100, 2_000)))}
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(tmp_path)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    lines = done.stdout.splitlines()
    good = [line for line in lines if line.endswith(")") or line.endswith("DataError one line")]
    record("P11", len(broken) + 6, len(broken) + 6 - len(good))
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(good) == len(lines) == len(broken) + 6
    for name in ("cut", "half", "begin", "no end", "encrypted", "ipc", "nested", "binary", "no rows"):
        assert f"{name} DataError one line" in lines
    assert "whole (200, 3)" in lines
    assert "many columns (1, 10000)" in lines


# P10, P12 to P15: NPY files, pickles, names, archives, round trips


def test_p10_bad_npy_files(tmp_path):
    path, wrong = tmp_path / "rows.npy", []
    values = np.arange(6).reshape(2, 3)
    sound = {
        "big-endian": values.astype(">i4"),
        "Fortran": np.asfortranarray(values.astype("<f4")),
        "float16": values.astype("<f2"),
        "booleans": values > 2,
        "no rows": np.empty((0, 3), "<f8"),
    }
    with Effort() as effort:
        for case, content in test_npy.BROKEN.items():
            path.write_bytes(content)
            if said := fault(lambda: read_npy(path), DataError):
                wrong.append(f"{case}: {said}")
        for case, array in sound.items():
            np.save(path, array)
            if not np.array_equal(read_npy(path), array):
                wrong.append(f"{case}: other values")
    number = count(1_000, 300_000)
    pieces = (b"'", b"(", b")", b",", b"9" * 20, b"-1", b"|O", b"True", b"\n", b"\xff")
    for content in mutants([test_npy.npy(), test_npy.written(sound["Fortran"], version=(2, 0))], number, pieces):
        path.unlink()  # cutting a file short and writing it anew costs the disk more than making a new one
        path.write_bytes(content)
        try:
            read_npy(path)
        except DataError:
            continue
        except Exception as error:
            wrong.append(f"{content.hex()}: {type(error).__name__}: {error}")
    record("P10", len(test_npy.BROKEN) + len(sound) + number, len(wrong))
    assert wrong[:3] == []
    assert effort.bytes < 100 * MEBIBYTE


@pytest.mark.filterwarnings("ignore:.*the first line is taken as names")  # of a pickle that is a text
def test_p12_pickles_are_never_loaded(tmp_path, command, small_model):
    canary = tmp_path / "canary"
    bare = [pickle.dumps(Canary(canary), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    pickle.loads(bare[-1]).close()  # noqa: S301  shows that such a pickle does sing
    assert canary.exists()
    canary.unlink()
    objects = io.BytesIO()
    np.save(objects, np.array([Canary(canary)], object), allow_pickle=True)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", bare[2])
    contents = [*bare, objects.getvalue(), archive.getvalue(), gzip.compress(bare[2])]
    contents += [magic + bare[2] for magic in (b"\0\0\x08\x03", b"\x89PNG\r\n\x1a\n", b"\x93NUMPY\x01\0", b"\x10\0\0\0\0\0\0\0{")]

    path, folder = tmp_path / "file", tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    loaders = {
        "IDX": lambda: fault(lambda: read_idx(path), DataError),
        "NPY": lambda: fault(lambda: read_npy(path), DataError),
        "picture": lambda: fault(lambda: read_picture(path), DataError),
        "model": lambda: fault(lambda: Network.load(path), ModelFileError),
        "data folder": lambda: fault(lambda: fastmlp.load_dataset("mnist", tmp_path / "data"), DataError),
        "configuration": lambda: None if command("train", "synthetic", "--config", path).code == 78 else "it was accepted",
        "rows to predict": lambda: None if command("predict", small_model, path).code == 65 else "it was accepted",
    }
    wrong = []
    for content in contents:
        path.write_bytes(content)
        (folder / "train-images-idx3-ubyte").write_bytes(content)
        wrong += [f"{name} {content[:12]!r}: {said}" for name, load in loaders.items() if (said := load())]
    record("P12", len(loaders) * len(contents), len(wrong) + canary.exists())
    assert wrong == []
    assert not canary.exists()


NAMES = [
    "../..", "../../../../opt/outside", "/opt/outside", "/", ".", "..", "mnist/../../outside", "./mnist", "~", "~root", "-o", "--",
    "--data-dir=/opt", "a\nb", "a\rb", "\x1b[2J", "n" * 255, "n" * 256, "mnist ", "mnist\u200b", "con:", "a" + 2000 * "/b", "\udcff",
    "$HOME", "`id`",
]  # fmt: skip

RUN_ALL = """
import json, sys
from fastmlp.cli import run
codes = []
for line in json.loads(sys.stdin.read() if not sys.argv[1:] else open(sys.argv[1]).read()):
    codes.append(run(line))
print(json.dumps(codes))
"""


@needs_strace
def test_p13_names_that_lead_elsewhere(tmp_path, small_model):
    lines = []
    for name in NAMES:
        lines += [["data", "fetch", name], ["data", "path", name], ["predict", str(small_model), name], ["predict", name, name]]
        lines += [["train", name, "--no-run-folder"], ["data", "list", "--data-dir", name], ["train", "synthetic", "--config", name]]
    (tmp_path / "lines").write_text(json.dumps(lines))
    inside = tmp_path / "inside"
    inside.mkdir()
    traced = trace(RUN_ALL, tmp_path / "lines", cwd=inside, FASTMLP_OFFLINE="1")
    codes = json.loads(traced.out.splitlines()[-1])
    unforeseen = [(line, code) for line, code in zip(lines, codes, strict=True) if code not in (0, 2, 65, 66, 69, 78)]
    writes = traced.writes()
    record("P13", len(lines), len(unforeseen) + len(writes))
    assert traced.code == 0
    assert unforeseen == []
    assert writes == []
    assert [path.name for path in inside.iterdir()] == ["calls"]


def tar_of(*members: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return file.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zip_of(*names: str, mode: int = 0o644) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, "../outside")
    return file.getvalue()


def test_p14_archives_given_as_data(tmp_path, command, small_model):
    many = count(1_000, 100_000)
    archives = {
        "zip with ../": zip_of("../outside", "/opt/outside"),
        "zip with a link": zip_of("link", mode=0o120777),
        "zip of many": zip_of(*(str(number) for number in range(many))),
        "tar with ../": tar_of(member("../outside"), member("/opt/outside")),
        "tar with a link": tar_of(member("link", tarfile.SYMTYPE, "/etc/passwd"), member("link/outside")),
        "tar with a hard link": tar_of(member("link", tarfile.LNKTYPE, "../outside")),
        "tar with a device": tar_of(member("device", tarfile.CHRTYPE)),
        "tar of many": tar_of(*(member(str(number)) for number in range(many))),
    }
    path, folder, wrong = tmp_path / "archive", tmp_path / "data" / "mnist", []
    folder.mkdir(parents=True)
    for case, content in archives.items():
        for data in (content, gzip.compress(content, 1)):
            path.write_bytes(data)
            (folder / "train-images-idx3-ubyte").write_bytes(data)
            before = sorted(tmp_path.rglob("*"))
            codes = [
                command("predict", small_model, path).code,
                command("predict", path, path).code,
                command("train", "mnist", "--data-dir", tmp_path / "data").code,
            ]
            if codes != [65, 65, 65] or sorted(tmp_path.rglob("*")) != before:
                wrong.append(f"{case}: exit codes {codes}")
    record("P14", 2 * len(archives), len(wrong))
    assert wrong == []


ROUND_TRIPS = count(40, 1_000)
NUMBERS = st.sampled_from([f"{order}{kind}" for order in "<>" for kind in ("u1", "i1", "i2", "i4", "f4", "f8")])


@hypothesis.settings(max_examples=ROUND_TRIPS)
@hypothesis.given(arrays(NUMBERS, array_shapes(max_dims=3, max_side=5)), st.booleans())
def check_idx_and_npy(folder: Path, array, transposed):
    array = array.T if transposed else array
    write_idx(folder / "array", array)
    np.save(folder / "array.npy", array)
    for found in (read_idx(folder / "array"), read_npy(folder / "array.npy")):
        assert (found.shape, found.dtype) == (array.shape, array.dtype.newbyteorder("="))
        assert found.astype(array.dtype).tobytes() == array.tobytes()  # to the bit, NaNs included


@hypothesis.settings(max_examples=ROUND_TRIPS)
@hypothesis.given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.sampled_from(["float32", "float64"]), st.randoms())
def check_model(folder: Path, sizes, dtype, draw: random.Random):
    activations = [draw.choice(["identity", "sigmoid", "tanh", "relu", "silu"]) for _ in sizes[2:]]
    outputs = ["sigmoid", "identity", *(["softmax"] if sizes[-1] > 1 else [])]
    net = Network(sizes, activations or "relu", draw.choice(outputs), dtype=dtype, seed=draw.randrange(1 << 30))
    net.parameters[:] = np.frombuffer(draw.randbytes(net.parameters.size), np.uint8) / 7 - 18
    net.save(folder / "net")
    found = Network.load(folder / "net")
    assert found.parameters.tobytes() == net.parameters.tobytes()
    assert (found.sizes, found.layers, found.output, found.dtype) == (net.sizes, net.layers, net.output, net.dtype)


@hypothesis.settings(max_examples=ROUND_TRIPS)
@hypothesis.given(st.lists(test_tables.COLUMN, min_size=1, max_size=5))
def check_tables(folder: Path, columns):
    frame = polars.DataFrame({f"c{number}": column for number, column in enumerate(columns)})
    frame.write_parquet(folder / "t.parquet")
    frame.write_csv(folder / "t.csv", quote_style="always")
    assert read_table(folder / "t.parquet").equals(frame.cast({polars.Null: polars.String}))
    found = read_table(folder / "t.csv", header=True, delimiter=",")
    assert found.to_dict(as_series=False) == frame.to_dict(as_series=False)


@pytest.mark.parametrize("check", [check_idx_and_npy, check_model, check_tables])
def test_p15_written_and_read_again(check, tmp_path):
    formats = 1 if check is check_model else 2
    try:
        check(tmp_path)
    except BaseException:
        record("P15", formats * ROUND_TRIPS, 1)
        raise
    record("P15", formats * ROUND_TRIPS, 0)


# Beyond the list: files that are none


def test_pipes_and_devices_are_refused_without_waiting(tmp_path, command, small_model):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        for read in (read_idx, read_npy, read_picture, Network.load):
            with pytest.raises((DataError, ModelFileError), match="pipe"):
                read(path)
        assert command("predict", small_model, path).code == 65


def test_names_that_are_too_long_are_not_found():
    for folder in ("n" * 256, "a/" * 3000):
        with pytest.raises(InputNotFound, match="expected a data folder"):
            fastmlp.load_dataset("mnist", folder)
