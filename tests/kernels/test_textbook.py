"""The textbook kernels of a dense layer, softmax, rows and counts: pure, serial and parallel, against the oracle."""

import itertools

import numpy as np
import pytest

from fastmlp.compilation import forms
from fastmlp.kernels import textbook
from tests.kernels.comparison import FORMS, Case, check, integers, normals, run
from tests.kernels.dense import DENSE
from tests.oracle import mlp

SIZES = (1, 2, 7, 17)  # one, even, prime, one more than a vector
EVERY_SIZE = [*itertools.product(SIZES, repeat=3), (50, 31, 13)]


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


@pytest.mark.parametrize("name", DENSE)
def test_dense_kernel_is_exact_on_integers(name, form):
    kernel = form(getattr(textbook, name))
    for sizes in EVERY_SIZE:
        check(kernel, DENSE[name](integers, *sizes))


@pytest.mark.parametrize("name", DENSE)
def test_dense_kernel_equals_the_oracle_on_real_numbers(name, form):
    check(form(getattr(textbook, name)), DENSE[name](normals, 23, 41, 19), tolerance=2e-6)


@pytest.mark.parametrize("name", DENSE)
def test_dense_kernel_equals_the_oracle_in_float64(name):
    check(getattr(textbook, name), DENSE[name](normals, 23, 41, 19), np.float64, tolerance=1e-14)


@pytest.mark.parametrize("name", DENSE)
def test_serial_and_parallel_form_give_the_same_bits(name):
    kernel = getattr(textbook, name)
    for sizes in [(1, 1, 1), (7, 13, 37), (50, 101, 30), (33, 30, 10)]:
        case = DENSE[name](normals, *sizes)
        for serial, parallel in zip(run(kernel, case, np.float32), run(forms.parallel(kernel), case, np.float32), strict=True):
            np.testing.assert_array_equal(serial, parallel)


@pytest.mark.parametrize("name", ["dense_forward", "dense_backward_parameters", "dense_sgd_update"])
def test_without_zero_skipping_nothing_changes_on_finite_numbers(name, form):
    kernel = form(forms.with_constant(getattr(textbook, name), "SKIP_ZEROS", False))
    check(kernel, DENSE[name](integers, 7, 13, 17))


@pytest.mark.parametrize("form", ["pure", "serial"])
def test_without_zero_skipping_zeros_are_multiplied(form):
    kernel = FORMS[form](forms.with_constant(textbook.dense_forward, "SKIP_ZEROS", False))
    out = np.zeros((1, 1), np.float32)
    with np.errstate(invalid="ignore"):
        kernel(np.zeros((1, 1), np.float32), np.full((1, 1), np.inf, np.float32), np.zeros(1, np.float32), out)
    assert np.isnan(out[0, 0])


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("argument", [0, 1, 2])
def test_dense_forward_shows_a_number_that_is_not_finite(argument, poison):
    x, weight, bias = (np.ones(shape, np.float32) for shape in ((3, 4), (4, 5), (5,)))
    (x, weight, bias)[argument][-1] = poison
    out = np.zeros((3, 5), np.float32)
    textbook.dense_forward(x, weight, bias, out)
    assert not np.isfinite(out[-1, -1])


# --- gather --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_gather_scales_and_shifts_the_rows_named(form, kind):
    x = np.arange(7 * 5, dtype=kind).reshape(7, 5) * 7
    order = np.array([6, 0, 3, 3])
    scale, shift = np.arange(1, 6, dtype=np.float32), np.arange(5, dtype=np.float32) - 2
    out = np.full((4, 5), np.nan, np.float32)
    form(textbook.gather)(x, order, scale, shift, out)
    np.testing.assert_array_equal(out, x[order].astype(np.float64) * scale + shift)


def test_gather_takes_all_256_bytes(form):
    x = np.arange(256, dtype=np.uint8).reshape(1, 256)
    out = np.full((1, 256), np.nan, np.float32)
    form(textbook.gather)(x, np.zeros(1, np.int64), np.ones(256, np.float32), np.zeros(256, np.float32), out)
    np.testing.assert_array_equal(out[0], np.arange(256))


# --- softmax -------------------------------------------------------------------------------------------------------------


def test_softmax_equals_the_oracle(form):
    for shape in [(1, 1), (1, 2), (7, 10), (13, 17), (3, 1000)]:
        z = 3 * normals(*shape)
        check(form(textbook.softmax), Case([], [z], [mlp.softmax(z)]), tolerance=5e-6)  # 1000 float32 additions, one after the other


def test_softmax_equals_the_oracle_in_float64():
    z = 3 * normals(7, 10)
    check(textbook.softmax, Case([], [z], [mlp.softmax(z)]), np.float64, tolerance=1e-14)


def test_softmax_of_equal_logits_is_exactly_even(form):
    check(form(textbook.softmax), Case([], [np.full((3, 8), 5.0)], [np.full((3, 8), 0.125)]))


def test_softmax_of_huge_logits_neither_overflows_nor_underflows(form):
    z = np.array([[1e4, -1e4, 0], [1e30, 1e30, -1e30], [-1e30, -1e30, -1e4], [89, 89, 0], [1e38, -1e38, 1e38]])
    check(form(textbook.softmax), Case([], [z], [mlp.softmax(z)]), tolerance=1e-6)


def test_softmax_may_overwrite_its_input(form):
    z = normals(7, 10).astype(np.float32)
    expected = mlp.softmax(z.astype(np.float64))
    form(textbook.softmax)(z, z)
    np.testing.assert_allclose(z, expected, atol=1e-6)


def test_softmax_shows_a_nan_in_its_row_only(form):
    for column in (0, 1, 4):
        z = normals(3, 5).astype(np.float32)
        z[1, column] = np.nan
        out = np.zeros_like(z)
        form(textbook.softmax)(z, out)
        assert np.isnan(out).tolist() == [[False] * 5, [True] * 5, [False] * 5]


def test_softmax_gives_the_same_bits_serial_and_parallel():
    z = normals(50, 11).astype(np.float32)
    serial, parallel = np.empty_like(z), np.empty_like(z)
    textbook.softmax(z, serial)
    forms.parallel(textbook.softmax)(z, parallel)
    np.testing.assert_array_equal(serial, parallel)


# --- count_correct -------------------------------------------------------------------------------------------------------


ONES = np.empty(0, np.float32)


@pytest.fixture(params=["pure", "serial"])
def count_correct(request):
    return FORMS[request.param](textbook.count_correct)


def test_count_correct_counts_rows_whose_largest_output_is_the_class(count_correct):
    z, target = normals(101, 7).astype(np.float32), np.random.default_rng(0).integers(0, 7, (101, 1))
    expected = (z.argmax(axis=1) == target[:, 0]).sum()
    assert 0 < expected < 101
    assert count_correct(z, target.astype(np.float32), ONES, textbook.SOFTMAX) == expected


def test_count_correct_decides_a_tie_for_the_first_class(count_correct):
    for target, expected in [(0, 0), (1, 1), (2, 0)]:
        assert count_correct(np.array([[0, 5, 5]], np.float32), np.array([[target]], np.float32), ONES, textbook.SOFTMAX) == expected


def test_count_correct_counts_labels_by_their_share(count_correct):
    z = np.array([[1, -1], [1, 1], [-1, -1], [-1, 1]], np.float32)
    target = np.array([[1, 0], [1, 0], [1, 0], [1, 0]], np.float32)
    assert count_correct(z, target, ONES, textbook.SIGMOID) == 1 + 0.5 + 0.5 + 0


def test_count_correct_takes_a_sigmoid_of_one_half_as_no(count_correct):
    assert count_correct(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32), ONES, textbook.SIGMOID) == 1
    assert count_correct(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32), ONES, textbook.SIGMOID) == 0


@pytest.mark.parametrize("output", [textbook.SOFTMAX, textbook.SIGMOID])
def test_count_correct_counts_a_row_of_weight_3_as_3_rows(count_correct, output):
    z = normals(20, 4).astype(np.float32)
    target = np.random.default_rng(0).integers(0, 2, (20, 1 if output == textbook.SOFTMAX else 4)).astype(np.float32)
    copies = np.arange(20) % 4
    repeated = count_correct(np.repeat(z, copies, axis=0), np.repeat(target, copies, axis=0), ONES, output)
    assert count_correct(z, target, copies.astype(np.float32), output) == repeated > 0


def test_count_correct_of_numbers_is_zero(count_correct):
    assert count_correct(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32), ONES, textbook.IDENTITY) == 0
