"""The boundary: every sound form of rows and targets becomes one of a few, everything else an error that says where."""

import datetime
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from fastmlp.errors import DataError
from fastmlp.network.arrays import as_rows, as_target, is_single
from fastmlp.preprocessing.inputs import BLOCK_ROWS
from tests.pairs import each_pair

TABLE = np.arange(12.0).reshape(3, 4)
IMAGES = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array):
    return np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)


class Sparse:
    """As much of a sparse matrix as anyone can tell it by."""

    shape = (3, 4)

    def toarray(self):
        return TABLE


# Rows


@pytest.mark.parametrize(
    "x",
    [
        TABLE,
        TABLE.astype(np.float32),
        TABLE.astype(np.float16),
        TABLE.astype(np.longdouble),
        TABLE.astype(np.int64),
        TABLE.astype(np.uint16),
        TABLE.astype(">f8"),
        TABLE.astype(">i2"),
        np.asfortranarray(TABLE),
        np.repeat(TABLE, 2, axis=1)[:, ::2],
        TABLE[::-1][::-1],
        unaligned(TABLE),
        read_only(TABLE),
        TABLE.reshape(3, 2, 2),
        TABLE.reshape(3, 4, 1),
        TABLE.tolist(),
        [tuple(row) for row in TABLE],
        [row for row in TABLE],
    ],
    ids=lambda x: f"{getattr(x, 'dtype', 'list')} {np.shape(x)}",
)
def test_numbers_in_any_form_become_rows_of_the_networks_type(x):
    for dtype in ["float32", "float64"]:
        rows = as_rows(x, 4, dtype)
        assert_array_equal(rows, TABLE)
        assert (rows.dtype, rows.flags.c_contiguous, rows.flags.aligned, rows.flags.writeable) == (np.dtype(dtype), True, True, False)


def test_booleans_become_zeros_and_ones():
    rows = as_rows(TABLE > 5, 4, "float32")
    assert_array_equal(rows, (TABLE > 5).astype(float))
    assert rows.dtype == np.float32


@pytest.mark.parametrize(
    "x", [IMAGES, read_only(IMAGES), np.asfortranarray(IMAGES), np.repeat(IMAGES, 2, axis=2)[:, :, ::2], IMAGES.reshape(2, 784)]
)
def test_bytes_stay_bytes(x):
    rows = as_rows(x, 784, "float32")
    assert (rows.dtype, rows.shape, rows.flags.c_contiguous, rows.flags.writeable) == (np.uint8, (2, 784), True, False)
    assert_array_equal(rows, IMAGES.reshape(2, 784))


def test_bytes_in_good_order_are_not_copied():
    assert np.shares_memory(as_rows(IMAGES, 784, "float32"), IMAGES)


def test_floats_in_good_order_are_not_copied():
    assert np.shares_memory(as_rows(TABLE, 4, "float64"), TABLE)


def test_the_callers_array_stays_writable():
    x = TABLE.copy()
    as_rows(x, 4, "float64")
    assert x.flags.writeable


def test_no_rows_are_rows():
    assert as_rows(np.empty((0, 28, 28)), 784, "float32").shape == (0, 784)


@given(
    hnp.arrays(st.sampled_from(["f4", ">f8", "i4", "u1", "?"]), hnp.array_shapes(min_dims=2, max_dims=3, max_side=7), elements=st.just(1))
)
def test_each_row_keeps_its_place(x):
    for row in range(len(x)):
        x[row] = row % 2
    rows = as_rows(x, int(np.prod(x.shape[1:])), "float32")
    assert_array_equal(rows, np.arange(len(x))[:, None] % 2 * np.ones(rows.shape))


@each_pair(kind=["float32", "float64"], row=[0, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS + 2], value=[np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_named_with_row_and_column(value, row, kind):
    x = np.zeros((2 * BLOCK_ROWS + 3, 3), kind)
    x[row, 2] = value
    x[-1, 2] = value  # the first one is named
    with pytest.raises(DataError, match=f"^x: expected finite numbers in float32, got {value} in row {row}, column 2$"):
        as_rows(x, 3, "float32")


def test_a_number_too_large_for_the_networks_type_is_named_with_row_and_column():
    x = TABLE.copy()
    x[1, 3] = 1e300
    with pytest.raises(DataError, match=r"^x: expected finite numbers in float32, got 1e\+300 in row 1, column 3$"):
        as_rows(x, 4, "float32")


NO_TABLES = [
    (TABLE[:, :3], r"x: expected \(n, 4\), got shape \(3, 3\); the network has 4 inputs"),
    (TABLE[0], r"x: expected \(n, 4\), got shape \(4,\)"),
    (TABLE.reshape(1, 2, 6), r"x: expected \(n, 4\), got shape \(1, 2, 6\)"),
    ([], r"x: expected \(n, 4\), got shape \(0,\)"),
    (3.0, "x: expected an array, got the single number 3.0"),
    (None, "x: expected an array of numbers, got NoneType"),
    ("abcd", "x: expected an array of numbers, got str"),
    (TABLE.astype(str), "x: expected numbers, got <U"),
    (TABLE.astype(bytes), r"x: expected numbers, got \|S"),
    (TABLE.astype(complex), "x: expected numbers, got complex128"),
    (TABLE.astype("M8[s]"), "x: expected numbers, got datetime64"),
    (np.zeros(3, [("a", "f4"), ("b", "f4")]), "x: expected numbers, got "),
    ([[1, 2, 3, 4], [5, 6]], "x: expected a rectangular array of numbers"),
    (Sparse(), r"x: expected a dense array, got a sparse one; convert it with x\.toarray\(\)"),
]


def test_what_is_no_table_of_numbers_is_refused(subtests):
    for x, message in NO_TABLES:
        with subtests.test(message=message):
            with pytest.raises(DataError, match=message):
                as_rows(x, 4, "float32")


# One row


@pytest.mark.parametrize(
    ("shape", "n_features", "single"),
    [
        ((4,), 4, True),
        ((28, 28), 784, True),
        ((1, 784), 784, False),
        ((784, 1), 784, True),
        ((28, 28), 28, False),
        ((5, 4), 4, False),
        ((5, 28, 28), 784, False),
        ((1, 1), 1, False),
        ((), 1, False),
    ],
)
def test_one_row_and_one_image_are_told_from_many(shape, n_features, single):
    assert is_single(np.zeros(shape), n_features) is single


# Targets


@pytest.mark.parametrize("kind", ["uint8", "int8", "int64", "uint64", ">i4", "bool"])
def test_class_numbers_of_any_type_become_one_column_of_floats(kind):
    for shape in [(4,), (4, 1)]:
        target = as_target(np.array([0, 1, 1, 0], kind).reshape(shape), "softmax", 2, 4, "float32")
        assert (target.dtype, target.shape, target.flags.writeable) == (np.float32, (4, 1), False)
        assert_array_equal(target[:, 0], [0, 1, 1, 0])


def test_the_largest_class_number_is_exact():
    assert as_target([2**24 - 1], "softmax", 2**24, 1, "float32")[0, 0] == 2**24 - 1


@pytest.mark.parametrize("y", [[0, 1, 1, 0], [False, True, True, False], [0.0, 1.0, 1.0, 0.0], [[0], [1], [1], [0]]])
def test_yes_or_no_becomes_zeros_and_ones(y):
    assert_array_equal(as_target(y, "sigmoid", 1, 4, "float32"), [[0], [1], [1], [0]])


def test_several_labels_keep_their_columns():
    assert_array_equal(as_target(np.eye(3, dtype=np.uint8), "sigmoid", 3, 3, "float64"), np.eye(3))


@pytest.mark.parametrize("y", [TABLE, TABLE.astype(">f4"), np.asfortranarray(TABLE), TABLE.astype(int), read_only(TABLE), TABLE.tolist()])
def test_values_become_floats_of_the_networks_type(y):
    target = as_target(y, "identity", 4, 3, "float32")
    assert_array_equal(target, TABLE)
    assert (target.dtype, target.flags.c_contiguous, target.flags.writeable) == (np.float32, True, False)


def test_the_callers_targets_stay_writable():
    y = TABLE.copy()
    as_target(y, "identity", 4, 3, "float64")
    assert y.flags.writeable


WRONG_TARGETS = [
    ([0, 1, 3], "softmax", 3, "y: expected class numbers from 0 to 2, got 3 in row 2"),
    ([0, -1, 2], "softmax", 3, "y: expected class numbers from 0 to 2, got -1 in row 1"),
    ([0.0, 1.0, 2.0], "softmax", 3, r"y: expected whole class numbers from 0 to 2, got float64; convert with y\.astype\(int\)"),
    (np.eye(3, dtype=int), "softmax", 3, r"y: expected class numbers \(n,\), got shape \(3, 3\)"),
    (["a", "b", "c"], "identity", 1, "y: expected numbers, got <U1; this network predicts numbers"),
    ([0, 1], "softmax", 3, "y: expected 3 rows, as many as x has, got 2"),
    ([0, 2, 1], "sigmoid", 1, "y: expected 0 or 1 for a sigmoid output, got 2 in row 1"),
    ([0, np.nan, 1], "sigmoid", 1, "y: expected 0 or 1 for a sigmoid output, got nan in row 1"),
    ([0, 0.5, 1], "sigmoid", 1, "y: expected 0 or 1 for a sigmoid output, got 0.5 in row 1"),
    (np.zeros((3, 2)), "sigmoid", 1, r"y: expected \(n,\) or \(n, 1\) for 1 outputs, got shape \(3, 2\)"),
    ([0, 1, 2], "sigmoid", 2, "y: expected class numbers from 0 to 1, got 2 in row 2"),
    ([0, np.nan, 1], "identity", 1, "y: expected finite numbers in float32, got nan in row 1, column 0"),
    ([[0, 1], [2, np.inf], [3, 4]], "identity", 2, "y: expected finite numbers in float32, got inf in row 1, column 1"),
    (np.zeros((3, 2, 1)), "identity", 2, r"y: expected \(n, 2\) for 2 outputs, got shape \(3, 2, 1\)"),
    (3.0, "identity", 1, "y: expected an array, got the single number 3.0"),
    (np.array([1, 2, None]), "identity", 1, "y: expected numbers, row 2 holds a missing value"),
    (Sparse(), "identity", 4, r"y: expected a dense array, got a sparse one; convert it with y\.toarray\(\)"),
]


def test_targets_that_do_not_fit_the_output_are_refused(subtests):
    for y, output, n_outputs, message in WRONG_TARGETS:
        with subtests.test(message=message):
            with pytest.raises(DataError, match=f"^{message}"):
                as_target(y, output, n_outputs, 3, "float32")


def test_the_argument_is_named_as_the_caller_calls_it():
    with pytest.raises(DataError, match="^validation x: expected "):
        as_rows(TABLE, 3, "float32", "validation x")


class Frame:
    """A table as pandas and polars give it to NumPy: columns of several types become one array of objects."""

    def __init__(self, **columns):
        self.columns = list(columns)
        self.dtypes = [np.asarray(column).dtype for column in columns.values()]
        self._rows = np.array([list(row) for row in zip(*columns.values(), strict=True)], dtype=object)
        self.shape = self._rows.shape

    def __array__(self, dtype=None, copy=None):
        return self._rows


def test_table_of_floats_booleans_and_whole_numbers_is_taken():
    frame = Frame(size=[0.5, 1.5], red=[True, False], count=[2, 3])
    np.testing.assert_array_equal(as_rows(frame, 3, "float32"), np.array([[0.5, 1, 2], [1.5, 0, 3]], np.float32))


def test_objects_that_are_all_numbers_are_taken():
    numbers = [Fraction(1, 2), Decimal("0.25"), np.float32(2), True]
    np.testing.assert_array_equal(as_rows(np.array([numbers], object), 4, "float32"), np.array([[0.5, 0.25, 2, 1]], np.float32))
    np.testing.assert_array_equal(as_target(np.array([0, True, np.int8(2)], object), "softmax", 3, 3, "float32")[:, 0], [0, 1, 2])


class Tensor:
    """What NumPy cannot look into, as a tensor that is part of a graph."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


NO_NUMBERS = {
    "text in a table": (Frame(a=[0.5, 1.5], city=["Paris", "Rome"]), "row 0 of column 'city' holds text ('Paris')"),
    "a missing value": (np.array([[1.0, None]], object), "row 0 of column 1 holds a missing value"),
    "dates in a table": (Frame(a=[1, 2], day=[np.datetime64("2020-01-01")] * 2), "column 'day' holds dates"),
    "dates": (np.zeros((2, 2), "M8[D]"), "np.timedelta64"),
    "dates among objects": (np.array([[datetime.date(2020, 1, 1), 1]], object), "a date or time"),
    "text": (np.array([["a", "b"]]), "encode text"),
    "complex numbers": (np.zeros((2, 2), complex), "real and imaginary"),
    "fields": (np.zeros(2, [("a", float), ("b", float)]), "structured_to_unstructured"),
    "masked numbers": (np.ma.masked_array([[1.0, 2.0]], [[True, False]]), "filled"),
    "masked numbers in a list": ([np.ma.masked_array([1.0, 2.0], [True, False])], "filled"),
    "too large": (np.array([[1, 10**400]], object), "expected numbers that float64 can hold"),
    "a tensor in a graph": (Tensor(), "detach()"),
    "nothing": (None, "NoneType"),
    "a dictionary": ({"a": [1]}, "dict"),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_is_no_number_is_named_with_the_way_out(kind):
    given, said = NO_NUMBERS[kind]
    with pytest.raises(DataError, match=re.escape(said)) as caught:
        as_rows(given, 2, "float32")
    assert "\n" not in str(caught.value)


def test_signs_as_labels_of_a_sigmoid_are_refused_with_the_cure():
    with pytest.raises(DataError, match=re.escape("give (y + 1) / 2")):
        as_target([-1, 1], "sigmoid", 1, 2, "float32")


def test_class_numbers_become_one_hot_rows_where_there_are_several_sigmoids():
    target = as_target([2, 0, 1, 0], "sigmoid", 3, 4, "float32")
    assert_array_equal(target, np.eye(3, dtype=np.float32)[[2, 0, 1, 0]], strict=True)
