"""Formats that are not read are named, with a way out: by their bytes where these tell, else by their names."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from fastmlp.data.known_formats import HEAD, described, recognise


def packed(save, *arguments, **names):
    file = io.BytesIO()
    save(file, *arguments, **names)
    return file.getvalue()


def zip_of(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


PICTURE = (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG"), (b"GIF89a", "GIF"), (b"RIFF\x24\0\0\0WEBPVP8 ", "WebP"), (b"BM\x36\0\0\0\0\0", "BMP")
BY_BYTES = [
    *PICTURE,
    (packed(np.savez, x=np.zeros(3)), "NPZ"),
    (pickle.dumps([1, 2]), "pickle"),
    (zip_of("archive/data.pkl", "archive/version"), "PyTorch"),
    (zip_of("a.txt"), "ZIP"),
    (b"PAR1\x15\x04", "Parquet"),
    (b"ARROW1\0\0", "Feather"),
    (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
    (b"7,0,0,0,255\n1,0,0,0,0\n", "CSV"),
    (b"label;pixel0;pixel1\r\n7;0;0\r\n", "CSV"),
    (b"BMW,12,13\n", "CSV"),
    (b"7\t0\t0\n", "TSV"),
    (b"1 5:0.3 60:1\n-1 2:1\n", "LIBSVM"),
    (b"% a comment\n@RELATION mnist\n", "ARFF"),
    (b"@relation mnist\n@attribute p1 real\n", "ARFF"),
    (json.dumps({"x": [1, 2]}).encode(), "JSON"),
    ('{"größe": 1}\n'.encode(), "JSON"),
    ("größe;preis\n1;2\n".encode(), "CSV"),
    (b"a," + "ü".encode() * HEAD, "CSV"),  # a letter is cut at the end of the bytes that are looked at
    (safetensors.numpy.save({"x": np.zeros(3)}), "safetensors"),
    (bytes([0, 0, 8, 3]) + bytes(12), "IDX"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    (b"0.1 0.2\n0.3 0.4\n", "text"),
]


@pytest.mark.parametrize(("content", "name"), BY_BYTES, ids=[name for _, name in BY_BYTES])
def test_format_is_told_by_its_bytes(content, name):
    found = recognise("file", content[:HEAD])
    assert found.name.startswith(name)
    assert found.way_out


@pytest.mark.parametrize(
    ("file", "name"),
    [("m.keras", "Keras"), ("table.xlsx", "Excel"), ("m.pt", "PyTorch"), ("x.npz", "NPZ"), ("M.PTH", "PyTorch"), ("x.zip", "ZIP")],
)
def test_archive_is_told_by_its_name(file, name):
    assert recognise(file, zip_of("content")).name == name


def test_unknown_bytes_are_shown_in_one_printable_line():
    text = described("file", b"\x1b[31m\n\xff")
    assert "unknown format" in text
    assert text.isprintable()
    assert described("file.csv", b"") == "found an empty file"


def test_random_bytes_are_taken_for_no_format():
    rng = np.random.default_rng(0)
    assert [recognise("file", bytes([0xFE]) + rng.bytes(100)) for _ in range(100)] == [None] * 100
