"""What the estimators have besides scikit-learn's, and where they run."""

import multiprocessing
import pickle
import re
import tracemalloc

import joblib
import numpy as np
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import fastmlp
from fastmlp import ConfigError, DataError, MLPClassifier, MLPRegressor
from fastmlp.estimators import rows, workers
from fastmlp.preprocessing import columns
from tests.structure.sources import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y


def fitted(x, y, kind=MLPClassifier, **settings):
    fit = {name: settings.pop(name) for name in ("sample_weight", "X_val", "y_val") if name in settings}
    return kind(**{"hidden_layer_sizes": (20,), "max_iter": 5, "random_state": 0, **settings}).fit(x, y, **fit)


def assert_same_weights(one, other):
    for ours, theirs in zip([*one.coefs_, *one.intercepts_], [*other.coefs_, *other.intercepts_], strict=True):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows_give_the_bits_of_dense_ones_and_are_never_dense_as_a_whole(digits, solver, monkeypatch):
    x, y = digits
    dense = fitted(x, y, solver=solver, batch_size=100)
    largest, made = [0], rows.dense
    monkeypatch.setattr(rows, "BLOCK_BYTES", 240 * x[0].nbytes)
    monkeypatch.setattr(rows, "dense", lambda part, dtype: (largest.append(part.shape[0]), made(part, dtype))[1])
    found = fitted(sparse.csr_array(x), y, solver=solver, batch_size=100)
    assert 0 < max(largest) <= 1000 < len(y)  # a thousand rows show how many zeros there are
    if solver == "adam":
        assert_same_weights(found, dense)
        assert_array_equal(found.predict_proba(sparse.csc_array(x)), dense.predict_proba(x))
    else:
        np.testing.assert_allclose(found.coefs_[0], dense.coefs_[0], rtol=1e-4, atol=1e-5)


def test_bytes_stay_bytes_and_are_the_numbers_that_they_are(digits):
    x, y = digits
    as_bytes = (x * 16).astype(np.uint8)
    assert_same_weights(fitted(as_bytes, y), fitted(as_bytes.astype(np.float32), y))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers that are too large, before they are refused
def test_large_rows_of_float64_are_not_copied_and_give_the_bits_of_rounded_ones(digits, monkeypatch):
    x, y = digits
    wide = x.astype(np.float64) + np.random.default_rng(0).normal(scale=0.1, size=x.shape)  # numbers that float32 rounds
    judged = {"early_stopping": True, "max_iter": 3}
    rounded = [fitted(wide, y), fitted(wide, y, **judged)]
    monkeypatch.setattr(rows, "LARGE_BYTES", 0)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 100 * wide[0].nbytes)
    for one, other in zip([fitted(wide, y), fitted(wide, y, **judged)], rounded, strict=True):
        assert_same_weights(one, other)
        assert_array_equal(one.predict_proba(wide), other.predict_proba(wide))
    with pytest.raises(ValueError, match="value too large for dtype"):
        fitted(wide * 1e300, y)
    large = np.zeros((100_000, 64))
    large[:, 0] = np.arange(len(large)) % 7
    fitted(large[:1000], np.arange(1000) % 2, max_iter=1)  # what is compiled at the first call is no part of X
    tracemalloc.start()
    fitted(large, np.arange(len(large)) % 2, max_iter=2)
    assert tracemalloc.get_traced_memory()[1] < 0.3 * large.nbytes
    tracemalloc.stop()


def test_rows_of_ones_own_judge_each_epoch_and_give_the_best_weights(digits):
    x, y = digits
    judged = {"X_val": x[1000:], "y_val": y[1000:]}
    model = fitted(x[:1000], y[:1000], early_stopping=True, max_iter=40, n_iter_no_change=3, learning_rate_init=0.02, **judged)
    assert len(model.validation_scores_) == model.n_iter_
    assert model.score(x[1000:], y[1000:]) == pytest.approx(max(model.validation_scores_)) == model.best_validation_score_
    watched = fitted(x[:1000], y[:1000], **judged)
    assert_same_weights(watched, fitted(x[:1000], y[:1000]))  # told, and nothing else
    assert len(watched.validation_scores_) == 5


def test_class_weight_is_the_weight_of_each_row_of_the_class(digits):
    x, y = digits
    heavy = np.where(y == 3, 5.0, 1.0)
    assert_same_weights(fitted(x, y, class_weight={3: 5.0}), fitted(x, y, sample_weight=heavy))


@pytest.mark.parametrize("solver", ["rmsprop", "adagrad", "nadam", "adamw", "lion"])
def test_other_optimizers_learn(digits, solver):
    rate = {"adagrad": 0.05, "lion": 0.001}.get(solver, 0.003)
    assert fitted(*digits, solver=solver, learning_rate_init=rate, batch_size=50, max_iter=20).score(*digits) > 0.9


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.3},
        {"hidden_layer_sizes": (20, 10), "activation": ("tanh", "gelu"), "dropout": (0.1, 0.0)},
        {"schedule": "cosine", "warmup_epochs": 1.0},
        {"label_smoothing": 0.1},
        {"loss": "squared_error", "learning_rate_init": 0.02},
    ],
)
def test_each_extra_changes_the_training_and_it_still_learns(digits, settings):
    model = fitted(*digits, max_iter=30, batch_size=50, **settings)
    assert model.score(*digits) > 0.9
    names = ("hidden_layer_sizes", "learning_rate_init")
    plain = fitted(*digits, max_iter=30, batch_size=50, **{name: value for name, value in settings.items() if name in names})
    assert not np.array_equal(model.coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "log_cosh", "quantile"])
def test_other_losses_of_numbers_learn(loss):
    x, y = load_diabetes(return_X_y=True)
    x, y = StandardScaler().fit_transform(x), (y - y.mean()) / y.std()
    model = fitted(x, y, MLPRegressor, loss=loss, max_iter=100, learning_rate_init=0.01)
    assert model.score(x, y) > 0.5
    assert model.predict(x).dtype == np.float64


def test_callbacks_are_told_of_each_epoch_and_may_stop(digits):
    seen = []
    fitted(*digits, callbacks=[lambda network, epoch: (seen.append((epoch.epoch, epoch.train_loss)), epoch.epoch == 3)[1]])
    assert [number for number, _ in seen] == [1, 2, 3]
    assert seen[0][1] > seen[2][1]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_iter": 300, "tol": 3e-3, "learning_rate_init": 0.01, "hidden_layer_sizes": (30, 7)},
        {"max_iter": 30, "tol": 0.05, "solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2, "learning_rate_init": 0.5},
        {"max_iter": 14, "hidden_layer_sizes": (100,), "threads": 2, "dropout": 0.1},  # of 200 rows a batch: two threads of a team
    ],
)
def test_epochs_taken_together_are_those_that_a_callback_is_told_of(digits, settings):
    x, y = digits
    drawn = [np.random.RandomState(4), np.random.RandomState(4)]
    together = fitted(x, y, random_state=drawn[0], **settings)
    one_by_one = fitted(x, y, random_state=drawn[1], callbacks=[lambda network, epoch: None], **settings)
    assert_same_weights(together, one_by_one)
    assert together.loss_curve_ == one_by_one.loss_curve_
    assert drawn[0].randint(2**31) == drawn[1].randint(2**31)


def test_an_estimator_is_pickled_cloned_and_goes_on_where_it_was(digits):
    x, y = digits
    model = fitted(x, y)
    other = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert_array_equal(other.predict_proba(x), model.predict_proba(x))
    assert_same_weights(other.partial_fit(x, y), model.partial_fit(x, y))
    assert not hasattr(clone(model), "network_")
    other.coefs_[0][:] = 0
    assert not np.array_equal(other.predict_proba(x), model.predict_proba(x))


def test_the_network_answers_by_the_labels_and_is_saved(digits, tmp_path):
    x, y = digits
    names = np.array([f"digit {number}" for number in range(10)])[y]
    model = fitted(x, names)
    model.network_.save(tmp_path / "model.safetensors")
    assert_array_equal(fastmlp.Network.load(tmp_path / "model.safetensors").predict(x), model.predict(x))


def test_an_estimator_is_saved_and_loaded_with_its_labels_and_parameters(digits, tmp_path):
    x, y = digits
    path = tmp_path / "model.safetensors"
    weights = {3: 2.0, 4: 0.5}
    model = fitted(x, y, hidden_layer_sizes=(20, 5), activation=("tanh", "relu"), class_weight=weights)
    model.save(path)
    loaded = MLPClassifier.load(path)
    assert_array_equal(loaded.predict_proba(x), model.predict_proba(x))
    assert loaded.get_params() == model.get_params()
    assert_array_equal(fastmlp.Network.load(path).predict(x), model.predict(x))
    with pytest.raises(fastmlp.ModelFileError, match="expected a MLPRegressor, got a MLPClassifier"):
        MLPRegressor.load(path)
    model.network_.save(path)
    with pytest.raises(fastmlp.ModelFileError, match=r"use fastmlp\.Network\.load"):
        MLPClassifier.load(path)
    several = fitted(x, np.column_stack((y > 4, y % 2)).astype(int))
    several.save(path)
    assert_array_equal(MLPClassifier.load(path).predict(x), several.predict(x))
    counts = fitted(x, y, MLPRegressor, loss="poisson")
    counts.save(path)
    assert_array_equal(MLPRegressor.load(path).partial_fit(x, y).coefs_[0].shape, (64, 20))


def test_processes_and_threads_of_joblib_give_the_same_bits_and_a_thread_works_alone(digits):
    x, y = digits
    alone = cross_val_score(MLPClassifier((20,), max_iter=3, random_state=0), x, y, cv=2)
    for backend in ("loky", "threading"):
        with joblib.parallel_backend(backend):
            assert_array_equal(cross_val_score(MLPClassifier((20,), max_iter=3, random_state=0), x, y, cv=2, n_jobs=2), alone)
    inside = joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(workers.threads)(None) for _ in range(2))
    assert inside == [1, 1]


def test_limits_of_threadpoolctl_hold():
    with threadpool_limits(1):
        assert workers.threads(None) == workers.threads(8) == 1


def test_a_search_over_a_pipeline_works():
    x, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), MLPClassifier(solver="lbfgs", max_iter=200, random_state=0))
    axes = {"mlpclassifier__hidden_layer_sizes": [(3,), (8, 4)], "mlpclassifier__alpha": [1e-3, 1.0]}
    assert GridSearchCV(model, axes, cv=3).fit(x, y).best_score_ > 0.94


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -1.0}, "alpha: expected a number at least 0, got -1.0"),
        ({"solver": "adams"}, "solver: expected one of .*, got 'adams'; did you mean 'adam'"),
        ({"solver": "adamw", "alpha": 0.1}, "alpha: expected none with adamw.*set weight_decay"),
        ({"schedule": "cosine", "solver": "sgd", "learning_rate": "adaptive"}, "schedule: expected none with learning_rate='adaptive'"),
        ({"restore_best": True}, "restore_best: expected rows to judge by, got none"),
        ({"hidden_layer_sizes": (20, 0)}, "hidden_layer_sizes: expected a whole number of at least 1, got 0"),
        ({"activation": np.array("relu")}, "activation: expected a name, or one per hidden layer, got array"),
        ({"loss": "hubert"}, "loss: expected one of log_loss, squared_error, got 'hubert'"),
        ({"dropout": 0.2, "solver": "lbfgs"}, "dropout: expected none with lbfgs"),
        ({"callbacks": [lambda network, epoch: True], "solver": "lbfgs"}, "callbacks: expected none with lbfgs"),
        ({"restore_best": True, "solver": "lbfgs"}, "restore_best: expected none with lbfgs"),
        ({"dropout": (0.1, 0.2, 0.3)}, "dropout: expected one number, or one for each hidden layer"),
    ],
)
def test_a_wrong_parameter_is_named(digits, settings, message):
    with pytest.raises(ConfigError, match=message):
        fitted(*digits, **settings)


def test_rows_to_judge_by_come_with_their_targets_and_not_with_lbfgs(digits):
    x, y = digits
    for given, message in (({"X_val": x}, "y_val: "), ({"y_val": y}, "X_val: "), ({"sample_weight_val": y}, "sample_weight_val: ")):
        for model in (MLPClassifier((8,), max_iter=1), MLPClassifier((8,), max_iter=1, n_estimators=2), MLPRegressor(max_iter=1)):
            with pytest.raises(DataError, match=f"^{message}"):
                model.fit(x, y, **given)
    with pytest.raises(ConfigError, match="^X_val: expected none with lbfgs"):
        MLPClassifier((8,), solver="lbfgs").fit(x, y, X_val=x, y_val=y)
    with pytest.warns(UserWarning, match="^X_val: numbers are 1e\\+03 times as large") as caught:
        MLPClassifier((8,), max_iter=1).fit(x, y, X_val=1000 * x, y_val=y)
    assert {warning.filename for warning in caught} == {__file__}


def test_what_lies_under_a_mask_is_no_data(digits):
    x, y = digits
    model = fitted(x, y)
    x, y = np.ma.masked_array(x, np.arange(x.size).reshape(x.shape) == 7), np.ma.masked_array(y, np.arange(y.size) == 7)
    for call in (lambda: model.fit(x, y.data), lambda: model.fit(x.data, y), lambda: model.predict(x), lambda: model.predict_proba(x)):
        with pytest.raises(DataError, match="^[Xy]: expected numbers everywhere, got a masked array"):
            call()


def test_wrong_weights_of_rows_are_refused_before_anything_is_trained(digits):
    x, y = digits
    model = fitted(x, y)
    before = [weight.copy() for weight in model.coefs_]
    masked = np.ma.masked_array(np.ones(len(y)), np.arange(len(y)) == 7)
    for weight in (np.zeros(len(y)), np.full(len(y), -1.0), np.ones(3), np.full(len(y), np.nan), masked, "many"):
        with pytest.raises(DataError, match=r"[Ss]ample.weight"):
            model.fit(x, y, sample_weight=weight)
    for weight in (-1.0, np.nan):
        with pytest.raises(DataError, match="^class_weight: expected finite numbers of at least 0"):
            model.set_params(class_weight={0: weight}).fit(x, y)
    for now, then in zip(model.coefs_, before, strict=True):
        assert_array_equal(now, then)
    with pytest.raises(DataError, match="^y: expected finite numbers"):
        MLPRegressor(max_iter=1).fit(x, np.full(len(y), None))


def test_numbers_that_float32_cannot_tell_apart_are_told():
    x = 1e6 + np.random.default_rng(0).normal(scale=1e-3, size=(50, 2))
    with pytest.warns(UserWarning, match=r"X: column 0 varies by .* around 1e\+06, where float32 has steps of .*; standardise it first"):
        fitted(x, np.arange(50) % 2)
    with pytest.warns(UserWarning, match=r"y: column 0 varies by .* use dtype='float64'"):
        fitted(x - 1e6, x[:, 0], MLPRegressor)


def test_what_goes_on_keeps_its_type_and_layers(digits):
    x, y = digits
    model = fitted(x, y, dtype=None)
    assert model.partial_fit(x.astype(np.float64), y).coefs_[0].dtype == np.float32
    with pytest.raises(ConfigError, match="dtype: expected float32 as in the fit that this goes on from, got float64"):
        model.set_params(dtype="float64").partial_fit(x, y)
    with pytest.raises(ConfigError, match=r"expected the layers 64-20-10 of the fit that this goes on from, got 64-30-10"):
        model.set_params(dtype=None, hidden_layer_sizes=(30,)).partial_fit(x, y)


def test_weights_of_rows_are_routed_through_a_pipeline(digits):
    x, y = digits
    weight = np.where(y == 3, 5.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier((20,), max_iter=5, random_state=0).set_fit_request(sample_weight=True)
        routed = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model).fit(x, y, sample_weight=weight)
    assert_same_weights(routed[-1], fitted(StandardScaler().fit_transform(x), y, sample_weight=weight))


def test_rows_to_judge_by_are_routed_through_the_steps_of_a_pipeline(digits):
    x, y = digits
    settings = {"early_stopping": True, "max_iter": 5, "random_state": 0}
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier((20,), **settings).set_fit_request(X_val=True, y_val=True)
        routed = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
        routed.fit(x[:1000], y[:1000], X_val=x[1000:], y_val=y[1000:])
    scaler = StandardScaler().fit(x[:1000])
    judged = {"X_val": scaler.transform(x[1000:]), "y_val": y[1000:]}
    alone = fitted(scaler.transform(x[:1000]), y[:1000], **settings, **judged)
    assert routed[-1].validation_scores_ == alone.validation_scores_
    assert_same_weights(routed[-1], alone)


@pytest.mark.long
def test_forked_and_spawned_processes_give_the_same_bits(digits):
    alone = _weights_in_a_process(digits)
    for way in ("fork", "spawn"):
        with multiprocessing.get_context(way).Pool(2) as pool:
            for found in pool.map(_weights_in_a_process, [digits, digits]):
                assert_array_equal(found, alone)


def _weights_in_a_process(table):
    return fitted(*table, max_iter=2).network_.parameters.copy()


@pytest.mark.parametrize("name", ["from-scikit-learn", "from-keras-and-pytorch"])
def test_the_page_shows_what_runs(name):
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)  # noqa: S102


def test_an_end_by_the_number_of_epochs_is_told(digits):
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        fitted(*digits)


@pytest.fixture
def people():
    """A table with texts, dates and missing values, and labels that a text decides."""
    random = np.random.default_rng(2)
    columns = {
        "size": np.where(random.random(160) < 0.1, np.nan, random.normal(size=160)),
        "colour": random.choice(["red", "green", "blue"], 160),
        "day": np.datetime64("2024-01-01") + np.arange(160),
    }
    return pl.DataFrame(columns, nan_to_null=True), np.where(columns["colour"] == "red", "a", "b")


def test_a_table_with_texts_is_learned_from_as_its_columns_say(people, tmp_path):
    frame, y = people
    model = fitted(frame, y, max_iter=30, learning_rate_init=0.02)
    expected = columns.fit(frame).columns
    assert model.columns_.same_as(expected)
    assert_same_weights(model, fitted(expected.encode(frame), y, max_iter=30, learning_rate_init=0.02))
    assert model.score(frame, y) > 0.95
    assert (model.n_features_in_, model.feature_names_in_.tolist()) == (3, ["size", "colour", "day"])
    assert model.__sklearn_tags__().input_tags.allow_nan
    assert not MLPClassifier().__sklearn_tags__().input_tags.allow_nan
    assert model.predict(frame.with_columns(colour=pl.lit("unknown")).head(3)).shape == (3,)
    for one in (model, fitted(frame, y, n_estimators=2), fitted(frame, y, early_stopping=True), fitted(frame, y, X_val=frame, y_val=y)):
        one.save(tmp_path / "model.safetensors")
        for again in (MLPClassifier.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(one))):  # noqa: S301
            assert_array_equal(again.predict_proba(frame), one.predict_proba(frame))
    assert cross_val_score(MLPRegressor(hidden_layer_sizes=(8,), max_iter=5), frame, np.arange(160.0), cv=2).shape == (2,)


def test_what_a_table_cannot_be_is_refused_by_an_estimator(people):
    frame, y = people
    model = fitted(frame, y)
    infinite = frame.with_columns(size=pl.lit(float("inf")))
    for call, message in (
        (lambda: model.predict(infinite), "row 1, column 'size': expected a finite number"),
        (lambda: fitted(infinite, y), "row 1, column 'size': expected a finite number"),
        (lambda: model.predict(frame.select("colour", "size", "day")), "same order"),
        (lambda: model.predict(frame.drop("size")), "size"),
        (lambda: model.predict(np.zeros((2, 3))), "X: expected a table with the columns of fit, got ndarray"),
        (lambda: fitted(frame, y[:7]), "inconsistent numbers of samples"),
        (lambda: fitted(frame.select("size"), y), "NaN"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    assert not hasattr(fitted(frame.select(pl.col("size").fill_null(0.0)), y), "columns_")
