"""Random numbers: published values, ranges, moments, fairness, streams, pure and compiled alike."""

import math

import numpy as np
import pytest

from fastmlp.kernels import compiling, random
from tests.kernels.comparison import FORMS

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
    pure_bits, pure_key = compiling.pure(random.random_bits), compiling.pure(random.stream_key)
    for seed in (0, 1, 2**31, 2**63 - 1):
        found = np.uint64(random.stream_key(seed, 3, 7))
        assert found == pure_key(seed, 3, 7)
        assert [int(random.random_bits(found, counter)) for counter in counters] == [int(pure_bits(found, counter)) for counter in counters]


@pytest.mark.parametrize("name", ["fill_uniform", "fill_normal"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_fill_gives_the_same_numbers_pure_and_compiled(name, n, dtype):
    compiled, pure = np.full(n, np.nan, dtype), np.full(n, np.nan, dtype)
    getattr(random, name)(key(5), 0.3, compiled)
    compiling.pure(getattr(random, name))(key(5), 0.3, pure)
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


@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 1000])
def test_shuffle_is_a_permutation(n, form):
    out = np.arange(n)
    form(random.shuffle)(out, key(4))
    assert sorted(out.tolist()) == list(range(n))


def test_shuffle_gives_the_same_order_pure_and_compiled():
    compiled, pure = np.arange(101), np.arange(101)
    random.shuffle(compiled, key(6))
    compiling.pure(random.shuffle)(pure, key(6))
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
