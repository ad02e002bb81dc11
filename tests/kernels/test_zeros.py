"""Which inputs are zero: masks and lists against slow references, bit by bit."""

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastmlp.compilation import decorators, forms, record_types
from fastmlp.engines import records
from fastmlp.engines.records import LAYER, RUN
from fastmlp.kernels import zeros
from fastmlp.kernels.step import Step, call_block
from fastmlp.kernels.zeros import GROUP, GROUPS_PER_WORD, LISTED_BLOCK, PLANE_BITS, PLANES, WORD
from tests.kernels.comparison import FORMS
from tests.pairs import all_pairs

DTYPES = ["float32", "float64"]
ALL = 2**64 - 1

# masks of all densities
masks = st.integers(0, ALL) | st.sets(st.integers(0, 63)).map(lambda bits: sum(1 << bit for bit in bits))
each_form = pytest.mark.parametrize("form", ["pure", "serial"])


def bits_of(mask):
    return [bit for bit in range(WORD) if int(mask) >> bit & 1]


def mask_of(flags):
    return sum(1 << bit for bit, flag in enumerate(flags) if flag)


def compiled(emitted):
    @numba.njit
    def call(*arguments):
        emitted(*arguments)

    return call


# What is emitted can be called from compiled code only; the twins are what runs without a compiler.
NONZERO_BITS = {"serial": compiled(zeros.nonzero_bits), "pure": zeros._nonzero_bits_twin}
APPEND_SET_BITS = {
    "serial": zeros.append_set_bits,
    "table": forms.specialise(zeros.append_set_bits, "table", COMPRESSES=False),
    "pure": forms.pure(
        forms.specialise(
            zeros.append_set_bits, "twin", COMPRESSES=False, write_places=zeros._places_twin, count_bits=zeros._count_bits_twin
        )
    ),
}
TRANSPOSE_BITS = {"serial": compiled(zeros.transpose_bits), "pure": zeros._transpose_twin}


def aligned(count, dtype):
    """Return zeros that begin at a multiple of a cache line."""
    whole = np.zeros(count + 64, dtype)
    return whole[-whole.ctypes.data % 64 // whole.itemsize :][:count]


# --- nonzero_bits --------------------------------------------------------------------------------------------------------

VALUES = {
    "zero": (0.0, False),
    "minus zero": (-0.0, False),
    "NaN": (np.nan, True),
    "minus NaN": (-np.nan, True),
    "infinite": (-np.inf, True),
    "smallest float32": (1e-45, True),
    "one": (1.0, True),
}


def nonzero_bits(form, values, dtype):
    x, out = aligned(3 * WORD, dtype), np.full(3, 77, np.uint64)
    x[:] = 1  # around the word that is asked for
    x[WORD : 2 * WORD] = values
    NONZERO_BITS[form](x, WORD, out, 1)
    assert out[[0, 2]].tolist() == [77, 77]
    return int(out[1])


@each_form
@pytest.mark.parametrize("dtype", DTYPES)
@given(mask=masks)
@example(mask=0)
@example(mask=ALL)
def test_nonzero_bits_has_a_bit_for_each_number_that_is_not_zero(form, dtype, mask):
    values = [bit + 1 if mask >> bit & 1 else 0 for bit in range(WORD)]
    assert nonzero_bits(form, values, dtype) == mask


@each_form
@pytest.mark.parametrize("dtype", DTYPES)
def test_only_zeros_of_either_sign_count_as_zero(form, dtype):
    for name, (number, counts) in VALUES.items():
        for bit in (0, 1, 31, 32, 63):
            values = np.zeros(WORD)
            values[bit] = number
            assert nonzero_bits(form, values, dtype) == (1 << bit if counts else 0), name


# --- append_set_bits, fold_groups, transpose_bits ------------------------------------------------------------------------


@pytest.mark.parametrize("form", APPEND_SET_BITS)
@given(mask=masks, base=st.integers(0, 60_000), place=st.integers(0, 9))
@example(mask=0, base=0, place=0)
@example(mask=ALL, base=0, place=0)
def test_append_set_bits_lists_the_bits_from_the_lowest_up(form, mask, base, place):
    out = np.full(80, 9, np.uint16)
    after = APPEND_SET_BITS[form](np.uint64(mask), base, out, place)
    expected = [base + bit for bit in bits_of(mask)]
    assert out[: place + len(expected)].tolist() == [9] * place + expected
    assert out[place + WORD :].tolist() == [9] * (80 - place - WORD)  # what lies between counts for nothing
    assert after == place + len(expected)


@each_form
@given(mask=masks)
@example(mask=0)
@example(mask=ALL)
def test_fold_groups_has_a_bit_for_each_group_with_a_bit(form, mask):
    expected = mask_of(mask >> group * GROUP & (2**GROUP - 1) for group in range(GROUPS_PER_WORD))
    assert int(FORMS[form](zeros.fold_groups)(np.uint64(mask))) == expected


@each_form
def test_fold_groups_finds_a_single_bit(form):
    for bit in range(WORD):
        assert int(FORMS[form](zeros.fold_groups)(np.uint64(1 << bit))) == 1 << bit // GROUP


@each_form
@given(folded=st.lists(st.integers(0, 2**16 - 1), min_size=WORD, max_size=WORD))
@example(folded=list(range(WORD)))
def test_transpose_bits_turns_groups_of_rows_into_rows_of_groups(form, folded):
    given_rows = np.array([5, *folded, 5], np.uint16)  # a row before and a row behind
    out = np.full(PLANE_BITS + 2, 77, np.uint64)
    TRANSPOSE_BITS[form](given_rows, 1, out, 1)
    assert [int(mask) for mask in out[1:-1]] == [mask_of(row >> group & 1 for row in folded) for group in range(PLANE_BITS)]
    assert out[[0, -1]].tolist() == [77, 77]


# --- lists and masks of a whole batch ------------------------------------------------------------------------------------

SIZES = [(1, 1), (5, 64), (7, 65), (64, 127), (65, 128), (66, 129), (130, 300)]  # rows, inputs
DENSITIES = [0.0, 0.02, 0.2, 1.0]
TILE_ROWS = 5


@decorators.kernel
def call(block, step, layer, below, share, shares):
    call_block(block, step, layer, below, share, shares)


def batch(M, K, density, dtype=np.float32):
    """Return rows (M, K) of which a share is not zero, NaN and -0.0 among them."""
    generator = np.random.default_rng([M, K])
    x = np.where(generator.random((M, K)) < density, generator.standard_normal((M, K)), 0.0)
    x[x > 1.5] = np.nan
    x[generator.random((M, K)) < 0.1] *= -0.0
    return x.astype(dtype)


def listed(x, shares, extra=0):
    """Run list_live and mask_groups on rows, share by share; return lists, where they begin, and the masks of groups."""
    M, K = x.shape
    words, segments, blocks, n_tiles = -(-K // WORD), -(-max(M, extra + 1) // WORD), -(-K // LISTED_BLOCK), -(-M // TILE_ROWS)
    row, length, folded = words * WORD, K + WORD, segments * words * PLANES * WORD
    arena = aligned(16 + M * row, x.dtype)
    arena[16:].reshape(M, row)[:, :K] = x
    lists = np.full(3 + n_tiles * length + folded, 65535, np.uint16)  # what is not written has all bits set
    bits = np.full(M * words + segments * words * GROUPS_PER_WORD, 77, np.uint64)
    counts = np.full(2 + n_tiles * (blocks + 1), -1)
    inputs = record_types.filled(LAYER, [{"n_out": K, "out": 16, "row": row}])[0]
    places = {"lists": 3, "list_length": length, "folded": 3 + n_tiles * length, "counts": 2, "extra": extra, "group_masks": M * words}
    step = Step(arena, lists, bits, counts, arena, record_types.filled(RUN, [places])[0], 0, M)
    for name, rows in (("list_live", TILE_ROWS), ("mask_groups", 0)):
        block = records.panel_block(name, MR=rows, dtype=x.dtype)
        for share in range(shares):
            call(block, step, inputs, inputs, share, shares)
    return lists, counts[2:].reshape(n_tiles, blocks + 1), bits[M * words :].reshape(segments, words * GROUPS_PER_WORD)


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_live_lists_have_the_inputs_that_are_not_zero_in_all_rows_of_a_tile(shares, subtests):
    for size, density in all_pairs(SIZES, DENSITIES):
        x = batch(*size, density)
        with subtests.test(size=size, density=density):
            lists, counts, _ = listed(x, shares)
            for tile, places in enumerate(counts):
                live = (x[tile * TILE_ROWS : (tile + 1) * TILE_ROWS] != 0).any(axis=0)
                for block in range(len(places) - 1):
                    expected = block * LISTED_BLOCK + np.flatnonzero(live[block * LISTED_BLOCK : (block + 1) * LISTED_BLOCK])
                    assert lists[places[block] : places[block + 1]].tolist() == expected.tolist()


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_group_masks_have_the_rows_in_which_two_inputs_are_not_both_zero(shares, subtests):
    for size, density in all_pairs(SIZES, DENSITIES):
        x = batch(*size, density)
        with subtests.test(size=size, density=density):
            masks = listed(x, shares)[2]
            for segment, of_segment in enumerate(masks):
                rows = x[segment * WORD : (segment + 1) * WORD]
                for group, mask in enumerate(of_segment):
                    assert bits_of(mask) == np.flatnonzero((rows[:, group * GROUP : (group + 1) * GROUP] != 0).any(axis=1)).tolist()


@pytest.mark.parametrize(("M", "extra"), [(7, 7), (3, 64), (64, 64), (50, 130)])
def test_the_extra_row_is_in_every_group_mask_and_no_row_between(M, extra):
    masks = listed(np.zeros((M, 70), np.float32), 1, extra)[2]
    rows = [[segment * WORD + bit for segment, mask in enumerate(of_group) for bit in bits_of(mask)] for of_group in masks.T]
    assert rows == [[extra]] * masks.shape[1]
