"""A table as a data set: what is fitted to its columns has not seen the rows that a training holds out, nor those for testing."""

import re

import numpy as np
import polars as pl
import pytest

import fastmlp
from fastmlp.errors import ConfigError, DataError
from fastmlp.network import network_for
from fastmlp.preprocessing import columns
from fastmlp.search.folds import folds_of
from fastmlp.settings import TrainingSettings, settings_in_effect
from fastmlp.training import holdout, tables
from fastmlp.training.plan import make_plan
from fastmlp.training.train import planned

N = 200
NUMBERS = np.random.default_rng(0).normal(size=N)
TARGETS = {
    "texts": np.where(NUMBERS > 1, "z", np.where(NUMBERS > 0, "b", "a")),
    "class numbers": np.digitize(NUMBERS, [0, 1]),
    "other whole numbers": np.digitize(NUMBERS, [0, 1]) * 10 + 5,
    "numbers": NUMBERS**2,
}


@pytest.mark.parametrize("kind", TARGETS)
def test_columns_are_fitted_to_the_rows_that_training_takes(kind):
    data = fastmlp.load_table(pl.DataFrame({"row": np.arange(N) ** 2.0, "y": TARGETS[kind]}), "y", validation=0.3, split_seed=4)
    network_settings, settings = settings_in_effect({}, data.network_defaults, data.training_defaults)
    network = network_for(data, network_settings, 0)
    plan = make_plan(network, data.x_train, data.y_train, settings)
    assert plan.validation.target.shape[0] == 48
    assert plan.settings.restore_best
    assert planned(network, data, None, None, None, {}).settings == plan.settings  # train(network, data): what the data set prefers
    assert data.fit_to(plan.trained_on) is data
    others = data.fit_to(np.arange(100))
    assert others.columns.center != data.columns.center
    np.testing.assert_array_equal(others.y_test, data.y_test)
    assert data.test_openings == others.test_openings != []
    assert network.columns is data.columns


def test_test_rows_are_drawn_class_by_class_and_no_row_is_lost():
    frame = pl.DataFrame({"row": np.arange(N), "x": NUMBERS, "y": TARGETS["texts"]})
    data = fastmlp.load_table(frame, "y", test_part=0.25, numeric=["row"])
    assert (len(data.x_train), len(data.x_test)) == (150, 50)
    assert len(np.unique(np.concatenate([data.x_train, data.x_test])[:, 0])) == N
    share = [(np.mean(data.y_train == each), np.mean(data.y_test == each)) for each in "abz"]
    np.testing.assert_allclose(*zip(*share, strict=True), atol=0.02)


@pytest.mark.parametrize("kind", ["texts", "numbers"])
def test_rows_without_a_target_are_left_out(kind, tmp_path):
    """What is left is trained on as a table without these rows is, and a bad cell is told by its row in the file."""
    whole = pl.DataFrame({"x": NUMBERS, "c": np.where(NUMBERS > 0, "a", "b"), "y": TARGETS[kind], "w": np.arange(N)})
    without = whole[:3].with_columns(y=pl.lit(None).cast(whole["y"].dtype))
    gaps = pl.concat([without[:1], whole[:50], without[1:], whole[50:]])
    gaps[:30].write_csv(tmp_path / "test.csv")
    options = {"sample_weight": "w", "test_file": tmp_path / "test.csv"}
    with pytest.warns(UserWarning, match="column 'y': 3 rows without a target are left out"):
        found = fastmlp.load_table(gaps, "y", sample_weight="w")
    expected = fastmlp.load_table(whole, "y", sample_weight="w")
    for ours, theirs in zip((*found.arrays(), found.sample_weight), (*expected.arrays(), expected.sample_weight), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.warns(UserWarning, match="column 'y': 1 row without a target is left out"):
        assert fastmlp.load_table(whole, "y", **options).x_test.shape[0] == 29
    if kind == "numbers":
        wrong = gaps.with_columns(c=pl.when(pl.arange(0, N + 3) == 10).then(pl.lit("?!")).otherwise(pl.lit("1.5")))
        with (
            pytest.warns(UserWarning, match="left out"),
            pytest.raises(DataError, match="column 'c', row 11: expected a finite number"),
        ):
            fastmlp.load_table(wrong, "y", numeric=["c"], test_file=tmp_path / "test.csv")


def test_without_held_out_rows_the_last_epoch_is_kept():
    """That the best one is kept is a default of tables, which gives way; who asks for it is told what is missing."""
    data = fastmlp.load_table(pl.DataFrame({"x": NUMBERS, "y": TARGETS["texts"]}), "y")
    _, settings = settings_in_effect({"validation": 0}, data.network_defaults, data.training_defaults)
    assert (settings.restore_best, settings.patience) == (False, None)
    network = network_for(data, settings_in_effect({}, data.network_defaults, {})[0], 0)
    fastmlp.train(network, data, epochs=1, validation=0)
    assert planned(network, data, None, None, None, {"validation": (data.x_train[:9], data.y_train[:9])}).settings.restore_best
    with pytest.raises(ConfigError, match="restore_best: expected held-out rows"):
        fastmlp.train(network, data, epochs=1, validation=0, restore_best=True)


def test_pandas_and_polars_give_the_same_inputs():
    pandas = pytest.importorskip("pandas")
    cells = {"a": [1.5, None, 3.0] * 40, "b": ["x", None, "y"] * 40, "c": [True, False, True] * 40, "y": [0, 1, 1] * 40}
    ours, theirs = (fastmlp.load_table(make(cells), "y") for make in (pl.DataFrame, pandas.DataFrame))
    np.testing.assert_array_equal(ours.x_train, theirs.x_train)
    network = fastmlp.Network([ours.columns.n_inputs, 4, 2])
    network.columns = ours.columns
    np.testing.assert_array_equal(network.predict_proba(pl.DataFrame(cells)), network.predict_proba(pandas.DataFrame(cells)))


def test_columns_that_pandas_names_by_numbers_are_named_so():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({0: NUMBERS, 1: NUMBERS + 1, 2: TARGETS["texts"]})
    data = fastmlp.load_table(frame, 2, drop=[1])
    assert (data.feature_names, data.columns.target) == (("0",), "2")
    for wrong in (["y", "b"], frame[2], 2.0, True):
        with pytest.raises(ConfigError, match="target: expected the name of one column, got"):
            fastmlp.load_table(frame, wrong)


def test_what_is_no_column_is_named_and_a_manifest_keeps_a_table():
    frame = pl.DataFrame({"size": [1.0, 2, 3, 4], "y": [0, 1, 0, 1]})
    with pytest.raises(ConfigError, match="target: expected the name of a column, got 'Y'; did you mean 'y'"):
        fastmlp.load_table(frame, "Y")
    with pytest.raises(ConfigError, match=r"drop: expected a list of columns, got 'size'; write \['size'\]"):
        fastmlp.load_table(frame, "y", drop="size")
    for arguments, message in (
        ({"drop": ["y"]}, "drop: expected other columns than the target, got 'y'"),
        ({"sample_weight": "y"}, "sample_weight: expected another column than the target"),
        ({"test_part": 1.5}, "test_part: expected rows such as 5000, or a part of them"),
    ):
        with pytest.raises(ConfigError, match=message):
            fastmlp.load_table(frame, "y", **arguments)
    with pytest.raises(DataError, match="target: expected numbers that differ, got 2.5 in all 4 rows"):
        fastmlp.load_table(frame.with_columns(y=2.5), "y")
    with pytest.raises(DataError, match="column 'y': expected a target, but it is missing in all 4 rows"):
        fastmlp.load_table(frame.with_columns(y=pl.lit(None)), "y")
    table = tables.Table("/t.csv", "y", 5, None, "w", False, ";", columns.Choices(drop=("a",), ordinal={"b": ("1", "2")}))
    assert tables.Table.from_dict(table.to_dict()) == table
    for damaged in (None, {"path": 1}, {**table.to_dict(), "choices": [1]}, {**table.to_dict(), "path": 3}):
        with pytest.raises(DataError, match="in the manifest of a run"):
            tables.Table.from_dict(damaged)


@pytest.mark.parametrize("output", ["classes", "values"])
def test_rows_of_a_group_stand_on_one_side_of_every_split_and_in_one_fold(output):
    random = np.random.default_rng(4)
    group = np.repeat(np.arange(40), random.integers(1, 12, 40))
    random.shuffle(group)
    frame = pl.DataFrame({"x": random.normal(size=group.size), "who": [f"person {each}" for each in group]})
    y = random.integers(0, 2, group.size) if output == "classes" else random.normal(size=group.size)
    data = fastmlp.load_table(frame.with_columns(y=y), "y", group="who", test_part=0.25, validation=0.2, split_seed=3)
    assert not [name for name in data.feature_names if not name.startswith("x")]
    sizes = np.bincount(group)
    assert abs(len(data.y_test) - 0.25 * group.size) <= sizes.max()
    held_out = holdout.split(
        TrainingSettings(validation=0.2, split_seed=3), data.y_train[:, None], "softmax" if output == "classes" else "identity", 2,
        groups=data.groups,
    )  # fmt: skip
    assert not set(data.groups[held_out.train]) & set(data.groups[held_out.held_out])
    assert abs(held_out.held_out.size - 0.2 * len(data.y_train)) <= sizes.max()
    network = fastmlp.Network(
        [data.x_train.shape[1], 2, 2 if output == "classes" else 1], output="softmax" if output == "classes" else "identity"
    )
    plan = make_plan(network, data.x_train, data.y_train, TrainingSettings(validation=0.2, split_seed=3), groups=data.groups)
    np.testing.assert_array_equal(plan.trained_on, held_out.train)
    assert data.groups.size + len(data.y_test) == group.size
    of_name = frame["who"].value_counts().sort("who")["count"].to_numpy()
    assert (np.bincount(data.groups, minlength=40)[np.unique(data.groups)] == of_name[np.unique(data.groups)]).all()  # none is cut
    fold_of = folds_of(data, 4, 0)
    assert all(np.unique(fold_of[data.groups == each]).size == 1 for each in np.unique(data.groups))
    assert np.bincount(fold_of).max() - np.bincount(fold_of).min() <= sizes.max()


@pytest.mark.parametrize(
    ("groups", "others", "message"),
    [
        (["a"] * 30, {}, "test_part: expected two groups or more, so that one is held out and one trained on, got 1"),
        (["a"] * 15 + ["b"] * 15, {}, "validation: expected two groups or more, so that one is held out and one trained on, got 1"),
        (["a"] * 29 + [None], {}, "column 'group', row 30: expected the group of the row, got None"),
        (["a"] * 30, {"group": "y"}, "group: expected another column than the target, got 'y'"),
        (["a"] * 30, {"group": "grop"}, "group: expected the name of a column, got 'grop'; did you mean 'group'?"),
    ],
)
def test_groups_that_cannot_be_kept_together_are_refused(groups, others, message):
    frame = pl.DataFrame({"x": np.arange(30) * 1.5, "y": np.arange(30) % 2, "group": groups})
    with pytest.raises((ConfigError, DataError), match=re.escape(message)):
        fastmlp.load_table(frame, "y", **{"group": "group", **others})
