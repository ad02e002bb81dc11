"""How much rows and classes count: in the gradient, in what is reported, in the rows held out."""

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, DataError, Network, Trainer, TrainingSettings, make_plan
from fastmlp.training.weights import class_weight_of_rows
from tests.pairs import each_pair
from tests.training import reference

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((40, 4))
Y = GENERATOR.integers(0, 3, 40)
WEIGHT = GENERATOR.exponential(size=40)
WEIGHT[[3, 17]] = 0.0
SETTINGS = {"epochs": 3, "batch_size": 7, "learning_rate": 0.2, "seed": 6}
TARGETS = {"softmax": Y, "sigmoid": GENERATOR.integers(0, 2, (40, 3)), "identity": GENERATOR.standard_normal((40, 3))}
LOSSES = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "identity": "mse"}


def network(output="softmax", dtype="float64", sizes=(4, 5, 3)) -> Network:
    return Network(sizes, "sigmoid", output, dtype=dtype, seed=1)


def trained(output="softmax", x=X, y=None, dtype="float64", sizes=(4, 5, 3), **changes):
    net = network(output, dtype, sizes)
    return net, fastmlp.train(net, x, TARGETS[output] if y is None else y, **SETTINGS | changes)


# Weights of rows


@each_pair(output=TARGETS, sizes=[(4, 3), (4, 5, 3), (4, 40, 30, 3)], batch_size=[1, 7, 40], reduction=["mean", "sum"])
def test_weighted_training_is_that_of_the_oracle(output, sizes, batch_size, reduction):
    changes = {"batch_size": batch_size, "reduction": reduction, "learning_rate": 0.02}
    net = network(output, sizes=sizes)
    expected = reference.train(
        net.parameters,
        sizes,
        ["sigmoid"] * (len(sizes) - 2),
        LOSSES[output],
        X,
        TARGETS[output],
        **SETTINGS | changes,
        sample_weight=WEIGHT,
    )
    history = fastmlp.train(net, X, TARGETS[output], sample_weight=WEIGHT, normalize_target="none", **SETTINGS | changes)
    np.testing.assert_allclose(net.parameters, expected.parameters, rtol=1e-9, atol=1e-12)
    assert [epoch.train_loss for epoch in history] == pytest.approx(expected.losses, rel=1e-11)
    if output != "identity":
        assert [epoch.train_accuracy for epoch in history] == pytest.approx(expected.accuracies, rel=1e-11)


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_one_change_no_bit(dtype, batch_size):
    plain, weighted = (trained(dtype=dtype, batch_size=batch_size, sample_weight=weight) for weight in (None, np.ones(40)))
    assert plain[0].parameters.tobytes() == weighted[0].parameters.tobytes()
    assert [epoch[:5] for epoch in plain[1]] == [epoch[:5] for epoch in weighted[1]]


@pytest.mark.parametrize("sizes", [(4, 5, 3), (4, 40, 30, 3)], ids=str)
def test_a_row_of_weight_0_is_not_learned_from(sizes):
    x = X.copy()
    x[WEIGHT == 0] = 100.0
    one, other = (trained(x=rows, sizes=sizes, sample_weight=WEIGHT) for rows in (X, x))
    assert one[0].parameters.tobytes() == other[0].parameters.tobytes()
    assert [epoch[:3] for epoch in one[1]] == [epoch[:3] for epoch in other[1]]


@pytest.mark.parametrize("threads", [2, 3])
def test_weighted_training_has_the_same_bits_for_any_number_of_threads(threads):
    generator = np.random.default_rng(1)
    x, y = generator.integers(0, 256, (200, 784)).astype(np.uint8), generator.integers(0, 10, 200)
    weight = generator.exponential(size=200)
    nets = [Network([784, 64, 10]) for _ in range(2)]
    for net, shares in zip(nets, (1, threads), strict=True):
        fastmlp.train(net, x, y, sample_weight=weight, epochs=2, threads=shares)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


@pytest.mark.parametrize("weight", [list(range(40)), np.arange(40, dtype=np.uint8), np.arange(80)[::2] / 2, np.arange(40.0)])
def test_weights_may_be_any_numbers(weight):
    assert trained(sample_weight=weight)[0].parameters.tobytes() == trained(sample_weight=np.arange(40))[0].parameters.tobytes()


def test_weights_are_one_type_to_the_compiler():
    frozen = np.arange(40, dtype=np.float32)
    frozen.flags.writeable = False
    for weight in (list(range(40)), frozen, np.arange(80)[::2]):
        kept = Trainer(make_plan(network(dtype="float32"), X, Y, TrainingSettings(**SETTINGS), sample_weight=weight)).sample_weight
        assert (kept.dtype, kept.flags.c_contiguous, kept.flags.writeable) == (np.float32, True, True)


def test_a_weighted_training_goes_on_bit_for_bit():
    net = network()
    first = fastmlp.train(net, X, Y, sample_weight=WEIGHT, **SETTINGS | {"epochs": 1})
    fastmlp.train(net, X, Y, sample_weight=WEIGHT, **SETTINGS, resume=first.state)
    assert net.parameters.tobytes() == trained(sample_weight=WEIGHT)[0].parameters.tobytes()


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_a_row_keeps_its_weight_where_pictures_are_augmented(shift):
    generator = np.random.default_rng(2)
    x = generator.integers(0, 256, (50, 8, 8)).astype(np.uint8)
    y, weight = generator.integers(0, 3, 50), generator.integers(0, 2, 50)
    other = np.where(weight[:, None, None] > 0, x, 255 - x)  # rows that do not count
    nets = [Network([64, 20, 3]) for _ in range(2)]
    for net, pictures in zip(nets, (x, other), strict=True):
        fastmlp.train(net, pictures, y, sample_weight=weight, augment_shift=shift, zero_skipping="off", **SETTINGS)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


# What is reported


@pytest.mark.parametrize("output", TARGETS)
@pytest.mark.parametrize("sizes", [(4, 5, 3), (4, 40, 30, 3)], ids=str)
def test_evaluate_counts_a_row_of_weight_3_as_3_rows(output, sizes):
    net, copies = network(output, sizes=sizes), np.arange(40) % 4
    repeated = net.evaluate(np.repeat(X, copies, axis=0), np.repeat(TARGETS[output], copies, axis=0))
    for weight in (copies, 2 * copies):
        found = net.evaluate(X, TARGETS[output], weight)
        assert found == pytest.approx(repeated, rel=1e-10)
        assert ("accuracy" in found) == (output != "identity")


def test_rows_held_out_keep_their_weights():
    net, history = trained(sample_weight=WEIGHT, validation=10, holdout="last")
    found = net.evaluate(X[30:], Y[30:], WEIGHT[30:])
    assert (history[-1].validation_loss, history[-1].validation_accuracy) == pytest.approx((found["loss"], found["accuracy"]), rel=1e-12)
    alone = trained(x=X[:30], y=Y[:30], sample_weight=WEIGHT[:30])[0]
    assert net.parameters.tobytes() == alone.parameters.tobytes()


# Weights of classes

RARE = np.where(np.arange(40) < 30, 0, np.where(np.arange(40) < 38, 1, 2))[GENERATOR.permutation(40)]  # 30, 8 and 2 rows


def test_balanced_weights_are_those_of_scikit_learn():
    # n / (n_classes * bincount(y)): 40 / (3 * 30), 40 / (3 * 8), 40 / (3 * 2)
    weights = class_weight_of_rows("balanced", RARE[:, None], "softmax", 3)
    assert {int(name): weight for name, weight in zip(RARE, weights, strict=True)} == pytest.approx({0: 4 / 9, 1: 5 / 3, 2: 20 / 3})
    assert weights.sum() == pytest.approx(40)


def test_a_class_that_does_not_occur_is_not_counted():
    # of five classes three occur: scikit-learn's n_classes is the number of those in y
    assert class_weight_of_rows("balanced", RARE[:, None], "softmax", 5) == pytest.approx(
        class_weight_of_rows("balanced", RARE[:, None], "softmax", 3)
    )


def test_balanced_is_counted_over_the_rows_trained_on():
    y = np.append(np.arange(30) % 3, np.zeros(10, int))
    balanced, plain = (trained(y=y, validation=10, holdout="last", class_weight=weight) for weight in ("balanced", None))
    assert balanced[0].parameters.tobytes() == plain[0].parameters.tobytes()


def test_a_mapping_gives_each_row_the_weight_of_its_class():
    per_row = np.array([0.5, 1.0, 4.0])[Y]  # class 1 is not named
    by_class, by_row = trained(class_weight={0: 0.5, 2: 4}), trained(sample_weight=per_row)
    assert by_class[0].parameters.tobytes() == by_row[0].parameters.tobytes()
    assert by_class[1][-1].train_loss == by_row[1][-1].train_loss


def test_a_mapping_names_classes_by_their_labels():
    labels = np.array(["ant", "bee", "cat"])[Y]
    by_label, by_number = trained(y=labels, class_weight={"cat": 4, "ant": 0.5}), trained(class_weight={0: 0.5, 2: 4})
    assert by_label[0].parameters.tobytes() == by_number[0].parameters.tobytes()
    with pytest.raises(ConfigError, match="class_weight: expected labels of classes, 'ant', 'bee' and 'cat', got 'dog'"):
        trained(y=labels, class_weight={"dog": 1.0})


def test_weights_of_rows_and_of_classes_multiply():
    both = trained(class_weight={0: 0.5, 2: np.int64(4)}, sample_weight=WEIGHT)
    product = trained(sample_weight=WEIGHT * np.array([0.5, 1.0, 4.0])[Y])
    assert both[0].parameters.tobytes() == product[0].parameters.tobytes()


def test_one_sigmoid_output_has_the_classes_0_and_1():
    y = (Y > 1).astype(int)
    nets = [Network([4, 5, 1], output="sigmoid") for _ in range(2)]
    fastmlp.train(nets[0], X, y, class_weight={1: 3.0}, **SETTINGS)
    fastmlp.train(nets[1], X, y, sample_weight=1.0 + 2.0 * y, **SETTINGS)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def test_class_weights_belong_to_training_and_not_to_what_is_measured():
    net, history = trained(class_weight={0: 0.1, 2: 9.0}, validation=10, holdout="last")
    assert history[-1].validation_loss == pytest.approx(net.evaluate(X[30:], Y[30:])["loss"], rel=1e-12)


def test_balanced_weights_find_more_of_a_rare_class():
    generator = np.random.default_rng(0)
    y = (generator.random(2000) < 0.05).astype(int)
    x = generator.standard_normal((2000, 2)) + 1.2 * y[:, None]
    recalls = []
    for weight in (None, "balanced"):
        net = Network([2, 8, 2], "tanh")
        fastmlp.train(net, x, y, epochs=5, batch_size=20, learning_rate=0.1, class_weight=weight)
        recalls.append((net.predict(x[y == 1]) == 1).mean())
    assert recalls[0] < 0.3
    assert recalls[1] > 0.7


# What cannot be


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(39), r"sample_weight: expected \(40,\), one number per row, got shape \(39,\)"),
        (np.ones((40, 1)), r"sample_weight: expected \(40,\), one number per row, got shape \(40, 1\)"),
        (2.0, "sample_weight: expected an array, got the single number 2.0"),
        (["a"] * 40, "sample_weight: expected numbers"),
        (np.where(np.arange(40) == 5, -1.0, 1.0), "sample_weight: expected finite numbers of at least 0, got -1.0 in row 5"),
        (np.where(np.arange(40) == 5, np.nan, 1.0), "sample_weight: expected finite numbers of at least 0, got nan in row 5"),
        (np.where(np.arange(40) == 5, np.inf, 1.0), "sample_weight: expected finite numbers of at least 0, got inf in row 5"),
        (np.zeros(40), "sample_weight: expected some rows to count, got 0 for all 40"),
        (np.full(40, 1e300), r"sample_weight: expected numbers that float32 can hold, got 1e\+300 in row 0"),
        (np.full(40, 1e-300), "sample_weight: expected some rows to count, got 0 for all 40"),
        (np.full(40, 1e-45), "sample_weight: expected weights around 1, got up to 1e-45; divide them by their mean"),
        (np.full(40, 1e38), r"sample_weight: expected weights around 1, got up to 1e\+38; divide them by their mean"),
    ],
)
@pytest.mark.parametrize("where", ["train", "evaluate"])
def test_wrong_weights_of_rows_are_refused(where, weight, message):
    net = network(dtype="float32")
    with pytest.raises(DataError, match=message):
        fastmlp.train(net, X, Y, sample_weight=weight) if where == "train" else net.evaluate(X, Y, weight)
    assert net.input_scaling is None


def test_weights_that_make_default_steps_far_too_short_are_told():
    weight, settings = np.full(40, 1 / 40), {"epochs": 1, "batch_size": 8}
    with pytest.warns(UserWarning, match=r"^sample_weight: rows count 0\.025 on average, .* divide the weights by their mean"):
        fastmlp.train(network(dtype="float32"), X, Y, sample_weight=weight, optimizer="sgd", **settings)
    for quiet in ({"optimizer": "sgd", "learning_rate": 1.0}, {"optimizer": "adam"}):
        fastmlp.train(network(dtype="float32"), X, Y, sample_weight=weight, **settings, **quiet)


@pytest.mark.parametrize(("rows", "where"), [(slice(30, None), "sample_weight of the rows held out"), (slice(30), "sample_weight")])
def test_neither_part_of_the_rows_may_count_nothing(rows, where):
    weight = np.ones(40)
    weight[rows] = 0
    with pytest.raises(DataError, match=f"^{where}: expected some rows to count"):
        trained(sample_weight=weight, validation=10, holdout="last")


@pytest.mark.parametrize(
    ("output", "weight", "message"),
    [
        ("softmax", {3: 1.0}, "class_weight: expected class numbers from 0 to 2, got 3"),
        ("softmax", {-1: 1.0}, "class_weight: expected class numbers from 0 to 2, got -1"),
        ("softmax", {True: 1.0}, "class_weight: expected class numbers from 0 to 2, got True"),
        ("softmax", {"0": 1.0}, "class_weight: expected class numbers from 0 to 2, got '0'"),
        ("softmax", {0: -1.0}, "class_weight: expected finite numbers of at least 0, got -1.0 for class 0"),
        ("softmax", {0: "1"}, "class_weight: expected finite numbers of at least 0, got '1' for class 0"),
        ("softmax", {0: float("nan")}, "class_weight: expected finite numbers of at least 0, got nan for class 0"),
        ("softmax", "ballanced", "class_weight: expected one of balanced, got 'ballanced'; did you mean 'balanced'"),
        ("softmax", 3, "class_weight: expected a name, got 3"),
        ("identity", "balanced", "class_weight: expected a network with one class per row, this one predicts numbers; use sample_weight"),
        ("sigmoid", {0: 1.0}, "class_weight: expected a network with one class per row, this one predicts 3 labels per row"),
    ],
)
def test_wrong_weights_of_classes_are_refused(output, weight, message):
    with pytest.raises(ConfigError, match=message):
        trained(output, class_weight=weight)


def test_a_mapping_that_counts_no_row_is_refused():
    with pytest.raises(DataError, match="expected some rows to count"):
        trained(class_weight={0: 0, 1: 0, 2: 0})
