"""Formats that people have and fastmlp does not read: told by their first bytes or their names, each with a way out."""

import codecs
import re
from pathlib import PurePath
from typing import NamedTuple

NPY, PNG, JPEG, PARQUET, GZIP = b"\x93NUMPY", b"\x89PNG", b"\xff\xd8\xff", b"PAR1", b"\x1f\x8b"  # the first bytes of files that are read
HEAD = 512  # bytes at the start of a file that `recognise` needs


class Format(NamedTuple):
    """A format that is known, and what to do with a file of it."""

    name: str
    way_out: str


_TO_PNG = "save it as PNG, or read it with Pillow"
_TO_ARRAY = "read it with pandas and write it as CSV: frame.to_csv('table.csv', index=False), or np.save its numbers"
_IDX = Format("IDX", "let --data-dir name a folder whose mnist/ holds the four files, or read them in Python and np.savez x and y")
CSV = Format("CSV", "read it with np.loadtxt(file, delimiter=',') or pandas, and np.save the rows without their labels as rows.npy")
NPZ = Format("NPZ", "take one array out: np.save('rows.npy', np.load(file)['x_test'])")
PICKLE = Format("pickle", "it may run any code when it is opened; where you trust it, open it and np.save the array in it")
TORCH = Format("PyTorch", "load it with torch, copy the weights into a fastmlp.Network and save that; or np.save a tensor as an array")
KERAS = Format("Keras", "load it with Keras, copy the weights into a fastmlp.Network (net.weights[0][:] = ...) and save that")
HDF5 = Format("HDF5 (Keras models and MATLAB 7.3 files are such)", "read it with h5py, and np.save the array in it")
ZIP = Format("ZIP", "unpack it first")
HTML = Format("HTML, a page", "download the file that it shows: its raw form")

# (offset, first bytes, format); the first that fits is it.
_MAGIC: tuple[tuple[int, bytes, Format], ...] = (
    (0, JPEG, Format("JPEG", _TO_PNG)),
    (0, b"GIF8", Format("GIF", _TO_PNG)),
    (8, b"WEBP", Format("WebP", _TO_PNG)),
    (4, b"ftyp", Format("HEIC, AVIF or MP4", _TO_PNG)),
    (0, b"II*\0", Format("TIFF", _TO_PNG)),
    (0, b"MM\0*", Format("TIFF", _TO_PNG)),
    (0, b"%PDF", Format("PDF", _TO_PNG)),
    (0, b"BM", Format("BMP", _TO_PNG)),
    (0, PARQUET, Format("Parquet", _TO_ARRAY)),
    (0, b"ARROW1", Format("Feather", _TO_ARRAY)),
    (0, b"FEA1", Format("Feather", _TO_ARRAY)),
    (0, b"\x89HDF\r\n\x1a\n", HDF5),
    (0, b"MATLAB 5.0", Format("MATLAB", "read it with scipy.io.loadmat, and np.save the array in it")),
    (0, b"\xd0\xcf\x11\xe0", Format("Excel", _TO_ARRAY)),
    (4, b'\0\0\0\0{"', Format("safetensors", "take its arrays by safetensors.numpy.load_file, and np.savez them as x and y")),
    (0, b"\0\0\x08\x01", _IDX),
    (0, b"\0\0\x08\x03", _IDX),
    (0, b"SQLite format 3", Format("SQLite", _TO_ARRAY)),
    (0, b"\x80\x02", PICKLE),
    (0, b"\x80\x03", PICKLE),
    (0, b"\x80\x04", PICKLE),
    (0, b"\x80\x05", PICKLE),
    (0, b"BZh", Format("bzip2", "unpack it first: bunzip2")),
    (0, b"\xfd7zXZ", Format("xz", "unpack it first: unxz")),
    (0, b"\x28\xb5\x2f\xfd", Format("Zstandard", "unpack it first: unzstd")),
    (0, b"7z\xbc\xaf", Format("7-Zip", "unpack it first")),
    (257, b"ustar", Format("tar", "unpack it first")),
    (0, GZIP, Format("gzip", "unpack it first: gunzip")),
    (0, NPY, Format("NPY", "it holds one array, no model")),
    (0, PNG, Format("PNG", "it is a picture: fastmlp predict MODEL PICTURE")),
)
_LIBSVM = re.compile(r"[-+.\deE]+([ \t]+\d+:[-+.\deE]+)+\s*(#|$)")
# By the end of the name, where the bytes say less: many formats are ZIP archives, and texts have no first bytes of their own.
_BY_NAME: dict[str, Format] = {
    ".npz": NPZ,
    ".pt": TORCH,
    ".pth": TORCH,
    ".ckpt": TORCH,
    ".keras": KERAS,
    ".h5": HDF5,
    ".hdf5": HDF5,
    ".mat": Format("MATLAB", "read it with scipy.io.loadmat, and np.save the array in it"),
    ".xlsx": Format("Excel", _TO_ARRAY),
    ".xls": Format("Excel", _TO_ARRAY),
    ".onnx": Format("ONNX", "run it with onnxruntime, or copy its weights into a fastmlp.Network"),
    ".joblib": PICKLE,
    ".pkl": PICKLE,
    ".pickle": PICKLE,
    ".csv": CSV,
    ".tsv": CSV._replace(name="TSV"),
    ".arff": Format("ARFF", "read it with scipy.io.arff.loadarff, and np.save the rows as rows.npy"),
    ".libsvm": Format("LIBSVM", "read it with sklearn.datasets.load_svmlight_file, and np.save x.toarray() as rows.npy"),
    ".svm": Format("LIBSVM", "read it with sklearn.datasets.load_svmlight_file, and np.save x.toarray() as rows.npy"),
    ".json": Format("JSON", _TO_ARRAY),
    ".jsonl": Format("JSON", _TO_ARRAY),
    ".ndjson": Format("JSON", _TO_ARRAY),
    ".svg": Format("SVG", _TO_PNG),
    ".txt": Format("text", "read it with np.loadtxt, and np.save the rows as rows.npy"),
}


def recognise(name: str, head: bytes) -> Format | None:
    """Return the format of a file by its first bytes (HEAD of them, or all) and its name; None where it is not known."""
    ending = PurePath(name).suffix.lower()
    if head.startswith(b"PK\3\4"):
        return _BY_NAME.get(ending) or (NPZ if b".npy" in head else TORCH if b"data.pkl" in head else ZIP)
    for offset, magic, found in _MAGIC:
        if head[offset : offset + len(magic)] == magic and (magic != b"BM" or b"\0" in head):  # a text may begin with BM
            return KERAS if found is HDF5 and ending == ".keras" else found
    if ending in _BY_NAME:
        return _BY_NAME[ending]
    return _of_text(head)


def described(name: str, head: bytes) -> str:
    """Return what a file is, and the way out, for the end of a message that says what was expected."""
    if not head:
        return "found an empty file"
    found = recognise(name, head)
    if found is None:
        return f"found a file of an unknown format, which begins with {head[:6]!r}"
    return f"found {found.name}; {found.way_out}"


def _of_text(head: bytes) -> Format | None:
    """Return what kind of table a text is, None for bytes that are no text."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # the last letter may be cut
    except UnicodeDecodeError:
        return None
    if not all(letter.isprintable() or letter in "\t\r\n" for letter in text):
        return None
    line = text.lstrip().partition("\n")[0]
    if line.lower().startswith("@relation") or (line.startswith("%") and "\n@" in text):
        return _BY_NAME[".arff"]
    if line.lower().startswith(("<!doctype html", "<html")):
        return HTML
    if line.startswith(("{", "[")):
        return _BY_NAME[".json"]
    if "<svg" in text:
        return _BY_NAME[".svg"]
    if _LIBSVM.match(line):
        return _BY_NAME[".libsvm"]
    return CSV if "," in line or ";" in line else _BY_NAME[".tsv"] if "\t" in line else _BY_NAME[".txt"]
