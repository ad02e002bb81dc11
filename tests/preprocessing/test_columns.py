"""Columns of a table -> inputs: formulas written out in NumPy, and what a cell means that was not seen in training."""

import datetime
import hashlib

import numpy as np
import polars as pl
import pytest

import fastmlp
from fastmlp.errors import ConfigError, DataError
from fastmlp.preprocessing import columns, kinds
from fastmlp.preprocessing.columns import MOST_CATEGORIES, Choices


def fitted(choices=None, rows=None, **cells):
    return columns.fit(pl.DataFrame(cells), choices or Choices(), rows).columns


def realmlp(values, train):
    """As the paper has it: minus the median, over q75 - q25, else half of the range, else nothing; then x / sqrt(1 + (x / 3)²)."""
    low, median, high = np.quantile(train, [0.25, 0.5, 0.75])
    width = high - low or (train.max() - train.min()) / 2
    z = (values - median) / width if width else 0 * values
    return z / np.sqrt(1 + (z / 3) ** 2)


@pytest.mark.parametrize("name", ["spread", "mostly zero"])
def test_numbers_are_scaled_by_the_quantiles_of_the_rows_trained_on(name):
    random = np.random.default_rng(0)
    values = random.lognormal(size=200) * 1e6 + 1e9 if name == "spread" else np.where(random.random(200) < 0.1, random.random(200), 0.0)
    train = np.arange(0, 150)
    found = fitted(rows=train, v=values).encode(pl.DataFrame({"v": values}))
    np.testing.assert_allclose(found[:, 0], realmlp(values, values[train]), rtol=1e-6)
    assert found.dtype == np.float32
    assert np.abs(fitted(v=values).encode(pl.DataFrame({"v": [1e300, -1e300]}))).max() <= 3


def test_a_missing_number_is_the_median_and_a_flag_where_training_had_some():
    seen, not_seen = fitted(v=[1.0, None, 2.0, 4.0]), fitted(v=[1.0, 2.0, 4.0])
    assert seen.features == ("v", "v is missing")
    missing = pl.DataFrame({"v": [2.0, None]}, schema={"v": pl.Float64})
    assert seen.encode(missing).tolist() == [[0, 0], [0, 1]]
    assert not_seen.encode(missing).tolist() == [[0], [0]]


def test_bins_say_how_far_a_number_has_come_through_each_of_them():
    random = np.random.default_rng(0)
    values = np.where(random.random(5000) < 0.9, 0.0, random.lognormal(size=5000))
    known = columns.fit(pl.DataFrame({"v": values}), bins=10).columns
    edges = known.columns[0].edges
    assert len(edges) == 9  # of 11: nine tenths are one value, and the rest is told apart all the same
    assert edges[0] == 0.0
    assert edges[-1] == values.max()
    below, first = values[values > 0].min(), edges[1]
    new = np.array([*random.lognormal(size=50), 0.0, -5.0, 1e9, below, first])
    expected = [[min(max((v - low) / (high - low), 0.0), 1.0) for low, high in zip(edges, edges[1:], strict=False)] for v in new]
    found = known.encode(pl.DataFrame({"v": new}))
    np.testing.assert_allclose(found[:, 1:], expected, rtol=1e-6)
    np.testing.assert_allclose(found[:, 0], realmlp(new, values), rtol=1e-6)


def test_bins_end_where_the_values_do_and_a_missing_number_lies_at_the_median():
    cells = {"few": [1.0, 2.0, 4.0, None], "two": [0, 1, 0, 1], "c": list("abab")}
    known = columns.fit(pl.DataFrame({name: values * 40 for name, values in cells.items()}), bins=16).columns
    assert not any(column.edges for column in columns.fit(pl.DataFrame(cells), bins=16).columns.columns)  # rows are few
    assert known.features == ("few", "few 1…2", "few 2…4", "few is missing", "two", "c=b")
    found = known.encode(pl.DataFrame({"few": [None, 3.0], "two": [0, 1], "c": ["a", "b"]}, schema_overrides={"few": pl.Float64}))
    np.testing.assert_array_equal(found[:, 1:4], [[1, 0, 1], [1, 0.5, 0]])


def test_there_are_fewer_bins_where_columns_are_many():
    random = np.random.default_rng(0)
    cells = {f"v{place}": random.normal(size=400) for place in range(columns.MOST_BINS // 8)}
    assert {len(column.edges) for column in columns.fit(pl.DataFrame(cells), bins=16).columns.columns} == {9}
    more = cells | {f"w{place}": cells["v0"] * place + 1.0 for place in range(1, columns.MOST_BINS // 4)}
    assert {column.edges for column in columns.fit(pl.DataFrame(more), bins=16).columns.columns} == {()}


def test_categories_are_one_hot_and_unknown_or_missing_ones_are_none_of_them():
    three = fitted(c=["b", "a", "c", "a"])
    assert three.features == ("c=a", "c=b", "c=c")
    assert three.encode(pl.DataFrame({"c": ["c", "z", None, "a"]})).tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]]
    two = fitted(c=["no", "yes"])
    assert two.encode(pl.DataFrame({"c": ["yes", "no", "z", None]})).ravel().tolist() == [1, -1, 0, 0]
    with_missing = fitted(c=["no", "yes", "?"])
    assert with_missing.features == ("c=no", "c=yes", "c is missing")
    assert with_missing.encode(pl.DataFrame({"c": ["", "z", " yes "]})).tolist() == [[0, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_of_many_categories_the_most_frequent_ones_are_told_apart():
    often = [f"often {place}" for place in range(MOST_CATEGORIES)] * 3
    found = fitted(c=[*often, "rare 1", "rare 2"])
    assert found.n_inputs == MOST_CATEGORIES + 1
    encoded = found.encode(pl.DataFrame({"c": ["often 7", "rare 1", "never", None]}))
    assert encoded[0, :-1].sum() == 1
    assert encoded[:, -1].tolist() == [0, 1, 1, 0]


def test_a_category_is_the_same_whatever_type_its_cells_have():
    whole = fitted(Choices(categorical=("zip",)), zip=[10, 20, 30])
    for cells in ([20], [20.0], ["20"]):
        assert whole.encode(pl.DataFrame({"zip": cells})).tolist() == [[0, 1, 0]]
    truth = fitted(b=[True, False, True])
    assert truth.encode(pl.DataFrame({"b": ["True", "FALSE"]})).ravel().tolist() == [1, -1]


def test_an_order_is_a_number_and_a_category_without_a_place_in_it_is_refused():
    order = Choices(ordinal={"size": ("small", "middle", "large")})
    sizes = ["small", "large", "middle", "large"]
    np.testing.assert_allclose(
        fitted(order, size=sizes).encode(pl.DataFrame({"size": sizes})).ravel(),
        realmlp(np.array([0.0, 2, 1, 2]), np.array([0.0, 2, 1, 2])), rtol=1e-6,
    )  # fmt: skip
    with pytest.raises(DataError, match=r"column 'size', row 3: expected one of small, middle, large, got 'huge'"):
        fitted(order, size=["small", "large", "huge"])


@pytest.mark.parametrize("as_text", ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", None])
def test_a_date_becomes_its_parts(as_text):
    moments = [datetime.datetime(2024, 2, 29, 12, 30), datetime.datetime(2025, 12, 31, 23, 0), datetime.datetime(1969, 7, 20, 20, 17)]
    cells = moments if as_text is None else [moment.strftime(as_text) for moment in moments]
    found = fitted(Choices(date=("t",)), t=cells)
    parts = {
        "days": [moment.replace(tzinfo=datetime.UTC).timestamp() / 86400 for moment in moments],
        "year": [2024, 2025, 1969], "month": [2, 12, 7], "day": [29, 31, 20], "weekday": [4, 3, 7], "hour": [12.5, 23, 20 + 17 / 60],
    }  # fmt: skip
    assert found.features == tuple(f"t {part}" for part in parts)
    expected = np.stack([realmlp(np.array(each, float), np.array(each, float)) for each in parts.values()], axis=1)
    np.testing.assert_allclose(found.encode(pl.DataFrame({"t": cells})), expected, rtol=1e-5)


def test_a_day_that_may_be_a_month_is_refused():
    with pytest.raises(DataError, match=r"'t': expected dates that mean one day, '03/04/2020' may be two"):
        fitted(Choices(date=("t",)), t=["03/04/2020", "05/06/2020"])
    with pytest.raises(
        DataError, match=r"'t': expected dates that mean one day, '03/04/2020' may be two; say --day-first or --month-first"
    ):
        fitted(t=["03/04/2020", "05/06/2020"])
    assert [fitted(Choices(day_first=first), t=["03/04/2020", "05/06/2020"]).columns[0].format for first in (True, False)] == [
        "%d/%m/%Y", "%m/%d/%Y",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1.5, 2.5] * 20, "number"),
        (["1", "2.5", "?", "-3e2"] * 10, "number"),
        ([True, False] * 20, "category"),
        (["red", "green"] * 20, "category"),
        (["2024-01-31", "2024-02-29 12:00", ""] * 10, "date"),
        ([7] * 40, "constant"),
        ([None] * 40, "constant"),
        (list(range(1, 41)), "row number"),
        ([f"name {row}" for row in range(40)], "text"),
        ([*map(str, range(100)), "1_000"], "unclear"),
        (["1,5", "2,5"] * 20, "unclear"),
        (["31.01.2024", "01.02.2024", ""] * 10, "date"),
        (["01/31/2024 10:30", "02/01/2024 08:00"] * 10, "date"),
        (["01/02/2024", "03/04/2024"] * 10, "unclear"),
    ],
)  # fmt: skip
def test_what_a_column_is_follows_from_its_cells(cells, kind):
    assert kinds.describe(pl.DataFrame({"c": cells}, strict=False))[0].kind == kind


def test_what_is_left_out_is_told_and_what_is_unclear_refused():
    frame = pl.DataFrame({"x": [1.0, 2, 3], "same": ["a"] * 3, "id": ["p", "q", "r"], "y": [0, 1, 0]})
    found = columns.fit(frame, Choices(keep=("id",)), target="y")
    assert (found.columns.features, found.left_out, found.columns.keep) == (("x",), {"same": "constant: always 'a'"}, ("id",))
    with pytest.raises(DataError, match=r"'n', row 101: expected a number, as in 99.0% of the rows, got '1_000'.*--categorical n"):
        fitted(n=[*map(str, range(100)), "1_000"])
    with pytest.raises(ConfigError, match=r"expected the name of a column, got 'hight'; did you mean 'height'\?"):
        fitted(Choices(drop=("hight",)), height=[1.0, 2.0])


@pytest.mark.parametrize(("cell", "message"), [("tall", "a finite number, got 'tall'"), ("inf", "a finite number, got 'inf'")])
def test_a_cell_that_is_no_number_is_refused_with_its_row(cell, message):
    with pytest.raises(DataError, match=rf"column 'v', row 2: expected {message}"):
        fitted(v=[1.0, 2.0]).encode(pl.DataFrame({"v": ["1", cell]}))
    with pytest.raises(DataError, match=r"expected a column 'v', as in training, found none; did you mean 'V'\?"):
        fitted(v=[1.0, 2.0]).encode(pl.DataFrame({"V": [1.0]}))


@pytest.fixture(scope="module")
def trained():
    random = np.random.default_rng(1)
    n = 300
    frame = pl.DataFrame(
        {
            "number": np.where(random.random(n) < 0.1, np.nan, random.normal(size=n)),
            "kind": random.choice(["a", "b", "<b>c</b>\x1b[31m"], n),
            "day": [datetime.date(2024, 1, 1) + datetime.timedelta(int(days)) for days in random.integers(0, 700, n)],
        }
    )
    y = np.where(frame["kind"].to_numpy() == "a", "yes", "no")
    known = columns.fit(frame, bins=8).columns
    network = fastmlp.Network([known.n_inputs, 8, 2], seed=0)
    network.columns = known
    fastmlp.train(network, frame, y, epochs=20, optimizer="adam", learning_rate=0.01, validation=0.2)
    return network, frame, y


def test_a_file_keeps_the_columns_bit_for_bit(trained, tmp_path):
    network, frame, y = trained
    network.save(tmp_path / "m.safetensors")
    loaded = fastmlp.Network.load(tmp_path / "m.safetensors")
    assert loaded.evaluate(frame, y)["accuracy"] > 0.95
    np.testing.assert_array_equal(loaded.predict_proba(frame), network.predict_proba(frame))
    np.testing.assert_array_equal(loaded.predict_proba(frame), network.predict_proba(network.columns.encode(frame)))
    np.testing.assert_array_equal(network.copy().predict(frame), loaded.predict(frame))
    assert loaded.predict(frame[:1]).shape == (1,)


def test_columns_that_do_not_fit_are_refused_and_change_nothing(trained):
    network, _, _ = trained
    kept = network.columns
    number, *others = kept.columns
    of_bins = [(number._replace(edges=edges), *others) for edges in ((*number.edges[1:], number.edges[0]), (*number.edges[:-1], np.nan))]
    of_bins.append((number._replace(edges=()), others[0]._replace(edges=number.edges), *others[1:]))
    wrongs = [kept._replace(columns=wrong) for wrong in (kept.columns[1:], *of_bins)]
    for wrong in (*wrongs, kept._replace(scale=-kept.scale), kept._replace(center=kept.center[1:]), "age"):
        with pytest.raises(ConfigError, match="columns: expected"):
            network.columns = wrong
    assert network.columns is kept


def test_categories_beyond_the_most_frequent_share_inputs_told_by_a_hash_of_their_text(tmp_path):
    """Known, rare and unknown ones differ; a network learns what each of 400 says, by its file too."""
    rng = np.random.default_rng(0)
    names, effect = np.array([f"name {number}" for number in range(400)]), rng.standard_normal(400)
    drawn = rng.integers(0, 400, 12_000)
    frame = pl.DataFrame({"name": [*names[drawn], "rare"], "y": [*(effect[drawn] + 0.1 * rng.standard_normal(12_000)), 0.0]})
    found = columns.fit(frame, target="y").columns
    (column,) = found.columns
    assert (len(column.categories), len(column.others), column.codes, column.other) == (100, 300, 256, True)
    rows = found.encode(pl.DataFrame({"name": [column.others[7], "rare", "never seen", column.categories[3], None]}))
    digest = hashlib.sha256(column.others[7].encode()).digest()
    expected = {101 + int.from_bytes(digest[at : at + 4], "little") % 256 for at in (0, 4, 8, 12)}
    assert [set(np.flatnonzero(row).tolist()) for row in rows] == [expected, {100}, {100}, {3}, set()]
    assert found.features[101] == "name code 1"
    data = fastmlp.load_table(frame, "y", preset="fast")
    network = fastmlp.train_ensemble(data, 1, {"epochs": 30})
    assert network.evaluate(data.x_test, data.y_test)["r2"] > 0.8
    network.save(tmp_path / "m.safetensors")
    assert fastmlp.Network.load(tmp_path / "m.safetensors").columns.same_as(data.columns)
    for change, message in (({"codes": 300}, "codes to be a number from 0 to 256"), ({"others": ()}, "expected codes, and others")):
        with pytest.raises(ConfigError, match=message):
            columns.checked(found._replace(columns=(column._replace(**change),)), found.n_inputs)
