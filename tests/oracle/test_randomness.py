"""The oracle's random numbers against published ones, and what masks and noise have to be."""

import numpy as np
import pytest

from tests.oracle import randomness


def test_generator_gives_the_published_numbers_of_splitmix64():
    # the first outputs for the seed 1234567 of the reference implementation, as other libraries test theirs
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert [randomness.random_64(1234567, counter) for counter in range(1, 6)] == expected


def test_hash_is_lowbias32_where_a_row_has_no_key(monkeypatch):
    def lowbias32(x):  # as published
        x ^= x >> 16
        x = x * 0x7FEB352D & 0xFFFFFFFF
        x ^= x >> 15
        x = x * 0x846CA68B & 0xFFFFFFFF
        return x ^ x >> 16

    monkeypatch.setattr(randomness, "random_64", lambda key, counter: 0)
    assert randomness.random_32(0, 6, 0, 0, (1, 50))[0].tolist() == [lowbias32(unit) for unit in range(50)]


def test_order_of_rows_is_a_permutation_of_its_own_in_each_epoch():
    orders = [randomness.shuffled(3, epoch, 50) for epoch in range(4)]
    assert [sorted(order) for order in orders] == [list(range(50))] * 4
    assert len(set(map(tuple, orders))) == 4


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_its_share(share):
    factors = randomness.dropout_factors(share, 1, 1, 0, (400, 500))
    assert set(np.unique(factors)) <= {0.0, 1.0 / (1.0 - share)}
    assert (factors == 0).mean() == pytest.approx(share, abs=0.005)
    assert factors.mean() == pytest.approx(1.0, abs=0.03)


def test_noise_is_standard_normal():
    numbers = randomness.noise(1, 0, (200, 200))
    moments = [(numbers**power).mean() for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0.0, 1.0, 0.0, 3.0], abs=0.08)


def test_each_step_layer_and_seed_draws_numbers_of_its_own():
    drawn = [randomness.random_32(seed, 6, layer, step, (3, 4)) for seed in (0, 1) for layer in (0, 1) for step in (0, 1)]
    assert len({numbers.tobytes() for numbers in drawn}) == len(drawn)
