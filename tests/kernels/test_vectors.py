"""The vector instructions that tiles are written in: each one against the same in NumPy, for both types of number."""

import platform

import llvmlite.binding
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.compilation import options
from fastmlp.kernels import vectors
from tests.kernels.processes import result_of

compiled_only = pytest.mark.skipif(not options.JIT, reason="there are no vectors where compilation is off")
DTYPES = ["float32", "float64"]
PLACE = 64  # in numbers: a multiple of every vector


def lanes(dtype):
    return vectors.vector_bytes() // np.dtype(dtype).itemsize


def aligned(values, dtype):
    """Return a copy of values that begins at a multiple of every vector's size."""
    whole = np.zeros(len(values) + 64, dtype)
    first = -whole.ctypes.data % 64 // whole.itemsize
    array = whole[first : first + len(values)]
    array[:] = values
    return array


def compiled(emit):
    """Return a function that runs what `emit` writes."""
    emitted = vectors.emitted(None, emit)

    @numba.njit
    def call(*arguments):
        emitted(*arguments)

    return call


def some_numbers(dtype, count, seed=0):
    return aligned(np.random.default_rng(seed).standard_normal(PLACE + count), dtype)


# --- width ---------------------------------------------------------------------------------------------------------------


@compiled_only
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64") or bool(numba.config.CPU_NAME), reason="asks the x86 host")
def test_vectors_are_as_wide_as_the_registers_of_the_host():
    features = llvmlite.binding.get_host_cpu_features()
    assert vectors.vector_bytes() == (64 if features.get("avx512f") else 32 if features.get("avx") else 16)


@pytest.mark.parametrize(
    ("environment", "width"),
    [
        ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, 16),
        ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+sse4.2"}, 32),
        ({"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": "+avx,+avx2,+avx512f,+fma,+sse4.2"}, 64),
        ({"NUMBA_DISABLE_JIT": "1"}, 16),
    ],
    ids=["generic", "AVX2", "AVX-512", "interpreted"],
)
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
def test_width_follows_from_the_target_and_not_from_the_machine(environment, width):
    code = "from fastmlp.kernels.vectors import vector_bytes; print(vector_bytes())"
    assert result_of(code, **{"NUMBA_DISABLE_JIT": "0"} | environment) == width


# --- loading and storing -------------------------------------------------------------------------------------------------


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_store_writes_the_loaded_vector_and_nothing_beside_it(dtype):
    data, out, n = some_numbers(dtype, 64), aligned(np.full(PLACE + 64, np.nan), dtype), lanes(dtype)
    compiled(lambda v, data, place, out: v.store(v.load(data, place), out, v.index(n)))(data, PLACE, out)
    expected = np.full_like(out, np.nan)
    expected[n : 2 * n] = data[PLACE : PLACE + n]
    np.testing.assert_array_equal(out, expected)


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_at_adds_numbers_and_products_of_pairs(dtype):
    data, n = aligned(np.arange(PLACE + 64), dtype), lanes(dtype)
    out = aligned(np.zeros(64), dtype)

    def emit(v, data, base, factor, out):
        v.store(v.broadcast(v.number(data, v.at(base, (factor, 7), (3, factor), 5))), out, v.index(0))

    compiled(emit)(data, 11, 4, out)
    np.testing.assert_array_equal(out[:n], 11 + 4 * 7 + 3 * 4 + 5)


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_broadcast_puts_a_number_into_every_lane(dtype):
    data, out = some_numbers(dtype, 8), aligned(np.full(64, np.nan), dtype)
    compiled(lambda v, data, place, out: v.store(v.broadcast(v.number(data, place)), out, v.index(0)))(data, PLACE + 3, out)
    np.testing.assert_array_equal(out[: lanes(dtype)], data[PLACE + 3])


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_is_zero_in_every_lane(dtype):
    out = aligned(np.full(64, np.nan), dtype)
    compiled(lambda v, out: v.store(v.zero(), out, v.index(0)))(out)
    np.testing.assert_array_equal(out[: lanes(dtype)], 0)


# --- arithmetic ----------------------------------------------------------------------------------------------------------


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_multiply_add_is_exact_on_integers(dtype):
    n = lanes(dtype)
    data = aligned(np.random.default_rng(0).integers(-9, 10, 3 * n), dtype)
    out = aligned(np.full(64, np.nan), dtype)

    def emit(v, data, out):
        v.store(v.multiply_add(*(v.load(data, v.index(i * n)) for i in range(3))), out, v.index(0))

    compiled(emit)(data, out)
    np.testing.assert_array_equal(out[:n], data[:n] * data[n : 2 * n] + data[2 * n :])


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 2, 4, 5, 25])
def test_lanes_of_vectors_are_summed_halves_first_and_lie_side_by_side(count, dtype):
    n = lanes(dtype)
    out = np.full(count + 2, -1, dtype)

    def emit(v, data, place, out):
        sums, together = v.sums_of_lanes([v.load(data, v.at(place, i * n)) for i in range(count)])
        for number, register in enumerate(sums):
            first = number * together
            v.store_part(register, 0, min(together, count - first), out, v.index(1 + first))

    call = compiled(emit)
    order_shows = n == 2
    for seed in range(20):
        data = some_numbers(dtype, 64 + count * n, seed)
        expected = data[PLACE : PLACE + count * n].reshape(count, n)
        one_by_one = expected.cumsum(axis=1)[:, -1]
        while expected.shape[1] > 1:
            expected = expected[:, : expected.shape[1] // 2] + expected[:, expected.shape[1] // 2 :]
        call(data, PLACE, out)
        assert out.tolist() == [-1, *expected[:, 0].tolist(), -1]
        order_shows |= bool((one_by_one != expected[:, 0]).any())
    assert order_shows


# --- loops ---------------------------------------------------------------------------------------------------------------


@compiled_only
@pytest.mark.parametrize("count", [0, 1, 5])
def test_loop_counts_from_0_to_below_its_count(count):
    out = np.full(8, -1.0)

    def emit(v, count, out):
        with v.loop(count) as loop:
            v.builder.store(v.builder.sitofp(loop.index, v.scalar), v.builder.gep(out, [loop.index]))

    compiled(emit)(count, out)
    assert out.tolist() == [*range(count), *[-1.0] * (8 - count)]


def _emit_bits(v, bits, out):
    """out[0] = number of bits visited, out[1:] = the bits, in the order of the visits."""
    count = v.variable(v.index(0))

    def visit(bit):
        now = v.builder.add(v.builder.load(count), v.index(1))
        v.builder.store(now, count)
        v.builder.store(v.builder.sitofp(bit, v.scalar), v.builder.gep(out, [now]))

    v.loop_over_bits(bits, visit)
    v.builder.store(v.builder.sitofp(v.builder.load(count), v.scalar), v.builder.gep(out, [v.index(0)]))


bits_visited = compiled(_emit_bits) if options.JIT else None


@compiled_only
@given(st.integers(0, 2**64 - 1) | st.sets(st.integers(0, 63)).map(lambda bits: sum(1 << bit for bit in bits)))
def test_loop_over_bits_visits_each_bit_that_is_set_from_the_lowest_up(bits):
    out = np.zeros(65)
    bits_visited(np.uint64(bits), out)
    assert out[1 : 1 + int(out[0])].tolist() == [bit for bit in range(64) if bits >> bit & 1]


# --- choosing between compiled code and its twin -------------------------------------------------------------------------


def test_where_compilation_is_off_the_twin_runs(monkeypatch):
    monkeypatch.setattr(vectors, "JIT", False)

    def twin(out):
        out[0] = 7

    assert vectors.emitted(twin, None) is twin


@compiled_only
def test_type_of_vectors_follows_from_the_arrays_and_not_from_other_arguments():
    seen = []

    def emit(v, mask, index, out):
        seen.append((str(v.scalar), v.lanes))

    for dtype in DTYPES:
        compiled(emit)(np.uint64(3), np.zeros(1, np.uint16), np.zeros(1, dtype))
    assert seen == [("float", lanes("float32")), ("double", lanes("float64"))]
