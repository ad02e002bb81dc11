"""Loops that are measured: they do what they are counted for."""

import platform
import re

import numpy as np
import pytest
from numba import types

from fastmlp.benchmark import loops
from fastmlp.compilation import forms, stamps
from fastmlp.engines.threads import Team, new_shared
from fastmlp.kernels.vectors import vector_bytes
from fastmlp.kernels.zeros import WORD


def aligned(count):
    whole = np.zeros(count + WORD, np.float32)
    first = -whole.ctypes.data % 64 // 4
    return whole[first : first + count]


def rows_of_registers():
    lanes = vector_bytes() // 4
    data = aligned((loops.chains() + 2) * lanes)
    data[:] = np.arange(data.size)
    data[-2 * lanes : -lanes], data[-lanes:] = 0.5, np.arange(lanes)
    return data, lanes


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("form", [loops.multiply_adds, loops._multiply_adds_twin], ids=["compiled", "twin"])
def test_every_sum_is_multiplied_and_added_to_so_often(form, count):
    data, lanes = rows_of_registers()
    expected = data.reshape(-1, lanes).copy()
    for _ in range(count):
        expected[:-2] = expected[:-2] * np.float32(0.5) + expected[-1]
    form(data, count)
    np.testing.assert_array_equal(data.reshape(-1, lanes), expected)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86-64 assembly")
def test_sums_stay_in_registers(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))  # kept code cannot be read
    stamps.code_folder.cache_clear()
    fresh = forms.specialise(loops.multiply_adds, "assembly")
    signature = (types.float32[::1], types.int64)
    fresh.compile(signature)
    stamps.code_folder.cache_clear()
    counted = re.findall(r"^\s*v(?:fmadd|mul)\w*ps\b.*$", fresh.inspect_asm(signature), re.MULTILINE)
    assert len(counted) >= loops.chains()
    assert not [line for line in counted if "rsp" in line]  # a sum that was spilled would be read from the stack


def test_scaled_numbers_are_added_so_often():
    a, b = np.arange(37, dtype=np.float32), np.arange(37, dtype=np.float32)[::-1].copy()
    loops.add_scaled(a, b, np.float32(2), 3)
    np.testing.assert_array_equal(a, np.arange(37) + 6 * np.arange(37)[::-1])


def test_threads_meet_at_every_barrier():
    team, shared = Team(2), new_shared()
    team.run(lambda thread: int(loops.barriers(shared, 5, team.threads)), shared)
    assert shared[0] == 5 * team.threads
