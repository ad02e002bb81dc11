"""Tables of every format that people have are read as they were written, or refused in one line that says where the fault is."""

import csv
import gzip
import io
import re
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fastmlp
from fastmlp.data.formats import read_table, text

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=8).map("w".__add__)
COLUMN = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=3, max_size=3),
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=3, max_size=3),
    st.lists(st.one_of(st.none(), WORDS), min_size=3, max_size=3),
)


def written(rows, **dialect):
    file = io.StringIO(newline="")
    csv.writer(file, **dialect).writerows(rows)
    return file.getvalue().encode()


def read(content, **arguments):
    """The table in a text, as columns of Python's values."""
    return text.read(content, "t.csv", **arguments).to_dict(as_series=False)


@settings(max_examples=300, deadline=None)
@given(
    columns=st.lists(COLUMN, min_size=2, max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_is_read(columns, delimiter, quoting, end):
    names = [f"name {number}" for number in range(len(columns))]
    content = written([names, *zip(*columns, strict=True)], delimiter=delimiter, quoting=quoting, lineterminator=end)
    found = read(content, header=True, delimiter=delimiter)
    for name, column in zip(names, columns, strict=True):
        assert found[name] == column


def test_large_tables_are_read_like_small_ones():
    """Beyond so many rows numbers are read at once, not cell by cell, until a cell shows that this will not do."""
    rng = np.random.default_rng(0)
    n = 2 * text.SAMPLE_ROWS
    late = {"": None, "2.5": 2.5, "007": "007", "1e3": 1000.0, "NA": None, " 7 ": 7}
    for cell, value in late.items():
        numbers = rng.integers(0, 99, n).tolist()
        floats = rng.standard_normal(n).tolist()
        rows = [["whole", "real", "text"], *zip(numbers, floats, ["a, b", 'c "d"'] * (n // 2), strict=True)]
        rows[-1] = (cell, *rows[-1][1:])
        found = read(written(rows))
        assert found["real"] == floats
        assert found["text"] == ["a, b", 'c "d"'] * (n // 2)
        assert found["whole"][-1] == value
        assert found["whole"][:-1] == ([str(number) for number in numbers[:-1]] if cell == "007" else numbers[:-1])


READ = {
    b"a,b\n1,2\n": {"a": [1], "b": [2]},
    b"1,2\n3,4\n": {"x1": [1, 3], "x2": [2, 4]},
    b"\xef\xbb\xbfa,b\r\n1,x\r\n\r\n3,y\r\n\r\n": {"a": [1, 3], "b": ["x", "y"]},
    "a,b\n1,é\n".encode("utf-16"): {"a": [1], "b": ["é"]},
    b"39, State-gov, ?\n40, Private, 5\n": {"x1": [39, 40], "x2": ["State-gov", "Private"], "x3": [None, 5]},
    b'a,b\n"l\nm","1, ""2"""\nx,y\nx,y\n': {"a": ["l\nm", "x", "x"], "b": ['1, "2"', "y", "y"]},
    b'size,n\n5" disk,1\n8" disk,2\n': {"size": ['5" disk', '8" disk'], "n": [1, 2]},
    b"sep=;\na;b\n1;2\n": {"a": [1], "b": [2]},
    b"sep=;\n\na;b\n1;2\n": {"a": [1], "b": [2]},  # with a blank line
    b"0.5  1.2\n 0.6   3\n": {"x1": [0.5, 0.6], "x2": [1.2, 3.0]},
    b"city\n1\nNew York\nOld York\n": {"city": ["1", "New York", "Old York"]},
    b"a\n1\n\n3\n": {"a": [1, None, 3]},
    b",0,1\n0,5,6\n": {"x1": [0], "0": [5], "1": [6]},
    b"e,x,s\np,x,s\ne,b,y\n": {"x1": ["e", "p", "e"], "x2": ["x", "x", "b"], "x3": ["s", "s", "y"]},
    b"class,shape\np,x\ne,b\np,x\n": {"class": ["p", "e", "p"], "shape": ["x", "b", "x"]},
    b"id\n9223372036854775808\n5\n": {"id": [2.0**63, 5.0]},
    b"zip,day,v\n02139,2020-01-02,1.2.3\n10001,2020-01-03,1.2.4\n": {
        "zip": ["02139", "10001"], "day": ["2020-01-02", "2020-01-03"], "v": ["1.2.3", "1.2.4"],
    },
}  # fmt: skip


READ |= {
    "ort;preis;menge\nKöln;1.234,5;3\nBonn;-2,25;1.000\n".encode(): {
        "ort": ["Köln", "Bonn"], "preis": [1234.5, -2.25], "menge": [3, 1000],
    },
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:t.csv. the first line is taken")
def test_tables_as_people_write_them_are_read():
    for content, columns in READ.items():
        assert read(content) == columns, content


REFUSED = {
    b"": "empty file",
    b"\n \n": "blank lines only",
    b"a,b\n": "rows below the names",
    b"a,b\n1,2\n1,2,3\n": "row 3, column 3: expected 2 cells as in row 1, found 3",
    b"a,b\n\n1,2\n1\n": "row 4, column 2: expected 2 cells as in row 1, found 1",
    b"a,b\n1,2,\n3,4,\n": "row 1, column 3: expected 3 cells",
    b'a,b\n1,"x\n2,y\n': "row 2: expected the end of the quoted cell",
    b'a,b\n1,"x"\n2,"x"y\n': "row 3, column 2: expected quotes at both ends",
    b'a,b\n1,x"y\n2,"z"\n': "row 2, column 2: expected quotes at both ends",
    b"a,b,a\n1,2,3\n": "row 1, column 3: expected a name of its own, found 'a', as column 1",
    b"a,b\n1,2\n3,\x004\n": "row 3, column 2: expected text, found a NUL byte",
    "a,b\n1,2\n3,é\n".encode("latin-1"): "row 3, column 2: expected UTF-8, found byte e9, which is 'é' in Latin-1",
    b"a,b\n1,2\n3,inf\n": "row 3, column 2 ('b'): expected a finite number",
    b"a,b\n1,1e999\n3,4\n": "row 2, column 2 ('b'): expected a finite number",
    b"n\n" + b"\n".join(b"%d" % number for number in range(40)) + b"\nabc\n": "row 42, column 1 ('n'): expected a number as in 40 other",
    **{b"a,b\n1,2\n3," + cell + b"\n": "row 3, column 2 ('b'): expected a number, found"
       for cell in (b"0x1F", b"1_000", b'"1,5"', b"1+2j", b"5 %", b"$5", b"1d5", "−5".encode())},
}  # fmt: skip


REFUSED |= {
    b"a;b\n1,234;1\n2,345;2\n": "column 'a': expected a decimal mark that can be told, found '1,234'",
    b"a;b\n1,23;1.5\n2,3;2.5\n": "expected one decimal mark, found '1,23' in column 'a' and '1.5' in column 'b'",
    b'a,b\n"two\nlines",1\nx,2\ny,inf\n': "row 5, column 2 ('b'): expected a finite number",
    b'a,b\n"two\nlines",1\nx,2\ny\n': "row 5, column 2: expected 2 cells",
}


def test_bad_tables_are_refused_in_one_line_with_row_and_column(tmp_path):
    path = tmp_path / "t.csv"
    for content, message in REFUSED.items():
        path.write_bytes(content)
        with pytest.raises(fastmlp.DataError) as error:
            read_table(path)
        assert message in str(error.value), content
        assert str(error.value).isprintable()


def test_the_decimal_mark_may_be_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a;b\n1,234;1\n2,345;2\n")
    assert read_table(path, decimal=",")["a"].to_list() == [1.234, 2.345]
    assert read_table(path, decimal=".")["a"].to_list() == [1234, 2345]
    path.write_bytes(b'a,b\n"1,5",1\n"1.000,25",2\n')
    assert read_table(path, decimal=",")["a"].to_list() == [1.5, 1000.25]
    with pytest.raises(fastmlp.ConfigError, match=r"decimal: expected '\.' or ',', got ';'"):
        read_table(path, decimal=";")


def test_one_cell_of_another_kind_is_said():
    with pytest.warns(UserWarning, match=r"row 4, column 1 \('age'\): found 'abc' among 3 numbers"):
        assert read(b"age\n31\n42\nabc\n55\n") == {"age": ["31", "42", "abc", "55"]}
    with pytest.warns(UserWarning, match="first line is taken as names"):
        read(b"name,2019,2020\nu,1,2\nv,3,4\n")
    assert read(b"age\n31\n42\nabc\n55\n", chosen=("age",)) == {"age": ["31", "42", "abc", "55"]}


def test_every_format_holds_the_same_table(tmp_path, monkeypatch):
    x, y = np.array([[0.5, 0.0, 2.0], [0.0, -1.5, 0.0]]), np.array([1, -1])
    expected = pl.DataFrame({"y": y, "x1": x[:, 0], "x2": x[:, 1], "x3": x[:, 2]})
    lines = b"y;x1;x2;x3\n1;0.5;0;2\n-1;0;-1.5;0.0\n"
    (tmp_path / "t.txt").write_bytes(lines)
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(lines.replace(b";", b"\t")))
    (tmp_path / "t.svm").write_bytes(b"1 1:0.5 3:2 # first\n-1 2:-1.5\n")
    expected.write_parquet(tmp_path / "t.parquet")
    np.savez_compressed(tmp_path / "t.npz", y=y, x=x)
    for path in sorted(tmp_path.iterdir()):
        found = read_table(path)
        assert found.sort("y", descending=True).cast(pl.Float64).equals(expected.cast(pl.Float64)), path
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "t.parquet").read_bytes())))
    assert read_table("-").equals(expected)
    np.save(tmp_path / "x.npy", np.asfortranarray(x.astype(">f4")))
    assert np.array_equal(read_table(tmp_path / "x.npy").to_numpy(), x)
    assert read_table(expected.lazy()).equals(expected)


def test_damaged_files_of_other_formats_are_refused(tmp_path):
    pl.DataFrame({"a": range(100)}).write_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", x=np.eye(3))
    np.savez(tmp_path / "two.npz", x_train=np.eye(3), x_test=np.eye(2))
    np.savez(tmp_path / "object.npz", x=np.array([{}]))
    for name in ("t.parquet", "t.npz"):
        whole = (tmp_path / name).read_bytes()
        for number, content in enumerate((whole[:-9], whole[: len(whole) // 2], whole[:8] + b"\xff" * 40 + whole[48:])):
            (tmp_path / f"{number}{name}").write_bytes(content)
    for number, content in enumerate(("1 1:0.5 1:2", "1 0.5", "1 2:x", "a 1:1 2:1\nb 1:1")):
        (tmp_path / f"{number}.libsvm").write_text(content)
    for path in set(tmp_path.iterdir()) - {tmp_path / "t.parquet", tmp_path / "t.npz"}:
        with pytest.raises(fastmlp.DataError, match=re.escape(path.name)) as error:
            read_table(path)
        assert str(error.value).isprintable()
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "t.parquet")
    for source in (tmp_path / "t.parquet", np.zeros((2, 2)), pl.DataFrame({"a": [1]})):
        with pytest.raises(fastmlp.ConfigError, match="header: expected none with .* which is no text of cells, got False; leave it out"):
            read_table(source, header=False)
    for frame in (pl.DataFrame({"a": [[1]]}), pl.DataFrame({"a": [1.0, np.inf]}), pl.DataFrame(), {"a": [1]}, None):
        with pytest.raises(fastmlp.DataError):
            read_table(frame)


def test_what_is_not_read_is_named_with_the_way_out(tmp_path):
    for name, content, way in (
        ("t.xlsx", b"PK\3\4....", "Excel; read it with pandas"), ("t.csv", b"@relation r\n@data\n1,2\n", "ARFF; read it with scipy"),
        ("t.feather", b"ARROW1\0\0", "Feather; read it with pandas"), ("t.csv", b"<!DOCTYPE html>\n<html>", "HTML, a page; download"),
        ("t.bmp", b"BM\x36\0\0\0\0\0", "BMP; save it as PNG"), ("t.csv", b'{"a": [1]}', "JSON; read it with pandas"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(fastmlp.DataError, match=f"found {way}"):
            read_table(tmp_path / name)


def test_a_folder_of_pictures_is_read_by_class(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 3, 2), np.uint8)
    for number, picture in enumerate(pixels):
        (tmp_path / "ab"[number // 2]).mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "ab"[number // 2] / f"{number}.png")
    found = read_table(tmp_path)
    assert found["label"].to_list() == ["a", "a", "b", "b"]
    assert np.array_equal(found.drop("label").to_numpy(), pixels.reshape(4, 6))
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "b" / "9.png")
    with pytest.raises(fastmlp.DataError, match=r"9\.png: expected 2 x 3 pixels as in the first, found 2 x 2"):
        read_table(tmp_path)


def test_without_polars_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(fastmlp.MissingExtra, match=r"fastmlp\[tables\]"):
        read_table("t.csv")


def test_names_that_polars_takes_for_patterns_are_names_or_refused(tmp_path):
    frame = pl.DataFrame({"*": [0.5, 1.5, 2.0, 3.0] * 10, "text": ["a", " b", "?", "a"] * 10, "x1": [1.0, 2.0, 3.0, 5.0] * 10})
    frame.write_csv(tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv")["text"].to_list() == ["a", "b", None, "a"] * 10
    data = fastmlp.load_table(tmp_path / "t.csv", "*", drop=["x1"])
    assert (data.columns.target, [column.name for column in data.columns.columns]) == ("*", ["text"])
    assert [column.name for column in fastmlp.load_table(frame, "x1", group="*").columns.columns] == ["text"]
    with pytest.raises(
        fastmlp.DataError, match=re.escape("column 1: expected a name that does not begin with ^ and end with $, found '^x.*$'")
    ):
        read_table(pl.DataFrame({"^x.*$": [1, 2]}))
