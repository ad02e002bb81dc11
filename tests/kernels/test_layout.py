"""Where the numbers of a tiled network lie: apart from each other, where vectors may begin, and each weight where panels.py says."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.benchmark.workloads import WORKLOADS
from fastmlp.engines import layout as layout_module
from fastmlp.engines.layout import CACHE_LINE, Layout, fewest_shares, longest_and_mean_work
from fastmlp.engines.wanted import count_parameters
from fastmlp.kernels import tiles
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.vectors import vector_bytes

SAME_SETS = 512  # numbers: rows that far apart fall into the same few sets of a first-level cache
MANY_UNITS = range(1, 1000)


@st.composite
def layouts(draw):
    """Return the arguments of a layout of any network with a hidden layer."""
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 5, 15, 16, 17, 40, 64, 79, 80, 81, 130, 250, 257, 512, 784]), min_size=3, max_size=6))
    activations = draw(st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=len(sizes) - 2, max_size=len(sizes) - 2))
    dtype = np.dtype(draw(st.sampled_from(["float32", "float64"])))
    trains = draw(st.booleans())
    states = draw(st.integers(0, 2)) if trains else 0
    return sizes, activations, dtype, draw(st.integers(1, 130)), trains, states, draw(st.integers(1, 7)), draw(st.integers(1, 3))


def one_layer(units, dtype="float32"):
    """Return the layout of a hidden layer of so many units."""
    return Layout([1, units, 1], ["relu"], np.dtype(dtype), 1, True).hidden[0]


def layers(layout):
    return [*layout.hidden, *([layout.output] if layout.output else [])]


def parts(layout, states, shares):
    """Return (offset, length) of everything that lies in an arena."""
    rows = layout.rows_padded
    found = [(offset, rows * layout.batch_row) for offset in layout.batches]
    for copy in range(1 + states):
        for layer in layers(layout):
            biases = layer.n_out if layer is layout.output else layer.panels * layer.width
            found += [(copy * layout.state + layer.w, layer.panels * layer.w_panel), (copy * layout.state + layer.bias, biases)]
    for layer in layout.hidden:
        by_panel = layer.column != layer.width
        length = layer.panels * layer.column if by_panel else rows * layer.row
        found += [(offset, length) for offset in {layer.z, layer.a, layer.delta}]
    if layout.output:
        found += [(layout.output.a, layout.output.panels * rows * layout.output.row), (layout.output.delta, rows * layout.output.row)]
    found.append((layout.no_bias, layout.hidden[-1].width))
    found.append((layout.shifted_bias, layout.hidden[0].panels * layout.hidden[0].width))
    found.append((layout.sums, shares * layout.sums_share))
    return found + ([(layout.gradient, shares * layout.gradient_row)] if states else [])


# --- places --------------------------------------------------------------------------------------------------------------


@given(layouts())
def test_nothing_in_the_arena_overlaps(arguments):
    layout = Layout(*arguments)
    found = sorted(parts(layout, states=arguments[5], shares=arguments[6]))
    for (first, length), (following, _) in itertools.pairwise([*found, (layout.arena.size, 0)]):
        assert first + length <= following


@given(layouts())
def test_everything_begins_at_a_cache_line(arguments):
    layout = Layout(*arguments)
    assert layout.arena.ctypes.data % CACHE_LINE == 0
    for offset, _ in parts(layout, states=arguments[5], shares=arguments[6]):
        assert offset * layout.dtype.itemsize % CACHE_LINE == 0


@given(layouts())
def test_every_row_and_panel_that_is_read_as_vectors_begins_at_a_vector(arguments):
    layout = Layout(*arguments)
    lanes = vector_bytes() // layout.dtype.itemsize
    lengths = [layout.batch_row, layout.gradient_row, layout.sums_share]
    for layer in layers(layout):
        assert layer.width == layer.tiles.NV * lanes
        lengths += [layer.width, layer.w_panel, layer.column] + ([layer.row] if layer is not layout.output else [])
    assert [length % lanes for length in lengths] == [0] * len(lengths)


@given(layouts())
def test_rows_of_a_batch_and_of_hidden_layers_do_not_fall_into_the_same_cache_sets(arguments):
    layout = Layout(*arguments)
    for row in (layout.batch_row, *(layer.row for layer in layout.hidden if layer.column == layer.width)):
        assert row % SAME_SETS != 0


@given(layouts())
def test_a_new_arena_is_zero_but_for_the_input_of_biases(arguments):
    layout = Layout(*arguments)
    assert np.flatnonzero(layout.arena).tolist() == [layout.one]


# --- packing -------------------------------------------------------------------------------------------------------------


@given(layouts())
def test_unpacked_parameters_and_states_are_those_that_were_packed_by_any_number_of_threads(arguments):
    layout, P = Layout(*arguments), count_parameters(arguments[0])
    copies = range(1 + arguments[5])
    given_vectors = [np.arange(1, P + 1, dtype=layout.dtype) + copy * P for copy in copies]
    for copy, thread in itertools.product(copies, range(3)):
        layout.pack(given_vectors[copy], copy, thread, 3)
    for copy in copies:
        found = np.zeros_like(given_vectors[copy])
        for thread in range(2):
            layout.unpack(found, copy, thread, 2)
        np.testing.assert_array_equal(found, given_vectors[copy])


@given(layouts())
def test_each_weight_lies_at_its_place_in_its_panel(arguments):
    layout, sizes = Layout(*arguments), arguments[0]
    vector = np.arange(1, count_parameters(sizes) + 1, dtype=layout.dtype)
    layout.pack(vector)
    first = 0
    for layer, K, N in zip(layers(layout), sizes, sizes[1:], strict=False):
        k, n = np.divmod(np.arange(K * N), N)
        cut, other = (k, n) if layer is layout.output else (n, k)  # panels cut the output layer by its inputs
        places = layer.w + cut // layer.width * layer.w_panel + other * layer.width + cut % layer.width
        np.testing.assert_array_equal(layout.arena[places], vector[first : first + K * N])
        np.testing.assert_array_equal(layout.arena[layer.bias : layer.bias + N], vector[first + K * N : first + K * N + N])
        first += K * N + N


@given(layouts())
def test_packing_writes_nothing_but_parameters(arguments):
    layout, P = Layout(*arguments), count_parameters(arguments[0])
    layout.pack(np.ones(P, layout.dtype))
    assert np.count_nonzero(layout.arena) == P + 1
    layout.pack(np.zeros(P, layout.dtype))
    assert np.flatnonzero(layout.arena).tolist() == [layout.one]


@given(layouts())
def test_a_state_lies_as_far_from_its_weight_as_any_other(arguments):
    layout, P, states = Layout(*arguments), count_parameters(arguments[0]), arguments[5]
    layout.arena[layout.one] = 0  # which is neither
    layout.pack(np.ones(P, layout.dtype))
    weights = np.flatnonzero(layout.arena)
    for copy in range(1, 1 + states):
        layout.pack(np.zeros(P, layout.dtype), copy - 1)
        layout.pack(np.ones(P, layout.dtype), copy)
        np.testing.assert_array_equal(np.flatnonzero(layout.arena), weights + copy * layout.state)


# --- the tile of a layer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_tile_is_used_by_some_layer(dtype):
    assert {one_layer(units, dtype).tiles for units in MANY_UNITS} == set(tiles.instruction_set().panels)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_panels_of_a_layer_hold_all_its_units_and_none_is_empty(dtype):
    for units in MANY_UNITS:
        layer = one_layer(units, dtype)
        assert (layer.panels - 1) * layer.width < units <= layer.panels * layer.width


def test_tile_of_a_layer_depends_on_its_units_alone():
    found = {
        Layout([K, 100, C], ["relu"], np.dtype("float32"), rows, True, states, shares).hidden[0].tiles
        for K, C, rows, states, shares in [(1, 1, 1, 0, 1), (784, 10, 50, 0, 2), (3, 130, 130, 2, 7)]
    }
    assert len(found) == 1


# --- the shares of a network ---------------------------------------------------------------------------------------------

# Panels of 300 units by AVX2 are 13: cut in four, one share has 4 of them. Three shares would take a fourth longer than that.
MOST_UNEVEN = {4: 1.24, 8: 1.15, 16: 1.15, 32: 1.15}


@pytest.mark.parametrize("threads", MOST_UNEVEN)
@pytest.mark.parametrize(("instructions", "lanes"), [("AVX-512", 16), ("AVX2", 8)])
def test_no_share_of_a_workload_is_much_longer_than_the_mean_and_the_longest_no_longer_than_by_all_threads(
    instructions, lanes, threads, monkeypatch
):
    monkeypatch.setattr(layout_module, "instruction_set", lambda: tiles.INSTRUCTION_SETS[instructions])
    for name in "ABCDEF":
        sizes = WORKLOADS[name].sizes
        shares = fewest_shares.__wrapped__(sizes, lanes, threads)
        longest, mean = longest_and_mean_work(sizes, lanes, shares)
        assert longest <= MOST_UNEVEN[threads] * mean, (name, shares)
        assert longest <= 1.02 * longest_and_mean_work(sizes, lanes, threads)[0]


def test_shares_are_no_more_than_have_work():
    of_one_panel = (100, 8, 2)
    assert longest_and_mean_work(of_one_panel, 8, 1) == (8 * (2 * 100 + 3 * 2) + 8 * 2,) * 2
    assert fewest_shares(of_one_panel, 8, 7) == 1
    assert fewest_shares((1, 8, 1000), 8, 2) == 2  # the loss of many outputs is worth another thread
