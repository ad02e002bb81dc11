"""Pixels are the same whatever type they come in, or an error or NaN says which scale a network knows; NaN never names a class."""

import ctypes
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastmlp
from fastmlp import DataError, Network
from fastmlp.embedding import c_functions, c_handle

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (60, 16)).astype(np.uint8)
CLASSES = np.arange(60) % 3


def trained(x=PIXELS, **settings):
    net = Network([16, 8, 3], seed=1)
    fastmlp.train(net, x, CLASSES, epochs=2, **settings)
    return net


@pytest.mark.parametrize("normalize", ["scale", "standardize", "none"])
@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:x. the network was trained on bytes")
def test_a_network_of_bytes_takes_the_same_pixels_in_any_type(tmp_path, normalize, kind):
    net = trained(normalize=normalize, learning_rate=0.01)
    net.save(tmp_path / "net.safetensors")
    for known in (net, Network.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net))):  # noqa: S301
        same = assert_array_equal if normalize != "none" else lambda *pair: assert_allclose(*pair, rtol=1e-4, atol=1e-5)
        same(known.logits(PIXELS.astype(kind)), net.logits(PIXELS))
        same(known.predict_proba(PIXELS[3].astype(kind)), net.predict_proba(PIXELS[3]))
        same(known.gradient(PIXELS.astype(kind), CLASSES), net.gradient(PIXELS, CLASSES))
    assert net.evaluate(PIXELS.astype(kind), CLASSES)["accuracy"] == net.evaluate(PIXELS, CLASSES)["accuracy"]


def test_fractions_of_bytes_are_the_same_pixels_and_other_scales_are_refused():
    net = trained()
    assert_allclose(net.predict_proba(PIXELS / 255), net.predict_proba(PIXELS), rtol=1e-4)
    before = pickle.dumps(net)
    for wrong in (PIXELS + 0.5, PIXELS.astype(int) * 2, PIXELS.astype(int) - 300, (PIXELS / 255 - 0.13) / 0.31):
        for call in (net.logits, net.predict, lambda x: net.predict(x.astype(np.float32)[5]), lambda x: fastmlp.train(net, x, CLASSES)):
            with pytest.raises(DataError, match="trained on bytes"):
                call(wrong)
    with pytest.raises(DataError, match="validation x: .*trained on bytes"):
        fastmlp.train(Network([16, 8, 3]), PIXELS, CLASSES, validation=(PIXELS + 0.5, CLASSES))
    with pytest.warns(UserWarning, match="taken as bytes"):
        net.predict(PIXELS[0].astype(np.float32))
    assert pickle.dumps(net) == before


def test_bytes_are_numbers_to_a_network_of_numbers_and_pixels_to_one_of_fractions():
    numbers, fractions = trained(PIXELS.astype(np.float32), normalize="standardize"), trained((PIXELS / 255).astype(np.float32))
    assert_allclose(numbers.logits(PIXELS), numbers.logits(PIXELS.astype(np.float32)), rtol=1e-4, atol=1e-5)
    assert_allclose(fractions.logits(PIXELS), fractions.logits(PIXELS / 255), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_a_network_of_fractions_says_that_pixels_were_not_divided(kind):
    net, pixels = trained((PIXELS / 255).astype(np.float32)), PIXELS.astype(kind)
    learn = (lambda: fastmlp.train(net, pixels, CLASSES, epochs=1), lambda: net.gradient(pixels, CLASSES))
    for call in (lambda: net.predict(pixels), lambda: net.predict_proba(pixels[3]), *learn):
        with pytest.warns(UserWarning, match="divide pixels by 255"):
            call()
    net.predict(pixels / 255)
    net.predict(pixels / 255 * 1.5)


@pytest.mark.parametrize(("column", "told"), [(30_000.0, "column 1 has"), (1e-4, "columns have")])
def test_numbers_of_a_bad_scale_are_told_where_nobody_said_how_to_scale_them(column, told):
    x = GENERATOR.random((60, 3)) * (1.0 if column > 1 else column) * [1.0, column if column > 1 else 1.0, 1.0]
    with pytest.warns(UserWarning, match=f"{told} a root mean square of .*normalize='standardize'"):
        fastmlp.train(Network([3, 4, 3], seed=0), x, CLASSES, epochs=1, learning_rate=1e-5)
    for scaled in ("standardize", "scale", "none"):
        fastmlp.train(Network([3, 4, 3], seed=0), x, CLASSES, epochs=1, learning_rate=1e-5, normalize=scaled)


def test_compiled_functions_read_whole_numbers_as_bytes_and_give_nan_for_other_scales():
    net = trained()
    state, functions = net.compiled()
    scratch, out, expected = functions.make_scratch(state), np.empty(3, np.float32), np.empty(3, np.float32)
    functions.predict(state, scratch, PIXELS[0], expected)
    functions.predict(state, scratch, PIXELS[0].astype(np.int64), out)
    assert_array_equal(out, expected)
    for wrong in (
        PIXELS[0].astype(np.float32),
        PIXELS[0].astype(int) * 300,
        np.full(16, np.nan, np.float32),
        np.full(16, np.inf, np.float32),
    ):
        functions.predict(state, scratch, wrong, out)
        assert np.isnan(out).all()


@pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.long)])  # see tests/embedding/test_c.py
def test_c_functions_refuse_what_cannot_be_and_change_nothing(dtype):
    net = Network([16, 8, 3], seed=1, dtype=dtype)
    state, _ = net.compiled("adam")
    c, handle = c_functions(state), c_handle(state)
    before = [array.tobytes() for array in (state.parameters, state.moments, state.steps)]
    x, y, out = (PIXELS / 255).astype(dtype), CLASSES[:, None].astype(dtype), np.full((60, 16), 7, dtype)
    px, py, po = (array.ctypes.data_as(ctypes.POINTER(np.ctypeslib.as_ctypes_type(dtype))) for array in (x, y, out))
    for rows in (0, -1, -(2**63), 2**63 - 1, 2**40 + 1):
        assert np.isnan(c.loss.ctypes(handle.ctypes, px, py, rows))
        assert np.isnan(c.gradient.ctypes(handle.ctypes, px, py, rows, po))
        assert np.isnan(c.input_gradient.ctypes(handle.ctypes, px, py, rows, po))
        assert np.isnan(c.train_step.ctypes(handle.ctypes, px, py, rows, 0.1))
        c.predict_batch.ctypes(handle.ctypes, px, rows, po)
    for nothing in ((None, px, py, 60), (handle.ctypes, None, py, 60), (handle.ctypes, px, None, 60)):
        assert np.isnan(c.loss.ctypes(*nothing))
        assert np.isnan(c.train_step.ctypes(*nothing, 0.1))
    for rate in (np.nan, np.inf, *([1e300] if dtype == np.float32 else [])):
        assert np.isnan(c.train_step.ctypes(handle.ctypes, px, py, 60, rate))
    c.predict.ctypes(handle.ctypes, px, None)
    c.predict.ctypes(None, px, po)
    assert [array.tobytes() for array in (state.parameters, state.moments, state.steps)] == before
    assert (out == 7).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_row_that_is_not_finite_is_refused_as_many_are(dtype, bad):
    for net in (Network([16, 8, 3], dtype=dtype), Network([16, 8, 1], output="sigmoid", dtype=dtype), Network([16, 1], dtype=dtype)):
        row = np.full(16, 0.5, dtype)
        net.predict(row)
        row[11] = bad
        for call in (net.predict, net.logits, net.predict_proba) if net.output != "identity" else (net.predict,):
            with pytest.raises(DataError):
                call(row if call != net.logits else row[None])


@pytest.mark.parametrize(("output", "n"), [("softmax", 3), ("sigmoid", 2)])
def test_outputs_that_overflow_are_no_classes(output, n):
    net = Network([16, 8, n], "identity", output)
    net.weights = [np.where(np.arange(8) % 2, 3e38, -3e38) * np.ones((16, 1)), np.ones((8, n))]
    x, y = np.ones((40, 16), np.float32), np.zeros(40, int) if output == "softmax" else np.zeros((40, n), int)
    for rows in (x, x[:3], x[0]):
        with pytest.raises(DataError, match="overflow in float32"):
            net.predict(rows)
    assert np.isnan(net.predict_proba(x)).all()
    assert np.isnan(list(net.evaluate(x, y).values())).all()


def test_scale_and_shift_are_those_of_inputs_as_they_are_given():
    far = 1e6 + np.random.default_rng(1).standard_normal((60, 16))
    for x, normalize in ((PIXELS, None), (PIXELS, "scale"), (PIXELS, "standardize"), (far - 1e6, "none"), (far, "standardize")):
        net = Network([16, 8, 3])
        if normalize is not None:
            fastmlp.train(net, x, CLASSES, epochs=0, normalize=normalize, per_feature=normalize == "standardize" or None)
        expected = x / 255 if x is PIXELS else x
        if normalize == "standardize":
            expected = (expected - expected.mean(axis=0)) / expected.std(axis=0)
        scale, shift = net.scale_and_shift(x is PIXELS)
        assert (scale.dtype, shift.dtype) == (np.float32, np.float32)
        assert_allclose(x * scale.astype(float) + shift, expected, rtol=0, atol=0.5 if x is far else 1e-6)
    assert_array_equal(Network([16, 3]).scale_and_shift(is_bytes=False), [np.ones(16), np.zeros(16)])
