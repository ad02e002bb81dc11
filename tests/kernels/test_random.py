"""Random numbers: published values, ranges, moments, fairness, streams, pure and compiled alike."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from fastmlp.compilation import forms
from fastmlp.compilation.decorators import formula, kernel
from fastmlp.compilation.forms import specialise
from fastmlp.kernels import random
from fastmlp.kernels.random import from_end, from_median, hash_32, high_half, low_half, row_key, signed_32
from tests.kernels.comparison import FORMS
from tests.kernels.regularised_training import documented

# The first outputs of splitmix64.c (Vigna, public domain) from the state 1234567.
PUBLISHED_SEED = 1234567
PUBLISHED = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


@pytest.fixture(autouse=True)
def _uint64_may_wrap():
    with np.errstate(over="ignore"):  # interpreted, it does so with a warning
        yield


@pytest.fixture(params=["pure", "serial"])
def form(request):
    return FORMS[request.param]


def key(seed, stream=random.SHUFFLE, substream=0):
    return np.uint64(random.stream_key(seed, stream, substream))


def unmixed(bits):
    """Return the number that `mix` turns into these 64 bits: each of its steps undone."""
    bits ^= bits >> 31 ^ bits >> 62
    bits = bits * pow(int(random.MIX_2), -1, 2**64) % 2**64
    bits ^= bits >> 27 ^ bits >> 54
    bits = bits * pow(int(random.MIX_1), -1, 2**64) % 2**64
    return bits ^ bits >> 30 ^ bits >> 60


def uniforms(key, n):
    out = np.full(n, np.nan)
    random.fill_uniform(key, 1.0, out)
    return (out + 1) / 2


def test_bits_are_those_published_for_splitmix64(form):
    # its state grows by GOLDEN before each output: output i of the seed is the number of counter i
    bits = form(random.random_bits)
    assert [int(bits(np.uint64(PUBLISHED_SEED), counter)) for counter in range(1, 6)] == PUBLISHED


def test_pure_and_compiled_form_give_the_same_bits():
    counters = [0, 1, 2**31, 2**40, 2**62]
    pure_bits, pure_key = forms.pure(random.random_bits), forms.pure(random.stream_key)
    for seed in (0, 1, 2**31, 2**63 - 1):
        found = np.uint64(random.stream_key(seed, 3, 7))
        assert found == pure_key(seed, 3, 7)
        assert [int(random.random_bits(found, counter)) for counter in counters] == [int(pure_bits(found, counter)) for counter in counters]


@pytest.mark.parametrize("name", ["fill_uniform", "fill_normal"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fill_gives_the_same_numbers_pure_and_compiled(name, dtype):
    for n in (1, 2, 7, 64):
        compiled, pure = np.full(n, np.nan, dtype), np.full(n, np.nan, dtype)
        getattr(random, name)(key(5), 0.3, compiled)
        forms.pure(getattr(random, name))(key(5), 0.3, pure)
        np.testing.assert_allclose(compiled, pure, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("bits", [0, 1, 2**63, 2**64 - 1])
def test_uniform_is_strictly_between_0_and_1_for_the_outermost_bits(bits, form):
    key = np.uint64(unmixed(bits))
    assert int(form(random.random_bits)(key, 0)) == bits
    assert 0 < form(random.uniform)(key, 0) < 1


def test_uniform_numbers_have_the_moments_of_the_even_distribution():
    numbers = uniforms(key(0), 200_000)
    assert numbers.min() > 0
    assert numbers.max() < 1
    # five standard errors
    assert numbers.mean() == pytest.approx(1 / 2, abs=5 * math.sqrt(1 / 12 / 200_000))
    assert numbers.var() == pytest.approx(1 / 12, abs=5 * math.sqrt(1 / 180 / 200_000))


@pytest.mark.parametrize("bound", [0.5, 3.0])
def test_fill_uniform_stays_within_its_bound_on_both_sides(bound):
    out = np.full(10_000, np.nan, np.float32)
    random.fill_uniform(key(1), bound, out)
    assert -bound <= out.min() < -0.99 * bound
    assert 0.99 * bound < out.max() <= bound


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    n, deviation = 200_000, 3.0
    out = np.full(n, np.nan)
    random.fill_normal(key(2), deviation, out)
    standard = out / deviation
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert np.mean(standard**power) == pytest.approx(expected, abs=5 * math.sqrt(variance / n))
    assert np.corrcoef(standard[::2], standard[1::2])[0, 1] == pytest.approx(0, abs=5 / math.sqrt(n / 2))


def test_fill_normal_of_an_odd_length_begins_like_the_even_one():
    odd, even = np.full(7, np.nan), np.full(8, np.nan)
    random.fill_normal(key(3), 1.0, odd)
    random.fill_normal(key(3), 1.0, even)
    np.testing.assert_array_equal(odd, even[:7])


def test_shuffle_is_a_permutation(form):
    for n in (0, 1, 2, 3, 17, 1000):
        out = np.arange(n)
        form(random.shuffle)(out, key(4))
        assert sorted(out.tolist()) == list(range(n))


def test_shuffle_gives_the_same_order_pure_and_compiled():
    compiled, pure = np.arange(101), np.arange(101)
    random.shuffle(compiled, key(6))
    forms.pure(random.shuffle)(pure, key(6))
    np.testing.assert_array_equal(compiled, pure)


def test_every_order_of_four_is_as_likely_as_any_other():
    n, counts = 48_000, {}
    for seed in range(n):
        order = np.arange(4)
        random.shuffle(order, key(seed))
        counts[tuple(order.tolist())] = counts.get(tuple(order.tolist()), 0) + 1
    assert len(counts) == 24
    chi_square = sum((count - n / 24) ** 2 / (n / 24) for count in counts.values())
    assert chi_square < 49.7  # 23 degrees of freedom: exceeded by one fair shuffle in a thousand


def test_every_number_comes_to_every_place():
    n, size = 20_000, 7
    counts = np.zeros((size, size))
    for seed in range(n):
        order = np.arange(size)
        random.shuffle(order, key(seed, substream=1))
        counts[np.arange(size), order] += 1
    chi_square = ((counts - n / size) ** 2 / (n / size)).sum() * (size - 1) / size
    assert chi_square < 67.99  # (7 - 1)^2 degrees of freedom, one in a thousand


@pytest.mark.parametrize("other", [(8, 2, 0), (7, 3, 0), (7, 2, 1)], ids=["seed", "stream", "substream"])
def test_streams_have_nothing_in_common(other):
    n = 100_000
    one, two = uniforms(key(7, 2, 0), n), uniforms(key(*other), n)
    assert np.corrcoef(one, two)[0, 1] == pytest.approx(0, abs=5 / math.sqrt(n))
    assert np.intersect1d(one, two).size == 0


def test_keys_of_many_seeds_streams_and_substreams_are_all_different():
    keys = {int(key(seed, stream, substream)) for seed in range(100) for stream in range(1, 10) for substream in range(10)}
    assert len(keys) == 9000


def test_purposes_have_streams_of_their_own():
    streams = [value for name, value in vars(random).items() if name.isupper() and isinstance(value, int)]
    assert len(streams) == len(set(streams)) >= 3


# --- 32 bits under the key of a row ----------------------------------------------------------------------------------------


@kernel
def fill_hashes(key, step, first, out):
    """out[m, n] = the hash of first + n in row m of a step. out (M, N) of 32-bit numbers."""
    for m in range(out.shape[0]):
        of_row = row_key(key, step, m)
        low, high = low_half(of_row), high_half(of_row)
        for n in range(out.shape[1]):
            out[m, n] = hash_32(first + n, low, high)


def hashes(key, step, M, N, first=0):
    out = np.zeros((M, N), np.uint32)
    fill_hashes(key, step, first, out)
    return out


def test_wellons_hash_of_some_numbers():
    # lowbias32 in whole numbers, as published
    def published(x):
        x = (x ^ x >> 16) * 0x7FEB352D % 2**32
        x = (x ^ x >> 15) * 0x846CA68B % 2**32
        return x ^ x >> 16

    numbers = [0, 1, 2, 1000, 2**31, 2**32 - 1]
    nothing = np.uint32(0)
    assert [int(random.hash_32(number, nothing, nothing)) for number in numbers] == [published(number) for number in numbers]


@pytest.mark.parametrize("seed", [0, 1, 2**40 + 7, 2**63 - 1])
def test_hashes_are_those_of_the_document(seed):
    expected = documented()["random_32"]
    for layer, step in ((0, 0), (1, 0), (1, 1), (3, 123_456_789_012)):
        found = hashes(key(seed, random.DROPOUT, layer), step, 5, 40)
        np.testing.assert_array_equal(found, expected(seed, random.DROPOUT, layer, step, 5, 40))


def test_pure_and_compiled_hashes_are_the_same():
    compiled, pure = np.zeros((2, 3, 17), np.uint32)
    fill_hashes(key(1), 2, 0, compiled)
    forms.pure(fill_hashes)(key(1), 2, 0, pure)
    np.testing.assert_array_equal(compiled, pure)


# Each array of hashes is (rows, units) of one step; "steps" and "layers" and "seeds" have one unit in columns of their own.
SETS = {
    "units of a row": lambda: hashes(key(0), 0, 1, 2**20)[0],
    "rows of a unit": lambda: hashes(key(0), 0, 2**20, 1)[:, 0],
    "a batch": lambda: hashes(key(1), 5, 1024, 1024).ravel(),
    "steps": lambda: np.concatenate([hashes(key(2), step, 4, 256).ravel() for step in range(1024)]),
    "seeds": lambda: np.concatenate([hashes(key(seed), 0, 4, 256).ravel() for seed in range(1024)]),
    "layers": lambda: np.concatenate([hashes(key(3, substream=layer), 0, 4, 256).ravel() for layer in range(1024)]),
}
ONE_IN_100_000 = 4.42  # standard deviations, both sides


@pytest.mark.parametrize("name", SETS)
def test_each_bit_of_a_hash_is_set_in_half_of_the_cases(name):
    found = SETS[name]()
    for bit in range(32):
        share = float((found >> np.uint32(bit) & np.uint32(1)).mean())
        assert abs(share - 0.5) < ONE_IN_100_000 * 0.5 / math.sqrt(found.size), bit


@pytest.mark.parametrize("name", SETS)
def test_every_byte_of_a_hash_is_even(name):
    found = SETS[name]()
    for byte in found.view(np.uint8).reshape(-1, 4).T:
        counts = np.bincount(byte, minlength=256)
        chi_square = ((counts - found.size / 256) ** 2).sum() / (found.size / 256)
        assert abs(chi_square - 255) < ONE_IN_100_000 * math.sqrt(2 * 255) + 8


@pytest.mark.parametrize("name", SETS)
def test_neighbours_know_nothing_of_each_other(name):
    # neighbours in units, rows, steps, seeds or layers, by the distance and the set
    found = SETS[name]()
    for bit in (31, 30, 16, 0):
        bits = (found >> np.uint32(bit) & np.uint32(1)).astype(np.float32) * 2 - 1
        for distance in (1, 2, 3, 16, 64, 256, 1024, 1025):
            correlation = float((bits[distance:] * bits[:-distance]).mean(dtype=np.float64))
            assert abs(correlation) < ONE_IN_100_000 / math.sqrt(found.size - distance), (bit, distance)


def test_masks_of_two_units_are_independent_over_the_rows():
    dropped = hashes(key(9), 3, 4096, 128) < np.uint32(random.threshold_of(0.2))
    centred = (dropped - 0.2) / 0.4
    correlations = centred.T @ centred / 4096
    off_diagonal = correlations[~np.eye(128, dtype=bool)]
    assert np.abs(off_diagonal).max() < 5.2 / math.sqrt(4096)  # of 8128 pairs, one in 600 sets of masks goes further
    assert off_diagonal.std() == pytest.approx(1 / math.sqrt(4096), rel=0.05)


def test_runs_of_kept_units_are_as_long_as_chance_has_them():
    dropped = (hashes(key(10), 0, 512, 2048) < np.uint32(random.threshold_of(0.5))).ravel()
    ends = np.flatnonzero(np.diff(dropped.astype(np.int8)))
    lengths = np.bincount(np.diff(ends), minlength=12)
    runs = lengths.sum()
    for length in range(1, 12):  # a run is `length` long with probability 2^-length
        expected = runs / 2**length
        assert abs(lengths[length] - expected) < 5 * math.sqrt(expected), length


def test_threshold_of_a_share():
    expected = {0.0: 0, 0.5: 2**31, 0.25: 2**30, 1 - 2**-40: 2**32 - 1, 2**-32: 1, 1e-12: 0}
    assert {share: random.threshold_of(share) for share in expected} == expected


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_as_many_units_are_dropped_as_asked_for(share):
    n = 2**20
    dropped = (hashes(key(11), 0, 1024, 1024) < np.uint32(random.threshold_of(share))).mean()
    assert abs(dropped - share) < ONE_IN_100_000 * math.sqrt(share * (1 - share) / n)


# --- normal numbers --------------------------------------------------------------------------------------------------------

OUTERMOST = [0, 1, 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 3, 2**32 - 2, 2**32 - 1]
AROUND_THE_SEAM = [round((0.5 + side * 0.425) * 2**32) + offset for side in (-1, 1) for offset in (-200, -1, 0, 1, 200)]
half_normal: Any = None  # bound to the formula of a type


@kernel
def fill_normals(bits, out):
    """out[i] = the normal number that belongs to bits[i]. bits, out (n,)."""
    half = out.dtype.type(0.5)
    for i in range(out.shape[0]):
        signed = signed_32(bits[i])
        size = half_normal(out.dtype.type(from_median(signed)) + half, out.dtype.type(from_end(signed)) + half)
        out[i] = size if signed >= 0 else -size


def normals_of(bits, dtype, form=lambda kernel: kernel):
    out = np.full(len(bits), np.nan, dtype)
    fill = specialise(fill_normals, np.dtype(dtype).name, half_normal=formula(random.HALF_NORMAL[np.dtype(dtype).name]))
    form(fill)(np.array(bits, np.uint32), out)
    return out


def quantiles(bits):
    return np.array([NormalDist().inv_cdf((int(b) + 0.5) / 2**32) for b in bits])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_numbers_are_quantiles(dtype, form):
    bits = OUTERMOST + AROUND_THE_SEAM + hashes(key(12), 0, 1, 2000)[0].tolist()
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(normals_of(bits, dtype, form), quantiles(bits), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_numbers_are_the_same_to_both_sides(dtype):
    bits = OUTERMOST + AROUND_THE_SEAM
    np.testing.assert_array_equal(normals_of(bits, dtype), -normals_of([2**32 - 1 - b for b in bits], dtype))


def test_normal_numbers_end_at_six_deviations():
    assert normals_of([0, 2**32 - 1], np.float64) == pytest.approx([-6.33796, 6.33796], abs=1e-5)


def many_normals():
    bits = hashes(key(13, random.NOISE), 0, 2048, 1024).ravel()
    return normals_of(bits, np.float32).astype(np.float64)


def test_noise_has_the_moments_of_the_normal_distribution():
    standard = many_normals()
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10_170)):
        assert np.mean(standard**power) == pytest.approx(expected, abs=5 * math.sqrt(variance / standard.size)), power


def test_noise_has_the_tails_of_the_normal_distribution():
    standard = many_normals()
    for beyond in (1.0, 2.0, 3.0, 4.0, 4.5):
        share = 1 - NormalDist().cdf(beyond)
        for tail in (standard > beyond, standard < -beyond):
            assert abs(tail.mean() - share) < 5 * math.sqrt(share / standard.size), beyond


def test_noise_has_the_distribution_of_normal_numbers_everywhere():
    # Kolmogorov and Smirnov: the largest distance between two distributions; 2.23 is exceeded by one sample in 10,000
    standard = np.sort(many_normals())
    steps = np.linspace(0, standard.size - 1, 4001).astype(int)
    expected = np.array([NormalDist().cdf(value) for value in standard[steps]])
    assert np.abs((steps + 0.5) / standard.size - expected).max() < 2.23 / math.sqrt(standard.size)


def test_noise_of_the_document_is_the_noise():
    found = normals_of(hashes(key(3, random.NOISE), 8, 3, 20).ravel(), np.float64).reshape(3, 20)
    np.testing.assert_allclose(documented()["noise"](3, 8, 3, 20), found, rtol=1e-14)
