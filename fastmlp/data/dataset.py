"""What a data set is, the table of the known ones, and the one function that loads them.

Importing this module costs no numpy: the command line lists data sets at start. Where bytes come from is `fetch`'s business.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmlp.data import fetch
from fastmlp.errors import ConfigError, DataError, InputNotFound
from fastmlp.settings import as_path, record_refuses_unknown, refuses_unknown, whole_number

if TYPE_CHECKING:
    import numpy as np

    from fastmlp.data.stored import StoredTable

DATASETS: dict[str, str] = {
    "mnist": "handwritten digits: 60,000 + 10,000 images of 28 x 28 bytes, 10 classes",
    "fashion-mnist": "pictures of clothing: 60,000 + 10,000 images of 28 x 28 bytes, 10 classes",
    "synthetic": "points of the plane, inside or outside of an ellipse: 60,000 + 10,000 rows, 2 classes; computed, not fetched",
}
PICTURES = ("mnist", "fashion-mnist")
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "synthetic": ("inside", "outside"),
}  # fmt: skip


# The test rows that are in memory, so that they are known again when they come back as an argument.
_test_rows: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()


class LoggedRows:
    """A field that holds test rows and notes in `test_openings` each time that they are looked at (a data descriptor)."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, data: Dataset | None, owner: type | None = None) -> np.ndarray:
        if data is None:
            raise AttributeError(self._name)  # tells dataclass that the field has no default
        data.test_openings.append(self._name)
        rows: np.ndarray = vars(data)[self._name]
        return rows

    def __set__(self, data: Dataset, rows: np.ndarray) -> None:
        vars(data)[self._name] = rows


@record_refuses_unknown
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training rows, test rows, and what they mean. Arrays may be read-only.

    x_train (rows, 28, 28) uint8 for images, (rows, features) float32 for tables; y_train (rows,); likewise x_test, y_test. Classes are
    labels of any kind; where class_names are given, their numbers from 0 on, or the names themselves.
    Reading `x_test` or `y_test` adds that name to `test_openings`, so that a run can show when it looked at its test rows.
    Raises DataError where rows and labels do not fit together.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: LoggedRows = LoggedRows()
    y_test: LoggedRows = LoggedRows()
    _: dataclasses.KW_ONLY
    kind: str  # "image" or "table"
    target_kind: str  # "classes", "labels" (several at once) or "values"
    image_shape: tuple[int, int] | None = None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    hashes: Mapping[str, str] = dataclasses.field(default_factory=dict)  # file name -> SHA-256 of its uncompressed bytes
    network_defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # settings that this data set overrides
    training_defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data_dir: str | None = None  # the folder that was named to find it in
    sample_weight: np.ndarray | None = None  # (rows,) of the training rows: what each counts; None: one
    groups: np.ndarray | None = None  # (rows,) of the training rows: whole numbers, of which equal ones are held out together
    columns: Any = None  # of a table, how its cells became x (fastmlp.preprocessing.Columns); a Network has them, too
    # of a table: numbers of training rows -> the data set with columns that are fitted to these; itself where they are already
    fit_to: Callable[[np.ndarray], Dataset] | None = None
    n_networks: int = 1  # of a table: whose mean is its answer by default (fastmlp.train_ensemble)
    stored: StoredTable | None = None  # where the rows to train on are, of which those above are a sample; None: above
    test_openings: list[str] = dataclasses.field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        for what, value, allowed in (
            ("kind", self.kind, ("image", "table")), ("target_kind", self.target_kind, ("classes", "labels", "values")),
        ):  # fmt: skip
            if not isinstance(value, str) or value not in allowed:
                raise DataError(f"{self.name}: {what}: expected one of {', '.join(allowed)}, found {value!r:.60}")
        names = self.class_names
        if names is not None and (not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names)):
            raise DataError(f"{self.name}: class_names: expected texts, found {names!r:.60}")
        for what, defaults in (("network_defaults", self.network_defaults), ("training_defaults", self.training_defaults)):
            if not isinstance(defaults, Mapping):
                raise DataError(f"{self.name}: {what}: expected a mapping {{name: value}}, found {defaults!r:.60}")
        for split in ("train", "test"):
            self._check_rows(split, vars(self)[f"x_{split}"], vars(self)[f"y_{split}"])
        for what, per_row in (("sample_weight", self.sample_weight), ("groups", self.groups)):
            if per_row is not None and getattr(per_row, "shape", None) != (len(self.x_train),):
                raise DataError(f"{self.name}: {what}: expected an array ({len(self.x_train)},), one number per row, found {per_row!r:.60}")
        whole_number("n_networks", self.n_networks, at_least=1)
        x_test = vars(self)["x_test"]
        _test_rows[id(x_test)] = x_test

    def first_rows(self, train: int, test: int) -> Dataset:
        """Return a data set of the first training rows and the first test rows (views); it counts its own openings.

        Raises DataError for what are no whole numbers from 0 on.
        """
        for name, rows in (("train", train), ("test", test)):
            if isinstance(rows, bool) or not hasattr(rows, "__index__") or rows < 0:
                raise DataError(f"{name}: expected a number of rows, at least 0, got {rows!r:.60}")
        x_test, y_test = vars(self)["x_test"][:test], vars(self)["y_test"][:test]
        return Dataset(
            self.name, self.x_train[:train], self.y_train[:train], x_test, y_test, kind=self.kind, target_kind=self.target_kind,
            image_shape=self.image_shape, class_names=self.class_names, feature_names=self.feature_names, hashes=self.hashes,
            network_defaults=self.network_defaults, training_defaults=self.training_defaults, data_dir=self.data_dir,
            columns=self.columns, sample_weight=None if self.sample_weight is None else self.sample_weight[:train],
            groups=None if self.groups is None else self.groups[:train], n_networks=self.n_networks,
        )  # fmt: skip

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return x_train, y_train, x_test, y_test, to be copied or hashed only: that opens no test rows."""
        return tuple(vars(self)[f"{part}_{split}"] for split in ("train", "test") for part in "xy")

    def row_counts(self) -> tuple[int, int]:
        """Return how many rows there are to train on, and to test on."""
        return len(self.x_train), len(vars(self)["x_test"])

    def fingerprint(self) -> str:
        """Return the SHA-256 of all rows, with their types and shapes."""
        import numpy as np

        digest = hashlib.sha256()
        for array in self.arrays():
            digest.update(f"{array.dtype.str} {array.shape} ".encode())
            if array.dtype.hasobject:
                digest.update(repr(array.tolist()).encode())
            elif array.size:
                digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()

    def _check_rows(self, split: str, x: np.ndarray, y: np.ndarray) -> None:
        import numpy as np

        if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
            raise DataError(f"{self.name}: x_{split}, y_{split}: expected NumPy arrays, found {type(x).__name__}, {type(y).__name__}")
        row = self.image_shape if self.kind == "image" else self.x_train.shape[1:2] or ("features",)
        if x.ndim == 0 or y.ndim == 0 or x.shape[1:] != row:
            raise DataError(f"{self.name}: x_{split}: expected shape (rows, {', '.join(map(str, row or ()))}), found {x.shape}")
        if len(x) == 0 or len(y) != len(x):
            raise DataError(f"{self.name}: y_{split}: expected a label for each of {len(x):,} rows, at least 1, found {len(y):,}")
        if self.target_kind == "classes" and self.class_names is not None:
            if y.dtype.kind in "UO":  # texts, which are the names
                unknown = next((place for place, label in enumerate(y.tolist()) if label not in self.class_names), None)
                if unknown is not None:
                    names = f"one of {', '.join(self.class_names)}"[:200]
                    raise DataError(f"{self.name}: y_{split}[{unknown}]: expected {names}, found {y[unknown]!r:.60}")
                return
            if y.dtype.kind not in "iu" or y.ndim != 1:
                raise DataError(f"{self.name}: y_{split}: expected whole numbers in one column, found {y.dtype} {y.shape}")
            wrong = (y < 0) | (y >= len(self.class_names))
            if wrong.any():
                place = int(wrong.argmax())
                raise DataError(f"{self.name}: y_{split}[{place}]: expected 0 to {len(self.class_names) - 1}, found {y[place]}")

    def __repr__(self) -> str:
        rows = " + ".join(f"{len(vars(self)[split]):,}" for split in ("x_train", "x_test"))
        return f"<Dataset {self.name}: {rows} rows of {' x '.join(map(str, self.x_train.shape[1:]))} {self.x_train.dtype}>"


@refuses_unknown
def load_dataset(
    name: str, data_dir: str | Path | None = None, *, offline: bool = False, notify: Callable[[str], None] | None = None
) -> Dataset:
    """Load a data set by name, in any case: "mnist", "fashion-mnist" or "synthetic".

    `data_dir`, the cache and the network are tried as `fetch.fetch_dataset` says; `offline` forbids the network. `notify` is given
    a line of text when something takes time. Every file is checked against its known SHA-256 on every load.
    Raises InputNotFound for an unknown name or folder, DataError for files that are not the canonical ones, DatasetUnavailable
    where no source could help.
    """
    if notify is not None and not callable(notify):
        raise ConfigError(f"notify: expected a function of a line of text, got {notify!r:.60}")
    if data_dir is not None:
        data_dir = as_path("data_dir", data_dir)
    name = in_any_case(name) if isinstance(name, str) else name
    if isinstance(name, str) and name == "synthetic":
        return _synthetic()
    if not isinstance(name, str) or name not in DATASETS:
        near = difflib.get_close_matches(str(name), DATASETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(DATASETS)}"
        raise InputNotFound(f"unknown data set {name!r:.60}; {hint}")
    return _images(name, fetch.read_dataset(name, data_dir, offline=offline, notify=notify), data_dir)


def in_any_case(name: str) -> str:
    """Return the name of a data set that is meant, MNIST or fashion_mnist; any other name as it is."""
    return next((each for each in DATASETS if each == name.casefold().replace("_", "-")), name)


def is_test_split(x: object) -> bool:
    """Return whether `x` is, or is a view of, the test rows of a data set in memory; a changed copy of them is not recognised."""
    import numpy as np

    return isinstance(x, np.ndarray) and any(np.may_share_memory(x, rows) for rows in list(_test_rows.values()))


def _images(name: str, contents: Mapping[str, bytes | bytearray], data_dir: str | Path | None) -> Dataset:
    from fastmlp.data.idx import read_idx

    files = fetch.FILES[name]
    x_train, y_train, x_test, y_test = (
        read_idx(contents[file.name], name=f"{name}/{file.name}", dtype="uint8", shape=file.shape) for file in files
    )
    return Dataset(
        name, x_train, y_train, x_test, y_test, kind="image", target_kind="classes", image_shape=(28, 28),
        class_names=CLASS_NAMES[name], hashes={file.name: file.sha256 for file in files},
        training_defaults={"validation": 5000, "holdout": "last"},  # as the literature has it
        data_dir=None if data_dir is None else os.path.abspath(data_dir),
    )  # fmt: skip


def _synthetic() -> Dataset:
    from fastmlp.data.synthetic import synthetic_points

    points = synthetic_points()
    digest = hashlib.sha256()
    for array in points:
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return Dataset(
        "synthetic", *points, kind="table", target_kind="classes", class_names=CLASS_NAMES["synthetic"],
        feature_names=("x1", "x2"), hashes={"synthetic": digest.hexdigest()},
        network_defaults={"hidden": (3,), "activation": "sigmoid", "initializer": None},  # by the activation
        training_defaults={  # the rows were drawn as they come
            "batch_size": 1, "epochs": 10, "optimizer": "sgd", "learning_rate": 0.01, "holdout": "last",
        },
    )  # fmt: skip
