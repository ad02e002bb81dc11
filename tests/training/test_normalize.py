"""InputScaling: fitted on the rows trained on, kept by the network, applied to whatever comes later."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastmlp
from fastmlp import ConfigError, DataError, Network
from tests.pairs import each_pair
from tests.training import reference

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (20, 3, 2), dtype=np.uint8)
FLOATS = GENERATOR.standard_normal((20, 6)) * [1, 2, 3, 4, 5, 6] + [0, 10, 20, 30, 40, 50]
Y = GENERATOR.integers(0, 3, 20)


def trained(x, **settings) -> Network:
    net = Network([6, 4, 3], "sigmoid", dtype="float64")
    fastmlp.train(net, x, Y[: len(x)], **{"epochs": 1, "learning_rate": 0.1} | settings)
    return net


def logits(net: Network, x) -> np.ndarray:
    return reference.outputs(net.parameters, net.sizes, ("sigmoid",), x)


def test_scale_divides_bytes_by_255():
    net = trained(IMAGES, normalize="scale")
    assert_allclose(net.logits(IMAGES), logits(net, IMAGES.reshape(20, 6) / 255), rtol=1e-12)


def test_scale_leaves_floats_as_they_are():
    net = trained(FLOATS, normalize="scale")
    assert net.logits(FLOATS).tobytes() == trained(FLOATS, normalize="none").logits(FLOATS).tobytes()
    assert_allclose(net.logits(FLOATS), logits(net, FLOATS), rtol=1e-12)


def test_none_leaves_bytes_as_they_are():
    net = trained(IMAGES, normalize="none")
    assert_allclose(net.logits(IMAGES), logits(net, IMAGES.reshape(20, 6)), rtol=1e-12)


def test_the_default_is_scale():
    assert trained(IMAGES).input_scaling.kind == "scale"


def test_bytes_are_standardised_by_one_pair_for_all_pixels():
    net = trained(IMAGES, normalize="standardize")
    scaled = IMAGES.reshape(20, 6) / 255
    assert_allclose(net.input_scaling.mean, scaled.mean(), rtol=1e-14)
    assert_allclose(net.input_scaling.std, scaled.std(), rtol=1e-14)
    assert_allclose(net.logits(IMAGES), logits(net, (scaled - scaled.mean()) / scaled.std()), rtol=1e-12)


def test_images_of_floats_are_standardised_by_one_pair():
    net = trained(FLOATS.reshape(20, 3, 2), normalize="standardize")
    assert_allclose(net.input_scaling.mean, FLOATS.mean(), rtol=1e-14)
    assert_allclose(net.input_scaling.std, FLOATS.std(), rtol=1e-14)


def test_tables_of_floats_are_standardised_feature_by_feature():
    net = trained(FLOATS, normalize="standardize")
    assert_allclose(net.input_scaling.mean, FLOATS.mean(axis=0), rtol=1e-14)
    assert_allclose(net.input_scaling.std, FLOATS.std(axis=0), rtol=1e-14)
    assert_allclose(net.logits(FLOATS), logits(net, (FLOATS - FLOATS.mean(axis=0)) / FLOATS.std(axis=0)), rtol=1e-11)


def test_bytes_may_be_standardised_feature_by_feature():
    net = trained(IMAGES, normalize="standardize", per_feature=True)
    scaled = IMAGES.reshape(20, 6) / 255
    assert_allclose(net.input_scaling.mean, scaled.mean(axis=0), rtol=1e-14)
    assert_allclose(net.input_scaling.std, scaled.std(axis=0), rtol=1e-14)


def test_tables_may_be_standardised_by_one_pair():
    net = trained(FLOATS, normalize="standardize", per_feature=False)
    assert_allclose(net.input_scaling.std, FLOATS.std(), rtol=1e-14)


def test_more_rows_than_one_block_are_all_counted():
    x = GENERATOR.integers(0, 256, (9000, 2), dtype=np.uint8)
    net = Network([2, 2])
    fastmlp.train(net, x, np.zeros(9000, int), normalize="standardize", epochs=0)
    assert_allclose(net.input_scaling.mean, (x / 255).mean(), rtol=1e-13)
    assert_allclose(net.input_scaling.std, (x / 255).std(), rtol=1e-13)


def test_more_rows_of_floats_than_one_block_are_all_counted():
    x = GENERATOR.standard_normal((9000, 2)) + 1000
    net = Network([2, 2], dtype="float64")
    fastmlp.train(net, x, np.zeros(9000, int), normalize="standardize", epochs=0)
    assert_allclose(net.input_scaling.mean, x.mean(axis=0), rtol=1e-13)
    assert_allclose(net.input_scaling.std, x.std(axis=0), rtol=1e-10)


def test_rows_held_out_are_not_part_of_the_fit():
    x = FLOATS.copy()
    x[-5:] = 1e6
    net = trained(x, normalize="standardize", validation=5, holdout="last")
    assert_allclose(net.input_scaling.mean, FLOATS[:-5].mean(axis=0), rtol=1e-14)


# A feature that is the same in every row


@pytest.mark.parametrize("constant", [0, 1, 77, 200, 255])
@pytest.mark.parametrize("per_feature", [True, False])
def test_constant_bytes_have_deviation_one(constant, per_feature):
    net = trained(np.full((7, 6), constant, np.uint8), normalize="standardize", per_feature=per_feature)
    assert_array_equal(net.input_scaling.std, 1)


@each_pair(n_rows=[1, 7, 19], per_feature=[True, False], constant=[0.0, 0.1, -3.3, 1e6, 1 / 3])
def test_constant_floats_have_deviation_one(constant, per_feature, n_rows):
    net = trained(np.full((n_rows, 6), constant), normalize="standardize", per_feature=per_feature)
    assert_array_equal(net.input_scaling.std, 1)


def test_a_constant_column_among_others_becomes_zero():
    x = FLOATS.copy()
    x[:, 2] = 0.1
    net = trained(x, normalize="standardize")
    others = (x - x.mean(axis=0)) / np.where(np.arange(6) == 2, 1, x.std(axis=0))
    assert_allclose(net.logits(x), logits(net, others), rtol=1e-9)


def test_one_row_is_standardised_to_zeros():
    net = trained(FLOATS[:1], normalize="standardize")
    assert_allclose(net.logits(FLOATS[:1]), logits(net, np.zeros((1, 6))), rtol=1e-12)


# It belongs to the network


def test_a_fit_is_kept_when_training_goes_on_with_other_rows():
    net = trained(FLOATS, normalize="standardize")
    before = net.input_scaling
    fastmlp.train(net, FLOATS + 100, Y, epochs=1, learning_rate=1e-3)
    assert net.input_scaling is before


@pytest.mark.parametrize("first", ["none", "scale", "standardize"])
@pytest.mark.parametrize("second", ["none", "scale", "standardize"])
def test_another_explicit_choice_on_a_trained_network_is_refused(first, second):
    net = trained(FLOATS, normalize=first)
    before = net.parameters.tobytes()
    if first == second:
        fastmlp.train(net, FLOATS, Y, epochs=0, normalize=second)
    else:
        with pytest.raises(ConfigError, match=f"normalize: this network was trained with '{first}' and keeps it, got '{second}'"):
            fastmlp.train(net, FLOATS, Y, normalize=second)
    assert (net.input_scaling.kind, net.parameters.tobytes()) == (first, before)


def test_another_choice_of_per_feature_on_a_trained_network_is_refused():
    net = trained(FLOATS, normalize="standardize")
    with pytest.raises(ConfigError, match="per_feature: this network was trained with the other choice"):
        fastmlp.train(net, FLOATS, Y, per_feature=False)


def test_a_network_fitted_on_bytes_takes_floats_between_0_and_1():
    net = trained(IMAGES, normalize="standardize")
    assert_allclose(net.logits(IMAGES), net.logits(IMAGES / 255), rtol=1e-10)


# The ends of the number range


@pytest.mark.parametrize(
    ("dtype", "large"),
    [("float32", np.finfo(np.float32).max), ("float32", 1e-40), ("float64", 1e308), ("float64", 1e-310)],
)
def test_numbers_at_the_ends_of_the_range_are_trained_on_or_refused(dtype, large):
    x = np.array([[large, 1], [-large, 2]] * 5, dtype)
    net = Network([2, 3, 2], dtype=dtype)
    try:
        history = fastmlp.train(net, x, np.array([0, 1] * 5), normalize="standardize", epochs=3)
    except DataError as error:
        assert "standardize" in str(error)  # noqa: PT017  which of the two it is, is not said
    else:
        assert history[-1].train_loss < 1
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("per_feature", [False, True])
def test_columns_whose_squares_are_too_small_for_float64_are_standardised_all_the_same(per_feature):
    plain, tiny = (trained(FLOATS * unit, normalize="standardize", per_feature=per_feature) for unit in (1.0, 1e-200))
    assert_allclose(tiny.input_scaling.std, plain.input_scaling.std * 1e-200, rtol=1e-12)
    assert_allclose(tiny.parameters, plain.parameters, rtol=1e-9)


def test_columns_whose_deviation_a_few_rows_make_are_named_with_the_row(subtests):
    g = np.random.default_rng(3)
    usual, rare = g.standard_normal((400, 3)), (np.arange(400) == 7) * 1.0  # most values of which are alike
    x = np.column_stack([usual, np.exp(2.0 * usual[:, 0]), g.standard_t(3, 400), rare])
    labels, numbers = usual[:, 0] > 0, usual[:, 1]
    alone, several, small = x.copy(), x.copy(), x[:30].copy()
    alone[5, 1] = small[5, 1] = 1e6
    several[[3, 5, 9], 1] = 9e5, -1e6, 8e5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastmlp.train(Network([6, 3, 2]), x, labels, normalize="standardize", epochs=1)
        fastmlp.train(Network([6, 3, 1]), x, numbers, normalize="standardize", epochs=1, loss="mae")
        fastmlp.train(Network([6, 3, 2]), alone, labels, normalize="standardize", per_feature=False, epochs=1)
    for name, rows, dtype in (("one", alone, "float32"), ("three", several, "float64"), ("few rows", small, "float32")):
        with subtests.test(name), pytest.warns(UserWarning, match=r"^x: column 1 varies by .* row 5 with -?1e\+06 above all") as caught:
            fastmlp.train(Network([6, 3, 2], dtype=dtype), rows, labels[: len(rows)], normalize="standardize", epochs=1)
        assert [warning.filename for warning in caught] == [__file__]
    numbers[17] = -1e9
    with pytest.warns(UserWarning, match=r"^y: column 0 varies by .* row 17 with -1e\+09 above all"):
        fastmlp.train(Network([6, 3, 1]), x, numbers, epochs=1)
