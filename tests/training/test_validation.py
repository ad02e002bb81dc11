"""Validation rows: drawn, the last ones, or a pair; measured and never trained on."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, DataError, Network, Trainer, TrainingSettings, make_plan
from fastmlp.training import holdout
from tests.oracle import randomness

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((40, 4))
Y = GENERATOR.integers(0, 3, 40)
SORTED = np.repeat([0, 1, 2], [20, 13, 7])


def trained(x=X, y=Y, net=None, **settings):
    net = net or Network([4, 5, 3], "sigmoid", dtype="float64")
    return net, fastmlp.train(net, x, y, **{"epochs": 2, "batch_size": 7} | settings)


def held_out_of(x=X, y=Y, net=None, **settings):
    """The numbers of the rows held out."""
    plan = make_plan(net or Network([4, 5, 3]), x, y, TrainingSettings(**settings))
    return np.setdiff1d(np.arange(len(y)), plan.trained_on)


def test_last_holds_out_the_last_rows():
    assert held_out_of(validation=10, holdout="last").tolist() == list(range(30, 40))
    net, history = trained(validation=10, holdout="last")
    found = net.evaluate(X[-10:], Y[-10:])
    assert (history[-1].validation_loss, history[-1].validation_accuracy) == (pytest.approx(found["loss"], rel=1e-14), found["accuracy"])


@pytest.mark.parametrize("holdout", ["stratified", "shuffled", "last"])
@pytest.mark.parametrize(
    "settings",
    [
        {"normalize": "standardize", "per_feature": True, "class_weight": "balanced"},
        {"optimizer": "lbfgs", "batch_size": 50},
        {"kernels": "python", "epochs": 1},
        {"batch_size": 1},
    ],
    ids=lambda settings: next(iter(settings.values())),
)
def test_holding_rows_out_is_training_on_the_others_alone(holdout, settings):
    weight = np.random.default_rng(1).random(40)
    numbers = held_out_of(validation=11, holdout=holdout)
    others = np.setdiff1d(np.arange(40), numbers)
    net, history = trained(validation=11, holdout=holdout, sample_weight=weight, **settings)
    alone, expected = trained(X[others], Y[others], sample_weight=weight[others], **settings)
    assert net.parameters.tobytes() == alone.parameters.tobytes()
    assert [epoch.train_loss for epoch in history] == [epoch.train_loss for epoch in expected]
    found = alone.evaluate(X[numbers], Y[numbers], weight[numbers])
    assert (history[-1].validation_loss, history[-1].validation_accuracy) == (pytest.approx(found["loss"], rel=1e-14), found["accuracy"])


def test_tiles_and_bytes_held_out_are_as_alone_and_no_row_is_copied(mnist):
    x, y = mnist.x_train[:6000], mnist.y_train[:6000]
    settings = TrainingSettings(validation=0.2, epochs=1, normalize="standardize", learning_rate=0.2)
    plan = make_plan(Network([784, 100, 10]), x, y, settings)
    numbers, trainer = np.setdiff1d(np.arange(6000), plan.trained_on), Trainer(plan)
    assert np.shares_memory(trainer.rows, x)
    assert np.shares_memory(trainer.validation.rows, x)
    history = [event for event in trainer.run() if isinstance(event, fastmlp.Epoch)]
    others = np.setdiff1d(np.arange(6000), numbers)
    alone = Network([784, 100, 10])
    fastmlp.train(alone, x[others], y[others], epochs=1, normalize="standardize", learning_rate=0.2)
    assert trainer.network.parameters.tobytes() == alone.parameters.tobytes()
    assert history[0].validation_loss == alone.evaluate(x[numbers], y[numbers])["loss"]


def test_rows_held_out_are_never_looked_at_in_training():
    numbers = held_out_of(validation=10)
    x = X.copy()
    x[numbers] = 100.0
    settings = {"validation": 10, "normalize": "standardize"}
    assert trained(x, **settings)[0].parameters.tobytes() == trained(**settings)[0].parameters.tobytes()


def test_which_rows_are_held_out_follows_from_the_split_seed_not_from_the_seed():
    settings = {"validation": 10}
    assert held_out_of(**settings).tolist() == held_out_of(**settings, seed=7).tolist()
    assert held_out_of(**settings).tolist() != held_out_of(**settings, split_seed=1).tolist()


def test_a_split_seed_that_draws_nothing_is_told_to_do_nothing(recwarn):
    data = fastmlp.load_dataset("synthetic")  # of which the last rows are held out
    for settings in ({"split_seed": 1}, {"split_seed": 1, "holdout": "shuffled"}, {"split_seed": 0}):
        fastmlp.train(Network([2, 3, 2]), data, epochs=1, validation=100, **settings)
    assert [str(each.message) for each in recwarn] == [
        "split_seed: the last rows are held out, which 1 does not change; choose holdout shuffled to draw them"
    ]
    assert recwarn[0].filename == __file__


@pytest.mark.parametrize("split_seed", [0, 2**40])
def test_rows_drawn_are_the_first_ones_of_a_documented_shuffle(split_seed):
    order = randomness.shuffled(split_seed, 0, 40, randomness.HOLDOUT)
    settings = {"validation": 8, "split_seed": split_seed}
    assert held_out_of(y=SORTED, holdout="shuffled", **settings).tolist() == sorted(order[:8])
    of_class = [[row for row in order if SORTED[row] == each] for each in range(3)]
    assert held_out_of(y=SORTED, **settings).tolist() == sorted(of_class[0][:4] + of_class[1][:3] + of_class[2][:1])


def test_going_on_from_a_state_goes_on_with_the_same_rows():
    settings = {"validation": 0.25, "normalize": "standardize", "split_seed": 5}
    whole, history = trained(**settings, epochs=4)
    net, first = trained(**settings, epochs=2)
    _, second = trained(net=net, **settings, epochs=4, resume=first.state)
    assert net.parameters.tobytes() == whole.parameters.tobytes()
    assert [epoch.validation_loss for epoch in [*first, *second]] == [epoch.validation_loss for epoch in history]


@pytest.mark.parametrize("split_seed", range(3))
def test_stratified_rows_are_of_each_class_in_proportion(split_seed):
    assert np.bincount(SORTED[held_out_of(y=SORTED, validation=0.25, split_seed=split_seed)]).tolist() == [5, 3, 2]


@pytest.mark.parametrize(
    ("counts", "held_out", "expected"),
    [
        ([50, 50, 50], 50, [17, 17, 16]),  # equal remainders: the classes that come first
        ([90, 8, 2], 50, [45, 4, 1]),
        ([10, 10, 1, 1], 11, [6, 5, 0, 0]),  # remainders .0 .0 .5 .5: but a single row is trained on
        ([5, 2, 2], 6, [4, 1, 1]),
        ([3, 1, 1], 4, [2, 1, 1]),  # what has two rows or more keeps one
        ([2, 2], 3, [2, 1]),
        ([7], 6, [6]),
        ([5, 5, 1, 1, 1], 10, [4, 4, 1, 1, 0]),  # a single row is given up before the last of several
    ],
)
def test_shares_of_classes_go_by_largest_remainder_and_leave_a_row_to_train_on(counts, held_out, expected):
    assert holdout.shares(np.array(counts), held_out).tolist() == expected


def test_shares_of_classes_are_their_quotas_rounded_and_empty_as_few_classes_as_they_can():
    generator = np.random.default_rng(0)
    for _ in range(400):
        counts = generator.integers(1, 9, generator.integers(1, 8))
        n = int(counts.sum())
        if n == 1:
            continue
        held_out = int(generator.integers(1, n))
        found = holdout.shares(counts, held_out)
        left = counts - found
        assert found.sum() == held_out
        assert (left == 0).sum() == max(0, held_out - (n - counts.size))
        assert (left[counts == 1] == 0).all() or (left[counts > 1] > 0).all()  # a single row is held out before the last of several
        quotas = [Fraction(int(count) * held_out, n) for count in counts]
        if all(count > math.ceil(quota) for count, quota in zip(counts, quotas, strict=True)):  # nothing but Hamilton's method of 1792
            whole = [math.floor(quota) for quota in quotas]
            by_remainder = sorted(range(counts.size), key=lambda place: (whole[place] - quotas[place], place))
            expected = [part + (by_remainder.index(place) < held_out - sum(whole)) for place, part in enumerate(whole)]
            assert found.tolist() == expected


@pytest.mark.parametrize("numbers", [[], [9], [3, 4, 5], range(10), [3, 5], [0, 2, 3], [1, 2, 4, 5]], ids=str)
def test_rows_that_lie_one_after_the_other_are_a_view_of_them_alone(numbers):
    rows, numbers = np.arange(20).reshape(10, 2), np.array(numbers, np.int64)
    found, inside = holdout.cut(rows, numbers)
    assert (found if inside is None else found[inside]).tolist() == rows[numbers].tolist()
    assert (inside is None) == (np.diff(numbers) == 1).all()
    assert numbers.size == 0 or np.shares_memory(found, rows)


@pytest.mark.parametrize(
    ("output", "y", "expected"),
    [
        ("softmax", Y, "stratified"),
        ("sigmoid", Y == 2, "stratified"),
        ("sigmoid", np.eye(3)[Y], "shuffled"),
        ("identity", Y / 2, "shuffled"),
    ],
)
def test_rows_are_drawn_class_by_class_where_each_has_one(output, y, expected):
    outputs = 3 if output == "softmax" else np.shape(y)[1:][0] if np.ndim(y) > 1 else 1
    trainer = Trainer(make_plan(Network([4, outputs], output=output), X, y, TrainingSettings(validation=5)))
    assert trainer.settings.holdout == expected


def test_stratified_is_refused_where_rows_have_no_single_class():
    with pytest.raises(ConfigError, match="holdout: expected shuffled or last for a network that predicts numbers, got 'stratified'"):
        trained(y=X[:, 0], net=Network([4, 1]), validation=5, holdout="stratified")


def test_sorted_classes_are_learnt():
    x = np.repeat(np.eye(4), 10, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, history = trained(x, np.repeat(np.arange(4), 10), Network([4, 4]), validation=10, epochs=40, learning_rate=1.0)
    assert history[-1].validation_accuracy == 1.0


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"validation": 10, "holdout": "last"}, "draw them with holdout='stratified'"),
        ({"validation": 39}, "hold out fewer rows"),
        ({"validation": (X, SORTED)}, "train on rows of it, too"),
    ],
)
def test_a_class_that_is_held_out_but_never_trained_on_warns(settings, advice):
    y = SORTED if "holdout" in settings or settings["validation"] == 39 else SORTED % 2
    with pytest.warns(UserWarning, match=f"validation: rows of class.* held out, and none is left to train on; {advice}") as caught:
        trained(y=y, **settings)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("y", "held_out", "named"),
    [
        (SORTED, 7, "class 2 are"),
        (np.array(["ant", "bee", "cat"])[SORTED], 20, "classes bee, cat are"),
        (np.arange(40) // 6, 34, "classes 1, 2, 3, 4, 5 … are"),
        (np.arange(40) // 7, 33, "classes 1, 2, 3, 4, 5 are"),
    ],
)
def test_classes_that_are_never_trained_on_are_named_by_their_labels(y, held_out, named):
    net = Network([4, len(np.unique(y))])
    with pytest.warns(UserWarning, match=f"validation: rows of {named} held out"):
        make_plan(net, X, y, TrainingSettings(validation=held_out, holdout="last"))


def test_a_pair_is_measured():
    x, y = GENERATOR.standard_normal((9, 4)), GENERATOR.integers(0, 3, 9)
    net, history = trained(validation=(x, y))
    assert history[-1].validation_loss == pytest.approx(net.evaluate(x, y)["loss"], rel=1e-14)
    assert history[-1].validation_accuracy == net.evaluate(x, y)["accuracy"]


def test_a_pair_is_not_trained_on():
    assert trained(validation=(X[:9], Y[:9]))[0].parameters.tobytes() == trained()[0].parameters.tobytes()


@pytest.mark.parametrize("validation", [None, 0, 0.0, np.int64(0)])
def test_without_validation_all_rows_are_trained_on(validation):
    net, history = trained(validation=validation)
    assert (history[-1].validation_loss, history[-1].validation_accuracy) == (None, None)
    assert Trainer(make_plan(net, X, Y, TrainingSettings(), validation)).n_rows == 40


def test_the_setting_is_used_where_no_argument_says_otherwise():
    trainer = Trainer(make_plan(Network([4, 5, 3]), X, Y, TrainingSettings(validation=6)))
    assert (trainer.n_rows, trainer.settings.validation) == (34, 6)


@pytest.mark.parametrize(
    ("validation", "rows"), [(1, 1), (0.25, 10), (np.float32(0.25), 10), (np.uint8(7), 7), ("20%", 8), (0.96, 38), (0.0125, 1)]
)
def test_a_number_is_rows_and_a_number_below_one_a_part_of_them(validation, rows):
    net = Network([4, 5, 3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of 38 rows, not every class is left
        trainer = Trainer(make_plan(net, X, Y, TrainingSettings(), validation))
    assert (trainer.n_rows, trainer.n_held_out) == (40 - rows, rows)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (40, "expected fewer than the 40 rows there are, got 40"),
        (0.99, "expected a part of the 40 rows there are, got 0.99, which leaves none to train on"),
        (0.01, "expected a part of the 40 rows there are, got 0.01, which is no row; write 1 for one row"),
        (-1, "expected at least 0, got -1"),
        (1.0, "expected rows such as 5000, or a part of them such as 0.2, got 1.0; write 1 for a number of rows"),
        (5000.0, "got 5000.0; write 5000 for a number of rows"),
        (1.5, "got 1.5; a part is below 1"),
        ("100%", "got 1.0"),
        (float("nan"), "expected a finite number"),
        (True, "got True; 0 holds out none"),
        (False, "got False; 0 holds out none"),
        ("5", "got '5'"),
        ([X, Y], r"expected a pair \(x, y\), got a list of 2; write validation=\(x, y\)"),
        ((X, Y, X), r"expected a pair \(x, y\), got 3 values"),
        ((X,), r"expected a pair \(x, y\), got 1 values"),
    ],
    ids=str,
)
def test_what_holds_out_no_rows_or_all_is_refused(validation, message):
    with pytest.raises(ConfigError, match=f"validation: .*{message}"):
        trained(validation=validation)


@pytest.mark.parametrize("name", ["validation_split", "validation_fraction"])
def test_other_names_of_the_setting_are_answered_with_its_own(name):
    with pytest.raises(ConfigError, match="did you mean 'validation'"):
        trained(**{name: 0.2})


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, :3], Y, r"validation x: expected \(n, 4\), got shape \(40, 3\)"),
        (X, Y[:5], "validation y: expected 40 rows"),
        (X, Y + 1, "validation y: expected class numbers from 0 to 2, got 3"),
        (np.where(X > 2, np.nan, X), Y, "validation x: expected finite numbers"),
    ],
)
def test_a_pair_is_checked_like_training_rows(x, y, message):
    with pytest.raises(DataError, match=message):
        trained(validation=(x, y))


# Data sets


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "synthetic"])
def test_a_data_set_is_trained_on_with_its_own_convention_and_settings(request, name):
    data = request.getfixturevalue(name.replace("-", "_")).first_rows(3000, 10)
    inputs, outputs = int(np.prod(data.x_train.shape[1:])), len(data.class_names)
    networks = [Network([inputs, 10, outputs], "sigmoid", seed=1) for _ in range(2)]
    history = fastmlp.train(networks[0], data, validation=1000, epochs=1, batch_size=20)
    rate = data.training_defaults.get("learning_rate", TrainingSettings.learning_rate)
    fastmlp.train(networks[1], data.x_train[:2000], data.y_train[:2000], epochs=1, batch_size=20, learning_rate=rate)
    assert networks[0].parameters.tobytes() == networks[1].parameters.tobytes()
    assert history[0].validation_loss == networks[1].evaluate(data.x_train[2000:], data.y_train[2000:])["loss"]
    assert data.test_openings == []


def test_what_a_data_set_prefers_gives_way_to_what_is_asked_for(synthetic):
    data = synthetic.first_rows(600, 10)
    with pytest.raises(ConfigError, match="holdout: expected one of stratified, shuffled, last, got 'first'"):
        fastmlp.train(Network([2, 3, 2]), data, holdout="first")
    first, other = ([next(fastmlp.train_epochs(Network([2, 3, 2]), data, validation=0.5, holdout=how))] for how in (None, "shuffled"))
    assert first[0].validation_loss != other[0].validation_loss
    assert fastmlp.train(Network([2, 3, 2]), data, optimizer="lbfgs", epochs=1)[0].validation_loss is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda data: (data, data.y_train), "y: expected none beside the data set synthetic"),
        (lambda data: (data.x_train,), "y: expected a target for each row, got none"),
        (lambda data: ("mnist",), r"y: expected a target for each row, got none; load it: fastmlp.load_dataset\('mnist'\)"),
    ],
)
def test_targets_come_with_the_data_set_or_beside_the_rows(synthetic, given, message):
    with pytest.raises((ConfigError, DataError), match=message):
        fastmlp.train(Network([2, 3, 2]), *given(synthetic))


# The test rows of a data set


@pytest.fixture(scope="module")
def synthetic():
    return fastmlp.load_dataset("synthetic")


@pytest.mark.parametrize("part", [slice(None), slice(0, 100), slice(None, None, 7)])
def test_validating_on_the_test_rows_of_a_data_set_warns_and_names_the_honest_way(synthetic, part):
    net = Network([2, 3, 2])
    with pytest.warns(UserWarning, match=r"validation=\(x_test, y_test\).*hold out training rows instead: validation=5000") as caught:
        fastmlp.train(
            net, synthetic.x_train[:100], synthetic.y_train[:100], validation=(synthetic.x_test[part], synthetic.y_test[part]), epochs=1
        )
    assert [warning.filename for warning in caught] == [__file__]  # it points at the line that did it


def test_rows_to_validate_on_are_on_the_scale_of_those_trained_on(subtests):
    images = GENERATOR.integers(0, 256, (60, 4), dtype=np.uint8)
    fractions, numbers, values = images / 255, images.astype(float), 1e5 * (images[:, 0] - 100.0)
    standardized = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)

    def train(rows, held_out, y, held_out_y, **settings):
        network = Network([4, 5, 1] if y is values else [4, 5, 2])
        fastmlp.train(network, rows, y, validation=(held_out, held_out_y), epochs=1, **settings)

    labels = images[:, 0] > 99
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows, held_out in ((images, fractions), (fractions, images), (fractions, fractions / 7), (images, images), (numbers, images)):
            train(rows, held_out, labels, labels, normalize="standardize")
        train(fractions, fractions, values, values)
    for name, rows, held_out, y, held_out_y, settings in (
        ("x", fractions, numbers, labels, labels, {}), ("x", numbers, fractions, labels, labels, {"normalize": "standardize"}),
        ("x", images, fractions, labels, labels, {"normalize": "none"}), ("x", standardized, numbers, labels, labels, {}),
        ("y", fractions, fractions, values, values / values.std(), {}),
    ):  # fmt: skip
        with subtests.test(name), pytest.warns(UserWarning, match=f"^validation {name}: numbers are .* times as large") as caught:
            train(rows, held_out, y, held_out_y, **settings)
        assert [warning.filename for warning in caught] == [__file__]


def test_train_epochs_warns_as_train_does(synthetic):
    with pytest.warns(UserWarning, match="hold out training rows") as caught:
        fastmlp.train_epochs(
            Network([2, 3, 2]), synthetic.x_train[:100], synthetic.y_train[:100], validation=(synthetic.x_test, synthetic.y_test)
        )
    assert [warning.filename for warning in caught] == [__file__]


def test_validating_on_training_rows_of_a_data_set_does_not_warn(synthetic):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, y = synthetic.x_train, synthetic.y_train
        fastmlp.train(Network([2, 3, 2]), x[:100], y[:100], validation=(x[-100:], y[-100:]), epochs=1)
