"""Inputs far from 0 beside their spread, such as seconds since 1970: what float32 cannot hold is subtracted first, in float64, or told."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastmlp
from fastmlp.network import Network

generator = np.random.default_rng(0)
T = 10 * generator.standard_normal((400, 2))
TIMES = T + [1.7e9, 0.0]
Y = (T[:, 0] > 0).astype(int)
SETTINGS = {"epochs": 5, "optimizer": "adam", "learning_rate": 0.01, "normalize": "standardize", "batch_size": 50}


def trained(x, dtype="float32", **settings):
    net = Network([2, 20, 2], "tanh", seed=1, dtype=dtype)
    return net, fastmlp.train(net, x, Y, **SETTINGS | settings)


@pytest.mark.parametrize("validation", [0, 100])
def test_a_constant_added_to_a_column_changes_next_to_nothing(validation):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far, history = trained(TIMES, validation=validation)
        near, expected = trained(T, validation=validation)
    assert_allclose(far.input_scaling.std, near.input_scaling.std, rtol=1e-6)
    assert history[-1].train_loss == pytest.approx(expected[-1].train_loss, rel=1e-3)
    assert_allclose(far.predict_proba(TIMES), near.predict_proba(T), atol=1e-3)
    if validation:
        assert history[-1].validation_loss == pytest.approx(expected[-1].validation_loss, rel=1e-3)


def test_every_way_to_predict_moves_rows_as_training_does(tmp_path):
    net, history = trained(TIMES, epochs=1, batch_size=400, learning_rate=1e-12)
    expected = net.predict_proba(TIMES)
    assert history[0].train_loss == pytest.approx(net.evaluate(TIMES, Y)["loss"], rel=1e-5)
    assert fastmlp.check_gradient(net, TIMES[:30], Y[:30]).passed
    for row in range(3):
        assert_allclose(net.predict_proba(TIMES[row]), expected[row], rtol=1e-5)
        as_float32 = TIMES[row].astype(np.float32)  # one row, as the fast path takes it
        assert_array_equal(net.predict_proba(as_float32), net.predict_proba(as_float32[None])[0])
    assert net.confusion_matrix(TIMES, Y).trace() == (net.predict(TIMES) == Y).sum()
    net.save(tmp_path / "net.safetensors")
    assert_array_equal(Network.load(tmp_path / "net.safetensors").predict_proba(TIMES), expected)
    state, functions = net.compiled()
    out = np.empty((len(TIMES), 2), np.float32)
    functions.predict_batch(state, functions.make_scratch(state), TIMES, out)
    assert_allclose(out, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "settings", "told"),
    [
        (TIMES, {"normalize": "scale"}, "x: column 0 varies by .* around 1.7e\\+09, where float32 has steps of 1.3e\\+02; use normalize="),
        (TIMES, {"normalize": "none"}, "x: column 0 varies by"),
        (
            2**25 + np.arange(800).reshape(400, 2),
            {"normalize": "scale"},
            "x: column 0 varies by 231 around 3.35.*e\\+07, where float32 has",
        ),
        (TIMES.astype(np.float32) + np.float32(0), {}, "x: column 0 varies by .* where float32 has steps of 1.3e\\+02; give it as float64"),
    ],
    ids=["scale", "none", "whole numbers", "came as float32"],
)
def test_what_rounding_takes_away_is_told(x, settings, told):
    if x.dtype == np.float32:
        x[::2, 0] += 128  # two neighbours
    with pytest.warns(UserWarning, match=told):
        trained(x, **settings, epochs=0)


def test_numbers_that_float32_holds_are_not_spoken_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(np.stack([2000 + T[:, 0], np.full(400, 1.7e9)], axis=1), normalize="scale", epochs=0)  # years; a constant


def test_targets_left_as_they_are_are_told_of_too():
    net = Network([2, 3, 1])
    with pytest.warns(UserWarning, match="y: column 0 varies by .* leave out normalize_target='none'"):
        fastmlp.train(net, T, TIMES[:, 0], epochs=0, normalize_target="none")


@pytest.mark.parametrize("value", [1e8 + 0.1, -3.3e10, 14.62])
def test_the_scale_and_shift_that_are_told_hold_for_inputs_as_they_are_given(value):
    x = np.column_stack([np.full(60, value), np.arange(60) % 7])
    net = Network([2, 3, 2])
    fastmlp.train(net, x, np.arange(60) % 2, epochs=1, normalize="standardize")
    scale, shift = net.scale_and_shift(False)
    assert_allclose(x[:, 0].astype(np.float32) * scale[0] + shift[0], 0, atol=1e-6 * abs(value))
    assert_allclose(x[:, 1] * scale[1] + shift[1], (x[:, 1] - x[:, 1].mean()) / x[:, 1].std(), atol=1e-5)
