"""Where a worker finds the rows of a data set: their name or files, and a hash; never the rows themselves. Free of numba."""

from pathlib import Path
from typing import Any, NamedTuple

from fastmlp.data.dataset import DATASETS, Dataset, load_dataset
from fastmlp.errors import DataError, InputNotFound

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


class Source(NamedTuple):
    """A data set as it travels: what to load, how many first rows of it, and the hash of these."""

    name: str
    folder: str | None  # with files of its arrays; None: one of DATASETS
    data_dir: str | None  # looked into first, where there is such a folder; the worker's own data folder otherwise
    rows: tuple[int, int]  # to train on, and to test on
    sha256: str  # Dataset.fingerprint
    about: tuple[Any, ...] = ()  # of a folder: kind, target_kind, image_shape, class_names, feature_names


def source_of(data: Dataset, folder: Path) -> Source:
    """Return where workers find a data set. One that is no named one is written to `folder`, which they must be able to read.

    Raises DataError for arrays of Python objects, of which no file can be made that is safe to read.
    """
    sha256, rows = data.fingerprint(), data.row_counts()
    if data.name in DATASETS:
        return Source(data.name, None, data.data_dir, rows, sha256)
    import numpy as np

    for name, values in (("sample_weight", data.sample_weight), ("groups", data.groups)):
        if values is not None:
            raise DataError(
                f"{data.name}: {name}: expected none, which workers of an executor do not know, got some; train in this process"
            )
    folder = folder / sha256[:16]
    if not folder.is_dir():  # written once, however often it is trained on
        for name, array in zip(ARRAYS, data.arrays(), strict=True):
            if array.dtype.hasobject:
                raise DataError(f"{data.name}: {name}: expected numbers or text, which a file for workers can hold, got Python objects")
        folder.mkdir()
        for name, array in zip(ARRAYS, data.arrays(), strict=True):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    about = (data.kind, data.target_kind, data.image_shape, data.class_names, data.feature_names)
    return Source(data.name, str(folder.absolute()), None, rows, sha256, about)


def load(source: Source) -> Dataset:
    """Load the rows of a source in this process. DataError where they are others, InputNotFound where its files cannot be seen."""
    data = _by_name(source) if source.folder is None else _from_folder(source, Path(source.folder))
    if data.row_counts() != source.rows:
        data = data.first_rows(*source.rows)
    if data.fingerprint() != source.sha256:
        raise DataError(f"{source.name}: expected the rows that were sent for, a worker found others; give changed data another name")
    return data


def _by_name(source: Source) -> Dataset:
    folder = source.data_dir if source.data_dir is not None and Path(source.data_dir).is_dir() else None
    return load_dataset(source.name, folder)


def _from_folder(source: Source, folder: Path) -> Dataset:
    """Map the files of arrays: the processes of a machine share their memory."""
    import numpy as np

    try:
        arrays = [np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in ARRAYS]
    except FileNotFoundError:
        raise InputNotFound(
            f"{source.name}: expected its rows in {source.folder!r}, which this worker cannot see; "
            "name a folder that all workers can read: shared_dir=..."
        ) from None
    kind, target_kind, image_shape, class_names, feature_names = source.about
    return Dataset(
        source.name, *arrays, kind=kind, target_kind=target_kind, image_shape=image_shape,
        class_names=class_names, feature_names=feature_names,
    )  # fmt: skip
